/* SPDX-License-Identifier: Apache-2.0 */
/* collection_load.c: a collection from its files; collection_file.c wrote them. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw.h"
#include "src/collection_file_int.h"
#include "src/collection_int.h"
#include "src/graph_file.h"
#include "src/log.h"
#include "src/memory.h"
#include "src/wire.h"

#define BATCH 4096u /* rows that are decoded at once */

struct load {
	const struct collection_files *files;
	const struct manifest_collection *m;
	struct generation *g;
	uint64_t n_live, meta_bytes; /* of versions that have no end */
	struct collection_file *f;
	struct cell *cell; /* NULL: no vectors */
	struct cell *gone; /* stands for cells whose rows are no more */
	bool has_damage;   /* some vectors could not be read */
	char *why;
	struct graph_job {
		struct graph_files files;
		struct graph_loaded g; /* owned once rc is 0 */
		char why[256];
		int rc;
		bool is_begun, has_thread;
		pthread_t thread;
	} graph;
};

/* Says once which column of which collection is at fault. */
static int say(struct load *ld, int rc, const char *column, const char *what)
{
	char uuid[33];

	manifest_dir_format(ld->m->uuid, uuid);
	if (ld->why[0] == '\0')
		snprintf(ld->why, 256, "c/%s/%s %s", uuid, column, what);
	return rc;
}

static int say_damaged(struct load *ld, int rc, const char *column)
{
	return say(ld, rc, column,
		rc == -VG_ECORRUPT ? "is damaged" : strerror(-rc));
}

static uint32_t n_rows(const struct manifest_column *column)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < column->n_parts; i++)
		n = column->part[i].first + column->part[i].n;
	return n;
}

static int open_column(struct load *ld, enum column_kind kind, uint32_t stride,
	const struct manifest_column *column)
{
	struct colfile_config cfg = collection_column(ld->f, kind, stride);
	char why[256] = "", uuid[33];
	int rc;

	if (column->n_parts == 0)
		return 0;
	rc = colfile_open(&cfg, column->part, column->n_parts, why,
		&ld->f->column[kind]);
	manifest_dir_format(ld->m->uuid, uuid);
	if (rc < 0 && why[0])
		snprintf(ld->why, 256, "c/%s/%.200s", uuid, why);
	return rc;
}

/* What was found for a group of rows of a cell. */
static void note_group(struct cell *cell, uint32_t group, bool is_damaged)
{
	uint64_t bit = (uint64_t)1 << (group % 64);

	if (is_damaged) {
		uint64_t had = atomic_fetch_or_explicit(
			&cell->damaged[group / 64], bit, memory_order_relaxed);

		if (!(had & bit))
			atomic_fetch_add_explicit(
				&cell->n_damaged, 1, memory_order_relaxed);
	}
	atomic_fetch_or_explicit(
		&cell->vec.rows.sure[group / 64], bit, memory_order_release);
}

/* colfile_damaged_fn: vectors that cannot be read, if they may be left out. */
static void leave_rows(void *ctx, uint32_t first, uint32_t n)
{
	struct load *ld = ctx;
	struct cell *cell = ld->cell;
	uint32_t shift = cell->vec.rows.group;

	assert(n > 0);
	if (!ld->files->takes_damaged)
		return;
	ld->has_damage = true;
	log_err("damaged: vectors of slots %u to %u cannot be read: their "
		"records are left out of answers",
		first, first + n - 1);
	for (uint32_t g = first >> shift; g <= (first + n - 1) >> shift; g++)
		note_group(cell, g, true);
}

/*
 * Puts the rows of a file into memory that was reserved: maps chunks that are
 * full and lie in one part, if `mapped` is given, and reads the rest. *mapped
 * is the number of rows in front that may be mapped.
 */
static int load_column(struct load *ld, struct colfile *cf, struct column *to,
	uint32_t n, uint32_t *mapped)
{
	uint32_t chunk = 1u << to->rows.shift;
	bool is_large = mapped && !memory_has_room((uint64_t)n * to->rows.stride);
	int rc = column_reserve(to, n);

	for (uint32_t from = 0; from < n && rc == 0; from += chunk) {
		uint32_t len = VG_MIN(chunk, n - from);

		rc = -EOPNOTSUPP;
		if (mapped && len == chunk && column_add_map(to, from) == 0)
			rc = colfile_map(cf, from, len, column_at(to, from));
		if (rc == 0 && is_large)
			column_make_random(to, from);
		if (rc == 0)
			*mapped = from + len;
		else if (rc == -EOPNOTSUPP)
			rc = colfile_read(cf, from, len, column_at(to, from),
				mapped ? leave_rows : NULL, ld);
		if (rc < 0 && ld->has_damage)
			rc = 0;
	}
	return rc < 0 ? say_damaged(ld, rc, colfile_name(cf)) : 0;
}

/* ---- vectors ---- */

/* rows->check: looks at a group of rows that was mapped. */
static void check_rows(const struct rows *rows, uint32_t slot)
{
	struct cell *cell = (struct cell *)(void *)((char *)(uintptr_t)rows -
						    offsetof(struct cell,
							    vec.rows));
	uint32_t group = slot >> rows->group;
	uint32_t from = group << rows->group;
	uint32_t to = VG_MIN(from + (1u << rows->group), rows->n_unsure);
	int rc = 0;

	assert(slot < rows->n_unsure);
	for (uint32_t i = from; i < to && rc == 0; i++)
		rc = colfile_check(cell->gen->file->loaded, i);
	if (io_is_scarce(rc)) { /* who touches it next tries again */
		atomic_fetch_add_explicit(
			&cell->n_unread, 1, memory_order_relaxed);
		return;
	}
	if (rc < 0 && !atomic_exchange_explicit(&cell->is_damage_told, true,
			      memory_order_relaxed))
		log_err("damaged: vectors of slots %u to %u, and maybe others, "
			"cannot be read: their records are left out of answers",
			from, to - 1);
	note_group(cell, group, rc < 0);
}

/* Rows of a group: so many that they are a block at least. */
static uint32_t group_shift(uint32_t stride)
{
	uint32_t shift = 0;

	while ((stride << shift) < COLFILE_BLOCK)
		shift++;
	return shift;
}

/* What is known of n rows, by groups: nothing yet. */
static int make_groups(struct cell *cell, uint32_t n)
{
	struct rows *rows = &cell->vec.rows;
	size_t words;

	rows->group = group_shift(rows->stride);
	words = (n >> rows->group) / 64 + 1;
	rows->sure = calloc(words, sizeof(uint64_t));
	cell->damaged = calloc(words, sizeof(uint64_t));
	if (!rows->sure || !cell->damaged)
		return -ENOMEM;
	rows->check = check_rows;
	return 0;
}

static int load_vec(struct load *ld)
{
	struct cell *cell = ld->cell;
	struct rows *rows = &cell->vec.rows;
	uint32_t n = n_rows(&ld->m->vec), mapped = 0;
	int rc = column_reserve(&cell->slots, n);

	if (rc == 0)
		rc = make_groups(cell, n);
	if (rc == 0)
		rc = load_column(ld, ld->f->column[COLUMN_VEC], &cell->vec, n,
			&mapped);
	if (rc < 0)
		return rc;
	ld->f->loaded = ld->f->column[COLUMN_VEC];
	cell->n_reserved = n;
	atomic_store_explicit(&cell->n_slots, n, memory_order_relaxed);
	ld->f->mapped = mapped;
	rows->n_unsure = mapped;
	if (!ld->has_damage)
		return 0;
	/* Those that were read are known: each group is in one chunk. */
	assert(mapped % (1u << rows->group) == 0);
	for (uint32_t g = mapped >> rows->group; g <= (n - 1) >> rows->group;
		g++)
		note_group(cell, g, false);
	rows->n_unsure = n;
	return 0;
}

/* ---- versions ---- */

/* What is looked up in a blob must lie in it: one piece, in one chunk. */
static bool is_piece(const struct generation *g, uint32_t at, uint64_t len)
{
	uint32_t chunk = 1u << g->blob.units.rows.shift;
	uint64_t units = (len + BLOB_UNIT - 1) / BLOB_UNIT;

	return at + units <= g->blob.n &&
	       (at & (chunk - 1)) + units <= chunk;
}

struct row {
	struct version v;
	uint32_t hash, cell;
};

static void get_row(const uint8_t *bytes, struct row *r)
{
	struct wire_in in = wire_in_init(bytes, VERSION_ROW);

	*r = (struct row){.v.begin = wire_get_u64(&in)};
	r->v.mtime_ns = (int64_t)wire_get_u64(&in);
	r->v.id = wire_get_u32(&in);
	r->v.meta = wire_get_u32(&in);
	r->v.meta_len = wire_get_u32(&in);
	r->v.slot = wire_get_u32(&in);
	r->v.older = wire_get_u32(&in);
	r->hash = wire_get_u32(&in);
	r->cell = wire_get_u32(&in);
	r->v.partition = (uint16_t)wire_get_u32(&in);
	assert(!in.failed && in.left == 0);
}

/* Whether a row can be version number no. */
static bool is_row(const struct load *ld, const struct row *r, uint32_t no)
{
	const struct generation *g = ld->g;
	const uint8_t *id;

	if (r->v.begin == 0 || r->v.partition >= VG_PARTITIONS ||
		(r->v.older != VERSION_NONE && r->v.older >= no) ||
		r->v.meta_len > VG_META_MAX || !is_piece(g, r->v.id, 1) ||
		!is_piece(g, r->v.meta, r->v.meta_len))
		return false;
	id = blob_at(&g->blob, r->v.id);
	if (id[0] == 0 || !is_piece(g, r->v.id, 1 + (uint64_t)id[0]))
		return false;
	return !ld->cell || r->cell != ld->cell->number ||
	       r->v.slot < ld->cell->n_reserved;
}

/* Makes version no the head of its id: the place that its older one has, or
 * the first free one. The table ends the search: it is never full. */
static bool put_head(struct id_table *table, const struct row *r, uint32_t no)
{
	for (uint32_t i = r->hash & table->mask;; i = (i + 1) & table->mask) {
		uint32_t head = atomic_load_explicit(
			&table->head[i], memory_order_relaxed);

		if (head == r->v.older) {
			atomic_store_explicit(
				&table->head[i], no, memory_order_relaxed);
			return true;
		}
		if (head == VERSION_NONE)
			return false;
	}
}

/* Writes version no as apply once did. */
static bool add_version(struct load *ld, struct row *r, uint32_t no)
{
	struct generation *g = ld->g;
	struct id_table *table =
		atomic_load_explicit(&g->ids, memory_order_relaxed);
	struct version *v = generation_version(g, no);
	struct slot *slot;

	if (!is_row(ld, r, no) || !put_head(table, r, no))
		return false;
	*v = r->v;
	atomic_store_explicit(&v->end, VERSION_OPEN, memory_order_relaxed);
	v->cell = ld->gone;
	if (ld->cell && r->cell == ld->cell->number) {
		v->cell = ld->cell;
		slot = cell_slot(ld->cell, v->slot);
		v->sibling = atomic_load_explicit(
				     &slot->head, memory_order_relaxed) -
			     1;
		atomic_store_explicit(
			&slot->head, no + 1, memory_order_relaxed);
	}
	g->n_ids += v->older == VERSION_NONE;
	ld->meta_bytes += v->meta_len;
	return true;
}

/* Reads a column in batches of rows of len bytes. */
struct batches {
	enum column_kind kind;
	uint32_t len, n;
	bool (*each)(struct load *ld, const uint8_t *row, uint32_t no);
};

static int each_row(struct load *ld, const struct batches *b)
{
	struct colfile *cf = ld->f->column[b->kind];
	uint8_t *rows = malloc((size_t)BATCH * b->len);
	int rc = rows ? 0 : -ENOMEM;

	for (uint32_t from = 0; from < b->n && rc == 0; from += BATCH) {
		uint32_t m = VG_MIN(BATCH, b->n - from);

		rc = colfile_read(cf, from, m, rows, NULL, NULL);
		for (uint32_t i = 0; i < m && rc == 0; i++)
			if (!b->each(ld, rows + (size_t)i * b->len, from + i))
				rc = -VG_ECORRUPT;
		if (rc < 0)
			say_damaged(ld, rc, colfile_name(cf));
	}
	free(rows);
	return rc;
}

static bool each_version(struct load *ld, const uint8_t *bytes, uint32_t no)
{
	struct row r;

	get_row(bytes, &r);
	return add_version(ld, &r, no);
}

static int load_versions(struct load *ld)
{
	struct generation *g = ld->g;
	uint32_t n = n_rows(&ld->m->version);
	int rc = column_reserve(&g->versions, n);

	/* An id for each version at most: the table is never full. */
	if (rc == 0)
		rc = generation_grow_ids(g, n);
	if (rc < 0)
		return rc;
	g->n_reserved = n;
	atomic_store_explicit(&g->n_versions, n, memory_order_relaxed);
	ld->n_live = n;
	return each_row(ld, &(struct batches){.kind = COLUMN_VERSION,
				    .len = VERSION_ROW,
				    .n = n,
				    .each = each_version});
}

static bool each_end(struct load *ld, const uint8_t *bytes, uint32_t i)
{
	struct wire_in in = wire_in_init(bytes, END_ROW);
	struct generation *g = ld->g;
	uint32_t no = wire_get_u32(&in);
	uint32_t zero = wire_get_u32(&in);
	uint64_t end = wire_get_u64(&in);
	struct version *v;

	if (zero != 0 || no >= g->n_reserved)
		return false;
	v = generation_version(g, no);
	if (end <= v->begin || end == VERSION_OPEN ||
		atomic_load_explicit(&v->end, memory_order_relaxed) !=
			VERSION_OPEN)
		return false;
	*(uint32_t *)column_at(&g->ended, i) = no;
	atomic_store_explicit(&v->end, end, memory_order_relaxed);
	ld->n_live--;
	ld->meta_bytes -= v->meta_len;
	return true;
}

static int load_ends(struct load *ld)
{
	struct generation *g = ld->g;
	uint32_t n = n_rows(&ld->m->end);
	int rc = column_reserve(&g->ended, n);

	atomic_store_explicit(&g->n_ended, n, memory_order_relaxed);
	if (rc < 0)
		return rc;
	return each_row(ld, &(struct batches){.kind = COLUMN_END,
				    .len = END_ROW,
				    .n = n,
				    .each = each_end});
}

/* A version in no cell that has rows must have ended. */
static int check_gone(struct load *ld)
{
	const struct generation *g = ld->g;

	for (uint32_t no = 0; no < g->n_reserved; no++) {
		const struct version *v = generation_version(g, no);

		if (v->cell == ld->gone &&
			atomic_load_explicit(
				&v->end, memory_order_relaxed) == VERSION_OPEN)
			return say(ld, -VG_ECORRUPT, "version",
				"is damaged: a record has no vector");
	}
	return 0;
}

/* ---- the graph ---- */

static void *graph_main(void *arg)
{
	struct graph_job *job = arg;

	job->rc = graph_load(&job->files, job->why, &job->g);
	return NULL;
}

/*
 * Loads the graph from its files, beside the versions where that may be: both
 * take about as long. It looks at no row, only at how many there are.
 */
static void begin_graph(struct load *ld)
{
	const struct manifest_collection *m = ld->m;
	struct cell *cell = ld->cell;
	struct graph_job *job = &ld->graph;

	if (!cell || !cell_has_index(cell) || m->graph.number == 0)
		return;
	job->is_begun = true;
	job->files = (struct graph_files){
		.io = ld->f->io,
		.dirfd = collection_dir_open(ld->f),
		.base = &m->graph,
		.delta = m->delta,
		.n_deltas = m->n_deltas,
		.is_ivf = cell->ivf != NULL,
		.config = cell_graph_config(cell),
		.rows = &cell->vec.rows,
		.n_rows = cell->n_reserved,
	};
	if (job->files.is_ivf)
		job->files.lists = cell_ivf_config(cell);
	if (job->files.dirfd < 0) { /* as if it was not there */
		job->rc = job->files.dirfd;
		snprintf(job->why, sizeof(job->why), "graph: %s",
			strerror(-job->rc));
		return;
	}
	job->has_thread = ld->files->beside &&
			  pthread_create(&job->thread, NULL, graph_main, job) ==
				  0;
	if (!job->has_thread)
		graph_main(job);
}

static bool has_row(const struct cell *cell, uint32_t slot)
{
	return cell->ivf ? ivf_is_linked(cell->ivf, slot)
			 : hnsw_is_linked(cell->hnsw, slot);
}

/* The graph takes the cell's; which of its rows are linked it says. */
static void take_graph(struct load *ld)
{
	const struct manifest_collection *m = ld->m;
	struct cell *cell = ld->cell;
	struct graph_loaded was = {.hnsw = cell->hnsw, .ivf = cell->ivf};
	uint32_t from = 0, n = 0;

	assert(!was.ivf == !ld->graph.g.ivf);
	assert(!was.hnsw == !ld->graph.g.hnsw);
	cell->hnsw = ld->graph.g.hnsw;
	cell->ivf = ld->graph.g.ivf;
	graph_loaded_free(&was);
	for (uint32_t i = 0; i < cell->n_reserved; i++) {
		if (!has_row(cell, i))
			continue;
		atomic_store_explicit(&cell_slot(cell, i)->state, SLOT_LINKED,
			memory_order_relaxed);
		from += from == i;
		n++;
	}
	atomic_store_explicit(&cell->next, from, memory_order_relaxed);
	atomic_store_explicit(&cell->tail_from, from, memory_order_relaxed);
	atomic_store_explicit(&cell->n_done, from, memory_order_relaxed);
	ld->f->graph = m->graph;
	ld->f->n_deltas = m->n_deltas;
	memcpy(ld->f->delta, m->delta, sizeof(ld->f->delta));
	atomic_store_explicit(&ld->f->n_graph, n, memory_order_relaxed);
}

/* Takes the graph, if rc says that the rest is there; without it its rows are
 * linked again. Returns rc, or -ENOMEM. */
static int end_graph(struct load *ld, int rc)
{
	struct graph_job *job = &ld->graph;
	char name[33];

	if (!job->is_begun)
		return rc;
	if (job->has_thread)
		pthread_join(job->thread, NULL);
	if (job->files.dirfd >= 0)
		job->files.io->close(job->files.io, job->files.dirfd);
	if (rc == 0 && job->rc == 0) {
		take_graph(ld);
		return 0;
	}
	if (job->rc == 0)
		graph_loaded_free(&job->g);
	if (rc < 0 || job->rc == -ENOMEM)
		return rc < 0 ? rc : job->rc;
	manifest_dir_format(ld->m->uuid, name);
	log_warn("c/%s/%s; its rows are linked again", name, job->why);
	ld->f->graph_failed = true;
	return 0;
}

/* ---- all of it ---- */

static int open_columns(struct load *ld)
{
	const struct manifest_collection *m = ld->m;
	int rc = open_column(ld, COLUMN_META, BLOB_UNIT, &m->meta);

	if (rc == 0)
		rc = open_column(ld, COLUMN_VERSION, VERSION_ROW, &m->version);
	if (rc == 0)
		rc = open_column(ld, COLUMN_END, END_ROW, &m->end);
	if (rc == 0 && m->dim)
		rc = open_column(ld, COLUMN_VEC,
			(uint32_t)vg_row_len((enum vg_dtype)m->dtype, m->dim),
			&m->vec);
	return rc;
}

/* The cell as the manifest has it: it may be of settings before the last. */
static int make_cells(struct load *ld)
{
	const struct manifest_collection *m = ld->m;
	struct cell_shape shape = {
		.dtype = (enum vg_dtype)m->dtype,
		.metric = (enum vg_metric)m->metric,
		.index = (enum vg_index)m->index,
		.quant = (enum vg_quant)m->quant,
		.dim = m->dim,
		.m = m->m,
		.ef_construction = m->ef_construction,
	};
	struct cell_shape none = shape;
	int rc;

	if (m->dim == 0)
		return 0;
	none.dim = 1;
	none.index = VG_FLAT;
	rc = cell_new(ld->g, &none, &ld->gone);
	if (rc < 0)
		return rc;
	ld->gone->is_gone = true;
	atomic_store_explicit(&ld->g->cell, ld->gone, memory_order_relaxed);
	rc = cell_new(ld->g, &shape, &ld->cell);
	if (rc < 0)
		return rc;
	ld->cell->number = ld->f->cell = m->cell;
	ld->cell->retired = ld->gone;
	atomic_store_explicit(&ld->g->cell, ld->cell, memory_order_relaxed);
	return 0;
}

static int load_all(struct load *ld)
{
	const struct manifest_collection *m = ld->m;
	struct generation *g = ld->g;
	int rc = make_cells(ld);

	if (rc == 0 && m->dim == 0)
		return n_rows(&m->version) == 0 ?
			       0 :
			       say(ld, -VG_ECORRUPT, "version",
				       "has records without a dimension");
	if (rc == 0)
		rc = open_columns(ld);
	if (rc == 0 && n_rows(&m->meta)) {
		g->blob.n = n_rows(&m->meta);
		rc = load_column(ld, ld->f->column[COLUMN_META],
			&g->blob.units, g->blob.n, NULL);
	}
	if (rc == 0 && n_rows(&m->vec))
		rc = load_vec(ld);
	if (rc == 0)
		begin_graph(ld);
	if (rc == 0 && n_rows(&m->version))
		rc = load_versions(ld);
	if (rc == 0 && n_rows(&m->end))
		rc = load_ends(ld);
	if (rc == 0)
		rc = check_gone(ld);
	return end_graph(ld, rc);
}

static int load_generation(struct load *ld)
{
	const struct manifest_collection *m = ld->m;
	char name[33];
	int rc;

	assert(ld->g && !ld->g->file);
	ld->why[0] = '\0';
	if (m->version.n_parts == 0)
		return 0;
	rc = collection_file_open(ld->files, m->uuid, &ld->g->file);
	if (rc < 0) {
		manifest_dir_format(m->uuid, name);
		snprintf(ld->why, 256, "c/%s: %s", name, strerror(-rc));
		return rc;
	}
	ld->f = ld->g->file;
	rc = load_all(ld);
	if (rc == 0 && m->fields.number > 0) {
		ld->f->fields = m->fields;
		ld->g->fields_from = ld->f;
	}
	return rc;
}

int collection_load(const struct collection_files *files,
	const struct manifest_collection *m, char why[256],
	struct collection **out)
{
	struct load ld = {.files = files, .m = m, .why = why};
	struct collection *c;
	int rc = collection_new(m->no, m->uuid, &m->config, &m->attr, &c);

	if (rc < 0)
		return rc;
	c->gen->no = m->gen;
	c->mtime_ns = m->mtime_ns;
	c->commit_ns = m->commit_ns;
	ld.g = c->gen;
	rc = load_generation(&ld);
	if (rc < 0) {
		collection_unref(c);
		return rc;
	}
	atomic_store_explicit(&c->n_live, ld.n_live, memory_order_relaxed);
	atomic_store_explicit(
		&c->meta_bytes, ld.meta_bytes, memory_order_relaxed);
	*out = c;
	return 0;
}

int generation_load(const struct collection_files *files,
	const struct manifest_collection *m, struct collection *c,
	char why[256], struct generation **out)
{
	struct load ld = {.files = files, .m = m, .why = why};
	int rc = generation_new(c, m->gen, &ld.g);

	assert(manifest_is_past(m) && m->gen != c->gen->no);
	if (rc < 0)
		return rc;
	collection_ref(c); /* a reference that somebody has has one on it */
	rc = load_generation(&ld);
	if (rc < 0) {
		generation_unref(ld.g);
		return rc;
	}
	*out = ld.g;
	return 0;
}
