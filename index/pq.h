/* SPDX-License-Identifier: Apache-2.0 */
/* pq.h: a byte for some elements of a vector at once, by tables that are learnt. */
#ifndef INDEX_PQ_H
#define INDEX_PQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "index/kmeans.h"
#include "src/vg.h"

/*
 * Product quantisation: Jegou, Douze and Schmid, "Product quantization for
 * nearest neighbor search", IEEE PAMI 33 (1), 2011. A vector is cut into m
 * parts of dim / m elements, as even as can be; part j is coded as the number
 * of the nearest of 256 points, which k-means found among the same parts of a
 * sample. The vector that a code stands for is those points, one behind the
 * other; its product with a query is the sum of m numbers, each from a table
 * that is made once for the query.
 *
 * Only products have tables. Of a code c one has |q - c|^2 = |q|^2 - 2 q.c +
 * |c|^2, and the last term does not depend on the query (ivf.h keeps it).
 */
#define PQ_M_MAX 1024u

struct pq {
	uint32_t dim;
	uint32_t m;    /* parts, which is bytes of a code */
	float *points; /* owned: 256 * dim, then 256 * m: the grids' */
};

/* Elements of the parts before part j; of j = m: dim. */
static inline uint32_t pq_from(const struct pq *pq, uint32_t j)
{
	return (uint32_t)((uint64_t)j * pq->dim / pq->m);
}

/* Bytes of points, which are all that a quantiser has learnt, if of dim
 * elements and m parts. */
static inline size_t pq_points_len(uint32_t dim, uint32_t m)
{
	return ((size_t)dim + m) * KMEANS_GRID * sizeof(float);
}

/*
 * Learns from rows. Owned by the caller: pq_fini. The same rows give the same
 * points. -EINVAL: dim is 0 or above VG_DIM_MAX, m 0, above dim or PQ_M_MAX,
 * or there are no rows. -ENOMEM, -EINTR: as kmeans_train.
 */
int pq_train(struct pq *pq, const struct kmeans_rows *rows, uint32_t m,
	const _Atomic bool *cancel);

/* A quantiser whose points the caller fills (pq_points_len of bytes). -EINVAL,
 * -ENOMEM. */
int pq_new(struct pq *pq, uint32_t dim, uint32_t m);

/* Whether points are numbers, and what goes with them is right. */
bool pq_is_valid(const struct pq *pq);

void pq_fini(struct pq *pq); /* of zeros, or twice: nothing */

/* The m bytes of vec[dim], finite. */
void pq_encode(const struct pq *pq, const float *vec, uint8_t *code);

/* The vector that a code stands for. */
void pq_decode(const struct pq *pq, const uint8_t *code, float *vec);

/* Of the products of vec[dim] and all points, each times scale: table[256 m]. */
void pq_table(const struct pq *pq, const float *vec, float scale, float *table);

/* scale * (vec . decoded code), of n codes that stand one after the other. */
void pq_sums(const float *table, uint32_t m, const uint8_t *codes, uint32_t n,
	float *out);

#endif
