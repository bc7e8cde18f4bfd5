/* SPDX-License-Identifier: Apache-2.0 */
/* import.h: a stream of rows becomes commits, in constant memory. */
#ifndef FS_IMPORT_H
#define FS_IMPORT_H

#include "fs/import_board.h"
#include "src/store.h"

/*
 * What is written to an open .import/KIND[@PREFIX]. A row is known by its id
 * or, without one, by the prefix and its number from 0. Its vector replaces
 * the record's; its metadata is merged into the record's (a key that is
 * present replaces, null removes, absent keeps); a row without a vector
 * changes metadata only.
 *
 * Rows go in by commits of at most IMPORT_ROWS rows or IMPORT_VECS bytes of
 * vectors. While one is under way the next is filled; then it is waited for.
 * So memory is that of two commits and one row, and the writer is slowed to
 * the pace of the disk and of the index, which answers late when it is behind.
 *
 * A bad row (src/rowstream.h; or refused by the store: a zero vector under
 * cosine, metadata for an id that is not there) is told to the board and does
 * not stop the others. A failure of the store does: -ENOSPC, -EDQUOT, -EROFS,
 * -EIO, -ENOMEM, and -ENOENT when the collection was removed. Then every
 * further call returns that.
 *
 * All calls may block. One thread at a time.
 */
struct import;

#define IMPORT_ROWS 1024u
#define IMPORT_VECS (1u << 20)

/*
 * Begins an import and clears the board. References c and board, copies the
 * prefix (len 0: none). *out is returned owned. -ENOMEM.
 */
int import_new(struct store *s, struct collection *c, enum rowstream_kind kind,
	struct vg_id prefix, struct import_board *board, struct import **out);

/*
 * How far an import is for good: rows before it are in, or refused and told
 * of. Whoever keeps the bytes of the stream from there on, and the mark, can go
 * on in another process: import_new with the same arguments and the same
 * origin, import_put_mark, and those bytes, with is_repeat.
 */
struct import_mark {
	struct rowstream_mark stream;
	uint64_t n_rows, n_bad, first_bad;
};
void import_get_mark(const struct import *im, struct import_mark *out);
void import_put_mark(struct import *im, const struct import_mark *mark);

/* What that process needs of a stream beside its mark, whose it is once that is
 * behind the begin: the header of a CSV, of len 0 where there is none; borrowed.
 * import_put_head before anything is written: -EINVAL, -ENOMEM. */
struct meta import_get_head(const struct import *im);
int import_put_head(struct import *im, struct meta head);

/*
 * Rows have an origin of their own from here on: session and a number of the
 * stream, so that one that was applied by the process before is not applied
 * again. is_repeat: what is written now may be such. Any order of calls.
 */
void import_put_origin(struct import *im, uint64_t session, uint64_t stream,
	bool is_repeat);

/*
 * Takes the next bytes of the stream. 0: all of them were taken, bad rows or
 * not. -EINVAL: the stream is unreadable from here on: what came before goes
 * in, no more is taken. Or what stopped it, as above.
 */
int import_write(struct import *im, const void *bytes, size_t len);

/*
 * Waits until all rows so far are in. -EINVAL: there was a bad row, the stream
 * is unreadable, or it ends in the middle; after the last more may be written
 * (a shell's redirection flushes in the middle). Or what stopped it. Call it
 * at each flush: a later one says the same again unless something was written.
 */
int import_flush(struct import *im);

/* Waits until all rows so far are in or refused: import_get_mark is behind them
 * then. */
void import_settle(struct import *im);

/* One sentence why the last call failed; "" if it did not. Borrowed until the
 * next call. */
const char *import_error(const struct import *im);

/* Flushes if something was written since, frees. NULL is allowed. */
void import_free(struct import *im);

#endif
