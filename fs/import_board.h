/* SPDX-License-Identifier: Apache-2.0 */
/* import_board.h: what .import/status and .import/errors tell of the last import. */
#ifndef FS_IMPORT_BOARD_H
#define FS_IMPORT_BOARD_H

#include "src/meta.h"
#include "src/rowstream.h"

/*
 * A collection has one board, on which the import that began last writes what
 * becomes of it; an older one that still runs is not heard any more. Imports
 * come and go, the board stays. Any thread; its lock is a leaf.
 */
struct import_board;

/* Lines of errors that are kept; what comes after them is counted. */
#define IMPORT_BOARD_MAX 1000u

/* A board that tells of no import, with one reference. -ENOMEM. */
int import_board_new(struct import_board **out);
struct import_board *import_board_ref(struct import_board *b);
void import_board_unref(struct import_board *b); /* NULL is allowed */

/*
 * Formats what .import/status holds, a key and its value a line:
 *
 *   state running          idle before the first import; running, done, failed
 *   kind npy
 *   rows 194               that are in
 *   errors 6               rows that are not
 *   bytes 123456           of the stream, as taken so far
 *   rate 40123 rows/s      since the import began
 *   error the stream ...   failed for more than bad rows: a sentence
 *
 * into out, whose bytes the caller frees. -ENOMEM.
 */
int import_board_status(struct import_board *b, struct meta_buf *out);

/*
 * Formats what .import/errors holds: "line 17: a sentence" for each bad row
 * ("row 17" where there are no lines; rows count from 0, as ids do), in order;
 * how many more there are; what ended the import. Nothing if all went well.
 */
int import_board_errors(struct import_board *b, struct meta_buf *out);

/* ---- for an import ---- */

/* Clears the board; what is returned names the import from here on. */
uint64_t import_board_open(struct import_board *b, enum rowstream_kind kind);

/* Rows are in, bytes were taken: the import runs, also after a close. */
void import_board_add(struct import_board *b, uint64_t import, uint64_t rows,
	uint64_t bytes);

/* A row is bad; `why`, copied, is a sentence; NULL: it is only counted. */
void import_board_put(struct import_board *b, uint64_t import, uint64_t place,
	const char *why);

/* The import is over, it seems. error, copied: why the stream is not whole;
 * NULL: it is. */
void import_board_close(struct import_board *b, uint64_t import,
	const char *error);

/* What place counts: "line" or "row". */
const char *import_board_unit(enum rowstream_kind kind);

#endif
