# SPDX-License-Identifier: Apache-2.0
"""like.py: like=A,+B,-C against the sums and distances of numpy."""
import json
import os
import random

import numpy as np
from mounted import (Collection, again, check, check_all, distances, error_of,
                     file_name, seed)

rng = random.Random(seed())

ODD = ["a,b", "+plus", "-minus", "a%2Cb", "%2Bx", "-", "+", ",", "50%", "query",
       ".dot", "a/b", "x.tsv", "%25", "a=b", "\u00fc c", "%2F", "%252C", "a%2"]


def spell(i):
    """As README has it: a file's name, and what else is encoded."""
    name = file_name(i)
    if name[:3] in ("%2B", "%2D"):
        name = "%25" + name[1:]
    elif name[0] in "+-":
        name = ("%2B" if name[0] == "+" else "%2D") + name[1:]
    return name.replace("%2C", "%252C").replace(",", "%2C")


class Model(Collection):
    def __init__(self, name, metric):
        super().__init__(name, metric=metric)
        self.metric, self.vecs = metric, {}

    def put(self, i):
        vec = np.array([rng.uniform(-2, 2) for _ in range(5)], "f4")
        self.write(".import/ndjson", json.dumps(
            {"id": i, "vector": vec.tolist(), "metadata": {
                "n": rng.randrange(3)}}) + "\n", flags=0)
        self.vecs[i] = vec

    def middle(self, plus, minus):
        def unit(v):
            v = v.astype("f8")
            return v / np.linalg.norm(v) if self.metric == "cosine" else v
        total = (sum([unit(self.vecs[i]) for i in plus], np.zeros(5)) -
                 sum([unit(self.vecs[i]) for i in minus], np.zeros(5)))
        return (total / max(1, len(plus) - len(minus))).astype("f4")

    def nearest(self, plus, minus, k):
        names = [i for i in self.vecs if i not in plus + minus]
        d = distances(np.array([self.vecs[i] for i in names]),
                      self.middle(plus, minus), self.metric)
        return [names[i] for i in np.argsort(d, kind="stable")[:k]], np.sort(d)


def is_right(c, m, snap=""):
    plus = rng.sample(sorted(m.vecs), rng.randrange(0, 4))
    minus = rng.sample(sorted(set(m.vecs) - set(plus)),
                       rng.randrange(0 if plus else 1, 3))
    parts = [rng.choice(["", "+"]) + spell(i) for i in plus] + [
        "-" + spell(i) for i in minus]
    rng.shuffle(parts)
    leaf = ",".join(parts)
    want, d = m.nearest(plus, minus, 5)
    text = c.read(f"query/{snap}k=5/exact=1/like={leaf}.ndjson").decode()
    rows = [json.loads(line) for line in text.splitlines()]
    if [r["id"] for r in rows] != want or not np.allclose(
            [r["dist"] for r in rows], d[:5], rtol=1e-4, atol=1e-5):
        return f"like={leaf} is {rows}, not {want} {d[:5]}"
    if not snap:
        answer = c.run(like=leaf, k=5, fmt="ids",
                       exact=True).decode().split("\n")[:-1]
        if answer != [i.replace("\\", "\\\\") for i in want]:
            return f".run of {leaf} is {answer}, not {want}"
    return None


def try_many(c, m, n, sentence, snap=""):
    check_all((is_right(c, m, snap) for _ in range(n)), sentence)


models = []
for metric in ("cosine", "l2", "ip"):
    c = Model(metric, metric)
    for i in ODD + [f"r{n}" for n in range(60)]:
        c.put(i)
    try_many(c, c, 80, f"{metric}: the sum's neighbours, without its records")
    models.append(c)
c = models[1]
os.mkdir(c.path + "/.snap/s")
then = object.__new__(Model)
then.metric, then.vecs = "l2", dict(c.vecs)
for i in rng.sample(sorted(c.vecs), 30):
    c.put(i)
try_many(c, then, 30, "in a snapshot they are those of then", "snap=s/")
again()
try_many(c, c, 30, "and after a restart those of now")

king, man, woman, queen = [3, 1], [1, 1], [1, 2], [3, 2]
c = Collection("words", metric="l2")
for name, v in dict(king=king, man=man, woman=woman, queen=queen,
                    crown=[5, 1]).items():
    c.insert(name, v)
check(c.read("query/k=1/like=king,-man,+woman.tsv") == b"queen\t0\n",
      "king - man + woman is queen")
check(c.read("query/k=1/like=man,woman,woman.ids") != b"woman\n",
      "one that is named twice counts twice, and is left out")
error = error_of(c.read, "query/like=king,-duke")
check(error == "ENOENT" and "there is no record duke" in
      c.read(".stats/last_error").decode(),
      "one that is not there is ENOENT, and is named")
check(error_of(c.read, "query/like=") == "ENOENT" and
      error_of(c.read, "query/like=king,") == "ENOENT" and
      error_of(c.read, "query/like=king,-") == "ENOENT",
      "what may go on is not there yet")
check(error_of(c.read, "query/like=king,,man") == "EINVAL" and
      "like takes ids" in c.read(".stats/last_error").decode(),
      "nothing between two commas is refused")
many = ",".join(["man"] * 65)
check(error_of(c.read, f"query/like={many}") == "EINVAL" and
      "at most 64 ids" in c.read(".stats/last_error").decode(),
      "so are more than 64")
c = Collection("zero")
c.insert("a", [1, 2])
c.insert("b", [2, 4])
check(error_of(c.read, "query/like=a,-b") == "EINVAL" and
      "zero vector" in c.read(".stats/last_error").decode(),
      "a sum that is zero has no direction under cosine")
c.insert("c", [1, 0])
check(error_of(c.run, like="a,zz") == "ENOENT" and
      "there is no record zz" in c.read(".stats/last_error").decode(),
      "a request with one that is not there says so, too")
