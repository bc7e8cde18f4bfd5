#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .delete-where takes a line, in however many writes it comes: what is cut off,
# too long or refused deletes nothing, nor does what is written behind it.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 28
vgmount
drive 15 "$PYTHON3" "$HERE/delete_pieces.py" "$M"

C=$M/shell
cd "$C" || exit 99
for sh in bash dash; do
	need $sh 2 || continue
	ok "$sh prints a filter in parts" $sh -c \
		'{ printf n.eq=1; printf " and s.eq=x\n"; } >"$1"' - .delete-where
	is "$(ls | xargs)" "a b c d" "and none that a part would mean goes"
done
nok "echo reports a line that is refused" $SHELL -c 'echo "n.eq" >.delete-where'
ok "cat writes a file" sh -c 'echo "n.eq=1 and s.eq=y" | cat >.delete-where'
is "$(ls | xargs)" "b c d" "and what it says goes"
echo n.eq=2 >>.delete-where
echo n.eq=3 >>.delete-where
is "$(ls | xargs)" d "appended to it is written to it"
fails EINVAL "cp reports a filter without a newline" eval \
	'printf n.gt=0 >"$S/open" && cp "$S/open" .delete-where'
is "$(ls | xargs)" d "and nothing goes"
printf all >.delete-where
is "$(ls | xargs)" "" "all needs none"
cd "$S" || exit 99
finish
