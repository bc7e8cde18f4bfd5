/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_near_walk.c: algorithm 2 by codes of neighbours: one node at a time. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "index/hnsw_int.h"

#define AHEAD 2u		/* candidates whose nodes are prefetched */
#define NODE_PREFETCH_MAX 8192u /* bytes; the processor follows from there */

int hnsw_near_reserve_query(struct hnsw_scratch *s, const struct hnsw *h)
{
	uint32_t n = h->signs.len;
	float *rotated;

	if (!hnsw_has_near(h) || n <= s->n_rotated)
		return 0;
	rotated = malloc(n * sizeof(*rotated) + CACHE_LINE + SIGNS_BYTES(n));
	if (!rotated)
		return -ENOMEM;
	free(s->rotated);
	s->rotated = rotated;
	s->n_rotated = n;
	s->table = (uint8_t *)VG_ALIGN_UP((uintptr_t)(rotated + n),
		(uintptr_t)CACHE_LINE);
	return 0;
}

/* From squared distances of rows, or products, to the probe's distances. */
static float unit_of(const struct probe *p)
{
	return p->h->config.metric == VG_COSINE ? p->unit / 2 : p->unit;
}

static void begin(struct walk *w, struct signs_query *q)
{
	const struct probe *p = w->probe;
	const struct hnsw *h = p->h;
	struct hnsw_scratch *s = w->scratch;

	assert(s->n_rotated >= h->signs.len);
	signs_rotate(&h->signs, p->vec,
		h->config.metric == VG_COSINE ? p->scale : 1, h->centre,
		s->rotated);
	signs_query_init(q, s->rotated, h->signs.len, unit_of(p), s->table);
	q->unit = unit_of(p);
}

static void prefetch_node(const struct hnsw *h, uint32_t slot)
{
	const char *node = hnsw_node(h, slot);

	for (uint32_t i = 0; i < VG_MIN(h->node_len, NODE_PREFETCH_MAX);
		i += CACHE_LINE)
		__builtin_prefetch(node + i);
}

/* The nodes that are expanded next, as yet. */
static void prefetch_next(const struct walk *w)
{
	const struct pool *p = &w->pool;
	uint32_t n = 0;

	for (uint32_t i = p->next; i < p->n && n < AHEAD; i++)
		if ((p->hits[i].slot & POOL_EXPANDED) == 0) {
			prefetch_node(w->probe->h, p->hits[i].slot);
			if (!w->probe->code)
				hnsw_prefetch_row(
					w->probe->h, p->hits[i].slot);
			n++;
		}
}

/* Offers a row; of rows that equal one another hnsw_walk takes as few. */
static void offer(const struct walk *w, struct pool *p, struct hit hit)
{
	uint32_t at = pool_find(p, hit.dist);

	if (!hnsw_is_one_too_many(w, p, at, hit))
		pool_put(p, at, hit);
}

/* The neighbours of links [from, from + 32) that may matter, into the pool. */
static void expand(struct walk *w, struct signs_query *q, uint32_t slot,
	uint32_t from)
{
	const struct hnsw *h = w->probe->h;
	struct hnsw_scratch *s = w->scratch;
	hnsw_link *links = hnsw_links(h, slot, 0) + from;
	uint32_t n = VG_MIN(hnsw_list_cap(h, 0) - from, SIGNS_BLOCK);
	const char *at = hnsw_node(h, slot) + h->near_at +
			 from / SIGNS_BLOCK * h->near_len;
	const float *factors = (const float *)(const void *)at;
	struct signs_block b = {
		.add = factors,
		.mul = factors + SIGNS_BLOCK,
		.codes = (const uint8_t *)(factors + 2 * SIGNS_BLOCK),
	};
	float est[SIGNS_BLOCK];

	assert(from % SIGNS_BLOCK == 0 && from < hnsw_list_cap(h, 0));
	uint32_t near = w->probe->kernels->signs->estimate(q, &b,
		pool_bound(&w->pool), est);

	for (; near != 0; near &= near - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(near), link;

		if (i >= n)
			break;
		link = hnsw_link_get(links, i);
		if (link == LINK_END)
			break;
		link &= LINK_SLOT;
		if (link >= s->n_seen || s->seen[link] == s->epoch ||
			!(est[i] < pool_bound(&w->pool)))
			continue;
		s->seen[link] = s->epoch;
		offer(w, &w->pool, (struct hit){est[i], link});
	}
}

/*
 * As hnsw_walk, but for what the pool is sorted by. A row enters the pool once,
 * by the first estimate that is near enough: later ones, of nearer nodes, are
 * better, but a row that is estimated far has others beside it that are not.
 */
int hnsw_walk_near(struct walk *w, struct hit start)
{
	const struct probe *p = w->probe;
	uint32_t cap = hnsw_list_cap(p->h, 0);
	struct signs_query q;
	struct hit c;

	assert(w->pool.n == 0 && w->found.n == 0 && w->level == 0);
	assert(w->found.cap >= w->pool.cap);
	begin(w, &q);
	hnsw_forget_seen(w->scratch);
	if (start.slot < w->scratch->n_seen)
		w->scratch->seen[start.slot] = w->scratch->epoch;
	pool_put(&w->pool, 0, (struct hit){0, start.slot});
	/* Ends: each round expands one, and no row enters the pool twice. */
	while (pool_find_next(&w->pool, &c)) {
		struct hit hit = {.slot = c.slot};

		if (w->cancel &&
			atomic_load_explicit(w->cancel, memory_order_relaxed))
			return -EINTR;
		prefetch_next(w);
		hit.dist = probe_dist(p, c.slot, INFINITY);
		if (hit.dist < pool_bound(&w->found))
			offer(w, &w->found, hit);
		/* A damaged row leads on, wherever it does. */
		q.base = isnan(hit.dist) ? 0 : hit.dist;
		if (p->h->config.metric == VG_IP)
			q.unit = q.base;
		for (uint32_t from = 0; from < cap; from += SIGNS_BLOCK)
			expand(w, &q, c.slot, from);
		prefetch_next(w);
	}
	return 0;
}
