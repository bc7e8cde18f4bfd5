#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A query's vector can be numbers, base64, a record, or a named request.
. "$(dirname "$0")/lib.sh"
plan 36
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/metric l2
for x in 0 1 2 3; do
	for y in 0 1 2 3; do
		put "p$x$y" "$x,$y"
	done
done
put a.tsv 9,9
put tsv 9,8

answer() { # PATH: the first three ids
	ids <"query/k=3/$1"
}
is "$(answer 2,2.1)" "p22 p23 p12" "numbers with commas"
is "$(answer v=2,2.1)" "p22 p23 p12" "v= and numbers"
is "$(answer 2e0,21e-1)" "p22 p23 p12" "in any notation"
is "$(answer v=-1,-1.5)" "p00 p10 p01" "negative ones too"
is "$(answer 2,2.1.tsv | wc -l)" 1 "only the last extension counts"
is "$(cut -f1 query/k=3/2,2.5.tsv | xargs)" "p22 p23 p12" \
	"a number may have a fraction before the format"
b64=$(vector 2 2.1 | base64 -w0 | tr +/ -_ | tr -d =)
is "$(answer "b64=$b64")" "p22 p23 p12" "b64= and raw bytes"
b64=$(vector -5.5e30 7.7e-12 | base64 -w0 | tr +/ -_)
ok "padding is allowed" cat "query/b64=$b64"

is "$(ids <query/k=4/id=p11)" "p01 p10 p12 p21" \
	"id= finds more like it, itself left out"
is "$(cut -f1 query/k=1/id=p11.tsv)" p01 "with a format"
is "$(ids <query/k=1/id=a.tsv)" tsv "an id that ends like a format wins"
is "$(cut -f1 query/k=1/id=a.tsv.tsv)" tsv "and takes a format after it"
fails ENOENT "id= of nobody" cat query/id=nobody

vector 2 2.1 >"$S/q"
ok "a named request is written" cp "$S/q" query/q1
is "$(answer q1)" "p22 p23 p12" "and answered"
is "$(cut -f1 query/k=1/q1.tsv)" p22 "in any format"
put query/q1 0,0.1
is "$(answer q1)" "p00 p01 p10" "written again it asks anew"
for i in 1 2 3; do
	ok "under a name with a format, $i times" cp "$S/q" query/q2.f32
done
is "$(answer q2)" "p22 p23 p12" "it is the one without"
fails EACCES "an answer below parameters is not written" \
	cp "$S/q" query/k=2/q2.f32
put query/q2 '{"vector":[3,3]}'
is "$(ids <query/k=1/q2)" p33 "as JSON"
put query/q3 '[3, 0.2]'
is "$(ids <query/k=1/q3)" p30 "as a JSON array"
cp "$S/q" query/.t.x
mv query/.t.x query/q4
is "$(ids <query/k=1/q4)" p22 "by rename"
cp "$S/q" query/q5.raw
is "$(ids <query/k=1/q5)" p22 "an extension is not part of the name"
if need_numpy 1; then
	"$PYTHON3" -c 'import numpy as np; np.save("query/q6.npy", [1., 3.])'
	is "$(ids <query/k=1/q6)" p13 "as npy"
fi
raw p22 2.05 2.05
is "$(ids <query/k=1/q5)" p22 "it is asked of the collection as it is"
rm p22
is "$(ids <query/k=1/q5)" p23 "not as it was"
ok "it can be removed" rm query/q1
fails ENOENT "and is gone" cat query/q1
fails ENOENT "a name that was never written" cat query/q99
is "$(ls -A query)" "" "none of them is listed"
put "$S/bad" 1,2,3
fails EINVAL "a request of another dimension" cp "$S/bad" query/q7

is "$(ids <query/all)" \
	"a.tsv p00 p01 p02 p03 p10 p11 p12 p13 p20 p21 p23 p30 p31 p32 p33 tsv" \
	"all is every row by id, without a default k"
cd "$S" || exit 99
finish
