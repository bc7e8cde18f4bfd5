/* SPDX-License-Identifier: Apache-2.0 */
/* pool: jobs are run once, in order; each works on every item, with or without help. */
#include "fs/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

/* ---- a gate: jobs wait at it, so that a test knows who is busy ---- */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int arrived;
	bool is_open;
};

static void gate_init(struct gate *g)
{
	*g = (struct gate){0};
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->cond, NULL);
}

static void gate_pass(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->arrived++;
	pthread_cond_broadcast(&g->cond);
	while (!g->is_open)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void gate_wait(struct gate *g, int n)
{
	pthread_mutex_lock(&g->lock);
	while (g->arrived < n)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->is_open = true;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

/* Waits until n threads of the pool have nothing to do. */
static void wait_idle(struct pool *p, unsigned n)
{
	unsigned idle = 0;

	while (idle < n) {
		pthread_mutex_lock(&p->lock);
		idle = p->n_idle;
		pthread_mutex_unlock(&p->lock);
		sched_yield();
	}
}

/* ---- jobs ---- */

#define JOBS 10000

struct task {
	struct job job;
	struct pool *p;
	struct gate *gate;
	_Atomic int *counter;
	int seen; /* the counter when it ran */
	int more; /* jobs that it puts */
};

static void run_task(struct job *job)
{
	struct task *t = (struct task *)job;

	if (t->gate)
		gate_pass(t->gate);
	t->seen = atomic_fetch_add(t->counter, 1);
	if (t->more > 0) {
		struct task *child = malloc(sizeof(*child));

		must(child);
		*child = *t;
		child->more--;
		pool_put(t->p, &child->job);
	}
	if (t->p)
		free(t);
}

static void test_jobs(void)
{
	struct task *task = calloc(JOBS, sizeof(*task));
	_Atomic int counter = 0;
	struct pool p;
	bool in_order = true;

	must(task && pool_init(&p, 1) == 0);
	for (int i = 0; i < JOBS; i++) {
		task[i] = (struct task){{run_task, NULL}, .counter = &counter};
		pool_put(&p, &task[i].job);
	}
	pool_fini(&p);
	ok(counter == JOBS, "fini runs what is queued");
	for (int i = 0; i < JOBS; i++)
		in_order &= task[i].seen == i;
	ok(in_order, "one thread runs jobs in the order they came");
	pool_fini(&p);
	ok(true, "fini is harmless twice");
	counter = 0;
	must(pool_init(&p, 4) == 0);
	for (int i = 0; i < JOBS; i++)
		pool_put(&p, &task[i].job);
	pool_fini(&p);
	ok(counter == JOBS, "four threads run each job once");
	free(task);
}

static void test_chain(void)
{
	struct task *t = calloc(1, sizeof(*t));
	_Atomic int counter = 0;
	struct pool p;

	must(t && pool_init(&p, 3) == 0);
	*t = (struct task){{run_task, NULL}, .p = &p, .counter = &counter,
		.more = 1000};
	pool_put(&p, &t->job);
	pool_fini(&p);
	ok(counter == 1001, "fini runs what jobs put meanwhile");
}

/* ---- each ---- */

#define ITEMS 5000

struct work {
	_Atomic int done[ITEMS];
	struct gate *gate; /* the first items of each thread meet here */
	_Atomic int n_meet;
	size_t fail_at;
	struct pool *p;
	pthread_t caller;
	_Atomic int strangers; /* items done by other threads */
};

static int do_item(void *ctx, size_t item)
{
	struct work *w = ctx;

	if (item == w->fail_at)
		return -EDOM;
	atomic_fetch_add(&w->done[item], 1);
	if (!pthread_equal(pthread_self(), w->caller))
		atomic_fetch_add(&w->strangers, 1);
	if (w->gate && atomic_fetch_sub(&w->n_meet, 1) > 0)
		gate_pass(w->gate);
	return 0;
}

static struct work *work_new(struct pool *p)
{
	struct work *w = calloc(1, sizeof(*w));

	must(w);
	w->p = p;
	w->fail_at = SIZE_MAX;
	w->caller = pthread_self();
	return w;
}

static int count_once(const struct work *w)
{
	int n = 0;

	for (size_t i = 0; i < ITEMS; i++)
		n += w->done[i] == 1;
	return n;
}

static void *open_when_met(void *arg)
{
	gate_wait(arg, 3);
	gate_open(arg);
	return NULL;
}

static void test_each(void)
{
	struct work *w;
	struct gate gate;
	struct pool p;
	pthread_t opener;

	must(pool_init(&p, 4) == 0);
	wait_idle(&p, 4);
	gate_init(&gate);
	w = work_new(&p);
	w->gate = &gate;
	w->n_meet = 3;
	must(pthread_create(&opener, NULL, open_when_met, &gate) == 0);
	ok(pool_each(&p, ITEMS, 3, do_item, w) == 0 && count_once(w) == ITEMS,
		"each does every item once");
	pthread_join(opener, NULL);
	ok(gate.arrived == 3, "on three threads at a time");
	free(w);

	w = work_new(&p);
	ok(pool_each(&p, ITEMS, 1, do_item, w) == 0 && w->strangers == 0 &&
			count_once(w) == ITEMS,
		"one thread is the caller's");
	free(w);
	w = work_new(NULL);
	ok(pool_each(NULL, ITEMS, 8, do_item, w) == 0 && count_once(w) == ITEMS,
		"without a pool the caller does it all");
	free(w);
	w = work_new(&p);
	ok(pool_each(&p, 0, 8, do_item, w) == 0 && count_once(w) == 0,
		"nothing to do is done at once");
	w->fail_at = 100;
	ok(pool_each(&p, ITEMS, 4, do_item, w) == -EDOM,
		"an error is returned");
	ok(count_once(w) < ITEMS - 1 && count_once(w) >= 100,
		"and ends the work: %d items were done", count_once(w));
	free(w);
	pool_fini(&p);
}

struct inner {
	struct job job;
	struct work *w;
	struct gate *gate;
	int rc;
};

static void run_inner(struct job *job)
{
	struct inner *in = (struct inner *)job;

	in->rc = pool_each(in->w->p, ITEMS, 8, do_item, in->w);
	gate_pass(in->gate);
}

static void test_inside(void)
{
	struct inner in[3];
	struct gate gate;
	struct pool p;
	bool held = true;

	must(pool_init(&p, 3) == 0);
	gate_init(&gate);
	for (int i = 0; i < 3; i++) {
		in[i] = (struct inner){{run_inner, NULL}, work_new(&p), &gate,
			1};
		pool_put(&p, &in[i].job);
	}
	gate_wait(&gate, 3);
	gate_open(&gate);
	pool_fini(&p);
	for (int i = 0; i < 3; i++) {
		held &= in[i].rc == 0 && count_once(in[i].w) == ITEMS;
		free(in[i].w);
	}
	ok(held, "each may be called on all threads of the pool at once");
}

/* All threads are busy for as long as each runs: it must not wait for them. */
static void test_busy(void)
{
	struct task busy[2];
	_Atomic int counter = 0;
	struct gate gate;
	struct work *w;
	struct pool p;

	must(pool_init(&p, 2) == 0);
	gate_init(&gate);
	for (int i = 0; i < 2; i++) {
		busy[i] = (struct task){{run_task, NULL}, .gate = &gate,
			.counter = &counter};
		pool_put(&p, &busy[i].job);
	}
	gate_wait(&gate, 2);
	w = work_new(&p);
	ok(pool_each(&p, ITEMS, 3, do_item, w) == 0 && count_once(w) == ITEMS &&
			w->strangers == 0,
		"each goes on alone while all threads are busy");
	free(w);
	gate_open(&gate);
	pool_fini(&p);
	ok(counter == 2, "whose jobs end after it");
}

/* Jobs come while each runs: helpers that were not begun leave the queue. */
static void test_storm(void)
{
	struct task *task = calloc(JOBS, sizeof(*task));
	_Atomic int counter = 0;
	struct pool p;
	bool held = true;

	must(task && pool_init(&p, 3) == 0);
	for (int i = 0; i < JOBS; i++) {
		task[i] = (struct task){{run_task, NULL}, .counter = &counter};
		pool_put(&p, &task[i].job);
		if (i % 100 == 0) {
			struct work *w = work_new(&p);

			held &= pool_each(&p, 40, 3, do_item, w) == 0 &&
				count_once(w) == 40;
			free(w);
		}
	}
	pool_fini(&p);
	ok(held && counter == JOBS, "jobs and items do not disturb each other");
	free(task);
}

int main(void)
{
	plan(16);
	test_jobs();
	test_chain();
	test_each();
	test_inside();
	test_busy();
	test_storm();
	return done();
}
