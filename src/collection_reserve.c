/* SPDX-License-Identifier: Apache-2.0 */
/* collection_reserve.c: what a change needs is taken before it is logged. */
#include <assert.h>
#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/memory.h"
#include "src/collection_int.h"
#include "src/config.h"
#include "src/match.h"

/*
 * The tail of slots that are not linked yet is scanned by every search; it may
 * cost about what a graph search costs, 100 us: what 2.5 MB of rows take at
 * the 25 GB/s that one thread reads, and 50,000 rows at the 2 ns that one takes
 * however short it is.
 */
#define TAIL_BYTES 2500000u
#define TAIL_MAX 50000u
#define TAIL_MIN 64u

struct hnsw_config cell_graph_config(const struct cell *cell)
{
	struct hnsw_config config = {
		.dim = cell->dim,
		.dtype = cell->dtype,
		.metric = cell->metric,
		.m = cell->m,
		.ef_construction = cell->ef_construction,
		.codes = (enum hnsw_codes)cell->quant,
	};

	memcpy(&config.seed, cell->gen->coll->uuid, sizeof(config.seed));
	return config;
}

/* What finds the cell's rows, which has none yet. */
static int make_index(struct cell *cell)
{
	struct hnsw_config graph;
	struct ivf_config lists;

	switch (cell->index) {
	case VG_HNSW:
		graph = cell_graph_config(cell);
		return hnsw_new(&graph, &cell->vec.rows, &cell->hnsw);
	case VG_IVF_PQ:
		lists = cell_ivf_config(cell);
		return ivf_new(&lists, &cell->vec.rows, &cell->ivf);
	default:
		return 0;
	}
}

static_assert(VG_QUANT_AUTO == (int)HNSW_CODES_AUTO &&
		      VG_QUANT_NONE == (int)HNSW_CODES_NONE &&
		      VG_QUANT_SQ8 == (int)HNSW_CODES_BYTE &&
		      VG_QUANT_QG == (int)HNSW_CODES_NEAR,
	"one is cast to the other");

struct ivf_config cell_ivf_config(const struct cell *cell)
{
	return (struct ivf_config){.dim = cell->dim,
		.metric = cell->metric,
		.sample_bytes = memory_limit() / IVF_SAMPLE_SHARE};
}

struct cell_shape cell_shape_of(const struct op_config *config, uint32_t dim)
{
	return (struct cell_shape){
		.dtype = (enum vg_dtype)config->dtype,
		.metric = (enum vg_metric)config->metric,
		/* Where few rows are, searches scan them (search.c). */
		.index = config->index == VG_INDEX_AUTO
				 ? VG_HNSW
				 : (enum vg_index)config->index,
		.quant = (enum vg_quant)config->quant,
		.dim = dim,
		.m = config->m,
		.ef_construction = config_ef_construction(config),
	};
}

struct cell_shape cell_shape_anew(
	const struct op_config *config, const struct cell *cell)
{
	struct cell_shape shape = cell_shape_of(config, cell->dim);

	if (config->index == VG_INDEX_AUTO && cell->index == VG_IVF_PQ &&
		vg_has_lists(shape.dtype, shape.metric))
		shape.index = VG_IVF_PQ;
	if (shape.dtype == cell->dtype)
		return shape;
	return (struct cell_shape){
		.dtype = cell->dtype,
		.metric = cell->metric,
		.index = cell->index,
		.quant = cell->quant,
		.dim = cell->dim,
		.m = cell->m,
		.ef_construction = cell->ef_construction,
	};
}

int cell_new(struct generation *g, const struct cell_shape *shape,
	struct cell **out)
{
	const struct cell *before =
		atomic_load_explicit(&g->cell, memory_order_relaxed);
	struct cell *cell = calloc(1, sizeof(*cell));
	size_t row_len = vg_row_len(shape->dtype, shape->dim);
	int rc = -ENOMEM;

	assert(vg_has(shape->dtype, shape->metric));
	if (!cell)
		return -ENOMEM;
	cell->gen = g;
	cell->number = before ? before->number + 1 : 0;
	cell->dtype = shape->dtype;
	cell->metric = shape->metric;
	cell->index = shape->index;
	cell->quant = shape->quant;
	cell->dim = shape->dim;
	cell->m = shape->m;
	cell->ef_construction = shape->ef_construction;
	cell->tail_max = VG_MAX(TAIL_MIN,
		VG_MIN(TAIL_MAX, (uint32_t)(TAIL_BYTES / row_len)));
	if (column_init(&cell->vec, (uint32_t)row_len) < 0 ||
		column_init(&cell->slots, sizeof(struct slot)) < 0)
		goto free_cell;
	rc = make_index(cell);
	if (rc < 0)
		goto free_cell;
	*out = cell;
	return 0;
free_cell:
	cell_free(cell);
	return rc;
}

bool cell_is_shaped(const struct cell *cell, const struct cell_shape *shape)
{
	if (cell->dtype != shape->dtype || cell->metric != shape->metric ||
		cell->index != shape->index)
		return false;
	/* The others are a graph's alone. */
	return cell->index == VG_IVF_PQ ||
	       (cell->quant == shape->quant && cell->m == shape->m &&
		       cell->ef_construction == shape->ef_construction);
}

bool cell_wants_codes(const struct cell *cell)
{
	struct hnsw_coding by;

	if (!cell->hnsw)
		return false;
	hnsw_coding(cell->hnsw, &by);
	return by.is_chosen && !by.is_left && !by.is_wild &&
	       by.linked >= 2 * VG_MAX(cell->n_trained, HNSW_TRAIN) &&
	       by.linked - by.coded > CODES_MISSED * by.linked;
}

/*
 * Whether a vector of dim can go into the cell as it stands: one of other
 * settings that has rows is linked anew in the background (compact.h).
 */
static bool cell_fits(const struct generation *g, const struct cell *cell,
	uint32_t dim)
{
	struct cell_shape shape = cell_shape_of(&g->coll->config, dim);

	return cell && cell->dim == dim && cell->dtype == shape.dtype &&
	       (cell_is_shaped(cell, &shape) ||
		       atomic_load_explicit(&g->coll->n_live,
			       memory_order_relaxed) > 0);
}

/* That a PUT behind those that were reserved goes into. */
static struct cell *newest_cell(const struct generation *g)
{
	return g->opening ? g->opening
			  : atomic_load_explicit(
				    &g->cell, memory_order_relaxed);
}

static uint32_t dim_of(const struct generation *g, const struct op *op)
{
	return vg_dim_of((enum vg_dtype)g->coll->config.dtype, op->vec_len);
}

bool generation_needs_cell(const struct generation *g, const struct op *op)
{
	const struct cell *cell = newest_cell(g);

	assert(op->type == OP_PUT);
	return !cell_fits(g, cell, dim_of(g, op));
}

/* The next row of a cell, filled. */
static int reserve_slot(struct cell *cell, const void *vec,
	struct reservation *r)
{
	if (cell->n_reserved >= HNSW_SLOT_MAX - 1 ||
		column_reserve(&cell->vec, cell->n_reserved + 1) < 0 ||
		column_reserve(&cell->slots, cell->n_reserved + 1) < 0)
		return -ENOMEM;
	r->cell = cell;
	r->slot = cell->n_reserved++;
	memcpy(column_at(&cell->vec, r->slot), vec, cell->vec.rows.stride);
	return 0;
}

static int reserve_row(
	struct generation *g, const struct op *op, struct reservation *r)
{
	uint32_t dim = dim_of(g, op);
	struct cell_shape shape = cell_shape_of(&g->coll->config, dim);
	struct cell *cell = newest_cell(g);
	int rc;

	assert(dim > 0);
	if (!cell_fits(g, cell, dim)) {
		rc = cell_new(g, &shape, &cell);
		if (rc < 0)
			return rc;
		assert(!g->opening);
		r->is_new_cell = true;
	}
	rc = reserve_slot(cell, op->vec, r);
	if (rc < 0 && r->is_new_cell)
		cell_free(cell);
	r->is_new_cell = r->is_new_cell && rc == 0;
	if (r->is_new_cell)
		g->opening = cell;
	return rc;
}

static int reserve_id(
	struct generation *g, struct vg_id id, struct reservation *r)
{
	uint32_t newest = generation_find_newest(g, id);
	uint8_t *bytes;
	int rc;

	if (newest != VERSION_NONE) {
		r->id = generation_version(g, newest)->id;
		return 0;
	}
	rc = generation_grow_ids(g, g->n_ids + 1);
	if (rc == 0)
		rc = blob_add(&g->blob, NULL, 1 + (size_t)id.len, &r->id);
	if (rc < 0)
		return rc;
	bytes = blob_at(&g->blob, r->id);
	bytes[0] = (uint8_t)id.len;
	memcpy(bytes + 1, id.bytes, id.len);
	r->is_new_id = true;
	g->n_ids++;
	return 0;
}

static int reserve_meta(
	struct generation *g, const struct op *op, struct reservation *r)
{
	int rc;

	if (!op->meta_len)
		return 0;
	rc = blob_add(&g->blob, op->meta, op->meta_len, &r->meta);
	if (rc < 0)
		return rc;
	r->meta_len = op->meta_len;
	return 0;
}

/* Versions that op ends, at most. */
static uint32_t n_ends(const struct generation *g, const struct op *op)
{
	if (op->type == OP_RENAME)
		return 2;
	if (op->type == OP_CLEAR)
		return (uint32_t)atomic_load_explicit(
			&g->coll->n_live, memory_order_relaxed);
	return 1;
}

/* A version's number, and what it consists of. */
static int reserve_version(
	struct generation *g, const struct op *op, struct reservation *r)
{
	int rc;

	if (g->n_reserved == VERSION_NONE - 1)
		return -ENOMEM;
	rc = column_reserve(&g->versions, g->n_reserved + 1);
	if (rc < 0)
		return rc;
	r->version = g->n_reserved++;
	rc = op->type == OP_PUT ? reserve_row(g, op, r) : 0;
	if (rc == 0)
		rc = reserve_id(g, op->type == OP_RENAME ? op->id2 : op->id, r);
	if (rc == 0)
		rc = reserve_meta(g, op, r);
	return rc;
}

/* What a clear ends, where it does not end all. */
static int reserve_ends(
	struct generation *g, const struct op *op, struct reservation *r)
{
	struct filter *filter;
	int rc = match_filter_of(op, &filter);

	if (rc == 0 && filter)
		rc = match_generation(g, filter, &r->ends);
	filter_free(filter);
	return rc;
}

int generation_reserve(
	struct generation *g, const struct op *op, struct reservation *r)
{
	uint32_t ends = n_ends(g, op);
	int rc;

	assert(op->type >= OP_PUT && op->type <= OP_CLEAR);
	*r = (struct reservation){
		.version = VERSION_NONE, .blob_n = g->blob.n};
	rc = column_reserve(&g->ended,
		atomic_load_explicit(&g->n_ended, memory_order_relaxed) +
			g->n_ending + ends);
	if (rc < 0)
		return rc;
	r->n_ends = ends;
	g->n_ending += ends;
	if (op->type == OP_PUT || op->type == OP_SET || op->type == OP_RENAME)
		rc = reserve_version(g, op, r);
	if (op->type == OP_CLEAR)
		rc = reserve_ends(g, op, r);
	if (rc < 0)
		generation_unreserve(g, r);
	return rc;
}

void generation_unreserve(struct generation *g, struct reservation *r)
{
	assert(r->n_ends <= g->n_ending);
	g->n_ending -= r->n_ends;
	if (r->version != VERSION_NONE) {
		assert(r->version == g->n_reserved - 1);
		blob_del_last(&g->blob, r->blob_n);
		g->n_reserved--;
	}
	if (r->is_new_id)
		g->n_ids--;
	if (r->cell)
		r->cell->n_reserved--;
	if (r->is_new_cell) {
		g->opening = NULL;
		cell_free(r->cell);
	}
	if (r->ends)
		roaring_bitmap_free(r->ends);
	*r = (struct reservation){.version = VERSION_NONE};
}

int generation_carry(
	struct generation *g, const struct version *v, uint32_t *slot)
{
	struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_relaxed);
	struct meta meta = version_meta(v);
	struct op op = {.meta = meta.json, .meta_len = meta.len};
	struct reservation r = {.version = VERSION_NONE, .blob_n = g->blob.n};
	uint32_t older = generation_find_newest(g, version_id(v));
	int rc;

	assert(cell && cell->dim == v->cell->dim);
	assert(cell->dtype == v->cell->dtype);
	/* Its end will need a place. */
	rc = column_reserve(&g->versions, g->n_reserved + 1);
	if (rc == 0)
		rc = column_reserve(&g->ended, g->n_reserved + 1);
	if (rc < 0)
		return rc;
	r.version = g->n_reserved++;
	rc = *slot == VG_SLOT_NONE ? reserve_slot(cell, version_vec(v), &r) : 0;
	if (rc == 0)
		rc = reserve_id(g, version_id(v), &r);
	if (rc == 0)
		rc = reserve_meta(g, &op, &r);
	if (rc < 0) {
		generation_unreserve(g, &r);
		return rc;
	}
	if (r.cell)
		*slot = r.slot;
	generation_begin(g,
		&(struct version){
			.begin = v->begin,
			.mtime_ns = v->mtime_ns,
			.cell = cell,
			.slot = *slot,
			.older = older,
		},
		&r);
	if (r.cell)
		atomic_store_explicit(
			&cell->n_slots, *slot + 1, memory_order_release);
	return 0;
}
