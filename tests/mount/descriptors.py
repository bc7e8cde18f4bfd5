# SPDX-License-Identifier: Apache-2.0
"""descriptors.py: in a collection of three float32, what a handle may do.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import errno
import mmap
import os
import struct
import sys
import threading

OUTSIDE = sys.argv[1]


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


def raw(*v):
    return struct.pack(f"<{len(v)}f", *v)


def read(name):
    with open(name, "rb") as f:
        return f.read()


def put(name, *v):
    with open(name, "wb") as f:
        f.write(raw(*v))


def refusal(call, *args):
    """The name of the errno that the call fails with, or None."""
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return None


# Five hundred versions.
def body(i, version):
    return raw(i + 1, version, -i)


held = []
for version in (1, 2):
    for i in range(250):
        put(f"m{i}", i + 1, version, -i)
        held.append((os.open(f"m{i}", os.O_RDONLY), i, version))
for i in range(250):
    put(f"m{i}", i + 1, 3, -i)
say(all(os.pread(fd, 99, 0) == body(i, v) for fd, i, v in held),
    "five hundred handles keep what they opened while all is overwritten")
say(all(read(f"m{i}") == body(i, 3) for i in range(250)),
    "and the names have the third version")
for i in range(250):
    os.unlink(f"m{i}")
say(not os.listdir("."), "all are removed")
say(all(os.pread(fd, 99, 0) == body(i, v) for fd, i, v in held),
    "each handle still reads its own")
say(all(os.pread(fd, 4, 4) == raw(v) for fd, i, v in held),
    "and a part of it")
say(all(os.fstat(fd).st_size == 12 for fd, _, _ in held),
    "and knows its size")
for fd, _, _ in held[::2]:
    os.close(fd)
held = held[1::2]
for i in range(250):
    put(f"m{i}", -1, -1, -1)
say(all(os.pread(fd, 99, 0) == body(i, v) for fd, i, v in held),
    "half closed and the names taken anew, the others read on")
wrong = []


def reader(mine):
    for _ in range(20):
        wrong.extend(i for fd, i, v in mine
                     if os.pread(fd, 12, 0) != body(i, v))


threads = [threading.Thread(target=reader, args=(held[n::4],))
           for n in range(4)]
for t in threads:
    t.start()
for i in range(250):
    os.unlink(f"m{i}")
for t in threads:
    t.join()
say(not wrong, "from four threads as well, beside removals")
for fd, _, _ in held:
    os.close(fd)

# In place.
put("a", 1, 2, 3)
fd = os.open("a", os.O_RDWR)
os.pwrite(fd, raw(9), 4)
say(os.pread(fd, 99, 0) == raw(1, 9, 3), "O_RDWR reads what it wrote")
say(read("a") == raw(1, 2, 3), "others read the old before close")
os.close(fd)
say(read("a") == raw(1, 9, 3), "four bytes in the middle change one number")
fd = os.open("a", os.O_WRONLY)
os.lseek(fd, 8, os.SEEK_SET)
os.write(fd, raw(8))
os.close(fd)
say(read("a") == raw(1, 9, 8), "so they do by O_WRONLY without O_TRUNC")
fd = os.open("a", os.O_WRONLY)
for i in range(12):
    os.pwrite(fd, raw(4, 5, 6)[11 - i:12 - i], 11 - i)
os.close(fd)
say(read("a") == raw(4, 5, 6), "single bytes from the end make a vector")
fd = os.open("a", os.O_RDWR)
os.pwrite(fd, raw(float("nan")), 4)
say(refusal(os.close, fd) == "EINVAL" and read("a") == raw(4, 5, 6),
    "a patch that is no number is refused and changes nothing")
fd = os.open("a", os.O_RDWR)
say(refusal(os.pwrite, fd, raw(1), 12) == "EINVAL",
    "a write behind the end is EINVAL")
os.close(fd)
fd = os.open("a", os.O_WRONLY | os.O_APPEND)
say(refusal(os.write, fd, raw(1)) == "EINVAL", "so is O_APPEND")
os.close(fd)
say(read("a") == raw(4, 5, 6), "and neither changes anything")
fd = os.open("a", os.O_RDONLY)
say(refusal(os.write, fd, b"1") == "EBADF"
    and refusal(os.ftruncate, fd, 0) == "EINVAL",
    "a handle for reading does not write")
os.close(fd)
ours, theirs = os.open("a", os.O_RDWR), os.open("a", os.O_RDWR)
os.pwrite(ours, raw(7), 0)
os.close(ours)
os.close(theirs)
say(read("a") == raw(7, 5, 6), "a handle that wrote nothing undoes nothing")

# Sizes.
fd = os.open("a", os.O_RDWR)
say(refusal(os.ftruncate, fd, 12) is None, "ftruncate to its size is allowed")
say({refusal(os.ftruncate, fd, n) for n in (1, 8, 11, 13, 1 << 40)}
    == {"EINVAL"}, "to another it is EINVAL")
say(os.fstat(fd).st_size == 12, "and leaves the size")
os.ftruncate(fd, 0)
say(os.fstat(fd).st_size == 0 and read("a") == raw(7, 5, 6),
    "to 0 it empties the handle, not the vector")
os.write(fd, b"3,2,1\n")
os.close(fd)
say(read("a") == raw(3, 2, 1), "and text may follow")
say({refusal(os.truncate, "a", n) for n in (1, 13)} == {"EINVAL"}
    and refusal(os.truncate, "a", 12) is None
    and read("a") == raw(3, 2, 1), "truncate has the same rules")

# Syncs.
fd = os.open("a", os.O_WRONLY)
os.pwrite(fd, raw(5), 0)
os.fsync(fd)
say(read("a") == raw(5, 2, 1), "fsync commits what is written")
os.pwrite(fd, raw(6), 4)
os.fdatasync(fd)
say(read("a") == raw(5, 6, 1), "and so does fdatasync, on the same handle")
os.fsync(fd)
os.close(fd)
say(read("a") == raw(5, 6, 1), "a second fsync and a close add nothing")
fd = os.open("a", os.O_RDONLY)
say(refusal(os.fsync, fd) is None, "a handle for reading can be synced")
os.close(fd)
fd = os.open("a", os.O_WRONLY | os.O_TRUNC)
os.write(fd, raw(1))
os.write(fd, raw(1)[:1])
say(refusal(os.fsync, fd) == "EINVAL", "fsync of a piece is EINVAL")
os.write(fd, raw(1)[1:] + raw(1))
os.close(fd)
say(read("a") == raw(1, 1, 1), "after which the rest may be written")
for i, flag in enumerate((os.O_SYNC, os.O_DSYNC)):
    fd = os.open(f"s{i}", os.O_WRONLY | os.O_CREAT | flag, 0o644)
    os.write(fd, raw(i + 1, 0, 0))
    os.close(fd)
say(read("s0") == raw(1, 0, 0) and read("s1") == raw(2, 0, 0),
    "O_SYNC and O_DSYNC write")

# Copies of a handle.
fd = os.open("a", os.O_WRONLY | os.O_TRUNC)
copy = os.dup(fd)
os.write(fd, raw(2, 2, 2))
os.close(copy)
say(read("a") == raw(2, 2, 2), "closing a dup commits")
os.pwrite(fd, raw(3), 8)
os.close(fd)
say(read("a") == raw(2, 2, 3), "the other one writes on")
fd = os.open("b", os.O_WRONLY | os.O_CREAT, 0o644)
if not (pid := os.fork()):
    os.write(fd, raw(5, 6, 7))
    os._exit(0)
os.waitpid(pid, 0)
say(read("b") == raw(5, 6, 7), "a child's exit commits what it wrote")
os.pwrite(fd, raw(8), 0)
os.close(fd)
say(read("b") == raw(8, 6, 7), "and its parent goes on with the handle")
fd = os.open("b", os.O_WRONLY | os.O_TRUNC)
if not (pid := os.fork()):
    os._exit(0)
os.waitpid(pid, 0)
say(read("b") == raw(8, 6, 7), "a child that wrote nothing commits nothing")
os.write(fd, raw(9, 9, 9))
os.close(fd)
say(read("b") == raw(9, 9, 9), "and its parent's write is whole")

# Every way to read.
want = read("b")
fd = os.open("b", os.O_RDONLY)
bufs = [bytearray(5), bytearray(2), bytearray(50)]
say(os.readv(fd, bufs) == 12 and b"".join(bufs)[:12] == want, "readv")
say(os.preadv(fd, bufs, 3) == 9 and b"".join(bufs)[:9] == want[3:], "preadv")
say(os.pread(fd, 99, 12) == b"" and os.pread(fd, 99, 1 << 40) == b"",
    "a read at or behind the end is empty")
with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as shared, \
        mmap.mmap(fd, 12, flags=mmap.MAP_PRIVATE) as private:
    private[0] ^= 1
    say(shared[:] == want and private[1:] == want[1:] and read("b") == want,
        "mmap, shared and private")
out = os.open(OUTSIDE, os.O_RDWR | os.O_CREAT, 0o644)
say(os.sendfile(out, fd, 0, 99) == 12 and os.pread(out, 99, 0) == want,
    "sendfile to a file outside")
tail, head = os.pipe()
say(os.splice(fd, head, 99, 2) == 10 and os.read(tail, 99) == want[2:],
    "splice to a pipe")
to = os.open("c", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(head, raw(1, 2, 4))
say(os.splice(tail, to, 12) == 12, "splice from a pipe")
os.close(to)
say(read("c") == raw(1, 2, 4), "makes a vector")
to = os.open("d", os.O_WRONLY | os.O_CREAT, 0o644)
say(os.copy_file_range(fd, to, 99, 0) == 12, "copy_file_range inside")
os.close(to)
say(read("d") == want, "makes a vector")
to = os.open("e", os.O_WRONLY | os.O_CREAT, 0o644)
say(os.sendfile(to, out, 0, 99) == 12, "sendfile from outside")
os.close(to)
say(read("e") == want, "makes a vector")
to = os.open("f", os.O_WRONLY | os.O_CREAT, 0o644)
os.pwritev(to, [raw(7), raw(8)], 4)
os.pwritev(to, [raw(6)], 0)
os.close(to)
say(read("f") == raw(6, 7, 8), "pwritev in any order makes a vector")
for handle in (fd, out, tail, head):
    os.close(handle)
