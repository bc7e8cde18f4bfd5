#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# aarch64.sh: the kernels of NEON are as right as the others.
#
# Builds the distances, the exact scan and their unit tests for AArch64, which
# takes none of the product's libraries, and runs them under qemu-user: as a
# processor that has everything, and as one without products of bytes (dotprod).
# On AArch64 itself the unit tests alone do as much.
#
#	CC_AARCH64, QEMU_AARCH64	other programs than the usual ones
set -u
src=${VG_SRC:-$(cd "$(dirname "$0")/.." && pwd)}
cc=${CC_AARCH64:-aarch64-linux-gnu-gcc}
qemu=${QEMU_AARCH64:-qemu-aarch64}
tests='dist dist_half dist_bytes dist_rows dist_signs flat'
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

for program in "$cc" "$qemu"; do
	command -v "$program" >/dev/null || {
		echo "1..0 # SKIP there is no $program"
		exit 0
	}
done
sysroot=$($cc -print-sysroot)
[ -e "${sysroot%/}/lib/ld-linux-aarch64.so.1" ] ||
	sysroot=/usr/aarch64-linux-gnu
cd "$src" || exit 99

n=0
ok() { # STATUS SENTENCE
	n=$((n + 1))
	[ "$1" -eq 0 ] && echo "ok $n - $2" || echo "not ok $n - $2"
}

# compile FILE.c...: as index/local.mk does, every processor rounds alike.
compile() {
	(cd "$out" && for f in "$@"; do
		$cc -std=gnu11 -D_GNU_SOURCE -O2 -ffp-contract=off -Wall \
			-Wextra -Werror -I"$src" -c "$src/$f" || exit 1
	done)
}

# build: all of the tests, in $out.
build() {
	compile index/dist*.c index/flat.c index/signs.c tests/distkit.c tests/tap.c &&
		mkdir "$out/kit" && mv "$out"/*.o "$out/kit" || return 1
	for t in $tests; do
		compile "tests/unit/$t.c" && $cc "$out/$t.o" "$out"/kit/*.o \
			-lm -o "$out/$t" || return 1
	done
}

# run CPU SENTENCE TEST...: as that processor.
run() {
	cpu=$1 sentence=$2
	shift 2
	for t in "$@"; do
		"$qemu" -L "$sysroot" -cpu "$cpu" "$out/$t" \
			>"$out/log" 2>&1 </dev/null
		status=$?
		[ $status -eq 0 ] || grep -v '^ok' "$out/log" | sed 's/^/# /'
		echo "# $(grep -cE '^ok .*neondot: ' "$out/log")" \
			"sentences of neondot," \
			"$(grep -cE '^ok .*neon: ' "$out/log") of neon"
		ok $status "$sentence: $t"
	done
}

echo 1..10
build
ok $? "distances and scan build for AArch64 without a warning"
# shellcheck disable=SC2086  # a list of words
run max "with dotprod" $tests
# Dotprod is of bytes; the kernels of floats are the same without it.
run cortex-a53 "without dotprod" dist_bytes dist_rows flat
