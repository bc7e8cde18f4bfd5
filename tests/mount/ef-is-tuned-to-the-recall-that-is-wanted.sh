#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# target_recall is met by an ef that is found out from the queries of users;
# .stats/recall tells both, also after a restart and beside writers.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 28
vgmount
told() { # COLLECTION NAME
	sed -n "/^\$/q; s/^$2: //p" "$M/$1/.stats/recall"
}
is "$(mkdir "$M/small" && put "$M/small/a" 1,2 && told small recall)" 1 \
	"a recall is 1 where all rows are compared"

mkdir "$M/made"
export S
report 10 "$PYTHON3" "$HERE/recall_target.py" "$M/made" - - l2
ef=$(cat "$S/ef")
vgumount
vgmount
is "$(told made ef)" "$ef" "ef is $ef after a restart"
is "$(told made recall)" unknown "which knows no query"
like "$(told made ef_why)" '^auto: as measured before' "and says so"
report 3 "$PYTHON3" "$HERE/recall_beside.py" "$M/made"

if grep -q "libasan\|libtsan" "$VECGRIDFS"; then
	skip 10 "a sanitizer makes 42,026 real records take too long"
elif [ -n "${VG_DATA:-}" ] && [ -e "$VG_DATA/cve/cve_base.fvecs.gz" ]; then
	mkdir "$M/cve"
	report 10 "$PYTHON3" "$HERE/recall_target.py" "$M/cve" \
		"$VG_DATA/cve/cve_base.fvecs.gz" \
		"$VG_DATA/cve/cve_query.fvecs.gz" cosine
else
	skip 10 "VG_DATA names no directory with cve"
fi
finish
