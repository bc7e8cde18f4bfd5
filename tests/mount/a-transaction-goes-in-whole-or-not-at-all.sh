#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mkdir in .tx/ begins a transaction, its files are staged, renaming it to
# NAME.commit makes all of them true at once, rmdir none. What it read or wrote
# and somebody else changed meanwhile makes that ESTALE.
. "$(dirname "$0")/lib.sh"
plan 62
vgmount
mkdir "$M/c"
C=$M/c
T=$C/.tx
put "$C/.config/metric" l2
for i in a b d; do
	raw "$C/$i" 1 2 3
done
setfattr -n user.y -v 1 "$C/a"
text() { cat "$C/.as/txt/$1" 2>&1 | xargs; }

ok "a transaction is begun" mkdir "$T/t"
fails EEXIST "there is one of a name" mkdir "$T/t"
is "$(ls "$T"):$(ls "$T/t")" "t:" "it is listed, and empty"
nok "and nowhere else" grep -q tx <<<"$(ls -a "$C")"
put "$T/t/a" 4,5,6
put "$T/t/new" '{"vector":[7,8,9],"metadata":{"k":"v"}}'
ok "a record is removed in it" rm "$T/t/b"
is "$(ls "$T/t" | xargs)" "a new" "ls shows what it would write"
is "$(numbers "$T/t/a"):$(stat -c %s "$T/t/a")" "4 5 6:12" \
	"which reads as vectors do"
is "$(numbers "$T/t/new")" "7 8 9" "whatever they were written as"
fails ENOENT "what was removed is gone in it" stat "$T/t/b"
is "$(numbers "$T/t/d")" "1 2 3" "what it did not touch is as it is"
is "$(ls "$T/t" | xargs)" "a new" "reading it stages nothing"
is "$(ls "$C" | xargs):$(text a)" "a b d:1,2,3" "nobody else sees any of it"
is "$(cat "$C/query/k=1/7,8,9.ids")" "a" "nor does a search"
ok "setfattr stages metadata" setfattr -n user.z -v 2 "$T/t/a"
changes=$(stat -c %Y "$C")
ok "it is committed by a rename" mv "$T/t" "$T/t.commit"
is "$(ls "$C" | xargs)" "a d new" "then all of it is there"
is "$(text a):$(text new)" "4,5,6:7,8,9" "with its vectors"
is "$(getfattr --absolute-names -d "$C/a" | grep -c '^user\.[yz]=')" 2 \
	"what was written in place keeps its metadata, with what was added"
is "$(cat "$C/.meta/new")" '{"k":"v"}' "a new one has its own"
is "$(cat "$C/query/k=1/7,8,9.ids")" new "and is found"
is "$(ls "$T")" "" "the transaction has ended"

mkdir "$T/u"
put "$T/u/x" 1,1,1
rm "$T/u/a"
ok "rmdir aborts one" rmdir "$T/u"
is "$(ls "$C" | xargs):$(ls "$T")" "a d new:" "of which nothing is there"

mkdir "$T/w"
put "$T/w/a" 9,9,9
put "$T/w/y" 9,9,9
put "$C/a" 2,2,2
fails ESTALE "what it wrote was written by another" mv "$T/w" "$T/w.commit"
is "$(ls "$C" | xargs):$(text a)" "a d new:2,2,2" "nothing of it is applied"
like "$(cat "$C/.stats/last_error")" "'a' was changed" "it is said what"
rmdir "$T/w"
mkdir "$T/r"
numbers "$T/r/a" >"$S/read"
put "$T/r/y" 9,9,9
setfattr -n user.y -v 3 "$C/a"
fails ESTALE "what it read got other metadata" mv "$T/r" "$T/r.commit"
rmdir "$T/r"
mkdir "$T/n"
[ -e "$T/n/late" ]
put "$T/n/y" 9,9,9
put "$C/late" 1,1,1
fails ESTALE "what it did not find is there now" mv "$T/n" "$T/n.commit"
rmdir "$T/n"
mkdir "$T/m"
numbers "$T/m/a" >"$S/read"
ok "a transaction that only reads commits" mv "$T/m" "$T/m.commit"
mkdir "$T/m"
numbers "$T/m/a" >"$S/read"
rm "$C/a"
fails ESTALE "unless what it read has gone" mv "$T/m" "$T/m.commit"
rmdir "$T/m"
is "$(text y)" "cat: $C/.as/txt/y: No such file or directory" \
	"nothing of these is there"

for i in $(seq 50); do
	mkdir "$T/o$i"
	numbers "$T/o$i/d" >"$S/read"
	put "$T/o$i/o$i" "$i,1,1"
done
ok "fifty that write different records do not meet, begun before any ended" \
	bash -c 'for i in $(seq 50 -1 1); do mv "$1/o$i" "$1/o$i.commit" || exit
	done' - "$T"
is "$(ls "$C" | grep -c ^o)" 50 "each is there"
rm "$C"/o*
mkdir "$T/one" "$T/two"
put "$T/one/a" 3,3,3
put "$T/one/d" 3,3,3
put "$T/two/d" 4,4,4
put "$T/two/y" 4,4,4
ok "of two that share one record the first goes in" mv "$T/one" "$T/one.commit"
fails ESTALE "the second does not" mv "$T/two" "$T/two.commit"
rmdir "$T/two"
is "$(text a):$(text d):$(ls "$C" | grep -c y)" "3,3,3:3,3,3:0" \
	"nor does what it does not share"
rm "$C/a"
raw "$C/d" 1 2 3

mkdir "$T/e"
fails EINVAL "a body that is no vector is refused at close" \
	cp "$S/holder" "$T/e/bad"
put "$T/e/good" 1,2,3
nok "and the transaction with it" mv "$T/e" "$T/e.commit"
nok "nothing of it is applied" test -e "$C/good"
rm "$T/e/bad"
ok "without it it commits" mv "$T/e" "$T/e.commit"
is "$(text good)" "1,2,3" "and is there"
fails EINVAL "another name is no commit" "$PYTHON3" -c 'import os, sys
os.mkdir(sys.argv[1] + "/o"); os.rename(sys.argv[1] + "/o", sys.argv[1] + "/p")' "$T"
rmdir "$T/o"

mkdir "$T/mv"
ok "a record is renamed in one" mv "$T/mv/good" "$T/mv/better"
put "$T/mv/.tmp" 6,6,6
ok "a staging name too" mv "$T/mv/.tmp" "$T/mv/d"
is "$(ls "$T/mv" | xargs)" "better d" "or which is listed"
mv "$T/mv" "$T/mv.commit"
is "$(ls "$C" | xargs):$(text better):$(text d)" \
	"better d late new:1,2,3:6,6,6" "and so it is"
mkdir "$T/many"
for i in $(seq 200); do
	raw "$T/many/m$i" "$i" 0 0
done
ok "hundreds of records go in at once" mv "$T/many" "$T/many.commit"
is "$(ls "$C" | grep -c ^m)" 200 "all of them"
rm "$C"/m*

# Over crashes: of the daemon, and of everything.
mkdir "$T/k"
put "$T/k/late" 3,3,3
numbers "$T/k/d" >"$S/read"
kill -9 "$(daemon_pid)"
is "$(numbers "$T/k/late")" "3 3 3" "a daemon that crashes loses none of it"
put "$T/k/later" 4,4,4
ok "it goes on and is committed" mv "$T/k" "$T/k.commit"
is "$(text late):$(text later)" "3,3,3:4,4,4" "by the next"
mkdir "$T/lost"
put "$T/lost/z" 1,1,1
kill -9 "$HOLDER"
wait "$HOLDER" 2>/dev/null
umount -l "$M"
HOLDER=
vgmount
is "$(ls "$T")" "" "a transaction ends with its mount"
is "$(ls "$C" | xargs):$(text later)" "better d late later new:4,4,4" \
	"what was committed stays"

# On a condition.
version() { getfattr --absolute-names --only-values -n user.vecgridfs.version "$1"; }
v=$(version "$C/d")
ok "a record is written if it is what it was" put "$C/.if=$v/d" 7,7,7
is "$(text d)" "7,7,7" "once"
fails ESTALE "not again" put "$C/.if=$v/d" 8,8,8
ok "what is not there has version 0" put "$C/.if=0/first" 1,1,1
fails ESTALE "what is there has not" put "$C/.if=0/first" 2,2,2
v=$(version "$C/first")
ok "metadata is set on it" setfattr -n user.a -v 1 "$C/.if=$v/first"
fails ESTALE "or is not" setfattr -n user.a -v 2 "$C/.if=$v/first"
fails ESTALE "or removed" rm "$C/.if=$v/first"
finish
