/* SPDX-License-Identifier: Apache-2.0 */
/* atomic: changes that go in together or not at all; changes on a condition. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 4u
#define MAX 64u

static const struct store_config plain = {
	.durability = STORE_FSYNC, .no_compaction = true, .has_grace = true};

/* A commit in the making. */
struct batch_of {
	struct change change[MAX];
	struct commit_read read[MAX];
	char id[MAX][16];
	float vec[MAX][SK_DIM_MAX];
	struct commit commit;
};

static struct change *add(struct batch_of *b, struct collection *c,
	enum op_type type, const char *id)
{
	struct change *ch = &b->change[b->commit.n];

	snprintf(b->id[b->commit.n], sizeof(b->id[0]), "%s", id);
	*ch = (struct change){
		.type = type, .coll = c, .id = sk_id(b->id[b->commit.n])};
	b->commit.n++;
	return ch;
}

static void add_put(
	struct batch_of *b, struct collection *c, const char *id, unsigned n)
{
	struct change *ch = add(b, c, OP_PUT, id);

	ch->vec = sk_vec(n, DIM, b->vec[b->commit.n - 1]);
	ch->dim = DIM;
	ch->source = OP_SOURCE_RAW;
	ch->body_len = DIM * 4;
}

static int run(struct store *s, struct batch_of *b)
{
	b->commit.changes = b->change;
	b->commit.is_atomic = true;
	b->commit.sync = true;
	b->commit.reads = b->read;
	return store_commit_wait(s, &b->commit);
}

static uint64_t begin_of(struct store *s, struct collection *c, const char *id)
{
	uint32_t no = sk_find(s, c, id);

	return no == VERSION_NONE ? 0 : generation_version(c->gen, no)->begin;
}

static bool is(struct store *s, struct collection *c, const char *id, int n)
{
	float v[SK_DIM_MAX];
	uint32_t no = sk_find(s, c, id);

	if (n < 0 || no == VERSION_NONE)
		return n < 0 && no == VERSION_NONE;
	return memcmp(version_vec(generation_version(c->gen, no)),
		       sk_vec((unsigned)n, DIM, v), DIM * 4) == 0;
}

static uint64_t moment_number(struct store *s)
{
	struct moment *now = moment_get(store_moments(s));
	uint64_t number = now->number;

	moment_unref(store_moments(s), now);
	return number;
}

/* ---- all or none ---- */

static void test_all(void)
{
	const char *dir = scratch_path("all");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	static struct batch_of b, other;
	uint64_t number;

	for (unsigned i = 0; i < 10; i++) {
		char id[8];

		snprintf(id, sizeof(id), "%u", i);
		add_put(&b, c, id, i);
	}
	ok(run(s, &b) == 0 && atomic_load(&c->n_live) == 10 &&
			c->gen->cell->number == 0 &&
			atomic_load(&c->gen->cell)->n_slots == 10,
		"the first vectors of a collection go in together");
	number = moment_number(s);
	b.commit = (struct commit){0};
	add(&b, c, OP_DEL, "0");
	add_put(&b, c, "1", 101);
	add_put(&b, c, "new", 102);
	add(&b, c, OP_SET, "2")->meta_mode = CHANGE_META_REPLACE;
	b.change[3].meta = (struct meta){"{\"y\":1}", 7};
	ok(run(s, &b) == 0 && is(s, c, "0", -1) && is(s, c, "1", 101) &&
			is(s, c, "new", 102) &&
			strcmp(sk_meta_of(s, c, "2"), "{\"y\":1}") == 0,
		"puts, deletes and metadata too");
	ok(moment_number(s) == number + 1,
		"and appear in one moment");
	b.commit = (struct commit){0};
	add_put(&b, c, "1", 201);
	add(&b, c, OP_DEL, "gone");
	add_put(&b, c, "3", 203);
	ok(run(s, &b) == -ENOENT && is(s, c, "1", 101) && is(s, c, "3", 3) &&
			b.commit.why[0],
		"if one cannot be, none is");
	b.commit = (struct commit){0};
	add_put(&b, c, "1", 201);
	add_put(&b, c, "x", 202);
	b.change[1].dim = DIM - 1;
	ok(run(s, &b) == -EINVAL && is(s, c, "1", 101) && is(s, c, "x", -1),
		"so it is with a wrong dimension");
	add_put(&other, c, "4", 304);
	ok(run(s, &other) == 0 && is(s, c, "4", 304), "others go on");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &plain);
	c = sk_get(s, "c");
	ok(is(s, c, "0", -1) && is(s, c, "1", 101) && is(s, c, "new", 102) &&
			is(s, c, "4", 304) && is(s, c, "3", 3),
		"and after a restart all of it is there");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

static void test_empty(void)
{
	struct store *s = sk_open(scratch_path("empty"), &plain);
	struct collection *c = sk_make(s, "c");
	static struct batch_of b;

	add_put(&b, c, "a", 1);
	add_put(&b, c, "b", 2);
	b.change[1].dim = DIM - 1;
	ok(run(s, &b) == -EINVAL && strstr(b.commit.why, "dimensions") &&
			atomic_load(&c->n_live) == 0 &&
			collection_config(c).dim == 0 && !c->gen->opening,
		"first vectors have one dimension, or nothing is set by them");
	must(sk_snap(s, c, "s") == 0);
	b.commit = (struct commit){0};
	add_put(&b, c, "a", 1);
	add_put(&b, c, "b", 2);
	ok(run(s, &b) == 0 && is(s, c, "a", 1) && is(s, c, "b", 2) &&
			c->gen != c->snaps[0]->gen,
		"a snapshot of nothing keeps its generation");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* ---- conditions ---- */

static void test_stale(void)
{
	struct store *s = sk_open(scratch_path("stale"), &plain);
	struct collection *c = sk_make(s, "c");
	static struct batch_of b;
	uint64_t begin;

	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	must(sk_put(s, c, (struct sk_put){"b", 2, DIM, 0}) == 0);
	begin = begin_of(s, c, "a");
	add_put(&b, c, "a", 11);
	b.change[0].flags = CHANGE_IF;
	b.change[0].if_begin = begin;
	ok(run(s, &b) == 0 && is(s, c, "a", 11), "what is as it was is changed");
	ok(run(s, &b) == -ESTALE && b.commit.why[0], "once");
	b.change[0].if_begin = begin_of(s, c, "a");
	b.commit.n_reads = 2;
	b.read[0] = (struct commit_read){c, sk_id("b"), begin_of(s, c, "b")};
	b.read[1] = (struct commit_read){c, sk_id("none"), 0};
	must(sk_put(s, c, (struct sk_put){"none", 3, DIM, 0}) == 0);
	ok(run(s, &b) == -ESTALE && strstr(b.commit.why, "'none'"),
		"what was not there and is now is a change");
	must(sk_del(s, c, "none") == 0);
	must(store_compact(s, c) == 0);
	ok(run(s, &b) == 0 && is(s, c, "a", 11),
		"what is as it was by now is none, over a compaction too");
	b.change[0].if_begin = begin_of(s, c, "a");
	must(sk_del(s, c, "b") == 0);
	ok(run(s, &b) == -ESTALE && strstr(b.commit.why, "'b'"),
		"what was deleted is a change");
	must(sk_put(s, c, (struct sk_put){"b", 2, DIM, 0}) == 0);
	ok(run(s, &b) == -ESTALE, "also if it was written again");
	b.commit = (struct commit){.n_reads = 1};
	ok(run(s, &b) == -ESTALE, "a commit may only have read");
	b.read[0].begin = begin_of(s, c, "b");
	b.commit = (struct commit){.n_reads = 1};
	ok(run(s, &b) == 0, "which is right if nothing changed");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* ---- large ones ---- */

static void test_large(void)
{
	struct store *s = sk_open(scratch_path("large"), &plain);
	struct collection *c = sk_make(s, "c");
	static struct batch_of b;
	float *vec = calloc(VG_DIM_MAX, sizeof(float));

	must(vec);
	vec[0] = 1;
	for (unsigned i = 0; i < MAX; i++) {
		char id[16];

		snprintf(id, sizeof(id), "%u", i);
		add_put(&b, c, id, i);
		b.change[i].vec = vec;
		b.change[i].dim = VG_DIM_MAX;
	}
	ok(run(s, &b) == -EFBIG && strstr(b.commit.why, "16 MiB") &&
			atomic_load(&c->n_live) == 0 && !c->gen->opening,
		"more than a frame holds is refused");
	b.commit.n = MAX - 1;
	ok(run(s, &b) == 0 && atomic_load(&c->n_live) == MAX - 1,
		"as much as it holds is taken");
	sk_is_sound(s);
	free(vec);
	collection_unref(c);
	store_close(s);
}

/* ---- cut anywhere ---- */

static off_t log_size(const char *dir)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/wal/0001.wal", dir);
	must(stat(path, &st) == 0);
	return st.st_size;
}

static void test_cut(void)
{
	struct store_config cfg = plain;
	char dir[200], copy[220], path[256];
	unsigned half = 0, none = 0, whole = 0;
	struct collection *c;
	static struct batch_of b;
	struct store *s;
	off_t from, to;

	cfg.checkpoint_bytes = UINT64_MAX;
	snprintf(dir, sizeof(dir), "%s", scratch_path("cut"));
	snprintf(copy, sizeof(copy), "%s.copy", dir);
	s = sk_open(dir, &cfg);
	c = sk_make(s, "c");
	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	from = log_size(dir);
	add_put(&b, c, "a", 11);
	add_put(&b, c, "b", 12);
	add_put(&b, c, "d", 13);
	must(run(s, &b) == 0);
	to = log_size(dir);
	collection_unref(c);
	store_close(s);
	for (off_t at = from; at <= to; at++) {
		sk_copy(dir, copy);
		snprintf(path, sizeof(path), "%s/wal/0001.wal", copy);
		must(truncate(path, at) == 0);
		s = sk_open(copy, &cfg);
		c = sk_get(s, "c");
		if (is(s, c, "a", 1) && is(s, c, "b", -1) && is(s, c, "d", -1))
			none++;
		else if (is(s, c, "a", 11) && is(s, c, "b", 12) &&
			 is(s, c, "d", 13))
			whole++;
		else
			half++;
		collection_unref(c);
		store_close(s);
	}
	ok(half == 0 && whole > 0 && none > 100,
		"cut off anywhere it is there whole or not at all (%u, %u)",
		whole, none);
}

/* ---- many at once ---- */

#define THREADS 8
#define COUNTERS 4
#define TURNS 150

struct counter_job {
	struct store *s;
	struct collection *c;
	unsigned seed, done, stale;
};

/* The number that a counter's vector holds. */
static unsigned value_of(const struct version *v)
{
	return (unsigned)*(const float *)version_vec(v);
}

/* Reads all counters at one moment, adds 1 to two of them, if nothing moved. */
static void *count_main(void *arg)
{
	struct counter_job *job = arg;
	struct batch_of *b = malloc(sizeof(*b));

	must(b);
	while (job->done < TURNS) {
		struct look look;
		unsigned skip;

		memset(&b->commit, 0, sizeof(b->commit));
		look_init(&look, job->c, store_moments(job->s));
		skip = (job->seed = job->seed * 1103515245 + 12345) >> 16;
		for (unsigned i = 0; i < COUNTERS; i++) {
			char id[8];
			uint32_t no;
			const struct version *v;

			snprintf(id, sizeof(id), "c%u", i);
			no = generation_find(look.gen, sk_id(id), look.moment);
			must(no != VERSION_NONE);
			v = generation_version(look.gen, no);
			if (i % 2 == skip % 2) {
				b->read[b->commit.n_reads] =
					(struct commit_read){job->c,
						sk_id(i == 0   ? "c0"
						      : i == 1 ? "c1"
						      : i == 2 ? "c2"
							       : "c3"),
						v->begin};
				b->commit.n_reads++;
				continue;
			}
			add_put(b, job->c, id, 0);
			b->vec[b->commit.n - 1][0] = (float)(value_of(v) + 1);
			b->change[b->commit.n - 1].flags = CHANGE_IF;
			b->change[b->commit.n - 1].if_begin = v->begin;
		}
		look_fini(&look);
		if (run(job->s, b) == 0)
			job->done++;
		else
			job->stale++;
	}
	free(b);
	return NULL;
}

static void test_counters(void)
{
	struct store *s = sk_open(scratch_path("count"), &plain);
	struct collection *c = sk_make(s, "c");
	struct counter_job job[THREADS];
	pthread_t thread[THREADS];
	static struct batch_of b;
	unsigned sum = 0, stale = 0;

	for (unsigned i = 0; i < COUNTERS; i++) {
		char id[8];

		snprintf(id, sizeof(id), "c%u", i);
		add_put(&b, c, id, 0);
		memset(b.vec[i], 0, sizeof(b.vec[i]));
		b.vec[i][1] = 1;
	}
	must(run(s, &b) == 0);
	for (unsigned i = 0; i < THREADS; i++) {
		job[i] = (struct counter_job){s, c, (unsigned)seed() + i, 0, 0};
		must(pthread_create(&thread[i], NULL, count_main, &job[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		stale += job[i].stale;
	}
	for (unsigned i = 0; i < COUNTERS; i++) {
		char id[8];

		snprintf(id, sizeof(id), "c%u", i);
		sum += value_of(generation_version(c->gen, sk_find(s, c, id)));
	}
	ok(sum == THREADS * TURNS * COUNTERS / 2,
		"%u threads that add where nothing moved lose nothing (%u "
		"tried again)",
		THREADS, stale);
	ok(stale > 0, "though they met");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	plan(9 + 3 + 9 + 3 + 1 + 3);
	test_all();
	test_empty();
	test_stale();
	test_large();
	test_cut();
	test_counters();
	return done();
}
