#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tar c --xattrs of a mount and tar x into another: bytes, times, metadata. tar
# sets a directory's attributes last, so a configuration is made before it.
. "$(dirname "$0")/lib.sh"
plan 13
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
"$PYTHON3" "$HERE/facts.py" "$M" >"$S/before"

rm -r "$M/c" "$M/d" "$M/live"
is "$(ls "$M")" README "the tree is empty"
mkdir "$M/c"
put "$M/c/.config/metric" l2
ok "tar x fills it" tar -C "$M" --xattrs --xattrs-include='user.*' \
	-xpf "$S/t.tar"
is "$(ls "$M" | xargs)" "c d live" "with all collections"
is "$(readlink "$M/live")" c "and the alias"
is "$(cat "$M/c/.config/metric")" l2 "the configuration"
is "$(cat "$M/c/.meta/v7")" '{"year":1987}' "metadata"
is "$(stat -c %a "$M/c")" 750 "modes"
"$PYTHON3" "$HERE/facts.py" "$M" >"$S/after"
is "$(diff "$S/before" "$S/after")" "" \
	"every byte, time, mode and attribute"
ok "tar --compare finds no difference" tar -C "$M" --compare -f "$S/t.tar" \
	./c ./d ./live
ok "tar x over what is there" tar -C "$M" --xattrs \
	--xattrs-include='user.*' -xpf "$S/t.tar"
finish
