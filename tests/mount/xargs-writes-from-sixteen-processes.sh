#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# xargs -P16: parallel writers of different and of the same names.
. "$(dirname "$0")/lib.sh"
plan 9
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
ok "sixteen at a time write 800 vectors" bash -c 'seq 800 |
	xargs -P16 -n 10 sh -c "for i; do echo \$i,1,2 >w\$i || exit 255; done" -'
is "$(cat .stats/count)" 800 "all are there"
is "$(numbers w777)" "777 1 2" "each with its own numbers"
ok "sixteen at a time write one name" bash -c 'seq 200 |
	xargs -P16 -I{} sh -c "echo {},{},{} >same"'
is "$(numbers same | tr ' ' '\n' | sort -u | wc -l)" 1 "one of them stays whole"
is "$(cat .stats/count)" 801 "and counts once"
ok "sixteen at a time set and remove" bash -c 'seq 800 |
	xargs -P16 -I{} sh -c "setfattr -n user.n -v {} w{} &&
	case {} in *5) rm w{};; *7) mv w{} m{};; esac"'
is "$(ls | grep -c 5$):$(ls | grep -c ^m):$(cat .stats/count)" 0:80:721 \
	"nothing is lost or left over"
cd "$S" || exit 99
finish
