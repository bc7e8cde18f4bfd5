#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SRC.hits/: a link for each row, at any depth, into snapshots, for ids of any
# bytes; listings of 10,000, and of what has changed since; programs in them.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 30
vgmount
drive 21 "$PYTHON3" "$HERE/hits.py" "$M"

mkdir "$M/c"
for i in a b 'c d' e; do
	put "$M/c/$i" "$((RANDOM + 1)),2,3"
done
hits="$M/c/query/k=3/exact=1/id=a.hits"
is "$(ls -l "$hits" | grep -c ' -> \.\./\.\./\.\./\.\./')" 3 "ls -l shows targets"
is "$(find -L "$hits" -type f -size 12c | wc -l)" 3 "find -L finds files"
ok "cp -rL copies them" cp -rL "$hits" copy
is "$(cat copy/* | wc -c)" 36 "each with its bytes"
is "$(ls "$hits" | tr '\n' '\0' | (cd "$hits" && xargs -0 cat) | wc -c)" 36 \
	"xargs opens them"
ok "tar -h packs what they lead to" \
	tar -C "$M/c/query/k=3/exact=1" -chf hits.tar id=a.hits
is "$(tar -tvf hits.tar | grep -c ' 12 ')" 3 "with their sizes"
finish
