/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hnsw_dtype.c: graphs and scans over rows of each dtype, by each metric that it
 * has, against a scan in double precision that shares nothing with index/.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/flat.h"
#include "tests/graphkit.h"
#include "tests/tap.h"

#define K 10u
#define EF 128u

/* Rows, and what each element of them is. */
struct field {
	enum vg_dtype dtype;
	uint32_t n, dim, stride;
	_Atomic(char *) chunk;
	struct rows rows;
	double *values; /* n * dim */
	/* Which rows are not asked for. */
	bool *gone;
	uint32_t n_left;
};

/* The value of a half by the words of IEEE 754 alone. */
static double half_value(unsigned half)
{
	int exponent = half >> 10 & 31;
	double fraction = (half & 1023) / 1024.;
	double value = exponent ? ldexp(1 + fraction, exponent - 15) :
				  ldexp(fraction, -14);

	return half >> 15 ? -value : value;
}

/* A random element as its dtype has it, into row; its value. */
static double draw(enum vg_dtype dtype, char *row, uint32_t i, double center)
{
	float x = (float)(center + (rand() % 2001 - 1000) / 1500.);
	uint16_t half;
	int8_t byte;

	switch (dtype) {
	case VG_F32:
		memcpy(row + 4 * i, &x, 4);
		return (double)x;
	case VG_F16: /* any half of this exponent and those below */
		half = (uint16_t)(rand() % 0x4000 | (x < 0 ? 0x8000 : 0));
		half = (uint16_t)((half & 0x8000) | (half & 0x3ff) |
				  (0x3000 + (half & 0xc00)));
		memcpy(row + 2 * i, &half, 2);
		return half_value(half);
	case VG_I8:
		byte = (int8_t)(x * 70);
		memcpy(row + i, &byte, 1);
		return byte;
	default:
		if (rand() % 1000 / 500. - 1 > center)
			return 0;
		row[i / 8] = (char)(row[i / 8] | 1 << i % 8);
		return 1;
	}
}

static void field_init(struct field *f, enum vg_dtype dtype, uint32_t n,
	uint32_t dim)
{
	double centers[20];
	char *bytes;

	memset(f, 0, sizeof(*f));
	f->dtype = dtype;
	f->n = n;
	f->dim = dim;
	f->stride = (uint32_t)vg_row_len(dtype, dim);
	bytes = calloc(n, f->stride);
	f->values = calloc((size_t)n * dim, sizeof(*f->values));
	f->gone = calloc(n, sizeof(*f->gone));
	f->n_left = n;
	must(bytes && f->values && f->gone);
	for (uint32_t i = 0; i < 20; i++)
		centers[i] = (rand() % 2001 - 1000) / 1200.;
	for (uint32_t r = 0; r < n; r++)
		for (uint32_t i = 0; i < dim; i++)
			f->values[(size_t)r * dim + i] =
				draw(dtype, bytes + (size_t)r * f->stride, i,
					centers[(r % 5 + i) % 20]);
	atomic_init(&f->chunk, bytes);
	f->rows = (struct rows){.chunk = &f->chunk,
		.shift = 31,
		.stride = f->stride};
}

static void field_fini(struct field *f)
{
	free(atomic_load(&f->chunk));
	free(f->values);
	free(f->gone);
}

static double distance(enum vg_metric metric, const double *a, const double *b,
	uint32_t dim)
{
	double l2 = 0, l1 = 0, dot = 0, aa = 0, bb = 0;

	for (uint32_t i = 0; i < dim; i++) {
		l2 += (a[i] - b[i]) * (a[i] - b[i]);
		l1 += fabs(a[i] - b[i]); /* of bits: those that differ */
		dot += a[i] * b[i];
		aa += a[i] * a[i];
		bb += b[i] * b[i];
	}
	switch (metric) {
	case VG_L2:
		return sqrt(l2);
	case VG_COSINE:
		return 1 - dot / sqrt(aa * bb);
	case VG_IP:
		return -dot;
	default:
		return l1;
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Distances of row q to all, ascending in sorted[n], by slot in all[n]. */
static void oracle(const struct field *f, enum vg_metric metric, uint32_t q,
	double *all, double *sorted)
{
	const double *vec = f->values + (size_t)q * f->dim;

	for (uint32_t i = 0; i < f->n; i++)
		all[i] = f->gone[i] ? INFINITY
				    : distance(metric, vec,
					      f->values + (size_t)i * f->dim,
					      f->dim);
	memcpy(sorted, all, f->n * sizeof(*all));
	qsort(sorted, f->n, sizeof(*sorted), by_value);
}

static bool is_close(double got, double want)
{
	return fabs(got - want) <= 1e-6 + 2e-6 * fabs(want);
}

/* Whether hits are in order and each is as far as it is said to be. */
static bool is_exact(const struct hit *hits, uint32_t n, const double *all)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!is_close((double)hits[i].dist, all[hits[i].slot]))
			return false;
		if (i > 0 && (hits[i - 1].dist > hits[i].dist ||
				     (hits[i - 1].dist == hits[i].dist &&
					     hits[i - 1].slot >= hits[i].slot)))
			return false;
	}
	return true;
}

static struct hnsw_config config_of(const struct field *f,
	enum vg_metric metric)
{
	return (struct hnsw_config){.dim = f->dim,
		.metric = metric,
		.m = 12,
		.ef_construction = 100,
		.seed = 7,
		.dtype = f->dtype};
}

static struct hnsw *graph_new(const struct field *f, enum vg_metric metric,
	struct hnsw_scratch *s)
{
	struct hnsw_config config = config_of(f, metric);
	struct hnsw *h;

	must(hnsw_new(&config, &f->rows, &h) == 0);
	for (uint32_t i = 0; i < f->n; i++)
		must(hnsw_put(h, i, s) == 0);
	return h;
}

/* Takes out what it says of a slot's hash, of 1 << 32. */
static void leave(struct field *f, uint64_t part)
{
	f->n_left = 0;
	for (uint32_t i = 0; i < f->n; i++) {
		f->gone[i] = (uint64_t)(i * 2654435761u) < part;
		f->n_left += !f->gone[i];
	}
}

static bool is_left(void *ctx, uint32_t slot)
{
	return !((const struct field *)ctx)->gone[slot];
}

/* How a graph is asked: all that is in it, or among what is left only, from one
 * to the next or each by itself. */
enum how { ALL, AMONG, SCAN };

static int search(const struct hnsw *h, const struct hnsw_query *q,
	enum how how, struct hnsw_scratch *s, struct hit *hits, uint32_t *n)
{
	return how == SCAN ? hnsw_scan(h, q, s, hits, n)
			   : hnsw_search(h, q, s, hits, n);
}

/* What all queries came to. */
struct result {
	bool is_exact; /* distances and order of both */
	bool is_scan;  /* the scan has the k nearest */
	double recall; /* of the graph, by distance */
};

static struct result ask_how(struct field *f, const struct hnsw *h,
	enum vg_metric metric, enum how how, struct hnsw_scratch *s)
{
	uint64_t *bits = calloc(f->n / 64 + 1, sizeof(*bits));
	uint32_t *slots = malloc(f->n * sizeof(*slots));
	struct among among = {bits, f->n, slots, 0};
	struct hit *hits = malloc((f->n + EF) * sizeof(*hits)), top_hits[K];
	double *all = malloc(2 * f->n * sizeof(*all)), *sorted = all + f->n;
	struct result r = {true, true, 0};
	uint32_t right = 0, n_queries = VG_MIN(60u, f->n);
	uint32_t k = VG_MIN(K, f->n_left);

	must(hits && all && bits && slots);
	for (uint32_t i = 0; i < f->n; i++) {
		if (f->gone[i])
			continue;
		bits[i / 64] |= 1ull << i % 64;
		slots[among.n++] = i;
	}
	for (uint32_t q = 0; q < n_queries; q++) {
		const void *vec = rows_get(&f->rows, q * (f->n / n_queries));
		struct hnsw_query hq = {.vec = vec, .k = k, .ef = EF};

		if (how != ALL) {
			hq.is_visible = is_left;
			hq.ctx = f;
			hq.among = &among;
		}
		struct flat_query fq = {.vec = vec,
			.dim = f->dim,
			.metric = metric,
			.form = (enum dist_form)f->dtype,
			.is_visible = is_left,
			.ctx = f};
		struct topk top;
		uint32_t n;

		oracle(f, metric, q * (f->n / n_queries), all, sorted);
		topk_init(&top, top_hits, k, NULL, NULL);
		must(flat_scan(&fq, &f->rows, 0, f->n, &top) == 0);
		topk_sort(&top);
		r.is_exact &= is_exact(top_hits, top.n, all);
		r.is_scan &= top.n == k;
		for (uint32_t i = 0; i < top.n; i++)
			r.is_scan &=
				is_close((double)top_hits[i].dist, sorted[i]);
		must(search(h, &hq, how, s, hits, &n) == 0);
		r.is_exact &= is_exact(hits, n, all) && n >= k;
		for (uint32_t i = 0; i < k && i < n; i++)
			right += (double)hits[i].dist <= sorted[k - 1] ||
				 is_close((double)hits[i].dist, sorted[k - 1]);
	}
	r.recall = right / (double)(n_queries * k);
	free(hits);
	free(all);
	free(bits);
	free(slots);
	return r;
}

static struct result ask(struct field *f, const struct hnsw *h,
	enum vg_metric metric, struct hnsw_scratch *s)
{
	return ask_how(f, h, metric, ALL, s);
}

/* Saves h and loads it again; NULL: refused. */
static struct hnsw *reload(const struct field *f, struct hnsw *h,
	const struct hnsw_config *config)
{
	struct stream stream = {0};
	struct hnsw *back = NULL;
	const char *why;

	must(hnsw_save_base(h, gk_sink(&stream)) == 0 &&
		hnsw_save_rest(h, gk_sink(&stream)) == 0);
	hnsw_load_base(config, &f->rows, f->n, gk_source(&stream), &why, &back);
	free(stream.bytes);
	return back;
}

static const char *const dtype_names[] = {"", "f32", "f16", "i8", "b1"};
static const char *const metric_names[] = {"", "l2", "cosine", "ip", "l1",
	"hamming"};

/* Among few of the rows; and without a third of them, which leave. */
static void test_some(struct field *f, enum vg_metric metric,
	const char *name, struct hnsw_scratch *s)
{
	struct hnsw_config config = config_of(f, metric);
	const char *dtype = dtype_names[f->dtype];
	struct result walked, scanned, r;
	struct hnsw_stat st;
	struct hnsw *h;

	must(hnsw_new(&config, &f->rows, &h) == 0);
	hnsw_train_on(h, f->n);
	for (uint32_t i = 0; i < f->n; i++)
		must(hnsw_put(h, i, s) == 0);
	hnsw_stat(h, &st);
	ok(st.has_quant == hnsw_can_code(f->dtype, metric) && gk_is_valid(h),
		"%s %s: codes are chosen of rows that are not linked yet",
		dtype, name);
	leave(f, 7ull << 29);
	walked = ask_how(f, h, metric, AMONG, s);
	scanned = ask_how(f, h, metric, SCAN, s);
	ok(walked.is_exact && scanned.is_exact &&
			walked.recall >= (metric == VG_IP ? 0.9 : 0.97) &&
			scanned.recall >= 0.99,
		"%s %s: among an eighth of them the nearest are found (%.3f, "
		"each looked at %.3f)", dtype, name, walked.recall,
		scanned.recall);
	leave(f, 0x55555555);
	for (uint32_t i = 0; i < f->n; i++)
		if (f->gone[i])
			must(hnsw_delete(h, i) == 0);
	must(hnsw_repair(h, 0, f->n / 2, s) == 0 && hnsw_purge(h, s) == 0);
	r = ask(f, h, metric, s);
	ok(gk_is_valid(h) && hnsw_count(h) == f->n_left && r.is_exact &&
			r.recall >= (metric == VG_IP ? 0.93 : 0.97),
		"%s %s: a third leaves, the others are found (%.3f)", dtype,
		name, r.recall);
	leave(f, 0);
	hnsw_free(h);
}

static void test_pair(struct field *f, enum vg_metric metric,
	struct hnsw_scratch *s)
{
	struct hnsw *h = graph_new(f, metric, s), *back;
	struct hnsw_config config = config_of(f, metric);
	struct result r = ask(f, h, metric, s);
	const char *dtype = dtype_names[f->dtype];
	const char *name = metric_names[metric];
	struct hnsw_stat st;

	ok(r.is_scan && r.is_exact, "%s %s: scans are exact", dtype, name);
	/* Under ip long rows are near to all, and few links lead to the others. */
	ok(r.recall >= (metric == VG_IP ? 0.93 : 0.97),
		"%s %s: a graph finds the nearest (%.3f)", dtype, name,
		r.recall);
	hnsw_stat(h, &st);
	ok(gk_is_valid(h) && st.linked == f->n &&
			st.has_quant == hnsw_can_code(f->dtype, metric),
		"%s %s: its invariants hold, with codes where there are any",
		dtype, name);
	back = reload(f, h, &config);
	ok(back && gk_is_valid(back) && gk_is_same(h, back, f->n),
		"%s %s: it is saved and loaded", dtype, name);
	hnsw_free(back);
	hnsw_free(h);
}

static void test_dtype(enum vg_dtype dtype, struct hnsw_scratch *s)
{
	struct field f;

	field_init(&f, dtype, 2500, dtype == VG_B1 ? 200 : 25);
	for (int metric = VG_L2; metric <= VG_HAMMING; metric++)
		if (vg_has(dtype, (enum vg_metric)metric)) {
			test_pair(&f, (enum vg_metric)metric, s);
			test_some(&f, (enum vg_metric)metric,
				metric_names[metric], s);
		}
	field_fini(&f);
}

/* Rows of equal bytes under one dtype are none of another's. */
static void test_settings(struct hnsw_scratch *s)
{
	struct hnsw_config config;
	struct field f;
	struct hnsw *h;

	field_init(&f, VG_I8, 100, 16);
	h = graph_new(&f, VG_L2, s);
	config = config_of(&f, VG_L1);
	ok(!reload(&f, h, &config), "a graph of another metric is refused");
	hnsw_free(h);
	config = config_of(&f, VG_HAMMING);
	ok(hnsw_new(&config, &f.rows, &h) < 0,
		"bytes have no hamming distance");
	field_fini(&f);

	field_init(&f, VG_F32, 100, 16);
	h = graph_new(&f, VG_IP, s);
	config = config_of(&f, VG_IP);
	f.rows.stride = 32; /* only for the config's sake: no row is read */
	config.dtype = VG_F16;
	ok(!reload(&f, h, &config), "so is one of another dtype");
	hnsw_free(h);
	field_fini(&f);
}

/* The longest rows there are, of the extremes. */
static void test_extremes(struct hnsw_scratch *s)
{
	static const enum vg_metric metrics[] = {VG_L2, VG_COSINE, VG_IP,
		VG_L1};
	struct field f;
	struct hnsw *h;
	char *bytes;
	bool holds = true;

	field_init(&f, VG_I8, 12, VG_DIM_MAX);
	bytes = atomic_load(&f.chunk);
	for (uint32_t r = 0; r < f.n; r++)
		for (uint32_t i = 0; i < f.dim; i++) {
			int8_t x = r % 4 == 0 ? -128 :
				   r % 4 == 1 ? 127 :
				   r % 4 == 2 ? (int8_t)(i % 2 ? 127 : -128) :
						(int8_t)(1 + (int)(r % 100));

			bytes[(size_t)r * f.stride + i] = (char)x;
			f.values[(size_t)r * f.dim + i] = x;
		}
	for (size_t m = 0; m < VG_ARRAY_LEN(metrics); m++) {
		struct result r;

		h = graph_new(&f, metrics[m], s);
		r = ask(&f, h, metrics[m], s);
		holds &= r.is_exact && r.is_scan && r.recall == 1;
		hnsw_free(h);
	}
	ok(holds, "the sums of 65,535 extreme bytes are right");
	field_fini(&f);

	field_init(&f, VG_B1, 30, 65528);
	h = graph_new(&f, VG_HAMMING, s);
	struct result r = ask(&f, h, VG_HAMMING, s);
	ok(r.is_exact && r.is_scan && r.recall == 1, "so are those of bits");
	hnsw_free(h);
	field_fini(&f);
}

/* Many rows are equally far, and some are equal. */
static void test_ties(struct hnsw_scratch *s)
{
	struct field f;
	struct result r;
	struct hnsw *h;

	field_init(&f, VG_B1, 3000, 16);
	h = graph_new(&f, VG_HAMMING, s);
	r = ask(&f, h, VG_HAMMING, s);
	ok(r.is_exact && r.is_scan && r.recall >= 0.97 && gk_is_valid(h),
		"3,000 rows of 16 bits, most of them there twice (%.3f)",
		r.recall);
	hnsw_free(h);
	field_fini(&f);
}

int main(void)
{
	struct hnsw_scratch *s;

	srand((unsigned)seed());
	must(hnsw_scratch_new(&s) == 0);
	plan(13 * 7 + 6);
	for (int dtype = VG_F32; dtype <= VG_B1; dtype++)
		test_dtype((enum vg_dtype)dtype, s);
	test_settings(s);
	test_extremes(s);
	test_ties(s);
	hnsw_scratch_free(s);
	return done();
}
