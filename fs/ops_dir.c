/* SPDX-License-Identifier: Apache-2.0 */
/* ops_dir.c: directories and links: made, removed, listed. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/hits.h"
#include "fs/loop.h"
#include "fs/ops.h"
#include "src/match.h"

/* Answers a mkdir or symlink with the entry that is there now. */
static void finish_entry(struct fs_change *fc, int rc)
{
	struct fuse_entry_param e;

	if (rc == 0)
		rc = ops_find_entry(fc->req, fc->fs, fc->coll, fc->ctx, &e);
	if (rc < 0)
		fuse_reply_err(fc->req, fs_errno(rc));
	else
		fuse_reply_entry(fc->req, &e);
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
	fs_change_name(fc, ops_id(name));
	fc->finish = finish_entry;
	fc->ctx = copy;
	if (!fc->path[0])
		memcpy(fc->path, name, strlen(name) + 1);
	fs_change_run(fc);
}

/* Whether ino is the .snap/ or .tx/ of a collection, referenced. */
static bool get_maker(struct fs *fs, fuse_ino_t ino, struct ops_node *node)
{
	if (ops_node_get(fs, ino, node) < 0)
		return false;
	if (ops_view(&node->ref) == VIEW_SNAP ||
		ops_view(&node->ref) == VIEW_TX)
		return true;
	ops_node_put(fs, node);
	return false;
}

static void make_snap(fuse_req_t req, struct collection *c, const char *name)
{
	struct fs_change *fc;

	if (strlen(name) > VG_ID_MAX || name[0] == '.') {
		fs_refuse(req, c, ops_id(name), -EINVAL,
			"a snapshot's name does not begin with a dot");
		return;
	}
	fc = fs_change_new(req, OP_SNAP, c);
	if (!fc) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fs_path(fc->fs, c, ops_id(".snap"), fc->path, sizeof(fc->path));
	create_entry(req, name, fc);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m)
{
	struct fs *fs = fs_of(req); /* an answer ends req */
	struct fs_change *fc;
	struct ops_node node;

	if (parent != FUSE_ROOT_ID && get_maker(fs, parent, &node)) {
		if (ops_view(&node.ref) == VIEW_SNAP)
			make_snap(req, node.coll, name);
		else
			tx_mkdir(req, node.coll, name);
		ops_node_put(fs, &node);
		return;
	}
	if (parent != FUSE_ROOT_ID) {
		fs_refuse(req, NULL, ops_id(name), -EPERM,
			"collections stand in the root, snapshots in .snap/, "
			"transactions in .tx/; there are no other directories");
		return;
	}
	if (strlen(name) > VG_ID_MAX || name[0] == '.') {
		fs_refuse(req, NULL, ops_id(name), -EINVAL,
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
		fs_refuse(req, NULL, ops_id(name), -EPERM,
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

/* A link in SRC.hits/. */
static void read_hit(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	char target[HITS_TARGET_MAX + 1];
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	rc = node.qnode->kind == QNODE_LINK ? qnode_target(node.qnode, target)
					    : -EINVAL;
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
	else
		fuse_reply_readlink(req, target);
	ops_node_put(fs, &node);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node_ref ref = node_decode(ino);
	struct entry_info info;
	int rc = -EINVAL;

	if (ref.kind == NODE_QUERY) {
		read_hit(req, ino);
		return;
	}
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

static int remove_snap(
	fuse_req_t req, struct collection *c, const char *name)
{
	struct fs_change *fc;

	if (strlen(name) > VG_ID_MAX)
		return -ENAMETOOLONG;
	fc = fs_change_new(req, OP_UNSNAP, c);
	if (!fc)
		return -ENOMEM;
	fs_change_name(fc, ops_id(name));
	fs_path(fc->fs, c, ops_id(".snap"), fc->path, sizeof(fc->path));
	fs_change_run(fc);
	return 0;
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req); /* an answer ends req */
	struct entry_info info;
	struct ops_node node;
	struct fs_change *fc;
	int rc = -EPERM;

	if (parent != FUSE_ROOT_ID && get_maker(fs, parent, &node)) {
		rc = ops_view(&node.ref) == VIEW_SNAP
			     ? remove_snap(req, node.coll, name)
			     : tx_rmdir(req, node.coll, name);
		ops_node_put(fs, &node);
		if (rc < 0)
			fuse_reply_err(req, fs_errno(rc));
		return;
	}
	if (parent == FUSE_ROOT_ID && strlen(name) <= VG_ID_MAX)
		rc = catalogue_get(store_catalogue(fs_of(req)->store),
			ops_id(name), &info);
	if (rc == 0 && !info.coll)
		rc = -ENOTDIR;
	if (rc == -ENOENT && loop_unique().resent)
		rc = 0, info.coll = NULL; /* the first daemon did it */
	if (rc < 0 || !info.coll) {
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

/* The names of the fields that are indexed, each with a NUL behind it. */
static int list_fields(struct collection *c, char **out, size_t *len)
{
	struct generation *g = collection_gen(c);
	char name[NAME_ENCODED_MAX];
	struct vg_id *fields;
	size_t room = 1, at = 0, n;
	uint32_t n_fields;
	char *bytes = NULL;
	int rc = match_names(g, &fields, &n_fields);

	for (uint32_t i = 0; rc == 0 && i < n_fields; i++)
		room += 3 * (size_t)fields[i].len + 1;
	if (rc == 0)
		bytes = malloc(room);
	for (uint32_t i = 0; bytes && i < n_fields; i++) {
		/* One that is too long to list is asked for by facet=. */
		if (name_encode(fields[i], name, &n) < 0)
			continue;
		memcpy(bytes + at, name, n);
		bytes[at + n] = '\0';
		at += n + 1;
	}
	free(rc == 0 ? fields : NULL);
	generation_unref(g);
	*out = bytes;
	*len = at;
	return rc < 0 || bytes ? rc : -ENOMEM;
}

/* A listing that does not change while it is open. */
static int open_facets(struct fs *fs, struct collection *c, struct handle **out)
{
	struct answer_bytes *a = calloc(1, sizeof(*a));
	struct handle *h = handle_new(fs, HANDLE_BYTES, c);
	int rc = a && h ? 0 : -ENOMEM;

	if (rc == 0)
		rc = list_fields(c, &a->bytes, &a->len);
	if (rc < 0) {
		free(a);
		handle_free(fs, h);
		return rc;
	}
	atomic_init(&a->refs, 1);
	h->answer = a;
	h->view = VIEW_STATS_FACETS;
	*out = h;
	return 0;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct ops_node node;
	struct handle *h = NULL;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == 0 && node.qnode && node.qnode->kind == QNODE_HITS) {
		query_open_leaf(req, node.qnode, fi);
		ops_node_put(fs, &node);
		return;
	}
	if (rc == 0 && ops_view(&node.ref) == VIEW_STATS_FACETS) {
		rc = open_facets(fs, node.coll, &h);
		ops_node_put(fs, &node);
	} else if (rc == 0) {
		h = handle_new(fs, HANDLE_DIR, node.coll);
		rc = h ? 0 : -ENOMEM;
		if (h) {
			h->view = ops_view(&node.ref);
			if (h->coll)
				handle_look(fs, h);
		}
		ops_node_put(fs, &node);
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	handle_reply(req, h, ino, loop_unique().unique, fi);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fs_of(req), fi);

	(void)ino;
	if (h && h->opened)
		query_keep_listing(h);
	handle_free(fs_of(req), h);
	fuse_reply_err(req, 0);
}

/* A listing that is being filled. Offsets are cursors: 1 and 2 are the dots,
 * behind them a version's number + 3, an entry's cursor + 3, or a view + 3; of
 * links to hits see list_hits. */
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
		struct stat st = {.st_mode = info->mode,
			.st_ino = attr_view_ino((enum view)v, h->coll)};

		if (info->parent == h->view && v != VIEW_COLL &&
			view_is_in((enum view)v, h->coll))
			add(l, info->name, &st, v + 4);
	}
}

static void list_records(
	struct listing *l, const struct handle *h, uint64_t from)
{
	enum record_form form = view_form(h->view);
	struct version_view as = {h->coll,
		h->view == VIEW_META ? NODE_META
		: form		     ? NODE_AS
				     : NODE_RECORD,
		form};
	char name[NAME_ENCODED_MAX + 1];
	uint32_t no = (uint32_t)VG_MIN(from, (uint64_t)UINT32_MAX - 1);

	while (!l->is_full) {
		const struct version *v;
		struct stat st;
		size_t len;

		no = generation_next(h->look.gen, no, h->look.moment);
		if (no == VERSION_NONE)
			break;
		v = generation_version(h->look.gen, no);
		/* One that is too long to list is found by queries only. */
		if (name_encode(version_id(v), name, &len) == 0) {
			name[len] = '\0';
			attr_version(&as, v, &st);
			add(l, name, &st, (uint64_t)no + 4);
		}
		no++;
	}
}

/* In the order in which they were taken: their numbers grow. */
static void list_snaps(struct fs *fs, struct listing *l,
	struct collection *c, uint64_t from)
{
	struct collection *snap;
	struct stat st;

	for (uint32_t i = 0; !l->is_full && (snap = collection_get_snap(c, i));
		i++) {
		if (snap->no >= from) {
			attr_coll(fs, snap, &st);
			add(l, snap->name, &st, (uint64_t)snap->no + 4);
		}
		collection_unref(snap);
	}
}

/* Transactions, or what one would write, in the order in which they were begun:
 * their serials grow. */
static void list_stages(struct fs *fs, struct listing *l,
	const struct stage_place *of, uint64_t from)
{
	struct stage **list;
	struct stat attr;
	uint32_t n;

	if (tx_list(fs, of, &list, &n) < 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (list[i]->serial >= from && !l->is_full) {
			attr_stage(fs, list[i], &attr);
			add(l, list[i]->name, &attr, list[i]->serial + 4);
		}
		stages_unref(&fs->stages, list[i]);
	}
	free(list);
}

/* An offset has where the next line begins and, in its lower part, how many
 * lines are before it: there are at most VG_K_MAX. */
#define LINE_BITS 16

static void list_hits(
	struct listing *l, const struct handle *h, uint64_t from)
{
	const struct answer_bytes *a = h->answer;
	uint32_t offset = h->node->query.offset;
	struct stat st = {.st_mode = S_IFLNK};
	struct hits_row row;
	struct hits hits;

	static_assert(VG_K_MAX < 1u << LINE_BITS, "lines are counted in it");
	hits_init(&hits, a->bytes, a->len, offset);
	hits.at = VG_MIN((size_t)(from >> LINE_BITS), a->len);
	hits.number += (uint32_t)from & ((1u << LINE_BITS) - 1);
	while (!l->is_full && hits_next(&hits, &row)) {
		st.st_ino = h->node->nodeid + row.number;
		add(l, row.name, &st,
			(((uint64_t)hits.at << LINE_BITS) |
				(hits.number - offset)) + 3);
	}
}

/* What list_fields wrote; an offset is a place in it. */
static void list_facets(
	struct listing *l, const struct handle *h, uint64_t from)
{
	const struct answer_bytes *a = h->answer;
	struct stat st = {.st_mode = S_IFREG};

	while (!l->is_full && from < a->len) {
		const char *name = a->bytes + from;

		from += strlen(name) + 1;
		st.st_ino = attr_view_ino(h->view, h->coll) + from;
		add(l, name, &st, from + 3);
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
	struct node_ref ref = node_decode(h->ino);
	struct stage_place of = {.coll = h->coll, .area = STAGE_TX_DIR};

	for (; off < 2 && !l->is_full; off++)
		add(l, dots[off], &st, off + 1);
	if (l->is_full)
		return;
	off = off > 3 ? off - 3 : 0;
	if (h->kind == HANDLE_BYTES) {
		if (h->node)
			list_hits(l, h, off);
		else
			list_facets(l, h, off);
		return;
	}
	if (ref.kind == NODE_STAGE) {
		of.area = STAGE_TX;
		of.key = ref.low;
		list_stages(fs, l, &of, off);
		return;
	}
	switch (h->view) {
	case VIEW_TX:
		list_stages(fs, l, &of, off);
		break;
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
	case VIEW_SNAP:
		list_snaps(fs, l, h->coll, off);
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
	struct handle *h = handle_get(fs, fi);

	(void)ino;
	if (!l.buf || !h) {
		free(l.buf);
		fuse_reply_err(req, h ? ENOMEM : EIO);
		return;
	}
	/* A listing of hits is one search's. */
	if (off == 0 && h->coll && h->kind == HANDLE_DIR) {
		/* rewinddir sees what is there now. */
		handle_look(fs, h);
		handle_save_look(fs, h);
	}
	list(fs, &l, h, (uint64_t)off);
	fuse_reply_buf(req, l.buf, l.len);
	free(l.buf);
}
