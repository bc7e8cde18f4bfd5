/* SPDX-License-Identifier: Apache-2.0 */
/* colfile.c: columns' files byte by byte: as written down, cut anywhere, any bit flipped. */
#include "src/colfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/colkit.h"
#include "tests/logkit.h"
#include "tests/tap.h"

/*
 * docs/format.md's example, computed from its text by another program: column
 * "vec", part 1 from row 0, rows of 8 bytes, 1,600 of them.
 */
static const char golden_header[] =
	"vgcol\r\n\x1a"
	"\x01\0\0\0"
	"\0\0\0\0"
	"uuid of a store\0"
	"its collection!\0"
	"\x01\0\0\0"
	"\0\0\0\0"
	"\x08\0\0\0"
	"\x03\0\0\0"
	"vec";
static const uint64_t golden_header_hash = 0xfddcb1b450b0eb7b;
static const char golden_sums[] =
	"vgsum\r\n\x1a"
	"\x01\0\0\0"
	"\x01\0\0\0"
	"uuid of a store\0"
	"\x7b\xeb\xb0\x50\xb4\xb1\xdc\xfd"
	"\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0"
	"\x33\x40\x33\xc1\x34\x85\x34\x73"
	"\xbf\x91\x0b\x49\xa4\x90\x18\xdf"
	"\x5a\x53\xd1\x5d\xa8\x45\xd1\x61"
	"\xbd\x97\xa0\xad\x0d\x1b\x70\x37";
static const uint64_t golden_sums_hash = 0xa5a4f20970bd62fe;
static const uint64_t golden_tail_hash = 0xa70a5109f6e11449;

static void test_golden(int dir)
{
	struct colfile_config cfg = col_config(dir, NULL, 8, 5000);
	uint8_t rows[1600][8], header[4096] = {0};
	const struct colfile_part *part;
	struct colfile *cf;
	uint32_t n;

	for (unsigned i = 0; i < 1600; i++)
		for (unsigned k = 0; k < 8; k++)
			rows[i][k] = (uint8_t)(i * 7 + (i >> 8) * 3 + k);
	must(colfile_new(&cfg, &cf) == 0);
	must(colfile_append(cf, rows, 1000) == 0 &&
		colfile_append(cf, rows[1000], 600) == 0 &&
		colfile_sync(cf) == 0);
	colfile_parts(cf, &part, &n);
	struct kit_file f = kit_load(dir, "vec.0001");

	memcpy(header, golden_header, sizeof(golden_header));
	memcpy(header + 4088, &golden_header_hash, 8);
	ok(f.len == 4096 + sizeof(rows) && memcmp(f.bytes, header, 4096) == 0,
		"a part's header is what it was");
	ok(memcmp(f.bytes + 4096, rows, sizeof(rows)) == 0,
		"and its rows follow");
	kit_free(&f);
	f = kit_load(dir, "vec.0001.sum");
	ok(f.len == sizeof(golden_sums) - 1 &&
			memcmp(f.bytes, golden_sums, f.len) == 0,
		"its sums are what they were");
	ok(n == 1 && part->sums_hash == golden_sums_hash &&
			part->tail_hash == golden_tail_hash,
		"and so is what a manifest says of it");
	kit_free(&f);
	colfile_close(cf);
	kit_dir_clear(dir);
	must(colfile_new(&cfg, &cf) == 0 && colfile_append(cf, rows, 512) == 0);
	colfile_parts(cf, &part, &n);
	ok(part->tail_hash == 0, "the hash of no bytes behind the blocks is 0");
	colfile_close(cf);
	kit_dir_clear(dir);
}

/* A column of two parts; both have bytes that the manifest does not name. */
#define STRIDE 60u
static struct colfile_config cfg;
static struct colfile_part *parts;
static uint32_t n_parts, n_rows;

static struct file {
	const char *name;
	struct kit_file bytes;
	size_t named; /* bytes that the manifest vouches for */
	size_t len;   /* that there are in memory */
} files[4] = {{.name = "vec.0001"}, {.name = "vec.0001.sum"},
	{.name = "vec.0002"}, {.name = "vec.0002.sum"}};

static void make_column(int dir)
{
	static const uint32_t rows[2] = {75, 70};
	struct colfile *cf;

	cfg = col_config(dir, NULL, STRIDE, 75);
	must(colfile_new(&cfg, &cf) == 0 && col_append(cf, &cfg, 145) == 0);
	parts = col_parts(cf, &n_parts);
	must(n_parts == 2 && parts[0].n == rows[0] && parts[1].n == rows[1]);
	must(col_append(cf, &cfg, 2) == 0 && colfile_sync(cf) == 0);
	colfile_close(cf);
	n_rows = 145;
	for (int i = 0; i < 4; i++) {
		struct kit_file f = kit_load(dir, files[i].name);
		uint8_t *more = malloc(f.len + 9);

		must(more);
		memcpy(more, f.bytes, f.len);
		memset(more + f.len, 0xa5, 9);
		kit_free(&f);
		files[i].bytes = (struct kit_file){more, f.len + 9};
		files[i].named = i % 2 ? 64 + rows[i / 2] * STRIDE / 4096 * 8 :
					 4096 + rows[i / 2] * STRIDE;
		files[i].len = f.len + 9;
	}
}

/* A disk in memory that has these files, to be read: a look is cheap. */
static int mem_open(struct io *io, int dirfd, const char *name, int flags)
{
	(void)io;
	(void)dirfd;
	must(flags == O_RDONLY);
	for (int i = 0; i < 4; i++)
		if (strcmp(name, files[i].name) == 0)
			return i;
	return -ENOENT;
}

static void mem_close(struct io *io, int fd)
{
	(void)io;
	must(fd >= 0);
}

static int mem_stat(struct io *io, int fd, struct io_stat *out)
{
	(void)io;
	*out = (struct io_stat){.size = files[fd].len, .links = 1};
	return 0;
}

static ssize_t mem_read(
	struct io *io, int fd, void *buf, size_t len, uint64_t offset)
{
	(void)io;
	if (offset >= files[fd].len)
		return 0;
	len = VG_MIN(len, files[fd].len - offset);
	memcpy(buf, files[fd].bytes.bytes + offset, len);
	return (ssize_t)len;
}

static struct io mem_io = {.open = mem_open,
	.close = mem_close,
	.stat = mem_stat,
	.read = mem_read};

/* What a look at the column finds. */
struct look {
	int open_rc, read_rc;
	uint32_t first, n; /* the damage, if it is one range */
	uint32_t ranges;
	bool is_right; /* every row that is not in it; and check agrees */
};

static void note(void *ctx, uint32_t first, uint32_t n)
{
	struct look *look = ctx;

	look->first = first;
	look->n = n;
	look->ranges++;
}

static struct look look_at(void)
{
	static uint8_t rows[200 * STRIDE];
	struct look look = {.is_right = true};
	struct colfile_config mem_cfg = cfg;
	struct colfile *cf;
	char why[256] = "";

	mem_cfg.io = &mem_io;
	look.open_rc = colfile_open(&mem_cfg, parts, n_parts, why, &cf);
	if (look.open_rc < 0) {
		look.is_right = why[0] != '\0';
		return look;
	}
	look.read_rc = colfile_read(cf, 0, n_rows, rows, note, &look);
	if (look.ranges == 0)
		look.first = n_rows;
	look.is_right = col_is(rows, 0, look.first, STRIDE) &&
			col_is(rows + (look.first + look.n) * STRIDE,
				look.first + look.n,
				n_rows - look.first - look.n, STRIDE);
	for (uint32_t i = 0; i < n_rows; i += look.ranges ? 1 : 36) {
		bool bad = i >= look.first && i < look.first + look.n;

		look.is_right = look.is_right &&
				(colfile_check(cf, i) < 0) == bad;
	}
	colfile_close(cf);
	return look;
}

static bool is_whole(struct look look)
{
	return look.open_rc == 0 && look.read_rc == 0 && look.is_right &&
	       look.ranges == 0;
}

/* Appends behind what is there, and finds it all. */
static bool goes_on(void)
{
	struct colfile *cf;
	char why[256];

	if (colfile_open(&cfg, parts, n_parts, why, &cf) < 0)
		return false;
	bool held = col_append(cf, &cfg, 100) == 0;

	cf = col_again(cf, &cfg);
	held = held && colfile_rows(cf) == n_rows + 100 &&
	       col_reads(cf, &cfg, 0, n_rows + 100);
	colfile_close(cf);
	return held;
}

static void test_cut(int dir, struct file *file)
{
	bool refused = true, held = true, on = true;

	for (file->len = 0; file->len < file->bytes.len; file->len++) {
		struct look look = look_at();

		if (file->len < file->named) {
			refused = refused && look.is_right &&
				  look.open_rc == -VG_ECORRUPT;
			continue;
		}
		held = held && is_whole(look);
		if ((file->len - file->named) % 8 != 0)
			continue;
		kit_dir_clear(dir);
		for (int i = 0; i < 4; i++)
			kit_save(dir, files[i].name, files[i].bytes.bytes,
				files[i].len);
		on = on && goes_on();
	}
	ok(refused, "%s cut anywhere in what is named is refused", file->name);
	ok(held, "cut behind it, it is whole");
	ok(on, "and rows are appended behind it");
}

/* Which of all rows lie in the block at byte `at` of part i's file. */
static void rows_of(int i, size_t at, uint32_t *first, uint32_t *n)
{
	uint32_t begin = (uint32_t)(at - 4096) / 4096 * 4096;
	uint32_t end = VG_MIN(begin + 4096, parts[i].n * STRIDE);

	*first = begin / STRIDE;
	*n = (end + STRIDE - 1) / STRIDE - *first;
	*first += parts[i].first;
}

static bool flip_is_found(int i, size_t at)
{
	bool is_sum = i % 2 == 1, is_last = i / 2 == 1;
	size_t tail = parts[i / 2].n * STRIDE / 4096 * 4096 + 4096;
	struct look look = look_at();
	uint32_t first, n;

	if (at >= files[i].named)
		return is_whole(look);
	if (is_sum || at < 4096 || (is_last && at >= tail))
		return look.open_rc == -VG_ECORRUPT && look.is_right;
	rows_of(i / 2, at, &first, &n);
	return look.open_rc == 0 && look.read_rc == -VG_ECORRUPT &&
	       look.is_right && look.ranges == 1 && look.first == first &&
	       look.n == n;
}

static void test_flips(int i)
{
	bool held = true;

	for (size_t bit = 0; bit < files[i].len * 8; bit++) {
		files[i].bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		bool found = flip_is_found(i, bit / 8);

		if (held && !found)
			diag("bit %zu of %s", bit, files[i].name);
		held = held && found;
		files[i].bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ok(held, "any bit of %s flipped: refused, or its rows named, or "
		 "harmless behind what is named",
		files[i].name);
}

int main(void)
{
	int dir = (plan(22), kit_dir("colfile"));

	test_golden(dir);
	make_column(dir);
	ok(is_whole(look_at()), "the column is whole");
	for (int i = 0; i < 4; i++)
		test_cut(dir, &files[i]);
	for (int i = 0; i < 4; i++)
		test_flips(i);
	for (int i = 0; i < 4; i++)
		kit_free(&files[i].bytes);
	free(parts);
	close(dir);
	return done();
}
