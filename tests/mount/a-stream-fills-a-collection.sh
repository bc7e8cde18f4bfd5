#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .import/{npy,fvecs,ndjson} take streams; .export gives the same back.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 42
vgmount
"$PYTHON3" - "$S" <<'PY'
import json, sys
import numpy as np
d = sys.argv[1]
a = np.random.default_rng(5).normal(size=(500, 24)).astype("<f4")
np.save(d + "/a.npy", a)
np.save(d + "/a8.npy", a.astype("f8"))
head = np.full((500, 1), 24, "<i4").view("<f4")
np.hstack([head, a]).tofile(d + "/a.fvecs")
with open(d + "/a.ndjson", "w") as f:
    for i, v in enumerate(a):
        f.write(json.dumps({"id": f"doc/{i}", "vector": v.tolist(),
                            "metadata": {"n": i}}) + "\n")
PY
collection() {
	mkdir "$M/$1" && cd "$M/$1" && put .config/metric l2
}
same() { # MSG: all.npy is a.npy, row for row
	ok "$1" "$PYTHON3" -c 'import numpy as np, sys
a = np.load(sys.argv[1]); e = np.load(".export/all.npy")
ids = open(".export/ids").read().split("\n")[:-1]
key = [int("".join(c for c in i if c.isdigit())) for i in ids]
sys.exit(not (a.shape == e.shape and np.array_equal(a[key], e)))' "$S/a.npy"
}

collection npy
ok "cp of npy" cp "$S/a.npy" .import/npy
is "$(cat .stats/count)" 500 "all rows are in"
is "$(ls | sort -n | head -n 3 | xargs)" "0 1 2" "named by their number"
same "with the same vectors"
like "$(cat .import/status)" '500' "status tells how many"
is "$(cat .import/errors)" "" "there are no errors"
is "$(cat .config/dim)" 24 "the dimension is known"
like "$(cat .config/dim_source)" 'npy' "and from what"

collection npy8
ok "cat of float64 npy" sh -c 'cat "$1" >.import/npy' - "$S/a8.npy"
same "is converted"

collection prefix
ok "npy with a prefix" cp "$S/a.npy" .import/npy@row_
is "$(cat .export/ids | sort -V | sed -n '1p;$p' | xargs)" "row_0 row_499" \
	"names the rows with it"
same "with the same vectors"
ok "a second one beside it" cp "$S/a.npy" .import/npy@two_
is "$(cat .stats/count)" 1000 "adds rows"
ok "the first again" cp "$S/a.npy" .import/npy@row_
is "$(cat .stats/count)" 1000 "replaces rows"

collection fvecs
ok "fvecs in odd pieces" dd if="$S/a.fvecs" of=.import/fvecs bs=777 \
	status=none
same "are the same vectors"
ok "fvecs through a pipe" sh -c \
	'perl -e "\$/ = \\1000; while (<>) { syswrite STDOUT, \$_ }" "$1" \
		>.import/fvecs' - "$S/a.fvecs"
is "$(cat .stats/count)" 500 "the same rows again"

collection ndjson
ok "ndjson" sh -c 'cat "$1" >.import/ndjson' - "$S/a.ndjson"
same "has the same vectors"
is "$(cat '.meta/doc%2F77')" '{"n":77}' "and metadata"
is "$(ls | grep -c '^doc%2F')" 500 "and its own ids"
printf '%s\n' '{"id":"doc/1","metadata":{"n":null,"k":1}}' \
	'{"id":"doc/2","metadata":{"m":2}}' >.import/ndjson
is "$(cat '.meta/doc%2F1' '.meta/doc%2F2' | xargs -0)" '{"k":1}
{"n":2,"m":2}' "a row without a vector changes metadata only" ||
	diag "$(cat .import/errors)"
printf '%s' '{"id":"last","vector":['"$(seq -s, 24)"']}' >.import/ndjson
is "$(numbers last)" "$(seq -s' ' 24)" "the last line needs no newline"
printf '{"vector":[%s]}\n' "$(seq -s, 24)" >.import/ndjson
is "$(numbers 0)" "$(seq -s' ' 24)" "a row without id has its number"
rm last 0

for f in all.npy all.fvecs all.ndjson ids; do
	is "$(stat -c %s .export/$f)" "$(cat .export/$f | wc -c)" \
		"the size of $f is exact"
done
is "$(wc -l <.export/ids)" 500 "ids has a line for each"
is "$(cat .export/ids)" "$(seq -f doc/%.0f 0 499)" "as they came in"
for f in npy fvecs ndjson; do
	collection again-$f
	ok "all.$f goes in again" cp ../ndjson/.export/all.$f .import/$f
	ok "and comes out the same" cmp ../ndjson/.export/all.$f \
		.export/all.$f || diag "$(cat .import/status)"
done
is "$(stat -c %s ../ndjson/.export/all.fvecs)" 50000 "fvecs have 100 bytes each"
cd "$S" || exit 99
finish
