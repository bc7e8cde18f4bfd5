#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who has a vector open, or mapped, keeps what was opened; who opens the name
# again gets the new one; nobody ever reads a mixture.
. "$(dirname "$0")/lib.sh"
plan 23
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

report 8 "$PYTHON3" "$HERE/versions.py"

report 3 "$PYTHON3" - <<'PY'
import mmap, os, struct, time
def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ")
os.mkdir("../gone")
with open("../gone/x", "wb") as f:
    f.write(struct.pack("<3f", 3, 2, 1))
f = os.open("../gone/x", os.O_RDONLY)
os.unlink("../gone/x")
os.rmdir("../gone")
time.sleep(1.2)  # longer than what the kernel may remember
say(os.fstat(f).st_size == 12, "a handle outlives its collection")
say(os.pread(f, 99, 0) == struct.pack("<3f", 3, 2, 1), "with its bytes")
say(mmap.mmap(f, 12, prot=mmap.PROT_READ)[:4] == struct.pack("<f", 3),
    "that can be mapped")
PY

raw a 0 0 1
report 3 "$PYTHON3" - <<'PY'
import os, struct
old, new = struct.pack("<3f", 0, 0, 1), struct.pack("<3f", 0, 1, 0)
def read():
    with open("a", "rb") as f:
        return f.read()
def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ")
f = os.open("a", os.O_WRONLY | os.O_TRUNC)
say(read() == old, "O_TRUNC shows the old vector")
os.write(f, new[:8])
os.write(f, new[8:])
say(read() == old, "while the new one is being written")
os.close(f)
say(read() == new, "until it is committed by close")
PY
raw a 2 2 2
( : >a )
is "$(numbers a)" "2 2 2" "opening and closing alone changes nothing"
cd "$S" || exit 99
finish
