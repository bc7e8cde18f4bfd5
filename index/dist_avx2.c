/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist_avx2.c: kernels of AVX2, FMA and F16C: 8 registers of 4 doubles for
 * exact sums, 4 of 8 floats for fast ones, 2 of 8 whole numbers for bytes.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "index/dist_int.h"

#define TARGET __attribute__((target("avx2,fma,f16c,popcnt")))

static_assert(DIST_BOUND_EVERY % 32 == 0, "a round takes 32 floats");
static_assert(DIST_LANES == 8 * 4, "8 registers have the running sums");

/* ---- exact ---- */

/* Elements i to i + 3 in double. */
TARGET DIST_BODY __m256d load4(const void *v, size_t i, bool is_half)
{
	if (is_half) {
		const uint16_t *p = (const uint16_t *)v + i;

		return _mm256_cvtps_pd(_mm_cvtph_ps(
			_mm_loadl_epi64((const __m128i_u *)(const void *)p)));
	}
	return _mm256_cvtps_pd(_mm_loadu_ps((const float *)v + i));
}

/* The elements that are left from i on, at most 4, the others as zeros. */
TARGET DIST_BODY __m256d load4_rest(const void *v, size_t i, size_t left,
	bool is_half)
{
	assert(left > 0);
	if (is_half) {
		uint16_t rest[4] = {0};

		if (left >= 4)
			return load4(v, i, true);
		memcpy(rest, (const uint16_t *)v + i, left * sizeof(*rest));
		return load4(rest, 0, true);
	}
	__m128i mask = _mm_cmpgt_epi32(_mm_set1_epi32((int)left),
		_mm_setr_epi32(0, 1, 2, 3));

	return _mm256_cvtps_pd(_mm_maskload_ps((const float *)v + i, mask));
}

TARGET static inline double fold_exact(const __m256d *s)
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

TARGET DIST_BODY __m256d add_exact(__m256d sum, __m256d x, __m256d y,
	enum dist_term term)
{
	__m256d d = _mm256_sub_pd(x, y);

	if (term == DIST_DOT) /* a product of floats is exact */
		return _mm256_fmadd_pd(x, y, sum);
	if (term == DIST_L2SQ)
		return _mm256_add_pd(sum, _mm256_mul_pd(d, d));
	return _mm256_add_pd(sum, _mm256_andnot_pd(_mm256_set1_pd(-0.0), d));
}

TARGET DIST_BODY double exact_sum(struct dist_pair p, enum dist_term term,
	bool is_half)
{
	__m256d sum[8];
	size_t i = 0;

	for (int g = 0; g < 8; g++)
		sum[g] = _mm256_setzero_pd();
	for (; i + DIST_LANES <= p.dim; i += DIST_LANES) {
#pragma GCC unroll 8
		for (size_t g = 0; g < 8; g++)
			sum[g] = add_exact(sum[g],
				load4(p.a, i + 4 * g, is_half),
				load4(p.b, i + 4 * g, is_half), term);
	}
#pragma GCC unroll 8
	for (size_t g = 0; g < 8; g++, i += 4) {
		if (i >= p.dim)
			break;
		sum[g] = add_exact(sum[g],
			load4_rest(p.a, i, p.dim - i, is_half),
			load4_rest(p.b, i, p.dim - i, is_half), term);
	}
	return fold_exact(sum);
}

/* 16 running sums would spill; b's second reading comes from the cache. */
TARGET DIST_BODY double avx2_exact(struct dist_pair p, enum dist_term term,
	bool is_half, double *norm)
{
	if (norm)
		*norm = exact_sum((struct dist_pair){p.b, p.b, p.dim}, DIST_DOT,
			is_half);
	return exact_sum(p, term, is_half);
}

/* ---- fast ---- */

TARGET DIST_BODY __m256 load8(const void *v, size_t i, bool is_half)
{
	if (is_half) {
		const uint16_t *p = (const uint16_t *)v + i;

		return _mm256_cvtph_ps(
			_mm_loadu_si128((const __m128i_u *)(const void *)p));
	}
	return _mm256_loadu_ps((const float *)v + i);
}

/* The elements that are left from i on, at most 8, the others as zeros. */
TARGET DIST_BODY __m256 load8_rest(const void *v, size_t i, size_t left,
	bool is_half)
{
	assert(left > 0);
	if (is_half) {
		uint16_t rest[8] = {0};

		if (left >= 8)
			return load8(v, i, true);
		memcpy(rest, (const uint16_t *)v + i, left * sizeof(*rest));
		return load8(rest, 0, true);
	}
	__m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left),
		_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));

	return _mm256_maskload_ps((const float *)v + i, mask);
}

TARGET static inline float fold_fast(const __m256 *s)
{
	__m256 t = _mm256_add_ps(_mm256_add_ps(s[0], s[2]),
		_mm256_add_ps(s[1], s[3]));
	__m128 u = _mm_add_ps(_mm256_castps256_ps128(t),
		_mm256_extractf128_ps(t, 1));

	u = _mm_add_ps(u, _mm_movehl_ps(u, u));
	return _mm_cvtss_f32(_mm_add_ss(u, _mm_movehdup_ps(u)));
}

TARGET DIST_BODY __m256 add_fast(__m256 sum, __m256 x, __m256 y,
	enum dist_term term)
{
	__m256 d = _mm256_sub_ps(x, y);

	if (term == DIST_DOT)
		return _mm256_fmadd_ps(x, y, sum);
	if (term == DIST_L2SQ)
		return _mm256_fmadd_ps(d, d, sum);
	return _mm256_add_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), d));
}

TARGET DIST_BODY float avx2_fast(struct dist_pair p, enum dist_term term,
	bool is_half, const float *bound, float *norm)
{
	__m256 sum[4], self[4];
	size_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = self[g] = _mm256_setzero_ps();
	for (; i + 32 <= p.dim; i += 32) {
#pragma GCC unroll 4
		for (size_t g = 0; g < 4; g++) {
			__m256 y = load8(p.b, i + 8 * g, is_half);

			sum[g] = add_fast(sum[g],
				load8(p.a, i + 8 * g, is_half), y, term);
			if (norm)
				self[g] = _mm256_fmadd_ps(y, y, self[g]);
		}
		if (bound && (i + 32) % DIST_BOUND_EVERY == 0 &&
			i + 32 < p.dim) {
			float part = fold_fast(sum);

			if (part > *bound)
				return part;
		}
	}
#pragma GCC unroll 4
	for (size_t g = 0; g < 4; g++, i += 8) {
		if (i >= p.dim)
			break;
		__m256 y = load8_rest(p.b, i, p.dim - i, is_half);

		sum[g] = add_fast(sum[g],
			load8_rest(p.a, i, p.dim - i, is_half), y, term);
		if (norm)
			self[g] = _mm256_fmadd_ps(y, y, self[g]);
	}
	if (norm)
		*norm = fold_fast(self);
	return fold_fast(sum);
}

/* ---- whole ---- */

static_assert(2 * 255 * 255 <= INT32_MAX, "products are added in pairs");
static_assert(4 * 15 * 15 <= INT16_MAX, "those of nibbles in fours, 16 bits");
static_assert(8 * 255 <= UINT16_MAX, "differences are added in eights");

/* Products of 16-bit numbers, added in pairs. */
TARGET DIST_BODY __m256i add_products(__m256i sum, __m256i a, __m256i b,
	bool is_signed)
{
	__m256i zero = _mm256_setzero_si256();
	__m256i a_top = is_signed ? _mm256_cmpgt_epi8(zero, a) : zero;
	__m256i b_top = is_signed ? _mm256_cmpgt_epi8(zero, b) : zero;

	sum = _mm256_add_epi32(sum,
		_mm256_madd_epi16(_mm256_unpacklo_epi8(a, a_top),
			_mm256_unpacklo_epi8(b, b_top)));
	return _mm256_add_epi32(sum,
		_mm256_madd_epi16(_mm256_unpackhi_epi8(a, a_top),
			_mm256_unpackhi_epi8(b, b_top)));
}

/* The term of 32 bytes without a sign, added to 8 sums modulo 2^32. */
TARGET DIST_BODY __m256i add_u8(__m256i sum, __m256i a, __m256i b,
	enum dist_term term)
{
	if (term == DIST_DOT)
		return add_products(sum, a, b, false);
	if (term == DIST_L1)
		return _mm256_add_epi32(sum, _mm256_sad_epu8(a, b));
	__m256i d =
		_mm256_or_si256(_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));

	return add_products(sum, d, d, false);
}

/* The same of 64 nibbles, which are below 2^4: 4 products in 16 bits. */
TARGET DIST_BODY __m256i add_u4(__m256i sum, __m256i a, __m256i b,
	enum dist_term term)
{
	__m256i mask = _mm256_set1_epi8(15);
	__m256i x = _mm256_and_si256(a, mask), y = _mm256_and_si256(b, mask);
	__m256i z = _mm256_and_si256(_mm256_srli_epi16(a, 4), mask);
	__m256i w = _mm256_and_si256(_mm256_srli_epi16(b, 4), mask);

	if (term == DIST_L1)
		return _mm256_add_epi32(sum,
			_mm256_add_epi32(_mm256_sad_epu8(x, y),
				_mm256_sad_epu8(z, w)));
	if (term == DIST_L2SQ) { /* differences fit in 8 bits with a sign */
		x = y = _mm256_abs_epi8(_mm256_sub_epi8(x, y));
		z = w = _mm256_abs_epi8(_mm256_sub_epi8(z, w));
	}
	return _mm256_add_epi32(sum,
		_mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(x, y),
					  _mm256_maddubs_epi16(z, w)),
			_mm256_set1_epi16(1)));
}

TARGET DIST_BODY __m256i add_bytes(__m256i sum, __m256i a, __m256i b,
	enum dist_form form, enum dist_term term)
{
	if (form == DIST_U4)
		return add_u4(sum, a, b, term);
	if (form == DIST_U8)
		return add_u8(sum, a, b, term);
	if (term == DIST_DOT)
		return add_products(sum, a, b, true);
	/* Both moved up by 128 differ as before. */
	__m256i top = _mm256_set1_epi8(-128);

	return add_u8(sum, _mm256_xor_si256(a, top), _mm256_xor_si256(b, top),
		term);
}

TARGET static inline uint32_t fold_u32(__m256i s)
{
	__m128i t = _mm_add_epi32(_mm256_castsi256_si128(s),
		_mm256_extracti128_si256(s, 1));

	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(t);
}

TARGET DIST_BODY __m256i load32(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i_u *)(const void *)p);
}

/* The bytes of p[len] from i on, at most 32, among zeros: read from where 32
 * end, which masks those before i, or copied where there are no 32. */
TARGET DIST_BODY __m256i load32_rest(const uint8_t *p, size_t i, size_t len)
{
	static const uint64_t zeros_ones[8] = {0, 0, 0, 0, ~0ull, ~0ull, ~0ull,
		~0ull};
	uint8_t rest[32] = {0};
	size_t left = len - i;

	static_assert(sizeof(zeros_ones) == 64, "32 zeros and 32 ones");
	assert(left > 0);
	if (left >= 32)
		return load32(p + i);
	if (len >= 32)
		return _mm256_and_si256(load32(p + len - 32),
			load32((const uint8_t *)zeros_ones + left));
	memcpy(rest, p + i, left);
	return load32(rest);
}

TARGET DIST_BODY uint32_t avx2_bytes(const void *a, const void *b, uint32_t len,
	enum dist_form form, enum dist_term term)
{
	__m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
	const uint8_t *u = a, *v = b;
	size_t i = 0;

	for (; i + 64 <= len; i += 64) {
#pragma GCC unroll 2
		for (size_t g = 0; g < 2; g++)
			sum[g] = add_bytes(sum[g], load32(u + i + 32 * g),
				load32(v + i + 32 * g), form, term);
	}
	for (; i < len; i += 32)
		sum[0] = add_bytes(sum[0], load32_rest(u, i, len),
			load32_rest(v, i, len), form, term);
	return fold_u32(_mm256_add_epi32(sum[0], sum[1]));
}

/* 8 bytes a cycle: as fast as rows come. */
TARGET DIST_BODY uint32_t avx2_bits(const uint8_t *a, const uint8_t *b,
	uint32_t len)
{
	uint64_t sum = 0, x, y;
	size_t i = 0;

	for (; i + 8 <= len; i += 8) {
		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		sum += (uint64_t)__builtin_popcountll(x ^ y);
	}
	for (; i < len; i++)
		sum += (uint64_t)__builtin_popcount((uint32_t)(a[i] ^ b[i]));
	return (uint32_t)sum;
}

DIST_FLOATS(avx2, TARGET)
DIST_BYTES(avx2, TARGET)
DIST_BYTES_ROWS(avx2, TARGET)
DIST_TABLE(avx2, avx2, avx2, avx2);
#endif
