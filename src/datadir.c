/* SPDX-License-Identifier: Apache-2.0 */
/* datadir.c: see datadir.h. */
#include "src/datadir_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int datadir_say(char *why, int rc, const char *dir, const char *what)
{
	snprintf(why, WHY, "%s: %s", dir, what);
	return rc;
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
		rc = datadir_save_format(d);
	return rc < 0 ? datadir_say(why, rc, dir, "cannot be written") : 0;
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
	int rc = datadir_load_format(dir, d, why);

	if (rc == 0) {
		rc = is_unsure(d);
		if (rc == 0)
			return 0;
		if (rc > 0)
			rc = d->io->unlink(d->io, *d->dirfd, "FORMAT");
		if (rc == 0)
			rc = d->io->sync(d->io, *d->dirfd);
		return rc < 0 ? datadir_say(why, rc, dir, "cannot be written") :
				make_format(dir, d, why);
	}
	if (rc != -ENOENT)
		return rc;
	rc = has_data(d);
	if (rc < 0)
		return datadir_say(why, rc, dir, strerror(-rc));
	if (rc > 0)
		return datadir_say(why, -VG_ECORRUPT, dir,
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
		return datadir_say(why, -errno, dir, strerror(errno));
	*d->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *d->dirfd < 0 ? datadir_say(why, -errno, dir, strerror(errno)) : 0;
}

/* Opens wal/, which was made before FORMAT. */
static int open_wal(const char *dir, const struct datadir *d, char *why)
{
	int rc = d->io->open(d->io, *d->dirfd, "wal", O_RDONLY | O_DIRECTORY);

	if (rc == -ENOENT)
		return datadir_say(why, -VG_ECORRUPT, dir,
			"wal/ is missing: it is a part of a data directory "
			"only; restore it from a copy, or copy it as a whole");
	if (rc < 0)
		return datadir_say(why, rc, dir, "wal/ cannot be opened");
	*d->waldirfd = rc;
	return 0;
}

static int open_read_only(
	const char *dir, unsigned wait_ms, const struct datadir *d, char *why)
{
	int rc = d->is_locked ? 0 : datadir_lock_shared(dir, wait_ms, d, why);

	if (rc == 0)
		rc = datadir_load_format(dir, d, why);
	if (rc == -ENOENT && has_data(d) > 0)
		return datadir_say(why, -VG_ECORRUPT, dir,
			"FORMAT is missing; restore it from a copy");
	if (rc == -ENOENT)
		return datadir_say(why, rc, dir,
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
	rc = datadir_load_format(dir, d, why);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT) {
		rc = is_foreign(d);
		if (rc < 0)
			return datadir_say(why, rc, dir, strerror(-rc));
		if (rc > 0)
			return datadir_say(why, -ENOTEMPTY, dir,
				"is not empty, and no data directory: give "
				"another");
	}
	rc = d->is_locked ? 0 : datadir_lock(dir, wait_ms, d, why);
	if (rc == 0)
		rc = take_format(dir, d, why);
	return rc < 0 ? rc : open_wal(dir, d, why);
}
