/* SPDX-License-Identifier: Apache-2.0 */
/* check_files.c: the files that a manifest names, byte by byte. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/check_int.h"
#include "src/collection_file_int.h"
#include "src/graph_file.h"
#include "src/json.h"

#define BUFFER (1u << 20)
#define NAMED_MAX 20u /* records that are told by id */

/* Ranges of rows that cannot be read, in order. */
struct damage {
	struct range {
		uint32_t first, n;
	} *range; /* owned */
	uint32_t n, cap;
	uint64_t rows;
	bool failed; /* no memory for all of them */
};

/* One collection of one manifest. */
struct look_at {
	struct check *ck;
	const struct manifest *m;
	const struct manifest_collection *mc;
	struct collection_file *f;
	char uuid[33];
};

static void add_range(void *ctx, uint32_t first, uint32_t n)
{
	struct damage *d = ctx;
	struct range *last = d->n ? &d->range[d->n - 1] : NULL;

	assert(n > 0 && (!last || last->first + last->n <= first));
	d->rows += n;
	if (last && last->first + last->n == first) {
		last->n += n;
		return;
	}
	if (d->n == d->cap) {
		uint32_t cap = d->cap ? 2 * d->cap : 16;
		struct range *grown =
			realloc(d->range, cap * sizeof(*grown));

		d->failed = d->failed || !grown;
		if (!grown)
			return;
		d->range = grown;
		d->cap = cap;
	}
	d->range[d->n++] = (struct range){first, n};
}

static bool has_row(const struct damage *d, uint32_t row)
{
	uint32_t low = 0, high = d->n;

	assert(d->n <= d->cap);
	while (low < high) { /* ends: the distance halves */
		uint32_t middle = low + (high - low) / 2;

		if (row < d->range[middle].first)
			high = middle;
		else if (row - d->range[middle].first < d->range[middle].n)
			return true;
		else
			low = middle + 1;
	}
	return false;
}

/* The file that has a row. */
static uint32_t number_of(const struct manifest_column *column, uint32_t row)
{
	uint32_t number = 0;

	for (uint32_t i = 0; i < column->n_parts; i++)
		if (column->part[i].first <= row)
			number = column->part[i].number;
	assert(number > 0);
	return number;
}

/* ---- what is lost ---- */

/* The ids of records whose vectors are damaged, or would be left out with them,
 * NAMED_MAX of them, in `out`; how many there are. */
static uint64_t name_records(
	const struct generation *g, const struct damage *d, char out[CHECK_TEXT])
{
	struct cell *cell = atomic_load(&g->cell);
	uint32_t n = atomic_load(&g->n_versions);
	char text[JSON_STRING_MAX(VG_ID_MAX) + 1];
	size_t len = 0;
	uint64_t lost = 0;

	assert(d->n > 0 && !d->failed);
	out[0] = '\0';
	for (uint32_t no = 0; no < n; no++) {
		const struct version *v = generation_version(g, no);
		struct vg_id id;

		if (atomic_load(&v->end) != VERSION_OPEN || v->cell != cell ||
			(!has_row(d, v->slot) &&
				cell_check_row(cell, v->slot) == 0))
			continue;
		if (lost++ >= NAMED_MAX)
			continue;
		id = version_id(v);
		text[json_string_encode(id.bytes, id.len, text)] = '\0';
		if (len + strlen(text) + 3 < CHECK_TEXT / 2)
			len += (size_t)snprintf(out + len, CHECK_TEXT - len,
				"%s%s", lost > 1 ? ", " : "", text);
	}
	return lost;
}

/* Vectors of the collection as it was opened. */
static void say_vectors(struct look_at *at, const struct damage *d,
	const char *where)
{
	struct collection *c =
		catalogue_find_uuid(&at->ck->s->catalogue, at->mc->uuid);
	char ids[CHECK_TEXT] = "";
	uint64_t lost = c ? name_records(c->gen, d, ids) : d->rows;

	if (!c)
		check_say(at->ck, true, "%s: collection '%s' cannot be opened",
			where, at->mc->name);
	else if (lost == 0)
		check_say(at->ck, true,
			"%s: they are no record's any more: nothing is lost",
			where);
	else
		check_say(at->ck, true,
			"%s: collection '%s' loses the vectors of %" PRIu64
			" records: %s%s",
			where, at->mc->name, lost, ids,
			lost > NAMED_MAX ? ", and more" : "");
	collection_unref(c);
}

static void say_damage(struct look_at *at, enum column_kind kind,
	const char *column, const struct damage *d)
{
	const struct manifest_column *columns[COLUMNS] = {&at->mc->vec,
		&at->mc->meta, &at->mc->version, &at->mc->end};
	char where[256];

	assert(d->n > 0);
	snprintf(where, sizeof(where),
		"c/%s/%s.%04" PRIu32 ": %" PRIu64
		" rows are damaged, from %" PRIu32 " to %" PRIu32,
		at->uuid, column,
		number_of(columns[kind], d->range[0].first), d->rows,
		d->range[0].first,
		d->range[d->n - 1].first + d->range[d->n - 1].n - 1);
	if (at->m->number != at->ck->taken)
		check_say(at->ck, true,
			"%s: only MANIFEST.%" PRIu64 " needs them, nothing is "
			"lost",
			where, at->m->number);
	else if (kind == COLUMN_VEC)
		say_vectors(at, d, where);
	else
		check_say(at->ck, true,
			"%s: collection '%s' cannot be opened without them",
			where, at->mc->name);
}

/* ---- columns ---- */

/* Reads every row. */
static void read_rows(struct look_at *at, struct colfile *cf, uint32_t stride,
	struct damage *d)
{
	uint32_t n = colfile_rows(cf), batch = VG_MAX(BUFFER / stride, 1u);
	uint8_t *rows = malloc((size_t)batch * stride);

	assert(stride > 0 && d->n == 0);
	if (!rows)
		at->ck->rc = -ENOMEM;
	for (uint32_t from = 0; rows && from < n; from += VG_MIN(batch, n - from))
		colfile_read(cf, from, VG_MIN(batch, n - from), rows, add_range,
			d);
	if (d->failed)
		at->ck->rc = -ENOMEM;
	free(rows);
}

/* Is a file there, with as many bytes as it has to have? */
static bool is_long_enough(struct look_at *at, const char *column,
	const struct colfile_part *part, uint32_t stride)
{
	uint64_t len = (uint64_t)part->n * stride;
	char name[64];

	assert(part->number > 0 && part->n > 0);
	for (int sums = 0; sums < 2; sums++) {
		struct io *io = at->f->io;
		struct io_stat st = {0};
		uint64_t need = sums ? 64 + len / COLFILE_BLOCK * 8 :
				       COLFILE_HEADER + len;
		int fd, rc;

		snprintf(name, sizeof(name), "%s.%04" PRIu32 "%s", column,
			part->number, sums ? ".sum" : "");
		fd = io->open(io, at->f->dirfd, name, O_RDONLY);
		if (fd < 0)
			return false;
		rc = io->stat(io, fd, &st);
		io->close(io, fd);
		if (rc < 0 || st.size < need)
			return false;
	}
	return true;
}

/* Whether what m lacks was lost: not so in a copy, which may have been begun
 * before m was, nor of a manifest that is about to go. */
static bool is_lost(const struct check *ck, const struct manifest *m)
{
	return m->number == ck->taken ||
	       (m->number > ck->taken &&
		       ck->s->identity_state != IDENTITY_COPIED);
}

/* A column cannot be opened at all. */
static void say_column(struct look_at *at, const struct manifest_column *column,
	const char *name, uint32_t stride, const char *why)
{
	bool is_whole = true;

	assert(column->n_parts > 0 && why[0]);
	for (uint32_t i = 0; i < column->n_parts; i++)
		is_whole = is_whole &&
			   is_long_enough(at, name, &column->part[i], stride);
	if (at->m->number == at->ck->taken)
		check_say(at->ck, true,
			"c/%s/%s: collection '%s' cannot be opened", at->uuid,
			why, at->mc->name);
	else
		check_say(at->ck, is_whole || is_lost(at->ck, at->m),
			"MANIFEST.%" PRIu64 " is not used: c/%s/%s", at->m->number,
			at->uuid, why);
}

/* Whether a manifest that was looked at before has all of it. */
static bool is_seen(const struct look_at *at, enum column_kind kind,
	const struct manifest_column *column)
{
	assert(column->n_parts > 0 && kind < COLUMNS);
	for (uint32_t i = 0; i < at->ck->n; i++) {
		const struct manifest *m = &at->ck->m[i];
		const struct manifest_column *other = NULL;

		if (m->number <= at->m->number)
			break;
		for (uint32_t k = 0; k < m->n_colls && !other; k++) {
			const struct manifest_collection *mc = &m->coll[k];
			const struct manifest_column *own[COLUMNS] = {&mc->vec,
				&mc->meta, &mc->version, &mc->end};

			if (memcmp(mc->uuid, at->mc->uuid, 16) == 0)
				other = own[kind];
		}
		if (other && other->n_parts >= column->n_parts &&
			other->part[column->n_parts - 1].number ==
				column->part[column->n_parts - 1].number)
			return true;
	}
	return false;
}

static void check_column(struct look_at *at, enum column_kind kind,
	const struct manifest_column *column, uint32_t stride)
{
	struct colfile_config cfg = collection_column(at->f, kind, stride);
	struct damage d = {0};
	struct colfile *cf;
	char why[256] = "";
	int rc;

	if (column->n_parts == 0)
		return;
	rc = colfile_open(&cfg, column->part, column->n_parts, why, &cf);
	if (rc == -ENOMEM)
		at->ck->rc = rc;
	if (rc < 0) {
		say_column(at, column, cfg.name, stride,
			why[0] ? why : strerror(-rc));
		return;
	}
	if (at->m->number == at->ck->taken || !is_seen(at, kind, column))
		read_rows(at, cf, stride, &d);
	if (d.n > 0)
		say_damage(at, kind, cfg.name, &d);
	free(d.range);
	colfile_close(cf);
}

/* ---- graphs ---- */

/* NULL: the file's bytes are those that were written. */
static const char *check_bytes(
	struct look_at *at, const struct manifest_file *file, int fd)
{
	struct io *io = at->f->io;
	XXH3_state_t *hash = XXH3_createState();
	uint8_t *bytes = malloc(BUFFER);
	const char *why = NULL;
	uint64_t done = 0;

	assert(fd >= 0 && file->number > 0);
	if (!hash || !bytes)
		at->ck->rc = -ENOMEM;
	else
		XXH3_64bits_reset(hash);
	while (at->ck->rc == 0 && done < file->len && !why) {
		size_t len = (size_t)VG_MIN(BUFFER, file->len - done);
		ssize_t n = io->read(io, fd, bytes, len, done);

		if (n < 0)
			why = "cannot be read";
		else if ((size_t)n < len)
			why = "is too short";
		else
			XXH3_64bits_update(hash, bytes, len);
		done += len;
	}
	if (at->ck->rc == 0 && !why && XXH3_64bits_digest(hash) != file->hash)
		why = "is damaged";
	if (hash)
		XXH3_freeState(hash);
	free(bytes);
	return why;
}

static void check_graph(struct look_at *at, const struct manifest_file *file)
{
	struct io *io = at->f->io;
	char name[GRAPH_NAME_MAX];
	const char *why = NULL;
	int fd;

	if (file->number == 0)
		return;
	graph_name_format(file->number, name);
	fd = io->open(io, at->f->dirfd, name, O_RDONLY);
	if (fd < 0)
		why = fd == -ENOENT ? "is missing" : "cannot be opened";
	else
		why = check_bytes(at, file, fd);
	if (fd >= 0)
		io->close(io, fd);
	if (why)
		check_say(at->ck,
			is_lost(at->ck, at->m) ||
				strcmp(why, "is damaged") == 0,
			"c/%s/%s %s; derived: %s", at->uuid, name, why,
			at->m->number == at->ck->taken ?
				"it is rebuilt" :
				"an older manifest's, it goes with that");
}

/* ---- a manifest ---- */

static void check_collection(struct look_at *at)
{
	const struct manifest_collection *mc = at->mc;

	assert(at->f && mc->version.n_parts > 0);
	check_column(at, COLUMN_META, &mc->meta, BLOB_UNIT);
	check_column(at, COLUMN_VERSION, &mc->version, VERSION_ROW);
	check_column(at, COLUMN_END, &mc->end, END_ROW);
	if (mc->dim > 0)
		check_column(at, COLUMN_VEC, &mc->vec,
			mc->dim * (uint32_t)sizeof(float));
	check_graph(at, &mc->graph);
	for (uint32_t i = 0; i < mc->n_deltas; i++)
		check_graph(at, &mc->delta[i]);
}

void check_manifest(struct check *ck, const struct manifest *m)
{
	struct collection_files files = {
		.io = ck->s->io, .dirfd = ck->s->checkpoint.coll_dirfd};

	assert(memcmp(m->store, ck->s->uuid, sizeof(m->store)) == 0);
	memcpy(files.store, ck->s->uuid, sizeof(files.store));
	for (uint32_t i = 0; i < m->n_colls && ck->rc == 0; i++) {
		struct look_at at = {.ck = ck, .m = m, .mc = &m->coll[i]};
		int rc;

		if (at.mc->version.n_parts == 0)
			continue;
		collection_uuid_format(at.mc->uuid, at.uuid);
		rc = files.dirfd < 0 ? -ENOENT :
				       collection_file_open(&files,
					       at.mc->uuid, &at.f);
		if (rc < 0) {
			check_say(ck, is_lost(ck, m),
				"c/%s: %s: MANIFEST.%" PRIu64
				" names it for collection '%s'",
				at.uuid, strerror(-rc), m->number,
				at.mc->name);
			continue;
		}
		check_collection(&at);
		collection_file_free(at.f);
	}
}
