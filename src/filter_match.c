/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_match.c: what filters say of one record, from its stored text.
 *
 * Nothing is unescaped as a whole: a string is looked at in pieces, which are
 * the text between two escapes, or what one escape stands for.
 */
#include <assert.h>
#include <string.h>

#include "src/filter_int.h"

/* A string's bytes, piece by piece. */
struct pieces {
	const char *at, *end;
	char escape[12];
};

/* The next piece; false: that was all. */
static bool next_piece(struct pieces *p, const char **bytes, size_t *len)
{
	if (p->at == p->end)
		return false;
	if (*p->at != '\\') {
		const char *escape = memchr(p->at, '\\',
			(size_t)(p->end - p->at));
		*bytes = p->at;
		p->at = escape ? escape : p->end;
		*len = (size_t)(p->at - *bytes);
		return true;
	}
	/* Two bytes, or six, or twelve: a pair of surrogates, d8 to db first. */
	struct json_token one = {.type = JSON_STRING, .is_escaped = true,
		.text = p->at, .len = 2};
	assert(p->end - p->at >= 2);
	if (p->at[1] == 'u') {
		bool is_pair = (p->at[2] | 0x20) == 'd' && p->at[3] > '7';
		one.len = is_pair ? 12 : 6;
	}
	assert((size_t)(p->end - p->at) >= one.len);
	*bytes = p->escape;
	*len = json_string_decode(&one, p->escape);
	p->at += one.len;
	return true;
}

/* The order of a string to text[len]; a prefix is 0 if is_prefix. */
static int compare_string(const struct json_token *token, const char *text,
	size_t len, bool is_prefix)
{
	struct pieces p = {.at = token->text, .end = token->text + token->len};
	const char *bytes;
	size_t at = 0, n;

	while (next_piece(&p, &bytes, &n)) {
		size_t both = VG_MIN(n, len - at);
		int order = memcmp(bytes, text + at, both);
		if (order != 0)
			return order;
		at += both;
		if (both < n)
			return is_prefix ? 0 : 1;
	}
	return at < len ? -1 : 0;
}

/* Knuth, Morris, Pratt 1977: skips[i] is how much of the text's beginning ends
 * at its byte i - 1, other than the whole; linear, whatever the bytes are. */
static bool contains_pieces(const struct json_token *token, const char *text,
	uint32_t len, const uint32_t *skips)
{
	struct pieces p = {.at = token->text, .end = token->text + token->len};
	const char *bytes;
	uint32_t k = 0;
	size_t n;

	assert(len > 0);
	while (next_piece(&p, &bytes, &n)) {
		for (size_t i = 0; i < n; i++) {
			while (k > 0 && bytes[i] != text[k])
				k = skips[k];
			k += bytes[i] == text[k];
			if (k == len)
				return true;
		}
	}
	return false;
}

static bool contains(const struct filter *f, const struct filter_term *t,
	const struct json_token *token)
{
	if (t->text_len == 0)
		return true;
	if (!token->is_escaped)
		return memmem(token->text, token->len, t->text, t->text_len);
	return contains_pieces(token, t->text, t->text_len,
		f->skips + t->skips);
}

static enum filter_type type_of(const struct json_token *token)
{
	switch (token->type) {
	case JSON_FALSE:
		return FILTER_FALSE;
	case JSON_TRUE:
		return FILTER_TRUE;
	case JSON_NUMBER:
		return FILTER_NUMBER;
	case JSON_STRING:
		return FILTER_STRING;
	default:
		return FILTER_NULL;
	}
}

/* The order of a token, taken apart if it is a number, to a value. */
static int compare_token(const struct filter_hit *hit,
	const struct decimal *num, const struct filter_value *v)
{
	enum filter_type type = type_of(&hit->token);

	if (type != v->type)
		return type < v->type ? -1 : 1;
	if (type == FILTER_NUMBER)
		return decimal_compare(num, &v->num);
	if (type == FILTER_STRING)
		return compare_string(&hit->token, v->text, v->len, false);
	return 0;
}

/* Whether the hit is one of the term's values, which are sorted. */
static bool is_among(const struct filter *f, const struct filter_term *t,
	const struct filter_hit *hit, const struct decimal *num)
{
	uint32_t lo = 0, hi = t->n_values;

	if (type_of(&hit->token) == FILTER_NULL)
		return false;
	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;
		int order = compare_token(hit, num,
			&f->values[t->values + middle]);
		if (order == 0)
			return true;
		if (order > 0)
			lo = middle + 1;
		else
			hi = middle;
	}
	return false;
}

static bool is_ordered(const struct filter *f, const struct filter_term *t,
	const struct filter_hit *hit, const struct decimal *num)
{
	const struct filter_value *v = &f->values[t->values];
	int order;

	assert(t->n_values == 1);
	if (type_of(&hit->token) != v->type)
		return false;
	order = compare_token(hit, num, v);
	switch (t->op) {
	case FILTER_GT:
		return order > 0;
	case FILTER_GTE:
		return order >= 0;
	case FILTER_LT:
		return order < 0;
	default:
		assert(t->op == FILTER_LTE);
		return order <= 0;
	}
}

/* Whether one hit makes the term true (of ne and nin: false). */
static bool hit_matches(const struct filter *f, const struct filter_term *t,
	const struct filter_hit *hit)
{
	bool is_string = hit->token.type == JSON_STRING;
	struct decimal num = {0};

	if (hit->token.type == JSON_NUMBER)
		num = decimal_scan(hit->token.text, (uint32_t)hit->token.len);
	switch (t->op) {
	case FILTER_EQ:
	case FILTER_NE:
	case FILTER_IN:
	case FILTER_NIN:
		return is_among(f, t, hit, &num);
	case FILTER_EXISTS:
		return true;
	case FILTER_PREFIX:
		return is_string && compare_string(&hit->token, t->text,
			t->text_len, true) == 0;
	case FILTER_CONTAINS:
		if (hit->is_element)
			return is_among(f, t, hit, &num);
		return is_string && contains(f, t, &hit->token);
	default:
		return is_ordered(f, t, hit, &num);
	}
}

int filter_term_matches(const struct filter *f, const struct filter_term *t,
	struct meta m, bool positive)
{
	bool is_there = false, matches = false;
	struct filter_walk w;
	struct filter_hit hit;
	int rc = 0;

	filter_walk_init(&w, m, t->field, t->field_len);
	while (!matches && (rc = filter_walk_next(&w, &hit)) > 0) {
		if (hit.token.type == JSON_NULL)
			continue;
		is_there = true;
		matches = hit_matches(f, t, &hit);
	}
	if (rc < 0)
		return rc;
	assert(!matches || is_there);
	if (positive)
		return matches;
	if (t->op == FILTER_NE || t->op == FILTER_NIN)
		return is_there && !matches;
	if (t->op == FILTER_EXISTS)
		return is_there == t->wants;
	return matches;
}

int filter_matches(const struct filter *f, struct meta m)
{
	bool held[FILTER_STACK_MAX];
	uint32_t n = 0;

	assert(f->depth <= FILTER_STACK_MAX);
	for (uint32_t i = 0; i < f->n_steps; i++) {
		uint16_t step = f->steps[i];
		if (step < FILTER_NOT) {
			int rc = filter_term_matches(f, &f->terms[step], m,
				false);
			if (rc < 0)
				return rc;
			held[n++] = rc > 0;
		} else if (step == FILTER_NOT) {
			held[n - 1] = !held[n - 1];
		} else {
			n--;
			held[n - 1] = step == FILTER_AND ?
				held[n - 1] && held[n] :
				held[n - 1] || held[n];
		}
	}
	assert(n == 1);
	return held[0];
}
