/* SPDX-License-Identifier: Apache-2.0 */
/* rowfile.h: all records of one moment as one big file that is never whole. */
#ifndef FS_ROWFILE_H
#define FS_ROWFILE_H

#include "fs/answer.h"
#include "fs/pool.h"
#include "src/filter.h"
#include "src/store.h"

/*
 * The files of .export and the answer of `query/all`. Opening one notes which
 * versions a moment sees; reading renders those that the read touches. So what
 * is written or deleted meanwhile changes nothing, and memory is 4 bytes a row
 * and, for text, 8 bytes for each block of rows: at most 256 of them, fewer
 * where they are long, so that a block is about 64 KiB.
 *
 *   IDS     an id a line, tab, newline and backslash as \t \n \\ (answer.h)
 *   NPY     (rows, dim) of the dtype, of bits (rows, dim / 8), packed; (0, 1)
 *           if dim is not known yet
 *   FVECS   each row its dim as int32 and dim float32, whatever the dtype
 *   VEC     24 bytes, little-endian: u32 0x56454354, u32 version 1, u64 rows,
 *           u32 dim, u32 0; then the rows as float32, whatever the dtype;
 *           dim as of NPY
 *   NDJSON  {"id":"a","vector":[1,2],"metadata":{"y":1}} a line, what
 *           .import/ndjson takes back; "metadata" only where there is some
 *   ALL     rows as answer.h has them, without distances
 *
 * Rows of all but ALL stand in one order, that in which their vectors were
 * written, or, behind a compaction, their records changed last; so that row i of
 * NPY is line i of the others. ALL is sorted by the
 * bytes of the ids, or by a field before.
 *
 * The exact size is known when it is open, for which text is rendered once,
 * about 50 ns a number; NPY, FVECS and VEC cost a look at each record.
 */
enum rowfile_kind {
	ROWFILE_IDS,
	ROWFILE_NPY,
	ROWFILE_FVECS,
	ROWFILE_NDJSON,
	ROWFILE_VEC,
	ROWFILE_ALL,
};

struct rowfile_spec {
	enum rowfile_kind kind;
	struct pool *pool; /* helps to open; NULL: nobody does */
	const struct look *look; /* borrowed; NULL: the present */
	unsigned threads;  /* at most, the caller's included; 0: any */

	/* ALL: */
	enum answer_fmt fmt;	    /* ndjson, json, tsv or ids */
	const struct vg_id *fields; /* copied; NULL: all of metadata */
	uint32_t n_fields;
	const struct filter *filter; /* borrowed; NULL: all records */
	struct vg_id group; /* of each value of the field the first by id;
			       borrowed; len 0: all */
	struct vg_id order; /* the field to sort by, then by id; likewise */
	bool is_desc;
	uint32_t offset; /* rows left out at the beginning */
	uint32_t k;	 /* rows at most after that; 0: all there are */
	bool trailer;
};

struct rowfile;

/*
 * Opens a file over the present, or over spec->look; takes a reference on c and a moment.
 * *out is returned owned. cancel is polled, NULL: never; -EINTR: it was true.
 * -ENOMEM. -VG_ECORRUPT: metadata that is none. May take long; any thread.
 */
int rowfile_open(struct store *s, struct collection *c,
	const struct rowfile_spec *spec, const _Atomic bool *cancel,
	struct rowfile **out);

/* Gives the moment and the collection back. NULL is allowed. */
void rowfile_close(struct rowfile *rf);

/* Bytes, to the last one. Any thread. */
uint64_t rowfile_size(const struct rowfile *rf);
uint64_t rowfile_rows(const struct rowfile *rf);

/* What it shows; borrowed until rowfile_close. */
const struct look *rowfile_look(const struct rowfile *rf);

/* When the collection changed last, as far as the file shows it. */
int64_t rowfile_mtime_ns(const struct rowfile *rf);

/*
 * Reads up to len bytes at off, as many as there are, into buf; their number
 * into *n. A read of text renders up to one block more than it returns.
 * -ENOMEM, -VG_ECORRUPT. Any thread, any number of them at once.
 */
int rowfile_read(const struct rowfile *rf, uint64_t off, void *buf, size_t len,
	size_t *n);

#endif
