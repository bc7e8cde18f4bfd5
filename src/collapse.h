/* SPDX-License-Identifier: Apache-2.0 */
/* collapse.h: of records with one value of a field, the nearest only. */
#ifndef VG_COLLAPSE_H
#define VG_COLLAPSE_H

#include "src/match.h"
#include "src/store.h"

/*
 * The records of one look (and match, NULL: all) in groups: those with an equal
 * value of a field (sortkey.h). Records without a value are one group, as SQL's
 * DISTINCT ON has it. Which groups there are takes a look at the metadata of
 * every record, some 0.2 us each, and is found when somebody asks first; any
 * number of searches and threads may ask then.
 */
struct collapse;

/* Of look and match, borrowed, and field, copied. -ENOMEM. Any thread. */
int collapse_new(const struct look *look, struct match *match,
	struct vg_id field, struct collapse **out);
void collapse_free(struct collapse *c); /* NULL is allowed */

/* Leaves of hits[*n], nearest first, the first of each group. Makes nothing of
 * all records. -ENOMEM. -VG_ECORRUPT: some metadata is none. Any thread. */
int collapse_hits(const struct collapse *c, struct search_hit *hits,
	uint32_t *n);

/* Group g has the slots slot[begin[g]] to slot[begin[g + 1] - 1] of the look's
 * newest cell. */
struct collapse_groups {
	uint32_t n;
	const uint32_t *begin; /* n + 1 */
	const uint32_t *slot;
};

/*
 * All groups, borrowed until collapse_free. cancel is polled, NULL: never;
 * -EINTR: it was true, and the next call begins anew. Errors as above. Any
 * thread.
 */
int collapse_get(struct collapse *c, const _Atomic bool *cancel,
	struct collapse_groups *out);

#endif
