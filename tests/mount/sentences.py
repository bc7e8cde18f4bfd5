# SPDX-License-Identifier: Apache-2.0
"""sentences.py ROOT SCRATCH: provokes each refusal and looks at its sentence.

A case is what was tried, the errno, and what the sentence must have in it: the
thing and, where there is one, the remedy. After each the collection is as it
was. "sentences.py count": how many there are.
"""
import errno
import hashlib
import io
import json
import os
import re
import sys

import mounted
import numpy as np

ROOT, SCRATCH = (sys.argv + ["", ""])[1:3]
BLOB = bytes(range(128, 256))


def at(*parts):
    return os.path.join(ROOT, *parts)


def write(body, *parts, **how):
    mounted.write(at(*parts), body, **how)


def body(text, name="new", folder="c"):
    raw = text.encode("utf8") if isinstance(text, str) else text
    return lambda: write(raw, folder, name)


def form(word, raw):
    return lambda: write(raw, "c/.as", word, "new")


def npy(array, cut=None):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()[:cut]


def header(text, version=1, length=None):
    n = len(text) if length is None else length
    return (b"\x93NUMPY" + bytes([version, 0]) +
            n.to_bytes(2 if version == 1 else 4, "little") + text.encode())


def named(leaf, folder="c"):
    return lambda: open(at(folder, "query", leaf), "rb").read()


def setting(name, value, folder="c"):
    return lambda: write(value, folder, ".config", name, flags=0)


def settings(text):
    return lambda: os.setxattr(at("c"), "user.vecgridfs.config", text)


def clear(text):
    return lambda: write(text, "c/.delete-where", flags=0)


def run(request, folder="c"):
    def call():
        fd = os.open(at(folder, "query/.run"), os.O_RDWR)
        try:
            os.write(fd, request.encode())
            os.pread(fd, 4096, 0)
        finally:
            os.close(fd)
    return call


def stream(kind, raw, offset=0):
    def call():
        fd = os.open(at("c/.import", kind), os.O_WRONLY)
        try:
            os.pwrite(fd, raw, offset)
        except BaseException:
            mounted.error_of(os.close, fd)
            raise
        os.close(fd)
    return call


def append():
    fd = os.open(at("c/a"), os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, b"\0\0\0\0")
    finally:
        os.close(fd)


def late():
    """An O_EXCL creation that another overtakes."""
    fd = os.open(at("c/new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"1,2,3\n")
    os.rename(at("c/.vector"), at("c/new"))
    try:
        os.close(fd)
    finally:
        os.unlink(at("c/new"))


def grow():
    """Attributes until a record has too many."""
    write(b"1,2,3\n", "c/new")
    try:
        for i in range(40):
            os.setxattr(at("c/new"), f"user.k{i}", b"x" * 60000)
    finally:
        os.unlink(at("c/new"))


def far():
    fd = os.open(at("c/.far"), os.O_CREAT | os.O_WRONLY)
    try:
        os.pwrite(fd, b"x", 1 << 28)
    finally:
        os.close(fd)
        os.unlink(at("c/.far"))


def staged(text, target):
    def call():
        write(text, "c/.new")
        try:
            os.rename(at("c/.new"), at("c", target))
        finally:
            os.unlink(at("c/.new"))
    return call


F3 = np.ones(3, "f4")
DEEP = '{"metadata":{"a":' + "[" * 70 + "]" * 70 + "}}"
BIG = json.dumps({"k": "x" * 1_100_000})
E = errno
CASES = [
    # ---- bodies
    ("too few numbers", body("1,2\n"), E.EINVAL, "3 dimensions.*2 numbers"),
    ("too many", body("1,2,3,4\n"), E.EINVAL, "3 dimensions.*numbers"),
    ("bytes of another size", body(BLOB[:7]), E.EINVAL,
     "12 bytes .3 float32 numbers.*has 7"),
    ("float64", body(BLOB[:24]), E.EINVAL, "24 bytes = 3 float64.*astype"),
    ("float16", body(BLOB[:6]), E.EINVAL, "6 bytes = 3 float16.*astype"),
    ("words", body("one two three\n"), E.EINVAL, "'o' at byte 1 is no part"),
    ("a number left out", body("1,,3\n"), E.EINVAL, "missing before byte 3"),
    ("a number too large", body("1,1e99,3\n"), E.EINVAL, "float32's range"),
    ("a number cut off", body("1,2,3e"), E.EINVAL, "at the end is cut off"),
    ("a raw NaN", body(np.array([1, np.nan, 3], "<f4").tobytes()), E.EINVAL,
     "index 1 is NaN"),
    ("zero under cosine", body("0,0,0\n"), E.EINVAL, "zero vector.*cosine"),
    ("no numbers", body("[]"), E.EINVAL, "no numbers"),
    ("JSON that ends early", body("[1,2"), E.EINVAL, "ends too early"),
    ("JSON with a word", body("[1,x,2]"), E.EINVAL, "no number at byte 4"),
    ("JSON with a NaN", body('{"vector":[1,NaN,3]}'), E.EINVAL, "no number"),
    ("JSON without a comma", body("[1 2 3]"), E.EINVAL, "comma or . is miss"),
    ("JSON without a colon", body('{"vector" [1,2,3]}'), E.EINVAL, "colon"),
    ("JSON without quotes", body("{vector:[1,2,3]}"), E.EINVAL, "in quotes"),
    ("JSON and more", body("[1,2,3] 4"), E.EINVAL, "follows"),
    ("JSON with a large number", body("[1,1e99,3]"), E.EINVAL, "range"),
    ("an unknown member", body('{"vector":[1,2,3],"colour":1}'), E.EINVAL,
     'unknown member "colour"; known are id, vector, metadata'),
    ("a vector that is none", body('{"vector": 1}'), E.EINVAL, "no JSON array"),
    ("metadata that is none", body('{"metadata":[]}'), E.EINVAL,
     "metadata is no JSON object"),
    ("neither of them", body("{}"), E.EINVAL, "neither a vector nor metadata"),
    ("a number with a 0", body('{"metadata":{"a":01}}'), E.EINVAL,
     "begins with 0"),
    ("a number with no digit", body('{"metadata":{"a":1e}}'), E.EINVAL,
     "digit is missing"),
    ("half a character", body('{"metadata":{"a":"\\ud800"}}'), E.EINVAL,
     "lone surrogate"),
    ("a control character", body('{"metadata":{"a":"\1"}}'), E.EINVAL,
     "control character"),
    ("JSON too deep", body(DEEP), E.EINVAL, "deep"),
    ("metadata of nobody", body('{"metadata":{"a":1}}'), E.ENOENT,
     "no such id"),
    ("too much metadata", body('{"metadata":' + BIG + "}", "a"), E.EINVAL,
     "larger than 1048576"),
    ("too large a vector", body(BLOB[:4] * 65536, folder="free"), E.EINVAL,
     "at most 65,535 numbers.*65,536"),
    ("bytes of no size", body(BLOB[:7], folder="free"), E.EINVAL,
     "no text of numbers, no JSON and no npy.*7 bytes is no multiple of 4"),
    # ---- forms
    ("JSON that is a number", form("json", b"5"), E.EINVAL, "is expected"),
    ("text with letters", form("txt", b"1,a,3\n"), E.EINVAL,
     "'a' at byte 3 is no part"),
    ("raw of another size", form("raw", b"1,2,3,4\n"), E.EINVAL, "12 bytes"),
    ("npy that is none", form("npy", b"1,2,3,4,5,6,7,8,9\n"), E.EINVAL,
     "no npy"),
    ("npy cut in its header", form("npy", npy(F3, 40)), E.EINVAL, "cut off"),
    ("npy cut in its numbers", form("npy", npy(F3, -4)), E.EINVAL,
     "says 12 bytes of numbers, the body has 8"),
    ("npy of a later version", form("npy", header("{}", 9)), E.EINVAL,
     "version other than 1, 2 and 3"),
    ("npy with a long header", form("npy", header("{}", 2, 1 << 20)),
     E.EINVAL, "longer than 64 KiB"),
    ("npy with another header", form("npy", header("{'a': 1}")), E.EINVAL,
     "no dict of numpy's"),
    ("npy of records", form("npy", npy(np.zeros(3, [("x", "f4")]))),
     E.EINVAL, "structured dtype; write"),
    ("npy of complex numbers", form("npy", npy(np.ones(3, "c8"))), E.EINVAL,
     "dtype is not one of.*astype"),
    ("npy of three dimensions", form("npy", npy(np.ones((1, 1, 3), "f4"))),
     E.EINVAL, "neither .dim,. nor .rows, dim."),
    ("npy of no numbers", form("npy", npy(np.ones((1, 0), "f4"))), E.EINVAL,
     "1 to 65,535 numbers"),
    ("npy of Fortran", form("npy", npy(np.asfortranarray(
        np.ones((2, 3), "f4")))), E.EINVAL, "numpy.ascontiguousarray"),
    ("npy of two rows", form("npy", npy(np.ones((2, 3), "f4"))), E.EINVAL,
     "2 rows.*.import/npy takes many"),
    ("npy of another size", form("npy", npy(np.ones(4, "f4"))), E.EINVAL,
     "3 dimensions.*4 numbers"),
    ("npy with a NaN", form("npy", npy(F3 * np.float32("nan"))), E.EINVAL,
     "index 0 is not finite"),
    ("metadata in .meta that is none", lambda: write(b"[1]", "c/.meta/a"),
     E.EINVAL, "JSON object, .*expected"),
    ("metadata in .meta of nobody", lambda: write(b"{}", "c/.meta/nobody"),
     E.ENOENT, "no such id"),
    ("too much of it", lambda: write(BIG.encode(), "c/.meta/a"), E.EINVAL,
     "larger than 1048576"),
    ("too many attributes", grow, E.EFBIG, "limited to 1 MiB"),
    # ---- what a vector does not do
    ("appending", append, E.EINVAL, "cannot be appended to: write it as a"),
    ("truncating", lambda: os.truncate(at("c/a"), 8), E.EINVAL,
     "keeps its size: write it as a whole"),
    ("a hard link", lambda: os.link(at("c/a"), at("c/b")), E.EPERM,
     "has one name: copy it"),
    ("O_EXCL, overtaken", late, E.EEXIST, "id exists already"),
    ("a body without end", far, E.EFBIG, "limited to 256 MiB"),
    ("staged bytes that are no vector", staged(b"1,2\n", "b"), E.EINVAL,
     "3 dimensions.*2 numbers"),
    ("an empty file in a record's place", staged(b"", "a"), E.EINVAL,
     "empty file cannot replace a record: write"),
    # ---- names
    ("a second spelling", body("1,2,3\n", "%25zz"), E.EINVAL,
     "one spelling of an id: only %2F, %25, a leading %2E and %71uery"),
    ("a stage with one", staged(b"1,2,3\n", "%25zz"), E.EINVAL,
     "one spelling of an id"),
    ("a record with one", lambda: os.rename(at("c/a"), at("c/%25zz")),
     E.EINVAL, "one spelling of an id"),
    ("a file in the root", lambda: write(b"1,2,3\n", "stray"), E.EPERM,
     "belong into a collection: mkdir one"),
    ("a directory in a collection", lambda: os.mkdir(at("c/sub")), E.EPERM,
     "collections stand in the root"),
    ("a collection with a dot", lambda: os.mkdir(at(".sub")), E.EINVAL,
     "does not begin with a dot"),
    ("a link in a collection", lambda: os.symlink("a", at("c/l")), E.EPERM,
     "links stand in the root"),
    ("rmdir of what has vectors", lambda: os.rmdir(at("c")), E.ENOTEMPTY,
     "has vectors"),
    ("mv over what has vectors", lambda: os.rename(at("free"), at("c")),
     E.ENOTEMPTY, "of that name has vectors"),
    # ---- settings
    ("m that is too small", setting("m", b"1"), E.EINVAL,
     "m cannot be '1'; allowed: 2"),
    ("an unknown metric", setting("metric", b"far"), E.EINVAL,
     "metric cannot be 'far'; allowed: .*cosine"),
    ("another dimension", setting("dim", b"4"), E.EBUSY,
     "dim is fixed at 3 .*make a new collection"),
    ("an unknown quant", setting("quant", b"sq3"), E.EINVAL,
     "quant cannot be 'sq3'; allowed: auto"),
    ("an unknown index", setting("index", b"tree"), E.EINVAL,
     "index cannot be 'tree'; allowed: auto, hnsw, ivf_pq or flat"),
    ("m that is too large", setting("m", b"65"), E.EINVAL,
     "m cannot be '65'; allowed: 2 to 64"),
    ("an ef_construction of 0", setting("ef_construction", b"0"), E.EINVAL,
     "ef_construction cannot be '0'; allowed: auto, or 1 to 100000"),
    ("an ef_search out of range", setting("ef_search", b"100001"), E.EINVAL,
     "ef_search cannot be '100001'; allowed: auto, or 1 to 100000"),
    ("a target_recall of 1", setting("target_recall", b"1"), E.EINVAL,
     "target_recall cannot be '1'; allowed: a decimal above 0 and below 1"),
    ("one in percent", setting("target_recall", b"95%"), E.EINVAL,
     "target_recall cannot be '95%'; allowed: a decimal"),
    ("a value that is too long", setting("m", b"9" * 5000), E.EINVAL,
     r"m cannot be '9{31}\.\.\.'; allowed: 2 to 64"),
    ("two values", setting("m", b"8\n9\n"), E.EINVAL,
     r"m cannot be '8\?9'; allowed"),
    ("a value with a NUL", setting("m", b"8\0"), E.EINVAL,
     r"m cannot be '8\?'; allowed"),
    ("another dtype", setting("dtype", b"f16"), E.EBUSY,
     "dtype is fixed at f32 .*make a new collection"),
    ("an unknown dtype", setting("dtype", b"f64"), E.EINVAL,
     "dtype cannot be 'f64'; allowed: f32, f16, i8 or b1"),
    ("hamming of numbers", setting("metric", b"hamming"), E.EINVAL,
     "dtype is f32: write b1 to dtype"),
    ("numbers' metric of bits", setting("metric", b"l2", "bits"), E.EINVAL,
     "dtype b1 are bits: their metric is hamming"),
    ("a dim that bits do not fill", setting("dim", b"12", "open"), E.EINVAL,
     "dim cannot be 12 with dtype b1: .*a multiple of 8"),
    ("lists of another dtype", setting("index", b"ivf_pq", "bytes"), E.EINVAL,
     "ivf_pq is for dtype f32 .*this is i8 .*write auto, hnsw or flat"),
    ("another metric of lists", setting("metric", b"l1", "lists"), E.EINVAL,
     "ivf_pq is for .* l2, cosine or ip, this is f32 under l1: write"),
    ("a setting that is none", settings(b'{"colour":1}'), E.EINVAL,
     "no setting is called 'colour': .config lists them"),
    ("settings that are no JSON", settings(b"colour"), E.EINVAL, "JSON"),
    ("settings of which one is wrong", settings(b'{"quant":"none","m":1}'),
     E.EINVAL, "m cannot be '1'; allowed"),
    ("settings that do not go together", settings(
        b'{"index":"ivf_pq","metric":"l1"}'), E.EINVAL, "ivf_pq is for"),
    ("settings of which one is fixed", settings(b'{"m":8,"dim":4}'), E.EBUSY,
     "dim is fixed at 3"),
    ("deleting what is not said", clear(b"some\n"), E.EINVAL,
     "write `all`, or a filter: position 1: 'some' is no filter"),
    ("deleting by half a filter", clear(b"k.gte=1 or\n"), E.EINVAL,
     "or a filter: position 12: a filter is missing here"),
    ("deleting by a filter that may go on", clear(b"k.gte=1"), E.EINVAL,
     "end it with one; nothing was deleted"),
    ("deleting by two lines", clear(b"k.eq=2\nk.gte=1\n"), E.EINVAL,
     "one line at a time"),
    ("deleting by too much", clear(b"k.in=" + b"1," * 600000 + b"1\n"),
     E.EFBIG, "at most 1048576 bytes"),
    # ---- streams
    ("a stream from its middle", stream("ndjson", b"{}\n", 7), E.EINVAL,
     "write it from front to back"),
    ("a bad row", stream("ndjson", b'{"id":"x"}\n'), E.EINVAL,
     "1 bad row; the first is line 1: .*neither a vector nor metadata"),
    ("a row without an id", stream("ndjson", b'{"id":1.5,"vector":[1,2,3]}\n'),
     E.EINVAL, "fraction; put it in quotes"),
    ("rows of another size", stream("npy", npy(np.ones((2, 4), "f4"))),
     E.EINVAL, "3 dimensions.*rows have 4"),
    ("a stream that is cut off", stream("npy", npy(np.ones((2, 3), "f4"), 99)),
     E.EINVAL, "ends"),
    ("fvecs that are none", stream("fvecs", b"\xff" * 16), E.EINVAL,
     "no fvecs, or damaged"),
    # ---- queries
    ("k=0", named("k=0/1,2,3"), E.EINVAL, "k takes a whole number from 1 to"),
    ("k above its limit", named("k=10001/1,2,3"), E.EINVAL,
     "k=10001: k takes a whole number from 1 to 10000"),
    ("a k of words in a path", named("k=ten/1,2,3"), E.EINVAL,
     "k=ten: k takes a whole number from 1 to 10000"),
    ("ef=0", named("ef=0/1,2,3"), E.EINVAL, "ef takes a whole number from"),
    ("ef above its limit", named("ef=100001/1,2,3"), E.EINVAL,
     "ef=100001: ef takes a whole number from 1 to 100000"),
    ("nprobe=0", named("nprobe=0/1,2,3"), E.EINVAL,
     "nprobe=0: nprobe takes a whole number from 1 to 65536"),
    ("nprobe above its limit", named("nprobe=65537/1,2,3", "lists"), E.EINVAL,
     "nprobe=65537: nprobe takes a whole number from 1 to 65536"),
    ("a distance of words", named("max_dist=far/1,2,3"), E.EINVAL,
     "max_dist takes a number, as 0.25"),
    ("a flag of words", named("exact=yes/1,2,3"), E.EINVAL,
     "exact takes 0 or 1"),
    ("an unknown format", named("fmt=xml/1,2,3"), E.EINVAL,
     "fmt takes one of .*ndjson"),
    ("no fields", named("fields=/1,2,3"), E.EINVAL, "name one or more"),
    ("a field twice", named("fields=a,a/1,2,3"), E.EINVAL, "a twice"),
    ("rows out of reach", named("k=10000/offset=1/1,2,3"), E.EINVAL,
     "10001, at most 10000"),
    ("distances of all", named("all.dist"), E.EINVAL, "no distances: take"),
    ("bounds of all", named("max_dist=1/all"), E.EINVAL,
     "leave out max_dist"),
    ("a trailer of an array", named("trailer=1/1,2,3.npy"), E.EINVAL,
     "user.vecgridfs.partial"),
    ("a query that is too long", named("1,2,3,4"), E.EINVAL,
     "4 numbers, this collection has 3 dimensions"),
    ("one that is too short", named("1,2.ndjson"), E.EINVAL,
     "2 numbers, this collection has 3 dimensions"),
    ("one that is too large", named("1,1e99,3"), E.EINVAL, "too large"),
    ("one that is no number", named("1,x,3"), E.EINVAL, "number 2 of"),
    ("a query of zeros", named("k=2/0,0,0.tsv"), E.EINVAL,
     "c/0,0,0.tsv: a zero vector has no direction"),
    ("a request of zeros", run('{"vector":[0,0,0]}\n'), E.EINVAL,
     "c/.run: a zero vector has no direction"),
    ("hits of zeros", lambda: os.listdir(at("c/query/0,0,0.hits")), E.EINVAL,
     "c/0,0,0.hits: a zero vector has no direction"),
    ("base64 that is none", named("b64=AAAA*AAA"), E.EINVAL, "letter 5"),
    ("base64 that is too long", named("b64=" + "A" * 20), E.EINVAL,
     "more than the 12 bytes"),
    ("a fraction of bytes", named("1.5,2,3,4", "bytes"), E.EINVAL,
     "number 1 is no whole number from -128 to 127 .dtype i8"),
    ("a byte out of range", named("1,2,3,128", "bytes"), E.EINVAL,
     "number 4 is no whole number from -128 to 127 .dtype i8"),
    ("a bit that is none", named("0,0,0,0,0,0,0,2", "bits"), E.EINVAL,
     "number 8 is neither 0 nor 1 .dtype b1"),
    ("too few bits", named("1,0,1.tsv", "bits"), E.EINVAL,
     "3 numbers, this collection has 8 dimensions"),
    ("a half out of range", named("70000,1", "halves"), E.EINVAL,
     "number 1 is not finite as float16 .65,504 at most"),
    ("a request of another size", lambda: write(
        BLOB[:5], "bytes/query/q1"), E.EINVAL,
     "4 bytes .4 int8 numbers.*has 5"),
    ("a request of another dtype", lambda: write(
        b"[1.5,2,3,4]", "bytes/query/q1"), E.EINVAL,
     "index 0 is no whole number"),
    ("half a vector's base64", named("b64=AAAA.tsv"), E.EINVAL,
     "3 bytes, a vector has 12"),
    ("a parameter that is none", named("year=2020/1,2,3"), E.ENOENT,
     "there is no parameter year: .help lists them; a filter is year.eq=2020"),
    # ---- filters
    ("no operator", named("k.like=1/1,2,3"), E.EINVAL,
     "position 3: 'like' is no operator; eq ne gt gte lt lte in nin exists"),
    ("no field", named(".eq=1/count"), E.EINVAL,
     "position 1: the field is missing; a filter is FIELD.OP=VALUE"),
    ("a field that is no text", named("%FF.eq=1/count"), E.EINVAL,
     "position 1: the field is not UTF-8"),
    ("a value that is no text", named("k.eq=%FF/count"), E.EINVAL,
     "position 6: the value is not UTF-8; %25 is"),
    ("an order of true", named("k.gt=true/1,2,3"), E.EINVAL,
     "position 6: true has no order; gt takes a number or a string"),
    ("equal to null", named("k.eq=null/count"), E.EINVAL,
     "position 6: null equals nothing; exists=0 is"),
    ("equal to an array", named("k.eq=[1]/count"), E.EINVAL,
     "position 6: an array is no value of eq; a string or a number is"),
    ("among them null", named("k.in=[1,null]/count"), E.EINVAL,
     "position 6: null cannot be among the values of in"),
    ("exists that is no flag", named("k.exists=yes/count"), E.EINVAL,
     "position 10: 'yes' is no value of exists; 1 and 0 are"),
    ("nothing as an expression", named("where=/count"), E.EINVAL,
     "position 1: a filter is missing here"),
    ("an expression without an end", named("where=k.eq=1 and/count"),
     E.EINVAL, "position 11: a filter is missing here"),
    ("one without a word between", named("where=k.eq=1 k.eq=2/count"),
     E.EINVAL, "position 8: 'and' or 'or' is missing before this"),
    ("a parenthesis that is open", named("where=(k.eq=1/count"), E.EINVAL,
     r"position 1: this \( is not closed; put \)"),
    ("one that closes nothing", named("where=k.eq=1)/count"), E.EINVAL,
     r"position 7: this \) closes nothing; take it away"),
    ("too many of them", named(f"where={'(' * 65}k.eq=1{')' * 65}/count"),
     E.EINVAL, "position 65: .*64"),
    ("an order by nothing", named("order=/1,2,3"), E.EINVAL,
     "order takes the name of a field"),
    ("an order in another direction", named("order=k:asc/1,2,3"), E.EINVAL,
     "order=k:asc: order takes FIELD, or FIELD:desc; a colon of FIELD is %3A"),
    ("groups of nothing", named("group=/1,2,3"), E.EINVAL,
     "group takes the name of a field"),
    ("a facet in another order", named("order=k/facet=k"), E.EINVAL,
     "most frequent value first: leave out order and group"),
    ("a facet's distances", named("facet=k.npy"), E.EINVAL,
     "a facet has no distances: take ndjson, json, tsv or ids"),
    ("a facet within bounds", named("max_dist=1/facet=k"), E.EINVAL,
     "leave out max_dist and min_score"),
    ("a snapshot's name that is none", named("snap=.x/1,2,3"), E.EINVAL,
     "snap takes the name of a directory in .snap/"),
    ("like nobody", named("like=a,nobody"), E.ENOENT,
     "there is no record nobody"),
    ("like nothing", named("like=a,,z"), E.EINVAL,
     "like takes ids, as like=A,.B,-C"),
    ("like too many", named("like=" + ",".join("a" * 65)), E.EINVAL,
     "like takes at most 64 ids"),
    ("hits of many", lambda: (
        write(np.ones((2, 3), "<f4").tobytes(), "c/query/two"),
        os.listdir(at("c/query/two.hits"))), E.EINVAL,
     "lists one answer: this name has 2 vectors"),
    ("a request's name that is taken", lambda: write(
        b"1,2,3", "c/query/k"), E.EINVAL, "called by letters, digits"),
    ("a request in a parameter", lambda: write(
        b"1,2,3", "c/query/k=5/q1"), E.EPERM, "written in query/ itself"),
    ("a request of two rows", lambda: write(
        b"1,2,3\n4,5\n", "c/query/q1"), E.EINVAL, "3|numbers"),
    # ---- .run
    ("a request that is empty", run("{}\n"), E.EINVAL, "needs a vector"),
    ("an unknown word", run('{"id":"a","colour":1}\n'), E.EINVAL,
     "no member colour: .help lists"),
    ("two sources", run('{"id":"a","vector":[1,2,3]}\n'), E.EINVAL,
     "one of vector, vectors, id and like"),
    ("two requests", run('{"id":"a"}{"id":"a"}\n'), E.EINVAL,
     "one request at a time"),
    ("a k of words", run('{"id":"a","k":"5"}\n'), E.EINVAL, "k takes no str"),
    ("a flag of numbers", run('{"id":"a","exact":1}\n'), E.EINVAL,
     "exact takes true or false"),
    ("an empty id", run('{"id":""}\n'), E.EINVAL, "1 to 255 bytes, not 0"),
    ("rows of two sizes", run('{"vectors":[[1,2,3],[1,2]]}\n'), E.EINVAL,
     "vector 2 has 2 numbers instead of 3"),
    ("a request cut off", run('{"id":"a"\n'), E.EINVAL, "byte [0-9]+ of the"),
    ("a filter that is none", run('{"id":"a","where":"k.like=1"}\n'), E.EINVAL,
     "position 3: 'like' is no operator; eq ne"),
    ("a filter of numbers", run('{"id":"a","where":5}\n'), E.EINVAL,
     "where takes a string"),
    ("a filter as a member", run('{"id":"a","k.eq":1}\n'), E.EINVAL,
     "no member k.eq: .help lists"),
    ("k out of range", run('{"id":"a","k":10001}\n'), E.EINVAL,
     "k=10001: k takes a whole number from 1 to 10000"),
    ("nprobe out of range", run('{"id":"a","nprobe":0}\n'), E.EINVAL,
     "nprobe=0: nprobe takes a whole number from 1 to 65536"),
    ("groups of nothing on a handle", run('{"id":"a","group":""}\n'),
     E.EINVAL, "group takes the name of a field"),
    ("a fraction of bytes on a handle", run('{"vector":[1.5,2,3,4]}\n',
                                            "bytes"), E.EINVAL,
     "index 0 is no whole number from -128 to 127"),
    ("a vector that is too short", run('{"vector":[1,2]}\n'), E.EINVAL,
     "vector 1 has 2 numbers instead of 3"),
]


def state():
    names = sorted(os.listdir(ROOT))
    kept = hashlib.md5()
    for c in names:
        for part in ".export/all.ndjson", ".export/ids":
            with open(at(c, part), "rb") as f:
                kept.update(f.read())
    return (kept.hexdigest(), names,
            [open(at(c, ".config", n)).read() for c in names
             for n in sorted(os.listdir(at(c, ".config")))])


def rows():
    with open(at(".vecgridfs/errors.ndjson")) as f:
        return [json.loads(line) for line in f]


def last_error():
    with open(at("c/.stats/last_error")) as f:
        return f.read().strip()


def try_case(call, want, pattern):
    """What is wrong with one case, or nothing."""
    write(b"1,2,3\n", "c/.vector")
    before, told = state(), len(rows())
    try:
        call()
        return "it was taken"
    except OSError as e:
        if e.errno != want:
            return f"{errno.errorcode[e.errno]}: {e}"
    new = rows()
    if len(new) == told and told < 100:
        return "nothing is told of it"
    row = new[-1]
    told = f"{row['path']}: {row['error']}"
    if not re.search(pattern, told if pattern[:2] == "c/" else row["error"],
                     re.S):
        return f"it says: {told}"
    if row["errno"] != errno.errorcode[want] or row["pid"] != os.getpid():
        return f"the row is {row}"
    if row["path"].split("/")[0] == "c" and \
            last_error() != f"{row['path']}: {row['error']}":
        return f"last_error says: {last_error()}"
    return "" if state() == before else "something was changed"


if ROOT == "count":
    print(len(CASES))
    sys.exit()
for name in "c", "free", "bits", "bytes", "halves", "lists", "open":
    os.mkdir(at(name))
for name, what, value in (
        ("bits", "dtype", b"b1"), ("bytes", "dtype", b"i8"),
        ("halves", "dtype", b"f16"), ("lists", "index", b"ivf_pq"),
        ("open", "dtype", b"b1")):
    setting(what, value, name)()
write(b"\1", "bits/a")
write(b"1,2,3,4\n", "bytes/a")
write(b"1,2\n", "halves/a")
write(b"1,2,3\n", "lists/a")
write(b'{"vector":[1,2,3],"metadata":{"k":1}}', "c/a")
write(b"4,5,6\n", "c/z")
for title, call, want, pattern in CASES:
    wrong = try_case(call, want, pattern)
    if wrong:
        print("  " + wrong)
    print(("no" if wrong else "yes") + f": {title}: "
          f"{errno.errorcode[want]} and why")
