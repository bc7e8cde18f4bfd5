#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rsync -aX of the whole mount out, and back into an empty one: the same
# configuration, bytes and metadata, and a second run has nothing to do.
. "$(dirname "$0")/lib.sh"
need rsync 1 >/dev/null || skip_all "rsync is not installed"
plan 34
vgmount
mkdir "$M/l2" "$M/cos" "$M/none"
put "$M/l2/.config/metric" l2
put "$M/l2/.config/m" 8
put "$M/cos/.config/index" flat
put "$M/none/.config/dim" 7
for i in $(seq 60); do
	put "$M/l2/v$i" "$i,0.5,-$i"
	setfattr -n user.year -v $((1980 + i)) "$M/l2/v$i"
	setfattr -n user.name -v "row $i" "$M/l2/v$i"
	touch -d "@$((1000000000 + i)).25" "$M/l2/v$i"
done
put "$M/cos/with blank" 1,0
put "$M/cos/100%" 0,1
put "$M/cos/a%2Fb" 1,1
put "$M/cos/😀" 1,2
setfattr -n user.k -v '{"a":[1,"2"]}' "$M/cos/😀"
for dtype in f16 i8 b1; do
	mkdir "$M/$dtype"
	put "$M/$dtype/.config/dtype" $dtype
	for i in $(seq 20); do
		put "$M/$dtype/v$i" "1 0 $((i % 2)) $((i / 2 % 2)) 0 1 1 0"
	done
	setfattr -n user.year -v 7 "$M/$dtype/v7"
done
put "$M/i8/.config/metric" l1
chmod 750 "$M/l2"
touch -d @1000000000 "$M"/{l2,cos,f16,i8,b1}
ln -s l2 "$M/live"

facts() { # of the tree at $1
	"$PYTHON3" "$HERE/facts.py" "$1"
}
copy() { # FROM TO [OPTION...]: what it did is in $S/did
	local from=$1 to=$2
	shift 2
	rsync -aX -i "$@" "$from/" "$to/" >"$S/did" 2>"$S/said"
}
facts "$M" >"$S/facts0" 2>&1
mkdir "$S/out"
ok "rsync -aX copies the mount out" copy "$M" "$S/out"
is "$(cat "$S/said")" "" "without a word"
facts "$S/out" >"$S/facts1" 2>&1
is "$(diff "$S/facts0" "$S/facts1" | head)" "" \
	"names, bytes, times, modes and attributes are equal"
ok "again" copy "$M" "$S/out"
is "$(cat "$S/did")" "" "there is nothing to do"
ok "with checksums" copy "$M" "$S/out" -c
is "$(cat "$S/did")" "" "there is nothing to do either"

vgumount
D=$S/data2
vgmount
ok "rsync -aX copies back into an empty mount" copy "$S/out" "$M"
is "$(cat "$S/said")" "" "without a word"
facts "$M" >"$S/facts2" 2>&1
is "$(diff "$S/facts1" "$S/facts2" | head)" "" "all is equal again"
is "$(cat "$M/l2/.config/"{metric,m,dim} | xargs)" "l2 8 3" \
	"the configuration is back"
is "$(cat "$M/cos/.config/index")" flat "of each collection"
is "$(cat "$M"/{f16,i8,b1}/.config/{dtype,metric,dim} | xargs)" \
	"f16 cosine 8 i8 l1 8 b1 hamming 8" "and its dtype"
is "$(cat "$M/i8/query/k=1/exact=1/1,0,1,1,0,1,1,9.dist")" 9 \
	"by which searches go"
is "$(cat "$M/none/.config/dim")" 7 "of an empty one too"
is "$(cat "$M/l2/.meta/v5")" '{"name":"row 5","year":1985}' \
	"metadata has its types"
is "$(readlink "$M/live")" l2 "the alias is back"
is "$(ids <"$M/l2/query/k=2/exact=1/7,0.5,-7")" "v7 v6" \
	"and searches find it"
ok "again" copy "$S/out" "$M"
is "$(cat "$S/did")" "" "there is nothing to do"
ok "with --delete" copy "$S/out" "$M" --delete
is "$(cat "$S/did")" "" "nothing is deleted"

put "$M/l2/v5" 9,9,9
rm "$M/l2/v6"
put "$M/l2/extra" 1,2,3
setfattr -n user.year -v 1 "$M/l2/v7"
ok "after changes, --delete" copy "$S/out" "$M" --delete
is "$(sed -n 's/.* l2\/\(.\)/\1/p' "$S/did" | sort | xargs)" \
	"extra v5 v6 v7" "touches what was changed only"
touch -d @1000000000 "$M/l2"
facts "$M" >"$S/facts3" 2>&1
is "$(diff "$S/facts1" "$S/facts3" | head)" "" "and all is equal again"
ok "rsync --inplace" copy "$S/out" "$M" --inplace -I
facts "$M" >"$S/facts4" 2>&1
is "$(diff "$S/facts1" "$S/facts4" | head)" "" "rewrites each in place"
ok "rsync --whole-file -I" copy "$S/out" "$M" --whole-file -I
facts "$M" >"$S/facts5" 2>&1
is "$(diff "$S/facts1" "$S/facts5" | head)" "" "rewrites each by rename"
is "$(find "$M" -name '.*' -mindepth 1 | wc -l)" 0 "no temporary is left"
ok "from the mount to the mount" copy "$M/l2" "$M/l2copy"
ok "copies a collection" diff -r "$M/l2" "$M/l2copy"
is "$(cat "$M/l2copy/.config/metric")" l2 "with its configuration"
finish
