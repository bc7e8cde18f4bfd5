/* SPDX-License-Identifier: Apache-2.0 */
/* dist_half.c: halves are the floats they stand for, in every kernel. */
#include "index/dist_half.h"

#include <float.h>
#include <math.h>

#include "tests/distkit.h"
#include "tests/tap.h"

#define ROUNDS 3
#define INFINITE 0x7c00

/* ---- one half ---- */

/* From the definition of the format. */
static double value_of(uint16_t half)
{
	int exponent = half >> 10 & 31, fraction = half & 0x3ff;
	double v = exponent == 31 ? (fraction ? NAN : INFINITY) :
		   exponent == 0  ? ldexp(fraction, -24) :
				    ldexp(1024 + fraction, exponent - 25);

	return half & 0x8000 ? -v : v;
}

static void test_decode(void)
{
	unsigned wrong = 0, lost = 0;

	for (uint32_t h = 0; h <= UINT16_MAX; h++) {
		float f = dist_half_decode((uint16_t)h);
		double want = value_of((uint16_t)h);

		if (isnan(want)) {
			wrong += isnan(f) == 0;
			continue;
		}
		wrong += !distkit_same((double)f, want);
		lost += dist_half_encode(f) != h;
	}
	ok(wrong == 0, "each half is the float that the format says");
	ok(lost == 0, "each comes back from its float");
	ok((dist_half_encode(NAN) & 0x7fff) > INFINITE, "NaN stays one");
}

/* Whether half is the nearest of f, the even one of two. */
static bool is_nearest(float f, uint16_t half)
{
	uint16_t size = half & 0x7fff;
	double at = fabs((double)f), got = fabs(value_of(half));
	double less = size > 0 ? value_of(size - 1) : -1;
	/* Infinity is what would be the next finite half. */
	double more = size >= INFINITE - 1 ? 65536 : value_of(size + 1);

	if ((half & 0x8000) != (signbit(f) ? 0x8000 : 0))
		return false;
	if (size == INFINITE)
		return at >= 65520;
	if (at - got > more - at || got - at > at - less)
		return false;
	return size % 2 == 0 || (at - got < more - at && got - at < at - less);
}

static void test_encode(void)
{
	unsigned wrong = 0;

	for (uint32_t i = 0; i < 1000000; i++) {
		uint32_t bits = (uint32_t)(distkit_next() >> 32);
		float f;

		/* Exponents about those of halves; the last bits often 0. */
		if (i % 2)
			bits = (bits & 0x807fffff) | (100 + bits / 8 % 45)
							     << 23;
		if (i % 3)
			bits &= 0xfffff000;
		memcpy(&f, &bits, sizeof(f));
		if (!isnan(f))
			wrong += !is_nearest(f, dist_half_encode(f));
	}
	for (uint32_t h = 0; h < INFINITE; h++) { /* halfway, and beside it */
		float f = dist_half_decode((uint16_t)h);
		float g = h + 1 == INFINITE ?
				  65536 :
				  dist_half_decode((uint16_t)(h + 1));
		float mid = (f + g) / 2;

		wrong += !is_nearest(mid, dist_half_encode(mid));
		mid = nextafterf(mid, INFINITY);
		wrong += !is_nearest(mid, dist_half_encode(mid));
		mid = nextafterf(nextafterf(mid, 0), 0);
		wrong += !is_nearest(-mid, dist_half_encode(-mid));
	}
	ok(wrong == 0, "a float goes to the nearest half, of two the even one");
	ok(dist_half_encode(65519.99f) == INFINITE - 1 &&
			dist_half_encode(65520) == INFINITE &&
			dist_half_encode(-FLT_MAX) == (INFINITE | 0x8000) &&
			dist_half_encode(0x1p-25f) == 0 &&
			dist_half_encode(0x1.8p-25f) == 1,
		"what is too great is infinite, half of the least is 0");
}

/* ---- kernels ---- */

enum kind { PLAIN, SPARSE, DENORMAL, LARGE, LARGEST, ANY, N_KINDS };

static uint16_t draw(enum kind kind, uint32_t i)
{
	uint16_t h = (uint16_t)distkit_next();

	switch (kind) {
	case PLAIN:
		return dist_half_encode(distkit_uniform());
	case SPARSE:
		return h % 8 ? 0 : dist_half_encode(distkit_uniform());
	case DENORMAL:
		return h & 0x83ff;
	case LARGE:
		return dist_half_encode(distkit_uniform() * 65504);
	case LARGEST:
		return i % 2 ? 0xfbff : 0x7bff;
	default: /* any that is finite */
		return (h & 0x7c00) == 0x7c00 ? h & 0x83ff : h;
	}
}

static struct {
	uint16_t a[VG_DIM_MAX + 8], b[VG_DIM_MAX + 8];
	float x[VG_DIM_MAX], y[VG_DIM_MAX]; /* what they stand for */
} v;

/* A pair of kernels' arguments: at odd places, what is behind is NaN. */
struct pair {
	const uint16_t *a, *b;
	uint32_t dim;
};

static struct pair draw_pair(uint32_t dim, enum kind kind, uint32_t round)
{
	struct pair p = {v.a + round % 3, v.b + round, dim};

	for (uint32_t i = 0; i < dim; i++) {
		v.a[round % 3 + i] = draw(kind, i);
		v.b[round + i] = draw(kind, i + round);
		v.x[i] = dist_half_decode(p.a[i]);
		v.y[i] = dist_half_decode(p.b[i]);
	}
	v.a[round % 3 + dim] = v.b[round + dim] = 0x7e00;
	return p;
}

static bool exact_is_same(const struct dist_kernels *k,
	const struct dist_kernels *ref, struct pair p)
{
	double bb, bb_ref;
	double dot = k->f16_dot_norm_exact(p.a, p.b, p.dim, &bb);
	double dot_ref = ref->dot_norm_exact(v.x, v.y, p.dim, &bb_ref);

	return distkit_same(k->f16_l2sq_exact(p.a, p.b, p.dim),
		       ref->l2sq_exact(v.x, v.y, p.dim)) &&
	       distkit_same(k->f16_l1_exact(p.a, p.b, p.dim),
		       ref->l1_exact(v.x, v.y, p.dim)) &&
	       distkit_same(k->f16_dot_exact(p.a, p.b, p.dim), dot_ref) &&
	       distkit_same(dot, dot_ref) && distkit_same(bb, bb_ref);
}

/* Halves neither overflow nor underflow a float: at all of them. */
static bool fast_is_near(const struct dist_kernels *k,
	const struct dist_kernels *ref, struct pair p)
{
	double error = dist_fast_error(p.dim), terms = 0;
	double l2 = ref->l2sq_exact(v.x, v.y, p.dim);
	double l1 = ref->l1_exact(v.x, v.y, p.dim);
	double dot = ref->dot_exact(v.x, v.y, p.dim);

	for (uint32_t i = 0; i < p.dim; i++)
		terms += fabs((double)v.x[i] * (double)v.y[i]);
	return fabs((double)k->f16_l2sq(p.a, p.b, p.dim, INFINITY) - l2) <=
		       error * l2 &&
	       fabs((double)k->f16_l1(p.a, p.b, p.dim) - l1) <= error * l1 &&
	       fabs((double)k->f16_dot(p.a, p.b, p.dim) - dot) <= error * terms;
}

static bool bound_is_kept(const struct dist_kernels *k,
	const struct dist_kernels *ref, struct pair p)
{
	float whole = k->f16_l2sq(p.a, p.b, p.dim, INFINITY);

	(void)ref;
	for (int i = 0; i < 8; i++) {
		float bound = whole * (float)i / 4;
		float got = k->f16_l2sq(p.a, p.b, p.dim, bound);

		if (whole <= bound ? got != whole : got <= bound || got > whole)
			return false;
	}
	return true;
}

typedef bool (*pair_check)(const struct dist_kernels *k,
	const struct dist_kernels *ref, struct pair p);

static bool check_all(const struct dist_kernels *k,
	const struct dist_kernels *ref, pair_check check)
{
	for (uint32_t i = 0; i < DISTKIT_DIMS; i++)
		for (int kind = 0; kind < N_KINDS; kind++)
			for (uint32_t r = 0; r < ROUNDS; r++) {
				struct pair p = draw_pair(distkit_dim(i),
					(enum kind)kind, r);

				if (check(k, ref, p))
					continue;
				diag("dim=%u kind=%d", p.dim, kind);
				return false;
			}
	return true;
}

static void test_kernels(const char *name)
{
	const struct dist_kernels *ref = distkit_reference();
	const struct dist_kernels *k = distkit_force(name);

	if (!k) {
		skip(3, "this processor lacks them");
		return;
	}
	ok(check_all(k, ref, exact_is_same),
		"%s: exact sums of halves are those of their floats", name);
	ok(check_all(k, ref, fast_is_near),
		"%s: fast sums of halves are within their error bound", name);
	ok(check_all(k, ref, bound_is_kept),
		"%s: a bound shortens only what is above it", name);
}

int main(void)
{
	plan(5 + 3 * DISTKIT_SETS);
	distkit_seed(seed());
	test_decode();
	test_encode();
	for (int i = 0; i < DISTKIT_SETS; i++)
		test_kernels(distkit_sets[i]);
	return done();
}
