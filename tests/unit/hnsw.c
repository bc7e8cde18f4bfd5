/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw.c: the graph in all its shapes: sizes, metrics, ties, damage. */
#include "index/hnsw.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index/flat.h"
#include "index/hnsw_int.h"
#include "tests/recall/data.h"
#include "tests/tap.h"

/* A graph over data of its own. */
struct ground {
	struct data data;
	struct hnsw *h;
	struct hnsw_scratch *scratch;
	struct hit *hits; /* room for n + 1 */
	uint32_t n_hits;
};

static float draw(void)
{
	/* The sum of some is nearly normal. */
	float x = 0;

	for (int i = 0; i < 4; i++)
		x += (float)(rand() % 2001 - 1000) / 1000;
	return x;
}

static void ground_init(struct ground *g, const struct hnsw_config *config,
	uint32_t n)
{
	memset(g, 0, sizeof(*g));
	data_init(&g->data, n, config->dim, false);
	for (size_t i = 0; i < (size_t)n * config->dim; i++)
		g->data.vecs[i] = draw();
	must(hnsw_new(config, &g->data.rows, &g->h) == 0);
	must(hnsw_scratch_new(&g->scratch) == 0);
	g->hits = calloc((size_t)n + 1000, sizeof(*g->hits));
	must(g->hits);
}

static void ground_fini(struct ground *g)
{
	hnsw_free(g->h);
	hnsw_scratch_free(g->scratch);
	free(g->hits);
	data_fini(&g->data);
}

static float *row(struct ground *g, uint32_t slot)
{
	return g->data.vecs + (size_t)slot * g->data.dim;
}

static void put_all(struct ground *g)
{
	for (uint32_t i = 0; i < g->data.n; i++)
		must(hnsw_put(g->h, i, g->scratch) == 0);
}

static bool is_valid(const struct ground *g)
{
	const char *why = "";

	if (hnsw_check(g->h, &why) == 0)
		return true;
	diag("hnsw_check: %s", why);
	return false;
}

static uint32_t search(struct ground *g, const float *vec, uint32_t k,
	uint32_t ef)
{
	struct hnsw_query q = {.vec = vec, .k = k, .ef = ef};

	must(hnsw_search(g->h, &q, g->scratch, g->hits, &g->n_hits) == 0);
	return g->n_hits;
}

/* Whether hits are in order, and their distances the exact ones. */
static bool is_exact(struct ground *g, const float *vec)
{
	enum vg_metric metric = g->h->config.metric;

	for (uint32_t i = 0; i < g->n_hits; i++) {
		struct hit hit = g->hits[i];

		if (hit.dist !=
			dist_exact(metric, g->data.dim, vec, row(g, hit.slot)))
			return false;
		if (i > 0 && (g->hits[i - 1].dist > hit.dist ||
				     (g->hits[i - 1].dist == hit.dist &&
					     g->hits[i - 1].slot >= hit.slot)))
			return false;
	}
	return true;
}

/* Share of the 10 nearest found, by distance, over some queries. */
static double recall(struct ground *g, uint32_t ef)
{
	struct data queries;
	struct truth t = {.base = &g->data,
		.queries = &queries,
		.metric = g->h->config.metric,
		.k = 10,
		.threads = 1};
	uint32_t right = 0;
	float *nearest;
	bool is_right = true;

	data_init(&queries, 50, g->data.dim, false);
	for (size_t i = 0; i < (size_t)queries.n * queries.dim; i++)
		/* As long as the rows, whatever their scale. */
		queries.vecs[i] = draw() / 4 * g->data.vecs[0];
	nearest = truth_new(&t);
	for (uint32_t q = 0; q < queries.n; q++) {
		const float *vec = queries.vecs + (size_t)q * queries.dim;

		search(g, vec, 10, ef);
		right += truth_count(&t, nearest, q, g->hits, g->n_hits);
		is_right = is_right && is_exact(g, vec);
	}
	free(nearest);
	data_fini(&queries);
	return is_right ? right / (double)(queries.n * 10) : -1;
}

static const struct hnsw_config plain = {.dim = 8,
	.metric = VG_L2,
	.m = 8,
	.ef_construction = 64,
	.seed = 7,
	.codes = HNSW_CODES_AUTO};

static void test_config(void)
{
	struct rows rows = {.stride = 32};
	struct hnsw_config bad[] = {plain, plain, plain, plain, plain, plain,
		plain};
	struct hnsw *h;
	bool is_refused = true;

	bad[0].dim = 0;
	bad[1].dim = VG_DIM_MAX + 1;
	bad[2].m = 1;
	bad[3].m = VG_M_MAX + 1;
	bad[4].ef_construction = 0;
	bad[5].ef_construction = VG_EF_MAX + 1;
	bad[6].metric = (enum vg_metric)9;
	for (size_t i = 0; i < VG_ARRAY_LEN(bad); i++)
		is_refused =
			is_refused && hnsw_new(&bad[i], &rows, &h) == -EINVAL;
	ok(is_refused, "settings out of range are refused");
	hnsw_free(NULL);
	hnsw_scratch_free(NULL);
}

static bool is_none(void *ctx, uint32_t slot)
{
	(void)ctx;
	(void)slot;
	return false;
}

static void test_small(void)
{
	struct ground g;
	struct hnsw_coding by;
	struct hnsw_stat st;
	struct hnsw_query q = {.k = 5, .ef = 10};

	ground_init(&g, &plain, 3);
	q.vec = row(&g, 0);
	ok(search(&g, q.vec, 5, 10) == 0 && is_valid(&g),
		"an empty graph is valid and answers nothing");
	hnsw_stat(g.h, &st);
	hnsw_coding(g.h, &by);
	ok(st.linked == 0 && st.levels == 0 && by.levels == 0,
		"and says that it is empty");
	must(hnsw_put(g.h, 1, g.scratch) == 0);
	ok(search(&g, q.vec, 5, 10) == 1 && g.hits[0].slot == 1 && is_valid(&g),
		"a graph of one row answers that row");
	ok(hnsw_put(g.h, 1, g.scratch) == -EEXIST, "a slot is linked once");
	ok(hnsw_put(g.h, HNSW_SLOT_MAX, g.scratch) == -ERANGE,
		"a slot beyond the limit is refused");
	must(hnsw_put(g.h, 0, g.scratch) == 0);
	must(hnsw_put(g.h, 2, g.scratch) == 0);
	ok(search(&g, q.vec, 5, 1) == 3 && g.hits[0].slot == 0 &&
			g.hits[0].dist == 0,
		"k above n answers all, whatever ef is");
	q.k = 0;
	ok(hnsw_search(g.h, &q, g.scratch, g.hits, &g.n_hits) == -EINVAL,
		"k = 0 is refused");
	q.k = 5;
	q.is_visible = is_none;
	must(hnsw_search(g.h, &q, g.scratch, g.hits, &g.n_hits) == 0);
	ok(g.n_hits == 0, "if all rows are hidden the answer is empty");
	ground_fini(&g);
}

static void test_shape(uint32_t dim, uint32_t m, uint32_t n)
{
	struct hnsw_config config = plain;
	double got;

	config.dim = dim;
	config.m = m;
	for (int metric = VG_L2; metric <= VG_IP; metric++) {
		static const char *const name[] = {"", "l2", "cosine", "ip"};
		struct ground g;

		config.metric = (enum vg_metric)metric;
		ground_init(&g, &config, n);
		put_all(&g);
		/*
		 * On a line the nearest by inner product are the ends, and
		 * rows lead to the end of their own side: only a walk over
		 * all finds the other one.
		 */
		got = recall(&g, dim == 1 ? n : m == 2 ? 400 : 100);
		/* Four links a node, two of them the tree's, lead less well. */
		ok(got >= (m == 2 ? .7 : .9) && is_valid(&g),
			"%s, dim=%u, m=%u: valid, exact, recall %.3f",
			name[metric], dim, m, got);
		ground_fini(&g);
	}
}

/* Slots that come in disorder, with holes, some in chunks far away. */
static void test_sparse(void)
{
	struct ground g;
	struct hnsw_config config = plain;
	static const uint32_t slots[] = {70000, 5, 69999, 32768, 16384, 16383,
		0, 131071, 40000, 40001, 12, 13, 99999};
	bool is_found = true;

	config.dim = 2;
	ground_init(&g, &config, 131072);
	for (size_t i = 0; i < VG_ARRAY_LEN(slots); i++)
		must(hnsw_put(g.h, slots[i], g.scratch) == 0);
	for (size_t i = 0; i < VG_ARRAY_LEN(slots); i++)
		is_found = is_found && search(&g, row(&g, slots[i]), 1, 10) &&
			   g.hits[0].slot == slots[i];
	ok(is_found && is_valid(&g), "slots come in any order, some never");
	ok(search(&g, row(&g, 0), 50, 50) == VG_ARRAY_LEN(slots),
		"a slot never put is never answered");
	ground_fini(&g);
}

/* Rows 500..1499 are equal, all others random. */
static void test_equal(enum vg_metric metric, const char *name)
{
	struct hnsw_config config = plain;
	struct ground g;
	uint32_t n_equal, asked = 0, met = 0;
	double got;

	config.metric = metric;
	ground_init(&g, &config, 2000);
	for (uint32_t i = 501; i < 1500; i++)
		memcpy(row(&g, i), row(&g, 500), g.data.rows.stride);
	put_all(&g);
	got = recall(&g, 100);
	ok(got >= .95, "%s: 1,000 equal rows hide no others (%.3f)", name, got);
	ok(is_valid(&g), "%s: all of them can be reached", name);
	n_equal = search(&g, row(&g, 500), 1000, 1200);
	/* Inner products prefer longer rows to equal ones. */
	ok(n_equal >= (metric == VG_IP ? 10 : 900) &&
			is_exact(&g, row(&g, 500)),
		"%s: all found that tie with the k-th are answered (%u)", name,
		n_equal);
	for (uint32_t i = 0; i < 2000 && metric != VG_IP; i += 13) {
		if (i >= 500 && i < 1500)
			continue;
		asked++;
		met += search(&g, row(&g, i), 1, 64) && g.hits[0].slot == i;
	}
	ok(met >= asked * 95 / 100, "%s: %u of %u others lie where they are",
		name, met, asked);
	ground_fini(&g);
}

static void test_all_equal(void)
{
	struct ground g;
	struct hnsw_config config = plain;

	config.m = 2;
	ground_init(&g, &config, 3000);
	for (uint32_t i = 1; i < 3000; i++)
		memcpy(row(&g, i), row(&g, 0), g.data.rows.stride);
	put_all(&g);
	ok(is_valid(&g), "3,000 equal rows and nothing else, m=2: one tree");
	ok(search(&g, row(&g, 0), 3000, 3000) == 3000, "each of them is found");
	ground_fini(&g);
}

/* Rows whose float squares vanish or overflow; walks must turn exact. */
static void test_wild(float scale, const char *name)
{
	struct ground g;
	double got;

	for (int metric = VG_L2; metric <= VG_IP; metric++) {
		struct hnsw_config config = plain;

		config.metric = (enum vg_metric)metric;
		ground_init(&g, &config, 500);
		for (size_t i = 0; i < (size_t)500 * plain.dim; i++)
			g.data.vecs[i] *= scale;
		put_all(&g);
		got = recall(&g, 64);
		ok(got >= .95 && is_valid(&g), "metric %d, %s: recall %.3f",
			metric, name, got);
		ground_fini(&g);
	}
}

static bool is_odd(void *ctx, uint32_t slot)
{
	uint32_t *asked = ctx;

	(*asked)++;
	return slot % 2 != 0;
}

static bool is_last(void *ctx, uint32_t slot)
{
	(void)ctx;
	return slot == 1999;
}

static bool is_not_tenth(void *ctx, uint32_t slot)
{
	uint32_t *asked = ctx;

	asked[0]++;
	asked[1] += slot % 10 == 0;
	return slot % 10 != 0;
}

static void look_ahead(void *ctx, const struct hit *hits, uint32_t n)
{
	uint32_t *asked = ctx;

	for (uint32_t i = 0; i < n; i++)
		must(hits[i].slot < 2000);
	asked[2] += n;
}

/* Where few rows are hidden they are asked about when the walk is over. */
static void test_late(void)
{
	uint32_t asked[3] = {0}, right = 0, hidden = 0;
	struct hnsw_query q = {.k = 10,
		.ef = 50,
		.is_visible = is_not_tenth,
		.look_ahead = look_ahead,
		.hidden = .1f,
		.ctx = asked};
	struct ground g;

	ground_init(&g, &plain, 2000);
	put_all(&g);
	for (uint32_t i = 0; i < 100; i++) {
		q.vec = row(&g, 10 * i);
		must(hnsw_search(g.h, &q, g.scratch, g.hits, &g.n_hits) == 0);
		for (uint32_t j = 0; j < g.n_hits; j++)
			hidden += g.hits[j].slot % 10 == 0;
		right += g.n_hits >= 10 && is_exact(&g, q.vec);
	}
	ok(right == 100 && hidden == 0, "few hidden rows cost no answers");
	ok(asked[0] < 100 * 50 && asked[1] >= 100 &&
			asked[2] <= asked[0] && asked[2] > asked[0] * 3 / 4,
		"only what is near the answer is looked at ahead and asked (%u)",
		asked[0] / 100);
	ground_fini(&g);
}

static bool is_other(void *ctx, uint32_t slot)
{
	return slot != *(uint32_t *)ctx;
}

/* One that nobody foretold, and as few candidates as are wanted. */
static void test_late_short(void)
{
	uint32_t self, whole = 0;
	struct hnsw_query q = {
		.k = 10, .ef = 10, .is_visible = is_other, .ctx = &self};
	struct ground g;

	ground_init(&g, &plain, 2000);
	put_all(&g);
	for (self = 0; self < 100; self++) {
		q.vec = row(&g, self);
		must(hnsw_search(g.h, &q, g.scratch, g.hits, &g.n_hits) == 0);
		whole += g.n_hits >= 10;
	}
	ok(whole == 100, "where one is hidden as many are found as are wanted");
	ground_fini(&g);
}

static void test_visible(void)
{
	uint32_t asked = 0;
	_Atomic bool cancel = true;
	struct hnsw_query q = {.k = 10,
		.ef = 50,
		.is_visible = is_odd,
		.ctx = &asked,
		.cancel = &cancel};
	struct ground g;
	bool is_hidden = true;

	ground_init(&g, &plain, 2000);
	put_all(&g);
	q.vec = row(&g, 10);
	ok(hnsw_search(g.h, &q, g.scratch, g.hits, &g.n_hits) == -EINTR,
		"a search that is cancelled says so");
	cancel = false;
	must(hnsw_search(g.h, &q, g.scratch, g.hits, &g.n_hits) == 0);
	for (uint32_t i = 0; i < g.n_hits; i++)
		is_hidden = is_hidden && g.hits[i].slot % 2 != 0;
	ok(is_hidden && g.n_hits >= 10 && is_exact(&g, q.vec),
		"hidden rows cost no answers");
	ok(asked < 1000, "visibility is asked of few rows (%u)", asked);
	q.is_visible = is_last;
	q.ef = 64; /* a pool of 2,048: the walk may see them all */
	must(hnsw_search(g.h, &q, g.scratch, g.hits, &g.n_hits) == 0);
	ok(g.n_hits == 1 && g.hits[0].slot == 1999,
		"the only visible one of 2,000 rows is found");
	ground_fini(&g);
}

static void test_scratch(void)
{
	struct ground small, large;
	uint32_t want[10];
	bool is_same = true;

	ground_init(&small, &plain, 100);
	ground_init(&large, &plain, 2000);
	put_all(&small);
	put_all(&large);
	must(hnsw_scratch_reserve(small.scratch, large.h, 500) == 0);
	search(&small, row(&small, 5), 10, 20);
	for (int i = 0; i < 10; i++)
		want[i] = small.hits[i].slot;
	/* More searches than there are epochs. */
	for (int i = 0; i < 70000; i++) {
		struct ground *g = i % 50 == 0 ? &large : &small;
		struct hnsw_scratch *own = g->scratch;

		g->scratch = small.scratch;
		search(g, row(g, 5), 10, 20);
		g->scratch = own;
		for (int j = 0; j < 10 && g == &small; j++)
			is_same = is_same && g->hits[j].slot == want[j];
	}
	ok(is_same, "a scratch serves two graphs, and more walks than epochs");
	ground_fini(&small);
	ground_fini(&large);
}

static long resident_kib(void)
{
	long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	must(f && fscanf(f, "%ld %ld", &size, &resident) == 2);
	fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void test_memory(void)
{
	struct hnsw_config config = plain;
	struct hnsw_coding by;
	struct hnsw_stat st;
	struct ground g;
	long before;

	config.m = 16;
	ground_init(&g, &config, 40000);
	before = resident_kib();
	for (uint32_t i = 0; i < 100; i++)
		must(hnsw_put(g.h, i, g.scratch) == 0);
	ok(resident_kib() - before < 1024, "100 rows cost less than 1 MiB");
	for (uint32_t i = 100; i < 40000; i++)
		must(hnsw_put(g.h, i, g.scratch) == 0);
	hnsw_stat(g.h, &st);
	ok(st.linked == 40000 && st.bytes / st.linked < 220 && st.levels > 2,
		"40,000 cost %zu bytes each, on %u levels",
		st.bytes / st.linked, st.levels);
	hnsw_coding(g.h, &by);
	ok(by.levels == st.levels && by.linked == st.linked,
		"which is known without a walk");
	ok(is_valid(&g), "and are a valid graph across chunks");
	ground_fini(&g);
}

static void test_levels(void)
{
	struct ground a, b;
	struct hnsw_config config = plain;
	uint32_t up = 0, differ = 0;

	config.m = 16;
	ground_init(&a, &config, 1);
	config.seed++;
	ground_init(&b, &config, 1);
	for (uint32_t i = 0; i < 160000; i++) {
		up += hnsw_level(a.h, i) > 0;
		differ += (hnsw_level(a.h, i) > 0) != (hnsw_level(b.h, i) > 0);
	}
	ok(up > 9600 && up < 10400, "one node in 16 goes a level up (%u)", up);
	ok(differ > 15000, "another seed sends up others");
	ground_fini(&a);
	ground_fini(&b);
}

/* ---- damage ---- */

static bool finds(struct ground *g, const char *what)
{
	const char *why = "nothing";
	bool is_found = hnsw_check(g->h, &why) == -VG_ECORRUPT &&
			strncmp(why, what, strlen(what)) == 0;

	if (!is_found)
		diag("want %s, got %s", what, why);
	return is_found;
}

/* Sets link i of a list to what breaks it, looks, and sets it back. */
static bool finds_link(struct ground *g, hnsw_link *link, uint32_t value,
	const char *what)
{
	uint32_t was = *link;
	bool is_found;

	*link = value;
	is_found = finds(g, what);
	*link = was;
	return is_found;
}

static uint32_t marked_link(const struct ground *g, uint32_t slot)
{
	hnsw_link *links = hnsw_links(g->h, slot, 0);
	uint32_t i = 0;

	while ((links[i] & LINK_TREE) == 0)
		i++;
	return i;
}

static uint32_t slot_on(const struct ground *g, uint32_t level, bool is_above)
{
	for (uint32_t i = 0; i < g->data.n; i++)
		if (is_above ? hnsw_level(g->h, i) > level :
			       hnsw_level(g->h, i) == level)
			return i;
	return VG_SLOT_NONE;
}

static void test_damage(void)
{
	struct hnsw_config config = plain;
	struct ground g;
	hnsw_link *links;
	uint64_t entry;
	uint32_t up, i;
	float term;

	config.metric = VG_COSINE;
	ground_init(&g, &config, 500);
	must(hnsw_put(g.h, 499, g.scratch) == 0);
	for (i = 0; i < 498; i++) /* 498 is never linked */
		must(hnsw_put(g.h, i, g.scratch) == 0);
	must(is_valid(&g));
	links = hnsw_links(g.h, 3, 0);
	i = marked_link(&g, 3);
	uint32_t other = i == 0 ? 1 : 0;

	ok(finds_link(&g, &links[other], 3, "I1"), "a link to itself is found");
	ok(finds_link(&g, &links[other], links[i] & LINK_SLOT, "I1"),
		"a link that is there twice is found");
	ok(finds_link(&g, &links[other], LINK_END, "I1"), "a hole is found");
	ok(finds_link(&g, &links[other], 498, "I2"),
		"a link to a slot never linked is found");
	ok(finds_link(&g, &links[other], 4000000, "I2"),
		"a link to nowhere is found");
	up = slot_on(&g, 0, true);
	must(up != VG_SLOT_NONE);
	ok(finds_link(&g, hnsw_links(g.h, up, 1), slot_on(&g, 0, false), "I2"),
		"an upper link to a lower node is found");
	ok(finds_link(&g, &links[i], links[i] & LINK_SLOT, "I4"),
		"a mark on one side only is found");
	ok(finds_link(&g, hnsw_place(g.h, 9), PLACE_FREE, "I2"),
		"a node that lost its place is found");
	term = *hnsw_term(g.h, 7);
	*hnsw_term(g.h, 7) = nextafterf(term, 1);
	ok(finds(&g, "I6"), "a wrong term is found");
	*hnsw_term(g.h, 7) = term;
	entry = g.h->entry;
	g.h->entry = slot_on(&g, 0, false);
	ok(finds(&g, "I3"), "an entry that is not the highest is found");
	g.h->entry = ENTRY_NONE;
	ok(finds(&g, "I3"), "a lost entry is found");
	g.h->entry = entry;
	g.h->linked++;
	ok(finds(&g, "I7"), "a wrong count is found");
	g.h->linked--;
	/* Both marks of a pair go: two trees. */
	links[i] &= LINK_SLOT;
	hnsw_link *back = hnsw_links(g.h, links[i], 0);

	for (i = 0; back[i] != (3 | LINK_TREE); i++)
		;
	back[i] &= LINK_SLOT;
	ok(finds(&g, "I5"), "a tree that fell apart is found");
	ground_fini(&g);
}

int main(void)
{
	plan(1 + 8 + 5 * 3 + 2 + 3 * 4 + 2 + 3 * 3 + 4 + 1 + 4 + 3 + 2 + 13);
	srand((unsigned)seed());
	test_config();
	test_small();
	test_shape(1, 16, 1000);
	test_shape(3, 2, 1000);
	test_shape(16, 16, 2000);
	test_shape(20, 64, 1000);
	test_shape(4096, 8, 150);
	test_sparse();
	test_equal(VG_L2, "l2");
	test_equal(VG_COSINE, "cosine");
	test_equal(VG_IP, "ip");
	test_all_equal();
	test_wild(1e-40f, "denormal rows");
	test_wild(1e-20f, "tiny rows");
	test_wild(5e37f, "huge rows");
	test_visible();
	test_late();
	test_late_short();
	test_scratch();
	test_memory();
	test_levels();
	test_damage();
	return done();
}
