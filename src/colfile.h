/* SPDX-License-Identifier: Apache-2.0 */
/* colfile.h: a column on disk: rows in files that only grow, each 4 KiB summed. */
#ifndef VG_COLFILE_H
#define VG_COLFILE_H

#include "src/io.h"

/*
 * Rows of one size, numbered from 0, lie one behind the other in parts: the
 * files NAME.0001, NAME.0002, ... of a directory. A part holds the rows of one
 * range; the next begins where a multiple of `part_rows` is, or where a part
 * must not be written to any more because it has another link (a copy made by
 * cp -al or rsync --link-dest). Beside each part lies NAME.0001.sum with the
 * sums of its whole blocks.
 *
 *   NAME.NNNN      header, 4,096 bytes; then the rows, nothing between them
 *   NAME.NNNN.sum  header, 64 bytes; then u64 for each whole block of 4,096
 *                  bytes of rows: its hash (wire_hash)
 *
 * Both only grow. What a manifest says of a part (struct colfile_part) is all
 * that counts: bytes behind it were written by nobody who finished. The sum of
 * a part's last, incomplete block is in the manifest too, so no byte that a
 * manifest vouches for is ever written again.
 *
 * WHO TRUSTS WHAT. The manifest's sum covers the struct colfile_part, that
 * covers the part's sums, and those cover the rows. Opening reads headers and
 * sums (0.2 % of the rows) and checks them. Rows are checked as they are read;
 * mapped ones when colfile_check is called, once for each block.
 *
 * One thread at a time opens, appends, syncs and closes; colfile_check,
 * colfile_read and colfile_map of rows that the last colfile_open or
 * colfile_append covered: any thread, also beside an append.
 *
 * A column that was synced and is not read has no descriptor open; one that
 * is appended to has two until the sync.
 */
struct colfile;

#define COLFILE_BLOCK 4096u  /* bytes that a sum covers */
#define COLFILE_HEADER 4096u /* rows of a part begin here */

struct colfile_config {
	struct io *io;	     /* borrowed; serves several threads */
	int dirfd;	     /* borrowed for good: where the parts are, or... */
	const char *dir;     /* ...borrowed for good: the name there of the
				directory where they are; NULL: dirfd itself */
	const char *name;    /* borrowed for good: "vec"; at most 31 bytes */
	uint8_t store[16];   /* uuid; in every header, as the next is */
	uint8_t owner[16];   /* the collection's uuid */
	uint32_t stride;     /* bytes of a row, at most 262,140 */
	uint32_t part_rows;  /* parts end at multiples of it; over 0, and
				at most 64 GiB of rows */
	_Atomic int *fds;    /* borrowed: how many descriptors all columns that
				share it may still keep open between reads;
				NULL: up to 4 for this column */
};

/* A part, as a manifest describes it. */
struct colfile_part {
	uint32_t number;    /* of the file, 1.. */
	uint32_t first;	    /* its first row */
	uint32_t n;	    /* rows, over 0 */
	uint64_t sums_hash; /* wire_hash of the sums of its whole blocks */
	uint64_t tail_hash; /* wire_hash of the bytes behind them; of none: 0 */
};

/* A column without rows; nothing is written yet. -ENOMEM. */
int colfile_new(const struct colfile_config *cfg, struct colfile **out);

/*
 * The column that part[0..n) describes: ranges without a gap from row 0. Reads
 * and checks headers and sums, and the last part's incomplete block, behind
 * which rows will be appended (a part with several links is only read: the
 * next append begins a new one, its number above every one that the directory
 * has). Changes nothing on the disk. -ENOENT: a file is missing;
 * -VG_ECORRUPT: too short, damaged, or another column's; -VG_EFORMAT: of a
 * later version; each with a sentence that names the file in why. -ENOMEM;
 * errno of the disk.
 */
int colfile_open(const struct colfile_config *cfg,
	const struct colfile_part *part, uint32_t n, char why[256],
	struct colfile **out);

/* NULL is allowed. What was appended and not synced may be lost. */
void colfile_close(struct colfile *cf);

/* Removes its files, which nobody is to open again; before colfile_close. */
void colfile_remove(const struct colfile *cf);

/* The name it was given: "vec". */
const char *colfile_name(const struct colfile *cf);

/* Rows there are, appended ones included. The writer. */
uint32_t colfile_rows(const struct colfile *cf);

/*
 * Appends n rows and writes them; colfile_sync makes them durable. An error
 * leaves the column as it was before the call: the next append writes over what
 * this one left. -ENOSPC, -EDQUOT: passes by itself. -ENOMEM; errno of the
 * disk. -EFBIG: no row or part has a number left. -VG_ECORRUPT: the file to
 * append to was cut since. A part that is full is synced before the next one;
 * if that fails, it is as if colfile_sync did.
 */
int colfile_append(struct colfile *cf, const void *rows, uint32_t n);

/* Everything appended is on stable storage, names of new files included. An
 * error is for good: nothing more may be appended; but io_is_scarce: that
 * passes, and the next sync makes up for it. */
int colfile_sync(struct colfile *cf);

/* Describes what was appended: *part borrowed until the next append or close,
 * *n of them. The writer. */
void colfile_parts(const struct colfile *cf, const struct colfile_part **part,
	uint32_t *n);

/*
 * Reads rows first..first + n into out and checks the blocks they lie in.
 * -VG_ECORRUPT, -EIO: some block is damaged or cannot be read; what can be
 * read is in out, and *damaged (may be NULL) is called for each range of rows
 * that cannot: in order, none twice. Where a block is damaged out has zeros.
 * Other errno (-EMFILE): the same of a part that cannot be opened; its rows in
 * out are as they were.
 */
typedef void colfile_damaged_fn(void *ctx, uint32_t first, uint32_t n);
int colfile_read(struct colfile *cf, uint32_t first, uint32_t n, void *out,
	colfile_damaged_fn *damaged, void *ctx);

/*
 * Puts rows first..first + n in place of the memory at `at`, read-only, from
 * the page cache. Their bytes are a multiple of 4,096. Nothing is checked:
 * colfile_check does. -EOPNOTSUPP: they do not lie in one part at a multiple
 * of 4,096: colfile_read them.
 */
int colfile_map(struct colfile *cf, uint32_t first, uint32_t n, void *at);

/* Checks the blocks that a row lies in, by reading them. -VG_ECORRUPT, -EIO
 * and other errno: the row is not to be used. */
int colfile_check(struct colfile *cf, uint32_t row);

/* Bytes of its files, sums included. The writer. */
uint64_t colfile_bytes(const struct colfile *cf);

/* Is `name` a file of a column called `column`? Then *number is the part's. */
bool colfile_is_part(const char *name, const char *column, uint32_t *number);

#endif
