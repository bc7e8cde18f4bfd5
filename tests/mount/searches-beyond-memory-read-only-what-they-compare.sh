#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A collection whose graph and codes fit the daemon's control group, and whose
# vectors do not: it opens without reading them, and a search reads the rows
# that it compares at its end, not what lies around them.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
grep -q "libasan\|libtsan" "$VECGRIDFS" && skip_all "a sanitizer has memory of its own"
LIMIT_MB=90
ROWS=40000 # of 784 floats: 125 MB, and 40 MB of graph and codes
QUERIES=200
ROW_KB=16 # at most, of a row that is compared, with what its sum covers
. "$(dirname "$0")/group.sh"

# Rows around 500 points, queries near some, and the 10 nearest of the first.
make() {
	"$PYTHON3" - "$S" "$ROWS" "$QUERIES" <<'PY'
import sys
import numpy as np
where, rows, queries = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice = np.random.default_rng(6)
centre = dice.normal(size=(500, 784)).astype("f4")
near = lambda n: (centre[dice.integers(500, size=n)]
                  + dice.normal(size=(n, 784)).astype("f4") * .5).astype("f4")
v, q = near(rows), near(queries)
np.save(where + "/v.npy", v)
np.save(where + "/q.npy", q)
with open(where + "/first", "w") as f:
    print(*np.argsort(np.square(v - q[0]).sum(1))[:10], sep="\n", file=f)
PY
}

# Bytes that the daemon has read from disks.
read_bytes() { sed -n 's/^read_bytes: //p' "/proc/$(daemon_pid)/io"; }

# The rows of the file FILE that are not in memory afterwards.
drop() {
	sync "$1"
	"$PYTHON3" -c 'import os, sys
os.posix_fadvise(os.open(sys.argv[1], os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)' "$1"
}

plan 9
make
vgmount backup_grace=0
mkdir "$M/c"
put "$M/c/.config/metric" l2
ok "they are loaded" cp "$S/v.npy" "$M/c/.import/npy"
linked "$M/c"
rm "$S/v.npy"
cp "$S/q.npy" "$M/c/query/q.npy"
cat "$M/c/query/ef=100/q.ids" >"$S/want"
vgumount
drop "$D"/c/*/vec.0001
enter
vgmount backup_grace=0
leave
is "$(cat "$M/c/.stats/count")" "$ROWS" "in less memory all are there"
before=$(read_bytes)
ok "to open them read no fourth of them" \
	[ "$before" -lt $((ROWS * 784)) ]
cp "$S/q.npy" "$M/c/query/q.npy"
cat "$M/c/query/ef=100/q.ids" >"$S/got"
bytes=$((($(read_bytes) - before) / QUERIES))
ok "answers are those from memory" cmp "$S/want" "$S/got"
ok "it read some rows for each answer" [ $bytes -gt 4096 ]
ok "36 of them at most, and little else" [ $bytes -lt $((36 * ROW_KB * 1024)) ]
diag "$((bytes / 1024)) KiB a query"
"$PYTHON3" -c 'import sys, numpy
sys.stdout.buffer.write(numpy.load(sys.argv[1])[0].tobytes())' "$S/q.npy" \
	>"$M/c/query/one"
ok "a scan of them all is right" \
	cmp "$S/first" "$M/c/query/exact=1/one.ids"
ok "within its memory" is_within
finish
