/* SPDX-License-Identifier: Apache-2.0 */
/*
 * colfile_pen.c: the files of the part that grows, while it is written.
 *
 * Between an append and the next sync they stay open, because an error of the
 * write-back is reported to the descriptors that were open then; afterwards
 * they are closed, so that a column that rests costs none. A file with another
 * link is not opened to be written, and one that gets a link is not written
 * any more: it belongs to a copy, too.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "src/colfile_int.h"

/*
 * Space is taken in steps of an eighth of the file: few enough to be rare,
 * small enough to find place. What is left of it when a small file is synced
 * is given back, so that many small columns do not hold a
 * multiple of what they have.
 */
#define STEP_MIN (1u << 20)
#define STEP_MAX (16u << 20)

void colfile_pen_close(struct colfile *cf)
{
	struct io *io = cf->cfg.io;

	if (!cf->pen.piece)
		return;
	io->close(io, cf->pen.rows.fd);
	io->close(io, cf->pen.sums.fd);
	cf->pen = (struct colfile_pen){0};
}

/* Opens a file of a part that grows. 1: it has another link. */
static int file_open(struct colfile *cf, uint32_t number, const char *suffix,
	uint64_t used, struct colfile_file *out)
{
	struct io *io = cf->cfg.io;
	struct io_stat st;
	int fd = colfile_file_open(cf, number, suffix, O_RDWR);

	if (fd < 0)
		return fd;
	int rc = io->stat(io, fd, &st);

	if (rc == 0 && st.links > 1)
		rc = 1;
	else if (rc == 0 && st.size < used)
		rc = -VG_ECORRUPT; /* it was cut since */
	if (rc != 0) {
		io->close(io, fd);
		return rc;
	}
	*out = (struct colfile_file){.fd = fd, .taken = st.size};
	return 0;
}

/* Opens both files of the tip. 1: one has another link. */
static int pen_open(struct colfile *cf, const struct colfile_tip *tip)
{
	const struct colfile_part *part = &tip->piece->next;
	struct colfile_pen pen = {
		.piece = tip->piece, .full = colfile_len_full(cf, part->first)};

	assert(!cf->pen.piece);
	int rc = file_open(
		cf, part->number, "", colfile_rows_used(cf, part), &pen.rows);

	if (rc != 0)
		return rc;
	rc = file_open(
		cf, part->number, ".sum", colfile_sums_used(cf, part),
		&pen.sums);
	if (rc != 0) {
		cf->cfg.io->close(cf->cfg.io, pen.rows.fd);
		return rc;
	}
	cf->pen = pen;
	return 0;
}

/* Has a file that stands open got another link since? 1: yes. */
static int pen_check(struct colfile *cf)
{
	struct io *io = cf->cfg.io;
	struct io_stat rows, sums;

	assert(cf->pen.piece);
	int rc = io->stat(io, cf->pen.rows.fd, &rows);

	if (rc == 0)
		rc = io->stat(io, cf->pen.sums.fd, &sums);
	if (rc == 0)
		rc = rows.links > 1 || sums.links > 1;
	return rc;
}

int colfile_pen_stand(struct colfile *cf, const struct colfile_tip *tip)
{
	assert(!cf->pen.piece || cf->pen.piece == tip->piece);
	return cf->pen.piece ? pen_check(cf) : pen_open(cf, tip);
}

/* Gives back the space behind the end of both files if it is much beside what
 * they have: not of files that a copy has, too. If it fails, no loss. */
static void space_give(struct colfile *cf)
{
	struct io *io = cf->cfg.io;
	struct colfile_pen *pen = &cf->pen;
	uint64_t rows = colfile_rows_used(cf, &pen->piece->next);
	uint64_t sums = colfile_sums_used(cf, &pen->piece->next);

	assert(pen->rows.taken >= rows && pen->sums.taken >= sums);
	if (pen->rows.taken - rows <= rows / 4 || pen_check(cf) != 0)
		return;
	io->truncate(io, pen->rows.fd, rows);
	io->truncate(io, pen->sums.fd, sums);
}

int colfile_pen_sync(struct colfile *cf)
{
	struct colfile_pen *pen = &cf->pen;
	struct io *io = cf->cfg.io;
	int rc = 0;

	assert(!cf->failed);
	if (!pen->piece)
		return 0;
	space_give(cf);
	if (pen->is_dirty) {
		rc = io->sync(io, pen->rows.fd);
		if (rc == 0)
			rc = io->sync(io, pen->sums.fd);
	}
	if (rc < 0)
		cf->failed = io_sync_error(rc);
	colfile_pen_close(cf);
	return cf->failed;
}

/* Takes space up to `target` at least and a step at best. */
static int space_take(struct colfile *cf, struct colfile_file *file,
	uint64_t target, uint64_t step)
{
	struct io *io = cf->cfg.io;

	if (cf->cannot_allocate || target <= file->taken)
		return 0;

	uint64_t need = VG_ALIGN_UP(target - file->taken, 4096);
	uint64_t len = VG_MAX(need, step);

	for (;; len = VG_MAX(len / 2, need)) { /* ends: len sinks to need */
		int rc = io->allocate(io, file->fd, file->taken, len);

		if (rc == 0) {
			file->taken += len;
			assert(file->taken >= target);
			return 0;
		}
		if (rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL) {
			cf->cannot_allocate = true;
			return 0;
		}
		if (!io_is_full(rc) || len == need)
			return rc;
	}
}

int colfile_pen_take(struct colfile *cf, uint64_t len)
{
	uint64_t step = VG_MIN(VG_MAX(len / 8, STEP_MIN), STEP_MAX);

	assert(cf->pen.piece && len <= cf->pen.full);
	step = VG_MIN(step, cf->pen.full - len);
	int rc = space_take(cf, &cf->pen.rows, COLFILE_HEADER + len, step);

	if (rc < 0)
		return rc;
	return space_take(cf, &cf->pen.sums,
		COLFILE_SUM_HEADER + colfile_whole(len) * 8,
		VG_MAX(step / 512, 4096));
}

/* The highest number of a part. */
struct numbers {
	const char *column;
	uint32_t last;
};

static int note_name(void *ctx, const char *name)
{
	struct numbers *numbers = ctx;
	uint32_t number;

	if (colfile_is_part(name, numbers->column, &number))
		numbers->last = VG_MAX(numbers->last, number);
	return 0;
}

int colfile_number_find(struct colfile *cf, uint32_t *number)
{
	struct numbers numbers = {
		.column = cf->cfg.name, .last = cf->last_number};
	int rc = colfile_dir_list(cf, note_name, &numbers);

	if (rc < 0)
		return rc;
	if (numbers.last >= UINT32_MAX - 1)
		return -EFBIG;
	*number = numbers.last + 1;
	return 0;
}

/* Makes a file of part `number`, which nobody has, and opens it. */
static int file_new(struct colfile *cf, uint32_t number, const char *suffix,
	struct colfile_file *out)
{
	int fd = colfile_file_open(
		cf, number, suffix, O_RDWR | O_CREAT | O_EXCL);

	if (fd < 0)
		return fd;
	*out = (struct colfile_file){.fd = fd};
	cf->has_new_names = true;
	return 0;
}

void colfile_pen_drop(struct colfile *cf, const struct colfile_piece *piece)
{
	if (cf->pen.piece == piece)
		colfile_pen_close(cf);
	/* What stays if this fails is below the number of the next part. */
	colfile_file_unlink(cf, piece->next.number, ".sum");
	colfile_file_unlink(cf, piece->next.number, "");
}

int colfile_pen_new(struct colfile *cf, const struct colfile_piece *piece)
{
	uint8_t header[COLFILE_HEADER], sum_header[COLFILE_SUM_HEADER];
	const struct colfile_part *part = &piece->next;
	struct colfile_pen pen = {.piece = piece,
		.full = colfile_len_full(cf, part->first),
		.is_dirty = true};
	struct io *io = cf->cfg.io;

	assert(!cf->pen.piece && part->n == 0);
	int rc = file_new(cf, part->number, "", &pen.rows);

	if (rc < 0)
		return rc;
	rc = file_new(cf, part->number, ".sum", &pen.sums);
	if (rc < 0)
		goto close_rows;
	cf->pen = pen;
	rc = colfile_pen_take(cf, 0);
	if (rc < 0)
		goto drop_pen;
	colfile_header_encode(cf, part->number, part->first, header);
	colfile_sum_header_encode(cf, header, part->number, sum_header);
	rc = io->write(io, pen.rows.fd, header, sizeof(header), 0, false);
	if (rc == 0)
		rc = io->write(io, pen.sums.fd, sum_header,
			sizeof(sum_header), 0, false);
	if (rc < 0)
		goto drop_pen;
	return 0;
drop_pen:
	colfile_pen_drop(cf, piece);
	return rc;
close_rows:
	io->close(io, pen.rows.fd);
	colfile_file_unlink(cf, part->number, "");
	return rc;
}
