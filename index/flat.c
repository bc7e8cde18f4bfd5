/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c: see flat.h. */
#include "index/flat.h"

#include <assert.h>
#include <errno.h>

#include "index/dist.h"

#define BLOCK 128u	      /* rows whose distances are computed at once */
#define POLL_BYTES (2u << 20) /* rows between two looks at cancel */
#define AHEAD 4u	      /* rows of a list to prefetch */
#define LINE 64u	      /* bytes of a cache line */
#define PREFETCH_MAX 2048u    /* bytes; the processor follows from there */

static bool is_cancelled(const struct flat_query *q)
{
	/* Relaxed: a hint; nothing is read on the strength of it. */
	return q->cancel &&
	       atomic_load_explicit(q->cancel, memory_order_relaxed);
}

static void offer(const struct flat_query *q, struct hit hit, struct topk *top)
{
	if (topk_wants(top, hit) &&
		(!q->is_visible || q->is_visible(q->ctx, hit.slot)))
		topk_put(top, hit);
}

/* Rows between two polls, at least one block. */
static uint32_t poll_rows(const struct rows *rows)
{
	return VG_MAX(BLOCK, POLL_BYTES / rows->stride);
}

int flat_scan(const struct flat_query *q, const struct rows *rows,
	uint32_t from, uint32_t to, struct topk *top)
{
	uint32_t mask = (1u << rows->shift) - 1, since = poll_rows(rows);
	struct dist_query dq;
	float dist[BLOCK];

	assert(rows->stride == q->dim * sizeof(float));
	dist_query_init(&dq, q->metric, q->dim, q->vec);
	while (from < to) {
		/* A block ends where the range or the chunk of rows ends. */
		uint32_t n = VG_MIN(VG_MIN(to - from, BLOCK),
			mask + 1 - (from & mask));

		if (since >= poll_rows(rows)) {
			if (is_cancelled(q))
				return -EINTR;
			since = 0;
		}
		dist_query_exact_rows(&dq, rows_get(rows, from), n, dist);
		for (uint32_t i = 0; i < n; i++)
			offer(q, (struct hit){dist[i], from + i}, top);
		from += n;
		since += n;
	}
	return 0;
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
	struct dist_query dq;

	assert(rows->stride == q->dim * sizeof(float));
	dist_query_init(&dq, q->metric, q->dim, q->vec);
	for (uint32_t i = 0; i < n; i++) {
		if (i % BLOCK == 0 && is_cancelled(q))
			return -EINTR;
		if (i + AHEAD < n)
			prefetch(rows, slots[i + AHEAD]);
		float dist = dist_query_exact(&dq, rows_get(rows, slots[i]));

		offer(q, (struct hit){dist, slots[i]}, top);
	}
	return 0;
}
