#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Records that were opened right behind a compaction, before a checkpoint made
# it durable, are read on when the daemon is killed then.
. "$(dirname "$0")/lib.sh"
plan 3
vgmount
mkdir "$M/c"
"$PYTHON3" - "$M/c" "$S/log" "$HOLDER" >"$S/said" 2>&1 <<'PY'
import os
import signal
import struct
import sys
import time

c, log, holder = sys.argv[1], open(sys.argv[2], "rb"), sys.argv[3]
now, kills = {}, 0


def daemon():
    with open(f"/proc/{holder}/task/{holder}/children") as f:
        return int(f.read().split()[0])


for n in range(1, 200000):
    name = f"r{n % 64}"
    now[name] = struct.pack("<4f", n, 1, 2, 3)
    with open(f"{c}/{name}", "wb") as f:
        f.write(now[name])
    if b"compacted" not in log.read():
        continue
    held = {i: os.open(f"{c}/{i}", os.O_RDONLY) for i in list(now)[:8]}
    os.kill(daemon(), signal.SIGKILL)
    for i, fd in held.items():
        with open(f"{c}/{i}", "wb") as f:
            f.write(struct.pack("<4f", 4, 3, 2, 1))
        if os.pread(fd, 99, 0) != now[i] or os.fstat(fd).st_size != 16:
            print(i, "reads as another")
        with open(f"{c}/{i}", "wb") as f:
            f.write(now[i])
        os.close(fd)
    log.seek(0, 2)
    kills += 1
    if kills == 2:
        break
print(kills, "kills")
PY
is "$(cat "$S/said")" "2 kills" "what is open reads as it was opened"
is "$(find "$M/c" -name 'r*' | wc -l)" 64 "all records are there"
finish
