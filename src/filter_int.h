/* SPDX-License-Identifier: Apache-2.0 */
/* filter_int.h: what filter_*.c and fields_*.c share: terms, and how fields
 * are found in metadata. */
#ifndef VG_FILTER_INT_H
#define VG_FILTER_INT_H

#include <assert.h>

#include "src/decimal.h"
#include "src/filter.h"
#include "src/json.h"

enum filter_op {
	FILTER_EQ,
	FILTER_NE,
	FILTER_GT,
	FILTER_GTE,
	FILTER_LT,
	FILTER_LTE,
	FILTER_IN,
	FILTER_NIN,
	FILTER_EXISTS,
	FILTER_PREFIX,
	FILTER_CONTAINS,
};
#define FILTER_N_OPS (FILTER_CONTAINS + 1)

/* Types of values in their order; the numbers are in keys of src/fields.h, and
 * so on disk. */
enum filter_type {
	FILTER_NULL = 0, /* VALUE of contains only: equals nothing */
	FILTER_FALSE = 1,
	FILTER_TRUE = 2,
	FILTER_NUMBER = 3,
	FILTER_STRING = 4,
};

struct filter_value {
	enum filter_type type;
	uint32_t len;
	const char *text;   /* of numbers as spelled, of strings unescaped */
	struct decimal num; /* numbers */
};

/* values is of filter->values; all texts are in filter->bytes. */
struct filter_term {
	enum filter_op op;
	bool wants; /* exists: 1 or 0 */
	uint32_t field_len, text_len;
	const char *field;
	const char *text; /* prefix, contains: VALUE as text */
	uint32_t values;  /* the first; sorted, each once */
	uint32_t n_values;
	uint32_t skips;	  /* contains: text_len numbers of filter->skips */
};

/*
 * The expression in postfix order: a step is a term's number or an operator. A
 * machine that runs it holds at most FILTER_STACK_MAX truths: within each
 * parenthesis one of `or`, one of `and` and one more, and one of each join.
 */
enum filter_step { FILTER_NOT = 0xfffd, FILTER_AND = 0xfffe, FILTER_OR = 0xffff };
#define FILTER_STACK_MAX 256
static_assert(3 * (FILTER_DEPTH_MAX + 1) < FILTER_STACK_MAX,
	"an expression fits, and can be joined");
static_assert(FILTER_TERMS_MAX < FILTER_NOT, "a term's number is no operator");

struct filter {
	struct filter_term *terms;   /* owned, as all below */
	struct filter_value *values;
	uint16_t *steps;
	uint32_t *skips; /* of Knuth, Morris and Pratt, for contains */
	char *bytes;
	uint32_t n_terms, n_values, n_steps, n_skips;
	size_t n_bytes;
	uint32_t cap_terms, cap_values, cap_steps, cap_skips;
	uint32_t held;	/* truths that its machine holds behind the last step */
	uint32_t depth; /* and at most */
};

/* Room for n more of an array; at is what it is now. NULL: -ENOMEM. */
void *filter_grow(void *at, uint32_t *cap, uint32_t n, size_t size);

int filter_add_step(struct filter *f, uint16_t step); /* -ENOMEM */

/* The operators as they are written. */
extern const char filter_words[FILTER_N_OPS][9];

/* A term while it is read. */
struct filter_reader {
	struct filter *f;
	struct filter_term *t;
	const char *text; /* of the term */
	size_t offset;	  /* of it, for positions */
	struct filter_why *why;
};

/* Of a byte in the text, for people. */
size_t filter_position(const struct filter_reader *r, const char *at);

/* Appends text[len] to the filter's bytes, %XX as what it stands for; it may
 * stand there already. */
const char *filter_put_decoded(struct filter *f, const char *text, size_t len,
	uint32_t *out_len);

/* What is behind the = of a term whose op is known; -EINVAL, -ENOMEM. */
int filter_parse_value(struct filter_reader *r, const char *raw,
	const char *end);

/* filter_parse.c: text[len] at `offset` of what why counts, as one term more;
 * bytes has room for it. */
int filter_add_term(struct filter *f, const char *text, size_t len,
	size_t offset, struct filter_why *why);

/* Puts a position and the sentence behind it, and is -EINVAL. */
int filter_refuse(struct filter_why *why, size_t position, const char *fmt, ...)
	VG_PRINTF(3, 4);

/* text[len] for a sentence: cut, and ASCII. Returns out. */
#define FILTER_SHOW_LEN 40
const char *filter_show(const char *text, size_t len,
	char out[FILTER_SHOW_LEN + 4]);

/* Behind the closing quote of the JSON string whose first quote is at `at`;
 * NULL: none closes it. */
const char *filter_quoted(const char *at, const char *end);

/* Order of values: by type, then by number or bytes. */
int filter_compare(const struct filter_value *a, const struct filter_value *b);

/* What a field is in a record, one call for each place of it and each element
 * of arrays there. */
struct filter_hit {
	bool is_element;
	struct json_token token; /* STRING NUMBER TRUE FALSE; of what is no
				    element also NULL ARRAY OBJECT */
};

/* Where a walk over one record's metadata stands. One thread. */
struct filter_walk {
	struct json j;
	const char *field;
	uint32_t field_len;
	uint32_t from[JSON_DEPTH_MAX + 1]; /* of field, by depth of objects */
	bool is_in_array, is_over;
	bool is_plain; /* no dots: one place, as no key is there twice */
};

void filter_walk_init(struct filter_walk *w, struct meta m, const char *field,
	uint32_t field_len);

/* The next hit: 1, or 0: there is no more, or -VG_ECORRUPT. */
int filter_walk_next(struct filter_walk *w, struct filter_hit *hit);

/* What a term says of a record; positive: of `ne` its eq, of `nin` its in.
 * 1, 0 or -VG_ECORRUPT. Allocates nothing. */
int filter_term_matches(const struct filter *f, const struct filter_term *t,
	struct meta m, bool positive);

#endif
