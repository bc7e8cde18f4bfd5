#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dist-aarch64.sh: the kernels of NEON are as right as the others.
#
# Builds the distances, the exact scan and their unit tests for AArch64, which
# takes none of the product's libraries, and runs them under qemu-user: as a
# processor that has everything, and as one without products of bytes (dotprod).
# On AArch64 itself the unit tests alone do as much.
#
#	CC_AARCH64, QEMU_AARCH64	other programs than the usual ones
set -u
src=${VG_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
cc=${CC_AARCH64:-aarch64-linux-gnu-gcc}
qemu=${QEMU_AARCH64:-qemu-aarch64}
tests='dist dist_half dist_bytes dist_rows flat'
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

# build NAME FLAG...: all of the tests, in $out/NAME.
build() {
	name=$1
	shift
	mkdir "$out/$name"
	for t in $tests; do
		# As index/local.mk does: every processor rounds alike.
		$cc -std=gnu11 -D_GNU_SOURCE -ffp-contract=off -I. -pthread \
			-Wall -Wextra -Werror "$@" index/dist*.c index/flat.c \
			tests/distkit.c tests/tap.c "tests/unit/$t.c" -lm \
			-o "$out/$name/$t" || return 1
	done
}

# run NAME CPU SENTENCE: all that is in $out/NAME, as that processor.
run() {
	for t in $tests; do
		"$qemu" -L "$sysroot" -cpu "$2" "$out/$1/$t" \
			>"$out/log" 2>&1 </dev/null
		status=$?
		grep -vE '^(ok [0-9]+|1\.\.)' "$out/log" | sed 's/^/# /'
		grep -E '^ok .* (neon|neondot)' "$out/log" | sed 's/^/# /'
		ok $status "$3: $t"
	done
}

echo 1..11
build fast -O2
ok $? "distances and scan build for AArch64 without a warning"
run fast max "with dotprod"
run fast cortex-a53 "without dotprod"
