#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# rules.sh: the budgets, the layers and the table of behaviours notice a tree
# that breaks them.
set -u
here=${VG_SRC:-$(cd "$(dirname "$0")/.." && pwd)}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/src" "$tree/index" "$tree/fs" "$tree/tests"
VG_BUILD=${VG_BUILD:-$(pwd)}
export VG_BUILD
n=0

ok() { # STATUS SENTENCE
	n=$((n + 1))
	[ "$1" -eq 0 ] && echo "ok $n - $2" || echo "not ok $n - $2"
}

# file NAME: its text on stdin, below a proper head.
file() {
	{
		echo '/* SPDX-License-Identifier: Apache-2.0 */'
		echo "/* ${1##*/}: a file of a broken tree. */"
		cat
	} >"$tree/$1"
}

# notices SCRIPT NUMBER: that point of the script does not hold.
notices() {
	VG_SRC=$tree "$here/tests/$1.sh" 2>/dev/null | grep -q "^not ok $2 - "
	ok $? "$1 notices: $3"
}

lines() { # N TEXT
	awk -v n="$1" -v text="$2" 'BEGIN { while (n--) print text }'
}

echo 1..35
VG_SRC=$here "$here/tests/layers.sh" | grep -q '^ok 1 - '
ok $? "our own tree is read"

file src/op.c <<'EOF'
#include <liburing.h>
#include <fuse3/fuse.h>
#include <sys/socket.h>
#include <immintrin.h>
#include "config.h"
#include "op.h"
#include "fs/ops.h"
EOF
file index/hnsw.c <<'EOF'
#include <fcntl.h>
#include "src/log.h"
#include "src/op.h"
EOF
file src/log.c <<'EOF'
#include "src/wal.h"
EOF
file src/wal.h <<'EOF'
#include "src/op.h"
EOF
file fs/ops.c <<'EOF'
#include "tests/tap.h"
EOF
notices layers 1 "io_uring outside src/uring.c"
notices layers 2 "FUSE in src/"
notices layers 3 "a socket"
notices layers 4 "vector instructions outside index/dist"
notices layers 5 "config.h by hand"
notices layers 6 "a header without its folder"
notices layers 7 "index/ that knows the core"
notices layers 8 "index/ that opens files"
notices layers 9 "base that knows storage"
notices layers 10 "storage that knows the core"
notices layers 11 "the core that knows fs/"
notices layers 12 "fs/ that knows tests"
notices layers 13 "index/ that logs"

rm -f "$tree"/*/*.[ch]
file fs/plain.c </dev/null
VG_SRC=$tree "$here/tests/layers.sh" | grep -q '^not'
ok $((! $?)) "the layers of an empty tree hold"

printf "int a;\nint b;\n" >"$tree/src/bare.c"
{
	echo "int wide; /* $(lines 90 x | tr -d '\n') */"
	echo 'int a(int b, int c, int d, int e, int f, int g, int h)'
	echo '{'
	lines 90 '	f();'
	echo '}'
	lines 900 'int more;'
} | file src/long.c
{
	echo 'int a(void)'
	echo '{'
	lines 60 '	f();'
	echo '}'
	lines 60 'int more;'
} | file index/long.c
file src/bare.h <<'EOF'
int a;
int b;
int c;
int d;
struct unknown e;
EOF
notices budget 1 "a file without its SPDX line"
notices budget 2 "a file that does not say what it is"
notices budget 3 "a line of 101 columns"
notices budget 4 "a file of 901 lines"
if ctags --version 2>/dev/null | grep -q 'Universal Ctags'; then
	notices budget 6 "a function of 91 lines"
	notices budget 7 "functions that are long as a rule"
	notices budget 8 "a seventh parameter"
else
	for what in lines median parameters; do
		n=$((n + 1))
		echo "ok $n # SKIP $what: universal-ctags is not installed"
	done
fi
notices budget 9 "a header without prose"
notices budget 10 "src/ without assertions"
notices budget 11 "index/ without assertions"
notices budget 12 "a product without tests"
notices budget 13 "a header that needs another"
rm "$tree/src/bare.c" "$tree/index/long.c"
rm "$tree/fs/plain.c"
notices budget 5 "files that are long as a rule"

mkdir "$tree/tests/unit"
file tests/unit/disk.c <<'EOF'
/* a comment is no assertion */
ok(a, "what is written is read");
ok(b, "once");
ok(c, "once");
EOF
cp "$tree/tests/unit/disk.c" "$tree/tests/unit/other.c"
cat >"$tree/tests/local.mk" <<'EOF'
some = %D%/unit/none \
	%D%/unit/disk
TESTS += $(some)
EOF
printf '%s\t%s\t%s\n' >"$tree/tests/behaviours.tsv" \
	right unit/disk 'is written is' \
	renamed unit/disk 'is written is kept' \
	remark unit/disk 'a comment is no assertion' \
	double unit/disk once \
	unknown unit/other 'is written is' \
	half unit/disk '' \
	right unit/disk 'is written is'
VG_SRC=$tree "$here/tests/behaviours.sh" | grep -q '^ok 1 - right'
ok $? "a behaviour is shown by words of an assertion"
notices behaviours 2 "a sentence that was renamed"
notices behaviours 3 "a sentence that is a comment only"
notices behaviours 4 "a sentence that stands twice"
notices behaviours 5 "a test that nobody runs"
notices behaviours 6 "a line without a sentence"
notices behaviours 8 "a behaviour that is listed twice"
