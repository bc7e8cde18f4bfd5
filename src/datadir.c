/* SPDX-License-Identifier: Apache-2.0 */
/* datadir.c: see datadir.h. */
#include "src/datadir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
 * LOCK holds the owner's pid as text while its flock is taken. The pid only
 * names the owner in a message; the flock is what excludes.
 */
#define FORMAT_LEN (12 + 5 + 32 + 1)
#define WHY 512

static int say(char *why, int rc, const char *dir, const char *what)
{
	snprintf(why, WHY, "%s: %s", dir, what);
	return rc;
}

static int take_lock(const char *dir, unsigned wait_ms,
	const struct datadir *d, char *why)
{
	struct timespec pause = {.tv_nsec = 20000000};
	char pid[32] = "";
	ssize_t n;

	assert(*d->dirfd >= 0 && *d->lockfd < 0);
	*d->lockfd = openat(*d->dirfd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC,
		0644);
	if (*d->lockfd < 0)
		return say(why, -errno, dir, "its LOCK cannot be opened");
	for (unsigned waited = 0;
		flock(*d->lockfd, LOCK_EX | LOCK_NB) < 0; waited += 20) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return say(why, -errno, dir, "its LOCK is refused");
		if (waited >= wait_ms) {
			n = pread(*d->lockfd, pid, sizeof(pid) - 1, 0);
			pid[VG_MAX(n, (ssize_t)0)] = '\0';
			snprintf(why, WHY,
				"%s is in use by process %.*s: unmount it "
				"there first",
				dir, (int)strcspn(pid, "\n"), pid);
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
	}
	snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(*d->lockfd, 0) < 0 ||
		pwrite(*d->lockfd, pid, strlen(pid), 0) < 0)
		return say(why, -errno, dir, "its LOCK cannot be written");
	return 0;
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

	if (getrandom(d->uuid, 16, 0) != 16)
		return -EIO;
	for (int i = 0; i < 16; i++)
		len += snprintf(text + len, 3, "%02x", d->uuid[i]);
	text[len++] = '\n';
	assert(len == FORMAT_LEN);
	fd = d->io->open(d->io, *d->dirfd, "FORMAT.new",
		O_WRONLY | O_CREAT | O_TRUNC);
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

/* Not 0 for what we may not find in a new directory: else our LOCK, a FORMAT
 * that was not finished, and what mkfs made. */
static int note_other(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "LOCK") != 0 && strcmp(name, "FORMAT.new") != 0 &&
	       strcmp(name, "lost+found") != 0;
}

static bool is_empty(const struct datadir *d)
{
	return d->io->list(d->io, *d->dirfd, note_other, NULL) == 0;
}

static int note_wal(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "wal") == 0;
}

/* Whether there is a log: what should have a FORMAT. */
static bool has_log(const struct datadir *d)
{
	return d->io->list(d->io, *d->dirfd, note_wal, NULL) > 0;
}

/* Makes FORMAT where there is nothing yet. */
static int make_format(const char *dir, const struct datadir *d, char *why)
{
	int rc;

	if (has_log(d))
		return say(why, -VG_ECORRUPT, dir,
			"FORMAT is missing; restore it from a copy");
	rc = write_format(d);
	return rc < 0 ? say(why, rc, dir, "cannot be written") : 0;
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
	if (mkdir(dir, 0700) == 0)
		sync_parent(dir);
	else if (errno != EEXIST)
		return say(why, -errno, dir, strerror(errno));
	*d->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *d->dirfd < 0 ? say(why, -errno, dir, strerror(errno)) : 0;
}

/* Opens wal/, made if it is missing; its name is durable. */
static int open_wal(const char *dir, const struct datadir *d, char *why)
{
	int rc = d->io->mkdir(d->io, *d->dirfd, "wal");

	if (rc < 0 && rc != -EEXIST)
		return say(why, rc, dir, "wal/ cannot be made");
	rc = d->io->open(d->io, *d->dirfd, "wal", O_RDONLY | O_DIRECTORY);
	if (rc < 0)
		return say(why, rc, dir, "wal/ cannot be opened");
	*d->waldirfd = rc;
	rc = d->io->sync(d->io, *d->dirfd);
	return rc < 0 ? say(why, rc, dir, "cannot be synced") : 0;
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
	/* First, so that nothing is written into what is not ours. */
	rc = read_format(dir, d, why);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT && !is_empty(d) && !has_log(d))
		return say(why, -ENOTEMPTY, dir,
			"is not empty, and no data directory: give another");
	rc = d->is_locked ? 0 : take_lock(dir, wait_ms, d, why);
	if (rc == 0)
		rc = read_format(dir, d, why);
	if (rc == -ENOENT)
		rc = make_format(dir, d, why);
	return rc < 0 ? rc : open_wal(dir, d, why);
}
