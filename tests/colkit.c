/* SPDX-License-Identifier: Apache-2.0 */
/* colkit.c: see colkit.h. */
#include "tests/colkit.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/tap.h"

static uint64_t word_at(uint64_t at)
{
	uint64_t x = (at + 1) * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 27;
}

void col_fill(void *rows, uint32_t first, uint32_t n, uint32_t stride)
{
	uint64_t at = (uint64_t)first * stride, len = (uint64_t)n * stride;
	uint8_t *out = rows;
	uint64_t word;

	for (uint64_t i = 0; i < len; i++) {
		if ((at + i) % 8 == 0 && len - i >= 8) {
			word = word_at((at + i) / 8);
			memcpy(out + i, &word, 8);
			i += 7;
			continue;
		}
		out[i] = (uint8_t)(word_at((at + i) / 8) >> (at + i) % 8 * 8);
	}
}

bool col_is(const void *rows, uint32_t first, uint32_t n, uint32_t stride)
{
	size_t len = (size_t)n * stride;
	void *want = malloc(len + 1);

	must(want);
	col_fill(want, first, n, stride);
	bool is = memcmp(rows, want, len) == 0;

	free(want);
	return is;
}

static int no_sync(struct io *io, int fd)
{
	(void)io;
	(void)fd;
	return 0;
}

struct colfile_config col_config(
	int dirfd, struct io *io, uint32_t stride, uint32_t part_rows)
{
	static struct io plain;
	struct colfile_config cfg = {
		.io = io ? io : &plain,
		.dirfd = dirfd,
		.name = "vec",
		.store = "uuid of a store",
		.owner = "its collection!",
		.stride = stride,
		.part_rows = part_rows,
	};

	io_init(&plain);
	plain.sync = no_sync;
	return cfg;
}

int col_append(struct colfile *cf, const struct colfile_config *cfg, uint32_t n)
{
	void *rows = malloc((size_t)n * cfg->stride + 1);

	must(rows);
	col_fill(rows, colfile_rows(cf), n, cfg->stride);
	int rc = colfile_append(cf, rows, n);

	free(rows);
	return rc;
}

struct colfile_part *col_parts(const struct colfile *cf, uint32_t *n)
{
	const struct colfile_part *part;

	colfile_parts(cf, &part, n);
	struct colfile_part *copy = malloc((*n + 1) * sizeof(*copy));

	must(copy);
	if (*n > 0)
		memcpy(copy, part, *n * sizeof(*copy));
	return copy;
}

struct colfile *col_again(struct colfile *cf, const struct colfile_config *cfg)
{
	char why[256] = "";
	uint32_t n;

	must(colfile_sync(cf) == 0);
	struct colfile_part *part = col_parts(cf, &n);

	colfile_close(cf);
	int rc = colfile_open(cfg, part, n, why, &cf);

	if (rc < 0)
		diag("open: %d: %s", rc, why);
	must(rc == 0);
	free(part);
	return cf;
}

static void note_damage(void *ctx, uint32_t first, uint32_t n)
{
	diag("damaged: rows %u to %u", first, first + n - 1);
	*(bool *)ctx = true;
}

bool col_reads(struct colfile *cf, const struct colfile_config *cfg,
	uint32_t first, uint32_t n)
{
	void *rows = malloc((size_t)n * cfg->stride + 1);
	bool is_damaged = false;

	must(rows);
	int rc = colfile_read(cf, first, n, rows, note_damage, &is_damaged);
	bool is = rc == 0 && !is_damaged &&
		  col_is(rows, first, n, cfg->stride);

	free(rows);
	return is;
}

bool col_has(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, 0) == 0;
}

int col_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	must(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

void col_tell(void *ctx, uint32_t first, uint32_t n)
{
	struct col_told *told = ctx;

	if (told->n < 8) {
		told->first[told->n] = first;
		told->len[told->n] = n;
	}
	told->n++;
}

void col_flip(int dir, const char *name, uint64_t at)
{
	int fd = openat(dir, name, O_RDWR);
	uint8_t byte;

	must(fd >= 0 && pread(fd, &byte, 1, (off_t)at) == 1);
	byte ^= 4;
	must(pwrite(fd, &byte, 1, (off_t)at) == 1);
	close(fd);
}

void col_cut(int dir, const char *name, off_t len)
{
	int fd = openat(dir, name, O_RDWR);

	must(fd >= 0 && ftruncate(fd, len) == 0);
	close(fd);
}
