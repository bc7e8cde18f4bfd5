/* SPDX-License-Identifier: Apache-2.0 */
/* io.h: the disk below the store: one small table of functions. */
#ifndef VG_IO_H
#define VG_IO_H

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

#include "src/vg.h"

/*
 * Everything the store does to files goes through such a table, so that a test
 * can stand below it (fail the nth call, count syncs, be a disk that forgets)
 * and io_uring can take the place of the plain calls. io_init fills in the
 * system's own; who embeds a struct io replaces what it does otherwise.
 *
 * All return 0 (or what they say) or a negative errno, and none retries a
 * sync. Descriptors are borrowed, but for what open returns. The plain table
 * serves any number of threads; io_uring's one at a time; a test's own says.
 */
struct io_stat {
	uint64_t size; /* bytes: the written end */
	uint64_t links;
	uint64_t dev, inode; /* which it is; 0 where a disk has no such */
	int64_t birth_ns;    /* since 1970; 0: not known */
};

/* The name is borrowed until it returns; what is not 0 ends the listing. */
typedef int io_name_fn(void *ctx, const char *name);

struct io {
	/* Opens dirfd/name, flags as open(2), a directory too; a new file has
	 * mode 0600. Returns a descriptor that close takes. */
	int (*open)(struct io *io, int dirfd, const char *name, int flags);
	void (*close)(struct io *io, int fd);
	int (*stat)(struct io *io, int fd, struct io_stat *out);

	/* Reads at offset; fewer bytes than len only at the file's end. */
	ssize_t (*read)(struct io *io, int fd, void *buf, size_t len,
		uint64_t offset);

	/*
	 * Writes all of buf at offset; with `durable` it returns when
	 * everything ever written to fd is on stable storage, too. After
	 * an error some of the bytes may be there. -ENOSPC and -EDQUOT say
	 * that the write did not fit, and never come from the sync.
	 */
	int (*write)(struct io *io, int fd, const void *buf, size_t len,
		uint64_t offset, bool durable);

	/* Everything written to a file, or the names of a directory. */
	int (*sync)(struct io *io, int fd);

	/* Takes space for bytes behind the file's end, whose size stays. */
	int (*allocate)(struct io *io, int fd, uint64_t offset, uint64_t len);

	/* Also gives back what was allocated behind the end. */
	int (*truncate)(struct io *io, int fd, uint64_t size);
	int (*unlink)(struct io *io, int dirfd, const char *name);

	/* Gives the file `from` the name `to` in the same directory, whatever
	 * had it; durable once the directory is synced. */
	int (*rename)(struct io *io, int dirfd, const char *from,
		const char *to);

	/* Directories; a new one has mode 0700. -EEXIST, -ENOTEMPTY. */
	int (*mkdir)(struct io *io, int dirfd, const char *name);
	int (*rmdir)(struct io *io, int dirfd, const char *name);

	/* Bytes that can still be written to the file system of fd. -ENOSYS:
	 * it does not say. NULL: it never does. */
	int (*room)(struct io *io, int fd, uint64_t *bytes);

	/*
	 * Puts len bytes at offset, both multiples of 4,096 and within the
	 * file, read-only in place of the memory at `at` (munmap undoes it).
	 * Who reads there meanwhile sees the bytes from before or these. What
	 * the disk cannot read later is SIGBUS. -EOPNOTSUPP: read instead.
	 */
	int (*map)(struct io *io, int fd, uint64_t offset, size_t len,
		void *at);

	/* Calls each for every name but "." and "..", in no order. */
	int (*list)(struct io *io, int dirfd, io_name_fn *each, void *ctx);
};

/* Fills in the plain calls. Nothing is to be undone. */
void io_init(struct io *io);

/* Is this errno a full disk, which passes by itself? */
static inline bool io_is_full(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT;
}

/* Is this errno one of a call that did nothing, for want of a descriptor or of
 * memory? It passes by itself. */
static inline bool io_is_scarce(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

/* What write returns when its sync failed with rc: never "full". */
static inline int io_sync_error(int rc)
{
	return io_is_full(rc) ? -EIO : rc;
}

#endif
