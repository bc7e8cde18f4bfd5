/* SPDX-License-Identifier: Apache-2.0 */
/* match.c: see match.h. */
#include "src/match_int.h"

#include <assert.h>
#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "src/collection_file.h"
#include "src/fields.h"

static struct meta get_meta(void *ctx, uint32_t version)
{
	return version_meta(generation_version(ctx, version));
}

/* Behind a look's moment: what that shows is there by now. */
static struct fields_rows rows_of(struct generation *g)
{
	return (struct fields_rows){
		.get = get_meta,
		.ctx = g,
		.n = atomic_load_explicit(
			&g->n_versions, memory_order_acquire),
	};
}

int match_generation(struct generation *g, const struct filter *filter,
	struct roaring_bitmap_s **out)
{
	struct fields_rows rows = rows_of(g);
	struct fields *fields;
	int rc = collection_fields(g, &fields);

	return rc < 0 ? rc : fields_match(fields, filter, &rows, out);
}

int match_index_like(
	struct generation *g, struct generation *like, uint32_t nth)
{
	struct fields_rows rows = rows_of(g);
	struct fields *of, *fields;
	int rc;

	if (rows.n == 0 || (!like->fields_from &&
				   !atomic_load_explicit(&like->fields,
					   memory_order_acquire)))
		return 0;
	rc = collection_fields(like, &of);
	if (rc == 0)
		rc = collection_fields(g, &fields);
	return rc < 0 ? rc : fields_index_like(fields, of, nth, &rows);
}

int match_filter_of(const struct op *op, struct filter **out)
{
	struct filter_why why;

	assert(op->type == OP_CLEAR);
	*out = NULL;
	return op->meta_len == 0 ? 0
				 : filter_parse_where(op->meta, op->meta_len,
					   &why, out);
}

int match_make(const struct look *look, const struct filter *filter,
	struct match **out)
{
	struct match *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	rc = match_generation(look->gen, filter, &m->set);
	if (rc < 0) {
		free(m);
		return rc;
	}
	assert(m->set && look->gen);
	atomic_init(&m->refs, 1);
	memcpy(m->moment.seq, look->moment->seq, sizeof(m->moment.seq));
	m->of = (struct look){
		.gen = look->gen, .cell = look->cell, .moment = &m->moment};
	m->look = &m->of;
	pthread_mutex_init(&m->lock, NULL);
	*out = m;
	return 0;
}

void match_free(struct match *m)
{
	if (!m || atomic_fetch_sub_explicit(
			  &m->refs, 1, memory_order_acq_rel) > 1)
		return;
	roaring_bitmap_free(m->set);
	pthread_mutex_destroy(&m->lock);
	free(m->slots);
	free(m->bits);
	free(m);
}

size_t match_bytes(const struct match *m)
{
	const struct cell *cell = m->look->cell;
	uint32_t n = cell ? atomic_load_explicit(
				    &cell->n_slots, memory_order_relaxed)
			  : 0;

	return sizeof(*m) + roaring_bitmap_portable_size_in_bytes(m->set) +
	       match_size(m) * sizeof(*m->slots) + n / 8;
}

bool match_has(const struct match *m, uint32_t no)
{
	return roaring_bitmap_contains(m->set, no);
}

uint32_t match_size(const struct match *m)
{
	uint64_t n = roaring_bitmap_get_cardinality(m->set);

	assert(n < UINT32_MAX);
	return (uint32_t)n;
}

/* ---- those that are seen ---- */

#define AHEAD 16u /* versions whose lines are fetched before their turn */

struct walk {
	const struct match *m;
	roaring_uint32_iterator_t it;
	uint32_t ring[AHEAD];
	uint32_t at, n; /* of the ring */
};

static void fill(struct walk *w)
{
	while (w->n < AHEAD && w->it.has_value) {
		uint32_t no = w->it.current_value;

		__builtin_prefetch(generation_version(w->m->look->gen, no));
		w->ring[(w->at + w->n++) % AHEAD] = no;
		roaring_advance_uint32_iterator(&w->it);
	}
}

/* The next version that the look shows, or NULL. Ends: the set does. */
static const struct version *next_seen(struct walk *w)
{
	for (fill(w); w->n > 0; fill(w)) {
		const struct version *v = generation_version(
			w->m->look->gen, w->ring[w->at % AHEAD]);

		w->at++;
		w->n--;
		if (version_is_visible(v, w->m->look->moment))
			return v;
	}
	return NULL;
}

static struct walk walk_of(const struct match *m)
{
	struct walk w = {.m = m};

	roaring_init_iterator(m->set, &w.it);
	return w;
}

uint32_t match_count(struct match *m)
{
	uint32_t n = atomic_load_explicit(&m->seen, memory_order_relaxed);
	struct walk w = walk_of(m);

	if (n > 0)
		return n - 1;
	while (next_seen(&w))
		n++;
	assert(n <= match_size(m));
	atomic_store_explicit(&m->seen, n + 1, memory_order_relaxed);
	return n;
}

static bool is_seen(void *ctx, uint32_t no)
{
	const struct look *look = ctx;

	return version_is_visible(
		generation_version(look->gen, no), look->moment);
}

int match_each_value(const struct look *look, const struct match *match,
	struct vg_id field, match_value_fn *each, void *ctx)
{
	struct fields_rows rows = rows_of(look->gen);
	struct fields_among among = {.set = match ? match->set : NULL,
		.is_among = is_seen,
		.ctx = (void *)look};
	struct fields *fields;
	int rc = collection_fields(look->gen, &fields);

	return rc < 0 ? rc
		      : fields_facet(fields, field, &rows, &among, each, ctx);
}

int match_names(struct generation *g, struct vg_id **out, uint32_t *n)
{
	struct fields *f =
		atomic_load_explicit(&g->fields, memory_order_acquire);

	*out = NULL;
	*n = 0;
	return f ? fields_names(f, out, n) : 0;
}

static int make_slots(struct match *m)
{
	struct walk w = walk_of(m);
	uint32_t size = match_size(m);
	const struct version *v;

	m->slots = malloc(((size_t)size + 1) * sizeof(*m->slots));
	if (!m->slots)
		return -ENOMEM;
	while ((v = next_seen(&w)))
		if (v->cell == m->look->cell)
			m->slots[m->n_slots++] = v->slot;
	assert(m->n_slots <= size);
	m->has_slots = true;
	return 0;
}

int match_slots(struct match *m, const uint32_t **slots, uint32_t *n)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->has_slots)
		rc = make_slots(m);
	*slots = m->slots;
	*n = m->n_slots;
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* A search asks of some thousand slots, for each of which a bit saves about as
 * much as it costs to make one. */
#define BITS_PER_SEARCH 2000u

static int make_bits(struct match *m)
{
	const struct cell *cell = m->look->cell;
	uint32_t n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);

	m->bits = calloc((size_t)n / 64 + 1, sizeof(*m->bits));
	if (!m->bits)
		return -ENOMEM;
	m->n_bits = n;
	for (uint32_t i = 0; i < m->n_slots; i++)
		m->bits[m->slots[i] / 64] |= 1ull << m->slots[i] % 64;
	return 0;
}

bool match_among(struct match *m, struct among *out)
{
	uint64_t n = atomic_fetch_add_explicit(
		&m->n_asked, 1, memory_order_relaxed);
	int rc = 0;

	if (n * BITS_PER_SEARCH < match_size(m))
		return false;
	pthread_mutex_lock(&m->lock);
	if (!m->has_slots)
		rc = make_slots(m);
	if (rc == 0 && !m->bits)
		rc = make_bits(m); /* it is for speed only */
	*out = (struct among){
		.bits = m->bits,
		.n_bits = m->n_bits,
		.slots = m->slots,
		.n = m->n_slots,
	};
	pthread_mutex_unlock(&m->lock);
	return rc == 0;
}
