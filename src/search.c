/* SPDX-License-Identifier: Apache-2.0 */
/* search.c: the graph's answer and the exact tail's, as one. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/flat.h"
#include "index/hnsw.h"
#include "src/match.h"
#include "src/store_int.h"

/*
 * The tail is scanned before the graph is walked: a slot that is linked in
 * between is then found twice, not missed; a slot that was linked before the
 * scan looked at it is in the graph when the walk begins. tail_from is read
 * before the moment is taken: below it are slots that are linked, or that no
 * moment from then on sees.
 */

/* What callbacks of one search need. */
struct reader {
	struct collection *coll;
	struct cell *cell;
	const struct moment *moment;
	struct match *match; /* NULL: all are wanted */
	struct vg_id leave_out;
	bool tail_only; /* linked slots are the graph's to find */
	uint32_t n_kept; /* of the last walk: hnsw_query */
};

static int compare_ids(struct vg_id a, struct vg_id b)
{
	int c = memcmp(a.bytes, b.bytes, VG_MIN(a.len, b.len));

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

static bool is_visible(void *ctx, uint32_t slot)
{
	const struct reader *rd = ctx;
	uint32_t no;

	if (rd->tail_only &&
		atomic_load_explicit(&cell_slot(rd->cell, slot)->state,
			memory_order_acquire) == SLOT_LINKED)
		return false;
	no = cell_find(rd->cell, slot, rd->moment);
	if (no == VERSION_NONE || (rd->match && !match_has(rd->match, no)) ||
		cell_check_row(rd->cell, slot) < 0)
		return false;
	return !rd->leave_out.len ||
	       compare_ids(version_id(generation_version(rd->cell->gen, no)),
		       rd->leave_out) != 0;
}

/* What is_visible reads, of all of them before it reads it of one. */
static void look_ahead(void *ctx, const struct hit *hits, uint32_t n)
{
	const struct reader *rd = ctx;

	for (uint32_t i = 0; i < n; i++)
		__builtin_prefetch(cell_slot(rd->cell, hits[i].slot));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t head = atomic_load_explicit(
			&cell_slot(rd->cell, hits[i].slot)->head,
			memory_order_acquire);

		if (head > 0)
			__builtin_prefetch(
				generation_version(rd->cell->gen, head - 1));
	}
}

/* The share of rows that are not seen, but for a few. */
static float hidden_share(const struct reader *rd)
{
	uint32_t n = atomic_load_explicit(
		&rd->cell->n_slots, memory_order_relaxed);
	uint64_t live = atomic_load_explicit(
		&rd->coll->n_live, memory_order_relaxed);

	if (rd->match)
		live = VG_MIN(live, match_size(rd->match));
	return n > live ? 1 - (float)live / (float)n : 0;
}

/* Orders slots by the id that is seen; a slot that is not seen will not be
 * answered, so any id it has had will do. */
static struct vg_id slot_id(const struct reader *rd, uint32_t slot)
{
	uint32_t no = cell_find(rd->cell, slot, rd->moment);

	if (no == VERSION_NONE)
		no = atomic_load_explicit(&cell_slot(rd->cell, slot)->head,
			     memory_order_acquire) -
		     1;
	assert(no != VERSION_NONE);
	return version_id(generation_version(rd->cell->gen, no));
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
static int search_graph(const struct search *q, uint32_t ef, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct topk *top)
{
	struct hit *found = sc->hits + q->k;
	struct hnsw_query hq = {
		.vec = q->vec,
		.k = q->k,
		.ef = ef,
		.is_visible = is_visible,
		.look_ahead = look_ahead,
		.ctx = rd,
		.hidden = hidden_share(rd),
		.cancel = q->cancel,
		.n_kept = &rd->n_kept,
	};
	uint32_t n;
	int rc;

	rd->tail_only = false;
	rc = hnsw_search(rd->cell->hnsw, &hq, sc->hnsw, found, &n);
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
 * Whether the graph may have given up among rows that are not seen: it walks
 * over what was deleted for so long only. How many are seen is known of a
 * snapshot; the present's count may be of a later moment than the look's. Of
 * the present so few are there that a graph was walked at all (is_scan) only
 * where most rows are deleted, and compaction is due.
 */
static bool is_short(const struct reader *rd, const struct topk *top)
{
	assert(!rd->match);
	uint64_t n_seen = rd->coll->of ? atomic_load_explicit(&rd->coll->n_live,
						 memory_order_relaxed)
				       : UINT64_MAX;

	return top->n < top->cap && top->n + (rd->leave_out.len > 0) < n_seen;
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

/* ---- with a filter ---- */

/*
 * So few matches that looking at each is as fast as a walk among the others;
 * docs/index.md has the measurements.
 */
#define SCAN_MATCHES 20u /* times the square root of the rows */

static bool is_match_scan(const struct cell *cell, const struct search *q,
	uint32_t ef, uint32_t n_slots)
{
	uint64_t m = match_size(q->match);

	return is_scan(cell, q, ef, n_slots) ||
	       m * m <= (uint64_t)SCAN_MATCHES * SCAN_MATCHES * n_slots;
}

static struct flat_query flat_of(const struct search *q, struct reader *rd)
{
	return (struct flat_query){
		.vec = q->vec,
		.dim = rd->cell->dim,
		.metric = rd->cell->metric,
		.is_visible = is_visible,
		.ctx = rd,
		.cancel = q->cancel,
	};
}

/* Every match by its row. */
static int scan_matches(
	const struct flat_query *fq, struct reader *rd, struct topk *top)
{
	const uint32_t *slots;
	uint32_t n;
	int rc = match_slots(rd->match, &slots, &n);

	rd->tail_only = false;
	top->n = 0;
	return rc < 0 ? rc
		      : flat_scan_list(fq, &rd->cell->vec.rows, slots, n, top);
}

/*
 * The walk goes over all rows and keeps the matches that it meets. Those that
 * it kept are the nearest there are, if only as near as it got: where it came
 * to few, as the matches are few there or lie elsewhere, each is looked at. So
 * if k rows match, k are answered.
 */
#define KEPT_MORE 16u /* candidates beside 2 k, or as many as ef */

static int run_matches(const struct search *q, uint32_t ef, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct topk *top)
{
	const struct cell *cell = rd->cell;
	uint32_t n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	struct flat_query fq = flat_of(q, rd);
	int rc;

	if (is_match_scan(cell, q, ef, n))
		return scan_matches(&fq, rd, top);
	rd->tail_only = true;
	rc = flat_scan(&fq, &cell->vec.rows, tail_from, n, top);
	if (rc == 0)
		rc = search_graph(q, ef, rd, tail_from, sc, top);
	if (rc == 0 && rd->n_kept < VG_MIN(ef, 2 * q->k + KEPT_MORE))
		rc = scan_matches(&fq, rd, top);
	return rc;
}

/* ---- a whole search ---- */

static int run(const struct search *q, uint32_t ef, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct topk *top)
{
	const struct cell *cell = rd->cell;
	uint32_t n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	bool is_exact = is_scan(cell, q, ef, n);
	struct flat_query fq = flat_of(q, rd);
	int rc;

	assert(tail_from <= n);
	assert(q->dim == cell->dim);
	if (q->match)
		return run_matches(q, ef, rd, tail_from, sc, top);
	rd->tail_only = !is_exact;
	rc = flat_scan(&fq, &cell->vec.rows, is_exact ? 0 : tail_from, n, top);
	if (rc == 0 && !is_exact) {
		rc = search_graph(q, ef, rd, tail_from, sc, top);
		if (rc == 0 && is_short(rd, top)) {
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

/* The hits but those whose rows were lost while they were looked at: their
 * distances are of no account. */
static uint32_t take_hits(const struct reader *rd, const struct topk *top,
	struct search_hit *hits)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < top->n; i++) {
		uint32_t slot = top->hits[i].slot;
		uint32_t no = cell_find(rd->cell, slot, rd->moment);

		assert(no != VERSION_NONE);
		if (cell_check_row(rd->cell, slot) < 0)
			continue;
		hits[n++] = (struct search_hit){
			.dist = top->hits[i].dist,
			.slot = slot,
			.version = generation_version(rd->cell->gen, no),
		};
	}
	return n;
}

/* Runs it until no row is lost meanwhile, which would be among the best: the
 * next run leaves it out. A disk that loses ever more of them gets few. */
#define RUNS_MAX 4

static int run_whole(const struct search *q, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct search_hit *hits,
	uint32_t *n)
{
	uint32_t ef = q->ef ? q->ef : collection_config(rd->coll).ef_search;
	int rc = scratch_reserve(sc, (size_t)q->k + VG_MAX(q->k, ef));
	struct topk top = {0};

	for (int i = 0; i < RUNS_MAX && rc == 0; i++) {
		topk_init(&top, sc->hits, q->k, tie, rd);
		rc = run(q, ef, rd, tail_from, sc, &top);
		if (rc < 0 && rc != -EINTR)
			break;
		topk_sort(&top);
		*n = take_hits(rd, &top, hits);
		if (*n == top.n)
			break;
	}
	return rc;
}

int store_search(struct store *s, const struct look *look,
	const struct search *q, struct search_hit *hits, uint32_t *n)
{
	struct collection *c = look->coll;
	struct reader rd = {.coll = c,
		.cell = look->cell,
		.moment = look->moment,
		.match = q->match,
		.leave_out = q->leave_out};
	struct scratch *sc;
	int rc;

	assert(q->k > 0 && q->k <= VG_K_MAX + 1);
	atomic_fetch_add_explicit(&(c->of ? c->of : c)->searches, 1,
		memory_order_relaxed);
	*n = 0;
	if (!look->cell)
		return 0;
	rc = check_query(look->cell, q);
	if (rc < 0)
		return rc;
	rc = scratch_get(s, &sc);
	if (rc < 0)
		return rc;
	rc = run_whole(q, &rd, look->tail_from, sc, hits, n);
	scratch_put(s, sc);
	return rc;
}

uint64_t store_search_cost(const struct look *look, const struct search *q)
{
	const struct cell *cell = look->cell;
	uint32_t ef;
	uint64_t n;

	if (!cell)
		return 0;
	ef = q->ef ? q->ef : collection_config(look->coll).ef_search;
	n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	if (!is_scan(cell, q, ef, (uint32_t)n))
		n = n - VG_MIN(look->tail_from, n) +
		    VG_MIN(n, 16 * (uint64_t)VG_MAX(q->k, ef));
	return n * cell->dim * sizeof(float);
}
