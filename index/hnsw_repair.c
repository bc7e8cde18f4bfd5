/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_repair.c: deleted rows leave the graph, and their neighbours close up. */
#include <errno.h>
#include <stdlib.h>

#include "index/hnsw_int.h"

#define NEAR_MAX 512u /* candidates that the lists of deleted neighbours give */

struct repair {
	struct hnsw *h;
	struct hnsw_scratch *scratch;
	struct probe probe; /* of whatever row: for distances of pairs */
	bool is_last; /* links of the tree to deleted nodes are looked after */
	uint32_t slot; /* that is being mended */
	struct hit c[2 * VG_M_MAX + NEAR_MAX];
};

int hnsw_delete(struct hnsw *h, uint32_t slot)
{
	uint64_t bit = 1ull << slot % 64;

	if (!hnsw_is_linked(h, slot))
		return -ENOENT;
	if ((atomic_fetch_or_explicit(
		     hnsw_dead(h, slot), bit, memory_order_relaxed) &
		    bit) == 0)
		atomic_fetch_add_explicit(&h->n_dead, 1, memory_order_relaxed);
	return 0;
}

/* Room in the scratch, and what compares rows; one must be linked. */
static int repair_init(struct repair *r, struct hnsw *h, struct hnsw_scratch *s)
{
	uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
	int rc = hnsw_scratch_reserve(s, h, h->config.ef_construction);

	assert(entry != ENTRY_NONE);
	r->h = h;
	r->scratch = s;
	r->is_last = false;
	if (rc == 0)
		rc = hnsw_near_reserve(s, h);
	if (rc == 0)
		probe_init(&r->probe, h, hnsw_row(h, (uint32_t)entry),
			h->code_len > 0 ? s->code : NULL);
	r->probe.near = &s->near;
	return rc;
}

/* ---- lists ---- */

/* Whether a list has links to deleted nodes that are this pass's to mend. */
static bool is_torn(const struct repair *r, uint32_t slot, uint32_t level)
{
	hnsw_link *links = hnsw_links(r->h, slot, level);
	uint32_t cap = hnsw_list_cap(r->h, level);

	for (uint32_t i = 0; i < cap; i++) {
		uint32_t link = hnsw_link_get(links, i);

		if (link == LINK_END)
			break;
		if (!(r->is_last && (link & LINK_TREE) != 0) &&
			hnsw_is_dead(r->h, link & LINK_SLOT))
			return true;
	}
	return false;
}

/* Whether slot was not met since hnsw_forget_seen; it is now. */
static bool meet(struct hnsw_scratch *s, uint32_t slot)
{
	/* Put since the scratch was sized: one that is left out. */
	if (slot >= s->n_seen || s->seen[slot] == s->epoch)
		return false;
	s->seen[slot] = s->epoch;
	return true;
}

/* Living neighbours of a deleted node, as far as there is room. */
static void add_near(struct repair *r, struct hnsw_list *l, uint32_t dead)
{
	hnsw_link *links = hnsw_links(r->h, dead, l->level);
	uint32_t cap = hnsw_list_cap(r->h, l->level);

	for (uint32_t i = 0; i < cap && l->n < VG_ARRAY_LEN(r->c); i++) {
		uint32_t link = hnsw_link_get(links, i);

		if (link == LINK_END)
			break;
		link &= LINK_SLOT;
		if (!hnsw_is_dead(r->h, link) && meet(r->scratch, link))
			l->hits[l->n++].slot = link;
	}
}

/* Whether link i is no mere filling. */
static bool is_kept(const struct hnsw *h, const struct hnsw_list *l, uint32_t i)
{
	return l->level > 0 || !hnsw_has_near(h) ||
	       hnsw_near_is_chosen(h, l->slot, i);
}

/*
 * What the list may hold: its links but those to deleted nodes, and the living
 * neighbours of these. Marked links stay as they are. Returns how many there
 * are to choose from. The node's stripe is held.
 */
static uint32_t gather_list(struct repair *r, struct hnsw_list *l)
{
	hnsw_link *links = hnsw_links(r->h, l->slot, l->level);
	uint32_t cap = hnsw_list_cap(r->h, l->level), n_dead = 0;
	uint32_t dead[2 * VG_M_MAX], n_marked = 0, lost = 0;
	uint32_t spare[2 * VG_M_MAX], n_spare = 0;

	assert(l->n == 0);
	assert(cap <= VG_ARRAY_LEN(dead));
	hnsw_forget_seen(r->scratch);
	meet(r->scratch, l->slot);
	for (uint32_t i = 0; i < cap; i++) {
		uint32_t link = hnsw_link_get(links, i), to = link & LINK_SLOT;
		bool is_marked = (link & LINK_TREE) != 0;
		bool is_chosen = is_marked || is_kept(r->h, l, i);

		if (link == LINK_END)
			break;
		meet(r->scratch, to);
		if (hnsw_is_dead(r->h, to)) {
			dead[n_dead++] = to;
			n_marked += is_marked;
			lost += is_chosen;
		} else if (!is_chosen) {
			spare[n_spare++] = link;
			continue;
		}
		if (is_marked || !hnsw_is_dead(r->h, to))
			l->hits[l->n++].slot = link;
	}
	l->n_keep = l->n;
	l->max = VG_MIN(cap, l->n + lost + lost / 2 + 1);
	for (uint32_t i = 0; i < n_spare; i++)
		l->hits[l->n++].slot = spare[i];
	for (uint32_t i = 0; i < n_dead; i++)
		add_near(r, l, dead[i]);
	assert(n_marked <= l->n);
	return l->n - n_marked;
}

static bool is_alive(void *ctx, uint32_t slot)
{
	const struct repair *r = ctx;

	return slot != r->slot && !hnsw_is_dead(r->h, slot);
}

/* All around the node is gone: its neighbours are looked for as a new node's
 * are. */
static int relink(struct repair *r, uint32_t slot)
{
	struct hnsw *h = r->h;
	struct hnsw_list l = {.hits = r->c, .slot = slot};
	struct hit near[VG_M_MAX * 2];
	struct hnsw_query q = {
		.vec = hnsw_row(h, slot),
		.k = VG_MIN(h->config.m, VG_ARRAY_LEN(near)),
		.ef = VG_ARRAY_LEN(near),
		.is_visible = is_alive,
		.hidden = 1,
		.ctx = r,
	};
	hnsw_link *links = hnsw_links(h, slot, 0);
	uint32_t n;
	int rc = hnsw_search(h, &q, r->scratch, near, &n);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(hnsw_stripe(h, slot));
	gather_list(r, &l);
	for (uint32_t i = 0; i < n && l.n < VG_ARRAY_LEN(r->c); i++)
		if (meet(r->scratch, near[i].slot))
			l.hits[l.n++].slot = near[i].slot;
	l.max = hnsw_list_cap(h, 0);
	hnsw_relist(h, &r->probe, &l);
	pthread_mutex_unlock(hnsw_stripe(h, slot));
	hnsw_mark(h, slot);
	for (uint32_t i = 0; i < l.max; i++) {
		uint32_t link = hnsw_link_get(links, i);

		if (link == LINK_END)
			break;
		if ((link & LINK_TREE) == 0 && is_kept(h, &l, i))
			hnsw_link_back(h, &r->probe, link, 0, slot);
	}
	return 0;
}

static int mend_list(struct repair *r, uint32_t slot, uint32_t level)
{
	struct hnsw *h = r->h;
	struct hnsw_list l = {.hits = r->c, .slot = slot, .level = level};
	bool is_new = false, is_alone;

	if (!is_torn(r, slot, level))
		return 0;
	pthread_mutex_lock(hnsw_stripe(h, slot));
	is_alone = gather_list(r, &l) < h->config.m / 2 && level == 0;
	if (!is_alone)
		is_new = hnsw_relist(h, &r->probe, &l);
	pthread_mutex_unlock(hnsw_stripe(h, slot));
	if (is_new)
		hnsw_mark(h, slot);
	return is_alone ? relink(r, slot) : 0;
}

static int mend(struct repair *r, uint32_t slot)
{
	uint32_t top = hnsw_level(r->h, slot);
	int rc = 0;

	if (!hnsw_is_linked(r->h, slot) || hnsw_is_dead(r->h, slot))
		return 0;
	r->slot = slot;
	for (uint32_t level = 0; level <= top && rc == 0; level++)
		rc = mend_list(r, slot, level);
	return rc;
}

static bool has_dead(const struct hnsw *h)
{
	return atomic_load_explicit(&h->n_dead, memory_order_relaxed) > 0;
}

int hnsw_repair(struct hnsw *h, uint32_t from, uint32_t to,
	struct hnsw_scratch *s)
{
	uint32_t bound = atomic_load_explicit(&h->bound, memory_order_acquire);
	struct repair r;
	int rc;

	if (!has_dead(h))
		return 0;
	rc = repair_init(&r, h, s);
	for (uint32_t slot = from; slot < VG_MIN(to, bound) && rc == 0; slot++)
		rc = mend(&r, slot);
	return rc;
}

/* ---- the tree ---- */

/* Takes a link out; who reads the list meanwhile may miss another. */
static void drop_link(struct hnsw *h, uint32_t slot, uint32_t to)
{
	hnsw_link *links = hnsw_links(h, slot, 0);
	uint32_t cap = hnsw_list_cap(h, 0), i = 0;

	while (i < cap && (hnsw_link_get(links, i) & LINK_SLOT) != to)
		i++;
	if (hnsw_has_near(h) && i < cap)
		hnsw_near_drop(h, slot, i);
	for (; i < cap && !hnsw_has_near(h); i++)
		hnsw_link_set(links, i,
			i + 1 < cap ? hnsw_link_get(links, i + 1) : LINK_END);
	hnsw_mark(h, slot);
}

/* A place in the tree, where a walk away from its start stands. */
struct branch {
	uint32_t at, from;
};

static bool branch_go(const struct hnsw *h, struct branch *b, uint32_t spread)
{
	uint32_t child = hnsw_tree_child(h, b->at, b->from, spread);

	if (child == LINK_END)
		return false;
	b->from = b->at;
	b->at = child;
	return true;
}

/*
 * Joins two parts of the tree by a marked pair, at those nodes or, where these
 * have as many marks as may be, at the first that have room on a walk away from
 * them. It ends, as link_tree's does.
 */
static void join(struct repair *r, uint32_t slot_a, uint32_t slot_b)
{
	struct branch a = {slot_a, LINK_END}, b = {slot_b, LINK_END};
	uint32_t n = atomic_load_explicit(&r->h->claimed, memory_order_relaxed);
	uint32_t spread = slot_a;
	bool goes_on = true;

	while (goes_on && n-- > 0) {
		spread = spread * 2654435761u + 1; /* Knuth's */
		if (!hnsw_link_back(r->h, &r->probe, a.at, 0,
			    b.at | LINK_TREE)) {
			goes_on = branch_go(r->h, &a, spread);
			continue;
		}
		if (hnsw_link_back(
			    r->h, &r->probe, b.at, 0, a.at | LINK_TREE))
			return;
		drop_link(r->h, a.at, b.at);
		goes_on = branch_go(r->h, &b, spread);
	}
}

/*
 * Takes a deleted node, and deleted ones that it hangs together with, out of
 * the tree, and joins the parts that are left. stack has room for the max of
 * them, which is all; in a loaded graph whose marks are no tree some are met
 * twice.
 */
static void unhang(
	struct repair *r, uint32_t slot, uint32_t *stack, uint32_t max)
{
	uint32_t cap = hnsw_list_cap(r->h, 0), last = LINK_END, n = 0;

	stack[n++] = slot;
	while (n > 0) {
		uint32_t at = stack[--n];
		hnsw_link *links = hnsw_links(r->h, at, 0);

		for (uint32_t i = 0; i < cap; i++) {
			uint32_t link = hnsw_link_get(links, i);
			uint32_t to = link & LINK_SLOT;

			if (link == LINK_END)
				break;
			if ((link & LINK_TREE) == 0)
				continue;
			hnsw_link_set(links, i, to);
			drop_link(r->h, to, at);
			if (hnsw_is_dead(r->h, to)) {
				if (n < max)
					stack[n++] = to;
				continue;
			}
			if (last != LINK_END)
				join(r, last, to);
			last = to;
		}
	}
}

/* ---- the end of deleted nodes ---- */

/* The entry becomes the highest node that is not deleted; false: all are. */
static bool move_entry(struct hnsw *h)
{
	uint32_t bound = atomic_load_explicit(&h->bound, memory_order_acquire);
	uint64_t best = ENTRY_NONE;
	uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);

	if (!hnsw_is_dead(h, (uint32_t)entry))
		return true;
	for (uint32_t slot = 0; slot < bound; slot++) {
		uint32_t level = hnsw_level(h, slot);

		if (hnsw_is_linked(h, slot) && !hnsw_is_dead(h, slot) &&
			(best == ENTRY_NONE || level > best >> 32))
			best = (uint64_t)level << 32 | slot;
	}
	atomic_store_explicit(&h->entry, best, memory_order_release);
	return best != ENTRY_NONE;
}

static void forget_dead(struct hnsw *h)
{
	uint32_t bound = atomic_load_explicit(&h->bound, memory_order_acquire);

	for (uint32_t slot = 0; slot < bound; slot += 64) {
		uint64_t dead, coded;

		if (!hnsw_has_chunk(h, slot))
			continue;
		dead = atomic_exchange_explicit(
			hnsw_dead(h, slot), 0, memory_order_relaxed);
		coded = atomic_load_explicit(
			hnsw_coded(h, slot), memory_order_relaxed);
		atomic_fetch_and_explicit(
			hnsw_linked(h, slot), ~dead, memory_order_release);
		atomic_fetch_and_explicit(
			hnsw_dirty(h, slot), ~dead, memory_order_release);
		atomic_fetch_sub_explicit(&h->n_uncoded,
			(uint32_t)__builtin_popcountll(dead & ~coded),
			memory_order_release);
	}
}

int hnsw_purge(struct hnsw *h, struct hnsw_scratch *s)
{
	uint32_t bound = atomic_load_explicit(&h->bound, memory_order_acquire);
	uint32_t n = atomic_load_explicit(&h->n_dead, memory_order_relaxed);
	uint32_t *stack;
	struct repair r;
	int rc;

	if (n == 0)
		return 0;
	stack = malloc((size_t)n * sizeof(*stack));
	rc = stack ? repair_init(&r, h, s) : -ENOMEM;
	r.is_last = true;
	for (uint32_t slot = 0; slot < bound && rc == 0; slot++)
		rc = mend(&r, slot);
	if (rc < 0)
		goto free_stack;
	if (move_entry(h))
		for (uint32_t slot = 0; slot < bound; slot++)
			if (hnsw_is_linked(h, slot) && hnsw_is_dead(h, slot))
				unhang(&r, slot, stack, n);
	forget_dead(h);
	atomic_store_explicit(&h->n_dead, 0, memory_order_relaxed);
	atomic_fetch_sub_explicit(&h->linked, n, memory_order_relaxed);
	atomic_store_explicit(&h->next_save, SAVE_BASE, memory_order_relaxed);
free_stack:
	free(stack);
	return rc;
}
