/* SPDX-License-Identifier: Apache-2.0 */
/* dist_signs_neon.c: the kernels of signs.h in NEON: a group at once. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "index/dist_signs.h"

#define LANES 4u

static const float even[4] = {1, -1, 1, -1}, low[4] = {1, 1, -1, -1};

/* Multiplying by 1 and -1 is exact, so a product may be fused: it rounds once
 * in either case. */
static inline float32x4_t butterfly(float32x4_t v, float32x4_t swapped,
	const float *sign)
{
	return vaddq_f32(swapped, vmulq_f32(v, vld1q_f32(sign)));
}

static inline float32x4_t transform4(float32x4_t v)
{
	v = butterfly(v, vrev64q_f32(v), even);
	return butterfly(v, vextq_f32(v, v, 2), low);
}

static void transform(float *x, const float *flips, uint32_t n)
{
	assert(n >= SIGNS_ROUND && (n & (n - 1)) == 0);
	for (uint32_t i = 0; i < n; i += LANES)
		vst1q_f32(x + i, transform4(vmulq_f32(vld1q_f32(x + i),
					 vld1q_f32(flips + i))));
	for (uint32_t h = LANES; h < n; h *= 2)
		for (uint32_t i = 0; i < n; i += 2 * h)
			for (uint32_t j = i; j < i + h; j += LANES) {
				float32x4_t a = vld1q_f32(x + j);
				float32x4_t b = vld1q_f32(x + j + h);

				vst1q_f32(x + j, vaddq_f32(a, b));
				vst1q_f32(x + j + h, vsubq_f32(a, b));
			}
}

static void table(const float *q, uint32_t len, float scale, uint8_t *table)
{
	assert(len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < len; i += 4) {
		float32x4_t first = vdupq_n_f32(signs_all(q + i));
		uint16x4_t words[4];

		/* Lane k has the lower two bits, the register the others. */
		first = vsubq_f32(first,
			vmulq_f32(vdupq_n_f32(q[i]), vld1q_f32(even)));
		first = vsubq_f32(first,
			vmulq_f32(vdupq_n_f32(q[i + 1]), vld1q_f32(low)));
		for (uint32_t k = 0; k < 4; k++) {
			float32x4_t t = vaddq_f32(first,
				vdupq_n_f32(k & 1 ? q[i + 2] : -q[i + 2]));

			t = vaddq_f32(t,
				vdupq_n_f32(k & 2 ? q[i + 3] : -q[i + 3]));
			t = vaddq_f32(vmulq_f32(t, vdupq_n_f32(scale)),
				vdupq_n_f32(.5f));
			words[k] = vmovn_u32(vcvtq_u32_f32(t));
		}
		vst1q_u8(table + i * 4,
			vcombine_u8(vmovn_u16(vcombine_u16(words[0], words[1])),
				vmovn_u16(vcombine_u16(words[2], words[3]))));
	}
}

static void code(const float *u, const float *v, uint32_t len, uint8_t *halves,
	float *sums)
{
	static const uint32_t bit[4] = {1, 2, 4, 8};
	float part[SIGNS_SUMS][SIGNS_ROUND] = {{0}};

	assert(len > 0 && len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < len; i += LANES) {
		float32x4_t x = vld1q_f32(u + i);
		float32x4_t r = vsubq_f32(vld1q_f32(v + i), x);
		uint32x4_t up = vcgezq_f32(r);
		float *to = part[0] + i % SIGNS_ROUND;

		vst1q_f32(to, vaddq_f32(vld1q_f32(to), vmulq_f32(r, r)));
		to += SIGNS_ROUND;
		vst1q_f32(to, vaddq_f32(vld1q_f32(to), vabsq_f32(r)));
		to += SIGNS_ROUND;
		vst1q_f32(to, vaddq_f32(vld1q_f32(to),
				      vbslq_f32(up, x, vnegq_f32(x))));
		halves[i / 4] =
			(uint8_t)vaddvq_u32(vandq_u32(up, vld1q_u32(bit)));
	}
	signs_fold(part, sums);
}

/* The sums of codes 0 to 7, 8 to 15, ..., of at most SIGNS_SHORT groups. */
SIGNS_RACY static inline void add_short(uint16x8_t sum[4], const uint8_t *codes,
	const uint8_t *table, uint32_t len)
{
	for (int k = 0; k < 4; k++)
		sum[k] = vdupq_n_u16(0);
	for (uint32_t i = 0; i < len; i += 16) {
		uint8x16_t c = vld1q_u8(codes + i), t = vld1q_u8(table + i);
		uint16x8_t x = vreinterpretq_u16_u8(
			vqtbl1q_u8(t, vandq_u8(c, vdupq_n_u8(15))));
		uint16x8_t y =
			vreinterpretq_u16_u8(vqtbl1q_u8(t, vshrq_n_u8(c, 4)));

		sum[0] = vaddq_u16(sum[0], vandq_u16(x, vdupq_n_u16(255)));
		sum[1] = vsraq_n_u16(sum[1], x, 8);
		sum[2] = vaddq_u16(sum[2], vandq_u16(y, vdupq_n_u16(255)));
		sum[3] = vsraq_n_u16(sum[3], y, 8);
	}
}

SIGNS_RACY static uint32_t estimate(const struct signs_query *q,
	const struct signs_block *b, float bound, float *est)
{
	uint32_t end = SIGNS_BYTES(q->len), below = 0;
	uint32x4_t sum[8];

	assert(q->len % SIGNS_ROUND == 0);
	for (int k = 0; k < 8; k++)
		sum[k] = vdupq_n_u32(0);
	for (uint32_t i = 0; i < end; i += 16 * SIGNS_SHORT) {
		uint16x8_t part[4];

		add_short(part, b->codes + i, q->table + i,
			VG_MIN(16 * SIGNS_SHORT, end - i));
		for (int k = 0; k < 4; k++) {
			sum[2 * k] =
				vaddw_u16(sum[2 * k], vget_low_u16(part[k]));
			sum[2 * k + 1] = vaddw_u16(sum[2 * k + 1],
				vget_high_u16(part[k]));
		}
	}
	for (uint32_t k = 0; k < 8; k++) {
		float32x4_t t = vsubq_f32(vmulq_f32(vcvtq_f32_u32(sum[k]),
						  vdupq_n_f32(q->scale)),
			vdupq_n_f32(q->zero));
		float32x4_t e =
			vaddq_f32(vmulq_f32(vld1q_f32(b->add + LANES * k),
					  vdupq_n_f32(q->unit)),
				vdupq_n_f32(q->base));

		e = vaddq_f32(e, vmulq_f32(vld1q_f32(b->mul + LANES * k), t));
		vst1q_f32(est + LANES * k, e);
		for (uint32_t j = 0; j < LANES; j++)
			below |= (uint32_t)(est[LANES * k + j] < bound)
				 << (LANES * k + j);
	}
	return below;
}

const struct signs_kernels signs_neon = {transform, table, code, estimate};
#endif
