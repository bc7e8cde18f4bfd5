#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# readdir, telldir, seekdir, rewinddir and getdents beside changes.
. "$(dirname "$0")/lib.sh"
plan 34
vgmount
mkdir "$M/c"
put "$M/c/.config/index" flat
"$PYTHON3" -c 'for i in range(3000):
    print("{\"id\":\"v%04d\",\"vector\":[%d,1]}" % (i, i))' >"$S/rows"
ok "three thousand are loaded" cp "$S/rows" "$M/c/.import/ndjson"

cd "$M" || exit 99
report 28 "$PYTHON3" "$HERE/listing.py"

ok "three thousand are loaded again" cp "$S/rows" "$M/c/.import/ndjson"
ok "rm -rf of a glob over them" bash -c 'rm -rf c/*'
is "$(ls -A c) $(cat c/.stats/count)" " 0" "leaves nothing"
ok "and rmdir takes the rest" rmdir c
cd "$S" || exit 99
finish
