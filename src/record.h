/* SPDX-License-Identifier: Apache-2.0 */
/* record.h: bodies in and out: what a person writes becomes a vector and metadata. */
#ifndef VG_RECORD_H
#define VG_RECORD_H

#include "src/op.h"
#include "src/vg.h"

/*
 * A body is parsed in this order, text before raw (three one-decimal numbers
 * are exactly 12 bytes, the size of 3 float32):
 *
 *   1  \x93NUMPY             .npy, one row, any float or integer dtype, C order
 *   2  first non-blank {     {"vector":[...],"metadata":{...}}
 *      first non-blank [     a JSON array of numbers
 *   3  all of  0-9 + - . e E , ; tab space newline: numbers, any separator
 *   4  exactly dim * 4 bytes (dim known), a multiple of 4 otherwise: raw
 *
 * Where dim is known, 1 to 3 apply only if they yield exactly dim numbers; a
 * body of exactly dim * 4 bytes that does not is raw.
 */

/* A body's outcome. Everything is borrowed from the parser until its next use. */
struct record {
	const float *vec; /* NULL: a JSON body without a vector */
	uint32_t dim;	  /* numbers in vec */
	enum op_source source;
	struct vg_id id;  /* rows of an import: the "id" member; len 0: none */
	const char *meta; /* changes: a JSON object; NULL: none were given */
	uint32_t meta_len;
};

/* Buffers that grow to the largest body seen. One thread at a time. */
struct record_parser {
	float *vec;
	size_t vec_cap; /* items */
	char *text;
	size_t text_cap; /* bytes */
	char error[256]; /* one sentence, after -EINVAL */
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
 * to refuse (only cosine does). -ENOMEM.
 */
int record_parse(struct record_parser *p, enum record_form form,
	const void *body, size_t len, uint32_t dim, struct record *out);

/*
 * Whether body[len], the beginning of something longer, can still become
 * valid: 0, or -EINVAL with p->error as soon as it cannot (a bad number, too
 * many of them), so that write() reports it: a shell's echo never sees what
 * close() says.
 */
int record_probe(struct record_parser *p, enum record_form form,
	const void *body, size_t len, uint32_t dim);

/* A metadata object's bytes: compact JSON as src/meta.h keeps it. Borrowed. */
struct record_meta {
	const char *json; /* NULL: none */
	uint32_t len;
};

/*
 * Formats a vector as `form` (not RECORD_ANY) into out[cap], like snprintf:
 * returns the bytes needed, writes at most cap. RAW: the bytes. NPY: a version
 * 1.0 header of 128 bytes, shape (dim,), '<f4'. JSON:
 * {"vector":[...],"metadata":{...}}\n (no "metadata" member without meta).
 * TEXT: numbers separated by commas and a newline. Numbers are the shortest
 * that read back as the same float32.
 */
size_t record_format(enum record_form form, const float *vec, uint32_t dim,
	const struct record_meta *meta, char *out, size_t cap);

#endif
