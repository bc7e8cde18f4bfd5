/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_search.c: walks through the graph, and the answer of a search. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "index/hnsw_int.h"

#define LINES_AHEAD 32u /* of codes or rows are prefetched before their use... */
#define AHEAD_MIN 3u	/* ...but of so many at least */

#define ROW_PREFETCH_MAX 4096u /* bytes; the processor follows from there */
#define SEEN_MIN 1024u	       /* slots a scratch has room for at least */
#define RERANK_PART 4u /* of ef, that are compared themselves, or 2 k + 16 */
#define POOL_FACTOR 16u /* pool of a walk among hidden rows: see hnsw.h */
#define POOL_MORE 1024u
#define POOL_MAX 32768u
#define LATE_HIDDEN .2f /* share up to which who is visible is asked late */
#define HOP_SHARE 6u /* where fewer than one row in so many is wanted, walks hop */
#define LATE_PART 16u	/* of ef, that may turn out to be hidden in excess */

/* ---- scratch ---- */

int hnsw_scratch_new(struct hnsw_scratch **out)
{
	struct hnsw_scratch *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}

void hnsw_scratch_free(struct hnsw_scratch *s)
{
	if (!s)
		return;
	free(s->seen);
	free(s->hits);
	free(s->found);
	free(s->code);
	free(s->rotated);
	free(s->near.rows);
	free(s);
}

static int grow_seen(struct hnsw_scratch *s, uint32_t n)
{
	/* Half as much again, or a growing graph would grow it each time. */
	uint32_t more = VG_MAX(n + n / 2, SEEN_MIN);
	uint8_t *seen = calloc(more, sizeof(*seen));

	if (!seen)
		return -ENOMEM;
	free(s->seen);
	s->seen = seen;
	s->n_seen = more;
	s->epoch = 0;
	return 0;
}

static int grow_hits(struct hnsw_scratch *s, uint32_t n)
{
	size_t len = (size_t)n * sizeof(struct hit);
	struct hit *hits = malloc(len);
	struct hit *found = malloc(len);

	if (!hits || !found) {
		free(hits);
		free(found);
		return -ENOMEM;
	}
	free(s->hits);
	free(s->found);
	s->hits = hits;
	s->found = found;
	s->n_hits = n;
	return 0;
}

static int grow_code(struct hnsw_scratch *s, uint32_t n)
{
	uint8_t *code = calloc(1, n);

	if (!code)
		return -ENOMEM;
	free(s->code);
	s->code = code;
	s->n_code = n;
	return 0;
}

/* Room of the pool when some rows may be hidden. */
static uint32_t wide_pool(uint32_t ef)
{
	return VG_MAX(ef, VG_MIN(POOL_FACTOR * ef + POOL_MORE, POOL_MAX));
}

int hnsw_scratch_reserve(struct hnsw_scratch *s, const struct hnsw *h,
	uint32_t ef)
{
	uint32_t n = atomic_load_explicit(&h->bound, memory_order_relaxed);
	uint32_t n_hits;
	int rc = 0;

	ef = VG_MIN(ef, hnsw_scan_room(VG_EF_MAX));
	n_hits = VG_MAX(wide_pool(ef), ef + ef / 2 + 1); /* a shortlist's room */
	if (n > s->n_seen)
		rc = grow_seen(s, n);
	if (rc == 0 && n_hits > s->n_hits)
		rc = grow_hits(s, n_hits);
	if (rc == 0 && h->code_len > s->n_code)
		rc = grow_code(s, h->code_len);
	if (rc == 0)
		rc = hnsw_near_reserve_query(s, h);
	return rc;
}

/* A new epoch, or every 255 walks a new start. */
void hnsw_forget_seen(struct hnsw_scratch *s)
{
	if (++s->epoch == 0) {
		memset(s->seen, 0, s->n_seen * sizeof(*s->seen));
		s->epoch = 1;
	}
	assert(s->epoch > 0);
}

/* ---- distances ---- */

bool probe_is_wild_norm(double norm2)
{
	/*
	 * A squared difference is at most 4 such norms, far below FLT_MAX; a
	 * product of a long and a short row's elements stays far above the
	 * smallest float.
	 */
	return norm2 != 0 && (norm2 > 0x1p100 || norm2 < 0x1p-60);
}

/* From the distance of two rows to that of their codes: of vectors of length 1
 * the squared distance is twice the cosine's. */
static float unit_of(const struct hnsw *h)
{
	float step2 = h->quant.step * h->quant.step;

	return h->config.metric == VG_COSINE ? 2 / step2 : 1 / step2;
}

void probe_init(struct probe *p, const struct hnsw *h, const void *vec,
	uint8_t *code)
{
	dist_query_init_form(&p->exact, (enum dist_form)h->config.dtype,
		h->config.metric, h->config.dim, vec);
	p->h = h;
	p->vec = vec;
	p->kernels = p->exact.kernels;
	p->is_wild = probe_is_wild_norm(p->exact.norm2) ||
		     atomic_load_explicit(&h->is_wild, memory_order_relaxed);
	p->scale = p->exact.norm2 > 0 ? (float)(1 / sqrt(p->exact.norm2)) : 0;
	assert(p->scale >= 0);
	p->ahead = VG_MAX(LINES_AHEAD * CACHE_LINE / h->rows->stride, AHEAD_MIN);
	p->code = NULL;
	p->near = NULL;
	p->unit = p->bound_unit = 1;
	p->has_quant = !p->is_wild && code &&
		       atomic_load_explicit(&h->quant_state,
			       memory_order_seq_cst) == QUANT_ON;
	if (!p->has_quant)
		return;
	p->unit = unit_of(h);
	p->bound_unit = 1 / p->unit;
	if (quant_code_row(&h->quant, h->config.dtype, vec,
		    h->config.metric == VG_COSINE ? p->scale : 1,
		    h->config.dim, code))
		p->code = code;
	p->ahead = VG_MAX(LINES_AHEAD * CACHE_LINE / h->code_len, AHEAD_MIN);
}

static float code_dist(const struct probe *p, const uint8_t *a,
	const uint8_t *b)
{
	assert(p->has_quant);
	return (float)p->kernels->u8_l2sq(a, b, p->h->config.dim);
}

float probe_dist(const struct probe *p, uint32_t slot, float bound)
{
	const struct hnsw *h = p->h;
	const void *row;
	float sum;

	if (p->code && hnsw_has_code(h, slot))
		return code_dist(p, p->code, hnsw_code(h, slot));
	row = hnsw_row(h, slot);
	if (p->is_wild)
		return dist_query_exact(&p->exact, row);
	sum = dist_query_fast_pair(&p->exact, p->vec, row,
		bound * p->bound_unit);
	if (h->config.metric == VG_COSINE)
		sum = 1 - sum * p->scale * *hnsw_term(h, slot);
	return h->config.metric == VG_IP ? -sum : p->unit * sum;
}

float probe_pair(const struct probe *p, uint32_t a, uint32_t b, float bound)
{
	const struct hnsw *h = p->h;
	const void *x, *y;
	float sum;

	if (p->has_quant && hnsw_has_code(h, a) && hnsw_has_code(h, b))
		return code_dist(p, hnsw_code(h, a), hnsw_code(h, b));
	x = hnsw_row(h, a);
	y = hnsw_row(h, b);
	if (p->is_wild)
		return dist_query_exact_pair(&p->exact, x, y);
	sum = dist_query_fast_pair(&p->exact, x, y, bound * p->bound_unit);
	if (h->config.metric == VG_COSINE)
		sum = 1 - sum * *hnsw_term(h, a) * *hnsw_term(h, b);
	return h->config.metric == VG_IP ? -sum : p->unit * sum;
}

/* All lines of a row: a line left out costs what the whole prefetch gains. */
void hnsw_prefetch_row(const struct hnsw *h, uint32_t slot)
{
	const char *row = rows_get(h->rows, slot);
	uint32_t len = VG_MIN(h->rows->stride, ROW_PREFETCH_MAX);

	for (uint32_t i = 0; i < len; i += CACHE_LINE)
		__builtin_prefetch(row + i);
	/* A row need not begin with a line. */
	__builtin_prefetch(row + len - 1);
	if (h->config.metric == VG_COSINE)
		__builtin_prefetch(hnsw_term(h, slot));
}

void hnsw_prefetch(const struct hnsw *h, uint32_t slot)
{
	if (h->code_len > 0 && hnsw_has_code(h, slot))
		hnsw_prefetch_code(h, hnsw_code(h, slot));
	else
		hnsw_prefetch_row(h, slot);
}

/* ---- walks ---- */

void hnsw_prefetch_links(const struct hnsw *h, uint32_t slot)
{
	const char *node = hnsw_node(h, slot);

	for (uint32_t i = h->code_len & (0u - CACHE_LINE); i < h->node_len;
		i += CACHE_LINE)
		__builtin_prefetch(node + i);
}

/*
 * The greedy search of the upper levels: algorithm 2 with ef = 1. Ends since
 * each round moves to a node that is nearer than all before it.
 */
void hnsw_descend(const struct probe *p, struct hit *at, uint32_t from,
	uint32_t to)
{
	uint32_t cap = p->h->config.m, moved_from;

	assert(from >= to && from <= HNSW_LEVEL_MAX);
	assert(p->ahead > 0);
	for (uint32_t level = from; level > to; level--) {
		do {
			hnsw_link *links = hnsw_links(p->h, at->slot, level);
			uint32_t slots[VG_M_MAX], n = 0;

			moved_from = at->slot;
			for (; n < cap; n++) {
				slots[n] = atomic_load_explicit(
					&links[n], memory_order_acquire);
				if (slots[n] == LINK_END)
					break;
				if (n < p->ahead)
					hnsw_prefetch(p->h, slots[n]);
			}
			for (uint32_t i = 0; i < n; i++) {
				float dist = probe_dist(p, slots[i], at->dist);

				if (dist < at->dist)
					*at = (struct hit){dist, slots[i]};
			}
		} while (at->slot != moved_from);
	}
}

/* The neighbours of a node that this walk has not met, into fresh. */
static uint32_t gather(struct walk *w, uint32_t slot)
{
	const struct hnsw *h = w->probe->h;
	struct hnsw_scratch *s = w->scratch;
	hnsw_link *links = hnsw_links(h, slot, w->level);
	uint32_t cap = hnsw_list_cap(h, w->level), n = 0;
	uint8_t epoch = s->epoch;

	/* Without a branch that depends on what was seen: nothing foretells it. */
	for (uint32_t i = 0; i < cap; i++) {
		uint32_t link =
			atomic_load_explicit(&links[i], memory_order_acquire);

		if (link == LINK_END)
			break;
		link &= LINK_SLOT;
		if (link >= s->n_seen)
			continue;
		s->fresh[n] = link;
		n += s->seen[link] != epoch;
		s->seen[link] = epoch;
	}
	assert(n <= VG_ARRAY_LEN(s->fresh));
	return n;
}

/* What a row must be below to matter to the walk. */
static float walk_bound(const struct walk *w)
{
	float bound = pool_bound(&w->pool);

	return w->is_picky ? VG_MIN(bound, pool_bound(&w->found)) : bound;
}

static void put_candidate(const struct walk *w, struct pool *p, bool is_counted,
	struct hit hit)
{
	uint32_t at = pool_find(p, hit.dist);

	if (is_counted && hnsw_is_one_too_many(w, p, at, hit))
		return;
	pool_put(p, at, hit);
	if (p->next == at && p == &w->pool) /* is expanded next, as yet */
		hnsw_prefetch_links(w->probe->h, hit.slot);
}

/*
 * Takes a row that is below walk_bound. Equal rows fill at most a part of the
 * list that ends the walk, or a crowd of them would be all that it ever sees.
 */
static void take(struct walk *w, struct hit hit)
{
	assert(hit.dist < walk_bound(w));
	put_candidate(w, &w->pool, !w->is_picky, hit);
	if (!w->is_picky || (w->among ? !among_has(w->among, hit.slot)
				      : !w->is_visible(w->ctx, hit.slot)))
		return;
	put_candidate(w, &w->found, true, hit);
	/* What is farther than the worst answer is expanded no more, and would
	 * be moved with each candidate that comes. */
	while (w->pool.hits[w->pool.n - 1].dist > pool_bound(&w->found))
		w->pool.n--;
	w->pool.next = VG_MIN(w->pool.next, w->pool.n);
}

/* evaluate_any, where every node has a code, without asking each. */
static void evaluate_codes(struct walk *w, uint32_t n)
{
	const struct probe *p = w->probe;
	const uint32_t *fresh = w->scratch->fresh;
	uint32_t dim = p->h->config.dim;

	assert(p->code && p->has_quant);
	for (uint32_t i = 0; i < n && i < p->ahead; i++)
		hnsw_prefetch_code(p->h, hnsw_code(p->h, fresh[i]));
	for (uint32_t i = 0; i < n; i++) {
		if (i + p->ahead < n)
			hnsw_prefetch_code(
				p->h, hnsw_code(p->h, fresh[i + p->ahead]));
		float dist = (float)p->kernels->u8_l2sq(
			p->code, hnsw_code(p->h, fresh[i]), dim);

		if (dist < walk_bound(w))
			take(w, (struct hit){dist, fresh[i]});
	}
}

static void evaluate_any(struct walk *w, uint32_t n)
{
	const struct hnsw *h = w->probe->h;
	const uint32_t *fresh = w->scratch->fresh;
	uint32_t ahead = w->probe->ahead;

	for (uint32_t i = 0; i < n && i < ahead; i++)
		hnsw_prefetch(h, fresh[i]);
	for (uint32_t i = 0; i < n; i++) {
		if (i + ahead < n)
			hnsw_prefetch(h, fresh[i + ahead]);
		float bound = walk_bound(w);
		float dist = probe_dist(w->probe, fresh[i], bound);

		if (dist < bound)
			take(w, (struct hit){dist, fresh[i]});
	}
}

void hnsw_evaluate(struct walk *w, uint32_t n)
{
	if (w->probe->code && atomic_load_explicit(&w->probe->h->n_uncoded,
				      memory_order_acquire) == 0)
		evaluate_codes(w, n);
	else
		evaluate_any(w, n);
}

/*
 * Algorithm 2, SEARCH-LAYER. C and W of the paper are one pool of ef; where
 * rows may be hidden the pool is wider and W is `found`.
 */
int hnsw_walk(struct walk *w, struct hit start)
{
	struct hit c;
	uint32_t n;

	assert(w->pool.n == 0 && w->pool.cap <= w->scratch->n_hits);
	assert(w->level == 0 || !w->is_picky); /* answers are on level 0 */
	hnsw_forget_seen(w->scratch);
	/* A start put since the scratch was sized is met by no list: gather. */
	if (start.slot < w->scratch->n_seen)
		w->scratch->seen[start.slot] = w->scratch->epoch;
	/* The start must enter, whatever became of its distance. */
	if (!(start.dist < INFINITY))
		start.dist = 0x1.fffffep127f;
	take(w, start);
	/*
	 * Ends: each round marks one candidate expanded, and no row enters
	 * the pool twice, as it is seen by then.
	 */
	while (pool_find_next(&w->pool, &c)) {
		/* What follows is farther than the worst answer. */
		if (w->is_picky && c.dist > pool_bound(&w->found))
			break;
		if (w->cancel &&
			atomic_load_explicit(w->cancel, memory_order_relaxed))
			return -EINTR;
		n = gather(w, c.slot);
		hnsw_evaluate(w, n);
		if (w->pool.next < w->pool.n)
			hnsw_prefetch_links(w->probe->h,
				w->pool.hits[w->pool.next].slot & LINK_SLOT);
	}
	return 0;
}

/* ---- the answer ---- */

/*
 * Up to which fast distance a candidate could stand with, or before, the k-th
 * of the exact order, whose fast distance is kth: twice the kernels' error,
 * and one rounding to float of what is told.
 */
static float margin(const struct probe *p, float kth)
{
	const struct hnsw *h = p->h;
	double error = dist_fast_error(h->config.dim), limit = kth;

	/* A wild row put while this walk ran may lie infinitely near. */
	if (p->is_wild || isinf(kth) || (p->has_quant && !h->quant.is_whole))
		return kth;
	switch (h->config.metric) {
	case VG_L2:
	case VG_L1:
		limit = kth * (1 + 3 * error + 0x1p-21);
		break;
	case VG_COSINE:
		limit = kth + 2 * error + 0x1p-20;
		break;
	case VG_IP: {
		uint32_t bits =
			atomic_load_explicit(&h->longest, memory_order_relaxed);
		float longest;

		memcpy(&longest, &bits, sizeof(longest));
		limit = kth + 2 * error * sqrt(p->exact.norm2) * longest +
			fabs((double)kth) * 0x1p-21;
		break;
	}
	case VG_HAMMING:
		break; /* exact */
	}
	assert(limit >= (double)kth);
	return (float)limit;
}

/* The exact distance: whole numbers' codes say it, else the row does. */
static float finish_dist(const struct probe *p, uint32_t slot)
{
	const struct hnsw *h = p->h;

	if (p->code && h->quant.is_whole && hnsw_has_code(h, slot))
		return (float)sqrt((double)p->kernels->u8_l2sq(p->code,
			hnsw_code(h, slot), h->config.dim));
	return dist_query_exact(&p->exact, hnsw_row(h, slot));
}

static bool is_rough(const struct probe *p)
{
	return p->has_quant && !p->h->quant.is_whole;
}

/* How many candidates are to be compared: the first k and their margin. */
static uint32_t count_near(
	const struct probe *p, const struct pool *found, uint32_t k)
{
	uint32_t n = VG_MIN(k, found->n);
	float limit;

	if (n == 0)
		return 0;
	limit = margin(p, found->hits[n - 1].dist);
	if (is_rough(p))
		n = VG_MIN(VG_MAX(hnsw_scan_room(k), found->cap / RERANK_PART),
			found->n);
	while (n < found->n && found->hits[n].dist <= limit)
		n++;
	return VG_MIN(n, VG_MAX(k, found->cap));
}

/* Those that may be answered, to the front; returns how many. */
static uint32_t keep_visible(
	const struct hnsw_query *q, struct hit *hits, uint32_t n)
{
	uint32_t kept = 0;

	if (q->look_ahead)
		q->look_ahead(q->ctx, hits, n);
	for (uint32_t i = 0; i < n; i++)
		if (q->is_visible(q->ctx, hits[i].slot))
			hits[kept++] = hits[i];
	return kept;
}

/*
 * Those that may be answered and that q->fetch keeps of them, in front of
 * found; the others leave it. Who may is asked here where n_hidden is given,
 * which counts the others: of a candidate that is farther than what is answered
 * it does not matter.
 */
static uint32_t choose_near(const struct probe *p, const struct hnsw_query *q,
	struct pool *found, uint32_t *n_hidden)
{
	const struct hnsw *h = p->h;
	bool by_row = !p->code || !h->quant.is_whole ||
		      atomic_load_explicit(
			      &h->n_uncoded, memory_order_acquire) > 0;
	uint32_t n, done = 0;

	/* Ends: each turn gives candidates away, and none twice. */
	while ((n = count_near(p, found, q->k)) > done) {
		struct hit *hits = found->hits + done;
		uint32_t asked = n - done, kept = asked;

		for (uint32_t i = 0; i < asked; i++)
			hits[i].slot &= LINK_SLOT;
		if (n_hidden) {
			kept = keep_visible(q, hits, asked);
			*n_hidden += asked - kept;
		}
		if (q->fetch && kept > 0)
			kept = q->fetch(q->ctx, hits, kept, by_row);
		assert(kept <= asked);
		if (kept < asked)
			memmove(hits + kept, hits + asked,
				(found->n - n) * sizeof(*hits));
		found->n -= asked - kept;
		done += kept;
	}
	return done;
}

/* The first k candidates and all in their margin, with exact distances. */
uint32_t hnsw_finish(const struct probe *p, const struct hnsw_query *q,
	struct pool *found, uint32_t *n_hidden, struct hit *out)
{
	uint32_t n = choose_near(p, q, found, n_hidden);
	struct topk top;

	for (uint32_t i = 0; is_rough(p) && i < n; i++)
		hnsw_prefetch_row(p->h, found->hits[i].slot);
	topk_init(&top, out, n, NULL, NULL);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = found->hits[i].slot;

		topk_put(&top, (struct hit){finish_dist(p, slot), slot});
	}
	topk_sort(&top);
	assert(top.n == n);
	return n;
}

/* Room of the pool of a walk that asks at its end who is visible. */
static uint32_t late_pool(const struct hnsw_query *q, uint32_t ef)
{
	float more = 2 * q->hidden * (float)ef;

	return q->is_visible && !q->among && q->hidden > 0 ? ef + 1 + (uint32_t)more : ef;
}

/* How a walk goes about rows that are not to be answered. */
enum mode {
	MODE_LATE, /* who is visible is asked when it is over */
	MODE_EACH, /* each is asked about that would enter the answer */
	MODE_OVER, /* over all rows; bits say in the walk who is wanted... */
	MODE_HOP,  /* ...or from wanted to wanted; who is visible is asked late */
};

static enum mode choose_mode(const struct hnsw *h, const struct hnsw_query *q)
{
	if (q->among)
		return (uint64_t)q->among->n * HOP_SHARE < hnsw_count(h)
			       ? MODE_HOP
			       : MODE_OVER;
	return !q->is_visible || q->hidden <= LATE_HIDDEN ? MODE_LATE
							  : MODE_EACH;
}

/* One walk from the entry. */
static int search(struct walk *w, const struct hnsw_query *q, uint32_t ef,
	uint64_t entry, enum mode mode)
{
	struct hnsw_scratch *s = w->scratch;
	struct hit at = {.slot = (uint32_t)entry};
	uint32_t top = (uint32_t)(entry >> 32);

	w->is_picky = mode == MODE_EACH || mode == MODE_OVER;
	w->is_near = mode == MODE_LATE && hnsw_has_near(w->probe->h) &&
		     !w->probe->is_wild;
	w->is_visible = q->is_visible;
	w->among = mode == MODE_OVER ? q->among : NULL;
	pool_init(&w->pool, s->hits,
		w->is_picky ? wide_pool(ef) : late_pool(q, ef));
	pool_init(&w->found, s->found,
		w->is_near ? late_pool(q, ef) : ef);
	at.dist = probe_dist(w->probe, at.slot, INFINITY);
	if (isnan(at.dist)) /* damaged: every other row is nearer */
		at.dist = INFINITY;
	/* Level 1 is left out: there each step waits for the one before, and
	 * the walk, which has several under way, finds from where level 2 ends
	 * just as well. */
	hnsw_descend(w->probe, &at, top, VG_MIN(top, 1));
	if (w->is_near)
		return hnsw_walk_near(w, at);
	return mode == MODE_HOP ? hnsw_walk_among(w, q->among, at)
				: hnsw_walk(w, at);
}

/*
 * The answer of what the walk kept. *is_short: so many of it are hidden that the
 * walk may have seen too little (more than were foretold, of those that were
 * asked), or that fewer than k are left of a full pool, or that they are a crowd
 * of equal rows which kept another one out.
 */
static uint32_t finish(struct walk *w, const struct hnsw_query *q, uint32_t ef,
	enum mode mode, struct hit *out, bool *is_short)
{
	struct pool *found =
		w->is_picky || w->is_near ? &w->found : &w->pool;
	bool is_late = q->is_visible && mode != MODE_EACH;
	uint32_t all = found->n, more = found->cap - VG_MIN(ef, found->cap);
	uint32_t n_hidden = 0, n, room;
	bool is_full = all == found->cap;

	found->cap = VG_MIN(found->cap, ef);
	n = hnsw_finish(w->probe, q, found, is_late ? &n_hidden : NULL, out);
	if (q->n_kept)
		*q->n_kept = VG_MIN(found->n, ef);
	room = 1 + ef / LATE_PART;
	if (all > 0)
		room += (uint32_t)((uint64_t)more * (n + n_hidden) / all);
	*is_short = n_hidden > VG_MIN(room, w->twin_max - 1) ||
		    (n_hidden > 0 && is_full && n < q->k);
	return n;
}

int hnsw_search(const struct hnsw *h, const struct hnsw_query *q,
	struct hnsw_scratch *s, struct hit *out, uint32_t *n)
{
	uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
	uint32_t ef = VG_MAX(q->k, VG_MIN(q->ef, VG_EF_MAX));
	enum mode mode = choose_mode(h, q);
	bool is_short = false;
	struct probe probe;
	int rc;

	assert(!q->among || q->is_visible);
	if (q->k == 0 || q->k > VG_EF_MAX)
		return -EINVAL;
	if (entry == ENTRY_NONE) {
		*n = 0;
		if (q->n_kept)
			*q->n_kept = 0;
		return 0;
	}
	rc = hnsw_scratch_reserve(s, h, ef);
	if (rc < 0)
		return rc;
	probe_init(&probe, h, q->vec, h->code_len > 0 ? s->code : NULL);
	struct walk w = {
		.probe = &probe,
		.scratch = s,
		.twin_max = VG_MAX(q->k, ef / 4),
		.ctx = q->ctx,
		.cancel = q->cancel,
	};

	rc = search(&w, q, ef, entry, mode);
	if (rc == 0)
		*n = finish(&w, q, ef, mode, out, &is_short);
	if (rc == 0 && is_short) {
		rc = search(&w, q, ef, entry, MODE_EACH);
		if (rc == 0)
			*n = finish(&w, q, ef, MODE_EACH, out, &is_short);
	}
	return rc;
}
