/* SPDX-License-Identifier: Apache-2.0 */
/* dist_signs.c: the kernels of signs.h in plain C: the reference of the others. */
#include <string.h>

#include "index/dist_signs.h"

static void transform(float *x, const float *flips, uint32_t n)
{
	assert(n >= SIGNS_ROUND && (n & (n - 1)) == 0);
	for (uint32_t i = 0; i < n; i++)
		x[i] *= flips[i];
	for (uint32_t h = 1; h < n; h *= 2)
		for (uint32_t i = 0; i < n; i += 2 * h)
			for (uint32_t j = i; j < i + h; j++) {
				float a = x[j], b = x[j + h];

				x[j] = a + b;
				x[j + h] = a - b;
			}
}

static void table(const float *q, uint32_t len, float scale, uint8_t *table)
{
	assert(len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < len; i += 4) {
		float all = signs_all(q + i);

		for (uint32_t k = 0; k < 16; k++) {
			float t = all;

			for (uint32_t j = 0; j < 4; j++)
				t += k >> j & 1 ? q[i + j] : -q[i + j];
			table[i * 4 + k] = (uint8_t)(t * scale + .5f);
		}
	}
}

static void code(const float *u, const float *v, uint32_t len, uint8_t *halves,
	float *sums)
{
	float part[SIGNS_SUMS][SIGNS_ROUND] = {{0}};

	assert(len > 0 && len % SIGNS_ROUND == 0);
	memset(halves, 0, len / 4);
	for (uint32_t i = 0; i < len; i++) {
		float r = v[i] - u[i];
		bool is_up = r >= 0;

		halves[i / 4] |= (uint8_t)(is_up << i % 4);
		part[0][i % SIGNS_ROUND] += r * r;
		part[1][i % SIGNS_ROUND] += is_up ? r : -r;
		part[2][i % SIGNS_ROUND] += is_up ? u[i] : -u[i];
	}
	signs_fold(part, sums);
}

SIGNS_RACY static uint32_t estimate(const struct signs_query *q,
	const struct signs_block *b, float bound, float *est)
{
	uint32_t below = 0;

	assert(q->len % SIGNS_ROUND == 0);
	for (uint32_t j = 0; j < SIGNS_BLOCK; j++) {
		uint32_t at = j % 16 < 8 ? 2 * (j % 8) : 2 * (j % 8) + 1;
		uint32_t sum = 0;

		for (uint32_t i = 0; i < SIGNS_BYTES(q->len); i += 16)
			sum += q->table[i +
					(b->codes[i + at] >> (j < 16 ? 0 : 4) &
						15)];
		est[j] = b->add[j] * q->unit + q->base +
			 b->mul[j] * ((float)sum * q->scale - q->zero);
		below |= (uint32_t)(est[j] < bound) << j;
	}
	return below;
}

const struct signs_kernels signs_scalar = {transform, table, code, estimate};
