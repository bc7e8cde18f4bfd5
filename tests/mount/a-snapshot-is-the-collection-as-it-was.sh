#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mkdir in .snap/ keeps the collection as it is: listed, read, searched and
# exported as then, over changes, restarts and crashes, until rmdir.
. "$(dirname "$0")/lib.sh"
plan 46
vgmount
mkdir "$M/docs"
C=$M/docs
put "$C/.config/metric" l2
for i in 1 2 3; do
	put "$C/v$i" "$i,0.5,0.25"
done
setfattr -n user.year -v 2020 "$C/v1"
vector 1 0.5 0.25 >"$S/one"
is "$(ls "$C/.snap")" "" "at first there is no snapshot"
before=$(date +%s)
ok "mkdir takes one" mkdir "$C/.snap/monday"
is "$(ls "$C/.snap")" monday "it is listed in .snap/"
nok "and nowhere else" grep -q snap <<<"$(ls -a "$C")"
fails EEXIST "there is one of a name" mkdir "$C/.snap/monday"
fails EINVAL "whose first letter is no dot" mkdir "$C/.snap/.x"

change() {
	rm "$C/v2"
	put "$C/v1" 9,9,9
	put "$C/v4" 1,0.5,0.25
	setfattr -n user.year -v 2021 "$C/v3"
	mv "$C/v3" "$C/v5"
}
change

# What holds of it, whatever happened: 12 assertions. $1: when
is_monday() {
	local s=$C/.snap/monday
	is "$(ls "$s" | xargs)" "v1 v2 v3" "$1 it lists what was there"
	is "$(cmp "$s/v1" "$S/one" && numbers "$s/v2")" "2 0.5 0.25" \
		"with the vectors of then"
	is "$(getfattr --absolute-names --only-values -n user.year "$s/v1"):$(cat "$s/.meta/v3")" \
		"2020:{}" "and their metadata"
	is "$(cat "$s/.as/txt/v3")" "3,0.5,0.25" "in each format"
	is "$(cat "$s/query/k=2/1,0.5,0.25.tsv" | xargs)" "v1 0 v2 1" \
		"its own query/ searches it"
	is "$(cat "$C/query/snap=monday/k=1/id=v2.ids"):$(cat \
		"$C/query/k=1/snap=monday/1,0.5,0.25.ids")" "v1:v1" \
		"so does snap= from outside"
	is "$(cat "$C/query/k=1/1,0.5,0.25.ids")" v4 "while the present has others"
	is "$(cat "$C/query/snap=monday/count" "$C/query/count" | xargs)" "3 3" \
		"it counts what was there"
	is "$(cat "$C/query/snap=monday/all.ids" "$s/.export/ids" | xargs)" \
		"v1 v2 v3 v1 v2 v3" "all and exports too"
	is "$(cat "$s/.stats/count" "$s/.config/dim" "$C/.stats/snapshots" |
		xargs)" "3 3 1" "its .stats and .config are its own"
	is "$("$PYTHON3" - "$C" <<'PY'
import os, sys
f = os.open(sys.argv[1] + "/query/.run", os.O_RDWR)
os.write(f, b'{"vector":[2,0.5,0.25],"snap":"monday","k":1,"fmt":"ids"}')
print(os.pread(f, 99, 0).decode().strip())
PY
	)" v2 "a request to .run names it"
	like "$(stat -c '%A %Y' "$s" "$s/v1" | xargs)" \
		'^dr-xr-xr-x [0-9]+ -r--r--r-- [0-9]+$' "nobody may write in it"
}
is_monday "after changes"
is "$(($(stat -c %Y "$C/.snap/monday") - before < 100))" 1 \
	"its time is when it was taken"

fails EROFS "a record of it is not written" put "$C/.snap/monday/v1" 1,2,3
fails EROFS "nor made" cp "$S/one" "$C/.snap/monday/new"
fails EROFS "nor removed" rm "$C/.snap/monday/v1"
fails EROFS "nor renamed" mv "$C/.snap/monday/v1" "$C/.snap/monday/v9"
fails EROFS "nor touched" touch "$C/.snap/monday/v1"
fails EROFS "nor its metadata" setfattr -n user.a -v 1 "$C/.snap/monday/v1"
fails EROFS "nor a setting" put "$C/.snap/monday/.config/ef_search" 7
fails ENOENT "it has no snapshots" mkdir "$C/.snap/monday/.snap/x"
fails ENOENT "one that is not there is not asked" \
	cat "$C/query/snap=tuesday/count"
fails ENOTEMPTY "a collection with snapshots is not empty" \
	"$PYTHON3" -c 'import os, sys
for f in os.listdir(sys.argv[1]): os.unlink(sys.argv[1] + "/" + f)
os.rmdir(sys.argv[1])' "$C"
like "$(cat "$C/.stats/last_error")" "snapshots.*monday" "which are named"

# The same once more, from what the data directory has.
for i in 4 5; do
	put "$C/v$i" "$i,5,5"
done
put "$C/v4" 1,0.5,0.25
put "$C/v6" 7,7,7
kill -9 "$HOLDER"
wait "$HOLDER" 2>/dev/null
umount -l "$M"
HOLDER=
vgmount
is_monday "after a crash"
exec 3<"$C/.snap/monday/v2" 4<"$C/query/snap=monday/all.ids"
ok "rmdir drops it" rmdir "$C/.snap/monday"
is "$(ls "$C/.snap"):$(cat "$C/.stats/snapshots")" ":0" "it is gone"
is "$(numbers /dev/fd/3):$(cat <&4 | xargs)" "2 0.5 0.25:v1 v2 v3" \
	"but for who has something of it open"
exec 3<&- 4<&-
finish
