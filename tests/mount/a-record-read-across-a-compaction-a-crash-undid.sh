#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What was opened right behind a compaction, before a checkpoint made it durable,
# is read on when the daemon is killed then, and once more behind another one.
. "$(dirname "$0")/lib.sh"
plan 3
vgmount
mkdir "$M/c"
"$PYTHON3" - "$M/c" "$S/log" "$HOLDER" >"$S/said" 2>&1 <<'PY'
import json
import os
import signal
import struct
import sys

c, log, holder = sys.argv[1], open(sys.argv[2], "rb"), sys.argv[3]
now = {}
number = 0


def daemon():
    with open(f"/proc/{holder}/task/{holder}/children") as f:
        return int(f.read().split()[0])


def change():
    """The next record's name and vector, noted."""
    global number
    number += 1
    name, vec = f"r{number % 64}", [number, 1, 2, 3]
    now[name] = struct.pack("<4f", *vec)
    return name, vec


def write_until(*what):
    """Changes records until the log has these, one behind the other."""
    said = b""
    log.seek(0, 2)
    with open(f"{c}/.import/ndjson", "w") as f:
        for _ in range(18000):
            name, vec = change()
            f.write(json.dumps({"id": name, "vector": vec}) + "\n")
    while what:
        name, _ = change()
        with open(f"{c}/{name}", "wb") as f:
            f.write(now[name])
        said += log.read()
        if what[0] in said:
            said = said[said.index(what[0]):]
            what = what[1:]


def check(held, want, when):
    for name, fd in held.items():
        try:
            got = os.pread(fd, 1 << 20, 0)
            if got != want[name] or os.fstat(fd).st_size != len(got):
                got = "another"
        except OSError as e:
            got = e
        if got != want[name]:
            print(name, "is", got, when)


for kill in range(2):
    write_until(b"compacted")
    held = {i: os.open(f"{c}/{i}", os.O_RDONLY)
            for i in list(now)[:8] + ["query/all", ".export/all.ndjson"]}
    os.kill(daemon(), signal.SIGKILL)
    want = {i: now[i] if i in now else os.pread(fd, 1 << 20, 0)
            for i, fd in held.items()}
    write_until(b"compacted", b"checkpoint:")
    # The records' bytes would stay in the kernel's cache.
    check({i: fd for i, fd in held.items() if i not in now}, want, "then")
    os.kill(daemon(), signal.SIGKILL)
    check(held, want, "behind the next")
    for fd in held.values():
        os.close(fd)
print(kill + 1, "rounds")
PY
is "$(cat "$S/said")" "2 rounds" "what is open reads as it was opened"
is "$(find "$M/c" -name 'r*' | wc -l)" 64 "all records are there"
finish
