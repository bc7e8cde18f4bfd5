/* SPDX-License-Identifier: Apache-2.0 */
/* pq.c: what centroids are nearest to, and what codes of a byte a part lose. */
#include "index/pq.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/dist.h"
#include "tests/tap.h"

/* Numbers around some centres, so that there is something to learn. */
#define CENTRES 40

static float *make_rows(uint32_t n, uint32_t dim)
{
	float *rows = malloc((size_t)n * dim * sizeof(*rows));
	float *centres = malloc((size_t)CENTRES * dim * sizeof(*centres));

	must(rows && centres);
	for (size_t i = 0; i < (size_t)CENTRES * dim; i++)
		centres[i] = (float)(rand() % 2001 - 1000) / 100;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t d = 0; d < dim; d++)
			rows[(size_t)i * dim + d] =
				centres[(size_t)(i % CENTRES) * dim + d] +
				(float)(rand() % 2001 - 1000) / 1000;
	free(centres);
	return rows;
}

static struct kmeans_rows rows_of(const float *rows, uint32_t n, uint32_t dim)
{
	return (struct kmeans_rows){.first = rows,
		.stride = dim,
		.n = n,
		.dim = dim};
}

static double dist2(const float *a, const float *b, uint32_t dim)
{
	double sum = 0;

	for (uint32_t d = 0; d < dim; d++)
		sum += ((double)a[d] - b[d]) * ((double)a[d] - b[d]);
	return sum;
}

/* The first of the nearest, by doubles. */
static uint32_t nearest_of(const float *row, const float *points, uint32_t k,
	uint32_t dim)
{
	uint32_t best = 0;

	for (uint32_t c = 1; c < k; c++)
		if (dist2(row, points + (size_t)c * dim, dim) <
			dist2(row, points + (size_t)best * dim, dim))
			best = c;
	return best;
}

/* Both ways to look for the nearest; floats may take one that is as near. */
static void test_nearest(uint32_t dim, uint32_t k)
{
	enum { N = 300 };
	float *rows = make_rows(N, dim), *points = make_rows(k, dim);
	float *at = malloc((size_t)dim * KMEANS_GRID * sizeof(*at)), far[N];
	float half[KMEANS_GRID], d2;
	struct kmeans_rows r = rows_of(rows, N, dim);
	struct kmeans_grid grid = {.at = at, .half = half, .dim = dim};
	struct kmeans_tree tree = {0};
	uint32_t found[N], wrong = 0, wrong_grid = 0, wrong_far = 0;

	must(at);
	must(kmeans_tree_new(&tree, points, k, dim) == 0);
	kmeans_tree_nearest(&tree, &r, found, far);
	kmeans_grid_fill(&grid, points, VG_MIN(k, KMEANS_GRID));
	for (uint32_t i = 0; i < N; i++) {
		const float *row = rows + (size_t)i * dim;
		uint32_t best = nearest_of(row, points, k, dim), c;
		double is = dist2(row, points + (size_t)best * dim, dim);
		double of_found;

		of_found = dist2(row, points + (size_t)found[i] * dim, dim);
		/* Of many one that is about as near may be found. */
		wrong += of_found >
			 is * (k > KMEANS_FEW ? 1.5 : 1.0001) + 1e-4;
		wrong_far += fabs(far[i] - of_found) > of_found * 1e-3 + 1e-3;
		if (k > KMEANS_GRID)
			continue;
		c = kmeans_grid_nearest(&grid, row, &d2);
		wrong_grid += c >= k || dist2(row, points + (size_t)c * dim,
						dim) > is * 1.001 + 1e-3;
		wrong_far += fabs(d2 + dist2(row, (float[1024]){0}, dim) - is) >
			     is * 1e-3 + 1e-1;
	}
	ok(wrong <= (k > KMEANS_FEW ? N / 20 : 0) && wrong_grid == 0 &&
			wrong_far == 0,
		"the nearest of %u centroids in %u dimensions is found, and "
		"how far",
		k, dim);
	kmeans_tree_fini(&tree);
	free(rows);
	free(points);
	free(at);
}

static double spread(const struct kmeans_rows *rows, const float *points,
	uint32_t k)
{
	double sum = 0;

	for (uint32_t i = 0; i < rows->n; i++) {
		const float *row = rows->first + i * rows->stride;
		uint32_t c = nearest_of(row, points, k, rows->dim);

		sum += dist2(row, points + (size_t)c * rows->dim, rows->dim);
	}
	return sum;
}

static void test_kmeans(void)
{
	enum { N = 2000, DIM = 12, K = 300 };
	static float points[K * DIM], again[K * DIM];
	float *rows = make_rows(N, DIM);
	struct kmeans_job job = {.rows = rows_of(rows, N, DIM),
		.k = CENTRES,
		.rounds = 10};
	_Atomic bool cancel = true;
	double one, ten, many;

	job.rounds = 1;
	must(kmeans_train(&job, points) == 0);
	one = spread(&job.rows, points, job.k);
	job.rounds = 10;
	must(kmeans_train(&job, points) == 0);
	ten = spread(&job.rows, points, job.k);
	ok(ten <= one, "more rounds bring centroids nearer to their rows");
	job.k = K;
	must(kmeans_train(&job, points) == 0);
	many = spread(&job.rows, points, job.k);
	ok(many < ten, "more centroids are nearer");
	must(kmeans_train(&job, again) == 0);
	ok(memcmp(points, again, sizeof(points)) == 0,
		"the same rows give the same centroids");
	job.cancel = &cancel;
	ok(kmeans_train(&job, again) == -EINTR, "training can be cancelled");
	job.cancel = NULL;
	job.k = 0;
	ok(kmeans_train(&job, again) == -EINVAL, "no centroids are refused");
	job.k = 1;
	job.rows.n = 0;
	ok(kmeans_train(&job, again) == -EINVAL, "no rows are refused");
	free(rows);
}

/* A centroid in each place where rows stand, though it began elsewhere. */
static void test_empty(void)
{
	enum { N = 1000, K = 8 };
	float rows[N], points[K], equal[N];
	struct kmeans_job job = {.rows = rows_of(rows, N, 1),
		.k = K,
		.rounds = 12};

	/* Seven far rows among so many equal ones that none begins there. */
	for (uint32_t i = 0; i < N; i++) {
		rows[i] = i % 125 == 60 ? 100 + (float)i : 5;
		equal[i] = 7;
	}
	must(kmeans_train(&job, points) == 0);
	ok(spread(&job.rows, points, K) < 1.5 * 125 * 125,
		"a centroid without rows takes the place of a far row");
	job.rows.first = equal;
	must(kmeans_train(&job, points) == 0);
	ok(spread(&job.rows, points, K) == 0 && points[K - 1] == 7,
		"equal rows have one centroid in several places");
	job.rows.n = 3;
	job.rows.first = rows;
	ok(kmeans_train(&job, points) == 0 && isfinite(points[K - 1]),
		"fewer rows than centroids are enough");
}

static double pq_error(const struct pq *pq, const struct kmeans_rows *rows,
	float *vec)
{
	uint8_t code[PQ_M_MAX];
	double sum = 0;

	for (uint32_t i = 0; i < rows->n; i++) {
		const float *row = rows->first + i * rows->stride;

		pq_encode(pq, row, code);
		pq_decode(pq, code, vec);
		sum += dist2(row, vec, rows->dim);
	}
	return sum / rows->n;
}

static void test_error(void)
{
	enum { N = 3000, DIM = 24 };
	static const uint32_t m[] = {1, 2, 5, 12, 24};
	float *rows = make_rows(N, DIM), vec[DIM];
	struct kmeans_rows r = rows_of(rows, N, DIM);
	double before = INFINITY, first = 0;
	bool falls = true;

	for (uint32_t i = 0; i < VG_ARRAY_LEN(m); i++) {
		struct pq pq = {0};
		double is;

		must(pq_train(&pq, &r, m[i], NULL) == 0);
		is = pq_error(&pq, &r, vec);
		diag("m %u: error %g", m[i], is);
		falls = falls && is < before && pq_is_valid(&pq);
		before = is;
		first = i == 0 ? is : first;
		pq_fini(&pq);
	}
	ok(falls, "the error falls as codes get longer, even or not");
	ok(before < first / 20, "and is small where each element has a byte");
	free(rows);
}

static void test_sums(void)
{
	enum { N = 600, DIM = 21, M = 5 };
	static float table[M * KMEANS_GRID];
	static uint8_t codes[N * M];
	static float out[N];
	float *rows = make_rows(N, DIM), vec[DIM];
	struct kmeans_rows r = rows_of(rows, N, DIM);
	const float *q = rows + 17 * DIM;
	struct pq pq = {0}, again = {0};
	uint32_t wrong = 0, moved = 0;
	double n2 = dist2(q, (float[DIM]){0}, DIM);

	must(pq_train(&pq, &r, M, NULL) == 0);
	must(pq_train(&again, &r, M, NULL) == 0);
	ok(memcmp(pq.points, again.points, pq_points_len(DIM, M)) == 0,
		"the same rows teach the same points");
	for (uint32_t i = 0; i < N; i++)
		pq_encode(&pq, rows + (size_t)i * DIM, codes + i * M);
	pq_table(&pq, q, -2, table);
	pq_sums(table, M, codes, N - 1, out); /* not a multiple of 4 */
	for (uint32_t i = 0; i < N - 1; i++) {
		uint8_t code[M];
		double is, c2;

		pq_decode(&pq, codes + i * M, vec);
		is = dist2(q, vec, DIM);
		c2 = dist2(vec, (float[DIM]){0}, DIM);
		wrong += fabs(n2 + out[i] + c2 - is) > 1e-5 * (n2 + c2);
		pq_encode(&pq, vec, code);
		moved += memcmp(code, codes + i * M, M) != 0;
	}
	ok(wrong == 0, "a distance from tables is that of the decoded vector");
	ok(moved == 0, "what a code stands for has that code");
	pq.points[3] = NAN;
	ok(!pq_is_valid(&pq), "points that are no numbers are not valid");
	pq.points[3] = again.points[3] + 1;
	ok(!pq_is_valid(&pq), "nor are lengths of other points");
	pq_fini(&pq);
	pq_fini(&pq);
	pq_fini(&again);
	free(rows);
}

static void test_checks(void)
{
	enum { N = 50, DIM = 6 };
	float *rows = make_rows(N, DIM), vec[DIM];
	struct kmeans_rows r = rows_of(rows, N, DIM);
	_Atomic bool cancel = true;
	struct pq pq = {0};
	uint8_t code[DIM];
	double is;

	ok(pq_train(&pq, &r, 0, NULL) == -EINVAL &&
			pq_train(&pq, &r, DIM + 1, NULL) == -EINVAL,
		"codes of no bytes, or of more than there are elements, are "
		"refused");
	r.dim = 0;
	ok(pq_train(&pq, &r, 1, NULL) == -EINVAL, "no dimensions are refused");
	r.dim = VG_DIM_MAX + 1;
	ok(pq_train(&pq, &r, 1, NULL) == -EINVAL, "nor are too many taken");
	r.dim = DIM;
	ok(pq_new(&pq, VG_DIM_MAX, PQ_M_MAX + 1) == -EINVAL,
		"too long a code is refused");
	ok(pq_train(&pq, &r, 3, &cancel) == -EINTR && !pq.points,
		"training ends when it is cancelled");
	r.n = 0;
	ok(pq_train(&pq, &r, 3, NULL) == -EINVAL, "no rows are refused");
	r.n = N;
	must(pq_train(&pq, &r, DIM, NULL) == 0);
	is = 0;
	for (uint32_t i = 0; i < N; i++) {
		pq_encode(&pq, rows + (size_t)i * DIM, code);
		pq_decode(&pq, code, vec);
		is = VG_MAX(is, dist2(rows + (size_t)i * DIM, vec, DIM));
	}
	ok(is < 1e-3, "rows fewer than points lose no more than rounding does");
	pq_fini(&pq);
	free(rows);
}

int main(void)
{
	plan(28);
	srand((unsigned)seed());
	test_nearest(1, 5);
	test_nearest(4, 256);
	test_nearest(7, 100);
	test_nearest(33, 1000);
	test_nearest(700, 130);
	test_kmeans();
	test_empty();
	test_error();
	test_sums();
	test_checks();
	return done();
}
