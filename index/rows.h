/* SPDX-License-Identifier: Apache-2.0 */
/* rows.h: where the vectors stand: fixed-size rows in chunks that never move. */
#ifndef INDEX_ROWS_H
#define INDEX_ROWS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Row number s lies in chunk s >> shift at (s & mask) * stride. The table of
 * chunks has its full length from the start and a chunk is never moved or
 * freed while the rows live, so a reader needs no lock: whoever learnt of a
 * slot through an acquire load sees its row's bytes, which never change again.
 *
 * Rows that come from a file are looked at before they are used for the first
 * time: those below n_unsure, in groups of 1 << group, each with a bit that is
 * set once check has looked at it, which may be another time for want of
 * descriptors. What check finds is the owner's to remember: the index walks
 * over bad rows, and is_visible hides them.
 *
 * The index borrows rows; src/column.h owns them.
 */
struct rows {
	_Atomic(char *) *chunk; /* set once each, release */
	uint32_t shift;		/* rows of a chunk: 1 << shift */
	uint32_t stride;	/* bytes of a row */
	uint32_t n_unsure;	/* fixed before there are readers */
	uint32_t group;
	_Atomic uint64_t *sure; /* bits of groups; release by check */
	void (*check)(const struct rows *r, uint32_t slot); /* any thread */
};

/* Whether slot was looked at, or needs no look. Any thread. */
static inline bool rows_is_sure(const struct rows *r, uint32_t slot)
{
	uint32_t group = slot >> r->group;

	return slot >= r->n_unsure ||
	       (atomic_load_explicit(
			&r->sure[group / 64], memory_order_acquire) >>
			       (group % 64) &
		       1);
}

/* Makes sure that slot was looked at, if that can be done now. Any thread. */
static inline void rows_check(const struct rows *r, uint32_t slot)
{
	if (!rows_is_sure(r, slot))
		r->check(r, slot);
}

/* Borrows the row of slot, which must have been written. Any thread. */
static inline const void *rows_get(const struct rows *r, uint32_t slot)
{
	const char *chunk = atomic_load_explicit(&r->chunk[slot >> r->shift],
		memory_order_acquire);

	assert(chunk);
	rows_check(r, slot);
	return chunk + (size_t)(slot & ((1u << r->shift) - 1)) * r->stride;
}

#endif
