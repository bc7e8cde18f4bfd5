/* SPDX-License-Identifier: Apache-2.0 */
/* ops_attr.c: stat, and the few attributes that can be set. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ops.h"

static double timeout_of(enum node_kind kind)
{
	switch (kind) {
	case NODE_ROOT:
	case NODE_COLL:
	case NODE_ALIAS:
		return ATTR_TIMEOUT;
	case NODE_RECORD:
	case NODE_AS:
	case NODE_META:
		return OPS_ATTR_TIMEOUT;
	default:
		return 0;
	}
}

/* An export's size is that of the open handle, exactly; without one it is that
 * of an export made now. */
static bool is_export(const struct ops_node *node)
{
	return node->ref.kind == NODE_VIEW &&
	       view_get((enum view)node->ref.low)->parent == VIEW_EXPORT;
}

/* A named request that is being written is what has been written of it: nobody
 * asks for an answer to that yet. But who has an answer open asks for its size. */
static bool find_written(fuse_req_t req, struct ops_node *node,
	const struct handle *h)
{
	struct fs *fs = fs_of(req);
	int pid = fuse_req_ctx(req)->pid;

	if (h && h->kind == HANDLE_STAGE)
		node->stage = stages_get(&fs->stages, h->stage->serial);
	else if (!h && !query_is_open(node->qnode, pid))
		node->stage = handle_find_writer(fs, node->qnode, pid);
	return node->stage != NULL;
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h = handle_get(fs, fi);
	struct ops_node node;
	struct stat st;
	int rc = ops_node_get(fs, ino, &node);

	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	if (node.ref.kind == NODE_QUERY && node.qnode->kind == QNODE_LEAF) {
		if (find_written(req, &node, h))
			goto reply;
		/* Takes the reference and answers. */
		struct qnode *leaf = node.qnode;

		node.qnode = NULL;
		ops_node_put(fs, &node);
		query_getattr(req, leaf);
		return;
	}
	if (is_export(&node)) {
		bulk_getattr(req, node.coll, (enum view)node.ref.low, h);
		ops_node_put(fs, &node);
		return;
	}
reply:
	rc = ops_attr(fs, &node, fuse_req_ctx(req)->uid, &st);
	ops_node_put(fs, &node);
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
	else
		fuse_reply_attr(req, &st, timeout_of(node_decode(ino).kind));
}

/* ---- setattr ---- */

static int64_t time_of(const struct stat *attr, int to_set)
{
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		return fs_now();
	return attr->st_mtim.tv_sec * 1000000000LL + attr->st_mtim.tv_nsec;
}

static bool sets_time(int to_set)
{
	return to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW);
}

static void reply_now(fuse_req_t req, const struct ops_node *node)
{
	struct stat st;
	int rc = ops_attr(fs_of(req), node, fuse_req_ctx(req)->uid, &st);

	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
	else
		fuse_reply_attr(req, &st, 0);
}

/* The record has a version with that time now; the old node shows it too. */
static void finish_time(struct fs_change *fc, int rc)
{
	struct ops_node *node = fc->ctx;
	struct stat st;

	if (rc == 0)
		rc = ops_attr(fc->fs, node, fc->uid, &st);
	if (rc < 0) {
		fuse_reply_err(fc->req, fs_errno(rc));
	} else {
		if (node->version) {
			st.st_mtim.tv_sec = fc->change.time_ns / 1000000000;
			st.st_mtim.tv_nsec = fc->change.time_ns % 1000000000;
		}
		fuse_reply_attr(fc->req, &st, 0);
	}
	ops_node_put(fc->fs, node);
	free(node);
}

/* Runs fc, whose answer is the node's attributes; takes node. */
static void run_for_attr(struct fs_change *fc, struct ops_node *node)
{
	struct ops_node *kept = malloc(sizeof(*kept));

	if (!kept) {
		fuse_reply_err(fc->req, ENOMEM);
		ops_node_put(fc->fs, node);
		fs_change_free(fc);
		return;
	}
	*kept = *node;
	*node = (struct ops_node){0};
	fc->finish = finish_time;
	fc->ctx = kept;
	fs_change_run(fc);
}

static int set_version(fuse_req_t req, struct ops_node *node,
	const struct stat *attr, int to_set)
{
	struct fs_change *fc;
	off_t size = version_vec_len(node->version);

	/* Size 0 is what comes before new bytes; they replace it whole. */
	if ((to_set & FUSE_SET_ATTR_SIZE) && node->ref.kind == NODE_RECORD &&
		attr->st_size != 0 && attr->st_size != size) {
		fs_note_error(req, node->coll, version_id(node->version),
			-EINVAL, "a vector keeps its size: write it as a whole");
		return -EINVAL;
	}
	if (!sets_time(to_set)) {
		reply_now(req, node);
		return 0;
	}
	fc = fs_change_new(req, OP_SET, node->coll);
	if (!fc)
		return -ENOMEM;
	fs_change_id(fc, version_id(node->version));
	fc->change.flags = CHANGE_TIME;
	fc->change.time_ns = time_of(attr, to_set);
	run_for_attr(fc, node);
	return 0;
}

/* The root has no owner of its own until one is set: it is who mounted. */
static void fill_root(struct fs_change *fc, unsigned flags)
{
	struct stat now;

	attr_root(fc->fs, &now);
	if (!(flags & CHANGE_MODE))
		fc->change.attr.mode = now.st_mode & 07777;
	if (!(flags & CHANGE_UID))
		fc->change.attr.uid = now.st_uid;
	if (!(flags & CHANGE_GID))
		fc->change.attr.gid = now.st_gid;
	if (!(flags & CHANGE_TIME))
		fc->change.time_ns = now.st_mtim.tv_sec * 1000000000LL +
				     now.st_mtim.tv_nsec;
	fc->change.flags |= CHANGE_MODE | CHANGE_UID | CHANGE_GID | CHANGE_TIME;
}

static int set_coll(fuse_req_t req, struct ops_node *node,
	const struct stat *attr, int to_set)
{
	struct fs_change *fc;
	unsigned flags = 0;

	flags |= to_set & FUSE_SET_ATTR_MODE ? CHANGE_MODE : 0;
	flags |= to_set & FUSE_SET_ATTR_UID ? CHANGE_UID : 0;
	flags |= to_set & FUSE_SET_ATTR_GID ? CHANGE_GID : 0;
	flags |= sets_time(to_set) ? CHANGE_TIME : 0;
	if (!flags) {
		reply_now(req, node);
		return 0;
	}
	fc = fs_change_new(req, OP_ATTR, node->coll);
	if (!fc)
		return -ENOMEM;
	fc->change.flags = flags;
	fc->change.attr = (struct op_attr){.mode = attr->st_mode & 07777,
		.uid = attr->st_uid,
		.gid = attr->st_gid};
	if (!node->coll)
		fill_root(fc, flags);
	fc->change.time_ns = time_of(attr, to_set);
	run_for_attr(fc, node);
	return 0;
}

/* The link as it is now, under its new cursor. */
static void finish_alias_time(struct fs_change *fc, int rc)
{
	struct entry_info info;
	struct stat st;

	if (rc == 0)
		rc = catalogue_get(store_catalogue(fc->fs->store),
			fc->change.name, &info);
	if (rc < 0) {
		fuse_reply_err(fc->req, fs_errno(rc));
		return;
	}
	attr_alias(fc->fs, &info, &st);
	collection_unref(info.coll);
	fuse_reply_attr(fc->req, &st, 0);
}

/* A link with another time is written anew. */
static int set_alias(
	fuse_req_t req, uint64_t cursor, const struct stat *attr, int to_set)
{
	struct entry_info info;
	struct fs_change *fc;
	int rc = catalogue_next(
		store_catalogue(fs_of(req)->store), cursor, &info);

	if (rc < 0 || info.coll || info.cursor != cursor) {
		collection_unref(rc < 0 ? NULL : info.coll);
		return -ESTALE;
	}
	fc = fs_change_new(req, OP_ALIAS, NULL);
	if (!fc)
		return -ENOMEM;
	memcpy(fc->target, info.target, info.target_len);
	fc->change.target = (struct vg_id){fc->target, info.target_len};
	fs_change_name(fc, (struct vg_id){info.name, info.name_len});
	fc->change.flags = CHANGE_TIME;
	fc->change.time_ns = time_of(attr, to_set);
	fc->finish = finish_alias_time;
	fs_change_run(fc);
	return 0;
}

static int truncate_stage(fuse_req_t req, struct stage *st, uint64_t size)
{
	struct fs *fs = fs_of(req);
	int rc;

	if (st->original && size != 0 && size != st->original) {
		fs_note_error(req, st->coll,
			(struct vg_id){st->name, st->name_len}, -EINVAL,
			"a vector keeps its size: write it as a whole");
		return -EINVAL;
	}
	rc = arena_truncate(fs->arena, st->file, ARENA_BODY, size);
	if (rc < 0)
		return rc;
	st->is_failed = false;
	st->raw_len = 0;
	st->is_dirty = size > 0;
	if (size == 0)
		st->original = 0;
	return 0;
}

/* st is a stage that is committed or being written; its time is kept for the
 * next commit, or goes to the record it has become. */
static int set_stage(fuse_req_t req, struct ops_node *node, struct stage *st,
	const struct stat *attr, int to_set)
{
	struct stage_place place = stage_place_of(st);
	struct fs_change *fc;
	char buf[VG_ID_MAX];
	struct vg_id id;
	bool is_record;
	int rc = 0;

	if (tx_is_over(fs_of(req), st))
		return -ESTALE;
	pthread_mutex_lock(&st->lock);
	if (to_set & FUSE_SET_ATTR_SIZE)
		rc = truncate_stage(req, st, (uint64_t)attr->st_size);
	is_record = (st->is_committed || !st->is_named) && !st->is_dirty &&
		    st->area != STAGE_QUERY;
	if (rc == 0 && sets_time(to_set)) {
		st->has_mtime = !is_record;
		st->mtime_ns = time_of(attr, to_set);
	}
	pthread_mutex_unlock(&st->lock);
	stages_save(&fs_of(req)->stages, st);
	if (rc < 0)
		return rc;
	if (!sets_time(to_set) || !is_record ||
		ops_place_id(&place, buf, &id) < 0) {
		reply_now(req, node);
		return 0;
	}
	fc = fs_change_new(req, OP_SET, node->coll);
	if (!fc)
		return -ENOMEM;
	fs_change_id(fc, id);
	fc->change.flags = CHANGE_TIME;
	fc->change.time_ns = time_of(attr, to_set);
	ops_add_condition(&place, fc);
	run_for_attr(fc, node);
	return 0;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h = handle_get(fs, fi);
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	if (node.coll && node.coll->of && !node.stage && !node.qnode)
		rc = ops_refuse_snap(req, node.coll,
			node.version ? version_id(node.version)
				     : (struct vg_id){0});
	else if (h && h->kind == HANDLE_STAGE &&
		 (node.stage || find_written(req, &node, h)))
		rc = set_stage(req, &node, h->stage, attr, to_set);
	else if (node.ref.kind == NODE_STAGE)
		rc = set_stage(req, &node, node.stage, attr, to_set);
	else if (node.version)
		rc = set_version(req, &node, attr, to_set);
	else if (node.ref.kind == NODE_COLL || node.ref.kind == NODE_ROOT)
		rc = set_coll(req, &node, attr, to_set);
	else if (node.ref.kind == NODE_ALIAS && sets_time(to_set))
		rc = set_alias(req, node.ref.low, attr, to_set);
	else
		reply_now(req, &node);
	ops_node_put(fs, &node);
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
}
