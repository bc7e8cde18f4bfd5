#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A request that was at work when two daemons died gets EIO; five crashes within
# a minute end the mount, and norestart ends it at the first.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 13

# kill_daemon: and waits until it is gone.
kill_daemon() {
	local pid
	pid=$(daemon_pid)
	kill -9 "$pid" && timeout 60 tail --pid="$pid" -f /dev/null
}

# began: waits until the daemon has begun to search: it uses a CPU.
began() {
	local pid ticks
	until pid=$(daemon_pid) && [ "$pid" != "$HOLDER" ] &&
		ticks=$(cut -d' ' -f14 "/proc/$pid/stat" 2>/dev/null) &&
		[ "${ticks:-0}" -gt 30 ] && stat "$M/c" >/dev/null; do
		pause 0.05
	done
}

vgmount
mkdir "$M/c"
put "$M/c/.config/index" flat
"$PYTHON3" -c 'import numpy as np, sys
r = np.random.default_rng(1)
np.save(sys.argv[1] + "/base.npy", r.random((20000, 256), "f4"))
np.save(sys.argv[1] + "/batch.npy", r.random((10000, 256), "f4"))' "$S"
cp "$S/base.npy" "$M/c/.import/npy"
cp "$S/batch.npy" "$M/c/query/b1"
cat "$M/c/query/exact=1/k=1/threads=1/b1.ids" >"$S/out" 2>"$S/err" &
reader=$!
pause 0.5
kill_daemon
began
is "$(cat "$M/c/.stats/count")" 20000 "others are served after a crash"
ok "who asked the long question still waits" kill -0 $reader
kill_daemon
wait $reader
like "$(cat "$S/err")" "Input/output error" "at the second it gets EIO"
is "$(cat "$M/c/.stats/count")" 20000 "and the others are served"
like "$(cat "$S/log")" "at work at two crashes" "the log names the request"
like "$(cat "$M/.vecgridfs/health")" "^ok.*2 times, last at 20" \
	"health tells how often"
kill_daemon
cat "$M/c/7" >"$S/a-record"
kill_daemon
is "$(cat "$M/c/7" | md5sum)" "$(md5sum <"$S/a-record")" "after four it goes on"
exec 5<"$M/c/7"
kill_daemon
timeout 60 tail --pid="$HOLDER" -f /dev/null
wait "$HOLDER"
is $? $((128 + 9)) "the fifth within a minute ends the mount"
like "$(cat "$S/log")" "crashed 5 times within a minute: it is not started" \
	"the log says so"
nok "nothing is mounted" mounted
exec 5<&-

vgmount norestart
is "$(cat "$M/c/.stats/count")" 20000 "what was stored is there"
kill_daemon
timeout 60 tail --pid="$HOLDER" -f /dev/null
wait "$HOLDER"
is $? $((128 + 9)) "with norestart the first crash ends the mount"
vgmount
finish
