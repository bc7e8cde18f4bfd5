/* SPDX-License-Identifier: Apache-2.0 */
/* churn.c: see churn.h. */
#include "tests/recall/churn.h"

#include <pthread.h>
#include <stdlib.h>

#include "index/hnsw.h"
#include "tests/tap.h"

#define K 10
#define EF 100
#define WRITERS 4
#define READERS 2
#define SOAK_ROUNDS 10

struct state {
	const char *name;
	struct data *base;
	const struct data *queries;
	enum vg_metric metric;
	enum hnsw_codes codes;
	uint32_t n; /* rows at first; the new ones follow */
	struct hnsw *h;
	struct hnsw_scratch *scratch;
	bool *hidden; /* of each slot */
	_Atomic uint32_t next;
	_Atomic uint32_t failed;
	_Atomic bool is_over;
};

static bool is_visible(void *ctx, uint32_t slot)
{
	const struct state *s = ctx;

	return !s->hidden[slot];
}

static void new_graph(struct state *s)
{
	struct hnsw_config config = {.dim = s->base->dim,
		.metric = s->metric,
		.m = 16,
		.ef_construction = 200,
		.seed = 1,
		.codes = s->codes};

	must(hnsw_new(&config, &s->base->rows, &s->h) == 0);
}

static bool is_valid(const struct state *s)
{
	const char *why;
	int rc = hnsw_check(s->h, &why);

	if (rc == -VG_ECORRUPT)
		diag("hnsw_check: %s", why);
	return rc == 0;
}

/* How much of the truth the graph finds; `nearest` is of t. */
static double find_all(struct state *s, const struct truth *t,
	const float *nearest, bool is_asked)
{
	struct hit hits[EF];
	uint64_t right = 0;

	for (uint32_t i = 0; i < s->queries->n; i++) {
		struct hnsw_query q = {
			.vec = s->queries->vecs + (size_t)i * s->queries->dim,
			.k = K,
			.ef = EF,
			.is_visible = is_asked ? is_visible : NULL,
			.ctx = s,
		};
		uint32_t found;

		must(hnsw_search(s->h, &q, s->scratch, hits, &found) == 0);
		right += truth_count(t, nearest, i, hits, found);
	}
	return (double)right / (s->queries->n * (double)K);
}

static struct truth truth_of(struct state *s, const struct data *linked)
{
	return (struct truth){.base = linked,
		.queries = s->queries,
		.metric = s->metric,
		.k = K,
		.threads = 2,
		.is_visible = is_visible,
		.ctx = s};
}

/* Slots [0, n) are linked, some hidden: how much of the truth is found. */
static double recall(struct state *s, uint32_t n)
{
	struct data linked = *s->base;
	struct truth t = truth_of(s, &linked);
	float *nearest;
	double got;

	linked.n = n;
	linked.rows = s->base->rows;
	nearest = truth_new(&t);
	got = find_all(s, &t, nearest, n != s->n || s->hidden[0]);
	free(nearest);
	return got;
}

static void report(struct state *s, uint32_t n, const char *what)
{
	double got = recall(s, n);

	ok(got >= .99, "%s, %s: recall@10 at ef=100 is %.4f", s->name, what,
		got);
	ok(is_valid(s), "%s, %s: the graph is valid", s->name, what);
}

static void *put_some(void *arg)
{
	struct state *s = arg;
	struct hnsw_scratch *scratch;
	uint32_t slot;

	must(hnsw_scratch_new(&scratch) == 0);
	while ((slot = atomic_fetch_add(&s->next, 1)) < s->n)
		if (hnsw_put(s->h, slot, scratch) < 0)
			atomic_fetch_add(&s->failed, 1);
	hnsw_scratch_free(scratch);
	return NULL;
}

/* Searches until the writers are done; answers must be sorted and exact. */
static void *search_on(void *arg)
{
	struct state *s = arg;
	struct hnsw_scratch *scratch;
	struct hit hits[EF];
	uint32_t n, i = 0;

	must(hnsw_scratch_new(&scratch) == 0);
	while (!atomic_load(&s->is_over)) {
		struct hnsw_query q = {
			.vec = s->queries->vecs +
			       (size_t)(i++ % s->queries->n) * s->base->dim,
			.k = K,
			.ef = EF,
		};
		bool is_right = hnsw_search(s->h, &q, scratch, hits, &n) == 0;

		for (uint32_t j = 1; is_right && j < n; j++)
			is_right = hits[j - 1].dist <= hits[j].dist &&
				   hits[j].slot < s->n;
		if (!is_right)
			atomic_fetch_add(&s->failed, 1);
	}
	hnsw_scratch_free(scratch);
	return NULL;
}

static void build_beside_searches(struct state *s)
{
	pthread_t writer[WRITERS], reader[READERS];

	new_graph(s);
	atomic_store(&s->next, 0);
	atomic_store(&s->is_over, false);
	for (int i = 0; i < READERS; i++)
		must(pthread_create(&reader[i], NULL, search_on, s) == 0);
	for (int i = 0; i < WRITERS; i++)
		must(pthread_create(&writer[i], NULL, put_some, s) == 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writer[i], NULL);
	atomic_store(&s->is_over, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	must(atomic_load(&s->failed) == 0);
}

/* What was there before is found no worse while two threads put more. */
static void report_beside_writers(struct state *s, uint32_t more)
{
	struct data linked = *s->base;
	struct truth t = truth_of(s, &linked);
	uint32_t n = s->n, passes = 0;
	double at_rest, least = 1;
	pthread_t writer[2];
	float *nearest;

	linked.n = n;
	nearest = truth_new(&t);
	for (uint32_t i = 0; i < more; i++)
		s->hidden[n + i] = true;
	at_rest = find_all(s, &t, nearest, true);
	s->n = n + more;
	atomic_store(&s->next, n);
	for (int i = 0; i < 2; i++)
		must(pthread_create(&writer[i], NULL, put_some, s) == 0);
	do {
		least = VG_MIN(least, find_all(s, &t, nearest, true));
		passes++;
	} while (atomic_load(&s->next) < s->n);
	for (int i = 0; i < 2; i++)
		pthread_join(writer[i], NULL);
	s->n = n;
	free(nearest);
	ok(least >= at_rest - .002 && atomic_load(&s->failed) == 0,
		"%s: beside two writers recall is %.4f at least in %u passes, "
		"at rest %.4f",
		s->name, least, passes, at_rest);
}

void churn(const char *name, struct data *base, uint32_t n,
	const struct data *queries, enum vg_metric metric,
	enum hnsw_codes codes)
{
	struct state s = {.name = name,
		.base = base,
		.queries = queries,
		.metric = metric,
		.codes = codes,
		.n = n};
	uint32_t more = n * 3 / 10;

	must(base->n >= n + more);
	s.hidden = calloc(n + more, sizeof(*s.hidden));
	must(s.hidden && hnsw_scratch_new(&s.scratch) == 0);
	new_graph(&s);
	for (uint32_t i = 0; i < n; i++)
		must(hnsw_put(s.h, i, s.scratch) == 0);
	report(&s, n, "built");
	for (uint32_t i = 0; i < more; i++) {
		s.hidden[(uint64_t)i * n / more] = true;
		must(hnsw_put(s.h, n + i, s.scratch) == 0);
	}
	report(&s, n + more, "3 in 10 overwritten");
	for (uint32_t i = 0; i < n + more; i++)
		s.hidden[i] = s.hidden[i] || i % 10 < 3;
	report(&s, n + more, "3 in 10 deleted");
	for (uint32_t i = 0; i < n; i++)
		s.hidden[i] = false;
	/* A soak looks at many interleavings; the last one is reported. */
	for (long i = env_long("VG_SOAK", 0) ? SOAK_ROUNDS : 1; i > 0; i--) {
		hnsw_free(s.h);
		build_beside_searches(&s);
		must(is_valid(&s));
	}
	report(&s, n, "built by 4 threads beside 2 that search");
	report_beside_writers(&s, more);
	hnsw_free(s.h);
	hnsw_scratch_free(s.scratch);
	free(s.hidden);
}
