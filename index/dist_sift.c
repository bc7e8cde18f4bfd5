/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist_sift.c: which rows a scan may pass by: bounds of fast sums, turned into
 * bounds of exact distances.
 *
 * Let e = q->error and t = dim * 2^-149, what denormal terms may be off by.
 *
 * l2, l1, hamming	low is the fast sum. If the exact one is T it is at most
 *			T (1 + e) + t; the limit is what that comes to where the
 *			distance, which was rounded to float, is dist.
 * ip			low is the distance less what a product of vectors may
 *			be off by, e |a||b| + t; the limit is dist. Whole
 *			products are off by their rounding only, which is that
 *			of the distance: nothing is to be taken off.
 * cosine		low is -c|c|, c the cosine, which spares a root a row;
 *			the limit is that of 1 - dist less what c may be off by.
 *
 * Where the squares are so great that running sums may have overflowed, or so
 * small that t counts beside them, low is -infinity: nothing is known.
 */
#include <assert.h>
#include <float.h>
#include <math.h>

#include "index/dist.h"

#define SQUARES_MAX 0x1p250  /* |a|^2 |b|^2; running sums are below its root */
#define SQUARES_MIN 0x1p-160 /* t is below 2^-53 of its root */
#define SQUARE_MIN 0x1p-100f /* |b|^2; t is below 2^-33 of it */

static double denormal_error(const struct dist_query *q)
{
	return q->dim * 0x1p-149;
}

static bool is_whole(const struct dist_query *q)
{
	return q->form != DIST_F32 && q->form != DIST_F16;
}

/* low holds products, norm what rows are long, squared. */
static void turn_ip(const struct dist_query *q, uint32_t n, const float *norm,
	float *low)
{
	/* 2^-22: of the root, of this, and of two roundings to float. */
	double share = 1.01 * q->error + 0x1p-22, t = denormal_error(q);

	assert(t < 0x1p-130); /* no square that is within a float's range */
	assert(q->error < 0.0003); /* what it is of itself is below .01 */
	for (uint32_t i = 0; i < n; i++) {
		double squares = q->norm2 * ((double)norm[i] + t);

		/* What is no number fails the test. */
		low[i] = squares < SQUARES_MAX ?
				 (float)(-(double)low[i] -
					 share * sqrt(squares) - t) :
				 -INFINITY;
	}
}

static void turn_cosine(const struct dist_query *q, uint32_t n,
	const float *norm, float *low)
{
	double norm2 = q->norm2;

	assert(denormal_error(q) < 0x1p-53 * 0x1p-80); /* SQUARES_MIN's root */
	assert(denormal_error(q) < 0x1p-33 * (double)SQUARE_MIN);
	for (uint32_t i = 0; i < n; i++) {
		double squares = norm2 * (double)norm[i];
		double dot = (double)low[i];

		low[i] = squares < SQUARES_MAX && squares > SQUARES_MIN &&
					 norm[i] > SQUARE_MIN ?
				 (float)(-dot * fabs(dot) / squares) :
				 -INFINITY;
	}
}

void dist_query_sift(const struct dist_query *q, const struct dist_rows *rows,
	float *low)
{
	dist_rows_fn *const *sums = q->kernels->rows[q->form];
	float norm[DIST_SIFT_MAX];

	assert(rows->n <= DIST_SIFT_MAX && rows->dim == q->dim);
	assert(rows->stride >= dist_row_len(q->form, q->dim));
	switch (q->metric) {
	case VG_L2:
		sums[DIST_L2SQ](q->vec, rows, low, NULL);
		break;
	case VG_COSINE:
		sums[DIST_DOT](q->vec, rows, low, norm);
		turn_cosine(q, rows->n, norm, low);
		break;
	case VG_IP:
		sums[DIST_DOT](q->vec, rows, low, is_whole(q) ? NULL : norm);
		if (!is_whole(q)) {
			turn_ip(q, rows->n, norm, low);
			break;
		}
		for (uint32_t i = 0; i < rows->n; i++)
			low[i] = -low[i];
		break;
	case VG_L1:
	case VG_HAMMING:
		sums[DIST_L1](q->vec, rows, low, NULL);
		break;
	}
}

float dist_query_limit(const struct dist_query *q, float dist)
{
	double d = (double)dist, limit = d, c;

	if (!(dist < FLT_MAX)) /* as far as can be: no row is farther */
		return INFINITY;
	switch (q->metric) {
	case VG_COSINE:
		/* The product is off by e, the length by e / 2; 2^-22: of two
		 * roundings to float. */
		c = 1 - d - 1.6 * q->error - 0x1p-22;
		limit = -c * fabs(c);
		limit += fabs(limit) * 0x1p-22;
		break;
	case VG_IP:
		break;
	case VG_L2:
		limit = d * d;
		/* fallthrough */
	case VG_L1:
	case VG_HAMMING:
		/* 2^-21: of the distance, twice, of a whole sum, of this. */
		limit = limit * (1 + 1.01 * q->error + 0x1p-21) +
			2 * denormal_error(q) + 0x1p-149;
		break;
	}
	return limit < FLT_MAX ? (float)limit : INFINITY;
}
