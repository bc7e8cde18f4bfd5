/* SPDX-License-Identifier: Apache-2.0 */
/* answer.h: the rows of a search as text or arrays, rendered once. */
#ifndef FS_ANSWER_H
#define FS_ANSWER_H

#include "src/meta.h"
#include "src/vg.h"

/*
 * The formats, by an example of two rows with metadata, and what a batch (more
 * than one query vector) adds:
 *
 *   ndjson  {"rank":1,"id":"a","dist":0.5,"score":0.5,"meta":{"y":1}}  a line
 *           for each row; no "meta" where a record has none. Batch: "q":0,
 *           in front, counted from 0.
 *   json    [the same objects with commas between them], and a newline
 *   tsv     id, tab, dist; tab, newline and backslash in an id are \t \n \\.
 *           Batch: q, tab in front.
 *   ids     one id a line, escaped as in tsv. Batch: an empty line between
 *           one query's ids and the next one's.
 *   dist    one distance a line; batch as ids
 *   f32     the distances, little-endian. Batch: k for each query, NaN where
 *           it found fewer.
 *   npy     the same as an array '<f4' of shape (rows,), a batch (n, k)
 *
 * A distance that overflowed to infinity is null in text. Rows of `all` have
 * no rank, dist and score: they are {"id":...,"meta":...} and ids; dist, f32
 * and npy are refused before (query.h).
 *
 * With a trailer the last line of a text is {"partial":false,"rows":2}, in
 * json the last element of the array. It has no times: what stat, open and
 * read see must agree to the byte.
 */
enum answer_fmt {
	ANSWER_NDJSON,
	ANSWER_JSON,
	ANSWER_TSV,
	ANSWER_IDS,
	ANSWER_DIST,
	ANSWER_F32,
	ANSWER_NPY,
	ANSWER_FMTS, /* their number */
};

/* A format by its word, "tsv"; ANSWER_FMTS: there is none of that name. */
enum answer_fmt answer_find_fmt(const char *word, size_t len);

/* The word of a format; and all of them, "ndjson json tsv ...". */
const char *answer_get_fmt(enum answer_fmt fmt);
#define ANSWER_FMT_WORDS "ndjson json tsv ids dist f32 npy"

/* Whether fmt is an array of distances and nothing else. */
static inline bool answer_is_array(enum answer_fmt fmt)
{
	return fmt == ANSWER_F32 || fmt == ANSWER_NPY;
}

#endif
