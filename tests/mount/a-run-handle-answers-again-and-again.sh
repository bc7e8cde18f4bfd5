#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .run: write a request, read its answer, on one handle and as often as wanted.
. "$(dirname "$0")/lib.sh"
plan 15
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/metric l2
for x in 0 1 2 3 4 5; do
	put "p$x" "$x,0"
done

exec 3<>query/.run
echo '{"vector":[2.2,0],"k":2}' >&3
is "$(cat <&3 | ids)" "p2 p3" "a shell writes JSON and reads the answer"
echo '{"vector":[5,0],"k":1}' >&3
is "$(cat <&3 | ids)" p5 "again on the same handle"
vector 0 0 >&3
is "$(cat <&3 | ids)" "p0 p1 p2 p3 p4 p5" "raw bytes ask as well"
exec 3>&-
exec 3<>query/k=2/.run
vector 4 0 >&3
is "$(cat <&3 | ids)" "p4 p3" "parameters may stand in the path"
exec 3>&-

report 10 "$PYTHON3" "$HERE/run_handle.py"
cd "$S" || exit 99
finish
