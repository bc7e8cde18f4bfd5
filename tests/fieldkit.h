/* SPDX-License-Identifier: Apache-2.0 */
/* fieldkit.h: random records and filters, and what both evaluations say. */
#ifndef TESTS_FIELDKIT_H
#define TESTS_FIELDKIT_H

#include "src/fields.h"

/* Repeatable from a seed; one thread. */
uint32_t fk_below(uint64_t *rng, uint32_t n);

/* Records: their stored forms, which fk_fini frees; rows gives them. */
struct fk_records {
	struct meta *at;
	uint32_t n, cap;
	struct fields_rows rows; /* of all n */
};
void fk_add_random(struct fk_records *r, uint64_t *rng, uint32_t n);
void fk_add(struct fk_records *r, const char *json); /* any object */
void fk_fini(struct fk_records *r);

/* An expression of up to `terms` terms over what random records have, nested,
 * as text of at most len bytes. */
void fk_random_where(uint64_t *rng, uint32_t terms, char *text, size_t len);

/* The filter of a text, which must be one. */
struct filter *fk_where(const char *text);

/* Whether index and filter_matches agree for all versions of rows; else a
 * diagnostic says where not. n, if not NULL, is how many match. */
bool fk_agree(struct fields *f, const struct filter *filter,
	const struct fields_rows *rows, uint32_t *n);

#endif
