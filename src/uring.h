/* SPDX-License-Identifier: Apache-2.0 */
/* uring.h: durable writes in one submission; nothing else uses io_uring. */
#ifndef VG_URING_H
#define VG_URING_H

#include "src/io.h"

/*
 * An io whose write is one io_uring_enter(2): the write and, linked behind it,
 * the sync of the data. The other calls are the plain ones of io.h. One thread
 * at a time, which may be another one each time.
 */
struct uring;

/*
 * Makes a ring; *out is returned owned. -ENOMEM; whatever else comes back
 * (-ENOSYS, -EPERM under seccomp or kernel.io_uring_disabled, -EOPNOTSUPP
 * where the kernel lacks an operation) means: use the plain calls.
 */
int uring_open(struct uring **out);

/* NULL is allowed. Nothing is under way: each call waits for its own. */
void uring_close(struct uring *uring);

/*
 * Whether a durable write of 4 KiB takes no longer through io_uring than by
 * pwrite and fdatasync, on the file system of the directory dirfd: the medians
 * of a few, in turn, on a file without a name. A kernel that hands buffered
 * writes to a worker thread is slower by the way there and back (9 us where
 * this was written). Takes some 20 syncs. False where io_uring is not to be
 * had or a file cannot be made. Any thread.
 */
bool uring_is_faster(int dirfd);

/* Borrowed until uring_close. */
struct io *uring_get_io(struct uring *uring);

#endif
