/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist_neon.c: kernels of AArch64's NEON: 16 registers of 2 doubles for exact
 * sums, 4 of 4 floats for fast ones, 2 of 4 whole numbers for bytes.
 *
 * Two sets: neon, which every AArch64 has, and neondot, with the products of
 * bytes of ARMv8.2. What is left behind the last round is copied before zeros
 * and takes another: adding 0 to a sum, which is never -0, leaves its bits.
 */
#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "index/dist_int.h"

#define TARGET
#define TARGET_DOT __attribute__((target("arch=armv8.2-a+dotprod")))

#define EXACT_LANES (DIST_LANES / 2)
#define ROUND 16u /* floats of a fast round */

static_assert(DIST_BOUND_EVERY % ROUND == 0, "rounds end at the bound's");
static_assert(ROUND <= DIST_LANES, "a rest has room for either round");

/* n elements from i on, as many as are left, then zeros, in rest. */
static inline void copy_rest(void *rest, const void *v, size_t i, size_t left,
	bool is_half)
{
	size_t size = is_half ? sizeof(uint16_t) : sizeof(float);

	assert(left < DIST_LANES);
	memset(rest, 0, DIST_LANES * sizeof(float));
	memcpy(rest, (const char *)v + i * size, left * size);
}

/* Elements i to i + 3. */
DIST_BODY float32x4_t load4(const void *v, size_t i, bool is_half)
{
	if (is_half)
		return vcvt_f32_f16(vreinterpret_f16_u16(
			vld1_u16((const uint16_t *)v + i)));
	return vld1q_f32((const float *)v + i);
}

/* ---- exact ---- */

DIST_BODY float64x2_t add_exact(float64x2_t sum, float64x2_t x, float64x2_t y,
	enum dist_term term)
{
	float64x2_t d = vsubq_f64(x, y);

	if (term == DIST_DOT) /* a product of floats is exact */
		return vfmaq_f64(sum, x, y);
	if (term == DIST_L2SQ)
		return vaddq_f64(sum, vmulq_f64(d, d));
	return vaddq_f64(sum, vabsq_f64(d));
}

/* 32 elements of each. */
DIST_BODY void exact_round(float64x2_t *sum, struct dist_pair p, size_t i,
	enum dist_term term, bool is_half)
{
#pragma GCC unroll 8
	for (size_t g = 0; g < EXACT_LANES; g += 2) {
		float32x4_t x = load4(p.a, i + 2 * g, is_half);
		float32x4_t y = load4(p.b, i + 2 * g, is_half);

		sum[g] = add_exact(sum[g], vcvt_f64_f32(vget_low_f32(x)),
			vcvt_f64_f32(vget_low_f32(y)), term);
		sum[g + 1] = add_exact(sum[g + 1], vcvt_high_f64_f32(x),
			vcvt_high_f64_f32(y), term);
	}
}

DIST_BODY double exact_sum(struct dist_pair p, enum dist_term term,
	bool is_half)
{
	float rest[2][DIST_LANES];
	double lanes[DIST_LANES];
	float64x2_t sum[EXACT_LANES];
	size_t i = 0;

	for (int g = 0; g < EXACT_LANES; g++)
		sum[g] = vdupq_n_f64(0);
	for (; i + DIST_LANES <= p.dim; i += DIST_LANES)
		exact_round(sum, p, i, term, is_half);
	if (i < p.dim) {
		copy_rest(rest[0], p.a, i, p.dim - i, is_half);
		copy_rest(rest[1], p.b, i, p.dim - i, is_half);
		exact_round(sum, (struct dist_pair){rest[0], rest[1], 0}, 0,
			term, is_half);
	}
	for (int g = 0; g < EXACT_LANES; g++)
		vst1q_f64(lanes + 2 * g, sum[g]);
	return dist_fold(lanes);
}

/* As in AVX2, 32 running sums would spill. */
DIST_BODY double neon_exact(struct dist_pair p, enum dist_term term,
	bool is_half, double *norm)
{
	if (norm)
		*norm = exact_sum((struct dist_pair){p.b, p.b, p.dim}, DIST_DOT,
			is_half);
	return exact_sum(p, term, is_half);
}

/* ---- fast ---- */

DIST_BODY float32x4_t add_fast(float32x4_t sum, float32x4_t x, float32x4_t y,
	enum dist_term term)
{
	float32x4_t d = vsubq_f32(x, y);

	if (term == DIST_DOT)
		return vfmaq_f32(sum, x, y);
	if (term == DIST_L2SQ)
		return vfmaq_f32(sum, d, d);
	return vaddq_f32(sum, vabsq_f32(d));
}

/* ROUND elements of each; self may be NULL. */
DIST_BODY void fast_round(float32x4_t *sum, float32x4_t *self,
	struct dist_pair p, size_t i, enum dist_term term, bool is_half)
{
#pragma GCC unroll 4
	for (size_t g = 0; g < 4; g++) {
		float32x4_t y = load4(p.b, i + 4 * g, is_half);

		sum[g] = add_fast(sum[g], load4(p.a, i + 4 * g, is_half), y,
			term);
		if (self)
			self[g] = vfmaq_f32(self[g], y, y);
	}
}

static inline float fold_fast(const float32x4_t *s)
{
	return vaddvq_f32(
		vaddq_f32(vaddq_f32(s[0], s[2]), vaddq_f32(s[1], s[3])));
}

DIST_BODY float neon_fast(struct dist_pair p, enum dist_term term, bool is_half,
	const float *bound, float *norm)
{
	float rest[2][DIST_LANES];
	float32x4_t sum[4], self[4];
	size_t i = 0;

	for (int g = 0; g < 4; g++)
		sum[g] = self[g] = vdupq_n_f32(0);
	for (; i + ROUND <= p.dim; i += ROUND) {
		fast_round(sum, norm ? self : NULL, p, i, term, is_half);
		if (bound && (i + ROUND) % DIST_BOUND_EVERY == 0 &&
			i + ROUND < p.dim) {
			float part = fold_fast(sum);

			if (part > *bound)
				return part;
		}
	}
	if (i < p.dim) {
		copy_rest(rest[0], p.a, i, p.dim - i, is_half);
		copy_rest(rest[1], p.b, i, p.dim - i, is_half);
		fast_round(sum, norm ? self : NULL,
			(struct dist_pair){rest[0], rest[1], 0}, 0, term,
			is_half);
	}
	if (norm)
		*norm = fold_fast(self);
	return fold_fast(sum);
}

/* ---- whole ---- */

/* The bytes that are left, at most 16, the others as zeros. */
DIST_BODY uint8x16_t load16_rest(const uint8_t *p, size_t left)
{
	uint8_t rest[16] = {0};

	assert(left > 0);
	memcpy(rest, p, VG_MIN(left, (size_t)16));
	return vld1q_u8(rest);
}

static_assert(255 * 255 <= UINT16_MAX, "a product of bytes has 16 bits");
static_assert(128 * 128 <= INT16_MAX, "and one of bytes with a sign");

/* Products of bytes have 16 bits, and are added in pairs to 32. */
DIST_BODY uint32x4_t add_products(uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
	sum = vpadalq_u16(sum, vmull_u8(vget_low_u8(a), vget_low_u8(b)));
	return vpadalq_u16(sum, vmull_high_u8(a, b));
}

DIST_BODY uint32x4_t add_signed(uint32x4_t sum, int8x16_t a, int8x16_t b)
{
	int32x4_t s = vpadalq_s16(vreinterpretq_s32_u32(sum),
		vmull_s8(vget_low_s8(a), vget_low_s8(b)));

	return vreinterpretq_u32_s32(vpadalq_s16(s, vmull_high_s8(a, b)));
}

/* How far bytes are apart, as bytes without a sign. */
DIST_BODY uint8x16_t far_apart(uint8x16_t a, uint8x16_t b, enum dist_form form)
{
	if (form == DIST_I8) /* wraps to what is right without a sign */
		return vreinterpretq_u8_s8(vabdq_s8(vreinterpretq_s8_u8(a),
			vreinterpretq_s8_u8(b)));
	return vabdq_u8(a, b);
}

/* The loop of both sets: PRODUCTS and SIGNED are theirs. */
#define BYTES(L, TARGET, PRODUCTS, SIGNED)                                     \
	TARGET DIST_BODY uint32x4_t L##_add(uint32x4_t sum, uint8x16_t a,      \
		uint8x16_t b, enum dist_form form, enum dist_term term)        \
	{                                                                      \
		if (term == DIST_DOT && form == DIST_I8)                       \
			return SIGNED(sum, vreinterpretq_s8_u8(a),             \
				vreinterpretq_s8_u8(b));                       \
		if (term == DIST_DOT)                                          \
			return PRODUCTS(sum, a, b);                            \
		a = far_apart(a, b, form);                                     \
		if (term == DIST_L2SQ)                                         \
			return PRODUCTS(sum, a, a);                            \
		return vpadalq_u16(sum, vpaddlq_u8(a));                        \
	}                                                                      \
	TARGET DIST_BODY uint32_t L##_bytes(const void *a, const void *b,      \
		uint32_t len, enum dist_form form, enum dist_term term)        \
	{                                                                      \
		uint32x4_t sum[2] = {vdupq_n_u32(0), vdupq_n_u32(0)};          \
		uint8x16_t mask = vdupq_n_u8(15);                              \
		const uint8_t *u = a, *v = b;                                  \
                                                                               \
		for (size_t i = 0; i < len; i += 16) {                         \
			bool is_whole = i + 16 <= len;                         \
			uint8x16_t x = is_whole ? vld1q_u8(u + i) :            \
						  load16_rest(u + i, len - i); \
			uint8x16_t y = is_whole ? vld1q_u8(v + i) :            \
						  load16_rest(v + i, len - i); \
                                                                               \
			if (form == DIST_U4) {                                 \
				sum[1] = L##_add(sum[1], vshrq_n_u8(x, 4),     \
					vshrq_n_u8(y, 4), form, term);         \
				x = vandq_u8(x, mask);                         \
				y = vandq_u8(y, mask);                         \
			}                                                      \
			sum[0] = L##_add(sum[0], x, y, form, term);            \
		}                                                              \
		return vaddvq_u32(vaddq_u32(sum[0], sum[1]));                  \
	}

BYTES(neon, TARGET, add_products, add_signed)

DIST_BODY uint32_t neon_bits(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32x4_t sum = vdupq_n_u32(0);
	size_t i = 0;

	for (; i + 16 <= len; i += 16)
		sum = vpadalq_u16(sum,
			vpaddlq_u8(vcntq_u8(
				veorq_u8(vld1q_u8(a + i), vld1q_u8(b + i)))));
	if (i < len)
		sum = vpadalq_u16(sum,
			vpaddlq_u8(
				vcntq_u8(veorq_u8(load16_rest(a + i, len - i),
					load16_rest(b + i, len - i)))));
	return vaddvq_u32(sum);
}

DIST_FLOATS(neon, TARGET)
DIST_BYTES(neon, TARGET)
DIST_BYTES_ROWS(neon, TARGET)
DIST_TABLE(neon, neon, neon, neon);

#if defined(DIST_NEONDOT)
/* ---- whole, with products of bytes ---- */

TARGET_DOT DIST_BODY uint32x4_t dot_products(uint32x4_t sum, uint8x16_t a,
	uint8x16_t b)
{
	return vdotq_u32(sum, a, b);
}

TARGET_DOT DIST_BODY uint32x4_t dot_signed(uint32x4_t sum, int8x16_t a,
	int8x16_t b)
{
	return vreinterpretq_u32_s32(
		vdotq_s32(vreinterpretq_s32_u32(sum), a, b));
}

#define neondot_bits neon_bits

BYTES(neondot, TARGET_DOT, dot_products, dot_signed)
DIST_BYTES(neondot, TARGET_DOT)
DIST_BYTES_ROWS(neondot, TARGET_DOT)
DIST_TABLE(neondot, neon, neondot, neondot);
#endif /* DIST_NEONDOT */
#endif
