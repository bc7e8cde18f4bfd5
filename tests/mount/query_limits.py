# SPDX-License-Identifier: Apache-2.0
"""query_limits.py MOUNT: what a query may say, up to the last byte.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import array
import base64
import errno
import json
import os
import struct
import sys

mount = sys.argv[1]
c = mount + "/c"
REFUSED = ("EINVAL", "ENOENT")
MAX_DIM = 65535


def say(wrong, sentence):
    print(("no: " if wrong else "yes: ") + sentence, flush=True)
    for what in list(wrong)[:4] if wrong else []:
        print(str(what)[:300])


def read(path):
    """The file's bytes, or the name of the errno that says why not."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        return errno.errorcode[e.errno]


def write(path, body):
    """"", or an errno's name."""
    try:
        with open(path, "wb", buffering=0) as f:
            while body:
                body = body[f.write(body):]
    except OSError as e:
        return errno.errorcode[e.errno]
    return ""


def query(path, folder=c):
    return read(f"{folder}/query/{path}")


def ids(path, folder=c):
    body = query(path + ".ids", folder)
    return body if isinstance(body, str) else body.decode().split("\n")[:-1]


def searches():
    return int(read(c + "/.stats/searches"))


def run(*requests):
    """What a handle of .run says to each, one after the other."""
    fd = os.open(c + "/query/.run", os.O_RDWR)
    said = []
    for request in requests:
        try:
            os.pwrite(fd, request, 0)
            said.append(os.pread(fd, 1 << 20, 0))
        except OSError as e:
            said.append(errno.errorcode[e.errno])
    os.close(fd)
    return said


def asks(paths, allowed=REFUSED):
    """Those of the paths that are answered, or refused otherwise; and, if
    any of them was searched for, that."""
    before = searches()
    wrong = [(p, got) for p in paths if (got := query(p)) not in allowed]
    return wrong + [("searches", n)] if (n := searches() - before) else wrong


os.mkdir(c)
write(c + "/.config/metric", b"l2\n")
for x in range(12):
    write(f"{c}/p{x:02}", b"%d,0" % x)

# ---- parameters

NO_UINT = ["", "-1", "+1", "1.5", "1e3", " 1", "1 ", "0x10", "1,2", "one",
           "4294967296", "4294967297", "18446744073709551616",
           "18446744073709551617", "9" * 200, "\uff11", "-0", "1=1", "%31"]
NO_FLOAT = ["", "nan", "NaN", "inf", "-inf", "infinity", " 1", "1 ", "0x1p3",
            "--1", "1,2", "1.2.3", "1e", "e1", "1e99", "-1e99", "far", "-"]
NO_FLAG = ["", "2", "-1", "true", "yes", "10", "1 ", "01", "1.0"]
MANY = ",".join(f"f{i}" for i in range(64))
table = {
    "k": (NO_UINT + ["0", "10001"], ["1", "10000"]),
    "offset": (NO_UINT + ["10001"], ["0", "9990"]),
    "ef": (NO_UINT + ["0", "100001"], ["1", "100000"]),
    "timeout": (NO_UINT + ["0", "3600001"], ["60000", "3600000"]),
    "threads": (NO_UINT + ["0", "257"], ["1", "256"]),
    "max_dist": (NO_FLOAT, ["0", "-1", "1e38", "-0.5", "1e-30"]),
    "min_score": (NO_FLOAT, ["0", "-1", "1e38", "-3.4e38"]),
    "exact": (NO_FLAG, ["0", "1"]),
    "partial": (NO_FLAG, ["0", "1"]),
    "strict": (NO_FLAG, ["0", "1"]),
    "trailer": (NO_FLAG, ["0", "1"]),
    "fields": (["", ",", "a,", ",a", "a,a", "a,b,a", "a,%61,,b", MANY + ",x"],
               ["a", MANY, "%2C,%25,%2F", "\u00e9"]),
    "fmt": (["", "xml", "NDJSON", "tsv ", "npy.gz", "nd", ".tsv", "json,tsv"],
            ["ndjson", "json", "tsv", "ids", "dist", "f32", "npy"]),
}
for word, (bad, good) in table.items():
    wrong = asks([f"{word}={v}/1,0" for v in bad] +
                 [f"k=3/{word}={v}/exact=1/id=p01" for v in bad])
    wrong += [v for v in good
              if isinstance(query(f"{word}={v}/1,0"), str)
              or not os.path.isdir(f"{c}/query/{word}={v}")]
    say(wrong, f"{word}= has its bounds")
say(asks(["offset=10000/k=1/1,0", "k=1/offset=10000/1,0",
          "k=10000/offset=1/1,0",
          "offset=9991/1,0", "offset=5001/k=5000/id=p01", "k=5/offset=9996/all",
          "offset=10000/k=10000/1,0", "offset=10001/all"], ["EINVAL"]),
    "offset + k over 10,000 is EINVAL")
say([p for p in ("offset=9999/k=1/1,0", "k=10000/1,0", "offset=9990/1,0",
                 "offset=10000/all", "k=9999/offset=1/id=p01")
     if isinstance(query(p), str)], "10,000 itself is answered")
say([p for p in ("k=0/k=2/1,0", "k=2/k=0/1,0", "k=10001/k=1/1,0")
     if query(p) not in REFUSED], "a wrong value is not made good by a later")
say([] if len(ids("/".join(f"k={1 + i % 9}" for i in range(120)) + "/1,0")) == 3
    else ["rows"], "a hundred and twenty directories deep the innermost wins")
say(asks(["all.f32", "all.npy", "all.dist", "fmt=dist/all", "max_dist=1/all",
          "min_score=1/all", "trailer=1/1,0.f32", "trailer=1/fmt=npy/1,0"],
         ["EINVAL"]), "what has no meaning together is EINVAL")
UNKNOWN = ["K=5", "kk=5", "limit=5", "=5", "=", "k:5", "groups=a",
           "orders=n", "snap=s", "consistency=stale", "Exact=1",
           "likes=p01", "text=one", "facet=", "max-dist=1", "k", "exact",
           "offset", "fmt", "ALL", "Count", "ids", "tsv", "v", "V=1,0",
           "nobody", "count.tsv", "all.xml", "p01", "k=5=", "'1,0'", "*",
           "[1,0]"]
say(asks(UNKNOWN + [w + "/1,0" for w in UNKNOWN] +
         [f"k=5/{w}.tsv" for w in UNKNOWN]),
    "an unknown word is nothing, alone, before a vector and with a format")

# ---- requests on a handle

before = searches()
good = b'{"vector":[1,0],"k":1}'
bad = [b'{}', b'{', b'{"k":1}', b'{"vector":[]}', b'{"vector":[1]}',
       b'{"vector":[1,2,3]}', b'{"vector":1}', b'{"vector":"1,0"}',
       b'{"vector":[1,null]}', b'{"vector":[[1,0]]}', b'{"vector":[1,NaN]}',
       b'{"vector":[1e99,0]}', b'{"vectors":[]}', b'{"vectors":[1,0]}',
       b'{"vectors":[[1,0],[1]]}', b'{"vector":[1,0]}{"vector":[1,0]}',
       b'{"vector":[1,0],"vector":[1,0]}', b'{"vector":[1,0],"id":"p01"}',
       b'{"id":""}', b'{"id":7}', b'{"id":"%s"}' % (b"x" * 256),
       b'{"id":"nobody"}', b'{"vector":[1,0],"limit":1}', b"1,0,0", b"x",
       b"\0" * 7, b"\0" * 12, struct.pack("<2f", float("nan"), 0),
       b'{"vector":' + b"[" * 5000 + b"]" * 5000 + b"}"]
values = {"k": ['0', '-1', '10001', '1.5', '"5"', 'true', 'null', '[5]', '1e30',
                '4294967297'],
          "offset": ['-1', '10001', '9996', '{}'], "ef": ['0', '100001'],
          "max_dist": ['"1"', 'true', '1e99', 'null'], "min_score": ['[]'],
          "exact": ['1', '0', '"1"', 'null'], "trailer": ['2', '"true"'],
          "fields": ['"a"', '[]', '[1]', '["a","a"]', '[""]', '{}',
                     json.dumps(MANY.split(",") + ["x"])],
          "fmt": ['"xml"', '7', 'true', '""'], "threads": ['0', '257'],
          "timeout": ['0', '3600001', '-5']}
bad += [b'{"vector":[1,0],"%s":%s}' % (word.encode(), v.encode())
        for word, list_ in values.items() for v in list_]
said = run(*bad)
say([w for w in zip(bad, said) if w[1] not in REFUSED],
    "a wrong request on a handle is refused")
say([] if searches() == before else [searches() - before],
    "and costs no search")
said = run(*(r for b in bad for r in (b, good)))[1::2]
say([w for w in zip(bad, said) if b'"p01"' not in w[1]
     or w[1].count(b"\n") != 1] if not any(isinstance(s, str) for s in said)
    else [s for s in zip(bad, said) if isinstance(s[1], str)],
    "after each the handle answers the next")

# ---- long components

os.chdir(c + "/query")


def long_leaf(n):
    return "v=1." + "0" * (n - 6) + ",0"


say([n for n in (255, 256, 257, 1022, 1023)
     if len(long_leaf(n)) != n or b'"p01"' not in read(long_leaf(n))
     or read(long_leaf(n - 4) + ".ids")[:4] != b"p01\n"],
    "a component of 1,023 bytes is answered")
say([(n, got[:60]) for n in (1024, 2000, 4094, 4095)
     if (got := read(long_leaf(n))) != "ENAMETOOLONG" and b'"p01"' not in
     (got if isinstance(got, bytes) else b"")],
    "up to 4,095 as the kernel lets it")
say([got for n in (4096, 5000) if (got := read(long_leaf(n))) !=
     "ENAMETOOLONG"], "a longer one is ENAMETOOLONG")
say([(n, got) for n in (256, 1023) for p in ("n" * n, "id=" + "n" * (n - 3),
     "k=" + "1" * (n - 2), "." + "n" * (n - 1), "v=" + "x" * (n - 2))
     if (got := read(p)) not in REFUSED + ("ENAMETOOLONG",)],
    "long words of no meaning are refused")
os.chdir("/")

# ---- ids and names that look like words

LOOKS = ["a.tsv", "a.ids", "count", "all", "all.ids", "k=5", "id=p01", "v=1,0",
         "fmt=tsv", ".ids", ".run", ".stats", "query", "1,0", "-1", "b64=AA",
         "x" * 255, "y" * 251 + ".tsv", "\u00e9" * 127, "%", "%2F", " ", "."]
spelled = {i: i.replace("%2F", "%252F") for i in LOOKS}
spelled |= {i: "%2E" + i[1:] for i in LOOKS if i[0] == "."}
spelled["query"] = "%71uery"
say([(i, got) for n, i in enumerate(LOOKS) if len(spelled[i].encode()) < 256
     and (got := write(f"{c}/{spelled[i]}", b"%d,-50" % n))],
    "ids that look like words are written")
say([(i, got) for i in LOOKS
     if (got := ids(f"k=1/exact=1/v={LOOKS.index(i)},-50")) != [i]],
    "and found")
say([(i, got) for i in LOOKS if (got := ids("k=2/exact=1/id=" + spelled[i]))
     in REFUSED or len(got) != 2 or i in got], "and asked for by id=")
said = run(*(json.dumps({"id": i, "k": 3, "exact": True}).encode()
             for i in LOOKS))
found = [got if isinstance(got, str) else
         [json.loads(r)["id"] for r in got.splitlines()] for got in said]
say([(i, got) for i, got in zip(LOOKS, found) if len(got) != 3 or i in got],
    "and in requests on a handle, as they are")
say([got for p in ("id=" + "x" * 254, "id=" + "x" * 256, "id=" + "y" * 251,
     "id=", "id=.", "id=..", "id=a", "id=%2E%2E") if (got := query(p))
     not in REFUSED + ("ENAMETOOLONG",)], "ids nobody has are not found")
say([n for n in ("count", "all", "k", "ef", "fmt", "where", "snap", "k=5",
                 "1a", "-a", "a b", "a.", "\u00e9", "n" * 65, "a=b", "a,b")
     if not write(f"{c}/query/{n}", b"1,0")], "a request takes no such name")
say([n for n in ("c", "counts", "all_", "kk", "n" * 64, "_", "A-9", "tsv", "id",
                 "v", "b64", "run", "vector")
     if write(f"{c}/query/{n}", b"3,0") or ids(f"k=1/{n}") != ["p03"]],
    "but any other of up to 64 letters")

# ---- dimensions

wide = mount + "/wide"
os.mkdir(wide)
write(wide + "/.config/metric", b"l2\n")
one, two = (array.array("f", [v] * MAX_DIM).tobytes() for v in (0.25, 0.5))
wrong = [write(wide + "/one", one), write(wide + "/two", two)]
say([] if wrong == ["", ""] and read(wide + "/one") == one and
    os.stat(wide + "/two").st_size == 4 * MAX_DIM else wrong,
    "65,535 dimensions are written and read")
write(wide + "/query/q", two)
say([] if ids("id=one", wide) == ["two"] and ids("q", wide) == ["two", "one"]
    and abs(float(query("id=one.dist", wide)) - MAX_DIM ** 0.5 / 4) < 1e-3
    else [ids("id=one", wide), ids("q", wide)], "and searched")
os.mkdir(mount + "/wider")
say([got for got in (write(mount + "/wider/a", one + one[:4]),
                     write(wide + "/query/r", one + one[:4]),
                     write(mount + "/wider/.config/dim", b"65536\n"),
                     write(mount + "/wider/.config/dim", b"0\n"))
     if got != "EINVAL"] or os.listdir(mount + "/wider"),
    "65,536 are EINVAL, and none as well")
thin = mount + "/thin"
os.mkdir(thin)
write(thin + "/.config/metric", b"l2\n")
write(thin + "/.config/dim", b"1\n")
for x in (-3, 0, 5):
    write(f"{thin}/at{x}", b"%d" % x)
letters = base64.urlsafe_b64encode(struct.pack("<f", 5.5)).decode()
say([(p, got) for p, want in (("4", "at5"), ("v=-2.9", "at-3"), ("-9", "at-3"),
     ("b64=" + letters, "at5"), ("b64=" + letters.rstrip("="), "at5"),
     ("id=at0", "at-3"), ("1e-9", "at0"))
     if (got := ids("k=1/" + p, thin)) != [want]],
    "one dimension is a vector")
say([p for p in ("1,2", "v=1,2", "b64=AAAAAAAAAAA", "v=") if query(p, thin)
     not in REFUSED], "but not two, there")
