/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_near.c: codes of the neighbours in a node, which follow its links. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "index/hnsw_int.h"

/*
 * Each link of a list of level 0 has a code of its own (signs.h) and a bit that
 * says whether it was chosen, all under the node's lock. A link that stays stays
 * where it is, so that its code need not be made again: what is new comes where
 * something goes. Codes are written before the link is, by relaxed stores: a
 * walk that reads one meanwhile is misled once, and looks at the row it meets.
 */
#define FACTORS_LEN (2 * SIGNS_BLOCK * (uint32_t)sizeof(float))

typedef _Atomic uint8_t near_byte;

bool hnsw_can_near(enum vg_dtype dtype, enum vg_metric metric, uint32_t dim)
{
	return dtype == VG_F32 &&
	       (metric == VG_L2 || metric == VG_COSINE || metric == VG_IP) &&
	       dim <= HNSW_NEAR_DIM_MAX;
}

uint32_t hnsw_near_plan(struct hnsw *h, uint32_t len)
{
	const struct hnsw_config *c = &h->config;
	uint32_t n_blocks = (2 * c->m + SIGNS_BLOCK - 1) / SIGNS_BLOCK;

	if (c->codes != HNSW_CODES_NEAR ||
		!hnsw_can_near(c->dtype, c->metric, c->dim))
		return len;
	h->chosen_at = len;
	len += n_blocks * (uint32_t)sizeof(hnsw_link);
	h->near_at = VG_ALIGN_UP(len, CACHE_LINE);
	h->near_len =
		FACTORS_LEN + SIGNS_BYTES(VG_ALIGN_UP(c->dim, SIGNS_ROUND));
	assert(h->near_len % CACHE_LINE == 0);
	return h->near_at + n_blocks * h->near_len;
}

int hnsw_near_init(struct hnsw *h)
{
	if (!hnsw_has_near(h))
		return 0;
	h->centre = calloc(h->config.dim, sizeof(*h->centre));
	if (!h->centre)
		return -ENOMEM;
	return signs_init(&h->signs, h->config.dim);
}

void hnsw_near_fini(struct hnsw *h)
{
	signs_fini(&h->signs);
	free(h->centre);
}

/* ---- rotated rows ---- */

int hnsw_near_reserve(struct hnsw_scratch *s, const struct hnsw *h)
{
	struct near_rows *r = &s->near;
	uint32_t len = h->signs.len;

	for (uint32_t i = 0; i < NEAR_ROWS; i++)
		r->slot[i] = LINK_END;
	if (!hnsw_has_near(h) || len <= r->len)
		return 0;
	free(r->rows);
	r->len = 0;
	r->rows = malloc((size_t)NEAR_ROWS * len * sizeof(*r->rows) + len / 4);
	if (!r->rows)
		return -ENOMEM;
	r->len = len;
	return 0;
}

/* A row, rotated, for as long as no other takes its place: two at least, if
 * asked for behind each other, whose places differ. */
static const float *get_row(const struct probe *p, uint32_t slot,
	uint32_t place)
{
	const struct hnsw *h = p->h;
	struct near_rows *r = p->near;
	float *row = r->rows + (size_t)place * h->signs.len;

	assert(place < NEAR_ROWS);
	if (r->slot[place] != slot)
		signs_rotate(&h->signs, hnsw_row(h, slot),
			h->config.metric == VG_COSINE ? *hnsw_term(h, slot) : 1,
			h->centre, row);
	r->slot[place] = slot;
	return row;
}

void hnsw_near_begin(struct hnsw *h, uint32_t slot)
{
	const float *row = hnsw_row(h, slot);
	float scale = h->config.metric == VG_COSINE ? *hnsw_term(h, slot) : 1;

	if (!hnsw_has_near(h) || h->has_centre)
		return;
	assert(atomic_load_explicit(&h->entry, memory_order_relaxed) ==
		ENTRY_NONE);
	/* Of products lengths tell, so there nothing is taken off. */
	for (uint32_t i = 0; i < h->config.dim; i++)
		h->centre[i] =
			h->config.metric != VG_IP &&
					fabsf(row[i]) <= NEAR_CENTRE_MAX ?
				row[i] * scale :
				0;
	h->has_centre = true;
}

/* ---- codes ---- */

/* The two floats of a code, from its sums. */
static void find_factors(const struct probe *p, uint32_t slot, uint32_t to,
	const float *sums, float *add, float *mul)
{
	const struct hnsw *h = p->h;
	float c = sums[1] > 0 ? sums[0] / sums[1] : 0;
	const float *u = hnsw_row(h, slot), *v = hnsw_row(h, to);

	if (h->config.metric == VG_IP) {
		double uu = p->kernels->dot_exact(u, u, h->config.dim);
		double uv = p->kernels->dot_exact(u, v, h->config.dim);
		float ur = (float)(uv - uu);

		*mul = -c;
		*add = uu > 0 ? (ur - c * sums[2]) / (float)uu : 0;
		return;
	}
	*mul = -2 * c;
	*add = sums[0] + 2 * c * sums[2];
}

/* Where the code of link i is: its byte of the first group. */
static near_byte *code_at(const struct hnsw *h, uint32_t slot, uint32_t i)
{
	char *block =
		hnsw_node(h, slot) + h->near_at + i / SIGNS_BLOCK * h->near_len;
	uint32_t j = i % 16;

	return (near_byte *)(void *)(block + FACTORS_LEN) +
	       (j < 8 ? 2 * j : 2 * j - 15);
}

/* The floats of link i: add, and SIGNS_BLOCK behind it mul. */
static hnsw_link *factors_at(const struct hnsw *h, uint32_t slot, uint32_t i)
{
	char *block =
		hnsw_node(h, slot) + h->near_at + i / SIGNS_BLOCK * h->near_len;

	return (hnsw_link *)(void *)block + i % SIGNS_BLOCK;
}

static void set_factors(hnsw_link *at, uint32_t add, uint32_t mul)
{
	atomic_store_explicit(at, add, memory_order_relaxed);
	atomic_store_explicit(at + SIGNS_BLOCK, mul, memory_order_relaxed);
}

static uint8_t get_half(const near_byte *at, uint32_t i)
{
	uint8_t byte = atomic_load_explicit(at, memory_order_relaxed);

	return i / 16 % 2 ? byte >> 4 : byte & 15;
}

static void set_half(near_byte *at, uint32_t i, uint8_t half)
{
	uint8_t byte = atomic_load_explicit(at, memory_order_relaxed);

	byte = (uint8_t)(i / 16 % 2 ? (byte & 15) | half << 4 :
				      (byte & 0xf0) | half);
	atomic_store_explicit(at, byte, memory_order_relaxed);
}

/* What the code of a link from slot to another is. */
struct near_code {
	uint32_t add, mul; /* bits of the floats */
	const uint8_t *halves;
};

static struct near_code make_code(const struct probe *p, uint32_t slot,
	uint32_t to)
{
	const struct hnsw *h = p->h;
	uint32_t mine = slot % NEAR_ROWS, its = to % NEAR_ROWS;
	const float *u = get_row(p, slot, mine);
	const float *v =
		get_row(p, to, its == mine ? (its + 1) % NEAR_ROWS : its);
	uint8_t *halves =
		(uint8_t *)(p->near->rows + (size_t)NEAR_ROWS * h->signs.len);
	float sums[SIGNS_SUMS], add, mul;
	struct near_code code = {.halves = halves};

	p->kernels->signs->code(u, v, h->signs.len, halves, sums);
	find_factors(p, slot, to, sums, &add, &mul);
	memcpy(&code.add, &add, sizeof(add));
	memcpy(&code.mul, &mul, sizeof(mul));
	return code;
}

static void write_code(const struct probe *p, uint32_t slot, uint32_t i,
	uint32_t to)
{
	const struct hnsw *h = p->h;
	struct near_code code = make_code(p, slot, to);
	near_byte *at = code_at(h, slot, i);

	assert(slot != to);
	set_factors(factors_at(h, slot, i), code.add, code.mul);
	for (uint32_t g = 0; g < h->signs.len / 4; g++)
		set_half(at + 16 * g, i, code.halves[g]);
}

static void copy_code(const struct hnsw *h, uint32_t slot, uint32_t from,
	uint32_t to)
{
	const near_byte *at = code_at(h, slot, from);
	hnsw_link *factors = factors_at(h, slot, from);
	near_byte *out = code_at(h, slot, to);

	assert(from != to);
	set_factors(factors_at(h, slot, to),
		atomic_load_explicit(factors, memory_order_relaxed),
		atomic_load_explicit(factors + SIGNS_BLOCK,
			memory_order_relaxed));
	for (uint32_t g = 0; g < h->signs.len / 4; g++)
		set_half(out + 16 * g, to, get_half(at + 16 * g, from));
}

bool hnsw_near_is_right(const struct probe *p, uint32_t slot, uint32_t i)
{
	const struct hnsw *h = p->h;
	uint32_t to = hnsw_link_get(hnsw_links(h, slot, 0), i) & LINK_SLOT;
	struct near_code code = make_code(p, slot, to);
	const near_byte *at = code_at(h, slot, i);
	hnsw_link *factors = factors_at(h, slot, i);
	bool is_right = atomic_load_explicit(factors, memory_order_relaxed) ==
				code.add &&
			atomic_load_explicit(factors + SIGNS_BLOCK,
				memory_order_relaxed) == code.mul;

	for (uint32_t g = 0; g < h->signs.len / 4; g++)
		is_right =
			is_right && get_half(at + 16 * g, i) == code.halves[g];
	return is_right;
}

/* ---- links ---- */

static hnsw_link *chosen_word(const struct hnsw *h, uint32_t slot, uint32_t i)
{
	return (hnsw_link *)(void *)(hnsw_node(h, slot) + h->chosen_at) +
	       i / 32;
}

bool hnsw_near_is_chosen(const struct hnsw *h, uint32_t slot, uint32_t i)
{
	return atomic_load_explicit(chosen_word(h, slot, i),
		       memory_order_relaxed) >>
		       i % 32 &
	       1;
}

static void set_chosen(struct hnsw *h, const struct near_link *l)
{
	hnsw_link *word = chosen_word(h, l->slot, l->i);
	uint32_t bits = atomic_load_explicit(word, memory_order_relaxed);
	uint32_t bit = 1u << l->i % 32;

	bits = l->is_chosen ? bits | bit : bits & ~bit;
	atomic_store_explicit(word, bits, memory_order_relaxed);
}

bool hnsw_near_put(struct hnsw *h, const struct probe *p,
	const struct near_link *l, uint32_t link)
{
	hnsw_link *links = hnsw_links(h, l->slot, 0);
	uint32_t old = hnsw_link_get(links, l->i);

	assert(l->i < hnsw_list_cap(h, 0));
	if (link == old &&
		hnsw_near_is_chosen(h, l->slot, l->i) == l->is_chosen)
		return false;
	if (link != LINK_END &&
		(old == LINK_END || ((old ^ link) & LINK_SLOT) != 0))
		write_code(p, l->slot, l->i, link & LINK_SLOT);
	set_chosen(h, l);
	hnsw_link_set(links, l->i, link);
	return true;
}

void hnsw_near_drop(struct hnsw *h, uint32_t slot, uint32_t i)
{
	hnsw_link *links = hnsw_links(h, slot, 0);
	uint32_t cap = hnsw_list_cap(h, 0), last = i;

	assert(i < cap && hnsw_link_get(links, i) != LINK_END);
	while (last + 1 < cap && hnsw_link_get(links, last + 1) != LINK_END)
		last++;
	if (last != i) {
		struct near_link l = {slot, i,
			hnsw_near_is_chosen(h, slot, last)};

		copy_code(h, slot, last, i);
		set_chosen(h, &l);
		hnsw_link_set(links, i, hnsw_link_get(links, last));
	}
	set_chosen(h, &(struct near_link){slot, last, false});
	hnsw_link_set(links, last, LINK_END);
}

uint32_t hnsw_near_spare(const struct probe *p, uint32_t slot)
{
	const struct hnsw *h = p->h;
	hnsw_link *links = hnsw_links(h, slot, 0);
	uint32_t cap = hnsw_list_cap(h, 0), spare = cap;
	float farthest = -INFINITY;

	assert(hnsw_link_get(links, cap - 1) != LINK_END);
	for (uint32_t i = 0; i < cap; i++) {
		uint32_t link = hnsw_link_get(links, i);
		float dist;

		if ((link & LINK_TREE) != 0 || hnsw_near_is_chosen(h, slot, i))
			continue;
		dist = probe_pair(p, slot, link, INFINITY);
		if (spare == cap || dist > farthest) {
			spare = i;
			farthest = dist;
		}
	}
	return spare;
}

/* Which of the first n hits has the slot; n: none. */
static uint32_t find_slot(const struct hit *hits, uint32_t n, uint32_t slot)
{
	uint32_t i = 0;

	while (i < n && (hits[i].slot & LINK_SLOT) != slot)
		i++;
	return i;
}

bool hnsw_near_relist(struct hnsw *h, const struct probe *p,
	const struct hnsw_list *l, uint32_t n_chosen)
{
	hnsw_link *links = hnsw_links(h, l->slot, 0);
	uint32_t cap = hnsw_list_cap(h, 0), n = VG_MIN(l->n, cap);
	uint32_t hole[2 * VG_M_MAX], n_holes = 0, end = 0, n_filled = 0;
	bool is_placed[2 * VG_M_MAX] = {false}, is_new = false;
	struct near_link at = {.slot = l->slot};

	assert(l->level == 0 && n_chosen <= n);
	for (; end < cap && hnsw_link_get(links, end) != LINK_END; end++) {
		uint32_t link = hnsw_link_get(links, end);
		uint32_t j = find_slot(l->hits, n, link & LINK_SLOT);

		if (j == n) {
			hole[n_holes++] = end;
			continue;
		}
		is_placed[j] = true;
		at.i = end;
		at.is_chosen = j < n_chosen;
		is_new |= hnsw_near_put(h, p, &at, l->hits[j].slot);
	}
	for (uint32_t j = 0; j < n; j++) {
		if (is_placed[j])
			continue;
		at.i = n_filled < n_holes ? hole[n_filled++] : end++;
		at.is_chosen = j < n_chosen;
		is_new |= hnsw_near_put(h, p, &at, l->hits[j].slot);
	}
	is_new |= n_filled < n_holes;
	while (n_filled < n_holes) /* from the last on: what moves is a link */
		hnsw_near_drop(h, l->slot, hole[--n_holes]);
	return is_new;
}
