#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The time of day jumps by a year, to and fro, under load: nothing is lost, no
# call hangs, what waits goes by a clock that nobody can set. Only the daemon
# sees the jumps, through a library that is preloaded.
. "$(dirname "$0")/lib.sh"
plan 13
"${CC:-cc}" -std=gnu11 -O1 -shared -fPIC -o "$S/clockstep.so" \
	"$VG_SRC/tests/clockstep.c" -ldl 2>"$S/cc" ||
	skip_all "no library can be built: $(head -n 1 "$S/cc")"
head -c 16 /dev/zero >"$S/step"
cat >"$S/jumpy" <<EOT
#!/bin/sh
LD_PRELOAD=$S/clockstep.so CLOCKSTEP=$S/step \
ASAN_OPTIONS="\$ASAN_OPTIONS:verify_asan_link_order=0" exec "$VECGRIDFS" "\$@"
EOT
chmod +x "$S/jumpy"
real=$VECGRIDFS
VECGRIDFS=$S/jumpy
vgmount durability=async,checkpoint=64K
report 10 "$PYTHON3" "$HERE/clock_steps.py" "$S/step" "$(daemon_pid)"
VECGRIDFS=$real
vgumount
is $? 0 "it is unmounted"
vgmount
is "$(ls "$M/c/late" && cat "$M/s/.stats/count")" "$M/c/late
20000" "what was written a year ahead is there today"
finish
