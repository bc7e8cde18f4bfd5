/* SPDX-License-Identifier: Apache-2.0 */
/* kmeans.h: few points that stand for many: Lloyd's iteration, and who is near. */
#ifndef INDEX_KMEANS_H
#define INDEX_KMEANS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Everything goes by squared distance, in fast sums (dist.h). Rows stand
 * stride floats apart, are finite, and their squares are, too. Nothing here
 * logs or locks; any thread.
 */

/* Floats that stand in rows; borrowed. */
struct kmeans_rows {
	const float *first;
	size_t stride; /* floats from one row to the next: dim or more */
	uint32_t n;
	uint32_t dim;
};

/* ---- the nearest of many ---- */

/*
 * k centroids in groups of such as are near to one another, about sqrt(k) of
 * each. A row is compared with the middles of the groups, and then with the
 * centroids of the nearest KMEANS_GROUPS of them: of 4,000 centroids with some
 * 560. What is found is nearly always the nearest (docs/index.md), and for
 * the same row always the same. Up to KMEANS_FEW are all compared.
 */
#define KMEANS_FEW 512u
#define KMEANS_GROUPS 8u

struct kmeans_tree {
	const float *centroids; /* borrowed: k * dim, group after group */
	uint32_t dim, k;
	uint32_t n_groups; /* 0: few centroids */
	float *middles;	   /* owned: n_groups * dim */
	uint32_t *from;	   /* owned: n_groups + 1: where groups begin */
};

/* Groups for k centroids. */
uint32_t kmeans_groups_for(uint32_t k);

/* Makes groups, and puts the centroids in their order. kmeans_tree_fini ends
 * it. -ENOMEM. */
int kmeans_tree_new(struct kmeans_tree *tree, float *centroids, uint32_t k,
	uint32_t dim);

/* Of centroids that are in order, group i of them from[i]..from[i + 1] - 1;
 * from, copied, has kmeans_groups_for(k) + 1. -EINVAL: from does not ascend from
 * 0 to k. -ENOMEM. */
int kmeans_tree_init(struct kmeans_tree *tree, const float *centroids,
	uint32_t k, uint32_t dim, const uint32_t *from);
void kmeans_tree_fini(struct kmeans_tree *tree); /* of zeros: nothing */

/* For each row a centroid that is near, the first of equal ones: nearest[rows->n],
 * and how far it is squared: dist2[rows->n]. */
void kmeans_tree_nearest(const struct kmeans_tree *tree,
	const struct kmeans_rows *rows, uint32_t *nearest, float *dist2);

/* ---- the nearest of 256, in few dimensions ---- */

/*
 * Points that lie by element, so that one instruction does some of them at
 * once: element d of point c at at[d * 256 + c].
 */
#define KMEANS_GRID 256u

struct kmeans_grid {
	float *at;   /* borrowed: dim * 256 */
	float *half; /* borrowed: 256: half of each one's squared length;
			   INFINITY: there is no such point */
	uint32_t dim;
};

/* Fills g with k (up to 256) points. */
void kmeans_grid_fill(struct kmeans_grid *g, const float *points, uint32_t k);

/* scale * (row . c) of each point c. */
void kmeans_grid_dots(const struct kmeans_grid *g, const float *row,
	float scale, float out[KMEANS_GRID]);

/* The nearest point, the first of equal ones. *dist2: how far less the row's
 * squared length, squared. */
uint32_t kmeans_grid_nearest(const struct kmeans_grid *g, const float *row,
	float *dist2);

/* ---- training ---- */

/*
 * k centroids for rows: k * dim floats. It begins with rows evenly spread over
 * all there are and moves each centroid to the middle of the rows that are
 * nearest to it, `rounds` times. One that no row is nearest to takes the place
 * of the row that is farthest from its own; where rows are few or equal, some
 * centroids stand for nothing. The same rows give the same centroids. Of more
 * than KMEANS_FEW a row's is that of a tree.
 *
 * -EINVAL: no rows, k 0 or dim 0. -ENOMEM. -EINTR: *cancel became true (NULL:
 * never), which is looked at every round.
 */
struct kmeans_job {
	struct kmeans_rows rows;
	uint32_t k;
	uint32_t rounds;
	const _Atomic bool *cancel;
};
int kmeans_train(const struct kmeans_job *job, float *centroids);

#endif
