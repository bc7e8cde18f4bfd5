#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# budget.sh: the sizes that keep the code readable, counted.
#
# Product: src, index, fs. Benches are held to all but the totals; main() and
# tests are exempt from what is said of functions.
set -u
build=$(cd "${VG_BUILD:-.}" && pwd)
cd "${VG_SRC:-$(dirname "$0")/..}" || exit 99
n=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# ok STATUS SENTENCE: one result; what stands in $out says who offends.
ok() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$out"
	fi
	: >"$out"
}

# none SENTENCE: holds if $out is empty.
none() {
	if [ -s "$out" ]; then ok 1 "$1"; else ok 0 "$1"; fi
}

files() {
	# shellcheck disable=SC2086  # $1 is a list of folders
	find $1 -name "*.$2" -type f ! -name '.*' 2>/dev/null | LC_ALL=C sort
}

echo 1..13
product_c=$(files 'src index fs' c)
product_h=$(files 'src index fs' h)
all=$(files 'src index fs tests contrib' '[ch]')

# Lines of files.
# shellcheck disable=SC2086  # no file of ours has a space in its name
awk 'FNR == 1 && !/^\/\* SPDX-License-Identifier: Apache-2.0 \*\/$/ {
	print FILENAME }' $all >"$out"
none "each file begins with its SPDX line"

# shellcheck disable=SC2086
awk 'FNR == 2 && $0 == "/*" { next }
(FNR == 2 || FNR == 3 && last == "/*") &&
	!/^(\/| )\* [a-z0-9_]+(\.[ch])?: / { print FILENAME ": " $0 }
{ last = $0 }' $all >"$out"
none "each file's first comment says what it is"

# Columns: a tab goes to the next multiple of 8.
# shellcheck disable=SC2086
awk '{
	line = $0
	while ((at = index(line, "\t")) > 0)
		line = substr(line, 1, at - 1) \
			substr("        ", 1, 8 - (at - 1) % 8) \
			substr(line, at + 1)
	total++
	over80 += length(line) > 80
	if (length(line) > 100)
		print FILENAME ":" FNR ": " length(line) " columns"
}
END { if (over80 * 100 > total)
	print over80 " of " total " lines are over 80 columns" }' $all >"$out"
none "no line is over 100 columns and at most 1 in 100 over 80"

# shellcheck disable=SC2086
wc -l $product_c | awk '$2 != "total" && $1 > 900' >"$out"
none "no .c file is over 900 lines"

# shellcheck disable=SC2086
wc -l $product_c | awk '$2 != "total" { print $1 }' | sort -n |
	awk '{ l[NR] = $1 } END { m = l[int((NR + 1) / 2)]
		if (m > 300) print "median " m }' >"$out"
none "half of the .c files have at most 300 lines"

# Functions, as ctags sees them: file, first and last line, name, signature.
if ctags --version 2>/dev/null | grep -q 'Universal Ctags'; then
	functions=$(mktemp)
	trap 'rm -f "$out" "$functions"' EXIT
	# shellcheck disable=SC2046
	ctags -x --kinds-C=f --language-force=C --fields=+neS \
		--_xformat='%{input}	%{line}	%{end}	%{name}	%{signature}' \
		$(files 'src index fs contrib' '[ch]') |
		awk -F '\t' '$4 != "main"' >"$functions"

	awk -F '\t' '$3 - $2 + 1 > 90 {
		print $1 ":" $2 ": " $4 " has " $3 - $2 + 1 " lines" }' \
		"$functions" >"$out"
	none "no function is over 90 lines"

	awk -F '\t' '$1 !~ /^contrib/ { print $3 - $2 + 1 }' "$functions" |
		sort -n | awk '{ l[NR] = $1 } END {
			half = l[int((NR + 1) / 2)]
			nine = l[int((NR * 9 + 9) / 10)]
			if (half > 18) print "the median is " half " lines"
			if (nine > 50) print "nine in ten reach " nine
		}' >"$out"
	none "half of the functions have at most 18 lines, nine in ten 50"

	# Commas inside a parameter's own parentheses separate nothing of ours.
	awk -F '\t' '{
		s = substr($5, 2, length($5) - 2)
		while (gsub(/\([^()]*\)/, "", s))
			;
		if (split(s, part, ",") > 6)
			print $1 ":" $2 ": " $4 " takes " split(s, part, ",")
	}' "$functions" >"$out"
	none "no function takes more than 6 parameters"
else
	for what in "90 lines" "18 and 50 lines" "6 parameters"; do
		n=$((n + 1))
		echo "ok $n # SKIP $what: universal-ctags is not installed"
	done
fi

# A line counts as prose when any of it is comment.
# shellcheck disable=SC2086
awk 'FNR == 1 { if (file) each(); file = FILENAME; lines = prose = in_c = 0 }
function each() {
	all_lines += lines; all_prose += prose
	if (prose * 5 < lines)
		thin = thin file ": " int(prose * 100 / lines) " % prose\n"
}
{
	lines++
	prose += in_c || /\/\*/
	rest = $0
	gsub(/\/\*([^*]|\*[^\/])*\*\//, "", rest)
	if (rest ~ /\/\*/) in_c = 1
	else if (rest ~ /\*\//) in_c = 0
}
END {
	each()
	if (all_prose * 100 < all_lines * 40) {
		print int(all_prose * 100 / all_lines) " % of all headers"
		printf "%s", thin
	}
}' $product_h >"$out"
none "40 % of the headers' lines are prose"

for layer in src index; do
	# shellcheck disable=SC2046
	awk '/(^|[^a-z_])(static_)?assert\(/ { asserts++ }
	FNR == 1 { if (file) each(); file = FILENAME; here = asserts_here = 0 }
	{ here++; asserts_here += /(^|[^a-z_])(static_)?assert\(/ }
	function each() { if (asserts_here * 50 < here)
		thin = thin file ": " asserts_here " in " here "\n" }
	END { each()
	if (asserts * 1000 < NR * 20) {
		print asserts + 0 " assertions in " NR " lines; below it:"
		printf "%s", thin } }' $(files $layer c) >"$out"
	none "$layer/ asserts at least 20 times in 1,000 lines"
done

# shellcheck disable=SC2086,SC2046
{
	tests=$(cat $(files tests '[ch]') $(files tests sh) $(files tests py) |
		wc -l)
	product=$(cat $product_c $product_h | wc -l)
	[ "$tests" -ge "$product" ] ||
		echo "$tests lines of test, $product of product" >"$out"
}
none "there are as many lines of test as of product"

cflags=$(pkg-config --cflags fuse3 liburing libxxhash 2>/dev/null)
for h in $product_h $(files tests h); do
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -fsyntax-only -Wall -Wextra \
		-include "$build/config.h" -I. $cflags -x c - <<-EOF 2>&1 |
		#include "$h"
	EOF
		sed -n "s|^|$h alone: |;1,3p" >>"$out"
done
none "each header compiles alone"
