/* SPDX-License-Identifier: Apache-2.0 */
/* commit.c: changes that wait share one sync: the queue and its leader. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/clock.h"
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

/* ---- who leads ---- */

/* Leads until the queue is empty, or for one round if hand_over. */
static void lead(struct store *s, bool hand_over)
{
	pthread_mutex_lock(&s->queue_lock);
	for (bool again = true; again && s->queue; again = !hand_over) {
		struct commit *queue = take_queue_locked(s);

		pthread_mutex_unlock(&s->queue_lock);
		group_run_queue(s, queue);
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
		bool is_unsynced;

		clock_wait(&s->sync_cond, &s->queue_lock, clock_now_s() + .5);
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
