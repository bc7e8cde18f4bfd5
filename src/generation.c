/* SPDX-License-Identifier: Apache-2.0 */
/* generation.c: reading what a collection holds; see collection.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/collection_int.h"
#include "src/log.h"

static_assert(sizeof(struct version) == 64, "a version is one cache line");

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

void version_prefetch(const struct version *v)
{
	const struct blob *blob = &v->cell->gen->blob;

	__builtin_prefetch(blob_at(blob, v->id));
	if (v->meta_len > 0)
		__builtin_prefetch(blob_at(blob, v->meta));
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

int generation_grow_ids(struct generation *g, uint32_t n)
{
	struct id_table *old =
		atomic_load_explicit(&g->ids, memory_order_relaxed);
	struct id_table *table;
	uint64_t cap = old ? (uint64_t)old->mask + 1 : 16;

	while (cap / 4 * 3 < n)
		cap *= 2;
	if (old && cap == (uint64_t)old->mask + 1)
		return 0;
	if (cap > UINT32_MAX)
		return -ENOMEM;
	table = malloc(sizeof(*table) + cap * sizeof(table->head[0]));
	if (!table)
		return -ENOMEM;
	table->retired = old;
	table->mask = (uint32_t)cap - 1;
	memset((void *)table->head, 0xff, cap * sizeof(table->head[0]));
	for (uint32_t i = 0; old && i <= old->mask; i++) {
		uint32_t no = atomic_load_explicit(
			&old->head[i], memory_order_relaxed);

		if (no != VERSION_NONE)
			atomic_store_explicit(
				generation_head(g, table,
					version_id(generation_version(g, no))),
				no, memory_order_relaxed);
	}
	atomic_store_explicit(&g->ids, table, memory_order_release);
	return 0;
}

uint32_t generation_find_newest(const struct generation *g, struct vg_id id)
{
	struct id_table *table =
		atomic_load_explicit(&g->ids, memory_order_acquire);

	return atomic_load_explicit(
		generation_head(g, table, id), memory_order_acquire);
}

uint32_t generation_find_begun(
	const struct generation *g, struct vg_id id, uint64_t begin)
{
	uint32_t no = generation_find_newest(g, id);

	while (no != VERSION_NONE && generation_version(g, no)->begin != begin)
		no = generation_version(g, no)->older;
	return no;
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

/*
 * A moment that is taken later than m shows one from m on; a snapshot that is
 * older was entered before what ended after it. A version that no moment shows
 * yet has no end either: its group is being applied while we look.
 */
bool cell_is_over(
	const struct cell *cell, uint32_t slot, const struct moment *m)
{
	uint32_t no = atomic_load_explicit(
		&cell_slot(cell, slot)->head, memory_order_acquire);

	assert(no > 0);
	while (no-- > 0) {
		const struct version *v = generation_version(cell->gen, no);

		if (atomic_load_explicit(&v->end, memory_order_acquire) >
				m->seq[v->partition] ||
			version_is_kept(v))
			return false;
		no = v->sibling + 1;
	}
	return true;
}

/* Says once that a search met pages that are lost: the handler cannot. */
static void tell_lost(struct cell *cell)
{
	if (!atomic_exchange_explicit(
		    &cell->is_damage_told, true, memory_order_relaxed))
		log_err("damaged: the disk does not give what was mapped of "
			"vectors any more: their records are left out of "
			"answers; restore them from a copy, or write them "
			"again");
}

/* Whether a row that was looked at, or needs no look, is damaged. */
static bool is_damaged(const struct cell *cell, uint32_t slot)
{
	uint32_t group = slot >> cell->vec.rows.group;

	assert(rows_is_sure(&cell->vec.rows, slot));
	return slot < cell->vec.rows.n_unsure &&
	       (atomic_load_explicit(&cell->damaged[group / 64],
			memory_order_relaxed) >>
			       (group % 64) &
		       1);
}

bool cell_is_bad(const struct cell *cell, uint32_t slot)
{
	if (column_check(&cell->vec, slot) < 0)
		return true;
	return atomic_load_explicit(&cell->n_damaged, memory_order_relaxed) >
		       0 &&
	       rows_is_sure(&cell->vec.rows, slot) && is_damaged(cell, slot);
}

int cell_check_row(struct cell *cell, uint32_t slot)
{
	rows_check(&cell->vec.rows, slot);
	if (!rows_is_sure(&cell->vec.rows, slot))
		return -EMFILE;
	if (column_check(&cell->vec, slot) < 0) {
		tell_lost(cell);
		return -EIO;
	}
	return is_damaged(cell, slot) ? -EIO : 0;
}

uint32_t generation_damaged(const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);

	return cell ? atomic_load_explicit(
			      &cell->n_damaged, memory_order_relaxed) +
			      atomic_load_explicit(&cell->vec.n_lost,
				      memory_order_relaxed)
		    : 0;
}

uint32_t generation_unread(const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);

	return cell ? atomic_load_explicit(
			      &cell->n_unread, memory_order_relaxed)
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
	if (rc == 0 && g == g->coll->gen &&
		n_live != atomic_load(&g->coll->n_live)) {
		*why = "the count of records is not that of open versions";
		rc = -VG_ECORRUPT;
	}
	if (rc == 0 && cell && cell->hnsw)
		rc = hnsw_check(cell->hnsw, why);
	if (rc == 0 && cell && cell->ivf)
		rc = ivf_check(cell->ivf, why);
	return rc;
}

static int check_snap(const struct collection *snap, const char **why)
{
	uint64_t n = 0;

	for (uint32_t no = 0;
		(no = generation_next(snap->gen, no, snap->moment)) !=
		VERSION_NONE;
		no++)
		n++;
	if (n == atomic_load(&snap->n_live))
		return 0;
	*why = "a snapshot does not show as many records as there were";
	return -VG_ECORRUPT;
}

int collection_check(struct collection *c, const char **why)
{
	struct generation *g = NULL;
	struct collection *snap;
	int rc = 0;

	while (rc == 0 && (g = collection_next_gen(c, g, GENS_KEPT)))
		rc = generation_check(g, why);
	generation_unref(g);
	for (uint32_t i = 0; rc == 0 && (snap = collection_get_snap(c, i));
		i++) {
		rc = check_snap(snap, why);
		collection_unref(snap);
	}
	return rc;
}
