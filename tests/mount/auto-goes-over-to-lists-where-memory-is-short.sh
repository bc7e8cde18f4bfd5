#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A collection of index auto that grows past what its control group has memory
# for goes over to lists, answers as before, and goes back when rows have gone.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
grep -q "libasan\|libtsan" "$VECGRIDFS" && skip_all "a sanitizer has memory of its own"
LIMIT_MB=100
ROWS=100000 # of 256 floats: 102 MB, and 48 MB of a graph and its codes
. "$(dirname "$0")/group.sh"

# Rows around 1,000 points, in two files; 50 queries near some of them.
make() {
	"$PYTHON3" - "$S" "$ROWS" <<'PY'
import sys
import numpy as np
where, rows = sys.argv[1], int(sys.argv[2])
dice = np.random.default_rng(11)
points = dice.normal(size=(1000, 256)).astype("f4")
for part in range(2):
    at = dice.integers(0, 1000, rows // 2)
    np.save(f"{where}/{part}.npy", points[at] + dice.normal(
        scale=.5, size=(rows // 2, 256)).astype("f4"))
np.save(f"{where}/q.npy", points[:50] + dice.normal(
    scale=.5, size=(50, 256)).astype("f4"))
PY
}
told() { # NAME: the value of a line of .stats/index
	sed -n "s/^$1: //p" "$M/c/.stats/index"
}
# Waits until it has that index, all of it.
settled() { # INDEX
	for _ in $(seq 1200); do
		[ "$(told index):$(told anew):$(cat "$M/c/.stats/indexing")" = \
			"$1:no:0" ] && return 0
		pause 0.1
	done
	diag "$(cat "$M/c/.stats/index")"
	return 1
}
# Of 500 neighbours how many are found: 475 at least.
found() {
	cp "$S/q.npy" "$M/c/query/q"
	cat "$M/c/query/exact=1/k=10/q.ids" >"$S/truth"
	cat "$M/c/query/ef=400/k=10/q.ids" >"$S/got"
	"$PYTHON3" - "$S/truth" "$S/got" <<'PY'
import sys
truth, got = ([set(part.split()) for part in open(name).read().split("\n\n")]
              for name in sys.argv[1:3])
n = sum(len(a & b) for a, b in zip(truth, got))
print("#", n, "of", sum(map(len, truth)))
sys.exit(sum(map(len, truth)) != 500 or n < 475)
PY
}

plan 15
make
enter
vgmount backup_grace=0
leave
mkdir "$M/c"
put "$M/c/.config/metric" l2
ok "half of the rows are loaded" cp "$S/0.npy" "$M/c/.import/npy@a"
ok "they fit as a graph" settled hnsw
ok "which finds" found
ok "the other half is" cp "$S/1.npy" "$M/c/.import/npy@b"
ok "and makes it lists" settled ivf_pq
like "$(told index_why)" "^auto: lists" "which says why"
is "$(cat "$M/c/.config/index")" auto "as it was not told to be"
ok "they find" found
vgumount
is $? 0 "it is unmounted"
enter
vgmount backup_grace=0
leave
ok "it is lists still" settled ivf_pq
ok "which find" found
# All but 20,000.
"$PYTHON3" - "$M/c" "$ROWS" <<'PY'
import os, sys
for i in range(int(sys.argv[2]) // 2):
    os.unlink(f"{sys.argv[1]}/b{i}")
    if i >= 20000:
        os.unlink(f"{sys.argv[1]}/a{i}")
PY
ok "four in five are deleted, and it is a graph" settled hnsw
ok "which finds" found
ok "within its memory" is_within
finish
