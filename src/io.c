/* SPDX-License-Identifier: Apache-2.0 */
/* io.c: the plain calls of io.h. */
#include "src/io.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int plain_open(struct io *io, int dirfd, const char *name, int flags)
{
	int fd = openat(dirfd, name, flags | O_CLOEXEC, 0600);

	(void)io;
	return fd < 0 ? -errno : fd;
}

static void plain_close(struct io *io, int fd)
{
	(void)io;
	assert(fd >= 0);
	close(fd);
}

static int plain_stat(struct io *io, int fd, struct io_stat *out)
{
	struct statx st;

	(void)io;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME,
		    &st) < 0)
		return -errno;
	out->size = st.stx_size;
	out->links = st.stx_nlink;
	out->dev = ((uint64_t)st.stx_dev_major << 32) | st.stx_dev_minor;
	out->inode = st.stx_ino;
	out->birth_ns = 0;
	if (st.stx_mask & STATX_BTIME)
		out->birth_ns = st.stx_btime.tv_sec * 1000000000LL +
				st.stx_btime.tv_nsec;
	return 0;
}

static ssize_t plain_read(
	struct io *io, int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	(void)io;
	assert(len <= SSIZE_MAX);
	while (done < len) { /* ends: each turn reads a byte or returns */
		ssize_t n = pread(fd, (char *)buf + done, len - done,
			(off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int plain_write(struct io *io, int fd, const void *buf, size_t len,
	uint64_t offset, bool durable)
{
	size_t done = 0;

	(void)io;
	assert(buf || len == 0);
	while (done < len) { /* ends: each turn writes a byte or returns */
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done,
			(off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	if (durable && fdatasync(fd) < 0)
		return io_sync_error(-errno);
	return 0;
}

static int plain_sync(struct io *io, int fd)
{
	(void)io;
	return fsync(fd) < 0 ? -errno : 0;
}

static int plain_allocate(
	struct io *io, int fd, uint64_t offset, uint64_t len)
{
	(void)io;
	assert(len > 0);
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) <
			       0 ?
		       -errno :
		       0;
}

static int plain_truncate(struct io *io, int fd, uint64_t size)
{
	(void)io;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int plain_unlink(struct io *io, int dirfd, const char *name)
{
	(void)io;
	return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

static int plain_rename(
	struct io *io, int dirfd, const char *from, const char *to)
{
	(void)io;
	return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

static int plain_mkdir(struct io *io, int dirfd, const char *name)
{
	(void)io;
	return mkdirat(dirfd, name, 0700) < 0 ? -errno : 0;
}

static int plain_rmdir(struct io *io, int dirfd, const char *name)
{
	(void)io;
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int plain_room(struct io *io, int fd, uint64_t *bytes)
{
	struct statvfs st;

	(void)io;
	if (fstatvfs(fd, &st) < 0)
		return -errno;
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return st.f_blocks > 0 ? 0 : -ENOSYS;
}

static int plain_map(
	struct io *io, int fd, uint64_t offset, size_t len, void *at)
{
	(void)io;
	assert(offset % 4096 == 0 && len > 0 && len % 4096 == 0);
	return mmap(at, len, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		       (off_t)offset) == MAP_FAILED ?
		       -errno :
		       0;
}

static int plain_list(struct io *io, int dirfd, io_name_fn *each, void *ctx)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	(void)io;
	if (!dir) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	/* readdir tells its end from an error by errno only. */
	while (rc == 0 && (errno = 0, entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0)
			rc = each(ctx, entry->d_name);
	if (rc == 0)
		rc = -errno;
	closedir(dir);
	return rc;
}

void io_init(struct io *io)
{
	*io = (struct io){
		.open = plain_open,
		.close = plain_close,
		.stat = plain_stat,
		.read = plain_read,
		.write = plain_write,
		.sync = plain_sync,
		.allocate = plain_allocate,
		.truncate = plain_truncate,
		.unlink = plain_unlink,
		.rename = plain_rename,
		.mkdir = plain_mkdir,
		.rmdir = plain_rmdir,
		.room = plain_room,
		.map = plain_map,
		.list = plain_list,
	};
}
