/* SPDX-License-Identifier: Apache-2.0 */
/* fields_run.c: dictionaries of keys and their versions: made, merged, checked. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"

/* A key gets bits when they are no longer than its list. */
#define DENSE_SHARE 32
#define DENSE_MIN 64

int fields_run_new(uint32_t begin, uint32_t end, struct fields_run **out)
{
	struct fields_run *r = calloc(1, sizeof(*r));

	assert(begin < end);
	if (!r)
		return -ENOMEM;
	atomic_init(&r->refs, 1);
	r->begin = begin;
	r->end = end;
	r->key_at = filter_grow(NULL, &r->cap_at, 64, sizeof(*r->key_at));
	r->list_at = malloc(r->cap_at * sizeof(*r->list_at));
	if (!r->key_at || !r->list_at) {
		fields_run_unref(r);
		return -ENOMEM;
	}
	r->key_at[0] = r->list_at[0] = 0;
	*out = r;
	return 0;
}

int fields_run_put(struct fields_run *r, uint32_t version)
{
	uint32_t *list = r->list;

	assert(version >= r->begin && version < r->end);
	if (r->n_list == r->cap_list) {
		if (r->n_list >= FIELDS_RUN_MAX)
			return -ENOMEM;
		list = filter_grow(r->list, &r->cap_list, r->n_list + 1,
			sizeof(*list));
		if (!list)
			return -ENOMEM;
		r->list = list;
	}
	list[r->n_list++] = version;
	return 0;
}

/* The last key's list becomes bits. */
static int make_dense(struct fields_run *r, uint32_t count)
{
	uint32_t words = fields_run_words(r), was = r->cap_dense;
	struct fields_dense *dense = filter_grow(r->dense, &r->cap_dense,
		r->n_dense + 1, sizeof(*dense));
	uint64_t *bits;

	if (!dense)
		return -ENOMEM;
	r->dense = dense;
	if (r->cap_dense != was || !r->bits) {
		bits = realloc(r->bits, (size_t)r->cap_dense * words * 8);
		if (!bits) {
			r->cap_dense = r->n_dense;
			return -ENOMEM;
		}
		r->bits = bits;
	}
	bits = r->bits + (size_t)r->n_dense * words;
	memset(bits, 0, (size_t)words * 8);
	for (uint32_t i = r->n_list - count; i < r->n_list; i++) {
		uint32_t v = r->list[i];
		bits[v / 64 - r->begin / 64] |= 1ull << v % 64;
	}
	r->dense[r->n_dense++] = (struct fields_dense){r->n_values, count};
	r->n_list -= count;
	return 0;
}

/* Room for one key more. */
static int reserve(struct fields_run *r, size_t len)
{
	uint32_t cap = r->cap_at;
	uint32_t *at;
	uint8_t *keys;

	if (r->keys_len >= FIELDS_RUN_MAX)
		return -ENOMEM;
	keys = filter_grow(r->keys, &r->cap_keys, r->keys_len + (uint32_t)len, 1);
	if (!keys)
		return -ENOMEM;
	r->keys = keys;
	if (r->n_values + 1 < cap)
		return 0;
	at = realloc(r->list_at, 2 * (size_t)cap * sizeof(*at));
	if (!at)
		return -ENOMEM;
	r->list_at = at;
	at = realloc(r->key_at, 2 * (size_t)cap * sizeof(*at));
	if (!at)
		return -ENOMEM;
	r->key_at = at;
	r->cap_at = 2 * cap;
	return 0;
}

int fields_run_end(struct fields_run *r, const uint8_t *key, size_t len)
{
	uint32_t count = r->n_list - r->list_at[r->n_values];
	int rc = reserve(r, len);

	assert(count > 0 && len > 0 && len <= FIELDS_KEY_MAX);
	if (rc < 0)
		return rc;
	if (count >= DENSE_MIN && count >= (r->end - r->begin) / DENSE_SHARE) {
		rc = make_dense(r, count);
		if (rc < 0)
			return rc;
	}
	memcpy(r->keys + r->keys_len, key, len);
	r->keys_len += (uint32_t)len;
	r->n_values++;
	r->key_at[r->n_values] = r->keys_len;
	r->list_at[r->n_values] = r->n_list;
	return 0;
}

/* Gives back what was too much; what cannot be moved stays as it is. */
static void *shrink(void *at, size_t len)
{
	void *less = len > 0 ? realloc(at, len) : NULL;

	return less ? less : at;
}

void fields_run_done(struct fields_run *r)
{
	size_t words = fields_run_words(r);
	size_t at_len = ((size_t)r->n_values + 1) * sizeof(uint32_t);

	assert(r->list_at[r->n_values] == r->n_list);
	r->key_at = shrink(r->key_at, at_len);
	r->list_at = shrink(r->list_at, at_len);
	r->keys = shrink(r->keys, r->keys_len);
	r->list = shrink(r->list, (size_t)r->n_list * sizeof(*r->list));
	r->dense = shrink(r->dense, r->n_dense * sizeof(*r->dense));
	r->bits = shrink(r->bits, r->n_dense * words * 8);
	r->bytes = sizeof(*r) + 2 * at_len + r->keys_len +
		(size_t)r->n_list * sizeof(*r->list) +
		r->n_dense * (sizeof(*r->dense) + words * 8);
}

struct fields_run *fields_run_ref(struct fields_run *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void fields_run_unref(struct fields_run *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1,
		memory_order_acq_rel) > 1)
		return;
	free(r->key_at);
	free(r->keys);
	free(r->list_at);
	free(r->list);
	free(r->dense);
	free(r->bits);
	free(r);
}

static uint32_t all_versions(const struct fields_run *r)
{
	uint64_t n = r->n_list;

	for (uint32_t i = 0; i < r->n_dense; i++)
		n += r->dense[i].count;
	return (uint32_t)VG_MIN(n, (uint64_t)UINT32_MAX);
}

bool fields_run_can_merge(const struct fields_run *a,
	const struct fields_run *b)
{
	return (uint64_t)a->keys_len + b->keys_len < FIELDS_RUN_MAX &&
		(uint64_t)all_versions(a) + all_versions(b) < FIELDS_RUN_MAX;
}

static int put_all(struct fields_run *to, const struct fields_run *from,
	uint32_t value)
{
	struct fields_cursor c;
	uint32_t version;
	int rc = 0;

	fields_cursor_init(&c, from, value);
	while (rc == 0 && fields_cursor_next(&c, &version))
		rc = fields_run_put(to, version);
	return rc;
}

/* The next key of both goes to `to`; i and j move behind it. */
static int merge_key(struct fields_run *to, const struct fields_run *a,
	uint32_t *i, const struct fields_run *b, uint32_t *j)
{
	size_t a_len = 0, b_len = 0;
	const uint8_t *x = NULL, *y = NULL;
	int order, rc = 0;

	if (*i < a->n_values)
		x = fields_run_key(a, *i, &a_len);
	if (*j < b->n_values)
		y = fields_run_key(b, *j, &b_len);
	assert(x || y);
	order = !x ? 1 : !y ? -1 : fields_compare(x, a_len, y, b_len);
	if (order <= 0)
		rc = put_all(to, a, (*i)++);
	if (rc == 0 && order >= 0)
		rc = put_all(to, b, (*j)++);
	if (rc == 0)
		rc = fields_run_end(to, order <= 0 ? x : y,
			order <= 0 ? a_len : b_len);
	return rc;
}

int fields_run_merge(const struct fields_run *a, const struct fields_run *b,
	struct fields_run **out)
{
	struct fields_run *r;
	uint32_t i = 0, j = 0;
	int rc = fields_run_new(a->begin, b->end, &r);

	assert(a->end == b->begin);
	if (rc < 0)
		return rc;
	while (rc == 0 && (i < a->n_values || j < b->n_values))
		rc = merge_key(r, a, &i, b, &j);
	if (rc < 0) {
		fields_run_unref(r);
		return rc;
	}
	fields_run_done(r);
	*out = r;
	return 0;
}
