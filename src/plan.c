/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c: from what is asked to what will be: changes checked, ops made. */
#include <assert.h>
#include <errno.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "src/config.h"
#include "src/element.h"
#include "src/match.h"
#include "src/store_int.h"

/* The only writer is who calls: the present does not move under a plan. */

static int refuse(struct change *ch, int rc, const char *why)
{
	snprintf(ch->why, sizeof(ch->why), "%s", why);
	return rc;
}

static struct version *find_live(const struct collection *c, struct vg_id id)
{
	uint32_t no = generation_find_newest(c->gen, id);
	struct version *v;

	if (no == VERSION_NONE)
		return NULL;
	v = generation_version(c->gen, no);
	return atomic_load_explicit(&v->end, memory_order_relaxed) ==
			       VERSION_OPEN
		       ? v
		       : NULL;
}

uint64_t plan_begin_of(const struct collection *c, struct vg_id id)
{
	const struct version *v = find_live(c, id);

	return v ? v->begin : 0;
}

static uint64_t n_live(const struct collection *c)
{
	return atomic_load_explicit(&c->n_live, memory_order_relaxed);
}

/* What the metadata will be: into op->meta, which borrows from ch. */
static int plan_meta(struct change *ch, const struct version *old)
{
	struct meta was = old ? version_meta(old) : (struct meta){0};
	struct meta value;
	int rc = 0;

	switch (ch->meta_mode) {
	case CHANGE_META_KEEP:
		ch->op.meta = was.json;
		ch->op.meta_len = was.len;
		return 0;
	case CHANGE_META_REPLACE:
		/* Merging into nothing drops nulls. */
		rc = meta_merge((struct meta){0}, ch->meta, &ch->meta_buf);
		break;
	case CHANGE_META_MERGE:
		rc = meta_merge(was, ch->meta, &ch->meta_buf);
		break;
	case CHANGE_META_SET:
	case CHANGE_META_REMOVE:
		rc = meta_get(was, ch->key, &value);
		if (rc == 0 && (ch->flags & CHANGE_KEY_NEW))
			return -EEXIST;
		if (rc == -ENODATA && (ch->flags & CHANGE_KEY_OLD))
			return -ENODATA;
		value = ch->meta_mode == CHANGE_META_SET ? ch->meta
							 : (struct meta){0};
		rc = meta_set(was, ch->key, value, &ch->meta_buf);
		break;
	}
	if (rc == -EFBIG)
		return refuse(ch, rc, "metadata is limited to 1 MiB a record");
	if (rc < 0)
		return rc;
	ch->op.meta = ch->meta_buf.bytes;
	ch->op.meta_len = (uint32_t)ch->meta_buf.len;
	return 0;
}

/* Whether dim is still open: nobody wrote it, and there is no record, or only
 * the one that its writer is still writing. */
static bool can_infer(const struct change *ch, const struct version *old)
{
	const struct collection *c = ch->coll;

	if (c->config.dim == 0)
		return true;
	if (!c->config.dim_source)
		return false;
	return n_live(c) == 0 ||
	       (n_live(c) == 1 && old && (ch->flags & CHANGE_REINFER));
}

static int plan_put(struct change *ch)
{
	const struct op_config *config = &ch->coll->config;
	struct version *old = find_live(ch->coll, ch->id);

	assert(ch->dim > 0 && ch->dim <= VG_DIM_MAX);
	if (!ch->dtype)
		ch->dtype = VG_F32;
	if (old && (ch->flags & CHANGE_EXCL))
		return refuse(ch, -EEXIST, "the id exists already");
	if (!old && (ch->flags & CHANGE_MUST_EXIST))
		return refuse(ch, -ENOENT, "the id was deleted meanwhile");
	if (ch->dim != config->dim && !can_infer(ch, old)) {
		snprintf(ch->why, sizeof(ch->why),
			"the vector has %u dimensions, the collection %u",
			ch->dim, config->dim);
		return -EINVAL;
	}
	if (ch->dtype != config->dtype)
		return refuse(ch, -EINVAL,
			"the collection's dtype was changed while the vector "
			"was on its way: write it again");
	if (config->metric == VG_COSINE &&
		element_is_zero(ch->dtype, ch->vec, ch->dim))
		return refuse(ch, -EINVAL,
			"a zero vector has no direction: cosine cannot "
			"compare it");
	ch->op.vec = ch->vec;
	ch->op.vec_len = (uint32_t)vg_row_len(ch->dtype, ch->dim);
	ch->op.source = ch->source;
	ch->op.body_len = ch->body_len;
	return plan_meta(ch, old);
}

static int plan_set(struct change *ch)
{
	struct version *old = find_live(ch->coll, ch->id);

	assert(ch->id.len > 0 && ch->id.len <= VG_ID_MAX);
	if (!old)
		return refuse(ch, -ENOENT, "there is no such id");
	if (!(ch->flags & CHANGE_TIME))
		ch->op.time_ns = old->mtime_ns;
	return plan_meta(ch, old);
}

static int plan_rename(struct change *ch)
{
	struct version *from = find_live(ch->coll, ch->id);
	struct version *to = find_live(ch->coll, ch->id2);

	if (!from)
		return refuse(ch, -ENOENT, "there is no such id");
	if (to && (ch->flags & CHANGE_NOREPLACE))
		return refuse(ch, -EEXIST, "the new id exists already");
	if (from == to)
		return 1;
	return plan_meta(ch, from);
}

static bool is_all(struct meta text)
{
	while (text.len > 0 && memchr(" \t\r\n", text.json[text.len - 1], 4))
		text.len--;
	return text.len == 3 && memcmp(text.json, "all", 3) == 0;
}

/* What is to be cleared, as it was written: set is NULL for all of it. The op
 * gets the filter's one spelling. */
static int plan_ends(struct change *ch, roaring_bitmap_t **set)
{
	struct filter_why why = {0};
	struct filter *filter = NULL;
	int rc;

	*set = NULL;
	if (ch->meta.len == 0 || is_all(ch->meta))
		return 0;
	rc = filter_parse_where(ch->meta.json, ch->meta.len, &why, &filter);
	if (rc == -EINVAL)
		snprintf(ch->why, sizeof(ch->why),
			"write `all`, or a filter: %.160s", why.sentence);
	if (rc == 0)
		rc = filter_format(filter, &ch->meta_buf);
	if (rc == 0)
		rc = match_generation(ch->coll->gen, filter, set);
	filter_free(filter);
	ch->op.meta = ch->meta_buf.bytes;
	ch->op.meta_len = (uint32_t)ch->meta_buf.len;
	return rc;
}

static int plan_clear(struct store *s, struct change *ch)
{
	const struct generation *g = ch->coll->gen;
	uint32_t n = atomic_load_explicit(&g->n_versions, memory_order_relaxed);
	bool has[VG_PARTITIONS] = {false};
	roaring_bitmap_t *set;
	uint32_t n_places = 0;
	int rc = plan_ends(ch, &set);

	(void)s;
	if (rc < 0)
		return rc;
	for (uint32_t no = 0; no < n; no++) {
		const struct version *v = generation_version(g, no);

		if ((!set || roaring_bitmap_contains(set, no)) &&
			atomic_load_explicit(&v->end, memory_order_relaxed) ==
				VERSION_OPEN)
			has[v->partition] = true;
	}
	if (set)
		roaring_bitmap_free(set);
	ch->more = malloc(VG_PARTITIONS * sizeof(*ch->more));
	if (!ch->more)
		return -ENOMEM;
	for (uint16_t p = 0; p < VG_PARTITIONS; p++)
		if (has[p])
			ch->more[n_places++] = (struct op_place){.partition = p};
	ch->op.n_places = n_places;
	ch->op.more = ch->more;
	return n_places > 0 ? 0 : 1; /* nothing is meant */
}

/* A collection with snapshots is not empty: names them. */
static int refuse_snaps(struct change *ch, struct collection *c)
{
	struct collection *snap;
	size_t len;

	if (c->n_snaps == 0)
		return 0;
	len = (size_t)snprintf(ch->why, sizeof(ch->why),
		"it has snapshots, which rmdir .snap/NAME removes:");
	for (uint32_t i = 0; (snap = collection_get_snap(c, i)); i++) {
		if (len + snap->name_len + 8 < sizeof(ch->why))
			len += (size_t)snprintf(ch->why + len,
				sizeof(ch->why) - len, " %s", snap->name);
		else if (ch->why[len - 1] != '.')
			len += (size_t)snprintf(ch->why + len,
				sizeof(ch->why) - len, " ...");
		collection_unref(snap);
	}
	return -ENOTEMPTY;
}

/* Whether the name is taken by something that cannot be replaced. */
static int plan_name(struct store *s, struct change *ch, bool is_collection)
{
	struct entry_info *info = malloc(sizeof(*info));
	int rc = 0;

	if (!info)
		return -ENOMEM;
	if (catalogue_get(&s->catalogue, ch->name, info) < 0)
		goto free_info;
	if (ch->type == OP_CREATE || (ch->flags & CHANGE_NOREPLACE))
		rc = refuse(ch, -EEXIST, "the name exists already");
	else if (is_collection && !info->coll)
		rc = refuse(ch, -ENOTDIR, "the name is a link");
	else if (!is_collection && info->coll)
		rc = refuse(ch, -EISDIR, "the name is a collection");
	else if (info->coll == ch->coll && is_collection)
		rc = 1;
	else if (info->coll && n_live(info->coll))
		rc = refuse(ch, -ENOTEMPTY,
			"the collection of that name has vectors");
	else if (info->coll)
		rc = refuse_snaps(ch, info->coll);
	collection_unref(info->coll);
free_info:
	free(info);
	return rc;
}

static int plan_create(struct store *s, struct change *ch)
{
	int rc = plan_name(s, ch, true);

	if (rc < 0)
		return rc;
	if (getrandom(ch->op.uuid, sizeof(ch->op.uuid), 0) !=
		(ssize_t)sizeof(ch->op.uuid))
		return -EIO;
	ch->op.config = config_default();
	ch->op.attr = ch->attr;
	return 0;
}

static int plan_unalias(struct store *s, struct change *ch)
{
	struct entry_info *info = malloc(sizeof(*info));
	int rc;

	if (!info)
		return -ENOMEM;
	rc = catalogue_get(&s->catalogue, ch->name, info);
	if (rc == 0 && info->coll) {
		collection_unref(info->coll);
		rc = -EISDIR;
	}
	free(info);
	return rc;
}

static int plan_config(struct change *ch)
{
	bool is_filled = n_live(ch->coll) > 0;
	int item;

	ch->op.config = collection_config(ch->coll);
	memset(ch->op.config.tuned, 0, sizeof(ch->op.config.tuned));
	if (ch->id.len == 0)
		return config_parse_json(
			&ch->op.config, ch->meta, is_filled, ch->why);
	item = config_find(ch->id);
	if (item < 0)
		return item;
	return config_parse(&ch->op.config, (enum config_item)item, ch->meta,
		is_filled, ch->why);
}

static int plan_attr(struct store *s, struct change *ch)
{
	ch->op.attr = ch->coll ? ch->coll->attr : s->catalogue.attr;
	if (ch->flags & CHANGE_MODE)
		ch->op.attr.mode = ch->attr.mode;
	if (ch->flags & CHANGE_UID)
		ch->op.attr.uid = ch->attr.uid;
	if (ch->flags & CHANGE_GID)
		ch->op.attr.gid = ch->attr.gid;
	if (!(ch->flags & CHANGE_TIME))
		ch->op.time_ns = ch->coll ? ch->coll->mtime_ns
					  : s->catalogue.mtime_ns;
	return 0;
}

static int plan_snap(struct store *s, struct change *ch)
{
	struct collection *snap = collection_find_snap(ch->coll, ch->name);
	struct moment *now;

	collection_unref(snap);
	if (snap)
		return refuse(ch, -EEXIST, "the snapshot exists already");
	if (getrandom(ch->op.snap, sizeof(ch->op.snap), 0) !=
		(ssize_t)sizeof(ch->op.snap))
		return -EIO;
	ch->more = malloc(VG_PARTITIONS * sizeof(*ch->more));
	if (!ch->more)
		return -ENOMEM;
	now = moment_get(&s->moments);
	for (uint16_t p = 0; p < VG_PARTITIONS; p++)
		if (now->seq[p])
			ch->more[ch->op.n_seen++] =
				(struct op_place){p, now->seq[p]};
	moment_unref(&s->moments, now);
	ch->op.more = ch->more;
	return 0;
}

static int plan_unsnap(struct change *ch)
{
	struct collection *snap = collection_find_snap(ch->coll, ch->name);

	collection_unref(snap);
	return snap ? 0 : refuse(ch, -ENOENT, "there is no such snapshot");
}

static int plan_by_type(struct store *s, struct change *ch)
{
	switch (ch->type) {
	case OP_PUT:
		return plan_put(ch);
	case OP_SET:
		return plan_set(ch);
	case OP_DEL:
		return find_live(ch->coll, ch->id)
			       ? 0
			       : refuse(ch, -ENOENT, "there is no such id");
	case OP_RENAME:
		return plan_rename(ch);
	case OP_CLEAR:
		return plan_clear(s, ch);
	case OP_CREATE:
		return plan_create(s, ch);
	case OP_DROP:
		return n_live(ch->coll)
			       ? refuse(ch, -ENOTEMPTY,
					 "the collection has vectors")
			       : refuse_snaps(ch, ch->coll);
	case OP_MOVE:
		return plan_name(s, ch, true);
	case OP_ALIAS:
		return plan_name(s, ch, false);
	case OP_UNALIAS:
		return plan_unalias(s, ch);
	case OP_CONFIG:
		return plan_config(ch);
	case OP_ATTR:
		return plan_attr(s, ch);
	case OP_SNAP:
		return plan_snap(s, ch);
	case OP_UNSNAP:
		return plan_unsnap(ch);
	}
	assert(false && "a type");
	return -EINVAL;
}

int plan_change(struct store *s, struct change *ch)
{
	struct timespec ts;

	assert(ch->coll || ch->type >= OP_CREATE);
	if (ch->coll && atomic_load(&ch->coll->is_dropped))
		return refuse(ch, -ENOENT, "the collection was removed");
	if (ch->coll && ch->coll->of)
		return refuse(ch, -EROFS, "a snapshot cannot be changed");
	if ((ch->flags & CHANGE_IF) &&
		plan_begin_of(ch->coll, ch->id) != ch->if_begin)
		return refuse(ch, -ESTALE, "the record was changed meanwhile");
	clock_gettime(CLOCK_REALTIME, &ts);
	ch->op = (struct op){
		.type = ch->type,
		.epoch = 1,
		.commit_ns = ts.tv_sec * 1000000000LL + ts.tv_nsec,
		.origin = ch->origin,
		.n_places = ch->type == OP_RENAME ? 2 : 1,
		.id = ch->type == OP_CONFIG ? (struct vg_id){0} : ch->id,
		.id2 = ch->id2,
		.name = ch->name,
		.target = ch->target,
	};
	ch->op.time_ns = (ch->flags & CHANGE_TIME) ? ch->time_ns
						   : ch->op.commit_ns;
	if (ch->coll)
		memcpy(ch->op.uuid, ch->coll->uuid, sizeof(ch->op.uuid));
	return plan_by_type(s, ch);
}

bool plan_is_alone(const struct change *ch)
{
	const struct cell *cell;

	if (ch->type != OP_PUT)
		return ch->type >= OP_CLEAR;
	/* A first vector, or one of another dim, may open a new cell. */
	cell = atomic_load_explicit(&ch->coll->gen->cell, memory_order_relaxed);
	return !cell || cell->dim != ch->dim ||
	       cell->dtype != ch->coll->config.dtype || n_live(ch->coll) == 0;
}

unsigned plan_touched(const struct change *ch, uint64_t out[2])
{
	uint64_t salt = ch->coll ? ch->coll->no * 0x9e3779b97f4a7c15u : 0;
	unsigned n = 0;

	if (ch->type < OP_PUT || ch->type >= OP_CLEAR)
		return 0;
	out[n++] = XXH3_64bits(ch->id.bytes, ch->id.len) ^ salt;
	if (ch->type == OP_RENAME)
		out[n++] = XXH3_64bits(ch->id2.bytes, ch->id2.len) ^ salt;
	return n;
}
