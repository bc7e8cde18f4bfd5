#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# f16, i8 and b1: CSV and bvecs in and all.vec out, filters, like=, a tuned ef, and
# rows that leave the graph, through a crash and a restart.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 53
vgmount
drive 51 "$PYTHON3" "$HERE/combined.py" "$M"
finish
