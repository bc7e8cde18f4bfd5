# SPDX-License-Identifier: Apache-2.0
"""backup_rounds.py ROUNDS: copies of the data directory, made under full load.

Writers put, delete, rename and set metadata, each of its own ids, in an order
that it remembers; collections come and go beside them; checkpoints follow one
another. Each round copies the data directory by another program, checks the
copy, mounts it while the original goes on, and looks which moment it is: for
each writer there must be one, not before the copy began, at which every id was
what the copy says. Then the copy is changed, and the copies before, which it
may share files with, must be what they were. Environment: VECGRIDFS, M, D, S,
VG_SEED.
"""
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time

PROGRAM, M, D, S = (os.environ[v] for v in ("VECGRIDFS", "M", "D", "S"))
ROUNDS = int(sys.argv[1])
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
WRITERS, IDS, DIM = 4, 30, 16
C = M + "/c"
M2 = S + "/mnt2"
GONE = None


def vector(value):
    return [value + i / 64 for i in range(DIM)]


class Writer(threading.Thread):
    """log[k]: what its kth operation made of which ids; done: how many of them
    were acknowledged."""

    def __init__(self, number, stop):
        super().__init__()
        self.rng = random.Random(f"{SEED} {number}")
        self.ids = [f"w{number}-{i}" for i in range(IDS)]
        self.now = {i: GONE for i in self.ids}
        self.log = []
        self.done = 0
        self.number = number
        self.stop = stop
        self.trouble = None

    def step(self):
        value = (len(self.log) * WRITERS + self.number) % 1000000
        name = self.rng.choice(self.ids)
        old = self.now[name]
        dice = self.rng.random()
        if old is GONE or dice < 0.5:
            change = {name: (value, old and old[1])}
            call = self.put, name, value
        elif dice < 0.65:
            change = {name: GONE}
            call = os.unlink, f"{C}/{name}"
        elif dice < 0.85:
            change = {name: (old[0], value)}
            call = (os.setxattr, f"{C}/{name}", "user.n", b"%d" % value)
        else:
            to = self.rng.choice(self.ids)
            if to == name:
                return
            change = {name: GONE, to: old}
            call = os.rename, f"{C}/{name}", f"{C}/{to}"
        self.log.append(change)
        call[0](*call[1:])
        self.now.update(change)
        self.done = len(self.log)

    def put(self, name, value):
        with open(f"{C}/{name}", "w") as f:
            f.write(",".join(map(str, vector(value))))

    def run(self):
        try:
            while not self.stop.is_set():
                self.step()
        except OSError as e:
            self.trouble = f"writer {self.number}: {e}"

    def find(self, begin, end, got):
        """Is `got`, what a copy has of our ids, the state behind some of our
        first begin..end operations?"""
        state = {i: GONE for i in self.ids}
        for change in self.log[:begin]:
            state.update(change)
        for k in range(begin, end + 1):
            if state == got:
                return None
            if k < end:
                state.update(self.log[k])
        for change in self.log[begin:end]:
            state.update(change)
        wrong = [f"{i} is {got[i]}, at the end {state[i]}"
                 for i in self.ids if got[i] != state[i]]
        return (f"writer {self.number} was never so in its operations "
                f"{begin} to {end}: {wrong[:4]}")


def churn(stop, trouble):
    """Collections that are made, filled and dropped."""
    n = 0
    try:
        while not stop.is_set():
            n += 1
            d = f"{M}/drop{n % 3}"
            os.mkdir(d)
            for i in range(20):
                with open(f"{d}/{i}", "w") as f:
                    f.write(f"{i},{n},1")
            for i in range(20):
                os.unlink(f"{d}/{i}")
            os.rmdir(d)
    except OSError as e:
        trouble.append(f"dropping collections: {e}")


# ---- programs that copy

def run(*argv, good=(0,), **more):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       check=False, **more)
    if r.returncode not in good:
        raise SystemExit(f"{argv} ended with {r.returncode}: {r.stdout}")


def by_rsync(to, last):
    run("rsync", "-a", D + "/", to, good=(0, 24))


def by_link_dest(to, last):
    more = [f"--link-dest={last}"] if last else []
    run("rsync", "-a", *more, D + "/", to, good=(0, 24))


def by_tar(to, last):
    """Files in the reverse of their names' order: the log first."""
    names = sorted((os.path.relpath(os.path.join(d, f), D)
                    for d, _, files in os.walk(D) for f in files),
                   reverse=True)
    os.mkdir(to)
    pack = subprocess.Popen(["tar", "cf", "-", "-C", D, "-T", "-",
                             "--ignore-failed-read"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)
    unpack = subprocess.Popen(["tar", "xf", "-", "-C", to],
                              stdin=pack.stdout)
    pack.stdout.close()
    pack.stdin.write("\n".join(names).encode() + b"\n")
    pack.stdin.close()
    if unpack.wait() or pack.wait() not in (0, 1, 2):
        raise SystemExit("tar failed")


def by_cp(to, last):
    """cp -r, file by file, with pauses; each directory is listed when it is
    its turn."""
    os.mkdir(to)
    until = time.monotonic() + 2
    for d, dirs, files in os.walk(D):
        at = os.path.join(to, os.path.relpath(d, D))
        os.makedirs(at, exist_ok=True)
        for f in files:
            if time.monotonic() < until:
                time.sleep(0.05)
            try:
                shutil.copyfile(os.path.join(d, f), os.path.join(at, f))
            except FileNotFoundError:
                pass  # it was dropped meanwhile: by a test of its own


WAYS = [by_rsync, by_tar, by_link_dest, by_cp]


# ---- what a copy is

def digest(tree):
    """Every name and byte below tree."""
    h = hashlib.md5()
    for d, dirs, files in os.walk(tree):
        dirs.sort()
        for f in sorted(files):
            path = os.path.join(d, f)
            h.update(os.path.relpath(path, tree).encode() + b"\0")
            with open(path, "rb") as at:
                h.update(at.read())
    return h.hexdigest()


def shared(copy, last):
    """How many files the copy has, and how many of them are last's."""
    inodes = set()
    for tree in (last, copy):
        here = {os.stat(os.path.join(d, f)).st_ino
                for d, _, files in os.walk(tree) for f in files}
        inodes = inodes & here if inodes else here
    return inodes


def mounted(at):
    with open("/proc/self/mounts") as f:
        return any(line.split()[1] == at for line in f)


def mount_copy(copy):
    log = open(S + "/log", "ab")
    child = subprocess.Popen(
        [PROGRAM, copy, M2, "-f", "-o", "checkpoint=64K,backup_grace=3600"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    while not mounted(M2):
        if child.poll() is not None:
            return None
        time.sleep(0.01)
    try:
        os.stat(M2 + "/.")
    except OSError:
        child.wait()
        subprocess.run(["umount", "-l", M2], check=False,
                       stderr=subprocess.DEVNULL)
        return None
    return child


def read_copy():
    got = {}
    with open(M2 + "/c/.export/all.ndjson") as f:
        for line in f:
            row = json.loads(line)
            value = row["vector"][0]
            if struct.pack(f"{DIM}f", *row["vector"]) != \
                    struct.pack(f"{DIM}f", *vector(value)):
                raise SystemExit(f"half a record: {line}")
            meta = row.get("metadata") or {}
            got[row["id"]] = (int(value), meta.get("n"))
    return got


def change_copy():
    """Enough for some checkpoints."""
    for i in range(400):
        with open(f"{M2}/c/w0-{i % IDS}", "w") as f:
            f.write(",".join(map(str, vector(i))))
    for i in range(IDS):
        try:
            os.unlink(f"{M2}/c/w1-{i}")
        except FileNotFoundError:
            pass


def verify(copy, writers, begin, end):
    """Sentences: what is wrong with the copy."""
    r = subprocess.run([PROGRAM, "--check", copy], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False)
    wrong = []
    if r.returncode:
        wrong.append(f"--check: {r.stdout.decode()}")
    child = mount_copy(copy)
    if not child:
        return wrong + ["it does not mount"]
    try:
        got = read_copy()
        for w in writers:
            own = {i: got.get(i) for i in w.ids}
            said = w.find(begin[w.number], end[w.number], own)
            if said:
                wrong.append(said)
        change_copy()
    finally:
        subprocess.run(["umount", M2], check=False)
        if child.wait(60):
            wrong.append("its daemon failed")
    return wrong


def round_of(n, writers, copies):
    """One copy, by one program; what is wrong."""
    way = WAYS[n % len(WAYS)]
    copy = f"{S}/copy{n}"
    last = copies[-1][0] if copies else None
    begin = [w.done for w in writers]
    way(copy, last)
    end = [len(w.log) for w in writers]
    say = f"{way.__name__[3:].replace('_', '-')}"
    if way is by_link_dest and last:
        say += f", {len(shared(copy, last))} files shared"
    elif last and way is not by_cp:  # which keeps no times
        # The same once more, now against the copy before.
        again = f"{S}/again{n}"
        by_link_dest(again, copy)
        say += f", {len(shared(again, copy))} files shared by a second one"
        copies.append((again, digest(again)))
        end = [len(w.log) for w in writers]
    # What is mounted is a copy of it that shares every file: so it stays what
    # it is, and the next one can be linked against it.
    copies.append((copy, digest(copy)))
    used = f"{S}/used{n}"
    run("cp", "-al", copy, used)
    wrong = verify(used, writers, begin, end)
    for path, was in copies:
        if digest(path) != was:
            wrong.append(f"{path} was changed by mounting {used}")
    if digest(used) == copies[-1][1]:
        wrong.append("changing it did not change it")
    shutil.rmtree(used)
    while len(copies) > 4:
        shutil.rmtree(copies.pop(0)[0])
    return say, wrong


def main():
    print(f"seed {SEED}", flush=True)
    os.mkdir(M2)
    os.mkdir(C)
    with open(C + "/.config/metric", "w") as f:
        f.write("l2\n")
    stop, trouble = threading.Event(), []
    writers = [Writer(n, stop) for n in range(WRITERS)]
    dropper = threading.Thread(target=churn, args=(stop, trouble))
    for t in writers + [dropper]:
        t.start()
    copies = []
    try:
        while sum(w.done for w in writers) < 400 and not trouble:
            time.sleep(0.05)
        for n in range(ROUNDS):
            say, wrong = round_of(n, writers, copies)
            wrong += [w.trouble for w in writers if w.trouble] + trouble
            print(f"round {n + 1} ({say}): " +
                  ("nothing lost" if not wrong else "; ".join(wrong[:5])),
                  flush=True)
    finally:
        stop.set()
        for t in writers + [dropper]:
            t.join()
        if mounted(M2):
            subprocess.run(["umount", "-l", M2], check=False)
    print(f"{sum(w.done for w in writers)} operations", flush=True)


main()
