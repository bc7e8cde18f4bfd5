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
 *   json    [the same objects, a line each], and a newline
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

/* One row. id and meta are borrowed for the call that takes it. */
struct answer_row {
	struct vg_id id;
	float dist;	  /* as interface "Distances, defined once" has it */
	struct meta meta; /* stored form; json NULL: none */
	uint32_t rank;	  /* 0: one more than the row's before */
};

/* What an answer looks like; fixed from answer_open to answer_close. */
struct answer_spec {
	enum answer_fmt fmt;
	enum vg_metric metric; /* score: l2 -dist, cosine 1 - dist, ip -dist */
	const struct vg_id *fields; /* borrowed: members of "meta", in this
				       order; NULL: all as they stand */
	uint32_t n_fields;
	uint32_t n;	   /* queries; more than 1: a batch */
	uint32_t k;	   /* rows of a batch's query, at most; arrays pad */
	uint32_t offset;   /* the first row's rank is offset + 1 */
	bool has_distance; /* false for `all` */
	bool trailer;
};

/* The bytes so far. A caller may take bytes away and set NULL, 0, 0 after
 * answer_close, or set len to 0 between rows that it has passed on. */
struct answer {
	char *bytes; /* owned, grown by doubling */
	size_t len, cap;
	struct answer_spec spec;
	uint32_t q;	 /* the query whose rows come now */
	uint32_t n_rows; /* of it */
	uint64_t total;	 /* of all queries */
};

void answer_init(struct answer *a);
void answer_fini(struct answer *a);

/* Begins an answer in a's buffer; what was in it is gone. -ENOMEM. */
int answer_open(struct answer *a, const struct answer_spec *spec);

/*
 * Adds rows[n] of query q, in order; several calls may add to one query.
 * Queries come in ascending order and may be left out, which is no rows. An
 * answer of arrays takes at most k rows of each query of a batch.
 *
 * -ENOMEM; -VG_ECORRUPT: metadata that is none, with fields. Then the answer
 * is good for answer_open and answer_fini only.
 */
int answer_add(struct answer *a, uint32_t q, const struct answer_row *rows,
	uint32_t n);

/*
 * Adds a value of a facet, one JSON string, number, true or false, that n
 * records have: an object with value and count, a line of both (tsv), or of
 * the value (ids), there a string without its quotes. -ENOMEM.
 */
int answer_add_value(struct answer *a, struct meta json, uint64_t n);

/* Ends it: what is missing of a batch, the trailer, brackets and the header.
 * is_partial is said by the trailer. Errors as answer_add. */
int answer_close(struct answer *a, bool is_partial);

/* The answer of `count`: a number and a newline, whatever the format. */
int answer_put_count(struct answer *a, uint64_t n);

/* Whether fmt is an array of distances and nothing else. */
static inline bool answer_is_array(enum answer_fmt fmt)
{
	return fmt == ANSWER_F32 || fmt == ANSWER_NPY;
}

#endif
