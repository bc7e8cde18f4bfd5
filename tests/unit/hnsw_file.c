/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_file.c: a graph that was saved and loaded is the same graph. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw_int.h"
#include "tests/recall/data.h"
#include "tests/tap.h"

/* A stream in memory: what a sink wrote, and how far a source has read. */
struct stream {
	char *bytes;
	size_t len, cap;
	size_t at;
	int n_writes, fail_at; /* the write that fails; 0: none */
	struct hnsw_sink sink;
	struct hnsw_source source;
};

static int stream_write(void *ctx, const void *bytes, size_t len)
{
	struct stream *s = ctx;

	if (++s->n_writes == s->fail_at)
		return -ENOSPC;
	if (s->len + len > s->cap) {
		s->cap = 2 * (s->len + len);
		s->bytes = realloc(s->bytes, s->cap);
		must(s->bytes);
	}
	memcpy(s->bytes + s->len, bytes, len);
	s->len += len;
	return 0;
}

static int stream_read(void *ctx, void *buf, size_t len)
{
	struct stream *s = ctx;

	if (len > s->len - s->at)
		return -ENODATA;
	memcpy(buf, s->bytes + s->at, len);
	s->at += len;
	return 0;
}

static void stream_init(struct stream *s)
{
	*s = (struct stream){.sink = {stream_write, s},
		.source = {stream_read, s}};
}

static void stream_fini(struct stream *s)
{
	free(s->bytes);
	s->bytes = NULL;
}

/* A base, at once. */
static void save(struct hnsw *h, struct stream *s)
{
	s->len = s->at = 0;
	must(hnsw_save_base(h, &s->sink) == 0);
	must(hnsw_save_rest(h, &s->sink) == 0);
}

/* A graph over random rows. */
struct ground {
	struct data data;
	struct hnsw_config config;
	struct hnsw *h;
	struct hnsw_scratch *scratch;
	struct stream base;
	const char *why; /* of the last load */
};

static const struct hnsw_config plain = {.dim = 6,
	.metric = VG_L2,
	.m = 8,
	.ef_construction = 40,
	.seed = 11};

static void ground_init(struct ground *g, const struct hnsw_config *config,
	uint32_t n)
{
	memset(g, 0, sizeof(*g));
	g->config = *config;
	data_init(&g->data, n, config->dim, false);
	for (size_t i = 0; i < (size_t)n * config->dim; i++)
		g->data.vecs[i] = (float)(rand() % 2001 - 1000) / 1000;
	must(hnsw_new(config, &g->data.rows, &g->h) == 0);
	must(hnsw_scratch_new(&g->scratch) == 0);
	stream_init(&g->base);
}

static void ground_fini(struct ground *g)
{
	hnsw_free(g->h);
	hnsw_scratch_free(g->scratch);
	stream_fini(&g->base);
	data_fini(&g->data);
}

static void put_range(struct ground *g, struct hnsw *h, uint32_t from,
	uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		must(hnsw_put(h, i, g->scratch) == 0);
}

/* The graph of a base's stream, NULL if it is refused. */
static struct hnsw *load(struct ground *g, struct stream *s)
{
	struct hnsw *h = NULL;

	s->at = 0;
	g->why = "";
	if (hnsw_load_base(&g->config, &g->data.rows, g->data.n, &s->source,
		    &g->why, &h) < 0)
		return NULL;
	return h;
}

static bool load_delta(struct ground *g, struct hnsw *h, struct stream *s)
{
	s->at = 0;
	g->why = "";
	return hnsw_load_delta(h, g->data.n, &s->source, &g->why) == 0 &&
	       s->at == s->len;
}

static bool is_valid(const struct hnsw *h)
{
	const char *why = "";

	if (h && hnsw_check(h, &why) == 0)
		return true;
	diag("not valid: %s", why);
	return false;
}

static bool is_same_node(const struct hnsw *a, const struct hnsw *b,
	uint32_t slot)
{
	if (hnsw_is_linked(a, slot) != hnsw_is_linked(b, slot))
		return false;
	if (!hnsw_is_linked(a, slot))
		return true;
	for (uint32_t l = 0; l <= hnsw_level(a, slot); l++)
		if (memcmp((void *)hnsw_links(a, slot, l),
			    (void *)hnsw_links(b, slot, l),
			    hnsw_list_cap(a, l) * sizeof(hnsw_link)) != 0)
			return false;
	return a->config.metric != VG_COSINE ||
	       *hnsw_term(a, slot) == *hnsw_term(b, slot);
}

/* Whether two graphs over n rows have the same nodes, links and measures. */
static bool is_same(const struct hnsw *a, const struct hnsw *b, uint32_t n)
{
	struct hnsw_stat x, y;

	if (!b)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!is_same_node(a, b, i)) {
			diag("node %u differs", i);
			return false;
		}
	hnsw_stat(a, &x);
	hnsw_stat(b, &y);
	return x.linked == y.linked && x.levels == y.levels &&
	       x.n_links == y.n_links && x.bytes == y.bytes &&
	       hnsw_count(a) == x.linked && a->entry == b->entry &&
	       a->longest == b->longest && a->is_wild == b->is_wild;
}

/* Whether both answer alike, and each row is answered first by itself. */
static bool is_alike(struct ground *g, const struct hnsw *other)
{
	struct hit a[200], b[200];
	uint32_t n, m;

	for (uint32_t i = 0; i < g->data.n; i += 7) {
		struct hnsw_query q = {.vec = g->data.vecs +
					      (size_t)i * g->config.dim,
			.k = 5,
			.ef = 50};

		must(hnsw_search(g->h, &q, g->scratch, a, &n) == 0);
		must(hnsw_search(other, &q, g->scratch, b, &m) == 0);
		if (n != m || memcmp(a, b, n * sizeof(*a)) != 0)
			return false;
	}
	return true;
}

/* ---- round trips ---- */

static void test_small(void)
{
	struct ground g;
	struct hnsw *h;

	ground_init(&g, &plain, 3);
	save(g.h, &g.base);
	h = load(&g, &g.base);
	ok(is_same(g.h, h, 3) && is_valid(h), "an empty graph comes back");
	put_range(&g, h, 0, 3);
	ok(is_valid(h) && hnsw_count(h) == 3, "and takes rows");
	hnsw_free(h);
	put_range(&g, g.h, 1, 2);
	save(g.h, &g.base);
	h = load(&g, &g.base);
	ok(is_same(g.h, h, 3) && is_valid(h), "so does a graph of one node");
	ok(hnsw_is_linked(h, 1) && !hnsw_is_linked(h, 0) &&
			!hnsw_is_linked(h, 2) && !hnsw_is_linked(h, 4000000) &&
			!hnsw_is_linked(h, UINT32_MAX),
		"which has that node and no other");
	ok(hnsw_put(h, 1, g.scratch) == -EEXIST, "a loaded slot is linked");
	hnsw_free(h);
	ground_fini(&g);
}

static void test_metric(enum vg_metric metric, const char *name)
{
	struct hnsw_config config = plain;
	struct stream again;
	struct ground g;
	struct hnsw *h;
	size_t delta, base;

	config.metric = metric;
	ground_init(&g, &config, 4000);
	stream_init(&again);
	put_range(&g, g.h, 0, 3000);
	hnsw_save_cost(g.h, &delta, &base);
	save(g.h, &g.base);
	ok(base >= g.base.len && base - g.base.len < base / 50 && delta == base,
		"%s: a base has at most the bytes that were told (%zu, %zu)",
		name, g.base.len, base);
	h = load(&g, &g.base);
	ok(is_same(g.h, h, 4000) && g.base.at == g.base.len,
		"%s: 3,000 nodes come back", name);
	ok(is_valid(h), "%s: all invariants hold", name);
	ok(is_alike(&g, h), "%s: searches answer the same", name);
	save(h, &again);
	ok(again.len == g.base.len &&
			memcmp(again.bytes, g.base.bytes, again.len) == 0,
		"%s: saved again it is the same bytes", name);
	put_range(&g, g.h, 3000, 4000);
	put_range(&g, h, 3000, 4000);
	ok(is_same(g.h, h, 4000) && is_valid(h),
		"%s: 1,000 puts later both are the same", name);
	hnsw_free(h);
	stream_fini(&again);
	ground_fini(&g);
}

/* Slots in disorder, with holes, in chunks far away. */
static void test_sparse(void)
{
	static const uint32_t slots[] = {70000, 5, 69999, 32768, 16384, 16383,
		0, 131071, 40000, 40001, 12, 13, 99999, 63, 64, 127};
	struct hnsw_config config = plain;
	struct ground g;
	struct hnsw *h;

	config.dim = 2;
	config.m = 2;
	ground_init(&g, &config, 131072);
	for (size_t i = 0; i < VG_ARRAY_LEN(slots); i++)
		must(hnsw_put(g.h, slots[i], g.scratch) == 0);
	save(g.h, &g.base);
	h = load(&g, &g.base);
	ok(is_same(g.h, h, 131072) && is_valid(h) && g.base.len < 1000,
		"slots far apart come back, at the price of themselves");
	put_range(&g, h, 200, 5000);
	ok(is_valid(h), "and what lies between them can be put");
	hnsw_free(h);
	ground_fini(&g);
}

/* More than a buffer, a chunk, and the nodes that are worth huge pages. */
static void test_large(void)
{
	struct hnsw_config config = plain;
	struct ground g;
	struct hnsw *h;

	config.dim = 2;
	config.m = 16;
	config.ef_construction = 16;
	ground_init(&g, &config, 20000);
	put_range(&g, g.h, 0, 8000);
	save(g.h, &g.base);
	h = load(&g, &g.base);
	put_range(&g, g.h, 8000, 20000);
	g.base.len = 0;
	must(hnsw_save_delta(g.h, &g.base.sink) == 0);
	must(load_delta(&g, h, &g.base));
	ok(is_same(g.h, h, 20000) && is_valid(h),
		"a delta may have more nodes than the base");
	hnsw_free(h);
	save(g.h, &g.base);
	h = load(&g, &g.base);
	ok(is_same(g.h, h, 20000), "20,000 nodes in two chunks come back");
	hnsw_free(h);
	ground_fini(&g);
}

static void test_wild(void)
{
	struct ground g;
	struct hnsw *h;
	bool is_answered = true;

	for (int metric = VG_L2; metric <= VG_IP; metric++) {
		struct hnsw_config config = plain;
		struct hit hits[200];
		uint32_t n;

		config.metric = (enum vg_metric)metric;
		ground_init(&g, &config, 300);
		for (size_t i = 0; i < (size_t)300 * plain.dim; i++)
			g.data.vecs[i] *= i % 2 == 0 ? 5e37f : 1e-40f;
		put_range(&g, g.h, 0, 200);
		save(g.h, &g.base);
		h = load(&g, &g.base);
		is_answered = is_answered && is_same(g.h, h, 300) &&
			      is_valid(h) && h->is_wild;
		hnsw_free(h);
		g.h->is_wild = false;
		save(g.h, &g.base);
		h = load(&g, &g.base);
		for (uint32_t i = 0; i < 300; i++) {
			struct hnsw_query q = {.vec = g.data.vecs +
						      (size_t)i * plain.dim,
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
		put_range(&g, h, 200, 300);
		hnsw_free(h);
		ground_fini(&g);
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
		"0100000001000000"
		"0100000002000000"
		"020000000a000000"
		"0300000000000000"
		"1400000000000000"
		/* 3 nodes in 2 words */
		"0200000003000000"
		"0000000001000000"
		"06000000000000002000000000000000"
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
		"7667656e640d0a1a"
		/* delta: header, 3 nodes before */
		"7667686e730d0a1a"
		"0100000002000000"
		"0100000002000000"
		"020000000a000000"
		"0300000000000000"
		"1400000003000000"
		/* 3 nodes in 2 words */
		"0200000003000000"
		"0000000001000000"
		"03000000000000002000000000000000"
		/* slots 0, 1, 69 */
		"0000803f4500008001000000ffffffffffffffff"
		"0000003f020000804500008000000000ffffffff"
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
		"7667656e640d0a1a";
	struct hnsw_config config = {.dim = 1,
		.metric = VG_COSINE,
		.m = 2,
		.ef_construction = 10,
		.seed = 3};
	struct ground g;
	char hex[2 * 512 + 1] = "";

	ground_init(&g, &config, 70);
	for (int i = 0; i < 70; i++)
		g.data.vecs[i] = (float)(1 << i % 3);
	put_range(&g, g.h, 1, 3);
	put_range(&g, g.h, 69, 70);
	save(g.h, &g.base);
	put_range(&g, g.h, 0, 1);
	must(hnsw_save_delta(g.h, &g.base.sink) == 0);
	must(g.base.len <= 512);
	for (size_t i = 0; i < g.base.len; i++)
		snprintf(hex + 2 * i, 3, "%02x",
			(unsigned char)g.base.bytes[i]);
	if (!ok(strcmp(hex, want) == 0,
		    "a base and a delta are the bytes that the format says"))
		diag("%s", hex);
	ground_fini(&g);
}

/* ---- deltas ---- */

static void test_deltas(void)
{
	struct stream delta[6];
	struct ground g;
	struct hnsw *h;
	size_t cost, base;
	bool is_told = true, is_step = true;

	ground_init(&g, &plain, 2300);
	for (int i = 0; i < 6; i++)
		stream_init(&delta[i]);
	put_range(&g, g.h, 0, 1000);
	save(g.h, &g.base);
	h = load(&g, &g.base);
	for (uint32_t i = 0; i < 4; i++) {
		put_range(&g, g.h, 1000 + i * 200, 1000 + (i + 1) * 200);
		hnsw_save_cost(g.h, &cost, &base);
		must(hnsw_save_delta(g.h, &delta[i].sink) == 0);
		is_told = is_told && delta[i].len == cost && cost < base;
		is_step = is_step && load_delta(&g, h, &delta[i]) &&
			  is_same(g.h, h, 2300) && is_valid(h);
	}
	ok(is_told, "a delta has the bytes that were told before");
	ok(is_step, "delta after delta makes the graph that it was saved from");
	must(hnsw_save_delta(g.h, &delta[4].sink) == 0);
	ok(delta[4].len == 48 + 8 + 32 && load_delta(&g, h, &delta[4]) &&
			is_same(g.h, h, 2300),
		"a delta of nothing is 88 bytes and changes nothing");
	put_range(&g, h, 1800, 2300);
	must(hnsw_save_delta(h, &delta[5].sink) == 0);
	hnsw_free(g.h);
	g.h = load(&g, &g.base);
	for (int i = 0; i < 6; i++)
		must(load_delta(&g, g.h, &delta[i]));
	ok(is_same(h, g.h, 2300) && is_valid(g.h),
		"a loaded graph saves deltas to those it came from");
	hnsw_free(h);
	h = load(&g, &g.base);
	ok(!load_delta(&g, h, &delta[1]) && strstr(g.why, "comes next") != NULL,
		"a delta whose turn it is not is refused");
	hnsw_free(h);
	h = load(&g, &g.base);
	ok(!load_delta(&g, h, &g.base) && strstr(g.why, "base"),
		"so is a base in a delta's place");
	hnsw_free(h);
	ok(!load(&g, &delta[0]) && strstr(g.why, "base"),
		"and a delta in a base's");
	for (int i = 0; i < 6; i++)
		stream_fini(&delta[i]);
	ground_fini(&g);
}

/* A node that is linked above all others after the last save. */
static void test_entry(void)
{
	struct hnsw_config config = plain;
	struct stream delta;
	struct ground g;
	struct hnsw *h;
	uint32_t n_raised = 0, was;
	bool is_kept = true;

	config.m = 2;
	ground_init(&g, &config, 300);
	stream_init(&delta);
	save(g.h, &g.base);
	h = load(&g, &g.base);
	for (uint32_t i = 0; i < 300; i++) {
		was = (uint32_t)g.h->entry;
		put_range(&g, g.h, i, i + 1);
		n_raised += was != (uint32_t)g.h->entry;
		delta.len = 0;
		must(hnsw_save_delta(g.h, &delta.sink) == 0);
		is_kept = is_kept && load_delta(&g, h, &delta);
	}
	ok(n_raised > 3 && is_kept && is_same(g.h, h, 300) && is_valid(h),
		"a graph grows from nothing by deltas, through %u entries",
		n_raised);
	hnsw_free(h);
	stream_fini(&delta);
	ground_fini(&g);
}

/* ---- order and failure ---- */

static void test_order(void)
{
	struct ground g;
	struct hnsw *h;
	size_t delta, base;

	ground_init(&g, &plain, 400);
	put_range(&g, g.h, 0, 300);
	ok(hnsw_save_rest(g.h, &g.base.sink) == -EINVAL &&
			hnsw_save_delta(g.h, &g.base.sink) == -EINVAL &&
			g.base.len == 0,
		"what was never saved begins with a base");
	must(hnsw_save_base(g.h, &g.base.sink) == 0);
	ok(hnsw_save_delta(g.h, &g.base.sink) == -EINVAL,
		"a base is ended before a delta");
	must(hnsw_save_rest(g.h, &g.base.sink) == 0);
	ok(hnsw_save_rest(g.h, &g.base.sink) == -EINVAL, "and once");
	put_range(&g, g.h, 300, 310);
	for (int i = 1; i <= 3; i++) {
		save(g.h, &g.base);
		put_range(&g, g.h, 310 + (uint32_t)i, 311 + (uint32_t)i);
		g.base.n_writes = 0;
		g.base.fail_at = 1;
		if (i == 1)
			must(hnsw_save_base(g.h, &g.base.sink) == -ENOSPC);
		if (i == 2) {
			g.base.fail_at = 2;
			must(hnsw_save_base(g.h, &g.base.sink) == 0);
			must(hnsw_save_rest(g.h, &g.base.sink) == -ENOSPC);
		}
		if (i == 3)
			must(hnsw_save_delta(g.h, &g.base.sink) == -ENOSPC);
		g.base.fail_at = 0;
		hnsw_save_cost(g.h, &delta, &base);
		ok(hnsw_save_delta(g.h, &g.base.sink) == -EINVAL &&
				hnsw_save_rest(g.h, &g.base.sink) == -EINVAL &&
				delta == base,
			"after a sink that failed (%d) the next is a base", i);
	}
	save(g.h, &g.base);
	h = load(&g, &g.base);
	ok(is_same(g.h, h, 400) && is_valid(h), "which has everything");
	hnsw_free(h);
	ground_fini(&g);
}

/* ---- puts and searches beside ---- */

#define BESIDE_STEP 200u

struct beside {
	struct ground *g;
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
	struct hnsw_config config = plain;
	struct ground g;
	struct beside b = {.g = &g, .next = BESIDE_STEP};
	pthread_rwlockattr_t attr;
	pthread_t thread[3];
	struct stream delta;
	bool is_kept = true;
	uint32_t n_rounds, n_mixed = 0;

	config.metric = metric;
	config.m = m;
	ground_init(&g, &config, (uint32_t)env_long("VG_BESIDE_N", 2400));
	stream_init(&delta);
	n_rounds = g.data.n / BESIDE_STEP - 1;
	put_range(&g, g.h, 0, BESIDE_STEP);
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
		must(hnsw_save_base(g.h, &g.base.sink) == 0);
		pthread_rwlock_wrlock(&b.gate);
		n_mixed += hnsw_count(g.h) > n;
		must(hnsw_save_rest(g.h, &g.base.sink) == 0);
		h = load(&g, &g.base);
		is_kept = is_kept && is_same(g.h, h, g.data.n) && is_valid(h);
		pthread_rwlock_unlock(&b.gate);
		for (int i = 0; i < 2 && h; i++) {
			hnsw_save_cost(g.h, &(size_t){0}, &(size_t){0});
			pthread_rwlock_wrlock(&b.gate);
			delta.len = 0;
			must(hnsw_save_delta(g.h, &delta.sink) == 0);
			is_kept = is_kept && load_delta(&g, h, &delta) &&
				  is_same(g.h, h, g.data.n) && is_valid(h);
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
	stream_fini(&delta);
	ground_fini(&g);
}

/* A sink that puts rows, so that a base surely meets them half written. */
struct putting {
	struct hnsw_sink sink;
	struct ground *g;
	uint32_t next;
};

static int write_and_put(void *ctx, const void *bytes, size_t len)
{
	struct putting *p = ctx;

	put_range(p->g, p->g->h, p->next, p->next + 500);
	p->next += 500;
	return stream_write(&p->g->base, bytes, len);
}

static void test_between(void)
{
	struct hnsw_config config = plain;
	struct ground g;
	struct putting p = {.sink = {write_and_put, &p}, .g = &g};
	struct hnsw *h;

	config.dim = 2;
	config.m = 32;
	config.ef_construction = 20;
	ground_init(&g, &config, 12000);
	put_range(&g, g.h, 0, 8000);
	p.next = 8000;
	must(hnsw_save_base(g.h, &p.sink) == 0);
	must(hnsw_save_rest(g.h, &g.base.sink) == 0);
	h = load(&g, &g.base);
	ok(p.next > 9000 && is_same(g.h, h, 12000) && is_valid(h),
		"%u rows put between the writes of a base are in it",
		p.next - 8000);
	hnsw_free(h);
	ground_fini(&g);
}

/* ---- what is refused ---- */

static void test_config(void)
{
	struct hnsw_config other[] = {plain, plain, plain, plain};
	struct ground g;
	struct hnsw *h = NULL;
	bool is_refused = true;

	ground_init(&g, &plain, 128);
	put_range(&g, g.h, 0, 100);
	save(g.h, &g.base);
	other[0].metric = VG_IP;
	other[1].m++;
	other[2].ef_construction++;
	other[3].seed++;
	for (size_t i = 0; i < VG_ARRAY_LEN(other); i++) {
		g.config = other[i];
		is_refused = is_refused && !load(&g, &g.base) &&
			     strstr(g.why, "other settings");
	}
	g.config = plain;
	g.config.dim = 3;
	g.data.rows.stride = 3 * sizeof(float);
	is_refused = is_refused && !load(&g, &g.base);
	g.data.rows.stride = plain.dim * sizeof(float);
	ok(is_refused, "a graph of other settings is refused");
	g.config = plain;
	g.config.m = 1;
	g.base.at = 0;
	ok(hnsw_load_base(&g.config, &g.data.rows, 100, &g.base.source, &g.why,
		   &h) == -EINVAL,
		"settings out of range are refused");
	g.config = plain;
	g.base.at = 0;
	ok(hnsw_load_base(&g.config, &g.data.rows, 99, &g.base.source, &g.why,
		   &h) == -VG_ECORRUPT &&
			strstr(g.why, "rows that are not there"),
		"a graph of more rows than there are is refused");
	g.base.bytes[8] = 2;
	ok(!load(&g, &g.base) && strstr(g.why, "version"),
		"so is one of another version");
	g.base.bytes[8] = 1;
	g.base.bytes[56] = 1; /* of words 0 and 1 */
	ok(!load(&g, &g.base) && strstr(g.why, "no order"),
		"one that names slots twice");
	g.base.bytes[60] = 0;
	ok(!load(&g, &g.base) && strstr(g.why, "no order"), "or out of order");
	ground_fini(&g);
}

/* Saves what was damaged by hand; whether it is refused for that. */
static bool is_refused(struct ground *g, const char *why)
{
	struct hnsw *h;

	save(g->h, &g->base);
	h = load(g, &g->base);
	if (!h && strncmp(g->why, why, strlen(why)) == 0)
		return true;
	diag("want %s, got %s", why, h ? "a graph" : g->why);
	hnsw_free(h);
	return false;
}

static bool refuses_link(struct ground *g, hnsw_link *link, uint32_t value,
	const char *why)
{
	uint32_t was = *link;
	bool refused;

	*link = value;
	refused = is_refused(g, why);
	*link = was;
	return refused;
}

static uint32_t slot_on(const struct ground *g, uint32_t level)
{
	uint32_t slot = 0;

	while (hnsw_level(g->h, slot) != level)
		slot++;
	must(slot < g->data.n);
	return slot;
}

static void test_damage(void)
{
	struct hnsw_config config = plain;
	struct ground g;
	hnsw_link *links, *upper;
	uint32_t up, was[16];

	config.metric = VG_COSINE;
	ground_init(&g, &config, 500);
	put_range(&g, g.h, 0, 498); /* 498 is never linked */
	put_range(&g, g.h, 499, 500);
	links = hnsw_links(g.h, 3, 0);
	up = slot_on(&g, 1);
	upper = hnsw_links(g.h, up, 1);
	ok(refuses_link(&g, &links[1], 3, "I1") &&
			refuses_link(&g, upper, up, "I1"),
		"a link to itself is refused");
	ok(refuses_link(&g, &links[0], LINK_END, "I1") &&
			refuses_link(&g, &upper[0], LINK_END, "I1"),
		"so is a hole in a list");
	ok(refuses_link(&g, &links[1], 498, "I2") &&
			refuses_link(&g, upper, 498, "I2"),
		"a link to a slot that is not linked");
	ok(refuses_link(&g, &links[1], 500, "I2") &&
			refuses_link(&g, &links[1], LINK_END - 1, "I2") &&
			refuses_link(&g, upper, LINK_SLOT - 1, "I2"),
		"a link to nowhere");
	ok(refuses_link(&g, upper, slot_on(&g, 0), "I2"),
		"an upper link to a lower node");
	ok(refuses_link(&g, upper, upper[0] | LINK_TREE, "I4"),
		"an upper link with a mark");
	memcpy(was, (void *)links, sizeof(was));
	for (int i = 0; i < 16 && links[i] != LINK_END; i++)
		links[i] |= LINK_TREE;
	ok(is_refused(&g, "I4"), "too many marks");
	memcpy((void *)links, was, sizeof(was));
	float term = *hnsw_term(g.h, 7);

	*hnsw_term(g.h, 7) = -term;
	ok(is_refused(&g, "I6"), "a term below 0");
	*hnsw_term(g.h, 7) = NAN;
	ok(is_refused(&g, "I6"), "a term that is no number");
	*hnsw_term(g.h, 7) = term;
	uint64_t entry = g.h->entry;

	g.h->entry = slot_on(&g, 0);
	ok(is_refused(&g, "I3"), "an entry below other nodes");
	g.h->entry = entry + (1ull << 32);
	ok(is_refused(&g, "I3"), "one above itself");
	g.h->entry = 498;
	ok(is_refused(&g, "I3"), "one that is not linked");
	g.h->entry = ENTRY_NONE;
	ok(is_refused(&g, "I3"), "none");
	g.h->entry = entry;
	g.h->linked++;
	ok(is_refused(&g, "I7"), "a wrong count");
	g.h->linked--;
	g.h->longest = 0x7f800000;
	ok(is_refused(&g, "the measures"), "a row of infinite length");
	g.h->longest = 0;
	struct hnsw *h;

	save(g.h, &g.base);
	h = load(&g, &g.base);
	ok(is_same(g.h, h, 500), "set right again, it is taken");
	hnsw_free(h);
	ground_fini(&g);
}

/* m=4: two marks a node, so the tree is a path; here it bites its tail. */
static void test_ring(void)
{
	struct hnsw_config config = plain;
	struct ground g;
	struct hnsw *h;
	uint32_t leaf[2], n = 0;
	const char *why = "";

	config.m = 4;
	ground_init(&g, &config, 40);
	put_range(&g, g.h, 0, 30);
	for (uint32_t i = 0; i < 30; i++) {
		hnsw_link *links = hnsw_links(g.h, i, 0);
		uint32_t marked = 0;

		for (int j = 0; j < 8 && links[j] != LINK_END; j++)
			marked += links[j] >> 31;
		if (marked == 1 && n < 2)
			leaf[n++] = i;
	}
	must(n == 2);
	for (int i = 0; i < 2; i++) {
		hnsw_link *links = hnsw_links(g.h, leaf[i], 0);
		int j = 0;

		/* The first that is not marked gives way. */
		while (links[j] != LINK_END && links[j] >> 31)
			j++;
		must(j < 8);
		links[j] = leaf[1 - i] | LINK_TREE;
	}
	save(g.h, &g.base);
	h = load(&g, &g.base);
	must(h);
	put_range(&g, h, 30, 40);
	ok(hnsw_count(h) == 40 && hnsw_check(h, &why) == -VG_ECORRUPT,
		"a put into a tree that is a ring ends");
	hnsw_free(h);
	ground_fini(&g);
}

/* ---- cuts and flips ---- */

/* Uses a graph, whatever it is: no walk may leave it. */
static void use(struct ground *g, struct hnsw *h)
{
	struct hit hits[64];
	const char *why;
	uint32_t n;

	for (uint32_t i = 0; i < g->data.n; i++) {
		struct hnsw_query q = {.vec = g->data.vecs +
					      (size_t)i * g->config.dim,
			.k = 3,
			.ef = 10};

		must(hnsw_search(h, &q, g->scratch, hits, &n) == 0);
		for (uint32_t j = 0; j < n; j++)
			must(hnsw_is_linked(h, hits[j].slot));
		if (i % 2 == 0) {
			int rc = hnsw_put(h, i, g->scratch);

			must(rc == 0 || rc == -EEXIST);
		}
	}
	(void)hnsw_check(h, &why);
}

struct small {
	struct ground g;
	struct stream delta;
};

/* A base of 8 nodes and a delta that changes them and adds 4, of 16 rows. */
static void small_init(struct small *s, enum vg_metric metric)
{
	struct hnsw_config config = plain;

	config.dim = 2;
	config.m = 3;
	config.metric = metric;
	ground_init(&s->g, &config, 16);
	stream_init(&s->delta);
	put_range(&s->g, s->g.h, 2, 10);
	save(s->g.h, &s->g.base);
	put_range(&s->g, s->g.h, 10, 14);
	must(hnsw_save_delta(s->g.h, &s->delta.sink) == 0);
}

static void small_fini(struct small *s)
{
	stream_fini(&s->delta);
	ground_fini(&s->g);
}

static void test_cuts(void)
{
	struct small s;
	struct hnsw *h;
	size_t whole;
	int n = 0, n_refused = 0;

	small_init(&s, VG_L2);
	whole = s.g.base.len;
	for (s.g.base.len = 0; s.g.base.len < whole; s.g.base.len++) {
		n_refused += !load(&s.g, &s.g.base);
		n++;
	}
	ok(n_refused == n, "each of %d beginnings of a base is refused", n);
	whole = s.delta.len;
	n = n_refused = 0;
	for (s.delta.len = 0; s.delta.len < whole; s.delta.len++) {
		h = load(&s.g, &s.g.base);
		must(h);
		n_refused += !load_delta(&s.g, h, &s.delta);
		hnsw_free(h);
		n++;
	}
	ok(n_refused == n, "each of %d beginnings of a delta is refused", n);
	small_fini(&s);
}

static void test_flips(enum vg_metric metric, const char *name)
{
	struct small s;
	int n_refused = 0, n_taken = 0;

	small_init(&s, metric);
	for (size_t i = 0; i < 8 * (s.g.base.len + s.delta.len); i++) {
		bool in_base = i / 8 < s.g.base.len;
		struct stream *t = in_base ? &s.g.base : &s.delta;
		char *byte = &t->bytes[in_base ? i / 8 : i / 8 - s.g.base.len];
		bool is_taken = true;
		struct hnsw *h;

		*byte = (char)(*byte ^ 1 << i % 8);
		h = load(&s.g, &s.g.base);
		if (h && !in_base)
			is_taken = load_delta(&s.g, h, &s.delta);
		if (h && is_taken) {
			use(&s.g, h);
			n_taken++;
		} else {
			n_refused++;
		}
		hnsw_free(h);
		*byte = (char)(*byte ^ 1 << i % 8);
	}
	ok(n_refused > n_taken,
		"%s: of all flipped bits %d are refused, %d do no harm", name,
		n_refused, n_taken);
	small_fini(&s);
}

/* Noise in all places: counts, words, links, the moment. */
static void test_noise(void)
{
	struct small s;
	long n = env_long("VG_NOISE", 20000), n_taken = 0;
	char was[4];

	small_init(&s, VG_COSINE);
	for (long i = 0; i < n; i++) {
		struct stream *t = rand() % 2 ? &s.g.base : &s.delta;
		size_t at = (size_t)rand() % (t->len - 3);
		uint32_t noise = rand() % 2 ? (uint32_t)rand() % 20 :
					      (uint32_t)rand() * 2;
		struct hnsw *h;

		memcpy(was, t->bytes + at, 4);
		memcpy(t->bytes + at, &noise, 4);
		h = load(&s.g, &s.g.base);
		if (h && load_delta(&s.g, h, &s.delta)) {
			use(&s.g, h);
			n_taken++;
		}
		hnsw_free(h);
		memcpy(t->bytes + at, was, 4);
	}
	ok(n_taken < n, "%ld words of noise: %ld taken, and harmless", n,
		n_taken);
	small_fini(&s);
}

int main(void)
{
	plan(5 + 3 * 6 + 2 + 2 + 1 + 1 + 7 + 1 + 7 + 3 + 1 + 6 + 16 + 1 + 2 +
		2 + 1);
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
	test_config();
	test_damage();
	test_ring();
	test_cuts();
	test_flips(VG_L2, "l2");
	test_flips(VG_COSINE, "cosine");
	test_noise();
	return done();
}
