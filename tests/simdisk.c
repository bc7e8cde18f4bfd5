/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk.c: the calls of io.h on a disk in memory; see simdisk.h. */
#include "tests/simdisk.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/simdisk_int.h"
#include "tests/tap.h"

#define ORPHANS_MAX 64 /* inodes without a name before a sweep is worth it */

static struct sim *enter(struct io *io)
{
	struct sim *sim = (struct sim *)io; /* its first member */

	pthread_mutex_lock(&sim->lock);
	return sim;
}

static void leave(struct sim *sim)
{
	pthread_mutex_unlock(&sim->lock);
}

/* Counts a call and shows it to who watches. Negative: it is to fail. */
static int step(struct sim *sim, enum sim_call call)
{
	const struct sim_fault *f = &sim->fault;

	must(!sim->is_watching);
	sim->stat.calls++;
	sim->stat.count[call]++;
	if (sim->watch && sim->watched & SIM_BIT(call)) {
		sim->is_watching = true;
		sim->watch(sim->watch_ctx, sim, call, sim->stat.calls);
		sim->is_watching = false;
	}
	if (f->nth == 0 || !(f->calls & SIM_BIT(call)))
		return 0;
	sim->fault_calls++;
	if (sim->fault_calls < f->nth ||
		(sim->fault_calls > f->nth && !f->for_ever))
		return 0;
	sim->stat.failed++;
	return f->rc;
}

/* ---- descriptors ---- */

/* Borrows; NULL: there is none of this number. */
static struct sim_fd *fd_find(const struct sim *sim, int fd)
{
	if (fd < SIM_FD || (uint32_t)(fd - SIM_FD) >= sim->n_fds ||
		sim->fd[fd - SIM_FD].ino == 0)
		return NULL;
	return &sim->fd[fd - SIM_FD];
}

/* The inode that fd is open for: a directory or a file, to read or write. */
enum wanted { WANT_DIR, WANT_READ, WANT_WRITE, WANT_ANY };
static int fd_get(const struct sim *sim, int fd, enum wanted wanted,
	uint32_t *ino)
{
	const struct sim_fd *f = fd_find(sim, fd);
	int mode = f ? f->flags & O_ACCMODE : 0;

	if (!f)
		return -EBADF;
	if (wanted == WANT_DIR && !sim_node_of(sim, f->ino)->is_dir)
		return -ENOTDIR;
	if (wanted == WANT_READ && mode == O_WRONLY)
		return -EBADF;
	if (wanted == WANT_READ && sim_node_of(sim, f->ino)->is_dir)
		return -EISDIR;
	if (wanted == WANT_WRITE && mode == O_RDONLY)
		return -EBADF;
	*ino = f->ino;
	return 0;
}

static int fd_new(struct sim *sim, const struct sim_place *at, int flags)
{
	uint32_t i = 0;

	while (i < sim->n_fds && sim->fd[i].ino > 0)
		i++;
	if (i >= sim->cap_fds) {
		uint32_t cap = VG_MAX(16u, 2 * sim->cap_fds);

		sim->fd = sim_grow(sim->fd, sim->cap_fds * sizeof(sim->fd[0]),
			cap * sizeof(sim->fd[0]));
		sim->cap_fds = cap;
	}
	sim->n_fds = VG_MAX(sim->n_fds, i + 1);
	sim->fd[i] = (struct sim_fd){.ino = at->ino, .flags = flags};
	memcpy(sim->fd[i].name, at->name, SIM_NAME);
	sim->inode[at->ino].opens++;
	return SIM_FD + (int)i;
}

static int place_find_at(const struct sim *sim, int dirfd, const char *path,
	struct sim_place *at)
{
	uint32_t dir;
	int rc = fd_get(sim, dirfd, WANT_DIR, &dir);

	return rc < 0 ? rc : sim_place_find(sim, dir, path, at);
}

/* ---- files ---- */

static uint64_t room(const struct sim *sim)
{
	if (sim->cfg.capacity == 0)
		return UINT64_MAX;
	return sim->cfg.capacity > sim->used ? sim->cfg.capacity - sim->used :
					       0;
}

/* How many of len bytes at offset find space, or have it. */
static size_t fits(const struct sim *sim, const struct sim_node *node,
	uint64_t offset, size_t len)
{
	uint64_t left = room(sim) / SIM_PAGE;

	if (sim->cfg.capacity == 0)
		return len;
	for (uint64_t at = offset; at < offset + len;
		at = (at / SIM_PAGE + 1) * SIM_PAGE) {
		if (sim_taken_get(&node->taken, (size_t)(at / SIM_PAGE)))
			continue;
		if (left == 0)
			return (size_t)(at - offset);
		left--;
	}
	return len;
}

static void space_take(struct sim *sim, struct sim_node *node, uint64_t offset,
	uint64_t len)
{
	if (len > 0)
		sim->used +=
			SIM_PAGE *
			sim_taken_put(&node->taken, (size_t)(offset / SIM_PAGE),
				(size_t)((offset + len - 1) / SIM_PAGE) + 1);
}

/* Reads len bytes that are there, as the damages let them be read. */
static int bytes_get(struct sim *sim, uint32_t ino, uint64_t offset, void *out,
	size_t len)
{
	int rc = 0;

	sim_bytes_get(sim_node_of(sim, ino), offset, out, len);
	sim->stat.bytes_read += len;
	for (size_t i = 0; i < SIM_DAMAGES; i++) {
		struct sim_damage *d = &sim->damage[i];

		if (d->ino != ino || d->offset >= offset + len ||
			d->offset + d->len <= offset)
			continue;
		if (d->rc < 0)
			rc = d->rc;
		else
			((uint8_t *)out)[d->offset - offset] ^= d->bits;
		if (!d->for_ever)
			d->ino = 0;
	}
	return rc;
}

static bool is_lie(struct sim *sim, const struct sim_fd *f)
{
	unsigned what =
		sim_node_of(sim, f->ino)->is_dir ? SIM_LIE_DIRS : SIM_LIE_FILES;
	size_t len = strlen(sim->lie_prefix);

	if (!(sim->lies & what) || strncmp(f->name, sim->lie_prefix, len) != 0)
		return false;
	sim->stat.lied++;
	return true;
}

static int sync_fd(struct sim *sim, int fd)
{
	uint32_t ino;
	int rc = fd_get(sim, fd, WANT_ANY, &ino);

	if (rc < 0 || is_lie(sim, fd_find(sim, fd)))
		return rc;
	rc = step(sim, SIM_SYNC);

	if (!sim_node_is_clean(sim_node_of(sim, ino))) {
		if (rc < 0)
			sim_node_lose(sim_own(sim, ino),
				sim->fault.partly ? &sim->random : NULL);
		else
			sim_node_sync(sim_own(sim, ino));
	}
	if (sim->n_orphans > ORPHANS_MAX)
		sim_sweep(sim);
	return rc;
}

/* ---- the calls of the table ---- */

static int open_at(struct sim *sim, int dirfd, const char *name, int flags)
{
	struct sim_place at;
	int rc = place_find_at(sim, dirfd, name, &at);

	must(!(flags & ~(O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_DIRECTORY |
			       O_CLOEXEC | O_NOFOLLOW)));
	if (rc < 0)
		return rc;
	if (at.ino == 0 && !(flags & O_CREAT))
		return -ENOENT;
	if (at.ino == 0) {
		must(!(flags & O_DIRECTORY));
		at.ino = sim_inode_new(sim, false);

		struct sim_entry entry = sim_entry_init(at.name, at.ino);

		sim_names_set(sim, at.dir, &entry, 1);
		return fd_new(sim, &at, flags);
	}

	bool is_dir = sim_node_of(sim, at.ino)->is_dir;

	if (flags & O_CREAT && flags & O_EXCL)
		return -EEXIST;
	if (is_dir && (flags & O_CREAT || (flags & O_ACCMODE) != O_RDONLY))
		return -EISDIR;
	if (!is_dir && flags & O_DIRECTORY)
		return -ENOTDIR;
	if (flags & O_TRUNC && !is_dir)
		sim_size_set(sim, at.ino, 0);
	return fd_new(sim, &at, flags);
}

static int io_open(struct io *io, int dirfd, const char *name, int flags)
{
	struct sim *sim = enter(io);
	int rc = step(sim, SIM_OPEN);

	if (rc == 0)
		rc = open_at(sim, dirfd, name, flags);
	leave(sim);
	return rc;
}

static void io_close(struct io *io, int fd)
{
	struct sim *sim = enter(io);
	struct sim_fd *f = fd_find(sim, fd);

	must(f && fd != sim_root(sim));

	uint32_t ino = f->ino;

	f->ino = 0;
	sim->inode[ino].opens--;
	sim_inode_check_gone(sim, ino);
	leave(sim);
}

static int io_stat(struct io *io, int fd, struct io_stat *out)
{
	struct sim *sim = enter(io);
	uint32_t ino;
	int rc = step(sim, SIM_STAT);

	if (rc == 0)
		rc = fd_get(sim, fd, WANT_ANY, &ino);
	if (rc == 0) {
		out->size = sim_node_of(sim, ino)->size;
		out->links = sim->inode[ino].links;
	}
	leave(sim);
	return rc;
}

static ssize_t io_read(struct io *io, int fd, void *buf, size_t len,
	uint64_t offset)
{
	struct sim *sim = enter(io);
	uint32_t ino;
	int rc = step(sim, SIM_READ);

	if (rc == 0)
		rc = fd_get(sim, fd, WANT_READ, &ino);
	if (rc == 0) {
		uint64_t size = sim_node_of(sim, ino)->size;
		uint64_t left = size > offset ? size - offset : 0;

		len = (size_t)VG_MIN((uint64_t)len, left);
		rc = bytes_get(sim, ino, offset, buf, len);
	}
	leave(sim);
	return rc < 0 ? rc : (ssize_t)len;
}

static int write_at(struct sim *sim, int fd, const void *buf, size_t len,
	uint64_t offset)
{
	uint32_t ino;
	int failed = step(sim, SIM_WRITE);
	int rc = fd_get(sim, fd, WANT_WRITE, &ino);
	size_t n = len;

	if (rc < 0)
		return failed < 0 ? failed : rc;
	if (offset + len < offset || offset + len > INT64_MAX)
		return -EFBIG;
	if (failed < 0)
		n = sim->fault.partly ? sim_draw(&sim->random, len + 1) : 0;

	struct sim_node *node = sim_own(sim, ino);

	n = fits(sim, node, offset, n);
	space_take(sim, node, offset, n);
	sim_file_write(sim, node, offset, buf, n);
	sim->stat.bytes_written += n;
	if (failed < 0)
		return failed;
	return n < len ? -ENOSPC : 0;
}

static int io_write(struct io *io, int fd, const void *buf, size_t len,
	uint64_t offset, bool durable)
{
	struct sim *sim = enter(io);
	int rc = 0;

	if (len > 0 || !durable)
		rc = write_at(sim, fd, buf, len, offset);
	if (rc == 0 && durable)
		rc = io_sync_error(sync_fd(sim, fd));
	leave(sim);
	return rc;
}

static int io_sync(struct io *io, int fd)
{
	struct sim *sim = enter(io);
	int rc = sync_fd(sim, fd);

	leave(sim);
	return rc;
}

static int allocate_at(struct sim *sim, int fd, uint64_t offset, uint64_t len)
{
	uint32_t ino;
	int rc = fd_get(sim, fd, WANT_WRITE, &ino);

	if (rc == 0 && len == 0)
		rc = -EINVAL;
	if (rc == 0 && (offset + len < offset || offset + len > INT64_MAX))
		rc = -EFBIG;
	if (rc == 0 && sim->cfg.no_allocate)
		rc = -EOPNOTSUPP;
	if (rc < 0)
		return rc;

	struct sim_node *node = sim_own(sim, ino);

	if (fits(sim, node, offset, len) < len)
		return -ENOSPC;
	space_take(sim, node, offset, len);
	return 0;
}

static int io_allocate(struct io *io, int fd, uint64_t offset, uint64_t len)
{
	struct sim *sim = enter(io);
	int rc = step(sim, SIM_ALLOCATE);

	if (rc == 0)
		rc = allocate_at(sim, fd, offset, len);
	leave(sim);
	return rc;
}

static int io_truncate(struct io *io, int fd, uint64_t size)
{
	struct sim *sim = enter(io);
	uint32_t ino;
	int rc = step(sim, SIM_TRUNCATE);

	if (rc == 0)
		rc = fd_get(sim, fd, WANT_WRITE, &ino);
	if (rc == -EBADF && fd_find(sim, fd))
		rc = -EINVAL; /* as Linux says */
	if (rc == 0)
		sim_size_set(sim, ino, size);
	leave(sim);
	return rc;
}

/* Removes a name: a file's, or an empty directory's. */
static int remove_at(struct sim *sim, int dirfd, const char *name, bool is_dir)
{
	struct sim_place at;
	int rc = place_find_at(sim, dirfd, name, &at);

	if (rc < 0)
		return rc;
	if (at.ino == 0)
		return -ENOENT;
	if (!is_dir && sim_node_of(sim, at.ino)->is_dir)
		return -EISDIR;
	if (is_dir && !sim_node_of(sim, at.ino)->is_dir)
		return -ENOTDIR;
	if (is_dir && sim_node_of(sim, at.ino)->now.n > 0)
		return -ENOTEMPTY;
	must(at.name[0]);

	struct sim_entry entry = sim_entry_init(at.name, 0);

	sim_names_set(sim, at.dir, &entry, 1);
	return 0;
}

static int io_unlink(struct io *io, int dirfd, const char *name)
{
	struct sim *sim = enter(io);
	int rc = step(sim, SIM_UNLINK);

	if (rc == 0)
		rc = remove_at(sim, dirfd, name, false);
	leave(sim);
	return rc;
}

static int io_rmdir(struct io *io, int dirfd, const char *name)
{
	struct sim *sim = enter(io);
	int rc = step(sim, SIM_RMDIR);

	if (rc == 0)
		rc = remove_at(sim, dirfd, name, true);
	leave(sim);
	return rc;
}

static int io_mkdir(struct io *io, int dirfd, const char *name)
{
	struct sim *sim = enter(io);
	struct sim_place at;
	int rc = step(sim, SIM_MKDIR);

	if (rc == 0)
		rc = place_find_at(sim, dirfd, name, &at);
	if (rc == 0 && at.ino > 0)
		rc = -EEXIST;
	if (rc == 0) {
		struct sim_entry entry =
			sim_entry_init(at.name, sim_inode_new(sim, true));

		sim_names_set(sim, at.dir, &entry, 1);
	}
	leave(sim);
	return rc;
}

/* Whether a rename may put `from` in the place of `to`. */
static int rename_check(const struct sim *sim, const struct sim_place *from,
	const struct sim_place *to)
{
	if (from->ino == 0)
		return -ENOENT;
	must(from->dir == to->dir && from->name[0] && to->name[0]);
	if (to->ino == 0 || to->ino == from->ino)
		return 0;

	const struct sim_node *a = sim_node_of(sim, from->ino);
	const struct sim_node *b = sim_node_of(sim, to->ino);

	if (a->is_dir != b->is_dir)
		return b->is_dir ? -EISDIR : -ENOTDIR;
	return b->is_dir && b->now.n > 0 ? -ENOTEMPTY : 0;
}

static int rename_at(struct sim *sim, int dirfd, const char *from,
	const char *to)
{
	struct sim_place a, b;
	int rc = place_find_at(sim, dirfd, from, &a);

	if (rc == 0)
		rc = place_find_at(sim, dirfd, to, &b);
	if (rc == 0)
		rc = rename_check(sim, &a, &b);
	if (rc < 0 || a.ino == b.ino)
		return rc;

	struct sim_entry entry[2] = {sim_entry_init(a.name, 0),
		sim_entry_init(b.name, a.ino)};

	sim_names_set(sim, a.dir, entry, 2);
	return 0;
}

static int io_rename(struct io *io, int dirfd, const char *from, const char *to)
{
	struct sim *sim = enter(io);
	int rc = step(sim, SIM_RENAME);

	if (rc == 0)
		rc = rename_at(sim, dirfd, from, to);
	leave(sim);
	return rc;
}

/* A copy that takes the place of what is at `at` in one step, as a map does. */
static int map_copy(struct sim *sim, uint32_t ino, uint64_t offset, size_t len,
	void *at)
{
	uint64_t size = sim_node_of(sim, ino)->size;
	void *copy;
	int rc;

	must(offset % SIM_PAGE == 0 && len > 0 && len % SIM_PAGE == 0);
	must(offset + len <= VG_ALIGN_UP(size, SIM_PAGE));
	copy = mmap(NULL, len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return -errno;
	rc = bytes_get(sim, ino, offset, copy, len);
	if (rc == 0 &&
		(mprotect(copy, len, PROT_READ) < 0 ||
			mremap(copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
				at) == MAP_FAILED))
		rc = -errno;
	if (rc < 0)
		munmap(copy, len);
	return rc;
}

static int io_map(struct io *io, int fd, uint64_t offset, size_t len, void *at)
{
	struct sim *sim = enter(io);
	uint32_t ino;
	int rc = step(sim, SIM_MAP);

	if (rc == 0 && sim->cfg.no_map)
		rc = -EOPNOTSUPP;
	if (rc == 0)
		rc = fd_get(sim, fd, WANT_READ, &ino);
	if (rc == 0)
		rc = map_copy(sim, ino, offset, len, at);
	leave(sim);
	return rc;
}

/* The names as they are now, beginning anywhere: there is no order. */
static int names_copy(struct sim *sim, int dirfd, struct sim_names *out)
{
	uint32_t ino, first;
	int rc = fd_get(sim, dirfd, WANT_DIR, &ino);

	if (rc < 0)
		return rc;

	const struct sim_names *names = &sim_node_of(sim, ino)->now;

	if (names->n == 0)
		return 0;
	first = (uint32_t)sim_draw(&sim->random, names->n);
	out->entry = sim_alloc(names->n * sizeof(out->entry[0]));
	for (uint32_t i = 0; i < names->n; i++)
		out->entry[out->n++] = names->entry[(first + i) % names->n];
	return 0;
}

static int io_list(struct io *io, int dirfd, io_name_fn *each, void *ctx)
{
	struct sim *sim = enter(io);
	struct sim_names names = {0};
	int rc = step(sim, SIM_LIST);

	if (rc == 0)
		rc = names_copy(sim, dirfd, &names);
	leave(sim);
	for (uint32_t i = 0; rc == 0 && i < names.n; i++)
		rc = each(ctx, names.entry[i].name);
	free(names.entry);
	return rc;
}

/* ---- disks ---- */

static struct sim *sim_init(const struct sim_config *cfg)
{
	struct sim *sim = sim_alloc(sizeof(*sim));
	pthread_mutexattr_t attr;

	sim->io = (struct io){
		.open = io_open,
		.close = io_close,
		.stat = io_stat,
		.read = io_read,
		.write = io_write,
		.sync = io_sync,
		.allocate = io_allocate,
		.truncate = io_truncate,
		.unlink = io_unlink,
		.rename = io_rename,
		.mkdir = io_mkdir,
		.rmdir = io_rmdir,
		.map = io_map,
		.list = io_list,
	};
	sim->cfg = *cfg;
	sim->random = cfg->seed * 0x9e3779b97f4a7c15ull | 1;
	must(pthread_mutexattr_init(&attr) == 0);
	must(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE) == 0);
	must(pthread_mutex_init(&sim->lock, &attr) == 0);
	pthread_mutexattr_destroy(&attr);
	sim->cap_fds = 16;
	sim->fd = sim_alloc(sim->cap_fds * sizeof(sim->fd[0]));
	sim->fd[0] = (struct sim_fd){.ino = SIM_ROOT};
	sim->n_fds = 1;
	return sim;
}

struct sim *sim_new(const struct sim_config *cfg)
{
	struct sim_config c = cfg ? *cfg : (struct sim_config){0};

	c.sector = c.sector ? c.sector : 4096;
	must(c.sector == 512 || c.sector == 4096);

	struct sim *sim = sim_init(&c);

	must(sim_inode_new(sim, true) == SIM_ROOT);
	sim->inode[SIM_ROOT].links = 1;
	return sim;
}

struct sim *sim_new_like(const struct sim *like, uint64_t seed)
{
	struct sim *sim = sim_init(&like->cfg);

	sim->random = seed * 0x9e3779b97f4a7c15ull | 1;
	memcpy(sim->damage, like->damage, sizeof(sim->damage));
	return sim;
}

void sim_free(struct sim *sim)
{
	if (!sim)
		return;
	for (uint32_t i = 0; i < sim->n_inodes; i++)
		sim_node_unref(sim->inode[i].node);
	pthread_mutex_destroy(&sim->lock);
	free(sim->inode);
	free(sim->fd);
	free(sim);
}

struct io *sim_get_io(struct sim *sim)
{
	return &sim->io;
}

int sim_root(struct sim *sim)
{
	(void)sim;
	return SIM_FD;
}

void sim_watch(struct sim *sim, unsigned calls, sim_watch_fn *watch, void *ctx)
{
	enter(&sim->io);
	sim->watched = calls;
	sim->watch = watch;
	sim->watch_ctx = ctx;
	leave(sim);
}

void sim_stat(struct sim *sim, struct sim_stat *out)
{
	enter(&sim->io);
	*out = sim->stat;
	out->used = sim->used;
	for (uint32_t i = 1; i < sim->n_fds; i++)
		out->opened += sim->fd[i].ino > 0;
	for (uint32_t i = 1; i < sim->n_inodes; i++) {
		const struct sim_pending *p =
			sim->inode[i].node ? sim->inode[i].node->last : NULL;

		for (; p; p = p->older)
			out->pending++;
	}
	leave(sim);
}

/* ---- what goes wrong ---- */

void sim_fail(struct sim *sim, const struct sim_fault *fault)
{
	enter(&sim->io);
	must(fault->nth == 0 || fault->rc < 0);
	sim->fault = *fault;
	sim->fault_calls = 0;
	leave(sim);
}

void sim_set_capacity(struct sim *sim, uint64_t bytes)
{
	enter(&sim->io);
	sim->cfg.capacity = bytes;
	leave(sim);
}

void sim_lie(struct sim *sim, unsigned what, const char *prefix)
{
	enter(&sim->io);
	sim->lies = prefix ? what : 0;
	if (prefix) {
		must(strlen(prefix) < SIM_NAME);
		memcpy(sim->lie_prefix, prefix, strlen(prefix) + 1);
	}
	leave(sim);
}
