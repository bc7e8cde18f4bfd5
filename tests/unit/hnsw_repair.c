/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_repair.c: rows leave a graph, and what is left is a graph. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw_int.h"
#include "tests/graphkit.h"
#include "tests/recall/data.h"
#include "tests/tap.h"

#define K 10

/* A graph and which of its slots are gone. */
struct yard {
	struct gk_ground g;
	bool *gone; /* atomics are not needed: written by one thread at rest */
	uint32_t n;
};

static void yard_init(struct yard *y, const struct hnsw_config *config,
	uint32_t n)
{
	gk_ground_init(&y->g, config, n);
	y->gone = calloc(n, sizeof(*y->gone));
	must(y->gone);
	y->n = n;
	gk_put_range(&y->g, y->g.h, 0, n);
}

static void yard_fini(struct yard *y)
{
	free(y->gone);
	gk_ground_fini(&y->g);
}

static void take_out(struct yard *y, uint32_t slot)
{
	must(hnsw_delete(y->g.h, slot) == 0);
	y->gone[slot] = true;
}

static bool is_left(void *ctx, uint32_t slot)
{
	return !((const struct yard *)ctx)->gone[slot];
}

/* Recall@10 at ef 100 of what is left; -1: what is gone is answered. No row is
 * hidden from the search by the caller. */
static double recall(struct yard *y)
{
	struct data queries;
	struct truth t = {.base = &y->g.data,
		.queries = &queries,
		.metric = VG_L2,
		.k = K,
		.threads = 1,
		.is_visible = is_left,
		.ctx = y};
	struct hit hits[100];
	uint32_t right = 0, n;
	bool is_right = true;
	float *nearest;

	data_init(&queries, 100, y->g.data.dim, false);
	for (size_t i = 0; i < (size_t)queries.n * queries.dim; i++)
		queries.vecs[i] = y->g.data.vecs[i] * .9f;
	nearest = truth_new(&t);
	for (uint32_t i = 0; i < queries.n; i++) {
		struct hnsw_query q = {
			.vec = queries.vecs + (size_t)i * queries.dim,
			.k = K,
			.ef = 100};

		must(hnsw_search(y->g.h, &q, y->g.scratch, hits, &n) == 0);
		right += truth_count(&t, nearest, i, hits, n);
		for (uint32_t j = 0; j < n; j++)
			is_right = is_right && !y->gone[hits[j].slot];
	}
	free(nearest);
	data_fini(&queries);
	return is_right ? right / (100. * K) : -1;
}

/* Half of the rows, with the repair before the purge or without. */
static void test_half(bool is_repaired)
{
	const char *how = is_repaired ? "repaired" : "purged at once";
	struct yard y;
	double got;

	yard_init(&y, &gk_plain, 6000);
	for (uint32_t i = 0; i < y.n; i++)
		if (i * 2654435761u >> 31)
			take_out(&y, i);
	if (is_repaired) {
		must(hnsw_repair(y.g.h, 0, 3000, y.g.scratch) == 0);
		must(hnsw_repair(y.g.h, 3000, UINT32_MAX, y.g.scratch) == 0);
		ok(gk_is_valid(y.g.h) && hnsw_count(y.g.h) == y.n,
			"%s: until the purge all are in the graph", how);
	}
	must(hnsw_purge(y.g.h, y.g.scratch) == 0);
	ok(gk_is_valid(y.g.h), "%s: half a graph keeps all invariants", how);
	got = recall(&y);
	ok(got >= .98, "%s: recall@10 of the other half is %.3f", how, got);
	for (uint32_t i = 0; i < y.n; i++)
		if (y.gone[i] == hnsw_is_linked(y.g.h, i))
			got = -1;
	ok(got >= 0, "%s: what is linked is what is left", how);
	yard_fini(&y);
}

/* All that is near some rows, a tenth at a time, until a tenth is left. */
static void test_clusters(void)
{
	struct hit *hits = malloc(6000 * sizeof(*hits));
	struct yard y;
	uint32_t left = 6000, n, row = 0;
	bool is_valid = true;
	double got;

	must(hits);
	yard_init(&y, &gk_plain, left);
	while (left > 600) {
		struct hnsw_query q = {.k = 300, .ef = 300};

		while (y.gone[row])
			row++;
		q.vec = y.g.data.vecs + (size_t)row * y.g.data.dim;
		must(hnsw_search(y.g.h, &q, y.g.scratch, hits, &n) == 0);
		for (uint32_t i = 0; i < n; i++)
			take_out(&y, hits[i].slot);
		left -= n;
		if (left % 2)
			must(hnsw_repair(y.g.h, 0, y.n, y.g.scratch) == 0);
		must(hnsw_purge(y.g.h, y.g.scratch) == 0);
		is_valid = is_valid && gk_is_valid(y.g.h);
	}
	ok(is_valid, "nine tenths gone in clusters: valid after each");
	got = recall(&y);
	ok(got >= .98, "recall@10 of the last tenth is %.3f", got);
	free(hits);
	yard_fini(&y);
}

/* The entry is deleted a thousand times over, new rows come meanwhile. */
static void test_entry(void)
{
	bool is_valid = true, is_moved = true;
	struct yard y;
	double got;

	yard_init(&y, &gk_plain, 3000);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t entry = (uint32_t)atomic_load(&y.g.h->entry);

		take_out(&y, entry);
		if (i % 3 == 0)
			must(hnsw_repair(y.g.h, 0, y.n, y.g.scratch) == 0);
		must(hnsw_purge(y.g.h, y.g.scratch) == 0);
		is_moved = is_moved &&
			   (uint32_t)atomic_load(&y.g.h->entry) != entry;
		if (i % 50 == 0)
			is_valid = is_valid && gk_is_valid(y.g.h);
	}
	ok(is_moved, "1,000 entries were deleted, each gave way to another");
	ok(is_valid && gk_is_valid(y.g.h), "and the graph was always valid");
	got = recall(&y);
	ok(got >= .98, "recall@10 of the other 2,000 is %.3f", got);
	yard_fini(&y);
}

static void test_all(void)
{
	struct hit hits[10];
	struct hnsw_query q = {.k = 1, .ef = 10};
	uint32_t n = 1;
	struct yard y;

	yard_init(&y, &gk_plain, 500);
	ok(hnsw_delete(y.g.h, 500) == -ENOENT &&
			hnsw_delete(y.g.h, UINT32_MAX) == -ENOENT,
		"what is not linked cannot be deleted");
	must(hnsw_purge(y.g.h, y.g.scratch) == 0);
	ok(hnsw_count(y.g.h) == 500, "a purge of nothing changes nothing");
	for (uint32_t i = 0; i < 500; i++)
		take_out(&y, i);
	must(hnsw_delete(y.g.h, 7) == 0);
	must(hnsw_purge(y.g.h, y.g.scratch) == 0);
	q.vec = y.g.data.vecs;
	must(hnsw_search(y.g.h, &q, y.g.scratch, hits, &n) == 0);
	ok(hnsw_count(y.g.h) == 0 && n == 0 && gk_is_valid(y.g.h),
		"without a row the graph is empty, and valid");
	ok(hnsw_put(y.g.h, 7, y.g.scratch) == -EEXIST,
		"a slot that was purged is never put again");
	ok(hnsw_delete(y.g.h, 7) == -ENOENT, "nor deleted");
	yard_fini(&y);
}

/* An emptied graph grows again. */
static void test_again(void)
{
	struct yard y = {.n = 4000, .gone = calloc(4000, 1)};
	double got;

	must(y.gone);
	gk_ground_init(&y.g, &gk_plain, y.n);
	gk_put_range(&y.g, y.g.h, 0, 1000);
	for (uint32_t i = 0; i < 1000; i++)
		take_out(&y, i);
	/* Puts between the marks and the purge have only deleted ones to link to
	 * at first. */
	gk_put_range(&y.g, y.g.h, 1000, 1100);
	must(hnsw_purge(y.g.h, y.g.scratch) == 0);
	ok(gk_is_valid(y.g.h) && hnsw_count(y.g.h) == 100,
		"rows put among deleted ones stay when those go");
	gk_put_range(&y.g, y.g.h, 1100, 4000);
	ok(gk_is_valid(y.g.h), "and the graph grows again");
	memset(y.gone, 1, 1000);
	got = recall(&y);
	ok(got >= .98, "recall@10 then is %.3f", got);
	yard_fini(&y);
}

static void test_equal(void)
{
	struct yard y;
	bool is_valid = true;
	uint32_t n;

	gk_ground_init(&y.g, &gk_plain, 3000);
	for (uint32_t i = 500; i < 2500; i++)
		memcpy(y.g.data.vecs + (size_t)i * y.g.data.dim,
			y.g.data.vecs + (size_t)499 * y.g.data.dim,
			y.g.data.dim * sizeof(float));
	y.n = 3000;
	y.gone = calloc(y.n, sizeof(*y.gone));
	must(y.gone);
	gk_put_range(&y.g, y.g.h, 0, y.n);
	for (uint32_t part = 0; part < 4; part++) {
		for (uint32_t i = part; i < 2500; i += 5)
			take_out(&y, i);
		must(hnsw_repair(y.g.h, 0, y.n, y.g.scratch) == 0);
		must(hnsw_purge(y.g.h, y.g.scratch) == 0);
		is_valid = is_valid && gk_is_valid(y.g.h);
	}
	ok(is_valid, "2,000 equal rows: valid as most of them go");
	n = hnsw_count(y.g.h);
	ok(n == 1000, "and %u are left", n);
	yard_fini(&y);
}

static void test_saved(void)
{
	struct stream stream = {0};
	struct hnsw_sink none = {0};
	struct hnsw_coding before, after;
	struct yard y;
	struct hnsw *h;

	yard_init(&y, &gk_plain, 3000);
	hnsw_coding(y.g.h, &before);
	gk_save(y.g.h, &stream);
	for (uint32_t i = 0; i < 3000; i += 3)
		take_out(&y, i);
	must(hnsw_repair(y.g.h, 0, y.n, y.g.scratch) == 0);
	must(hnsw_purge(y.g.h, y.g.scratch) == 0);
	hnsw_coding(y.g.h, &after);
	ok(after.linked == 2000 && after.bytes == before.bytes,
		"what left keeps its memory, and that is told");
	ok(hnsw_save_delta(y.g.h, &none) == -EINVAL,
		"behind a purge a delta cannot be saved");
	gk_save(y.g.h, &stream);
	h = gk_load(&y.g, &stream);
	ok(gk_is_valid(h) && hnsw_count(h) == 2000 && !hnsw_is_linked(h, 3) &&
			hnsw_is_linked(h, 4),
		"but a base, which has what is left");
	ok(gk_is_alike(&y.g, h), "and is searched alike");
	hnsw_free(h);
	free(stream.bytes);
	yard_fini(&y);
}

/* ---- threads ---- */

#define N_ROWS 12000u
#define N_WRITERS 2

struct traffic {
	struct yard y;
	pthread_rwlock_t lock; /* a purge excludes puts */
	_Atomic uint32_t next;
	_Atomic bool is_over;
	_Atomic uint32_t failed;
	_Atomic uint32_t gone_below; /* even slots below were purged */
};

static void *write_on(void *arg)
{
	struct traffic *t = arg;
	struct hnsw_scratch *s;
	uint32_t slot;

	must(hnsw_scratch_new(&s) == 0);
	while ((slot = atomic_fetch_add(&t->next, 1)) < N_ROWS) {
		pthread_rwlock_rdlock(&t->lock);
		if (hnsw_put(t->y.g.h, slot, s) < 0)
			atomic_fetch_add(&t->failed, 1);
		pthread_rwlock_unlock(&t->lock);
	}
	hnsw_scratch_free(s);
	return NULL;
}

/* What was purged before a search began is not found by it. */
static void *search_on(void *arg)
{
	struct traffic *t = arg;
	const struct data *d = &t->y.g.data;
	struct hnsw_scratch *s;
	struct hit hits[50];
	uint32_t n, i = 0;

	must(hnsw_scratch_new(&s) == 0);
	while (!atomic_load(&t->is_over)) {
		struct hnsw_query q = {
			.vec = d->vecs + (size_t)(i++ % 1000) * d->dim,
			.k = K,
			.ef = 50};
		uint32_t below = atomic_load(&t->gone_below);
		bool is_right =
			hnsw_search(t->y.g.h, &q, s, hits, &n) == 0 && n >= K;

		for (uint32_t j = 0; is_right && j < n; j++)
			is_right = hits[j].slot >= below ||
				   hits[j].slot % 2 == 1;
		if (!is_right)
			atomic_fetch_add(&t->failed, 1);
	}
	hnsw_scratch_free(s);
	return NULL;
}

/* Even slots go, in the order in which they came. */
static void take_out_behind(struct traffic *t)
{
	uint32_t slot = 0;

	while (slot < N_ROWS - 2000) {
		uint32_t to = VG_MIN(atomic_load(&t->next), N_ROWS) / 2 * 2;

		if (to < slot + 1000)
			continue;
		for (; slot + 100 < to; slot += 2) {
			while (!hnsw_is_linked(t->y.g.h, slot))
				sched_yield();
			take_out(&t->y, slot);
		}
		if (hnsw_repair(t->y.g.h, 0, UINT32_MAX, t->y.g.scratch) < 0)
			atomic_fetch_add(&t->failed, 1);
		pthread_rwlock_wrlock(&t->lock);
		if (hnsw_purge(t->y.g.h, t->y.g.scratch) < 0 ||
			!gk_is_valid(t->y.g.h))
			atomic_fetch_add(&t->failed, 1);
		pthread_rwlock_unlock(&t->lock);
		atomic_store(&t->gone_below, slot);
	}
}

static void test_threads(void)
{
	pthread_t writer[N_WRITERS], reader;
	struct traffic t = {.next = 1000};
	bool is_right = true;
	double got;

	gk_ground_init(&t.y.g, &gk_plain, N_ROWS);
	t.y.n = N_ROWS;
	t.y.gone = calloc(N_ROWS, sizeof(*t.y.gone));
	must(t.y.gone);
	gk_put_range(&t.y.g, t.y.g.h, 0, 1000);
	pthread_rwlock_init(&t.lock, NULL);
	for (int i = 0; i < N_WRITERS; i++)
		must(pthread_create(&writer[i], NULL, write_on, &t) == 0);
	must(pthread_create(&reader, NULL, search_on, &t) == 0);
	take_out_behind(&t);
	for (int i = 0; i < N_WRITERS; i++)
		pthread_join(writer[i], NULL);
	atomic_store(&t.is_over, true);
	pthread_join(reader, NULL);
	ok(atomic_load(&t.failed) == 0,
		"beside puts and searches rows leave, and each state is valid");
	for (uint32_t i = 0; i < N_ROWS; i++)
		is_right = is_right &&
			   hnsw_is_linked(t.y.g.h, i) == !t.y.gone[i];
	ok(is_right && gk_is_valid(t.y.g.h), "what is left is what should be");
	got = recall(&t.y);
	ok(got >= .98, "recall@10 of it is %.3f", got);
	pthread_rwlock_destroy(&t.lock);
	yard_fini(&t.y);
}

int main(void)
{
	plan(29);
	test_half(true);
	test_half(false);
	test_clusters();
	test_entry();
	test_all();
	test_again();
	test_equal();
	test_saved();
	test_threads();
	return done();
}
