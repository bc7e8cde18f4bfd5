#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An answer, exports, a record and a listing that were opened before a
# compaction go on as they were opened when the daemon is killed after the
# checkpoint behind it, and again later; once closed they hold nothing. One of
# the answers is of some megabytes.
. "$(dirname "$0")/lib.sh"
plan 16
vgmount
mkdir "$M/c"
"$PYTHON3" - "$M/c" "$S/log" "$HOLDER" >"$S/said" 2>&1 <<'PY'
import json
import os
import signal
import struct
import sys
import time

c, log, holder = sys.argv[1], sys.argv[2], sys.argv[3]
N = 3000


def say(ok, what):
    print("so" if ok else "not so", what, sep=": ", flush=True)


def fill(value, n):
    """n rows, round and round over N ids."""
    with open(f"{c}/.import/ndjson", "w") as f:
        for i in range(n):
            f.write(json.dumps({"id": f"r{i % N:04}",
                                "vector": [value, i % N, 1, 2]}) + "\n")


def lines():
    with open(log, "rb") as f:
        return f.read().split(b"\n")


def wait_for(what, begin):
    """The number of the first line from begin on that has what."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for n, line in enumerate(lines()):
            if n >= begin and what in line:
                return n
        time.sleep(0.05)
    raise SystemExit(f"no line of {what}")


def compact(value):
    """Returns when a checkpoint has made a compaction durable."""
    begin = len(lines()) - 1
    fill(value, 8 * N)
    return wait_for(b"checkpoint:", wait_for(b"compacted:", begin))


def kill():
    begin = len(lines()) - 1
    with open(f"/proc/{holder}/task/{holder}/children") as f:
        os.kill(int(f.read().split()[0]), signal.SIGKILL)
    os.stat(c)
    wait_for(b"restarted", begin)


def ask_many(name, n):
    """A named request of n vectors, as an npy array."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, 4), }}"
    head = head.ljust(117) + "\n"
    with open(f"{c}/query/{name}", "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)))
        f.write(head.encode())
        f.write(struct.pack(f"<{4 * n}f", *(i % N for i in range(4 * n))))


MANY = "query/k=8/many"
FILES = ["query/all.ids", "query/all", ".export/all.npy", ".export/all.ndjson",
         MANY]
fill(1, N)
ask_many("many", 5000)
want = {"r0007": struct.pack("<4f", 1, 7, 1, 2)} # and not in the kernel's cache
held = {"r0007": os.open(f"{c}/r0007", os.O_RDONLY)}
for name in FILES:
    with open(f"{c}/{name}", "rb") as f:
        want[name] = f.read()
    held[name] = os.open(f"{c}/{name}", os.O_RDONLY)
say(len(want[MANY]) > 2 << 20, "one is long")
os.stat(f"{c}/query/all.tsv")  # asked, and never opened
names = set(os.listdir(c))
listing = os.scandir(c)
listed = [next(listing).name]
for i in range(0, N, 3):
    os.unlink(f"{c}/r{i:04}")
for life in "a compaction and a crash", "another of each":
    compact(len(life))
    kill()
    for name, fd in held.items():
        try:
            got = os.pread(fd, len(want[name]) + 1, 0)
        except OSError as e:
            got = e
        say(got == want[name], f"{name} reads on behind {life}")
    if life == "another of each":
        break
    listed += [e.name for e in listing]
    say(sorted(listed) == sorted(names),
        "a listing goes on with each name once")
with open(f"{c}/.stats/pinned_bytes") as f:
    pinned = int(f.read())
for fd in held.values():
    os.close(fd)
time.sleep(0.5)
with open(f"{c}/.stats/pinned_bytes") as f:
    say(pinned > 0 and int(f.read()) == 0, "what is closed holds nothing")
PY
while IFS= read -r line; do
	is "${line%%: *}" "so" "${line#*: }"
done <"$S/said"
finish
