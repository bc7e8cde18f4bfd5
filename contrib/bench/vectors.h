/* SPDX-License-Identifier: Apache-2.0 */
/* vectors.h: the rows and queries that benches share. */
#ifndef BENCH_VECTORS_H
#define BENCH_VECTORS_H

#include "tests/recall/data.h"

/* Files below the folder VG_DATA (below this one, where that is not set). */
struct vectors_set {
	const char *name, *base, *queries;
	enum vg_metric metric;
};

/* patches (what make_patches wrote), fashion or cve; NULL, behind a sentence,
 * where the name is another. */
const struct vectors_set *vectors_find(const char *name);

/* At most n rows of such a file, in huge pages if is_huge (.fvecs always are);
 * false, behind a sentence, where it cannot be read. */
bool vectors_load_file(struct data *d, const char *name, uint32_t n,
	bool is_huge);

/*
 * At most n rows and n_queries queries, all of l2, of the first that is there:
 * patches, fashion, or sift5k of the tests (below VG_SRC, or the folder we are
 * in). Ends the program with a sentence where none is.
 */
void vectors_load(struct data *base, uint32_t n, struct data *queries,
	uint32_t n_queries);

#endif
