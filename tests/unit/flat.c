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
static struct rows rows = {.chunk = chunks,
	.shift = SHIFT,
	.stride = DIM * sizeof(float)};
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

/* ---- rows of other forms, and more queries than one ---- */

#define N_FORMS 6
#define N_QUERIES (FLAT_BATCH + 5)

static const enum dist_form forms[N_FORMS] = {DIST_F32, DIST_F16, DIST_I8,
	DIST_B1, DIST_U8, DIST_U4};
static const char *const form_names[N_FORMS] = {"f32", "f16", "i8", "b1", "u8",
	"u4"};

/* The bytes of the rows as a form that has len of them a row, the last element
 * filled. Any byte will do: as halves the few that are no numbers are halved. */
static void make_form(enum dist_form form, struct rows *view, uint32_t *dim)
{
	uint32_t len = DIM * sizeof(float);

	*view = rows;
	*dim = form == DIST_F32 ? DIM :
	       form == DIST_F16 ? len / 2 :
	       form == DIST_U4	? len * 2 - 1 :
	       form == DIST_B1	? len * 8 - 3 :
				  len - 5; /* rows may be longer */
	must(dist_row_len(form, *dim) <= view->stride);
	for (uint32_t i = 0; i < N; i++) {
		uint8_t *bytes = (uint8_t *)row(i);

		if (form == DIST_F32) {
			for (int j = 0; j < DIM; j++)
				row(i)[j] = draw();
			continue;
		}
		for (uint32_t j = 0; j < len; j++)
			bytes[j] = (uint8_t)(rand() >> 7);
		for (uint32_t j = 1; j < len && form == DIST_F16; j += 2)
			bytes[j] &= 0xbf; /* below 2 */
		if (form == DIST_U4)
			bytes[len - 1] &= 15;
		if (form == DIST_B1)
			bytes[len - 1] &= 31;
	}
}

/* By exact distances of all rows, sorted. */
static bool equals_all(const struct flat_query *q, const struct rows *view,
	const struct topk *top)
{
	struct hit all[N];
	struct topk want;
	struct dist_query dq;

	topk_init(&want, all, N, NULL, NULL);
	dist_query_init_form(&dq, q->form, q->metric, q->dim, q->vec);
	for (uint32_t i = 0; i < N; i++)
		topk_put(&want,
			(struct hit){dist_query_exact(&dq, rows_get(view, i)),
				i});
	topk_sort(&want);
	return top->n == top->cap &&
	       memcmp(all, top->hits, top->n * sizeof(*all)) == 0;
}

static void test_forms(void)
{
	struct flat_query q[N_QUERIES];
	struct hit batch_hits[N_QUERIES][K], hits[K];
	struct topk tops[N_QUERIES], top;

	for (int f = 0; f < N_FORMS; f++) {
		bool is_exact = true, is_batched = true;
		enum vg_metric metric = 0;
		struct rows view;
		uint32_t dim;

		make_form(forms[f], &view, &dim);
		for (uint32_t i = 0; i < N_QUERIES; i++) {
			do
				metric = (enum vg_metric)(metric % 5 + 1);
			while (!dist_has(forms[f], metric));
			q[i] = (struct flat_query){.vec = rows_get(&view,
							   i * 9),
				.dim = dim,
				.metric = metric,
				.form = forms[f]};
			topk_init(&tops[i], batch_hits[i], K, NULL, NULL);
		}
		must(flat_scan_batch(q, N_QUERIES, &view, 0, N, tops) == 0);
		for (uint32_t i = 0; i < N_QUERIES; i++) {
			topk_init(&top, hits, K, NULL, NULL);
			must(flat_scan(&q[i], &view, 0, N, &top) == 0);
			topk_sort(&top);
			topk_sort(&tops[i]);
			is_exact = is_exact && equals_all(&q[i], &view, &top);
			is_batched = is_batched && same_hits(&tops[i], &top);
		}
		ok(is_exact,
			"%s: a scan is as if all exact distances were "
			"sorted",
			form_names[f]);
		ok(is_batched, "%s: a batch answers what each query gets alone",
			form_names[f]);
	}
}

static void test_batch(void)
{
	_Atomic bool cancel = true;
	struct flat_query q[2] = {
		{.vec = row(1), .dim = DIM, .metric = VG_L2},
		{.vec = row(2), .dim = DIM, .metric = VG_L2, .ctx = NULL},
	};
	struct hit hits[2][K];
	struct topk tops[2];
	bool is_third_only = true;

	for (int i = 0; i < 2; i++)
		topk_init(&tops[i], hits[i], K, NULL, NULL);
	q[1].is_visible = is_third;
	must(flat_scan_batch(q, 2, &rows, 5, N, tops) == 0);
	for (int i = 0; i < K; i++)
		is_third_only = is_third_only && hits[1][i].slot % 3 == 0;
	ok(is_third_only && tops[0].n == K,
		"each of a batch sees what it may see");
	q[1].cancel = &cancel;
	ok(flat_scan_batch(q, 2, &rows, 5, N, tops) == -EINTR,
		"one that is cancelled cancels its batch");
	ok(flat_scan_batch(q, 0, &rows, 0, N, tops) == 0,
		"no queries are answered at once");
}

int main(void)
{
	plan(9 + 3 + 2 + 5 + 2 * N_FORMS + 3);
	srand((unsigned)seed());
	make_rows();
	test_metrics();
	test_parts();
	test_ties();
	test_callbacks();
	test_batch();
	test_forms();
	for (size_t i = 0; i < VG_ARRAY_LEN(chunks); i++)
		free(atomic_load(&chunks[i]));
	return done();
}
