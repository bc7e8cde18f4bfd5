/* SPDX-License-Identifier: Apache-2.0 */
/* mutants.c: see mutants.h. */
#include "tests/mutants.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/powerkit.h"
#include "tests/tap.h"

#define FDS 1024
#define NAME 48
#define PATH 160

enum mutant mutant;
_Atomic(uint8_t *) mutant_flipped;

/* A table over a disk's, and what its descriptors were opened by. */
struct wrap {
	struct io io;
	struct io *below;
	struct sim *sim;
	bool fails;
	int root;
	struct opened {
		char name[NAME];
		char path[PATH];
		bool is_dir;
	} of[FDS];
};

static struct wrap *wrap_of(struct io *io)
{
	return (struct wrap *)(void *)io;
}

static struct opened *opened(struct wrap *w, int fd)
{
	return &w->of[(unsigned)fd % FDS];
}

static bool ends(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

static bool is_log(const struct opened *o)
{
	return !o->is_dir && (ends(o->name, ".wal") || !strcmp(o->name, "new"));
}

static bool is_column(const char *name)
{
	return strncmp(name, "vec.", 4) == 0 || strncmp(name, "meta.", 5) == 0 ||
	       strncmp(name, "version.", 8) == 0 ||
	       strncmp(name, "end.", 4) == 0;
}

static bool is_dir(const struct opened *o, const char *name)
{
	return o->is_dir && strcmp(o->name, name) == 0;
}

/* Is it what the mutant does not sync? */
static bool is_left_out(const struct opened *o)
{
	switch (mutant) {
	case M_SYNC_LOG:
		return is_log(o);
	case M_SYNC_LOG_DIR:
		return is_dir(o, "wal");
	case M_SYNC_ROWS:
		return is_column(o->name) && !ends(o->name, ".sum");
	case M_SYNC_SUMS:
		return is_column(o->name) && ends(o->name, ".sum");
	case M_SYNC_MANIFEST:
		return strcmp(o->name, "MANIFEST.new") == 0;
	case M_SYNC_ROOT:
		return is_dir(o, "");
	case M_SYNC_C:
		return is_dir(o, "c");
	case M_SYNC_UUID:
		return o->is_dir && strlen(o->name) == 32;
	case M_SYNC_GRAPH:
		return strncmp(o->name, "graph.", 6) == 0;
	case M_SYNC_FORMAT:
		return strcmp(o->name, "FORMAT.new") == 0;
	default:
		return false;
	}
}

/* Is it something whose sync is to fail more often than others, where calls
 * may fail, so that what depends on it is seen soon? */
static bool fails_often(const struct opened *o)
{
	if (mutant == M_DIRS || mutant == M_RETRY)
		return is_dir(o, "c");
	if (mutant == M_RENEW)
		return is_dir(o, "");
	return mutant == M_NONE && (is_dir(o, "c") || is_dir(o, ""));
}

static int wrap_open(struct io *io, int dirfd, const char *name, int flags)
{
	struct wrap *w = wrap_of(io);
	int fd;

	fd = w->below->open(w->below, dirfd, name, flags);
	if (fd >= 0) {
		struct opened *o = opened(w, fd);
		char dir[PATH];

		memcpy(dir, opened(w, dirfd)->path, sizeof(dir));
		const char *last = strrchr(name, '/');

		o->is_dir = flags & O_DIRECTORY;
		snprintf(o->name, sizeof(o->name), "%s",
			last ? last + 1 : name);
		snprintf(o->path, sizeof(o->path), "%.90s%s%.60s", dir,
			dir[0] ? "/" : "", name);
	}
	return fd;
}

static void wrap_close(struct io *io, int fd)
{
	struct wrap *w = wrap_of(io);

	w->below->close(w->below, fd);
}

static int wrap_stat(struct io *io, int fd, struct io_stat *out)
{
	struct wrap *w = wrap_of(io);

	int rc = w->below->stat(w->below, fd, out);

	if (rc == 0 && mutant == M_LINKS)
		out->links = 1;
	return rc;
}

/*
 * What a store to a shared mapping is: the file is made long enough before, and
 * what finds no space, or cannot be written, is told to nobody who stores.
 */
static int map_write(struct wrap *w, int fd, const void *buf, size_t len,
	uint64_t offset)
{
	struct io_stat st;
	int rc = w->below->stat(w->below, fd, &st);

	if (rc == 0 && st.size < offset + len)
		rc = w->below->truncate(w->below, fd, offset + len);
	if (rc == 0)
		w->below->write(w->below, fd, buf, len, offset, false);
	return rc;
}

static ssize_t wrap_read(struct io *io, int fd, void *buf, size_t len,
	uint64_t offset)
{
	struct wrap *w = wrap_of(io);
	ssize_t n = w->below->read(w->below, fd, buf, len, offset);

	if (n > 0 && pk_flip.path[0] && offset <= pk_flip.offset &&
		pk_flip.offset < offset + (uint64_t)n &&
		strcmp(opened(w, fd)->path, pk_flip.path) == 0)
		atomic_store(&mutant_flipped,
			(uint8_t *)buf + (pk_flip.offset - offset));
	return n;
}

static int wrap_sync(struct io *io, int fd)
{
	struct wrap *w = wrap_of(io);

	struct sim_fault once = {SIM_BIT(SIM_SYNC), 1, false, false, -EIO};
	static _Atomic unsigned n;

	if (is_left_out(opened(w, fd)))
		return 0;
	if (w->fails && fails_often(opened(w, fd)) &&
		atomic_fetch_add(&n, 1) % 5 == 4)
		sim_fail(w->sim, &once);
	return w->below->sync(w->below, fd);
}

/* Are these the bytes that the file has there? */
static bool is_there(struct wrap *w, int fd, const void *buf, size_t len,
	uint64_t offset)
{
	char *got = malloc(len);
	bool same = got && w->below->read(w->below, fd, got, len, offset) ==
				   (ssize_t)len &&
		    memcmp(got, buf, len) == 0;

	free(got);
	return same;
}

static int wrap_write(struct io *io, int fd, const void *buf, size_t len,
	uint64_t offset, bool durable)
{
	struct wrap *w = wrap_of(io);
	const struct opened *o = opened(w, fd);

	if (mutant == M_SURE && len > 0 && is_log(o) &&
		is_there(w, fd, buf, len, offset))
		return 0;
	if (mutant == M_MAP && is_column(o->name) && !ends(o->name, ".sum"))
		return map_write(w, fd, buf, len, offset);
	return w->below->write(w->below, fd, buf, len, offset,
		durable && !is_left_out(o));
}

static int wrap_allocate(struct io *io, int fd, uint64_t offset, uint64_t len)
{
	struct wrap *w = wrap_of(io);

	return w->below->allocate(w->below, fd, offset, len);
}

static int wrap_truncate(struct io *io, int fd, uint64_t size)
{
	struct wrap *w = wrap_of(io);

	if (mutant == M_TAIL && is_log(opened(w, fd)))
		return 0;
	return w->below->truncate(w->below, fd, size);
}

static int wrap_unlink(struct io *io, int dirfd, const char *name)
{
	struct wrap *w = wrap_of(io);

	return w->below->unlink(w->below, dirfd, name);
}

static int wrap_rename(struct io *io, int dirfd, const char *from,
	const char *to)
{
	struct wrap *w = wrap_of(io);

	return w->below->rename(w->below, dirfd, from, to);
}

static int wrap_mkdir(struct io *io, int dirfd, const char *name)
{
	struct wrap *w = wrap_of(io);

	return w->below->mkdir(w->below, dirfd, name);
}

static int wrap_rmdir(struct io *io, int dirfd, const char *name)
{
	struct wrap *w = wrap_of(io);

	if (mutant == M_DIRS && strcmp(name, "wal") != 0)
		return -ENOTEMPTY;
	return w->below->rmdir(w->below, dirfd, name);
}

static int wrap_map(struct io *io, int fd, uint64_t offset, size_t len,
	void *at)
{
	struct wrap *w = wrap_of(io);

	return w->below->map(w->below, fd, offset, len, at);
}

static int wrap_list(struct io *io, int dirfd, io_name_fn *each, void *ctx)
{
	struct wrap *w = wrap_of(io);

	return w->below->list(w->below, dirfd, each, ctx);
}

struct io *mutant_wrap(struct sim *sim, bool fails)
{
	struct wrap *w = calloc(1, sizeof(*w));

	must(w);
	w->io = (struct io){
		.open = wrap_open,
		.close = wrap_close,
		.stat = wrap_stat,
		.read = wrap_read,
		.write = wrap_write,
		.sync = wrap_sync,
		.allocate = wrap_allocate,
		.truncate = wrap_truncate,
		.unlink = wrap_unlink,
		.rename = wrap_rename,
		.mkdir = wrap_mkdir,
		.rmdir = wrap_rmdir,
		.map = wrap_map,
		.list = wrap_list,
	};
	w->sim = sim;
	w->fails = fails;
	w->below = sim_get_io(sim);
	w->root = sim_root(sim);
	opened(w, w->root)->is_dir = true;
	return &w->io;
}

void mutant_unwrap(struct io *io)
{
	free(wrap_of(io));
}
