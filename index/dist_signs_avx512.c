/* SPDX-License-Identifier: Apache-2.0 */
/* dist_signs_avx512.c: the kernels of signs.h in AVX-512: 4 groups at once. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "index/dist_signs.h"

#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq")))
#define STEP 64u /* bytes */

/* x and y as (x + y, x - y) of each pair of lanes `swapped` apart, whose second
 * ones are those of mask. */
TARGET static inline __m512 butterfly(__m512 v, __m512 swapped, __mmask16 mask)
{
	return _mm512_add_ps(swapped,
		_mm512_mask_xor_ps(v, mask, v, _mm512_set1_ps(-0.f)));
}

TARGET static inline __m512 transform16(__m512 v)
{
	v = butterfly(v, _mm512_permute_ps(v, 0xb1), 0xaaaa);
	v = butterfly(v, _mm512_permute_ps(v, 0x4e), 0xcccc);
	v = butterfly(v, _mm512_shuffle_f32x4(v, v, 0xb1), 0xf0f0);
	return butterfly(v, _mm512_shuffle_f32x4(v, v, 0x4e), 0xff00);
}

TARGET static void transform(float *x, const float *flips, uint32_t n)
{
	assert(n >= SIGNS_ROUND && (n & (n - 1)) == 0);
	for (uint32_t i = 0; i < n; i += 16)
		_mm512_storeu_ps(x + i,
			transform16(_mm512_mul_ps(_mm512_loadu_ps(x + i),
				_mm512_loadu_ps(flips + i))));
	for (uint32_t h = 16; h < n; h *= 2)
		for (uint32_t i = 0; i < n; i += 2 * h)
			for (uint32_t j = i; j < i + h; j += 16) {
				__m512 a = _mm512_loadu_ps(x + j);
				__m512 b = _mm512_loadu_ps(x + j + h);

				_mm512_storeu_ps(x + j, _mm512_add_ps(a, b));
				_mm512_storeu_ps(x + j + h,
					_mm512_sub_ps(a, b));
			}
}

TARGET static void table(const float *q, uint32_t len, float scale,
	uint8_t *table)
{
	/* Lane k has the bits of k. */
	static const __mmask16 down[4] = {0x5555, 0x3333, 0x0f0f, 0x00ff};
	__m512 sign = _mm512_set1_ps(-0.f);

	assert(len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < len; i += 4) {
		__m512 t = _mm512_set1_ps(signs_all(q + i));

		for (uint32_t j = 0; j < 4; j++) {
			__m512 x = _mm512_set1_ps(q[i + j]);

			t = _mm512_add_ps(t,
				_mm512_mask_xor_ps(x, down[j], x, sign));
		}
		t = _mm512_add_ps(_mm512_mul_ps(t, _mm512_set1_ps(scale)),
			_mm512_set1_ps(.5f));
		_mm_storeu_si128((__m128i_u *)(void *)(table + i * 4),
			_mm512_cvtepi32_epi8(_mm512_cvttps_epi32(t)));
	}
}

TARGET static void code(const float *u, const float *v, uint32_t len,
	uint8_t *halves, float *sums)
{
	float part[SIGNS_SUMS][SIGNS_ROUND];
	__m512 rr = _mm512_setzero_ps(), abs = rr, us = rr;
	__m512 sign = _mm512_set1_ps(-0.f);

	assert(len > 0 && len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < len; i += 16) {
		__m512 x = _mm512_loadu_ps(u + i);
		__m512 r = _mm512_sub_ps(_mm512_loadu_ps(v + i), x);
		__mmask16 up =
			_mm512_cmp_ps_mask(r, _mm512_setzero_ps(), _CMP_GE_OQ);

		rr = _mm512_add_ps(rr, _mm512_mul_ps(r, r));
		abs = _mm512_add_ps(abs, _mm512_abs_ps(r));
		us = _mm512_add_ps(us,
			_mm512_mask_xor_ps(x, (__mmask16)~up, x, sign));
		for (uint32_t j = 0; j < 4; j++)
			halves[i / 4 + j] = up >> 4 * j & 15;
	}
	_mm512_storeu_ps(part[0], rr);
	_mm512_storeu_ps(part[1], abs);
	_mm512_storeu_ps(part[2], us);
	signs_fold(part, sums);
}

/* 16 sums of 16 bits: those of even bytes, then of odd ones, each in 4 parts. */
TARGET static inline __m512i fold(__m512i even, __m512i odd)
{
	__m256i a = _mm256_add_epi16(_mm512_castsi512_si256(even),
		_mm512_extracti64x4_epi64(even, 1));
	__m256i b = _mm256_add_epi16(_mm512_castsi512_si256(odd),
		_mm512_extracti64x4_epi64(odd, 1));

	return _mm512_cvtepu16_epi32(
		_mm256_add_epi16(_mm256_permute2x128_si256(a, b, 0x20),
			_mm256_permute2x128_si256(a, b, 0x31)));
}

/* The sums of codes 0 to 15 and of 16 to 31, of at most SIGNS_SHORT groups. */
SIGNS_RACY TARGET static inline void add_short(__m512i sum[2],
	const uint8_t *codes, const uint8_t *table, uint32_t len)
{
	__m512i half = _mm512_set1_epi8(15), all[2], odd[2];

	all[0] = all[1] = odd[0] = odd[1] = _mm512_setzero_si512();
	for (uint32_t i = 0; i < len; i += STEP) {
		__m512i c = _mm512_loadu_si512(codes + i);
		__m512i t = _mm512_loadu_si512(table + i), x[2];

		x[0] = _mm512_shuffle_epi8(t, _mm512_and_si512(c, half));
		x[1] = _mm512_shuffle_epi8(t,
			_mm512_and_si512(_mm512_srli_epi16(c, 4), half));
#pragma GCC unroll 2
		for (int k = 0; k < 2; k++) {
			all[k] = _mm512_add_epi16(all[k], x[k]);
			odd[k] = _mm512_add_epi16(odd[k],
				_mm512_srli_epi16(x[k], 8));
		}
	}
	for (int k = 0; k < 2; k++) {
		/* Modulo 2^16, as the sums are: they are below. */
		__m512i even =
			_mm512_sub_epi16(all[k], _mm512_slli_epi16(odd[k], 8));

		sum[k] = _mm512_add_epi32(sum[k], fold(even, odd[k]));
	}
}

SIGNS_RACY TARGET static uint32_t estimate(const struct signs_query *q,
	const struct signs_block *b, float bound, float *est)
{
	uint32_t end = SIGNS_BYTES(q->len), below = 0;
	__m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};

	assert(q->len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < end; i += 16 * SIGNS_SHORT)
		add_short(sum, b->codes + i, q->table + i,
			VG_MIN(16 * SIGNS_SHORT, end - i));
#pragma GCC unroll 2
	for (uint32_t k = 0; k < 2; k++) {
		__m512 t =
			_mm512_sub_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[k]),
					      _mm512_set1_ps(q->scale)),
				_mm512_set1_ps(q->zero));
		__m512 e = _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(
							       b->add + 16 * k),
						 _mm512_set1_ps(q->unit)),
			_mm512_set1_ps(q->base));

		e = _mm512_add_ps(e,
			_mm512_mul_ps(_mm512_loadu_ps(b->mul + 16 * k), t));
		_mm512_storeu_ps(est + 16 * k, e);
		below |= (uint32_t)_mm512_cmp_ps_mask(e, _mm512_set1_ps(bound),
				 _CMP_LT_OQ)
			 << 16 * k;
	}
	return below;
}

const struct signs_kernels signs_avx512 = {transform, table, code, estimate};
#endif
