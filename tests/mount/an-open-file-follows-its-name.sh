#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files that are renamed, removed or refused while they are open, and other
# corners that random calls have found: each once.
. "$(dirname "$0")/lib.sh"
plan 20
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put a 1,2,3

open_and() { # PYTHON: with os and f, a new file x that is open and written
	"$PYTHON3" -c "import os, sys
f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(f, b'1,2,3\n')
$2" "$1"
}
again='os.lseek(f, 0, 0); os.write(f, b"4,5,6\n"); os.close(f)'
ok "a new file is removed while it is open" \
	open_and x 'os.unlink("x"); os.close(f)'
fails ENOENT "its close makes no record of it" stat x
ok "nor does what is written behind" open_and x "os.unlink('x'); $again"
fails ENOENT "nothing is there" stat x
ok "a new file is renamed while it is open" \
	open_and x "os.rename('x', 'y'); $again"
is "$(numbers y)" "4 5 6" "what is written behind goes to the new name"
fails ENOENT "and nothing to the old one" stat x
ok "a staging file is renamed while it is open" \
	open_and .x "os.rename('.x', '50%252F'); $again"
is "$(numbers '50%252F')" "4 5 6" "and is not forgotten"

: >empty
fails EINVAL "an empty file cannot replace a record" "$PYTHON3" -c \
	'import os; os.rename("empty", "y")'
like "$(cat .stats/last_error)" 'empty file cannot replace' "and says so"
is "$(numbers y)" "4 5 6" "which stays"
rm empty y
fails ENOENT "and goes when it is removed" stat y

errors() {
	grep -c "$1" "$M/.vecgridfs/errors.ndjson"
}
put "$S/meta" '{"metadata":{"k":1}}'
fails ENOENT "metadata of nobody is refused" cp "$S/meta" nobody
until ! [ -e nobody ]; do
	pause 0.01
done
passed "its name is gone with the last who had it open"
is "$(errors c/nobody)" 1 "and it is told once"

setfattr -n user.k -v 1 a
ok "an empty object takes the metadata" put .meta/a '{}'
is "$(cat .meta/a)" '{}' "all of it"

mkdir "$M/d"
put "$M/d/a" 1,2,3
rm "$M/d/a"
put "$M/d/.config/dim" 3
put "$S/two" 1,2
fails EINVAL "a dimension that is written to an empty collection holds" \
	cp "$S/two" "$M/d/b"
cd "$S" || exit 99
finish
