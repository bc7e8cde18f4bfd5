# SPDX-License-Identifier: Apache-2.0
"""oracle.py COLLECTION METRIC: fills it, asks exact=1, compares with numpy.

Two rows may swap places only where their distances differ by less than 1e-6
of their size.
"""
import json
import os
import sys

import numpy as np
from mounted import distances

folder, metric = sys.argv[1:]
DIM, N, Q, K = 37, 2000, 40, 25
rng = np.random.default_rng(int(os.environ.get("VG_SEED", "7")))
base = rng.normal(size=(N, DIM)).astype("f4")
base[100:130] = base[99]  # twins: ties
names = [f"r{i}" for i in range(N)]
names[100], names[101] = "twin-b", "twin-a"
asked = np.concatenate([rng.normal(size=(Q - 3, DIM)),
                        base[99:100] * 1.01, base[:2]]).astype("f4")

with open(folder + "/.import/ndjson", "w") as f:
    for name, v in zip(names, base):
        f.write(json.dumps({"id": name, "vector": v.tolist()}) + "\n")
np.save(open(folder + "/query/b1", "wb"), asked)

answers = [[] for _ in range(Q)]
with open(f"{folder}/query/exact=1/k={K}/b1", "rb") as f:
    for line in f:
        row = json.loads(line)
        answers[row["q"]].append((row["id"], row["dist"]))

number = {name: i for i, name in enumerate(names)}
rows = dist = ties = True
for q, got in zip(asked, answers):
    d = distances(base, q, metric)
    order = sorted(range(N), key=lambda i: (d[i], names[i].encode()))[:K]
    scale = np.abs(d).max()
    if len(got) != K or len({i for i, _ in got}) != K:
        rows = False
        continue
    for (name, told), want in zip(got, order):
        mine = d[number[name]]
        near = abs(mine - d[want]) <= 1e-6 * max(abs(mine), abs(d[want]), 1e-3)
        if names[want] != name and not near:
            rows = False
        if abs(told - mine) > 1e-5 * max(scale, 1):
            dist = False
    for (a, da), (b, db) in zip(got, got[1:]):
        if da > db or (da == db and a.encode() >= b.encode()):
            ties = False
print("rows equal" if rows else "rows differ")
print("distances equal" if dist else "distances differ")
print("ties by id" if ties else "ties in another order")
