/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint_load.c: which manifest an open takes, and what it makes of it.
 *
 * The newest that is whole: its own sum is right, so are its files, and the log
 * has the place that it goes on from. What cannot be opened is passed over,
 * because the log from an older manifest's place on says it, too; before all
 * manifests comes the empty store, and the log from its begin. But the log has
 * to go on at least as far as every manifest that can be read knows, else
 * something was lost: then nothing is opened. Only vectors may be lost, where
 * nothing else has them: their records are known and left out of answers.
 *
 * WHY A COPY IS RIGHT, whatever the order in which its files were copied while
 * changes went on. Let n be the newest manifest when it began. All that n names
 * is there until it ended (checkpoint.h), and only grows at the end: so is
 * copied. All that was acknowledged before it began is in n's files or in the
 * log from n's place on, and in segments that were there then. A newer manifest
 * in the copy, made meanwhile, is either whole with its log, and then has all
 * that n had and more; or it is passed over; or the log ends before it: the log
 * was copied first, and the copy is refused, because a copy that was
 * interrupted looks the same.
 *
 * What cannot be told is a copy that was interrupted within the log behind the
 * newest manifest's place: a last segment that is not there, or not whole, looks
 * as if it had been begun, or written to, after the copy was. The program that
 * copied says that it failed; here there is a warning.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/clock.h"
#include "src/log.h"
#include "src/memory.h"
#include "src/checkpoint_int.h"
#include "src/log.h"
#include "src/store_int.h"
#include "src/wal.h"

/* Of the log between two checkpoints: what came in since is in memory. */
#define LIMIT ((uint64_t)64 << 20)
#define LIMIT_SHARE 16u /* a part of the memory, where there is little */
#define LIMIT_MIN ((uint64_t)2 << 20)
#define GRACE_S 3600.0

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

static const char *word_of(int rc)
{
	return rc == -VG_ECORRUPT ? "damaged, or another store's" :
	       rc == -VG_EFORMAT  ? "of a later version of vecgridfs: use that" :
				    strerror(-rc);
}

/* Whether the log has the place that m goes on from. */
static int check_log(const struct store *s, const struct manifest *m,
	char why[256])
{
	struct wal_config cfg = {.dirfd = s->waldirfd,
		.from = {m->lsn, m->segment, m->offset},
		.io = s->io};

	assert(m->lsn > 0 && s->waldirfd >= 0);
	memcpy(cfg.uuid, s->uuid, sizeof(cfg.uuid));
	return wal_check_place(&cfg, why);
}

/* Loads MANIFEST.<number> and what it names; or leaves an empty store. */
static int load_one(struct store *s, uint64_t number, enum whole whole,
	char why[256], struct wal_place *from)
{
	struct checkpointer *cp = &s->checkpoint;
	struct collection_files files = {
		.io = cp->io, .dirfd = cp->coll_dirfd, .fds = &cp->fds,
		.beside = cp->io == &s->plain, .takes_damaged = whole != WHOLE};
	struct manifest m = {0};
	int rc = manifest_load(cp->io, s->dirfd, number, &m);

	why[0] = '\0';
	if (rc == 0 && memcmp(m.store, s->uuid, sizeof(m.store)) != 0)
		rc = -VG_ECORRUPT;
	if (rc < 0)
		snprintf(why, 256, "it is %s", word_of(rc));
	else
		cp->reach = VG_MAX(cp->reach, m.lsn);
	if (rc == 0 && whole != NO_LOG)
		rc = check_log(s, &m, why);
	memcpy(files.store, s->uuid, sizeof(files.store));
	if (rc == 0)
		rc = checkpoint_fill(s, &m, &files, whole, why);
	if (rc == 0)
		rc = publish_moment(s, &m);
	for (uint32_t i = 0; i < m.n_origins && rc == 0; i++)
		origins_add(&s->origins, &m.origin[i]);
	if (rc == 0) {
		*from = (struct wal_place){m.lsn, m.segment, m.offset};
		cp->number = number;
		atomic_store(&cp->n_held_saved, manifest_count_held(&m));
		cp->is_found = true;
		atomic_store(&cp->lsn, m.lsn);
	} else {
		checkpoint_settle(cp);
		catalogue_fini(&s->catalogue);
		catalogue_init(&s->catalogue);
	}
	manifest_fini(&m);
	assert(rc < 0 || cp->reach >= from->lsn);
	return rc;
}

/* The older ones stay as long as if they had just been replaced. */
static int keep_older(
	struct checkpointer *cp, const uint64_t *number, uint32_t n)
{
	cp->kept = calloc(VG_MAX(n, 1u), sizeof(*cp->kept));
	if (!cp->kept)
		return -ENOMEM;
	cp->cap_kept = VG_MAX(n, 1u);
	assert(cp->n_kept == 0);
	for (uint32_t i = n; i-- > 0;)
		if (number[i] < cp->number)
			cp->kept[cp->n_kept++] = (struct checkpoint_kept){
				.number = number[i], .since_s = clock_now_s()};
	return 0;
}

/* Is this an error of the manifest, so that another may be better? */
static bool is_its_own(int rc)
{
	return rc == -VG_ECORRUPT || rc == -ENOENT || rc == -EIO;
}

/* Takes the newest that can be opened. rep has a sentence about the first. */
static int load_newest(struct store *s, const uint64_t *number, uint32_t n,
	enum whole whole, struct store_report *rep, struct wal_place *from)
{
	char why[256];
	int first = 0, rc = -ENOENT;

	assert(n > 0 && number[0] >= number[n - 1]);
	for (uint32_t i = 0; i < n; i++) {
		rc = load_one(s, number[i], whole, why, from);
		if (rc == 0)
			return 0;
		if (first == 0) {
			first = rc;
			snprintf(rep->error, sizeof(rep->error),
				"the data directory's MANIFEST.%llu cannot be "
				"opened: %s%s",
				(unsigned long long)number[i],
				why[0] ? why : strerror(-rc),
				strstr(why, "restore") || rc == -VG_EFORMAT
					? ""
					: "; restore the directory from a copy");
		}
		if (!is_its_own(rc) && !s->is_recovery)
			break;
		log_warn("MANIFEST.%llu cannot be opened: %s; trying the one "
			 "before",
			(unsigned long long)number[i], why);
	}
	return rc < 0 && is_its_own(rc) ? first : rc;
}

static int note_first(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "0001.wal") == 0;
}

/* 1: the log has its begin. 0: not. Or an errno. */
static int has_begin(const struct store *s)
{
	return s->io->list(s->io, s->waldirfd, note_first, NULL);
}

/* A manifest, as much of it as there must be; or the log's begin. */
static int load_any(struct store *s, const uint64_t *number, uint32_t n,
	struct store_report *rep, struct wal_place *from)
{
	int rc = load_newest(s, number, n, WHOLE, rep, from);

	if (is_its_own(rc) && has_begin(s) > 0) {
		log_warn("no manifest can be opened; the log is read from its "
			 "begin");
		rc = 0;
	}
	if (is_its_own(rc))
		rc = load_newest(s, number, n, RECORDS, rep, from);
	for (enum whole whole = PARTS;
		s->is_recovery && rc < 0 && rc != -ENOMEM && whole <= NO_LOG;
		whole++)
		rc = load_newest(s, number, n, whole, rep, from);
	if (rc == 0)
		rep->error[0] = '\0';
	assert(rc == 0 || rep->error[0]);
	return rc;
}

static int note_any(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	return 1;
}

/* Neither a manifest nor a log: a new directory, or what is left of one. */
static int check_new(struct store *s, struct store_report *rep)
{
	struct io *io = s->io;
	int rc = io->list(io, s->waldirfd, note_any, NULL);

	if (rc != 0)
		return VG_MIN(rc, 0);
	if (s->identity_state == IDENTITY_MISSING &&
		s->checkpoint.coll_dirfd < 0)
		return 0;
	snprintf(rep->error, sizeof(rep->error),
		"the data directory has neither a manifest nor a log: files "
		"were lost, or it is a part of a copy; restore it from a copy");
	return -VG_ECORRUPT;
}

static uint64_t default_limit(void)
{
	uint64_t share = memory_limit() / LIMIT_SHARE;

	return VG_MAX(LIMIT_MIN, VG_MIN(share, LIMIT));
}

int checkpoint_load(struct store *s, const struct store_config *cfg,
	struct store_report *rep, struct wal_place *from)
{
	struct checkpointer *cp = &s->checkpoint;
	uint64_t *number = NULL;
	uint32_t n = 0;
	int rc;

	cp->io = s->io;
	cp->limit = cfg->checkpoint_bytes ? cfg->checkpoint_bytes
					  : default_limit();
	if (s->is_recovery)
		cp->limit = UINT64_MAX;
	cp->spill = cfg->spill_bytes ? cfg->spill_bytes : cp->limit;
	cp->grace_s = cfg->has_grace ? cfg->grace_s : GRACE_S;
	atomic_store(&cp->lsn, 1);
	assert(cp->number == 0 && cp->coll_dirfd < 0);
	*from = (struct wal_place){0};
	rc = manifest_list(cp->io, s->dirfd, &number, &n);
	if (rc < 0)
		goto free_number;
	rc = cp->io->open(cp->io, s->dirfd, "c", O_RDONLY | O_DIRECTORY);
	if (rc < 0 && rc != -ENOENT)
		goto free_number;
	cp->coll_dirfd = rc < 0 ? -1 : rc;
	rc = n == 0 ? check_new(s, rep) : load_any(s, number, n, rep, from);
	if (rc == 0)
		rc = keep_older(cp, number, n);
free_number:
	free(number);
	return rc;
}
