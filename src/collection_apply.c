/* SPDX-License-Identifier: Apache-2.0 */
/* collection_apply.c: how a collection changes: what was reserved is made true. */
#include <assert.h>
#include <roaring/roaring.h>

#include "src/collection_int.h"

void generation_end(struct generation *g, uint32_t no, uint64_t seq)
{
	struct version *v = generation_version(g, no);

	uint32_t n = atomic_load_explicit(&g->n_ended, memory_order_relaxed);

	assert(v->begin < seq);
	*(uint32_t *)column_at(&g->ended, n) = no;
	atomic_store_explicit(&v->end, seq, memory_order_release);
	atomic_store_explicit(&g->n_ended, n + 1, memory_order_release);
}

/* What an op changes of a collection's counts, modulo 2^64: told at once, so that
 * an overwritten record is always counted, and a deletion as a whole. */
struct change_of_counts {
	uint64_t n_live, meta_bytes;
};

/* Ends an open version. */
static void end_version(struct generation *g, uint32_t no, uint64_t seq,
	struct change_of_counts *by)
{
	generation_end(g, no, seq);
	by->n_live--;
	by->meta_bytes -= generation_version(g, no)->meta_len;
}

static bool is_open(const struct generation *g, uint32_t no)
{
	return no != VERSION_NONE &&
	       atomic_load_explicit(&generation_version(g, no)->end,
		       memory_order_relaxed) == VERSION_OPEN;
}

void generation_begin(struct generation *g, const struct version *made,
	const struct reservation *r)
{
	struct version *v = generation_version(g, r->version);
	struct id_table *table =
		atomic_load_explicit(&g->ids, memory_order_relaxed);
	struct slot *slot = cell_slot(made->cell, made->slot);

	*v = *made;
	atomic_store_explicit(&v->end, VERSION_OPEN, memory_order_relaxed);
	v->id = r->id;
	v->partition = op_partition(version_id(v));
	v->meta = r->meta;
	v->meta_len = r->meta_len;
	v->sibling = atomic_load_explicit(&slot->head, memory_order_relaxed) - 1;
	atomic_store_explicit(
		&slot->head, r->version + 1, memory_order_release);
	atomic_store_explicit(generation_head(g, table, version_id(v)),
		r->version, memory_order_release);
	atomic_store_explicit(
		&g->n_versions, r->version + 1, memory_order_release);
}

/* One record more than there was. */
static void count_version(
	const struct reservation *r, struct change_of_counts *by)
{
	by->n_live++;
	by->meta_bytes += r->meta_len;
}

static void apply_put(struct generation *g, const struct op *op,
	struct reservation *r, struct change_of_counts *by)
{
	uint32_t old = generation_find_newest(g, op->id);
	struct cell *cell = r->cell;

	if (is_open(g, old))
		end_version(g, old, op->places[0].seq, by);
	if (r->is_new_cell) {
		cell->retired =
			atomic_load_explicit(&g->cell, memory_order_relaxed);
		atomic_store_explicit(&g->cell, cell, memory_order_release);
		g->opening = NULL;
	}
	generation_begin(g,
		&(struct version){
			.begin = op->places[0].seq,
			.mtime_ns = op->time_ns,
			.cell = cell,
			.slot = r->slot,
			.older = old,
		},
		r);
	count_version(r, by);
	atomic_store_explicit(&cell->n_slots, r->slot + 1, memory_order_release);
	pthread_mutex_lock(&g->coll->lock);
	if (g->coll->config.dim == 0 || g->coll->config.dim_source) {
		g->coll->config.dim = cell->dim;
		if (r->is_new_cell || !g->coll->config.dim_source) {
			g->coll->config.dim_source = op->source;
			g->coll->config.dim_body_len = op->body_len;
		}
	}
	pthread_mutex_unlock(&g->coll->lock);
}

static void apply_set(struct generation *g, const struct op *op,
	struct reservation *r, struct change_of_counts *by)
{
	uint32_t old = generation_find_newest(g, op->id);
	const struct version *v = generation_version(g, old);

	assert(is_open(g, old));
	end_version(g, old, op->places[0].seq, by);
	generation_begin(g,
		&(struct version){
			.begin = op->places[0].seq,
			.mtime_ns = op->time_ns,
			.cell = v->cell,
			.slot = v->slot,
			.older = old,
		},
		r);
	count_version(r, by);
}

static void apply_rename(struct generation *g, const struct op *op,
	struct reservation *r, struct change_of_counts *by)
{
	uint32_t from = generation_find_newest(g, op->id);
	uint32_t to = generation_find_newest(g, op->id2);
	const struct version *v = generation_version(g, from);

	assert(is_open(g, from));
	end_version(g, from, op->places[0].seq, by);
	if (is_open(g, to))
		end_version(g, to, op->places[1].seq, by);
	generation_begin(g,
		&(struct version){
			.begin = op->places[1].seq,
			.mtime_ns = v->mtime_ns,
			.cell = v->cell,
			.slot = v->slot,
			.older = to,
		},
		r);
	count_version(r, by);
}

static void apply_clear(struct generation *g, const struct op *op,
	struct reservation *r, struct change_of_counts *by)
{
	uint64_t seq[VG_SEQS] = {0};
	uint32_t n = atomic_load_explicit(&g->n_versions, memory_order_relaxed);

	for (uint32_t i = 0; i < op->n_places; i++)
		seq[op->more[i].partition] = op->more[i].seq;
	for (uint32_t no = 0; no < n; no++) {
		uint16_t p;

		if (!is_open(g, no) ||
			(r->ends && !roaring_bitmap_contains(r->ends, no)))
			continue;
		p = generation_version(g, no)->partition;
		assert(seq[p]);
		end_version(g, no, seq[p], by);
	}
	if (r->ends)
		roaring_bitmap_free(r->ends);
	r->ends = NULL;
}

void generation_apply(
	struct generation *g, const struct op *op, struct reservation *r)
{
	struct change_of_counts by = {0};
	uint32_t old;

	assert(r->n_ends <= g->n_ending);
	g->n_ending -= r->n_ends;
	switch (op->type) {
	case OP_PUT:
		apply_put(g, op, r, &by);
		break;
	case OP_SET:
		apply_set(g, op, r, &by);
		break;
	case OP_DEL:
		old = generation_find_newest(g, op->id);
		assert(is_open(g, old));
		end_version(g, old, op->places[0].seq, &by);
		break;
	case OP_RENAME:
		apply_rename(g, op, r, &by);
		break;
	case OP_CLEAR:
		apply_clear(g, op, r, &by);
		break;
	default:
		assert(false && "an op of the catalogue");
	}
	atomic_fetch_add_explicit(
		&g->coll->n_live, by.n_live, memory_order_relaxed);
	atomic_fetch_add_explicit(
		&g->coll->meta_bytes, by.meta_bytes, memory_order_relaxed);
}
