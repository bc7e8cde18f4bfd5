#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Crawlers meet vectors only; who knows the names finds the rest.
. "$(dirname "$0")/lib.sh"
plan 24
vgmount
mkdir "$M/c"
put "$M/c/a" 1,2

is "$(ls -A "$M/c")" a "a collection lists its vectors only"
is "$(find "$M" | sort | xargs)" "$M $M/c $M/c/a" "and so does find"
for d in query .as .meta .config .stats .import .export; do
	ok "$d is a directory" test -d "$M/c/$d"
done
for f in .help .delete-where; do
	ok "$f is a file" test -f "$M/c/$f"
done
is "$(ls -A "$M/c/query")" "" "query lists nothing"
is "$(ls -A "$M/c/query/k=3")" "" "nor does a parameter"
is "$(stat -c %a "$M/c/query")" 1777 "everybody may name a query"
is "$(stat -c %a "$M/c/query/k=3")" 555 "nobody makes a parameter"
nok "a folder under query" mkdir "$M/c/query/New"
fails ENOENT "a dot name that is not there" stat "$M/c/.nothing"
is "$(ls "$M/c/.import" | xargs)" "bvecs csv errors fvecs ndjson npy status" \
	".import lists its doors"
is "$(ls "$M/c/.export" | xargs)" "all.fvecs all.ndjson all.npy all.vec ids" \
	".export too"
ok "du walks the tree" du -a "$M"
cp -r "$M/c" "$S/copy"
is "$(ls -A "$S/copy")" a "cp -r copies vectors only"
ok "rm -r is not held up" rm -r "$M/c"
is "$(ls "$M")" README "and nothing is left"
finish
