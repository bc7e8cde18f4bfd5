#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Dot names that are not ours are files of this mount until they are renamed.
. "$(dirname "$0")/lib.sh"
plan 25
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put a 9,9,9

ok "a staging file takes any bytes" sh -c 'echo hello world >.draft'
is "$(cat .draft)" "hello world" "and gives them back"
is "$(stat -c %s .draft)" 12 "with their size"
is "$(ls -A)" a "it is not listed"
is "$(cat .stats/count)" 1 "nor counted"
ok "it can be appended to" sh -c 'echo more >>.draft'
ok "and cut" truncate -s 5 .draft
is "$(cat .draft)" hello "like any file"
fails EINVAL "what is no vector does not become a record" "$PYTHON3" -c \
	'import os; os.rename(".draft", "b")'
ok "it is still there" test -s .draft
ok "rm removes it" rm .draft
fails ENOENT "for good" stat .draft

vector 1 2 3 >.tmp.XYZ
is "$(ids <query/k=9/1,2,3)" a "it is in no answer"
ok "renamed to an undotted name" mv .tmp.XYZ b
ok "it is a vector" sh -c 'perl -e "print pack(q(f<*),1,2,3)" | cmp - b'
is "$(ids <query/k=1/1,2,3)" b "and is found"
fails ENOENT "the staging name is gone" stat .tmp.XYZ
vector 4 5 6 >.tmp
ok "it replaces a record" mv .tmp b
is "$(numbers b)" "4 5 6" "in one step"
is "$(cat .stats/count)" 2 "and counts once"

echo 1,0,0 >.as/txt/.t
ok "staging in .as commits there" mv .as/txt/.t .as/txt/c
is "$(numbers c)" "1 0 0" "in that format"
echo '{"k":1}' >.meta/.m
ok "and in .meta" mv .meta/.m .meta/c
is "$(cat .meta/c)" '{"k":1}' "as metadata"
cd "$S" || exit 99
finish
