#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The disk of the data directory fills up: ENOSPC and a sentence for what is
# written; reading, searching and deleting go on; nothing of it is lost.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip_all "a disk of its own needs root"
mkdir "$S/disk"
mount -t tmpfs -o size=48m none "$S/disk" 2>/dev/null ||
	skip_all "no tmpfs can be mounted here"
# What lib.sh set to go off at the end, and the disk behind it.
trap 'umount -l "$S/disk" 2>/dev/null; clean_up' EXIT
D=$S/disk/data
plan 24
vgmount
mkdir "$M/c" "$M/d"
perl -e 'print pack("f<*", 1, (0.5) x 8191)' >"$S/vector"
cp "$S/vector" "$M/d/first"

n=0
while [ $n -lt 5000 ] && cp "$S/vector" "$M/c/v$n" 2>"$S/error"; do
	n=$((n + 1))
done
like "$(cat "$S/error")" 'No space left' "the disk is full after $n vectors"
like "$(cat "$M/c/.stats/last_error")" 'disk.*full.*delete' \
	"and the collection says what to do"
like "$(tail -n 1 "$M/.vecgridfs/errors.ndjson")" '"errno":"ENOSPC"' \
	"as does errors.ndjson"
is "$(cat "$M/c/.stats/count")" "$n" "what was refused is not there"
nok "nor under its name" test -s "$M/c/v$n"
ok "what is there can be read" cmp "$S/vector" "$M/c/v0"
is "$(ids <"$M/c/query/k=1/exact=1/id=v1")" v0 "and searched"
is "$(ls "$M/c" | wc -l)" "$n" "and listed"
is "$(cat "$M/.vecgridfs/health")" ok "the store is not read-only"
fails ENOSPC "another one is refused as well" cp "$S/vector" "$M/d/second"
is "$(ls "$M/d")" first "without a trace"

ok "deleting works" rm "$M/c/v0" "$M/c/v1"
ok "a collection can be emptied" sh -c 'echo all >"$1/c/.delete-where"' - "$M"
is "$(cat "$M/c/.stats/count")" 0 "at once"
fails ENOENT "what is deleted is gone" cat "$M/c/v2"
kill -9 "$HOLDER"
wait "$HOLDER" 2>/dev/null
umount -l "$M"
HOLDER=
vgmount
is "$(ls "$M/c" | wc -l) $(ls "$M/d")" "0 first" \
	"a kill on the full disk neither loses nor brings back"
ok "what was left is whole" cmp "$S/vector" "$M/d/first"

mount -o remount,size=96m "$S/disk"
ok "with room again it is written" cp "$S/vector" "$M/d/second"
ok "without a new mount" cmp "$S/vector" "$M/d/second"
i=0
while [ $i -lt 50 ] && cp "$S/vector" "$M/c/w$i"; do
	i=$((i + 1))
done
is $i 50 "as often as one likes"
vgumount
is $? 0 "it unmounts"
vgmount
is "$(cat "$M/c/.stats/count" "$M/d/.stats/count" | xargs)" "50 2" \
	"and a mount sees all of it"
is "$(cat "$M/.vecgridfs/health")" ok "and is well"
finish
