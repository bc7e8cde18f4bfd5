#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What was overwritten or deleted is compacted away: the data directory is soon
# at most three times a fresh one with the same records, and they are all there.
. "$(dirname "$0")/lib.sh"
ROUNDS=25
[ "$VG_SOAK" = 1 ] && ROUNDS=1000 && VG_TEST_TIMEOUT=7200
plan 8
vgmount backup_grace=0,durability=async
mkdir "$M/c" "$M/d"
put "$M/c/.config/metric" l2

# 1,000 ids of 512 floats, written ROUNDS times; in the end row i is i + 1, ...
overwrite() {
	"$PYTHON3" - "$1" "$2" <<'PY'
import os, struct, sys
for n in range(int(sys.argv[2]), 0, -1):
    for i in range(1000):
        with open(f"{sys.argv[1]}/v{i}", "wb") as f:
            f.write(struct.pack("<512f", *(j + i * n for j in range(1, 513))))
PY
}
kilobytes() { du -sk "$1" | cut -f1; }
# Waits until there are at most half as many dead rows as living ones, with which
# nothing is due any more, and the directory has at most $1 kilobytes.
small() {
	for _ in $(seq 600); do
		[ $((2 * $(cat "$M/c/.stats/deleted"))) -le \
			"$(cat "$M/c/.stats/count")" ] &&
			[ "$(kilobytes "$D")" -le "$1" ] && return 0
		pause 0.1
	done
	diag "$(kilobytes "$D") KB, $(cat "$M/c/.stats/deleted") dead"
	return 1
}

mkdir "$S/fresh" "$S/fresh.mnt"
"$VECGRIDFS" "$S/fresh" "$S/fresh.mnt" 2>/dev/null
mkdir "$S/fresh.mnt/c"
overwrite "$S/fresh.mnt/c" 1
umount "$S/fresh.mnt"
while ! flock -n "$S/fresh/LOCK" true; do pause 0.05; done
fresh=$(kilobytes "$S/fresh")

ok "1,000 ids are overwritten $ROUNDS times" overwrite "$M/c" "$ROUNDS"
is "$(cat "$M/c/.stats/count")" 1000 "there are as many records"
exec 3<"$M/c/v5"
ok "the directory comes down to three times a fresh one ($fresh KB)" \
	small $((3 * fresh))
is "$(numbers "$M/c/v7" | cut -d' ' -f1-3)" "8 9 10" "the last is what is left"
is "$(numbers /dev/fd/3 | cut -d' ' -f1-3)" "6 7 8" \
	"an open file reads on across a compaction"
exec 3<&-
ls "$M/c" | head -n 900 | sed "s|^|$M/c/|" | xargs rm
ok "so it does after nine in ten are deleted" small $((3 * fresh))
is "$(cat "$M/c/.stats/count"):$(ls "$M/c" | wc -l)" 100:100 \
	"which leaves the others"
finish
