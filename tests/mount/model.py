# SPDX-License-Identifier: Apache-2.0
"""model.py ROOT OPS: random calls on a mounted tree and on a dictionary.

Each call is made on both, and what it should answer, or how it should fail,
is known before. What was touched is compared at once, a whole collection every
few calls, everything behind a remount or a kill of the daemon. What it prints
is for drive.sh. VG_SEED repeats a run, VG_MODEL_TRACE=1 tells each call.
"""
import ctypes
import errno
import json
import os
import random
import sys
import time
from collections import deque

import numpy as np

ROOT, OPS = sys.argv[1], int(sys.argv[2])
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
TRACE = os.environ.get("VG_MODEL_TRACE") == "1"
REMOUNT = max(OPS // 5, 400)  # calls between two remounts
LOOK = 25                     # calls between two looks at a collection
NOREPLACE = 1
BLANK = (b" ", b"\t", b"\r", b"\n", b"[", b"{", b"\x93")

rng = random.Random(SEED)
libc = ctypes.CDLL(None, use_errno=True)
history = deque(maxlen=25)

# How a file is called, and what its id is.
NAMES = [(f"v{i}", f"v{i}") for i in range(18)] + [
    ("a b", "a b"), ("%71uery", "query"), ("x%2Fy", "x/y"), ("100%", "100%"),
    ("%2Ehidden", ".hidden"), ("50%252F", "50%2F"), ("-rf", "-rf"),
    ("new\nline", "new\nline"), ("ü😀", "ü😀"), ("q" * 255, "q" * 255),
    ("it's", "it's"), ('"', '"'), ("a.tsv", "a.tsv"), ("count", "count")]
COLLS = [f"c{i}" for i in range(5)]
LINKS = ["l0", "l1"]
STAGES = [".s0", ".s1", ".tmp.x y", ".d%2F"]
KEYS = ["year", "lang", "a b", "ü", "deep.er", "k" * 200]
DIMS = [1, 2, 3, 5, 16]


class Differs(Exception):
    """The tree is not what the model says."""


def must(what, *told):
    if not what:
        raise Differs(" ".join(str(t) for t in told))


class Record:
    def __init__(self, vec, meta, mtime):
        self.vec, self.meta, self.mtime = vec, meta, mtime


class Coll:
    """One collection. dim is None until it is known; is_written: by a person,
    so that an empty collection keeps it."""

    def __init__(self):
        self.dim, self.is_written = None, False
        self.config = {"metric": "cosine", "index": "auto", "quant": "auto", "m": "16",
                       "ef_construction": "auto", "ef_search": "auto",
                       "target_recall": "0.99"}
        self.records = {}  # file name -> Record
        self.stages = {}   # file name -> bytes, xattrs
        self.queries = {}  # name -> array of vectors
        self.mode = None

    def open_dim(self):
        """The dimension that a new vector must have; None: any."""
        return self.dim if self.records or self.is_written else None


class Tree:
    def __init__(self):
        self.colls = {}
        self.links = {}


model = Tree()


def path(*parts):
    return os.path.join(ROOT, *parts)


def now():
    # what the kernel's coarse clock may be behind
    return time.time_ns() - 20_000_000


def trying(want, call, *args):
    """Runs call, which must fail with errno want, or not at all."""
    try:
        out = call(*args)
    except OSError as e:
        must(e.errno == want, "wanted", errno.errorcode.get(want, want), "got",
             errno.errorcode.get(e.errno, e.errno))
        return None
    must(not want, "succeeded, wanted", errno.errorcode.get(want, want))
    return out


def rename(old, new, flags=0):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def write(file, body, flags=os.O_CREAT | os.O_TRUNC, pieces=None):
    """open, write, close; the close always happens, its error counts."""
    fd = os.open(file, os.O_WRONLY | flags, 0o666)
    try:
        at = 0
        for n in pieces or [len(body)]:
            os.write(fd, body[at:at + n])
            at += n
    except BaseException:
        try:
            os.close(fd)
        except OSError:
            pass
        raise
    os.close(fd)


def read(file):
    with open(file, "rb") as f:
        return f.read()


# ---- what is drawn

def draw_vec(dim):
    kind = rng.random()
    if kind < 0.3:  # few values: ties
        v = np.array([rng.randrange(-2, 3) for _ in range(dim)], "f4")
    else:
        v = np.array([rng.gauss(0, 1) for _ in range(dim)], "f4")
    if kind > 0.9:
        v *= np.float32(10.0 ** rng.randrange(-6, 7))
    return v


def good_vec(c, dim=None):
    v = draw_vec(dim or c.open_dim() or rng.choice(DIMS))
    if not v.any():
        v[0] = 1
    return v


def draw_value(depth=0):
    pick = rng.randrange(9 if depth < 2 else 6)
    return [lambda: rng.randrange(-5, 3000), lambda: rng.random() * 100,
            lambda: rng.choice(["en", "de", "", "2020", "true", 'q"\\', "ü😀",
                                "a\nb", "null", "[", " 1"]),
            lambda: True, lambda: False, lambda: "x" * rng.randrange(300),
            lambda: [draw_value(depth + 1) for _ in range(rng.randrange(4))],
            lambda: {k: draw_value(depth + 1) for k in rng.sample(KEYS, 2)},
            lambda: None if depth else 7][pick]()


def draw_meta(nulls=False):
    meta = {k: draw_value() for k in rng.sample(KEYS, rng.randrange(4))}
    if nulls and rng.random() < 0.4:
        meta[rng.choice(KEYS)] = None
    return meta


def merged(old, new):
    out = dict(old)
    for k, v in new.items():
        if v is None:
            out.pop(k, None)
        else:
            out[k] = v
    return out


def npy(array):
    import io
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def text_of(v):
    return rng.choice([",", " ", ";", "\t", "\n", ", "]).join(
        repr(float(x)) for x in v) + rng.choice(["", "\n"])


def draw_body(vec, knows_dim):
    """(folder, bytes, metadata or None) for a vector, in any form."""
    numbers = [float(x) for x in vec]
    form = rng.randrange(12)
    raw = vec.astype("<f4").tobytes()
    if form <= 2 and (knows_dim or raw[:1] not in BLANK):
        return "", raw, None
    if form <= 4:
        return "", text_of(vec).encode(), None
    if form == 5:
        return "", json.dumps(numbers).encode(), None
    if form == 6:
        meta = draw_meta(nulls=True)
        return "", json.dumps(
            {"metadata": meta, "vector": numbers},
            ensure_ascii=rng.random() < 0.5).encode(), meta
    if form == 7:
        shape = rng.choice([(-1,), (1, -1)])
        return "", npy(vec.reshape(shape).astype(
            rng.choice(["<f4", "<f8", ">f4"]))), None
    if form == 8:
        return ".as/raw", raw, None
    if form == 9:
        return ".as/npy", npy(vec), None
    if form == 10:
        meta = draw_meta()
        return ".as/json", json.dumps(
            {"vector": numbers, "metadata": meta}).encode(), meta
    return ".as/txt", text_of(vec).encode(), None


def draw_pieces(body):
    # Text and JSON may not be cut where a write would look wrong for good.
    if rng.random() < 0.8 or len(body) < 2:
        return None
    n = rng.randrange(1, len(body))
    return [n, len(body) - n]


def any_coll(filled=None):
    names = [n for n, c in model.colls.items()
             if filled is None or bool(c.records) == filled]
    return rng.choice(names) if names else None


def reach(name):
    """A path to a collection: its own, or through a link."""
    links = [n for n, t in model.links.items() if t == name]
    return path(rng.choice(links) if links and rng.random() < 0.3 else name)


def pick_record(c):
    return rng.choice(sorted(c.records))


# ---- comparing

def look_at(name, file):
    """One record, or its absence."""
    r = model.colls[name].records.get(file)
    full = path(name, file)
    if r is None:
        # A refused file keeps its name until the kernel has let go of it.
        until = time.monotonic() + 30
        while os.path.lexists(full) and time.monotonic() < until:
            os.sched_yield()
        must(not os.path.lexists(full), file, "is there")
        return
    st = os.stat(full)
    must(st.st_size == 4 * len(r.vec), file, "size", st.st_size)
    must(read(full) == r.vec.astype("<f4").tobytes(), file, "bytes differ",
         read(full).hex(), r.vec.astype("<f4").tobytes().hex())
    must(st.st_mtime_ns == r.mtime, file, "mtime", st.st_mtime_ns, r.mtime)
    must(json.loads(read(path(name, ".meta", file))) == r.meta,
         file, "metadata", read(path(name, ".meta", file)), r.meta)


def took(name, file, since, **kept):
    """A record has just been written: its time is between since and now."""
    r = model.colls[name].records[file]
    at = os.stat(path(name, file)).st_mtime_ns
    if "mtime" in kept:
        r.mtime = kept["mtime"]
    else:
        must(since <= at <= time.time_ns(), file, "mtime", at, "since", since)
        r.mtime = at
    look_at(name, file)


def distances(c, q):
    names = sorted(c.records)
    a = np.array([c.records[n].vec for n in names], "f8")
    q = q.astype("f8")
    metric = c.config["metric"]
    if metric == "l2":
        d = np.sqrt(((a - q) ** 2).sum(1))
    elif metric == "ip":
        d = -(a @ q)
    else:
        d = 1 - (a @ q) / (np.linalg.norm(a, axis=1) * np.linalg.norm(q))
    scale = {"l2": np.linalg.norm(a, axis=1).max() + np.linalg.norm(q),
             "ip": (np.linalg.norm(a, axis=1) * np.linalg.norm(q)).max(),
             "cosine": 1}[metric]
    return dict(zip(names, d)), 3e-6 * max(scale, 1e-30)


def answer_of(leaf):
    text = read(leaf).decode()
    return [json.loads(line) for line in text.splitlines()]


FILE_OF = {i: n for n, i in NAMES}


def look_at_answer(c, rows, k, q):
    d, tolerance = distances(c, q)
    must(len(rows) == min(k, len(d)), "rows", len(rows), "of", len(d))
    last, seen = None, set()
    for i, row in enumerate(rows):
        file = FILE_OF[row["id"]]
        must(file in d and file not in seen, "row", row)
        seen.add(file)
        must(abs(row["dist"] - d[file]) <= tolerance, "dist", row, d[file])
        must(row["rank"] == i + 1, "rank", row)
        must(row.get("meta", {}) == c.records[file].meta, "meta", row)
        this = (row["dist"], row["id"].encode())
        must(last is None or last < this, "order", last, this)
        last = this
    rest = [d[n] for n in d if n not in seen]
    must(not rest or not rows or rows[-1]["dist"] <= min(rest) + 2 * tolerance,
         "a nearer one is missing")


def look_at_coll(name, deep=False):
    c = model.colls[name]
    base = path(name)
    must(sorted(os.listdir(base)) == sorted(c.records), "listing",
         set(os.listdir(base)) ^ set(c.records))
    must(int(read(base + "/.stats/count")) == len(c.records), "count")
    must(read(base + "/.config/dim").decode().strip() ==
         ("" if c.dim is None else str(c.dim)), "dim",
         read(base + "/.config/dim"), c.dim)
    for key, value in c.config.items():
        must(read(f"{base}/.config/{key}").decode() == value + "\n", key)
    ids = dict(NAMES)
    want = sorted(ids[n].encode() for n in c.records)
    rows = answer_of(base + "/query/all.ndjson")
    must([r["id"].encode() for r in rows] == want, "query/all")
    must(all(r.get("meta", {}) == c.records[FILE_OF[r["id"]]].meta
             for r in rows), "query/all's metadata")
    with open(base + "/.export/all.ndjson", "rb") as f:
        size = os.fstat(f.fileno()).st_size
        text = f.read()
    must(size == len(text), "the export's size", size, len(text))
    rows = [json.loads(line) for line in text.splitlines()]
    must(sorted(r["id"].encode() for r in rows) == want, "export's ids")
    for r in rows:
        mine = c.records[FILE_OF[r["id"]]]
        must(np.array_equal(np.array(r["vector"], "f4"), mine.vec) and
             r.get("metadata", {}) == mine.meta, "export", r)
    if c.records:
        q = good_vec(c)
        k = rng.choice([1, 3, 10, 100])
        values = ",".join(repr(float(x)) for x in q)
        if len(values) < 240:
            look_at_answer(c, answer_of(
                f"{base}/query/k={k}/exact=1/{values}"), k, q)
        file = pick_record(c)
        rows = answer_of(f"{base}/query/k=100/exact=1/id={file}.ndjson")
        must({r["id"] for r in rows} ==
             {ids[n] for n in c.records if n != file}, "id=")
    for file in c.records if deep else ():
        look_at(name, file)
    for file, (body, _) in c.stages.items():
        must(read(path(name, file)) == body, "staged", file)


def look_at_all():
    root = sorted(os.listdir(ROOT))
    want = sorted([*model.colls, *model.links])
    must(root == want or (not want and root == ["README"]), "root", root, want)
    for name in model.colls:
        look_at_coll(name, deep=True)
        mode = model.colls[name].mode
        must(mode is None or os.stat(path(name)).st_mode & 0o7777 == mode,
             "mode of", name)
    for name, target in model.links.items():
        must(os.readlink(path(name)) == target, "link", name)


# ---- the calls: each makes one on both sides

def op_put():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0]
    vec = good_vec(c)
    folder, body, meta = draw_body(vec, c.open_dim() is not None)
    old = c.records.get(file)
    flags, want = os.O_CREAT | os.O_TRUNC, 0
    if rng.random() < 0.15:
        flags, want = os.O_CREAT | os.O_EXCL, errno.EEXIST if old else 0
    pieces = draw_pieces(body)
    note("put", name, file, folder, body[:60], want, pieces)
    since = now()
    trying(want, write, os.path.join(reach(name), folder, file), body, flags,
           pieces)
    if not want:
        c.records[file] = Record(vec, merged(old.meta if old else {},
                                             meta or {}), 0)
        c.dim = len(vec)
        took(name, file, since)
    look_at(name, file)


def op_put_bad():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0]
    dim = c.open_dim()
    vec = [repr(float(x)) for x in good_vec(c)]
    bad = [",".join(vec[:-1] + ["nan"]) + "\n", "one two three\n",
           ",".join(vec[:-1] + ["1e99"]) + "\n",
           '{"vector":[' + ",".join(vec) + '],"colour":1}\n',
           '{"vector":[' + ",".join(vec) + "\n", "[]", '{"metadata":[]}',
           npy(np.array([np.inf] * len(vec), "f4"))]
    if dim:
        bad += [",".join(vec + ["1"]) + "\n", b"\x01" * (4 * dim + 4),
                npy(np.ones(dim + 1, "f4"))]
        bad.append(np.array([np.nan] * dim, "<f4").tobytes())
        if c.config["metric"] == "cosine":
            bad += [np.zeros(dim, "<f4").tobytes(),
                    ",".join(["0"] * dim) + "\n"]
    body = rng.choice(bad)
    body = body.encode() if isinstance(body, str) else body
    # What is exactly a vector's bytes is one; so is a short text where any
    # size is.
    if dim and len(body) == 4 * dim and not any(
            body == b for b in bad[-3:]):
        return
    if not dim and len(body) == 4:
        return
    note("bad", name, file, body[:60])
    trying(errno.EINVAL, write, path(name, file), body)
    must(read(path(name, ".stats/last_error")).strip(), "no sentence")
    look_at(name, file)


def op_patch():
    """Writing in place, without O_TRUNC: a few numbers of the vector."""
    name = any_coll(filled=True)
    if not name:
        return
    c = model.colls[name]
    file = pick_record(c)
    r = c.records[file]
    vec = r.vec.copy()
    i = rng.randrange(len(vec))
    vec[i] = np.float32(rng.gauss(0, 1) or 1)
    raw = vec.tobytes()
    if c.open_dim() is None or raw[:1] in BLANK or not vec.any():
        return
    note("patch", name, file, i)
    since = now()
    fd = os.open(path(name, file), os.O_RDWR)
    os.pwrite(fd, raw[4 * i:4 * i + 4], 4 * i)
    if rng.random() < 0.3:
        os.fsync(fd)
    must(os.pread(fd, 1 << 16, 0) == raw, "what was written is read")
    os.close(fd)
    r.vec = vec
    took(name, file, since)


def op_open_writer():
    """A file that is renamed or removed while it is being written."""
    name = any_coll(filled=True)
    if not name:
        return
    c = model.colls[name]
    file, new = rng.choice(NAMES)[0], rng.choice(NAMES)[0]
    vec, old = good_vec(c), c.records.get(file)
    body = json.dumps([float(x) for x in vec]).encode()
    how = rng.choice(["rename", "unlink"])
    if c.open_dim() is None or file == new or (how == "rename" and not old):
        return
    note("open writer", how, name, file, new, bool(old))
    since = now()
    fd = os.open(path(name, file), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    is_early = rng.random() < 0.5
    if is_early:
        os.write(fd, body)
    if how == "rename":
        rename(path(name, file), path(name, new))
        c.records[new] = c.records.pop(file)
    else:
        os.unlink(path(name, file))
        c.records.pop(file, None)
    if not is_early:
        os.write(fd, body)
    os.close(fd)
    if how == "rename":
        c.records[new].vec = vec
        took(name, new, since)
    look_at(name, file)
    look_at(name, new)


def op_meta_only():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0]
    meta = draw_meta(nulls=True)
    r = c.records.get(file)
    note("meta by body", name, file, meta)
    trying(0 if r else errno.ENOENT, write, path(name, file),
           json.dumps({"metadata": meta}).encode())
    if r:
        r.meta = merged(r.meta, meta)
    look_at(name, file)


def op_meta_file():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0]
    r = c.records.get(file)
    meta = draw_meta(nulls=True)
    dice = rng.random()
    at = path(name, ".meta", file)
    note(".meta", name, file, meta, dice)
    if dice < 0.2:
        trying(0 if r else errno.ENOENT, os.unlink, at)
        meta = {}
    elif dice < 0.3:
        trying(errno.EINVAL if r else (errno.EINVAL), write, at, b"[1]")
        return look_at(name, file)
    else:
        trying(0 if r else errno.ENOENT, write, at, json.dumps(meta).encode())
    if r:
        r.meta = merged({}, meta)
    look_at(name, file)


def op_xattr():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0]
    r = c.records.get(file)
    key = rng.choice(KEYS)
    value = draw_value()
    how = rng.choice(["set", "set", "create", "replace", "remove", "get"])
    has = r is not None and key in r.meta
    text = json.dumps(value) if not isinstance(value, str) or \
        rng.random() < 0.5 else value
    if text is value:  # bare: a string only if it is no JSON
        try:
            value = json.loads(text)
        except ValueError:
            pass
    want = {"set": 0, "create": errno.EEXIST if has else 0,
            "replace": 0 if has else errno.ENODATA}.get(
                how, 0 if has else errno.ENODATA)
    if r is None and file not in c.stages:
        want = errno.ENOENT
    note("xattr", how, name, file, key, text[:40], want)
    full, attr = path(name, file), "user." + key
    if how == "get":
        got = trying(want, os.getxattr, full, attr)
        if not want:
            back = got.decode()
            try:
                back = json.loads(back)
            except ValueError:
                pass
            must(back == r.meta[key], "getxattr", got, r.meta[key])
            must(sorted(os.listxattr(full)) ==
                 sorted("user." + k for k in r.meta), "listxattr")
        return
    if how == "remove":
        trying(want, os.removexattr, full, attr)
        if not want:
            del r.meta[key]
    else:
        flags = {"set": 0, "create": os.XATTR_CREATE,
                 "replace": os.XATTR_REPLACE}[how]
        trying(want, os.setxattr, full, attr, text.encode(), flags)
        if not want:
            r.meta[key] = value
    look_at(name, file)


def op_unlink():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0] if rng.random() < 0.3 or not c.records \
        else pick_record(c)
    note("unlink", name, file)
    trying(0 if file in c.records else errno.ENOENT, os.unlink,
           os.path.join(reach(name), file))
    c.records.pop(file, None)
    look_at(name, file)


def op_rename():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    old = rng.choice(NAMES)[0] if rng.random() < 0.2 or not c.records \
        else pick_record(c)
    new = rng.choice(NAMES)[0]
    flags = rng.choice([0, 0, NOREPLACE])
    want = 0 if old in c.records else errno.ENOENT
    if not want and flags and new in c.records:
        want = errno.EEXIST
    note("rename", name, old, new, flags, want)
    trying(want, rename, os.path.join(path(name), old),
           os.path.join(path(name), new), flags)
    if not want and old != new:
        c.records[new] = c.records.pop(old)
    look_at(name, old)
    look_at(name, new)


def op_rename_across():
    if len(model.colls) < 2:
        return
    a, b = rng.sample(sorted(model.colls), 2)
    c = model.colls[a]
    if not c.records:
        return
    file = pick_record(c)
    note("rename across", a, b, file)
    trying(errno.EXDEV, rename, path(a, file), path(b, file))
    trying(errno.EXDEV, rename, path(a, file), path(a, ".away"))
    look_at(a, file)
    look_at(b, file)


def op_stage():
    """A staging file: anything may be in it."""
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(STAGES)
    kind = rng.random()
    if kind < 0.15:
        note("unlink stage", name, file)
        trying(0 if file in c.stages else errno.ENOENT, os.unlink,
               path(name, file))
        c.stages.pop(file, None)
        return
    if kind < 0.3 and file in c.stages:
        other = rng.choice(STAGES)
        note("rename stage", name, file, other)
        rename(path(name, file), path(name, other))
        c.stages[other] = c.stages.pop(file)
        return
    vec = good_vec(c)
    meta, attrs = None, {}
    if kind < 0.5:
        body = bytes(rng.randrange(256) for _ in range(rng.randrange(99)))
        vec = None
    else:
        folder = None
        while folder != "":
            folder, body, meta = draw_body(vec, c.open_dim() is not None)
    note("stage", name, file, body[:60])
    write(path(name, file), body, pieces=draw_pieces(body))
    old = c.stages.get(file)
    attrs = dict(old[1]["attrs"]) if old else {}
    if rng.random() < 0.4:
        key, value = rng.choice(KEYS), draw_value()
        os.setxattr(path(name, file), "user." + key,
                    json.dumps(value).encode())
        attrs[key] = value
    c.stages[file] = (body, {"vec": vec, "meta": meta or {}, "attrs": attrs})
    must(read(path(name, file)) == body, "staged bytes")


def op_commit_stage():
    names = [n for n, c in model.colls.items() if c.stages]
    if not names:
        return
    name = rng.choice(names)
    c = model.colls[name]
    stage = rng.choice(sorted(c.stages))
    file = rng.choice(NAMES)[0]
    body, info = c.stages[stage]
    vec, dim = info["vec"], c.open_dim()
    if vec is None or not body:
        return
    want = 0
    flags = rng.choice([0, 0, NOREPLACE])
    if (dim and len(vec) != dim) or (not dim and body[:1] in BLANK and
                                     len(body) == 4 * len(vec)):
        return
    if flags and file in c.records:
        want = errno.EEXIST
    note("commit stage", name, stage, file, flags, want)
    since = now()
    trying(want, rename, path(name, stage), path(name, file), flags)
    if not want:
        del c.stages[stage]
        c.records[file] = Record(vec, merged(info["attrs"], info["meta"]), 0)
        c.dim = len(vec)
        took(name, file, since)
        must(not os.path.lexists(path(name, stage)), "the stage stays")
    look_at(name, file)


def op_touch():
    """A name that has no bytes yet, or a time."""
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0]
    full = path(name, file)
    if file in c.records:
        when = rng.randrange(-10 ** 18, 3 * 10 ** 18)
        note("utime", name, file, when)
        os.utime(full, ns=(when, when))
        c.records[file].mtime = when
        return look_at(name, file)
    note("touch", name, file)
    write(full, b"")
    must(os.stat(full).st_size == 0, "an empty file's size")
    must(file not in os.listdir(path(name)), "an empty file is listed")
    os.unlink(full)
    return look_at(name, file)


def op_truncate():
    name = any_coll(filled=True)
    if not name:
        return
    c = model.colls[name]
    file = pick_record(c)
    size = 4 * len(c.records[file].vec)
    to = rng.choice([0, size, size + 4, max(size - 4, 1), 10 ** 6])
    note("truncate", name, file, to)
    trying(0 if to in (0, size) else errno.EINVAL, os.truncate,
           path(name, file), to)
    look_at(name, file)


def op_modes():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    mode = rng.choice([0o755, 0o700, 0o777, 0o1777])
    note("chmod", name, oct(mode))
    os.chmod(path(name), mode)
    c.mode = mode
    if c.records:
        file = pick_record(c)
        os.chmod(path(name, file), 0o400)
        os.chown(path(name, file), os.getuid(), os.getgid())
        look_at(name, file)
    must(os.stat(path(name)).st_mode & 0o7777 == mode, "mode")


def op_mkdir():
    name = rng.choice(COLLS)
    want = errno.EEXIST if name in model.colls else 0
    note("mkdir", name, want)
    trying(want, os.mkdir, path(name))
    if not want:
        model.colls[name] = Coll()
        if rng.random() < 0.6:
            for key, value in [("metric", rng.choice(["l2", "ip", "cosine"])),
                               ("index", rng.choice(["flat", "hnsw"]))]:
                write(path(name, ".config", key), value.encode(), 0)
                model.colls[name].config[key] = value


def op_rmdir():
    name = rng.choice(COLLS)
    c = model.colls.get(name)
    if c and not c.records and rng.random() < 0.7:
        return
    want = errno.ENOENT if not c else errno.ENOTEMPTY if c.records else 0
    note("rmdir", name, want)
    trying(want, os.rmdir, path(name))
    if not want:
        del model.colls[name]


def op_move_coll():
    old, new = rng.choice(COLLS), rng.choice(COLLS + LINKS)
    c, d = model.colls.get(old), model.colls.get(new)
    want = 0
    if not c:
        want = errno.ENOENT
    elif new in model.links:
        want = errno.ENOTDIR
    elif d is not None and d is not c and d.records:
        want = errno.ENOTEMPTY
    if new in LINKS and not want:
        return
    note("mv", old, new, want)
    trying(want, rename, path(old), path(new))
    if not want and old != new:
        model.colls[new] = model.colls.pop(old)


def op_link():
    name, target = rng.choice(LINKS), rng.choice(COLLS)
    dice = rng.random()
    note("link", name, target, dice)
    if dice < 0.3:
        trying(0 if name in model.links else errno.ENOENT, os.unlink,
               path(name))
        model.links.pop(name, None)
    elif dice < 0.6:
        want = errno.EEXIST if name in model.links else 0
        trying(want, os.symlink, target, path(name))
        if not want:
            model.links[name] = target
    elif dice < 0.9:
        os.symlink(target, path(".switch"))
        rename(path(".switch"), path(name))
        model.links[name] = target
    elif any_coll():
        os.symlink(target, path(".switch"))
        trying(errno.EISDIR, rename, path(".switch"), path(any_coll()))
        os.unlink(path(".switch"))
    if name in model.links:
        must(os.readlink(path(name)) == model.links[name], "readlink")


def wait_until_anew(name):
    """Until the rows are linked as .config says."""
    for _ in range(600):
        text = open(path(name, ".stats", "index")).read()
        if "anew: no" in text or "index: none" in text:
            return
        time.sleep(0.05)
    raise AssertionError("not made anew in 30 s: " + text)


def op_config():
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    key, value = rng.choice([
        ("metric", "l2"), ("metric", "ip"), ("metric", "cosine"),
        ("index", "flat"), ("index", "hnsw"), ("m", "8"), ("m", "16"),
        ("quant", "none"), ("quant", "sq8"), ("quant", "qg"), ("index", "auto"),
        ("ef_construction", "64"), ("ef_construction", "auto"),
        ("ef_search", "100"), ("ef_search", "7"), ("ef_search", "auto"),
        ("target_recall", "0.9"), ("target_recall", "0.99"),
        ("dim", "3"), ("dim", "5"), ("m", "1"), ("metric", "far"),
        ("dim", "0"), ("ef_search", "-1"), ("index", ""), ("dim", "3.5"),
        ("target_recall", "1.0")])
    is_bad = (key, value) in [("m", "1"), ("metric", "far"), ("dim", "0"),
                              ("ef_search", "-1"), ("dim", "3.5"),
                              ("target_recall", "1.0")]
    if value == "":
        return
    is_now = str(c.dim) if key == "dim" else c.config[key]
    want = errno.EINVAL if is_bad else 0
    if not is_bad and c.records and key == "dim" and value != is_now:
        want = errno.EBUSY
    if value == "cosine" and any(not r.vec.any() for r in c.records.values()):
        return
    note("config", name, key, value, want)
    trying(want, write, path(name, ".config", key), value.encode() + b"\n", 0)
    if want:
        return
    if key != "dim":
        c.config[key] = value
        wait_until_anew(name)
    elif not c.records:
        c.dim, c.is_written = int(value), True


def op_clear():
    name = any_coll(filled=True)
    if not name or rng.random() < 0.8:
        return
    note("clear", name)
    trying(errno.EINVAL, write, path(name, ".delete-where"), b"everything", 0)
    look_at_coll(name)
    write(path(name, ".delete-where"), b"all\n", 0)
    model.colls[name].records.clear()
    look_at_coll(name)


def op_import():
    name = any_coll()
    if not name or rng.random() < 0.5:
        return
    c = model.colls[name]
    dim = c.open_dim() or rng.choice(DIMS)
    lines, is_bad, changes = [], False, {}
    for file, ident in rng.sample(NAMES, rng.randrange(1, 9)):
        vec, meta = good_vec(c, dim), draw_meta(nulls=True)
        row = {"id": ident, "vector": [float(x) for x in vec]}
        if rng.random() < 0.7:
            row["metadata"] = meta
        if lines and rng.random() < 0.1:
            row["vector"].append(1.0)
            is_bad = True
        else:
            changes[file] = (vec, row.get("metadata", {}))
        lines.append(json.dumps(row))
    note("import", name, [line[:50] for line in lines], is_bad)
    since = now()
    trying(errno.EINVAL if is_bad else 0, write,
           path(name, ".import/ndjson"), "\n".join(lines).encode() + b"\n", 0)
    for file, (vec, meta) in changes.items():
        old = c.records.get(file)
        c.records[file] = Record(vec, merged(old.meta if old else {}, meta), 0)
        c.dim = dim
        took(name, file, since)


def op_named():
    name = any_coll(filled=True)
    if not name:
        return
    c = model.colls[name]
    word = rng.choice(["q1", "q2", "b_1"])
    if word not in c.queries or rng.random() < 0.4:
        n = rng.choice([1, 1, 3])
        vecs = np.array([good_vec(c) for _ in range(n)])
        note("named", name, word, n)
        write(path(name, "query", word),
              npy(vecs if n > 1 else vecs[0]))
        c.queries[word] = vecs
    vecs = c.queries[word]
    if vecs.shape[1] != c.dim:
        return
    k = rng.choice([1, 4, 50])
    note("ask", name, word, k)
    rows = answer_of(path(name, "query", f"k={k}", "exact=1", word))
    for i, q in enumerate(vecs):
        mine = [{k: v for k, v in r.items() if k != "q"} for r in rows
                if r.get("q", 0) == i]
        look_at_answer(c, mine, k, q)


def op_dotted_vector():
    """What a staging name may not become: the file stays as it is."""
    name = any_coll()
    if not name:
        return
    c = model.colls[name]
    file = rng.choice(NAMES)[0]
    full = path(name, ".bad")
    note("a bad stage", name, file)
    write(full, b"no vector at all\n")
    trying(errno.EINVAL, rename, full, path(name, file))
    must(read(full) == b"no vector at all\n", "the staged bytes")
    os.unlink(full)
    look_at(name, file)


def remount():
    # Every third time the mount was one whose close() makes things last.
    how = "kill" if remount.n % 3 == 0 else "remount"
    remount.n += 1
    note(how)
    print(how, flush=True)
    must(sys.stdin.readline() == "mounted\n", "no mount")
    for name, c in model.colls.items():
        c.queries.clear()
        for file in list(c.stages):
            # Staging is this mount's; what is left of it is whole.
            if not os.path.lexists(path(name, file)):
                del c.stages[file]
        # Behind a kill, rows are linked by older settings until that is done
        # again.
        wait_until_anew(name)
    look_at_all()


remount.n = 0
WEIGHTS = [
    (op_put, 30), (op_put_bad, 6), (op_patch, 6), (op_open_writer, 4), (op_meta_only, 4),
    (op_meta_file, 6), (op_xattr, 16), (op_unlink, 6), (op_rename, 8),
    (op_rename_across, 2), (op_stage, 8), (op_commit_stage, 8), (op_touch, 5),
    (op_truncate, 4), (op_modes, 1), (op_mkdir, 3), (op_rmdir, 3),
    (op_move_coll, 2), (op_link, 3), (op_config, 6), (op_clear, 1),
    (op_import, 4), (op_named, 5), (op_dotted_vector, 2)]


def note(*words):
    line = " ".join(str(w) for w in words)
    history.append(line)
    if TRACE:
        print("#", line.encode("unicode_escape").decode(), file=sys.stderr)


def run():
    calls = [c for c, w in WEIGHTS for _ in range(w)]
    for i in range(OPS):
        rng.choice(calls)()
        if i % LOOK == 0 and model.colls:
            note("look")
            look_at_coll(any_coll())
        if i % REMOUNT == REMOUNT - 1:
            look_at_all()
            remount()


print(f"seed {SEED}", flush=True)
try:
    run()
    print(f"yes: {OPS} calls, and the tree is as the model")
    look_at_all()
    print("yes: all of it, vectors, times, metadata and answers")
    remount()
    print("yes: and behind one more mount")
    n = sum(len(c.records) for c in model.colls.values())
    print("yes: with vectors left to compare" if n else "no: nothing is left")
except (Differs, OSError, KeyError, ValueError) as e:
    print("no: the tree is as the model: " +
          repr(e).encode("unicode_escape").decode())
    for line in history:
        print("  " + line.encode("unicode_escape").decode())
    print(f"  VG_SEED={SEED} repeats it", flush=True)
    raise
