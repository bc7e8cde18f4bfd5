#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In a transaction, and on a condition, each body, each order of calls and each
# way in which a program replaces a file does what it does outside.
. "$(dirname "$0")/lib.sh"
plan 39
vgmount
mkdir "$M/c"
C=$M/c
T=$C/.tx
put "$C/.config/metric" l2
text() { cat "$C/.as/txt/$1" 2>&1 | xargs; }
version() { getfattr --absolute-names --only-values -n user.vecgridfs.version "$1"; }
commit() { mv "$T/$1" "$T/$1.commit"; }

# Bodies that are longer than what they replace.
raw "$C/a" 1 2 3
long='{"vector":[4,5,6],"metadata":{"k":"longer than twelve bytes"}}'
mkdir "$T/t"
ok "JSON replaces a vector in a transaction" put "$T/t/a" "$long"
ok "and text of any length" put "$T/t/a" "4.000000, 5.000000, 6.000000"
ok "and JSON again" put "$T/t/a" "$long"
ok "they commit" commit t
is "$(text a):$(cat "$C/.meta/a")" \
	'4,5,6:{"k":"longer than twelve bytes"}' "and are there"
ok "JSON replaces a vector on a condition" \
	put "$C/.if=$(version "$C/a")/a" "${long/4/7}"
is "$(text a)" 7,5,6 "once it is closed"

# What is read while it is written.
mkdir "$M/e" "$M/e/.tx/t"
is "$("$PYTHON3" - "$M/e/.tx/t/x" <<'PY'
import os, sys
x = sys.argv[1]
def read():
    with open(x, "rb") as f:
        return f.read()
with open(x, "w") as f:
    f.write("1,2,3,4")
n = len(read())
f = os.open(x, os.O_RDWR)
os.ftruncate(f, 8)
short = len(read())
os.ftruncate(f, 0)
os.pwrite(f, b'{"metadata":{"k":1}}', 0)
print(n, short, read())
PY
	)" "16 8 b'{\"metadata\":{\"k\":1}}'" \
	"a body that is cut or has another form reads as it is"
rmdir "$M/e/.tx/t"
mkdir "$T/t"
raw "$T/t/x" 1 2 3
truncate -s 0 "$T/t/x"
ok "what was emptied is read" cat "$T/t/x"
rm "$T/t/x"
: >"$T/t/x"
is "$(cat "$T/t/x" && stat -c %s "$T/t/x")" 0 "what was made anew is empty"
rmdir "$T/t"

# Replacing and emptying.
raw "$C/b" 1 1 1
mkdir "$T/t"
rm "$T/t/b"
: >"$T/t/b"
ok "what is removed and made anew without bytes" commit t
nok "is removed" test -s "$C/b"
raw "$C/b" 1 1 1
mkdir "$T/t"
: >"$T/t/.tmp"
nok "an empty file replaces no record" mv "$T/t/.tmp" "$T/t/b"
like "$(cat "$C/.stats/last_error")" "an empty file" "it is said why"
: >"$T/t/b"
ok "what is emptied" commit t
is "$(text b)" 1,1,1 "is as it was"
mkdir "$T/t"
ok "sed edits a record's text" sed -i 's/.*/3,3,3/' "$T/t/b"
vector 8 8 8 >"$S/v"
ok "cp replaces one" cp --remove-destination "$S/v" "$T/t/a"
ok "install makes one" install -m 644 "$S/v" "$T/t/new"
ok "and all go in" commit t
is "$(text a):$(text b):$(text new):$(ls "$C" | xargs)" \
	"8,8,8:3,3,3:8,8,8:a b new" "as they were made"
if need rsync 2; then
	mkdir "$T/t" "$S/from"
	cp "$S/v" "$S/from/r"
	ok "rsync writes into a transaction" rsync -r "$S/from/" "$T/t/"
	commit t
	is "$(text r)" 8,8,8 "which commits"
	rm "$C/r"
fi
mkdir "$T/t"
mv "$T/t/a" "$T/t/z"
mv "$T/t/new" "$T/t/a"
ok "records change their names in a row" mv "$T/t/z" "$T/t/new"
rm "$T/t/b"
commit t
is "$(ls "$C" | xargs)" "a new" "and are where they went"

# What cannot be committed.
mkdir "$M/z"
raw "$M/z/a" 1 2 3
mkdir "$M/z/.tx/t"
put "$M/z/.tx/t/n" 0,0,0
fails ECANCELED \
	"what only the commit finds is no error of mv's" \
	mv "$M/z/.tx/t" "$M/z/.tx/t.commit"
like "$(cat "$M/z/.stats/last_error")" "'n': a zero vector" "it is said which"
rm "$M/z/.tx/t/n"
put "$M/z/.tx/t/m" '{"metadata":{"k":1}}'
fails ECANCELED "nor metadata of what is not there" \
	mv "$M/z/.tx/t" "$M/z/.tx/t.commit"
like "$(cat "$M/z/.stats/last_error")" "'m': there is no such id" "likewise"
rmdir "$M/z/.tx/t"
mkdir "$M/y" "$M/y/.tx/t"
put "$M/y/.tx/t/a" 1,2
put "$M/y/.tx/t/b" 1,2,3
nok "vectors of two lengths do not found a collection" \
	mv "$M/y/.tx/t" "$M/y/.tx/t.commit"
rm "$M/y/.tx/t/a"
ok "those of one do" mv "$M/y/.tx/t" "$M/y/.tx/t.commit"
is "$(cat "$M/y/.config/dim")" 3 "and say how long they are"

# Whose file is open when it ends.
raw "$C/a" 1 2 3
for end in "rmdir t" "mv t t.commit"; do
	mkdir "$T/t"
	is "$("$PYTHON3" - "$T" $end <<'PY'
import errno, os, sys
t = sys.argv[1]
f = os.open(t + "/t/a", os.O_RDWR)
d = os.open(t + "/t", os.O_RDONLY)
os.chdir(t)
if sys.argv[2] == "mv":
    os.rename("t", "t.commit")
else:
    os.rmdir("t")
def tell(call, *args):
    try:
        call(*args)
        print("done", end=" ")
    except OSError as e:
        print(errno.errorcode[e.errno], end=" ")
tell(os.setxattr, f, "user.k", b"2")
tell(os.removexattr, f, "user.k")
tell(os.utime, f, (5, 5))
tell(os.setxattr, d, "user.k", b"2")
os.pwrite(f, b"123456789012", 0)
tell(os.close, f)
PY
	)" "ESTALE ESTALE ESTALE ESTALE ESTALE " \
		"behind $end an open file changes nothing"
	is "$(cat "$C/.meta/a"):$(text a):$(($(stat -c %Y "$C/a") > 5))" \
		"{}:1,2,3:1" "in the collection"
done
raw "$C/t" 1 2 3
is "$(cat "$C/.meta/t")" "{}" "nor what has the transaction's name"
kill -9 "$(daemon_pid)"
mkdir "$T/t"
ok "what is looked up beside a crash is whole" cmp "$T/t/a" "$C/a"
commit t
finish
