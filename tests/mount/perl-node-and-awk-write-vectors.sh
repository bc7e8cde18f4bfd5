#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Other languages: perl, node, awk read and write vectors and see refusals.
. "$(dirname "$0")/lib.sh"
plan 17
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
put first 1,2,3

ok "perl packs a vector" perl -e 'open(my $f, ">", "p") or die;
print $f pack("f<3", 4, 5, 6); close $f or die "$!"'
is "$(numbers p)" "4 5 6" "the vector"
is "$(perl -e 'open(my $f, "<", "p"); local $/; print -s "p", ": ",
	join ",", unpack("f<*", <$f>)')" "12: 4,5,6" "perl reads it"
fails EINVAL "perl sees a refusal" perl -e 'open(my $f, ">", "q") or die;
print $f "xyz"; close $f or die "$!"'
for awk in awk mawk gawk; do
	need $awk 3 || continue
	ok "$awk prints a vector" $awk \
		'BEGIN { for (i = 1; i < 4; i++) print i / 4 > "w" }'
	is "$(numbers w)" "0.25 0.5 0.75" "the vector"
	is "$($awk -F, '{ print $3 }' .as/txt/w)" 0.75 "$awk reads it"
done
if need node 3; then
	ok "node writes a Float32Array" node -e 'require("fs").writeFileSync(
"n", Buffer.from(new Float32Array([7, 8, 9]).buffer))'
	is "$(node -e 'const b = require("fs").readFileSync("n");
console.log(new Float32Array(b.buffer, b.byteOffset, 3).join())')" 7,8,9 \
		"node reads it"
	fails EINVAL "node sees a refusal" node -e \
		'require("fs").writeFileSync("n2", "1,2")'
fi
cd "$S" || exit 99
finish
