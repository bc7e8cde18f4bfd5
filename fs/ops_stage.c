/* SPDX-License-Identifier: Apache-2.0 */
/* ops_stage.c: from staged bytes to a change: what close() and rename do. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ops.h"

static pthread_key_t parser_key;
static pthread_once_t parser_once = PTHREAD_ONCE_INIT;

static void parser_free(void *p)
{
	record_parser_fini(p);
	free(p);
}

static void make_parser_key(void)
{
	int rc = pthread_key_create(&parser_key, parser_free);

	assert(rc == 0);
	(void)rc;
}

static struct record_parser *parser_new(void)
{
	struct record_parser *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	record_parser_init(p);
	if (pthread_setspecific(parser_key, p) != 0) {
		parser_free(p);
		return NULL;
	}
	return p;
}

/* One parser for each thread that parses; it keeps its buffers. */
struct record_parser *ops_parser_get(struct collection *c)
{
	struct record_parser *p;

	pthread_once(&parser_once, make_parser_key);
	p = pthread_getspecific(parser_key);
	if (!p)
		p = parser_new();
	if (p)
		p->dtype = (enum vg_dtype)collection_config(c).dtype;
	return p;
}

void ops_sync(fuse_req_t req)
{
	struct fs_change *fc = fs_change_new(req, OP_PUT, NULL);

	if (!fc) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fc->commit.n = 0;
	fc->commit.sync = true;
	fs_change_run(fc);
}

/* What a version is written in place of: what it reads as now, to be changed
 * here and there. */
int ops_stage_preload(struct fs *fs, const struct stage_place *place,
	const struct version *v, struct stage *st)
{
	static const enum node_kind kinds[] = {[STAGE_RECORD] = NODE_RECORD,
		[STAGE_AS] = NODE_AS,
		[STAGE_META] = NODE_META,
		[STAGE_IF] = NODE_RECORD,
		[STAGE_TX] = NODE_RECORD};
	struct version_view as = {
		place->coll, kinds[place->area], place->form};
	size_t len = version_format(&as, v, NULL, 0);
	char *bytes = malloc(len);
	int rc;

	if (!bytes)
		return -ENOMEM;
	version_format(&as, v, bytes, len);
	rc = place->area == STAGE_META ? 0 : cell_check_row(v->cell, v->slot);
	if (rc == 0)
		rc = arena_pwrite(
			fs->arena, st->file, ARENA_BODY, 0, bytes, len);
	free(bytes);
	pthread_mutex_lock(&st->lock);
	if (as.kind == NODE_RECORD)
		st->original = len;
	pthread_mutex_unlock(&st->lock);
	return rc;
}

int ops_offer_stage(fuse_req_t req, const struct stage_place *place,
	const struct version *v, bool is_trunc, struct stage **out)
{
	struct fs *fs = fs_of(req);
	struct stage *st;
	int rc = stages_offer(&fs->stages, place, fuse_req_ctx(req)->uid,
		fuse_req_ctx(req)->pid, &st);

	if (rc < 0)
		return rc;
	st->is_of_record = v != NULL;
	if (v && !is_trunc)
		rc = ops_stage_preload(fs, place, v, st);
	if (rc < 0) {
		stages_accept(&fs->stages, st);
		stages_unref(&fs->stages, st);
		return rc;
	}
	stages_save(&fs->stages, st);
	*out = st;
	return 0;
}

static void *copy_of(const void *bytes, size_t len)
{
	void *copy = malloc(len ? len : 1);

	if (copy && len)
		memcpy(copy, bytes, len);
	return copy;
}

/*
 * Metadata: a new file has what its body and setfattr gave it; one that is
 * written in place keeps what the record has, but for what the body names.
 */
static int fill_meta(struct fs *fs, struct stage *st, bool is_new,
	const struct record *r, struct fs_change *fc)
{
	struct meta body = {r->meta, r->meta_len};
	struct meta staged = stages_get_meta(&fs->stages, st);
	struct meta_buf buf = {0};
	int rc;

	fc->change.meta_mode = is_new	  ? CHANGE_META_REPLACE
			       : body.json ? CHANGE_META_MERGE
					   : CHANGE_META_KEEP;
	if (is_new && staged.json) {
		rc = meta_merge(staged, body, &buf);
		if (rc < 0)
			return rc;
		fc->bytes2 = buf.bytes;
		fc->change.meta =
			(struct meta){buf.bytes, (uint32_t)buf.len};
		return 0;
	}
	if (!body.json)
		return 0;
	fc->bytes2 = copy_of(body.json, body.len);
	if (!fc->bytes2)
		return -ENOMEM;
	fc->change.meta = (struct meta){fc->bytes2, body.len};
	return 0;
}

/* The dimension that a body must have; 0 while it is still open. */
static uint32_t dim_of(struct collection *c, bool can_reinfer)
{
	struct op_config config = collection_config(c);
	uint64_t n = atomic_load_explicit(&c->n_live, memory_order_relaxed);

	if (config.dim_source && (n == 0 || (n == 1 && can_reinfer)))
		return 0;
	return config.dim;
}

static int parse_vector(fuse_req_t req, struct stage *st,
	struct ops_commit *oc, struct fs_change *fc)
{
	struct record_parser *p = ops_parser_get(st->coll);
	struct record r;
	size_t len;
	const void *body = arena_bytes(
		fs_of(req)->arena, st->file, ARENA_BODY, &len);
	/* A transaction's has all of the metadata there is to be. */
	bool is_new = st->is_new || oc->replaces || st->area == STAGE_TX;
	int rc;

	if (!p)
		return -ENOMEM;
	rc = record_parse(p,
		oc->to.area == STAGE_AS ? oc->to.form : RECORD_ANY, body, len,
		dim_of(st->coll, st->is_committed), &r);
	if (rc == -EINVAL)
		snprintf(oc->why, sizeof(oc->why), "%s", p->error);
	if (rc < 0)
		return rc;
	if (!r.vec) {
		fc->change.type = OP_SET;
		is_new = st->area == STAGE_TX;
	}
	rc = fill_meta(fs_of(req), st, is_new, &r, fc);
	if (rc < 0 || !r.vec)
		return rc;
	fc->bytes = copy_of(r.vec, vg_row_len(p->dtype, r.dim));
	if (!fc->bytes)
		return -ENOMEM;
	fc->change.vec = fc->bytes;
	fc->change.dim = r.dim;
	fc->change.dtype = p->dtype;
	fc->change.source = (uint8_t)r.source;
	fc->change.body_len = (uint32_t)VG_MIN(len, (size_t)UINT32_MAX);
	return 0;
}

static int parse_meta(fuse_req_t req, struct stage *st, struct ops_commit *oc,
	struct fs_change *fc)
{
	struct meta_buf buf = {0};
	const char *why = NULL;
	size_t len;
	const void *body = arena_bytes(
		fs_of(req)->arena, st->file, ARENA_BODY, &len);
	int rc = meta_parse(body, len, &buf, &why);

	if (rc == -EINVAL)
		snprintf(oc->why, sizeof(oc->why), "%s", why);
	fc->bytes2 = buf.bytes;
	fc->change.type = OP_SET;
	fc->change.meta_mode = CHANGE_META_REPLACE;
	fc->change.meta = (struct meta){buf.bytes, (uint32_t)buf.len};
	return rc;
}

/* A named request is this mount's own: no change of the store. */
static int commit_named(fuse_req_t req, struct stage *st,
	struct ops_commit *oc)
{
	struct record_parser *p = ops_parser_get(st->coll);
	struct record_batch batch;
	struct named_key key = {st->coll, fuse_req_ctx(req)->uid, {0}};
	size_t len;
	const void *body = arena_bytes(
		fs_of(req)->arena, st->file, ARENA_BODY, &len);
	int rc = query_parse_name(
		oc->to.name.bytes, oc->to.name.len, &key.name);

	if (!p)
		return -ENOMEM;
	if (rc < 0) {
		snprintf(oc->why, sizeof(oc->why),
			"a named request is called by letters, digits, - and "
			"_, and by no word of the grammar");
		return rc;
	}
	rc = record_parse_batch(
		p, body, len, collection_config(st->coll).dim, &batch);
	if (rc == -EINVAL)
		snprintf(oc->why, sizeof(oc->why), "%s", p->error);
	if (rc == 0)
		rc = named_put(&fs_of(req)->named, &key, &batch);
	return rc;
}

static void finish_default(struct fs_change *fc, int rc)
{
	fuse_reply_err(fc->req, fs_errno(rc));
}

/* A change that needs no committing: answered at once, like one that does. */
static void finish_now(fuse_req_t req, struct ops_commit *oc)
{
	struct fs_change fc = {.fs = fs_of(req), .req = req, .ctx = oc->ctx};

	oc->finish(&fc, 0);
}

int ops_stage_fill(fuse_req_t req, struct stage *st, struct ops_commit *oc,
	struct fs_change *fc)
{
	char buf[VG_ID_MAX];
	struct vg_id id;
	int rc = ops_place_id(&oc->to, buf, &id);

	if (rc < 0) {
		snprintf(oc->why, sizeof(oc->why),
			"the name is not the one spelling of an id: only %%2F, "
			"%%25, a leading %%2E and %%71uery stand for others");
		return rc;
	}
	fs_change_id(fc, id);
	rc = oc->to.area == STAGE_META ? parse_meta(req, st, oc, fc)
				       : parse_vector(req, st, oc, fc);
	if (st->has_mtime) {
		fc->change.flags |= CHANGE_TIME;
		fc->change.time_ns = st->mtime_ns;
	}
	if ((st->is_excl && !st->is_committed && !oc->replaces) ||
		oc->noreplace)
		fc->change.flags |= CHANGE_EXCL;
	if (st->is_committed || !st->is_named)
		fc->change.flags |= CHANGE_REINFER;
	ops_add_condition(&oc->to, fc);
	/* Who still writes to what was deleted does not bring it back. */
	if ((st->is_committed || st->is_of_record) && !oc->replaces)
		fc->change.flags |= CHANGE_MUST_EXIST;
	fc->commit.sync = oc->sync;
	fc->finish = oc->finish;
	fc->ctx = oc->ctx;
	return rc;
}

int ops_stage_commit(fuse_req_t req, struct stage *st, struct ops_commit *oc)
{
	struct fs_change *fc;
	int rc;

	if (!oc->finish)
		oc->finish = finish_default;
	oc->why[0] = '\0';
	if (oc->to.area == STAGE_QUERY) {
		pthread_mutex_lock(&st->lock);
		rc = commit_named(req, st, oc);
		pthread_mutex_unlock(&st->lock);
		if (rc == 0)
			finish_now(req, oc);
		return rc;
	}
	fc = fs_change_new(req, OP_PUT, st->coll);
	if (!fc)
		return -ENOMEM;
	pthread_mutex_lock(&st->lock);
	rc = ops_stage_fill(req, st, oc, fc);
	pthread_mutex_unlock(&st->lock);
	if (rc < 0) {
		fs_change_free(fc);
		return rc;
	}
	fs_path(fc->fs, fc->coll, oc->to.name, fc->path, sizeof(fc->path));
	fs_change_run(fc);
	return 0;
}
