/* SPDX-License-Identifier: Apache-2.0 */
/* dist_signs_avx2.c: the kernels of signs.h in AVX2: 2 groups at once. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "index/dist_signs.h"

#define TARGET __attribute__((target("avx2")))
#define STEP 32u /* bytes */

/* v and its lanes swapped in pairs, as sums and differences: second lanes have
 * their sign flipped by sign. */
TARGET static inline __m256 butterfly(__m256 v, __m256 swapped, __m256 sign)
{
	return _mm256_add_ps(swapped, _mm256_xor_ps(v, sign));
}

TARGET static inline __m256 transform8(__m256 v)
{
	v = butterfly(v, _mm256_permute_ps(v, 0xb1),
		_mm256_setr_ps(0, -0.f, 0, -0.f, 0, -0.f, 0, -0.f));
	v = butterfly(v, _mm256_permute_ps(v, 0x4e),
		_mm256_setr_ps(0, 0, -0.f, -0.f, 0, 0, -0.f, -0.f));
	return butterfly(v, _mm256_permute2f128_ps(v, v, 1),
		_mm256_setr_ps(0, 0, 0, 0, -0.f, -0.f, -0.f, -0.f));
}

TARGET static void transform(float *x, const float *flips, uint32_t n)
{
	assert(n >= SIGNS_ROUND && (n & (n - 1)) == 0);
	for (uint32_t i = 0; i < n; i += 8)
		_mm256_storeu_ps(x + i,
			transform8(_mm256_mul_ps(_mm256_loadu_ps(x + i),
				_mm256_loadu_ps(flips + i))));
	for (uint32_t h = 8; h < n; h *= 2)
		for (uint32_t i = 0; i < n; i += 2 * h)
			for (uint32_t j = i; j < i + h; j += 8) {
				__m256 a = _mm256_loadu_ps(x + j);
				__m256 b = _mm256_loadu_ps(x + j + h);

				_mm256_storeu_ps(x + j, _mm256_add_ps(a, b));
				_mm256_storeu_ps(x + j + h,
					_mm256_sub_ps(a, b));
			}
}

/* 16 sums of a group that stand in two registers, as bytes. */
TARGET static inline __m128i to_bytes(__m256 low, __m256 high)
{
	__m256i words = _mm256_permute4x64_epi64(
		_mm256_packus_epi32(_mm256_cvttps_epi32(low),
			_mm256_cvttps_epi32(high)),
		0xd8);

	return _mm_packus_epi16(_mm256_castsi256_si128(words),
		_mm256_extracti128_si256(words, 1));
}

TARGET static void table(const float *q, uint32_t len, float scale,
	uint8_t *table)
{
	/* Lane k has the bits of k; the fourth is the register's. */
	__m256 down[3] = {_mm256_setr_ps(-0.f, 0, -0.f, 0, -0.f, 0, -0.f, 0),
		_mm256_setr_ps(-0.f, -0.f, 0, 0, -0.f, -0.f, 0, 0),
		_mm256_setr_ps(-0.f, -0.f, -0.f, -0.f, 0, 0, 0, 0)};
	__m256 factor = _mm256_set1_ps(scale), more = _mm256_set1_ps(.5f);

	assert(len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < len; i += 4) {
		__m256 t = _mm256_set1_ps(signs_all(q + i));
		__m256 last = _mm256_set1_ps(q[i + 3]), low, high;

		for (uint32_t j = 0; j < 3; j++)
			t = _mm256_add_ps(t,
				_mm256_xor_ps(_mm256_set1_ps(q[i + j]),
					down[j]));
		low = _mm256_sub_ps(t, last);
		high = _mm256_add_ps(t, last);
		low = _mm256_add_ps(_mm256_mul_ps(low, factor), more);
		high = _mm256_add_ps(_mm256_mul_ps(high, factor), more);
		_mm_storeu_si128((__m128i_u *)(void *)(table + i * 4),
			to_bytes(low, high));
	}
}

TARGET static void code(const float *u, const float *v, uint32_t len,
	uint8_t *halves, float *sums)
{
	float part[SIGNS_SUMS][SIGNS_ROUND];
	__m256 sum[SIGNS_SUMS][2], sign = _mm256_set1_ps(-0.f);

	assert(len > 0 && len % SIGNS_ROUND == 0);
	for (int s = 0; s < SIGNS_SUMS; s++)
		sum[s][0] = sum[s][1] = _mm256_setzero_ps();
	for (uint32_t i = 0; i < len; i += 16)
#pragma GCC unroll 2
		for (uint32_t k = 0; k < 2; k++) {
			__m256 x = _mm256_loadu_ps(u + i + 8 * k);
			__m256 r = _mm256_sub_ps(_mm256_loadu_ps(v + i + 8 * k),
				x);
			__m256 up = _mm256_cmp_ps(r, _mm256_setzero_ps(),
				_CMP_GE_OQ);
			uint32_t bits = (uint32_t)_mm256_movemask_ps(up);

			sum[0][k] =
				_mm256_add_ps(sum[0][k], _mm256_mul_ps(r, r));
			sum[1][k] = _mm256_add_ps(sum[1][k],
				_mm256_andnot_ps(sign, r));
			sum[2][k] = _mm256_add_ps(sum[2][k],
				_mm256_xor_ps(x, _mm256_andnot_ps(up, sign)));
			halves[i / 4 + 2 * k] = bits & 15;
			halves[i / 4 + 2 * k + 1] = (uint8_t)(bits >> 4);
		}
	for (int s = 0; s < SIGNS_SUMS; s++)
		for (int k = 0; k < 2; k++)
			_mm256_storeu_ps(part[s] + 8 * k, sum[s][k]);
	signs_fold(part, sums);
}

/* Sums of 16 bits, in 2 parts, onto 8 of 32. */
TARGET static inline __m256i fold(__m256i sum, __m256i part)
{
	return _mm256_add_epi32(sum,
		_mm256_cvtepu16_epi32(
			_mm_add_epi16(_mm256_castsi256_si128(part),
				_mm256_extracti128_si256(part, 1))));
}

/* The sums of codes 0 to 7, 8 to 15, ..., of at most SIGNS_SHORT groups. */
SIGNS_RACY TARGET static inline void add_short(__m256i sum[4],
	const uint8_t *codes, const uint8_t *table, uint32_t len)
{
	__m256i half = _mm256_set1_epi8(15), all[2], odd[2];

	all[0] = all[1] = odd[0] = odd[1] = _mm256_setzero_si256();
	for (uint32_t i = 0; i < len; i += STEP) {
		__m256i c = _mm256_loadu_si256(
			(const __m256i_u *)(const void *)(codes + i));
		__m256i t = _mm256_loadu_si256(
			(const __m256i_u *)(const void *)(table + i));
		__m256i x[2];

		x[0] = _mm256_shuffle_epi8(t, _mm256_and_si256(c, half));
		x[1] = _mm256_shuffle_epi8(t,
			_mm256_and_si256(_mm256_srli_epi16(c, 4), half));
#pragma GCC unroll 2
		for (int k = 0; k < 2; k++) {
			all[k] = _mm256_add_epi16(all[k], x[k]);
			odd[k] = _mm256_add_epi16(odd[k],
				_mm256_srli_epi16(x[k], 8));
		}
	}
	for (int k = 0; k < 2; k++) {
		/* Modulo 2^16, as the sums are: they are below. */
		__m256i even =
			_mm256_sub_epi16(all[k], _mm256_slli_epi16(odd[k], 8));

		sum[2 * k] = fold(sum[2 * k], even);
		sum[2 * k + 1] = fold(sum[2 * k + 1], odd[k]);
	}
}

SIGNS_RACY TARGET static uint32_t estimate(const struct signs_query *q,
	const struct signs_block *b, float bound, float *est)
{
	uint32_t end = SIGNS_BYTES(q->len), below = 0;
	__m256i sum[4];

	assert(q->len % SIGNS_ROUND == 0);
	for (int k = 0; k < 4; k++)
		sum[k] = _mm256_setzero_si256();
	for (uint32_t i = 0; i < end; i += 16 * SIGNS_SHORT)
		add_short(sum, b->codes + i, q->table + i,
			VG_MIN(16 * SIGNS_SHORT, end - i));
	for (uint32_t k = 0; k < 4; k++) {
		__m256 t =
			_mm256_sub_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[k]),
					      _mm256_set1_ps(q->scale)),
				_mm256_set1_ps(q->zero));
		__m256 e = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(
							       b->add + 8 * k),
						 _mm256_set1_ps(q->unit)),
			_mm256_set1_ps(q->base));

		e = _mm256_add_ps(e,
			_mm256_mul_ps(_mm256_loadu_ps(b->mul + 8 * k), t));
		_mm256_storeu_ps(est + 8 * k, e);
		below |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(e,
				 _mm256_set1_ps(bound), _CMP_LT_OQ))
			 << 8 * k;
	}
	return below;
}

const struct signs_kernels signs_avx2 = {transform, table, code, estimate};
#endif
