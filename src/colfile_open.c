/* SPDX-License-Identifier: Apache-2.0 */
/*
 * colfile_open.c: opening a column that a manifest describes.
 *
 * A header is compared with the one that this column would write, as a whole;
 * only where it differs is it taken apart, to say what is wrong. The sums'
 * header has the hash of the part's, so sums never pass for another part's.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/colfile_int.h"
#include "src/wire.h"

#define WHY_MAX 256

/* One open, and the file that it looks at. */
struct opening {
	struct colfile *cf;
	char *why;
	char name[COLFILE_FILE_MAX];
	int fd;
};

/* The sentence, which begins with the file's name, and the rc to go with it. */
static int VG_PRINTF(3, 4)
	refuse(struct opening *o, int rc, const char *fmt, ...)
{
	int len = snprintf(o->why, WHY_MAX, "%s ", o->name);
	va_list ap;

	assert(rc < 0 && len > 0 && len < WHY_MAX);
	va_start(ap, fmt);
	vsnprintf(o->why + len, WHY_MAX - (size_t)len, fmt, ap);
	va_end(ap);
	return rc;
}

static void file_close(struct opening *o)
{
	o->cf->cfg.io->close(o->cf->cfg.io, o->fd);
}

/* Opens a file of a part that has to have `need` bytes. */
static int file_open(struct opening *o, uint32_t number, const char *suffix,
	uint64_t need)
{
	struct io *io = o->cf->cfg.io;
	struct io_stat st;

	colfile_name_format(o->cf, number, suffix, o->name);
	o->fd = colfile_file_open(o->cf, number, suffix, O_RDONLY);
	if (o->fd == -ENOENT)
		return refuse(o, -ENOENT, "is missing: copy it back, or "
			"restore the directory as a whole");
	if (o->fd < 0)
		return refuse(
			o, o->fd, "cannot be opened: %s", strerror(-o->fd));
	int rc = io->stat(io, o->fd, &st);

	if (rc < 0)
		rc = refuse(o, rc, "cannot be looked at: %s", strerror(-rc));
	else if (st.size < need)
		rc = refuse(o, -VG_ECORRUPT,
			"ends at byte %" PRIu64 ", %" PRIu64
			" were on stable storage: restore it from a copy",
			st.size, need);
	if (rc < 0)
		file_close(o);
	return rc;
}

/* Reads bytes that the file has to have. */
static int file_read(struct opening *o, void *buf, size_t len, uint64_t at)
{
	struct io *io = o->cf->cfg.io;
	ssize_t n = io->read(io, o->fd, buf, len, at);

	if (n < 0)
		return refuse(
			o, (int)n, "cannot be read: %s", strerror((int)-n));
	if ((size_t)n < len)
		return refuse(o, -VG_ECORRUPT,
			"ends at byte %" PRIu64 ": restore it from a copy",
			at + (uint64_t)n);
	return 0;
}

/* What makes a header one of ours, of some version: magic and hash. */
static int header_check(struct opening *o, const uint8_t *got,
	const uint8_t *want, size_t len)
{
	struct wire_in in = wire_in_init(got + 8, 4);
	struct wire_in hash = wire_in_init(got + COLFILE_HASH_AT(len), 8);
	uint32_t version = wire_get_u32(&in);

	if (memcmp(got, want, 8) != 0 ||
		wire_get_u64(&hash) != wire_hash(got, COLFILE_HASH_AT(len)))
		return refuse(o, -VG_ECORRUPT,
			"is damaged: its header (byte 0) is not what was "
			"written; restore it from a copy");
	if (version != COLFILE_VERSION)
		return refuse(o, -VG_EFORMAT,
			"has format version %" PRIu32
			", this program knows %u: use a later one",
			version, COLFILE_VERSION);
	return 0;
}

/* Reads and checks the header of a part, which is `want`. */
static int part_header_check(
	struct opening *o, const uint8_t want[COLFILE_HEADER])
{
	uint8_t got[COLFILE_HEADER];
	int rc = file_read(o, got, sizeof(got), 0);

	if (rc == 0)
		rc = header_check(o, got, want, sizeof(got));
	if (rc < 0 || memcmp(got, want, sizeof(got)) == 0)
		return rc;
	if (memcmp(got + 16, want + 16, 16) != 0)
		return refuse(o, -VG_ECORRUPT,
			"belongs to another store: its uuid is not the one in "
			"FORMAT");
	if (memcmp(got + 32, want + 32, 16) != 0)
		return refuse(o, -VG_ECORRUPT,
			"belongs to another collection: give it back its "
			"place, or restore the directory as a whole");
	if (memcmp(got + 48, want + 48, 4) != 0 ||
		memcmp(got + 60, want + 60, 4 + COLFILE_NAME_MAX) != 0)
		return refuse(o, -VG_ECORRUPT,
			"is another part: files were swapped or renamed; give "
			"it back its name");
	return refuse(o, -VG_ECORRUPT,
		"holds other rows than the manifest says: restore the "
		"directory as a whole");
}

static int sum_header_check(
	struct opening *o, const uint8_t want[COLFILE_SUM_HEADER])
{
	uint8_t got[COLFILE_SUM_HEADER];
	int rc = file_read(o, got, sizeof(got), 0);

	if (rc == 0)
		rc = header_check(o, got, want, sizeof(got));
	if (rc == 0 && memcmp(got, want, sizeof(got)) != 0)
		rc = refuse(o, -VG_ECORRUPT,
			"has the sums of another part: files were swapped or "
			"renamed; give it back its name");
	return rc;
}

/* The bytes behind the whole blocks of the last part: they are written behind. */
static int tip_load(struct opening *o, const struct colfile_part *part)
{
	struct colfile_tip *tip = &o->cf->tip;
	uint64_t len = colfile_len(o->cf, part);
	uint64_t whole = colfile_whole(len);
	size_t tail = len % COLFILE_BLOCK;
	int rc = 0;

	if (tail > 0)
		rc = file_read(o, tip->block, tail,
			COLFILE_HEADER + whole * COLFILE_BLOCK);
	if (rc < 0)
		return rc;
	if (part->tail_hash != (tail > 0 ? wire_hash(tip->block, tail) : 0))
		return refuse(o, -VG_ECORRUPT,
			"is damaged at byte %" PRIu64
			": restore it from a copy",
			COLFILE_HEADER + whole * COLFILE_BLOCK);
	return 0;
}

/* The sums of a part's n whole blocks, checked by its sums_hash. */
static int sums_load(struct opening *o, struct colfile_piece *piece, uint64_t n)
{
	int rc = file_read(o, piece->sums, n * 8, COLFILE_SUM_HEADER);

	if (rc == 0 && wire_hash(piece->sums, n * 8) != piece->next.sums_hash)
		rc = refuse(o, -VG_ECORRUPT,
			"is damaged: the sums from byte %u on are not those "
			"that were written; restore it from a copy",
			COLFILE_SUM_HEADER);
	return rc;
}

/*
 * Opens a part and puts it behind those before. Nothing is allocated for it
 * before both files are known to be as long as it says.
 */
static int part_open(
	struct opening *o, const struct colfile_part *part, bool is_last)
{
	struct colfile *cf = o->cf;
	uint64_t len = colfile_len(cf, part);
	uint8_t header[COLFILE_HEADER], sum_header[COLFILE_SUM_HEADER];
	struct colfile_piece *piece;
	uint64_t end = colfile_end(cf, part->first);
	bool grows = is_last && end > part->first + (uint64_t)part->n;

	colfile_header_encode(cf, part->number, part->first, header);
	colfile_sum_header_encode(cf, header, part->number, sum_header);
	int rc = file_open(o, part->number, "", COLFILE_HEADER + len);

	if (rc < 0)
		return rc;
	rc = part_header_check(o, header);
	if (rc == 0 && is_last)
		rc = tip_load(o, part);
	file_close(o);
	if (rc < 0)
		return rc;
	rc = file_open(o, part->number, ".sum",
		COLFILE_SUM_HEADER + colfile_whole(len) * 8);
	if (rc < 0)
		return rc;
	rc = sum_header_check(o, sum_header);
	if (rc == 0)
		rc = colfile_piece_new(part,
			grows ? colfile_len_full(cf, part->first) : len,
			&piece);
	if (rc < 0)
		goto close_file;
	rc = sums_load(o, piece, colfile_whole(len));
	if (rc < 0) {
		colfile_piece_free(piece);
		goto close_file;
	}
	cf->part[cf->n_parts++] = *part;
	cf->piece[cf->n_made++] = piece;
	cf->tip.piece = grows ? piece : NULL;
	cf->tip.end = end;
close_file:
	file_close(o);
	return rc;
}

/* Are these ranges without a gap, each of some file? */
static int parts_check(const struct colfile *cf,
	const struct colfile_part *part, uint32_t n, char why[WHY_MAX])
{
	uint64_t rows = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (part[i].number > 0 && part[i].number < UINT32_MAX &&
			part[i].n > 0 && part[i].first == rows &&
			rows + part[i].n < UINT32_MAX) {
			rows += part[i].n;
			continue;
		}
		snprintf(why, WHY_MAX,
			"%s has a gap at row %" PRIu64
			" in the manifest: use an older one",
			cf->cfg.name, rows);
		return -VG_ECORRUPT;
	}
	return 0;
}

int colfile_open(const struct colfile_config *cfg,
	const struct colfile_part *part, uint32_t n, char why[256],
	struct colfile **out)
{
	struct colfile *cf;
	struct opening o = {.why = why};
	int rc = colfile_new(cfg, &cf);

	assert(part || n == 0);
	if (rc < 0)
		return rc;
	o.cf = cf;
	rc = parts_check(cf, part, n, why);
	if (rc == 0)
		rc = colfile_table_reserve(cf, n);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		rc = part_open(&o, &part[i], i + 1 == n);
		cf->tip.rows += part[i].n;
		cf->last_number = VG_MAX(cf->last_number, part[i].number);
	}
	if (rc < 0) {
		colfile_close(cf);
		return rc;
	}
	if (cf->tip.piece) {
		const struct colfile_piece *piece = cf->tip.piece;
		uint64_t whole = colfile_whole(colfile_len(cf, &piece->next));

		XXH3_64bits_reset(&cf->tip.hash);
		XXH3_64bits_update(&cf->tip.hash, piece->sums, whole * 8);
	}
	*out = cf;
	return 0;
}
