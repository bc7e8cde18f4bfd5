/* SPDX-License-Identifier: Apache-2.0 */
/* indexer.c: see indexer.h. */
#include "src/indexer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/clock.h"
#include "src/log.h"
#include "src/store.h"

#define TAKE_MAX 16u /* slots a thread takes at once */

/* What a thread puts rows into indexes with. */
struct tools {
	struct hnsw_scratch *hnsw;
	struct ivf_scratch *ivf;
};

static uint32_t n_slots(const struct cell *cell)
{
	return atomic_load_explicit(&cell->n_slots, memory_order_acquire);
}

uint32_t indexer_pending(const struct cell *cell)
{
	uint32_t done =
		atomic_load_explicit(&cell->n_done, memory_order_relaxed);
	uint32_t n = n_slots(cell);

	return cell_has_index(cell) ? n - VG_MIN(done, n) : 0;
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

/* Links slot, or skips it when nobody who starts from now on sees it. */
static int link_slot(struct indexer *ix, struct cell *cell, uint32_t slot,
	const struct tools *tools)
{
	struct moment *now = moment_get(ix->moments);
	enum slot_state state = cell_is_over(cell, slot, now) ? SLOT_SKIPPED
							 : SLOT_LINKED;
	int rc = 0;

	moment_unref(ix->moments, now);
	if (state == SLOT_LINKED)
		rc = cell->hnsw ? hnsw_put(cell->hnsw, slot, tools->hnsw)
				: ivf_put(cell->ivf, slot, tools->ivf);
	if (rc == 0)
		atomic_store_explicit(&cell_slot(cell, slot)->state,
			(uint32_t)state, memory_order_release);
	return rc;
}

/* Waits for memory, a tenth of a second or until the end: whether it is. Who is
 * linking a row counts as busy no more until he goes on: it is not in the graph,
 * and a pause does not wait for memory. */
static bool wait_memory(struct indexer *ix, bool is_linking)
{
	bool is_stopping;

	pthread_mutex_lock(&ix->lock);
	if (is_linking && --ix->n_busy == 0)
		pthread_cond_broadcast(&ix->pause_cond);
	if (!ix->is_stopping)
		clock_wait(&ix->stop_cond, &ix->lock, clock_now_s() + .1);
	while (is_linking && ix->is_paused)
		pthread_cond_wait(&ix->pause_cond, &ix->lock);
	ix->n_busy += is_linking;
	is_stopping = ix->is_stopping;
	pthread_mutex_unlock(&ix->lock);
	return is_stopping;
}

/* Linking needs memory that is not there: the row stays in the exact tail and
 * is tried again. */
static void link_slot_hard(struct indexer *ix, struct cell *cell,
	uint32_t slot, const struct tools *tools)
{
	while (link_slot(ix, cell, slot, tools) < 0) {
		log_warn("indexer: no memory to link slot=%u; trying again",
			slot);
		if (wait_memory(ix, true))
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

	assert(cell->is_queued && cell_has_index(cell));
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

/* ---- lists that are learnt anew ---- */

static void add_learn_locked(struct indexer *ix, struct cell *cell)
{
	if (!cell->ivf || cell->is_learning || cell->is_retired ||
		!ivf_is_due(cell->ivf))
		return;
	assert(cell->n_reserved > 0);
	cell->is_learning = true;
	cell->learn = ix->learn;
	ix->learn = cell;
	generation_ref(cell->gen);
	pthread_cond_signal(&ix->learn_cond);
}

bool indexer_is_learning(struct indexer *ix, const struct cell *cell)
{
	bool is_learning;

	pthread_mutex_lock(&ix->lock);
	is_learning = cell->is_learning;
	pthread_mutex_unlock(&ix->lock);
	return is_learning;
}

static void learn(struct indexer *ix, struct cell *cell)
{
	struct ivf_stat st;
	double start = clock_now_s();
	int rc;

	while ((rc = ivf_train(cell->ivf, &ix->is_cancelled)) == -ENOMEM) {
		log_warn("indexer: no memory to learn lists; trying again");
		if (wait_memory(ix, false))
			return;
	}
	ivf_stat(cell->ivf, &st);
	if (rc == 0)
		log_info("learnt: rows=%u lists=%u seconds=%.1f", st.linked,
			st.n_lists, clock_now_s() - start);
}

static void *learner_main(void *arg)
{
	struct indexer *ix = arg;

	pthread_mutex_lock(&ix->lock);
	while (!ix->is_stopping) {
		struct cell *cell = ix->learn;

		if (!cell) {
			pthread_cond_wait(&ix->learn_cond, &ix->lock);
			continue;
		}
		assert(cell->is_learning && cell->ivf);
		ix->learn = cell->learn;
		pthread_mutex_unlock(&ix->lock);
		learn(ix, cell);
		pthread_mutex_lock(&ix->lock);
		cell->is_learning = false;
		add_learn_locked(ix, cell); /* rows came while it went on */
		pthread_mutex_unlock(&ix->lock);
		generation_unref(cell->gen);
		pthread_mutex_lock(&ix->lock);
	}
	pthread_mutex_unlock(&ix->lock);
	return NULL;
}

/* ---- the threads ---- */

static void work(struct indexer *ix, const struct tools *tools)
{
	struct commit *held = NULL;
	struct cell *cell;
	uint32_t first, n;

	n = take_locked(ix, &cell, &first);
	ix->n_busy++;
	pthread_mutex_unlock(&ix->lock);
	for (uint32_t i = 0; i < n; i++)
		if (is_pending(cell, first + i))
			link_slot_hard(ix, cell, first + i, tools);
	pthread_mutex_lock(&ix->lock);
	if (--ix->n_busy == 0)
		pthread_cond_broadcast(&ix->pause_cond);
	if (n) {
		advance_tail_locked(cell, n);
		held = release_locked(ix, cell);
	}
	/* Also of one whose rows were all there when it was opened. */
	add_learn_locked(ix, cell);
	pthread_mutex_unlock(&ix->lock);
	answer(held);
	/* n == 0: the reference of the list; else that of take_locked. */
	generation_unref(cell->gen);
	pthread_mutex_lock(&ix->lock);
}

static void *indexer_main(void *arg)
{
	struct indexer *ix = arg;
	struct tools tools = {0};

	while ((!tools.hnsw && hnsw_scratch_new(&tools.hnsw) < 0) ||
		(!tools.ivf && ivf_scratch_new(&tools.ivf) < 0))
		if (wait_memory(ix, false))
			goto free_tools;
	pthread_mutex_lock(&ix->lock);
	while (!ix->is_stopping) {
		if (ix->is_paused)
			pthread_cond_wait(&ix->pause_cond, &ix->lock);
		else if (ix->work)
			work(ix, &tools);
		else
			pthread_cond_wait(&ix->work_cond, &ix->lock);
	}
	pthread_mutex_unlock(&ix->lock);
free_tools:
	hnsw_scratch_free(tools.hnsw);
	ivf_scratch_free(tools.ivf);
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
	pthread_cond_init(&ix->learn_cond, NULL);
	ix->threads = calloc(n, sizeof(*ix->threads));
	rc = ix->threads ? 0 : -ENOMEM;
	for (unsigned i = 0; i < n && rc == 0; i++) {
		rc = -pthread_create(&ix->threads[i], NULL, indexer_main, ix);
		ix->n_threads += rc == 0;
	}
	if (rc == 0)
		rc = -pthread_create(&ix->learner, NULL, learner_main, ix);
	ix->has_learner = rc == 0;
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
	atomic_store_explicit(&ix->is_cancelled, true, memory_order_relaxed);
	pthread_cond_broadcast(&ix->learn_cond);
	pthread_cond_broadcast(&ix->work_cond);
	pthread_cond_broadcast(&ix->stop_cond);
	pthread_cond_broadcast(&ix->pause_cond);
	pthread_mutex_unlock(&ix->lock);
	for (unsigned i = 0; i < ix->n_threads; i++)
		pthread_join(ix->threads[i], NULL);
	if (ix->has_learner)
		pthread_join(ix->learner, NULL);
	while (ix->learn) {
		struct cell *cell = ix->learn;

		ix->learn = cell->learn;
		generation_unref(cell->gen);
	}
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
	pthread_cond_destroy(&ix->learn_cond);
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

	if (!cell_has_index(cell))
		return;
	pthread_mutex_lock(&ix->lock);
	if (!cell->is_queued) {
		/* Lists go first: a row takes them a fiftieth of a graph's
		 * time, and who goes over to them is short of memory. */
		while (*link && (cell->hnsw || (*link)->ivf))
			link = &(*link)->work;
		cell->work = *link;
		*link = cell;
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

	if (!cell_has_index(cell))
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
