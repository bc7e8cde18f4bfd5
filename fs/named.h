/* SPDX-License-Identifier: Apache-2.0 */
/* named.h: named requests: vectors kept under a name to be asked for again. */
#ifndef FS_NAMED_H
#define FS_NAMED_H

#include <pthread.h>

#include "fs/arena.h"
#include "src/catalogue.h"
#include "src/collection.h"
#include "src/record.h"

/*
 * A named request is this mount's and one user's: (collection, uid, name). It
 * goes an hour after it was last used; past NAMED_BYTES_MAX the longest unused
 * go first. Its number changes whenever it is written. Its rows stand in the
 * arena, where they outlive the daemon; beyond it where that is full.
 */
struct named_request {
	_Atomic uint32_t refs;
	struct named_request *next; /* named->lock */
	uint32_t coll_no, uid;
	uint32_t n, dim;
	enum vg_dtype dtype;
	uint64_t number;   /* 1, 2, ... of all writes */
	int64_t used_ns;   /* named->lock: monotonic */
	int64_t mtime_ns;  /* when it was written */
	struct arena *arena; /* borrowed: named's */
	uint32_t file;	     /* of the arena, or KEPT_NONE: lost in a crash */
	uint64_t serial;     /* of the file: who was written later has more */
	bool is_gone;	     /* named->lock: it was replaced, deleted, or expired:
			        the last reference takes the file with it */
	char name[72];
	const void *vecs; /* n rows of dim elements: in the file, or our own */
	void *own;	  /* owned, or NULL */
};

#define NAMED_KEPT_NS (3600 * 1000000000LL)
#define NAMED_BYTES_MAX (1ull << 30)

struct named {
	struct arena *arena;  /* borrowed; NULL: nothing is kept */
	pthread_mutex_t lock; /* a leaf, but for the arena's */
	struct named_request *list;
	uint64_t bytes;
	uint64_t last_number;
};

void named_init(struct named *nd, struct arena *arena);
void named_fini(struct named *nd);

/* Finds the requests that a former daemon left. -ENOMEM. Before threads are
 * made. */
int named_load(struct named *nd, struct catalogue *cat);

/* Whose request. */
struct named_key {
	const struct collection *coll;
	uint32_t uid;
	struct vg_id name; /* 1..64 bytes */
};

/* Puts rows under a name, copied. -ENOMEM. Ends what had the name: who holds a
 * reference to that reads on in it. */
int named_put(struct named *nd, const struct named_key *key,
	const struct record_batch *batch);

/* The request, referenced (named_unref), or NULL. It counts as used. */
struct named_request *named_get(struct named *nd, const struct named_key *key);
void named_unref(struct named_request *r);

/* -ENOENT. */
int named_del(struct named *nd, const struct named_key *key);

/* Lets what was not used for an hour go. */
void named_expire(struct named *nd);

#endif
