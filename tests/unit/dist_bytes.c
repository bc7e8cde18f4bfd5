/* SPDX-License-Identifier: Apache-2.0 */
/* dist_bytes.c: sums of bytes, nibbles and bits are right, at every length. */
#include <string.h>

#include "index/dist.h"
#include "tests/distkit.h"
#include "tests/tap.h"

#define ROUNDS 6

static uint8_t space[2][VG_DIM_MAX + 8];

/* What is in a pair: anything, as unlike as can be, the extremes, nothing. */
enum kind { ANY, UNLIKE, LEAST, MOST, ZERO, MIXED };

static uint8_t draw(enum kind kind, uint32_t i, bool is_second)
{
	switch (kind) {
	case UNLIKE: /* -128 and 127, 0 and 255, 0 and 15 come as well */
		return (i ^ is_second) & 1 ? 0x80 : 0x7f;
	case LEAST: /* -128; the greatest square of bytes with a sign */
		return 0x80;
	case MOST:
		return is_second ? 0 : 0xff;
	case ZERO:
		return 0;
	case MIXED:
		return distkit_next() % 2 ? 0xff : 0;
	default:
		return (uint8_t)distkit_next();
	}
}

/* ---- the oracle: element by element, in 64 bits ---- */

static int element(const uint8_t *v, enum dist_form form, uint32_t i)
{
	switch (form) {
	case DIST_I8:
		return (int8_t)v[i];
	case DIST_U8:
		return v[i];
	case DIST_U4:
		return i % 2 ? v[i / 2] >> 4 : v[i / 2] & 15;
	default:
		return v[i / 8] >> i % 8 & 1;
	}
}

static int64_t oracle(const uint8_t *a, const uint8_t *b, uint32_t n,
	enum dist_form form, enum dist_term term)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		int64_t x = element(a, form, i), y = element(b, form, i);

		sum += term == DIST_DOT ? x * y :
		       term == DIST_L1	? (x > y ? x - y : y - x) :
					  (x - y) * (x - y);
	}
	return sum;
}

static int64_t kernel(const struct dist_kernels *k, const uint8_t *a,
	const uint8_t *b, uint32_t len, enum dist_form form,
	enum dist_term term)
{
	const int8_t *x = (const int8_t *)a, *y = (const int8_t *)b;

	switch ((int)form * DIST_TERMS + (int)term) {
	case DIST_I8 *DIST_TERMS + DIST_L2SQ:
		return k->i8_l2sq(x, y, len);
	case DIST_I8 *DIST_TERMS + DIST_DOT:
		return k->i8_dot(x, y, len);
	case DIST_I8 *DIST_TERMS + DIST_L1:
		return k->i8_l1(x, y, len);
	case DIST_U8 *DIST_TERMS + DIST_L2SQ:
		return k->u8_l2sq(a, b, len);
	case DIST_U8 *DIST_TERMS + DIST_DOT:
		return k->u8_dot(a, b, len);
	case DIST_U8 *DIST_TERMS + DIST_L1:
		return k->u8_l1(a, b, len);
	case DIST_U4 *DIST_TERMS + DIST_L2SQ:
		return k->u4_l2sq(a, b, len);
	case DIST_U4 *DIST_TERMS + DIST_DOT:
		return k->u4_dot(a, b, len);
	case DIST_U4 *DIST_TERMS + DIST_L1:
		return k->u4_l1(a, b, len);
	default:
		return k->b1_hamming(a, b, len);
	}
}

static uint32_t elements(enum dist_form form, uint32_t len)
{
	return form == DIST_B1 ? 8 * len : form == DIST_U4 ? 2 * len : len;
}

static bool pair_is_right(const struct dist_kernels *k, enum dist_form form,
	uint32_t len, enum kind kind)
{
	uint8_t *a = space[0] + kind % 3, *b = space[1] + kind;
	uint32_t n = elements(form, len);
	bool is_right = true;

	for (uint32_t i = 0; i < len; i++) {
		a[i] = draw(kind, i, false);
		b[i] = draw(kind, i, true);
	}
	/* What lies behind is not read. */
	a[len] = (uint8_t)(b[len] + 100);
	for (int t = 0; t < DIST_TERMS; t++) {
		enum dist_term term = (enum dist_term)t;

		if (form == DIST_B1 && term != DIST_L1)
			continue;
		is_right = is_right && kernel(k, a, b, len, form, term) ==
					       oracle(a, b, n, form, term);
		is_right = is_right && kernel(k, b, b, len, form, term) ==
					       oracle(b, b, n, form, term);
	}
	return is_right;
}

static bool form_is_right(const struct dist_kernels *k, enum dist_form form)
{
	for (uint32_t i = 0; i < DISTKIT_DIMS; i++)
		for (int kind = 0; kind < ROUNDS; kind++)
			if (!pair_is_right(k, form, distkit_dim(i),
				    (enum kind)kind)) {
				diag("%u bytes, kind=%d", distkit_dim(i), kind);
				return false;
			}
	return true;
}

static void test_kernels(const char *name)
{
	static const enum dist_form forms[] = {DIST_I8, DIST_U8, DIST_U4,
		DIST_B1};
	static const char *const names[] = {"i8", "u8", "u4", "b1"};
	const struct dist_kernels *k = distkit_force(name);

	for (size_t i = 0; i < VG_ARRAY_LEN(forms); i++)
		if (k)
			ok(form_is_right(k, forms[i]),
				"%s: sums of %s are right to the last length",
				name, names[i]);
		else
			skip(1, "this processor lacks them");
}

#define EACH_MAX 9u

/* Rows that begin anywhere, some of them one and the same. */
static bool each_is_right(const struct dist_kernels *k, uint32_t len)
{
	static uint8_t rows[EACH_MAX * (VG_DIM_MAX + 8)];
	const uint8_t *at[EACH_MAX];
	float out[EACH_MAX + 1];

	for (uint32_t i = 0; i < len; i++)
		space[0][i] = draw(ANY, i, false);
	for (uint32_t i = 0; i < EACH_MAX * (len + 8); i++)
		rows[i] = draw(i % 2 ? ANY : MIXED, i, true);
	for (uint32_t r = 0; r < EACH_MAX; r++)
		at[r] = rows + r / 2 * 2 * (len + 3) + r % 2 * 5;
	at[5] = at[2];
	for (uint32_t n = 0; n <= EACH_MAX; n++) {
		out[n] = -1;
		k->u8_l2sq_each(space[0], at, n, len, out);
		for (uint32_t r = 0; r < n; r++)
			if (out[r] != (float)oracle(space[0], at[r], len,
					      DIST_U8, DIST_L2SQ))
				return false;
		if (out[n] != -1)
			return false;
	}
	return true;
}

static void test_each(const char *name)
{
	const struct dist_kernels *k = distkit_force(name);
	bool is_right = true;

	if (!k) {
		skip(1, "this processor lacks them");
		return;
	}
	for (uint32_t i = 0; i < DISTKIT_DIMS; i++)
		is_right = is_right && each_is_right(k, distkit_dim(i));
	ok(is_right, "%s: so are those of up to nine rows at once, and no more",
		name);
}

/* The greatest sums that there are, by hand. */
static void test_largest(void)
{
	const struct dist_kernels *k = distkit_force(NULL);
	const int8_t *least = (const int8_t *)space[0];

	memset(space[0], 0x80, VG_DIM_MAX);
	ok(k->i8_dot(least, least, VG_DIM_MAX) == 1073725440,
		"65,535 products of -128 by itself fit in 31 bits");
	memset(space[0], 0xff, VG_DIM_MAX);
	memset(space[1], 0, VG_DIM_MAX);
	ok(k->u8_dot(space[0], space[0], VG_DIM_MAX) == 4261413375 &&
			k->u8_l2sq(space[0], space[1], VG_DIM_MAX) ==
				4261413375,
		"65,535 squares of 255 fit in 32 bits");
}

int main(void)
{
	plan(5 * DISTKIT_SETS + 2);
	distkit_seed(seed());
	for (int i = 0; i < DISTKIT_SETS; i++) {
		test_kernels(distkit_sets[i]);
		test_each(distkit_sets[i]);
	}
	test_largest();
	return done();
}
