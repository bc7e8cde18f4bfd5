#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random reads, writes, truncations, renames on staging files against strings
# of bytes. VG_SEED repeats a run, VG_STAGING_OPS says how many (8000; 200000
# in a soak).
. "$(dirname "$0")/lib.sh"
if [ "$VG_SOAK" = 1 ]; then
	: "${VG_STAGING_OPS:=200000}"
	VG_TEST_TIMEOUT=7200
fi
plan 6
vgmount
mkdir "$M/c"
put "$M/c/a" 1,2,3
report 4 "$PYTHON3" "$HERE/staging.py" "$M/c" "${VG_STAGING_OPS:-8000}"
is "$(numbers "$M/c/a") $(ls "$M/c")" "1 2 3 a" "the records beside are as before"
finish
