#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# umount and mount: bytes, times, metadata, settings, names, aliases, modes,
# answers.
. "$(dirname "$0")/lib.sh"
plan 22
vgmount allow_other
mkdir "$M/l2" "$M/cos" "$M/none" "$M/gone" "$M/old"
put "$M/l2/.config/metric" l2
put "$M/l2/.config/m" 8
put "$M/none/.config/index" flat
for i in $(seq 300); do
	printf '{"id":"v%d","vector":[%d,0.5,-%d],"metadata":{"n":%d}}\n' \
		$i $i $i $i
done >"$M/l2/.import/ndjson"
for i in $(seq 50); do
	put "$M/cos/$i" "$i,1"
	touch -d "@$((1000000000 + i)).123456789" "$M/cos/$i"
done
put "$M/cos/with blank" 1,0
put "$M/cos/a%2Fb" 1,1
setfattr -n user.s -v '"\"7\""' "$M/cos/7"
rm "$M/cos/8" "$M/l2/v9"
mv "$M/cos/10" "$M/cos/ten"
put "$M/cos/11" 11,11
touch -d @5 "$M/cos/11"
mv "$M/old" "$M/new"
rmdir "$M/gone"
ln -s l2 "$M/live"
ln -s nowhere "$M/dangling"
chmod 711 "$M/cos"
chown 12:34 "$M/cos"
touch -d '2003-04-05 06:07:08.5 UTC' "$M/cos"
put "$M/l2/.config/ef_search" 77
echo unfinished >"$M/cos/.staged"
touch "$M/cos/empty"

facts() {
	( cd "$M" && find . -mindepth 1 -printf '%P %y %s %m %U %G %i %T@ %l\n' |
		sort && getfattr -dhR -m - . &&
		find . -type f -print0 | sort -z | xargs -0 md5sum )
	cat "$M"/*/.config/{metric,m,dim,index,ef_search}
	# Sorted: a compaction puts a record where it was changed last.
	cat "$M"/*/.export/{ids,all.ndjson} | sort
	cat "$M/l2/query/k=50/exact=1/id=v100" "$M/cos/query/1,1"
}
facts >"$S/before" 2>&1
for round in 1 2 3; do
	vgumount
	is $? 0 "it unmounts ($round)"
	is "$(ls -A "$M")" "" "and leaves an empty directory"
	vgmount allow_other
	facts >"$S/after" 2>&1
	is "$(diff "$S/before" "$S/after" | head)" "" \
		"everything is as it was ($round)"
done
is "$(cat "$M/cos/.stats/count")" 51 "the count too" ||
	diag "$(ls "$M/cos" | xargs)"
is "$(numbers "$M/cos/ten")" "10 1" "a renamed vector"
fails ENOENT "a deleted one stays deleted" stat "$M/cos/8"
fails ENOENT "a dropped collection stays dropped" stat "$M/gone"
is "$(cat "$M/cos/.meta/7")" '{"s":"7"}' "metadata keeps its types"
is "$(readlink "$M/dangling")" nowhere "an alias to nothing"
is "$(cat "$M/l2/.config/ef_search")" 77 "a setting made later"
put "$M/cos/after" 5,5
is "$(numbers "$M/cos/after")" "5 5" "it can be written again"
like "$(cat "$M/cos/.config/dim_source")" '^text' "what dim came from is known"

kill -9 "$HOLDER"
wait "$HOLDER" 2>/dev/null
umount -l "$M"
HOLDER=
vgmount allow_other
rm "$M/cos/after"
touch -d '2003-04-05 06:07:08.5 UTC' "$M/cos"
facts >"$S/after" 2>&1
is "$(diff "$S/before" "$S/after" | head)" "" "a kill keeps everything as well"
is "$(head -c 2 "$M/.vecgridfs/health")" ok "and health is ok"
if need jq 1; then
	is "$(jq -r .id "$M/l2/query/k=1/max_dist=0.1/exact=1/7,0.5,-7")" v7 \
		"and it is searched"
fi
finish
