/* SPDX-License-Identifier: Apache-2.0 */
/* sortkey.h: a field's value as bytes: to sort by it, and to tell equal ones. */
#ifndef VG_SORTKEY_H
#define VG_SORTKEY_H

#include "src/meta.h"

/*
 * A FIELD is what a filter has (filter.h): keys joined by dots. Its value is
 * what stands at the first place of it that is not null; an array is a value as
 * a whole. KEYS are equal exactly if values are, and memcmp, where the shorter
 * of two comes first if it begins the other, has them in this order:
 *
 *	tag  u8     1 number, 2 string, 3 false, 4 true, 5 array or object,
 *		    6 none: the field is missing or null
 *	payload     number: src/decimal.h. string: its bytes. Array or object:
 *		    its text as it is stored
 *
 * So types never mix, numbers are exact, and what has no value is last.
 */

/* Appends the key to out. -VG_ECORRUPT: m is no metadata; -ENOMEM. */
int sortkey_put(struct meta_buf *out, struct meta m, struct vg_id field);

/* Many of them, in the order in which they were added: zeros at first. */
struct sortkeys {
	struct meta_buf bytes;
	size_t *end; /* owned: of each key, in bytes */
	uint32_t n, cap;
	bool is_desc; /* the other way round, but for those of no value */
};
void sortkeys_fini(struct sortkeys *keys);
int sortkeys_add(struct sortkeys *keys, struct meta m, struct vg_id field);

/* Below 0, 0 or above: as key a comes before b, equals it, comes behind. */
int sortkeys_compare(const struct sortkeys *keys, uint32_t a, uint32_t b);

/*
 * Values that were seen, each with a number, 0, 1, ... in the order of first
 * sight; zeros and the field, borrowed, at first. distinct_put: 1: the value is
 * new; 0: it is not; *no is its number. Errors as sortkey_put. One thread.
 */
struct distinct {
	struct vg_id field;
	struct sortkeys keys;
	uint32_t *table; /* owned: open addressing, number + 1 */
	uint32_t n_table;
};
void distinct_fini(struct distinct *d);
int distinct_put(struct distinct *d, struct meta m, uint32_t *no);

#endif
