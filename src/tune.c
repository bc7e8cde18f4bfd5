/* SPDX-License-Identifier: Apache-2.0 */
/* tune.c: see tune.h. */
#include "src/tune.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "index/ivf.h"
#include "src/clock.h"
#include "src/config.h"
#include "src/log.h"
#include "src/memory.h"
#include "src/store_int.h"

#define NICE 10 /* some TUNE_SHARE of a core where ten others want two */
#define EARLY_S 1.0 /* between two looks at what is being linked */

/*
 * Efs that are tried, a class of k by so many times: each costs some 1.4 times
 * the one before. Beyond the last a walk's pool costs more than it finds.
 */
static const uint32_t efs[] = {10, 14, 20, 28, 40, 57, 80, 113, 160, 226,
	320, 453, 640, 905, 1280, 1810, 2560, 3620};
static const uint32_t factor[OP_EF_CLASSES] = {1, 2, 20};

#define PENDING_SHARE 32u /* of the rows that may be so many */
#define FULL_RUNGS 3u /* that found all of a query: so will those above */

static_assert(3620 * 20 <= VG_EF_MAX, "the largest ef is one");
static_assert(VG_ARRAY_LEN(efs) + 1 == RECALL_RUNGS, "and one that scans");

/* One measurement of a collection. */
struct pass {
	struct store *s;
	struct collection *coll;
	struct recall_state state; /* that it began with */
	struct recall_samples samples[OP_EF_CLASSES];
	struct recall_ladder ladder[OP_EF_CLASSES];
	struct recall_copy copy;
	struct search_hit *hits; /* of the exact answer, then of others */
	uint32_t cap_hits;
	bool is_paced;
};

static bool is_stopping(struct store *s)
{
	return atomic_load_explicit(
		&s->tuner.is_stopping, memory_order_relaxed);
}

/* ---- what there is ---- */

/* Rows from which lists were learnt; 0: there are no lists. */
static uint32_t n_learnt(const struct cell *cell)
{
	struct ivf_stat st = {0};

	if (cell->ivf)
		ivf_stat(cell->ivf, &st);
	return st.trained;
}

struct recall_state tune_state(struct collection *c)
{
	struct generation *g = collection_gen(c);
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	struct op_config config = collection_config(c);
	struct recall_state state = {
		.target_recall = config.target_recall,
		.ef_search = config.ef_search,
		.gen = g->no,
		.n_live = atomic_load_explicit(
			&c->n_live, memory_order_relaxed),
	};

	if (cell) {
		state.cell = cell->number;
		state.n_learnt = n_learnt(cell);
		state.n_repaired = atomic_load_explicit(
			&cell->n_repaired, memory_order_relaxed);
		state.n_slots = atomic_load_explicit(
			&cell->n_slots, memory_order_acquire);
	}
	generation_unref(g);
	return state;
}

bool tune_is_current(
	const struct recall_result *result, const struct recall_state *now)
{
	const struct recall_state *of = &result->of;

	return result->is_set && of->gen == now->gen &&
	       of->cell == now->cell && of->n_learnt == now->n_learnt &&
	       of->ef_search == now->ef_search &&
	       of->target_recall == now->target_recall;
}

/* Whether so many rows were added, went, or left the graph. Slots are never
 * given back. */
static bool has_drifted(
	const struct recall_state *of, const struct recall_state *now)
{
	uint64_t more = now->n_slots - of->n_slots;
	uint64_t dead = now->n_slots - VG_MIN(now->n_live, now->n_slots);
	uint64_t were = of->n_slots - VG_MIN(of->n_live, of->n_slots);
	uint64_t gone = dead - VG_MIN(were, dead);

	uint64_t left = now->n_repaired - VG_MIN(of->n_repaired, now->n_repaired);

	assert(now->n_slots >= of->n_slots);
	return (double)VG_MAX(more, gone) >= TUNE_DRIFT * of->n_slots ||
	       (double)left >= TUNE_LEFT * of->n_slots;
}

static bool class_is_due(const struct recall_samples *samples,
	const struct recall_result *last, const struct recall_state *now)
{
	if (samples->n < samples->needed)
		return false;
	return !tune_is_current(last, now) || has_drifted(&last->of, now) ||
	       samples->taken - last->taken >= last->estimate.n;
}

static double target_of(const struct recall_state *state)
{
	struct op_config config = {.target_recall = state->target_recall};

	return config_target_recall(&config);
}

/* Whether there are no more rows than can be compared. */
static bool is_moderate(struct collection *c)
{
	struct generation *g = collection_gen(c);
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	bool is = cell && memory_has_room((uint64_t)cell->n_slots *
					  cell->vec.rows.stride);

	generation_unref(g);
	return is;
}

static bool is_due(struct collection *c)
{
	struct recall_samples samples[OP_EF_CLASSES];
	struct recall_state now = tune_state(c);
	bool is = false;

	recall_count(c->recall, target_of(&now), samples);
	for (unsigned i = 0; i < OP_EF_CLASSES; i++) {
		struct recall_result last = recall_result(c->recall, i);

		is = is || class_is_due(&samples[i], &last, &now);
	}
	return is && is_moderate(c);
}

/* Rows that are not linked yet are found by a scan: while they are many, what
 * is found says nothing of the index. */
static bool is_linked(const struct cell *cell)
{
	return indexer_pending(cell) <= cell->n_slots / PENDING_SHARE;
}

/* ---- pace ---- */

/* What this thread has used: its time on a processor; or all the time that went
 * by, if it had to read from the disk. */
struct usage {
	double cpu_s, now_s;
	long n_faults;
};

static struct usage usage_now(void)
{
	struct usage u = {.now_s = clock_now_s()};
	struct timespec cpu = {0};
	struct rusage ru = {0};

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	getrusage(RUSAGE_THREAD, &ru);
	u.cpu_s = (double)cpu.tv_sec + (double)cpu.tv_nsec * 1e-9;
	u.n_faults = ru.ru_majflt;
	return u;
}

static double usage_since(const struct usage *from)
{
	struct usage now = usage_now();

	return now.n_faults > from->n_faults ? now.now_s - from->now_s
					     : now.cpu_s - from->cpu_s;
}

/* Pays for `spent_s` and waits until there is credit again. -EINTR. */
static int pay(struct store *s, double spent_s)
{
	struct tuner *t = &s->tuner;
	double now = clock_now_s(), until;

	assert(spent_s >= 0);
	t->credit_s += (now - t->credited_s) * TUNE_SHARE;
	t->credit_s = VG_MIN(t->credit_s, TUNE_BURST_S) - spent_s;
	t->credited_s = now;
	until = now - t->credit_s / TUNE_SHARE;
	pthread_mutex_lock(&t->lock);
	while (!is_stopping(s) && clock_now_s() < until)
		clock_wait(&t->cond, &t->lock, until);
	pthread_mutex_unlock(&t->lock);
	return is_stopping(s) ? -EINTR : 0;
}

/* ---- one query ---- */

static int reserve_hits(struct pass *p, uint32_t k)
{
	struct search_hit *hits;

	if (k <= p->cap_hits)
		return 0;
	hits = realloc(p->hits, k * sizeof(*hits));
	if (!hits)
		return -ENOMEM;
	p->hits = hits;
	p->cap_hits = k;
	return 0;
}

/* How many of the answer with this ef are no farther than bound. */
static int count_found(struct pass *p, const struct look *look,
	const struct search *q, float bound, uint32_t *found)
{
	uint32_t n, i = 0;
	int rc = search_run(p->s, look, q, p->hits, &n);

	assert(rc < 0 || n <= q->k);
	while (rc == 0 && i < n && p->hits[i].dist <= bound)
		i++;
	*found = i;
	return rc;
}

/* Asks a query on each rung; `all` are to be found, the last at bound. */
static int climb_with(struct pass *p, const struct look *look,
	struct search *q, float bound, uint32_t all)
{
	struct recall_ladder *ladder = &p->ladder[config_ef_class(q->k)];
	uint32_t found = 0, full = 0, before = 0;
	int rc = 0;

	assert(all > 0 && all <= q->k);
	for (uint32_t i = 0; i < ladder->n && rc == 0; i++) {
		bool is_scan = ladder->has_scan && i == ladder->n - 1;

		q->ef = VG_MAX(ladder->ef[i], q->k);
		if (is_scan || full == FULL_RUNGS) {
			found = all;
		} else if (q->ef != before) {
			rc = count_found(p, look, q, bound, &found);
			found = VG_MIN(found, all);
			full = found == all ? full + 1 : 0;
			before = q->ef;
		}
		if (rc == 0)
			recall_add(&ladder->sum[i], found, all);
	}
	return rc;
}

/* Whether the look is at what the pass began with. */
static bool is_same(const struct pass *p, const struct look *look)
{
	struct op_config config = collection_config(p->coll);

	return look->cell && look->gen->no == p->state.gen &&
	       look->cell->number == p->state.cell &&
	       n_learnt(look->cell) == p->state.n_learnt &&
	       config.ef_search == p->state.ef_search &&
	       config.target_recall == p->state.target_recall &&
	       !atomic_load(&p->coll->is_dropped);
}

static int ask(struct pass *p, const struct look *look)
{
	const struct recall_query *rq = &p->copy.query;
	struct search q = {.vec = rq->vec,
		.dim = rq->dim,
		.dtype = rq->dtype,
		.k = rq->k,
		.leave_out = &rq->leave_out,
		.n_leave_out = rq->leave_out.len > 0,
		.exact = true,
		.cancel = &p->s->tuner.is_stopping};
	uint32_t n;
	int rc = is_same(p, look) ? reserve_hits(p, q.k) : -EAGAIN;

	if (rc == 0)
		rc = search_run(p->s, look, &q, p->hits, &n);
	/* It was asked when dim, dtype or metric were others. */
	if (rc == -EINVAL)
		return 0;
	q.exact = false;
	if (rc == 0 && n > 0)
		rc = climb_with(p, look, &q, p->hits[n - 1].dist, n);
	return rc;
}

/* Samples come and go meanwhile: each place is looked at once. */
static int ask_all(struct pass *p)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0; i++) {
		struct usage from = usage_now();
		struct look look;

		rc = recall_get(p->coll->recall, i, &p->copy);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
		look_init(&look, p->coll, &p->s->moments);
		rc = ask(p, &look);
		look_fini(&look);
		if (rc == 0 && p->is_paced)
			rc = pay(p->s, usage_since(&from));
	}
	return rc;
}

/* ---- a whole pass ---- */

/* The rungs of a class: below those that scan, and then one that does, with
 * room for the rows that may come until it is looked at anew. */
static void raise_ladder(struct recall_ladder *ladder, unsigned class,
	const struct recall_state *state, const struct cell *cell)
{
	uint32_t n = state->n_slots, top = 0;

	assert(class < OP_EF_CLASSES && ladder->n == 0);
	if (state->ef_search) {
		ladder->ef[ladder->n++] = state->ef_search;
		return;
	}
	for (uint32_t i = 0; i < VG_ARRAY_LEN(efs); i++) {
		top = efs[i] * factor[class];
		ladder->has_scan = store_search_is_scan(cell, top, 1);
		if (ladder->has_scan)
			break;
		ladder->ef[ladder->n++] = top;
	}
	if (ladder->has_scan)
		ladder->ef[ladder->n++] = VG_MIN(
			(uint32_t)(n * (1 + TUNE_DRIFT)) / 8 + 1, VG_EF_MAX);
	assert(ladder->n > 0 && ladder->n <= RECALL_RUNGS);
}

/* Makes ef what searches go by, unless another recall is wanted by now. */
static void set_tuned(struct store *s, struct collection *c, unsigned class,
	const struct recall_result *result)
{
	bool is_new;

	pthread_mutex_lock(&c->lock);
	is_new = c->config.target_recall == result->of.target_recall &&
		 c->config.tuned[class] != result->ef;
	if (is_new)
		c->config.tuned[class] = result->ef;
	pthread_mutex_unlock(&c->lock);
	if (!is_new)
		return;
	atomic_store_explicit(
		&s->checkpoint.has_new_gen, true, memory_order_relaxed);
	log_info("tuned: collection=%u ef=%u class=%u recall=%.4f queries=%u",
		c->no, result->ef, class, result->estimate.recall,
		result->estimate.n);
}

/* Chooses by result->ladder for the target of result->of; all else of it is
 * given. */
static void choose(struct store *s, struct collection *c, unsigned class,
	struct recall_result *result)
{
	const struct recall_ladder *ladder = &result->ladder;
	uint32_t at = recall_choose(
		ladder, target_of(&result->of), &result->is_met);

	result->estimate = recall_estimate(&ladder->sum[at]);
	result->ef = ladder->ef[at];
	assert(result->is_set && result->ef > 0);
	if (!result->of.ef_search)
		set_tuned(s, c, class, result);
	recall_put_result(c->recall, class, result);
}

static void finish(const struct pass *p, unsigned class)
{
	const struct recall_samples *samples = &p->samples[class];
	struct recall_result result = {.is_set = true,
		.k_min = samples->k_min,
		.k_max = samples->k_max,
		.taken = samples->taken,
		.ladder = p->ladder[class],
		.of = p->state};

	if (result.ladder.sum[0].n >= samples->needed)
		choose(p->s, p->coll, class, &result);
}

/* Another target needs no other measurement, if there are samples enough. */
static void choose_anew(struct store *s, struct collection *c)
{
	struct recall_samples samples[OP_EF_CLASSES];
	struct recall_state now = tune_state(c);

	recall_count(c->recall, target_of(&now), samples);
	for (unsigned i = 0; i < OP_EF_CLASSES; i++) {
		struct recall_result result = recall_result(c->recall, i);
		bool is_other = result.of.target_recall != now.target_recall;

		result.of.target_recall = now.target_recall;
		if (is_other && !now.ef_search &&
			tune_is_current(&result, &now) &&
			result.estimate.n >= samples[i].needed)
			choose(s, c, i, &result);
	}
}

/* 0, or why nothing is to be measured: -EBUSY for now, -EAGAIN. */
static int look_at_index(struct store *s, const struct cell *cell)
{
	if (!cell || !cell_has_index(cell))
		return -EAGAIN;
	if (!is_linked(cell) || indexer_is_learning(&s->indexer, cell))
		return -EBUSY;
	return cell->ivf && n_learnt(cell) == 0 ? -EAGAIN : 0;
}

static int measure(struct pass *p)
{
	struct generation *g = collection_gen(p->coll);
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	int rc = look_at_index(p->s, cell);

	if (rc == 0) {
		p->state = tune_state(p->coll);
		recall_count(p->coll->recall, target_of(&p->state),
			p->samples);
		for (unsigned i = 0; i < OP_EF_CLASSES; i++)
			raise_ladder(&p->ladder[i], i, &p->state, cell);
	}
	generation_unref(g);
	if (rc == 0)
		rc = ask_all(p);
	for (unsigned i = 0; i < OP_EF_CLASSES && rc == 0; i++)
		finish(p, i);
	return rc;
}

static int tune_locked(struct store *s, struct collection *c, bool is_paced)
{
	struct pass *p = calloc(1, sizeof(*p));
	int rc;

	assert(!c->of && c->recall); /* snapshots are not measured */
	if (!p)
		return -ENOMEM;
	p->s = s;
	p->coll = c;
	p->is_paced = is_paced;
	rc = measure(p);
	recall_copy_free(&p->copy);
	free(p->hits);
	free(p);
	return rc;
}

int store_tune(struct store *s, struct collection *c)
{
	int rc;

	pthread_mutex_lock(&s->tuner.run_lock);
	rc = tune_locked(s, c, false);
	pthread_mutex_unlock(&s->tuner.run_lock);
	return rc;
}

/* ---- the thread ---- */

/* Whether something is to be measured once its rows are linked. */
static bool look_at_all(struct store *s)
{
	struct collection *c;
	bool is_early = false;

	for (uint32_t no = 0; !is_stopping(s) &&
			      (c = catalogue_next_no(&s->catalogue, &no));
		no++) {
		int rc = 0;

		pthread_mutex_lock(&s->tuner.run_lock);
		choose_anew(s, c);
		if (is_due(c))
			rc = tune_locked(s, c, true);
		pthread_mutex_unlock(&s->tuner.run_lock);
		collection_unref(c);
		is_early = is_early || rc == -EBUSY;
		if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
			log_warn("the recall of collection %u could not be "
				 "measured: %s",
				no, strerror(-rc));
	}
	return is_early;
}

static void *tune_main(void *arg)
{
	struct store *s = arg;
	struct tuner *t = &s->tuner;
	bool is_early = false;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	pthread_mutex_lock(&t->lock);
	while (!is_stopping(s)) {
		if (is_early)
			clock_wait(&t->cond, &t->lock, clock_now_s() + EARLY_S);
		else if (!t->is_wanted)
			pthread_cond_wait(&t->cond, &t->lock);
		if (!t->is_wanted && !is_early)
			continue;
		t->is_wanted = false;
		pthread_mutex_unlock(&t->lock);
		is_early = look_at_all(s);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

void tune_prepare(struct tuner *t)
{
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->run_lock, NULL);
	pthread_cond_init(&t->cond, NULL);
	t->credit_s = TUNE_BURST_S;
	t->credited_s = clock_now_s();
}

int tune_init(struct store *s)
{
	int rc = -pthread_create(&s->tuner.thread, NULL, tune_main, s);

	s->tuner.has_thread = rc == 0;
	return rc;
}

void tune_wake(struct store *s)
{
	struct tuner *t = &s->tuner;

	pthread_mutex_lock(&t->lock);
	t->is_wanted = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

void tune_stop(struct store *s)
{
	struct tuner *t = &s->tuner;

	if (!t->has_thread)
		return;
	pthread_mutex_lock(&t->lock);
	atomic_store_explicit(&t->is_stopping, true, memory_order_relaxed);
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	t->has_thread = false;
}

void tune_fini(struct store *s)
{
	tune_stop(s);
	pthread_mutex_destroy(&s->tuner.lock);
	pthread_mutex_destroy(&s->tuner.run_lock);
	pthread_cond_destroy(&s->tuner.cond);
}
