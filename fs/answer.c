/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c: rendering without printf: a row costs less than its search does. */
#include "fs/answer.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json.h"
#include "src/number.h"

/* Version 1.0 of the .npy format, one length whatever the shape is. */
#define NPY_HEADER_LEN 128

/* Bytes of a row but its id and metadata: four numbers and six names. */
#define ROW_MAX 192

static const char *const fmt_words[] = {
	[ANSWER_NDJSON] = "ndjson",
	[ANSWER_JSON] = "json",
	[ANSWER_TSV] = "tsv",
	[ANSWER_IDS] = "ids",
	[ANSWER_DIST] = "dist",
	[ANSWER_F32] = "f32",
	[ANSWER_NPY] = "npy",
};

static_assert(VG_ARRAY_LEN(fmt_words) == ANSWER_FMTS, "a word per format");

enum answer_fmt answer_find_fmt(const char *word, size_t len)
{
	for (int fmt = 0; fmt < ANSWER_FMTS; fmt++)
		if (len == strlen(fmt_words[fmt]) &&
			memcmp(word, fmt_words[fmt], len) == 0)
			return (enum answer_fmt)fmt;
	return ANSWER_FMTS;
}

const char *answer_get_fmt(enum answer_fmt fmt)
{
	assert(fmt < ANSWER_FMTS);
	return fmt_words[fmt];
}

void answer_init(struct answer *a)
{
	*a = (struct answer){0};
}

void answer_fini(struct answer *a)
{
	free(a->bytes);
	a->bytes = NULL;
	a->len = a->cap = 0;
}

/* Room for `more` bytes behind what there is: what follows needs no check. */
static int reserve(struct answer *a, size_t more)
{
	size_t cap = a->cap ? a->cap : 1024;
	char *grown;

	if (more <= a->cap - a->len)
		return 0;
	if (more > SIZE_MAX / 2 - a->len)
		return -ENOMEM;
	while (cap - a->len < more)
		cap *= 2;
	grown = realloc(a->bytes, cap);
	if (!grown)
		return -ENOMEM;
	a->bytes = grown;
	a->cap = cap;
	return 0;
}

/* These stay within what was reserved. */

static void put(struct answer *a, const char *bytes, size_t len)
{
	assert(len <= a->cap - a->len);
	memcpy(a->bytes + a->len, bytes, len);
	a->len += len;
}

#define PUT_WORD(a, word) put((a), (word), sizeof(word) - 1)

static void put_uint(struct answer *a, uint64_t n)
{
	assert(NUMBER_UINT_LEN <= a->cap - a->len);
	a->len += number_format_uint(n, a->bytes + a->len);
}

static void put_float(struct answer *a, float f)
{
	assert(NUMBER_LEN <= a->cap - a->len);
	/* + 0 makes 0 of -0, which ip and l2's score would show else */
	a->len += number_format(f + 0.0f, a->bytes + a->len);
}

static void put_string(struct answer *a, struct vg_id s)
{
	assert(JSON_STRING_MAX(s.len) <= a->cap - a->len);
	a->len += json_string_encode(s.bytes, s.len, a->bytes + a->len);
}

/* An id in a line: nothing in it ends the line or the column. */
static void put_line_id(struct answer *a, struct vg_id id)
{
	for (uint32_t i = 0; i < id.len; i++) {
		char c = id.bytes[i];

		if (c == '\t')
			PUT_WORD(a, "\\t");
		else if (c == '\n')
			PUT_WORD(a, "\\n");
		else if (c == '\\')
			PUT_WORD(a, "\\\\");
		else
			a->bytes[a->len++] = c;
	}
}

static float score(enum vg_metric metric, float dist)
{
	return metric == VG_COSINE ? 1.0f - dist : -dist;
}

/* "meta" with the members that were asked for; nothing if there is none. */
static int add_fields(struct answer *a, struct meta meta)
{
	bool is_first = true;

	for (uint32_t i = 0; i < a->spec.n_fields; i++) {
		const struct vg_id *field = &a->spec.fields[i];
		struct meta value;
		int rc = meta_get(meta, *field, &value);

		if (rc == -ENODATA)
			continue;
		if (rc == 0)
			rc = reserve(a, JSON_STRING_MAX(field->len) +
						value.len + ROW_MAX);
		if (rc < 0)
			return rc;
		if (is_first)
			PUT_WORD(a, ",\"meta\":{");
		else
			PUT_WORD(a, ",");
		put_string(a, *field);
		PUT_WORD(a, ":");
		put(a, value.json, value.len);
		is_first = false;
	}
	if (!is_first)
		PUT_WORD(a, "}");
	return reserve(a, ROW_MAX);
}

static int add_object(struct answer *a, const struct answer_row *row)
{
	const struct answer_spec *spec = &a->spec;

	PUT_WORD(a, "{");
	if (spec->n > 1) {
		PUT_WORD(a, "\"q\":");
		put_uint(a, a->q);
		PUT_WORD(a, ",");
	}
	if (spec->has_distance) {
		PUT_WORD(a, "\"rank\":");
		put_uint(a, row->rank ? row->rank
				      : (uint64_t)spec->offset + a->n_rows + 1);
		PUT_WORD(a, ",");
	}
	PUT_WORD(a, "\"id\":");
	put_string(a, row->id);
	if (spec->has_distance) {
		PUT_WORD(a, ",\"dist\":");
		put_float(a, row->dist);
		PUT_WORD(a, ",\"score\":");
		put_float(a, score(spec->metric, row->dist));
	}
	if (row->meta.json && spec->fields) {
		int rc = add_fields(a, row->meta);

		if (rc < 0)
			return rc;
	} else if (row->meta.json) {
		PUT_WORD(a, ",\"meta\":");
		put(a, row->meta.json, row->meta.len);
	}
	PUT_WORD(a, "}");
	return 0;
}

static void add_tsv(struct answer *a, const struct answer_row *row)
{
	if (a->spec.n > 1) {
		put_uint(a, a->q);
		PUT_WORD(a, "\t");
	}
	put_line_id(a, row->id);
	if (a->spec.has_distance) {
		PUT_WORD(a, "\t");
		put_float(a, row->dist);
	}
	PUT_WORD(a, "\n");
}

/* What stands between two objects of a JSON array. */
static void put_comma(struct answer *a)
{
	if (a->total > 0)
		PUT_WORD(a, ",\n");
}

static int add_row(struct answer *a, const struct answer_row *row)
{
	int rc = reserve(a, ROW_MAX + JSON_STRING_MAX(row->id.len) +
				    (row->meta.json ? row->meta.len : 0));

	if (rc < 0)
		return rc;
	switch (a->spec.fmt) {
	case ANSWER_NDJSON:
		rc = add_object(a, row);
		if (rc == 0)
			PUT_WORD(a, "\n");
		break;
	case ANSWER_JSON:
		put_comma(a);
		rc = add_object(a, row);
		break;
	case ANSWER_TSV:
		add_tsv(a, row);
		break;
	case ANSWER_IDS:
		put_line_id(a, row->id);
		PUT_WORD(a, "\n");
		break;
	case ANSWER_DIST:
		put_float(a, row->dist);
		PUT_WORD(a, "\n");
		break;
	case ANSWER_F32:
	case ANSWER_NPY:
		put(a, (const char *)&row->dist, sizeof(row->dist));
		break;
	case ANSWER_FMTS:
		assert(a->spec.fmt < ANSWER_FMTS);
	}
	a->n_rows++;
	a->total++;
	return rc;
}

/* Ends the rows of a batch's query. */
static int end_query(struct answer *a)
{
	static const float nothing = NAN;
	const struct answer_spec *spec = &a->spec;
	uint32_t missing = 0;
	int rc;

	if (answer_is_array(spec->fmt)) {
		assert(a->n_rows <= spec->k);
		missing = spec->k - a->n_rows;
	}
	rc = reserve(a, (size_t)missing * sizeof(nothing) + 1);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < missing; i++)
		put(a, (const char *)&nothing, sizeof(nothing));
	if ((spec->fmt == ANSWER_IDS || spec->fmt == ANSWER_DIST) &&
		a->q + 1 < spec->n)
		PUT_WORD(a, "\n");
	a->q++;
	a->n_rows = 0;
	return 0;
}

/* Ends the queries before q; nothing where there is but one. */
static int advance(struct answer *a, uint32_t q)
{
	int rc = 0;

	assert(q >= a->q && q <= a->spec.n);
	while (rc == 0 && a->spec.n > 1 && a->q < q)
		rc = end_query(a);
	return rc;
}

int answer_open(struct answer *a, const struct answer_spec *spec)
{
	int rc;

	assert(spec->n > 0 && spec->fmt < ANSWER_FMTS);
	assert(spec->has_distance ||
		(!answer_is_array(spec->fmt) && spec->fmt != ANSWER_DIST));
	a->spec = *spec;
	a->len = 0;
	a->q = a->n_rows = 0;
	a->total = 0;
	rc = reserve(a, ROW_MAX);
	if (rc < 0)
		return rc;
	if (spec->fmt == ANSWER_JSON)
		PUT_WORD(a, "[");
	if (spec->fmt == ANSWER_NPY)
		a->len = NPY_HEADER_LEN; /* written when the shape is known */
	return 0;
}

int answer_add(struct answer *a, uint32_t q, const struct answer_row *rows,
	uint32_t n)
{
	int rc = advance(a, q);

	assert(q < a->spec.n);
	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = add_row(a, &rows[i]);
	return rc;
}

/* A value in a line: a string's characters, anything else as it is. */
static int put_line_value(struct answer *a, struct meta json)
{
	struct json reader;
	struct json_token token;
	struct vg_id text;
	char *bytes;

	if (json.json[0] != '"') {
		put(a, json.json, json.len);
		return 0;
	}
	json_init(&reader, json.json, json.len);
	if (json_next(&reader, &token) < 0 || token.type != JSON_STRING)
		return -VG_ECORRUPT;
	bytes = malloc(json.len);
	if (!bytes)
		return -ENOMEM;
	text = (struct vg_id){
		bytes, (uint32_t)json_string_decode(&token, bytes)};
	put_line_id(a, text);
	free(bytes);
	return 0;
}

int answer_add_value(struct answer *a, struct meta json, uint64_t n)
{
	bool is_line = a->spec.fmt == ANSWER_TSV || a->spec.fmt == ANSWER_IDS;
	int rc = reserve(a, ROW_MAX + 2 * (size_t)json.len);

	assert(!a->spec.has_distance && json.len > 0);
	if (rc == 0 && is_line)
		rc = put_line_value(a, json);
	if (rc < 0)
		return rc;
	if (!is_line) {
		if (a->spec.fmt == ANSWER_JSON)
			put_comma(a);
		PUT_WORD(a, "{\"value\":");
		put(a, json.json, json.len);
		PUT_WORD(a, ",\"count\":");
		put_uint(a, n);
		PUT_WORD(a, "}");
	}
	if (a->spec.fmt == ANSWER_TSV) {
		PUT_WORD(a, "\t");
		put_uint(a, n);
	}
	if (a->spec.fmt != ANSWER_JSON)
		PUT_WORD(a, "\n");
	a->n_rows++;
	a->total++;
	return 0;
}

static void put_trailer(struct answer *a, bool is_partial)
{
	if (a->spec.fmt == ANSWER_JSON)
		put_comma(a);
	if (is_partial)
		PUT_WORD(a, "{\"partial\":true,\"rows\":");
	else
		PUT_WORD(a, "{\"partial\":false,\"rows\":");
	put_uint(a, a->total);
	PUT_WORD(a, "}");
	if (a->spec.fmt != ANSWER_JSON)
		PUT_WORD(a, "\n");
}

/* Magic, version 1.0, the rest's length, and a Python dictionary, filled up
 * with blanks to the newline. */
static void npy_save_header(struct answer *a)
{
	static const char magic[10] = "\x93NUMPY\x01\x00\x76\x00";
	char shape[32], *out = a->bytes;
	int len;

	static_assert(NPY_HEADER_LEN - sizeof(magic) == 0x76, "its length");
	assert(a->len >= NPY_HEADER_LEN);
	if (a->spec.n > 1)
		snprintf(shape, sizeof(shape), "(%u, %u)", a->spec.n,
			a->spec.k);
	else
		snprintf(shape, sizeof(shape), "(%u,)", (unsigned)a->total);
	memcpy(out, magic, sizeof(magic));
	out += sizeof(magic);
	memset(out, ' ', NPY_HEADER_LEN - sizeof(magic));
	len = snprintf(out, NPY_HEADER_LEN - sizeof(magic),
		"{'descr': '<f4', 'fortran_order': False, 'shape': %s, }",
		shape);
	assert(len > 0 && (size_t)len < NPY_HEADER_LEN - sizeof(magic));
	out[len] = ' ';
	a->bytes[NPY_HEADER_LEN - 1] = '\n';
}

int answer_close(struct answer *a, bool is_partial)
{
	int rc = advance(a, a->spec.n);

	if (rc == 0)
		rc = reserve(a, ROW_MAX);
	if (rc < 0)
		return rc;
	if (a->spec.trailer && !answer_is_array(a->spec.fmt))
		put_trailer(a, is_partial);
	if (a->spec.fmt == ANSWER_JSON)
		PUT_WORD(a, "]\n");
	if (a->spec.fmt == ANSWER_NPY)
		npy_save_header(a);
	return 0;
}

int answer_put_count(struct answer *a, uint64_t n)
{
	int rc;

	a->len = 0;
	rc = reserve(a, ROW_MAX);
	if (rc < 0)
		return rc;
	put_uint(a, n);
	PUT_WORD(a, "\n");
	return 0;
}
