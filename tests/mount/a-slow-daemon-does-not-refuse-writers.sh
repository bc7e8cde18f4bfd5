#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A daemon that stands still for seconds, as on a machine under load, between the
# requests of which an open for writing consists: the open waits and goes on.
. "$(dirname "$0")/lib.sh"
plan 3
vgmount
mkdir "$M/c"
"$PYTHON3" - "$M/c" "$(daemon_pid)" >"$S/said" 2>&1 <<'PY'
import os
import signal
import struct
import sys
import threading
import time

c, daemon = sys.argv[1], int(sys.argv[2])
stop = threading.Event()
trouble = []
done = [0] * 16


def vector(n):
    return struct.pack("<4f", n, 1, 2, 3)


def write(i):
    """Each has records of its own, which are there already."""
    while not stop.is_set():
        done[i] += 1
        name, what = f"{c}/w{i}-{done[i] % 4}", "open"
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            what = "write"
            os.write(fd, vector(done[i]))
            os.close(fd)
            if done[i] % 8 == 0:
                what = "read"
                with open(name, "rb") as f:
                    if f.read() != vector(done[i]):
                        trouble.append(f"{name} is something else")
        except OSError as e:
            trouble.append(f"{what}: {e}")


threads = [threading.Thread(target=write, args=(i,)) for i in range(16)]
for t in threads:
    t.start()
for _ in range(2):
    time.sleep(0.5)
    os.kill(daemon, signal.SIGSTOP)
    time.sleep(6)
    os.kill(daemon, signal.SIGCONT)
time.sleep(0.5)
stop.set()
for t in threads:
    t.join()
print("\n".join(trouble[:5]) or "nobody noticed")
print(sum(done), file=sys.stderr)
PY
is "$(head -n 5 "$S/said" | grep -v '^[0-9]*$')" "nobody noticed" \
	"opens for writing outlast a daemon that stands still"
ok "there were some" test "$(grep '^[0-9]*$' "$S/said")" -gt 1000
finish
