/* SPDX-License-Identifier: Apache-2.0 */
/* group_add.c: a change becomes an op of the group: reserved, placed, logged. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"

static bool is_touched(const struct batch *b, uint64_t hash)
{
	for (uint32_t i = (uint32_t)hash % TOUCHED;; i = (i + 1) % TOUCHED) {
		if (b->round_of[i] != b->round)
			return false;
		if (b->touched[i] == hash)
			return true;
	}
}

static void touch(struct batch *b, uint64_t hash)
{
	uint32_t i = (uint32_t)hash % TOUCHED;

	while (b->round_of[i] == b->round && b->touched[i] != hash)
		i = (i + 1) % TOUCHED;
	b->touched[i] = hash;
	b->round_of[i] = b->round;
}

bool group_conflicts(const struct batch *b, const struct change *ch)
{
	uint64_t hash[2];
	unsigned n = plan_touched(ch, hash);

	if (b->n == 0)
		return false;
	if (b->is_alone || b->n == BATCH_MAX || b->bytes >= BATCH_BYTES ||
		plan_is_alone(ch))
		return true;
	for (unsigned i = 0; i < n; i++)
		if (is_touched(b, hash[i]))
			return true;
	return false;
}

int group_reserve(struct store *s, struct collection *coll,
	const struct op *op, struct reservation *r)
{
	int rc = 0;

	*r = (struct reservation){.version = VERSION_NONE};
	if (op->type == OP_PUT && generation_needs_cell(coll->gen, op) &&
		atomic_load_explicit(
			&coll->gen->n_snaps, memory_order_relaxed))
		rc = store_renew(s, coll);
	if (rc < 0)
		return rc;
	if (op->type <= OP_CLEAR)
		return generation_reserve(coll->gen, op, r);
	return catalogue_reserve(&s->catalogue, op, r);
}

void group_unreserve(struct store *s, struct change *ch)
{
	if (ch->type <= OP_CLEAR)
		generation_unreserve(ch->coll->gen, &ch->r);
	catalogue_unreserve(&s->catalogue, &ch->r);
}

/* Gives the op its places: the next seq of each partition. */
static void place(struct store *s, struct change *ch)
{
	uint64_t *seq = s->batch.next->seq;
	struct op *op = &ch->op;

	assert(op->n_places > 0 && op->n_places <= OP_PLACES_MAX);
	if (op->type == OP_CLEAR) {
		for (uint32_t i = 0; i < op->n_places; i++)
			ch->more[i].seq = ++seq[ch->more[i].partition];
		return;
	}
	op->places[0].partition = op->type >= OP_CREATE
					  ? VG_PARTITION_CATALOGUE
					  : op_partition(op->id);
	op->places[0].seq = ++seq[op->places[0].partition];
	if (op->type == OP_RENAME) {
		op->places[1].partition = op_partition(op->id2);
		op->places[1].seq = ++seq[op->places[1].partition];
	}
}

static void unplace(struct store *s, const struct op *op)
{
	const struct op_place *at = op->type == OP_CLEAR ? op->more
							 : op->places;

	for (uint32_t i = 0; i < op->n_places; i++)
		s->batch.next->seq[at[i].partition]--;
}

static int log_op(struct store *s, const struct op *op)
{
	struct batch *b = &s->batch;
	size_t need = op_size(op), len;
	struct wal_part part;
	bool frees = op->type == OP_DEL || op->type == OP_CLEAR ||
		     op->type == OP_DROP || op->type == OP_UNSNAP;

	if (b->buf_cap < need) {
		uint8_t *buf = realloc(b->buf, need);

		if (!buf)
			return -ENOMEM;
		b->buf = buf;
		b->buf_cap = need;
	}
	len = op_encode(op, b->buf, b->buf_cap);
	assert(len == need);
	part = (struct wal_part){.bytes = b->buf, .len = len};
	b->bytes += len;
	return wal_append(s->wal, WAL_OP, &part, 1, frees);
}

int group_prepare(struct store *s, struct change *ch)
{
	struct batch *b = &s->batch;
	int rc = store_read_only(s) ? -EROFS : plan_change(s, ch);

	if (rc)
		return rc;
	if (!b->next)
		rc = moment_new(&s->moments, &b->next);
	if (rc == 0)
		rc = group_reserve(s, ch->coll, &ch->op, &ch->r);
	if (rc == 0)
		place(s, ch);
	return rc;
}

void group_unprepare(struct store *s, struct change *ch)
{
	unplace(s, &ch->op);
	group_unreserve(s, ch);
}

void group_enter(struct store *s, struct change *ch)
{
	struct batch *b = &s->batch;
	uint64_t hash[2];
	unsigned n = plan_touched(ch, hash);

	assert(b->n < BATCH_MAX && !b->is_alone);
	for (unsigned i = 0; i < n; i++)
		touch(b, hash[i]);
	b->change[b->n++] = ch;
}

int group_add(struct store *s, struct change *ch)
{
	int rc = 0;

	/* A repeated request that was applied needs no disk any more. */
	if (ch->is_repeat && ch->origin.session &&
		origins_find(&s->origins, &ch->origin, &rc))
		return rc;
	rc = group_prepare(s, ch);
	if (rc)
		return rc;
	rc = log_op(s, &ch->op);
	if (rc < 0) {
		group_unprepare(s, ch);
		if (rc == -EROFS)
			store_fail(s, rc, "writing the log");
		return rc;
	}
	group_enter(s, ch);
	s->batch.is_alone = plan_is_alone(ch);
	return 0;
}
