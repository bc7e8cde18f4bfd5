/* SPDX-License-Identifier: Apache-2.0 */
/* quant.h: a byte for each element of a vector, by one scale for all of them. */
#ifndef INDEX_QUANT_H
#define INDEX_QUANT_H

#include <stdbool.h>
#include <stdint.h>

#include "src/vg.h"

/*
 * Element x is coded as the nearest whole number to (x - lo) / step. So
 *
 *	sum((a - b)^2)  ~  step^2 * sum((code a - code b)^2)
 *
 * One lo and step for all elements, else sums of codes were sums of another
 * metric. A vector with an element that no byte stands for has no code: nothing
 * is ever clamped. Where is_whole all that have codes are whole numbers from 0
 * to 255: the sums are equal, and nothing is lost.
 */
struct quant {
	float lo, step; /* finite; step > 0 */
	bool is_whole;	/* lo 0, step 1 */
};

/* Whether its values are such as quant_choose gives. */
bool quant_is_valid(const struct quant *q);

/*
 * Codes vec[dim], each element times scale before; false: it has no code, and
 * code[dim] is anything.
 */
bool quant_code(const struct quant *q, const float *vec, float scale,
	uint32_t dim, uint8_t *code);

/* The same of a row of VG_F32 or VG_F16. */
bool quant_code_row(const struct quant *q, enum vg_dtype dtype, const void *row,
	float scale, uint32_t dim, uint8_t *code);

/*
 * What to code vectors by that are like the n of a sample: rows[n] of dim
 * elements, VG_F32 or VG_F16, each times its scale. False where codes would be of no use: more
 * than a fourth has its nearest of the sample nearer than quant_noise (not
 * looked for where is_asked). Computes some 64 n distances.
 */
struct quant_sample {
	const void *const *rows; /* borrowed, finite */
	const float *scale;	 /* borrowed */
	uint32_t n;
	uint32_t dim;
	enum vg_dtype dtype;
	bool is_asked; /* any will do that tell rows apart at all */
};
bool quant_choose(const struct quant_sample *sample, struct quant *out);

/* What a sum of codes should at least be, or rounding is not small beside it. */
double quant_noise(uint32_t dim);

#endif
