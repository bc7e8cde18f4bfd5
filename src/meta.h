/* SPDX-License-Identifier: Apache-2.0 */
/* meta.h: a record's metadata: one JSON object, kept as its compact text. */
#ifndef VG_META_H
#define VG_META_H

#include "src/vg.h"

/*
 * Stored form: an object without blanks between tokens, member order as it
 * first came, each key once, keys and strings in their shortest escaping (only
 * ", \ and control characters), numbers spelled as they were written (1.10
 * stays 1.10; beyond what a double holds, too). No metadata is stored as
 * nothing (NULL, 0), never as {}. Objects inside values keep what they have,
 * a key given twice, too.
 *
 * All functions here are pure; any thread. Those that take a stored form
 * return -VG_ECORRUPT if it is none, whatever wrote it. An out buffer must not
 * be what the inputs borrow from; after an error its len is 0.
 */
struct meta {
	const char *json; /* borrowed; NULL: none, as is a len of 0 */
	uint32_t len;
};

/* A buffer for results, zero at first, grown as needed and used again.
 * free(buf->bytes) by its owner. */
struct meta_buf {
	char *bytes;
	size_t len, cap;
};

/*
 * Checks in[len], any JSON object in UTF-8, and writes its stored form. A key
 * given twice: the last counts. Nesting deeper than 64, invalid UTF-8, a lone
 * surrogate, over VG_META_MAX bytes: -EINVAL, *why borrows a sentence with the
 * position from out. -ENOMEM.
 */
int meta_parse(const char *in, size_t len, struct meta_buf *out,
	const char **why);

/*
 * The object `old` with `changes` (stored form, nulls kept): a key that is
 * present replaces, null removes, absent keeps. An empty outcome has len 0.
 * -EFBIG over VG_META_MAX. -ENOMEM.
 */
int meta_merge(struct meta old, struct meta changes, struct meta_buf *out);

/*
 * Sets or, value.json NULL, removes one key; else as meta_merge. key is plain
 * UTF-8, value is any compact JSON; null is kept, so that what was set can be
 * got. -EINVAL: the key is not UTF-8. -ENODATA: removing what is not there.
 */
int meta_set(struct meta old, struct vg_id key, struct meta value,
	struct meta_buf *out);

/* The value of a key as compact JSON, borrowed from m. -ENODATA. Allocates
 * nothing. */
int meta_get(struct meta m, struct vg_id key, struct meta *value);

/* Calls each for every member in order until it returns nonzero, which is
 * returned. The key is unescaped and, like the value, borrowed until each
 * returns. -ENOMEM. */
typedef int meta_each_fn(void *ctx, struct vg_id key, struct meta value);
int meta_each(struct meta m, meta_each_fn *each, void *ctx);

/*
 * setfattr and getfattr: a value that parses as any JSON is that value,
 * anything else is a string as it stands; back, a string is printed bare only
 * if bare it would not parse as JSON, else quoted: get and set are inverse.
 * Text that is not UTF-8, or has a NUL: -EINVAL. -EFBIG over VG_META_MAX.
 * -ENOMEM.
 */
int meta_from_text(const char *text, size_t len, struct meta_buf *value);
int meta_to_text(struct meta value, struct meta_buf *text);

#endif
