#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is no vector of this collection: EINVAL, and a sentence that says why.
. "$(dirname "$0")/lib.sh"
plan 35
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put a 1,2,3

refused() { # MSG BYTES SENTENCE
	printf "$2" >"$S/bad"
	fails EINVAL "$1 is refused" cp "$S/bad" new
	like "$(cat .stats/last_error)" "$3" "last_error says why"
}
refused "NaN" '{"vector":[1,NaN,3]}' '[A-Za-z]'
refused "a number too large for float32" '1,1e39,3' '[A-Za-z]'
refused "one number too few" '1,2' '3 dim.*2 num'
refused "one number too many" '1,2,3,4' '3 dim'
refused "raw bytes of another length" '\001\002\003\004\005\006\007\010\011' \
	'[0-9]+ bytes'
refused "words" 'one two three' '[A-Za-z]'
refused "a zero vector under cosine" '0,0,0' '[Zz]ero'
vector 1 nan 3 >"$S/nan"
fails EINVAL "a raw NaN is refused" cp "$S/nan" new
vector 1 inf 3 >"$S/inf"
fails EINVAL "a raw infinity is refused" cp "$S/inf" new
is "$(ls -A)" a "none of them left a record"

for bad in 1,2 1,2,3,4 x nan 0,0,0; do
	echo "$bad" >"$S/bad"
	cp "$S/bad" a 2>/dev/null
done
is "$(numbers a)" "1 2 3" "a refused overwrite keeps the old vector"

fails EINVAL "appending to a vector" "$PYTHON3" -c 'import os
f = os.open("a", os.O_WRONLY | os.O_APPEND)
os.write(f, b"\0\0\0\0"); os.close(f)'
fails EINVAL "truncating to another size" truncate -s 8 a
fails EINVAL "or to a larger one" truncate -s 16 a
ok "truncating to its own size changes nothing" truncate -s 12 a
is "$(numbers a)" "1 2 3" "the vector is as it was"
is "$(cat .stats/count)" 1 "and alone"

put "$M/c/.config/metric" cosine 2>/dev/null
mkdir "$M/l2"
put "$M/l2/.config/metric" l2
put "$S/zero" 0,0
ok "a zero vector is fine under l2" cp "$S/zero" "$M/l2/z"

put "$S/bad" 1,2,3,4,5
cp "$S/bad" "$M/c/wanted name" 2>/dev/null
row=$(tail -n 1 "$M/.vecgridfs/errors.ndjson")
like "$row" '^\{.*\}$' "errors.ndjson has a row for it"
like "$row" '"pid": ?[0-9]+' "with the process"
like "$row" "\"uid\": ?$(id -u)" "the user"
like "$row" '"path": ?"[^"]*c/wanted name"' "the path"
like "$row" '3 dim' "and the sentence"
if need jq 1; then
	ok "each row is JSON" jq -es 'map(.pid and .path) | all' \
		"$M/.vecgridfs/errors.ndjson"
fi
if [ "$(id -u)" = 0 ] && need_nobody 3; then
	cd "$S" || exit 99
	vgumount
	vgmount allow_other
	chmod 777 "$M/c"
	as_nobody cp "$S/bad" "$M/c/theirs" 2>/dev/null
	cp "$S/bad" "$M/c/mine" 2>/dev/null
	as_nobody cat "$M/.vecgridfs/errors.ndjson" >"$S/seen"
	ok "another user sees the own row" grep -q theirs "$S/seen"
	nok "and nobody else's" grep -q mine "$S/seen"
	ok "root sees both" sh -c 'grep -q mine "$1" && grep -q theirs "$1"' \
		- "$M/.vecgridfs/errors.ndjson"
fi
cd "$S" || exit 99
finish
