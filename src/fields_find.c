/* SPDX-License-Identifier: Apache-2.0 */
/* fields_find.c: what is in a run: keys found, their versions, its order. */
#include <assert.h>
#include <string.h>

#include "src/fields_int.h"

uint32_t fields_run_tag(const struct fields_run *r, uint8_t tag)
{
	uint32_t lo = 0, hi = r->n_values;

	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;
		if (r->keys[r->key_at[middle]] < tag)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

/* A key of the payload's tag against it: 0 is also what cannot be told, and
 * what begins with it. */
static int compare_payload(const uint8_t *key, size_t len,
	const struct fields_payload *p, bool is_prefix)
{
	bool is_cut = fields_key_is_cut(len);
	size_t n = is_cut ? FIELDS_PAYLOAD_MAX : len - 1;
	size_t both = VG_MIN(n, p->len);
	int order = both > 0 ? memcmp(key + 1, p->bytes, both) : 0;

	assert(key[0] == p->tag);
	if (order != 0)
		return order;
	if (n < p->len)
		return is_cut ? 0 : -1;
	return is_prefix || (n == p->len && !is_cut) ? 0 : 1;
}

/* The first key from lo to hi whose order to the payload, -1, 0 or 1, is at
 * least limit. */
static uint32_t find(const struct fields_run *r, uint32_t lo, uint32_t hi,
	const struct fields_payload *p, int limit, bool is_prefix)
{
	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;
		size_t len;
		const uint8_t *key = fields_run_key(r, middle, &len);
		int order = compare_payload(key, len, p, is_prefix);
		if ((order > 0) - (order < 0) < limit)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

void fields_run_zone(const struct fields_run *r, const struct fields_payload *p,
	bool is_prefix, uint32_t *lo, uint32_t *hi)
{
	uint32_t from = fields_run_tag(r, p->tag);
	uint32_t to = fields_run_tag(r, (uint8_t)(p->tag + 1));

	*lo = find(r, from, to, p, 0, is_prefix);
	*hi = find(r, *lo, to, p, 1, is_prefix);
	assert(from <= *lo && *lo <= *hi && *hi <= to);
}

/* The first key with bits that is not before value. */
static uint32_t find_dense(const struct fields_run *r, uint32_t value)
{
	uint32_t lo = 0, hi = r->n_dense;

	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;
		if (r->dense[middle].value < value)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

const uint64_t *fields_run_bits(const struct fields_run *r, uint32_t value,
	uint32_t *count)
{
	uint32_t i = find_dense(r, value);

	if (i == r->n_dense || r->dense[i].value != value)
		return NULL;
	*count = r->dense[i].count;
	return r->bits + (size_t)i * fields_run_words(r);
}

void fields_run_or(const struct fields_run *r, uint32_t lo, uint32_t hi,
	struct fields_bits *out)
{
	uint32_t words = fields_run_words(r);
	uint64_t *to = out->words + r->begin / 64;

	assert(lo <= hi && hi <= r->n_values);
	assert(r->end <= out->n_words * 64);
	for (uint32_t i = r->list_at[lo]; i < r->list_at[hi]; i++)
		fields_bits_set(out, r->list[i]);
	for (uint32_t i = find_dense(r, lo);
		i < r->n_dense && r->dense[i].value < hi; i++) {
		const uint64_t *from = r->bits + (size_t)i * words;
		for (uint32_t k = 0; k < words; k++)
			to[k] |= from[k];
	}
}

void fields_cursor_init(struct fields_cursor *c, const struct fields_run *r,
	uint32_t value)
{
	uint32_t count;

	assert(value < r->n_values);
	*c = (struct fields_cursor){.run = r};
	c->bits = fields_run_bits(r, value, &count);
	if (c->bits) {
		c->n_words = fields_run_words(r);
		c->left = c->bits[0];
	} else if (r->list) {
		c->at = r->list + r->list_at[value];
		c->end = r->list + r->list_at[value + 1];
	}
}

bool fields_cursor_next(struct fields_cursor *c, uint32_t *version)
{
	if (!c->bits) {
		if (c->at == c->end)
			return false;
		*version = *c->at++;
		return true;
	}
	while (c->left == 0) {
		if (++c->word >= c->n_words)
			return false;
		c->left = c->bits[c->word];
	}
	*version = (c->run->begin / 64 + c->word) * 64 +
		(uint32_t)__builtin_ctzll(c->left);
	c->left &= c->left - 1;
	return true;
}

bool fields_run_has(const struct fields_run *r, uint32_t value,
	uint32_t version)
{
	uint32_t lo = r->list_at[value], hi = r->list_at[value + 1], count;
	const uint64_t *bits = fields_run_bits(r, value, &count);

	assert(version >= r->begin && version < r->end);
	if (bits)
		return bits[version / 64 - r->begin / 64] >> version % 64 & 1;
	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;
		if (r->list[middle] == version)
			return true;
		if (r->list[middle] < version)
			lo = middle + 1;
		else
			hi = middle;
	}
	return false;
}

/* ---- its order ---- */

static bool is_key(const uint8_t *key, size_t len)
{
	char digits[2 * FIELDS_KEY_MAX];
	uint8_t type = key[0] & (FIELDS_ELEMENT - 1);
	struct decimal num;

	if (key[0] >= 2 * FIELDS_ELEMENT || type > FILTER_STRING)
		return false;
	if (len > 1 + FIELDS_PAYLOAD_MAX && !fields_key_is_cut(len))
		return false;
	if (type == FILTER_NUMBER && !fields_key_is_cut(len))
		return decimal_decode(key + 1, len - 1, digits, &num);
	if (type == FILTER_STRING || type == FILTER_NUMBER)
		return true;
	return len == 1 && key[0] != FIELDS_ELEMENT;
}

static const char *check_keys(const struct fields_run *r)
{
	const uint8_t *before = NULL;
	size_t before_len = 0;

	if (r->key_at[0] != 0 || r->key_at[r->n_values] != r->keys_len)
		return "keys do not fill their bytes";
	for (uint32_t i = 0; i < r->n_values; i++) {
		uint32_t at = r->key_at[i], end = r->key_at[i + 1];
		if (end <= at || end > r->keys_len || end - at > FIELDS_KEY_MAX)
			return "a key is empty or too long";
		if (!is_key(r->keys + at, end - at))
			return "a key is none";
		if (before && fields_compare(before, before_len, r->keys + at,
			end - at) >= 0)
			return "keys are out of order";
		before = r->keys + at;
		before_len = end - at;
	}
	return NULL;
}

static const char *check_lists(const struct fields_run *r)
{
	if (r->list_at[0] != 0 || r->list_at[r->n_values] != r->n_list)
		return "lists do not fill their versions";
	for (uint32_t i = 0; i < r->n_values; i++) {
		uint32_t at = r->list_at[i], end = r->list_at[i + 1], count;
		if (end < at || end > r->n_list)
			return "lists are out of order";
		if ((at == end) != (fields_run_bits(r, i, &count) != NULL))
			return "a key has no versions, or list and bits";
		for (uint32_t k = at; k < end; k++) {
			if (r->list[k] < r->begin || r->list[k] >= r->end ||
				(k > at && r->list[k] <= r->list[k - 1]))
				return "versions are out of order or range";
		}
	}
	return NULL;
}

static const char *check_dense(const struct fields_run *r)
{
	uint32_t words = fields_run_words(r);

	for (uint32_t i = 0; i < r->n_dense; i++) {
		const uint64_t *bits = r->bits + (size_t)i * words;
		uint32_t n = 0, last = (r->end - 1) % 64;
		if (r->dense[i].value >= r->n_values ||
			(i > 0 && r->dense[i].value <= r->dense[i - 1].value))
			return "keys with bits are out of order";
		for (uint32_t k = 0; k < words; k++)
			n += (uint32_t)__builtin_popcountll(bits[k]);
		if (n != r->dense[i].count || n == 0)
			return "a key has not as many bits as it says";
		if ((bits[0] & ((1ull << r->begin % 64) - 1)) ||
			(last < 63 && bits[words - 1] >> (last + 1)))
			return "a key has bits of no version";
	}
	return NULL;
}

const char *fields_run_check(const struct fields_run *r)
{
	const char *why = r->begin < r->end ? NULL : "a run has no versions";

	if (!why)
		why = check_dense(r);
	if (!why)
		why = check_keys(r);
	return why ? why : check_lists(r);
}
