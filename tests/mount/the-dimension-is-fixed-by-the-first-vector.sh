#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .config/* can be read always, and written; but dim once there are vectors.
. "$(dirname "$0")/lib.sh"
plan 63
vgmount
mkdir "$M/c"
cd "$M/c/.config" || exit 99

is "$(cat metric)" cosine "the metric is cosine to begin with"
is "$(cat dtype)" f32 "the dtype is f32"
is "$(cat m)" 16 "m is 16"
is "$(cat ef_construction)" auto "ef_construction is auto"
is "$(cat ef_search)" auto "so is ef_search"
is "$(cat target_recall)" 0.99 "target_recall is 0.99"
is "$(cat index)" auto "the index is auto"
is "$(cat quant)" auto "so is quant"
for f in metric dtype m ef_construction ef_search target_recall index quant dim; do
	is "$(stat -c %s $f)" "$(cat $f | wc -c)" "the size of $f is exact"
done
is "$(ls | xargs)" "$(ls | sort | xargs)" "ls .config lists them"
like "$(ls | xargs)" "dim.*ef_search.*metric" "all of them"

set_to() { # NAME VALUE
	put "$S/value" "$2"
	cp "$S/value" "$1" && [ "$(cat "$1")" = "$2" ]
}
ok "an empty collection takes another metric" set_to metric l2
ok "another m" set_to m 8
ok "another ef_construction" set_to ef_construction 64
ok "auto again" set_to ef_construction auto
ok "and the other" set_to ef_construction 64
ok "another ef_search" set_to ef_search 64
ok "auto again" set_to ef_search auto
ok "another target_recall" set_to target_recall 0.95
ok "another index" set_to index flat
ok "another quant" set_to quant none
ok "and a dimension" set_to dim 4
ok "echo writes it as well" put dim 3
is "$(cat dim)" 3 "the last one holds"

refused() { # NAME VALUE
	put "$S/value" "$2"
	fails EINVAL "$1 is not '$2'" cp "$S/value" "$1"
}
refused metric manhattan
refused dtype f99
refused m 1
refused m 65
refused m many
refused dim 0
refused dim 65536
refused dim -3
refused ef_construction 0
refused ef_search 0
refused ef_search none
refused target_recall 1
refused target_recall 0
refused target_recall 95%
refused quant sq3
refused index tree
like "$(cat ../.stats/last_error)" 'index.*(hnsw|flat)' \
	"last_error names the setting and what it takes"
is "$(cat metric m dim index | xargs)" "l2 8 3 flat" "nothing of it sticks"
nok "a name that is no setting" cp "$S/value" colour

put ../a 1,2,3
busy() { # NAME VALUE
	put "$S/value" "$2"
	fails EBUSY "$1 is fixed with the first vector" cp "$S/value" "$1"
}
busy dim 4
like "$(cat ../.stats/last_error)" "dim is fixed at 3" "last_error says at what"
for f in metric m ef_construction index quant dim dtype; do
	ok "$f may be set to what it is" set_to $f "$(cat $f)"
done
ok "ef_search changes at any time" set_to ef_search 50

mkdir "$M/d"
put "$M/d/a" 1,2,3,4
is "$(cat "$M/d/.config/dim")" 4 "without a setting the first vector decides"
cd "$S" || exit 99
finish
