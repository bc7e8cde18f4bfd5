#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# order=FIELD and group=FIELD in searches, listings, counts, batches, snapshots
# and requests, against a model; groups that lie behind thousands of rows.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 32
vgmount
drive 30 "$PYTHON3" "$HERE/order.py" "$M"
finish
