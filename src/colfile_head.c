/* SPDX-License-Identifier: Apache-2.0 */
/* colfile_head.c: names and headers of a column's files; docs/format.md has them. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/colfile_int.h"
#include "src/wire.h"

static const char magic[8] = "vgcol\r\n\x1a";
static const char sum_magic[8] = "vgsum\r\n\x1a";

static_assert(COLFILE_FILE_MAX >= COLFILE_NAME_MAX + 1 + 10 + 4 + 1,
	"a file's name has its place");

void colfile_name_format(const struct colfile *cf, uint32_t number,
	const char *suffix, char out[COLFILE_FILE_MAX])
{
	int len = snprintf(out, COLFILE_FILE_MAX, "%s.%04" PRIu32 "%s",
		cf->cfg.name, number, suffix);

	assert(number > 0);
	assert(len > 0 && len < (int)COLFILE_FILE_MAX);
	(void)len;
}

static void path_format(const struct colfile *cf, uint32_t number,
	const char *suffix, char out[COLFILE_PATH_MAX])
{
	char name[COLFILE_FILE_MAX];
	const char *dir = cf->cfg.dir;
	int len;

	colfile_name_format(cf, number, suffix, name);
	len = snprintf(out, COLFILE_PATH_MAX, "%s%s%s", dir ? dir : "",
		dir ? "/" : "", name);
	assert(len > 0 && len < (int)COLFILE_PATH_MAX);
	(void)len;
}

int colfile_file_open(
	const struct colfile *cf, uint32_t number, const char *suffix, int flags)
{
	char path[COLFILE_PATH_MAX];

	path_format(cf, number, suffix, path);
	return cf->cfg.io->open(cf->cfg.io, cf->cfg.dirfd, path, flags);
}

int colfile_file_unlink(
	const struct colfile *cf, uint32_t number, const char *suffix)
{
	char path[COLFILE_PATH_MAX];

	path_format(cf, number, suffix, path);
	return cf->cfg.io->unlink(cf->cfg.io, cf->cfg.dirfd, path);
}

static int dir_open(const struct colfile *cf)
{
	return cf->cfg.dir ? cf->cfg.io->open(cf->cfg.io, cf->cfg.dirfd,
				     cf->cfg.dir, O_RDONLY | O_DIRECTORY)
			   : cf->cfg.dirfd;
}

static void dir_close(const struct colfile *cf, int fd)
{
	if (cf->cfg.dir)
		cf->cfg.io->close(cf->cfg.io, fd);
}

int colfile_dir_sync(const struct colfile *cf)
{
	int fd = dir_open(cf);

	if (fd < 0)
		return fd;
	int rc = cf->cfg.io->sync(cf->cfg.io, fd);

	dir_close(cf, fd);
	return io_is_scarce(rc) ? -EIO : rc; /* it was begun */
}

int colfile_dir_list(const struct colfile *cf, io_name_fn *each, void *ctx)
{
	int fd = dir_open(cf);

	if (fd < 0)
		return fd;
	int rc = cf->cfg.io->list(cf->cfg.io, fd, each, ctx);

	dir_close(cf, fd);
	return rc;
}

bool colfile_is_part(const char *name, const char *column, uint32_t *number)
{
	size_t len = strlen(column);
	uint64_t n = 0;
	unsigned digits = 0;

	if (strncmp(name, column, len) != 0 || name[len] != '.')
		return false;
	name += len + 1;
	/* ends: at most 10 digits */
	for (; name[digits] >= '0' && name[digits] <= '9' && digits < 10;
		digits++)
		n = n * 10 + (uint64_t)(name[digits] - '0');
	if (digits < 4 || (digits > 4 && name[0] == '0') || n == 0 ||
		n >= UINT32_MAX)
		return false;
	if (name[digits] && strcmp(name + digits, ".sum") != 0)
		return false;
	*number = (uint32_t)n;
	return true;
}

void colfile_header_encode(const struct colfile *cf, uint32_t number,
	uint32_t first, uint8_t out[COLFILE_HEADER])
{
	const struct colfile_config *cfg = &cf->cfg;
	struct wire_out w = wire_out_init(out, COLFILE_HEADER);
	uint32_t len = (uint32_t)strlen(cfg->name);

	memset(out, 0, COLFILE_HEADER);
	wire_put_bytes(&w, magic, sizeof(magic));
	wire_put_u32(&w, COLFILE_VERSION);
	wire_put_u32(&w, 0);
	wire_put_bytes(&w, cfg->store, sizeof(cfg->store));
	wire_put_bytes(&w, cfg->owner, sizeof(cfg->owner));
	wire_put_u32(&w, number);
	wire_put_u32(&w, first);
	wire_put_u32(&w, cfg->stride);
	wire_put_str(&w, cfg->name, len);
	assert(len <= COLFILE_NAME_MAX);
	w.len = COLFILE_HASH_AT(COLFILE_HEADER);
	wire_put_u64(&w, wire_hash(out, COLFILE_HASH_AT(COLFILE_HEADER)));
	assert(!w.failed && w.len == COLFILE_HEADER);
}

void colfile_sum_header_encode(const struct colfile *cf,
	const uint8_t header[COLFILE_HEADER], uint32_t number,
	uint8_t out[COLFILE_SUM_HEADER])
{
	struct wire_out w = wire_out_init(out, COLFILE_SUM_HEADER);

	memset(out, 0, COLFILE_SUM_HEADER);
	wire_put_bytes(&w, sum_magic, sizeof(sum_magic));
	wire_put_u32(&w, COLFILE_VERSION);
	wire_put_u32(&w, number);
	wire_put_bytes(&w, cf->cfg.store, sizeof(cf->cfg.store));
	wire_put_bytes(&w, header + COLFILE_HASH_AT(COLFILE_HEADER), 8);
	w.len = COLFILE_HASH_AT(COLFILE_SUM_HEADER);
	wire_put_u64(&w, wire_hash(out, COLFILE_HASH_AT(COLFILE_SUM_HEADER)));
	assert(!w.failed && w.len == COLFILE_SUM_HEADER);
}
