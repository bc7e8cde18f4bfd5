#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A named request can be written again and again: what is being written is no
# question yet, and what was asked before is answered until it is closed.
. "$(dirname "$0")/lib.sh"
plan 25
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/metric l2
for i in 1 2 3 4 5; do
	put "p$i" "$i,0"
	vector "$i.1" 0 >"$S/v$i"
done

cp "$S/v1" query/q
is "$(head -1 query/k=1/q.ids)" p1 "it is asked"
report 8 "$PYTHON3" - <<'PYTHON'
import os
import struct


def say(is_so, sentence):
    print("yes" if is_so else "no", sentence, sep=": ")


def searches():
    with open(".stats/searches") as f:
        return int(f.read())


def in_child(work):
    """What another process finds."""
    r, w = os.pipe()
    if os.fork() == 0:
        os.write(w, str(work()).encode())
        os._exit(0)
    os.wait()
    return int(os.read(r, 100))


def length(path):
    with open(path, "rb", buffering=0) as f:
        return len(f.read(4096))


before = searches()
fd = os.open("query/q", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
say(os.fstat(fd).st_size == 0, "who writes it begins with nothing")
os.write(fd, struct.pack("<2f", 2.1, 0))
say(os.fstat(fd).st_size == 8, "and is told what he has written")
say(in_child(lambda: os.fstat(fd).st_size) == 8, "so is who he gave it to")
say(searches() == before, "and nobody has searched for that")
os.fsync(fd)
say(os.fstat(fd).st_size == 8, "he is told so until he closes it")
say(in_child(lambda: os.stat("query/q").st_size) == length("query/q"),
    "but others meet the answer by then")
with open("query/q", "rb", buffering=0) as f:
    say(os.fstat(f.fileno()).st_size == len(f.read(4096)) > 8,
        "and so does he, where he reads it")
os.ftruncate(fd, 0)
os.pwrite(fd, struct.pack("<6f", 3.1, 0, 4.1, 0, 9, 9), 0)
os.ftruncate(fd, 16)
say(os.fstat(fd).st_size == 16, "it can be cut")
os.close(fd)
PYTHON
is "$(xargs <query/k=1/q.ids)" "p3 p4" "closing it asks what was written last"

exec {w}>query/q
printf 5 >&"$w"
is "$(xargs <query/k=1/q.ids)" "p3 p4" "what is no vector yet is not asked"
exec {r}<query/k=1/q.ids
printf ,0 >&"$w"
exec {w}>&-
is "$(xargs <&"$r")" "p3 p4" "an answer that is open stays what it was"
exec {r}<&-
is "$(cat query/k=1/q.ids)" p5 "and who opens it now has the new one"
{
	cat "$S/v1"
	cat "$S/v2" "$S/v3"
} >query/q
is "$(xargs <query/k=1/q.ids)" "p1 p2 p3" "several write one batch"
vector 4 0 >>query/q
is "$(xargs <query/k=1/q.ids)" p4 "a question is not appended to"
fails EINVAL "what is no vector is refused" cp /etc/hostname query/q
is "$(xargs <query/k=1/q.ids)" p4 "and leaves what was"

writers=()
for i in 1 2 3 4 5 1 2 3 4 5; do
	(
		for _ in $(seq 20); do
			cp "$S/v$i" query/q || exit 1
			[[ $(cat query/k=1/q.ids) == p[1-5] ]] || exit 1
		done
	) &
	writers+=($!)
done
wrong=0
for pid in "${writers[@]}"; do
	wait "$pid" || wrong=$((wrong + 1))
done
is $wrong 0 "ten write and ask it at once, and each time it is one of theirs"

exec {w}>query/q
vector 2 0 >&"$w"
pid=$(daemon_pid)
kill -9 "$pid" && timeout 60 tail --pid="$pid" -f /dev/null
is "$(cat query/k=1/q.ids)" p2 "a crash leaves what was written"
vector 4 0 >&"$w"
exec {w}>&-
is "$(xargs <query/k=1/q.ids)" "p2 p4" "and it is written on"
exec {w}>query/q
printf 3 >&"$w"
pid=$(daemon_pid)
kill -9 "$pid" && timeout 60 tail --pid="$pid" -f /dev/null
is "$(xargs <query/k=1/q.ids)" "p2 p4" "a crash leaves what was asked, too"
printf ,0 >&"$w"
exec {w}>&-
is "$(cat query/k=1/q.ids)" p3 "until that is written to its end"

exec {w}>query/q
cat "$S/v3" >&"$w"
ok "it can be removed meanwhile" rm query/q
exec {w}>&-
nok "and is not brought back" cat query/q
cd "$S" || exit 99
finish
