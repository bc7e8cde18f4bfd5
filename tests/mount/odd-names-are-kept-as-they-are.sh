#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An id is bytes. Blanks, quotes, newlines and long names are names like any.
. "$(dirname "$0")/lib.sh"
plan 54
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99

long=$(printf 'n%.0s' {1..255})
n=0
while IFS= read -rd '' name; do
	n=$((n + 1))
	shown=$(printf '%.40q' "$name")
	put "$name" "$n,1"
	is "$(numbers "$name")" "$n 1" "$shown is written and read"
	ok "$shown is listed as it is" "$PYTHON3" -c 'import os, sys
sys.exit(os.fsencode(sys.argv[1]) not in os.listdir(b"."))' "$name"
	is "$("$PYTHON3" -c 'import json, sys
print(json.loads(sys.stdin.buffer.read().decode("utf8", "surrogateescape"))
["id"].encode("utf8", "surrogateescape") == sys.argv[1].encode("utf8",
"surrogateescape"))' "$name" <"query/k=1/exact=1/$n,1")" True \
		"$shown is found" || :
done < <(printf '%s\0' 'a b' ' lead' 'trail ' "it's" 'say "x"' $'new\nline' \
	$'tab\there' '😀 emoji' 'é' $'e\xcc\x81' '100%' 'a%2Gb' '%zz' \
	'-rf' 'back\slash' 'a:b*c?d' "$long")
put "${long}x" 1,1 2>/dev/null
nok "256 bytes are too many" test -e "${long}x"
is "$(ls | grep -c .)" 18 "nothing else is there" || :
cd "$S" || exit 99
finish
