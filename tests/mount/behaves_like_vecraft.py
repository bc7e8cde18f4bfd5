# SPDX-License-Identifier: Apache-2.0
"""What vecraft's tests show of one node, shown through the mount."""
import json
import os

import numpy as np

from mounted import (ROOT, Collection, again, check, error_of, in_threads,
                     nearest, random_rows)

# ---- integration
c = Collection("traffic")
rows = random_rows(30, 8)


def come_and_go(n):
    for i in range(n * 3, n * 3 + 3):
        c.insert(f"r{i}", rows[i])
        c.delete(f"r{i}")


wrong = in_threads(10, come_and_go)
check(not wrong and c.size() == 0 and c.ids() == [] and
      c.search(rows[0]) == [],
      "concurrent_insert_delete_traffic: ten threads leave nothing")

c = Collection("updates", metric="l2")
c.insert("a", rows[0], {"tag": "old"})
c.insert("a", rows[1], {"tag": "new"})
found = c.search(rows[1], 1)[0]
check(found["dist"] == 0 and found["meta"] == {"tag": "new"} and
      c.size() == 1, "update_consistency: the new row, at distance 0")
check(c.search(rows[0], 1)[0]["dist"] > 0, "and the old one in no answer")
wrong = in_threads(8, lambda n: [c.insert("shared", np.full(8, n + 1.0),
                                          {"by": n}) for _ in range(10)])
vector, metadata = c.get("shared")
check(not wrong and np.all(vector == metadata["by"] + 1) and c.size() == 2,
      "concurrent_modifications: the last one as a whole, no mixture")

c = Collection("batch")
batch = random_rows(50, 16)
c.insert_all(batch)
for i in range(0, 50, 2):
    c.delete(str(i))
check(c.size() == 25 and set(c.found(batch[0], 50)) ==
      {str(i) for i in range(1, 50, 2)},
      "batch_operations_consistency: 50 in one stream, the even ones deleted")

c = Collection("names")
special = ["emoji 😀🚀", "\"quoted\" and 'quoted'", "tab\tand\nline", "ünïcödé",
           "<tag>&amp;", "back\\slash", "中文", "-flag"]
for i, name in enumerate(special):
    c.insert(name, batch[i], {"text": name, name: i})
check(c.ids() == sorted(special) and all(
    c.get(n)[1] == {"text": n, n: i} for i, n in enumerate(special)) and
    set(c.found(batch[0], 99)) == set(special),
    "special_characters: in ids, keys and values")
many = {f"key{i}": {"n": i, "list": [i] * 5, "text": "x" * 50}
        for i in range(100)}
c.insert("large", batch[9], many)
check(c.get("large")[1] == many and
      c.search(batch[9], 1)[0]["meta"] == many,
      "large_metadata: a hundred keys")

c = Collection("scale")
scale = random_rows(200, 32)
c.insert_all(scale)
check(all(c.found(scale[i], 1) == [str(i)] for i in range(0, 200, 9)),
      "scalability: 200 x 32, each finds itself")
answers = [c.search(scale[i], ef=400) for i in range(5)]
again()
check(c.size() == 200 and [c.search(scale[i], ef=400) for i in range(5)] == answers,
      "persistence_across_restarts: the same answers")
check(c.search(scale[3], 1)[0]["dist"] < 1e-6,
      "load_snapshot: an exact hit is at distance 0")
c.insert("later", scale[0] * -1, {"late": True})
again()
check(c.get("later")[1] == {"late": True} and c.size() == 201,
      "load_snapshot: what is written behind it works and persists")

# ---- the index
c = Collection("grid", metric="l2")
c.insert_all(np.array([[x, y] for x in range(5) for y in range(5)], "f4"),
             [f"{x},{y}" for x in range(5) for y in range(5)])
check(c.found([2.1, 2.1], 3) == ["2,2", "2,3", "3,2"],
      "nearest_neighbors_grid: around (2.1, 2.1)")
check(len(c.search([0, 0], 100)) == 25, "search_k_exceeds_elements: all 25")
check(error_of(c.delete, "9,9") == "ENOENT" and c.size() == 25,
      "delete_nonexistent_id: changes nothing")

c = Collection("empty")
check(c.search([1, 2, 3]) == [] and c.ids() == [] and
      c.read("query/all") == b"", "empty_operations: no rows and no error")
check(error_of(c.insert, "a", []) == "EINVAL",
      "empty_vectors: an empty vector is an error")
c.insert("a", np.ones(6))
check(c.read(".config/dim") == b"6\n",
      "dimension_inference: from the first vector")
check(error_of(c.insert, "b", np.ones(7)) == "EINVAL",
      "dimension_mismatch_error: the second has as many")
c.delete("a")
c.insert("b", np.ones(7))
check(c.read(".config/dim") == b"7\n",
      "auto_resize_dim: an empty collection takes another one")
check(error_of(c.insert, "zero", np.zeros(7)) == "EINVAL",
      "normalize_zero_vector: is refused where it has no direction")
check(error_of(c.write, ".config/metric", "manhattan", 0) == "EINVAL",
      "init_with_unsupported_metrics: is refused")

c = Collection("unit", metric="cosine")
c.insert_all(scale)
check(c.found(scale[0], 20) == c.found(scale[0] * 1000, 20),
      "normalize_vectors: length does not count under cosine")
c = Collection("dots", metric="ip")
for i in range(1, 6):
    c.insert(f"x{i}", [i, 0.0])
check(c.found([1, 0], 5) == ["x5", "x4", "x3", "x2", "x1"],
      "different_distance_metrics: the longest first under ip")
c = Collection("ties", metric="cosine")
for i in range(1, 6):
    c.insert(f"x{i}", [i, 0.0])
answer = c.search([1, 0], 5)
check([r["id"] for r in answer] == ["x1", "x2", "x3", "x4", "x5"] and
      len({r["dist"] for r in answer}) == 1,
      "different_distance_metrics: ties are equal under cosine, by id")
c = Collection("types", metric="l2")
for kind in "f2", "f4", "f8", "i1", "i4", "u8":
    with open(f"{c.path}/.as/npy/{kind}", "wb") as f:
        np.save(f, np.array([1, 2, 3], kind))
check(all(np.array_equal(c.get(n)[0], [1, 2, 3]) for n in c.ids()) and
      c.size() == 6, "vector_types: every dtype is the same vector")
c = Collection("grows", metric="l2")
large = random_rows(2000, 8)
c.insert_all(large)
check(c.size() == 2000 and c.found(large[1999], 1) == ["1999"] and
      c.search(large[1999], 1)[0]["dist"] == 0,
      "resize_index: there is no capacity to run out of")

# ---- metadata
c = Collection("meta")
c.insert("a", [1, 2], {"year": 2020, "lang": "en"})
os.setxattr(f"{c.path}/a", "user.year", b"2021")
check(c.get("a")[1] == {"year": 2021, "lang": "en"}, "metadata: update")
os.removexattr(f"{c.path}/a", "user.lang")
check(c.get("a")[1] == {"year": 2021}, "metadata: delete")
c.write(".meta/a", json.dumps({"n": 1.5, "ok": True, "no": None}))
again()
check(c.get("a")[1] == {"n": 1.5, "ok": True}, "metadata: serialization")

# ---- filters
f = Collection("snapshot", metric="l2")
ten = random_rows(10, 8, 31)
f.insert_all(ten, metadata=[{"category": f"cat_{i % 3}", "index": i}
                            for i in range(10)])
again()
check(f.listed("category.eq=cat_1/") == ["1", "4", "7"] and
      f.listed("index.gte=7/") == ["7", "8", "9"],
      "load_snapshot: equality and a range mean what they did")
f.insert("1", ten[1], {"category": "cat_2"})
check(f.listed("category.eq=cat_1/") == ["4", "7"] and
      "1" in f.listed("category.eq=cat_2/"),
      "update_consistency: the old metadata matches no more, the new does")
for i in range(0, 10, 2):
    f.delete(str(i))
check(f.listed("where=index.in=0,2,4,6,8/") == [] and
      f.listed("index.gte=0/") == ["1", "3", "5", "7", "9"],
      "batch_operations_consistency: what was deleted matches nothing")
f = Collection("complex", metric="l2")
f.insert_all(ten, metadata=[{"kind": "ab"[i % 2], "level": i // 2}
                            for i in range(10)])
check([len(f.among(w, ten[0])) for w in (
    "kind.eq=a/level.lt=3/", "where=kind.eq=b and level.gte=2/",
    "where=(kind.eq=a or level.gt=9) and not level.lt=3/",
    "where=level.in=0,4 and not kind.eq=a/")] == [3, 3, 2, 2],
      "complex_filtering_consistency: and, or, not: 3, 3, 2, 2")

f = Collection("index", metric="l2")
f.insert_all(ten[:6], metadata=[
    {"colour": "red", "n": 1}, {"colour": "blue", "n": 2},
    {"colour": "red", "n": 3, "tags": ["x", "y"]}, {"n": 4, "tags": []},
    {"colour": None, "n": 0, "flag": False}, {"colour": "", "n": -1.5}])
check(f.listed("colour.eq=red/") == ["0", "2"] and
      f.listed("n.eq=2/") == ["1"], "metadata_index: add_and_equality")
check(f.listed("colour.in=red,blue/") == ["0", "1", "2"] and
      f.listed("n.in=4,-1.5,99/") == ["3", "5"], "metadata_index: in")
check(f.listed("n.gte=1/n.lt=4/") == ["0", "1", "2"] and
      f.listed("n.lt=1/") == ["4", "5"], "metadata_index: range")
check(f.listed("colour.eq=red/n.gt=1/") == ["2"] and
      f.listed("where=colour.eq=blue or n.gte=4/") == ["1", "3"],
      "metadata_index: combined")
os.setxattr(f"{f.path}/0", "user.colour", b"green")
check(f.listed("colour.eq=red/") == ["2"] and
      f.listed("colour.eq=green/") == ["0"], "metadata_index: update")
f.delete("2")
check(f.listed("colour.eq=red/") == [] and f.listed("tags.eq=x/") == [] and
      f.listed("n.gte=3/") == ["3"], "metadata_index: delete")
asked = ["colour.eq=green/", "n.lt=1/", "colour.exists=0/", "tags.exists=1/",
         "where=not colour.eq=green/"]
before = [f.listed(w) for w in asked]
again()
check([f.listed(w) for w in asked] == before,
      "metadata_index: serialization: the same behind a restart")
check(f.listed("colour.eq=none/") == [] and f.listed("nowhere.lt=9/") == [] and
      f.among("colour.eq=none/", ten[0]) == [], "metadata_index: empty_result")
check(f.listed("colour.exists=0/") == ["3", "4"] and
      f.listed("colour.eq=/") == ["5"] and f.listed("n.eq=0/") == ["4"] and
      f.listed("flag.eq=false/") == ["4"] and f.listed("flag.eq=0/") == [] and
      f.listed("tags.exists=1/") == ["3"] and
      f.listed("n.eq=4.0/") == ["3"] and f.listed('n.eq="4"/') == [],
      "metadata_index: edge_cases: null, empty, 0, false, [] and types")

t = Collection("texts", metric="l2")
t.insert_all(ten[:3], metadata=[{"t": "Hello World"}, {"t": "hello"}, {"t": ""}])
check(t.listed("t.contains=World/") == ["0"] and
      t.listed("t.contains=xyz/") == [], "contains: match, no match")
check(t.listed("t.contains=hello/") == ["1"], "contains: case_sensitive")
check(t.listed("t.contains=/") == ["0", "1", "2"],
      "contains: empty_string: is in each")
check(t.listed("where=not t.contains=o/") == ["2"] and
      t.listed("where=(t.contains=W or t.eq=hello) and not (t.prefix=h and "
               "t.contains=ll)/") == ["0"], "not_contains, nested_and_or")
check(error_of(t.listed, "t.like=a/") == "EINVAL" and
      error_of(t.listed, "where=/") == "EINVAL",
      "invalid_operator, empty_condition: are errors, not false or true")

# ---- the index again
c = Collection("allowed", metric="l2")
c.insert_all(large, metadata=[{"n": i} for i in range(2000)])
c.wait_linked()
far = [str(i) for i in nearest(large, large[0], 2000, "l2")[-3:]]
check(c.among("n.lt=0/", large[0]) == [] and
      c.among("n.eq=7/", large[0]) == ["7"] and
      set(c.among("n.in=7,8,9/", large[0])) == {"7", "8", "9"} and
      c.among(f"n.in={','.join(far)}/", large[0]) == far and
      c.among("n.in=5,99999/", large[0]) == ["5"],
      "detailed_filtered_search: none, one, few, far, what is not there")
c.write(".delete-where", "not n.lt=1999\n", flags=0)
check(c.size() == 1999 and "1999" not in c.found(large[1999], 10),
      "search_with_allowed_ids: what is deleted is allowed no more")

# ---- the catalogue
c = Collection("catalogue")
c.insert("a", [1, 2])
check(error_of(os.mkdir, c.path) == "EEXIST",
      "catalog: a second one of a name is an error")
check(error_of(os.rmdir, c.path) == "ENOTEMPTY",
      "catalog: one with vectors is not dropped")
c.delete("a")
os.rmdir(c.path)
check(error_of(os.rmdir, c.path) == "ENOENT" and
      not os.path.exists(c.path), "catalog: dropped, and then not there")
wrong = in_threads(8, lambda n: [os.mkdir(f"{ROOT}/many{n}-{i}")
                                 for i in range(25)])
listed = [n for n in os.listdir(ROOT) if n.startswith("many")]
check(not wrong and len(set(listed)) == 200, "catalog: 200 at once, all listed")
again("kill")
check(len([n for n in os.listdir(ROOT) if n.startswith("many")]) == 200,
      "catalog: and behind a crash")

# ---- the service
c = Collection("service", metric="l2")
wrong = in_threads(8, lambda n: [c.insert(f"{n}-{i}", large[n * 20 + i])
                                 for i in range(20)])
check(not wrong and c.size() == 160, "concurrent_inserts: all of them")


def insert_and_find(n):
    for i in range(20):
        row = large[200 + n * 20 + i]
        c.insert(f"s{n}-{i}", row)
        assert c.search(row, 1)[0] == {
            "rank": 1, "id": f"s{n}-{i}", "dist": 0, "score": 0}


check(not in_threads(8, insert_and_find),
      "concurrent_insert_and_search: each is found as soon as it is in")
before = c.size(), c.ids()
check(error_of(c.insert, "bad", np.ones(3)) == "EINVAL" and
      (c.size(), c.ids()) == before and c.get("bad") is None,
      "insert_rollback_on_failure: nothing is left of it")
with open(f"{ROOT}/.vecgridfs/health") as f:
    check(f.read() == "ok\n", "healthz: ok")
c = Collection("parsing")
for name, text in (("comma", "1,2,3"), ("spaces", "1 2 3"),
                   ("json", "[1, 2, 3]")):
    c.write(name, text)
check(all(np.array_equal(c.get(n)[0], [1, 2, 3]) for n in c.ids()) and
      c.size() == 3 and error_of(c.write, "bad", "one, two\n") == "EINVAL",
      "vector parsing: commas, JSON, spaces; words are an error")
