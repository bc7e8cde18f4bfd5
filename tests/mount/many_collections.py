# SPDX-License-Identifier: Apache-2.0
"""many_collections.py: 300 collections in a mount, against a dictionary.

Driven by drive.sh: prints "yes: SENTENCE" or "no: SENTENCE" for each thing
that must hold and "remount" for a new mount. VG_SEED repeats a run.
"""
import errno
import json
import math
import os
import random
import struct
import sys
import time

ROOT = sys.argv[1]
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
METRICS = ["l2", "cosine", "ip"]
ROWS = 7
rng = random.Random(SEED)
model = {}  # name -> (dim, metric, {id: vector})


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


def path(*parts):
    return os.path.join(ROOT, *parts)


def vector(dim):
    """Numbers that float32 holds exactly, and never all zero."""
    return [rng.randrange(1, 4096) / 64 * rng.choice([1, 1, -1])
            for _ in range(dim)]


def text(name):
    with open(path(name)) as f:
        return f.read().strip()


def put(name, data):
    with open(path(name), "wb") as f:
        f.write(data)


def dist(metric, a, b):
    dot = sum(x * y for x, y in zip(a, b))
    if metric == "l2":
        return math.dist(a, b)
    if metric == "ip":
        return -dot
    return 1 - dot / math.hypot(*a) / math.hypot(*b)


def make(name, dim, metric):
    os.mkdir(path(name))
    put(f"{name}/.config/metric", metric.encode())
    rows = {f"r{i}": vector(dim) for i in range(ROWS)}
    put(f"{name}/.import/ndjson", b"".join(
        json.dumps({"id": i, "vector": v}).encode() + b"\n"
        for i, v in rows.items() if i != "r0"))
    put(f"{name}/r0", struct.pack(f"<{dim}f", *rows["r0"]))
    model[name] = (dim, metric, rows)


def is_right(name):
    """Whether a collection is what the model says, by five of its doors."""
    dim, metric, rows = model[name]
    if sorted(os.listdir(path(name))) != sorted(rows):
        return False
    if text(f"{name}/.stats/count") != str(len(rows)):
        return False
    if rows and (text(f"{name}/.config/dim"),
                 text(f"{name}/.config/metric")) != (str(dim), metric):
        return False
    for i, v in rows.items():
        with open(path(name, i), "rb") as f:
            if f.read() != struct.pack(f"<{dim}f", *v):
                return False
    return not rows or answers(name)


def answers(name):
    """Whether the k nearest are the k nearest, in order, near ties aside."""
    dim, metric, rows = model[name]
    q = vector(dim)
    fd = os.open(path(name, "query/.run"), os.O_RDWR)
    os.write(fd, json.dumps({"vector": q, "k": 4}).encode())
    got = [json.loads(r) for r in os.pread(fd, 65536, 0).splitlines()]
    os.close(fd)
    true = {i: dist(metric, q, v) for i, v in rows.items()}
    best = sorted(true.values())[:4]
    close = 1e-5 * (1 + max(abs(d) for d in best))
    return (len(got) == len(best)
            and len({r["id"] for r in got}) == len(got)
            and all(abs(true[r["id"]] - d) <= close
                    and abs(r["dist"] - d) <= close
                    for r, d in zip(got, best)))


def check(sentence):
    wrong = [n for n in model if not is_right(n)]
    listed = sorted(os.listdir(ROOT)) == sorted(model)
    say(not wrong and listed, sentence)
    if wrong or not listed:
        print("wrong:", wrong[:5], "listed:", listed, "VG_SEED:", SEED)


def remount():
    print("remount", flush=True)
    sys.stdin.readline()


def drop(name):
    for i in model.pop(name)[2]:
        os.unlink(path(name, i))
    os.rmdir(path(name))


def refusal(call, *args):
    try:
        call(*args)
    except OSError as e:
        return e.errno
    return 0


print(f"seed {SEED}")
for n in range(300):
    make(f"c{n}", 1 + n % 40, METRICS[n % 3])
check("300 collections of 40 dimensions and three metrics are right")
inodes = {os.stat(path(n)).st_ino for n in model}
say(len(inodes) == 300, "each has its own inode")
say(len({os.stat(path(n, "r0")).st_ino for n in model}) == 300,
    "and so has the same id in each")
say({e.name for e in os.scandir(ROOT) if e.is_dir(follow_symlinks=False)}
    == set(model), "each is a directory")
say({refusal(put, f"c{n}/bad", b"1.000000," * (n % 40 + 1) + b"1\n")
     for n in range(300)} == {errno.EINVAL},
    "each refuses a vector of another dimension")
say({refusal(os.mkdir, path(n)) for n in model} == {errno.EEXIST},
    "no name is given twice")
say({refusal(os.rmdir, path(n)) for n in model} == {errno.ENOTEMPTY},
    "none is removed while it is filled")
say({refusal(os.rename, path(f"c{n}/r0"), path(f"c{n + 1}/r0"))
     for n in range(299)} == {errno.EXDEV}, "no vector moves between them")
check("and all that changed nothing")

for n in range(0, 300, 3):
    os.rename(path(f"c{n}"), path(f"renamed {n}"))
    model[f"renamed {n}"] = model.pop(f"c{n}")
check("a hundred renamed keep what they had")
say(all(refusal(os.stat, path(f"c{n}")) == errno.ENOENT
        for n in range(0, 300, 3)), "under the new names only")
say({os.stat(path(n)).st_ino for n in model} == inodes,
    "and are the same directories")
for n in range(0, 300, 6):  # in a ring of three names
    a, b = f"renamed {n}", f"c{n + 1}"
    os.rename(path(a), path("between"))
    os.rename(path(b), path(a))
    os.rename(path("between"), path(b))
    model[a], model[b] = model[b], model[a]
check("fifty pairs that exchange their names exchange what they hold")

fd = os.open(path("c2/r1"), os.O_RDONLY)
kept = model["c2"][2]["r1"]
for n in range(2, 300, 3):
    drop(f"c{n}")
check("a hundred dropped, the others are as before")
say(os.pread(fd, 999, 0) == struct.pack("<3f", *kept),
    "a handle into one that was dropped still reads")
os.close(fd)
for n in range(2, 300, 6):
    make(f"c{n}", 41 + n % 7, METRICS[(n + 1) % 3])
check("fifty of their names are taken by others of other dimensions")

remount()
check("all of that outlives a remount")
for name, (dim, _, rows) in model.items():
    os.unlink(path(name, "r3"))
    del rows["r3"]
    rows["new"] = vector(dim)
    put(f"{name}/new", struct.pack(f"<{dim}f", *rows["new"]))
    rows["r1"] = vector(dim)
    put(f"{name}/r1", json.dumps(rows["r1"]).encode())
check("each takes a removal, a new one and a replacement")
remount()
check("which outlive another one")
for name in list(model):
    drop(name)
say(os.listdir(ROOT) == ["README"], "all dropped, the root is empty again")
make("c0", 5, "ip")
remount()
check("and after a remount only what was made since is there")
