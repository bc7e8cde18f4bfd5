/* SPDX-License-Identifier: Apache-2.0 */
/* derived.c: see derived.h. */
#include "src/derived.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER (1u << 20)

void derived_name_format(
	const char *kind, uint32_t number, char out[DERIVED_NAME_MAX])
{
	int len = snprintf(out, DERIVED_NAME_MAX, "%s.%04" PRIu32, kind, number);

	assert(len > 0 && len < DERIVED_NAME_MAX);
	(void)len;
}

/* ---- out ---- */

static int put_bytes(struct derived_out *out, const void *bytes, size_t len)
{
	int rc = out->io->write(
		out->io, out->fd, bytes, len, out->file.len, false);

	if (rc < 0)
		return rc;
	XXH3_64bits_update(out->hash, bytes, len);
	out->file.len += len;
	return 0;
}

static int flush(struct derived_out *out)
{
	int rc = out->len ? put_bytes(out, out->buf, out->len) : 0;

	out->len = 0;
	return rc;
}

/* What is large goes as it stands, what is small is gathered. */
int derived_write(void *ctx, const void *bytes, size_t len)
{
	struct derived_out *out = ctx;
	int rc = 0;

	assert(out->fd >= 0 && out->len <= BUFFER);
	if (out->len + len > BUFFER || len >= BUFFER / 2)
		rc = flush(out);
	if (rc < 0)
		return rc;
	if (len >= BUFFER / 2)
		return put_bytes(out, bytes, len);
	memcpy(out->buf + out->len, bytes, len);
	out->len += len;
	return 0;
}

static void out_fini(struct derived_out *out)
{
	if (out->fd >= 0)
		out->io->close(out->io, out->fd);
	if (out->hash)
		XXH3_freeState(out->hash);
	free(out->buf);
	*out = (struct derived_out){.fd = -1};
}

/* The highest number of a kind in a directory. */
struct numbers {
	const char *kind;
	uint32_t last;
};

static int note_number(void *ctx, const char *name)
{
	struct numbers *n = ctx;
	char again[DERIVED_NAME_MAX];
	size_t len = strlen(n->kind);
	unsigned long number;

	if (strncmp(name, n->kind, len) != 0 || name[len] != '.')
		return 0;
	number = strtoul(name + len + 1, NULL, 10);
	if (number == 0 || number >= UINT32_MAX)
		return 0;
	derived_name_format(n->kind, (uint32_t)number, again);
	if (strcmp(again, name) == 0)
		n->last = VG_MAX(n->last, (uint32_t)number);
	return 0;
}

int derived_out_open(
	struct derived_out *out, struct io *io, int dirfd, const char *kind)
{
	struct numbers numbers = {.kind = kind};
	char name[DERIVED_NAME_MAX];
	int rc;

	assert(dirfd >= 0);
	*out = (struct derived_out){
		.io = io,
		.dirfd = dirfd,
		.fd = -1,
		.kind = kind,
		.hash = XXH3_createState(),
		.buf = malloc(BUFFER),
	};
	rc = out->hash && out->buf ? io->list(io, dirfd, note_number, &numbers)
				   : -ENOMEM;
	if (rc == 0) {
		out->file.number = numbers.last + 1;
		derived_name_format(kind, out->file.number, name);
		XXH3_64bits_reset(out->hash);
		rc = io->open(io, dirfd, name, O_RDWR | O_CREAT | O_EXCL);
	}
	if (rc < 0) {
		out_fini(out);
		return rc;
	}
	out->fd = rc;
	return 0;
}

int derived_out_close(
	struct derived_out *out, int rc, struct manifest_file *file)
{
	char name[DERIVED_NAME_MAX];

	assert(out->fd >= 0 && out->file.number > 0);
	if (rc == 0)
		rc = flush(out);
	if (rc == 0)
		rc = out->io->sync(out->io, out->fd);
	if (rc == 0)
		rc = out->io->sync(out->io, out->dirfd);
	if (rc == 0) {
		out->file.hash = XXH3_64bits_digest(out->hash);
		*file = out->file;
	} else {
		derived_name_format(out->kind, out->file.number, name);
		out->io->unlink(out->io, out->dirfd, name);
	}
	out_fini(out);
	return rc;
}

/* ---- in ---- */

/* Fills bytes[len] from the file. The end comes as -VG_ECORRUPT. */
static int get_bytes(struct derived_in *in, void *bytes, size_t len)
{
	ssize_t n;

	assert(in->at <= in->size);
	if (len > in->size - in->at)
		return -VG_ECORRUPT;
	n = in->io->read(in->io, in->fd, bytes, len, in->at);
	if (n < 0)
		return (int)n;
	if ((size_t)n < len)
		return -VG_ECORRUPT;
	XXH3_64bits_update(in->hash, bytes, len);
	in->at += len;
	return 0;
}

int derived_read(void *ctx, void *buf, size_t len)
{
	struct derived_in *in = ctx;
	size_t n = VG_MIN(len, in->len);
	int rc;

	assert(in->from + in->len <= BUFFER);
	memcpy(buf, in->buf + in->from, n);
	in->from += n;
	in->len -= n;
	len -= n;
	if (len >= BUFFER / 2)
		return get_bytes(in, (uint8_t *)buf + n, len);
	if (len == 0)
		return 0;
	in->from = 0;
	in->len = VG_MIN((uint64_t)BUFFER, in->size - in->at);
	if (in->len < len)
		return -VG_ECORRUPT;
	rc = get_bytes(in, in->buf, in->len);
	if (rc < 0)
		return rc;
	memcpy((uint8_t *)buf + n, in->buf, len);
	in->from = len;
	in->len -= len;
	return 0;
}

void derived_in_fini(struct derived_in *in)
{
	if (in->fd >= 0)
		in->io->close(in->io, in->fd);
	if (in->hash)
		XXH3_freeState(in->hash);
	free(in->buf);
	*in = (struct derived_in){.fd = -1};
}

int derived_in_open(struct derived_in *in, struct io *io, int dirfd,
	const char *kind, const struct manifest_file *file)
{
	char name[DERIVED_NAME_MAX];
	struct io_stat st;
	int rc;

	assert(file->number > 0);
	derived_name_format(kind, file->number, name);
	*in = (struct derived_in){
		.io = io,
		.fd = -1,
		.size = file->len,
		.hash = XXH3_createState(),
		.buf = malloc(BUFFER),
	};
	if (!in->hash || !in->buf)
		return -ENOMEM;
	XXH3_64bits_reset(in->hash);
	in->fd = io->open(io, dirfd, name, O_RDONLY);
	if (in->fd < 0)
		return in->fd;
	rc = io->stat(io, in->fd, &st);
	return rc < 0 ? rc : st.size < file->len ? -VG_ECORRUPT : 0;
}

int derived_in_check(const struct derived_in *in, uint64_t hash)
{
	if (in->len > 0 || in->at != in->size)
		return -VG_ECORRUPT;
	return XXH3_64bits_digest(in->hash) == hash ? 0 : -VG_ECORRUPT;
}
