/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk.c: the simulated disk is a disk like the kernel's, and fails as told. */
#include "tests/simdisk.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/logkit.h"
#include "tests/simkit.h"
#include "tests/tap.h"

/* ---- as a file system ---- */

#define TRIES 4 /* descriptors at a time */

/* The same calls on the real table in a scratch directory. */
struct pair {
	struct io plain;
	int root;
	int real[TRIES], sim[TRIES];
	uint64_t dice;
};

static unsigned roll(uint64_t *dice, unsigned below)
{
	*dice = *dice * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)((*dice >> 33) % below);
}

static bool same_open(struct pair *p, unsigned i, const char *name)
{
	static const int how[] = {O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_CREAT,
		O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
		O_WRONLY | O_CREAT | O_TRUNC, O_RDONLY | O_DIRECTORY};
	int flags = how[roll(&p->dice, VG_ARRAY_LEN(how))];

	if (p->real[i] >= 0) {
		p->plain.close(&p->plain, p->real[i]);
		io->close(io, p->sim[i]);
	}
	p->real[i] = p->plain.open(&p->plain, p->root, name, flags);
	p->sim[i] = io->open(io, root, name, flags);
	return p->real[i] < 0 ? p->real[i] == p->sim[i] : p->sim[i] >= 0;
}

static bool same_read(struct pair *p, unsigned i)
{
	static char a[9000], b[9000];
	struct io_stat x = {0}, y = {0};
	uint64_t at = roll(&p->dice, 20000);
	size_t len = 1 + roll(&p->dice, sizeof(a) - 1);
	ssize_t n = p->plain.read(&p->plain, p->real[i], a, len, at);

	return n == io->read(io, p->sim[i], b, len, at) &&
	       (n <= 0 || memcmp(a, b, (size_t)n) == 0) &&
	       p->plain.stat(&p->plain, p->real[i], &x) == 0 &&
	       io->stat(io, p->sim[i], &y) == 0 &&
	       (n == -EISDIR || (x.size == y.size && x.links == y.links));
}

static bool same_change(struct pair *p, unsigned i)
{
	static char bytes[9000];
	uint64_t at = roll(&p->dice, 15000);
	size_t len = 1 + roll(&p->dice, sizeof(bytes) - 1);

	if (roll(&p->dice, 4) == 0)
		return p->plain.truncate(&p->plain, p->real[i], at) ==
		       io->truncate(io, p->sim[i], at);
	if (roll(&p->dice, 8) == 0)
		return p->plain.allocate(&p->plain, p->real[i], at, len) ==
		       io->allocate(io, p->sim[i], at, len);
	memset(bytes, (int)(1 + roll(&p->dice, 250)), len);
	return p->plain.write(&p->plain, p->real[i], bytes, len, at, false) ==
	       io->write(io, p->sim[i], bytes, len, at, false);
}

static int add_name(void *ctx, const char *name)
{
	unsigned long *sum = ctx, hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	*sum += hash;
	return 0;
}

static bool same_names(struct pair *p, unsigned i)
{
	unsigned long a = 0, b = 0;
	int fd = p->real[i];

	if (roll(&p->dice, 2))
		return p->plain.list(&p->plain, p->root, add_name, &a) ==
			       io->list(io, root, add_name, &b) &&
		       a == b;
	return fd < 0 ||
	       (p->plain.list(&p->plain, fd, add_name, &a) ==
			       io->list(io, p->sim[i], add_name, &b) &&
		       a == b);
}

static bool same_step(struct pair *p)
{
	static const char *const names[] = {"a", "b", "c", "d", "d/a", "d/b",
		"e", "e/a", "a/b"};
	const char *name = names[roll(&p->dice, VG_ARRAY_LEN(names))];
	const char *other = names[roll(&p->dice, 4)];
	unsigned i = roll(&p->dice, TRIES), what = roll(&p->dice, 20);
	struct io *real = &p->plain;

	if (what < 6)
		return same_open(p, i, name);
	if (what == 6)
		return real->unlink(real, p->root, name) ==
		       io->unlink(io, root, name);
	if (what == 7)
		return real->mkdir(real, p->root, name) ==
		       io->mkdir(io, root, name);
	if (what == 8)
		return real->rmdir(real, p->root, name) ==
		       io->rmdir(io, root, name);
	if (what == 9)
		return strchr(name, '/') ||
		       real->rename(real, p->root, name, other) ==
			       io->rename(io, root, name, other);
	if (what == 10)
		return same_names(p, i);
	if (what == 11)
		return io->sync(io, root) == 0;
	if (p->real[i] < 0)
		return true;
	return what < 15 ? same_read(p, i) : same_change(p, i);
}

static void test_same(long rounds)
{
	struct pair p = {.root = kit_dir("real"),
		.real = {-1, -1, -1, -1},
		.dice = seed()};
	long n = 0;

	begin(NULL);
	io_init(&p.plain);
	while (n < rounds && same_step(&p)) {
		n++;
		if (n % 97 == 0) { /* a copy is as good, but for the fds */
			struct sim *copy = sim_clone(disk);

			for (unsigned i = 0; i < TRIES; i++)
				if (p.real[i] >= 0) {
					p.plain.close(&p.plain, p.real[i]);
					io->close(io, p.sim[i]);
					p.real[i] = -1;
				}
			if (n % 194 == 0) {
				sim_free(copy);
				copy = sim_crash(disk, 1, SIM_ALL);
			}
			sim_free(disk);
			use(copy);
		}
	}
	ok(n == rounds, "%ld random calls answer as the kernel's", rounds);
	for (unsigned i = 0; i < TRIES; i++)
		if (p.real[i] >= 0)
			close(p.real[i]);
	close(p.root);
}

static void test_errors(void)
{
	struct io_stat st;
	char byte;

	begin(NULL);
	must(io->mkdir(io, root, "d") == 0);
	int fd = create("f");
	int dir = io->open(io, root, "d", O_RDONLY | O_DIRECTORY);

	must(dir >= 0);
	ok(io->open(io, dir, "x", O_RDONLY) == -ENOENT &&
			io->open(io, fd, "x", O_RDONLY) == -ENOTDIR &&
			io->open(io, root, "d", O_RDWR) == -EISDIR &&
			io->open(io, root,
				"a-name-of-sixty-bytes-or-more-is-longer-than-"
				"any-that-a-store-makes",
				O_RDONLY) == -ENAMETOOLONG,
		"names that lead nowhere are refused");
	ok(io->read(io, 5, &byte, 1, 0) == -EBADF &&
			io->stat(io, SIM_ANY, &st) == -EBADF &&
			io->write(io, dir, "x", 1, 0, false) == -EBADF &&
			fcntl(fd, F_GETFD) < 0,
		"descriptors are its own");
	ok(stat_of(disk).opened == 2, "open descriptors are counted");
	io->close(io, fd);
	io->close(io, dir);
	ok(stat_of(disk).opened == 0 && io->mkdir(io, root, "f") == -EEXIST &&
			io->rmdir(io, root, "d") == 0,
		"and given back");
}

static void test_map(void)
{
	begin(NULL);
	int fd = safe_file("f", 'a', 8192);
	char *at =
		mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(at != MAP_FAILED);
	put(fd, 4096, 'b', 100);
	bool held = io->map(io, fd, 0, 4096, at) == 0 &&
		    io->map(io, fd, 4096, 4096, at + 4096) == 0;

	held = held && at[4095] == 'a' && at[4096] == 'b' && at[4196] == 'a';
	put(fd, 0, 'c', 1);
	ok(held && at[0] == 'a', "a map is a copy, put in the memory's place");
	munmap(at, 8192);
	begin(&(struct sim_config){.no_map = true, .no_allocate = true});
	fd = safe_file("f", 'a', 4096);
	ok(io->map(io, fd, 0, 4096, NULL) == -EOPNOTSUPP &&
			io->allocate(io, fd, 0, 1) == -EOPNOTSUPP,
		"a disk without maps and without allocation says so");
}

/* ---- faults ---- */

static void fail(unsigned calls, uint64_t nth, bool for_ever, int rc)
{
	sim_fail(disk, &(struct sim_fault){.calls = calls,
			       .nth = nth,
			       .for_ever = for_ever,
			       .rc = rc});
}

static void test_fail(void)
{
	begin(NULL);
	int fd = create("f");

	fail(SIM_BIT(SIM_WRITE), 2, false, -EIO);
	bool once = io->write(io, fd, "a", 1, 0, false) == 0 &&
		    io->sync(io, fd) == 0 &&
		    io->write(io, fd, "b", 1, 0, false) == -EIO &&
		    io->write(io, fd, "c", 1, 1, false) == 0;

	ok(once && is_all(disk, "f", 1, 'c', 1) && stat_of(disk).failed == 1,
		"the second write fails, and does nothing");
	fail(SIM_ANY, 3, true, -EMFILE);
	ok(io->sync(io, root) == 0 && io->mkdir(io, root, "d") == 0 &&
			io->open(io, root, "f", O_RDONLY) == -EMFILE &&
			io->rename(io, root, "f", "g") == -EMFILE &&
			io->unlink(io, root, "f") == -EMFILE &&
			io->write(io, fd, "d", 1, 0, true) == -EMFILE &&
			stat_of(disk).failed == 5 && is_there(disk, "f"),
		"every call from the third on fails");
	fail(SIM_BIT(SIM_SYNC), 1, false, -ENOSPC);
	ok(io->write(io, fd, "e", 1, 1, true) == -EIO &&
			is_all(disk, "f", 1, 'e', 1) &&
			stat_of(disk).count[SIM_SYNC] == 3,
		"a durable write is two calls, and its sync is never full");
}

static void test_failed_sync(void)
{
	begin(NULL);
	int fd = safe_file("f", 'a', 8192);

	put(fd, 0, 'b', 8192 + 100);
	fail(SIM_BIT(SIM_SYNC), 1, false, -EIO);
	must(io->sync(io, fd) == -EIO);
	struct sim *early = sim_crash(disk, 1, SIM_ALL);

	ok(io->sync(io, fd) == 0 && is_all(disk, "f", 0, 'b', 8292),
		"after a failed sync the next succeeds, and readers see all");
	struct sim *cut = sim_crash(disk, 1, SIM_ALL);

	ok(size_of(cut, "f") == 8292 && size_of(early, "f") >= 8192 &&
			!is_all(early, "f", 0, 'b', 8292),
		"but what it lost is not there after a power cut");
	put(fd, 10, 'c', 1);
	must(io->sync(io, fd) == 0);
	sim_free(cut);
	cut = sim_crash(disk, 1, SIM_NONE);

	size_t len;
	char *bytes = sim_load(cut, "f", &len);

	ok(bytes && bytes[0] == 'b' && bytes[10] == 'c' && bytes[4095] == 'b' &&
			bytes[4096] == 'a',
		"until its page is written again");
	free(bytes);
	sim_free(cut);
	sim_free(early);
}

static void test_lost_page(void)
{
	unsigned wrong = 0, seen = 0;

	begin(NULL);
	int fd = safe_file("f", 'a', 4096);

	put(fd, 0, 'b', 4096);
	fail(SIM_BIT(SIM_SYNC), 1, false, -EIO);
	must(io->sync(io, fd) == -EIO);
	put(fd, 10, 'c', 1);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);
		size_t len;
		char *bytes = sim_load(cut, "f", &len);

		must(bytes && len == 4096);
		seen |= bytes[10] == 'c' ? 1 : bytes[10] == 'a' ? 2 : 4;
		wrong += bytes[10] == 'c' && bytes[4095] != 'b';
		free(bytes);
		sim_free(cut);
	}
	ok(wrong == 0 && (seen & 3) == 3, "which then is written as a whole");
	begin(NULL);
	fd = safe_file("f", 'a', 12288);
	must(io->truncate(io, fd, 0) == 0);
	fail(SIM_BIT(SIM_SYNC), 1, false, -EIO);
	must(io->sync(io, fd) == -EIO && io->sync(io, fd) == 0);
	must(io->truncate(io, fd, 12288) == 0 && io->sync(io, fd) == 0);
	struct sim *cut = sim_crash(disk, 1, SIM_NONE);

	ok(is_all(cut, "f", 0, 0, 12288),
		"a cut is metadata, which a failed sync does not lose");
	sim_free(cut);
}

static void test_partly(void)
{
	unsigned some = 0, sizes = 0;

	begin(NULL);
	for (int i = 0; i < 40; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		int fd = safe_file(name, 'a', 4 * 4096);

		put(fd, 0, 'b', 4 * 4096);
		sim_fail(disk, &(struct sim_fault){.calls = SIM_ANY,
				       .nth = 1,
				       .partly = true,
				       .rc = -EIO});
		must(io->sync(io, fd) == -EIO);
		struct sim *cut = sim_crash(disk, 1, SIM_ALL);
		unsigned n[3] = {0};

		count_units(cut, name, 4096, "ab", n);
		must(n[2] == 0);
		some += n[0] > 0 && n[1] > 0;
		sim_free(cut);
		sim_fail(disk, &(struct sim_fault){.calls = SIM_ANY,
				       .nth = 1,
				       .partly = true,
				       .rc = -EIO});
		must(io->write(io, fd, "cccccccc", 8, 4 * 4096, false) == -EIO);
		sizes |= 1u << (size_of(disk, name) - (size_t)4 * 4096);
	}
	ok(some > 0, "a sync may fail with some pages safe");
	ok((sizes & (sizes - 1)) > 0 && sizes < 1u << 9,
		"a write may fail with some bytes there");
}

static void test_failed_names(void)
{
	begin(NULL);
	io->close(io, create("f"));
	fail(SIM_BIT(SIM_SYNC), 1, false, -EIO);
	must(io->sync(io, root) == -EIO && io->sync(io, root) == 0);
	io->close(io, create("g"));
	must(io->sync(io, root) == 0);
	struct sim *cut = sim_crash(disk, 1, SIM_ALL);

	ok(is_there(disk, "f") && !is_there(cut, "f") && is_there(cut, "g"),
		"names that a failed sync lost are lost, later ones are not");
	sim_free(cut);
}

static void test_full(void)
{
	static char bytes[12288];

	begin(&(struct sim_config){.capacity = 5 * 4096});
	int f = create("f"), g = create("g");

	must(io->allocate(io, f, 0, 8192) == 0);
	put(g, 0, 'g', 4096);
	ok(stat_of(disk).used == 12288 && size_of(disk, "f") == 0 &&
			io->allocate(io, f, 0, 5 * 4096) == -ENOSPC &&
			stat_of(disk).used == 12288,
		"an allocation keeps the size, and takes all or nothing");
	ok(io->write(io, g, bytes, 12288, 100, false) == -ENOSPC &&
			size_of(disk, "g") == 12288 &&
			stat_of(disk).used == 5 * 4096,
		"a write that does not fit leaves what did");
	ok(io->write(io, f, bytes, 8192, 0, true) == 0 &&
			io->write(io, f, bytes, 1, 8192, true) == -ENOSPC,
		"what was allocated can be written to a full disk");
	sim_set_capacity(disk, 6 * 4096);
	ok(io->write(io, f, bytes, 1, 8192, true) == 0,
		"room comes when the disk grows");
	sim_set_capacity(disk, 4096);
	ok(io->write(io, f, bytes, 8192, 0, true) == 0 &&
			io->write(io, create("h"), "x", 1, 0, false) == -ENOSPC,
		"a disk that is over its capacity takes overwrites only");
	sim_set_capacity(disk, 6 * 4096);
	must(io->truncate(io, g, 1) == 0 && io->unlink(io, root, "f") == 0);
	ok(stat_of(disk).used == 4096 * 4, "a cut gives space back");
	io->close(io, f);
	ok(stat_of(disk).used == 4096, "and an unlink, when it is closed");
}

static void test_damage(void)
{
	char a[10] = {0}, b[10] = {0};

	begin(NULL);
	int fd = safe_file("f", 'a', 9000);

	must(sim_flip(disk, "f", 4097, 2, false) == 0);
	bool once = io->read(io, fd, a, 10, 4090) == 10 &&
		    io->read(io, fd, b, 10, 4090) == 10;

	ok(once && a[7] == ('a' ^ 2) && a[6] == 'a' && a[8] == 'a' &&
			b[7] == 'a' && sim_flip(disk, "g", 0, 1, 0) == -ENOENT,
		"a bit is flipped for one read");
	must(sim_bad(disk, "f", (struct sim_range){5000, 10}, -EIO, true) == 0);
	must(sim_flip(disk, "f", 0, 128, true) == 0);
	struct sim *copy = sim_crash(disk, 1, SIM_SUBSET);
	struct io *its = sim_get_io(copy);
	int its_fd = its->open(its, root, "f", O_RDONLY);

	ok(io->read(io, fd, a, 10, 4990) == 10 &&
			io->read(io, fd, a, 10, 4991) == -EIO &&
			io->read(io, fd, a, 10, 5009) == -EIO &&
			its->read(its, its_fd, a, 10, 5009) == -EIO &&
			io->read(io, fd, a, 10, 5010) == 10,
		"bytes cannot be read, also after a power cut");
	ok(io->read(io, fd, a, 1, 0) == 1 && io->read(io, fd, b, 1, 0) == 1 &&
			a[0] != 'a' && b[0] == a[0],
		"a bit is flipped for every read");
	sim_heal(disk);
	ok(io->read(io, fd, a, 10, 5000) == 10 && a[0] == 'a', "all heals");
	sim_free(copy);
}

/* ---- copies, watchers, threads ---- */

static void test_clone(void)
{
	begin(&(struct sim_config){.capacity = 1 << 20});
	int fd = safe_file("f", 'a', 10000);

	put(fd, 0, 'b', 5000);
	struct sim *copy = sim_clone(disk);
	struct io *its = sim_get_io(copy);
	int its_fd = its->open(its, root, "f", O_RDWR);

	put(fd, 0, 'c', 10000);
	ok(size_of(copy, "f") == 10000 && !is_all(copy, "f", 0, 'c', 10000) &&
			stat_of(copy).calls == 1 &&
			stat_of(copy).used == stat_of(disk).used,
		"a copy does not change with the disk");
	must(its->truncate(its, its_fd, 0) == 0 && its->sync(its, its_fd) == 0);
	struct sim *cut = sim_crash(disk, 1, SIM_NONE);

	ok(is_all(disk, "f", 0, 'c', 10000) && is_all(cut, "f", 0, 'a', 10000),
		"nor the disk with the copy");
	sim_free(cut);
	sim_free(copy);
	copy = sim_clone(disk);
	cut = sim_crash(copy, 1, SIM_NONE);
	ok(is_all(copy, "f", 0, 'c', 10000) && is_all(cut, "f", 0, 'a', 10000),
		"a copy knows what is not safe");
	sim_free(cut);
	sim_free(copy);
}

struct worker {
	pthread_t thread;
	int nr;
	bool held;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	char name[16], bytes[64], back[64];

	snprintf(name, sizeof(name), "w%d", w->nr);
	memset(bytes, 'a' + w->nr, sizeof(bytes));
	int fd = io->open(io, root, name, O_RDWR | O_CREAT);

	w->held = fd >= 0;
	for (uint64_t i = 0; i < 200; i++) {
		struct sim *copy = i % 10 ? NULL : sim_clone(disk);

		w->held =
			w->held &&
			io->write(io, fd, bytes, 64, i * 64, i % 3 == 0) == 0 &&
			io->read(io, fd, back, 64, i * 64) == 64 &&
			memcmp(bytes, back, 64) == 0;
		if (copy) {
			struct io *its = sim_get_io(copy);
			int its_fd = its->open(its, root, name, O_RDWR);

			w->held = w->held && its_fd >= 0 &&
				  its->write(its, its_fd, "x", 1, 0, true) == 0;
			sim_free(copy);
		}
	}
	return NULL;
}

static void test_threads(void)
{
	struct worker workers[4];
	bool held = true;

	begin(NULL);
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){.nr = i};
		must(pthread_create(&workers[i].thread, NULL, work,
			     &workers[i]) == 0);
	}
	for (int i = 0; i < 4; i++) {
		char name[16];

		pthread_join(workers[i].thread, NULL);
		snprintf(name, sizeof(name), "w%d", i);
		held = held && workers[i].held &&
		       is_all(disk, name, 0, 'a' + i, 12800);
	}
	ok(held && stat_of(disk).count[SIM_WRITE] == 800,
		"threads share a disk, and its pages with copies of it");
}

static int count_path(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st)
{
	unsigned *n = ctx;

	n[0] += is_dir && strcmp(path, "d") == 0;
	n[1] += !is_dir && strcmp(path, "d/f") == 0 && st->size == 5;
	n[2]++;
	return 0;
}

static void test_files(void)
{
	char path[300];
	unsigned n[3] = {0};
	struct kit_file file;

	begin(NULL);
	must(io->mkdir(io, root, "d") == 0);
	ok(sim_save(disk, "d/f", "hello", 5) == 0 &&
			sim_save(disk, "e/f", "hello", 5) == -ENOENT &&
			sim_save(disk, "d", "hello", 5) == -EISDIR,
		"a file is put there by its path");
	sim_sync_all(disk);
	struct sim *cut = sim_crash(disk, 1, SIM_NONE);
	struct sim_stat st = stat_of(cut);

	ok(sim_each(cut, count_path, n) == 0 && n[0] == 1 && n[1] == 1 &&
			n[2] == 2 && st.pending == 0 && st.used == 4096,
		"and safe when all is synced");
	int dirfd = kit_dir("export");

	snprintf(path, sizeof(path), "%s/export", scratch());
	must(sim_export(cut, path) == 0);
	file = kit_load(dirfd, "d/f");
	ok(file.len == 5 && memcmp(file.bytes, "hello", 5) == 0,
		"a disk is copied to a real directory");
	kit_free(&file);
	close(dirfd);
	sim_free(cut);
}

int main(void)
{
	plan(36);
	test_same(env_long("VG_CALLS", 20000));
	test_errors();
	test_map();
	test_fail();
	test_failed_sync();
	test_lost_page();
	test_partly();
	test_failed_names();
	test_full();
	test_damage();
	test_clone();
	test_threads();
	test_files();
	sim_free(disk);
	return done();
}
