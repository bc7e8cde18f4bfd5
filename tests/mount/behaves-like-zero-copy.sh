#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who comes from Zero-Copy finds what its tests show of one node.
# tests/behaviours.md says which is which.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 22
vgmount
drive 20 "$PYTHON3" "$HERE/behaves_like_zero_copy.py" "$M"
finish
