# SPDX-License-Identifier: Apache-2.0
"""order.py: order= and group= against a model that sorts and groups itself."""
import json
import os
import random
import time
from decimal import Decimal
from functools import cmp_to_key

import numpy as np
from mounted import (Collection, again, check, check_all, distances, error_of,
                     seed)

SEED = seed()
rng = random.Random(SEED)

VALUES = [3, 3.0, -1, 2.5, 1e400, 10**30, 10**30 + 1, 0, -0.0, "red", "Red",
          "", "\u00fc", "a\nb", "3", True, False, None, [1, 2], [1], [], {"x": 1},
          {}, [{"a": [1]}]]
FIELDS = ["v", "n", "a.b", "colon:desc", "meta.x", "none"]


def number(v):
    return Decimal("1e400") if v == float("inf") else Decimal(repr(v))


def text_of(v):
    return json.dumps(v, separators=(",", ":"), ensure_ascii=False).replace(
        "Infinity", "1e400")


def value_of(meta, field):
    """(type, what it is sorted by); None: there is no value."""
    if field == "a.b":
        v = meta["a"].get("b") if "a" in meta else meta.get("a.b")
    else:
        v = meta.get(field)
    if v is None:
        return None
    if isinstance(v, bool):
        return (3, v)
    if isinstance(v, (int, float)):
        return (1, number(v))
    if isinstance(v, str):
        return (2, v.encode())
    return (4, text_of(v).encode())


def some_meta():
    meta = {}
    if rng.random() < .8:
        meta["v"] = rng.choice(VALUES)
    if rng.random() < .9:
        meta["n"] = rng.randrange(12)
    if rng.random() < .5:
        meta["a"] = {"b": rng.choice(VALUES)}
    elif rng.random() < .5:
        meta["a.b"] = rng.randrange(3)
    if rng.random() < .3:
        meta["colon:desc"] = rng.randrange(3)
    if rng.random() < .3:
        meta["meta.x"] = rng.choice("pqr")
    return meta


def spell(field):
    return {"meta.x": "meta.meta.x"}.get(field, field).replace(":", "%3A")


class Model(Collection):
    def __init__(self, name):
        super().__init__(name, metric="l2")
        self.vecs, self.meta = {}, {}

    def put(self, name):
        vec = np.array([rng.randrange(50) for _ in range(4)], "f4")
        meta = some_meta()
        if name in self.vecs:
            self.delete(name)
        self.write(name, json.dumps(
            {"vector": vec.tolist(), "metadata": meta}).replace(
                "Infinity", "1e400"))
        self.vecs[name], self.meta[name] = vec, meta

    def delete(self, name):
        super().delete(name)
        del self.vecs[name], self.meta[name]

    def copy(self):
        m = object.__new__(Model)
        m.vecs, m.meta = dict(self.vecs), dict(self.meta)
        return m


def sort(rows, meta, order, desc):
    """Rows, as they are, by a field."""
    def compare(a, b):
        x, y = value_of(meta[a], order), value_of(meta[b], order)
        if x is None or y is None:
            return (x is None) - (y is None)
        return ((x > y) - (x < y)) * (-1 if desc else 1)
    return sorted(rows, key=cmp_to_key(compare))


def first_of_each(rows, meta, group):
    seen = set()
    return [r for r in rows if not (
        (v := value_of(meta[r], group)) in seen or seen.add(v))]


def is_right(c, m, snap):
    """One random question, asked as search, listing and count."""
    names = [n for n in m.vecs if m.meta[n].get("n", -1) >= 4]
    q, holds = rng.choice([("", list(m.vecs)), ("n.gte=4/", names)])
    q = snap + q
    order = rng.choice([None] + FIELDS)
    group = rng.choice([None, None] + FIELDS)
    desc = rng.random() < .5
    k, offset = rng.choice([1, 3, 10, 200]), rng.choice([0, 0, 2])
    params = {}
    if order:
        params["order"] = spell(order) + (":desc" if desc else "")
    if group:
        params["group"] = spell(group)
    q += "".join(f"{p}={v}/" for p, v in params.items())
    vec = [rng.randrange(50) for _ in range(4)]
    dist = dict(zip(holds, distances(np.array([m.vecs[n] for n in holds]),
                                     vec, "l2"))) if holds else {}
    near = sorted(holds, key=lambda n: (np.float32(dist[n]), n.encode()))
    if group:
        near = first_of_each(near, m.meta, group)
    page = near[offset:offset + k]
    rank = {n: near.index(n) + 1 for n in page}
    want = sort(page, m.meta, order, desc) if order else page
    leaf = ",".join(map(str, vec))
    got = [(r["id"], r["rank"]) for r in map(json.loads, c.read(
        f"query/{q}exact=1/k={k}/offset={offset}/{leaf}").splitlines())]
    if got != [(n, rank[n]) for n in want]:
        return f"{q}k={k}/offset={offset}/{leaf}: {got}, not {want}"
    row = [r["id"] for r in c.search(vec, k, exact=True, offset=offset,
                                     **params)] if not q.startswith(
        ("n.", "snap")) else want
    if row != want:
        return f".run {params}: {row}, not {want}"
    rows = sorted(holds, key=str.encode)
    if group:
        rows = first_of_each(rows, m.meta, group)
    if int(c.read(f"query/{q}count")) != len(rows):
        return f"{q}count"
    if order:
        rows = sort(rows, m.meta, order, desc)
    if c.read(f"query/{q}all.ids").decode().split("\n")[:-1] != rows:
        return f"{q}all.ids"
    some = c.read(f"query/{q}k={k}/offset={offset}/all.ids").decode()
    if some.split("\n")[:-1] != rows[offset:offset + k]:
        return f"{q}k={k}/offset={offset}/all.ids"
    return None


def try_many(c, m, n, sentence, snap=""):
    check_all((is_right(c, m, snap) for _ in range(n)), sentence)


def small():
    c = Model("small")
    for i in range(160):
        c.put(f"r{i}")
    try_many(c, c, 150, "rows are ordered and grouped as a model does it")
    os.mkdir(c.path + "/.snap/s")
    then = c.copy()
    for i in rng.sample(range(160), 80):
        c.delete(f"r{i}")
    for i in rng.sample(range(240), 80):
        c.put(f"r{i}")
    try_many(c, c, 80, "also after half of them were replaced")
    try_many(c, then, 60, "a snapshot's rows are those of then", "snap=s/")
    again()
    try_many(c, c, 50, "and all of it after a restart")
    again("kill")
    try_many(c, then, 30, "and in the snapshot after a crash", "snap=s/")
    batch = np.array([[rng.randrange(50) for _ in range(4)]
                      for _ in range(40)], "f4")
    with open(c.path + "/query/b", "wb") as f:
        np.save(f, batch)
    right = True
    rows = [json.loads(line) for line in c.read(
        "query/group=n/order=n:desc/k=5/exact=1/b").decode().splitlines()]
    for i, vec in enumerate(batch):
        one = c.search(vec, 5, group="n", order="n:desc", exact=True)
        mine = [r for r in rows if r["q"] == i]
        right &= [r["id"] for r in mine] == [r["id"] for r in one]
    check(right and len(rows) > 40, "a batch has it for each of its vectors")
    f32 = np.frombuffer(c.read("query/group=n/k=30/exact=1/b.f32"), "<f4")
    check(f32.shape == (40 * 30,) and np.isnan(f32.reshape(40, 30)).any(),
          "and its array has k columns, however few groups there are")


def large():
    """Groups that are far behind thousands of nearer rows of another."""
    c = Collection("large", metric="l2")
    gen = np.random.default_rng(SEED)
    n = 16000
    vecs = gen.normal(size=(n, 8)).astype("f4")
    group = np.where(np.arange(n) < n - 40, 0, np.arange(n) % 20)
    vecs[-40:] += 30
    with open(c.path + "/.import/ndjson", "w") as out:
        for i in range(n):
            out.write(json.dumps({"id": f"{i:05}", "vector": vecs[i].tolist(),
                                  "metadata": {"g": int(group[i]),
                                               "half": i % 2}}) + "\n")
    c.wait_linked()

    def want(k, keep):
        rows = sorted((i for i in range(n) if keep(i)),
                      key=lambda i: (d[i], i))
        return [f"{i:05}" for i in first_of_each(
            rows, {i: {"g": int(group[i])} for i in rows}, "g")][:k]
    d = distances(vecs, np.zeros(8), "l2")
    leaf = ",".join(["0"] * 8)
    for k in (1, 5, 20, 100):
        for exact in ("", "exact=1/"):
            for path, keep in (("", lambda i: True),
                               ("half.eq=1/", lambda i: i % 2)):
                q = f"query/{path}{exact}group=g/k={k}/{leaf}.ids"
                got = c.read(q).decode().split()
                check(got == want(k, keep),
                      f"{q[6:]}: each group's nearest is found")
    check(c.read("query/group=g/count") == b"20\n", "20 groups are counted")
    start = time.monotonic()
    error = error_of(c.read, f"query/timeout=1/group=g/k=100/{leaf}.ids")
    check(error in ("ETIMEDOUT", "") and time.monotonic() - start < 5,
          "a search for groups ends when its time is up")


def refusals():
    c = Collection("refusals", metric="l2")
    c.insert("a", [1, 2], {"x": 1, "y": "z"})
    for path, why in {"order=/1,2": "order takes the name of a field",
                      "order=:desc/1,2": "order takes the name of a field",
                      "group=/1,2": "group takes the name of a field",
                      "order=x/facet=x": "leave out order and group"}.items():
        error = error_of(c.read, "query/" + path)
        check(error == "EINVAL" and why in c.read(".stats/last_error").decode(),
              f"{path} is refused with a sentence")
    check(c.found([1, 2], order="x:desc", group="y", fields=["y"]) == ["a"] and
          c.search([1, 2], fields=["y"], order="x")[0]["meta"] == {"y": "z"},
          "fields= shows others than those that it is ordered by")


small()
large()
refusals()
