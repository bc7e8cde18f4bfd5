#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mkdir, mv and rmdir of collections, and what a collection refuses.
. "$(dirname "$0")/lib.sh"
plan 27
vgmount

ok "mkdir makes a collection" mkdir "$M/c"
is "$(ls -A "$M")" c "it is the only name in the root"
is "$(ls -A "$M/c")" "" "it is empty"
fails EEXIST "mkdir of a name that is taken" mkdir "$M/c"
ok "rmdir drops an empty collection" rmdir "$M/c"
fails ENOENT "a dropped collection is gone" stat "$M/c"
ok "its name is free again" mkdir "$M/c"

put "$M/c/a" 1,2,3
put "$M/c/b" 4,5,6
fails ENOTEMPTY "rmdir of a collection with vectors" rmdir "$M/c"
is "$(ls "$M/c" | xargs)" "a b" "which stay"

ok "mv renames a collection" mv "$M/c" "$M/d"
fails ENOENT "the old name is gone" stat "$M/c"
is "$(numbers "$M/d/a")" "1 2 3" "its vectors came along"
mkdir "$M/full" "$M/empty"
put "$M/full/x" 1,0
fails ENOTEMPTY "a collection does not replace one with vectors" \
	mv -T "$M/d" "$M/full"
ok "but replaces an empty one" mv -T "$M/d" "$M/empty"
is "$(numbers "$M/empty/b")" "4 5 6" "with its vectors"

fails EXDEV "a vector is not renamed into another collection" \
	"$PYTHON3" -c 'import os, sys; os.rename(*sys.argv[1:])' \
	"$M/empty/a" "$M/full/a"
mkdir "$M/other"
ok "so mv copies it" mv "$M/empty/a" "$M/other/a"
is "$(numbers "$M/other/a")" "1 2 3" "whole"
fails ENOENT "and removes the first" stat "$M/empty/a"

fails EPERM "a hard link" ln "$M/other/a" "$M/other/b"
nok "a directory in a collection" mkdir "$M/other/sub"
nok "a file in the root" put "$M/file" 1,2,3
nok "a symbolic link among the vectors" ln -s a "$M/other/l"
nok "a fifo among the vectors" mkfifo "$M/other/f"

ok "rm -r removes vectors and collection" rm -r "$M/other"
is "$(ls "$M" | xargs)" "empty full" "and nothing else"
finish
