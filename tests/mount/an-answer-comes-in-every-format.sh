#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ndjson, json, tsv, ids, dist, f32 and npy, with a size that is exact.
. "$(dirname "$0")/lib.sh"
plan 51
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/metric l2
put a 0,0
put b 3,4
put "c d" 6,8
setfattr -n user.n -v 7 b

is "$(cat query/0,0)" '{"rank":1,"id":"a","dist":0,"score":0}
{"rank":2,"id":"b","dist":5,"score":-5,"meta":{"n":7}}
{"rank":3,"id":"c d","dist":10,"score":-10}' "ndjson unasked"
is "$(cat query/0,0.ndjson)" "$(cat query/0,0)" "and asked"
is "$(cat query/fmt=ndjson/0,0)" "$(cat query/0,0)" "and as a parameter"
is "$(cat query/0,0.tsv)" $'a\t0\nb\t5\nc d\t10' "tsv: id and distance"
is "$(cat query/fmt=tsv/0,0)" "$(cat query/0,0.tsv)" "as a parameter"
is "$(cat query/0,0.ids)" $'a\nb\nc d' "ids: one a line"
is "$(cat query/0,0.dist)" $'0\n5\n10' "dist: one a line"
is "$(od -An -tf4 query/0,0.f32 | xargs)" "0 5 10" "f32: raw"
is "$(head -c 6 query/0,0.npy | tail -c 5)" NUMPY "npy: an array"
if need_numpy 2; then
	is "$("$PYTHON3" -c 'import numpy as np
print(np.load("query/0,0.npy").tolist())')" "[0.0, 5.0, 10.0]" \
		"that numpy loads"
	is "$("$PYTHON3" -c 'import json
print([r["id"] for r in json.load(open("query/0,0.json"))])')" \
		"['a', 'b', 'c d']" "json: one array"
fi

for f in ndjson json tsv ids dist f32 npy; do
	p=query/k=2/1,1.$f
	is "$(stat -c %s $p)" "$(cat $p | wc -c)" "the size of $f is exact"
	ok "cp of $f" cp $p "$S/copy"
	ok "copies the answer" cmp $p "$S/copy"
	is "$(dd if=$p bs=3 status=none | md5sum)" "$(md5sum <$p)" \
		"in odd pieces too"
done
is "$(stat -c %s query/count)" "$(cat query/count | wc -c)" \
	"so is that of count"
is "$(cat query/count)" 3 "which counts"
is "$(cat query/all.ids)" $'a\nb\nc d' "all.ids"
is "$(cat query/all)" '{"id":"a"}
{"id":"b","meta":{"n":7}}
{"id":"c d"}' "all has ids and metadata"
nok "but neither rank nor distance" grep -qE '"(rank|dist|score)"' query/all
is "$(stat -c %F query/1,1)" "regular file" "an answer is a file"
nok "nobody writes it" put query/1,1 x
put .config/ef_search 50
touch -d @1000000000 a
is "$(date -r query/1,1 +%F)" "$(date +%F)" \
	"its time is that of the last change"
fails EINVAL "a format that is none" cat query/1,1.xml
mkdir "$M/empty"
put "$M/empty/.config/dim" 2
is "$(for f in ndjson tsv ids dist f32; do
	cat "$M/empty/query/1,1.$f"
done | wc -c)" 0 "an empty collection gives empty files"
is "$(tr -d ' \n' <"$M/empty/query/1,1.json")" "[]" "and an empty array"
cd "$S" || exit 99
finish
