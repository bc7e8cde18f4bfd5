/* SPDX-License-Identifier: Apache-2.0 */
/* moment: one pointer swap shows all changes of a group, or none. */
#include "src/moment.h"

#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static void test_life(void)
{
	struct moments ms;
	struct moment *a, *b, *next;

	must(moments_init(&ms) == 0);
	a = moment_get(&ms);
	ok(a->number == 0 && a->seq[0] == 0 && a->seq[VG_SEQS - 1] == 0,
		"the first moment has seen nothing");
	must(moment_new(&ms, &next) == 0);
	next->seq[3] = 7;
	b = moment_get(&ms);
	ok(b == a && b->seq[3] == 0, "what is being made is not seen");
	moment_unref(&ms, b);
	moment_publish(&ms, next);
	b = moment_get(&ms);
	ok(b == next && b->seq[3] == 7 && b->number == 1, "published, it is");
	ok(a->seq[3] == 0, "who holds an older one keeps that");
	must(moment_new(&ms, &next) == 0);
	ok(next != a && next->seq[3] == 7 && next->number == 2,
		"a new one begins as the present");
	moment_unref(&ms, next);
	moment_unref(&ms, NULL);
	ok(moment_get(&ms) == b, "one that is given up changes nothing");
	moment_unref(&ms, b);
	moment_unref(&ms, b);
	moment_unref(&ms, a);
	moments_fini(&ms);
	ok(!ms.now && !ms.free, "in the end all are freed");
}

static void test_recycle(void)
{
	struct moments ms;
	struct moment *next, *held, *seen[4] = {NULL};
	unsigned n = 0, known;

	must(moments_init(&ms) == 0);
	for (unsigned i = 0; i < 1000; i++) {
		must(moment_new(&ms, &next) == 0);
		next->seq[0]++;
		for (known = 0; known < n && seen[known] != next; known++)
			;
		if (known == n && n < 4)
			seen[n++] = next;
		moment_publish(&ms, next);
	}
	ok(n <= 2, "moments that nobody holds are used again: %u for 1,000", n);
	held = moment_ref(ms.now);
	for (unsigned i = 0; i < 10; i++) {
		must(moment_new(&ms, &next) == 0);
		next->seq[0]++;
		moment_publish(&ms, next);
	}
	ok(held->seq[0] == 1000 && ms.now->seq[0] == 1010,
		"one that is held is not");
	moment_unref(&ms, held);
	moments_fini(&ms);
}

static void test_oldest(void)
{
	struct moments ms;
	struct moment *held[3], *next, *oldest;
	bool is_right = true;

	must(moments_init(&ms) == 0);
	for (unsigned i = 0; i < 3; i++) {
		held[i] = moment_get(&ms);
		for (unsigned j = 0; j < 2; j++) {
			must(moment_new(&ms, &next) == 0);
			moment_publish(&ms, next);
		}
	}
	must(moment_new(&ms, &next) == 0);
	/* 0, 2 and 4 are held, 6 is the present. */
	for (unsigned i = 0; i < 4; i++) {
		static const unsigned order[] = {1, 0, 2};
		static const uint64_t oldest_then[] = {0, 0, 4, 6};

		oldest = moment_oldest(&ms);
		is_right = is_right && oldest->number == oldest_then[i];
		moment_unref(&ms, oldest);
		if (i < 3)
			moment_unref(&ms, held[order[i]]);
	}
	ok(is_right, "the oldest is the oldest that is held, or the present");
	moment_publish(&ms, next);
	oldest = moment_oldest(&ms);
	ok(oldest == next, "and not one that was never published");
	moment_unref(&ms, oldest);
	moments_fini(&ms);
}

/* Every moment has the same seq in all partitions: a reader that ever sees two
 * differ saw a group half. */
static _Atomic bool is_over;

struct reader {
	struct moments *ms;
	uint64_t looks, torn, back;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	uint64_t last = 0;

	while (!atomic_load(&is_over)) {
		struct moment *m = moment_get(r->ms);

		for (unsigned p = 1; p < VG_SEQS; p++)
			r->torn += m->seq[p] != m->seq[0];
		r->back += m->seq[0] < last;
		last = m->seq[0];
		r->looks++;
		if (r->looks % 8 == 0) {
			struct moment *oldest = moment_oldest(r->ms);

			r->back += oldest->number > m->number;
			moment_unref(r->ms, oldest);
		}
		moment_unref(r->ms, m);
	}
	return NULL;
}

static void test_readers(void)
{
	struct moments ms;
	struct reader r[3];
	pthread_t threads[3];
	uint64_t torn = 0, back = 0, looks = 0;

	must(moments_init(&ms) == 0);
	for (unsigned i = 0; i < 3; i++) {
		r[i] = (struct reader){.ms = &ms};
		must(pthread_create(&threads[i], NULL, reader_main, &r[i]) ==
			0);
	}
	for (unsigned i = 0; i < 20000; i++) {
		struct moment *next;

		must(moment_new(&ms, &next) == 0);
		for (unsigned p = 0; p < VG_SEQS; p++)
			next->seq[p]++;
		moment_publish(&ms, next);
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		torn += r[i].torn;
		back += r[i].back;
		looks += r[i].looks;
	}
	ok(torn == 0, "no reader sees a group half (%llu looks)",
		(unsigned long long)looks);
	ok(back == 0, "and none goes back in time");
	moments_fini(&ms);
}

int main(void)
{
	plan(13);
	test_life();
	test_recycle();
	test_oldest();
	test_readers();
	return done();
}
