/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c: one body becomes one record; see record.h for the forms.
 *
 * Each form has a function that either yields a whole record or says why not
 * in p->error. Guessing is apart from them: record_guess looks at the bytes,
 * the form's function judges, and where it refuses a body that has the size of
 * a raw one, the body is raw. The probe runs the same functions on a beginning
 * and forgives what more bytes could mend (p->is_cut).
 */
#include "src/record.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/element.h"
#include "src/number.h"
#include "src/record_int.h"
#include "src/record_npy.h"

void record_parser_init(struct record_parser *p)
{
	*p = (struct record_parser){.dtype = VG_F32};
}

void record_parser_fini(struct record_parser *p)
{
	free(p->vec);
	free(p->meta.bytes);
	record_parser_init(p);
}

int record_fail(struct record_parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->error, sizeof(p->error), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

const char *record_grouped(uint64_t n, char out[RECORD_GROUPED_LEN])
{
	char digits[NUMBER_UINT_LEN];
	size_t len = number_format_uint(n, digits), at = 0;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = 0;
	assert(at < RECORD_GROUPED_LEN);
	return out;
}

void *record_at(const struct record_parser *p, size_t n)
{
	assert(p->dtype != VG_B1 || (p->vec_len + n) % 8 == 0);
	return (char *)p->vec + vg_row_len(p->dtype, p->vec_len + n);
}

int record_reserve(struct record_parser *p, size_t n)
{
	const size_t most = (size_t)VG_BODY_MAX * 2; /* a byte has 8 at most */
	size_t cap = VG_MAX(p->vec_cap, (size_t)1024), len;
	void *vec;

	len = n > 8 * most ? SIZE_MAX : vg_row_len(p->dtype, p->vec_len + n);
	if (len > most)
		return record_fail(p, "the body has more than 512 MiB of "
				      "%s numbers", element_word(p->dtype));
	while (cap < len)
		cap *= 2;
	if (cap == p->vec_cap)
		return 0;
	vec = realloc(p->vec, cap);
	if (!vec)
		return -ENOMEM;
	p->vec = vec;
	p->vec_cap = cap;
	return 0;
}

int record_put_checked(struct record_parser *p, size_t n, double value)
{
	size_t at = p->vec_len + n;

	if (vg_row_len(p->dtype, at + 1) > p->vec_cap) {
		int rc = record_reserve(p, n + 1);
		if (rc < 0)
			return rc;
	}
	assert(vg_row_len(p->dtype, at + 1) <= p->vec_cap);
	if (!element_put(p->dtype, p->vec, at, value))
		return record_fail(p, "the number at index %zu is %s", n,
			element_misfit(p->dtype));
	return 0;
}

int record_check_count(struct record_parser *p, uint64_t n, uint32_t dim)
{
	char numbers[RECORD_GROUPED_LEN], dims[RECORD_GROUPED_LEN];

	assert(dim <= VG_DIM_MAX);
	if (n == 0)
		return record_fail(p, "the body has no numbers");
	if (dim && n != dim)
		return record_fail(p,
			"this collection has %s dimension%s, the body has %s "
			"number%s", record_grouped(dim, dims),
			dim == 1 ? "" : "s", record_grouped(n, numbers),
			n == 1 ? "" : "s");
	if (n > VG_DIM_MAX)
		return record_fail(p,
			"a vector has at most 65,535 numbers, the body has %s",
			record_grouped(n, numbers));
	if (p->dtype == VG_B1 && n % 8 != 0)
		return record_fail(p,
			"bits fill whole bytes: a b1 vector has a multiple of "
			"8 of them, the body has %s",
			record_grouped(n, numbers));
	return 0;
}

void record_set_vec(struct record_parser *p, uint64_t n, enum op_source source,
	struct record *out)
{
	assert(n >= 1 && n <= VG_DIM_MAX);
	assert(vg_row_len(p->dtype, p->vec_len + n) <= p->vec_cap);
	out->vec = record_at(p, 0);
	out->dim = (uint32_t)n;
	out->source = source;
}

bool record_is_printable(const char *body, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)body[i];
		if (c != '\n' && c != '\t' && c != '\r' &&
			(c < 0x20 || c > 0x7e))
			return false;
	}
	return len >= 6;
}

bool record_is_typed(const char *body, size_t len)
{
	return len > 0 && body[len - 1] == '\n' &&
		record_is_printable(body, len);
}

static const char text_bytes[256] = {
	['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1,
	['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['+'] = 1, ['-'] = 1,
	['.'] = 1, ['e'] = 1, ['E'] = 1, [','] = 1, [';'] = 1, ['\t'] = 1,
	[' '] = 1, ['\n'] = 1, ['\r'] = 1};

/* The first byte that text of numbers cannot have, or len. */
static size_t find_nontext(const char *body, size_t len)
{
	size_t i = 0;

	while (i < len && text_bytes[(unsigned char)body[i]])
		i++;
	return i;
}

enum record_form record_guess(const char *body, size_t len)
{
	size_t i = 0;

	if (memcmp(body, RECORD_NPY_MAGIC,
		    VG_MIN(len, (size_t)RECORD_NPY_MAGIC_LEN)) == 0)
		return RECORD_NPY;
	while (i < len && (body[i] == ' ' || body[i] == '\n' ||
				  body[i] == '\r' || body[i] == '\t'))
		i++;
	if (i < len && (body[i] == '{' || body[i] == '['))
		return RECORD_JSON;
	return find_nontext(body, len) == len ? RECORD_TEXT : RECORD_RAW;
}

/* What dim numbers of another size a body of len bytes may be; NULL: none. */
static const char *other_numbers(const struct record_parser *p, size_t len,
	uint32_t dim)
{
	if (len == (size_t)dim * 8)
		return "float64";
	if (len == (size_t)dim * 4 && p->dtype != VG_F32)
		return "float32";
	if (len == (size_t)dim * 2 && p->dtype != VG_F16)
		return "float16";
	return NULL;
}

/* Why a body that is nothing else has no raw vector's size. */
static int fail_raw(struct record_parser *p, const char *body, size_t len,
	uint32_t dim)
{
	char bytes[RECORD_GROUPED_LEN], want[RECORD_GROUPED_LEN];
	const char *word = element_word(p->dtype);
	const char *other = other_numbers(p, len, dim);
	size_t at = find_nontext(body, len);

	record_grouped(len, bytes);
	record_grouped(vg_row_len(p->dtype, dim), want);
	if (record_is_typed(body, len) && at < len)
		return record_fail(p,
			"'%c' at byte %zu is no part of a number", body[at],
			at + 1);
	if (dim && other && p->dtype == VG_B1)
		return record_fail(p, "the body has %s bytes = %u %s numbers; "
			"write bits, e.g. numpy.packbits(a)", bytes, dim,
			other);
	if (dim && other)
		return record_fail(p, "the body has %s bytes = %u %s "
			"numbers; write %s, e.g. numpy .astype(%s)",
			bytes, dim, other, word, element_numpy(p->dtype));
	if (dim)
		return record_fail(p, "a raw vector here has %s bytes (%u %s "
			"numbers), the body has %s", want, dim, word, bytes);
	if (record_is_typed(body, len) || vg_row_len(p->dtype, 1) == 1)
		return record_fail(p, "the body is no text of numbers, no JSON "
			"and no npy");
	return record_fail(p, "the body is no text of numbers, no JSON and no "
		"npy, and its size of %s bytes is no multiple of %zu (raw "
		"%s)", bytes, vg_row_len(p->dtype, 1), word);
}

static int parse_raw(struct record_parser *p, const char *body, size_t len,
	uint32_t dim, struct record *out)
{
	size_t width = vg_row_len(p->dtype, 1);
	size_t n = p->dtype == VG_B1 ? len * 8 : len / width;
	int rc;

	if (len == 0)
		return record_fail(p, "the body is empty");
	if (len % width != 0 || (dim && n != dim))
		return fail_raw(p, body, len, dim);
	rc = record_check_count(p, n, dim);
	if (rc == 0)
		rc = record_reserve(p, n);
	if (rc < 0)
		return rc;
	memcpy(record_at(p, 0), body, len);
	size_t bad = element_find_nonfinite(p->dtype, record_at(p, 0), n);
	if (bad < n)
		return record_fail(p, "raw %s: the number at index %zu "
			"is NaN or infinite", element_word(p->dtype), bad);
	record_set_vec(p, n, OP_SOURCE_RAW, out);
	return 0;
}

static int parse_npy(struct record_parser *p, const char *body, size_t len,
	uint32_t dim, struct record *out)
{
	struct record_npy npy;
	const char *why;
	int rc = record_npy_parse(body, len, &npy, &why);

	if (rc == -EAGAIN) {
		p->is_cut = true;
		return record_fail(p, "the npy header is cut off");
	}
	if (rc < 0)
		return record_fail(p, "%s", why);
	if (npy.rows != 1)
		return record_fail(p, "the npy array has %llu rows; one vector "
			"is one row, .import/npy takes many",
			(unsigned long long)npy.rows);
	record_npy_settle(&npy, p->dtype, dim);
	rc = record_check_count(p, npy.dim, dim);
	if (rc < 0)
		return rc;
	size_t have = len - npy.header_len, want = record_npy_row_len(&npy);
	if (have != want) {
		p->is_cut = have < want;
		return record_fail(p, "the npy header says %zu bytes of "
			"numbers, the body has %zu", want, have);
	}
	rc = record_reserve(p, npy.dim);
	if (rc < 0)
		return rc;
	size_t bad = record_npy_convert(&npy, body + npy.header_len, npy.dim,
		p->dtype, record_at(p, 0));
	if (bad < npy.dim)
		return record_fail(p, "npy: the number at index %zu is %s",
			bad, element_misfit(p->dtype));
	record_set_vec(p, npy.dim, OP_SOURCE_NPY, out);
	return 0;
}

int record_scan_number(const struct record_parser *p, const char **at,
	const char *end, double *out)
{
	float f;
	int rc;

	if (record_is_wide(p))
		return number_scan_wide(at, end, false, out);
	rc = number_scan(at, end, &f);
	if (rc == 0)
		*out = (double)f;
	return rc;
}

int record_text_next(struct record_parser *p, struct record_text *t,
	double *out)
{
	const char *at = t->at;
	uint64_t line = t->line;
	int separators = at == t->begin; /* none may come first */
	int rc;

	assert(t->begin <= at && at <= t->end);
	for (; at < t->end; at++) {
		if (*at == ',' || *at == ';') {
			if (separators++ > 0)
				return record_fail(p, "text: a number is "
					"missing before byte %zu",
					(size_t)(at - t->begin) + 1);
		} else if (*at == '\n') {
			line++;
		} else if (*at != ' ' && *at != '\t' && *at != '\r') {
			break;
		}
	}
	if (at == t->end) {
		t->at = at;
		return 0;
	}
	rc = -EINVAL;
	if (at > t->at || at == t->begin)
		rc = record_scan_number(p, &at, t->end, out);
	size_t place = (size_t)(at - t->begin) + 1;
	if (rc == -ERANGE)
		return record_fail(p, "text: the number before byte %zu is "
			"beyond %s's range", place,
			record_is_wide(p) ? "float64" : "float32");
	if (rc < 0 && at == t->end)
		return record_fail(p, "text: the number at the end is cut off");
	if (rc < 0 && *at > ' ' && *at < 0x7f)
		return record_fail(p,
			"text: '%c' at byte %zu is no part of a number", *at,
			place);
	if (rc < 0)
		return record_fail(p, "text: byte %zu is no part of a number",
			place);
	t->at = at;
	t->line = line;
	return 1;
}

static int parse_text(struct record_parser *p, const char *body, size_t len,
	uint32_t dim, struct record *out)
{
	struct record_text t = {body, body, body + len, 0};
	uint64_t n = 0;
	double value;
	int rc;

	while ((rc = record_text_next(p, &t, &value)) > 0) {
		/* What is too long is only counted. */
		if (n < VG_DIM_MAX)
			rc = record_put(p, n, value);
		if (rc < 0)
			return rc;
		n++;
	}
	if (rc < 0)
		return rc;
	if (p->is_probe && (n == 0 || n < dim))
		return 0;
	rc = record_check_count(p, n, dim);
	if (rc == 0)
		record_set_vec(p, n, OP_SOURCE_TEXT, out);
	return rc;
}

static int parse_json(struct record_parser *p, const char *body, size_t len,
	uint32_t dim, struct record *out)
{
	struct json_token token;
	struct json j;
	int rc;

	json_init(&j, body, len);
	rc = record_parse_value(p, &j, dim, out);
	if (rc == 0 && json_next(&j, &token) < 0)
		rc = record_fail_json(p, &j);
	return rc;
}

int record_parse_row(struct record_parser *p, const char *line, size_t len,
	uint32_t dim, struct record *out)
{
	return record_parse(p, RECORD_JSON, line, len, dim, out);
}

static int parse_form(struct record_parser *p, enum record_form form,
	const char *body, size_t len, uint32_t dim, struct record *out)
{
	assert(form != RECORD_ANY && dim <= VG_DIM_MAX);
	p->vec_len = 0;
	p->is_cut = false;
	switch (form) {
	case RECORD_NPY:
		return parse_npy(p, body, len, dim, out);
	case RECORD_JSON:
		return parse_json(p, body, len, dim, out);
	case RECORD_TEXT:
		return parse_text(p, body, len, dim, out);
	default:
		return parse_raw(p, body, len, dim, out);
	}
}

int record_parse(struct record_parser *p, enum record_form form,
	const void *body, size_t len, uint32_t dim, struct record *out)
{
	struct record r = {0};
	enum record_form guess = form;
	int rc;

	assert(dim <= VG_DIM_MAX && (body || len == 0));
	if (form == RECORD_ANY)
		guess = len > 0 ? record_guess(body, len) : RECORD_RAW;
	if (form == RECORD_ANY && guess == RECORD_RAW && dim == 0 &&
		record_is_typed(body, len))
		rc = fail_raw(p, body, len, dim);
	else
		rc = parse_form(p, guess, body, len, dim, &r);
	if (rc == -EINVAL && form == RECORD_ANY && guess != RECORD_RAW && dim &&
		len == vg_row_len(p->dtype, dim)) {
		r = (struct record){0};
		rc = parse_form(p, RECORD_RAW, body, len, dim, &r);
	}
	assert(rc == 0 || rc == -ENOMEM || p->error[0]);
	if (rc == 0)
		*out = r;
	return rc;
}

/* Text without the number that its end may have cut. */
static size_t whole_text_len(const char *body, size_t len)
{
	while (len > 0 && !memchr(" \t\r\n,;", body[len - 1], 6))
		len--;
	return len;
}

int record_probe(struct record_parser *p, enum record_form form,
	const void *body, size_t len, uint32_t dim)
{
	size_t raw_len = vg_row_len(p->dtype, dim);
	struct record r = {0};
	int rc;

	assert(dim <= VG_DIM_MAX && (body || len == 0));
	if (len == 0 || len > RECORD_PROBE_MAX)
		return 0;
	if (form == RECORD_RAW)
		return dim && len > raw_len ? fail_raw(p, body, len, dim) : 0;
	if (form == RECORD_ANY) {
		bool is_raw_size = !dim || len <= raw_len;
		if (len == raw_len ||
			(is_raw_size && !record_is_typed(body, len)))
			return 0;
		form = record_guess(body, len);
		if (form == RECORD_RAW)
			return fail_raw(p, body, len, dim);
	}
	if (form == RECORD_TEXT)
		len = whole_text_len(body, len);
	p->is_probe = true;
	rc = parse_form(p, form, body, len, dim, &r);
	p->is_probe = false;
	return rc == -EINVAL && p->is_cut ? 0 : rc;
}
