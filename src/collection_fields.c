/* SPDX-License-Identifier: Apache-2.0 */
/* collection_fields.c: indexes of a generation's fields, and their file. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/collection_file_int.h"
#include "src/derived.h"
#include "src/fields.h"
#include "src/log.h"

/* Indexes of a generation's fields: at most so many, and such a part of the
 * machine's memory. */
#define FIELDS_MAX 256u
#define MEMORY_PART 16u

/*
 * To index a version by one field takes .2 to .7 us. So what MIN of them take,
 * some milliseconds, is no more than a file does; and past that the file is
 * written anew for a share of all, so that writing stays a part of the work
 * that made it necessary. At the end of a life, when a restart is likely, for
 * less.
 */
#define UNSAVED_MIN 10000u
#define UNSAVED_SHARE 4u
#define UNSAVED_SHARE_ALL 16u

/* ---- in ---- */

static size_t bytes_max(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	return (size_t)pages * (size_t)page / MEMORY_PART;
}

/* What a checkpoint saved, into indexes without any. They are to be freed
 * after an error. */
static int load(struct generation *g, const char **what, struct fields *f)
{
	struct collection_file *from = g->fields_from;
	struct derived_in in;
	struct fields_source source = {.read = derived_read, .ctx = &in};
	uint32_t n = atomic_load_explicit(&g->n_versions, memory_order_acquire);
	int dirfd = collection_dir_open(from), rc;

	assert(from == g->file && from->fields.number > 0);
	*what = "it is damaged";
	if (dirfd < 0)
		return dirfd;
	rc = derived_in_open(&in, from->io, dirfd, DERIVED_FIELDS, &from->fields);
	if (rc == 0)
		rc = fields_load(f, n, &source, what);
	if (rc == 0)
		rc = derived_in_check(&in, from->fields.hash);
	derived_in_fini(&in);
	from->io->close(from->io, dirfd);
	return rc;
}

static void tell_lost(const struct collection_file *from, int rc,
	const char *what)
{
	char name[DERIVED_NAME_MAX];

	derived_name_format(DERIVED_FIELDS, from->fields.number, name);
	log_warn("c/%s/%s: %s; indexes of fields are made again by the filters "
		 "that need them",
		from->dir, name, rc == -VG_ECORRUPT ? what : strerror(-rc));
}

/* With what was saved, if anything was and can be read. */
static int make(struct generation *g, struct fields **out)
{
	struct collection_file *from = g->fields_from;
	const char *what;
	int rc = fields_new(bytes_max(), FIELDS_MAX, out), loaded;

	if (rc < 0 || !from)
		return rc;
	loaded = load(g, &what, *out);
	if (loaded == 0)
		return 0;
	fields_free(*out);
	rc = fields_new(bytes_max(), FIELDS_MAX, out);
	if (rc < 0)
		return rc; /* who asks next tries again */
	tell_lost(from, loaded, what);
	atomic_store_explicit(
		&from->fields_lost, true, memory_order_release);
	return 0;
}

/* The same, and it is the generation's, unless another thread was first. */
static int make_once(struct generation *g, struct fields **out)
{
	struct fields *was = NULL, *f;
	int rc = make(g, &f);

	if (rc < 0)
		return rc;
	*out = f;
	if (atomic_compare_exchange_strong(&g->fields, &was, f))
		return 0;
	assert(!g->fields_from);
	fields_free(f);
	*out = was;
	return 0;
}

int collection_fields(struct generation *g, struct fields **out)
{
	struct collection_file *from = g->fields_from;
	int rc = 0;

	*out = atomic_load_explicit(&g->fields, memory_order_acquire);
	if (*out)
		return 0;
	if (!from)
		return make_once(g, out);
	pthread_mutex_lock(&from->loading);
	*out = atomic_load_explicit(&g->fields, memory_order_acquire);
	if (!*out)
		rc = make_once(g, out);
	pthread_mutex_unlock(&from->loading);
	return rc;
}

bool collection_fields_lost(const struct generation *g)
{
	return g->fields_from && atomic_load_explicit(&g->fields_from->fields_lost,
					 memory_order_acquire);
}

/* ---- out ---- */

/* Whether to index again what no file has would take long. */
static bool is_much_unsaved(const struct generation *g, bool all)
{
	struct fields *f =
		atomic_load_explicit(&g->fields, memory_order_acquire);
	uint64_t n = 0, unsaved = f ? fields_unsaved(f, &n) : 0;

	assert(unsaved <= n);
	return unsaved > VG_MAX((uint64_t)UNSAVED_MIN,
				 n / (all ? UNSAVED_SHARE_ALL : UNSAVED_SHARE));
}

bool collection_fields_due(const struct generation *g, bool all)
{
	return collection_fields_lost(g) || is_much_unsaved(g, all);
}

static int write_file(struct collection_file *file, struct fields *f,
	struct manifest_file *written)
{
	struct derived_out out;
	struct fields_sink sink = {.write = derived_write, .ctx = &out};
	int dirfd = collection_dir_open(file), rc;

	assert(f);
	if (dirfd < 0)
		return dirfd;
	rc = derived_out_open(&out, file->io, dirfd, DERIVED_FIELDS);
	if (rc == 0)
		rc = derived_out_close(&out, fields_save(f, &sink), written);
	if (rc < 0)
		fields_unsave(f);
	file->io->close(file->io, dirfd);
	return rc;
}

int collection_save_fields(const struct collection_files *files,
	struct generation *g, bool all)
{
	struct manifest_file written;
	int rc;

	assert(!g->coll->of);
	if (collection_fields_lost(g)) {
		assert(g->fields_from == g->file);
		g->file->fields = (struct manifest_file){0};
		atomic_store_explicit(&g->file->fields_lost, false,
			memory_order_relaxed);
	}
	if (!is_much_unsaved(g, all))
		return 0;
	rc = collection_file_need(files, g);
	if (rc == 0)
		rc = write_file(g->file,
			atomic_load_explicit(&g->fields, memory_order_acquire),
			&written);
	if (rc == 0)
		g->file->fields = written;
	return rc;
}
