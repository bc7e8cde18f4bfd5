#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# layers.sh: who may include what; the linker proves the rest.
#
# main > fs > core > index, storage > base. A layer names itself by the files
# listed here; every other file of src/ is core.
set -u
cd "${VG_SRC:-$(dirname "$0")/..}" || exit 99
base='vg|log|wire|clock|memory'
storage='io|uring|wal|wal_[a-z]+|column|colfile|colfile_[a-z]+|blob|lost'
core='[a-z0-9_]+'

# ok NUMBER SENTENCE: holds if nothing comes in; what comes in offends.
ok() {
	found=$(cat)
	if [ -z "$found" ]; then
		echo "ok $1 - $2"
	else
		echo "not ok $1 - $2"
		echo "$found" | sed 's/^/# /'
	fi
}

# Every include of the product as FILE:LINE:HEADER, "dir/x.h" or <x.h>.
includes() {
	grep -rnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include' \
		src index fs |
		sed -E 's/^([^:]*:[0-9]+:).*include[[:space:]]*/\1/; s/[[:space:]]*(\/\*.*)?$//'
}

# only FILES HEADERS: includes of HEADERS from elsewhere than FILES.
only() {
	includes | grep -E ":[<\"]($2)[>\"]$" | grep -vE "^($1)[:.]"
}

# within FILES OURS: our own headers that FILES include beside OURS.
within() {
	includes | grep -E "^($1)\.[ch]:" | grep -E ':"' |
		grep -vE ":\"($2)\.h\"$"
}

echo 1..13
only 'src/uring' 'liburing\.h|linux/io_uring\.h' |
	ok 1 "io_uring is used in src/uring.c alone"
only 'fs/[a-z_]+' 'fuse.*|linux/fuse\.h' | ok 2 "FUSE is spoken in fs/ alone"
only 'nowhere' 'sys/socket\.h|sys/un\.h|netinet/.*|arpa/.*|netdb\.h' |
	ok 3 "nothing opens a socket"
only 'index/dist[a-z0-9_]*' '[a-z0-9]*intrin\.h|arm_[a-z]+\.h' |
	ok 4 "vector instructions stand in index/dist* alone"
only 'nowhere' '(\.\./)*config\.h' |
	ok 5 "config.h comes from the build, never by hand"
only 'nowhere' '[a-z0-9_]+\.h' | grep '"' |
	ok 6 "our headers are named with their folder"
within 'index/[a-z0-9_]+' 'src/vg|index/[a-z0-9_]+' |
	ok 7 "index/ knows the vocabulary and itself"
only '(src|fs)/[a-z0-9_]+' \
	'fcntl\.h|dirent\.h|sys/(stat|uio)\.h|jansson\.h' |
	ok 8 "index/ does no input and no output"
within "src/($base)" "src/($base)" | ok 9 "base knows base alone"
within "src/($storage)" "src/($base|$storage)|index/rows" |
	ok 10 "storage knows base, itself and the shape of rows"
includes | grep -E '^(src|index)/' | grep -vE '^src/main\.c:' |
	grep -E ':"(fs|tests|contrib)/' | ok 11 "only main.c knows fs/"
within 'fs/[a-z0-9_]+' "src/$core|index/[a-z0-9_]+|fs/[a-z0-9_]+" |
	ok 12 "fs/ stands on the store and what is below it"
{
	includes | grep -E '^(src/(op|wire)|index/[a-z0-9_]+)\.' |
		grep -E ':"src/log\.h"'
} | ok 13 "index/, op and wire are mute"
