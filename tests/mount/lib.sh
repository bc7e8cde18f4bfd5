# SPDX-License-Identifier: Apache-2.0
# lib.sh: a mount in a scratch directory, and assertions in TAP.
#
# A test is a script named as the sentence that it proves. It does
#
#	. "$(dirname "$0")/lib.sh"
#	plan 3
#	vgmount
#	mkdir "$M/c"
#	ok "a vector is written" put "$M/c/a" 1,2,3
#	is "$(ls "$M/c")" a "it is listed"
#	fails EINVAL "a wrong dimension is refused" cp four "$M/c/b"
#	finish
#
# and speaks to nothing but the tree under $M. In reach of it:
#
#	$S	the scratch directory, where the script starts (cd)
#	$M	the mountpoint, $S/mnt		$D	the data directory
#	$PYTHON3 a Python, with numpy where there is one
#	$HERE	the folder of this file, for the .py helpers
#	$HOLDER	the process that was started; it ends the daemon with it
#
# By hand: VG_BUILD=/path/to/build bash tests/mount/NAME.sh. The environment:
# VG_BUILD (where ./vecgridfs is), PYTHON3, VG_MOUNT_OPTS (more -o options for
# each mount), VG_TEST_TIMEOUT (seconds until a hung test is ended), VG_SOAK
# (1: the full counts), VG_KEEP (1: the scratch stays).

set -u
export LC_ALL=C
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VG_SRC=${VG_SRC:-$(cd "$HERE/../.." && pwd)}
VG_BUILD=${VG_BUILD:-$VG_SRC}
VG_SOAK=${VG_SOAK:-0}
VECGRIDFS=$VG_BUILD/vecgridfs
if [ -z "${PYTHON3:-}" ]; then
	PYTHON3=python3
	for p in /usr/bin/python3 python3; do
		"$p" -c 'import numpy' 2>/dev/null && PYTHON3=$p && break
	done
fi
export HERE VG_SRC VG_BUILD VG_SOAK PYTHON3 PYTHONDONTWRITEBYTECODE=1

planned=0
ran=0
failed=0
HOLDER=
WATCHDOG=

# ---- assertions

plan() { # N: how many assertions follow; within VG_TEST_TIMEOUT from now on
	planned=$1
	echo "1..$1"
	start_watchdog
}

skip_all() { # WHY
	echo "1..0 # SKIP $1"
	exit 0
}

diag() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

passed() { # MSG
	ran=$((ran + 1))
	echo "ok $ran - $1"
}

missed() { # MSG
	ran=$((ran + 1))
	failed=$((failed + 1))
	echo "not ok $ran - $1"
	diag "at $(caller 1)"
}

ok() { # MSG CMD...: holds if CMD succeeds
	local msg=$1 out rc
	shift
	out=$("$@" 2>&1 </dev/null)
	rc=$?
	if [ $rc = 0 ]; then
		passed "$msg"
	else
		missed "$msg"
		diag "'$*' ended with $rc: $(head -c 600 <<<"$out")"
	fi
	return $rc
}

nok() { # MSG CMD...: holds if CMD fails, whatever it says
	local msg=$1 out
	shift
	if out=$("$@" 2>&1 </dev/null); then
		missed "$msg"
		diag "'$*' succeeded: $(head -c 600 <<<"$out")"
		return 1
	fi
	passed "$msg"
}

is() { # GOT WANTED MSG
	if [ "$1" = "$2" ]; then
		passed "$3"
	else
		missed "$3"
		diag "got:    $(head -c 600 <<<"$1")"
		diag "wanted: $(head -c 600 <<<"$2")"
		return 1
	fi
}

like() { # GOT REGEX MSG: holds if the extended regex is found in GOT
	if [[ $1 =~ $2 ]]; then
		passed "$3"
	else
		missed "$3"
		diag "got:    $(head -c 600 <<<"$1")"
		diag "wanted: /$2/"
		return 1
	fi
}

# The words programs print for an errno; setfattr has its own for one of them.
declare -A ERRNO_WORDS=(
	[EPERM]='Operation not permitted' [ENOENT]='No such file or directory'
	[EIO]='Input/output error' [EACCES]='Permission denied'
	[EBUSY]='Device or resource busy' [EEXIST]='File exists'
	[EXDEV]='cross-device' [ENOTDIR]='Not a directory'
	[EISDIR]='Is a directory' [EINVAL]='Invalid argument'
	[ENOSPC]='No space left on device' [EROFS]='Read-only file system'
	[ENAMETOOLONG]='File name too long' [ENOTEMPTY]='Directory not empty'
	[ENODATA]='No data available|No such attribute'
	[EOPNOTSUPP]='Operation not supported' [ETIMEDOUT]='timed out'
	[ECANCELED]='Operation canceled' [ENOTTY]='Inappropriate ioctl' [ESTALE]='Stale file handle'
)

fails() { # ERRNO[|ERRNO] MSG CMD...: holds if CMD fails and says this errno
	local errno=$1 msg=$2 out rc words= e
	shift 2
	for e in ${errno//|/ }; do
		words="$words${words:+|}${ERRNO_WORDS[$e]}|$e"
	done
	out=$("$@" 2>&1 >/dev/null </dev/null)
	rc=$?
	if [ $rc = 0 ]; then
		missed "$msg"
		diag "'$*' succeeded, wanted $errno"
		return 1
	fi
	if ! grep -qE "$words" <<<"$out"; then
		missed "$msg"
		diag "'$*' ended with $rc, wanted $errno: $(head -c 600 <<<"$out")"
		return 1
	fi
	passed "$msg"
}

# report N CMD...: a helper that prints "yes: SENTENCE" or "no: SENTENCE" makes
# N assertions; whatever else it prints, or fails to, is told.
report() {
	local n=$1 i=0 line
	shift
	"$@" >"$S/report" 2>&1
	while [ $i -lt "$n" ] && IFS= read -r line; do
		case $line in
		yes:\ *) passed "${line#*: }" ;;
		no:\ *)	missed "${line#*: }" ;;
		*)	diag "$line"
			continue ;;
		esac
		i=$((i + 1))
	done <"$S/report"
	while [ $i -lt "$n" ]; do
		missed "$* says more"
		i=$((i + 1))
	done
}

skip() { # N WHY: N assertions are not made
	local i
	for ((i = 0; i < $1; i++)); do
		ran=$((ran + 1))
		echo "ok $ran # SKIP $2"
	done
}

# rounds WANTED CMD...: a driver that prints "round N: WHAT" makes an assertion of
# each, and one that it ended well; "end: WHAT" is another.
rounds() {
	local wanted=$1 line driver
	shift
	: >"$S/rounds"
	"$@" >"$S/rounds" 2>&1 &
	driver=$!
	while IFS= read -r line; do
		case $line in
		"round "*": "*)
			is "${line#*: }" "$wanted" "${line%%: *}"
			;;
		"end: "*)
			is "${line#*: }" "all is there" \
				"what was acknowledged is there"
			;;
		*)	diag "${line#\# }" ;;
		esac
	done < <(tail -n +1 --pid=$driver -f "$S/rounds")
	wait $driver
	is $? 0 "the driver saw all rounds"
}

# need PROGRAM N: true if PROGRAM is there, else N assertions are skipped.
need() {
	command -v "$1" >/dev/null && return 0
	skip "$2" "$1 is not installed"
	return 1
}

# need_numpy N: likewise.
need_numpy() {
	"$PYTHON3" -c 'import numpy' 2>/dev/null && return 0
	skip "$1" "no Python with numpy"
	return 1
}

# need_nobody N: likewise for a second user, which root alone can become.
need_nobody() {
	[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && return 0
	skip "$1" "becoming another user needs root and setpriv"
	return 1
}

# Runs a command as a user who owns nothing.
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
}

# vector N...: little-endian float32 on stdout.
vector() {
	perl -e 'print pack("f<*", @ARGV)' -- "$@"
}

# put FILE TEXT: writes a line, as a person would; raw FILE N...: float32.
put() {
	printf '%s\n' "$2" >"$1"
}

raw() {
	local file=$1
	shift
	vector "$@" >"$file"
}

# numbers FILE: its float32 as text, one line, as short as they read back.
numbers() {
	perl -e 'local $/; print join(" ", map { 0 + sprintf("%.6g", $_) }
		unpack("f<*", <STDIN>)), "\n"' <"$1"
}

# ids: the ids of an ndjson answer on stdin, in one line.
ids() {
	perl -ne 'push @a, $1 if /"id":"([^"]*)"/; END { print "@a\n" }'
}

# pause SECONDS: for loops that wait for a state, bounded by the watchdog.
pause() {
	read -rt "$1" -u "$NEVER" || :
}

# ---- the mount

# mounted: whether $M is a mountpoint, asked without touching the tree.
mounted() {
	grep -qF " $M " /proc/self/mounts
}

# vgmount [OPTIONS]: mounts $D at $M; the daemon's messages go to $S/log.
vgmount() {
	local opts=${1:-}
	[ -n "${VG_MOUNT_OPTS:-}" ] && opts=${opts:+$opts,}$VG_MOUNT_OPTS
	"$VECGRIDFS" "$D" "$M" ${opts:+-o "$opts"} -f \
		>>"$S/log" 2>&1 </dev/null &
	HOLDER=$!
	echo "$HOLDER" >"$S/holder"
	until mounted; do
		if ! kill -0 "$HOLDER" 2>/dev/null; then
			echo "Bail out! vecgridfs ended before it mounted"
			exit 99
		fi
		pause 0.02
	done
	stat "$M/." >/dev/null 2>&1
}

# vgumount: unmounts, waits for the end; returns the daemon's exit status.
vgumount() {
	local rc
	umount "$M" || return 97
	timeout 60 tail --pid="$HOLDER" -f /dev/null || return 98
	wait "$HOLDER"
	rc=$?
	HOLDER=
	return $rc
}

# linked DIR: waits until the indexers have nothing left to do there.
linked() {
	local n
	while n=$(cat "$1/.stats/indexing") && [ "$n" != 0 ]; do
		pause 0.05
	done
	[ "$n" = 0 ]
}

# settled DIR: waits until all rows are linked and nothing is made anew; what is
# made anew first, as the rows of it are linked behind that.
settled() {
	for _ in $(seq 600); do
		grep -q '^anew: no$' "$1/.stats/index" &&
			[ "$(cat "$1/.stats/indexing")" = 0 ] && return 0
		pause 0.1
	done
	diag "$(cat "$1/.stats/index")"
	return 1
}

# The daemon proper: the holder's child, or what was started, if it has none.
daemon_pid() {
	local child
	child=$(cat "/proc/$HOLDER/task/$HOLDER/children" 2>/dev/null)
	child=${child%% *}
	echo "${child:-$HOLDER}"
}

# finish: the last assertion of each script; counts as one in its plan.
finish() {
	local rc
	cd /
	vgumount
	rc=$?
	if [ $rc = 0 ]; then
		passed "the unmounted daemon ends with 0"
	else
		missed "the unmounted daemon ends with 0"
		diag "status $rc (97: umount failed, 98: it did not end)"
	fi
	exit $((failed > 0))
}

# Whatever happened: nothing stays mounted, running or on the disk.
clean_up() {
	local rc=$?
	trap - EXIT
	cd /
	if [ $((failed > 0 || ran != planned)) = 1 ] && [ -s "$S/log" ]; then
		echo "# the daemon's last words:"
		tail -n 40 "$S/log" | sed 's/^/#   /'
	fi
	[ -n "$WATCHDOG" ] && kill -- "-$WATCHDOG" 2>/dev/null
	umount -l "$M" 2>/dev/null
	[ -n "$HOLDER" ] && kill -9 "$HOLDER" 2>/dev/null
	for p in $(jobs -p); do
		kill -9 "$p" 2>/dev/null
	done
	wait 2>/dev/null
	if [ "${VG_KEEP:-0}" = 1 ]; then
		echo "# kept: $S"
	elif ! mounted; then
		rm -rf --one-file-system -- "$S"
	fi
	[ $rc = 0 ] && [ $failed -gt 0 ] && rc=1
	exit $rc
}

# A call into a dead mount can wait for ever, deaf to signals: after a while
# the connection is cut and every call into it ends with an error.
start_watchdog() {
	set -m
	(
		trap - EXIT
		pause "${VG_TEST_TIMEOUT:-300}"
		echo "the test took too long and was ended" >>"$S/log"
		kill -9 "$(cat "$S/holder")"
		umount -fl "$M"
		kill -TERM $$
	) >/dev/null 2>&1 </dev/null &
	WATCHDOG=$!
	set +m
}

[ -e /dev/fuse ] || skip_all "no /dev/fuse here"
[ -x "$VECGRIDFS" ] || {
	echo "Bail out! no program $VECGRIDFS: set VG_BUILD"
	exit 99
}
S=$(mktemp -d "${TMPDIR:-/tmp}/vg.XXXXXX") || exit 99
S=$(cd "$S" && pwd -P)
chmod 755 "$S"
M=$S/mnt
D=$S/data
export S M D
mkdir "$M"
: >"$S/log"
mkfifo "$S/never"
exec {NEVER}<>"$S/never"
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
cd "$S" || exit 99
