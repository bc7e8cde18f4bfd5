# SPDX-License-Identifier: Apache-2.0
"""mounted.py: what the behaves-like helpers say to a mounted tree, and how.

A collection has the few methods that a client library would have; each is a
file operation or two.
"""
import errno
import json
import os
import signal
import sys
import threading
import time

import numpy as np

ROOT = sys.argv[1]


def check(what, sentence):
    print(("yes" if what else "no") + ": " + sentence, flush=True)


def again(how="remount"):
    """Has the tree mounted anew; "kill": the daemon dies first."""
    print(how, flush=True)
    if sys.stdin.readline() != "mounted\n":
        sys.exit("there is no mount")


def check_all(answers, sentence):
    """Whether none of them is a sentence that says what is wrong."""
    wrong = [w for w in answers if w]
    for w in wrong[:3]:
        print(w, flush=True)
    check(not wrong, sentence)


def seed():
    """VG_SEED, which repeats a run, or one that is drawn."""
    n = int(os.environ.get("VG_SEED") or time.time_ns() % 10**9)
    print(f"VG_SEED={n}", flush=True)
    return n


def error_of(call, *args, **named):
    """The name of the errno that call fails with; "" if it does not."""
    try:
        call(*args, **named)
    except OSError as e:
        return errno.errorcode[e.errno]
    return ""


def write(path, body, flags=os.O_CREAT | os.O_TRUNC):
    """A file that is written and closed; the first error counts."""
    fd = os.open(path, os.O_WRONLY | flags, 0o666)
    try:
        while body:
            body = body[os.write(fd, body):]
    except BaseException:
        error_of(os.close, fd)
        raise
    os.close(fd)


def file_name(i):
    """The file of an id of text: fs/name.h."""
    if i == "query":
        return "%71uery"
    out = ""
    for n, c in enumerate(i):
        rest = i[n:]
        escaped = rest[:3] in ("%2F", "%25") or (
            n == 0 and (rest[:3] == "%2E" or rest == "%71uery"))
        out += ("%2F" if c == "/" else "%2E" if c == "." and n == 0 else
                "%25" if escaped else c)
    return out


def daemon_pid():
    """As lib.sh has it: the holder's child."""
    holder = open(os.environ["S"] + "/holder").read().strip()
    children = open(f"/proc/{holder}/task/{holder}/children").read().split()
    return int(children[0])


def crash():
    """The daemon ends; its holder starts another one."""
    os.kill(daemon_pid(), signal.SIGKILL)


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
        write(f"{self.path}/{name}", body, flags)

    def read(self, name):
        with open(f"{self.path}/{name}", "rb") as f:
            return f.read()

    def insert(self, name, vector, metadata=None):
        row = {"vector": np.asarray(vector, "f8").tolist()}
        if metadata is not None:
            row["metadata"] = metadata
        self.write(name, json.dumps(row))

    def insert_all(self, rows, names=None, metadata=None):
        """One stream, as the bulk calls of other systems."""
        lines = []
        for i, row in enumerate(rows):
            line = {"id": names[i] if names else str(i), "vector": row.tolist()}
            if metadata is not None:
                line["metadata"] = metadata[i]
            lines.append(json.dumps(line) + "\n")
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

    def run(self, **request):
        """The answer to a request, as bytes."""
        fd = os.open(f"{self.path}/query/.run", os.O_RDWR)
        try:
            os.write(fd, json.dumps(request).encode() + b"\n")
            text = b""
            while part := os.pread(fd, 1 << 20, len(text)):
                text += part
        finally:
            os.close(fd)
        return text

    def search(self, vector, k=10, **params):
        """Rows, as an answer has them."""
        text = self.run(vector=np.asarray(vector, "f8").tolist(), k=k, **params)
        return [json.loads(line) for line in text.splitlines()]

    def found(self, vector, k=10, **params):
        return [row["id"] for row in self.search(vector, k, **params)]

    def among(self, filters, vector, k=10):
        """The same by a path whose directories are filters."""
        text = ",".join(repr(float(x)) for x in np.asarray(vector, "f4"))
        return self.read(f"query/{filters}k={k}/{text}.ids").decode().split()

    def listed(self, filters):
        """Ids of the records that the filters mean."""
        return self.read(f"query/{filters}all.ids").decode().split()

    def told(self, name="index"):
        """The lines of a file of .stats."""
        return dict(line.split(": ", 1) for line in
                    self.read(f".stats/{name}").decode().splitlines())

    def wait_linked(self):
        """Until none is to be linked anew, and all that are then are linked."""
        while (self.told().get("anew", "no") != "no" or
               self.read(".stats/indexing") != b"0\n"):
            time.sleep(0.02)
