/* SPDX-License-Identifier: Apache-2.0 */
/* flat.h: the exact answer, by looking at every row. */
#ifndef INDEX_FLAT_H
#define INDEX_FLAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "index/dist.h"
#include "index/heap.h"
#include "index/rows.h"
#include "src/vg.h"

/*
 * What is asked of a scan. vec has the form of the rows (0: f32), dim finite
 * elements, and is borrowed; rows have at least dist_row_len bytes, what is
 * behind them is not read. is_visible(ctx, slot) says whether a row may be
 * answered; NULL: all may. It is called only for rows that would enter the
 * answer, after their distance is known. When *cancel becomes true (NULL:
 * never) the scan stops within some 2 MiB of rows. fetch (NULL is legal) is
 * given the slots of a list that are read next, up to DIST_SIFT_MAX in a call,
 * fetch_range (likewise) those of a range that are read within the next 4 MiB,
 * each 2 MiB: what of them stands on a disk can be asked of it at once.
 *
 * HOW. Rows are looked at in blocks. Fast sums of a block (dist_query_sift)
 * pass by what cannot enter; of the rest the exact distance is computed, from
 * the cache. So a scan is as fast as rows can be read, and its answer is what
 * exact distances of all rows would give, to the bit, on every processor.
 */
struct flat_query {
	const void *vec;
	uint32_t dim;
	enum vg_metric metric;
	enum dist_form form;
	bool (*is_visible)(void *ctx, uint32_t slot);
	void (*fetch)(void *ctx, const uint32_t *slots, uint32_t n);
	void (*fetch_range)(void *ctx, uint32_t from, uint32_t to);
	void *ctx;
	const _Atomic bool *cancel;
};

/*
 * Offers the visible rows of slots [from, to) to top, whose cap is the k of
 * the query and whose tie orders equal distances. So several ranges, and hits
 * from elsewhere, can be gathered in one topk; topk_sort ends it. Distances
 * are exact (dist.h). Every row of the range must have been written. Allocates
 * nothing; any number of threads, each with its own topk.
 *
 * -EINTR: cancelled; top holds the best of what was seen until then.
 */
int flat_scan(const struct flat_query *q, const struct rows *rows,
	uint32_t from, uint32_t to, struct topk *top);

/*
 * The same for n queries q[], each with its own top of tops[]: what n calls of
 * flat_scan would give, but FLAT_BATCH queries are asked of a block of rows
 * while it is in the cache, so the rows come from memory once for that many.
 * Each may have another metric, visibility and cancel; -EINTR if any of them
 * is cancelled.
 */
#define FLAT_BATCH 32u
int flat_scan_batch(const struct flat_query *q, uint32_t n,
	const struct rows *rows, uint32_t from, uint32_t to, struct topk *tops);

/* flat_scan for n slots in any order: those that a filter or a tail names. */
int flat_scan_list(const struct flat_query *q, const struct rows *rows,
	const uint32_t *slots, uint32_t n, struct topk *top);

#endif
