#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a stat computed is taken over by the open that follows, and counted.
. "$(dirname "$0")/lib.sh"
plan 17
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
for i in $(seq 50); do
	put v$i "$i,1"
done

cost() { # CMD...: how many searches it made
	local before
	before=$(cat .stats/searches)
	"$@" >/dev/null
	echo $(($(cat .stats/searches) - before))
}
is "$(cost cat query/1,2)" 1 "cat is one search"
is "$(cost stat query/1,3)" 1 "stat is one"
is "$(cost cp query/1,5 "$S/x")" 1 "cp is one"
is "$(cost wc -c query/1,6)" 1 "wc -c is one"
is "$(cost tail -n 1 query/1,7)" 1 "tail is one"
is "$(cost "$PYTHON3" -c 'import os
n = os.stat("query/1,8").st_size
with open("query/1,8", "rb") as f:
    assert os.fstat(f.fileno()).st_size == n
    assert len(f.read()) == n')" 1 "stat, open, fstat and read are one"
is "$(cost bash -c 'for i in 1 2 3; do cat query/1,9; done')" 3 \
	"three opens are three"
is "$(cost "$PYTHON3" -c 'import os
f = os.open("query/1,10", os.O_RDONLY)
for i in range(50):
    os.pread(f, 100, i)')" 1 "reading often is one"
is "$(cost ls query/k=5)" 0 "listing is none"
is "$(cost test -d query/k=5/ef=50)" 0 "a parameter is none"
is "$(cost cat query/count)" 0 "count is none"
put query/q1 1,2
is "$(cost cat query/q1)" 1 "a named request is one"
is "$(cost bash -c 'echo 2,3 >query/q1')" 0 "naming it is none"

"$PYTHON3" - >"$S/out" <<'PY'
import os
before = os.stat("query/k=99/7,7").st_size
with open("zz", "w") as f:
    f.write("7,7\n")
with open("query/k=99/7,7", "rb") as f:
    size = os.fstat(f.fileno()).st_size
    got = f.read()
print(before < size, size == len(got), b'"zz"' in got)
PY
is "$(cat "$S/out")" "True True True" \
	"after a change between stat and open the answer is a new one"
"$PYTHON3" - >"$S/out" <<'PY'
import os
f = os.open("query/k=99/7,8", os.O_RDONLY)
first = os.pread(f, 1 << 20, 0)
os.unlink("zz")
print(os.pread(f, 1 << 20, 0) == first, os.fstat(f).st_size == len(first))
PY
is "$(cat "$S/out")" "True True" "an open answer is pinned"
is "$(cost tar -cf "$S/t.tar" query/1,11)" 1 "tar is one"
cd "$S" || exit 99
finish
