/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_where.c: expressions, read from left to right: Dijkstra's shunting
 * yard. What waits for its right side is on a stack; a term goes out at once,
 * an operator when one that binds less, a parenthesis or the end follows.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/filter_int.h"

enum kind { OPEN, OR, AND, NOT, CLOSE, TERM, END }; /* binding tighter */

struct waiting {
	enum kind kind;
	size_t at;
};

/* In each parenthesis one `or` and one `and` can wait. */
#define WAITING_MAX (3 * (FILTER_DEPTH_MAX + 1))

struct parser {
	struct filter *f;
	struct filter_why *why;
	const char *text, *at, *end;
	const char *token; /* what was read last begins here */
	struct waiting waiting[WAITING_MAX];
	uint32_t n_waiting;
	uint32_t depth; /* parentheses and nots that wait */
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t position(const struct parser *p, const char *at)
{
	return (size_t)(at - p->text) + 1;
}

/* Behind a JSON array that begins at `at`, if it is one; or at. */
static const char *pass_array(const char *at, const char *end)
{
	struct json_token first, whole;
	struct json j;

	json_init(&j, at, (size_t)(end - at));
	if (json_next(&j, &first) < 0 || json_skip(&j, &first, &whole) < 0)
		return at;
	return whole.text + whole.len;
}

/* Where the VALUE at `at` ends. *open: a quote that nothing closes. */
static const char *value_end(const char *at, const char *end, bool is_list,
	const char **open)
{
	bool is_first = true;
	uint32_t depth = 0;

	*open = NULL;
	if (is_list && at < end && *at == '[')
		at = pass_array(at, end);
	/* Each turn passes a byte or a string. */
	while (at < end && !is_blank(*at)) {
		if (*at == ')' && depth == 0)
			break;
		if (*at == '"' && is_first) {
			const char *behind = filter_quoted(at, end);
			*open = behind ? NULL : at;
			if (!behind)
				break;
			at = behind;
			is_first = false;
			continue;
		}
		depth += *at == '(';
		depth -= *at == ')';
		is_first = is_list && *at == ',';
		at++;
	}
	return at;
}

/* Whether the operator that ends before equals is in or nin. */
static bool is_list_op(const char *term, const char *equals)
{
	const char *dot = memrchr(term, '.', (size_t)(equals - term));
	size_t len = dot ? (size_t)(equals - dot) - 1 : 0;

	return (len == 2 && memcmp(dot + 1, "in", 2) == 0) ||
		(len == 3 && memcmp(dot + 1, "nin", 3) == 0);
}

static int refuse_word(struct parser *p, size_t len)
{
	char shown[FILTER_SHOW_LEN + 4];

	return filter_refuse(p->why, position(p, p->token),
		"'%s' is no filter; FIELD.OP=VALUE is, joined by and, or, not "
		"and parentheses; white space in FIELD is %%20",
		filter_show(p->token, len, shown));
}

/* The next token from at to p->at; a TERM is whole. */
static int next_token(struct parser *p, enum kind *kind)
{
	const char *open;
	size_t len;

	while (p->at < p->end && is_blank(*p->at))
		p->at++;
	p->token = p->at;
	*kind = END;
	if (p->at == p->end)
		return 0;
	if (*p->at == '(' || *p->at == ')') {
		*kind = *p->at++ == '(' ? OPEN : CLOSE;
		return 0;
	}
	while (p->at < p->end && !is_blank(*p->at) && *p->at != '=' &&
		*p->at != '(' && *p->at != ')')
		p->at++;
	len = (size_t)(p->at - p->token);
	if (p->at == p->end || *p->at != '=') {
		*kind = len == 3 && memcmp(p->token, "and", 3) == 0 ? AND :
			len == 3 && memcmp(p->token, "not", 3) == 0 ? NOT :
			len == 2 && memcmp(p->token, "or", 2) == 0  ? OR :
								      END;
		return *kind == END ? refuse_word(p, len) : 0;
	}
	*kind = TERM;
	p->at = value_end(p->at + 1, p->end, is_list_op(p->token, p->at),
		&open);
	if (open)
		return filter_refuse(p->why, position(p, open),
			"the string that begins here has no closing quote; "
			"put \" behind it, or %%22 for a literal one");
	return 0;
}

static int push(struct parser *p, enum kind kind)
{
	bool is_deep = kind == OPEN || kind == NOT;

	if (is_deep && p->depth == FILTER_DEPTH_MAX)
		return filter_refuse(p->why, position(p, p->token),
			"more than %d parentheses and nots are open; take away "
			"those that change nothing", FILTER_DEPTH_MAX);
	p->depth += is_deep;
	assert(p->n_waiting < WAITING_MAX);
	p->waiting[p->n_waiting++] = (struct waiting){kind,
		(size_t)(p->token - p->text)};
	return 0;
}

/* What waits and binds at least as tight as kind goes out. */
static int pop_down_to(struct parser *p, enum kind kind)
{
	static const uint16_t steps[] = {[OR] = FILTER_OR, [AND] = FILTER_AND,
		[NOT] = FILTER_NOT};
	int rc = 0;

	assert(kind > OPEN && kind <= NOT);
	while (rc == 0 && p->n_waiting > 0 &&
		p->waiting[p->n_waiting - 1].kind >= kind) {
		enum kind top = p->waiting[--p->n_waiting].kind;
		p->depth -= top == NOT;
		rc = filter_add_step(p->f, steps[top]);
	}
	return rc;
}

static int close_one(struct parser *p)
{
	int rc = pop_down_to(p, OR);

	if (rc < 0)
		return rc;
	if (p->n_waiting == 0)
		return filter_refuse(p->why, position(p, p->token),
			"this ) closes nothing; take it away, or write %%29 in "
			"a value");
	assert(p->waiting[p->n_waiting - 1].kind == OPEN);
	p->n_waiting--;
	p->depth--;
	return 0;
}

/* Where a term, not or ( must come; *is_more: it was no term yet. */
static int parse_operand(struct parser *p, enum kind kind, bool *is_more)
{
	*is_more = kind == OPEN || kind == NOT;
	if (*is_more)
		return push(p, kind);
	if (kind == TERM)
		return filter_add_term(p->f, p->token,
			(size_t)(p->at - p->token),
			(size_t)(p->token - p->text), p->why);
	return filter_refuse(p->why, position(p, p->token),
		"a filter is missing here; FIELD.OP=VALUE, as in "
		"year.gte=2020");
}

/* Behind a term; *is_more: another must come. */
static int parse_behind(struct parser *p, enum kind kind, bool *is_more)
{
	int rc;

	*is_more = kind == AND || kind == OR;
	if (kind == CLOSE)
		return close_one(p);
	if (!*is_more)
		return filter_refuse(p->why, position(p, p->token),
			"'and' or 'or' is missing before this; white space in "
			"a value is %%20, or in double quotes");
	rc = pop_down_to(p, kind);
	return rc < 0 ? rc : push(p, kind);
}

static int parse(struct parser *p)
{
	bool is_operand = true;
	enum kind kind;
	int rc;

	/* Each turn passes a token. */
	for (;;) {
		rc = next_token(p, &kind);
		if (rc == 0 && kind == END && !is_operand)
			break;
		if (rc == 0 && is_operand)
			rc = parse_operand(p, kind, &is_operand);
		else if (rc == 0)
			rc = parse_behind(p, kind, &is_operand);
		if (rc < 0)
			return rc;
	}
	rc = pop_down_to(p, OR);
	if (rc == 0 && p->n_waiting > 0)
		rc = filter_refuse(p->why,
			p->waiting[p->n_waiting - 1].at + 1,
			"this ( is not closed; put ) behind its last filter");
	return rc;
}

/* Zeroed, with room for all bytes that a text of len can become: text is
 * decoded once as a whole and once as a value. */
static int filter_new(size_t len, struct filter_why *why, struct filter **out)
{
	struct filter *f;

	if (len > FILTER_LEN_MAX)
		return filter_refuse(why, 1, "a filter is at most %u bytes",
			FILTER_LEN_MAX);
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->bytes = malloc(2 * len + 1);
	if (!f->bytes) {
		free(f);
		return -ENOMEM;
	}
	*out = f;
	return 0;
}

int filter_parse_term(const char *text, size_t len, struct filter_why *why,
	struct filter **out)
{
	struct filter *f = NULL;
	int rc = filter_new(len, why, &f);

	if (rc == 0)
		rc = filter_add_term(f, text, len, 0, why);
	if (rc < 0) {
		filter_free(f);
		return rc;
	}
	assert(f->held == 1 && f->n_bytes <= 2 * len);
	*out = f;
	return 0;
}

int filter_parse_where(const char *text, size_t len, struct filter_why *why,
	struct filter **out)
{
	struct parser p = {.why = why, .text = text, .at = text,
		.end = text + len};
	int rc = filter_new(len, why, &p.f);

	if (rc == 0)
		rc = parse(&p);
	if (rc < 0) {
		filter_free(p.f);
		return rc;
	}
	assert(p.f->held == 1 && p.f->n_bytes <= 2 * len);
	*out = p.f;
	return 0;
}
