#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Answers are JSON that jq takes as it is.
. "$(dirname "$0")/lib.sh"
need jq 1 >/dev/null || skip_all "jq is not installed"
plan 9
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
for i in 1 2 3 4 5; do
	printf '{"vector":[%d,1],"metadata":{"n":%d,"s":"a \\"b\\" é"}}' \
		$i $i >"v$i"
done
is "$(jq -r .id query/k=2/exact=1/5,1 | xargs)" "v5 v4" "ids"
is "$(jq -c '[.rank, .meta.n]' query/k=2/5,1 | xargs)" "[1,5] [2,4]" \
	"ranks and metadata"
is "$(jq -r .meta.s query/k=1/5,1)" 'a "b" é' "strings"
is "$(jq -s 'map(.dist) == (map(.dist) | sort)' query/5,1)" true \
	"distances ascend"
is "$(jq -s 'map((.score + .dist - 1) | fabs < 1e-6) | all' query/5,1)" true \
	"a cosine's score is 1 - dist"
is "$(jq -c 'type, length' query/k=3/5,1.json | xargs)" "array 3" \
	".json is one array"
is "$(jq -c keys_unsorted query/k=1/5,1)" '["rank","id","dist","score","meta"]' \
	"a row has these members"
is "$(jq -c '.vector' .as/json/v3)" '[3,1]' "a record too"
cd "$S" || exit 99
finish
