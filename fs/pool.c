/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c: see pool.h. */
#include "fs/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct job *take_locked(struct pool *p)
{
	struct job *job = p->queue;

	if (!job)
		return NULL;
	p->queue = job->next;
	if (!p->queue)
		p->queue_end = &p->queue;
	p->n_queued--;
	return job;
}

static void put_locked(struct pool *p, struct job *job)
{
	job->next = NULL;
	*p->queue_end = job;
	p->queue_end = &job->next;
	p->n_queued++;
	pthread_cond_signal(&p->cond);
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;
	struct job *job;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		job = take_locked(p);
		if (job) {
			pthread_mutex_unlock(&p->lock);
			job->run(job);
			pthread_mutex_lock(&p->lock);
			continue;
		}
		if (p->is_stopping)
			break;
		p->n_idle++;
		pthread_cond_wait(&p->cond, &p->lock);
		p->n_idle--;
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_init(struct pool *p, unsigned n)
{
	int rc = 0;

	assert(n > 0);
	*p = (struct pool){.queue_end = &p->queue};
	p->threads = calloc(n, sizeof(*p->threads));
	if (!p->threads)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		rc = -pthread_create(&p->threads[i], NULL, thread_main, p);
		p->n_threads += rc == 0;
	}
	if (rc < 0)
		pool_fini(p);
	return rc;
}

void pool_fini(struct pool *p)
{
	if (!p->threads)
		return;
	pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	/* Whoever was the last to see the queue empty had no job running that
	 * could put another; the others see it empty after that one. */
	assert(!p->queue);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	*p = (struct pool){0};
}

void pool_put(struct pool *p, struct job *job)
{
	assert(job->run);
	pthread_mutex_lock(&p->lock);
	put_locked(p, job);
	pthread_mutex_unlock(&p->lock);
}

/* ---- each ---- */

/* Stands on the stack of the thread that called pool_each. */
struct each {
	struct pool *p;
	pool_each_fn *fn;
	void *ctx;
	size_t n;
	_Atomic size_t next; /* relaxed: only says who takes which item */
	_Atomic int rc;	     /* relaxed: what fn wrote goes by the lock */
	unsigned n_helpers;  /* lock: queued, or running */
	pthread_cond_t cond; /* n_helpers is 0 */
};

struct helper {
	struct job job; /* first: a helper is found by its job */
	struct each *each;
};

/* Ends: next only grows, and is n at most. */
static void work(struct each *each)
{
	while (atomic_load_explicit(&each->rc, memory_order_relaxed) == 0) {
		size_t item = atomic_fetch_add_explicit(&each->next, 1,
			memory_order_relaxed);
		int none = 0, rc;

		if (item >= each->n)
			break;
		rc = each->fn(each->ctx, item);
		if (rc < 0)
			atomic_compare_exchange_strong_explicit(&each->rc,
				&none, rc, memory_order_relaxed,
				memory_order_relaxed);
	}
}

static void run_helper(struct job *job)
{
	struct each *each = ((struct helper *)job)->each;
	struct pool *p = each->p;

	work(each);
	pthread_mutex_lock(&p->lock);
	each->n_helpers--;
	if (each->n_helpers == 0)
		pthread_cond_signal(&each->cond);
	pthread_mutex_unlock(&p->lock);
}

static void add_helpers(struct each *each, struct helper *helper, size_t max)
{
	struct pool *p = each->p;
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->n_idle > p->n_queued ? p->n_idle - p->n_queued : 0;
	n = VG_MIN(n, VG_MIN(max, (size_t)POOL_EACH_MAX) - 1);
	for (size_t i = 0; i < n; i++) {
		helper[i] = (struct helper){{.run = run_helper}, each};
		put_locked(p, &helper[i].job);
	}
	each->n_helpers = (unsigned)n;
	pthread_mutex_unlock(&p->lock);
}

/* Takes helpers that nobody began out of the queue: another job may have got
 * the thread that was idle, and waiting for that one could be for ever. */
static void drop_helpers_locked(struct each *each)
{
	struct pool *p = each->p;
	struct job **at = &p->queue;

	while (*at) {
		struct job *job = *at;

		if (job->run == run_helper &&
			((struct helper *)job)->each == each) {
			*at = job->next;
			p->n_queued--;
			each->n_helpers--;
		} else {
			at = &job->next;
		}
	}
	p->queue_end = at;
}

int pool_each(struct pool *p, size_t n, unsigned max_threads, pool_each_fn *fn,
	void *ctx)
{
	struct each each = {.p = p, .fn = fn, .ctx = ctx, .n = n};
	struct helper helper[POOL_EACH_MAX - 1];

	if (!p || n <= 1 || max_threads <= 1) {
		work(&each);
		return atomic_load(&each.rc);
	}
	pthread_cond_init(&each.cond, NULL);
	add_helpers(&each, helper, VG_MIN((size_t)max_threads, n));
	work(&each);
	pthread_mutex_lock(&p->lock);
	drop_helpers_locked(&each);
	while (each.n_helpers > 0)
		pthread_cond_wait(&each.cond, &p->lock);
	pthread_mutex_unlock(&p->lock);
	pthread_cond_destroy(&each.cond);
	return atomic_load(&each.rc);
}
