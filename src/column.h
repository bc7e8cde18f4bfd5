/* SPDX-License-Identifier: Apache-2.0 */
/* column.h: fixed-size items in chunks that never move, read without a lock. */
#ifndef VG_COLUMN_H
#define VG_COLUMN_H

#include "index/rows.h"
#include "src/lost.h"
#include "src/vg.h"

/*
 * A column grows at its end, by its one writer; items are zero until they are
 * written. A reader may touch item i once it learnt of i through an acquire
 * load that came after the writer's stores. Memory comes from anonymous maps:
 * the first 2 MiB in small pages, so that a column of 100 items costs 100
 * items, what follows in huge ones. Chunks may be mapped from a file instead,
 * by others, once column_add_map was called for them.
 */
struct column {
	struct rows rows;  /* what the index borrows */
	uint32_t n_chunks; /* mapped; the writer's */
	size_t chunk_len;  /* bytes of a chunk */
	_Atomic(struct lost *) *map; /* of chunks: owned; NULL: of none */
	_Atomic uint32_t n_lost; /* pages that could not be read; acquire */
};

/* Items of `stride` bytes, none yet. -ENOMEM. fini is legal afterwards and
 * on a zeroed struct. */
int column_init(struct column *c, uint32_t stride);
void column_fini(struct column *c);

/* Makes items 0..n-1 addressable. -ENOMEM: what was stays. The writer. */
int column_reserve(struct column *c, uint32_t n);

/* The chunk of item i, its first, is to be mapped from a file: from now on what
 * cannot be read there is told by column_check. -ENOMEM. The writer. */
int column_add_map(struct column *c, uint32_t i);

/*
 * 0, or -EIO: item i, or a part of it, could not be read when somebody touched
 * it, and he found NaN. So it is asked behind the use of what column_at gave.
 * Any thread.
 */
int column_check_lost(const struct column *c, uint32_t i);
static inline int column_check(const struct column *c, uint32_t i)
{
	lost_order();
	return atomic_load_explicit(&c->n_lost, memory_order_acquire) == 0
		       ? 0
		       : column_check_lost(c, i);
}

/* Borrows item i, which was reserved; for good. Any thread. */
static inline void *column_at(const struct column *c, uint32_t i)
{
	return (void *)(uintptr_t)rows_get(&c->rows, i);
}

#endif
