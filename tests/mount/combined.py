# SPDX-License-Identifier: Apache-2.0
"""combined.py: of each dtype what streams, filters, like=, repair and the tuned
recall make of its vectors, against numpy.

combined.py ROOT
"""
import json
import os
import time

import numpy as np
from mounted import Collection, again, check, error_of, seed

rng = np.random.default_rng(seed())

N = 12000 if os.environ.get("VG_SOAK") == "1" else 3000
DIM = 64
METRIC = {"f16": "cosine", "i8": "l2", "b1": "hamming"}


def random_numbers(dtype, n):
    """float64 that are elements of the dtype."""
    x = rng.normal(size=(n, DIM)) * np.linspace(3, .1, DIM)
    if dtype == "b1":
        return (x > 0).astype("f8")
    if dtype == "i8":
        return np.clip(np.round(x * 40), -128, 127) + 0.  # not -0
    return x.astype("<f2").astype("f8")


def packed(dtype, x):
    if dtype == "b1":
        return np.packbits(x.astype("u1"), axis=-1)
    return x.astype({"f16": "<f2", "i8": "i1"}[dtype])


def distances(a, q, metric):
    if metric == "l2":
        return np.sqrt(((a - q) ** 2).sum(1))
    if metric == "hamming":
        return (a != q).sum(1).astype("f8")
    return 1 - (a @ q) / (np.linalg.norm(a, axis=1) * np.linalg.norm(q))


def csv(x, names=None):
    """Columns in an order of their own, and one of metadata."""
    order = rng.permutation(DIM)
    lines = ["id," + ",".join(f"v{i}" for i in order) + ",n"]
    for i, row in enumerate(x):
        name = names[i] if names is not None else i
        lines.append(f"{name}," + ",".join(f"{row[j]:.17g}" for j in order) +
                     f",{i % 4}")
    return "\n".join(lines) + "\n"


def dists(c, path):
    return np.array([float(x) for x in c.read(f"query/{path}.dist").split()])


def close(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-6)


def told(c, name, key):
    """A line of .stats/NAME's first paragraph."""
    text = c.read(f".stats/{name}").decode().split("\n\n")[0]
    return dict(x.split(": ", 1) for x in text.splitlines()).get(key)


def wait(is_so, what):
    for _ in range(600):
        if is_so():
            return True
        time.sleep(.1)
    print(what())
    return False


def linked(c, n):
    return wait(lambda: c.read(".stats/indexing") == b"0\n" and
                told(c, "index", "linked") == str(n),
                lambda: c.read(".stats/index").decode())


def recall(c, how, live):
    """Of 40 queries, by distance."""
    right = []
    for i in rng.choice(live, 40, replace=False):
        want = dists(c, f"exact=1/{how}id={i}")
        got = dists(c, f"{how}id={i}")
        right.append((got <= want[-1] + 1e-6).mean())
    return np.mean(right)


def streams(c, dtype, x):
    c.write(".import/csv", csv(x), 0)
    check(c.size() == N and all(
        c.read(str(i)) == packed(dtype, x[i]).tobytes()
        for i in rng.choice(N, 100)), f"{dtype}: a CSV is its vectors")
    bad = x[:3].copy()
    bad[1, 7] = {"f16": 65520, "i8": 1.5, "b1": 2}[dtype]
    other = Collection(dtype + "_bad", dtype=dtype)
    check(error_of(other.write, ".import/csv", csv(bad), 0) == "EINVAL" and
          other.size() == 2 and b"the number in v7 is " in
          other.read(".import/errors"),
          f"{dtype}: a number that does not fit is told with its column")
    small = x % 2 if dtype == "b1" else np.abs(x.astype("i4")) % 128
    rows = np.empty((50, DIM + 4), "u1")
    rows[:, :4] = np.array([DIM], "<i4").view("u1")
    rows[:, 4:] = small[:50]
    other = Collection(dtype + "_bvecs", dtype=dtype)
    other.write(".import/bvecs", rows.tobytes(), 0)
    check(other.size() == 50 and all(
        other.read(str(i)) == packed(dtype, small[i]).tobytes()
        for i in range(50)), f"{dtype}: bvecs are numbers of it")
    rows[9, 20] = 200
    other = Collection(dtype + "_large", dtype=dtype)
    error = error_of(other.write, ".import/bvecs", rows.tobytes(), 0)
    check((error, other.size()) == (("", 50) if dtype == "f16" else
                                    ("EINVAL", 49)),
          f"{dtype}: of bvecs too, what does not fit is refused")
    vec = c.read(".export/all.vec")
    head = np.frombuffer(vec[:24], "<u4")
    got = np.frombuffer(vec[24:], "<f4").reshape(N, DIM)
    check(head.tolist() == [0x56454354, 1, N, 0, DIM, 0] and
          sorted(map(bytes, got)) == sorted(map(bytes, x.astype("<f4"))),
          f"{dtype}: all.vec has them as float32")
    with open(f"{c.path}/.export/all.vec", "rb") as f:
        f.seek(24 + 4 * DIM * 5 + 7)
        check(f.read(999) == vec[24 + 4 * DIM * 5 + 7:][:999],
              f"{dtype}: at any offset")


def like(c, dtype, x):
    if dtype == "b1":
        check(error_of(c.read, "query/like=1,-2") == "EINVAL" and
              "have no sum" in c.read(".stats/last_error").decode(),
              "b1: like= is refused")
        return
    holds = True
    for _ in range(10):
        a, b, d = rng.choice(N, 3, replace=False)
        total = [x[i] / (np.linalg.norm(x[i]) if dtype == "f16" else 1)
                 for i in (a, b, d)]
        total = total[0] - total[1] + total[2]
        total = (np.clip(np.round(total), -128, 127) if dtype == "i8" else
                 total.astype("<f2").astype("f8"))
        rest = np.delete(x, [a, b, d], axis=0)
        want = np.sort(distances(rest, total, METRIC[dtype]))[:8]
        got = dists(c, f"exact=1/k=8/like={a},-{b},+{d}")
        holds &= got.shape == want.shape and np.allclose(got, want, atol=2e-3)
    check(holds, f"{dtype}: like= asks for what is near the sum")


def tuned(c, dtype, x):
    """Queries between the rows."""
    q = packed(dtype, x[rng.permutation(N)[:400]])
    if dtype != "b1":
        q[:, ::3] = packed(dtype, x[:400])[:, ::3]
    else:
        q[:, ::3] ^= 5
    with open(f"{c.path}/query/b", "wb") as f:
        np.save(f, q)
    c.read("query/k=10/b.ids")
    check(wait(lambda: told(c, "recall", "recall") != "unknown",
               lambda: c.read(".stats/recall").decode()) and
          int(told(c, "recall", "sampled")) > 77 and
          told(c, "recall", "ef_why").startswith("auto: the smallest") and
          float(told(c, "recall", "low")) >= .99,
          f"{dtype}: ef is tuned: {told(c, 'recall', 'ef')}")
    want = np.reshape(dists(c, "k=10/exact=1/b"), (-1, 10)).astype("f8")
    got = np.reshape(dists(c, "k=10/b"), (-1, 10)).astype("f8")
    right = got <= want[:, 9:] + 1e-6
    check(got.shape == (400, 10) and np.mean(right) >= .98,
          f"{dtype}: and finds what is wanted ({np.mean(right):.4f})")


def repaired(c, dtype, x):
    """A third is written anew, and leaves the graph."""
    which = rng.permutation(N)[:N // 3]
    x[which] = random_numbers(dtype, len(which))
    c.write(".import/csv", csv(x[which], which), 0)
    check(linked(c, N), f"{dtype}: what was overwritten leaves the graph")
    found = recall(c, "k=10/ef=100/", np.arange(N))
    check(found >= .95, f"{dtype}: the others are found ({found:.3f})")


def filtered(c, dtype):
    """So many match that a walk looks for them, and so few that it does not."""
    found = recall(c, "k=10/ef=100/n.in=0,1/", np.arange(N))
    check(found >= .95, f"{dtype}: among half of them ({found:.3f})")
    ids = c.read("query/exact=1/k=9/n.eq=3/id=7.ids").split()
    check(len(ids) == 9 and all(
        json.loads(c.read(f".meta/{i.decode()}"))["n"] == 3 for i in ids),
        f"{dtype}: a filter is kept to")


def main():
    all_of = {}
    for dtype in METRIC:
        x = random_numbers(dtype, N)
        c = Collection(dtype, dtype=dtype, metric=METRIC[dtype], m=8)
        all_of[dtype] = c, x
        streams(c, dtype, x)
        check(linked(c, N), f"{dtype}: the rows are linked")
        check(error_of(c.write, ".config/index", "ivf_pq", 0) == "EINVAL" and
              "is for dtype f32" in c.read(".stats/last_error").decode(),
              f"{dtype}: index ivf_pq is refused")
        filtered(c, dtype)
        like(c, dtype, x)
        tuned(c, dtype, x)
        repaired(c, dtype, x)
    again("kill")
    for dtype, (c, x) in all_of.items():
        check(linked(c, N) and all(
            c.read(str(i)) == packed(dtype, x[i]).tobytes()
            for i in rng.choice(N, 100)),
            f"{dtype}: it is there when the daemon was killed")
    again("remount")
    for dtype, (c, x) in all_of.items():
        found = recall(c, "k=10/ef=100/", np.arange(N))
        check(found >= .95 and linked(c, N),
              f"{dtype}: and when it was mounted anew ({found:.3f})")


main()
