/* SPDX-License-Identifier: Apache-2.0 */
/* filter_parse.c: one term of a filter: FIELD.OP=VALUE. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "src/filter_int.h"

const char filter_words[FILTER_N_OPS][9] = {
	[FILTER_EQ] = "eq", [FILTER_NE] = "ne", [FILTER_GT] = "gt",
	[FILTER_GTE] = "gte", [FILTER_LT] = "lt", [FILTER_LTE] = "lte",
	[FILTER_IN] = "in", [FILTER_NIN] = "nin", [FILTER_EXISTS] = "exists",
	[FILTER_PREFIX] = "prefix", [FILTER_CONTAINS] = "contains",
};

size_t filter_position(const struct filter_reader *r, const char *at)
{
	assert(at >= r->text);
	return r->offset + (size_t)(at - r->text) + 1;
}

static int parse_field(struct filter_reader *r, const char *end)
{
	const char *at = r->text;

	if (end - at > 5 && memcmp(at, "meta.", 5) == 0)
		at += 5;
	if (at == end)
		return filter_refuse(r->why, filter_position(r, at),
			"the field is missing; a filter is FIELD.OP=VALUE, as "
			"in year.gte=2020");
	if (end - at > FILTER_FIELD_MAX)
		return filter_refuse(r->why, filter_position(r, at),
			"the field is longer than %d bytes; shorten it",
			FILTER_FIELD_MAX);
	r->t->field = filter_put_decoded(r->f, at, (size_t)(end - at),
		&r->t->field_len);
	if (!json_is_utf8(r->t->field, r->t->field_len))
		return filter_refuse(r->why, filter_position(r, at),
			"the field is not UTF-8; no key is so");
	return 0;
}

static int parse_op(struct filter_reader *r, const char *at, const char *end)
{
	char shown[FILTER_SHOW_LEN + 4];
	size_t len = (size_t)(end - at);

	for (int op = 0; op < FILTER_N_OPS; op++) {
		if (len == strlen(filter_words[op]) &&
			memcmp(at, filter_words[op], len) == 0) {
			r->t->op = (enum filter_op)op;
			return 0;
		}
	}
	return filter_refuse(r->why, filter_position(r, at),
		"'%s' is no operator; eq ne gt gte lt lte in nin exists prefix "
		"contains are", filter_show(at, len, shown));
}

/* The last dot of text up to end, or NULL. */
static const char *last_dot(const char *text, const char *end)
{
	return memrchr(text, '.', (size_t)(end - text));
}

static int parse_term(struct filter_reader *r, const char *end)
{
	char shown[FILTER_SHOW_LEN + 4];
	const char *equals = memchr(r->text, '=', (size_t)(end - r->text));
	const char *dot;
	int rc;

	if (!equals)
		return filter_refuse(r->why, filter_position(r, end),
			"= is missing behind '%s'; a filter is FIELD.OP=VALUE",
			filter_show(r->text, (size_t)(end - r->text), shown));
	dot = last_dot(r->text, equals);
	if (!dot)
		return filter_refuse(r->why, filter_position(r, r->text),
			"'%s' has no operator; a filter is FIELD.OP=VALUE, as "
			"in year.gte=2020", filter_show(r->text,
				(size_t)(equals - r->text), shown));
	rc = parse_field(r, dot);
	if (rc == 0)
		rc = parse_op(r, dot + 1, equals);
	if (rc < 0)
		return rc;
	return filter_parse_value(r, equals + 1, end);
}

int filter_add_term(struct filter *f, const char *text, size_t len,
	size_t offset, struct filter_why *why)
{
	struct filter_term t = {0};
	struct filter_reader r = {f, &t, text, offset, why};
	struct filter_term *terms;
	int rc;

	if (f->n_terms == FILTER_TERMS_MAX)
		return filter_refuse(why, offset + 1,
			"there are more than %d filters; in=a,b,c is one",
			FILTER_TERMS_MAX);
	rc = parse_term(&r, text + len);
	if (rc < 0)
		return rc;
	terms = filter_grow(f->terms, &f->cap_terms, f->n_terms + 1,
		sizeof(*terms));
	if (!terms)
		return -ENOMEM;
	f->terms = terms;
	f->terms[f->n_terms++] = t;
	return filter_add_step(f, (uint16_t)(f->n_terms - 1));
}
