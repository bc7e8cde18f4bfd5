# SPDX-License-Identifier: Apache-2.0
"""pace.py COLLECTION: sixteen processes write more than the indexers link.

What is not linked yet is scanned by each search, so that there may not be more
of it than 2.5 MB, of 128 dimensions 4,882 rows; a put in each process may come
on top. Ends when writers were held back for a while.

Prints "yes: SENTENCE" or "no: SENTENCE" for each thing that must hold.
"""
import multiprocessing
import os
import random
import struct
import sys
import time

folder = sys.argv[1]
WRITERS, DIM, LIMIT_S = 16, 128, 100
BOUND = 2500000 // (4 * DIM)
SEED = int(os.environ.get("VG_SEED") or time.time_ns() % 1000000007)
fork = multiprocessing.get_context("fork")
done = fork.RawArray("q", WRITERS)
longest = fork.RawArray("d", WRITERS)
stop = fork.RawValue("i", 0)


def writer(w):
    rng = random.Random(f"{SEED} {w}")
    while not stop.value:
        body = struct.pack(f"<{DIM}f", *(rng.random() for _ in range(DIM)))
        start = time.monotonic()
        with open(f"{folder}/w{w}-{done[w]}", "wb", buffering=0) as f:
            f.write(body)
        longest[w] = max(longest[w], time.monotonic() - start)
        done[w] += 1


def number(name):
    with open(f"{folder}/.stats/{name}") as f:
        return int(f.read())


def say(is_so, sentence):
    print("yes" if is_so else "no", sentence, sep=": ")


crew = [fork.Process(target=writer, args=(w,)) for w in range(WRITERS)]
for c in crew:
    c.start()
most, at_bound, end = 0, None, time.monotonic() + LIMIT_S
while time.monotonic() < end:
    most = max(most, number("indexing"))
    if at_bound is None and most >= BOUND - 100:
        at_bound = list(done)
    if at_bound and all(n >= was + 60 for n, was in zip(done, at_bound)):
        break
    time.sleep(0.005)
stop.value = 1
for c in crew:
    c.join()
print(f"VG_SEED={SEED} most={most} longest={max(longest):.2f} s", list(done))
say(at_bound, "writers come to where the indexers do not keep up")
say(most <= BOUND + 4 * WRITERS, "not more than a bound is left to link")
say(at_bound and all(n >= was + 60 for n, was in zip(done, at_bound)),
    "each of them goes on at the indexers' pace")
say(sum(c.exitcode == 0 for c in crew) == WRITERS, "nobody meets an error")
say(number("count") == sum(done), "and each row is there")
