/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wal.c: the log, as it is written; wal_open.c reads it.
 *
 * THE FORMAT, version 1. Integers are little-endian. The log is the files
 * wal/0001.wal, wal/0002.wal, ... (at least four digits): segments, without
 * gaps from the one on that the log begins in.
 *
 *     0        8         12      16      32        40          48    56       64
 *     +--------+---------+-------+-------+---------+-----------+-----+--------+
 *     | magic  | version | zero  | uuid  | segment | first lsn | 0   |checksum|
 *     |        | u32     | u32   |       | u64     | u64       | u64 | u64    |
 *     +--------+---------+-------+-------+---------+-----------+-----+--------+
 *  64 | frame | frame | frame | ...                               written end |
 *
 * magic is "vgwal\r\n\x1a", uuid the store's (DATADIR/FORMAT), segment the
 * number in the name; checksum = XXH3_64bits (seed 0) of bytes 0..55. magic,
 * version and the place of the checksum stay in every later version. Each
 * frame begins at a multiple of 8:
 *
 *     0        4      6      8        16         24         32
 *     +--------+------+------+--------+----------+----------+-----------------+
 *     | length | type | zero | lsn    | durable  | checksum | payload, zeros  |
 *     | u32    | u16  | u16  | u64    | u64      | u64      | to 8 bytes      |
 *     +--------+------+------+--------+----------+----------+-----------------+
 *
 * checksum = XXH3_64bits (seed 0) of uuid[16], segment u64, the frame's first
 * 24 bytes, payload, zeros. type: enum wal_frame_type; the payload of WAL_OP
 * is op.c's body. durable is the last lsn that was on stable storage when the
 * frame was made.
 *
 * WHERE IT BEGINS. At offset 64 of segment 1, with lsn 1; or, once a
 * checkpoint holds what the first frames did, at the place that its manifest
 * names: lsn L at offset o of segment s. A place is named when all before it
 * is on stable storage, and it is the end of what was written then: so a new
 * segment may have begun there instead. If s + 1 has a valid header with first
 * lsn L, the log begins with s + 1. Otherwise s must be there, with a valid
 * header and o bytes or more; its first lsn is L if o is 64, else below L. A
 * file that is missing or ends before o was lost or came from an older copy,
 * and at o another frame than L is another history: both are refused, and
 * nothing is changed. What is before the place is not looked at. Segments
 * before every place in use are removed, oldest first; a power cut may bring
 * any of them back.
 *
 * WHAT IS VALID. A frame at offset o of segment s is part of the log if
 *
 *  1  the header of s is 64 bytes with the right magic, version, checksum,
 *     uuid and number;
 *  2  o is where the log begins, or the end of a frame that is part of the
 *     log, or 64 and s is later than where the log begins;
 *  3  it lies wholly before the end of the file, its length is at most
 *     16 MiB, its zero is 0, its type is not 0, durable < lsn;
 *  4  its checksum is right;
 *  5  its lsn is the header's first lsn if o is 64, else one more than that of
 *     the frame before; where the log begins it is the place's, or 1;
 *  6  its lsn is less than the first lsn of segment s + 1, if that has a valid
 *     header. What follows in s is void, whatever it is.
 *
 * WHERE IT ENDS. A write that a crash interrupted leaves any part of its bytes
 * and zeros for the others, in any order: the kernel writes pages as it likes.
 * So behind the last whole frame there may be rubbish, then valid frames: the
 * torn tail, which nobody was told is safe. The same picture with the damage
 * in a frame that somebody was told is safe is a torn middle. They are told
 * apart by what later frames know. Let lsn L be missing at offset o of s:
 *
 *  7  segment s + 1 has a valid header whose first lsn is above L: it was
 *     begun when all of s was on stable storage. Torn middle.
 *  8  some frame at a multiple of 8 behind o meets 3 and 4 with durable >= L:
 *     it was written after a sync of L had returned. Torn middle.
 *  9  otherwise nothing in the log says that L was ever safe: torn tail.
 *
 * A torn middle is refused and nothing is changed, since cutting there would
 * drop acknowledged changes behind it and bring back what they deleted. A torn
 * tail is cut, since the frames that 2 needs are not there; it must be, or the
 * next frame would stand behind rubbish. Damage to the very last sync's frames
 * is the one that cannot be told from a crash before it; it is reported with
 * its length as every cut is.
 *
 * A file with more than one link (a backup made by cp -al) is never written:
 * what would be cut from it is made void by 6, with a new segment, in which the
 * last frames stand again. A last segment without a valid header in which no
 * frame meets 3 and 4 was being created when the crash came, since frames are
 * written only when the header is safe; it is removed. With such a frame it is
 * refused like a torn middle.
 *
 * THE MARK. When a new segment stands for good, the one before gets a last
 * frame of type WAL_NEXT without a payload, whose lsn is the new one's first:
 * void by 6. Where it is met because the next segment is not there, files were
 * lost, and the log is refused. Not in a copy: its names may have been listed
 * before that segment was begun, and this one copied afterwards; then the log
 * ends at the mark. It is not synced, so it may be missing, and nothing depends
 * on it but that sentence.
 *
 * WHAT A SYNC PROMISES. When wal_write(wal, true) returns 0, every frame
 * appended before is part of the log whatever happens afterwards, power loss
 * included, as far as the disk keeps what it said it had. When it fails, the
 * kernel may have dropped the pages and would call the next sync a success
 * (the pages are clean): so a failed sync is never repeated, and the log is
 * over until it is opened again.
 *
 * WHAT AN OPEN DOES ABOUT IT. Where the kernel went on after a failed sync, an
 * open reads from its page cache what the disk may not have. So nothing is
 * taken for safe because it was read. Frames below a frame's `durable`, before
 * a segment's first lsn or before the place in a manifest are safe; all others
 * are the last frames of the last segment, and those are written again, as
 * they stand, before the sync. The header and the name of a segment are safe
 * if it has a frame or a place; else it is made again as the file wal/new,
 * synced and renamed.
 *
 * THE DISK'S SPACE is taken ahead with fallocate(FALLOC_FL_KEEP_SIZE), so the
 * file's size stays its written end and a copy of the file is never full of
 * zeros. A megabyte behind what is needed is kept for frames that make room;
 * other frames are refused before they touch it, and before anything is
 * written. A new segment that finds no space is not begun: the old one grows.
 */
#include "src/wal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/uring.h"
#include "src/wal_int.h"

static const uint8_t magic[8] = {'v', 'g', 'w', 'a', 'l', '\r', '\n', 0x1a};

#define HEADER_SUMMED (WAL_HEADER - 8)

/* The orders are explained at struct wal's fields. */
static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_acquire);
}

static void store(_Atomic uint64_t *v, uint64_t value)
{
	atomic_store_explicit(v, value, memory_order_release);
}

void wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER])
{
	struct wire_out w = wire_out_init(out, WAL_HEADER);

	wire_put_bytes(&w, magic, sizeof(magic));
	wire_put_u32(&w, h->version);
	wire_put_u32(&w, 0);
	wire_put_bytes(&w, h->uuid, sizeof(h->uuid));
	wire_put_u64(&w, h->segment);
	wire_put_u64(&w, h->first_lsn);
	wire_put_u64(&w, 0);
	assert(w.len == HEADER_SUMMED);
	wire_put_u64(&w, wire_hash(out, HEADER_SUMMED));
	assert(!w.failed && w.len == WAL_HEADER);
}

bool wal_header_decode(const uint8_t in[WAL_HEADER], struct wal_header *h)
{
	struct wire_in w = wire_in_init(in, WAL_HEADER);
	const void *got_magic = wire_get_bytes(&w, sizeof(magic));
	struct wal_header got = {.version = wire_get_u32(&w)};

	wire_get_u32(&w);
	memcpy(got.uuid, wire_get_bytes(&w, sizeof(got.uuid)),
		sizeof(got.uuid));
	got.segment = wire_get_u64(&w);
	got.first_lsn = wire_get_u64(&w);
	wire_get_u64(&w);

	uint64_t sum = wire_get_u64(&w);

	assert(!w.failed && w.left == 0);
	if (memcmp(got_magic, magic, sizeof(magic)) != 0 ||
		sum != wire_hash(in, HEADER_SUMMED))
		return false;
	*h = got;
	return true;
}

void wal_name_format(uint64_t segment, char out[WAL_NAME_MAX])
{
	snprintf(out, WAL_NAME_MAX, "%04" PRIu64 ".wal", segment);
}

bool wal_name_parse(const char *name, uint64_t *segment)
{
	char again[WAL_NAME_MAX];
	char *end;

	if (name[0] < '0' || name[0] > '9')
		return false;
	errno = 0;
	uint64_t number = strtoull(name, &end, 10);

	if (errno || number == 0 || number == UINT64_MAX)
		return false;
	wal_name_format(number, again);
	if (strcmp(name, again) != 0)
		return false;
	*segment = number;
	return true;
}

/* May this errno of allocate mean that the file system never can? */
static bool is_unsupported(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL;
}

/*
 * How much may be taken so that there is room to write what is owed then: what
 * is in the log, and will be in what is taken now, once more. Without it a full
 * disk stays full, whatever is deleted: the log is given back when a checkpoint
 * was written.
 */
static uint64_t most_to_take(const struct wal *wal)
{
	uint64_t room, owed;

	if (!wal->owed || !wal->io->room ||
		wal->io->room(wal->io, wal->fd, &room) < 0)
		return UINT64_MAX;
	owed = WAL_OWED +
	       atomic_load_explicit(wal->owed, memory_order_relaxed);
	return room > owed ? (room - owed) / 2 : 0;
}

int wal_space_take(struct wal *wal, uint64_t target, bool must)
{
	if (wal->cannot_allocate || target <= wal->allocated)
		return 0;

	uint64_t need = VG_ALIGN_UP(target - wal->allocated, 4096);
	uint64_t most = most_to_take(wal) / 4096 * 4096;
	uint64_t len = VG_MAX(need, VG_MIN(most, (uint64_t)WAL_STEP));

	if (!must && most < need)
		return -ENOSPC;
	for (;; len = VG_MAX(len / 2, need)) { /* ends: len sinks to need */
		int rc = wal->io->allocate(
			wal->io, wal->fd, wal->allocated, len);

		if (rc == 0) {
			wal->allocated += len;
			assert(wal->allocated >= target);
			return 0;
		}
		if (is_unsupported(rc)) {
			wal->cannot_allocate = true;
			return 0;
		}
		if (!io_is_full(rc) || len == need)
			return rc;
	}
}

/*
 * Room for a frame of `size` bytes behind what is appended. Only a frame that
 * makes room itself may leave less than the reserve behind it.
 */
static int space_check(struct wal *wal, size_t size, bool frees)
{
	uint64_t end = wal->end + wal->len + size;
	int rc = wal_space_take(wal, end + WAL_RESERVE, false);

	if (rc < 0 && frees)
		rc = wal_space_take(wal, end, true);
	return rc;
}

/*
 * Undoes what wal_segment_new did before its header was synced. It must not
 * come back: a segment with a header makes later frames of the one before
 * void. So if it cannot be undone durably, the log is over; if it is over
 * already, the next open judges what is there.
 */
static void segment_undo(struct wal *wal, int fd, const char *name)
{
	wal->io->close(wal->io, fd);
	if (wal->failed)
		return;

	int rc = wal->io->unlink(wal->io, wal->dirfd, name);

	if (rc == 0)
		rc = wal->io->sync(wal->io, wal->dirfd);
	if (rc < 0)
		wal->failed = true;
}

int wal_header_write(
	struct wal *wal, int fd, uint64_t segment, uint64_t first_lsn)
{
	struct wal_header h = {.version = WAL_VERSION,
		.segment = segment,
		.first_lsn = first_lsn};
	uint8_t bytes[WAL_HEADER];

	memcpy(h.uuid, wal->salt.uuid, sizeof(h.uuid));
	wal_header_encode(&h, bytes);
	return wal->io->write(wal->io, fd, bytes, sizeof(bytes), 0, false);
}

/* Writes the header and makes file and name durable, in this order. */
static int segment_write_header(
	struct wal *wal, int fd, uint64_t segment, uint64_t first_lsn)
{
	int rc = wal_header_write(wal, fd, segment, first_lsn);

	if (rc < 0)
		return rc;
	rc = wal->io->sync(wal->io, fd);
	if (rc == 0)
		rc = wal->io->sync(wal->io, wal->dirfd);
	if (rc < 0)
		wal->failed = true; /* a sync is not repeated */
	return rc;
}

/*
 * Says at the end of a segment that the next was begun, unless the file has
 * another name, and gives back the space that it did not use. If either fails
 * nothing is lost: the mark is there to find a copy that lacks the next one.
 */
static void segment_mark(struct wal *wal, int fd, uint64_t first_lsn)
{
	struct wire_frame frame = {.type = WAL_NEXT,
		.lsn = first_lsn,
		.durable = first_lsn - 1};
	uint64_t end = wal->end;
	uint8_t bytes[WIRE_HEAD];
	struct io_stat st;
	int rc = wal->io->stat(wal->io, fd, &st);

	assert(wire_frame_size(0) == WIRE_HEAD);
	if (rc == 0 && st.links == 1) {
		wire_frame_encode(&frame, &wal->salt, bytes);
		rc = wal->io->write(
			wal->io, fd, bytes, sizeof(bytes), end, false);
		if (rc == 0) {
			end += sizeof(bytes);
			atomic_fetch_add(&wal->bytes, sizeof(bytes));
		}
	}
	wal->io->truncate(wal->io, fd, end);
}

int wal_segment_new(struct wal *wal, uint64_t segment, uint64_t first_lsn)
{
	char name[WAL_NAME_MAX];
	int old_fd = wal->fd;
	uint64_t old_allocated = wal->allocated;

	assert(segment > 0 && first_lsn > 0);
	assert(wal->len == 0 && load(&wal->written_lsn) + 1 == first_lsn);
	wal_name_format(segment, name);
	int fd = wal->io->open(
		wal->io, wal->dirfd, name, O_RDWR | O_CREAT | O_EXCL);

	if (fd < 0)
		return fd;

	/* Space before the header, so that the header finds its place too. */
	wal->fd = fd;
	wal->allocated = 0;
	int rc = wal_space_take(wal, WAL_HEADER + WAL_RESERVE, true);

	if (rc == 0)
		rc = segment_write_header(wal, fd, segment, first_lsn);
	if (rc < 0)
		goto undo;
	if (old_fd >= 0) {
		segment_mark(wal, old_fd, first_lsn);
		wal->io->close(wal->io, old_fd);
	}
	wal->end = WAL_HEADER;
	wal->allocated = VG_MAX(wal->allocated, wal->end);
	wal->salt.segment = segment;
	wal->rotate_at = wal->segment_size;
	atomic_fetch_add(&wal->bytes, wal->end);
	store(&wal->segment, segment);
	return 0;
undo:
	wal->fd = old_fd;
	wal->allocated = old_allocated;
	segment_undo(wal, fd, name);
	return rc;
}

/* Everything written is on stable storage, or the log is over. */
static int sync_written(struct wal *wal)
{
	if (load(&wal->durable_lsn) == load(&wal->written_lsn))
		return 0;

	int rc = wal->io->sync(wal->io, wal->fd);

	if (rc < 0) {
		wal->failed = true;
		return io_sync_error(rc);
	}
	store(&wal->durable_lsn, load(&wal->written_lsn));
	store(&wal->syncs, load(&wal->syncs) + 1);
	return 0;
}

/*
 * A new segment for the next batch. Where there is no space or no descriptor
 * for one the old segment goes on, and the next try is a megabyte later.
 */
static int rotate(struct wal *wal)
{
	int rc = sync_written(wal);

	if (rc < 0)
		return rc;
	rc = wal_segment_new(wal, wal->salt.segment + 1,
		load(&wal->written_lsn) + 1);
	if (rc < 0 && !wal->failed) {
		wal->rotate_at = wal->end + WAL_RESERVE;
		rc = 0;
	}
	return rc;
}

/* The buffer holds `more` bytes behind what is appended; it doubles. */
static int buffer_grow(struct wal *wal, size_t more)
{
	size_t need = wal->len + more;

	assert(need <= WAL_BATCH_MAX + WIRE_PAYLOAD_MAX);
	if (need <= wal->cap)
		return 0;

	size_t cap = VG_MAX(VG_MAX(2 * wal->cap, need), (size_t)64 << 10);
	uint8_t *buf = realloc(wal->buf, cap);

	if (!buf)
		return -ENOMEM;
	wal->buf = buf;
	wal->cap = cap;
	return 0;
}

/* One large batch does not hold its memory for ever. */
static void buffer_shrink(struct wal *wal)
{
	assert(wal->len == 0);
	if (wal->cap <= WAL_BUFFER_KEPT)
		return;

	uint8_t *buf = realloc(wal->buf, WAL_BUFFER_KEPT);

	if (!buf)
		return; /* then it holds it a little longer */
	wal->buf = buf;
	wal->cap = WAL_BUFFER_KEPT;
}

/* The payload's bytes; more than a frame takes counts as WIRE_PAYLOAD_MAX + 1. */
static uint32_t parts_len(const struct wal_part *parts, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n && len <= WIRE_PAYLOAD_MAX; i++)
		len += VG_MIN(parts[i].len, (size_t)WIRE_PAYLOAD_MAX + 1);
	return (uint32_t)VG_MIN(len, (size_t)WIRE_PAYLOAD_MAX + 1);
}

/* Everything that can fail before a frame of size bytes is appended. */
static int append_prepare(struct wal *wal, size_t size, bool frees)
{
	int rc = 0;

	if (wal->failed)
		return -EROFS;
	if (wal->len == 0 && wal->end >= wal->rotate_at)
		rc = rotate(wal);
	if (rc == 0 && wal->len > 0 && wal->len + size > WAL_BATCH_MAX)
		rc = -ENOBUFS;
	if (rc == 0)
		rc = space_check(wal, size, frees);
	return rc < 0 ? rc : buffer_grow(wal, size);
}

int wal_append(struct wal *wal, enum wal_frame_type type,
	const struct wal_part *parts, unsigned n, bool frees)
{
	struct wire_frame frame = {
		.len = parts_len(parts, n),
		.type = (uint16_t)type,
	};
	size_t size = wire_frame_size(frame.len);

	assert(type >= WAL_OP && type <= WAL_OPS);
	if (frame.len > WIRE_PAYLOAD_MAX)
		return -E2BIG;

	int rc = append_prepare(wal, size, frees);

	if (rc < 0)
		return rc;

	uint8_t *at = wal->buf + wal->len;
	size_t done = WIRE_HEAD;

	for (unsigned i = 0; i < n; i++) {
		if (parts[i].len > 0)
			memcpy(at + done, parts[i].bytes, parts[i].len);
		done += parts[i].len;
	}
	assert(done == WIRE_HEAD + frame.len);
	frame.lsn = load(&wal->appended_lsn) + 1;
	frame.durable = load(&wal->durable_lsn);
	wire_frame_encode(&frame, &wal->salt, at);
	wal->len += size;
	assert(wal->len % 8 == 0 && wal->end % 8 == 0);
	store(&wal->appended_lsn, frame.lsn);
	return 0;
}

void wal_drop(struct wal *wal)
{
	wal->len = 0;
	store(&wal->appended_lsn, load(&wal->written_lsn));
	buffer_shrink(wal);
}

/*
 * A write did not fit: the file is cut back to where it was, durably, since
 * the same lsns and offsets are used again.
 */
static int write_undo(struct wal *wal, int full)
{
	int rc = wal->io->truncate(wal->io, wal->fd, wal->end);

	if (rc == 0)
		rc = wal->io->sync(wal->io, wal->fd);
	if (rc < 0) {
		wal->failed = true;
		return io_sync_error(rc); /* it may be there */
	}
	store(&wal->durable_lsn, load(&wal->written_lsn));
	wal->allocated = wal->end; /* the cut gave back what was behind it */
	wal_space_take(wal, wal->end + WAL_RESERVE, true); /* or at the next append */
	wal_drop(wal);
	return full;
}

int wal_write(struct wal *wal, bool sync)
{
	if (wal->failed)
		return -EROFS;
	if (wal->len == 0 &&
		(!sync || load(&wal->durable_lsn) == load(&wal->written_lsn)))
		return 0;

	int rc = wal->io->write(
		wal->io, wal->fd, wal->buf, wal->len, wal->end, sync);

	if (io_is_full(rc))
		return write_undo(wal, rc);
	if (rc < 0) {
		wal->failed = true;
		return rc;
	}
	wal->end += wal->len;
	atomic_fetch_add(&wal->bytes, wal->len);
	wal->len = 0;
	store(&wal->written_lsn, load(&wal->appended_lsn));
	if (sync) {
		store(&wal->durable_lsn, load(&wal->written_lsn));
		store(&wal->syncs, load(&wal->syncs) + 1);
	}
	buffer_shrink(wal);
	return 0;
}

void wal_get_place(const struct wal *wal, struct wal_place *out)
{
	assert(wal->end >= WAL_HEADER && wal->end % 8 == 0);
	*out = (struct wal_place){
		.lsn = load(&wal->written_lsn) + 1,
		.segment = wal->salt.segment,
		.offset = wal->end,
	};
}

int wal_rotate(struct wal *wal)
{
	if (wal->failed)
		return -EROFS;
	assert(wal->len == 0);
	assert(load(&wal->appended_lsn) == load(&wal->written_lsn));
	return wal->end > WAL_HEADER ? rotate(wal) : 0;
}

/* The lowest number of a segment at `from` or above; else `number` stays. */
struct lowest {
	uint64_t from;
	uint64_t number;
};

static int note_lowest(void *ctx, const char *name)
{
	struct lowest *low = ctx;
	uint64_t number;

	if (wal_name_parse(name, &number) && number >= low->from)
		low->number = VG_MIN(low->number, number);
	return 0;
}

/*
 * Removes a segment. One from before the place that this log was opened at is
 * not in `bytes`; it may be anything, so nothing but its name is used.
 */
static int segment_unlink(struct wal *wal, struct io *io, uint64_t segment)
{
	struct io_stat st = {0};
	char name[WAL_NAME_MAX];
	int rc = 0;

	wal_name_format(segment, name);
	if (segment >= wal->first) {
		int fd = io->open(io, wal->dirfd, name, O_RDONLY);

		if (fd < 0)
			return fd;
		rc = io->stat(io, fd, &st);
		io->close(io, fd);
	}
	if (rc == 0)
		rc = io->unlink(io, wal->dirfd, name);
	if (rc == 0)
		atomic_fetch_sub(&wal->bytes, st.size);
	return rc;
}

int wal_cut(struct wal *wal, struct io *io, uint64_t segment)
{
	uint64_t end = VG_MIN(segment, load(&wal->segment));
	struct lowest low = {.from = 1, .number = end};
	bool is_changed = false;
	int rc = io->list(io, wal->dirfd, note_lowest, &low);

	while (rc == 0 && low.number < end) { /* ends: number grows to end */
		rc = segment_unlink(wal, io, low.number);
		if (rc < 0)
			break;
		is_changed = true;
		low = (struct lowest){.from = low.number + 1, .number = end};
		rc = io->list(io, wal->dirfd, note_lowest, &low);
		assert(low.number >= low.from);
	}
	return rc == 0 && is_changed ? io->sync(io, wal->dirfd) : rc;
}

void wal_stat(const struct wal *wal, struct wal_stat *out)
{
	/* The later ones first: durable <= written <= appended, always. */
	out->durable_lsn = load(&wal->durable_lsn);
	out->written_lsn = load(&wal->written_lsn);
	out->appended_lsn = load(&wal->appended_lsn);
	out->syncs = load(&wal->syncs);
	out->bytes = load(&wal->bytes);
}

void wal_close(struct wal *wal)
{
	if (!wal)
		return;
	if (wal->fd >= 0) {
		if (!wal->failed)
			sync_written(wal);
		wal->io->close(wal->io, wal->fd);
	}
	uring_close(wal->uring);
	free(wal->buf);
	free(wal);
}
