/* SPDX-License-Identifier: Apache-2.0 */
/* timer: flags are set when their time has come, and not before. */
#include "fs/timer.h"

#include <sched.h>
#include <time.h>

#include "tests/tap.h"

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void tidy(void *ctx)
{
	(void)ctx;
}

/* Waits until *flag is true, ten seconds at most; returns the time it took. */
static int64_t wait_for(const _Atomic bool *flag)
{
	int64_t from = now_ms();

	while (!atomic_load(flag) && now_ms() - from < 10000)
		sched_yield();
	return now_ms() - from;
}

static void test_one(struct timer *t)
{
	_Atomic bool flag = false;
	struct deadline d;
	int64_t took;

	timer_add(t, &d, 20, &flag);
	took = wait_for(&flag);
	ok(atomic_load(&flag), "the flag is set");
	ok(took >= 19, "not before its time: after %d ms", (int)took);
	ok(timer_del(t, &d), "and its owner is told that it was");
}

static void test_early(struct timer *t)
{
	_Atomic bool flag = false, other = false;
	struct deadline d, e;

	timer_add(t, &d, 60000, &flag);
	ok(!timer_del(t, &d), "one that ends before its time is not late");
	timer_add(t, &e, 1, &other);
	wait_for(&other);
	timer_del(t, &e);
	ok(!atomic_load(&flag), "and its flag is left alone");
}

#define MANY 50

static void test_many(struct timer *t)
{
	static _Atomic bool flag[MANY];
	static struct deadline d[MANY];
	int n_set = 0, n_late = 0;

	/* Every second one is far away, so order matters. */
	for (int i = 0; i < MANY; i++)
		timer_add(t, &d[i], i % 2 ? 60000 : (uint32_t)(40 - i / 2),
			&flag[i]);
	for (int i = 0; i < MANY; i += 2)
		wait_for(&flag[i]);
	for (int i = 0; i < MANY; i++) {
		n_set += atomic_load(&flag[i]);
		n_late += timer_del(t, &d[i]);
	}
	ok(n_set == MANY / 2, "of many each has its own time: %d", n_set);
	ok(n_late == n_set, "and each is told");
}

int main(void)
{
	struct timer t;

	plan(8);
	must(timer_init(&t, tidy, NULL) == 0);
	test_one(&t);
	test_early(&t);
	test_many(&t);
	timer_fini(&t);
	ok(!t.list, "it ends while it would wait for a minute");
	return done();
}
