#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What was overwritten or deleted leaves the graph soon, in the background, while
# searches and writers go on: .stats/index says how many rows are linked.
. "$(dirname "$0")/lib.sh"
plan 20
vgmount
mkdir "$M/c"
put "$M/c/.config/metric" l2
N=3000
[ "$VG_SOAK" = 1 ] && N=30000

# Rows FROM..TO-1 of 16 floats as lines of JSON, drawn by SEED; `end` is whether
# a row is of the last fifth.
rows() {
	"$PYTHON3" - "$@" $N <<'PY'
import json, random, sys
first, last, seed, n = map(int, sys.argv[1:])
rng = random.Random(seed)
for i in range(first, last):
    v = [round(rng.gauss(0, 1), 4) for _ in range(16)]
    print(json.dumps({"id": f"r{i}", "vector": v,
                      "metadata": {"end": int(i >= n * 4 // 5)}}))
PY
}
told() { # NAME: the value of a line of .stats/index
	sed -n "s/^$1: //p" "$M/c/.stats/index"
}
# Waits until all rows are linked, and $1 of them in all.
linked() {
	for _ in $(seq 600); do
		[ "$(cat "$M/c/.stats/indexing"):$(told linked)" = "0:$1" ] &&
			return 0
		pause 0.1
	done
	diag "$(cat "$M/c/.stats/index")"
	return 1
}
at_most() { # N rows in the graph, soon
	for _ in $(seq 600); do
		[ "$(told linked)" -le "$1" ] && return 0
		pause 0.1
	done
	diag "$(told linked)"
	return 1
}
# How many of 40 answers, 10 rows each, are those of a scan.
right() {
	local n=0 i
	for i in $(seq 1 40); do
		[ "$(cat "$M/c/query/ef=200/id=r$((i * N / 101)).tsv")" = \
			"$(cat "$M/c/query/exact=1/id=r$((i * N / 101)).tsv")" ] &&
			n=$((n + 1))
	done
	[ "$n" -ge 38 ] || diag "$n of 40"
	[ "$n" -ge 38 ]
}

rows 0 $N 1 >"$S/first"
cat "$S/first" >"$M/c/.import/ndjson"
ok "$N rows are linked" linked $N
ok "answers are those of a scan" right

# A third is overwritten: a fourth of the graph is dead.
rows 0 $((N / 3)) 2 >"$S/second"
cat "$S/second" >"$M/c/.import/ndjson"
ok "what was overwritten leaves" linked $N
is "$(cat "$M/c/.stats/count"):$(cat "$M/c/.stats/deleted")" "$N:$((N / 3))" \
	"its rows wait for a compaction"
ok "answers are those of a scan" right

# What a snapshot shows stays, and goes with it.
mkdir "$M/c/.snap/s"
before=$(cat "$M/c/.snap/s/query/id=r7.ids")
last() { cat "$M/c/query/end.eq=1/id=r7.ids"; }
is "$(last | wc -l)" 10 "a filter finds the last fifth"
for i in $(seq $((N * 4 / 5)) $((N - 1))); do echo "$M/c/r$i"; done | xargs rm
for i in $(seq $((N / 2)) $((N * 4 / 7))); do echo "$M/c/r$i"; done | xargs rm
left=$(cat "$M/c/.stats/count")
is "$(last && echo read)" read "none of them once all are deleted"
pause 3
is "$(told linked)" $N "what a snapshot shows does not leave"
is "$(cat "$M/c/.snap/s/query/id=r7.ids")" "$before" "it answers as before"
rmdir "$M/c/.snap/s"
kill -9 "$HOLDER"
umount -l "$M" 2>/dev/null
vgmount
ok "a crash later, without the snapshot" linked "$left"
ok "answers are those of a scan" right
vgumount
vgmount
is "$(cat "$M/c/.stats/count"):$(cat "$M/c/.stats/indexing")" "$left:0" \
	"a remount finds it"
is "$(told linked)" "$left" "without the rows that left"
ok "answers are those of a scan" right

# Writers that overwrite, beside a reader, for as long as it takes.
"$PYTHON3" - "$M/c" "$left" >"$S/out" 2>&1 <<'PY' &
import os, random, struct, sys, time
c, n = sys.argv[1], int(sys.argv[2])
ids = os.listdir(c)
rng = random.Random(3)
end = time.time() + 8
rounds = wrong = 0
while time.time() < end:
    i = rng.choice(ids)
    v = struct.pack("<16f", *(rng.gauss(0, 1) for _ in range(16)))
    with open(f"{c}/{i}", "wb") as f:
        f.write(v)
    with open(f"{c}/query/w", "wb") as f:
        f.write(v)
    rows = open(f"{c}/query/k=3/w.ids").read().split()
    wrong += len(rows) != 3 or rows[0] != i
    rounds += 1
print(f"{wrong} wrong")
print(f"{rounds} rounds", file=sys.stderr)
PY
wait $!
is $? 0 "a writer who overwrites ends"
like "$(cat "$S/out")" "^0 wrong" "he finds each vector as he wrote it"
is "$(cat "$M/c/.stats/count")" "$left" "as many records are there"
ok "answers are those of a scan" right
ok "what he overwrote leaves once he is done" at_most $((left + left / 50 + 256))
finish
