# SPDX-License-Identifier: Apache-2.0
"""What VecGrid's tests show of one node, shown through the mount."""
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
