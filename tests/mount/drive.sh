# SPDX-License-Identifier: Apache-2.0
# drive.sh: a helper that has the tree mounted anew while it runs.
#
#	. "$HERE/drive.sh"
#	drive 12 "$PYTHON3" "$HERE/helper.py" "$M"
#
# The helper prints "yes: SENTENCE" or "no: SENTENCE", as for report, and
# "remount" or "kill" (the daemon dies first), upon which it reads a line from
# stdin: the tree is there again. MODES: the durability of each next mount.
MODES=(close)

drive() { # N CMD...: makes N assertions, and one that the helper ended well
	local n=$1 i=0 mounts=0 answers line driver
	shift
	mkfifo "$S/asks" "$S/answers"
	"$@" <"$S/answers" >"$S/asks" 2>"$S/driver.err" &
	driver=$!
	exec {answers}>"$S/answers"
	while IFS= read -r line; do
		case $line in
		remount|kill)
			if [ "$line" = kill ]; then
				kill -9 "$HOLDER"
				wait "$HOLDER" 2>/dev/null
				umount -l "$M" 2>/dev/null
				HOLDER=
			else
				vgumount || diag "umount: $?"
			fi
			vgmount "durability=${MODES[mounts % ${#MODES[@]}]}"
			mounts=$((mounts + 1))
			echo mounted >&"$answers"
			;;
		yes:\ *|no:\ *)
			i=$((i + 1))
			if [ "${line%%:*}" = yes ]; then
				passed "${line#*: }"
			else
				missed "${line#*: }"
			fi
			;;
		*)	diag "$line" ;;
		esac
	done <"$S/asks"
	wait "$driver"
	is "$? $i $(tail -n 20 "$S/driver.err")" "0 $n " "it ends well"
	exec {answers}>&-
	rm "$S/asks" "$S/answers"
}
