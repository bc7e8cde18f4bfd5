/* SPDX-License-Identifier: Apache-2.0 */
/* ops_dir.c: names to nodes, listings, directories and links. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ops.h"

/* ---- lookup ---- */

/* What a lookup found: its nodeid and attributes. */
struct found {
	struct fuse_entry_param e;
	uint32_t uid;
	fuse_req_t req;
};

static struct vg_id id_of(const char *name)
{
	return (struct vg_id){name, (uint32_t)strlen(name)};
}

/* Directories may be remembered for a second, their names as well: only the
 * kernel itself asks us to change them. Else each part of a path is a LOOKUP of
 * its own, which costs a query a quarter. */
static void remember_dir(struct found *f)
{
	f->e.attr_timeout = ATTR_TIMEOUT;
	f->e.entry_timeout = ATTR_TIMEOUT;
}

static int find_view(struct fs *fs, struct collection *c, enum view parent,
	const char *name, struct found *f)
{
	enum view view = view_find(parent, name, strlen(name));
	struct node_ref ref = {.kind = c ? NODE_VIEW : NODE_ROOT_VIEW,
		.coll = c ? c->no : 0,
		.low = view};
	int rc;

	if (view == VIEW_NONE)
		return -ENOENT;
	rc = attr_view(fs, view, c, f->uid, &f->e.attr);
	if (rc < 0)
		return rc;
	f->e.ino = node_encode(ref);
	if (S_ISDIR(f->e.attr.st_mode))
		remember_dir(f);
	return 0;
}

static int find_root(struct fs *fs, const char *name, struct found *f)
{
	struct entry_info info;

	if (strlen(name) > VG_ID_MAX)
		return -ENAMETOOLONG;
	if (catalogue_get(store_catalogue(fs->store), id_of(name), &info) < 0)
		return find_view(fs, NULL, VIEW_ROOT, name, f);
	if (info.coll) {
		f->e.ino = node_encode((struct node_ref){
			.kind = NODE_COLL, .coll = info.coll->no});
		remember_dir(f);
		attr_coll(fs, info.coll, &f->e.attr);
		collection_unref(info.coll);
	} else {
		f->e.ino = node_encode((struct node_ref){
			.kind = NODE_ALIAS, .low = info.cursor});
		f->e.attr_timeout = ATTR_TIMEOUT;
		attr_alias(fs, &info, &f->e.attr);
	}
	return 0;
}

/* Answers with a stage, whose reference is given back. */
static int found_stage(struct fs *fs, struct stage *st, struct found *f)
{
	if (!st)
		return -ENOENT;
	attr_stage(fs, st, &f->e.attr);
	f->e.ino = node_encode(
		(struct node_ref){.kind = NODE_STAGE, .low = st->serial});
	stages_unref(&fs->stages, st);
	return 0;
}

static int find_stage(
	struct fs *fs, const struct stage_place *place, struct found *f)
{
	return found_stage(fs, stages_get_name(&fs->stages, place), f);
}

/* What the caller is about to write to: see open_version_write. */
static int find_writer(
	struct fs *fs, const struct stage_place *place, struct found *f)
{
	return found_stage(fs,
		stages_get_offer(
			&fs->stages, place, fuse_req_ctx(f->req)->pid),
		f);
}

/* A record under one of its names; what is being written comes after what is
 * committed, so that readers see the old until the new is there. */
static int find_record(
	struct fs *fs, const struct stage_place *place, struct found *f)
{
	static const enum node_kind kinds[] = {[STAGE_RECORD] = NODE_RECORD,
		[STAGE_AS] = NODE_AS, [STAGE_META] = NODE_META};
	struct version_view as = {kinds[place->area], place->form};
	char buf[VG_ID_MAX];
	struct moment *moment;
	struct stage *st;
	struct vg_id id;
	uint32_t no;
	bool is_trunc;

	if (ops_is_dotted(place))
		return find_stage(fs, place, f);
	if (find_writer(fs, place, f) == 0)
		return 0;
	if (ops_place_id(place, buf, &id) < 0)
		return -ENOENT;
	moment = moment_get(store_moments(fs->store));
	no = collection_find(place->coll, id, moment);
	moment_unref(store_moments(fs->store), moment);
	if (no == VERSION_NONE)
		return find_stage(fs, place, f);
	if (stages_take_miss(
		    &fs->stages, fuse_req_ctx(f->req)->pid, &is_trunc) &&
		ops_offer_stage(f->req, place,
			collection_version(place->coll, no), is_trunc,
			&st) == 0)
		return found_stage(fs, st, f);
	attr_version(&as, collection_version(place->coll, no), &f->e.attr);
	f->e.ino = node_encode((struct node_ref){.kind = as.kind,
		.sub = as.form,
		.coll = place->coll->no,
		.low = no});
	f->e.attr_timeout = OPS_ATTR_TIMEOUT;
	return 0;
}

static bool id_exists(struct fs *fs, struct collection *c, struct vg_id id)
{
	struct moment *moment = moment_get(store_moments(fs->store));
	bool exists = collection_find(c, id, moment) != VERSION_NONE;

	moment_unref(store_moments(fs->store), moment);
	return exists;
}

struct exists_ctx {
	struct fs *fs;
	struct collection *c;
};

static bool env_exists(void *ctx, struct vg_id id)
{
	struct exists_ctx *e = ctx;

	return id_exists(e->fs, e->c, id);
}

/* Whether the leaf's record or named request is there. */
static bool has_source(
	struct fs *fs, struct collection *c, const struct query *q, uint32_t uid)
{
	struct named_key key = {c, uid, {q->key, q->key_len}};
	struct named_request *r;

	if (q->src == QUERY_ID)
		return id_exists(fs, c, key.name);
	if (q->src != QUERY_NAME)
		return true;
	r = named_get(&fs->named, &key);
	named_unref(r);
	return r != NULL;
}

/* A name below query/ or below one of its parameter directories. */
static int parse_query_name(struct fs *fs, const struct ops_node *parent,
	const char *name, uint32_t uid, struct query *q, enum qnode_kind *kind)
{
	struct exists_ctx ctx = {fs, parent->coll};
	struct query_env env = {collection_config(parent->coll).dim,
		env_exists, &ctx};
	size_t len = strlen(name);
	int rc;

	*kind = QNODE_RUN;
	if (strcmp(name, ".run") == 0)
		return 0;
	*kind = QNODE_DIR;
	rc = query_parse_param(q, name, len);
	if (rc != -ENOENT)
		return rc;
	*kind = QNODE_LEAF;
	rc = query_parse_leaf(q, name, len, &env);
	if (rc == 0 && !has_source(fs, parent->coll, q, uid))
		rc = -ENOENT;
	return rc;
}

static int find_query(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	const struct qnode *dir = parent->qnode;
	size_t head = dir ? dir->path_len : 0, len = strlen(name);
	struct qnode_path path = {.coll = parent->coll,
		.parent = dir ? dir->nodeid : node_encode(parent->ref)};
	struct query q;
	struct qnode *node;
	char *text;
	int rc;

	query_init(&q);
	rc = dir ? query_init_from(&q, &dir->query) : 0;
	if (rc == 0)
		rc = parse_query_name(fs, parent, name, f->uid, &q, &path.kind);
	if (rc == -EINVAL && q.error[0])
		fs_note_error(f->req, parent->coll,
			(struct vg_id){name, (uint32_t)len}, rc, q.error);
	text = rc == 0 ? malloc(head + len + 1) : NULL;
	if (!text) {
		query_fini(&q);
		return rc < 0 ? rc : -ENOMEM;
	}
	if (head)
		memcpy(text, dir->path, head);
	memcpy(text + head, name, len);
	text[head + len] = '/';
	path.path = (struct vg_id){
		text, (uint32_t)(head + len + (path.kind == QNODE_DIR))};
	path.uid = path.kind == QNODE_LEAF && q.src == QUERY_NAME ? f->uid : 0;
	rc = nodes_add(&fs->nodes, &path, &q, &node);
	free(text);
	if (rc < 0)
		return rc;
	attr_qnode(fs, node, 0, 0, &f->e.attr);
	f->e.ino = node->nodeid;
	if (path.kind == QNODE_DIR)
		remember_dir(f);
	nodes_unref(&fs->nodes, node);
	return 0;
}

/* .import/npy@prefix */
static int find_import(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	const char *at = strchr(name, '@');
	struct qnode_path path = {.coll = parent->coll,
		.parent = node_encode(parent->ref),
		.path = id_of(name),
		.kind = QNODE_IMPORT};
	struct query q;
	struct qnode *node;
	enum view view;
	int rc;

	rc = find_view(fs, parent->coll, VIEW_IMPORT, name, f);
	if (rc != -ENOENT || !at)
		return rc;
	view = view_find(VIEW_IMPORT, name, (size_t)(at - name));
	if (view != VIEW_IMPORT_NPY && view != VIEW_IMPORT_FVECS &&
		view != VIEW_IMPORT_NDJSON)
		return -ENOENT;
	query_init(&q);
	rc = nodes_add(&fs->nodes, &path, &q, &node);
	if (rc < 0)
		return rc;
	attr_qnode(fs, node, 0, 0, &f->e.attr);
	f->e.ino = node->nodeid;
	nodes_unref(&fs->nodes, node);
	return 0;
}

static int find_in_coll(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	struct stage_place place = {.name = id_of(name)};
	enum name_kind kind = name_find(name, strlen(name));

	if (kind != NAME_RECORD && kind != NAME_STAGING)
		return find_view(fs, parent->coll, VIEW_COLL, name, f);
	ops_place(parent, &place);
	return find_record(fs, &place, f);
}

static int do_lookup(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	struct stage_place place = {.name = id_of(name)};
	enum view view = ops_view(&parent->ref);

	if (parent->ref.kind == NODE_ROOT)
		return find_root(fs, name, f);
	if (parent->ref.kind == NODE_COLL)
		return find_in_coll(fs, parent, name, f);
	if (parent->ref.kind == NODE_QUERY)
		return parent->qnode->kind == QNODE_DIR
			       ? find_query(fs, parent, name, f)
			       : -ENOTDIR;
	if (view == VIEW_NONE || !S_ISDIR(view_get(view)->mode))
		return -ENOTDIR;
	if (view == VIEW_IMPORT)
		return find_import(fs, parent, name, f);
	if (ops_place(parent, &place) < 0)
		return find_view(fs, parent->coll, view, name, f);
	if (strlen(name) > NAME_LEN_MAX && view != VIEW_QUERY)
		return -ENAMETOOLONG;
	if (view != VIEW_QUERY)
		return find_record(fs, &place, f);
	if (place.name.len <= NAME_LEN_MAX &&
		(name[0] == '.' || !strchr("0123456789-+", name[0])) &&
		(find_stage(fs, &place, f) == 0 ||
			find_writer(fs, &place, f) == 0))
		return 0;
	return find_query(fs, parent, name, f);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent_ino, const char *name)
{
	struct fs *fs = fs_of(req);
	struct found f = {.uid = fuse_req_ctx(req)->uid, .req = req};
	struct ops_node parent;
	int rc = ops_node_get(fs, parent_ino, &parent);

	if (rc == 0) {
		rc = do_lookup(fs, &parent, name, &f);
		ops_node_put(fs, &parent);
	}
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
	else if (fuse_reply_entry(req, &f.e) < 0 &&
		 node_decode(f.e.ino).kind == NODE_QUERY)
		nodes_forget(&fs->nodes, f.e.ino, 1);
}

/* ---- making and removing directories ---- */

/* Answers a mkdir or symlink with the entry that is there now. */
static void finish_entry(struct fs_change *fc, int rc)
{
	struct found f = {.uid = fc->uid, .req = fc->req};

	if (rc == 0)
		rc = find_root(fc->fs, fc->ctx, &f);
	if (rc < 0)
		fuse_reply_err(fc->req, fs_errno(rc));
	else
		fuse_reply_entry(fc->req, &f.e);
	free(fc->ctx);
}

static void create_entry(
	fuse_req_t req, const char *name, struct fs_change *fc)
{
	char *copy = strdup(name);

	if (!copy) {
		fs_change_free(fc);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fs_change_name(fc, id_of(name));
	fc->finish = finish_entry;
	fc->ctx = copy;
	memcpy(fc->path, name, strlen(name) + 1);
	fs_change_run(fc);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m)
{
	struct fs_change *fc;

	if (parent != FUSE_ROOT_ID) {
		fs_refuse(req, NULL, id_of(name), -EPERM,
			"collections stand in the root; there are no "
			"directories inside them");
		return;
	}
	if (strlen(name) > VG_ID_MAX || name[0] == '.') {
		fs_refuse(req, NULL, id_of(name), -EINVAL,
			"a collection's name does not begin with a dot");
		return;
	}
	fc = fs_change_new(req, OP_CREATE, NULL);
	if (!fc) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fc->change.attr = (struct op_attr){.mode = m & 07777,
		.uid = fuse_req_ctx(req)->uid,
		.gid = fuse_req_ctx(req)->gid};
	create_entry(req, name, fc);
}

void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
	const char *name)
{
	struct fs_change *fc;

	if (parent != FUSE_ROOT_ID) {
		fs_refuse(req, NULL, id_of(name), -EPERM,
			"links stand in the root, as other names of "
			"collections");
		return;
	}
	if (strlen(name) > VG_ID_MAX || strlen(link) >= sizeof(fc->target)) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	fc = fs_change_new(req, OP_ALIAS, NULL);
	if (!fc) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(fc->target, link, strlen(link));
	fc->change.target = (struct vg_id){fc->target, (uint32_t)strlen(link)};
	fc->change.flags |= CHANGE_NOREPLACE;
	create_entry(req, name, fc);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node_ref ref = node_decode(ino);
	struct entry_info info;
	int rc = -EINVAL;

	if (ref.kind == NODE_ALIAS)
		rc = catalogue_next(
			store_catalogue(fs_of(req)->store), ref.low, &info);
	if (rc == 0 && (info.coll || info.cursor != ref.low)) {
		collection_unref(info.coll);
		rc = -ESTALE;
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	info.target[info.target_len] = '\0';
	fuse_reply_readlink(req, info.target);
}

/* The stages of a dropped collection go with it. */
static void finish_rmdir(struct fs_change *fc, int rc)
{
	struct stages *ss = &fc->fs->stages;
	struct stage *st;
	uint64_t from = 0;

	while (rc == 0 && (st = stages_next(ss, fc->coll, from))) {
		from = st->serial;
		stages_del_name(ss, st);
		stages_unref(ss, st);
	}
	fuse_reply_err(fc->req, fs_errno(rc));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct entry_info info;
	struct fs_change *fc;
	int rc = -EPERM;

	if (parent == FUSE_ROOT_ID && strlen(name) <= VG_ID_MAX)
		rc = catalogue_get(store_catalogue(fs_of(req)->store),
			id_of(name), &info);
	if (rc == 0 && !info.coll)
		rc = -ENOTDIR;
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	fc = fs_change_new(req, OP_DROP, info.coll);
	collection_unref(info.coll);
	if (!fc) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fc->finish = finish_rmdir;
	fs_change_run(fc);
}

/* ---- listings ---- */

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct ops_node node;
	struct handle *h = NULL;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == 0) {
		h = handle_new(fs, HANDLE_DIR, node.coll);
		rc = h ? 0 : -ENOMEM;
		if (h) {
			h->view = ops_view(&node.ref);
			h->moment = moment_get(store_moments(fs->store));
		}
		ops_node_put(fs, &node);
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)h;
	if (fuse_reply_open(req, fi) < 0)
		handle_free(fs, h);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_free(fs_of(req), handle_of(fi));
	fuse_reply_err(req, 0);
}

/* A listing that is being filled. Offsets are cursors: 1 and 2 are the dots,
 * behind them a version's number + 3, an entry's cursor + 3, or a view + 3. */
struct listing {
	fuse_req_t req;
	char *buf;
	size_t len, cap;
	bool is_full;
};

static bool add(struct listing *l, const char *name, const struct stat *st,
	uint64_t next)
{
	size_t need = fuse_add_direntry(l->req, l->buf + l->len,
		l->cap - l->len, name, st, (off_t)next);

	l->is_full = need > l->cap - l->len;
	if (!l->is_full)
		l->len += need;
	return !l->is_full;
}

static void list_views(
	struct listing *l, const struct handle *h, uint64_t from)
{
	for (uint64_t v = from; v < VIEWS && !l->is_full; v++) {
		const struct view_info *info = view_get((enum view)v);
		struct stat st = {.st_mode = info->mode, .st_ino = v + 2};

		if (info->parent == h->view && v != VIEW_COLL)
			add(l, info->name, &st, v + 4);
	}
}

static void list_records(
	struct listing *l, const struct handle *h, uint64_t from)
{
	struct version_view as = {NODE_RECORD, RECORD_ANY};
	char name[NAME_ENCODED_MAX + 1];
	uint32_t no = (uint32_t)VG_MIN(from, (uint64_t)UINT32_MAX - 1);

	while (!l->is_full) {
		const struct version *v;
		struct stat st;
		size_t len;

		no = collection_next(h->coll, no, h->moment);
		if (no == VERSION_NONE)
			break;
		v = collection_version(h->coll, no);
		/* One that is too long to list is found by queries only. */
		if (name_encode(version_id(v), name, &len) == 0) {
			name[len] = '\0';
			attr_version(&as, v, &st);
			add(l, name, &st, (uint64_t)no + 4);
		}
		no++;
	}
}

static void list_root(struct fs *fs, struct listing *l, uint64_t from)
{
	struct catalogue *cat = store_catalogue(fs->store);
	struct stat st = {.st_mode = S_IFREG, .st_ino = VIEW_README + 2};
	struct entry_info info;

	if (from == 0 && catalogue_count(cat) == 0)
		add(l, "README", &st, 4);
	while (!l->is_full && catalogue_next(cat, from, &info) == 0) {
		if (info.coll)
			attr_coll(fs, info.coll, &st);
		else
			attr_alias(fs, &info, &st);
		collection_unref(info.coll);
		if (info.name[0] != '.')
			add(l, info.name, &st, info.cursor + 4);
		from = info.cursor + 1;
	}
}

static void list(struct fs *fs, struct listing *l, const struct handle *h,
	uint64_t off)
{
	static const char *const dots[] = {".", ".."};
	struct stat st = {.st_mode = S_IFDIR, .st_ino = 1};

	for (; off < 2 && !l->is_full; off++)
		add(l, dots[off], &st, off + 1);
	if (l->is_full)
		return;
	off = off > 3 ? off - 3 : 0;
	switch (h->view) {
	case VIEW_ROOT:
		list_root(fs, l, off);
		break;
	case VIEW_COLL:
	case VIEW_AS_RAW:
	case VIEW_AS_NPY:
	case VIEW_AS_JSON:
	case VIEW_AS_TXT:
	case VIEW_META:
		list_records(l, h, off);
		break;
	case VIEW_NONE:
	case VIEW_QUERY:
		break;
	default:
		list_views(l, h, off);
	}
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct listing l = {.req = req, .cap = size, .buf = malloc(size)};
	struct handle *h = handle_of(fi);

	(void)ino;
	if (!l.buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (off == 0) {
		/* rewinddir sees what is there now. */
		moment_unref(store_moments(fs->store), h->moment);
		h->moment = moment_get(store_moments(fs->store));
	}
	list(fs, &l, h, (uint64_t)off);
	fuse_reply_buf(req, l.buf, l.len);
	free(l.buf);
}
