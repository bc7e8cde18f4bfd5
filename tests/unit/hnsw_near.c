/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_near.c: a graph whose nodes know codes of their neighbours is as right. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw_int.h"
#include "tests/graphkit.h"
#include "tests/recall/data.h"
#include "tests/tap.h"

#define K 10
#define EF 30	   /* so few that estimates must be good */
#define WIDE 120   /* where they cannot be */
#define LATENT 12u /* what rows really vary in */

static const struct hnsw_config near_config = {.dim = 96,
	.metric = VG_L2,
	.m = 16,
	.ef_construction = 100,
	.seed = 5,
	.codes = HNSW_CODES_NEAR};

/* Rows that lie near a plane of LATENT dimensions, `off` from the origin in each
 * element; as many again are queries. */
static void draw(struct gk_ground *g, const struct hnsw_config *config,
	uint32_t n, float off)
{
	uint32_t dim = config->dim;
	float *axes = malloc(LATENT * dim * sizeof(*axes));

	must(axes);
	gk_ground_init(g, config, n);
	for (uint32_t i = 0; i < LATENT * dim; i++)
		axes[i] = (float)(rand() % 2001 - 1000) / 1000;
	for (uint32_t r = 0; r < n; r++) {
		float *vec = g->data.vecs + (size_t)r * dim;

		for (uint32_t i = 0; i < dim; i++)
			vec[i] = vec[i] * .2f + off;
		for (uint32_t a = 0; a < LATENT; a++) {
			float x = (float)(rand() % 2001 - 1000) / 1000;

			for (uint32_t i = 0; i < dim; i++)
				vec[i] += x * axes[a * dim + i];
		}
	}
	free(axes);
}

/* Which rows may be answered. */
struct sight {
	const bool *hidden; /* NULL: all may */
	const struct hnsw *h;
	uint32_t n;  /* of slots */
	uint32_t ef; /* 0: EF */
};

static bool is_visible(void *ctx, uint32_t slot)
{
	const struct sight *s = ctx;

	return slot < s->n && hnsw_is_linked(s->h, slot) &&
	       !(s->hidden && s->hidden[slot]);
}

/* Recall of slots below s->n, asked for what lies between rows; -1: an answer is
 * hidden, or not in order, or its distance is not the exact one. */
static double recall(struct gk_ground *g, struct sight *s, float share,
	const struct among *among)
{
	struct data linked = g->data, queries;
	struct truth t = {.base = &linked,
		.queries = &queries,
		.metric = g->config.metric,
		.k = K,
		.threads = 1,
		.is_visible = is_visible,
		.ctx = s};
	struct hit hits[WIDE];
	uint32_t right = 0, n;
	bool is_right = true;
	float *nearest;

	linked.n = s->n;
	data_init(&queries, 100, g->data.dim, false);
	for (size_t i = 0; i < (size_t)queries.n * queries.dim; i++)
		queries.vecs[i] =
			(g->data.vecs[i] * 2 + g->data.vecs[i + queries.dim]) /
			3;
	nearest = truth_new(&t);
	for (uint32_t i = 0; i < queries.n; i++) {
		const float *vec = queries.vecs + (size_t)i * queries.dim;
		struct hnsw_query q = {.vec = vec,
			.k = K,
			.ef = s->ef ? s->ef : EF,
			.is_visible = s->hidden || among ? is_visible : NULL,
			.hidden = share,
			.among = among,
			.ctx = s};

		must(hnsw_search(s->h, &q, g->scratch, hits, &n) == 0);
		right += truth_count(&t, nearest, i, hits, n);
		for (uint32_t j = 0; j < n; j++)
			is_right =
				is_right && is_visible(s, hits[j].slot) &&
				(j == 0 || hits[j].dist >= hits[j - 1].dist) &&
				hits[j].dist ==
					dist_exact(g->config.metric,
						g->config.dim, vec,
						g->data.vecs +
							(size_t)hits[j].slot *
								g->data.dim);
	}
	free(nearest);
	data_fini(&queries);
	return is_right ? right / (100. * K) : -1;
}

static double recall_all(struct gk_ground *g, uint32_t ef)
{
	struct sight s = {NULL, g->h, g->data.n, ef};

	return recall(g, &s, 0, NULL);
}

/* ---- puts and searches ---- */

static void test_kind(enum vg_metric metric, const char *name, uint32_t dim,
	float off)
{
	struct hnsw_config config = near_config;
	struct gk_ground g;
	struct hnsw_stat st;
	double got;

	config.metric = metric;
	config.dim = dim;
	draw(&g, &config, 2000, off);
	gk_put_range(&g, g.h, 0, 2000);
	hnsw_stat(g.h, &st);
	ok(gk_is_valid(g.h) && st.n_links >= 31ull * 2000,
		"%s, %u: the graph is valid, its lists filled (%.1f)", name,
		dim, (double)st.n_links / 2000);
	got = recall_all(&g, dim < 96 ? WIDE : EF);
	ok(got >= .96, "%s, %u: recall@10 is %.3f, distances are exact", name,
		dim, got);
	gk_ground_fini(&g);
}

/* Other numbers of links than a block has. */
static void test_links(uint32_t m)
{
	struct hnsw_config config = near_config;
	struct gk_ground g;
	double got;

	config.m = m;
	config.dim = 40;
	draw(&g, &config, 1500, 0);
	gk_put_range(&g, g.h, 0, 1500);
	got = recall_all(&g, WIDE);
	ok(gk_is_valid(g.h) && got >= (m > 2 ? .97 : .5),
		"m %u: valid, recall@10 is %.3f", m, got);
	gk_ground_fini(&g);
}

/* Where there can be none, nodes have no room for them. */
static void test_without(void)
{
	struct hnsw_config config = near_config;
	struct gk_ground g;
	struct hnsw_coding near, plain;

	config.metric = VG_L1;
	draw(&g, &config, 10, 0);
	ok(!hnsw_has_near(g.h), "under l1 there are none");
	gk_ground_fini(&g);
	config.metric = VG_L2;
	config.dim = HNSW_NEAR_DIM_MAX + 1;
	gk_ground_init(&g, &config, 2);
	gk_put_range(&g, g.h, 0, 2);
	hnsw_coding(g.h, &near);
	ok(!hnsw_has_near(g.h) && gk_is_valid(g.h),
		"nor of more elements than a record has room for");
	gk_ground_fini(&g);
	config.codes = HNSW_CODES_AUTO;
	gk_ground_init(&g, &config, 2);
	gk_put_range(&g, g.h, 0, 2);
	hnsw_coding(g.h, &plain);
	ok(near.bytes == plain.bytes, "which costs what auto costs");
	gk_ground_fini(&g);
	config.dim = HNSW_NEAR_DIM_MAX;
	config.codes = HNSW_CODES_NEAR;
	gk_ground_init(&g, &config, 110);
	gk_put_range(&g, g.h, 0, 20);
	ok(hnsw_has_near(g.h) && gk_is_valid(g.h) && recall_all(&g, WIDE) == 1,
		"of so many they work");
	gk_ground_fini(&g);
}

static void test_wild(void)
{
	struct gk_ground g;
	struct hnsw *h;

	draw(&g, &near_config, 400, 0);
	memset(g.data.vecs, 0x7e, 96 * sizeof(float));
	gk_put_range(&g, g.h, 0, 10);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 400), "a first row of 10^37s comes back");
	hnsw_free(h);
	gk_ground_fini(&g);
	draw(&g, &near_config, 400, 0);
	gk_put_range(&g, g.h, 0, 200);
	g.data.vecs[300 * 96] = 1e30f;
	gk_put_range(&g, g.h, 200, 400);
	ok(recall_all(&g, WIDE) >= .99,
		"one row beyond floats' squares: walks by "
		"exact distances");
	gk_ground_fini(&g);
}

/* Most rows are equal to one another: the others are found all the same. */
static void test_equal(void)
{
	struct gk_ground g;
	struct sight s;
	double got;

	draw(&g, &near_config, 3000, 0);
	for (uint32_t i = 0; i < 3000; i++)
		if (i % 4 != 0 && i > 200)
			memcpy(g.data.vecs + (size_t)i * 96,
				g.data.vecs + 3 * 96, 96 * sizeof(float));
	gk_put_range(&g, g.h, 0, 3000);
	ok(gk_is_valid(g.h), "2,100 equal rows of 3,000: valid");
	s = (struct sight){NULL, g.h, 3000, 0};
	got = recall(&g, &s, 0, NULL);
	ok(got >= .96, "and recall@10 is %.3f", got);
	gk_ground_fini(&g);
}

/* By each way that a search may go about rows that are not to be answered. */
static void test_hidden(void)
{
	static const uint32_t parts[] = {100, 12, 3};
	uint64_t bits[3000 / 64 + 1] = {0};
	bool hidden[3000] = {false};
	uint32_t slots[3000];
	struct among among = {bits, 3000, slots, 0};
	struct gk_ground g;
	struct sight s;
	double got;

	draw(&g, &near_config, 3000, 0);
	gk_put_range(&g, g.h, 0, 3000);
	s = (struct sight){hidden, g.h, 3000, 0};
	for (size_t p = 0; p < VG_ARRAY_LEN(parts); p++) {
		for (uint32_t i = 0; i < 3000; i++)
			hidden[i] = i % parts[p] == 0;
		got = recall(&g, &s, 1 / (float)parts[p], NULL);
		ok(got >= .96,
			"1 in %u hidden: none is answered, recall@10 "
			"is %.3f",
			parts[p], got);
	}
	got = recall(&g, &s, 0, NULL);
	ok(got >= .96, "more hidden than said: %.3f", got);
	for (uint32_t part = 2; part <= 20; part += 18) {
		among.n = 0;
		memset(bits, 0, sizeof(bits));
		for (uint32_t i = 0; i < 3000; i++) {
			hidden[i] = i % part != 0;
			if (hidden[i])
				continue;
			bits[i / 64] |= 1ull << i % 64;
			slots[among.n++] = i;
		}
		got = recall(&g, &s, 0, &among);
		ok(got >= .97, "1 in %u wanted: recall@10 is %.3f", part, got);
	}
	gk_ground_fini(&g);
}

static void test_cancel(void)
{
	_Atomic bool cancel = true;
	struct hnsw_query q = {.k = K, .ef = EF, .cancel = &cancel};
	struct hit hits[EF];
	struct gk_ground g;
	uint32_t n = 77, n_kept = 0;

	draw(&g, &near_config, 300, 0);
	q.vec = g.data.vecs;
	must(hnsw_search(g.h, &q, g.scratch, hits, &n) == 0);
	ok(n == 0, "an empty graph answers nothing");
	gk_put_range(&g, g.h, 0, 300);
	ok(hnsw_search(g.h, &q, g.scratch, hits, &n) == -EINTR,
		"a search can be cancelled");
	cancel = false;
	q.n_kept = &n_kept;
	must(hnsw_search(g.h, &q, g.scratch, hits, &n) == 0);
	ok(n_kept == EF, "and tells how many candidates it kept (%u)", n_kept);
	gk_ground_fini(&g);
}

/* ---- what a check says ---- */

static bool is_found(struct hnsw *h, const char *want)
{
	const char *why = "";
	int rc = hnsw_check(h, &why);

	if (rc != -VG_ECORRUPT || strcmp(why, want) != 0)
		diag("%d %s", rc, why);
	return rc == -VG_ECORRUPT && strcmp(why, want) == 0;
}

static void test_check(void)
{
	static const char wrong[] = "I8: a code of a neighbour is not its";
	struct gk_ground g;
	char *node;
	hnsw_link *chosen;
	uint32_t i = 0, bits;

	draw(&g, &near_config, 500, 0);
	gk_put_range(&g, g.h, 0, 500);
	node = hnsw_node(g.h, 123);
	node[g.h->near_at + 256 + 40] ^= 16;
	ok(is_found(g.h, wrong), "a bit of a code that is wrong is found");
	node[g.h->near_at + 256 + 40] ^= 16;
	node[g.h->near_at + 1] ^= 1;
	ok(is_found(g.h, wrong), "and one of a float beside it");
	node[g.h->near_at + 1] ^= 1;
	chosen = (hnsw_link *)(void *)(node + g.h->chosen_at);
	while ((hnsw_link_get(hnsw_links(g.h, 123, 0), i) & LINK_TREE) == 0)
		i++;
	bits = *chosen;
	*chosen = bits & ~(1u << i);
	ok(is_found(g.h, "I8: a marked link is not chosen"),
		"a link of the tree is no filling");
	*chosen = bits;
	ok(gk_is_valid(g.h), "all else was right");
	gk_ground_fini(&g);
}

/* ---- rows that leave ---- */

static void test_churn(enum vg_metric metric)
{
	struct hnsw_config config = near_config;
	struct gk_ground g;
	struct sight s = {.n = 3000};
	bool is_valid = true;
	double got, fresh;

	config.metric = metric;
	draw(&g, &config, 3000, 0);
	gk_put_range(&g, g.h, 0, 1000);
	/* Each row is replaced twice, a tenth at a time. */
	for (uint32_t from = 0; from < 2000; from += 100) {
		for (uint32_t i = from; i < from + 100; i++)
			must(hnsw_delete(g.h, i) == 0);
		gk_put_range(&g, g.h, from + 1000, from + 1100);
		if (from % 300 != 0)
			must(hnsw_repair(g.h, 0, 3000, g.scratch) == 0);
		must(hnsw_purge(g.h, g.scratch) == 0);
		if (from % 400 == 0)
			is_valid = is_valid && gk_is_valid(g.h);
	}
	is_valid = is_valid && gk_is_valid(g.h);
	ok(is_valid && hnsw_count(g.h) == 1000,
		"metric %d, all replaced twice: always valid", metric);
	s.h = g.h;
	got = recall(&g, &s, 0, NULL);
	hnsw_free(g.h);
	must(hnsw_new(&config, &g.data.rows, &g.h) == 0);
	gk_put_range(&g, g.h, 2000, 3000);
	s.h = g.h;
	fresh = recall(&g, &s, 0, NULL);
	ok(got >= fresh - .015 && got > .95,
		"metric %d: recall@10 is %.4f, of a fresh graph %.4f", metric,
		got, fresh);
	gk_ground_fini(&g);
}

static void test_emptied(void)
{
	struct gk_ground g;
	double got;

	draw(&g, &near_config, 2000, 50);
	gk_put_range(&g, g.h, 0, 1000);
	for (uint32_t i = 0; i < 1000; i++)
		must(hnsw_delete(g.h, i) == 0);
	must(hnsw_purge(g.h, g.scratch) == 0);
	ok(hnsw_count(g.h) == 0 && gk_is_valid(g.h), "all rows can leave");
	gk_put_range(&g, g.h, 1000, 2000);
	got = recall(&g, &(struct sight){NULL, g.h, 2000, 0}, 0, NULL);
	ok(gk_is_valid(g.h) && got >= .95, "and others come: recall@10 is %.3f",
		got);
	gk_ground_fini(&g);
}

/* ---- saved and loaded ---- */

static void test_saved(enum vg_metric metric)
{
	struct hnsw_config config = near_config;
	struct stream delta = {0};
	struct gk_ground g;
	struct hnsw *h;
	size_t cost, base;

	config.metric = metric;
	draw(&g, &config, 3000, 7);
	gk_put_range(&g, g.h, 0, 2000);
	hnsw_save_cost(g.h, &cost, &base);
	gk_save(g.h, &g.base);
	ok(base >= g.base.len && base - g.base.len < base / 50,
		"metric %d: a base has the bytes that were told", metric);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 3000) && gk_is_valid(h) && gk_is_alike(&g, h),
		"metric %d: it comes back with its codes", metric);
	gk_put_range(&g, g.h, 2000, 2100);
	gk_put_range(&g, h, 2000, 2100);
	ok(gk_is_same(g.h, h, 3000), "metric %d: puts then do the same",
		metric);
	hnsw_free(h);
	h = gk_load(&g, &g.base);
	must(hnsw_save_delta(g.h, gk_sink(&delta)) == 0);
	ok(gk_load_delta(&g, h, &delta) && gk_is_same(g.h, h, 3000) &&
			gk_is_valid(h),
		"metric %d: so does a delta of 100 puts", metric);
	hnsw_free(h);
	/* A centre that is no number; a graph without. */
	memset(g.base.bytes + g.base.len - 8, 0xff, 8);
	ok(!gk_load(&g, &g.base) && strstr(g.why, "centre"),
		"metric %d: a centre that is none is refused", metric);
	gk_save(g.h, &g.base);
	g.base.len -= 4;
	ok(!gk_load(&g, &g.base), "metric %d: so is one that is cut", metric);
	g.base.len += 4;
	g.config.codes = HNSW_CODES_AUTO;
	ok(!gk_load(&g, &g.base) && strstr(g.why, "settings"),
		"metric %d: so is such a graph where none is meant", metric);
	free(delta.bytes);
	gk_ground_fini(&g);
}

/* Bytes of codes are believed: whatever they are, walks end and stay inside. */
static void test_garbage(void)
{
	struct gk_ground g;
	struct hnsw *h;
	struct sight s = {.n = 1000};
	bool is_right = true;

	draw(&g, &near_config, 1000, 0);
	gk_put_range(&g, g.h, 0, 800);
	for (int round = 0; round < 4; round++) {
		for (uint32_t i = 0; i < 800; i++) {
			char *node = hnsw_node(g.h, i);

			for (uint32_t b = g.h->chosen_at; b < g.h->record_len;
				b++)
				node[b] = round == 0 ? 0 :
					  round == 1 ? (char)0xff :
						       (char)rand();
		}
		gk_save(g.h, &g.base);
		h = gk_load(&g, &g.base);
		must(h);
		s.h = h;
		is_right = is_right && recall(&g, &s, 0, NULL) >= 0;
		gk_put_range(&g, h, 800, 1000);
		for (uint32_t i = 0; i < 1000; i += 3)
			must(hnsw_delete(h, i) == 0);
		must(hnsw_repair(h, 0, 1000, g.scratch) == 0);
		must(hnsw_purge(h, g.scratch) == 0);
		hnsw_free(h);
	}
	ok(is_right, "codes of anything mislead walks, and harm nothing else");
	gk_ground_fini(&g);
}

/* ---- threads ---- */

#define N_ROWS 3000u
#define N_FIRST 800u

struct traffic {
	struct gk_ground g;
	_Atomic uint32_t next;
	_Atomic uint32_t failed;
	_Atomic bool is_over;
};

static void *write_on(void *arg)
{
	struct traffic *t = arg;
	struct hnsw_scratch *s;
	uint32_t slot;

	must(hnsw_scratch_new(&s) == 0);
	while ((slot = atomic_fetch_add(&t->next, 1)) < N_ROWS)
		if (hnsw_put(t->g.h, slot, s) < 0)
			atomic_fetch_add(&t->failed, 1);
	hnsw_scratch_free(s);
	return NULL;
}

static void *search_on(void *arg)
{
	struct traffic *t = arg;
	struct hnsw_scratch *s;
	struct hit hits[EF];
	uint32_t n, i = 0, n_missed = 0, n_asked = 0;

	must(hnsw_scratch_new(&s) == 0);
	while (!atomic_load(&t->is_over)) {
		uint32_t row = i++ % N_FIRST | 1;
		struct hnsw_query q = {.vec = t->g.data.vecs +
					      (size_t)row * t->g.data.dim,
			.k = K,
			.ef = EF};

		if (hnsw_search(t->g.h, &q, s, hits, &n) < 0 || n < K)
			atomic_fetch_add(&t->failed, 1);
		n_missed += n == 0 || hits[0].dist != 0;
		n_asked++;
	}
	if (n_missed * 100 > n_asked)
		atomic_fetch_add(&t->failed, 1);
	hnsw_scratch_free(s);
	return NULL;
}

/* Two that put, one that searches, one that repairs and saves. */
static void test_threads(void)
{
	pthread_t thread[3];
	struct traffic t = {.next = N_FIRST};
	struct hnsw *h;
	double got;

	draw(&t.g, &near_config, N_ROWS, 0);
	gk_put_range(&t.g, t.g.h, 0, N_FIRST);
	must(pthread_create(&thread[0], NULL, write_on, &t) == 0);
	must(pthread_create(&thread[1], NULL, write_on, &t) == 0);
	must(pthread_create(&thread[2], NULL, search_on, &t) == 0);
	for (uint32_t i = 0; i < N_FIRST; i += 2)
		must(hnsw_delete(t.g.h, i) == 0);
	must(hnsw_repair(t.g.h, 0, N_ROWS, t.g.scratch) == 0);
	must(hnsw_save_base(t.g.h, gk_sink(&t.g.base)) == 0);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	must(hnsw_save_rest(t.g.h, gk_sink(&t.g.base)) == 0);
	h = gk_load(&t.g, &t.g.base);
	ok(gk_is_same(t.g.h, h, N_ROWS) && gk_is_valid(h),
		"a base written beside puts and a repair has all of it");
	hnsw_free(h);
	must(hnsw_purge(t.g.h, t.g.scratch) == 0);
	atomic_store(&t.is_over, true);
	pthread_join(thread[2], NULL);
	ok(atomic_load(&t.failed) == 0, "searches beside them find rows that "
					"stay");
	ok(gk_is_valid(t.g.h), "and the graph is valid");
	got = recall(&t.g, &(struct sight){NULL, t.g.h, N_ROWS, 0}, 0, NULL);
	ok(got >= .95, "recall@10 of what is left is %.3f", got);
	gk_ground_fini(&t.g);
}

int main(void)
{
	plan(2 * 6 + 4 + 4 + 2 + 2 + 6 + 3 + 4 + 2 * 3 + 2 + 7 * 3 + 1 + 4);
	test_kind(VG_L2, "l2", 96, 0);
	test_kind(VG_COSINE, "cosine", 96, 0);
	test_kind(VG_IP, "ip", 96, 0);
	test_kind(VG_L2, "l2, far from the origin", 200, 300);
	test_kind(VG_L2, "l2", 16, 0);
	test_kind(VG_COSINE, "cosine", 65, 1);
	test_links(2);
	test_links(5);
	test_links(20);
	test_links(VG_M_MAX);
	test_without();
	test_wild();
	test_equal();
	test_hidden();
	test_cancel();
	test_check();
	test_churn(VG_L2);
	test_churn(VG_COSINE);
	test_churn(VG_IP);
	test_emptied();
	test_saved(VG_L2);
	test_saved(VG_COSINE);
	test_saved(VG_IP);
	test_garbage();
	test_threads();
	return done();
}
