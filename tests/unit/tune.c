/* SPDX-License-Identifier: Apache-2.0 */
/* tune: ef_search auto, against answers that are compared here. */
#include "src/tune.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "index/ivf.h"
#include "src/config.h"
#include "src/repair.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 8
#define ROWS 6000
#define QUERIES 400

static const struct store_config by_hand = {.durability = STORE_FSYNC,
	.no_compaction = true,
	.no_tuning = true};

static void put_rows(struct store *s, struct collection *c, unsigned from,
	unsigned to)
{
	char id[16];

	for (unsigned i = from; i < to; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
	}
}

static struct collection *make(struct store *s, const char *name)
{
	struct collection *c = sk_make(s, name);

	must(sk_config(s, c, "metric", "l2") == 0);
	/* A graph that is not too good for small efs. */
	must(sk_config(s, c, "m", "6") == 0);
	must(sk_config(s, c, "ef_construction", "30") == 0);
	put_rows(s, c, 0, ROWS);
	sk_wait_linked(s);
	return c;
}

/* Asks n queries for k as users do. */
static void ask(struct store *s, struct collection *c, unsigned n, uint32_t k)
{
	static struct search_hit hits[1000];
	float vec[SK_DIM_MAX];

	for (unsigned i = 0; i < n; i++) {
		struct search q = {.vec = sk_vec(500000 + i, DIM, vec),
			.dim = DIM, .k = k};
		uint32_t found;

		must(sk_search(s, c, &q, hits, &found) == 0 && found == k);
	}
}

/* The recall of those n queries for k with the collection's ef, by distance. */
static double recall_of(
	struct store *s, struct collection *c, unsigned n, uint32_t k)
{
	static struct search_hit hits[1000];
	float vec[SK_DIM_MAX];
	uint64_t found = 0;

	for (unsigned i = 0; i < n; i++) {
		struct op_config config = collection_config(c);
		struct search q = {.vec = sk_vec(500000 + i, DIM, vec),
			.dim = DIM, .k = k, .exact = true};
		uint32_t got;
		float last;

		must(sk_search(s, c, &q, hits, &got) == 0 && got == k);
		last = hits[k - 1].dist;
		q.exact = false;
		q.ef = config_ef_search(&config, k);
		must(sk_search(s, c, &q, hits, &got) == 0 && got == k);
		while (got > 0 && hits[got - 1].dist > last)
			got--;
		found += got;
	}
	return (double)found / n / k;
}

static uint32_t ef_of(struct collection *c, uint32_t k)
{
	struct op_config config = collection_config(c);

	return config_ef_search(&config, k);
}

static struct recall_samples samples_of(struct collection *c, unsigned class)
{
	struct recall_samples all[OP_EF_CLASSES];

	recall_count(c->recall, .99, all);
	return all[class];
}

/* Which searches are samples. */
static void test_samples(struct store *s, struct collection *c)
{
	struct search_hit hits[10];
	float vec[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(700000, DIM, vec), .dim = DIM, .k = 10};
	struct collection *snap;
	uint32_t n;

	q.exact = true;
	must(sk_search(s, c, &q, hits, &n) == 0);
	q.exact = false;
	q.ef = 40;
	must(sk_search(s, c, &q, hits, &n) == 0);
	ok(samples_of(c, 0).n == 0, "who says ef or exact is no sample");
	q.ef = 0;
	must(sk_snap(s, c, "then") == 0);
	snap = collection_find_snap(c, sk_id("then"));
	must(snap && sk_search(s, snap, &q, hits, &n) == 0);
	ok(samples_of(c, 0).n == 0, "nor is who asks a snapshot");
	collection_unref(snap);
	must(sk_unsnap(s, c, "then") == 0);
	must(sk_search(s, c, &q, hits, &n) == 0);
	ok(samples_of(c, 0).n == 1, "who leaves it to the collection is");
}

static void test_few(struct store *s, struct collection *c)
{
	ask(s, c, 40, 10);
	ok(store_tune(s, c) == 0 && ef_of(c, 10) == 100 &&
			!recall_result(c->recall, 0).is_set,
		"with %u samples ef stays 100", samples_of(c, 0).n);
}

static void test_choice(struct store *s, struct collection *c)
{
	struct recall_result r;
	uint32_t ef[3];
	double truth;

	ask(s, c, QUERIES, 10);
	ok(store_tune(s, c) == 0, "with %u it is tuned", samples_of(c, 0).n);
	r = recall_result(c->recall, 0);
	ef[0] = ef_of(c, 10);
	ok(r.is_set && r.is_met && r.ef == ef[0] && r.estimate.low >= .99 &&
			r.k_min == 10 && r.k_max == 10,
		"ef %u: %.4f, from %.4f to %.4f", ef[0], r.estimate.recall,
		r.estimate.low, r.estimate.high);
	truth = recall_of(s, c, QUERIES, 10);
	ok(truth >= r.estimate.low && truth <= r.estimate.high && truth >= .99,
		"what %u queries find is in the interval: %.4f", QUERIES,
		truth);
	must(sk_config(s, c, "target_recall", ".9") == 0);
	ok(ef_of(c, 10) == 100, "for another target it is 100 at first");
	must(store_tune(s, c) == 0);
	ef[1] = ef_of(c, 10);
	truth = recall_of(s, c, QUERIES, 10);
	ok(ef[1] < ef[0] && truth >= .9, ".9 needs less: ef %u, %.4f", ef[1],
		truth);
	must(sk_config(s, c, "target_recall", ".999") == 0);
	ask(s, c, 4 * QUERIES, 10);
	must(store_tune(s, c) == 0);
	ef[2] = ef_of(c, 10);
	truth = recall_of(s, c, QUERIES, 10);
	ok(ef[2] > ef[0] && truth >= .995, ".999 more: ef %u, %.4f", ef[2],
		truth);
	must(sk_config(s, c, "target_recall", ".99") == 0);
	must(store_tune(s, c) == 0);
	ok(ef_of(c, 10) < ef[2] && ef_of(c, 10) > ef[1], "and back");
}

static void test_written(struct store *s, struct collection *c)
{
	uint32_t ef = ef_of(c, 10);
	struct recall_result r;

	must(sk_config(s, c, "ef_search", "12") == 0);
	ok(ef_of(c, 10) == 12 && ef_of(c, 300) == 12, "one that is written wins");
	must(store_tune(s, c) == 0);
	r = recall_result(c->recall, 0);
	ok(ef_of(c, 10) == 12 && r.ef == 12 && r.estimate.recall < .98 &&
			!r.is_met && r.of.ef_search == 12,
		"it is measured, and not changed: %.4f", r.estimate.recall);
	must(sk_config(s, c, "ef_search", "auto") == 0);
	ok(ef_of(c, 10) == ef, "auto is what it was");
	must(store_tune(s, c) == 0);
}

/* Queries for other k have an ef of their own. */
static void test_classes(struct store *s, struct collection *c)
{
	uint32_t ef = ef_of(c, 10);
	struct recall_result r;
	double truth;

	ask(s, c, 4 * QUERIES, 100);
	must(store_tune(s, c) == 0);
	r = recall_result(c->recall, 1);
	truth = recall_of(s, c, 200, 100);
	ok(r.is_set && r.k_min == 100 && ef_of(c, 100) >= 100 && truth >= .985,
		"for 100 ef is %u: %u queries, %.4f", ef_of(c, 100),
		r.estimate.n, truth);
	ok(ef_of(c, 10) <= ef && !recall_result(c->recall, 2).is_set,
		"and for 10 no more than before");
}

static void test_changes(struct store *s, struct collection *c)
{
	struct recall_result r = recall_result(c->recall, 0);
	struct recall_state now = tune_state(c);

	ok(tune_is_current(&r, &now), "a result is of the graph that there is");
	must(sk_config(s, c, "m", "8") == 0);
	must(store_compact(s, c) == 0);
	sk_wait_linked(s);
	now = tune_state(c);
	ok(!tune_is_current(&r, &now), "not when it was linked anew");
	must(store_tune(s, c) == 0);
	r = recall_result(c->recall, 0);
	ok(tune_is_current(&r, &now) && r.is_met, "until it is measured anew");
}

/* Waits until the thread has measured it for that target, with so many rows. */
static bool wait_measured(
	struct collection *c, uint32_t target, uint32_t n_slots)
{
	struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned i = 0; i < 24000; i++) {
		struct recall_result r = recall_result(c->recall, 0);

		if (r.is_set && r.of.target_recall == target &&
			r.of.n_slots >= n_slots)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static bool wait_measured_again(struct collection *c, uint64_t n_repaired)
{
	struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned i = 0; i < 24000; i++) {
		if (recall_result(c->recall, 0).of.n_repaired == n_repaired)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* Walks with the same ef were longer while they led over dead rows. */
static void test_repaired(struct store *s, struct collection *c)
{
	uint32_t n_dead = ROWS / 8;
	char id[16];

	for (unsigned i = 0; i < n_dead; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_del(s, c, id) == 0);
	}
	must(store_repair(s, c) == (int)n_dead);
	ok(wait_measured_again(c, n_dead),
		"nobody asks, but %u rows left the graph: it is measured",
		n_dead);
	put_rows(s, c, 0, n_dead);
	sk_wait_linked(s);
}

static struct store *reopen(struct store *s, const char *dir,
	const struct store_config *cfg, struct collection **c)
{
	collection_unref(*c);
	store_close(s);
	s = sk_open(dir, cfg);
	*c = sk_get(s, "c");
	must(*c);
	return s;
}

/* What was tuned outlives samples; the thread does by itself what was done by
 * hand above. */
static struct store *test_restart(
	struct store *s, const char *dir, struct collection **c)
{
	struct store_config cfg = by_hand;
	uint32_t ef = ef_of(*c, 10), ef100 = ef_of(*c, 100);
	struct recall_result r;

	cfg.no_tuning = false;
	must(ef != 100);
	s = reopen(s, dir, &cfg, c);
	ok(ef_of(*c, 10) == ef && ef_of(*c, 100) == ef100 &&
			samples_of(*c, 0).n == 0,
		"after a restart ef is %u as before, and %u for 100", ef, ef100);
	sk_wait_linked(s);
	ask(s, *c, 250, 10);
	ok(wait_measured(*c, 0, ROWS), "then searches have it measured");
	must(sk_config(s, *c, "target_recall", ".9") == 0);
	ok(wait_measured(*c, 900000, ROWS), "so does another target_recall");
	r = recall_result((*c)->recall, 0);
	ok(ef_of(*c, 10) == r.ef && r.is_met, "it is %u", r.ef);
	test_repaired(s, *c);
	return reopen(s, dir, &by_hand, c);
}

/* ---- beside writers ---- */

static _Atomic bool is_over;

struct writer {
	struct store *s;
	struct collection *c;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	char id[16];

	/* So many that some half of the rows are replaced. */
	for (unsigned i = 0; i < ROWS && !atomic_load(&is_over); i++) {
		snprintf(id, sizeof(id), "%u", i % 3000);
		must(sk_put(w->s, w->c,
			     (struct sk_put){id, 900000 + i, DIM, 0}) == 0);
		if (i % 3 == 0)
			must(sk_del(w->s, w->c, id) == 0);
	}
	return NULL;
}

static void test_beside(struct store *s, struct collection *c)
{
	struct writer w = {s, c};
	double least = 1;
	pthread_t thread;

	must(sk_config(s, c, "target_recall", ".95") == 0);
	sk_wait_linked(s);
	must(pthread_create(&thread, NULL, writer_main, &w) == 0);
	for (unsigned i = 0; i < 5; i++) {
		struct recall_result r;

		int rc;

		ask(s, c, 100, 10);
		rc = store_tune(s, c);
		must(rc == 0 || rc == -EBUSY);
		r = recall_result(c->recall, 0);
		if (r.is_set)
			least = VG_MIN(least, r.estimate.low);
	}
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
	sk_wait_linked(s);
	must(store_tune(s, c) == 0);
	ok(recall_result(c->recall, 0).is_set && least >= .95,
		"writers beside it falsify nothing: %.4f", least);
	ok(recall_of(s, c, 200, 10) >= .93, "nor what is found afterwards: %.4f",
		recall_of(s, c, 200, 10));
	sk_is_sound(s);
}

/* ---- what cannot be met, or need not be ---- */

/* Rows along one line, the farther the longer: under ip few are anybody's
 * neighbours, and a walk does not come to all of them. */
static void test_poor(struct store *s)
{
	struct collection *c = sk_make(s, "poor");
	struct search_hit hits[10];
	struct recall_result r;
	float vec[2];
	char id[16];
	uint32_t n;

	must(sk_config(s, c, "metric", "ip") == 0);
	must(sk_config(s, c, "m", "2") == 0);
	must(sk_config(s, c, "ef_construction", "1") == 0);
	for (unsigned i = 0; i < 30000; i++) {
		struct change ch = {.type = OP_PUT, .coll = c, .vec = vec,
			.dim = 2, .source = OP_SOURCE_RAW, .body_len = 8};

		snprintf(id, sizeof(id), "%u", i);
		ch.id = sk_id(id);
		vec[0] = (i % 2 ? 1.0f : -1.0f) * (float)(1 + i % 977);
		vec[1] = (float)(i % 7) - 3;
		must(sk_run(s, &ch) == 0);
	}
	sk_wait_linked(s);
	for (unsigned i = 0; i < 400; i++) {
		struct search q = {.vec = vec, .dim = 2, .k = 10};

		vec[0] = i % 2 ? 1 : -1;
		vec[1] = (float)(i % 29) / 100 + .001f * (float)i;
		must(sk_search(s, c, &q, hits, &n) == 0);
	}
	must(store_tune(s, c) == 0);
	r = recall_result(c->recall, 0);
	ok(r.is_set && !r.is_met && r.estimate.low < .99,
		"a graph that does not find enough is said not to: %.4f to "
		"%.4f with ef %u", r.estimate.low, r.estimate.high, r.ef);
	collection_unref(c);
}

static void test_small(struct store *s)
{
	struct collection *c = sk_make(s, "small");

	put_rows(s, c, 0, 700);
	sk_wait_linked(s);
	ask(s, c, 100, 10);
	ok(samples_of(c, 0).n == 0 && store_tune(s, c) == 0 &&
			ef_of(c, 10) == 100,
		"where all rows are compared nothing is sampled");
	must(sk_config(s, c, "index", "flat") == 0);
	must(store_compact(s, c) == 0);
	ok(store_tune(s, c) == -EAGAIN, "nor is anything measured of a flat one");
	collection_unref(c);
}

static uint32_t learnt_from(struct collection *c)
{
	return tune_state(c).n_learnt;
}

static bool is_learning(struct store *s, struct collection *c)
{
	struct generation *g = collection_gen(c);
	bool is = indexer_is_learning(&s->indexer, atomic_load(&g->cell));

	generation_unref(g);
	return is;
}

static void wait_learnt(struct store *s, struct collection *c, uint32_t least)
{
	struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned i = 0; i < 24000 &&
		(learnt_from(c) < least || is_learning(s, c)); i++)
		nanosleep(&pause, NULL);
	must(learnt_from(c) >= least);
}

/* nprobe= is a search of its own settings. */
static void ask_lists(struct store *s, struct collection *c, uint32_t nprobe)
{
	struct search_hit hits[10];
	float vec[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(700000, DIM, vec), .dim = DIM, .k = 10,
		.nprobe = nprobe};
	uint32_t n;

	must(sk_search(s, c, &q, hits, &n) == 0 && n == 10);
}

/* Lists are tuned as a graph is, each time that they are learnt. */
static void test_lists(struct store *s)
{
	struct collection *c = sk_make(s, "lists");
	struct recall_state now;
	struct recall_result r;
	uint32_t from;
	double truth;

	must(sk_config(s, c, "metric", "l2") == 0);
	must(sk_config(s, c, "index", "ivf_pq") == 0);
	put_rows(s, c, 0, 3000);
	sk_wait_linked(s);
	ask(s, c, 100, 10);
	ok(samples_of(c, 0).n == 0 && store_tune(s, c) == -EAGAIN &&
			ef_of(c, 10) == 100,
		"until lists are learnt nothing is sampled, nor tuned");
	put_rows(s, c, 3000, IVF_TRAIN + 100);
	sk_wait_linked(s);
	wait_learnt(s, c, IVF_TRAIN);
	ask_lists(s, c, 3);
	ok(samples_of(c, 0).n == 0, "nor then who says nprobe");
	ask(s, c, QUERIES, 10);
	must(store_tune(s, c) == 0);
	r = recall_result(c->recall, 0);
	truth = recall_of(s, c, QUERIES, 10);
	ok(r.is_set && r.is_met && r.ef == ef_of(c, 10) &&
			r.estimate.low >= .99 && truth >= .985,
		"ef %u of lists: %.4f, from %.4f to %.4f", r.ef, truth,
		r.estimate.low, r.estimate.high);
	must(sk_config(s, c, "target_recall", ".7") == 0);
	must(store_tune(s, c) == 0);
	truth = recall_of(s, c, QUERIES, 10);
	ok(ef_of(c, 10) < r.ef && truth >= .65, ".7 needs less: ef %u, %.4f",
		ef_of(c, 10), truth);
	from = learnt_from(c);
	r = recall_result(c->recall, 0);
	put_rows(s, c, IVF_TRAIN + 100, IVF_GROWTH * from + 100);
	sk_wait_linked(s);
	wait_learnt(s, c, from + 1);
	now = tune_state(c);
	ok(!tune_is_current(&r, &now), "lists learnt anew are others");
	must(store_tune(s, c) == 0);
	r = recall_result(c->recall, 0);
	truth = recall_of(s, c, QUERIES, 10);
	ok(tune_is_current(&r, &now) && r.is_met && truth >= .65,
		"they are measured, too: ef %u, %.4f", r.ef, truth);
	collection_unref(c);
}

int main(void)
{
	const char *dir = scratch_path("store");
	struct store *s = sk_open(dir, &by_hand);
	struct collection *c = make(s, "c");

	plan(3 + 1 + 7 + 3 + 2 + 3 + 5 + 3 + 1 + 2 + 6);
	test_samples(s, c);
	test_few(s, c);
	test_choice(s, c);
	test_written(s, c);
	test_classes(s, c);
	test_changes(s, c);
	s = test_restart(s, dir, &c);
	test_beside(s, c);
	test_poor(s);
	test_small(s);
	test_lists(s);
	collection_unref(c);
	store_close(s);
	return done();
}
