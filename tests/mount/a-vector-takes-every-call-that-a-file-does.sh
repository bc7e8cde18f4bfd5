#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many handles, writes in place, sizes, syncs, dup, fork and every way to read.
. "$(dirname "$0")/lib.sh"
plan 55
vgmount
mkdir "$M/c"
put "$M/c/.config/dim" 3
put "$M/c/.config/metric" l2
cd "$M/c" || exit 99

report 51 "$PYTHON3" "$HERE/descriptors.py" "$S/outside"

is "$(ls | xargs)" "a b c d e f s0 s1" "nothing else is left of it"
is "$(cat .stats/count)" 8 "by the count as well"
is "$(ids <query/exact=1/k=1/6,7,8)" f "and what was written last is found"
cd "$S" || exit 99
finish
