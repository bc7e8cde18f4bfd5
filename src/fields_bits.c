/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields_bits.c: sets of versions, a bit for each, and how they become a
 * roaring bitmap.
 *
 * A set is put together as bits, which costs a word for 64 versions whatever
 * is in it. It is given out through the portable form of the Roaring format
 * specification (github.com/RoaringBitmap/RoaringFormatSpec), "without run
 * containers": u32 12346, u32 containers, for each u16 its number (version /
 * 65536) and u16 its versions - 1, for each u32 where it begins, then each: up
 * to 4096 versions as u16, ascending, more as 1024 u64 of bits.
 */
#include <assert.h>
#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"
#include "src/wire.h"

#define COOKIE 12346u
#define CONTAINER_WORDS 1024u /* of 65536 versions */
#define ARRAY_MAX 4096u
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"words of bits are copied as they are");

int fields_bits_init(struct fields_bits *b, uint32_t n)
{
	b->n_words = (size_t)n / 64 + 1;
	b->words = calloc(b->n_words, sizeof(*b->words));
	return b->words ? 0 : -ENOMEM;
}

void fields_bits_fini(struct fields_bits *b)
{
	free(b->words);
	*b = (struct fields_bits){NULL, 0};
}

void fields_bits_take(struct fields_bits *b, const struct fields_bits *from)
{
	assert(b->n_words == from->n_words);
	for (size_t i = 0; i < b->n_words; i++)
		b->words[i] = from->words[i] & ~b->words[i];
}

void fields_bits_and(struct fields_bits *b, const struct fields_bits *with)
{
	assert(b->n_words == with->n_words);
	for (size_t i = 0; i < b->n_words; i++)
		b->words[i] &= with->words[i];
}

void fields_bits_or(struct fields_bits *b, const struct fields_bits *with)
{
	assert(b->n_words == with->n_words);
	for (size_t i = 0; i < b->n_words; i++)
		b->words[i] |= with->words[i];
}

void fields_bits_not(struct fields_bits *b)
{
	for (size_t i = 0; i < b->n_words; i++)
		b->words[i] = ~b->words[i];
}

void fields_bits_cut(struct fields_bits *b, uint32_t n)
{
	size_t word = n / 64;

	if (word >= b->n_words)
		return;
	b->words[word] &= (1ull << n % 64) - 1;
	memset(b->words + word + 1, 0, (b->n_words - word - 1) * 8);
}

void fields_bits_fill(struct fields_bits *b, uint32_t n)
{
	memset(b->words, 0xff, b->n_words * sizeof(*b->words));
	fields_bits_cut(b, n);
}

struct import {
	struct fields_bits *b;
	uint32_t n;
};

/* Ascending, so that the first one beyond n ends it. */
static bool import_one(uint32_t version, void *ctx)
{
	struct import *import = ctx;

	if (version < import->n)
		fields_bits_set(import->b, version);
	return version < import->n;
}

int fields_bits_among(const struct fields_among *among, uint32_t n,
	struct fields_bits *b)
{
	struct import import = {b, n};
	int rc = fields_bits_init(b, n);

	if (rc < 0)
		return rc;
	if (among && among->set)
		roaring_iterate(among->set, import_one, &import);
	else
		fields_bits_fill(b, n);
	if (!among || !among->is_among)
		return 0;
	for (size_t i = 0; i < b->n_words; i++) {
		uint64_t left = b->words[i];
		for (; left != 0; left &= left - 1) {
			uint32_t bit = (uint32_t)__builtin_ctzll(left);
			if (!among->is_among(among->ctx, (uint32_t)i * 64 + bit))
				b->words[i] &= ~(1ull << bit);
		}
	}
	return 0;
}

/* A container's words; the last one of a set may have fewer. */
struct container {
	const uint64_t *words;
	size_t n_words;
	uint32_t count;
	uint16_t no;
};

static struct container get_container(const struct fields_bits *b, size_t no)
{
	struct container c = {.words = b->words + no * CONTAINER_WORDS,
		.no = (uint16_t)no};
	size_t left = b->n_words - no * CONTAINER_WORDS;

	assert(no * CONTAINER_WORDS < b->n_words);
	c.n_words = VG_MIN(left, (size_t)CONTAINER_WORDS);
	for (size_t i = 0; i < c.n_words; i++) {
		if (c.words[i] != 0) /* mostly 0, and counting is slow */
			c.count += (uint32_t)__builtin_popcountll(c.words[i]);
	}
	return c;
}

static size_t container_size(uint32_t count)
{
	return count > ARRAY_MAX ? CONTAINER_WORDS * 8 : 2 * (size_t)count;
}

static void put_container(struct wire_out *out, const struct container *c)
{
	static const uint64_t zero[CONTAINER_WORDS];

	if (c->count > ARRAY_MAX) {
		wire_put_bytes(out, c->words, c->n_words * 8);
		wire_put_bytes(out, zero, (CONTAINER_WORDS - c->n_words) * 8);
		return;
	}
	uint16_t versions[ARRAY_MAX];
	uint32_t n = 0;
	for (size_t i = 0; i < c->n_words; i++) {
		for (uint64_t w = c->words[i]; w != 0; w &= w - 1)
			versions[n++] = (uint16_t)(i * 64 +
				(size_t)__builtin_ctzll(w));
	}
	assert(n == c->count);
	wire_put_bytes(out, versions, 2 * (size_t)n);
}

/* The portable form of n containers that are not empty; size is their bytes.
 * Owned; NULL: no memory. */
static char *to_portable(const struct container *containers, size_t n,
	size_t size)
{
	size_t at = 8 + 8 * n;
	char *form = malloc(at + size);

	if (!form)
		return NULL;
	struct wire_out out = wire_out_init(form, 8 + 4 * n);
	struct wire_out offsets = wire_out_init(form + 8 + 4 * n, 4 * n);
	struct wire_out body = wire_out_init(form + at, size);
	wire_put_u32(&out, COOKIE);
	wire_put_u32(&out, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		const struct container *c = &containers[i];
		wire_put_u16(&out, c->no);
		wire_put_u16(&out, (uint16_t)(c->count - 1));
		wire_put_u32(&offsets, (uint32_t)(at + body.len));
		put_container(&body, c);
	}
	assert(!out.failed && !offsets.failed && !body.failed);
	assert(offsets.len == 4 * n && body.len == size);
	return form;
}

int fields_bits_export(const struct fields_bits *b,
	struct roaring_bitmap_s **out)
{
	size_t n_all = (b->n_words + CONTAINER_WORDS - 1) / CONTAINER_WORDS;
	struct container *c = malloc(n_all * sizeof(*c));
	roaring_bitmap_t *set = NULL;
	size_t n = 0, size = 0;
	char *form;

	if (!c)
		return -ENOMEM;
	for (size_t i = 0; i < n_all; i++) {
		c[n] = get_container(b, i);
		size += container_size(c[n].count);
		n += c[n].count > 0;
	}
	form = to_portable(c, n, size);
	if (form)
		set = roaring_bitmap_portable_deserialize_safe(form,
			8 + 8 * n + size);
	free(form);
	free(c);
	if (!set)
		return -ENOMEM;
	*out = set;
	return 0;
}
