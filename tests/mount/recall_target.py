# SPDX-License-Identifier: Apache-2.0
"""recall_target.py COLLECTION BASE QUERY METRIC: ef_search auto against exact answers.

BASE and QUERY are fvecs (`.gz` also), or `-`: made here. Fills the collection, asks
as users do and compares what .stats/recall says with what is measured.
"""
import gzip
import os
import sys
import time

import numpy as np

folder, base_name, query_name, metric = sys.argv[1:5]


def verdict(is_so, sentence):
    print(("yes: " if is_so else "no: ") + sentence, flush=True)


def load(name):
    with (gzip.open if name.endswith(".gz") else open)(name, "rb") as f:
        a = np.frombuffer(f.read(), "<i4")
    return a.reshape(-1, a[0] + 1)[:, 1:].view("<f4")


def made(n, seed):
    """Points of eight dimensions, bent into sixteen."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 8), "f4")
    return np.concatenate([x, x * x[:, ::-1]], axis=1).astype("f4")


def read(name):
    with open(os.path.join(folder, name)) as f:
        return f.read()


def write(name, text):
    with open(os.path.join(folder, name), "w") as f:
        f.write(text + "\n")


def told():
    """The first paragraph of .stats/recall."""
    return dict(line.split(": ", 1) for line in
                read(".stats/recall").split("\n\n")[0].splitlines())


def wait(is_so, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        t = told()
        if is_so(t):
            return t
        time.sleep(.1)
    print("waited in vain:", told())
    return told()


def ids(name):
    return [part.split() for part in read(name).split("\n\n")]


def ask(vectors, how=""):
    with open(folder + "/query/b1", "wb") as f:
        np.save(f, vectors)
    return ids(f"query/{how}k=10/b1.ids")


def distances(vectors, how):
    with open(folder + "/query/b1", "wb") as f:
        np.save(f, vectors)
    with open(f"{folder}/query/{how}k=10/b1.f32", "rb") as f:
        return np.frombuffer(f.read(), "<f4").reshape(-1, 10)


def measured(vectors):
    """recall@10 with the collection's ef, without a sample of it; by distance, as
    data have ties."""
    ef = told()["ef"]
    found = distances(vectors, f"ef={ef}/")
    true = distances(vectors, "exact=1/")
    return np.mean(found <= true[:, -1:])


def is_new(before):
    return lambda t: t["recall"] != "unknown" and t.get("queries") != before


def linked():
    while read(".stats/indexing").strip() != "0":
        time.sleep(.1)


base = made(12000, 1) if base_name == "-" else load(base_name)
asked = made(3000, 2) if query_name == "-" else load(query_name)
asked = np.random.default_rng(3).permutation(asked)[:1000]
write(".config/metric", metric)
write(".config/m", "6" if base_name == "-" else "16")
with open(folder + "/.import/fvecs", "wb") as f:
    body = np.empty((len(base), base.shape[1] + 1), "<f4")
    body[:, 1:] = base
    body.view("<i4")[:, 0] = base.shape[1]
    body.tofile(f)
linked()
t = told()
verdict(t["recall"] == "unknown" and t["ef"] == "100" and t["sampled"] == "0",
        "without a query the recall is unknown, and ef 100")
ask(asked[:30])
t = told()
verdict(t["recall"] == "unknown" and 0 < int(t["sampled"]) <= 30 and
        t["ef"] == "100", "so it is with a few")
ask(asked[:500])
t = wait(is_new(None))
verdict(t["recall"] != "unknown" and int(t["queries"]) >= 77,
        f"a few hundred searches later it is told: {t}")
verdict(t["ef_why"].startswith("auto: the smallest") and
        float(t["low"]) >= .99, "and its low end is the target at least")
real = measured(asked[:500])
verdict(float(t["low"]) - 5e-4 <= real <= float(t["high"]) + 5e-4,
        f"what is measured from outside is in the interval: {real:.4f}")
at99 = int(t["ef"])

write(".config/target_recall", ".9")
t = wait(lambda t: "0.9" in t["ef_why"].split())
real = measured(asked[:500])
verdict(real >= .9 and int(t["ef"]) <= at99,
        f"for .9 it is less: ef {t['ef']}, {real:.4f}")
at90 = int(t["ef"])
write(".config/target_recall", ".999")
ask(asked)
t = wait(lambda t: "0.999" in t["ef_why"].split())
real = measured(asked)
verdict(int(t["ef"]) > at90 and real >= .995,
        f"for .999 more: ef {t['ef']}, {real:.4f}")

write(".config/ef_search", "11")
t = told()
verdict(read(".config/ef_search") == "11\n" and t["ef"] == "11" and
        t["ef_why"] == "as written" and t["recall"] == "unknown",
        "an ef_search that is written wins, at once")
t = wait(is_new(None))
real = measured(asked)
verdict(t["recall"] != "unknown" and t["ef"] == "11" and
        abs(float(t["recall"]) - real) < .03,
        f"and is measured: {t['recall']}, {real:.4f}")
write(".config/ef_search", "auto")
write(".config/target_recall", "0.99")
t = wait(lambda t: t["recall"] != "unknown" and "0.99" in t["ef_why"])
verdict(read(".config/ef_search") == "auto\n" and
        t["ef_why"].startswith("auto: the smallest") and int(t["ef"]) > 11,
        f"auto has it tuned again: ef {t['ef']}")
with open(os.environ["S"] + "/ef", "w") as f:
    f.write(t["ef"])
