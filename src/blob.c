/* SPDX-License-Identifier: Apache-2.0 */
/* blob.c: see blob.h. */
#include "src/blob.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct blob_chunk {
	struct blob_chunk *older;
	size_t older_used; /* bytes of it, as it was left */
	size_t cap;
	_Alignas(8) char bytes[];
};

#define CHUNK_MIN 4096u
#define CHUNK_MAX (1u << 20)

void blob_init(struct blob *b)
{
	*b = (struct blob){0};
}

void blob_fini(struct blob *b)
{
	while (b->chunk) {
		struct blob_chunk *older = b->chunk->older;

		free(b->chunk);
		b->chunk = older;
	}
	blob_init(b);
}

static int add_chunk(struct blob *b, size_t len)
{
	size_t cap = b->chunk ? VG_MIN(2 * b->chunk->cap, CHUNK_MAX) : CHUNK_MIN;
	struct blob_chunk *chunk;

	cap = VG_MAX(cap, len);
	chunk = malloc(sizeof(*chunk) + cap);
	if (!chunk)
		return -ENOMEM;
	chunk->older = b->chunk;
	chunk->older_used = b->used;
	chunk->cap = cap;
	b->chunk = chunk;
	b->used = 0;
	return 0;
}

int blob_add(struct blob *b, const void *bytes, size_t len, void **out)
{
	size_t room = VG_ALIGN_UP(len, (size_t)8);
	int rc;

	assert(len <= UINT32_MAX);
	assert(!b->chunk || b->used <= b->chunk->cap);
	if (!b->chunk || b->chunk->cap - b->used < room) {
		rc = add_chunk(b, room);
		if (rc < 0)
			return rc;
	}
	*out = b->chunk->bytes + b->used;
	if (bytes && len)
		memcpy(*out, bytes, len);
	b->used += room;
	b->bytes += room;
	return 0;
}

void blob_del_last(struct blob *b, const void *at, size_t len)
{
	size_t room = VG_ALIGN_UP(len, (size_t)8);

	assert(b->chunk && b->used >= room);
	assert((const char *)at == b->chunk->bytes + b->used - room);
	(void)at; /* without assertions nobody reads it */
	b->used -= room;
	b->bytes -= room;
	/* What is the last one now may stand in the chunk before. */
	if (b->used == 0 && b->chunk->older) {
		struct blob_chunk *empty = b->chunk;

		b->chunk = empty->older;
		b->used = empty->older_used;
		free(empty);
	}
	assert(b->used <= b->chunk->cap);
}
