/* SPDX-License-Identifier: Apache-2.0 */
/* timer.h: sets flags when their time has come, and tidies up now and then. */
#ifndef FS_TIMER_H
#define FS_TIMER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One search's deadline, in its own memory. */
struct deadline {
	struct deadline *next; /* timer->lock */
	int64_t at_ns;	       /* monotonic */
	_Atomic bool *flag;    /* set to true at at_ns; relaxed: a hint */
	bool is_passed;	       /* timer->lock: the flag was set for it */
};

struct timer {
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t cond;
	struct deadline *list; /* lock */
	bool is_stopping;      /* lock */
	void (*tidy)(void *ctx); /* called every minute, under no lock */
	void *ctx;
	pthread_t thread;
};

/* Starts the thread. -EAGAIN. */
int timer_init(struct timer *t, void (*tidy)(void *ctx), void *ctx);
void timer_fini(struct timer *t);

/* Sets *flag in timeout_ms unless timer_del comes first; borrows d. */
void timer_add(struct timer *t, struct deadline *d, uint32_t timeout_ms,
	_Atomic bool *flag);

/* Ends the borrowing. Returns whether the time had come. */
bool timer_del(struct timer *t, struct deadline *d);

#endif
