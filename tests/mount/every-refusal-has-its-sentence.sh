#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever a person can get wrong is refused with its errno and one sentence,
# in .stats/last_error and errors.ndjson, and changes nothing.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
n=$("$PYTHON3" "$HERE/sentences.py" count)
plan $((n + 5))
vgmount
report "$n" "$PYTHON3" "$HERE/sentences.py" "$M" "$S"

vgumount
vgmount staging=1M
fails ENOSPC "more is staged than there is room for" \
	dd if=/dev/zero of="$M/c/.large" bs=1M count=3 status=none
like "$(cat "$M/c/.stats/last_error")" \
	'c/\.large: too much is being written at once: close some' "and why"
rm "$M/c/.large"
ok "with room again it is taken" put "$M/c/after" 1,2,3
is "$(ls "$M/c" | xargs)" "a after z" "and what was there is there"
finish
