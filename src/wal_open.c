/* SPDX-License-Identifier: Apache-2.0 */
/* wal_open.c: reading the log and finding its end; wal.c's head has the rules. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/uring.h"
#include "src/wal_int.h"

#define WINDOW (1u << 20) /* bytes read at once */
#define REMADE "new" /* a segment that is not finished; not one's name */

/* A file being read, and some of its bytes. */
struct segment {
	uint64_t number;
	int fd;
	uint64_t size;
	uint64_t links;
	bool has_header; /* condition 1 holds, or it is not there at all */
	struct wal_header header;
};

/* One open, from the first header to the last cut. */
struct scan {
	struct wal *wal;
	wal_each_fn *each;
	void *ctx;
	struct wal_report *rep;
	struct wal_place from; /* lsn 0: the log's begin */
	uint64_t reach;
	bool is_copy, is_read_only, takes_damaged;
	uint64_t last;	/* the highest number of a segment; 0: none */
	uint64_t lsn;	/* the next expected */
	struct segment seg;

	/* Where in seg, and with which lsn, the first frame begins that no
	 * later one says was ever on stable storage. */
	uint64_t unsure_at, unsure_lsn;

	uint8_t *window; /* bytes of seg from window_at on */
	uint64_t window_at;
	size_t window_len;
	size_t window_cap;
};

/* The sentence of the report, and the rc that goes with it. */
static int VG_PRINTF(3, 4)
	refuse(struct scan *scan, int rc, const char *fmt, ...)
{
	va_list ap;

	assert(rc < 0);
	va_start(ap, fmt);
	vsnprintf(scan->rep->error, sizeof(scan->rep->error), fmt, ap);
	va_end(ap);
	return rc;
}

/* The log ends before the place that it is opened at. */
static int refuse_short(struct scan *scan, const char *what)
{
	char name[WAL_NAME_MAX];

	wal_name_format(scan->from.segment, name);
	return refuse(scan, -VG_ECORRUPT,
		"wal/%s %s: the manifest names a later place, change %" PRIu64
		" at byte %" PRIu64 "; nothing was changed, restore this file "
		"from a copy",
		name, what, scan->from.lsn, scan->from.offset);
}

/* It has the place, but with other changes than were there. */
static int refuse_other(struct scan *scan, uint64_t lsn, uint64_t offset)
{
	char name[WAL_NAME_MAX];

	wal_name_format(scan->from.segment, name);
	return refuse(scan, -VG_ECORRUPT,
		"wal/%s has change %" PRIu64 " at byte %" PRIu64
		", the manifest names change %" PRIu64 " at byte %" PRIu64
		": they are of different copies; nothing was changed, restore "
		"the directory as a whole",
		name, lsn, offset, scan->from.lsn, scan->from.offset);
}

/*
 * Borrows bytes of the segment until the next call; the caller knows that the
 * file is that long.
 */
static int window_get(
	struct scan *scan, uint64_t offset, size_t len, const uint8_t **out)
{
	struct io *io = scan->wal->io;

	assert(offset + len <= scan->seg.size);
	if (offset < scan->window_at ||
		offset + len > scan->window_at + scan->window_len) {
		uint64_t left = scan->seg.size - offset;
		size_t want = VG_MAX(len, (size_t)VG_MIN(WINDOW, left));

		if (want > scan->window_cap) {
			uint8_t *bytes = realloc(scan->window, want);

			if (!bytes)
				return -ENOMEM;
			scan->window = bytes;
			scan->window_cap = want;
		}
		scan->window_len = 0;

		ssize_t n = io->read(
			io, scan->seg.fd, scan->window, want, offset);

		if (n < 0)
			return (int)n;
		scan->window_at = offset;
		scan->window_len = (size_t)n;
		if ((size_t)n < len)
			return -EIO; /* shorter than its size */
	}
	*out = scan->window + (offset - scan->window_at);
	return 0;
}

/*
 * Conditions 3 and 4 of the frame at offset. 1: they hold, and its payload is
 * borrowed until the next call; 0: not; or an errno.
 */
static int frame_get(struct scan *scan, uint64_t offset, struct wire_frame *f,
	const uint8_t **payload)
{
	struct wire_salt salt = scan->wal->salt;
	const uint8_t *bytes;
	int rc;

	assert(offset >= WAL_HEADER && offset % 8 == 0);
	salt.segment = scan->seg.number;
	if (offset > scan->seg.size || scan->seg.size - offset < WIRE_HEAD)
		return 0;
	rc = window_get(scan, offset, WIRE_HEAD, &bytes);
	if (rc < 0)
		return rc;
	if (!wire_head_decode(bytes, f) ||
		scan->seg.size - offset < wire_frame_size(f->len))
		return 0;
	rc = window_get(scan, offset, wire_frame_size(f->len), &bytes);
	if (rc < 0)
		return rc;
	if (!wire_frame_check(f, &salt, bytes))
		return 0;
	*payload = bytes + WIRE_HEAD;
	return 1;
}

/*
 * Rule 8: does a frame at offset or behind it say that lsn was durable? lsn 0:
 * is there any frame? Only heads whose lsn could stand here have a checksum
 * computed, and what lies within a valid frame is passed over: bytes of a
 * record that look like heads are met in a broken frame only.
 */
static int evidence_find(struct scan *scan, uint64_t offset, uint64_t lsn)
{
	uint64_t size = scan->seg.size;
	uint64_t most = lsn > 0 ? lsn + size / WIRE_HEAD : UINT64_MAX;

	while (offset + WIRE_HEAD <= size) { /* ends: offset grows */
		const uint8_t *head, *payload;
		struct wire_frame f;
		int rc = window_get(scan, offset, WIRE_HEAD, &head);

		if (rc < 0)
			return rc;
		offset += 8;
		if (!wire_head_decode(head, &f) || f.lsn < lsn || f.lsn > most)
			continue;
		rc = frame_get(scan, offset - 8, &f, &payload);
		if (rc < 0 || (rc > 0 && f.durable >= lsn))
			return rc;
		if (rc > 0)
			offset += wire_frame_size(f.len) - 8;
	}
	return 0;
}

static void segment_close(struct scan *scan)
{
	struct io *io = scan->wal->io;

	if (scan->seg.fd >= 0)
		io->close(io, scan->seg.fd);
	scan->seg.fd = -1;
	scan->window_len = 0;
}

/* Opens for reading and looks at the header; what it lacks is the caller's
 * to judge, but for what no crash leaves behind. */
static int segment_open(struct scan *scan, uint64_t number)
{
	struct io *io = scan->wal->io;
	char name[WAL_NAME_MAX];
	struct io_stat st;
	const uint8_t *bytes;

	assert(scan->seg.fd < 0);
	wal_name_format(number, name);
	int fd = io->open(io, scan->wal->dirfd, name, O_RDONLY);

	if (fd == -ENOENT && number == scan->from.segment)
		return refuse_short(scan, "is missing");
	if (fd == -ENOENT)
		return refuse(scan, -VG_ECORRUPT,
			"wal/%s is missing, but later segments are there: "
			"copy it back, or restore the directory as a whole",
			name);
	if (fd < 0)
		return refuse(scan, fd, "wal/%s cannot be opened: %s", name,
			strerror(-fd));
	scan->seg = (struct segment){.number = number, .fd = fd};
	int rc = io->stat(io, fd, &st);

	if (rc < 0)
		return rc;
	scan->seg.size = st.size;
	scan->seg.links = st.links;
	if (st.size < WAL_HEADER)
		return 0;
	rc = window_get(scan, 0, WAL_HEADER, &bytes);
	if (rc < 0)
		return rc;

	struct wal_header *h = &scan->seg.header;

	if (!wal_header_decode(bytes, h) || h->first_lsn == 0)
		return 0;
	if (h->version != WAL_VERSION)
		return refuse(scan, -VG_EFORMAT,
			"wal/%s has format version %" PRIu32
			", this program knows %d: use a later one",
			name, h->version, WAL_VERSION);
	if (memcmp(h->uuid, scan->wal->salt.uuid, sizeof(h->uuid)) != 0)
		return refuse(scan, -VG_ECORRUPT,
			"wal/%s belongs to another store: its uuid is not the "
			"one in FORMAT",
			name);
	if (h->segment != number)
		return refuse(scan, -VG_ECORRUPT,
			"wal/%s is segment %" PRIu64
			": files were swapped or renamed; give it back its "
			"name",
			name, h->segment);
	scan->seg.has_header = true;
	return 0;
}

/* The highest number among the names that are a segment's. */
static int note_name(void *ctx, const char *name)
{
	struct scan *scan = ctx;
	uint64_t number;

	if (wal_name_parse(name, &number))
		scan->last = VG_MAX(scan->last, number);
	return 0;
}

/* Hands one frame to the caller. */
static int replay_frame(struct scan *scan, const struct wire_frame *f,
	const uint8_t *payload, uint64_t offset)
{
	struct wal_frame frame = {
		.lsn = f->lsn,
		.type = f->type,
		.payload = payload,
		.len = f->len,
		.segment = scan->seg.number,
		.offset = offset,
	};
	char name[WAL_NAME_MAX];

	if (f->type == WAL_NEXT) {
		wal_name_format(scan->seg.number + 1, name);
		return refuse(scan, -VG_ECORRUPT,
			"wal/%s is missing or not whole, but segment %" PRIu64
			" says that it was begun: copy it back, or restore "
			"the directory as a whole",
			name, scan->seg.number);
	}
	if (f->type > WAL_NEXT) {
		wal_name_format(scan->seg.number, name);
		return refuse(scan, -VG_EFORMAT,
			"wal/%s has a frame of type %u at byte %" PRIu64
			", which this program does not know: use a later one",
			name, f->type, offset);
	}
	int rc = scan->each(scan->ctx, &frame);

	assert(rc <= 0);
	if (rc < 0)
		return rc;
	assert(scan->lsn == f->lsn);
	if (f->durable + 1 == f->lsn) { /* it was the first after a sync */
		scan->unsure_at = offset;
		scan->unsure_lsn = f->lsn;
	}
	scan->lsn++;
	scan->rep->frames++;
	scan->rep->last_lsn = f->lsn;
	return 0;
}

/*
 * Replays the frames of the segment from offset on, below lsn `limit` (0: all),
 * that are part of the log. *end is the offset behind the last.
 */
static int replay_segment(
	struct scan *scan, uint64_t offset, uint64_t limit, uint64_t *end)
{
	while (scan->lsn != limit) { /* ends: offset grows up to the size */
		const uint8_t *payload;
		struct wire_frame f;
		int rc = frame_get(scan, offset, &f, &payload);

		if (rc == 0 || (rc > 0 && f.lsn != scan->lsn))
			break;
		if (rc > 0 && f.type == WAL_NEXT && scan->is_copy) {
			scan->rep->is_begun = true;
			break;
		}
		if (rc > 0)
			rc = replay_frame(scan, &f, payload, offset);
		if (rc < 0)
			return rc;
		offset += wire_frame_size(f.len);
	}
	assert(limit == 0 || scan->lsn <= limit);
	*end = offset;
	return 0;
}

static int refuse_middle(struct scan *scan, uint64_t offset)
{
	char name[WAL_NAME_MAX];
	bool is_short = offset >= scan->seg.size;

	wal_name_format(scan->seg.number, name);
	return refuse(scan, -VG_ECORRUPT,
		"wal/%s %s at byte %" PRIu64 ": change %" PRIu64
		" was on stable storage and is not whole, and later ones are "
		"there; nothing was changed, restore this file from a copy",
		name, is_short ? "ends too early" : "is damaged", offset,
		scan->lsn);
}

/* The number and first lsn of a later segment that has a header; 0: none. */
struct next {
	uint64_t first_lsn;
	bool is_torn; /* there is one without a header */
	uint64_t torn_size;
};

/* Looks ahead at segment `number`, which may not have been finished. */
static int next_check(struct scan *scan, uint64_t number, struct next *out)
{
	char name[WAL_NAME_MAX];

	*out = (struct next){0};
	if (number > scan->last)
		return 0;
	int rc = segment_open(scan, number);

	if (rc < 0)
		goto close_segment;
	if (scan->seg.has_header) {
		out->first_lsn = scan->seg.header.first_lsn;
		goto close_segment;
	}
	wal_name_format(number, name);
	rc = number == scan->last ? evidence_find(scan, WAL_HEADER, 0) : 1;
	if (rc > 0)
		rc = refuse(scan, -VG_ECORRUPT,
			"the header of wal/%s is damaged (byte 0), and changes "
			"are behind it; nothing was changed, restore this file "
			"from a copy",
			name);
	out->is_torn = true;
	out->torn_size = scan->seg.size;
close_segment:
	segment_close(scan);
	return rc;
}

/* Does the segment that stands open have the place to begin at? */
static int place_check(struct scan *scan)
{
	const struct wal_place *from = &scan->from;
	uint64_t first = scan->seg.header.first_lsn;
	const uint8_t *payload;
	struct wire_frame f;

	assert(scan->seg.number == from->segment);
	if (!scan->seg.has_header)
		return refuse_short(scan, "has no whole header");
	if (scan->seg.size < from->offset)
		return refuse_short(scan, "ends too early");
	if (first > from->lsn ||
		(first == from->lsn) != (from->offset == WAL_HEADER) ||
		from->lsn - first > (from->offset - WAL_HEADER) / WIRE_HEAD)
		return refuse_other(scan, first, WAL_HEADER);

	int rc = frame_get(scan, from->offset, &f, &payload);

	if (rc > 0 && f.lsn != from->lsn)
		return refuse_other(scan, f.lsn, from->offset);
	return VG_MIN(rc, 0);
}

/* The place that the caller names, in the segment that has its frame. */
static int place_find(struct scan *scan, struct wal_place *at)
{
	const struct wal_place *from = &scan->from;
	struct next next;

	if (from->lsn > INT64_MAX || from->segment == 0 ||
		from->segment >= UINT64_MAX - 1 || from->offset < WAL_HEADER ||
		from->offset % 8 != 0)
		return refuse(scan, -VG_ECORRUPT,
			"the manifest names byte %" PRIu64 " of segment %" PRIu64
			" of wal/, where no change can be: restore the "
			"directory from a copy",
			from->offset, from->segment);
	int rc = next_check(scan, from->segment + 1, &next);

	if (rc == 0 && next.first_lsn == from->lsn) {
		*at = (struct wal_place){
			from->lsn, from->segment + 1, WAL_HEADER};
		return 0;
	}
	if (rc == 0)
		rc = segment_open(scan, from->segment);
	if (rc == 0)
		rc = place_check(scan);
	segment_close(scan);
	if (rc == 0)
		*at = *from;
	return rc;
}

/* The first segment; its number is 0 if there is none, or a torn one. */
static int first_find(
	struct scan *scan, struct wal_place *at, struct next *torn)
{
	struct next next;
	int rc = next_check(scan, 1, &next);

	if (rc == 0 && next.first_lsn > 1)
		rc = refuse(scan, -VG_ECORRUPT,
			"wal/0001.wal begins with change %" PRIu64
			", not with the first",
			next.first_lsn);
	if (rc < 0)
		return rc;
	*at = (struct wal_place){1, next.first_lsn > 0 ? 1 : 0, WAL_HEADER};
	*torn = next;
	return 0;
}

/*
 * Segment by segment up to the last that has a header, which stays open with
 * *end, the offset behind its last frame. *torn: one without a header follows.
 */
static int replay(struct scan *scan, uint64_t *end, struct next *torn)
{
	struct wal_place at = {0};
	struct next next;
	int rc = scan->from.lsn > 0 ? place_find(scan, &at) :
				      first_find(scan, &at, torn);

	if (rc < 0 || at.segment == 0)
		return rc;
	scan->wal->first = at.segment;
	for (;;) { /* ends: a next segment has a higher number, up to last */
		assert(at.lsn == scan->lsn);
		rc = next_check(scan, at.segment + 1, &next);
		if (rc == 0)
			rc = segment_open(scan, at.segment);
		if (rc < 0)
			return rc;
		if (next.first_lsn > 0 && next.first_lsn < at.lsn)
			return refuse(scan, -VG_ECORRUPT,
				"segment %" PRIu64 " of wal/ begins with "
				"change %" PRIu64 ", and the one before it "
				"has change %" PRIu64 ": files were mixed, "
				"restore the directory as a whole",
				at.segment + 1, next.first_lsn, at.lsn);
		scan->unsure_at = at.offset;
		scan->unsure_lsn = at.lsn;
		scan->rep->last_segment = at.segment;
		rc = replay_segment(scan, at.offset, next.first_lsn, end);
		if (rc < 0)
			return rc;
		if (next.first_lsn == 0)
			break;
		if (scan->lsn != next.first_lsn)
			return refuse_middle(scan, *end);
		atomic_fetch_add(&scan->wal->bytes, scan->seg.size);
		segment_close(scan);
		at = (struct wal_place){
			scan->lsn, at.segment + 1, WAL_HEADER};
	}
	*torn = next;
	return *end < scan->seg.size ? evidence_find(scan, *end, scan->lsn) : 0;
}

/* Removes a segment that was never finished. */
static int torn_unlink(
	struct scan *scan, uint64_t number, const struct next *torn)
{
	struct wal *wal = scan->wal;
	char name[WAL_NAME_MAX];

	assert(torn->is_torn);
	wal_name_format(number, name);
	int rc = wal->io->unlink(wal->io, wal->dirfd, name);

	if (rc == 0)
		rc = wal->io->sync(wal->io, wal->dirfd);
	if (rc == 0 && scan->rep->cut_len == 0 && torn->torn_size > 0) {
		scan->rep->cut_segment = number;
		scan->rep->cut_offset = 0;
		scan->rep->cut_len = torn->torn_size;
	}
	return rc;
}

/* Writes the frames that may not be safe in their place again. */
static int frames_rewrite(struct scan *scan, int fd, uint64_t end)
{
	struct io *io = scan->wal->io;
	uint64_t offset = scan->unsure_at;
	int rc = 0;

	assert(offset >= WAL_HEADER && offset <= end);
	while (offset < end && rc == 0) { /* ends: offset grows to end */
		size_t len = (size_t)VG_MIN((uint64_t)WINDOW, end - offset);
		const uint8_t *bytes;

		rc = window_get(scan, offset, len, &bytes);
		if (rc == 0)
			rc = io->write(io, fd, bytes, len, offset, false);
		offset += len;
	}
	return rc;
}

/* Writes those frames into another file, from `to` on, as its segment's. */
static int frames_copy(struct scan *scan, int fd, uint64_t segment,
	uint64_t end, uint64_t *to)
{
	struct wire_salt salt = scan->wal->salt;
	struct io *io = scan->wal->io;
	uint64_t offset = scan->unsure_at;
	int rc = 0;

	salt.segment = segment;
	while (offset < end && rc == 0) { /* ends: offset grows to end */
		const uint8_t *payload;
		struct wire_frame f;
		size_t size;

		rc = frame_get(scan, offset, &f, &payload);
		if (rc <= 0)
			return rc < 0 ? rc : -EIO; /* it changed meanwhile */
		size = wire_frame_size(f.len);

		/* In the window, whose bytes are not looked at again. */
		uint8_t *frame = scan->window + (offset - scan->window_at);

		assert(frame + WIRE_HEAD == payload);
		wire_frame_encode(&f, &salt, frame);
		rc = io->write(io, fd, frame, size, *to, false);
		offset += size;
		*to += size;
	}
	return rc;
}

/*
 * Makes a segment with the frames that may not be safe, or with none, under
 * another name; once it is on stable storage it gets its own, in place of the
 * file that has it. So each moment has one of the two, whole.
 */
static int segment_remake(
	struct scan *scan, uint64_t segment, uint64_t first_lsn, uint64_t end)
{
	struct wal *wal = scan->wal;
	struct io *io = wal->io;
	char name[WAL_NAME_MAX];
	uint64_t to = WAL_HEADER;
	int fd, rc;

	/* One that a crash left may have a second name, in a copy. */
	rc = io->unlink(io, wal->dirfd, REMADE);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	fd = io->open(io, wal->dirfd, REMADE, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	wal_name_format(segment, name);
	rc = wal_header_write(wal, fd, segment, first_lsn);
	if (rc == 0)
		rc = frames_copy(scan, fd, segment, end, &to);
	if (rc == 0)
		rc = io->sync(io, fd);
	if (rc == 0)
		rc = io->rename(io, wal->dirfd, REMADE, name);
	if (rc < 0) {
		io->close(io, fd);
		io->unlink(io, wal->dirfd, REMADE);
		return rc;
	}
	wal->fd = fd;
	wal->end = to;
	wal->salt.segment = segment;
	return io->sync(io, wal->dirfd);
}

/* Cuts what is behind `end` and makes the rest safe, in the file itself. */
static int segment_mend(struct scan *scan, uint64_t end)
{
	struct wal *wal = scan->wal;
	struct io *io = wal->io;
	char name[WAL_NAME_MAX];
	int rc;

	wal_name_format(scan->seg.number, name);
	rc = io->open(io, wal->dirfd, name, O_RDWR);
	if (rc < 0)
		return rc;
	wal->fd = rc;
	wal->end = end;
	wal->salt.segment = scan->seg.number;
	rc = frames_rewrite(scan, wal->fd, end);
	if (rc == 0 && scan->seg.size > end)
		rc = io->truncate(io, wal->fd, end);
	return rc == 0 ? io->sync(io, wal->fd) : rc;
}

/* Is the header of the segment that stands open safe, and its name? Frames are
 * written only when both are, and places kept. */
static bool is_begun(const struct scan *scan, uint64_t end)
{
	return end > WAL_HEADER || scan->from.segment == scan->seg.number;
}

/*
 * Stands behind `end` of the segment that stands open, ready to append; the
 * frames that are there are durable when this returns. What a sync that failed
 * once left in the page cache looks like what it wrote, and the next sync does
 * nothing for it: so all that may not be safe is written again. A file with
 * other names is left as it is and followed by a segment with those frames.
 */
static int stand_ready(struct scan *scan, uint64_t end)
{
	struct wal *wal = scan->wal;
	struct segment *seg = &scan->seg;
	uint64_t bytes = 0;
	int rc;

	assert(seg->fd >= 0 && seg->has_header);
	assert(end >= WAL_HEADER && end <= seg->size);
	if (seg->size > end) {
		scan->rep->cut_segment = seg->number;
		scan->rep->cut_offset = end;
		scan->rep->cut_len = seg->size - end;
	}
	if (!is_begun(scan, end)) {
		rc = segment_remake(scan, seg->number, scan->lsn, end);
	} else if (seg->links > 1) {
		bytes = seg->size;
		rc = segment_remake(
			scan, seg->number + 1, scan->unsure_lsn, end);
	} else {
		rc = segment_mend(scan, end);
	}
	if (rc < 0)
		return rc;
	segment_close(scan);
	atomic_store(&wal->appended_lsn, scan->lsn - 1);
	atomic_store(&wal->written_lsn, scan->lsn - 1);
	atomic_store(&wal->durable_lsn, scan->lsn - 1);
	atomic_fetch_add(&wal->bytes, bytes + wal->end);
	atomic_store(&wal->segment, wal->salt.segment);
	wal->allocated = wal->end;
	wal_space_take(wal, wal->end + WAL_RESERVE, true); /* or at the first append */
	return 0;
}

/* Leaves everything as it is, and takes no frame: rc is what replay gave. */
static int stand_still(
	struct scan *scan, int rc, uint64_t end, const struct next *torn)
{
	struct wal_report *rep = scan->rep;
	struct wal *wal = scan->wal;

	assert(scan->is_read_only && rc <= 0);
	if (rc < 0 && (rc == -ENOMEM || !scan->takes_damaged))
		return rc;
	if (rc < 0 && !rep->error[0])
		refuse(scan, rc, "segment %" PRIu64 " of wal/ cannot be read: %s",
			scan->seg.number, strerror(-rc));
	rep->is_damaged = rc < 0;
	if (rc == 0 && scan->seg.fd >= 0 && scan->seg.size > end) {
		rep->cut_segment = scan->seg.number;
		rep->cut_offset = end;
		rep->cut_len = scan->seg.size - end;
	} else if (rc == 0 && torn->is_torn) {
		rep->cut_segment = scan->last;
		rep->cut_len = torn->torn_size;
	}
	assert(scan->lsn > 0 && wal->fd < 0);
	atomic_store(&wal->appended_lsn, scan->lsn - 1);
	atomic_store(&wal->written_lsn, scan->lsn - 1);
	atomic_store(&wal->durable_lsn, scan->lsn - 1);
	wal->failed = true;
	return 0;
}

static int scan_run(struct scan *scan)
{
	struct wal *wal = scan->wal;
	struct next torn = {0};
	uint64_t end = 0;
	int rc = wal->io->list(wal->io, wal->dirfd, note_name, scan);

	if (rc == 0)
		rc = replay(scan, &end, &torn);
	if (rc > 0)
		rc = refuse_middle(scan, end);
	if (rc == 0 && scan->lsn < scan->reach)
		rc = refuse(scan, -VG_ECORRUPT,
			"the log ends with change %" PRIu64 ", but a manifest "
			"knows of change %" PRIu64 ": segments of wal/ are "
			"missing, copy them back, or restore the directory as "
			"a whole",
			scan->lsn - 1, scan->reach - 1);
	if (scan->is_read_only)
		return stand_still(scan, rc, end, &torn);
	if (rc == 0 && torn.is_torn)
		rc = torn_unlink(scan, scan->last, &torn);
	if (rc < 0)
		return rc;
	if (scan->seg.fd < 0)
		return wal_segment_new(wal, 1, 1);
	return stand_ready(scan, end);
}

/* Which disk: the caller's, io_uring's, or the plain calls. */
static void io_choose(struct wal *wal, const struct wal_config *cfg)
{
	io_init(&wal->plain);
	wal->io = cfg->io ? cfg->io : &wal->plain;
	if (!cfg->io && !cfg->no_uring && !cfg->is_read_only &&
		uring_open(&wal->uring) == 0)
		wal->io = uring_get_io(wal->uring);
}

int wal_open(const struct wal_config *cfg, wal_each_fn *each, void *ctx,
	struct wal_report *rep, struct wal **out)
{
	*rep = (struct wal_report){0};
	struct wal *wal = calloc(1, sizeof(*wal));

	assert(cfg->dirfd >= 0 && each);
	if (!wal)
		return -ENOMEM;
	wal->dirfd = cfg->dirfd;
	wal->fd = -1;
	wal->owed = cfg->owed;
	wal->segment_size =
		cfg->segment_size ? cfg->segment_size : WAL_SEGMENT_SIZE;
	wal->rotate_at = wal->segment_size;
	memcpy(wal->salt.uuid, cfg->uuid, sizeof(wal->salt.uuid));
	io_choose(wal, cfg);
	rep->uring = wal->uring;

	struct scan scan = {
		.wal = wal,
		.each = each,
		.ctx = ctx,
		.rep = rep,
		.lsn = 1,
		.seg = {.fd = -1},
		.reach = cfg->reach,
		.is_copy = cfg->is_copy,
		.is_read_only = cfg->is_read_only,
		.takes_damaged = cfg->takes_damaged,
	};

	assert(cfg->is_read_only || !cfg->takes_damaged);
	if (cfg->from.lsn > 0) { /* else its other fields say nothing */
		scan.from = cfg->from;
		scan.lsn = cfg->from.lsn;
		rep->last_lsn = cfg->from.lsn - 1;
	}
	int rc = scan_run(&scan);

	segment_close(&scan);
	free(scan.window);
	if (rc < 0) {
		wal->failed = true; /* nothing is left to sync */
		wal_close(wal);
		return rc;
	}
	*out = wal;
	return 0;
}

int wal_check_place(const struct wal_config *cfg, char why[256])
{
	struct wal wal = {.dirfd = cfg->dirfd, .fd = -1};
	struct wal_report rep = {0};
	struct scan scan = {
		.wal = &wal,
		.rep = &rep,
		.from = cfg->from,
		.seg = {.fd = -1},
	};
	struct wal_place at;

	assert(cfg->dirfd >= 0 && cfg->from.lsn > 0);
	memcpy(wal.salt.uuid, cfg->uuid, sizeof(wal.salt.uuid));
	io_init(&wal.plain);
	wal.io = cfg->io ? cfg->io : &wal.plain;
	int rc = wal.io->list(wal.io, wal.dirfd, note_name, &scan);

	if (rc == 0)
		rc = place_find(&scan, &at);
	segment_close(&scan);
	free(scan.window);
	if (rc < 0)
		snprintf(why, 256, "%s",
			rep.error[0] ? rep.error : strerror(-rc));
	return rc;
}
