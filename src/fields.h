/* SPDX-License-Identifier: Apache-2.0 */
/* fields.h: indexes of metadata's fields: which versions a filter means. */
#ifndef VG_FIELDS_H
#define VG_FIELDS_H

#include "src/filter.h"

struct roaring_bitmap_s; /* roaring_bitmap_t of <roaring/roaring.h> */

/*
 * Versions of a generation are numbered 0, 1, 2, ..., and their metadata never
 * changes. A field that a filter asks for is indexed from then on, as far as
 * versions are known, and the next question extends it by those that came
 * since. What is indexed is a matter of speed only: answers are what
 * filter_matches says of each version, and a field that was dropped comes back
 * when it is asked for.
 *
 * RUNS. A field's index is a list of runs, each of the versions begin..end-1
 * behind those of the run before. A run never changes; two that are next to
 * each other are merged while the second is at least half as large as the
 * first, so there are few, and each version is moved a logarithmic number of
 * times. A run is a dictionary: its keys in order, and behind each key the
 * versions that have it:
 *
 *	key      u8     0: the field is there and not null; no payload. Else
 *			the type, 1 false, 2 true, 3 number, 4 string, and 8
 *			more for what is an element of an array
 *		 payload  number: src/decimal.h. string: its bytes. A payload
 *			over FIELDS_PAYLOAD_MAX bytes is cut there, and the XXH3
 *			of the whole, highest byte first, is behind it
 *
 * By memcmp, a key that begins another before it, keys are in the order of
 * types and values; so a range of values is one slice of the dictionary, and
 * as the versions of all keys are one array in the order of keys, the versions
 * of a range are a slice too. That is why a range over a million numbers costs
 * no more than it has versions. A key that at least one in 32 of the run's
 * versions have has a bit for each version instead, which is shorter then and
 * taken 64 at a time. What a cut key cannot tell is asked of filter_matches.
 *
 * WHY THE VERSIONS OF A KEY ARE NO ROARING BITMAP. CRoaring up to 2 ends the
 * process where it gets no memory, all but where it reads its portable form;
 * so sets are put together here, as bits, and given out through that form.
 *
 * CONCURRENCY. Any number of threads may call anything at a time, but free. A
 * reader takes references on the runs of its fields under a read lock and then
 * works without one. One thread at a time extends a field, beside readers and
 * the extension of others; the write lock is held to put the outcome in place.
 *
 * FAILURE. After -ENOMEM all is as it was, but that a field which was extended
 * before the failure stays extended: no answer depends on it. -VG_ECORRUPT: the
 * metadata of some version is no stored form; so no filter of that field has an
 * answer.
 */
struct fields;

#define FIELDS_PAYLOAD_MAX 128u

/* Versions and their metadata. get may be called by any thread, for any version
 * below n; what it returns is borrowed until its thread's next call. */
struct fields_rows {
	struct meta (*get)(void *ctx, uint32_t version);
	void *ctx;
	uint32_t n;
};

/*
 * Without any index. Those beyond bytes_max bytes of memory or n_max fields are
 * dropped, the least recently used first, never the one just extended; what a
 * caller works on at that moment is freed when he is done. -ENOMEM.
 */
int fields_new(size_t bytes_max, uint32_t n_max, struct fields **out);
void fields_free(struct fields *f); /* NULL is allowed */

/* Memory of all indexes in bytes, and how many there are. Any thread. */
size_t fields_bytes(struct fields *f);
uint32_t fields_count(struct fields *f);

/* How often the metadata of a version was looked at for an index: what was
 * loaded was not. Any thread. */
uint64_t fields_read(struct fields *f);

/* The names of all that are indexed, by their bytes, with the bytes themselves
 * in one block: the caller's, free(). -ENOMEM. Any thread. */
int fields_names(struct fields *f, struct vg_id **out, uint32_t *n);

/*
 * The versions below rows->n whose metadata filter matches, visible or not: the
 * caller's, roaring_bitmap_free(). -ENOMEM, -VG_ECORRUPT. Any thread.
 */
int fields_match(struct fields *f, const struct filter *filter,
	const struct fields_rows *rows, struct roaring_bitmap_s **out);

/*
 * Calls each for the values of a field in order (false, true, numbers, strings
 * by their bytes; those of elements among the others) with all versions below
 * rows->n that have it, each version once, ascending within a call. A value
 * may come in several calls: no is its number, 0, 1, ... json is its one
 * spelling, of a string in quotes. All is borrowed until each returns; not 0
 * ends it and is returned. -ENOMEM, -VG_ECORRUPT. Any thread.
 */
typedef int fields_value_fn(void *ctx, uint32_t no, struct meta json,
	const uint32_t *versions, uint32_t n);
int fields_each_value(struct fields *f, struct vg_id field,
	const struct fields_rows *rows, fields_value_fn *each, void *ctx);

/* Indexes a field that another has, the nth of them, 0 the first: 1. 0: that has
 * no so many. -ENOMEM, -VG_ECORRUPT. Any thread. */
int fields_index_like(struct fields *f, struct fields *like, uint32_t nth,
	const struct fields_rows *rows);

/* Versions that count: those of set (NULL: all) that is_among (NULL: all)
 * accepts. */
struct fields_among {
	const struct roaring_bitmap_s *set;
	bool (*is_among)(void *ctx, uint32_t version);
	void *ctx;
};

/*
 * Calls each for the values of a field that versions among these have, with the
 * number of those versions, the most frequent first, equal ones in order of
 * values, until it returns nonzero, which is returned. json as above. Values
 * over FIELDS_PAYLOAD_MAX bytes are told apart by their first bytes and XXH3.
 * -ENOMEM, -VG_ECORRUPT. Any thread.
 */
typedef int fields_facet_fn(void *ctx, struct meta json, uint32_t n);
int fields_facet(struct fields *f, struct vg_id field,
	const struct fields_rows *rows, const struct fields_among *among,
	fields_facet_fn *each, void *ctx);

/*
 * SAVED as a stream, little-endian, without gaps; format version 1, which
 * docs/format.md has for readers:
 *
 *	head     8 bytes  magic, "vgfld\r\n\x1a"
 *		 u32      version: 1
 *		 u32      fields
 *		 sum
 *	and for each field, the least recently used first:
 *		 u32      bytes of its name, 1..FILTER_FIELD_MAX
 *		 u32      runs, 1..FIELDS_RUNS_MAX
 *		 sum
 *		 bytes    its name
 *		 sum
 *	and for each run of it:
 *		 u32 x 6  begin, end, keys, bytes of keys, versions in lists,
 *			  keys with bits
 *		 sum
 *		 u32 x keys + 1          where each key begins, and the end
 *		 bytes                   keys
 *		 u32 x keys + 1          where its versions begin, and the end
 *		 u32 x versions          versions of all keys, ascending in each
 *		 u32 x 2 x keys with bits   the key, and how many versions
 *		 u64 x words x keys with bits   bit v % 64 of word v / 64 -
 *			  begin / 64; words = (end - 1) / 64 - begin / 64 + 1
 *		 sum
 *
 * Each head, name and array is a piece, one of more than 1 MiB several of that
 * length and a rest. The sum is 0 at first, and behind each piece the XXH3 of
 * the sum before it, as u64, and the piece; a sum in the stream, which is no
 * piece, is what it is there. So nothing of it fits anywhere else. The last
 * sum is the end.
 *
 * write is called for up to 1 MiB at a time; its error is returned. Any thread;
 * what is extended meanwhile may be missing. -ENOMEM.
 */
#define FIELDS_RUNS_MAX 4096u

struct fields_sink {
	int (*write)(void *ctx, const void *bytes, size_t len);
	void *ctx;
};
int fields_save(struct fields *f, const struct fields_sink *sink);

/* Versions that are indexed, added up over all fields: *all; and returned those
 * that neither fields_load nor the last fields_save had, unless what that wrote
 * was lost: fields_unsave. Any thread. */
uint64_t fields_unsaved(struct fields *f, uint64_t *all);
void fields_unsave(struct fields *f);

/*
 * Adds what a stream has of fields that are not indexed yet. read fills buf or
 * returns an error, which is returned: -VG_ECORRUPT where the stream ends.
 * -VG_ECORRUPT: no such stream, damaged, of more than n versions, or breaking
 * an order that searches rely on; *why (constant) says what. Another version
 * is refused like this, too: indexes can be made anew. -ENOMEM. After an error
 * nothing was added. Any thread.
 */
struct fields_source {
	int (*read)(void *ctx, void *buf, size_t len);
	void *ctx;
};
int fields_load(struct fields *f, uint32_t n,
	const struct fields_source *source, const char **why);

/* Walks every order that RUNS names: 0, or -VG_ECORRUPT and *why (constant).
 * For tests, fuzzers and checks. Any thread. */
int fields_check(struct fields *f, const char **why);

#endif
