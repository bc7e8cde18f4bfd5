#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever a person can get wrong is refused with its errno and one sentence,
# in .stats/last_error and errors.ndjson, and changes nothing.
. "$(dirname "$0")/lib.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
n=$("$PYTHON3" "$HERE/sentences.py" count)
plan $((n + 1))
vgmount
report "$n" "$PYTHON3" "$HERE/sentences.py" "$M" "$S"
finish
