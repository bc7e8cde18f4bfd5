# SPDX-License-Identifier: Apache-2.0
"""What Vector-DB's tests show of its store and index, shown through the mount.
"""
import os

import numpy as np

from mounted import (ROOT, Collection, again, check, error_of, nearest,
                     random_rows)

# ---- the index
c = Collection("index", metric="l2")
check(c.read(".config/m") == b"16\n" and
      c.read(".config/ef_construction") == b"auto\n",
      "initialization: M is 16, efc is auto, 128")
rows = random_rows(330, 24)
c.insert("0", rows[0])
check(c.size() == 1 and c.found(rows[0], 1) == ["0"], "insert_single")
for i in range(1, 20):
    c.insert(str(i), rows[i])
check(c.size() == 20, "insert_multiple: 20")
c.insert_all(rows[:300])
check(c.size() == 300, "build: ids that are there already are not there twice")
check(all(c.search(rows[i], 1)[0] == {"rank": 1, "id": str(i), "dist": 0,
                                      "score": 0} for i in range(0, 300, 11)),
      "search_basic: each finds itself below 1e-6")
good = 0
for q in rows[300:]:
    want = {str(i) for i in nearest(rows[:300], q, 10, "l2")}
    good += len(want & set(c.found(q, 10))) >= 7
check(good >= 24, f"search_recall: 70 % in 80 % of 30 queries, here {good}")
check(all(c.found(rows[i], 1) == [str(i)] for i in range(300)),
      "graph_connectivity: each can be reached")
for _ in range(5):
    c.insert("7", rows[7])
check(c.size() == 300 and c.found(rows[7], 300).count("7") == 1,
      "idempotent_insert: the same again changes nothing")
for i in range(50):
    c.delete(str(i))
check(c.size() == 250 and
      not {str(i) for i in range(50)} & set(c.found(rows[3], 250)),
      "delete: 50 are in no answer")
answers = [c.search(q, ef=300) for q in rows[300:310]]
again()
check(c.size() == 250 and [c.search(q, ef=300) for q in rows[300:310]] == answers,
      "persistence: the index is there behind a restart")
c.insert("more", rows[300])
check(c.found(rows[300], 1) == ["more"], "and takes more")

# ---- lists
v = Collection("lists", metric="l2", index="ivf_pq")
check(v.search(rows[0]) == [] and v.search(rows[0], nprobe=4) == [],
      "ivf empty_list, search_before_build: no rows, and no error")
v.insert("0", rows[0])
check(v.found(rows[0]) == ["0"], "ivf add_before_build: it is found")
v.insert_all(rows[:300])
v.wait_linked()
check(v.told()["lists"] == "0" and v.size() == 300 and
      all(v.found(q, 5) == [str(i) for i in nearest(rows[:300], q, 5, "l2")]
          for q in rows[300:]),
      "ivf insufficient_nodes: without lists all are compared")
check(error_of(v.search, rows[0], nprobe=0) == "EINVAL" and
      v.search(rows[0], 1, nprobe=65536)[0]["dist"] == 0,
      "ivf invalid_n_probe: 0 is; more than there are is all")
for i in range(0, 300, 3):
    v.delete(str(i))
again()
check(v.size() == 200 and all(
    set(v.found(q, 200)) == {str(i) for i in range(300) if i % 3}
    for q in rows[300:303]), "ivf delete, persistence")

# ---- the store
s = Collection("store", dim=4, metric="l2")
check(error_of(s.write, ".config/dim", "0", 0) == "EINVAL" and
      error_of(s.write, ".config/dim", "-1", 0) == "EINVAL",
      "invalid dim: 0 and less are refused")
s.insert("a", [1, 2, 3, 4], {"content": "hello", "n": 1})
vector, metadata = s.get("a")
check(np.array_equal(vector, [1, 2, 3, 4]) and
      metadata == {"content": "hello", "n": 1},
      "write single: vector, content and metadata")
s.insert_all(random_rows(10, 4), [f"m{i}" for i in range(10)])
check(s.size() == 11, "write multi")
check(error_of(s.insert, "b", [1, 2, 3]) == "EINVAL" and
      error_of(s.write, "b", b"\x01\x02\x03") == "EINVAL" and
      error_of(s.write, "b", '{"vector": "text"}') == "EINVAL" and
      s.get("b") is None, "wrong dim, size and type: are errors")
check(error_of(s.read, "nobody") == "ENOENT" and
      error_of(s.delete, "nobody") == "ENOENT", "missing: is an error")
mapped = np.memmap(f"{s.path}/a", dtype="<f4", mode="r")
check(np.array_equal(mapped, [1, 2, 3, 4]), "mmap: a vector can be mapped")
s.insert("a", [5, 6, 7, 8])
check(np.array_equal(mapped, [1, 2, 3, 4]) and
      np.array_equal(np.memmap(f"{s.path}/a", "<f4", "r"), [5, 6, 7, 8]),
      "mmap reload: the old map stays whole, a new one has the new")
del mapped
s.delete("m0")
again("kill")
check(s.size() == 10 and s.get("m0") is None and
      s.get("a")[1] == {"content": "hello", "n": 1},
      "persistence: what was written and deleted, behind a crash")
f = Collection("flush", metric="l2")
more = random_rows(1100, 8)
f.insert_all(more)
check(all(f.found(more[i], 1) == [str(i)] for i in (0, 999, 1000, 1099)),
      "flush: the 1,000th is found like the 1,001st")
check(len(f.search(more[0])) == 10 and len(f.search(more[0], 5)) == 5,
      "top_k: what is asked for")
check(error_of(f.search, more[0], 0) == "EINVAL",
      "top_k: none is an error")
f.insert_all(more, metadata=[{"lang": ("en", "de")[i % 2], "n": i}
                             for i in range(1100)])
half = more[::2]
asked = random_rows(10, 8, 7)
check(all(f.found(q, 4, where="lang.eq=en", ef=200, nprobe=10) ==
          [str(2 * j) for j in nearest(half, q, 4, "l2")] for q in asked),
      "search: metadata_filter, top_k, ef and n_probe in one request")
check(f.found(asked[0], where="lang.eq=fr") == [],
      "search: no_match: no rows and no error")
with open(f"{ROOT}/.vecgridfs/health") as file:
    check(file.read() == "ok\n", "health: ok")
