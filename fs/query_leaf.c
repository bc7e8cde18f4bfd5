/* SPDX-License-Identifier: Apache-2.0 */
/* query_leaf.c: the last component of a query path: a source and a format. */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fs/name.h"
#include "fs/query.h"
#include "fs/query_int.h"
#include "src/number.h"

static_assert(sizeof(((struct query *)0)->key) >= 64, "a NAME fits in key");

#define NAME_MAX_LEN 64

/* A leaf's text and the format behind its last dot. */
struct leaf {
	const char *text;
	size_t whole_len;
	size_t len;	     /* without what is, or may become, a format */
	enum answer_fmt fmt; /* ANSWER_FMTS: none */
	bool is_cut;	     /* what follows the dot may become a format */
};

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Whether text[len], maybe nothing, begins a format's word and is shorter. */
static bool is_fmt_cut(const char *text, size_t len)
{
	for (int fmt = 0; fmt < ANSWER_FMTS; fmt++) {
		const char *word = answer_get_fmt((enum answer_fmt)fmt);

		if (len < strlen(word) && memcmp(text, word, len) == 0)
			return true;
	}
	return false;
}

static struct leaf split(const char *text, size_t len)
{
	struct leaf leaf = {text, len, len, ANSWER_FMTS, false};
	const char *dot = memrchr(text, '.', len);

	if (!dot)
		return leaf;

	size_t stem = (size_t)(dot - text);
	size_t fmt_len = len - stem - 1;

	leaf.fmt = answer_find_fmt(dot + 1, fmt_len);
	leaf.is_cut = is_fmt_cut(dot + 1, fmt_len);
	if (leaf.fmt != ANSWER_FMTS || leaf.is_cut)
		leaf.len = stem;
	return leaf;
}

/* The outcome for a source that is complete: of its format, then the rest. */
static int finish(struct query *q, const struct leaf *leaf)
{
	if (leaf->is_cut)
		return -ENOENT;
	if (leaf->fmt != ANSWER_FMTS)
		q->fmt = leaf->fmt;
	return query_check(q);
}

static int refuse_count(struct query *q, size_t n, uint32_t dim)
{
	return query_refuse(q,
		"the query has %zu numbers, this collection has %u dimensions",
		n, dim);
}

/* A vector that is not all there may go on, unless a format ends it. */
static bool is_open_end(const struct leaf *leaf)
{
	return leaf->len == leaf->whole_len;
}

/* Room for n floats of one vector, in q. */
static int reserve(struct query *q, size_t n)
{
	assert(n > 0 && n <= VG_DIM_MAX);
	float *vec = malloc(n * sizeof(*vec));

	if (!vec)
		return -ENOMEM;
	free(q->vec);
	q->vec = vec;
	q->n_vec = 1;
	q->dim = (uint32_t)n;
	q->src = QUERY_VEC;
	return 0;
}

static int parse_csv(struct query *q, struct leaf leaf, uint32_t dim)
{
	const char *p = leaf.text, *end;
	size_t n = 1;
	int rc;

	/* A dot at the end may be the number's or a format's: wait and see. */
	if (leaf.is_cut && leaf.len + 1 == leaf.whole_len)
		leaf.len = leaf.whole_len;
	end = leaf.text + leaf.len;

	for (const char *c = p; c < end; c++)
		n += *c == ',';
	if (n > (dim ? dim : VG_DIM_MAX))
		return refuse_count(q, n, dim ? dim : VG_DIM_MAX);

	rc = reserve(q, n);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = number_scan(&p, end, &q->vec[i]);
		if (rc == -EINVAL && p == end && is_open_end(&leaf))
			return -ENOENT; /* more of it may make it a number */
		if (rc == -ERANGE)
			return query_refuse(q,
				"number %zu is too large for a float32", i + 1);
		if (rc == 0 && leaf.is_cut && p + 1 == end && *p == '.')
			p++;
		else if (rc == 0 && p < end && *p++ != ',')
			rc = -EINVAL;
		if (rc == -EINVAL)
			query_refuse(q, "number %zu of %.*s is none", i + 1,
				QUERY_QUOTE(leaf.text, leaf.len));
	}
	if (rc < 0)
		return rc;
	if (dim && n < dim)
		return is_open_end(&leaf) ? -ENOENT : refuse_count(q, n, dim);
	return finish(q, &leaf);
}

/* The six bits of a letter of base64url; -1: it is none. */
static int b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/*
 * Decodes the letters of text[len] into out[len / 4 * 3 + 2]. -EINVAL: bits
 * are set behind the last byte.
 */
static int b64_decode(const char *text, size_t len, uint8_t *out)
{
	uint32_t bits = 0;
	int n_bits = 0;

	for (size_t i = 0; i < len; i++) {
		assert(b64_value(text[i]) >= 0);
		bits = bits << 6 | (uint32_t)b64_value(text[i]);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			*out++ = (uint8_t)(bits >> n_bits);
			bits &= (1u << n_bits) - 1;
		}
	}
	return bits ? -EINVAL : 0;
}

/*
 * Four letters are three bytes, a vector's bytes a multiple of four. Padding
 * may be left out; where it stands it must make the length a multiple of four.
 * Returns the bytes in *n; -ENOENT: there are too few yet.
 */
static int b64_measure(struct query *q, const struct leaf *leaf, uint32_t dim,
	size_t *n)
{
	const size_t max = (dim ? dim : VG_DIM_MAX) * sizeof(float);
	size_t letters = leaf->len, rest, padding, bytes;

	while (letters > 0 && leaf->text[letters - 1] == '=')
		letters--;
	padding = leaf->len - letters;
	rest = letters % 4;
	bytes = letters / 4 * 3 + (rest ? rest - 1 : 0);
	for (size_t i = 0; i < letters; i++)
		if (b64_value(leaf->text[i]) < 0)
			return query_refuse(q,
				"b64: letter %zu is none of A-Z a-z 0-9 - _",
				i + 1);
	if (padding && (rest < 2 || padding > 4 - rest))
		return query_refuse(q, "b64: too many = at the end");
	if (bytes + (rest == 1) > max)
		return query_refuse(q,
			"b64: more than the %zu bytes of a vector", max);

	bool is_whole =
		rest != 1 &&
		(dim ? bytes == max : bytes > 0 && bytes % sizeof(float) == 0);

	if (is_whole && (!padding || rest + padding == 4)) {
		*n = bytes;
		return 0;
	}
	/* A second = may follow the first, and letters no =. */
	if (is_open_end(leaf) && (is_whole || !padding))
		return -ENOENT;
	return query_refuse(q, "b64: %zu bytes, a vector has %zu", bytes,
		dim ? max : sizeof(float));
}

static int parse_b64(struct query *q, struct leaf leaf, uint32_t dim)
{
	size_t n_bytes = 0, bad;
	int rc = b64_measure(q, &leaf, dim, &n_bytes);

	if (rc == 0)
		rc = reserve(q, n_bytes / sizeof(float));
	if (rc < 0)
		return rc;
	while (leaf.text[leaf.len - 1] == '=')
		leaf.len--;
	if (b64_decode(leaf.text, leaf.len, (uint8_t *)q->vec) < 0)
		return !dim && is_open_end(&leaf) ?
			       -ENOENT :
			       query_refuse(q,
				       "b64: bits are set behind the vector");
	bad = number_find_nonfinite(q->vec, q->dim);
	if (bad < q->dim)
		return query_refuse(q, "number %zu is not finite", bad + 1);
	return finish(q, &leaf);
}

static void set_key(struct query *q, enum query_src src, struct vg_id key)
{
	assert(key.len > 0 && key.len <= sizeof(q->key));
	memcpy(q->key, key.bytes, key.len);
	q->key_len = key.len;
	q->src = src;
}

static int parse_id(struct query *q, struct leaf leaf,
	const struct query_env *env)
{
	char buf[VG_ID_MAX];
	struct vg_id id;

	/* notes.t is an id; notes.tsv is one if there is such a record. */
	if (leaf.is_cut ||
		(leaf.fmt != ANSWER_FMTS && env->exists &&
			name_decode(leaf.text, leaf.whole_len, buf, &id) == 0 &&
			env->exists(env->ctx, id))) {
		leaf.len = leaf.whole_len;
		leaf.fmt = ANSWER_FMTS;
		leaf.is_cut = false;
	}
	if (name_decode(leaf.text, leaf.len, buf, &id) < 0)
		return -ENOENT; /* no record can have this name */
	set_key(q, QUERY_ID, id);
	return finish(q, &leaf);
}

static bool is_name(const char *text, size_t len)
{
	if (len == 0 || len > NAME_MAX_LEN ||
		!(is_letter(text[0]) || text[0] == '_'))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_letter(text[i]) && !is_digit(text[i]) &&
			text[i] != '_' && text[i] != '-')
			return false;
	return !query_is_reserved(text, len);
}

static int parse_word(struct query *q, struct leaf leaf)
{
	if (leaf.whole_len == 5 && memcmp(leaf.text, "count", 5) == 0) {
		q->src = QUERY_COUNT;
		return query_check(q);
	}
	if (leaf.len == 3 && memcmp(leaf.text, "all", 3) == 0)
		q->src = QUERY_ALL;
	else if (is_name(leaf.text, leaf.len))
		set_key(q, QUERY_NAME,
			(struct vg_id){leaf.text, (uint32_t)leaf.len});
	else
		return -ENOENT;
	return finish(q, &leaf);
}

/* facet=FIELD: spelled as the field of a filter. */
static int parse_facet(struct query *q, struct leaf leaf)
{
	char field[FILTER_FIELD_MAX];
	struct vg_id id = {field, 0};
	int rc;

	if (leaf.is_cut) { /* a.d is a field, whatever .dist would be */
		leaf.len = leaf.whole_len;
		leaf.is_cut = false;
	}
	if (leaf.len > 5 && memcmp(leaf.text, "meta.", 5) == 0) {
		leaf.text += 5;
		leaf.len -= 5;
	}
	if (leaf.len == 0)
		return -ENOENT;
	if (leaf.len > sizeof(field))
		return query_refuse(q, "a field has at most %d bytes",
			FILTER_FIELD_MAX);
	id.len = (uint32_t)filter_decode(leaf.text, leaf.len, field);
	rc = query_set_fields(q, &id, 1);
	q->src = QUERY_FACET;
	return rc < 0 ? rc : finish(q, &leaf);
}

int query_parse_leaf(struct query *q, const char *name, size_t len,
	const struct query_env *env)
{
	const char *eq = memchr(name, '=', len);
	struct leaf leaf = split(name, len);

	q->error[0] = '\0';
	if (len == 0)
		return -ENOENT;
	if (is_digit(name[0]) || name[0] == '-' || name[0] == '+')
		return parse_csv(q, leaf, env->dim);
	if (!eq)
		return parse_word(q, leaf);

	size_t word_len = (size_t)(eq - name);

	assert(leaf.len > word_len); /* no format has a = in it */
	leaf.text += word_len + 1;
	leaf.len -= word_len + 1;
	leaf.whole_len -= word_len + 1;
	if (word_len == 1 && name[0] == 'v')
		return parse_csv(q, leaf, env->dim);
	if (word_len == 3 && memcmp(name, "b64", 3) == 0)
		return parse_b64(q, leaf, env->dim);
	if (word_len == 2 && memcmp(name, "id", 2) == 0)
		return parse_id(q, leaf, env);
	if (word_len == 5 && memcmp(name, "facet", 5) == 0)
		return parse_facet(q, leaf);
	return -ENOENT;
}

int query_parse_name(const char *name, size_t len, struct vg_id *out)
{
	const char *dot = memchr(name, '.', len);
	size_t stem = dot ? (size_t)(dot - name) : len;

	if (!is_name(name, stem) || stem + 1 == len)
		return -EINVAL;
	for (size_t i = stem + 1; i < len; i++)
		if (!is_letter(name[i]) && !is_digit(name[i]))
			return -EINVAL;
	*out = (struct vg_id){name, (uint32_t)stem};
	return 0;
}
