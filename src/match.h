/* SPDX-License-Identifier: Apache-2.0 */
/* match.h: the versions of one look that a filter means. */
#ifndef VG_MATCH_H
#define VG_MATCH_H

#include "index/among.h"
#include "src/collection.h"
#include "src/filter.h"

/*
 * Found once, from the indexes of the generation's fields (fields.h), which
 * grow by that as far as they have to, and then asked by any number of searches
 * and threads. It knows every version that the look's moment shows, and some
 * that it does not: who answers by it looks whether a version is visible, too.
 *
 * The last few of a generation are kept, with what was made of them: who asks
 * with an equal filter while no record of the collection changed, or of a
 * snapshot, shares one (match_kept.c).
 */
struct match;

/* Of a look, which stays until match_free, as it may be shared. A field that no
 * filter has asked for before costs a look at the metadata of all versions.
 * -ENOMEM. -VG_ECORRUPT: some metadata is none. Any thread. */
int match_new(const struct look *look, const struct filter *filter,
	struct match **out);
void match_free(struct match *m); /* NULL is allowed */

/* Frees those of a generation; NULL is allowed. Who frees that. */
struct match_kept;
void match_kept_free(struct match_kept *kept);

/*
 * The same of a generation as it is, for who changes it: the versions that
 * filter means, ended or not, as fields.h has them; the caller's. The
 * committer, or who replays.
 */
struct roaring_bitmap_s;
int match_generation(struct generation *g, const struct filter *filter,
	struct roaring_bitmap_s **out);

/* Indexes the nth field that filters have asked another generation for, 0 the
 * first, if there is such: 1; else 0. Errors of match_new. Who makes g. */
int match_index_like(
	struct generation *g, struct generation *like, uint32_t nth);

/* The filter that an OP_CLEAR has: its own, to be freed; NULL: all records.
 * -EINVAL: it is none. -ENOMEM. */
struct op;
int match_filter_of(const struct op *op, struct filter **out);

/* Whether version number no is meant. */
bool match_has(const struct match *m, uint32_t no);

/* How many are meant, visible or not; and how many the look shows, which the
 * first call counts. */
uint32_t match_size(const struct match *m);
uint32_t match_count(struct match *m);

/* The fields of a generation that are indexed: fields_names; none: *n is 0 and
 * *out NULL. */
int match_names(struct generation *g, struct vg_id **out, uint32_t *n);

/*
 * Calls each for the values of a field, the most frequent first, with how many
 * of the records have it that look shows (and match, NULL: all, means), until
 * it returns nonzero, which is returned: fields_facet. Errors of match_new.
 */
typedef int match_value_fn(void *ctx, struct meta json, uint32_t n);
int match_each_value(const struct look *look, const struct match *match,
	struct vg_id field, match_value_fn *each, void *ctx);

/* The slots, in the look's newest cell, of those that the look shows: n of
 * them, ascending by version; borrowed. The first call makes the list.
 * -ENOMEM. */
int match_slots(struct match *m, const uint32_t **slots, uint32_t *n);

/*
 * The same slots as an index asks for them; borrowed. False as long as so few
 * searches have asked that making them would cost more than they save.
 */
bool match_among(struct match *m, struct among *out);

#endif
