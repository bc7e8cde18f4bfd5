#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# echo and printf of bash and dash write vectors, and fail where one is
# refused: at write, for they do not look at what close says.
. "$(dirname "$0")/lib.sh"
plan 40
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put first 1,2,3

for sh in bash dash; do
	need $sh 19 || continue
	ok "$sh echo writes" $sh -c 'echo 1,2,3 >a'
	is "$(numbers a)" "1 2 3" "the vector"
	ok "$sh echo overwrites" $sh -c 'echo 4,5,6 >a'
	is "$(numbers a)" "4 5 6" "the vector"
	ok "$sh printf writes without a newline" $sh -c 'printf 7,8,9 >a'
	is "$(numbers a)" "7 8 9" "the vector"
	ok "$sh printf in a loop writes one number at a time" $sh -c \
		'for i in 1 2 3; do printf "%s " $i; done >a'
	is "$(numbers a)" "1 2 3" "the vector"
	ok "$sh keeps a handle open over several echos" $sh -c \
		'exec 3>b; echo 1 >&3; echo 2 >&3; echo 3 >&3; exec 3>&-'
	is "$(numbers b)" "1 2 3" "the vector"
	rm b
	for bad in 1,x,3 1,2,3,4 'some words' nan,1,2 '[1,2,"x"]' '{"vector":3}' \
		1e999,2,3; do
		nok "$sh reports '$bad'" $sh -c 'echo "$1" >a' - "$bad"
	done
	is "$($sh -c 'echo 1,x,3 >a' 2>&1 | grep -c .)" 1 "visibly"
	is "$(numbers a)" "1 2 3" "the old vector stays"
	rm a
done
is "$(ls | xargs)" first "no refused record is listed"
cd "$S" || exit 99
finish
