/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_among.c: searches among some of the rows: from one to the next, or all. */
#include <errno.h>
#include <math.h>

#include "index/hnsw_int.h"

#define SEEDS 64u /* wanted rows from all over that a walk begins with */
#define APPROACH_PART 4u /* of ef: candidates of the way to the query... */
#define APPROACH_MIN 6u	 /* ...but so many at least... */
#define APPROACH_MAX 64u /* ...and at most */
#define FAR 4u /* so much rarer than elsewhere wanted rows are near the query */
#define FAR_SCAN 8192u /* so few are each looked at then */
#define SCAN_BLOCK 16u /* rows that are fetched at once */
#define LIST_MORE 64u /* room of a shortlist beside twice what it is to keep */

/* Whether slot was not met in this walk; it is now. */
static bool meet(struct hnsw_scratch *s, uint32_t slot)
{
	if (slot >= s->n_seen || s->seen[slot] == s->epoch)
		return false;
	s->seen[slot] = s->epoch;
	return true;
}

/* ---- a look at each ---- */

/* Some wanted rows, and where their codes lie. */
struct some {
	const uint32_t *slots;
	const uint8_t *codes[SCAN_BLOCK]; /* NULL: it has none */
	uint32_t n;
	bool is_coded; /* all are */
};

/* The next of them, whose codes or rows are on their way from here on. */
static void locate(const struct probe *p, const struct among *a, uint32_t from,
	struct some *some)
{
	const struct hnsw *h = p->h;

	some->slots = a->slots + from;
	some->n = VG_MIN(a->n - from, SCAN_BLOCK);
	some->is_coded = true;
	for (uint32_t i = 0; i < some->n; i++) {
		uint32_t slot = some->slots[i];

		some->codes[i] = p->code ? hnsw_find_code(h, slot) : NULL;
		if (some->codes[i]) {
			hnsw_prefetch_code(h, some->codes[i]);
		} else {
			some->is_coded = false;
			hnsw_prefetch_row(h, slot);
		}
	}
}

/* Those that have no code, or of a query that has none. */
static void measure_rows(
	const struct probe *p, const struct some *some, float *dist)
{
	for (uint32_t i = 0; i < some->n; i++) {
		if (some->codes[i])
			p->kernels->u8_l2sq_each(p->code, &some->codes[i], 1,
				p->h->config.dim, &dist[i]);
		else if (hnsw_is_linked(p->h, some->slots[i]))
			dist[i] = probe_dist(p, some->slots[i], INFINITY);
		else
			dist[i] = INFINITY;
	}
}

static void measure(const struct walk *w, const struct some *some,
	struct shortlist *list)
{
	const struct probe *p = w->probe;
	float dist[SCAN_BLOCK];

	if (some->is_coded)
		p->kernels->u8_l2sq_each(p->code, some->codes, some->n,
			p->h->config.dim, dist);
	else
		measure_rows(p, some, dist);
	for (uint32_t i = 0; i < some->n; i++)
		if (dist[i] < list->bound &&
			(!w->is_visible ||
				w->is_visible(w->ctx, some->slots[i])))
			shortlist_put(list, (struct hit){dist[i], some->slots[i]});
}

/* The visible ones, into the pool. */
static int scan(struct walk *w, const struct among *a)
{
	struct hnsw_scratch *s = w->scratch;
	uint32_t room = VG_MIN(s->n_hits, 2 * w->pool.cap + LIST_MORE);
	struct shortlist list;
	struct some some[2];
	struct topk top;
	bool turn = false;

	assert(w->pool.n == 0);
	shortlist_init(&list, s->found, w->pool.cap, room);
	locate(w->probe, a, 0, &some[turn]);
	for (uint32_t at = 0; at < a->n; at += SCAN_BLOCK, turn = !turn) {
		locate(w->probe, a, VG_MIN(at + SCAN_BLOCK, a->n),
			&some[!turn]);
		measure(w, &some[turn], &list);
		if (w->cancel &&
			atomic_load_explicit(w->cancel, memory_order_relaxed))
			return -EINTR;
	}
	shortlist_cut(&list);
	topk_init(&top, w->pool.hits, w->pool.cap, NULL, NULL);
	for (uint32_t i = 0; i < list.n; i++)
		topk_put(&top, list.hits[i]);
	topk_sort(&top);
	w->pool.n = top.n;
	return 0;
}

int hnsw_scan(const struct hnsw *h, const struct hnsw_query *q,
	struct hnsw_scratch *s, struct hit *out, uint32_t *n)
{
	uint32_t cap = hnsw_scan_room(q->k);
	struct probe probe;
	int rc;

	if (q->k == 0 || q->k > VG_EF_MAX)
		return -EINVAL;
	rc = hnsw_scratch_reserve(s, h, cap);
	if (rc < 0)
		return rc;
	probe_init(&probe, h, q->vec, h->code_len > 0 ? s->code : NULL);
	struct walk w = {
		.probe = &probe,
		.scratch = s,
		.is_visible = q->is_visible,
		.ctx = q->ctx,
		.cancel = q->cancel,
	};

	pool_init(&w.pool, s->hits, cap);
	rc = scan(&w, q->among);
	if (rc == 0)
		*n = hnsw_finish(&probe, q, &w.pool, NULL, out);
	return rc;
}

/* ---- from one to the next ---- */

/*
 * Evaluates the wanted neighbours of a node, and those of its other neighbours:
 * among so few wanted rows the lists of those alone hang together in parts.
 */
static void expand(struct walk *w, const struct among *a, uint32_t slot)
{
	const struct hnsw *h = w->probe->h;
	struct hnsw_scratch *s = w->scratch;
	hnsw_link *links = hnsw_links(h, slot, 0);
	uint32_t cap = hnsw_list_cap(h, 0), others[2 * VG_M_MAX];
	uint32_t n = 0, n_others = 0;

	for (uint32_t i = 0; i < cap; i++) {
		uint32_t link = hnsw_link_get(links, i);

		if (link == LINK_END)
			break;
		link &= LINK_SLOT;
		if (!meet(s, link))
			continue;
		if (among_has(a, link)) {
			s->fresh[n++] = link;
			continue;
		}
		hnsw_prefetch_links(h, link);
		others[n_others++] = link;
	}
	for (uint32_t o = 0; o < n_others; o++) {
		links = hnsw_links(h, others[o], 0);
		if (n + cap > VG_ARRAY_LEN(s->fresh)) {
			hnsw_evaluate(w, n);
			n = 0;
		}
		for (uint32_t i = 0; i < cap; i++) {
			uint32_t link = hnsw_link_get(links, i);

			if (link == LINK_END)
				break;
			link &= LINK_SLOT;
			if (!among_has(a, link) || !meet(s, link))
				continue;
			s->fresh[n++] = link;
		}
	}
	hnsw_evaluate(w, n);
}

/* Some wanted rows, as far apart in slots as can be: where the wanted lie far
 * from the start, no way but this leads there. */
static void sow(struct walk *w, const struct among *a)
{
	struct hnsw_scratch *s = w->scratch;
	uint32_t n = 0, n_seeds = VG_MIN(a->n, SEEDS);

	static_assert(SEEDS <= VG_ARRAY_LEN(s->fresh), "they have room");
	for (uint32_t i = 0; i < n_seeds; i++) {
		uint32_t slot = a->slots[(uint64_t)i * a->n / n_seeds];

		if (hnsw_is_linked(w->probe->h, slot) && meet(s, slot))
			s->fresh[n++] = slot;
	}
	hnsw_evaluate(w, n);
}

/* How many rows near the query were met, and how many of them are wanted. */
struct near {
	uint32_t n, wanted;
};

/*
 * To where the query is, by way of all rows: a walk from wanted row to wanted
 * row ends beside it. The pool has the nearest then.
 */
static struct near approach(
	struct walk *w, const struct among *a, struct hit start)
{
	struct hnsw_scratch *s = w->scratch;
	uint32_t cap = hnsw_list_cap(w->probe->h, 0);
	struct near near = {0};
	struct hit c;

	hnsw_forget_seen(s);
	meet(s, start.slot);
	s->fresh[0] = start.slot;
	hnsw_evaluate(w, 1);
	/* Ends, as hnsw_walk does; too soon for a look whether it is to. */
	while (pool_find_next(&w->pool, &c)) {
		hnsw_link *links = hnsw_links(w->probe->h, c.slot, 0);
		uint32_t n = 0;

		for (uint32_t i = 0; i < cap; i++) {
			uint32_t link = hnsw_link_get(links, i);

			if (link == LINK_END)
				break;
			if (!meet(s, link & LINK_SLOT))
				continue;
			s->fresh[n++] = link & LINK_SLOT;
			near.wanted += among_has(a, link & LINK_SLOT);
		}
		near.n += n;
		hnsw_evaluate(w, n);
	}
	return near;
}

/* Whether what is wanted lies elsewhere than the query. */
static bool is_far(
	const struct hnsw *h, const struct among *a, struct near near)
{
	return (uint64_t)near.wanted * FAR * hnsw_count(h) <
	       (uint64_t)near.n * a->n;
}

/* From where the approach ended, and from all over. */
static void begin(struct walk *w, const struct among *a, const uint32_t *slots,
	uint32_t n)
{
	hnsw_forget_seen(w->scratch);
	for (uint32_t i = 0; i < n; i++) {
		if (!meet(w->scratch, slots[i]))
			continue;
		if (!among_has(a, slots[i])) {
			expand(w, a, slots[i]);
			continue;
		}
		w->scratch->fresh[0] = slots[i];
		hnsw_evaluate(w, 1);
	}
	sow(w, a);
}

/*
 * Where what is wanted lies elsewhere, a walk comes to its outer rows only, and
 * gets along them badly: few are each looked at, among many the pool is wider.
 */
int hnsw_walk_among(struct walk *w, const struct among *a, struct hit start)
{
	struct hit *hits = w->pool.hits;
	uint32_t ef = w->pool.cap, slots[APPROACH_MAX], n;
	struct near near;
	struct hit c;

	assert(w->pool.n == 0 && w->level == 0 && !w->is_picky);
	n = VG_MAX(APPROACH_MIN, VG_MIN(ef / APPROACH_PART, APPROACH_MAX));
	pool_init(&w->pool, hits, n);
	near = approach(w, a, start);
	n = w->pool.n;
	for (uint32_t i = 0; i < n; i++)
		slots[i] = hits[i].slot & LINK_SLOT;
	if (is_far(w->probe->h, a, near)) {
		pool_init(&w->pool, hits, ef);
		if (a->n <= FAR_SCAN)
			return scan(w, a);
		ef = VG_MIN(2 * ef, w->scratch->n_hits);
	}
	pool_init(&w->pool, hits, ef);
	begin(w, a, slots, n);
	/* Ends, as hnsw_walk does. */
	while (pool_find_next(&w->pool, &c)) {
		if (w->cancel &&
			atomic_load_explicit(w->cancel, memory_order_relaxed))
			return -EINTR;
		expand(w, a, c.slot);
	}
	return 0;
}
