#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# user.* attributes and .meta/<id> are the same object; setting and getting
# are inverse, and none of it touches the vector.
. "$(dirname "$0")/lib.sh"
plan 47
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
raw a 1 2 3
raw b 3 2 1
touch -d '2001-02-03 04:05:06 UTC' a
inode=$(stat -c %i a)
count=$(cat .stats/count)

get() {
	getfattr --absolute-names --only-values -n "user.$1" a 2>&1
}
json() { # VALUE: as .meta has it
	perl -0777 -ne 'print $1 if /"k":(.*)\}\s*$/s' .meta/a
}
# The bytes as they are: setfattr reads quotes, 0x and 0s in its own way.
inverse() { # TEXT JSON
	"$PYTHON3" -c 'import os, sys
os.setxattr("a", "user.k", os.fsencode(sys.argv[1]))' "$1"
	is "$(json)" "$2" "$1 is stored as $2"
	is "$(get k)" "$1" "and read back as it was set"
}
inverse 2020 2020
inverse -1.5e3 -1.5e3
inverse true true
inverse null null
inverse 'a word' '"a word"'
inverse '"2020"' '"2020"'
inverse '[1,"x"]' '[1,"x"]'
inverse '{"deep":{"er":[]}}' '{"deep":{"er":[]}}'
inverse "it's 50% «ü»" "\"it's 50% «ü»\""
inverse 2020x '"2020x"'
setfattr -n user.k -v '"\"bare\""' a
is "$(json):$(get k)" '"bare":bare' \
	"a string that needs no quotes is printed bare"
setfattr -n user.k -v '"\"2020\""' a
is "$(json):$(getfattr --absolute-names -n user.k a | sed -n 2p)" \
	'"2020":user.k="\"2020\""' "setfattr and getfattr are inverse as well"
setfattr -n user.k -v '' a
is "$(json)" '""' "nothing is the empty string"

setfattr -n user.lang -v en a
is "$(getfattr --absolute-names -d a | grep -c '^user\.')" 2 \
	"both attributes are listed"
setfattr -x user.k a
is "$(cat .meta/a)" '{"lang":"en"}' "one is removed"
fails ENODATA "removing what is not there" setfattr -x user.k a
fails ENODATA "getting what is not there" getfattr -n user.k a

ok ".meta is written" put .meta/a '{"year": 2020, "tags": ["x", "y"]}'
is "$(cat .meta/a)" '{"year":2020,"tags":["x","y"]}' "it reads back compact"
is "$(get tags)" '["x","y"]' "and the attributes follow"
fails ENODATA "the whole object was replaced" getfattr -n user.lang a
is "$(stat -c %s .meta/a)" "$(cat .meta/a | wc -c)" "its size is exact"
is "$(ls .meta | xargs)" "a b" ".meta lists each record"
is "$(cat .meta/b)" '{}' "a record without metadata has an empty object"
put "$S/array" '[1]'
fails EINVAL ".meta takes objects only" cp "$S/array" .meta/a
put "$S/object" '{}'
fails ENOENT "and of records that exist" cp "$S/object" .meta/nobody
fails EPERM "a name of ours is not settable" \
	setfattr -n user.vecgridfs.state -v x a

ok "the vector was never touched" sh -c 'perl -e "print pack(q(f<*),1,2,3)" |
	cmp - a'
is "$(stat -c %i a)" "$inode" "nor its inode number"
is "$(cat .stats/count)" "$count" "nor the count"
is "$(cat .stats/indexing)" 0 "and nothing was linked anew"
ok "writing in place keeps metadata" raw a 7 8 9
is "$(get year)" 2020 "as a file keeps its attributes"
raw .new 4 5 6
mv .new a
fails ENODATA "a replacement by rename brings its own" getfattr -n user.year a
setfattr -n user.k -v v a
rm a
raw a 1 2 3
is "$(cat .meta/a)" '{}' "and so does a new file of the same name"

setfattr -n user.n -v 1 a
mv a moved
is "$(cat .meta/moved)" '{"n":1}' "rename takes metadata along"
cd "$S" || exit 99
finish
