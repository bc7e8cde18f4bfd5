#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An export that is open shows the collection as it was when it was opened.
. "$(dirname "$0")/lib.sh"
plan 9
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/index flat
for i in $(seq 100 299); do
	printf '{"id":"v%d","vector":[%d,1]}\n' $i $i
done >.import/ndjson
exec 3<.export/ids 4<.export/all.ndjson 5<.export/all.npy
size=$(stat -Lc %s /dev/fd/4)
rm v1??
for i in $(seq 300 349); do
	put v$i "$i,2"
done
for i in $(seq 200 249); do
	put v$i "$i,3"
done
is "$(cat <&3 | wc -l)" 200 "ids has those of the moment it was opened"
cat <&4 >"$S/rows"
is "$(wc -l <"$S/rows")" 200 "so has all.ndjson"
is "$(wc -c <"$S/rows")" "$size" "with the size it had"
is "$(grep -c ',3\]' "$S/rows")" 0 "and the vectors of then"
is "$(cat <&5 | tail -c 8 | od -An -tf4 | xargs)" "299 1" "and all.npy"
exec 3<&- 4<&- 5<&-
is "$(wc -l <.export/ids)" 150 "a new open has what is there now"
is "$(grep -c ',3\]' .export/all.ndjson)" 50 "as it is now"
nok "nobody writes an export" put .export/ids x
cd "$S" || exit 99
finish
