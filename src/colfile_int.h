/* SPDX-License-Identifier: Apache-2.0 */
/* colfile_int.h: what the files of colfile share. */
#ifndef VG_COLFILE_INT_H
#define VG_COLFILE_INT_H

#include <pthread.h>
#define XXH_INLINE_ALL /* its state stands in our structs: no ABI to match */
#include <xxhash.h>

#include "src/colfile.h"

/*
 * THREADS. There is one writer; readers go by what it published. Everything
 * that both touch is under one lock, held for a few loads and stores, never
 * for I/O: a reader copies the struct colfile_part of the part it wants and
 * works on the copy. That suffices because nothing that a published one covers
 * ever changes: neither the bytes in the file, nor the sums in memory, whose
 * array has room for the whole part from the start and never moves.
 *
 * An append works on a copy of the tip and on parts behind those that are
 * published. If it fails, all of it is dropped, and that is the rollback.
 */
#define COLFILE_VERSION 1u
#define COLFILE_SUM_HEADER 64u
#define COLFILE_HASH_AT(header) ((header) - 8) /* where its hash is */
#define COLFILE_NAME_MAX 31u /* bytes of a column's name */
#define COLFILE_FILE_MAX 64u /* "NAME.NNNN.sum" with its end */
#define COLFILE_PATH_MAX 160u /* "DIR/NAME.NNNN.sum" with its end */

/* Descriptors kept open to read: enough for what searches touch at a time
 * where parts are few; where they are many, opening costs less than the disk. */
#define COLFILE_KEPT 4u

struct colfile_piece {
	uint64_t *sums; /* owned, as on disk; room for the part when full */
	struct colfile_part next; /* the writer's: with the append under way */
	int fd;			  /* lock: open to read; -1: not kept */
	uint32_t users;		  /* lock: of fd */
	uint64_t used;		  /* lock: cf->clock of the last use */
};

/* Where rows are added. */
struct colfile_tip {
	struct colfile_piece *piece; /* NULL: a new part is begun */
	uint32_t rows;	/* of the whole column */
	uint64_t end;	/* the part is full when rows is */
	uint8_t block[COLFILE_BLOCK]; /* its bytes behind the whole blocks */
	XXH3_state_t hash;	      /* of the sums of those */
};

/* A file that is written, and how far space is taken for it. */
struct colfile_file {
	int fd;
	uint64_t taken;
};

/* What is open to be written and not synced. */
struct colfile_pen {
	const struct colfile_piece *piece; /* NULL: nothing is open */
	uint64_t full; /* bytes of the part's rows when it is */
	struct colfile_file rows, sums;
	bool is_dirty;
};

struct colfile {
	struct colfile_config cfg;

	pthread_mutex_t lock;
	struct colfile_piece **piece; /* lock: the first n_parts; owned */
	struct colfile_part *part;    /* lock, as piece: what is published */
	uint32_t n_parts;	      /* lock, and set by the writer alone */
	struct colfile_piece *kept[COLFILE_KEPT]; /* lock: those with an fd */
	uint64_t clock;				  /* lock */

	/* The writer's. */
	uint32_t n_made; /* n_parts and those of the append under way */
	uint32_t cap;	 /* of piece and part */
	uint32_t last_number; /* the highest given to a part */
	struct colfile_tip tip;
	struct colfile_pen pen;
	bool cannot_allocate; /* the file system has no fallocate */
	bool has_new_names;   /* that the directory may not have for good */
	int failed;	      /* a sync's error; 0: none */
};

static inline uint64_t colfile_whole(uint64_t len)
{
	return len / COLFILE_BLOCK;
}

/* Bytes of the rows of a part; of its file; of that of its sums. */
static inline uint64_t colfile_len(
	const struct colfile *cf, const struct colfile_part *part)
{
	return (uint64_t)part->n * cf->cfg.stride;
}

static inline uint64_t colfile_rows_used(
	const struct colfile *cf, const struct colfile_part *part)
{
	return COLFILE_HEADER + colfile_len(cf, part);
}

static inline uint64_t colfile_sums_used(
	const struct colfile *cf, const struct colfile_part *part)
{
	return COLFILE_SUM_HEADER + colfile_whole(colfile_len(cf, part)) * 8;
}

/* At which row of the column a part that begins at `first` is full... */
static inline uint64_t colfile_end(const struct colfile *cf, uint32_t first)
{
	return ((uint64_t)first / cf->cfg.part_rows + 1) * cf->cfg.part_rows;
}

/* ...and how many bytes its rows have then. */
static inline uint64_t colfile_len_full(
	const struct colfile *cf, uint32_t first)
{
	return (colfile_end(cf, first) - first) * cf->cfg.stride;
}

/* "NAME.NNNN", and what follows it: "" or ".sum". */
void colfile_name_format(const struct colfile *cf, uint32_t number,
	const char *suffix, char out[COLFILE_FILE_MAX]);

/*
 * Calls to the disk by such a name; errors are the disk's. The directory is
 * opened for a call only: there may be more columns than descriptors.
 */
int colfile_file_open(
	const struct colfile *cf, uint32_t number, const char *suffix, int flags);
int colfile_file_unlink(
	const struct colfile *cf, uint32_t number, const char *suffix);
int colfile_dir_sync(const struct colfile *cf);
int colfile_dir_list(const struct colfile *cf, io_name_fn *each, void *ctx);

/* The headers of a part and of its sums. */
void colfile_header_encode(const struct colfile *cf, uint32_t number,
	uint32_t first, uint8_t out[COLFILE_HEADER]);
void colfile_sum_header_encode(const struct colfile *cf,
	const uint8_t header[COLFILE_HEADER], uint32_t number,
	uint8_t out[COLFILE_SUM_HEADER]);

/* Room for n parts in the tables. -ENOMEM. The writer. */
int colfile_table_reserve(struct colfile *cf, uint32_t n);

/* A piece with room for the sums of len bytes, without a descriptor. */
int colfile_piece_new(const struct colfile_part *part, uint64_t len,
	struct colfile_piece **out);
void colfile_piece_free(struct colfile_piece *piece);

/*
 * The pen: colfile_pen.c. All by the writer; errors are the disk's.
 *
 * stand: the tip's files are open to be written. 1: one has another link, or
 * got one since; what was written before is still to be synced.
 * new: makes the files of a part without rows, and stands on them; on an error
 * they are gone. -EFBIG (number_find): no number is left.
 * take: space for len bytes of rows in all, and for their sums.
 * sync: what was written is on stable storage, or cf->failed is set for good;
 * either way nothing is open then.
 * drop: closes and removes the files of a part that nobody knows yet.
 */
int colfile_number_find(struct colfile *cf, uint32_t *number);
int colfile_pen_stand(struct colfile *cf, const struct colfile_tip *tip);
int colfile_pen_new(struct colfile *cf, const struct colfile_piece *piece);
int colfile_pen_take(struct colfile *cf, uint64_t len);
int colfile_pen_sync(struct colfile *cf);
void colfile_pen_drop(struct colfile *cf, const struct colfile_piece *piece);
void colfile_pen_close(struct colfile *cf);

/*
 * A reader's view of a part, as it was published: its rows and their sums do
 * not change, and fd reads them. From get, which finds the part of a row that
 * is there, to put. Any thread. An error of get leaves v->part right.
 */
struct colfile_view {
	struct colfile *cf;
	struct colfile_piece *piece;
	struct colfile_part part;
	int fd;
	bool is_kept; /* others may use fd, too */
};
int colfile_view_get(struct colfile *cf, uint32_t row, struct colfile_view *v);
void colfile_view_put(struct colfile_view *v);

/* Closes what is kept open to read; nobody reads. */
void colfile_kept_close(struct colfile *cf);

#endif
