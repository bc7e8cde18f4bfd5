/* SPDX-License-Identifier: Apache-2.0 */
/* manifestkit.c: see manifestkit.h. */
#include "tests/manifestkit.h"

#include "src/catalogue.h"

#include <string.h>

#include "src/wire.h"
#include "tests/tap.h"

static struct colfile_part vec[] = {
	{.number = 1, .first = 0, .n = 1000, .sums_hash = 11, .tail_hash = 12},
	{.number = 3, .first = 1000, .n = 500, .sums_hash = 13},
};
static struct colfile_part version[] = {{.number = 1, .n = 1600}};
static struct colfile_part meta[] = {{.number = 2, .n = 700}};
static struct colfile_part end[] = {{.number = 5, .n = 100}};

static struct colfile_part past_vec[] = {
	{.number = 4, .n = 3, .tail_hash = 14}};
static struct colfile_part past_version[] = {
	{.number = 6, .n = 3, .tail_hash = 15}};

#define PAST_CONFIG                                                           \
	{.dim = 3, .m = 8, .ef_construction = 50, .ef_search = 60,            \
		.metric = VG_IP, .dtype = VG_F32, .index = VG_FLAT,           \
		.dim_source = OP_SOURCE_TEXT, .dim_body_len = 9,              \
		.quant = VG_QUANT_NONE}

/* The seqs are kit_manifest's. */
static struct manifest_snap noon[] = {{
	.no = 3,
	.uuid = "0123456789abcde4",
	.name_len = 4,
	.name = "noon",
	.config = {.dim = 384, .m = 16, .ef_construction = 200,
		.ef_search = 99, .metric = VG_COSINE, .dtype = VG_F32,
		.index = VG_HNSW, .quant = VG_QUANT_SQ8},
	.attr = {0700, 7, 8},
	.mtime_ns = 30,
	.commit_ns = -31,
	.n_live = 1400,
	.meta_bytes = 5000,
}};
static struct manifest_snap past_snaps[] = {
	{
		.no = 1,
		.uuid = "0123456789abcde2",
		.name_len = 4,
		.name = "dawn",
		.config = PAST_CONFIG,
		.attr = {0755, 1000, 100},
		.mtime_ns = 10,
	},
	{
		.no = 2,
		.uuid = "0123456789abcde3",
		.name_len = 4,
		.name = "dusk",
		.config = PAST_CONFIG,
		.attr = {0755, 1000, 100},
		.mtime_ns = 20,
		.commit_ns = 19,
		.n_live = 3,
		.meta_bytes = 6,
	},
};

static struct manifest_collection collections[] = {
	{
		.no = 0,
		.gen = GENERATION_FIRST + 2,
		.uuid = "0123456789abcde0",
		.cursor = 1,
		.name_len = 4,
		.name = "docs",
		.config = {.dim = 384, .m = 16, .ef_construction = 200,
			.metric = VG_COSINE,
			.dtype = VG_F32, .index = VG_HNSW,
			.dim_source = OP_SOURCE_RAW, .dim_body_len = 1536,
			.quant = VG_QUANT_SQ8},
		.attr = {0755, 1000, 100},
		.mtime_ns = -5,
		.commit_ns = 6,
		.dim = 384,
		.dtype = VG_F32,
		.metric = VG_COSINE,
		.index = VG_HNSW,
		.quant = VG_QUANT_SQ8,
		.m = 16,
		.ef_construction = 200,
		.cell = 3,
		.vec = {vec, 2},
		.version = {version, 1},
		.meta = {meta, 1},
		.end = {end, 1},
		.graph = {.number = 1, .len = 5000, .hash = 21},
		.delta = {{.number = 2, .len = 60, .hash = 22},
			{.number = 4, .len = 70}},
		.n_deltas = 2,
		.snap = noon,
		.n_snaps = 1,
	},
	{
		.no = 0,
		.gen = GENERATION_FIRST + 1,
		.uuid = "0123456789abcde0",
		.config = PAST_CONFIG,
		.attr = {0755, 1000, 100},
		.mtime_ns = -5,
		.commit_ns = 6,
		.dim = 3,
		.dtype = VG_F32,
		.metric = VG_IP,
		.index = VG_FLAT,
		.quant = VG_QUANT_NONE,
		.m = 8,
		.ef_construction = 50,
		.cell = 1,
		.vec = {past_vec, 1},
		.version = {past_version, 1},
		.snap = past_snaps,
		.n_snaps = 2,
	},
	{
		.no = 8,
		.gen = GENERATION_FIRST + 4,
		.uuid = "0123456789abcde1",
		.cursor = 12,
		.name_len = 4,
		.name = "docz",
		.config = {.m = 64, .ef_construction = 1, .ef_search = 2,
			.metric = VG_L2, .dtype = VG_F32, .index = VG_FLAT},
	},
};

static char names[][24] = {"docx", "docs", "link", "../../x"};
static struct manifest_alias aliases[] = {
	{.cursor = 5, .mtime_ns = 9, .name_len = 4, .target_len = 4,
		.name = names[0], .target = names[1]},
	{.cursor = 6, .mtime_ns = -1, .name_len = 4, .target_len = 7,
		.name = names[2], .target = names[3]},
};

static struct op_origin origins[] = {
	{.session = 0x1234, .request = 8, .result = 0},
	{.session = 0x1234, .request = ORIGIN_IS_ROW | 3, .result = -5},
};

struct manifest kit_manifest(void)
{
	struct manifest m = {
		.number = 7,
		.store = "fedcba9876543210",
		.time_ns = 0x0102030405060708,
		.lsn = 0x1122,
		.segment = 3,
		.offset = 4096,
		.next_no = 9,
		.next_gen = GENERATION_FIRST + 5,
		.next_cursor = 12,
		.root_mtime_ns = -2,
		.has_root_attr = true,
		.root_attr = {01777, 1, 2},
		.coll = collections,
		.n_colls = 3,
		.alias = aliases,
		.n_aliases = 2,
		.origin = origins,
		.n_origins = 2,
	};

	/* noon is of the manifest's moment, dawn of the store's first. */
	for (uint32_t i = 0; i < VG_SEQS; i++) {
		m.seq[i] = noon->seq[i] = i;
		past_snaps[1].seq[i] = i / 2;
	}
	return m;
}

struct manifest kit_manifest_fields(void)
{
	static struct manifest_collection with[VG_ARRAY_LEN(collections)];
	struct manifest m = kit_manifest();

	memcpy(with, collections, sizeof(with));
	with[0].fields =
		(struct manifest_file){.number = 3, .len = 900, .hash = 31};
	m.coll = with;
	return m;
}

static bool column_equal(
	const struct manifest_column *a, const struct manifest_column *b)
{
	if (a->n_parts != b->n_parts)
		return false;
	for (uint32_t i = 0; i < a->n_parts; i++) {
		const struct colfile_part *p = &a->part[i], *q = &b->part[i];

		if (p->number != q->number || p->first != q->first ||
			p->n != q->n || p->sums_hash != q->sums_hash ||
			p->tail_hash != q->tail_hash)
			return false;
	}
	return true;
}

static bool file_equal(
	const struct manifest_file *a, const struct manifest_file *b)
{
	return a->number == b->number && a->len == b->len && a->hash == b->hash;
}

static bool snap_equal(
	const struct manifest_snap *a, const struct manifest_snap *b)
{
	return a->no == b->no && !memcmp(a->uuid, b->uuid, 16) &&
	       a->name_len == b->name_len &&
	       !memcmp(a->name, b->name, sizeof(a->name)) &&
	       !memcmp(&a->config, &b->config, sizeof(a->config)) &&
	       !memcmp(&a->attr, &b->attr, sizeof(a->attr)) &&
	       a->mtime_ns == b->mtime_ns && a->commit_ns == b->commit_ns &&
	       a->n_live == b->n_live && a->meta_bytes == b->meta_bytes &&
	       !memcmp(a->seq, b->seq, sizeof(a->seq));
}

static bool collection_equal(const struct manifest_collection *a,
	const struct manifest_collection *b)
{
	if (a->n_deltas != b->n_deltas || a->n_snaps != b->n_snaps)
		return false;
	for (uint32_t i = 0; i < a->n_snaps; i++)
		if (!snap_equal(&a->snap[i], &b->snap[i]))
			return false;
	for (uint32_t i = 0; i < a->n_deltas; i++)
		if (!file_equal(&a->delta[i], &b->delta[i]))
			return false;
	return a->no == b->no && a->gen == b->gen && !memcmp(a->uuid, b->uuid, 16) &&
	       a->cursor == b->cursor && a->name_len == b->name_len &&
	       !memcmp(a->name, b->name, sizeof(a->name)) &&
	       !memcmp(&a->config, &b->config, sizeof(a->config)) &&
	       !memcmp(&a->attr, &b->attr, sizeof(a->attr)) &&
	       a->mtime_ns == b->mtime_ns && a->commit_ns == b->commit_ns &&
	       a->dim == b->dim && a->dtype == b->dtype &&
	       a->metric == b->metric &&
	       a->index == b->index && a->quant == b->quant && a->m == b->m &&
	       a->ef_construction == b->ef_construction &&
	       a->cell == b->cell &&
	       column_equal(&a->vec, &b->vec) &&
	       column_equal(&a->version, &b->version) &&
	       column_equal(&a->meta, &b->meta) &&
	       column_equal(&a->end, &b->end) &&
	       file_equal(&a->graph, &b->graph) &&
	       file_equal(&a->fields, &b->fields);
}

static bool alias_equal(
	const struct manifest_alias *a, const struct manifest_alias *b)
{
	return a->cursor == b->cursor && a->mtime_ns == b->mtime_ns &&
	       a->name_len == b->name_len && a->target_len == b->target_len &&
	       !memcmp(a->name, b->name, a->name_len + 1) &&
	       !memcmp(a->target, b->target, a->target_len + 1);
}

bool kit_manifest_equal(const struct manifest *a, const struct manifest *b)
{
	if (a->n_colls != b->n_colls || a->n_aliases != b->n_aliases ||
		a->n_origins != b->n_origins)
		return false;
	for (uint32_t i = 0; i < a->n_origins; i++)
		if (a->origin[i].session != b->origin[i].session ||
			a->origin[i].request != b->origin[i].request ||
			a->origin[i].result != b->origin[i].result)
			return false;
	for (uint32_t i = 0; i < a->n_colls; i++)
		if (!collection_equal(&a->coll[i], &b->coll[i]))
			return false;
	for (uint32_t i = 0; i < a->n_aliases; i++)
		if (!alias_equal(&a->alias[i], &b->alias[i]))
			return false;
	return a->number == b->number && !memcmp(a->store, b->store, 16) &&
	       a->time_ns == b->time_ns && a->lsn == b->lsn &&
	       a->segment == b->segment && a->offset == b->offset &&
	       !memcmp(a->seq, b->seq, sizeof(a->seq)) &&
	       a->next_no == b->next_no &&
	       a->next_gen == b->next_gen && a->next_cursor == b->next_cursor &&
	       a->root_mtime_ns == b->root_mtime_ns &&
	       a->has_root_attr == b->has_root_attr &&
	       !memcmp(&a->root_attr, &b->root_attr, sizeof(a->root_attr));
}

void kit_manifest_fix(uint8_t *bytes, size_t len)
{
	struct wire_out out = wire_out_init(bytes + AT_LEN, 16);

	must(len >= AT_NUMBER);
	wire_put_u64(&out, len - AT_NUMBER);
	wire_put_u64(&out, wire_hash_pair(bytes, AT_HASH, bytes + AT_NUMBER,
				   len - AT_NUMBER));
}
