#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout=, partial=1 and ctrl-C end a search that would take seconds.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 13
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put .config/index flat
"$PYTHON3" -c 'import numpy as np, sys
r = np.random.default_rng(1)
np.save(sys.argv[1] + "/base.npy", r.random((20000, 256), "f4"))
np.save(sys.argv[1] + "/batch.npy", r.random((10000, 256), "f4"))' "$S"
cp "$S/base.npy" .import/npy || diag "the import failed"
cp "$S/batch.npy" query/b1
long=exact=1/k=1/threads=1

fails ETIMEDOUT "timeout= ends it with ETIMEDOUT" \
	cat query/timeout=50/$long/b1.ids
start=$(date +%s%N)
cat query/timeout=50/$long/b1.ids >/dev/null 2>&1
took=$((($(date +%s%N) - start) / 1000000))
ok "in time ($took ms)" test $took -lt 1000
ok "partial=1 has what was found" sh -c 'cat "$1" >"$2"' - \
	query/timeout=100/partial=1/$long/b1.ids "$S/part"
ok "which is less than all" test "$(grep -c . "$S/part")" -lt 10000
p=query/timeout=100/partial=1/trailer=1/$long/b1
is "$("$PYTHON3" -c 'import os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
print(os.getxattr(f, "user.vecgridfs.partial").decode())' $p)" 1 \
	"it is marked by an attribute"
like "$(tail -n 1 $p)" '"partial":true' "and by its trailer"
fails EIO "strict=1 does not take it" \
	cat query/timeout=100/partial=1/strict=1/$long/b1.ids

for how in cat stat python; do
	got=$("$PYTHON3" "$HERE/interrupt.py" $how query/$long/b1.ids)
	like "$got" '^interrupted' "ctrl-C ends $how ($got)"
done
ok "and the mount goes on" cat query/id=7
is "$(cat .stats/count)" 20000 "with all its rows"
cd "$S" || exit 99
finish
