#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who comes from vecraft finds what its tests show of one node, and a little
# more. tests/behaviours.md says which is which.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 61
vgmount
drive 59 "$PYTHON3" "$HERE/behaves_like_vecraft.py" "$M"
finish
