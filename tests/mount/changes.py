# SPDX-License-Identifier: Apache-2.0
"""changes.py ROUNDS: in an empty collection, change and query in turn.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import json
import os
import sys

rounds = int(sys.argv[1])


def say(wrong, sentence):
    print("no" if wrong else "yes", sentence, sep=": ", flush=True)
    if wrong:
        print("no", wrong[:5], flush=True)


def put(name, *v):
    with open(name, "w") as f:
        f.write(",".join(map(str, v)))


def rows(path):
    with open(path, "rb") as f:
        return [json.loads(r) for r in f]


with open(".config/metric", "w") as f:
    f.write("l2\n")
put("far", 1000, 1000)
put("query/q1", 0, 0)
wrong = {w: [] for w in ("insert", "overwrite", "meta", "rename", "delete",
                         "stat")}
for i in range(rounds):
    path = "query/k=1/q1" if i % 2 else "query/k=1/0,0"
    put("a", 1, i)
    if rows(path)[0]["id"] != "a":
        wrong["insert"].append(i)
    put("a", 0.5, 0)
    if rows(path)[0]["dist"] != 0.5:
        wrong["overwrite"].append(i)
    os.setxattr("a", "user.i", str(i).encode())
    if rows(path)[0]["meta"] != {"i": i}:
        wrong["meta"].append(i)
    os.rename("a", "b")
    if rows(path)[0]["id"] != "b":
        wrong["rename"].append(i)
    os.stat(path)
    os.unlink("b")
    size = os.stat(path).st_size
    got = rows(path)
    if got[0]["id"] != "far":
        wrong["delete"].append(i)
    if size != os.stat(path).st_size:
        wrong["stat"].append(i)
say(wrong["insert"], f"an insert is seen by the next open, {rounds} times")
say(wrong["overwrite"], "an overwrite")
say(wrong["meta"], "metadata")
say(wrong["rename"], "a rename")
say(wrong["delete"], "a delete, also after a stat of the older answer")
say(wrong["stat"], "and the size agrees")
