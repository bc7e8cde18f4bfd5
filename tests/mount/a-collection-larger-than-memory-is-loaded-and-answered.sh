#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon in a control group that may use half of what the vectors take: it
# loads them, checkpoints, starts again, answers, and makes them anew.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
grep -q "libasan\|libtsan" "$VECGRIDFS" && skip_all "a sanitizer has memory of its own"
LIMIT_MB=100
ROWS=100000 # of 512 floats: 205 MB
. "$(dirname "$0")/group.sh"

# The ids that lie nearest to row 77, by a scan in plain numpy.
make() {
	"$PYTHON3" - "$1" "$ROWS" <<'PY'
import sys
import numpy as np
rows = int(sys.argv[2])
out = np.lib.format.open_memmap(sys.argv[1], mode="w+", dtype="f4",
                                shape=(rows, 512))
dice = np.random.default_rng(5)
for i in range(0, rows, 10000):
    out[i:i + 10000] = dice.normal(size=(10000, 512))
near = np.concatenate([np.square(out[i:i + 10000] - out[77]).sum(1)
                       for i in range(0, rows, 10000)])
print(*np.argsort(near, kind="stable")[1:4])
PY
}

plan 12
want=$(make "$S/v.npy")
enter
vgmount backup_grace=0
leave
mkdir "$M/c"
put "$M/c/.config/index" flat
put "$M/c/.config/metric" l2
ok "twice the memory is loaded" cp "$S/v.npy" "$M/c/.import/npy"
rm "$S/v.npy"
is "$(cat "$M/c/.stats/count")" "$ROWS" "all of it"
is "$(echo $(cat "$M/c/query/k=3/id=77.ids"))" "$want" "and it answers"
ok "it was checkpointed meanwhile" test "$(ls "$D" | grep -c MANIFEST)" -gt 0
vgumount
is $? 0 "it is unmounted"
enter
vgmount backup_grace=0
leave
is "$(cat "$M/c/.stats/count")" "$ROWS" "opened again it has all of it"
is "$(echo $(cat "$M/c/query/k=3/id=77.ids"))" "$want" "and answers"
metric_is() {
	for _ in $(seq 1200); do
		[ "$(sed -n 's/^metric: //p' "$M/c/.stats/index")" = "$1" ] &&
			return
		pause 0.1
	done
	return 1
}
put "$M/c/.config/metric" cosine
ok "another metric makes all of it anew" metric_is cosine
put "$M/c/.config/metric" l2
ok "and back" metric_is l2
is "$(echo $(cat "$M/c/query/k=3/id=77.ids"))" "$want" "it answers as before"
ok "within its memory" is_within
finish
