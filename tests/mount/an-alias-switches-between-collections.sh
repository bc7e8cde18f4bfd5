#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ln -s in the root is an alias; ln -sfn switches it while readers go on.
. "$(dirname "$0")/lib.sh"
plan 13
vgmount
mkdir "$M/blue" "$M/green"
put "$M/blue/a" 1,1
put "$M/green/a" 2,2

ok "ln -s makes an alias" ln -s blue "$M/live"
is "$(readlink "$M/live")" blue "readlink tells its target"
is "$(stat -c %F "$M/live")" "symbolic link" "it is a link"
is "$(numbers "$M/live/a")" "1 1" "vectors are read through it"
is "$(ids <"$M/live/query/1,1")" a "and searched"
put "$M/live/b" 3,3
is "$(numbers "$M/blue/b")" "3 3" "and written"

( while :; do cat "$M/live/a" || echo bad; done >"$S/reads" 2>&1 ) &
reader=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
	ln -sfn green "$M/live" || put "$S/failed" "$i"
	ln -sfn blue "$M/live" || put "$S/failed" "$i"
done
kill "$reader"
wait "$reader" 2>/dev/null
nok "ln -sfn switches it twenty times" test -e "$S/failed"
nok "and a reader beside it never misses" grep -q bad "$S/reads"
ln -sfn green "$M/live"
is "$(numbers "$M/live/a")" "2 2" "it points to the other one now"
is "$(ls "$M" | xargs)" "blue green live" "no temporary name is left"

fails EEXIST "an alias does not take a collection's name" \
	"$PYTHON3" -c 'import os, sys; os.symlink("blue", sys.argv[1])' \
	"$M/green"
rm "$M/live"
is "$(ls "$M" | xargs)" "blue green" "rm removes the alias only"
finish
