#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is mapped of vectors cannot be read any more, since somebody cut the
# file: these records are left out, reading one is EIO, all else goes on in the
# same daemon.
. "$(dirname "$0")/lib.sh"
plan 40

DIM=256
ROWS=5000 # 4,096 make a chunk, which is what can be mapped
KEPT=3700

perl -e 'my ($n, $dim) = @ARGV;
	srand(1);
	print pack("Vf<*", $dim, map { rand() } 1 .. $dim)
		for 1 .. $n' -- $ROWS $DIM >"$S/rows"

# of N: the vector of row N.
of() {
	tail -c +$(($1 * (DIM + 1) * 4 + 5)) "$S/rows" | head -c $((DIM * 4))
}

# near N [PARAMETER]: the row that is nearest to that of row N.
near() {
	of "$1" >"$M/c/query/q"
	cat "$M/c/query/k=1/${2:+$2/}q.ids"
}

mapped() {
	grep -c '/vec\.0001' "/proc/$(daemon_pid)/maps"
}

# cut_vectors N: leaves N rows of the file.
cut_vectors() {
	truncate -s $((4096 + $1 * DIM * 4)) "$D"/c/*/vec.0001
}

said() {
	grep -c 'damaged: ' "$S/log"
}

# is_lost WHEN: nine assertions on row 3900, which was lost.
is_lost() {
	is "$(near 500 exact=1)" 500 "$1 a row in front is found by a scan"
	is "$(near 500)" 500 "$1 and by the graph"
	nok "$1 the lost row is not" [ "$(near 3900 exact=1)" = 3900 ]
	is "$(cat "$M/c/query/k=100/trailer=1/q" | grep -c x)" \
		0 "$1 nor another one"
	like "$(tail -n 1 "$M/c/query/trailer=1/q")" '"partial":true' \
		"$1 an answer is called partial"
	fails EIO "$1 it cannot be read" cat "$M/c/3900"
	fails EIO "$1 nor asked for its like" cat "$M/c/query/id=3900.ids"
	fails EIO "$1 nor exported" cat "$M/c/.export/all.fvecs"
	ok "$1 another one can be read" cmp "$M/c/500" "$S/500"
}

again() { # as it was, in a daemon of its own
	kill -9 "$HOLDER"
	wait "$HOLDER" 2>/dev/null || :
	umount -l "$M"
	HOLDER=
	rm -rf "$D"
	cp -a "$S/good" "$D"
	: >"$S/log"
	vgmount checkpoint=1M
	daemon=$(daemon_pid)
}

vgmount checkpoint=1M
daemon=$(daemon_pid)
mkdir "$M/c"
cp "$S/rows" "$M/c/.import/fvecs"
linked "$M/c"
is "$(cat "$M/c/.stats/count")" $ROWS "the rows are there"
# Under the thread sanitizer only a start maps.
if grep -q __tsan_init "$VECGRIDFS"; then
	vgumount
	vgmount checkpoint=1M
	daemon=$(daemon_pid)
fi
until [ "$(mapped)" -gt 0 ]; do
	pause 0.05
done
passed "a checkpoint mapped them"
cp -a "$D" "$S/good"
of 500 >"$S/500"
of 3900 >"$S/3900"
exec {open}<"$M/c/3901"
cut_vectors $KEPT
is_lost "written by this daemon,"
fails EIO "who has one open cannot read it" bash -c "cat <&$open"
exec {open}<&-
is "$(said)" 1 "the log has one line of it"
like "$(cat "$M/.vecgridfs/errors.ndjson")" \
	'"errno":"EIO","error":"its vector is damaged' "errors.ndjson tells it"
is "$(daemon_pid)" "$daemon" "the daemon is the same"

again
is "$(near 3900 exact=1)" 3900 "another daemon has read all of them"
cut_vectors $KEPT
is_lost "read before,"
is "$(daemon_pid)" "$daemon" "the daemon is the same"

again
cut_vectors $KEPT
is_lost "never read,"
is "$(said)" 1 "the log has one line of it"
ok "it can be written again" cp "$S/3900" "$M/c/3900"
is "$(near 3900)" 3900 "and is found again"
is "$(daemon_pid)" "$daemon" "by the same daemon"
finish
