/* SPDX-License-Identifier: Apache-2.0 */
/* ivf.c: what an inverted file costs and finds, by nprobe and ef. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "contrib/bench/vectors.h"
#include "index/dist.h"
#include "index/ivf.h"

/*
 * Builds with threads that put rows and one that learns beside them, as the
 * daemon does; then asks all queries for each pair of nprobe and ef, one thread,
 * and prints recall@10 (by distance), queries a second of processor time
 * (best of the passes) and bytes a vector.
 */
#define K 10

static const uint32_t probes[] = {4, 8, 16, 32, 64, 128};
static const uint32_t efs[] = {20, 50, 100, 200, 400};

struct bench {
	const char *name;
	uint32_t n, n_queries, threads, passes;
	struct data base, queries;
	enum vg_metric metric;
	struct truth truth;
	float *nearest;
	struct ivf *v;
	struct ivf_scratch *scratch;
	_Atomic uint32_t next;
	_Atomic bool is_over;
};

static double now(void)
{
	return rig_now_us() * 1e-6;
}

/* Processor seconds, of this thread or of all: others stretch only now(). */
static double cpu(clockid_t of)
{
	return rig_cpu_us(of) * 1e-6;
}

static void *put_part(void *arg)
{
	struct bench *b = arg;
	struct ivf_scratch *s;
	uint32_t i;

	if (ivf_scratch_new(&s) < 0)
		abort();
	while ((i = atomic_fetch_add(&b->next, 1)) < b->n)
		if (ivf_put(b->v, i, s) < 0)
			abort();
	ivf_scratch_free(s);
	return NULL;
}

static void *learn(void *arg)
{
	struct bench *b = arg;
	struct timespec ms = {.tv_nsec = 1000000};
	double start;

	while (!atomic_load(&b->is_over) || ivf_is_due(b->v)) {
		if (!ivf_is_due(b->v)) {
			nanosleep(&ms, NULL);
			continue;
		}
		start = now();
		if (ivf_train(b->v, NULL) < 0)
			abort();
		printf("learnt in %.2f s, at %u rows\n", now() - start,
			ivf_count(b->v));
	}
	return NULL;
}

static void build(struct bench *b)
{
	struct ivf_config config = {.dim = b->base.dim, .metric = b->metric};
	pthread_t thread[64], learner;
	struct ivf_stat st;
	double start = now(), cpu_start = cpu(CLOCK_PROCESS_CPUTIME_ID);

	if (ivf_new(&config, &b->base.rows, &b->v) < 0 ||
		ivf_scratch_new(&b->scratch) < 0 ||
		pthread_create(&learner, NULL, learn, b) != 0)
		abort();
	for (uint32_t i = 0; i < b->threads; i++)
		if (pthread_create(&thread[i], NULL, put_part, b) != 0)
			abort();
	for (uint32_t i = 0; i < b->threads; i++)
		pthread_join(thread[i], NULL);
	printf("put in %.2f s\n", now() - start);
	atomic_store(&b->is_over, true);
	pthread_join(learner, NULL);
	ivf_stat(b->v, &st);
	printf("build %.2f s, of processors %.2f s, %u lists, codes of %u "
	       "bytes, %.1f bytes a vector\n",
		now() - start, cpu(CLOCK_PROCESS_CPUTIME_ID) - cpu_start,
		st.n_lists, st.m, (double)st.bytes / st.linked);
}

static double ask(struct bench *b, struct ivf_query *query, bool is_judged)
{
	struct hit hits[4096];
	uint64_t right = 0;
	uint32_t n;

	for (uint32_t q = 0; q < b->n_queries; q++) {
		query->vec = b->queries.vecs + (size_t)q * b->base.dim;
		if (ivf_search(b->v, query, b->scratch, hits, &n) < 0)
			abort();
		if (is_judged)
			right += truth_count(&b->truth, b->nearest, q, hits,
				VG_MIN(n, K));
	}
	return (double)right / (b->n_queries * (double)K);
}

static void measure(struct bench *b, uint32_t nprobe, uint32_t ef)
{
	struct ivf_query query = {.k = K, .ef = ef, .nprobe = nprobe};
	double recall = ask(b, &query, true), best = 1e9;

	for (uint32_t p = 0; p < b->passes; p++) {
		double start = cpu(CLOCK_THREAD_CPUTIME_ID);

		ask(b, &query, false);
		best = VG_MIN(best, cpu(CLOCK_THREAD_CPUTIME_ID) - start);
	}
	printf("%6u %6u %8.4f %9.0f\n", nprobe, ef, recall,
		b->n_queries / best);
	fflush(stdout);
}

static bool load(struct bench *b)
{
	const struct vectors_set *set = vectors_find(b->name);

	if (!set)
		return false;
	b->metric = set->metric;
	return vectors_load_file(&b->base, set->base, b->n, true) &&
	       vectors_load_file(&b->queries, set->queries, b->n_queries, true);
}

static bool parse(struct bench *b, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "d:n:q:p:t:")) != -1) {
		uint32_t value = optarg ? (uint32_t)atoi(optarg) : 0;

		switch (c) {
		case 'd':
			b->name = optarg;
			break;
		case 'n':
			b->n = value;
			break;
		case 'q':
			b->n_queries = value;
			break;
		case 'p':
			b->passes = value;
			break;
		case 't':
			b->threads = value;
			break;
		default:
			fprintf(stderr,
				"usage: VG_DATA=DIR ivf [-d fashion|patches|"
				"cve] [-n ROWS]\n"
				"	[-q QUERIES] [-p PASSES] [-t "
				"BUILD_THREADS]\n");
			return false;
		}
	}
	return b->passes > 0 && b->threads > 0 && b->threads <= 64;
}

int main(int argc, char **argv)
{
	static struct bench b = {.name = "fashion",
		.n = 1000000,
		.n_queries = 1000,
		.threads = 2,
		.passes = 3};

	if (!parse(&b, argc, argv) || !load(&b))
		return 1;
	b.n = b.base.n;
	b.n_queries = b.queries.n;
	b.truth = (struct truth){.base = &b.base,
		.queries = &b.queries,
		.metric = b.metric,
		.k = K,
		.threads = b.threads};
	b.nearest = truth_new(&b.truth);
	printf("%s: %u x %u, %u queries, kernels %s\n", b.name, b.n, b.base.dim,
		b.n_queries, dist_kernel_name());
	build(&b);
	printf("%6s %6s %8s %9s\n", "nprobe", "ef", "recall", "qps");
	for (size_t i = 0; i < VG_ARRAY_LEN(probes); i++)
		for (size_t j = 0; j < VG_ARRAY_LEN(efs); j++)
			measure(&b, probes[i], efs[j]);
	free(b.nearest);
	ivf_scratch_free(b.scratch);
	ivf_free(b.v);
	data_fini(&b.base);
	data_fini(&b.queries);
	return 0;
}
