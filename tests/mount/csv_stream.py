# SPDX-License-Identifier: Apache-2.0
"""csv_stream.py: .import/{csv,bvecs} and .export/all.vec against Python's csv
module and numpy."""
import csv
import io
import json
import os
import random
import struct

import numpy as np
from mounted import (ROOT, Collection, again, check, crash, daemon_pid,
                     error_of, file_name, seed)

SEED = seed()
rng = random.Random(SEED)
S = os.environ["S"]


def error_lines(c):
    return c.read(".import/errors").decode().splitlines()


WORDS = ["plain", "a,b", 'say "hi"', "two\nlines", "cr\r\nlf", "2020", "-1.5e3",
         "true", "null", '"quoted"', "[1, 2]", '{"k": "v"}', "007", " blank ",
         "\u00fc\u20ac", "", "'", '"', '""', ",", "\n"]


def typed(text):
    """What setfattr makes of a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def make_rows(n, ids):
    rows = []
    for i in range(n):
        meta = {f"col {j},{j}": rng.choice(WORDS) for j in range(4)
                if rng.random() < .7}
        rows.append((f"{ids}{i}" if rng.random() < .9 else f'{ids},"{i}\n',
                     [rng.randrange(-50, 50) / 4 for _ in range(3)], meta))
    return rows


def write_csv(rows, style, **dialect):
    """As csv.writer does it; style: how the vector is spelled."""
    out = io.StringIO()
    keys = [f"col {j},{j}" for j in range(4)]
    head = ["v2", "v0", "v1"] if style == "columns" else ["vector"]
    rng.shuffle(keys)
    w = csv.writer(out, **dialect)
    w.writerow(["id"] + keys[:2] + head + keys[2:])
    for i, v, meta in rows:
        cells = ([v[2], v[0], v[1]] if style == "columns" else
                 [json.dumps(v)] if style == "json" else
                 [" ".join(map(str, v))])
        w.writerow([i] + [meta.get(k, "") for k in keys[:2]] + cells +
                   [meta.get(k, "") for k in keys[2:]])
    return out.getvalue().encode()


def is_in(c, rows, quotes_all):
    for i, v, meta in rows:
        want = {k: typed(t) for k, t in meta.items()
                if (t != "" or quotes_all) and typed(t) is not None}
        if quotes_all:
            want = {**{f"col {j},{j}": "" for j in range(4)}, **want}
            want = {k: t for k, t in want.items()
                    if typed(meta.get(k, "")) is not None}
        got = c.get(file_name(i))
        if not got or got[0].tolist() != v or got[1] != want:
            return f"{i!r} is {got}, not {v} {want}"
    return None


def styles():
    for n, (style, dialect) in enumerate([
            ("json", {}), ("columns", {}), ("blanks", {"lineterminator": "\n"}),
            ("columns", {"quoting": csv.QUOTE_ALL}),
            ("json", {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"})]):
        c = Collection(f"style{n}", metric="l2")
        rows = make_rows(300, "doc")
        body = write_csv(rows, style, **dialect)
        if n % 2:
            body = b"\xef\xbb\xbf" + body
        c.write(".import/csv", body, flags=0)
        wrong = is_in(c, rows, "quoting" in dialect)
        check(not wrong and c.size() == 300,
              f"csv.writer's rows are records, {style} {dialect} {wrong}")


def bad_rows():
    c = Collection("bad", metric="l2")
    body = ('id,vector,x\na,"1,2",1\nb,"1,2,3",2\n"c\nd","3 4","l\nm"\n\n'
            'e,1 2,3,4\nf,"1,2"x,5\ng,"5,6",ok\n')
    error = error_of(c.write, ".import/csv", body, 0)
    lines = [line.split(":")[0] for line in error_lines(c)]
    check(error == "EINVAL" and c.size() == 3 and
          lines == ["line 3", "line 8", "line 9"],
          f"a bad row is told by its line and stops nothing {lines}")
    check("rows 3\nerrors 3" in c.read(".import/status").decode(),
          "the status counts them")
    error = error_of(c.write, ".import/csv", "id,x,id\n1,2,3\n", 0)
    check(error == "EINVAL" and "the header has the column id twice" in
          c.read(".stats/last_error").decode() and c.size() == 3,
          "without a header nothing comes in, and the sentence says why")
    c.write(".import/csv@row", "v0,v1,n\n7,8,1\n9,8,2\n", 0)
    check(c.get("row1")[0].tolist() == [9, 8],
          "rows without ids are numbered behind the prefix")
    c.write(".import/csv", "id,x,y\na,null,new\n", 0)
    check(c.get("a")[1] == {"y": "new"} and c.get("a")[0].tolist() == [1, 2],
          "rows without vectors change metadata: null removes")


def crashes():
    """Daemons die under a stream whose header is long gone."""
    c = Collection("crashes", metric="l2")
    rows = make_rows(6000, "r")
    body = write_csv(rows, "columns")
    fd = os.open(c.path + "/.import/csv", os.O_WRONLY)
    step = len(body) // 40 + 7
    for n, at in enumerate(range(0, len(body), step)):
        part = body[at:at + step]
        while part:
            part = part[os.write(fd, part):]
        if n % 9 == 5:
            crash()
    os.close(fd)
    wrong = is_in(c, rows, False)
    check(not wrong and c.size() == len({r[0] for r in rows}) and
          error_lines(c) == [], f"a CSV goes on where a crash cut it {wrong}")
    check("4 times" in open(ROOT + "/.vecgridfs/health").read(),
          "which was four times")
    again()
    wrong = is_in(c, rows, False)
    check(not wrong, f"and all of it is there after a restart {wrong}")


def memory():
    """A stream that is much larger than what the daemon may keep of it."""
    c = Collection("memory", metric="l2", index="flat")
    status = f"/proc/{daemon_pid()}/status"

    def anon():
        return max(int(line.split()[1]) for line in open(status)
                   if line.startswith("RssAnon:"))
    before = peak = anon()
    fd = os.open(c.path + "/.import/csv", os.O_WRONLY)
    os.write(fd, b"id,vector,text\n")
    # Rows of 10 KB with a cell too many, and one in a hundred that is good.
    text = b'"' + b"line\n" * 2000 + b'"'
    block = b"".join(b'r%d,"1,%d",' % (i, i) + text +
                     (b"\n" if i == 7 else b",more\n") for i in range(100))
    for n in range(300):
        part = memoryview(block)
        while part:
            part = part[os.write(fd, part):]
        peak = max(peak, anon())
    error = error_of(os.close, fd)
    check(error == "EINVAL" and c.ids() == ["r7"] and
          c.get("r7")[1] == {"text": "line\n" * 2000} and
          "errors 29700" in c.read(".import/status").decode(),
          "300 MB of CSV, most of it bad rows of many lines")
    # A sanitizer keeps 256 MB of what was freed.
    more = 600000 if os.environ.get("SANITIZED") else 200000
    check(peak - before < more,
          f"take constant memory ({before} KiB, then {peak})")


def vecs():
    c = Collection("vecs", metric="l2")
    rows = np.random.default_rng(SEED).integers(0, 256, (700, 16), np.uint8)
    head = np.full((700, 1), 16, "<i4").view(np.uint8).reshape(700, 4)
    body = np.hstack([head, rows]).tobytes()
    c.write(".import/bvecs", body, 0)
    check(c.size() == 700 and all(
        (np.frombuffer(c.read(str(i)), "<f4") == rows[i]).all()
        for i in range(700)), "bvecs are rows of bytes, named by their number")
    check(error_of(c.write, ".import/bvecs", body[:-1], 0) == "EINVAL" and
          "inside row 699" in c.read(".stats/last_error").decode(),
          "one that ends early is told")
    c.write(".import/bvecs@b", body[:200], 0)
    check(c.size() == 710 and (np.frombuffer(c.read("b9"), "<f4") ==
                               rows[9]).all(), "a prefix stands before them")
    for name in ("b1", "17", "300"):
        c.delete(name)

    def is_vec(body, c):
        magic, version, n, dim, pad = struct.unpack("<IIQII", body[:24])
        e = np.load(c.path + "/.export/all.npy")
        return ((magic, version, n, dim, pad) ==
                (0x56454354, 1, len(e), e.shape[1], 0) and
                body[24:] == e.tobytes())
    size = os.stat(c.path + "/.export/all.vec").st_size
    body = c.read(".export/all.vec")
    check(is_vec(body, c) and size == len(body) == 24 + 707 * 64,
          "all.vec is a header and the rows of all.npy; its size is exact")
    os.mkdir(c.path + "/.snap/s")
    with open(c.path + "/.export/all.vec", "rb", buffering=0) as f:
        first = f.read(1000)
        c.delete("5")
        c.insert("new", [0] * 16)
        crash()
        rest = b"".join(iter(lambda: f.read(1 << 16), b""))
    check(first + rest == body and
          c.read(".snap/s/.export/all.vec") == body and
          is_vec(c.read(".export/all.vec"), c),
          "one that is open stays as it was, across a crash, as a snapshot's")
    again()
    check(is_vec(c.read(".export/all.vec"), c) and
          c.read(".snap/s/.export/all.vec") == body,
          "and so it is after a restart")
    c = Collection("empty")
    check(c.read(".export/all.vec") == struct.pack(
        "<IIQII", 0x56454354, 1, 0, 1, 0), "an empty one has its header")


styles()
bad_rows()
crashes()
memory()
vecs()
