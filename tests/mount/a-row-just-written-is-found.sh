#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Recall of rows written a moment ago is 1, whether they are linked or not.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 5
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
"$PYTHON3" - >"$S/out" 2>&1 <<'PY'
import io
import os
import numpy as np

rng = np.random.default_rng(3)
base = rng.normal(size=(4000, 64)).astype("f4")
np.save(open(".import/npy", "wb"), base)
missed = gone = 0
for i in range(400):
    v = rng.normal(size=64).astype("f4")
    v.tofile(f"new{i}")
    v.tofile("query/q1")
    with open("query/k=1/q1.ids") as f:
        missed += f.read().strip() != f"new{i}"
    if i % 4 == 0:
        os.unlink(f"new{i}")
        with open("query/k=10/q1.ids") as f:
            gone += f"new{i}" in f.read().split()
print(missed, gone)
fresh = rng.normal(size=(3000, 64)).astype("f4")
np.save(open(".import/npy@f", "wb"), fresh)
np.save(open("query/b1", "wb"), fresh)
with open("query/k=1/b1.ids") as f:
    print(sum(got != f"f{i}" for i, got in
              enumerate(f.read().split("\n\n"))
              if got.strip() != f"f{i}"))
PY
is "$(sed -n 1p "$S/out")" "0 0" "400 rows are found, and not when deleted"
is "$(sed -n 2p "$S/out")" 0 "so is each of 3,000 imported at once"
is "$(sed -n '3,$p' "$S/out")" "" "without an error"
is "$(cat .stats/count)" 7300 "none is missing"
cd "$S" || exit 99
finish
