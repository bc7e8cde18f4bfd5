/* SPDX-License-Identifier: Apache-2.0 */
/* group.c: one group of changes: planned, logged, made durable, applied. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/log.h"
#include "src/store_int.h"

/* commit.c has what a group is. All here is the leader's. */

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

/* A sentence for rc in `why`, unless there is one. */
static void explain(const struct store *s, int rc, char *why, size_t cap)
{
	assert(rc < 0);
	if (why[0])
		return;
	if (is_full(rc))
		snprintf(why, cap,
			"the disk of the data directory is full: delete "
			"something or make room");
	else if (rc == -EROFS)
		snprintf(why, cap, "%s",
			s->is_recovery ?
				"mounted with -o recovery: nothing can be "
				"changed" :
				"the store is read-only after a failed sync");
	else
		snprintf(why, cap, "%s", strerror(-rc));
}

static void fail_change(const struct store *s, struct change *ch, int rc)
{
	ch->rc = rc;
	explain(s, rc, ch->why, sizeof(ch->why));
}

/* Fails the group, which is not applied. After a full disk nothing of it
 * happened; after a failed sync nobody knows, and nothing more will. */
static void drop_group(struct store *s, int rc)
{
	struct batch *b = &s->batch;

	while (b->n > 0) {
		struct change *ch = b->change[--b->n];

		fail_change(s, ch, rc);
		group_unreserve(s, ch);
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
	if (commit->is_atomic && commit->rc < 0)
		explain(s, commit->rc, commit->why, sizeof(commit->why));
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

/* All changes of a commit, or none. */
static void run_atomic(
	struct store *s, struct commit *commit, struct commit **first)
{
	int rc;

	flush_until(s, first, commit);
	for (uint32_t i = 0; i < commit->n; i++) {
		commit->changes[i].rc = 0;
		commit->changes[i].why[0] = '\0';
		commit->changes[i].version = VERSION_NONE;
	}
	rc = group_add_all(s, commit);
	if (rc == 0)
		return;
	commit->rc = rc;
	for (uint32_t i = 0; i < commit->n; i++)
		fail_change(s, &commit->changes[i], rc);
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
		if (group_conflicts(&s->batch, ch))
			flush_until(s, first, commit);
		rc = group_add(s, ch);
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

void group_run_queue(struct store *s, struct commit *queue)
{
	struct commit *first = queue;

	for (struct commit *c = queue; c; c = c->next) {
		c->rc = 0;
		c->cell = NULL;
		if (c->at_rest)
			run_at_rest(s, c, &first);
		else if (c->is_atomic)
			run_atomic(s, c, &first);
		else
			run_changes(s, c, &first);
	}
	flush_until(s, &first, NULL);
	assert(!first);
}
