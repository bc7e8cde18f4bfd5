/* SPDX-License-Identifier: Apache-2.0 */
/* ops_file.c: reading and writing. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ops.h"

static void read_part(fuse_req_t req, const char *bytes, size_t len,
	size_t size, off_t off)
{
	if (off < 0 || (uint64_t)off >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, bytes + off, VG_MIN(size, len - (size_t)off));
}

int ops_check_row(fuse_req_t req, const struct version *v)
{
	int rc = cell_check_row(v->cell, v->slot);

	if (rc < 0)
		fs_note_error(req, v->cell->gen->coll, version_id(v), rc,
			rc == -EIO ? "its vector is damaged on the disk of the "
				     "data directory: restore it from a copy, "
				     "or write it again"
				   : "no descriptor is left to look at its "
				     "vector: allow more (ulimit -n)");
	return rc;
}

/* Copied: what the disk does not give is known behind the read only. */
static void read_version(fuse_req_t req, const struct version *v, size_t size,
	off_t off)
{
	size_t len = version_vec_len(v), n = 0;
	char *copy = malloc(len);
	int rc;

	if (!copy) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (off >= 0 && (uint64_t)off < len) {
		n = VG_MIN(size, len - (size_t)off);
		memcpy(copy, (const char *)version_vec(v) + off, n);
	}
	rc = n > 0 ? ops_check_row(req, v) : 0;
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
	else
		fuse_reply_buf(req, copy, n);
	free(copy);
}

/* Copied: once the reply is out the client may close, and the stage go. */
static void read_stage(fuse_req_t req, struct stage *st, size_t size, off_t off)
{
	char *copy = malloc(size ? size : 1);
	const char *bytes;
	size_t len, n = 0;

	if (!copy) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&st->lock);
	bytes = arena_bytes(fs_of(req)->arena, st->file, ARENA_BODY, &len);
	if (off >= 0 && (uint64_t)off < len) {
		n = VG_MIN(size, len - (size_t)off);
		memcpy(copy, bytes + off, n);
	}
	pthread_mutex_unlock(&st->lock);
	fuse_reply_buf(req, copy, n);
	free(copy);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fs_of(req), fi);

	(void)ino;
	if (handle_is_lost(fs_of(req), fi)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	switch (h ? h->kind : HANDLE_DIR) {
	case HANDLE_BYTES:
		if (h->answer->rows || h->look.gen)
			bulk_read(req, h, size, (uint64_t)off);
		else
			read_part(req, h->answer->bytes, h->answer->len, size,
				off);
		break;
	case HANDLE_VERSION:
		read_version(req, h->version, size, off);
		break;
	case HANDLE_STAGE:
		read_stage(req, h->stage, size, off);
		break;
	case HANDLE_RUN:
		query_read_run(req, h, size, (uint64_t)off);
		break;
	default:
		fuse_reply_buf(req, NULL, 0);
	}
}

/* ---- write ---- */

static uint32_t probe_dim(struct stage *st)
{
	struct op_config config = collection_config(st->coll);

	if (config.dim_source &&
		atomic_load_explicit(&st->coll->n_live,
			memory_order_relaxed) <= 1)
		return 0;
	return config.dim;
}

/* Errors are told by write() where they can be: a shell's echo never sees what
 * close() says. */
static int probe_locked(struct fs *fs, struct stage *st, const char **why)
{
	struct record_parser *p = ops_parser_get(st->coll);
	const void *body;
	size_t len;
	int rc;

	if (st->name[0] == '.' ||
		st->area == STAGE_META || st->area == STAGE_QUERY)
		return 0;
	if (!p)
		return -ENOMEM;
	body = arena_bytes(fs->arena, st->file, ARENA_BODY, &len);
	rc = record_probe(p, st->area == STAGE_AS ? st->form : RECORD_ANY,
		body, len, probe_dim(st));
	*why = p->error;
	return rc;
}

static int write_stage(struct fs *fs, struct stage *st, const char *buf,
	size_t size, off_t off, const char **why)
{
	int rc;

	if (st->is_failed && off == 0) {
		/* Written from the beginning again. */
		rc = arena_truncate(fs->arena, st->file, ARENA_BODY, 0);
		st->is_failed = rc < 0;
	}
	if (st->is_failed)
		return -EINVAL;
	if (st->original && (uint64_t)off + size > st->original) {
		*why = "a vector cannot be appended to: write it as a whole";
		return -EINVAL;
	}
	rc = arena_pwrite(fs->arena, st->file, ARENA_BODY, (uint64_t)off, buf,
		size);
	if (rc == -ENOSPC)
		*why = "too much is being written at once: close some files";
	if (rc == -EFBIG)
		*why = "a body is limited to 256 MiB";
	if (rc < 0)
		return rc;
	st->is_dirty = true;
	st->is_refused = false;
	st->raw_len = 0;
	stage_touch_locked(st);
	rc = probe_locked(fs, st, why);
	st->is_failed = rc < 0;
	return rc;
}

static void do_write_stage(fuse_req_t req, struct stage *st, const char *buf,
	size_t size, off_t off)
{
	const char *why = NULL;
	char copy[256] = "";
	bool was_dirty, was_failed, is_changed;
	int rc;

	pthread_mutex_lock(&st->lock);
	was_dirty = st->is_dirty;
	was_failed = st->is_failed;
	rc = write_stage(fs_of(req), st, buf, size, off, &why);
	if (rc < 0 && why)
		snprintf(copy, sizeof(copy), "%s", why);
	is_changed = was_dirty != st->is_dirty || was_failed != st->is_failed;
	pthread_mutex_unlock(&st->lock);
	if (is_changed)
		stages_save(&fs_of(req)->stages, st);
	if (rc < 0)
		fs_refuse(req, st->coll,
			(struct vg_id){st->name, st->name_len}, rc,
			why ? copy : NULL);
	else
		fuse_reply_write(req, size);
}

static void finish_write(struct fs_change *fc, int rc)
{
	if (rc < 0)
		fuse_reply_err(fc->req, fs_errno(rc));
	else
		fuse_reply_write(fc->req, fc->aux);
}

/* Each write of a setting is the whole value, as in sysfs. */
static void write_value(
	fuse_req_t req, struct handle *h, const char *buf, size_t size)
{
	const char *name = view_get(h->view)->name;
	struct fs_change *fc;

	fc = fs_change_new(req, OP_CONFIG, h->coll);
	if (fc)
		fc->bytes = malloc(size ? size : 1);
	if (!fc || !fc->bytes) {
		fs_change_free(fc);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(fc->bytes, buf, size);
	fc->change.meta = (struct meta){fc->bytes, (uint32_t)size};
	fs_change_id(fc, ops_id(name));
	fs_path(fc->fs, h->coll, ops_id(name), fc->path, sizeof(fc->path));
	fc->aux = size;
	fc->finish = finish_write;
	fs_change_run(fc);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fs_of(req), fi);
	int rc;

	(void)ino;
	if (handle_is_lost(fs_of(req), fi)) {
		fuse_reply_err(req, EIO);
		return;
	}
	switch (h ? h->kind : HANDLE_DIR) {
	case HANDLE_STAGE:
		do_write_stage(req, h->stage, buf, size, off);
		break;
	case HANDLE_VALUE:
		if (h->view == VIEW_DELETE_WHERE)
			clear_write(req, h, buf, size, (uint64_t)off,
				fi->flags & O_APPEND);
		else
			write_value(req, h, buf, size);
		break;
	case HANDLE_RUN:
		rc = query_write_run(
			fs_of(req), h, buf, size, (uint64_t)off);
		if (rc < 0)
			fuse_reply_err(req, fs_errno(rc));
		else
			fuse_reply_write(req, size);
		break;
	case HANDLE_IMPORT:
		bulk_write(req, h, buf, size, (uint64_t)off);
		break;
	default:
		fuse_reply_err(req, EBADF);
	}
}
