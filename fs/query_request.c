/* SPDX-License-Identifier: Apache-2.0 */
/* query_request.c: what is written to `.run`: one JSON object, or vectors. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/query.h"
#include "fs/query_int.h"
#include "src/json.h"
#include "src/record.h"

/* The parts that read a request share these. */
struct request {
	struct query *q;
	struct record_parser *parser;
	struct json json;
	uint32_t dim;	/* 0: not known, until a vector was read */
	size_t vec_cap; /* bytes that q->vec has room for */
};

/* After -EINVAL of the scanner. */
static int refuse_json(struct request *r)
{
	return query_refuse(r->q, "%s at byte %zu of the request",
		r->json.why ? r->json.why : "not JSON",
		json_position(&r->json));
}

/* Reads the next token, which must be of that type. */
static int expect(struct request *r, enum json_type type, const char *what,
	struct json_token *out)
{
	struct json_token token;

	if (json_next(&r->json, &token) < 0)
		return refuse_json(r);
	if (token.type != type)
		return query_refuse(r->q, "%s", what);
	*out = token;
	return 0;
}

/* Appends the row that the parser has read to q->vec, grown by doubling. */
static int add_row(struct request *r, uint32_t n)
{
	struct query *q = r->q;
	enum vg_dtype dtype = r->parser->dtype;
	size_t used = vg_row_len(dtype, (size_t)q->n_vec * r->dim);
	size_t len = vg_row_len(dtype, n);

	if (n == 0 || (r->dim && n != r->dim))
		return query_refuse(q, "vector %u has %u numbers instead of %u",
			q->n_vec + 1, n, r->dim);
	if (q->n_vec == RECORD_BATCH_MAX)
		return query_refuse(q, "a batch has at most %u vectors",
			RECORD_BATCH_MAX);
	r->dim = n;
	if (used + len > r->vec_cap) {
		size_t cap = VG_MAX(used + len, 2 * r->vec_cap);
		void *grown = realloc(q->vec, cap);

		if (!grown)
			return -ENOMEM;
		q->vec = grown;
		r->vec_cap = cap;
	}
	memcpy((char *)q->vec + used, r->parser->vec, len);
	q->n_vec++;
	q->dim = n;
	q->dtype = dtype;
	return 0;
}

/* The numbers of one array whose bracket was read. */
static int read_row(struct request *r)
{
	uint32_t n;
	int rc = record_parse_array(r->parser, &r->json, &n);

	if (rc == -EINVAL)
		return query_refuse(r->q, "%s", r->parser->error);
	return rc < 0 ? rc : add_row(r, n);
}

static int read_vector(struct request *r)
{
	struct json_token token;
	int rc = expect(r, JSON_ARRAY, "vector takes an array of numbers",
		&token);

	return rc < 0 ? rc : read_row(r);
}

static int read_vectors(struct request *r)
{
	static const char what[] = "vectors takes an array of arrays of "
				   "numbers, one at least";
	struct json_token token;
	int rc = expect(r, JSON_ARRAY, what, &token);

	while (rc == 0) { /* ends: each turn reads on, and texts end */
		if (json_next(&r->json, &token) < 0)
			return refuse_json(r);
		if (token.type == JSON_ARRAY_END && r->q->n_vec > 0)
			return 0;
		if (token.type != JSON_ARRAY)
			return query_refuse(r->q, "%s", what);
		rc = read_row(r);
	}
	return rc;
}

/* The string that comes next, decoded; *out is owned (free). */
static int read_string(
	struct request *r, const char *what, char **out, size_t *len)
{
	struct json_token token;
	char *text;
	int rc = expect(r, JSON_STRING, what, &token);

	if (rc < 0)
		return rc;
	text = malloc(token.len + 1);
	if (!text)
		return -ENOMEM;
	*len = json_string_decode(&token, text);
	*out = text;
	return 0;
}

static int read_id(struct request *r)
{
	size_t len;
	char *text;
	int rc = read_string(r, "id takes a string", &text, &len);

	if (rc < 0)
		return rc;
	if (len == 0 || len > VG_ID_MAX) {
		rc = query_refuse(r->q, "an id has 1 to %d bytes, not %zu",
			VG_ID_MAX, len);
	} else {
		memcpy(r->q->key, text, len);
		r->q->key_len = (uint32_t)len;
	}
	free(text);
	return rc;
}

/* "like":"A,+B,-C" */
static int read_like(struct request *r)
{
	size_t len;
	char *text;
	int rc = read_string(r, "like takes a string, as \"A,+B,-C\"", &text,
		&len);

	if (rc < 0)
		return rc;
	rc = query_set_like(r->q, text, len);
	if (rc == -ENOENT)
		rc = query_refuse(r->q,
			"like takes ids as files are named, as \"A,+B,-C\"");
	free(text);
	return rc;
}

/* "snap":"a", "where":"a.eq=1", "order":"a:desc", "group":"a" */
static int read_text(struct request *r, const struct query_param *param)
{
	char what[32], *text;
	size_t len;
	int rc;

	snprintf(what, sizeof(what), "%s takes a string", param->word);
	rc = read_string(r, what, &text, &len);
	if (rc < 0)
		return rc;
	rc = query_set_param(r->q, param, text, len);
	free(text);
	return rc;
}

/* "fields":["a","b"] */
static int read_fields(struct request *r)
{
	static const char what[] = "fields takes an array of strings";
	struct vg_id fields[QUERY_FIELDS_MAX + 1];
	const char *begin = r->json.at;
	size_t used = 0, left = (size_t)(r->json.end - begin);
	struct json_token token;
	uint32_t n = 0;
	char *text;
	int rc = expect(r, JSON_ARRAY, what, &token);

	if (rc < 0)
		return rc;
	text = malloc(left + 1); /* decoding makes nothing longer */
	if (!text)
		return -ENOMEM;
	for (;;) { /* ends: each turn reads on, and texts end */
		if (json_next(&r->json, &token) < 0) {
			rc = refuse_json(r);
			goto free_text;
		}
		if (token.type == JSON_ARRAY_END)
			break;
		if (token.type != JSON_STRING) {
			rc = query_refuse(r->q, "%s", what);
			goto free_text;
		}
		size_t len = json_string_decode(&token, text + used);

		if (n <= QUERY_FIELDS_MAX)
			fields[n++] =
				(struct vg_id){text + used, (uint32_t)len};
		used += len;
	}
	rc = query_set_fields(r->q, fields, n);
free_text:
	free(text);
	return rc;
}

static int read_param(struct request *r, const struct query_param *param)
{
	struct json_token token;

	if (param->kind == QUERY_FIELDS)
		return read_fields(r);
	if (param->kind >= QUERY_SNAP)
		return read_text(r, param);
	if (json_next(&r->json, &token) < 0)
		return refuse_json(r);
	switch (token.type) {
	case JSON_TRUE:
		token.text = "1";
		token.len = 1;
		break;
	case JSON_FALSE:
		token.text = "0";
		token.len = 1;
		break;
	case JSON_STRING:
		if (param->kind == QUERY_FMT)
			break;
		return query_refuse(r->q, "%s takes no string", param->word);
	case JSON_NUMBER:
		break;
	default:
		return query_refuse(r->q, "%s takes one value", param->word);
	}
	if ((token.type == JSON_TRUE || token.type == JSON_FALSE) !=
		(param->kind == QUERY_FLAG))
		return query_refuse(r->q,
			param->kind == QUERY_FLAG ? "%s takes true or false" :
						    "%s takes no true or false",
			param->word);
	return query_set_param(r->q, param, token.text, token.len);
}

/* A member of the object: key is its name, its value comes next. */
static int read_member(struct request *r, const struct json_token *key)
{
	static const struct {
		const char *word;
		enum query_src src;
		int (*read)(struct request *r);
	} sources[] = {
		{"vector", QUERY_VEC, read_vector},
		{"vectors", QUERY_VEC, read_vectors},
		{"id", QUERY_ID, read_id},
		{"like", QUERY_LIKE, read_like},
	};
	const struct query_param *param;

	for (size_t i = 0; i < VG_ARRAY_LEN(sources); i++) {
		if (!json_string_is(key, sources[i].word,
			    strlen(sources[i].word)))
			continue;
		if (r->q->src != QUERY_NONE)
			return query_refuse(r->q,
				"a request has one of vector, vectors, id and "
				"like");
		r->q->src = sources[i].src;
		return sources[i].read(r);
	}
	param = query_find_param(key->text, key->len);
	if (!param)
		return query_refuse(r->q,
			"a request has no member %.*s: .help lists them",
			QUERY_QUOTE(key->text, key->len));
	return read_param(r, param);
}

static int read_object(struct request *r)
{
	struct json_token token;
	int rc = expect(r, JSON_OBJECT, "a request is a JSON object", &token);

	while (rc == 0) { /* ends: each turn reads on, and texts end */
		if (json_next(&r->json, &token) < 0)
			return refuse_json(r);
		if (token.type == JSON_OBJECT_END)
			break;
		assert(token.type == JSON_KEY);
		rc = read_member(r, &token);
	}
	if (rc < 0)
		return rc;
	if (json_next(&r->json, &token) < 0)
		return query_refuse(r->q,
			"one request at a time: something follows the object");
	if (r->q->src == QUERY_NONE)
		return query_refuse(r->q,
			"a request needs a vector, vectors, an id or "
			"like");
	return query_check(r->q);
}

/* Vectors in any form that a body may have. */
static int read_batch(struct query *q, struct record_parser *parser,
	const void *body, size_t len, uint32_t dim)
{
	struct record_batch batch;
	int rc = record_parse_batch(parser, body, len, dim, &batch);

	if (rc == -EINVAL)
		return query_refuse(q, "%s", parser->error);
	if (rc < 0)
		return rc;
	rc = query_put_vectors(q, &batch);
	return rc < 0 ? rc : query_check(q);
}

int query_parse_request(struct query *q, const void *body, size_t len,
	enum vg_dtype dtype, uint32_t dim)
{
	struct record_parser parser;
	struct request r = {.q = q, .parser = &parser, .dim = dim};
	size_t blank = 0;
	int rc;

	q->error[0] = '\0';
	q->src = QUERY_NONE;
	free(q->vec);
	q->vec = NULL;
	q->n_vec = 0;
	record_parser_init(&parser);
	parser.dtype = dtype;
	while (blank < len && memchr(" \t\r\n", ((const char *)body)[blank], 4))
		blank++;
	/* A raw vector may begin with the byte of {, but is hardly UTF-8. */
	if (blank < len && ((const char *)body)[blank] == '{' &&
		json_is_utf8(body, len) && !memchr(body, '\0', len)) {
		json_init(&r.json, body, len);
		r.json.takes_bytes = true;
		rc = read_object(&r);
	} else {
		rc = read_batch(q, &parser, body, len, dim);
	}
	record_parser_fini(&parser);
	return rc;
}
