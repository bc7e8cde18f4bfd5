#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A named request of n vectors has n answers, told apart by "q".
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 21
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/metric l2
for x in 0 1 2 3; do
	put "p$x" "$x,0"
done
"$PYTHON3" -c 'import numpy as np, sys
q = np.array([[0, 0], [3, 0], [1.75, 0]], "f4")
np.save(sys.argv[1] + "/b.npy", q)
np.save(sys.argv[1] + "/d.npy", q.astype("f8"))
q.tofile(sys.argv[1] + "/b.raw")' "$S"

ok "an (n, dim) array is written" cp "$S/b.npy" query/b1
is "$(cat query/k=2/b1)" \
'{"q":0,"rank":1,"id":"p0","dist":0,"score":0}
{"q":0,"rank":2,"id":"p1","dist":1,"score":-1}
{"q":1,"rank":1,"id":"p3","dist":0,"score":0}
{"q":1,"rank":2,"id":"p2","dist":1,"score":-1}
{"q":2,"rank":1,"id":"p2","dist":0.25,"score":-0.25}
{"q":2,"rank":2,"id":"p1","dist":0.75,"score":-0.75}' \
	"each row says which one it answers"
is "$(cat query/k=2/b1.ids)" $'p0\np1\n\np3\np2\n\np2\np1' \
	"ids has an empty line between"
is "$(cat query/k=1/b1.tsv)" $'0\tp0\t0\n1\tp3\t0\n2\tp2\t0.25' "tsv"
is "$(od -An -tf4 query/k=2/b1.f32 | xargs | cut -d' ' -f1-4)" "0 1 0 1" \
	"f32 is n times k"
is "$(stat -c %s query/k=2/b1.f32)" 24 "floats"
is "$("$PYTHON3" -c 'import numpy as np
print(np.load("query/k=2/b1.npy").shape)')" "(3, 2)" "npy is a matrix"
for f in ndjson json tsv ids dist f32 npy; do
	is "$(stat -c %s query/k=3/b1.$f)" "$(cat query/k=3/b1.$f | wc -c)" \
		"the size of $f is exact"
done
ok "float64 is taken" cp "$S/d.npy" query/b2
is "$(cat query/k=2/b2.ids)" "$(cat query/k=2/b1.ids)" "for the same"
ok "raw bytes of n vectors too" cp "$S/b.raw" query/b3
is "$(cat query/k=2/b3.ids)" "$(cat query/k=2/b1.ids)" "for the same"
is "$(cat query/k=2/threads=2/b1)" "$(cat query/k=2/threads=1/b1)" \
	"the number of threads does not show"
rm p3
is "$(cat query/k=1/b1.ids | xargs)" "p0 p2 p2" "a batch sees changes"
cd "$S" || exit 99
finish
