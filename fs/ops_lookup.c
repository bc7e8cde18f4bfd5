/* SPDX-License-Identifier: Apache-2.0 */
/* ops_lookup.c: from names to nodes. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ask.h"
#include "fs/kept.h"
#include "fs/ops.h"

/* What a lookup found: its nodeid and attributes. */
struct found {
	struct fuse_entry_param e;
	uint32_t uid;
	fuse_req_t req;
};

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

	if (view == VIEW_NONE || !view_is_in(view, c))
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
	if (catalogue_get(store_catalogue(fs->store), ops_id(name), &info) < 0)
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

/* A committed version, or to who is about to write it a stage of his own. */
static int find_version(struct fs *fs, const struct stage_place *place,
	const struct look *look, uint32_t no, struct found *f)
{
	static const enum node_kind kinds[] = {[STAGE_RECORD] = NODE_RECORD,
		[STAGE_AS] = NODE_AS,
		[STAGE_META] = NODE_META};
	struct version_view as = {
		look->coll, kinds[place->area], place->form};
	const struct version *v = generation_version(look->gen, no);
	struct stage *st;
	bool is_trunc;

	if (!look->coll->of &&
		stages_take_miss(
		    &fs->stages, fuse_req_ctx(f->req)->pid, &is_trunc) &&
		ops_offer_stage(f->req, place, v, is_trunc, &st) == 0)
		return found_stage(fs, st, f);
	attr_version(&as, v, &f->e.attr);
	f->e.ino = node_encode((struct node_ref){.kind = as.kind,
		.sub = as.form,
		.coll = look->coll->of ? look->coll->no : look->gen->no,
		.low = no});
	f->e.attr_timeout = OPS_ATTR_TIMEOUT;
	return 0;
}

/* A record under one of its names; what is being written comes after what is
 * committed, so that readers see the old until the new is there. */
static int find_record(
	struct fs *fs, const struct stage_place *place, struct found *f)
{
	char buf[VG_ID_MAX];
	struct look look;
	struct vg_id id;
	bool is_trunc;
	uint32_t no;
	int rc;

	if (ops_is_dotted(place))
		return find_stage(fs, place, f);
	if (find_writer(fs, place, f) == 0)
		return 0;
	if (ops_place_id(place, buf, &id) < 0)
		return -ENOENT;
	look_init(&look, place->coll, store_moments(fs->store));
	no = generation_find(look.gen, id, look.moment);
	rc = no == VERSION_NONE ? find_stage(fs, place, f)
				: find_version(fs, place, &look, no, f);
	look_fini(&look);
	if (rc == -ENOENT) /* there is nothing to try again */
		stages_take_miss(&fs->stages, fuse_req_ctx(f->req)->pid,
			&is_trunc);
	return rc;
}

static bool id_exists(struct fs *fs, struct collection *c, struct vg_id id)
{
	struct look look;
	bool exists;

	look_init(&look, c, store_moments(fs->store));
	exists = generation_find(look.gen, id, look.moment) != VERSION_NONE;
	look_fini(&look);
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

static bool has_like(struct fs *fs, struct collection *in, struct query *q)
{
	for (uint32_t i = 0; i < q->n_like; i++) {
		if (id_exists(fs, in, q->like[i]))
			continue;
		snprintf(q->error, sizeof(q->error),
			"like: there is no record %.*s", (int)q->like[i].len,
			q->like[i].bytes);
		return false;
	}
	return true;
}

/* Whether the leaf's records, in `in`, or c's named request are there; of like=
 * q->error says which is not. */
static bool has_source(struct fs *fs, struct collection *c,
	struct collection *in, struct query *q, uint32_t uid)
{
	struct named_key key = {c, uid, {q->key, q->key_len}};
	struct named_request *r;

	if (q->src == QUERY_ID)
		return id_exists(fs, in, key.name);
	if (q->src == QUERY_LIKE)
		return has_like(fs, in, q);
	if (q->src != QUERY_NAME)
		return true;
	r = named_get(&fs->named, &key);
	named_unref(r);
	return r != NULL;
}

static void env_of(struct query_env *env, struct collection *c)
{
	struct op_config config = collection_config(c);

	env->dim = config.dim;
	env->dtype = (enum vg_dtype)config.dtype;
}

/* A name below query/ or below one of its parameter directories. */
static int parse_query_name(struct fs *fs, const struct ops_node *parent,
	const char *name, uint32_t uid, struct query *q, enum qnode_kind *kind)
{
	struct exists_ctx ctx = {fs, NULL};
	struct query_env env = {.exists = env_exists, .ctx = &ctx};
	size_t len = strlen(name);
	int rc;

	*kind = QNODE_RUN;
	if (strcmp(name, ".run") == 0)
		return 0;
	*kind = QNODE_DIR;
	rc = query_parse_param(q, name, len);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	ctx.c = ask_collection(parent->coll, q);
	if (!ctx.c)
		return -ENOENT;
	if (rc == -ENOENT) {
		*kind = QNODE_LEAF;
		env_of(&env, ctx.c);
		rc = query_parse_leaf(q, name, len, &env);
		if (rc == 0 && q->is_hits)
			*kind = QNODE_HITS;
		if (rc == -ENOENT)
			query_explain(q, name, len);
		if (rc == 0 && !has_source(fs, parent->coll, ctx.c, q, uid))
			rc = -ENOENT;
	}
	collection_unref(ctx.c);
	return rc;
}

/* A lookup ends at a node of the table, made if it is not there. Takes q. */
static int found_node(struct fs *fs, const struct qnode_path *path,
	struct query *q, struct found *f)
{
	struct qnode *node;
	int rc = nodes_add(&fs->nodes, path, q, &node);

	if (rc < 0)
		return rc;
	attr_qnode(fs, node, 0, 0, &f->e.attr);
	f->e.ino = node->nodeid;
	nodes_keep(&fs->nodes, node); /* or its name is said again */
	nodes_unref(&fs->nodes, node);
	return 0;
}

/*
 * .stats/facets/FIELD is the answer of facet=FIELD as tsv: a leaf of its own,
 * whose path has the field in a spelling that nothing else is read from.
 */
static int find_facet(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	static const char head[] = "fmt=tsv/", leaf[] = "facet=meta.";
	char text[sizeof(head) + sizeof(leaf) + 3 * VG_ID_MAX];
	char buf[VG_ID_MAX];
	struct qnode_path path = {.coll = parent->coll,
		.parent = node_encode(parent->ref),
		.kind = QNODE_LEAF};
	const struct query_env env = {0};
	struct vg_id field;
	struct query q;
	size_t len;
	int rc;

	if (name_decode(name, strlen(name), buf, &field) < 0)
		return -ENOENT;
	len = (size_t)sprintf(text, "%s%s", head, leaf);
	for (uint32_t i = 0; i < field.len; i++)
		len += (size_t)sprintf(text + len,
			strchr("%/.", field.bytes[i]) ? "%%%02X" : "%c",
			(unsigned char)field.bytes[i]);
	path.path = (struct vg_id){text, (uint32_t)len};
	query_init(&q);
	rc = query_parse_param(&q, text, strlen(head) - 1);
	if (rc == 0)
		rc = query_parse_leaf(&q, text + strlen(head),
			len - strlen(head), &env);
	if (rc < 0) {
		query_fini(&q);
		return rc;
	}
	return found_node(fs, &path, &q, f);
}

static int find_query(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	const struct qnode *dir = parent->qnode;
	size_t head = dir ? dir->path_len : 0, len = strlen(name);
	struct qnode_path path = {.coll = parent->coll,
		.parent = dir ? dir->nodeid : node_encode(parent->ref)};
	struct query q;
	char *text;
	int rc;

	query_init(&q);
	rc = dir ? query_init_from(&q, &dir->query) : 0;
	if (rc == 0)
		rc = parse_query_name(fs, parent, name, f->uid, &q, &path.kind);
	if ((rc == -EINVAL || rc == -ENOENT) && q.error[0])
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
		text, (uint32_t)(head + len + (path.kind == QNODE_DIR ||
					      path.kind == QNODE_HITS))};
	path.uid = path.kind != QNODE_DIR && q.src == QUERY_NAME ? f->uid : 0;
	rc = found_node(fs, &path, &q, f);
	free(text);
	if (rc == 0 && path.kind == QNODE_DIR)
		remember_dir(f);
	return rc;
}

/* The query that a path means, each component as in its lookup. */
static int parse_path(struct fs *fs, struct collection *c, struct vg_id path,
	enum qnode_kind kind, struct query *q)
{
	struct exists_ctx ctx = {fs, NULL};
	struct query_env env = {.exists = env_exists, .ctx = &ctx};
	const char *at = path.bytes, *end = at + path.len, *cut;
	int rc = 0;

	end -= kind == QNODE_HITS; /* the slash behind it */

	while (rc == 0 && at < end &&
		(cut = memchr(at, '/', (size_t)(end - at)))) {
		rc = query_parse_param(q, at, (size_t)(cut - at));
		at = cut + 1;
	}
	ctx.c = rc == 0 ? ask_collection(c, q) : NULL;
	if (rc == 0 && !ctx.c)
		rc = -ESTALE;
	if (rc == 0)
		env_of(&env, ctx.c);
	if (rc == 0 && (kind == QNODE_LEAF || kind == QNODE_HITS))
		rc = at < end ? query_parse_leaf(
					q, at, (size_t)(end - at), &env)
			      : -EINVAL;
	collection_unref(ctx.c);
	return rc;
}

/* One that cannot be had any more goes: the kernel says its name again. */
static int load_node(void *arg, uint32_t idx, const struct arena_attr *attr)
{
	struct fs *fs = arg;
	struct qnode_path path = {0};
	struct qnode_kept kept;
	struct query q;
	int rc;

	if (attr->area != KEPT_QNODE)
		return 0;
	path.coll = catalogue_find_uuid(
		store_catalogue(fs->store), attr->uuid);
	query_init(&q);
	rc = path.coll && nodes_get_kept(&fs->nodes, idx, &kept, &path.path)
		     ? 0
		     : -ESTALE;
	if (rc == 0 && kept.kind != QNODE_IMPORT && kept.kind != QNODE_IF)
		rc = parse_path(fs, path.coll, path.path,
			(enum qnode_kind)kept.kind, &q);
	if (rc == 0) {
		path.parent = kept.parent;
		path.uid = kept.uid;
		path.kind = (enum qnode_kind)kept.kind;
		rc = nodes_load(&fs->nodes, &path, &q, attr->serial, idx);
	} else {
		query_fini(&q);
	}
	if (rc < 0)
		arena_file_del(fs->arena, idx);
	collection_unref(path.coll);
	return rc == -ENOMEM ? rc : 0;
}

int ops_load_nodes(struct fs *fs)
{
	return arena_each(fs->arena, load_node, fs);
}

/* A node of the table that its name says all of. */
static int find_named(struct fs *fs, const struct ops_node *parent,
	const char *name, enum qnode_kind kind, struct found *f)
{
	struct qnode_path path = {.coll = parent->coll,
		.parent = node_encode(parent->ref),
		.path = ops_id(name),
		.kind = kind};
	struct query q;

	query_init(&q);
	return found_node(fs, &path, &q, f);
}

/* .import/npy@prefix */
static int find_import(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	const char *at = strchr(name, '@');
	enum view view;
	int rc;

	rc = find_view(fs, parent->coll, VIEW_IMPORT, name, f);
	if (rc != -ENOENT || !at)
		return rc;
	view = view_find(VIEW_IMPORT, name, (size_t)(at - name));
	if (!view_is_stream(view))
		return -ENOENT;
	return find_named(fs, parent, name, QNODE_IMPORT, f);
}

/*
 * A record on a condition: to who looks it up a stage of his own, as if he were
 * about to write to it, whose commit has the condition. -ESTALE: it is another
 * version by now.
 */
static int find_if(
	struct fs *fs, const struct stage_place *place, struct found *f)
{
	char buf[VG_ID_MAX];
	struct look look;
	struct stage *st = NULL;
	struct vg_id id;
	uint64_t begin = 0;
	uint32_t no;
	int rc;

	if (ops_is_dotted(place) || ops_place_id(place, buf, &id) < 0)
		return -ENOENT;
	look_init(&look, place->coll, store_moments(fs->store));
	no = generation_find(look.gen, id, look.moment);
	if (no != VERSION_NONE)
		begin = generation_version(look.gen, no)->begin;
	if (begin != place->key)
		rc = -ESTALE;
	else if (no == VERSION_NONE)
		rc = find_stage(fs, place, f);
	else
		rc = find_writer(fs, place, f);
	if (rc == -ENOENT && no != VERSION_NONE)
		rc = ops_offer_stage(f->req, place,
			generation_version(look.gen, no), false, &st);
	if (rc == 0 && st)
		rc = found_stage(fs, st, f);
	look_fini(&look);
	return rc;
}

/* .if=17 */
static int find_if_dir(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	int rc;

	if (parent->coll->of)
		return -ENOENT;
	rc = find_named(fs, parent, name, QNODE_IF, f);
	if (rc == 0)
		remember_dir(f);
	return rc;
}

static int find_tx(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	struct stage_place place = {.coll = parent->coll,
		.area = STAGE_TX_DIR,
		.name = ops_id(name)};

	if (place.name.len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	return find_stage(fs, &place, f);
}

static int find_in_tx(
	struct fs *fs, const struct stage_place *place, struct found *f)
{
	struct stage *st;
	int rc = tx_find(f->req, place, &st);

	return rc < 0 ? rc : found_stage(fs, st, f);
}

static int find_in_coll(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	struct stage_place place = {.name = ops_id(name)};
	enum name_kind kind = name_find(name, strlen(name));

	if (kind == NAME_IF)
		return find_if_dir(fs, parent, name, f);
	if (kind != NAME_RECORD && kind != NAME_STAGING)
		return find_view(fs, parent->coll, VIEW_COLL, name, f);
	ops_place(parent, &place);
	return find_record(fs, &place, f);
}

static int find_snap(struct fs *fs, struct collection *c, const char *name,
	struct found *f)
{
	struct collection *snap;

	if (strlen(name) > VG_ID_MAX)
		return -ENAMETOOLONG;
	snap = collection_find_snap(c, ops_id(name));
	if (!snap)
		return -ENOENT;
	f->e.ino = node_encode(
		(struct node_ref){.kind = NODE_COLL, .coll = snap->no});
	remember_dir(f);
	attr_coll(fs, snap, &f->e.attr);
	collection_unref(snap);
	return 0;
}

static int do_lookup(struct fs *fs, const struct ops_node *parent,
	const char *name, struct found *f)
{
	struct stage_place place = {.name = ops_id(name)};
	enum view view = ops_view(&parent->ref);

	if (parent->ref.kind == NODE_ROOT)
		return find_root(fs, name, f);
	if (parent->ref.kind == NODE_COLL)
		return find_in_coll(fs, parent, name, f);
	if (ops_place(parent, &place) == 0 &&
		(place.area == STAGE_IF || place.area == STAGE_TX)) {
		if (place.name.len > NAME_LEN_MAX)
			return -ENAMETOOLONG;
		return place.area == STAGE_IF ? find_if(fs, &place, f)
					      : find_in_tx(fs, &place, f);
	}
	if (parent->ref.kind == NODE_QUERY)
		return parent->qnode->kind == QNODE_DIR
			       ? find_query(fs, parent, name, f)
			       : -ENOTDIR;
	if (view == VIEW_NONE || !S_ISDIR(view_get(view)->mode))
		return -ENOTDIR;
	if (view == VIEW_IMPORT)
		return find_import(fs, parent, name, f);
	if (view == VIEW_SNAP)
		return find_snap(fs, parent->coll, name, f);
	if (view == VIEW_STATS_FACETS)
		return find_facet(fs, parent, name, f);
	if (view == VIEW_TX)
		return find_tx(fs, parent, name, f);
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

	if (rc == 0 && parent.qnode && parent.qnode->kind == QNODE_HITS) {
		/* Takes the reference and answers. */
		struct qnode *hits = parent.qnode;

		parent.qnode = NULL;
		ops_node_put(fs, &parent);
		query_lookup_link(req, hits, name);
		return;
	}
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

int ops_find_entry(fuse_req_t req, struct fs *fs, struct collection *coll,
	const char *name, struct fuse_entry_param *out)
{
	struct found f = {.req = req};
	int rc = coll ? find_snap(fs, coll, name, &f)
		      : find_root(fs, name, &f);

	if (rc == 0)
		*out = f.e;
	return rc;
}
