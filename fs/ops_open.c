/* SPDX-License-Identifier: Apache-2.0 */
/* ops_open.c: opening: what each kind of file is read from or written to. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/loop.h"
#include "fs/ops.h"

static void reply_open(fuse_req_t req, struct handle *h, fuse_ino_t ino,
	struct fuse_file_info *fi)
{
	handle_reply(req, h, ino, loop_unique().unique, fi);
}

/* Opens a text that is rendered now and does not change while it is open. */
static int open_bytes(fuse_req_t req, const struct ops_node *node, char *bytes,
	size_t len, struct fuse_file_info *fi)
{
	struct handle *h = handle_new(fs_of(req), HANDLE_BYTES, node->coll);
	struct answer_bytes *a = calloc(1, sizeof(*a));

	if (!h || !a) {
		free(a);
		free(bytes);
		handle_free(fs_of(req), h);
		return -ENOMEM;
	}
	atomic_init(&a->refs, 1);
	a->bytes = bytes;
	a->len = len;
	h->answer = a;
	fi->noflush = 1;
	reply_open(req, h, node_encode(node->ref), fi);
	return 0;
}

int ops_open_bytes(fuse_req_t req, const struct stage *st, char *bytes,
	size_t len, struct fuse_file_info *fi)
{
	struct ops_node node = {.ref = {.kind = NODE_STAGE, .low = st->serial},
		.coll = st->coll};

	return open_bytes(req, &node, bytes, len, fi);
}

static int open_view(fuse_req_t req, struct ops_node *node,
	struct fuse_file_info *fi)
{
	enum view view = ops_view(&node->ref);
	enum view dir = view_get(view)->parent;
	struct handle *h;
	char *bytes;
	size_t len;
	int rc;

	fi->direct_io = 1;
	if (dir == VIEW_EXPORT) {
		bulk_open_export(req, node->coll, view, fi);
		return 0;
	}
	if (view_is_stream(view)) {
		bulk_open_import(req, node, fi);
		return 0;
	}
	if (!ops_wants_write(fi) && !view_is_text(view))
		return -EACCES;
	if (!ops_wants_write(fi)) {
		rc = view_render(fs_of(req), view, node->coll,
			fuse_req_ctx(req)->uid, &bytes, &len);
		return rc < 0 ? rc
			      : open_bytes(req, node, bytes, len, fi);
	}
	if (!(view_get(view)->mode & 0222))
		return -EACCES;
	if (node->coll && node->coll->of)
		return ops_refuse_snap(req, node->coll,
			ops_id(view_get(view)->name));
	h = handle_new(fs_of(req), HANDLE_VALUE, node->coll);
	if (!h)
		return -ENOMEM;
	h->view = view;
	reply_open(req, h, node_encode(node->ref), fi);
	return 0;
}

/*
 * Who writes gets a node of his own: the kernel would cut and extend the
 * version's inode under those who read it. The open is refused with ESTALE,
 * upon which the kernel looks the name up again, once; to this caller the name
 * is then the stage (find_writer in ops_lookup.c).
 */
static int open_version_write(fuse_req_t req, const struct ops_node *node,
	struct fuse_file_info *fi)
{
	static const enum stage_area areas[] = {[NODE_RECORD] = STAGE_RECORD,
		[NODE_AS] = STAGE_AS, [NODE_META] = STAGE_META};
	char name[NAME_ENCODED_MAX];
	struct stage_place place = {.coll = node->coll,
		.area = areas[node->ref.kind],
		.form = (enum record_form)node->ref.sub};
	struct stage *st;
	size_t len;
	int rc = name_encode(version_id(node->version), name, &len);

	if (rc < 0)
		return rc;
	place.name = (struct vg_id){name, (uint32_t)len};
	rc = ops_offer_stage(
		req, &place, node->version, fi->flags & O_TRUNC, &st);
	if (rc < 0)
		return rc;
	stages_unref(&fs_of(req)->stages, st);
	return -ESTALE;
}

/* The handle keeps what it reads, also when the collection is removed. */
static int open_record(fuse_req_t req, const struct ops_node *node,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h = handle_new(fs, HANDLE_VERSION, node->coll);

	if (!h)
		return -ENOMEM;
	handle_keep_version(fs, h, node->gen, (uint32_t)node->ref.low);
	reply_open(req, h, node_encode(node->ref), fi);
	return 0;
}

static int open_version(fuse_req_t req, const struct ops_node *node,
	struct fuse_file_info *fi)
{
	struct version_view as = {
		node->coll, node->ref.kind, (enum record_form)node->ref.sub};
	size_t len;
	char *bytes;
	int rc;

	if (ops_wants_write(fi) && node->coll->of)
		return ops_refuse_snap(req, node->coll,
			version_id(node->version));
	if (ops_wants_write(fi))
		return open_version_write(req, node, fi);
	rc = as.kind == NODE_META ? 0 : ops_check_row(req, node->version);
	if (rc < 0)
		return rc;
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (as.kind == NODE_RECORD)
		return open_record(req, node, fi);
	len = version_format(&as, node->version, NULL, 0);
	bytes = malloc(len);
	if (!bytes)
		return -ENOMEM;
	version_format(&as, node->version, bytes, len);
	/* Touching it may have shown that. */
	rc = as.kind == NODE_META ? 0 : ops_check_row(req, node->version);
	if (rc < 0) {
		free(bytes);
		return rc;
	}
	return open_bytes(req, node, bytes, len, fi);
}

static int open_stage(fuse_req_t req, struct ops_node *node,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct stage *st = node->stage, *own;
	struct stage_place place = stage_place_of(st);
	struct handle *h;
	int rc = 0;

	/* His open for writing was cut off; who reads reads the version. The
	 * others are offered to whoever looks. */
	if (!ops_wants_write(fi) && st->area != STAGE_IF &&
		stages_withdraw(&fs->stages, st))
		return -ESTALE;
	if (st->area == STAGE_TX) {
		rc = tx_open(req, st, fi);
		if (rc <= 0)
			return rc;
	}
	if (ops_stage_is_taken(req, st, fi)) {
		rc = ops_offer_stage(req, &place, NULL, true, &own);
		if (rc < 0)
			return rc;
		stages_unref(&fs->stages, own);
		return -ESTALE;
	}
	h = ops_stage_handle(fs, st, fi);
	/* It counts for itself. */
	if (ops_wants_write(fi) && st->name[0] != '.' && st->area != STAGE_TX)
		atomic_fetch_sub_explicit(
			&st->n_open, 1, memory_order_relaxed);
	if (!h)
		return -ENOMEM;
	/* The node's reference is the handle's from here on. */
	node->stage = NULL;
	pthread_mutex_lock(&st->lock);
	if (ops_wants_write(fi) && (fi->flags & O_TRUNC)) {
		rc = arena_truncate(fs->arena, st->file, ARENA_BODY, 0);
		st->is_failed = st->is_dirty = false;
		st->raw_len = 0;
		st->original = 0; /* of another length maybe */
	}
	pthread_mutex_unlock(&st->lock);
	stages_accept(&fs->stages, st); /* and saves it */
	if (rc < 0) {
		handle_free(fs, h);
		return rc;
	}
	fi->direct_io = 1;
	reply_open(req, h, node_encode(node->ref), fi);
	return 0;
}

/*
 * Writing a named request anew: a stage of its own, which becomes one of the name
 * by which it was opened: q1.f32 writes q1. What is read of it is an answer, which
 * the kernel keeps no pages of: so the handle may be one of the leaf's own node,
 * and the kernel need not look the name up again, as it must for a record.
 */
static int open_named_write(
	fuse_req_t req, struct ops_node *node, struct fuse_file_info *fi)
{
	struct qnode *leaf = node->qnode;
	struct stage_place place = {.coll = node->coll,
		.area = STAGE_QUERY,
		.name = {leaf->path, leaf->path_len}};
	struct fs *fs = fs_of(req);
	struct handle *h;
	struct stage *st;
	int rc;

	/* Below parameters it is an answer only. */
	if (leaf->query.src != QUERY_NAME ||
		memchr(leaf->path, '/', leaf->path_len))
		return -EACCES;
	rc = stages_add(&fs->stages, &place, false, fuse_req_ctx(req)->uid,
		&st);
	if (rc < 0)
		return rc;
	h = ops_stage_handle(fs, st, fi);
	if (!h) {
		stages_unref(&fs->stages, st);
		return -ENOMEM;
	}
	h->pid = fuse_req_ctx(req)->pid;
	/* The node's reference is the handle's from here on. */
	node->qnode = NULL;
	handle_write_leaf(fs, h, leaf);
	reply_open(req, h, leaf->nodeid, fi);
	return 0;
}

static int open_qnode(
	fuse_req_t req, struct ops_node *node, struct fuse_file_info *fi)
{
	struct handle *h;

	fi->direct_io = 1;
	switch (node->qnode->kind) {
	case QNODE_DIR:
	case QNODE_HITS:
	case QNODE_IF:
		return -EISDIR;
	case QNODE_LINK:
		return -ELOOP;
	case QNODE_IMPORT:
		bulk_open_import(req, node, fi);
		return 0;
	case QNODE_LEAF:
		if (ops_wants_write(fi))
			return open_named_write(req, node, fi);
		fi->noflush = 1;
		query_open_leaf(req, node->qnode, fi);
		return 0;
	case QNODE_RUN:
		break;
	}
	h = handle_new(fs_of(req), HANDLE_RUN, node->coll);
	if (!h)
		return -ENOMEM;
	h->node = node->qnode;
	node->qnode = NULL;
	fi->noflush = 1;
	reply_open(req, h, h->node->nodeid, fi);
	return 0;
}

/* What a name of a record leads to: looked up again, a writer gets a stage. */
static bool is_of_record(enum node_kind kind)
{
	return kind == NODE_STAGE || kind == NODE_RECORD || kind == NODE_AS ||
	       kind == NODE_META;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == -ESTALE && ops_wants_write(fi) &&
		is_of_record(node_decode(ino).kind))
		stages_put_miss(&fs->stages, fuse_req_ctx(req)->pid,
			fi->flags & O_TRUNC);
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	switch (node.ref.kind) {
	case NODE_RECORD:
	case NODE_AS:
	case NODE_META:
		rc = open_version(req, &node, fi);
		break;
	case NODE_VIEW:
	case NODE_ROOT_VIEW:
		rc = open_view(req, &node, fi);
		break;
	case NODE_STAGE:
		rc = open_stage(req, &node, fi);
		break;
	case NODE_QUERY:
		rc = open_qnode(req, &node, fi);
		break;
	default:
		rc = -EISDIR;
	}
	ops_node_put(fs, &node);
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
}
