/* SPDX-License-Identifier: Apache-2.0 */
/* blob.h: bytes of any length, appended and never moved: ids and metadata. */
#ifndef VG_BLOB_H
#define VG_BLOB_H

#include "src/vg.h"

struct blob_chunk;

/*
 * One writer adds; whoever was handed a pointer reads it without a lock until
 * blob_fini. Space comes in chunks that double from 4 KiB to 1 MiB, so that a
 * collection of three records costs a page.
 */
struct blob {
	struct blob_chunk *chunk; /* the newest; older ones behind it */
	size_t used;		  /* bytes of the newest */
	uint64_t bytes;		  /* added in all */
};

void blob_init(struct blob *b);
void blob_fini(struct blob *b);

/* Copies bytes[len] to memory aligned to 8 that stays: *out borrows it until
 * blob_fini. bytes may be NULL to have the space only. -ENOMEM. */
int blob_add(struct blob *b, const void *bytes, size_t len, void **out);

/* Takes back what the last blob_add gave: `at` with its length. */
void blob_del_last(struct blob *b, const void *at, size_t len);

#endif
