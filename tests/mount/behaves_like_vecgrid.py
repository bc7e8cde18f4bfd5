# SPDX-License-Identifier: Apache-2.0
"""What VecGrid's tests show of one node, shown through the mount."""
import json
import time

import numpy as np

from mounted import (Collection, again, check, distances, error_of, in_threads,
                     nearest, random_rows)

rows = random_rows(100, 32)
c = Collection("single")
for i, row in enumerate(rows):
    c.insert(f"v{i}", row, {"n": i})
check(all(c.found(q, 5) == [f"v{i}" for i in nearest(rows, q, 5)]
          for q in random_rows(20, 32, 7)),
      "insert_and_search: the five nearest are the exact ones, in order")
vector, metadata = c.get("v7")
check(np.array_equal(vector, rows[7]) and metadata == {"n": 7},
      "get: the same floats and metadata")
check(c.get("nobody") is None, "get: what is missing is not there")
check(error_of(c.insert, "bad", np.ones(31)) == "EINVAL" and
      c.get("bad") is None, "dimension_mismatch: is an error, nothing is left")

one = Collection("one")
one.insert("a", [1, 2, 3])
one.delete("a")
check(one.size() == 0, "delete: the size goes from 1 to 0")
check(error_of(one.delete, "a") == "ENOENT", "delete: the second finds nothing")

# ---- restarts and crashes
rows16 = random_rows(150, 16)
c = Collection("restart")
c.insert_all(rows16)
questions = random_rows(10, 16, 3)
before = [c.search(q) for q in questions]
again()
check(c.size() == 150, "survive_restart: the size")
check([c.search(q) for q in questions] == before,
      "survive_restart: ten nearest, the same rows")
check(all(np.array_equal(c.get(str(i))[0], rows16[i]) for i in range(150)),
      "survive_restart: the floats, bit for bit")

c = Collection("crash")
c.insert_all(rows16[:80])
again()
for i in range(80, 100):
    c.insert(str(i), rows16[i])
again("kill")
check(c.size() == 100 and
      all(np.array_equal(c.get(str(i))[0], rows16[i]) for i in range(100)),
      "survive_crash_wal_replay: 80 of before a restart, 20 of behind it")
for i in range(0, 100, 2):
    c.delete(str(i))
again("kill")
check(c.ids() == sorted(str(i) for i in range(1, 100, 2)) and
      set(c.found(rows16[0], 100)) == set(c.ids()),
      "delete_persists: in no listing and no answer behind a crash")
for i in range(1, 100, 2):
    c.insert(str(i), -rows16[i], {"new": i})
again("kill")
check(all(np.array_equal(c.get(str(i))[0], -rows16[i]) and
          c.get(str(i))[1] == {"new": i} for i in range(1, 100, 2)),
      "an update that was acknowledged is not lost to an older one")
again()
check(c.size() == 50, "nor does it, or a deleted one, come back later")

# ---- exports and concurrent changes
c = Collection("export")
check(c.read(".export/all.ndjson") == b"" and c.read(".export/ids") == b"",
      "export_empty: nothing, and no error")
c.insert_all(rows16[:20])
import io
exported = np.load(io.BytesIO(c.read(".export/all.npy")))
names = c.read(".export/ids").decode().split()
check(sorted(names) == sorted(str(i) for i in range(20)) and
      np.array_equal(exported, rows16[[int(n) for n in names]]),
      "export_basic: 20 vectors, as they were")

c = Collection("traffic", metric="l2")
base = random_rows(400, 16, 5)
c.insert_all(base[:200])


def change(n):
    """Eight at once: an insert, and a delete of what was there before."""
    for i in range(25):
        c.insert(str(200 + n * 25 + i), base[200 + n * 25 + i])
        if i % 2 == 0:
            c.delete(str(n * 25 + i))


wrong = in_threads(8, change)
left = {str(i) for i in range(400) if i >= 200 or i % 25 % 2}
check(not wrong and set(c.ids()) == left,
      "concurrent_inserts_and_deletes: nothing lost, deleted stay deleted")
number = np.array(sorted(int(i) for i in left))
hits = sum(len({int(i) for i in c.found(q, 10)} &
               {int(number[j]) for j in nearest(base[number], q, 10, "l2")})
           for q in random_rows(20, 16, 9))
check(hits >= 190, f"ground_truth: recall@10 stays, {hits} of 200")

# ---- the graph is made anew
c = Collection("rebuild", metric="l2")
base = random_rows(4000, 16, 15)
c.insert_all(base[:3000])
c.wait_linked()
c.write(".config/m", "8", flags=0)
c.wait_linked()
check(c.told()["m"] == "8" and c.told()["linked"] == "3000" and
      c.found(base[2999], 1) == ["2999"],
      "rebuild_basic: all rows are in the new graph")
c.write(".config/ef_construction", "200", flags=0)
c.write(".config/m", "12", flags=0)


def change_beside(n):
    for i in range(n, 500, 8):
        c.insert(str(3000 + i), base[3000 + i])
        c.delete(str(i))
        c.found(base[1500], 1)


wrong = in_threads(8, change_beside)
was_beside = c.told()["anew"] != "no"
c.wait_linked()
alive = np.arange(500, 3500)
check(not wrong and c.ids() == sorted(str(i) for i in alive),
      "rebuild_concurrent_inserts, _deletes, _both: nothing is lost, deleted "
      "stay deleted" + ("" if was_beside else " (it ended before them)"))
check(c.told()["m"] == "12" and c.told()["ef_construction"] == "200",
      "rebuild_double_trigger: two that were asked for are both done")
hits = sum(len({int(i) for i in c.found(q, 10)} &
               {int(alive[j]) for j in nearest(base[alive], q, 10, "l2")})
           for q in random_rows(50, 16, 17))
check(hits >= 475, f"rebuild_ground_truth: recall@10 stays, {hits} of 500")
check(error_of(Collection.write, c, "../none/.config/m", "8", 0) == "ENOENT",
      "rebuild_missing: what is not there is not made anew")

# ---- its bench: rows drawn at random, 1 long
c = Collection("bench")
base = random_rows(5200, 128)
base /= np.linalg.norm(base, axis=1, keepdims=True)
c.insert_all(base[:5000])
c.wait_linked()
questions = base[5000:]
c.write("query/b", questions.tobytes())


def recall():
    answers = c.read("query/k=10/b.ids").decode().split("\n\n")
    return np.mean([len(set(map(int, a.split())) & set(near)) / 10
                    for a, near in zip(answers, right)])


right = [nearest(base[:5000], q, 10) for q in questions]
began = time.monotonic()
while (not c.told("recall")["ef_why"].startswith("auto: the smallest") and
       time.monotonic() - began < 120):
    recall()
    time.sleep(0.5)
is_found = recall()
check(is_found >= 0.98,
      "bench: rows without any structure are found as target_recall says: "
      f"{is_found:.3f}")

# ---- filters
questions = random_rows(10, 16, 3)
c = Collection("filtered")
rows = random_rows(200, 16, 21)
facts = [{"category": "abcd"[i % 4], "year": 2015 + i * 7 % 10,
          "score": i * 37 % 200 / 200} for i in range(200)]
facts[5].pop("category")
facts[9]["year"] = "2020"
facts[13]["category"] = None
c.insert_all(rows, metadata=facts)


def holds(filters, test, k=10):
    """Whether answers, and lists, are those of a scan of what passes."""
    passed = [i for i, m in enumerate(facts) if test(m)]
    want = [[str(passed[j]) for j in nearest(rows[passed], q, k)]
            for q in questions]
    return (sorted(map(int, c.listed(filters))) == passed and
            [c.among(filters, q, k) for q in questions] == want)


def year(m):
    return m["year"] if isinstance(m["year"], int) else None


def is_year(test):
    return lambda m: year(m) is not None and test(year(m))


check(holds("category.eq=a/", lambda m: m.get("category") == "a"),
      "filter_eq: the nearest of those that are equal")
check(holds("category.ne=a/", lambda m: m.get("category") not in (None, "a")),
      "filter_ne: of those that are not; what has none is neither")
check(holds("category.in=a,c/", lambda m: m.get("category") in ("a", "c")),
      "filter_in: of those that are among some")
check(holds("year.gt=2020/", is_year(lambda y: y > 2020)),
      "filter_gt: of those that are greater")
check(holds("year.gte=2018/year.lte=2021/",
            is_year(lambda y: 2018 <= y <= 2021)),
      "filter_gte_lte: of those between two, both included")
check(holds("score.lt=0.25/", lambda m: m["score"] < 0.25),
      "filter_lt: of those that are less")
check(holds("category.eq=b/year.gte=2018/score.gt=0.5/",
            lambda m: m.get("category") == "b" and m["score"] > 0.5 and
            is_year(lambda y: y >= 2018)(m)),
      "and_conditions: several must all hold")
check(c.among("category.eq=none/", questions[0]) == [] and
      c.listed("none.eq=1/") == [],
      "no_matches: an empty answer, and no error")
check(holds("", lambda m: True), "no_filter: all are asked")
check(holds("year.gte=2000/", is_year(lambda y: True)),
      "a record with another type is left out alone, not those beside it")
check(holds("score.gte=0.99/", lambda m: m["score"] >= 0.99, 2),
      "if few match, wherever they lie, they are answered")
def is_odd(m):
    return len(m.get("category") or "") + int(m["year"]) % 2 == 1


told = [json.loads(line) for line in c.read("query/all").splitlines()]
check(sorted(int(r["id"]) for r in told if is_odd(r["meta"])) ==
      [i for i, m in enumerate(facts) if is_odd(m)],
      "callable_filter: what is code is run where it is, over all rows")

# ---- what it does wrong
c = Collection("edges", metric="l2")
old, new = random_rows(200, 16, 11), random_rows(200, 16, 12) + 20
c.insert_all(old)
c.insert_all(new)
check(c.size() == 200 and
      all(c.search(new[i], 1)[0]["id"] == str(i) for i in range(0, 200, 7)),
      "an id that is inserted again is found where it is now")
check(all(r["dist"] > 20 for i in range(0, 200, 20)
          for r in c.search(old[i], 5)), "and nowhere where it was")
for i in range(150):  # the first ones are where searches begin
    c.delete(str(i))
check(all(set(c.found(q, 50)) == {str(i) for i in range(150, 200)}
          for q in random_rows(5, 16, 13)),
      "deleting where searches begin loses nothing else")

same = True
for metric in "l2", "cosine", "ip":
    answers = []
    for index in "flat", "hnsw":
        c = Collection(f"{metric}-{index}", metric=metric, index=index)
        c.insert_all(rows16)
        answers.append(c.search(questions[0], 20, ef=200))
    want = np.sort(distances(rows16, questions[0], metric))[:20]
    same = same and answers[0] == answers[1] and np.allclose(
        [r["dist"] for r in answers[0]], want, rtol=1e-5, atol=1e-5)
check(same, "both indexes give the same distances in every metric")
c.insert("m", rows16[0], {"k": 1})
c.write(".m", rows16[0].tobytes())
import os
os.rename(f"{c.path}/.m", f"{c.path}/m")
check(c.get("m")[1] == {}, "a record that is replaced loses its metadata")
rows = c.search(questions[0], 3, trailer=True)
check("rank" not in rows[-1] and len(rows) == 4,
      "an answer can tell that it is whole")
c = Collection("sorted", metric="l2")
c.insert_all(random_rows(500, 64))
d = [r["dist"] for r in c.search(random_rows(1, 64, 2)[0], 50)]
check(d == sorted(d) and len(d) == 50, "500 x 64: distances ascend")
