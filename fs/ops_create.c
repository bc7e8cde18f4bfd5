/* SPDX-License-Identifier: Apache-2.0 */
/* ops_create.c: making files: names that bytes will be written to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/loop.h"
#include "fs/ops.h"

struct handle *ops_stage_handle(struct fs *fs, struct stage *st,
	const struct fuse_file_info *fi)
{
	struct handle *h = handle_new(fs, HANDLE_STAGE, st->coll);

	if (!h)
		return NULL;
	h->stage = st;
	h->is_sync = (fi->flags & O_DSYNC) != 0;
	h->is_writer = ops_wants_write(fi);
	if (h->is_writer)
		atomic_fetch_add_explicit(
			&st->n_open, 1, memory_order_relaxed);
	return h;
}

static bool is_committed(struct stage *st)
{
	bool is;

	pthread_mutex_lock(&st->lock);
	is = st->is_committed;
	pthread_mutex_unlock(&st->lock);
	return is;
}

bool ops_stage_is_taken(
	fuse_req_t req, struct stage *st, const struct fuse_file_info *fi)
{
	struct stages *ss = &fs_of(req)->stages;
	bool is_trunc, is, is_second;

	if (!ops_wants_write(fi) || st->name[0] == '.' || st->area == STAGE_TX)
		return false;
	is = atomic_fetch_add_explicit(&st->n_open, 1, memory_order_relaxed);
	/* Without its name, its bytes are in and the name leads to them: who
	 * looked it up before that comes too late. */
	is = stages_has_name(ss, st) ? is : is_committed(st);
	is_second = stages_take_miss(ss, fuse_req_ctx(req)->pid, &is_trunc);
	is = is && !is_second;
	if (is)
		atomic_fetch_sub_explicit(
			&st->n_open, 1, memory_order_relaxed);
	return is;
}

static int check_name(fuse_req_t req, const struct stage_place *place)
{
	char buf[VG_ID_MAX];
	struct vg_id id;

	if (place->name.len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (ops_is_dotted(place))
		return 0;
	if (place->area == STAGE_QUERY) {
		if (query_parse_name(place->name.bytes, place->name.len,
			    &id) == 0)
			return 0;
		fs_note_error(req, place->coll, place->name, -EINVAL,
			"a named request is called by letters, digits, - and "
			"_, and by no word of the grammar");
		return -EINVAL;
	}
	if (ops_place_id(place, buf, &id) == 0)
		return 0;
	fs_note_error(req, place->coll, place->name, -EINVAL,
		"the name is not the one spelling of an id: only %2F, %25, a "
		"leading %2E and %71uery stand for others");
	return -EINVAL;
}

/* Makes a named stage, or finds the one that somebody made just before. */
static int make_stage(fuse_req_t req, fuse_ino_t parent_ino, const char *name,
	int flags, struct stage **out)
{
	struct fs *fs = fs_of(req);
	struct stage_place place = {.name = ops_id(name)};
	struct ops_node parent;
	int rc = ops_node_get(fs, parent_ino, &parent);

	if (rc < 0)
		return rc;
	rc = ops_place(&parent, &place);
	if (rc == -EPERM && (parent.ref.kind == NODE_ROOT ||
				    parent.ref.kind == NODE_QUERY))
		fs_note_error(req, parent.coll, place.name, rc,
			parent.ref.kind == NODE_ROOT
				? "files belong into a collection: mkdir one"
				: "named requests are written in query/ "
				  "itself");
	if (rc == 0 && parent.coll->of && place.area != STAGE_QUERY)
		rc = ops_refuse_snap(req, parent.coll, place.name);
	if (rc == 0)
		rc = check_name(req, &place);
	if (rc == 0 && place.area == STAGE_TX) {
		rc = tx_create(req, &place, flags, out);
		ops_node_put(fs, &parent);
		return rc;
	}
	if (rc == 0)
		rc = stages_add(&fs->stages, &place, true,
			fuse_req_ctx(req)->uid, out);
	/* Asked a second time: the first daemon made it. */
	if (rc == -EEXIST && (!(flags & O_EXCL) || loop_unique().resent)) {
		*out = stages_get_name(&fs->stages, &place);
		rc = *out ? 0 : -EEXIST;
	} else if (rc == 0) {
		(*out)->is_new = true;
		(*out)->is_excl = (flags & O_EXCL) != 0;
		stages_save(&fs->stages, *out);
	}
	ops_node_put(fs, &parent);
	return rc;
}

/*
 * Where the kernel checks permissions it asks for the attributes of what it
 * has just created, unless they are still valid: one upcall of seven. It
 * rounds this up to a tick, and drops size and times at each write.
 */
#define CREATED_ATTR_TIMEOUT 1e-3

static void entry_of(
	struct fs *fs, struct stage *st, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = node_encode(
		(struct node_ref){.kind = NODE_STAGE, .low = st->serial});
	attr_stage(fs, st, &e->attr);
	e->attr_timeout = CREATED_ATTR_TIMEOUT;
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m,
	dev_t rdev)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct stage *st;
	int rc = S_ISREG(m) ? 0 : -EPERM;

	(void)rdev;
	if (rc == 0)
		rc = make_stage(req, parent, name, O_EXCL, &st);
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	st->is_excl = false;
	stages_save(&fs->stages, st);
	entry_of(fs, st, &e);
	fuse_reply_entry(req, &e);
	stages_unref(&fs->stages, st);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct handle *h = NULL;
	struct stage *st;
	int rc = make_stage(req, parent, name, fi->flags, &st);

	(void)m;
	if (rc == 0) {
		h = ops_stage_handle(fs, st, fi);
		if (!h) {
			stages_unref(&fs->stages, st);
			rc = -ENOMEM;
		}
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	entry_of(fs, st, &e);
	rc = handle_keep(fs, h, e.ino, loop_unique().unique);
	if (rc < 0) {
		handle_free(fs, h);
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	fi->fh = h->number;
	fi->direct_io = 1;
	if (fuse_reply_create(req, &e, fi) < 0)
		handle_free(fs, h);
}
