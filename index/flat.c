/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c: see flat.h. */
#include "index/flat.h"

#include <assert.h>
#include <errno.h>
#include <math.h>

#define BLOCK DIST_SIFT_MAX /* rows whose fast sums are formed at once */
#define BLOCK_BYTES                                                            \
	(256u << 10)	      /* of a batch: a part of a second-level cache */
#define POLL_BYTES (2u << 20) /* rows between two looks at cancel */
#define AHEAD 4u	      /* rows of a list to prefetch */
#define LINE 64u	      /* bytes of a cache line */
#define PREFETCH_MAX 2048u    /* bytes; the processor follows from there */

static_assert(BLOCK_BYTES <= POLL_BYTES, "a block is polled before it");
static_assert(sizeof(struct dist_query) * FLAT_BATCH <= 4096, "of a stack");

static bool is_cancelled(const struct flat_query *q)
{
	/* Relaxed: a hint; nothing is read on the strength of it. */
	return q->cancel &&
	       atomic_load_explicit(q->cancel, memory_order_relaxed);
}

static void init(struct dist_query *dq, const struct flat_query *q,
	const struct rows *rows)
{
	enum dist_form form = q->form ? q->form : DIST_F32;

	assert(rows->stride >= dist_row_len(form, q->dim));
	(void)rows;
	dist_query_init_form(dq, form, q->metric, q->dim, q->vec);
}

/* Returns whether it was taken. */
static bool offer(const struct flat_query *q, struct hit hit, struct topk *top)
{
	if (!topk_wants(top, hit) ||
		(q->is_visible && !q->is_visible(q->ctx, hit.slot)))
		return false;
	topk_put(top, hit);
	return true;
}

/* Above which fast sums what is farther than all of top lies. */
static float limit_of(const struct dist_query *dq, const struct topk *top)
{
	if (top->n < top->cap)
		return INFINITY;
	return top->cap > 0 ? dist_query_limit(dq, top->hits[0].dist) :
			      -INFINITY;
}

/* Offers a block of rows, whose first is slot from. */
static void offer_block(const struct flat_query *q, const struct dist_query *dq,
	const struct dist_rows *block, uint32_t from, struct topk *top)
{
	const char *row = block->first;
	float low[BLOCK], limit = limit_of(dq, top);
	bool is_sifted = limit < INFINITY;

	assert(block->n <= BLOCK);
	if (is_sifted)
		dist_query_sift(dq, block, low);
	for (uint32_t i = 0; i < block->n; i++, row += block->stride) {
		if (is_sifted && low[i] > limit)
			continue;
		struct hit hit = {dist_query_exact(dq, row), from + i};

		if (offer(q, hit, top))
			limit = limit_of(dq, top);
	}
}

/* Rows of a block: a batch looks at it more than once. */
static uint32_t block_rows(const struct rows *rows, uint32_t n_queries)
{
	if (n_queries == 1)
		return BLOCK;
	return VG_MAX(1u, VG_MIN(BLOCK, BLOCK_BYTES / rows->stride));
}

/* Asks all of a batch that was prepared of each block. */
static int scan(const struct flat_query *q, const struct dist_query *dq,
	uint32_t n, const struct rows *rows, const uint32_t range[2],
	struct topk *tops)
{
	uint32_t chunk = 1u << rows->shift, most = block_rows(rows, n);
	uint32_t at = range[0], to = range[1];
	uint64_t since = POLL_BYTES;

	assert(n > 0 && n <= FLAT_BATCH);
	assert(most > 0 && most <= DIST_SIFT_MAX);
	while (at < to) {
		/* A block ends where the range or the chunk of rows ends. */
		struct dist_rows block = {
			.stride = rows->stride,
			.n = VG_MIN(VG_MIN(to - at, most),
				chunk - (at & (chunk - 1))),
		};

		for (uint32_t i = 0; i < n && since >= POLL_BYTES; i++)
			if (is_cancelled(&q[i]))
				return -EINTR;
		if (since >= POLL_BYTES && q->fetch_range)
			q->fetch_range(q->ctx, at,
				VG_MIN(to, at + 2 * POLL_BYTES / rows->stride));
		since = since >= POLL_BYTES ? 0 : since;
		block.first = rows_get(rows, at);
		for (uint32_t i = 0; i < n; i++) {
			block.dim = dq[i].dim;
			offer_block(&q[i], &dq[i], &block, at, &tops[i]);
		}
		at += block.n;
		since += (uint64_t)block.n * rows->stride;
	}
	return 0;
}

int flat_scan_batch(const struct flat_query *q, uint32_t n,
	const struct rows *rows, uint32_t from, uint32_t to, struct topk *tops)
{
	struct dist_query dq[FLAT_BATCH]; /* 2 KB of stack */
	uint32_t range[2] = {from, to};
	int rc = 0;

	for (uint32_t first = 0; first < n && rc == 0; first += FLAT_BATCH) {
		uint32_t len = VG_MIN(FLAT_BATCH, n - first);

		for (uint32_t i = 0; i < len; i++)
			init(&dq[i], &q[first + i], rows);
		rc = scan(q + first, dq, len, rows, range, tops + first);
	}
	return rc;
}

int flat_scan(const struct flat_query *q, const struct rows *rows,
	uint32_t from, uint32_t to, struct topk *top)
{
	return flat_scan_batch(q, 1, rows, from, to, top);
}

static void prefetch(const struct rows *rows, uint32_t slot)
{
	const char *row = rows_get(rows, slot);
	uint32_t len = VG_MIN(rows->stride, PREFETCH_MAX);

	for (uint32_t i = 0; i < len; i += LINE)
		__builtin_prefetch(row + i);
}

int flat_scan_list(const struct flat_query *q, const struct rows *rows,
	const uint32_t *slots, uint32_t n, struct topk *top)
{
	struct dist_rows row = {.stride = rows->stride, .n = 1, .dim = q->dim};
	struct dist_query dq;

	init(&dq, q, rows);
	for (uint32_t i = 0; i < n; i++) {
		if (i % BLOCK == 0 && is_cancelled(q))
			return -EINTR;
		if (i % BLOCK == 0 && q->fetch)
			q->fetch(q->ctx, slots + i, VG_MIN(n - i, BLOCK));
		if (i % BLOCK + AHEAD < BLOCK && i + AHEAD < n)
			prefetch(rows, slots[i + AHEAD]);
		row.first = rows_get(rows, slots[i]);
		offer_block(q, &dq, &row, slots[i], top);
	}
	return 0;
}
