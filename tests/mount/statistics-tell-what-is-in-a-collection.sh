#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# .stats/* are numbers one can watch.
. "$(dirname "$0")/lib.sh"
plan 23
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99
for f in count deleted bytes dead_ratio indexing last_error searches recall; do
	ok "there is $f" test -f .stats/$f
done
is "$(cat .stats/count)" 0 "an empty collection counts 0"
is "$(cat .stats/last_error)" "" "and has no error"
like "$(cat .stats/recall)" 'recall: unknown.*no vector' "nor a recall"
for i in 1 2 3 4; do
	put "v$i" "$i,1"
done
is "$(cat .stats/count)" 4 "four vectors count 4"
like "$(cat .stats/recall)" 'recall: 1.*exact' "answers of four are exact"
is "$(cat query/count)" 4 "and so says the query"
like "$(cat .stats/bytes)" '^[1-9][0-9]*$' "bytes is a number"
rm v1 v2
is "$(cat .stats/count)" 2 "two are gone"
like "$(cat .stats/deleted)" '^[0-9]+$' "deleted is a number"
like "$(cat .stats/dead_ratio)" '^[01](\.[0-9]+)?$' "dead_ratio is a share"
ok "indexing ends" linked .
like "$(ls .stats | xargs)" 'bytes.*count.*dead_ratio.*deleted' "ls lists them"
is "$(stat -c %s .stats/count)" 2 "the size is exact"
nok "they are not writable" put .stats/count 7
cd "$S" || exit 99
finish
