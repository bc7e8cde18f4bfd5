/* SPDX-License-Identifier: Apache-2.0 */
/* recall: which queries are kept, and what an interval is worth. */
#include "src/recall.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "src/config.h"
#include "tests/tap.h"

/* ---- intervals ---- */

static bool is_near(double a, double b)
{
	return fabs(a - b) < 1e-4;
}

/* n queries for k, of which `some` found `few` and the others all. */
static struct recall_estimate of_queries(
	uint32_t n, uint32_t k, uint32_t some, uint32_t few)
{
	struct recall_sum sum = {0};

	for (uint32_t i = 0; i < n; i++)
		recall_add(&sum, i < some ? few : k, k);
	return recall_estimate(&sum);
}

/* Values of Wilson's formula, for draws whose number is known. */
static void test_known(void)
{
	struct recall_estimate e = of_queries(0, 10, 0, 0);

	ok(e.n == 0 && e.low == 0 && e.high == 1, "no query says nothing");
	e = of_queries(77, 10, 0, 0);
	ok(e.n == 77 && e.recall == 1 && is_near(e.low, .99012) && e.high == 1,
		"77 of 77 queries that found all 10: %.5f", e.low);
	ok(of_queries(76, 10, 0, 0).low < .99, "one less does not show .99");
	e = of_queries(1000, 10, 100, 0);
	ok(is_near(e.recall, .9) && fabs(e.low - .8798) < 2e-4 &&
			fabs(e.high - .9171) < 2e-4,
		"answers that are missed together are one draw a query: %.4f "
		"%.4f", e.low, e.high);
	e = of_queries(1000, 10, 1000, 9);
	ok(is_near(e.recall, .9) && is_near(e.low, .893966) &&
			is_near(e.high, .905727),
		"those that are missed one by one are one each: %.4f %.4f",
		e.low, e.high);
	e = of_queries(200, 1, 0, 0);
	ok(is_near(e.low, 200 / (200 + RECALL_Z2)),
		"of queries for one answer each is a draw: %.4f", e.low);
	e = of_queries(100, 10, 100, 0);
	ok(e.recall == 0 && e.low == 0 && e.high < .05,
		"nothing found: %.4f", e.high);
	ok(of_queries(300, 10, 3, 9).low > of_queries(300, 10, 3, 5).low,
		"the more a miss takes along the less is known");
}

static double draw(uint64_t *dice)
{
	*dice ^= *dice << 13;
	*dice ^= *dice >> 7;
	*dice ^= *dice << 17;
	return (double)(*dice >> 11) * 0x1p-53;
}

/* A share `hard` of the queries misses each answer with `miss`, the others
 * none. */
struct world {
	double hard, miss;
	uint32_t n, k;
};

/* How often, of 2,000 times, the interval has the truth, and low is not above
 * it. */
static void cover(const struct world *w, uint64_t *dice, uint32_t *both,
	uint32_t *above)
{
	double truth = 1 - w->hard * w->miss;

	*both = *above = 0;
	for (unsigned round = 0; round < 2000; round++) {
		struct recall_sum sum = {0};
		struct recall_estimate e;

		for (uint32_t i = 0; i < w->n; i++) {
			bool is_hard = draw(dice) < w->hard;
			uint32_t found = w->k;

			for (uint32_t j = 0; is_hard && j < w->k; j++)
				found -= draw(dice) < w->miss;
			recall_add(&sum, found, w->k);
		}
		e = recall_estimate(&sum);
		*both += e.low <= truth && truth <= e.high;
		*above += e.low <= truth;
	}
}

static void test_coverage(void)
{
	static const struct world worlds[] = {
		{1, .1, 100, 10}, {1, .01, 100, 10}, {1, .01, 400, 10},
		{.1, .1, 100, 10}, {.1, .1, 400, 10}, {.05, .2, 200, 10},
		{.3, .3, 100, 10}, {.02, .5, 400, 10}, {.1, .1, 100, 100},
		{.05, .02, 400, 10}, {1, .02, 200, 1}, {.2, .05, 800, 100}};
	uint64_t dice = seed() * 2 + 1;

	for (unsigned i = 0; i < VG_ARRAY_LEN(worlds); i++) {
		const struct world *w = &worlds[i];
		uint32_t both, above;

		cover(w, &dice, &both, &above);
		ok(both >= 1800 && above >= 1840,
			"recall %.4f, %u queries for %u: it is in %.1f %% of the "
			"intervals, low is not above it in %.1f %%",
			1 - w->hard * w->miss, w->n, w->k, both / 20.0,
			above / 20.0);
	}
}

static void test_choice(void)
{
	struct recall_ladder ladder = {.n = 4};
	struct recall_sum *sum = ladder.sum;
	bool is_met = false;

	/* Of 400 queries 80, 20, 1 and none miss one of ten. */
	static const uint32_t bad[] = {80, 20, 1, 0};

	for (unsigned i = 0; i < 4; i++)
		for (uint32_t q = 0; q < 400; q++)
			recall_add(&sum[i], q < bad[i] ? 9 : 10, 10);
	ok(recall_choose(&ladder, .9, &is_met) == 0 && is_met,
		"the first of which low is not below the target is chosen");
	ok(recall_choose(&ladder, .99, &is_met) == 1 && is_met, "the second");
	ok(recall_estimate(&sum[1]).recall < .996 &&
			recall_choose(&ladder, .995, &is_met) == 2 && is_met,
		"not one whose estimate alone is above it");
	ok(recall_choose(&ladder, .999, &is_met) == 3 && !is_met,
		"if none is, the one that missed least, and it is told");
	ladder.n = 1;
	ok(recall_choose(&ladder, .99, &is_met) == 0 && !is_met,
		"a graph that does not find more has what it has");
	ladder.n = 4;
	sum[3] = sum[2];
	ok(recall_choose(&ladder, .999, &is_met) == 2 && !is_met,
		"of equals the first, which costs least");
}

/* ---- samples ---- */

#define DIM 8

static struct recall_query query(unsigned n, float vec[DIM])
{
	for (unsigned i = 0; i < DIM; i++)
		vec[i] = (float)(n * 31 + i);
	return (struct recall_query){
		.vec = vec, .dtype = VG_F32, .dim = DIM, .k = 10};
}

/* Offers queries first..last-1 as searches of these numbers would; how many
 * were wanted. */
static uint32_t offer(
	struct recall *r, unsigned first, unsigned last, uint32_t n_rows)
{
	float vec[DIM];
	uint32_t n = 0;

	for (unsigned i = first; i < last; i++) {
		struct recall_query q = query(i, vec);

		if (!recall_wants(r, i))
			continue;
		recall_offer(r, i, n_rows, &q);
		n++;
	}
	return n;
}

static struct recall_samples count(struct recall *r, unsigned class)
{
	struct recall_samples all[OP_EF_CLASSES];

	recall_count(r, .99, all);
	return all[class];
}

/* The number of the query at place i. */
static unsigned number_at(struct recall *r, uint32_t i)
{
	struct recall_copy copy = {0};
	unsigned n;

	must(recall_get(r, i, &copy) == 0 && copy.query.dim == DIM);
	n = (unsigned)*(const float *)copy.query.vec / 31;
	recall_copy_free(&copy);
	return n;
}

static void test_bounds(void)
{
	struct recall_copy copy = {0};
	unsigned newest = 0, oldest = UINT32_MAX;
	struct recall *r;
	uint32_t wanted;

	must(recall_new(&r) == 0);
	ok(count(r, 0).n == 0 && recall_get(r, 0, &copy) == -2,
		"at first there is no sample");
	ok(offer(r, 0, 60, 100000) == 60 && count(r, 0).n == 60,
		"the first queries are all taken");
	wanted = offer(r, 60, 100000, 100000);
	ok(wanted > 1200 && wanted < 3500,
		"of 100,000 some one in %u is: %u", RECALL_PERIOD, wanted);
	ok(count(r, 0).n == RECALL_SAMPLES && count(r, 0).taken == 60 + wanted,
		"no more than %u are kept", RECALL_SAMPLES);
	for (uint32_t i = 0; i < RECALL_SAMPLES; i++) {
		newest = VG_MAX(newest, number_at(r, i));
		oldest = VG_MIN(oldest, number_at(r, i));
	}
	ok(newest > 99000 && oldest > 10000,
		"the newest took the places of the oldest: %u to %u", oldest,
		newest);
	ok(recall_get(r, RECALL_SAMPLES, &copy) == -2, "that is all");
	recall_free(r);

	must(recall_new(&r) == 0);
	offer(r, 0, 30000, 1000);
	ok(count(r, 0).n == 1000 / RECALL_ROWS_SHARE,
		"beside a thousand rows they are few: %u", count(r, 0).n);
	recall_free(r);
	recall_free(NULL);
}

static void test_kinds(void)
{
	struct recall_copy copy = {0};
	float vec[DIM], *large = calloc(VG_DIM_MAX, sizeof(*large));
	struct recall_query q = query(5, vec);
	uint64_t nth = 0;
	struct recall *r;

	must(recall_new(&r) == 0 && large);
	for (; nth < 500; nth++)
		recall_offer(r, nth, 100000, &q);
	ok(count(r, 0).n == 1, "a query that comes again is one sample");
	q.k = 100;
	recall_offer(r, nth++, 100000, &q);
	q.k = 3;
	q.leave_out = (struct vg_id){"self", 4};
	recall_offer(r, nth++, 100000, &q);
	ok(count(r, 0).n == 2 && count(r, 1).n == 1 && count(r, 2).n == 0 &&
			count(r, 0).k_min == 3 && count(r, 0).k_max == 10 &&
			count(r, 1).k_min == 100,
		"with another k it is another, counted by its class");
	ok(recall_get(r, 2, &copy) == 0 && copy.query.k == 3 &&
			copy.query.leave_out.len == 4 &&
			memcmp(copy.query.leave_out.bytes, "self", 4) == 0 &&
			memcmp(copy.query.vec, vec, sizeof(vec)) == 0,
		"a sample is the query as it was asked");
	for (uint32_t i = 0; i < 200; i++) {
		large[0] = (float)i;
		q = (struct recall_query){.vec = large,
			.dtype = VG_F32,
			.dim = VG_DIM_MAX,
			.k = 10};
		recall_offer(r, nth++, 1u << 30, &q);
	}
	ok(count(r, 0).n == RECALL_SAMPLES_MIN && count(r, 1).n == 0,
		"of another dim all begins anew; of the longest vectors %u are "
		"kept", RECALL_SAMPLES_MIN);
	ok(recall_get(r, 0, &copy) == 0 && copy.query.dim == VG_DIM_MAX,
		"a copy grows with them");
	q = (struct recall_query){
		.vec = "\1\2\3", .dtype = VG_I8, .dim = 3, .k = 10};
	recall_offer(r, nth += 1000, 1u << 30, &q);
	q.dtype = VG_B1;
	q.dim = 24;
	recall_offer(r, nth += 1000, 1u << 30, &q);
	ok(count(r, 0).n == 1 && recall_get(r, 0, &copy) == 0 &&
			copy.query.dtype == VG_B1 && copy.query.dim == 24 &&
			memcmp(copy.query.vec, "\1\2\3", 3) == 0,
		"so it does of another dtype, and they are as long as its rows");
	recall_copy_free(&copy);
	recall_free(r);
	free(large);
}

static void test_needed(void)
{
	struct recall_samples all[OP_EF_CLASSES];
	struct recall *r;

	must(recall_new(&r) == 0);
	recall_count(r, .99, all);
	ok(all[0].needed == 77, "for .99 of ten answers 77 queries are needed");
	recall_count(r, .9, all);
	ok(all[0].needed == RECALL_MIN, "for .9 as many as for anything");
	recall_count(r, .9999, all);
	ok(all[0].needed == RECALL_SAMPLES / 4,
		"and never more than a fourth of what is kept");
	offer(r, 0, 100, 100000);
	recall_count(r, .999, all);
	ok(all[0].needed == RECALL_SAMPLES / 4 && all[0].n > 60,
		"also when there are some");
	recall_free(r);
}

static void test_results(void)
{
	struct recall_result result = {.is_set = true, .ef = 33};
	struct recall *r;

	must(recall_new(&r) == 0);
	ok(!recall_result(r, 1).is_set, "nothing is measured at first");
	recall_put_result(r, 1, &result);
	ok(recall_result(r, 1).ef == 33 && !recall_result(r, 0).is_set,
		"a result is of its class");
	recall_free(r);
}

/* ---- many at once ---- */

static _Atomic bool is_over;

static void *offer_main(void *arg)
{
	static _Atomic uint64_t searches;
	float vec[DIM];

	while (!atomic_load(&is_over)) {
		uint64_t nth = atomic_fetch_add(&searches, 1);
		struct recall_query q = query((unsigned)nth, vec);

		if (recall_wants(arg, nth))
			recall_offer(arg, nth, 100000, &q);
	}
	return NULL;
}

/* Each sample is one query, whoever writes beside it. */
static void test_threads(void)
{
	struct recall_copy copy = {0};
	pthread_t threads[3];
	struct recall *r;
	uint32_t torn = 0;

	must(recall_new(&r) == 0);
	for (unsigned i = 0; i < 3; i++)
		must(pthread_create(&threads[i], NULL, offer_main, r) == 0);
	for (uint32_t i = 0; i < 20000 || count(r, 0).n < 64; i++) {
		const float *v;

		if (recall_get(r, i % 64, &copy) < 0)
			continue;
		v = copy.query.vec;
		for (unsigned j = 1; j < DIM; j++)
			torn += v[j] != v[0] + (float)j && v[0] < 1e6f;
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ok(torn == 0, "copies beside offers are whole");
	recall_copy_free(&copy);
	recall_free(r);
}

int main(void)
{
	plan(8 + 12 + 6 + 8 + 5 + 4 + 2 + 1);
	test_known();
	test_coverage();
	test_choice();
	test_bounds();
	test_kinds();
	test_needed();
	test_results();
	test_threads();
	return done();
}
