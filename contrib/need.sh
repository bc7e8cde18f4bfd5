# SPDX-License-Identifier: Apache-2.0
# need.sh: read by quickstart and check: packages, with apt, if they miss.

# need PACKAGE...: what is there already is left alone; apt runs as root, or
# through sudo; where there is no apt the caller's own tools decide.
need() {
	command -v dpkg-query >/dev/null || return 0
	missing=
	for p in "$@"; do
		case $(dpkg-query -W -f='${db:Status-Status}' "$p" 2>&1) in
		installed) ;;
		*) missing="$missing $p" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	as_root=
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || {
			echo "Please install, as root:$missing" >&2
			return 1
		}
		as_root=sudo
	fi
	echo "Installing with apt:$missing"
	log=$(mktemp)
	# shellcheck disable=SC2086  # a list of words
	if ! { $as_root apt-get update -q &&
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install \
			-q -y --no-install-recommends $missing; } \
		>"$log" 2>&1 </dev/null; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# What building takes.
build_needs='autoconf automake pkg-config gcc make libc6-dev
	libfuse3-dev fuse3 liburing-dev libxxhash-dev libroaring-dev'

# quietly COMMAND...: silent when it works, its last lines when it does not.
quietly() {
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1 </dev/null; then
		grep -vE '^  (CC|CXX|AR|CCLD|CXXLD|GEN) ' "$log" | tail -n 40 >&2
		rm -f "$log"
		echo "This failed: $*" >&2
		return 1
	fi
	rm -f "$log"
}
