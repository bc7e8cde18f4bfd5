# SPDX-License-Identifier: Apache-2.0
"""recall.py COLLECTION PREFIX [single|change|oracle|overwritten]: recall@10.

PREFIX_{base,query}.fvecs and PREFIX_gt100.ivecs are the data. `change` moves
the first 30 % of the rows a little and deletes the next 30 %; `oracle` then
computes the truth itself; `overwritten` asks for those rows by their own new
vectors.
"""
import os
import sys

import numpy as np

folder, prefix = sys.argv[1:3]
how = sys.argv[3] if len(sys.argv) > 3 else "batch"


def load(name, dtype):
    a = np.fromfile(name, "<i4")
    return a.reshape(-1, a[0] + 1)[:, 1:].view(dtype)


base = load(prefix + "_base.fvecs", "<f4").copy()
asked = load(prefix + "_query.fvecs", "<f4")[:200]
truth = load(prefix + "_gt100.ivecs", "<i4")[:200, :10]
n = len(base)
cut = n * 3 // 10
alive = np.ones(n, bool)
if how in ("change", "oracle", "overwritten"):
    base[:cut] = base[cut - 1::-1] + 1
    alive[cut:2 * cut] = False


def batch(vectors):
    np.save(open(folder + "/query/b1", "wb"), vectors)
    with open(folder + "/query/k=10/b1.ids") as f:
        return [list(map(int, part.split())) for part in
                f.read().split("\n\n")]


if how == "change":
    for i in range(cut):
        base[i].tofile(f"{folder}/{i}")
        os.unlink(f"{folder}/{cut + i}")
    sys.exit()
if how == "single":
    asked, truth, got = asked[:50], truth[:50], []
    for q in asked:
        q.tofile(folder + "/query/q1")
        with open(folder + "/query/q1.ids") as f:
            got.append(list(map(int, f.read().split())))
elif how == "overwritten":
    asked = base[:cut:7]
    truth = [[i] for i in range(0, cut, 7)]
    got = batch(asked)
    same = [np.flatnonzero((base[:cut] == q).all(1)) for q in asked]
    print(np.mean([bool(set(s) & set(g[:1 + len(s)])) for s, g in
                   zip(same, got)]))
    sys.exit()
else:
    got = batch(asked)
if how == "oracle":
    rows = np.flatnonzero(alive)
    d = ((base[rows][None].astype("f8") - asked[:, None]) ** 2).sum(2)
    truth = rows[np.argsort(d, axis=1, kind="stable")[:, :10]]
    if any(not alive[i] for g in got for i in g):
        print("-1 # a deleted row is in an answer")
        sys.exit()
print(np.mean([len(set(t) & set(g)) / len(t) for t, g in zip(truth, got)]))
