/* SPDX-License-Identifier: Apache-2.0 */
/* colfile.c: every call and every allocation of a column fails once, and for ever. */
#include "src/colfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/colkit.h"
#include "tests/logkit.h"
#include "tests/memkit.h"
#include "tests/tap.h"

/*
 * The life of a column, as checkpoints lead it: made, appended to and synced
 * over several parts, opened again, read, mapped and checked. A copy of the
 * parts is taken after each sync that succeeded, as a manifest would. Whatever
 * fails on the way, that is there at the end, and nothing else was said.
 */

/* The linker sends this here, too (--wrap), and memkit's to memkit. */
void *__real_aligned_alloc(size_t to, size_t len);
void *__wrap_aligned_alloc(size_t to, size_t len);

void *__wrap_aligned_alloc(size_t to, size_t len)
{
	return mem_fails() ? NULL : __real_aligned_alloc(to, len);
}

#define STRIDE 512u
#define PART_ROWS 48u
#define ROWS 400u

static struct kit_disk disk;
static struct colfile_config cfg;
static struct colfile_part manifest[64];
static uint32_t n_manifest, n_named; /* parts and rows that it has */
static uint8_t *rows; /* all there may be, and what is read */
static uint8_t *map;
static bool was_sync; /* an append failed, maybe in a sync */
static const char *lie; /* what was said that cannot be */
static bool for_ever;	/* what fails does so from then on */

static void claim(bool holds, const char *what)
{
	if (!holds && !lie)
		lie = what;
}

/* Is it an error that a fault brings? */
static bool is_fault(int rc)
{
	return rc == disk.rc || rc == -EIO || rc == -ENOMEM;
}

static int append(struct colfile *cf, uint32_t n, bool *is_over)
{
	const struct colfile_part *part;
	struct colfile_part before[64];
	uint32_t n_before, n_after, first = colfile_rows(cf);
	long syncs = disk.count[KIT_SYNC];

	colfile_parts(cf, &part, &n_before);
	must(n_before < 60 && first + n <= ROWS);
	for (uint32_t i = 0; i < n_before; i++)
		before[i] = part[i];
	int rc = colfile_append(cf, rows + first * STRIDE, n);

	/* What fails once goes the next time, unless a sync was it. */
	if (rc < 0 && syncs != disk.count[KIT_SYNC])
		was_sync = true;
	if (rc < 0 && !for_ever && !was_sync && !*is_over) {
		claim(is_fault(rc), "another error of an append");
		rc = colfile_append(cf, rows + first * STRIDE, n);
		claim(rc == 0, "an append does not pass by itself");
	}
	claim(rc == 0 || is_fault(rc), "another error of an append");
	claim(!*is_over || rc < 0, "an append behind a failed sync");
	colfile_parts(cf, &part, &n_after);
	if (rc == 0)
		claim(colfile_rows(cf) == first + n, "too few rows");
	else
		claim(colfile_rows(cf) == first && n_after == n_before,
			"rows of an append that failed");
	for (uint32_t i = 0; rc < 0 && i < n_before; i++)
		claim(memcmp(&part[i], &before[i], sizeof(*part)) == 0,
			"an append that failed changed a part");
	return rc;
}

static void sync_and_note(struct colfile *cf, bool *is_over)
{
	long syncs = disk.count[KIT_SYNC];
	int rc = colfile_sync(cf);
	const struct colfile_part *part;
	uint32_t n;

	claim(rc == 0 || is_fault(rc), "another error of a sync");
	claim(!*is_over || (rc < 0 && disk.count[KIT_SYNC] == syncs),
		"a sync tried again");
	*is_over = rc < 0;
	if (rc < 0)
		return;
	colfile_parts(cf, &part, &n);
	must(n <= 64);
	for (uint32_t i = 0; i < n; i++)
		manifest[i] = part[i];
	n_manifest = n;
	n_named = colfile_rows(cf);
}

static void note_damage(void *ctx, uint32_t first, uint32_t n)
{
	memset((uint8_t *)ctx + first, 1, n);
}

static void read_all(struct colfile *cf, uint8_t *got)
{
	uint32_t n = colfile_rows(cf);
	uint8_t bad[ROWS] = {0};
	int rc = colfile_read(cf, 0, n, got, note_damage, bad);

	claim(rc == 0 || is_fault(rc), "another error of a read");
	for (uint32_t i = 0; i < n; i++) {
		claim(!bad[i] || rc < 0, "damage without an error");
		claim(bad[i] || memcmp(got + i * STRIDE, rows + i * STRIDE,
					STRIDE) == 0,
			"a wrong row");
	}
	for (uint32_t i = 0; i < n; i += 37) {
		rc = colfile_check(cf, i);
		claim(rc == 0 || is_fault(rc), "another error of a check");
	}
	if (n < 16)
		return;
	rc = colfile_map(cf, 0, 8, map);
	claim(rc == 0 || is_fault(rc), "another error of a map");
	claim(rc < 0 || memcmp(map, rows, 8 * STRIDE) == 0, "a wrong map");
}

/* All that happens to a column until it is closed. */
static void one_life(uint32_t first_n, uint8_t *got)
{
	static const uint32_t more[] = {1, 9, 30, 7, 20};
	struct colfile *cf;
	char why[256] = "";
	bool is_over = was_sync = false;
	int rc = n_manifest > 0 ?
			 colfile_open(&cfg, manifest, n_manifest, why, &cf) :
			 colfile_new(&cfg, &cf);

	claim(rc == 0 || is_fault(rc), "another error of an open");
	claim(rc == 0 || rc == -ENOMEM || why[0], "an error without a sentence");
	if (rc < 0)
		return;
	claim(colfile_rows(cf) == n_named, "rows that nobody named");
	append(cf, first_n, &is_over);
	for (size_t i = 0; i < VG_ARRAY_LEN(more); i++) {
		append(cf, more[i], &is_over);
		if (i % 2 == 1)
			sync_and_note(cf, &is_over);
	}
	read_all(cf, got);
	sync_and_note(cf, &is_over);
	colfile_close(cf);
}

/* Two lives under faults, and one without; was anything lost or left? */
static bool lives(int dir, long at, long mem_at)
{
	static uint8_t got[ROWS * STRIDE];
	int fds = col_fds();

	kit_dir_clear(dir);
	disk.calls = disk.failed = 0;
	n_manifest = n_named = 0;
	lie = NULL;
	disk.fail_at = at;
	disk.for_ever = for_ever;
	mem_arm(mem_at, for_ever);
	one_life(20, got);
	one_life(3, got);
	mem_disarm();
	disk.fail_at = 0;
	if (lie)
		return false;

	uint32_t named = n_named;
	long failed = disk.failed;

	one_life(5, got);
	disk.failed = failed;
	claim(n_named == named + 72, "the next life is not whole");
	claim(col_fds() == fds, "a descriptor is left");
	return !lie;
}

/* Fails the 1st, 2nd, ... call until a run meets no fault. */
static void test_calls(int dir, int rc, bool ever, const char *what)
{
	bool held = true;
	long n = 0;

	disk.rc = rc;
	for_ever = ever;
	do {
		n++;
		if (!lives(dir, n, 0) && held) {
			held = false;
			diag("at call %ld: %s", n, lie);
		}
	} while (disk.failed > 0 && n < 5000);
	ok(held && n > 100 && n < 5000,
		"%s: any of %ld calls fails, and what was synced is there",
		what, n - 1);
}

static void test_mallocs(int dir, bool ever)
{
	bool held = true;
	long n = 0;

	for_ever = ever;
	do {
		n++;
		if (!lives(dir, 0, n) && held) {
			held = false;
			diag("at allocation %ld: %s", n, lie);
		}
	} while (mem_failed() > 0 && n < 5000);
	ok(held && n > 10 && n < 5000,
		"any of %ld allocations fails%s, and what was synced is there",
		n - 1, ever ? ", and all behind it" : "");
}

int main(void)
{
	int dir = (plan(7), kit_dir("colfile"));

	kit_disk_init(&disk);
	disk.no_sync = true;
	cfg = col_config(dir, &disk.io, STRIDE, PART_ROWS);
	rows = malloc(ROWS * STRIDE);
	map = mmap(NULL, 8 * STRIDE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0);
	must(rows && map != MAP_FAILED);
	col_fill(rows, 0, ROWS, STRIDE);
	test_calls(dir, -EIO, false, "EIO once");
	test_calls(dir, -EIO, true, "EIO for ever");
	test_calls(dir, -ENOSPC, false, "ENOSPC once");
	test_calls(dir, -ENOSPC, true, "ENOSPC for ever");
	test_calls(dir, -EMFILE, false, "EMFILE once");
	disk.rc = -EIO;
	test_mallocs(dir, false);
	test_mallocs(dir, true);
	free(rows);
	munmap(map, 8 * STRIDE);
	close(dir);
	return done();
}
