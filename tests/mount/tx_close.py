# SPDX-License-Identifier: Apache-2.0
"""tx_close.py COLLECTION ROUNDS: writes into a transaction while it commits.

What a close() or rm acknowledged is in the commit.
"""
import os
import struct
import sys
import threading

C, ROUNDS = sys.argv[1], int(sys.argv[2])
T = C + "/.tx/t"


def value_of(path):
    try:
        with open(path, "rb") as f:
            return struct.unpack("<3f", f.read())[0]
    except FileNotFoundError:
        return None


def use(said):
    """Writes and removes until one fails. said: what the last that held made of
    it, and what the one that failed would have made."""
    n = 0
    while True:
        n += 1
        said[1] = n if n % 3 else None
        try:
            if n % 3:
                f = os.open(T + "/x", os.O_WRONLY | os.O_CREAT)
                os.write(f, struct.pack("<3f", n, 1, 1))
                os.close(f)
            else:
                os.unlink(T + "/x")
        except OSError:
            return
        said[0] = said[1]


lost = ended = 0
for _ in range(ROUNDS):
    os.mkdir(T)
    said = [None, None]
    user = threading.Thread(target=use, args=(said,))
    user.start()
    while said[0] is None and user.is_alive():
        pass
    try:
        os.rename(T, T + ".commit")
        ended += 1
    except OSError:
        os.rmdir(T)
        user.join()
        continue
    user.join()
    got = value_of(C + "/x")
    if got not in said:
        lost += 1
        print("said", said, "got", got)
    if got is not None:
        os.unlink(C + "/x")
print("no" if lost or not ended else "yes", "what a close in a transaction "
      "said holds, though it is being committed", sep=": ")
