/* SPDX-License-Identifier: Apache-2.0 */
/* flat.h: the exact answer, by looking at every row. */
#ifndef INDEX_FLAT_H
#define INDEX_FLAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "index/heap.h"
#include "index/rows.h"
#include "src/vg.h"

/*
 * What is asked of a scan. vec has dim finite floats and is borrowed; rows
 * have dim * 4 bytes. is_visible(ctx, slot) says whether a row may be
 * answered; NULL: all may. It is called only for rows that would enter the
 * answer, after their distance is known. When *cancel becomes true (NULL:
 * never) the scan stops within some 2 MiB of rows.
 */
struct flat_query {
	const float *vec;
	uint32_t dim;
	enum vg_metric metric;
	bool (*is_visible)(void *ctx, uint32_t slot);
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

/* The same for n slots in any order: those that a filter or a tail names. */
int flat_scan_list(const struct flat_query *q, const struct rows *rows,
	const uint32_t *slots, uint32_t n, struct topk *top);

#endif
