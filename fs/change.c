/* SPDX-License-Identifier: Apache-2.0 */
/* change.c: see change.h. */
#include "fs/change.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/loop.h"

int fs_errno(int rc)
{
	assert(rc <= 0);
	if (rc == -VG_ECORRUPT)
		return EIO;
	if (rc == -VG_EFORMAT)
		return EINVAL;
	return -rc;
}

int64_t fs_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

void fs_path(struct fs *fs, const struct collection *coll, struct vg_id name,
	char *out, size_t cap)
{
	char dir[CATALOGUE_NAME_CAP] = "";

	if (coll && catalogue_name(store_catalogue(fs->store), coll, dir) < 0)
		snprintf(dir, sizeof(dir), "?");
	snprintf(out, cap, "%s%s%.*s", dir, coll && name.len ? "/" : "",
		(int)name.len, name.len ? name.bytes : "");
}

static void note(struct fs *fs, struct collection *coll, uint32_t pid,
	uint32_t uid, struct store_error *e)
{
	e->time_ns = fs_now();
	e->pid = pid;
	e->uid = uid;
	store_error_add(fs->store, coll, e);
}

void fs_note_error(fuse_req_t req, struct collection *coll,
	struct vg_id name, int rc, const char *why)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct store_error e = {.rc = rc};

	fs_path(fs_of(req), coll, name, e.path, sizeof(e.path));
	snprintf(e.why, sizeof(e.why), "%s", why);
	note(fs_of(req), coll, (uint32_t)ctx->pid, ctx->uid, &e);
}

void fs_note_commit(struct fs *fs, struct collection *coll,
	const struct fs_who *who, int rc, const char *why)
{
	struct store_error e = {.rc = rc};

	snprintf(e.path, sizeof(e.path), "%s", who->path);
	snprintf(e.why, sizeof(e.why), "%s", why);
	note(fs, coll, who->pid, who->uid, &e);
}

void fs_refuse(fuse_req_t req, struct collection *coll, struct vg_id name,
	int rc, const char *why)
{
	if (why)
		fs_note_error(req, coll, name, rc, why);
	fuse_reply_err(req, fs_errno(rc));
}

struct fs_change *fs_change_new(
	fuse_req_t req, enum op_type type, struct collection *coll)
{
	struct fs_change *fc = calloc(1, sizeof(*fc));
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	if (!fc)
		return NULL;
	fc->fs = fs_of(req);
	fc->req = req;
	fc->pid = (uint32_t)ctx->pid;
	fc->uid = ctx->uid;
	fc->coll = coll ? collection_ref(coll) : NULL;
	fc->change.type = type;
	fc->change.coll = coll;
	fc->change.origin.session = fc->fs->session;
	fc->change.origin.request = loop_unique().unique;
	fc->change.is_repeat = loop_unique().resent;
	fc->commit.changes = &fc->change;
	fc->commit.n = 1;
	fc->commit.ctx = fc;
	return fc;
}

void fs_change_free(struct fs_change *fc)
{
	if (!fc)
		return;
	collection_unref(fc->coll);
	free(fc->bytes);
	free(fc->bytes2);
	free(fc);
}

static struct vg_id keep(char *to, struct vg_id id)
{
	assert(id.len <= VG_ID_MAX);
	memcpy(to, id.bytes, id.len);
	return (struct vg_id){.bytes = to, .len = id.len};
}

void fs_change_id(struct fs_change *fc, struct vg_id id)
{
	fc->change.id = keep(fc->id, id);
}

void fs_change_id2(struct fs_change *fc, struct vg_id id)
{
	fc->change.id2 = keep(fc->id2, id);
}

void fs_change_name(struct fs_change *fc, struct vg_id name)
{
	fc->change.name = keep(fc->name, name);
}

static void change_done(struct commit *commit)
{
	struct fs_change *fc = commit->ctx;
	int rc = commit->rc;

	if (rc < 0 && fc->change.why[0]) {
		struct store_error e = {.rc = rc};

		if (!fc->path[0])
			fs_path(fc->fs, fc->coll, fc->change.id, fc->path,
				sizeof(fc->path));
		memcpy(e.path, fc->path, sizeof(e.path));
		memcpy(e.why, fc->change.why, sizeof(e.why));
		note(fc->fs, fc->coll, fc->pid, fc->uid, &e);
	}
	if (fc->finish)
		fc->finish(fc, rc);
	else
		fuse_reply_err(fc->req, fs_errno(rc));
	fs_change_free(fc);
}

void fs_change_run(struct fs_change *fc)
{
	fc->commit.done = change_done;
	store_commit(fc->fs->store, &fc->commit);
}
