/* SPDX-License-Identifier: Apache-2.0 */
/* query.h: what is asked: the grammar of query paths and of `.run` requests. */
#ifndef FS_QUERY_H
#define FS_QUERY_H

#include "fs/answer.h"
#include "src/filter.h"
#include "src/record.h"
#include "src/vg.h"

/*
 *   query/[PARAM/]*LEAF
 *   PARAM := k=N (10) | ef=N | nprobe=N | offset=N | max_dist=F | min_score=F
 *          | exact=1 | FIELD.OP=VALUE | where=EXPR         (src/filter.h)
 *          | order=FIELD[:desc] | group=FIELD    (%3A: a colon of FIELD)
 *          | fields=a,b | snap=NAME | timeout=MS | fmt=FMT | threads=N
 *          | partial=1 | strict=1 | trailer=1    in any order; of one twice
 *                                                the innermost wins, but
 *                                                all filters hold at once
 *   LEAF  := SRC[.FMT] | SRC.hits/ | count | facet=FIELD[.FMT]
 *   SRC   := CSV | v=CSV | b64=BASE64URL | id=ID | like=A,+B,-C | NAME | all
 *   NAME  := [A-Za-z_][A-Za-z0-9_-]{0,63}, no word of this grammar
 *   FMT   := ndjson json tsv ids dist f32 npy
 *
 * Only parsing is done here: no lookup of a record (but for the one question
 * that `id=` asks), no search. Names with a leading dot are the caller's:
 * `.run` and staging; here they are ENOENT, a vector that begins with .5 is
 * written v=.5 or 0.5.
 *
 * Three outcomes, because shells and completion stat every beginning of what
 * somebody is about to type:
 *
 *   0        complete
 *   -ENOENT  not complete, or no word of ours: there is nothing of that name
 *   -EINVAL  no continuation can make it right; q->error has one sentence
 */

/* Members of fields=. */
#define QUERY_FIELDS_MAX 64

/* An hour: no search takes longer, and milliseconds stay in 32 bits. */
#define QUERY_TIMEOUT_MAX_MS 3600000

#define QUERY_THREADS_MAX 256
#define QUERY_NPROBE_MAX 65536 /* lists there are at most: index/ivf.h */

/* Members of like=. */
#define QUERY_LIKE_MAX 64

enum query_src {
	QUERY_NONE,  /* only parameters so far */
	QUERY_VEC,   /* vec */
	QUERY_ID,    /* the record `key`; itself left out of the answer */
	QUERY_LIKE,  /* the records `like`, together; left out likewise */
	QUERY_NAME,  /* the named request `key`, which the caller keeps */
	QUERY_ALL,   /* every record by id: no search, no distances */
	QUERY_COUNT, /* the number of records */
	QUERY_FACET, /* the values of the field fields[0], how many have each */
};

/* What is asked. Nothing in it points into it, so it may be moved by assignment
 * (and query_init of the old one); a second one is made by query_init_from. */
struct query {
	enum query_src src;
	enum answer_fmt fmt;
	uint32_t k;	     /* rows of each vector; QUERY_ALL: 0 is all */
	uint32_t offset;     /* rows left out before them */
	uint32_t ef;	     /* 0: the collection's ef_search */
	uint32_t nprobe;     /* lists of an inverted file; 0: by ef */
	uint32_t timeout_ms; /* 0: none */
	uint32_t threads;    /* of a batch; 0: as many as there are */
	float max_dist;	     /* INFINITY: not given */
	float min_score;     /* -INFINITY: not given */
	bool exact, partial, strict, trailer;
	bool has_k; /* k was given */
	bool is_hits; /* a directory of links to the rows: fmt is ids */

	struct vg_id *fields; /* owned, one block; NULL: all of metadata */
	uint32_t n_fields;

	struct vg_id *like; /* owned, one block: QUERY_LIKE: those with +... */
	uint32_t n_like;
	uint32_t n_plus; /* ...which come first, and those with - */

	struct filter *filter; /* owned: what records have to be; NULL: all */
	struct vg_id order; /* the field to sort the rows by... */
	struct vg_id group; /* ...to take one of each value of; their bytes are
			       owned; len 0: none */
	bool is_desc;	    /* order: the other way round */

	void *vec;	/* owned: n_vec rows of dim elements, all finite */
	uint32_t n_vec; /* more than 1: a batch, answers carry "q" */
	uint32_t dim;
	enum vg_dtype dtype;

	char snap[VG_ID_MAX]; /* the snapshot that is asked... */
	uint32_t snap_len;    /* ...or 0: the present */

	char key[VG_ID_MAX]; /* QUERY_ID: the id; QUERY_NAME: the name */
	uint32_t key_len;

	char error[256]; /* after -EINVAL: a sentence, terminated */
};

/* What a leaf is read against. */
struct query_env {
	uint32_t dim; /* of the collection; 0: not known yet */

	/* Whether a record has this id; NULL: none has. Asked only where a
	 * format might be part of the id ("id=notes.tsv"). */
	bool (*exists)(void *ctx, struct vg_id id);
	void *ctx;

	enum vg_dtype dtype; /* of the collection; 0: VG_F32 */
};

/* The defaults. Allocates nothing. */
void query_init(struct query *q);

/* The parameters of `from`, which stays as it is; its source (vec, key) is
 * not taken over. -ENOMEM: q is as after query_init. */
int query_init_from(struct query *q, const struct query *from);

/* Frees what q owns. Harmless twice. */
void query_fini(struct query *q);

/*
 * Takes one directory component, PARAM. -ENOENT: not a parameter: a leaf, or
 * nothing; q is unchanged. -EINVAL: its value is not allowed. -ENOMEM.
 */
int query_parse_param(struct query *q, const char *name, size_t len);

/*
 * Takes the last component, LEAF, on top of its parameters; a format behind
 * the last dot wins over fmt=. An id is spelled as in a directory (name.h)
 * and one that exists wins over a format; in like= a comma of an id is %2C, a +
 * or - at its beginning %2B or %2D, and a % that would read as one of these is
 * %25. A vector with fewer numbers than
 * the collection's dim may still grow, so it is -ENOENT; with more -EINVAL.
 * Combinations are checked here: offset + k within VG_K_MAX, no distances
 * asked of `all`, no trailer on arrays. -ENOMEM.
 */
int query_parse_leaf(struct query *q, const char *name, size_t len,
	const struct query_env *env);

/* After -ENOENT of both, says in q->error why, if no more of the name would
 * make it a query: year=2020, which is meant to be a filter. */
void query_explain(struct query *q, const char *name, size_t len);

/*
 * The NAME that creating the file name[len] under query/ writes: "q1" of q1,
 * q1.f32 or q1.txt; borrowed from name. -EINVAL: not a NAME, or a word of the
 * grammar; or q1.hits, a directory.
 */
int query_parse_name(const char *name, size_t len, struct vg_id *out);

/*
 * Takes a request as it was written to `.run`, on top of q's parameters: one
 * JSON object on a line,
 *
 *   {"vector":[...] | "vectors":[[...],...] | "id":"..." | "like":"A,-B",
 *    "k":5,"max_dist":0.3,"exact":true,"fields":["a"],"fmt":"tsv",...}
 *
 * or vectors: one in any form of a body (src/record.h), or the raw bytes of
 * one or more, dim elements each. JSON has every parameter under its word, flags
 * as true and false. dim 0: not known, and every vector must be as long as
 * the first. Checks combinations as query_parse_leaf. -EINVAL with q->error;
 * -ENOMEM; in both cases q is good for query_fini only.
 */
int query_parse_request(struct query *q, const void *body, size_t len,
	enum vg_dtype dtype, uint32_t dim);

/*
 * Takes rows, copied: what a named request holds, once the caller has found it.
 * Any source before is replaced. -EINVAL: a NaN or an infinity; q->error.
 * -ENOMEM.
 */
int query_put_vectors(struct query *q, const struct record_batch *batch);

/*
 * Formats the parameters that differ from the defaults, each with a slash
 * behind it and always in the same order: equal texts mean equal parameters.
 * Like snprintf: returns the bytes needed, writes at most cap, no terminator.
 */
size_t query_format_params(const struct query *q, char *out, size_t cap);

/*
 * A number for a path under a collection's query directory, the same for the
 * same seed: for nodeids. 64 bits of XXH3 collide when somebody wants them
 * to, so whoever keys by it compares the path.
 *
 * path is what query_format_params wrote, for files; for directories it must
 * be the path as it was typed: k=5 and k=5/k=5 ask the same, but a directory
 * that is its own child is refused by the kernel.
 */
uint64_t query_hash(uint64_t seed, uint64_t collection, struct vg_id path,
	struct vg_id leaf);

#endif
