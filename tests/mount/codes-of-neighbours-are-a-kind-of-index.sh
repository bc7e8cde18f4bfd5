#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# quant qg: a graph whose nodes have codes of their neighbours finds what a scan
# does, while rows come and go, is linked anew from and to it, and is there
# after a restart and a crash.
. "$(dirname "$0")/lib.sh"
plan 30
vgmount
mkdir "$M/c"
put "$M/c/.config/metric" l2
put "$M/c/.config/quant" qg
N=3000 DIM=64

# N rows from FIRST on, as lines of JSON: sums of few directions.
rows() { # FIRST N
	"$PYTHON3" - "$1" "$2" $DIM <<'PY'
import json, sys
import numpy
first, n, dim = map(int, sys.argv[1:])
axes = numpy.random.default_rng(1).normal(size=(8, dim))
for i in range(first, first + n):
    rng = numpy.random.default_rng(i + 10)
    v = rng.normal(size=8) @ axes + .2 * rng.normal(size=dim)
    print(json.dumps({"id": f"r{i}", "metadata": {"part": i % 3},
                      "vector": [round(float(x), 4) for x in v]}))
PY
}
told() { # NAME: the value of a line of .stats/index
	sed -n "s/^$1: //p" "$M/c/.stats/index"
}
# Of the 10 nearest to 20 rows from FIRST on, how many are those of a scan: 98
# in a hundred at least. FILTER/: among some alone.
right() { # FIRST [FILTER/]
	local n=0 i
	for i in $(seq "$1" 27 $(($1 + 539))); do
		n=$((n + $(cat "$M/c/query/${2-}ef=60/id=r$i.ids" \
			"$M/c/query/${2-}exact=1/id=r$i.ids" | sort | uniq -d |
			wc -l)))
	done
	[ "$n" -ge 196 ] || diag "$n of 200"
	[ "$n" -ge 196 ]
}
same() { # the distance told is a scan's, to the digit
	[ "$(head -n 1 "$M/c/query/ef=60/id=r7.tsv")" = \
		"$(head -n 1 "$M/c/query/exact=1/id=r7.tsv")" ]
}
qg_of() { # LINKED: what holds of it, soon: what was deleted leaves by and by
	for _ in $(seq 600); do
		[ "$(told linked)" = "$1" ] && break
		pause 0.1
	done
	is "$(told quant):$(told linked)" "qg:$1" "walks go by codes of neighbours"
	ok "and find what a scan does" right 0
}

rows 0 $N >"$M/c/.import/ndjson"
ok "rows are linked" settled "$M/c"
qg_of $N
ok "distances are exact" same
like "$(told quant_why)" "as written: codes of neighbours" "and says why"
bytes=$(told bytes_per_vector)
ok "a node has 4 bytes a dimension more, and some" \
	[ "$bytes" -gt $((5 * DIM + 256)) -a "$bytes" -lt $((5 * DIM + 700)) ]
ok "a filter is answered" right 0 part.eq=1/

# Half of the rows are written anew, others go, and come under other names.
rows 0 1500 >"$M/c/.import/ndjson"
rows 5000 1000 >"$M/c/.import/ndjson"
echo 'part.eq=2' >"$M/c/.delete-where"
ok "rows that were overwritten, added and deleted are linked" settled "$M/c"
left=2666
is "$(cat "$M/c/.stats/count")" "$left" "as many are left as should be"
is "$(cat "$M/c/query/k=100/part.eq=2/id=r100.ids" && echo read)" read \
	"no deleted one is found"
ok "the living are" right 5001 part.lt=2/

# A writer beside: what was there is found as well.
(rows 7000 600 >"$M/c/.import/ndjson") &
writer=$!
ok "beside a writer rows are found" right 5001
wait $writer
ok "its rows are linked" settled "$M/c"
ok "and found" right 7000

vgumount
vgmount
ok "after a restart" settled "$M/c"
qg_of $((left + 600))
rows 9000 300 >"$M/c/.import/ndjson"
left=$((left + 300))
kill -9 "$HOLDER"
umount -l "$M" 2>/dev/null
vgmount
ok "after a crash" settled "$M/c"
qg_of $((left + 600))

put "$M/c/.config/quant" auto
ok "quant may be set to auto" settled "$M/c"
is "$(told quant):$([ "$(told bytes_per_vector)" -lt "$bytes" ] && echo less)" \
	sq8:less "then nodes are small"
ok "and rows found" right 0
put "$M/c/.config/quant" qg
put "$M/c/.config/metric" ip
ok "and back to qg, by another metric" settled "$M/c"
qg_of $((left + 600))
put "$M/c/.config/metric" l1
ok "under l1 there are none" settled "$M/c"
is "$(told quant)" none "which is told"
like "$(told quant_why)" "of f32 under l2, cosine and ip" "with what they are for"
finish
