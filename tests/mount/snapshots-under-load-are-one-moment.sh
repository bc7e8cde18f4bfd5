#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# While a writer goes through the records again and again, whatever is read of
# a snapshot is of one moment: its files, exports, tar and searches; so it stays
# over compactions, restarts and in copies of the data directory.
. "$(dirname "$0")/lib.sh"
ROUNDS=4
[ "$VG_SOAK" = 1 ] && ROUNDS=40 && VG_TEST_TIMEOUT=3600
plan 12
vgmount durability=async,backup_grace=0
mkdir "$M/c"
put "$M/c/.config/metric" l2
report 7 "$PYTHON3" "$HERE/snapshots.py" "$M/c" $ROUNDS
while [ "$(cat "$M/c/.stats/deleted")" != 0 ]; do
	pause 0.2
done
like "$(cat "$M/c/.stats/pinned_bytes")" '^[1-9]' \
	"a compaction leaves what they show"
cp -a "$D" "$S/copy"
vgumount
vgmount
report 1 "$PYTHON3" "$HERE/snapshots.py" "$M/c" again
mkdir "$S/copy.mnt"
"$VECGRIDFS" "$S/copy" "$S/copy.mnt" 2>/dev/null
report 1 "$PYTHON3" "$HERE/snapshots.py" "$S/copy.mnt/c" again
umount "$S/copy.mnt"
rmdir "$M"/c/.snap/*
for _ in $(seq 300); do
	[ "$(cat "$M/c/.stats/pinned_bytes")" = 0 ] && break
	pause 0.1
done
is "$(cat "$M/c/.stats/pinned_bytes" "$M/c/.stats/snapshots" | xargs)" "0 0" \
	"rmdir frees what only they kept"
finish
