/* SPDX-License-Identifier: Apache-2.0 */
/* wal.c: fuzz target: any files are refused unchanged, or are a log that goes on. */
#include "src/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/io.h"
#include "src/wal_int.h"

/*
 * The input is a first byte and a rest. Even: the rest is 0001.wal as it is;
 * if its second bit is set, behind the place to open at: u64 lsn, segment,
 * offset. Odd: the rest is a script that writes segments with right checksums,
 * so that what lies behind a checksum is reached, too. Each step is a byte and
 * its arguments:
 *
 *   0 FLAGS LSN     the next segment with a header; bits of FLAGS spoil it
 *   1 D K T LEN ..  a frame: lsn + D, durable K below it, type T
 *   2 LEN ...       bytes as they are
 *   3 LEN           8 * LEN zeros
 *   4 LO HI BIT     a flip in the segment
 *   5               the segment has two names
 *   6 HOW           the place to open at is here; bits of HOW spoil it
 *   7 N             segment N is not there
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILES 6
#define FILE_MAX (1u << 20)

/* A disk in memory: file i is %04d.wal. */
static struct {
	uint8_t *bytes;
	size_t len;
	bool exists;
	uint64_t links;
} bufs[FILES];

/* Which of them has name i: 0 is "new", the one that is being made. */
static int buf_of[FILES];
#define files(i) bufs[buf_of[i]]

static struct wal_place from; /* where the log is opened */

static int file_number(const char *name)
{
	unsigned long long number = strtoull(name, NULL, 10);

	if (strcmp(name, "new") == 0)
		return 0;
	return number > 0 && number < FILES ? (int)number : FILES;
}

static int mem_open(struct io *io, int dirfd, const char *name, int flags)
{
	int i = file_number(name);

	(void)io;
	(void)dirfd;
	if (i >= FILES)
		return flags & O_CREAT ? -ENOSPC : -ENOENT;
	if (!files(i).exists && !(flags & O_CREAT))
		return -ENOENT;
	if (files(i).exists && flags & O_EXCL)
		return -EEXIST;
	if (files(i).exists && files(i).links > 1 && flags & O_RDWR)
		abort(); /* a shared file is never opened for writing */
	if (!files(i).exists) {
		files(i).len = 0;
		files(i).links = 1;
	}
	files(i).exists = true;
	return buf_of[i];
}

static void mem_close(struct io *io, int fd)
{
	(void)io;
	(void)fd;
}

static int mem_stat(struct io *io, int fd, struct io_stat *out)
{
	(void)io;
	out->size = bufs[fd].len;
	out->links = bufs[fd].links;
	return 0;
}

static ssize_t mem_read(
	struct io *io, int fd, void *buf, size_t len, uint64_t offset)
{
	(void)io;
	if (offset >= bufs[fd].len)
		return 0;
	len = VG_MIN(len, bufs[fd].len - offset);
	memcpy(buf, bufs[fd].bytes + offset, len);
	return (ssize_t)len;
}

static int mem_write(struct io *io, int fd, const void *buf, size_t len,
	uint64_t offset, bool durable)
{
	(void)io;
	(void)durable;
	if (offset + len > FILE_MAX)
		return -EIO;
	if (len > 0)
		memcpy(bufs[fd].bytes + offset, buf, len);
	bufs[fd].len = VG_MAX(bufs[fd].len, offset + len);
	return 0;
}

static int mem_sync(struct io *io, int fd)
{
	(void)io;
	(void)fd;
	return 0;
}

static int mem_allocate(struct io *io, int fd, uint64_t offset, uint64_t len)
{
	(void)io;
	(void)fd;
	(void)offset;
	(void)len;
	return 0;
}

static int mem_truncate(struct io *io, int fd, uint64_t size)
{
	(void)io;
	if (size > bufs[fd].len || bufs[fd].links > 1)
		abort();
	bufs[fd].len = size;
	return 0;
}

static int mem_unlink(struct io *io, int dirfd, const char *name)
{
	int i = file_number(name);

	(void)io;
	(void)dirfd;
	if (i >= FILES || !files(i).exists)
		return -ENOENT;
	files(i).exists = false;
	return 0;
}

static int mem_rename(
	struct io *io, int dirfd, const char *from_name, const char *to)
{
	int a = file_number(from_name), b = file_number(to), was;

	(void)io;
	(void)dirfd;
	if (a >= FILES || !files(a).exists || b >= FILES)
		return a >= FILES || b < FILES ? -ENOENT : -ENOSPC;
	was = buf_of[b];
	buf_of[b] = buf_of[a];
	buf_of[a] = was;
	files(a).exists = false;
	return 0;
}

static int mem_list(struct io *io, int dirfd, io_name_fn *each, void *ctx)
{
	int rc = 0;

	(void)io;
	(void)dirfd;
	for (int i = 1; i < FILES && rc == 0; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%04d.wal", i);
		if (files(i).exists)
			rc = each(ctx, name);
	}
	return rc;
}

static struct io mem_io = {
	.open = mem_open,
	.close = mem_close,
	.stat = mem_stat,
	.read = mem_read,
	.write = mem_write,
	.sync = mem_sync,
	.allocate = mem_allocate,
	.truncate = mem_truncate,
	.unlink = mem_unlink,
	.rename = mem_rename,
	.list = mem_list,
};

static void file_add(int i, const void *bytes, size_t len)
{
	if (files(i).len + len > FILE_MAX / 2)
		return;
	if (len > 0)
		memcpy(files(i).bytes + files(i).len, bytes, len);
	files(i).len += len;
}

static void add_header(int i, unsigned flags, uint64_t first_lsn)
{
	struct wal_header h = {.version = flags & 1 ? 2 : 1,
		.segment = (uint64_t)i + (flags & 2 ? 1 : 0),
		.first_lsn = first_lsn};
	uint8_t bytes[WAL_HEADER];

	h.uuid[0] = flags & 4 ? 1 : 0;
	wal_header_encode(&h, bytes);
	if (flags & 8)
		bytes[60] ^= 1;
	file_add(i, bytes, flags & 16 ? 40 : sizeof(bytes));
}

/* One step of the script; the segment it wrote to. */
static int step(struct wire_in *in, int i, uint64_t *lsn)
{
	static const uint8_t zeros[8 * 255];
	uint8_t frame[32 + 256] = {0};
	struct wire_frame f;
	struct wire_salt salt = {.segment = (uint64_t)i};
	unsigned what = wire_get_u8(in) % 8;
	unsigned a = wire_get_u8(in);

	if (what == 0 && i + 2 < FILES) {
		files(++i).exists = true;
		files(i).links = 1;
		files(i).len = 0;
		*lsn = *lsn + wire_get_u8(in) % 4;
		add_header(i, a % 64 < 32 ? 0 : a % 32, *lsn);
	} else if (what == 1) {
		f.lsn = *lsn + (a % 16 == 15 ? a / 16 : 0);
		uint64_t below = wire_get_u8(in);

		f.durable = f.lsn - 1 - VG_MIN(below, f.lsn - 1);
		f.type = wire_get_u8(in) % 16 == 9 ? 5 : 1;
		f.len = wire_get_u8(in);
		wire_frame_encode(&f, &salt, frame);
		file_add(i, frame, wire_frame_size(f.len));
		*lsn = f.lsn + 1;
	} else if (what == 2) {
		const void *bytes = wire_get_bytes(in, a);

		file_add(i, bytes, bytes ? a : 0);
	} else if (what == 3) {
		file_add(i, zeros, 8 * (size_t)a);
	} else if (what == 4) {
		size_t at = a | (size_t)wire_get_u8(in) << 8;

		if (at < files(i).len)
			files(i).bytes[at] ^= (uint8_t)(
				1u << wire_get_u8(in) % 8);
	} else if (what == 5) {
		files(i).links = 1 + a % 2;
	} else if (what == 6) {
		from = (struct wal_place){*lsn, (uint64_t)i, files(i).len};
		from.lsn += a >> 4 & 1;
		from.segment += a >> 5 & 1;
		from.segment -= a >> 6 & 1;
		from.offset += a >> 7 ? a % 16 : 0;
	} else if (what == 7) {
		files(1 + a % (FILES - 1)).exists = false;
	}
	return i;
}

static void make_files(const uint8_t *data, size_t size)
{
	struct wire_in in = wire_in_init(data + 1, size - 1);
	uint64_t lsn = 1;
	int i = 1;

	for (int k = 0; k < FILES; k++) {
		buf_of[k] = k;
		if (!bufs[k].bytes)
			bufs[k].bytes = malloc(FILE_MAX);
		if (!bufs[k].bytes)
			abort();
		bufs[k].exists = false;
	}
	files(1).exists = true;
	files(1).len = 0;
	files(1).links = 1;
	from = (struct wal_place){0};
	if (data[0] % 4 == 2) {
		from.lsn = wire_get_u64(&in);
		from.segment = wire_get_u64(&in);
		from.offset = wire_get_u64(&in);
	}
	if (data[0] % 2 == 0) {
		file_add(1, in.at, in.left);
		return;
	}
	add_header(1, 0, 1);
	while (in.left > 0 && !in.failed)
		i = step(&in, i, &lsn);
}

/* Of the segments below number end. */
static uint64_t files_hash(uint64_t end)
{
	uint64_t h = 0;

	for (uint64_t i = 1; i < VG_MIN(end, (uint64_t)FILES); i++)
		if (files(i).exists)
			h = h * 31 + wire_hash(files(i).bytes, files(i).len) +
			    i;
	return h;
}

static int see(void *ctx, const struct wal_frame *f)
{
	uint64_t *n = ctx;

	if (f->lsn != *n + 1)
		abort();
	*n = f->lsn;
	return 0;
}

static int open_at(const struct wal_place *at, struct wal_report *rep,
	uint64_t *n, struct wal **wal)
{
	struct wal_config cfg = {.io = &mem_io, .from = *at};
	uint64_t first = at->lsn > 0 ? at->lsn - 1 : 0;

	*n = first;
	int rc = wal_open(&cfg, see, n, rep, wal);

	if (rc == 0 && (rep->last_lsn != *n || rep->frames != *n - first))
		abort();
	return rc;
}

/* The last change of the log, or the error. */
static long reopen(
	const struct wal_place *at, struct wal_report *rep, bool write)
{
	struct wal_part part = {"x", 1};
	struct wal *wal;
	uint64_t n;
	int rc = open_at(at, rep, &n, &wal);

	if (rc < 0)
		return rc;
	if (write && (wal_append(wal, WAL_OP, &part, 1, false) < 0 ||
			     wal_write(wal, true) < 0))
		abort();
	wal_close(wal);
	return (long)n;
}

/* A checkpoint of a log whose last change is n. */
static void shorten(uint64_t n)
{
	struct wal_place was, now;
	struct wal_report rep;
	struct wal_stat st;
	struct wal *wal;
	uint64_t found, bytes = 0;

	if (open_at(&from, &rep, &found, &wal) < 0 || found != n)
		abort();
	wal_get_place(wal, &was);
	if (wal_rotate(wal) < 0)
		abort();
	wal_get_place(wal, &now);
	if (wal_cut(wal, &mem_io, now.segment) < 0)
		abort();
	wal_stat(wal, &st);
	wal_close(wal);
	for (uint64_t i = 1; i < FILES; i++) {
		if (files(i).exists && i < now.segment)
			abort();
		bytes += files(i).exists ? files(i).len : 0;
	}
	if (st.bytes != bytes || now.lsn != n + 1 || was.lsn != n + 1)
		abort();
	if (reopen(&was, &rep, false) != (long)n ||
		reopen(&now, &rep, true) != (long)n ||
		reopen(&was, &rep, false) != (long)n + 1)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wal_report rep;

	if (size < 1)
		return 0;
	make_files(data, size);

	uint64_t before = files_hash(FILES);
	uint64_t below = from.lsn > 0 ? from.segment : 0;
	uint64_t untouched = files_hash(below);
	long n = reopen(&from, &rep, true);

	if (n < 0) {
		if (n != -ENOSPC &&
			(files_hash(FILES) != before || !rep.error[0]))
			abort();
		return 0;
	}
	if (files_hash(below) != untouched)
		abort();
	long again = reopen(&from, &rep, false);

	/* No segment behind the last possible one: a disk too small. */
	if (again != n + 1 && again != -ENOSPC)
		abort();
	if (again >= 0 && rep.cut_len != 0)
		abort();
	if (again >= 0)
		shorten((uint64_t)again);
	return 0;
}
