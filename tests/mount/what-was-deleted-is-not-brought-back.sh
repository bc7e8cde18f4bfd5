#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who has a file open for writing follows its name, and does not bring it back.
. "$(dirname "$0")/lib.sh"
plan 15
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put seed 1,2,3,4

exec 3>a
printf '1,2,3,4' >&3
ok "a new file can be removed while it is written" rm a
exec 3>&-
fails ENOENT "and its close makes no record" cat a
is "$(ls)" seed "nothing is listed"

put a 1,2,3,4
exec 3>a
printf '4,3,2,1' >&3
ok "a record can be removed while it is overwritten" rm a
exec 3>&-
is "$(ls)" seed "and the close does not bring it back"
is "$(cat query/all.ids)" seed "nor into an answer"

put a 1,2,3,4
exec 3>a
printf '4,3,2,1' >&3
printf all >.delete-where
exec 3>&-
is "$(ls)" "" "neither after all were deleted"

put a 1,2,3,4
exec 3>a
printf '4,3,2,1' >&3
ok "a record can be renamed while it is overwritten" mv a b
exec 3>&-
is "$(ls)" b "its writer goes on under the new name"
is "$(cat .as/json/b | tr -d ' \n')" '{"vector":[4,3,2,1]}' \
	"with what he wrote"

exec 3>b
printf '5,5,5,5' >&3
rm b
put b 6,6,6,6
exec 3>&-
is "$(ls)" b "one that was made anew meanwhile is one"
put b 7,7,7,7
is "$(cat .as/json/b | tr -d ' \n')" '{"vector":[7,7,7,7]}' \
	"and is written as ever"
cd / || exit 99
vgumount
vgmount
cd "$M/c" || exit 99
is "$(ls)" b "a remount finds the same"
is "$(cat .as/json/b | tr -d ' \n')" '{"vector":[7,7,7,7]}' "byte for byte"
finish
