/* SPDX-License-Identifier: Apache-2.0 */
/* hits.h: an answer as a directory of links: SRC.hits/. */
#ifndef FS_HITS_H
#define FS_HITS_H

#include "fs/name.h"
#include "src/vg.h"

/*
 *	0001_doc7 -> ../../../doc7
 *
 * A link's name is its row's number, of four digits or as many as the last row
 * needs, and the id's file name, cut where all of it would be longer than a name
 * may be; its target is the record. So `ls` has the rows in order. An id whose
 * file name is too long has no link.
 *
 * A LISTING is an answer in the format ids (answer.h): a line is a row. Nothing
 * here allocates; any thread.
 */
#define HITS_NAME_MAX NAME_LEN_MAX
#define HITS_TARGET_MAX 4095 /* what readlink(2) gets from the kernel */

/* A row: its number, and its link's name with the length. */
struct hits_row {
	uint32_t number;
	struct vg_id id; /* borrowed from id_bytes */
	char id_bytes[VG_ID_MAX];
	char name[HITS_NAME_MAX + 1];
	size_t name_len;
};

/* Rows of text[len] in order. A copy goes on from the same place. */
struct hits {
	const char *text; /* borrowed */
	size_t len;
	size_t at;	 /* of the next row's line */
	uint32_t number; /* of the row before it */
	int digits;
};

/* Begins before the first row, whose number is offset + 1. */
void hits_init(struct hits *h, const char *text, size_t len, uint32_t offset);

/* The next row that has a link; false: there is none. */
bool hits_next(struct hits *h, struct hits_row *row);

/* The row, of those from h on, whose link has that name; false: there is none.
 */
bool hits_find(struct hits h, struct vg_id name, struct hits_row *row);

/* Whether name could be a link's. */
bool hits_is_name(struct vg_id name);

/*
 * Writes the target of the link to id, whose path below query/ this is, as typed,
 * into out: up to the collection and, snap not empty, into that snapshot; and a
 * terminator. Returns its length; -ENAMETOOLONG.
 */
int hits_target(struct vg_id path, struct vg_id snap, struct vg_id id,
	char out[HITS_TARGET_MAX + 1]);

#endif
