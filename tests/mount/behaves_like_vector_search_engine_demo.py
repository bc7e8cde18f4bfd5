# SPDX-License-Identifier: Apache-2.0
"""What Vector-Search-Engine-Demo's tests show, shown through the mount."""
import numpy as np

from mounted import (Collection, again, check, error_of, nearest, random_rows)

c = Collection("basic", metric="l2")
c.insert("a", [1, 0, 0])
c.insert("b", [0, 1, 0])
check(c.found([0.9, 0.1, 0], 1) == ["a"], "basic_insert_search: the nearer one")

c = Collection("multiple", metric="l2")
rows = random_rows(100, 10)
for i, row in enumerate(rows):
    c.insert(str(i), row)
answers = [c.search(row, 1)[0] for row in rows]
check(all(a["id"] == str(i) and a["dist"] < 1e-6
          for i, a in enumerate(answers)),
      "multiple_inserts: each of 100 finds itself at 0")

c = Collection("recall", metric="l2")
rows = random_rows(200, 10, 5)
c.insert_all(rows)
check(all(str(nearest(rows, q, 1, "l2")[0]) in c.found(q, 10)
          for q in random_rows(50, 10, 6)),
      "hnsw_recall: the true nearest is among ten")

c = Collection("euclid", metric="l2")
c.insert("a", [1, 2, 3])
check(abs(c.search([4, 5, 6], 1)[0]["dist"] - 5.196152) < 1e-5,
      "euclidean: (1,2,3) to (4,5,6) is 5.196, the root")

# ---- what goes wrong there
again("kill")
check(c.search([4, 5, 6], 1)[0]["id"] == "a",
      "the log is replayed at the start: nothing is lost with the process")
c.delete("a")
again("kill")
check(c.search([4, 5, 6], 1) == [], "a record can be deleted, for good")
c.insert("a", [1, 2, 3])
check(error_of(c.insert, "b", [1, 2]) == "EINVAL" and
      error_of(c.search, [1, 2], 1) == "EINVAL" and
      c.search([1, 2, 3], 1)[0]["dist"] == 0,
      "a wrong dimension is an error of one call, and the daemon goes on")
for _ in range(20):
    c.insert("a", [1, 2, 3])
    c.insert("c", [1, 2, 4])
check(c.found([1, 2, 3], 10) == ["a", "c"], "no id is in an answer twice")
told = []
for metric in "l2", "cosine", "ip":
    c = Collection(metric, metric=metric)
    c.insert("a", [3, 4])
    told.append(round(c.search([4, 3], 1)[0]["dist"], 4))
check(told == [1.4142, 0.04, -24], "there are other distances than the Euclidean one")
