#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# %2F, %25, a leading %2E and %71uery let every id be a file name, each in one
# spelling only.
. "$(dirname "$0")/lib.sh"
plan 22
vgmount
mkdir "$M/c"
cd "$M/c" || exit 99

spelled() { # NAME ID: the file NAME is the id ID, and is listed as NAME
	put "$1" 1,2
	is "$(ls -A | cat)" "$1" "$1 is listed as such"
	is "$(cat .export/ids)" "$2" "its id is $2"
	rm "$1"
}
spelled 'a%2Fb' 'a/b'
spelled '%2Ehidden' '.hidden'
spelled '%71uery' 'query'
spelled '100%' '100%'
spelled 'a%252Fb' 'a%2Fb'
spelled 'b%2eb' 'b%2eb'

put 'x%y' 1,2
fails ENOENT "a second spelling of a name is none" cat 'x%25y'
fails EINVAL "nor can it be made" touch 'x%25z'
rm 'x%y'
put 'a%2Fb' 3,4
is "$(ids <query/3,4)" a/b "an answer has the id"
is "$(cat "query/k=1/id=a%2Fb" | wc -c)" 0 "id= leaves itself out"
ok ".meta has the same name" cat '.meta/a%2Fb'
ok "and .as" cat '.as/txt/a%2Fb'
printf '%s\n' '{"id":"p/q","vector":[1,1]}' >.import/ndjson
is "$(numbers 'p%2Fq')" "1 1" "an imported id with a slash has its name"
mv 'p%2Fq' 'r%2Fs'
is "$(cat .export/ids | xargs)" "a/b r/s" "rename knows them as well"
is "$(ls -A | xargs)" "a%2Fb r%2Fs" "and ls"
cd "$S" || exit 99
finish
