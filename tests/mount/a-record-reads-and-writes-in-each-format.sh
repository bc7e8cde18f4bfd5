#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .as/{raw,npy,json,txt}/<id> is one record in four formats, both ways.
. "$(dirname "$0")/lib.sh"
plan 26
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
raw a 0.1 -2.5 1e-20
setfattr -n user.year -v 2020 a

is "$(ls -A .as | xargs)" "json npy raw txt" ".as lists its formats"
ok "raw is the file itself" cmp a .as/raw/a
is "$(cat .as/txt/a)" "0.1,-2.5,1e-20" "txt is the shortest numbers"
is "$(cat .as/json/a)" \
	'{"vector":[0.1,-2.5,1e-20],"metadata":{"year":2020}}' \
	"json has vector and metadata"
for f in json npy raw txt; do
	is "$(stat -c %s .as/$f/a)" "$(cat .as/$f/a | wc -c)" \
		"the size of $f is exact"
	is "$(ls .as/$f)" a "$f lists the record"
done

for f in json npy raw txt; do
	cat .as/$f/a >"$S/x.$f"
	ok "$f written back" cp "$S/x.$f" .as/$f/b_$f
	ok "gives the same vector" cmp a b_$f
done
is "$(getfattr --only-values -n user.year b_json 2>/dev/null)" 2020 \
	"and json the same metadata"

if need_numpy 1; then
	is "$("$PYTHON3" -c 'import numpy as np
a = np.load(".as/npy/a"); print(a.dtype.str, a.shape, np.array_equal(a,
np.fromfile("a", "<f4")))')" "<f4 (3,) True" "numpy loads npy"
fi
ok "rm in .as removes the record" rm .as/txt/b_txt
fails ENOENT "everywhere" stat b_txt
fails EINVAL "text is not npy" sh -c 'echo 1,2,3 | dd of=.as/npy/n status=none'
cd "$S" || exit 99
finish
