/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_code.c: codes of a graph: chosen once, and given to what came before. */
#include <math.h>
#include <string.h>

#include "index/hnsw_int.h"

/* Codes are left once a fourth of some hundred puts in a row, or thirty at once,
 * found others closer than what codes round off. */
#define CLOSE_WEIGHT 3u
#define CLOSE_MAX 96u

static float scale_of(const struct hnsw *h, uint32_t slot)
{
	return h->config.metric == VG_COSINE ? *hnsw_term(h, slot) : 1;
}

void hnsw_add_code(struct hnsw *h, uint32_t slot)
{
	pthread_mutex_t *stripe = &h->stripe[slot % N_STRIPES];
	bool is_new = false;

	assert(hnsw_is_linked(h, slot));
	pthread_mutex_lock(stripe);
	if (!hnsw_has_code(h, slot))
		is_new = quant_code_row(&h->quant, h->config.dtype,
			hnsw_row(h, slot), scale_of(h, slot), h->config.dim,
			hnsw_code(h, slot));
	if (is_new)
		atomic_fetch_or_explicit(hnsw_coded(h, slot), 1ull << slot % 64,
			memory_order_release);
	pthread_mutex_unlock(stripe);
	if (!is_new)
		return;
	atomic_fetch_sub_explicit(&h->n_uncoded, 1, memory_order_release);
	atomic_fetch_or_explicit(hnsw_dirty(h, slot), 1ull << slot % 64,
		memory_order_release);
}

/* What codes are chosen from. */
struct sample {
	const void *rows[HNSW_TRAIN];
	float scale[HNSW_TRAIN];
	uint32_t n;
};

static void sample_add(const struct hnsw *h, struct sample *s, uint32_t slot)
{
	const void *row = hnsw_row(h, slot);
	double norm2 = 1;

	if (h->config.metric == VG_COSINE) {
		struct dist_query q;

		dist_query_init_form(&q, (enum dist_form)h->config.dtype,
			VG_COSINE, h->config.dim, row);
		norm2 = q.norm2;
	}
	s->rows[s->n] = row;
	s->scale[s->n++] = norm2 > 0 ? (float)(1 / sqrt(norm2)) : 0;
}

static bool choose(struct hnsw *h, const struct sample *s, struct quant *out)
{
	struct quant_sample sample = {
		.rows = s->rows,
		.scale = s->scale,
		.n = s->n,
		.dtype = h->config.dtype,
		.dim = h->config.dim,
		.is_asked = h->config.codes == HNSW_CODES_BYTE};

	return s->n >= HNSW_TRAIN / 4 && quant_choose(&sample, out);
}

/* Rows from all over the graph. */
static void sample_linked(const struct hnsw *h, struct sample *s)
{
	uint32_t bound = atomic_load_explicit(&h->bound, memory_order_acquire);
	uint32_t each = VG_MAX(hnsw_count(h) / HNSW_TRAIN, 1u), n = 0;

	for (uint32_t slot = 0; slot < bound && s->n < HNSW_TRAIN; slot++)
		if (hnsw_is_linked(h, slot) && n++ % each == 0)
			sample_add(h, s, slot);
}

void hnsw_train_on(struct hnsw *h, uint32_t n)
{
	struct sample s = {.n = 0};

	assert(hnsw_count(h) == 0);
	if (h->code_len == 0 || n < HNSW_TRAIN)
		return;
	for (uint32_t i = 0; i < HNSW_TRAIN; i++)
		sample_add(h, &s, (uint32_t)((uint64_t)i * n / HNSW_TRAIN));
	if (choose(h, &s, &h->quant))
		atomic_store_explicit(
			&h->quant_state, QUANT_ON, memory_order_seq_cst);
}

static void choose_locked(struct hnsw *h)
{
	struct sample s = {.n = 0};
	uint32_t bound;

	assert(h->code_len >= h->config.dim);
	sample_linked(h, &s);
	if (!choose(h, &s, &h->quant))
		return;
	assert(quant_is_valid(&h->quant));
	/* seq_cst: a put that does not see it is seen linked: hnsw_put. */
	atomic_store_explicit(
		&h->quant_state, QUANT_ON, memory_order_seq_cst);
	bound = atomic_load_explicit(&h->bound, memory_order_seq_cst);
	for (uint32_t slot = 0; slot < bound; slot++)
		if (hnsw_has_chunk(h, slot) &&
			atomic_load_explicit(hnsw_linked(h, slot),
				memory_order_seq_cst) >>
					slot % 64 &
				1)
			hnsw_add_code(h, slot);
}

/* When so many are linked, and twice, four times as many. */
void hnsw_train(struct hnsw *h, uint32_t n)
{
	if (h->code_len == 0 || n < HNSW_TRAIN || (n & (n - 1)) != 0 ||
		atomic_load_explicit(&h->is_wild, memory_order_relaxed))
		return;
	pthread_mutex_lock(&h->train);
	if (atomic_load_explicit(&h->quant_state, memory_order_relaxed) ==
		QUANT_NONE)
		choose_locked(h);
	pthread_mutex_unlock(&h->train);
}

/* Among equal rows that is none that tells of steps. */
void hnsw_judge(struct hnsw *h, uint32_t slot, struct hit near)
{
	uint32_t n = atomic_load_explicit(&h->n_close, memory_order_relaxed);
	bool is_close = (double)near.dist < quant_noise(h->config.dim);

	assert(!h->quant.is_whole);
	if (near.dist == 0 &&
		memcmp(hnsw_row(h, slot), hnsw_row(h, near.slot),
			h->rows->stride) == 0)
		return;
	if (!is_close && n == 0)
		return;
	n = is_close ? n + CLOSE_WEIGHT : n - 1;
	atomic_store_explicit(&h->n_close, n, memory_order_relaxed);
	if (n > CLOSE_MAX && h->config.codes != HNSW_CODES_BYTE)
		atomic_store_explicit(
			&h->quant_state, QUANT_OFF, memory_order_seq_cst);
}
