/* SPDX-License-Identifier: Apache-2.0 */
/* signs.c: see signs.h. */
#include "index/signs.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "index/dist.h"

#define TABLE_MAX 255 /* the largest byte of a table */

int signs_init(struct signs *s, uint32_t dim)
{
	uint32_t len = VG_ALIGN_UP(dim, SIGNS_ROUND), n;
	uint32_t span = 1u << (31 - __builtin_clz(len));
	uint32_t n_rounds = span == len ? 2 : 4;
	float one = (float)(1 / sqrt(span));
	uint64_t x = 88172645463325252u;
	float *flips;

	assert(dim > 0 && dim <= VG_DIM_MAX);
	n = n_rounds * span;
	flips = malloc(n * sizeof(*flips));
	if (!flips)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		/* xorshift64: Marsaglia, J. Stat. Software 8, 2003. */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		flips[i] = x >> 20 & 1 ? one : -one;
	}
	*s = (struct signs){dim, len, span, n_rounds, flips};
	assert(s->span <= s->len && s->len < 2 * s->span);
	return 0;
}

void signs_fini(struct signs *s)
{
	free(s->flips);
	s->flips = NULL;
}

/* Four floats wherever they stand. */
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

static void shift(const float *vec, float scale, const float *centre,
	uint32_t dim, float *out)
{
	uint32_t i = 0;

	for (; i + 4 <= dim; i += 4)
		*(four *)(out + i) = *(const four *)(vec + i) * scale -
				     *(const four *)(centre + i);
	for (; i < dim; i++)
		out[i] = vec[i] * scale - centre[i];
	for (; i % SIGNS_ROUND != 0; i++)
		out[i] = 0;
}

void signs_rotate(const struct signs *s, const float *vec, float scale,
	const float *centre, float *out)
{
	const struct signs_kernels *k = dist_kernels_get()->signs;

	assert(vec != out);
	shift(vec, scale, centre, s->dim, out);
	/* The first elements, the last, the first, ... */
	for (uint32_t r = 0; r < s->n_rounds; r++)
		k->transform(out + (r % 2 ? s->len - s->span : 0),
			s->flips + r * s->span, s->span);
}

void signs_query_init(struct signs_query *q, const float *rotated, uint32_t len,
	float unit, uint8_t *table)
{
	float most[4] = {0}, sums[4] = {0}, max, all, scale;

	assert(len % SIGNS_ROUND == 0);
	for (uint32_t i = 0; i < len; i += SIGNS_ROUND)
		for (uint32_t j = 0; j < 4; j++) { /* none waits for another */
			const float *x = rotated + i + 4 * j;
			float sum = fabsf(x[0]) + fabsf(x[1]) + fabsf(x[2]) +
				    fabsf(x[3]);

			most[j] = VG_MAX(most[j], sum);
			sums[j] += sum;
		}
	max = VG_MAX(VG_MAX(most[0], most[1]), VG_MAX(most[2], most[3]));
	all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
	/* Not of a query so small that the quotient overflows. */
	scale = max > 0x1p-100f ? TABLE_MAX / (2 * max) : 0;
	dist_kernels_get()->signs->table(rotated, len, scale, table);
	*q = (struct signs_query){
		.table = table,
		.len = len,
		.scale = scale > 0 ? unit / scale : 0,
		.zero = scale > 0 ? unit * all : 0,
	};
}
