/* SPDX-License-Identifier: Apache-2.0 */
/* pq.c: see pq.h. */
#include "index/pq.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 10u /* of k-means: more gained less than a part of 100 */

/* Part j's points. */
static struct kmeans_grid grid_of(const struct pq *pq, uint32_t j)
{
	uint32_t from = pq_from(pq, j);

	assert(j < pq->m);
	return (struct kmeans_grid){
		.at = pq->points + (size_t)from * KMEANS_GRID,
		.half = pq->points + ((size_t)pq->dim + j) * KMEANS_GRID,
		.dim = pq_from(pq, j + 1) - from,
	};
}

int pq_new(struct pq *pq, uint32_t dim, uint32_t m)
{
	if (dim == 0 || dim > VG_DIM_MAX || m == 0 || m > dim || m > PQ_M_MAX)
		return -EINVAL;
	*pq = (struct pq){.dim = dim,
		.m = m,
		.points = malloc(pq_points_len(dim, m))};
	return pq->points ? 0 : -ENOMEM;
}

void pq_fini(struct pq *pq)
{
	free(pq->points);
	*pq = (struct pq){0};
}

int pq_train(struct pq *pq, const struct kmeans_rows *rows, uint32_t m,
	const _Atomic bool *cancel)
{
	struct pq made = {0};
	float *points;
	int rc = pq_new(&made, rows->dim, m);

	if (rc < 0)
		return rc;
	points = malloc(
		(size_t)(rows->dim / m + 1) * KMEANS_GRID * sizeof(*points));
	rc = points ? 0 : -ENOMEM;
	for (uint32_t j = 0; j < m && rc == 0; j++) {
		struct kmeans_grid grid = grid_of(&made, j);
		struct kmeans_job job = {.rows = {.first = rows->first +
							   pq_from(&made, j),
						 .stride = rows->stride,
						 .n = rows->n,
						 .dim = grid.dim},
			.k = KMEANS_GRID,
			.rounds = ROUNDS,
			.cancel = cancel};

		rc = kmeans_train(&job, points);
		if (rc == 0)
			kmeans_grid_fill(&grid, points, KMEANS_GRID);
	}
	free(points);
	if (rc == 0)
		*pq = made;
	else
		pq_fini(&made);
	return rc;
}

bool pq_is_valid(const struct pq *pq)
{
	for (uint32_t j = 0; j < pq->m; j++) {
		struct kmeans_grid grid = grid_of(pq, j);

		for (uint32_t c = 0; c < KMEANS_GRID; c++) {
			float sum = 0;

			for (uint32_t d = 0; d < grid.dim; d++) {
				float x = grid.at[(size_t)d * KMEANS_GRID + c];

				sum += x * x;
			}
			if (!isfinite(sum) || grid.half[c] != sum / 2)
				return false;
		}
	}
	return true;
}

void pq_encode(const struct pq *pq, const float *vec, uint8_t *code)
{
	float dist2;

	for (uint32_t j = 0; j < pq->m; j++) {
		struct kmeans_grid grid = grid_of(pq, j);
		uint32_t c = kmeans_grid_nearest(&grid, vec + pq_from(pq, j),
			&dist2);

		assert(c < KMEANS_GRID);
		code[j] = (uint8_t)c;
	}
}

void pq_decode(const struct pq *pq, const uint8_t *code, float *vec)
{
	for (uint32_t j = 0; j < pq->m; j++) {
		struct kmeans_grid grid = grid_of(pq, j);

		for (uint32_t d = 0; d < grid.dim; d++)
			*vec++ = grid.at[(size_t)d * KMEANS_GRID + code[j]];
	}
}

void pq_table(const struct pq *pq, const float *vec, float scale, float *table)
{
	for (uint32_t j = 0; j < pq->m; j++) {
		struct kmeans_grid grid = grid_of(pq, j);

		kmeans_grid_dots(&grid, vec + pq_from(pq, j), scale,
			table + (size_t)j * KMEANS_GRID);
	}
}

/* Four sums that do not wait for one another hide what a look-up takes. */
void pq_sums(const float *table, uint32_t m, const uint8_t *codes, uint32_t n,
	float *out)
{
	uint32_t i = 0;

	assert(m > 0);
	for (; i + 4 <= n; i += 4) {
		const uint8_t *a = codes + (size_t)i * m, *b = a + m;
		const uint8_t *c = b + m, *d = c + m;
		float sa = 0, sb = 0, sc = 0, sd = 0;

		for (uint32_t j = 0; j < m; j++) {
			const float *row = table + (size_t)j * KMEANS_GRID;

			sa += row[a[j]];
			sb += row[b[j]];
			sc += row[c[j]];
			sd += row[d[j]];
		}
		out[i] = sa;
		out[i + 1] = sb;
		out[i + 2] = sc;
		out[i + 3] = sd;
	}
	for (; i < n; i++) {
		const uint8_t *code = codes + (size_t)i * m;
		float sum = 0;

		for (uint32_t j = 0; j < m; j++)
			sum += table[(size_t)j * KMEANS_GRID + code[j]];
		out[i] = sum;
	}
}
