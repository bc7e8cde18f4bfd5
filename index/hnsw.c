/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw.c: the life of a graph, and how a slot is linked into it. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "index/hnsw_int.h"

#define HUGE_PAGE (2u << 20)
#define CHUNK_NODES 16384u /* at least: bounds the table of chunks */
#define GOLDEN 0x9e3779b97f4a7c15u
#define DRAWS (1ull << 53)
#define FORWARD_PART 2 /* links of a new node on level 0: m and such a part */

static_assert(HNSW_SLOT_MAX == LINK_SLOT, "~0 and the mark are no slots");
static_assert(HNSW_SLOT_MAX < UINT32_MAX - PLACE_BASE, "a place fits a u32");
static_assert(CHUNK_NODES % (HUGE_PAGE / CACHE_LINE / 2) == 0,
	"a chunk of lines is whole huge pages, or twice as many are");

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; others say EINVAL, which is fine */
#endif

/* ---- memory ---- */

/* Nodes (a multiple of huge pages), then a place and four bits for each. */
static size_t chunk_len(const struct hnsw *h)
{
	size_t places = sizeof(hnsw_link) << h->shift;

	return ((size_t)h->node_len << h->shift) + places +
	       4 * ((size_t)1 << h->shift) / 8;
}

/*
 * Sets the node's measures. A chunk holds so many nodes that they fill whole
 * huge pages, so that none lies across two kinds of pages.
 */
static void plan_layout(struct hnsw *h)
{
	const struct hnsw_config *c = &h->config;
	uint32_t term_len = c->metric == VG_COSINE ? sizeof(float) : 0;
	uint32_t code_len = c->codes != HNSW_CODES_NONE &&
					    hnsw_can_code(c->dtype, c->metric) ?
				    VG_ALIGN_UP(c->dim, 4u) :
				    0;
	uint32_t len = code_len + term_len +
		       2 * c->m * (uint32_t)sizeof(hnsw_link);
	uint32_t nodes;

	h->code_len = code_len;
	h->links_at = code_len + term_len;
	len = hnsw_near_plan(h, len);
	h->record_len = len;
	h->node_len = VG_ALIGN_UP(len, CACHE_LINE);
	nodes = VG_MAX(CHUNK_NODES,
		HUGE_PAGE / (h->node_len & (0u - h->node_len)));
	h->shift = (uint32_t)__builtin_ctz(nodes);
	h->n_chunks = (HNSW_SLOT_MAX >> h->shift) + 1;
	h->huge_at = HUGE_PAGE / 2 / h->node_len;
	h->tree_max = VG_MAX(3, c->m / 2);
	h->level_share[0] = DRAWS;
	for (uint32_t l = 1; l <= HNSW_LEVEL_MAX; l++)
		h->level_share[l] = h->level_share[l - 1] / c->m;
	assert((1u << h->shift) == nodes);
	assert(((size_t)h->node_len << h->shift) % HUGE_PAGE == 0);
}

/* Zeroed pages that cost nothing until touched. NULL: no memory. */
static void *map_pages(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The same, beginning with a huge page; what is around it is given back. */
static char *map_aligned(size_t len)
{
	char *p = map_pages(len + HUGE_PAGE);
	size_t skip, behind;

	if (!p)
		return NULL;
	skip = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
	behind = HUGE_PAGE - skip;
	if (skip > 0)
		munmap(p, skip);
	if (behind > 0)
		munmap(p + skip + len, behind);
	return p + skip;
}

bool hnsw_can_code(enum vg_dtype dtype, enum vg_metric metric)
{
	return (dtype == VG_F32 || dtype == VG_F16) &&
	       (metric == VG_L2 || metric == VG_COSINE);
}

int hnsw_new(const struct hnsw_config *config, const struct rows *rows,
	struct hnsw **out)
{
	enum vg_dtype dtype = config->dtype ? config->dtype : VG_F32;
	struct hnsw *h;

	if (config->dim < 1 || config->dim > VG_DIM_MAX || config->m < 2 ||
		config->m > VG_M_MAX || config->ef_construction < 1 ||
		config->ef_construction > VG_EF_MAX)
		return -EINVAL;
	if (!dist_has((enum dist_form)dtype, config->metric))
		return -EINVAL;
	assert(rows->stride == vg_row_len(dtype, config->dim));
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->config = *config;
	h->config.dtype = dtype;
	h->rows = rows;
	plan_layout(h);
	if (hnsw_near_init(h) < 0)
		goto free_graph;
	h->chunk = map_pages(h->n_chunks * sizeof(*h->chunk));
	if (!h->chunk)
		goto free_graph;
	atomic_init(&h->entry, ENTRY_NONE);
	pthread_mutex_init(&h->grow, NULL);
	pthread_mutex_init(&h->entry_lock, NULL);
	pthread_mutex_init(&h->train, NULL);
	for (uint32_t i = 0; i < N_STRIPES; i++)
		pthread_mutex_init(&h->stripe[i], NULL);
	*out = h;
	return 0;
free_graph:
	hnsw_near_fini(h);
	free(h);
	return -ENOMEM;
}

void hnsw_free(struct hnsw *h)
{
	uint32_t bound;

	if (!h)
		return;
	bound = atomic_load_explicit(&h->bound, memory_order_relaxed);
	for (uint32_t i = 0; bound > 0 && i <= (bound - 1) >> h->shift; i++) {
		char *chunk = atomic_load_explicit(&h->chunk[i],
			memory_order_relaxed);

		if (chunk)
			munmap(chunk, chunk_len(h));
	}
	for (uint32_t i = 0; i < N_BLOCKS; i++)
		free((void *)atomic_load_explicit(&h->block[i],
			memory_order_relaxed));
	for (uint32_t i = 0; i < N_STRIPES; i++)
		pthread_mutex_destroy(&h->stripe[i]);
	pthread_mutex_destroy(&h->grow);
	pthread_mutex_destroy(&h->entry_lock);
	pthread_mutex_destroy(&h->train);
	munmap(h->chunk, h->n_chunks * sizeof(*h->chunk));
	hnsw_near_fini(h);
	free(h);
}

uint32_t hnsw_level(const struct hnsw *h, uint32_t slot)
{
	uint64_t x = h->config.seed + (slot + 1) * GOLDEN;
	uint32_t level = 0;

	/* splitmix64: Steele, Lea and Flood, OOPSLA 2014. */
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	x ^= x >> 31;
	/* Whole numbers, as a file relies on them on every machine. */
	while (level < HNSW_LEVEL_MAX && x >> 11 < h->level_share[level + 1])
		level++;
	return level;
}

void hnsw_raise(_Atomic uint32_t *value, uint32_t to)
{
	uint32_t now = atomic_load_explicit(value, memory_order_relaxed);

	while (now < to &&
		!atomic_compare_exchange_weak_explicit(value, &now, to,
			memory_order_relaxed, memory_order_relaxed))
		;
}

int hnsw_add_chunk(struct hnsw *h, uint32_t slot)
{
	_Atomic(char *) *at = &h->chunk[slot >> h->shift];
	int rc = 0;

	if (atomic_load_explicit(at, memory_order_acquire))
		return 0;
	pthread_mutex_lock(&h->grow);
	if (!atomic_load_explicit(at, memory_order_relaxed)) {
		char *chunk = map_aligned(chunk_len(h));

		if (!chunk)
			rc = -ENOMEM;
		else if (atomic_load_explicit(&h->claimed,
				 memory_order_relaxed) >= h->huge_at)
			madvise(chunk, chunk_len(h), MADV_HUGEPAGE);
		if (chunk) {
			/* hnsw_free finds chunks by bound. */
			hnsw_raise(&h->bound,
				((slot >> h->shift) << h->shift) + 1);
			atomic_store_explicit(at, chunk, memory_order_release);
		}
	}
	pthread_mutex_unlock(&h->grow);
	return rc;
}

void hnsw_use_huge(struct hnsw *h)
{
	pthread_mutex_lock(&h->grow);
	for (uint32_t i = 0; i < 2 && i < h->n_chunks; i++) {
		char *chunk = atomic_load_explicit(&h->chunk[i],
			memory_order_relaxed);

		if (chunk) {
			madvise(chunk, chunk_len(h), MADV_HUGEPAGE);
			madvise(chunk, HUGE_PAGE, MADV_COLLAPSE);
		}
	}
	pthread_mutex_unlock(&h->grow);
}

int hnsw_add_lists(struct hnsw *h, uint32_t n, uint32_t *first)
{
	uint32_t i, b, end;
	int rc = -ENOMEM;

	assert(n >= 1 && n <= HNSW_LEVEL_MAX);
	pthread_mutex_lock(&h->grow);
	i = atomic_load_explicit(&h->n_lists, memory_order_relaxed);
	b = 31 - (uint32_t)__builtin_clz(i / LISTS_FIRST + 1);
	end = LISTS_FIRST * ((2u << b) - 1);
	if (i + n > end) { /* they would lie across two blocks */
		i = end;
		b++;
	}
	if (b >= N_BLOCKS)
		goto unlock_grow;
	if (!atomic_load_explicit(&h->block[b], memory_order_relaxed)) {
		size_t lists = (size_t)LISTS_FIRST << b;
		hnsw_link *block = calloc(lists, h->config.m * sizeof(*block));

		if (!block)
			goto unlock_grow;
		atomic_store_explicit(&h->block[b], block,
			memory_order_release);
	}
	atomic_store_explicit(&h->n_lists, i + n, memory_order_relaxed);
	*first = i;
	rc = 0;
unlock_grow:
	pthread_mutex_unlock(&h->grow);
	return rc;
}

/* Claims a slot: its node is this thread's until a link names it. */
static int add_node(struct hnsw *h, uint32_t slot, uint32_t level)
{
	uint32_t place = PLACE_FREE, first;
	int rc = hnsw_add_chunk(h, slot);

	if (rc < 0)
		return rc;
	if (!atomic_compare_exchange_strong_explicit(hnsw_place(h, slot),
		    &place, PLACE_BUSY, memory_order_acquire,
		    memory_order_relaxed))
		return -EEXIST;
	place = PLACE_BASE;
	if (level > 0) {
		rc = hnsw_add_lists(h, level, &first);
		if (rc == 0)
			place = PLACE_BASE + 1 + first;
		else
			place = PLACE_FREE;
	}
	atomic_store_explicit(hnsw_place(h, slot), place, memory_order_release);
	if (rc < 0)
		return rc;
	hnsw_raise(&h->bound, slot + 1);
	if (atomic_fetch_add_explicit(&h->claimed, 1, memory_order_relaxed) +
			1 ==
		h->huge_at)
		hnsw_use_huge(h);
	return 0;
}

bool hnsw_is_linked(const struct hnsw *h, uint32_t slot)
{
	uint64_t word;

	if (slot >= HNSW_SLOT_MAX ||
		!atomic_load_explicit(&h->chunk[slot >> h->shift],
			memory_order_acquire))
		return false;
	word = atomic_load_explicit(hnsw_linked(h, slot), memory_order_acquire);
	return (word >> slot % 64 & 1) != 0;
}

uint32_t hnsw_count(const struct hnsw *h)
{
	return atomic_load_explicit(&h->linked, memory_order_relaxed);
}

/* ---- linking ---- */

/* One put under way. */
struct put {
	struct hnsw *h;
	struct hnsw_scratch *scratch; /* plan: the new lists */
	uint32_t slot;
	uint32_t level; /* of slot */
	uint32_t top;	/* highest level on which it has neighbours */
	struct probe probe;
};

/* Writes a link of the new node, which no link names yet. */
static void set_link(const struct put *put, uint32_t i, uint32_t link)
{
	struct near_link l = {put->slot, i, i < put->scratch->n_plan[0] ||
						    (link & LINK_TREE) != 0};

	if (link == LINK_END)
		l.is_chosen = false;
	if (hnsw_has_near(put->h))
		hnsw_near_put(put->h, &put->probe, &l, link);
	else
		hnsw_link_set(hnsw_links(put->h, put->slot, 0), i, link);
}

/* Makes parent and the new node, which no link names yet, a marked pair. */
static bool try_parent(const struct put *put, uint32_t parent)
{
	hnsw_link *links = hnsw_links(put->h, put->slot, 0);
	const struct hnsw_scratch *s = put->scratch;
	uint32_t at = s->n_plan[0], old;

	for (uint32_t i = 0; i < s->n_filled; i++)
		if (s->plan[0][i].slot == parent)
			at = i;
	assert(at < 2 * put->h->config.m);
	old = hnsw_link_get(links, at);
	set_link(put, at, parent | LINK_TREE);
	if (hnsw_link_back(put->h, &put->probe, parent, 0,
		    put->slot | LINK_TREE))
		return true;
	set_link(put, at, old);
	return false;
}

/*
 * Hangs the new node into the tree, under the nearest chosen neighbour that
 * has room, else under the first such node of a walk away from the nearest.
 * The walk ends: in a tree, one that does not turn back comes to a leaf, and
 * a leaf has room, as tree_max >= 2. A graph that was loaded may have other
 * marks than a tree's; there the walk ends after as many steps as there are
 * nodes. Returns the parent; LINK_END if there is none.
 */
static uint32_t link_tree(const struct put *put)
{
	const struct hit *plan = put->scratch->plan[0];
	uint32_t at = plan[0].slot, from = LINK_END, spread = put->slot;
	uint32_t n = 0;

	assert(put->scratch->n_plan[0] > 0);
	for (uint32_t i = 0; i < put->scratch->n_plan[0]; i++)
		if (try_parent(put, plan[i].slot))
			return plan[i].slot;
	do {
		uint32_t child = hnsw_tree_child(put->h, at, from, spread);

		if (child == LINK_END ||
			n++ > atomic_load_explicit(&put->h->claimed,
				      memory_order_relaxed))
			return LINK_END;
		from = at;
		at = child;
		spread = spread * 2654435761u + 1; /* Knuth's */
	} while (!try_parent(put, at));
	return at;
}

/* The candidates that are not deleted, if there is one. */
static uint32_t drop_dead(const struct hnsw *h, struct hit *c, uint32_t n)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < n; i++)
		if (!hnsw_is_dead(h, c[i].slot))
			c[live++] = c[i];
	return live > 0 ? live : n;
}

/* Algorithm 1, the search half: the neighbours of slot on all its levels. */
static void plan_links(struct put *put, uint64_t entry)
{
	struct hnsw_scratch *s = put->scratch;
	uint32_t m = put->h->config.m, entry_level = (uint32_t)(entry >> 32);
	struct hit at = {.slot = (uint32_t)entry};
	uint32_t n;
	int rc;

	at.dist = probe_dist(&put->probe, at.slot, INFINITY);
	if (isnan(at.dist)) /* damaged: every other row is nearer */
		at.dist = INFINITY;
	put->top = VG_MIN(put->level, entry_level);
	hnsw_descend(&put->probe, &at, entry_level, put->top);
	for (uint32_t level = put->top + 1; level-- > 0;) {
		struct walk w = {
			.probe = &put->probe,
			.scratch = s,
			.level = level,
			.twin_max = m,
		};

		pool_init(&w.pool, s->hits, put->h->config.ef_construction);
		rc = hnsw_walk(&w, at);
		assert(rc == 0 && w.pool.n > 0);
		(void)rc;
		for (uint32_t i = 0; i < w.pool.n; i++)
			s->hits[i].slot &= LINK_SLOT;
		at = s->hits[0];
		if (level == 0 && put->probe.code && !put->h->quant.is_whole &&
			w.pool.n > m && hnsw_has_code(put->h, s->hits[m].slot))
			hnsw_judge(put->h, put->slot, s->hits[m]);
		n = drop_dead(put->h, s->hits, w.pool.n);
		s->n_plan[level] = hnsw_choose(&put->probe, s->hits, n,
			level == 0 ? m + m / FORWARD_PART : m);
		s->n_filled = level == 0 && hnsw_has_near(put->h) ?
				      VG_MIN(n, 2 * m) :
				      s->n_plan[level];
		memcpy(s->plan[level], s->hits,
			s->n_filled * sizeof(struct hit));
	}
}

/* The list of level 0, filled up. */
static void write_near(const struct put *put)
{
	struct hnsw_scratch *s = put->scratch;
	struct hnsw_list l = {
		.hits = s->plan[0], .n = s->n_filled, .slot = put->slot};

	hnsw_near_relist(put->h, &put->probe, &l, s->n_plan[0]);
}

/* Writes the planned lists, and empty ones above them. */
static void write_lists(const struct put *put)
{
	for (uint32_t level = 0; level <= put->level; level++) {
		hnsw_link *links = hnsw_links(put->h, put->slot, level);
		uint32_t cap = hnsw_list_cap(put->h, level);
		uint32_t n =
			level <= put->top ? put->scratch->n_plan[level] : 0;

		assert(n <= cap);
		if (level == 0 && n > 0 && hnsw_has_near(put->h)) {
			write_near(put);
			continue;
		}
		for (uint32_t i = 0; i < cap; i++)
			hnsw_link_set(links, i,
				i < n ? put->scratch->plan[level][i].slot :
					LINK_END);
	}
}

/* Algorithm 1, the other half. From link_tree on the node can be found. */
static void link_node(const struct put *put)
{
	uint32_t parent = link_tree(put);

	assert(put->top <= put->level);
	for (uint32_t level = 0; level <= put->top; level++)
		for (uint32_t i = 0; i < put->scratch->n_plan[level]; i++) {
			uint32_t slot = put->scratch->plan[level][i].slot;

			if (level > 0 || slot != parent)
				hnsw_link_back(put->h, &put->probe, slot,
					level, put->slot);
		}
}

/* Makes slot the entry if it is the first, or the highest so far. */
static void raise_entry(struct hnsw *h, uint32_t slot, uint32_t level)
{
	uint64_t entry;

	pthread_mutex_lock(&h->entry_lock);
	entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
	if (entry == ENTRY_NONE || level > entry >> 32)
		atomic_store_explicit(&h->entry, (uint64_t)level << 32 | slot,
			memory_order_release);
	pthread_mutex_unlock(&h->entry_lock);
}

/* Makes slot the whole graph if there is none; false if there is one. */
static bool put_first(const struct put *put, uint64_t *entry)
{
	struct hnsw *h = put->h;

	pthread_mutex_lock(&h->entry_lock);
	*entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
	if (*entry == ENTRY_NONE) {
		hnsw_near_begin(h, put->slot);
		atomic_store_explicit(&h->entry,
			(uint64_t)put->level << 32 | put->slot,
			memory_order_release);
	}
	pthread_mutex_unlock(&h->entry_lock);
	return *entry == ENTRY_NONE;
}

/* What the graph remembers of a new row: its term, and the extremes. */
static void add_norm(struct hnsw *h, const struct probe *p, uint32_t slot)
{
	float length = (float)VG_MIN(sqrt(p->exact.norm2), (double)FLT_MAX);
	uint32_t bits;

	memcpy(&bits, &length, sizeof(bits));
	hnsw_raise(&h->longest, bits);
	if (h->config.metric == VG_COSINE)
		*hnsw_term(h, slot) = p->scale;
	if (probe_is_wild_norm(p->exact.norm2))
		atomic_store_explicit(&h->is_wild, true, memory_order_relaxed);
}

int hnsw_put(struct hnsw *h, uint32_t slot, struct hnsw_scratch *s)
{
	struct put put = {.h = h, .scratch = s, .slot = slot};
	uint64_t entry;
	int rc;

	if (slot >= HNSW_SLOT_MAX)
		return -ERANGE;
	rc = hnsw_scratch_reserve(s, h, h->config.ef_construction);
	if (rc == 0)
		rc = hnsw_near_reserve(s, h);
	if (rc < 0)
		return rc;
	put.level = hnsw_level(h, slot);
	rc = add_node(h, slot, put.level);
	if (rc < 0)
		return rc;
	probe_init(&put.probe, h, hnsw_row(h, slot),
		h->code_len > 0 ? hnsw_code(h, slot) : NULL);
	put.probe.near = &s->near;
	if (put.probe.code)
		atomic_fetch_or_explicit(hnsw_coded(h, slot),
			1ull << slot % 64, memory_order_release);
	else
		atomic_fetch_add_explicit(
			&h->n_uncoded, 1, memory_order_relaxed);
	add_norm(h, &put.probe, slot);
	s->n_plan[0] = 0;
	write_lists(&put);
	entry = atomic_load_explicit(&h->entry, memory_order_acquire);
	if (entry != ENTRY_NONE || !put_first(&put, &entry)) {
		plan_links(&put, entry);
		write_lists(&put);
		link_node(&put);
		if (put.level > put.top)
			raise_entry(h, slot, put.level);
	}
	hnsw_mark(h, slot);
	/* Either who chooses codes sees that the slot is linked, or we see that
	 * they were chosen: seq_cst. */
	atomic_fetch_or_explicit(hnsw_linked(h, slot), 1ull << slot % 64,
		memory_order_seq_cst);
	if (!put.probe.has_quant && h->code_len > 0 &&
		atomic_load_explicit(&h->quant_state, memory_order_seq_cst) ==
			QUANT_ON)
		hnsw_add_code(h, slot);
	hnsw_train(h, atomic_fetch_add_explicit(&h->linked, 1,
			      memory_order_relaxed) +
			      1);
	return 0;
}
