/* SPDX-License-Identifier: Apache-2.0 */
/* ops.c: the table of operations, and how a nodeid becomes a node. */
#include "fs/ops.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

/* A version by its number; -ESTALE: it is not there, or has no vector. */
static int find_version(
	const struct generation *g, uint64_t no, const struct version **out)
{
	const struct version *v;

	if (no >= atomic_load_explicit(&g->n_versions, memory_order_acquire))
		return -ESTALE;
	v = generation_version(g, (uint32_t)no);
	if (v->cell->is_gone)
		return -ESTALE;
	*out = v;
	return 0;
}

/* What a record's node is in: a snapshot, or a generation by its number. */
static int find_holder(struct fs *fs, struct ops_node *node)
{
	struct catalogue *cat = store_catalogue(fs->store);

	node->coll = catalogue_find_no(cat, node->ref.coll);
	if (!node->coll)
		node->coll = handle_find_snap(fs, node->ref.coll);
	if (node->coll && node->coll->of) {
		node->gen = collection_gen(node->coll);
		return 0;
	}
	collection_unref(node->coll);
	node->coll = NULL;
	node->gen = catalogue_find_gen(cat, node->ref.coll);
	if (!node->gen)
		node->gen = handle_find_gen(fs, node->ref.coll);
	if (!node->gen)
		return -ESTALE;
	node->coll = collection_ref(node->gen->coll);
	return 0;
}

/* A record of a generation that a crash undid, while it is open. */
static int find_undone(struct fs *fs, fuse_ino_t ino, struct ops_node *node)
{
	node->gen = handle_find_version(fs, ino, &node->version);
	if (!node->gen)
		return -ESTALE;
	node->coll = collection_ref(node->gen->coll);
	return 0;
}

int ops_node_get(struct fs *fs, fuse_ino_t ino, struct ops_node *out)
{
	struct node_ref ref = node_decode(ino);
	struct ops_node node = {.ref = ref};
	int rc = 0;

	switch (ref.kind) {
	case NODE_ROOT:
	case NODE_ROOT_VIEW:
	case NODE_ALIAS:
		break;
	case NODE_QUERY:
		node.qnode = nodes_get(&fs->nodes, ino);
		if (!node.qnode)
			return -ESTALE;
		node.coll = collection_ref(node.qnode->coll);
		break;
	case NODE_STAGE:
		node.stage = stages_get(&fs->stages, ref.low);
		if (!node.stage)
			return -ESTALE;
		node.coll = collection_ref(node.stage->coll);
		break;
	case NODE_RECORD:
	case NODE_AS:
	case NODE_META:
		rc = find_holder(fs, &node);
		if (rc == 0)
			rc = find_version(node.gen, ref.low, &node.version);
		else
			rc = find_undone(fs, ino, &node);
		break;
	default:
		node.coll = catalogue_find_no(
			store_catalogue(fs->store), ref.coll);
		if (!node.coll)
			return -ESTALE;
	}
	if (rc < 0) {
		ops_node_put(fs, &node);
		return rc;
	}
	*out = node;
	return 0;
}

void ops_node_put(struct fs *fs, struct ops_node *node)
{
	if (node->qnode)
		nodes_unref(&fs->nodes, node->qnode);
	if (node->stage)
		stages_unref(&fs->stages, node->stage);
	generation_unref(node->gen);
	collection_unref(node->coll);
	*node = (struct ops_node){0};
}

enum view ops_view(const struct node_ref *ref)
{
	if (ref->kind == NODE_ROOT)
		return VIEW_ROOT;
	if (ref->kind == NODE_COLL)
		return VIEW_COLL;
	if (ref->kind == NODE_VIEW || ref->kind == NODE_ROOT_VIEW)
		return (enum view)ref->low;
	return VIEW_NONE;
}

static int attr_of_alias(struct fs *fs, uint64_t cursor, struct stat *st)
{
	struct entry_info info;
	int rc = catalogue_next(store_catalogue(fs->store), cursor, &info);

	if (rc < 0)
		return -ESTALE;
	collection_unref(info.coll);
	if (info.coll || info.cursor != cursor)
		return -ESTALE;
	attr_alias(fs, &info, st);
	return 0;
}

int ops_attr(struct fs *fs, const struct ops_node *node, uint32_t uid,
	struct stat *st)
{
	struct version_view as = {
		node->coll, node->ref.kind, (enum record_form)node->ref.sub};

	switch (node->ref.kind) {
	case NODE_ROOT:
		attr_root(fs, st);
		return 0;
	case NODE_ROOT_VIEW:
	case NODE_VIEW:
		return attr_view(fs, (enum view)node->ref.low, node->coll, uid,
			st);
	case NODE_ALIAS:
		return attr_of_alias(fs, node->ref.low, st);
	case NODE_COLL:
		attr_coll(fs, node->coll, st);
		return 0;
	case NODE_STAGE:
		attr_stage(fs, node->stage, st);
		return 0;
	case NODE_QUERY:
		if (node->stage)
			attr_stage(fs, node->stage, st);
		else
			attr_qnode(fs, node->qnode, 0, 0, st);
		st->st_ino = node->qnode->nodeid;
		return 0;
	case NODE_RECORD:
	case NODE_AS:
	case NODE_META:
		attr_version(&as, node->version, st);
		return 0;
	}
	return -ESTALE;
}

int ops_refuse_snap(
	fuse_req_t req, struct collection *snap, struct vg_id name)
{
	fs_note_error(req, snap, name, -EROFS,
		"a snapshot cannot be changed: write to the collection, or "
		"copy it into another one");
	return -EROFS;
}

int ops_place(const struct ops_node *parent, struct stage_place *place)
{
	place->coll = parent->coll;
	place->form = RECORD_ANY;
	if (parent->stage && parent->stage->area == STAGE_TX_DIR) {
		place->area = STAGE_TX;
		place->key = parent->stage->serial;
		return 0;
	}
	if (parent->qnode && parent->qnode->kind == QNODE_IF) {
		place->area = STAGE_IF;
		return name_get_if(parent->qnode->path,
			       parent->qnode->path_len, &place->key)
			       ? 0
			       : -EPERM;
	}
	switch (ops_view(&parent->ref)) {
	case VIEW_COLL:
		place->area = STAGE_RECORD;
		return 0;
	case VIEW_AS_RAW:
	case VIEW_AS_NPY:
	case VIEW_AS_JSON:
	case VIEW_AS_TXT:
		place->area = STAGE_AS;
		place->form = view_form(ops_view(&parent->ref));
		return 0;
	case VIEW_META:
		place->area = STAGE_META;
		return 0;
	case VIEW_QUERY:
		place->area = STAGE_QUERY;
		return 0;
	default:
		return -EPERM;
	}
}

int ops_place_id(const struct stage_place *place, char buf[VG_ID_MAX],
	struct vg_id *id)
{
	if ((place->area == STAGE_RECORD || place->area == STAGE_IF ||
		    place->area == STAGE_TX) &&
		name_find(place->name.bytes, place->name.len) != NAME_RECORD)
		return -EINVAL;
	return name_decode(place->name.bytes, place->name.len, buf, id);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const struct fs *fs = userdata;

	/* libfuse insists that both places say the same. */
	conn->max_read = fs->max_read;
	conn->want |= conn->capable &
		      (FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC |
			      FUSE_CAP_ASYNC_DIO | FUSE_CAP_AUTO_INVAL_DATA |
			      FUSE_CAP_EXPORT_SUPPORT);
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE |
				  FUSE_CAP_WRITEBACK_CACHE |
				  FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS |
				  FUSE_CAP_READDIRPLUS |
				  FUSE_CAP_READDIRPLUS_AUTO);
	conn->max_background = 64;
	/* A request fits where it outlives us: fs/inflight.h. */
	conn->max_write = VG_MIN(conn->max_write, 1u << 20);
}

static void forget(struct fs *fs, fuse_ino_t ino, uint64_t n)
{
	if (node_decode(ino).kind == NODE_QUERY)
		nodes_forget(&fs->nodes, ino, n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget(fs_of(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(
	fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	(void)ino;
	if (fstatvfs(store_dirfd(fs_of(req)->store), &st) < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	st.f_namemax = NAME_LEN_MAX;
	fuse_reply_statfs(req, &st);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
};
