#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random calls on the tree and on a dictionary in memory: after each the two
# say the same, through remounts in every durability mode. The environment:
# VG_SEED repeats a run, VG_MODEL_OPS says how many calls (3000; 200000 in a
# soak), VG_MODEL_TRACE=1 tells each one.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
if [ "$VG_SOAK" = 1 ]; then
	: "${VG_MODEL_OPS:=200000}"
	VG_TEST_TIMEOUT=36000
fi
plan 6
ops=${VG_MODEL_OPS:-3000}
vgmount
mkfifo "$S/asks" "$S/answers"
"$PYTHON3" "$HERE/model.py" "$M" "$ops" <"$S/answers" >"$S/asks" \
	2>"$S/model.err" &
driver=$!
exec {answers}>"$S/answers"
modes=(fsync async close)
n=0
while IFS= read -r line; do
	case $line in
	remount)
		vgumount || missed "it unmounts"
		vgmount "durability=${modes[n % 3]}"
		n=$((n + 1))
		echo mounted >&"$answers"
		;;
	yes:\ *) passed "${line#*: }" ;;
	no:\ *)	missed "${line#*: }" ;;
	*)	diag "$line" ;;
	esac
done <"$S/asks"
wait "$driver"
is "$?$(tail -n 20 "$S/model.err")" 0 "the model came to its end"
finish
