#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who comes from Vector-DB finds what its tests show of one node.
# tests/behaviours.md says which is which.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 32
vgmount
drive 30 "$PYTHON3" "$HERE/behaves_like_vector_db.py" "$M"
finish
