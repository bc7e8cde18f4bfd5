# SPDX-License-Identifier: Apache-2.0
"""numpy_io.py: in an empty collection, vectors by Python's usual means.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import os
import pathlib
import shutil
import tempfile

import numpy as np


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


def load(name):
    return np.fromfile(name, "<f4")


v = np.random.default_rng(1).normal(size=384).astype("<f4")
with open("a", "wb") as f:
    f.write(v.tobytes())
say(np.array_equal(load("a"), v), "open and write, np.fromfile")
v.tofile("b")
say(open("b", "rb").read() == v.tobytes(), "ndarray.tofile, open and read")
np.save(open("c", "wb"), v.astype("f8"))
say(np.array_equal(load("c"), v), "np.save of float64 into an open file")
np.savetxt("d", v[None, :], delimiter=",")
say(np.array_equal(load("d"), v), "np.savetxt")
pathlib.Path("e").write_bytes(v.tobytes())
say(pathlib.Path("e").stat().st_size == 1536, "pathlib and stat")
shutil.copyfile("a", "f")
say(np.array_equal(load("f"), v), "shutil.copyfile within the mount")
with tempfile.TemporaryDirectory() as d:
    out = os.path.join(d, "a")
    shutil.copyfile("a", out)
    say(open(out, "rb").read() == v.tobytes(), "shutil.copyfile out of it")
    shutil.copy2(out, "g")
    shutil.move(out, "h")
    say(np.array_equal(load("h"), load("g")), "shutil.copy2 and move into it")
say(np.array_equal(np.memmap("a", "<f4", "r"), v), "np.memmap to read")
m = np.memmap("a", "<f4", "c")
m[0] = 7
say(m[0] == 7 and load("a")[0] == v[0], "np.memmap copy on write")
say(np.array_equal(np.load(".as/npy/a", mmap_mode="r"), v),
    "np.load of .as/npy with mmap_mode")
fd, name = tempfile.mkstemp(dir=".", prefix=".tmp")
with os.fdopen(fd, "wb") as f:
    f.write((-v).tobytes())
    f.flush()
    os.fsync(f.fileno())
os.replace(name, "a")
say(np.array_equal(load("a"), -v), "mkstemp, fsync and os.replace")
entries = {e.name: e for e in os.scandir(".")}
say(sorted(entries) == list("abcdefgh")
    and all(e.is_file() and e.stat().st_size == 1536
            for e in entries.values()), "os.scandir")
os.setxattr("a", "user.year", b"2020")
say(os.getxattr("a", "user.year") == b"2020"
    and os.listxattr("a") == ["user.year"], "os.setxattr and friends")
try:
    with open("i", "wb") as f:
        f.write(v[:7].tobytes())
    refused = False
except OSError:
    refused = True
say(refused and "i" not in os.listdir("."), "a short vector raises OSError")
