#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# user.vecgridfs.* of a vector can be asked for by name and are never listed,
# so that programs which copy attributes do not try to restore them.
. "$(dirname "$0")/lib.sh"
plan 17
vgmount
mkdir "$M/c"
raw "$M/c/a" 3 4

get() {
	getfattr --absolute-names --only-values -n "$1" "${2:-$M/c/a}" 2>&1
}
like "$(get user.vecgridfs.version)" '^[0-9]+' "version is a number"
like "$(get user.vecgridfs.partition)" '^[0-9]+$' "partition is a number"
like "$(get user.vecgridfs.owner)" '.' "owner is told"
is "$(get user.vecgridfs.norm)" 5 "norm is the length of the vector"
like "$(get user.vecgridfs.crc)" '^[0-9a-f]+$' "crc is told"
like "$(get user.vecgridfs.state)" '^[a-z]+$' "state is a word"
is "$(getfattr --absolute-names -d -m - "$M/c/a")" "" "none is listed"

before=$(get user.vecgridfs.version)
setfattr -n user.x -v 1 "$M/c/a"
nok "metadata makes a version" test "$(get user.vecgridfs.version)" = "$before"
fails EPERM "they cannot be set" \
	setfattr -n user.vecgridfs.norm -v 1 "$M/c/a"
fails EPERM "nor removed" setfattr -x user.vecgridfs.norm "$M/c/a"
fails ENODATA "another word of ours is no attribute" \
	getfattr -n user.vecgridfs.nonsense "$M/c/a"
fails ENODATA "security.* is empty" getfattr -n security.selinux "$M/c/a"
fails ENODATA "as are capabilities" getfattr -n security.capability "$M/c/a"
fails EOPNOTSUPP "ACLs are not supported" \
	getfattr -n system.posix_acl_access "$M/c/a"
fails EOPNOTSUPP "nor settable" \
	setfattr -n system.posix_acl_access -v 0x02000000 "$M/c/a"
is "$(getfattr --absolute-names -d -m - "$M/c/a" | grep -c =)" 1 \
	"the one that was set is the one that is listed"
finish
