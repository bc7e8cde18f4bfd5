#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is no query: EINVAL or ENOENT, and nothing was searched.
. "$(dirname "$0")/lib.sh"
plan 51
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put a 1,2
put b 2,1
before=$(cat .stats/searches)

for leaf in k=0/1,2 k=10001/1,2 k=99999999999999999999/1,2 ef=0/1,2 \
	offset=9999/k=2/1,2 offset=10001/1,2 1,2,3 v=1,2,3 1,nan 1,1e99; do
	fails EINVAL "$leaf" cat "query/$leaf"
done
# Beginnings of something right are ENOENT: shells ask for each.
for leaf in k=-1/1,2 k=x/1,2 k=/1,2 k=1.5/1,2 ef=x/1,2 ef=100001/1,2 \
	offset=-1/1,2 offset=x/1,2 max_dist=far/1,2 max_dist=nan/1,2 \
	min_score=/1,2 exact=maybe/1,2 timeout=-1/1,2 timeout=soon/1,2 \
	fmt=xml/1,2 threads=-1/1,2 partial=2/1,2 strict=x/1,2 trailer=x/1,2 \
	1,2.xml 1 1, v=1 v= v=1,x b64=AAAA 'b64=!!!'; do
	fails 'EINVAL|ENOENT' "$leaf" cat "query/$leaf"
done
for leaf in nobody id=nobody id= k=3/nobody.tsv k=5/id=nobody; do
	fails ENOENT "$leaf" cat "query/$leaf"
done
for p in query/k=3 query/k=3/ef=50 query; do
	ok "$p is a directory" test -d $p
done
for leaf in facet=x.npy facet= where=x saved/x; do
	nok "$leaf" cat query/$leaf
done
is "$(cat .stats/searches)" "$before" "none of it was a search"
cd "$S" || exit 99
finish
