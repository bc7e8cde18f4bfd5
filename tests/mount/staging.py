# SPDX-License-Identifier: Apache-2.0
"""staging.py COLLECTION OPS: staging files against strings of bytes.

A few names, and a few handles on them that stay open over renames and
removals, as a POSIX file does. VG_SEED repeats a run.
"""
import errno
import os
import random
import sys
import time
from collections import deque

ROOT, OPS = sys.argv[1], int(sys.argv[2])
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
FOLDERS = ["", ".as/raw", ".as/json", ".meta"]
NAMES = [os.path.join(d, n) for d in FOLDERS
         for n in (".a", ".b tmp", ".c.XyZ")]
LIMIT = 300_000

rng = random.Random(SEED)
history = deque(maxlen=30)


class File:
    """Bytes that outlive their name while somebody has them open."""

    def __init__(self):
        self.data = bytearray()


names = {}    # name -> File
handles = []  # [descriptor, File, can write]


def path(name):
    return os.path.join(ROOT, name)


def must(what, *told):
    if not what:
        raise AssertionError(" ".join(str(t) for t in told))


def some_bytes():
    n = rng.choice([1, 7, 12, 100, 4095, 4096, 4097, 70000, 140000])
    n = rng.randrange(1, n + 1)
    return rng.choice([os.urandom(n), bytes([rng.randrange(256)]) * n,
                       (b"1,2,3\n" * (n // 6 + 1))[:n]])


def place(f):
    """An offset: inside, at the end, or behind a hole."""
    end = len(f.data)
    return rng.choice([0, end, rng.randrange(end + 1),
                       min(end + rng.randrange(20000), LIMIT)])


def put(f, at, data):
    if at > len(f.data):
        f.data.extend(bytes(at - len(f.data)))
    f.data[at:at + len(data)] = data


def do_open():
    if len(handles) > 8:
        return do_close()
    name = rng.choice(NAMES)
    how = rng.choice([os.O_RDONLY, os.O_RDWR, os.O_RDWR])
    flags = how
    if how != os.O_RDONLY:
        for flag in (os.O_CREAT, os.O_TRUNC, os.O_EXCL):
            flags |= flag if rng.random() < 0.4 else 0
    if flags & os.O_EXCL:
        flags |= os.O_CREAT
    history.append(f"open {name} {flags:o}")
    f = names.get(name)
    want = 0
    if f is None and not flags & os.O_CREAT:
        want = errno.ENOENT
    if f is not None and flags & os.O_EXCL:
        want = errno.EEXIST
    try:
        fd = os.open(path(name), flags)
    except OSError as e:
        must(e.errno == want, "open", e)
        return
    must(not want, "open succeeded")
    f = names.setdefault(name, File())
    if flags & os.O_TRUNC:
        f.data.clear()
    handles.append([fd, f, how != os.O_RDONLY])


def do_close():
    if handles:
        history.append("close")
        os.close(handles.pop(rng.randrange(len(handles)))[0])


def writers():
    return [h for h in handles if h[2]]


def do_write():
    if not writers():
        return
    fd, f, _ = rng.choice(writers())
    at, data = place(f), some_bytes()
    if at + len(data) > LIMIT:
        return
    history.append(f"write {len(data)} at {at} of {len(f.data)}")
    must(os.pwrite(fd, data, at) == len(data), "short write")
    put(f, at, data)


def do_append():
    have = [n for n in names if len(names[n].data) < LIMIT]
    if not have:
        return
    name, data = rng.choice(have), some_bytes()
    history.append(f"append {len(data)} to {name}")
    with open(path(name), "ab", buffering=0) as out:
        out.write(data)
    names[name].data.extend(data)


def do_truncate():
    if not names:
        return
    size = rng.choice([0, 1, 4096, rng.randrange(LIMIT)])
    if writers() and rng.random() < 0.5:
        fd, f, _ = rng.choice(writers())
        history.append(f"ftruncate {size} of {len(f.data)}")
        os.ftruncate(fd, size)
    else:
        name = rng.choice(list(names))
        f = names[name]
        history.append(f"truncate {name} {size} of {len(f.data)}")
        os.truncate(path(name), size)
    if size < len(f.data):
        del f.data[size:]
    else:
        put(f, size, b"")


def do_read():
    if not handles:
        return
    fd, f, _ = rng.choice(handles)
    at, n = place(f), rng.choice([1, 100, 4096, 200000])
    history.append(f"read {n} at {at} of {len(f.data)}")
    must(os.pread(fd, n, at) == bytes(f.data[at:at + n]), "read differs")
    must(os.fstat(fd).st_size == len(f.data), "fstat",
         os.fstat(fd).st_size, len(f.data))


def do_look():
    name = rng.choice(NAMES)
    history.append(f"look {name}")
    f = names.get(name)
    if f is None:
        must(not os.path.lexists(path(name)), name, "is there")
        return
    must(os.stat(path(name)).st_size == len(f.data), name, "size")
    with open(path(name), "rb") as file:
        must(file.read() == f.data, name, "bytes")


def do_rename():
    old, new = rng.sample(NAMES, 2)
    history.append(f"rename {old} {new}")
    is_far = os.path.dirname(old) != os.path.dirname(new)
    want = 0 if old in names else errno.ENOENT
    if not want and is_far:
        want = errno.EXDEV
    try:
        os.rename(path(old), path(new))
    except OSError as e:
        must(e.errno == want, "rename", e)
        return
    must(not want, "rename succeeded")
    names[new] = names.pop(old)


def do_unlink():
    name = rng.choice(NAMES)
    history.append(f"unlink {name}")
    want = 0 if name in names else errno.ENOENT
    try:
        os.unlink(path(name))
    except OSError as e:
        must(e.errno == want, "unlink", e)
        return
    must(not want, "unlink succeeded")
    del names[name]


def do_sync():
    if handles:
        history.append("fsync")
        os.fsync(rng.choice(handles)[0])


CALLS = [c for c, n in [
    (do_open, 12), (do_close, 8), (do_write, 25), (do_append, 6),
    (do_truncate, 8), (do_read, 25), (do_look, 12), (do_rename, 6),
    (do_unlink, 4), (do_sync, 2)] for _ in range(n)]

print(f"seed {SEED}")
try:
    for _ in range(OPS):
        rng.choice(CALLS)()
    print(f"yes: {OPS} calls on staging files do what a file does")
    for handle in handles:
        os.close(handle[0])
    handles.clear()
    NAMES = sorted(names) or NAMES
    for _ in range(50):
        do_look()
    print("yes: what is left is whole")
    must(not [n for d in FOLDERS for n in os.listdir(path(d))
              if n.startswith(".")], "listed")
    print("yes: nothing of it is listed")
    for name in list(names):
        os.unlink(path(name))
        must(not os.path.lexists(path(name)), name, "stays")
    print("yes: and all of it can be removed")
except (AssertionError, OSError) as e:
    print(f"no: staging files do what a file does: {e!r}")
    print("  " + "\n  ".join(history))
    print(f"  VG_SEED={SEED} repeats it")
