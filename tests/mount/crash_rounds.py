# SPDX-License-Identifier: Apache-2.0
"""crash_rounds.py KILLS PAUSE_MS: kills the daemon under clients who may not notice.

Sixteen writers own their ids and check each answer that they get against what
they did before; readers check that what they read was once written; one
process imports, one lists, one rsync copies. No call of theirs may fail and
nothing that was acknowledged may be missing, while the daemon (not its holder)
is killed again and again. Environment: M, S, HOLDER, VG_SEED, VG_KILL_SIGNAL.
Prints one line a round.
"""
import errno
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

M, S, HOLDER = os.environ["M"], os.environ["S"], os.environ["HOLDER"]
KILLS, PAUSE_MS = int(sys.argv[1]), int(sys.argv[2])
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
WRITERS, IDS, DIM = 16, 12, 16
C = M + "/c"
GONE = None

trouble = []
stop = threading.Event()
slowest = [0.0]


def vector(value):
    return struct.pack(f"<{DIM}f", *(value + i / 64 for i in range(DIM)))


def value_of(data):
    value = struct.unpack("<f", data[:4])[0]
    return value if data == vector(value) else "a mixture"


def timed(call, *args, **named):
    begin = time.monotonic()
    try:
        return call(*args, **named)
    finally:
        slowest[0] = max(slowest[0], time.monotonic() - begin)


class Writer:
    """A thread's ids: what each is now; every answer is compared with it."""

    def __init__(self, number):
        self.rng = random.Random(f"{SEED} {number}")
        self.ids = [f"w{number}-{i}" for i in range(IDS)]
        self.now = {i: GONE for i in self.ids}
        self.clock = number * 1000
        self.ops = 0
        self.last = ""

    def write(self, path, data, flags):
        fd = timed(os.open, path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
        half = len(data) // 2
        timed(os.write, fd, data[:half])
        timed(os.write, fd, data[half:])
        timed(os.close, fd)

    def put(self, name, old):
        self.clock += 1
        value = float(self.clock % 100000)
        form = self.rng.randrange(3)
        flags = os.O_TRUNC
        self.last = f"put {name} form {form}"
        if form == 0 and old is GONE:
            flags = os.O_EXCL
        if form < 2:
            self.write(f"{C}/{name}", vector(value), flags)
            self.now[name] = (value, old[1] if old else None)
        else:
            self.write(f"{C}/.{name}", vector(value), os.O_TRUNC)
            self.last = f"rename .{name}"
            timed(os.rename, f"{C}/.{name}", f"{C}/{name}")
            self.now[name] = (value, None)

    def check(self, name):
        self.last = f"read {name}"
        try:
            with open(f"{C}/{name}", "rb") as f:
                got = value_of(f.read())
        except FileNotFoundError:
            got = GONE
        want = self.now[name] and self.now[name][0]
        if got != want:
            trouble.append(f"{name} is {got}, not {want}")
        if want is not GONE:
            with open(f"{C}/.meta/{name}") as f:
                got = json.load(f).get("n")
            if got != self.now[name][1]:
                trouble.append(f"{name}'s n is {got}, not "
                               f"{self.now[name][1]}")

    def step(self):
        name = self.rng.choice(self.ids)
        old = self.now[name]
        dice = self.rng.random()
        if old is GONE or dice < 0.4:
            self.put(name, old)
        elif dice < 0.55:
            self.last = f"unlink {name}"
            timed(os.unlink, f"{C}/{name}")
            self.now[name] = GONE
        elif dice < 0.7:
            self.clock += 1
            self.last = f"setxattr {name}"
            timed(os.setxattr, f"{C}/{name}", "user.n",
                  str(self.clock).encode())
            self.now[name] = (old[0], self.clock)
        elif dice < 0.8:
            to = self.rng.choice(self.ids)
            if to == name:
                return
            self.last = f"rename {name} {to}"
            timed(os.rename, f"{C}/{name}", f"{C}/{to}")
            self.now[to], self.now[name] = old, GONE
        else:
            self.check(name)
        self.ops += 1

    def run(self):
        while not stop.is_set():
            self.step()


class Reader:
    """Holds files open over crashes, and asks questions."""

    def __init__(self, number):
        self.rng = random.Random(f"{SEED} reader {number}")
        self.ops = 0
        self.last = ""

    def run(self):
        held = None
        while not stop.is_set():
            self.last = "hold"
            if held is None:
                fd = timed(os.open, C + "/.stats/count", os.O_RDONLY)
                ask = timed(os.open, C + "/query/all.ids", os.O_RDONLY)
                run = timed(os.open, C + "/query/.run", os.O_RDWR)
                held = (fd, timed(os.pread, fd, 99, 0), ask,
                        timed(os.pread, ask, 1 << 20, 0), run)
            self.last = "held answer"
            if timed(os.pread, held[0], 99, 0) != held[1]:
                trouble.append("an open file changed")
            if timed(os.pread, held[2], 1 << 20, 0) != held[3]:
                trouble.append("an open answer changed")
            self.last = "run"
            timed(os.write, held[4], json.dumps(
                {"vector": [self.rng.random() for _ in range(DIM)],
                 "k": 3}).encode() + b"\n")
            timed(os.pread, held[4], 65536, 1 << 20)
            self.last = "query"
            with open(C + "/query/k=4/id=fixed.ids") as f:
                if "fixed" in f.read().split():
                    trouble.append("a query found itself")
            self.last = "listdir"
            names = timed(os.listdir, C)
            if "fixed" not in names or len(names) != len(set(names)):
                trouble.append("a listing lacks a record or has one twice")
            if self.rng.random() < 0.1:
                for fd in (held[0], held[2], held[4]):
                    timed(os.close, fd)
                held = None
            self.ops += 1


class Alias:
    """Moves a link to and fro, and a collection."""

    def __init__(self):
        self.ops = 0
        self.last = ""

    def run(self):
        timed(os.symlink, "c", M + "/l0")
        os.mkdir(M + "/d0")
        n = 0
        while not stop.is_set():
            self.last = "alias"
            timed(os.rename, f"{M}/l{n}", f"{M}/l{1 - n}")
            timed(os.rename, f"{M}/d{n}", f"{M}/d{1 - n}")
            n = 1 - n
            if os.readlink(f"{M}/l{n}") != "c" or \
                    os.path.lexists(f"{M}/l{1 - n}"):
                trouble.append("a link is there twice, or elsewhere")
            os.mkdir(f"{M}/d{n}x")
            self.last = "rmdir"
            timed(os.rmdir, f"{M}/d{n}x")
            self.ops += 1
            time.sleep(0.005)


class Importer:
    """Imports rows again and again; each row is there after the close."""

    def __init__(self):
        self.ops = 0
        self.last = ""
        self.rows = 0

    def run(self):
        number = 0
        os.mkdir(M + "/i")
        while not stop.is_set():
            number += 1
            self.last = f"import {number}"
            fd = timed(os.open, f"{M}/i/.import/ndjson", os.O_WRONLY)
            n = 0
            while n < 20000 and not (stop.is_set() and n):
                lines = "".join(json.dumps(
                    {"id": f"r{i}", "vector": [i % 251, number % 97, 1, i]})
                    + "\n" for i in range(n, n + 500)).encode()
                # cut in the middle of a line
                for part in (lines[:5001], lines[5001:]):
                    while part:
                        part = part[timed(os.write, fd, part):]
                n += 500
            timed(os.close, fd)
            self.rows = max(self.rows, n)
            count = int(open(M + "/i/.stats/count").read())
            if count != self.rows:
                trouble.append(f"the import has {count} rows, not {self.rows}")
            for i in range(0, n, 97):
                with open(f"{M}/i/r{i}", "rb") as f:
                    got = struct.unpack("<4f", f.read())
                if got != (i % 251, number % 97, 1, i):
                    trouble.append(f"row {i} of import {number} is {got}")
            self.ops += 1


class Copier:
    """rsync out of the mount."""

    def __init__(self):
        self.ops = 0
        self.last = "rsync"

    def run(self):
        while not stop.is_set():
            done = subprocess.run(
                ["rsync", "-a", "--whole-file", M + "/s/", S + "/copy/"],
                capture_output=True, text=True)
            if done.returncode:
                trouble.append("rsync: " + done.stderr[-300:])
            wrong = [i for i in range(300)
                     if open(f"{S}/copy/s{i}", "rb").read() != vector(i)]
            if wrong:
                trouble.append(f"rsync copied {wrong[:5]} wrongly")
            self.ops += 1


def guarded(who):
    def run():
        try:
            who.run()
        except OSError as e:
            trouble.append(f"{who.last}: {errno.errorcode.get(e.errno)} {e}")
        except Exception as e:
            trouble.append(f"{who.last}: {e!r}")
    return run


def daemon():
    with open(f"/proc/{HOLDER}/task/{HOLDER}/children") as f:
        return int(f.read().split()[0])


def kill_daemon(rng):
    """VG_CRASH_TWICE: the next daemon dies, too, while it starts."""
    pid = daemon()
    os.kill(pid, signal.SIGKILL)
    while os.environ.get("VG_CRASH_TWICE"):
        try:
            if daemon() != pid:
                time.sleep(rng.random() * 0.004)
                os.kill(daemon(), signal.SIGKILL)
                break
        except IndexError:
            time.sleep(0.0005)


def main():
    print(f"seed {SEED}", flush=True)
    rng = random.Random(SEED)
    os.mkdir(C)
    os.mkdir(M + "/s")
    for i in range(300):
        with open(f"{M}/s/s{i}", "wb") as f:
            f.write(vector(i))
    with open(C + "/fixed", "wb") as f:
        f.write(vector(7))
    writers = [Writer(n) for n in range(WRITERS)]
    people = writers + [Reader(0), Reader(1), Alias(), Importer()]
    if subprocess.run(["which", "rsync"], capture_output=True).returncode == 0:
        people.append(Copier())
    if os.environ.get("VG_CRASH_WITHOUT"):
        people = [p for p in people if type(p).__name__ not in
                  os.environ["VG_CRASH_WITHOUT"].split(",")]
    threads = [threading.Thread(target=guarded(p), daemon=True)
               for p in people]
    for t in threads:
        t.start()
    time.sleep(1)
    for n in range(1, KILLS + 1):
        time.sleep((PAUSE_MS + rng.randrange(500)) / 1000)
        before, slowest[0] = len(trouble), 0.0
        kill_daemon(rng)
        done = sum(p.ops for p in people)
        begin = time.monotonic()
        while sum(p.ops for p in people) < done + 50 and len(
                trouble) == before and time.monotonic() < begin + 60:
            time.sleep(0.01)
        time.sleep(0.5)
        wrong = trouble[before:]
        if time.monotonic() > begin + 60:
            wrong.append("they wait for ever: " +
                         "; ".join(p.last for p in people))
        print(f"# the longest call took {slowest[0] * 1000:.0f} ms")
        print(f"round {n}: " + ("; ".join(wrong[:5]) or "nobody noticed"),
              flush=True)
    stop.set()
    for t in threads:
        t.join(60)
    for w in writers:
        for name in w.ids:
            w.check(name)
    stuck = [p.last for t, p in zip(threads, people) if t.is_alive()]
    print("# operations: " + " ".join(
        f"{type(p).__name__}={p.ops}" for p in people[-6:]))
    print("end: " + ("; ".join(trouble[:5] + stuck) or "all is there"),
          flush=True)


main()
