/* SPDX-License-Identifier: Apache-2.0 */
/* vectors.c: see vectors.h. */
#include "contrib/bench/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct vectors_set sets[] = {
	{"patches", "patches_base.fvecs", "patches_query.fvecs", VG_L2},
	{"fashion", "fashion-mnist/train-images-idx3-ubyte.gz",
		"fashion-mnist/t10k-images-idx3-ubyte.gz", VG_L2},
	{"cve", "cve/cve_base.fvecs.gz", "cve/cve_query.fvecs.gz", VG_COSINE},
};
static const struct vectors_set of_tests = {"sift5k",
	"tests/data/sift5k/sift5k_base.fvecs",
	"tests/data/sift5k/sift5k_query.fvecs", VG_L2};

const struct vectors_set *vectors_find(const char *name)
{
	for (size_t i = 0; i < VG_ARRAY_LEN(sets); i++)
		if (strcmp(name, sets[i].name) == 0)
			return &sets[i];
	fprintf(stderr, "no data is called %s\n", name);
	return NULL;
}

static bool load(struct data *d, const char *dir, const char *name, uint32_t n,
	bool is_huge)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (access(path, R_OK) < 0)
		return false;
	return strstr(name, "idx3") ? data_load_idx(d, path, n, is_huge) :
				      data_load_fvecs(d, path, n);
}

bool vectors_load_file(struct data *d, const char *name, uint32_t n,
	bool is_huge)
{
	const char *data = getenv("VG_DATA");

	if (load(d, data ? data : ".", name, n, is_huge))
		return true;
	fprintf(stderr, "%s cannot be read; VG_DATA names its directory\n",
		name);
	return false;
}

void vectors_load(struct data *base, uint32_t n, struct data *queries,
	uint32_t n_queries)
{
	const char *data = getenv("VG_DATA"), *src = getenv("VG_SRC");
	const struct {
		const char *dir;
		const struct vectors_set *set;
	} tries[] = {{data, &sets[0]}, {data, &sets[1]},
		{src ? src : ".", &of_tests}};

	for (size_t i = 0; i < VG_ARRAY_LEN(tries); i++) {
		const char *dir = tries[i].dir;

		if (dir && *dir &&
			load(base, dir, tries[i].set->base, n, false) &&
			load(queries, dir, tries[i].set->queries, n_queries,
				false))
			return;
	}
	fputs("no vectors: run it in the source directory, or set VG_DATA or "
	      "VG_SRC\n",
		stderr);
	exit(1);
}
