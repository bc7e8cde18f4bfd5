# SPDX-License-Identifier: Apache-2.0
"""dtypes.py: a collection of one dtype against numpy: what is written in each
form reads back, queries find what a scan finds, also behind a restart and a
crash, exports go into another collection, and what does not fit is refused.

dtypes.py ROOT f32|f16|i8|b1 (of f32 the metric l1 alone)
"""
import base64
import io
import json
import os
import sys
import time

import numpy as np
from mounted import Collection, again, check, error_of, in_threads, seed

DTYPE = sys.argv[2]
rng = np.random.default_rng(seed())

N = 20000 if os.environ.get("VG_SOAK") == "1" else 4000
DIM = 64
# What a row is in numpy: of bits they are packed.
NUMPY = {"f32": "<f4", "f16": "<f2", "i8": "i1", "b1": "u1"}[DTYPE]
METRICS = {"f32": ["l1"], "b1": ["hamming"]}.get(
    DTYPE, ["l2", "cosine", "ip", "l1"])
ROW = {"f32": 4 * DIM, "f16": 2 * DIM, "i8": DIM, "b1": DIM // 8}[DTYPE]


def random_rows(n):
    """Around some centers, as vectors of models are."""
    centers = rng.normal(size=(40, DIM))
    x = centers[rng.integers(0, 40, n)] + rng.normal(size=(n, DIM)) / 2
    if DTYPE == "b1":
        return np.packbits(x > 0, axis=1)
    return (x if DTYPE[0] == "f" else np.clip(x * 40, -128, 127)).astype(NUMPY)


def numbers(rows):
    """Rows as float64, one for each dimension."""
    if DTYPE == "b1":
        rows = np.unpackbits(rows, axis=-1)
    return rows.astype("f8")


def distances(rows, q, metric):
    a, q = numbers(rows), numbers(q)
    return {
        "l2": lambda: np.sqrt(((a - q) ** 2).sum(1)),
        "cosine": lambda: 1 - (a @ q) / (
            np.linalg.norm(a, axis=1) * np.linalg.norm(q)),
        "ip": lambda: -(a @ q),
        "l1": lambda: np.abs(a - q).sum(1),
        "hamming": lambda: (a != q).sum(1).astype("f8"),
    }[metric]()


def npy(array):
    f = io.BytesIO()
    np.save(f, array)
    return f.getvalue()


def dists(c, path):
    return np.array([float(x) for x in c.read(f"query/{path}.dist").split()])


def close(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-6)


def settled(c, metric=None):
    for _ in range(600):
        index = c.read(".stats/index").decode()
        if (c.read(".stats/indexing") == b"0\n" and "anew: no" in index and
                (not metric or f"metric: {metric}\n" in index)):
            return True
        time.sleep(0.1)
    print(index)
    return False


def why(c):
    return c.read(".stats/last_error").decode()


# ---- what is written reads back

def write_one(c, rows):
    """The first rows in each form, by each name."""
    row = rows[0]
    c.write("raw", row.tobytes())
    c.write("npy", npy(row))
    c.write("text", ",".join(map(str, numbers(row))) + "\n")
    c.write("json", json.dumps({"vector": numbers(row).tolist(),
                                "metadata": {"a": 1}}))
    c.write("f8", npy(numbers(row)))
    c.write(".as/raw/asraw", row.tobytes())
    c.write(".as/npy/asnpy", npy(row))
    c.write(".as/json/asjson", c.read(".as/json/raw"))
    c.write(".as/txt/astxt", c.read(".as/txt/raw"))
    ids = ["raw", "npy", "text", "json", "f8", "asraw", "asnpy", "asjson",
           "astxt"]
    check(all(c.read(i) == row.tobytes() for i in ids),
          "raw, npy, text and JSON are the same bytes")
    check(all(os.stat(f"{c.path}/{i}").st_size == ROW for i in ids),
          "which is their size")
    loaded = np.load(io.BytesIO(c.read(".as/npy/text")))
    check(loaded.dtype == np.dtype(NUMPY) and (loaded == row).all(),
          f".as/npy is numpy's {NUMPY}")
    check(close(np.array(json.loads(c.read(".as/json/raw"))["vector"]),
                numbers(row)) and
          close(np.array(c.read(".as/txt/raw").split(b","), "f8"),
                numbers(row)), ".as/json and .as/txt are its numbers")
    mapped = np.memmap(f"{c.path}/raw", dtype=NUMPY, mode="r")
    check((mapped == row).all(), "it can be mapped")
    norm = float(os.getxattr(f"{c.path}/raw", "user.vecgridfs.norm"))
    check(abs(norm - np.linalg.norm(numbers(row))) <= 1e-5 * norm,
          "its norm is that of its numbers")
    for i in ids:
        os.unlink(f"{c.path}/{i}")


def writers(c):
    """Eight at once, each in all forms, each finds what it wrote."""
    rows = random_rows(8 * 40)

    def write(t):
        for i in range(t * 40, t * 40 + 40):
            c.write(f"w{i}", [rows[i].tobytes(), npy(rows[i]),
                              json.dumps(numbers(rows[i]).tolist()),
                              ",".join(map(str, numbers(rows[i])))][i % 4])
            assert c.read(f"w{i}") == rows[i].tobytes(), i
            c.write(f"query/w{t}", npy(rows[i]))
            near = dists(c, f"exact=1/k=1/w{t}")
            want = distances(rows[i:i + 1], rows[i], metric_of(c))
            assert near[0] <= want[0] + 1e-6 + 1e-6 * abs(want[0]), i

    wrong = in_threads(8, write)
    check(not wrong and all(c.read(f"w{i}") == row.tobytes()
                            for i, row in enumerate(rows)),
          f"eight write at once and find it {wrong[:1] or ''}")
    for i in range(len(rows)):
        os.unlink(f"{c.path}/w{i}")


def metric_of(c):
    return c.read(".config/metric").decode().strip()


def extremes():
    """Every element that there is, and what only looks like text."""
    e = Collection("extremes", dtype=DTYPE)
    if DTYPE == "f32":
        bits = rng.integers(0, 1 << 32, 1000).astype("u4").view("<f4")
        row = np.append(bits[np.isfinite(bits)], [0, -0.0, 1e-45])
        row = row.astype("<f4")
    elif DTYPE == "f16":
        halves = np.arange(65536, dtype="u2")
        row = halves[(halves & 0x7c00) != 0x7c00].view("<f2")
    else:
        row = np.arange(256, dtype="u1")
    e.write("all", row.tobytes())
    e.write(".as/txt/text", e.read(".as/txt/all"))
    e.write(".as/json/json", e.read(".as/json/all"))
    e.write("npy", e.read(".as/npy/all"))
    check(all(e.read(i) == row.tobytes() for i in ("all", "text", "json",
                                                   "npy")),
          "every element there is reads back from each form bit for bit")
    look = Collection("look", dtype=DTYPE, dim=DIM)
    body = (b"10,2 " * ROW)[:ROW]
    look.write("digits", body)
    check(look.read("digits") == body,
          "a raw body that looks like text is kept")


# ---- what is refused

def refusals(c, rows):
    row = numbers(rows[1])
    bad = {"f32": [1e39, -1e300], "f16": [65520, -1e300],
           "i8": [128, -129, 0.5, 1e-9], "b1": [2, -1, 0.5]}[DTYPE]
    word = {"f32": "is not finite as float32",
            "f16": "is not finite as float16",
            "i8": "is no whole number from -128 to 127",
            "b1": "is neither 0 nor 1"}[DTYPE]
    holds = True
    for x in bad:
        row[3] = x
        for body in (npy(row), json.dumps(row.tolist()),
                     ",".join(map(repr, row.tolist())) + "\n"):
            holds &= error_of(c.write, "bad", body) == "EINVAL"
            # of float32 the text is refused before it is a number
            holds &= (word if body[:1] == b"\x93" else
                      "index 3 " + word if DTYPE != "f32" else
                      "float32's range") in why(c)
    check(holds, f"what {word} is refused, with its place")
    check(not os.path.exists(f"{c.path}/bad"), "and is not there")
    if DTYPE[0] == "f":
        body = np.array([np.inf] * DIM, NUMPY).tobytes()
        sentence = "the number at index 0 is NaN or infinite"
    else:
        body = numbers(rows[1]).astype("<f4").tobytes()
        sentence = "numpy"
    check(error_of(c.write, "bad", body) == "EINVAL" and sentence in why(c),
          "so are raw bytes of another kind")
    other = "f16" if DTYPE == "f32" else "f32"
    check(error_of(c.write, ".config/dtype", other, 0) == "EBUSY" and
          f"dtype is fixed at {DTYPE}" in why(c),
          "dtype is fixed by the vectors")
    if DTYPE == "b1":
        metric, sentence = "l2", "their metric is hamming"
    else:
        metric, sentence = "hamming", "write b1 to dtype"
    check(error_of(c.write, ".config/metric", metric, 0) == "EINVAL" and
          sentence in why(c), "a metric of others is refused")
    check(c.read(".config/metric").decode().strip() == METRICS[0] and
          c.read(".config/dtype").decode().strip() == DTYPE,
          "nothing of it sticks")


# ---- queries

def queries(c, rows, metric):
    """Exact answers, and the recall of others, of raw and npy queries."""
    exact, near = True, []
    for i in range(30):
        q = rows[i * 7]
        c.write("query/q1", q.tobytes() if i % 2 else npy(q))
        want = np.sort(distances(rows, q, metric))[:10]
        exact &= close(dists(c, "k=10/exact=1/q1"), want)
        got = dists(c, "k=10/ef=100/q1")
        near.append((got <= want[-1] + 1e-6 + 1e-6 * abs(want[-1])).mean())
    check(exact, f"{metric}: exact=1 answers as numpy does")
    check(np.mean(near) >= 0.95,
          f"{metric}: the graph finds the nearest ({np.mean(near):.3f})")


def sources(c, rows, metric):
    """One question in each way of asking it."""
    q = rows[5]
    want = np.sort(distances(rows, q, metric))[:5]
    b64 = base64.urlsafe_b64encode(q.tobytes()).decode().rstrip("=")
    csv = ",".join(f"{x:g}" for x in numbers(q))
    c.write("query/t1", ",".join(map(str, numbers(q))) + "\n")
    names = ["t1", f"b64={b64}"] + ([csv] if DTYPE[0] != "f" else [])
    check(all(close(dists(c, f"exact=1/k=5/{n}"), want) for n in names),
          "text, b64 and a list in the path ask the same")
    rank = np.argsort(distances(rows, q, metric), kind="stable")
    ids = c.read("query/exact=1/k=4/id=5.dist").split()
    check(close(np.array(ids, "f8"),
                distances(rows, q, metric)[rank][1:5]),
          "id= asks with the stored vector")
    c.write("query/b1", npy(rows[:3]))
    batch = np.frombuffer(c.read("query/exact=1/k=5/b1.f32"), "<f4")
    wanted = np.concatenate([np.sort(distances(rows, r, metric))[:5]
                             for r in rows[:3]])
    check(close(batch.astype("f8"), wanted), "a batch is an .npy of rows")
    fd = os.open(f"{c.path}/query/exact=1/k=5/.run", os.O_RDWR)
    os.write(fd, rows[:3].tobytes())
    lines = [json.loads(x) for x in os.pread(fd, 1 << 20, 0).splitlines()]
    got = np.array([x["dist"] for x in lines])
    scores = np.array([x["score"] for x in lines])
    check(close(got, wanted), ".run takes raw rows")
    os.close(fd)
    if metric == "cosine":
        check(close(scores, 1 - wanted), "score is the cosine")
    else:
        check(close(scores, -wanted), "score is -dist")
    text = c.run(vector=numbers(q).tolist(), k=5, exact=True, fmt="dist")
    check(close(np.array(text.split(), "f8"), want), "and JSON")
    bad = {"f32": 1e39, "f16": 1e9, "i8": 300, "b1": 7}[DTYPE]
    x = numbers(q)
    x[2] = bad
    check(error_of(c.write, "query/t2", npy(x)) == "EINVAL"
          and "index 2" in why(c), "a query that does not fit is refused")
    path = ",".join(f"{v:g}" for v in x)
    check(error_of(c.read, f"query/{path}") == "EINVAL" and
          "number 3 is " in why(c), "also in a path")


def holds(c, rows, what):
    sample = rng.integers(0, len(rows), 50)
    check(c.size() == len(rows) and
          all(c.read(str(i)) == rows[i].tobytes() for i in sample) and
          c.read(".config/dtype").decode() == DTYPE + "\n", what)


# ---- in and out

def copies(c, rows):
    """Exports into another collection; a transaction, a snapshot, rename."""
    with open(f"{c.path}/.export/all.npy", "rb") as f:
        exported = np.load(f)
    check(exported.dtype == np.dtype(NUMPY) and (exported == rows).all(),
          ".export/all.npy is the rows")
    fvecs = np.frombuffer(c.read(".export/all.fvecs"), "<f4")
    fvecs = fvecs.reshape(len(rows), DIM + 1)
    check((fvecs[:, 0].view("<i4") == DIM).all() and
          (fvecs[:, 1:] == numbers(rows)).all(),
          ".export/all.fvecs is its numbers as floats")
    with open(f"{c.path}/.export/all.fvecs", "rb") as f:
        f.seek(4 * (DIM + 1) * 3 + 6)
        check(f.read(300) == fvecs.tobytes()[4 * (DIM + 1) * 3 + 6:][:300],
              "at any offset")
    for name, stream in (("npy", ".export/all.npy"),
                         ("fvecs", ".export/all.fvecs"),
                         ("ndjson", ".export/all.ndjson")):
        other = Collection(f"from_{name}", dtype=DTYPE)
        other.write(f".import/{name}", c.read(stream), 0)
        check(other.read(".export/all.npy") == c.read(".export/all.npy") and
              other.read(".config/dim") == f"{DIM}\n".encode(),
              f"an import of {name} makes the same collection")
    other = Collection("bad_rows", dtype=DTYPE)
    floats = numbers(rows[:5]).astype("<f4")
    floats[2, 1] = 1e6 if DTYPE != "f32" else np.inf
    error = error_of(other.write, ".import/npy", npy(floats), 0)
    check(error == "EINVAL" and other.size() == 4 and
          b"index 1" in other.read(".import/errors"),
          "a row of an import that does not fit is told, the others go in")
    os.mkdir(f"{c.path}/.snap/s")
    os.mkdir(f"{c.path}/.tx/t")
    c.write(".tx/t/0", rows[9].tobytes())
    c.write(".tx/t/new", ",".join(map(str, numbers(rows[10]))))
    os.rename(f"{c.path}/.tx/t", f"{c.path}/.tx/t.commit")
    os.rename(f"{c.path}/new", f"{c.path}/renamed")
    version = os.getxattr(f"{c.path}/renamed", "user.vecgridfs.version")
    c.write(f".if={version.decode()}/renamed", npy(rows[11]))
    check(c.read("0") == rows[9].tobytes() and
          c.read("renamed") == rows[11].tobytes(),
          "transactions, rename and .if= keep the bytes")
    check(c.read(".snap/s/0") == rows[0].tobytes() and
          close(dists(c, "snap=s/exact=1/k=3/id=0"),
                np.sort(distances(rows, rows[0], METRICS[-1]))[1:4]),
          "a snapshot has its own")
    c.write("0", rows[0].tobytes())
    os.unlink(f"{c.path}/renamed")


def main():
    rows = random_rows(N)
    if DTYPE != "b1":
        rows[numbers(rows).any(axis=1) == 0] = 1
    c = Collection("c", dtype=DTYPE, dim=DIM)
    config = json.loads(os.getxattr(c.path, "user.vecgridfs.config"))
    check(config["dtype"] == DTYPE and config["dim"] == DIM and
          (config["metric"] == "hamming") == (DTYPE == "b1"),
          "user.vecgridfs.config says so")
    if DTYPE != "b1":
        c.write(".config/metric", METRICS[0], 0)
    write_one(c, rows)
    writers(c)
    extremes()
    c.write(".import/npy", npy(rows), 0)
    refusals(c, rows)
    holds(c, rows, f"{N} rows go in")
    again("kill")
    holds(c, rows, "they are there when the daemon was killed")
    for metric in METRICS:
        c.write(".config/metric", metric, 0)
        check(settled(c, metric), f"{metric}: the rows are linked by it")
        queries(c, rows, metric)
    sources(c, rows, METRICS[-1])
    again("remount")
    holds(c, rows, "they are there when it was mounted anew")
    queries(c, rows, METRICS[-1])
    copies(c, rows)
    again("kill")
    holds(c, rows, "changes are there when the daemon was killed again")
    check(c.read(".snap/s/0") == rows[0].tobytes(), "so is the snapshot")
    c.write(".delete-where", "all", 0)
    os.rmdir(f"{c.path}/.snap/s")
    c.write(".config/dtype", "f32", 0)
    c.write(".config/metric", "l2", 0)
    c.write(".config/dim", "3", 0)
    c.write("a", "1,2,3")
    check(c.read("a") == np.array([1, 2, 3], "<f4").tobytes() and
          dists(c, "1,2,3").tolist() == [0],
          "an emptied collection takes another dtype")
    again("kill")
    check(c.read("a") == np.array([1, 2, 3], "<f4").tobytes() and
          dists(c, "1,2,3").tolist() == [0], "for good")


main()
