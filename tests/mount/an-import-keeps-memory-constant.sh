#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A large npy streams in: the daemon's own memory during it is at most 200 MB
# above what it is afterwards. VG_IMPORT_MB: how large (300; 3000 in a soak).
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 4
if [ "$VG_SOAK" = 1 ]; then
	: "${VG_IMPORT_MB:=3000}"
fi
vgmount
mkdir "$M/c"
put "$M/c/.config/index" flat
got=$("$PYTHON3" "$HERE/import_memory.py" "$M/c/.import/npy" \
	"${VG_IMPORT_MB:-300}" "$(daemon_pid)" 2>&1)
rows=${got%% *}
rest=$(cut -d' ' -f2 <<<"$got")
is "$(cat "$M/c/.stats/count")" "$rows" "all rows are in"
ok "memory peaks at most 200 MB above its rest ($got)" test \
	"$rest" -le 204800
is "$(cat "$M/c/.import/errors")" "" "without an error"
finish
