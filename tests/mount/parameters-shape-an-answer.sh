#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# k, ef, offset, max_dist, min_score, exact, fields, threads, trailer and so
# on, in any order.
. "$(dirname "$0")/lib.sh"
plan 34
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/metric l2
for i in $(seq -w 0 29); do
	printf '{"vector":[%s,0],"metadata":{"n":%d,"s":"x","t":[1]}}' \
		"1$i" "$((10#$i))" >v$i
done
q=100,0

is "$(wc -l <query/$q)" 10 "ten rows unasked"
is "$(wc -l <query/k=3/$q)" 3 "k rows asked"
is "$(wc -l <query/k=10000/$q)" 30 "never more than there are"
is "$(ids <query/k=3/offset=4/$q)" "v04 v05 v06" "offset leaves some out"
is "$(ids <query/offset=4/k=3/$q)" "v04 v05 v06" "in any order"
is "$(cat query/k=3/offset=28/$q.ids | xargs)" "v28 v29" \
	"at the end fewer are left"
is "$(cat query/k=3/offset=100/$q)" "" "behind it none"
is "$(head -n 1 query/offset=4/k=3/$q | grep -o '"rank":[0-9]*')" '"rank":5' \
	"ranks count from the first"
is "$(cat query/max_dist=3/$q.ids | xargs)" "v00 v01 v02 v03" \
	"max_dist is a bound, itself included"
is "$(cat query/min_score=-2/$q.ids | xargs)" "v00 v01 v02" "min_score too"
is "$(cat query/k=2/max_dist=3/$q.ids | xargs)" "v00 v01" "both hold"
is "$(cat query/ef=500/$q.ids)" "$(cat query/$q.ids)" "ef"
is "$(cat query/exact=1/$q.ids)" "$(cat query/$q.ids)" "exact=1"
is "$(cat query/exact=0/$q.ids)" "$(cat query/$q.ids)" "exact=0"
is "$(cat query/threads=1/$q.ids)" "$(cat query/$q.ids)" "threads=1"
is "$(cat query/threads=4/$q.ids)" "$(cat query/$q.ids)" "threads=4"
is "$(cat query/timeout=60000/$q.ids)" "$(cat query/$q.ids)" "timeout"
is "$(cat query/partial=1/$q.ids)" "$(cat query/$q.ids)" "partial=1"
is "$(cat query/strict=1/$q.ids)" "$(cat query/$q.ids)" "strict=1"
like "$(head -n 1 query/k=1/$q)" '"meta":\{"n":0,"s":"x","t":\[1\]\}' \
	"all metadata unasked"
like "$(head -n 1 query/k=1/fields=s,n/$q)" \
	'"meta":\{("n":0,"s":"x"|"s":"x","n":0)\}' "fields= picks some"
nok "or what is not there" grep -q meta query/k=1/fields=none/$q
is "$(head -n 10 query/trailer=1/$q)" "$(cat query/$q)" \
	"trailer=1 keeps the rows"
is "$(wc -l <query/trailer=1/$q)" 11 "and adds a line"
like "$(tail -n 1 query/trailer=1/$q)" '"partial":false' \
	"that says the answer is whole"
fails ENODATA "as does the missing attribute" \
	getfattr -n user.vecgridfs.partial query/$q
is "$(cat query/k=1/k=2/$q.ids | wc -l)" 2 "of one given twice the last counts"
is "$(cat query/fmt=ids/k=2/$q | xargs)" "v00 v01" "fmt= is the format"
is "$(cat query/fmt=ids/k=1/$q.tsv)" $'v00\t0' "unless the name has one"
is "$(cd query/k=4/exact=1 && cat $q.ids | wc -l)" 4 "cd into a parameter"
is "$(cat query/k=5/offset=10/all.ids | xargs)" "v10 v11 v12 v13 v14" \
	"all takes k and offset"
is "$(cat query/max_dist=1000000/k=30/count)" 30 "count counts"
is "$(cat query/k=3/../k=2/$q.ids | wc -l)" 2 "a path may go back"
cd "$S" || exit 99
finish
