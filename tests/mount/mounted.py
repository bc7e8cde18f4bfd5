# SPDX-License-Identifier: Apache-2.0
"""mounted.py: what the behaves-like helpers say to a mounted tree, and how.

A collection has the few methods that a client library would have; each is a
file operation or two.
"""
import errno
import json
import os
import sys
import threading

import numpy as np

ROOT = sys.argv[1]


def check(what, sentence):
    print(("yes" if what else "no") + ": " + sentence, flush=True)


def again(how="remount"):
    """Has the tree mounted anew; "kill": the daemon dies first."""
    print(how, flush=True)
    if sys.stdin.readline() != "mounted\n":
        sys.exit("there is no mount")


def error_of(call, *args, **named):
    """The name of the errno that call fails with; "" if it does not."""
    try:
        call(*args, **named)
    except OSError as e:
        return errno.errorcode[e.errno]
    return ""


def in_threads(n, call):
    """call(0) to call(n - 1), each in a thread; what went wrong in them."""
    wrong = []

    def run(i):
        try:
            call(i)
        except Exception as e:
            wrong.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return wrong


def random_rows(n, dim, seed=42):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype("f4")


def distances(rows, q, metric):
    a, q = rows.astype("f8"), np.asarray(q, "f8")
    if metric == "l2":
        return np.sqrt(((a - q) ** 2).sum(1))
    if metric == "ip":
        return -(a @ q)
    return 1 - (a @ q) / (np.linalg.norm(a, axis=1) * np.linalg.norm(q))


def nearest(rows, q, k, metric="cosine"):
    return list(np.argsort(distances(rows, q, metric), kind="stable")[:k])


class Collection:
    def __init__(self, name, **config):
        self.path = os.path.join(ROOT, name)
        os.mkdir(self.path)
        for key, value in config.items():
            self.write(f".config/{key}", str(value), flags=0)

    def write(self, name, body, flags=os.O_CREAT | os.O_TRUNC):
        body = body.encode() if isinstance(body, str) else bytes(body)
        fd = os.open(f"{self.path}/{name}", os.O_WRONLY | flags, 0o666)
        try:
            while body:
                body = body[os.write(fd, body):]
        except BaseException:
            error_of(os.close, fd)
            raise
        os.close(fd)

    def read(self, name):
        with open(f"{self.path}/{name}", "rb") as f:
            return f.read()

    def insert(self, name, vector, metadata=None):
        row = {"vector": np.asarray(vector, "f8").tolist()}
        if metadata is not None:
            row["metadata"] = metadata
        self.write(name, json.dumps(row))

    def insert_all(self, rows, names=None):
        """One stream, as the bulk calls of other systems."""
        lines = (json.dumps({"id": names[i] if names else str(i),
                             "vector": row.tolist()}) + "\n"
                 for i, row in enumerate(rows))
        self.write(".import/ndjson", "".join(lines), flags=0)

    def get(self, name):
        """(vector, metadata), or None."""
        try:
            return (np.frombuffer(self.read(name), "<f4"),
                    json.loads(self.read(f".meta/{name}")))
        except FileNotFoundError:
            return None

    def delete(self, name):
        os.unlink(f"{self.path}/{name}")

    def size(self):
        return int(self.read(".stats/count"))

    def ids(self):
        return sorted(os.listdir(self.path))

    def search(self, vector, k=10, **params):
        """Rows, as an answer has them."""
        fd = os.open(f"{self.path}/query/.run", os.O_RDWR)
        try:
            os.write(fd, json.dumps({
                "vector": np.asarray(vector, "f8").tolist(), "k": k,
                **params}).encode() + b"\n")
            text = b""
            while part := os.pread(fd, 1 << 20, len(text)):
                text += part
        finally:
            os.close(fd)
        return [json.loads(line) for line in text.splitlines()]

    def found(self, vector, k=10, **params):
        return [row["id"] for row in self.search(vector, k, **params)]
