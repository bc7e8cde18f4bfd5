# SPDX-License-Identifier: Apache-2.0
"""What Zero-Copy's tests show, shown through the mount."""
import io
import math
import time

import numpy as np

from mounted import (Collection, again, check, distances, error_of,
                     random_rows)


def dist(metric, a, b):
    dist.n = getattr(dist, "n", 0) + 1
    c = Collection(f"d{dist.n}", metric=metric)
    c.insert("a", a)
    return c.search(b, 1)[0]["dist"]


# ---- the store
rows = random_rows(1000, 128)
c = Collection("store", metric="l2")
c.write(".import/npy", (lambda f: (np.save(f, rows), f.getvalue())[1])(
    io.BytesIO()), 0)
check(c.size() == 1000 and c.read(".config/dim") == b"128\n",
      "create_and_open: one .npy is the collection")
check(np.array_equal(c.get("999")[0], rows[999]), "each row as it was")
check(error_of(c.read, "1000") == "ENOENT" and
      error_of(c.read, "-1") == "ENOENT", "index_out_of_bounds: is an error")
check(error_of(c.insert, "x", np.ones(127)) == "EINVAL",
      "mismatched_dimensions: is an error")
e = Collection("empty")
check(error_of(e.insert, "x", []) == "EINVAL" and e.search([1.0]) == [],
      "empty_vectors: an empty vector is an error, no vectors are not")
exported = c.read(".export/all.npy")
with io.BytesIO(exported) as f:
    back = np.load(f)
    header = f.tell() - back.nbytes
check(len(exported) == header + 1000 * 128 * 4 and header % 64 == 0,
      "the header is as long as it says")
ids = [int(i) for i in c.read(".export/ids").split()]
check(np.array_equal(back, rows[ids]), "and the rows follow, bit for bit")
fvecs = np.frombuffer(c.read(".export/all.fvecs"), "<i4").reshape(1000, 129)
check((fvecs[:, 0] == 128).all() and
      np.array_equal(fvecs[:, 1:].copy().view("<f4"), rows[ids]),
      "as fvecs likewise")

# ---- searching
answers = [c.search(rows[i], 10)[0] for i in range(0, 1000, 50)]
check(all(a["id"] == str(i * 50) and a["dist"] < 1e-5
          for i, a in enumerate(answers)),
      "hnsw_build_and_search: itself first")
found = c.search(rows[0] + 0.1, 100, exact=True)
d = np.sort(distances(rows, rows[0] + np.float32(0.1), "l2"))[:100]
check(np.allclose([r["dist"] for r in found], d, rtol=1e-5),
      "brute_force_search: sorted, and the true distances")
ok = True
for metric in "l2", "cosine", "ip":
    m = Collection(metric, metric=metric)
    m.insert_all(rows[:200])
    want = np.sort(distances(rows[:200], rows[500], metric))[:5]
    ok = ok and np.allclose([r["dist"] for r in m.search(rows[500], 5)], want,
                            rtol=1e-5, atol=1e-4)
check(ok, "hnsw_different_metrics: three, each with its own distances")
check(c.read(".stats/count") == b"1000\n" and
      c.read(".stats/indexing").strip().isdigit() and
      int(c.read(".stats/bytes")) >= 1000 * 512,
      "hnsw_stats: how many, how large, what is not linked yet")
c.wait_linked()
told = c.told()
check(told["linked"] == "1000" and int(told["levels"]) > 0 and
      told["m"] == "16" and float(told["bytes_per_vector"]) > 128,
      "hnsw_stats: rows in the graph, its levels, links, bytes for each row")

# ---- distances
check(math.isclose(dist("l2", [1, 0], [0, 1]), math.sqrt(2), rel_tol=1e-6),
      "calculate_distance: the root of 2")
check(math.isclose(dist("cosine", [1, 0], [0, 1]), 1, rel_tol=1e-6),
      "calculate_distance: 1 between orthogonal ones under cosine")
check(dist("ip", [1, 2], [3, 4]) == -11,
      "calculate_distance: minus the product under ip")
check(dist("l2", [0, 0], [0, 8]) == 8,
      "l2_distance: rooted, in searches and scans alike")

# ---- its limits
began = time.monotonic()
for i in range(100):
    c.search(rows[i], 10)
check(time.monotonic() - began < 30, "search_performance: 1000 x 128")
c.insert("new", rows[0] * 2)
check(c.found(rows[0] * 2, 1) == ["new"], "it is not read-only")
before = [c.search(rows[i], 10, ef=2000) for i in range(5)]
again()
check([c.search(rows[i], 10, ef=2000) for i in range(5)] == before,
      "what was built is there behind a restart")
