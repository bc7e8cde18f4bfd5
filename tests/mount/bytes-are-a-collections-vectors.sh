#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .config/dtype i8: written in every form and read back bit for bit, found as numpy
# finds it, through crashes, restarts, exports and imports.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 57
vgmount
drive 54 "$PYTHON3" "$HERE/dtypes.py" "$M" i8
vgumount
like "$("$VECGRIDFS" --check "$D" 2>&1)" "nothing is wrong" \
	"--check finds nothing"
vgmount
finish
