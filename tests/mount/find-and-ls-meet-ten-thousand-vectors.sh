#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ls, ls -l, find, du and rm over ten thousand vectors.
. "$(dirname "$0")/lib.sh"
plan 16
vgmount
mkdir "$M/c"
put "$M/c/.config/index" flat
"$PYTHON3" -c 'for i in range(10000):
    print("{\"id\":\"v%05d\",\"vector\":[%d,1,2,3]}" % (i, i))' >"$S/rows"
ok "they are loaded" cp "$S/rows" "$M/c/.import/ndjson"
seq -f 'v%05.0f' 0 9999 >"$S/want"

is "$(ls "$M/c" | cmp - "$S/want")" "" "ls lists each once"
is "$(ls -f "$M/c" | grep -v '^\.' | sort | cmp - "$S/want")" "" \
	"unsorted as well"
is "$(ls -l "$M/c" | awk '$5 == 16' | wc -l)" 10000 "ls -l knows each size"
is "$(find "$M/c" -type f | wc -l)" 10000 "find finds each"
is "$(find "$M/c" -type f -size 16c -name 'v0???7' | wc -l)" 1000 \
	"by size and name"
is "$("$PYTHON3" -c 'import os, sys
print(sum(e.is_file() and e.stat().st_size for e in os.scandir(sys.argv[1])))' \
	"$M/c")" 160000 "os.scandir sums their sizes"
is "$(find "$M/c" -type f -print0 | xargs -0 cat | wc -c)" 160000 \
	"cat reads them all"
ok "du walks them" du -s "$M/c"
is "$(bash -c 'cd "$1"; set -- v*; echo $#' - "$M/c")" 10000 \
	"a glob expands to them"

# Listing while the directory changes: what stays is listed exactly once.
( for i in $(seq 0 2 398); do
	rm "$M/c/v0$(printf %04d "$i")"
done ) &
rm_pid=$!
for i in 1 2 3; do
	ls -f "$M/c" | sort >"$S/list$i"
done
wait "$rm_pid"
is "$(sort "$S/list"[123] | uniq -c | awk '$2 ~ /^v0[0-9]*[13579]$/ &&
	$1 != 3' | wc -l)" 0 "beside removals the rest is listed exactly once"
is "$(ls "$M/c" | wc -l)" 9800 "what was removed is gone"
ok "find -delete" find "$M/c" -name 'v09*' -delete
is "$(ls "$M/c" | wc -l)" 8800 "removes what it finds"
ok "rm -r" rm -r "$M/c"
finish
