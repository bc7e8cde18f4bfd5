/* SPDX-License-Identifier: Apache-2.0 */
/* datadir.c: see datadir.h. */
#include "src/datadir.h"

#include <assert.h>
#include <dirent.h>
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
	int fd, rc = 0;

	if (getrandom(d->uuid, 16, 0) != 16)
		return -EIO;
	for (int i = 0; i < 16; i++)
		len += snprintf(text + len, 3, "%02x", d->uuid[i]);
	text[len++] = '\n';
	assert(len == FORMAT_LEN);
	fd = openat(*d->dirfd, "FORMAT.new",
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (write(fd, text, FORMAT_LEN) != FORMAT_LEN || fsync(fd) < 0)
		rc = errno ? -errno : -EIO;
	close(fd);
	if (rc == 0 &&
		(renameat(*d->dirfd, "FORMAT.new", *d->dirfd, "FORMAT") < 0 ||
			fsync(*d->dirfd) < 0))
		rc = -errno;
	return rc;
}

/* Reads FORMAT. -ENOENT: there is none. */
static int read_format(const char *dir, const struct datadir *d, char *why)
{
	char text[FORMAT_LEN + 1];
	int fd = openat(*d->dirfd, "FORMAT", O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int rc;

	if (fd < 0)
		return errno == ENOENT
			       ? -ENOENT
			       : say(why, -errno, dir, "FORMAT cannot be read");
	n = read(fd, text, sizeof(text));
	close(fd);
	rc = n == FORMAT_LEN ? parse_format(text, d->uuid) : -VG_EFORMAT;
	if (rc < 0)
		return say(why, rc, dir,
			"FORMAT is not of this version of vecgridfs");
	return 0;
}

/* Whether the directory holds nothing but what we may find in a new one: our
 * LOCK, a FORMAT that was not finished, and what mkfs made. */
static bool is_empty(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool empty = dir != NULL;

	if (fd >= 0 && !dir)
		close(fd);
	while (empty && (e = readdir(dir)))
		empty = strcmp(e->d_name, ".") == 0 ||
			strcmp(e->d_name, "..") == 0 ||
			strcmp(e->d_name, "LOCK") == 0 ||
			strcmp(e->d_name, "FORMAT.new") == 0 ||
			strcmp(e->d_name, "lost+found") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

/* Makes FORMAT where there is nothing yet. */
static int make_format(const char *dir, const struct datadir *d, char *why)
{
	int rc;

	if (faccessat(*d->dirfd, "wal", F_OK, 0) == 0)
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

int datadir_open(const char *dir, unsigned wait_ms, const struct datadir *d,
	char *why)
{
	int rc;

	assert(dir && *d->dirfd < 0 && *d->waldirfd < 0);
	assert(*d->dirfd < 0 && *d->lockfd < 0 && *d->waldirfd < 0);
	if (mkdir(dir, 0700) == 0)
		sync_parent(dir);
	else if (errno != EEXIST)
		return say(why, -errno, dir, strerror(errno));
	*d->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*d->dirfd < 0)
		return say(why, -errno, dir, strerror(errno));
	/* First, so that nothing is written into what is not ours. */
	rc = read_format(dir, d, why);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT && !is_empty(*d->dirfd) &&
		faccessat(*d->dirfd, "wal", F_OK, 0) < 0)
		return say(why, -ENOTEMPTY, dir,
			"is not empty, and no data directory: give another");
	rc = take_lock(dir, wait_ms, d, why);
	if (rc == 0)
		rc = read_format(dir, d, why);
	if (rc == -ENOENT)
		rc = make_format(dir, d, why);
	if (rc < 0)
		return rc;
	if (mkdirat(*d->dirfd, "wal", 0700) < 0 && errno != EEXIST)
		return say(why, -errno, dir, "wal/ cannot be made");
	*d->waldirfd = openat(
		*d->dirfd, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*d->waldirfd < 0)
		return say(why, -errno, dir, "wal/ cannot be opened");
	if (fsync(*d->dirfd) < 0)
		return say(why, -errno, dir, "cannot be synced");
	return 0;
}
