#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Insert, overwrite, delete, rename, metadata: the next open of any query knows.
. "$(dirname "$0")/lib.sh"
plan 7
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
report 6 "$PYTHON3" "$HERE/changes.py" 200
cd "$S" || exit 99
finish
