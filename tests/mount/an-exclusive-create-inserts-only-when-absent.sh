#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# O_EXCL and RENAME_NOREPLACE are insert-if-absent.
. "$(dirname "$0")/lib.sh"
plan 15
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put a 1,2

excl() {
	bash -c 'set -C; echo 3,4 >"$1"' - "$1"
}
noreplace() {
	"$PYTHON3" "$HERE/rename.py" noreplace "$1" "$2"
}
ok "O_EXCL makes what is not there" excl b
is "$(numbers b)" "3 4" "whole"
nok "and refuses what is" excl a
is "$(numbers a)" "1 2" "which stays"

put .new 5,6
ok "RENAME_NOREPLACE makes what is not there" noreplace .new c
is "$(numbers c)" "5 6" "whole"
put .new 7,8
fails EEXIST "and refuses what is" noreplace .new a
is "$(numbers a)" "1 2" "which stays"
mv -n .new a 2>/dev/null
is "$(numbers a)" "1 2" "mv -n keeps it too"
fails EEXIST "between records as well" noreplace b c
fails EINVAL "an exchange is refused" \
	"$PYTHON3" "$HERE/rename.py" exchange b c

out=$("$PYTHON3" - <<'PY'
import errno, os
f = os.open("late", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
os.write(f, b"1,1\n")
with open(".other", "w") as g:
    g.write("2,2\n")
os.rename(".other", "late")
try:
    os.close(f)
    print("closed")
except OSError as e:
    print(errno.errorcode[e.errno])
PY
)
is "$out" EEXIST "an exclusive creation is checked again when it commits"
is "$(numbers late)" "2 2" "and the first to commit stays"

for i in 1 2 3 4 5 6 7 8; do
	pids=
	for w in 1 2 3 4; do
		( excl "race$i" 2>/dev/null && echo "$i" >>"$S/won" ) &
		pids="$pids $!"
	done
	wait $pids
done
is "$(xargs <"$S/won")" "1 2 3 4 5 6 7 8" "each of eight races has one winner"
cd "$S" || exit 99
finish
