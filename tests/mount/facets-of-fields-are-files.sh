#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .stats/facets/FIELD: the values of a field and how many records have each, as
# facet= says; the directory lists the fields that are indexed.
. "$(dirname "$0")/lib.sh"
plan 19
vgmount
facets=$M/c/.stats/facets
T=$'\t'

mkdir "$M/c"
put "$M/c/.config/metric" l2
cat >rows <<'END'
{"id":"a","vector":[1,2],"metadata":{"lang":"en","a.tsv":3,"x/y":true,".d":1,"meta.k":"v"}}
{"id":"b","vector":[2,2],"metadata":{"lang":"en","tags":["p","q"],"o":{"i":5}}}
{"id":"c","vector":[3,2],"metadata":{"lang":"de","tags":["p"],"query":"w","50%":0}}
END
ok "three records come in" cp rows "$M/c/.import/ndjson"
is "$(ls "$facets")" "" "no field is indexed yet"
is "$(cat "$facets/lang")" "en${T}2
de${T}1" "a field is read by its name, and is indexed then"
is "$(cat "$M/c/query/where=tags.eq=p and o.i.gt=1/count")" 1 \
	"a filter indexes fields"
is "$(ls "$facets" | tr '\n' ' ')" "lang o.i tags " "which are listed"
for f in a.tsv x%2Fy meta.k %2Ed %71uery 50%; do
	cat "$facets/$f" >/dev/null
done
is "$(ls "$facets" | tr '\n' ' ')" \
	"%2Ed %71uery 50% a.tsv lang meta.k o.i tags x%2Fy " \
	"names are spelled as those of ids"
is "$(cat "$facets"/* | LC_ALL=C sort | tr '\n' ' ')" \
	"0${T}1 1${T}1 3${T}1 5${T}1 de${T}1 en${T}2 p${T}2 q${T}1 true${T}1 v${T}1 w${T}1 " \
	"each file has its field's values"
same=yes
for f in lang tags a.tsv; do
	cmp -s "$facets/$f" "$M/c/query/fmt=tsv/facet=${f/./%2E}" || same=$f
done
is "$same" yes "which are those of facet="
wrong=0
for f in "$facets"/*; do
	[ "$(stat -c %s "$f")" = "$(wc -c <"$f")" ] || wrong=$((wrong + 1))
done
is "$wrong" 0 "sizes are exact"
ok "they are copied as files are" cp -r "$facets" copy
is "$(cat copy/lang)" "$(cat "$facets/lang")" "whole"
ok "a snapshot is taken" mkdir "$M/c/.snap/s"
rm "$M/c/a"
is "$(cat "$facets/lang") $(cat "$M/c/.snap/s/.stats/facets/lang")" \
	"de${T}1
en${T}1 en${T}2
de${T}1" "a file is of what is there, a snapshot's of what was"
is "$(cat "$facets/none")" "" "a field that no record has is empty"
fails ENOENT "what is no spelling of a name is not there" cat "$facets/.d"
fails EACCES\|EPERM "and nothing is written there" cp rows "$facets/lang"
exec 3<"$facets/lang"
kill -9 "$(daemon_pid)"
is "$(cat <&3)" "de${T}1
en${T}1" "an open file reads on when the daemon crashes"
exec 3<&-
vgumount
vgmount
is "$(ls "$facets")$(cat "$facets/tags")" "p${T}2
q${T}1" "a restart forgets indexes, and makes them anew"
finish
