#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What filters have indexed is kept in checkpoints: after a restart, a kill, in a
# copy and in a snapshot they answer as before and look at no metadata but the
# new; a damaged file is told, left aside and made again.
. "$(dirname "$0")/lib.sh"
plan 32

N=30000

rows() { # FROM TO: lines of ndjson
	awk -v from="$1" -v to="$2" 'BEGIN {
		split("en de fr la", lang, " ")
		for (i = from; i <= to; i++)
			printf "{\"id\":\"%d\",\"vector\":[%d,%d],\"metadata\":" \
				"{\"year\":%d,\"lang\":\"%s\",\"x\":%.7f}}\n", i, i,
				i % 7, 1900 + i % 120, lang[1 + i % 4], i / 3
	}'
}

# answers [DIR]: what queries under filters say.
answers() {
	local q=${1:-$M/c/query}
	cat "$q/year.gte=2000/lang.eq=de/count" "$q/x.lt=5000/facet=lang" \
		"$q/year.in=1950,1951/k=5/id=777.ids" "$q/lang.prefix=f/count" \
		"$q/where=not lang.eq=en and year.lt=1903/k=4/id=5.ids"
}

told() { # NAME: the value of a line of .stats/index
	sed -n "s/^$1: //p" "$M/c/.stats/index"
}

# flip FILE BYTE...: one bit of each.
flip() {
	"$PYTHON3" - "$@" <<-'EOF'
		import sys
		with open(sys.argv[1], "r+b") as f:
		    for at in map(int, sys.argv[2:]):
		        f.seek(at)
		        byte = f.read(1)[0] ^ 8
		        f.seek(at)
		        f.write(bytes([byte]))
	EOF
}

# until_files N: waits until N files of indexes are there.
until_files() {
	until [ "$(find "$D" -name 'fields.*' | wc -l)" = "$1" ]; do
		pause 0.1
	done
}

vgmount backup_grace=0
mkdir "$M/c"
put "$M/c/.config/metric" l2
rows 1 $N >"$M/c/.import/ndjson"
is "$(told fields) $(told fields_read)" "0 0" "without filters nothing is indexed"
answers >"$S/want"
is "$(wc -l <"$S/want")" 15 "queries under filters answer"
is "$(told fields) $(told fields_read)" "3 $((3 * N))" \
	"each of their fields is indexed once"
answers >"$S/got"
is "$(diff "$S/want" "$S/got")" "" "they answer the same again"
is "$(told fields_read)" "$((3 * N))" "without a look at metadata"
until_files 1
passed "the next checkpoint saves what was indexed"

# ---- a restart

vgumount
is $? 0 "it is unmounted"
vgmount backup_grace=0
is "$(told fields) $(told fields_bytes)" "0 0" "a start loads no index"
answers >"$S/got"
is "$(diff "$S/want" "$S/got")" "" "after a restart filters say the same"
is "$(told fields) $(told fields_read)" "3 0" \
	"and look at no metadata again"
like "$(told fields_bytes)" '^[0-9]{6,}$' "the indexes are in memory"
rows $((N + 1)) $((N + 50)) >"$M/c/.import/ndjson"
rm "$M/c/777"
is "$(cat "$M/c/query/x.gte=0/count")" $((N + 49)) "what is new is found"
is "$(told fields_read)" 50 "by its own metadata"
cat "$M/c/query/year.gte=2000/lang.eq=de/count" "$M/c/query/x.lt=9e9/facet=lang" \
	>"$S/want2"

# ---- a crash, a copy

kill -9 "$(daemon_pid)"
cat "$M/c/query/year.gte=2000/lang.eq=de/count" "$M/c/query/x.lt=9e9/facet=lang" \
	>"$S/got2"
is "$(diff "$S/want2" "$S/got2")" "" "after a kill they say the same"
is "$(told fields_read)" 150 "and look at no more than what the log has"
cp -a "$D" "$S/copy"
mkdir "$M/c/.snap/then"
rm "$M"/c/1?3
cat "$M/c/query/snap=then/lang.eq=la/count" "$M/c/query/lang.eq=la/count" >"$S/want3"
vgumount
is $? 0 "it is unmounted again"
vgmount backup_grace=0
cat "$M/c/query/snap=then/lang.eq=la/count" "$M/c/query/lang.eq=la/count" >"$S/got3"
is "$(diff "$S/want3" "$S/got3")" "" "a snapshot and the present each say theirs"
is "$(told fields_read)" 50 "both by what was saved, and what came since"
vgumount
D=$S/copy
vgmount backup_grace=0
cat "$M/c/query/year.gte=2000/lang.eq=de/count" "$M/c/query/x.lt=9e9/facet=lang" \
	>"$S/got2"
is "$(diff "$S/want2" "$S/got2")" "" "a copy made meanwhile says what was then"
is "$(told fields_read)" 150 "and has the indexes, too"
vgumount

# ---- damage

file=$(ls "$D"/c/*/fields.*)
size=$(stat -c %s "$file")
like "$size" '^[0-9]{6,}$' "there is one file of indexes"
cp -a "$D" "$S/good"
damaged() { # WHAT: the copy's file is
	local out
	out=$("$VECGRIDFS" --check "$D" 2>&1)
	like "$out" "c/[0-9a-f]*/fields\.[0-9]* is .*; derived: it is rebuilt" \
		"$1: --check says that it is derived"
	vgmount backup_grace=0
	cat "$M/c/query/year.gte=2000/lang.eq=de/count" \
		"$M/c/query/x.lt=9e9/facet=lang" >"$S/got2"
	is "$(diff "$S/want2" "$S/got2")" "" "$1: filters say the same"
	vgumount
	out=$("$VECGRIDFS" --check "$D" 2>&1)
	like "$out" "nothing is wrong" "$1: then it is whole again"
	rm -rf "$D" && cp -a "$S/good" "$D"
}
flip "$file" 3 $((size / 4)) $((size / 2)) $((size - 5))
damaged "some bits flipped"
truncate -s $((size / 3)) "$file"
damaged "a file that was cut"
rm "$file"
damaged "a file that is missing"

vgmount backup_grace=0
put "$M/c/.delete-where" "year.gte=1"
is "$(cat "$M/c/query/year.gte=1/count")" 0 "an emptied collection has no matches"
finish
