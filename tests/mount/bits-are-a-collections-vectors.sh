#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .config/dtype b1: written in every form and read back bit for bit, found as numpy
# finds it, through crashes, restarts, exports and imports.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 48
vgmount
drive 45 "$PYTHON3" "$HERE/dtypes.py" "$M" b1
vgumount
like "$("$VECGRIDFS" --check "$D" 2>&1)" "nothing is wrong" \
	"--check finds nothing"
vgmount
finish
