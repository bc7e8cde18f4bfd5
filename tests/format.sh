#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# format.sh: a reader written from docs/format.md alone understands a log.
set -u
src=${VG_SRC:-$(dirname "$0")/..}
make_log=${VG_BUILD:-.}/tests/format_log
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
n=0

# ok STATUS SENTENCE
ok() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

# What a reader without numpy, xxhash or our code says of a data directory.
reader() {
	python3 -I -B "$src/tests/format_reader.py" "$1" 2>"$dir/errors"
}

# damage FILE OFFSET: a byte of it becomes another one.
damage() {
	printf '?' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

echo 1..14
"$make_log" "$dir/data" >"$dir/want" || exit 99
reader "$dir/data" >"$dir/got"
ok $? "the reader takes a data directory"
cmp -s "$dir/want" "$dir/got"
ok $? "and reads every op of it as it was written"
[ "$(wc -l <"$dir/want")" -eq 54 ] && [ -f "$dir/data/wal/0003.wal" ]
ok $? "54 ops in three segments and more, some of them together"

last=$(find "$dir/data/wal" -name '*.wal' | sort | tail -n 1)
cp -r "$dir/data" "$dir/torn"
size=$(wc -c <"$last")
damage "$dir/torn/wal/${last##*/}" $((size - 9))
reader "$dir/torn" >"$dir/got"
ok $? "a torn tail is no error"
head -n 53 "$dir/want" | cmp -s - "$dir/got"
ok $? "the ops before it are read"
grep -q 'torn tail' "$dir/errors"
ok $? "and it is told"

cp -r "$dir/data" "$dir/middle"
damage "$dir/middle/wal/0001.wal" 300
reader "$dir/middle" >"$dir/got"
[ $? -eq 1 ] && grep -q 'segment 1 is damaged at' "$dir/errors"
ok $? "a torn middle is refused with its place"
cp -r "$dir/data" "$dir/header"
damage "$dir/header/wal/0002.wal" 20
reader "$dir/header" >"$dir/got"
[ $? -eq 1 ] && grep -q 'segment 2 has a damaged header' "$dir/errors"
ok $? "so is a damaged header"

make_store=${VG_BUILD:-.}/tests/format_store
"$make_store" "$dir/store" >"$dir/want" 2>/dev/null || exit 99
python3 -I -B "$src/tests/manifest_reader.py" "$dir/store" >"$dir/got"
ok $? "the reader of manifests takes a data directory"
cmp -s "$dir/want" "$dir/got" && [ "$(grep -c '"docs"' "$dir/want")" -gt 600 ]
ok $? "and reads every record of it as it was written"
[ "$(grep -c 'snap/half' "$dir/want")" -gt 300 ] &&
	[ "$(grep -c 'snap/a third' "$dir/want")" -gt 600 ] &&
	[ "$(grep -c 'snap/present' "$dir/want")" -gt 600 ] &&
	! grep -q 'snap/empty' "$dir/want"
ok $? "those of snapshots, of the present and of the past, as they were then"
[ "$(grep -c '"field"' "$dir/want")" -eq 16 ] &&
	[ "$(find "$dir/store/c" -name 'fields.*' | wc -l)" -eq 2 ]
ok $? "and indexes of fields, which say what metadata does"
cp -r "$dir/store" "$dir/fields"
part=$(find "$dir/fields/c" -name 'fields.*' | sort | head -n 1)
damage "$part" 700
python3 -I -B "$src/tests/manifest_reader.py" "$dir/fields" >"$dir/got" 2>"$dir/errors"
[ $? -eq 1 ] && grep -q "${part##*/} is damaged" "$dir/errors"
ok $? "a damaged file of them is refused"
part=$(find "$dir/store/c" -name 'vec.*[0-9]' | sort | head -n 1)
damage "$part" 5000
python3 -I -B "$src/tests/manifest_reader.py" "$dir/store" >"$dir/got" 2>"$dir/errors"
[ $? -eq 1 ] && grep -q "${part##*/} is damaged" "$dir/errors"
ok $? "a damaged block is refused"
