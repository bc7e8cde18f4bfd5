/* SPDX-License-Identifier: Apache-2.0 */
/* collection.c: life and reading of a collection; see collection.h. */
#include "src/collection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "index/hnsw.h"
#include "src/collection_file.h"
#include "src/collection_int.h"

#define IDS_MIN 16u /* heads of a new collection's table */

static void generation_free(struct generation *g);

static_assert(sizeof(struct version) == 64, "a version is one cache line");

int generation_new(struct collection *c, uint32_t no, struct generation **out)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	atomic_init(&g->refs, 1);
	g->no = no;
	g->coll = c;
	if (blob_init(&g->blob) < 0 ||
		column_init(&g->versions, sizeof(struct version)) < 0 ||
		column_init(&g->ended, sizeof(uint32_t)) < 0 ||
		generation_grow_ids(g, IDS_MIN) < 0) {
		generation_free(g);
		return -ENOMEM;
	}
	*out = g;
	return 0;
}

int collection_new(uint32_t no, const uint8_t uuid[16],
	const struct op_config *config, const struct op_attr *attr,
	struct collection **out)
{
	struct collection *c = calloc(1, sizeof(*c));

	assert(config->m >= 2 && config->m <= VG_M_MAX);
	if (!c)
		return -ENOMEM;
	atomic_init(&c->refs, 1);
	c->no = no;
	memcpy(c->uuid, uuid, sizeof(c->uuid));
	c->config = *config;
	c->attr = *attr;
	pthread_mutex_init(&c->lock, NULL);
	if (generation_new(c, no, &c->gen) < 0) {
		collection_unref(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void cell_free(struct cell *cell)
{
	if (!cell)
		return;
	assert(!cell->is_queued && !cell->held);
	hnsw_free(cell->hnsw);
	free((void *)cell->vec.rows.sure);
	free((void *)cell->damaged);
	column_fini(&cell->vec);
	column_fini(&cell->slots);
	free(cell);
}

struct collection *collection_ref(struct collection *c)
{
	uint32_t before = atomic_fetch_add_explicit(
		&c->refs, 1, memory_order_relaxed);

	assert(before > 0 && before < UINT32_MAX);
	(void)before;
	return c;
}

static void generation_free(struct generation *g)
{
	struct id_table *table;
	struct cell *cell;

	cell = atomic_load_explicit(&g->cell, memory_order_relaxed);
	while (cell) {
		struct cell *retired = cell->retired;

		cell_free(cell);
		cell = retired;
	}
	table = atomic_load_explicit(&g->ids, memory_order_relaxed);
	while (table) {
		struct id_table *retired = table->retired;

		free(table);
		table = retired;
	}
	collection_file_free(g->file);
	column_fini(&g->versions);
	column_fini(&g->ended);
	blob_fini(&g->blob);
	free(g);
}

/* Gives back a reference; an old generation that nobody has is forgotten. The
 * lock, so that who finds one by its number does not find one that ends. */
static void generation_drop(struct generation *g)
{
	struct collection *c = g->coll;
	struct generation **link = &c->old;
	bool is_last;

	pthread_mutex_lock(&c->lock);
	is_last = atomic_fetch_sub_explicit(
			  &g->refs, 1, memory_order_acq_rel) == 1;
	while (is_last && *link && *link != g)
		link = &(*link)->next_old;
	if (is_last && *link)
		*link = g->next_old;
	pthread_mutex_unlock(&c->lock);
	if (is_last)
		generation_free(g);
}

/* Who has a reference on a generation has one on its collection, but for the
 * collection itself. */
struct generation *generation_ref(struct generation *g)
{
	uint32_t before = atomic_fetch_add_explicit(
		&g->refs, 1, memory_order_relaxed);

	assert(before > 0 && before < UINT32_MAX);
	(void)before;
	collection_ref(g->coll);
	return g;
}

void generation_unref(struct generation *g)
{
	struct collection *c;

	if (!g)
		return;
	c = g->coll;
	generation_drop(g);
	collection_unref(c);
}

struct generation *collection_gen(struct collection *c)
{
	struct generation *g;

	pthread_mutex_lock(&c->lock);
	g = generation_ref(c->gen);
	pthread_mutex_unlock(&c->lock);
	return g;
}

struct generation *collection_find_gen(struct collection *c, uint32_t no)
{
	struct generation *g;

	pthread_mutex_lock(&c->lock);
	g = c->gen->no == no ? c->gen : c->old;
	while (g && g->no != no)
		g = g->next_old;
	if (g)
		generation_ref(g);
	pthread_mutex_unlock(&c->lock);
	return g;
}

void collection_put_gen(struct collection *c, struct generation *g)
{
	struct generation *old;

	assert(g->coll == c && !g->next_old);
	pthread_mutex_lock(&c->lock);
	old = c->gen;
	c->gen = g;
	old->next_old = c->old;
	c->old = old;
	pthread_mutex_unlock(&c->lock);
	generation_drop(old);
}

static bool is_newest(struct collection *c, const struct generation *g)
{
	bool is;

	pthread_mutex_lock(&c->lock);
	is = c->gen == g;
	pthread_mutex_unlock(&c->lock);
	return is;
}

/* Ends: a generation is replaced now and then. */
void look_init(struct look *look, struct collection *c, struct moments *ms)
{
	for (;;) {
		*look = (struct look){
			.moments = ms, .gen = collection_gen(c)};
		look->cell = atomic_load_explicit(
			&look->gen->cell, memory_order_acquire);
		if (look->cell)
			look->tail_from = atomic_load_explicit(
				&look->cell->tail_from, memory_order_acquire);
		look->moment = moment_get(ms);
		if (is_newest(c, look->gen))
			return;
		look_fini(look);
	}
}

void look_fini(struct look *look)
{
	if (!look->gen)
		return;
	generation_unref(look->gen);
	moment_unref(look->moments, look->moment);
	*look = (struct look){0};
}

void collection_unref(struct collection *c)
{
	if (!c || atomic_fetch_sub_explicit(
			  &c->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (c->gen)
		generation_drop(c->gen);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

struct op_config collection_config(struct collection *c)
{
	struct op_config config;

	pthread_mutex_lock(&c->lock);
	config = c->config;
	pthread_mutex_unlock(&c->lock);
	return config;
}

struct op_attr collection_attr(struct collection *c)
{
	struct op_attr attr;

	pthread_mutex_lock(&c->lock);
	attr = c->attr;
	pthread_mutex_unlock(&c->lock);
	return attr;
}

struct vg_id version_id(const struct version *v)
{
	const uint8_t *id = blob_at(&v->cell->gen->blob, v->id);

	return (struct vg_id){.bytes = (const char *)id + 1, .len = id[0]};
}

struct meta version_meta(const struct version *v)
{
	if (v->meta_len == 0)
		return (struct meta){0};
	return (struct meta){.json = blob_at(&v->cell->gen->blob, v->meta),
		.len = v->meta_len};
}

bool version_is_visible(const struct version *v, const struct moment *m)
{
	uint64_t seq = m->seq[v->partition];

	assert(v->begin > 0);
	return v->begin <= seq &&
	       seq < atomic_load_explicit(&v->end, memory_order_acquire);
}

/*
 * The place of id in the table: its head, or the free one where it would go.
 * Ends: the table is never more than three quarters full.
 */
_Atomic uint32_t *generation_head(
	const struct generation *g, struct id_table *table, struct vg_id id)
{
	uint64_t hash = XXH3_64bits(id.bytes, id.len);

	for (uint32_t i = (uint32_t)(hash >> 8) & table->mask;;
		i = (i + 1) & table->mask) {
		uint32_t v = atomic_load_explicit(
			&table->head[i], memory_order_acquire);
		struct vg_id other;

		if (v == VERSION_NONE)
			return &table->head[i];
		other = version_id(generation_version(g, v));
		if (other.len == id.len &&
			memcmp(other.bytes, id.bytes, id.len) == 0)
			return &table->head[i];
	}
}

uint32_t generation_find_newest(const struct generation *g, struct vg_id id)
{
	struct id_table *table =
		atomic_load_explicit(&g->ids, memory_order_acquire);

	return atomic_load_explicit(
		generation_head(g, table, id), memory_order_acquire);
}

uint32_t generation_find(const struct generation *g, struct vg_id id,
	const struct moment *m)
{
	uint32_t no = generation_find_newest(g, id);

	while (no != VERSION_NONE) {
		const struct version *v = generation_version(g, no);

		if (version_is_visible(v, m))
			return no;
		assert(v->older == VERSION_NONE || v->older < no);
		no = v->older;
	}
	return VERSION_NONE;
}

uint32_t generation_next(const struct generation *g, uint32_t from,
	const struct moment *m)
{
	uint32_t n = atomic_load_explicit(&g->n_versions, memory_order_acquire);

	for (uint32_t no = from; no < n; no++)
		if (version_is_visible(generation_version(g, no), m))
			return no;
	return VERSION_NONE;
}

uint32_t cell_find(const struct cell *cell, uint32_t slot,
	const struct moment *m)
{
	uint32_t no = atomic_load_explicit(
		&cell_slot(cell, slot)->head, memory_order_acquire);

	assert(slot < cell->vec.n_chunks * (1ull << cell->vec.rows.shift));
	/* Slots are reserved zeroed; no + 1 is kept, so that 0 says none. */
	while (no-- > 0) {
		const struct version *v = generation_version(cell->gen, no);

		if (version_is_visible(v, m))
			return no;
		no = v->sibling + 1;
	}
	return VERSION_NONE;
}

int cell_check_row(const struct cell *cell, uint32_t slot)
{
	uint32_t group = slot >> cell->vec.rows.group;

	rows_check(&cell->vec.rows, slot);
	if (slot >= cell->vec.rows.n_unsure)
		return 0;
	return atomic_load_explicit(&cell->damaged[group / 64],
		       memory_order_relaxed) >>
					       (group % 64) &
				       1 ?
		       -EIO :
		       0;
}

uint32_t generation_damaged(const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);

	return cell ? atomic_load_explicit(
			      &cell->n_damaged, memory_order_relaxed)
		    : 0;
}

static int check_version(
	const struct generation *g, uint32_t no, const char **why)
{
	const struct version *v = generation_version(g, no);
	uint64_t end = atomic_load(&v->end);

	*why = NULL;
	if (v->begin == 0 || v->begin >= end)
		*why = "a version ends before it begins";
	else if (op_partition(version_id(v)) != v->partition)
		*why = "a version is in another partition than its id";
	else if (v->cell->is_gone ? end == VERSION_OPEN
				  : v->slot >= atomic_load(&v->cell->n_slots))
		*why = "a version has a slot that does not exist";
	else if (v->older != VERSION_NONE && v->older >= no)
		*why = "a version is older than what it replaced";
	else if (end == VERSION_OPEN &&
		 generation_find_newest(g, version_id(v)) != no)
		*why = "an open version is not its id's newest";
	return *why ? -VG_ECORRUPT : 0;
}

int generation_check(const struct generation *g, const char **why)
{
	uint32_t n = atomic_load(&g->n_versions);
	uint64_t n_live = 0;
	struct cell *cell = atomic_load(&g->cell);
	int rc = 0;

	for (uint32_t no = 0; no < n && rc == 0; no++) {
		const struct version *v = generation_version(g, no);

		rc = check_version(g, no, why);
		n_live += atomic_load(&v->end) == VERSION_OPEN;
	}
	if (rc == 0 && n_live != atomic_load(&g->coll->n_live)) {
		*why = "the count of records is not that of open versions";
		rc = -VG_ECORRUPT;
	}
	if (rc == 0 && cell && cell->hnsw)
		rc = hnsw_check(cell->hnsw, why);
	return rc;
}
