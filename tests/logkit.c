/* SPDX-License-Identifier: Apache-2.0 */
/* logkit.c: see logkit.h. */
#include "tests/logkit.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

const uint8_t kit_uuid[16] = "uuid of the test";

uint32_t kit_payload(uint64_t lsn, uint32_t life, uint8_t out[KIT_LEN_MAX])
{
	uint32_t len = 4 + (uint32_t)(lsn * 37 % 90) +
		       (lsn % 7 == 3 ? 400 : 0);
	uint64_t x = lsn * 0x9e3779b97f4a7c15ull + life;

	memcpy(out, &life, 4);
	for (uint32_t i = 4; i < len; i++) {
		x ^= x >> 27;
		x *= 0x2545f4914f6cdd1dull;
		out[i] = (uint8_t)(x >> 40);
	}
	return len;
}

int kit_dir(const char *name)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", scratch(), name);
	must(mkdir(path, 0700) == 0);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	must(fd >= 0);
	return fd;
}

static int clear_one(void *ctx, const char *name)
{
	must(unlinkat(*(int *)ctx, name, 0) == 0);
	return 0;
}

void kit_dir_clear(int dirfd)
{
	struct io io;

	io_init(&io);
	must(io.list(&io, dirfd, clear_one, &dirfd) == 0);
}

int kit_see(void *ctx, const struct wal_frame *f)
{
	struct kit_seen *seen = ctx;
	uint8_t want[KIT_LEN_MAX];
	uint32_t life = 0;

	if (!seen)
		return 0;
	if (f->len >= 4)
		memcpy(&life, f->payload, 4);
	if (f->lsn != seen->n + 1 || f->type != WAL_OP || seen->n >= KIT_MAX ||
		kit_payload(f->lsn, life, want) != f->len ||
		memcmp(want, f->payload, f->len) != 0) {
		seen->is_wrong = true;
		return 0;
	}
	seen->life[seen->n] = life;
	seen->segment[seen->n] = f->segment;
	seen->offset[seen->n] = f->offset;
	seen->end[seen->n] = f->offset + 32 + (f->len + 7) / 8 * 8;
	seen->n++;
	return 0;
}

int kit_open(int dirfd, struct io *io, uint64_t segment_size,
	struct kit_seen *seen, struct wal_report *rep, struct wal **out)
{
	struct wal_config cfg = {
		.dirfd = dirfd,
		.segment_size = segment_size,
		.no_uring = true,
		.io = io,
	};

	memcpy(cfg.uuid, kit_uuid, 16);
	if (seen) {
		cfg.from = seen->from;
		seen->n = seen->from.lsn > 0 ? seen->from.lsn - 1 : 0;
		seen->is_wrong = false;
	}
	return wal_open(&cfg, kit_see, seen, rep, out);
}

int kit_append(struct wal *wal, uint32_t life, bool frees)
{
	uint8_t bytes[KIT_LEN_MAX];
	struct wal_stat st;
	struct wal_part part[2] = {{bytes, 3}, {bytes + 3, 0}};

	wal_stat(wal, &st);
	part[1].len = kit_payload(st.appended_lsn + 1, life, bytes) - 3;
	return wal_append(wal, WAL_OP, part, 2, frees);
}

int kit_write(struct wal *wal, uint32_t life, unsigned n, bool sync)
{
	for (unsigned i = 0; i < n; i++) {
		int rc = kit_append(wal, life, false);

		if (rc < 0)
			return rc;
	}
	return wal_write(wal, sync);
}

struct kit_file kit_load(int dirfd, const char *name)
{
	struct kit_file file;
	struct stat st;
	int fd = openat(dirfd, name, O_RDONLY);

	must(fd >= 0 && fstat(fd, &st) == 0);
	file.len = (size_t)st.st_size;
	file.bytes = malloc(file.len + 1);
	must(file.bytes);
	must(read(fd, file.bytes, file.len) == (ssize_t)file.len);
	close(fd);
	return file;
}

void kit_save(int dirfd, const char *name, const void *bytes, size_t len)
{
	/* In place: ext4 flushes a file truncated to nothing when it closes. */
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT, 0600);

	must(fd >= 0);
	must(len == 0 || pwrite(fd, bytes, len, 0) == (ssize_t)len);
	must(ftruncate(fd, (off_t)len) == 0);
	close(fd);
}

void kit_free(struct kit_file *file)
{
	free(file->bytes);
	file->bytes = NULL;
}

/* The disk that fails. */

static bool fails(struct io *io, enum kit_call call)
{
	struct kit_disk *d = (struct kit_disk *)io;
	long nth, at;

	d->count[call]++;
	if (d->only_calls && !(d->only_calls & 1 << call))
		return false;
	nth = ++d->calls;
	at = d->fail_at;
	if (at == 0 || nth < at || (nth > at && !d->for_ever))
		return false;
	d->failed++;
	return true;
}

#define BELOW(io) (&((struct kit_disk *)(io))->below)
#define RC(io) (((struct kit_disk *)(io))->rc)

static int disk_open(struct io *io, int dirfd, const char *name, int flags)
{
	int fd = fails(io, KIT_OPEN) ?
			 RC(io) :
			 BELOW(io)->open(BELOW(io), dirfd, name, flags);

	if (fd >= 0 && flags & (O_CREAT | O_RDWR)) {
		must(fd < 256);
		((struct kit_disk *)io)->taken[fd] = 0;
		((struct kit_disk *)io)->fd = fd;
	}
	return fd;
}

static void disk_close(struct io *io, int fd)
{
	((struct kit_disk *)io)->closed_fd = fd;
	BELOW(io)->close(BELOW(io), fd);
}

static int disk_stat(struct io *io, int fd, struct io_stat *out)
{
	return fails(io, KIT_STAT) ? RC(io) :
				     BELOW(io)->stat(BELOW(io), fd, out);
}

static ssize_t disk_read(
	struct io *io, int fd, void *buf, size_t len, uint64_t offset)
{
	return fails(io, KIT_READ) ?
		       RC(io) :
		       BELOW(io)->read(BELOW(io), fd, buf, len, offset);
}

/* A write that fails leaves half of its bytes, as a power cut would. */
static int disk_write(struct io *io, int fd, const void *buf, size_t len,
	uint64_t offset, bool durable)
{
	struct kit_disk *d = (struct kit_disk *)io;

	if (fails(io, KIT_WRITE)) {
		BELOW(io)->write(BELOW(io), fd, buf, len / 2, offset, false);
		return RC(io);
	}
	if (d->is_limited && offset + len > d->taken[fd]) {
		uint64_t more = offset + len - VG_MAX(d->taken[fd], offset);

		if (more > d->room) {
			BELOW(io)->write(
				BELOW(io), fd, buf, d->room, offset, false);
			return -ENOSPC;
		}
		d->room -= more;
		d->taken[fd] = offset + len;
	}
	return BELOW(io)->write(
		BELOW(io), fd, buf, len, offset, durable && !d->no_sync);
}

static int disk_sync(struct io *io, int fd)
{
	if (fails(io, KIT_SYNC))
		return RC(io);
	return ((struct kit_disk *)io)->no_sync ? 0 :
						  BELOW(io)->sync(BELOW(io), fd);
}

static int disk_allocate(struct io *io, int fd, uint64_t offset, uint64_t len)
{
	struct kit_disk *d = (struct kit_disk *)io;

	if (fails(io, KIT_ALLOCATE))
		return RC(io);
	if (d->no_fallocate || (d->no_sync && !d->is_limited))
		return d->no_sync ? 0 : -EOPNOTSUPP;
	if (!d->is_limited)
		return BELOW(io)->allocate(BELOW(io), fd, offset, len);
	uint64_t more = offset + len > d->taken[fd] ?
				offset + len - d->taken[fd] :
				0;

	if (more > d->room)
		return -ENOSPC;
	d->room -= more;
	d->taken[fd] += more;
	return 0;
}

static int disk_truncate(struct io *io, int fd, uint64_t size)
{
	struct kit_disk *d = (struct kit_disk *)io;

	if (fails(io, KIT_TRUNCATE))
		return RC(io);
	if (d->is_limited && d->taken[fd] > size) {
		d->room += d->taken[fd] - size;
		d->taken[fd] = size;
	}
	return BELOW(io)->truncate(BELOW(io), fd, size);
}

static int disk_unlink(struct io *io, int dirfd, const char *name)
{
	struct kit_disk *d = (struct kit_disk *)io;

	if (fails(io, KIT_UNLINK))
		return RC(io);
	d->room += d->taken[d->closed_fd];
	d->taken[d->closed_fd] = 0;
	return BELOW(io)->unlink(BELOW(io), dirfd, name);
}

static int disk_list(struct io *io, int dirfd, io_name_fn *each, void *ctx)
{
	return fails(io, KIT_LIST) ?
		       RC(io) :
		       BELOW(io)->list(BELOW(io), dirfd, each, ctx);
}

static int disk_rename(
	struct io *io, int dirfd, const char *from, const char *to)
{
	return fails(io, KIT_RENAME) ?
		       RC(io) :
		       BELOW(io)->rename(BELOW(io), dirfd, from, to);
}

static int disk_mkdir(struct io *io, int dirfd, const char *name)
{
	return fails(io, KIT_MKDIR) ? RC(io) :
				      BELOW(io)->mkdir(BELOW(io), dirfd, name);
}

static int disk_rmdir(struct io *io, int dirfd, const char *name)
{
	return fails(io, KIT_RMDIR) ? RC(io) :
				      BELOW(io)->rmdir(BELOW(io), dirfd, name);
}

static int disk_room(struct io *io, int fd, uint64_t *bytes)
{
	struct kit_disk *disk = (struct kit_disk *)(void *)io;

	if (!disk->is_limited)
		return BELOW(io)->room(BELOW(io), fd, bytes);
	*bytes = disk->room;
	return 0;
}

static int disk_map(
	struct io *io, int fd, uint64_t offset, size_t len, void *at)
{
	return fails(io, KIT_MAP) ?
		       RC(io) :
		       BELOW(io)->map(BELOW(io), fd, offset, len, at);
}

static_assert(KIT_CALLS <= VG_ARRAY_LEN(((struct kit_disk *)0)->count),
	"each call is counted");

void kit_disk_init(struct kit_disk *disk)
{
	*disk = (struct kit_disk){.rc = -EIO};
	io_init(&disk->below);
	disk->io = disk->below;
	disk->io.open = disk_open;
	disk->io.close = disk_close;
	disk->io.stat = disk_stat;
	disk->io.read = disk_read;
	disk->io.write = disk_write;
	disk->io.sync = disk_sync;
	disk->io.allocate = disk_allocate;
	disk->io.truncate = disk_truncate;
	disk->io.unlink = disk_unlink;
	disk->io.list = disk_list;
	disk->io.rename = disk_rename;
	disk->io.mkdir = disk_mkdir;
	disk->io.rmdir = disk_rmdir;
	disk->io.room = disk_room;
	disk->io.map = disk_map;
}
