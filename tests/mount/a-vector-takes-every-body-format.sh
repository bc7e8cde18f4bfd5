#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Raw, text, JSON and npy bodies all become the same raw float32 file.
. "$(dirname "$0")/lib.sh"
plan 40
vgmount
mkdir "$M/c"

raw "$S/one" 1.5 -2 3e-3
ok "raw little-endian float32 is written" cp "$S/one" "$M/c/raw"
ok "it reads back bit for bit" cmp "$S/one" "$M/c/raw"
is "$(cat "$M/c/.config/dim")" 3 "the dimension is inferred from it"
like "$(cat "$M/c/.config/dim_source")" '^raw, 12 bytes' "and it says so"

n=0
while IFS= read -r text; do
	n=$((n + 1))
	printf "$text" >"$M/c/text$n"
	ok "as text: $text" cmp "$S/one" "$M/c/text$n"
done <<'TEXTS'
1.5,-2,3e-3
1.5 -2 0.003
1.5\t-2\t.003
1.5;-2;3E-3;
 1.5 , -2.0 , 0.003 \n
1.5\n-2\n3e-03\n
[1.5, -2, 0.003]
\n [1.5,-2.0,3e-3]\n
{"vector":[1.5,-2,0.003]}
{"metadata":{"year":2020,"tags":["a"]},"vector":[1.5,-2,0.003]}\n
TEXTS
is "$(jq -cS . <"$M/c/.meta/text$n" 2>/dev/null || cat "$M/c/.meta/text$n")" \
	'{"tags":["a"],"year":2020}' "a JSON body brings metadata"
ok "a JSON body without a vector changes metadata only" \
	put "$M/c/text$n" '{"metadata":{"year":null,"lang":"en"}}'
is "$(jq -cS . <"$M/c/.meta/text$n" 2>/dev/null || cat "$M/c/.meta/text$n")" \
	'{"lang":"en","tags":["a"]}' "null removes, absent keeps"
ok "and keeps the vector" cmp "$S/one" "$M/c/text$n"

mkdir "$M/tiny"
put "$M/tiny/.config/dim" 3
printf '1.0,2.0,3.0\n' >"$M/tiny/a"
is "$(numbers "$M/tiny/a")" "1 2 3" \
	"twelve bytes of digits that are three numbers are text"
printf '111111111111' >"$M/tiny/b"
is "$(cat "$M/tiny/b")" 111111111111 \
	"twelve bytes of digits that are one number are raw"
ok "nothing is guessed under .as/raw" \
	sh -c 'printf "1.0,2.0,3.0\n" >"$1/tiny/.as/raw/c"' - "$M"
is "$(cat "$M/tiny/c")" "1.0,2.0,3.0" "its bytes are the vector's"

if need_numpy 17; then
	for t in f2 f4 f8 '>f4' '>f8' i1 i2 i4 i8 u1 u2 u4 u8 '>i2'; do
		"$PYTHON3" - "$t" "$S/x.npy" "$S/want" <<'PY'
import sys, numpy as np
a = np.array([1, 2, 3]).astype(sys.argv[1])
np.save(sys.argv[2], a)
a.astype("<f4").tofile(sys.argv[3])
PY
		cp "$S/x.npy" "$M/c/npy"
		ok "as npy of $t" cmp "$S/want" "$M/c/npy"
	done
	"$PYTHON3" -c 'import numpy as np, sys
np.save(sys.argv[1], np.ones((1, 3), "f4"))
np.save(sys.argv[2], np.ones((2, 3), "f4"))
np.save(sys.argv[3], np.ones(3, "c8"))' "$S/row.npy" "$S/rows.npy" "$S/c.npy"
	ok "a matrix of one row is a vector" cp "$S/row.npy" "$M/c/row"
	fails EINVAL "one of two rows is not" cp "$S/rows.npy" "$M/c/rows"
	fails EINVAL "complex numbers are refused" cp "$S/c.npy" "$M/c/cplx"
fi
finish
