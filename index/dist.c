/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist.c: see dist.h. The scalar reference first, the kernels after it, the
 * dispatch last. tests/unit/dist.c compares every kernel with the reference.
 */
#include "index/dist.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET_AVX2 __attribute__((target("avx2,fma")))
#define TARGET_AVX512                                                          \
	__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#endif

#define LANES 32	 /* running sums of an exact kernel */
#define FAST_LANES 16	 /* running sums of a scalar fast kernel */
#define BOUND_EVERY 128u /* elements between two looks at the bound */

/* Every kernel comes by each multiple of BOUND_EVERY; fold() knows LANES. */
static_assert(BOUND_EVERY % 64 == 0, "AVX-512 takes 64 floats a round");
static_assert(BOUND_EVERY % FAST_LANES == 0, "the scalar kernel takes 16");
static_assert(LANES == 4 * 8, "fold() adds 4 registers of 8 doubles");

/* ---- scalar: the reference ---- */

/*
 * The one order in which running sums are folded: halves onto halves, as a
 * register of 8 doubles folds, after its four registers were added 0+2, 1+3.
 */
static double fold(const double *sum)
{
	double t[8];

	for (int i = 0; i < 8; i++)
		t[i] = (sum[i] + sum[i + 16]) + (sum[i + 8] + sum[i + 24]);
	for (int i = 0; i < 4; i++)
		t[i] += t[i + 4];
	return (t[0] + t[2]) + (t[1] + t[3]);
}

static double scalar_l2sq_exact(const float *a, const float *b, uint32_t dim)
{
	double sum[LANES] = {0};

	for (uint32_t i = 0; i < dim; i++) {
		double d = (double)a[i] - (double)b[i];

		sum[i % LANES] += d * d;
	}
	return fold(sum);
}

static double scalar_dot_exact(const float *a, const float *b, uint32_t dim)
{
	double sum[LANES] = {0};

	for (uint32_t i = 0; i < dim; i++)
		sum[i % LANES] += (double)a[i] * (double)b[i];
	return fold(sum);
}

static double scalar_dot_norm_exact(const float *a, const float *b,
	uint32_t dim, double *bb)
{
	*bb = scalar_dot_exact(b, b, dim);
	return scalar_dot_exact(a, b, dim);
}

static float fold_fast(const float *sum)
{
	float t = 0;

	for (int i = 0; i < FAST_LANES / 2; i++)
		t += sum[i] + sum[i + FAST_LANES / 2];
	return t;
}

static float scalar_l2sq(const float *a, const float *b, uint32_t dim,
	float bound)
{
	float sum[FAST_LANES] = {0};
	uint32_t i = 0;

	for (; i + FAST_LANES <= dim; i += FAST_LANES) {
		for (uint32_t j = 0; j < FAST_LANES; j++) {
			float d = a[i + j] - b[i + j];

			sum[j] += d * d;
		}
		if ((i + FAST_LANES) % BOUND_EVERY == 0 &&
			fold_fast(sum) > bound)
			return fold_fast(sum);
	}
	for (; i < dim; i++) {
		float d = a[i] - b[i];

		sum[i % FAST_LANES] += d * d;
	}
	return fold_fast(sum);
}

static float scalar_dot(const float *a, const float *b, uint32_t dim)
{
	float sum[FAST_LANES] = {0};
	uint32_t i = 0;

	for (; i + FAST_LANES <= dim; i += FAST_LANES)
		for (uint32_t j = 0; j < FAST_LANES; j++)
			sum[j] += a[i + j] * b[i + j];
	for (; i < dim; i++)
		sum[i % FAST_LANES] += a[i] * b[i];
	return fold_fast(sum);
}

static uint32_t scalar_u8_l2sq(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < len; i++) {
		int d = a[i] - b[i];

		sum += (uint32_t)(d * d);
	}
	return sum;
}

static const struct dist_kernels scalar_kernels = {
	.name = "scalar",
	.l2sq = scalar_l2sq,
	.dot = scalar_dot,
	.l2sq_exact = scalar_l2sq_exact,
	.dot_exact = scalar_dot_exact,
	.dot_norm_exact = scalar_dot_norm_exact,
	.u8_l2sq = scalar_u8_l2sq,
};

#if defined(__x86_64__)

/* ---- AVX2: 8 registers of 4 doubles; 4 of 8 floats ---- */

/* The elements that are left of a group of 4, the others as zeros. */
TARGET_AVX2
static inline __m256d avx2_load4(const float *p, int32_t left)
{
	assert(left > 0);
	__m128i mask = _mm_cmpgt_epi32(_mm_set1_epi32(left),
		_mm_setr_epi32(0, 1, 2, 3));

	return _mm256_cvtps_pd(_mm_maskload_ps(p, mask));
}

TARGET_AVX2
static inline double avx2_fold(const __m256d *s)
{
	__m256d low = _mm256_add_pd(_mm256_add_pd(s[0], s[4]),
		_mm256_add_pd(s[2], s[6]));
	__m256d high = _mm256_add_pd(_mm256_add_pd(s[1], s[5]),
		_mm256_add_pd(s[3], s[7]));
	__m256d t = _mm256_add_pd(low, high);
	__m128d u = _mm_add_pd(_mm256_castpd256_pd128(t),
		_mm256_extractf128_pd(t, 1));

	return _mm_cvtsd_f64(_mm_add_sd(u, _mm_unpackhi_pd(u, u)));
}

TARGET_AVX2
static double avx2_l2sq_exact(const float *a, const float *b, uint32_t dim)
{
	__m256d sum[8];
	uint32_t i = 0;

	for (int g = 0; g < 8; g++)
		sum[g] = _mm256_setzero_pd();
	for (; i + LANES <= dim; i += LANES) {
#pragma GCC unroll 8
		for (uint32_t g = 0; g < 8; g++) {
			__m256d d = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(
							  a + i + 4 * g)),
				_mm256_cvtps_pd(_mm_loadu_ps(b + i + 4 * g)));

			sum[g] = _mm256_add_pd(sum[g], _mm256_mul_pd(d, d));
		}
	}
	for (uint32_t g = 0; i < dim; g++, i += 4) {
		int32_t left = (int32_t)(dim - i);
		__m256d d = _mm256_sub_pd(avx2_load4(a + i, left),
			avx2_load4(b + i, left));

		sum[g] = _mm256_add_pd(sum[g], _mm256_mul_pd(d, d));
		if (left <= 4)
			break;
	}
	return avx2_fold(sum);
}

TARGET_AVX2
static double avx2_dot_exact(const float *a, const float *b, uint32_t dim)
{
	__m256d sum[8];
	uint32_t i = 0;

	for (int g = 0; g < 8; g++)
		sum[g] = _mm256_setzero_pd();
	for (; i + LANES <= dim; i += LANES) {
#pragma GCC unroll 8
		for (uint32_t g = 0; g < 8; g++)
			sum[g] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(
							 a + i + 4 * g)),
				_mm256_cvtps_pd(_mm_loadu_ps(b + i + 4 * g)),
				sum[g]);
	}
	for (uint32_t g = 0; i < dim; g++, i += 4) {
		int32_t left = (int32_t)(dim - i);

		sum[g] = _mm256_fmadd_pd(avx2_load4(a + i, left),
			avx2_load4(b + i, left), sum[g]);
		if (left <= 4)
			break;
	}
	return avx2_fold(sum);
}

/* 16 running sums would spill; b's second reading comes from the cache. */
TARGET_AVX2
static double avx2_dot_norm_exact(const float *a, const float *b, uint32_t dim,
	double *bb)
{
	*bb = avx2_dot_exact(b, b, dim);
	return avx2_dot_exact(a, b, dim);
}

TARGET_AVX2
static inline float avx2_fold_fast(const __m256 *s)
{
	__m256 t = _mm256_add_ps(_mm256_add_ps(s[0], s[2]),
		_mm256_add_ps(s[1], s[3]));
	__m128 u = _mm_add_ps(_mm256_castps256_ps128(t),
		_mm256_extractf128_ps(t, 1));

	u = _mm_add_ps(u, _mm_movehl_ps(u, u));
	return _mm_cvtss_f32(_mm_add_ss(u, _mm_movehdup_ps(u)));
}

/* The elements that are left of a group of 8, the others as zeros. */
TARGET_AVX2
static inline __m256 avx2_load8(const float *p, int32_t left)
{
	assert(left > 0);
	__m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left),
		_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));

	return _mm256_maskload_ps(p, mask);
}

TARGET_AVX2
static float avx2_l2sq(const float *a, const float *b, uint32_t dim,
	float bound)
{
	__m256 sum[4];
	uint32_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = _mm256_setzero_ps();
	for (; i + 32 <= dim; i += 32) {
#pragma GCC unroll 4
		for (uint32_t g = 0; g < 4; g++) {
			__m256 d = _mm256_sub_ps(_mm256_loadu_ps(a + i + 8 * g),
				_mm256_loadu_ps(b + i + 8 * g));

			sum[g] = _mm256_fmadd_ps(d, d, sum[g]);
		}
		if ((i + 32) % BOUND_EVERY == 0 && i + 32 < dim) {
			float part = avx2_fold_fast(sum);

			if (part > bound)
				return part;
		}
	}
	for (uint32_t g = 0; i < dim; g++, i += 8) {
		int32_t left = (int32_t)(dim - i);
		__m256 d = _mm256_sub_ps(avx2_load8(a + i, left),
			avx2_load8(b + i, left));

		sum[g] = _mm256_fmadd_ps(d, d, sum[g]);
		if (left <= 8)
			break;
	}
	return avx2_fold_fast(sum);
}

TARGET_AVX2
static float avx2_dot(const float *a, const float *b, uint32_t dim)
{
	__m256 sum[4];
	uint32_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = _mm256_setzero_ps();
	for (; i + 32 <= dim; i += 32) {
#pragma GCC unroll 4
		for (uint32_t g = 0; g < 4; g++)
			sum[g] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * g),
				_mm256_loadu_ps(b + i + 8 * g), sum[g]);
	}
	for (uint32_t g = 0; i < dim; g++, i += 8) {
		int32_t left = (int32_t)(dim - i);

		sum[g] = _mm256_fmadd_ps(avx2_load8(a + i, left),
			avx2_load8(b + i, left), sum[g]);
		if (left <= 8)
			break;
	}
	return avx2_fold_fast(sum);
}

/* Squares of the differences of 32 bytes, added to 8 sums. No sum overflows:
 * each takes 4 squares of 32 bytes, and 65,535 bytes have 2^31 / 255^2 / 4. */
TARGET_AVX2
static inline __m256i avx2_u8_square(__m256i sum, __m256i a, __m256i b)
{
	__m256i zero = _mm256_setzero_si256();
	__m256i d = _mm256_or_si256(
		_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));
	__m256i low = _mm256_unpacklo_epi8(d, zero);
	__m256i high = _mm256_unpackhi_epi8(d, zero);

	sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, low));
	return _mm256_add_epi32(sum, _mm256_madd_epi16(high, high));
}

TARGET_AVX2
static inline uint32_t avx2_fold_u32(__m256i s)
{
	__m128i t = _mm_add_epi32(_mm256_castsi256_si128(s),
		_mm256_extracti128_si256(s, 1));

	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(t);
}

TARGET_AVX2
static uint32_t avx2_u8_l2sq(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	__m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
	uint32_t i = 0;

	for (; i + 64 <= len; i += 64) {
#pragma GCC unroll 2
		for (uint32_t g = 0; g < 2; g++)
			sum[g] = avx2_u8_square(sum[g],
				_mm256_loadu_si256((const __m256i_u *)(a + i +
								       32 * g)),
				_mm256_loadu_si256((const __m256i_u *)(b + i +
								       32 * g)));
	}
	for (; i < len; i += 32) {
		uint8_t rest[2][32] = {{0}};
		uint32_t left = VG_MIN(len - i, 32u);

		memcpy(rest[0], a + i, left);
		memcpy(rest[1], b + i, left);
		sum[0] = avx2_u8_square(sum[0],
			_mm256_loadu_si256((const __m256i_u *)rest[0]),
			_mm256_loadu_si256((const __m256i_u *)rest[1]));
	}
	return avx2_fold_u32(_mm256_add_epi32(sum[0], sum[1]));
}

static const struct dist_kernels avx2_kernels = {
	.name = "avx2",
	.l2sq = avx2_l2sq,
	.dot = avx2_dot,
	.l2sq_exact = avx2_l2sq_exact,
	.dot_exact = avx2_dot_exact,
	.dot_norm_exact = avx2_dot_norm_exact,
	.u8_l2sq = avx2_u8_l2sq,
};

/* ---- AVX-512: 4 registers of 8 doubles; 4 of 16 floats ---- */

TARGET_AVX512
static inline __m512d avx512_load8(const float *p, uint32_t left)
{
	assert(left > 0);
	__mmask8 mask = (__mmask8)(left >= 8 ? 0xff : (1u << left) - 1);

	return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, p));
}

TARGET_AVX512
static inline __m512 avx512_load16(const float *p, uint32_t left)
{
	assert(left > 0);
	__mmask16 mask = (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);

	return _mm512_maskz_loadu_ps(mask, p);
}

TARGET_AVX512
static inline double avx512_fold(const __m512d *s)
{
	__m512d t = _mm512_add_pd(_mm512_add_pd(s[0], s[2]),
		_mm512_add_pd(s[1], s[3]));
	__m256d u = _mm256_add_pd(_mm512_castpd512_pd256(t),
		_mm512_extractf64x4_pd(t, 1));
	__m128d v = _mm_add_pd(_mm256_castpd256_pd128(u),
		_mm256_extractf128_pd(u, 1));

	return _mm_cvtsd_f64(_mm_add_sd(v, _mm_unpackhi_pd(v, v)));
}

TARGET_AVX512
static double avx512_l2sq_exact(const float *a, const float *b, uint32_t dim)
{
	__m512d sum[4];
	uint32_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = _mm512_setzero_pd();
	for (; i + LANES <= dim; i += LANES) {
#pragma GCC unroll 4
		for (uint32_t g = 0; g < 4; g++) {
			__m512d d =
				_mm512_sub_pd(_mm512_cvtps_pd(_mm256_loadu_ps(
						      a + i + 8 * g)),
					_mm512_cvtps_pd(_mm256_loadu_ps(
						b + i + 8 * g)));

			sum[g] = _mm512_add_pd(sum[g], _mm512_mul_pd(d, d));
		}
	}
	for (uint32_t g = 0; i < dim; g++, i += 8) {
		uint32_t left = dim - i;
		__m512d d = _mm512_sub_pd(avx512_load8(a + i, left),
			avx512_load8(b + i, left));

		sum[g] = _mm512_add_pd(sum[g], _mm512_mul_pd(d, d));
		if (left <= 8)
			break;
	}
	return avx512_fold(sum);
}

TARGET_AVX512
static double avx512_dot_norm_exact(const float *a, const float *b,
	uint32_t dim, double *bb)
{
	__m512d sum[4], self[4];
	uint32_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = self[g] = _mm512_setzero_pd();
	for (; i + LANES <= dim; i += LANES) {
#pragma GCC unroll 4
		for (uint32_t g = 0; g < 4; g++) {
			__m512d x =
				_mm512_cvtps_pd(_mm256_loadu_ps(a + i + 8 * g));
			__m512d y =
				_mm512_cvtps_pd(_mm256_loadu_ps(b + i + 8 * g));

			sum[g] = _mm512_fmadd_pd(x, y, sum[g]);
			self[g] = _mm512_fmadd_pd(y, y, self[g]);
		}
	}
	for (uint32_t g = 0; i < dim; g++, i += 8) {
		uint32_t left = dim - i;
		__m512d x = avx512_load8(a + i, left);
		__m512d y = avx512_load8(b + i, left);

		sum[g] = _mm512_fmadd_pd(x, y, sum[g]);
		self[g] = _mm512_fmadd_pd(y, y, self[g]);
		if (left <= 8)
			break;
	}
	*bb = avx512_fold(self);
	return avx512_fold(sum);
}

TARGET_AVX512
static double avx512_dot_exact(const float *a, const float *b, uint32_t dim)
{
	double unused;

	return avx512_dot_norm_exact(a, b, dim, &unused);
}

TARGET_AVX512
static float avx512_l2sq(const float *a, const float *b, uint32_t dim,
	float bound)
{
	__m512 sum[4];
	uint32_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = _mm512_setzero_ps();
	for (; i + 64 <= dim; i += 64) {
#pragma GCC unroll 4
		for (uint32_t g = 0; g < 4; g++) {
			__m512 d =
				_mm512_sub_ps(_mm512_loadu_ps(a + i + 16 * g),
					_mm512_loadu_ps(b + i + 16 * g));

			sum[g] = _mm512_fmadd_ps(d, d, sum[g]);
		}
		if ((i + 64) % BOUND_EVERY == 0 && i + 64 < dim) {
			float part = _mm512_reduce_add_ps(
				_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]),
					_mm512_add_ps(sum[2], sum[3])));

			if (part > bound)
				return part;
		}
	}
	for (uint32_t g = 0; i < dim; g++, i += 16) {
		uint32_t left = dim - i;
		__m512 d = _mm512_sub_ps(avx512_load16(a + i, left),
			avx512_load16(b + i, left));

		sum[g] = _mm512_fmadd_ps(d, d, sum[g]);
		if (left <= 16)
			break;
	}
	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]),
		_mm512_add_ps(sum[2], sum[3])));
}

TARGET_AVX512
static float avx512_dot(const float *a, const float *b, uint32_t dim)
{
	__m512 sum[4];
	uint32_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = _mm512_setzero_ps();
	for (; i + 64 <= dim; i += 64) {
#pragma GCC unroll 4
		for (uint32_t g = 0; g < 4; g++)
			sum[g] = _mm512_fmadd_ps(_mm512_loadu_ps(
							 a + i + 16 * g),
				_mm512_loadu_ps(b + i + 16 * g), sum[g]);
	}
	for (uint32_t g = 0; i < dim; g++, i += 16) {
		uint32_t left = dim - i;

		sum[g] = _mm512_fmadd_ps(avx512_load16(a + i, left),
			avx512_load16(b + i, left), sum[g]);
		if (left <= 16)
			break;
	}
	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]),
		_mm512_add_ps(sum[2], sum[3])));
}

TARGET_AVX512
static inline __m512i avx512_u8_square(__m512i sum, __m512i a, __m512i b)
{
	__m512i zero = _mm512_setzero_si512();
	__m512i d = _mm512_or_si512(
		_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
	__m512i low = _mm512_unpacklo_epi8(d, zero);
	__m512i high = _mm512_unpackhi_epi8(d, zero);

	sum = _mm512_add_epi32(sum, _mm512_madd_epi16(low, low));
	return _mm512_add_epi32(sum, _mm512_madd_epi16(high, high));
}

TARGET_AVX512
static uint32_t avx512_u8_l2sq(
	const uint8_t *a, const uint8_t *b, uint32_t len)
{
	__m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
	uint32_t i = 0;

	for (; i + 128 <= len; i += 128) {
#pragma GCC unroll 2
		for (uint32_t g = 0; g < 2; g++)
			sum[g] = avx512_u8_square(sum[g],
				_mm512_loadu_si512(a + i + 64 * g),
				_mm512_loadu_si512(b + i + 64 * g));
	}
	for (; i < len; i += 64) {
		uint32_t left = len - i;
		__mmask64 mask = left >= 64 ? ~0ull : (1ull << left) - 1;

		sum[0] = avx512_u8_square(sum[0],
			_mm512_maskz_loadu_epi8(mask, a + i),
			_mm512_maskz_loadu_epi8(mask, b + i));
	}
	sum[0] = _mm512_add_epi32(sum[0], sum[1]);
	return avx2_fold_u32(
		_mm256_add_epi32(_mm512_castsi512_si256(sum[0]),
			_mm512_extracti64x4_epi64(sum[0], 1)));
}

static const struct dist_kernels avx512_kernels = {
	.name = "avx512",
	.l2sq = avx512_l2sq,
	.dot = avx512_dot,
	.l2sq_exact = avx512_l2sq_exact,
	.dot_exact = avx512_dot_exact,
	.dot_norm_exact = avx512_dot_norm_exact,
	.u8_l2sq = avx512_u8_l2sq,
};

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq");
}

#endif

/* ---- dispatch ---- */

static bool always(void)
{
	return true;
}

/* Widest first. */
static const struct {
	const struct dist_kernels *kernels;
	bool (*is_there)(void);
} known[] = {
#if defined(__x86_64__)
	{&avx512_kernels, has_avx512},
	{&avx2_kernels, has_avx2},
#endif
	{&scalar_kernels, always},
};

/* Relaxed: the tables are constant, and two threads choose the same one. */
static _Atomic(const struct dist_kernels *) in_use;

int dist_force(const char *name)
{
	for (size_t i = 0; i < VG_ARRAY_LEN(known); i++) {
		if (name && strcmp(name, known[i].kernels->name) != 0)
			continue;
		if (!known[i].is_there())
			continue;
		atomic_store_explicit(&in_use, known[i].kernels,
			memory_order_relaxed);
		return 0;
	}
	return -ENOTSUP;
}

const struct dist_kernels *dist_kernels_get(void)
{
	const struct dist_kernels *k =
		atomic_load_explicit(&in_use, memory_order_relaxed);

	if (!k) {
		int rc = dist_force(NULL);

		assert(rc == 0); /* scalar is always there */
		(void)rc;
		k = atomic_load_explicit(&in_use, memory_order_relaxed);
	}
	return k;
}

const char *dist_kernel_name(void)
{
	const struct dist_kernels *k = dist_kernels_get();

	assert(k);
	return k->name;
}

/* ---- distances ---- */

/* The nearest float, but never an infinity; from a damaged row, whose bytes are
 * no numbers, as far as can be. */
static float to_float(double d)
{
	if (!(d < FLT_MAX))
		return FLT_MAX;
	return d <= -FLT_MAX ? -FLT_MAX : (float)d;
}

static float cosine(double dot, double aa, double bb, uint32_t dim)
{
	double noise = (dim / 16 + 32) * 0x1p-53;
	double length2 = aa * bb;
	double d;

	assert(!(length2 < 0)); /* of a damaged row it may be no number */
	assert(noise < 1e-12); /* VG_DIM_MAX */
	if (length2 == 0)
		return 1.0f;
	d = 1.0 - dot / sqrt(length2);
	return d < noise ? 0.0f : to_float(d);
}

void dist_query_init(struct dist_query *q, enum vg_metric metric, uint32_t dim,
	const float *vec)
{
	assert(dim >= 1 && dim <= VG_DIM_MAX);
	assert(metric == VG_L2 || metric == VG_COSINE || metric == VG_IP);
	q->kernels = dist_kernels_get();
	q->vec = vec;
	q->norm2 = q->kernels->dot_exact(vec, vec, dim);
	q->dim = dim;
	q->metric = metric;
	assert(!(q->norm2 < 0)); /* of a damaged row it may be no number */
}

float dist_query_exact(const struct dist_query *q, const float *row)
{
	const struct dist_kernels *k = q->kernels;
	double dot, bb;

	switch (q->metric) {
	case VG_L2:
		return to_float(sqrt(k->l2sq_exact(q->vec, row, q->dim)));
	case VG_COSINE:
		dot = k->dot_norm_exact(q->vec, row, q->dim, &bb);
		return cosine(dot, q->norm2, bb, q->dim);
	case VG_IP:
		break;
	}
	assert(q->metric == VG_IP);
	/* 0 - x, not -x: the distance of orthogonal vectors is 0, not -0. */
	return to_float(0.0 - k->dot_exact(q->vec, row, q->dim));
}

void dist_query_exact_rows(const struct dist_query *q, const float *rows,
	uint32_t n, float *out)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = dist_query_exact(q, rows + (size_t)i * q->dim);
}

float dist_exact(enum vg_metric metric, uint32_t dim, const float *a,
	const float *b)
{
	struct dist_query q;

	dist_query_init(&q, metric, dim, a);
	return dist_query_exact(&q, b);
}
