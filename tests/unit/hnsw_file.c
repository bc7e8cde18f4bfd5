/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_file.c: a graph that was saved and loaded is the same graph. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/graphkit.h"
#include "tests/tap.h"

/* ---- round trips ---- */

static void test_small(void)
{
	struct gk_ground g;
	struct hnsw *h;

	gk_ground_init(&g, &gk_plain, 3);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 3) && gk_is_valid(h), "an empty graph comes back");
	gk_put_range(&g, h, 0, 3);
	ok(gk_is_valid(h) && hnsw_count(h) == 3, "and takes rows");
	hnsw_free(h);
	gk_put_range(&g, g.h, 1, 2);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 3) && gk_is_valid(h), "so does a graph of one node");
	ok(hnsw_is_linked(h, 1) && !hnsw_is_linked(h, 0) &&
			!hnsw_is_linked(h, 2) && !hnsw_is_linked(h, 4000000) &&
			!hnsw_is_linked(h, UINT32_MAX),
		"which has that node and no other");
	ok(hnsw_put(h, 1, g.scratch) == -EEXIST, "a loaded slot is linked");
	hnsw_free(h);
	gk_ground_fini(&g);
}

static void test_metric(enum vg_metric metric, const char *name)
{
	struct hnsw_config config = gk_plain;
	struct stream again = {0};
	struct gk_ground g;
	struct hnsw *h;
	size_t delta, base;

	config.metric = metric;
	gk_ground_init(&g, &config, 4000);
	gk_put_range(&g, g.h, 0, 3000);
	hnsw_save_cost(g.h, &delta, &base);
	gk_save(g.h, &g.base);
	ok(base >= g.base.len && base - g.base.len < base / 50 && delta == base,
		"%s: a base has at most the bytes that were told (%zu, %zu)",
		name, g.base.len, base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 4000) && g.base.at == g.base.len,
		"%s: 3,000 nodes come back", name);
	ok(gk_is_valid(h), "%s: all invariants hold", name);
	ok(gk_is_alike(&g, h), "%s: searches answer the same", name);
	gk_save(h, &again);
	ok(again.len == g.base.len &&
			memcmp(again.bytes, g.base.bytes, again.len) == 0,
		"%s: saved again it is the same bytes", name);
	gk_put_range(&g, g.h, 3000, 4000);
	gk_put_range(&g, h, 3000, 4000);
	ok(gk_is_same(g.h, h, 4000) && gk_is_valid(h),
		"%s: 1,000 puts later both are the same", name);
	hnsw_free(h);
	free(again.bytes);
	gk_ground_fini(&g);
}

/* Slots in disorder, with holes, in chunks far away. */
static void test_sparse(void)
{
	static const uint32_t slots[] = {70000, 5, 69999, 32768, 16384, 16383,
		0, 131071, 40000, 40001, 12, 13, 99999, 63, 64, 127};
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct hnsw *h;

	config.dim = 2;
	config.m = 2;
	gk_ground_init(&g, &config, 131072);
	for (size_t i = 0; i < VG_ARRAY_LEN(slots); i++)
		must(hnsw_put(g.h, slots[i], g.scratch) == 0);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 131072) && gk_is_valid(h) && g.base.len < 1000,
		"slots far apart come back, at the price of themselves");
	gk_put_range(&g, h, 200, 5000);
	ok(gk_is_valid(h), "and what lies between them can be put");
	hnsw_free(h);
	gk_ground_fini(&g);
}

/* More than a buffer, a chunk, and the nodes that are worth huge pages. */
static void test_large(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct hnsw *h;

	config.dim = 2;
	config.m = 16;
	config.ef_construction = 16;
	gk_ground_init(&g, &config, 20000);
	gk_put_range(&g, g.h, 0, 8000);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	gk_put_range(&g, g.h, 8000, 20000);
	g.base.len = 0;
	must(hnsw_save_delta(g.h, gk_sink(&g.base)) == 0);
	must(gk_load_delta(&g, h, &g.base));
	ok(gk_is_same(g.h, h, 20000) && gk_is_valid(h),
		"a delta may have more nodes than the base");
	hnsw_free(h);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 20000), "20,000 nodes in two chunks come back");
	hnsw_free(h);
	gk_ground_fini(&g);
}

static void test_wild(void)
{
	struct gk_ground g;
	struct hnsw *h;
	bool is_answered = true;

	for (int metric = VG_L2; metric <= VG_IP; metric++) {
		struct hnsw_config config = gk_plain;
		struct hit hits[200];
		uint32_t n;

		config.metric = (enum vg_metric)metric;
		gk_ground_init(&g, &config, 300);
		for (size_t i = 0; i < (size_t)300 * gk_plain.dim; i++)
			g.data.vecs[i] *= i % 2 == 0 ? 5e37f : 1e-40f;
		gk_put_range(&g, g.h, 0, 200);
		gk_save(g.h, &g.base);
		h = gk_load(&g, &g.base);
		is_answered = is_answered && gk_is_same(g.h, h, 300) &&
			      gk_is_valid(h) && h->is_wild;
		hnsw_free(h);
		g.h->is_wild = false;
		gk_save(g.h, &g.base);
		h = gk_load(&g, &g.base);
		for (uint32_t i = 0; i < 300; i++) {
			struct hnsw_query q = {.vec = g.data.vecs +
						      (size_t)i * gk_plain.dim,
				.k = 5,
				.ef = 50};

			must(hnsw_search(h, &q, g.scratch, hits, &n) == 0);
			is_answered = is_answered && n > 0;
		}
		/* Products of a tame query overflow: infinitely near. */
		struct hnsw_query tame = {.vec = (float[]){1e10f, 1e10f, -1e10f,
						  1e10f, -1e10f, 1e10f},
			.k = 5,
			.ef = 50};

		must(hnsw_search(h, &tame, g.scratch, hits, &n) == 0);
		gk_put_range(&g, h, 200, 300);
		hnsw_free(h);
		gk_ground_fini(&g);
	}
	ok(is_answered, "rows beyond a float's range are walked, also in a "
			"graph that denies them");
}

/* ---- bytes ---- */

static void test_golden(void)
{
	static const char want[] =
		/* base: header */
		"7667686e730d0a1a"
		"0200000001000000"
		"0100000002000000"
		"020000000a000000"
		"0300000000000000"
		"1400000000000000"
		/* 3 nodes in 2 words */
		"0200000003000000"
		"0000000001000000"
		"06000000000000002000000000000000"
		/* none has a code */
		"00000000000000000000000000000000"
		/* slots 1, 2, 69: term, 4 links */
		"0000003f0200008045000080ffffffffffffffff"
		"0000803e0100008045000000ffffffffffffffff"
		"0000803f0100008002000000ffffffffffffffff"
		/* 69 is on level 1: 2 links */
		"ffffffffffffffff"
		/* no nodes changed meanwhile */
		"0000000000000000"
		/* moment: 69 is the entry */
		"4500000001000000"
		"0300000000008040"
		"0000000000000000"
		"0000000000000000"
		"7667656e640d0a1a"
		/* delta: header, 3 nodes before */
		"7667686e730d0a1a"
		"0200000002000000"
		"0100000002000000"
		"020000000a000000"
		"0300000000000000"
		"1400000003000000"
		/* 4 nodes in 2 words */
		"0200000004000000"
		"0000000001000000"
		"07000000000000002000000000000000"
		"00000000000000000000000000000000"
		/* slots 0, 1, 2, 69 */
		"0000803f450000800100000002000000ffffffff"
		"0000003f020000804500008000000000ffffffff"
		"0000803e010000804500000000000000ffffffff"
		"0000803f010000800200000000000080ffffffff"
		/* 0 is on levels 1 to 3, 69 on level 1 */
		"45000000ffffffff"
		"ffffffffffffffff"
		"ffffffffffffffff"
		"00000000ffffffff"
		/* moment: 0 is the entry */
		"0000000003000000"
		"0400000000008040"
		"0000000000000000"
		"0000000000000000"
		"7667656e640d0a1a";
	struct hnsw_config config = {.dim = 1,
		.metric = VG_COSINE,
		.m = 2,
		.ef_construction = 10,
		.seed = 3,
		.codes = HNSW_CODES_NONE};
	struct gk_ground g;
	char hex[2 * 512 + 1] = "";

	gk_ground_init(&g, &config, 70);
	for (int i = 0; i < 70; i++)
		g.data.vecs[i] = (float)(1 << i % 3);
	gk_put_range(&g, g.h, 1, 3);
	gk_put_range(&g, g.h, 69, 70);
	gk_save(g.h, &g.base);
	gk_put_range(&g, g.h, 0, 1);
	must(hnsw_save_delta(g.h, gk_sink(&g.base)) == 0);
	must(g.base.len <= 512);
	for (size_t i = 0; i < g.base.len; i++)
		snprintf(hex + 2 * i, 3, "%02x",
			(unsigned char)g.base.bytes[i]);
	if (!ok(strcmp(hex, want) == 0,
		    "a base and a delta are the bytes that the format says"))
		diag("%s", hex);
	gk_ground_fini(&g);
}

/* ---- deltas ---- */

static void test_deltas(void)
{
	struct stream delta[6] = {0};
	struct gk_ground g;
	struct hnsw *h;
	size_t cost, base;
	bool is_told = true, is_step = true;

	gk_ground_init(&g, &gk_plain, 2300);
	gk_put_range(&g, g.h, 0, 1000);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	for (uint32_t i = 0; i < 4; i++) {
		gk_put_range(&g, g.h, 1000 + i * 200, 1000 + (i + 1) * 200);
		hnsw_save_cost(g.h, &cost, &base);
		must(hnsw_save_delta(g.h, gk_sink(&delta[i])) == 0);
		is_told = is_told && delta[i].len == cost && cost < base;
		is_step = is_step && gk_load_delta(&g, h, &delta[i]) &&
			  gk_is_same(g.h, h, 2300) && gk_is_valid(h);
	}
	ok(is_told, "a delta has the bytes that were told before");
	ok(is_step, "delta after delta makes the graph that it was saved from");
	must(hnsw_save_delta(g.h, gk_sink(&delta[4])) == 0);
	ok(delta[4].len == 48 + 8 + 40 && gk_load_delta(&g, h, &delta[4]) &&
			gk_is_same(g.h, h, 2300),
		"a delta of nothing is 96 bytes and changes nothing");
	gk_put_range(&g, h, 1800, 2300);
	must(hnsw_save_delta(h, gk_sink(&delta[5])) == 0);
	hnsw_free(g.h);
	g.h = gk_load(&g, &g.base);
	for (int i = 0; i < 6; i++)
		must(gk_load_delta(&g, g.h, &delta[i]));
	ok(gk_is_same(h, g.h, 2300) && gk_is_valid(g.h),
		"a loaded graph saves deltas to those it came from");
	hnsw_free(h);
	h = gk_load(&g, &g.base);
	ok(!gk_load_delta(&g, h, &delta[1]) && strstr(g.why, "comes next") != NULL,
		"a delta whose turn it is not is refused");
	hnsw_free(h);
	h = gk_load(&g, &g.base);
	ok(!gk_load_delta(&g, h, &g.base) && strstr(g.why, "base"),
		"so is a base in a delta's place");
	hnsw_free(h);
	ok(!gk_load(&g, &delta[0]) && strstr(g.why, "base"),
		"and a delta in a base's");
	for (int i = 0; i < 6; i++)
		free(delta[i].bytes);
	gk_ground_fini(&g);
}

/* A node that is linked above all others after the last save. */
static void test_entry(void)
{
	struct hnsw_config config = gk_plain;
	struct stream delta = {0};
	struct gk_ground g;
	struct hnsw *h;
	uint32_t n_raised = 0, was;
	bool is_kept = true;

	config.m = 2;
	gk_ground_init(&g, &config, 300);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	for (uint32_t i = 0; i < 300; i++) {
		was = (uint32_t)g.h->entry;
		gk_put_range(&g, g.h, i, i + 1);
		n_raised += was != (uint32_t)g.h->entry;
		delta.len = 0;
		must(hnsw_save_delta(g.h, gk_sink(&delta)) == 0);
		is_kept = is_kept && gk_load_delta(&g, h, &delta);
	}
	ok(n_raised > 3 && is_kept && gk_is_same(g.h, h, 300) && gk_is_valid(h),
		"a graph grows from nothing by deltas, through %u entries",
		n_raised);
	hnsw_free(h);
	free(delta.bytes);
	gk_ground_fini(&g);
}

/* ---- order and failure ---- */

static void test_order(void)
{
	struct gk_ground g;
	struct hnsw *h;
	size_t delta, base;

	gk_ground_init(&g, &gk_plain, 400);
	gk_put_range(&g, g.h, 0, 300);
	ok(hnsw_save_rest(g.h, gk_sink(&g.base)) == -EINVAL &&
			hnsw_save_delta(g.h, gk_sink(&g.base)) == -EINVAL &&
			g.base.len == 0,
		"what was never saved begins with a base");
	must(hnsw_save_base(g.h, gk_sink(&g.base)) == 0);
	ok(hnsw_save_delta(g.h, gk_sink(&g.base)) == -EINVAL,
		"a base is ended before a delta");
	must(hnsw_save_rest(g.h, gk_sink(&g.base)) == 0);
	ok(hnsw_save_rest(g.h, gk_sink(&g.base)) == -EINVAL, "and once");
	gk_put_range(&g, g.h, 300, 310);
	for (int i = 1; i <= 3; i++) {
		gk_save(g.h, &g.base);
		gk_put_range(&g, g.h, 310 + (uint32_t)i, 311 + (uint32_t)i);
		g.base.limit = g.base.len;
		if (i == 1)
			must(hnsw_save_base(g.h, gk_sink(&g.base)) == -ENOSPC);
		if (i == 2) {
			g.base.limit = 0;
			must(hnsw_save_base(g.h, gk_sink(&g.base)) == 0);
			g.base.limit = g.base.len;
			must(hnsw_save_rest(g.h, gk_sink(&g.base)) == -ENOSPC);
		}
		if (i == 3)
			must(hnsw_save_delta(g.h, gk_sink(&g.base)) == -ENOSPC);
		g.base.limit = 0;
		hnsw_save_cost(g.h, &delta, &base);
		ok(hnsw_save_delta(g.h, gk_sink(&g.base)) == -EINVAL &&
				hnsw_save_rest(g.h, gk_sink(&g.base)) ==
					-EINVAL &&
				delta == base,
			"after a sink that failed (%d) the next is a base", i);
	}
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 400) && gk_is_valid(h), "which has everything");
	hnsw_free(h);
	gk_ground_fini(&g);
}

/* ---- puts and searches beside ---- */

#define BESIDE_STEP 200u

struct beside {
	struct gk_ground *g;
	pthread_rwlock_t gate; /* a put reads, a saver stops them */
	sem_t step;	       /* posted for each BESIDE_STEP slots */
	_Atomic uint32_t next;
	_Atomic bool is_over;
};

static void *put_beside(void *ctx)
{
	struct beside *b = ctx;
	struct hnsw_scratch *s;
	uint32_t slot;

	must(hnsw_scratch_new(&s) == 0);
	while ((slot = atomic_fetch_add(&b->next, 1)) < b->g->data.n) {
		pthread_rwlock_rdlock(&b->gate);
		must(hnsw_put(b->g->h, slot, s) == 0);
		pthread_rwlock_unlock(&b->gate);
		if (slot % BESIDE_STEP == 0)
			sem_post(&b->step);
	}
	hnsw_scratch_free(s);
	return NULL;
}

static void *search_beside(void *ctx)
{
	struct beside *b = ctx;
	struct hnsw_scratch *s;
	struct hit hits[100];
	uint32_t n;

	must(hnsw_scratch_new(&s) == 0);
	for (uint32_t i = 0; !atomic_load(&b->is_over); i++) {
		struct hnsw_query q = {.vec = b->g->data.vecs +
					      (size_t)(i % b->g->data.n) *
						      b->g->config.dim,
			.k = 5,
			.ef = 40};

		must(hnsw_search(b->g->h, &q, s, hits, &n) == 0);
		(void)hnsw_is_linked(b->g->h, i % b->g->data.n);
	}
	hnsw_scratch_free(s);
	return NULL;
}

/* Bases and two deltas each while rows are put, all loaded at the end. */
static void test_beside(enum vg_metric metric, uint32_t m)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct beside b = {.g = &g, .next = BESIDE_STEP};
	pthread_rwlockattr_t attr;
	pthread_t thread[3];
	struct stream delta = {0};
	bool is_kept = true;
	uint32_t n_rounds, n_mixed = 0;

	config.metric = metric;
	config.m = m;
	gk_ground_init(&g, &config, (uint32_t)env_long("VG_BESIDE_N", 2400));
	n_rounds = g.data.n / BESIDE_STEP - 1;
	gk_put_range(&g, g.h, 0, BESIDE_STEP);
	sem_init(&b.step, 0, 0);
	pthread_rwlockattr_init(&attr);
	/* Or puts would never let the saver in. */
	pthread_rwlockattr_setkind_np(&attr,
		PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&b.gate, &attr);
	for (int i = 0; i < 3; i++)
		must(pthread_create(&thread[i], NULL,
			     i < 2 ? put_beside : search_beside, &b) == 0);
	for (uint32_t round = 0; round < n_rounds; round++) {
		struct hnsw *h;
		uint32_t n;

		sem_wait(&b.step);
		n = hnsw_count(g.h);
		g.base.len = 0;
		must(hnsw_save_base(g.h, gk_sink(&g.base)) == 0);
		pthread_rwlock_wrlock(&b.gate);
		n_mixed += hnsw_count(g.h) > n;
		must(hnsw_save_rest(g.h, gk_sink(&g.base)) == 0);
		h = gk_load(&g, &g.base);
		is_kept = is_kept && gk_is_same(g.h, h, g.data.n) && gk_is_valid(h);
		pthread_rwlock_unlock(&b.gate);
		for (int i = 0; i < 2 && h; i++) {
			hnsw_save_cost(g.h, &(size_t){0}, &(size_t){0});
			pthread_rwlock_wrlock(&b.gate);
			delta.len = 0;
			must(hnsw_save_delta(g.h, gk_sink(&delta)) == 0);
			is_kept = is_kept && gk_load_delta(&g, h, &delta) &&
				  gk_is_same(g.h, h, g.data.n) && gk_is_valid(h);
			pthread_rwlock_unlock(&b.gate);
		}
		hnsw_free(h);
	}
	atomic_store(&b.is_over, true);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ok(is_kept,
		"metric %d, m=%u: %u bases and their deltas beside puts "
		"are the graph of their moment (%u with puts meanwhile)",
		(int)metric, m, n_rounds, n_mixed);
	sem_destroy(&b.step);
	pthread_rwlock_destroy(&b.gate);
	pthread_rwlockattr_destroy(&attr);
	free(delta.bytes);
	gk_ground_fini(&g);
}

/* A sink that puts rows, so that a base surely meets them half written. */
struct putting {
	struct hnsw_sink sink;
	struct gk_ground *g;
	uint32_t next;
};

static int write_and_put(void *ctx, const void *bytes, size_t len)
{
	struct putting *p = ctx;

	gk_put_range(p->g, p->g->h, p->next, p->next + 500);
	p->next += 500;
	return stream_write(&p->g->base, bytes, len);
}

static void test_between(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct putting p = {.sink = {write_and_put, &p}, .g = &g};
	struct hnsw *h;

	config.dim = 2;
	config.m = 32;
	config.ef_construction = 20;
	gk_ground_init(&g, &config, 12000);
	gk_put_range(&g, g.h, 0, 8000);
	p.next = 8000;
	must(hnsw_save_base(g.h, &p.sink) == 0);
	must(hnsw_save_rest(g.h, gk_sink(&g.base)) == 0);
	h = gk_load(&g, &g.base);
	ok(p.next > 9000 && gk_is_same(g.h, h, 12000) && gk_is_valid(h),
		"%u rows put between the writes of a base are in it",
		p.next - 8000);
	hnsw_free(h);
	gk_ground_fini(&g);
}

int main(void)
{
	plan(5 + 3 * 6 + 2 + 2 + 1 + 1 + 7 + 1 + 7 + 3 + 1);
	srand((unsigned)seed());
	test_small();
	test_metric(VG_L2, "l2");
	test_metric(VG_COSINE, "cosine");
	test_metric(VG_IP, "ip");
	test_sparse();
	test_large();
	test_wild();
	test_golden();
	test_deltas();
	test_entry();
	test_order();
	test_beside(VG_L2, 16);
	test_beside(VG_COSINE, 4);
	test_beside(VG_IP, 2);
	test_between();
	return done();
}
