# SPDX-License-Identifier: Apache-2.0
"""cut_log.py DATADIR: the log as it is when its begin was needed no more.

The newest manifest goes on at the log's end. A new segment is begun there,
with the header that docs/format.md has, and those before are removed, as the
store does when a segment is full and no manifest needs it. Older manifests go.
"""
import glob
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from xxh3 import xxh3  # noqa: E402

datadir = sys.argv[1]
manifests = sorted(glob.glob(datadir + "/MANIFEST.*"),
                   key=lambda p: int(p.rsplit(".", 1)[1]))
for path in manifests[:-1]:
    os.unlink(path)
with open(manifests[-1], "rb") as f:
    body = f.read()[32:]
store = body[8:24]
lsn, segment, _ = struct.unpack_from("<QQQ", body, 32)
header = struct.pack("<8sII16sQQQ", b"vgwal\r\n\x1a", 1, 0, store,
                     segment + 1, lsn, 0)
with open(f"{datadir}/wal/{segment + 1:04}.wal", "wb") as f:
    f.write(header + struct.pack("<Q", xxh3(header)))
for path in glob.glob(datadir + "/wal/*.wal"):
    if int(os.path.basename(path)[:-4]) <= segment:
        os.unlink(path)
