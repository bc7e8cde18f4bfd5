/* SPDX-License-Identifier: Apache-2.0 */
/* data.h: vectors of the recall tests and of the races: read, kept, judged. */
#ifndef TESTS_RECALL_DATA_H
#define TESTS_RECALL_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "index/heap.h"
#include "index/rows.h"
#include "src/vg.h"

/*
 * n vectors of dim floats, dense, in one chunk of rows. The struct is the
 * caller's and must not move while the rows are borrowed.
 */
struct data {
	struct rows rows;
	_Atomic(char *) chunk;
	float *vecs;
	uint32_t n;
	uint32_t dim;
	size_t len; /* bytes mapped */
};

/*
 * Room for n vectors in huge pages (where is_huge and the kernel has them), as
 * the column of a collection has them. Ends the program where memory is short.
 */
void data_init(struct data *d, uint32_t n, uint32_t dim, bool is_huge);
void data_fini(struct data *d);

/* The first max vectors of an .fvecs file, gzipped or not; false if it cannot be
 * read. */
bool data_load_fvecs(struct data *d, const char *path, uint32_t max);

/* The first max images of a gzipped idx file, bytes as floats. */
bool data_load_idx(struct data *d, const char *path, uint32_t max,
	bool is_huge);

/*
 * The exact distances of each query's k nearest visible rows, ascending; a
 * scan of all rows by `threads` threads. n_queries * k floats, owned.
 */
struct truth {
	const struct data *base;
	const struct data *queries;
	enum vg_metric metric;
	uint32_t k;
	uint32_t threads;
	bool (*is_visible)(void *ctx, uint32_t slot);
	void *ctx;
};

float *truth_new(const struct truth *t);

/*
 * How many of the n answers of query q are no farther than its k-th nearest:
 * recall by distance, as data have ties.
 */
uint32_t truth_count(const struct truth *t, const float *truth, uint32_t q,
	const struct hit *hits, uint32_t n);

#endif
