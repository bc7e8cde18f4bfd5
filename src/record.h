/* SPDX-License-Identifier: Apache-2.0 */
/* record.h: bodies in and out: what a person writes becomes a vector and metadata. */
#ifndef VG_RECORD_H
#define VG_RECORD_H

#include "src/meta.h"
#include "src/op.h"
#include "src/vg.h"

/*
 * A body is parsed in this order, text before raw (three one-decimal numbers
 * are exactly 12 bytes, the size of 3 float32):
 *
 *   1  \x93NUMPY             .npy, one row, any float, integer or boolean dtype,
 *                          C order; for b1 uint8 may be packed bits, too
 *   2  first non-blank {     {"vector":[...],"metadata":{...},"id":...}
 *      first non-blank [     a JSON array of numbers
 *   3  all of  0-9 + - . e E , ; tab space newline: numbers, any separator
 *   4  raw: exactly as many bytes as dim elements have (dim known), else a
 *      multiple of an element's
 *
 * Where dim is known, 1 to 3 apply only if they yield exactly dim numbers, or
 * are an object without a vector; a body of exactly a row's bytes that does
 * not is raw. Where it is not, what a person typed is not taken for raw: six or
 * more bytes of printable text that end in a newline.
 *
 * An object's members are all optional, but others are refused by name, so a
 * "vektor" is never dropped silently. A member that stands twice: the last
 * counts. null is as if it were absent. Between two numbers of text stand
 * blanks with at most one comma or semicolon; one more may end the text.
 *
 * Numbers become elements of the parser's dtype (src/element.h); one that does
 * not fit is refused. Of bits dim is a multiple of 8.
 */

/* A body's outcome. Everything is borrowed from the parser until its next use. */
struct record {
	const void *vec; /* NULL: a JSON body without a vector */
	uint32_t dim;	 /* elements of the parser's dtype in vec; 0 without */
	enum op_source source; /* of vec; 0 without */
	struct vg_id id;  /* the "id" member, for rows of an import; len 0: none.
			     A string without NUL, or a whole number's digits */
	const char *meta; /* changes: a JSON object; NULL: none were given */
	uint32_t meta_len;
};

/* Buffers that grow to the largest body seen. One thread at a time. */
struct record_parser {
	enum vg_dtype dtype; /* of vec; the caller may set another than f32 */
	void *vec;
	size_t vec_cap;	 /* bytes */
	size_t vec_len;	 /* elements of a batch's rows before this one */
	struct meta_buf meta;
	char id[VG_ID_MAX];
	char error[256]; /* one sentence, after -EINVAL */
	bool is_probe;	 /* inside record_probe: the body may go on */
	bool is_cut;	 /* after -EINVAL: more bytes might make it valid */
};

void record_parser_init(struct record_parser *p);
void record_parser_fini(struct record_parser *p);

/* The forms of .as/ and of bodies. RECORD_ANY guesses as above. */
enum record_form {
	RECORD_ANY,
	RECORD_RAW,
	RECORD_NPY,
	RECORD_JSON,
	RECORD_TEXT,
};

/*
 * Parses body[len]; dim 0: not known yet. NaN, infinity, a number out of
 * float's range, a wrong count: -EINVAL with p->error ("this collection has
 * 384 dimensions, the body has 383 numbers"). A zero vector is the caller's
 * to refuse (only cosine does). -ENOMEM. The caller ignores out->id, or checks
 * it against the name that is written to.
 */
int record_parse(struct record_parser *p, enum record_form form,
	const void *body, size_t len, uint32_t dim, struct record *out);

/*
 * Whether body[len], the beginning of something longer, can still become
 * valid: 0, or -EINVAL with p->error as soon as it cannot (a bad number, too
 * many of them), so that write() reports it: a shell's echo never sees what
 * close() says. -ENOMEM.
 *
 * RECORD_ANY: what is at most dim * 4 bytes long could become raw, whatever it
 * looks like. Here we prefer to be of use: what looks typed (see above) and
 * parses as nothing is refused although a raw vector might begin so. It takes
 * a dd of one byte a write to meet that, and luck of one in 30,000.
 *
 * Only bodies up to RECORD_PROBE_MAX are looked at, longer ones are 0: a shell
 * writes in pieces of 4 KiB or so and each call starts anew, so a body costs
 * at most 16 such scans.
 */
#define RECORD_PROBE_MAX (64u << 10)
int record_probe(struct record_parser *p, enum record_form form,
	const void *body, size_t len, uint32_t dim);

/*
 * One row of an ndjson import: record_parse of an object or an array, which
 * must be all of line[len] except blanks.
 */
int record_parse_row(struct record_parser *p, const char *line, size_t len,
	uint32_t dim, struct record *out);

/*
 * The numbers of a JSON array, after its JSON_ARRAY token was read from j,
 * into p->vec, their count into *n. -EINVAL with p->error: not a number, more
 * than VG_DIM_MAX of them. -ENOMEM. For requests that have other members.
 */
struct json;
int record_parse_array(struct record_parser *p, struct json *j, uint32_t *n);

/* n vectors of a query, row after row, borrowed from the parser or the body. */
struct record_batch {
	const void *vecs; /* elements of dtype */
	uint32_t n; /* from 1 to RECORD_BATCH_MAX */
	uint32_t dim;
	enum vg_dtype dtype;
};

#define RECORD_BATCH_MAX 100000

/*
 * Parses a query's body, one vector or many: npy of shape (n, dim) or (dim,);
 * JSON: an array, an array of arrays, or a line for each vector, an array or
 * an object with "vector"; text: a vector a line, or one over several lines;
 * fvecs (each row begins with dim as int32); raw: n rows of bytes. dim 0: as
 * the first row has it, and raw is one row. All rows have one length. Errors
 * as record_parse; the rows take at most 2 * VG_BODY_MAX bytes.
 */
int record_parse_batch(struct record_parser *p, const void *body, size_t len,
	uint32_t dim, struct record_batch *out);

/* A metadata object's bytes: compact JSON as src/meta.h keeps it. Borrowed. */
struct record_meta {
	const char *json; /* NULL: none */
	uint32_t len;
};

/* A vector: dim elements of the dtype at vec, borrowed. */
struct record_row {
	const void *vec;
	uint32_t dim;
	enum vg_dtype dtype;
};

/*
 * Formats a vector as `form` (not RECORD_ANY) into out[cap], like snprintf:
 * returns the bytes needed, writes at most cap. RAW: the bytes. NPY: a version
 * 1.0 header of 128 bytes, shape (dim,), '<f4', '<f2' or '|i1'; of bits they
 * are packed, (dim / 8,) of '|u1'. JSON:
 * {"vector":[...],"metadata":{...}}\n (no "metadata" member without meta).
 * TEXT: numbers separated by commas and a newline. Numbers are the shortest
 * that read back as the same float32. Allocates nothing. Any thread.
 */
size_t record_format(enum record_form form, const struct record_row *row,
	const struct record_meta *meta, char *out, size_t cap);

#endif
