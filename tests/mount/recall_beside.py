# SPDX-License-Identifier: Apache-2.0
"""recall_beside.py COLLECTION: searches, and .stats/recall, beside a writer.

Every vector is overwritten by another one of the kind meanwhile; what .stats/recall
says is looked at all the while, and compared with exact answers at the end.
"""
import os
import subprocess
import sys
import time

import numpy as np

folder = sys.argv[1]
if len(sys.argv) > 2:
    rng = np.random.default_rng(7)
    for i in range(9000):
        x = rng.random(8, "f4")
        np.concatenate([x, x * x[::-1]]).astype("<f4").tofile(f"{folder}/{i}")
    sys.exit()


def verdict(is_so, sentence):
    print(("yes: " if is_so else "no: ") + sentence, flush=True)


def told():
    with open(folder + "/.stats/recall") as f:
        return dict(line.split(": ", 1) for line in
                    f.read().split("\n\n")[0].splitlines())


def ask(how=""):
    rng = np.random.default_rng(time.time_ns())
    x = rng.random((200, 8), "f4")
    with open(folder + "/query/b2", "wb") as f:
        np.save(f, np.concatenate([x, x * x[:, ::-1]], axis=1))


def ids(name):
    with open(f"{folder}/query/{name}/k=10/b2.ids") as f:
        return [part.split() for part in f.read().split("\n\n")]


writer = subprocess.Popen([sys.executable, __file__, folder, "write"])
worst, looks = 1, 0
while writer.poll() is None:
    ask()
    ids(".")
    t = told()
    if t["recall"] != "unknown":
        worst = min(worst, float(t["recall"]))
    looks += 1
verdict(writer.returncode == 0 and looks > 2, f"{looks} looks beside a writer")
verdict(worst >= .98, f"what is told is a recall that is kept: {worst}")
until = time.monotonic() + 120
while True:
    ask()
    ids(".")
    t = told()
    if t["recall"] != "unknown" and int(t["rows"]) == int(
            open(folder + "/.stats/count").read()):
        break
    if time.monotonic() > until:
        print("waited in vain:", t)
        break
    time.sleep(.2)
found = ids(f"ef={t['ef']}")
true = ids("exact=1")
real = np.mean([len(set(f) & set(e)) / 10 for f, e in zip(found, true)])
verdict(real >= .975, f"and afterwards it is kept: {t['recall']}, {real:.4f}")
