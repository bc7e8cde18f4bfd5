/* SPDX-License-Identifier: Apache-2.0 */
/* indexer.c: see indexer.h. */
#include "src/indexer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "index/hnsw.h"
#include "src/clock.h"
#include "src/log.h"
#include "src/store.h"

#define TAKE_MAX 16u /* slots a thread takes at once */

static uint32_t n_slots(const struct cell *cell)
{
	return atomic_load_explicit(&cell->n_slots, memory_order_acquire);
}

uint32_t indexer_pending(const struct cell *cell)
{
	uint32_t done =
		atomic_load_explicit(&cell->n_done, memory_order_relaxed);
	uint32_t n = n_slots(cell);

	return cell->hnsw ? n - VG_MIN(done, n) : 0;
}

/*
 * Whether searches pay too much for the tail. What a restart found is allowed
 * for, less a row for every two that are linked: who writes meanwhile goes at
 * half the indexers' pace, and does not wait for all of it.
 */
static bool is_tail_long(const struct cell *cell)
{
	uint32_t from =
		atomic_load_explicit(&cell->tail_from, memory_order_relaxed);
	uint32_t n = n_slots(cell);
	uint64_t allowed = cell->tail_max;

	assert(from <= n);
	if (cell->backlog > from / 2)
		allowed += cell->backlog - from / 2;
	return n - from > allowed;
}

/*
 * Whether no moment from `now` on shows slot, nor a snapshot; one that is taken
 * later shows a moment from `now` on, one that is older was entered before what
 * ended after it. A version that no moment shows yet has no end either: its
 * group is being applied while we look.
 */
static bool is_over(
	const struct cell *cell, uint32_t slot, const struct moment *now)
{
	uint32_t no = atomic_load_explicit(
		&cell_slot(cell, slot)->head, memory_order_acquire);

	assert(no > 0);
	while (no-- > 0) {
		const struct version *v = generation_version(cell->gen, no);

		if (atomic_load_explicit(&v->end, memory_order_acquire) >
				now->seq[v->partition] ||
			version_is_kept(v))
			return false;
		no = v->sibling + 1;
	}
	return true;
}

/* Links slot, or skips it when nobody who starts from now on sees it. */
static int link_slot(struct indexer *ix, struct cell *cell, uint32_t slot,
	struct hnsw_scratch *scratch)
{
	struct moment *now = moment_get(ix->moments);
	enum slot_state state = is_over(cell, slot, now) ? SLOT_SKIPPED
							 : SLOT_LINKED;
	int rc = 0;

	moment_unref(ix->moments, now);
	if (state == SLOT_LINKED)
		rc = hnsw_put(cell->hnsw, slot, scratch);
	if (rc == 0)
		atomic_store_explicit(&cell_slot(cell, slot)->state,
			(uint32_t)state, memory_order_release);
	return rc;
}

/* Waits for memory, a tenth of a second or until the end: whether it is. */
static bool wait_memory(struct indexer *ix)
{
	bool is_stopping;

	pthread_mutex_lock(&ix->lock);
	if (!ix->is_stopping)
		clock_wait(&ix->stop_cond, &ix->lock, clock_now_s() + .1);
	is_stopping = ix->is_stopping;
	pthread_mutex_unlock(&ix->lock);
	return is_stopping;
}

/* Linking needs memory that is not there: the row stays in the exact tail and
 * is tried again. */
static void link_slot_hard(struct indexer *ix, struct cell *cell,
	uint32_t slot, struct hnsw_scratch *scratch)
{
	while (link_slot(ix, cell, slot, scratch) < 0) {
		log_warn("indexer: no memory to link slot=%u; trying again",
			slot);
		if (wait_memory(ix))
			break;
	}
}

static void advance_tail_locked(struct cell *cell, uint32_t done)
{
	uint32_t from =
		atomic_load_explicit(&cell->tail_from, memory_order_relaxed);
	uint32_t n = n_slots(cell);

	while (from < n && atomic_load_explicit(&cell_slot(cell, from)->state,
				   memory_order_acquire) != SLOT_PENDING)
		from++;
	atomic_store_explicit(&cell->tail_from, from, memory_order_release);
	atomic_fetch_add_explicit(&cell->n_done, done, memory_order_relaxed);
}

/* Takes up to TAKE_MAX slots of the first cell in line; 0: that one has none
 * left and went. The caller holds a reference on the collection then. */
static uint32_t take_locked(
	struct indexer *ix, struct cell **out, uint32_t *first)
{
	struct cell *cell = ix->work;
	uint32_t n = n_slots(cell), take;

	assert(cell->is_queued && cell->hnsw);
	assert(ix->n_threads > 0);
	*first = atomic_load_explicit(&cell->next, memory_order_relaxed);
	*out = cell;
	if (*first >= n || cell->is_retired) {
		ix->work = cell->work;
		cell->is_queued = false;
		return 0;
	}
	take = (n - *first) / (2 * ix->n_threads);
	take = VG_MAX(1u, VG_MIN(take, TAKE_MAX));
	atomic_store_explicit(
		&cell->next, *first + take, memory_order_relaxed);
	generation_ref(cell->gen);
	return take;
}

/* Who ends is not waited for: a row that found no memory stays pending. */
static struct commit *release_locked(struct indexer *ix, struct cell *cell)
{
	struct commit *held = cell->held;

	if (!ix->is_stopping && is_tail_long(cell))
		return NULL;
	cell->held = NULL;
	return held;
}

static void answer(struct commit *held)
{
	while (held) {
		struct commit *next = held->next;

		held->done(held);
		held = next;
	}
}

/* What a graph on disk had needs no linking. */
static bool is_pending(const struct cell *cell, uint32_t slot)
{
	return atomic_load_explicit(&cell_slot(cell, slot)->state,
		       memory_order_relaxed) == SLOT_PENDING;
}

static void work(struct indexer *ix, struct hnsw_scratch *scratch)
{
	struct commit *held = NULL;
	struct cell *cell;
	uint32_t first, n;

	n = take_locked(ix, &cell, &first);
	ix->n_busy++;
	pthread_mutex_unlock(&ix->lock);
	for (uint32_t i = 0; i < n; i++)
		if (is_pending(cell, first + i))
			link_slot_hard(ix, cell, first + i, scratch);
	pthread_mutex_lock(&ix->lock);
	if (--ix->n_busy == 0)
		pthread_cond_broadcast(&ix->pause_cond);
	if (n) {
		advance_tail_locked(cell, n);
		held = release_locked(ix, cell);
	}
	pthread_mutex_unlock(&ix->lock);
	answer(held);
	/* n == 0: the reference of the list; else that of take_locked. */
	generation_unref(cell->gen);
	pthread_mutex_lock(&ix->lock);
}

static void *indexer_main(void *arg)
{
	struct indexer *ix = arg;
	struct hnsw_scratch *scratch = NULL;

	while (hnsw_scratch_new(&scratch) < 0)
		if (wait_memory(ix))
			return NULL;
	pthread_mutex_lock(&ix->lock);
	while (!ix->is_stopping) {
		if (ix->is_paused)
			pthread_cond_wait(&ix->pause_cond, &ix->lock);
		else if (ix->work)
			work(ix, scratch);
		else
			pthread_cond_wait(&ix->work_cond, &ix->lock);
	}
	pthread_mutex_unlock(&ix->lock);
	hnsw_scratch_free(scratch);
	return NULL;
}

int indexer_init(struct indexer *ix, unsigned n, struct moments *moments)
{
	int rc;

	*ix = (struct indexer){.moments = moments};
	pthread_mutex_init(&ix->lock, NULL);
	pthread_cond_init(&ix->work_cond, NULL);
	pthread_cond_init(&ix->stop_cond, NULL);
	pthread_cond_init(&ix->pause_cond, NULL);
	ix->threads = calloc(n, sizeof(*ix->threads));
	rc = ix->threads ? 0 : -ENOMEM;
	for (unsigned i = 0; i < n && rc == 0; i++) {
		rc = -pthread_create(&ix->threads[i], NULL, indexer_main, ix);
		ix->n_threads += rc == 0;
	}
	if (rc < 0)
		indexer_fini(ix);
	return rc;
}

void indexer_fini(struct indexer *ix)
{
	if (!ix->moments)
		return;
	pthread_mutex_lock(&ix->lock);
	ix->is_stopping = true;
	pthread_cond_broadcast(&ix->work_cond);
	pthread_cond_broadcast(&ix->stop_cond);
	pthread_cond_broadcast(&ix->pause_cond);
	pthread_mutex_unlock(&ix->lock);
	for (unsigned i = 0; i < ix->n_threads; i++)
		pthread_join(ix->threads[i], NULL);
	while (ix->work) {
		struct cell *cell = ix->work;

		ix->work = cell->work;
		cell->is_queued = false;
		answer(cell->held);
		cell->held = NULL;
		generation_unref(cell->gen);
	}
	free(ix->threads);
	pthread_cond_destroy(&ix->work_cond);
	pthread_cond_destroy(&ix->stop_cond);
	pthread_cond_destroy(&ix->pause_cond);
	pthread_mutex_destroy(&ix->lock);
	*ix = (struct indexer){0};
}

void indexer_pause(struct indexer *ix)
{
	pthread_mutex_lock(&ix->lock);
	assert(!ix->is_paused);
	ix->is_paused = true;
	while (ix->n_busy)
		pthread_cond_wait(&ix->pause_cond, &ix->lock);
	pthread_mutex_unlock(&ix->lock);
}

void indexer_resume(struct indexer *ix)
{
	pthread_mutex_lock(&ix->lock);
	assert(ix->is_paused);
	ix->is_paused = false;
	pthread_cond_broadcast(&ix->pause_cond);
	pthread_mutex_unlock(&ix->lock);
}

void indexer_add(struct indexer *ix, struct cell *cell)
{
	struct cell **link = &ix->work;

	if (!cell->hnsw)
		return;
	pthread_mutex_lock(&ix->lock);
	if (!cell->is_queued) {
		while (*link)
			link = &(*link)->work;
		*link = cell;
		cell->work = NULL;
		cell->is_queued = true;
		generation_ref(cell->gen);
	}
	pthread_cond_broadcast(&ix->work_cond);
	pthread_mutex_unlock(&ix->lock);
}

void indexer_retire(struct indexer *ix, struct cell *cell)
{
	struct commit *held;

	pthread_mutex_lock(&ix->lock);
	cell->is_retired = true;
	held = cell->held;
	cell->held = NULL;
	pthread_mutex_unlock(&ix->lock);
	answer(held);
}

bool indexer_hold(
	struct indexer *ix, struct cell *cell, struct commit *commit)
{
	bool is_held = false;

	if (!cell->hnsw)
		return false;
	pthread_mutex_lock(&ix->lock);
	if (cell->is_queued && is_tail_long(cell)) {
		commit->next = cell->held;
		cell->held = commit;
		is_held = true;
	}
	pthread_mutex_unlock(&ix->lock);
	return is_held;
}
