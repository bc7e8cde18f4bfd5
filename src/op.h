/* SPDX-License-Identifier: Apache-2.0 */
/* op.h: one change of the store, as it is logged, applied and (later) sent. */
#ifndef VG_OP_H
#define VG_OP_H

#include "src/vg.h"

/*
 * An op says the outcome, not the request: metadata is the whole new object,
 * a rename names both ids. So apply decides nothing, and replaying a log gives
 * the same state whatever the checks of that day were.
 *
 * Every number below is on disk (docs/format.md) and never reused.
 */
enum op_type {
	OP_PUT = 1,	/* a new version of id with a vector: a new slot */
	OP_SET = 2,	/* a new version with the slot it had: meta, mtime */
	OP_DEL = 3,	/* the end of id's version */
	OP_RENAME = 4,	/* id ends, id2 begins with its slot; two places */
	OP_CLEAR = 5,	/* every id that a filter means ends, or all; many places */
	OP_CREATE = 16, /* the catalogue: a collection begins: name, config */
	OP_DROP = 17,	/* a collection ends */
	OP_MOVE = 18,	/* a collection is called name from now on */
	OP_ALIAS = 19,	/* the link `name` points to `target` */
	OP_UNALIAS = 20,
	OP_CONFIG = 21, /* the collection's whole configuration, as it is now */
	OP_ATTR = 22,	/* mode, owner and mtime of the collection; of the root
			   directory with a zero uuid */
	OP_SNAP = 23,	/* a snapshot of the collection begins: name, its own
			   uuid, and the moment that it shows */
	OP_UNSNAP = 24, /* the snapshot `name` of the collection ends */
};

/* How a vector's bytes came in: .config/dim_source tells it. On disk. */
enum op_source {
	OP_SOURCE_RAW = 1,
	OP_SOURCE_TEXT = 2,
	OP_SOURCE_JSON = 3,
	OP_SOURCE_NPY = 4,
	OP_SOURCE_FVECS = 5,
};

/* An op's place in the history of a partition. */
struct op_place {
	uint16_t partition; /* < VG_SEQS */
	uint64_t seq;	    /* from 1 on, no gaps */
};

/*
 * Who asked: a request repeated after a restart, a resend or a fail-over is
 * found by (session, request) and answered with result instead of applied
 * again. session 0: nobody who could repeat it (a program in this process).
 */
struct op_origin {
	uint64_t session;
	uint64_t request;
	int32_t result;
};

#define OP_EF_CLASSES 3u
#define OP_RECALL_ONE 1000000u /* a recall of 1, in millionths */

/* What .config holds and a new collection begins with. */
struct op_config {
	uint32_t dim;		  /* 0: not known yet */
	uint32_t m;		  /* links of a node on the upper levels */
	uint32_t ef_construction; /* candidates while linking; 0: auto */
	uint32_t ef_search;	  /* candidates while searching; 0: auto */
	uint8_t metric;		  /* enum vg_metric */
	uint8_t dtype;		  /* enum vg_dtype */
	uint8_t index;		  /* enum vg_index */
	uint8_t dim_source;	  /* enum op_source; 0: dim was written */
	uint32_t dim_body_len;	  /* bytes of the body dim was read from */
	uint8_t quant;		  /* enum vg_quant */
	uint8_t zero[3];	  /* so that it has no gaps */
	uint32_t target_recall;	  /* millionths; 0: the default */
	uint32_t tuned[OP_EF_CLASSES]; /* what ef_search auto is, by k
				     (config_ef_class); 0: not known. Found
				     out, not changed by any op: none has it */
};

/* Owner and mode of a collection's directory. */
struct op_attr {
	uint32_t mode; /* permission bits */
	uint32_t uid;
	uint32_t gid;
};

#define OP_PLACES_MAX VG_SEQS

/*
 * Fields that a type does not use are zero. Pointers are borrowed: from the
 * caller who commits, or from the frame that was decoded.
 */
struct op {
	enum op_type type;
	uint64_t epoch;	  /* of the partition's primary; 1 while alone */
	int64_t time_ns;  /* mtime of what changes, as its writer set it */
	int64_t commit_ns; /* wall clock when it was committed */
	struct op_origin origin;
	uint8_t uuid[16]; /* the collection; zero for OP_ALIAS, OP_UNALIAS and
			     the root's OP_ATTR */
	uint32_t n_places;
	struct op_place places[2];	/* all but OP_CLEAR: 1, OP_RENAME: 2 */
	const struct op_place *more;	/* OP_CLEAR: n_places of them;
					   OP_SNAP: n_seen */
	uint32_t n_seen; /* OP_SNAP: places that it shows the changes up to;
			    of partitions that are not among them it shows
			    none. In order of partition */
	uint8_t snap[16]; /* OP_SNAP: the snapshot's uuid */

	struct vg_id id;  /* the record */
	struct vg_id id2; /* OP_RENAME: its new id */
	struct vg_id name;   /* OP_CREATE, MOVE, ALIAS, UNALIAS, SNAP, UNSNAP */
	struct vg_id target; /* OP_ALIAS */

	const void *vec;  /* OP_PUT: dim elements, little-endian */
	uint32_t vec_len; /* bytes */
	uint8_t source;	  /* OP_PUT: enum op_source */
	uint32_t body_len;   /* OP_PUT: bytes of the body it was parsed from */
	const char *meta;    /* PUT, SET, RENAME: a JSON object; NULL: none */
	uint32_t meta_len;

	struct op_config config; /* OP_CREATE, OP_CONFIG */
	struct op_attr attr;	 /* OP_CREATE, OP_ATTR */
};

/* Bytes that op_encode will write. */
size_t op_size(const struct op *op);

/*
 * Encodes op into out[cap]. Returns the bytes written, or 0 if they do not fit
 * (op_size says how many do). Asserts that op is well-formed: our own bug
 * otherwise. Allocates nothing. Any thread.
 */
size_t op_encode(const struct op *op, void *out, size_t cap);

/*
 * Decodes in[len] into *out, which borrows from in. places holds up to
 * OP_PLACES_MAX entries for OP_CLEAR and OP_SNAP; out->more points to it.
 * -VG_EFORMAT: a type or field of a later version. -VG_ECORRUPT: not an op:
 * a length, count or value is out of its range, or bytes are left over.
 * Allocates nothing. Any thread.
 */
int op_decode(const void *in, size_t len, struct op_place *places,
	struct op *out);

/*
 * A config among others' bytes, as it stands in an op. Its values are checked
 * apart: -VG_EFORMAT: a metric, dtype, index or source that is not known;
 * -VG_ECORRUPT: out of its range. Any thread.
 */
struct wire_out;
struct wire_in;
bool op_config_has_more(const struct op_config *c); /* than an earlier version
						       can read */
void op_config_put(struct wire_out *out, const struct op_config *c);
void op_config_get(struct wire_in *in, struct op_config *c);
int op_config_check(const struct op_config *c);

/* A partition of 0..VG_PARTITIONS-1 for an id: XXH3_64bits(id, seed 0) mod
 * VG_PARTITIONS, for ever. */
uint16_t op_partition(struct vg_id id);

/* The word for a type, "put", for messages. Never NULL. */
const char *op_name(enum op_type type);

#endif
