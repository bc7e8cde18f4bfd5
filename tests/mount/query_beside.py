# SPDX-License-Identifier: Apache-2.0
"""query_beside.py COLLECTION SECONDS: eight processes ask, two write.

A writer makes w0-0, w0-1, ... and removes them in the same order, so that
four numbers tell which are there: it raises one before and one after each
step. A record's vector follows from its id, so that every distance can be
checked; it is written again, and given metadata, while it is there.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import json
import math
import multiprocessing
import os
import random
import struct
import sys
import time

folder = sys.argv[1]
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
READERS, WRITERS, WINDOW, STILL = 8, 2, 60, 400
fork = multiprocessing.get_context("fork")
marks = fork.RawArray("q", 4 * WRITERS)
MAKING, MADE, REMOVING, REMOVED = range(4)
end = time.monotonic() + float(sys.argv[2])
WHAT = ("errors", "sizes", "form", "order", "distances", "deleted", "missing",
        "counts")


def vector(name):
    who, n = name[:2], int(name.split("-")[1])
    return ((n * 7) % 64, (n * 13) % 32, "stw0w1".index(who))


def write(path, body):
    with open(path, "wb", buffering=0) as f:
        f.write(body)


def writer(w, rng, wrong):
    made = removed = 0
    while time.monotonic() < end:
        if made - removed < WINDOW and (rng.random() < 0.6 or made == removed):
            marks[4 * w + MAKING] = made + 1
            name = f"w{w}-{made}"
            write(f"{folder}/{name}", struct.pack("<3f", *vector(name)))
            made += 1
            marks[4 * w + MADE] = made
        elif rng.random() < 0.7:
            marks[4 * w + REMOVING] = removed + 1
            os.unlink(f"{folder}/w{w}-{removed}")
            removed += 1
            marks[4 * w + REMOVED] = removed
        elif made > removed:
            name = f"w{w}-{rng.randrange(removed, made)}"
            if rng.random() < 0.5:
                write(f"{folder}/{name}", struct.pack("<3f", *vector(name)))
            else:
                os.setxattr(f"{folder}/{name}", "user.id", name.encode())
    return made + removed


def read_all(fd, step):
    body = b""
    while part := os.pread(fd, step, len(body)):
        body += part
    return body


class Asker:
    def __init__(self, number, rng, wrong):
        self.number, self.rng, self.wrong = number, rng, wrong
        self.run = os.open(f"{folder}/query/.run", os.O_RDWR)

    def fail(self, what, why):
        self.wrong.setdefault(what, []).append(f"{self.path}: {why}"[:300])

    def answer(self, q, params, own):
        """The bytes; the same paths for everybody, or one's own."""
        if own == "run":
            self.path = f".run {params}"
            os.pwrite(self.run, json.dumps(
                {"vector": list(q), **params}).encode(), 0)
            body = read_all(self.run, 1 << 16)
            if os.fstat(self.run).st_size not in (0, len(body)):
                self.fail("sizes", "the handle has another size")
            return body
        path = "".join(f"{w}={int(v) if w == 'exact' else v}/"
                       for w, v in params.items())
        if own == "name":
            write(f"{folder}/query/n{self.number}", struct.pack("<3f", *q))
            path += f"n{self.number}"
        else:
            path += ",".join(map(str, q))
        return self.read(path)

    def read(self, path):
        self.path = path
        path = f"{folder}/query/{path}"
        if self.rng.random() < 0.3:
            os.stat(path)
        fd = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            body = read_all(fd, self.rng.choice([500, 1 << 16]))
            if not size == len(body) == os.fstat(fd).st_size:
                self.fail("sizes", f"{size} told, {len(body)} read")
        finally:
            os.close(fd)
        return body

    def check_moment(self, ids, before, after, whole):
        """Nobody who left before is in it; all are who were there and stay."""
        for name in ids:
            if name[0] == "s":
                continue
            w, n = int(name[1]), int(name[3:])
            if n < before[4 * w + REMOVED]:
                self.fail("deleted", name)
            if n >= after[4 * w + MAKING]:
                self.fail("deleted", f"{name} was never made")
        if not whole:
            return
        there = {f"st-{i}" for i in range(STILL)}
        for w in range(WRITERS):
            there |= {f"w{w}-{n}" for n in range(after[4 * w + REMOVING],
                                                 before[4 * w + MADE])}
        if there - set(ids):
            self.fail("missing", sorted(there - set(ids))[:5])

    def check_rows(self, rows, q, params):
        ids = [r["id"] for r in rows]
        first = params.get("offset", 0) + 1
        if [r["rank"] for r in rows] != list(range(first, first + len(rows))):
            self.fail("order", "ranks")
        keys = [(r["dist"], r["id"]) for r in rows]
        if keys != sorted(keys) or len(set(ids)) != len(ids):
            self.fail("order", keys)
        for r in rows:
            if abs(math.dist(vector(r["id"]), q) - r["dist"]) > 1e-4:
                self.fail("distances", f"{r} from {q}")
            if r.get("meta", {"id": r["id"]}) != {"id": r["id"]}:
                self.fail("distances", f"another's metadata: {r}")
        return ids

    def count(self, before):
        n = int(self.read("count"))
        after = list(marks)
        low, high = STILL, STILL
        for w in range(0, 4 * WRITERS, 4):
            low += max(0, before[w + MADE] - after[w + REMOVING])
            high += after[w + MAKING] - before[w + REMOVED]
        if not low <= n <= high:
            self.fail("counts", f"{n}, not {low} to {high}")

    def one(self):
        rng = self.rng
        before = list(marks)
        dice = rng.random()
        if dice < 0.1:
            self.count(before)
            return
        if dice < 0.2:
            ids = self.read("all.ids").decode().splitlines()
            self.check_moment(ids, before, list(marks), True)
            if ids != sorted(set(ids)):
                self.fail("order", "all")
            return
        own = rng.choice(["run", "name", "path", "path"])
        q = (rng.randrange(64), rng.randrange(32), rng.randrange(4)) \
            if rng.random() < 0.5 else (3, 4, 5)  # the same for everybody
        params = {"k": rng.choice([7, 7, 50, 9000])}
        if rng.random() < 0.3:
            params["offset"] = rng.choice([1, 20])
        if rng.random() < 0.5:
            params["exact"] = True
        if rng.random() < 0.4:
            params["fmt"] = rng.choice(["json", "tsv", "f32"])
        body = self.answer(q, params, own)
        after = list(marks)
        whole = params["k"] == 9000 and "offset" not in params
        fmt = params.get("fmt")
        if fmt == "f32":
            dist = list(memoryview(body).cast("f"))
            n = len(dist)
            if dist != sorted(dist) or not all(map(math.isfinite, dist)):
                self.fail("order", dist)
        elif fmt == "tsv":
            ids = [r.split("\t")[0] for r in body.decode().splitlines()]
            n = len(ids)
            self.check_moment(ids, before, after, whole)
        else:
            rows = json.loads(body) if fmt else \
                [json.loads(r) for r in body.splitlines()]
            n = len(rows)
            self.check_moment(self.check_rows(rows, q, params), before, after,
                              whole)
        if n != params["k"] if params["k"] <= 50 else n > params["k"]:
            self.fail("missing", f"{n} rows of {params['k']}")


def reader(number, rng, wrong):
    asker = Asker(number, rng, wrong)
    n = 0
    while time.monotonic() < end:
        try:
            asker.one()
        except (ValueError, KeyError, TypeError) as e:
            asker.fail("form", f"{type(e).__name__}: {e}")
        n += 1
    os.close(asker.run)
    return n


def process(work, number, out):
    wrong, n = {}, 0
    try:
        n = work(number, random.Random(f"{SEED} {work.__name__} {number}"),
                 wrong)
    except OSError as e:
        wrong.setdefault("errors", []).append(f"{work.__name__}: {e}")
    out.send((work.__name__, n, {k: v[:3] for k, v in wrong.items()}))
    out.close()


print(f"VG_SEED={SEED}")
with open(folder + "/.import/ndjson", "w") as f:
    for i in range(STILL):
        f.write(json.dumps({"id": f"st-{i}", "vector": vector(f"st-{i}")}))
        f.write("\n")
crew = []
for work, count in ((reader, READERS), (writer, WRITERS)):
    for number in range(count):
        mine, theirs = fork.Pipe(False)
        crew.append((fork.Process(target=process,
                                  args=(work, number, theirs)), mine))
        crew[-1][0].start()
        theirs.close()
trouble, did = {}, {"reader": [], "writer": []}
for child, said in crew:
    try:
        who, n, wrong = said.recv()
        did[who].append(n)
        for what, list_ in wrong.items():
            trouble.setdefault(what, []).extend(list_)
    except EOFError:
        trouble.setdefault("errors", []).append("a process ended early")
    child.join()
print(did)
print("yes" if len(did["reader"]) == READERS and min(did["reader"]) > 5 and
      len(did["writer"]) == WRITERS and min(did["writer"]) > 5 else "no",
      "all of them come to ask and to write", sep=": ")
for what, sentence in zip(WHAT, (
        "nobody meets an error", "a handle's size is what is read from it",
        "every answer is well-formed", "ranks and distances ascend, ties by id",
        "each distance and all metadata are the record's own",
        "nothing deleted before is in an answer",
        "nothing that stays is left out", "a count is that of a moment")):
    print("no" if trouble.get(what) else "yes", sentence, sep=": ")
    for why in trouble.get(what, [])[:3]:
        print(why)
