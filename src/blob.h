/* SPDX-License-Identifier: Apache-2.0 */
/* blob.h: bytes of any length, appended and never moved: ids and metadata. */
#ifndef VG_BLOB_H
#define VG_BLOB_H

#include "src/column.h"

/*
 * A column of units of 8 bytes, so that it is saved and loaded as any other. A
 * piece begins at a unit and lies within one chunk, so at most BLOB_PIECE_MAX
 * bytes. One writer adds; whoever was handed the number of a piece reads it
 * without a lock until blob_fini.
 */
struct blob {
	struct column units;
	uint32_t n; /* units used, gaps at the ends of chunks included */
};

#define BLOB_UNIT 8u
#define BLOB_PIECE_MAX (4u << 20)

int blob_init(struct blob *b); /* -ENOMEM: fini is legal */
void blob_fini(struct blob *b);

/* Copies bytes[len], 0..BLOB_PIECE_MAX, to where they stay: *at is their unit.
 * bytes may be NULL to have the space only. -ENOMEM, also at 32 GiB. */
int blob_add(struct blob *b, const void *bytes, size_t len, uint32_t *at);

/* Takes back what the last blob_add gave; b->n was `n` before it. */
void blob_del_last(struct blob *b, uint32_t n);

/* Borrows a piece, for good. Any thread. */
static inline void *blob_at(const struct blob *b, uint32_t at)
{
	return column_at(&b->units, at);
}

#endif
