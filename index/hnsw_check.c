/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_check.c: the invariants of hnsw.h, walked one by one; counts. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "index/hnsw_int.h"

/* Where a check stands. seen holds a stamp a slot; queue, slots to visit. */
struct check {
	const struct hnsw *h;
	uint32_t bound;
	uint32_t linked;
	uint64_t n_marked;
	uint32_t *seen;
	uint32_t *queue;
	uint8_t *code; /* of a row */
	struct hnsw_scratch *scratch; /* rows, rotated */
	const char *why;
};

static bool is_linked(const struct hnsw *h, uint32_t slot, uint32_t bound)
{
	return slot < bound && hnsw_is_linked(h, slot) &&
	       atomic_load_explicit(hnsw_place(h, slot),
		       memory_order_acquire) >= PLACE_BASE;
}

static int fail(struct check *c, const char *why)
{
	assert(why);
	c->why = why;
	return -VG_ECORRUPT;
}

static uint32_t link_at(hnsw_link *links, uint32_t i)
{
	return atomic_load_explicit(&links[i], memory_order_acquire);
}

/* Whether a's list on level 0 has a marked link to b. */
static bool has_marked(const struct hnsw *h, uint32_t a, uint32_t b)
{
	hnsw_link *links = hnsw_links(h, a, 0);

	for (uint32_t i = 0; i < 2 * h->config.m; i++)
		if (link_at(links, i) == (b | LINK_TREE))
			return true;
	return false;
}

/* I1 to I4 for one list; stamp differs from those of all other lists. */
static int check_list(struct check *c, uint32_t slot, uint32_t level,
	uint32_t stamp)
{
	const struct hnsw *h = c->h;
	hnsw_link *links = hnsw_links(h, slot, level);
	uint32_t cap = hnsw_list_cap(h, level), i = 0, marked = 0;

	assert(level <= HNSW_LEVEL_MAX);
	assert(stamp > 0); /* seen begins with zeros */
	for (; i < cap && link_at(links, i) != LINK_END; i++) {
		uint32_t link = link_at(links, i), to = link & LINK_SLOT;

		if (to == slot)
			return fail(c, "I1: a link names its own node");
		if (!is_linked(h, to, c->bound))
			return fail(c, "I2: a link names a slot not linked");
		if (hnsw_level(h, to) < level)
			return fail(c, "I2: a link leads above a node's level");
		if (c->seen[to] == stamp)
			return fail(c, "I1: a list names a node twice");
		c->seen[to] = stamp;
		if ((link & LINK_TREE) == 0)
			continue;
		marked++;
		if (level > 0)
			return fail(c, "I4: an upper link is marked");
		if (!has_marked(h, to, slot))
			return fail(c, "I4: a mark has no counterpart");
	}
	for (; i < cap; i++)
		if (link_at(links, i) != LINK_END)
			return fail(c, "I1: links follow the end of a list");
	if (marked > h->tree_max)
		return fail(c, "I4: a node has too many marked links");
	c->n_marked += marked;
	return 0;
}

static int check_code(struct check *c, uint32_t slot)
{
	const struct hnsw *h = c->h;
	float scale = h->config.metric == VG_COSINE ? *hnsw_term(h, slot) : 1;

	if (h->code_len == 0 || !hnsw_has_code(h, slot))
		return 0;
	if (atomic_load_explicit(&h->quant_state, memory_order_acquire) ==
			QUANT_NONE ||
		!quant_code_row(&h->quant, h->config.dtype, hnsw_row(h, slot),
			scale, h->config.dim, c->code) ||
		memcmp(c->code, hnsw_code(h, slot), h->config.dim) != 0)
		return fail(c, "I6: a code is not its row's");
	return 0;
}

static int check_near(struct check *c, uint32_t slot)
{
	const struct hnsw *h = c->h;
	hnsw_link *links = hnsw_links(h, slot, 0);
	struct probe p;

	if (!hnsw_has_near(h))
		return 0;
	probe_init(&p, h, hnsw_row(h, slot), NULL);
	p.near = &c->scratch->near;
	for (uint32_t i = 0; i < hnsw_list_cap(h, 0); i++) {
		uint32_t link = link_at(links, i);
		bool is_chosen = hnsw_near_is_chosen(h, slot, i);

		if (link == LINK_END && is_chosen)
			return fail(c, "I8: no link is chosen");
		if (link == LINK_END)
			continue;
		if ((link & LINK_TREE) != 0 && !is_chosen)
			return fail(c, "I8: a marked link is not chosen");
		if (!hnsw_near_is_right(&p, slot, i))
			return fail(c, "I8: a code of a neighbour is not its");
	}
	return 0;
}

static int check_term(struct check *c, uint32_t slot)
{
	const struct hnsw *h = c->h;
	struct probe p;

	if (h->config.metric != VG_COSINE)
		return 0;
	probe_init(&p, h, hnsw_row(h, slot), NULL);
	/* Equal bits: every set of kernels computes the same norm. */
	if (memcmp(&p.scale, hnsw_term(h, slot), sizeof(p.scale)) != 0)
		return fail(c, "I6: a term is not its row's inverse norm");
	return 0;
}

static int check_nodes(struct check *c)
{
	uint64_t entry =
		atomic_load_explicit(&c->h->entry, memory_order_acquire);
	uint32_t stamp = 0;
	int rc = 0;

	for (uint32_t slot = 0; slot < c->bound && rc == 0; slot++) {
		if (!is_linked(c->h, slot, c->bound))
			continue;
		c->linked++;
		uint32_t top = hnsw_level(c->h, slot);

		if (entry == ENTRY_NONE || top > entry >> 32)
			return fail(c, "I3: a level is above the entry's");
		for (uint32_t l = 0; l <= top && rc == 0; l++)
			rc = check_list(c, slot, l, ++stamp);
		if (rc == 0)
			rc = check_term(c, slot);
		if (rc == 0)
			rc = check_code(c, slot);
		if (rc == 0)
			rc = check_near(c, slot);
	}
	assert(rc < 0 || c->linked <= c->bound);
	return rc;
}

/* I3 and I5: a breadth-first walk along marked links only. */
static int check_tree(struct check *c)
{
	const struct hnsw *h = c->h;
	uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
	uint32_t head = 0, tail = 0;

	if (entry == ENTRY_NONE)
		return 0;
	if (!is_linked(h, (uint32_t)entry, c->bound) ||
		hnsw_level(h, (uint32_t)entry) != entry >> 32)
		return fail(c, "I3: the entry is not what it says");
	memset(c->seen, 0, c->bound * sizeof(*c->seen));
	c->seen[(uint32_t)entry] = 1;
	c->queue[tail++] = (uint32_t)entry;
	while (head < tail) {
		hnsw_link *links = hnsw_links(h, c->queue[head++], 0);

		for (uint32_t i = 0; i < 2 * h->config.m; i++) {
			uint32_t link = link_at(links, i);
			uint32_t to = link & LINK_SLOT;

			if (link == LINK_END)
				break;
			if ((link & LINK_TREE) == 0 || c->seen[to])
				continue;
			c->seen[to] = 1;
			c->queue[tail++] = to;
		}
	}
	assert(tail <= c->linked);
	if (tail < c->linked)
		return fail(c, "I5: the tree does not reach every node");
	if (c->n_marked != 2 * ((uint64_t)c->linked - 1))
		return fail(c, "I5: the marked links are no tree");
	return 0;
}

int hnsw_check(const struct hnsw *h, const char **why)
{
	struct check c = {.h = h};
	int rc = -ENOMEM;

	c.bound = atomic_load_explicit(&h->bound, memory_order_acquire);
	c.seen = calloc((size_t)c.bound + 1, sizeof(*c.seen));
	c.queue = calloc((size_t)c.bound + 1, sizeof(*c.queue));
	c.code = malloc(VG_MAX(h->code_len, 1u));
	if (!c.seen || !c.queue || !c.code)
		goto free_arrays;
	if (hnsw_has_near(h) && (hnsw_scratch_new(&c.scratch) < 0 ||
					hnsw_near_reserve(c.scratch, h) < 0))
		goto free_arrays;
	rc = check_nodes(&c);
	if (rc == 0)
		rc = check_tree(&c);
	if (rc == 0 && c.linked != atomic_load_explicit(&h->linked,
					   memory_order_relaxed))
		rc = fail(&c, "I7: the count of linked slots is wrong");
	if (rc == -VG_ECORRUPT)
		*why = c.why;
free_arrays:
	free(c.seen);
	free(c.queue);
	free(c.code);
	hnsw_scratch_free(c.scratch);
	return rc;
}

static uint32_t levels_of(const struct hnsw *h)
{
	uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);

	return entry == ENTRY_NONE ? 0 : (uint32_t)(entry >> 32) + 1;
}

void hnsw_stat(const struct hnsw *h, struct hnsw_stat *out)
{
	uint32_t bound = atomic_load_explicit(&h->bound, memory_order_acquire);
	struct hnsw_stat st = {.bytes = sizeof(*h)};

	st.linked = atomic_load_explicit(&h->linked, memory_order_relaxed);
	st.has_quant = atomic_load_explicit(&h->quant_state,
			       memory_order_acquire) == QUANT_ON;
	if (st.has_quant)
		st.quant = h->quant;
	st.levels = levels_of(h);
	for (uint32_t slot = 0; slot < bound; slot++) {
		if (!is_linked(h, slot, bound))
			continue;
		hnsw_link *links = hnsw_links(h, slot, 0);

		st.coded += h->code_len > 0 && hnsw_has_code(h, slot);
		for (uint32_t i = 0; i < 2 * h->config.m; i++) {
			if (link_at(links, i) == LINK_END)
				break;
			st.n_links++;
		}
		st.bytes +=
			h->node_len + sizeof(hnsw_link) +
			hnsw_level(h, slot) * h->config.m * sizeof(hnsw_link);
	}
	st.bytes += st.linked * 4ull / 8; /* four bits each */
	assert(st.n_links <= (uint64_t)bound * 2 * h->config.m);
	*out = st;
}

void hnsw_coding(const struct hnsw *h, struct hnsw_coding *out)
{
	uint32_t state =
		atomic_load_explicit(&h->quant_state, memory_order_acquire);
	uint32_t uncoded =
		atomic_load_explicit(&h->n_uncoded, memory_order_relaxed);
	uint32_t n_lists =
		atomic_load_explicit(&h->n_lists, memory_order_relaxed);
	uint32_t claimed =
		atomic_load_explicit(&h->claimed, memory_order_relaxed);
	uint32_t linked = hnsw_count(h);

	*out = (struct hnsw_coding){
		.has_room = h->code_len > 0,
		.is_chosen = state != QUANT_NONE,
		.has_near = hnsw_has_near(h),
		.is_left = state == QUANT_OFF,
		.is_wild = atomic_load_explicit(
			&h->is_wild, memory_order_relaxed),
		.levels = levels_of(h),
		.linked = linked,
		.coded = linked - VG_MIN(uncoded, linked),
		/* Those that were purged keep their nodes. */
		.bytes = claimed * ((size_t)h->node_len + sizeof(hnsw_link)) +
			 claimed * 4ull / 8 +
			 n_lists * (size_t)h->config.m * sizeof(hnsw_link),
	};
	if (out->is_chosen)
		out->quant = h->quant;
}
