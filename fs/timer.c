/* SPDX-License-Identifier: Apache-2.0 */
/* timer.c: see timer.h. */
#include "fs/timer.h"

#include <assert.h>

#include "src/clock.h"

#define TIDY_NS (60 * 1000000000LL)

/* Sets the flags that are due; returns when the next one is. */
static int64_t run_due_locked(struct timer *t, int64_t at, int64_t next)
{
	for (struct deadline *d = t->list; d; d = d->next) {
		if (d->is_passed)
			continue;
		if (d->at_ns <= at) {
			d->is_passed = true;
			atomic_store_explicit(
				d->flag, true, memory_order_relaxed);
		} else if (d->at_ns < next) {
			next = d->at_ns;
		}
	}
	return next;
}

static void *timer_main(void *arg)
{
	struct timer *t = arg;
	int64_t tidy_at = clock_now_ns() + TIDY_NS;

	pthread_mutex_lock(&t->lock);
	while (!t->is_stopping) {
		int64_t next = run_due_locked(t, clock_now_ns(), tidy_at);

		if (clock_now_ns() >= tidy_at) {
			pthread_mutex_unlock(&t->lock);
			t->tidy(t->ctx);
			pthread_mutex_lock(&t->lock);
			tidy_at = clock_now_ns() + TIDY_NS;
			continue;
		}
		clock_wait(&t->cond, &t->lock, (double)next * 1e-9);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int timer_init(struct timer *t, void (*tidy)(void *ctx), void *ctx)
{
	*t = (struct timer){.tidy = tidy, .ctx = ctx};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->cond, NULL);
	return -pthread_create(&t->thread, NULL, timer_main, t);
}

void timer_fini(struct timer *t)
{
	pthread_mutex_lock(&t->lock);
	assert(!t->list);
	t->is_stopping = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->cond);
	pthread_mutex_destroy(&t->lock);
}

void timer_add(struct timer *t, struct deadline *d, uint32_t timeout_ms,
	_Atomic bool *flag)
{
	*d = (struct deadline){
		.at_ns = clock_now_ns() + (int64_t)timeout_ms * 1000000, .flag = flag};
	pthread_mutex_lock(&t->lock);
	d->next = t->list;
	t->list = d;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

bool timer_del(struct timer *t, struct deadline *d)
{
	struct deadline **link = &t->list;
	bool is_passed;

	pthread_mutex_lock(&t->lock);
	while (*link != d)
		link = &(*link)->next;
	*link = d->next;
	is_passed = d->is_passed;
	pthread_mutex_unlock(&t->lock);
	return is_passed;
}
