/* SPDX-License-Identifier: Apache-2.0 */
/* blob: bytes stay where they were put, and the last can be taken back. */
#include "src/blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static uint64_t dice;

static unsigned draw(unsigned below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned)(dice >> 33) % below;
}

static void test_first(void)
{
	struct blob b;
	uint32_t a, c;

	must(blob_init(&b) == 0);
	ok(b.n == 0, "a new blob is empty");
	ok(blob_add(&b, "abc", 3, &a) == 0 &&
			memcmp(blob_at(&b, a), "abc", 3) == 0,
		"what is added reads back");
	ok(((uintptr_t)blob_at(&b, a) & 7) == 0, "at an address aligned to 8");
	ok(blob_add(&b, NULL, 5, &c) == 0, "space can be had without bytes");
	ok(c == a + 1, "right behind");
	ok(b.n == 2, "and both are counted");
	memcpy(blob_at(&b, c), "12345", 5);
	ok(memcmp(blob_at(&b, a), "abc", 3) == 0,
		"writing to it leaves the other alone");
	blob_fini(&b);
	ok(b.n == 0, "nothing is left at the end");
	blob_fini(&b);
	ok(true, "and ending it twice is harmless");
}

/* Adds of all lengths, small ones most: nothing moves, nothing is trodden on,
 * and no piece lies across two chunks. */
#define MANY 4000
static void test_stays(void)
{
	static uint32_t at[MANY];
	static unsigned len[MANY];
	struct blob b;
	unsigned apart = 0, wrong = 0;

	must(blob_init(&b) == 0);
	for (unsigned i = 0; i < MANY; i++) {
		len[i] = draw(50) ? 1 + draw(300) : 1 + draw(400000);
		must(blob_add(&b, NULL, len[i], &at[i]) == 0);
		memset(blob_at(&b, at[i]), (int)(i & 0xff), len[i]);
		apart += at[i] >> b.units.rows.shift !=
			 (at[i] + (len[i] - 1) / BLOB_UNIT) >>
				 b.units.rows.shift;
	}
	for (unsigned i = 0; i < MANY; i++)
		for (unsigned j = 0; j < len[i]; j++)
			wrong += ((unsigned char *)blob_at(&b, at[i]))[j] !=
				 (i & 0xff);
	ok(b.units.n_chunks > 1 && apart == 0, "every piece is in one chunk");
	ok(wrong == 0, "%u pieces over many chunks keep their bytes", MANY);
	blob_fini(&b);
}

static void test_large(void)
{
	struct blob b;
	uint32_t a, c;

	must(blob_init(&b) == 0);
	must(blob_add(&b, "x", 1, &c) == 0);
	ok(blob_add(&b, NULL, BLOB_PIECE_MAX, &a) == 0,
		"the largest piece goes");
	memset(blob_at(&b, a), 7, BLOB_PIECE_MAX);
	ok(*(char *)blob_at(&b, c) == 'x', "and harms nobody");
	ok(blob_add(&b, NULL, 0, &a) == 0 && a == b.n,
		"an empty piece is a piece");
	blob_fini(&b);
}

static void test_take_back(void)
{
	struct blob b;
	uint32_t a, c, again, n;

	must(blob_init(&b) == 0);
	must(blob_add(&b, "first", 5, &a) == 0);
	n = b.n;
	must(blob_add(&b, "second", 6, &c) == 0);
	blob_del_last(&b, n);
	ok(b.n == n, "what is taken back is no longer counted");
	must(blob_add(&b, "third", 5, &again) == 0);
	ok(again == c, "and its place is given again");
	ok(memcmp(blob_at(&b, a), "first", 5) == 0, "the one before it stays");
	blob_fini(&b);
}

/* Every fill around the end of a chunk, so that the second piece begins a new
 * one wherever it can: both are taken back, newest first, as a refused
 * change's id and metadata are. */
static void test_take_back_over_chunks(void)
{
	unsigned wrong = 0, lost = 0;

	for (size_t room = 0; room <= 200; room += 8) {
		size_t fill = BLOB_PIECE_MAX - room;
		struct blob b;
		uint32_t first, id, meta, next, before, between;

		must(blob_init(&b) == 0);
		must(blob_add(&b, NULL, fill, &first) == 0);
		memset(blob_at(&b, first), 1, fill);
		before = b.n;
		must(blob_add(&b, NULL, 40, &id) == 0);
		between = b.n;
		must(blob_add(&b, NULL, 100, &meta) == 0);
		blob_del_last(&b, between);
		blob_del_last(&b, before);
		wrong += b.n != before;
		must(blob_add(&b, NULL, 24, &next) == 0);
		memset(blob_at(&b, next), 2, 24);
		for (size_t i = fill - 300; i < fill; i++)
			lost += ((char *)blob_at(&b, first))[i] != 1;
		blob_fini(&b);
	}
	ok(wrong == 0, "two pieces in two chunks can both be taken back");
	ok(lost == 0, "and what stood before them is whole");
}

static void test_random(void)
{
	static uint32_t at[600], before[600];
	static unsigned len[600];
	struct blob b;
	unsigned n = 0, wrong = 0;

	must(blob_init(&b) == 0);
	for (unsigned step = 0; step < 20000; step++) {
		if (n < 600 && (n == 0 || draw(100) < 51)) {
			len[n] = 1 + draw(draw(20) ? 200 : 90000);
			before[n] = b.n;
			must(blob_add(&b, NULL, len[n], &at[n]) == 0);
			memset(blob_at(&b, at[n]), (int)(n & 0xff), len[n]);
			n++;
		} else {
			n--;
			for (unsigned j = 0; j < len[n]; j++)
				wrong += ((unsigned char *)blob_at(
						 &b, at[n]))[j] != (n & 0xff);
			blob_del_last(&b, before[n]);
		}
	}
	ok(wrong == 0, "adding and taking back in any order keeps the bytes");
	blob_fini(&b);
}

int main(void)
{
	plan(20);
	dice = seed() * 2 + 1;
	test_first();
	test_stays();
	test_large();
	test_take_back();
	test_take_back_over_chunks();
	test_random();
	return done();
}
