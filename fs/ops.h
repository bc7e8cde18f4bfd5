/* SPDX-License-Identifier: Apache-2.0 */
/* ops.h: what the files of operations share. */
#ifndef FS_OPS_H
#define FS_OPS_H

#include <fcntl.h>
#include <string.h>

#include "fs/attr.h"
#include "fs/change.h"
#include "fs/handle.h"

/* The bytes of a name. Borrowed. */
static inline struct vg_id ops_id(const char *name)
{
	return (struct vg_id){name, (uint32_t)strlen(name)};
}

static inline bool ops_wants_write(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/* Attributes of a version never change, but for its collection's mode. */
#define OPS_ATTR_TIMEOUT 1.0

/* A node that exists: what it refers to, referenced. ops_node_put. */
struct ops_node {
	struct node_ref ref;
	struct collection *coll; /* NULL: of the root */
	struct generation *gen; /* RECORD, AS, META: referenced */
	const struct version *version; /* RECORD, AS, META: borrowed of gen */
	struct qnode *qnode;	       /* QUERY */
	struct stage *stage;	       /* STAGE */
};

/* -ESTALE: the daemon does not know the nodeid: the kernel looks the name up
 * again. */
int ops_node_get(struct fs *fs, fuse_ino_t ino, struct ops_node *out);
void ops_node_put(struct fs *fs, struct ops_node *node);

/* The attributes of a node as the caller sees it; a leaf's without a search.
 */
int ops_attr(struct fs *fs, const struct ops_node *node, uint32_t uid,
	struct stat *st);

/* A change of what is below .if= has its condition. */
static inline void ops_add_condition(
	const struct stage_place *place, struct fs_change *fc)
{
	if (place->area != STAGE_IF)
		return;
	fc->change.flags |= CHANGE_IF;
	fc->change.if_begin = place->key;
}

/* Where a directory's names go: records, forms, metadata, requests. -EPERM:
 * nothing is created there. place->coll borrows from parent. */
int ops_place(const struct ops_node *parent, struct stage_place *place);

/* Whether the place's name stays a stage whatever is in it. */
static inline bool ops_is_dotted(const struct stage_place *place)
{
	return place->name.bytes[0] == '.';
}

/* The id that a place's name spells. -EINVAL, -ENAMETOOLONG. */
int ops_place_id(const struct stage_place *place, char buf[VG_ID_MAX],
	struct vg_id *id);

/* The view that a directory node is, or VIEW_NONE. */
enum view ops_view(const struct node_ref *ref);

/* A parser of bodies, to be given back. -ENOMEM: NULL. */
struct record_parser *ops_parser_get(struct collection *c);

/*
 * Turns a stage's bytes into a change of `to` (its own place, or where it is
 * renamed to) and commits it; the request is answered through finish. Returns
 * below 0 if there is no change to commit, with a sentence in why[256]; the
 * request is not answered then. sync: durable in every mode.
 */
struct ops_commit {
	struct stage_place to;
	bool sync, noreplace, replaces;
	void (*finish)(struct fs_change *fc, int rc);
	void *ctx;
	char why[256];
};
int ops_stage_commit(fuse_req_t req, struct stage *st, struct ops_commit *oc);

/* ops_stage_commit's parts: puts what v reads as into st; and makes fc of st,
 * whose lock is held. */
int ops_stage_preload(struct fs *fs, const struct stage_place *place,
	const struct version *v, struct stage *st);
int ops_stage_fill(fuse_req_t req, struct stage *st, struct ops_commit *oc,
	struct fs_change *fc);

/* Offers the caller a stage of his own for what v (NULL: a named request) is
 * at place; it holds v's bytes unless is_trunc. Referenced. */
int ops_offer_stage(fuse_req_t req, const struct stage_place *place,
	const struct version *v, bool is_trunc, struct stage **out);

/* -EROFS, noted for name: what is in a snapshot is not changed. */
int ops_refuse_snap(
	fuse_req_t req, struct collection *snap, struct vg_id name);

/* -EINVAL, noted for `to`: a file without bytes takes no record's name. */
int ops_refuse_empty(fuse_req_t req, struct collection *c, struct vg_id to);

/* Answers when all that was committed before is on stable storage. */
void ops_sync(fuse_req_t req);

/* ops_lookup.c. ops_find_entry is the lookup of a name in the root, or of a
 * snapshot of coll. */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
int ops_find_entry(fuse_req_t req, struct fs *fs, struct collection *coll,
	const char *name, struct fuse_entry_param *out);

/* Finds the nodes below query/ that a former daemon left. -ENOMEM. Before
 * threads are made. */
int ops_load_nodes(struct fs *fs);

/*
 * ops_tx.c: transactions, directories below .tx/. Each takes what its operation
 * is given and answers it, or returns below 0. tx_find is the stage of a record
 * in one, referenced, which remembers what was looked up: -ENOENT: it is not
 * there; tx_create the same for a new one.
 */
void tx_mkdir(fuse_req_t req, struct collection *c, const char *name);
int tx_rmdir(fuse_req_t req, struct collection *c, const char *name);
int tx_commit(fuse_req_t req, struct collection *c, const char *name,
	const char *newname);
int tx_find(fuse_req_t req, const struct stage_place *place,
	struct stage **out);
int tx_create(fuse_req_t req, const struct stage_place *place, int flags,
	struct stage **out);
int tx_unlink(fuse_req_t req, const struct stage_place *place);
int tx_rename(fuse_req_t req, const struct stage_place *from,
	const struct stage_place *to, unsigned flags);

/*
 * What close() says of the bytes in st; and an open of it: 0: answered, it is
 * read only; 1: it is to be opened as any stage. What close() took reads back
 * as a vector, whatever form it was written in.
 */
void tx_flush(fuse_req_t req, struct stage *st);
int tx_open(fuse_req_t req, struct stage *st, struct fuse_file_info *fi);

/* Whether st, which somebody has open, is of a transaction that has ended: no
 * change of it is one of the record. */
bool tx_is_over(struct fs *fs, const struct stage *st);

/* What a directory lists, as stages_list: the transactions in .tx/, or what one
 * of them would write. */
int tx_list(struct fs *fs, const struct stage_place *of, struct stage ***out,
	uint32_t *n);

/* Opens st as bytes[len], owned, which do not change while it is open. */
int ops_open_bytes(fuse_req_t req, const struct stage *st, char *bytes,
	size_t len, struct fuse_file_info *fi);

/*
 * ops_clear.c: what was written to .delete-where, and its close. Both answer the
 * request.
 */
void clear_write(fuse_req_t req, struct handle *h, const char *buf,
	size_t size, uint64_t off, bool is_append);
void clear_flush(fuse_req_t req, struct handle *h);

/* ops_dir.c */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
	const char *name);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* ops_name.c */
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	fuse_ino_t newparent, const char *newname, unsigned flags);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
	const char *newname);

/* ops_attr.c */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
	struct fuse_file_info *fi);

/* ops_xattr.c */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	const char *value, size_t size, int flags);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* ops_create.c. ops_stage_handle takes st's reference if it succeeds. */
struct handle *ops_stage_handle(struct fs *fs, struct stage *st,
	const struct fuse_file_info *fi);

/*
 * Whether st is not for who opens it, who is to look the name up again. Two who
 * write to one new name do not write into each other's bytes: the second one
 * gets a stage of his own, unless his open was refused before. Who is not
 * refused was counted as a writer, so that of two at once one is.
 */
bool ops_stage_is_taken(fuse_req_t req, struct stage *st,
	const struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m,
	struct fuse_file_info *fi);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m,
	dev_t rdev);

/* ops_open.c, ops_file.c, ops_close.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	off_t off, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
	struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* cell_check_row of v: behind the use of its bytes. errors.ndjson says why not. */
int ops_check_row(fuse_req_t req, const struct version *v);

/* ops_query.c. query_getattr takes the caller's reference on node. A leaf may be
 * SRC.hits/, which is opened as a directory. */
void query_open_leaf(fuse_req_t req, struct qnode *node,
	struct fuse_file_info *fi);
void query_getattr(fuse_req_t req, struct qnode *node);
void query_read_run(fuse_req_t req, struct handle *h, size_t size,
	uint64_t off);
int query_write_run(struct fs *fs, struct handle *h, const char *buf, size_t size,
	uint64_t off);
/* A link in SRC.hits/. Takes the caller's reference on hits, the directory. */
void query_lookup_link(fuse_req_t req, struct qnode *hits, const char *name);
/* The listing that h had open stays good for lookups for a while. */
void query_keep_listing(struct handle *h);
/* Whether pid has an answer of the leaf open. */
bool query_is_open(struct qnode *node, int pid);
/* Whether the answer that the caller sees of a leaf is partial. */
bool query_is_partial(struct qnode *node, int pid);

/* ops_bulk.c: imports and exports, on the pool. */
void bulk_open_export(fuse_req_t req, struct collection *c, enum view view,
	struct fuse_file_info *fi);
void bulk_getattr(fuse_req_t req, struct collection *c, enum view view,
	struct handle *h);
/* Takes node->qnode's reference. */
void bulk_open_import(fuse_req_t req, struct ops_node *node,
	struct fuse_file_info *fi);
/* Makes the import of a handle that a former daemon left, where its mark is. */
int bulk_load_import(struct fs *fs, struct handle *h);
void bulk_write(fuse_req_t req, struct handle *h, const char *buf,
	size_t size, uint64_t off);
void bulk_flush(fuse_req_t req, struct handle *h);
void bulk_read(fuse_req_t req, struct handle *h, size_t size, uint64_t off);

#endif
