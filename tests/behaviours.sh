#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# behaviours.sh: each line of behaviours.tsv names a test that is run, and one
# assertion of it, in the words that it has there.
set -u
cd "${VG_SRC:-$(dirname "$0")/..}/tests" || exit 99
table=behaviours.tsv
tab=$(printf '\t')

# The names in TESTS: local.mk's assignments, with what they refer to.
registered() {
	sed -e ':a' -e '/\\$/{N;s/\\\n/ /;ba' -e '}' -e 's/%D%/tests/g' \
		local.mk | awk '
	$2 == "=" || $2 == "+=" {
		for (i = 3; i <= NF; i++)
			of[$1] = of[$1] " " $i
	}
	END {
		words = of["TESTS"]
		for (depth = 0; depth < 4; depth++) {
			n = split(words, word, " ")
			words = ""
			for (i = 1; i <= n; i++) {
				name = word[i]
				if (gsub(/^\$\(|\)$/, "", name))
					words = words " " of[name]
				else
					words = words " " name
			}
		}
		print words " "
	}'
}

# What a test says itself and has its helpers say: the files of it.
files_of() {
	case $1 in
	*.sh)	echo "$1"
		grep -oE '[a-z0-9_]+\.py' "$1" | sort -u | while read -r py; do
			[ -f "${1%/*}/$py" ] && echo "${1%/*}/$py"
		done ;;
	*)	echo "$1.c" ;;
	esac
}

# Whether the sentence stands in one line of the test, quoted; else says why.
is_asserted() { # TEST SENTENCE
	case $tests in
	*" tests/$1 "*) ;;
	*)	echo "$1 is no test of local.mk"
		return 1 ;;
	esac
	files=$(files_of "$1")
	lines=$(grep -hF -e "$2" $files)
	case $lines in
	"")	echo "it is not in $(echo $files)"
		return 1 ;;
	*"
"*)	echo "it is there more than once: take more of its words"
		return 1 ;;
	*[\"\']*"$2"*) ;;
	*)	echo "it is no string there"
		return 1 ;;
	esac
}

tests=$(registered)
rows=$(grep -vcE '^(#|$)' $table)
echo "1..$((rows + 1))"
n=0
while IFS=$tab read -r behaviour test sentence more; do
	case $behaviour in
	'#'*|'') continue ;;
	esac
	n=$((n + 1))
	if [ -z "${sentence:-}" ] || [ -n "${more:-}" ]; then
		echo "not ok $n - $behaviour"
		echo "# a line is a behaviour, a test and a sentence"
	elif why=$(is_asserted "$test" "$sentence"); then
		echo "ok $n - $behaviour"
	else
		echo "not ok $n - $behaviour"
		echo "# $test: '$sentence': $why"
	fi
done <$table
twice=$(grep -vE '^(#|$)' $table | cut -f1 | sort | uniq -d)
if [ -z "$twice" ]; then
	echo "ok $((n + 1)) - no behaviour is listed twice"
else
	echo "not ok $((n + 1)) - no behaviour is listed twice"
	echo "$twice" | sed 's/^/# /'
fi
