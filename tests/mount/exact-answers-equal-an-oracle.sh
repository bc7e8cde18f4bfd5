#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# exact=1 against distances computed by numpy, for every metric and index.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 21
vgmount
for index in hnsw flat; do
	for metric in l2 cosine ip; do
		mkdir "$M/$index-$metric"
		put "$M/$index-$metric/.config/metric" $metric
		put "$M/$index-$metric/.config/index" $index
		got=$("$PYTHON3" "$HERE/oracle.py" "$M/$index-$metric" \
			$metric 2>&1)
		is "$(sed -n 1p <<<"$got")" "rows equal" \
			"$index $metric: each answer has the oracle's rows"
		is "$(sed -n 2p <<<"$got")" "distances equal" \
			"and its distances to 1e-5"
		is "$(sed -n 3p <<<"$got")" "ties by id" \
			"and equal distances in the order of ids"
	done
done
ok "a vector is at distance 0 of itself under l2" sh -c \
	'grep -q "\"dist\":0[,}]" "$1/query/k=1/exact=1/id=twin-b" ' - \
	"$M/flat-l2"
is "$(ids <"$M/flat-cosine/query/k=3/exact=1/id=twin-b")" "r102 r103 r104" \
	"id= ranks its twins first"
finish
