#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 42,026 real records under fifteen filters: how many there are, exact answers,
# and recall at the default.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
[ -n "${VG_DATA:-}" ] && [ -e "$VG_DATA/cve/filters.json" ] ||
	skip_all "VG_DATA names no directory with cve"
plan 46
vgmount
report 45 "$PYTHON3" "$HERE/filters.py" "$M" "$VG_DATA"
finish
