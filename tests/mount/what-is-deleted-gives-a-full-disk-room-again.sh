#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk that is full to what a checkpoint needs: its log comes back by itself,
# and what is deleted gives room for something else, without a new mount.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip_all "a disk of its own needs root"
mkdir "$S/disk"
mount -t tmpfs -o size=48m none "$S/disk" 2>/dev/null ||
	skip_all "no tmpfs can be mounted here"
# What lib.sh set to go off at the end, and the disk behind it.
trap 'umount -l "$S/disk" 2>/dev/null; clean_up' EXIT
D=$S/disk/data
plan 14
vgmount backup_grace=1
mkdir "$M/c" "$M/d"
perl -e 'print pack("f<*", 1, (0.5) x 8191)' >"$S/vector"

# Writes until the disk is full, from number $1 on; the first that was not taken.
fill() {
	local n=$1
	while [ "$n" -lt 5000 ] && cp "$S/vector" "$M/c/v$n" 2>"$S/error"; do
		n=$((n + 1))
	done
	echo "$n"
}
# Waits until $M/$1 can be written.
taken() {
	for _ in $(seq 600); do
		cp "$S/vector" "$M/$1" 2>/dev/null && return 0
		pause 0.1
	done
	diag "$(df -k "$S/disk" | tail -n 1); $(find "$D" -type f | xargs du -k)"
	return 1
}

n=$(fill 0)
like "$(cat "$S/error")" 'No space left' "the disk is full after $n vectors"
ok "for $n of them it has room twice" test "$n" -gt 300
ok "once they are in files their log is given back" taken "c/v$n"
more=$(fill $((n + 1)))
ok "which is room for more, $more" test "$more" -gt $((n + 100))
for _ in 1 2 3; do
	taken "c/v$more" || break
	more=$(fill $((more + 1)))
done
is "$(cat "$M/c/.stats/count")" "$more" "all of them are there"
ok "a few can be deleted" rm "$M/c/v0" "$M/c/v1"
ok "so can most" sh -c 'cd "$1" && ls | tail -n +11 | xargs rm' - "$M/c"
ok "then there is room" taken d/one
i=0
while [ $i -lt 300 ] && taken "d/w$i"; do
	i=$((i + 1))
done
is $i 300 "for as much as at first"
is "$(ls "$M/c" | wc -l) $(cat "$M/c/.stats/count")" "10 10" \
	"what was left is there"
ok "and whole" cmp "$S/vector" "$M/c/$(ls "$M/c" | head -n 1)"
vgumount
vgmount backup_grace=1
is "$(cat "$M/c/.stats/count" "$M/d/.stats/count" | xargs)" "10 301" \
	"a mount sees all of it"
is "$(cat "$M/.vecgridfs/health")" ok "and is well"
finish
