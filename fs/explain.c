/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c: see explain.h. */
#include "fs/explain.h"

#include <assert.h>
#include <inttypes.h>

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/auto_index.h"
#include "src/compact.h"
#include "src/config.h"
#include "src/fields.h"
#include "src/memory.h"
#include "src/recall.h"
#include "src/tune.h"

static const char *setting(const struct op_config *c, enum config_item item,
	char value[64])
{
	config_format(c, item, value, 64);
	return value;
}

/* By codes of neighbours. */
static const char *why_near(const struct hnsw_coding *by)
{
	if (!by->is_chosen || by->is_left)
		return "as written: codes of neighbours lead searches; the "
		       "rows that they come to are compared";
	if (by->quant.is_whole)
		return "as written: codes of neighbours lead searches; the "
		       "rows that they come to are whole numbers from 0 to "
		       "255, their own codes";
	return "as written: codes of neighbours lead searches; of the rows "
	       "that they come to the nearest 2 k + 16, or ef / 4, by a code "
	       "of a byte are compared";
}

static const char *why_quant(const struct cell *cell,
	const struct hnsw_coding *by)
{
	if (cell->quant == VG_QUANT_NONE)
		return "as written";
	if (by->has_near && !by->is_wild)
		return why_near(by);
	if (cell->quant == VG_QUANT_QG && !by->has_near)
		return "codes of neighbours (qg) are of f32 under l2, cosine "
		       "and ip, of 16384 elements at most; this is as auto is";
	if (cell->dtype == VG_I8 || cell->dtype == VG_B1)
		return "rows are as small as codes would be";
	if (cell->metric == VG_IP)
		return "inner products have no codes";
	if (cell->metric == VG_L1)
		return "l1 has no codes";
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
	return "codes round off, so the nearest 2 k + 16, or ef / 4, are "
	       "compared by their rows";
}

static_assert(HNSW_NEAR_DIM_MAX == 16384, "as why_quant says");

static void print_bytes(size_t bytes, uint32_t linked, FILE *out)
{
	fprintf(out, "bytes: %zu\n", bytes);
	if (linked > 0)
		fprintf(out, "bytes_per_vector: %.0f\n",
			(double)bytes / linked);
}

static void print_quant(const struct cell *cell, FILE *out)
{
	struct hnsw_coding by;

	assert(cell->hnsw);
	hnsw_coding(cell->hnsw, &by);
	fprintf(out,
		"levels: %u\nquant: %s\nquant_why: %s\ncoded: %u\n"
		"linked: %u\n",
		by.levels,
		by.is_wild			? "none"
		: by.has_near			? "qg"
		: by.is_chosen && !by.is_left	? "sq8"
						: "none",
		why_quant(cell, &by), by.coded, by.linked);
	print_bytes(by.bytes, by.linked, out);
}

static void print_lists(
	const struct cell *cell, const struct op_config *config, FILE *out)
{
	uint32_t fewest, most;
	struct ivf_stat st;

	ivf_stat(cell->ivf, &st);
	ivf_list_rows(cell->ivf, &fewest, &most);
	fprintf(out, "quant: %s\n", st.n_lists > 0 ? "pq" : "none");
	if (st.n_lists == 0)
		fprintf(out, st.linked < IVF_TRAIN
				? "quant_why: codes are learnt once %u rows "
				  "are linked; until then all are compared\n"
				: "quant_why: codes are being learnt (from %u "
				  "rows on), or too few rows can have one; all "
				  "are compared\n",
			IVF_TRAIN);
	else
		fprintf(out, "quant_why: codes of %u bytes; the nearest ef by "
			     "them are compared by their rows\n",
			st.m);
	fprintf(out, "coded: %u\nlinked: %u\n", st.coded, st.linked);
	fprintf(out,
		"lists: %u\nlists_from: %u rows\nlist_rows: %u to %u\n"
		"learning: %s\n",
		st.n_lists, st.trained, fewest, most,
		st.is_training ? "yes" : "no");
	fprintf(out, "nprobe: %u\n",
		ivf_nprobe(st.n_lists, config_ef_search(config, 10)));
	print_bytes(st.bytes, st.linked, out);
}

static void print_cell(const struct cell *cell, const struct op_config *config,
	FILE *out)
{
	struct op_config is = {.m = cell->m,
		.ef_construction = cell->ef_construction,
		.metric = (uint8_t)cell->metric,
		.dtype = (uint8_t)cell->dtype,
		.index = (uint8_t)cell->index};
	char value[64];

	fprintf(out, "index: %s\n", setting(&is, CONFIG_INDEX, value));
	fprintf(out, "index_why: %s\n",
		config->index != VG_INDEX_AUTO ? "as written"
		: cell->hnsw ? "auto: a graph; while a search with its ef "
			       "would cost as much, all rows are compared"
		: cell->ivf  ? "auto: lists of short codes, as a graph takes "
			       "more memory than there is for it"
			     : "as written before");
	fprintf(out, "metric: %s\n", setting(&is, CONFIG_METRIC, value));
	fprintf(out, "dtype: %s\n", setting(&is, CONFIG_DTYPE, value));
	if (cell->ivf)
		print_lists(cell, config, out);
	if (!cell->hnsw)
		return;
	fprintf(out, "m: %s\n", setting(&is, CONFIG_M, value));
	fprintf(out, "ef_construction: %s\n",
		setting(&is, CONFIG_EF_CONSTRUCTION, value));
	print_quant(cell, out);
}

/* What filters and facets have indexed in this life, and how often metadata was
 * looked at for it: what a checkpoint has saved is not made again. */
static void print_fields(const struct generation *g, FILE *out)
{
	struct fields *f =
		atomic_load_explicit(&g->fields, memory_order_acquire);

	fprintf(out, "fields: %u\nfields_bytes: %zu\nfields_read: %" PRIu64 "\n",
		f ? fields_count(f) : 0, f ? fields_bytes(f) : 0,
		f ? fields_read(f) : 0);
}

/* What is written but does not hold yet. */
static void print_anew(struct store *s, struct collection *c,
	const struct cell *cell, const struct op_config *config, FILE *out)
{
	struct cell_shape shape = cell_shape_anew(config, cell);
	uint32_t rows, linked;

	if (store_compacting(s, c, &rows, &linked))
		fprintf(out, "anew: %u rows, %u linked\n", rows, linked);
	else if (!c->of && (!cell_is_shaped(cell, &shape) ||
				   cell_wants_codes(cell) ||
				   cell_is_outgrown(cell, config)))
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
		print_fields(g, out);
		print_anew(s, c, cell, &config, out);
	} else {
		fprintf(out, "index: none\nindex_why: there is no vector yet\n");
	}
	generation_unref(g);
}

/* ---- recall ---- */

/* What is said of one class of k. */
struct class_view {
	const struct cell *cell; /* NULL: there is no vector */
	struct op_config config;
	struct recall_samples samples;
	struct recall_result last;
	struct recall_state now;
	uint32_t ef, k; /* of a search for the first k of the class */
};

static bool is_large(const struct cell *cell)
{
	return !memory_has_room(
		(uint64_t)cell->n_slots * cell->vec.rows.stride);
}

/* Why all rows are compared. */
static const char *why_exact(const struct class_view *v)
{
	if (!cell_has_index(v->cell))
		return "all rows are compared";
	if (v->cell->ivf && v->now.n_learnt == 0)
		return "no lists are learnt yet, so all rows are compared";
	return "a search with its ef would cost as much, so all rows are "
	       "compared";
}

/* Why there is no estimate; NULL: there is one. */
static const char *why_unknown(const struct class_view *v)
{
	if (!v->cell)
		return "there is no vector yet";
	if (is_large(v->cell))
		return "the rows take more than half of the memory, so they "
		       "are not all compared in the background";
	if (!v->last.is_set)
		return v->samples.n < v->samples.needed
			       ? "too few queries are sampled"
			       : "it is being measured";
	if (!tune_is_current(&v->last, &v->now))
		return "not measured yet since the rows were linked anew or "
		       "lists learnt anew, or target_recall or ef_search was "
		       "written";
	return NULL;
}

static void print_estimate(const struct class_view *v, FILE *out)
{
	const struct recall_estimate *e = &v->last.estimate;
	const char *why = why_unknown(v);

	if (v->cell && store_search_is_scan(v->cell, v->ef, v->k)) {
		fprintf(out, "recall: 1\nrecall_why: exact: %s\n",
			why_exact(v));
	} else if (why) {
		fprintf(out, "recall: unknown\nrecall_why: %s\n", why);
	} else {
		fprintf(out,
			"recall: %.4f\nlow: %.4f\nhigh: %.4f\nqueries: %u\n"
			"rows: %" PRIu64 "\n",
			e->recall, e->low, e->high, e->n, v->last.of.n_live);
	}
	if (v->samples.k_min == v->samples.k_max && v->samples.n)
		fprintf(out, "k: %u\n", v->samples.k_min);
	else if (v->samples.n)
		fprintf(out, "k: %u to %u\n", v->samples.k_min,
			v->samples.k_max);
	fprintf(out, "sampled: %u\n", v->samples.n);
}

/* What was chosen, in the words of what it was chosen for. */
static void print_tuned(const struct class_view *v, FILE *out)
{
	char target[64];

	setting(&v->config, CONFIG_TARGET_RECALL, target);
	if (v->last.is_met)
		fprintf(out, "auto: the smallest tried with which low is not "
			"below target_recall %s\n", target);
	else if (v->last.estimate.recall >= 1)
		fprintf(out, "auto: the smallest tried with which no query "
			"missed any; %u queries cannot show target_recall "
			"%s\n", v->last.estimate.n, target);
	else
		fprintf(out, "auto: target_recall %s is not met: no larger one "
			"found more\n", target);
}

static void print_ef(const struct class_view *v, FILE *out)
{
	bool is_tuned = v->config.tuned[config_ef_class(v->k)] != 0;

	fprintf(out, "ef: %u\nef_why: ", v->ef);
	if (v->config.ef_search)
		fprintf(out, "as written\n");
	else if (is_tuned && tune_is_current(&v->last, &v->now))
		print_tuned(v, out);
	else if (is_tuned)
		fprintf(out, "auto: as measured before; anew once %u queries "
			"are sampled\n", v->samples.needed);
	else
		fprintf(out, "auto: the default until %u queries are "
			"sampled\n", v->samples.needed);
}

void explain_recall(struct collection *c, FILE *out)
{
	static const uint32_t k[OP_EF_CLASSES] = {10, 100, 1000};
	struct generation *g = collection_gen(c);
	struct class_view v = {.config = collection_config(c),
		.now = tune_state(c),
		.cell = atomic_load_explicit(&g->cell, memory_order_acquire)};
	struct recall_samples samples[OP_EF_CLASSES];

	recall_count(c->recall, config_target_recall(&v.config), samples);
	for (unsigned i = 0; i < OP_EF_CLASSES; i++) {
		v.samples = samples[i];
		v.last = recall_result(c->recall, i);
		v.k = v.samples.n ? v.samples.k_min : k[i];
		v.ef = config_ef_search(&v.config, v.k);
		if (i > 0 && !v.samples.n && !v.config.tuned[i])
			continue;
		fprintf(out, "%s", i > 0 ? "\n" : "");
		print_estimate(&v, out);
		print_ef(&v, out);
	}
	generation_unref(g);
}
