/* SPDX-License-Identifier: Apache-2.0 */
/* blob.c: see blob.h. */
#include "src/blob.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int blob_init(struct blob *b)
{
	*b = (struct blob){0};
	return column_init(&b->units, BLOB_UNIT);
}

void blob_fini(struct blob *b)
{
	column_fini(&b->units);
	b->n = 0;
}

int blob_add(struct blob *b, const void *bytes, size_t len, uint32_t *at)
{
	uint32_t chunk = 1u << b->units.rows.shift;
	uint32_t n = (uint32_t)((len + BLOB_UNIT - 1) / BLOB_UNIT);
	uint64_t from = b->n;
	int rc;

	assert(len <= BLOB_PIECE_MAX);
	assert(n <= chunk);
	if ((from & (chunk - 1)) + n > chunk)
		from = VG_ALIGN_UP(from, (uint64_t)chunk);
	if (from + n > UINT32_MAX)
		return -ENOMEM;
	rc = column_reserve(&b->units, (uint32_t)from + VG_MAX(n, 1u));
	if (rc < 0)
		return rc;
	if (bytes && len)
		memcpy(column_at(&b->units, (uint32_t)from), bytes, len);
	*at = (uint32_t)from;
	b->n = (uint32_t)from + n;
	return 0;
}

void blob_del_last(struct blob *b, uint32_t n)
{
	assert(n <= b->n);
	b->n = n;
}
