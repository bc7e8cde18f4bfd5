#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# like=A,+B,-C: the neighbours of a sum of stored vectors, by ids of any bytes.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 15
vgmount
drive 13 "$PYTHON3" "$HERE/like.py" "$M"
finish
