#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# README.md's first screen and first ten minutes, as they stand there: each
# block of shell or Python is run, and the answer it shows is the answer.
. "${0%/*}/lib.sh"

# blocks KIND: the fenced blocks of KIND up to "## Install", each to a file.
blocks() {
	awk -v kind="$1" -v dir="$S" '
	/^## Install/ { exit }
	/^```/ { out = "" }
	out { print > out }
	$0 == "```" kind { out = dir "/" kind "." ++n }' "$VG_SRC/README.md"
	sed -i "s|/mnt/vg|$M|g" "$S/$1".[0-9]*
}

plan 13
vgmount
blocks console
blocks sh
blocks python

# A transcript: what stands behind "$ " is typed, the rest is the answer.
cd "$M" || exit 99
typed=$(sed -n 's/^\$ //p' "$S/console.1")
shown=$(grep -v '^\$ ' "$S/console.1")
is "$(bash -ec "$typed" 2>&1)" "$shown" "the first screen answers as shown"
cd "$S" || exit 99

if need_numpy 11; then
	is "$(echo sh.* python.*)" "sh.1 sh.2 sh.3 sh.4 sh.5 python.1 python.2" \
		"there is as much to run as is known below"
	# The tree is mounted already.
	sed -i '/^vecgridfs /d' sh.1
	ok "a collection is made and configured" bash -ec "$(cat sh.1)"

	"$PYTHON3" - <<-'EOF'
		import json, numpy as np
		r = np.random.default_rng(1).normal(size=(100, 384))
		np.save("all.npy", r.astype("<f4"))
		r[7].astype("<f4").tofile("question.f32")
		with open("rows.ndjson", "w") as f:
		    for i in range(50):
		        row = {"id": f"n{i}", "vector": r[i].tolist(),
		               "metadata": {"i": i}}
		        f.write(json.dumps(row) + "\n")
		with open("rows.csv", "w") as f:
		    f.write("id,vector,year\n")
		    for i in range(10):
		        f.write(f'c{i},"{r[50 + i].tolist()}",{2000 + i}\n')
	EOF
	cat >before.py <<-'EOF'
		import numpy as np
		embeddings = [(f"doc{i}", v) for i, v in
		    enumerate(np.random.default_rng(2).normal(size=(50, 384)))]
	EOF
	ok "Python writes its embeddings" \
		"$PYTHON3" -c "$(cat before.py python.1)"
	is "$(cat "$M/docs/.stats/count")" 50 "each is a vector"
	"$PYTHON3" -c 'import numpy as np; np.zeros(384).tofile("f64")'
	fails EINVAL "float64 is refused where dim is known" cp f64 "$M/docs/f64"
	ok "streams are loaded" bash -ec "$(cat sh.2)"
	is "$(cat "$M/docs/.stats/count")" 260 \
		"under their numbers, a prefix and the ids of their rows"
	is "$(bash -ec "$(cat sh.3)" | wc -l)" 5 "id= finds five like it"
	like "$(bash -ec "$(cat sh.4)" | tail -n 20 | head -n 1)" '^7|^doc7|^n7' \
		"a named query finds what is nearest"
	cat >after.py <<-'EOF'
		v = np.fromfile("question.f32", "<f4")
		rows = ask(v, 3)
		again = ask(v, 4)
		assert [r["id"] for r in rows] == ["7", "doc7", "n7"], rows
		assert len(again) == 4 and again[:3] == rows, again
	EOF
	ok ".run answers as often as it is asked" \
		"$PYTHON3" -c "$(cat python.2 after.py)"
	is "$(bash -ec "$(cat sh.5)")" '{"year":2020}' "an attribute is metadata"
fi
finish
