/* SPDX-License-Identifier: Apache-2.0 */
/*
 * colfile.c: writing a column on disk; see colfile.h, and colfile_int.h for
 * what readers may see of it.
 *
 * A part is written at its end only, by large writes straight from the
 * caller's rows; the sums of the blocks that became whole follow in one more.
 * Space is taken before the first byte, so that a full disk is met while
 * nothing has changed. Between an append and the next sync the part's files
 * stay open, because an error of the write-back is reported to the descriptors
 * that were open then; afterwards they are closed, so that a column that rests
 * costs none. A part that is full is synced before the next is begun.
 *
 * Before each append both files are looked at: with a second link they belong
 * to a copy, too, and the rows go into a new part. The number of a new part is
 * above all in the directory, those that no manifest knows included: a file
 * that was left by a crash is never taken for one's own.
 */
#include "src/colfile_int.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "src/wire.h"

/*
 * Space is taken in steps of an eighth of the file: few enough to be rare,
 * small enough to find place. What is left of it when a small file is synced
 * is given back, so that many small columns do not hold a
 * multiple of what they have.
 */
#define STEP_MIN (1u << 20)
#define STEP_MAX (16u << 20)

static_assert(COLFILE_HEADER % COLFILE_BLOCK == 0, "blocks lie in pages");

static bool is_valid(const struct colfile_config *cfg)
{
	size_t len = strlen(cfg->name);

	return cfg->io && cfg->dirfd >= 0 && len > 0 &&
	       len <= COLFILE_NAME_MAX && !strpbrk(cfg->name, "./") &&
	       cfg->stride > 0 && cfg->stride <= 262140 &&
	       cfg->part_rows > 0 &&
	       (uint64_t)cfg->part_rows * cfg->stride <= 64ull << 30;
}

int colfile_new(const struct colfile_config *cfg, struct colfile **out)
{
	size_t len = VG_ALIGN_UP(
		sizeof(struct colfile), _Alignof(struct colfile));
	struct colfile *cf = aligned_alloc(_Alignof(struct colfile), len);

	assert(is_valid(cfg));
	if (!cf)
		return -ENOMEM;
	memset(cf, 0, len);
	cf->cfg = *cfg;
	pthread_mutex_init(&cf->lock, NULL);
	*out = cf;
	return 0;
}

int colfile_piece_new(
	const struct colfile_part *part, uint64_t len, struct colfile_piece **out)
{
	struct colfile_piece *piece = malloc(sizeof(*piece));
	uint64_t n = colfile_whole(len);

	if (!piece)
		return -ENOMEM;
	assert(n < SIZE_MAX / sizeof(uint64_t));
	*piece = (struct colfile_piece){.next = *part, .fd = -1};
	piece->sums = malloc(VG_MAX((size_t)n, (size_t)1) * sizeof(uint64_t));
	if (!piece->sums) {
		free(piece);
		return -ENOMEM;
	}
	*out = piece;
	return 0;
}

void colfile_piece_free(struct colfile_piece *piece)
{
	free(piece->sums);
	free(piece);
}

int colfile_table_reserve(struct colfile *cf, uint32_t n)
{
	if (n <= cf->cap)
		return 0;

	size_t cap = VG_MAX(n, cf->cap + cf->cap / 2);
	struct colfile_piece **piece = malloc(cap * sizeof(struct colfile_piece *));
	struct colfile_part *part = malloc(cap * sizeof(*part));

	assert(cf->n_parts <= cf->n_made && cf->n_made <= cf->cap);
	if (!piece || !part) {
		free(piece);
		free(part);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < cf->n_made; i++)
		piece[i] = cf->piece[i];
	for (uint32_t i = 0; i < cf->n_parts; i++)
		part[i] = cf->part[i];

	struct colfile_piece **old_piece = cf->piece;
	struct colfile_part *old_part = cf->part;

	pthread_mutex_lock(&cf->lock);
	cf->piece = piece;
	cf->part = part;
	pthread_mutex_unlock(&cf->lock);
	cf->cap = (uint32_t)cap;
	free(old_piece);
	free(old_part);
	return 0;
}

uint64_t colfile_end(const struct colfile *cf, uint32_t first)
{
	return ((uint64_t)first / cf->cfg.part_rows + 1) * cf->cfg.part_rows;
}

/* The pen. */

static void pen_close(struct colfile *cf)
{
	struct io *io = cf->cfg.io;

	if (!cf->pen.piece)
		return;
	io->close(io, cf->pen.rows.fd);
	io->close(io, cf->pen.sums.fd);
	cf->pen = (struct colfile_pen){0};
}

/* Bytes of the files of a part. */
static uint64_t rows_used(
	const struct colfile *cf, const struct colfile_part *part)
{
	return COLFILE_HEADER + colfile_len(cf, part);
}

static uint64_t sums_used(
	const struct colfile *cf, const struct colfile_part *part)
{
	return COLFILE_SUM_HEADER + colfile_whole(colfile_len(cf, part)) * 8;
}

/* Opens a file of a part that grows. 1: it has another link. */
static int file_open(struct colfile *cf, uint32_t number, const char *suffix,
	uint64_t used, struct colfile_file *out)
{
	char name[COLFILE_FILE_MAX];
	struct io *io = cf->cfg.io;
	struct io_stat st;

	colfile_name_format(cf, number, suffix, name);
	int fd = io->open(io, cf->cfg.dirfd, name, O_RDWR);

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

/* Bytes of the rows of a part that is full at row `end` of the column. */
static uint64_t len_full(
	const struct colfile *cf, const struct colfile_part *part, uint64_t end)
{
	assert(end > part->first);
	return (end - part->first) * cf->cfg.stride;
}

/* The tip's files stand open to be written. 1: one has another link. */
static int pen_open(struct colfile *cf, const struct colfile_tip *tip)
{
	const struct colfile_part *part = &tip->piece->next;
	struct colfile_pen pen = {
		.piece = tip->piece, .full = len_full(cf, part, tip->end)};

	assert(!cf->pen.piece);
	int rc = file_open(
		cf, part->number, "", rows_used(cf, part), &pen.rows);

	if (rc != 0)
		return rc;
	rc = file_open(
		cf, part->number, ".sum", sums_used(cf, part), &pen.sums);
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

/* Gives back the space behind the end of both files if it is much beside what
 * they have: not of files that a copy has, too. If it fails, no loss. */
static void space_give(struct colfile *cf)
{
	struct io *io = cf->cfg.io;
	struct colfile_pen *pen = &cf->pen;
	uint64_t rows = rows_used(cf, &pen->piece->next);
	uint64_t sums = sums_used(cf, &pen->piece->next);

	assert(pen->rows.taken >= rows && pen->sums.taken >= sums);
	if (pen->rows.taken - rows <= rows / 4 || pen_check(cf) != 0)
		return;
	io->truncate(io, pen->rows.fd, rows);
	io->truncate(io, pen->sums.fd, sums);
}

/* What was written is on stable storage, or the column is over; then closes. */
static int pen_sync(struct colfile *cf)
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
	pen_close(cf);
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

/* Space for len bytes of rows in all and their sums. */
static int pen_take(struct colfile *cf, uint64_t len)
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

/* A new part. */

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

/* Makes a file of part `number`, which nobody has, and opens it. */
static int file_new(struct colfile *cf, uint32_t number, const char *suffix,
	struct colfile_file *out)
{
	char name[COLFILE_FILE_MAX];
	struct io *io = cf->cfg.io;

	colfile_name_format(cf, number, suffix, name);
	int fd = io->open(
		io, cf->cfg.dirfd, name, O_RDWR | O_CREAT | O_EXCL);

	if (fd < 0)
		return fd;
	*out = (struct colfile_file){.fd = fd};
	cf->has_new_names = true;
	return 0;
}

static void file_unlink(
	struct colfile *cf, uint32_t number, const char *suffix)
{
	char name[COLFILE_FILE_MAX];

	/* What stays if this fails is below the number of the next part. */
	colfile_name_format(cf, number, suffix, name);
	cf->cfg.io->unlink(cf->cfg.io, cf->cfg.dirfd, name);
}

/* The files of a part without rows, and the pen on them; full: see the pen. */
static int files_new(
	struct colfile *cf, const struct colfile_piece *piece, uint64_t full)
{
	uint8_t header[COLFILE_HEADER], sum_header[COLFILE_SUM_HEADER];
	uint32_t number = piece->next.number;
	struct colfile_pen pen = {
		.piece = piece, .full = full, .is_dirty = true};
	struct io *io = cf->cfg.io;

	assert(!cf->pen.piece);
	int rc = file_new(cf, number, "", &pen.rows);

	if (rc < 0)
		return rc;
	rc = file_new(cf, number, ".sum", &pen.sums);
	if (rc < 0)
		goto close_rows;
	cf->pen = pen;
	rc = pen_take(cf, 0);
	if (rc < 0)
		goto close_pen;
	colfile_header_encode(cf, number, piece->next.first, header);
	colfile_sum_header_encode(cf, header, number, sum_header);
	rc = io->write(io, pen.rows.fd, header, sizeof(header), 0, false);
	if (rc == 0)
		rc = io->write(io, pen.sums.fd, sum_header,
			sizeof(sum_header), 0, false);
	if (rc < 0)
		goto close_pen;
	return 0;
close_pen:
	pen_close(cf);
	file_unlink(cf, number, ".sum");
	goto unlink_rows;
close_rows:
	io->close(io, pen.rows.fd);
unlink_rows:
	file_unlink(cf, number, "");
	return rc;
}

/* Begins a part behind the rows that there are and makes it the tip. */
static int part_begin(struct colfile *cf, struct colfile_tip *tip)
{
	struct numbers numbers = {
		.column = cf->cfg.name, .last = cf->last_number};
	struct io *io = cf->cfg.io;
	struct colfile_piece *piece;
	int rc = io->list(io, cf->cfg.dirfd, note_name, &numbers);

	assert(!tip->piece);
	if (rc < 0)
		return rc;
	if (numbers.last >= UINT32_MAX - 1)
		return -EFBIG;

	struct colfile_part part = {
		.number = numbers.last + 1, .first = tip->rows};
	uint64_t end = colfile_end(cf, part.first);
	uint64_t full = len_full(cf, &part, end);

	rc = colfile_table_reserve(cf, cf->n_made + 1);
	if (rc == 0)
		rc = colfile_piece_new(&part, full, &piece);
	if (rc < 0)
		return rc;
	rc = files_new(cf, piece, full);
	if (rc < 0) {
		colfile_piece_free(piece);
		return rc;
	}
	cf->last_number = part.number;
	cf->piece[cf->n_made++] = piece;
	tip->piece = piece;
	tip->end = end;
	XXH3_64bits_reset(&tip->hash);
	return 0;
}

/* Appending. */

/* The tip has room and its files stand open. */
static int tip_stand(struct colfile *cf, struct colfile_tip *tip)
{
	int rc = 1;

	if (tip->piece && tip->rows < tip->end)
		rc = cf->pen.piece ? pen_check(cf) :
				     pen_open(cf, tip);
	assert(!cf->pen.piece || cf->pen.piece == tip->piece);
	if (rc <= 0)
		return rc;
	rc = pen_sync(cf);
	if (rc < 0)
		return rc;
	tip->piece = NULL;
	return part_begin(cf, tip);
}

/* The sums with len bytes more behind the `at` that the tip has. */
static void tip_sum(struct colfile_tip *tip, uint64_t at, const uint8_t *bytes,
	uint64_t len)
{
	uint64_t used = at % COLFILE_BLOCK, k = colfile_whole(at);
	uint64_t *sums = tip->piece->sums;

	if (used + len >= COLFILE_BLOCK) {
		uint64_t more = COLFILE_BLOCK - used;

		memcpy(tip->block + used, bytes, more);
		sums[k++] = htole64(wire_hash(tip->block, COLFILE_BLOCK));
		for (used = 0; len - more >= COLFILE_BLOCK;
			more += COLFILE_BLOCK) /* ends: up to len */
			sums[k++] = htole64(
				wire_hash(bytes + more, COLFILE_BLOCK));
		bytes += more;
		len -= more;
	}
	assert(used + len < COLFILE_BLOCK);
	memcpy(tip->block + used, bytes, len);
	tip->piece->next.tail_hash =
		used + len > 0 ? wire_hash(tip->block, used + len) : 0;
	k -= colfile_whole(at);
	XXH3_64bits_update(&tip->hash, sums + colfile_whole(at), k * 8);
	tip->piece->next.sums_hash = XXH3_64bits_digest(&tip->hash);
}

/* n rows more, for which the tip's part has room. */
static int tip_write(struct colfile *cf, struct colfile_tip *tip,
	const uint8_t *rows, uint32_t n)
{
	struct colfile_pen *pen = &cf->pen;
	struct colfile_part *part = &tip->piece->next;
	uint64_t at = colfile_len(cf, part);
	uint64_t len = (uint64_t)n * cf->cfg.stride;
	uint64_t whole = colfile_whole(at);
	uint64_t more = colfile_whole(at + len) - whole;
	struct io *io = cf->cfg.io;

	assert(pen->piece == tip->piece && n > 0);
	assert(tip->rows + (uint64_t)n <= tip->end);
	int rc = pen_take(cf, at + len);

	if (rc < 0)
		return rc;
	pen->is_dirty = true;
	rc = io->write(
		io, pen->rows.fd, rows, len, COLFILE_HEADER + at, false);
	if (rc < 0)
		return rc;
	tip_sum(tip, at, rows, len);
	if (more > 0)
		rc = io->write(io, pen->sums.fd, tip->piece->sums + whole,
			more * 8, COLFILE_SUM_HEADER + whole * 8, false);
	if (rc < 0)
		return rc;
	part->n += n;
	tip->rows += n;
	pen->rows.taken = VG_MAX(pen->rows.taken, rows_used(cf, part));
	pen->sums.taken = VG_MAX(pen->sums.taken, sums_used(cf, part));
	return 0;
}

/* Readers see what the append made. */
static void append_publish(struct colfile *cf)
{
	pthread_mutex_lock(&cf->lock);
	for (uint32_t i = VG_MAX(cf->n_parts, 1u) - 1; i < cf->n_made; i++)
		cf->part[i] = cf->piece[i]->next;
	cf->n_parts = cf->n_made;
	pthread_mutex_unlock(&cf->lock);
}

/* Nobody has seen it. */
static void append_drop(struct colfile *cf)
{
	if (cf->n_made > cf->n_parts &&
		cf->pen.piece == cf->piece[cf->n_made - 1])
		pen_close(cf);
	for (; cf->n_made > cf->n_parts; cf->n_made--) {
		struct colfile_piece *piece = cf->piece[cf->n_made - 1];

		file_unlink(cf, piece->next.number, ".sum");
		file_unlink(cf, piece->next.number, "");
		colfile_piece_free(piece);
	}
	if (cf->n_parts > 0)
		cf->piece[cf->n_parts - 1]->next = cf->part[cf->n_parts - 1];
}

int colfile_append(struct colfile *cf, const void *rows, uint32_t n)
{
	struct colfile_tip tip = cf->tip;
	const uint8_t *at = rows;
	int rc = cf->failed;

	assert(cf->n_made == cf->n_parts && (rows || n == 0));
	if (rc == 0 && n > UINT32_MAX - 1 - tip.rows)
		rc = -EFBIG;
	while (rc == 0 && n > 0) { /* ends: each turn writes a row */
		rc = tip_stand(cf, &tip);
		if (rc < 0)
			break;
		uint32_t now = (uint32_t)VG_MIN(n, tip.end - tip.rows);

		rc = tip_write(cf, &tip, at, now);
		at += (size_t)now * cf->cfg.stride;
		n -= now;
	}
	if (rc < 0) {
		append_drop(cf);
		return rc;
	}
	append_publish(cf);
	cf->tip = tip;
	return 0;
}

int colfile_sync(struct colfile *cf)
{
	struct io *io = cf->cfg.io;

	if (cf->failed)
		return cf->failed;
	int rc = pen_sync(cf);

	if (rc < 0 || !cf->has_new_names)
		return rc;
	rc = io->sync(io, cf->cfg.dirfd);
	if (rc < 0)
		cf->failed = io_sync_error(rc);
	else
		cf->has_new_names = false;
	assert(cf->failed || !cf->pen.piece);
	return cf->failed;
}

const char *colfile_name(const struct colfile *cf)
{
	return cf->cfg.name;
}

uint32_t colfile_rows(const struct colfile *cf)
{
	return cf->tip.rows;
}

void colfile_parts(const struct colfile *cf, const struct colfile_part **part,
	uint32_t *n)
{
	*part = cf->part;
	*n = cf->n_parts;
}

uint64_t colfile_bytes(const struct colfile *cf)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < cf->n_parts; i++)
		bytes += rows_used(cf, &cf->part[i]) +
			 sums_used(cf, &cf->part[i]);
	return bytes;
}

void colfile_close(struct colfile *cf)
{
	if (!cf)
		return;
	assert(cf->n_made == cf->n_parts);
	pen_close(cf);
	colfile_kept_close(cf);
	for (uint32_t i = 0; i < cf->n_made; i++)
		colfile_piece_free(cf->piece[i]);
	free(cf->piece);
	free(cf->part);
	pthread_mutex_destroy(&cf->lock);
	free(cf);
}
