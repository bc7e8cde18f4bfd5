/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_file.c: manifests in a directory: there whole, or not at all. */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/manifest.h"

/*
 * A save writes NEW, syncs it, renames it and syncs the directory. NEW is made
 * afresh each time: one that a crash left may have a second name in a copy of
 * the directory (cp -al), which is not ours to write to.
 */
#define NEW "MANIFEST.new"
#define PREFIX "MANIFEST."
#define NAME_CAP 32
#define NUMBER_MAX (1ull << 62)
#define DIGITS_MAX 19 /* of NUMBER_MAX */

static_assert(sizeof(PREFIX) + DIGITS_MAX <= NAME_CAP &&
		      NUMBER_MAX < 10000000000000000000ull,
	"the longest name fits");

static void name_format(uint64_t number, char out[NAME_CAP])
{
	int len = snprintf(out, NAME_CAP, PREFIX "%" PRIu64, number);

	assert(number > 0 && number <= NUMBER_MAX);
	assert(len > 0 && len < NAME_CAP);
	(void)len;
}

bool manifest_is_name(const char *name, uint64_t *number)
{
	const char *digits;
	uint64_t v = 0;

	if (strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0)
		return false;
	digits = name + sizeof(PREFIX) - 1;
	if (digits[0] == '0' || digits[0] == '\0')
		return false;
	for (size_t i = 0; digits[i]; i++) {
		if (digits[i] < '0' || digits[i] > '9' || i == DIGITS_MAX)
			return false;
		v = 10 * v + (uint64_t)(digits[i] - '0');
	}
	if (v > NUMBER_MAX)
		return false;
	*number = v;
	return true;
}

/* Removes a name, if it is there. */
static int name_del(struct io *io, int dirfd, const char *name)
{
	int rc = io->unlink(io, dirfd, name);

	return rc == -ENOENT ? 0 : rc;
}

/* -EEXIST if there is such a file, whatever it is. */
static int name_check_free(struct io *io, int dirfd, const char *name)
{
	int fd = io->open(io, dirfd, name, O_RDONLY);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	io->close(io, fd);
	return -EEXIST;
}

/* NEW with these bytes, on stable storage. */
static int write_new(struct io *io, int dirfd, const uint8_t *bytes, size_t len)
{
	int rc = name_del(io, dirfd, NEW);
	int fd;

	if (rc < 0)
		return rc;
	fd = io->open(io, dirfd, NEW, O_WRONLY | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	rc = io->write(io, fd, bytes, len, 0, true);
	io->close(io, fd);
	return rc;
}

/* Puts bytes[len] under name, durably. Only -EIO may leave it there without
 * being sure: so each has a number of its own. */
static int put_file(struct io *io, int dirfd, const char *name,
	const uint8_t *bytes, size_t len)
{
	int rc = write_new(io, dirfd, bytes, len);

	if (rc == 0)
		rc = io->rename(io, dirfd, NEW, name);
	if (rc < 0) {
		/* What cannot be removed now is by the next save. */
		name_del(io, dirfd, NEW);
		return rc;
	}
	return io->sync(io, dirfd) < 0 ? -EIO : 0;
}

int manifest_save(struct io *io, int dirfd, const struct manifest *m)
{
	char name[NAME_CAP];
	uint8_t *bytes;
	size_t len;
	int rc;

	name_format(m->number, name);
	rc = name_check_free(io, dirfd, name);
	if (rc == 0)
		rc = manifest_encode(m, &bytes, &len);
	if (rc < 0)
		return rc;
	rc = put_file(io, dirfd, name, bytes, len);
	free(bytes);
	return rc;
}

/* All bytes of a file that is no longer than a manifest may be; owned. */
static int load_bytes(struct io *io, int fd, uint8_t **bytes, size_t *len)
{
	struct io_stat st;
	int rc = io->stat(io, fd, &st);
	uint8_t *buf;
	ssize_t n;

	if (rc < 0)
		return rc;
	if (st.size == 0 || st.size > MANIFEST_LEN_MAX)
		return -VG_ECORRUPT;
	buf = malloc((size_t)st.size);
	if (!buf)
		return -ENOMEM;
	n = io->read(io, fd, buf, (size_t)st.size, 0);
	if (n < 0) {
		free(buf);
		return (int)n;
	}
	*bytes = buf;
	*len = (size_t)n;
	return 0;
}

/* All of a manifest's file, owned by the caller. */
static int load_file(struct io *io, int dirfd, const char *name,
	uint8_t **bytes, size_t *len)
{
	int fd = io->open(io, dirfd, name, O_RDONLY), rc;

	if (fd < 0)
		return fd;
	rc = load_bytes(io, fd, bytes, len);
	io->close(io, fd);
	return rc;
}

int manifest_load(struct io *io, int dirfd, uint64_t number,
	struct manifest *out)
{
	char name[NAME_CAP];
	struct manifest m;
	uint8_t *bytes = NULL;
	size_t len = 0;
	int rc;

	name_format(number, name);
	rc = load_file(io, dirfd, name, &bytes, &len);
	if (rc < 0)
		return rc;
	rc = manifest_decode(bytes, len, &m);
	free(bytes);
	if (rc < 0)
		return rc;
	if (m.number != number) {
		manifest_fini(&m);
		return -VG_ECORRUPT;
	}
	*out = m;
	return 0;
}

int manifest_renew(struct io *io, int dirfd, uint64_t number)
{
	char name[NAME_CAP];
	uint8_t *bytes = NULL;
	size_t len = 0;
	int rc;

	name_format(number, name);
	rc = load_file(io, dirfd, name, &bytes, &len);
	if (rc < 0)
		return rc;
	assert(bytes && len > 0);
	rc = put_file(io, dirfd, name, bytes, len);
	free(bytes);
	return rc;
}

struct listing {
	uint64_t *number; /* owned */
	uint32_t n, cap;
};

static int listing_add(void *ctx, const char *name)
{
	struct listing *l = ctx;
	uint64_t number;

	assert(l->n <= l->cap);
	if (!manifest_is_name(name, &number))
		return 0;
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 16;
		uint64_t *grown =
			cap > l->cap ? realloc(l->number,
					       (size_t)cap * sizeof(*grown)) :
				       NULL;

		if (!grown)
			return -ENOMEM;
		l->number = grown;
		l->cap = cap;
	}
	l->number[l->n++] = number;
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left < right) - (left > right);
}

int manifest_list(struct io *io, int dirfd, uint64_t **number, uint32_t *n)
{
	struct listing l = {0};
	int rc = io->list(io, dirfd, listing_add, &l);

	if (rc < 0) {
		free(l.number);
		return rc;
	}
	assert(l.number || l.n == 0);
	if (l.n > 1)
		qsort(l.number, l.n, sizeof(*l.number), newest_first);
	*number = l.number;
	*n = l.n;
	return 0;
}

int manifest_unlink(struct io *io, int dirfd, uint64_t number)
{
	char name[NAME_CAP];
	int rc = name_del(io, dirfd, NEW);

	if (rc == 0 && number > 0) {
		name_format(number, name);
		rc = name_del(io, dirfd, name);
	}
	return rc < 0 ? rc : io->sync(io, dirfd);
}
