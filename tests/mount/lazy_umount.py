# SPDX-License-Identifier: Apache-2.0
"""lazy_umount.py HOLDER: umount -l under load. Prints "yes: SENTENCE" or "no: ...".

Writers and readers go by descriptors of the tree, so they outlive its name.
HOLDER is the process of the first mount. Environment: VECGRIDFS, M, D, S.
"""
import os
import struct
import subprocess
import sys
import threading
import time

import kill_rounds as k

C = k.C
WRITERS = 4


def say(holds, sentence):
    print("yes" if holds else "no", sentence, sep=": ", flush=True)


def vector(n):
    return struct.pack("<8f", *(n + i / 64 for i in range(8)))


class Writer(threading.Thread):
    """Writes its ids below a directory's descriptor until it is told to stop."""

    def __init__(self, number, stop):
        super().__init__()
        self.number, self.stop = number, stop
        self.dir = os.open(C, os.O_RDONLY | os.O_DIRECTORY)
        self.state, self.n, self.trouble = {}, 0, None

    def put(self, name, data):
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                     dir_fd=self.dir)
        os.write(fd, data)
        os.close(fd)

    def step(self):
        self.n += 1
        name = f"w{self.number}-{self.n % 30}"
        if self.n % 7 == 0 and name in self.state:
            os.unlink(name, dir_fd=self.dir)
            del self.state[name]
            return
        data = vector(self.number * 100000 + self.n)
        self.put("." + name, data)
        os.rename("." + name, name, src_dir_fd=self.dir, dst_dir_fd=self.dir)
        self.state[name] = data

    def run(self):
        try:
            while not self.stop.is_set():
                self.step()
        except OSError as e:
            self.trouble = f"{e} at {self.n}"
        os.close(self.dir)


def is_alive(pid):
    """Whether it runs; a zombie has ended."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(what):
    end = time.monotonic() + 40
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return what()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def main():
    holder = int(sys.argv[1])
    os.mkdir(C)
    with open(C + "/first", "wb") as f:
        f.write(vector(1))
    stop = threading.Event()
    writers = [Writer(n, stop) for n in range(WRITERS)]
    record = os.open(C + "/first", os.O_RDONLY)
    run = os.open(C + "/query/.run", os.O_RDWR)
    rows = os.open(C + "/.import/ndjson", os.O_WRONLY)
    row = '{"id":"row%d","vector":[1,2,3,4,5,6,7,%d]}\n'
    os.write(rows, "".join(row % (i, i) for i in range(500)).encode())
    for w in writers:
        w.start()
    time.sleep(0.3)
    subprocess.run(["umount", "-l", k.M], check=True)
    before = [w.n for w in writers]
    say(not k.mounted() and not os.listdir(k.M), "the tree has lost its name")
    child = k.start()  # waits for the first one
    say(wait_until(lambda: all(w.n > n + 10 or w.trouble
                               for w, n in zip(writers, before))),
        "who has a directory open goes on to write")
    say(os.pread(record, 99, 0) == vector(1), "an open record reads")
    os.write(run, b'{"id":"first","k":1,"exact":true}')
    say(b'"id"' in os.pread(run, 4096, 0), "an open query answers")
    os.write(rows, "".join(row % (i, i) for i in range(500, 1000)).encode())
    os.close(rows)
    say(is_alive(holder) and child.poll() is None,
        "the daemon is there as long as something is open")
    stop.set()
    for w in writers:
        w.join()
    for w in writers:
        if w.trouble:
            print("#", w.trouble)
    say(not any(w.trouble for w in writers), "no call failed")
    os.close(record)
    os.close(run)
    say(wait_until(lambda: not is_alive(holder)), "then the daemon ends")
    say(wait_until(k.mounted) and os.listdir(k.M) != [],
        "and who waited for the directory has it")
    want = {i: d for w in writers for i, d in w.state.items()}
    names = {i for i in os.listdir(C) if i.startswith("w")}
    say(names == set(want) and all(read(f"{C}/{i}") == want[i] for i in want),
        f"with all that was acknowledged ({sum(w.n for w in writers)} writes)")
    say(read(C + "/.stats/count") == b"%d\n" % (len(want) + 1001),
        "and every row of the import")
    subprocess.run(["umount", "-l", k.M], check=True)
    say(child.wait(40) == 0, "umount -l of an idle tree ends it at once")


main()
