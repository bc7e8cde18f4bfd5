/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c: a scan answers what sorting all rows by a plain oracle answers. */
#include "index/flat.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

#define DIM 37
#define N 1000
#define SHIFT 6 /* chunks of 64 rows: blocks end at their borders */
#define K 25

static _Atomic(char *) chunks[(N >> SHIFT) + 1];
static struct rows rows = {
	.chunk = chunks, .shift = SHIFT, .stride = DIM * sizeof(float)};
static float vec[DIM];

static float *row(uint32_t slot)
{
	return (float *)(uintptr_t)rows_get(&rows, slot);
}

static float draw(void)
{
	return (float)(rand() % 2001 - 1000) / 500;
}

static void make_rows(void)
{
	for (size_t i = 0; i < VG_ARRAY_LEN(chunks); i++) {
		char *chunk = malloc((size_t)rows.stride << SHIFT);

		must(chunk);
		atomic_store(&chunks[i], chunk);
	}
	for (uint32_t i = 0; i < N; i++)
		for (int j = 0; j < DIM; j++)
			row(i)[j] = draw();
	for (int j = 0; j < DIM; j++)
		vec[j] = draw();
	/* Some equal rows, near the query and far from it. */
	for (uint32_t i = 0; i < 40; i++)
		memcpy(row(N - 1 - i), i < 20 ? vec : row(i % 4), rows.stride);
}

/* ---- the oracle: from the definitions, nothing shared with index/ ---- */

struct answer {
	double dist;
	uint32_t slot;
};

static double plain_dist(enum vg_metric metric, const float *a, const float *b)
{
	double ab = 0, aa = 0, bb = 0, l2 = 0;

	for (int i = 0; i < DIM; i++) {
		double x = (double)a[i], y = (double)b[i];

		ab += x * y;
		aa += x * x;
		bb += y * y;
		l2 += (x - y) * (x - y);
	}
	if (metric == VG_L2)
		return sqrt(l2);
	return metric == VG_IP ? -ab : 1 - ab / sqrt(aa) / sqrt(bb);
}

static int compare(const void *a, const void *b)
{
	const struct answer *x = a, *y = b;

	if (fabs(x->dist - y->dist) > 1e-12)
		return x->dist < y->dist ? -1 : 1;
	return (x->slot > y->slot) - (x->slot < y->slot);
}

static bool is_third(void *ctx, uint32_t slot)
{
	(void)ctx;
	return slot % 3 == 0;
}

static uint32_t plain_scan(enum vg_metric metric, bool only_thirds,
	struct answer *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N; i++)
		if (!only_thirds || is_third(NULL, i))
			out[n++] =
				(struct answer){plain_dist(metric, vec, row(i)),
					i};
	qsort(out, n, sizeof(*out), compare);
	return n;
}

/* Whether hits are the oracle's, but for swaps of what is 1e-6 apart. */
static bool agrees(const struct topk *top, const struct answer *want,
	uint32_t n)
{
	if (top->n != VG_MIN(n, top->cap))
		return false;
	for (uint32_t i = 0; i < top->n; i++) {
		double dist = want[i].dist, got = (double)top->hits[i].dist;
		double size = VG_MAX(fabs(dist), 1e-3);

		if (fabs(got - dist) > 1e-6 * size)
			return false;
		if (top->hits[i].slot == want[i].slot)
			continue;
		/* Another id: it must stand as near in the oracle's list. */
		uint32_t j = 0;

		while (j < n && want[j].slot != top->hits[i].slot)
			j++;
		if (j == n || fabs(want[j].dist - dist) > 1e-6 * size)
			return false;
	}
	return true;
}

static void test_metrics(void)
{
	static const char *const names[] = {"", "l2", "cosine", "ip"};
	struct answer want[N];
	struct hit hits[N + 5];
	struct topk top;

	for (int metric = VG_L2; metric <= VG_IP; metric++) {
		struct flat_query q = {.vec = vec,
			.dim = DIM,
			.metric = (enum vg_metric)metric};
		uint32_t n = plain_scan(q.metric, false, want);

		topk_init(&top, hits, K, NULL, NULL);
		must(flat_scan(&q, &rows, 0, N, &top) == 0);
		topk_sort(&top);
		ok(agrees(&top, want, n), "%s: the scan equals the oracle",
			names[metric]);
		topk_init(&top, hits, N + 5, NULL, NULL);
		must(flat_scan(&q, &rows, 0, N, &top) == 0);
		topk_sort(&top);
		ok(agrees(&top, want, n), "%s: k above n gives all, in order",
			names[metric]);
		q.is_visible = is_third;
		n = plain_scan(q.metric, true, want);
		topk_init(&top, hits, K, NULL, NULL);
		must(flat_scan(&q, &rows, 0, N, &top) == 0);
		topk_sort(&top);
		ok(agrees(&top, want, n), "%s: hidden rows cost no answers",
			names[metric]);
	}
}

static bool same_hits(const struct topk *a, const struct topk *b)
{
	return a->n == b->n &&
	       memcmp(a->hits, b->hits, a->n * sizeof(*a->hits)) == 0;
}

static void test_parts(void)
{
	struct flat_query q = {.vec = vec, .dim = DIM, .metric = VG_L2};
	struct hit whole_hits[K], part_hits[K], list_hits[K];
	struct topk whole, part, list;
	uint32_t slots[N];

	topk_init(&whole, whole_hits, K, NULL, NULL);
	must(flat_scan(&q, &rows, 0, N, &whole) == 0);
	topk_sort(&whole);
	topk_init(&part, part_hits, K, NULL, NULL);
	for (uint32_t from = 0; from < N;) {
		uint32_t n = 1 + (uint32_t)rand() % 100;
		uint32_t to = VG_MIN(N, from + n);

		must(flat_scan(&q, &rows, from, to, &part) == 0);
		from = to;
	}
	topk_sort(&part);
	ok(same_hits(&whole, &part), "ranges add up to the whole");
	for (uint32_t i = 0; i < N; i++)
		slots[i] = (i * 389) % N; /* 389 and N have no factor */
	topk_init(&list, list_hits, K, NULL, NULL);
	must(flat_scan_list(&q, &rows, slots, N, &list) == 0);
	topk_sort(&list);
	ok(same_hits(&whole, &list), "a list of slots in disorder does, too");
	topk_init(&part, part_hits, K, NULL, NULL);
	must(flat_scan(&q, &rows, 7, 7, &part) == 0);
	ok(part.n == 0, "an empty range offers nothing");
}

struct tie_log {
	uint32_t n;
	bool is_equal; /* asked about equal distances only */
};

/* Orders equal rows by falling slot, and looks what it is asked. */
static int falling(void *ctx, uint32_t a, uint32_t b)
{
	struct tie_log *log = ctx;

	log->n++;
	log->is_equal = log->is_equal && plain_dist(VG_L2, vec, row(a)) ==
						 plain_dist(VG_L2, vec, row(b));
	return (a < b) - (a > b);
}

static void test_ties(void)
{
	struct flat_query q = {.vec = vec, .dim = DIM, .metric = VG_L2};
	struct tie_log log = {0, true};
	struct hit hits[10];
	struct topk top;
	bool is_falling = true;

	topk_init(&top, hits, 10, falling, &log);
	must(flat_scan(&q, &rows, 0, N, &top) == 0);
	topk_sort(&top);
	for (uint32_t i = 0; i < 10; i++)
		is_falling = is_falling && hits[i].dist == 0 &&
			     hits[i].slot == N - 1 - i;
	ok(is_falling,
		"the tie callback orders equal rows and picks among them");
	ok(log.n > 0 && log.is_equal, "it is asked about equal rows only");
}

static uint32_t n_asked;

static bool count_asked(void *ctx, uint32_t slot)
{
	(void)ctx;
	(void)slot;
	n_asked++;
	return false;
}

static void test_callbacks(void)
{
	_Atomic bool cancel = true;
	struct flat_query q = {.vec = vec,
		.dim = DIM,
		.metric = VG_L2,
		.cancel = &cancel};
	struct hit hits[1];
	struct topk top;
	uint32_t slot = 3;

	topk_init(&top, hits, 1, NULL, NULL);
	ok(flat_scan(&q, &rows, 0, N, &top) == -EINTR &&
			flat_scan_list(&q, &rows, &slot, 1, &top) == -EINTR,
		"a scan that is cancelled says so");
	atomic_store(&cancel, false);
	ok(flat_scan(&q, &rows, 0, N, &top) == 0, "one that is not goes on");
	q.is_visible = count_asked;
	must(flat_scan(&q, &rows, 0, N, &top) == 0);
	ok(n_asked == 0, "visibility is asked only of rows that would enter");
	topk_init(&top, hits, 1, NULL, NULL);
	must(flat_scan(&q, &rows, 0, N, &top) == 0);
	ok(n_asked == N && top.n == 0, "if all are hidden the answer is empty");
	topk_init(&top, hits, 0, NULL, NULL);
	must(flat_scan(&q, &rows, 0, N, &top) == 0);
	topk_sort(&top);
	ok(top.n == 0, "room for none takes none");
}

int main(void)
{
	plan(9 + 3 + 2 + 5);
	srand((unsigned)seed());
	make_rows();
	test_metrics();
	test_parts();
	test_ties();
	test_callbacks();
	for (size_t i = 0; i < VG_ARRAY_LEN(chunks); i++)
		free(atomic_load(&chunks[i]));
	return done();
}
