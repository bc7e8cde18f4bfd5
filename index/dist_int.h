/* SPDX-License-Identifier: Apache-2.0 */
/* dist_int.h: what the dist_*.c share: bodies become tables of kernels here. */
#ifndef INDEX_DIST_INT_H
#define INDEX_DIST_INT_H

#include "index/dist.h"

/*
 * An instruction set is a file dist_SET.c that writes four bodies, each of
 * which takes constants saying which kernel it is to be:
 *
 *	float SET_fast(pair, term, is_half, bound, norm)
 *		the fast sum of a pair; if bound is not NULL it may stop above
 *		*bound; if norm is not NULL b.b goes there
 *	double SET_exact(pair, term, is_half, norm)
 *		the exact sum, likewise
 *	uint32_t SET_bytes(a, b, len, form, term)
 *		the whole sum of bytes, modulo 2^32
 *	uint32_t SET_bits(a, b, len)
 *		how many bits differ
 *
 * and from which the macros below make every kernel of struct dist_kernels:
 * bodies are inlined into each, so the constants fold and no test of them is
 * left. Written out, the 17 + 13 functions and 19 loops over rows would stand
 * here six times and differ in a letter.
 */
#define DIST_BODY static inline __attribute__((always_inline))

#define DIST_LANES 32	      /* running sums of an exact kernel */
#define DIST_BOUND_EVERY 128u /* elements between two looks at the bound */
#define DIST_AHEAD 8192u      /* bytes before a row is used it is asked for */
#define DIST_LINE 64u	      /* bytes of a cache line */

/* The two vectors of a kernel: floats or halves. */
struct dist_pair {
	const void *a, *b;
	uint32_t dim;
};

extern const struct dist_kernels dist_scalar;
#if defined(__x86_64__)
extern const struct dist_kernels dist_avx2, dist_avx512, dist_avx512vnni;
#elif defined(__aarch64__)
/* Before clang 17 arm_neon.h has products of bytes for whole files only. */
#if !defined(__clang__) || __clang_major__ >= 17 ||                            \
	defined(__ARM_FEATURE_DOTPROD)
#define DIST_NEONDOT 1
extern const struct dist_kernels dist_neondot;
#endif
extern const struct dist_kernels dist_neon;
#endif

/* Of the same sets: dist_signs_SET.c. */
extern const struct signs_kernels signs_scalar;
extern const struct signs_kernels signs_avx2, signs_avx512, signs_neon;

/*
 * The one order in which exact running sums are folded: halves onto halves, as
 * a register of 8 doubles folds, after its four registers were added 0+2, 1+3.
 */
static inline double dist_fold(const double *sum)
{
	double t[8];

	for (int i = 0; i < 8; i++)
		t[i] = (sum[i] + sum[i + 16]) + (sum[i + 8] + sum[i + 24]);
	for (int i = 0; i < 4; i++)
		t[i] += t[i + 4];
	return (t[0] + t[2]) + (t[1] + t[3]);
}
static_assert(DIST_LANES == 4 * 8, "dist_fold adds 4 registers of 8 doubles");

/* Asks for the row that is so far behind this one; there may be none. */
DIST_BODY void dist_prefetch(const char *row, uint32_t len)
{
	uintptr_t at = (uintptr_t)row + DIST_AHEAD;

	for (uint32_t i = 0; i < len; i += DIST_LINE)
		__builtin_prefetch((const void *)(at + i));
}

/* A loop over rows whose body is the expression SUM of query and row. */
#define DIST_ROWS(NAME, TARGET, FORM, SUM, NORM)                               \
	TARGET static void NAME(const void *query, const struct dist_rows *r,  \
		float *out, float *norm)                                       \
	{                                                                      \
		uint32_t dim = r->dim, len = dist_row_len(FORM, dim);          \
		const char *row = r->first;                                    \
                                                                               \
		for (uint32_t i = 0; i < r->n; i++, row += r->stride) {        \
			dist_prefetch(row, len);                               \
			out[i] = (float)(SUM);                                 \
			if (norm)                                              \
				norm[i] = (float)(NORM);                       \
		}                                                              \
		(void)dim;                                                     \
	}

/* The kernels of floats, or of halves with P f16_, T uint16_t, H true. */
#define DIST_FLOATS_OF(L, TARGET, P, T, H, FORM)                               \
	TARGET static float L##_##P##l2sq(const T *a, const T *b,              \
		uint32_t dim, float bound)                                     \
	{                                                                      \
		return L##_fast((struct dist_pair){a, b, dim}, DIST_L2SQ, H,   \
			&bound, NULL);                                         \
	}                                                                      \
	TARGET static float L##_##P##dot(const T *a, const T *b, uint32_t dim) \
	{                                                                      \
		return L##_fast((struct dist_pair){a, b, dim}, DIST_DOT, H,    \
			NULL, NULL);                                           \
	}                                                                      \
	TARGET static float L##_##P##l1(const T *a, const T *b, uint32_t dim)  \
	{                                                                      \
		return L##_fast((struct dist_pair){a, b, dim}, DIST_L1, H,     \
			NULL, NULL);                                           \
	}                                                                      \
	TARGET static double L##_##P##l2sq_exact(const T *a, const T *b,       \
		uint32_t dim)                                                  \
	{                                                                      \
		return L##_exact((struct dist_pair){a, b, dim}, DIST_L2SQ, H,  \
			NULL);                                                 \
	}                                                                      \
	TARGET static double L##_##P##dot_exact(const T *a, const T *b,        \
		uint32_t dim)                                                  \
	{                                                                      \
		return L##_exact((struct dist_pair){a, b, dim}, DIST_DOT, H,   \
			NULL);                                                 \
	}                                                                      \
	TARGET static double L##_##P##dot_norm_exact(const T *a, const T *b,   \
		uint32_t dim, double *bb)                                      \
	{                                                                      \
		return L##_exact((struct dist_pair){a, b, dim}, DIST_DOT, H,   \
			bb);                                                   \
	}                                                                      \
	TARGET static double L##_##P##l1_exact(const T *a, const T *b,         \
		uint32_t dim)                                                  \
	{                                                                      \
		return L##_exact((struct dist_pair){a, b, dim}, DIST_L1, H,    \
			NULL);                                                 \
	}                                                                      \
	DIST_ROWS(L##_##P##l2sq_rows, TARGET, FORM,                            \
		L##_fast((struct dist_pair){query, row, dim}, DIST_L2SQ, H,    \
			NULL, NULL),                                           \
		0)                                                             \
	DIST_ROWS(L##_##P##l1_rows, TARGET, FORM,                              \
		L##_fast((struct dist_pair){query, row, dim}, DIST_L1, H,      \
			NULL, NULL),                                           \
		0)                                                             \
	TARGET static void L##_##P##dot_rows(const void *query,                \
		const struct dist_rows *r, float *out, float *norm)            \
	{                                                                      \
		uint32_t len = dist_row_len(FORM, r->dim);                     \
		const char *row = r->first;                                    \
		float unused;                                                  \
                                                                               \
		for (uint32_t i = 0; i < r->n; i++, row += r->stride) {        \
			dist_prefetch(row, len);                               \
			out[i] = L##_fast((struct dist_pair){query, row,       \
						  r->dim},                     \
				DIST_DOT, H, NULL, norm ? norm + i : &unused); \
		}                                                              \
	}

#define DIST_FLOATS(L, TARGET)                                                 \
	DIST_FLOATS_OF(L, TARGET, , float, false, DIST_F32)                    \
	DIST_FLOATS_OF(L, TARGET, f16_, uint16_t, true, DIST_F16)

/* The kernels of bytes of one form: T is an element, S a product's sum. */
#define DIST_BYTES_OF(L, TARGET, P, T, S, FORM)                                \
	TARGET static uint32_t L##_##P##_l2sq(const T *a, const T *b,          \
		uint32_t len)                                                  \
	{                                                                      \
		return L##_bytes(a, b, len, FORM, DIST_L2SQ);                  \
	}                                                                      \
	TARGET static S L##_##P##_dot(const T *a, const T *b, uint32_t len)    \
	{                                                                      \
		return (S)L##_bytes(a, b, len, FORM, DIST_DOT);                \
	}                                                                      \
	TARGET static uint32_t L##_##P##_l1(const T *a, const T *b,            \
		uint32_t len)                                                  \
	{                                                                      \
		return L##_bytes(a, b, len, FORM, DIST_L1);                    \
	}

#define DIST_BYTES(L, TARGET)                                                  \
	DIST_BYTES_OF(L, TARGET, i8, int8_t, int32_t, DIST_I8)                 \
	DIST_BYTES_OF(L, TARGET, u8, uint8_t, uint32_t, DIST_U8)               \
	DIST_BYTES_OF(L, TARGET, u4, uint8_t, uint32_t, DIST_U4)               \
	TARGET static uint32_t L##_b1_hamming(const uint8_t *a,                \
		const uint8_t *b, uint32_t len)                                \
	{                                                                      \
		return L##_bits(a, b, len);                                    \
	}

/* Loops over rows, of a set that has nothing better than pair by pair. */
#define DIST_BYTES_ROWS_OF(L, TARGET, P, S, FORM)                              \
	DIST_ROWS(L##_##P##_l2sq_rows, TARGET, FORM,                           \
		L##_bytes(query, row, len, FORM, DIST_L2SQ), 0)                \
	DIST_ROWS(L##_##P##_dot_rows, TARGET, FORM,                            \
		(S)L##_bytes(query, row, len, FORM, DIST_DOT),                 \
		(S)L##_bytes(row, row, len, FORM, DIST_DOT))                   \
	DIST_ROWS(L##_##P##_l1_rows, TARGET, FORM,                             \
		L##_bytes(query, row, len, FORM, DIST_L1), 0)

#define DIST_BYTES_ROWS(L, TARGET)                                             \
	DIST_BYTES_ROWS_OF(L, TARGET, i8, int32_t, DIST_I8)                    \
	DIST_BYTES_ROWS_OF(L, TARGET, u8, uint32_t, DIST_U8)                   \
	DIST_BYTES_ROWS_OF(L, TARGET, u4, uint32_t, DIST_U4)                   \
	DIST_ROWS(L##_b1_rows, TARGET, DIST_B1,                                \
		L##_bits(query, (const uint8_t *)row, len), 0)                 \
	TARGET static void L##_u8_l2sq_each(const uint8_t *query,              \
		const uint8_t *const *rows, uint32_t n, uint32_t len,          \
		float *out)                                                    \
	{                                                                      \
		for (uint32_t i = 0; i < n; i++)                               \
			out[i] = (float)L##_bytes(                             \
				query, rows[i], len, DIST_U8, DIST_L2SQ);      \
	}

/* The table: F has the kernels of floats, B of bytes, R of rows of bytes. */
#define DIST_TABLE(L, F, B, R)                                                 \
	const struct dist_kernels dist_##L = {                                 \
		.name = #L,                                                    \
		.l2sq = F##_l2sq,                                              \
		.dot = F##_dot,                                                \
		.l1 = F##_l1,                                                  \
		.l2sq_exact = F##_l2sq_exact,                                  \
		.dot_exact = F##_dot_exact,                                    \
		.dot_norm_exact = F##_dot_norm_exact,                          \
		.l1_exact = F##_l1_exact,                                      \
		.f16_l2sq = F##_f16_l2sq,                                      \
		.f16_dot = F##_f16_dot,                                        \
		.f16_l1 = F##_f16_l1,                                          \
		.f16_l2sq_exact = F##_f16_l2sq_exact,                          \
		.f16_dot_exact = F##_f16_dot_exact,                            \
		.f16_dot_norm_exact = F##_f16_dot_norm_exact,                  \
		.f16_l1_exact = F##_f16_l1_exact,                              \
		.i8_l2sq = B##_i8_l2sq,                                        \
		.i8_dot = B##_i8_dot,                                          \
		.i8_l1 = B##_i8_l1,                                            \
		.u8_l2sq = B##_u8_l2sq,                                        \
		.u8_dot = B##_u8_dot,                                          \
		.u8_l1 = B##_u8_l1,                                            \
		.u4_l2sq = B##_u4_l2sq,                                        \
		.u4_dot = B##_u4_dot,                                          \
		.u4_l1 = B##_u4_l1,                                            \
		.b1_hamming = B##_b1_hamming,                                  \
		.u8_l2sq_each = R##_u8_l2sq_each,                              \
		.rows =                                                        \
			{                                                      \
				[DIST_F32] = {F##_l2sq_rows, F##_dot_rows,     \
					F##_l1_rows},                          \
				[DIST_F16] = {F##_f16_l2sq_rows,               \
					F##_f16_dot_rows, F##_f16_l1_rows},    \
				[DIST_I8] = {R##_i8_l2sq_rows,                 \
					R##_i8_dot_rows, R##_i8_l1_rows},      \
				[DIST_U8] = {R##_u8_l2sq_rows,                 \
					R##_u8_dot_rows, R##_u8_l1_rows},      \
				[DIST_U4] = {R##_u4_l2sq_rows,                 \
					R##_u4_dot_rows, R##_u4_l1_rows},      \
				[DIST_B1] = {NULL, NULL, R##_b1_rows},         \
			},                                                     \
		.signs = &signs_##F,                                           \
	}

#endif
