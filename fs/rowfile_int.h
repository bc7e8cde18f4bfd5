/* SPDX-License-Identifier: Apache-2.0 */
/* rowfile_int.h: what rowfile.c and rowfile_rows.c share. */
#ifndef FS_ROWFILE_INT_H
#define FS_ROWFILE_INT_H

#include "fs/rowfile.h"

#define ROWFILE_HEAD 128u /* bytes before the rows, at most: npy's header */
#define ROWFILE_TAIL 64u  /* bytes after them, at most: a trailer */

/*
 *   head | row 0 | row 1 | ... | tail
 *
 * Where each row has row_len bytes that is all there is to know; in text
 * offset[b] says where block b, the rows from b * block_rows on, begins.
 * Nothing changes after rowfile_open.
 */
struct rowfile {
	struct store *store;
	struct collection *coll; /* referenced */
	struct look look;	 /* what it shows */
	enum rowfile_kind kind;
	struct answer_spec answer; /* IDS and ALL; fields are owned */
	uint32_t dim;		   /* of every row */
	enum vg_dtype dtype;	   /* likewise */
	uint32_t *rows;		   /* owned: versions, in the file's order */
	uint64_t n;
	int64_t mtime_ns;
	uint64_t size;

	char head[ROWFILE_HEAD], tail[ROWFILE_TAIL];
	size_t head_len, tail_len;
	size_t row_len;	     /* 0: text */
	uint32_t block_rows; /* text: rows of a block, 1..256 */
	uint64_t n_blocks;
	uint64_t *offset; /* owned: n_blocks + 1, from the head's end */
};

/* What opening needs: who helps, who stops it. */
struct rowfile_help {
	struct pool *pool;
	unsigned threads; /* > 0 */
	const _Atomic bool *cancel;
};

/* -EINTR when the caller wants no more. */
int rowfile_check_cancel(const struct rowfile_help *help);

/* Collects what rf->look shows, in the order of slots, and sets rows, n and
 * dim. Errors as rowfile_open. */
int rowfile_put_rows(struct rowfile *rf, const struct rowfile_help *help);

/* Leaves those that the filter means. Errors of match_new. */
int rowfile_keep_matches(struct rowfile *rf, const struct filter *filter);

/* Sorts the rows by the bytes of their ids. Errors likewise. */
int rowfile_sort(struct rowfile *rf, const struct rowfile_help *help);

/* Leaves the first row of each value of a field. Errors likewise, and
 * -VG_ECORRUPT. */
int rowfile_collapse(struct rowfile *rf, struct vg_id field,
	const struct rowfile_help *help);

/* Sorts the rows by spec->order, equal ones as they were. Errors likewise. */
int rowfile_order(struct rowfile *rf, const struct rowfile_spec *spec,
	const struct rowfile_help *help);

#endif
