/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_walk.c: finds a field in metadata, in one pass over its tokens.
 *
 * A field a.b.c may be the keys "a" "b" "c", "a.b" "c", "a" "b.c" or "a.b.c":
 * from[depth] is where in the field the keys of the object that is open at that
 * depth begin, and an object is entered only behind a key that the field has
 * there, with a dot behind it. So every reading is met where it stands.
 */
#include <assert.h>
#include <string.h>

#include "src/filter_int.h"

void filter_walk_init(struct filter_walk *w, struct meta m, const char *field,
	uint32_t field_len)
{
	assert(field_len > 0);
	json_init(&w->j, m.json, m.len);
	w->field = field;
	w->field_len = field_len;
	w->from[1] = 0;
	w->is_in_array = false;
	w->is_over = m.len == 0;
	w->is_plain = !memchr(field, '.', field_len);
}

/* How many bytes of rest[len] the key is, up to a dot or the end; 0: none. A
 * key that is empty is found by *is_key. */
static uint32_t match_key(const struct json_token *key, const char *rest,
	uint32_t len, bool *is_key)
{
	const char *end = rest + len;

	assert(key->type == JSON_KEY);
	/* Each turn goes to another dot. */
	for (const char *at = rest;; at++) {
		if (!key->is_escaped) {
			if (key->len > len)
				break;
			at = rest + key->len;
		} else {
			const char *dot = memchr(at, '.', (size_t)(end - at));
			at = dot ? dot : end;
		}
		*is_key = (at == end || *at == '.') &&
			json_string_is(key, rest, (size_t)(at - rest));
		if (*is_key)
			return (uint32_t)(at - rest);
		if (at == end || !key->is_escaped)
			break;
	}
	*is_key = false;
	return 0;
}

/* Passes the value that begins with first. */
static int pass(struct filter_walk *w, const struct json_token *first)
{
	struct json_token whole;

	return json_skip(&w->j, first, &whole) < 0 ? -VG_ECORRUPT : 0;
}

/* A member whose key was read: 1 and a hit, or 0: look on. */
static int take_member(struct filter_walk *w, const struct json_token *key,
	struct filter_hit *hit)
{
	uint32_t from = w->from[w->j.depth], rest = w->field_len - from;
	bool is_key;
	uint32_t len = match_key(key, w->field + from, rest, &is_key);
	struct json_token value;

	assert(from <= w->field_len && len <= rest);
	if (json_next(&w->j, &value) < 0)
		return -VG_ECORRUPT;
	if (is_key && len < rest && value.type == JSON_OBJECT) {
		w->from[w->j.depth] = from + len + 1;
		return 0;
	}
	if (!is_key || len < rest)
		return pass(w, &value);
	*hit = (struct filter_hit){.token = value};
	w->is_over = w->is_plain;
	if (value.type == JSON_ARRAY)
		w->is_in_array = true;
	else if (value.type == JSON_OBJECT && pass(w, &value) < 0)
		return -VG_ECORRUPT;
	return 1;
}

/* An element: 1 and a hit, or 0: it is none, or the array's end. */
static int take_element(struct filter_walk *w, struct filter_hit *hit)
{
	struct json_token token;

	assert(w->is_in_array);
	if (json_next(&w->j, &token) < 0)
		return -VG_ECORRUPT;
	switch (token.type) {
	case JSON_ARRAY_END:
		w->is_in_array = false;
		return 0;
	case JSON_ARRAY:
	case JSON_OBJECT:
	case JSON_NULL:
		return pass(w, &token);
	default:
		*hit = (struct filter_hit){.is_element = true, .token = token};
		return 1;
	}
}

int filter_walk_next(struct filter_walk *w, struct filter_hit *hit)
{
	struct json_token token;
	int rc = 0;

	/* Each turn reads a token, so the text's end ends it. */
	while (rc == 0 && (!w->is_over || w->is_in_array)) {
		if (w->is_in_array) {
			rc = take_element(w, hit);
			continue;
		}
		if (json_next(&w->j, &token) < 0)
			return -VG_ECORRUPT;
		if (token.type == JSON_KEY)
			rc = take_member(w, &token, hit);
		else if (token.type == JSON_END)
			w->is_over = true;
		else if (token.type != JSON_OBJECT_END &&
			(token.type != JSON_OBJECT || w->j.depth != 1))
			return -VG_ECORRUPT;
	}
	assert(rc != 0 || w->is_over);
	return rc;
}
