/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_link.c: lists of nodes: which links they keep, and the tree in them. */
#include <math.h>

#include "index/hnsw_int.h"

#define ALPHA_SQUARED 1.1f /* of squared distances: is_covered */
#define ALPHA 1.0488f	   /* of others: its root */
#define RELIST_AHEAD 3u

/* Never by a look whether the bit is set: the look could come before the write
 * is seen, and a saver who takes the bit and copies in between would miss the
 * write. */
void hnsw_mark(struct hnsw *h, uint32_t slot)
{
	atomic_fetch_or_explicit(hnsw_dirty(h, slot), 1ull << slot % 64,
		memory_order_release);
}

static float alpha_of(enum vg_metric metric)
{
	switch (metric) {
	case VG_L2:
	case VG_COSINE: /* half the squared distance of rows of length 1 */
		return ALPHA_SQUARED;
	case VG_IP:
		return 1;
	default:
		return ALPHA;
	}
}

/*
 * Whether candidate c needs no link of its own as `chosen` has one: it is
 * nearer to that than to the base, or it is equal to it. (Not: as near to
 * that as to the base. One equal to the base would then cover all others.)
 */
static bool is_covered(const struct probe *p, struct hit c, struct hit chosen)
{
	uint32_t a = c.slot & LINK_SLOT, b = chosen.slot & LINK_SLOT;
	float alpha = alpha_of(p->h->config.metric);

	return alpha * probe_pair(p, a, b, c.dist / alpha) < c.dist ||
	       (c.dist == chosen.dist && hnsw_is_equal(p->h, a, b));
}

/* Moves candidate `from` to `to`; those between move on. */
static void move_up(struct hit *c, uint32_t from, uint32_t to)
{
	struct hit hit = c[from];

	memmove(c + to + 1, c + to, (from - to) * sizeof(*c));
	c[to] = hit;
}

uint32_t hnsw_choose(const struct probe *p, struct hit *c, uint32_t n,
	uint32_t max)
{
	uint32_t chosen = 0, marked = 0;

	for (uint32_t i = 0; i < n; i++)
		marked += (c[i].slot & LINK_TREE) != 0;
	assert(marked <= max);
	for (uint32_t i = 0; i < n && chosen < max; i++) {
		bool is_marked = (c[i].slot & LINK_TREE) != 0;
		bool is_chosen = is_marked || chosen + marked < max;

		for (uint32_t j = 0; is_chosen && !is_marked && j < chosen; j++)
			is_chosen = !is_covered(p, c[i], c[j]);
		if (is_chosen) {
			marked -= is_marked;
			move_up(c, i, chosen++);
		}
	}
	assert(marked == 0);
	assert(chosen <= max);
	return chosen;
}

/* The few candidates of one list, by distance. */
static void sort_hits(struct hit *c, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct hit hit = c[i];
		uint32_t j = i;

		for (; j > 0 && c[j - 1].dist > hit.dist; j--)
			c[j] = c[j - 1];
		c[j] = hit;
	}
}

/* Algorithm 4 for what is added to the first n_keep. */
static uint32_t choose_more(const struct probe *p, const struct hnsw_list *l)
{
	struct hit *c = l->hits;
	uint32_t chosen = l->n_keep;

	for (uint32_t i = l->n_keep; i < l->n && chosen < l->max; i++) {
		bool is_chosen = true;

		for (uint32_t j = 0; is_chosen && j < chosen; j++)
			is_chosen = !is_covered(p, c[i], c[j]);
		if (is_chosen)
			move_up(c, i, chosen++);
	}
	return chosen;
}

bool hnsw_relist(struct hnsw *h, const struct probe *p, struct hnsw_list *l)
{
	hnsw_link *links = hnsw_links(h, l->slot, l->level);
	uint32_t cap = hnsw_list_cap(h, l->level), n;
	struct hit *c = l->hits;
	bool is_new = false;

	assert(l->max <= cap);
	for (uint32_t i = 0; i < RELIST_AHEAD && i < l->n; i++)
		hnsw_prefetch(h, c[i].slot & LINK_SLOT);
	for (uint32_t i = 0; i < l->n; i++) {
		if (i + RELIST_AHEAD < l->n)
			hnsw_prefetch(h, c[i + RELIST_AHEAD].slot & LINK_SLOT);
		c[i].dist = probe_pair(
			p, l->slot, c[i].slot & LINK_SLOT, INFINITY);
		if (isnan(c[i].dist)) /* damaged: the last to be chosen */
			c[i].dist = INFINITY;
	}
	sort_hits(c + l->n_keep, l->n - l->n_keep);
	n = l->n_keep > 0 ? choose_more(p, l) : hnsw_choose(p, c, l->n, l->max);
	if (l->level == 0 && hnsw_has_near(h))
		return hnsw_near_relist(h, p, l, n);
	for (uint32_t i = 0; i < cap; i++) {
		uint32_t to = i < n ? c[i].slot : LINK_END;

		if (to == hnsw_link_get(links, i))
			continue;
		hnsw_link_set(links, i, to);
		is_new = true;
	}
	return is_new;
}

/* Chooses anew from a full list and one more link, but not from what is
 * deleted. */
static bool prune_locked(struct hnsw *h, const struct probe *p, uint32_t slot,
	uint32_t level, uint32_t link)
{
	struct hit c[2 * VG_M_MAX + 1];
	hnsw_link *links = hnsw_links(h, slot, level);
	uint32_t cap = hnsw_list_cap(h, level);
	struct hnsw_list l = {
		.hits = c, .max = cap, .slot = slot, .level = level};

	for (uint32_t i = 0; i < cap; i++) {
		c[l.n].slot = hnsw_link_get(links, i);
		l.n += (c[l.n].slot & LINK_TREE) != 0 ||
		       !hnsw_is_dead(h, c[l.n].slot);
	}
	c[l.n++].slot = link;
	return hnsw_relist(h, p, &l);
}

/* Writes a link that is to stay. */
static void set_link(struct hnsw *h, const struct probe *p,
	const struct hnsw_list *l, uint32_t i, uint32_t link)
{
	struct near_link at = {l->slot, i, true};

	if (l->level == 0 && hnsw_has_near(h))
		hnsw_near_put(h, p, &at, link);
	else
		hnsw_link_set(hnsw_links(h, l->slot, l->level), i, link);
}

bool hnsw_link_back(struct hnsw *h, const struct probe *p, uint32_t slot,
	uint32_t level, uint32_t link)
{
	hnsw_link *links = hnsw_links(h, slot, level);
	uint32_t cap = hnsw_list_cap(h, level), n = 0, marked = 0;
	uint32_t same = cap; /* where the link is already, unmarked */
	struct hnsw_list l = {.slot = slot, .level = level};
	bool is_done = true, is_new = true;

	assert(slot != (link & LINK_SLOT));
	pthread_mutex_lock(hnsw_stripe(h, slot));
	for (; n < cap; n++) {
		uint32_t have = hnsw_link_get(links, n);

		if (have == LINK_END)
			break;
		marked += (have & LINK_TREE) != 0;
		if ((have & LINK_SLOT) == (link & LINK_SLOT))
			same = n;
	}
	if ((link & LINK_TREE) != 0 && marked >= h->tree_max)
		is_done = is_new = false;
	else if (same < cap)
		set_link(h, p, &l, same, hnsw_link_get(links, same) | link);
	else if (n < cap || (level == 0 && hnsw_has_near(h) &&
				    (n = hnsw_near_spare(p, slot)) < cap))
		set_link(h, p, &l, n, link);
	else
		is_new = prune_locked(h, p, slot, level, link);
	pthread_mutex_unlock(hnsw_stripe(h, slot));
	if (is_new)
		hnsw_mark(h, slot);
	return is_done;
}

uint32_t hnsw_tree_child(const struct hnsw *h, uint32_t slot, uint32_t from,
	uint32_t spread)
{
	hnsw_link *links = hnsw_links(h, slot, 0);
	uint32_t child[2 * VG_M_MAX], n = 0;

	for (uint32_t i = 0; i < 2 * h->config.m; i++) {
		uint32_t link = hnsw_link_get(links, i);

		if (link == LINK_END)
			break;
		if ((link & LINK_TREE) != 0 && (link & LINK_SLOT) != from)
			child[n++] = link & LINK_SLOT;
	}
	return n > 0 ? child[(spread >> 16) % n] : LINK_END;
}

