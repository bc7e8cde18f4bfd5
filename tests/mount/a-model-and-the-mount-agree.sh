#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random calls on the tree and on a dictionary in memory: after each the two
# say the same, through remounts in every durability mode. The environment:
# VG_SEED repeats a run, VG_MODEL_OPS says how many calls (3000; 200000 in a
# soak), VG_MODEL_TRACE=1 tells each one.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
if [ "$VG_SOAK" = 1 ]; then
	: "${VG_MODEL_OPS:=200000}"
	VG_TEST_TIMEOUT=36000
fi
plan 6
vgmount
MODES=(fsync async close)
drive 4 "$PYTHON3" "$HERE/model.py" "$M" "${VG_MODEL_OPS:-3000}"
finish
