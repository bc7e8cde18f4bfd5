/* SPDX-License-Identifier: Apache-2.0 */
/*
 * datadir_lock.c: one owner at a time.
 *
 * THE LOCK is a flock of the directory itself, since LOCK may be shared with a
 * copy that was made of hard links, and a flock is the file's and not the
 * name's. LOCK holds the owner's pid as text, to name him in a message; if it
 * has several links a new one takes its place first. Where directories cannot
 * be locked (NFS), LOCK's own flock has to do: it is taken in any case.
 */
#include "src/datadir_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Says who has it, as far as LOCK tells. */
static int say_owned(const char *dir, const struct datadir *d, char *why)
{
	int fd = openat(*d->dirfd, "LOCK", O_RDONLY | O_CLOEXEC);
	char text[32] = "";
	ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, 0);
	long pid = strtol(text, NULL, 10);

	if (fd >= 0)
		close(fd);
	if (n > 0 && pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM))
		snprintf(why, WHY,
			"%s is in use by process %ld: unmount it there first",
			dir, pid);
	else
		snprintf(why, WHY,
			"%s is in use by another process, which may only read "
			"it (--check, -o recovery): end that first",
			dir);
	return -EBUSY;
}

/* Takes a flock, waiting up to *wait_ms, which is what is left then. 0;
 * -EWOULDBLOCK; -EOPNOTSUPP: there are none of this file; or an errno. */
static int wait_flock(int fd, int how, unsigned *wait_ms)
{
	struct timespec pause = {.tv_nsec = 20000000};

	assert(fd >= 0 && (how == LOCK_EX || how == LOCK_SH));
	while (flock(fd, how | LOCK_NB) < 0) { /* ends: wait_ms sinks */
		if (errno == EBADF || errno == EINVAL || errno == ENOLCK ||
			errno == ENOSYS)
			return -EOPNOTSUPP;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (*wait_ms < 20)
			return -EWOULDBLOCK;
		*wait_ms -= 20;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A LOCK that no other directory has. */
static int renew_lock(const struct datadir *d)
{
	int fd;

	assert(*d->lockfd >= 0);
	if (unlinkat(*d->dirfd, "LOCK.new", 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(*d->dirfd, "LOCK.new",
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 ||
		renameat(*d->dirfd, "LOCK.new", *d->dirfd, "LOCK") < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	close(*d->lockfd);
	*d->lockfd = fd;
	return 0;
}

/* Opens LOCK as one that this directory has alone, and takes its flock.
 * is_ours: nobody else can be in this directory. */
static int take_file(const struct datadir *d, bool is_ours, unsigned *wait_ms)
{
	struct stat st;
	int rc;

	*d->lockfd = openat(*d->dirfd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC,
		0644);
	if (*d->lockfd < 0 || fstat(*d->lockfd, &st) < 0)
		return -errno;
	if (st.st_nlink > 1 && is_ours)
		return renew_lock(d);
	rc = wait_flock(*d->lockfd, LOCK_EX, wait_ms);
	if (rc < 0 || st.st_nlink == 1)
		return rc;
	return renew_lock(d);
}

int datadir_lock(const char *dir, unsigned wait_ms,
	const struct datadir *d, char *why)
{
	char pid[32];
	int rc;

	assert(*d->dirfd >= 0 && *d->lockfd < 0);
	rc = wait_flock(*d->dirfd, LOCK_EX, &wait_ms);
	if (rc == 0 || rc == -EOPNOTSUPP)
		rc = take_file(d, rc == 0, &wait_ms);
	if (rc == -EWOULDBLOCK)
		return say_owned(dir, d, why);
	if (rc == -EROFS)
		return datadir_say(why, rc, dir,
			"it is on a read-only file system: -o recovery mounts "
			"it to be read");
	if (rc < 0) {
		snprintf(why, WHY, "%s: its LOCK cannot be taken: %s", dir,
			strerror(-rc));
		return rc;
	}
	snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(*d->lockfd, 0) < 0 ||
		pwrite(*d->lockfd, pid, strlen(pid), 0) < 0)
		return datadir_say(why, -errno, dir, "its LOCK cannot be written");
	return 0;
}

/* No owner is here, or comes while we read. */
int datadir_lock_shared(const char *dir, unsigned wait_ms,
	const struct datadir *d, char *why)
{
	int rc = wait_flock(*d->dirfd, LOCK_SH, &wait_ms);

	assert(d->is_read_only && *d->lockfd < 0);
	if (rc == -EOPNOTSUPP) {
		*d->lockfd = openat(
			*d->dirfd, "LOCK", O_RDONLY | O_CLOEXEC);
		rc = *d->lockfd < 0 ? 0 :
				      wait_flock(*d->lockfd, LOCK_SH, &wait_ms);
	}
	if (rc == -EWOULDBLOCK)
		return say_owned(dir, d, why);
	return rc < 0 && rc != -EOPNOTSUPP ?
		       datadir_say(why, rc, dir, "it cannot be locked") :
		       0;
}
