/* SPDX-License-Identifier: Apache-2.0 */
/* recall.c: the samples; see recall.h. */
#include "src/recall.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/config.h"
#include "src/wire.h"

#define EACH_PERIOD 64u /* offers until the period grows by one */
#define LOOK_EVERY 16u	/* samples that are worth a look */

struct sample {
	uint8_t *bytes; /* owned: a row, then the id that is left out */
	uint64_t hash;
	uint32_t k, id_len;
};

struct recall {
	_Atomic uint64_t next; /* the search that is offered next; relaxed: who
				  reads it late offers one more or less */
	pthread_mutex_t lock;  /* a leaf; all below */
	struct sample *sample; /* owned: room for cap, n are in use */
	enum vg_dtype dtype;
	uint32_t dim, cap, n, oldest;
	uint64_t n_offered;
	uint64_t taken[OP_EF_CLASSES];
	struct recall_result result[OP_EF_CLASSES];
};

int recall_new(struct recall **out)
{
	struct recall *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	*out = r;
	return 0;
}

/* Forgets all samples: those that come have another dim or dtype. */
static void reset_locked(struct recall *r)
{
	assert(r->n <= r->cap && (r->cap > 0) == (r->sample != NULL));
	for (uint32_t i = 0; i < r->cap; i++)
		free(r->sample[i].bytes);
	free(r->sample);
	r->sample = NULL;
	r->dim = r->cap = r->n = r->oldest = 0;
}

void recall_free(struct recall *r)
{
	if (!r)
		return;
	reset_locked(r);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

bool recall_wants(const struct recall *r, uint64_t nth)
{
	return nth >= atomic_load_explicit(&r->next, memory_order_relaxed);
}

static size_t row_len(const struct recall *r)
{
	return vg_row_len(r->dtype, r->dim);
}

static int make_room_locked(struct recall *r, const struct recall_query *q)
{
	size_t cap = RECALL_BYTES / (vg_row_len(q->dtype, q->dim) + VG_ID_MAX);

	if (r->dim == q->dim && r->dtype == q->dtype)
		return 0;
	reset_locked(r);
	cap = VG_MAX(RECALL_SAMPLES_MIN, VG_MIN(RECALL_SAMPLES, cap));
	r->sample = calloc(cap, sizeof(*r->sample));
	if (!r->sample)
		return -ENOMEM;
	r->cap = (uint32_t)cap;
	r->dim = q->dim;
	r->dtype = q->dtype;
	return 0;
}

static uint64_t hash_of(const struct recall_query *q)
{
	uint64_t hash = wire_hash(q->vec, vg_row_len(q->dtype, q->dim)) + q->k;

	return q->leave_out.len ? hash ^ wire_hash(q->leave_out.bytes,
						 q->leave_out.len)
				: hash;
}

static bool is_known_locked(const struct recall *r, uint64_t hash)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->sample[i].hash == hash)
			return true;
	return false;
}

/* How many are kept beside so many rows. */
static uint32_t limit_of(const struct recall *r, uint32_t n_rows)
{
	uint32_t few = VG_MAX(n_rows / RECALL_ROWS_SHARE, RECALL_SAMPLES_MIN);

	return VG_MIN(r->cap, few);
}

/* The place of the next one: a free one, or the oldest's. */
static struct sample *place_locked(struct recall *r, uint32_t n_rows)
{
	struct sample *at;
	bool is_free = r->n < limit_of(r, n_rows);

	assert(r->cap > 0 && (is_free || r->n > 0));
	at = &r->sample[is_free ? r->n : r->oldest];
	if (!at->bytes)
		at->bytes = malloc(row_len(r) + VG_ID_MAX);
	if (!at->bytes)
		return NULL;
	if (is_free)
		r->n++;
	else
		r->oldest = (r->oldest + 1) % r->n;
	return at;
}

static bool take_locked(struct recall *r, uint64_t hash, uint32_t n_rows,
	const struct recall_query *q)
{
	struct sample *at;

	if (make_room_locked(r, q) < 0 || is_known_locked(r, hash))
		return false;
	at = place_locked(r, n_rows);
	if (!at)
		return false;
	at->hash = hash;
	at->k = q->k;
	at->id_len = q->leave_out.len;
	memcpy(at->bytes, q->vec, row_len(r));
	if (at->id_len)
		memcpy(at->bytes + row_len(r), q->leave_out.bytes,
			at->id_len);
	r->taken[config_ef_class(q->k)]++;
	return true;
}

static uint64_t taken_locked(const struct recall *r)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < OP_EF_CLASSES; i++)
		n += r->taken[i];
	return n;
}

bool recall_offer(struct recall *r, uint64_t nth, uint32_t n_rows,
	const struct recall_query *q)
{
	uint64_t hash, period;
	bool was;

	assert(q->dtype && q->dim > 0 && q->k > 0);
	assert(q->leave_out.len <= VG_ID_MAX);
	if (pthread_mutex_trylock(&r->lock) != 0)
		return false;
	hash = hash_of(q);
	/* A step drawn by the query's hash: a client that asks in turns does
	 * not always meet the same turn. */
	period = VG_MIN(1 + r->n_offered / EACH_PERIOD, RECALL_PERIOD);
	r->n_offered++;
	atomic_store_explicit(&r->next, nth + 1 + hash % (2 * period - 1),
		memory_order_relaxed);
	was = take_locked(r, hash, n_rows, q) &&
	      taken_locked(r) % LOOK_EVERY == 0;
	pthread_mutex_unlock(&r->lock);
	return was;
}

int recall_get(struct recall *r, uint32_t i, struct recall_copy *out)
{
	const struct sample *s;
	int rc = -ENOENT;

	pthread_mutex_lock(&r->lock);
	if (i >= r->n)
		goto unlock;
	rc = 0;
	if (out->cap < row_len(r)) {
		void *vec = realloc(out->vec, row_len(r));

		if (!vec) {
			rc = -ENOMEM;
			goto unlock;
		}
		out->vec = vec;
		out->cap = row_len(r);
	}
	s = &r->sample[i];
	assert(s->k > 0 && s->id_len <= VG_ID_MAX);
	memcpy(out->vec, s->bytes, row_len(r));
	memcpy(out->id, s->bytes + row_len(r), s->id_len);
	out->query = (struct recall_query){.vec = out->vec,
		.dtype = r->dtype,
		.dim = r->dim,
		.k = s->k,
		.leave_out = {out->id, s->id_len}};
unlock:
	pthread_mutex_unlock(&r->lock);
	return rc;
}

void recall_copy_free(struct recall_copy *copy)
{
	free(copy->vec);
	*copy = (struct recall_copy){0};
}

/* How many of which none misses any have an interval above target. */
static uint32_t needed(double group, double target, uint32_t kept)
{
	double n = group * RECALL_Z2 * target / (1 - target);
	uint32_t most = VG_MAX(kept / 4, RECALL_MIN);

	return n < RECALL_MIN ? RECALL_MIN
	       : n < most     ? (uint32_t)ceil(n)
			      : most;
}

void recall_count(struct recall *r, double target,
	struct recall_samples out[OP_EF_CLASSES])
{
	double group[OP_EF_CLASSES] = {0};

	assert(target > 0 && target < 1);
	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < OP_EF_CLASSES; i++)
		out[i] = (struct recall_samples){.taken = r->taken[i]};
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t k = r->sample[i].k;
		unsigned class = config_ef_class(k);
		struct recall_samples *s = &out[class];

		s->k_min = s->n ? VG_MIN(s->k_min, k) : k;
		s->k_max = VG_MAX(s->k_max, k);
		s->n++;
		group[class] += recall_group(k);
	}
	for (unsigned i = 0; i < OP_EF_CLASSES; i++)
		out[i].needed = needed(out[i].n ? group[i] / out[i].n
						: recall_group(10),
			target, r->cap ? r->cap : RECALL_SAMPLES);
	pthread_mutex_unlock(&r->lock);
}

void recall_put_result(struct recall *r, unsigned class,
	const struct recall_result *result)
{
	assert(class < OP_EF_CLASSES && result->is_set);
	pthread_mutex_lock(&r->lock);
	r->result[class] = *result;
	pthread_mutex_unlock(&r->lock);
}

struct recall_result recall_result(struct recall *r, unsigned class)
{
	struct recall_result result;

	assert(class < OP_EF_CLASSES);
	pthread_mutex_lock(&r->lock);
	result = r->result[class];
	pthread_mutex_unlock(&r->lock);
	return result;
}
