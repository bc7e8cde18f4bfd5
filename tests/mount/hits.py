# SPDX-License-Identifier: Apache-2.0
"""hits.py: SRC.hits/ as directories of links: names, targets, what they read."""
import json
import os
import time

import numpy as np
from mounted import (ROOT, Collection, again, check, crash,
                     error_of, file_name)

S = os.environ["S"]
ODD = ["a b", "a/b", ".dot", "query", "50%", "%2F", "x.tsv", "x.hits", "-n",
       "new\nline", "tab\t", "back\\slash", "\u00fc", "_", "0001_a", "*"]


def health():
    return open(ROOT + "/.vecgridfs/health").read()


def link_name(number, i, digits=4):
    name = b"%0*d_" % (digits, number) + os.fsencode(file_name(i))
    while len(name) > 255 or (len(name) == 255 and name[-1] >= 0xc0):
        name = name[:-1]
    return os.fsdecode(name)


def is_right(c, path, src, digits=4):
    """The links of a listing are the rows of the answer, and read as them."""
    here = f"{c.path}/query/{path}{src}.hits"
    rows = [json.loads(line)["id"] for line in
            c.read(f"query/{path}{src}").decode().splitlines()]
    offset = int((path + "offset=0/").split("offset=")[1].split("/")[0])
    want = {link_name(offset + n + 1, i, digits): i for n, i in enumerate(rows)}
    if sorted(os.listdir(here)) != sorted(want) or not rows:
        return f"{here}: {sorted(os.listdir(here))}, not {sorted(want)}"
    where = c.path
    if "snap=" in path:
        where += "/.snap/" + path.split("snap=")[1].split("/")[0]
    for name, i in want.items():
        st = os.lstat(f"{here}/{name}")
        target = os.readlink(f"{here}/{name}")
        if st.st_size != len(os.fsencode(target)):
            return f"{here}/{name}: size {st.st_size} of {target}"
        if os.path.realpath(f"{here}/{name}") != f"{where}/{file_name(i)}":
            return f"{here}/{name} leads to {target}"
        with open(f"{here}/{name}", "rb") as f, \
                open(f"{where}/{file_name(i)}", "rb") as g:
            if f.read() != g.read():
                return f"{here}/{name} reads as another"
    return None


def small():
    c = Collection("small", metric="l2")
    names = ODD + [f"r{i}" for i in range(40)] + ["l" * 255, "\u00fc" * 127]
    gen = np.random.default_rng(1)
    for n, i in enumerate(names):
        c.write(".import/ndjson", json.dumps(
            {"id": i, "vector": gen.integers(0, 99, 3).tolist(),
             "metadata": {"n": n % 7}}) + "\n", flags=0)
    c.write("query/q1", "5,6,7", os.O_CREAT)
    paths = ["", "k=3/", "k=60/exact=1/", "k=5/n.lt=3/ef=20/", "offset=4/k=4/",
             "n.gte=1/where=n.lt=6/group=n/k=9/", "order=n:desc/k=20/"]
    wrong = [w for p in paths for s in ("q1", "1,2,3", "id=r7", "like=r1,-r2",
                                        "v=.5,.5,3", "id=x.hits", "all")
             if (w := is_right(c, p, s))]
    for w in wrong[:3]:
        print(w, flush=True)
    check(not wrong, "links are the rows of the answer, whatever is asked")
    listed = os.listdir(c.path + "/query/id=x.hits.hits")
    check(len(listed) == 10 and error_of(
        os.listdir, c.path + "/query/id=x.hits") == "ENOTDIR",
        "an id that ends in .hits has its own")
    long = [n for n in os.listdir(c.path + "/query/all.hits")
            if "lll" in n or "\u00fc\u00fc" in n]
    check(len(long) == 2 and all(len(os.fsencode(n)) <= 255 for n in long),
          "a long id's link has a name that is cut")
    os.mkdir(c.path + "/.snap/s")
    for i in ("r1", "r2", "r3"):
        c.insert(i, [5, 6, 7])
    c.delete("r4")
    wrong = [w for p in ("snap=s/", "k=60/snap=s/", "snap=s/n.lt=4/")
             for s in ("q1", "all") if (w := is_right(c, p, s))]
    snap = object.__new__(Collection)
    snap.path = c.path + "/.snap/s"
    wrong += [w for p in ("", "k=60/") for s in ("id=r4", "all")
              if (w := is_right(snap, p, s))]
    check(not wrong, f"a snapshot's lead into it {wrong[:2]}")
    again()
    c.write("query/q1", "5,6,7", os.O_CREAT)
    wrong = [w for p in paths for s in ("q1", "all") if (w := is_right(c, p, s))]
    check(not wrong, f"so it is after a restart {wrong[:2]}")
    return c


def refusals(c):
    q = c.path + "/query/"
    check([error_of(os.lstat, q + "q1.hits/" + n) for n in
           ("0099_r1", "0001_r40", "001_r1", "r1", "0001_", ".x", "0001")] ==
          ["ENOENT"] * 7, "what is no link of a listing is not there")
    check(error_of(os.listdir, q + "none.hits") == "ENOENT" and
          error_of(os.listdir, q + "count.hits") == "ENOENT" and
          error_of(os.listdir, q + "q1.hit") == "ENOENT" and
          error_of(os.lstat, q + "like=r1,none.hits") == "ENOENT",
          "no source, no listing")
    check(error_of(os.mkdir, q + "q1.hits/x") == "EPERM" and
          error_of(os.unlink, q + "q1.hits/" +
                   sorted(os.listdir(q + "q1.hits"))[0]) in ("EPERM", "EACCES")
          and error_of(os.symlink, "a", q + "q1.hits/y") == "EPERM" and
          error_of(c.write, "query/q1.hits/z", "1,2,3", os.O_CREAT) in
          ("EPERM", "EACCES") and
          error_of(c.write, "query/q1.hits", "1,2,3", os.O_CREAT) == "EISDIR",
          "nothing is made or removed in one")
    check(error_of(c.write, "query/q9.hits", "1,2,3", os.O_CREAT) != "",
          "and a request is not written under such a name")
    np.save(f"{S}/batch.npy", np.ones((2, 3), "f4"))
    c.write("query/b", open(f"{S}/batch.npy", "rb").read(), os.O_CREAT)
    check(error_of(os.listdir, q + "b.hits") == "EINVAL" and
          "this name has 2 vectors" in c.read(".stats/last_error").decode(),
          "a batch has none, and the sentence says why")


def changes(c):
    """What was listed is found, whatever has changed since."""
    here = c.path + "/query/k=8/exact=1/0,0,0.hits"
    with os.scandir(here) as d:
        first = [e.name for e in d]
    searches = int(c.read(".stats/searches"))
    c.insert("near", [0, 0, 1])
    found = [os.readlink(f"{here}/{n}") for n in first]
    check(len(found) == 8 and int(c.read(".stats/searches")) == searches,
          "links of a listing are found after a change, without a search")
    second = sorted(os.listdir(here))
    check(second[0] == "0001_near" and len(second) == 8 and
          error_of(os.lstat, f"{here}/{sorted(first)[0]}") == "ENOENT",
          "the next listing is of what is there then")
    c.delete("near")
    searches = int(c.read(".stats/searches"))
    for name in sorted(first):
        os.lstat(f"{here}/{name}")
    check(int(c.read(".stats/searches")) == searches + 1,
          "links that no listing has are looked for once")


def large():
    c = Collection("large", metric="l2")
    n = 10500
    rows = np.random.default_rng(2).normal(size=(n, 4)).astype("f4")
    np.save(f"{S}/rows.npy", rows)
    with open(c.path + "/.import/npy@doc", "wb") as out:
        out.write(open(f"{S}/rows.npy", "rb").read())
    c.write("query/q1", "0,0,0,0", os.O_CREAT)
    q = c.path + "/query/"
    ids = c.read("query/k=10000/exact=1/q1.ids").decode().split()
    start = time.monotonic()
    names = sorted(os.listdir(q + "k=10000/exact=1/q1.hits"))
    check(names == [f"{i + 1:05}_{d}" for i, d in enumerate(ids)],
          "10,000 links have five digits, and are in order")
    wrong = sum(os.readlink(f"{q}k=10000/exact=1/q1.hits/{name}") !=
                "../../../../" + name[6:] for name in names)
    took = time.monotonic() - start
    print(f"10,000 links listed and read in {took:.1f} s", flush=True)
    check(wrong == 0 and took < 60, "each leads to its record")
    check(error_of(os.listdir, q + "all.hits") == "EINVAL" and
          "these are 10500" in c.read(".stats/last_error").decode(),
          "more than 10,000 are not listed, and the sentence says why")
    check(len(os.listdir(q + "k=7/offset=100/all.hits")) == 7,
          "but some of them are")
    with os.scandir(q + "k=9999/exact=1/q1.hits") as d:
        some = [next(d).name for _ in range(10)]
        crash()
        os.unlink(f"{c.path}/{ids[5000]}")
        some += [e.name for e in d]
    check(sorted(some) == [f"{i + 1:04}_{d}" for i, d in
                           enumerate(ids[:9999])],
          "a listing goes on across a crash, as it was")
    check(os.readlink(f"{q}k=9999/exact=1/q1.hits/{some[5001]}"),
          "and so do its links")
    check("1 time" in health(), "and there was no other crash")


c = small()
check(health() == "ok\n", "the daemon did not crash")
refusals(c)
changes(c)
large()
