/* SPDX-License-Identifier: Apache-2.0 */
/* sift5k.c: recall on 4,800 real descriptors that the project ships. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "index/flat.h"
#include "tests/recall/churn.h"
#include "tests/tap.h"

#define N 3600 /* and 1,080 more that overwrite some of them */
#define K 100

static struct data base, queries;

static void load(struct data *d, const char *name)
{
	const char *src = getenv("VG_SRC");
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/data/sift5k/sift5k_%s.fvecs",
		src ? src : ".", name);
	must(data_load_fvecs(d, path, UINT32_MAX));
}

/* An .ivecs file of K slots a query. */
static uint32_t *load_truth(void)
{
	const char *src = getenv("VG_SRC");
	uint32_t *truth = calloc((size_t)queries.n * (K + 1), 4);
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/data/sift5k/sift5k_gt100.ivecs",
		src ? src : ".");
	f = fopen(path, "rb");
	must(f && truth);
	must(fread(truth, (K + 1) * 4, queries.n, f) == queries.n);
	fclose(f);
	return truth;
}

static double plain_dist(const float *a, const float *b)
{
	double sum = 0;

	for (uint32_t i = 0; i < base.dim; i++)
		sum += ((double)a[i] - (double)b[i]) *
		       ((double)a[i] - (double)b[i]);
	return sqrt(sum);
}

/* The scan against the neighbours that came with the data. */
static bool scan_is_right(const uint32_t *truth)
{
	struct hit hits[K];

	for (uint32_t i = 0; i < queries.n; i++) {
		const float *vec = queries.vecs + (size_t)i * queries.dim;
		const uint32_t *want = truth + (size_t)i * (K + 1) + 1;
		struct flat_query q = {.vec = vec,
			.dim = base.dim,
			.metric = VG_L2};
		struct topk top;

		topk_init(&top, hits, K, NULL, NULL);
		must(flat_scan(&q, &base.rows, 0, base.n, &top) == 0);
		topk_sort(&top);
		for (uint32_t j = 0; j < K; j++) {
			double dist = plain_dist(vec,
				base.vecs + (size_t)want[j] * base.dim);

			if (fabs((double)hits[j].dist - dist) > 1e-6 * dist)
				return false;
		}
	}
	return true;
}

int main(void)
{
	uint32_t *truth;

	plan(1 + 3 * CHURN_TESTS);
	load(&base, "base");
	load(&queries, "query");
	truth = load_truth();
	ok(scan_is_right(truth),
		"sift5k: the scan finds the 100 neighbours of all queries");
	churn("sift5k l2", &base, N, &queries, VG_L2, HNSW_CODES_AUTO);
	churn("sift5k cosine", &base, N, &queries, VG_COSINE, HNSW_CODES_AUTO);
	churn("sift5k ip", &base, N, &queries, VG_IP, HNSW_CODES_AUTO);
	free(truth);
	data_fini(&base);
	data_fini(&queries);
	return done();
}
