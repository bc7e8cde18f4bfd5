/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_among: searches that want some rows only find those, and few others. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw_int.h"
#include "tests/graphkit.h"
#include "tests/recall/data.h"
#include "tests/tap.h"

#define K 10
#define N 6000u
#define N_QUERIES 100u

static const struct hnsw_config config = {.dim = 10,
	.metric = VG_L2,
	.m = 16,
	.ef_construction = 128,
	.seed = 3,
	.codes = HNSW_CODES_AUTO};

/* A graph, and the rows of it that are wanted. */
struct field {
	struct gk_ground g;
	uint64_t bits[N / 64 + 1];
	uint32_t slots[N];
	struct among among;
	uint32_t hidden; /* a slot that is not visible, though wanted */
};

static void want_none(struct field *f)
{
	memset(f->bits, 0, sizeof(f->bits));
	f->among = (struct among){f->bits, N, f->slots, 0};
	f->hidden = UINT32_MAX;
}

static void want(struct field *f, uint32_t slot)
{
	f->bits[slot / 64] |= 1ull << slot % 64;
	f->slots[f->among.n++] = slot;
}

/* What the search may answer, and nothing else. */
static bool may_answer(void *ctx, uint32_t slot)
{
	const struct field *f = ctx;

	return among_has(&f->among, slot) && slot != f->hidden;
}

static uint32_t search(struct field *f, bool is_scan, uint32_t ef,
	const float *vec, struct hit *hits)
{
	struct hnsw_query q = {
		.vec = vec,
		.k = K,
		.ef = ef,
		.is_visible = may_answer,
		.ctx = f,
		.among = &f->among,
	};
	uint32_t n;

	if (is_scan)
		must(hnsw_scan(f->g.h, &q, f->g.scratch, hits, &n) == 0);
	else
		must(hnsw_search(f->g.h, &q, f->g.scratch, hits, &n) == 0);
	return n;
}

/* Recall@10; -1: something was answered that was not wanted, or in no order. */
static double recall(struct field *f, bool is_scan, uint32_t ef)
{
	struct data queries;
	struct truth t = {.base = &f->g.data,
		.queries = &queries,
		.metric = VG_L2,
		.k = K,
		.threads = 1,
		.is_visible = may_answer,
		.ctx = f};
	struct hit hits[1000];
	uint32_t right = 0, n;
	bool is_right = true;
	float *nearest;

	data_init(&queries, N_QUERIES, config.dim, false);
	for (size_t i = 0; i < (size_t)queries.n * queries.dim; i++)
		queries.vecs[i] = f->g.data.vecs[i] * .8f;
	nearest = truth_new(&t);
	for (uint32_t i = 0; i < queries.n; i++) {
		n = search(f, is_scan, ef,
			queries.vecs + (size_t)i * queries.dim, hits);
		right += truth_count(&t, nearest, i, hits, n);
		for (uint32_t j = 0; j < n; j++)
			is_right = is_right && may_answer(f, hits[j].slot) &&
				   (j == 0 || hits[j - 1].dist <= hits[j].dist);
	}
	free(nearest);
	data_fini(&queries);
	return is_right ? right / (double)(N_QUERIES * K) : -1;
}

static void test_shares(struct field *f)
{
	static const uint32_t shares[] = {1, 2, 4, 10, 30, 100};

	for (size_t i = 0; i < VG_ARRAY_LEN(shares); i++) {
		double walked, scanned;

		want_none(f);
		for (uint32_t slot = 0; slot < N; slot++)
			if ((slot * 2654435761u >> 8) % shares[i] == 0)
				want(f, slot);
		walked = recall(f, false, 100);
		scanned = recall(f, true, 0);
		/* Two hops lead no farther among so few: the caller scans. */
		ok(walked >= (shares[i] <= 10 ? .98 : 0),
			"one row of %u is wanted: a walk finds %.3f", shares[i],
			walked);
		ok(scanned >= .99, "a scan %.3f", scanned);
		f->hidden = f->slots[0];
		ok(recall(f, false, 100) >= 0 && recall(f, true, 0) >= .99,
			"one of them that is hidden is not answered");
	}
}

/* What is wanted is far from each query. */
static void test_far(struct field *f)
{
	double got;

	want_none(f);
	for (uint32_t slot = 0; slot < N; slot++) {
		const float *v = f->g.data.vecs + (size_t)slot * config.dim;

		if (v[0] > .4f && v[1] > .4f)
			want(f, slot);
	}
	got = recall(f, false, 100);
	ok(f->among.n > 200 && f->among.n < 2000 && got >= .95,
		"%u rows in a corner: a walk finds %.3f", f->among.n, got);
}

/* Slots without a bit are not wanted; wanted ones need not be linked. */
static void test_edges(struct field *f)
{
	struct hit hits[200];
	const float *vec = f->g.data.vecs;
	struct hnsw_query q = {.vec = vec, .k = 0, .among = &f->among};
	uint32_t n;

	want_none(f);
	ok(search(f, false, 50, vec, hits) == 0 &&
			search(f, true, 0, vec, hits) == 0,
		"where none is wanted none is answered");
	ok(hnsw_scan(f->g.h, &q, f->g.scratch, hits, &n) == -EINVAL,
		"k 0 is refused");
	for (uint32_t slot = 0; slot < 2000; slot++)
		want(f, slot);
	f->among.n_bits = 1000;
	f->among.n = 1000;
	ok(recall(f, false, 100) >= .98,
		"bits and list may end before the graph does");
	want_none(f);
	for (uint32_t slot = 0; slot < 64; slot++)
		want(f, slot);
	want(f, N - 1); /* never put */
	ok(!hnsw_is_linked(f->g.h, N - 1) && recall(f, true, 0) >= 0 &&
			recall(f, false, 100) >= 0,
		"a wanted row that is not linked is left out");
}

int main(void)
{
	static struct field f;

	plan(6 * 3 + 5);
	gk_ground_init(&f.g, &config, N);
	gk_put_range(&f.g, f.g.h, 0, N - 1);
	test_shares(&f);
	test_far(&f);
	test_edges(&f);
	gk_ground_fini(&f.g);
	return done();
}
