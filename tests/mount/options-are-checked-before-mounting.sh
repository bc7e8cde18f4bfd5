#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the command line cannot mean is refused with one sentence, and a good
# one mounts when it returns.
. "$(dirname "$0")/lib.sh"
plan 25

said() { # what the program said on the last refusal
	cat "$S/said"
}
refuses() { # MSG REGEX ARGS...
	local msg=$1 regex=$2
	shift 2
	nok "$msg" sh -c '"$@" 2>"$S/said"' - timeout 20 "$VECGRIDFS" "$@"
	like "$(said)" "$regex" "and says why"
	mounted && umount "$M"
}
refuses "an unknown option" 'sesame' "$D" "$M" -o open=sesame
refuses "an unknown durability" 'durability' "$D" "$M" -o durability=maybe
refuses "no mountpoint" 'DATADIR MOUNTPOINT' "$D"
refuses "a mountpoint that is not there" "$M/not" "$D" "$M/not"
: >"$S/file"
refuses "a data directory that is a file" "$S/file" "$S/file" "$M"
mkdir "$S/strange"
echo hello >"$S/strange/FORMAT"
refuses "a data directory of another program" 'FORMAT|strange' "$S/strange" "$M"
is "$(ls "$S/strange")" FORMAT "which is left alone"
ok "--version" "$VECGRIDFS" --version
ok "--help" "$VECGRIDFS" --help

ok "a mount in the background" sh -c \
	'timeout 30 "$1" "$2" "$3" </dev/null >"$2.out" 2>&1' - \
	"$VECGRIDFS" "$D" "$M"
ok "is usable when the command returns" test -f "$M/README"
mkdir "$M/c"
put "$M/c/a" 1,2
umount "$M"
like "$(stat -c %a "$D")" '^7[05][05]$' "the data directory was made"
if need mount.fuse 4 || need mount.fuse3 0; then
	ok "mount -t fuse" mount -t fuse "$VECGRIDFS#$D" "$M" -o noatime
	is "$(numbers "$M/c/a")" "1 2" "mounts the same data at once"
	like "$(grep " $M " /proc/self/mounts)" 'vecgridfs' \
		"and mount shows what it is"
	ok "umount" umount "$M"
fi
ok "-o ro and other options of libfuse" sh -c \
	'timeout 60 "$1" "$2" "$3" -o ro,noatime,max_read=131072 \
	</dev/null >"$2.out" 2>&1' - "$VECGRIDFS" "$D" "$M"
fails EROFS "ro is read-only" touch "$M/c/b"
umount "$M"
vgmount
finish
