# SPDX-License-Identifier: Apache-2.0
"""facts.py FOLDER: one line for each thing in it, in order of names: type,
mode, size, mtime, where a link points, a checksum and the attributes.

What a tree of collections has in common with its copy on any filesystem: the
modes of vectors are their collection's, and the folder itself is not told.
"""
import hashlib
import os
import stat
import sys

root = os.fsencode(sys.argv[1])


def attributes(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return [(n, os.getxattr(path, n, follow_symlinks=False)) for n in names]


def tell(path):
    st = os.lstat(path)
    what, extra = stat.filemode(st.st_mode), ""
    if stat.S_ISLNK(st.st_mode):
        return f"link to {os.readlink(path)!r}"
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as f:
            extra = f"{st.st_size} {hashlib.md5(f.read()).hexdigest()}"
        what = "file"
    return f"{what} {st.st_mtime_ns} {extra} {attributes(path)}"


paths = [os.path.join(d, n) for d, dirs, files in os.walk(root)
         for n in dirs + files]
for path in sorted(paths):
    print(os.path.relpath(path, root), tell(path))
