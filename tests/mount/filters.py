# SPDX-License-Identifier: Apache-2.0
"""filters.py: filters as paths against a model: a scan of the records.

The model reads nothing of ours: an expression is made as text and as a
function of the metadata side by side.
"""
import gzip
import json
import os
import random
import sys
from decimal import Decimal

import numpy as np
from mounted import (ROOT, Collection, again, check, check_all, distances,
                     error_of, seed)

rng = random.Random(seed())

# ---- what a filter means


def scalars(meta, field):
    """The values of a field: (None: missing or null, list, is an array)."""
    found = []

    def walk(node, rest):
        for key, value in node.items():
            if key == rest:
                found.append(value)
            elif rest.startswith(key + ".") and isinstance(value, dict):
                walk(value, rest[len(key) + 1:])
    walk(meta, field)
    found = [v for v in found if v is not None]
    if not found:
        return None
    out = []
    for v in found:
        if isinstance(v, list):
            out += [(e, True) for e in v]
        else:
            out.append((v, False))
    return out


def kind(v):
    return ("bool" if isinstance(v, bool) else
            "num" if isinstance(v, (int, float)) else
            "str" if isinstance(v, str) else "other")


def same(a, b):
    if kind(a) != kind(b):
        return False
    if kind(a) == "num":
        return Decimal(repr(a)) == Decimal(repr(b))
    return kind(a) != "other" and a == b


def order(a, b):
    """-1, 0, 1; None: not of one type that has an order."""
    if kind(a) != kind(b) or kind(a) not in ("num", "str"):
        return None
    if kind(a) == "num":
        a, b = Decimal(repr(a)), Decimal(repr(b))
    else:
        a, b = a.encode(), b.encode()
    return (a > b) - (a < b)


def text_of(v):
    return v if isinstance(v, str) else json.dumps(v)


def term(field, op, value):
    def holds(meta):
        values = scalars(meta, field)
        if op == "exists":
            return (values is not None) == value
        if values is None:
            return False
        if op in ("eq", "ne"):
            return any(same(v, value) for v, _ in values) == (op == "eq")
        if op in ("in", "nin"):
            return any(same(v, w) for v, _ in values
                       for w in value) == (op == "in")
        if op == "prefix":
            return any(isinstance(v, str) and v.startswith(text_of(value))
                       for v, _ in values)
        if op == "contains":
            return any(same(v, value) if is_in_array else
                       isinstance(v, str) and text_of(value) in v
                       for v, is_in_array in values)
        ranks = [order(v, value) for v, _ in values]
        ranks = [r for r in ranks if r is not None]
        return any({"gt": r > 0, "gte": r >= 0, "lt": r < 0,
                    "lte": r <= 0}[op] for r in ranks)
    return holds


def encode(text):
    return "".join(c if c.isalnum() or c in "_-." else
                   "".join("%%%02X" % b for b in c.encode()) for c in text)


def spell(v):
    """A value, bare where that means the same."""
    if not isinstance(v, str):
        return json.dumps(v)
    try:
        json.loads(v)
    except ValueError:
        if rng.random() < 0.6 and v:
            return encode(v)
    return '"' + encode(v) + '"'


WORDS = ["red", "green", "blue", "blau", "true", "17", "a b", "x/y", "50%",
         "\u00fc", ""]


def some_value():
    return rng.choice([
        rng.randrange(20), rng.randrange(-3, 4) / 2, rng.choice(WORDS),
        rng.choice(WORDS), rng.random() < 0.5])


def some_meta():
    meta = {}
    if rng.random() < 0.9:
        meta["n"] = rng.randrange(20)
    if rng.random() < 0.7:
        meta["word"] = rng.choice(WORDS)
    if rng.random() < 0.6:
        meta["mixed"] = rng.choice([None, some_value(), some_value(), []])
    if rng.random() < 0.5:
        meta["tags"] = [some_value() for _ in range(rng.randrange(4))]
    if rng.random() < 0.4:
        meta["a"] = {"b": some_value(), "c": {"d": rng.randrange(5)}}
    if rng.random() < 0.2:
        meta["a.b"] = some_value()
    return meta


FIELDS = ["n", "word", "mixed", "tags", "a.b", "a.c.d", "none"]


def some_term():
    field = rng.choice(FIELDS)
    op = rng.choice("eq ne gt gte lt lte in nin exists prefix contains".split())
    if op == "exists":
        value = rng.random() < 0.5
        text = rng.choice(["1", "true"] if value else ["0", "false"])
    elif op in ("in", "nin"):
        value = [some_value() for _ in range(rng.randrange(1, 4))]
        text = ",".join(spell(v) for v in value)
    else:
        value = some_value()
        while op in ("gt", "gte", "lt", "lte") and kind(value) == "bool":
            value = some_value()
        text = spell(value)
    return f"{field}.{op}={text}", term(field, op, value)


def some_where(depth):
    """An expression, as text and as a function."""
    roll = rng.random()
    if depth == 0 or roll < 0.25:
        return some_term()
    if roll < 0.4:
        text, holds = some_where(depth - 1)
        return f"not ({text})", lambda m: not holds(m)
    (a, f), (b, g) = some_where(depth - 1), some_where(depth - 1)
    if roll < 0.7:
        return f"({a}) and ({b})", lambda m: f(m) and g(m)
    return f"({a}) or ({b})", lambda m: f(m) or g(m)


def some_path():
    """Directories that are filters, and what they mean together."""
    parts, tests = [], []
    for _ in range(rng.choice([1, 1, 2, 3])):
        if rng.random() < 0.5:
            text, holds = some_term()
            if len(text.encode()) > 200 or "/" in text:
                continue
        else:
            text, holds = some_where(rng.randrange(1, 4))
            text = "where=" + text
        if len(text.encode()) > 900:
            continue
        parts.append(text + "/")
        tests.append(holds)
    return "".join(parts), lambda m: all(t(m) for t in tests)


# ---- a small collection that changes


class Model(Collection):
    def __init__(self, name, dim):
        super().__init__(name, metric="l2")
        self.dim, self.vecs, self.meta = dim, {}, {}

    def put(self, name):
        vec = np.array([rng.randrange(100) for _ in range(self.dim)], "f4")
        meta = some_meta()
        if name in self.vecs:  # keys that are absent keep
            self.delete(name)
        how = rng.randrange(3)
        if how == 0:
            self.insert(name, vec, meta)
        elif how == 1:
            self.write(name, vec.tobytes())
            self.write(f".meta/{name}", json.dumps(meta), os.O_TRUNC)
        else:
            self.write(".import/ndjson", json.dumps(
                {"id": name, "vector": vec.tolist(), "metadata": meta}) + "\n",
                flags=0)
        if how == 0 and rng.random() < 0.5:
            meta["n"] = rng.randrange(20)
            os.setxattr(f"{self.path}/{name}", "user.n",
                        str(meta["n"]).encode())
        self.vecs[name], self.meta[name] = vec, meta

    def delete(self, name):
        super().delete(name)
        del self.vecs[name], self.meta[name]

    def matches(self, holds):
        return sorted(n for n in self.vecs if holds(self.meta[n]))


def is_right(c, model, snap=""):
    """One random filter, asked in each way."""
    path, holds = some_path()
    want = model.matches(holds)
    q = f"query/{snap}{path}"
    if int(c.read(q + "count")) != len(want):
        return f"{q}count is {c.read(q + 'count')}, not {len(want)}"
    if c.read(q + "all.ids").decode().split("\n")[:-1] != want:
        return f"{q}all.ids differs"
    vec = [rng.randrange(100) for _ in range(c.dim)]
    k = rng.choice([1, 5, 10, 50])
    for exact in ("exact=1/", ""):
        leaf = ",".join(map(str, vec))
        rows = [line.split("\t") for line in
                c.read(f"{q}k={k}/{exact}{leaf}.tsv").decode().splitlines()]
        if len(rows) != min(k, len(want)) or any(r[0] not in want for r in rows):
            return f"{q}k={k}/{exact}{leaf} gives {rows}"
        d = sorted(distances(np.array([model.vecs[n] for n in want]), vec, "l2")
                   )[:k] if want else []
        if not np.allclose([float(r[1]) for r in rows], d, rtol=1e-5):
            return f"{q}k={k}/{exact}{leaf}: other rows are nearer"
    return None


def key_of(v):
    return (kind(v), Decimal(repr(v)) if kind(v) == "num" else v)


def is_right_facet(c, model, snap=""):
    """The values of a random field among the matches of a filter."""
    path, holds = some_path()
    field = rng.choice(FIELDS)
    want = {}
    for name in model.matches(holds):
        for key in {key_of(v) for v, _ in scalars(model.meta[name], field) or []
                    if kind(v) != "other"}:
            want[key] = want.get(key, 0) + 1
    q = f"query/{snap}{path}facet={field}"
    rows = [json.loads(line) for line in c.read(q).splitlines()]
    if {key_of(r["value"]): r["count"] for r in rows} != want:
        return f"{q} gives {rows}, not {want}"
    if [r["count"] for r in rows] != sorted(want.values(), reverse=True):
        return f"{q} is in another order: {rows}"
    if c.read(q + ".json") and json.loads(c.read(q + ".json")) != rows:
        return f"{q}.json differs"
    lines = [line.split("\t") for line in
             c.read(f"query/{snap}{path}k=2/offset=1/facet={field}.tsv")
             .decode().splitlines()]
    if [int(line[1]) for line in lines] != [r["count"] for r in rows[1:3]]:
        return f"{q} of k=2/offset=1 gives {lines}"
    return None


def try_many(c, model, n, sentence, snap=""):
    check_all([is_right(c, model, snap) for _ in range(n)] +
              [is_right_facet(c, model, snap) for _ in range(n // 2)], sentence)


class Frozen:
    def __init__(self, model):
        self.vecs, self.meta = dict(model.vecs), {
            n: json.loads(json.dumps(m)) for n, m in model.meta.items()}
    matches = Model.matches


def small():
    c = Model("small", 6)
    many = 20 if os.environ.get("VG_SOAK") == "1" else 1
    for i in range(300):
        c.put(f"r{i}")
    try_many(c, c, 80 * many, "filters of random records mean what a scan does")
    os.mkdir(c.path + "/.snap/s")
    then = Frozen(c)
    for i in rng.sample(range(300), 150):
        c.delete(f"r{i}")
    for i in rng.sample(range(400), 150):
        c.put(f"r{i}")
    try_many(c, c, 80 * many, "also after half of them were replaced")
    try_many(c, then, 40 * many, "a snapshot's are those of then", "snap=s/")
    again()
    try_many(c, c, 40 * many, "and all of it after a restart")
    try_many(c, then, 20 * many, "the snapshot's too", "snap=s/")
    again("kill")
    try_many(c, c, 20 * many, "and after a crash")
    deleted = wrong = 0
    for i in range(12 * many):
        text, holds = some_where(rng.randrange(3))
        gone = c.matches(holds)
        if len(gone) > len(c.vecs) // 3:
            continue
        c.write(".delete-where", text + "\n", flags=0)
        for name in gone:
            del c.vecs[name], c.meta[name]
        deleted += len(gone)
        wrong += c.ids() != sorted(c.vecs) or c.size() != len(c.vecs)
        for j in range(5):
            c.put(f"more{i}.{j}")
    check(not wrong, f".delete-where deletes what a filter means ({deleted})")
    again("kill")
    check(c.ids() == sorted(c.vecs), "which is so after a crash")
    try_many(c, c, 20 * many, "and filters mean what is left")
    row = c.search([0] * 6, k=3, where="n.gte=0")
    check(len(row) == 3 and all("n" in r["meta"] for r in row),
          "a request takes where")


def refusals():
    c = Collection("refusals", metric="l2")
    c.insert("a", [1, 2], {"x": 1})
    bad = {
        "x.liek=3": "position 3: 'liek' is no operator",
        "x.gt=true": "position ",
        "x.eq=null": "position ",
        "where=x.eq=1 and": "position ",
        "where=(x.eq=1": "position ",
        "where=": "position ",
        ".eq=1": "position ",
    }
    for part, why in bad.items():
        error = error_of(c.read, f"query/{part}/1,2")
        text = c.read(".stats/last_error").decode()
        check(error == "EINVAL" and why in text, f"{part} is refused: {text.strip()}")
    check(error_of(c.write, ".delete-where", "x.liek=1\n", 0) == "EINVAL" and
          "write `all`, or a filter: position 3" in
          c.read(".stats/last_error").decode() and c.size() == 1,
          "what is no filter deletes nothing")
    c.write(".delete-where", "x.eq=2\n", 0)
    check(c.size() == 1, "nor what no record matches")
    check(error_of(c.read, "query/facet=x.npy") == "EINVAL" and
          error_of(c.read, "query/facet=") == "ENOENT" and
          c.read("query/facet=meta.x.tsv") == b"1\t1\n" and
          c.read("query/facet=none") == b"" and
          c.read("query/trailer=1/facet=x") ==
          b'{"value":1,"count":1}\n{"partial":false,"rows":1}\n',
          "a facet has values and counts, no distances")
    check(error_of(c.read, "query/k.foo/1,2") == "ENOENT",
          "what has no = is no filter")
    check(c.read("query/meta.x.eq=1/all.ids") == b"a\n" and
          c.read("query/x.eq=%31/all.ids") == b"a\n",
          "meta. may stand in front, and % spells any byte")


# ---- real records


CVE = {
    "kev": "kev.eq=true", "critical": "severity.eq=CRITICAL",
    "y2023": "year.eq=2023", "score9auto": "cvss.gte=9.0/automatable.eq=true",
    "linux": "vendor.eq=linux", "xss": "cwe.contains=CWE-79",
    "since_july": "published_ts.gte=1719792000",
    "serious": "severity.in=HIGH,CRITICAL/exploitation.ne=none",
    "unscored": "cvss.exists=0",
    "not_network": "where=vector.exists=1 and not vector.eq=network",
    "score_band": "cvss.gte=6.5/cvss.lt=7.0",
    "patchstack": "assigner.eq=Patchstack/references.eq=1",
    "qnap": "vendor.eq=qnap",
    "curl": "where=vendor.eq=curl or product.eq=curl",
    "nothing": "year.eq=1970",
}


def cve(data):
    def fvecs(name):
        raw = gzip.open(f"{data}/cve/{name}").read()
        return np.frombuffer(raw, "<f4").reshape(-1, 257)[:, 1:]

    base, queries = fvecs("cve_base.fvecs.gz"), fvecs("cve_query.fvecs.gz")
    meta = [json.loads(line) for line in
            gzip.open(f"{data}/cve/cve_base.jsonl.gz")]
    c = Collection("cve")
    with open(f"{c.path}/.import/ndjson", "wb", buffering=1 << 20) as out:
        for i, m in enumerate(meta):
            out.write(json.dumps({"id": str(i), "vector": [
                float(x) for x in base[i]], "metadata": m}).encode() + b"\n")
    c.wait_linked()
    some = queries[:50]
    unit = base / np.linalg.norm(base, axis=1, keepdims=True)
    far = some @ unit.T
    with open(c.path + "/query/some", "wb") as out:
        np.save(out, some)
    for f in json.load(open(f"{data}/cve/filters.json")):
        q = f"query/{CVE[f['name']]}"
        ids = [int(i) for i in c.read(q + "/all.ids").split()]
        n = int(c.read(q + "/count"))
        check(n == len(ids) == f["matches"],
              f"{f['name']}: {CVE[f['name']]} is {n} records")
        right = {"exact=1/": 0, "": 0}
        for how in right:
            answers = [[] for _ in some]
            for line in c.read(f"{q}/{how}some.ndjson").splitlines():
                row = json.loads(line)
                answers[row["q"]].append((row["id"], row["dist"]))
            for i, got in enumerate(answers):
                d = np.sort(1 - far[i][ids] / np.linalg.norm(some[i]))[:10]
                right[how] += sum(float(g[1]) <= d[-1] + 1e-6 for g in got
                                  ) if len(got) == len(d) else -1000
        all_of_them = min(n, 10) * len(some)
        recall = right[""] / all_of_them if n else 1
        check(right["exact=1/"] == all_of_them,
              f"{f['name']}: exact answers equal a scan")
        check(recall >= .98,
              f"{f['name']}: recall at the default is "
              f"{recall:.3f}")


if sys.argv[2] == "random":
    small()
    refusals()
else:
    cve(sys.argv[2])
