/* SPDX-License-Identifier: Apache-2.0 */
/* graph_file.c: see graph_file.h. */
#include "src/graph_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER (1u << 20)

void graph_name_format(uint32_t number, char out[GRAPH_NAME_MAX])
{
	snprintf(out, GRAPH_NAME_MAX, "graph.%04" PRIu32, number);
}

/* ---- out ---- */

static int put_bytes(struct graph_out *out, const void *bytes, size_t len)
{
	int rc = out->io->write(
		out->io, out->fd, bytes, len, out->file.len, false);

	if (rc < 0)
		return rc;
	XXH3_64bits_update(out->hash, bytes, len);
	out->file.len += len;
	return 0;
}

static int flush(struct graph_out *out)
{
	int rc = out->len ? put_bytes(out, out->buf, out->len) : 0;

	out->len = 0;
	return rc;
}

/* hnsw_sink: what is large goes as it stands, what is small is gathered. */
static int out_write(void *ctx, const void *bytes, size_t len)
{
	struct graph_out *out = ctx;
	int rc = 0;

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

static void out_fini(struct graph_out *out)
{
	if (out->fd >= 0)
		out->io->close(out->io, out->fd);
	if (out->hash)
		XXH3_freeState(out->hash);
	free(out->buf);
	*out = (struct graph_out){.fd = -1};
}

int graph_out_open(struct graph_out *out, struct io *io, int dirfd,
	uint32_t number)
{
	char name[GRAPH_NAME_MAX];
	int rc = -ENOMEM;

	assert(number > 0);
	*out = (struct graph_out){
		.sink = {.write = out_write, .ctx = out},
		.io = io,
		.dirfd = dirfd,
		.fd = -1,
		.file = {.number = number},
		.hash = XXH3_createState(),
		.buf = malloc(BUFFER),
	};
	if (out->hash && out->buf) {
		graph_name_format(number, name);
		XXH3_64bits_reset(out->hash);
		rc = io->open(io, dirfd, name, O_RDWR | O_CREAT | O_EXCL);
		out->fd = rc;
	}
	if (rc < 0) {
		out->fd = -1;
		out_fini(out);
		return rc;
	}
	return 0;
}

int graph_out_close(struct graph_out *out, int rc, struct manifest_file *file)
{
	char name[GRAPH_NAME_MAX];

	assert(out->fd >= 0);
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
		graph_name_format(out->file.number, name);
		out->io->unlink(out->io, out->dirfd, name);
	}
	out_fini(out);
	return rc;
}

/* ---- in ---- */

struct graph_in {
	struct io *io;
	int fd;
	uint64_t at, size; /* of the file */
	XXH3_state_t *hash;
	uint8_t *buf;
	size_t from, len; /* bytes of buf that were not handed out yet */
};

/* Fills bytes[len] from the file. The end comes as -VG_ECORRUPT. */
static int get_bytes(struct graph_in *in, void *bytes, size_t len)
{
	ssize_t n;

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

/* hnsw_source */
static int in_read(void *ctx, void *buf, size_t len)
{
	struct graph_in *in = ctx;
	size_t n = VG_MIN(len, in->len);
	int rc;

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

static void in_fini(struct graph_in *in)
{
	if (in->fd >= 0)
		in->io->close(in->io, in->fd);
	if (in->hash)
		XXH3_freeState(in->hash);
	free(in->buf);
}

static int in_open(struct graph_in *in, const struct graph_files *files,
	const struct manifest_file *file)
{
	char name[GRAPH_NAME_MAX];
	struct io_stat st;
	int rc;

	graph_name_format(file->number, name);
	*in = (struct graph_in){
		.io = files->io,
		.fd = -1,
		.size = file->len,
		.hash = XXH3_createState(),
		.buf = malloc(BUFFER),
	};
	if (!in->hash || !in->buf)
		return -ENOMEM;
	XXH3_64bits_reset(in->hash);
	in->fd = in->io->open(in->io, files->dirfd, name, O_RDONLY);
	if (in->fd < 0)
		return in->fd;
	rc = in->io->stat(in->io, in->fd, &st);
	return rc < 0 ? rc : st.size < file->len ? -VG_ECORRUPT : 0;
}

/* The whole file was read, and is what was written. */
static int in_check(struct graph_in *in, uint64_t hash)
{
	if (in->len > 0 || in->at != in->size)
		return -VG_ECORRUPT;
	return XXH3_64bits_digest(in->hash) == hash ? 0 : -VG_ECORRUPT;
}

static int load_one(const struct graph_files *files,
	const struct manifest_file *file, const char **what, struct hnsw **h)
{
	struct graph_in in;
	struct hnsw_source source = {.read = in_read, .ctx = &in};
	struct hnsw *base = NULL;
	int rc = in_open(&in, files, file);

	*what = "it is damaged";
	if (rc == 0 && !*h)
		rc = hnsw_load_base(&files->config, files->rows, files->n_rows,
			&source, what, &base);
	else if (rc == 0)
		rc = hnsw_load_delta(*h, files->n_rows, &source, what);
	if (rc == 0)
		rc = in_check(&in, file->hash);
	if (rc == 0 && base)
		*h = base;
	else
		hnsw_free(base);
	in_fini(&in);
	return rc;
}

int graph_load(const struct graph_files *files, char why[256], struct hnsw **h)
{
	const struct manifest_file *file = files->base;
	char name[GRAPH_NAME_MAX];
	struct hnsw *graph = NULL;
	const char *what = NULL;
	int rc = 0;

	assert(files->base->number > 0);
	for (uint32_t i = 0; i <= files->n_deltas && rc == 0; i++) {
		file = i == 0 ? files->base : &files->delta[i - 1];
		rc = load_one(files, file, &what, &graph);
	}
	if (rc == 0) {
		*h = graph;
		return 0;
	}
	hnsw_free(graph);
	graph_name_format(file->number, name);
	snprintf(why, 256, "%s: %s", name,
		rc == -VG_ECORRUPT ? what : strerror(-rc));
	return rc;
}
