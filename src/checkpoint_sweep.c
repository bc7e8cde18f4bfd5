/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint_sweep.c: what an open finds and nobody names goes.
 *
 * A checkpoint that was not finished leaves files, or rows behind those that
 * count; so does a copy made while one ran. None of them is ever taken for
 * something: a part's or a graph's number is above all that its directory has,
 * and what is in it counts only as far as a manifest says. Before the first
 * checkpoint, when all files in use are named by the manifest that was opened,
 * those that no manifest names are removed, and so are manifests above it.
 * Files with names of other kinds are somebody else's.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/collection_file_int.h"
#include "src/log.h"
#include "src/store_int.h"

struct sweep {
	struct checkpointer *cp;
	struct manifest *m; /* all there are */
	uint32_t n;
	int dirfd;		/* of the collection that is looked at */
	const char *name;	/* its directory's */
	uint32_t n_gone;
	bool is_named;		/* by some manifest */
};

static bool is_named(const struct sweep *sweep, const char *name)
{
	return manifest_names(sweep->m, sweep->n, sweep->name, name);
}

/* A file of a collection's directory. */
static int sweep_file(void *ctx, const char *name)
{
	struct sweep *sweep = ctx;
	struct io *io = sweep->cp->io;
	int rc = 0;

	assert(sweep->dirfd >= 0);
	if (!manifest_is_file(name) || (sweep->is_named && is_named(sweep, name)))
		return 0;
	rc = io->unlink(io, sweep->dirfd, name);
	sweep->n_gone += rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

/* A name of c/. */
static int sweep_dir(void *ctx, const char *name)
{
	struct sweep *sweep = ctx;
	struct io *io = sweep->cp->io;
	int rc;

	if (strspn(name, "0123456789abcdef") != 32 || name[32])
		return 0;
	rc = io->open(io, sweep->cp->coll_dirfd, name, O_RDONLY | O_DIRECTORY);
	if (rc < 0)
		return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc;
	sweep->dirfd = rc;
	sweep->name = name;
	sweep->is_named = is_named(sweep, NULL);
	rc = io->list(io, sweep->dirfd, sweep_file, sweep);
	io->close(io, sweep->dirfd);
	if (rc == 0 && !sweep->is_named)
		rc = io->rmdir(io, sweep->cp->coll_dirfd, name);
	return rc == -ENOTEMPTY ? 0 : rc;
}

/* Removes the manifests above the one that was opened, which is whole with the
 * log behind it, and loads the others. */
static int load_manifests(struct store *s, struct sweep *sweep,
	const uint64_t *number, uint32_t n)
{
	struct checkpointer *cp = &s->checkpoint;
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		if (number[i] > cp->number) {
			rc = manifest_unlink(cp->io, s->dirfd, number[i]);
			if (rc == -EIO) /* a sync is not tried again */
				store_fail(s, rc, "removing a manifest");
			continue;
		}
		rc = manifest_load(
			cp->io, s->dirfd, number[i], &sweep->m[sweep->n]);
		sweep->n += rc == 0;
		/* One that cannot be read is of no use to a copy either. */
		if (rc == -VG_ECORRUPT || rc == -ENOENT)
			rc = 0;
	}
	return rc;
}

int checkpoint_sweep(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;
	struct sweep sweep = {.cp = cp};
	uint64_t *number = NULL;
	uint32_t n = 0;
	int rc = manifest_list(cp->io, s->dirfd, &number, &n);

	assert(!s->is_recovery);
	if (rc < 0)
		return rc;
	sweep.m = calloc(VG_MAX(n, 1u), sizeof(*sweep.m));
	if (!sweep.m)
		rc = -ENOMEM;
	if (rc == 0)
		rc = load_manifests(s, &sweep, number, n);
	assert(sweep.n <= n);
	if (rc == 0 && cp->coll_dirfd >= 0)
		rc = cp->io->list(
			cp->io, cp->coll_dirfd, sweep_dir, &sweep);
	if (sweep.n_gone)
		log_info("removed what a checkpoint had not finished: files=%u",
			sweep.n_gone);
	for (uint32_t i = 0; i < sweep.n; i++)
		manifest_fini(&sweep.m[i]);
	free(sweep.m);
	free(number);
	return rc;
}
