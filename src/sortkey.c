/* SPDX-License-Identifier: Apache-2.0 */
/* sortkey.c: see sortkey.h. */
#include "src/sortkey.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/filter_int.h"
#include "src/wire.h"

enum tag {
	TAG_NUMBER = 1,
	TAG_STRING,
	TAG_FALSE,
	TAG_TRUE,
	TAG_CONTAINER,
	TAG_NONE,
};

static int reserve(struct meta_buf *out, size_t more)
{
	size_t cap = out->cap + out->cap / 2 + more + 64;
	char *bytes;

	assert(out->len <= out->cap);
	if (more <= out->cap - out->len)
		return 0;
	bytes = realloc(out->bytes, cap);
	if (!bytes)
		return -ENOMEM;
	out->bytes = bytes;
	out->cap = cap;
	return 0;
}

static int put(struct meta_buf *out, enum tag tag, const char *bytes,
	size_t len)
{
	int rc = reserve(out, 1 + len);

	if (rc < 0)
		return rc;
	out->bytes[out->len++] = (char)tag;
	if (len > 0)
		memcpy(out->bytes + out->len, bytes, len);
	out->len += len;
	return 0;
}

static int put_number(struct meta_buf *out, const struct json_token *token)
{
	struct decimal num = decimal_scan(token->text, (uint32_t)token->len);
	int rc = reserve(out, 1 + DECIMAL_KEY_MAX(num.len));

	if (rc < 0)
		return rc;
	out->bytes[out->len++] = TAG_NUMBER;
	out->len += decimal_encode(&num, (uint8_t *)out->bytes + out->len);
	assert(out->len <= out->cap);
	return 0;
}

static int put_string(struct meta_buf *out, const struct json_token *token)
{
	int rc = reserve(out, 1 + token->len);

	if (rc < 0)
		return rc;
	out->bytes[out->len++] = TAG_STRING;
	out->len += json_string_decode(token, out->bytes + out->len);
	return 0;
}

/* All of an array or object whose first token stands at `at`. */
static int put_container(struct meta_buf *out, const char *at, const char *end)
{
	struct json_token token, whole;
	struct json j;

	assert(at < end && (*at == '[' || *at == '{'));
	json_init(&j, at, (size_t)(end - at));
	if (json_next(&j, &token) < 0 || json_skip(&j, &token, &whole) < 0)
		return -VG_ECORRUPT;
	return put(out, TAG_CONTAINER, whole.text, whole.len);
}

int sortkey_put(struct meta_buf *out, struct meta m, struct vg_id field)
{
	struct filter_walk walk;
	struct filter_hit hit;
	int rc;

	assert(field.len > 0);
	filter_walk_init(&walk, m, field.bytes, field.len);
	do { /* ends: the walk does */
		rc = filter_walk_next(&walk, &hit);
	} while (rc > 0 && (hit.is_element || hit.token.type == JSON_NULL));
	if (rc < 0)
		return rc;
	if (rc == 0)
		return put(out, TAG_NONE, NULL, 0);
	switch (hit.token.type) {
	case JSON_NUMBER:
		return put_number(out, &hit.token);
	case JSON_STRING:
		return put_string(out, &hit.token);
	case JSON_FALSE:
		return put(out, TAG_FALSE, NULL, 0);
	case JSON_TRUE:
		return put(out, TAG_TRUE, NULL, 0);
	default:
		return put_container(out, hit.token.text, m.json + m.len);
	}
}

/* ---- many ---- */

void sortkeys_fini(struct sortkeys *keys)
{
	free(keys->bytes.bytes);
	free(keys->end);
	*keys = (struct sortkeys){0};
}

int sortkeys_add(struct sortkeys *keys, struct meta m, struct vg_id field)
{
	size_t *end = filter_grow(
		keys->end, &keys->cap, keys->n + 1, sizeof(*end));
	int rc = end ? 0 : -ENOMEM;

	if (end)
		keys->end = end;
	if (rc == 0)
		rc = sortkey_put(&keys->bytes, m, field);
	if (rc == 0)
		keys->end[keys->n++] = keys->bytes.len;
	return rc;
}

static struct vg_id key_of(const struct sortkeys *keys, uint32_t i)
{
	size_t begin = i ? keys->end[i - 1] : 0;

	assert(i < keys->n && keys->end[i] > begin);
	return (struct vg_id){keys->bytes.bytes + begin,
		(uint32_t)(keys->end[i] - begin)};
}

static int compare(struct vg_id a, struct vg_id b)
{
	int order = memcmp(a.bytes, b.bytes, VG_MIN(a.len, b.len));

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

int sortkeys_compare(const struct sortkeys *keys, uint32_t a, uint32_t b)
{
	struct vg_id x = key_of(keys, a), y = key_of(keys, b);
	bool has_both = x.bytes[0] != TAG_NONE && y.bytes[0] != TAG_NONE;

	return keys->is_desc && has_both ? compare(y, x) : compare(x, y);
}

/* ---- each once ---- */

void distinct_fini(struct distinct *d)
{
	sortkeys_fini(&d->keys);
	free(d->table);
	d->table = NULL;
	d->n_table = 0;
}

/* Where the key is in the table, or would be. Ends: a place is empty. */
static uint32_t *find_place(const struct distinct *d, uint32_t *table,
	uint32_t n_table, struct vg_id key)
{
	assert((n_table & (n_table - 1)) == 0 && d->keys.n < n_table);
	uint32_t at = (uint32_t)wire_hash(key.bytes, key.len) & (n_table - 1);

	while (table[at] &&
		compare(key_of(&d->keys, table[at] - 1), key) != 0)
		at = (at + 1) & (n_table - 1);
	return &table[at];
}

/* Half of the table stays empty. */
static int grow_table(struct distinct *d)
{
	uint32_t n = d->n_table ? 2 * d->n_table : 64;
	uint32_t *table;

	if (2 * (d->keys.n + 1) <= d->n_table)
		return 0;
	table = calloc(n, sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->keys.n; i++)
		*find_place(d, table, n, key_of(&d->keys, i)) = i + 1;
	free(d->table);
	d->table = table;
	d->n_table = n;
	return 0;
}

int distinct_put(struct distinct *d, struct meta m, uint32_t *no)
{
	size_t len = d->keys.bytes.len;
	uint32_t *place;
	int rc = grow_table(d);

	if (rc == 0)
		rc = sortkeys_add(&d->keys, m, d->field);
	if (rc < 0)
		return rc;
	/* It was added to be looked for, and is taken away if it is known. */
	d->keys.n--;
	place = find_place(d, d->table, d->n_table,
		(struct vg_id){d->keys.bytes.bytes + len,
			(uint32_t)(d->keys.bytes.len - len)});
	if (*place) {
		d->keys.bytes.len = len;
		*no = *place - 1;
		return 0;
	}
	*no = d->keys.n++;
	*place = *no + 1;
	return 1;
}
