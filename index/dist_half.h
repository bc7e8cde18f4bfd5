/* SPDX-License-Identifier: Apache-2.0 */
/* dist_half.h: halves, IEEE 754 binary16, from and to floats. */
#ifndef INDEX_DIST_HALF_H
#define INDEX_DIST_HALF_H

#include <stdint.h>
#include <string.h>

/*
 * A half is 1 bit of sign, 5 of exponent (bias 15), 10 of fraction: up to
 * 65,504, in steps of 2^-24 near 0. In integer and float arithmetic only, so
 * every processor has it; what F16C and NEON convert has the same value. Both
 * suppose that denormal floats are not flushed, as is the default everywhere.
 */

/* The float of the same value; every half has one. NaN gives a NaN. */
static inline float dist_half_decode(uint16_t half)
{
	uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
	float f;

	/* The fraction stands right, the exponent lacks 127 - 15: the product
	 * is exact, also of a half that is denormal, which is a denormal float
	 * before. */
	memcpy(&f, &bits, sizeof(f));
	f *= 0x1p112f;
	memcpy(&bits, &f, sizeof(bits));
	if ((half & 0x7c00) == 0x7c00) /* infinity and NaN are so again */
		bits |= 0x7f800000;
	bits |= (uint32_t)(half & 0x8000) << 16;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* The nearest half, of two the even one; from 65,520 on infinity. */
static inline uint16_t dist_half_encode(float f)
{
	uint32_t bits, sign;
	float sum;

	memcpy(&bits, &f, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (bits >= 0x477ff000) /* 65,520 */
		return (uint16_t)(sign | 0x7c00);
	if (bits < 0x38800000) { /* below 2^-14: whole steps of 2^-24 */
		/* Floats from 1/2 to 1 have that step, so adding rounds. */
		memcpy(&sum, &bits, sizeof(sum));
		sum += 0.5f;
		memcpy(&bits, &sum, sizeof(bits));
		return (uint16_t)(sign | (bits - 0x3f000000));
	}
	bits += 0xfff + (bits >> 13 & 1); /* may carry into the exponent */
	return (uint16_t)(sign | (bits - (112u << 23)) >> 13);
}

#endif
