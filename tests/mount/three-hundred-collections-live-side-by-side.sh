#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many small collections are filled, searched, renamed, dropped and remounted.
. "$(dirname "$0")/lib.sh"
. "$HERE/drive.sh"
plan 23
vgmount
drive 21 "$PYTHON3" "$HERE/many_collections.py" "$M"
finish
