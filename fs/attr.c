/* SPDX-License-Identifier: Apache-2.0 */
/* attr.c: see attr.h. */
#include "fs/attr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fs/change.h"
#include "fs/hits.h"

static void set_time(struct stat *st, int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / 1000000000,
		.tv_nsec = ns % 1000000000};

	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += 1000000000;
	}
	st->st_mtim = st->st_ctim = st->st_atim = ts;
}

static void set_size(struct stat *st, uint64_t len)
{
	st->st_size = (off_t)len;
	st->st_blocks = (blkcnt_t)((len + 511) / 512);
}

/* A number that survives remounts and is the same on every mount. */
static ino_t ino_of(const struct collection *c, const void *bytes, size_t len)
{
	uint64_t seed = XXH3_64bits(c->uuid, sizeof(c->uuid));
	uint64_t ino = XXH3_64bits_withSeed(bytes, len, seed);

	return ino > 1 ? ino : 2;
}

/* What everything has: owner, link count, block size. */
static void begin(struct stat *st, mode_t mode, uint32_t uid, uint32_t gid)
{
	memset(st, 0, sizeof(*st));
	st->st_mode = mode;
	st->st_nlink = S_ISDIR(mode) ? 2 : 1;
	st->st_uid = uid;
	st->st_gid = gid;
	st->st_blksize = 4096;
	if (S_ISDIR(mode))
		set_size(st, 4096);
}

/* Nobody writes in a snapshot, nor to what is in it. */
static mode_t mask_of(const struct collection *c)
{
	return c && c->of ? 07555 : 07777;
}

void attr_root(struct fs *fs, struct stat *st)
{
	struct catalogue *cat = store_catalogue(fs->store);
	struct op_attr attr = {0755, fs->uid, fs->gid};
	int64_t mtime_ns;

	pthread_rwlock_rdlock(&cat->lock);
	mtime_ns = cat->mtime_ns;
	if (cat->has_attr)
		attr = cat->attr;
	pthread_rwlock_unlock(&cat->lock);
	begin(st, S_IFDIR | (attr.mode & 07777), attr.uid, attr.gid);
	st->st_ino = 1;
	set_time(st, mtime_ns ? mtime_ns : fs->started_ns);
}

void attr_alias(struct fs *fs, const struct entry_info *info, struct stat *st)
{
	begin(st, S_IFLNK | 0777, fs->uid, fs->gid);
	st->st_ino = node_encode(
		(struct node_ref){.kind = NODE_ALIAS, .low = info->cursor});
	set_size(st, info->target_len);
	set_time(st, info->mtime_ns);
}

void attr_coll(struct fs *fs, struct collection *c, struct stat *st)
{
	struct op_attr attr = collection_attr(c);
	int64_t mtime_ns;

	(void)fs;
	begin(st, S_IFDIR | (attr.mode & mask_of(c)), attr.uid, attr.gid);
	st->st_ino = ino_of(c, "", 0);
	pthread_mutex_lock(&c->lock);
	mtime_ns = c->mtime_ns;
	pthread_mutex_unlock(&c->lock);
	set_time(st, mtime_ns);
}

ino_t attr_view_ino(enum view view, const struct collection *c)
{
	const char *name = view_get(view)->name;

	return c ? ino_of(c, name, strlen(name)) ^ (ino_t)view << 56
		 : (ino_t)view + 2;
}

int attr_view(struct fs *fs, enum view view, struct collection *c,
	uint32_t uid, struct stat *st)
{
	const struct view_info *info = view_get(view);
	struct op_attr owner = {0755, fs->uid, fs->gid};
	int64_t mtime_ns = fs->started_ns;
	mode_t mode = info->mode;
	size_t len = 0;
	char *bytes;
	int rc;

	if (c) {
		owner = collection_attr(c);
		pthread_mutex_lock(&c->lock);
		mtime_ns = c->commit_ns ? c->commit_ns : c->mtime_ns;
		pthread_mutex_unlock(&c->lock);
	}
	/* Everybody who may enter may ask; errors show everybody his own. */
	if (view != VIEW_QUERY && view != VIEW_ERRORS)
		mode = (mode & S_IFMT) |
		       (mode & owner.mode & 0777 & mask_of(c));
	if (S_ISREG(mode))
		mode &= ~(mode_t)0111;
	begin(st, mode, owner.uid, owner.gid);
	st->st_ino = attr_view_ino(view, c);
	set_time(st, mtime_ns);
	if (!view_is_text(view))
		return 0;
	rc = view_render(fs, view, c, uid, &bytes, &len);
	if (rc < 0)
		return rc;
	free(bytes);
	set_size(st, len);
	return 0;
}

size_t version_format(const struct version_view *as, const struct version *v,
	char *out, size_t cap)
{
	struct meta meta = version_meta(v);
	struct record_meta rm = {meta.json, meta.len};
	struct record_row row = {version_vec(v), v->cell->dim, v->cell->dtype};

	if (as->kind == NODE_META) {
		if (!meta.json)
			meta = (struct meta){"{}", 2};
		if (cap > meta.len) {
			memcpy(out, meta.json, meta.len);
			out[meta.len] = '\n';
		}
		return (size_t)meta.len + 1;
	}
	return record_format(as->kind == NODE_AS ? as->form : RECORD_RAW,
		&row, &rm, out, cap);
}

/* One number for a record under one of its names, also while it is written:
 * editors look whether a file is still the one that they read. */
static ino_t ino_of_id(const struct collection *c, struct vg_id id,
	const struct version_view *as)
{
	return ino_of(c, id.bytes, id.len) +
	       (as->kind == NODE_RECORD ? 0 : (ino_t)as->kind << 4 | as->form);
}

void attr_version(const struct version_view *as, const struct version *v,
	struct stat *st)
{
	struct op_attr owner = collection_attr(as->coll);

	begin(st, S_IFREG | (owner.mode & 0666 & mask_of(as->coll)), owner.uid,
		owner.gid);
	st->st_ino = ino_of_id(as->coll, version_id(v), as);
	set_time(st, v->mtime_ns);
	if (as->kind == NODE_RECORD)
		set_size(st, version_vec_len(v));
	else
		set_size(st, version_format(as, v, NULL, 0));
}

static ino_t ino_of_stage(const struct stage *stage)
{
	static const enum node_kind kinds[] = {[STAGE_RECORD] = NODE_RECORD,
		[STAGE_AS] = NODE_AS,
		[STAGE_META] = NODE_META,
		[STAGE_QUERY] = NODE_QUERY,
		[STAGE_IF] = NODE_RECORD,
		[STAGE_TX] = NODE_RECORD,
		[STAGE_TX_DIR] = NODE_STAGE};
	struct version_view as = {
		stage->coll, kinds[stage->area], stage->form};
	char buf[VG_ID_MAX];
	struct vg_id id = {stage->name, stage->name_len};

	if (stage->name[0] != '.' && stage->area != STAGE_QUERY)
		name_decode(stage->name, stage->name_len, buf, &id);
	return ino_of_id(stage->coll, id, &as);
}

void attr_stage(struct fs *fs, struct stage *stage, struct stat *st)
{
	struct op_attr owner = collection_attr(stage->coll);
	size_t len;

	if (stage->area == STAGE_TX_DIR) {
		begin(st, S_IFDIR | (owner.mode & 07777), stage->uid, owner.gid);
		st->st_ino = ino_of_stage(stage);
		pthread_mutex_lock(&stage->lock);
		set_time(st, stage->touched_ns);
		pthread_mutex_unlock(&stage->lock);
		return;
	}
	begin(st, S_IFREG | (owner.mode & 0666), stage->uid, owner.gid);
	if ((stage->area == STAGE_RECORD || stage->area == STAGE_IF ||
		    stage->area == STAGE_TX) &&
		stage->name[0] != '.')
		st->st_uid = owner.uid;
	pthread_mutex_lock(&stage->lock);
	st->st_ino = ino_of_stage(stage);
	set_time(st, stage->has_mtime ? stage->mtime_ns : stage->touched_ns);
	arena_bytes(fs->arena, stage->file, ARENA_BODY, &len);
	set_size(st, stage->raw_len ? stage->raw_len : len);
	pthread_mutex_unlock(&stage->lock);
}

int qnode_target(const struct qnode *node, char *out)
{
	const struct query *q = &node->query;

	assert(node->kind == QNODE_LINK && q->key_len > 0);
	return hits_target((struct vg_id){node->path, node->path_len},
		(struct vg_id){q->snap, q->snap_len},
		(struct vg_id){q->key, q->key_len}, out);
}

void attr_qnode(struct fs *fs, struct qnode *node, uint64_t len,
	int64_t mtime_ns, struct stat *st)
{
	struct op_attr owner = collection_attr(node->coll);
	char target[HITS_TARGET_MAX + 1];
	mode_t mode = S_IFREG | 0444;

	if (node->kind == QNODE_DIR || node->kind == QNODE_HITS)
		mode = S_IFDIR | 0555;
	else if (node->kind == QNODE_LINK)
		mode = S_IFLNK | 0777;
	else if (node->kind == QNODE_IF)
		mode = S_IFDIR | (owner.mode & 07777);
	else if (node->kind == QNODE_RUN)
		mode = S_IFREG | 0666;
	else if (node->kind == QNODE_IMPORT)
		mode = S_IFREG | (0222 & owner.mode);
	else if (node->query.src == QUERY_NAME)
		mode = S_IFREG | 0644;
	begin(st, mode, owner.uid, owner.gid);
	if (node->kind != QNODE_LINK && node->query.src == QUERY_NAME)
		st->st_uid = node->uid;
	st->st_ino = node->nodeid;
	if (node->kind == QNODE_LINK)
		len = (uint64_t)VG_MAX(qnode_target(node, target), 0);
	if (!S_ISDIR(mode))
		set_size(st, len);
	set_time(st, mtime_ns ? mtime_ns : fs->started_ns);
}
