# SPDX-License-Identifier: Apache-2.0
"""listing.py: readdir, seekdir and getdents where 3,000 vectors come and go.

In the root of a mount with a collection c of v0000..v2999. Prints
"yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import ctypes
import os
import stat
import struct
import threading

DT_DIR, DT_REG, DT_LNK = 4, 8, 10
VECTOR = struct.pack("<2f", 1, 2)
libc = ctypes.CDLL(None, use_errno=True)


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64),
                ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8),
                ("name", ctypes.c_char * 256)]


libc.opendir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.telldir.restype = ctypes.c_long
for f in (libc.readdir, libc.telldir, libc.rewinddir, libc.closedir):
    f.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.getdents64.restype = ctypes.c_ssize_t
libc.getdents64.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


class Dir:
    """A DIR, whose entries are (name, type, inode) without the dots."""

    def __init__(self, path):
        self.dir = libc.opendir(path.encode())
        if not self.dir:
            raise OSError(ctypes.get_errno(), path)

    def next(self):
        while e := libc.readdir(self.dir):
            if e.contents.name not in (b".", b".."):
                return (e.contents.name.decode(), e.contents.type,
                        e.contents.ino)
        return None

    def names(self, most=1 << 30):
        got = []
        while len(got) < most and (e := self.next()):
            got.append(e[0])
        return got

    def tell(self):
        return libc.telldir(self.dir)

    def seek(self, cursor):
        libc.seekdir(self.dir, cursor)

    def rewind(self):
        libc.rewinddir(self.dir)

    def close(self):
        libc.closedir(self.dir)


def put(name):
    with open(name, "wb") as out:
        out.write(VECTOR)


def getdents(path, size, is_resumed=False):
    """Names by getdents64; resumed: each call after a seek to its d_off."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    buf, got, off = ctypes.create_string_buffer(size), [], 0
    while True:
        if is_resumed:
            os.lseek(fd, 0, os.SEEK_SET)
            os.lseek(fd, off, os.SEEK_SET)
        n = libc.getdents64(fd, buf, size)
        if n < 0:
            raise OSError(ctypes.get_errno(), path)
        if n == 0:
            break
        at = 0
        while at < n:
            _, off, reclen, _ = struct.unpack_from("<QqHB", buf, at)
            name = buf.raw[at + 19:at + reclen].split(b"\0")[0].decode()
            got += [name] if name not in (".", "..") else []
            at += reclen
    os.close(fd)
    return got


def entries(path):
    d = Dir(path)
    got = []
    while e := d.next():
        got.append(e)
    d.close()
    return got


def types_agree(path, has_inode=False):
    """Whether each entry's type, and inode, are what lstat says."""
    types = {stat.S_IFREG: DT_REG, stat.S_IFDIR: DT_DIR, stat.S_IFLNK: DT_LNK}
    for name, kind, ino in entries(path):
        st = os.lstat(f"{path}/{name}")
        if (types[stat.S_IFMT(st.st_mode)] != kind
                or has_inode and st.st_ino != ino):
            print(path, name, kind, ino, st)
            return False
    return True


ALL = [f"v{i:04d}" for i in range(3000)]

# At rest.
d = Dir("c")
cursors, order = [], []
while True:
    at = d.tell()
    e = d.next()
    if not e:
        break
    cursors.append(at)
    order.append(e[0])
say(sorted(order) == ALL, "readdir gives each of 3,000 once")
say(len(set(cursors[1:])) == 2999, "no two entries share a cursor")
wrong = []
for i in range(2999, 0, -37):
    d.seek(cursors[i])
    if d.names(3) != order[i:i + 3]:
        wrong.append(i)
say(not wrong, "seekdir goes back to each cursor")
d.seek(d.tell())
tail = d.names()
d.seek(d.tell())
say(tail == order[i + 3:] and d.next() is None,
    "and what follows is the rest, whose end stays the end")
say(types_agree("c", True), "each entry has lstat's type and inode")

# Half is deleted between two reads, and others come.
d.rewind()
first = d.names(1000)
gone = set(order[::2])
for name in gone:
    os.unlink("c/" + name)
extra = {f"w{i:03d}" for i in range(200)}
for name in extra:
    put("c/" + name)
rest = d.names()
stay = [n for n in order if n not in gone]
left = set(stay)
say(first == order[:1000], "the first thousand are as before")
say(len(set(first + rest)) == len(first + rest),
    "beside removals and creations no entry comes twice")
say(set(stay) <= set(first + rest), "and none that stayed is missing")
say(set(first + rest) <= set(ALL) | extra, "and none is made up")
wrong = []
for i in range(1, 3000, 211):  # of entries that are gone as of such that stay
    d.seek(cursors[i])
    if [n for n in d.names() if n in left] != [
            n for n in order[i:] if n in left]:
        wrong.append(i)
say(not wrong, "each old cursor still stands where it stood")
if wrong:
    print("wrong at", wrong)
d.rewind()
say(sorted(d.names()) == sorted(set(stay) | extra),
    "rewinddir sees the present")
put("c/x")
d.rewind()
say("x" in d.names(), "also right after a creation")
os.unlink("c/x")
d.rewind()
say("x" not in d.names(), "and after a removal")
d.close()

# The bare call.
now = sorted(os.listdir("c"))
say(all(sorted(getdents("c", n)) == now for n in (64, 280, 1000, 1 << 20)),
    "getdents lists the same through buffers of any size")
say(sorted(getdents("c", 512, True)) == now,
    "also if each call seeks to the last offset first")
tiny = "n" * 255
put("c/" + tiny)
say(tiny in getdents("c", 288), "a name of 255 bytes fits a buffer of 288")
try:
    getdents("c", 16)
    refused = False
except OSError:
    refused = True
say(refused, "a buffer too small for any entry is an error, not an end")
os.unlink("c/" + tiny)

# Two who list beside one who writes.
is_over = threading.Event()
rounds, wrong = [0, 0], []


def lister(n):
    while not (is_over.is_set() and rounds[n]):
        got = os.listdir("c") if n else getdents("c", 2000)
        if len(got) != len(set(got)) or not set(now) <= set(got):
            wrong.append(set(now) - set(got))
        rounds[n] += 1


listers = [threading.Thread(target=lister, args=(n,)) for n in (0, 1)]
for t in listers:
    t.start()
for i in range(400):
    put(f"c/y{i % 40}")
    os.rename(f"c/y{i % 40}", f"c/z{i % 40}")
    if i % 3:
        os.unlink(f"c/z{i % 40}")
is_over.set()
for t in listers:
    t.join()
say(not wrong, "two listers beside a writer miss nothing and repeat nothing")
for name in [n for n in os.listdir("c") if n[0] in "yz"]:
    os.unlink("c/" + name)

# The folders that are not listed, and the root.
for folder in ("npy", "json", "txt", "raw"):
    if sorted(os.listdir("c/.as/" + folder)) != now:
        wrong.append(folder)
say(not wrong, "each folder of .as lists the records")
say(sorted(os.listdir("c/.meta")) == now, ".meta as well")
say(all(kind == DT_REG for _, kind, _ in entries("c/.meta")),
    "as files")
folders = [".as/npy", ".as/json", ".meta", ".config", ".stats", ".import",
           ".export", ".as"]
say(all(types_agree("c/" + f, True) for f in folders),
    "each entry's type is lstat's in all of them")
say(all(getdents("c/" + f, 280) == getdents("c/" + f, 65536) != []
        for f in folders), "a small buffer lists all of them alike")
for i in range(300):
    os.mkdir(f"d{i}")
    os.symlink(f"d{i}", f"alias{i}")
want = sorted(["c"] + [n + str(i) for n in ("d", "alias") for i in range(300)])
say(sorted(os.listdir(".")) == want, "the root lists 300 and their aliases")
say(getdents(".", 100) and sorted(getdents(".", 100)) == want,
    "through a small buffer too")
say(types_agree(".", True), "each with lstat's type and inode")
d = Dir(".")
got = d.names(100)
for i in range(0, 300, 2):
    os.unlink(f"alias{i}")
    os.rmdir(f"d{i}")
got += d.names()
d.close()
stay = {n for n in want if n == "c" or int(n.lstrip("dalis")) % 2}
say(len(set(got)) == len(got) and stay <= set(got),
    "removing half of it between two reads misses and repeats nothing")
say(sorted(os.listdir(".")) == sorted(stay), "and then they are gone")
