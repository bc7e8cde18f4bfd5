# SPDX-License-Identifier: Apache-2.0
"""clock_steps.py STEP PID: writers, readers and a search with a limit, while the
time of day jumps by a year to and fro. Prints "yes: SENTENCE" or "no: ...".

STEP is the file of clockstep.c, PID the daemon. Environment: M, VG_SEED.
"""
import errno
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time

M = os.environ["M"]
C = M + "/c"
YEAR = 365 * 86400
WRITERS, SECONDS = 4, 2.0
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)

with open(sys.argv[1], "r+b") as f:
    step = mmap.mmap(f.fileno(), 16)


def jump(seconds):
    step[0:8] = struct.pack("<q", seconds)


def syncs():
    return struct.unpack("<q", step[8:16])[0]


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


def vector(n):
    return struct.pack("<16f", *(n + i / 64 for i in range(16)))


class Writer(threading.Thread):
    """Its ids, what each was last written as, the longest call."""

    def __init__(self, number):
        super().__init__()
        self.rng = random.Random(f"{SEED} {number}")
        self.ids = [f"w{number}-{i}" for i in range(20)]
        self.number, self.state = number, {}
        self.longest, self.trouble, self.n = 0.0, None, 0

    def put(self, name):
        self.n += 1
        value = self.number * 100000 + self.n
        to = f"{C}/{name}"
        if self.rng.random() < 0.5:
            with open(to, "wb", buffering=0) as f:
                f.write(vector(value))
        else:  # staged before a jump, perhaps, and renamed behind it
            with open(f"{C}/.{name}", "wb", buffering=0) as f:
                f.write(vector(value))
            time.sleep(self.rng.random() / 20)
            os.rename(f"{C}/.{name}", to)
        self.state[name] = value

    def run(self):
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                begin = time.monotonic()
                name = self.rng.choice(self.ids)
                if name in self.state and self.rng.random() < 0.2:
                    os.unlink(f"{C}/{name}")
                    del self.state[name]
                else:
                    self.put(name)
                self.longest = max(self.longest, time.monotonic() - begin)
        except OSError as e:
            self.trouble = str(e)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def is_right(writers):
    want = {i: vector(v) for w in writers for i, v in w.state.items()}
    names = {n for n in os.listdir(C) if n != "old"}
    return names == set(want) and all(read(f"{C}/{i}") == v
                                      for i, v in want.items())


def npy(rows, dim, rng):
    """An array of random rows, as numpy would save it."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}"
    head = head.ljust(117) + "\n"
    some = struct.pack(f"<{64 * dim}f", *(rng.random() for _ in range(64 * dim)))
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head))
            + head.encode() + (some * (rows // 64 + 1))[:rows * dim * 4])


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def search(rng):
    """A search that would take seconds has 300 ms; the clock jumps meanwhile."""
    os.mkdir(M + "/s")
    write(M + "/s/.config/index", b"flat\n")
    write(M + "/s/.import/npy", npy(20000, 128, rng))
    write(M + "/s/query/batch", npy(10000, 128, rng))
    error, begin = None, time.monotonic()
    stepper = threading.Timer(0.1, jump, [-YEAR])
    stepper.start()
    try:
        read(M + "/s/query/timeout=300/exact=1/k=1/threads=1/batch.ids")
    except OSError as e:
        error = e.errno
    took = time.monotonic() - begin
    stepper.join()
    say(error == errno.ETIMEDOUT, "a search with a limit ends by it")
    say(0.25 < took < 5, f"and in time ({took:.2f} s)")


def main():
    print(f"seed {SEED}", flush=True)
    os.mkdir(C)
    with open(f"{C}/.staged", "wb") as f:
        f.write(vector(7))
    writers = [Writer(n) for n in range(WRITERS)]
    for w in writers:
        w.start()
    rng = random.Random(SEED)
    while any(w.is_alive() for w in writers):
        jump(rng.choice([-YEAR, 0, YEAR, rng.randrange(-YEAR, YEAR)]))
        time.sleep(0.05)
    say(not any(w.trouble for w in writers), "no call fails")
    for w in writers:
        if w.trouble:
            print("#", w.trouble)
    longest = max(w.longest for w in writers)
    say(longest < 5, "none hangs")
    print(f"# {sum(w.n for w in writers)} writes, the longest {longest:.2f} s")
    say(is_right(writers), "all that was written is there")
    jump(-YEAR)
    with open(f"{C}/old", "wb") as f:
        f.write(vector(9))
    then = time.time() - YEAR
    say(abs(os.stat(f"{C}/old").st_mtime - then) < 60,
        "a file has the time that the clock told, a year ago")
    jump(YEAR)
    with open(f"{C}/old", "wb") as f:
        f.write(vector(11))
    say(read(f"{C}/old") == vector(11) and
        os.stat(f"{C}/old").st_mtime > then + 1.9 * YEAR,
        "and the new one is read two years later")
    jump(-YEAR)
    with open(f"{C}/old", "wb") as f:
        f.write(vector(12))
    say(read(f"{C}/old") == vector(12), "and a newer one two years before")
    before = syncs()
    jump(YEAR)
    time.sleep(1.5)  # what is looked at is that nobody waits for a year
    say(syncs() > before, "what was written is synced within 1.5 seconds")
    search(rng)
    jump(YEAR)
    os.kill(int(sys.argv[2]), signal.SIGKILL)  # who follows tidies up
    os.rename(f"{C}/.staged", f"{C}/late")
    say(read(f"{C}/late") == vector(7),
        "what was staged before all that is committed by another daemon")


main()
