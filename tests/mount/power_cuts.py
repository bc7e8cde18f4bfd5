# SPDX-License-Identifier: Apache-2.0
"""power_cuts.py ROUNDS [lie]: cuts the power below the data directory, again and
again, under the writers of kill_rounds.py, and judges what is left as there.

The data directory is on a powerfs (tests/powerfs.c). In some rounds the power
is cut once more while the program starts on what was left; in some every sync
fails for a while before. With "lie" no sync is one, and the first round in
which that is noticed is the last. VG_SEED repeats the choices, not the moments.
Environment: VECGRIDFS, POWERFS, DISK, M, D, S.
"""
import os
import random
import subprocess
import sys
import threading
import time

import kill_rounds as k

MODES = 5  # none, all, prefix, subset, torn: enum sim_mode
OPTIONS = ("-o", "checkpoint=64K")
POWERFS, DISK = os.environ["POWERFS"], os.environ["DISK"]


class Disk:
    def __init__(self, rng):
        self.rng = rng
        self.fs = subprocess.Popen([POWERFS, DISK] + sys.argv[2:], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        self.unsafe = self.cuts = 0
        self.expect("mounted")

    def expect(self, word):
        answer = self.fs.stdout.readline().split()
        if not answer or answer[0] != word:
            raise SystemExit(f"powerfs said {answer}, not {word}")
        return answer

    def say(self, line, word):
        self.fs.stdin.write(line + "\n")
        self.fs.stdin.flush()
        return self.expect(word)

    def cut(self):
        seed = self.rng.getrandbits(60)
        answer = self.say(f"cut {seed} {self.rng.randrange(MODES)}", "cut")
        self.unsafe += int(answer[1])
        self.cuts += 1

    def close(self):
        self.fs.stdin.close()
        self.fs.wait()


def end(child, disk):
    """The program is gone, and the disk is what the cut left."""
    k.kill(child)
    subprocess.run(["umount", "-l", k.M], check=False,
                   stderr=subprocess.DEVNULL)
    disk.say("mount", "mounted")


def checked():
    """What --check finds that is wrong, as a list."""
    run = subprocess.run([k.PROGRAM, "--check", k.D], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return [] if run.returncode == 0 else [f"--check: {run.stdout.strip()}"]


def round_of(writers, child, disk, rng):
    """One cut, or two. Returns the program that is mounted, and what is wrong."""
    dead = threading.Event()
    threads = [threading.Thread(target=w.work, args=(dead,)) for w in writers]
    for t in threads:
        t.start()
    time.sleep(rng.uniform(0.02, 0.6))
    dead.set()
    if rng.random() < 0.1:
        disk.say("fail", "failing")
        time.sleep(0.05)
    disk.cut()
    end(child, disk)
    for t in threads:
        t.join()
    if rng.random() < 0.4:
        child = k.start(*OPTIONS)
        time.sleep(rng.uniform(0, 0.06))
        disk.cut()
        end(child, disk)
    wrong = [f"before the cut: {w.trouble}" for w in writers if w.trouble]
    wrong += checked()
    if wrong and sys.argv[2:]:
        return child, wrong
    child = k.mount(*OPTIONS)
    wrong += k.verify(writers)
    for w in writers:
        w.trouble = None
    return child, wrong


def main():
    print(f"seed {k.SEED}", flush=True)
    rng = random.Random(k.SEED)
    disk = Disk(rng)
    writers = [k.Writer(n) for n in range(k.WRITERS)]
    child = k.mount(*OPTIONS)
    os.mkdir(k.C)
    ops = 0
    for n in range(1, k.ROUNDS + 1):
        child, wrong = round_of(writers, child, disk, rng)
        done = sum(w.ops for w in writers) - ops
        ops += done
        print(f"round {n} ({done} operations): " +
              ("nothing lost" if not wrong else "; ".join(wrong[:6])),
              flush=True)
        if wrong and sys.argv[2:]:
            return
    print(f"# {disk.cuts} cuts, {ops} operations, {disk.unsafe} changes that "
          "were not safe", flush=True)
    os.unlink(k.S + "/holder")
    subprocess.run(["umount", k.M], check=True)
    if child.wait(60):
        raise SystemExit(f"vecgridfs ended with {child.returncode}")
    disk.close()


main()
