#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# umount -l under load: what is open goes on, the daemon ends when the last of
# it is closed, and the next mount, which waits for it, has all of it.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip_all "umount -l needs root"
plan 13
export VECGRIDFS
vgmount
report 11 "$PYTHON3" "$HERE/lazy_umount.py" "$HOLDER"
wait "$HOLDER"
is $? 0 "the first daemon ended with 0"
HOLDER=
vgmount
finish
