/* SPDX-License-Identifier: Apache-2.0 */
/* dist_signs.h: what the dist_signs*.c share: orders of sums, and who races. */
#ifndef INDEX_DIST_SIGNS_H
#define INDEX_DIST_SIGNS_H

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "index/dist_int.h"
#include "index/signs.h"

/*
 * A block may be written while it is read, by atomic stores, which no load of
 * a vector is: what comes of it is made good by whoever looks at the row. So
 * estimate alone is not watched by the sanitizer of threads.
 */
#define SIGNS_RACY __attribute__((no_sanitize("thread")))

/* Groups of 4 elements whose sums fit 16 bits. */
#define SIGNS_SHORT 256u

static_assert(SIGNS_SHORT * 255 <= UINT16_MAX, "they do");
static_assert(SIGNS_BLOCK == 32, "a code's place is half a byte of 16");

/* The absolute elements of a group, in one order. */
static inline float signs_all(const float *q)
{
	return fabsf(q[0]) + fabsf(q[1]) + fabsf(q[2]) + fabsf(q[3]);
}

/* Folds 16 running sums each, element i in sum i % 16, in one order: halves
 * onto halves. */
static inline void signs_fold(float part[SIGNS_SUMS][SIGNS_ROUND], float *sums)
{
	for (uint32_t s = 0; s < SIGNS_SUMS; s++) {
		for (uint32_t h = SIGNS_ROUND / 2; h > 0; h /= 2)
			for (uint32_t i = 0; i < h; i++)
				part[s][i] += part[s][i + h];
		sums[s] = part[s][0];
	}
}

#endif
