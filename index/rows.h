/* SPDX-License-Identifier: Apache-2.0 */
/* rows.h: where the vectors stand: fixed-size rows in chunks that never move. */
#ifndef INDEX_ROWS_H
#define INDEX_ROWS_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Row number s lies in chunk s >> shift at (s & mask) * stride. The table of
 * chunks has its full length from the start and a chunk is never moved or
 * freed while the rows live, so a reader needs no lock: whoever learnt of a
 * slot through an acquire load sees its row's bytes, which never change again.
 *
 * The index borrows rows; src/column.h owns them.
 */
struct rows {
	_Atomic(char *) *chunk; /* set once each, release */
	uint32_t shift;		/* rows of a chunk: 1 << shift */
	uint32_t stride;	/* bytes of a row */
};

/* Borrows the row of slot, which must have been written. Any thread. */
static inline const void *rows_get(const struct rows *r, uint32_t slot)
{
	const char *chunk = atomic_load_explicit(&r->chunk[slot >> r->shift],
		memory_order_acquire);

	assert(chunk);
	return chunk + (size_t)(slot & ((1u << r->shift) - 1)) * r->stride;
}

#endif
