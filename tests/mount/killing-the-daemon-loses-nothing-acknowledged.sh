#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 under eight writers: what was acknowledged is there, what was not is
# wholly old or wholly new, what was deleted is in no listing and no answer.
# VG_KILL_ROUNDS: how often (5; 300 in a soak). VG_SEED repeats a run.
. "$(dirname "$0")/lib.sh"
if [ "$VG_SOAK" = 1 ]; then
	: "${VG_KILL_ROUNDS:=300}"
	VG_TEST_TIMEOUT=36000
fi
rounds=${VG_KILL_ROUNDS:-5}
plan $((rounds + 2))
export VECGRIDFS
: >"$S/rounds"
"$PYTHON3" "$HERE/kill_rounds.py" "$rounds" >"$S/rounds" 2>&1 &
driver=$!
n=0
while IFS= read -r line; do
	case $line in
	"round "*": "*)
		n=$((n + 1))
		is "${line#*: }" "nothing lost" "${line%%: *}"
		;;
	*)	diag "$line" ;;
	esac
done < <(tail -n +1 --pid=$driver -f "$S/rounds")
wait $driver
is $? 0 "the driver saw all rounds"
vgmount
finish
