/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rowstream.c: see rowstream.h.
 *
 * Each kind has a step: given bytes, it uses up what it can and returns how
 * many that were; 0 means that it needs more than there is, and says how many
 * bytes in all (s->want) where it knows. Feeding is then one loop for all
 * kinds: bytes that a step could not use are held, and the held ones are
 * completed with as many new bytes as the step wants, so that a large input
 * is parsed where it lies but for its first and last row.
 */
#include "src/rowstream.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/element.h"
#include "src/record_int.h"

void rowstream_init(struct rowstream *s, enum rowstream_kind kind,
	enum vg_dtype dtype, uint32_t dim,
	const struct rowstream_calls *calls)
{
	assert(dim <= VG_DIM_MAX && calls->row && calls->bad);
	*s = (struct rowstream){.kind = kind, .dim = dim, .calls = *calls,
		.line = 1};
	record_parser_init(&s->parser);
	s->parser.dtype = dtype;
}

void rowstream_fini(struct rowstream *s)
{
	free(s->held);
	s->held = NULL;
	s->held_len = s->held_cap = 0;
	record_parser_fini(&s->parser);
	record_csv_fini(&s->csv);
}

static int VG_PRINTF(2, 3) fail(struct rowstream *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->error, sizeof(s->error), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Keeps bytes for the next feed. */
static int hold(struct rowstream *s, const char *bytes, size_t len)
{
	size_t cap = VG_MAX(s->held_cap, (size_t)4096);
	char *held;

	assert(s->held_len <= s->held_cap);
	while (cap < s->held_len + len)
		cap *= 2;
	if (cap != s->held_cap) {
		held = realloc(s->held, cap);
		if (!held)
			return -ENOMEM;
		s->held = held;
		s->held_cap = cap;
	}
	memcpy(s->held + s->held_len, bytes, len);
	s->held_len += len;
	return 0;
}

static void tell_bad(struct rowstream *s, uint64_t place, const char *why)
{
	s->calls.bad(s->calls.ctx, place, why);
}

/* A row of numbers without id or metadata. */
static int give_vec(struct rowstream *s, const void *vec,
	enum op_source source)
{
	struct record r = {.vec = vec, .dim = s->dim, .source = source};

	return s->calls.row(s->calls.ctx, &r, s->number++);
}

/* A row of numbers at `bytes`, as npy describes them. */
static int give_row(struct rowstream *s, const char *bytes,
	const struct record_npy *npy, enum op_source source)
{
	struct record_parser *p = &s->parser;
	const void *vec = bytes;
	size_t bad;
	int rc;

	assert(s->dim >= 1 && s->dim <= VG_DIM_MAX);
	if (p->dtype == VG_F32 && record_npy_is_f32(npy) &&
		(uintptr_t)bytes % _Alignof(float) == 0) {
		bad = element_find_nonfinite(VG_F32, vec, s->dim);
	} else {
		rc = record_reserve(p, s->dim);
		if (rc < 0)
			return rc;
		vec = p->vec;
		bad = record_npy_convert(npy, bytes, s->dim, p->dtype, p->vec);
	}
	if (bad == s->dim)
		return give_vec(s, vec, source);
	char why[96];
	snprintf(why, sizeof(why), "the number at index %zu is %s", bad,
		element_misfit(p->dtype));
	tell_bad(s, s->number++, why);
	return 0;
}

/* The steps: how many bytes are used up goes to *used; 0: more are needed,
 * *want of them in all, or SIZE_MAX if nobody knows. */
struct step {
	size_t used, want;
};

/* Whether vectors may have that dim. */
static int check_dim(struct rowstream *s, uint32_t dim)
{
	int rc = record_check_count(&s->parser, dim, 0);

	return rc < 0 ? fail(s, "%s", s->parser.error) : 0;
}

static int step_npy_header(struct rowstream *s, const char *bytes, size_t len,
	struct step *out)
{
	struct record_npy npy;
	const char *why;
	char at[RECORD_GROUPED_LEN];
	int rc = record_npy_parse(bytes, len, &npy, &why);

	if (rc == -EAGAIN) {
		*out = (struct step){0, len + 1};
		return 0;
	}
	if (rc < 0 && s->passed > 0)
		return fail(s, "what follows the array's last row, at byte %s, "
			"is no other array: %s",
			record_grouped(s->passed + 1, at), why);
	if (rc < 0)
		return fail(s, "%s", why);
	record_npy_settle(&npy, s->parser.dtype, s->dim);
	if (s->dim && npy.dim != s->dim)
		return fail(s, "this collection has %u dimensions, the npy "
			"array's rows have %u", s->dim, npy.dim);
	rc = check_dim(s, npy.dim);
	if (rc < 0)
		return rc;
	s->dim = npy.dim;
	s->npy = npy;
	s->rows_left = npy.rows;
	*out = (struct step){npy.header_len, 0};
	return 0;
}

static int step_npy(struct rowstream *s, const char *bytes, size_t len,
	struct step *out)
{
	if (s->rows_left == 0)
		return step_npy_header(s, bytes, len, out);
	size_t row_len = record_npy_row_len(&s->npy);
	*out = (struct step){0, row_len};
	if (len < row_len)
		return 0;
	s->rows_left--;
	out->used = row_len;
	return give_row(s, bytes, &s->npy, OP_SOURCE_NPY);
}

static int step_vecs(struct rowstream *s, const char *bytes, size_t len,
	struct step *out)
{
	static const struct record_npy floats = {.kind = 'f', .size = 4};
	static const struct record_npy small = {.kind = 'u', .size = 1};
	bool is_bytes = s->kind == ROWSTREAM_BVECS;
	char at[RECORD_GROUPED_LEN];
	uint32_t dim;

	*out = (struct step){0, sizeof(dim)};
	if (len < sizeof(dim))
		return 0;
	memcpy(&dim, bytes, sizeof(dim));
	if (dim < 1 || dim > VG_DIM_MAX)
		return fail(s, "row %llu, at byte %s, says that it has %d "
			"dimensions: the stream is no %s, or damaged",
			(unsigned long long)s->number,
			record_grouped(s->passed + 1, at), (int)dim,
			is_bytes ? "bvecs" : "fvecs");
	if (s->dim && dim != s->dim)
		return fail(s, "row %llu, at byte %s, has %u dimensions, not "
			"%u like the collection or the rows before it",
			(unsigned long long)s->number,
			record_grouped(s->passed + 1, at), dim, s->dim);
	size_t row_len = sizeof(dim) + dim * (is_bytes ? 1 : sizeof(float));
	out->want = row_len;
	if (len < row_len)
		return 0;
	int rc = check_dim(s, dim);
	if (rc < 0)
		return rc;
	s->dim = dim;
	out->used = row_len;
	return give_row(s, bytes + sizeof(dim), is_bytes ? &small : &floats,
		OP_SOURCE_FVECS);
}

static bool is_blank_line(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!memchr(" \t\r\n", line[i], 4))
			return false;
	}
	return true;
}

/* A CSV's header, without which there are no rows. */
static int take_head(struct rowstream *s, const char *line, size_t len)
{
	int rc = record_csv_put_head(&s->csv, &s->parser, line, len, s->dim);

	return rc == -EINVAL ? fail(s, "%s", s->parser.error) : rc;
}

/* One line, or a row of several, without its newline. *is_row: it was one, or
 * empty. */
static int give_line(struct rowstream *s, const char *line, size_t len,
	bool *is_row)
{
	bool is_csv = s->kind == ROWSTREAM_CSV;
	struct record r;
	int rc;

	*is_row = true;
	if (is_blank_line(line, len))
		return 0;
	if (is_csv && s->csv.n == 0)
		return take_head(s, line, len);
	rc = is_csv ? record_csv_parse(&s->csv, &s->parser, line, len, s->dim,
			      &r)
		    : record_parse_row(&s->parser, line, len, s->dim, &r);
	if (rc == -EINVAL) {
		*is_row = false;
		return 0;
	}
	if (rc < 0)
		return rc;
	if (r.vec)
		s->dim = r.dim;
	return s->calls.row(s->calls.ctx, &r, s->number++);
}

/* Whether bytes[len] have the end of a row, and where its newline is; len: they
 * have not. */
static bool find_end(
	struct rowstream *s, const char *bytes, size_t len, size_t *n)
{
	const char *newline;

	*n = len;
	if (s->kind == ROWSTREAM_CSV)
		return record_csv_scan(&s->csv, bytes, len, n);
	newline = memchr(bytes, '\n', len);
	if (newline)
		*n = (size_t)(newline - bytes);
	return newline != NULL;
}

/* Lines that end within a row: only quotes of a CSV have any. */
static uint64_t count_lines(const char *bytes, size_t len)
{
	const char *end = bytes + len;
	uint64_t n = 0;

	while ((bytes = memchr(bytes, '\n', (size_t)(end - bytes)))) {
		bytes++;
		n++;
	}
	return n;
}

static int skip_line(struct rowstream *s)
{
	if (s->kind == ROWSTREAM_CSV && s->csv.n == 0)
		return fail(s, "the header is longer than 4 MiB");
	tell_bad(s, s->line, "the line is longer than 4 MiB");
	s->number++;
	s->is_skipping = true;
	return 0;
}

static int step_line(struct rowstream *s, const char *bytes, size_t len,
	struct step *out)
{
	bool is_row = true, has_end;
	size_t n;
	int rc = 0;

	has_end = find_end(s, bytes, len, &n);
	if (!s->is_skipping && n > ROWSTREAM_LINE_MAX)
		rc = skip_line(s);
	*out = (struct step){0, SIZE_MAX};
	if (!has_end && s->is_skipping) {
		record_csv_drop(&s->csv);
		s->line += count_lines(bytes, len);
		out->used = len;
	}
	if (rc < 0 || !has_end)
		return rc;
	if (!s->is_skipping)
		rc = give_line(s, bytes, n, &is_row);
	if (!is_row) {
		tell_bad(s, s->line, s->parser.error);
		s->number++;
	}
	s->is_skipping = false;
	s->line += count_lines(bytes, n) + 1;
	out->used = n + 1;
	return rc;
}

static int step(struct rowstream *s, const char *bytes, size_t len,
	struct step *out)
{
	int rc;

	assert(len > 0);
	switch (s->kind) {
	case ROWSTREAM_NPY:
		rc = step_npy(s, bytes, len, out);
		break;
	case ROWSTREAM_FVECS:
	case ROWSTREAM_BVECS:
		rc = step_vecs(s, bytes, len, out);
		break;
	default:
		rc = step_line(s, bytes, len, out);
	}
	if (rc == 0) {
		assert(out->used <= len);
		s->passed += out->used;
	}
	return rc;
}

/* Bytes to hold next: what the step wants, or up to a newline. */
static size_t missing(const struct rowstream *s, size_t want,
	const char *bytes, size_t len)
{
	size_t n;

	if (want != SIZE_MAX) {
		assert(want > s->held_len);
		return VG_MIN(len, want - s->held_len);
	}
	const char *newline = memchr(bytes, '\n', len);
	n = newline ? (size_t)(newline - bytes) + 1 : len;
	/* A line that is too long is seen to be so; no more is kept of it. */
	return VG_MIN(n, ROWSTREAM_LINE_MAX + 2 - s->held_len);
}

/* Completes what is held with new bytes, at most one row; *used of them. */
static int feed_held(struct rowstream *s, const char *bytes, size_t len,
	size_t *used)
{
	struct step done = {0, rowstream_has_lines(s->kind) ? SIZE_MAX :
		s->held_len + 1};
	size_t at = 0;
	int rc;

	/* Each turn holds at least one byte more or ends. */
	while (at < len && done.used == 0) {
		size_t n = missing(s, done.want, bytes + at, len - at);
		assert(n > 0);
		rc = hold(s, bytes + at, n);
		if (rc < 0)
			return rc;
		at += n;
		/* Without this a long line in small writes were searched for
		 * its newline from the start each time. */
		if (rowstream_has_lines(s->kind) && bytes[at - 1] != '\n' &&
			s->held_len <= ROWSTREAM_LINE_MAX)
			continue;
		rc = step(s, s->held, s->held_len, &done);
		if (rc != 0)
			return rc;
	}
	if (done.used > 0) {
		assert(done.used == s->held_len);
		s->held_len = 0;
	}
	*used = at;
	return 0;
}

static int feed(struct rowstream *s, const char *bytes, size_t len)
{
	struct step done;
	size_t at = 0;
	int rc;

	while (at < len) {
		if (s->held_len > 0) {
			size_t used;
			rc = feed_held(s, bytes + at, len - at, &used);
			if (rc != 0)
				return rc;
			at += used;
			continue;
		}
		rc = step(s, bytes + at, len - at, &done);
		if (rc != 0)
			return rc;
		at += done.used;
		if (done.used == 0) {
			rc = hold(s, bytes + at, len - at);
			at = len;
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

int rowstream_feed(struct rowstream *s, const void *bytes, size_t len)
{
	assert(bytes || len == 0);
	if (s->rc == 0)
		s->rc = feed(s, bytes, len);
	return s->rc;
}

void rowstream_get_mark(const struct rowstream *s, bool is_in_row,
	struct rowstream_mark *out)
{
	assert(!is_in_row || s->number > 0);
	*out = (struct rowstream_mark){
		.passed = s->passed,
		.number = s->number - is_in_row,
		.line = s->line,
		.rows_left = s->rows_left,
		.npy_rows = s->npy.rows,
		.dim = s->dim,
		.npy_dim = s->npy.dim,
		.npy_kind = s->npy.kind,
		.npy_size = s->npy.size,
		.is_npy_big = s->npy.is_big,
		.is_skipping = s->is_skipping,
		.csv_state = s->is_skipping ? s->csv.state : 0,
		.is_npy_packed = s->npy.is_packed,
	};
	if (is_in_row && s->kind == ROWSTREAM_NPY)
		out->rows_left++;
}

void rowstream_put_mark(struct rowstream *s, const struct rowstream_mark *mark)
{
	assert(s->passed == 0 && s->held_len == 0);
	s->passed = mark->passed;
	s->number = mark->number;
	s->line = mark->line;
	s->rows_left = mark->rows_left;
	s->dim = mark->dim;
	s->npy = (struct record_npy){.rows = mark->npy_rows,
		.dim = mark->npy_dim,
		.kind = mark->npy_kind,
		.size = mark->npy_size,
		.is_big = mark->is_npy_big,
		.is_packed = mark->is_npy_packed};
	s->is_skipping = mark->is_skipping;
	s->csv.state = mark->csv_state;
}

struct meta rowstream_get_head(const struct rowstream *s)
{
	return (struct meta){s->csv.head, (uint32_t)s->csv.head_len};
}

int rowstream_put_head(struct rowstream *s, struct meta head)
{
	assert(s->kind == ROWSTREAM_CSV && s->csv.n == 0);
	return take_head(s, head.json, head.len);
}

static int end_npy(struct rowstream *s)
{
	unsigned long long row = s->npy.rows - s->rows_left;

	if (s->rows_left == 0 && s->held_len > 0)
		return fail(s, "the stream ends inside an npy header");
	if (s->rows_left == 0)
		return 0;
	return fail(s, "the stream ends %s row %llu of %llu",
		s->held_len > 0 ? "inside" : "before", row + 1,
		(unsigned long long)s->npy.rows);
}

/* A line that goes on later is held; one that was a row is not. */
static int end_line(struct rowstream *s)
{
	bool is_row;
	size_t n;
	int rc;

	if (s->held_len == 0)
		return 0;
	/* What came without a newline was not looked at yet. */
	find_end(s, s->held, s->held_len, &n);
	assert(n == s->held_len);
	if (record_csv_is_quoted(&s->csv))
		return fail(s, "the stream ends inside line %llu: a quote is "
			"not closed", (unsigned long long)s->line);
	rc = give_line(s, s->held, s->held_len, &is_row);
	if (rc != 0)
		return s->rc = rc;
	if (!is_row)
		return fail(s, "the stream ends inside line %llu: %.*s",
			(unsigned long long)s->line, 180, s->parser.error);
	s->passed += s->held_len;
	s->held_len = 0;
	s->csv.state = 0;
	record_csv_drop(&s->csv);
	return 0;
}

int rowstream_end(struct rowstream *s)
{
	if (s->rc != 0)
		return s->rc;
	if (s->kind == ROWSTREAM_NPY)
		return end_npy(s);
	if (rowstream_has_lines(s->kind))
		return end_line(s);
	if (s->held_len > 0)
		return fail(s, "the stream ends inside row %llu",
			(unsigned long long)s->number);
	return 0;
}
