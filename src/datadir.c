/* SPDX-License-Identifier: Apache-2.0 */
/* datadir.c: see datadir.h. */
#include "src/datadir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * FORMAT is two lines of text, written once when the directory is made:
 *
 *	vecgridfs 1
 *	uuid 00112233445566778899aabbccddeeff
 *
 * A reader that finds FORMAT and no wal/, which was made before it, has a part
 * of a data directory.
 *
 * THE LOCK is a flock of the directory itself, since LOCK may be shared with a
 * copy that was made of hard links, and a flock is the file's and not the
 * name's. LOCK holds the owner's pid as text, to name him in a message; if it
 * has several links a new one takes its place first. Where directories cannot
 * be locked (NFS), LOCK's own flock has to do: it is taken in any case.
 */
#define FORMAT_LEN (12 + 5 + 32 + 1)
#define WHY 512

static int say(char *why, int rc, const char *dir, const char *what)
{
	snprintf(why, WHY, "%s: %s", dir, what);
	return rc;
}

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

static int take_lock(const char *dir, unsigned wait_ms,
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
	if (rc < 0)
		return say(why, rc, dir, "its LOCK cannot be taken");
	snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(*d->lockfd, 0) < 0 ||
		pwrite(*d->lockfd, pid, strlen(pid), 0) < 0)
		return say(why, -errno, dir, "its LOCK cannot be written");
	return 0;
}

/* No owner is here, or comes while we read. */
static int take_shared(const char *dir, unsigned wait_ms,
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
		       say(why, rc, dir, "it cannot be locked") :
		       0;
}

static int parse_format(const char text[FORMAT_LEN], uint8_t uuid[16])
{
	if (memcmp(text, "vecgridfs 1\nuuid ", 17) != 0)
		return -VG_EFORMAT;
	for (int i = 0; i < 16; i++) {
		char hex[3] = {text[17 + 2 * i], text[18 + 2 * i], 0};
		char *end;

		uuid[i] = (uint8_t)strtoul(hex, &end, 16);
		if (end != hex + 2)
			return -VG_EFORMAT;
	}
	return text[FORMAT_LEN - 1] == '\n' ? 0 : -VG_EFORMAT;
}

/* A new FORMAT appears whole or not at all. */
static int write_format(const struct datadir *d)
{
	char text[FORMAT_LEN + 1];
	int len = snprintf(text, sizeof(text), "vecgridfs 1\nuuid ");
	int fd, rc;

	for (int i = 0; i < 16; i++)
		len += snprintf(text + len, 3, "%02x", d->uuid[i]);
	text[len++] = '\n';
	assert(len == FORMAT_LEN);
	rc = d->io->unlink(d->io, *d->dirfd, "FORMAT.new");
	if (rc < 0 && rc != -ENOENT)
		return rc;
	fd = d->io->open(d->io, *d->dirfd, "FORMAT.new",
		O_WRONLY | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	rc = d->io->write(d->io, fd, text, FORMAT_LEN, 0, true);
	d->io->close(d->io, fd);
	if (rc == 0)
		rc = d->io->rename(d->io, *d->dirfd, "FORMAT.new", "FORMAT");
	return rc == 0 ? d->io->sync(d->io, *d->dirfd) : rc;
}

/* Reads FORMAT. -ENOENT: there is none. */
static int read_format(const char *dir, const struct datadir *d, char *why)
{
	char text[FORMAT_LEN + 1];
	int fd = d->io->open(d->io, *d->dirfd, "FORMAT", O_RDONLY);
	ssize_t n;
	int rc;

	if (fd < 0)
		return fd == -ENOENT
			       ? -ENOENT
			       : say(why, fd, dir, "FORMAT cannot be read");
	n = d->io->read(d->io, fd, text, sizeof(text), 0);
	d->io->close(d->io, fd);
	if (n < 0)
		return say(why, (int)n, dir, "FORMAT cannot be read");
	rc = n == FORMAT_LEN ? parse_format(text, d->uuid) : -VG_EFORMAT;
	if (rc < 0)
		return say(why, rc, dir,
			"FORMAT is not of this version of vecgridfs");
	return 0;
}

/* Not 0 for what we may not find in a new directory: else our LOCK, what was
 * not finished when it was made, and what mkfs made. */
static int note_other(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "LOCK") != 0 && strcmp(name, "LOCK.new") != 0 &&
	       strcmp(name, "FORMAT.new") != 0 && strcmp(name, "wal") != 0 &&
	       strcmp(name, "lost+found") != 0;
}

/* What only a directory that had a FORMAT has, but for its log. */
static int note_ours(void *ctx, const char *name)
{
	(void)ctx;
	return strncmp(name, "MANIFEST.", 9) == 0 ||
	       strcmp(name, "IDENTITY") == 0;
}

static int note_any(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	return 1;
}

/* 1: there is something that should have a FORMAT. 0: not; or an errno. */
static int has_data(const struct datadir *d)
{
	int rc = d->io->list(d->io, *d->dirfd, note_ours, NULL);
	int fd;

	if (rc != 0)
		return rc;
	fd = d->io->open(d->io, *d->dirfd, "wal", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	rc = d->io->list(d->io, fd, note_any, NULL);
	d->io->close(d->io, fd);
	return rc;
}

/* 1: there are files, and none that a data directory has. 0, or an errno. */
static int is_foreign(const struct datadir *d)
{
	int rc = d->io->list(d->io, *d->dirfd, note_other, NULL);
	int ours = rc > 0 ? has_data(d) : rc;

	assert(rc <= 1 && ours <= 1);
	return rc > 0 && ours >= 0 ? !ours : ours;
}

/* Makes wal/, then FORMAT, where there is nothing yet; what stands there of
 * wal/ is made again. d->uuid is given. */
static int make_format(const char *dir, const struct datadir *d, char *why)
{
	int rc = d->io->rmdir(d->io, *d->dirfd, "wal");

	if (rc == 0 || rc == -ENOENT)
		rc = d->io->mkdir(d->io, *d->dirfd, "wal");
	if (rc == 0)
		rc = d->io->sync(d->io, *d->dirfd);
	if (rc == 0)
		rc = write_format(d);
	return rc < 0 ? say(why, rc, dir, "cannot be written") : 0;
}

static int note_log(void *ctx, const char *name)
{
	bool *has_log = ctx;

	*has_log = *has_log || strcmp(name, "wal") == 0;
	return note_ours(NULL, name) || strcmp(name, "c") == 0;
}

/*
 * 1: nothing was ever logged here, so nobody knows that FORMAT and wal/ are
 * durable: the sync of their names may have failed on this kernel, and the
 * next one says nothing about them. 0: not; or an errno.
 */
static int is_unsure(const struct datadir *d)
{
	bool has_log = false;
	int rc = d->io->list(d->io, *d->dirfd, note_log, &has_log);

	if (rc != 0)
		return VG_MIN(rc, 0);
	rc = has_log ? has_data(d) : 1;
	return rc < 0 ? rc : !rc;
}

/* Reads FORMAT, or makes it, again if need be. */
static int take_format(const char *dir, const struct datadir *d, char *why)
{
	int rc = read_format(dir, d, why);

	if (rc == 0) {
		rc = is_unsure(d);
		if (rc == 0)
			return 0;
		if (rc > 0)
			rc = d->io->unlink(d->io, *d->dirfd, "FORMAT");
		if (rc == 0)
			rc = d->io->sync(d->io, *d->dirfd);
		return rc < 0 ? say(why, rc, dir, "cannot be written") :
				make_format(dir, d, why);
	}
	if (rc != -ENOENT)
		return rc;
	rc = has_data(d);
	if (rc < 0)
		return say(why, rc, dir, strerror(-rc));
	if (rc > 0)
		return say(why, -VG_ECORRUPT, dir,
			"FORMAT is missing; restore it from a copy");
	if (getrandom(d->uuid, 16, 0) != 16)
		return -EIO;
	return make_format(dir, d, why);
}

/* So that a new directory's name survives a power cut. What cannot be opened
 * (no right to read it) is left to the file system. */
static void sync_parent(const char *dir)
{
	char parent[PATH_MAX];
	const char *slash;
	size_t len = strlen(dir);
	int fd;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	slash = memrchr(dir, '/', len);
	snprintf(parent, sizeof(parent), "%.*s",
		slash ? (int)VG_MAX(slash - dir, 1) : 1, slash ? dir : ".");
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fsync(fd) < 0) {
		/* A file system without sync of directories. */
	}
	close(fd);
}

/* Opens dir itself, made if it is missing. */
static int open_dir(const char *dir, const struct datadir *d, char *why)
{
	if (!d->is_read_only && mkdir(dir, 0700) == 0)
		sync_parent(dir);
	else if (!d->is_read_only && errno != EEXIST)
		return say(why, -errno, dir, strerror(errno));
	*d->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *d->dirfd < 0 ? say(why, -errno, dir, strerror(errno)) : 0;
}

/* Opens wal/, which was made before FORMAT. */
static int open_wal(const char *dir, const struct datadir *d, char *why)
{
	int rc = d->io->open(d->io, *d->dirfd, "wal", O_RDONLY | O_DIRECTORY);

	if (rc == -ENOENT)
		return say(why, -VG_ECORRUPT, dir,
			"wal/ is missing: it is a part of a data directory "
			"only; restore it from a copy, or copy it as a whole");
	if (rc < 0)
		return say(why, rc, dir, "wal/ cannot be opened");
	*d->waldirfd = rc;
	return 0;
}

static int open_read_only(
	const char *dir, unsigned wait_ms, const struct datadir *d, char *why)
{
	int rc = d->is_locked ? 0 : take_shared(dir, wait_ms, d, why);

	if (rc == 0)
		rc = read_format(dir, d, why);
	if (rc == -ENOENT && has_data(d) > 0)
		return say(why, -VG_ECORRUPT, dir,
			"FORMAT is missing; restore it from a copy");
	if (rc == -ENOENT)
		return say(why, rc, dir,
			"there is no FORMAT: it is no data directory");
	return rc < 0 ? rc : open_wal(dir, d, why);
}

int datadir_open(const char *dir, unsigned wait_ms, const struct datadir *d,
	char *why)
{
	int rc = 0;

	assert(d->io && *d->lockfd < 0 && *d->waldirfd < 0);
	if (*d->dirfd >= 0)
		dir = "the data directory"; /* it is the caller's alone */
	else
		rc = open_dir(dir, d, why);
	if (rc < 0)
		return rc;
	if (d->is_read_only)
		return open_read_only(dir, wait_ms, d, why);
	/* First, so that nothing is written into what is not ours. */
	rc = read_format(dir, d, why);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT) {
		rc = is_foreign(d);
		if (rc < 0)
			return say(why, rc, dir, strerror(-rc));
		if (rc > 0)
			return say(why, -ENOTEMPTY, dir,
				"is not empty, and no data directory: give "
				"another");
	}
	rc = d->is_locked ? 0 : take_lock(dir, wait_ms, d, why);
	if (rc == 0)
		rc = take_format(dir, d, why);
	return rc < 0 ? rc : open_wal(dir, d, why);
}
