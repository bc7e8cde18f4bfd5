/* SPDX-License-Identifier: Apache-2.0 */
/* name.h: ids as file names, and what a name in a collection stands for. */
#ifndef FS_NAME_H
#define FS_NAME_H

#include "src/vg.h"

/*
 * An id is 1 to VG_ID_MAX bytes without NUL. As a file name it is spelled as
 * it is, but for what a directory cannot hold or means already:
 *
 *   /                    %2F, everywhere
 *   . at the beginning   %2E
 *   the id query         %71uery
 *   a % that would, with what follows it, read as one of the above or as %25:
 *                        %25
 *
 * Reading a name undoes exactly these; any other % is a plain byte, so 100%
 * and a%20b are ids and names alike, and hexadecimal digits are upper case.
 *
 * One spelling per id, or rsync --delete would resend for ever. Two rules
 * make it so, for all ids and all names:
 *
 *   N1  decode(encode(id)) is id
 *   N2  a name is accepted only if encode(decode(name)) is name again
 *
 * So %25x is no name: it would read as %x, which lists as %x. Looking it up
 * is ENOENT, creating it EINVAL.
 */

/* Bytes of the longest name in a directory; statfs says it. */
#define NAME_LEN_MAX 255

/* Bytes of the longest spelling of an id: each byte a slash. */
#define NAME_ENCODED_MAX (3 * VG_ID_MAX)

/*
 * Reads the id that name[len] spells. id borrows from name where nothing had
 * to be undone, else from buf. len may exceed NAME_LEN_MAX: `id=` in a query
 * takes such names. -EINVAL: not a spelling of an id, N2: empty, a NUL, a
 * slash, a leading dot, query, or not the one spelling. -ENAMETOOLONG: the id
 * would have more than VG_ID_MAX bytes. Allocates nothing. Any thread.
 */
int name_decode(const char *name, size_t len, char buf[VG_ID_MAX],
	struct vg_id *id);

/*
 * Writes the name of id into buf, without a terminator, and its length into
 * *len. -ENAMETOOLONG: it has more than NAME_LEN_MAX bytes; buf and *len hold
 * it all the same, for `id=`: the record is found by queries but cannot be
 * listed. -EINVAL: id is empty, too long or holds a NUL. Any thread.
 */
int name_encode(struct vg_id id, char buf[NAME_ENCODED_MAX], size_t *len);

/*
 * What a name in a collection's directory stands for. The dot names from
 * NAME_AS on are ours: they resolve and are not listed.
 */
enum name_kind {
	NAME_RECORD,  /* name_decode says which id, if any */
	NAME_STAGING, /* any other leading dot: kept by this mount only */
	NAME_IF,      /* .if=N, N the number of a version: name_get_if */
	NAME_QUERY,
	NAME_AS,
	NAME_META,
	NAME_SNAP,
	NAME_TX,
	NAME_CONFIG,
	NAME_STATS,
	NAME_IMPORT,
	NAME_EXPORT,
	NAME_HELP,
	NAME_DELETE_WHERE,
	NAME_KINDS, /* their number */
};

/* Classifies name[len]; "." and ".." never come from the kernel. */
enum name_kind name_find(const char *name, size_t len);

/* Whether name[len] is .if=N; then *number is N. */
bool name_get_if(const char *name, size_t len, uint64_t *number);

/* The name that kind has, ".as"; NULL for those before NAME_QUERY, which have
 * many. */
const char *name_get(enum name_kind kind);

#endif
