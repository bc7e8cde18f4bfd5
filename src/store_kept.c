/* SPDX-License-Identifier: Apache-2.0 */
/* store_kept.c: what a collection keeps for snapshots and for copies. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "src/collection_file_int.h"
#include "src/store_int.h"

static uint64_t bytes_of(const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	uint64_t bytes = (uint64_t)VERSION_ROW *
				 atomic_load_explicit(&g->n_versions,
					 memory_order_acquire) +
			 (uint64_t)BLOB_UNIT * g->blob.n;

	if (cell)
		bytes += (uint64_t)cell->vec.rows.stride *
			 atomic_load_explicit(
				 &cell->n_slots, memory_order_acquire);
	return bytes;
}

/* A directory whose files are counted that m does not name. */
struct listing {
	struct io *io;
	const struct manifest *m;
	const char *dir;
	int dirfd;
	uint64_t bytes;
};

static int count_file(void *ctx, const char *name)
{
	struct listing *l = ctx;
	struct io_stat st;
	int fd;

	assert(l->dirfd >= 0);
	if (!manifest_is_file(name) || manifest_names(l->m, 1, l->dir, name))
		return 0;
	fd = l->io->open(l->io, l->dirfd, name, O_RDONLY);
	if (fd < 0)
		return 0; /* it went meanwhile */
	if (l->io->stat(l->io, fd, &st) == 0)
		l->bytes += st.size;
	l->io->close(l->io, fd);
	return 0;
}

static int count_files(struct store *s, const struct manifest *m,
	const struct collection *c, uint64_t *out)
{
	char path[35] = "c/", *dir = path + 2;
	struct listing l = {.io = s->io, .m = m, .dir = dir};
	int rc;

	manifest_dir_format(c->uuid, dir);
	rc = s->io->open(s->io, s->dirfd, path, O_RDONLY | O_DIRECTORY);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	l.dirfd = rc;
	rc = s->io->list(s->io, l.dirfd, count_file, &l);
	s->io->close(s->io, l.dirfd);
	*out = l.bytes;
	return rc;
}

/* The newest manifest; between the list and the load it may be dropped. */
static int load_newest(struct store *s, struct manifest *m)
{
	uint64_t *number = NULL;
	uint32_t n = 0;
	int rc = manifest_list(s->io, s->dirfd, &number, &n);

	if (rc == 0)
		rc = n ? manifest_load(s->io, s->dirfd, number[0], m) : -ENOENT;
	free(number);
	return rc;
}

int store_kept(struct store *s, struct collection *c, struct store_kept *out)
{
	struct store_kept kept = {0};
	struct manifest m = {0};
	struct generation *g = collection_gen(c);
	int rc;

	assert(!c->of);
	pthread_mutex_lock(&c->lock);
	kept.snapshots = c->n_snaps;
	pthread_mutex_unlock(&c->lock);
	while ((g = collection_next_gen(c, g, GENS_KEPT)))
		kept.pinned_bytes += bytes_of(g);
	rc = load_newest(s, &m);
	if (rc == 0)
		rc = count_files(s, &m, c, &kept.grace_bytes);
	manifest_fini(&m);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	*out = kept;
	return 0;
}
