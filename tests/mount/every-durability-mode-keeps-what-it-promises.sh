#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# durability=close|fsync|async: an orderly unmount keeps all; a kill keeps what
# was closed, synced, or a second old.
. "$(dirname "$0")/lib.sh"
plan 16

die() { # as a crash does
	kill -9 "$HOLDER"
	wait "$HOLDER" 2>/dev/null
	umount -l "$M"
	HOLDER=
}
for mode in close fsync async; do
	D=$S/data-$mode
	vgmount durability=$mode
	mkdir "$M/c"
	for i in $(seq 20); do
		put "$M/c/v$i" "$i,1"
	done
	is "$(ids <"$M/c/query/k=1/id=v7" | wc -w)" 1 \
		"$mode: what is closed is visible"
	vgumount
	is $? 0 "it unmounts"
	vgmount durability=$mode
	is "$(ls "$M/c" | wc -l)" 20 "and keeps all"
	dd if=<(vector 3 4) of="$M/c/synced" conv=fsync status=none
	ok "dd conv=fsync" test -s "$M/c/synced"
	die
	vgmount durability=$mode
	is "$(numbers "$M/c/synced")" "3 4" "survives a kill"
	vgumount
done
D=$S/data-close
vgmount
finish
