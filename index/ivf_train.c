/* SPDX-License-Identifier: Apache-2.0 */
/* ivf_train.c: lists and codes are learnt, and all rows coded by them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/ivf_int.h"

#define ROUNDS 8u		/* of k-means, for lists */
#define PER_LIST 32u		/* rows of the sample */
#define SAMPLE_MAX (256u << 20) /* bytes of it */
#define CODE_SAMPLE 8192u	/* of its rows codes are learnt from */
#define BATCH 64u		/* rows that are coded together */
#define LEFT_MAX 512u		/* rows that puts wait for, in the end */
#define PASSES_MAX 16u

uint32_t ivf_next_train(uint32_t n)
{
	uint64_t at = (uint64_t)IVF_GROWTH * n;

	return (uint32_t)VG_MAX(IVF_TRAIN, VG_MIN(at, IVF_SLOT_MAX));
}

struct train {
	struct ivf *v;
	const _Atomic bool *cancel;
	struct ivf_core *old, *made; /* old: a reference; made: owned */
	struct ivf_scratch *s;
	uint32_t *slots; /* owned: n_slots, of old and not of made */
	uint32_t n_slots;
	uint32_t n_learnt; /* rows of old when learning began */
	float *rows;	   /* owned: n_rows, as they are compared */
	uint32_t n_rows;
};

static bool is_cancelled(const struct train *t)
{
	return t->cancel &&
	       atomic_load_explicit(t->cancel, memory_order_relaxed);
}

/* ---- which rows ---- */

/* The bits of 64 slots that old has, and made has not. */
static uint64_t word_of(const struct train *t, uint32_t slot)
{
	ivf_word *has = ivf_core_bits(t->old, slot), *done = NULL;
	uint64_t bits = 0;

	if (t->made)
		done = ivf_core_bits(t->made, slot);
	if (has)
		bits = atomic_load_explicit(has, memory_order_acquire);
	if (done)
		bits &= ~atomic_load_explicit(done, memory_order_relaxed);
	return bits;
}

/* Slots that are to be coded, as many as there is room for, in order. */
static void list_slots(struct train *t, uint32_t room)
{
	t->n_slots = 0;
	for (uint32_t i = 0; i < BITS_CHUNKS; i++) {
		uint32_t from = i << BITS_SHIFT,
			 end = from + (1u << BITS_SHIFT);

		if (!ivf_core_bits(t->old, from))
			continue;
		for (; from < end; from += 64)
			for (uint64_t bits = word_of(t, from);
				bits != 0 && t->n_slots < room;
				bits &= bits - 1)
				t->slots[t->n_slots++] =
					from + (uint32_t)__builtin_ctzll(bits);
	}
}

static int find_slots(struct train *t)
{
	uint32_t room = atomic_load_explicit(&t->old->n, memory_order_relaxed);

	if (t->made)
		room -= VG_MIN(room, atomic_load_explicit(&t->made->n,
					     memory_order_relaxed));
	free(t->slots);
	t->slots = malloc(((size_t)room + 1) * sizeof(*t->slots));
	if (!t->slots)
		return -ENOMEM;
	list_slots(t, room);
	return 0;
}

/* ---- learning ---- */

/* Rows from all over, those that have codes. */
static int draw_sample(struct train *t, uint32_t n_lists)
{
	uint32_t dim = t->old->dim;
	size_t bytes = t->v->config.sample_bytes;
	uint64_t most = VG_MIN(bytes ? bytes : SAMPLE_MAX, SAMPLE_MAX) /
			(dim * sizeof(float));
	uint64_t want =
		VG_MAX((uint64_t)n_lists * PER_LIST, (uint64_t)CODE_SAMPLE);
	uint32_t n = (uint32_t)VG_MIN(t->n_slots, VG_MIN(want, most));

	free(t->rows);
	t->rows = malloc(((size_t)n * dim + 1) * sizeof(*t->rows));
	if (!t->rows)
		return -ENOMEM;
	t->n_rows = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = (uint32_t)((uint64_t)i * t->n_slots / n);

		if (ivf_prepare(t->v, rows_get(t->v->rows, t->slots[at]),
			    t->rows + (size_t)t->n_rows * dim))
			t->n_rows++;
	}
	assert(t->n_rows <= n);
	return 0;
}

static struct kmeans_rows sample_of(const struct train *t)
{
	return (struct kmeans_rows){.first = t->rows,
		.stride = t->old->dim,
		.n = t->n_rows,
		.dim = t->old->dim};
}

/* Turns some of the sample into what their centroids leave of them. */
static int leave_rest(struct train *t, uint32_t n)
{
	uint32_t dim = t->old->dim, every = t->n_rows / n;
	uint32_t *nearest = malloc(n * sizeof(*nearest));
	float *far = malloc(n * sizeof(*far));
	struct kmeans_rows rows = sample_of(t);

	assert(n > 0 && every > 0);
	for (uint32_t i = 0; i < n; i++)
		memmove(t->rows + (size_t)i * dim,
			t->rows + (size_t)i * every * dim, dim * sizeof(float));
	rows.n = t->n_rows = n;
	if (nearest && far)
		kmeans_tree_nearest(&t->made->tree, &rows, nearest, far);
	for (size_t i = 0; nearest && far && i < (size_t)n * dim; i++)
		t->rows[i] -=
			t->made->centroids[(size_t)nearest[i / dim] * dim +
					   i % dim];
	free(far);
	free(nearest);
	return nearest && far ? 0 : -ENOMEM;
}

/* Whether so many rows came that what was learnt is of no use. */
static bool is_outgrown(const struct train *t)
{
	return atomic_load_explicit(&t->old->n, memory_order_relaxed) >=
	       ivf_next_train(t->n_learnt);
}

/* -EAGAIN: too few rows serve. */
static int learn(struct train *t)
{
	uint32_t n_lists = ivf_lists_for(t->n_slots);
	struct kmeans_rows rows;
	int rc = draw_sample(t, n_lists);

	assert(!t->made);
	if (rc == 0 && t->n_rows < n_lists)
		rc = -EAGAIN;
	if (rc == 0)
		rc = ivf_core_new(t->old->dim, n_lists, &t->made);
	if (rc == 0) {
		struct kmeans_job job = {.rows = sample_of(t),
			.k = n_lists,
			.rounds = ROUNDS,
			.cancel = t->cancel};

		rc = kmeans_train(&job, t->made->centroids);
	}
	if (rc == 0)
		rc = kmeans_tree_new(&t->made->tree, t->made->centroids,
			n_lists, t->old->dim);
	if (rc == 0)
		rc = leave_rest(t, VG_MIN(t->n_rows, CODE_SAMPLE));
	rows = sample_of(t);
	if (rc == 0)
		rc = pq_train(&t->made->pq, &rows, ivf_code_len(t->old->dim),
			t->cancel);
	free(t->rows);
	t->rows = NULL;
	return rc;
}

/* ---- coding ---- */

/* The next rows of slots[from..]: as many as fit a batch. */
static int code_batch(struct train *t, uint32_t from)
{
	const struct ivf_core *made = t->made;
	uint32_t nearest[BATCH], slot[BATCH], dim = made->dim, n = 0;
	float far[BATCH];
	struct kmeans_rows rows = {.first = t->rows, .stride = dim, .dim = dim};
	int rc = 0;

	for (uint32_t i = from; i < VG_MIN(t->n_slots, from + BATCH); i++) {
		const float *row = rows_get(t->v->rows, t->slots[i]);
		struct ivf_record bare = {.slot = t->slots[i],
			.list = made->n_lists};

		slot[n] = t->slots[i];
		if (ivf_prepare(t->v, row, t->rows + (size_t)n * dim))
			n++;
		else if (rc == 0)
			rc = ivf_core_add(t->made, &bare);
	}
	assert(n <= BATCH);
	rows.n = n;
	kmeans_tree_nearest(&made->tree, &rows, nearest, far);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct ivf_record record = ivf_code(t->v, made,
			t->rows + (size_t)i * dim, nearest[i], t->s);

		record.slot = slot[i];
		rc = ivf_core_add(t->made, &record);
	}
	return rc;
}

/* Codes what is in old and not in made yet. */
static int code_slots(struct train *t)
{
	int rc = find_slots(t);

	for (uint32_t i = 0; i < t->n_slots && rc == 0; i += BATCH) {
		if (is_cancelled(t))
			rc = -EINTR;
		else if (is_outgrown(t))
			rc = -ESTALE;
		else
			rc = code_batch(t, i);
	}
	return rc;
}

static int code_all(struct train *t)
{
	int rc = 0;

	free(t->rows);
	t->rows = malloc((size_t)BATCH * t->old->dim * sizeof(*t->rows));
	if (!t->rows)
		return -ENOMEM;
	if (!t->s)
		rc = ivf_scratch_new(&t->s);
	if (rc == 0)
		rc = ivf_scratch_reserve(t->s, t->made, 1);
	for (uint32_t i = 0; i < PASSES_MAX && rc == 0; i++) {
		rc = code_slots(t);
		if (t->n_slots <= LEFT_MAX)
			break; /* what came meanwhile is less still */
	}
	return rc;
}

/* Puts what was made in place of what there is; the last rows are coded while
 * no put runs. */
static int change(struct train *t)
{
	struct ivf *v = t->v;
	int rc;

	pthread_mutex_lock(&v->lock);
	assert(!v->is_changing && v->core == t->old);
	v->is_changing = true;
	while (v->n_putting > 0)
		pthread_cond_wait(&v->cond, &v->lock);
	pthread_mutex_unlock(&v->lock);
	rc = code_slots(t);
	assert(rc < 0 || atomic_load(&t->made->n) == atomic_load(&t->old->n));
	pthread_mutex_lock(&v->lock);
	if (rc == 0) {
		v->core->refs--; /* t has one on it */
		v->core = t->made;
		t->made = NULL;
	}
	v->is_changing = false;
	pthread_cond_broadcast(&v->cond);
	pthread_mutex_unlock(&v->lock);
	return rc;
}

/* -ESTALE: rows came so fast that it is to be done again. */
static int train_once(struct train *t)
{
	int rc = find_slots(t);

	t->n_learnt = t->n_slots;
	if (rc == 0)
		rc = learn(t);
	if (rc == 0) {
		t->made->trained = t->n_learnt;
		rc = code_all(t);
	}
	return rc < 0 ? rc : change(t);
}

static int train(struct train *t)
{
	int rc;

	do { /* ends: rows are limited, and grow by a factor each time */
		rc = train_once(t);
		if (t->made)
			ivf_core_free(t->made);
		t->made = NULL;
	} while (rc == -ESTALE);
	ivf_scratch_free(t->s);
	free(t->rows);
	free(t->slots);
	return rc;
}

static bool is_due_locked(const struct ivf *v)
{
	return !v->is_training && atomic_load_explicit(&v->core->n,
					  memory_order_relaxed) >= v->train_at;
}

bool ivf_is_due(struct ivf *v)
{
	bool is_due;

	pthread_mutex_lock(&v->lock);
	is_due = is_due_locked(v);
	pthread_mutex_unlock(&v->lock);
	return is_due;
}

int ivf_train(struct ivf *v, const _Atomic bool *cancel)
{
	struct train t = {.v = v, .cancel = cancel};
	bool is_busy, is_due;
	uint32_t n;
	int rc;

	pthread_mutex_lock(&v->lock);
	is_busy = v->is_training;
	is_due = is_due_locked(v);
	v->is_training |= is_due;
	t.old = v->core;
	t.old->refs++;
	pthread_mutex_unlock(&v->lock);
	rc = is_busy ? -EBUSY : is_due ? train(&t) : 0;
	assert(!is_due || v->is_training);
	n = atomic_load_explicit(&t.old->n, memory_order_relaxed);
	ivf_core_put(v, t.old);
	if (!is_due)
		return rc;
	pthread_mutex_lock(&v->lock);
	v->is_training = false;
	if (rc == 0)
		v->train_at = ivf_next_train(v->core->trained);
	else if (rc == -EAGAIN)
		v->train_at = ivf_next_train(n);
	pthread_mutex_unlock(&v->lock);
	return rc == -EAGAIN ? 0 : rc;
}
