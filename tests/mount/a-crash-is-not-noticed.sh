#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon, not its holder, under writers, readers, an import and
# rsync: no call of theirs fails, and all that was acknowledged is there.
# VG_DAEMON_KILLS: how often (3; 100, 15 s apart, in a soak). VG_SEED repeats
# the clients' choices. FUSE_NOTIFY_RESEND is never used: the requests that
# were under way come out of the arena.
pause_ms=4000
if [ "${VG_SOAK:-0}" = 1 ]; then
	: "${VG_DAEMON_KILLS:=100}"
	pause_ms=15000
	VG_TEST_TIMEOUT=36000
fi
. "$(dirname "$0")/lib.sh"
kills=${VG_DAEMON_KILLS:-3}
plan $((kills + 3))
vgmount
export HOLDER
rounds "nobody noticed" \
	"$PYTHON3" "$HERE/crash_rounds.py" "$kills" "${VG_KILL_PAUSE_MS:-$pause_ms}"
finish
