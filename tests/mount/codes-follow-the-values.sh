#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Vectors whose values leave the range that codes were chosen for are found all
# the same; where they are many, all are coded anew, in the background.
. "$(dirname "$0")/lib.sh"
plan 13
vgmount
mkdir "$M/c"
put "$M/c/.config/metric" l2
N=2500

# N rows of 16 numbers up to TO, as lines of JSON, ids from FIRST on; "whole":
# whole numbers.
rows() {
	"$PYTHON3" - "$@" <<'PY'
import json, random, sys
n, first, to, kind = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
rng = random.Random(first)
for i in range(first, first + n):
    v = [rng.uniform(0, to) for _ in range(16)]
    if kind == "whole":
        v = [int(x) for x in v]
    print(json.dumps({"id": f"r{i}", "vector": v}))
PY
}
told() { # NAME: the value of a line of .stats/index
	sed -n "s/^$1: //p" "$M/c/.stats/index"
}
# Of 20 rows from FIRST on, how many are their own nearest, and beside whom a
# scan says.
right() {
	local n=0 i
	for i in $(seq "$1" 50 $(($1 + 999))); do
		[ "$(cat "$M/c/query/ef=200/id=r$i.tsv")" = \
			"$(cat "$M/c/query/exact=1/id=r$i.tsv")" ] && n=$((n + 1))
	done
	[ "$n" -ge 19 ] || diag "$n of 20"
	[ "$n" -ge 19 ]
}

rows $N 0 256 whole >"$M/c/.import/ndjson"
ok "whole numbers are linked" settled "$M/c"
is "$(told quant):$(told coded)" "sq8:$N" "and coded"
like "$(told quant_why)" "whole numbers" "as themselves"
rows 100 10000 256 float >"$M/c/.import/ndjson"
ok "some that are none are linked" settled "$M/c"
is "$(told coded):$(told linked)" "$N:$((N + 100))" "without codes"
ok "and found" right 10000
rows $N 20000 4000 float >"$M/c/.import/ndjson"
ok "as many with values far out of range are linked, and all are coded anew" \
	settled "$M/c"
all=$((2 * N + 100))
is "$(told quant):$(told coded):$(told linked)" "sq8:$all:$all" "all of them"
like "$(told quant_why)" "round off" "by codes that round off"
ok "the new ones are found" right 20000
ok "and the old ones" right 0
vgumount
vgmount
is "$(told coded):$(cat "$M/c/.stats/count")" "$all:$all" "a remount keeps that"
finish
