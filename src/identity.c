/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c: see identity.h. */
#include "src/identity.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "src/wire.h"

#define NAME "IDENTITY"
#define NEW "IDENTITY.new"
#define FIRST "vecgridfs identity 1\n"
#define KIND_LEN 19 /* of FIRST: what it is, without the version */

static void put_hex(char *out, const uint8_t bytes[16])
{
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static bool get_hex(const char *text, uint8_t out[16])
{
	for (int i = 0; i < 16; i++) {
		char hex[3] = {text[2 * i], text[2 * i + 1], 0};
		char *end;

		out[i] = (uint8_t)strtoul(hex, &end, 16);
		if (end != hex + 2)
			return false;
	}
	return true;
}

size_t identity_format(const struct identity *id, char out[IDENTITY_MAX])
{
	const struct identity_place *p = &id->place;
	char member[33], copy[33], machine[33], parent[2][33];
	int len;

	put_hex(member, id->member);
	put_hex(copy, id->copy);
	put_hex(machine, p->machine);
	put_hex(parent[0], id->parent_member);
	put_hex(parent[1], id->parent_copy);
	len = snprintf(out, IDENTITY_MAX,
		FIRST "member %s\ncopy %s\nparent %s %s\nmachine %s\n"
		      "file %" PRIu64 " %" PRIu64 " %" PRId64 "\n"
		      "directory %" PRIu64 " %" PRId64 "\n",
		member, copy, parent[0], parent[1], machine, p->dev, p->inode,
		p->birth_ns, p->dir_inode, p->dir_birth_ns);
	assert(len > 0 && len < IDENTITY_MAX - 32);
	len += snprintf(out + len, 32, "sum %016" PRIx64 "\n",
		wire_hash(out, (size_t)len));
	assert(len < IDENTITY_MAX);
	return (size_t)len;
}

/* Takes the fields; whether they are what was written shows when they are
 * formatted again. */
static bool get_fields(const char *text, struct identity *out)
{
	struct identity_place *p = &out->place;
	char member[33], copy[33], machine[33], parent[2][33];

	if (sscanf(text,
		    FIRST "member %32s copy %32s parent %32s %32s machine %32s "
			  "file %" SCNu64 " %" SCNu64 " %" SCNd64
			  " directory %" SCNu64 " %" SCNd64,
		    member, copy, parent[0], parent[1], machine, &p->dev,
		    &p->inode, &p->birth_ns, &p->dir_inode,
		    &p->dir_birth_ns) != 10)
		return false;
	return strlen(member) == 32 && strlen(copy) == 32 &&
	       strlen(parent[0]) == 32 && strlen(parent[1]) == 32 &&
	       strlen(machine) == 32 && get_hex(member, out->member) &&
	       get_hex(copy, out->copy) &&
	       get_hex(parent[0], out->parent_member) &&
	       get_hex(parent[1], out->parent_copy) &&
	       get_hex(machine, p->machine);
}

int identity_parse(const char *text, size_t len, struct identity *out)
{
	char bytes[IDENTITY_MAX], again[IDENTITY_MAX];
	struct identity id = {0};

	if (len > KIND_LEN && memcmp(text, FIRST, KIND_LEN) == 0 &&
		(text[KIND_LEN] != '1' ||
			(len > KIND_LEN + 1 && text[KIND_LEN + 1] != '\n')) &&
		text[KIND_LEN] >= '1' && text[KIND_LEN] <= '9')
		return -VG_EFORMAT;
	if (len >= sizeof(bytes))
		return -VG_ECORRUPT;
	memcpy(bytes, text, len);
	bytes[len] = '\0';
	if (!get_fields(bytes, &id) || identity_format(&id, again) != len ||
		memcmp(bytes, again, len) != 0)
		return -VG_ECORRUPT;
	*out = id;
	return 0;
}

/* This machine; zeros where it has no name. */
static void get_machine(uint8_t out[16])
{
	char text[33] = "";
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);

	memset(out, 0, 16);
	if (fd < 0)
		return;
	if (read(fd, text, 32) != 32 || !get_hex(text, out))
		memset(out, 0, 16);
	close(fd);
}

/* Where the file that stands open is. */
static int get_place(
	struct io *io, int dirfd, int fd, struct identity_place *out)
{
	struct io_stat file = {0}, dir = {0};
	int rc = io->stat(io, fd, &file);

	if (rc == 0)
		rc = io->stat(io, dirfd, &dir);
	if (rc < 0)
		return rc;
	*out = (struct identity_place){
		.dev = file.dev,
		.inode = file.inode,
		.birth_ns = file.birth_ns,
		.dir_inode = dir.inode,
		.dir_birth_ns = dir.birth_ns,
	};
	get_machine(out->machine);
	return 0;
}

static bool is_same(
	const struct identity_place *a, const struct identity_place *b)
{
	return memcmp(a->machine, b->machine, sizeof(a->machine)) == 0 &&
	       a->dev == b->dev && a->inode == b->inode &&
	       a->birth_ns == b->birth_ns && a->dir_inode == b->dir_inode &&
	       a->dir_birth_ns == b->dir_birth_ns;
}

int identity_load(struct io *io, int dirfd, struct identity *out,
	enum identity_state *state)
{
	char text[IDENTITY_MAX];
	struct identity_place here;
	struct identity id = {0};
	int fd = io->open(io, dirfd, NAME, O_RDONLY);
	ssize_t n;
	int rc;

	assert(dirfd >= 0);
	*state = IDENTITY_MISSING;
	*out = id;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	n = io->read(io, fd, text, sizeof(text), 0);
	rc = n < 0 ? (int)n : get_place(io, dirfd, fd, &here);
	io->close(io, fd);
	if (rc == 0)
		rc = identity_parse(text, (size_t)n, &id);
	if (rc == -VG_ECORRUPT) {
		*state = IDENTITY_DAMAGED;
		return 0;
	}
	if (rc < 0)
		return rc;
	*state = is_same(&id.place, &here) ? IDENTITY_SAME : IDENTITY_COPIED;
	*out = id;
	return 0;
}

int identity_save(struct io *io, int dirfd, const struct identity *was,
	struct identity *out)
{
	struct identity id = {0};
	char text[IDENTITY_MAX];
	size_t len;
	int fd, rc;

	assert(dirfd >= 0 && was != out);
	if (was) {
		memcpy(id.parent_member, was->member, sizeof(id.member));
		memcpy(id.parent_copy, was->copy, sizeof(id.copy));
	}
	if (getrandom(id.member, 16, 0) != 16 || getrandom(id.copy, 16, 0) != 16)
		return -EIO;
	*out = id;
	rc = io->unlink(io, dirfd, NEW); /* it may be shared with a copy */
	if (rc < 0 && rc != -ENOENT)
		return rc;
	fd = io->open(io, dirfd, NEW, O_WRONLY | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	rc = get_place(io, dirfd, fd, &id.place);
	if (rc == 0) {
		*out = id;
		len = identity_format(&id, text);
		rc = io->write(io, fd, text, len, 0, true);
	}
	io->close(io, fd);
	if (rc == 0)
		rc = io->rename(io, dirfd, NEW, NAME);
	if (rc < 0) {
		io->unlink(io, dirfd, NEW);
		return rc;
	}
	return io->sync(io, dirfd);
}
