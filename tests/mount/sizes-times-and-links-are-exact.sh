#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What stat tells can be relied on: size, mtime, inode number, links, space.
. "$(dirname "$0")/lib.sh"
plan 27
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99

raw a 1 2 3
is "$(stat -c %s a)" 12 "the size is the vector's bytes"
put b '  4.0 , 5.00,   6.000 '
is "$(stat -c %s b)" 12 "whatever was written"
is "$(stat -c %h a)" 1 "a vector has one link"
is "$(stat -c %F a)" "regular file" "and is a regular file"
is "$(stat -c %o a)" 4096 "its block size suits stdio"
like "$(stat -c %b a)" '^[1-9]' "it takes blocks"

now=$(date +%s)
age=$((now - $(stat -c %Y a)))
ok "mtime is when it was written" test "$age" -ge 0 -a "$age" -le 60
touch -d '2001-02-03 04:05:06.123456789 UTC' a
is "$(date -u -r a +%F.%T.%N)" 2001-02-03.04:05:06.123456789 \
	"mtime is kept to the nanosecond"
setfattr -n user.k -v v a
is "$(stat -c %Y a)" "$(date -u -d '2001-02-03 04:05:06' +%s)" \
	"metadata does not move it"
mv a moved
is "$(stat -c %Y moved)" "$(date -u -d '2001-02-03 04:05:06' +%s)" \
	"nor does rename"
before=$(stat -c %y moved)
raw moved 1 2 3
nok "writing does" test "$(stat -c %y moved)" = "$before"
is "$(stat -c %s moved)" 12 "and keeps the size"
touch -r b moved
is "$(stat -c %y moved)" "$(stat -c %y b)" "touch -r copies a time"
touch -d '1960-01-01 UTC' moved
is "$(date -u -r moved +%F)" 1960-01-01 "a time before 1970 is kept"

inode=$(stat -c %i moved)
raw moved 3 2 1
is "$(stat -c %i moved)" "$inode" "the inode number goes with the id"
nok "two ids have two" test "$inode" = "$(stat -c %i b)"
touch -d '2002-02-02 UTC' "$M/c"
is "$(date -u -r "$M/c" +%F)" 2002-02-02 "a collection's time can be set"
raw c 1 1 1
nok "and moves with its vectors" \
	test "$(date -u -r "$M/c" +%F)" = 2002-02-02
is "$(stat -f -c %l "$M")" 255 "names have up to 255 bytes"
is "$(stat -f -c %b%S "$M")" "$(stat -f -c %b%S "$S")" \
	"the space is that of the data directory"
ok "df shows it" df "$M"
ok "sync -f works" sync -f b
ok "so does sync of a directory" sync "$M/c"
ok "and of a file's data" sync -d b
is "$(find . -size 12c | wc -l)" 3 "find by size finds them"
is "$(find . -newermt '1 hour ago' -type f | wc -l)" 3 "and by time"
cd "$S" || exit 99
finish
