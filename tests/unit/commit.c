/* SPDX-License-Identifier: Apache-2.0 */
/* commit: groups: what shares a sync, in which order, and who hears of what. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "tests/logkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 4

static struct change put_of(
	struct collection *c, const char *id, const float *vec)
{
	return (struct change){.type = OP_PUT, .coll = c, .id = sk_id(id),
		.vec = vec, .dim = DIM, .source = OP_SOURCE_RAW,
		.body_len = DIM * 4};
}

static uint64_t count(const struct collection *c)
{
	return atomic_load(&c->n_live);
}

/* ---- one commit ---- */

static void test_array(struct store *s)
{
	struct collection *c = sk_make(s, "array");
	float v[3][SK_DIM_MAX];
	struct change ch[6];
	struct commit commit = {.changes = ch, .n = 6};

	for (unsigned i = 0; i < 3; i++)
		sk_vec(i, DIM, v[i]);
	ch[0] = put_of(c, "a", v[0]);
	ch[1] = put_of(c, "a", v[1]);
	ch[1].flags = CHANGE_EXCL;
	ch[2] = put_of(c, "a", v[2]);
	ch[3] = (struct change){.type = OP_RENAME, .coll = c,
		.id = sk_id("a"), .id2 = sk_id("b")};
	ch[4] = (struct change){.type = OP_DEL, .coll = c, .id = sk_id("a")};
	ch[5] = put_of(c, "a", v[1]);
	ok(store_commit_wait(s, &commit) == -EEXIST,
		"a commit's error is its first change's that failed");
	ok(ch[0].rc == 0 && ch[2].rc == 0 && ch[3].rc == 0 && ch[5].rc == 0,
		"the others of the array went in");
	ok(ch[1].rc == -EEXIST && ch[1].why[0],
		"EXCL saw the change before it: %s", ch[1].why);
	ok(ch[4].rc == -ENOENT, "a rename took the id before the delete");
	ok(strcmp(sk_nearest(s, c, 2, DIM, true), "b") == 0 &&
			strcmp(sk_nearest(s, c, 1, DIM, true), "a") == 0,
		"two changes of one id were applied in order");
	ok(ch[2].version > ch[0].version &&
			sk_find(s, c, "b") == ch[3].version,
		"each change is told the version that it made");
	ok(count(c) == 2, "two records are left");
	collection_unref(c);
}

#define MANY 10000
static void test_many(struct store *s)
{
	struct collection *c = sk_make(s, "many");
	struct change *ch = calloc(MANY, sizeof(*ch));
	char(*ids)[8] = calloc(MANY, sizeof(*ids));
	float(*v)[SK_DIM_MAX] = calloc(MANY, sizeof(*v));
	struct commit commit = {.changes = ch, .n = MANY};
	struct store_stat before, after;
	unsigned failed = 0, lost = 0;

	must(ch && ids && v);
	sk_config(s, c, "index", "flat");
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(ids[i], sizeof(ids[i]), "i%u", i);
		ch[i] = put_of(c, ids[i], sk_vec(i, DIM, v[i]));
	}
	store_stat(s, &before);
	ok(store_commit_wait(s, &commit) == 0, "%d changes in one commit", MANY);
	store_stat(s, &after);
	for (unsigned i = 0; i < MANY; i++) {
		failed += ch[i].rc != 0;
		lost += sk_find(s, c, ids[i]) != ch[i].version;
	}
	ok(failed == 0 && lost == 0 && count(c) == MANY, "all are there");
	ok(after.syncs - before.syncs <= 2 + MANY / BATCH_MAX + 1,
		"for %llu syncs", (unsigned long long)(after.syncs - before.syncs));
	free(ch);
	free(ids);
	free(v);
	collection_unref(c);
}

/* ---- several commits, one group ---- */

static void test_share(struct store *s)
{
	static struct sk_gate gate;
	struct collection *c = sk_make(s, "share");
	static struct sk_ask ask[50];
	static struct change ch[50];
	char ids[50][8];
	float v[SK_DIM_MAX];
	struct store_stat before, after;
	unsigned wrong = 0;

	must(sk_put(s, c, (struct sk_put){"first", 1, DIM, 0}) == 0);
	sk_vec(7, DIM, v);
	store_stat(s, &before);
	sk_gate_shut(&gate, s);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(ids[i], sizeof(ids[i]), "s%u", i);
		ch[i] = put_of(c, ids[i], v);
		sk_ask(s, &ask[i], &ch[i], 1);
		wrong += atomic_load(&ask[i].is_done);
	}
	ok(wrong == 0 && count(c) == 1, "behind a leader commits only queue");
	ok(strcmp(sk_nearest(s, c, 1, DIM, false), "first") == 0 &&
			sk_find(s, c, "first") == 0,
		"which neither who reads nor who searches waits for");
	sk_gate_open(&gate);
	for (unsigned i = 0; i < 50; i++) {
		wrong += sk_ask_wait(&ask[i]) != 0;
		wrong += i && ask[i].nth != ask[i - 1].nth + 1;
	}
	store_stat(s, &after);
	ok(wrong == 0, "then each is answered once, in order");
	ok(after.syncs == before.syncs + 1, "and they share one sync: %llu",
		(unsigned long long)(after.syncs - before.syncs));
	collection_unref(c);
}

/* ---- numbers ---- */

#define NUMBERERS 5
#define NUMBERS 25

struct numberer {
	struct store *s;
	struct collection *c;
	unsigned failed;
	uint64_t seq[NUMBERS]; /* of its changes, as they were answered */
};

static void *number_main(void *arg)
{
	struct numberer *w = arg;
	float v[SK_DIM_MAX];

	sk_vec(1, DIM, v);
	for (unsigned i = 0; i < NUMBERS; i++) {
		struct change ch = put_of(w->c, "x", v);

		w->failed += sk_run(w->s, &ch) != 0;
		w->seq[i] = generation_version(w->c->gen, ch.version)->begin;
		w->failed += i && w->seq[i] <= w->seq[i - 1];
	}
	return NULL;
}

/* A gap or a number twice would end a replay: so it goes on behind one. */
static void test_numbers(void)
{
	const struct store_config cfg = {.no_compaction = true,
		.checkpoint_bytes = UINT64_MAX};
	struct store *s = sk_open(scratch_path("numbers"), &cfg);
	struct collection *c = sk_make(s, "c");
	static struct numberer w[NUMBERERS];
	pthread_t thread[NUMBERERS];
	bool taken[NUMBERERS * NUMBERS + 1] = {false};
	unsigned failed = 0, twice = 0;
	uint64_t last;

	for (unsigned i = 0; i < NUMBERERS; i++) {
		w[i] = (struct numberer){.s = s, .c = c};
		must(pthread_create(&thread[i], NULL, number_main, &w[i]) == 0);
	}
	for (unsigned i = 0; i < NUMBERERS; i++) {
		pthread_join(thread[i], NULL);
		failed += w[i].failed;
	}
	for (unsigned i = 0; i < NUMBERERS * NUMBERS; i++) {
		uint64_t seq = w[i / NUMBERS].seq[i % NUMBERS];

		failed += seq == 0 || seq > NUMBERERS * NUMBERS;
		twice += taken[seq % (NUMBERERS * NUMBERS + 1)];
		taken[seq % (NUMBERERS * NUMBERS + 1)] = true;
	}
	ok(failed == 0, "threads that write one record number its changes "
			"without a gap");
	ok(twice == 0, "and no number is given twice");
	collection_unref(c);
	store_close(s);
	s = sk_open(scratch_path("numbers"), &cfg);
	c = sk_get(s, "c");
	must(c && sk_put(s, c, (struct sk_put){"x", 2, DIM, 0}) == 0);
	last = generation_version(c->gen, sk_find(s, c, "x"))->begin;
	ok(last == NUMBERERS * NUMBERS + 1, "nor again after a restart");
	collection_unref(c);
	sk_is_sound(s);
	store_close(s);
}

/* A change of the catalogue in the midst of puts: names resolve and vanish
 * at their place in the queue. */
static void test_catalogue_between(struct store *s)
{
	static struct sk_gate gate;
	static struct sk_ask ask[7];
	struct collection *c = sk_make(s, "between"), *d = sk_make(s, "doomed");
	float v[SK_DIM_MAX];
	struct change ch[7];

	sk_vec(3, DIM, v);
	ch[0] = put_of(c, "a", v);
	ch[1] = (struct change){.type = OP_DROP, .coll = c};
	ch[2] = (struct change){.type = OP_DROP, .coll = d};
	ch[3] = put_of(d, "late", v);
	ch[4] = (struct change){.type = OP_CLEAR, .coll = c};
	ch[5] = (struct change){.type = OP_MOVE, .coll = c,
		.name = sk_id("doomed"), .flags = CHANGE_NOREPLACE};
	ch[6] = put_of(c, "b", v);
	sk_gate_shut(&gate, s);
	for (unsigned i = 0; i < 7; i++)
		sk_ask(s, &ask[i], &ch[i], 1);
	sk_gate_open(&gate);
	ok(sk_ask_wait(&ask[0]) == 0, "a put before a drop goes in");
	ok(sk_ask_wait(&ask[1]) == -ENOTEMPTY,
		"so the drop behind it finds the collection filled: %s",
		ch[1].why);
	ok(sk_ask_wait(&ask[2]) == 0 && sk_ask_wait(&ask[3]) == -ENOENT,
		"a put behind a drop finds it gone: %s", ch[3].why);
	ok(sk_ask_wait(&ask[4]) == 0 && sk_find(s, c, "a") == VERSION_NONE,
		"a clear takes the put before it");
	ok(sk_ask_wait(&ask[5]) == 0,
		"a name is free once its collection was dropped");
	ok(sk_ask_wait(&ask[6]) == 0 && count(c) == 1,
		"and what comes last is in the renamed one");
	collection_unref(c);
	collection_unref(d);
}

/* The first vector of a collection, others of its dimension and one of
 * another, all in one queue. */
static void test_first_vector(struct store *s)
{
	static struct sk_gate gate;
	static struct sk_ask ask[4];
	struct collection *c = sk_make(s, "first");
	float v[4][SK_DIM_MAX];
	struct change ch[4];

	for (unsigned i = 0; i < 4; i++)
		sk_vec(i, DIM, v[i]);
	ch[0] = put_of(c, "a", v[0]);
	ch[1] = put_of(c, "b", v[1]);
	ch[2] = put_of(c, "c", v[2]);
	ch[2].dim = DIM - 1;
	ch[3] = put_of(c, "d", v[3]);
	sk_gate_shut(&gate, s);
	for (unsigned i = 0; i < 4; i++)
		sk_ask(s, &ask[i], &ch[i], 1);
	sk_gate_open(&gate);
	ok(sk_ask_wait(&ask[0]) == 0 && sk_ask_wait(&ask[1]) == 0 &&
			sk_ask_wait(&ask[3]) == 0,
		"vectors behind the first one of all go in");
	ok(sk_ask_wait(&ask[2]) == -EINVAL && strstr(ch[2].why, "dimensions"),
		"one of another dimension does not: %s", ch[2].why);
	ok(count(c) == 3 && collection_config(c).dim == DIM,
		"and the dimension is the first one's");
	collection_unref(c);
}

/* ---- when is it durable ---- */

static void test_sync_in_conflict(void)
{
	static struct sk_gate gate;
	static struct sk_ask ask[3];
	struct store_config cfg = {.durability = STORE_FSYNC, .no_uring = true};
	struct store *s = sk_open(scratch_path("fsync"), &cfg);
	struct collection *c = sk_make(s, "c");
	struct change ch[3];
	struct store_stat st;
	float v[SK_DIM_MAX];
	uint64_t synced;

	sk_vec(1, DIM, v);
	must(sk_put(s, c, (struct sk_put){"x", 1, DIM, 0}) == 0);
	store_stat(s, &st);
	ok(st.syncs == 0, "with durability=fsync a put waits for no sync");
	sk_gate_shut(&gate, s); /* a sync: all until here is durable */
	store_stat(s, &st);
	synced = st.lsn;
	ok(synced == 2, "a sync makes what was before it durable");
	for (unsigned i = 0; i < 3; i++)
		ch[i] = put_of(c, "a", v);
	ask[0].commit.sync = true;
	for (unsigned i = 0; i < 3; i++)
		sk_ask(s, &ask[i], &ch[i], 1);
	sk_gate_open(&gate);
	must(sk_ask_wait(&ask[0]) == 0 && sk_ask_wait(&ask[2]) == 0);
	ok(ask[0].lsn_then > synced,
		"a put with a sync is durable when it is answered, also when "
		"the next one ends its group");

	sk_gate_shut(&gate, s);
	store_stat(s, &st);
	synced = st.lsn;
	ask[0].commit.sync = false;
	ask[1].commit.sync = true;
	ask[2].commit.sync = false;
	ch[0] = put_of(c, "a", v);
	ch[2] = put_of(c, "a", v);
	sk_ask(s, &ask[0], &ch[0], 1);
	sk_ask(s, &ask[1], NULL, 0);
	sk_ask(s, &ask[2], &ch[2], 1);
	sk_gate_open(&gate);
	must(sk_ask_wait(&ask[1]) == 0 && sk_ask_wait(&ask[2]) == 0);
	ok(ask[1].lsn_then == synced + 1,
		"and so is what an fsync waited for, and no more than that");
	collection_unref(c);
	store_close(s);
}

static void test_async(void)
{
	struct store_config cfg = {.durability = STORE_ASYNC};
	struct store *s = sk_open(scratch_path("async"), &cfg);
	struct collection *c = sk_make(s, "c");
	struct timespec pause = {.tv_nsec = 10000000};
	struct store_stat st;
	unsigned waited = 0;

	must(sk_put(s, c, (struct sk_put){"x", 1, DIM, 0}) == 0);
	for (store_stat(s, &st); st.lsn < 2 && waited < 3000;
		store_stat(s, &st), waited++)
		nanosleep(&pause, NULL);
	ok(st.lsn == 2, "with durability=async nobody asks, and it is durable");
	collection_unref(c);
	store_close(s);
}

/* Answers only when the tail is short again; when the store closes, all. */
static void test_held(void)
{
	static struct sk_ask ask[40];
	struct store_config cfg = {.indexers = 1};
	struct store *s = sk_open(scratch_path("held"), &cfg);
	struct collection *c = sk_make(s, "c");
	float v[SK_DIM_MAX];
	static struct change ch[40][100];
	static char ids[4000][8];
	struct cell *cell;
	unsigned late = 0, answered = 0;

	sk_config(s, c, "ef_construction", "2000");
	must(sk_put(s, c, (struct sk_put){"x", 1, DIM, 0}) == 0);
	sk_wait_linked(s);
	cell = atomic_load(&c->gen->cell);
	pthread_mutex_lock(&s->indexer.lock);
	cell->tail_max = 10;
	pthread_mutex_unlock(&s->indexer.lock);
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned j = 0; j < 100; j++) {
			snprintf(ids[i * 100 + j], 8, "i%u", i * 100 + j);
			ch[i][j] = put_of(c, ids[i * 100 + j], sk_vec(1, DIM, v));
		}
		sk_ask(s, &ask[i], ch[i], 100);
		late += !atomic_load(&ask[i].is_done);
	}
	ok(late > 0, "a commit that makes the tail too long is answered late");
	ok(count(c) > 1 && sk_find(s, c, "i0") != VERSION_NONE,
		"though what it put is there at once");
	store_quiesce(s);
	for (unsigned i = 0; i < 40; i++)
		answered += atomic_load(&ask[i].is_done) &&
			    ask[i].commit.rc == 0;
	ok(answered == 40, "when the store ends, all are answered");
	collection_unref(c);
	store_close(s);
}

/* ---- what fails ---- */

static void test_failed_sync(void)
{
	static struct kit_disk disk;
	static struct sk_gate gate;
	static struct sk_ask ask[4];
	struct change ch[4];
	struct store_config cfg = {.io = &disk.io};
	struct store *s;
	struct collection *c;
	float v[SK_DIM_MAX];
	struct change create = {.type = OP_CREATE, .name = sk_id("new"),
		.attr = {.mode = 0700}};

	kit_disk_init(&disk);
	s = sk_open(scratch_path("sync"), &cfg);
	c = sk_make(s, "c");
	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	sk_vec(2, DIM, v);
	sk_gate_shut(&gate, s);
	disk.only_calls = 1 << KIT_WRITE;
	disk.calls = 0;
	disk.fail_at = 1;
	disk.rc = -EIO;
	ch[0] = put_of(c, "b", v);
	ch[1] = put_of(c, "a", v);
	ch[2] = put_of(c, "a", v);
	for (unsigned i = 0; i < 3; i++)
		sk_ask(s, &ask[i], &ch[i], 1);
	ask[3].commit.sync = true;
	sk_ask(s, &ask[3], NULL, 0);
	sk_gate_open(&gate);
	ok(sk_ask_wait(&ask[0]) == -EIO && sk_ask_wait(&ask[1]) == -EIO,
		"who waited for a sync that failed is told EIO");
	ok(sk_ask_wait(&ask[2]) == -EROFS, "who comes after it EROFS: %s",
		ch[2].why);
	ok(sk_ask_wait(&ask[3]) < 0, "an fsync behind it fails, too");
	ok(store_read_only(s) != NULL, "the store is read-only: %s",
		store_read_only(s));
	ok(count(c) == 1 && sk_find(s, c, "a") == 0 &&
			sk_find(s, c, "b") == VERSION_NONE,
		"nothing of the group is seen");
	ok(strcmp(sk_nearest(s, c, 1, DIM, false), "a") == 0,
		"reading and searching go on");
	ok(sk_run(s, &create) == -EROFS && create.why[0],
		"nothing is taken any more");
	collection_unref(c);
	store_close(s);
	kit_disk_init(&disk);
	s = sk_open(scratch_path("sync"), NULL);
	c = sk_get(s, "c");
	ok(c && sk_find(s, c, "a") == 0, "what was acknowledged is there later");
	collection_unref(c);
	sk_is_sound(s);
	store_close(s);
}

/* The disk is full for one write: its group is dropped, whatever it held: a
 * collection's first vector with metadata, a new collection. */
static void test_full(void)
{
	static struct kit_disk disk;
	struct store_config cfg = {.io = &disk.io};
	struct change create = {.type = OP_CREATE, .name = sk_id("new"),
		.attr = {.mode = 0700}};
	struct change put;
	struct collection *c;
	struct store *s;
	float v[SK_DIM_MAX];
	struct commit commit = {.changes = &put, .n = 1, .sync = true};

	kit_disk_init(&disk);
	s = sk_open(scratch_path("full"), &cfg);
	c = sk_make(s, "c");
	sk_vec(2, DIM, v);
	disk.only_calls = 1 << KIT_WRITE;
	disk.rc = -ENOSPC;
	disk.calls = 0;
	disk.fail_at = 1;
	ok(sk_run(s, &create) == -ENOSPC && create.why[0],
		"a full disk refuses a collection: %s", create.why);
	put = put_of(c, "a", v);
	put.meta_mode = CHANGE_META_REPLACE;
	put.meta = (struct meta){"{\"k\":\"v\"}", 9};
	disk.calls = 0;
	ok(store_commit_wait(s, &commit) == -ENOSPC,
		"and a vector, also one with a sync of its own");
	ok(!store_read_only(s) && count(c) == 0 &&
			collection_config(c).dim == 0,
		"nothing of it happened, and the store goes on");
	disk.fail_at = 0;
	ok(sk_run(s, &create) == 0 && sk_run(s, &put) == 0,
		"once there is room both go in");
	ok(strcmp(sk_meta_of(s, c, "a"), "{\"k\":\"v\"}") == 0,
		"with the metadata");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
	s = sk_open(scratch_path("full"), NULL);
	c = sk_get(s, "c");
	ok(c && count(c) == 1, "and the log has no gap");
	collection_unref(c);
	sk_is_sound(s);
	store_close(s);
}

/* ---- the count of changes ---- */

static _Atomic bool is_over;

struct counter {
	struct store *s;
	struct collection *c;
	uint64_t wrong, looks;
	uint64_t fell; /* records were fewer than before */
};

static uint64_t sum_of(struct store *s)
{
	struct moment *m = moment_get(store_moments(s));
	uint64_t sum = 0;

	for (unsigned p = 0; p < VG_PARTITIONS; p++)
		sum += m->seq[p];
	moment_unref(store_moments(s), m);
	return sum;
}

/* Who reads the count first sees at least so many changes: an answer that is
 * kept for it is never taken for newer than it is. */
static void *counter_main(void *arg)
{
	struct counter *k = arg;
	uint64_t base = atomic_load(&k->c->changes) - sum_of(k->s), most = 0;

	while (!atomic_load(&is_over)) {
		for (unsigned i = 0; i < 1000; i++) {
			uint64_t there = count(k->c);

			k->fell += there < most;
			most = VG_MAX(most, there);
		}
		uint64_t n = atomic_load_explicit(
			&k->c->changes, memory_order_acquire);

		k->wrong += sum_of(k->s) < n - base;
		k->looks++;
	}
	return NULL;
}

static void test_changes(struct store *s)
{
	struct collection *c = sk_make(s, "counted");
	struct counter k = {.s = s, .c = c};
	static struct change ch[500];
	static char ids[500][8];
	struct commit commit = {.changes = ch, .n = 500};
	float v[SK_DIM_MAX];
	pthread_t thread;
	uint64_t before;

	sk_config(s, c, "index", "flat");
	must(sk_put(s, c, (struct sk_put){"x", 1, DIM, 0}) == 0);
	sk_vec(1, DIM, v);
	before = atomic_load(&c->changes);
	must(sk_put(s, c, (struct sk_put){"x", 1, DIM, 0}) == 0);
	ok(atomic_load(&c->changes) == before + 1, "a change counts once");
	must(pthread_create(&thread, NULL, counter_main, &k) == 0);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 500; i++) {
			snprintf(ids[i], sizeof(ids[i]), "i%u", i);
			ch[i] = put_of(c, ids[i], v);
		}
		must(store_commit_wait(s, &commit) == 0);
	}
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
	ok(k.looks > 0 && k.wrong == 0,
		"no change is counted before it is seen (%llu looks)",
		(unsigned long long)k.looks);
	ok(k.fell == 0, "who is overwritten is counted all the while");
	collection_unref(c);
}

int main(void)
{
	struct store *s;

	plan(50 + 1 + 5);
	s = sk_open(scratch_path("data"), NULL);
	test_array(s);
	test_many(s);
	test_share(s);
	test_catalogue_between(s);
	test_first_vector(s);
	test_changes(s);
	sk_is_sound(s);
	store_close(s);
	test_numbers();
	test_sync_in_conflict();
	test_async();
	test_held();
	test_failed_sync();
	test_full();
	return done();
}
