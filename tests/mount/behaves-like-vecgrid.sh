#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who comes from VecGrid finds what its tests show of one node, and not what
# is known to go wrong there. tests/behaviours.md says which is which.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 44
vgmount
drive 42 "$PYTHON3" "$HERE/behaves_like_vecgrid.py" "$M"
finish
