/* SPDX-License-Identifier: Apache-2.0 */
/* ops_name.c: taking names away and giving others. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/loop.h"
#include "fs/ops.h"

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
	const char *newname)
{
	(void)ino;
	(void)newparent;
	fs_refuse(req, NULL, ops_id(newname), -EPERM,
		"a record has one name: copy it instead");
}

/* ---- unlink ---- */

static int unlink_alias(fuse_req_t req, const char *name)
{
	struct fs_change *fc;

	if (strlen(name) > VG_ID_MAX)
		return -ENAMETOOLONG;
	if (view_find(VIEW_ROOT, name, strlen(name)) != VIEW_NONE)
		return -EPERM;
	fc = fs_change_new(req, OP_UNALIAS, NULL);
	if (!fc)
		return -ENOMEM;
	fs_change_name(fc, ops_id(name));
	fs_change_run(fc);
	return 0;
}

static int unlink_stage(fuse_req_t req, const struct stage_place *place)
{
	struct fs *fs = fs_of(req);
	struct stage *st = stages_get_name(&fs->stages, place);

	if (!st)
		return -ENOENT;
	pthread_mutex_lock(&st->lock);
	st->is_unlinked = true;
	pthread_mutex_unlock(&st->lock);
	stages_del_name(&fs->stages, st);
	stages_unref(&fs->stages, st);
	fuse_reply_err(req, 0);
	return 0;
}

static int unlink_named(fuse_req_t req, const struct stage_place *place)
{
	struct named_key key = {place->coll, fuse_req_ctx(req)->uid, {0}};
	int rc = query_parse_name(
		place->name.bytes, place->name.len, &key.name);

	if (rc == 0)
		rc = named_del(&fs_of(req)->named, &key);
	if (rc == 0)
		fuse_reply_err(req, 0);
	return rc == -EINVAL ? -EPERM : rc;
}

/* Whether a name of a collection is a record's now. */
static bool is_record(struct fs *fs, const struct stage_place *place)
{
	struct look look;
	char buf[VG_ID_MAX];
	struct vg_id id;
	uint32_t no;

	if (place->area == STAGE_QUERY || ops_is_dotted(place) ||
		ops_place_id(place, buf, &id) < 0)
		return false;
	look_init(&look, place->coll, store_moments(fs->store));
	no = generation_find(look.gen, id, look.moment);
	look_fini(&look);
	return no != VERSION_NONE;
}

/* Removing .meta/ID takes the metadata, everything else the record. */
static int unlink_record(fuse_req_t req, const struct stage_place *place)
{
	bool is_meta = place->area == STAGE_META;
	char buf[VG_ID_MAX];
	struct fs_change *fc;
	struct vg_id id;

	if (!is_record(fs_of(req), place) || ops_place_id(place, buf, &id) < 0)
		return -ENOENT;
	fc = fs_change_new(req, is_meta ? OP_SET : OP_DEL, place->coll);
	if (!fc)
		return -ENOMEM;
	fs_change_id(fc, id);
	fc->change.meta_mode = CHANGE_META_REPLACE;
	ops_add_condition(place, fc);
	fs_change_run(fc);
	return 0;
}

static int do_unlink(
	fuse_req_t req, const struct ops_node *parent, const char *name)
{
	struct stage_place place = {.name = ops_id(name)};
	int rc;

	if (parent->ref.kind == NODE_ROOT)
		return unlink_alias(req, name);
	if (ops_place(parent, &place) < 0)
		return -EPERM;
	if (parent->coll->of && place.area != STAGE_QUERY)
		return ops_refuse_snap(req, parent->coll, place.name);
	if (place.name.len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if ((place.area == STAGE_RECORD || place.area == STAGE_IF ||
		    place.area == STAGE_TX) &&
		name_find(name, place.name.len) > NAME_STAGING)
		return -EPERM;
	if (place.area == STAGE_TX)
		return tx_unlink(req, &place);
	if (place.area == STAGE_QUERY && name[0] != '.') {
		rc = unlink_stage(req, &place);
		return rc == -ENOENT ? unlink_named(req, &place) : rc;
	}
	if (ops_is_dotted(&place))
		return unlink_stage(req, &place);
	rc = unlink_record(req, &place);
	return rc == -ENOENT ? unlink_stage(req, &place) : rc;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent_ino, const char *name)
{
	struct fs *fs = fs_of(req);
	struct ops_node parent;
	int rc = ops_node_get(fs, parent_ino, &parent);

	if (rc == 0) {
		rc = do_unlink(req, &parent, name);
		ops_node_put(fs, &parent);
	}
	/* The kernel asks only for what is there: the first daemon did it. */
	if (rc == -ENOENT && loop_unique().resent) {
		fuse_reply_err(req, 0);
		return;
	}
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
}

/* ---- rename ---- */

#define NOREPLACE 1u /* RENAME_NOREPLACE */

struct renaming {
	struct stage_place from, to;
	unsigned flags;
};

/* The link has its new name; now the old one goes. */
static void finish_alias(struct fs_change *fc, int rc)
{
	fuse_req_t req = fc->req;
	struct fs_change *next = NULL;

	if (rc == 0) {
		next = fs_change_new(req, OP_UNALIAS, NULL);
		rc = next ? 0 : -ENOMEM;
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	fs_change_name(next, (struct vg_id){fc->id, (uint32_t)fc->aux});
	/* A change of its own of the same request: numbers are even. */
	next->change.origin = fc->change.origin;
	next->change.origin.request |= 1;
	next->change.is_repeat = fc->change.is_repeat;
	fs_change_run(next);
}

static int rename_alias(fuse_req_t req, const struct entry_info *info,
	const char *newname, unsigned flags)
{
	struct fs_change *fc = fs_change_new(req, OP_ALIAS, NULL);

	if (!fc)
		return -ENOMEM;
	memcpy(fc->target, info->target, info->target_len);
	fc->change.target = (struct vg_id){fc->target, info->target_len};
	fs_change_name(fc, ops_id(newname));
	memcpy(fc->id, info->name, info->name_len);
	fc->aux = info->name_len;
	fc->change.flags = flags & NOREPLACE ? CHANGE_NOREPLACE : 0;
	fc->finish = finish_alias;
	fs_change_run(fc);
	return 0;
}

static int rename_root(fuse_req_t req, const char *name, const char *newname,
	unsigned flags)
{
	struct entry_info info;
	struct fs_change *fc;
	int rc;

	if (strlen(name) > VG_ID_MAX || strlen(newname) > VG_ID_MAX)
		return -ENAMETOOLONG;
	rc = catalogue_get(
		store_catalogue(fs_of(req)->store), ops_id(name), &info);
	if (rc == -ENOENT && loop_unique().resent) {
		fuse_reply_err(req, 0); /* the first daemon did it */
		return 0;
	}
	if (rc < 0)
		return view_find(VIEW_ROOT, name, strlen(name)) ? -EPERM : rc;
	if (!info.coll)
		return strcmp(name, newname)
			       ? rename_alias(req, &info, newname, flags)
			       : (fuse_reply_err(req, 0), 0);
	fc = newname[0] == '.' ? NULL
			       : fs_change_new(req, OP_MOVE, info.coll);
	collection_unref(info.coll);
	if (!fc)
		return newname[0] == '.' ? -EINVAL : -ENOMEM;
	fs_change_name(fc, ops_id(newname));
	fc->change.flags = flags & NOREPLACE ? CHANGE_NOREPLACE : 0;
	fs_change_run(fc);
	return 0;
}

/* The staged file became a record. Who has it open goes on under the new name:
 * what he writes from now on is that record's. */
static void finish_commit(struct fs_change *fc, int rc)
{
	struct stage *st = fc->ctx;
	char name[NAME_ENCODED_MAX];
	size_t len;

	if (rc == 0) {
		if (name_encode(fc->change.id, name, &len) == 0)
			stages_rename(&fc->fs->stages, st,
				(struct vg_id){name, (uint32_t)len});
		pthread_mutex_lock(&st->lock);
		st->is_committed = true;
		st->is_dirty = st->is_new = false;
		pthread_mutex_unlock(&st->lock);
		stages_del_name(&fc->fs->stages, st);
	}
	stages_unref(&fc->fs->stages, st);
	fuse_reply_err(fc->req, fs_errno(rc));
}

int ops_refuse_empty(fuse_req_t req, struct collection *c, struct vg_id to)
{
	fs_note_error(req, c, to, -EINVAL,
		"an empty file cannot replace a record: write a vector into it "
		"first");
	return -EINVAL;
}

/* st is referenced; the reference is given on or back. */
static int rename_stage(
	fuse_req_t req, struct stage *st, const struct renaming *r)
{
	struct fs *fs = fs_of(req);
	struct ops_commit oc = {.to = r->to,
		.noreplace = r->flags & NOREPLACE,
		.replaces = true,
		.finish = finish_commit,
		.ctx = st};
	size_t len;
	int rc;

	arena_bytes(fs->arena, st->file, ARENA_BODY, &len);
	if (len == 0 && is_record(fs, &r->to)) {
		rc = ops_refuse_empty(req, st->coll, r->to.name);
		stages_unref(&fs->stages, st);
		return rc;
	}
	if (ops_is_dotted(&r->to) || len == 0) {
		stages_rename(&fs->stages, st, r->to.name);
		stages_unref(&fs->stages, st);
		fuse_reply_err(req, 0);
		return 0;
	}
	rc = ops_stage_commit(req, st, &oc);
	if (rc < 0) {
		if (oc.why[0])
			fs_note_error(req, st->coll, r->to.name, rc, oc.why);
		stages_unref(&fs->stages, st);
	}
	return rc;
}

static void finish_rename(struct fs_change *fc, int rc)
{
	char from[NAME_ENCODED_MAX], to[NAME_ENCODED_MAX];
	size_t from_len, to_len;

	if (rc == 0 && name_encode(fc->change.id, from, &from_len) == 0 &&
		name_encode(fc->change.id2, to, &to_len) == 0 &&
		to_len <= NAME_LEN_MAX)
		stages_follow(&fc->fs->stages, fc->coll,
			(struct vg_id){from, (uint32_t)from_len},
			(struct vg_id){to, (uint32_t)to_len});
	fuse_reply_err(fc->req, fs_errno(rc));
}

static int rename_record(fuse_req_t req, const struct renaming *r)
{
	char buf[VG_ID_MAX], buf2[VG_ID_MAX];
	struct vg_id id, id2;
	struct fs_change *fc;

	if (ops_place_id(&r->from, buf, &id) < 0)
		return -ENOENT;
	/* Copying into a staging name is mv's to do. */
	if (ops_is_dotted(&r->to))
		return -EXDEV;
	if (ops_place_id(&r->to, buf2, &id2) < 0) {
		fs_note_error(req, r->from.coll, r->to.name, -EINVAL,
			"the name is not the one spelling of an id: only %2F, "
			"%25, a leading %2E and %71uery stand for others");
		return -EINVAL;
	}
	fc = fs_change_new(req, OP_RENAME, r->from.coll);
	if (!fc)
		return -ENOMEM;
	fs_change_id(fc, id);
	fs_change_id2(fc, id2);
	fc->change.flags = r->flags & NOREPLACE ? CHANGE_NOREPLACE : 0;
	fc->finish = finish_rename;
	fs_change_run(fc);
	return 0;
}

static int rename_in_coll(fuse_req_t req, const struct renaming *r)
{
	struct fs *fs = fs_of(req);
	struct stage *st;

	if (is_record(fs, &r->from))
		return rename_record(req, r);
	st = stages_get_name(&fs->stages, &r->from);
	if (st)
		return rename_stage(req, st, r);
	if (r->from.area == STAGE_QUERY)
		return -EXDEV;
	if (!loop_unique().resent)
		return -ENOENT;
	/* The first daemon did it, up to here maybe. */
	stages_follow(&fs->stages, r->from.coll, r->from.name, r->to.name);
	fuse_reply_err(req, 0);
	return 0;
}

static int do_rename(fuse_req_t req, const struct ops_node *parent,
	const char *name, const struct ops_node *newparent,
	const char *newname, unsigned flags)
{
	struct renaming r = {.from = {.name = ops_id(name)},
		.to = {.name = ops_id(newname)},
		.flags = flags};
	bool from_root = parent->ref.kind == NODE_ROOT;

	if (flags & ~NOREPLACE)
		return -EINVAL;
	if (from_root && newparent->ref.kind == NODE_ROOT)
		return rename_root(req, name, newname, flags);
	if (from_root || newparent->ref.kind == NODE_ROOT)
		return -EXDEV;
	if (ops_view(&parent->ref) == VIEW_TX &&
		ops_view(&newparent->ref) == VIEW_TX &&
		parent->coll == newparent->coll)
		return tx_commit(req, parent->coll, name, newname);
	if (ops_place(parent, &r.from) < 0 || ops_place(newparent, &r.to) < 0)
		return -EPERM;
	if (r.from.coll != r.to.coll || r.from.area != r.to.area ||
		r.from.key != r.to.key ||
		r.from.form != r.to.form)
		return -EXDEV;
	if (parent->coll->of && r.from.area != STAGE_QUERY)
		return ops_refuse_snap(req, parent->coll, r.to.name);
	if (r.from.name.len > NAME_LEN_MAX || r.to.name.len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (r.from.area == STAGE_IF && !ops_is_dotted(&r.from))
		return -EPERM;
	if ((r.from.area == STAGE_RECORD || r.from.area == STAGE_IF ||
		    r.from.area == STAGE_TX) &&
		(name_find(name, r.from.name.len) > NAME_STAGING ||
			name_find(newname, r.to.name.len) > NAME_STAGING))
		return -EPERM;
	if (r.from.area == STAGE_TX)
		return tx_rename(req, &r.from, &r.to, flags);
	return rename_in_coll(req, &r);
}

void op_rename(fuse_req_t req, fuse_ino_t parent_ino, const char *name,
	fuse_ino_t newparent_ino, const char *newname, unsigned flags)
{
	struct fs *fs = fs_of(req);
	struct ops_node parent, newparent;
	int rc = ops_node_get(fs, parent_ino, &parent);

	if (rc < 0)
		goto reply;
	rc = ops_node_get(fs, newparent_ino, &newparent);
	if (rc < 0)
		goto put_parent;
	rc = do_rename(req, &parent, name, &newparent, newname, flags);
	ops_node_put(fs, &newparent);
put_parent:
	ops_node_put(fs, &parent);
reply:
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
}
