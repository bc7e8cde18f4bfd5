/* SPDX-License-Identifier: Apache-2.0 */
/*
 * colfile.c: writing a column on disk; see colfile.h, and colfile_int.h for
 * what readers may see of it.
 *
 * A part is written at its end only, by large writes straight from the
 * caller's rows; the sums of the blocks that became whole follow in one more.
 * Space is taken before the first byte, so that a full disk is met while
 * nothing has changed. A part that is full is synced before the next is begun:
 * no more than one is open at a time. The number of a new one is above all in
 * the directory, those that no manifest knows included: a file that was left
 * by a crash is never taken for one's own.
 */
#include "src/colfile_int.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/wire.h"

static_assert(COLFILE_HEADER % COLFILE_BLOCK == 0, "blocks lie in pages");

int colfile_new(const struct colfile_config *cfg, struct colfile **out)
{
	size_t len = VG_ALIGN_UP(
		sizeof(struct colfile), _Alignof(struct colfile));
	struct colfile *cf = aligned_alloc(_Alignof(struct colfile), len);

	assert(cfg->io && cfg->dirfd >= 0);
	assert(strlen(cfg->name) > 0 && strlen(cfg->name) <= COLFILE_NAME_MAX);
	assert(!strpbrk(cfg->name, "./"));
	assert(cfg->stride > 0 && cfg->stride <= 262140);
	assert(cfg->part_rows > 0 &&
		(uint64_t)cfg->part_rows * cfg->stride <= 64ull << 30);
	if (!cf)
		return -ENOMEM;
	memset(cf, 0, len);
	cf->cfg = *cfg;
	pthread_mutex_init(&cf->lock, NULL);
	*out = cf;
	return 0;
}

int colfile_piece_new(const struct colfile_part *part, uint64_t len,
	struct colfile_piece **out)
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
	struct colfile_piece **piece = malloc(cap * sizeof(void *));
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

/* Begins a part behind the rows that there are and makes it the tip. */
static int part_begin(struct colfile *cf, struct colfile_tip *tip)
{
	struct colfile_part part = {.first = tip->rows};
	struct colfile_piece *piece;
	int rc = colfile_number_find(cf, &part.number);

	assert(!tip->piece && !cf->pen.piece);
	if (rc == 0)
		rc = colfile_table_reserve(cf, cf->n_made + 1);
	if (rc == 0)
		rc = colfile_piece_new(
			&part, colfile_len_full(cf, part.first), &piece);
	if (rc < 0)
		return rc;
	rc = colfile_pen_new(cf, piece);
	if (rc < 0) {
		colfile_piece_free(piece);
		return rc;
	}
	cf->last_number = part.number;
	cf->piece[cf->n_made++] = piece;
	tip->piece = piece;
	tip->end = colfile_end(cf, part.first);
	XXH3_64bits_reset(&tip->hash);
	return 0;
}

/* The tip has room and its files stand open. */
static int tip_stand(struct colfile *cf, struct colfile_tip *tip)
{
	int rc = 1;

	if (tip->piece && tip->rows < tip->end)
		rc = colfile_pen_stand(cf, tip);
	if (rc <= 0)
		return rc;
	rc = colfile_pen_sync(cf);
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
	int rc = colfile_pen_take(cf, at + len);

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
	pen->rows.taken = VG_MAX(pen->rows.taken, colfile_rows_used(cf, part));
	pen->sums.taken = VG_MAX(pen->sums.taken, colfile_sums_used(cf, part));
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
	for (; cf->n_made > cf->n_parts; cf->n_made--) {
		struct colfile_piece *piece = cf->piece[cf->n_made - 1];

		colfile_pen_drop(cf, piece);
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
	if (cf->failed)
		return cf->failed;
	int rc = colfile_pen_sync(cf);

	if (rc < 0 || !cf->has_new_names)
		return rc;
	rc = colfile_dir_sync(cf);
	if (io_is_scarce(rc)) /* it did nothing */
		return rc;
	if (rc < 0)
		cf->failed = io_sync_error(rc);
	else
		cf->has_new_names = false;
	assert(cf->failed || !cf->pen.piece);
	return cf->failed;
}

void colfile_remove(const struct colfile *cf)
{
	/* The sums first: whose name is free is taken by the next part. */
	for (uint32_t i = 0; i < cf->n_parts; i++) {
		colfile_file_unlink(cf, cf->part[i].number, ".sum");
		colfile_file_unlink(cf, cf->part[i].number, "");
	}
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
		bytes += colfile_rows_used(cf, &cf->part[i]) +
			 colfile_sums_used(cf, &cf->part[i]);
	return bytes;
}

void colfile_close(struct colfile *cf)
{
	if (!cf)
		return;
	assert(cf->n_made == cf->n_parts);
	colfile_pen_close(cf);
	colfile_kept_close(cf);
	for (uint32_t i = 0; i < cf->n_made; i++)
		colfile_piece_free(cf->piece[i]);
	free(cf->piece);
	free(cf->part);
	pthread_mutex_destroy(&cf->lock);
	free(cf);
}
