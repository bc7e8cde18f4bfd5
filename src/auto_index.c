/* SPDX-License-Identifier: Apache-2.0 */
/* auto_index.c: see auto_index.h. */
#include "src/auto_index.h"

#include <assert.h>
#include <math.h>

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/memory.h"

/* Below so much it is a graph on every machine. */
#define SMALL_BYTES (16u << 20)

/* Of a row, in memory: its version, its id and what finds it... */
#define STATE_BYTES 110u
/* ...a graph's node with its links, but for a byte an element... */
#define NODE_BYTES 220u
/* ...and what lists have of it, but for a byte for 4 elements. */
#define LISTED_BYTES 20u

static uint64_t graph_bytes(uint32_t dim, uint64_t n)
{
	return n * (dim + NODE_BYTES);
}

/* With centroids, of which there are 4 sqrt(n), and those before. */
static uint64_t lists_bytes(uint32_t dim, uint64_t n)
{
	return n * (dim / 4 + LISTED_BYTES) +
	       (uint64_t)(8 * sqrt((double)n)) * dim * sizeof(float);
}

bool auto_is_outgrown(const struct auto_sizes *sizes)
{
	uint64_t n = sizes->n_live, need = sizes->index_bytes;

	assert(n <= sizes->n_slots && sizes->limit > 0);
	need += STATE_BYTES * (n + sizes->n_slots);
	if (sizes->has_lists)
		return need + graph_bytes(sizes->dim, n) <=
		       sizes->limit / 8 * 3;
	need += lists_bytes(sizes->dim, n) +
		sizes->limit / IVF_SAMPLE_SHARE;
	return need > sizes->limit / 4 * 3;
}

enum vg_index auto_choose(const struct auto_sizes *sizes)
{
	uint64_t n = sizes->n_live;

	if (auto_is_outgrown(sizes))
		return sizes->has_lists ? VG_HNSW : VG_IVF_PQ;
	if (sizes->has_lists)
		return VG_IVF_PQ;
	return sizes->index_bytes + graph_bytes(sizes->dim, n) +
				       STATE_BYTES * (n + sizes->n_slots) >
			       sizes->limit / 8 * 7
		       ? VG_IVF_PQ
		       : VG_HNSW;
}

static struct auto_sizes sizes_of(const struct cell *cell)
{
	struct auto_sizes sizes = {.has_lists = cell->ivf,
		.dim = cell->dim,
		.n_slots = atomic_load_explicit(
			&cell->n_slots, memory_order_acquire)};
	uint64_t n_live = atomic_load_explicit(
		&cell->gen->coll->n_live, memory_order_relaxed);

	sizes.n_live = (uint32_t)VG_MIN(n_live, sizes.n_slots);
	if (cell->ivf) {
		struct ivf_stat st;

		ivf_stat(cell->ivf, &st);
		sizes.index_bytes = st.bytes;
	} else if (cell->hnsw) {
		struct hnsw_coding by;

		hnsw_coding(cell->hnsw, &by);
		sizes.index_bytes = by.bytes;
	}
	return sizes;
}

/* Whether it is ours to say. *sizes is filled then. */
static bool is_auto(const struct cell *cell, const struct op_config *config,
	struct auto_sizes *sizes)
{
	if (config->index != VG_INDEX_AUTO || !cell_has_index(cell) ||
		config->dtype != cell->dtype ||
		!vg_has_lists(cell->dtype, (enum vg_metric)config->metric))
		return false;
	*sizes = sizes_of(cell);
	/* Most collections are asked about no further. */
	if (!sizes->has_lists && sizes->index_bytes < SMALL_BYTES)
		return false;
	sizes->limit = memory_limit();
	return true;
}

bool cell_is_outgrown(const struct cell *cell, const struct op_config *config)
{
	struct auto_sizes sizes;

	return is_auto(cell, config, &sizes) && auto_is_outgrown(&sizes);
}

enum vg_index cell_index_anew(
	const struct cell *cell, const struct op_config *config)
{
	struct auto_sizes sizes;

	return is_auto(cell, config, &sizes)
		       ? auto_choose(&sizes)
		       : cell_shape_anew(config, cell).index;
}
