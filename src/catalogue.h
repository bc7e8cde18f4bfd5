/* SPDX-License-Identifier: Apache-2.0 */
/* catalogue.h: names of collections and the links that stand for them. */
#ifndef VG_CATALOGUE_H
#define VG_CATALOGUE_H

#include <pthread.h>

#include "src/collection.h"

/*
 * One name space, as a directory is: a name is a collection or an alias (a
 * symbolic link with any target). Changed by apply only; readers take the
 * lock for as long as a lookup takes.
 */
struct alias {
	struct vg_id target; /* bytes behind it, in the same allocation */
	int64_t mtime_ns;
};

struct entry {
	struct entry *next;	 /* of the bucket */
	uint64_t cursor;	 /* 1, 2, ... of all entries ever: listings */
	struct collection *coll; /* referenced; NULL: an alias */
	struct alias *alias;	 /* owned */
	uint32_t name_len;
	char name[VG_ID_MAX + 1]; /* NUL-terminated as well */
};

#define CATALOGUE_BUCKETS 1024u

/*
 * Collections ever made, and generations but the first, which is called as its
 * collection is: their numbers are part of nodeids, in 24 bits. The log says
 * which number a collection has; generations are made without it, so after a
 * restart they go on GENERATIONS_AHEAD above the last one that a manifest knew:
 * nobody takes one for another.
 */
#define CATALOGUE_MAX (1u << 23)
#define GENERATION_FIRST (1u << 23)
#define GENERATION_END (1u << 24)
#define GENERATIONS_AHEAD 1024u

struct catalogue {
	pthread_rwlock_t lock; /* all below */
	struct entry *bucket[CATALOGUE_BUCKETS];
	struct collection **by_no; /* all ever made, snapshots too, which are
				      in no bucket; NULL: dropped */
	struct generation_no {
		uint32_t no;
		struct collection *coll;
	} *gens; /* generations that are not their collection's first */
	uint32_t n_gens, cap_gens, next_gen;
	uint32_t n, cap;	   /* of by_no */
	uint32_t n_entries;
	uint64_t cursor;   /* the last given */
	int64_t mtime_ns;  /* of the root directory; 0: as its mount */
	struct op_attr attr; /* of the root directory, if has_attr */
	bool has_attr;
};

int catalogue_init(struct catalogue *cat);
void catalogue_fini(struct catalogue *cat);

/* What a name stands for: a copy, with a reference on coll or with the
 * target's bytes in target_bytes. */
struct entry_info {
	uint64_t cursor;
	struct collection *coll; /* referenced: collection_unref; or NULL */
	int64_t mtime_ns;	 /* of an alias */
	uint32_t name_len, target_len;
	char name[VG_ID_MAX + 1];
	char target[4096];
};

/* -ENOENT. Any thread. */
int catalogue_get(struct catalogue *cat, struct vg_id name,
	struct entry_info *out);

/* The entry with the lowest cursor >= from. -ENOENT: no more. */
int catalogue_next(struct catalogue *cat, uint64_t from,
	struct entry_info *out);

/* The collection or snapshot by number or uuid, referenced, or NULL. Any
 * thread. */
struct collection *catalogue_find_no(struct catalogue *cat, uint32_t no);
struct collection *catalogue_find_uuid(
	struct catalogue *cat, const uint8_t uuid[16]);

/* The collection, no snapshot, with the lowest number from *no on, referenced,
 * its number in *no; or NULL. Any thread. */
struct collection *catalogue_next_no(struct catalogue *cat, uint32_t *no);

/* The generation by number, referenced, or NULL. Any thread. */
struct generation *catalogue_find_gen(struct catalogue *cat, uint32_t no);

/* No generation gets a number below next from now on. */
void catalogue_skip_gens(struct catalogue *cat, uint32_t next);

/* A number for c's next generation. -ENOMEM, -ENOSPC. Any thread. */
int catalogue_add_gen(
	struct catalogue *cat, struct collection *c, uint32_t *no);

/* The name of a collection, a snapshot's "docs/.snap/monday". -ENOENT: it was
 * dropped. */
#define CATALOGUE_NAME_CAP (2 * VG_ID_MAX + 8)
int catalogue_name(struct catalogue *cat, const struct collection *coll,
	char out[CATALOGUE_NAME_CAP]);

uint32_t catalogue_count(struct catalogue *cat); /* entries */

/*
 * What a manifest says, put into an empty catalogue, before there are readers.
 * -ENOMEM; -VG_ECORRUPT: the name or the number is taken.
 */
struct manifest;
int catalogue_load(struct catalogue *cat, const struct manifest *m);
int catalogue_load_collection(struct catalogue *cat, struct collection *c,
	struct vg_id name, uint64_t cursor); /* takes the reference, always */
int catalogue_load_gen(struct catalogue *cat, struct generation *g);
int catalogue_load_snap(struct catalogue *cat, struct collection *snap); /* takes
	the reference, always */
int catalogue_load_alias(struct catalogue *cat, const struct alias *alias,
	struct vg_id name, uint64_t cursor); /* copies */

/*
 * Reserve and apply for the ops of the catalogue, CREATE to UNALIAS, SNAP,
 * UNSNAP and ATTR of the root, as in collection.h. The committer. -ENOMEM.
 */
int catalogue_reserve(struct catalogue *cat, const struct op *op,
	struct reservation *r);
void catalogue_unreserve(struct catalogue *cat, struct reservation *r);
void catalogue_apply(struct catalogue *cat, const struct op *op,
	struct reservation *r);

#endif
