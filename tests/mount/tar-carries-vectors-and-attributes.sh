#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tar c --xattrs of a mount and tar x into another: bytes, times, metadata,
# configuration.
. "$(dirname "$0")/lib.sh"
plan 15
vgmount
mkdir "$M/c" "$M/d"
put "$M/c/.config/metric" l2
for i in $(seq 40); do
	put "$M/c/v$i" "$i,0.5,-$i"
	setfattr -n user.year -v $((1980 + i)) "$M/c/v$i"
	touch -d "@$((1000000000 + i)).5" "$M/c/v$i"
done
put "$M/d/with blank" 1,0
chmod 750 "$M/c"
ln -s c "$M/live"

ok "tar c reads the tree" tar -C "$M" --xattrs --xattrs-include='user.*' \
	-cf "$S/t.tar" .
is "$(tar -tf "$S/t.tar" | wc -l)" 45 "all of it and nothing else"
find "$M" -printf '%P %y %s %m %T@\n' | sort >"$S/before"
( cd "$M" && getfattr -dhR -m - . ) >"$S/xbefore"
cp -r "$M/c" "$S/bytes"

rm -r "$M/c" "$M/d" "$M/live"
is "$(ls "$M")" README "the tree is empty"
ok "tar x fills it" tar -C "$M" --xattrs --xattrs-include='user.*' \
	-xpf "$S/t.tar"
is "$(ls "$M" | xargs)" "c d live" "with all collections"
is "$(readlink "$M/live")" c "and the alias"
ok "every byte" diff -r "$M/c" "$S/bytes"
is "$(cat "$M/c/.config/metric")" l2 "the configuration"
is "$(cat "$M/c/.meta/v7")" '{"year":1987}' "metadata"
is "$(stat -c %a "$M/c")" 750 "modes"
find "$M" -printf '%P %y %s %m %T@\n' | sort >"$S/after"
is "$(diff <(grep /v "$S/before") <(grep /v "$S/after"))" "" \
	"sizes, modes and times of vectors"
( cd "$M" && getfattr -dhR -m - . ) >"$S/xafter"
is "$(diff "$S/xbefore" "$S/xafter")" "" "all attributes"
ok "tar --compare finds no difference" tar -C "$M" --compare -f "$S/t.tar" \
	c d live
ok "tar x over what is there" tar -C "$M" --xattrs \
	--xattrs-include='user.*' -xpf "$S/t.tar"
finish
