/* SPDX-License-Identifier: Apache-2.0 */
/* record_json.c: a JSON object or array becomes a record. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "src/record_int.h"

int record_fail_json(struct record_parser *p, const struct json *j)
{
	assert(j->why);
	p->is_cut = j->is_cut;
	return record_fail(p, "JSON: %s at byte %zu", j->why,
		json_position(j));
}

static int parse_array(struct record_parser *p, struct json *j, uint32_t dim,
	uint64_t *out)
{
	uint64_t n = 0;
	double value;
	int rc;

	assert(dim <= VG_DIM_MAX);
	while ((rc = record_next_number(p, j, &value)) > 0) {
		if (n < VG_DIM_MAX)
			rc = record_put(p, n, value);
		if (rc < 0)
			return rc;
		n++;
		if (p->is_probe && dim && n > dim)
			return record_fail(p, "this collection has %u "
				"dimensions, the body has more numbers", dim);
	}
	if (rc < 0)
		return record_fail_json(p, j);
	*out = n;
	return 0;
}

int record_parse_array(struct record_parser *p, struct json *j, uint32_t *n)
{
	uint64_t count;
	int rc;

	p->vec_len = 0;
	p->is_cut = false;
	rc = parse_array(p, j, 0, &count);
	if (rc == 0)
		rc = record_check_count(p, count, 0);
	if (rc == 0)
		*n = (uint32_t)count;
	return rc;
}

static int parse_id(struct record_parser *p, const struct json_token *token,
	struct record *out)
{
	size_t len;

	if (token->type == JSON_NULL) {
		out->id = (struct vg_id){NULL, 0};
		return 0;
	}
	if (token->type == JSON_NUMBER) {
		if (memchr(token->text, '.', token->len) ||
			memchr(token->text, 'e', token->len) ||
			memchr(token->text, 'E', token->len))
			return record_fail(p, "the id is a number with a "
				"fraction; put it in quotes");
	} else if (token->type != JSON_STRING) {
		return record_fail(p, "the id is neither a string nor a whole "
			"number");
	}
	if (token->len == 0)
		return record_fail(p, "the id is empty");
	/* An escape takes up to six bytes and stands for at least one. */
	if (token->len > VG_ID_MAX * 6)
		return record_fail(p, "the id is longer than 255 bytes");
	char text[VG_ID_MAX * 6];
	len = json_string_decode(token, text);
	assert(len >= 1 && len <= token->len);
	if (len > VG_ID_MAX)
		return record_fail(p, "the id is longer than 255 bytes (it has "
			"%zu)", len);
	if (memchr(text, 0, len))
		return record_fail(p, "the id has a NUL byte in it");
	memcpy(p->id, text, len);
	out->id = (struct vg_id){p->id, (uint32_t)len};
	return 0;
}

static int parse_metadata(struct record_parser *p, struct json *j,
	const struct json_token *first, struct record *out)
{
	struct json_token whole;
	const char *why;
	int rc;

	out->meta = NULL;
	out->meta_len = 0;
	if (first->type == JSON_NULL)
		return 0;
	if (first->type != JSON_OBJECT)
		return record_fail(p, "the metadata is no JSON object");
	if (json_skip(j, first, &whole) < 0)
		return record_fail_json(p, j);
	rc = meta_parse(whole.text, whole.len, &p->meta, &why);
	if (rc == -EINVAL)
		return record_fail(p, "%s", why);
	assert(rc < 0 || p->meta.len <= VG_META_MAX);
	if (rc == 0 && p->meta.len > 0) {
		out->meta = p->meta.bytes;
		out->meta_len = (uint32_t)p->meta.len;
	}
	return rc;
}

static int parse_vector(struct record_parser *p, struct json *j,
	const struct json_token *first, uint32_t dim, struct record *out)
{
	uint64_t n;
	int rc;

	out->vec = NULL;
	out->dim = 0;
	out->source = 0;
	if (first->type == JSON_NULL)
		return 0;
	if (first->type != JSON_ARRAY)
		return record_fail(p, "the vector is no JSON array of numbers");
	rc = parse_array(p, j, dim, &n);
	if (rc == 0)
		rc = record_check_count(p, n, dim);
	if (rc == 0)
		record_set_vec(p, n, OP_SOURCE_JSON, out);
	return rc;
}

static int fail_unknown(struct record_parser *p, const struct json_token *key)
{
	int len = (int)VG_MIN(key->len, (size_t)64);

	while (len > 0 && (size_t)len < key->len &&
		(key->text[len] & 0xc0) == 0x80)
		len--; /* whole characters */
	return record_fail(p, "unknown member \"%.*s\"; known are id, vector, "
		"metadata", len, key->text);
}

/* One member; key was just read. */
static int parse_member(struct record_parser *p, struct json *j,
	const struct json_token *key, uint32_t dim, struct record *out)
{
	bool is_id = json_string_is(key, "id", 2);
	bool is_vector = json_string_is(key, "vector", 6);
	struct json_token value;

	if (!is_id && !is_vector && !json_string_is(key, "metadata", 8))
		return fail_unknown(p, key);
	j->takes_bytes = is_id;
	if (json_next(j, &value) < 0)
		return record_fail_json(p, j);
	j->takes_bytes = false;
	if (is_id)
		return parse_id(p, &value, out);
	if (is_vector)
		return parse_vector(p, j, &value, dim, out);
	return parse_metadata(p, j, &value, out);
}

int record_parse_value(struct record_parser *p, struct json *j, uint32_t dim,
	struct record *out)
{
	struct record r = {0};
	struct json_token token;
	bool is_empty = true;
	int rc = 0;

	if (json_next(j, &token) < 0)
		return record_fail_json(p, j);
	if (token.type == JSON_ARRAY) {
		rc = parse_vector(p, j, &token, dim, &r);
	} else if (token.type != JSON_OBJECT) {
		rc = record_fail(p, "JSON: an object, {...}, or an array of "
			"numbers, [...], is expected");
	} else {
		/* Each turn reads a member, so the text's end ends it. */
		while (rc == 0) {
			if (json_next(j, &token) < 0)
				return record_fail_json(p, j);
			if (token.type == JSON_OBJECT_END)
				break;
			is_empty &= json_string_is(&token, "id", 2);
			rc = parse_member(p, j, &token, dim, &r);
		}
		if (rc == 0 && is_empty)
			rc = record_fail(p, "the object has neither a vector "
				"nor metadata");
	}
	assert(rc != 0 || !r.vec || !dim || r.dim == dim);
	if (rc == 0)
		*out = r;
	return rc;
}
