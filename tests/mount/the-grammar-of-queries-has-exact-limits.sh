#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every parameter at its bounds and behind them, long names, many dimensions
# and one, ids that look like words of the grammar; a refusal searches nothing.
. "$(dirname "$0")/lib.sh"
plan 39
vgmount
report 38 "$PYTHON3" "$HERE/query_limits.py" "$M"
finish
