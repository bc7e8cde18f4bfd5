/* SPDX-License-Identifier: Apache-2.0 */
/* repair: dead rows leave the graph once nobody sees them, and no other. */
#include "src/repair.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 12

static const struct store_config plain = {
	.durability = STORE_FSYNC, .no_compaction = true, .has_grace = true};

static const char *name_of(char id[16], unsigned i)
{
	snprintf(id, 16, "%u", i);
	return id;
}

/* Records from..to-1, each with vector number i + more. */
static void put_range(struct store *s, struct collection *c, unsigned from,
	unsigned to, unsigned more)
{
	char id[16];

	for (unsigned i = from; i < to; i++)
		must(sk_put(s, c,
			     (struct sk_put){name_of(id, i), i + more, DIM,
				     0}) == 0);
	sk_wait_linked(s);
}

static void del_range(struct store *s, struct collection *c, unsigned from,
	unsigned to)
{
	char id[16];

	for (unsigned i = from; i < to; i++)
		must(sk_del(s, c, name_of(id, i)) == 0);
}

static const struct hnsw *graph_of(struct collection *c)
{
	return atomic_load(&c->gen->cell)->hnsw;
}

static bool is_graph_valid(struct collection *c)
{
	const char *why = "";

	if (hnsw_check(graph_of(c), &why) == 0)
		return true;
	diag("hnsw_check: %s", why);
	return false;
}

/* Of 100 records, how many a search by their vectors finds first. */
static unsigned n_found(struct store *s, struct collection *c, unsigned from,
	unsigned more)
{
	unsigned n = 0;
	char id[16];

	for (unsigned i = from; i < from + 100; i++)
		n += strcmp(sk_nearest(s, c, i + more, DIM, false),
			     name_of(id, i)) == 0;
	return n;
}

static void test_leaves(void)
{
	const char *dir = scratch_path("leaves");
	const char *copy = scratch_path("copy");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	uint32_t n;

	ok(store_repair(s, c) == 0, "a collection without vectors needs none");
	put_range(s, c, 0, 2000, 0);
	ok(store_repair(s, c) == 0 && !repair_is_due(c, true),
		"nor does one where nothing was deleted");
	put_range(s, c, 0, 500, 9000);
	ok(!repair_is_due(c, false) && repair_is_due(c, true),
		"one row of five that is dead is due when it is idle");
	del_range(s, c, 1500, 2000);
	ok(repair_is_due(c, false), "two of five always");
	ok(store_repair(s, c) == 1000, "all of them leave");
	n = hnsw_count(graph_of(c));
	ok(n == 1500 && is_graph_valid(c), "the graph has %u rows", n);
	ok(n_found(s, c, 0, 9000) == 100 && n_found(s, c, 700, 0) == 100,
		"what is there is found, the new vectors and the old");
	ok(store_repair(s, c) == 0 && !repair_is_due(c, true),
		"and it is not due again");
	sk_copy(dir, copy);
	must(store_checkpoint(s, true) == 0);
	collection_unref(c);
	store_close(s);
	for (int i = 0; i < 2; i++) {
		s = sk_open(i ? copy : dir, &plain);
		c = sk_get(s, "c");
		must(c);
		sk_wait_linked(s);
		ok(atomic_load(&c->n_live) == 1500 && is_graph_valid(c) &&
				n_found(s, c, 100, 9000) == 100 &&
				n_found(s, c, 1200, 0) == 100,
			"so it is after a %s", i ? "crash" : "restart");
		n = hnsw_count(graph_of(c));
		ok(n == 1500, "with %u rows in the graph", n);
		sk_is_sound(s);
		collection_unref(c);
		store_close(s);
	}
}

/* A checkpoint that has the dead ones, and a crash behind the repair. */
static void test_saved_before(void)
{
	const char *dir = scratch_path("before");
	const char *copy = scratch_path("before-copy");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");

	put_range(s, c, 0, 1500, 0);
	must(store_checkpoint(s, true) == 0);
	del_range(s, c, 0, 600);
	must(store_repair(s, c) == 600);
	put_range(s, c, 3000, 3300, 0);
	sk_copy(dir, copy);
	collection_unref(c);
	store_close(s);
	s = sk_open(copy, &plain);
	c = sk_get(s, "c");
	must(c);
	sk_wait_linked(s);
	ok(atomic_load(&c->n_live) == 1200 && n_found(s, c, 3100, 0) == 100 &&
			strcmp(sk_nearest(s, c, 5, DIM, false), "5") != 0,
		"a crash behind a repair that no checkpoint has seen");
	ok(repair_is_due(c, false) && store_repair(s, c) > 0 &&
			is_graph_valid(c) && hnsw_count(graph_of(c)) == 1200,
		"is followed by another one");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

static void test_seen(void)
{
	struct store *s = sk_open(scratch_path("seen"), &plain);
	struct collection *c = sk_make(s, "c"), *snap;
	struct search_hit hits[1];
	float v[SK_DIM_MAX];
	struct search q = {
		.vec = sk_vec(7, DIM, v), .dim = DIM, .k = 1, .ef = 50};
	struct look look;
	uint32_t n;

	put_range(s, c, 0, 1200, 0);
	look_init(&look, c, store_moments(s));
	del_range(s, c, 0, 400);
	ok(store_repair(s, c) == 0, "what a reader of before sees stays");
	must(store_search(s, &look, &q, hits, &n) == 0);
	ok(n == 1 && sk_id("7").len == version_id(hits[0].version).len &&
			hits[0].dist == 0,
		"and he finds it");
	look_fini(&look);
	must(sk_snap(s, c, "day") == 0);
	del_range(s, c, 400, 600);
	ok(store_repair(s, c) == 400,
		"when he is done it leaves, but not what a snapshot shows");
	snap = collection_find_snap(c, sk_id("day"));
	must(snap);
	ok(strcmp(sk_nearest(s, snap, 444, DIM, false), "444") == 0 &&
			strcmp(sk_nearest(s, c, 444, DIM, false), "444") != 0,
		"which is found in the snapshot alone");
	collection_unref(snap);
	must(sk_unsnap(s, c, "day") == 0);
	ok(store_repair(s, c) == 200 && is_graph_valid(c),
		"without the snapshot that goes, too");
	collection_unref(c);
	store_close(s);
}

/* ---- beside writers and searches ---- */

#define WRITERS 2
#define IDS 600u

struct crowd {
	struct store *s;
	struct collection *c;
	_Atomic bool is_over;
	_Atomic unsigned wrong, n_puts, n_searches;
	unsigned left[WRITERS][IDS]; /* vector's number + 1; 0: deleted */
};

struct writer {
	struct crowd *crowd;
	unsigned no;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;
	struct crowd *cr = w->crowd;
	char id[16];

	for (unsigned n = 1; !atomic_load(&cr->is_over); n++) {
		unsigned i = n * 7919u % IDS, number = n * WRITERS + w->no;
		unsigned *left = &cr->left[w->no][i];
		int rc;

		name_of(id, w->no * IDS + i);
		if (n % 5 == 0 && *left) {
			rc = sk_del(cr->s, cr->c, id);
			*left = 0;
		} else {
			rc = sk_put(cr->s, cr->c,
				(struct sk_put){id, number, DIM, 0});
			*left = number + 1;
			atomic_fetch_add(&cr->n_puts, 1);
		}
		if (rc)
			atomic_fetch_add(&cr->wrong, 1);
	}
	return NULL;
}

/* An answer has what its look shows, and k rows where there are so many. */
static void *search_on(void *arg)
{
	struct crowd *cr = arg;
	struct search_hit hits[5];
	float v[SK_DIM_MAX];
	struct look look;
	uint32_t n;

	while (!atomic_load(&cr->is_over)) {
		struct search q = {
			.vec = sk_vec(atomic_load(&cr->n_puts), DIM, v),
			.dim = DIM, .k = 5, .ef = 20};

		look_init(&look, cr->c, store_moments(cr->s));
		if (store_search(cr->s, &look, &q, hits, &n) < 0 || n < 5)
			atomic_fetch_add(&cr->wrong, 1);
		for (uint32_t i = 0; i < n; i++)
			if (!version_is_visible(hits[i].version, look.moment))
				atomic_fetch_add(&cr->wrong, 1);
		look_fini(&look);
		atomic_fetch_add(&cr->n_searches, 1);
	}
	return NULL;
}

static bool is_left(struct crowd *cr, unsigned writer, unsigned i)
{
	unsigned left = cr->left[writer][i];
	char id[16];
	float v[SK_DIM_MAX];
	uint32_t no = sk_find(cr->s, cr->c, name_of(id, writer * IDS + i));

	if (no == VERSION_NONE || !left)
		return no == VERSION_NONE && !left;
	return memcmp(version_vec(generation_version(cr->c->gen, no)),
		       sk_vec(left - 1, DIM, v), DIM * sizeof(float)) == 0;
}

static void test_crowd(void)
{
	struct store *s = sk_open(scratch_path("crowd"), &plain);
	static struct crowd cr;
	struct writer w[WRITERS];
	pthread_t thread[WRITERS + 1];
	unsigned lost = 0, rounds = getenv("VG_SOAK") ? 300 : 25;
	int gone = 0, n;

	cr.s = s;
	cr.c = sk_make(s, "c");
	put_range(s, cr.c, 10000, 11000, 500000);
	for (unsigned i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){&cr, i};
		must(pthread_create(&thread[i], NULL, write_on, &w[i]) == 0);
	}
	must(pthread_create(&thread[WRITERS], NULL, search_on, &cr) == 0);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned to = atomic_load(&cr.n_puts) + 300;

		while (atomic_load(&cr.n_puts) < to)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		n = store_repair(s, cr.c);
		gone = n < 0 ? n : gone + n;
		if (i % 4 == 0)
			must(store_checkpoint(s, i % 8 == 0) == 0);
	}
	atomic_store(&cr.is_over, true);
	for (unsigned i = 0; i < WRITERS + 1; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < WRITERS; i++)
		for (unsigned j = 0; j < IDS; j++)
			lost += !is_left(&cr, i, j);
	ok(gone > 0, "%d rows left in %u repairs beside %u puts, %u searches",
		gone, rounds, atomic_load(&cr.n_puts),
		atomic_load(&cr.n_searches));
	ok(atomic_load(&cr.wrong) == 0,
		"no change failed, each answer was whole and of its moment");
	ok(lost == 0, "each record is as it was left");
	sk_wait_linked(s);
	n = store_repair(s, cr.c);
	ok(n >= 0 && is_graph_valid(cr.c) &&
			hnsw_count(graph_of(cr.c)) ==
				atomic_load(&cr.c->n_live),
		"and the graph has them, no more");
	sk_is_sound(s);
	collection_unref(cr.c);
	store_close(s);
}

int main(void)
{
	plan(27);
	test_leaves();
	test_saved_before();
	test_seen();
	test_crowd();
	return done();
}
