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
rounds "nothing lost" "$PYTHON3" "$HERE/kill_rounds.py" "$rounds"
vgmount
finish
