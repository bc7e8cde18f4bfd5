/* SPDX-License-Identifier: Apache-2.0 */
/* column: items in chunks: zero at first, never moved, read beside the writer. */
#include "src/column.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

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

/* ---- what is on the disk ---- */

#define FILE_ROW 3136u

/* Pages of the chunk's first n items that are in memory. */
static size_t pages_in(struct column *c, uint32_t n)
{
	size_t len = (size_t)n * FILE_ROW / 4096, in = 0;
	unsigned char *page = malloc(len);

	must(page && mincore(column_at(c, 0), len * 4096, page) == 0);
	for (size_t i = 0; i < len; i++)
		in += page[i] & 1;
	free(page);
	return in;
}

/* The same once so many are, or a second has passed. */
static size_t wait_pages(struct column *c, uint32_t n, size_t wanted)
{
	size_t in = 0;

	for (int ms = 0; ms < 1000; ms++) {
		in = pages_in(c, n);
		if (in >= wanted)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return in;
}

/* Asks for every 16th of n items; how many pages are in memory then. */
static size_t fetch_some(struct column *c, uint32_t n)
{
	uint32_t items[64], m = 0;

	for (uint32_t i = 0; i < n && m < 64; i += 16)
		items[m++] = i;
	column_fetch(c, items, m);
	return wait_pages(c, n, m);
}

static void test_fetch(void)
{
	int fd = open(scratch_path("rows"), O_RDWR | O_CREAT, 0600);
	uint32_t n, at = 0;
	struct column c;
	size_t len, in;

	must(column_init(&c, FILE_ROW) == 0);
	n = 1u << c.rows.shift;
	len = (size_t)n * FILE_ROW;
	must(fd >= 0 && column_reserve(&c, n) == 0);
	column_fetch(&c, (uint32_t[]){0, 5}, 2);
	ok(atomic_load(&c.n_fetches) == 0, "of memory nothing is asked");
	memset(column_at(&c, 0), 7, len);
	must(pwrite(fd, column_at(&c, 0), len, 0) == (ssize_t)len);
	must(fsync(fd) == 0);
	must(column_add_map(&c, 0) == 0);
	must(mmap(column_at(&c, 0), len, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		     0) != MAP_FAILED);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (pages_in(&c, n) > 0) {
		skip(5, "this file system keeps files in memory");
	} else {
		in = fetch_some(&c, n);
		ok(in >= 64 && in <= 128, "the items' pages come, no others (%zu)",
			in);
		ok(memcmp(column_at(&c, 16), column_at(&c, 32), FILE_ROW) == 0 &&
				*(char *)column_at(&c, 16) == 7,
			"with what they hold");
		ok(pages_in(&c, n) <= in + 2, "reading them brings no others");
		for (uint32_t i = 0; i < n; i++) {
			column_fetch_ahead(&c, i, &at);
			must(*(char *)column_at(&c, i) == 7);
		}
		ok(wait_pages(&c, n, len / 4096) == len / 4096,
			"in order, all of them come");
		ok(at >= n && at - n <= (2u << 20) / FILE_ROW,
			"as far as one gets");
	}
	must(ftruncate(fd, 0) == 0);
	(void)fetch_some(&c, n);
	ok(column_check(&c, 0) == 0, "to ask for what was cut loses nothing");
	ok(*(unsigned char *)column_at(&c, 0) == 255 && column_check(&c, 0) < 0,
		"to read it does");
	column_fini(&c);
	close(fd);
}

int main(void)
{
	plan(23);
	test_life();
	test_chunks();
	test_readers();
	test_fetch();
	return done();
}
