# SPDX-License-Identifier: Apache-2.0
"""run_handle.py: in a collection of p0..p5 at (x, 0) under l2, query/.run.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import errno
import json
import os
import struct
import threading


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


def ask(fd, request, size=65536):
    os.pwrite(fd, request, 0)
    return os.pread(fd, size, 0)


def ids(answer):
    return [json.loads(r)["id"] for r in answer.splitlines()]


def raw(*v):
    return struct.pack(f"<{len(v)}f", *v)


fd = os.open("query/.run", os.O_RDWR)
say(ids(ask(fd, b'{"vector":[1,0],"k":1}')) == ["p1"], "pwrite and pread at 0")
say(all(ids(ask(fd, b'{"vector":[%d,0],"k":1}' % (i % 6))) == [f"p{i % 6}"]
        for i in range(300)), "three hundred times")
two = ask(fd, raw(0, 0, 5, 0))
say([(json.loads(r)["q"], json.loads(r)["id"]) for r in two.splitlines()
     if json.loads(r)["rank"] == 1] == [(0, "p0"), (1, "p5")],
    "raw bytes of two vectors are a batch")
whole = ask(fd, b'{"vector":[3,0],"k":4}')
os.pwrite(fd, b'{"vector":[3,0],"k":4}', 0)
pieces = b"".join(os.pread(fd, 7, i) for i in range(0, len(whole), 7))
say(pieces == whole, "an answer is read in pieces at any offset")
os.lseek(fd, 0, os.SEEK_SET)
say(os.read(fd, 65536) == whole, "and again after a seek")
os.pwrite(fd, b'{"vector":[4,0],', 0)
os.pwrite(fd, b'"k":1}\n', len(b'{"vector":[4,0],'))
say(ids(os.pread(fd, 65536, 0)) == ["p4"],
    "a request written in pieces is complete at the first read")
try:
    ask(fd, b'{"vector":[1,2,3]}')
    refused = None
except OSError as e:
    refused = e.errno
say(refused == errno.EINVAL, "a request of another dimension is EINVAL")
say(ids(ask(fd, b'{"vector":[1,0],"k":1}')) == ["p1"],
    "after which the handle goes on")
with open("new", "w") as f:
    f.write("1,0.01\n")
say(ids(ask(fd, b'{"vector":[1,0.01],"k":1}')) == ["new"],
    "a record made meanwhile is found")

wrong = []


def client(n):
    mine = os.open("query/.run", os.O_RDWR)
    for _ in range(100):
        if ids(ask(mine, b'{"vector":[%d,0],"k":1}' % n)) != [f"p{n}"]:
            wrong.append(n)
    os.close(mine)


threads = [threading.Thread(target=client, args=(n,)) for n in (0, 2, 3, 5)]
for t in threads:
    t.start()
for t in threads:
    t.join()
say(not wrong, "handles do not mix up their answers")
