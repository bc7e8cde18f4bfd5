# SPDX-License-Identifier: Apache-2.0
"""delete_pieces.py: filters that reach .delete-where in several writes."""
import json
import os
import signal
import subprocess
import sys

from mounted import ROOT, Collection, again, check, crash, error_of

N = 20000
c = Collection("c", metric="l2")


def fill():
    c.write(".import/ndjson", "".join(json.dumps(
        {"id": f"r{i:05}", "vector": [i, 1], "metadata": {"n": i}}) + "\n"
        for i in range(N)), 0)


def left():
    return [int(i[1:]) for i in c.ids()]


def opened():
    return os.open(c.path + "/.delete-where", os.O_WRONLY)


def pieces(fd, text, size, stop_at_error=True):
    """Writes of size bytes; the errno of the first that fails."""
    error = ""
    for at in range(0, len(text), size):
        now = error_of(os.write, fd, text[at:at + size])
        error = error or now
        if error and stop_at_error:
            break
    return error


def why():
    return c.read(".stats/last_error").decode().strip()


def line_of(numbers):
    return b"n.in=" + b",".join(b"%d" % i for i in numbers) + b"\n"


fill()
gone = set(range(0, N, 3))
fd = opened()
check(pieces(fd, line_of(sorted(gone)), 4096) == "", "each piece is taken")
os.close(fd)
check(left() == [i for i in range(N) if i not in gone],
      "a filter in pieces of 4,096 bytes deletes what it means, no more")
fill()
long = b"n.in=" + b",".join(b"%d.000" % i for i in range(0, N, 2)) + b"," + \
    b"1" * 200000 + b"\n"
check(error_of(c.write, ".delete-where", long, 0) == "" and
      left() == list(range(1, N, 2)), "so does one that is written at once")

# ---- what is not whole
fill()
fd = opened()
pieces(fd, line_of(range(5000))[:12288], 4096)
check(error_of(os.close, fd) == "EINVAL" and len(left()) == N and
      "may be cut off" in why(),
      "one that lacks its end is refused at close: " + why()[:80])
writer = subprocess.Popen([sys.executable, "-c", f"""
import os, time
fd = os.open({c.path + "/.delete-where"!r}, os.O_WRONLY)
os.write(fd, b"n.in=1,2,3")
os.write(fd, b",4")
print(flush=True)
time.sleep(60)"""], stdout=subprocess.PIPE)
writer.stdout.readline()
writer.send_signal(signal.SIGKILL)
writer.wait()
check(len(left()) == N, "a writer who is killed within it deletes nothing")
huge = line_of(i % N for i in range(300000))
fd = opened()
check(pieces(fd, huge, 65536) == "EFBIG" and "1048576 bytes" in why(),
      "one over 1 MiB is refused: " + why()[:80])
check(error_of(os.close, fd) == "EINVAL" and len(left()) == N,
      "which close says, too, and deletes nothing")
fd = opened()
pieces(fd, huge + b"n.eq=7\n", 65536, stop_at_error=False)
check(error_of(os.write, fd, b"n.eq=7\n") == "EFBIG" and len(left()) == N,
      "nor does what is written behind it")
error_of(os.close, fd)
fd = opened()
first = error_of(os.write, fd, b"n.gte=0 and\n")
check((first, error_of(os.write, fd, b"n.lt=9\n")) == ("EINVAL", "EINVAL") and
      len(left()) == N and "open it again" in why(),
      "nor the next line behind one that was refused: " + why()[:80])
error_of(os.close, fd)
fd = opened()
check(error_of(os.write, fd, b"n.lt=9\n") == "" and len(left()) == N - 9,
      "opened again it is taken")
os.close(fd)
fd = opened()
check(error_of(os.write, fd, b"n.eq=9\nn.lt=90\n") == "EINVAL" and
      len(left()) == N - 9 and "one line" in why(),
      "two lines at once are refused: " + why()[:80])
error_of(os.close, fd)
fd = opened()
check([error_of(os.write, fd, b"n.eq=%d\n" % i) for i in range(10, 13)] ==
      [""] * 3 and len(left()) == N - 12,
      "lines may follow each other on one handle")
os.close(fd)

# ---- a crash between pieces
fill()
line = line_of(range(0, 8000))
fd = opened()
pieces(fd, line[:8192], 4096)
crash()
check(pieces(fd, line[8192:], 4096) == "" and error_of(os.close, fd) == "" and
      left() == list(range(8000, N)),
      "a crash of the daemon between pieces takes none of them")
again("kill")
check(left() == list(range(8000, N)), "and what was deleted stays so")

s = Collection("shell", metric="l2")
for name, n, text in ("a", 1, "y"), ("b", 2, "y"), ("c", 3, "y"), ("d", 4, "y"):
    s.insert(name, [n, 1], {"n": n, "s": text})
check(s.size() == 4, "a collection of four")
