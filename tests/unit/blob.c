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
	void *a, *c;

	blob_init(&b);
	ok(b.bytes == 0, "a new blob is empty");
	ok(blob_add(&b, "abc", 3, &a) == 0 && memcmp(a, "abc", 3) == 0,
		"what is added reads back");
	ok(((uintptr_t)a & 7) == 0, "at an address aligned to 8");
	ok(blob_add(&b, NULL, 5, &c) == 0, "space can be had without bytes");
	ok((char *)c - (char *)a == 8, "right behind");
	ok(b.bytes == 16, "and both are counted, with their padding");
	memcpy(c, "12345", 5);
	ok(memcmp(a, "abc", 3) == 0, "writing to it leaves the other alone");
	blob_fini(&b);
	ok(b.bytes == 0 && !b.chunk, "nothing is left at the end");
	blob_fini(&b);
	ok(true, "and ending it twice is harmless");
}

/* Adds of all lengths, small ones most: nothing moves, nothing is trodden on. */
#define MANY 4000
static void test_stays(void)
{
	static char *at[MANY];
	static unsigned len[MANY];
	struct blob b;
	unsigned moved = 0, wrong = 0;

	blob_init(&b);
	for (unsigned i = 0; i < MANY; i++) {
		void *p;

		len[i] = draw(50) ? 1 + draw(300) : 1 + draw(60000);
		must(blob_add(&b, NULL, len[i], &p) == 0);
		at[i] = p;
		moved += ((uintptr_t)p & 7) != 0;
		memset(p, (int)(i & 0xff), len[i]);
	}
	for (unsigned i = 0; i < MANY; i++)
		for (unsigned j = 0; j < len[i]; j++)
			wrong += (unsigned char)at[i][j] != (i & 0xff);
	ok(moved == 0, "every piece is aligned");
	ok(wrong == 0, "%u pieces over many chunks keep their bytes", MANY);
	blob_fini(&b);
}

static void test_large(void)
{
	struct blob b;
	size_t len = 3u << 20;
	void *a, *c;

	blob_init(&b);
	must(blob_add(&b, "x", 1, &c) == 0);
	ok(blob_add(&b, NULL, len, &a) == 0, "a piece larger than a chunk goes");
	memset(a, 7, len);
	ok(*(char *)c == 'x', "and harms nobody");
	ok(blob_add(&b, NULL, 0, &a) == 0, "an empty piece is a piece");
	blob_fini(&b);
}

static void test_take_back(void)
{
	struct blob b;
	void *a, *c, *again;

	blob_init(&b);
	must(blob_add(&b, "first", 5, &a) == 0);
	must(blob_add(&b, "second", 6, &c) == 0);
	blob_del_last(&b, c, 6);
	ok(b.bytes == 8, "what is taken back is no longer counted");
	must(blob_add(&b, "third", 5, &again) == 0);
	ok(again == c, "and its place is given again");
	ok(memcmp(a, "first", 5) == 0, "the one before it stays");
	blob_fini(&b);
}

/* Every fill of the first chunk, so that the second piece begins a new one
 * wherever it can: both are taken back, newest first, as a refused change's
 * id and metadata are. */
static void test_take_back_over_chunks(void)
{
	unsigned wrong = 0, lost = 0;

	for (size_t fill = 3900; fill <= 4096; fill += 8) {
		struct blob b;
		void *first, *id, *meta, *next;
		uint64_t before;

		blob_init(&b);
		must(blob_add(&b, NULL, fill, &first) == 0);
		memset(first, 1, fill);
		before = b.bytes;
		must(blob_add(&b, NULL, 40, &id) == 0);
		must(blob_add(&b, NULL, 100, &meta) == 0);
		blob_del_last(&b, meta, 100);
		blob_del_last(&b, id, 40);
		wrong += b.bytes != before;
		must(blob_add(&b, NULL, 24, &next) == 0);
		memset(next, 2, 24);
		for (size_t i = 0; i < fill; i++)
			lost += ((char *)first)[i] != 1;
		blob_fini(&b);
	}
	ok(wrong == 0, "two pieces in two chunks can both be taken back");
	ok(lost == 0, "and what stood before them is whole");
}

/* A stack of pieces against a list of them. */
static void test_random(void)
{
	static char *at[600];
	static unsigned len[600];
	struct blob b;
	unsigned n = 0, wrong = 0;
	uint64_t bytes = 0;

	blob_init(&b);
	for (unsigned step = 0; step < 20000; step++) {
		if (n < 600 && (n == 0 || draw(100) < 51)) {
			void *p;

			len[n] = 1 + draw(draw(20) ? 200 : 9000);
			must(blob_add(&b, NULL, len[n], &p) == 0);
			at[n] = p;
			memset(p, (int)(n & 0xff), len[n]);
			bytes += (len[n] + 7) / 8 * 8;
			n++;
		} else {
			n--;
			for (unsigned j = 0; j < len[n]; j++)
				wrong += (unsigned char)at[n][j] != (n & 0xff);
			blob_del_last(&b, at[n], len[n]);
			bytes -= (len[n] + 7) / 8 * 8;
		}
		wrong += b.bytes != bytes;
	}
	ok(wrong == 0, "adding and taking back in any order keeps the books");
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
