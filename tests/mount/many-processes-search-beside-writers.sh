#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Eight processes ask while two write: each answer is well-formed, of the size
# that was told, and of a moment between its open and its end.
# VG_BESIDE_S: how long (3).
. "$(dirname "$0")/lib.sh"
plan 21
vgmount
for index in hnsw flat; do
	mkdir "$M/$index"
	put "$M/$index/.config/metric" l2
	put "$M/$index/.config/index" $index
	report 9 "$PYTHON3" "$HERE/query_beside.py" "$M/$index" \
		"${VG_BESIDE_S:-3}"
	is "$(cat "$M/$index/query/count")" "$(find "$M/$index" -type f |
		wc -l)" "in the end $index counts what is listed"
done
finish
