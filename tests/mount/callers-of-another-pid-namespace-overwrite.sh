#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A daemon in a container's pid namespace, callers outside of it: to the daemon
# they have no process ids. They overwrite records, also at once.
. "$(dirname "$0")/lib.sh"
if ! unshare --pid --fork --kill-child true 2>/dev/null; then
	skip_all "no pid namespaces here"
fi
plan 5
cat >"$S/contained" <<EOT
#!/bin/sh
exec unshare --pid --fork --kill-child "$VECGRIDFS" "\$@"
EOT
chmod +x "$S/contained"
VECGRIDFS=$S/contained
vgmount
mkdir "$M/c"

overwrite() { # NAME: 50 times, each in place and at last 50
	local i
	for i in $(seq 50); do
		echo "$i,1,2" >"$M/c/$1" || return
	done
}
ok "a record is overwritten" overwrite a
ok "several are at once" sh -c 'for name in a b c d; do
	for i in $(seq 50); do
		echo "$i,1,2" >"$0/c/$name" || exit
	done &
	writers="$writers $!"
done
for writer in $writers; do
	wait "$writer" || exit
done' "$M"
is "$(for name in a b c d; do numbers "$M/c/$name"; done)" \
	"$(for name in a b c d; do echo 50 1 2; done)" "with what was written last"
is "$(cat "$M/c/query/k=4/50,1,2.ids" | sort | tr '\n' ' ')" "a b c d " \
	"and found"
finish
