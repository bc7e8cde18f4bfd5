# SPDX-License-Identifier: Apache-2.0
"""versions.py: in a collection, maps and handles against replacement.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import mmap
import os
import struct
import threading

DIM = 4096  # four pages


def body(value):
    return struct.pack("<f", value) * DIM


def put(name, value):
    with open(name, "wb") as f:
        f.write(body(value))


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


os.mkdir("../wide")
os.chdir("../wide")
put("v", 1)
with open("v", "rb") as f:
    first = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
page = first[:4096]
put("v", 2)
say(first[:] == body(1), "a map keeps its version, also pages not yet read")
with open("v", "rb") as f:
    second = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
say(second[:] == body(2), "a new map has the new version")
with open(".t", "wb") as f:
    f.write(body(3))
os.rename(".t", "v")
os.unlink("v")
say(first[:] == body(1) and second[:] == body(2),
    "maps outlive a rename over the name and its removal")
put("v", 4)
private = mmap.mmap(os.open("v", os.O_RDONLY), 0, access=mmap.ACCESS_COPY)
private[:4] = b"\0\0\0\0"
with open("v", "rb") as f:
    say(f.read() == body(4), "a private copy is the mapper's own")

# A writer that never asks for attributes, as cat does: O_TRUNC must not reach
# the pages of those who have the old version. Touching them may be SIGBUS.
put("v", 5)
child = os.fork()
if child == 0:
    f = os.open("v", os.O_RDONLY)
    old = mmap.mmap(f, 0, prot=mmap.PROT_READ)
    w = os.open("v", os.O_WRONLY | os.O_TRUNC)
    same = old[:] == body(5) == os.pread(f, 4 * DIM, 0)
    os.write(w, body(6))
    os.close(w)
    os._exit(0 if same and os.pread(f, 4 * DIM, 0) == body(5) == old[:]
             else 1)
say(os.waitpid(child, 0)[1] == 0,
    "opening with O_TRUNC takes nothing from older handles and maps")

stop = threading.Event()
mixed, seen = [], set()


def read_on():
    while not stop.is_set():
        with open("v", "rb") as f:
            got = f.read()
        if len(got) != 4 * DIM:
            mixed.append(f"{len(got)} bytes")
        elif len(set(struct.unpack(f"<{DIM}f", got))) != 1:
            mixed.append(sorted(set(struct.unpack(f"<{DIM}f", got))))
        seen.add(got[:4])


readers = [threading.Thread(target=read_on) for _ in range(2)]
for r in readers:
    r.start()
for i in range(300):
    if i % 2:
        put("v", 10 + i)
    else:
        with open(".t", "wb") as f:
            f.write(body(10 + i))
        os.rename(".t", "v")
stop.set()
for r in readers:
    r.join()
say(not mixed, "readers beside 300 replacements never see a mixture")
say(len(seen) > 1, "and see them change")
print(len(mixed), mixed[:3])
with open("v", "rb") as f:
    say(f.read() == body(309), "the last one stays")
