# SPDX-License-Identifier: Apache-2.0
"""beside.py SECONDS: writers, readers, searchers and listers in one mount.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import json
import os
import random
import struct
import sys
import threading
import time

M = os.environ["M"]
C = M + "/busy"
DIM, IDS = 16, 50
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
end = time.monotonic() + float(sys.argv[1])
trouble = {}
done = {}


def vector(value):
    return struct.pack(f"<{DIM}f", *(value + i for i in range(DIM)))


def whole(data):
    return len(data) == 4 * DIM and \
        data == vector(struct.unpack("<f", data[:4])[0])


def read(path):
    with open(path, "rb") as f:
        return f.read()


def fail(who, what):
    trouble.setdefault(who, []).append(what)


def writer(number, rng):
    """Owns its ids; knows what they hold."""
    mine = {}
    while time.monotonic() < end:
        name = f"w{number}-{rng.randrange(IDS)}"
        dice = rng.random()
        if name not in mine or dice < 0.5:
            value = rng.randrange(1 << 20)
            with open(f"{C}/{name}", "wb") as f:
                f.write(vector(value))
            mine[name] = value
        elif dice < 0.7:
            os.unlink(f"{C}/{name}")
            del mine[name]
        elif dice < 0.85:
            os.setxattr(f"{C}/{name}", "user.v", b"%d" % mine[name])
        else:
            to = f"w{number}-{rng.randrange(IDS)}"
            os.rename(f"{C}/{name}", f"{C}/{to}")
            mine[to] = mine.pop(name) if to != name else mine[name]
        if name in mine and read(f"{C}/{name}") != vector(mine[name]):
            fail("writers", f"{name} does not hold what was written")
        done["ops"] = done.get("ops", 0) + 1
    final.update(mine)


def reader(_, rng):
    while time.monotonic() < end:
        name = f"w{rng.randrange(3)}-{rng.randrange(IDS)}"
        try:
            data = read(f"{C}/{name}")
            if data and not whole(data):  # nothing yet: being created
                fail("readers", f"{name} is a mixture: {len(data)} bytes")
        except FileNotFoundError:
            pass


def searcher(number, rng):
    while time.monotonic() < end:
        value = rng.randrange(1 << 20)
        how = "" if number % 2 else "exact=1/"
        with open(f"{C}/query/s{number}", "wb") as f:
            f.write(vector(value))
        path = f"{C}/query/k=7/{how}s{number}"
        size = os.stat(path).st_size if rng.random() < 0.3 else None
        rows = [json.loads(r) for r in read(path).splitlines()]
        dist = [r["dist"] for r in rows]
        if dist != sorted(dist) or len({r["id"] for r in rows}) != len(rows):
            fail("searchers", f"{rows}")
        done["searches"] = done.get("searches", 0) + 1
        if size is not None and size < 0:
            fail("searchers", "a negative size")


def lister(_, rng):
    while time.monotonic() < end:
        names = os.listdir(C)
        if len(set(names)) != len(names):
            fail("listers", "a name twice")
        for line in read(f"{C}/.export/all.ndjson").splitlines():
            v = json.loads(line)["vector"]
            if not whole(struct.pack(f"<{DIM}f", *v)):
                fail("listers", line[:80])
        rng.random()


def builder(number, rng):
    n = 0
    while time.monotonic() < end:
        n += 1
        path = f"{M}/b{number}-{n}"
        os.mkdir(path)
        for i in range(3):
            with open(f"{path}/{i}", "wb") as f:
                f.write(vector(i))
        os.symlink(os.path.basename(path), f"{M}/.l{number}")
        os.rename(f"{M}/.l{number}", f"{M}/live{number}")
        if read(f"{M}/live{number}/2") != vector(2):
            fail("builders", "an alias misleads")
        os.rename(path, path + "x")
        with open(path + "x/.delete-where", "w") as f:
            f.write("all\n")
        os.rmdir(path + "x")
    os.unlink(f"{M}/live{number}")


def guard(who, work, number):
    try:
        work(number, random.Random(f"{SEED} {who} {number}"))
    except Exception as e:  # pylint: disable=broad-except
        fail(who, f"{type(e).__name__}: {e}")


def say(who, sentence):
    print("no" if trouble.get(who) else "yes", sentence, sep=": ")
    for what in trouble.get(who, [])[:3]:
        print(what)


final = {}
os.mkdir(C)
with open(C + "/.config/metric", "w") as f:
    f.write("l2\n")
crew = [("writers", writer, 3), ("readers", reader, 2),
        ("searchers", searcher, 2), ("listers", lister, 1),
        ("builders", builder, 1)]
threads = [threading.Thread(target=guard, args=(who, work, n))
           for who, work, count in crew for n in range(count)]
print(f"seed {SEED}")
for t in threads:
    t.start()
for t in threads:
    t.join()
print(done)
say("writers", "writers read what they wrote")
say("readers", "readers never see a mixture")
say("searchers", "answers are in order and name each row once")
say("listers", "listings and exports are whole")
say("builders", "collections come and go")
wrong = [n for n, v in final.items() if read(f"{C}/{n}") != vector(v)]
print("no" if wrong else "yes", "in the end each vector is as it was left",
      sep=": ")
print("yes" if sorted(os.listdir(C)) == sorted(final) else "no",
      "and there are no others", sep=": ")
