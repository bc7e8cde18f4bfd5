#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Processes that add to counters on a condition lose no addition; processes with
# random transactions make a history that some order of them explains, also
# when the daemon is killed under them. What a transaction took is in it.
. "$(dirname "$0")/lib.sh"
ADDS=10 TXS=25 ENDS=100
[ "$VG_SOAK" = 1 ] && ADDS=200 TXS=600 ENDS=3000 && VG_TEST_TIMEOUT=3600
plan 8
seed=${VG_SEED:-$RANDOM}
diag "VG_SEED=$seed"
vgmount durability=async
mkdir "$M/c"
put "$M/c/.config/metric" l2
report 1 "$PYTHON3" "$HERE/histories.py" add "$M/c" 16 "$ADDS" "$seed"
mkdir "$M/ending"
report 1 "$PYTHON3" "$HERE/tx_close.py" "$M/ending" "$ENDS"
( while pause 2; do
	kill -9 "$(daemon_pid)" 2>/dev/null
done ) &
killer=$!
report 5 "$PYTHON3" "$HERE/histories.py" tx "$M/c" 8 "$TXS" "$seed"
kill "$killer" 2>/dev/null
wait "$killer" 2>/dev/null
finish
