/* SPDX-License-Identifier: Apache-2.0 */
/* ops_close.c: flush, fsync and release: where bytes become a record. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fs/ops.h"

/* ctx is the stage, referenced for the commit. */
static void finish_flush(struct fs_change *fc, int rc)
{
	struct stages *ss = &fc->fs->stages;
	struct stage *st = fc->ctx;

	/* The file is open and has no name any more: so do its bytes go. */
	if (rc == -ENOENT && (fc->change.flags & CHANGE_MUST_EXIST) &&
		fc->change.type == OP_PUT)
		rc = 0;
	pthread_mutex_lock(&st->lock);
	st->n_in_flight--;
	if (rc == 0) {
		st->is_committed = true;
		st->is_new = false;
		st->has_mtime = false;
	} else {
		st->is_dirty = st->is_refused = true;
	}
	pthread_mutex_unlock(&st->lock);
	if (rc == 0)
		stages_del_name(ss, st);
	else
		stages_save(ss, st);
	stages_unref(ss, st);
	fuse_reply_err(fc->req, fs_errno(rc));
}

/* Commits what was written since the last commit; answers req, at once or
 * later. */
static void flush_stage(fuse_req_t req, struct stage *st, bool sync)
{
	struct fs *fs = fs_of(req);
	struct ops_commit oc = {.sync = sync, .finish = finish_flush};
	bool is_dirty, is_failed;
	size_t len;
	int rc;

	pthread_mutex_lock(&st->lock);
	arena_bytes(fs->arena, st->file, ARENA_BODY, &len);
	is_failed = st->is_failed;
	is_dirty = st->is_dirty && len > 0 && st->name[0] != '.' &&
		   !st->is_unlinked;
	if (is_dirty && !is_failed) {
		st->is_dirty = false;
		st->n_in_flight++;
	}
	/* Another close of it (dup, fork) may not return before the first. */
	sync = sync || (!is_dirty && st->n_in_flight > 0);
	pthread_mutex_unlock(&st->lock);
	if (!is_dirty && sync) {
		ops_sync(req);
		return;
	}
	if (is_failed || !is_dirty) {
		fuse_reply_err(req, is_failed ? EINVAL : 0);
		return;
	}
	oc.to = stage_place_of(st);
	oc.ctx = stages_get(&fs->stages, st->serial);
	assert(oc.ctx == st);
	rc = ops_stage_commit(req, st, &oc);
	if (rc == 0)
		return;
	pthread_mutex_lock(&st->lock);
	st->is_dirty = st->is_refused = true;
	st->n_in_flight--;
	pthread_mutex_unlock(&st->lock);
	stages_save(&fs->stages, st);
	fs_refuse(req, st->coll, oc.to.name, rc, oc.why[0] ? oc.why : NULL);
	stages_unref(&fs->stages, st);
}

/* Whether the request was refused because a crash took the handle. */
static bool refuse_lost(fuse_req_t req, const struct fuse_file_info *fi)
{
	if (!handle_is_lost(fs_of(req), fi))
		return false;
	fuse_reply_err(req, EIO);
	return true;
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fs_of(req), fi);

	(void)ino;
	if (refuse_lost(req, fi))
		return;
	if (h && h->kind == HANDLE_STAGE && h->stage->area == STAGE_TX)
		tx_flush(req, h->stage);
	else if (h && h->kind == HANDLE_STAGE)
		flush_stage(req, h->stage, h->is_sync);
	else if (h && h->kind == HANDLE_IMPORT)
		bulk_flush(req, h);
	else if (h && h->view == VIEW_DELETE_WHERE)
		clear_flush(req, h);
	else
		fuse_reply_err(req, 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fs_of(req), fi);

	(void)ino;
	(void)datasync;
	if (refuse_lost(req, fi))
		return;
	if (h && h->kind == HANDLE_STAGE && h->stage->area == STAGE_TX)
		tx_flush(req, h->stage);
	else if (h && h->kind == HANDLE_STAGE)
		flush_stage(req, h->stage, true);
	else
		ops_sync(req);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
	struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	ops_sync(req);
}

static void drop_bytes(struct fs *fs, struct stage *st)
{
	pthread_mutex_lock(&st->lock);
	arena_truncate(fs->arena, st->file, ARENA_BODY, 0);
	st->is_dirty = st->is_failed = false;
	pthread_mutex_unlock(&st->lock);
	stages_del_name(&fs->stages, st);
}

/* What no flush has seen goes in if it is whole. What is not, and what a close
 * refused already, is dropped with its name: it may not come in later. */
static void finish_release(struct fs_change *fc, int rc)
{
	struct handle *h = fc->ctx;
	struct stage *st = h->stage;

	if (rc == 0)
		stages_del_name(&fc->fs->stages, st);
	else
		drop_bytes(fc->fs, st);
	/* First: once it is answered nobody would free it after a crash. */
	handle_free(fc->fs, h);
	fuse_reply_err(fc->req, 0);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h = handle_get(fs, fi);
	struct ops_commit oc = {.finish = finish_release, .ctx = h};
	struct stage *st;
	bool is_left, is_whole;

	(void)ino;
	if (h && h->kind == HANDLE_STAGE && h->stage->area != STAGE_TX) {
		st = h->stage;
		oc.to = stage_place_of(st);
		pthread_mutex_lock(&st->lock);
		is_left = st->is_dirty && st->name[0] != '.';
		is_left = is_left && ops_wants_write(fi);
		is_whole =
			!st->is_failed && !st->is_refused && !st->is_unlinked;
		if (is_left)
			st->is_dirty = false;
		pthread_mutex_unlock(&st->lock);
		if (is_left && is_whole && ops_stage_commit(req, st, &oc) == 0)
			return;
		if (is_left)
			drop_bytes(fs, st);
	}
	handle_free(fs, h);
	fuse_reply_err(req, 0);
}
