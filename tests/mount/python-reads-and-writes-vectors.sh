#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a Python program does with files: open, numpy, shutil, scandir, mmap.
. "$(dirname "$0")/lib.sh"
plan 16
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
need_numpy 15 && {
	report 15 "$PYTHON3" "$HERE/numpy_io.py"
}
cd "$S" || exit 99
finish
