/* SPDX-License-Identifier: Apache-2.0 */
/* node.h: what a nodeid means to us. */
#ifndef FS_NODE_H
#define FS_NODE_H

#include <pthread.h>

#include "fs/arena.h"
#include "fs/name.h"
#include "fs/query.h"
#include "src/collection.h"

/*
 * To the kernel a committed version is an inode: one nodeid per version, so an
 * open handle and its pages stay on what they opened. Most nodeids say by
 * themselves what they are and cost the daemon nothing:
 *
 *   63..60 59..56 55....32 31............0
 *   kind   sub    coll     low
 *
 *   NODE_ROOT        1, as FUSE has it
 *   NODE_ROOT_VIEW   low = enum view of the root
 *   NODE_ALIAS       low = the entry's cursor
 *   NODE_COLL        coll: a collection or a snapshot
 *   NODE_VIEW        coll, low = enum view: .config, .config/dim, .stats, ...
 *   NODE_RECORD      generation or snapshot, low = version
 *   NODE_AS          the same, sub = enum record_form
 *   NODE_META        the same
 *   NODE_QUERY       a directory or leaf below query/: in the table
 *   NODE_STAGE       a staged file: low = its serial, fs/stage.h
 *
 * Nodes below query/ are in a table, by a keyed hash of their path, so that
 * the same path has the same nodeid while anybody knows it; they go with the
 * kernel's FORGET.
 */
enum node_kind {
	NODE_ROOT_VIEW = 1,
	NODE_ALIAS,
	NODE_COLL,
	NODE_VIEW,
	NODE_RECORD,
	NODE_AS,
	NODE_META,
	NODE_QUERY,
	NODE_STAGE,
	NODE_ROOT, /* never encoded: nodeid 1 */
};

struct node_ref {
	enum node_kind kind;
	unsigned sub;
	uint32_t coll;
	uint64_t low; /* 32 bits, NODE_STAGE and NODE_ALIAS: 60 */
};

uint64_t node_encode(struct node_ref ref);
struct node_ref node_decode(uint64_t nodeid);

struct rowfile;

/* An answer. Counted references; what it reads as never changes. */
struct answer_bytes {
	_Atomic uint32_t refs;
	char *bytes; /* owned; NULL: rows renders them */
	struct rowfile *rows; /* owned: `all` is rendered as it is read */
	size_t len;
	int64_t mtime_ns; /* of the last change that it saw */
	uint64_t changes; /* of the collection, surely seen */
	uint64_t named;	  /* the write of its named request, or 0 */
	bool is_partial;
};

struct answer_bytes *answer_ref(struct answer_bytes *a);
void answer_unref(struct answer_bytes *a); /* NULL is allowed */

/* An open answer, for the stat that follows its open. */
struct query_open {
	struct query_open *next;
	struct answer_bytes *answer; /* referenced */
	int pid;
	uint32_t uid;
};

/* What a name in the table is. */
enum qnode_kind {
	QNODE_DIR,    /* query/k=5 */
	QNODE_LEAF,   /* query/k=5/id=a.tsv */
	QNODE_HITS,   /* query/k=5/id=a.hits/ */
	QNODE_LINK,   /* query/k=5/id=a.hits/0001_b; query.key is its id */
	QNODE_RUN,    /* query/.run */
	QNODE_IMPORT, /* .import/npy@prefix; the path is that */
	QNODE_IF,     /* .if=17; the path is that */
};

/*
 * A name below query/, or an import with a prefix. Everything but what `lock`
 * guards is fixed when it is made.
 */
struct qnode {
	struct qnode *next; /* nodes->lock: of the bucket */
	struct qnode *newer, *older; /* nodes->lock: by age, for pruning */
	uint64_t nodeid, parent;
	uint64_t n_lookup;    /* nodes->lock: what the kernel counts */
	uint32_t n_refs;      /* nodes->lock: handles and work on it */
	bool is_asked_back;   /* nodes->lock: the kernel was asked to forget */
	uint32_t file;	      /* nodes->lock: of the arena, or KEPT_NONE */
	struct collection *coll; /* referenced */
	enum qnode_kind kind;
	struct query query; /* parsed, the path's parameters included */
	uint32_t uid;	    /* who may see a NAME of his */

	_Atomic uint32_t n_writers; /* handles that write it anew; relaxed */
	pthread_mutex_t lock;	    /* a leaf: below */
	struct query_open *opens;   /* lock: open answers, newest first */
	struct answer_bytes *kept;  /* lock: computed by a stat, for the open
				       that follows; or NULL */
	uint32_t kept_uid;
	int64_t kept_ns; /* monotonic */

	uint32_t path_len;
	char path[]; /* as typed, below query/; of directories there with a
			slash behind it */
};

#define NODES_BUCKETS 16384u

/* How many names below query/ the kernel may remember before it is asked to
 * forget the oldest: each pins 1 to 5 KB of its memory and one of ours. With
 * 10,000 a query took as long as with 2,000. */
#define NODES_KEPT 2000u
#define NODES_PRUNE 500u

struct nodes {
	struct arena *arena; /* borrowed; NULL: nothing is kept */
	pthread_mutex_t lock;
	pthread_cond_t prune_cond; /* the pruner's */
	struct qnode *bucket[NODES_BUCKETS];
	struct qnode *newest, *oldest;
	uint32_t n;
	uint64_t seed;
	bool is_stopping;
};

void nodes_init(struct nodes *ns, uint64_t seed, struct arena *arena);
void nodes_fini(struct nodes *ns);

/*
 * Finds the node of a path in coll, or makes it. query is taken (moved) if one
 * is made, else freed. Counts one lookup. The node is referenced: nodes_unref.
 * -ENOMEM, query is freed then too.
 */
struct qnode_path {
	struct collection *coll;
	uint64_t parent; /* the directory's nodeid */
	struct vg_id path;
	uint32_t uid;
	enum qnode_kind kind;
};
int nodes_add(struct nodes *ns, const struct qnode_path *path,
	struct query *query, struct qnode **out);

/* Tells the arena of a node, so that the next daemon knows it. -ENOSPC: to a
 * daemon that does not know a node the kernel says its name again, once. */
int nodes_keep(struct nodes *ns, struct qnode *node);

/* A node that the arena has: made anew under the nodeid it had, with one lookup
 * and no reference. query is taken. -ENOMEM, query is freed then too. */
int nodes_load(struct nodes *ns, const struct qnode_path *path,
	struct query *query, uint64_t nodeid, uint32_t file);

/* What the arena has of a node; path borrows of it. False: it is none. */
struct qnode_kept {
	uint64_t parent;
	uint32_t uid;
	uint8_t kind, pad;
	uint8_t path_len; /* 0: the path is the file's body, else behind this */
	uint8_t pad2;
};
bool nodes_get_kept(struct nodes *ns, uint32_t file, struct qnode_kept *kept,
	struct vg_id *path);

/* The node, referenced, or NULL. */
struct qnode *nodes_get(struct nodes *ns, uint64_t nodeid);
void nodes_unref(struct nodes *ns, struct qnode *node);

/* The kernel forgets n lookups. */
void nodes_forget(struct nodes *ns, uint64_t nodeid, uint64_t n);

/*
 * Waits until NODES_KEPT + n nodes are known, then copies the oldest that
 * nobody uses and were not asked back yet: up to n. Returns how many, 0 when
 * nodes_stop was called. One thread.
 */
size_t nodes_wait_prune(struct nodes *ns, uint64_t *nodeid, size_t n);
void nodes_stop(struct nodes *ns);

#endif
