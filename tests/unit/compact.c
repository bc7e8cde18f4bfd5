/* SPDX-License-Identifier: Apache-2.0 */
/* compact: what nobody can see goes, what somebody sees stays as it is. */
#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/store_int.h"
#include "tests/logkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static const struct store_config plain = {
	.durability = STORE_FSYNC, .no_compaction = true, .has_grace = true};

static uint32_t n_versions(struct collection *c)
{
	struct generation *g = collection_gen(c);
	uint32_t n = atomic_load(&g->n_versions);

	generation_unref(g);
	return n;
}

/* ---- beside a model ---- */

/* spill_bytes: 1: what is carried goes to files at once. */
static void test_model(const char *name, uint64_t spill_bytes)
{
	const char *dir = scratch_path(name);
	struct store_config cfg = plain;
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s;
	struct collection *c;
	unsigned wrong = 0, differs = 0, more = 0, failed = 0, unsound = 0;
	const char *why;

	cfg.spill_bytes = spill_bytes;
	s = sk_open(dir, &cfg);
	c = sk_make(s, "c");
	for (unsigned life = 0; life < 6; life++) {
		for (unsigned round = 0; round < 10; round++) {
			for (unsigned i = 0; i < 60; i++)
				wrong += !sk_step(&m, s, c);
			failed += store_compact(s, c) != 0;
			differs += !sk_is_model(&m, s, c);
			more += n_versions(c) != atomic_load(&c->n_live);
			unsound += store_check(s, &why) != 0;
			if (round % 3 == 0)
				must(store_checkpoint(s, round % 2) == 0);
		}
		collection_unref(c);
		store_close(s);
		s = sk_open(dir, &cfg);
		c = sk_get(s, "c");
		must(c);
		differs += !sk_is_model(&m, s, c);
	}
	ok(wrong == 0 && failed == 0, "changes and 60 compactions take turns");
	ok(differs == 0, "and the collection is the model, restarted, too");
	ok(more == 0, "there is a version for each record, no more");
	ok(unsound == 0, "and all of it is sound");
	collection_unref(c);
	store_close(s);
}

/* ---- who looks at the old one ---- */

static void test_old_look(void)
{
	struct store *s = sk_open(scratch_path("look"), &plain);
	struct collection *c = sk_make(s, "c");
	struct generation *found;
	float v[SK_DIM_MAX];
	struct look look;
	uint32_t old_no, no;

	for (unsigned i = 0; i < 20; i++)
		must(sk_put(s, c, (struct sk_put){"a", i, 4, 0}) == 0);
	must(sk_put(s, c, (struct sk_put){"b", 99, 4, 0}) == 0);
	look_init(&look, c, store_moments(s));
	old_no = look.gen->no;
	must(sk_del(s, c, "b") == 0);
	must(store_compact(s, c) == 0);
	no = generation_find(look.gen, sk_id("b"), look.moment);
	ok(no != VERSION_NONE &&
			memcmp(version_vec(generation_version(look.gen, no)),
				sk_vec(99, 4, v), 16) == 0,
		"who looked before sees what was deleted since");
	ok(n_versions(c) == 1 && sk_find(s, c, "b") == VERSION_NONE,
		"who looks now does not");
	found = catalogue_find_gen(store_catalogue(s), old_no);
	ok(found == look.gen, "the old generation is found by its number");
	generation_unref(found);
	look_fini(&look);
	/* An indexer may have it for a moment. */
	for (unsigned i = 0; i < 500 && found; i++) {
		found = catalogue_find_gen(store_catalogue(s), old_no);
		generation_unref(found);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	ok(!found, "until nobody looks at it");
	found = catalogue_find_gen(store_catalogue(s), c->gen->no);
	ok(found == c->gen && found->no != old_no,
		"and the new one has a number of its own");
	generation_unref(found);
	collection_unref(c);
	store_close(s);
}

static void test_small(void)
{
	const char *dir = scratch_path("small");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	struct change clear = {.type = OP_CLEAR, .coll = c};

	ok(store_compact(s, c) == 0, "a collection without vectors");
	must(sk_put(s, c, (struct sk_put){"a", 1, 4, 0}) == 0);
	must(sk_meta(s, c, "a", CHANGE_META_MERGE, "{\"k\":1}") == 0);
	must(sk_rename(s, c, "a", "z") == 0);
	ok(store_compact(s, c) == 0 && n_versions(c) == 1 &&
			strcmp(sk_meta_of(s, c, "z"), "{\"k\":1}") == 0,
		"versions of one vector become one");
	ok(atomic_load(&atomic_load(&c->gen->cell)->n_slots) == 1,
		"with its one slot");
	must(sk_run(s, &clear) == 0);
	ok(store_compact(s, c) == 0 && n_versions(c) == 0,
		"an emptied collection has no versions left");
	must(sk_put(s, c, (struct sk_put){"a", 2, 7, 0}) == 0);
	ok(strcmp(sk_nearest(s, c, 2, 7, true), "a") == 0,
		"and takes vectors of another dimension");
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &plain);
	c = sk_get(s, "c");
	ok(c && strcmp(sk_nearest(s, c, 2, 7, true), "a") == 0,
		"which are there after a restart");
	collection_unref(c);
	store_close(s);
}

/* ---- beside writers and searches ---- */

#define WRITERS 3
#define IDS 200u

/* A record as its only writer left it; n 0: it is deleted. */
struct left {
	unsigned n; /* its vector's number */
	unsigned y; /* in its metadata; 0: it has none */
};

struct crowd {
	struct store *s;
	struct collection *c;
	_Atomic bool is_over;
	_Atomic unsigned wrong, n_puts, n_others, n_searches;
	struct left left[WRITERS][IDS]; /* as it was acknowledged */
	unsigned compactions; /* of the second who does */
};

struct writer {
	struct crowd *crowd;
	unsigned no;
};

static const char *name_of(char id[16], unsigned writer, unsigned i)
{
	snprintf(id, 16, "%u.%u", writer, i);
	return id;
}

/* What else than a put can happen to a record that is there. */
static int change_other(struct writer *w, unsigned i, unsigned n)
{
	struct crowd *cr = w->crowd;
	struct left *mine = cr->left[w->no], *at = &mine[i];
	unsigned to = (i + n) % IDS;
	char id[16], other[16], meta[32];
	int rc;

	atomic_fetch_add(&cr->n_others, 1);
	name_of(id, w->no, i);
	if (n % 3 == 0) {
		rc = sk_del(cr->s, cr->c, id);
		*at = (struct left){0};
	} else if (n % 3 == 1 || to == i) {
		snprintf(meta, sizeof(meta), "{\"y\":%u}", n);
		rc = sk_meta(cr->s, cr->c, id, CHANGE_META_REPLACE, meta);
		at->y = n;
	} else {
		rc = sk_rename(cr->s, cr->c, id, name_of(other, w->no, to));
		mine[to] = *at;
		*at = (struct left){0};
	}
	return rc;
}

static void *write_on(void *arg)
{
	struct writer *w = arg;
	struct crowd *cr = w->crowd;
	char id[16];

	for (unsigned n = 1; !atomic_load(&cr->is_over); n++) {
		unsigned i = n * 7919u % IDS, number = n * WRITERS + w->no;
		struct left *at = &cr->left[w->no][i];
		int rc;

		if (n % 2 && at->n) {
			rc = change_other(w, i, n / 2);
		} else {
			rc = sk_put(cr->s, cr->c,
				(struct sk_put){name_of(id, w->no, i), number,
					16, 0});
			at->n = number;
			atomic_fetch_add(&cr->n_puts, 1);
		}
		if (rc)
			atomic_fetch_add(&cr->wrong, 1);
	}
	return NULL;
}

/* Whether a record is as it was left. */
static bool is_left(struct crowd *cr, unsigned writer, unsigned i)
{
	struct left left = cr->left[writer][i];
	char id[16], meta[32] = "";
	float v[SK_DIM_MAX];
	uint32_t no = sk_find(cr->s, cr->c, name_of(id, writer, i));

	if (no == VERSION_NONE || !left.n)
		return no == VERSION_NONE && !left.n;
	if (left.y)
		snprintf(meta, sizeof(meta), "{\"y\":%u}", left.y);
	return memcmp(version_vec(generation_version(cr->c->gen, no)),
		       sk_vec(left.n, 16, v), 64) == 0 &&
	       strcmp(sk_meta_of(cr->s, cr->c, id), meta) == 0;
}

static void *compact_on(void *arg)
{
	struct crowd *cr = arg;

	while (!atomic_load(&cr->is_over)) {
		if (store_compact(cr->s, cr->c))
			atomic_fetch_add(&cr->wrong, 1);
		cr->compactions++;
	}
	return NULL;
}

static void *search_on(void *arg)
{
	struct crowd *cr = arg;
	struct search_hit hits[5];
	float v[SK_DIM_MAX];
	struct look look;
	uint32_t n;

	while (!atomic_load(&cr->is_over)) {
		struct search q = {
			.vec = sk_vec(atomic_load(&cr->n_puts), 16, v),
			.dim = 16, .k = 5};

		look_init(&look, cr->c, store_moments(cr->s));
		if (store_search(cr->s, &look, &q, hits, &n) < 0)
			atomic_fetch_add(&cr->wrong, 1);
		for (uint32_t i = 0; i < n; i++) {
			struct vg_id id = version_id(hits[i].version);

			/* What is answered is what the look shows. */
			if (generation_version(look.gen,
				    generation_find(look.gen, id,
					    look.moment)) != hits[i].version)
				atomic_fetch_add(&cr->wrong, 1);
		}
		look_fini(&look);
		atomic_fetch_add(&cr->n_searches, 1);
	}
	return NULL;
}

static void test_crowd(void)
{
	struct store *s = sk_open(scratch_path("crowd"), &plain);
	static struct crowd cr;
	struct writer w[WRITERS];
	pthread_t thread[WRITERS + 2];
	unsigned failed = 0, lost = 0, rounds = getenv("VG_SOAK") ? 200 : 20;

	cr.s = s;
	cr.c = sk_make(s, "c");
	must(sk_put(s, cr.c, (struct sk_put){"first", 0, 16, 0}) == 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){&cr, i};
		must(pthread_create(&thread[i], NULL, write_on, &w[i]) == 0);
	}
	must(pthread_create(&thread[WRITERS], NULL, search_on, &cr) == 0);
	must(pthread_create(&thread[WRITERS + 1], NULL, compact_on, &cr) == 0);
	for (unsigned i = 0; i < rounds; i++) {
		failed += store_compact(s, cr.c) != 0;
		if (i % 4 == 0)
			must(store_checkpoint(s, i % 8 == 0) == 0);
	}
	atomic_store(&cr.is_over, true);
	for (unsigned i = 0; i < WRITERS + 2; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < WRITERS; i++)
		for (unsigned j = 0; j < IDS; j++)
			lost += !is_left(&cr, i, j);
	ok(failed == 0, "%u compactions beside %u puts and %u searches", rounds,
		atomic_load(&cr.n_puts), atomic_load(&cr.n_searches));
	ok(cr.compactions > 0, "and %u by who did not wait for those",
		cr.compactions);
	ok(atomic_load(&cr.wrong) == 0, "no change fails, no search is of two "
					"states");
	ok(lost == 0 && atomic_load(&cr.n_others) > 0,
		"each record is as it was left, deletes, renames and metadata "
		"included (%u)", atomic_load(&cr.n_others));
	sk_is_sound(s);
	collection_unref(cr.c);
	store_close(s);
}

/* ---- what the leader carries ---- */

struct late {
	struct store *s;
	struct collection *c;
	int rc;
};

static void *compact_late(void *arg)
{
	struct late *late = arg;

	late->rc = store_compact(late->s, late->c);
	return NULL;
}

/* Whether a commit stands behind ask's in the queue. */
static bool is_followed(struct store *s, const struct sk_ask *ask)
{
	bool is;

	pthread_mutex_lock(&s->queue_lock);
	is = s->queue_end != &ask->commit.next;
	pthread_mutex_unlock(&s->queue_lock);
	return is;
}

/* A put that stands before the swap in the queue is carried by the leader. */
static void test_late(void)
{
	static struct sk_gate gate;
	struct late late = {.s = sk_open(scratch_path("late"), &plain)};
	struct timespec pause = {.tv_nsec = 1000000};
	float v[SK_DIM_MAX];
	struct change ch = {.type = OP_PUT, .id = sk_id("late"),
		.vec = sk_vec(77, 4, v), .dim = 4, .source = OP_SOURCE_RAW};
	struct sk_ask ask = {0};
	struct store_stat st;
	pthread_t thread;

	ch.coll = late.c = sk_make(late.s, "c");
	must(sk_put(late.s, late.c, (struct sk_put){"a", 1, 4, 0}) == 0);
	sk_wait_linked(late.s);
	sk_gate_shut(&gate, late.s);
	sk_ask(late.s, &ask, &ch, 1);
	must(pthread_create(&thread, NULL, compact_late, &late) == 0);
	while (!is_followed(late.s, &ask))
		nanosleep(&pause, NULL);
	sk_gate_open(&gate);
	pthread_join(thread, NULL);
	must(sk_ask_wait(&ask) == 0 && late.rc == 0);
	ok(n_versions(late.c) == 2, "what came late is carried over");
	for (unsigned i = 0; i < 5000; i++) {
		store_stat(late.s, &st);
		if (st.pending == 0)
			break;
		nanosleep(&pause, NULL);
	}
	ok(st.pending == 0, "and linked, though nobody puts another");
	collection_unref(late.c);
	store_close(late.s);
}

/* ---- what files say ---- */

/* A compaction is no change, and no graph tells of it where there is none. */
static void test_saved(void)
{
	const char *dir = scratch_path("saved");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	struct store_stat before, after;

	must(sk_config(s, c, "index", "flat") == 0);
	for (unsigned i = 0; i < 50; i++)
		must(sk_put(s, c, (struct sk_put){"a", i, 4, 0}) == 0);
	must(store_checkpoint(s, true) == 0 && store_compact(s, c) == 0);
	store_stat(s, &before);
	must(store_checkpoint(s, true) == 0);
	store_stat(s, &after);
	ok(after.checkpoints == before.checkpoints + 1,
		"a compaction goes to files though nothing was logged");
	must(store_checkpoint(s, true) == 0);
	store_stat(s, &before);
	ok(after.checkpoints == before.checkpoints, "once");
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &plain);
	c = sk_get(s, "c");
	ok(n_versions(c) == 1, "and is not made again");
	collection_unref(c);
	store_close(s);
}

/* ---- by itself ---- */

/* ---- files of what is being made ---- */

#define N_SPILLED 6 /* vectors, metadata and versions, and their sums */

static unsigned n_files(const char *dir)
{
	char pattern[300];
	glob_t found;
	unsigned n;

	snprintf(pattern, sizeof(pattern), "%s/c/*/*", dir);
	must(glob(pattern, 0, NULL, &found) == 0);
	n = (unsigned)found.gl_pathc;
	globfree(&found);
	return n;
}

/* Whether all of vectors 0..n-1 are there. */
static bool is_whole(struct store *s, struct collection *c, unsigned n)
{
	unsigned missed = 0;
	const char *why;
	char id[16];

	for (unsigned i = 0; i < n; i += 7) {
		snprintf(id, sizeof(id), "%u", i);
		missed += strcmp(sk_nearest(s, c, i, 8, true), id) != 0;
	}
	return missed == 0 && atomic_load(&c->n_live) == n &&
	       store_check(s, &why) == 0;
}

/* Indexers may have the one that was given up a little longer. */
static unsigned n_files_at_last(const char *dir, unsigned wanted)
{
	struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned i = 0; i < 4000 && n_files(dir) != wanted; i++)
		nanosleep(&pause, NULL);
	return n_files(dir);
}

static void test_spill(void)
{
	static struct kit_disk disk;
	const char *dir = scratch_path("spill"), *copy = scratch_path("killed");
	struct store_config cfg = plain;
	struct store *s;
	struct collection *c;
	unsigned before, n = 3000;
	char id[16];
	int rc;

	kit_disk_init(&disk);
	cfg.io = &disk.io;
	cfg.spill_bytes = 20000;
	cfg.no_uring = true;
	s = sk_open(dir, &cfg);
	c = sk_make(s, "c");
	for (unsigned i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, 8, 0}) == 0);
	}
	must(store_checkpoint(s, true) == 0);
	before = n_files(dir);
	disk.calls = 0;
	disk.only_calls = 1 << KIT_WRITE;
	disk.fail_at = 4;
	disk.rc = -ENOSPC;
	rc = store_compact(s, c);
	disk.fail_at = 0;
	ok(rc == -ENOSPC && n_files_at_last(dir, before) == before,
		"no room for what is carried over: it leaves nothing");
	ok(is_whole(s, c, n) && store_compact(s, c) == 0 &&
			n_files_at_last(dir, before + N_SPILLED) ==
				before + N_SPILLED,
		"when there is some it goes to files before a checkpoint");
	must(store_compact(s, c) == 0);
	ok(n_files_at_last(dir, before + N_SPILLED) == before + N_SPILLED,
		"which go when it is replaced before one");
	sk_copy(dir, copy);
	must(store_checkpoint(s, true) == 0);
	ok(is_whole(s, c, n), "all of it is there");
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &plain);
	c = sk_get(s, "c");
	ok(is_whole(s, c, n) && n_files(dir) <= before,
		"after a restart, too, and files of the old one went");
	collection_unref(c);
	store_close(s);
	s = sk_open(copy, &plain);
	c = sk_get(s, "c");
	snprintf(id, sizeof(id), "%u", n);
	must(sk_put(s, c, (struct sk_put){id, n, 8, 0}) == 0);
	must(store_checkpoint(s, true) == 0);
	/* One more of the graph. */
	ok(is_whole(s, c, n + 1) && n_files(copy) <= before + 1,
		"a kill behind it finds the old one, and removes those files");
	collection_unref(c);
	store_close(s);
}

static void test_alone(void)
{
	struct store_config cfg = {
		.durability = STORE_FSYNC, .has_grace = true};
	struct store *s = sk_open(scratch_path("alone"), &cfg);
	struct collection *c = sk_make(s, "c");
	struct timespec pause = {.tv_nsec = 20000000};
	unsigned waited = 0;

	for (unsigned i = 0; i < COMPACT_MIN + 1500; i++) {
		char id[16];

		snprintf(id, sizeof(id), "%u", i % 100);
		must(sk_put(s, c, (struct sk_put){id, i, 4, 0}) == 0);
	}
	for (; n_versions(c) > 2000 && waited < 1000; waited++)
		nanosleep(&pause, NULL);
	ok(n_versions(c) <= 2000, "a collection of the dead is compacted");
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	plan(26 + 4 + 6);
	test_model("model", 0);
	test_model("spilled", 1);
	test_spill();
	test_old_look();
	test_small();
	test_crowd();
	test_late();
	test_saved();
	test_alone();
	return done();
}
