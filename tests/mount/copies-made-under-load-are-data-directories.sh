#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copies of DATADIR by rsync, tar, cp and rsync --link-dest, under writers,
# checkpoints and drops: each checks, mounts beside the original, has what was
# acknowledged before it began and nothing half; changing one changes no other.
# VG_BACKUPS: how many (4; 50 in a soak). VG_SEED repeats a run.
. "$(dirname "$0")/lib.sh"
command -v rsync >/dev/null || skip_all "rsync is not installed"
if [ "$VG_SOAK" = 1 ]; then
	: "${VG_BACKUPS:=50}"
	VG_TEST_TIMEOUT=3600
fi
rounds=${VG_BACKUPS:-4}
plan $((rounds + 2))
export VECGRIDFS
vgmount checkpoint=64K,backup_grace=3600
rounds "nothing lost" "$PYTHON3" "$HERE/backup_rounds.py" "$rounds"
finish
