#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sixteen writers of single vectors are slowed down before what the indexers have
# left to link makes searches slow. (Links that take very long stand for a slow
# processor.)
. "$(dirname "$0")/lib.sh"
plan 7
vgmount durability=async
mkdir "$M/c"
put "$M/c/.config/metric" l2
put "$M/c/.config/index" hnsw
put "$M/c/.config/ef_construction" 4000
report 5 "$PYTHON3" "$HERE/pace.py" "$M/c"
is "$(cat "$M/c/query/k=1/id=w3-7.ids" | wc -l)" 1 "which is searched meanwhile"
finish
