/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c: staged files are kept, bounded, and outlive a killed daemon. */
#include "fs/arena.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"

#define LIMIT (64ull << 20)
#define N_SLOTS 48	       /* files of a model */
#define PART_MAX (3u << 20)    /* bytes of a part in the model */

static const char *why;

/* ---- a model: the same files in plain memory ------------------------- */

struct bytes {
	char *at;
	size_t len, cap;
};

struct slot {
	bool is_there;
	uint32_t idx;
	struct arena_attr attr;
	struct bytes part[2];
};

struct model {
	struct slot slot[N_SLOTS];
};

enum kind { NEW, DEL, PUT, WRITE, TRUNCATE };

/* One change, wholly determined by the generator's state. */
struct change {
	enum kind kind;
	unsigned slot;
	enum arena_part part;
	uint64_t off;
	size_t len;
	struct arena_attr attr;
	char fill;
};

/* xorshift64: each model has a state of its own, to be run twice. */
static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static struct arena_attr attr_from(uint64_t *state)
{
	struct arena_attr a = {
		.serial = next(state),
		.mtime_ns = (int64_t)next(state),
		.mode = (uint32_t)next(state),
		.flags = (uint32_t)next(state),
		.area = (uint8_t)next(state),
		.name_len = (uint8_t)(1 + next(state) % VG_ID_MAX),
	};

	memset(a.name, (int)('a' + next(state) % 26), a.name_len);
	memset(a.uuid, (int)next(state), sizeof(a.uuid));
	return a;
}

static struct change change_from(const struct model *m, uint64_t *state)
{
	/* Mostly vectors, some text, now and then a batch. */
	static const size_t bound[] = {2000, 2000, 2000, 30000, 100000};
	struct change c = {.slot = (unsigned)(next(state) % N_SLOTS)};
	const struct slot *s = &m->slot[c.slot];
	uint64_t dice = next(state) % 100;
	size_t most = bound[next(state) % VG_ARRAY_LEN(bound)];

	if (next(state) % 32 == 0)
		most = PART_MAX / 2;
	c.part = next(state) % 4 ? ARENA_BODY : ARENA_META;
	c.kind = !s->is_there ? NEW :
		 dice < 10    ? DEL :
		 dice < 20    ? PUT :
		 dice < 35    ? TRUNCATE :
				WRITE;
	c.attr = attr_from(state);
	c.fill = (char)('A' + next(state) % 26);
	c.len = (size_t)(next(state) % most);
	c.off = next(state) % 2 ? s->part[c.part].len : next(state) % most;
	if (c.off + c.len > PART_MAX)
		c.off = 0;
	if (c.kind == TRUNCATE && next(state) % 4 == 0)
		c.len = 0;
	return c;
}

static void lengthen(struct bytes *b, size_t len)
{
	if (len > b->cap) {
		b->cap = len * 2;
		b->at = realloc(b->at, b->cap);
		must(b->at);
	}
	if (len > b->len)
		memset(b->at + b->len, 0, len - b->len);
}

/* What the change does to the model. */
static void apply(struct model *m, const struct change *c)
{
	struct slot *s = &m->slot[c->slot];
	struct bytes *b = &s->part[c->part];

	switch (c->kind) {
	case NEW:
		s->is_there = true;
		s->part[0].len = s->part[1].len = 0;
		s->attr = c->attr;
		break;
	case DEL:
		s->is_there = false;
		break;
	case PUT:
		s->attr = c->attr;
		break;
	case WRITE:
		if (!c->len)
			break;
		lengthen(b, c->off + c->len);
		memset(b->at + c->off, c->fill, c->len);
		b->len = VG_MAX(b->len, c->off + c->len);
		break;
	case TRUNCATE:
		lengthen(b, c->len);
		b->len = c->len;
	}
}

/* And to the arena. idx tells where each slot's file is. */
static int enact(struct arena *a, uint32_t *idx, const struct change *c)
{
	static _Thread_local char text[PART_MAX];

	switch (c->kind) {
	case NEW:
		return arena_file_new(a, &c->attr, idx);
	case DEL:
		arena_file_del(a, *idx);
		return 0;
	case PUT:
		return arena_file_put(a, *idx, &c->attr);
	case WRITE:
		memset(text, c->fill, c->len);
		return arena_pwrite(a, *idx, c->part, c->off, text, c->len);
	default:
		return arena_truncate(a, *idx, c->part, c->len);
	}
}

static bool same_part(const struct arena *a, const struct slot *s,
	enum arena_part part)
{
	size_t len;
	const char *bytes = arena_bytes(a, s->idx, part, &len);

	return bytes && len == s->part[part].len &&
		(!len || !memcmp(bytes, s->part[part].at, len));
}

static bool same_file(const struct arena *a, const struct slot *s)
{
	return !memcmp(arena_file_get(a, s->idx), &s->attr, sizeof(s->attr)) &&
		same_part(a, s, ARENA_BODY) && same_part(a, s, ARENA_META);
}

static int count_file(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	(void)idx;
	(void)attr;
	++*(uint32_t *)ctx;
	return 0;
}

static bool same_model(struct arena *a, const struct model *m)
{
	uint32_t n = 0, n_there = 0;

	for (int i = 0; i < N_SLOTS; i++) {
		if (!m->slot[i].is_there)
			continue;
		n_there++;
		if (!same_file(a, &m->slot[i]))
			return false;
	}
	return !arena_each(a, count_file, &n) && n == n_there;
}

static void model_fini(struct model *m)
{
	for (int i = 0; i < N_SLOTS; i++) {
		free(m->slot[i].part[0].at);
		free(m->slot[i].part[1].at);
	}
	free(m);
}

/* ---- by hand --------------------------------------------------------- */

static struct arena_attr attr_named(const char *name)
{
	struct arena_attr a = {.name_len = (uint8_t)strlen(name)};

	memcpy(a.name, name, strlen(name));
	return a;
}

static const struct arena_attr plain = {.name_len = 1, .name = "x"};

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
	must(arena_file_new(a, &plain, &idx) == 0);
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

static void test_table(void)
{
	static uint32_t idx[ARENA_FILES_MAX];
	struct arena_stat st;
	uint32_t extra, n = 0;
	bool is_made = true;
	int fd;
	struct arena *a = arena_for(1ull << 30, &fd);

	for (uint32_t i = 0; i < ARENA_FILES_MAX; i++) {
		is_made &= !arena_file_new(a, &plain, &idx[i]) &&
			!arena_pwrite(a, idx[i], ARENA_BODY, 0, "vector", 6);
	}
	ok(is_made, "65,536 files are made");
	ok(arena_file_new(a, &plain, &extra) == -ENOSPC, "and not one more");
	arena_file_del(a, idx[777]);
	ok(!arena_file_new(a, &plain, &extra) && extra == idx[777],
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
		must(arena_file_new(a, &plain, &idx[i]) == 0);
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
	must(arena_file_new(a, &plain, &idx) == 0 && idx == 0);
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
	struct model *m = calloc(1, sizeof(*m));
	uint64_t state = seed();
	bool is_same = true, is_good = true;
	struct arena *a, *again;
	int fd;

	a = arena_for(512ull << 20, &fd);
	must(m);
	for (long i = 0; i < n; i++) {
		struct change c = change_from(m, &state);

		must(enact(a, &m->slot[c.slot].idx, &c) == 0);
		apply(m, &c);
		if (m->slot[c.slot].is_there)
			is_same &= same_file(a, &m->slot[c.slot]);
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
	for (int i = 0; i < N_SLOTS; i++) {
		if (m->slot[i].is_there)
			arena_file_del(again, m->slot[i].idx);
	}
	ok(arena_check(again, &why) && memory_of(fd) < 20ull << 20,
		"when all are removed memory is given back");
	arena_close(again);
	close(fd);
	model_fini(m);
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
	struct model *m = calloc(1, sizeof(*m));
	uint64_t state = run->seed;

	must(m);
	run->is_same = true;
	for (int i = 0; i < 800; i++) {
		struct change c = change_from(m, &state);

		must(enact(run->a, &m->slot[c.slot].idx, &c) == 0);
		apply(m, &c);
		if (m->slot[c.slot].is_there)
			run->is_same &= same_file(run->a, &m->slot[c.slot]);
	}
	for (int i = 0; i < N_SLOTS; i++) {
		if (m->slot[i].is_there)
			run->is_same &= same_file(run->a, &m->slot[i]);
	}
	model_fini(m);
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

/* ---- kills ----------------------------------------------------------- */

/* The child of a kill test: changes without end, each announced when done. */
static _Noreturn void change_until_killed(int fd, uint64_t state,
	_Atomic long *done, uint32_t *idx)
{
	struct model *m = calloc(1, sizeof(*m));
	struct arena *a;

	must(m && arena_open(fd, &a) == 0);
	for (;;) {
		struct change c = change_from(m, &state);

		must(enact(a, &idx[c.slot], &c) == 0);
		apply(m, &c);
		atomic_fetch_add(done, 1);
	}
}

/* Whether a part holds what a change that was cut may have left. */
static bool cut_part(const struct arena *a, const struct slot *s,
	const struct change *c, enum arena_part part)
{
	const struct bytes *old = &s->part[part];
	size_t len, end = c->off + c->len;
	const char *at = arena_bytes(a, s->idx, part, &len);

	if (part != c->part || (c->kind != WRITE && c->kind != TRUNCATE))
		return same_part(a, s, part);
	if (c->kind == TRUNCATE)
		end = c->len;
	if (len != old->len &&
		len != (c->kind == WRITE ? VG_MAX(end, old->len) : end))
		return false;
	for (size_t i = 0; i < len; i++) {
		char was = i < old->len ? old->at[i] : 0;
		bool is_in = c->kind == WRITE && i >= c->off && i < end;

		/* Only bytes that are written over may be old or new. */
		if (is_in ? at[i] != c->fill && !(i < old->len && at[i] == was) :
			    at[i] != was)
			return false;
	}
	return true;
}

/* Whether a file is what the cut change c found or what it would leave. */
static bool cut_file(struct arena *a, const struct slot *s,
	const struct change *c, bool is_found)
{
	const struct arena_attr *attr;

	if (!is_found)
		return c->kind == NEW || c->kind == DEL;
	attr = arena_file_get(a, s->idx);
	if (c->kind == NEW)
		return !memcmp(attr, &c->attr, sizeof(*attr));
	return (!memcmp(attr, &s->attr, sizeof(*attr)) ||
		       (c->kind == PUT &&
			       !memcmp(attr, &c->attr, sizeof(*attr)))) &&
		cut_part(a, s, c, ARENA_BODY) && cut_part(a, s, c, ARENA_META);
}

static int find_idx(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	(void)attr;
	((bool *)ctx)[idx] = true;
	return 0;
}

/* Compares an arena with `done` changes, the next of which may be half there. */
static bool survives(struct arena *a, uint64_t state, long done,
	const uint32_t *idx)
{
	bool is_found[N_SLOTS + 1] = {false}, is_same = true;
	struct model *m = calloc(1, sizeof(*m));
	struct change c;

	must(m);
	for (long i = 0; i < done; i++) {
		c = change_from(m, &state);
		apply(m, &c);
	}
	c = change_from(m, &state);
	arena_each(a, find_idx, is_found);
	for (unsigned i = 0; i < N_SLOTS && is_same; i++) {
		struct slot *s = &m->slot[i];

		s->idx = idx[i];
		if (i == c.slot && (s->is_there || c.kind == NEW))
			is_same = c.kind == NEW ||
				cut_file(a, s, &c, is_found[s->idx]);
		else if (s->is_there)
			is_same = is_found[s->idx] && same_file(a, s);
	}
	model_fini(m);
	return is_same;
}

static void test_kill(void)
{
	long n = env_long("VG_ARENA_KILLS", 40);
	struct {
		_Atomic long done;
		uint32_t idx[N_SLOTS];
	} *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool is_open = true, is_kept = true, is_usable = true;
	uint64_t dice = seed();

	must(sh != MAP_FAILED);
	for (long i = 0; i < n && is_open && is_kept; i++) {
		uint64_t state = next(&dice);
		long least = (long)(next(&dice) % 300);
		int fd = arena_create(512ull << 20), status;
		struct arena *a = NULL;
		uint32_t idx;
		pid_t pid;

		memset(sh, 0, sizeof(*sh));
		fflush(NULL);
		pid = fork();
		must(fd >= 0 && pid >= 0);
		if (pid == 0)
			change_until_killed(fd, state, &sh->done, sh->idx);
		while (atomic_load(&sh->done) < least)
			sched_yield();
		kill(pid, SIGKILL);
		must(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		is_open = !arena_open(fd, &a) && arena_check(a, &why);
		is_kept = is_open && survives(a, state, sh->done, sh->idx);
		is_usable &= is_open && !arena_file_new(a, &plain, &idx) &&
			!arena_pwrite(a, idx, ARENA_BODY, 100000, "x", 1) &&
			arena_check(a, &why);
		arena_close(a);
		close(fd);
	}
	ok(is_open, "after kill -9 the arena opens and is in order");
	ok(is_kept, "each change that had returned is there");
	ok(is_usable, "and work goes on in it");
	munmap(sh, sizeof(*sh));
}

/* ---- every instruction ----------------------------------------------- */

/* Copies what an arena holds; most of it is holes. */
static int copy_of(int fd)
{
	static char text[65536];
	int to = arena_create(ARENA_LIMIT_MIN);
	off_t at = 0, end;

	must(to >= 0);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		while (at < end) {
			size_t n = (size_t)VG_MIN(end - at,
				(off_t)sizeof(text));

			must(pread(fd, text, n, at) == (ssize_t)n);
			must(pwrite(to, text, n, at) == (ssize_t)n);
			at += (off_t)n;
		}
	}
	return to;
}

/* What one look at the stopped arena must find: before, or after. */
static bool is_between(int fd, const struct slot *s, const struct change *c)
{
	int copy = copy_of(fd);
	bool is_found[N_SLOTS + 1] = {false}, is_so;
	struct arena *a;

	if (arena_open(copy, &a)) {
		close(copy);
		return false;
	}
	arena_each(a, find_idx, is_found);
	is_so = arena_check(a, &why) && cut_file(a, s, c, is_found[s->idx]);
	arena_close(a);
	close(copy);
	return is_so;
}

#if defined(__SANITIZE_THREAD__)
#define IS_TRACEABLE 0 /* each step would be a hundred */
#else
#define IS_TRACEABLE 1
#endif

/*
 * Runs one change in a child, instruction by instruction, and looks at the
 * arena whenever its table, or as much of its space as we use, has changed.
 * Gives the number of looks; -1: a wrong state was seen; -2: no ptrace here.
 */
static long look_through(int fd, struct arena *a, struct slot *s,
	const struct change *c, const char *map)
{
	enum { HEAD = 65536 + 4096, SPACE = 256 << 10 };
	static char seen[HEAD + SPACE];
	const char *space = map + (256u << 20);
	long n_looks = 0;
	uint32_t idx = s->idx;
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		if (!IS_TRACEABLE || ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(2);
		raise(SIGSTOP);
		_exit(enact(a, &idx, c) ? 1 : 0);
	}
	must(waitpid(pid, &status, 0) == pid);
	if (!WIFSTOPPED(status))
		return -2;
	while (!ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) &&
		waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		if (!memcmp(seen, map, HEAD) &&
			!memcmp(seen + HEAD, space, SPACE))
			continue;
		memcpy(seen, map, HEAD);
		memcpy(seen + HEAD, space, SPACE);
		n_looks++;
		if (!is_between(fd, s, c)) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
	}
	return WIFEXITED(status) && !WEXITSTATUS(status) ? n_looks : -1;
}

static const struct step {
	struct change c;
	const char *what;
} steps[] = {
	{{.kind = NEW}, "making a file"},
	{{.kind = WRITE, .len = 100, .fill = 'a'}, "its first bytes"},
	{{.kind = WRITE, .off = 100, .len = 100, .fill = 'b'}, "appending"},
	{{.kind = WRITE, .off = 50, .len = 100, .fill = 'c'}, "overwriting"},
	{{.kind = WRITE, .off = 300, .len = 9, .fill = 'd'}, "leaving a gap"},
	{{.kind = PUT}, "other attributes"},
	{{.kind = WRITE, .off = 4000, .len = 900, .fill = 'e'}, "growing"},
	{{.kind = TRUNCATE, .len = 700}, "shortening"},
	{{.kind = TRUNCATE, .len = 900}, "lengthening"},
	{{.kind = WRITE, .part = ARENA_META, .len = 60, .fill = 'm'},
		"metadata"},
	{{.kind = WRITE, .off = 20000, .len = 9, .fill = 'f'}, "moving"},
	{{.kind = WRITE, .off = 70000, .len = 99, .fill = 'g'},
		"growing out of the small blocks"},
	{{.kind = WRITE, .off = 69000, .len = 9000, .fill = 'h'},
		"overwriting and growing"},
	{{.kind = TRUNCATE, .len = 66000}, "shortening by pages"},
	{{.kind = TRUNCATE}, "emptying"},
	{{.kind = DEL}, "removing"},
};

static void test_every_instruction(void)
{
	struct model *m = calloc(1, sizeof(*m));
	const size_t map_len = (256u << 20) + (1u << 20);
	uint64_t state = seed();
	int fd = arena_create(ARENA_LIMIT_MIN);
	const char *map = mmap(NULL, map_len, PROT_READ, MAP_SHARED, fd, 0);
	uint32_t other;
	struct arena *a;

	must(m && fd >= 0 && map != MAP_FAILED && !arena_open(fd, &a));
	/* A neighbour, so that blocks cannot always grow in place. */
	must(!arena_file_new(a, &plain, &other) &&
		!arena_pwrite(a, other, ARENA_BODY, 0, "neighbour", 9));
	for (size_t i = 0; i < VG_ARRAY_LEN(steps); i++) {
		struct change c = steps[i].c;
		struct slot *s = &m->slot[0];
		long n;

		c.attr = attr_from(&state);
		s->idx = 1; /* the lowest that is free */
		n = look_through(fd, a, s, &c, map);
		if (n == -2)
			skip(1, "a child cannot be traced here");
		else
			ok(n > 0, "killed at any instruction of %s, all is old "
				"or new (%ld states)", steps[i].what, n);
		/* The child's work is lost to our view of the free space. */
		apply(m, &c);
		arena_close(a);
		must(!arena_open(fd, &a));
	}
	arena_close(a);
	munmap((void *)(uintptr_t)map, map_len);
	close(fd);
	model_fini(m);
}

int main(void)
{
	plan(73);
	alarm(300);
	test_create();
	test_bytes();
	test_bounds();
	test_table();
	test_each();
	test_damage();
	test_model();
	test_threads();
	test_kill();
	test_every_instruction();
	return done();
}
