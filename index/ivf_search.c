/* SPDX-License-Identifier: Apache-2.0 */
/* ivf_search.c: near lists are looked through, the best compared by their rows. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "index/dist.h"
#include "index/flat.h"
#include "index/ivf_int.h"

#define NPROBE_MIN 8u
#define EF_PER_PROBE 4u
#define AHEAD 4u      /* rows that are asked for before their turn */
#define KEPT_MORE 16u /* visible candidates beside 2 k before lists end */
#define CACHE_LINE 64u
#define LINES_BLOCK 64u /* of a block that are asked for at once */
#define LINES_AHEAD 8u	/* of a row; the processor fetches the rest itself */

uint32_t ivf_nprobe(uint32_t n_lists, uint32_t ef)
{
	uint32_t n = VG_MAX(NPROBE_MIN, ef / EF_PER_PROBE);

	return VG_MIN(n, n_lists);
}

struct seek {
	struct ivf *v;
	const struct ivf_core *core;
	const struct ivf_query *q;
	struct ivf_scratch *s;
	struct topk found; /* candidates by their codes, all visible */
	struct topk best;  /* by their rows */
};

static bool is_cancelled(const struct seek *k)
{
	return k->q->cancel &&
	       atomic_load_explicit(k->q->cancel, memory_order_relaxed);
}

static uint32_t list_n(const struct ivf_list *list)
{
	return atomic_load_explicit(&list->n, memory_order_acquire);
}

/* ---- by rows ---- */

/* Every row of a list. */
static int compare_list(struct seek *k, uint32_t no)
{
	const struct ivf_list *list = &k->core->list[no];
	struct flat_query fq = {.vec = k->q->vec,
		.dim = k->core->dim,
		.metric = k->v->config.metric,
		.is_visible = k->q->is_visible,
		.ctx = k->q->ctx,
		.cancel = k->q->cancel};
	uint32_t left = list_n(list);
	const struct ivf_block *block = left ? list->first : NULL;
	int rc = 0;

	assert(no <= k->core->n_lists);
	while (left > 0 && rc == 0) {
		uint32_t n = VG_MIN(left, IVF_BLOCK);

		rc = flat_scan_list(&fq, k->v->rows, block->slot, n, &k->best);
		left -= n;
		block = left ? block->next : NULL;
	}
	return rc;
}

static void prefetch_row(const struct seek *k, uint32_t i)
{
	const struct rows *rows = k->v->rows;
	const char *row;

	if (i >= k->found.n || !rows_is_sure(rows, k->found.hits[i].slot))
		return;
	row = rows_get(rows, k->found.hits[i].slot);
	for (uint32_t at = 0;
		at < rows->stride && at < LINES_AHEAD * CACHE_LINE;
		at += CACHE_LINE)
		__builtin_prefetch(row + at);
}

static void compare_found(struct seek *k)
{
	struct dist_query dq;

	assert(k->found.n <= k->found.cap);
	dist_query_init(&dq, k->v->config.metric, k->core->dim, k->q->vec);
	for (uint32_t i = 0; i < AHEAD; i++)
		prefetch_row(k, i);
	for (uint32_t i = 0; i < k->found.n; i++) {
		struct hit hit = {.slot = k->found.hits[i].slot};

		prefetch_row(k, i + AHEAD);
		hit.dist =
			dist_query_exact(&dq, rows_get(k->v->rows, hit.slot));
		if (topk_wants(&k->best, hit))
			topk_put(&k->best, hit);
	}
}

/* ---- by codes ---- */

/* What a candidate must not be beyond. */
static float found_bound(const struct seek *k)
{
	return k->found.n < k->found.cap ? INFINITY : k->found.hits[0].dist;
}

/* All of a block: those of one list do not stand side by side. */
static void prefetch_block(const struct seek *k, const struct ivf_block *block)
{
	size_t len = sizeof(*block) + (size_t)k->core->pq.m * IVF_BLOCK;

	len = VG_MIN(len, LINES_BLOCK * CACHE_LINE);
	for (size_t at = 0; block && at < len; at += CACHE_LINE)
		__builtin_prefetch((const char *)block + at);
}

/* What is near enough of a block's n records. far: of the list's centroid. */
static void scan_block(struct seek *k, const struct ivf_block *block,
	uint32_t n, float far)
{
	const struct ivf_query *q = k->q;
	float sums[IVF_BLOCK], bound = found_bound(k);

	assert(n > 0 && n <= IVF_BLOCK);
	pq_sums(k->s->table, k->core->pq.m, block->code, n, sums);
	for (uint32_t i = 0; i < n; i++) {
		struct hit hit = {.dist = far + block->term[i] + sums[i],
			.slot = block->slot[i]};

		if (hit.dist > bound || !topk_wants(&k->found, hit))
			continue;
		if (!q->is_visible || q->is_visible(q->ctx, hit.slot))
			topk_put(&k->found, hit);
		bound = found_bound(k);
	}
}

static int scan_list(struct seek *k, struct hit probe)
{
	const struct ivf_list *list = &k->core->list[probe.slot];
	uint32_t left = list_n(list);
	const struct ivf_block *block = left ? list->first : NULL;

	assert(probe.slot < k->core->n_lists);
	if (is_cancelled(k))
		return -EINTR;
	while (left > 0) {
		uint32_t n = VG_MIN(left, IVF_BLOCK);

		const struct ivf_block *next = left > n ? block->next : NULL;

		prefetch_block(k, next);
		scan_block(k, block, n, probe.dist);
		left -= n;
		block = next;
	}
	return 0;
}

/* How far the query is from all centroids, as lists are chosen by it. */
static void measure(struct seek *k)
{
	const struct ivf_core *core = k->core;
	bool is_ip = k->v->config.metric == VG_IP;
	struct dist_rows rows = {.first = core->centroids,
		.stride = core->dim * sizeof(float),
		.n = core->n_lists,
		.dim = core->dim};

	dist_kernels_get()
		->rows[DIST_F32][is_ip ? DIST_DOT : DIST_L2SQ](k->s->vec, &rows,
			k->s->far, NULL);
	for (uint32_t i = 0; is_ip && i < core->n_lists; i++)
		k->s->far[i] = -k->s->far[i];
	pq_table(&core->pq, k->s->vec, is_ip ? -1 : -2, k->s->table);
}

/* The n nearest lists in order. */
static void choose_lists(struct seek *k, uint32_t n)
{
	struct topk near;

	topk_init(&near, k->s->probes, n, NULL, NULL);
	for (uint32_t i = 0; i < k->core->n_lists; i++) {
		struct hit hit = {.dist = k->s->far[i], .slot = i};

		if (topk_wants(&near, hit))
			topk_put(&near, hit);
	}
	topk_sort(&near);
	assert(near.n == n && n > 0);
}

/* Near lists, and as many more as it takes until enough rows were found that
 * may be answered. */
static int scan_lists(struct seek *k)
{
	uint32_t n_lists = k->core->n_lists;
	uint32_t n = k->q->nprobe ? VG_MIN(k->q->nprobe, n_lists) :
				    ivf_nprobe(n_lists, k->found.cap);
	uint32_t enough = VG_MIN(k->found.cap, 2 * k->q->k + KEPT_MORE);
	int rc = 0;

	assert(n_lists > 0 && k->found.n == 0);
	measure(k);
	choose_lists(k, n);
	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = scan_list(k, k->s->probes[i]);
	if (k->found.n >= enough || n == n_lists || rc < 0)
		return rc;
	choose_lists(k, n_lists);
	for (uint32_t i = n; i < n_lists && rc == 0 && k->found.n < enough; i++)
		rc = scan_list(k, k->s->probes[i]);
	return rc;
}

static int seek(struct seek *k)
{
	const struct ivf_core *core = k->core;
	int rc = compare_list(k, core->n_lists);

	if (rc < 0 || core->n_lists == 0)
		return rc;
	if (!ivf_prepare(k->v, k->q->vec, k->s->vec)) {
		for (uint32_t i = 0; i < core->n_lists && rc == 0; i++)
			rc = compare_list(k, i);
		return rc;
	}
	rc = scan_lists(k);
	if (rc == 0)
		compare_found(k);
	return rc;
}

int ivf_search(struct ivf *v, const struct ivf_query *q, struct ivf_scratch *s,
	struct hit *out, uint32_t *n)
{
	uint32_t ef = VG_MAX(q->k, q->ef);
	struct ivf_core *core;
	struct seek k;
	int rc;

	if (q->k == 0 || ef > VG_EF_MAX)
		return -EINVAL;
	core = ivf_core_get(v);
	k = (struct seek){.v = v, .core = core, .q = q, .s = s};
	rc = ivf_scratch_reserve(s, core, ef);
	if (rc == 0) {
		topk_init(&k.found, s->found, ef, NULL, NULL);
		topk_init(&k.best, out, ef, NULL, NULL);
		rc = seek(&k);
	}
	if (rc == 0) {
		topk_sort(&k.best);
		*n = k.best.n;
		if (q->n_kept)
			*q->n_kept = k.best.n;
	}
	ivf_core_put(v, core);
	return rc;
}
