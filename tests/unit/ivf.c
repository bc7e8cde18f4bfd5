/* SPDX-License-Identifier: Apache-2.0 */
/* ivf.c: an inverted file in all its shapes: sizes, metrics, threads, streams. */
#include "index/ivf.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "index/dist.h"
#include "index/flat.h"
#include "index/ivf_int.h"
#include "tests/recall/data.h"
#include "tests/streamkit.h"
#include "tests/tap.h"

#define CENTRES 300

/* One over data of its own: rows around some centres. */
struct ground {
	struct data data;
	struct ivf *v;
	struct ivf_scratch *scratch;
	struct ivf_config config;
	struct hit *hits; /* room for n */
	uint32_t n_hits;
	const char *why;
};

static float draw(void)
{
	return (float)(rand() % 2001 - 1000) / 1000;
}

static void ground_init(struct ground *g, enum vg_metric metric, uint32_t n,
	uint32_t dim)
{
	float *centres = malloc((size_t)CENTRES * dim * sizeof(*centres));

	must(centres);
	memset(g, 0, sizeof(*g));
	g->config = (struct ivf_config){.dim = dim, .metric = metric};
	data_init(&g->data, n, dim, false);
	for (size_t i = 0; i < (size_t)CENTRES * dim; i++)
		centres[i] = draw() / 2;
	for (size_t i = 0; i < (size_t)n * dim; i++)
		g->data.vecs[i] =
			centres[i / dim % CENTRES * dim + i % dim] + draw();
	free(centres);
	must(ivf_new(&g->config, &g->data.rows, &g->v) == 0);
	must(ivf_scratch_new(&g->scratch) == 0);
	g->hits = calloc(n, sizeof(*g->hits));
	must(g->hits);
}

static void ground_fini(struct ground *g)
{
	ivf_free(g->v);
	ivf_scratch_free(g->scratch);
	free(g->hits);
	data_fini(&g->data);
}

static float *row(struct ground *g, uint32_t slot)
{
	return g->data.vecs + (size_t)slot * g->data.dim;
}

static void put_range(struct ground *g, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		must(ivf_put(g->v, i, g->scratch) == 0);
}

static bool is_valid(struct ivf *v)
{
	const char *why = "";

	if (v && ivf_check(v, &why) == 0)
		return true;
	diag("not valid: %s", why);
	return false;
}

static struct ivf_stat stat_of(struct ivf *v)
{
	struct ivf_stat st;

	ivf_stat(v, &st);
	return st;
}

static void search(struct ground *g, const struct ivf_query *q)
{
	must(ivf_search(g->v, q, g->scratch, g->hits, &g->n_hits) == 0);
}

/* The share of the exact k nearest visible among what was found, by distance. */
static double recall(struct ground *g, const struct ivf_query *q)
{
	struct flat_query fq = {.vec = q->vec,
		.dim = g->data.dim,
		.metric = g->config.metric,
		.is_visible = q->is_visible,
		.ctx = q->ctx};
	struct hit *best = malloc(q->k * sizeof(*best));
	struct topk top;
	uint32_t right = 0;

	must(best);
	topk_init(&top, best, q->k, NULL, NULL);
	must(flat_scan(&fq, &g->data.rows, 0, g->data.n, &top) == 0);
	topk_sort(&top);
	search(g, q);
	for (uint32_t i = 0; i < VG_MIN(g->n_hits, q->k); i++)
		right += g->hits[i].dist <= best[top.n - 1].dist;
	free(best);
	return top.n ? (double)right / top.n : g->n_hits == 0;
}

/* Of 50 queries that are rows with something added. */
static double recall_of(struct ground *g, struct ivf_query *q)
{
	float vec[64];
	double sum = 0;

	q->vec = vec;
	for (uint32_t i = 0; i < 50; i++) {
		for (uint32_t d = 0; d < g->data.dim; d++)
			vec[d] = row(g, i * (g->data.n / 50))[d] + draw() / 4;
		sum += recall(g, q);
	}
	return sum / 50;
}

/* ---- what is asked, and refused ---- */

static void test_checks(void)
{
	struct ground g;
	struct ivf_config config = {.dim = 0, .metric = VG_L2};
	_Atomic bool cancel = true;
	struct ivf_query q = {.k = 3};
	struct ivf *v;

	ground_init(&g, VG_L2, 200, 5);
	ok(ivf_new(&config, &g.data.rows, &v) == -EINVAL,
		"no dimensions are refused");
	config = (struct ivf_config){.dim = 5, .metric = VG_L1};
	ok(ivf_new(&config, &g.data.rows, &v) == -EINVAL,
		"a metric that has no products is refused");
	q.vec = row(&g, 7);
	search(&g, &q);
	ok(g.n_hits == 0 && is_valid(g.v), "without rows nothing is found");
	put_range(&g, 0, 1);
	search(&g, &q);
	ok(g.n_hits == 1, "of one row one is found");
	put_range(&g, 1, 200);
	ok(ivf_put(g.v, 17, g.scratch) == -EEXIST, "a slot goes in once");
	ok(ivf_put(g.v, IVF_SLOT_MAX, g.scratch) == -ERANGE,
		"a slot too high is refused");
	ok(ivf_is_linked(g.v, 199) && !ivf_is_linked(g.v, 200) &&
			ivf_count(g.v) == 200,
		"it is known which slots are in");
	ok(recall_of(&g, &q) == 1 && stat_of(g.v).n_lists == 0,
		"few rows are compared exactly");
	q.k = 0;
	ok(ivf_search(g.v, &q, g.scratch, g.hits, &g.n_hits) == -EINVAL,
		"k of 0 is refused");
	q.k = 1;
	q.ef = VG_EF_MAX + 1;
	ok(ivf_search(g.v, &q, g.scratch, g.hits, &g.n_hits) == -EINVAL,
		"and an ef above the limit");
	q.ef = 10;
	q.cancel = &cancel;
	ok(ivf_search(g.v, &q, g.scratch, g.hits, &g.n_hits) == -EINTR,
		"a search can be cancelled");
	ok(!ivf_is_due(g.v) && ivf_train(g.v, NULL) == 0 &&
			stat_of(g.v).n_lists == 0,
		"from few rows nothing is learnt");
	ground_fini(&g);
}

/* ---- recall ---- */

static bool is_hundredth(void *ctx, uint32_t slot)
{
	(void)ctx;
	return slot % 100 == 7;
}

static bool is_never(void *ctx, uint32_t slot)
{
	(void)ctx;
	(void)slot;
	return false;
}

static void test_recall(enum vg_metric metric, const char *name)
{
	enum { N = 12000 };
	static const uint32_t probes[] = {1, 4, 16, 64, IVF_LISTS_MAX};
	struct ground g;
	struct ivf_query q = {.k = 10, .ef = 100};
	struct ivf_stat st;
	double before = 0, is = 0;
	bool grows = true;
	uint32_t kept = 0;

	ground_init(&g, metric, N, 24);
	put_range(&g, 0, N / 2);
	put_range(&g, N / 2, N - 500);
	ok(ivf_is_due(g.v) && ivf_train(g.v, NULL) == 0 && !ivf_is_due(g.v),
		"%s: lists are learnt when rows are many", name);
	put_range(&g, N - 500, N);
	st = stat_of(g.v);
	ok(st.n_lists == ivf_lists_for(N - 500) && st.coded == N &&
			st.m == ivf_code_len(24) && is_valid(g.v),
		"%s: all rows have codes, those that came later, too", name);
	for (uint32_t i = 0; i < VG_ARRAY_LEN(probes); i++) {
		q.nprobe = probes[i];
		is = recall_of(&g, &q);
		diag("%s nprobe %u: recall %.3f", name, probes[i], is);
		grows = grows && is >= before - .01;
		before = is;
	}
	ok(grows && is > .98, "%s: recall grows with nprobe", name);
	q.ef = N;
	ok(recall_of(&g, &q) == 1,
		"%s: all lists, and all candidates by their rows, are exact",
		name);
	q.nprobe = 1;
	q.ef = 100;
	q.is_visible = is_hundredth;
	q.n_kept = &kept;
	is = recall_of(&g, &q);
	ok(g.n_hits >= 10 && kept >= 36 && is > .6,
		"%s: where few may be answered more lists are looked through",
		name);
	q.k = 500;
	recall_of(&g, &q);
	ok(g.n_hits == N / 100, "%s: and all, for the last of them", name);
	q.is_visible = is_never;
	q.vec = row(&g, 0);
	search(&g, &q);
	ok(g.n_hits == 0 && kept == 0, "%s: none are made up", name);
	ground_fini(&g);
}

/* ---- odd rows ---- */

static void test_equal(void)
{
	enum { N = IVF_TRAIN };
	struct ground g;
	struct ivf_query q = {.k = 20, .ef = 50};
	uint32_t fewest, most;

	ground_init(&g, VG_COSINE, N, 6);
	for (uint32_t i = 1; i < N; i++)
		memcpy(row(&g, i), row(&g, 0), 6 * sizeof(float));
	q.vec = row(&g, 0);
	put_range(&g, 0, N);
	ivf_list_rows(g.v, &fewest, &most);
	ok(fewest == 0 && most == 0, "without lists none has rows");
	ok(ivf_train(g.v, NULL) == 0 && is_valid(g.v),
		"rows that are all equal can be learnt from");
	ivf_list_rows(g.v, &fewest, &most);
	ok(fewest == 0 && most == N, "one list has them all, which is told");
	search(&g, &q);
	ok(g.n_hits == 50 && g.hits[49].dist == 0, "and are found");
	ground_fini(&g);
}

static void test_wild(void)
{
	enum { N = IVF_TRAIN + 100 };
	struct ground g;
	struct ivf_query q = {.k = 10, .ef = 50};
	uint32_t wrong = 0;
	float far[8];

	ground_init(&g, VG_L2, N, 8);
	for (uint32_t i = 0; i < 100; i++)
		for (uint32_t d = 0; d < 8; d++)
			row(&g, i * 80)[d] *= i % 2 ? 1e30f : 1e-30f;
	put_range(&g, 0, N);
	must(ivf_train(g.v, NULL) == 0);
	ok(is_valid(g.v) && stat_of(g.v).coded == N - 100,
		"rows whose squares no float has get no codes");
	for (uint32_t i = 0; i < 100; i++) {
		q.vec = row(&g, i * 80);
		search(&g, &q);
		wrong += g.hits[0].dist != 0;
	}
	ok(wrong == 0, "and are found by themselves");
	for (uint32_t d = 0; d < 8; d++)
		far[d] = 1e25f * (float)(d + 1);
	q.vec = far;
	ok(recall(&g, &q) == 1, "a query of such is compared with all rows");
	memset(far, 0, sizeof(far));
	q.nprobe = IVF_LISTS_MAX;
	q.ef = N;
	ok(recall(&g, &q) == 1, "one of zeros is as any");
	ground_fini(&g);
	ground_init(&g, VG_IP, N, 4);
	for (size_t i = 0; i < (size_t)N * 4; i++)
		g.data.vecs[i] *= 1e-25f;
	put_range(&g, 0, N);
	ok(ivf_train(g.v, NULL) == 0 && stat_of(g.v).n_lists == 0 &&
			!ivf_is_due(g.v),
		"where no row can have a code nothing is learnt");
	ground_fini(&g);
}

static void test_growth(void)
{
	enum { N = IVF_GROWTH * IVF_TRAIN };
	struct ground g;
	struct ivf_query q = {.k = 10, .ef = 60};
	_Atomic bool cancel = true;
	struct ivf_stat before, st;

	ground_init(&g, VG_L2, N, 4);
	put_range(&g, 0, IVF_TRAIN);
	must(ivf_train(g.v, NULL) == 0);
	before = stat_of(g.v);
	put_range(&g, IVF_TRAIN, N);
	ok(ivf_is_due(g.v), "four times as many rows are learnt from anew");
	ok(ivf_train(g.v, &cancel) == -EINTR && ivf_is_due(g.v) &&
			stat_of(g.v).n_lists == before.n_lists && is_valid(g.v),
		"learning can be cancelled, and all is as it was");
	ok(ivf_train(g.v, NULL) == 0 && is_valid(g.v), "and done again");
	st = stat_of(g.v);
	ok(st.n_lists == 2 * before.n_lists && st.trained == N &&
			st.linked == N,
		"lists are twice as many then");
	ok(recall_of(&g, &q) > .95, "and recall is good");
	ground_fini(&g);
}

/* ---- streams ---- */

static int save(struct ground *g, struct stream *s, bool is_base, bool *delta)
{
	struct ivf_sink sink = {stream_write, s};

	s->len = 0;
	return ivf_save(g->v, is_base, &sink, delta);
}

/* NULL: refused. */
static struct ivf *load(struct ground *g, struct stream *s)
{
	struct ivf_source source = {stream_read, s};
	struct ivf *v;

	s->at = 0;
	g->why = "";
	return ivf_load_base(&g->config, &g->data.rows, g->data.n, &source,
		       &g->why, &v) == 0 ?
		       v :
		       NULL;
}

static bool load_delta(struct ground *g, struct ivf *v, struct stream *s)
{
	struct ivf_source source = {stream_read, s};

	s->at = 0;
	return ivf_load_delta(v, g->data.n, &source, &g->why) == 0;
}

static bool is_alike(struct ground *g, struct ivf *other)
{
	struct hit hits[100];
	uint32_t n, wrong = 0;

	for (uint32_t i = 0; i < 40; i++) {
		struct ivf_query q = {.vec = row(g, i * (g->data.n / 40)),
			.k = 9,
			.ef = 30};

		search(g, &q);
		must(ivf_search(other, &q, g->scratch, hits, &n) == 0);
		wrong += n != g->n_hits ||
			 memcmp(hits, g->hits, n * sizeof(*hits)) != 0;
	}
	return wrong == 0;
}

static void test_stream(uint32_t n, const char *what)
{
	struct ground g;
	struct stream base = {0}, first = {0}, second = {0};
	size_t cost, base_cost;
	struct ivf *v;
	bool is_delta = true;

	ground_init(&g, VG_COSINE, n, 10);
	put_range(&g, 0, n - 300);
	must(ivf_train(g.v, NULL) == 0);
	ok(ivf_unsaved(g.v) == n - 300 &&
			save(&g, &base, false, &is_delta) == 0 && !is_delta &&
			ivf_unsaved(g.v) == 0,
		"%s: what was never saved is saved whole", what);
	put_range(&g, n - 300, n - 100);
	ivf_save_cost(g.v, &cost, &base_cost);
	ok(save(&g, &first, false, &is_delta) == 0 && is_delta &&
			first.len == cost && cost < base_cost,
		"%s: then what came since, and its length was told", what);
	put_range(&g, n - 100, n);
	must(save(&g, &second, false, &is_delta) == 0 && is_delta);
	v = load(&g, &base);
	ok(v && !load_delta(&g, v, &second), "%s: a delta is not left out",
		what);
	ivf_free(v);
	v = load(&g, &base);
	ok(v && load_delta(&g, v, &first) && load_delta(&g, v, &second) &&
			is_valid(v) && is_alike(&g, v) &&
			stat_of(v).trained == stat_of(g.v).trained,
		"%s: base and deltas make what was saved", what);
	ivf_free(v);
	second.limit = 40;
	ok(save(&g, &second, true, &is_delta) == -ENOSPC &&
			ivf_unsaved(g.v) == n,
		"%s: a save that failed has saved nothing", what);
	second.limit = 0;
	ok(save(&g, &second, false, &is_delta) == 0 && !is_delta,
		"%s: the next is whole", what);
	ivf_save_cost(g.v, &cost, &base_cost);
	v = load(&g, &second);
	ok(v && is_alike(&g, v) && second.len <= base_cost + 1024,
		"%s: and makes the same", what);
	ivf_free(v);
	g.config.metric = VG_L2;
	ok(!load(&g, &second), "%s: of another metric it is refused", what);
	g.config.metric = VG_COSINE;
	g.data.n--;
	ok(!load(&g, &second), "%s: and with a row that is not there", what);
	free(base.bytes);
	free(first.bytes);
	free(second.bytes);
	g.data.n++;
	ground_fini(&g);
}

/* Whatever is wrong, it is refused or answers rows that are there. */
static void test_damage(void)
{
	enum { N = IVF_TRAIN + 50, DIM = 3 };
	struct ground g;
	struct stream s = {0};
	struct ivf_query q = {.k = 5, .ef = 40, .nprobe = 40};
	uint32_t n_let = 0, wrong = 0, n_cut = 0;
	bool is_delta;
	struct ivf *v;
	size_t len;

	ground_init(&g, VG_L2, N, DIM);
	put_range(&g, 0, N);
	must(ivf_train(g.v, NULL) == 0);
	must(save(&g, &s, true, &is_delta) == 0);
	len = s.len;
	for (uint32_t i = 0; i < 400; i++) {
		/* All of the header, and places all over. */
		size_t at = i < 64 ? i : (size_t)rand() % len;
		uint8_t was = s.bytes[at];

		s.bytes[at] ^= (uint8_t)(1u << rand() % 8);
		v = load(&g, &s);
		s.bytes[at] = was;
		if (!v)
			continue;
		n_let++;
		q.vec = row(&g, i);
		must(ivf_search(v, &q, g.scratch, g.hits, &g.n_hits) == 0);
		for (uint32_t j = 0; j < g.n_hits; j++)
			wrong += g.hits[j].slot >= N ||
				 g.hits[j].dist !=
					 dist_exact(VG_L2, DIM, q.vec,
						 row(&g, g.hits[j].slot));
		ivf_free(v);
	}
	ok(wrong == 0 && n_let < 400,
		"of 400 flipped bits %u were let in, and "
		"did no harm",
		n_let);
	for (s.len = 0; s.len < len; s.len += 1 + len / 300) {
		v = load(&g, &s);
		n_cut += v != NULL;
		ivf_free(v);
	}
	ok(n_cut == 0, "a stream that was cut is refused, wherever");
	free(s.bytes);
	ground_fini(&g);
}

/* ---- all at once ---- */

#define RACE_N (2 * IVF_TRAIN)

struct race {
	struct ground g;
	_Atomic uint32_t next;
	_Atomic uint32_t n_put; /* all slots below are in */
	_Atomic bool is_over;
	_Atomic uint32_t wrong;
	struct stream stream;
};

static void *race_put(void *arg)
{
	struct race *r = arg;
	struct ivf_scratch *s;
	uint32_t i;

	must(ivf_scratch_new(&s) == 0);
	while ((i = atomic_fetch_add(&r->next, 1)) < RACE_N)
		r->wrong += ivf_put(r->g.v, i, s) != 0;
	ivf_scratch_free(s);
	return NULL;
}

/* Slots that were in when a search began are found by their rows. */
static void *race_search(void *arg)
{
	struct race *r = arg;
	struct ivf_scratch *s;
	struct hit hits[64];
	uint32_t n = 0;

	must(ivf_scratch_new(&s) == 0);
	for (uint32_t i = 0; !atomic_load(&r->is_over); i++) {
		uint32_t slot = i * 31 % RACE_N;
		struct ivf_query q = {.vec = row(&r->g, slot),
			.k = 1,
			.ef = 64};

		if (!ivf_is_linked(r->g.v, slot))
			continue;
		r->wrong += ivf_search(r->g.v, &q, s, hits, &n) != 0 ||
			    n == 0 || hits[0].dist != 0;
	}
	ivf_scratch_free(s);
	return NULL;
}

static void *race_learn(void *arg)
{
	struct race *r = arg;

	while (!atomic_load(&r->is_over))
		if (ivf_is_due(r->g.v))
			r->wrong += ivf_train(r->g.v, NULL) != 0;
	return NULL;
}

static void *race_save(void *arg)
{
	struct race *r = arg;
	struct ivf *v;
	bool is_delta;

	while (!atomic_load(&r->is_over)) {
		must(save(&r->g, &r->stream, true, &is_delta) == 0);
		v = load(&r->g, &r->stream);
		r->wrong += !v;
		ivf_free(v);
	}
	return NULL;
}

static void test_race(void)
{
	static struct race r;
	static void *(*const work[])(void *) = {race_put, race_put, race_search,
		race_search, race_learn, race_save};
	pthread_t thread[VG_ARRAY_LEN(work)];

	ground_init(&r.g, VG_L2, RACE_N, 4);
	for (size_t i = 0; i < VG_ARRAY_LEN(work); i++)
		must(pthread_create(&thread[i], NULL, work[i], &r) == 0);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	while (ivf_is_due(r.g.v) || stat_of(r.g.v).is_training)
		sched_yield();
	atomic_store(&r.is_over, true);
	for (size_t i = 2; i < VG_ARRAY_LEN(work); i++)
		pthread_join(thread[i], NULL);
	ok(r.wrong == 0, "puts, searches, learning and saves go on at once");
	ok(is_valid(r.g.v) && ivf_count(r.g.v) == RACE_N &&
			stat_of(r.g.v).n_lists > 0,
		"and every row is where it belongs");
	free(r.stream.bytes);
	ground_fini(&r.g);
}

int main(void)
{
	plan(12 + 3 * 7 + 4 + 5 + 5 + 2 * 9 + 2 + 2);
	srand((unsigned)seed());
	test_checks();
	test_recall(VG_L2, "l2");
	test_recall(VG_COSINE, "cosine");
	test_recall(VG_IP, "ip");
	test_equal();
	test_wild();
	test_growth();
	test_stream(2000, "one list");
	test_stream(IVF_TRAIN + 400, "many lists");
	test_damage();
	test_race();
	return done();
}
