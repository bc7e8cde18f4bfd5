/* SPDX-License-Identifier: Apache-2.0 */
/* search.c: the graph's answer and the exact tail's, as one. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/flat.h"
#include "index/hnsw.h"
#include "src/store_int.h"

/*
 * The tail is scanned before the graph is walked: a slot that is linked in
 * between is then found twice, not missed; a slot that was linked before the
 * scan looked at it is in the graph when the walk begins. tail_from is read
 * before the moment is taken: below it are slots that are linked, or that no
 * moment from then on sees.
 */

/* What callbacks of one search need. */
struct look {
	const struct cell *cell;
	const struct moment *moment;
	struct vg_id leave_out;
	bool tail_only; /* linked slots are the graph's to find */
};

static bool is_same_id(struct vg_id a, struct vg_id b)
{
	return a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;
}

static int compare_ids(struct vg_id a, struct vg_id b)
{
	int c = memcmp(a.bytes, b.bytes, VG_MIN(a.len, b.len));

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

static bool is_visible(void *ctx, uint32_t slot)
{
	const struct look *look = ctx;
	uint32_t no;

	if (look->tail_only &&
		atomic_load_explicit(&cell_slot(look->cell, slot)->state,
			memory_order_acquire) == SLOT_LINKED)
		return false;
	no = cell_find(look->cell, slot, look->moment);
	if (no == VERSION_NONE || cell_check_row(look->cell, slot) < 0)
		return false;
	return !look->leave_out.len ||
	       !is_same_id(version_id(collection_version(look->cell->coll, no)),
		       look->leave_out);
}

/* Orders slots by the id that is seen; a slot that is not seen will not be
 * answered, so any id it has had will do. */
static struct vg_id slot_id(const struct look *look, uint32_t slot)
{
	uint32_t no = cell_find(look->cell, slot, look->moment);

	if (no == VERSION_NONE)
		no = atomic_load_explicit(&cell_slot(look->cell, slot)->head,
			     memory_order_acquire) -
		     1;
	assert(no != VERSION_NONE);
	return version_id(collection_version(look->cell->coll, no));
}

static int tie(void *ctx, uint32_t a, uint32_t b)
{
	return compare_ids(slot_id(ctx, a), slot_id(ctx, b));
}

/* ---- scratch: a search takes a free one and gives it back ---- */

static int scratch_get(struct store *s, struct scratch **out)
{
	struct scratch *sc;

	pthread_mutex_lock(&s->scratch_lock);
	sc = s->scratch;
	if (sc)
		s->scratch = sc->next;
	pthread_mutex_unlock(&s->scratch_lock);
	if (!sc) {
		sc = calloc(1, sizeof(*sc));
		if (!sc || hnsw_scratch_new(&sc->hnsw) < 0) {
			free(sc);
			return -ENOMEM;
		}
	}
	*out = sc;
	return 0;
}

static void scratch_put(struct store *s, struct scratch *sc)
{
	pthread_mutex_lock(&s->scratch_lock);
	sc->next = s->scratch;
	s->scratch = sc;
	pthread_mutex_unlock(&s->scratch_lock);
}

static int scratch_reserve(struct scratch *sc, size_t n)
{
	struct hit *hits;

	if (sc->cap >= n)
		return 0;
	hits = realloc(sc->hits, n * sizeof(*hits));
	if (!hits)
		return -ENOMEM;
	sc->hits = hits;
	sc->cap = n;
	return 0;
}

void search_fini(struct store *s)
{
	while (s->scratch) {
		struct scratch *next = s->scratch->next;

		hnsw_scratch_free(s->scratch->hnsw);
		free(s->scratch->hits);
		free(s->scratch);
		s->scratch = next;
	}
}

/* ---- one search ---- */

/* Offers what the graph finds to top, in whose hits the first room for k is;
 * the graph's own answer goes behind it. */
static int search_graph(const struct search *q, uint32_t ef, struct look *look,
	uint32_t tail_from, struct scratch *sc, struct topk *top)
{
	struct hit *found = sc->hits + q->k;
	struct hnsw_query hq = {
		.vec = q->vec,
		.k = q->k,
		.ef = ef,
		.is_visible = is_visible,
		.ctx = look,
		.cancel = q->cancel,
	};
	uint32_t n;
	int rc;

	look->tail_only = false;
	rc = hnsw_search(look->cell->hnsw, &hq, sc->hnsw, found, &n);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < n; i++) {
		bool is_known = false;

		/* Linked between the scan and the walk: found by both. */
		for (uint32_t j = 0; found[i].slot >= tail_from && j < top->n;
			j++)
			is_known |= top->hits[j].slot == found[i].slot;
		if (!is_known && topk_wants(top, found[i]))
			topk_put(top, found[i]);
	}
	return 0;
}

/*
 * A walk's pool costs with the square of ef: where that nears the rows there
 * are, looking at each is as fast, and exact.
 */
#define SCAN_SHARE 8u

static bool is_scan(const struct cell *cell, const struct search *q,
	uint32_t ef, uint32_t n_slots)
{
	return q->exact || !cell->hnsw ||
	       (uint64_t)VG_MAX(ef, q->k) * SCAN_SHARE >= n_slots;
}

/* Whether the graph gave up among rows that are not seen though there are
 * more that are: it walks over what was deleted for so long only. */
static bool is_short(const struct look *look, const struct topk *top)
{
	uint64_t n_live = atomic_load_explicit(
		&look->cell->coll->n_live, memory_order_relaxed);

	return top->n < top->cap &&
	       top->n + (look->leave_out.len > 0) < n_live;
}

static int run(const struct search *q, uint32_t ef, struct look *look,
	uint32_t tail_from, struct scratch *sc, struct topk *top)
{
	const struct cell *cell = look->cell;
	uint32_t n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	bool is_exact = is_scan(cell, q, ef, n);
	struct flat_query fq = {
		.vec = q->vec,
		.dim = cell->dim,
		.metric = cell->metric,
		.is_visible = is_visible,
		.ctx = look,
		.cancel = q->cancel,
	};
	int rc;

	assert(tail_from <= n);
	assert(q->dim == cell->dim);
	look->tail_only = !is_exact;
	rc = flat_scan(&fq, &cell->vec.rows, is_exact ? 0 : tail_from, n, top);
	if (rc == 0 && !is_exact) {
		rc = search_graph(q, ef, look, tail_from, sc, top);
		if (rc == 0 && is_short(look, top)) {
			top->n = 0;
			rc = flat_scan(&fq, &cell->vec.rows, 0, n, top);
		}
	}
	return rc;
}

static int check_query(const struct cell *cell, const struct search *q)
{
	bool is_zero = true;

	if (q->dim != cell->dim)
		return -EINVAL;
	for (uint32_t i = 0; i < q->dim && is_zero; i++)
		is_zero = q->vec[i] == 0;
	return is_zero && cell->metric == VG_COSINE ? -EINVAL : 0;
}

static void take_hits(const struct look *look, const struct topk *top,
	struct search_hit *hits)
{
	for (uint32_t i = 0; i < top->n; i++) {
		uint32_t no = cell_find(
			look->cell, top->hits[i].slot, look->moment);

		assert(no != VERSION_NONE);
		hits[i] = (struct search_hit){
			.dist = top->hits[i].dist,
			.slot = top->hits[i].slot,
			.version = collection_version(look->cell->coll, no),
		};
	}
}

int store_search(struct store *s, struct collection *c, const struct search *q,
	struct search_hit *hits, uint32_t *n)
{
	struct cell *cell = atomic_load_explicit(&c->cell, memory_order_acquire);
	uint32_t ef = q->ef ? q->ef : collection_config(c).ef_search;
	struct look look = {.cell = cell, .leave_out = q->leave_out};
	struct scratch *sc;
	struct moment *moment;
	struct topk top;
	uint32_t tail_from;
	int rc;

	assert(q->k > 0 && q->k <= VG_K_MAX + 1);
	atomic_fetch_add_explicit(&c->searches, 1, memory_order_relaxed);
	*n = 0;
	if (!cell)
		return 0;
	rc = check_query(cell, q);
	if (rc < 0)
		return rc;
	rc = scratch_get(s, &sc);
	if (rc < 0)
		return rc;
	rc = scratch_reserve(sc, (size_t)q->k + VG_MAX(q->k, ef));
	if (rc < 0)
		goto put_scratch;
	tail_from = atomic_load_explicit(&cell->tail_from, memory_order_acquire);
	look.moment = moment = moment_get(&s->moments);
	topk_init(&top, sc->hits, q->k, tie, &look);
	rc = run(q, ef, &look, tail_from, sc, &top);
	if (rc == 0 || rc == -EINTR) {
		topk_sort(&top);
		take_hits(&look, &top, hits);
		*n = top.n;
	}
	moment_unref(&s->moments, moment);
put_scratch:
	scratch_put(s, sc);
	return rc;
}

uint64_t store_search_cost(struct collection *c, const struct search *q)
{
	const struct cell *cell =
		atomic_load_explicit(&c->cell, memory_order_acquire);
	uint32_t ef = q->ef ? q->ef : collection_config(c).ef_search;
	uint64_t n, from;

	if (!cell)
		return 0;
	n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	from = atomic_load_explicit(&cell->tail_from, memory_order_acquire);
	if (!is_scan(cell, q, ef, (uint32_t)n))
		n = n - VG_MIN(from, n) +
		    VG_MIN(n, 16 * (uint64_t)VG_MAX(q->k, ef));
	return n * cell->dim * sizeof(float);
}
