#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cp, cat, tee, dd, install, mv, head, wc and cmp on vectors of 384 dimensions.
. "$(dirname "$0")/lib.sh"
plan 54
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
vector $(seq 0.5 384) >"$S/v"
vector $(seq 1 384) >"$S/w"
touch -d '2001-02-03 04:05:06 UTC' "$S/v"

same() { # MSG NAME: the vector is that of $S/v; the next one starts afresh
	ok "$1" cmp "$S/v" "$2"
}
ok "cp" cp "$S/v" cp
same "writes the bytes" cp
ok "cp over it" cp "$S/w" cp
ok "writes the new bytes" cmp "$S/w" cp
ok "cp -a" cp -a "$S/v" cpa
same "writes the bytes" cpa
is "$(stat -c %Y cpa)" "$(stat -c %Y "$S/v")" "and the time"
ok "cp -p out again" cp -p cpa "$S/out"
is "$(stat -c %y "$S/out")" "$(stat -c %y "$S/v")" "brings time and bytes"
ok "cp within the collection" cp cpa within
same "copies the vector" within
setfattr -n user.k -v '"\"5\""' cpa
ok "cp -a within the collection" cp -a cpa twin
is "$(cat .meta/twin)" '{"k":"5"}' "copies metadata too"
ok "cp -n of what is there" cp -n "$S/w" twin
same "leaves it" twin
ok "cp -u and --remove-destination" cp --remove-destination "$S/v" cp
same "replace" cp
ok "cp --backup" cp --backup=none "$S/v" cp
ok "cat" bash -c 'cat "$1" >cat' - "$S/v"
same "writes the bytes" cat
ok "tee" bash -c 'tee tee1 tee2 <"$1" >/dev/null' - "$S/v"
same "writes the first" tee1
same "and the second" tee2
for bs in 1 7 100 512 1535 1536 4096 1M; do
	dd if="$S/v" of=dd bs=$bs status=none
	same "dd in blocks of $bs" dd
	rm dd
done
ok "dd conv=fsync oflag=sync" dd if="$S/v" of=dd conv=fsync oflag=sync \
	bs=512 status=none
same "writes the bytes" dd
ok "dd conv=notrunc overwrites in place" \
	dd if="$S/w" of=dd conv=notrunc bs=1536 status=none
ok "with the new bytes" cmp "$S/w" dd
ok "install" install -m 600 "$S/v" inst
same "writes the bytes" inst
ok "mv from another filesystem" bash -c 'cp -p "$1" "$1.2"; mv "$1.2" mv' - \
	"$S/v"
same "moves the bytes" mv
is "$(stat -c %Y mv)" "$(stat -c %Y "$S/v")" "and the time"
ok "mv from a temporary name" bash -c 'cat "$1" >.t; mv .t mvt' - "$S/v"
same "commits it" mvt
is "$(head -c 8 cat | od -An -tx1)" "$(head -c 8 "$S/v" | od -An -tx1)" \
	"head -c reads its beginning"
is "$(wc -c <cat)" 1536 "wc -c counts it"
is "$(tail -c 4 cat | od -An -tf4 | xargs)" 383.5 "tail -c reads its end"
is "$(md5sum <cat)" "$(md5sum <"$S/v")" "md5sum agrees"
nok "cmp tells a difference" cmp -s cat "$S/w"
fails EINVAL "cp of half a vector fails" sh -c \
	'head -c 768 "$1" >"$1.half"; cp "$1.half" half' - "$S/v"
fails EINVAL "and cat" sh -c 'cat "$1.half" >half' - "$S/v"
fails EINVAL "and tee" sh -c 'tee half <"$1.half" >/dev/null' - "$S/v"
fails EINVAL "and dd" dd if="$S/v.half" of=half status=none
fails EINVAL "and install" install "$S/v.half" half
nok "and none of them leaves a record" grep -q half <(ls)
cd "$S" || exit 99
finish
