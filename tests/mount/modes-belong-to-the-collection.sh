#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# chmod and chown of a collection hold for all in it; a vector has none of its
# own. With allow_other the kernel enforces them.
. "$(dirname "$0")/lib.sh"
plan 33
vgmount allow_other
mkdir "$M/c"
cd "$M/c" || exit 99
raw a 1 2

umask 022
mkdir -m 750 "$M/m"
is "$(stat -c %a "$M/m")" 750 "mkdir -m is kept"
chmod 755 "$M/c"
is "$(stat -c %a "$M/c")" 755 "a collection's mode is stored"
is "$(stat -c %a a)" 644 "vectors inherit it without x"
chmod 700 "$M/c"
is "$(stat -c %a a)" 600 "and follow it"
ok "chmod of a vector succeeds" chmod 777 a
is "$(stat -c %a a)" 600 "and changes nothing"
ok "chown of a vector succeeds" chown 12:34 a
is "$(stat -c %u:%g a)" "$(id -u):$(id -g)" "and changes nothing"
raw .s 1 2
ok "chmod of a staging file succeeds" chmod 600 .s
is "$(numbers a)" "1 2" "the vector is as it was"

if need_nobody 22; then
	cd "$S" || exit 99
	raw "$S/v" 5 6
	put "$S/50" 50
	chmod 700 "$M/c"
	fails EACCES "0700: another user does not list" as_nobody ls "$M/c"
	fails EACCES "nor read" as_nobody cat "$M/c/a"
	fails EACCES "nor search" as_nobody cat "$M/c/query/1,2"
	fails EACCES "nor write" as_nobody cp "$S/v" "$M/c/b"
	fails EACCES "nor reach the dot names" as_nobody cat "$M/c/.as/txt/a"
	chmod 755 "$M/c"
	ok "0755: another user reads" as_nobody cat "$M/c/a"
	ok "and searches" as_nobody cat "$M/c/query/1,2"
	ok "and asks a named query" as_nobody sh -c \
		'cp "$1" "$2/query/q1" && cat "$2/query/q1"' - "$S/v" "$M/c"
	fails EACCES "but does not write" as_nobody cp "$S/v" "$M/c/a"
	fails EACCES "nor make" as_nobody cp "$S/v" "$M/c/b"
	fails EACCES "nor remove" as_nobody rm -f "$M/c/a"
	fails EACCES "nor rename" as_nobody mv "$M/c/a" "$M/c/b"
	nok "nor set metadata" as_nobody setfattr -n user.k -v v "$M/c/a"
	nok "nor through .meta" as_nobody sh -c 'echo {} >"$1"' - "$M/c/.meta/a"
	nok "nor through .as" as_nobody cp "$S/v" "$M/c/.as/raw/a"
	nok "nor configure" as_nobody cp "$S/50" "$M/c/.config/ef_search"
	nok "nor import" as_nobody cp "$S/v" "$M/c/.import/fvecs"
	nok "nor delete all" as_nobody sh -c 'echo all >"$1"' - \
		"$M/c/.delete-where"
	fails EACCES "nor drop the collection" as_nobody rmdir "$M/c"
	chown 65534:65534 "$M/c"
	is "$(stat -c %u "$M/c/a")" 65534 "vectors inherit the owner"
	ok "who may write then" as_nobody cp "$S/v" "$M/c/b"
	is "$(ls "$M/c" | xargs)" "a b" "nothing else has changed"
fi
cd "$S" || exit 99
finish
