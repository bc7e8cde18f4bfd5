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
#include "src/derived.h"

#define BUFFER (1u << 20)

const char *check_name_of(const struct check_look *at)
{
	const struct manifest_collection *mc = at->mc;

	while (manifest_is_past(mc))
		mc--; /* its collection's stands before it */
	return mc->name;
}

const char *check_part_of(const struct check_look *at)
{
	if (manifest_is_held(at->mc))
		return "what open files showed of collection";
	return manifest_is_past(at->mc) ? "snapshots of collection"
					: "collection";
}

/* ---- columns ---- */

/* Reads every row. */
static void read_rows(struct check_look *at, struct colfile *cf, uint32_t stride,
	struct check_damage *d)
{
	uint32_t n = colfile_rows(cf), batch = VG_MAX(BUFFER / stride, 1u);
	uint8_t *rows = malloc((size_t)batch * stride);

	assert(stride > 0 && d->n == 0);
	if (!rows)
		at->ck->rc = -ENOMEM;
	for (uint32_t from = 0; rows && from < n; from += VG_MIN(batch, n - from))
		colfile_read(cf, from, VG_MIN(batch, n - from), rows, check_add_range,
			d);
	if (d->failed)
		at->ck->rc = -ENOMEM;
	free(rows);
}

/* Is a file there, with as many bytes as it has to have? */
static bool is_long_enough(struct check_look *at, const char *column,
	const struct colfile_part *part, uint32_t stride)
{
	uint64_t len = (uint64_t)part->n * stride;
	char name[128];

	assert(part->number > 0 && part->n > 0);
	for (int sums = 0; sums < 2; sums++) {
		struct io *io = at->f->io;
		struct io_stat st = {0};
		uint64_t need = sums ? 64 + len / COLFILE_BLOCK * 8 :
				       COLFILE_HEADER + len;
		int fd, rc;

		snprintf(name, sizeof(name), "%s/%s.%04" PRIu32 "%s",
			at->f->dir, column, part->number, sums ? ".sum" : "");
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
static void say_column(struct check_look *at, const struct manifest_column *column,
	const char *name, uint32_t stride, const char *why)
{
	bool is_whole = true;

	assert(column->n_parts > 0 && why[0]);
	for (uint32_t i = 0; i < column->n_parts; i++)
		is_whole = is_whole &&
			   is_long_enough(at, name, &column->part[i], stride);
	if (at->m->number == at->ck->taken)
		check_say(at->ck, true,
			"c/%s/%s: %s '%s' cannot be opened", at->uuid, why,
			check_part_of(at), check_name_of(at));
	else
		check_say(at->ck, is_whole || is_lost(at->ck, at->m),
			"MANIFEST.%" PRIu64 " is not used: c/%s/%s", at->m->number,
			at->uuid, why);
}

/* Whether a generation of another manifest has all of the column. */
static bool has_column(const struct manifest_collection *mc,
	const struct check_look *at, enum column_kind kind,
	const struct manifest_column *column)
{
	const struct manifest_column *own[COLUMNS] = {
		&mc->vec, &mc->meta, &mc->version, &mc->end};
	uint32_t last = column->n_parts - 1;

	assert(column->n_parts > 0 && kind < COLUMNS);
	return memcmp(mc->uuid, at->mc->uuid, 16) == 0 &&
	       own[kind]->n_parts > last &&
	       own[kind]->part[last].number == column->part[last].number;
}

/* Whether a manifest that was looked at before has it. */
static bool is_seen(const struct check_look *at, enum column_kind kind,
	const struct manifest_column *column)
{
	bool is = false;

	for (uint32_t i = 0; i < at->ck->n && !is; i++) {
		const struct manifest *m = &at->ck->m[i];

		if (m->number <= at->m->number)
			break;
		for (uint32_t k = 0; k < m->n_colls && !is; k++)
			is = has_column(&m->coll[k], at, kind, column);
	}
	return is;
}

static void check_column(struct check_look *at, enum column_kind kind,
	const struct manifest_column *column, uint32_t stride)
{
	struct colfile_config cfg = collection_column(at->f, kind, stride);
	struct check_damage d = {0};
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
		check_say_damage(at, kind, cfg.name, &d);
	free(d.range);
	colfile_close(cf);
}

/* ---- derived files ---- */

/* NULL: the file's bytes are those that were written. */
static const char *check_bytes(
	struct check_look *at, const struct manifest_file *file, int fd)
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

static void check_derived(struct check_look *at, const char *kind,
	const struct manifest_file *file)
{
	struct io *io = at->f->io;
	char name[DERIVED_NAME_MAX], path[sizeof(at->f->dir) + DERIVED_NAME_MAX];
	const char *why = NULL;
	int fd;

	if (file->number == 0)
		return;
	derived_name_format(kind, file->number, name);
	snprintf(path, sizeof(path), "%s/%s", at->f->dir, name);
	fd = io->open(io, at->f->dirfd, path, O_RDONLY);
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

static void check_collection(struct check_look *at)
{
	const struct manifest_collection *mc = at->mc;

	assert(at->f && mc->version.n_parts > 0);
	check_column(at, COLUMN_META, &mc->meta, BLOB_UNIT);
	check_column(at, COLUMN_VERSION, &mc->version, VERSION_ROW);
	check_column(at, COLUMN_END, &mc->end, END_ROW);
	if (mc->dim > 0)
		check_column(at, COLUMN_VEC, &mc->vec,
			(uint32_t)vg_row_len(
				(enum vg_dtype)mc->dtype, mc->dim));
	check_derived(at, DERIVED_GRAPH, &mc->graph);
	for (uint32_t i = 0; i < mc->n_deltas; i++)
		check_derived(at, DERIVED_GRAPH, &mc->delta[i]);
	check_derived(at, DERIVED_FIELDS, &mc->fields);
}

void check_manifest(struct check *ck, const struct manifest *m)
{
	struct collection_files files = {
		.io = ck->s->io, .dirfd = ck->s->checkpoint.coll_dirfd};

	assert(memcmp(m->store, ck->s->uuid, sizeof(m->store)) == 0);
	memcpy(files.store, ck->s->uuid, sizeof(files.store));
	for (uint32_t i = 0; i < m->n_colls && ck->rc == 0; i++) {
		struct check_look at = {.ck = ck, .m = m, .mc = &m->coll[i]};
		int rc;

		if (at.mc->version.n_parts == 0)
			continue;
		manifest_dir_format(at.mc->uuid, at.uuid);
		rc = files.dirfd < 0 ? -ENOENT :
				       collection_file_open(&files,
					       at.mc->uuid, &at.f);
		if (rc < 0) {
			check_say(ck, is_lost(ck, m),
				"c/%s: %s: MANIFEST.%" PRIu64
				" names it for %s '%s'",
				at.uuid, strerror(-rc), m->number,
				check_part_of(&at), check_name_of(&at));
			continue;
		}
		check_collection(&at);
		collection_file_free(at.f);
	}
}
