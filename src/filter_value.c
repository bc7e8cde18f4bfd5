/* SPDX-License-Identifier: Apache-2.0 */
/* filter_value.c: what is behind the = of a term: text decoded and typed. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/filter_int.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t filter_decode(const char *text, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high = -1, low = -1;
		if (text[i] == '%' && len - i > 2) {
			high = hex_value(text[i + 1]);
			low = hex_value(text[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			out[n++] = (char)(high << 4 | low);
			i += 2;
		} else {
			out[n++] = text[i];
		}
	}
	assert(n <= len);
	return n;
}

const char *filter_put_decoded(struct filter *f, const char *text, size_t len,
	uint32_t *out_len)
{
	char *out = f->bytes + f->n_bytes;

	*out_len = (uint32_t)filter_decode(text, len, out);
	f->n_bytes += *out_len;
	return out;
}

const char *filter_quoted(const char *at, const char *end)
{
	assert(at < end && *at == '"');
	for (at++; at < end; at++) {
		if (*at == '"')
			return at + 1;
		at += *at == '\\' && at + 1 < end;
	}
	return NULL;
}

/* Whether text[len] is one JSON value; a container's token is its first. */
static bool is_json(const char *text, size_t len, struct json_token *out)
{
	struct json_token whole;
	struct json j;

	json_init(&j, text, len);
	return json_next(&j, out) == 0 && json_skip(&j, out, &whole) == 0 &&
		json_next(&j, &whole) == 0;
}

/* A string's token becomes its bytes in the filter. */
static void take_string(struct filter *f, const struct json_token *token,
	struct filter_value *v)
{
	char *out = f->bytes + f->n_bytes;

	v->type = FILTER_STRING;
	v->text = out;
	v->len = (uint32_t)json_string_decode(token, out);
	f->n_bytes += v->len;
}

/* A scalar's token; of a string its text is the filter's already. */
static void take_scalar(const struct json_token *token, struct filter_value *v)
{
	v->type = token->type == JSON_NUMBER ? FILTER_NUMBER :
		token->type == JSON_TRUE     ? FILTER_TRUE :
		token->type == JSON_FALSE    ? FILTER_FALSE :
					       FILTER_NULL;
	v->text = token->text;
	v->len = (uint32_t)token->len;
	if (v->type == FILTER_NUMBER)
		v->num = decimal_scan(v->text, v->len);
}

static int refuse_bytes(struct filter_reader *r, const char *at)
{
	return filter_refuse(r->why, filter_position(r, at),
		"the value is not UTF-8; %%25 is a literal %% before two "
		"hexadecimal digits");
}

static int refuse_kind(struct filter_reader *r, const char *at, enum json_type type)
{
	const char *what = type == JSON_NULL ? "null" :
		type == JSON_ARRAY	     ? "an array" :
					       "an object";

	if (r->t->op == FILTER_IN || r->t->op == FILTER_NIN)
		return filter_refuse(r->why, filter_position(r, at),
			"%s cannot be among the values of %s; strings, "
			"numbers, true and false can",
			what, filter_words[r->t->op]);
	if (type == JSON_NULL)
		return filter_refuse(r->why, filter_position(r, at),
			"null equals nothing; exists=0 is what is missing or "
			"null, \"null\" in quotes is a string");
	return filter_refuse(r->why, filter_position(r, at),
		"%s is no value of %s; a string or a number is, and text in "
		"double quotes is a string", what, filter_words[r->t->op]);
}

/* A string that was in quotes: unquoted, then decoded where it stands. */
static void take_raw_string(struct filter *f, const struct json_token *token,
	struct filter_value *v)
{
	uint32_t n;

	take_string(f, token, v);
	f->n_bytes -= v->len;
	v->text = filter_put_decoded(f, v->text, v->len, &n);
	v->len = n;
}

/*
 * One VALUE, or one of a list, at raw[len]. A string in quotes is unquoted and
 * then decoded, anything else decoded and then looked at.
 */
static int parse_value(struct filter_reader *r, const char *raw, size_t len,
	struct filter_value *v)
{
	struct filter *f = r->f;
	struct json_token token;
	uint32_t n;

	*v = (struct filter_value){.type = FILTER_STRING};
	if (len > 0 && *raw == '"' && is_json(raw, len, &token)) {
		take_raw_string(f, &token, v);
	} else {
		const char *text = filter_put_decoded(f, raw, len, &n);
		if (!is_json(text, n, &token)) {
			v->text = text;
			v->len = n;
		} else if (token.type == JSON_STRING) {
			take_string(f, &token, v);
		} else if (token.type == JSON_ARRAY ||
			token.type == JSON_OBJECT) {
			return refuse_kind(r, raw, token.type);
		} else {
			take_scalar(&token, v);
		}
	}
	return json_is_utf8(v->text, v->len) ? 0 : refuse_bytes(r, raw);
}

static int add_value(struct filter *f, const struct filter_value *v)
{
	struct filter_value *values = filter_grow(f->values, &f->cap_values,
		f->n_values + 1, sizeof(*values));

	if (!values)
		return -ENOMEM;
	f->values = values;
	f->values[f->n_values++] = *v;
	return 0;
}

static int compare_values(const void *a, const void *b)
{
	return filter_compare(a, b);
}

/* The term's values are those from t->values on: in order, each once. */
static void end_values(struct filter *f, struct filter_term *t)
{
	struct filter_value *v = f->values + t->values;
	uint32_t n = f->n_values - t->values, kept = 0;

	if (n > 1)
		qsort(v, n, sizeof(*v), compare_values);
	for (uint32_t i = 0; i < n; i++) {
		if (kept == 0 || filter_compare(&v[kept - 1], &v[i]) != 0)
			v[kept++] = v[i];
	}
	t->n_values = kept;
	f->n_values = t->values + kept;
}

/* A JSON array of scalars, as in and nin take it: text is raw as it is, or raw
 * decoded. */
static int parse_array(struct filter_reader *r, const char *raw, const char *text,
	size_t len, bool is_raw)
{
	struct json_token token;
	struct json j;
	int rc;

	json_init(&j, text, len);
	rc = json_next(&j, &token);
	assert(rc == 0 && token.type == JSON_ARRAY);
	while (rc == 0) {
		struct filter_value v = {0};
		rc = json_next(&j, &token);
		assert(rc == 0);
		if (token.type == JSON_ARRAY_END)
			break;
		if (token.type == JSON_ARRAY || token.type == JSON_OBJECT ||
			token.type == JSON_NULL)
			return refuse_kind(r, raw, token.type);
		if (token.type == JSON_STRING && is_raw)
			take_raw_string(r->f, &token, &v);
		else if (token.type == JSON_STRING)
			take_string(r->f, &token, &v);
		else
			take_scalar(&token, &v);
		if (!json_is_utf8(v.text, v.len))
			return refuse_bytes(r, raw);
		rc = add_value(r->f, &v);
	}
	return rc;
}

static int parse_list(struct filter_reader *r, const char *raw, const char *end)
{
	struct json_token token;
	struct filter_value v;
	uint32_t n;
	size_t before = r->f->n_bytes, len = (size_t)(end - raw);
	const char *text;
	int rc;

	if (is_json(raw, len, &token) && token.type == JSON_ARRAY) {
		/* Numbers are borrowed, so the filter needs them itself. */
		char *copy = r->f->bytes + r->f->n_bytes;
		if (len > 0)
			memcpy(copy, raw, len);
		r->f->n_bytes += len;
		return parse_array(r, raw, copy, len, true);
	}
	text = filter_put_decoded(r->f, raw, len, &n);
	if (is_json(text, n, &token) && token.type == JSON_ARRAY)
		return parse_array(r, raw, text, n, false);
	r->f->n_bytes = before;
	/* Each turn passes a comma or ends. */
	for (;;) {
		const char *from = raw < end && *raw == '"' ?
			filter_quoted(raw, end) : NULL;
		const char *comma = from ? from : raw;
		if (!from || (from < end && *from != ','))
			comma = memchr(raw, ',', (size_t)(end - raw));
		if (!comma)
			comma = end;
		rc = parse_value(r, raw, (size_t)(comma - raw), &v);
		if (rc == 0 && v.type == FILTER_NULL)
			rc = refuse_kind(r, raw, JSON_NULL);
		if (rc == 0)
			rc = add_value(r->f, &v);
		if (rc < 0 || comma == end)
			return rc;
		raw = comma + 1;
	}
}

static int parse_exists(struct filter_reader *r, const char *raw, const char *end)
{
	char shown[FILTER_SHOW_LEN + 4];
	uint32_t n;
	const char *v = filter_put_decoded(r->f, raw, (size_t)(end - raw), &n);

	r->t->wants = (n == 1 && *v == '1') || (n == 4 && !memcmp(v, "true", 4));
	if (r->t->wants || (n == 1 && *v == '0') ||
		(n == 5 && !memcmp(v, "false", 5)))
		return 0;
	return filter_refuse(r->why, filter_position(r, raw),
		"'%s' is no value of exists; 1 and 0 are",
		filter_show(v, n, shown));
}

/* How much of the text's beginning ends at each place within it. */
static int add_skips(struct filter *f, struct filter_term *t)
{
	uint32_t *skips = filter_grow(f->skips, &f->cap_skips,
		f->n_skips + t->text_len + 1, sizeof(*skips));
	uint32_t k = 0;

	if (!skips)
		return -ENOMEM;
	f->skips = skips;
	t->skips = f->n_skips;
	f->n_skips += t->text_len;
	skips += t->skips;
	if (t->text_len > 0)
		skips[0] = 0;
	for (uint32_t i = 1; i < t->text_len; i++) {
		skips[i] = k;
		while (k > 0 && t->text[i] != t->text[k])
			k = skips[k];
		k += t->text[i] == t->text[k];
	}
	return 0;
}

/* prefix and contains: text as it was written, or what is in the quotes. */
static int parse_text(struct filter_reader *r, const char *raw, const char *end)
{
	struct filter_term *t = r->t;
	struct json_token token = {0};
	struct filter_value v;
	size_t before = r->f->n_bytes;
	uint32_t n;
	const char *text = filter_put_decoded(r->f, raw, (size_t)(end - raw), &n);
	bool is_value = is_json(text, n, &token) ||
		(raw < end && *raw == '"');
	int rc = 0;

	t->text = text;
	t->text_len = n;
	if (t->op == FILTER_CONTAINS || (is_value && *raw == '"') ||
		(is_value && token.type == JSON_STRING)) {
		r->f->n_bytes = before;
		rc = parse_value(r, raw, (size_t)(end - raw), &v);
		if (rc == 0 && v.type == FILTER_STRING) {
			t->text = v.text;
			t->text_len = v.len;
		}
		if (rc == 0 && t->op == FILTER_CONTAINS)
			rc = add_value(r->f, &v);
	}
	if (rc == 0 && !json_is_utf8(t->text, t->text_len))
		rc = refuse_bytes(r, raw);
	if (rc == 0 && t->op == FILTER_CONTAINS)
		rc = add_skips(r->f, t);
	return rc;
}

static int parse_one(struct filter_reader *r, const char *raw, const char *end)
{
	enum filter_op op = r->t->op;
	struct filter_value v;
	int rc = parse_value(r, raw, (size_t)(end - raw), &v);

	if (rc < 0)
		return rc;
	if (op == FILTER_EQ || op == FILTER_NE) {
		if (v.type == FILTER_NULL)
			return refuse_kind(r, raw, JSON_NULL);
	} else if (v.type != FILTER_NUMBER && v.type != FILTER_STRING) {
		return filter_refuse(r->why, filter_position(r, raw),
			"%.*s has no order; %s takes a number or a string, and "
			"text in double quotes is a string",
			(int)v.len, v.text, filter_words[op]);
	}
	return add_value(r->f, &v);
}

int filter_parse_value(struct filter_reader *r, const char *raw,
	const char *end)
{
	int rc;

	assert(raw <= end);
	r->t->values = r->f->n_values;
	switch (r->t->op) {
	case FILTER_EXISTS:
		rc = parse_exists(r, raw, end);
		break;
	case FILTER_PREFIX:
	case FILTER_CONTAINS:
		rc = parse_text(r, raw, end);
		break;
	case FILTER_IN:
	case FILTER_NIN:
		rc = parse_list(r, raw, end);
		break;
	default:
		rc = parse_one(r, raw, end);
	}
	end_values(r->f, r->t);
	return rc;
}
