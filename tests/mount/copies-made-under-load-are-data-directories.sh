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
: >"$S/rounds"
"$PYTHON3" "$HERE/backup_rounds.py" "$rounds" >"$S/rounds" 2>&1 &
driver=$!
while IFS= read -r line; do
	case $line in
	"round "*": "*)
		is "${line#*: }" "nothing lost" "${line%%: *}"
		;;
	*)	diag "$line" ;;
	esac
done < <(tail -n +1 --pid=$driver -f "$S/rounds")
wait $driver
is $? 0 "the driver saw all rounds"
finish
