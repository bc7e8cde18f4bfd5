# SPDX-License-Identifier: Apache-2.0
"""ivf.py rows N: N rows as ndjson; ids 0, 1, ... and metadata g, which is the
id modulo 3.
ivf.py recall COLLECTION [PARAM/...]: the share of what exact=1 answers that is
answered with these parameters, for each hundredth id that is there.
"""
import os
import random
import sys

DIM = 16


def rows(n):
    rng = random.Random(11)
    centres = [[rng.gauss(0, 2) for _ in range(DIM)] for _ in range(200)]
    for i in range(n):
        row = [x + rng.gauss(0, 1) for x in centres[rng.randrange(200)]]
        print('{"id":"%d","vector":[%s],"metadata":{"g":%d}}'
              % (i, ",".join("%.5f" % x for x in row), i % 3))


def ask(folder, params, i):
    with open(f"{folder}/query/k=10/{params}id={i}.ids") as f:
        return f.read().split()


def recall(folder, params=""):
    found = wanted = 0
    names = set(os.listdir(folder))
    keep = "".join(p + "/" for p in params.split("/") if "." in p)
    for i in range(0, 12000, 100):
        if str(i) not in names:
            continue
        truth = ask(folder, keep + "exact=1/", i)
        got = ask(folder, params, i)
        if len(got) != len(truth) or not set(got) <= names:
            sys.exit(f"id {i}: {len(got)} rows of {len(truth)}: {got}")
        found += len(set(got) & set(truth))
        wanted += len(truth)
    print("%.4f" % (found / wanted))


if sys.argv[1] == "rows":
    rows(int(sys.argv[2]))
else:
    recall(*sys.argv[2:])
