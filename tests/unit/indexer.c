/* SPDX-License-Identifier: Apache-2.0 */
/* indexer: rows are linked or rightly skipped, and writers kept to its pace. */
#include "src/indexer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/hnsw.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 4

static struct cell *cell_of(struct collection *c)
{
	return atomic_load(&c->gen->cell);
}

static unsigned n_in_state(struct collection *c, enum slot_state state)
{
	struct cell *cell = cell_of(c);
	unsigned n = 0;

	for (uint32_t i = 0; i < atomic_load(&cell->n_slots); i++)
		n += atomic_load(&cell_slot(cell, i)->state) == state;
	return n;
}

/* Live records whose slot the indexers gave up. */
static unsigned n_lost(struct collection *c)
{
	unsigned n = 0;

	for (uint32_t no = 0; no < atomic_load(&c->gen->n_versions); no++) {
		struct version *v = generation_version(c->gen, no);

		n += atomic_load(&v->end) == VERSION_OPEN &&
		     atomic_load(&cell_slot(v->cell, v->slot)->state) ==
			     SLOT_SKIPPED;
	}
	return n;
}

/* n puts of id0, id1, ... as one commit that is waited for. */
static void put_many(struct store *s, struct collection *c, const char *prefix,
	unsigned n)
{
	struct change *ch = calloc(n, sizeof(*ch));
	char(*ids)[16] = calloc(n, sizeof(*ids));
	float(*v)[SK_DIM_MAX] = calloc(n, sizeof(*v));
	struct commit commit = {.changes = ch, .n = n};

	must(ch && ids && v);
	for (unsigned i = 0; i < n; i++) {
		snprintf(ids[i], sizeof(ids[i]), "%s%u", prefix, i);
		ch[i] = (struct change){.type = OP_PUT, .coll = c,
			.id = sk_id(ids[i]), .vec = sk_vec(i, DIM, v[i]),
			.dim = DIM, .source = OP_SOURCE_RAW,
			.body_len = DIM * 4};
	}
	must(store_commit_wait(s, &commit) == 0);
	free(ch);
	free(ids);
	free(v);
}

static void test_links(struct store *s)
{
	struct collection *c = sk_make(s, "c");
	struct hnsw_stat st;

	put_many(s, c, "a", 300);
	sk_wait_linked(s);
	ok(n_in_state(c, SLOT_LINKED) == 300, "every row is linked");
	hnsw_stat(cell_of(c)->hnsw, &st);
	ok(st.linked == 300, "and is in the graph");
	ok(atomic_load(&cell_of(c)->tail_from) == 300, "no tail is left");
	ok(indexer_pending(cell_of(c)) == 0, "and nothing is pending");
	must(sk_rename(s, c, "a7", "b7") == 0);
	must(sk_meta(s, c, "a8", CHANGE_META_REPLACE, "{\"k\":1}") == 0);
	sk_wait_linked(s);
	hnsw_stat(cell_of(c)->hnsw, &st);
	ok(st.linked == 300, "a rename and metadata link nothing");
	must(sk_put(s, c, (struct sk_put){"a9", 9, DIM, 0}) == 0);
	sk_wait_linked(s);
	ok(atomic_load(&cell_of(c)->n_slots) == 301, "a new vector does");
	sk_is_sound(s);
	collection_unref(c);
}

static void test_flat(struct store *s)
{
	struct collection *c = sk_make(s, "flat");

	must(sk_config(s, c, "index", "flat") == 0);
	put_many(s, c, "a", 300);
	ok(!cell_of(c)->hnsw && indexer_pending(cell_of(c)) == 0,
		"a flat collection has nothing to link");
	ok(n_in_state(c, SLOT_PENDING) == 300, "and its rows stay as they are");
	collection_unref(c);
}

/* A group is applied row by row and shown at once. An indexer that is at work
 * may take a row in between, which no moment shows yet: no reason to give it
 * up for good. */
static void test_unpublished(struct store *s)
{
	struct timespec pause = {.tv_nsec = 1000000};
	struct collection *c = sk_make(s, "between");
	uint16_t p = op_partition(sk_id("late"));
	float v[SK_DIM_MAX];
	struct op op = {.type = OP_PUT, .epoch = 1, .n_places = 1,
		.id = sk_id("late"), .vec = sk_vec(77, DIM, v),
		.vec_len = DIM * sizeof(float), .source = OP_SOURCE_RAW};
	struct reservation r;
	struct moment *next;

	put_many(s, c, "a", 50);
	sk_wait_linked(s);
	must(moment_new(&s->moments, &next) == 0);
	memcpy(op.uuid, c->uuid, sizeof(op.uuid));
	op.places[0] = (struct op_place){p, ++next->seq[p]};
	must(generation_reserve(c->gen, &op, &r) == 0);
	store_apply(s, c, &op, &r);
	indexer_add(&s->indexer, r.cell);
	while (indexer_pending(r.cell))
		nanosleep(&pause, NULL);
	ok(sk_find(s, c, "late") == VERSION_NONE,
		"between apply and publish a record is not seen");
	moment_publish(&s->moments, next);
	ok(strcmp(sk_nearest(s, c, 77, DIM, true), "late") == 0,
		"then it is");
	ok(strcmp(sk_nearest(s, c, 77, DIM, false), "late") == 0,
		"also through the graph, if an indexer had it in between");
	ok(n_lost(c) == 0, "no record that lives was given up");
	collection_unref(c);
}

/* The indexers read it under their lock. */
static void set_tail_max(struct store *s, struct cell *cell, uint32_t max)
{
	pthread_mutex_lock(&s->indexer.lock);
	cell->tail_max = max;
	pthread_mutex_unlock(&s->indexer.lock);
}

/* Behind a long line one id is written again and again: what ended before
 * its turn came is never linked. */
static void test_skips(void)
{
	struct store_config cfg = {.indexers = 1};
	struct store *s = sk_open(scratch_path("skips"), &cfg);
	struct collection *c = sk_make(s, "c");
	unsigned linked, skipped;

	must(sk_config(s, c, "ef_construction", "1000") == 0);
	put_many(s, c, "a", 3000);
	set_tail_max(s, cell_of(c), 100000);
	for (unsigned i = 0; i < 200; i++)
		must(sk_put(s, c, (struct sk_put){"again", i, DIM, 0}) == 0);
	sk_wait_linked(s);
	linked = n_in_state(c, SLOT_LINKED);
	skipped = n_in_state(c, SLOT_SKIPPED);
	ok(linked + skipped == 3200, "every slot is done");
	ok(skipped > 0, "%u of 200 rows ended unlinked", skipped);
	ok(strcmp(sk_nearest(s, c, 199, DIM, false), "again") == 0 ||
			strcmp(sk_nearest(s, c, 199, DIM, false), "a199") == 0,
		"the last of them is found");
	ok(n_lost(c) == 0, "and none that lives was skipped");
	collection_unref(c);
	store_close(s);
}

/* Two collections and two threads: neither waits for the other to be whole. */
static void test_two(struct store *s)
{
	struct collection *c = sk_make(s, "one"), *d = sk_make(s, "two");

	put_many(s, c, "a", 500);
	put_many(s, d, "a", 10);
	sk_wait_linked(s);
	ok(n_in_state(c, SLOT_LINKED) == 500 && n_in_state(d, SLOT_LINKED) == 10,
		"two collections are linked");
	collection_unref(c);
	collection_unref(d);
}

/* A collection that goes while its rows wait: they are skipped, it is freed. */
static void test_dropped(struct store *s)
{
	struct collection *c = sk_make(s, "goes");
	struct change clear = {.type = OP_CLEAR, .coll = c};
	struct change drop = {.type = OP_DROP, .coll = c};

	put_many(s, c, "a", 1500);
	must(sk_run(s, &clear) == 0 && sk_run(s, &drop) == 0);
	collection_unref(c);
	ok(!sk_get(s, "goes"), "a collection can go while rows are pending");
	sk_wait_linked(s);
}

/* The tail that a restart finds: searches answer from it, and who writes is
 * held back to the indexers' pace, not until all of it is linked. */
static void test_backlog(void)
{
	static struct sk_ask ask[30];
	static struct change ch[30][20];
	static char ids[600][8];
	struct store_config cfg = {.indexers = 1};
	struct store *s = sk_open(scratch_path("backlog"), &cfg);
	struct collection *c = sk_make(s, "c");
	struct cell *cell;
	float v[SK_DIM_MAX];
	uint32_t left = 0;

	must(sk_config(s, c, "ef_construction", "1500") == 0);
	must(sk_put(s, c, (struct sk_put){"x", 1, DIM, 0}) == 0);
	set_tail_max(s, cell_of(c), 1000000);
	put_many(s, c, "a", 6000);
	collection_unref(c);
	store_close(s);

	s = sk_open(scratch_path("backlog"), &cfg);
	c = sk_get(s, "c");
	must(c);
	cell = cell_of(c);
	ok(indexer_pending(cell) > 0, "a restart finds rows to link");
	ok(strcmp(sk_nearest(s, c, 5999, DIM, false), "a5999") == 0,
		"and answers from them at once");
	set_tail_max(s, cell, 10);
	sk_vec(1, DIM, v);
	for (unsigned i = 0; i < 30; i++) {
		for (unsigned j = 0; j < 20; j++) {
			snprintf(ids[i * 20 + j], 8, "n%u", i * 20 + j);
			ch[i][j] = (struct change){.type = OP_PUT, .coll = c,
				.id = sk_id(ids[i * 20 + j]), .vec = v,
				.dim = DIM, .source = OP_SOURCE_RAW,
				.body_len = DIM * 4};
		}
		sk_ask(s, &ask[i], ch[i], 20);
		must(sk_ask_wait(&ask[i]) == 0);
		left = indexer_pending(cell);
	}
	ok(left > 500, "600 rows went in beside it, %u are still to be linked",
		left);
	sk_wait_linked(s);
	ok(n_lost(c) == 0, "and all is linked at last");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* What was linked is in a file, and is not linked again. */
static void test_reopened(void)
{
	const struct store_config cfg = {.indexers = 1};
	struct store *s = sk_open(scratch_path("reopened"), &cfg);
	struct collection *c = sk_make(s, "c");
	struct hnsw_stat before, after;

	put_many(s, c, "a", 500);
	sk_wait_linked(s);
	hnsw_stat(cell_of(c)->hnsw, &before);
	collection_unref(c);
	store_close(s);
	s = sk_open(scratch_path("reopened"), &cfg);
	c = sk_get(s, "c");
	must(c);
	ok(indexer_pending(cell_of(c)) == 0 &&
			n_in_state(c, SLOT_LINKED) == 500,
		"a store that was closed finds every row linked");
	hnsw_stat(cell_of(c)->hnsw, &after);
	ok(memcmp(&before, &after, sizeof(before)) == 0,
		"in the graph that it had");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* A threads-only life: nothing to do, stopped at once. */
static void test_idle(void)
{
	struct moments moments;
	struct indexer ix = {0};

	indexer_fini(&ix);
	ok(true, "what never began can be ended");
	must(moments_init(&moments) == 0);
	ok(indexer_init(&ix, 3, &moments) == 0, "threads start");
	indexer_fini(&ix);
	indexer_fini(&ix);
	ok(!ix.threads, "and stop, also twice");
	moments_fini(&moments);
}

int main(void)
{
	struct store *s;

	plan(27 + 3);
	s = sk_open(scratch_path("data"), NULL);
	test_links(s);
	test_flat(s);
	test_unpublished(s);
	test_two(s);
	test_dropped(s);
	store_close(s);
	test_skips();
	test_backlog();
	test_reopened();
	test_idle();
	return done();
}
