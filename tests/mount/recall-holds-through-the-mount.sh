#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# recall@10 on 5,000 SIFT vectors, fresh, linked, and after 30 % were overwritten
# and 30 % deleted, at the ef of a collection that is not tuned yet.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
[ -e "$VG_SRC/tests/data/sift5k/sift5k_base.fvecs" ] || skip_all "no sift5k data"
plan 8
vgmount
mkdir "$M/sift"
put "$M/sift/.config/metric" l2
put "$M/sift/.config/ef_search" 100
ok "fvecs are imported" cp "$VG_SRC/tests/data/sift5k/sift5k_base.fvecs" \
	"$M/sift/.import/fvecs"
recall() { # MSG [ARG...]
	local msg=$1 got
	shift
	got=$("$PYTHON3" "$HERE/recall.py" "$M/sift" \
		"$VG_SRC/tests/data/sift5k/sift5k" "$@" 2>&1)
	ok "$msg: recall@10 $got" awk "BEGIN { exit !($got >= 0.99) }"
}
recall "just imported"
linked "$M/sift"
recall "linked"
recall "one query a file" single
"$PYTHON3" "$HERE/recall.py" "$M/sift" "$VG_SRC/tests/data/sift5k/sift5k" change ||
	diag "the changes failed"
recall "changed a moment ago" oracle
linked "$M/sift"
recall "after 30 % overwritten and 30 % deleted" oracle
recall "those rows alone that were overwritten" overwritten
finish
