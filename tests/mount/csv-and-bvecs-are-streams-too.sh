#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .import/csv takes what csv.writer writes, .import/bvecs rows of bytes, in
# constant memory and across crashes; .export/all.vec has the rows behind 24
# bytes.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
grep -q "libasan\|libtsan" "$VECGRIDFS" && export SANITIZED=1
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 24
vgmount
drive 22 "$PYTHON3" "$HERE/csv_stream.py" "$M"
finish
