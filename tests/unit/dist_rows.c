/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist_rows.c: distances of every form are what their definition says, sums of
 * many rows those of each, and no row that is near is passed by.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "index/dist_half.h"
#include "tests/distkit.h"
#include "tests/tap.h"

#define N DIST_SIFT_MAX
#define ROW_MAX (4 * 1000 + 64)

static const enum dist_form forms[] = {DIST_F32, DIST_F16, DIST_I8, DIST_B1,
	DIST_U8, DIST_U4};
static const uint32_t dims[] = {1, 2, 7, 33, 100, 128, 255, 517, 1000};
static const char *const metrics[] = {"", "l2", "cosine", "ip", "l1",
	"hamming"};

/* A query, and rows behind it. */
static _Alignas(64) uint8_t space[(N + 1) * ROW_MAX];

/* Plain numbers, and near each other; of floats also denormal, so great that
 * sums overflow, and of all sizes. */
enum kind { PLAIN, NEAR, DENORMAL, LARGE, MIXED, N_KINDS };

static float draw_float(enum kind kind)
{
	float x = distkit_uniform();

	switch (kind) {
	case DENORMAL:
		return x * FLT_MIN * 0x1p-10f;
	case LARGE:
		return x * FLT_MAX;
	case MIXED:
		return ldexpf(x, (int)(distkit_next() % 250) - 125);
	case NEAR:
		return 1 + x * 0x1p-16f;
	default:
		return x;
	}
}

static bool is_float(enum dist_form form)
{
	return form == DIST_F32 || form == DIST_F16;
}

static void draw_row(uint8_t *row, enum dist_form form, uint32_t dim,
	enum kind kind)
{
	uint32_t len = dist_row_len(form, dim);

	memset(row, 0xff, len + 1); /* no number behind a row */
	for (uint32_t i = 0; i < dim && is_float(form); i++) {
		float x = draw_float(kind);
		uint16_t h = dist_half_encode(
			kind == LARGE ? x * 0x1p-112f : x * 100);

		if ((h & 0x7c00) == 0x7c00) /* finite */
			h &= 0x83ff;
		if (form == DIST_F32)
			memcpy(row + 4 * i, &x, sizeof(x));
		else
			memcpy(row + 2 * i, &h, sizeof(h));
	}
	for (uint32_t i = 0; i < len && !is_float(form); i++)
		row[i] = kind == NEAR ? 3 : (uint8_t)distkit_next();
	if (form == DIST_U4 && dim % 2)
		row[len - 1] &= 15;
	if (form == DIST_B1 && dim % 8)
		row[len - 1] &= (uint8_t)((1 << dim % 8) - 1);
}

/* ---- the oracle: element by element ---- */

static double element(const uint8_t *row, enum dist_form form, uint32_t i)
{
	uint16_t h;
	float f;

	switch (form) {
	case DIST_F32:
		memcpy(&f, row + 4 * i, sizeof(f));
		return (double)f;
	case DIST_F16:
		memcpy(&h, row + 2 * i, sizeof(h));
		return (double)dist_half_decode(h);
	case DIST_I8:
		return (int8_t)row[i];
	case DIST_U8:
		return row[i];
	case DIST_U4:
		return i % 2 ? row[i / 2] >> 4 : row[i / 2] & 15;
	default:
		return row[i / 8] >> i % 8 & 1;
	}
}

struct sums {
	double l2sq, dot, l1, aa, bb, terms; /* terms: of the product */
};

static struct sums sum(const uint8_t *a, const uint8_t *b, enum dist_form form,
	uint32_t dim)
{
	struct sums s = {0};

	for (uint32_t i = 0; i < dim; i++) {
		double x = element(a, form, i), y = element(b, form, i);

		s.l2sq += (x - y) * (x - y);
		s.l1 += fabs(x - y);
		s.dot += x * y;
		s.terms += fabs(x * y);
		s.aa += x * x;
		s.bb += y * y;
	}
	return s;
}

/* Whether dist is what the definition says, to a few roundings. */
static bool is_defined(float dist, const struct sums *s, enum vg_metric metric)
{
	double want, size;

	switch (metric) {
	case VG_L2:
		want = size = sqrt(s->l2sq);
		break;
	case VG_COSINE:
		want = s->aa > 0 && s->bb > 0 ?
			       1 - s->dot / sqrt(s->aa) / sqrt(s->bb) :
			       1;
		size = 1;
		break;
	case VG_IP:
		want = -s->dot;
		size = s->terms;
		break;
	default:
		want = size = s->l1;
	}
	if (fabs(want) > (double)FLT_MAX)
		return fabsf(dist) >= FLT_MAX * 0.999f;
	return fabs((double)dist - want) <= 1e-7 * size + 0x1p-149;
}

/* ---- what is tested: one metric of one form, a query and its rows ---- */

struct table {
	enum dist_form form;
	enum vg_metric metric;
	struct dist_query q;
	struct dist_rows rows;
	float exact[N];
};

static const uint8_t *row_of(const struct table *t, uint32_t i)
{
	return (const uint8_t *)t->rows.first + i * t->rows.stride;
}

/* Rows stand at their length, or some elements apart. */
static void make(struct table *t, uint32_t dim, enum kind kind, uint32_t n)
{
	uint32_t size = t->form == DIST_F32 ? 4 : t->form == DIST_F16 ? 2 : 1;
	size_t stride = dist_row_len(t->form, dim) + distkit_next() % 3 * size;
	uint8_t *at = space + size * (distkit_next() % 4);

	for (uint32_t i = 0; i <= n; i++)
		draw_row(at + i * stride, t->form, dim, kind);
	/* Some are as near, or as far, as can be. */
	if (n > 20) {
		memcpy(at + 9 * stride, at, dist_row_len(t->form, dim));
		memset(at + 15 * stride, 0, dist_row_len(t->form, dim));
	}
	t->rows = (struct dist_rows){at + stride, stride, n, dim};
	dist_query_init_form(&t->q, t->form, t->metric, dim, at);
	for (uint32_t i = 0; i < n; i++)
		t->exact[i] = dist_query_exact(&t->q, row_of(t, i));
}

typedef bool (*table_check)(const struct table *t);

static bool exact_is_defined(const struct table *t)
{
	for (uint32_t i = 0; i < t->rows.n; i++) {
		struct sums s =
			sum(t->q.vec, row_of(t, i), t->form, t->rows.dim);

		if (!is_defined(t->exact[i], &s, t->metric))
			return false;
	}
	return true;
}

/* The sums behind low are those of each row alone, whatever n is. */
static bool rows_are_each(const struct table *t)
{
	float low[N + 1], one[1];

	for (uint32_t n = 1; n <= t->rows.n; n = n < 5 ? n + 1 : n * 5) {
		struct dist_rows some = t->rows;

		some.n = n;
		low[n] = 12345;
		dist_query_sift(&t->q, &some, low);
		if (low[n] != 12345)
			return false;
		for (uint32_t i = 0; i < n; i++) {
			some.first = row_of(t, i);
			some.n = 1;
			dist_query_sift(&t->q, &some, one);
			if (low[i] != one[0] &&
				!(isnan(low[i]) && isnan(one[0])))
				return false;
		}
	}
	return true;
}

/* No row is passed by whose distance is at most that of another, or one step
 * of a float beside it. */
static bool none_is_lost(const struct table *t)
{
	float low[N];

	dist_query_sift(&t->q, &t->rows, low);
	for (uint32_t i = 1; i < t->rows.n; i += 7) /* 15 is one of zeros */
		for (int step = -1; step <= 1; step++) {
			float dist = t->exact[i];
			float at = step == 0 ? dist :
					       nextafterf(dist,
						       (float)step * INFINITY);
			float limit;

			if (fabsf(at) > FLT_MAX)
				continue;
			limit = dist_query_limit(&t->q, at);
			for (uint32_t j = 0; j < t->rows.n; j++)
				if (t->exact[j] <= at && low[j] > limit)
					return false;
		}
	return true;
}

/* Of plain rows, all but a few that are no nearer than the tenth are. */
static bool far_ones_are(const struct table *t)
{
	float low[N], limit;
	uint32_t n_near = 0, n_left = 0;
	float tenth = t->exact[10];

	dist_query_sift(&t->q, &t->rows, low);
	limit = dist_query_limit(&t->q, tenth);
	for (uint32_t i = 0; i < t->rows.n; i++) {
		n_near += t->exact[i] <= tenth;
		n_left += !(low[i] > limit);
	}
	return n_left <= n_near + t->rows.n / 16;
}

static bool form_holds(enum dist_form form, table_check check, int n_kinds,
	bool is_plain)
{
	static struct table t;

	for (int m = VG_L2; m <= VG_HAMMING; m++)
		for (size_t d = 0; d < VG_ARRAY_LEN(dims); d++)
			for (int kind = 0; kind < n_kinds; kind++) {
				t.form = form;
				t.metric = (enum vg_metric)m;
				if (!dist_has(form, t.metric) ||
					(kind > NEAR && !is_float(form)) ||
					(is_plain && dims[d] < 64))
					continue;
				make(&t, dims[d], (enum kind)kind,
					kind == PLAIN ? N : 40);
				if (check(&t))
					continue;
				diag("form=%d %s dim=%u kind=%d", form,
					metrics[m], dims[d], kind);
				return false;
			}
	return true;
}

static bool all_hold(table_check check, int n_kinds, bool is_plain)
{
	bool holds = true;

	for (size_t f = 0; f < VG_ARRAY_LEN(forms); f++)
		holds &= form_holds(forms[f], check, n_kinds, is_plain);
	return holds;
}

/* Zeros that end where memory does. */
static char *end_of_memory(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 9 * page, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED && mprotect(p + 8 * page, page, PROT_NONE) == 0);
	return p + 8 * page;
}

/* Dies if anything behind a row is read, be it not used. */
static bool ends_are_kept(void)
{
	static char *ends[2];
	struct dist_query q;
	float low[7], sum = 0;

	for (int i = 0; i < 2 && !ends[1]; i++)
		ends[i] = end_of_memory();
	for (size_t f = 0; f < VG_ARRAY_LEN(forms); f++)
		for (int m = VG_L2; m <= VG_HAMMING; m++)
			for (uint32_t dim = 1; dim < 300; dim++) {
				uint32_t len = dist_row_len(forms[f], dim);
				struct dist_rows r = {ends[1] - 7 * len, len, 7,
					dim};

				if (!dist_has(forms[f], (enum vg_metric)m))
					continue;
				dist_query_init_form(&q, forms[f],
					(enum vg_metric)m, dim, ends[0] - len);
				sum += dist_query_exact(&q, ends[1] - len);
				dist_query_sift(&q, &r, low);
			}
	return sum >= 0;
}

static void test_kernels(const char *name)
{
	if (!distkit_force(name)) {
		skip(5, "this processor lacks them");
		return;
	}
	ok(all_hold(exact_is_defined, N_KINDS, false),
		"%s: each form's distances are as defined", name);
	ok(all_hold(rows_are_each, N_KINDS, false),
		"%s: many rows at once give what each gives", name);
	ok(all_hold(none_is_lost, N_KINDS, false),
		"%s: no row that is near is passed by", name);
	ok(ends_are_kept(), "%s: nothing behind a row is read", name);
	ok(all_hold(far_ones_are, PLAIN + 1, true),
		"%s: rows that are far are passed by", name);
}

static void test_forms(void)
{
	unsigned n = 0;

	for (int form = -1; form <= DIST_FORMS; form++)
		for (int m = 0; m <= VG_HAMMING + 1; m++)
			n += dist_has((enum dist_form)form, (enum vg_metric)m);
	ok(n == 5 * 4 + 1 && dist_has(DIST_B1, VG_HAMMING),
		"bits have hamming, each other form four metrics");
	ok(dist_row_len(DIST_F32, 3) == 12 && dist_row_len(DIST_F16, 3) == 6 &&
			dist_row_len(DIST_I8, 3) == 3 &&
			dist_row_len(DIST_U8, 3) == 3 &&
			dist_row_len(DIST_U4, 3) == 2 &&
			dist_row_len(DIST_B1, 9) == 2,
		"a row has the bytes of its elements, the last one filled");
}

static void test_damaged(void)
{
	const float vec[3] = {1, 2, 3}, row[3] = {1, NAN, 3};
	const uint16_t half[3] = {0x3c00, 0x4000, 0x4200};
	const uint16_t bad[3] = {0x3c00, 0x7e00, 0x7c00};
	unsigned wrong = 0;

	for (int m = VG_L2; m <= VG_L1; m++) {
		struct dist_rows rows = {row, sizeof(row), 1, 3};
		struct dist_query q;
		float low;

		dist_query_init(&q, (enum vg_metric)m, 3, vec);
		dist_query_sift(&q, &rows, &low);
		wrong += low > dist_query_limit(&q, FLT_MAX);
		dist_query_init_form(&q, DIST_F16, (enum vg_metric)m, 3, half);
		wrong += dist_query_exact(&q, bad) != FLT_MAX;
	}
	ok(wrong == 0, "a damaged row is as far as can be, and seen so");
}

int main(void)
{
	plan(5 * DISTKIT_SETS + 3);
	distkit_seed(seed());
	for (int i = 0; i < DISTKIT_SETS; i++)
		test_kernels(distkit_sets[i]);
	must(dist_force(NULL) == 0);
	test_forms();
	test_damaged();
	return done();
}
