/* SPDX-License-Identifier: Apache-2.0 */
/* ops_tx.c: transactions: changes that are staged in a directory and go in as one. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/loop.h"
#include "fs/ops.h"

/*
 * A transaction is a stage whose area is STAGE_TX_DIR. What is looked up in it
 * gets a stage of its own: a copy of the record, where its version began, and
 * from then on what the transaction makes of it. A record that is not there, or
 * was removed in it, is a stage that is unlinked. So a stage that was written
 * is a change, any other one a read.
 *
 * The commit looks whether all of them are what they were when they were
 * looked up (commit_read, CHANGE_IF), and then makes all changes, or none. It
 * need not matter when that was: if all that was read holds when it commits,
 * it is as if all had been read then.
 *
 * All of it is in the arena: a transaction outlives the daemon that began it.
 */

static struct stage_place dir_place(struct collection *c, const char *name)
{
	return (struct stage_place){
		.coll = c, .area = STAGE_TX_DIR, .name = ops_id(name)};
}

static struct stage_place member_place(const struct stage *dir)
{
	return (struct stage_place){
		.coll = dir->coll, .area = STAGE_TX, .key = dir->serial};
}

/* Takes the name away: the stage goes when nobody has it open. */
static void drop(struct fs *fs, struct stage *st)
{
	stages_del_name(&fs->stages, st);
	stages_unref(&fs->stages, st);
}

/* ---- begin and abort ---- */

void tx_mkdir(fuse_req_t req, struct collection *c, const char *name)
{
	struct fs *fs = fs_of(req);
	struct stage_place place = dir_place(c, name);
	struct fuse_entry_param e = {0};
	struct stage *dir;
	int rc;

	if (place.name.len > NAME_LEN_MAX || name[0] == '.') {
		fs_refuse(req, c, ops_id(".tx"), -EINVAL,
			"a transaction's name does not begin with a dot");
		return;
	}
	rc = stages_add(
		&fs->stages, &place, true, fuse_req_ctx(req)->uid, &dir);
	/* Asked a second time: the first daemon made it. */
	if (rc == -EEXIST && loop_unique().resent) {
		dir = stages_get_name(&fs->stages, &place);
		rc = dir ? 0 : rc;
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	e.ino = node_encode(
		(struct node_ref){.kind = NODE_STAGE, .low = dir->serial});
	attr_stage(fs, dir, &e.attr);
	fuse_reply_entry(req, &e);
	stages_unref(&fs->stages, dir);
}

static void drop_all(struct fs *fs, struct stage **list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		drop(fs, list[i]);
	free(list);
}

int tx_rmdir(fuse_req_t req, struct collection *c, const char *name)
{
	struct fs *fs = fs_of(req);
	struct stage_place place = dir_place(c, name);
	struct stage *dir = stages_get_name(&fs->stages, &place), **list;
	uint32_t n;
	int rc;

	if (!dir && !loop_unique().resent)
		return -ENOENT;
	if (dir) {
		place = member_place(dir);
		rc = stages_list(&fs->stages, &place, &list, &n);
		if (rc < 0) {
			stages_unref(&fs->stages, dir);
			return rc;
		}
		drop(fs, dir);
		drop_all(fs, list, n);
	}
	fuse_reply_err(req, 0);
	return 0;
}

/* ---- what is in one ---- */

/* A stage for a record as it is now: what the transaction reads. */
static int look_up(fuse_req_t req, const struct stage_place *place,
	struct stage **out)
{
	struct fs *fs = fs_of(req);
	char buf[VG_ID_MAX];
	const struct version *v = NULL;
	struct stage *st;
	struct look look;
	struct vg_id id;
	uint32_t no;
	int rc = ops_place_id(place, buf, &id);

	if (rc < 0)
		return -ENOENT;
	look_init(&look, place->coll, store_moments(fs->store));
	no = generation_find(look.gen, id, look.moment);
	if (no != VERSION_NONE)
		v = generation_version(look.gen, no);
	rc = v ? cell_check_row(v->cell, v->slot) : 0;
	if (rc < 0)
		goto fini_look;
	/* Its name leads to it when it is whole, also after a crash. */
	rc = stages_add(
		&fs->stages, place, false, fuse_req_ctx(req)->uid, &st);
	if (rc < 0)
		goto fini_look;
	if (v)
		rc = ops_stage_preload(fs, place, v, st);
	if (rc == 0 && v)
		rc = stages_put_meta(&fs->stages, st, version_meta(v));
	if (rc == 0) {
		st->is_unlinked = v == NULL;
		st->if_begin = v ? v->begin : 0;
		st->touched_ns = v ? v->mtime_ns : st->touched_ns;
		rc = stages_put_name(&fs->stages, st);
	}
	if (rc == 0)
		*out = st;
	else
		stages_unref(&fs->stages, st);
fini_look:
	look_fini(&look);
	return rc;
}

/* The stage of a name, whether the record is there or not; referenced. */
static int get(fuse_req_t req, const struct stage_place *place,
	struct stage **out)
{
	struct fs *fs = fs_of(req);
	int rc = -EEXIST;

	/* Ends: one that was made meanwhile is found the next time. */
	while (rc == -EEXIST) {
		*out = stages_get_name(&fs->stages, place);
		if (*out)
			return 0;
		if (ops_is_dotted(place))
			return -ENOENT;
		rc = look_up(req, place, out);
	}
	return rc;
}

static bool is_gone(struct stage *st)
{
	bool is;

	pthread_mutex_lock(&st->lock);
	is = st->is_unlinked;
	pthread_mutex_unlock(&st->lock);
	return is;
}

int tx_find(fuse_req_t req, const struct stage_place *place,
	struct stage **out)
{
	struct stage *st;
	int rc = get(req, place, &st);

	if (rc < 0)
		return rc;
	if (is_gone(st)) {
		stages_unref(&fs_of(req)->stages, st);
		return -ENOENT;
	}
	*out = st;
	return 0;
}

/* Makes it a record that is new, without bytes, or none. */
static int begin_anew(struct fs *fs, struct stage *st, bool is_unlinked)
{
	int rc;

	pthread_mutex_lock(&st->lock);
	rc = arena_truncate(fs->arena, st->file, ARENA_BODY, 0);
	if (rc == 0)
		rc = stages_put_meta(&fs->stages, st, (struct meta){0});
	if (rc == 0) {
		st->is_failed = st->has_mtime = false;
		st->is_dirty = st->is_meta_set = false;
		st->is_unlinked = is_unlinked;
		st->is_new = true;
		st->original = 0;
		st->raw_len = 0;
	}
	pthread_mutex_unlock(&st->lock);
	return rc;
}

/* Refuses what was changed in a transaction that is being committed: it may have
 * come too late for that. Who changes something asks behind it, so that a
 * commit that begins later sees it. */
static int check_ending(fuse_req_t req, const struct stage *st)
{
	struct fs *fs = fs_of(req);
	struct stage *dir = stages_get(&fs->stages, st->key);
	bool is_ending = true;

	if (dir && stages_has_name(&fs->stages, dir)) {
		pthread_mutex_lock(&dir->lock);
		is_ending = dir->n_in_flight > 0;
		pthread_mutex_unlock(&dir->lock);
	}
	if (dir)
		stages_unref(&fs->stages, dir);
	if (!is_ending)
		return 0;
	fs_note_error(req, st->coll, (struct vg_id){st->name, st->name_len},
		-ESTALE, "its transaction has ended, or is being committed");
	return -ESTALE;
}

int tx_create(fuse_req_t req, const struct stage_place *place, int flags,
	struct stage **out)
{
	struct fs *fs = fs_of(req);
	struct stage *st;
	int rc = get(req, place, &st);

	if (rc == -ENOENT) /* staging: it has no record */
		rc = stages_add(&fs->stages, place, true,
			fuse_req_ctx(req)->uid, &st);
	else if (rc == 0 && !is_gone(st) && (flags & O_EXCL) &&
		 !loop_unique().resent) {
		stages_unref(&fs->stages, st);
		return -EEXIST;
	}
	if (rc < 0)
		return rc;
	rc = is_gone(st) ? begin_anew(fs, st, false) : 0;
	if (rc < 0) {
		stages_unref(&fs->stages, st);
		return rc;
	}
	stages_save(&fs->stages, st);
	*out = st;
	return 0;
}

int tx_unlink(fuse_req_t req, const struct stage_place *place)
{
	struct fs *fs = fs_of(req);
	struct stage *st;
	int rc = tx_find(req, place, &st);

	if (rc < 0)
		return rc;
	if (ops_is_dotted(place)) {
		drop(fs, st);
		fuse_reply_err(req, 0);
		return 0;
	}
	rc = begin_anew(fs, st, true);
	if (rc == 0) {
		stages_save(&fs->stages, st);
		rc = check_ending(req, st);
	}
	if (rc == 0)
		fuse_reply_err(req, 0);
	stages_unref(&fs->stages, st);
	return rc;
}

/* What `from` had is a record that was removed, if it was one; as it was, or as
 * it is (NULL). */
static int leave_name(fuse_req_t req, const struct stage_place *from,
	const uint64_t *if_begin)
{
	struct fs *fs = fs_of(req);
	struct stage *gone;
	int rc;

	if (ops_is_dotted(from))
		return 0;
	rc = get(req, from, &gone);
	if (rc < 0)
		return rc;
	rc = begin_anew(fs, gone, true);
	if (rc == 0 && if_begin)
		gone->if_begin = *if_begin;
	stages_save(&fs->stages, gone);
	stages_unref(&fs->stages, gone);
	return rc;
}

/* Whether the first daemon gave it another name: who asks has looked `from`
 * up, so that it had a stage. */
static bool was_moved(fuse_req_t req, const struct stage_place *from)
{
	struct stages *ss = &fs_of(req)->stages;
	struct stage *st;
	bool was;

	if (!loop_unique().resent)
		return false;
	st = stages_get_name(ss, from);
	was = !st || is_gone(st);
	if (st)
		stages_unref(ss, st);
	return was;
}

/* st takes the place of dst, whose record it replaces. */
static int move_to(fuse_req_t req, struct stage *st,
	const struct stage_place *from, struct stage *dst)
{
	struct fs *fs = fs_of(req);
	struct stage_place to = stage_place_of(dst);
	uint64_t was = st->if_begin;
	char name[NAME_LEN_MAX + 1];

	memcpy(name, dst->name, dst->name_len);
	to.name.bytes = name;
	pthread_mutex_lock(&st->lock);
	st->if_begin = dst->if_begin;
	st->is_dirty = st->is_new = true;
	pthread_mutex_unlock(&st->lock);
	stages_rename(&fs->stages, st, to.name); /* dst's name goes */
	return leave_name(req, from, &was);
}

int tx_rename(fuse_req_t req, const struct stage_place *from,
	const struct stage_place *to, unsigned flags)
{
	struct fs *fs = fs_of(req);
	struct stage *st, *dst = NULL;
	size_t len;
	int rc;

	if (was_moved(req, from)) {
		rc = leave_name(req, from, NULL);
		if (rc == 0)
			fuse_reply_err(req, 0);
		return rc;
	}
	rc = tx_find(req, from, &st);
	if (rc < 0)
		return rc;
	arena_bytes(fs->arena, st->file, ARENA_BODY, &len);
	if (ops_is_dotted(to) && !ops_is_dotted(from))
		rc = -EXDEV; /* copying into a staging name is mv's to do */
	else if (!ops_is_dotted(to))
		rc = get(req, to, &dst);
	if (rc == 0 && dst && flags && !is_gone(dst))
		rc = -EEXIST;
	if (rc == 0 && dst && len == 0 && !is_gone(dst))
		rc = ops_refuse_empty(req, st->coll, to->name);
	if (rc == 0 && dst != st && dst)
		rc = move_to(req, st, from, dst);
	else if (rc == 0 && !dst)
		stages_rename(&fs->stages, st, to->name);
	if (rc == 0)
		rc = check_ending(req, st);
	if (rc == 0)
		fuse_reply_err(req, 0);
	if (dst)
		stages_unref(&fs->stages, dst);
	stages_unref(&fs->stages, st);
	return rc;
}

/* Whether the commit will make a change of it, if it has bytes; st->lock. */
static bool is_change_locked(const struct stage *st)
{
	if (st->is_unlinked)
		return st->if_begin != 0;
	return st->is_dirty || st->is_meta_set || st->has_mtime;
}

/* Whether it stands in the listing of its directory. */
static bool is_listed(struct stage *st)
{
	bool is;

	pthread_mutex_lock(&st->lock);
	is = st->name[0] != '.' && !st->is_unlinked &&
	     (st->area == STAGE_TX_DIR || is_change_locked(st));
	pthread_mutex_unlock(&st->lock);
	return is;
}

int tx_list(struct fs *fs, const struct stage_place *of, struct stage ***out,
	uint32_t *n)
{
	struct stage **list;
	uint32_t all;
	int rc = stages_list(&fs->stages, of, &list, &all);

	if (rc < 0)
		return rc;
	*n = 0;
	for (uint32_t i = 0; i < all; i++) {
		if (is_listed(list[i]))
			list[(*n)++] = list[i];
		else
			stages_unref(&fs->stages, list[i]);
	}
	*out = list;
	return 0;
}

/* ---- close() ---- */

/* Bytes of its vector; 0: it has none. */
static size_t vec_len(const struct fs_change *fc)
{
	return vg_row_len(fc->change.dtype, fc->change.dim);
}

/* A change of st: nothing is committed yet. rc below 0 with a sentence. */
static int make_change(fuse_req_t req, struct stage *st,
	struct fs_change **out, char why[256])
{
	struct ops_commit oc = {.to = stage_place_of(st)};
	struct fs_change *fc = fs_change_new(req, OP_PUT, st->coll);
	int rc;

	if (!fc)
		return -ENOMEM;
	pthread_mutex_lock(&st->lock);
	snprintf(oc.why, sizeof(oc.why), "%s",
		st->is_failed ? "a write to it was refused" : "");
	rc = st->is_failed ? -EINVAL : ops_stage_fill(req, st, &oc, fc);
	fc->change.flags &= ~(unsigned)(CHANGE_EXCL | CHANGE_REINFER |
					CHANGE_MUST_EXIST);
	pthread_mutex_unlock(&st->lock);
	snprintf(why, 256, "%s", oc.why);
	if (rc < 0) {
		fs_change_free(fc);
		return rc;
	}
	*out = fc;
	return 0;
}

bool tx_is_over(struct fs *fs, const struct stage *st)
{
	return (st->area == STAGE_TX || st->area == STAGE_TX_DIR) &&
	       !stages_has_name(&fs->stages, st);
}

void tx_flush(fuse_req_t req, struct stage *st)
{
	struct fs_change *fc;
	char why[256] = "";
	bool is_written;
	size_t len;
	int rc = 0;

	pthread_mutex_lock(&st->lock);
	arena_bytes(fs_of(req)->arena, st->file, ARENA_BODY, &len);
	is_written = st->is_dirty && len > 0 && st->name[0] != '.' &&
		     !st->is_unlinked;
	pthread_mutex_unlock(&st->lock);
	if (is_written)
		rc = check_ending(req, st);
	if (is_written && rc == 0)
		rc = make_change(req, st, &fc, why);
	if (is_written && rc == 0) {
		pthread_mutex_lock(&st->lock);
		st->raw_len = (uint32_t)vec_len(fc);
		pthread_mutex_unlock(&st->lock);
		stages_save(&fs_of(req)->stages, st);
		fs_change_free(fc);
	}
	if (rc < 0)
		fs_refuse(req, st->coll,
			(struct vg_id){st->name, st->name_len}, rc,
			why[0] ? why : NULL);
	else
		fuse_reply_err(req, 0);
}

/* Makes the body the vector that close() took it for; what else was in it is
 * staged metadata from then on. */
static int make_raw(fuse_req_t req, struct stage *st)
{
	struct fs *fs = fs_of(req);
	struct fs_change *fc;
	size_t len;
	char why[256];
	int rc = make_change(req, st, &fc, why);

	if (rc < 0)
		return rc;
	len = vec_len(fc);
	pthread_mutex_lock(&st->lock);
	/* It is what was parsed, unless somebody wrote to it meanwhile. */
	if (st->raw_len != len)
		goto unlock;
	rc = stages_put_meta(&fs->stages, st, fc->change.meta);
	if (rc == 0)
		rc = arena_pwrite(fs->arena, st->file, ARENA_BODY, 0,
			fc->change.vec, len);
	if (rc == 0)
		rc = arena_truncate(fs->arena, st->file, ARENA_BODY, len);
unlock:
	pthread_mutex_unlock(&st->lock);
	stages_save(&fs->stages, st);
	fs_change_free(fc);
	return rc;
}

/* What st reads as: *bytes is owned. */
static int read_body(
	fuse_req_t req, struct stage *st, bool is_vector, char **bytes,
	size_t *len)
{
	struct fs_change *fc;
	const void *body;
	char why[256];
	int rc = is_vector ? make_change(req, st, &fc, why) : 0;

	if (rc < 0)
		return rc;
	if (is_vector && fc->change.vec) {
		*bytes = fc->bytes;
		*len = vec_len(fc);
		fc->bytes = NULL;
	} else {
		pthread_mutex_lock(&st->lock);
		body = arena_bytes(
			fs_of(req)->arena, st->file, ARENA_BODY, len);
		*bytes = malloc(*len + 1);
		if (*bytes)
			memcpy(*bytes, body, *len);
		pthread_mutex_unlock(&st->lock);
	}
	if (is_vector)
		fs_change_free(fc);
	return *bytes ? 0 : -ENOMEM;
}

int tx_open(fuse_req_t req, struct stage *st, struct fuse_file_info *fi)
{
	bool is_vector;
	char *bytes;
	size_t len;
	int rc;

	pthread_mutex_lock(&st->lock);
	is_vector = st->raw_len > 0;
	pthread_mutex_unlock(&st->lock);
	if (ops_wants_write(fi)) {
		rc = is_vector && !(fi->flags & O_TRUNC) ? make_raw(req, st)
							 : 0;
		return rc < 0 ? rc : 1;
	}
	rc = read_body(req, st, is_vector, &bytes, &len);
	if (rc < 0)
		return rc;
	fi->direct_io = 1;
	return ops_open_bytes(req, st, bytes, len, fi);
}

/* ---- commit ---- */

struct tx {
	struct commit commit; /* first: done gets it */
	struct fs *fs;
	fuse_req_t req;
	struct collection *coll; /* referenced */
	struct stage *dir;	 /* referenced; in flight */
	struct stage **list;	 /* referenced, n of them */
	uint32_t n;
	struct change *change;	  /* commit.n of them */
	struct fs_change **of;	  /* whose bytes they borrow */
	struct commit_read *read; /* commit.n_reads of them */
	char (*id)[VG_ID_MAX];	  /* of the n */
	uint32_t pid, uid;
	char path[320];
};

static void set_ending(struct stage *dir, bool is)
{
	pthread_mutex_lock(&dir->lock);
	dir->n_in_flight += is ? 1u : -1u;
	pthread_mutex_unlock(&dir->lock);
}

static void tx_free(struct tx *tx)
{
	for (uint32_t i = 0; i < tx->commit.n; i++)
		fs_change_free(tx->of[i]);
	for (uint32_t i = 0; i < tx->n; i++)
		stages_unref(&tx->fs->stages, tx->list[i]);
	set_ending(tx->dir, false);
	stages_unref(&tx->fs->stages, tx->dir);
	collection_unref(tx->coll);
	free(tx->list);
	free(tx->change);
	free(tx->of);
	free(tx->read);
	free(tx->id);
	free(tx);
}

/* All went in: nothing of it is staged any more. */
static void forget(struct tx *tx)
{
	stages_del_name(&tx->fs->stages, tx->dir);
	for (uint32_t i = 0; i < tx->n; i++)
		stages_del_name(&tx->fs->stages, tx->list[i]);
}

/* What mv would take for a directory that is moved into itself, or is not
 * there, is a change that cannot be made. */
static int commit_rc(int rc)
{
	return rc == -EINVAL || rc == -ENOENT ? -ECANCELED : rc;
}

static void tx_done(struct commit *commit)
{
	struct tx *tx = (struct tx *)(void *)commit;
	int rc = commit_rc(commit->rc);
	const char *why = commit->why;

	/* Not so of what the disk refused: then all say the same. */
	if (!why[0] && commit->n > 0)
		why = commit->changes[0].why;
	if (rc == 0)
		forget(tx);
	else
		fs_note_commit(tx->fs, tx->coll, &(struct fs_who){
			tx->pid, tx->uid, tx->path}, rc, why);
	fuse_reply_err(tx->req, fs_errno(rc));
	tx_free(tx);
}

static int tx_new(fuse_req_t req, struct stage *dir, struct tx **out)
{
	struct stage_place of = member_place(dir);
	struct tx *tx = calloc(1, sizeof(*tx));
	int rc;

	if (!tx)
		return -ENOMEM;
	tx->fs = fs_of(req);
	tx->req = req;
	tx->dir = stages_get(&tx->fs->stages, dir->serial);
	set_ending(tx->dir, true);
	tx->coll = collection_ref(dir->coll);
	tx->pid = (uint32_t)fuse_req_ctx(req)->pid;
	tx->uid = fuse_req_ctx(req)->uid;
	rc = stages_list(&tx->fs->stages, &of, &tx->list, &tx->n);
	if (rc == 0) {
		tx->change = calloc(tx->n + 1, sizeof(*tx->change));
		tx->of = calloc(tx->n + 1, sizeof(struct fs_change *));
		tx->read = calloc(tx->n + 1, sizeof(*tx->read));
		tx->id = calloc(tx->n + 1, sizeof(*tx->id));
		if (!tx->change || !tx->of || !tx->read || !tx->id)
			rc = -ENOMEM;
	}
	if (rc < 0) {
		tx_free(tx);
		return rc;
	}
	*out = tx;
	return 0;
}

/* Makes a read or a change of stage i. */
static int add(struct tx *tx, uint32_t i, char why[256])
{
	struct stage *st = tx->list[i];
	struct stage_place place = stage_place_of(st);
	struct fs_change *fc;
	struct vg_id id;
	bool is_change, is_removed;
	size_t len;
	int rc;

	if (ops_is_dotted(&place))
		return 0;
	rc = ops_place_id(&place, tx->id[i], &id);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&st->lock);
	arena_bytes(tx->fs->arena, st->file, ARENA_BODY, &len);
	/* A new file without bytes is no record, whatever there was. */
	is_removed = st->is_unlinked || (st->is_new && len == 0);
	is_change = is_removed ? st->if_begin != 0
			       : len > 0 && is_change_locked(st);
	pthread_mutex_unlock(&st->lock);
	if (!is_change) {
		/* Names of changes are moved into place when all are known. */
		memmove(tx->id[i], id.bytes, id.len);
		tx->read[tx->commit.n_reads++] = (struct commit_read){
			tx->coll, {tx->id[i], id.len}, st->if_begin};
		return 0;
	}
	rc = is_removed ? 0 : make_change(tx->req, st, &fc, why);
	if (is_removed) {
		fc = fs_change_new(tx->req, OP_DEL, tx->coll);
		rc = fc ? 0 : -ENOMEM;
	}
	if (rc < 0)
		return rc;
	fs_change_id(fc, id);
	fc->change.flags |= CHANGE_IF;
	fc->change.if_begin = st->if_begin;
	/* One request: it is known again by the first of its changes. */
	if (tx->commit.n > 0)
		fc->change.origin = (struct op_origin){0};
	tx->of[tx->commit.n++] = fc;
	return 0;
}

static int fill(struct tx *tx, char why[256])
{
	char what[256] = "";
	int rc = 0;

	for (uint32_t i = 0; i < tx->n && rc == 0; i++) {
		rc = add(tx, i, what);
		if (rc < 0)
			snprintf(why, 256, "'%.*s' cannot be committed: %.140s",
				(int)VG_MIN(tx->list[i]->name_len, 80u),
				tx->list[i]->name,
				what[0] ? what : strerror(fs_errno(rc)));
		if (rc == 0 && tx->commit.n > COMMIT_ATOMIC_MAX) {
			snprintf(why, 256,
				"a transaction changes at most %u records: "
				"use several",
				COMMIT_ATOMIC_MAX);
			rc = -EFBIG;
		}
		rc = commit_rc(rc);
	}
	for (uint32_t i = 0; i < tx->commit.n; i++)
		tx->change[i] = tx->of[i]->change;
	return rc;
}

int tx_commit(fuse_req_t req, struct collection *c, const char *name,
	const char *newname)
{
	static const char suffix[] = ".commit";
	struct fs *fs = fs_of(req);
	struct stage_place place = dir_place(c, name);
	size_t len = strlen(name);
	struct stage *dir;
	char why[256] = "";
	struct tx *tx;
	int rc;

	if (strncmp(newname, name, len) != 0 ||
		strcmp(newname + len, suffix) != 0) {
		fs_note_error(req, c, ops_id(".tx"), -EINVAL,
			"a transaction NAME commits by being renamed to "
			"NAME.commit");
		return -EINVAL;
	}
	dir = stages_get_name(&fs->stages, &place);
	if (!dir && loop_unique().resent) {
		fuse_reply_err(req, 0); /* the first daemon did it */
		return 0;
	}
	if (!dir)
		return -ENOENT;
	rc = tx_new(req, dir, &tx);
	stages_unref(&fs->stages, dir);
	if (rc < 0)
		return rc;
	fs_path(fs, c, ops_id(".tx"), tx->path, sizeof(tx->path));
	rc = fill(tx, why);
	if (rc < 0) {
		fs_note_error(req, c, ops_id(".tx"), rc, why);
		tx_free(tx);
		return rc;
	}
	tx->commit.changes = tx->change;
	tx->commit.is_atomic = true;
	tx->commit.sync = tx->commit.n == 0;
	tx->commit.reads = tx->read;
	tx->commit.done = tx_done;
	store_commit(fs->store, &tx->commit);
	return 0;
}
