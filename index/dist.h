/* SPDX-License-Identifier: Apache-2.0 */
/* dist.h: how far two vectors, or their codes, are apart: exactly and fast. */
#ifndef INDEX_DIST_H
#define INDEX_DIST_H

#include <stddef.h>
#include <stdint.h>

#include "src/vg.h"

/*
 * Two families of kernels, and what each promises:
 *
 * exact	What a user is told. Products and differences of floats are
 *		formed in double, where a product of two floats is exact, and
 *		summed in 32 running sums: element i goes to sum i mod 32, and
 *		the sums are folded in one fixed order. Every instruction set
 *		does the same roundings in the same order, so scalar, AVX2 and
 *		AVX-512 give equal bits, and members of a grid with unlike
 *		processors agree. (Hence no fused multiply-add where the
 *		product is inexact, and -ffp-contract=off for this folder.)
 * fast		What steers a walk through a graph. Float sums in whatever
 *		order is quick; relative error below (dim / 16 + 8) * 2^-24
 *		of the sum of the absolute terms (dist_fast_error).
 *
 * Codes are bytes without a sign (quant.h); what is computed of them are whole
 * numbers, and right.
 *
 * Distances ascend from best to worst:
 *
 *	l2	sqrt(sum((a - b)^2))
 *	cosine	1 - a.b / sqrt(a.a * b.b)
 *	ip	-(a.b)
 *
 * The cosine of equal vectors is exactly 1, since x / sqrt(x * x) is, so
 * their distance is 0; a distance below the error bound of the sums
 * ((dim / 16 + 32) * 2^-53) is 0 too, and none is negative. The result is
 * rounded once to float. What exceeds a float's range is +-FLT_MAX: an answer
 * is always a finite number.
 *
 * Vectors are finite (a row that is damaged on the disk may have NaN: then so
 * may a fast distance, and the exact one is FLT_MAX), dim >= 1, need no
 * alignment; under cosine none is all zeros (the distance to one would be 1).
 * Nothing here allocates, fails or locks; any thread may call anything, but
 * dist_force.
 */
struct dist_kernels {
	const char *name;
	/*
	 * Squared distance. Once the sum has passed bound the kernel may stop:
	 * then it returns any value above bound that is not above the whole
	 * sum. INFINITY asks for the whole sum.
	 */
	float (*l2sq)(const float *a, const float *b, uint32_t dim,
		float bound);
	float (*dot)(const float *a, const float *b, uint32_t dim);
	double (*l2sq_exact)(const float *a, const float *b, uint32_t dim);
	double (*dot_exact)(const float *a, const float *b, uint32_t dim);
	/* a.b, and b.b to *bb, reading b once. */
	double (*dot_norm_exact)(const float *a, const float *b, uint32_t dim,
		double *bb);
	/* sum((a - b)^2) of two codes of up to VG_DIM_MAX bytes. */
	uint32_t (*u8_l2sq)(const uint8_t *a, const uint8_t *b, uint32_t len);
};

/* The kernels in use: the widest that this processor has. For good. */
const struct dist_kernels *dist_kernels_get(void);

/* "scalar", "avx2" or "avx512": for --version. */
const char *dist_kernel_name(void);

/*
 * Makes name the kernels in use, for tests and comparisons; NULL chooses the
 * widest again. -ENOTSUP if this processor lacks them or there are none of
 * that name. Not beside other calls.
 */
int dist_force(const char *name);

/*
 * A query and what need be computed once for it. Borrows vec; no fini. The
 * kernels are those in use at init.
 */
struct dist_query {
	const struct dist_kernels *kernels;
	const float *vec;
	double norm2; /* vec.vec */
	uint32_t dim;
	enum vg_metric metric;
};

void dist_query_init(struct dist_query *q, enum vg_metric metric, uint32_t dim,
	const float *vec);

/* The exact distance of the query to one row. */
float dist_query_exact(const struct dist_query *q, const float *row);

/* The same for n rows that stand one after the other; fills out[0..n). */
void dist_query_exact_rows(const struct dist_query *q, const float *rows,
	uint32_t n, float *out);

/* The exact distance of two vectors; symmetric to the last bit. */
float dist_exact(enum vg_metric metric, uint32_t dim, const float *a,
	const float *b);

/*
 * Bound of a fast kernel's error, as a share: of the result for l2sq, whose
 * terms are all positive; of |a||b| for dot, by Cauchy and Schwarz. Each of
 * at least 16 running sums takes dim / 16 roundings, folding and forming the
 * terms a few more, 2^-24 each.
 */
static inline double dist_fast_error(uint32_t dim)
{
	return (dim / 16 + 8) * 0x1p-24;
}

#endif
