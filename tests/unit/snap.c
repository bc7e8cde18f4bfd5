/* SPDX-License-Identifier: Apache-2.0 */
/* snap: a snapshot stays what its collection was, whatever comes after. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/hnsw.h"
#include "src/store_int.h"
#include "src/wire.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static const struct store_config plain = {
	.durability = STORE_FSYNC, .no_compaction = true, .has_grace = true};

/* ---- beside a model ---- */

#define SNAPS 8

/* What each snapshot should show, by its number; exists: it was taken. */
struct kept {
	bool exists;
	struct sk_model model;
};

static const char *snap_name(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof(name), "s%u", i);
	return name;
}

/* Takes snapshot i, or removes it. */
static bool toggle(struct kept kept[SNAPS], unsigned i, struct store *s,
	struct collection *c, const struct sk_model *m)
{
	struct kept *k = &kept[i];
	bool is = k->exists
			  ? sk_snap(s, c, snap_name(i)) == -EEXIST &&
				    sk_unsnap(s, c, snap_name(i)) == 0
			  : sk_unsnap(s, c, snap_name(i)) == -ENOENT &&
				    sk_snap(s, c, snap_name(i)) == 0;

	k->exists = !k->exists;
	k->model = *m;
	return is;
}

static bool is_kept(
	struct kept kept[SNAPS], struct store *s, struct collection *c)
{
	bool is = true;

	for (unsigned i = 0; i < SNAPS; i++) {
		struct collection *snap =
			collection_find_snap(c, sk_id(snap_name(i)));

		is = is && kept[i].exists == (snap != NULL);
		if (snap && !sk_is_model(&kept[i].model, s, snap)) {
			diag("snapshot %u differs", i);
			is = false;
		}
		collection_unref(snap);
	}
	return is;
}

static void test_model(void)
{
	const char *dir = scratch_path("model");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct kept kept[SNAPS] = {0};
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	unsigned wrong = 0, differs = 0, failed = 0, unsound = 0;
	const char *why = "";

	for (unsigned life = 0; life < 8; life++) {
		for (unsigned round = 0; round < 12; round++) {
			for (unsigned i = sk_draw(&m, 80); i > 0; i--)
				wrong += !sk_step(&m, s, c);
			wrong += !toggle(kept, sk_draw(&m, SNAPS), s, c, &m);
			if (sk_draw(&m, 3) == 0)
				failed += store_compact(s, c) != 0;
			if (sk_draw(&m, 4) == 0)
				failed += store_checkpoint(
						  s, sk_draw(&m, 2)) != 0;
			differs += !sk_is_model(&m, s, c) ||
				   !is_kept(kept, s, c);
			if (store_check(s, &why) != 0) {
				diag("%s", why);
				unsound++;
			}
		}
		collection_unref(c);
		store_close(s);
		s = sk_open(dir, &plain);
		c = sk_get(s, "c");
		must(c);
		differs += !sk_is_model(&m, s, c) || !is_kept(kept, s, c);
	}
	ok(wrong == 0 && failed == 0,
		"changes, snapshots, compactions and checkpoints take turns");
	ok(differs == 0, "and each snapshot is what was then, restarted, too");
	ok(unsound == 0, "and all of it is sound");
	collection_unref(c);
	store_close(s);
}

/* ---- searched ---- */

#define MANY 3000u
#define DIM 16u

static void put_range(struct store *s, struct collection *c, unsigned from,
	unsigned to, unsigned add)
{
	for (unsigned i = from; i < to; i++) {
		char id[16];

		snprintf(id, sizeof(id), "%u", i);
		must(sk_put(s, c, (struct sk_put){id, i + add, DIM, 0}) == 0);
	}
}

/* Of 300 vectors that were there, how many the snapshot finds as the nearest
 * of themselves, by its graph. */
static unsigned n_found(struct store *s, struct collection *snap)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MANY; i += MANY / 300) {
		char id[16];

		snprintf(id, sizeof(id), "%u", i);
		n += strcmp(sk_nearest(s, snap, i, DIM, false), id) == 0;
	}
	return n;
}

static void test_search(void)
{
	const char *dir = scratch_path("search");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c"), *snap;
	struct generation *past;

	put_range(s, c, 0, MANY, 0);
	/* Rows wait for their links when the snapshot is taken, and end. */
	must(sk_snap(s, c, "then") == 0);
	put_range(s, c, 0, MANY, 100000);
	snap = collection_find_snap(c, sk_id("then"));
	must(snap);
	sk_wait_linked(s);
	ok(atomic_load(&atomic_load(&snap->gen->cell)->n_slots) == 2 * MANY &&
			hnsw_count(atomic_load(&snap->gen->cell)->hnsw) ==
				2 * MANY,
		"rows that a snapshot shows are linked though they ended");
	ok(n_found(s, snap) == 300, "a snapshot is searched by its graph");
	ok(n_found(s, c) < 30, "and the present has other vectors");
	must(store_compact(s, c) == 0);
	sk_wait_linked(s);
	past = collection_next_gen(c, collection_gen(c), GENS_SHOWN);
	ok(past && past == snap->gen &&
			atomic_load(&atomic_load(&c->gen->cell)->n_slots) ==
				MANY,
		"a compaction leaves the snapshot its graph, the present has "
		"only its own");
	generation_unref(past);
	ok(n_found(s, snap) == 300 && n_found(s, c) < 30,
		"both are found as before");
	collection_unref(snap);
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &plain);
	c = sk_get(s, "c");
	snap = collection_find_snap(c, sk_id("then"));
	ok(snap && snap->gen != c->gen &&
			hnsw_count(atomic_load(&snap->gen->cell)->hnsw) ==
				2 * MANY,
		"after a restart its graph is there, nothing is linked again");
	ok(snap && n_found(s, snap) == 300 && n_found(s, c) < 30,
		"and finds the same");
	sk_is_sound(s);
	collection_unref(snap);
	must(sk_unsnap(s, c, "then") == 0);
	past = collection_next_gen(c, collection_gen(c), GENS_SHOWN);
	ok(!past, "without the snapshot the old generation goes");
	generation_unref(past);
	collection_unref(c);
	store_close(s);
}

/* Rows 0 to MANY are nobody's, the next are the snapshot's, the last the
 * present's; the log alone knows of them. */
static void test_unseen(void)
{
	const char *dir = scratch_path("unseen");
	char copy[220];
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c"), *snap;

	put_range(s, c, 0, MANY, 200000);
	put_range(s, c, 0, MANY, 0);
	must(sk_snap(s, c, "then") == 0);
	put_range(s, c, 0, MANY, 100000);
	snprintf(copy, sizeof(copy), "%s.copy", dir);
	sk_copy(dir, copy);
	collection_unref(c);
	store_close(s);
	s = sk_open(copy, &plain);
	sk_wait_linked(s);
	c = sk_get(s, "c");
	snap = collection_find_snap(c, sk_id("then"));
	must(snap);
	ok(hnsw_count(atomic_load(&c->gen->cell)->hnsw) == 2 * MANY,
		"rows that neither the present nor a snapshot shows are not "
		"linked");
	ok(n_found(s, snap) == 300 && n_found(s, c) < 30, "the others are");
	collection_unref(snap);
	collection_unref(c);
	store_close(s);
}

/* ---- other vectors than then ---- */

static void test_other_dim(void)
{
	const char *dir = scratch_path("dim");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c"), *three, *none;
	struct change clear = {.type = OP_CLEAR, .coll = c};

	must(sk_snap(s, c, "empty") == 0);
	must(sk_put(s, c, (struct sk_put){"a", 1, 3, 0}) == 0);
	must(sk_put(s, c, (struct sk_put){"b", 2, 3, 0}) == 0);
	must(sk_snap(s, c, "three") == 0);
	must(sk_run(s, &clear) == 0);
	must(sk_config(s, c, "metric", "ip") == 0);
	must(sk_put(s, c, (struct sk_put){"a", 3, 7, CHANGE_REINFER}) == 0);
	must(sk_snap(s, c, "seven") == 0);
	/* Its writer has the file open still, and writes more. */
	must(sk_put(s, c, (struct sk_put){"a", 4, 9, CHANGE_REINFER}) == 0);
	for (int life = 0; life < 3; life++) {
		three = collection_find_snap(c, sk_id("three"));
		none = collection_find_snap(c, sk_id("empty"));
		must(three && none);
		ok(strcmp(sk_nearest(s, three, 2, 3, false), "b") == 0 &&
				collection_config(three).metric == VG_COSINE &&
				atomic_load(&three->n_live) == 2,
			"a snapshot has the dimension and metric of then%s",
			life ? " (again)" : "");
		collection_unref(three);
		three = collection_find_snap(c, sk_id("seven"));
		ok(strcmp(sk_nearest(s, three, 3, 7, false), "a") == 0 &&
				collection_config(three).dim == 7 &&
				collection_config(three).metric == VG_IP,
			"one of another dimension its own%s",
			life ? " (again)" : "");
		ok(strcmp(sk_nearest(s, c, 4, 9, false), "a") == 0 &&
				atomic_load(&c->n_live) == 1,
			"and the present what came last%s",
			life ? " (again)" : "");
		ok(atomic_load(&none->n_live) == 0 &&
				sk_find(s, none, "a") == VERSION_NONE,
			"one of an empty collection is empty%s",
			life ? " (again)" : "");
		sk_is_sound(s);
		collection_unref(three);
		collection_unref(none);
		collection_unref(c);
		if (life == 1)
			must(store_checkpoint(s, true) == 0);
		store_close(s);
		s = sk_open(dir, &plain);
		c = sk_get(s, "c");
	}
	collection_unref(c);
	store_close(s);
}

/* ---- beside all that goes on ---- */

#define ROUNDS 60
#define HELD 5 /* snapshots at a time */

struct beside {
	struct store *s;
	struct collection *c;
	_Atomic bool is_over;
	_Atomic unsigned wrong;
	_Atomic unsigned next_n; /* no two have the same vector */
};

static void *write_on(void *arg)
{
	struct beside *b = arg;
	struct sk_model dice = {.random = seed() + 1};

	while (!atomic_load(&b->is_over)) {
		unsigned n = atomic_fetch_add(&b->next_n, 1) + 1;
		char id[8];

		snprintf(id, sizeof(id), "%u", sk_draw(&dice, 60));
		if (sk_draw(&dice, 4) == 0)
			sk_del(b->s, b->c, id);
		else if (sk_put(b->s, b->c, (struct sk_put){id, n, 4, 0}) < 0)
			atomic_fetch_add(&b->wrong, 1);
	}
	return NULL;
}

static void *compact_on(void *arg)
{
	struct beside *b = arg;

	while (!atomic_load(&b->is_over))
		if (store_compact(b->s, b->c) < 0)
			atomic_fetch_add(&b->wrong, 1);
	return NULL;
}

static void *checkpoint_on(void *arg)
{
	struct beside *b = arg;

	while (!atomic_load(&b->is_over))
		if (store_checkpoint(b->s, true) < 0)
			atomic_fetch_add(&b->wrong, 1);
	return NULL;
}

/* A sum of what c shows: ids and vectors, in whatever order. */
static uint64_t sum_of(struct store *s, struct collection *c)
{
	struct look look;
	uint64_t sum = 0, n = 0;

	look_init(&look, c, store_moments(s));
	for (uint32_t no = generation_next(look.gen, 0, look.moment);
		no != VERSION_NONE;
		no = generation_next(look.gen, no + 1, look.moment), n++) {
		const struct version *v = generation_version(look.gen, no);
		struct vg_id id = version_id(v);

		sum += wire_hash(id.bytes, id.len) ^
		       wire_hash(version_vec(v), 4 * sizeof(float));
	}
	look_fini(&look);
	return n == atomic_load(&c->n_live) ? sum : 0;
}

/* A record that the snapshot shows, found by its vector. */
static bool finds_first(struct store *s, struct collection *snap)
{
	float vec[4];
	struct search q = {.vec = vec, .dim = 4, .k = 1};
	struct search_hit hit;
	struct look look;
	uint32_t no, n = 0;
	bool is = true;

	look_init(&look, snap, store_moments(s));
	no = generation_next(look.gen, 0, look.moment);
	if (no != VERSION_NONE) {
		memcpy(vec, version_vec(generation_version(look.gen, no)),
			sizeof(vec));
		is = store_search(s, &look, &q, &hit, &n) == 0 && n == 1 &&
		     hit.version == generation_version(look.gen, no);
	}
	look_fini(&look);
	return is;
}

static void test_beside(void)
{
	void *(*const does[])(void *) = {
		write_on, write_on, compact_on, checkpoint_on};
	struct beside b = {.s = sk_open(scratch_path("beside"), &plain)};
	pthread_t thread[VG_ARRAY_LEN(does)];
	uint64_t sums[ROUNDS];
	struct collection *snap;
	unsigned differs = 0, lost = 0;

	b.c = sk_make(b.s, "c");
	must(sk_put(b.s, b.c, (struct sk_put){"first", 0, 4, 0}) == 0);
	for (size_t i = 0; i < VG_ARRAY_LEN(does); i++)
		must(pthread_create(&thread[i], NULL, does[i], &b) == 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		must(sk_snap(b.s, b.c, name) == 0);
		for (unsigned k = i < HELD ? 0 : i - HELD; k <= i; k++) {
			snprintf(name, sizeof(name), "%u", k);
			snap = collection_find_snap(b.c, sk_id(name));
			must(snap);
			if (k == i)
				sums[k] = sum_of(b.s, snap);
			differs += sum_of(b.s, snap) != sums[k];
			lost += !finds_first(b.s, snap);
			collection_unref(snap);
		}
		snprintf(name, sizeof(name), "%u", i - HELD);
		if (i >= HELD)
			must(sk_unsnap(b.s, b.c, name) == 0);
	}
	atomic_store(&b.is_over, true);
	for (size_t i = 0; i < VG_ARRAY_LEN(does); i++)
		pthread_join(thread[i], NULL);
	ok(atomic_load(&b.wrong) == 0,
		"writers, compactions and checkpoints go on beside snapshots");
	ok(differs == 0, "which stay what they were");
	ok(lost == 0, "and are searched meanwhile");
	sk_is_sound(b.s);
	collection_unref(b.c);
	store_close(b.s);
}

/* ---- what is refused ---- */

static void test_refusals(void)
{
	struct store *s = sk_open(scratch_path("refusals"), &plain);
	struct collection *c = sk_make(s, "c"), *d = sk_make(s, "d"), *snap;
	struct change drop = {.type = OP_DROP, .coll = c};
	struct change move = {
		.type = OP_MOVE, .coll = d, .name = sk_id("c")};
	struct change nest = {.type = OP_SNAP, .name = sk_id("x")};

	must(sk_snap(s, c, "monday") == 0 && sk_snap(s, c, "tuesday") == 0);
	snap = collection_find_snap(c, sk_id("monday"));
	ok(sk_put(s, snap, (struct sk_put){"a", 1, 3, 0}) == -EROFS &&
			sk_config(s, snap, "ef_search", "7") == -EROFS,
		"a snapshot takes no change");
	nest.coll = snap;
	ok(sk_run(s, &nest) == -EROFS, "nor a snapshot");
	ok(sk_run(s, &drop) == -ENOTEMPTY && strstr(drop.why, "monday") &&
			strstr(drop.why, "tuesday"),
		"a collection with snapshots is not removed: they are named");
	ok(sk_run(s, &move) == -ENOTEMPTY && strstr(move.why, "monday"),
		"nor replaced by another");
	must(sk_unsnap(s, c, "monday") == 0);
	ok(atomic_load(&snap->is_dropped) && sk_unsnap(s, c, "monday") == -ENOENT,
		"a snapshot that was removed is gone");
	ok(atomic_load(&snap->n_live) == 0 && snap->of == c,
		"but for who has it");
	collection_unref(snap);
	must(sk_unsnap(s, c, "tuesday") == 0);
	ok(sk_run(s, &move) == 0, "without them it can be replaced");
	collection_unref(c);
	collection_unref(d);
	store_close(s);
}

/* ---- how long it takes ---- */

static void test_cost(void)
{
	struct store *s = sk_open(scratch_path("cost"), &plain);
	struct collection *c = sk_make(s, "c");
	struct store_stat before, after;
	unsigned n = 0;

	put_range(s, c, 0, MANY, 0);
	store_stat(s, &before);
	for (unsigned i = 0; i < 300; i++) {
		char name[16];

		snprintf(name, sizeof(name), "h%u", i);
		n += sk_snap(s, c, name) == 0;
	}
	store_stat(s, &after);
	ok(n == 300 && after.log_bytes - before.log_bytes < 300 * 4096,
		"300 snapshots take as many frames of the log, and no copy");
	ok(c->n_snaps == 300 && c->gen == c->snaps[299]->gen,
		"they share what they show");
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	plan(3 + 9 + 2 + 3 * 5 + 4 + 7 + 2);
	test_model();
	test_search();
	test_unseen();
	test_other_dim();
	test_beside();
	test_refusals();
	test_cost();
	return done();
}
