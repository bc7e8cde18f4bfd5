# SPDX-License-Identifier: Apache-2.0
"""kill_rounds.py ROUNDS: kills the daemon under writers, again and again.

Each writer owns its ids and remembers, per id, the state that was last
acknowledged and the one that was asked for when the daemon died. After the
next mount each id must be in one of the two. The journal is this program's
memory: it outlives the daemon. Environment: VECGRIDFS, M, D, S, VG_SEED.
"""
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

PROGRAM, M, D, S = (os.environ[v] for v in ("VECGRIDFS", "M", "D", "S"))
ROUNDS = int(sys.argv[1])
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
WRITERS, IDS, DIM = 8, 40, 32
C = M + "/c"
GONE = None  # the state of an id that is not there


def vector(value):
    """DIM floats that tell value and a mixture of two values apart."""
    return struct.pack(f"<{DIM}f", *(value + i / 64 for i in range(DIM)))


class Writer:
    """One thread's ids: acked[id] and, while a call is under way, asked."""

    def __init__(self, number):
        self.rng = random.Random(f"{SEED} {number}")
        self.ids = [f"w{number}-{i}" for i in range(IDS)]
        self.acked = {i: GONE for i in self.ids}
        self.asked = {}
        self.clock = number * 1000
        self.ops = 0
        self.trouble = None

    def put(self, name, value, meta):
        form = self.rng.randrange(3)
        self.asked = {name: (value, meta if form < 2 else None)}
        if form < 2:
            # in place: metadata stays
            with open(f"{C}/{name}", "wb", buffering=0) as f:
                f.write(vector(value))
            return
        with open(f"{C}/.{name}", "wb", buffering=0) as f:
            f.write(vector(value))
        os.rename(f"{C}/.{name}", f"{C}/{name}")

    def step(self):
        self.clock += 1
        name = self.rng.choice(self.ids)
        old = self.acked[name]
        dice = self.rng.random()
        if old is GONE or dice < 0.45:
            self.put(name, self.clock % 100000, old and old[1])
        elif dice < 0.65:
            self.asked = {name: GONE}
            os.unlink(f"{C}/{name}")
        elif dice < 0.85:
            self.asked = {name: (old[0], self.clock)}
            os.setxattr(f"{C}/{name}", "user.n", str(self.clock).encode())
        else:
            to = self.rng.choice(self.ids)
            if to == name:
                return
            self.asked = {name: GONE, to: old}
            os.rename(f"{C}/{name}", f"{C}/{to}")
        self.acked.update(self.asked)
        self.asked = {}
        self.ops += 1

    def work(self, dead):
        self.asked = {}
        try:
            while True:
                self.step()
        except OSError as e:
            if not dead.is_set():
                self.trouble = f"{self.asked}: {e}"


def start(*options):
    with open(S + "/log", "ab") as log:
        child = subprocess.Popen([PROGRAM, D, M, "-f", *options],
                                 stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log)
    with open(S + "/holder", "w") as f:
        f.write(str(child.pid))
    return child


def mount(*options):
    child = start(*options)
    while not mounted():
        if child.poll() is not None:
            raise SystemExit(f"vecgridfs ended with {child.returncode}")
        time.sleep(0.01)
    os.stat(C if os.path.exists(C) else M)
    return child


def mounted():
    with open("/proc/self/mounts") as f:
        return any(line.split()[1] == M for line in f)


def kill(child):
    child.send_signal(signal.SIGKILL)
    child.wait()


def state(name):
    try:
        with open(f"{C}/{name}", "rb") as f:
            data = f.read()
    except FileNotFoundError:
        return GONE
    if len(data) == 0:
        return GONE  # an empty staged name is no record
    value = struct.unpack("<f", data[:4])[0]
    if data != vector(value):
        return "a mixture"
    with open(f"{C}/.meta/{name}") as f:
        return value, json.load(f).get("n")


def verify(writers):
    """A list of sentences: what is wrong after the mount."""
    wrong = []
    listed = set(os.listdir(C))
    with open(C + "/query/all.ids") as f:
        answered = set(f.read().split())
    with open(C + "/.export/ids") as f:
        exported = set(f.read().split())
    truth = set()
    for w in writers:
        moved = list(w.asked)
        now = {i: state(i) for i in w.ids}
        for i in w.ids:
            allowed = [w.acked[i]]
            if i in w.asked:
                allowed.append(w.asked[i])
            if now[i] not in allowed:
                wrong.append(f"{i} is {now[i]}, not one of {allowed}")
            if now[i] is not GONE:
                truth.add(i)
        if len(moved) == 2:  # a rename is one step: both or none
            done = [now[i] == w.asked[i] for i in moved]
            kept = [now[i] == w.acked[i] for i in moved]
            if not all(done) and not all(kept):
                wrong.append(f"half a rename: {moved}")
        w.acked = now
        w.asked = {}
    for what, got in (("the listing", listed), ("query/all", answered),
                      (".export/ids", exported)):
        if got != truth:
            wrong.append(f"{what} has {sorted(got - truth)[:5]} too many, "
                         f"lacks {sorted(truth - got)[:5]}")
    with open(C + "/.stats/count") as f:
        if int(f.read()) != len(truth):
            wrong.append("the count is not the number of ids")
    for w in writers:
        for i in w.ids[:3]:
            value = w.acked[i][0] if w.acked[i] else 5
            with open(C + "/query/q1", "wb", buffering=0) as f:
                f.write(vector(value))
            with open(C + "/query/k=20/q1.ids") as f:
                got = f.read().split()
            for ghost in set(got) - truth:
                wrong.append(f"the deleted {ghost} is in an answer")
            if w.acked[i]:
                with open(C + "/query/k=1/max_dist=0.001/q1.ids") as f:
                    near = f.read().split()
                if not near:
                    wrong.append(f"{i} is not found by its own vector")
    return wrong


def main():
    print(f"seed {SEED}", flush=True)
    rng = random.Random(SEED)
    writers = [Writer(n) for n in range(WRITERS)]
    child = mount()
    os.mkdir(C)
    with open(C + "/.config/metric", "w") as f:
        f.write("l2\n")
    ops = 0
    for n in range(1, ROUNDS + 1):
        dead = threading.Event()
        threads = [threading.Thread(target=w.work, args=(dead,))
                   for w in writers]
        for t in threads:
            t.start()
        time.sleep(rng.uniform(0.02, 0.6))
        dead.set()
        kill(child)
        for t in threads:
            t.join()
        subprocess.run(["umount", "-l", M], check=False)
        child = mount()
        wrong = [f"before the kill: {w.trouble}" for w in writers if w.trouble]
        wrong += verify(writers)
        for w in writers:
            w.trouble = None
        done = sum(w.ops for w in writers) - ops
        ops += done
        print(f"round {n} ({done} operations): " +
              ("nothing lost" if not wrong else "; ".join(wrong[:6])),
              flush=True)
    os.unlink(S + "/holder")
    subprocess.run(["umount", M], check=True)
    if child.wait(60):
        raise SystemExit(f"vecgridfs ended with {child.returncode}")


if __name__ == "__main__":
    main()
