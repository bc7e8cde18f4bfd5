#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `ulimit -n 64` is enough for 100 collections, checkpoints, imports, 30 open
# files and a remount. Where there is no descriptor at all that is told in a
# sentence, nothing is lost, and all works again when there are some.
. "$(dirname "$0")/lib.sh"
command -v prlimit >/dev/null || skip_all "prlimit is not installed"
plan 25

cat >"$S/limited" <<EOT
#!/bin/sh
ulimit -n "\${VG_FDS:-64}"
exec "$VECGRIDFS" "\$@"
EOT
chmod +x "$S/limited"
VECGRIDFS=$S/limited

# fill FROM TO: a record in each of as many collections.
fill() {
	local i
	for ((i = $1; i < $2; i++)); do
		mkdir "$M/c$i" && echo "$i,1,2" >"$M/c$i/a" || return 1
	done
}

# wrong FROM TO: collections that do not have what they were given.
wrong() {
	local i
	for ((i = $1; i < $2; i++)); do
		[ "$(cat "$M/c$i/query/max_dist=0/$i,1,2.ids" 2>&1)" = a ] ||
			echo "c$i"
	done
}

checkpoints() {
	grep -c 'info: checkpoint' "$S/log"
}

# allow N: descriptors that the daemon may have now.
allow() {
	prlimit --pid "$(daemon_pid)" --nofile="$1:64"
}

vgmount checkpoint=64K
is "$(awk '/open files/ { print $4 }' "/proc/$(daemon_pid)/limits")" 64 \
	"the daemon may have 64 descriptors"
ok "a hundred collections are made" fill 0 100
is "$(wrong 0 100)" "" "each has what it was given"
perl -e 'print join("", map { "{\"id\":\"r$_\",\"vector\":[$_,0.5,0.25]}\n" }
	1 .. 5000)' >"$S/rows"
ok "an import goes in" cp "$S/rows" "$M/c7/.import/ndjson"
is "$(cat "$M/c7/.stats/count")" 5001 "with all its rows"
until [ "$(checkpoints)" -gt 0 ]; do
	pause 0.05
done
passed "a checkpoint has all of them"
opened=()
for ((i = 0; i < 30; i++)); do
	exec {fd}<"$M/c$i/a" && opened+=("$fd")
done
is ${#opened[@]} 30 "thirty files are open at once"
is "$(wrong 0 100)" "" "while all are searched"
ok "and another import goes in" cp "$S/rows" "$M/c8/.import/ndjson"
is "$(bash -c "cat <&${opened[9]}" | od -An -tf4 | xargs)" "9 1 2" \
	"one of the thirty reads"
for fd in "${opened[@]}"; do
	exec {fd}<&-
done
vgumount
is $? 0 "it is unmounted"
vgmount checkpoint=64K
is "$(wrong 0 100)" "" "and mounted again with all it had"
is "$(cat "$M/c8/.stats/count")" 5001 "the imports, too"

# None is left: what is open stays, and is enough for the log.
: >"$S/log"
allow 1
ok "without a descriptor left collections are made" fill 100 130
is "$(wrong 100 130)" "" "and searched"
ok "and imports go in" cp "$S/rows" "$M/c110/.import/ndjson"
until grep -q 'no checkpoint: Too many open files' "$S/log"; do
	pause 0.05
done
passed "that there is no checkpoint is told"
is "$(checkpoints)" 0 "there is none"
is "$(cat "$M/.vecgridfs/health")" ok "the store is well"
allow 64
ok "with descriptors again an import goes in" \
	cp "$S/rows" "$M/c111/.import/ndjson"
until [ "$(checkpoints)" -gt 0 ]; do
	pause 0.05
done
passed "and there are checkpoints"
kill -9 "$HOLDER"
wait "$HOLDER" 2>/dev/null
umount -l "$M"
HOLDER=
vgmount checkpoint=64K
is "$(wrong 0 130)" "" "nothing is lost"
vgumount
is $? 0 "it is unmounted"
like "$(VG_FDS=12 timeout 60 "$VECGRIDFS" "$D" "$M" -f 2>&1)" \
	"Too many open files" "with twelve it is not mounted, and says why"
vgmount
finish
