/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist_avx512.c: kernels of AVX-512: 4 registers of 8 doubles for exact sums, 4
 * of 16 floats for fast ones, 2 of 16 whole numbers for bytes.
 *
 * Two sets: avx512 (F, VL, BW, DQ) and avx512vnni, which has VNNI's sums of
 * products of bytes and VPOPCNTDQ besides (Ice Lake, Zen 4 and later).
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "index/dist_int.h"

#define BASE "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c"
#define TARGET __attribute__((target(BASE)))
#define TARGET_VNNI __attribute__((target(BASE ",avx512vnni,avx512vpopcntdq")))

static_assert(DIST_BOUND_EVERY % 64 == 0, "a round takes 64 floats");
static_assert(DIST_LANES == 4 * 8, "4 registers have the running sums");

/* The lowest bits, as many as elements are left, of n. */
static inline uint64_t mask_of(size_t left, uint32_t n)
{
	assert(left > 0 && n <= 64);
	return left >= n ? ~0ull >> (64 - n) : (1ull << left) - 1;
}

/* ---- exact ---- */

/* Elements i to i + 7 in double. */
TARGET DIST_BODY __m512d load8(const void *v, size_t i, bool is_half)
{
	if (is_half) {
		const uint16_t *p = (const uint16_t *)v + i;

		return _mm512_cvtps_pd(_mm256_cvtph_ps(
			_mm_loadu_si128((const __m128i_u *)(const void *)p)));
	}
	return _mm512_cvtps_pd(_mm256_loadu_ps((const float *)v + i));
}

/* The elements that are left from i on, at most 8, the others as zeros. */
TARGET DIST_BODY __m512d load8_rest(const void *v, size_t i, size_t left,
	bool is_half)
{
	__mmask8 mask = (__mmask8)mask_of(left, 8);

	if (is_half)
		return _mm512_cvtps_pd(_mm256_cvtph_ps(
			_mm_maskz_loadu_epi16(mask, (const uint16_t *)v + i)));
	return _mm512_cvtps_pd(
		_mm256_maskz_loadu_ps(mask, (const float *)v + i));
}

TARGET static inline double fold_exact(const __m512d *s)
{
	__m512d t = _mm512_add_pd(_mm512_add_pd(s[0], s[2]),
		_mm512_add_pd(s[1], s[3]));
	__m256d u = _mm256_add_pd(_mm512_castpd512_pd256(t),
		_mm512_extractf64x4_pd(t, 1));
	__m128d v = _mm_add_pd(_mm256_castpd256_pd128(u),
		_mm256_extractf128_pd(u, 1));

	return _mm_cvtsd_f64(_mm_add_sd(v, _mm_unpackhi_pd(v, v)));
}

TARGET DIST_BODY __m512d add_exact(__m512d sum, __m512d x, __m512d y,
	enum dist_term term)
{
	__m512d d = _mm512_sub_pd(x, y);

	if (term == DIST_DOT) /* a product of floats is exact */
		return _mm512_fmadd_pd(x, y, sum);
	if (term == DIST_L2SQ)
		return _mm512_add_pd(sum, _mm512_mul_pd(d, d));
	return _mm512_add_pd(sum, _mm512_abs_pd(d));
}

TARGET DIST_BODY double avx512_exact(struct dist_pair p, enum dist_term term,
	bool is_half, double *norm)
{
	__m512d sum[4], self[4];
	size_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = self[g] = _mm512_setzero_pd();
	for (; i + DIST_LANES <= p.dim; i += DIST_LANES) {
#pragma GCC unroll 4
		for (size_t g = 0; g < 4; g++) {
			__m512d y = load8(p.b, i + 8 * g, is_half);

			sum[g] = add_exact(sum[g],
				load8(p.a, i + 8 * g, is_half), y, term);
			if (norm)
				self[g] = _mm512_fmadd_pd(y, y, self[g]);
		}
	}
#pragma GCC unroll 4
	for (size_t g = 0; g < 4; g++, i += 8) {
		if (i >= p.dim)
			break;
		__m512d y = load8_rest(p.b, i, p.dim - i, is_half);

		sum[g] = add_exact(sum[g],
			load8_rest(p.a, i, p.dim - i, is_half), y, term);
		if (norm)
			self[g] = _mm512_fmadd_pd(y, y, self[g]);
	}
	if (norm)
		*norm = fold_exact(self);
	return fold_exact(sum);
}

/* ---- fast ---- */

TARGET DIST_BODY __m512 load16(const void *v, size_t i, bool is_half)
{
	if (is_half) {
		const uint16_t *p = (const uint16_t *)v + i;

		return _mm512_cvtph_ps(
			_mm256_loadu_si256((const __m256i_u *)(const void *)p));
	}
	return _mm512_loadu_ps((const float *)v + i);
}

/* The elements that are left from i on, at most 16, the others as zeros. */
TARGET DIST_BODY __m512 load16_rest(const void *v, size_t i, size_t left,
	bool is_half)
{
	__mmask16 mask = (__mmask16)mask_of(left, 16);

	if (is_half)
		return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask,
			(const uint16_t *)v + i));
	return _mm512_maskz_loadu_ps(mask, (const float *)v + i);
}

TARGET static inline float fold_fast(const __m512 *s)
{
	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]),
		_mm512_add_ps(s[2], s[3])));
}

TARGET DIST_BODY __m512 add_fast(__m512 sum, __m512 x, __m512 y,
	enum dist_term term)
{
	__m512 d = _mm512_sub_ps(x, y);

	if (term == DIST_DOT)
		return _mm512_fmadd_ps(x, y, sum);
	if (term == DIST_L2SQ)
		return _mm512_fmadd_ps(d, d, sum);
	return _mm512_add_ps(sum, _mm512_abs_ps(d));
}

TARGET DIST_BODY float avx512_fast(struct dist_pair p, enum dist_term term,
	bool is_half, const float *bound, float *norm)
{
	__m512 sum[4], self[4];
	size_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = self[g] = _mm512_setzero_ps();
	for (; i + 64 <= p.dim; i += 64) {
#pragma GCC unroll 4
		for (size_t g = 0; g < 4; g++) {
			__m512 y = load16(p.b, i + 16 * g, is_half);

			sum[g] = add_fast(sum[g],
				load16(p.a, i + 16 * g, is_half), y, term);
			if (norm)
				self[g] = _mm512_fmadd_ps(y, y, self[g]);
		}
		if (bound && (i + 64) % DIST_BOUND_EVERY == 0 &&
			i + 64 < p.dim) {
			float part = fold_fast(sum);

			if (part > *bound)
				return part;
		}
	}
#pragma GCC unroll 4
	for (size_t g = 0; g < 4; g++, i += 16) {
		if (i >= p.dim)
			break;
		__m512 y = load16_rest(p.b, i, p.dim - i, is_half);

		sum[g] = add_fast(sum[g],
			load16_rest(p.a, i, p.dim - i, is_half), y, term);
		if (norm)
			self[g] = _mm512_fmadd_ps(y, y, self[g]);
	}
	if (norm)
		*norm = fold_fast(self);
	return fold_fast(sum);
}

/* ---- whole, without VNNI ---- */

static_assert(2 * 255 * 255 <= INT32_MAX, "products are added in pairs");
static_assert(4 * 15 * 15 <= INT16_MAX, "those of nibbles in fours, 16 bits");
static_assert(8 * 255 <= UINT16_MAX, "differences are added in eights");

/* Products of 16-bit numbers, added in pairs. */
TARGET DIST_BODY __m512i add_products(__m512i sum, __m512i a, __m512i b,
	bool is_signed)
{
	__m512i zero = _mm512_setzero_si512();
	__m512i a_top = zero, b_top = zero;

	if (is_signed) {
		a_top = _mm512_movm_epi8(_mm512_movepi8_mask(a));
		b_top = _mm512_movm_epi8(_mm512_movepi8_mask(b));
	}
	sum = _mm512_add_epi32(sum,
		_mm512_madd_epi16(_mm512_unpacklo_epi8(a, a_top),
			_mm512_unpacklo_epi8(b, b_top)));
	return _mm512_add_epi32(sum,
		_mm512_madd_epi16(_mm512_unpackhi_epi8(a, a_top),
			_mm512_unpackhi_epi8(b, b_top)));
}

/* |a - b| of bytes without a sign. */
TARGET DIST_BODY __m512i far_apart(__m512i a, __m512i b)
{
	return _mm512_or_si512(_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
}

/* The lower and the upper nibble of each byte. */
TARGET DIST_BODY __m512i low_half(__m512i x)
{
	return _mm512_and_si512(x, _mm512_set1_epi8(15));
}

TARGET DIST_BODY __m512i high_half(__m512i x)
{
	return low_half(_mm512_srli_epi16(x, 4));
}

TARGET DIST_BODY __m512i add_u8(__m512i sum, __m512i a, __m512i b,
	enum dist_term term)
{
	if (term == DIST_DOT)
		return add_products(sum, a, b, false);
	if (term == DIST_L1)
		return _mm512_add_epi32(sum, _mm512_sad_epu8(a, b));
	__m512i d = far_apart(a, b);

	return add_products(sum, d, d, false);
}

/* Of 128 nibbles, which are below 2^4: 4 products in 16 bits. */
TARGET DIST_BODY __m512i add_u4(__m512i sum, __m512i a, __m512i b,
	enum dist_term term)
{
	__m512i x = low_half(a), y = low_half(b);
	__m512i z = high_half(a), w = high_half(b);

	if (term == DIST_L1)
		return _mm512_add_epi32(sum,
			_mm512_add_epi32(_mm512_sad_epu8(x, y),
				_mm512_sad_epu8(z, w)));
	if (term == DIST_L2SQ) {
		x = y = far_apart(x, y);
		z = w = far_apart(z, w);
	}
	return _mm512_add_epi32(sum,
		_mm512_madd_epi16(_mm512_add_epi16(_mm512_maddubs_epi16(x, y),
					  _mm512_maddubs_epi16(z, w)),
			_mm512_set1_epi16(1)));
}

/* The term of 64 bytes, added to 16 sums modulo 2^32. */
TARGET DIST_BODY __m512i add_bytes(__m512i sum, __m512i a, __m512i b,
	enum dist_form form, enum dist_term term)
{
	if (form == DIST_U4)
		return add_u4(sum, a, b, term);
	if (form == DIST_U8)
		return add_u8(sum, a, b, term);
	if (term == DIST_DOT)
		return add_products(sum, a, b, true);
	/* Both moved up by 128 differ as before. */
	__m512i top = _mm512_set1_epi8(-128);

	return add_u8(sum, _mm512_xor_si512(a, top), _mm512_xor_si512(b, top),
		term);
}

/* The sum of 16 numbers modulo 2^32. */
TARGET static inline uint32_t fold_u32(__m512i s)
{
	__m256i t = _mm256_add_epi32(_mm512_castsi512_si256(s),
		_mm512_extracti64x4_epi64(s, 1));
	__m128i u = _mm_add_epi32(_mm256_castsi256_si128(t),
		_mm256_extracti128_si256(t, 1));

	u = _mm_add_epi32(u, _mm_shuffle_epi32(u, 0x4e));
	u = _mm_add_epi32(u, _mm_shuffle_epi32(u, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(u);
}

/* The bytes from p on, at most 64, those that are not there as zeros. */
TARGET DIST_BODY __m512i load64_rest(const uint8_t *p, size_t left)
{
	return _mm512_maskz_loadu_epi8((__mmask64)mask_of(left, 64), p);
}

TARGET DIST_BODY uint32_t avx512_bytes(const void *a, const void *b,
	uint32_t len, enum dist_form form, enum dist_term term)
{
	__m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
	const uint8_t *u = a, *v = b;
	size_t i = 0;

	for (; i + 128 <= len; i += 128) {
#pragma GCC unroll 2
		for (size_t g = 0; g < 2; g++)
			sum[g] = add_bytes(sum[g],
				_mm512_loadu_si512(u + i + 64 * g),
				_mm512_loadu_si512(v + i + 64 * g), form, term);
	}
	for (; i < len; i += 64)
		sum[0] = add_bytes(sum[0], load64_rest(u + i, len - i),
			load64_rest(v + i, len - i), form, term);
	return fold_u32(_mm512_add_epi32(sum[0], sum[1]));
}

/* How many bits are set, by a table of nibbles, in each 8 bytes. */
TARGET DIST_BODY __m512i popcount(__m512i x)
{
	__m512i table = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
	__m512i low = _mm512_shuffle_epi8(table, low_half(x));
	__m512i high = _mm512_shuffle_epi8(table, high_half(x));

	return _mm512_sad_epu8(_mm512_add_epi8(low, high),
		_mm512_setzero_si512());
}

TARGET DIST_BODY uint32_t avx512_bits(const uint8_t *a, const uint8_t *b,
	uint32_t len)
{
	__m512i sum = _mm512_setzero_si512();

	for (size_t i = 0; i < len; i += 64)
		sum = _mm512_add_epi64(sum,
			popcount(_mm512_xor_si512(load64_rest(a + i, len - i),
				load64_rest(b + i, len - i))));
	return (uint32_t)_mm512_reduce_add_epi64(sum);
}

DIST_FLOATS(avx512, TARGET)
DIST_BYTES(avx512, TARGET)
DIST_BYTES_ROWS(avx512, TARGET)
DIST_TABLE(avx512, avx512, avx512, avx512);

/* ---- whole, with VNNI ---- */

/*
 * VPDPBUSD multiplies bytes without a sign by bytes with one and adds four
 * products to a sum of 32 bits; no step of it saturates. Two of one kind differ
 * from that by 128 times the sum of the other's bytes, which is made beside and
 * subtracted at the end; all modulo 2^32.
 */
static_assert(4 * 255 * 128 <= INT32_MAX, "VPDPBUSD adds four of them");
static_assert(15 <= INT8_MAX, "nibbles have no sign in either place");

struct vnni_sum {
	__m512i sum[2];
	__m512i more; /* to be taken 128 times */
};

/* Squares of the differences, of bytes without a sign: they have 9 bits with
 * their sign, so they are taken as 16. */
TARGET_VNNI DIST_BODY void vnni_square(struct vnni_sum *s, __m512i a, __m512i b)
{
	__m512i d = far_apart(a, b);
	__m512i low = _mm512_and_si512(d, _mm512_set1_epi16(0xff));
	__m512i high = _mm512_srli_epi16(d, 8);

	s->sum[0] = _mm512_dpwssd_epi32(s->sum[0], low, low);
	s->sum[1] = _mm512_dpwssd_epi32(s->sum[1], high, high);
}

TARGET_VNNI DIST_BODY void vnni_u4(struct vnni_sum *s, __m512i a, __m512i b,
	enum dist_term term)
{
	__m512i x = low_half(a), y = low_half(b);
	__m512i z = high_half(a), w = high_half(b);

	if (term == DIST_L2SQ) {
		x = y = far_apart(x, y);
		z = w = far_apart(z, w);
	}
	s->sum[0] = _mm512_dpbusd_epi32(s->sum[0], x, y);
	s->sum[1] = _mm512_dpbusd_epi32(s->sum[1], z, w);
}

TARGET_VNNI DIST_BODY void vnni_add(struct vnni_sum *s, __m512i a, __m512i b,
	enum dist_form form, enum dist_term term)
{
	__m512i top = _mm512_set1_epi8(-128), one = _mm512_set1_epi8(1);

	if (term == DIST_L1) {
		s->sum[0] = add_bytes(s->sum[0], a, b, form, term);
	} else if (form == DIST_U4) {
		vnni_u4(s, a, b, term);
	} else if (term == DIST_L2SQ && form == DIST_U8) {
		vnni_square(s, a, b);
	} else if (term == DIST_L2SQ) {
		vnni_square(s, _mm512_xor_si512(a, top),
			_mm512_xor_si512(b, top));
	} else if (form == DIST_U8) { /* a (b - 128) + 128 a */
		s->sum[0] = _mm512_dpbusd_epi32(s->sum[0], a,
			_mm512_xor_si512(b, top));
		s->more = _mm512_dpbusd_epi32(s->more, a, one);
	} else { /* (a + 128) b - 128 b */
		s->sum[0] = _mm512_dpbusd_epi32(s->sum[0],
			_mm512_xor_si512(a, top), b);
		s->more = _mm512_dpbusd_epi32(s->more, one, b);
	}
}

/* The sums, modulo 2^32, without what was added too much. */
TARGET_VNNI DIST_BODY __m512i vnni_end(const struct vnni_sum *s,
	enum dist_form form, enum dist_term term)
{
	__m512i sum = _mm512_add_epi32(s->sum[0], s->sum[1]);

	if (term == DIST_DOT && form == DIST_U8)
		return _mm512_add_epi32(sum, _mm512_slli_epi32(s->more, 7));
	if (term == DIST_DOT && form == DIST_I8)
		return _mm512_sub_epi32(sum, _mm512_slli_epi32(s->more, 7));
	return sum;
}

TARGET_VNNI DIST_BODY uint32_t avx512vnni_bytes(const void *a, const void *b,
	uint32_t len, enum dist_form form, enum dist_term term)
{
	__m512i zero = _mm512_setzero_si512();
	struct vnni_sum s = {{zero, zero}, zero};
	const uint8_t *u = a, *v = b;
	size_t i = 0;

	for (; i + 64 <= len; i += 64)
		vnni_add(&s, _mm512_loadu_si512(u + i),
			_mm512_loadu_si512(v + i), form, term);
	if (i < len)
		vnni_add(&s, load64_rest(u + i, len - i),
			load64_rest(v + i, len - i), form, term);
	return fold_u32(vnni_end(&s, form, term));
}

TARGET_VNNI DIST_BODY __m512i popcount_xor(__m512i a, __m512i b)
{
	return _mm512_popcnt_epi64(_mm512_xor_si512(a, b));
}

TARGET_VNNI DIST_BODY uint32_t avx512vnni_bits(const uint8_t *a,
	const uint8_t *b, uint32_t len)
{
	__m512i sum = _mm512_setzero_si512();

	for (size_t i = 0; i < len; i += 64)
		sum = _mm512_add_epi64(sum,
			popcount_xor(load64_rest(a + i, len - i),
				load64_rest(b + i, len - i)));
	return (uint32_t)_mm512_reduce_add_epi64(sum);
}

DIST_BYTES(avx512vnni, TARGET_VNNI)
DIST_BYTES_ROWS(avx512vnni, TARGET_VNNI)

/*
 * ---- rows of few bytes: four at a time ----
 *
 * Their sums are folded at once, which else costs as much as forming them. Of
 * long rows four are too many streams for the processor to read ahead of.
 */
#define FOUR_LEN 256u
static_assert(4 * FOUR_LEN < DIST_AHEAD, "the next four were asked for");

/* The sums of the 16 numbers of each t, in order. */
TARGET_VNNI DIST_BODY __m128i fold4(const __m512i *t)
{
	__m512i u = _mm512_add_epi32(_mm512_unpacklo_epi32(t[0], t[1]),
		_mm512_unpackhi_epi32(t[0], t[1]));
	__m512i v = _mm512_add_epi32(_mm512_unpacklo_epi32(t[2], t[3]),
		_mm512_unpackhi_epi32(t[2], t[3]));
	__m512i w = _mm512_add_epi32(_mm512_unpacklo_epi64(u, v),
		_mm512_unpackhi_epi64(u, v));
	__m256i x = _mm256_add_epi32(_mm512_castsi512_si256(w),
		_mm512_extracti64x4_epi64(w, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(x),
		_mm256_extracti128_si256(x, 1));
}

/* A query, and four rows; what is behind the last is the last again. */
struct four {
	const uint8_t *query; /* NULL: each row itself */
	const uint8_t *row[4];
};

TARGET_VNNI DIST_BODY struct four four_of(const void *query,
	const struct dist_rows *r, uint32_t i, uint32_t len)
{
	struct four f = {.query = query};

	assert(i < r->n && r->stride >= len);
#pragma GCC unroll 4
	for (uint32_t g = 0; g < 4; g++) {
		f.row[g] = (const uint8_t *)r->first +
			   VG_MIN(i + g, r->n - 1) * r->stride;
		dist_prefetch((const char *)f.row[g], len);
	}
	return f;
}

TARGET_VNNI DIST_BODY __m512i load64(const uint8_t *p, size_t left)
{
	return left >= 64 ? _mm512_loadu_si512(p) : load64_rest(p, left);
}

/* The bytes from i on, of which left are there, added to four sums. */
TARGET_VNNI DIST_BODY void add_four(struct vnni_sum *s, const struct four *f,
	size_t i, size_t left, enum dist_form form, enum dist_term term)
{
#pragma GCC unroll 4
	for (int g = 0; g < 4; g++) {
		__m512i y = load64(f->row[g] + i, left), x = y;

		if (f->query)
			x = load64(f->query + i, left);
		if (form == DIST_B1)
			s[g].sum[0] = _mm512_add_epi64(s[g].sum[0],
				popcount_xor(x, y));
		else
			vnni_add(&s[g], x, y, form, term);
	}
}

TARGET_VNNI DIST_BODY __m128i sum_four(const struct four *f, uint32_t len,
	enum dist_form form, enum dist_term term)
{
	__m512i zero = _mm512_setzero_si512(), t[4];
	struct vnni_sum s[4];
	size_t i = 0;

#pragma GCC unroll 4
	for (int g = 0; g < 4; g++)
		s[g] = (struct vnni_sum){{zero, zero}, zero};
	for (; i + 64 <= len; i += 64)
		add_four(s, f, i, 64, form, term);
	if (i < len)
		add_four(s, f, i, len - i, form, term);
#pragma GCC unroll 4
	for (int g = 0; g < 4; g++)
		t[g] = form == DIST_B1 ? s[g].sum[0] :
					 vnni_end(&s[g], form, term);
	return fold4(t);
}

/* The first n of four sums, as floats. */
TARGET_VNNI DIST_BODY void put_four(float *out, uint32_t n, __m128i sums,
	bool is_signed)
{
	__m128 f = is_signed ? _mm_cvtepi32_ps(sums) : _mm_cvtepu32_ps(sums);

	if (n >= 4) /* a store with a mask takes as long as all the rest */
		_mm_storeu_ps(out, f);
	else
		_mm_mask_storeu_ps(out, (__mmask8)mask_of(n, 4), f);
}

#define ROWS(NAME, FORM, TERM)                                                 \
	TARGET_VNNI static void vnni_##NAME##_rows(const void *query,          \
		const struct dist_rows *r, float *out, float *norm)            \
	{                                                                      \
		bool is_signed = FORM == DIST_I8 && TERM == DIST_DOT;          \
		uint32_t len = dist_row_len(FORM, r->dim);                     \
                                                                               \
		assert(query);                                                 \
		if (len > FOUR_LEN) {                                          \
			avx512vnni_##NAME##_rows(query, r, out, norm);         \
			return;                                                \
		}                                                              \
		for (uint32_t i = 0; i < r->n; i += 4) {                       \
			struct four f = four_of(query, r, i, len);             \
                                                                               \
			put_four(out + i, r->n - i,                            \
				sum_four(&f, len, FORM, TERM), is_signed);     \
			if (TERM == DIST_DOT && norm) {                        \
				f.query = NULL;                                \
				put_four(norm + i, r->n - i,                   \
					sum_four(&f, len, FORM, TERM),         \
					is_signed);                            \
			}                                                      \
		}                                                              \
	}

ROWS(i8_l2sq, DIST_I8, DIST_L2SQ)
ROWS(i8_dot, DIST_I8, DIST_DOT)
ROWS(i8_l1, DIST_I8, DIST_L1)
ROWS(u8_l2sq, DIST_U8, DIST_L2SQ)
ROWS(u8_dot, DIST_U8, DIST_DOT)
ROWS(u8_l1, DIST_U8, DIST_L1)
ROWS(u4_l2sq, DIST_U4, DIST_L2SQ)
ROWS(u4_dot, DIST_U4, DIST_DOT)
ROWS(u4_l1, DIST_U4, DIST_L1)
ROWS(b1, DIST_B1, DIST_L1)

TARGET_VNNI static void vnni_u8_l2sq_each(const uint8_t *query,
	const uint8_t *const *rows, uint32_t n, uint32_t len, float *out)
{
	if (len > FOUR_LEN) {
		avx512vnni_u8_l2sq_each(query, rows, n, len, out);
		return;
	}
	for (uint32_t i = 0; i < n; i += 4) {
		struct four f = {.query = query};

#pragma GCC unroll 4
		for (uint32_t g = 0; g < 4; g++)
			f.row[g] = rows[VG_MIN(i + g, n - 1)];
		put_four(out + i, n - i, sum_four(&f, len, DIST_U8, DIST_L2SQ),
			false);
	}
}

DIST_TABLE(avx512vnni, avx512, avx512vnni, vnni);
#endif
