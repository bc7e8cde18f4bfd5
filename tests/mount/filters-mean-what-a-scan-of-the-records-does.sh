#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# FIELD.OP=VALUE and where= as directories of a query, on metadata of every
# origin: counts, listings, exact and approximate answers against a model.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
need_numpy 1 >/dev/null || skip_all "no Python with numpy"
plan 24
vgmount
drive 22 "$PYTHON3" "$HERE/filters.py" "$M" random
finish
