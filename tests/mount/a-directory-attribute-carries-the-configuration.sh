#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# user.vecgridfs.config of a collection's directory is its whole configuration.
. "$(dirname "$0")/lib.sh"
plan 11
vgmount
mkdir "$M/c" "$M/d"
put "$M/c/.config/metric" l2
put "$M/c/.config/m" 8
put "$M/c/.config/dim" 3
put "$M/c/.config/target_recall" .95

value() {
	getfattr --absolute-names --only-values -n user.vecgridfs.config "$1"
}
like "$(getfattr --absolute-names -d "$M/c")" 'user.vecgridfs.config=' \
	"it is listed"
config=$(value "$M/c")
like "$config" '"metric":"l2"' "it is JSON with each setting"
ok "an empty collection takes it" \
	setfattr -n user.vecgridfs.config -v "$config" "$M/d"
is "$(cat "$M/d/.config/"{metric,m,dim,target_recall} | xargs)" "l2 8 3 0.95" \
	"and has the same settings then"

raw "$M/d/a" 1 2 3
ok "setting what it is succeeds with vectors in" \
	setfattr -n user.vecgridfs.config -v "$(value "$M/d")" "$M/d"
mkdir "$M/e"
raw "$M/e/a" 1 2
fails EBUSY "setting what it is not is refused" \
	setfattr -n user.vecgridfs.config -v "$config" "$M/e"
mkdir "$M/f"
fails EINVAL "nonsense is refused" \
	setfattr -n user.vecgridfs.config -v '{"metric":"near"}' "$M/f"
fails EINVAL "what is no JSON is refused" \
	setfattr -n user.vecgridfs.config -v 'metric=l2' "$M/f"
is "$(cat "$M/f/.config/metric")" cosine "and changes nothing"
fails ENODATA "a collection has no attributes else" \
	getfattr -n user.colour "$M/f"
finish
