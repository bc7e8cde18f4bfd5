/* SPDX-License-Identifier: Apache-2.0 */
/* kmeans.c: see kmeans.h. */
#include "index/kmeans.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/dist.h"
#include "index/heap.h"
#include "src/vg.h"

/* ---- the nearest of many ---- */

#define BLOCK 128u /* centroids that are compared by one call */
#define GROUP_ROUNDS 4u

/* A row, and the nearest that was found for it. */
struct nearest {
	const float *row;
	uint32_t dim;
	uint32_t no;
	float dist2;
};

/* Compares with points[n], the first of which is number `first`. */
static void compare(struct nearest *it, const float *points, uint32_t n,
	uint32_t first)
{
	const struct dist_kernels *kernels = dist_kernels_get();
	struct dist_rows rows = {.stride = it->dim * sizeof(float),
		.dim = it->dim};
	float sums[BLOCK];

	for (uint32_t from = 0; from < n; from += BLOCK) {
		rows.first = points + (size_t)from * it->dim;
		rows.n = VG_MIN(BLOCK, n - from);
		kernels->rows[DIST_F32][DIST_L2SQ](it->row, &rows, sums, NULL);
		for (uint32_t c = 0; c < rows.n; c++)
			if (sums[c] < it->dist2) {
				it->dist2 = sums[c];
				it->no = first + from + c;
			}
	}
}

/* Compares with the centroids of the groups whose middles are nearest. */
static void compare_groups(struct nearest *it, const struct kmeans_tree *tree)
{
	const struct dist_kernels *kernels = dist_kernels_get();
	struct hit room[KMEANS_GROUPS];
	struct topk near;

	topk_init(&near, room, KMEANS_GROUPS, NULL, NULL);
	for (uint32_t from = 0; from < tree->n_groups; from += BLOCK) {
		struct dist_rows rows = {.first = tree->middles +
						  (size_t)from * it->dim,
			.stride = it->dim * sizeof(float),
			.n = VG_MIN(BLOCK, tree->n_groups - from),
			.dim = it->dim};
		float sums[BLOCK];

		kernels->rows[DIST_F32][DIST_L2SQ](it->row, &rows, sums, NULL);
		for (uint32_t g = 0; g < rows.n; g++) {
			struct hit hit = {.dist = sums[g], .slot = from + g};

			if (topk_wants(&near, hit))
				topk_put(&near, hit);
		}
	}
	topk_sort(&near);
	for (uint32_t i = 0; i < near.n; i++) {
		uint32_t from = tree->from[room[i].slot];

		compare(it, tree->centroids + (size_t)from * it->dim,
			tree->from[room[i].slot + 1] - from, from);
	}
}

void kmeans_tree_nearest(const struct kmeans_tree *tree,
	const struct kmeans_rows *rows, uint32_t *nearest, float *dist2)
{
	assert(tree->k > 0 && tree->dim == rows->dim);
	for (uint32_t i = 0; i < rows->n; i++) {
		struct nearest it = {.row = rows->first + i * rows->stride,
			.dim = rows->dim,
			.dist2 = INFINITY};

		if (tree->n_groups == 0)
			compare(&it, tree->centroids, tree->k, 0);
		else
			compare_groups(&it, tree);
		nearest[i] = it.no;
		dist2[i] = it.dist2;
	}
}

uint32_t kmeans_groups_for(uint32_t k)
{
	return k <= KMEANS_FEW ? 0 : (uint32_t)sqrt(k);
}

void kmeans_tree_fini(struct kmeans_tree *tree)
{
	free(tree->middles);
	free(tree->from);
	*tree = (struct kmeans_tree){0};
}

static void find_middles(struct kmeans_tree *tree)
{
	for (uint32_t g = 0; g < tree->n_groups; g++) {
		float *middle = tree->middles + (size_t)g * tree->dim;
		uint32_t from = tree->from[g], end = tree->from[g + 1];

		for (uint32_t d = 0; d < tree->dim; d++) {
			double sum = 0;

			for (uint32_t c = from; c < end; c++)
				sum += tree->centroids[(size_t)c * tree->dim +
						       d];
			/* No row is near to the middle of nothing. */
			middle[d] = end > from ? (float)(sum / (end - from)) :
						 INFINITY;
		}
	}
}

int kmeans_tree_init(struct kmeans_tree *tree, const float *centroids,
	uint32_t k, uint32_t dim, const uint32_t *from)
{
	uint32_t n = kmeans_groups_for(k);
	struct kmeans_tree made = {.centroids = centroids,
		.dim = dim,
		.k = k,
		.n_groups = n};

	if (n > 0) {
		for (uint32_t g = 0; g < n; g++)
			if (from[g] > from[g + 1])
				return -EINVAL;
		if (from[0] != 0 || from[n] != k)
			return -EINVAL;
		made.middles = malloc((size_t)n * dim * sizeof(*made.middles));
		made.from = malloc((n + 1) * sizeof(*made.from));
		if (!made.middles || !made.from) {
			kmeans_tree_fini(&made);
			return -ENOMEM;
		}
		memcpy(made.from, from, (n + 1) * sizeof(*from));
		find_middles(&made);
	}
	*tree = made;
	return 0;
}

/* Puts centroids into the order of their groups; from[] gets where each
 * begins. -ENOMEM. */
static int sort_by_group(const struct kmeans_rows *rows, float *centroids,
	const uint32_t *group, uint32_t n_groups, uint32_t *from)
{
	size_t len = (size_t)rows->n * rows->dim * sizeof(*centroids);
	float *copy = malloc(len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, centroids, len);
	memset(from, 0, (n_groups + 1) * sizeof(*from));
	for (uint32_t c = 0; c < rows->n; c++)
		from[group[c] + 1]++;
	for (uint32_t g = 0; g < n_groups; g++)
		from[g + 1] += from[g];
	for (uint32_t c = 0; c < rows->n; c++)
		memcpy(centroids + (size_t)from[group[c]]++ * rows->dim,
			copy + (size_t)c * rows->dim,
			rows->dim * sizeof(*centroids));
	/* Each stands where the next began. */
	memmove(from + 1, from, n_groups * sizeof(*from));
	from[0] = 0;
	free(copy);
	return 0;
}

int kmeans_tree_new(struct kmeans_tree *tree, float *centroids, uint32_t k,
	uint32_t dim)
{
	uint32_t n = kmeans_groups_for(k);
	struct kmeans_job job = {.rows = {centroids, dim, k, dim},
		.k = n,
		.rounds = GROUP_ROUNDS};
	struct kmeans_tree flat = {.dim = dim, .k = n};
	float *middles, *far;
	uint32_t *group, *from;
	int rc = -ENOMEM;

	if (n == 0)
		return kmeans_tree_init(tree, centroids, k, dim, NULL);
	assert(n <= KMEANS_FEW && n < k);
	middles = malloc((size_t)n * dim * sizeof(*middles));
	far = malloc(k * sizeof(*far));
	group = malloc(k * sizeof(*group));
	from = malloc((n + 1) * sizeof(*from));
	if (middles && far && group && from)
		rc = kmeans_train(&job, middles);
	flat.centroids = middles;
	if (rc == 0) {
		kmeans_tree_nearest(&flat, &job.rows, group, far);
		rc = sort_by_group(&job.rows, centroids, group, n, from);
	}
	if (rc == 0)
		rc = kmeans_tree_init(tree, centroids, k, dim, from);
	free(middles);
	free(far);
	free(group);
	free(from);
	return rc;
}

/* ---- the nearest of 256 ---- */

/* Vectors of the compiler's: of whatever width the processor's have at least. */
typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t numbers __attribute__((vector_size(16)));
#define LANES 4u
#define STEP 8u /* of them are summed at once, in registers */

static_assert(KMEANS_GRID % (LANES * STEP) == 0, "whole steps");

void kmeans_grid_fill(struct kmeans_grid *g, const float *points, uint32_t k)
{
	assert(k > 0 && k <= KMEANS_GRID);
	memset(g->at, 0, (size_t)g->dim * KMEANS_GRID * sizeof(*g->at));
	for (uint32_t c = 0; c < KMEANS_GRID; c++) {
		float sum = 0;

		for (uint32_t d = 0; c < k && d < g->dim; d++) {
			float x = points[(size_t)c * g->dim + d];

			g->at[(size_t)d * KMEANS_GRID + c] = x;
			sum += x * x;
		}
		g->half[c] = c < k ? sum / 2 : INFINITY;
	}
}

void kmeans_grid_dots(const struct kmeans_grid *g, const float *row,
	float scale, float out[KMEANS_GRID])
{
	for (uint32_t c = 0; c < KMEANS_GRID; c += LANES * STEP) {
		lanes sum[STEP] = {0};

		for (uint32_t d = 0; d < g->dim; d++) {
			const float *at = g->at + (size_t)d * KMEANS_GRID + c;

			for (uint32_t s = 0; s < STEP; s++)
				sum[s] += *(const lanes *)(at + s * LANES) *
					  (row[d] * scale);
		}
		for (uint32_t s = 0; s < STEP; s++)
			*(lanes *)(out + c + s * LANES) = sum[s];
	}
}

uint32_t kmeans_grid_nearest(const struct kmeans_grid *g, const float *row,
	float *dist2)
{
	float dots[KMEANS_GRID], least = INFINITY;
	lanes best = {INFINITY, INFINITY, INFINITY, INFINITY};
	numbers at = {0}, turn = {0}; /* of the best: c / LANES */
	uint32_t found = 0;

	kmeans_grid_dots(g, row, 1, dots);
	for (uint32_t c = 0; c < KMEANS_GRID; c += LANES, turn += 1) {
		lanes far = *(const lanes *)(g->half + c) -
			    *(const lanes *)(dots + c);
		numbers is_less = (numbers)(far < best);

		best = (lanes)((is_less & (numbers)far) |
			       (~is_less & (numbers)best));
		at = (is_less & turn) | (~is_less & at);
	}
	for (uint32_t l = 0; l < LANES; l++) {
		uint32_t c = (uint32_t)at[l] * LANES + l;

		if (best[l] < least || (best[l] == least && c < found)) {
			least = best[l];
			found = c;
		}
	}
	*dist2 = 2 * least;
	return found;
}

/* ---- training ---- */

struct train {
	const struct kmeans_job *job;
	float *centroids;
	uint32_t *nearest; /* of each row */
	float *dist2;
	double *sums;		 /* k * dim */
	uint32_t *n;		 /* k: rows of each */
	struct kmeans_grid grid; /* at NULL: there are too many for it */
};

static const float *row_of(const struct train *t, uint32_t i)
{
	return t->job->rows.first + i * t->job->rows.stride;
}

static float *centroid_of(const struct train *t, uint32_t c)
{
	return t->centroids + (size_t)c * t->job->rows.dim;
}

static void train_fini(struct train *t)
{
	free(t->nearest);
	free(t->dist2);
	free(t->sums);
	free(t->n);
	free(t->grid.at);
	free(t->grid.half);
}

static int train_init(struct train *t, const struct kmeans_job *job,
	float *centroids)
{
	const struct kmeans_rows *rows = &job->rows;
	bool has_grid = job->k <= KMEANS_GRID;

	*t = (struct train){.job = job,
		.centroids = centroids,
		.nearest = malloc(rows->n * sizeof(*t->nearest)),
		.dist2 = malloc(rows->n * sizeof(*t->dist2)),
		.sums = malloc((size_t)job->k * rows->dim * sizeof(*t->sums)),
		.n = malloc(job->k * sizeof(*t->n)),
		.grid = {.dim = rows->dim}};
	if (has_grid) {
		t->grid.at = malloc(
			(size_t)rows->dim * KMEANS_GRID * sizeof(*t->grid.at));
		t->grid.half = malloc(KMEANS_GRID * sizeof(*t->grid.half));
	}
	if (t->nearest && t->dist2 && t->sums && t->n &&
		(!has_grid || (t->grid.at && t->grid.half)))
		return 0;
	train_fini(t);
	return -ENOMEM;
}

static float norm2(const float *row, uint32_t dim)
{
	float sum = 0;

	for (uint32_t d = 0; d < dim; d++)
		sum += row[d] * row[d];
	return sum;
}

static int assign_by_tree(struct train *t)
{
	struct kmeans_tree tree = {0};
	int rc = kmeans_tree_new(&tree, t->centroids, t->job->k,
		t->job->rows.dim);

	if (rc == 0)
		kmeans_tree_nearest(&tree, &t->job->rows, t->nearest, t->dist2);
	kmeans_tree_fini(&tree);
	return rc;
}

static int assign(struct train *t)
{
	const struct kmeans_rows *rows = &t->job->rows;

	if (!t->grid.at)
		return assign_by_tree(t);
	kmeans_grid_fill(&t->grid, t->centroids, t->job->k);
	for (uint32_t i = 0; i < rows->n; i++) {
		t->nearest[i] = kmeans_grid_nearest(&t->grid, row_of(t, i),
			&t->dist2[i]);
		t->dist2[i] += norm2(row_of(t, i), rows->dim);
	}
	return 0;
}

/* The row that is farthest from its centroid, which it leaves. */
static uint32_t take_farthest(struct train *t)
{
	uint32_t far = 0;

	for (uint32_t i = 1; i < t->job->rows.n; i++)
		if (t->dist2[i] > t->dist2[far])
			far = i;
	return far;
}

/* As each round gives a row to one that had none, none is asked twice. */
static void fill_empty(struct train *t)
{
	uint32_t dim = t->job->rows.dim;

	for (uint32_t c = 0; c < t->job->k; c++) {
		uint32_t far;

		if (t->n[c] > 0)
			continue;
		far = take_farthest(t);
		if (!(t->dist2[far] > 0))
			break; /* all rows are where some centroid is */
		t->dist2[far] = 0;
		memcpy(centroid_of(t, c), row_of(t, far), dim * sizeof(float));
	}
}

static void update(struct train *t)
{
	uint32_t dim = t->job->rows.dim, k = t->job->k;

	memset(t->sums, 0, (size_t)k * dim * sizeof(*t->sums));
	memset(t->n, 0, k * sizeof(*t->n));
	for (uint32_t i = 0; i < t->job->rows.n; i++) {
		double *sum = t->sums + (size_t)t->nearest[i] * dim;
		const float *row = row_of(t, i);

		assert(t->nearest[i] < k);
		t->n[t->nearest[i]]++;
		for (uint32_t d = 0; d < dim; d++)
			sum[d] += row[d];
	}
	for (uint32_t c = 0; c < k; c++)
		for (uint32_t d = 0; t->n[c] > 0 && d < dim; d++)
			centroid_of(t, c)[d] =
				(float)(t->sums[(size_t)c * dim + d] / t->n[c]);
	fill_empty(t);
}

int kmeans_train(const struct kmeans_job *job, float *centroids)
{
	const struct kmeans_rows *rows = &job->rows;
	struct train t;
	int rc;

	if (rows->n == 0 || rows->dim == 0 || job->k == 0)
		return -EINVAL;
	assert(rows->stride >= rows->dim);
	rc = train_init(&t, job, centroids);
	if (rc < 0)
		return rc;
	for (uint32_t c = 0; c < job->k; c++)
		memcpy(centroid_of(&t, c),
			row_of(&t, (uint32_t)((uint64_t)c * rows->n / job->k)),
			rows->dim * sizeof(float));
	for (uint32_t i = 0; i < job->rounds && rc == 0; i++) {
		if (job->cancel &&
			atomic_load_explicit(job->cancel, memory_order_relaxed))
			rc = -EINTR;
		if (rc == 0)
			rc = assign(&t);
		if (rc == 0)
			update(&t);
	}
	train_fini(&t);
	return rc;
}
