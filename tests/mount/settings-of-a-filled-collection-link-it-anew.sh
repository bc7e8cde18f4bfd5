#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# metric, m, ef_construction, index and quant may be written at any time: the
# collection is linked anew behind them, and answers all the while.
. "$(dirname "$0")/lib.sh"
plan 25
vgmount
mkdir "$M/c"
put "$M/c/.config/metric" l2
N=3000
[ "$VG_SOAK" = 1 ] && N=30000

# N rows of 16 whole numbers, as an .npy on stdout.
rows() {
	"$PYTHON3" - "$N" <<'PY'
import random, struct, sys
n = int(sys.argv[1])
rng = random.Random(5)
head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, 16), }}"
head += " " * (63 - (10 + len(head)) % 64) + "\n"
out = b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode()
for _ in range(n):
    out += struct.pack("<16f", *(rng.randrange(256) for _ in range(16)))
sys.stdout.buffer.write(out)
PY
}
told() { # NAME: the value of a line of .stats/index
	sed -n "s/^$1: //p" "$M/c/.stats/index"
}
# Waits until nothing is made anew and all rows are linked.
settled() {
	for _ in $(seq 600); do
		[ "$(told anew)" = no ] && [ "$(cat "$M/c/.stats/indexing")" = 0 ] &&
			return 0
		pause 0.1
	done
	diag "$(cat "$M/c/.stats/index")"
	return 1
}
# Answers by ef, and whether they are those of a scan.
found() { cat "$M/c/query/k=10/ef=400/id=7.tsv"; }
right() {
	[ "$(found)" = "$(cat "$M/c/query/k=10/exact=1/id=7.tsv")" ]
}
set_to() { # NAME VALUE
	put "$M/c/.config/$1" "$2" && [ "$(cat "$M/c/.config/$1")" = "$2" ]
}

is "$(told index)" none "an empty collection has no index"
rows >"$S/rows.npy"
cp "$S/rows.npy" "$M/c/.import/npy"
ok "the rows are linked" settled
is "$(told index) $(told quant) $(told coded)" "hnsw sq8 $N" \
	"auto links them and codes them"
like "$(told quant_why)" "whole numbers" "and says why"
mkdir "$M/c/.snap/l2"
before=$(found)

ok "quant may be set" set_to quant none
ok "the rows are made anew" settled
is "$(told quant) $(told quant_why)" "none as written" "without codes"
is "$(found)" "$before" "answers are the same"
ok "m and ef_construction may be set" eval 'set_to m 8 && set_to ef_construction 40'
ok "the rows are made anew" settled
is "$(told m) $(told ef_construction)" "8 40" "with them"
is "$(found)" "$before" "answers are the same"
ok "quant may be set back" set_to quant auto

# A writer and a reader beside it: no call fails, no row is missed.
(
	for i in $(seq 200); do
		put "$M/c/new$i" "$(seq -s, "$i" $((i + 15)))" || echo "put $i"
		[ "$(cat "$M/c/query/k=1/exact=1/id=7.ids" | wc -l)" = 1 ] ||
			echo "query $i"
	done
) >"$S/beside" 2>&1 &
beside=$!
ok "metric may be set beside a writer" set_to metric cosine
ok "the rows are made anew" settled
wait "$beside"
is "$(cat "$S/beside")" "" "no call beside it failed"
is "$(cat "$M/c/.stats/count")" $((N + 200)) "no row is lost"
is "$(told metric)" cosine "they are compared by the new one"
like "$(cat "$M/c/query/k=1/ef=400/id=7.ndjson")" '"dist":[0-9.e-]+,"score":0\.9' \
	"score is the cosine"
ok "a graph of them finds what a scan does" right

is "$(cat "$M/c/.snap/l2/.config/metric") $(cat "$M/c/.snap/l2/query/k=10/ef=400/id=7.tsv")" \
	"l2 $before" "a snapshot from before answers as before"
umount "$M"
vgmount
ok "after a restart nothing is left to do" settled
is "$(told metric) $(told m)" "cosine 8" "it is what it was set to"
ok "index may be set to flat, which needs no graph" eval \
	'set_to index flat && settled && [ "$(told index)" = flat ] && right'
finish
