#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A bad row is counted and named with its line; everything else is in, and the
# last close says EINVAL.
. "$(dirname "$0")/lib.sh"
plan 30
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99

row() {
	printf '{"id":"r%d","vector":[%d,1,2]}\n' $1 $1
}
{
	for i in $(seq 1 99); do row $i; done
	echo '{"id":"r100","vector":[1,2]}'
	for i in $(seq 101 149); do row $i; done
	echo 'no json at all'
	for i in $(seq 151 159); do row $i; done
	echo '{"id":"zero","vector":[0,0,0]}'
	printf '{"id":"%s","vector":[1,2,3]}\n' "$(printf 'n%.0s' {1..256})"
	echo '{"id":"nan","vector":[1,NaN,3]}'
	echo '{"vector":[1,2,3'
	for i in $(seq 164 200); do row $i; done
} >"$S/rows"

fails EINVAL "cp ends with EINVAL" cp "$S/rows" .import/ndjson
is "$(cat .stats/count)" 194 "all others are in"
is "$(numbers r200)" "200 1 2" "also those after it"
errors=$(cat .import/errors)
is "$(wc -l <<<"$errors")" 6 "each bad row has a line in errors"
line() { # LINE REGEX MSG
	like "$(grep -E "(^|[^0-9])$1([^0-9]|\$)" <<<"$errors" | head -n 1)" \
		"$2" "$3"
}
line 100 '3 dim.*2 num' "line 100 has a wrong dimension"
line 150 '[A-Za-z]' "line 150 is no JSON"
line 160 '[Zz]ero' "line 160 is a zero vector"
line 161 '255|long' "line 161 has too long an id"
line 162 '[A-Za-z]' "line 162 has a NaN"
line 163 '[A-Za-z]' "line 163 is cut off"
like "$(cat .import/status)" '194' "status tells the good ones"
like "$(cat .import/status)" '6' "and the bad ones"
like "$(cat .stats/last_error)" '[A-Za-z]' "last_error says so too"
fails EINVAL "cat sees it as well" sh -c 'cat "$1" >.import/ndjson' - "$S/rows"
is "$(cat .stats/count)" 194 "the same rows again"
row 1 >"$S/good"
ok "a good import after it" cp "$S/good" .import/ndjson
is "$(cat .import/errors)" "" "has no errors"

if need_numpy 10; then
	"$PYTHON3" - "$S" <<'PY'
import sys
import numpy as np
d = sys.argv[1]
a = np.random.default_rng(5).normal(size=(500, 3)).astype("<f4")
a[250, 1] = np.nan
np.save(d + "/nan.npy", a)
np.hstack([np.full((500, 1), 3, "<i4").view("<f4"), a]).tofile(d + "/nan.fvecs")
b = open(d + "/nan.npy", "rb").read()
a[250] = 1
np.save(d + "/good.npy", a)
g = open(d + "/good.npy", "rb").read()
open(d + "/cut.npy", "wb").write(g[:-5])
np.save(d + "/wide.npy", np.ones((4, 4), "f4"))
np.save(d + "/text.npy", np.array(["a", "b"]))
PY
	mkdir "$M/n" "$M/f"
	cd "$M/n" || exit 99
	fails EINVAL "npy with a NaN in row 250" cp "$S/nan.npy" .import/npy
	is "$(cat .stats/count)" 499 "all others are in"
	like "$(cat .import/errors)" '25[01]' "the row is named"
	cd "$M/f" || exit 99
	fails EINVAL "fvecs with a NaN in row 250" cp "$S/nan.fvecs" \
		.import/fvecs
	is "$(cat .stats/count)" 499 "all others are in"
	fails EINVAL "an npy that ends early" cp "$S/cut.npy" .import/npy@c
	is "$(ls | grep -c ^c)" 499 "has its whole rows in"
	fails EINVAL "another dimension" cp "$S/wide.npy" .import/npy@w
	fails EINVAL "an array of words" cp "$S/text.npy" .import/npy@t
	is "$(ls | grep -c '^[wt]')" 0 "bring nothing in"
fi
mkdir "$M/e"
cd "$M/e" || exit 99
ok "an empty stream is no error" sh -c ': >.import/ndjson'
is "$(cat .stats/count)" 0 "and brings nothing in"
cd "$S" || exit 99
finish
