/* SPDX-License-Identifier: Apache-2.0 */
/* commit.c: changes that wait share one sync: the queue and its leader. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/log.h"
#include "src/store_int.h"

/*
 * GROUP COMMIT. One thread leads at a time. It takes the whole queue, plans
 * each change and appends its op to the log, makes the group durable with one
 * write and sync, applies the ops in order, publishes one moment and answers.
 * What came meanwhile is the next group. Who finds no leader leads, for one
 * queue's worth: its own change pays no wake-up of another thread. What is
 * left then is the committer's, so that a thread that serves requests goes
 * back to them.
 *
 * A group holds no two changes of one id, so that each is planned against a
 * present that does not move; a change of the catalogue, a clear or a first
 * vector stands alone. A second one of an id ends the group and begins the
 * next.
 *
 * INVARIANTS
 *  1  is_led: exactly one thread uses wal, batch and the committer's fields.
 *  2  An op is applied only after wal_write returned 0 for it (and synced it,
 *     if the mode says so).
 *  3  Every commit is answered once, after its last change.
 */

static void queue_commit_locked(struct store *s, struct commit *commit)
{
	commit->next = NULL;
	*s->queue_end = commit;
	s->queue_end = &commit->next;
}

static struct commit *take_queue_locked(struct store *s)
{
	struct commit *queue = s->queue;

	s->queue = NULL;
	s->queue_end = &s->queue;
	return queue;
}

void store_fail(struct store *s, int rc, const char *what)
{
	const char *none = NULL;

	if (atomic_compare_exchange_strong(&s->read_only, &none,
		    "writing to the data directory failed; nothing more is "
		    "taken: look at the disk, then mount again"))
		log_err("%s failed: %s; read-only from now on", what,
			strerror(-rc));
}

/* Whether rc says that the disk is full: it passes by itself. */
static bool is_full(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT;
}

static void fail_change(struct store *s, struct change *ch, int rc)
{
	assert(rc < 0);
	ch->rc = rc;
	if (ch->why[0])
		return;
	if (is_full(rc))
		snprintf(ch->why, sizeof(ch->why),
			"the disk of the data directory is full: delete "
			"something or make room");
	else if (rc == -EROFS)
		snprintf(ch->why, sizeof(ch->why), "%s",
			s->is_recovery ?
				"mounted with -o recovery: nothing can be "
				"changed" :
				"the store is read-only after a failed sync");
	else
		snprintf(ch->why, sizeof(ch->why), "%s", strerror(-rc));
}

/* ---- one group ---- */

static bool is_touched(const struct batch *b, uint64_t hash)
{
	for (uint32_t i = (uint32_t)hash % TOUCHED;; i = (i + 1) % TOUCHED) {
		if (b->round_of[i] != b->round)
			return false;
		if (b->touched[i] == hash)
			return true;
	}
}

static void touch(struct batch *b, uint64_t hash)
{
	uint32_t i = (uint32_t)hash % TOUCHED;

	while (b->round_of[i] == b->round && b->touched[i] != hash)
		i = (i + 1) % TOUCHED;
	b->touched[i] = hash;
	b->round_of[i] = b->round;
}

static bool conflicts(const struct batch *b, const struct change *ch)
{
	uint64_t hash[2];
	unsigned n = plan_touched(ch, hash);

	if (b->n == 0)
		return false;
	if (b->is_alone || b->n == BATCH_MAX || b->bytes >= BATCH_BYTES ||
		plan_is_alone(ch))
		return true;
	for (unsigned i = 0; i < n; i++)
		if (is_touched(b, hash[i]))
			return true;
	return false;
}

static int reserve(struct store *s, struct change *ch)
{
	ch->r = (struct reservation){.version = VERSION_NONE};
	if (ch->type <= OP_CLEAR)
		return generation_reserve(ch->coll->gen, &ch->op, &ch->r);
	if (ch->type >= OP_CREATE && ch->type <= OP_UNALIAS)
		return catalogue_reserve(&s->catalogue, &ch->op, &ch->r);
	return 0;
}

static void unreserve(struct store *s, struct change *ch)
{
	if (ch->type <= OP_CLEAR)
		generation_unreserve(ch->coll->gen, &ch->r);
	catalogue_unreserve(&s->catalogue, &ch->r);
}

/* Gives the op its places: the next seq of each partition. */
static void place(struct store *s, struct change *ch)
{
	uint64_t *seq = s->batch.next->seq;
	struct op *op = &ch->op;

	assert(op->n_places > 0 && op->n_places <= OP_PLACES_MAX);
	if (op->type == OP_CLEAR) {
		for (uint32_t i = 0; i < op->n_places; i++)
			ch->more[i].seq = ++seq[ch->more[i].partition];
		return;
	}
	op->places[0].partition = op->type >= OP_CREATE
					  ? VG_PARTITION_CATALOGUE
					  : op_partition(op->id);
	op->places[0].seq = ++seq[op->places[0].partition];
	if (op->type == OP_RENAME) {
		op->places[1].partition = op_partition(op->id2);
		op->places[1].seq = ++seq[op->places[1].partition];
	}
}

static void unplace(struct store *s, const struct op *op)
{
	const struct op_place *at = op->type == OP_CLEAR ? op->more
							 : op->places;

	for (uint32_t i = 0; i < op->n_places; i++)
		s->batch.next->seq[at[i].partition]--;
}

static int log_op(struct store *s, const struct op *op)
{
	struct batch *b = &s->batch;
	size_t need = op_size(op), len;
	struct wal_part part;
	bool frees = op->type == OP_DEL || op->type == OP_CLEAR ||
		     op->type == OP_DROP;

	if (b->buf_cap < need) {
		uint8_t *buf = realloc(b->buf, need);

		if (!buf)
			return -ENOMEM;
		b->buf = buf;
		b->buf_cap = need;
	}
	len = op_encode(op, b->buf, b->buf_cap);
	assert(len == need);
	part = (struct wal_part){.bytes = b->buf, .len = len};
	b->bytes += len;
	return wal_append(s->wal, WAL_OP, &part, 1, frees);
}

/* Plans change and puts it into the group. An error is the change's alone. */
static int add_change(struct store *s, struct change *ch)
{
	struct batch *b = &s->batch;
	uint64_t hash[2];
	unsigned n;
	int rc = 0;

	/* A repeated request that was applied needs no disk any more. */
	if (ch->is_repeat && ch->origin.session &&
		origins_find(&s->origins, &ch->origin, &rc))
		return rc;
	rc = store_read_only(s) ? -EROFS : plan_change(s, ch);

	if (rc)
		return rc;
	if (!b->next)
		rc = moment_new(&s->moments, &b->next);
	if (rc == 0)
		rc = reserve(s, ch);
	if (rc < 0)
		return rc;
	place(s, ch);
	rc = log_op(s, &ch->op);
	if (rc < 0) {
		unplace(s, &ch->op);
		unreserve(s, ch);
		if (rc == -EROFS)
			store_fail(s, rc, "writing the log");
		return rc;
	}
	assert(b->n < BATCH_MAX && !b->is_alone);
	n = plan_touched(ch, hash);
	for (unsigned i = 0; i < n; i++)
		touch(b, hash[i]);
	b->is_alone = plan_is_alone(ch);
	b->change[b->n++] = ch;
	return 0;
}

/* Fails the group, which is not applied. After a full disk nothing of it
 * happened; after a failed sync nobody knows, and nothing more will. */
static void drop_group(struct store *s, int rc)
{
	struct batch *b = &s->batch;

	while (b->n > 0) {
		struct change *ch = b->change[--b->n];

		fail_change(s, ch, rc);
		unreserve(s, ch);
	}
	moment_unref(&s->moments, b->next);
	b->next = NULL;
}

static void apply_group(struct store *s)
{
	struct batch *b = &s->batch;
	struct cell *last = NULL;

	assert(b->n > 0 && b->next);
	for (uint32_t i = 0; i < b->n; i++) {
		struct change *ch = b->change[i];

		ch->version = ch->r.version;
		store_apply(s, ch->coll, &ch->op, &ch->r);
		origins_add(&s->origins, &ch->op.origin);
	}
	moment_publish(&s->moments, b->next);
	b->next = NULL;
	for (uint32_t i = 0; i < b->n; i++) {
		struct cell *cell = b->change[i]->type == OP_PUT
					    ? b->change[i]->r.cell
					    : NULL;

		store_published(b->change[i]->coll, &b->change[i]->op);
		if (cell && cell != last)
			indexer_add(&s->indexer, cell);
		last = cell ? cell : last;
	}
}

/* Writes, syncs, applies and publishes what the group holds. */
static int flush_group(struct store *s, bool sync)
{
	struct batch *b = &s->batch;
	int rc = 0;

	sync = sync || (b->n && s->durability == STORE_CLOSE);
	if (b->n || sync)
		rc = store_read_only(s) && b->n == 0 ? -EROFS
						     : wal_write(s->wal, sync);
	if (rc < 0 && !is_full(rc))
		store_fail(s, rc, "writing the log");
	if (rc < 0)
		drop_group(s, is_full(rc) ? rc : -EIO);
	else if (b->n) {
		apply_group(s);
		checkpoint_note(s, b->bytes);
	}
	if (rc == 0 && (b->n || sync)) {
		pthread_mutex_lock(&s->queue_lock);
		s->is_unsynced = !sync;
		pthread_mutex_unlock(&s->queue_lock);
	}
	if (b->next) {
		moment_unref(&s->moments, b->next);
		b->next = NULL;
	}
	b->n = 0;
	b->bytes = 0;
	b->is_alone = false;
	b->round++;
	return rc;
}

static void answer(struct store *s, struct commit *commit)
{
	for (uint32_t i = 0; i < commit->n; i++) {
		struct change *ch = &commit->changes[i];

		if (ch->rc < 0 && commit->rc == 0)
			commit->rc = ch->rc;
		if (ch->rc == 0 && ch->type == OP_PUT)
			commit->cell = ch->r.cell;
		free(ch->meta_buf.bytes);
		ch->meta_buf = (struct meta_buf){0};
		free(ch->more);
		ch->more = NULL;
	}
	if (commit->cell && indexer_hold(&s->indexer, commit->cell, commit))
		return;
	commit->done(commit);
}

/* Flushes the group and answers commits from *first up to, not including, end:
 * those that asked for a sync behind one, whatever the mode. */
static void flush_until(
	struct store *s, struct commit **first, const struct commit *end)
{
	bool sync = false;
	int rc;

	for (const struct commit *c = *first; c != end; c = c->next)
		sync = sync || c->sync;
	rc = flush_group(s, sync);
	/* What was written before the disk was full is to be synced still. */
	if (sync && is_full(rc))
		rc = flush_group(s, sync);
	assert(s->batch.n == 0);
	for (struct commit *c = *first; c != end && rc < 0; c = c->next)
		if (c->sync)
			c->rc = rc == -EROFS ? rc : -EIO;
	while (*first != end) {
		struct commit *commit = *first;

		*first = commit->next;
		answer(s, commit);
	}
}

static void run_changes(
	struct store *s, struct commit *commit, struct commit **first)
{
	for (uint32_t i = 0; i < commit->n; i++) {
		struct change *ch = &commit->changes[i];
		int rc;

		ch->rc = 0;
		ch->why[0] = '\0';
		ch->version = VERSION_NONE;
		if (conflicts(&s->batch, ch))
			flush_until(s, first, commit);
		rc = add_change(s, ch);
		if (rc < 0)
			fail_change(s, ch, rc);
	}
}

/* Everything before commit is applied and durable: what it waited for. */
static void run_at_rest(
	struct store *s, struct commit *commit, struct commit **first)
{
	assert(commit->n == 0 && commit->sync);
	flush_until(s, first, commit);
	commit->rc = flush_group(s, true);
	if (commit->rc == 0)
		commit->at_rest(commit);
}

/* Runs a queue's worth of commits. The leader. */
static void run_queue(struct store *s, struct commit *queue)
{
	struct commit *first = queue;

	for (struct commit *c = queue; c; c = c->next) {
		c->rc = 0;
		c->cell = NULL;
		if (c->at_rest)
			run_at_rest(s, c, &first);
		else
			run_changes(s, c, &first);
	}
	flush_until(s, &first, NULL);
	assert(!first);
}

/* ---- who leads ---- */

/* Leads until the queue is empty, or for one round if hand_over. */
static void lead(struct store *s, bool hand_over)
{
	pthread_mutex_lock(&s->queue_lock);
	for (bool again = true; again && s->queue; again = !hand_over) {
		struct commit *queue = take_queue_locked(s);

		pthread_mutex_unlock(&s->queue_lock);
		run_queue(s, queue);
		pthread_mutex_lock(&s->queue_lock);
	}
	if (s->queue) {
		s->is_handed_over = true;
		pthread_cond_signal(&s->queue_cond);
	} else {
		s->is_led = false;
		pthread_cond_broadcast(&s->idle_cond);
	}
	pthread_mutex_unlock(&s->queue_lock);
}

void store_commit(struct store *s, struct commit *commit)
{
	bool leads;

	assert(commit->done && (commit->n > 0 || commit->sync));
	pthread_mutex_lock(&s->queue_lock);
	queue_commit_locked(s, commit);
	leads = !s->is_led;
	s->is_led = true;
	if (leads && commit->hand_over) {
		s->is_handed_over = true;
		pthread_cond_signal(&s->queue_cond);
		leads = false;
	}
	pthread_mutex_unlock(&s->queue_lock);
	if (leads)
		lead(s, true);
}

static void *committer_main(void *arg)
{
	struct store *s = arg;

	pthread_mutex_lock(&s->queue_lock);
	for (;;) {
		while (!s->is_handed_over && !s->is_stopping)
			pthread_cond_wait(&s->queue_cond, &s->queue_lock);
		if (!s->is_handed_over)
			break;
		s->is_handed_over = false;
		pthread_mutex_unlock(&s->queue_lock);
		lead(s, false);
		pthread_mutex_lock(&s->queue_lock);
	}
	pthread_mutex_unlock(&s->queue_lock);
	return NULL;
}

/* ---- waiting for an answer ---- */

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static void wake_waiter(struct commit *commit)
{
	struct waiter *w = commit->ctx;

	pthread_mutex_lock(&w->lock);
	w->is_done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

int store_commit_wait(struct store *s, struct commit *commit)
{
	struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
		false};

	commit->done = wake_waiter;
	commit->ctx = &w;
	store_commit(s, commit);
	pthread_mutex_lock(&w.lock);
	while (!w.is_done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return commit->rc;
}

/* ---- async: a sync every half second while there is something ---- */

static void *syncer_main(void *arg)
{
	struct store *s = arg;

	pthread_mutex_lock(&s->queue_lock);
	while (!s->is_stopping) {
		struct timespec until;
		bool is_unsynced;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 500000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&s->sync_cond, &s->queue_lock, &until);
		is_unsynced = s->is_unsynced && !s->is_stopping;
		if (is_unsynced) {
			struct commit sync = {.sync = true};

			pthread_mutex_unlock(&s->queue_lock);
			store_commit_wait(s, &sync);
			pthread_mutex_lock(&s->queue_lock);
		}
	}
	pthread_mutex_unlock(&s->queue_lock);
	return NULL;
}

int commit_init(struct store *s)
{
	int rc;

	s->queue_end = &s->queue;
	s->batch.round = 1;
	rc = -pthread_create(&s->committer, NULL, committer_main, s);
	if (rc < 0)
		return rc;
	s->has_committer = true;
	if (s->durability == STORE_ASYNC) {
		rc = -pthread_create(&s->syncer, NULL, syncer_main, s);
		s->has_syncer = rc == 0;
	}
	return rc;
}

void commit_fini(struct store *s)
{
	pthread_mutex_lock(&s->queue_lock);
	while (s->is_led)
		pthread_cond_wait(&s->idle_cond, &s->queue_lock);
	s->is_stopping = true;
	pthread_cond_broadcast(&s->queue_cond);
	pthread_cond_broadcast(&s->sync_cond);
	pthread_mutex_unlock(&s->queue_lock);
	if (s->has_committer)
		pthread_join(s->committer, NULL);
	if (s->has_syncer)
		pthread_join(s->syncer, NULL);
	s->has_committer = s->has_syncer = false;
	free(s->batch.buf);
	s->batch.buf = NULL;
}
