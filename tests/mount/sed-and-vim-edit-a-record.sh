#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sed -i, vim and ed-like editing of .as/txt/<id> and .meta/<id>.
. "$(dirname "$0")/lib.sh"
plan 16
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put a 1,2,3

ok "sed -i edits a number" sed -i s/2/5/ .as/txt/a
is "$(numbers a)" "1 5 3" "the vector follows"
is "$(ls -A | xargs)" a "no temporary file is left in the collection"
is "$(ls -A .as/txt | xargs)" a "nor in .as/txt"
ok "sed -i edits json" sed -i 's/}$/,"metadata":{"k":1}}/' .as/json/a
is "$(cat .meta/a)" '{"k":1}' "and its metadata"
is "$(numbers a)" "1 5 3" "with the same vector"
setfattr -n user.k -v '[1,2]' a
ok "sed -i keeps what it does not name" sed -i 's/"k":/"j":0,"k":/' .as/json/a
is "$(cat .meta/a)" '{"j":0,"k":[1,2]}' "of the new body"
nok "sed -i to nonsense fails" sed -i s/5/five/ .as/txt/a
is "$(numbers a)" "1 5 3" "and changes nothing"

if need vim 4; then
	edit() { # EX-COMMANDS FILE
		HOME=$S vim -u NONE -es -c "$1" -c wq "$2"
	}
	ok "vim writes a record" edit s/5/7/ .as/txt/a
	is "$(numbers a)" "1 7 3" "the vector follows"
	ok "vim writes with backup and swap files" edit \
		'set backup backupcopy=no swapfile | s/7/8/' .as/txt/a
	is "$(numbers a)" "1 8 3" "the vector follows"
fi
cd "$S" || exit 99
finish
