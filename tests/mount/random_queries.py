# SPDX-License-Identifier: Apache-2.0
"""random_queries.py COLLECTION METRIC INDEX: fills it, asks whatever the
grammar can say, and compares each answer with what numpy makes of it.

Coordinates are halves of small integers: under l2 and ip a float32 holds every
sum, so that equal distances are equal and ids decide. Under cosine two rows
may swap places where numpy sees less than 1e-6 between them.

Prints "yes: SENTENCE" or "no: SENTENCE" for each source, after the seed.
"""
import base64
import errno
import io
import json
import os
import random
import sys
import time

import numpy as np
from mounted import distances

folder, metric, index = sys.argv[1:]
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
DIM, N = 6, 260
PATHS, REQUESTS = 30, 20  # of each source
FORMATS = ["ndjson", "json", "tsv", "ids", "dist", "f32", "npy"]
ARRAYS = ["f32", "npy"]
ODD = ["a.tsv", "count", "all", "k=5", "id=r1", "two words", "\u00e9", "~",
       "other.ids", "b64=", "q", "back\\slash"]
rng = random.Random(f"{SEED} {metric} {index}")


def vectors(n):
    rows = [[rng.randint(-8, 8) / 2 for _ in range(DIM)] for _ in range(n)]
    for row in rows:
        row[rng.randrange(DIM)] = rng.choice([-3.5, 1.0])  # none is zero
    return np.array(rows, "f4")


names = [f"r{i}" for i in range(N - len(ODD))] + ODD
rng.shuffle(names)
base = vectors(N)
base[N // 2:N // 2 + 30] = base[0]  # twins: ties under any metric
metadata = [{"n": i, "s": f"\u00fc{i % 7}", "t": [i, None]} if i % 3 else
            {"n": i} if i % 2 else {} for i in range(N)]
number = {name: i for i, name in enumerate(names)}
by_id = sorted(range(N), key=lambda i: names[i].encode())


def score(dist):
    return 1 - dist if metric == "cosine" else -dist


def bound(values):
    """A number among the values and equal to none, though rounded."""
    while True:
        b = float(np.float32(rng.uniform(values.min(), values.max())))
        if np.abs(values - b).min() > 1e-5:
            return b


class Wrong(Exception):
    pass


def same(got, want, what):
    if got != want:
        raise Wrong(f"{what}: {str(got)[:200]} instead of {str(want)[:200]}")


def near(told, true, what):
    if not abs(told - true) <= 1e-5 * max(1, abs(true)):
        raise Wrong(f"{what}: {told} instead of {true}")


# ---- what is asked

def any_params(kind, dist):
    """Values by word, as JSON has them."""
    p = {}
    if rng.random() < 0.7:
        p["k"] = rng.choice([1, 2, 7, 10, 40, N - 1, N, N + 30])
    if rng.random() < 0.4:
        p["offset"] = rng.choice([0, 1, 5, 33, N - 2, N, N + 40])
    if rng.random() < 0.4:
        p["fields"] = rng.sample(["n", "s", "t", "none"], rng.randint(1, 3))
    if rng.random() < 0.3:
        p["trailer"] = rng.random() < 0.7
    if rng.random() < 0.3:
        p["threads"] = rng.choice([1, 2, 16, 256])
    for word, high in (("ef", 500), ("timeout", 3600000)):
        if rng.random() < 0.2:
            p[word] = rng.randint(high // 4, high)
    for word in ("partial", "strict"):
        if rng.random() < 0.2:
            p[word] = rng.random() < 0.5
    if dist is not None and rng.random() < 0.3:
        p["max_dist"] = bound(dist)
    if dist is not None and rng.random() < 0.3:
        p["min_score"] = bound(score(dist))
    if index == "hnsw" or rng.random() < 0.3:
        p["exact"] = True
    if kind != "count" and rng.random() < 0.8:
        p["fmt"] = rng.choice(FORMATS)
    return p


def value(word, v):
    if word == "fields":
        return ",".join(v)
    return str(int(v)) if isinstance(v, bool) else \
        repr(v) if isinstance(v, float) else str(v)


def directories(p):
    """k=5/exact=1/ in any order, some said differently before."""
    words = [f"{w}={value(w, v)}/" for w, v in p.items()]
    rng.shuffle(words)
    for word, decoy in (("k", 3), ("offset", 2), ("trailer", 1),
                        ("fmt", "tsv"), ("max_dist", -100), ("fields", "t")):
        if word in p and rng.random() < 0.2:
            words.insert(0, f"{word}={decoy}/")
    return "".join(words)


def number_text(x):
    return rng.choice(["%.1f", "%g", "%.3e", "%.7f", "%+g"]) % x


def leaf(kind, q, key):
    if kind in ("csv", "v="):
        text = ",".join(number_text(x) for x in q[0])
        return text if kind == "csv" else "v=" + text
    if kind == "b64=":
        text = base64.urlsafe_b64encode(q.tobytes()).decode()
        return "b64=" + (text if rng.random() < 0.5 else text.rstrip("="))
    if kind == "id=":
        return "id=" + key
    if kind in ("all", "count"):
        return kind
    body = q.tobytes()
    if rng.random() < 0.5:
        body = io.BytesIO()
        np.save(body, q.astype(rng.choice(["f4", "f8"])))
        body = body.getvalue()
    name = rng.choice(["q_1", "Batch-2", "_x"])
    with open(f"{folder}/query/{name}", "wb") as f:
        f.write(body)
    return name


# ---- what must come

def wanted_rows(kind, q, key, p):
    """For each vector its rows, each (number, distance), by the model."""
    k, offset = p.get("k", N if kind == "all" else 10), p.get("offset", 0)
    if kind == "all":
        return [[(i, None) for i in by_id[offset:offset + k]]]
    rows = []
    for v in q:
        d = distances(base, v, metric)
        place = [i for i in sorted(by_id, key=lambda i: d[i])
                 if names[i] != key][offset:offset + k]
        rows.append([(i, d[i]) for i in place
                     if d[i] <= p.get("max_dist", np.inf)
                     and score(d[i]) >= p.get("min_score", -np.inf)])
    return rows


def refused(kind, p):
    """Whether the combination has no meaning."""
    fmt = p.get("fmt", "ndjson")
    if kind == "count":
        return False
    if kind == "all" and fmt in ARRAYS + ["dist"]:
        return True
    return bool(p.get("trailer")) and fmt in ARRAYS


def compare_objects(objects, want, kind, p):
    flat = [(no, rank, i, d) for no, rows in enumerate(want)
            for rank, (i, d) in enumerate(rows, p.get("offset", 0) + 1)]
    same(len(objects), len(flat), "rows")
    for row, (no, rank, i, d) in zip(objects, flat):
        same(row.get("q"), no if len(want) > 1 else None, "q")
        mine = number[row["id"]]
        if kind == "all":
            same(set(row) - {"id", "meta"}, set(), "members")
        else:
            same(row["rank"], rank, "rank")
            near(row["score"], score(row["dist"]), "score")
            near(row["dist"], distances(base, asked[no], metric)[mine], "dist")
        compare_place(mine, i, no)
        meta = metadata[mine]
        if "fields" in p:
            meta = {f: meta[f] for f in p["fields"] if f in meta}
        same(row.get("meta"), meta or None, "meta")
    if kind != "all":
        compare_ties([(r.get("q"), r["dist"], r["id"]) for r in objects])


def compare_place(mine, want, no):
    if metric == "cosine" and mine != want and asked is not None:
        d = distances(base, asked[no], metric)
        if abs(d[mine] - d[want]) < 1e-6:
            return
    same(names[mine], names[want], "id")


def compare_ties(rows):
    for (q, d, name), (q2, d2, name2) in zip(rows, rows[1:]):
        if q == q2 and (d, name.encode()) >= (d2, name2.encode()):
            raise Wrong(f"{name} at {d} before {name2} at {d2}")
    same(len({(q, name) for q, _, name in rows}), len(rows), "ids once")


def compare_lines(lines, want, fmt, kind):
    """tsv, ids and dist; an empty line is between two queries' ids."""
    if fmt == "tsv":
        flat = [(no, i, d) for no, rows in enumerate(want) for i, d in rows]
        same(len(lines), len(flat), "rows")
        for line, (no, i, d) in zip(lines, flat):
            cells = line.split("\t")
            if len(want) > 1:
                same(cells.pop(0), str(no), "q")
            same(len(cells), 1 if kind == "all" else 2, "columns")
            compare_place(number[cells[0].replace("\\\\", "\\")], i, no)
            if kind != "all":
                near(float(cells[1]), d, "dist")
        return
    at = 0
    for no, rows in enumerate(want):
        if no:
            same(lines[at:at + 1], [""], "what is between")
            at += 1
        same(len(lines[at:at + len(rows)]), len(rows), "rows")
        for line, (i, d) in zip(lines[at:], rows):
            if fmt == "ids":
                compare_place(number[line.replace("\\\\", "\\")], i, no)
            else:
                near(float(line), d, "dist")
        at += len(rows)
    same(lines[at:], [], "what follows")


def compare_array(body, want, fmt, k):
    shape = (len(want), k) if len(want) > 1 else (len(want[0]),)
    if fmt == "npy":
        same(body[:8], b"\x93NUMPY\x01\x00", "magic")
        told = np.load(io.BytesIO(body))
        same((told.dtype.str, told.shape), ("<f4", shape), "dtype and shape")
        body = body[128:]
    same(len(body), 4 * int(np.prod(shape)), "bytes")
    told = np.frombuffer(body, "<f4").reshape(len(want), -1)
    for row, rows in zip(told, want):
        for got, (_, d) in zip(row, rows):
            near(got, d, "dist")
        same(bool(np.isnan(row[len(rows):]).all()), True, "NaN behind")


def compare(body, kind, q, key, p):
    fmt = p.get("fmt", "ndjson")
    if kind == "count":
        same(body, b"%d\n" % N, "count")
        return
    want = wanted_rows(kind, q, key, p)
    if fmt in ARRAYS:
        compare_array(body, want, fmt, p.get("k", 10))
        return
    if fmt == "json":
        lines = json.loads(body)
    else:
        same(body[-1:] in (b"", b"\n"), True, "the last line ends")
        lines = body.decode().split("\n")[:-1]
    if fmt == "ndjson":
        lines = [json.loads(line) for line in lines]
    if p.get("trailer"):
        last = lines.pop() if lines else None
        same(last if isinstance(last, dict) else json.loads(last),
             {"partial": False, "rows": sum(map(len, want))}, "trailer")
    if fmt in ("ndjson", "json"):
        compare_objects(lines, want, kind, p)
    else:
        compare_lines(lines, want, fmt, kind)


# ---- asking

def read_all(fd):
    body, step = b"", rng.choice([100, 4096, 1 << 20])
    while part := os.pread(fd, step, len(body)):
        body += part
    return body


def ask_path(kind, q, key, p):
    said = dict(p)
    end = ""
    if "fmt" in p and kind != "count" and rng.random() < 0.6:
        end = "." + said.pop("fmt")
        if rng.random() < 0.2:
            said["fmt"] = rng.choice(FORMATS)
    path = f"query/{directories(said)}{leaf(kind, q, key)}{end}"
    told.append(path)
    size = os.stat(f"{folder}/{path}").st_size if rng.random() < 0.3 else None
    fd = os.open(f"{folder}/{path}", os.O_RDONLY)
    try:
        body = read_all(fd)
        same(os.fstat(fd).st_size, len(body), "size of the handle")
        same(size in (None, len(body)), True, "size of the path")
    finally:
        os.close(fd)
    return body


def ask_run(kind, q, key, p):
    """The innermost wins: the request says it after the path."""
    inner = {} if kind == "raw" else \
        {w: v for w, v in p.items() if rng.random() < 0.6}
    outer = {w: v for w, v in p.items() if w not in inner}
    if kind == "raw":
        body = q.tobytes()
    else:
        body = list(inner.items())
        if key is not None:
            body.append(("id", key))
        elif len(q) > 1 or rng.random() < 0.3:
            body.append(("vectors", q.tolist()))
        else:
            body.append(("vector", q[0].tolist()))
        rng.shuffle(body)
        body = json.dumps(dict(body), ensure_ascii=rng.random() < 0.5).encode()
    path = f"query/{directories(outer)}.run"
    told.append(f"{path} {body}")
    fd = os.open(f"{folder}/{path}", os.O_RDWR)
    try:
        for _ in range(2):  # a handle asks again
            os.pwrite(fd, body, 0)
            answer = read_all(fd)
    finally:
        os.close(fd)
    return answer


def one(kind):
    """Asks once; says what was wrong."""
    global asked
    key, q, dist = None, None, None
    if kind == "id=" or (kind == "json" and rng.random() < 0.3):
        key = rng.choice(names)
        q = base[number[key]:number[key] + 1]
    elif kind not in ("all", "count"):
        q = vectors(rng.randint(2, 5) if kind == "batch" else
                    rng.randint(1, 3) if kind in ("json", "raw") else 1)
    if q is not None:
        dist = np.concatenate([distances(base, v, metric) for v in q])
    asked = q
    p = any_params(kind, dist)
    told.clear()
    try:
        ask = ask_run if kind in ("json", "raw") else ask_path
        try:
            body = ask(kind, q, key, p)
        except OSError as e:
            if not refused(kind, p) or e.errno != errno.EINVAL:
                raise Wrong(f"{e.strerror}") from e
            return None
        same(refused(kind, p), False, "refused")
        compare(body, kind, q, key, p)
    except (Wrong, ValueError, KeyError, TypeError) as e:
        return f"{told} asked: {type(e).__name__} {e}"
    return None


asked, told = None, []
print(f"VG_SEED={SEED}")
with open(folder + "/.import/ndjson", "w", encoding="utf-8") as f:
    for name, v, meta in zip(names, base, metadata):
        row = {"id": name, "vector": v.tolist()}
        f.write(json.dumps(row | ({"metadata": meta} if meta else {})) + "\n")
for kind, count, sentence in (
        ("csv", PATHS, "numbers as a name"), ("v=", PATHS, "v="),
        ("b64=", PATHS, "b64="), ("id=", PATHS, "id="),
        ("name", PATHS, "a named vector"), ("batch", PATHS, "a named batch"),
        ("all", PATHS, "all"), ("count", PATHS, "count"),
        ("json", REQUESTS, "JSON written to .run"),
        ("raw", REQUESTS, "bytes written to .run")):
    wrong = [w for w in (one(kind) for _ in range(count)) if w]
    print(f"{'no' if wrong else 'yes'}: {index} {metric}: {sentence} "
          "answers as the model says")
    for w in wrong[:3]:
        print(w)
if sorted(os.listdir(folder)) == sorted(names):
    print("yes: and asking left nothing in the collection")
else:
    print("no: and asking left nothing in the collection")
