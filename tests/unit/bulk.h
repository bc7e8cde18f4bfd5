/* SPDX-License-Identifier: Apache-2.0 */
/* bulk.h: what tests of imports and exports share: a store, streams, records. */
#ifndef TESTS_UNIT_BULK_H
#define TESTS_UNIT_BULK_H

#include "fs/import.h"
#include "src/store.h"

/* Opens the store at scratch()/name. */
struct store *bulk_open(const char *name, enum store_durability durability);

/* Makes a collection with a reference; metric and index NULL: defaults. */
struct collection *bulk_make(struct store *s, const char *name,
	const char *metric, const char *index);

struct vg_id bulk_id(const char *s);

/* Commits one change and returns its rc. */
int bulk_run(struct store *s, struct change *ch);
int bulk_put(struct store *s, struct collection *c, struct vg_id id,
	const float *vec, uint32_t dim);
int bulk_del(struct store *s, struct collection *c, struct vg_id id);
int bulk_meta(struct store *s, struct collection *c, struct vg_id id,
	const char *json);

/* The record, or NULL: there is none. Borrowed from the collection. */
const struct version *bulk_find(struct store *s, struct collection *c,
	struct vg_id id);

/* Whether id has this metadata, as text; NULL: it has none, but a record. */
bool bulk_has_meta(struct store *s, struct collection *c, const char *id,
	const char *json);

/* Number i of vector n: distinct, finite, never all zero. */
float bulk_number(uint64_t n, uint32_t i);
void bulk_vec(uint64_t n, uint32_t dim, float *out);

/* Bytes that grow. */
struct bulk {
	char *bytes; /* free() by its owner */
	size_t len, cap;
};
void bulk_add(struct bulk *b, const void *bytes, size_t len);
void bulk_print(struct bulk *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A stream of rows n, n + 1, ... of bulk_vec in a kind's format, the ids of
 * ndjson "rN" and its metadata {"n":N}. */
void bulk_stream(struct bulk *b, enum rowstream_kind kind, uint64_t n,
	uint64_t rows, uint32_t dim);

/* Feeds bytes in pieces of 1..piece bytes, at random; 0: all at once. */
int bulk_feed(struct import *im, const struct bulk *b, size_t piece);

/* An import from beginning to end: what flush says. board NULL: one of its
 * own. */
int bulk_import(struct store *s, struct collection *c, enum rowstream_kind kind,
	const struct bulk *b, struct import_board *board);

/* The value of a key in a board's status, and its errors, as text that the
 * next call overwrites. */
const char *bulk_status(struct import_board *board, const char *key);
const char *bulk_errors(struct import_board *board);

/* Bytes of anonymous memory of this process. */
size_t bulk_rss(void);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BULK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BULK_SANITIZED 1
#endif
#endif
#ifndef BULK_SANITIZED
#define BULK_SANITIZED 0
#endif

#endif
