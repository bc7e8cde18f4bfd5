/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h: threads for work that takes long: imports, exports, batches. */
#ifndef FS_POOL_H
#define FS_POOL_H

#include <pthread.h>

#include "src/vg.h"

/*
 * A few threads take jobs from one queue in the order they came. A job is a
 * part of what it works on, so putting one allocates nothing and cannot fail,
 * and the queue has no bound of its own. Jobs may block and may put jobs.
 *
 * Threads inherit the caller's signal mask: call after loop_block_signals.
 */
struct job {
	void (*run)(struct job *job); /* owns job from here on: may free it */
	struct job *next;	      /* the pool's while it is queued */
};

struct pool {
	pthread_mutex_t lock;		/* a leaf */
	pthread_cond_t cond;		/* there is a job, or is_stopping */
	struct job *queue, **queue_end; /* lock */
	unsigned n_queued;		/* lock */
	unsigned n_idle;		/* lock: threads that wait for a job */
	bool is_stopping;		/* lock */
	unsigned n_threads;
	pthread_t *threads;
};

/* Starts n threads, n > 0. -ENOMEM, -EAGAIN: there is no pool. */
int pool_init(struct pool *p, unsigned n);

/* Runs what is queued, and what that puts, then ends the threads. Nobody else
 * uses the pool any more. Harmless twice, and on a zeroed struct. Not from one
 * of its threads. */
void pool_fini(struct pool *p);

/* Queues job, borrowed until its run is called. Any thread. */
void pool_put(struct pool *p, struct job *job);

/* Threads that one pool_each uses, the caller's among them. */
#define POOL_EACH_MAX 64u

/*
 * Calls fn(ctx, 0) to fn(ctx, n - 1), each once, on the calling thread and on
 * up to max_threads - 1 threads of the pool that have nothing to do; returns
 * when all calls have returned. Items are begun in order. After a call that
 * returned below 0 no other is begun; the first such value is returned, else
 * 0. p NULL: on the calling thread alone.
 *
 * Only threads that are idle now take part, and the caller works as they do
 * and waits for nobody but those at an item, so this may be called from a
 * pool's own thread.
 */
typedef int pool_each_fn(void *ctx, size_t item);
int pool_each(struct pool *p, size_t n, unsigned max_threads, pool_each_fn *fn,
	void *ctx);

#endif
