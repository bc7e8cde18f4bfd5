/* SPDX-License-Identifier: Apache-2.0 */
/* filter.h: which records are meant: conditions on their metadata. */
#ifndef VG_FILTER_H
#define VG_FILTER_H

#include "src/meta.h"
#include "src/vg.h"

/*
 *	TERM  := [meta.]FIELD.OP=VALUE       OP is behind the last dot before =
 *	OP    := eq ne gt gte lt lte in nin exists prefix contains
 *	EXPR  := TERM | not EXPR | EXPR and EXPR | EXPR or EXPR | ( EXPR )
 *
 * not binds tighter than and, and tighter than or; the words are lower case.
 *
 * TEXT. %XX, two hexadecimal digits, is that byte in FIELD and VALUE, any other
 * % is itself; what is written so never ends or separates anything, but %22x%22
 * is the JSON string "x". A string in quotes is unquoted first, then decoded.
 * In an EXPR a VALUE ends at white space or at a ) without its ( within it; a
 * JSON string in double quotes may hold anything, and so may a JSON array of
 * in and nin. One `meta.` in front of FIELD is taken away, whatever follows.
 *
 * VALUE is typed as meta_from_text has it: what is a JSON number, string, true
 * or false is that, anything else is a string as it stands. prefix takes its
 * VALUE as text always, contains as text for strings and typed for arrays (the
 * text of "20" in quotes is 20). in and nin take VALUES separated by commas
 * (those within a JSON string do not separate), or a JSON array. exists takes
 * 1, true, 0 and false. Refused are null, objects and arrays, which no value
 * equals, and gt gte lt lte of true and false, which have no order.
 *
 * FIELD is the keys joined by dots: a.b is the member b of the object a, and
 * the key "a.b", and if both are there either may match. Arrays are not on the
 * way of a field: what is in objects within arrays has no name.
 *
 * TRUTH. Types never mix. Numbers are compared as exact decimals (src/decimal.h)
 * and strings by their bytes. On an array every OP but exists means any of its
 * elements that are strings, numbers, true or false. contains is a substring
 * on a string, an element equal to VALUE on an array.
 *
 *	eq in gt gte lt lte prefix contains    some value of the field does
 *	ne nin      the field is there and not null, and eq (in) is false
 *	exists=1    the field is there and not null; an empty array is
 *	exists=0    it is not
 *
 * So what is missing or null matches exists=0 only. But not is the plain
 * negation: `not x.eq=1` matches records without x, `x.ne=1` does not.
 */
struct filter;

#define FILTER_LEN_MAX (1u << 20)  /* bytes of a text */
#define FILTER_FIELD_MAX 4096	   /* bytes of a field */
#define FILTER_TERMS_MAX 1000	   /* terms of an expression, and of a join */
#define FILTER_DEPTH_MAX 64	   /* parentheses and nots within each other */

/* Why a text was refused: one sentence, "position 9: 'liek' is no operator; eq
 * ne ... are". position, the first byte is 1, is in it and apart. */
struct filter_why {
	size_t position;
	char sentence[256];
};

/*
 * One component of a path, or the expression of where=. The filter owns all it
 * has: filter_free. -EINVAL: why says, else it is left alone. -ENOMEM.
 */
int filter_parse_term(const char *text, size_t len, struct filter_why *why,
	struct filter **out);
int filter_parse_where(const char *text, size_t len, struct filter_why *why,
	struct filter **out);

/* A new filter that is all of parts[n], n > 0, at once; they are borrowed for
 * the call. -E2BIG: over FILTER_TERMS_MAX. -ENOMEM. */
int filter_join(const struct filter *const *parts, uint32_t n,
	struct filter **out);

void filter_free(struct filter *f); /* NULL is allowed */

/* What a FIELD's text stands for, its %XX decoded, into out[len]; its length. */
size_t filter_decode(const char *text, size_t len, char *out);

/*
 * Whether a record with this metadata (stored form) is meant: 1, or 0, or
 * -VG_ECORRUPT: as far as it was read it is none. Allocates nothing. A filter
 * is never changed, so any number of threads may ask.
 */
int filter_matches(const struct filter *f, struct meta m);

/*
 * The filter as an expression that parses again as an equal one. Filters that
 * differ only in order, repetition, parentheses, encoding or the spelling of
 * numbers have the same text. -ENOMEM.
 */
int filter_format(const struct filter *f, struct meta_buf *out);

/* Calls each for each field once, in order of first use, until it returns
 * nonzero, which is returned. field is borrowed from f, and may be longer than
 * an id. */
typedef int filter_field_fn(void *ctx, struct vg_id field);
int filter_each_field(const struct filter *f, filter_field_fn *each,
	void *ctx);

#endif
