#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""python_peer.py VECGRIDFS SCRATCH [ROWS [PASSES]]: batches through the mount
beside hnswlib's Python binding, both from this Python, on the same data.

VECGRIDFS is the built program, SCRATCH a folder for the tree and the peer. Data:
what make_patches wrote in the folder VG_DATA, else fashion-mnist/ in it.

The peer is the module hnswlib that Python finds. Where it finds none, Debian's
package python3-hnswlib is unpacked into SCRATCH (apt-get download, dpkg -x), and
nothing is installed. That one is built for any amd64 processor; to give the peer
all that this one can do, compile the binding's one source file with
-O3 -march=native and name the folder with PYTHONPATH.

Both have M 16, ef_construction 200 and search with one thread, each with the least
ef (in steps of a twentieth) whose recall@10, by distance, is .99. The same 1,000
queries are asked in batches of 1, 10, 100 and 1,000: knn_query for the peer, and
for us query/b written and threads=1/ef=E/b.ids read; .run, one handle written to
and read; and .tsv, which tells distances, too, as knn_query does. The ids come as
an array of integers. All take turns, pass by pass; ratios are medians of passes.
"""
import glob
import gzip
import os
import subprocess
import sys
import time

import numpy as np

K, QUERIES, RECALL = 10, 1000, 0.99
SIZES = (1, 10, 100, 1000)


def get_peer(scratch):
    try:
        import hnswlib
    except ImportError:
        subprocess.run(["apt-get", "download", "-q", "python3-hnswlib"],
                       cwd=scratch, check=True)
        deb = glob.glob(f"{scratch}/python3-hnswlib*.deb")[0]
        subprocess.run(["dpkg", "-x", deb, f"{scratch}/peer"], check=True)
        sys.path.append(f"{scratch}/peer/usr/lib/python3/dist-packages")
        import hnswlib
    return hnswlib


def read_fvecs(path, n):
    dim = int(np.fromfile(path, "<i4", 1)[0])
    rows = np.fromfile(path, "<f4", n * (dim + 1)).reshape(-1, dim + 1)
    return np.ascontiguousarray(rows[:, 1:])


def read_images(path, n):
    with gzip.open(path) as f:
        f.read(16)
        rows = np.frombuffer(f.read(n * 784), np.uint8)
    return rows.reshape(-1, 784).astype("<f4")


def load(rows):
    data = os.environ["VG_DATA"]
    if os.path.exists(f"{data}/patches_base.fvecs"):
        return (read_fvecs(f"{data}/patches_base.fvecs", rows),
                read_fvecs(f"{data}/patches_query.fvecs", QUERIES))
    data += "/fashion-mnist"
    return (read_images(f"{data}/train-images-idx3-ubyte.gz", rows),
            read_images(f"{data}/t10k-images-idx3-ubyte.gz", QUERIES))


def nearest(base, queries):
    """The squared distance of each query's K-th neighbour."""
    out = []
    norm = (base.astype(np.float64) ** 2).sum(1)
    for q in queries.astype(np.float64):
        out.append(np.partition(norm - 2 * (base @ q.astype("<f4")),
                                K - 1)[K - 1] + q @ q)
    return np.array(out)


class Ours:
    def __init__(self, program, scratch, base):
        self.mnt = f"{scratch}/mnt"
        os.makedirs(self.mnt, exist_ok=True)
        subprocess.run([program, f"{scratch}/data", self.mnt], check=True)
        c = self.folder = f"{self.mnt}/v"
        os.mkdir(c)
        for name, value in (("metric", "l2"), ("index", "hnsw")):
            with open(f"{c}/.config/{name}", "w") as f:
                f.write(value + "\n")
        start = time.perf_counter()
        with open(f"{c}/.import/npy", "wb") as f:
            np.save(f, base)
        while open(f"{c}/.stats/indexing").read() != "0\n":
            time.sleep(.05)
        self.build_s = time.perf_counter() - start
        self.run = None

    def set_ef(self, ef):
        self.asked = f"{self.folder}/query/threads=1/ef={ef}"
        if self.run is not None:
            os.close(self.run)
        self.run = os.open(f"{self.folder}/query/threads=1/ef={ef}/fmt=ids/"
                           ".run", os.O_RDWR)

    def write(self, batch):
        fd = os.open(f"{self.folder}/query/b",
                     os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        rest = memoryview(batch).cast("B")
        while rest:
            rest = rest[os.write(fd, rest):]
        os.close(fd)

    def read(self, fmt):
        fd = os.open(f"{self.asked}/b.{fmt}", os.O_RDONLY)
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        os.close(fd)
        return b"".join(parts)

    def ask_ids(self, batch):
        self.write(batch)
        return np.fromstring(self.read("ids"), np.int64,
                             sep=" ").reshape(-1, K)

    def ask_tsv(self, batch):
        self.write(batch)
        rows = np.fromstring(self.read("tsv"), sep=" ")
        rows = rows.reshape(len(batch), K, -1)
        return rows[:, :, -2].astype(np.int64)

    def ask_run(self, batch):
        rest = memoryview(batch).cast("B")
        at = 0
        while rest:
            done = os.pwrite(self.run, rest, at)
            rest, at = rest[done:], at + done
        body = b""
        while part := os.pread(self.run, 1 << 20, len(body)):
            body += part
        return np.fromstring(body, np.int64, sep=" ").reshape(-1, K)

    def end(self):
        os.close(self.run)
        subprocess.run(["umount", self.mnt], check=True)


class Peer:
    def __init__(self, hnswlib, base):
        self.index = hnswlib.Index("l2", base.shape[1])
        self.index.init_index(len(base), M=16, ef_construction=200)
        start = time.perf_counter()
        self.index.add_items(base, num_threads=os.cpu_count())
        self.build_s = time.perf_counter() - start
        self.index.set_num_threads(1)

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def ask(self, batch):
        return self.index.knn_query(batch, K)[0].astype(np.int64)


def tune(side, ask, base, queries, kth):
    ef = K
    while True:
        side.set_ef(ef)
        ids = ask(queries)
        far = ((base[ids].astype(np.float64) -
                queries[:, None].astype(np.float64)) ** 2).sum(2)
        recall = (far <= kth[:, None] * (1 + 1e-6)).mean()
        if recall >= RECALL:
            return ef, recall
        ef += max(1, ef // 20)


def timed(ask, queries, size):
    start = time.perf_counter()
    for i in range(0, len(queries), size):
        ask(queries[i:i + size])
    return (time.perf_counter() - start) / len(queries) * 1e6


def main():
    program, scratch = os.path.abspath(sys.argv[1]), sys.argv[2]
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 200000
    passes = int(sys.argv[4]) if len(sys.argv) > 4 else 9
    os.makedirs(scratch, exist_ok=True)
    hnswlib = get_peer(scratch)
    base, queries = load(rows)
    kth = nearest(base, queries)
    ours, peer = Ours(program, scratch, base), Peer(hnswlib, base)
    print(f"{len(base)} x {base.shape[1]}, l2; built in {ours.build_s:.1f} s "
          f"(durable) and {peer.build_s:.1f} s by hnswlib, "
          f"{os.path.relpath(hnswlib.__file__, scratch)}")
    for side, ask, name in ((ours, ours.ask_ids, "the mount"),
                            (peer, peer.ask, "hnswlib")):
        ef, recall = tune(side, ask, base, queries, kth)
        print(f"{name}: recall@{K} {recall:.4f} at ef={ef}")
    sides = (("hnswlib", peer.ask), (".ids", ours.ask_ids),
             (".run", ours.ask_run), (".tsv", ours.ask_tsv))
    print("us a query, medians; in brackets how often the mount is as fast")
    print(f"{'batch':>6}" + "".join(f"{name:>17}" for name, _ in sides))
    for size in SIZES:
        took = {name: [] for name, _ in sides}
        for _ in range(passes):
            for name, ask in sides:
                took[name].append(timed(ask, queries, size))
        line = f"{size:>6}"
        for name, us in took.items():
            ratio = np.median(np.array(took["hnswlib"]) / us)
            line += f"{np.median(us):9.1f} ({ratio:5.2f})"
        print(line, flush=True)
    ours.end()


if __name__ == "__main__":
    main()
