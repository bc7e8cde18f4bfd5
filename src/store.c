/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: the data directory's life: take it, replay its log, give it back. */
#include "src/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/config.h"
#include "src/datadir.h"
#include "src/log.h"
#include "src/store_int.h"

struct catalogue *store_catalogue(struct store *s)
{
	return &s->catalogue;
}

struct moments *store_moments(struct store *s)
{
	return &s->moments;
}

int store_dirfd(const struct store *s)
{
	return s->dirfd;
}

const char *store_read_only(struct store *s)
{
	return atomic_load_explicit(&s->read_only, memory_order_acquire);
}

void store_apply(struct store *s, struct collection *coll, const struct op *op,
	struct reservation *r)
{
	if ((op->type >= OP_CREATE && op->type <= OP_UNALIAS) || !coll ||
		op->type >= OP_SNAP) {
		catalogue_apply(&s->catalogue, op, r);
		return;
	}
	assert(memcmp(coll->uuid, op->uuid, sizeof(coll->uuid)) == 0);
	assert(op->type != OP_PUT || r->cell);
	if (op->type < OP_CREATE)
		generation_apply(coll->gen, op, r);
	pthread_mutex_lock(&coll->lock);
	if (op->type == OP_CONFIG)
		config_replace(&coll->config, &op->config);
	else if (op->type == OP_ATTR) {
		coll->attr = op->attr;
		coll->mtime_ns = op->time_ns;
	} else if (op->type != OP_SET)
		coll->mtime_ns = op->commit_ns;
	pthread_mutex_unlock(&coll->lock);
	if (op->type == OP_CONFIG)
		tune_wake(s);
}

void store_published(struct collection *coll, const struct op *op)
{
	if (!coll)
		return;
	assert(op->n_places > 0); /* its times are what the log says */
	pthread_mutex_lock(&coll->lock);
	coll->commit_ns = op->commit_ns;
	pthread_mutex_unlock(&coll->lock);
	atomic_fetch_add_explicit(&coll->changes, 1, memory_order_release);
}

static void add_backlog(struct store *s, const struct generation *g)
{
	struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);

	if (!cell)
		return;
	cell->backlog = atomic_load(&cell->n_slots);
	indexer_add(&s->indexer, cell);
}

/* Hands what the restart found to the indexers: a backlog holds no writer.
 * What only snapshots show comes last. */
static void start_backlog(struct store *s)
{
	struct collection *c;

	for (uint32_t no = 0; (c = catalogue_next_no(&s->catalogue, &no));
		no++) {
		add_backlog(s, c->gen);
		collection_unref(c);
	}
	for (uint32_t no = 0; (c = catalogue_next_no(&s->catalogue, &no));
		no++) {
		struct generation *g = collection_gen(c);

		while ((g = collection_next_gen(c, g, GENS_SHOWN)))
			add_backlog(s, g);
		collection_unref(c);
	}
}

static unsigned n_indexers(const struct store_config *cfg)
{
	long n = cfg->indexers ? (long)cfg->indexers
			       : sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)VG_MAX(1L, VG_MIN(n, 64L));
}

static struct store *store_alloc(const struct store_config *cfg)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->durability = cfg->durability;
	s->next_gen = cfg->next_gen;
	atomic_init(&s->is_settled, !cfg->will_settle);
	s->dirfd = s->lockfd = s->waldirfd = -1;
	pthread_mutex_init(&s->queue_lock, NULL);
	pthread_cond_init(&s->queue_cond, NULL);
	pthread_cond_init(&s->idle_cond, NULL);
	pthread_cond_init(&s->sync_cond, NULL);
	pthread_mutex_init(&s->error_lock, NULL);
	pthread_mutex_init(&s->scratch_lock, NULL);
	checkpoint_prepare(&s->checkpoint);
	compact_prepare(&s->compactor);
	tune_prepare(&s->tuner);
	io_init(&s->plain);
	s->errors = calloc(ERRORS_KEPT, sizeof(*s->errors));
	if (!s->errors || moments_init(&s->moments) < 0) {
		free(s->errors);
		free(s);
		return NULL;
	}
	catalogue_init(&s->catalogue);
	return s;
}

/* Who this directory is; a copy learns it here and is told later. */
static int find_identity(struct store *s, struct store_report *rep)
{
	int rc = identity_load(
		s->io, s->dirfd, &s->identity, &s->identity_state);

	if (rc == -VG_EFORMAT)
		snprintf(rep->error, sizeof(rep->error),
			"the data directory's IDENTITY is of a later version "
			"of vecgridfs: use that");
	else if (rc < 0)
		snprintf(rep->error, sizeof(rep->error),
			"the data directory's IDENTITY cannot be read: %s",
			strerror(-rc));
	return rc;
}

/* A directory that is new, or a copy, gets ids of its own. They hold for now
 * even if they cannot be written: the next open tries it again. */
static void renew_identity(struct store *s)
{
	struct identity was = s->identity;
	bool is_copy = s->identity_state == IDENTITY_COPIED;
	int rc;

	if (s->is_recovery || s->identity_state == IDENTITY_SAME)
		return;
	rc = identity_save(
		s->io, s->dirfd, is_copy ? &was : NULL, &s->identity);
	if (rc < 0)
		log_warn("IDENTITY cannot be written: %s; the next mount "
			 "tries again",
			strerror(-rc));
	else if (is_copy)
		log_info("the data directory is a copy: it has an identity of "
			 "its own from now on");
	else if (s->identity_state == IDENTITY_DAMAGED)
		log_warn("IDENTITY was damaged: there is a new one");
	/* What held files for the copy is none of the copy's. */
	if (is_copy)
		s->io->unlink(s->io, s->dirfd, ".backup-hold");
}

/* A sentence for each error; of a copy also what may be wrong with it. */
static void say_why(const struct store *s, const struct store_config *cfg,
	int rc, struct store_report *rep)
{
	size_t len;

	if (!rep->error[0])
		snprintf(rep->error, sizeof(rep->error),
			"%s cannot be opened: %s",
			cfg->dir ? cfg->dir : "the data directory",
			strerror(-rc));
	len = strlen(rep->error);
	if (s->identity_state == IDENTITY_COPIED &&
		(rc == -VG_ECORRUPT || rc == -ENOENT))
		snprintf(rep->error + len, sizeof(rep->error) - len,
			" (this is a copy: if it took longer than the "
			"original keeps its files, copy again while "
			"DATADIR/.backup-hold is there, or mount that with a "
			"larger backup_grace=)");
}

int store_open(const struct store_config *cfg, struct store_report *rep,
	struct store **out)
{
	struct store *s = store_alloc(cfg);
	struct wal_place from;
	int rc;

	*rep = (struct store_report){0};
	if (!s)
		return -ENOMEM;
	s->io = cfg->io ? cfg->io : &s->plain;
	if (cfg->has_dirfd)
		s->dirfd = cfg->dirfd;
	s->is_lent = cfg->has_dirfd;
	s->is_recovery = cfg->is_recovery;
	if (s->is_recovery)
		atomic_store(&s->read_only,
			"mounted with -o recovery: what is intact can be read, "
			"nothing can be changed; restore the data directory, "
			"or copy what is here, then mount without it");
	rc = datadir_open(cfg->dir, cfg->wait_ms,
		&(struct datadir){.io = s->io,
			.dirfd = &s->dirfd,
			.lockfd = &s->lockfd,
			.waldirfd = &s->waldirfd,
			.uuid = s->uuid,
			.is_locked = cfg->has_dirfd,
			.is_read_only = cfg->is_recovery},
		rep->error);
	if (rc == 0)
		rc = find_identity(s, rep);
	if (rc == 0)
		rc = checkpoint_load(s, cfg, rep, &from);
	if (rc == 0 && s->next_gen)
		catalogue_skip_gens(
			&s->catalogue, atomic_load(s->next_gen));
	if (rc == 0)
		rc = replay_log(s, cfg, &from, rep);
	if (rc == 0)
		rc = indexer_init(&s->indexer, n_indexers(cfg), &s->moments);
	if (rc == 0) {
		if (!cfg->is_check)
			start_backlog(s);
		/* Before checkpoints: they sync the same directory. */
		renew_identity(s);
		rc = commit_init(s);
	}
	if (rc == 0)
		rc = checkpoint_init(s);
	if (rc == 0 && !cfg->no_compaction && !s->is_recovery)
		rc = compact_init(s);
	if (rc == 0 && !cfg->no_tuning && !cfg->is_check)
		rc = tune_init(s);
	if (rc < 0) {
		say_why(s, cfg, rc, rep);
		store_close(s);
		return rc;
	}
	rep->manifest = s->checkpoint.number;
	rep->n_losses = s->n_losses;
	s->is_open = true;
	*out = s;
	return 0;
}

void store_settle(struct store *s)
{
	atomic_store(&s->is_settled, true);
	checkpoint_settle(&s->checkpoint);
}

void store_quiesce(struct store *s)
{
	tune_stop(s);
	compact_stop(s);
	checkpoint_stop(s);
	commit_fini(s);
	if (s->is_open) {
		int rc = store_checkpoint(s, true);

		if (rc < 0)
			log_warn("no last checkpoint: %s; the next start "
				 "reads more of the log",
				checkpoint_strerror(rc));
	}
	s->is_open = false;
	indexer_fini(&s->indexer);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_quiesce(s);
	tune_fini(s);
	compact_fini(s);
	checkpoint_fini(s);
	wal_close(s->wal);
	search_fini(s);
	catalogue_fini(&s->catalogue);
	moments_fini(&s->moments);
	if (s->waldirfd >= 0)
		s->io->close(s->io, s->waldirfd);
	if (s->dirfd >= 0 && !s->is_lent)
		close(s->dirfd);
	if (s->lockfd >= 0)
		close(s->lockfd);
	free(s->errors);
	pthread_mutex_destroy(&s->queue_lock);
	pthread_cond_destroy(&s->queue_cond);
	pthread_cond_destroy(&s->idle_cond);
	pthread_cond_destroy(&s->sync_cond);
	pthread_mutex_destroy(&s->error_lock);
	pthread_mutex_destroy(&s->scratch_lock);
	free(s);
}

/* ---- what there is to say ---- */

void store_error_add(struct store *s, struct collection *c,
	const struct store_error *e)
{
	assert(e->rc < 0 && e->path[sizeof(e->path) - 1] == '\0');
	pthread_mutex_lock(&s->error_lock);
	s->errors[s->n_errors++ % ERRORS_KEPT] = *e;
	pthread_mutex_unlock(&s->error_lock);
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	snprintf(c->last_error, sizeof(c->last_error), "%s: %s", e->path,
		e->why);
	pthread_mutex_unlock(&c->lock);
}

void store_note_loss(struct store *s, const char *path, const char *why)
{
	struct store_error e = {.pid = (uint32_t)getpid(),
		.uid = (uint32_t)getuid(),
		.rc = -EIO};
	struct timespec ts;

	assert(s->is_recovery);
	clock_gettime(CLOCK_REALTIME, &ts);
	e.time_ns = ts.tv_sec * 1000000000LL + ts.tv_nsec;
	snprintf(e.path, sizeof(e.path), "%s", path);
	snprintf(e.why, sizeof(e.why), "%s", why);
	log_warn("recovery: %s: %s", path, why);
	store_error_add(s, NULL, &e);
	s->n_losses++;
}

int store_error_get(struct store *s, uint32_t nth, struct store_error *out)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&s->error_lock);
	if (nth < s->n_errors && nth < ERRORS_KEPT) {
		*out = s->errors[(s->n_errors - 1 - nth) % ERRORS_KEPT];
		rc = 0;
	}
	pthread_mutex_unlock(&s->error_lock);
	return rc;
}

static uint32_t pending(const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);

	return cell ? indexer_pending(cell) : 0;
}

void store_stat(struct store *s, struct store_stat *out)
{
	struct collection *c;
	struct wal_stat ws;

	wal_stat(s->wal, &ws);
	*out = (struct store_stat){
		.lsn = ws.durable_lsn,
		.syncs = ws.syncs,
		.log_bytes = ws.bytes,
		.uring = s->uring,
		.checkpoints = atomic_load(&s->checkpoint.n_made),
		.compactions = atomic_load(&s->compactor.n_made),
	};
	for (uint32_t no = 0; (c = catalogue_next_no(&s->catalogue, &no));
		no++) {
		struct generation *g = NULL;

		while ((g = collection_next_gen(c, g, GENS_SHOWN)))
			out->pending += pending(g);
		collection_unref(c);
	}
}

int store_check(struct store *s, const char **why)
{
	struct timespec pause = {.tv_nsec = 1000000};
	struct store_stat st;
	struct collection *c;
	int rc = 0;

	for (store_stat(s, &st); st.pending; store_stat(s, &st))
		nanosleep(&pause, NULL);
	for (uint32_t no = 0;
		rc == 0 && (c = catalogue_next_no(&s->catalogue, &no)); no++) {
		rc = collection_check(c, why);
		collection_unref(c);
	}
	return rc;
}
