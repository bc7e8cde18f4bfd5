/* SPDX-License-Identifier: Apache-2.0 */
/* ops_xattr.c: metadata as user.* attributes, and what the system tells. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <xxhash.h>

#include "fs/loop.h"
#include "fs/ops.h"
#include "src/config.h"
#include "src/element.h"
#include "src/json.h"

#define USER "user."
#define OURS "user.vecgridfs."
#define CONFIG OURS "config"
#define LIST_MAX 65536u /* Linux takes no longer list of names */

/* The key behind "user."; -EOPNOTSUPP or -ENODATA for other name spaces. */
static int key_of(const char *name, struct vg_id *key)
{
	if (strncmp(name, "security.", 9) == 0)
		return -ENODATA;
	if (strncmp(name, USER, 5) != 0 || !name[5])
		return -EOPNOTSUPP;
	*key = (struct vg_id){name + 5, (uint32_t)strlen(name + 5)};
	return 0;
}

static bool is_ours(const char *name)
{
	return strncmp(name, OURS, sizeof(OURS) - 1) == 0;
}

static void reply_value(
	fuse_req_t req, const char *bytes, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, bytes, len);
}

/* ---- get ---- */

static const char *state_of(const struct version *v)
{
	uint32_t state = atomic_load_explicit(
		&cell_slot(v->cell, v->slot)->state, memory_order_acquire);

	if (!cell_has_index(v->cell))
		return "flat";
	return state == SLOT_LINKED ? "linked" : "pending";
}

/* What the system tells of a record; by name only, never listed. */
static int system_value(
	const struct version *v, const char *word, char *out, size_t cap)
{
	const void *vec = version_vec(v);
	size_t len = version_vec_len(v);
	uint64_t hash;
	double sum = 0;
	int rc;

	if (strcmp(word, "version") == 0)
		return snprintf(out, cap, "%" PRIu64, v->begin);
	if (strcmp(word, "partition") == 0)
		return snprintf(out, cap, "%u", v->partition);
	if (strcmp(word, "owner") == 0)
		return snprintf(out, cap, "self");
	if (strcmp(word, "state") == 0)
		return snprintf(out, cap, "%s", state_of(v));
	if (strcmp(word, "crc") == 0) {
		hash = XXH3_64bits(vec, len);
		rc = cell_check_row(v->cell, v->slot);
		return rc < 0 ? rc : snprintf(out, cap, "%016" PRIx64, hash);
	}
	if (strcmp(word, "norm") != 0)
		return -ENODATA;
	for (uint32_t i = 0; i < v->cell->dim; i++) {
		double x = (double)element_get(v->cell->dtype, vec, i);

		sum += x * x;
	}
	rc = cell_check_row(v->cell, v->slot);
	return rc < 0 ? rc : snprintf(out, cap, "%.9g", sqrt(sum));
}

static int meta_value(
	struct meta meta, struct vg_id key, struct meta_buf *text)
{
	struct meta value;
	int rc = meta_get(meta, key, &value);

	return rc < 0 ? rc : meta_to_text(value, text);
}

/* The metadata of a record, or what a staged file has so far; borrowed. */
static struct meta meta_of(struct fs *fs, const struct ops_node *node)
{
	if (node->version)
		return version_meta(node->version);
	return stages_get_meta(&fs->stages, node->stage);
}

/* Text of an attribute into *text; owned by the caller also on error. */
static int get_value(fuse_req_t req, const struct ops_node *node,
	const char *name, struct meta_buf *text)
{
	struct fs *fs = fs_of(req);
	struct op_config config;
	struct vg_id key;
	int rc = key_of(name, &key), n = -ENODATA;

	if (rc < 0)
		return rc;
	if (!is_ours(name)) {
		if (!node->version && !node->stage)
			return -ENODATA;
		if (node->stage)
			pthread_mutex_lock(&node->stage->lock);
		rc = meta_value(meta_of(fs, node), key, text);
		if (node->stage)
			pthread_mutex_unlock(&node->stage->lock);
		return rc;
	}
	text->bytes = malloc(512);
	if (!text->bytes)
		return -ENOMEM;
	if (node->version) {
		n = system_value(node->version, name + sizeof(OURS) - 1,
			text->bytes, 512);
	} else if (node->ref.kind == NODE_COLL && strcmp(name, CONFIG) == 0) {
		config = collection_config(node->coll);
		n = config_format_json(&config, text->bytes, 512);
	} else if (node->qnode && strcmp(name, OURS "partial") == 0) {
		n = query_is_partial(node->qnode, fuse_req_ctx(req)->pid)
			    ? snprintf(text->bytes, 512, "1")
			    : -ENODATA;
	}
	if (n < 0)
		return n;
	text->len = (size_t)n;
	return 0;
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fs *fs = fs_of(req);
	struct meta_buf text = {0};
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == 0) {
		rc = get_value(req, &node, name, &text);
		ops_node_put(fs, &node);
	}
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
	else
		reply_value(req, text.bytes, text.len, size);
	free(text.bytes);
}

/* ---- list ---- */

struct names {
	char *bytes; /* LIST_MAX of them */
	size_t len;
};

/* Names over Linux's limits are readable in .meta/ only. */
static int add_name(void *ctx, struct vg_id key, struct meta value)
{
	struct names *n = ctx;

	(void)value;
	if (key.len == 0 || key.len > 250 || memchr(key.bytes, 0, key.len) ||
		n->len + key.len + 6 > LIST_MAX)
		return 0;
	memcpy(n->bytes + n->len, USER, 5);
	memcpy(n->bytes + n->len + 5, key.bytes, key.len);
	n->len += key.len + 6;
	n->bytes[n->len - 1] = '\0';
	return 0;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fs *fs = fs_of(req);
	struct names names = {.bytes = malloc(LIST_MAX)};
	struct ops_node node;
	int rc = names.bytes ? ops_node_get(fs, ino, &node) : -ENOMEM;

	if (rc < 0) {
		free(names.bytes);
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	if (node.stage)
		pthread_mutex_lock(&node.stage->lock);
	if (node.version || node.stage)
		meta_each(meta_of(fs, &node), add_name, &names);
	if (node.stage)
		pthread_mutex_unlock(&node.stage->lock);
	if (node.ref.kind == NODE_COLL) {
		memcpy(names.bytes, CONFIG, sizeof(CONFIG));
		names.len = sizeof(CONFIG);
	}
	ops_node_put(fs, &node);
	reply_value(req, names.bytes, names.len, size);
	free(names.bytes);
}

/* ---- set and remove ---- */

/* A stage's metadata is kept with it until its record begins. */
static int set_staged_locked(struct fs *fs, const struct ops_node *node,
	struct vg_id key, struct meta value, int flags)
{
	struct stage *st = node->stage;
	struct meta old = meta_of(fs, node), was;
	struct meta_buf next = {0};
	bool exists = meta_get(old, key, &was) == 0;
	int rc;

	/* Asked a second time: the first daemon has done it. */
	if (loop_unique().resent && exists == (value.json != NULL))
		flags = 0;
	if (loop_unique().resent && !exists && !value.json)
		return 0;

	if (exists && (flags & XATTR_CREATE))
		return -EEXIST;
	if (!exists && (!value.json || (flags & XATTR_REPLACE)))
		return -ENODATA;
	rc = meta_set(old, key, value, &next);
	if (rc == 0)
		rc = stages_put_meta(&fs->stages, st,
			(struct meta){next.bytes, (uint32_t)next.len});
	free(next.bytes);
	st->is_meta_set = st->is_meta_set || rc == 0;
	return rc;
}

/* The record that a stage has become, or is written in place of. */
static bool is_record_stage(struct stage *st)
{
	bool is_record;

	pthread_mutex_lock(&st->lock);
	is_record = st->area != STAGE_QUERY &&
		    (st->is_committed || (!st->is_new && !st->is_named));
	pthread_mutex_unlock(&st->lock);
	return is_record;
}

static int set_record(fuse_req_t req, const struct ops_node *node,
	struct vg_id key, struct meta_buf *value, int flags)
{
	struct fs_change *fc = fs_change_new(req, OP_SET, node->coll);
	struct stage_place place = {.coll = node->coll};
	char buf[VG_ID_MAX];
	struct vg_id id;

	if (!fc)
		return -ENOMEM;
	if (node->version) {
		id = version_id(node->version);
	} else {
		place = stage_place_of(node->stage);
		if (ops_place_id(&place, buf, &id) < 0) {
			fs_change_free(fc);
			return -ENODATA;
		}
	}
	fs_change_id(fc, id);
	ops_add_condition(&place, fc);
	memcpy(fc->key, key.bytes, key.len);
	fc->change.key = (struct vg_id){fc->key, key.len};
	fc->change.meta_mode =
		value->bytes ? CHANGE_META_SET : CHANGE_META_REMOVE;
	fc->change.meta = (struct meta){value->bytes, (uint32_t)value->len};
	fc->change.flags |= flags & XATTR_CREATE ? CHANGE_KEY_NEW : 0;
	fc->change.flags |= flags & XATTR_REPLACE ? CHANGE_KEY_OLD : 0;
	fc->bytes = value->bytes;
	value->bytes = NULL;
	fs_change_run(fc);
	return 0;
}

static int set_config(fuse_req_t req, const struct ops_node *node,
	const char *value, size_t size)
{
	struct fs_change *fc = fs_change_new(req, OP_CONFIG, node->coll);

	if (fc)
		fc->bytes = malloc(size + 1);
	if (!fc || !fc->bytes) {
		fs_change_free(fc);
		return -ENOMEM;
	}
	memcpy(fc->bytes, value, size);
	fc->change.meta = (struct meta){fc->bytes, (uint32_t)size};
	fs_change_run(fc);
	return 0;
}

static int do_setxattr(fuse_req_t req, const struct ops_node *node,
	const char *name, struct meta_buf *value, int flags)
{
	struct vg_id key;
	int rc = key_of(name, &key);

	if (rc < 0)
		return rc == -ENODATA ? -EOPNOTSUPP : rc;
	if (is_ours(name) || strcmp(name, "user.vecgridfs") == 0)
		return -EPERM;
	if (!node->version && !node->stage)
		return -EOPNOTSUPP;
	if (node->stage && tx_is_over(fs_of(req), node->stage))
		return -ESTALE;
	if (node->version || is_record_stage(node->stage))
		return set_record(req, node, key, value, flags);
	pthread_mutex_lock(&node->stage->lock);
	rc = set_staged_locked(fs_of(req), node, key,
		(struct meta){value->bytes, (uint32_t)value->len}, flags);
	pthread_mutex_unlock(&node->stage->lock);
	stages_save(&fs_of(req)->stages, node->stage);
	if (rc == 0)
		fuse_reply_err(req, 0);
	return rc;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	const char *value, size_t size, int flags)
{
	struct fs *fs = fs_of(req);
	struct meta_buf json = {0};
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == 0 && node.ref.kind == NODE_COLL && !strcmp(name, CONFIG)) {
		rc = set_config(req, &node, value, size);
		ops_node_put(fs, &node);
	} else if (rc == 0) {
		rc = meta_from_text(value, size, &json);
		if (rc == 0)
			rc = do_setxattr(req, &node, name, &json, flags);
		ops_node_put(fs, &node);
	}
	free(json.bytes);
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs *fs = fs_of(req);
	struct meta_buf none = {0};
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == 0) {
		rc = do_setxattr(req, &node, name, &none, 0);
		ops_node_put(fs, &node);
	}
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
}
