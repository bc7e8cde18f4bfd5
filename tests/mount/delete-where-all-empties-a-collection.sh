#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Writing `all` to .delete-where deletes every vector in one step.
. "$(dirname "$0")/lib.sh"
plan 10
vgmount
mkdir "$M/c"
for i in $(seq 200); do
	put "$M/c/v$i" "$i,1"
done
is "$(ls "$M/c" | wc -l)" 200 "there are vectors"
put "$S/nonsense" everything
fails EINVAL "another word is refused" cp "$S/nonsense" "$M/c/.delete-where"
is "$(cat "$M/c/.stats/count")" 200 "and deletes nothing"
ok "all is written" put "$M/c/.delete-where" all
is "$(ls -A "$M/c")" "" "nothing is listed"
is "$(cat "$M/c/.stats/count")" 0 "nothing is counted"
is "$(cat "$M/c/query/1,1")" "" "nothing is found"
put "$M/c/new" 5,5
is "$(ids <"$M/c/query/1,1")" new "a new vector is"
rm "$M/c/new"
ok "the empty collection is dropped" rmdir "$M/c"
finish
