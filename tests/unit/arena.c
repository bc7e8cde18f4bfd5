/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c: staged files are kept, and bounded. */
#include "fs/arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/arenakit.h"
#include "tests/tap.h"

#define LIMIT (64ull << 20)

static const char *why;

static int count_file(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	(void)idx;
	(void)attr;
	++*(uint32_t *)ctx;
	return 0;
}

static bool same_model(struct arena *a, const struct ak_model *m)
{
	uint32_t n = 0, n_there = 0;

	for (int i = 0; i < AK_SLOTS; i++) {
		if (!m->slot[i].is_there)
			continue;
		n_there++;
		if (!ak_same_file(a, &m->slot[i]))
			return false;
	}
	return !arena_each(a, count_file, &n) && n == n_there;
}

/* ---- by hand --------------------------------------------------------- */

static struct arena_attr attr_named(const char *name)
{
	struct arena_attr a = {.name_len = (uint8_t)strlen(name)};

	memcpy(a.name, name, strlen(name));
	return a;
}

static struct arena *arena_for(uint64_t limit, int *fd)
{
	struct arena *a;

	*fd = arena_create(limit);
	must(*fd >= 0 && arena_open(*fd, &a) == 0);
	return a;
}

/* Memory that the arena takes, as the kernel counts it. */
static uint64_t memory_of(int fd)
{
	struct stat st;

	must(fstat(fd, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

static bool part_is(struct arena *a, uint32_t idx, const char *want, size_t len)
{
	size_t got;
	const char *bytes = arena_bytes(a, idx, ARENA_BODY, &got);

	return got == len && !memcmp(bytes, want, len);
}

static void test_create(void)
{
	struct arena *a, *other;
	uint64_t magic = 1;
	uint32_t version = 99;
	int fd;

	ok(arena_create(ARENA_LIMIT_MIN - 1) == -EINVAL &&
			arena_create(ARENA_LIMIT_MAX + 1) == -EINVAL,
		"a limit out of range is refused");
	fd = arena_create(ARENA_LIMIT_MAX);
	ok(fd >= 0 && memory_of(fd) <= 4096 && !arena_open(fd, &a) &&
			arena_check(a, &why),
		"the largest arena takes one page of memory");
	ok(arena_session(a) != 0, "it has a session");
	ok(ftruncate(fd, 4096) < 0, "nobody can cut it");
	must(arena_open(fd, &other) == 0);
	ok(arena_session(other) == arena_session(a), "which it keeps");
	arena_close(other);
	arena_close(a);
	must(pwrite(fd, &version, 4, 8) == 4);
	ok(arena_open(fd, &a) == -VG_EFORMAT, "another version is refused");
	must(pwrite(fd, &magic, 8, 0) == 8);
	ok(arena_open(fd, &a) == -VG_ECORRUPT, "so is what is no arena");
	close(fd);
	fd = memfd_create("not-an-arena", MFD_CLOEXEC);
	ok(arena_open(fd, &a) == -VG_ECORRUPT, "and an empty file");
	close(fd);
	arena_close(NULL);
}

static void test_bytes(void)
{
	struct arena_attr attr = attr_named("first"), other = attr_named("moved");
	char zeros[9000] = {0}, text[9000];
	uint32_t idx;
	size_t len;
	int fd;
	struct arena *a = arena_for(LIMIT, &fd);

	ok(!arena_file_new(a, &attr, &idx) &&
			!memcmp(arena_file_get(a, idx), &attr, sizeof(attr)),
		"a file has the attributes it was made with");
	ok(arena_bytes(a, idx, ARENA_BODY, &len) && !len, "and no bytes");
	ok(!arena_file_put(a, idx, &other) &&
			!memcmp(arena_file_get(a, idx), &other, sizeof(other)),
		"attributes are replaced");
	other.name_len = 0;
	ok(arena_file_put(a, idx, &other) == -EINVAL &&
			arena_file_new(a, &other, &idx) == -EINVAL,
		"a file without a name is refused");
	memset(text, 'x', sizeof(text));
	must(arena_pwrite(a, idx, ARENA_BODY, 0, text, 9000) == 0);
	ok(part_is(a, idx, text, 9000), "what is written is read");
	must(arena_truncate(a, idx, ARENA_BODY, 10) == 0);
	ok(part_is(a, idx, text, 10), "a shortened part keeps its beginning");
	must(arena_pwrite(a, idx, ARENA_BODY, 8000, "end", 3) == 0);
	memset(text + 10, 0, sizeof(text) - 10);
	memcpy(text + 8000, "end", 3);
	ok(part_is(a, idx, text, 8003), "a gap reads as zeros over old bytes");
	must(arena_truncate(a, idx, ARENA_BODY, 0) == 0);
	must(arena_truncate(a, idx, ARENA_BODY, 9000) == 0);
	ok(part_is(a, idx, zeros, 9000), "a lengthened part reads as zeros");
	must(arena_pwrite(a, idx, ARENA_META, 0, "{}", 2) == 0);
	ok(part_is(a, idx, zeros, 9000) &&
			!memcmp(arena_bytes(a, idx, ARENA_META, &len), "{}", 2),
		"metadata is apart from the body");
	must(arena_pwrite(a, idx, ARENA_META, 7, NULL, 0) == 0);
	arena_bytes(a, idx, ARENA_META, &len);
	ok(len == 2, "writing nothing changes nothing");
	ok(arena_check(a, &why), "all is in order");
	arena_close(a);
	close(fd);
}

static void test_bounds(void)
{
	struct arena_stat st;
	struct arena *a;
	uint32_t idx;
	size_t len;
	int fd;

	a = arena_for(LIMIT, &fd);
	must(arena_file_new(a, &ak_plain, &idx) == 0);
	must(arena_pwrite(a, idx, ARENA_BODY, 0, "abc", 3) == 0);
	ok(arena_pwrite(a, idx, ARENA_BODY, VG_BODY_MAX, "x", 1) == -EFBIG &&
			arena_pwrite(a, idx, ARENA_BODY, UINT64_MAX, "x", 1) ==
				-EFBIG &&
			arena_pwrite(a, idx, ARENA_BODY, 0, "x", SIZE_MAX) ==
				-EFBIG &&
			arena_truncate(a, idx, ARENA_BODY, VG_BODY_MAX + 1) ==
				-EFBIG,
		"a part ends at VG_BODY_MAX");
	ok(arena_pwrite(a, idx, ARENA_BODY, LIMIT, "x", 1) == -ENOSPC &&
			arena_truncate(a, idx, ARENA_BODY, LIMIT + 1) ==
				-ENOSPC,
		"all parts together end at the limit");
	arena_stat(a, &st);
	ok(part_is(a, idx, "abc", 3) && st.used == 4096 && st.n_files == 1 &&
			st.limit == LIMIT,
		"what is refused changes nothing");
	ok(!arena_truncate(a, idx, ARENA_BODY, LIMIT), "the limit itself fits");
	ok(arena_pwrite(a, idx, ARENA_META, 0, "x", 1) == -ENOSPC &&
			arena_bytes(a, idx, ARENA_META, &len) && !len,
		"and not a byte more");
	ok(memory_of(fd) >= LIMIT, "memory was taken for it");
	must(arena_truncate(a, idx, ARENA_BODY, 70000) == 0);
	ok(memory_of(fd) < 400000, "shortening gives memory back");
	must(arena_truncate(a, idx, ARENA_BODY, LIMIT) == 0);
	arena_file_del(a, idx);
	arena_stat(a, &st);
	ok(memory_of(fd) < 400000 && !st.used && !st.n_files,
		"so does removing");
	ok(arena_check(a, &why), "all is in order");
	arena_close(a);
	close(fd);
}

/* Pages of what was removed are the next file's, 16 MiB at most, and no file
 * takes more of them than it has bytes. */
static void test_spares(void)
{
	static const char bytes[3u << 20] = "x";
	struct arena *a;
	uint32_t idx, many[20], kept;
	bool is_kept = true;
	int fd;

	a = arena_for(64u << 20, &fd);
	must(arena_file_new(a, &ak_plain, &idx) == 0);
	kept = (uint32_t)memory_of(fd);
	must(arena_pwrite(a, idx, ARENA_BODY, 0, bytes, sizeof(bytes)) == 0);
	must(arena_truncate(a, idx, ARENA_BODY, 0) == 0);
	ok(memory_of(fd) >= kept + sizeof(bytes) && arena_check(a, &why),
		"what was written stays in memory");
	must(arena_pwrite(a, idx, ARENA_BODY, 0, bytes, 1u << 20) == 0);
	must(arena_pwrite(a, idx, ARENA_BODY, 1u << 20, bytes, 1u << 20) == 0);
	ok(memory_of(fd) == kept + sizeof(bytes) && arena_check(a, &why),
		"the next file is written there");
	must(arena_pwrite(a, idx, ARENA_BODY, 2u << 20, bytes, 5000) == 0);
	ok(memory_of(fd) <= kept + (2u << 20) + 2 * 65536 &&
			arena_check(a, &why),
		"what it has no bytes for is given back");
	arena_file_del(a, idx);
	for (uint32_t i = 0; i < VG_ARRAY_LEN(many); i++)
		must(arena_file_new(a, &ak_plain, &many[i]) == 0 &&
			arena_pwrite(a, many[i], ARENA_BODY, 0, bytes,
				sizeof(bytes)) == 0);
	for (uint32_t i = 0; i < VG_ARRAY_LEN(many); i++) {
		arena_file_del(a, many[i]);
		is_kept &= arena_check(a, &why);
	}
	ok(is_kept && memory_of(fd) <= kept + (17ull << 20),
		"of many 16 MiB stay");
	arena_close(a);
	close(fd);
}

static void test_table(void)
{
	static uint32_t idx[ARENA_FILES_MAX];
	struct arena_stat st;
	uint32_t extra, n = 0;
	bool is_made = true;
	int fd;
	struct arena *a = arena_for(1ull << 30, &fd);

	for (uint32_t i = 0; i < ARENA_FILES_MAX; i++) {
		is_made &= !arena_file_new(a, &ak_plain, &idx[i]) &&
			!arena_pwrite(a, idx[i], ARENA_BODY, 0, "vector", 6);
	}
	ok(is_made, "65,536 files are made");
	ok(arena_file_new(a, &ak_plain, &extra) == -ENOSPC, "and not one more");
	arena_file_del(a, idx[777]);
	ok(!arena_file_new(a, &ak_plain, &extra) && extra == idx[777],
		"a removed file's place is used again");
	ok(!arena_each(a, count_file, &n) && n == ARENA_FILES_MAX,
		"each of them is found");
	for (uint32_t i = 0; i < ARENA_FILES_MAX; i++)
		arena_file_del(a, idx[i]);
	arena_stat(a, &st);
	ok(!st.n_files && !st.used && arena_check(a, &why), "all are removed");
	ok(memory_of(fd) < (64ull << 20) + (17ull << 20),
		"of small files at most 16 MiB stay beside the table");
	arena_close(a);
	must(arena_open(fd, &a) == 0);
	ok(memory_of(fd) < (64ull << 20) + (1ull << 20),
		"opening again gives that back, too");
	arena_close(a);
	close(fd);
}

static int stop_at(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	(void)attr;
	return idx == *(uint32_t *)ctx ? 42 : 0;
}

static int remove_it(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	(void)attr;
	arena_file_del(ctx, idx);
	return 0;
}

static void test_each(void)
{
	uint32_t idx[3], n = 0;
	int fd;
	struct arena *a = arena_for(LIMIT, &fd);

	for (int i = 0; i < 3; i++)
		must(arena_file_new(a, &ak_plain, &idx[i]) == 0);
	ok(arena_each(a, stop_at, &idx[1]) == 42,
		"a callback's refusal ends the walk");
	ok(!arena_each(a, remove_it, a) && !arena_each(a, count_file, &n) && !n,
		"a callback may remove its file");
	arena_close(a);
	close(fd);
}

/* Damage that only a bug of ours could do is seen, not believed. */
static void test_damage(void)
{
	static const struct {
		off_t at;
		uint64_t value;
		const char *what;
	} t[] = {
		{0, 2, "a state that is none"},
		{4, 2, "a third copy of the attributes"},
		{8, 4096 + 18, "a block of an order too high"},
		{8, 4096, "a block without an order"},
		{8, 4096 + 2, "a block that begins between blocks"},
		{8, 1ull << 50 | 1, "a block beyond the space"},
		{8, 0, "bytes without a block"},
		{16, 4097, "more bytes than the block has"},
		{24, 1, "a block that two parts have"},
	};
	const off_t record = 65536;
	struct arena *a, *other;
	uint64_t keep;
	uint32_t idx;
	int fd;

	a = arena_for(LIMIT, &fd);
	must(arena_file_new(a, &ak_plain, &idx) == 0 && idx == 0);
	must(arena_pwrite(a, idx, ARENA_BODY, 0, "abc", 3) == 0);
	for (size_t i = 0; i < VG_ARRAY_LEN(t); i++) {
		size_t len = t[i].at < 8 ? 4 : 8;

		must(pread(fd, &keep, len, record + t[i].at) == (ssize_t)len);
		must(pwrite(fd, &t[i].value, len, record + t[i].at) ==
			(ssize_t)len);
		ok(arena_open(fd, &other) == -VG_ECORRUPT &&
				!arena_check(a, &why),
			"refused: %s", t[i].what);
		must(pwrite(fd, &keep, len, record + t[i].at) == (ssize_t)len);
	}
	ok(arena_check(a, &why), "undamaged it is accepted");
	arena_close(a);
	close(fd);
}

/* ---- random ---------------------------------------------------------- */

static void test_model(void)
{
	long n = env_long("VG_ARENA_STEPS", 6000);
	struct ak_model *m = calloc(1, sizeof(*m));
	uint64_t state = seed();
	bool is_same = true, is_good = true;
	struct arena *a, *again;
	int fd;

	a = arena_for(512ull << 20, &fd);
	must(m);
	for (long i = 0; i < n; i++) {
		struct ak_change c = ak_change(m, &state);

		must(ak_enact(a, &m->slot[c.slot].idx, &c) == 0);
		ak_apply(m, &c);
		if (m->slot[c.slot].is_there)
			is_same &= ak_same_file(a, &m->slot[c.slot]);
		if (i % 1000 == 0)
			is_good &= arena_check(a, &why);
	}
	ok(is_same && same_model(a, m), "random changes do what they say");
	ok(is_good && arena_check(a, &why), "and leave all in order");
	must(arena_open(fd, &again) == 0);
	ok(same_model(again, m) && arena_check(again, &why),
		"mapped a second time it has the same files");
	arena_close(a);
	ok(same_model(again, m), "whether or not the first is closed");
	for (int i = 0; i < AK_SLOTS; i++) {
		if (m->slot[i].is_there)
			arena_file_del(again, m->slot[i].idx);
	}
	ok(arena_check(again, &why) && memory_of(fd) < 20ull << 20,
		"when all are removed memory is given back");
	arena_close(again);
	close(fd);
	ak_fini(m);
}

#define N_THREADS 4

struct shared_run {
	struct arena *a;
	uint64_t seed;
	bool is_same;
};

static void *run_thread(void *arg)
{
	struct shared_run *run = arg;
	struct ak_model *m = calloc(1, sizeof(*m));
	uint64_t state = run->seed;

	must(m);
	run->is_same = true;
	for (int i = 0; i < 800; i++) {
		struct ak_change c = ak_change(m, &state);

		must(ak_enact(run->a, &m->slot[c.slot].idx, &c) == 0);
		ak_apply(m, &c);
		if (m->slot[c.slot].is_there)
			run->is_same &= ak_same_file(run->a, &m->slot[c.slot]);
	}
	for (int i = 0; i < AK_SLOTS; i++) {
		if (m->slot[i].is_there)
			run->is_same &= ak_same_file(run->a, &m->slot[i]);
	}
	ak_fini(m);
	return NULL;
}

static void test_threads(void)
{
	struct shared_run run[N_THREADS];
	pthread_t thread[N_THREADS];
	bool is_same = true;
	int fd;
	struct arena *a = arena_for(2ull << 30, &fd);

	for (int i = 0; i < N_THREADS; i++) {
		run[i] = (struct shared_run){
			.a = a, .seed = seed() + 1 + (uint64_t)i};
		must(!pthread_create(&thread[i], NULL, run_thread, &run[i]));
	}
	for (int i = 0; i < N_THREADS; i++) {
		pthread_join(thread[i], NULL);
		is_same &= run[i].is_same;
	}
	ok(is_same, "threads do not touch each other's files");
	ok(arena_check(a, &why), "and leave all in order");
	arena_close(a);
	close(fd);
}

int main(void)
{
	plan(58);
	alarm(300);
	test_create();
	test_bytes();
	test_bounds();
	test_spares();
	test_table();
	test_each();
	test_damage();
	test_model();
	test_threads();
	return done();
}
