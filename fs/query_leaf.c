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
#include "src/element.h"
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
	bool is_hits;	     /* it is none, but hits */
};

static const char hits[] = "hits";

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
	return len < strlen(hits) && memcmp(text, hits, len) == 0;
}

static struct leaf split(const char *text, size_t len)
{
	struct leaf leaf = {text, len, len, ANSWER_FMTS, false, false};
	const char *dot = memrchr(text, '.', len);

	if (!dot)
		return leaf;

	size_t stem = (size_t)(dot - text);
	size_t fmt_len = len - stem - 1;

	leaf.fmt = answer_find_fmt(dot + 1, fmt_len);
	leaf.is_cut = is_fmt_cut(dot + 1, fmt_len);
	leaf.is_hits = fmt_len == strlen(hits) &&
		       memcmp(dot + 1, hits, fmt_len) == 0;
	if (leaf.fmt != ANSWER_FMTS || leaf.is_cut || leaf.is_hits)
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
	if (leaf->is_hits) {
		q->is_hits = true;
		q->fmt = ANSWER_IDS;
		q->trailer = false;
	}
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

/* Room for n elements of one vector, in q. */
static int reserve(struct query *q, enum vg_dtype dtype, size_t n)
{
	assert(n > 0 && n <= VG_DIM_MAX);
	void *vec = malloc(vg_row_len(dtype, n));

	if (!vec)
		return -ENOMEM;
	free(q->vec);
	q->vec = vec;
	q->n_vec = 1;
	q->dim = (uint32_t)n;
	q->dtype = dtype;
	q->src = QUERY_VEC;
	return 0;
}

static enum vg_dtype dtype_of(const struct query_env *env)
{
	return env->dtype ? env->dtype : VG_F32;
}

/* The next number as element i of q's vector. -EDOM: it does not fit. */
static int scan_element(struct query *q, const char **p, const char *end,
	size_t i)
{
	double wide;
	float f;
	int rc;

	if (q->dtype == VG_F32) {
		rc = number_scan(p, end, &f);
		wide = rc == 0 ? (double)f : 0;
	} else {
		rc = number_scan_wide(p, end, false, &wide);
	}
	if (rc == 0 && !element_put(q->dtype, q->vec, i, wide))
		return -EDOM;
	return rc;
}

/* A list of n numbers that may be all: whether it is a vector. */
static int finish_csv(struct query *q, const struct leaf *leaf, uint32_t dim)
{
	if (dim && q->dim < dim)
		return is_open_end(leaf) ? -ENOENT :
					   refuse_count(q, q->dim, dim);
	if (q->dtype == VG_B1 && q->dim % 8 != 0)
		return is_open_end(leaf) ?
			       -ENOENT :
			       query_refuse(q, "bits fill whole bytes: a b1 "
					       "vector has a multiple of 8");
	return finish(q, leaf);
}

static int parse_csv(struct query *q, struct leaf leaf,
	const struct query_env *env)
{
	const char *p = leaf.text, *end;
	uint32_t dim = env->dim;
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

	rc = reserve(q, dtype_of(env), n);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = scan_element(q, &p, end, i);
		if (rc == -EINVAL && p == end && is_open_end(&leaf))
			return -ENOENT; /* more of it may make it a number */
		if (rc == -ERANGE)
			return query_refuse(q,
				"number %zu is too large for a %s", i + 1,
				q->dtype == VG_F32 ? "float32" : "float64");
		if (rc == -EDOM)
			return query_refuse(q, "number %zu is %s", i + 1,
				element_misfit(q->dtype));
		if (rc == 0 && leaf.is_cut && p + 1 == end && *p == '.')
			p++;
		else if (rc == 0 && p < end && *p++ != ',')
			rc = -EINVAL;
		if (rc == -EINVAL)
			query_refuse(q, "number %zu of %.*s is none", i + 1,
				QUERY_QUOTE(leaf.text, leaf.len));
	}
	return rc < 0 ? rc : finish_csv(q, &leaf, dim);
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
 * Four letters are three bytes, a vector's bytes those of its elements. Padding
 * may be left out; where it stands it must make the length a multiple of four.
 * Returns the bytes in *n; -ENOENT: there are too few yet.
 */
static int b64_measure(struct query *q, const struct leaf *leaf,
	const struct query_env *env, size_t *n)
{
	enum vg_dtype dtype = dtype_of(env);
	uint32_t dim = env->dim;
	const size_t max = vg_row_len(dtype, dim ? dim : VG_DIM_MAX);
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
		rest != 1 && (dim ? bytes == max : vg_dim_of(dtype, bytes) > 0);

	if (is_whole && (!padding || rest + padding == 4)) {
		*n = bytes;
		return 0;
	}
	/* A second = may follow the first, and letters no =. */
	if (is_open_end(leaf) && (is_whole || !padding))
		return -ENOENT;
	return query_refuse(q, "b64: %zu bytes, a vector has %zu", bytes,
		dim ? max : vg_row_len(dtype, 1));
}

static int parse_b64(struct query *q, struct leaf leaf,
	const struct query_env *env)
{
	enum vg_dtype dtype = dtype_of(env);
	size_t n_bytes = 0, bad;
	int rc = b64_measure(q, &leaf, env, &n_bytes);

	if (rc == 0)
		rc = reserve(q, dtype, vg_dim_of(dtype, n_bytes));
	if (rc < 0)
		return rc;
	while (leaf.text[leaf.len - 1] == '=')
		leaf.len--;
	if (b64_decode(leaf.text, leaf.len, (uint8_t *)q->vec) < 0)
		return !env->dim && is_open_end(&leaf) ?
			       -ENOENT :
			       query_refuse(q,
				       "b64: bits are set behind the vector");
	bad = element_find_nonfinite(dtype, q->vec, q->dim);
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

static bool exists(const struct query_env *env, struct vg_id id)
{
	return env->exists && env->exists(env->ctx, id);
}

/* All of it is the source. */
static void take_whole(struct leaf *leaf)
{
	leaf->len = leaf->whole_len;
	leaf->fmt = ANSWER_FMTS;
	leaf->is_cut = leaf->is_hits = false;
}

static int parse_id(struct query *q, struct leaf leaf,
	const struct query_env *env)
{
	char buf[VG_ID_MAX];
	struct vg_id id;

	/* notes.t is an id; notes.tsv is one if there is such a record. */
	if (leaf.is_cut ||
		((leaf.fmt != ANSWER_FMTS || leaf.is_hits) &&
			name_decode(leaf.text, leaf.whole_len, buf, &id) == 0 &&
			exists(env, id)))
		take_whole(&leaf);
	if (name_decode(leaf.text, leaf.len, buf, &id) < 0)
		return -ENOENT; /* no record can have this name */
	set_key(q, QUERY_ID, id);
	return finish(q, &leaf);
}

static int parse_like(struct query *q, struct leaf leaf,
	const struct query_env *env)
{
	int rc;

	if (leaf.is_cut)
		take_whole(&leaf);
	if ((leaf.fmt != ANSWER_FMTS || leaf.is_hits) &&
		query_set_like(q, leaf.text, leaf.whole_len) == 0) {
		/* As of id=, of the last one that was named. */
		const char *comma = memrchr(leaf.text, ',', leaf.whole_len);
		bool is_minus = (comma ? comma[1] : leaf.text[0]) == '-';

		if (exists(env, q->like[(is_minus ? q->n_like : q->n_plus) - 1]))
			take_whole(&leaf);
	}
	q->error[0] = '\0';
	rc = query_set_like(q, leaf.text, leaf.len);
	return rc < 0 ? rc : finish(q, &leaf);
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
	struct vg_id field = {0};
	int rc;

	/* a.d is a field, whatever .dist would be, and so is a.hits. */
	if (leaf.is_cut || leaf.is_hits)
		take_whole(&leaf);
	if (leaf.len == 0)
		return -ENOENT;
	rc = query_set_field(q, "facet",
		(struct vg_id){leaf.text, (uint32_t)leaf.len}, &field);
	if (rc == 0)
		rc = query_set_fields(q, &field, 1);
	query_free_field(&field);
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
		return parse_csv(q, leaf, env);
	if (!eq)
		return parse_word(q, leaf);

	size_t word_len = (size_t)(eq - name);

	assert(leaf.len > word_len); /* no format has a = in it */
	leaf.text += word_len + 1;
	leaf.len -= word_len + 1;
	leaf.whole_len -= word_len + 1;
	if (word_len == 1 && name[0] == 'v')
		return parse_csv(q, leaf, env);
	if (word_len == 3 && memcmp(name, "b64", 3) == 0)
		return parse_b64(q, leaf, env);
	if (word_len == 2 && memcmp(name, "id", 2) == 0)
		return parse_id(q, leaf, env);
	if (word_len == 4 && memcmp(name, "like", 4) == 0)
		return parse_like(q, leaf, env);
	if (word_len == 5 && memcmp(name, "facet", 5) == 0)
		return parse_facet(q, leaf);
	return -ENOENT;
}

void query_explain(struct query *q, const char *name, size_t len)
{
	static const char *const sources[] = {"id", "like", "v", "b64",
		"facet"};
	const char *eq = memchr(name, '=', len);
	size_t word = eq ? (size_t)(eq - name) : 0;

	if (word == 0 || memchr(name, '.', word) || query_find_param(name, word))
		return;
	for (size_t i = 0; i < VG_ARRAY_LEN(sources); i++)
		if (strlen(sources[i]) == word &&
			memcmp(name, sources[i], word) == 0)
			return;
	query_refuse(q,
		"there is no parameter %.*s: .help lists them; a filter is "
		"%.*s.eq=%.*s",
		QUERY_QUOTE(name, word), QUERY_QUOTE(name, word),
		QUERY_QUOTE(eq + 1, len - word - 1));
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
	if (dot && len - stem - 1 == strlen(hits) &&
		memcmp(dot + 1, hits, strlen(hits)) == 0)
		return -EINVAL;
	*out = (struct vg_id){name, (uint32_t)stem};
	return 0;
}
