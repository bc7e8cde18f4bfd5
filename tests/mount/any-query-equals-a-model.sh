#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random queries: each source, parameter and format, against a model in numpy.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 67
vgmount
for index in hnsw flat; do
	for metric in l2 cosine ip; do
		mkdir "$M/$index-$metric"
		put "$M/$index-$metric/.config/metric" $metric
		put "$M/$index-$metric/.config/index" $index
		report 11 "$PYTHON3" "$HERE/random_queries.py" \
			"$M/$index-$metric" $metric $index
	done
done
finish
