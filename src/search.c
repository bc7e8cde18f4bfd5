/* SPDX-License-Identifier: Apache-2.0 */
/* search.c: the index's answer and the exact tail's, as one. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/flat.h"
#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/collapse.h"
#include "src/config.h"
#include "src/element.h"
#include "src/match.h"
#include "src/recall.h"
#include "src/store_int.h"

/*
 * The tail is scanned before the graph is walked: a slot that is linked in
 * between is then found twice, not missed; a slot that was linked before the
 * scan looked at it is in the graph when the walk begins. tail_from is read
 * before the moment is taken: below it are slots that are linked, or that no
 * moment from then on sees.
 */

#define FETCH_MAX 256u /* rows that the disk is asked for at once */

/* What callbacks of one search need. */
struct reader {
	struct collection *coll;
	struct cell *cell;
	const struct moment *moment;
	struct match *match; /* NULL: all are wanted */
	bool has_among;	      /* of match: it has been made */
	bool is_listed;	      /* only slots of match are asked about */
	struct among among;
	const struct vg_id *leave_out;
	uint32_t n_leave_out;
	struct collapse *groups; /* the best of each is wanted; NULL: all */
	bool tail_only; /* linked slots are the graph's to find */
	uint32_t n_bad; /* candidates of this run that fetch found damaged */
	uint32_t n_kept; /* of the last walk: hnsw_query */
};

static int compare_ids(struct vg_id a, struct vg_id b)
{
	int c = memcmp(a.bytes, b.bytes, VG_MIN(a.len, b.len));

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

static bool is_left_out(const struct reader *rd, uint32_t no)
{
	struct vg_id id = version_id(generation_version(rd->cell->gen, no));

	for (uint32_t i = 0; i < rd->n_leave_out; i++)
		if (compare_ids(id, rd->leave_out[i]) == 0)
			return true;
	return false;
}

/* A match's slot says that the look shows it, too. */
static bool is_matched(const struct reader *rd, uint32_t slot)
{
	uint32_t no;

	if (cell_is_bad(rd->cell, slot))
		return false;
	if (rd->n_leave_out == 0)
		return true;
	no = cell_find(rd->cell, slot, rd->moment);
	return no != VERSION_NONE && !is_left_out(rd, no);
}

/* Whether a row may be answered, as far as that is known without reading it. */
static bool is_candidate(void *ctx, uint32_t slot)
{
	const struct reader *rd = ctx;
	uint32_t no;

	if (rd->tail_only &&
		atomic_load_explicit(&cell_slot(rd->cell, slot)->state,
			memory_order_acquire) == SLOT_LINKED)
		return false;
	if (rd->is_listed)
		return is_matched(rd, slot);
	if (rd->has_among)
		return among_has(&rd->among, slot) && is_matched(rd, slot);
	no = cell_find(rd->cell, slot, rd->moment);
	if (no == VERSION_NONE || (rd->match && !match_has(rd->match, no)) ||
		cell_is_bad(rd->cell, slot))
		return false;
	return rd->n_leave_out == 0 || !is_left_out(rd, no);
}

/* Of a row that a scan has read. */
static bool is_visible(void *ctx, uint32_t slot)
{
	const struct reader *rd = ctx;

	return is_candidate(ctx, slot) && cell_check_row(rd->cell, slot) == 0;
}

/* Rows of a list, before a scan reads them. */
static void fetch_rows(void *ctx, const uint32_t *slots, uint32_t n)
{
	const struct reader *rd = ctx;

	column_fetch(&rd->cell->vec, slots, n);
}

static void fetch_range(void *ctx, uint32_t from, uint32_t to)
{
	const struct reader *rd = ctx;

	column_fetch_range(&rd->cell->vec, from, to);
}

/* Where codes say all, a row is read once, to look at it. */
static void fetch_unsure(const struct reader *rd, const struct hit *hits,
	uint32_t n, bool by_row)
{
	uint32_t slots[FETCH_MAX], m = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (by_row || !rows_is_sure(&rd->cell->vec.rows, hits[i].slot))
			slots[m++] = hits[i].slot;
		if (m == FETCH_MAX || i + 1 == n) {
			column_fetch(&rd->cell->vec, slots, m);
			m = 0;
		}
	}
}

/* What a walk has found, before it is compared: what the disk has of it comes
 * at once, and what it has not is no candidate. */
static uint32_t fetch(void *ctx, struct hit *hits, uint32_t n, bool by_row)
{
	struct reader *rd = ctx;
	uint32_t kept = 0;

	fetch_unsure(rd, hits, n, by_row);
	for (uint32_t i = 0; i < n; i++)
		if (cell_check_row(rd->cell, hits[i].slot) == 0)
			hits[kept++] = hits[i];
	rd->n_bad += n - kept;
	return kept;
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

/* The share of rows of the graph that are not seen, but for a few. */
static float hidden_share(const struct reader *rd)
{
	uint32_t n = hnsw_count(rd->cell->hnsw);
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

static void scratch_free(struct scratch *sc)
{
	if (!sc)
		return;
	hnsw_scratch_free(sc->hnsw);
	ivf_scratch_free(sc->ivf);
	free(sc->hits);
	free(sc);
}

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
		if (!sc || hnsw_scratch_new(&sc->hnsw) < 0 ||
			ivf_scratch_new(&sc->ivf) < 0) {
			scratch_free(sc);
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

		scratch_free(s->scratch);
		s->scratch = next;
	}
}

/* ---- one search ---- */

/*
 * With a filter: where no more than ROWS_MAX match, each match is compared by
 * its row, which is exact. Where so few do that to look at each is as fast as a
 * walk, and surer (SCAN_MIN, or SCAN_MATCHES times the square root of the rows;
 * docs/index.md has the measurements), by its code. Else a walk keeps the
 * matches that it meets. Those are the nearest there are, if only as far as it
 * got: where it came to few, as they are few there or lie elsewhere, each is
 * compared by its row after all. So if k rows match, k are answered. Lists are
 * always looked through as a walk is.
 */
#define ROWS_MAX 128u
#define SCAN_MIN 4096u
#define SCAN_MATCHES 10u
#define KEPT_MORE 16u /* candidates beside 2 k, or as many as ef */

static bool is_match_scan(const struct reader *rd)
{
	uint64_t m = rd->match ? match_size(rd->match) : UINT32_MAX;

	return rd->cell->hnsw &&
	       (m <= SCAN_MIN || m * m <= (uint64_t)SCAN_MATCHES *
						  SCAN_MATCHES *
						  hnsw_count(rd->cell->hnsw));
}

static int walk_graph(const struct search *q, uint32_t ef, struct reader *rd,
	struct scratch *sc, struct hit *found, uint32_t *n)
{
	struct hnsw_query hq = {
		.vec = q->vec,
		.k = q->k,
		.ef = ef,
		.is_visible = is_candidate,
		.fetch = fetch,
		.look_ahead = rd->has_among ? NULL : look_ahead,
		.ctx = rd,
		.hidden = hidden_share(rd),
		/* Of matches that are all deleted nothing is left to scan. */
		.among = rd->among.n > 0 || rd->is_listed ? &rd->among : NULL,
		.cancel = q->cancel,
		.n_kept = &rd->n_kept,
	};

	if (rd->is_listed)
		return hnsw_scan(rd->cell->hnsw, &hq, sc->hnsw, found, n);
	return hnsw_search(rd->cell->hnsw, &hq, sc->hnsw, found, n);
}

static int probe_lists(const struct search *q, uint32_t ef, struct reader *rd,
	struct scratch *sc, struct hit *found, uint32_t *n)
{
	struct ivf_query iq = {
		.vec = q->vec,
		.k = q->k,
		.ef = ef,
		.nprobe = q->nprobe,
		.is_visible = is_visible,
		.ctx = rd,
		.cancel = q->cancel,
		.n_kept = &rd->n_kept,
	};

	return ivf_search(rd->cell->ivf, &iq, sc->ivf, found, n);
}

/* Offers what the index finds to top, in whose hits the first room for k is;
 * the index's own answer goes behind it. */
static int search_index(const struct search *q, uint32_t ef, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct topk *top)
{
	struct hit *found = sc->hits + q->k;
	uint32_t n;
	int rc;

	rd->tail_only = false;
	rc = rd->cell->ivf ? probe_lists(q, ef, rd, sc, found, &n)
			   : walk_graph(q, ef, rd, sc, found, &n);
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

	return top->n < top->cap && top->n + rd->n_leave_out < n_seen;
}

/* An inverted file that has learnt nothing yet compares all it has. */
static bool has_lists(struct ivf *v)
{
	struct ivf_stat st;

	ivf_stat(v, &st);
	return st.n_lists > 0;
}

/*
 * A walk's pool costs with the square of ef: where that nears the rows there
 * are, looking at each is as fast, and exact.
 */
#define SCAN_SHARE 8u

static bool is_scan(const struct cell *cell, const struct search *q,
	uint32_t ef, uint32_t n_slots)
{
	return q->exact || !cell_has_index(cell) ||
	       (uint64_t)VG_MAX(ef, q->k) * SCAN_SHARE >= n_slots ||
	       (cell->ivf && !has_lists(cell->ivf));
}

static struct flat_query flat_of(const struct search *q, struct reader *rd)
{
	return (struct flat_query){
		.vec = q->vec,
		.dim = rd->cell->dim,
		.metric = rd->cell->metric,
		.form = (enum dist_form)rd->cell->dtype,
		.is_visible = is_visible,
		.fetch = fetch_rows,
		.fetch_range = fetch_range,
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
	rd->is_listed = true;
	top->n = 0;
	return rc < 0 ? rc
		      : flat_scan_list(fq, &rd->cell->vec.rows, slots, n, top);
}

static int run_matches(const struct search *q, uint32_t ef, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct topk *top)
{
	const struct cell *cell = rd->cell;
	uint32_t n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	uint32_t few = VG_MAX(q->k, VG_MIN(ef, 2 * q->k + KEPT_MORE));
	struct flat_query fq = flat_of(q, rd);
	bool is_few = is_match_scan(rd); /* once: the graph grows */
	int rc;

	if (is_scan(cell, q, ef, n) || match_size(q->match) <= ROWS_MAX)
		return scan_matches(&fq, rd, top);
	rd->tail_only = true;
	rd->is_listed = false;
	rc = flat_scan(&fq, &cell->vec.rows, tail_from, n, top);
	rd->is_listed = is_few;
	if (rc == 0 && is_few)
		rc = match_slots(rd->match, &rd->among.slots, &rd->among.n);
	else if (rc == 0)
		rd->has_among = match_among(rd->match, &rd->among);
	if (rc == 0)
		rc = search_index(q, ef, rd, tail_from, sc, top);
	if (rc == 0 && !is_few &&
		rd->n_kept + VG_MIN(rd->n_leave_out, few) < few)
		rc = scan_matches(&fq, rd, top);
	return rc;
}

/* ---- the nearest of each group ---- */

/* Every row, by its group: of each the nearest one is offered. */
static int scan_groups(
	const struct flat_query *fq, struct reader *rd, struct topk *top)
{
	struct collapse_groups groups;
	int rc = collapse_get(rd->groups, fq->cancel, &groups);

	assert(rd->groups && top->n == 0);
	rd->tail_only = false;
	for (uint32_t g = 0; rc == 0 && g < groups.n; g++) {
		struct topk nearest;
		struct hit hit;

		topk_init(&nearest, &hit, 1, tie, rd);
		rc = flat_scan_list(fq, &rd->cell->vec.rows,
			groups.slot + groups.begin[g],
			groups.begin[g + 1] - groups.begin[g], &nearest);
		if (nearest.n > 0 && topk_wants(top, hit))
			topk_put(top, hit);
	}
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
	if (rd->groups)
		return scan_groups(&fq, rd, top);
	if (q->match)
		return run_matches(q, ef, rd, tail_from, sc, top);
	rd->tail_only = !is_exact;
	rc = flat_scan(&fq, &cell->vec.rows, is_exact ? 0 : tail_from, n, top);
	if (rc == 0 && !is_exact) {
		rc = search_index(q, ef, rd, tail_from, sc, top);
		if (rc == 0 && is_short(rd, top)) {
			top->n = 0;
			rc = flat_scan(&fq, &cell->vec.rows, 0, n, top);
		}
	}
	return rc;
}

/* 0: there is nothing to be found: the cell is of other vectors than the
 * collection has by now, which are to come. */
static int check_query(struct collection *c, const struct cell *cell,
	const struct search *q)
{
	enum vg_dtype dtype = q->dtype ? q->dtype : VG_F32;

	if (q->dim != cell->dim || dtype != cell->dtype) {
		struct op_config config = collection_config(c);

		return q->dim == config.dim && dtype == config.dtype ? 0
								     : -EINVAL;
	}
	return cell->metric == VG_COSINE &&
			       element_is_zero(dtype, q->vec, q->dim)
		       ? -EINVAL
		       : 1;
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
		hits[n] = (struct search_hit){
			.dist = top->hits[i].dist,
			.slot = slot,
			.version = generation_version(rd->cell->gen, no),
		};
		version_prefetch(hits[n++].version); /* to be rendered */
	}
	return n;
}

/*
 * A snapshot is searched as its collection is. What is tuned is tuned for
 * searches without a filter: one that has some goes by what it was found good
 * with before.
 */
static uint32_t ef_of(struct collection *c, const struct search *q)
{
	struct op_config config;
	uint32_t ef;

	if (q->ef)
		return q->ef;
	config = collection_config(c);
	if (c->of && !config.ef_search)
		config = collection_config(c->of);
	ef = config_ef_search(&config, q->k);
	return q->match && !config.ef_search ? VG_MAX(ef, CONFIG_EF_DEFAULT)
					     : ef;
}

/* Runs it until no row is lost meanwhile, which would be among the best, nor so
 * many found damaged that too few are left: the next run leaves them out. A disk
 * that loses ever more of them gets few. */
#define RUNS_MAX 4

static int run_whole(const struct search *q, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct search_hit *hits,
	uint32_t *n)
{
	/* What is left out takes a place among the candidates. */
	uint32_t ef = VG_MAX(ef_of(rd->coll, q), q->k + q->n_leave_out);
	size_t room = VG_MAX(hnsw_scan_room(q->k), VG_MAX(q->k, ef));
	int rc = scratch_reserve(sc, q->k + room);
	struct topk top = {0};

	for (int i = 0; i < RUNS_MAX && rc == 0; i++) {
		rd->n_bad = 0;
		topk_init(&top, sc->hits, q->k, tie, rd);
		rc = run(q, ef, rd, tail_from, sc, &top);
		if (rc < 0 && rc != -EINTR)
			break;
		topk_sort(&top);
		*n = take_hits(rd, &top, hits);
		if (*n == top.n && (rd->n_bad == 0 || top.n == q->k))
			break;
	}
	return rc;
}

/*
 * As many groups as are wanted are mostly among some more of the nearest rows.
 * Where they are not, as a group may have any number of rows, those of all rows
 * are found. So if k groups exist, k are answered.
 */
#define GROUP_ROWS 8u /* times k, and once more times that */

static int run_groups(const struct search *q, struct reader *rd,
	uint32_t tail_from, struct scratch *sc, struct search_hit *hits,
	uint32_t *n)
{
	struct search deep = *q;
	struct search_hit *found;
	uint32_t n_found = 0;
	int rc = 0;

	found = malloc(VG_K_MAX * sizeof(*found));
	if (!found)
		return -ENOMEM;
	while (rc == 0 && n_found < q->k && deep.k < VG_K_MAX) {
		deep.k = VG_MIN(deep.k * GROUP_ROWS, (uint32_t)VG_K_MAX);
		rc = run_whole(&deep, rd, tail_from, sc, found, &n_found);
		int bad = rc == 0 || rc == -EINTR ?
				  collapse_hits(q->collapse, found, &n_found) :
				  rc;
		rc = bad < 0 ? bad : rc;
	}
	*n = VG_MIN(n_found, q->k);
	memcpy(hits, found, *n * sizeof(*hits));
	free(found);
	if (rc < 0 || *n == q->k)
		return rc;
	rd->groups = q->collapse;
	return run_whole(q, rd, tail_from, sc, hits, n);
}

int search_run(struct store *s, const struct look *look,
	const struct search *q, struct search_hit *hits, uint32_t *n)
{
	struct reader rd = {.coll = look->coll,
		.cell = look->cell,
		.moment = look->moment,
		.match = q->match,
		.leave_out = q->leave_out,
		.n_leave_out = q->n_leave_out};
	struct scratch *sc;
	int rc;

	assert(q->k > 0 && q->k <= VG_K_MAX + 1);
	*n = 0;
	if (!look->cell)
		return 0;
	rc = check_query(look->coll, look->cell, q);
	if (rc <= 0)
		return rc;
	rc = scratch_get(s, &sc);
	if (rc < 0)
		return rc;
	rc = (q->collapse ? run_groups : run_whole)(
		q, &rd, look->tail_from, sc, hits, n);
	scratch_put(s, sc);
	return rc;
}

bool store_search_is_scan(const struct cell *cell, uint32_t ef, uint32_t k)
{
	struct search q = {.k = k};

	return is_scan(cell, &q, ef,
		atomic_load_explicit(&cell->n_slots, memory_order_acquire));
}

/* Offers the nth search, which went well, to the samples: one whose ef is the
 * collection's, and an index's answer. */
static void sample(struct store *s, const struct look *look,
	const struct search *q, uint64_t nth)
{
	struct collection *c = look->coll;
	struct recall_query rq = {.vec = q->vec,
		.dim = q->dim,
		.dtype = q->dtype ? q->dtype : VG_F32,
		.k = VG_MIN(q->k, VG_K_MAX)};

	assert(q->dim > 0 && q->k > 0);
	if (q->n_leave_out == 1)
		rq.leave_out = q->leave_out[0];
	if (c->of || q->ef || q->nprobe || q->match || q->collapse ||
		q->n_leave_out > 1 || !look->cell ||
		is_scan(look->cell, q, ef_of(c, q), look->cell->n_slots))
		return;
	if (recall_offer(c->recall, nth, look->cell->n_slots, &rq))
		tune_wake(s);
}

int store_search(struct store *s, const struct look *look,
	const struct search *q, struct search_hit *hits, uint32_t *n)
{
	struct collection *c = look->coll->of ? look->coll->of : look->coll;
	uint64_t nth = atomic_fetch_add_explicit(
		&c->searches, 1, memory_order_relaxed);
	int rc = search_run(s, look, q, hits, n);

	if (rc == 0 && recall_wants(c->recall, nth))
		sample(s, look, q, nth);
	return rc;
}

/* Rows' worth of bytes that lists take, with the tail and what is compared by
 * rows. */
static uint64_t probe_rows(
	const struct cell *cell, const struct search *q, uint32_t ef)
{
	struct ivf_stat st;
	uint64_t nprobe, bytes;

	assert(cell->ivf && ef > 0);
	ivf_stat(cell->ivf, &st);
	assert(st.n_lists > 0); /* is_scan */
	nprobe = q->nprobe ? VG_MIN(q->nprobe, st.n_lists)
			   : ivf_nprobe(st.n_lists, ef);
	bytes = st.coded * nprobe / st.n_lists * (st.m + 2 * sizeof(uint32_t));
	return st.linked - st.coded + st.n_lists + ef +
	       bytes / cell->vec.rows.stride;
}

uint64_t store_search_cost(const struct look *look, const struct search *q)
{
	const struct cell *cell = look->cell;
	uint32_t ef;
	uint64_t n;

	if (!cell)
		return 0;
	ef = ef_of(look->coll, q);
	n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	if (!is_scan(cell, q, ef, (uint32_t)n))
		n = n - VG_MIN(look->tail_from, n) +
		    VG_MIN(n, cell->ivf ? probe_rows(cell, q, VG_MAX(q->k, ef))
					: 16 * (uint64_t)VG_MAX(q->k, ef));
	return n * cell->vec.rows.stride;
}
