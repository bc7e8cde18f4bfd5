/* SPDX-License-Identifier: Apache-2.0 */
/* colfile: rows appended, read, mapped and checked; copies and damage told apart. */
#include "src/colfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/wire.h"
#include "tests/colkit.h"
#include "tests/logkit.h"
#include "tests/tap.h"

static uint64_t rng;

static uint32_t random_below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)((rng * 0x2545f4914f6cdd1dull >> 20) % n);
}

static bool is_empty(int dir)
{
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY));
	int n = 0;

	must(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n == 2;
}

static void test_empty(int dir)
{
	struct kit_disk disk;
	const struct colfile_part *part;
	struct colfile *cf;
	uint32_t n;

	kit_disk_init(&disk);
	struct colfile_config cfg = col_config(dir, &disk.io, 12, 100);

	must(colfile_new(&cfg, &cf) == 0);
	colfile_parts(cf, &part, &n);
	ok(colfile_rows(cf) == 0 && n == 0 && colfile_bytes(cf) == 0,
		"a new column has no rows, no parts, no bytes");
	ok(colfile_append(cf, NULL, 0) == 0 && colfile_sync(cf) == 0 &&
			disk.calls == 0 && is_empty(dir),
		"and nothing of it touches the disk");
	cf = col_again(cf, &cfg);
	ok(colfile_rows(cf) == 0, "it opens again without rows");
	ok(colfile_read(cf, 0, 0, NULL, NULL, NULL) == 0,
		"no rows can be read of it");
	colfile_close(cf);
	colfile_close(NULL);
	ok(true, "what is not there can be closed");
}

static void test_life(int dir)
{
	struct colfile_config cfg = col_config(dir, NULL, 12, 1000);
	struct colfile *cf;
	uint32_t n;
	struct stat st;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0);
	ok(col_append(cf, &cfg, 1) == 0 && colfile_rows(cf) == 1,
		"a row is appended");
	ok(col_reads(cf, &cfg, 0, 1) && colfile_check(cf, 0) == 0,
		"and read before it is synced");
	ok(col_has(dir, "vec.0001") && col_has(dir, "vec.0001.sum"),
		"it lies in the first part");
	ok(col_append(cf, &cfg, 700) == 0 && col_reads(cf, &cfg, 0, 701),
		"more rows follow it");
	ok(col_append(cf, &cfg, 1300) == 0 && col_reads(cf, &cfg, 0, 2001),
		"over the ends of parts, too");
	struct colfile_part *part = col_parts(cf, &n);

	ok(n == 3 && part[0].n == 1000 && part[1].first == 1000 &&
			part[1].n == 1000 && part[2].n == 1 &&
			part[2].number == 3,
		"which are where a multiple of part_rows is");
	ok(part[2].tail_hash != 0 && part[0].sums_hash != part[1].sums_hash,
		"their hashes are those of what they hold");
	free(part);
	ok(colfile_sync(cf) == 0, "it is synced");
	must(fstatat(dir, "vec.0001", &st, 0) == 0);
	ok(st.st_size == 4096 + 12000, "a part is its header and its rows");
	must(fstatat(dir, "vec.0001.sum", &st, 0) == 0);
	ok(st.st_size == 64 + 2 * 8, "its sums are those of its whole blocks");
	ok(colfile_bytes(cf) == 3 * (4096 + 64) + 2001 * 12 + 4 * 8,
		"bytes counts both");
	cf = col_again(cf, &cfg);
	ok(colfile_rows(cf) == 2001 && col_reads(cf, &cfg, 0, 2001),
		"what was synced is there when it is opened");
	ok(col_append(cf, &cfg, 5) == 0 && col_reads(cf, &cfg, 1990, 16),
		"and goes on behind it");
	colfile_close(cf);
}

/* What a manifest does not name is not there, and is written over. */
static void test_unnamed(int dir)
{
	struct colfile_config cfg = col_config(dir, NULL, 100, 1000);
	struct colfile *cf;
	char why[256];
	uint32_t n;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 30) == 0);
	struct colfile_part *part = col_parts(cf, &n);
	uint8_t other[100];

	memset(other, 7, sizeof(other));
	for (int i = 0; i < 100; i++)
		must(colfile_append(cf, other, 1) == 0);
	must(colfile_sync(cf) == 0);
	colfile_close(cf);
	must(colfile_open(&cfg, part, n, why, &cf) == 0);
	ok(colfile_rows(cf) == 30 && col_reads(cf, &cfg, 0, 30),
		"rows behind those that a manifest names are not there");
	ok(col_append(cf, &cfg, 60) == 0 && col_reads(cf, &cfg, 0, 90),
		"the next ones are written over them");
	cf = col_again(cf, &cfg);
	ok(col_reads(cf, &cfg, 0, 90) && colfile_rows(cf) == 90,
		"and stay");
	colfile_close(cf);
	free(part);
}

/* Random appends, syncs, opens and links against what rows must be. */
static void test_model(int dir, uint32_t stride, uint32_t part_rows)
{
	struct colfile_config cfg = col_config(dir, NULL, stride, part_rows);
	uint32_t most = VG_MIN(VG_MIN(20000u, part_rows * 50),
		(4u << 20) / stride);
	struct colfile *cf;
	bool held = true;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0);
	for (unsigned i = 0; i < 60 && held; i++) {
		uint32_t rows = colfile_rows(cf);
		uint32_t n = 1 + random_below(random_below(3) ?
					VG_MAX(1, 9000 / stride) :
					VG_MAX(1, 300000 / stride));

		n = VG_MIN(n, most - rows);
		if (n > 0)
			held = held && col_append(cf, &cfg, n) == 0;
		rows = colfile_rows(cf);
		if (random_below(4) == 0)
			held = held && colfile_sync(cf) == 0;
		if (random_below(6) == 0)
			cf = col_again(cf, &cfg);
		for (unsigned k = 0; k < 4; k++) {
			uint32_t first = random_below(rows);
			uint32_t few = 1 + random_below(20);

			n = 1 + random_below(rows - first);
			n = k ? VG_MIN(n, few) : n;
			held = held && col_reads(cf, &cfg, first, n) &&
			       colfile_check(cf, first) == 0;
		}
	}
	cf = col_again(cf, &cfg);
	held = held && col_reads(cf, &cfg, 0, colfile_rows(cf));
	ok(held, "stride %u, parts of %u: all rows are what they must be",
		stride, part_rows);
	colfile_close(cf);
}

/* The file's bytes, times and size: nothing of it was changed. */
struct witness {
	struct kit_file file;
	struct stat st;
};

static struct witness witness_of(int dir, const char *name)
{
	struct witness w = {.file = kit_load(dir, name)};

	must(fstatat(dir, name, &w.st, 0) == 0);
	return w;
}

static bool is_untouched(struct witness *w, int dir, const char *name)
{
	struct witness now = witness_of(dir, name);
	bool is = now.file.len == w->file.len &&
		  memcmp(now.file.bytes, w->file.bytes, w->file.len) == 0 &&
		  now.st.st_mtim.tv_sec == w->st.st_mtim.tv_sec &&
		  now.st.st_mtim.tv_nsec == w->st.st_mtim.tv_nsec &&
		  now.st.st_blocks == w->st.st_blocks;

	kit_free(&w->file);
	kit_free(&now.file);
	return is;
}

static void test_links(int dir, const char *linked, bool when_open)
{
	struct colfile_config cfg = col_config(dir, NULL, 100, 1000);
	struct colfile *cf;
	uint32_t n;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 77) == 0 &&
		colfile_sync(cf) == 0);
	if (when_open)
		must(col_append(cf, &cfg, 3) == 0);
	must(linkat(dir, linked, dir, "copy", 0) == 0);
	if (!when_open)
		cf = col_again(cf, &cfg);
	uint32_t rows = colfile_rows(cf);
	struct witness a = witness_of(dir, "vec.0001");
	struct witness b = witness_of(dir, "vec.0001.sum");

	must(col_append(cf, &cfg, 50) == 0 && col_append(cf, &cfg, 50) == 0);
	struct colfile_part *part = col_parts(cf, &n);

	ok(n == 2 && part[0].n == rows && part[1].first == rows &&
			part[1].n == 100,
		"%s with a second link, %s: rows go into a new part", linked,
		when_open ? "made while it was written" : "found by an open");
	must(colfile_sync(cf) == 0);
	bool is_same = is_untouched(&a, dir, "vec.0001");

	ok(is_untouched(&b, dir, "vec.0001.sum") && is_same,
		"and the old one is left as it is");
	cf = col_again(cf, &cfg);
	ok(col_reads(cf, &cfg, 0, rows + 100) &&
			col_append(cf, &cfg, 900) == 0 &&
			col_reads(cf, &cfg, 0, rows + 1000),
		"the column goes on behind both");
	free(part);
	part = col_parts(cf, &n);
	ok(n == 3 && part[2].first == 1000, "with its parts' ends as they were");
	free(part);
	colfile_close(cf);
}

static void touch(int dir, const char *name)
{
	kit_save(dir, name, "x", 1);
}

static void test_numbers(int dir)
{
	struct colfile_config cfg = col_config(dir, NULL, 100, 10);
	struct colfile *cf;

	kit_dir_clear(dir);
	touch(dir, "vec.0007");
	touch(dir, "vec.0011.sum");
	touch(dir, "vector.0090");
	touch(dir, "vec.090");
	touch(dir, "vec.00090");
	touch(dir, "vec.0090.tmp");
	must(colfile_new(&cfg, &cf) == 0);
	must(col_append(cf, &cfg, 5) == 0);
	ok(col_has(dir, "vec.0012") && col_has(dir, "vec.0012.sum"),
		"a new part's number is above all that there are");
	touch(dir, "vec.12345.sum");
	must(col_append(cf, &cfg, 12) == 0);
	ok(col_has(dir, "vec.12346") && !col_has(dir, "vec.0013"),
		"those that came since included");
	cf = col_again(cf, &cfg);
	ok(col_reads(cf, &cfg, 0, 17), "and the column opens with it");
	touch(dir, "vec.4294967294");
	must(col_append(cf, &cfg, 3) == 0);
	ok(col_append(cf, &cfg, 1) == -EFBIG && colfile_rows(cf) == 20,
		"behind the last number there is none");
	colfile_close(cf);
}

static void test_names(void)
{
	static const char *const others[] = {"", "vec", "vec.", "vec.1",
		"vec.001", "vec.0000", "vec.00001", "vec.0001.", "vec.0001.su",
		"vec.0001.sums", "vec.0001x", "Vec.0001", "ve.0001",
		"vec0.0001", "vec.-001", "vec.+001", "vec. 001", "vec.0x01",
		"vec.4294967295", "vec.4294967296", "vec.99999999999",
		"vec.18446744073709551617"};
	uint32_t n = 0, wrong = 0;

	ok(colfile_is_part("vec.0001", "vec", &n) && n == 1,
		"vec.0001 is a part");
	ok(colfile_is_part("vec.0012.sum", "vec", &n) && n == 12,
		"so is what has its sums");
	ok(colfile_is_part("vec.4294967294", "vec", &n) && n == 4294967294u,
		"up to the last number");
	n = 5;
	for (unsigned i = 0; i < VG_ARRAY_LEN(others); i++)
		wrong += colfile_is_part(others[i], "vec", &n);
	ok(wrong == 0 && n == 5, "%zu other names are none",
		VG_ARRAY_LEN(others));
}

static void test_map(int dir)
{
	struct kit_disk disk;

	kit_disk_init(&disk);
	struct colfile_config cfg = col_config(dir, &disk.io, 512, 64);
	struct colfile *cf;
	uint8_t *at = mmap(NULL, 1 << 20, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(at != MAP_FAILED);
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 100) == 0);
	ok(colfile_map(cf, 0, 64, at) == 0 && col_is(at, 0, 64, 512),
		"rows of one part are mapped");
	ok(colfile_map(cf, 72, 16, at + 72 * 512) == 0 &&
			col_is(at + 72 * 512, 72, 16, 512),
		"from any multiple of a page on");
	ok(colfile_map(cf, 1, 8, at) == -EOPNOTSUPP &&
			colfile_map(cf, 56, 16, at) == -EOPNOTSUPP,
		"not where they do not begin on a page, or end behind a part");
	ok(colfile_map(cf, 96, 8, at) == -EOPNOTSUPP,
		"or behind the last row");
	must(col_append(cf, &cfg, 100) == 0);
	ok(col_is(at, 0, 64, 512), "maps stay as they are while rows come");
	struct col_told told = {0};
	uint8_t some[24 * 512];

	col_flip(dir, "vec.0002", 4096 + 4096 + 7);
	col_flip(dir, "vec.0002", 4096 + 2 * 4096 + 7);
	ok(colfile_read(cf, 66, 24, some, col_tell, &told) == -VG_ECORRUPT &&
			told.n == 1 && told.first[0] == 72 &&
			told.len[0] == 16,
		"damaged blocks side by side are one range");
	ok(colfile_check(cf, 71) == 0 && colfile_check(cf, 72) == -VG_ECORRUPT,
		"check tells which of the mapped ones are damaged");
	disk.only_calls = 1 << KIT_MAP;
	disk.rc = -EOPNOTSUPP;
	disk.fail_at = disk.calls + 1;
	ok(colfile_map(cf, 0, 64, at) == -EOPNOTSUPP,
		"a disk that maps nothing is to be read");
	colfile_close(cf);
	ok(col_is(at, 0, 64, 512), "and they stay behind the column's end");
	munmap(at, 1 << 20);
}

static void test_descriptors(int dir)
{
	_Atomic int spare = 2;
	struct colfile_config cfg = col_config(dir, NULL, 100, 10);
	struct colfile *cf, *other;
	int before = col_fds(), most = 0;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 300) == 0);
	ok(col_fds() == before + 2, "one part is open to be written");
	must(colfile_sync(cf) == 0);
	ok(col_fds() == before, "a column that was synced rests: none is");
	for (uint32_t i = 0; i < 300; i += 7)
		if (colfile_check(cf, i) == 0)
			most = VG_MAX(most, col_fds());
	ok(most == before + 4, "of 30 parts 4 stay open to be read");
	ok(col_reads(cf, &cfg, 0, 300) && col_fds() == before + 4,
		"whatever is read");
	cfg.fds = &spare;
	cf = col_again(cf, &cfg);
	must(colfile_new(&cfg, &other) == 0);
	cfg.name = "other";
	colfile_close(other);
	must(colfile_new(&cfg, &other) == 0 && col_append(other, &cfg, 20) == 0 &&
		colfile_sync(other) == 0);
	ok(col_fds() == before, "nothing is open before the first read");
	ok(col_reads(other, &cfg, 0, 5) && col_reads(cf, &cfg, 0, 300) &&
			col_fds() == before + 2 && spare == 0,
		"columns that share a number of descriptors keep no more");
	ok(col_reads(other, &cfg, 0, 20) && col_fds() == before + 2,
		"and read all the same");
	colfile_close(cf);
	ok(spare == 1 && col_fds() == before + 1,
		"what is closed gives its own back");
	spare = 0;
	colfile_close(other);
	ok(spare == 1 && col_fds() == before, "each its own");
}

static void test_full(int dir)
{
	struct kit_disk disk;

	kit_disk_init(&disk);
	struct colfile_config cfg = col_config(dir, &disk.io, 1000, 2000);
	struct colfile *cf;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0);
	disk.is_limited = true;
	disk.room = 5000;
	ok(col_append(cf, &cfg, 10) == -ENOSPC && colfile_rows(cf) == 0 &&
			is_empty(dir),
		"a disk that is full has no new part");
	disk.room = 2500000;
	ok(col_append(cf, &cfg, 1000) == 0 && colfile_rows(cf) == 1000,
		"once there is room, rows are appended");
	ok(col_append(cf, &cfg, 1900) == -ENOSPC && colfile_rows(cf) == 1000 &&
			col_reads(cf, &cfg, 0, 1000),
		"where they find none, the column is as it was");
	ok(!col_has(dir, "vec.0002") && !col_has(dir, "vec.0002.sum"),
		"without the part that was begun");
	disk.room = 4000000; /* it counts a file anew that is opened again */
	ok(col_append(cf, &cfg, 500) == 0 && col_reads(cf, &cfg, 0, 1500),
		"fewer rows may fit");
	disk.room = 20000000;
	ok(col_append(cf, &cfg, 1500) == 0 && col_reads(cf, &cfg, 0, 3000),
		"and all do when there is space");
	disk.is_limited = false;
	cf = col_again(cf, &cfg);
	ok(col_reads(cf, &cfg, 0, 3000), "nothing of it is lost");
	disk.rc = -ENOSPC;
	disk.only_calls = 1 << KIT_ALLOCATE;
	disk.fail_at = 1;
	disk.for_ever = true;
	long writes = disk.count[KIT_WRITE];

	ok(col_append(cf, &cfg, 10) == -ENOSPC &&
			disk.count[KIT_WRITE] == writes,
		"no space is known before the first byte is written");
	disk.fail_at = 0;
	disk.no_fallocate = true;
	ok(col_append(cf, &cfg, 10) == 0 && col_reads(cf, &cfg, 0, 3010),
		"a disk that cannot take space ahead is written, too");
	colfile_close(cf);
}

static void test_sync(int dir)
{
	struct kit_disk disk;

	kit_disk_init(&disk);
	struct colfile_config cfg = col_config(dir, &disk.io, 1000, 2000);
	struct colfile *cf;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 10) == 0);
	ok(colfile_sync(cf) == 0 && disk.count[KIT_SYNC] == 3,
		"a new part, its sums and the directory are synced");
	ok(colfile_sync(cf) == 0 && disk.count[KIT_SYNC] == 3,
		"what nothing was written to is not");
	must(col_append(cf, &cfg, 10) == 0);
	ok(colfile_sync(cf) == 0 && disk.count[KIT_SYNC] == 5,
		"nor the directory where no name is new");
	must(col_append(cf, &cfg, 10) == 0);
	disk.only_calls = 1 << KIT_SYNC;
	disk.calls = 0;
	disk.fail_at = 1;
	disk.rc = -ENOSPC;
	ok(colfile_sync(cf) == -EIO, "a sync that fails is never a full disk");
	ok(colfile_sync(cf) == -EIO && col_append(cf, &cfg, 1) == -EIO &&
			disk.calls == 1,
		"it is for good, and not tried again");
	ok(colfile_rows(cf) == 30 && col_reads(cf, &cfg, 0, 30),
		"rows are read on");
	colfile_close(cf);
	disk.fail_at = 0;
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0);
	disk.rc = -EDQUOT;
	disk.calls = 0;
	disk.fail_at = 3;
	must(col_append(cf, &cfg, 10) == 0);
	ok(colfile_sync(cf) == -EIO && colfile_sync(cf) == -EIO &&
			disk.calls == 3,
		"the same of the directory");
	colfile_close(cf);
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0);
	disk.rc = -EIO;
	disk.calls = 0;
	disk.fail_at = 1;
	ok(col_append(cf, &cfg, 2001) == -EIO && colfile_rows(cf) == 0 &&
			col_append(cf, &cfg, 1) == -EIO && disk.calls == 1,
		"and of a part that is full");
	colfile_close(cf);
}

static void test_calls(int dir)
{
	struct kit_disk disk;

	kit_disk_init(&disk);
	struct colfile_config cfg = col_config(dir, &disk.io, 1000, 20000);
	struct colfile *cf;
	uint8_t *rows = malloc(16 << 20);
	struct stat st;

	must(rows);
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 1) == 0);
	long writes = disk.count[KIT_WRITE];

	must(col_append(cf, &cfg, 1) == 0);
	ok(disk.count[KIT_WRITE] == writes + 1, "a few rows are one write");
	must(col_append(cf, &cfg, 9000) == 0);
	ok(disk.count[KIT_WRITE] == writes + 3,
		"many are one, and one of their sums");
	long takes = disk.count[KIT_ALLOCATE];

	for (int i = 0; i < 100; i++)
		must(col_append(cf, &cfg, 10) == 0);
	ok(disk.count[KIT_ALLOCATE] <= takes + 2,
		"space is taken in steps, not by each append");
	must(colfile_sync(cf) == 0);
	must(fstatat(dir, "vec.0001", &st, 0) == 0);
	ok((uint64_t)st.st_blocks * 512 <= (uint64_t)st.st_size * 5 / 4 + 8192,
		"what is left of it after a sync is at most a quarter");
	long reads = disk.count[KIT_READ];

	must(colfile_read(cf, 1, 10000, rows, NULL, NULL) == 0);
	ok(disk.count[KIT_READ] - reads <= 10000000 / 131072 + 4,
		"rows are read by 128 KiB");
	reads = disk.count[KIT_READ];
	ok(colfile_check(cf, 9) == 0 && disk.count[KIT_READ] == reads + 1,
		"a row is checked by one read");
	colfile_close(cf);
	free(rows);
}

/* Small columns do not hold space that they do not use. */
static void test_small(int dir)
{
	struct colfile_config cfg = col_config(dir, NULL, 16, 1 << 20);
	struct colfile *cf;
	struct stat a, b;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 100) == 0 &&
		colfile_sync(cf) == 0);
	must(fstatat(dir, "vec.0001", &a, 0) == 0 &&
		fstatat(dir, "vec.0001.sum", &b, 0) == 0);
	ok(a.st_blocks + b.st_blocks <= 64, "100 small rows cost a few pages");
	colfile_close(cf);
}

/* Readers beside the writer. */
#define SHARED_STRIDE 1001
#define SHARED_ROWS 40000u
struct shared {
	struct colfile *cf;
	_Atomic uint32_t rows;
	_Atomic uint32_t wrong;
	uint64_t dice;
};

static void *reader_main(void *arg)
{
	struct shared *s = arg;
	uint8_t *rows = malloc(300 * SHARED_STRIDE);
	uint64_t dice = (uint64_t)(uintptr_t)rows | 1;
	uint32_t n_rows = 0;

	while (rows && n_rows < SHARED_ROWS) {
		n_rows = atomic_load(&s->rows);
		if (n_rows == 0)
			continue;
		dice = dice * 6364136223846793005u + 1442695040888963407u;
		uint32_t n = 1 + (uint32_t)(dice >> 40) %
				(dice & 1 << 20 ? 300 : 3);
		/* Half of them at the end, where the writer is. */
		uint32_t first = (uint32_t)((dice >> 32) % n_rows);

		n = VG_MIN(n, n_rows);
		first = dice & 1 << 21 || first + n > n_rows ? n_rows - n :
							       first;
		if (colfile_read(s->cf, first, n, rows, NULL, NULL) < 0 ||
			!col_is(rows, first, n, SHARED_STRIDE) ||
			colfile_check(s->cf, first) < 0)
			atomic_fetch_add(&s->wrong, 1);
	}
	free(rows);
	return NULL;
}

static void test_readers(int dir)
{
	struct colfile_config cfg =
		col_config(dir, NULL, SHARED_STRIDE, SHARED_ROWS / 9);
	struct shared s = {0};
	pthread_t thread[3];
	bool held = true;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &s.cf) == 0);
	for (int i = 0; i < 3; i++)
		must(pthread_create(&thread[i], NULL, reader_main, &s) == 0);
	while (colfile_rows(s.cf) < SHARED_ROWS) {
		uint32_t n = 1 + random_below(random_below(8) ? 9 : 900);

		n = VG_MIN(n, SHARED_ROWS - colfile_rows(s.cf));
		held = held && col_append(s.cf, &cfg, n) == 0;
		atomic_store(&s.rows, colfile_rows(s.cf));
		if (random_below(200) == 0)
			held = held && colfile_sync(s.cf) == 0;
	}
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ok(held && s.wrong == 0,
		"who reads beside the writer reads right, in %u rows",
		SHARED_ROWS);
	colfile_close(s.cf);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* 64 MiB that the page cache has: what checking adds to reading. */
static void test_speed(int dir)
{
	enum { LEN = 64 << 20 };
	struct colfile_config cfg = col_config(dir, NULL, 512, LEN / 512);
	uint8_t *rows = malloc(LEN);
	double bare = 1e9, checked = 1e9;
	struct colfile *cf;
	bool held = true;

	must(rows);
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0);
	must(col_append(cf, &cfg, LEN / 512) == 0);
	int fd = openat(dir, "vec.0001", O_RDONLY);

	must(fd >= 0);
	for (int i = 0; i < 5; i++) {
		double t0 = now_s(), t1;

		for (off_t at = 0; at < LEN; at += 1 << 20)
			held = held && pread(fd, rows + at, 1 << 20,
					       at + 4096) == 1 << 20;
		t1 = now_s();
		held = held && colfile_read(cf, 0, LEN / 512, rows, NULL,
				       NULL) == 0;
		bare = VG_MIN(bare, t1 - t0);
		checked = VG_MIN(checked, now_s() - t1);
	}
	diag("64 MiB: pread %.2f GB/s, read and checked %.2f GB/s: %.2f times",
		LEN / bare / 1e9, LEN / checked / 1e9, checked / bare);
	ok(held && col_is(rows, 0, LEN / 512, 512),
		"64 MiB are read and checked at once");
	close(fd);
	colfile_close(cf);
	free(rows);
}

int main(void)
{
	static const uint32_t strides[][2] = {{1, 20000}, {4, 3000}, {12, 100},
		{100, 1000}, {512, 512}, {1000, 1}, {3072, 77}, {4096, 50},
		{4100, 64}, {65536, 10}, {262140, 7}};
	int dir = (plan(100), kit_dir("colfile"));

	rng = seed() * 0x9e3779b97f4a7c15ull | 1;
	test_empty(dir);
	test_life(dir);
	test_unnamed(dir);
	for (size_t i = 0; i < VG_ARRAY_LEN(strides); i++)
		test_model(dir, strides[i][0], strides[i][1]);
	for (int i = 0; i < 2; i++) {
		test_links(dir, "vec.0001", i);
		test_links(dir, "vec.0001.sum", i);
	}
	test_numbers(dir);
	test_names();
	test_map(dir);
	test_descriptors(dir);
	test_full(dir);
	test_sync(dir);
	test_calls(dir);
	test_small(dir);
	test_readers(dir);
	test_speed(dir);
	close(dir);
	return done();
}
