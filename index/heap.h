/* SPDX-License-Identifier: Apache-2.0 */
/* heap.h: the best so far: top-k, shortlist of a scan, candidate pool of a walk. */
#ifndef INDEX_HEAP_H
#define INDEX_HEAP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "src/vg.h"

/* One answer, or one candidate. */
struct hit {
	float dist;
	uint32_t slot;
};

/* ---- top-k ---- */

/*
 * The k best of what is offered, in the caller's memory: a binary heap with
 * the worst on top until topk_sort makes it a list, best first. Order is
 * (dist, tie): tie is asked only about equal distances, returns below 0 if
 * slot a comes before slot b, and is a total order; NULL orders by slot.
 * One thread; holds no resource, so there is no fini.
 */
struct topk {
	struct hit *hits; /* borrowed: room for cap */
	uint32_t cap;
	uint32_t n;
	int (*tie)(void *ctx, uint32_t a, uint32_t b);
	void *ctx;
};

static inline void topk_init(struct topk *t, struct hit *hits, uint32_t cap,
	int (*tie)(void *ctx, uint32_t a, uint32_t b), void *ctx)
{
	*t = (struct topk){.hits = hits, .cap = cap, .tie = tie, .ctx = ctx};
}

/* Whether a stands before b in an answer. */
static inline bool topk_is_before(const struct topk *t, struct hit a,
	struct hit b)
{
	if (a.dist != b.dist)
		return a.dist < b.dist;
	if (t->tie)
		return t->tie(t->ctx, a.slot, b.slot) < 0;
	return a.slot < b.slot;
}

/* Whether a hit would enter now: the cheap test comes before dear ones. */
static inline bool topk_wants(const struct topk *t, struct hit hit)
{
	if (t->n < t->cap)
		return true;
	return t->cap > 0 && topk_is_before(t, hit, t->hits[0]);
}

/* Puts hit at i or below it; ends at a leaf, as i at least doubles. */
static inline void topk_sift(struct topk *t, uint32_t i, struct hit hit)
{
	assert(i < t->n);
	for (uint32_t child; (child = 2 * i + 1) < t->n; i = child) {
		if (child + 1 < t->n &&
			topk_is_before(t, t->hits[child], t->hits[child + 1]))
			child++;
		if (!topk_is_before(t, hit, t->hits[child]))
			break;
		t->hits[i] = t->hits[child];
	}
	t->hits[i] = hit;
}

/* Takes a hit that topk_wants; the worst leaves if there is no room. */
static inline void topk_put(struct topk *t, struct hit hit)
{
	assert(topk_wants(t, hit));
	if (t->n == t->cap) {
		topk_sift(t, 0, hit);
		return;
	}
	uint32_t i = t->n++;

	for (uint32_t up; i > 0; i = up) {
		up = (i - 1) / 2;
		if (!topk_is_before(t, t->hits[up], hit))
			break;
		t->hits[i] = t->hits[up];
	}
	t->hits[i] = hit;
}

/*
 * Makes hits[0..n) a list, best first. The last call: what was a heap is none
 * any more, except that topk_init with the same memory starts a new one.
 */
static inline void topk_sort(struct topk *t)
{
	uint32_t n = t->n;

	while (t->n > 1) {
		struct hit worst = t->hits[0];
		struct hit last = t->hits[--t->n];

		topk_sift(t, 0, last);
		t->hits[t->n] = worst;
	}
	t->n = n;
}

/* ---- shortlist ---- */

/*
 * The cap best of many hits that come in no order, by (dist, slot), in the
 * caller's memory, which has some room beside: what comes is put behind the
 * others, and when the room is used up, all but the best leave. So a hit costs
 * a store, where a heap or a sorted list costs a search that no processor
 * foretells. shortlist_cut ends it: hits[0..n) are the best, in no order.
 */
struct shortlist {
	struct hit *hits; /* borrowed: for room of them */
	uint32_t cap;
	uint32_t room; /* above cap; the more, the fewer cuts: twice is good */
	uint32_t n;
	float bound; /* cap hits are nearer than this or as near */
};

static inline void shortlist_init(struct shortlist *l, struct hit *hits,
	uint32_t cap, uint32_t room)
{
	assert(cap > 0 && room > cap);
	*l = (struct shortlist){.hits = hits,
		.cap = cap,
		.room = room,
		.bound = __builtin_inff()};
}

static inline bool hit_is_before(struct hit a, struct hit b)
{
	return (a.dist < b.dist) | ((a.dist == b.dist) & (a.slot < b.slot));
}

/* Moves those of hits[from, to) that stand before the pivot to the front, the
 * pivot behind them; returns its place. */
static inline uint32_t shortlist_part(struct hit *hits, uint32_t from,
	uint32_t to)
{
	struct hit *mid = &hits[from + (to - from) / 2], pivot = *mid;
	uint32_t at = from;

	*mid = hits[to - 1];
	/* Without a branch that depends on a distance. */
	for (uint32_t i = from; i + 1 < to; i++) {
		struct hit hit = hits[i];

		hits[i] = hits[at];
		hits[at] = hit;
		at += hit_is_before(hit, pivot);
	}
	hits[to - 1] = hits[at];
	hits[at] = pivot;
	return at;
}

/* Leaves the cap best, if there are more. Ends as [from, to) always shrinks
 * by the pivot at least. */
static inline void shortlist_cut(struct shortlist *l)
{
	uint32_t from = 0, to = l->n;

	if (l->n <= l->cap)
		return;
	while (from < l->cap && l->cap < to) {
		uint32_t at = shortlist_part(l->hits, from, to);

		if (at < l->cap)
			from = at + 1;
		else
			to = at;
	}
	l->n = l->cap;
	l->bound = l->hits[0].dist;
	for (uint32_t i = 1; i < l->n; i++)
		l->bound = VG_MAX(l->bound, l->hits[i].dist);
}

/* Takes a hit whose distance is below the bound. */
static inline void shortlist_put(struct shortlist *l, struct hit hit)
{
	assert(l->n < l->room);
	l->hits[l->n++] = hit;
	if (l->n == l->room)
		shortlist_cut(l);
}

/* ---- candidate pool ---- */

/*
 * Up to cap candidates in order of distance, equal ones in order of arrival,
 * each marked once it was expanded. A sorted array and not a pair of heaps:
 * one binary search and one short memmove put a candidate in, the worst falls
 * out at the end, and the next to expand is the first without a mark. Two
 * heaps measured the same here, within noise; this is less code, and its order
 * is what a put chooses from. (The moves grow with cap: it is no structure for
 * 100,000.)
 */
#define POOL_EXPANDED (1u << 31) /* bit of slot: slots are below it */

struct pool {
	struct hit *hits; /* borrowed: room for cap */
	uint32_t cap;
	uint32_t n;
	uint32_t next; /* all before it are expanded */
};

static inline void pool_init(struct pool *p, struct hit *hits, uint32_t cap)
{
	assert(cap > 0);
	*p = (struct pool){.hits = hits, .cap = cap};
}

/* What a distance must be below to enter. */
static inline float pool_bound(const struct pool *p)
{
	return p->n < p->cap ? __builtin_inff() : p->hits[p->cap - 1].dist;
}

/* Where a distance belongs: behind all that are no farther. */
static inline uint32_t pool_find(const struct pool *p, float dist)
{
	const struct hit *base = p->hits;
	uint32_t n = p->n, at;

	/* Each round halves n. (Without a branch it took as long.) */
	while (n > 1) {
		uint32_t half = n / 2;

		base = base[half - 1].dist <= dist ? base + half : base;
		n -= half;
	}
	at = (uint32_t)(base - p->hits);
	return n == 1 && base->dist <= dist ? at + 1 : at;
}

/* Takes a candidate that is below pool_bound, at its pool_find. */
static inline void pool_put(struct pool *p, uint32_t at, struct hit hit)
{
	uint32_t moved;

	assert(hit.dist < pool_bound(p));
	assert(hit.slot < POOL_EXPANDED);
	moved = VG_MIN(p->n, p->cap - 1) - at;
	memmove(p->hits + at + 1, p->hits + at, moved * sizeof(*p->hits));
	p->hits[at] = hit;
	p->n += p->n < p->cap;
	p->next = VG_MIN(p->next, at);
}

/*
 * Marks the best that is not expanded and returns it through *hit, or false
 * if all are. Every call that returns true adds a mark, and marks never go.
 */
static inline bool pool_find_next(struct pool *p, struct hit *hit)
{
	while (p->next < p->n && (p->hits[p->next].slot & POOL_EXPANDED) != 0)
		p->next++;
	if (p->next == p->n)
		return false;
	*hit = p->hits[p->next];
	p->hits[p->next++].slot |= POOL_EXPANDED;
	return true;
}

#endif
