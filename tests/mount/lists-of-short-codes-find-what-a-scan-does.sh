#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# index ivf_pq: rows in lists, as short codes. What it answers is near what a
# scan does, the nearer the more lists are looked through; under filters, after
# deletes and overwrites, in a snapshot, after restarts of any kind.
. "$(dirname "$0")/lib.sh"
plan 49
vgmount
N=12000
mkdir "$M/c"
put "$M/c/.config/metric" l2

told() { # NAME: the value of a line of .stats/index
	sed -n "s/^$1: //p" "$M/c/.stats/index"
}
# Waits until all rows are linked, nothing is learnt or made anew.
settled() {
	for _ in $(seq 900); do
		[ "$(told anew)" = no ] && [ "$(cat "$M/c/.stats/indexing")" = 0 ] &&
			[ "$(told learning)" != yes ] &&
			[ "$(told index)" = flat -o "$(told quant)" != none ] &&
			return 0
		pause 0.1
	done
	diag "$(cat "$M/c/.stats/index")"
	return 1
}
recall() { # MIN MSG PARAMS
	local got
	got=$("$PYTHON3" "$HERE/ivf.py" recall "$M/c" "${3:-}" 2>&1)
	ok "$2: recall@10 $got" awk "BEGIN { exit !($got >= $1) }"
}
answers() {
	for i in 4 40 400 4000; do
		cat "$M/c/query/k=20/nprobe=9/ef=100/id=$i.tsv" || return
	done
}
# Asks until what is found was measured.
tuned() {
	for _ in $(seq 20); do
		"$PYTHON3" "$HERE/ivf.py" recall "$M/c" >/dev/null || return
		grep -q '^low:' "$M/c/.stats/recall" && return
	done
	diag "$(cat "$M/c/.stats/recall")"
	return 1
}
same() { # QUERY MSG: with all lists, and by a scan
	is "$(cat "$M/c/query/nprobe=65536/ef=1000/$1")" \
		"$(cat "$M/c/query/exact=1/$1")" "$2"
}

ok "index may be ivf_pq" put "$M/c/.config/index" ivf_pq
is "$(cat "$M/c/.config/index")" ivf_pq "and reads back"
"$PYTHON3" "$HERE/ivf.py" rows "$N" >"$S/rows"
head -500 "$S/rows" >"$M/c/.import/ndjson"
linked "$M/c"
is "$(told index) $(told quant) $(told lists) $(told coded)" "ivf_pq none 0 0" \
	"few rows have no codes yet"
like "$(told quant_why)" "8192 rows" "and why is told"
recall 1 "they are compared"
like "$(cat "$M/c/.stats/recall")" "recall: 1.*no lists are learnt yet" \
	"so recall is 1"
tail -n +501 "$S/rows" >"$M/c/.import/ndjson" &
import=$!
short=0
until [ "$(told quant)" = pq ]; do
	[ "$(cat "$M/c/query/k=10/id=7.ids" | wc -l)" = 10 ] || short=$((short + 1))
done
wait "$import"
is "$short" 0 "while rows come and lists are learnt each query has its rows"
ok "all rows are linked, and lists learnt" settled
is "$(told quant) $(told coded) $(told linked)" "pq $N $N" "all have codes"
like "$(told quant_why)" "codes of 4 bytes" "a byte for four of 16 elements"
ok "there are lists" [ "$(told lists)" -gt 300 ]
read -r fewest _ most < <(told list_rows)
mean=$((N / $(told lists)))
ok "of which the shortest and the longest are told: $fewest, $most" \
	[ "$fewest" -le "$mean" -a "$most" -gt "$mean" ]
ok "a row costs less than half of what it is long" \
	[ "$(told bytes_per_vector)" -lt 128 ]
recall 0.9 "as it comes"
ok "what lists find is measured" tuned
like "$(cat "$M/c/.stats/recall")" "ef_why: auto: the smallest tried" \
	"and ef is chosen by it"
few=$("$PYTHON3" "$HERE/ivf.py" recall "$M/c" nprobe=1/)
many=$("$PYTHON3" "$HERE/ivf.py" recall "$M/c" nprobe=64/)
ok "more lists find more: $few, $many" awk "BEGIN { exit !($few < $many) }"
recall 1 "all lists, and many candidates, are a scan" nprobe=65536/ef=1000/
recall 0.9 "of a third of the rows" g.eq=1/
same group=g/k=3/id=7.tsv "groups are found in lists"
same k=20/like=7,+8,-9.tsv "so is what is like some records"
like "$(cat "$M/c/query/nprobe=0/id=7" 2>&1)" "Invalid argument" \
	"nprobe of 0 is refused"
like "$(cat "$M/c/query/nprobe=65537/id=7" 2>&1)" "Invalid argument" \
	"and one above the limit"
exec 3<>"$M/c/query/.run"
echo '{"id":"7","k":20,"nprobe":9,"ef":100,"fmt":"tsv"}' >&3
is "$(cat <&3)" "$(cat "$M/c/query/k=20/nprobe=9/ef=100/id=7.tsv")" \
	"a request takes nprobe, too"
exec 3>&-

# Changes.
mkdir "$M/c/.snap/before"
before=$(answers)
snap=$(cat "$M/c/.snap/before/query/k=20/nprobe=9/ef=100/id=7.tsv")
put "$M/c/fresh" "$(seq -s, 100 115)"
is "$(cat "$M/c/query/k=1/$(seq -s, 100 115).ids")" fresh \
	"a row just written is found"
rm "$M/c/fresh"
for i in $(seq 1 4 "$((N - 1))"); do
	echo "$M/c/$i"
done | xargs rm
recall 0.9 "after a fourth of the rows was deleted"
is "$(cat "$M/c/.snap/before/query/k=20/nprobe=9/ef=100/id=7.tsv")" "$snap" \
	"a snapshot answers as before"
rmdir "$M/c/.snap/before"

# Restarts.
ok "all is settled" settled
before=$(answers)
lists=$(told lists)
from=$(told lists_from)
vgumount
ok "its lists are saved" [ "$(find "$D/c" -name 'graph.*' | wc -l)" -gt 0 ]
vgmount
is "$(cat "$M/c/.stats/indexing") $(told lists) $(told lists_from) $(told learning)" \
	"0 $lists $from no" "after a restart they are there, not learnt again"
is "$(answers)" "$before" "and answer the same"
for i in $(seq 50); do
	put "$M/c/late$i" "$(seq -s, "$i" $((i + 15)))"
done
kill -9 "$(daemon_pid)"
is "$(cat "$M/c/query/k=1/ef=100/$(seq -s, 50 65).ids")" late50 \
	"what came before a crash is found after it"
ok "all is linked" settled
recall 0.9 "as before"
kill -9 "$HOLDER"
wait "$HOLDER" 2>/dev/null || true
umount -l "$M" 2>/dev/null
vgmount
ok "also where all is killed" settled
is "$(cat "$M/c/query/k=1/ef=100/$(seq -s, 50 65).ids")" late50 "rows are there"

# A file of lists that is damaged.
vgumount
for f in "$D"/c/*/graph.*; do
	truncate -s 1000 "$f"
done
vgmount
ok "lists that are damaged on the disk are learnt again" settled
recall 0.9 "and answer"

# Learning that an end cuts off is done at the next start.
mkdir "$M/d"
put "$M/d/.config/index" ivf_pq
tail -n 9000 "$S/rows" >"$M/d/.import/ndjson"
vgumount
vgmount
learnt() {
	for _ in $(seq 600); do
		grep -q '^quant: pq' "$M/d/.stats/index" && return 0
		pause 0.1
	done
	return 1
}
ok "learning that was cut off is done after a restart" learnt

# Other indexes.
ok "another index may be written" put "$M/c/.config/index" hnsw
ok "rows are made anew" settled
is "$(told index)" hnsw "for it"
recall 0.95 "and found"
ok "and back" eval 'put "$M/c/.config/index" ivf_pq && settled'
is "$(told index) $(told quant)" "ivf_pq pq" "codes are there at once"
recall 0.9 "and rows found"
put "$M/c/.config/metric" cosine
ok "metric may be written" settled
recall 0.9 "and rows are found by it"
finish
