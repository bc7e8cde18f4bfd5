/* SPDX-License-Identifier: Apache-2.0 */
/* dist_signs.c: kernels of signs agree to the bit, and estimates are near. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/signs.h"
#include "tests/distkit.h"
#include "tests/tap.h"

#define LEN_MAX 16384u

static float space[6][LEN_MAX + 16];
static uint8_t codes[SIGNS_BYTES(LEN_MAX) + 64];
static uint8_t tables[2][SIGNS_BYTES(LEN_MAX) + 64];

/* Every length of a rotated vector to 1,296, so every rest behind any step, and
 * around where sums of 16 bits end. */
#define N_LENS (81 + 6)

static uint32_t len_of(uint32_t i)
{
	static const uint32_t more[] = {2032, 2048, 2064, 4096, 4112, LEN_MAX};

	return i < 81 ? 16 * (i + 1) : more[i - 81];
}

static void fill(float *x, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		x[i] = distkit_uniform();
}

static bool is_same(const float *a, const float *b, uint32_t n)
{
	return memcmp(a, b, n * sizeof(*a)) == 0;
}

/* ---- pair by pair with the scalar ones ---- */

static bool transforms_agree(const struct signs_kernels *k,
	const struct signs_kernels *r)
{
	for (uint32_t n = 16; n <= LEN_MAX; n *= 2) {
		float *x = space[0] + 1, *y = space[1];

		fill(x, n);
		fill(space[2], n);
		memcpy(y, x, n * sizeof(*y));
		k->transform(x, space[2], n);
		r->transform(y, space[2], n);
		if (!is_same(x, y, n))
			return false;
	}
	return true;
}

static bool codes_agree(const struct signs_kernels *k,
	const struct signs_kernels *r)
{
	for (uint32_t i = 0; i < N_LENS; i++) {
		uint32_t len = len_of(i);
		float *u = space[0], *v = space[1] + 1;
		float sums[2][SIGNS_SUMS];

		fill(u, len);
		fill(v, len);
		for (uint32_t j = 0; j < len; j += 7)
			v[j] = u[j]; /* 0 counts as not negative */
		memset(tables, 0xee, sizeof(tables));
		k->code(u, v, len, tables[0], sums[0]);
		r->code(u, v, len, tables[1], sums[1]);
		if (!is_same(sums[0], sums[1], SIGNS_SUMS) ||
			memcmp(tables[0], tables[1], len / 4 + 1) != 0)
			return false;
	}
	return true;
}

static bool tables_agree(const struct signs_kernels *k,
	const struct signs_kernels *r)
{
	for (uint32_t i = 0; i < N_LENS; i++) {
		uint32_t len = len_of(i);
		float scale = 255.f / 8;

		fill(space[0], len);
		if (i % 8 == 0) /* the largest of a table */
			for (uint32_t j = 0; j < 4; j++)
				space[0][len - 4 + j] = j % 2 ? 1 : -1;
		memset(tables, 0xee, sizeof(tables));
		k->table(space[0], len, scale, tables[0]);
		r->table(space[0], len, scale, tables[1]);
		if (memcmp(tables[0], tables[1], sizeof(tables[0])) != 0)
			return false;
	}
	return true;
}

/* kind 0: any; 1: nothing but the largest sums. */
static bool estimates_agree(const struct signs_kernels *k,
	const struct signs_kernels *r, int kind)
{
	for (uint32_t i = 0; i < N_LENS; i++) {
		float est[2][SIGNS_BLOCK], bound = kind ? INFINITY : .25f;
		struct signs_query q = {.table = tables[0],
			.len = len_of(i),
			.scale = .001f,
			.zero = .5f,
			.base = .125f,
			.unit = 3};
		struct signs_block b = {.codes = codes,
			.add = space[0] + 1,
			.mul = space[1]};
		uint32_t mask[2];

		for (uint32_t j = 0; j < SIGNS_BYTES(q.len); j++) {
			codes[j] = (uint8_t)distkit_next();
			tables[0][j] = kind ? 255 : (uint8_t)distkit_next();
		}
		fill(space[0], SIGNS_BLOCK + 1);
		fill(space[1], SIGNS_BLOCK);
		space[1][5] = NAN; /* is below nothing */
		mask[0] = k->estimate(&q, &b, bound, est[0]);
		mask[1] = r->estimate(&q, &b, bound, est[1]);
		est[0][5] = est[1][5] = 0;
		if (mask[0] != mask[1] || (mask[0] >> 5 & 1) != 0 ||
			!is_same(est[0], est[1], SIGNS_BLOCK))
			return false;
	}
	return true;
}

static void test_kernels(const char *name)
{
	const struct signs_kernels *r = distkit_reference()->signs;
	const struct dist_kernels *k = distkit_force(name);

	if (!k) {
		skip(5, "this processor lacks them");
		return;
	}
	ok(transforms_agree(k->signs, r), "%s: transforms agree to the bit",
		name);
	ok(codes_agree(k->signs, r), "%s: codes and their sums agree", name);
	ok(tables_agree(k->signs, r), "%s: tables agree", name);
	ok(estimates_agree(k->signs, r, 0),
		"%s: estimates agree to the bit at every length", name);
	ok(estimates_agree(k->signs, r, 1), "%s: and of the largest sums",
		name);
}

/* ---- what they are good for ---- */

static double dot(const float *a, const float *b, uint32_t n)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static double l2sq(const float *a, const float *b, uint32_t n)
{
	return dot(a, a, n) + dot(b, b, n) - 2 * dot(a, b, n);
}

/* By hand: element i of H x is the sum of x with the signs of i & j's bits. */
static void test_transform(void)
{
	float flips[64], x[64], want[64];
	bool is_right = true;

	fill(x, 64);
	for (uint32_t i = 0; i < 64; i++)
		flips[i] = i % 3 ? 2 : -1;
	for (uint32_t i = 0; i < 64; i++) {
		want[i] = 0;
		for (uint32_t j = 0; j < 64; j++)
			want[i] += __builtin_parity(i & j) ? -x[j] * flips[j] :
							     x[j] * flips[j];
	}
	dist_kernels_get()->signs->transform(x, flips, 64);
	for (uint32_t i = 0; i < 64; i++)
		is_right = is_right && fabsf(x[i] - want[i]) < 1e-4f;
	ok(is_right, "a transform is Hadamard's matrix, flips before it");
}

/* A rotation keeps lengths and angles, of any number of elements. */
static void test_rotate(uint32_t dim)
{
	float *a = space[0], *b = space[1], *x = space[2], *y = space[3];
	float *centre = space[4];
	struct signs s;
	double want, got, even = 0;

	must(signs_init(&s, dim) == 0);
	fill(a, dim);
	memset(b, 0, sizeof(space[1]));
	memset(centre, 0, sizeof(space[4]));
	b[dim / 2] = 1; /* all of it in one element */
	signs_rotate(&s, a, 1, centre, x);
	signs_rotate(&s, b, 1, centre, y);
	want = l2sq(a, b, dim);
	got = l2sq(x, y, s.len);
	for (uint32_t i = 0; i < s.len; i++)
		even = fmax(even, fabs((double)y[i]));
	ok(fabs(got / want - 1) < 1e-5 && s.len >= dim && s.len < dim + 16,
		"%u elements: a rotation keeps distances", dim);
	ok(dim < 64 || even < 12 / sqrt(dim),
		"%u elements: what one element has comes to all (%.3f)", dim,
		even);
	signs_rotate(&s, a, 2, a, y);
	signs_rotate(&s, a, 1, centre, x);
	ok(l2sq(x, y, s.len) < 1e-8 * dot(x, x, s.len),
		"%u elements: twice the vector less itself is itself", dim);
	signs_fini(&s);
}

/* The root of the mean squared error of estimates of a squared distance, over
 * |q - u| |v - u|. */
static double error_of(uint32_t dim, double offset)
{
	float *u = space[0], *v = space[1], *q = space[2], *centre = space[3];
	float *rot[3] = {space[4], space[5], malloc(4 * LEN_MAX)};
	float sums[SIGNS_SUMS], est[SIGNS_BLOCK];
	float add[SIGNS_BLOCK] = {0}, mul[SIGNS_BLOCK] = {0};
	uint8_t halves[LEN_MAX / 4];
	struct signs s;
	double all = 0;

	must(rot[2] && signs_init(&s, dim) == 0);
	for (uint32_t t = 0; t < 200; t++) {
		struct signs_query query;
		uint32_t j = t % SIGNS_BLOCK;
		uint32_t at = j % 16 < 8 ? j % 16 * 2 : (j % 16 - 8) * 2 + 1;
		double scale, error;

		fill(centre, dim);
		for (uint32_t i = 0; i < dim; i++) {
			centre[i] += (float)offset;
			u[i] = distkit_uniform() + (float)offset;
			v[i] = u[i] + .5f * distkit_uniform();
			q[i] = u[i] + .5f * distkit_uniform();
		}
		signs_rotate(&s, u, 1, centre, rot[0]);
		signs_rotate(&s, v, 1, centre, rot[1]);
		signs_rotate(&s, q, 1, centre, rot[2]);
		dist_kernels_get()->signs->code(rot[0], rot[1], s.len, halves,
			sums);
		memset(codes, 0, SIGNS_BYTES(s.len));
		for (uint32_t g = 0; g < s.len / 4; g++)
			codes[16 * g + at] =
				(uint8_t)(halves[g] << (j < 16 ? 0 : 4));
		mul[j] = -2 * sums[0] / sums[1];
		add[j] = sums[0] - mul[j] * sums[2];
		signs_query_init(&query, rot[2], s.len, 1, tables[0]);
		query.unit = 1;
		query.base = (float)l2sq(q, u, dim);
		dist_kernels_get()->signs->estimate(&query,
			&(struct signs_block){codes, add, mul}, INFINITY, est);
		scale = sqrt(l2sq(q, u, dim) * l2sq(u, v, dim));
		error = ((double)est[j] - l2sq(q, v, dim)) / scale;
		all += error * error;
	}
	signs_fini(&s);
	free(rot[2]);
	return sqrt(all / 200);
}

static void test_errors(void)
{
	static const uint32_t dims[] = {64, 100, 128, 784, 1536, 3072};

	for (size_t i = 0; i < VG_ARRAY_LEN(dims); i++) {
		double e = error_of(dims[i], 0), far = error_of(dims[i], 300);

		/* Twice .75, as it is of a squared distance. */
		ok(e < 1.8 / sqrt(dims[i]),
			"%u elements: estimates are off by %.3f / sqrt(dim)",
			dims[i], e * sqrt(dims[i]));
		ok(far < 1.8 / sqrt(dims[i]) + .02,
			"%u elements: and by %.3f where all rows are far off",
			dims[i], far * sqrt(dims[i]));
	}
}

int main(void)
{
	static const uint32_t dims[] = {1, 2, 16, 17, 100, 784, 1024, 16383};

	plan(5 * DISTKIT_SETS + 1 + 3 * 8 + 12);
	distkit_seed(seed());
	for (int i = 0; i < DISTKIT_SETS; i++)
		test_kernels(distkit_sets[i]);
	distkit_force(NULL);
	test_transform();
	for (size_t i = 0; i < VG_ARRAY_LEN(dims); i++)
		test_rotate(dims[i]);
	test_errors();
	return done();
}
