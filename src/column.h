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
	_Atomic bool *is_random; /* of chunks, beside map: the kernel reads no
				    more than is asked for; relaxed */
	_Atomic uint32_t n_lost; /* pages that could not be read; acquire */
	_Atomic uint32_t n_maps; /* chunks in map; release behind it */
	_Atomic uint32_t n_fetches; /* of column_fetch; relaxed, as is the next */
	_Atomic uint32_t n_wary;    /* fetches yet that look at each item */
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

/*
 * Items item[0..n) are about to be read: what of them is in files that were
 * mapped and not in memory is asked of the disk, all of it at once, and comes
 * while the caller goes on; without this, reading each waits for its own. Rows
 * that are to be looked at first (rows_check) bring those they are looked at
 * with. Looks at one of the items now and then, and at each while some were
 * found missing lately: where all is in memory it costs next to nothing. It
 * fails silently: whoever reads waits, or finds what is lost. Any thread.
 *
 * The kernel reads 128 KiB around a page that is missing, or some MiB, which
 * drives out what was asked for. So chunks where some are get no more than what
 * is asked for, from then on (column_make_random), and who goes over items in
 * their order asks for those that come next, [from, to), some MiB at a time, by
 * column_fetch_range.
 */
void column_fetch(struct column *c, const uint32_t *item, uint32_t n);
void column_fetch_range(struct column *c, uint32_t from, uint32_t to);

/* From now on no page of item i's chunk, which is mapped, is read that nobody
 * asks for: where there are more of them than memory. Any thread. */
void column_make_random(struct column *c, uint32_t i);

/* Before item i is read by who goes over items in about their order: range
 * calls as they become due. *at is the caller's, 0 at first. */
void column_fetch_ahead(struct column *c, uint32_t i, uint32_t *at);

/* Borrows item i, which was reserved; for good. Any thread. */
static inline void *column_at(const struct column *c, uint32_t i)
{
	return (void *)(uintptr_t)rows_get(&c->rows, i);
}

#endif
