/* SPDX-License-Identifier: Apache-2.0 */
/* churn.c: a graph whose rows were replaced, against one built of what is left. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "contrib/bench/vectors.h"
#include "index/hnsw.h"

/*
 * N rows are linked; then, in random order, each is deleted and put again under
 * a slot of its own, a part of them at a time (-s), and that several times over
 * (-c). Behind each part the deleted ones leave the graph (hnsw_repair and
 * hnsw_purge), or are hidden only (-k), or (-x) nothing is put again: rows near
 * some centres go until a tenth is left. Both graphs have codes of neighbours by
 * -g (quant qg). Then both, the graph that was changed
 * and one built of the living rows in the order of their slots, answer the same
 * queries in turn; printed are the rates at recalls and what mending cost, by
 * processor time. One thread; recall counts by distance.
 */
#define K 10
#define N_EF 10
#define PASSES_MAX 64
#define LEFT .1 /* by -x */
#define N_CENTRES 64u

static const uint32_t efs[N_EF] = {10, 14, 20, 28, 40, 64, 100, 140, 200, 300};
static const double levels[] = {.95, .98, .99, .995};

enum side { CHANGED, FRESH, N_SIDES };

struct churn {
	uint32_t n, n_queries, cycles, passes;
	double part;
	bool is_kept, is_thinned;
	enum hnsw_codes codes;
	enum vg_metric metric;
	const char *name;
	struct data base, queries;
	struct rows rows; /* slot by slot: a row of base */
	uint32_t cap;	  /* slots */
	bool *dead;
	uint32_t *slot_of; /* of each row of base */
	uint32_t *order;
	uint32_t n_slots, n_hidden;
	struct hnsw *graph[N_SIDES];
	struct hnsw_scratch *scratch;
	double repair_s, purge_s, put_s;
	uint32_t n_purged, n_put;
	double qps[N_SIDES][N_EF][PASSES_MAX], recall[N_SIDES][N_EF];
};

/* Of the processor: a busy neighbour stretches a wall clock's. */
static double now(void)
{
	return rig_cpu_us(CLOCK_PROCESS_CPUTIME_ID) * 1e-6;
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static bool is_visible(void *ctx, uint32_t slot)
{
	return !((const struct churn *)ctx)->dead[slot];
}

static struct hnsw *new_graph(const struct churn *c)
{
	struct hnsw_config config = {.dim = c->base.dim,
		.metric = c->metric,
		.m = 16,
		.ef_construction = 128,
		.seed = 1,
		.codes = c->codes};
	struct hnsw *h;

	if (hnsw_new(&config, &c->rows, &h) < 0)
		abort();
	return h;
}

static void put(struct churn *c, struct hnsw *h, uint32_t slot)
{
	if (hnsw_put(h, slot, c->scratch) < 0)
		abort();
}

/* A slot more, for a row of base. */
static void add(struct churn *c, uint32_t row)
{
	uint32_t slot = c->n_slots++;

	c->rows.chunk[slot] = (char *)(c->base.vecs + (size_t)row * c->base.dim);
	c->slot_of[row] = slot;
	put(c, c->graph[CHANGED], slot);
}

static void delete(struct churn *c, uint32_t row)
{
	c->dead[c->slot_of[row]] = true;
	c->n_hidden++;
	if (!c->is_kept && hnsw_delete(c->graph[CHANGED], c->slot_of[row]) < 0)
		abort();
}

static void mend(struct churn *c)
{
	struct hnsw *h = c->graph[CHANGED];
	uint32_t before = hnsw_count(h);
	const char *why;
	double start;

	if (c->is_kept)
		return;
	start = now();
	if (hnsw_repair(h, 0, c->n_slots, c->scratch) < 0)
		abort();
	c->repair_s += now() - start;
	start = now();
	if (hnsw_purge(h, c->scratch) < 0)
		abort();
	c->purge_s += now() - start;
	c->n_purged += before - hnsw_count(h);
	c->n_hidden = 0;
	if (hnsw_check(h, &why) < 0) {
		fprintf(stderr, "the graph is broken: %s\n", why);
		abort();
	}
}

static void shuffle(struct churn *c)
{
	for (uint32_t i = c->n; i > 1; i--) {
		uint32_t j = (uint32_t)(next_random() % i), row = c->order[j];

		c->order[j] = c->order[i - 1];
		c->order[i - 1] = row;
	}
}

static void replace_all(struct churn *c)
{
	uint32_t part = (uint32_t)(c->part * c->n);

	shuffle(c);
	for (uint32_t from = 0; from < c->n; from += part) {
		uint32_t to = VG_MIN(from + part, c->n);
		double start;

		for (uint32_t i = from; i < to; i++)
			delete (c, c->order[i]);
		start = now();
		for (uint32_t i = from; i < to; i++)
			add(c, c->order[i]);
		c->put_s += now() - start;
		c->n_put += to - from;
		mend(c);
	}
}

/* What is nearest to some rows goes, a part at a time. */
static void thin_out(struct churn *c)
{
	uint32_t n_left = c->n;
	struct hnsw_query q = {.k = c->n / N_CENTRES / 4,
		.is_visible = is_visible,
		.ctx = c};
	struct hit *hits = malloc(2 * (size_t)c->n * sizeof(*hits));

	if (!hits)
		abort();
	while (n_left > LEFT * c->n) {
		uint32_t want = (uint32_t)(c->part * c->n), gone = 0, n;

		while (gone < want && n_left > LEFT * c->n) {
			uint32_t row = (uint32_t)(next_random() % c->n);

			q.vec = c->base.vecs + (size_t)row * c->base.dim;
			q.ef = q.k;
			q.hidden = (float)c->n_hidden /
				   (float)hnsw_count(c->graph[CHANGED]);
			if (hnsw_search(c->graph[CHANGED], &q, c->scratch,
				    hits, &n) < 0)
				abort();
			for (uint32_t i = 0; i < n; i++) {
				const char *at = c->rows.chunk[hits[i].slot];

				delete (c, (uint32_t)((size_t)(at -
						(char *)c->base.vecs) /
						c->rows.stride));
			}
			gone += n;
			n_left -= n;
		}
		mend(c);
	}
	free(hits);
}

/* ---- asking ---- */

static uint64_t ask_all(struct churn *c, enum side side, uint32_t ef,
	const struct truth *t, const float *nearest)
{
	struct hit hits[4096];
	uint64_t right = 0;
	uint32_t n;

	for (uint32_t i = 0; i < c->n_queries; i++) {
		struct hnsw_query q = {
			.vec = c->queries.vecs + (size_t)i * c->base.dim,
			.k = K,
			.ef = ef,
			.is_visible = is_visible,
			.ctx = c,
			.hidden = side == FRESH
					  ? 0
					  : (float)c->n_hidden /
						    (float)hnsw_count(
							    c->graph[side]),
		};

		if (hnsw_search(c->graph[side], &q, c->scratch, hits, &n) < 0)
			abort();
		if (nearest)
			right += truth_count(t, nearest, i, hits, n);
	}
	return right;
}

static double rate_at(struct churn *c, enum side side, double recall)
{
	double *r = c->recall[side], rate[N_EF];

	for (uint32_t e = 0; e < N_EF; e++) {
		rate[e] = rig_quantile(c->qps[side][e], c->passes, .5);
		if (e == 0 && r[0] >= recall)
			return rate[0];
		if (e > 0 && r[e] >= recall)
			return exp(log(rate[e - 1]) +
				   log(rate[e] / rate[e - 1]) *
					   (recall - r[e - 1]) /
					   (r[e] - r[e - 1]));
	}
	return 0;
}

/* A row of base is the living slot's: the truth is of those. */
static bool is_row_left(void *ctx, uint32_t row)
{
	const struct churn *c = ctx;

	return !c->dead[c->slot_of[row]];
}

static void judge(struct churn *c, const char *what)
{
	struct truth t = {.base = &c->base,
		.queries = &c->queries,
		.metric = c->metric,
		.k = K,
		.threads = 2,
		.is_visible = is_row_left,
		.ctx = c};
	float *nearest = truth_new(&t);
	struct hnsw_stat st[N_SIDES];

	c->graph[FRESH] = new_graph(c);
	for (uint32_t slot = 0; slot < c->n_slots; slot++)
		if (!c->dead[slot])
			put(c, c->graph[FRESH], slot);
	for (uint32_t e = 0; e < N_EF; e++)
		for (int side = 0; side < N_SIDES; side++)
			c->recall[side][e] = (double)ask_all(c, side, efs[e],
						     &t, nearest) /
					     (c->n_queries * (double)K);
	for (uint32_t p = 0; p < c->passes; p++)
		for (uint32_t e = 0; e < N_EF; e++)
			for (int s = 0; s < N_SIDES; s++) {
				int side = (s + (int)p) % N_SIDES;
				double start = now();

				ask_all(c, side, efs[e], NULL, NULL);
				c->qps[side][e][p] =
					c->n_queries / (now() - start);
			}
	hnsw_stat(c->graph[CHANGED], &st[CHANGED]);
	hnsw_stat(c->graph[FRESH], &st[FRESH]);
	printf("%s: %u rows in the graph, degree %.1f (fresh %.1f)\n", what,
		st[CHANGED].linked,
		(double)st[CHANGED].n_links / st[CHANGED].linked,
		(double)st[FRESH].n_links / st[FRESH].linked);
	for (size_t i = 0; i < VG_ARRAY_LEN(levels); i++) {
		double a = rate_at(c, CHANGED, levels[i]);
		double b = rate_at(c, FRESH, levels[i]);

		printf("	at recall %.3f: %.0f a second, fresh %.0f, "
		       "ratio %.3f\n",
			levels[i], a, b, b > 0 ? a / b : 0);
	}
	printf("	recall at ef %u: %.4f, fresh %.4f\n", efs[N_EF - 1],
		c->recall[CHANGED][N_EF - 1], c->recall[FRESH][N_EF - 1]);
	if (c->n_purged > 0)
		printf("	mending a row: %.1f us, purging it %.1f us\n",
			1e6 * c->repair_s / c->n_purged,
			1e6 * c->purge_s / c->n_purged);
	if (c->n_put > 0)
		printf("	putting one: %.1f us\n",
			1e6 * c->put_s / c->n_put);
	fflush(stdout);
	c->repair_s = c->purge_s = c->put_s = 0;
	c->n_purged = c->n_put = 0;
	hnsw_free(c->graph[FRESH]);
	free(nearest);
}

/* ---- setting up ---- */

static bool load(struct churn *c)
{
	const struct vectors_set *set = vectors_find(c->name);

	if (!set)
		return false;
	c->metric = set->metric;
	return vectors_load_file(&c->base, set->base, c->n, true) &&
	       vectors_load_file(&c->queries, set->queries, c->n_queries, true);
}

static void set_up(struct churn *c)
{
	c->n = c->base.n;
	c->cap = c->n * (c->cycles + 1);
	c->rows = (struct rows){
		.chunk = calloc(c->cap, sizeof(*c->rows.chunk)),
		.stride = c->base.dim * (uint32_t)sizeof(float),
	};
	c->dead = calloc(c->cap, sizeof(*c->dead));
	c->slot_of = calloc(c->n, sizeof(*c->slot_of));
	c->order = calloc(c->n, sizeof(*c->order));
	if (!c->rows.chunk || !c->dead || !c->slot_of || !c->order ||
		hnsw_scratch_new(&c->scratch) < 0)
		abort();
	for (uint32_t i = 0; i < c->n; i++)
		c->order[i] = i;
	c->graph[CHANGED] = new_graph(c);
	shuffle(c);
	for (uint32_t i = 0; i < c->n; i++)
		add(c, c->order[i]);
}

int main(int argc, char **argv)
{
	static struct churn c = {.n = 60000,
		.n_queries = 2000,
		.cycles = 4,
		.passes = 3,
		.part = .1,
		.name = "fashion"};
	int o;

	while ((o = getopt(argc, argv, "n:q:c:p:s:d:kxg")) != -1)
		switch (o) {
		case 'n':
			c.n = (uint32_t)atoi(optarg);
			break;
		case 'q':
			c.n_queries = (uint32_t)atoi(optarg);
			break;
		case 'c':
			c.cycles = (uint32_t)atoi(optarg);
			break;
		case 'p':
			c.passes = VG_MIN((uint32_t)atoi(optarg), PASSES_MAX);
			break;
		case 's':
			c.part = atof(optarg);
			break;
		case 'd':
			c.name = optarg;
			break;
		case 'k':
			c.is_kept = true;
			break;
		case 'x':
			c.is_thinned = true;
			break;
		case 'g':
			c.codes = HNSW_CODES_NEAR;
			break;
		default:
			fprintf(stderr,
				"usage: VG_DATA=DIR churn [-n ROWS] [-q QUERIES] "
				"[-p PASSES]\n	[-c CYCLES] [-s PART] [-k] [-x] [-g] "
				"[-d fashion|patches|cve]\n");
			return 2;
		}
	if (!load(&c))
		return 1;
	set_up(&c);
	if (c.is_thinned) {
		thin_out(&c);
		judge(&c, "thinned out");
		return 0;
	}
	for (uint32_t i = 1; i <= c.cycles; i++) {
		char what[32];

		replace_all(&c);
		snprintf(what, sizeof(what), "cycle %u", i);
		judge(&c, what);
	}
	return 0;
}
