#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One process owns a data directory: a second waits half a minute for it, then
# names its pid. Part of a soak, since it waits.
. "$(dirname "$0")/lib.sh"
[ "$VG_SOAK" = 1 ] || skip_all "waits 30 s: part of make soak"
plan 5
vgmount
mkdir "$M/c" "$S/mnt2"
start=$(date +%s)
nok "a second mount of the same data fails" sh -c \
	'timeout 60 "$1" "$2" "$3" -f 2>"$3.said"' - \
	"$VECGRIDFS" "$D" "$S/mnt2"
ok "after waiting for it" test $(($(date +%s) - start)) -ge 25
like "$(cat "$S/mnt2.said")" "($HOLDER|$(daemon_pid))" "it names the owner"
ok "the first goes on" put "$M/c/a" 1,2
finish
