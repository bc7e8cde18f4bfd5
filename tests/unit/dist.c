/* SPDX-License-Identifier: Apache-2.0 */
/* dist.c: every kernel of floats says what the scalar one says, which is right. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/dist.h"
#include "tests/distkit.h"
#include "tests/tap.h"

#define DIM_MAX VG_DIM_MAX
#define ROUNDS 4

/* Kinds of vectors, the unpleasant ones too. */
enum kind {
	PLAIN,
	WHOLE,
	TINY,
	DENORMAL,
	SPARSE,
	LARGE,
	LARGEST,
	MIXED,
	N_KINDS
};

static float draw(enum kind kind)
{
	static uint32_t n_drawn;
	float x = distkit_uniform();

	switch (kind) {
	case WHOLE:
		return floorf(x * 255);
	case LARGE:
		return x * FLT_MAX;
	case TINY:
		return x * FLT_MIN;
	case DENORMAL:
		return x * FLT_MIN * 0x1p-20f;
	case MIXED:
		return ldexpf(x, (int)(distkit_next() % 200) - 100);
	case LARGEST: /* of either sign, in turns */
		return (n_drawn++ & 1) ? -FLT_MAX : FLT_MAX;
	case SPARSE:
		return distkit_next() % 8 ? 0 : x;
	default:
		return x;
	}
}

static void fill(float *v, uint32_t dim, enum kind kind)
{
	for (uint32_t i = 0; i < dim; i++)
		v[i] = draw(kind);
}

/* One pair of vectors that begin at odd places, and what must hold of it. */
typedef bool (*pair_check)(const struct dist_kernels *k,
	const struct dist_kernels *ref, const float *a, const float *b,
	uint32_t dim);

static bool check_all(const struct dist_kernels *k,
	const struct dist_kernels *ref, pair_check check, int n_kinds)
{
	static float a[DIM_MAX + 8], b[DIM_MAX + 8];

	for (uint32_t i = 0; i < DISTKIT_DIMS; i++)
		for (int kind = 0; kind < n_kinds; kind++)
			for (uint32_t r = 0; r < ROUNDS; r++) {
				float *x = a + r % 3, *y = b + r;

				fill(x, distkit_dim(i), (enum kind)kind);
				fill(y, distkit_dim(i), (enum kind)kind);
				/* What lies behind a vector is not read. */
				x[distkit_dim(i)] = y[distkit_dim(i)] = NAN;
				if (check(k, ref, x, y, distkit_dim(i)))
					continue;
				diag("dim=%u kind=%d", distkit_dim(i), kind);
				return false;
			}
	return true;
}

static bool exact_is_same(const struct dist_kernels *k,
	const struct dist_kernels *ref, const float *a, const float *b,
	uint32_t dim)
{
	double bb, bb_ref;
	double dot = k->dot_norm_exact(a, b, dim, &bb);
	double dot_ref = ref->dot_norm_exact(a, b, dim, &bb_ref);

	return distkit_same(k->l2sq_exact(a, b, dim),
		       ref->l2sq_exact(a, b, dim)) &&
	       distkit_same(k->dot_exact(a, b, dim),
		       ref->dot_exact(a, b, dim)) &&
	       distkit_same(k->l1_exact(a, b, dim), ref->l1_exact(a, b, dim)) &&
	       distkit_same(dot, dot_ref) && distkit_same(bb, bb_ref) &&
	       distkit_same(dot, k->dot_exact(a, b, dim)) &&
	       distkit_same(bb, k->dot_exact(b, b, dim));
}

static double abs_dot(const float *a, const float *b, uint32_t dim)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += fabs((double)a[i] * (double)b[i]);
	return sum;
}

/* Denormal terms may be off by 2^-149 each. */
static bool fast_is_near(const struct dist_kernels *k,
	const struct dist_kernels *ref, const float *a, const float *b,
	uint32_t dim)
{
	double error = dist_fast_error(dim), denormal = dim * 0x1p-149;
	double l2 = ref->l2sq_exact(a, b, dim), dot = ref->dot_exact(a, b, dim);
	double l1 = ref->l1_exact(a, b, dim);

	return fabs((double)k->l2sq(a, b, dim, INFINITY) - l2) <=
		       error * l2 + denormal &&
	       fabs((double)k->l1(a, b, dim) - l1) <= error * l1 + denormal &&
	       fabs((double)k->dot(a, b, dim) - dot) <=
		       error * abs_dot(a, b, dim) + denormal;
}

static bool bound_is_kept(const struct dist_kernels *k,
	const struct dist_kernels *ref, const float *a, const float *b,
	uint32_t dim)
{
	float whole = k->l2sq(a, b, dim, INFINITY);

	(void)ref;
	for (int i = 0; i < 8; i++) {
		float bound = whole * (float)i / 4;
		float got = k->l2sq(a, b, dim, bound);

		if (whole <= bound ? got != whole : got <= bound || got > whole)
			return false;
	}
	return k->l2sq(a, b, dim, whole) == whole;
}

static bool fast_survives(const struct dist_kernels *k,
	const struct dist_kernels *ref, const float *a, const float *b,
	uint32_t dim)
{
	(void)ref;
	return k->l2sq(a, b, dim, INFINITY) >= 0 &&
	       k->l2sq(a, a, dim, INFINITY) == 0 && k->l1(a, b, dim) >= 0 &&
	       k->l1(a, a, dim) == 0;
}

static void test_kernels(const char *name)
{
	const struct dist_kernels *ref = distkit_reference();
	const struct dist_kernels *k = distkit_force(name);

	if (!k) {
		skip(5, "this processor lacks them");
		return;
	}
	ok(strcmp(dist_kernel_name(), name) == 0,
		"%s can be forced and says its name", name);
	ok(check_all(k, ref, exact_is_same, N_KINDS),
		"%s: exact sums have the bits of the scalar ones", name);
	ok(check_all(k, ref, fast_is_near, SPARSE + 1),
		"%s: fast sums are within their error bound", name);
	ok(check_all(k, ref, bound_is_kept, WHOLE + 1),
		"%s: a bound shortens only what is above it", name);
	ok(check_all(k, ref, fast_survives, N_KINDS),
		"%s: extremes give no negative and no lost distance", name);
}

/* Written from the definition, in long double, in order of elements. */
static long double oracle(enum vg_metric metric, uint32_t dim, const float *a,
	const float *b)
{
	long double ab = 0, aa = 0, bb = 0, l2 = 0, l1 = 0;

	for (uint32_t i = 0; i < dim; i++) {
		long double x = (long double)a[i], y = (long double)b[i];

		ab += x * y;
		aa += x * x;
		bb += y * y;
		l2 += (x - y) * (x - y);
		l1 += fabsl(x - y);
	}
	if (metric == VG_L2)
		return sqrtl(l2);
	if (metric == VG_L1)
		return l1;
	return metric == VG_IP ? -ab : 1 - ab / sqrtl(aa * bb);
}

static bool equals_oracle(enum vg_metric metric, const float *a, const float *b,
	uint32_t dim)
{
	long double want = oracle(metric, dim, a, b);
	double got = (double)dist_exact(metric, dim, a, b);
	double size = metric == VG_IP	  ? abs_dot(a, b, dim) :
		      metric == VG_COSINE ? 1.0 :
					    (double)fabsl(want);

	return fabs((double)want - got) <= 1e-7 * size;
}

static void test_oracle(void)
{
	static const enum vg_metric metrics[] = {VG_L2, VG_COSINE, VG_IP,
		VG_L1};
	static const char *const names[] = {"l2", "cosine", "ip", "l1"};
	static float a[DIM_MAX], b[DIM_MAX];

	for (size_t m = 0; m < VG_ARRAY_LEN(metrics); m++) {
		bool is_right = true, is_symmetric = true;

		for (uint32_t i = 0; i < DISTKIT_DIMS; i++)
			for (int kind = PLAIN; kind <= WHOLE; kind++) {
				fill(a, distkit_dim(i), (enum kind)kind);
				fill(b, distkit_dim(i), (enum kind)kind);
				a[0] = b[0] = 1; /* never all zeros */
				is_right =
					is_right && equals_oracle(metrics[m], a,
							    b, distkit_dim(i));
				is_symmetric =
					is_symmetric &&
					distkit_same(
						(double)dist_exact(metrics[m],
							distkit_dim(i), a, b),
						(double)dist_exact(metrics[m],
							distkit_dim(i), b, a));
			}
		ok(is_right, "%s equals an oracle in long double", names[m]);
		ok(is_symmetric, "%s is symmetric to the last bit", names[m]);
	}
}

static void test_zero(void)
{
	static float a[DIM_MAX], b[DIM_MAX];
	bool is_equal_zero = true, is_parallel_zero = true;

	for (uint32_t i = 0; i < DISTKIT_DIMS; i++)
		for (int kind = 0; kind < SPARSE; kind++) {
			uint32_t dim = distkit_dim(i);

			fill(a, dim, (enum kind)kind);
			if (a[dim - 1] == 0) /* never all zeros */
				a[dim - 1] = FLT_TRUE_MIN;
			memcpy(b, a, sizeof(a));
			is_equal_zero =
				is_equal_zero &&
				distkit_same((double)dist_exact(VG_COSINE, dim,
						     a, b),
					0) &&
				distkit_same((double)dist_exact(VG_L2, dim, a,
						     b),
					0);
			for (uint32_t j = 0; j < dim && kind == WHOLE; j++)
				b[j] = a[j] * 3;
			is_parallel_zero =
				is_parallel_zero &&
				distkit_same((double)dist_exact(VG_COSINE, dim,
						     a, b),
					0);
		}
	ok(is_equal_zero, "equal vectors are exactly 0 apart, l2 and cosine");
	ok(is_parallel_zero, "parallel ones are exactly 0 apart under cosine");
}

static void test_known(void)
{
	const float x[] = {3, 0}, y[] = {0, 4}, minus_x[] = {-6, 0};
	const float none[] = {0, 0};
	const float big[] = {FLT_MAX, FLT_MAX}, small[] = {-FLT_MAX, -FLT_MAX};
	float denormal = 0x1p-149f;

	ok(dist_exact(VG_L2, 2, x, y) == 5, "l2 is rooted: 3, 4, 5");
	ok(dist_exact(VG_COSINE, 2, x, y) == 1 &&
			dist_exact(VG_COSINE, 2, x, minus_x) == 2,
		"cosine is 1 at a right angle and 2 when opposed");
	ok(dist_exact(VG_L1, 2, x, y) == 7, "l1 goes along the axes: 3 + 4");
	ok(dist_exact(VG_IP, 2, x, minus_x) == 18 &&
			dist_exact(VG_IP, 2, x, x) == -9,
		"ip is the negative dot product");
	ok(!signbit(dist_exact(VG_IP, 2, x, y)),
		"no dot product is a distance of 0, not of -0");
	ok(dist_exact(VG_L2, 2, big, small) == FLT_MAX &&
			dist_exact(VG_L1, 2, big, small) == FLT_MAX &&
			dist_exact(VG_IP, 2, big, small) == FLT_MAX &&
			dist_exact(VG_IP, 2, big, big) == -FLT_MAX,
		"a distance beyond a float's range is the largest float");
	ok(dist_exact(VG_COSINE, 2, none, x) == 1,
		"nothing is at a right angle to everything");
	ok(dist_exact(VG_L2, 1, &denormal, none) == denormal,
		"the smallest denormal has its distance from 0");
}

/*
 * The order in which sums are folded is part of the contract: members must
 * agree to the bit. A change of it changes these numbers, and distances.
 */
static void test_golden(void)
{
	float a[100], b[100];

	for (int i = 0; i < 100; i++) {
		a[i] = 1.0f / (float)(i + 1);
		b[i] = 1.0f / (float)(i * i + 3);
	}
	ok(distkit_same(dist_kernels_get()->dot_exact(a, b, 100),
		   0x1.1d4b23a53d414p-1) &&
			distkit_same(dist_kernels_get()->l2sq_exact(a, b, 100),
				0x1.74646f84dc2d8p-1),
		"sums of 100 fractions have the bits they always had");
}

static void test_rows(void)
{
	float rows[5 * 7], out[5];
	bool is_same = true;
	struct dist_query q;

	fill(rows, 5 * 7, PLAIN);
	for (int metric = VG_L2; metric <= VG_L1; metric++) {
		dist_query_init(&q, (enum vg_metric)metric, 7, rows);
		dist_query_exact_rows(&q, rows, 5, out);
		for (int i = 0; i < 5; i++)
			is_same =
				is_same &&
				distkit_same((double)out[i],
					(double)dist_exact((enum vg_metric)
								   metric,
						7, rows, rows + (size_t)i * 7));
	}
	ok(is_same, "many rows at once give what each gives");
}

static void test_damaged(void)
{
	const float vec[3] = {1, 2, 3};
	const float row[3] = {1, NAN, 3}, far[3] = {1, -INFINITY, INFINITY};
	unsigned wrong = 0;

	for (int m = VG_L2; m <= VG_L1; m++) {
		wrong += dist_exact((enum vg_metric)m, 3, vec, row) != FLT_MAX;
		wrong += dist_exact((enum vg_metric)m, 3, row, vec) != FLT_MAX;
		wrong += isnan(dist_exact((enum vg_metric)m, 3, vec, far)) != 0;
	}
	ok(wrong == 0, "a damaged row is as far as can be, under each metric");
}

int main(void)
{
	plan(1 + 5 * DISTKIT_SETS + 8 + 2 + 8 + 3);
	distkit_seed(seed());
	ok(dist_force("neon-sign") == -ENOTSUP, "unknown kernels are refused");
	for (int i = 0; i < DISTKIT_SETS; i++)
		test_kernels(distkit_sets[i]);
	must(dist_force(NULL) == 0);
	test_oracle();
	test_zero();
	test_known();
	test_golden();
	test_rows();
	test_damaged();
	return done();
}
