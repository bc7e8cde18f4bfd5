/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_race.c: our graph against hnswlib: queries a second at a recall. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contrib/bench/hnsw_race_peer.h"
#include "contrib/bench/rig.h"
#include "contrib/bench/vectors.h"
#include "index/dist.h"
#include "index/hnsw.h"

/*
 * Both graphs stand in this process over the same vectors and answer the same
 * queries in turn: a pass asks each side, for each ef, all queries, one side
 * right after the other. Vectors of a cosine are made of length 1 for both, and
 * the peer compares them by l2, which orders them alike. Printed are medians
 * over the passes, and the rates at given recalls, interpolated (log rate over
 * recall) between the two efs around them; where the least ef is better than
 * the recall, its rate, as there is none faster. Recall counts by distance.
 * Builds take turns too (-b).
 */
#define K 10
#define N_EF 12
#define PASSES_MAX 64

static const uint32_t efs[N_EF] = {10, 14, 20, 28, 40, 50, 64, 80, 100, 140,
	200, 300};
static const double levels[] = {.90, .95, .98, .99, .995};

enum side { OURS, PEER, N_SIDES };
static const char *const side_name[N_SIDES] = {"ours", "hnswlib"};

struct race {
	uint32_t n, n_queries, m, ef_construction, peer_ef_construction;
	uint32_t threads, passes, builds;
	bool is_small, is_alone, is_cpu, is_asked;
	enum hnsw_codes codes;
	struct data base, queries;
	enum vg_metric metric;
	const char *name; /* of the data */
	bool is_random;	  /* rows in random order */
	struct truth truth;
	float *nearest;
	struct hnsw *ours;
	struct peer *peer;
	struct hnsw_scratch *scratch;
	double build_s[N_SIDES][PASSES_MAX];
	double build_cpu_s[N_SIDES][PASSES_MAX];
	double qps[N_SIDES][N_EF][PASSES_MAX];
	double recall[N_SIDES][N_EF];
};

static double now(void)
{
	return rig_now_us() * 1e-6;
}

/* Processor seconds of all threads: a busy neighbour stretches only now(). */
static double cpu(void)
{
	return rig_cpu_us(CLOCK_PROCESS_CPUTIME_ID) * 1e-6;
}

static double clock_of(const struct race *r)
{
	return r->is_cpu ? cpu() : now();
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, uint32_t n)
{
	double sorted[PASSES_MAX];

	memcpy(sorted, values, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* ---- build ---- */

struct builder {
	struct race *race;
	enum side side;
	_Atomic uint32_t *next;
};

static const float *base_vec(const struct race *r, uint32_t i)
{
	return r->base.vecs + (size_t)i * r->base.dim;
}

static void *build_part(void *arg)
{
	struct builder *b = arg;
	struct race *r = b->race;
	struct hnsw_scratch *s;
	uint32_t i;

	if (hnsw_scratch_new(&s) < 0)
		abort();
	while ((i = atomic_fetch_add(b->next, 1)) < r->n) {
		if (b->side == PEER)
			peer_put(r->peer, base_vec(r, i), i);
		else if (hnsw_put(r->ours, i, s) < 0)
			abort();
	}
	hnsw_scratch_free(s);
	return NULL;
}

static double build(struct race *r, enum side side)
{
	_Atomic uint32_t next = 0;
	struct builder b = {r, side, &next};
	pthread_t thread[64];
	double start;

	if (side == PEER) {
		if (r->peer)
			peer_free(r->peer);
		r->peer = peer_new(r->base.dim, r->n, r->m,
			r->peer_ef_construction);
		start = now();
		peer_put(r->peer, base_vec(r, 0), 0);
		next = 1;
	} else {
		struct hnsw_config config = {
			.dim = r->base.dim,
			.metric = r->metric,
			.m = r->m,
			.ef_construction = r->ef_construction,
			.seed = 1,
			.codes = r->codes,
		};

		hnsw_free(r->ours);
		if (hnsw_new(&config, &r->base.rows, &r->ours) < 0)
			abort();
		start = now();
	}
	for (uint32_t i = 0; i < r->threads; i++)
		if (pthread_create(&thread[i], NULL, build_part, &b) != 0)
			abort();
	for (uint32_t i = 0; i < r->threads; i++)
		pthread_join(thread[i], NULL);
	return now() - start;
}

static void build_all(struct race *r)
{
	for (uint32_t i = 0; i < r->builds; i++)
		for (int side = 0; side < N_SIDES; side++) {
			if (side == PEER && r->is_alone)
				continue;
			double before = cpu();

			r->build_s[side][i] = build(r, (enum side)side);
			r->build_cpu_s[side][i] = cpu() - before;
			printf("build %s %.2f s, of processors %.2f s\n",
				side_name[side], r->build_s[side][i],
				r->build_cpu_s[side][i]);
			fflush(stdout);
		}
}

/* ---- search ---- */

/* As in a collection where nothing is hidden, but something could be. */
static bool is_visible(void *ctx, uint32_t slot)
{
	(void)ctx;
	return slot != VG_SLOT_NONE;
}

/* Asks all queries; counts the answers that are right. */
static uint64_t ask_all(struct race *r, enum side side, uint32_t ef)
{
	struct hit hits[4096];
	uint32_t slots[K], n;
	uint64_t right = 0;

	for (uint32_t q = 0; q < r->n_queries; q++) {
		const float *vec = r->queries.vecs + (size_t)q * r->base.dim;

		if (side == OURS) {
			struct hnsw_query query = {.vec = vec,
				.k = K,
				.ef = ef,
				.is_visible = r->is_asked ? is_visible : NULL};

			if (hnsw_search(r->ours, &query, r->scratch, hits, &n) <
				0)
				abort();
		} else {
			n = peer_search(r->peer, vec, K, ef, slots);
			for (uint32_t i = 0; i < n; i++)
				hits[i] = (struct hit){0, slots[i]};
		}
		/* The first element: enough to keep the work from removal. */
		right += hits[0].slot != VG_SLOT_NONE;
		if (r->nearest == NULL)
			continue;
		for (uint32_t i = 0; side == PEER && i < n; i++)
			hits[i].dist = dist_exact(r->metric, r->base.dim, vec,
				base_vec(r, hits[i].slot));
		right += truth_count(&r->truth, r->nearest, q, hits, n);
		right--;
	}
	return right;
}

static void search_all(struct race *r)
{
	float *nearest = r->nearest;

	for (uint32_t e = 0; e < N_EF; e++)
		for (int side = 0; side < N_SIDES - r->is_alone; side++)
			r->recall[side][e] =
				(double)ask_all(r, (enum side)side, efs[e]) /
				(r->n_queries * (double)K);
	r->nearest = NULL; /* not judged while the clock runs */
	for (uint32_t p = 0; p < r->passes; p++)
		for (uint32_t e = 0; e < N_EF; e++)
			for (uint32_t s = 0; s < N_SIDES; s++) {
				/* Who goes first changes, too. */
				enum side side = (enum side)((s + p) % 2);
				double start = clock_of(r);

				if (side == PEER && r->is_alone)
					continue;
				ask_all(r, side, efs[e]);
				r->qps[side][e][p] =
					r->n_queries / (clock_of(r) - start);
			}
	r->nearest = nearest;
}

/* The rate at a recall; 0 where no ef reaches it. */
static double rate_at(const struct race *r, enum side side, double recall)
{
	if (r->recall[side][0] >= recall)
		return median(r->qps[side][0], r->passes);
	for (uint32_t e = 1; e < N_EF; e++) {
		double low = r->recall[side][e - 1];
		double high = r->recall[side][e];

		if (low <= recall && recall <= high && high > low) {
			double a = log(median(r->qps[side][e - 1], r->passes));
			double b = log(median(r->qps[side][e], r->passes));

			return exp(a + (b - a) * (recall - low) / (high - low));
		}
	}
	return 0;
}

static void print_all(const struct race *r)
{
	struct hnsw_stat st;

	printf("%6s %20s %20s\n", "ef", "ours recall qps",
		"hnswlib recall qps");
	for (uint32_t e = 0; e < N_EF; e++) {
		printf("%6u", efs[e]);
		for (int side = 0; side < N_SIDES - r->is_alone; side++)
			printf("   %8.4f %9.0f", r->recall[side][e],
				median(r->qps[side][e], r->passes));
		printf("\n");
	}
	for (size_t i = 0; i < VG_ARRAY_LEN(levels); i++) {
		double ours = rate_at(r, OURS, levels[i]);
		double peer = r->is_alone ? 0 : rate_at(r, PEER, levels[i]);

		/* 0: no ef of that side reaches it. */
		printf("qps at recall %.3f: ours %.0f", levels[i], ours);
		if (ours > 0 && peer > 0)
			printf(", hnswlib %.0f, ratio %.2f", peer, ours / peer);
		printf("\n");
	}
	printf("build: ours %.2f s", median(r->build_s[OURS], r->builds));
	if (!r->is_alone)
		printf(", hnswlib %.2f s, ratio %.2f, of processors %.2f",
			median(r->build_s[PEER], r->builds),
			median(r->build_s[OURS], r->builds) /
				median(r->build_s[PEER], r->builds),
			median(r->build_cpu_s[OURS], r->builds) /
				median(r->build_cpu_s[PEER], r->builds));
	hnsw_stat(r->ours, &st);
	printf("\nours: %u levels, degree %.1f, %.0f bytes a node, %.4f have "
	       "codes%s, kernels %s\n",
		st.levels, (double)st.n_links / st.linked,
		(double)st.bytes / st.linked, (double)st.coded / st.linked,
		st.quant.is_whole ? " of whole numbers" : "",
		dist_kernel_name());
}

/* Makes every vector of length 1. */
static void normalise(struct data *d)
{
	for (uint32_t i = 0; i < d->n; i++) {
		float *vec = d->vecs + (size_t)i * d->dim;
		double norm2 = dist_kernels_get()->dot_exact(vec, vec, d->dim);

		for (uint32_t j = 0; j < d->dim; j++)
			vec[j] = (float)(vec[j] / sqrt(norm2));
	}
}

/* Fisher and Yates, of rows. */
static void shuffle(struct data *d)
{
	float *row = malloc(d->dim * sizeof(*row));
	size_t len = d->dim * sizeof(*row);
	uint64_t x = 88172645463325252ull;

	if (!row)
		abort();
	for (uint32_t i = d->n; i > 1; i--) {
		float *last = d->vecs + (size_t)(i - 1) * d->dim, *other;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		other = d->vecs + (size_t)(x % i) * d->dim;
		memcpy(row, last, len);
		memmove(last, other, len);
		memcpy(other, row, len);
	}
	free(row);
}

static bool load(struct race *r)
{
	const struct vectors_set *set = vectors_find(r->name);

	if (!set ||
		!vectors_load_file(&r->base, set->base, r->n, !r->is_small) ||
		!vectors_load_file(&r->queries, set->queries, r->n_queries,
			true))
		return false;
	r->metric = set->metric;
	if (r->metric == VG_COSINE) {
		normalise(&r->base);
		normalise(&r->queries);
	}
	if (r->is_random)
		shuffle(&r->base);
	return true;
}

static const char usage[] =
	"usage: VG_DATA=DIR hnsw_race [-n ROWS] [-q QUERIES] [-p PASSES]\n"
	"	[-b BUILDS] [-t BUILD_THREADS] [-m M] [-c EF_CONSTRUCTION]\n"
	"	[-C PEERS_EF_CONSTRUCTION]\n"
	"	[-s] [-a]	rows in small pages; ours alone\n"
	"	[-u] [-v]	per second of processor time; rows may be "
	"hidden\n"
	"	[-f] [-g] [-r]	without codes; with codes of neighbours "
	"(quant qg);\n"
	"			rows in random order\n"
	"	[-d DATA]	fashion (784, l2); patches (128, l2), what "
	"make_patches\n"
	"			wrote into VG_DATA; cve (256, cosine)\n";

static bool parse(struct race *r, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:q:p:b:t:m:c:C:sauvfgrd:")) != -1) {
		uint32_t value = optarg ? (uint32_t)atoi(optarg) : 0;

		switch (c) {
		case 'n':
			r->n = value;
			break;
		case 'q':
			r->n_queries = value;
			break;
		case 'p':
			r->passes = VG_MIN(value, PASSES_MAX);
			break;
		case 'b':
			r->builds = VG_MIN(value, PASSES_MAX);
			break;
		case 't':
			r->threads = VG_MIN(value, 64);
			break;
		case 'm':
			r->m = value;
			break;
		case 'c':
			r->ef_construction = value;
			break;
		case 'C':
			r->peer_ef_construction = value;
			break;
		case 's':
			r->is_small = true;
			break;
		case 'a':
			r->is_alone = true;
			break;
		case 'v':
			r->is_asked = true;
			break;
		case 'd':
			r->name = optarg;
			break;
		case 'r':
			r->is_random = true;
			break;
		case 'f':
			r->codes = HNSW_CODES_NONE;
			break;
		case 'g':
			r->codes = HNSW_CODES_NEAR;
			break;
		case 'u':
			r->is_cpu = true;
			break;
		default:
			return false;
		}
	}
	return r->n > 0 && r->n_queries > 0 && r->passes > 0 && r->builds > 0 &&
	       r->threads > 0;
}

int main(int argc, char **argv)
{
	static struct race r = {.n = 1000000,
		.name = "fashion",
		.n_queries = 2000,
		.m = 16,
		.ef_construction = 128, /* what auto is */
		.peer_ef_construction = 200,
		.threads = 2,
		.passes = 5,
		.builds = 1};

	if (!parse(&r, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (!load(&r))
		return 1;
	r.n = r.base.n;
	r.n_queries = r.queries.n;
	r.truth = (struct truth){.base = &r.base,
		.queries = &r.queries,
		.metric = r.metric,
		.k = K,
		.threads = r.threads};
	r.nearest = truth_new(&r.truth);
	if (hnsw_scratch_new(&r.scratch) < 0)
		return 1;
	build_all(&r);
	search_all(&r);
	print_all(&r);
	free(r.nearest);
	hnsw_scratch_free(r.scratch);
	hnsw_free(r.ours);
	if (r.peer)
		peer_free(r.peer);
	data_fini(&r.base);
	data_fini(&r.queries);
	return 0;
}
