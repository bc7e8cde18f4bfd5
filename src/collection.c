/* SPDX-License-Identifier: Apache-2.0 */
/* collection.c: life of a collection and of what it holds; see collection.h. */
#include "src/collection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/collection_file.h"
#include "src/collection_int.h"
#include "src/fields.h"
#include "src/match.h"
#include "src/recall.h"

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
	if (recall_new(&c->recall) < 0 || generation_new(c, no, &c->gen) < 0) {
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
	ivf_free(cell->ivf);
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

	match_kept_free(atomic_load_explicit(&g->kept, memory_order_relaxed));
	fields_free(atomic_load_explicit(&g->fields, memory_order_relaxed));
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

static void hold_add_locked(struct hold *h, struct generation *g,
	uint32_t version)
{
	h->gen = g;
	h->coll = g->coll;
	h->version = version;
	h->next = g->holds;
	h->link = &g->holds;
	if (h->next)
		h->next->link = &h->next;
	g->holds = h;
}

static void hold_del_locked(struct hold *h)
{
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
}

void hold_init(struct hold *h, struct generation *g, uint32_t version)
{
	struct collection *c = g->coll;

	pthread_mutex_lock(&c->lock);
	if (version != VERSION_NONE && g != c->gen) {
		const struct version *v = generation_version(g, version);
		uint32_t no = generation_find_begun(
			c->gen, version_id(v), v->begin);

		version = no == VERSION_NONE ? version : no;
		g = no == VERSION_NONE ? g : c->gen;
	}
	generation_ref(g);
	hold_add_locked(h, g, version);
	pthread_mutex_unlock(&c->lock);
}

/* It may go over to another generation of the collection until it is locked. */
void hold_fini(struct hold *h)
{
	struct collection *c = h->coll;
	struct generation *g;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	g = h->gen;
	hold_del_locked(h);
	pthread_mutex_unlock(&c->lock);
	*h = (struct hold){0};
	generation_unref(g);
}

void hold_move(struct generation *old, const uint32_t *to)
{
	struct collection *c = old->coll;
	struct hold *h, *next;
	uint32_t n = 0;

	pthread_mutex_lock(&c->lock);
	for (h = old->holds; h; h = next) {
		next = h->next;
		if (h->version == VERSION_NONE ||
			to[h->version] == VERSION_NONE)
			continue;
		hold_del_locked(h);
		hold_add_locked(h, generation_ref(c->gen), to[h->version]);
		n++;
	}
	pthread_mutex_unlock(&c->lock);
	while (n-- > 0) /* the last reference is the caller's */
		generation_unref(old);
}

/* Whether an older generation is one of those; the collection's lock is held. */
static bool is_of_gens(struct generation *g, enum gens which)
{
	if (atomic_load_explicit(&g->n_snaps, memory_order_relaxed) > 0)
		return true;
	if (which == GENS_SHOWN || g->is_left)
		return false;
	if (g->holds)
		return true;
	g->is_left = which == GENS_CUT;
	return false;
}

/* Ends: g is referenced, so it is still in the list, or the newest. */
struct generation *collection_next_gen(
	struct collection *c, struct generation *g, enum gens which)
{
	struct generation *next;

	pthread_mutex_lock(&c->lock);
	next = !g ? c->gen : g == c->gen ? c->old : g->next_old;
	while (g && next && !is_of_gens(next, which))
		next = next->next_old;
	if (next)
		generation_ref(next);
	pthread_mutex_unlock(&c->lock);
	generation_unref(g);
	return next;
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

void collection_add_old(struct collection *c, struct generation *g)
{
	struct generation **link = &c->old;

	assert(g->coll == c && g != c->gen && !g->next_old);
	while (*link)
		link = &(*link)->next_old;
	*link = g;
}

/* ---- snapshots ---- */

/* A snapshot keeps the rows as they are linked; the collection may wait for
 * others to be. */
static struct op_config snap_config(
	struct collection *c, const struct generation *gen)
{
	const struct cell *cell =
		atomic_load_explicit(&gen->cell, memory_order_acquire);
	struct op_config config = collection_config(c);
	struct cell_shape shape;

	memset(config.tuned, 0, sizeof(config.tuned)); /* it goes by c's */
	if (!cell)
		return config;
	shape = cell_shape_anew(&config, cell);
	if (cell_is_shaped(cell, &shape))
		return config;
	config.metric = (uint8_t)cell->metric;
	config.index = (uint8_t)cell->index;
	config.quant = (uint8_t)cell->quant;
	config.m = cell->m;
	config.ef_construction = cell->ef_construction;
	return config;
}

int collection_new_snap(struct collection *c, struct generation *gen,
	uint32_t no, const uint8_t uuid[16], struct vg_id name,
	struct collection **out)
{
	struct collection *snap = calloc(1, sizeof(*snap));

	assert(!c->of && gen->coll == c && name.len <= VG_ID_MAX);
	if (snap)
		snap->moment = calloc(1, sizeof(*snap->moment));
	if (!snap || !snap->moment) {
		free(snap);
		return -ENOMEM;
	}
	atomic_init(&snap->refs, 1);
	atomic_init(&snap->moment->refs, 1);
	snap->no = no;
	memcpy(snap->uuid, uuid, sizeof(snap->uuid));
	pthread_mutex_init(&snap->lock, NULL);
	snap->config = snap_config(c, gen);
	snap->attr = collection_attr(c);
	atomic_init(&snap->n_live, atomic_load(&c->n_live));
	atomic_init(&snap->meta_bytes, atomic_load(&c->meta_bytes));
	snap->commit_ns = c->commit_ns;
	snap->gen = generation_ref(gen); /* and with it on c */
	snap->of = c;
	snap->name_len = name.len;
	memcpy(snap->name, name.bytes, name.len);
	*out = snap;
	return 0;
}

int collection_reserve_snap(struct collection *c)
{
	uint32_t cap = c->cap_snaps ? 2 * c->cap_snaps : 8;
	struct collection **grown = NULL;

	if (c->n_snaps < c->cap_snaps)
		return 0;
	pthread_mutex_lock(&c->lock);
	grown = realloc(c->snaps, cap * sizeof(struct collection *));
	if (grown) {
		c->snaps = grown;
		c->cap_snaps = cap;
	}
	pthread_mutex_unlock(&c->lock);
	return grown ? 0 : -ENOMEM;
}

/* Numbers tell which is older; an open finds those of the present first. */
void collection_add_snap(struct collection *c, struct collection *snap)
{
	uint32_t i = c->n_snaps;

	assert(snap->of == c && c->n_snaps < c->cap_snaps);
	pthread_mutex_lock(&c->lock);
	for (; i > 0 && c->snaps[i - 1]->no > snap->no; i--)
		c->snaps[i] = c->snaps[i - 1];
	c->snaps[i] = snap;
	c->n_snaps++;
	atomic_fetch_add_explicit(
		&snap->gen->n_snaps, 1, memory_order_relaxed);
	pthread_mutex_unlock(&c->lock);
}

void collection_del_snap(struct collection *c, struct collection *snap)
{
	uint32_t i = 0;

	pthread_mutex_lock(&c->lock);
	while (c->snaps[i] != snap)
		i++;
	assert(i < c->n_snaps);
	c->n_snaps--;
	memmove(c->snaps + i, c->snaps + i + 1,
		(c->n_snaps - i) * sizeof(struct collection *));
	atomic_fetch_sub_explicit(
		&snap->gen->n_snaps, 1, memory_order_relaxed);
	pthread_mutex_unlock(&c->lock);
	atomic_store(&snap->is_dropped, true);
}

struct collection *collection_find_snap(
	struct collection *c, struct vg_id name)
{
	struct collection *snap = NULL;

	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < c->n_snaps && !snap; i++)
		if (c->snaps[i]->name_len == name.len &&
			memcmp(c->snaps[i]->name, name.bytes, name.len) == 0)
			snap = collection_ref(c->snaps[i]);
	pthread_mutex_unlock(&c->lock);
	return snap;
}

struct collection *collection_get_snap(struct collection *c, uint32_t nth)
{
	struct collection *snap = NULL;

	pthread_mutex_lock(&c->lock);
	if (nth < c->n_snaps)
		snap = collection_ref(c->snaps[nth]);
	pthread_mutex_unlock(&c->lock);
	return snap;
}

bool version_is_kept(const struct version *v)
{
	const struct generation *g = v->cell->gen;
	struct collection *c = g->coll;
	bool is = false;

	assert(!c->of);
	if (atomic_load_explicit(&g->n_snaps, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < c->n_snaps && !is; i++)
		is = c->snaps[i]->gen == g &&
		     version_is_visible(v, c->snaps[i]->moment);
	pthread_mutex_unlock(&c->lock);
	return is;
}

/* ---- looks ---- */

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
		*look = (struct look){.coll = collection_ref(c),
			.moments = ms,
			.gen = collection_gen(c)};
		look->cell = atomic_load_explicit(
			&look->gen->cell, memory_order_acquire);
		if (look->cell)
			look->tail_from = atomic_load_explicit(
				&look->cell->tail_from, memory_order_acquire);
		look->moment = c->of ? moment_ref(c->moment) : moment_get(ms);
		if (is_newest(c, look->gen))
			return;
		look_fini(look);
	}
}

void look_hold(struct look *look)
{
	assert(!look->hold.coll);
	hold_init(&look->hold, look->gen, VERSION_NONE);
}

void look_fini(struct look *look)
{
	if (!look->gen)
		return;
	hold_fini(&look->hold);
	generation_unref(look->gen);
	moment_unref(look->moments, look->moment);
	collection_unref(look->coll);
	*look = (struct look){0};
}

/* A snapshot that ends gives back its reference on what it is of. */
void collection_unref(struct collection *c)
{
	while (c && atomic_fetch_sub_explicit(
			    &c->refs, 1, memory_order_acq_rel) == 1) {
		struct collection *of = c->of;

		assert(c->n_snaps == 0);
		if (c->gen)
			generation_drop(c->gen);
		pthread_mutex_destroy(&c->lock);
		recall_free(c->recall);
		free(c->snaps);
		free(c->moment);
		free(c);
		c = of;
	}
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
