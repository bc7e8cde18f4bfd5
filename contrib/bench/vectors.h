/* SPDX-License-Identifier: Apache-2.0 */
/* vectors.h: the rows and queries that benches of the mounted tree share. */
#ifndef BENCH_VECTORS_H
#define BENCH_VECTORS_H

#include "tests/recall/data.h"

/*
 * At most n rows and n_queries queries, all of l2, of the first that is there:
 * what make_patches wrote in the folder VG_DATA, fashion-mnist/ in it, or
 * sift5k of the tests (below VG_SRC, or the folder we are in). Ends the program
 * with a sentence where none is.
 */
void vectors_load(struct data *base, uint32_t n, struct data *queries,
	uint32_t n_queries);

#endif
