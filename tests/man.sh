#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# man.sh: the manual page is well-formed and says what the program is.
set -u
page=${VG_SRC:-$(dirname "$0")/..}/contrib/vecgridfs.8
command -v groff >/dev/null || {
	echo "1..0 # SKIP groff is not installed"
	exit 0
}
out=$(mktemp)
trap 'rm -f "$out"' EXIT

echo 1..3
if groff -t -man -ww -Tutf8 "$page" 2>&1 >/dev/null | sed 's/^/# /' >"$out" &&
	[ ! -s "$out" ]; then
	echo "ok 1 - groff sets it without a warning"
else
	echo "not ok 1 - groff sets it without a warning"
	cat "$out"
fi

# Every line of the page fits 80 columns, in the plainest terminal.
if groff -t -man -Tascii -P-c -P-b -P-u -P-o "$page" 2>/dev/null |
	awk 'length($0) > 80 { bad = 1 } END { exit bad || NR < 100 }'; then
	echo "ok 2 - it fits a terminal of 80 columns"
else
	echo "not ok 2 - it fits a terminal of 80 columns"
fi

missing=
for s in NAME SYNOPSIS DESCRIPTION OPTIONS QUERIES FILES 'EXIT STATUS' \
	ERRORS EXAMPLES; do
	grep -q "^\\.SH $s\$" "$page" || missing="$missing $s"
done
[ -z "$missing" ] && echo "ok 3 - no section is missing" ||
	echo "not ok 3 - no section is missing:$missing"
