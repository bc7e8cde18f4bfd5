/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.c: see checkpoint.h. */
#include "src/checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/hnsw.h"
#include "src/clock.h"
#include "src/log.h"
#include "src/memory.h"
#include "src/store_int.h"

#define LOOK_S 5 /* between two looks at graphs and at what may go */
#define IDLE_LOOKS 12 /* that find nothing new, until a few changes count... */
#define IDLE_BYTES (64u << 10) /* ...as more than these do at once */
#define ROTATE_MIN (1u << 20) /* bytes of a segment that is worth a new one */

/* Descriptors that columns keep open: few of those that the process may have. */
#define FDS_SHARE 8u
#define FDS_MAX 4096u

/* Rows that a graph learnt since it was saved: past it it is saved again. */
#define GRAPH_MIN 20000u
#define GRAPH_SHARE 4u /* or a fourth of all, if that is more */

static struct collection_files files_of(const struct store *s)
{
	struct collection_files files = {
		.io = s->checkpoint.io,
		.dirfd = s->checkpoint.coll_dirfd,
		.fds = (_Atomic int *)(uintptr_t)&s->checkpoint.fds};

	memcpy(files.store, s->uuid, sizeof(files.store));
	return files;
}

/* ---- the cut ---- */

struct cut {
	struct commit commit;
	struct store *s;
	struct manifest *m; /* filled but for what the files say */
	bool rotate; /* the log goes on in a new segment: the old can go */
	struct collection_cut *cut; /* owned: m->n_colls */
	uint32_t cap;		    /* of cut and m->coll */
	uint64_t paid;		    /* of what was owed */
	int rc;
};

static int cut_alias(const struct entry *e, struct manifest_alias *out)
{
	const struct alias *alias = e->alias;

	out->name = malloc((size_t)e->name_len + alias->target.len + 1);
	if (!out->name)
		return -ENOMEM;
	out->target = out->name + e->name_len;
	out->name_len = e->name_len;
	out->target_len = alias->target.len;
	memcpy(out->name, e->name, e->name_len);
	memcpy(out->target, alias->target.bytes, alias->target.len);
	out->cursor = e->cursor;
	out->mtime_ns = alias->mtime_ns;
	return 0;
}

/* Room for one generation more. */
static int grow_cut(struct cut *cut)
{
	struct manifest *m = cut->m;
	uint32_t cap = cut->cap ? 2 * cut->cap : 16;
	struct manifest_collection *coll;
	struct collection_cut *cuts;

	if (m->n_colls < cut->cap)
		return 0;
	coll = realloc(m->coll, cap * sizeof(*coll));
	if (coll)
		m->coll = coll;
	cuts = realloc(cut->cut, cap * sizeof(*cuts));
	if (cuts)
		cut->cut = cuts;
	if (!coll || !cuts)
		return -ENOMEM;
	cut->cap = cap;
	return 0;
}

static int cut_generation(
	struct cut *cut, struct generation *g, const struct entry *e)
{
	struct manifest *m = cut->m;
	struct manifest_collection *mc;
	int rc = grow_cut(cut);

	if (rc < 0)
		return rc;
	mc = &m->coll[m->n_colls];
	*mc = (struct manifest_collection){0};
	if (e->coll->gen == g) {
		mc->cursor = e->cursor;
		mc->name_len = e->name_len;
		memcpy(mc->name, e->name, sizeof(mc->name));
	}
	return collection_cut(g, &cut->cut[m->n_colls++]);
}

static void cut_entry_locked(struct cut *cut, const struct entry *e)
{
	struct manifest *m = cut->m;
	struct generation *g = NULL;

	if (cut->rc < 0)
		return;
	if (e->alias) {
		cut->rc = cut_alias(e, &m->alias[m->n_aliases]);
		m->n_aliases += cut->rc == 0;
		return;
	}
	while (cut->rc == 0 &&
		(g = collection_next_gen(e->coll, g, GENS_CUT)))
		cut->rc = cut_generation(cut, g, e);
	generation_unref(g);
}

static void cut_catalogue_locked(struct cut *cut)
{
	struct catalogue *cat = &cut->s->catalogue;
	uint32_t n = VG_MAX(cat->n_entries, 1u);
	struct manifest *m = cut->m;

	m->alias = calloc(n, sizeof(*m->alias));
	if (!m->alias) {
		cut->rc = -ENOMEM;
		return;
	}
	m->next_no = cat->n;
	m->next_gen = VG_MIN(
		cat->next_gen + GENERATIONS_AHEAD, GENERATION_END);
	m->next_cursor = cat->cursor;
	m->root_mtime_ns = cat->mtime_ns;
	m->has_root_attr = cat->has_attr;
	m->root_attr = cat->attr;
	for (uint32_t b = 0; b < CATALOGUE_BUCKETS; b++)
		for (const struct entry *e = cat->bucket[b]; e; e = e->next)
			cut_entry_locked(cut, e);
}

/* The store as it is now. The leader, between two groups; the log is synced. */
static void take_cut(struct commit *commit)
{
	struct cut *cut = (struct cut *)(void *)commit;
	struct store *s = cut->s;
	struct moment *now = moment_get(&s->moments);
	struct wal_place place;

	wal_get_place(s->wal, &place);
	if (cut->rotate && place.offset > ROTATE_MIN) {
		cut->rc = wal_rotate(s->wal);
		wal_get_place(s->wal, &place);
	}
	cut->m->lsn = place.lsn;
	cut->m->segment = place.segment;
	cut->m->offset = place.offset;
	memcpy(cut->m->seq, now->seq, sizeof(cut->m->seq));
	cut->m->n_origins = 0;
	cut->m->origin = malloc(ORIGINS_MAX * sizeof(*cut->m->origin));
	if (cut->m->origin)
		cut->m->n_origins = origins_list(&s->origins, cut->m->origin);
	else
		cut->rc = -ENOMEM;
	moment_unref(&s->moments, now);
	pthread_rwlock_rdlock(&s->catalogue.lock);
	cut_catalogue_locked(cut);
	pthread_rwlock_unlock(&s->catalogue.lock);
	cut->paid = atomic_load_explicit(
		&s->checkpoint.owed, memory_order_relaxed);
	atomic_store_explicit(
		&s->checkpoint.logged, 0, memory_order_relaxed);
	atomic_store_explicit(
		&s->checkpoint.has_new_gen, false, memory_order_relaxed);
}

static void cut_fini(struct cut *cut)
{
	for (uint32_t i = 0; i < cut->m->n_colls; i++)
		collection_cut_fini(&cut->cut[i]);
	free(cut->cut);
}

/* ---- writing ---- */

static void stop_indexers(void *ctx)
{
	indexer_pause(ctx);
}

static void go_indexers(void *ctx)
{
	indexer_resume(ctx);
}

/* Whether linking again what the graph's file lacks would take long. */
static bool is_graph_due(const struct generation *g, bool all)
{
	uint32_t unsaved = collection_unsaved(g);
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	uint32_t n = cell ? atomic_load_explicit(
				    &cell->n_slots, memory_order_relaxed)
			  : 0;

	return unsaved > 0 &&
	       (all || unsaved > VG_MAX(GRAPH_MIN, n / GRAPH_SHARE));
}

/* Calls each for what every collection holds, its snapshots too, until one is
 * not 0. */
static int each_generation(struct store *s,
	int (*each)(struct store *s, struct generation *g, bool all), bool all)
{
	struct collection *c;
	int rc = 0;

	for (uint32_t no = 0;
		rc == 0 && (c = catalogue_next_no(&s->catalogue, &no)); no++) {
		struct generation *g = NULL;

		while (rc == 0 && (g = collection_next_gen(c, g, GENS_SHOWN)))
			rc = each(s, g, all);
		generation_unref(g);
		collection_unref(c);
	}
	return rc;
}

/* A sync that failed is not tried again: the kernel calls the next one of that
 * file or directory a success, and what was to be synced is lost. */
static int check_disk(struct store *s, int rc, const char *what)
{
	if (rc == -EIO)
		store_fail(s, rc, what);
	return rc;
}

/* A graph that cannot be saved costs time at the next start, no more; but its
 * directory may have other names that are to be synced. */
static int save_graph(struct store *s, struct generation *g, bool all)
{
	struct collection_files files = files_of(s);
	struct collection_pause pause = {
		.stop = stop_indexers,
		.go = go_indexers,
		.ctx = &s->indexer,
	};
	int rc = 0;

	if (is_graph_due(g, all))
		rc = collection_save_graph(&files, g, &pause);
	if (check_disk(s, rc, "writing a graph") < 0)
		log_warn("a graph could not be saved: %s; the next start "
			 "links its rows again",
			strerror(-rc));
	return 0;
}

/* Indexes that cannot be saved cost time, too: at the first filter. */
static int save_fields(struct store *s, struct generation *g, bool all)
{
	struct collection_files files = files_of(s);
	int rc = collection_save_fields(&files, g, all);

	if (check_disk(s, rc, "writing indexes of fields") < 0)
		log_warn("indexes of fields could not be saved: %s; the next "
			 "start makes them again",
			strerror(-rc));
	return 0;
}

/* Whether something derived has grown so much. */
static int is_due(struct store *s, struct generation *g, bool all)
{
	(void)s;
	return is_graph_due(g, all) || collection_fields_due(g, all);
}

static int save_collections(struct store *s, struct cut *cut)
{
	struct collection_files files = files_of(s);
	struct manifest *m = cut->m;
	int rc = 0;

	assert(files.dirfd >= 0);
	for (uint32_t i = 0; i < m->n_colls && rc == 0; i++) {
		struct manifest_collection mc = {0};

		rc = collection_save(&files, &cut->cut[i], &mc);
		check_disk(s, rc, "writing a column");
		mc.cursor = m->coll[i].cursor;
		mc.name_len = m->coll[i].name_len;
		memcpy(mc.name, m->coll[i].name, sizeof(mc.name));
		m->coll[i] = mc;
		if (rc < 0)
			break;
		/* Here, not behind the loop: what is not synced is open. */
		rc = collection_sync(&files, cut->cut[i].gen);
		if (rc < 0 && !io_is_scarce(rc))
			store_fail(s, rc, "syncing a column");
	}
	return rc;
}

/* Remembers the manifest that was the newest until now. */
static int keep_last(struct checkpointer *cp)
{
	struct checkpoint_kept *grown;
	uint32_t cap = cp->cap_kept ? 2 * cp->cap_kept : 16;

	if (cp->n_kept < cp->cap_kept)
		return 0;
	grown = realloc(cp->kept, cap * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	cp->kept = grown;
	cp->cap_kept = cap;
	return 0;
}

static int save_manifest(struct store *s, struct manifest *m)
{
	struct checkpointer *cp = &s->checkpoint;
	struct timespec ts;
	int rc = keep_last(cp);

	assert(m->lsn > 0);
	if (rc < 0)
		return rc;
	clock_gettime(CLOCK_REALTIME, &ts);
	m->time_ns = ts.tv_sec * 1000000000LL + ts.tv_nsec;
	m->number = cp->number + 1;
	memcpy(m->store, s->uuid, sizeof(m->store));
	rc = manifest_save(cp->io, s->dirfd, m);
	if (rc < 0 && !io_is_full(rc) && !io_is_scarce(rc))
		store_fail(s, rc, "writing a manifest");
	if (rc < 0)
		return rc;
	cp->kept[cp->n_kept++] = (struct checkpoint_kept){
		.number = cp->number, .since_s = clock_now_s()};
	cp->number = m->number;
	atomic_store(&cp->n_held_saved, manifest_count_held(m));
	cp->is_found = false;
	atomic_store_explicit(&cp->lsn, m->lsn, memory_order_relaxed);
	atomic_fetch_add_explicit(&cp->n_made, 1, memory_order_relaxed);
	return 0;
}

/*
 * Makes c/, or makes it again if no manifest says that it is durable: the sync
 * of its name may have failed. It is empty then, but for what is not ours.
 */
static int make_coll_dir(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;
	int rc = 0;

	if (cp->coll_dirfd >= 0 && (cp->number > 0 || cp->has_coll_dir))
		return 0;
	if (cp->coll_dirfd >= 0) {
		cp->io->close(cp->io, cp->coll_dirfd);
		cp->coll_dirfd = -1;
		rc = cp->io->rmdir(cp->io, s->dirfd, "c");
	}
	if (rc == 0 || rc == -ENOTEMPTY || rc == -ENOENT)
		rc = cp->io->mkdir(cp->io, s->dirfd, "c");
	if (rc < 0 && rc != -EEXIST)
		return rc;
	rc = check_disk(s, cp->io->sync(cp->io, s->dirfd), "making c/");
	if (rc == 0)
		rc = cp->io->open(
			cp->io, s->dirfd, "c", O_RDONLY | O_DIRECTORY);
	if (rc < 0)
		return rc;
	cp->coll_dirfd = rc;
	cp->has_coll_dir = true;
	return 0;
}

static int run_locked(struct store *s, bool all, bool rotate)
{
	struct manifest m = {0};
	struct cut cut = {
		.s = s,
		.m = &m,
		.rotate = rotate,
		.commit = {.sync = true, .at_rest = take_cut},
	};
	int rc = make_coll_dir(s);

	if (rc < 0)
		return rc;
	each_generation(s, save_graph, all);
	each_generation(s, save_fields, all);
	rc = store_commit_wait(s, &cut.commit);
	if (rc == 0)
		rc = cut.rc;
	if (rc == 0)
		rc = save_collections(s, &cut);
	if (rc == 0)
		rc = save_manifest(s, &m);
	for (uint32_t i = 0; i < m.n_colls && rc == 0; i++)
		collection_remap(cut.cut[i].gen);
	if (rc == 0)
		atomic_fetch_sub_explicit(&s->checkpoint.owed, cut.paid,
			memory_order_relaxed);
	if (rc == 0)
		log_info("checkpoint: manifest=%llu lsn=%llu generations=%u",
			(unsigned long long)m.number,
			(unsigned long long)m.lsn, m.n_colls);
	cut_fini(&cut);
	manifest_fini(&m);
	return rc;
}

/* ---- what may go ---- */

/* Removes what `old` names and `next` does not, then old itself; of no manifest,
 * number 0, only the log that there was before. */
static int drop_manifest(
	struct store *s, const struct manifest *old, const struct manifest *next)
{
	struct checkpointer *cp = &s->checkpoint;
	struct collection_files files = files_of(s);
	int rc = 0;

	assert(old->number < next->number);
	for (uint32_t i = 0; i < old->n_colls && rc == 0; i++)
		rc = collection_files_drop(&files, &old->coll[i], next);
	if (rc == 0)
		rc = wal_cut(s->wal, cp->io, next->segment);
	if (rc == 0 && old->number > 0)
		rc = manifest_unlink(cp->io, s->dirfd, old->number);
	return rc;
}

static bool is_held(struct store *s)
{
	int fd = s->io->open(s->io, s->dirfd, ".backup-hold", O_RDONLY);

	if (fd >= 0)
		s->io->close(s->io, fd);
	return fd != -ENOENT;
}

/*
 * The newest manifest is durable, so that older ones may go. One that was found
 * may have no name on the disk: the sync of it may have failed, and the kernel
 * shows it all the same.
 */
static int sure_locked(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;
	int rc = 0;

	if (cp->is_found)
		rc = check_disk(s,
			manifest_renew(cp->io, s->dirfd, cp->number),
			"writing a manifest again");
	cp->is_found = cp->is_found && rc < 0;
	return rc;
}

/* Drops the oldest manifest if its time is over. */
static bool drop_oldest_locked(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;
	struct manifest old = {0}, next = {0};
	uint64_t number = cp->n_kept > 1 ? cp->kept[1].number : cp->number;
	int rc;

	if (cp->n_kept == 0 || clock_now_s() - cp->kept[0].since_s < cp->grace_s ||
		is_held(s) || store_read_only(s))
		return false;
	rc = sure_locked(s);
	if (rc == 0 && cp->kept[0].number > 0)
		rc = manifest_load(
			cp->io, s->dirfd, cp->kept[0].number, &old);
	if (rc == 0)
		rc = manifest_load(cp->io, s->dirfd, number, &next);
	if (rc == 0)
		rc = check_disk(s, drop_manifest(s, &old, &next),
			"removing old files");
	manifest_fini(&old);
	manifest_fini(&next);
	if (rc < 0 && rc != -ENOENT && rc != -VG_ECORRUPT) {
		log_warn("what manifest %llu names could not be removed: %s",
			(unsigned long long)cp->kept[0].number, strerror(-rc));
		cp->kept[0].since_s = clock_now_s(); /* later again */
		return false;
	}
	if (rc < 0 && cp->kept[0].number > 0) /* of no use to a copy either */
		manifest_unlink(cp->io, s->dirfd, cp->kept[0].number);
	cp->n_kept--;
	memmove(cp->kept, cp->kept + 1, cp->n_kept * sizeof(*cp->kept));
	return true;
}

static void drop_old_locked(struct store *s)
{
	while (drop_oldest_locked(s))
		;
}

/* The first checkpoint of an open, or its thread, clears what is left of the
 * life before: manifests above the one that was opened must go before files
 * that they name are written to. */
static int sweep_locked(struct store *s)
{
	int rc = s->checkpoint.is_swept ? 0 : checkpoint_sweep(s);

	s->checkpoint.is_swept = rc == 0;
	return rc;
}

/* ---- what is held ---- */

int checkpoint_hold(struct checkpointer *cp, struct generation *g)
{
	struct checkpoint_held *held = calloc(1, sizeof(*held));

	if (!held)
		return -ENOMEM;
	hold_init(&held->hold, g, VERSION_NONE);
	held->next = cp->held;
	cp->held = held;
	return 0;
}

void checkpoint_settle(struct checkpointer *cp)
{
	while (cp->held) {
		struct checkpoint_held *held = cp->held;

		cp->held = held->next;
		hold_fini(&held->hold);
		free(held);
	}
}

/* Whether a generation that the newest manifest has for who held it is not held
 * any more: the next manifest gives its files back. */
static bool has_let_go(struct store *s)
{
	uint32_t saved = atomic_load(&s->checkpoint.n_held_saved), n = 0;
	struct collection *c;

	for (uint32_t no = 0;
		n < saved && (c = catalogue_next_no(&s->catalogue, &no));
		no++) {
		struct generation *g = collection_gen(c);

		while ((g = collection_next_gen(c, g, GENS_KEPT)))
			n += atomic_load(&g->n_snaps) == 0;
		collection_unref(c);
	}
	return n < saved;
}

/* ---- when ---- */

static int checkpoint(struct store *s, bool all, bool rotate)
{
	struct checkpointer *cp = &s->checkpoint;
	struct wal_stat ws;
	int rc = 0;

	if (cp->limit == UINT64_MAX)
		return 0;
	pthread_mutex_lock(&cp->run_lock);
	wal_stat(s->wal, &ws);
	rc = store_read_only(s) ? -EROFS : sweep_locked(s);
	/* A compaction logs nothing, but has files to give back. */
	if (rc == 0 && (ws.appended_lsn + 1 != atomic_load(&cp->lsn) ||
			       atomic_load(&cp->has_new_gen) || has_let_go(s) ||
			       each_generation(s, is_due, all)))
		rc = run_locked(s, all, rotate);
	if (rc < 0)
		atomic_store(&cp->has_new_gen, true); /* it may have one */
	if (rc == 0 || io_is_full(rc)) /* what goes may be the room it lacked */
		drop_old_locked(s);
	pthread_mutex_unlock(&cp->run_lock);
	return rc;
}

/* ---- generations that are being made ---- */

/* Vectors of g that no file has. */
static uint64_t unspilled_bytes(const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_relaxed);
	uint32_t n = cell ? atomic_load_explicit(
				    &cell->n_slots, memory_order_relaxed)
			  : 0;
	uint32_t saved = collection_spilled(g);

	assert(saved <= n);
	return cell ? (uint64_t)(n - saved) * cell->vec.rows.stride : 0;
}

int checkpoint_spill(struct store *s, struct generation *g)
{
	struct checkpointer *cp = &s->checkpoint;
	struct collection_files files;
	bool is_synced = false;
	int rc;

	if (cp->limit == UINT64_MAX || unspilled_bytes(g) < cp->spill)
		return 0;
	pthread_mutex_lock(&cp->run_lock);
	rc = store_read_only(s) ? -EROFS : sweep_locked(s);
	if (rc == 0)
		rc = make_coll_dir(s);
	files = files_of(s);
	if (rc == 0)
		rc = collection_spill(&files, g, &is_synced);
	if (is_synced && rc < 0 && !io_is_scarce(rc))
		store_fail(s, rc, "syncing a column");
	else
		check_disk(s, rc, "writing a column");
	pthread_mutex_unlock(&cp->run_lock);
	return rc;
}

int store_checkpoint(struct store *s, bool all)
{
	return checkpoint(s, all, all);
}

void checkpoint_note(struct store *s, size_t bytes)
{
	struct checkpointer *cp = &s->checkpoint;
	uint64_t before = atomic_fetch_add_explicit(
		&cp->logged, bytes, memory_order_relaxed);

	atomic_fetch_add_explicit(&cp->owed, bytes, memory_order_relaxed);

	if (before + bytes < cp->limit || before / cp->limit ==
						(before + bytes) / cp->limit)
		return;
	pthread_mutex_lock(&cp->lock);
	cp->is_wanted = true;
	pthread_cond_signal(&cp->cond);
	pthread_mutex_unlock(&cp->lock);
}

/* Waits until a checkpoint is wanted or it is time to look: which. */
static bool wait_wanted_locked(struct checkpointer *cp)
{
	double until = clock_now_s() + LOOK_S;
	bool is_wanted;

	while (!cp->is_wanted && !cp->is_stopping)
		if (!clock_wait(&cp->cond, &cp->lock, until))
			break;
	is_wanted = cp->is_wanted;
	cp->is_wanted = false;
	return is_wanted;
}

/* What a look saw, and how many saw the same. */
struct looks {
	uint64_t lsn;
	unsigned n;
};

/*
 * Whether changes were logged since the last checkpoint and none of late: who
 * has stopped writing finds a short log. A few changes wait for a minute, or
 * now and then one would cost a manifest each.
 */
static bool is_idle(struct store *s, struct looks *looks)
{
	struct wal_stat ws;

	wal_stat(s->wal, &ws);
	looks->n = ws.appended_lsn == looks->lsn ? looks->n + 1 : 0;
	looks->lsn = ws.appended_lsn;
	return ws.appended_lsn + 1 != atomic_load(&s->checkpoint.lsn) &&
	       looks->n >= (atomic_load(&s->checkpoint.logged) > IDLE_BYTES
					   ? 1
					   : IDLE_LOOKS);
}

const char *checkpoint_strerror(int rc)
{
	if (rc == -EROFS)
		return "the store is read-only";
	return rc == -VG_ECORRUPT ? "a file that it adds to was cut, restore it "
				    "from a copy"
				  : strerror(-rc);
}

static void *checkpoint_main(void *arg)
{
	struct store *s = arg;
	struct checkpointer *cp = &s->checkpoint;
	struct looks looks = {0};
	int swept;

	pthread_mutex_lock(&cp->run_lock);
	swept = sweep_locked(s);
	pthread_mutex_unlock(&cp->run_lock);
	if (swept < 0)
		log_warn("what no manifest names could not be removed: %s",
			strerror(-swept));
	pthread_mutex_lock(&cp->lock);
	while (!cp->is_stopping) {
		bool is_wanted = wait_wanted_locked(cp), idle;
		int rc = 0;

		if (cp->is_stopping)
			break;
		pthread_mutex_unlock(&cp->lock);
		idle = !is_wanted && is_idle(s, &looks);
		if (is_wanted || idle || has_let_go(s) ||
			each_generation(s, is_due, false)) {
			rc = checkpoint(s, false, idle);
		} else {
			pthread_mutex_lock(&cp->run_lock);
			drop_old_locked(s);
			pthread_mutex_unlock(&cp->run_lock);
		}
		if (rc < 0 && rc != -EROFS)
			log_warn("no checkpoint: %s; the log goes on growing",
				checkpoint_strerror(rc));
		pthread_mutex_lock(&cp->lock);
	}
	pthread_mutex_unlock(&cp->lock);
	return NULL;
}

void checkpoint_prepare(struct checkpointer *cp)
{
	pthread_mutex_init(&cp->lock, NULL);
	pthread_mutex_init(&cp->run_lock, NULL);
	pthread_cond_init(&cp->cond, NULL);
	cp->coll_dirfd = -1;
	atomic_init(&cp->fds, (int)VG_MIN(memory_fds() / FDS_SHARE, FDS_MAX));
	cp->limit = UINT64_MAX;
}

int checkpoint_init(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;
	int rc;

	if (cp->limit == UINT64_MAX)
		return 0;
	rc = -pthread_create(&cp->thread, NULL, checkpoint_main, s);
	cp->has_thread = rc == 0;
	return rc;
}

void checkpoint_stop(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;

	if (!cp->has_thread)
		return;
	pthread_mutex_lock(&cp->lock);
	cp->is_stopping = true;
	pthread_cond_signal(&cp->cond);
	pthread_mutex_unlock(&cp->lock);
	pthread_join(cp->thread, NULL);
	cp->has_thread = false;
}

void checkpoint_fini(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;

	checkpoint_stop(s);
	checkpoint_settle(cp);
	if (cp->coll_dirfd >= 0)
		cp->io->close(cp->io, cp->coll_dirfd);
	free(cp->kept);
	pthread_mutex_destroy(&cp->lock);
	pthread_mutex_destroy(&cp->run_lock);
	pthread_cond_destroy(&cp->cond);
}
