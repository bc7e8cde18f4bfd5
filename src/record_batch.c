/* SPDX-License-Identifier: Apache-2.0 */
/* record_batch.c: a query's body becomes one vector or many. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/element.h"
#include "src/record_int.h"
#include "src/record_npy.h"

/* The rows so far: dim is theirs, 0 as long as nobody knows it. */
struct rows {
	uint32_t n, dim;
	const void *raw; /* where they are, if not in p->vec: in the body */
};

/* A row of n numbers stands behind the others. */
static int add_row(struct record_parser *p, struct rows *rows, uint64_t n)
{
	int rc = record_check_count(p, n, rows->dim);

	if (rc < 0)
		return rc;
	if (rows->n == RECORD_BATCH_MAX)
		return record_fail(p, "a batch has at most 100,000 vectors");
	assert(p->vec_len == (size_t)rows->n * n);
	rows->dim = (uint32_t)n;
	rows->n++;
	p->vec_len += n;
	return 0;
}

/* There are n rows of `dim`. */
static int set_rows(struct record_parser *p, struct rows *rows, uint64_t n,
	uint32_t dim)
{
	int rc = record_check_count(p, dim, rows->dim);

	assert(p->vec_len == 0);
	if (rc < 0)
		return rc;
	if (n == 0)
		return record_fail(p, "the body has no vectors");
	if (n > RECORD_BATCH_MAX)
		return record_fail(p, "a batch has at most 100,000 vectors");
	rows->n = (uint32_t)n;
	rows->dim = dim;
	return 0;
}

/* The same, and room for them, before they are written. */
static int reserve_rows(struct record_parser *p, struct rows *rows, uint64_t n,
	uint32_t dim)
{
	int rc = set_rows(p, rows, n, dim);

	return rc < 0 ? rc : record_reserve(p, (size_t)(n * dim));
}

/* Names the row when there is more than one. */
static int fail_row(struct record_parser *p, uint64_t row, int rc)
{
	char why[sizeof(p->error)];

	if (rc != -EINVAL)
		return rc;
	memcpy(why, p->error, sizeof(why));
	why[200] = 0;
	return record_fail(p, "vector %llu: %s", (unsigned long long)row, why);
}

static int fail_number(struct record_parser *p, const struct rows *rows,
	size_t bad)
{
	return record_fail(p, "vector %zu: the number at index %zu is %s",
		bad / rows->dim, bad % rows->dim, element_misfit(p->dtype));
}

static int parse_npy(struct record_parser *p, const char *body, size_t len,
	struct rows *rows)
{
	struct record_npy npy;
	const char *why;
	int rc = record_npy_parse(body, len, &npy, &why);

	if (rc < 0)
		return record_fail(p, "%s", rc == -EAGAIN ?
			"the npy header is cut off" : why);
	record_npy_settle(&npy, p->dtype, rows->dim);
	rc = reserve_rows(p, rows, npy.rows, npy.dim);
	if (rc < 0)
		return rc;
	size_t have = len - npy.header_len;
	size_t want = record_npy_row_len(&npy) * rows->n;
	if (have != want)
		return record_fail(p, "the npy header says %zu bytes of "
			"numbers, the body has %zu", want, have);
	size_t n = (size_t)rows->n * rows->dim;
	size_t bad = record_npy_convert(&npy, body + npy.header_len, n,
		p->dtype, p->vec);
	return bad < n ? fail_number(p, rows, bad) : 0;
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && memchr(" \t\r\n", *at, 4))
		at++;
	return at;
}

/* [[...],[...]] from j, whose outer bracket comes next. */
static int parse_nested(struct record_parser *p, struct json *j,
	struct rows *rows)
{
	struct json_token token;
	int rc = 0;

	if (json_next(j, &token) < 0)
		return record_fail_json(p, j);
	assert(token.type == JSON_ARRAY);
	/* Each turn reads a row, so the text's end ends it. */
	while (rc == 0) {
		uint64_t n = 0;
		double value;
		if (json_next(j, &token) < 0)
			return record_fail_json(p, j);
		if (token.type == JSON_ARRAY_END)
			return 0;
		if (token.type != JSON_ARRAY)
			return record_fail(p, "vector %u is no array of "
				"numbers", rows->n);
		while (rc == 0 && (rc = record_next_number(p, j, &value)) > 0)
			rc = record_put(p, n++, value);
		if (rc == -EINVAL && j->why)
			rc = record_fail_json(p, j);
		if (rc == 0)
			rc = add_row(p, rows, n);
		rc = fail_row(p, rows->n, rc);
	}
	return rc;
}

/* Values one after the other: lines of ndjson, or one over several lines. */
static int parse_json(struct record_parser *p, const char *body, size_t len,
	struct rows *rows)
{
	const char *end = body + len, *at = skip_blanks(body, end);
	struct record r;
	struct json j;
	int rc = 0;

	const char *second = at < end ? skip_blanks(at + 1, end) : end;
	if (at < end && *at == '[' && second < end && *second == '[') {
		struct json_token token;
		json_init(&j, body, len);
		rc = parse_nested(p, &j, rows);
		if (rc == 0 && json_next(&j, &token) < 0)
			rc = record_fail_json(p, &j);
		return rc;
	}
	/* A value has one byte at least, so this ends. */
	for (; at < end && rc == 0; at = skip_blanks(j.at, end)) {
		json_init(&j, body, len);
		j.at = at;
		rc = record_parse_value(p, &j, rows->dim, &r);
		if (rc == 0 && !r.vec)
			rc = record_fail(p, "there is no vector in the object");
		if (rc == 0)
			rc = add_row(p, rows, r.dim);
		rc = fail_row(p, rows->n, rc);
	}
	return rc;
}

/* The numbers of a line were counted; whether all lines agree is kept. */
struct lines {
	uint64_t line, width; /* the current line and its numbers */
	uint64_t first_width, odd_line;
	bool is_odd; /* a line differs from the first: odd_line */
};

static void end_line(struct lines *l)
{
	assert(!l->is_odd || l->first_width > 0);
	if (l->width == 0)
		return;
	if (l->first_width == 0)
		l->first_width = l->width;
	if (l->width != l->first_width && !l->is_odd) {
		l->is_odd = true;
		l->odd_line = l->line + 1;
	}
	l->width = 0;
}

static int parse_text(struct record_parser *p, const char *body, size_t len,
	struct rows *rows)
{
	struct record_text t = {body, body, body + len, 0};
	struct lines l = {0};
	size_t n = 0;
	double value;
	int rc;

	while ((rc = record_text_next(p, &t, &value)) > 0) {
		if (t.line != l.line)
			end_line(&l);
		l.line = t.line;
		l.width++;
		rc = record_put(p, n++, value);
		if (rc < 0)
			return rc;
	}
	if (rc < 0)
		return rc;
	end_line(&l);
	uint32_t dim = rows->dim;
	if (n == 0 || n == dim)
		return reserve_rows(p, rows, 1, (uint32_t)n);
	if (l.is_odd)
		return record_fail(p, "line %llu has not as many numbers as "
			"the first (%llu)", (unsigned long long)l.odd_line,
			(unsigned long long)l.first_width);
	rc = record_check_count(p, l.first_width, dim);
	if (rc == 0)
		rc = reserve_rows(p, rows, n / l.first_width,
			(uint32_t)l.first_width);
	return rc;
}

/* Whether each row begins with its dim. In float32, dim would be a number
 * below 1e-40: no raw vectors have that in all these places. */
static bool is_fvecs(const char *body, size_t len, uint32_t dim)
{
	size_t row_len = ((size_t)dim + 1) * 4;

	if (dim == 0 || len == 0 || len % row_len != 0)
		return false;
	for (size_t at = 0; at < len; at += row_len) {
		uint32_t head;
		memcpy(&head, body + at, sizeof(head));
		if (head != dim)
			return false;
	}
	return true;
}

static int parse_fvecs(struct record_parser *p, const char *body, size_t len,
	struct rows *rows)
{
	size_t row_len = ((size_t)rows->dim + 1) * 4;
	int rc = reserve_rows(p, rows, len / row_len, rows->dim);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < rows->n; i++) {
		size_t at = (size_t)i * rows->dim;
		size_t bad = record_npy_convert(&(struct record_npy){
			.kind = 'f', .size = 4}, body + i * row_len + 4,
			rows->dim, p->dtype, record_at(p, at));
		if (bad < rows->dim)
			return fail_number(p, rows, at + bad);
	}
	return 0;
}

/*
 * Text whose length happens to be a multiple is not raw: a question has no
 * bytes to restore, so here even one row's length says nothing. But elements
 * of a byte are printable by chance; they are raw, if they look like nothing
 * else and no line.
 */
static bool is_raw(enum vg_dtype dtype, enum record_form guess,
	const char *body, size_t len, uint32_t dim)
{
	bool is_text = vg_row_len(dtype, 1) > 1 || guess != RECORD_RAW
			       ? record_is_printable(body, len)
			       : record_is_typed(body, len);

	return dim && len % vg_row_len(dtype, dim) == 0 && !is_text;
}

/* Not copied where the elements stand as any in memory do. */
static int parse_raw(struct record_parser *p, const char *body, size_t len,
	struct rows *rows)
{
	bool is_aligned = (uintptr_t)body % sizeof(float) == 0;
	size_t n, bad;
	int rc = set_rows(p, rows, len / vg_row_len(p->dtype, rows->dim),
		rows->dim);

	if (rc < 0)
		return rc;
	n = (size_t)rows->n * rows->dim;
	assert(n >= 1 && len == (size_t)rows->n * vg_row_len(p->dtype,
							 rows->dim));
	rc = is_aligned ? 0 : record_reserve(p, n);
	if (rc < 0)
		return rc;
	if (is_aligned)
		rows->raw = body;
	else
		memcpy(p->vec, body, len);
	bad = element_find_nonfinite(
		p->dtype, is_aligned ? body : (const char *)p->vec, n);
	return bad < n ? fail_number(p, rows, bad) : 0;
}

/* The body as `form`. What is not raw of the right size is left to
 * record_parse, which has the sentences for it. */
static int parse_rows(struct record_parser *p, enum record_form form,
	const char *body, size_t len, struct rows *rows)
{
	struct record r;
	int rc;

	switch (form) {
	case RECORD_NPY:
		return parse_npy(p, body, len, rows);
	case RECORD_JSON:
		return parse_json(p, body, len, rows);
	case RECORD_TEXT:
		return parse_text(p, body, len, rows);
	default:
		break;
	}
	if (is_fvecs(body, len, rows->dim))
		return parse_fvecs(p, body, len, rows);
	if (is_raw(p->dtype, form, body, len, rows->dim))
		return parse_raw(p, body, len, rows);
	rc = record_parse(p, record_is_printable(body, len) ? RECORD_TEXT :
		RECORD_ANY, body, len, rows->dim, &r);
	if (rc == 0)
		*rows = (struct rows){.n = 1, .dim = r.dim};
	return rc;
}

int record_parse_batch(struct record_parser *p, const void *body, size_t len,
	uint32_t dim, struct record_batch *out)
{
	struct rows rows = {.dim = dim};
	enum record_form form;
	int rc;

	assert(dim <= VG_DIM_MAX && (body || len == 0));
	if (len == 0)
		return record_fail(p, "the body is empty");
	p->vec_len = 0;
	p->is_cut = false;
	form = record_guess(body, len);
	rc = parse_rows(p, form, body, len, &rows);
	if (rc == -EINVAL && form != RECORD_RAW && form != RECORD_NPY &&
		(is_raw(p->dtype, form, body, len, dim) ||
			is_fvecs(body, len, dim))) {
		p->vec_len = 0;
		rows = (struct rows){.dim = dim};
		rc = parse_rows(p, RECORD_RAW, body, len, &rows);
	}
	p->vec_len = 0;
	if (rc < 0)
		return rc;
	assert(rows.n >= 1 && rows.dim >= 1);
	*out = (struct record_batch){rows.raw ? rows.raw : p->vec, rows.n,
		rows.dim, p->dtype};
	return 0;
}
