/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c: see explain.h. */
#include "fs/explain.h"

#include <assert.h>
#include <inttypes.h>

#include "index/hnsw.h"
#include "src/compact.h"
#include "src/config.h"

static const char *setting(const struct op_config *c, enum config_item item,
	char value[64])
{
	config_format(c, item, value, 64);
	return value;
}

static const char *why_quant(const struct cell *cell,
	const struct hnsw_coding *by)
{
	if (cell->quant == VG_QUANT_NONE)
		return "as written";
	if (cell->metric == VG_IP)
		return "inner products have no codes";
	if (by->is_left)
		return "rows lie too close together for codes of a byte";
	if (by->is_wild)
		return "some row is too long or too short for codes";
	if (!by->is_chosen)
		return by->linked < HNSW_TRAIN
			       ? "codes are chosen once 1024 rows are linked"
			       : "rows lie too close together for codes of a "
				 "byte, or are all the same";
	if (by->quant.is_whole)
		return "whole numbers from 0 to 255 are their own codes: "
		       "nothing is lost, no row is read again";
	return "codes round off, so the nearest 2 k + 16 are compared by "
	       "their rows";
}

static void print_quant(const struct cell *cell, FILE *out)
{
	struct hnsw_coding by;

	assert(cell->hnsw);
	hnsw_coding(cell->hnsw, &by);
	fprintf(out, "quant: %s\nquant_why: %s\ncoded: %u\nlinked: %u\n",
		by.is_chosen && !by.is_left && !by.is_wild ? "sq8" : "none",
		why_quant(cell, &by), by.coded, by.linked);
	fprintf(out, "bytes: %zu\n", by.bytes);
	if (by.linked > 0)
		fprintf(out, "bytes_per_vector: %.0f\n",
			(double)by.bytes / by.linked);
}

static void print_cell(const struct cell *cell, const struct op_config *config,
	FILE *out)
{
	struct op_config is = {.m = cell->m,
		.ef_construction = cell->ef_construction,
		.metric = (uint8_t)cell->metric,
		.index = (uint8_t)cell->index};
	char value[64];

	fprintf(out, "index: %s\n", setting(&is, CONFIG_INDEX, value));
	fprintf(out, "index_why: %s\n",
		config->index != VG_INDEX_AUTO ? "as written"
		: cell->hnsw ? "auto: a graph; while a search with its ef "
			       "would cost as much, all rows are compared"
			     : "as written before");
	fprintf(out, "metric: %s\n", setting(&is, CONFIG_METRIC, value));
	if (!cell->hnsw)
		return;
	fprintf(out, "m: %s\n", setting(&is, CONFIG_M, value));
	fprintf(out, "ef_construction: %s\n",
		setting(&is, CONFIG_EF_CONSTRUCTION, value));
	print_quant(cell, out);
}

/* What is written but does not hold yet. */
static void print_anew(struct store *s, struct collection *c,
	const struct cell *cell, const struct op_config *config, FILE *out)
{
	struct cell_shape shape = cell_shape_of(config, cell->dim);
	uint32_t rows, linked;

	if (store_compacting(s, c, &rows, &linked))
		fprintf(out, "anew: %u rows, %u linked\n", rows, linked);
	else if (!c->of && !cell_is_shaped(cell, &shape))
		fprintf(out, "anew: soon\n");
	else
		fprintf(out, "anew: no\n");
}

void explain_index(struct store *s, struct collection *c, FILE *out)
{
	struct generation *g = collection_gen(c);
	struct op_config config = collection_config(c);
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);

	if (cell) {
		print_cell(cell, &config, out);
		print_anew(s, c, cell, &config, out);
	} else {
		fprintf(out, "index: none\nindex_why: there is no vector yet\n");
	}
	generation_unref(g);
}
