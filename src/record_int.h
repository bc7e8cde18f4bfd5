/* SPDX-License-Identifier: Apache-2.0 */
/* record_int.h: what the record_*.c files share; nobody else includes it. */
#ifndef VG_RECORD_INT_H
#define VG_RECORD_INT_H

#include "src/json.h"
#include "src/record.h"

/* Writes p->error and returns -EINVAL; the body is wrong for good. */
int record_fail(struct record_parser *p, const char *fmt, ...)
	VG_PRINTF(2, 3);

/* Likewise after an error of j: what, where, and whether it is only cut. */
int record_fail_json(struct record_parser *p, const struct json *j);

/* Puts a number at index n behind the rows of p->vec, those before it first.
 * -ENOMEM; -EINVAL when it does not fit the dtype, or a batch outgrows 2 *
 * VG_BODY_MAX bytes. */
int record_put_checked(struct record_parser *p, size_t n, double value);
static inline int record_put(struct record_parser *p, size_t n, double value)
{
	size_t at = p->vec_len + n;

	if (p->dtype != VG_F32 || (at + 1) * sizeof(float) > p->vec_cap)
		return record_put_checked(p, n, value);
	((float *)p->vec)[at] = (float)value; /* scanned as one */
	return 0;
}

/* Room for n numbers behind the rows of p->vec. Errors as record_put. */
int record_reserve(struct record_parser *p, size_t n);

/* Where element n behind those rows stands; n a multiple of 8. */
void *record_at(const struct record_parser *p, size_t n);

/* What bits and other numbers are read as from text. */
static inline bool record_is_wide(const struct record_parser *p)
{
	return p->dtype != VG_F32;
}

/* number_scan of a number for p's dtype. */
int record_scan_number(const struct record_parser *p, const char **at,
	const char *end, double *out);

/* The next number of j's array, as json_next_float. */
static inline int record_next_number(const struct record_parser *p,
	struct json *j, double *out)
{
	float f;
	int rc;

	if (record_is_wide(p))
		return json_next_double(j, out);
	rc = json_next_float(j, &f);
	if (rc > 0)
		*out = (double)f;
	return rc;
}

/* Judges how many numbers a vector has. */
int record_check_count(struct record_parser *p, uint64_t n, uint32_t dim);

/* Says in *out that a vector of n numbers stands behind the rows of p->vec. */
void record_set_vec(struct record_parser *p, uint64_t n, enum op_source source,
	struct record *out);

/* 6144 as "6,144". Returns out. */
#define RECORD_GROUPED_LEN 28
const char *record_grouped(uint64_t n, char out[RECORD_GROUPED_LEN]);

/* A walk over numbers in text, any separator between them. */
struct record_text {
	const char *begin, *at, *end;
	uint64_t line; /* of the number that was read last, from 0 */
};

/* 1 and the next number, 0 at the end, -EINVAL with p->error. */
int record_text_next(struct record_parser *p, struct record_text *t,
	double *out);

/* One value from j, an array or an object, as a record; what follows it is
 * the caller's. Errors as record_parse. */
int record_parse_value(struct record_parser *p, struct json *j, uint32_t dim,
	struct record *out);

/* What a body looks like; never RECORD_ANY. */
enum record_form record_guess(const char *body, size_t len);

/* Whether all is printable ASCII or blank: not by chance, so at least six
 * bytes. Typed: and a newline is last, as a shell leaves it. */
bool record_is_printable(const char *body, size_t len);
bool record_is_typed(const char *body, size_t len);

#endif
