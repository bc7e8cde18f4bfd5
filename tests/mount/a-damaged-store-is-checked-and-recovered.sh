#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --check says what is damaged, what is lost with it and what is rebuilt, and
# changes nothing; -o recovery mounts the rest, and changes nothing either.
. "$(dirname "$0")/lib.sh"
plan 40

# rows N TAG: N lines of ndjson.
rows() {
	local i
	for ((i = 1; i <= $1; i++)); do
		echo "{\"id\":\"$2$i\",\"vector\":[$i,0.5,-$i],\"metadata\":{\"n\":$i}}"
	done
}

# check DIR: its lines, then "exit N".
check() {
	"$VECGRIDFS" --check "$@" 2>&1
	echo "exit $?"
}

# tree DIR: every name, time, length and byte.
tree() {
	(cd "$1" && find . -printf '%p %y %s %T@ %C@ %n %i\n' | sort &&
		find . -type f -print0 | sort -z | xargs -0 cat | md5sum)
}

# flip FILE BYTE: one bit of it.
flip() {
	"$PYTHON3" - "$1" "$2" <<-'EOF'
		import sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(int(sys.argv[2]))
		    byte = f.read(1)[0] ^ 8
		    f.seek(int(sys.argv[2]))
		    f.write(bytes([byte]))
	EOF
}

like "$(check "$S/none")" "cannot be reached.*exit 2" \
	"a directory that is missing cannot be checked"
mkdir "$S/other"
like "$(check "$S/other")" "no data directory.*exit 2" "nor another one"
like "$(check)" "vecgridfs --check DATADIR.*exit 2" "nor none"

vgmount checkpoint=64K,backup_grace=0
mkdir "$M/a" "$M/b"
rows 1500 a >"$M/a/.import/ndjson"
rows 200 b >"$M/b/.import/ndjson"
linked "$M/a"
linked "$M/b"
like "$(check "$D")" "in use by process [0-9]+: unmount it there first.exit 2" \
	"a mounted one is not checked"
vgumount
is $? 0 "it is unmounted"
tree "$D" >"$S/before"
out=$(check "$D")
like "$out" "2 collections, 1700 records: nothing is wrong.exit 0" \
	"after umount nothing is wrong"
tree "$D" >"$S/after"
is "$(diff "$S/before" "$S/after")" "" "and --check changed nothing"
is "$(grep -c note <<<"$out")" 0 "nor has it anything to note" || diag "$out"

# The log's begin is gone only where it has several segments: so it is cut.
cp -a "$D" "$S/good"
for f in "$S"/good/c/*/vec.0001; do
	[ "$(stat -c %s "$f")" -gt 20000 ] && a=${f%/vec.0001}
done
a=${a##*/}
like "$a" '^[0-9a-f]{32}$' "there is a directory of the larger collection"

# ---- a graph

rm -rf "$D" && cp -a "$S/good" "$D"
flip "$D/c/$a/graph.0001" 5000
out=$(check "$D")
like "$out" "c/$a/graph.0001 is damaged; derived: it is rebuilt" \
	"a damaged graph is derived"
like "$out" "exit 1" "and a finding"
vgmount backup_grace=0
linked "$M/a"
is "$(cat "$M/a/query/k=1/exact=1/5,0.5,-5.ids")" a5 "which is rebuilt"
vgumount
is $? 0 "without a word"
like "$(check "$D")" "nothing is wrong.exit 0" "and then nothing is wrong"

# ---- records, where the log does not have them any more

rm -rf "$D" && cp -a "$S/good" "$D"
flip "$D/c/$a/meta.0001" 9000
# As if the log had been cut: the place of the manifest is in a later segment.
"$PYTHON3" "$HERE/cut_log.py" "$D"
out=$(check "$D")
like "$out" "a: c/$a/meta.*damaged.*this collection is lost" \
	"damaged metadata is a collection lost"
like "$out" "c/$a/meta.0001: [0-9]+ rows are damaged, from" "with its rows"
like "$out" "1 collections, 200 records: [0-9]+ findings.exit 1" \
	"the other one is there"
if said=$(timeout 60 "$VECGRIDFS" "$D" "$M" -f 2>&1 </dev/null); then
	missed "it is not mounted"
else
	passed "it is not mounted"
fi
like "$said" "MANIFEST.[0-9]+ cannot be opened: c/$a/meta" "but told"
tree "$D" >"$S/before"
vgmount recovery
is "$(ls "$M")" b "a recovery has what is intact"
is "$(cat "$M/b/query/k=1/5,0.5,-5.ids")" b5 "which answers"
is "$(cat "$M/b/.stats/count")" 200 "in full"
like "$(cat "$M/.vecgridfs/health")" "^read-only: mounted with -o recovery" \
	"health says what it is"
like "$(cat "$M/.vecgridfs/errors.ndjson")" \
	'"path":"a","errno":"EIO","error":"c/[0-9a-f]+/meta' \
	"errors.ndjson says what it has not"
echo 1,2,3 >"$S/vector"
fails EROFS "nothing can be written" cp "$S/vector" "$M/b/new"
fails EROFS "nor deleted" rm "$M/b/b7"
fails EROFS "nor made" mkdir "$M/c"
like "$(tail -n 1 "$M/.vecgridfs/errors.ndjson")" \
	'with -o recovery: nothing can be changed' "with a sentence"
is "$(cp "$M/b/b9" "$S/b9" && stat -c %s "$S/b9")" 12 "records can be copied"
vgumount
is $? 0 "it is unmounted"
tree "$D" >"$S/after"
is "$(diff "$S/before" "$S/after")" "" "and nothing on the disk has changed"

# ---- vectors, where the log does not have them any more

rm -rf "$D" && cp -a "$S/good" "$D"
flip "$D/c/$a/vec.0001" 9000
"$PYTHON3" "$HERE/cut_log.py" "$D"
out=$(check "$D")
like "$out" "c/$a/vec.0001: [0-9]+ rows are damaged, .*collection 'a' loses the \
vectors of ([0-9]+) records: (\"a[0-9]+\", ){19}\"a[0-9]+\", and more" \
	"damaged vectors are told by id"
lost=$(grep -o '"a[0-9]*"' <<<"$out" | head -n 1 | tr -d '"')
vgmount
linked "$M/a"
fails EIO "one of them cannot be read" cat "$M/a/$lost"
is "$(cat "$M/a/.meta/$lost")" "{\"n\":${lost#a}}" "its metadata can"
i=1
until cat "$M/a/a$i" >/dev/null 2>&1 || [ $((i += 1)) = 1500 ]; do :; done
is "$(cat "$M/a/query/k=1/exact=1/$i,0.5,-$i.ids")" a$i "others are found"
is "$(cat "$M/a/.stats/count") $(cat "$M/b/.stats/count")" "1500 200" \
	"all of them are there"
vgumount
is $? 0 "it is unmounted"

# ---- as it was

rm -rf "$D" && cp -a "$S/good" "$D"
like "$(check "$D")" "note: IDENTITY: this is a copy" "a copy is known as one"
vgmount
is "$(cat "$M/a/.stats/count")" 1500 "a copy is restored by mounting it"
finish
