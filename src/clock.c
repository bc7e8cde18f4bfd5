/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c: see clock.h. */
#include "src/clock.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

int64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

double clock_now_s(void)
{
	return (double)clock_now_ns() * 1e-9;
}

bool clock_wait(pthread_cond_t *cond, pthread_mutex_t *lock, double until_s)
{
	struct timespec until = {.tv_sec = (time_t)until_s};
	int rc;

	assert(until_s >= 0);
	until.tv_nsec = (long)((until_s - (double)until.tv_sec) * 1e9);
	rc = pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &until);
	assert(rc == 0 || rc == ETIMEDOUT);
	return rc == 0;
}
