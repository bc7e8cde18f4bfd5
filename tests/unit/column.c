/* SPDX-License-Identifier: Apache-2.0 */
/* column: items in chunks: zero at first, never moved, read beside the writer. */
#include "src/column.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static void test_life(void)
{
	struct column c = {0};
	char *first;

	column_fini(&c);
	ok(true, "what never began can be ended");
	must(column_init(&c, 12) == 0);
	ok(c.n_chunks == 0, "an empty column has no chunk");
	ok(column_reserve(&c, 0) == 0 && c.n_chunks == 0,
		"no items need none");
	must(column_reserve(&c, 1) == 0);
	ok(c.n_chunks == 1, "the first item brings one");
	first = column_at(&c, 0);
	ok(((uintptr_t)first & 63) == 0, "which begins on a cache line");
	ok(first[0] == 0 && first[11] == 0, "items are zero until written");
	ok((char *)column_at(&c, 5) - first == 60, "one stands behind another");
	must(column_reserve(&c, 1000) == 0);
	ok(c.n_chunks == 1 && column_at(&c, 0) == first,
		"more of the same chunk cost nothing");
	column_fini(&c);
	column_fini(&c);
	ok(!c.rows.chunk, "ended twice is ended");
}

/* For each size of item: the last of a chunk and the first of the next. */
static void test_chunks(void)
{
	static const uint32_t strides[] = {1, 4, 8, 12, 64, 100, 512, 3072,
		65536, 262140};
	unsigned wrong = 0, moved = 0, dirty = 0, small = 0;

	for (unsigned i = 0; i < VG_ARRAY_LEN(strides); i++) {
		struct column c;
		uint32_t per;
		char *first, *last;

		must(column_init(&c, strides[i]) == 0);
		per = 1u << c.rows.shift;
		small += per < 4096 || c.chunk_len < (size_t)per * strides[i];
		must(column_reserve(&c, per) == 0);
		first = column_at(&c, 0);
		memset(first, 1, strides[i]);
		must(column_reserve(&c, per + 1) == 0);
		wrong += c.n_chunks != 2;
		last = column_at(&c, per - 1);
		memset(last, 2, strides[i]);
		dirty += *(char *)column_at(&c, per) != 0;
		memset(column_at(&c, per), 3, strides[i]);
		moved += column_at(&c, 0) != first || *first != 1;
		wrong += last[strides[i] - 1] != 2 ||
			 *(char *)column_at(&c, per) != 3;
		column_fini(&c);
	}
	ok(small == 0, "a chunk holds at least 4,096 items");
	ok(wrong == 0, "items at both sides of a chunk's end are apart");
	ok(moved == 0, "no chunk moves when another comes");
	ok(dirty == 0, "and a new one is zero");
}

#define ITEMS (3u << 20)
static struct column shared;
static _Atomic uint32_t n_written;

static void *reader_main(void *arg)
{
	uint64_t *wrong = arg;
	uint64_t dice = 1;

	while (atomic_load(&n_written) < ITEMS) {
		uint32_t n = atomic_load_explicit(
			&n_written, memory_order_acquire);
		uint32_t i;

		if (n == 0)
			continue;
		dice = dice * 6364136223846793005u + 1442695040888963407u;
		i = (uint32_t)(dice >> 32) % n;
		*wrong += *(uint32_t *)column_at(&shared, i) != i + 1;
		*wrong += *(uint32_t *)column_at(&shared, n - 1) != n;
	}
	return NULL;
}

static void test_readers(void)
{
	uint64_t wrong[2] = {0};
	pthread_t threads[2];

	must(column_init(&shared, 4) == 0);
	for (unsigned i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, reader_main,
			     &wrong[i]) == 0);
	for (uint32_t i = 0; i < ITEMS; i++) {
		must(column_reserve(&shared, i + 1) == 0);
		*(uint32_t *)column_at(&shared, i) = i + 1;
		atomic_store_explicit(&n_written, i + 1, memory_order_release);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ok(shared.n_chunks == 3, "%u items are in 3 chunks", ITEMS);
	ok(wrong[0] + wrong[1] == 0, "who learnt of an item reads it");
	column_fini(&shared);
}

int main(void)
{
	plan(15);
	test_life();
	test_chunks();
	test_readers();
	return done();
}
