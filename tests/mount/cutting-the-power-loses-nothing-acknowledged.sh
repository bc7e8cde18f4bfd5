#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The power is cut below the data directory, under eight writers: what was not
# synced is lost, torn or reordered, names too; what was acknowledged is there,
# what was not is wholly old or wholly new, and --check finds nothing.
# VG_POWER_CUTS: how often (5; 200 in a soak). VG_SEED repeats the choices.
. "$(dirname "$0")/lib.sh"
if [ "$VG_SOAK" = 1 ]; then
	: "${VG_POWER_CUTS:=200}"
	VG_TEST_TIMEOUT=36000
fi
rounds=${VG_POWER_CUTS:-5}
[ "$(id -u)" = 0 ] || skip_all "a disk of its own needs root"
export VECGRIDFS POWERFS=$VG_BUILD/tests/powerfs DISK=$S/disk
[ -x "$POWERFS" ] || skip_all "tests/powerfs is not built"
mkdir "$DISK"
trap 'rc=$?; umount -l "$DISK" 2>/dev/null; (exit $rc); clean_up' EXIT
D=$DISK/data
plan $((rounds + 2))
rounds "nothing lost" "$PYTHON3" "$HERE/power_cuts.py" "$rounds"
"$PYTHON3" "$HERE/power_cuts.py" 20 lie >"$S/lies" 2>&1
# All that is lost, the collection with it, is found out as well.
like "$(cat "$S/lies")" \
	"round [0-9]+ .*(not one of|--check|vecgridfs ended)|FileNotFoundError.*/mnt/c'" \
	"a disk whose syncs are none is found out" || diag "$(cat "$S/lies")"
exit $((failed > 0))
