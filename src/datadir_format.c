/* SPDX-License-Identifier: Apache-2.0 */
/* datadir_format.c: the file FORMAT: of which version and store this is. */
#include "src/datadir_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * FORMAT is two lines of text, written once when the directory is made:
 *
 *	vecgridfs 1
 *	uuid 00112233445566778899aabbccddeeff
 *
 * A reader that finds FORMAT and no wal/, which was made before it, has a part
 * of a data directory.
 */
#define FORMAT_LEN (12 + 5 + 32 + 1)

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
int datadir_save_format(const struct datadir *d)
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
int datadir_load_format(const char *dir, const struct datadir *d, char *why)
{
	char text[FORMAT_LEN + 1];
	int fd = d->io->open(d->io, *d->dirfd, "FORMAT", O_RDONLY);
	ssize_t n;
	int rc;

	if (fd < 0)
		return fd == -ENOENT
			       ? -ENOENT
			       : datadir_say(why, fd, dir, "FORMAT cannot be read");
	n = d->io->read(d->io, fd, text, sizeof(text), 0);
	d->io->close(d->io, fd);
	if (n < 0)
		return datadir_say(why, (int)n, dir, "FORMAT cannot be read");
	rc = n == FORMAT_LEN ? parse_format(text, d->uuid) : -VG_EFORMAT;
	if (rc < 0)
		return datadir_say(why, rc, dir,
			"FORMAT is not of this version of vecgridfs");
	return 0;
}
