/* SPDX-License-Identifier: Apache-2.0 */
/* colfile_damage: damaged rows are named, what is no part of a column is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/wire.h"
#include "tests/colkit.h"
#include "tests/logkit.h"
#include "tests/tap.h"

static void test_damage(int dir)
{
	struct colfile_config cfg = col_config(dir, NULL, 1000, 500);
	uint8_t *rows = malloc(1000 * 1000);
	struct col_told told = {0};
	struct colfile *cf;
	bool held = true;

	must(rows);
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 800) == 0);
	cf = col_again(cf, &cfg);
	/* Rows 4..8, 8..12 and, in the second part, 540..544 and the last. */
	col_flip(dir, "vec.0001", 4096 + 4096);
	col_flip(dir, "vec.0001", 4096 + 3 * 4096 - 1);
	col_flip(dir, "vec.0002", 4096 + 10 * 4096 + 9);
	col_flip(dir, "vec.0002", 4096 + 300 * 1000 - 1);
	ok(colfile_read(cf, 0, 800, rows, col_tell, &told) == -VG_ECORRUPT,
		"damaged rows are refused");
	ok(told.n == 3 && told.first[0] == 4 && told.len[0] == 9 &&
			told.first[1] == 540 && told.len[1] == 6 &&
			told.first[2] == 799 && told.len[2] == 1,
		"and named, as ranges that do not overlap");
	held = col_is(rows, 0, 4, 1000) &&
	       col_is(rows + 13000, 13, 527, 1000) &&
	       col_is(rows + 546000, 546, 253, 1000);
	ok(held, "the others are read");
	held = true;
	for (uint32_t i = 0; i < 800; i++) {
		bool bad = (i >= 4 && i < 13) || (i >= 540 && i < 546) ||
			   i == 799;

		held = held &&
		       colfile_check(cf, i) == (bad ? -VG_ECORRUPT : 0);
	}
	ok(held, "check says the same of each row");
	told.n = 0;
	ok(colfile_read(cf, 10, 1, rows, col_tell, &told) == -VG_ECORRUPT &&
			told.n == 1 && told.first[0] == 10 &&
			told.len[0] == 1,
		"of what is read alone only that is named");
	ok(colfile_read(cf, 4, 1, rows, NULL, NULL) == -VG_ECORRUPT,
		"or nothing, where nobody asks");
	ok(rows[96] == 0 && rows[999] == 0, "what is damaged is handed to nobody");
	col_flip(dir, "vec.0001", 4096 + 4096);
	ok(colfile_read(cf, 4, 4, rows, NULL, NULL) == 0,
		"nothing is remembered: what is whole again is read");
	col_cut(dir, "vec.0002", 4096 + 20 * 4096 + 5);
	told.n = 0;
	ok(colfile_read(cf, 550, 250, rows, col_tell, &told) == -VG_ECORRUPT &&
			told.n == 1 && told.first[0] == 581 &&
			told.len[0] == 219,
		"a file that was cut ends where it ends");
	ok(col_append(cf, &cfg, 1) == -VG_ECORRUPT,
		"and nothing is written behind it");
	colfile_close(cf);
	free(rows);
}

/* Parts whose files are gone or cannot be read. */
static void test_unreadable(int dir)
{
	struct kit_disk disk;

	kit_disk_init(&disk);
	struct colfile_config cfg = col_config(dir, &disk.io, 1000, 500);
	uint8_t *rows = malloc(1000 * 1000);
	struct col_told told = {0};
	struct colfile *cf;

	must(rows);
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 800) == 0);
	cf = col_again(cf, &cfg);
	disk.only_calls = 1 << KIT_READ;
	disk.calls = 0;
	disk.fail_at = 2;
	disk.for_ever = true;
	ok(colfile_read(cf, 0, 800, rows, col_tell, &told) == -EIO,
		"rows that the disk cannot read are refused");
	ok(told.n == 2 && told.first[0] == 131 && told.len[0] == 369 &&
			told.first[1] == 500 && told.len[1] == 300 &&
			col_is(rows, 0, 131, 1000),
		"and named; what it can read is read");
	ok(colfile_check(cf, 0) == -EIO, "check says so, too");
	told.n = 0;
	disk.calls = 0;
	disk.for_ever = false;
	ok(colfile_read(cf, 0, 800, rows, col_tell, &told) == 0 && told.n == 0 &&
			col_is(rows, 0, 800, 1000),
		"a run is read again, block by block");
	disk.fail_at = 0;
	must(unlinkat(dir, "vec.0001", 0) == 0);
	cf = (colfile_close(cf), NULL);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 800) == 0);
	must(colfile_sync(cf) == 0 && unlinkat(dir, "vec.0003", 0) == 0);
	told.n = 0;
	ok(colfile_read(cf, 0, 800, rows, col_tell, &told) == -EIO &&
			told.n == 1 && told.first[0] == 0 &&
			told.len[0] == 500 &&
			col_is(rows + 500000, 500, 300, 1000),
		"of a file that is missing no row is read, of others all");
	ok(colfile_check(cf, 3) == -EIO && colfile_check(cf, 500) == 0,
		"which check says, too");
	colfile_close(cf);
	free(rows);
}

/* Opens and tells whether it was refused with a sentence that says so. */
static bool refused(const struct colfile_config *cfg,
	const struct colfile_part *part, uint32_t n, int rc, const char *says)
{
	struct colfile *cf;
	char why[256] = "";
	int got = colfile_open(cfg, part, n, why, &cf);

	if (got == 0)
		colfile_close(cf);
	if (got != rc || !strstr(why, says))
		diag("%d: %s", got, why);
	return got == rc && strstr(why, says);
}

/* Another header with a right hash: `len` bytes, changed at `at`. */
static void rehash(int dir, const char *name, size_t len, size_t at)
{
	struct kit_file f = kit_load(dir, name);
	uint64_t hash;

	f.bytes[at]++;
	hash = wire_hash(f.bytes, len - 8);
	memcpy(f.bytes + len - 8, &hash, 8);
	kit_save(dir, name, f.bytes, f.len);
	kit_free(&f);
}

static void test_refused(int dir)
{
	struct colfile_config cfg = col_config(dir, NULL, 1000, 50), other;
	struct colfile *cf;
	struct kit_file a, a_sum;
	uint32_t n;

	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 120) == 0);
	must(colfile_sync(cf) == 0);
	struct colfile_part *part = col_parts(cf, &n), bad[3];

	colfile_close(cf);
	a = kit_load(dir, "vec.0001");
	a_sum = kit_load(dir, "vec.0001.sum");
	other = cfg;
	other.store[0]++;
	ok(refused(&other, part, n, -VG_ECORRUPT,
		   "vec.0001 belongs to another store"),
		"another store's part is refused");
	other = cfg;
	other.owner[15]++;
	ok(refused(&other, part, n, -VG_ECORRUPT,
		   "vec.0001 belongs to another collection"),
		"another collection's, too");
	other = cfg;
	other.stride = 999;
	ok(refused(&other, part, n, -VG_ECORRUPT, "vec.0001 holds other rows"),
		"and one with rows of another size");
	kit_save(dir, "other.0001", a.bytes, a.len);
	other = cfg;
	other.name = "other";
	ok(refused(&other, part, 1, -VG_ECORRUPT, "other.0001 is another part"),
		"and another column's");
	kit_save(dir, "vec.0002", a.bytes, a.len);
	ok(refused(&cfg, part, n, -VG_ECORRUPT, "vec.0002 is another part"),
		"and one under another's name");
	rehash(dir, "vec.0001", 4096, 8);
	ok(refused(&cfg, part, n, -VG_EFORMAT,
		   "vec.0001 has format version 2"),
		"and one of a later version");
	kit_save(dir, "vec.0001", a.bytes, a.len);
	rehash(dir, "vec.0001", 4096, 52);
	ok(refused(&cfg, part, n, -VG_ECORRUPT, "vec.0001 holds other rows"),
		"and one that begins with another row");
	kit_save(dir, "vec.0001", a.bytes, a.len);
	rehash(dir, "vec.0001.sum", 64, 8);
	ok(refused(&cfg, part, n, -VG_EFORMAT,
		   "vec.0001.sum has format version 2"),
		"sums of a later version are refused");
	struct kit_file b_sum = kit_load(dir, "vec.0002.sum");

	kit_save(dir, "vec.0001.sum", b_sum.bytes, b_sum.len);
	ok(refused(&cfg, part, n, -VG_ECORRUPT,
		   "vec.0001.sum has the sums of another part"),
		"and another part's");
	kit_free(&b_sum);
	kit_save(dir, "vec.0001.sum", a_sum.bytes, a_sum.len);
	col_flip(dir, "vec.0001.sum", 64 + 9);
	ok(refused(&cfg, part, n, -VG_ECORRUPT, "vec.0001.sum is damaged"),
		"and damaged ones");
	must(unlinkat(dir, "vec.0001.sum", 0) == 0);
	ok(refused(&cfg, part, n, -ENOENT, "vec.0001.sum is missing"),
		"and missing ones");
	must(unlinkat(dir, "vec.0001", 0) == 0);
	ok(refused(&cfg, part, n, -ENOENT, "vec.0001 is missing"),
		"and a missing part");
	must(mkdirat(dir, "vec.0001", 0700) == 0);
	ok(refused(&cfg, part, n, -VG_ECORRUPT, "vec.0001 ends at byte"),
		"and what is no file");
	must(unlinkat(dir, "vec.0001", AT_REMOVEDIR) == 0);
	kit_save(dir, "vec.0001", a.bytes, 40000);
	ok(refused(&cfg, part, n, -VG_ECORRUPT,
		   "vec.0001 ends at byte 40000, 54096 were"),
		"and a part that was cut");
	for (int i = 0; i < 5; i++) {
		memcpy(bad, part, sizeof(bad));
		bad[1].first += i == 0;
		bad[1].number = i == 1 ? 0 : i == 2 ? UINT32_MAX : 2;
		bad[0].n = i == 3 ? 0 : 50;
		bad[2].n = i == 4 ? UINT32_MAX - 100 : 20;
		ok(refused(&cfg, bad, 3, -VG_ECORRUPT, "vec has a gap at row"),
			"so are ranges that cannot be (%d)", i);
	}
	kit_free(&a);
	kit_free(&a_sum);
	free(part);
}

int main(void)
{
	int dir = (plan(35), kit_dir("colfile_damage"));

	test_damage(dir);
	test_unreadable(dir);
	test_refused(dir);
	close(dir);
	return done();
}
