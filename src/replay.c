/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c: from the log to the state: what a restart does. */
#include <assert.h>
#include <errno.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/log.h"
#include "src/store_int.h"
#include "src/uring.h"
#include "src/wire.h"

/*
 * What comes from the disk is checked, not asserted: each op must fit the
 * state that the ops before it made, and be the next of its partitions. Then
 * it is applied as when it was committed.
 */

struct replay {
	struct store *s;
	struct moment *next;
	struct collection *coll; /* the last op's, referenced */
	struct store_report *rep;
	struct op_place places[OP_PLACES_MAX];
};

static bool is_live(const struct collection *c, struct vg_id id)
{
	uint32_t no = generation_find_newest(c->gen, id);

	return no != VERSION_NONE &&
	       atomic_load_explicit(&generation_version(c->gen, no)->end,
		       memory_order_relaxed) == VERSION_OPEN;
}

/* Whether an op stands in the history of another partition than its own. */
static bool is_misplaced(const struct op *op)
{
	if (op->type == OP_CLEAR)
		return false;
	if (op->type >= OP_CREATE)
		return op->places[0].partition != VG_PARTITION_CATALOGUE;
	if (op->places[0].partition != op_partition(op->id))
		return true;
	return op->type == OP_RENAME &&
	       op->places[1].partition != op_partition(op->id2);
}

/* Whether a clear has a place for each record that r says it ends. */
static bool clears_all(const struct collection *c, const struct op *op,
	const struct reservation *r)
{
	uint32_t n = atomic_load_explicit(&c->gen->n_versions, memory_order_relaxed);
	bool has[VG_SEQS] = {false};

	assert(op->type == OP_CLEAR && op->n_places <= OP_PLACES_MAX);
	for (uint32_t i = 0; i < op->n_places; i++)
		has[op->more[i].partition] = true;
	for (uint32_t no = 0; no < n; no++) {
		const struct version *v = generation_version(c->gen, no);

		if (!has[v->partition] &&
			(!r->ends || roaring_bitmap_contains(r->ends, no)) &&
			atomic_load_explicit(&v->end, memory_order_relaxed) ==
				VERSION_OPEN)
			return false;
	}
	return true;
}

/* Whether a vector goes in among those that are there: a new cell is for what
 * replaces the only one. */
static bool is_fitting(const struct collection *c, const struct op *op)
{
	uint64_t n = atomic_load(&c->n_live);

	assert(op->type == OP_PUT);
	if (vg_dim_of((enum vg_dtype)c->config.dtype, op->vec_len) == 0)
		return false;
	return n == 0 || (n == 1 && is_live(c, op->id)) ||
	       !generation_needs_cell(c->gen, op);
}

/* Names and uuids such as a manifest may say. */
static const char *misfit_bytes(struct replay *rp, const struct op *op)
{
	static const uint8_t root[16];
	const uint8_t *uuid = op->type == OP_CREATE ? op->uuid
			      : op->type == OP_SNAP ? op->snap
						    : NULL;
	struct collection *other = NULL;
	bool is_taken;

	if (op->name.len > 0 && (memchr(op->name.bytes, '/', op->name.len) ||
					memchr(op->name.bytes, '\0',
						op->name.len)))
		return "its name is none";
	if (op->target.len > 0 &&
		memchr(op->target.bytes, '\0', op->target.len))
		return "its name is none";
	if (uuid)
		other = catalogue_find_uuid(&rp->s->catalogue, uuid);
	is_taken = other || (uuid && memcmp(uuid, root, 16) == 0);
	collection_unref(other);
	return is_taken ? "its uuid is another's" : NULL;
}

static bool is_filled(const struct collection *c)
{
	return atomic_load(&c->n_live) > 0 || c->n_snaps > 0;
}

/* Whether a change of the catalogue meets the names that it needs. */
static const char *misfit_name(struct replay *rp, const struct op *op)
{
	struct entry_info info = {0};
	bool exists, is_taken;

	if (op->type == OP_DROP)
		return is_filled(rp->coll) ? "it has records or snapshots"
					   : NULL;
	if (op->type != OP_CREATE && op->type != OP_MOVE &&
		op->type != OP_ALIAS && op->type != OP_UNALIAS)
		return NULL;
	exists = catalogue_get(&rp->s->catalogue, op->name, &info) == 0;
	is_taken = info.coll && info.coll != rp->coll && is_filled(info.coll);
	collection_unref(info.coll);
	if (exists && op->type == OP_CREATE)
		return "its name exists";
	if (!exists && op->type == OP_UNALIAS)
		return "its name does not exist";
	return is_taken ? "its name is a collection that is not empty" : NULL;
}

/* Whether a snapshot is one that could be taken here, or is there. */
static const char *misfit_snap(struct replay *rp, const struct op *op)
{
	struct collection *snap = collection_find_snap(rp->coll, op->name);
	bool is_known = snap != NULL;

	assert(op->type == OP_SNAP || op->type == OP_UNSNAP);
	collection_unref(snap);
	if (op->type == OP_UNSNAP)
		return is_known ? NULL : "its snapshot does not exist";
	for (uint32_t i = 0; i < op->n_seen; i++)
		if (op->more[i].seq > rp->next->seq[op->more[i].partition])
			return "its snapshot shows what is not there";
	return is_known ? "its snapshot exists" : NULL;
}

/* Whether an op of the log can be applied to what the ops before it made. */
static const char *misfit(struct replay *rp, const struct op *op)
{
	static const uint8_t root[16];
	struct collection *c = rp->coll;
	const char *why;

	if (c && atomic_load(&c->is_dropped))
		return "its collection was removed";
	if (c && c->of)
		return "its collection is a snapshot";
	if (op->type != OP_CREATE && op->type != OP_ALIAS &&
		op->type != OP_UNALIAS && !c &&
		!(op->type == OP_ATTR && memcmp(op->uuid, root, 16) == 0))
		return "its collection does not exist";
	if ((op->type == OP_SET || op->type == OP_DEL ||
		    op->type == OP_RENAME) &&
		!is_live(c, op->id))
		return "its record does not exist";
	if (op->type == OP_PUT && !is_fitting(c, op))
		return "its vector does not fit to those that are there";
	if (is_misplaced(op))
		return "it is in another partition than its id";
	why = op->type == OP_SNAP || op->type == OP_UNSNAP
		      ? misfit_snap(rp, op)
		      : misfit_name(rp, op);
	return why ? why : misfit_bytes(rp, op);
}

/* Every partition's ops come in order, without a gap. */
static const char *advance(struct replay *rp, const struct op *op)
{
	const struct op_place *at = op->type == OP_CLEAR ? op->more
							 : op->places;

	assert(op->n_places <= OP_PLACES_MAX);
	for (uint32_t i = 0; i < op->n_places; i++)
		if (at[i].seq != ++rp->next->seq[at[i].partition])
			return "a change before it is missing";
	return NULL;
}

/* Whether op changes a collection that a recovery could not load. */
static bool is_left_out(const struct replay *rp, const struct op *op)
{
	static const uint8_t root[16];

	return rp->s->is_recovery && rp->s->n_losses > 0 && !rp->coll &&
	       op->type != OP_CREATE && op->type != OP_ALIAS &&
	       op->type != OP_UNALIAS && memcmp(op->uuid, root, 16) != 0;
}

static int replay_op(struct replay *rp, const struct op *op, const char **why)
{
	static const uint8_t none[16];
	struct reservation r;
	int rc;

	if (!rp->coll || memcmp(rp->coll->uuid, op->uuid, 16) != 0) {
		collection_unref(rp->coll);
		rp->coll = memcmp(op->uuid, none, 16) == 0
				   ? NULL
				   : catalogue_find_uuid(
					     &rp->s->catalogue, op->uuid);
	}
	*why = is_left_out(rp, op) ? NULL : misfit(rp, op);
	if (!*why)
		*why = advance(rp, op);
	if (*why)
		return -VG_ECORRUPT;
	if (is_left_out(rp, op))
		return 0;
	rc = group_reserve(rp->s, rp->coll, op, &r);
	if (rc == -EINVAL && op->type == OP_CLEAR) {
		*why = "its filter is none";
		return -VG_ECORRUPT;
	}
	if (rc < 0)
		return rc;
	if (op->type == OP_CLEAR && !clears_all(rp->coll, op, &r)) {
		*why = "a record that it ends has no place in it";
		generation_unreserve(rp->coll->gen, &r);
		return -VG_ECORRUPT;
	}
	assert(op->type != OP_PUT || r.slot < r.cell->n_reserved);
	store_apply(rp->s, rp->coll, op, &r);
	origins_add(&rp->s->origins, &op->origin);
	store_published(rp->coll, op);
	rp->rep->replayed++;
	return 0;
}

static int replay_body(
	struct replay *rp, const void *body, size_t len, const char **why)
{
	struct op op;
	int rc = op_decode(body, len, rp->places, &op);

	if (rc == -VG_ECORRUPT)
		*why = "it is not a change";
	return rc < 0 ? rc : replay_op(rp, &op, why);
}

/* The changes of an atomic commit. */
static int replay_bodies(
	struct replay *rp, const struct wal_frame *frame, const char **why)
{
	struct wire_in in = wire_in_init(frame->payload, frame->len);
	uint32_t n = wire_get_u32(&in), len;
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		const void *body = wire_get_str(
			&in, 1, WIRE_PAYLOAD_MAX, &len);

		*why = "it is not a change";
		rc = body ? replay_body(rp, body, len, why) : -VG_ECORRUPT;
	}
	if (rc == 0 && (in.failed || in.left > 0)) {
		*why = "it is not a change";
		rc = -VG_ECORRUPT;
	}
	return rc;
}

static int replay_frame(void *ctx, const struct wal_frame *frame)
{
	struct replay *rp = ctx;
	const char *why = "it is of a later version of vecgridfs";
	int rc = -VG_EFORMAT;

	if (frame->type == WAL_OP)
		rc = replay_body(rp, frame->payload, frame->len, &why);
	else if (frame->type == WAL_OPS)
		rc = replay_bodies(rp, frame, &why);
	atomic_fetch_add_explicit(
		&rp->s->checkpoint.owed, frame->len, memory_order_relaxed);
	if (rc == -VG_ECORRUPT || rc == -VG_EFORMAT)
		snprintf(rp->rep->error, sizeof(rp->rep->error),
			"the log cannot be applied at segment %llu offset "
			"%llu: %s; restore the data directory from a copy",
			(unsigned long long)frame->segment,
			(unsigned long long)frame->offset, why);
	return rc;
}

int replay_log(struct store *s, const struct store_config *cfg,
	const struct wal_place *from, struct store_report *rep)
{
	struct replay rp = {.s = s, .rep = rep};
	struct wal_config wc = {.dirfd = s->waldirfd,
		.from = *from,
		.segment_size = cfg->segment_size,
		.no_uring = cfg->no_uring,
		.reach = s->checkpoint.reach,
		.is_copy = s->identity_state != IDENTITY_SAME,
		.is_read_only = s->is_recovery,
		.takes_damaged = s->is_recovery,
		.owed = &s->checkpoint.owed,
		.io = cfg->io};
	struct wal_report wr;
	int rc = moment_new(&s->moments, &rp.next);

	if (rc < 0)
		return rc;
	if (cfg->try_uring && !cfg->no_uring && !s->is_recovery)
		wc.no_uring = !uring_is_faster(s->dirfd);
	memcpy(wc.uuid, s->uuid, sizeof(wc.uuid));
	rc = wal_open(&wc, replay_frame, &rp, &wr, &s->wal);
	if (rc < 0 && wr.error[0])
		snprintf(rep->error, sizeof(rep->error), "%s", wr.error);
	rep->cut_len = wr.cut_len;
	rep->is_begun = wr.is_begun;
	rep->uring = s->uring = wr.uring;
	collection_unref(rp.coll);
	if (rc < 0) {
		moment_unref(&s->moments, rp.next);
		return rc;
	}
	if (wr.is_begun)
		log_warn("log: this copy ends where segment %llu was begun: "
			 "right if changes went on while it was made; if it "
			 "was interrupted, copy again",
			(unsigned long long)wr.last_segment + 1);
	if (wr.is_damaged)
		store_note_loss(s, "wal",
			rep->error[0] ? rep->error : wr.error);
	rep->error[0] = '\0';
	if (wr.cut_len && !s->is_recovery)
		log_warn("log: cut a torn tail: segment=%llu offset=%llu "
			 "bytes=%llu",
			(unsigned long long)wr.cut_segment,
			(unsigned long long)wr.cut_offset,
			(unsigned long long)wr.cut_len);
	moment_publish(&s->moments, rp.next);
	return 0;
}
