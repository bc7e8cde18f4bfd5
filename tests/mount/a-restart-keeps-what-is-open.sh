#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is open when the daemon is killed goes on as if nothing had been.
. "$(dirname "$0")/lib.sh"
plan 28

# crash: kills the daemon; the next call meets another one.
crash() {
	local pid
	pid=$(daemon_pid)
	kill -9 "$pid" && timeout 60 tail --pid="$pid" -f /dev/null
}

vgmount
mkdir "$M/c"
for i in 1 2 3 4 5; do
	put "$M/c/r$i" "$i,2,3"
done
put "$M/c/query/q1" 1,2,3
ln -s c "$M/link"
ls "$M/c/query/k=2" >/dev/null
cd "$M/c/query/k=2" || exit 99

exec {record}<"$M/c/r1" {meta}<"$M/c/.meta/r1" {json}<"$M/c/.as/json/r1"
exec {answer}<"id=r1.ids" {all}<"../all.ids" {count}<"$M/c/.stats/count"
before=$(cat id=r1.ids)
exec {export}<"$M/c/.export/all.ndjson"
exec {new}>"$M/c/new"
printf 7, >&"$new"
exec {staged}>"$M/c/.staged"
printf 8,8,8 >&"$staged"
exec {over}>"$M/c/r5"
exec {import}>"$M/c/.import/ndjson"
printf '{"id":"i1","vector":[9,9,9]}\n{"id":"i2","vec' >&"$import"
exec {dim}>"$M/c/.config/ef_search"
setfattr -n user.n -v 1 "$M/c/new"
crash
rm "$M/c/r4"
put "$M/c/r1" 9,9,9

is "$(od -An -tf4 <&"$record" | xargs)" "1 2 3" "a record reads as it was opened"
is "$(cat <&"$meta")" "{}" "so does its metadata"
like "$(cat <&"$json")" '"vector":\[1,2,3\]' "and another form of it"
is "$(cat <&"$answer")" "$before" "an answer reads as it was opened"
is "$(stat -L -c %s "/proc/self/fd/$answer")" "$(printf '%s\n' "$before" | wc -c)" \
	"and tells its size"
is "$(cat <&"$all" | xargs)" "r1 r2 r3 r4 r5" "all is what it was"
is "$(cat <&"$count")" 5 "a number is what it was"
is "$(wc -l <&"$export")" 5 "an export is of its moment"
ok "a working directory below query/ stays one" cat id=r2.ids
ok "a named request is there" cat q1.ids
is "$(readlink "$M/link")" c "so is a link"
is "$(getfattr --only-values -n user.n "$M/c/new")" 1 "and staged metadata"

printf 7,7 >&"$new"
exec {new}>&-
is "$(od -An -tf4 "$M/c/new" | xargs)" "7 7 7" "a file that was begun is finished"
is "$(getfattr --only-values -n user.n "$M/c/new")" 1 "with its metadata"
exec {staged}>&-
crash
ok "a staging name outlives a crash, closed" mv "$M/c/.staged" "$M/c/moved"
is "$(od -An -tf4 "$M/c/moved" | xargs)" "8 8 8" "with its bytes"
printf 'tor":[8,8,8]}\n' >&"$import"
exec {import}>&-
is "$(od -An -tf4 "$M/c/i1" | xargs)" "9 9 9" "an import goes on: what was given"
is "$(od -An -tf4 "$M/c/i2" | xargs)" "8 8 8" "what was given in part"
printf 50 >&"$dim"
exec {dim}>&-
is "$(cat "$M/c/.config/ef_search")" 50 "a setting is written after a crash"
printf 5,5,6 >&"$over"
exec {over}>&-
is "$(od -An -tf4 "$M/c/r5" | xargs)" "5 5 6" "a record is written in place"
cd "$S" || exit 99
exec {record}<&- {meta}<&- {json}<&- {answer}<&- {all}<&- {count}<&- {export}<&-

ok "a listing goes on" "$PYTHON3" -c '
import os, signal, sys
with os.scandir(sys.argv[1]) as it:
    first = next(it).name
    os.kill(int(sys.argv[2]), signal.SIGKILL)
    names = [first] + [e.name for e in it]
want = ["r1", "r2", "r3", "r5", "new", "moved", "i1", "i2"]
sys.exit(sorted(names) != sorted(want) and f"{names}")
' "$M/c" "$(daemon_pid)"
fails EINVAL "a bad row is told at the close, after a crash" "$PYTHON3" -c '
import os, signal, sys
f = os.open(sys.argv[1], os.O_WRONLY)
os.write(f, b"{}\n")
os.kill(int(sys.argv[2]), signal.SIGKILL)
os.close(f)
' "$M/c/.import/ndjson" "$(daemon_pid)"
like "$(cat "$M/.vecgridfs/health")" "4 times" "that were four crashes"
is "$(ls "$M/c" | sort | xargs)" "i1 i2 moved new r1 r2 r3 r5" "all is there"
is "$(cat "$M/c/.stats/count")" 8 "counted once"
vgumount
is $? 0 "the daemon ends with 0"
vgmount
is "$(ls "$M/c" | sort | xargs)" "i1 i2 moved new r1 r2 r3 r5" \
	"and after a mount"
finish
