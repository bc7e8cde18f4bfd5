/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.c: see json.h.
 *
 * The state is what may come next (enum json_expect) and, for each open
 * container, one bit that says whether it is an object. A comma is read with
 * what follows it, a colon with the key before it, so between two calls the
 * scanner stands behind a token: at a value, behind one, or at the beginning
 * of a container, the only place where a closing bracket may follow at once.
 */
#include "src/json.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "src/number.h"

enum json_expect {
	EXPECT_VALUE,	    /* at the begin, or behind a key */
	EXPECT_FIRST_VALUE, /* behind [ */
	EXPECT_FIRST_KEY,   /* behind { */
	EXPECT_MORE,	    /* behind a value: a comma, a bracket or the end */
};

void json_init(struct json *j, const char *text, size_t len)
{
	assert(text || len == 0);
	*j = (struct json){.expect = EXPECT_VALUE};
	j->begin = j->at = text ? text : "";
	j->end = j->begin + len;
}

size_t json_position(const struct json *j)
{
	return (size_t)(j->at - j->begin) + 1;
}

/* The one way out with an error: the scanner stands at the byte at fault. */
static int fail(struct json *j, const char *at, const char *why)
{
	assert(at >= j->begin && at <= j->end);
	j->at = at;
	j->is_cut = at == j->end;
	j->why = j->is_cut ? "the text ends too early" : why;
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	return at;
}

/* The bytes of the UTF-8 sequence at p, 1 to 4; 0: it is none, and *is_cut
 * says whether only because the end is too near. */
static size_t utf8_len(const char *p, const char *end, bool *is_cut)
{
	unsigned char c = (unsigned char)p[0], lo = 0x80, hi = 0xbf;
	size_t n;

	assert(p < end);
	*is_cut = false;
	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (c == 0xe0)
		lo = 0xa0; /* below: overlong */
	else if (c == 0xed)
		hi = 0x9f; /* above: surrogates */
	else if (c == 0xf0)
		lo = 0x90; /* below: overlong */
	else if (c == 0xf4)
		hi = 0x8f; /* above: beyond U+10FFFF */
	for (size_t i = 1; i < n; i++) {
		if (p + i == end) {
			*is_cut = true;
			return 0;
		}
		unsigned char next = (unsigned char)p[i];
		if (next < lo || next > hi)
			return 0;
		lo = 0x80;
		hi = 0xbf;
	}
	return n;
}

bool json_is_utf8(const char *bytes, size_t len)
{
	const char *end = bytes + len;
	bool is_cut;

	while (bytes < end) {
		size_t n = utf8_len(bytes, end, &is_cut);
		if (n == 0)
			return false;
		bytes += n;
	}
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at p; the unit, or -1 with *p at the fault. */
static int hex_unit(const char **p, const char *end)
{
	int unit = 0;

	for (int i = 0; i < 4; i++, (*p)++) {
		int digit = *p < end ? hex_value(**p) : -1;
		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

static bool is_high(int unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Passes an escape; *p stands at its backslash. */
static int scan_escape(struct json *j, const char **p)
{
	const char *start = *p, *at = start + 1;
	int unit;

	assert(*start == '\\' && at <= j->end);
	if (at == j->end)
		return fail(j, at, NULL);
	if (*at != 'u') {
		if (!memchr("\"\\/bfnrt", *at, 8))
			return fail(j, at, "no such escape");
		*p = at + 1;
		return 0;
	}
	at++;
	unit = hex_unit(&at, j->end);
	if (unit < 0)
		return fail(j, at, "\\u takes four hexadecimal digits");
	if (is_high(unit)) {
		static const char next[] = "\\u";
		for (size_t i = 0; i < 2; i++, at++) {
			if (at == j->end)
				return fail(j, at, NULL);
			if (*at != next[i])
				return fail(j, start, "a lone surrogate");
		}
		unit = hex_unit(&at, j->end);
		if (unit < 0)
			return fail(j, at, "\\u takes four hexadecimal digits");
		if (!is_low(unit))
			return fail(j, start, "a lone surrogate");
	} else if (is_low(unit)) {
		if (!j->takes_bytes || unit < 0xdc80 || unit > 0xdcff)
			return fail(j, start, "a lone surrogate");
	}
	*p = at;
	return 0;
}

/* Passes a string whose opening quote is at j->at, and its closing quote. */
static int scan_string(struct json *j, struct json_token *out)
{
	const char *at = j->at + 1;
	bool is_cut;

	assert(*j->at == '"');
	out->text = at;
	out->is_escaped = false;
	while (at < j->end && *at != '"') {
		unsigned char c = (unsigned char)*at;
		if (c == '\\') {
			int rc = scan_escape(j, &at);
			if (rc < 0)
				return rc;
			out->is_escaped = true;
		} else if (c < 0x20) {
			return fail(j, at,
				"a control character stands in a string");
		} else if (c < 0x80) {
			at++;
		} else {
			size_t n = utf8_len(at, j->end, &is_cut);
			if (n == 0)
				return fail(j, is_cut ? j->end : at,
					"not UTF-8");
			at += n;
		}
	}
	if (at == j->end)
		return fail(j, at, NULL);
	out->len = (size_t)(at - out->text);
	j->at = at + 1;
	return 0;
}

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && (unsigned char)(*at - '0') < 10)
		at++;
	return at;
}

/* At least one digit must stand at *p. */
static int scan_digits(struct json *j, const char **p)
{
	const char *after = skip_digits(*p, j->end);

	if (after == *p)
		return fail(j, after, "a digit is missing");
	*p = after;
	return 0;
}

static int scan_number(struct json *j, struct json_token *out)
{
	const char *at = j->at, *first;
	int rc;

	assert(at < j->end);
	at += *at == '-';
	first = at;
	rc = scan_digits(j, &at);
	if (rc < 0)
		return rc;
	if (*first == '0' && at - first > 1)
		return fail(j, first, "a number begins with 0");
	if (at < j->end && *at == '.') {
		at++;
		rc = scan_digits(j, &at);
		if (rc < 0)
			return rc;
	}
	if (at < j->end && (*at | 0x20) == 'e') {
		at++;
		if (at < j->end && (*at == '+' || *at == '-'))
			at++;
		rc = scan_digits(j, &at);
		if (rc < 0)
			return rc;
	}
	out->type = JSON_NUMBER;
	out->text = j->at;
	out->len = (size_t)(at - j->at);
	j->at = at;
	return 0;
}

static int scan_word(struct json *j, struct json_token *out)
{
	static const struct {
		const char *text;
		enum json_type type;
	} words[] = {{"true", JSON_TRUE}, {"false", JSON_FALSE},
		{"null", JSON_NULL}};

	for (size_t i = 0; i < VG_ARRAY_LEN(words); i++) {
		const char *text = words[i].text;
		size_t len = strlen(text), room = (size_t)(j->end - j->at);
		if (*j->at != text[0])
			continue;
		if (memcmp(j->at, text, VG_MIN(len, room)) != 0)
			break;
		if (room < len)
			return fail(j, j->end, NULL);
		out->type = words[i].type;
		out->text = j->at;
		out->len = len;
		j->at += len;
		return 0;
	}
	return fail(j, j->at, "this is no JSON value");
}

/* Opens the container whose bracket is at j->at. */
static int push(struct json *j, bool is_object, struct json_token *out)
{
	uint64_t *word = &j->objects[j->depth / 64 % 2];
	uint64_t bit = 1ull << j->depth % 64;

	assert(j->depth <= JSON_DEPTH_MAX);
	if (j->depth == JSON_DEPTH_MAX)
		return fail(j, j->at, "it is nested too deep");
	*word = is_object ? *word | bit : *word & ~bit;
	j->depth++;
	j->expect = is_object ? EXPECT_FIRST_KEY : EXPECT_FIRST_VALUE;
	out->type = is_object ? JSON_OBJECT : JSON_ARRAY;
	out->text = j->at++;
	out->len = 1;
	return 0;
}

static bool is_in_object(const struct json *j)
{
	uint32_t top = j->depth - 1;

	assert(j->depth > 0 && j->depth <= JSON_DEPTH_MAX);
	return j->objects[top / 64] >> top % 64 & 1;
}

/* Closes the innermost container; its bracket is at j->at. */
static int pop(struct json *j, struct json_token *out)
{
	assert(j->at < j->end && *j->at == (is_in_object(j) ? '}' : ']'));
	out->type = is_in_object(j) ? JSON_OBJECT_END : JSON_ARRAY_END;
	out->text = j->at++;
	out->len = 1;
	j->depth--;
	j->expect = EXPECT_MORE;
	return 0;
}

static int scan_value(struct json *j, struct json_token *out)
{
	int rc;

	switch (*j->at) {
	case '{':
		return push(j, true, out);
	case '[':
		return push(j, false, out);
	case '"':
		out->type = JSON_STRING;
		rc = scan_string(j, out);
		break;
	case '-':
	case '0' ... '9':
		rc = scan_number(j, out);
		break;
	default:
		rc = scan_word(j, out);
	}
	if (rc == 0)
		j->expect = EXPECT_MORE;
	return rc;
}

static int scan_key(struct json *j, struct json_token *out)
{
	int rc;

	if (j->at == j->end || *j->at != '"')
		return fail(j, j->at, "a member's name in quotes is missing");
	out->type = JSON_KEY;
	rc = scan_string(j, out);
	if (rc < 0)
		return rc;
	j->at = skip_blanks(j->at, j->end);
	if (j->at == j->end || *j->at != ':')
		return fail(j, j->at, "a colon is missing");
	j->at++;
	j->expect = EXPECT_VALUE;
	return 0;
}

/* Behind a value: a comma and what follows it, a bracket, or the end. */
static int scan_more(struct json *j, struct json_token *out)
{
	if (j->depth == 0) {
		if (j->at < j->end)
			return fail(j, j->at, "something follows the JSON "
				"value");
		*out = (struct json_token){JSON_END, false, j->at, 0};
		return 0;
	}
	bool is_object = is_in_object(j);
	if (j->at < j->end && *j->at == (is_object ? '}' : ']'))
		return pop(j, out);
	if (j->at == j->end || *j->at != ',')
		return fail(j, j->at, is_object ? "a comma or } is missing" :
			"a comma or ] is missing");
	j->at = skip_blanks(j->at + 1, j->end);
	if (is_object)
		return scan_key(j, out);
	if (j->at == j->end)
		return fail(j, j->at, NULL);
	return scan_value(j, out);
}

int json_next(struct json *j, struct json_token *out)
{
	struct json_token token = {0};
	int rc = -EINVAL;

	j->at = skip_blanks(j->at, j->end);
	if (j->expect == EXPECT_MORE)
		rc = scan_more(j, &token);
	else if (j->at == j->end)
		rc = fail(j, j->at, NULL);
	else if (j->expect == EXPECT_FIRST_KEY && *j->at == '}')
		rc = pop(j, &token);
	else if (j->expect == EXPECT_FIRST_KEY)
		rc = scan_key(j, &token);
	else if (j->expect == EXPECT_FIRST_VALUE && *j->at == ']')
		rc = pop(j, &token);
	else
		rc = scan_value(j, &token);
	assert(j->at <= j->end && (rc == 0 || j->why));
	if (rc == 0)
		*out = token;
	return rc;
}

int json_skip(struct json *j, const struct json_token *first,
	struct json_token *out)
{
	bool is_container = first->type == JSON_OBJECT ||
		first->type == JSON_ARRAY;
	uint32_t depth = j->depth - is_container;
	struct json_token token;

	assert(first->type != JSON_KEY && first->type != JSON_END);
	/* Each turn reads a token, so the text's end ends it. */
	while (j->depth > depth) {
		int rc = json_next(j, &token);
		if (rc < 0)
			return rc;
	}
	assert(j->depth == depth && first->text < j->at);
	token = *first;
	token.text -= first->type == JSON_STRING; /* the quote */
	token.len = (size_t)(j->at - token.text);
	*out = token;
	return 0;
}

/* 1: a number comes next, at *number; 0 and -EINVAL as json_next_float. */
static inline int find_number(struct json *j, const char **number)
{
	const char *at = skip_blanks(j->at, j->end);
	struct json_token bracket;

	assert(j->depth > 0 && j->expect != EXPECT_FIRST_KEY);
	if (j->expect == EXPECT_MORE && at < j->end && *at == ',') {
		at = skip_blanks(at + 1, j->end);
	} else if (at < j->end && *at == ']') {
		j->at = at;
		pop(j, &bracket);
		return 0;
	} else if (j->expect == EXPECT_MORE) {
		return fail(j, at, "a comma or ] is missing");
	}
	if (at == j->end)
		return fail(j, at, NULL);
	*number = at;
	return 1;
}

/* Passes a number that was scanned with rc up to `at`. */
static inline int end_number(struct json *j, const char *at, int rc,
	const char *beyond)
{
	if (rc == -ERANGE)
		return fail(j, at, beyond);
	if (rc < 0)
		return fail(j, at, "this is no number");
	j->at = at;
	j->expect = EXPECT_MORE;
	return 1;
}

int json_next_float(struct json *j, float *out)
{
	const char *at;
	int rc = find_number(j, &at);

	if (rc <= 0)
		return rc;
	rc = number_scan_json(&at, j->end, out);
	return end_number(j, at, rc, "the number is beyond float32's range");
}

int json_next_double(struct json *j, double *out)
{
	const char *at;
	int rc = find_number(j, &at);

	if (rc <= 0)
		return rc;
	rc = number_scan_wide(&at, j->end, true, out);
	return end_number(j, at, rc, "the number is beyond float64's range");
}
