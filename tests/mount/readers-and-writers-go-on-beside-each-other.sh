#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything at once for a few seconds: nobody fails, nobody sees a mixture,
# and in the end all is as the last writers left it. VG_BESIDE_S: how long (3).
. "$(dirname "$0")/lib.sh"
plan 8
vgmount
report 7 "$PYTHON3" "$HERE/beside.py" "${VG_BESIDE_S:-3}"
finish
