/* SPDX-License-Identifier: Apache-2.0 */
/* filters.c: queries a second at a recall under filters, beside those without. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "contrib/bench/vectors.h"
#include "src/filter.h"
#include "src/indexer.h"
#include "src/match.h"
#include "src/store.h"

/*
 * A store in this process holds what make_patches wrote (VG_DATA), each row
 * with "r", a random number below 1,000, and "far", whether it is of the tenth
 * that is farthest from the first query. Every filter is asked with each ef, and
 * its rate at a recall is interpolated between two (log rate over recall); a
 * filter whose least ef is better than that counts with its rate. A filter's
 * set is made once for all queries, as for a batch; that time stands apart.
 */
#define K 10
#define N_EF 8
#define QUERIES 500u
#define RECALL .95
#define DEFAULT 100u /* ef */
#define CHUNK 1000u
#define PASSES 5

static const uint32_t efs[N_EF] = {10, 14, 20, 28, 40, 64, 100, 200};

static const struct {
	const char *name, *text;
} filters[] = {
	{"none", NULL},
	{"random 50 %", "r.lt=500"},
	{"random 20 %", "r.lt=200"},
	{"random 10 %", "r.lt=100"},
	{"random 5 %", "r.lt=50"},
	{"random 2 %", "r.lt=20"},
	{"random 1 %", "r.lt=10"},
	{"random 0.1 %", "r.lt=1"},
	{"far 10 %", "far.eq=true"},
};

struct bench {
	struct store *store;
	struct collection *coll;
	struct data base, queries;
	struct look look;
	float kth[QUERIES]; /* distance of the k-th match */
};

static void need(bool is, const char *what)
{
	if (is)
		return;
	fprintf(stderr, "filters: %s\n", what);
	exit(1);
}

static double now(void)
{
	return rig_cpu_us(CLOCK_PROCESS_CPUTIME_ID) * 1e-6;
}

static struct vg_id word(const char *s)
{
	return (struct vg_id){s, (uint32_t)strlen(s)};
}

static void run(struct bench *b, struct change *ch, uint32_t n)
{
	struct commit commit = {.changes = ch, .n = n};

	need(store_commit_wait(b->store, &commit) == 0, "a change failed");
}

static float from_first(const struct bench *b, uint32_t i)
{
	const float *q = b->queries.vecs;
	const float *v = b->base.vecs + (size_t)i * b->base.dim;
	float sum = 0;

	for (uint32_t j = 0; j < b->base.dim; j++)
		sum += (v[j] - q[j]) * (v[j] - q[j]);
	return sum;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* The squared distance that a tenth of the rows is beyond. */
static float find_far(const struct bench *b)
{
	float *all = malloc(b->base.n * sizeof(*all)), far;

	need(all != NULL, "no memory");
	for (uint32_t i = 0; i < b->base.n; i++)
		all[i] = from_first(b, i);
	qsort(all, b->base.n, sizeof(*all), compare);
	far = all[b->base.n - b->base.n / 10];
	free(all);
	return far;
}

static void fill(struct bench *b)
{
	static struct change ch[CHUNK];
	static char id[CHUNK][12], meta[CHUNK][40];
	float far = find_far(b);
	uint64_t x = 88172645463325252ull;

	for (uint32_t i = 0; i < b->base.n; i += CHUNK) {
		uint32_t n = VG_MIN(CHUNK, b->base.n - i);

		for (uint32_t j = 0; j < n; j++) {
			int len;

			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			snprintf(id[j], sizeof(id[j]), "%u", i + j);
			len = snprintf(meta[j], sizeof(meta[j]),
				"{\"r\":%u,\"far\":%s}",
				(unsigned)(x >> 20) % 1000,
				from_first(b, i + j) >= far ? "true" : "false");
			ch[j] = (struct change){.type = OP_PUT,
				.coll = b->coll,
				.id = word(id[j]),
				.vec = b->base.vecs +
				       (size_t)(i + j) * b->base.dim,
				.dim = b->base.dim,
				.source = OP_SOURCE_RAW,
				.body_len = b->base.dim * 4,
				.meta_mode = CHANGE_META_MERGE,
				.meta = {meta[j], (uint32_t)len}};
		}
		run(b, ch, n);
	}
}

static void open_all(struct bench *b, const char *dir)
{
	struct store_config cfg = {.dir = dir,
		.durability = STORE_ASYNC,
		.checkpoint_bytes = UINT64_MAX,
		.no_compaction = true};
	struct change make = {.type = OP_CREATE,
		.name = word("c"),
		.attr = {.mode = 0755}};
	struct change metric = {.type = OP_CONFIG,
		.id = word("metric"),
		.meta = {"l2", 2}};
	struct store_report rep;
	struct entry_info *info = malloc(sizeof(*info));
	struct cell *cell;

	need(info && store_open(&cfg, &rep, &b->store) == 0, "no store");
	run(b, &make, 1);
	need(catalogue_get(store_catalogue(b->store), word("c"), info) == 0,
		"no collection");
	b->coll = metric.coll = info->coll;
	free(info);
	run(b, &metric, 1);
	fill(b);
	cell = atomic_load(&b->coll->gen->cell);
	while (indexer_pending(cell) > 0)
		usleep(10000);
	look_init(&b->look, b->coll, store_moments(b->store));
}

/* Recall of all queries at ef (exact: the k-th distances are noted). */
static double ask_all(struct bench *b, struct match *match, uint32_t ef)
{
	struct search_hit hits[K];
	uint64_t right = 0, all = 0;
	uint32_t n;

	for (uint32_t i = 0; i < b->queries.n; i++) {
		struct search q = {
			.vec = b->queries.vecs + (size_t)i * b->base.dim,
			.dim = b->base.dim,
			.k = K,
			.ef = ef,
			.exact = ef == 0,
			.match = match};

		need(store_search(b->store, &b->look, &q, hits, &n) == 0,
			"a search failed");
		if (ef == 0)
			b->kth[i] = n > 0 ? hits[n - 1].dist : -1;
		all += K;
		for (uint32_t j = 0; j < n; j++)
			right += hits[j].dist <= b->kth[i];
	}
	return (double)right / (double)all;
}

/* The rate, once the memory is warm: the best of some. */
static double ask_again(struct bench *b, struct match *match, uint32_t ef)
{
	double best = 0;

	for (int i = 0; i < PASSES; i++) {
		double began = now();

		ask_all(b, match, ef);
		best = VG_MAX(best, b->queries.n / (now() - began));
	}
	return best;
}

/* The rate at RECALL, and the recall by the default ef. */
static double rate(struct bench *b, struct match *match, double *by_default)
{
	double last_recall = 0, last_rate = 0;

	ask_all(b, match, 0);
	*by_default = ask_all(b, match, DEFAULT);
	for (int e = 0; e < N_EF; e++) {
		double recall = ask_all(b, match, efs[e]);
		double qps = ask_again(b, match, efs[e]);

		if (recall >= RECALL) {
			double share = e == 0 ? 1
					      : (RECALL - last_recall) /
							(recall - last_recall);

			return e == 0 ? qps
				      : exp(log(last_rate) +
						share * log(qps / last_rate));
		}
		last_recall = recall;
		last_rate = qps;
	}
	return 0;
}

static void ask_filter(struct bench *b, size_t i, double *plain)
{
	struct filter *filter = NULL;
	struct match *match = NULL;
	struct filter_why why;
	double by_default, qps, set_ms[2] = {0};

	if (filters[i].text)
		need(filter_parse_where(filters[i].text,
			     strlen(filters[i].text), &why, &filter) == 0,
			"a filter is none");
	for (int t = 0; filter && t < 2; t++) { /* the second finds an index */
		double began = now();

		match_free(match);
		need(match_new(&b->look, filter, &match) == 0, "no set");
		set_ms[t] = (now() - began) * 1e3;
	}
	qps = rate(b, match, &by_default);
	*plain = filter ? *plain : qps;
	printf("%-14s %8u matches  %8.0f q/s at %.2f  share %.3f  recall "
	       "at ef 100 %.4f  set %.2f ms\n",
		filters[i].name,
		match ? match_size(match) : b->base.n, qps, RECALL,
		qps / *plain, by_default, set_ms[1]);
	fflush(stdout);
	match_free(match);
	filter_free(filter);
}

/* filters DIR [ROWS]: DIR is made anew; it needs a kilobyte a row */
int main(int argc, char **argv)
{
	static struct bench b;
	uint32_t n = argc > 2 ? (uint32_t)atol(argv[2]) : 1000000;
	double plain = 0;

	need(argc > 1, "VG_DATA=DIR filters SCRATCH [ROWS]");
	if (!vectors_load_file(&b.base, "patches_base.fvecs", n, true) ||
		!vectors_load_file(&b.queries, "patches_query.fvecs", QUERIES,
			true))
		return 1;
	open_all(&b, argv[1]);
	for (size_t i = 0; i < VG_ARRAY_LEN(filters); i++)
		ask_filter(&b, i, &plain);
	look_fini(&b.look);
	collection_unref(b.coll);
	store_close(b.store);
	return 0;
}
