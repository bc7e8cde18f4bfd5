/* SPDX-License-Identifier: Apache-2.0 */
/* ivf.c: the life of an inverted file, and how a slot comes into a list. */
#include "index/ivf.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/dist.h"
#include "index/ivf_int.h"

#define LIST_PER_ROOT 4u /* lists a square root of the rows */

/* Squared lengths whose sums and products stay well within a float. */
#define NORM2_MIN 0x1p-60f
#define NORM2_MAX 0x1p100f

uint32_t ivf_lists_for(uint32_t n)
{
	double lists = LIST_PER_ROOT * sqrt(n);

	return (uint32_t)VG_MAX(1, VG_MIN(lists, IVF_LISTS_MAX));
}

/* docs/index.md has what longer and shorter ones bring. */
#define CODE_PER 4u
#define CODE_LONG 64u

uint32_t ivf_code_len(uint32_t dim)
{
	uint32_t m = dim / CODE_PER;

	if (m > CODE_LONG)
		m = VG_MAX(CODE_LONG, dim / (2 * CODE_PER));
	return VG_MAX(1u, VG_MIN(m, PQ_M_MAX));
}

/* ---- what was learnt ---- */

int ivf_core_new(uint32_t dim, uint32_t n_lists, struct ivf_core **out)
{
	struct ivf_core *core = calloc(1, sizeof(*core));

	assert(n_lists <= IVF_LISTS_MAX);
	if (!core)
		return -ENOMEM;
	assert(dim > 0 && dim <= VG_DIM_MAX);
	core->refs = 1;
	core->dim = dim;
	core->n_lists = n_lists;
	pthread_mutex_init(&core->grow, NULL);
	for (uint32_t i = 0; i < N_STRIPES; i++)
		pthread_mutex_init(&core->stripe[i], NULL);
	core->list = calloc(n_lists + 1, sizeof(*core->list));
	core->bits = calloc(BITS_CHUNKS, sizeof(*core->bits));
	core->centroids = malloc(((size_t)n_lists * dim + 1) * sizeof(float));
	if (core->list && core->bits && core->centroids) {
		*out = core;
		return 0;
	}
	ivf_core_free(core);
	return -ENOMEM;
}

static void free_list(struct ivf_list *list)
{
	while (list->first) {
		struct ivf_block *next = list->first->next;

		free(list->first);
		list->first = next;
	}
}

void ivf_core_free(struct ivf_core *core)
{
	for (uint32_t i = 0; core->list && i <= core->n_lists; i++)
		free_list(&core->list[i]);
	for (uint32_t i = 0; core->bits && i < BITS_CHUNKS; i++)
		free((void *)atomic_load_explicit(&core->bits[i],
			memory_order_relaxed));
	pthread_mutex_destroy(&core->grow);
	for (uint32_t i = 0; i < N_STRIPES; i++)
		pthread_mutex_destroy(&core->stripe[i]);
	pq_fini(&core->pq);
	kmeans_tree_fini(&core->tree);
	free(core->centroids);
	free(core->bits);
	free(core->list);
	free(core);
}

struct ivf_core *ivf_core_get(struct ivf *v)
{
	struct ivf_core *core;

	pthread_mutex_lock(&v->lock);
	core = v->core;
	assert(core->refs > 0);
	core->refs++;
	pthread_mutex_unlock(&v->lock);
	return core;
}

void ivf_core_put(struct ivf *v, struct ivf_core *core)
{
	bool is_last;

	pthread_mutex_lock(&v->lock);
	assert(core->refs > 0);
	is_last = --core->refs == 0;
	pthread_mutex_unlock(&v->lock);
	if (is_last)
		ivf_core_free(core);
}

ivf_word *ivf_core_bits(const struct ivf_core *core, uint32_t slot)
{
	ivf_word *chunk = atomic_load_explicit(&core->bits[slot >> BITS_SHIFT],
		memory_order_acquire);

	return chunk ? chunk + slot % (1u << BITS_SHIFT) / 64 : NULL;
}

bool ivf_core_has(const struct ivf_core *core, uint32_t slot)
{
	ivf_word *word = ivf_core_bits(core, slot);

	return word &&
	       (atomic_load_explicit(word, memory_order_acquire) >> slot % 64 &
		       1) != 0;
}

static int add_bits(struct ivf_core *core, uint32_t slot)
{
	_Atomic(ivf_word *) *at = &core->bits[slot >> BITS_SHIFT];
	size_t len = (1u << BITS_SHIFT) / 8;
	ivf_word *chunk;
	int rc = 0;

	if (atomic_load_explicit(at, memory_order_acquire))
		return 0;
	pthread_mutex_lock(&core->grow);
	if (!atomic_load_explicit(at, memory_order_relaxed)) {
		chunk = calloc(1, len);
		rc = chunk ? 0 : -ENOMEM;
		if (chunk) {
			atomic_store_explicit(at, chunk, memory_order_release);
			atomic_fetch_add_explicit(&core->bytes, len,
				memory_order_relaxed);
		}
	}
	pthread_mutex_unlock(&core->grow);
	return rc;
}

/* Where the next record of the list goes. NULL: no memory. */
static struct ivf_block *last_block(struct ivf_core *core,
	struct ivf_list *list, uint32_t n)
{
	size_t len = ivf_block_len(core, (uint32_t)(list - core->list));
	struct ivf_block *block;

	if (n % IVF_BLOCK != 0)
		return list->last;
	block = malloc(len);
	if (!block)
		return NULL;
	block->next = NULL;
	if (n == 0)
		list->first = block;
	else
		list->last->next = block;
	list->last = block;
	atomic_fetch_add_explicit(&core->bytes, len, memory_order_relaxed);
	return block;
}

static int add_locked(struct ivf_core *core, const struct ivf_record *record)
{
	struct ivf_list *list = &core->list[record->list];
	uint32_t n = atomic_load_explicit(&list->n, memory_order_relaxed);
	uint32_t at = n % IVF_BLOCK;
	struct ivf_block *block;

	if (ivf_core_has(core, record->slot))
		return -EEXIST;
	block = last_block(core, list, n);
	if (!block)
		return -ENOMEM;
	assert(block == list->last && !block->next);
	block->slot[at] = record->slot;
	block->term[at] = record->term;
	if (record->code)
		memcpy(block->code + (size_t)at * core->pq.m, record->code,
			core->pq.m);
	atomic_fetch_or_explicit(ivf_core_bits(core, record->slot),
		1ull << record->slot % 64, memory_order_release);
	atomic_store_explicit(&list->n, n + 1, memory_order_release);
	return 0;
}

int ivf_core_add(struct ivf_core *core, const struct ivf_record *record)
{
	pthread_mutex_t *stripe = &core->stripe[record->list % N_STRIPES];
	int rc = add_bits(core, record->slot);

	assert(record->list <= core->n_lists);
	assert(!record->code == (record->list == core->n_lists));
	if (rc < 0)
		return rc;
	pthread_mutex_lock(stripe);
	rc = add_locked(core, record);
	pthread_mutex_unlock(stripe);
	if (rc < 0)
		return rc;
	atomic_fetch_add_explicit(&core->n, 1, memory_order_relaxed);
	if (record->list == core->n_lists)
		atomic_fetch_add_explicit(&core->n_exact, 1,
			memory_order_relaxed);
	return 0;
}

/* ---- rows become records ---- */

static bool is_zero(const float *vec, uint32_t dim)
{
	uint32_t d = 0;

	while (d < dim && vec[d] == 0)
		d++;
	return d == dim;
}

bool ivf_prepare(const struct ivf *v, const float *row, float *out)
{
	const struct dist_kernels *kernels = dist_kernels_get();
	uint32_t dim = v->config.dim;
	float scale = 1, norm2;

	if (v->config.metric == VG_COSINE)
		scale = (float)(1 / sqrt(kernels->dot_exact(row, row, dim)));
	for (uint32_t d = 0; d < dim; d++)
		out[d] = row[d] * scale;
	norm2 = kernels->dot(out, out, dim);
	/* What is no number fails both. */
	return (norm2 >= NORM2_MIN && norm2 <= NORM2_MAX) || is_zero(out, dim);
}

struct ivf_record ivf_code(const struct ivf *v, const struct ivf_core *core,
	const float *vec, uint32_t list, struct ivf_scratch *s)
{
	const float *centroid = core->centroids + (size_t)list * core->dim;
	const struct dist_kernels *kernels = dist_kernels_get();
	struct ivf_record record = {.list = list, .code = s->code};

	assert(list < core->n_lists);
	for (uint32_t d = 0; d < core->dim; d++)
		s->rest[d] = vec[d] - centroid[d];
	pq_encode(&core->pq, s->rest, s->code);
	if (v->config.metric == VG_IP)
		return record;
	pq_decode(&core->pq, s->code, s->rest);
	record.term = kernels->dot(s->rest, s->rest, core->dim) +
		      2 * kernels->dot(centroid, s->rest, core->dim);
	return record;
}

static int put_row(struct ivf *v, struct ivf_core *core, uint32_t slot,
	struct ivf_scratch *s)
{
	struct ivf_record record = {.list = core->n_lists};
	const float *row = rows_get(v->rows, slot);
	struct kmeans_rows one;
	float far;
	int rc = ivf_scratch_reserve(s, core, 1);

	if (rc < 0)
		return rc;
	if (core->n_lists > 0 && ivf_prepare(v, row, s->vec)) {
		one = (struct kmeans_rows){.first = s->vec,
			.stride = core->dim,
			.n = 1,
			.dim = core->dim};
		kmeans_tree_nearest(&core->tree, &one, &record.list, &far);
		record = ivf_code(v, core, s->vec, record.list, s);
	}
	record.slot = slot;
	return ivf_core_add(core, &record);
}

int ivf_put(struct ivf *v, uint32_t slot, struct ivf_scratch *s)
{
	struct ivf_core *core;
	int rc;

	if (slot >= IVF_SLOT_MAX)
		return -ERANGE;
	pthread_mutex_lock(&v->lock);
	while (v->is_changing)
		pthread_cond_wait(&v->cond, &v->lock);
	v->n_putting++;
	core = v->core;
	pthread_mutex_unlock(&v->lock);
	rc = put_row(v, core, slot, s);
	pthread_mutex_lock(&v->lock);
	if (--v->n_putting == 0)
		pthread_cond_broadcast(&v->cond);
	pthread_mutex_unlock(&v->lock);
	return rc;
}

/* ---- the whole ---- */

int ivf_new(const struct ivf_config *config, const struct rows *rows,
	struct ivf **out)
{
	struct ivf *v;

	if (config->dim < 1 || config->dim > VG_DIM_MAX ||
		(config->metric != VG_L2 && config->metric != VG_COSINE &&
			config->metric != VG_IP))
		return -EINVAL;
	assert(rows->stride == config->dim * sizeof(float));
	v = calloc(1, sizeof(*v));
	if (!v || ivf_core_new(config->dim, 0, &v->core) < 0) {
		free(v);
		return -ENOMEM;
	}
	v->config = *config;
	v->rows = rows;
	v->train_at = IVF_TRAIN;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->cond, NULL);
	*out = v;
	return 0;
}

void ivf_free(struct ivf *v)
{
	if (!v)
		return;
	assert(v->core->refs == 1 && v->n_putting == 0);
	ivf_core_free(v->core);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->cond);
	free(v);
}

bool ivf_is_linked(struct ivf *v, uint32_t slot)
{
	struct ivf_core *core;
	bool has;

	if (slot >= IVF_SLOT_MAX)
		return false;
	core = ivf_core_get(v);
	has = ivf_core_has(core, slot);
	ivf_core_put(v, core);
	return has;
}

uint32_t ivf_count(struct ivf *v)
{
	struct ivf_core *core = ivf_core_get(v);
	uint32_t n = atomic_load_explicit(&core->n, memory_order_relaxed);

	ivf_core_put(v, core);
	return n;
}

void ivf_stat(struct ivf *v, struct ivf_stat *out)
{
	struct ivf_core *core = ivf_core_get(v);
	uint32_t n = atomic_load_explicit(&core->n, memory_order_relaxed);
	uint32_t exact =
		atomic_load_explicit(&core->n_exact, memory_order_relaxed);

	*out = (struct ivf_stat){
		.linked = n,
		.coded = n - VG_MIN(n, exact),
		.n_lists = core->n_lists,
		.trained = core->trained,
		.m = core->pq.m,
		.bytes = sizeof(*v) + sizeof(*core) +
			 (core->n_lists + 1) * sizeof(*core->list) +
			 (size_t)core->n_lists * core->dim * sizeof(float) +
			 atomic_load_explicit(&core->bytes,
				 memory_order_relaxed),
	};
	if (core->n_lists > 0)
		out->bytes += pq_points_len(core->dim, core->pq.m);
	ivf_core_put(v, core);
	pthread_mutex_lock(&v->lock);
	out->is_training = v->is_training;
	pthread_mutex_unlock(&v->lock);
}

void ivf_list_rows(struct ivf *v, uint32_t *fewest, uint32_t *most)
{
	struct ivf_core *core = ivf_core_get(v);
	uint32_t min = core->n_lists ? UINT32_MAX : 0, max = 0;

	for (uint32_t i = 0; i < core->n_lists; i++) {
		uint32_t n = atomic_load_explicit(
			&core->list[i].n, memory_order_relaxed);

		min = VG_MIN(min, n);
		max = VG_MAX(max, n);
	}
	ivf_core_put(v, core);
	assert(min <= max);
	*fewest = min;
	*most = max;
}

/* ---- scratch ---- */

int ivf_scratch_new(struct ivf_scratch **out)
{
	struct ivf_scratch *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}

void ivf_scratch_free(struct ivf_scratch *s)
{
	if (!s)
		return;
	free(s->vec);
	free(s->rest);
	free(s->code);
	free(s->table);
	free(s->far);
	free(s->probes);
	free(s->found);
	free(s);
}

/* Replaces *at, whose contents are of no account any more. */
static int renew(void *at, size_t len)
{
	void **old = at, *made = malloc(len);

	if (!made)
		return -ENOMEM;
	free(*old);
	*old = made;
	return 0;
}

int ivf_scratch_reserve(struct ivf_scratch *s, const struct ivf_core *core,
	uint32_t ef)
{
	uint32_t m = core->pq.m;
	int rc = 0;

	if (s->n_vec < core->dim) {
		rc = renew(&s->vec, core->dim * sizeof(*s->vec));
		if (rc == 0)
			rc = renew(&s->rest, core->dim * sizeof(*s->rest));
		s->n_vec = rc == 0 ? core->dim : 0;
	}
	if (rc == 0 && s->n_m < m) {
		rc = renew(&s->code, m);
		if (rc == 0)
			rc = renew(&s->table,
				(size_t)m * KMEANS_GRID * sizeof(*s->table));
		s->n_m = rc == 0 ? m : 0;
	}
	if (rc == 0 && s->n_lists < core->n_lists) {
		rc = renew(&s->far, core->n_lists * sizeof(*s->far));
		if (rc == 0)
			rc = renew(&s->probes,
				core->n_lists * sizeof(*s->probes));
		s->n_lists = rc == 0 ? core->n_lists : 0;
	}
	if (rc == 0 && s->n_found < ef) {
		rc = renew(&s->found, ef * sizeof(*s->found));
		s->n_found = rc == 0 ? ef : 0;
	}
	return rc;
}
