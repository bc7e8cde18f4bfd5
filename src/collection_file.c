/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collection_file.c: what a checkpoint writes of a collection;
 * collection_load.c reads it.
 *
 * A ROW OF `version`, 48 bytes, little-endian:
 *
 *   0      8      16       20      24      28     32     36        40     44
 *   | begin| mtime| id     | meta  | meta  | slot | older| hash of | cell | parti-|
 *   | u64  | i64  | unit   | unit  | len   | u32  | u32  | the id  | u32  | tion  |
 *   |      |      | u32    | u32   | u32   |      |      | u32     |      | u32   |
 *
 * id and meta are units of `meta`; an id there is {u8 len, bytes}. older is
 * the number of the id's version before, or ~0. The hash is bits 8 to 39 of
 * wire_hash(id): with it the id table is built anew without looking at an id.
 * cell is the number of the cell that the slot is in; in another than the
 * manifest's there are no rows any more, and the version is only a number.
 *
 * A ROW OF `end`, 16 bytes: u32 version, u32 0, u64 the seq at which it ended.
 */
#include "src/collection_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/collection_file_int.h"
#include "src/graph_file.h"
#include "src/log.h"
#include "src/memory.h"
#include "src/wire.h"

#define PART_BYTES (256u << 20)
#define BATCH 4096u /* rows that are encoded at once */

static int cut_snaps(struct generation *g, struct collection_cut *cut)
{
	struct collection *snap;

	cut->snap = calloc(VG_MAX(g->coll->n_snaps, 1u), sizeof(snap));
	if (!cut->snap)
		return -ENOMEM;
	for (uint32_t i = 0; (snap = collection_get_snap(g->coll, i)); i++) {
		if (snap->gen == g)
			cut->snap[cut->n_snaps++] = snap;
		else
			collection_unref(snap);
	}
	return 0;
}

/* How far the columns of g go. Who changes it. */
static struct collection_cut reach_of(struct generation *g)
{
	struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_relaxed);

	return (struct collection_cut){
		.gen = g,
		.cell = cell,
		.n_versions = atomic_load_explicit(
			&g->n_versions, memory_order_relaxed),
		.n_slots = cell ? atomic_load_explicit(&cell->n_slots,
					  memory_order_relaxed)
				: 0,
		.n_units = g->blob.n,
		.n_ended = atomic_load_explicit(
			&g->n_ended, memory_order_relaxed),
	};
}

int collection_cut(struct generation *g, struct collection_cut *cut)
{
	struct collection *c = g->coll;

	*cut = reach_of(generation_ref(g));
	pthread_mutex_lock(&c->lock);
	cut->config = c->config;
	cut->attr = c->attr;
	cut->mtime_ns = c->mtime_ns;
	cut->commit_ns = c->commit_ns;
	pthread_mutex_unlock(&c->lock);
	return cut_snaps(g, cut);
}

void collection_cut_fini(struct collection_cut *cut)
{
	for (uint32_t i = 0; i < cut->n_snaps; i++)
		collection_unref(cut->snap[i]);
	free(cut->snap);
	generation_unref(cut->gen);
	*cut = (struct collection_cut){0};
}

/* ---- the files of one collection ---- */

/* Removes columns that no manifest ever named. What stays is swept by the next
 * open. */
static void remove_columns(const struct collection_file *f)
{
	for (int i = 0; i < COLUMNS; i++)
		if (f->column[i])
			colfile_remove(f->column[i]);
}

void collection_file_free(struct collection_file *f)
{
	if (!f)
		return;
	if (f->is_spill)
		remove_columns(f);
	if (f->loaded != f->column[COLUMN_VEC])
		colfile_close(f->loaded);
	for (int i = 0; i < COLUMNS; i++)
		colfile_close(f->column[i]);
	pthread_mutex_destroy(&f->loading);
	free(f);
}

struct colfile_config collection_column(const struct collection_file *f,
	enum column_kind kind, uint32_t stride)
{
	static const char *const names[COLUMNS] = {
		[COLUMN_VEC] = "vec",
		[COLUMN_META] = "meta",
		[COLUMN_VERSION] = "version",
		[COLUMN_END] = "end",
	};
	struct colfile_config cfg = {
		.io = f->io,
		.dirfd = f->dirfd,
		.dir = f->dir,
		.fds = f->fds,
		.name = names[kind],
		.stride = stride,
	};
	uint64_t rows = f->part_bytes / stride;
	uint32_t chunk = 1u << 20; /* no column has more rows in a chunk */

	/* Whole chunks, so that each can be mapped. */
	while (chunk > rows && chunk > 4096)
		chunk /= 2;
	cfg.part_rows = (uint32_t)VG_MIN(
		rows / chunk * chunk, (uint64_t)UINT32_MAX / 2 / chunk * chunk);
	cfg.part_rows = VG_MAX(cfg.part_rows, chunk);
	memcpy(cfg.store, f->store, sizeof(cfg.store));
	memcpy(cfg.owner, f->uuid, sizeof(cfg.owner));
	return cfg;
}

int collection_dir_open(const struct collection_file *f)
{
	return f->io->open(f->io, f->dirfd, f->dir, O_RDONLY | O_DIRECTORY);
}

int collection_file_open(const struct collection_files *files,
	const uint8_t uuid[16], struct collection_file **out)
{
	struct collection_file *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->loading, NULL);
	f->io = files->io;
	f->dirfd = files->dirfd;
	f->fds = files->fds;
	f->part_bytes = files->part_bytes ? files->part_bytes : PART_BYTES;
	memcpy(f->store, files->store, sizeof(f->store));
	memcpy(f->uuid, uuid, sizeof(f->uuid));
	manifest_dir_format(uuid, f->dir);
	rc = collection_dir_open(f);
	if (rc < 0) {
		collection_file_free(f);
		return rc;
	}
	f->io->close(f->io, rc);
	*out = f;
	return 0;
}

/*
 * The files of a collection that has none yet. A directory that is there is of
 * a checkpoint that was not finished, and swept; its name may not be durable,
 * since the sync of it may have failed: it is made again. One that is not empty
 * has files that a manifest names, or somebody else's: it stays, and numbers go
 * on above what is in it.
 */
int collection_file_need(
	const struct collection_files *files, struct generation *g)
{
	char name[33];
	int rc;

	if (g->file)
		return 0;
	manifest_dir_format(g->coll->uuid, name);
	rc = files->io->mkdir(files->io, files->dirfd, name);
	if (rc == -EEXIST) {
		rc = files->io->rmdir(files->io, files->dirfd, name);
		if (rc == 0)
			rc = files->io->mkdir(files->io, files->dirfd, name);
	}
	if (rc < 0 && rc != -ENOTEMPTY)
		return rc;
	rc = collection_file_open(files, g->coll->uuid, &g->file);
	if (rc == 0)
		g->file->is_new = true;
	return rc;
}

static int column_need(
	struct collection_file *f, enum column_kind kind, uint32_t stride)
{
	struct colfile_config cfg = collection_column(f, kind, stride);

	return f->column[kind] ? 0 : colfile_new(&cfg, &f->column[kind]);
}

/* The rows of another cell take the place of those that were saved. */
static int cell_need(struct collection_file *f, const struct cell *cell)
{
	if (f->column[COLUMN_VEC] && f->cell == cell->number)
		return 0;
	if (f->column[COLUMN_VEC] != f->loaded) /* whose rows are read still */
		colfile_close(f->column[COLUMN_VEC]);
	f->column[COLUMN_VEC] = NULL;
	f->cell = cell->number;
	f->mapped = 0;
	f->graph = (struct manifest_file){0};
	f->n_deltas = 0;
	atomic_store_explicit(&f->n_graph, 0, memory_order_relaxed);
	return column_need(f, COLUMN_VEC, cell->vec.rows.stride);
}

/* ---- writing ---- */

/* Appends what column has and its file has not, up to n, chunk by chunk. */
static int save_column(
	struct colfile *to, const struct column *column, uint32_t n)
{
	uint32_t chunk = 1u << column->rows.shift;
	int rc = 0;

	for (uint32_t from = colfile_rows(to); from < n && rc == 0;
		from = colfile_rows(to)) {
		uint32_t left = chunk - (from & (chunk - 1));

		rc = colfile_append(
			to, column_at(column, from), VG_MIN(left, n - from));
	}
	return rc;
}

static void put_version(uint8_t *out, const struct version *v)
{
	struct wire_out w = wire_out_init(out, VERSION_ROW);
	struct vg_id id = version_id(v);

	wire_put_u64(&w, v->begin);
	wire_put_u64(&w, (uint64_t)v->mtime_ns);
	wire_put_u32(&w, v->id);
	wire_put_u32(&w, v->meta_len ? v->meta : 0);
	wire_put_u32(&w, v->meta_len);
	wire_put_u32(&w, v->slot);
	wire_put_u32(&w, v->older);
	wire_put_u32(&w, (uint32_t)(wire_hash(id.bytes, id.len) >> 8));
	wire_put_u32(&w, v->cell->number);
	wire_put_u32(&w, v->partition);
	assert(!w.failed && w.len == VERSION_ROW);
}

static int save_versions(
	struct colfile *to, const struct generation *g, uint32_t n)
{
	uint8_t *rows = malloc((size_t)BATCH * VERSION_ROW);
	int rc = rows ? 0 : -ENOMEM;

	for (uint32_t from = colfile_rows(to); from < n && rc == 0;
		from = colfile_rows(to)) {
		uint32_t m = VG_MIN(BATCH, n - from);

		for (uint32_t i = 0; i < m; i++)
			put_version(rows + (size_t)i * VERSION_ROW,
				generation_version(g, from + i));
		rc = colfile_append(to, rows, m);
	}
	free(rows);
	return rc;
}

static int save_ends(struct collection_file *f, const struct generation *g,
	uint32_t n)
{
	struct colfile *to = f->column[COLUMN_END];
	uint8_t *rows = malloc((size_t)BATCH * END_ROW);
	int rc = rows ? 0 : -ENOMEM;

	for (uint32_t from = colfile_rows(to); from < n && rc == 0;
		from = colfile_rows(to)) {
		uint32_t m = VG_MIN(BATCH, n - from);
		struct wire_out w = wire_out_init(rows, (size_t)m * END_ROW);

		for (uint32_t i = 0; i < m; i++) {
			uint32_t no = *(const uint32_t *)column_at(
				&g->ended, from + i);
			uint64_t end = atomic_load_explicit(
				&generation_version(g, no)->end,
				memory_order_acquire);

			assert(end != VERSION_OPEN);
			wire_put_u32(&w, no);
			wire_put_u32(&w, 0);
			wire_put_u64(&w, end);
		}
		assert(!w.failed && w.len == (size_t)m * END_ROW);
		rc = colfile_append(to, rows, m);
	}
	free(rows);
	return rc;
}

static int save_columns(struct collection_file *f, struct generation *g,
	const struct collection_cut *cut)
{
	int rc = column_need(f, COLUMN_META, BLOB_UNIT);

	if (rc == 0)
		rc = column_need(f, COLUMN_VERSION, VERSION_ROW);
	if (rc == 0)
		rc = column_need(f, COLUMN_END, END_ROW);
	if (rc == 0 && cut->cell)
		rc = cell_need(f, cut->cell);
	if (rc == 0 && cut->cell)
		rc = save_column(f->column[COLUMN_VEC], &cut->cell->vec,
			cut->n_slots);
	if (rc == 0)
		rc = save_column(f->column[COLUMN_META], &g->blob.units,
			cut->n_units);
	if (rc == 0)
		rc = save_versions(
			f->column[COLUMN_VERSION], g, cut->n_versions);
	return rc == 0 ? save_ends(f, g, cut->n_ended) : rc;
}

/* Copies what a column's file is into the manifest. */
static int put_parts(const struct colfile *cf, struct manifest_column *out)
{
	const struct colfile_part *part;
	uint32_t n;

	*out = (struct manifest_column){0};
	if (!cf)
		return 0;
	colfile_parts(cf, &part, &n);
	if (n == 0)
		return 0;
	out->part = malloc(n * sizeof(*part));
	if (!out->part)
		return -ENOMEM;
	memcpy(out->part, part, n * sizeof(*part));
	out->n_parts = n;
	return 0;
}

static int put_snaps(
	const struct collection_cut *cut, struct manifest_collection *out)
{
	assert(!out->snap && out->n_snaps == 0);
	if (cut->n_snaps == 0)
		return 0;
	out->snap = calloc(cut->n_snaps, sizeof(*out->snap));
	if (!out->snap)
		return -ENOMEM;
	out->n_snaps = cut->n_snaps;
	for (uint32_t i = 0; i < cut->n_snaps; i++) {
		const struct collection *c = cut->snap[i];
		struct manifest_snap *s = &out->snap[i];

		*s = (struct manifest_snap){
			.no = c->no,
			.name_len = c->name_len,
			.config = c->config,
			.attr = c->attr,
			.mtime_ns = c->mtime_ns,
			.commit_ns = c->commit_ns,
			.n_live = atomic_load(&c->n_live),
			.meta_bytes = atomic_load(&c->meta_bytes),
		};
		memcpy(s->uuid, c->uuid, sizeof(s->uuid));
		memcpy(s->name, c->name, sizeof(s->name));
		memcpy(s->seq, c->moment->seq, sizeof(s->seq));
	}
	return 0;
}

static int describe(const struct collection_file *f,
	const struct generation *g, const struct collection_cut *cut,
	struct manifest_collection *out)
{
	const struct cell *cell = cut->cell;
	int rc;

	*out = (struct manifest_collection){
		.no = g->coll->no,
		.gen = g->no,
		.config = cut->config,
		.attr = cut->attr,
		.mtime_ns = cut->mtime_ns,
		.commit_ns = cut->commit_ns,
		.graph = f->graph,
		.n_deltas = f->n_deltas,
		.fields = f->fields,
	};
	memcpy(out->uuid, g->coll->uuid, sizeof(out->uuid));
	memcpy(out->delta, f->delta, sizeof(out->delta));
	if (cell) {
		out->dim = cell->dim;
		out->dtype = (uint8_t)cell->dtype;
		out->metric = (uint8_t)cell->metric;
		out->index = (uint8_t)cell->index;
		out->quant = (uint8_t)cell->quant;
		out->m = cell->m;
		out->ef_construction = cell->ef_construction;
		out->cell = cell->number;
	}
	rc = put_snaps(cut, out);
	if (rc == 0)
		rc = put_parts(f->column[COLUMN_VEC], &out->vec);
	if (rc == 0)
		rc = put_parts(f->column[COLUMN_META], &out->meta);
	if (rc == 0)
		rc = put_parts(f->column[COLUMN_VERSION], &out->version);
	if (rc == 0)
		rc = put_parts(f->column[COLUMN_END], &out->end);
	return rc;
}

int collection_save(const struct collection_files *files,
	const struct collection_cut *cut, struct manifest_collection *out)
{
	struct generation *g = cut->gen;
	static const struct collection_file none;
	int rc = 0;

	assert(cut->n_ended <= cut->n_versions);
	assert(!cut->cell || cut->cell->gen == g);
	*out = (struct manifest_collection){0};
	if (!g->file && cut->n_versions == 0)
		return describe(&none, g, cut, out);
	rc = collection_file_need(files, g);
	if (rc == 0)
		rc = save_columns(g->file, g, cut);
	if (rc == 0)
		g->file->is_spill = false;
	return rc == 0 ? describe(g->file, g, cut, out) : rc;
}

int collection_sync(const struct collection_files *files, struct generation *g)
{
	struct collection_file *f = g->file;
	int rc = 0;

	if (!f)
		return 0;
	for (int i = 0; i < COLUMNS && rc == 0; i++)
		if (f->column[i])
			rc = colfile_sync(f->column[i]);
	if (rc == 0 && f->is_new)
		rc = files->io->sync(files->io, files->dirfd);
	if (rc == 0)
		f->is_new = false;
	return rc;
}

int collection_spill(const struct collection_files *files,
	struct generation *g, bool *is_synced)
{
	struct collection_cut cut = reach_of(g);
	bool is_first = !g->file;
	int rc = collection_file_need(files, g);

	assert(is_first || g->file->is_spill);
	*is_synced = false;
	if (rc == 0 && is_first)
		g->file->is_spill = true;
	if (rc == 0)
		rc = save_columns(g->file, g, &cut);
	if (rc < 0)
		return rc;
	*is_synced = true;
	rc = collection_sync(files, g);
	if (rc == 0)
		collection_remap(g);
	return rc;
}

uint32_t collection_spilled(const struct generation *g)
{
	const struct collection_file *f = g->file;

	return f && f->column[COLUMN_VEC] ? colfile_rows(f->column[COLUMN_VEC])
					  : 0;
}

void collection_remap(struct generation *g)
{
	struct collection_file *f = g->file;
	struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	uint32_t chunk, n;
	int rc = 0;

	if (!f || !cell || cell->number != f->cell || !f->column[COLUMN_VEC])
		return;
#ifdef __SANITIZE_THREAD__
	return; /* it takes equal bytes in place of others for a write */
#endif
	chunk = 1u << cell->vec.rows.shift;
	n = colfile_rows(f->column[COLUMN_VEC]);
	for (; n - f->mapped >= chunk; f->mapped += chunk) {
		rc = column_add_map(&cell->vec, f->mapped);
		if (rc == 0)
			rc = colfile_map(f->column[COLUMN_VEC], f->mapped,
				chunk, column_at(&cell->vec, f->mapped));
		if (rc < 0 && rc != -EOPNOTSUPP)
			break;
	}
	if (!memory_has_room((uint64_t)n * cell->vec.rows.stride))
		for (uint32_t i = 0; i < f->mapped; i += chunk)
			column_make_random(&cell->vec, i);
	if (rc < 0 && rc != -EOPNOTSUPP)
		log_warn("vectors stay in memory, they cannot be mapped: %s",
			strerror(-rc));
}

/* ---- the graph ---- */

uint32_t collection_unsaved(const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	uint32_t saved = 0, linked;

	if (!cell || !cell_has_index(cell))
		return 0;
	assert(!cell->hnsw || !cell->ivf);
	if (cell->ivf)
		return ivf_unsaved(cell->ivf);
	linked = hnsw_count(cell->hnsw);
	if (g->file && g->file->cell == cell->number)
		saved = atomic_load_explicit(
			&g->file->n_graph, memory_order_relaxed);
	return linked - VG_MIN(saved, linked);
}

void collection_note_purged(const struct generation *g, uint32_t n)
{
	uint32_t saved;

	if (!g->file)
		return;
	saved = atomic_load_explicit(&g->file->n_graph, memory_order_relaxed);
	/* Once as they are in it, once as a restart would have to do it again:
	 * collection_unsaved. */
	atomic_store_explicit(&g->file->n_graph, saved - VG_MIN(2 * n, saved),
		memory_order_relaxed);
}

static uint64_t deltas_len(const struct collection_file *f)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < f->n_deltas; i++)
		len += f->delta[i].len;
	return len;
}

/* Whether the next save adds to the last one: until deltas reach half. */
static bool is_delta(const struct collection_file *f, const struct cell *cell)
{
	size_t delta, base;

	if (f->graph.number == 0 || f->graph_failed ||
		f->n_deltas == MANIFEST_DELTAS_MAX)
		return false;
	if (cell->ivf)
		ivf_save_cost(cell->ivf, &delta, &base);
	else
		hnsw_save_cost(cell->hnsw, &delta, &base);
	return deltas_len(f) + delta < base / 2;
}

/* Puts go on while a graph's base is written, but for its end. */
static int stream_graph(struct hnsw *h, struct derived_out *out, bool delta,
	const struct collection_pause *pause, uint32_t *linked)
{
	struct hnsw_sink sink = {.write = derived_write, .ctx = out};
	int rc = delta ? 0 : hnsw_save_base(h, &sink);

	pause->stop(pause->ctx);
	if (rc == 0)
		rc = delta ? hnsw_save_delta(h, &sink)
			   : hnsw_save_rest(h, &sink);
	*linked = hnsw_count(h);
	pause->go(pause->ctx);
	return rc;
}

/* Streams the cell's index into a new file. *delta: whether only what came
 * since the last; on return, whether it is so. */
static int write_graph(struct collection_file *f, const struct cell *cell,
	bool *delta, const struct collection_pause *pause,
	struct manifest_file *file)
{
	struct derived_out out;
	struct ivf_sink sink = {.write = derived_write, .ctx = &out};
	uint32_t linked = 0;
	int dirfd = collection_dir_open(f);
	int rc = dirfd;

	if (rc >= 0)
		rc = derived_out_open(&out, f->io, dirfd, DERIVED_GRAPH);
	if (rc < 0)
		goto close_dir;
	rc = cell->ivf ? ivf_save(cell->ivf, !*delta, &sink, delta)
		       : stream_graph(cell->hnsw, &out, *delta, pause, &linked);
	f->graph_failed = true; /* until it is known to be there */
	rc = derived_out_close(&out, rc, file);
	if (rc == 0) {
		f->graph_failed = false;
		atomic_store_explicit(
			&f->n_graph, linked, memory_order_relaxed);
	}
close_dir:
	if (dirfd >= 0)
		f->io->close(f->io, dirfd);
	return rc;
}

int collection_save_graph(const struct collection_files *files,
	struct generation *g, const struct collection_pause *pause)
{
	struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	struct manifest_file file;
	bool delta;
	int rc;

	assert(!g->coll->of);
	if (!cell || !cell_has_index(cell) || collection_unsaved(g) == 0)
		return 0;
	rc = collection_file_need(files, g);
	if (rc == 0)
		rc = cell_need(g->file, cell);
	if (rc < 0)
		return rc;
	delta = is_delta(g->file, cell);
	rc = write_graph(g->file, cell, &delta, pause, &file);
	if (rc < 0)
		return rc;
	if (delta) {
		g->file->delta[g->file->n_deltas++] = file;
	} else {
		g->file->graph = file;
		g->file->n_deltas = 0;
	}
	return 0;
}

/* ---- what no manifest needs any more ---- */

struct drop {
	struct io *io;
	int dirfd;
	const char *dir; /* its name */
	const struct manifest *next;
	int rc;
};

static void drop_name(struct drop *d, const char *name)
{
	int rc = d->rc == 0 ? d->io->unlink(d->io, d->dirfd, name) : 0;

	if (rc < 0 && rc != -ENOENT)
		d->rc = rc;
}

static bool is_named(const struct drop *d, const char *name)
{
	return manifest_names(d->next, 1, d->dir, name);
}

static void drop_parts(struct drop *d, const char *column,
	const struct manifest_column *old)
{
	char name[64];

	for (uint32_t i = 0; i < old->n_parts; i++) {
		snprintf(name, sizeof(name), "%s.%04" PRIu32 ".sum", column,
			old->part[i].number);
		if (is_named(d, name))
			continue;
		drop_name(d, name);
		name[strlen(name) - strlen(".sum")] = '\0';
		drop_name(d, name);
	}
}

static void drop_file(
	struct drop *d, const char *kind, const struct manifest_file *file)
{
	char name[DERIVED_NAME_MAX];

	if (file->number == 0)
		return;
	derived_name_format(kind, file->number, name);
	if (!is_named(d, name))
		drop_name(d, name);
}

static void drop_files(struct drop *d, const struct manifest_collection *old)
{
	drop_parts(d, "vec", &old->vec);
	drop_parts(d, "meta", &old->meta);
	drop_parts(d, "version", &old->version);
	drop_parts(d, "end", &old->end);
	drop_file(d, DERIVED_GRAPH, &old->graph);
	for (uint32_t i = 0; i < old->n_deltas; i++)
		drop_file(d, DERIVED_GRAPH, &old->delta[i]);
	drop_file(d, DERIVED_FIELDS, &old->fields);
}

/* A name of a directory that nobody names: files of a checkpoint that was
 * never finished. */
static int drop_any(void *ctx, const char *name)
{
	drop_name(ctx, name);
	return 0;
}

int collection_files_drop(const struct collection_files *files,
	const struct manifest_collection *old, const struct manifest *next)
{
	struct drop d = {.io = files->io, .next = next};
	char name[33];
	bool is_gone;
	int rc;

	if (old->version.n_parts == 0)
		return 0;
	manifest_dir_format(old->uuid, name);
	d.dir = name;
	is_gone = !is_named(&d, NULL);
	rc = d.io->open(d.io, files->dirfd, name, O_RDONLY | O_DIRECTORY);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	d.dirfd = rc;
	drop_files(&d, old);
	rc = 0;
	if (is_gone)
		rc = d.io->list(d.io, d.dirfd, drop_any, &d);
	if (rc == 0)
		rc = d.rc;
	d.io->close(d.io, d.dirfd);
	if (rc == 0 && is_gone)
		rc = d.io->rmdir(d.io, files->dirfd, name);
	return rc;
}
