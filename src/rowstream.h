/* SPDX-License-Identifier: Apache-2.0 */
/* rowstream.h: imports: rows out of a stream of any length, in constant memory. */
#ifndef VG_ROWSTREAM_H
#define VG_ROWSTREAM_H

#include "src/record.h"
#include "src/record_csv.h"
#include "src/record_npy.h"

/*
 * Bytes are fed as they come, cut anywhere; row() is called for each row as
 * soon as it is whole. A bad row (not JSON, of another dimension, NaN in it,
 * an id too long) is told to bad() and does not stop the stream. What makes
 * the rest unreadable does: a header that is none, or a row of fvecs whose
 * length cannot be right.
 *
 *   NPY     a header, then rows; after the last row another array may follow.
 *           (rows, dim), or one row (dim,). Any dtype that a body may have.
 *   FVECS   each row is its dim as int32 and dim float32, little-endian,
 *           whatever they become
 *   BVECS   each row is its dim as int32 and dim numbers from 0 to 255, a byte
 *           each, whatever they become
 *   NDJSON  each line is an object with id, vector and metadata, or an array;
 *           empty lines are passed over
 *   CSV     rows of src/record_csv.h, the first one names the columns; empty
 *           lines are passed over
 *
 * Memory: one row, or one line of at most ROWSTREAM_LINE_MAX bytes. Whole rows
 * of little-endian float32 are handed on where they lie, if that is aligned and
 * they are to become such.
 */
enum rowstream_kind {
	ROWSTREAM_NPY,
	ROWSTREAM_FVECS,
	ROWSTREAM_NDJSON,
	ROWSTREAM_BVECS,
	ROWSTREAM_CSV,
};

/* Whether its rows are lines, by which they are known to people. */
static inline bool rowstream_has_lines(enum rowstream_kind kind)
{
	return kind == ROWSTREAM_NDJSON || kind == ROWSTREAM_CSV;
}

#define ROWSTREAM_LINE_MAX (4u << 20)

/*
 * What a stream calls. number counts the rows from 0, bad ones too, so it can
 * stand for a missing id (record->id.len 0). row borrows the record to its
 * return; nonzero stops the stream for good and is what feed and end return.
 * bad gets the line from 1 (rowstream_has_lines), the first of a row that has
 * several, or the row's number, and a sentence.
 */
struct rowstream_calls {
	int (*row)(void *ctx, const struct record *record, uint64_t number);
	void (*bad)(void *ctx, uint64_t place, const char *why);
	void *ctx;
};

/* One thread at a time. All fields are private but error, dim and, inside row,
 * line. */
struct rowstream {
	enum rowstream_kind kind;
	uint32_t dim;	     /* 0 until a header or first row says it */
	struct rowstream_calls calls;
	uint64_t number;     /* of the next row */
	uint64_t line;	     /* where there are lines: of the next byte,
				from 1; inside row: that of the row */
	uint64_t passed;     /* bytes of the stream before the next row */
	struct record_npy npy;
	uint64_t rows_left;  /* NPY: of the array that npy describes */
	char *held;	     /* the begin of a row, line or header */
	size_t held_len, held_cap;
	bool is_skipping;    /* inside a line that is too long */
	struct record_csv csv;
	struct record_parser parser;
	int rc;		     /* what stopped the stream, or 0 */
	char error[256];     /* one sentence, after -EINVAL */
};

/* Rows become vectors of the dtype; dim 0: as the first row has it. calls is
 * copied. */
void rowstream_init(struct rowstream *s, enum rowstream_kind kind,
	enum vg_dtype dtype, uint32_t dim,
	const struct rowstream_calls *calls);
void rowstream_fini(struct rowstream *s);

/*
 * Takes the next len bytes. -EINVAL with s->error: the stream is unreadable
 * from here on. -ENOMEM. Or what row returned. Each of them stays: further
 * calls return it again.
 */
int rowstream_feed(struct rowstream *s, const void *bytes, size_t len);

/*
 * A place between two rows, from which another stream can go on: what is fed
 * to it then are the bytes from `passed` on. All zeros but line 1: the begin.
 */
struct rowstream_mark {
	uint64_t passed, number, line;
	uint64_t rows_left, npy_rows;
	uint32_t dim, npy_dim;
	char npy_kind;
	uint8_t npy_size, is_npy_big, is_skipping, csv_state;
	uint8_t is_npy_packed;
	uint8_t pad[2];
};

/* The place before the row that is being given, inside row; else before the
 * next one. What end has made a row of is behind it. */
void rowstream_get_mark(const struct rowstream *s, bool is_in_row,
	struct rowstream_mark *out);

/* The header of a CSV, which a stream that goes on behind it needs, too:
 * borrowed; len 0: there is none, or it was not read yet. */
struct meta rowstream_get_head(const struct rowstream *s);
int rowstream_put_head(struct rowstream *s, struct meta head);

/* Goes on from mark; before anything was fed. */
void rowstream_put_mark(struct rowstream *s, const struct rowstream_mark *mark);

/*
 * The stream is over, it seems: a last line without a newline is a row if it
 * is one, of a CSV unless a quote is open. -EINVAL with s->error where it ends
 * in the middle ("the stream ends inside row 17 of 100"); then feeding may go
 * on nevertheless, since a shell's redirection flushes in the middle, too.
 * Otherwise as rowstream_feed.
 */
int rowstream_end(struct rowstream *s);

#endif
