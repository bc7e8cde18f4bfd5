#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who has a vector open, or mapped, keeps what was opened; who opens the name
# again gets the new one; nobody ever reads a mixture.
. "$(dirname "$0")/lib.sh"
plan 19
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99

raw a 1 2 3
exec 3<a 4<a
raw a 4 5 6
is "$(numbers /dev/fd/3)" "1 2 3" "a handle outlives an overwrite"
is "$(numbers a)" "4 5 6" "a new open sees it"
exec 3<a
raw .new 7 8 9
mv .new a
is "$(numbers /dev/fd/3)" "4 5 6" "a handle outlives a rename over it"
exec 3<a
rm a
is "$(numbers /dev/fd/3)" "7 8 9" "a handle outlives its removal"
fails ENOENT "while the name is gone" cat a
raw a 1 1 1
is "$(numbers a)" "1 1 1" "and free again"
is "$(numbers /dev/fd/4)" "1 2 3" "the oldest handle is still the oldest"
exec 3<&- 4<&-

report 7 "$PYTHON3" "$HERE/versions.py"

raw a 0 0 1
exec 3>a
is "$(numbers a)" "0 0 1" "O_TRUNC shows the old vector"
vector 0 1 0 >&3
is "$(numbers a)" "0 0 1" "while the new one is being written"
exec 3>&-
is "$(numbers a)" "0 1 0" "until it is committed by close"
raw a 2 2 2
( : >a )
is "$(numbers a)" "2 2 2" "opening and closing alone changes nothing"
cd "$S" || exit 99
finish
