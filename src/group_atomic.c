/* SPDX-License-Identifier: Apache-2.0 */
/* group_atomic.c: changes that go in together or not at all. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "src/wire.h"

/*
 * An atomic commit is a group of its own: what it read and what it changes are
 * looked at against a present that does not move, its ops are one frame of
 * the log, which is whole or is not there, and one moment shows them.
 *
 * The payload of WAL_OPS: u32 n, then for each op: u32 length, its body.
 */

static int refuse(struct commit *commit, int rc, const char *why)
{
	snprintf(commit->why, sizeof(commit->why), "%s", why);
	return rc;
}

static int refuse_stale(struct commit *commit, struct vg_id id)
{
	snprintf(commit->why, sizeof(commit->why),
		"'%.*s' was changed meanwhile: nothing was applied",
		(int)VG_MIN(id.len, 100u), id.bytes);
	return -ESTALE;
}

/* Which one it was that could not be made. */
static int refuse_change(struct commit *commit, int rc, const struct change *ch)
{
	snprintf(commit->why, sizeof(commit->why), "'%.*s': %.120s",
		(int)VG_MIN(ch->id.len, 60u), ch->id.bytes, ch->why);
	return rc;
}

/* Whether everything that was read is what it was. */
static int check_reads(struct commit *commit)
{
	for (uint32_t i = 0; i < commit->n_reads; i++) {
		const struct commit_read *rd = &commit->reads[i];

		assert(rd->coll && !rd->coll->of);
		if (plan_begin_of(rd->coll, rd->id) != rd->begin)
			return refuse_stale(commit, rd->id);
	}
	return 0;
}

/* Takes back the first n, which were prepared. */
static void unprepare(struct store *s, struct commit *commit, uint32_t n)
{
	while (n > 0)
		group_unprepare(s, &commit->changes[--n]);
}

/* All, or none: then with the error of the one that could not be. */
static int prepare(struct store *s, struct commit *commit)
{
	uint32_t dim = 0;
	int rc = 0;

	for (uint32_t i = 0; i < commit->n; i++) {
		struct change *ch = &commit->changes[i];

		assert(ch->type == OP_PUT || ch->type == OP_SET ||
			ch->type == OP_DEL);
		assert(ch->coll == commit->changes[0].coll);
		rc = 0;
		if (ch->type == OP_PUT && dim && ch->dim != dim)
			rc = refuse(commit, -EINVAL,
				"its vectors have different dimensions");
		if (rc == 0)
			rc = group_prepare(s, ch);
		assert(rc <= 0); /* there is always something to do */
		if (rc < 0) {
			if (rc == -ESTALE)
				refuse_stale(commit, ch->id);
			else if (ch->why[0])
				refuse_change(commit, rc, ch);
			unprepare(s, commit, i);
			return rc;
		}
		dim = ch->type == OP_PUT ? ch->dim : dim;
	}
	return 0;
}

/* The frame's payload, owned by the caller. */
static int encode(const struct commit *commit, uint8_t **out, size_t *len)
{
	struct wire_out w = wire_out_init(NULL, 0);
	size_t need = 4;
	uint8_t *buf;

	for (uint32_t i = 0; i < commit->n; i++)
		need += 4 + op_size(&commit->changes[i].op);
	if (need > WIRE_PAYLOAD_MAX)
		return -EFBIG;
	buf = malloc(need);
	if (!buf)
		return -ENOMEM;
	w = wire_out_init(buf, need);
	wire_put_u32(&w, commit->n);
	for (uint32_t i = 0; i < commit->n; i++) {
		size_t size = op_size(&commit->changes[i].op), at = w.len + 4;

		wire_put_u32(&w, (uint32_t)size);
		op_encode(&commit->changes[i].op, buf + at, size);
		w.len += size;
	}
	assert(!w.failed && w.len == need);
	*out = buf;
	*len = need;
	return 0;
}

static int append(struct store *s, struct commit *commit)
{
	struct wal_part part;
	uint8_t *bytes;
	bool frees = true;
	int rc = encode(commit, &bytes, &part.len);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < commit->n; i++)
		frees = frees && commit->changes[i].type == OP_DEL;
	part.bytes = bytes;
	rc = wal_append(s->wal, WAL_OPS, &part, 1, frees);
	s->batch.bytes += part.len;
	free(bytes);
	return rc;
}

int group_add_all(struct store *s, struct commit *commit)
{
	struct change *first = commit->changes;
	int rc = 0;

	assert(s->batch.n == 0 && commit->n <= COMMIT_ATOMIC_MAX);
	commit->why[0] = '\0';
	if (commit->n > 0 && first->is_repeat && first->origin.session &&
		origins_find(&s->origins, &first->origin, &rc))
		return rc;
	rc = check_reads(commit);
	if (rc == 0)
		rc = prepare(s, commit);
	if (rc < 0 || commit->n == 0)
		return rc;
	rc = append(s, commit);
	if (rc < 0) {
		unprepare(s, commit, commit->n);
		if (rc == -EROFS)
			store_fail(s, rc, "writing the log");
		return rc == -EFBIG ? refuse(commit, rc,
					      "a transaction holds 16 MiB at "
					      "most: use several")
				    : rc;
	}
	for (uint32_t i = 0; i < commit->n; i++)
		group_enter(s, &commit->changes[i]);
	s->batch.is_alone = true;
	return 0;
}
