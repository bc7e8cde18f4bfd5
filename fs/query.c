/* SPDX-License-Identifier: Apache-2.0 */
/* query.c: parameters of a query: their words, values, and normal form. */
#include "fs/query.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fs/query_int.h"
#include "src/element.h"
#include "src/number.h"

/* In the order in which query_format_params writes them. */
static const struct query_param params[] = {
	{"k", QUERY_UINT, 1, VG_K_MAX, offsetof(struct query, k)},
	{"offset", QUERY_UINT, 0, VG_K_MAX, offsetof(struct query, offset)},
	{"ef", QUERY_UINT, 1, VG_EF_MAX, offsetof(struct query, ef)},
	{"nprobe", QUERY_UINT, 1, QUERY_NPROBE_MAX,
		offsetof(struct query, nprobe)},
	{"max_dist", QUERY_FLOAT, 0, 0, offsetof(struct query, max_dist)},
	{"min_score", QUERY_FLOAT, 0, 0, offsetof(struct query, min_score)},
	{"exact", QUERY_FLAG, 0, 1, offsetof(struct query, exact)},
	{"fields", QUERY_FIELDS, 0, 0, 0},
	{"timeout", QUERY_UINT, 1, QUERY_TIMEOUT_MAX_MS,
		offsetof(struct query, timeout_ms)},
	{"threads", QUERY_UINT, 1, QUERY_THREADS_MAX,
		offsetof(struct query, threads)},
	{"partial", QUERY_FLAG, 0, 1, offsetof(struct query, partial)},
	{"strict", QUERY_FLAG, 0, 1, offsetof(struct query, strict)},
	{"trailer", QUERY_FLAG, 0, 1, offsetof(struct query, trailer)},
	{"fmt", QUERY_FMT, 0, 0, 0},
	{"snap", QUERY_SNAP, 0, 0, 0},
	{"where", QUERY_WHERE, 0, 0, 0},
	{"order", QUERY_ORDER, 0, 0, 0},
	{"group", QUERY_GROUP, 0, 0, 0},
};

/* Words that no NAME may take: some stand for what is not built yet, so that
 * no name in use changes its meaning then. */
static const char *const reserved[] = {"count", "all", "consistency",
	"facet", "like", "text", "meta"};

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(text, word, len) == 0;
}

const struct query_param *query_find_param(const char *word, size_t len)
{
	for (size_t i = 0; i < VG_ARRAY_LEN(params); i++)
		if (is_word(word, len, params[i].word))
			return &params[i];
	return NULL;
}

bool query_is_reserved(const char *word, size_t len)
{
	for (size_t i = 0; i < VG_ARRAY_LEN(reserved); i++)
		if (is_word(word, len, reserved[i]))
			return true;
	return query_find_param(word, len) != NULL;
}

int query_refuse(struct query *q, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(q->error, sizeof(q->error), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void query_init(struct query *q)
{
	/* Not the whole of it: key and error are only read once written. */
	q->src = QUERY_NONE;
	q->fmt = ANSWER_NDJSON;
	q->k = 10;
	q->offset = q->ef = q->nprobe = q->timeout_ms = q->threads = 0;
	q->max_dist = INFINITY;
	q->min_score = -INFINITY;
	q->exact = q->partial = q->strict = q->trailer = q->has_k = false;
	q->is_hits = false;
	q->fields = NULL;
	q->like = NULL;
	q->n_like = q->n_plus = 0;
	q->filter = NULL;
	q->order = q->group = (struct vg_id){0};
	q->is_desc = false;
	q->vec = NULL;
	q->n_fields = q->n_vec = q->dim = q->key_len = q->snap_len = 0;
	q->error[0] = '\0';
}

void query_fini(struct query *q)
{
	free(q->fields);
	free(q->like);
	free(q->vec);
	filter_free(q->filter);
	query_free_field(&q->order);
	query_free_field(&q->group);
	q->fields = q->like = NULL;
	q->vec = NULL;
	q->filter = NULL;
	q->n_fields = q->n_vec = q->n_like = 0;
}

static int copy_field(struct vg_id from, struct vg_id *field)
{
	char *bytes;

	if (from.len == 0)
		return 0;
	bytes = malloc(from.len);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, from.bytes, from.len);
	*field = (struct vg_id){bytes, from.len};
	return 0;
}

static int copy_filter(struct query *q, const struct filter *from)
{
	const struct filter *parts[] = {from};

	return from ? filter_join(parts, 1, &q->filter) : 0;
}

int query_init_from(struct query *q, const struct query *from)
{
	int rc = 0;

	query_init(q);
	if (from->fields)
		rc = query_set_fields(q, from->fields, from->n_fields);
	assert(rc != -EINVAL); /* they were checked when from got them */
	if (rc == 0)
		rc = copy_filter(q, from->filter);
	if (rc == 0)
		rc = copy_field(from->order, &q->order);
	if (rc == 0)
		rc = copy_field(from->group, &q->group);
	if (rc < 0) {
		query_fini(q);
		return rc;
	}
	q->is_desc = from->is_desc;
	q->fmt = from->fmt;
	for (size_t i = 0; i < VG_ARRAY_LEN(params); i++) {
		size_t at = params[i].at;
		size_t len = params[i].kind == QUERY_FLAG ? sizeof(bool) : 4;

		if (at)
			memcpy((char *)q + at, (const char *)from + at, len);
	}
	q->has_k = from->has_k;
	q->snap_len = from->snap_len;
	memcpy(q->snap, from->snap, from->snap_len);
	return 0;
}

/* Copies the fields and their bytes into one block, so that one free does. */
int query_set_fields(struct query *q, const struct vg_id *fields, uint32_t n)
{
	size_t bytes = 0;

	if (n == 0)
		return query_refuse(q, "fields: name one or more");
	if (n > QUERY_FIELDS_MAX)
		return query_refuse(q, "fields: at most %d", QUERY_FIELDS_MAX);
	for (uint32_t i = 0; i < n; i++) {
		if (fields[i].len == 0)
			return query_refuse(q, "fields: a name is empty");
		for (uint32_t j = 0; j < i; j++)
			if (fields[i].len == fields[j].len &&
				memcmp(fields[i].bytes, fields[j].bytes,
					fields[i].len) == 0)
				return query_refuse(q, "fields: %.*s twice",
					QUERY_QUOTE(fields[i].bytes,
						(size_t)fields[i].len));
		bytes += fields[i].len;
	}

	struct vg_id *copy = malloc(n * sizeof(*copy) + bytes);

	if (!copy)
		return -ENOMEM;
	char *at = (char *)(copy + n);

	for (uint32_t i = 0; i < n; i++) {
		memcpy(at, fields[i].bytes, fields[i].len);
		copy[i] = (struct vg_id){at, fields[i].len};
		at += fields[i].len;
	}
	free(q->fields);
	q->fields = copy;
	q->n_fields = n;
	return 0;
}

/* The byte that a[0..2] stand for in fields=, or 0: they are plain. */
static char unescape(const char *a)
{
	if (a[0] != '%' || a[1] != '2')
		return 0;
	return a[2] == 'C' ? ',' : a[2] == 'F' ? '/' : a[2] == '5' ? '%' : 0;
}

/* fields=a,b: a comma, slash or % of a name is %2C, %2F, %25. */
static int set_fields_text(struct query *q, const char *value, size_t len)
{
	struct vg_id fields[QUERY_FIELDS_MAX + 1];
	char *text = malloc(len + 1);
	uint32_t n = 0;
	size_t out = 0;
	int rc;

	if (!text)
		return -ENOMEM;
	fields[0] = (struct vg_id){text, 0};
	for (size_t i = 0; i < len && n < QUERY_FIELDS_MAX; i++) {
		if (value[i] == ',') {
			fields[++n] = (struct vg_id){text + out, 0};
			continue;
		}

		char byte = len - i >= 3 ? unescape(value + i) : 0;

		text[out++] = byte ? byte : value[i];
		i += byte ? 2 : 0;
		fields[n].len++;
	}
	rc = query_set_fields(q, fields, len ? n + 1 : 0);
	free(text);
	return rc;
}

static int set_uint(struct query *q, const struct query_param *param,
	const char *value, size_t len)
{
	uint64_t n = 0;
	bool fits = len > 0;

	for (size_t i = 0; i < len && fits; i++) {
		fits = value[i] >= '0' && value[i] <= '9';
		n = n * 10 + (uint64_t)(value[i] - '0');
		fits = fits && n <= UINT32_MAX;
	}
	if (!fits || n < param->min || n > param->max)
		return query_refuse(q,
			"%s=%.*s: %s takes a whole number from %u to %u",
			param->word, QUERY_QUOTE(value, len), param->word,
			param->min, param->max);

	uint32_t n32 = (uint32_t)n;

	memcpy((char *)q + param->at, &n32, sizeof(n32));
	if (param->at == offsetof(struct query, k))
		q->has_k = true;
	return 0;
}

static int set_float(struct query *q, const struct query_param *param,
	const char *value, size_t len)
{
	const char *at = value;
	float f;

	if (number_scan(&at, value + len, &f) < 0 || at != value + len)
		return query_refuse(q, "%s=%.*s: %s takes a number, as 0.25",
			param->word, QUERY_QUOTE(value, len), param->word);
	memcpy((char *)q + param->at, &f, sizeof(f));
	return 0;
}

int query_set_snap(struct query *q, const char *name, size_t len)
{
	if (len == 0 || len > VG_ID_MAX || name[0] == '.' ||
		memchr(name, '/', len) || memchr(name, '\0', len))
		return query_refuse(q,
			"snap=%.*s: snap takes the name of a directory in "
			".snap/",
			QUERY_QUOTE(name, len));
	memcpy(q->snap, name, len);
	q->snap_len = (uint32_t)len;
	return 0;
}

void query_free_field(struct vg_id *field)
{
	free((void *)(uintptr_t)field->bytes);
	*field = (struct vg_id){0};
}

int query_set_field(struct query *q, const char *what, struct vg_id text,
	struct vg_id *field)
{
	char *bytes;

	if (text.len > 5 && memcmp(text.bytes, "meta.", 5) == 0)
		text = (struct vg_id){text.bytes + 5, text.len - 5};
	if (text.len == 0)
		return query_refuse(q, "%s takes the name of a field", what);
	if (text.len > FILTER_FIELD_MAX)
		return query_refuse(q, "%s: a field has at most %d bytes", what,
			FILTER_FIELD_MAX);
	bytes = malloc(text.len);
	if (!bytes)
		return -ENOMEM;
	query_free_field(field);
	*field = (struct vg_id){bytes,
		(uint32_t)filter_decode(text.bytes, text.len, bytes)};
	return 0;
}

static int set_order(struct query *q, const char *value, size_t len)
{
	bool is_desc = len >= 5 && memcmp(value + len - 5, ":desc", 5) == 0;
	struct vg_id text = {value, (uint32_t)(is_desc ? len - 5 : len)};
	int rc;

	/* FIELD:asc would be a field that no record has. */
	if (memchr(text.bytes, ':', text.len))
		return query_refuse(q,
			"order=%.*s: order takes FIELD, or FIELD:desc; a colon "
			"of FIELD is %%3A",
			QUERY_QUOTE(value, len));
	rc = query_set_field(q, "order", text, &q->order);
	if (rc == 0)
		q->is_desc = is_desc;
	return rc;
}

int query_add_filter(struct query *q, const char *text, size_t len,
	bool is_expression)
{
	struct filter_why why = {0};
	struct filter *more, *joined;
	int rc = is_expression ? filter_parse_where(text, len, &why, &more)
			       : filter_parse_term(text, len, &why, &more);

	if (rc == -EINVAL)
		return query_refuse(q, "%s", why.sentence);
	if (rc < 0)
		return rc;
	if (q->filter) {
		const struct filter *parts[] = {q->filter, more};

		rc = filter_join(parts, 2, &joined);
		filter_free(more);
		if (rc == -E2BIG)
			return query_refuse(q, "a query has at most %d filters",
				FILTER_TERMS_MAX);
		if (rc < 0)
			return rc;
		filter_free(q->filter);
		more = joined;
	}
	q->filter = more;
	return 0;
}

int query_set_param(struct query *q, const struct query_param *param,
	const char *value, size_t len)
{
	enum answer_fmt fmt;
	bool is_set;

	switch (param->kind) {
	case QUERY_UINT:
		return set_uint(q, param, value, len);
	case QUERY_FLOAT:
		return set_float(q, param, value, len);
	case QUERY_FLAG:
		is_set = is_word(value, len, "1");
		if (!is_set && !is_word(value, len, "0"))
			return query_refuse(q, "%s=%.*s: %s takes 0 or 1",
				param->word, QUERY_QUOTE(value, len),
				param->word);
		memcpy((char *)q + param->at, &is_set, sizeof(is_set));
		return 0;
	case QUERY_FIELDS:
		return set_fields_text(q, value, len);
	case QUERY_FMT:
		fmt = answer_find_fmt(value, len);
		if (fmt == ANSWER_FMTS)
			return query_refuse(q,
				"fmt=%.*s: fmt takes one of " ANSWER_FMT_WORDS,
				QUERY_QUOTE(value, len));
		q->fmt = fmt;
		return 0;
	case QUERY_SNAP:
		return query_set_snap(q, value, len);
	case QUERY_WHERE:
		return query_add_filter(q, value, len, true);
	case QUERY_ORDER:
		return set_order(q, value, len);
	case QUERY_GROUP:
		return query_set_field(q, "group",
			(struct vg_id){value, (uint32_t)len}, &q->group);
	}
	assert(param->kind <= QUERY_GROUP);
	return -EINVAL;
}

int query_parse_param(struct query *q, const char *name, size_t len)
{
	const char *eq = memchr(name, '=', len), *dot;
	const struct query_param *param;

	q->error[0] = '\0';
	param = eq ? query_find_param(name, (size_t)(eq - name)) : NULL;
	dot = eq ? memrchr(name, '.', (size_t)(eq - name)) : NULL;
	/* The field doc is kept for documents; meta.doc is metadata's. */
	if (!param && dot && !is_word(name, (size_t)(dot - name), "doc"))
		return query_add_filter(q, name, len, false);
	if (!param)
		return -ENOENT;
	eq++;
	return query_set_param(q, param, eq, len - (size_t)(eq - name));
}

int query_check(struct query *q)
{
	assert(q->src != QUERY_NONE);
	if (q->src == QUERY_ALL || q->src == QUERY_FACET) {
		const char *what = q->src == QUERY_ALL ? "all" : "a facet";

		if (!q->has_k)
			q->k = 0;
		if (answer_is_array(q->fmt) || q->fmt == ANSWER_DIST)
			return query_refuse(q,
				"%s has no distances: take ndjson, json, tsv "
				"or ids instead of %s",
				what, answer_get_fmt(q->fmt));
		if (isfinite(q->max_dist) || isfinite(q->min_score))
			return query_refuse(q,
				"%s has no distances: leave out max_dist and "
				"min_score",
				what);
	}
	if (q->src == QUERY_FACET && (q->order.len || q->group.len))
		return query_refuse(q,
			"a facet has the most frequent value first: leave out "
			"order and group");
	if (q->offset + q->k > VG_K_MAX)
		return query_refuse(q,
			"offset + k is %u, at most %u rows can be reached",
			q->offset + q->k, VG_K_MAX);
	if (q->trailer && q->src != QUERY_COUNT && answer_is_array(q->fmt))
		return query_refuse(q,
			"trailer=1 is a line of text, %s has none: read the "
			"attribute user.vecgridfs.partial",
			answer_get_fmt(q->fmt));
	return 0;
}

int query_put_vectors(struct query *q, const struct record_batch *batch)
{
	size_t n = (size_t)batch->n * batch->dim;
	size_t len = vg_row_len(batch->dtype, n);
	void *copy;

	assert(n > 0 && batch->dim <= VG_DIM_MAX);
	copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, batch->vecs, len);

	size_t bad = element_find_nonfinite(batch->dtype, copy, n);

	if (bad < n) {
		free(copy);
		return query_refuse(q, "number %zu is not finite", bad + 1);
	}
	free(q->vec);
	q->vec = copy;
	q->n_vec = batch->n;
	q->dim = batch->dim;
	q->dtype = batch->dtype;
	q->src = QUERY_VEC;
	return 0;
}

/* A text that is cut at cap, its length counted on. */
struct text {
	char *out;
	size_t cap, len;
};

static void put(struct text *t, const char *bytes, size_t len)
{
	if (t->len < t->cap)
		memcpy(t->out + t->len, bytes, VG_MIN(len, t->cap - t->len));
	t->len += len;
}

static void put_fields(struct text *t, const struct query *q)
{
	for (uint32_t i = 0; i < q->n_fields; i++) {
		if (i)
			put(t, ",", 1);
		for (uint32_t j = 0; j < q->fields[i].len; j++) {
			const char *c = q->fields[i].bytes + j;

			if (*c == ',')
				put(t, "%2C", 3);
			else if (*c == '/')
				put(t, "%2F", 3);
			else if (*c == '%')
				put(t, "%25", 3);
			else
				put(t, c, 1);
		}
	}
}

/* A field as query_set_field reads it. */
static void put_field(struct text *t, struct vg_id field)
{
	char code[4];

	if (field.len > 5 && memcmp(field.bytes, "meta.", 5) == 0)
		put(t, "meta.", 5);
	for (uint32_t i = 0; i < field.len; i++) {
		bool is_plain = !memchr("%/:", field.bytes[i], 3);

		snprintf(code, sizeof(code), "%%%02X",
			(unsigned char)field.bytes[i]);
		put(t, is_plain ? field.bytes + i : code, is_plain ? 1 : 3);
	}
}

/* In its one spelling, slashes encoded; nothing without memory for it. */
static void put_filter(struct text *t, const struct filter *filter)
{
	struct meta_buf text = {0};

	if (filter_format(filter, &text) == 0)
		for (size_t i = 0; i < text.len; i++) {
			bool is_slash = text.bytes[i] == '/';

			put(t, is_slash ? "%2F" : text.bytes + i,
				is_slash ? 3 : 1);
		}
	free(text.bytes);
}

/* The value of param in q as text. */
static void put_value(struct text *t, const struct query_param *param,
	const struct query *q)
{
	char digits[NUMBER_UINT_LEN > NUMBER_LEN ? NUMBER_UINT_LEN :
						   NUMBER_LEN];
	const char *at = (const char *)q + param->at;
	uint32_t n;
	float f;

	switch (param->kind) {
	case QUERY_UINT:
		memcpy(&n, at, sizeof(n));
		put(t, digits, number_format_uint(n, digits));
		return;
	case QUERY_FLOAT:
		memcpy(&f, at, sizeof(f));
		put(t, digits, number_format(f, digits));
		return;
	case QUERY_FLAG:
		put(t, *(const bool *)at ? "1" : "0", 1);
		return;
	case QUERY_FIELDS:
		put_fields(t, q);
		return;
	case QUERY_FMT:
		put(t, answer_get_fmt(q->fmt), strlen(answer_get_fmt(q->fmt)));
		return;
	case QUERY_SNAP:
		put(t, q->snap, q->snap_len);
		return;
	case QUERY_WHERE:
		put_filter(t, q->filter);
		return;
	case QUERY_ORDER:
		put_field(t, q->order);
		put(t, ":desc", q->is_desc ? 5 : 0);
		return;
	case QUERY_GROUP:
		put_field(t, q->group);
		return;
	}
}

static bool is_default(const struct query_param *param, const struct query *q,
	const struct query *none)
{
	size_t len = param->kind == QUERY_FLAG ? sizeof(bool) : 4;

	if (param->kind == QUERY_FIELDS)
		return q->n_fields == 0;
	if (param->kind == QUERY_FMT)
		return q->fmt == none->fmt;
	if (param->kind == QUERY_SNAP)
		return q->snap_len == 0;
	if (param->kind == QUERY_WHERE)
		return !q->filter;
	if (param->kind == QUERY_ORDER)
		return q->order.len == 0;
	if (param->kind == QUERY_GROUP)
		return q->group.len == 0;
	/* k=10 given is not k left out: `all` tells them apart. */
	if (param->at == offsetof(struct query, k))
		return !q->has_k;
	return memcmp((const char *)q + param->at,
		       (const char *)none + param->at, len) == 0;
}

size_t query_format_params(const struct query *q, char *out, size_t cap)
{
	struct text t = {out, cap, 0};
	struct query none;

	query_init(&none);
	for (size_t i = 0; i < VG_ARRAY_LEN(params); i++) {
		const struct query_param *param = &params[i];

		if (is_default(param, q, &none))
			continue;
		put(&t, param->word, strlen(param->word));
		put(&t, "=", 1);
		put_value(&t, param, q);
		put(&t, "/", 1);
	}
	return t.len;
}

uint64_t query_hash(uint64_t seed, uint64_t collection, struct vg_id path,
	struct vg_id leaf)
{
	/* Hashes of the parts, so that no bytes move from one to the next. */
	const uint64_t parts[] = {collection,
		XXH3_64bits_withSeed(path.bytes, path.len, seed),
		XXH3_64bits_withSeed(leaf.bytes, leaf.len, seed)};

	return XXH3_64bits_withSeed(parts, sizeof(parts), seed);
}
