/* SPDX-License-Identifier: Apache-2.0 */
/* fashion.c: recall on Fashion-MNIST, where $VG_DATA has it. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/recall/churn.h"
#include "tests/tap.h"

/*
 * A quarter of the images by default, 46,000 and 14,000 new ones with VG_SOAK:
 * a minute on two cores.
 */
static bool load(struct data *d, const char *file, uint32_t max)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/fashion-mnist/%s", getenv("VG_DATA"),
		file);
	return data_load_idx(d, path, max, true);
}

int main(void)
{
	bool is_soak = env_long("VG_SOAK", 0) != 0;
	uint32_t n = is_soak ? 46000 : 6000;
	struct data base, queries;

	if (!getenv("VG_DATA"))
		skip_all("VG_DATA is not set");
	if (!load(&base, "train-images-idx3-ubyte.gz", n + n * 3 / 10) ||
		!load(&queries, "t10k-images-idx3-ubyte.gz",
			is_soak ? 2000 : 300))
		skip_all("VG_DATA has no fashion-mnist");
	plan(4 * CHURN_TESTS);
	churn("fashion-mnist l2", &base, n, &queries, VG_L2, HNSW_CODES_AUTO);
	churn("fashion-mnist cosine", &base, n, &queries, VG_COSINE,
		HNSW_CODES_AUTO);
	churn("fashion-mnist l2, qg", &base, n, &queries, VG_L2,
		HNSW_CODES_NEAR);
	churn("fashion-mnist cosine, qg", &base, n, &queries, VG_COSINE,
		HNSW_CODES_NEAR);
	data_fini(&base);
	data_fini(&queries);
	return done();
}
