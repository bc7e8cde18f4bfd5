/* SPDX-License-Identifier: Apache-2.0 */
/* collection.c: life of a collection and of what it holds; see collection.h. */
#include "src/collection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw.h"
#include "src/collection_file.h"
#include "src/collection_int.h"

#define IDS_MIN 16u /* heads of a new collection's table */

static void generation_free(struct generation *g);

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
