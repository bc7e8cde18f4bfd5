/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist_scalar.c: the kernels in plain C: the reference that every other set is
 * compared with (tests/unit/dist*.c), and what runs where there is none.
 */
#include <string.h>

#include "index/dist_half.h"
#include "index/dist_int.h"

#define LANES 16 /* running sums of a fast kernel */
#define NO_TARGET

static_assert(DIST_BOUND_EVERY % LANES == 0, "rounds end at the bound's");
static_assert(LANES % 2 == 0, "fold_fast adds halves");

DIST_BODY float load(const void *v, uint32_t i, bool is_half)
{
	return is_half ? dist_half_decode(((const uint16_t *)v)[i]) :
			 ((const float *)v)[i];
}

/* ---- exact ---- */

DIST_BODY double scalar_exact(struct dist_pair p, enum dist_term term,
	bool is_half, double *norm)
{
	double sum[DIST_LANES] = {0}, self[DIST_LANES] = {0};

	for (uint32_t i = 0; i < p.dim; i++) {
		double x = (double)load(p.a, i, is_half);
		double y = (double)load(p.b, i, is_half), d = x - y;

		sum[i % DIST_LANES] += term == DIST_DOT	 ? x * y :
				       term == DIST_L2SQ ? d * d :
							   __builtin_fabs(d);
		if (norm)
			self[i % DIST_LANES] += y * y;
	}
	if (norm)
		*norm = dist_fold(self);
	return dist_fold(sum);
}

/* ---- fast ---- */

static float fold_fast(const float *sum)
{
	float t = 0;

	for (int i = 0; i < LANES / 2; i++)
		t += sum[i] + sum[i + LANES / 2];
	return t;
}

DIST_BODY float fast_term(float x, float y, enum dist_term term)
{
	float d = x - y;

	return term == DIST_DOT	 ? x * y :
	       term == DIST_L2SQ ? d * d :
				   __builtin_fabsf(d);
}

DIST_BODY float scalar_fast(struct dist_pair p, enum dist_term term,
	bool is_half, const float *bound, float *norm)
{
	float sum[LANES] = {0}, self[LANES] = {0};
	uint32_t i = 0;

	for (; i + LANES <= p.dim; i += LANES) {
		for (uint32_t j = 0; j < LANES; j++) {
			float x = load(p.a, i + j, is_half);
			float y = load(p.b, i + j, is_half);

			sum[j] += fast_term(x, y, term);
			if (norm)
				self[j] += y * y;
		}
		if (bound && (i + LANES) % DIST_BOUND_EVERY == 0 &&
			fold_fast(sum) > *bound)
			return fold_fast(sum);
	}
	for (; i < p.dim; i++) {
		float x = load(p.a, i, is_half), y = load(p.b, i, is_half);

		sum[i % LANES] += fast_term(x, y, term);
		if (norm)
			self[i % LANES] += y * y;
	}
	if (norm)
		*norm = fold_fast(self);
	return fold_fast(sum);
}

/* ---- whole ---- */

static_assert(255 * 255 <= INT32_MAX, "a term is formed in an int");

DIST_BODY uint32_t byte_term(int x, int y, enum dist_term term)
{
	int d = x - y;

	return (uint32_t)(term == DIST_DOT  ? x * y :
			  term == DIST_L2SQ ? d * d :
					      (d < 0 ? -d : d));
}

DIST_BODY uint32_t scalar_bytes(const void *a, const void *b, uint32_t len,
	enum dist_form form, enum dist_term term)
{
	const uint8_t *u = a, *v = b;
	uint32_t sum = 0;

	for (uint32_t i = 0; i < len; i++) {
		if (form == DIST_I8)
			sum += byte_term((int8_t)u[i], (int8_t)v[i], term);
		else if (form == DIST_U8)
			sum += byte_term(u[i], v[i], term);
		else
			sum += byte_term(u[i] & 15, v[i] & 15, term) +
			       byte_term(u[i] >> 4, v[i] >> 4, term);
	}
	return sum;
}

DIST_BODY uint32_t scalar_bits(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t sum = 0, i = 0;

	for (; i + 8 <= len; i += 8) {
		uint64_t x, y;

		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		sum += (uint32_t)__builtin_popcountll(x ^ y);
	}
	for (; i < len; i++)
		sum += (uint32_t)__builtin_popcount((uint32_t)(a[i] ^ b[i]));
	return sum;
}

DIST_FLOATS(scalar, NO_TARGET)
DIST_BYTES(scalar, NO_TARGET)
DIST_BYTES_ROWS(scalar, NO_TARGET)
DIST_TABLE(scalar, scalar, scalar, scalar);
