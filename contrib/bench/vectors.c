/* SPDX-License-Identifier: Apache-2.0 */
/* vectors.c: see vectors.h. */
#include "contrib/bench/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
	const char *base, *queries;
} kinds[] = {
	{"patches_base.fvecs", "patches_query.fvecs"},
	{"fashion-mnist/train-images-idx3-ubyte.gz",
		"fashion-mnist/t10k-images-idx3-ubyte.gz"},
	{"tests/data/sift5k/sift5k_base.fvecs",
		"tests/data/sift5k/sift5k_query.fvecs"},
};

#define IDX 1u
#define TESTS 2u

static bool load(struct data *d, const char *dir, const char *name, uint32_t n,
	bool is_idx)
{
	char path[1000];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (access(path, R_OK) < 0)
		return false;
	return is_idx ? data_load_idx(d, path, n, false) :
			data_load_fvecs(d, path, n);
}

void vectors_load(struct data *base, uint32_t n, struct data *queries,
	uint32_t n_queries)
{
	const char *data = getenv("VG_DATA"), *src = getenv("VG_SRC");

	for (unsigned i = 0; i < VG_ARRAY_LEN(kinds); i++) {
		const char *dir = i == TESTS ? (src ? src : ".") : data;

		if (dir && *dir &&
			load(base, dir, kinds[i].base, n, i == IDX) &&
			load(queries, dir, kinds[i].queries, n_queries,
				i == IDX))
			return;
	}
	fputs("no vectors: run it in the source directory, or set VG_DATA or "
	      "VG_SRC\n",
		stderr);
	exit(1);
}
