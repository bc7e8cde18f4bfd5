/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h: time that no one sets: how long, never what o'clock. */
#ifndef VG_CLOCK_H
#define VG_CLOCK_H

#include <pthread.h>

#include "src/vg.h"

/* The monotonic clock, in nanoseconds and in seconds. Any thread. */
int64_t clock_now_ns(void);
double clock_now_s(void);

/* Waits for cond until clock_now_s() is until_s; lock is held. Returns false
 * when that time has come; as any wait it may return before it for nothing. */
bool clock_wait(pthread_cond_t *cond, pthread_mutex_t *lock, double until_s);

#endif
