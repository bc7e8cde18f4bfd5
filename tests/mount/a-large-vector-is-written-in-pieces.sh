#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 65,535 dimensions: bodies of many writes, as bytes and as text.
. "$(dirname "$0")/lib.sh"
plan 13
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
perl -e 'print pack("f<*", map { sin($_) } 1..65535)' >"$S/v"
perl -e 'print join(",", map { sprintf("%.9g", unpack("f<", pack("f<",
	sin($_)))) } 1..65535), "\n"' >"$S/text"

ok "raw" cp "$S/v" raw
ok "reads back bit for bit" cmp "$S/v" raw
is "$(stat -c %s raw)" 262140 "with its size"
ok "dd of 4 KiB blocks" dd if="$S/v" of=dd bs=4096 status=none
ok "writes the same" cmp "$S/v" dd
ok "text of most of a megabyte" cp "$S/text" text
ok "is the same vector" cmp "$S/v" text
ok ".as/txt reads back what goes in again" cp .as/txt/raw .as/txt/again
ok "as the same vector" cmp "$S/v" again
is "$(cat query/k=3/id=raw.ids | sort | xargs)" "again dd text" \
	"it is searched"
perl -e 'print "1," x 65535, "1\n"' >"$S/more"
fails EINVAL "one number more is refused" cp "$S/more" more
mkdir "$M/d"
fails EINVAL "also as the first vector" cp "$S/more" "$M/d/more"
cd "$S" || exit 99
finish
