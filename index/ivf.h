/* SPDX-License-Identifier: Apache-2.0 */
/* ivf.h: short codes of rows in lists by what they are near to. */
#ifndef INDEX_IVF_H
#define INDEX_IVF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/heap.h"
#include "index/rows.h"
#include "src/vg.h"

/*
 * Inverted file with product quantisation: Jegou, Douze and Schmid, "Product
 * quantization for nearest neighbor search", IEEE PAMI 33 (1), 2011, section
 * IV. Each row stands in the list of the centroid c that is nearest to it, as
 * a code of what is left, x - c (pq.h). A search looks through the lists of
 * the nprobe centroids that are nearest to its query, and compares the best of
 * what it finds there by their rows. So a row costs some 8 bytes and one for
 * some elements, not the links and codes of a graph, and who has far more rows
 * than memory reads few of them for a query; a graph (hnsw.h) is faster where
 * it fits.
 *
 * DEVIATIONS
 *
 * - One table for all lists. |q - c - r|^2 is |q - c|^2 - 2 q.r + (|r|^2 +
 *   2 c.r) for a decoded r: the bracket, a row's `term`, is kept beside its
 *   code, so what depends on the query and r is q.r alone, and its table is
 *   made once, not for each list.
 * - It grows. Rows are in one list and compared exactly until IVF_TRAIN are
 *   there; then, and whenever they have become IVF_GROWTH times as many,
 *   centroids and codes are learnt anew, from a sample, and all rows coded
 *   again (ivf_train), while puts and searches go on by what there was. So
 *   lists are about 4 sqrt(n), and a row is coded 4 / 3 times, on average.
 * - Rows whose squares leave a float's range stand in a list of their own,
 *   without codes, and are compared exactly; so is everything with such a
 *   query.
 * - A search that meets too few rows that may be answered goes on through
 *   farther lists, all of them if need be: it comes short only of rows that
 *   are not there.
 *
 * Under cosine rows and queries are made 1 long, and l2 says the rest. Under ip
 * rows are grouped by l2, and a query asks the lists whose centroids have the
 * largest product with it.
 *
 * A LIST is a chain of blocks of IVF_BLOCK records that never move:
 *
 *	block: next | slot u32 x 32 | term f32 x 32 | code m bytes x 32
 *
 * INVARIANTS, while no put runs; ivf_check says which one broke
 *
 *	I1  A slot whose put returned 0 stands in one list once, and no other
 *	    slot does; its bit is set.
 *	I2  Code and term are those of its row in that list; or it is the last
 *	    list, that of rows without codes. (That the centroid is the nearest
 *	    is not checked: kernels that sum in another order may have found
 *	    another one, and no harm comes of it but to recall.)
 *
 * CONCURRENCY. Any number of puts and searches at once, one ivf_train and one
 * save. A list is written under a lock (striped), each record before the
 * list's length is raised with release; a search reads the length with acquire
 * and takes no lock but, once, that of a count of references: what was learnt
 * is one object with all lists, replaced as a whole, and freed when the last
 * search that began in it is done. Puts wait for the last few rows that are
 * coded again before it is replaced, not for the training.
 *
 * Slots are below IVF_SLOT_MAX. Nothing here logs, reads files or exits.
 */
struct ivf;
struct ivf_scratch;

#define IVF_SLOT_MAX 0x7fffffffu
#define IVF_TRAIN 8192u /* rows from which on there are lists */
#define IVF_GROWTH 4u	/* times as many rows: they are made anew */
#define IVF_LISTS_MAX 65536u
#define IVF_BLOCK 32u

struct ivf_config {
	uint32_t dim;	       /* 1..VG_DIM_MAX */
	enum vg_metric metric; /* l2, cosine or ip */
	size_t sample_bytes;   /* of rows that are learnt from, at most, of 256
				  MiB; 0: so many */
};
#define IVF_SAMPLE_SHARE 8u /* of the memory: what sample_bytes should be */

/* Without rows. rows (stride dim * 4) are borrowed until ivf_free. Returns
 * owned. -EINVAL: a setting out of range. -ENOMEM. */
int ivf_new(const struct ivf_config *config, const struct rows *rows,
	struct ivf **out);

/* Ends one that no thread uses any more; NULL is legal. */
void ivf_free(struct ivf *v);

/* What one search or put at a time works in; serves any. It grows when one
 * begins. Returns owned. -ENOMEM. */
int ivf_scratch_new(struct ivf_scratch **out);
void ivf_scratch_free(struct ivf_scratch *s);

/*
 * Takes in one slot, whose row was written before. Any order, any number of
 * threads, beside searches. -ENOMEM: nothing changed. -EEXIST: it is in.
 * -ERANGE: slot is not below IVF_SLOT_MAX. A slot is never taken out again:
 * is_visible hides.
 */
int ivf_put(struct ivf *v, uint32_t slot, struct ivf_scratch *s);

/*
 * What is asked. ef (raised to k): so many candidates are compared by their
 * rows. nprobe: so many lists are looked through at least; 0: as many as
 * ivf_nprobe says. is_visible, ctx, cancel and n_kept: as of hnsw_query; of
 * cancel is taken notice before each list.
 */
struct ivf_query {
	const float *vec; /* dim finite floats, borrowed */
	uint32_t k;	  /* 1..VG_EF_MAX */
	uint32_t ef;	  /* ..VG_EF_MAX */
	uint32_t nprobe;
	bool (*is_visible)(void *ctx, uint32_t slot);
	void *ctx;
	const _Atomic bool *cancel;
	uint32_t *n_kept;
};

/*
 * Fills out[0..*n) (room for max(k, ef)) with visible rows near vec. Distances
 * are exact, the order is (dist, slot). *n is below k only if fewer rows are
 * visible. Rows put while the search runs may be found or not.
 *
 * -EINVAL: k or ef out of range. -ENOMEM: the scratch had to grow. -EINTR.
 */
int ivf_search(struct ivf *v, const struct ivf_query *q, struct ivf_scratch *s,
	struct hit *out, uint32_t *n);

/* The lists that are looked through for ef, if the query does not say. */
uint32_t ivf_nprobe(uint32_t n_lists, uint32_t ef);

/* Whether it is time for ivf_train. Any thread, at once. */
bool ivf_is_due(struct ivf *v);

/*
 * Learns lists and codes anew, and codes all rows by them. Takes as long as it
 * takes: seconds for a million rows. 0 also if it was not due, or rows do not
 * serve (too few have codes). -EBUSY: another thread does it. -EINTR: *cancel
 * became true. -ENOMEM. After an error all is as it was.
 */
int ivf_train(struct ivf *v, const _Atomic bool *cancel);

/* Whether a put of slot has returned 0, or it was loaded. Any thread. */
bool ivf_is_linked(struct ivf *v, uint32_t slot);

/* How many slots are. Any thread. */
uint32_t ivf_count(struct ivf *v);

struct ivf_stat {
	uint32_t linked;
	uint32_t coded;	  /* of them */
	uint32_t n_lists; /* 0: none was learnt yet */
	uint32_t trained; /* rows there were when they were learnt */
	uint32_t m;	  /* bytes of a code */
	bool is_training;
	size_t bytes; /* memory of all of it */
};

/* At once; any thread. */
void ivf_stat(struct ivf *v, struct ivf_stat *out);

/* How many rows the shortest and the longest list have, of those that have a
 * centroid; 0 and 0 while nothing is learnt. Looks at each; any thread. */
void ivf_list_rows(struct ivf *v, uint32_t *fewest, uint32_t *most);

/*
 * SAVING. A base is all of it, a delta the rows that came since the save before
 * (index/ivf_save.c has the bytes). Both are written beside puts and searches,
 * and have a row or not; another save runs beside none. What was learnt since
 * is not in a delta: then ivf_save writes a base, whatever it is asked for, as
 * it does where none was saved or loaded, or the last save failed. write is
 * called for up to 512 KiB at a time; its error is returned. -ENOMEM.
 */
struct ivf_sink {
	int (*write)(void *ctx, const void *bytes, size_t len); /* 0 or error */
	void *ctx;
};
int ivf_save(struct ivf *v, bool is_base, const struct ivf_sink *sink,
	bool *is_delta);

/* Rows that no save has; all, if the next must be a base. Any thread. */
uint32_t ivf_unsaved(struct ivf *v);

/* Bytes that a delta would have now (a base's, where that must be next), and
 * that a base would. Any thread. */
void ivf_save_cost(struct ivf *v, size_t *delta, size_t *base);

/*
 * LOADING. read fills buf with the next len bytes of the stream: 0, or an error
 * (its end is one, too). A base makes one, as ivf_new; deltas are then loaded in
 * the order in which they were saved. n_rows: rows there are. -VG_ECORRUPT: not
 * such a stream, of another config, with a slot that is not below n_rows or is
 * there twice, or with what is no number; *why (constant) says what. Whatever
 * the bytes are, a search in what was loaded answers rows that are there, with
 * their exact distances. -EINVAL: the config. -ENOMEM; what read returned. After
 * an error of a delta it is to be freed. Nothing else may use v.
 */
struct ivf_source {
	int (*read)(void *ctx, void *buf, size_t len);
	void *ctx;
};
int ivf_load_base(const struct ivf_config *config, const struct rows *rows,
	uint32_t n_rows, const struct ivf_source *source, const char **why,
	struct ivf **out);
int ivf_load_delta(struct ivf *v, uint32_t n_rows,
	const struct ivf_source *source, const char **why);

/* Walks all invariants. 0, or -VG_ECORRUPT with the one that broke in *why (a
 * constant). -ENOMEM. No put may run. */
int ivf_check(struct ivf *v, const char **why);

#endif
