#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A name that has no valid body yet resolves with size 0 and is no record.
. "$(dirname "$0")/lib.sh"
plan 16
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99

ok "touch makes an empty file" touch new
is "$(stat -c %s new)" 0 "that resolves with size 0"
is "$(ls -A)" "" "is not listed"
is "$(cat .stats/count)" 0 "and not counted"
is "$(cat query/1,2)" "" "nor found"
is "$(cat new)" "" "it reads empty"
ok "a body makes it a record" put new 1,2
is "$(ls)" new "that is listed"
is "$(stat -c %s new)" 8 "with its size"
before=$(stat -c %Y new)
ok "touch of a record sets its time" touch -d @1000000000 new
is "$(stat -c %Y new)" 1000000000 "and nothing else"
is "$(numbers new)" "1 2" "its vector is as it was"
touch gone
ok "an empty file can be removed" rm gone
fails ENOENT "for good" stat gone
touch empty
rm new empty
cd "$S" || exit 99
ok "a collection without records is empty" rmdir "$M/c"
finish
