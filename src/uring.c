/* SPDX-License-Identifier: Apache-2.0 */
/* uring.c: a write and its sync as one submission. */
#include "src/uring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/clock.h"

/*
 * Two entries, the sync linked behind the write: the kernel begins the second
 * when the first has written all its bytes, and cancels it otherwise. A write
 * with RWF_DSYNC is as fast (docs/performance.md, section log) but syncs its
 * own bytes only, not those that an earlier write left unsynced. Registered
 * files and buffers were measured too and save nothing: what a log writes is
 * copied to the page cache, not pinned.
 */
struct uring {
	struct io io; /* first: what is handed out is this one's address */
	struct io_uring ring;
};

#define RING_ENTRIES 4
enum { TAG_WRITE = 1, TAG_SYNC = 2 };

/* The kernel takes lengths of 32 bits and returns them in a signed one. */
#define WRITE_MAX (1u << 30)

struct outcome {
	int written; /* bytes, or -errno */
	int synced;  /* 0, or -errno */
};

/* Waits for n completions and notes what each says. */
static int reap(struct io_uring *ring, unsigned n, struct outcome *out)
{
	while (n > 0) { /* ends: each turn reaps one or was interrupted */
		struct io_uring_cqe *cqe;
		int rc = io_uring_wait_cqe(ring, &cqe);

		if (rc == -EINTR || rc == -EAGAIN)
			continue;
		if (rc < 0)
			return rc;
		assert(cqe->user_data == TAG_WRITE ||
			cqe->user_data == TAG_SYNC);
		if (cqe->user_data == TAG_WRITE)
			out->written = cqe->res;
		else
			out->synced = cqe->res;
		io_uring_cqe_seen(ring, cqe);
		n--;
	}
	return 0;
}

/* Hands n prepared entries over; an interrupted call may not have taken all. */
static int submit(struct io_uring *ring, unsigned n)
{
	while (n > 0) { /* ends: each turn hands one over or was interrupted */
		int rc = io_uring_submit(ring);

		if (rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
			continue;
		if (rc < 0)
			return rc;
		assert((unsigned)rc <= n);
		n -= (unsigned)rc;
	}
	return 0;
}

/* One submission: a write of at most len bytes, a sync, or both linked. */
static int submit_and_wait(struct uring *uring, int fd, struct iovec part,
	uint64_t offset, bool durable, struct outcome *out)
{
	struct io_uring *ring = &uring->ring;
	unsigned n = 0;

	assert(part.iov_len <= WRITE_MAX && io_uring_sq_ready(ring) == 0);
	*out = (struct outcome){0};
	if (part.iov_len > 0) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

		assert(sqe);
		io_uring_prep_write(sqe, fd, part.iov_base,
			(unsigned)part.iov_len, offset);
		io_uring_sqe_set_data64(sqe, TAG_WRITE);
		if (durable)
			io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK);
		n++;
	}
	if (durable) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

		assert(sqe);
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		io_uring_sqe_set_data64(sqe, TAG_SYNC);
		n++;
	}
	int rc = submit(ring, n);

	return rc < 0 ? rc : reap(ring, n, out);
}

/*
 * A write that was cut short cancels the sync behind it: the rest is another
 * submission with a sync of its own. A sync that ran is never run again.
 */
static int uring_write(struct io *io, int fd, const void *buf, size_t len,
	uint64_t offset, bool durable)
{
	struct uring *uring = (struct uring *)io;
	size_t done = 0;
	bool synced = !durable;

	assert(buf || len == 0);
	while (done < len || !synced) { /* ends: see each branch */
		struct iovec part = {(char *)(uintptr_t)buf + done,
			VG_MIN(len - done, WRITE_MAX)};
		bool last = done + part.iov_len == len;
		struct outcome got;
		int rc = submit_and_wait(uring, fd, part, offset + done,
			durable && last, &got);

		if (rc < 0)
			return rc;
		if (got.written == -EINTR || got.written == -EAGAIN)
			continue; /* nothing was done: as for pwrite */
		if (got.written < 0)
			return got.written;
		if (part.iov_len > 0 && got.written == 0)
			return -EIO;
		done += (size_t)got.written; /* nearer to len */
		if (durable && last && done == len) {
			if (got.synced < 0)
				return io_sync_error(got.synced);
			synced = true; /* the end */
		}
	}
	return 0;
}

/* Kernels and filters differ: what is not there is known before the first. */
static int check_operations(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);

	if (!probe)
		return -EOPNOTSUPP;
	bool all = io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
		   io_uring_opcode_supported(probe, IORING_OP_FSYNC);

	io_uring_free_probe(probe);
	return all ? 0 : -EOPNOTSUPP;
}

int uring_open(struct uring **out)
{
	struct uring *uring = calloc(1, sizeof(*uring));

	if (!uring)
		return -ENOMEM;
	io_init(&uring->io);
	uring->io.write = uring_write;

	int rc = io_uring_queue_init(RING_ENTRIES, &uring->ring, 0);

	if (rc < 0)
		goto free_uring;
	rc = check_operations(&uring->ring);
	if (rc < 0)
		goto exit_ring;
	*out = uring;
	return 0;
exit_ring:
	io_uring_queue_exit(&uring->ring);
free_uring:
	free(uring);
	return rc;
}

void uring_close(struct uring *uring)
{
	if (!uring)
		return;
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

struct io *uring_get_io(struct uring *uring)
{
	assert(uring);
	return &uring->io;
}

/* ---- which is faster here ---- */

#define TRIALS 9 /* each; odd, so that one is the median */
#define TRIAL_LEN 4096u

/* Ends as it began but for the order, smallest first. */
static int64_t median(int64_t *ns)
{
	for (int i = 1; i < TRIALS; i++)
		for (int j = i; j > 0 && ns[j] < ns[j - 1]; j--) {
			int64_t swap = ns[j];

			ns[j] = ns[j - 1];
			ns[j - 1] = swap;
		}
	return ns[TRIALS / 2];
}

static bool is_faster(struct io *ring, int fd)
{
	static const char zeros[TRIAL_LEN];
	int64_t ns[2][TRIALS];
	struct io plain, *io[2] = {&plain, ring};
	uint64_t at = 0;

	io_init(&plain);
	plain.allocate(&plain, fd, 0, 2 * (TRIALS + 1) * TRIAL_LEN);
	/* The first of each warms up. */
	for (int i = -1; i < TRIALS; i++)
		for (int k = 0; k < 2; k++, at += TRIAL_LEN) {
			int64_t from = clock_now_ns();

			if (io[k]->write(io[k], fd, zeros, TRIAL_LEN, at,
				    true) < 0)
				return false;
			if (i >= 0)
				ns[k][i] = clock_now_ns() - from;
		}
	return median(ns[1]) <= median(ns[0]);
}

bool uring_is_faster(int dirfd)
{
	struct uring *uring;
	bool faster = false;
	int fd;

	if (uring_open(&uring) < 0)
		return false;
	fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0) {
		faster = is_faster(uring_get_io(uring), fd);
		close(fd);
	}
	uring_close(uring);
	return faster;
}
