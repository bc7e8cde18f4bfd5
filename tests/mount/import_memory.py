# SPDX-License-Identifier: Apache-2.0
"""import_memory.py FILE MB PID: streams MB of npy into FILE and samples the
process's RssAnon. Prints: rows, KiB of the peak above the end, both."""
import os
import sys
import threading

import numpy as np

path, pid = sys.argv[1], sys.argv[3]
DIM, CHUNK = 768, 1024
rows = int(sys.argv[2]) * 1000000 // (DIM * 4) // CHUNK * CHUNK


def anon():
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    raise SystemExit("no RssAnon")


peak = anon()
done = threading.Event()


def watch():
    global peak
    while not done.wait(0.01):
        peak = max(peak, anon())


watcher = threading.Thread(target=watch)
watcher.start()
try:
    block = np.random.default_rng(1).random((CHUNK, DIM), "f4")
    with open(path, "wb", buffering=0) as f:
        np.lib.format.write_array_header_1_0(
            f, {"descr": "<f4", "fortran_order": False, "shape": (rows, DIM)})
        for i in range(rows // CHUNK):
            block[:, 0] = i
            data = memoryview(block).cast("B")
            while data:
                data = data[f.write(data):]
finally:
    done.set()
    watcher.join()
end = anon()
print(rows, peak - end, f"peak {peak} KiB, after {end} KiB")
