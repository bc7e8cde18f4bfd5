# SPDX-License-Identifier: Apache-2.0
"""rename.py noreplace|exchange OLD NEW: renameat2 with a flag."""
import ctypes
import os
import sys

FLAGS = {"noreplace": 1, "exchange": 2}
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)
how, old, new = sys.argv[1:]
if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new),
                  FLAGS[how]) < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
