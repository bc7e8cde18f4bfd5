/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_load.c: which manifest an open takes, and what it makes of it. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/log.h"
#include "src/store_int.h"

#define LIMIT (64u << 20)
#define GRACE_S 3600.0

/* The state that m describes, into an empty store. */
static int fill_catalogue(struct store *s, const struct manifest *m,
	const struct collection_files *files, char why[256])
{
	struct catalogue *cat = &s->catalogue;
	int rc = catalogue_load(cat, m);

	for (uint32_t i = 0; i < m->n_colls && rc == 0; i++) {
		const struct manifest_collection *mc = &m->coll[i];
		struct vg_id name = {mc->name, mc->name_len};
		struct collection *c;

		rc = collection_load(files, mc, why, &c);
		if (rc == 0)
			rc = catalogue_load_collection(
				cat, c, name, mc->cursor);
	}
	for (uint32_t i = 0; i < m->n_aliases && rc == 0; i++) {
		const struct manifest_alias *ma = &m->alias[i];
		struct vg_id name = {ma->name, ma->name_len};
		struct alias alias = {
			.target = {ma->target, ma->target_len},
			.mtime_ns = ma->mtime_ns,
		};

		rc = catalogue_load_alias(cat, &alias, name, ma->cursor);
	}
	return rc;
}

static int publish_moment(struct store *s, const struct manifest *m)
{
	struct moment *next;
	int rc = moment_new(&s->moments, &next);

	if (rc < 0)
		return rc;
	memcpy(next->seq, m->seq, sizeof(next->seq));
	moment_publish(&s->moments, next);
	return 0;
}

/* Loads MANIFEST.<number> and all that it names; or leaves an empty store. */
static int load_one(struct store *s, uint64_t number, char why[256],
	struct wal_place *from)
{
	struct checkpointer *cp = &s->checkpoint;
	struct collection_files files = {
		.io = cp->io, .dirfd = cp->coll_dirfd};
	struct manifest m = {0};
	int rc = manifest_load(cp->io, s->dirfd, number, &m);

	if (rc == 0 && memcmp(m.store, s->uuid, sizeof(m.store)) != 0)
		rc = -VG_ECORRUPT;
	if (rc < 0)
		snprintf(why, 256, "it is %s",
			rc == -VG_ECORRUPT ? "damaged, or another store's" :
			rc == -VG_EFORMAT ? "of a later version of vecgridfs" :
					    strerror(-rc));
	memcpy(files.store, s->uuid, sizeof(files.store));
	if (rc == 0)
		rc = fill_catalogue(s, &m, &files, why);
	if (rc == 0)
		rc = publish_moment(s, &m);
	if (rc == 0) {
		*from = (struct wal_place){m.lsn, m.segment, m.offset};
		cp->number = number;
		atomic_store(&cp->lsn, m.lsn);
	} else {
		catalogue_fini(&s->catalogue);
		catalogue_init(&s->catalogue);
	}
	manifest_fini(&m);
	return rc;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* The older ones stay as long as if they had just been replaced. */
static int keep_older(
	struct checkpointer *cp, const uint64_t *number, uint32_t n)
{
	cp->kept = calloc(VG_MAX(n, 1u), sizeof(*cp->kept));
	if (!cp->kept)
		return -ENOMEM;
	cp->cap_kept = VG_MAX(n, 1u);
	for (uint32_t i = n; i-- > 0;)
		if (number[i] < cp->number)
			cp->kept[cp->n_kept++] = (struct checkpoint_kept){
				.number = number[i], .since_s = now_s()};
	return 0;
}

/* Those above the one that was taken cannot be opened, and never will: the
 * files that they name are written to from now on. */
static int unlink_newer(
	struct store *s, const uint64_t *number, uint32_t n)
{
	struct checkpointer *cp = &s->checkpoint;
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++)
		if (number[i] > cp->number)
			rc = manifest_unlink(cp->io, s->dirfd, number[i]);
	return rc;
}

/* Takes the newest that can be opened. rep has a sentence about the first. */
static int load_newest(struct store *s, const uint64_t *number, uint32_t n,
	struct store_report *rep, struct wal_place *from)
{
	char why[256];
	int first = 0, rc = -ENOENT;

	for (uint32_t i = 0; i < n; i++) {
		why[0] = '\0';
		rc = load_one(s, number[i], why, from);
		if (rc == 0) {
			rep->error[0] = '\0';
			break;
		}
		if (first == 0) {
			first = rc;
			snprintf(rep->error, sizeof(rep->error),
				"the data directory's MANIFEST.%llu cannot be "
				"opened: %s%s",
				(unsigned long long)number[i], why,
				strstr(why, "restore")
					? ""
					: "; restore the directory from a copy");
		}
		if (rc == -ENOMEM || rc == -VG_EFORMAT)
			break;
		log_warn("MANIFEST.%llu cannot be opened: %s; trying the one "
			 "before",
			(unsigned long long)number[i], why);
	}
	return rc == 0 ? 0 : first;
}

int checkpoint_load(struct store *s, const struct store_config *cfg,
	struct store_report *rep, struct wal_place *from)
{
	struct checkpointer *cp = &s->checkpoint;
	uint64_t *number = NULL;
	uint32_t n = 0;
	int rc;

	cp->io = s->io;
	cp->limit = cfg->checkpoint_bytes ? cfg->checkpoint_bytes : LIMIT;
	cp->grace_s = cfg->has_grace ? cfg->grace_s : GRACE_S;
	atomic_store(&cp->lsn, 1);
	*from = (struct wal_place){0};
	rc = manifest_list(cp->io, s->dirfd, &number, &n);
	if (rc < 0 || n == 0)
		goto free_number;
	rc = cp->io->open(cp->io, s->dirfd, "c", O_RDONLY | O_DIRECTORY);
	if (rc < 0 && rc != -ENOENT)
		goto free_number;
	cp->coll_dirfd = rc < 0 ? -1 : rc;
	rc = load_newest(s, number, n, rep, from);
	if (rc == 0)
		rc = unlink_newer(s, number, n);
	if (rc == 0)
		rc = keep_older(cp, number, n);
free_number:
	free(number);
	return rc;
}
