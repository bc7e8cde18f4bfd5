#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# /README while there is no collection, .help in each, /.vecgridfs for the node.
. "$(dirname "$0")/lib.sh"
plan 20
vgmount
is "$(ls "$M")" README "an empty tree shows a README"
like "$(cat "$M/README")" 'mkdir' "that says how to begin"
like "$(cat "$M/README")" 'query/' "and how to search"
like "$(cat "$M/README")" 'float64' "and warns of doubles"
is "$(stat -c %s "$M/README")" "$(cat "$M/README" | wc -c)" \
	"its size is exact"
mkdir "$M/docs"
is "$(ls "$M")" docs "with a collection it is not listed"
ok "but still there" test -s "$M/README"
nok "nobody writes it" put "$M/README" x

put "$M/docs/.config/dim" 3
raw "$M/docs/a" 1 2 3
like "$(cat "$M/docs/.help")" 'query/' ".help tells the grammar"
like "$(cat "$M/docs/.help")" '[^0-9]3[^0-9]' "with the collection's dimension"
is "$(stat -c %s "$M/docs/.help")" "$(cat "$M/docs/.help" | wc -c)" \
	"its size is exact"
nok "it names nothing that is not there" \
	grep -qE '\.queries|text=' "$M/docs/.help"

is "$(ls -A "$M")" docs ".vecgridfs is not listed"
like "$(ls "$M/.vecgridfs" | xargs)" 'errors.ndjson.*health.*version' \
	"but lists what it has"
like "$(cat "$M/.vecgridfs/version")" '[0-9]+\.[0-9]+\.[0-9]+' \
	"version has three numbers"
ok "the program says the same" grep -qF \
	"$("$VECGRIDFS" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' |
	head -n 1)" "$M/.vecgridfs/version"
is "$(head -c 2 "$M/.vecgridfs/health")" ok "health is ok"
is "$(cat "$M/.vecgridfs/errors.ndjson")" "" "there is no error yet"
nok "nobody writes there" touch "$M/.vecgridfs/new"
finish
