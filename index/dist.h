/* SPDX-License-Identifier: Apache-2.0 */
/* dist.h: how far two vectors, or their codes, are apart: exactly and fast. */
#ifndef INDEX_DIST_H
#define INDEX_DIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/vg.h"

/*
 * FORMS. What the bytes of a row are: an element type of vg.h, or a code of
 * quant.h. An element is read where it stands, in the processor's byte order,
 * and a row needs the alignment of its elements only.
 *
 *	f32	floats
 *	f16	IEEE 754 binary16; each stands for the float of its value
 *	i8	bytes with a sign
 *	b1	bits, 8 in a byte, in whatever order is the same in all rows; the
 *		bits of the last byte that stand for no element are 0
 *	u8	bytes without a sign
 *	u4	nibbles, 2 in a byte, the lower one first; where dim is odd the
 *		upper nibble of the last byte is 0
 *
 * KERNELS. Three families, and what each promises:
 *
 * exact	What a user is told. Products and differences of floats are
 *		formed in double, where a product of two floats is exact, and
 *		summed in 32 running sums: element i goes to sum i mod 32, and
 *		the sums are folded in one fixed order. Every instruction set
 *		does the same roundings in the same order, so all give equal
 *		bits, and members of a grid with unlike processors agree.
 *		(Hence no fused multiply-add where the product is inexact, and
 *		-ffp-contract=off for this folder.) Halves are the floats they
 *		stand for: same sums, same bits.
 * fast		What steers a walk through a graph, and a scan past rows that
 *		are far. Float sums in whatever order is quick; error below
 *		dist_fast_error of the sum of the absolute terms, and below
 *		dim * 2^-149 where terms are denormal.
 * whole	Sums of i8, u8, u4 and b1 are whole numbers, and right, at all
 *		dimensions up to VG_DIM_MAX: at most 255^2 * 65,535 < 2^32, and
 *		of products of i8 128^2 * 65,535 < 2^31. They are exact and fast
 *		at once.
 *
 * DISTANCES ascend from best to worst; which form has which:
 *
 *	l2	sqrt(sum((a - b)^2))		all but b1
 *	cosine	1 - a.b / sqrt(a.a * b.b)	all but b1
 *	ip	-(a.b)				all but b1
 *	l1	sum(|a - b|)			all but b1
 *	hamming	elements that differ		b1
 *
 * Those of u8 and u4 are of the codes as numbers. The cosine of equal vectors
 * is exactly 1, since x / sqrt(x * x) is, so their distance is 0; a distance
 * below the error bound of the sums ((dim / 16 + 32) * 2^-53) is 0 too, and
 * none is negative. The result is rounded once to float. What exceeds a float's
 * range is +-FLT_MAX: an answer is always a finite number.
 *
 * Vectors are finite (a row that is damaged on the disk may have NaN: then so
 * may a fast distance, and the exact one is FLT_MAX), dim is 1..VG_DIM_MAX;
 * under cosine none is all zeros (the distance to one would be 1). Nothing here
 * allocates, fails or locks; any thread may call anything, but dist_force.
 */
enum dist_form {
	DIST_F32 = VG_F32,
	DIST_F16 = VG_F16,
	DIST_I8 = VG_I8,
	DIST_B1 = VG_B1,
	DIST_U8,
	DIST_U4,
	DIST_FORMS, /* a row of a table for each, 0 is unused */
};

/* What is summed: (a - b)^2, a * b, |a - b|. */
enum dist_term { DIST_L2SQ, DIST_DOT, DIST_L1, DIST_TERMS };

/* Rows that stand stride bytes apart, the first at first. Borrowed. */
struct dist_rows {
	const void *first;
	size_t stride;
	uint32_t n;
	uint32_t dim;
};

/*
 * The fast sums of a query and n rows: out[0..n), whole ones rounded to float;
 * of DIST_DOT also row.row to norm[0..n), unless that is NULL. Rows are asked
 * for before they are needed.
 */
typedef void dist_rows_fn(const void *query, const struct dist_rows *rows,
	float *out, float *norm);

/* The kernels of one instruction set. len is in bytes, dim in elements. */
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
	float (*l1)(const float *a, const float *b, uint32_t dim);
	double (*l2sq_exact)(const float *a, const float *b, uint32_t dim);
	double (*dot_exact)(const float *a, const float *b, uint32_t dim);
	/* a.b, and b.b to *bb, reading b once. */
	double (*dot_norm_exact)(const float *a, const float *b, uint32_t dim,
		double *bb);
	double (*l1_exact)(const float *a, const float *b, uint32_t dim);

	/* The same of halves. */
	float (*f16_l2sq)(const uint16_t *a, const uint16_t *b, uint32_t dim,
		float bound);
	float (*f16_dot)(const uint16_t *a, const uint16_t *b, uint32_t dim);
	float (*f16_l1)(const uint16_t *a, const uint16_t *b, uint32_t dim);
	double (*f16_l2sq_exact)(const uint16_t *a, const uint16_t *b,
		uint32_t dim);
	double (*f16_dot_exact)(const uint16_t *a, const uint16_t *b,
		uint32_t dim);
	double (*f16_dot_norm_exact)(const uint16_t *a, const uint16_t *b,
		uint32_t dim, double *bb);
	double (*f16_l1_exact)(const uint16_t *a, const uint16_t *b,
		uint32_t dim);

	/* Whole numbers. u4: len bytes are 2 * len elements. */
	uint32_t (*i8_l2sq)(const int8_t *a, const int8_t *b, uint32_t len);
	int32_t (*i8_dot)(const int8_t *a, const int8_t *b, uint32_t len);
	uint32_t (*i8_l1)(const int8_t *a, const int8_t *b, uint32_t len);
	uint32_t (*u8_l2sq)(const uint8_t *a, const uint8_t *b, uint32_t len);
	uint32_t (*u8_dot)(const uint8_t *a, const uint8_t *b, uint32_t len);
	uint32_t (*u8_l1)(const uint8_t *a, const uint8_t *b, uint32_t len);
	uint32_t (*u4_l2sq)(const uint8_t *a, const uint8_t *b, uint32_t len);
	uint32_t (*u4_dot)(const uint8_t *a, const uint8_t *b, uint32_t len);
	uint32_t (*u4_l1)(const uint8_t *a, const uint8_t *b, uint32_t len);
	uint32_t (
		*b1_hamming)(const uint8_t *a, const uint8_t *b, uint32_t len);

	/* u8_l2sq of query and each of n rows that lie anywhere, as floats. */
	void (*u8_l2sq_each)(const uint8_t *query, const uint8_t *const *rows,
		uint32_t n, uint32_t len, float *out);

	/* By form and term; b1 has DIST_L1 only, which is hamming. */
	dist_rows_fn *rows[DIST_FORMS][DIST_TERMS];

	const struct signs_kernels *signs; /* of codes of signs: signs.h */
};

/* The kernels in use: the widest that this processor has. For good. */
const struct dist_kernels *dist_kernels_get(void);

/* For --version: "scalar", "avx2", "avx512", "avx512vnni", "neon", "neondot". */
const char *dist_kernel_name(void);

/*
 * Makes name the kernels in use, for tests and comparisons; NULL chooses the
 * widest again. -ENOTSUP if this processor lacks them or there are none of
 * that name. Not beside other calls.
 */
int dist_force(const char *name);

/* Whether the form has that distance. */
bool dist_has(enum dist_form form, enum vg_metric metric);

/* The bytes of a row. */
static inline uint32_t dist_row_len(enum dist_form form, uint32_t dim)
{
	assert(dim >= 1 && dim <= VG_DIM_MAX);
	if (form == DIST_U4)
		return (dim + 1) / 2;
	return (uint32_t)vg_row_len((enum vg_dtype)form, dim); /* u8 as i8 */
}

/*
 * A query and what need be computed once for it. Borrows vec, which has the
 * form of the rows; no fini. The kernels are those in use at init.
 */
struct dist_query {
	const struct dist_kernels *kernels;
	const void *vec;
	double norm2; /* vec.vec; 0 for b1 */
	double error; /* of a fast sum, as a share of the absolute terms */
	uint32_t dim;
	enum vg_metric metric;
	enum dist_form form;
	/* See dist_query_fast_pair. */
	float (*fast)(const struct dist_query *q, const void *a, const void *b,
		float bound);
};

/* Of floats. */
void dist_query_init(struct dist_query *q, enum vg_metric metric, uint32_t dim,
	const float *vec);

/* Of any form that dist_has metric. */
void dist_query_init_form(struct dist_query *q, enum dist_form form,
	enum vg_metric metric, uint32_t dim, const void *vec);

/* The exact distance of the query to one row. */
float dist_query_exact(const struct dist_query *q, const void *row);

/* The same for n rows that stand one after the other; fills out[0..n). */
void dist_query_exact_rows(const struct dist_query *q, const void *rows,
	uint32_t n, float *out);

/* That of two rows a and b of q's form, by q's metric. */
float dist_query_exact_pair(const struct dist_query *q, const void *a,
	const void *b);

/*
 * The fast sum over two rows of q's form, of its metric's terms: squared
 * differences under l2, products under cosine and ip, else absolute
 * differences. Of l2 of floats and halves what is above bound may be any such
 * value. Whole sums are rounded to float.
 */
static inline float dist_query_fast_pair(const struct dist_query *q,
	const void *a, const void *b, float bound)
{
	return q->fast(q, a, b, bound);
}

/*
 * What a scan passes far rows by, at the speed of the memory: fills low[0..n)
 * so that a row whose exact distance is at most dist has
 *
 *	!(low[i] > dist_query_limit(q, dist))
 *
 * The others may have it, too, but few do: those the rounding of fast sums
 * leaves in doubt, and those whose fast sums overflowed or are no numbers.
 * n <= DIST_SIFT_MAX; rows->dim is the query's.
 */
#define DIST_SIFT_MAX 128u
void dist_query_sift(const struct dist_query *q, const struct dist_rows *rows,
	float *low);
float dist_query_limit(const struct dist_query *q, float dist);

/* The exact distance of two vectors; symmetric to the last bit. */
float dist_exact(enum vg_metric metric, uint32_t dim, const float *a,
	const float *b);

/*
 * Bound of a fast kernel's error, as a share: of the result for l2sq and l1,
 * whose terms are all positive; of |a||b| for dot, by Cauchy and Schwarz. Each
 * of at least 16 running sums takes dim / 16 roundings, folding and forming the
 * terms a few more, 2^-24 each.
 */
static inline double dist_fast_error(uint32_t dim)
{
	return (dim / 16 + 8) * 0x1p-24;
}

#endif
