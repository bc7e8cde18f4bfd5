/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta.c: see meta.h.
 *
 * Nothing here builds a tree. An object is turned into its stored form in one
 * pass over its tokens; what compares keys then works on a list of the members
 * (struct members), whose keys are equal exactly if their bytes are, since
 * each string has one stored spelling. The list is sorted by key where keys
 * are looked up many times, so a million bytes of tiny members stay cheap.
 */
#include "src/meta.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json.h"

#define META_DEPTH_MAX 64
static_assert(META_DEPTH_MAX + 8 <= JSON_DEPTH_MAX,
	"what is stored can be read again inside a row");

/* Room for n more bytes. -ENOMEM. */
static int reserve(struct meta_buf *buf, size_t n)
{
	size_t cap = VG_MAX(buf->cap, (size_t)256);
	char *bytes;

	assert(n <= SIZE_MAX / 4 && buf->len <= SIZE_MAX / 4);
	while (cap < buf->len + n)
		cap *= 2;
	if (cap == buf->cap)
		return 0;
	bytes = realloc(buf->bytes, cap);
	if (!bytes)
		return -ENOMEM;
	buf->bytes = bytes;
	buf->cap = cap;
	return 0;
}

static int put(struct meta_buf *buf, const char *bytes, size_t n)
{
	int rc = reserve(buf, n);

	if (rc < 0)
		return rc;
	memcpy(buf->bytes + buf->len, bytes, n);
	buf->len += n;
	return 0;
}

static int put_string(struct meta_buf *buf, const struct json_token *token)
{
	assert(token->type == JSON_KEY || token->type == JSON_STRING);
	int rc = reserve(buf, token->len + 2);

	if (rc < 0)
		return rc;
	buf->len += json_string_compact(token, buf->bytes + buf->len);
	return 0;
}

static int put_text(struct meta_buf *buf, const char *text, size_t len)
{
	int rc = reserve(buf, JSON_STRING_MAX(len));

	if (rc < 0)
		return rc;
	buf->len += json_string_encode(text, len, buf->bytes + buf->len);
	return 0;
}

/* Writes one token of a value, with the comma before it if it needs one. */
static int put_token(struct meta_buf *buf, const struct json_token *token)
{
	char last = buf->len > 0 ? buf->bytes[buf->len - 1] : '{';
	bool is_end = token->type == JSON_OBJECT_END ||
		token->type == JSON_ARRAY_END;
	int rc = 0;

	/* The last byte is the end of a token or one of { [ : and tells. */
	if (!is_end && last != '{' && last != '[' && last != ':')
		rc = put(buf, ",", 1);
	if (rc < 0)
		return rc;
	if (token->type == JSON_KEY || token->type == JSON_STRING)
		rc = put_string(buf, token);
	else
		rc = put(buf, token->text, token->len);
	if (rc == 0 && token->type == JSON_KEY)
		rc = put(buf, ":", 1);
	return rc;
}

/*
 * Reads one value with all that is in it from j and appends its stored form.
 * -EINVAL: j->why says. -EFBIG. -ENOMEM.
 */
static int put_value(struct json *j, struct meta_buf *out)
{
	uint32_t depth = j->depth;
	struct json_token token;
	int rc;

	assert(depth <= META_DEPTH_MAX);
	/* Each turn reads a token, so the text's end ends it. */
	do {
		rc = json_next(j, &token);
		if (rc < 0)
			return rc;
		if (j->depth > depth + META_DEPTH_MAX) {
			j->why = "it is nested deeper than 64";
			return -EINVAL;
		}
		if (token.len > VG_META_MAX)
			return -EFBIG;
		rc = put_token(out, &token);
		if (rc < 0)
			return rc;
		if (out->len > VG_META_MAX)
			return -EFBIG;
	} while (j->depth > depth);
	return 0;
}

/* One member, as it is spelled: the key with its quotes. Borrowed. */
struct member {
	const char *key, *value;
	uint32_t key_len, value_len;
	uint32_t idx;	   /* in the order of the object */
	bool is_done;	   /* dropped or written already */
};

/* The members of an object; fini frees. */
struct members {
	struct member *at; /* few, or owned */
	uint32_t n, cap;
	struct member few[16];
};

static void members_init(struct members *m)
{
	m->at = m->few;
	m->n = 0;
	m->cap = VG_ARRAY_LEN(m->few);
}

static void members_fini(struct members *m)
{
	if (m->at != m->few)
		free(m->at);
	members_init(m);
}

static int members_add(struct members *m, const struct member *one)
{
	assert(m->n <= m->cap && one->key_len >= 2);
	if (m->n == m->cap) {
		size_t size = sizeof(*m->at) * m->cap;
		struct member *at = m->at == m->few ? NULL : m->at;
		at = realloc(at, size * 2);
		if (!at)
			return -ENOMEM;
		if (m->at == m->few)
			memcpy(at, m->few, size);
		m->at = at;
		m->cap *= 2;
	}
	m->at[m->n] = *one;
	m->at[m->n].idx = m->n;
	m->n++;
	return 0;
}

/* Begins a walk over the stored form. -VG_ECORRUPT: it is no object. */
static int walk_begin(struct meta m, struct json *j)
{
	struct json_token token;

	json_init(j, m.json, m.len);
	if (json_next(j, &token) < 0 || token.type != JSON_OBJECT)
		return -VG_ECORRUPT;
	return 0;
}

/* The next member: 1, or 0 at the end, or -VG_ECORRUPT. */
static int walk_next(struct json *j, struct json_token *key,
	struct json_token *value)
{
	struct json_token first;

	if (json_next(j, key) < 0)
		return -VG_ECORRUPT;
	if (key->type == JSON_OBJECT_END) {
		if (json_next(j, key) < 0)
			return -VG_ECORRUPT;
		return 0;
	}
	if (json_next(j, &first) < 0 || json_skip(j, &first, value) < 0)
		return -VG_ECORRUPT;
	return 1;
}

static int members_load(struct members *m, struct meta object)
{
	struct json_token key, value;
	struct json j;
	int rc;

	if (!object.len)
		return 0;
	rc = walk_begin(object, &j);
	while (rc == 0 && (rc = walk_next(&j, &key, &value)) > 0) {
		rc = members_add(m, &(struct member){
			.key = key.text - 1,
			.key_len = (uint32_t)key.len + 2,
			.value = value.text,
			.value_len = (uint32_t)value.len});
	}
	return rc;
}

static int compare_keys(const struct member *a, const struct member *b)
{
	assert(a->key[0] == '"' && b->key[0] == '"');
	int order = memcmp(a->key, b->key, VG_MIN(a->key_len, b->key_len));

	if (order != 0)
		return order;
	return (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int order = compare_keys(x, y);

	return order != 0 ? order : (x->idx > y->idx) - (x->idx < y->idx);
}

static int compare_idx(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return (x->idx > y->idx) - (x->idx < y->idx);
}

static void members_sort(struct members *m,
	int (*compare)(const void *, const void *))
{
	qsort(m->at, m->n, sizeof(*m->at), compare);
}

/*
 * Of the members with one key the first gets the value of the last, the others
 * are marked is_done. Returns whether there were any.
 */
static bool members_unite(struct members *m)
{
	bool is_any = false;

	members_sort(m, compare_members);
	for (uint32_t i = 0, first = 0; i < m->n; i++) {
		struct member *one = &m->at[i];
		if (i == 0 || compare_keys(&m->at[first], one) != 0) {
			first = i;
			continue;
		}
		m->at[first].value = one->value;
		m->at[first].value_len = one->value_len;
		one->is_done = true;
		is_any = true;
	}
	if (is_any)
		members_sort(m, compare_idx);
	return is_any;
}

static int put_member(struct meta_buf *out, const struct member *m)
{
	assert(m->key_len >= 2 && m->value_len >= 1);
	int rc = put(out, out->len == 0 ? "{" : ",", 1);

	if (rc == 0)
		rc = put(out, m->key, m->key_len);
	if (rc == 0)
		rc = put(out, ":", 1);
	if (rc == 0)
		rc = put(out, m->value, m->value_len);
	return rc;
}

/* Ends what put_member began: nothing at all if there was no member. */
static int put_end(struct meta_buf *out)
{
	int rc = out->len > 0 ? put(out, "}", 1) : 0;

	if (rc == 0 && out->len > VG_META_MAX)
		rc = -EFBIG;
	if (rc < 0)
		out->len = 0;
	return rc;
}

/* Each key once: rewrites out if a key is in it twice. */
static int unite_keys(struct meta_buf *out)
{
	struct meta_buf united = {0};
	struct members m;
	int rc;

	members_init(&m);
	rc = members_load(&m, (struct meta){out->bytes, (uint32_t)out->len});
	if (rc < 0 || !members_unite(&m))
		goto fini_members;
	for (uint32_t i = 0; i < m.n && rc == 0; i++) {
		if (!m.at[i].is_done)
			rc = put_member(&united, &m.at[i]);
	}
	if (rc == 0)
		rc = put_end(&united);
	if (rc == 0) {
		assert(united.len <= out->len);
		memcpy(out->bytes, united.bytes, united.len);
		out->len = united.len;
	}
	free(united.bytes);
fini_members:
	members_fini(&m);
	return rc;
}

/* The sentence lives in the buffer that holds no outcome. */
static int explain(struct meta_buf *out, const struct json *j, int rc,
	const char **why)
{
	out->len = 0;
	if (rc != -EINVAL && rc != -EFBIG)
		return rc;
	if (reserve(out, 160) < 0)
		return -ENOMEM;
	if (rc == -EFBIG)
		snprintf(out->bytes, 160, "metadata is larger than %u bytes",
			VG_META_MAX);
	else
		snprintf(out->bytes, 160, "metadata: %s at byte %zu", j->why,
			json_position(j));
	*why = out->bytes;
	return -EINVAL;
}

int meta_parse(const char *in, size_t len, struct meta_buf *out,
	const char **why)
{
	struct json_token token;
	struct json j;
	int rc;

	assert(in != out->bytes || !in);
	out->len = 0;
	json_init(&j, in, len);
	struct json ahead = j;
	if (json_next(&ahead, &token) == 0 && token.type != JSON_OBJECT) {
		j.why = "a JSON object, {...}, is expected";
		return explain(out, &j, -EINVAL, why);
	}
	rc = put_value(&j, out);
	if (rc == 0)
		rc = json_next(&j, &token);
	if (rc < 0)
		return explain(out, &j, rc, why);
	assert(token.type == JSON_END && out->len >= 2);
	if (out->len == 2)
		out->len = 0;
	else
		rc = unite_keys(out);
	if (rc < 0)
		out->len = 0;
	assert(rc != -VG_ECORRUPT);
	return rc;
}

static bool is_null(const char *value, size_t len)
{
	return len == 4 && memcmp(value, "null", 4) == 0;
}

/* changes are sorted by key. */
static struct member *members_find(const struct members *m,
	const struct member *key)
{
	uint32_t lo = 0, hi = m->n;

	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;
		assert(middle < hi);
		int order = compare_keys(&m->at[middle], key);
		if (order == 0)
			return &m->at[middle];
		if (order < 0)
			lo = middle + 1;
		else
			hi = middle;
	}
	return NULL;
}

static int merge(struct members *a, struct members *changes,
	struct meta_buf *out)
{
	int rc = 0;

	members_sort(changes, compare_members);
	for (uint32_t i = 0; i < a->n && rc == 0; i++) {
		struct member *new = members_find(changes, &a->at[i]);
		if (new)
			new->is_done = true;
		if (!new)
			new = &a->at[i];
		if (!new->is_done || !is_null(new->value, new->value_len))
			rc = put_member(out, new);
	}
	members_sort(changes, compare_idx);
	for (uint32_t i = 0; i < changes->n && rc == 0; i++) {
		struct member *new = &changes->at[i];
		if (!new->is_done && !is_null(new->value, new->value_len))
			rc = put_member(out, new);
	}
	return rc;
}

int meta_merge(struct meta old, struct meta changes, struct meta_buf *out)
{
	struct members a, b;
	int rc;

	out->len = 0;
	assert(old.json != out->bytes || !old.json);
	members_init(&a);
	members_init(&b);
	rc = members_load(&a, old);
	if (rc == 0)
		rc = members_load(&b, changes);
	if (rc == 0)
		rc = merge(&a, &b, out);
	if (rc == 0)
		rc = put_end(out);
	if (rc < 0)
		out->len = 0;
	members_fini(&b);
	members_fini(&a);
	return rc;
}

int meta_set(struct meta old, struct vg_id key, struct meta value,
	struct meta_buf *out)
{
	struct meta_buf text = {0};
	struct members m;
	bool is_found = false;
	int rc;

	assert(old.json != out->bytes || !old.json);
	out->len = 0;
	if (!json_is_utf8(key.bytes, key.len))
		return -EINVAL;
	members_init(&m);
	rc = members_load(&m, old);
	if (rc == 0)
		rc = put_text(&text, key.bytes, key.len);
	if (rc < 0)
		goto free_text;
	struct member new = {.key = text.bytes, .key_len = (uint32_t)text.len,
		.value = value.json, .value_len = value.len};
	for (uint32_t i = 0; i < m.n && rc == 0; i++) {
		bool is_it = compare_keys(&m.at[i], &new) == 0;
		is_found |= is_it;
		if (!is_it)
			rc = put_member(out, &m.at[i]);
		else if (value.json)
			rc = put_member(out, &new);
	}
	if (rc == 0 && !is_found)
		rc = value.json ? put_member(out, &new) : -ENODATA;
	if (rc == 0)
		rc = put_end(out);
free_text:
	if (rc < 0)
		out->len = 0;
	free(text.bytes);
	members_fini(&m);
	return rc;
}

int meta_get(struct meta m, struct vg_id key, struct meta *value)
{
	struct json_token name, found;
	struct json j;
	int rc;

	if (!m.len)
		return -ENODATA;
	rc = walk_begin(m, &j);
	while (rc == 0 && (rc = walk_next(&j, &name, &found)) > 0) {
		rc = 0;
		if (!json_string_is(&name, key.bytes, key.len))
			continue;
		*value = (struct meta){found.text, (uint32_t)found.len};
		return 0;
	}
	return rc < 0 ? rc : -ENODATA;
}

int meta_each(struct meta m, meta_each_fn *each, void *ctx)
{
	struct json_token key, value;
	struct meta_buf text = {0};
	struct json j;
	int rc;

	if (!m.len)
		return 0;
	rc = walk_begin(m, &j);
	while (rc == 0 && (rc = walk_next(&j, &key, &value)) > 0) {
		struct vg_id name = {key.text, (uint32_t)key.len};
		if (key.is_escaped) {
			rc = reserve(&text, key.len);
			if (rc < 0)
				break;
			name.bytes = text.bytes;
			name.len = (uint32_t)json_string_decode(&key,
				text.bytes);
		}
		rc = each(ctx, name,
			(struct meta){value.text, (uint32_t)value.len});
	}
	free(text.bytes);
	return rc;
}

/* Whether text is one JSON value that we take; its stored form is in out. */
static int value_from_json(const char *text, size_t len, struct meta_buf *out)
{
	struct json_token token;
	struct json j;
	int rc;

	out->len = 0;
	json_init(&j, text, len);
	rc = put_value(&j, out);
	if (rc == 0)
		rc = json_next(&j, &token);
	return rc;
}

int meta_from_text(const char *text, size_t len, struct meta_buf *value)
{
	int rc;

	value->len = 0;
	if ((len > 0 && memchr(text, 0, len)) || !json_is_utf8(text, len))
		return -EINVAL;
	if (len > VG_META_MAX)
		return -EFBIG;
	rc = value_from_json(text, len, value);
	if (rc == -EINVAL) {
		value->len = 0;
		rc = put_text(value, text, len);
	}
	if (rc < 0)
		value->len = 0;
	return rc;
}

int meta_to_text(struct meta value, struct meta_buf *text)
{
	struct meta_buf again = {0};
	struct json_token token;
	struct json j;
	int rc;

	text->len = 0;
	json_init(&j, value.json, value.len);
	if (json_next(&j, &token) < 0)
		return -VG_ECORRUPT;
	if (token.type != JSON_STRING)
		return put(text, value.json, value.len);
	rc = reserve(text, token.len);
	if (rc < 0)
		return rc;
	text->len = json_string_decode(&token, text->bytes);

	/* Bare only if it comes back as the string that it is. */
	rc = meta_from_text(text->bytes, text->len, &again);
	bool is_same = rc == 0 && again.len == value.len &&
		memcmp(again.bytes, value.json, value.len) == 0;
	if (!is_same)
		text->len = 0;
	if (!is_same && rc != -ENOMEM)
		rc = put(text, value.json, value.len);
	free(again.bytes);
	return rc;
}
