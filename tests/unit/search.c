/* SPDX-License-Identifier: Apache-2.0 */
/* search: the graph's answer and the tail's, against a scan of a model. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/collapse.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 6

/* ---- the model's answer ---- */

#define MODEL_MAX 700
struct known {
	char id[12];
	unsigned n; /* of its vector */
	bool exists;
};

struct row {
	double dist;
	const char *id;
};

static double l2(const float *a, const float *b)
{
	double sum = 0;

	for (unsigned i = 0; i < DIM; i++)
		sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
	return sqrt(sum);
}

static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->dist != y->dist)
		return x->dist < y->dist ? -1 : 1;
	return strcmp(x->id, y->id);
}

static unsigned expected(const struct known *e, unsigned n, const float *q,
	const char *leave_out, struct row *out)
{
	unsigned k = 0;
	float v[SK_DIM_MAX];

	for (unsigned i = 0; i < n; i++)
		if (e[i].exists && strcmp(e[i].id, leave_out))
			out[k++] = (struct row){
				l2(sk_vec(e[i].n, DIM, v), q), e[i].id};
	qsort(out, k, sizeof(*out), compare);
	return k;
}

/* How many of the best k the store does not give at their place. */
static unsigned n_wrong(struct store *s, struct collection *c,
	const struct known *e, unsigned n, struct search *q)
{
	static struct row want[MODEL_MAX];
	static struct search_hit hits[VG_K_MAX + 1];
	char leave_out[VG_ID_MAX + 1];
	uint32_t found;
	unsigned wrong = 0, exist;

	snprintf(leave_out, sizeof(leave_out), "%s",
		q->n_leave_out ? q->leave_out->bytes : "");
	exist = expected(e, n, q->vec, leave_out, want);
	if (sk_search(s, c, q, hits, &found) < 0 ||
		found != VG_MIN(exist, q->k))
		return VG_K_MAX;
	for (uint32_t i = 0; i < found; i++) {
		struct vg_id id = version_id(hits[i].version);

		wrong += id.len != strlen(want[i].id) ||
			 memcmp(id.bytes, want[i].id, id.len) != 0 ||
			 fabs(hits[i].dist - want[i].dist) > 1e-5;
	}
	return wrong;
}

static struct collection *make_l2(struct store *s, const char *name)
{
	struct collection *c = sk_make(s, name);

	must(sk_config(s, c, "metric", "l2") == 0);
	return c;
}

/* Exact and graph answers, right after each of many changes: rows are pending,
 * linked and skipped in every mixture. The graph is asked with an ef beyond
 * the count of rows, which makes it exact. */
static void test_mixture(struct store *s)
{
	struct collection *c = make_l2(s, "mixture");
	const struct vg_id e7 = sk_id("e7");
	static struct known e[200];
	struct sk_model dice = {.random = seed() * 2 + 1};
	unsigned wrong[2] = {0}, fresh = 0, n = 0;
	float qv[SK_DIM_MAX];

	for (unsigned step = 0; step < 1500; step++) {
		unsigned i = sk_draw(&dice, 200), what = sk_draw(&dice, 10);
		struct search q = {.vec = qv, .dim = DIM,
			.k = 1 + sk_draw(&dice, 20), .ef = 5000,
			.exact = step % 2};

		snprintf(e[i].id, sizeof(e[i].id), "e%u", i);
		if (what < 7) {
			e[i].n = n++;
			e[i].exists = true;
			must(sk_put(s, c, (struct sk_put){e[i].id, e[i].n, DIM,
						   0}) == 0);
			fresh += strcmp(sk_nearest(s, c, e[i].n, DIM, false),
					 e[i].id) != 0;
		} else if (e[i].exists) {
			e[i].exists = false;
			must(sk_del(s, c, e[i].id) == 0);
		}
		sk_vec(100000 + step, DIM, qv);
		q.leave_out = &e7;
		q.n_leave_out = sk_draw(&dice, 3) == 0;
		wrong[step % 2] += n_wrong(s, c, e, 200, &q) != 0;
	}
	ok(wrong[1] == 0, "exact answers equal the model's after each change");
	ok(wrong[0] == 0, "so do the graph's with the tail's");
	ok(fresh == 0, "and each row is found right after its commit");
	sk_wait_linked(s);
	wrong[0] = 0;
	for (unsigned i = 0; i < 200; i++) {
		struct search q = {.vec = sk_vec(200000 + i, DIM, qv),
			.dim = DIM, .k = 10, .ef = 5000};

		wrong[0] += n_wrong(s, c, e, 200, &q) != 0;
	}
	ok(wrong[0] == 0, "and when all is linked");
	sk_is_sound(s);
	collection_unref(c);
}

/* 300 records of 3 vectors: whichever k cuts through, the ids decide. */
static void test_ties(struct store *s)
{
	struct collection *c = make_l2(s, "ties");
	static struct known e[300];
	unsigned wrong = 0;
	float qv[SK_DIM_MAX];

	for (unsigned i = 0; i < 300; i++) {
		e[i] = (struct known){.n = i % 3, .exists = true};
		snprintf(e[i].id, sizeof(e[i].id), "t%u", i * 7919 % 300);
		must(sk_put(s, c,
			     (struct sk_put){e[i].id, e[i].n, DIM, 0}) == 0);
		if (i % 20 == 19)
			for (unsigned k = 1; k < 30; k++) {
				struct search q = {.vec = sk_vec(k % 3, DIM,
							   qv),
					.dim = DIM, .k = k, .ef = 3000,
					.exact = k % 2};

				wrong += n_wrong(s, c, e, i + 1, &q);
			}
	}
	ok(wrong == 0, "equal distances are ordered by id, also where k cuts");
	sk_wait_linked(s);
	for (unsigned k = 1; k <= 300; k += 13) {
		struct search q = {.vec = sk_vec(1, DIM, qv), .dim = DIM,
			.k = k, .ef = 3000};

		wrong += n_wrong(s, c, e, 300, &q);
	}
	ok(wrong == 0, "in the graph as well");
	collection_unref(c);
}

static void test_edges(struct store *s)
{
	struct collection *c = sk_make(s, "edges");
	static struct search_hit hits[VG_K_MAX + 1];
	float v[SK_DIM_MAX], zero[DIM] = {0};
	const struct vg_id ids[] = {sk_id("a"), sk_id("zz"), sk_id("b")};
	_Atomic bool cancel = true;
	struct search q = {.vec = sk_vec(1, DIM, v), .dim = DIM, .k = 5};
	uint64_t searches;
	uint32_t n = 77;

	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 0,
		"a collection without vectors answers with nothing");
	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	must(sk_put(s, c, (struct sk_put){"b", 2, DIM, 0}) == 0);
	searches = atomic_load(&c->searches);
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 2,
		"with fewer rows than k it gives what there is");
	ok(atomic_load(&c->searches) == searches + 1, "a search counts once");
	q.k = VG_K_MAX + 1;
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 2,
		"the largest k is taken");
	q.leave_out = ids;
	q.n_leave_out = 1;
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 1 &&
			version_id(hits[0].version).bytes[0] == 'b',
		"what is to be left out is");
	q.leave_out = ids + 1;
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 2,
		"leaving out what is not there changes nothing");
	q.leave_out = ids;
	q.n_leave_out = 3;
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 0,
		"several ids can be left out");
	q.n_leave_out = 0;
	q.dim = DIM - 1;
	ok(sk_search(s, c, &q, hits, &n) == -EINVAL,
		"another dimension is refused");
	q.dim = DIM;
	q.vec = zero;
	ok(sk_search(s, c, &q, hits, &n) == -EINVAL,
		"cosine refuses a zero vector");
	must(sk_del(s, c, "a") == 0 && sk_del(s, c, "b") == 0);
	q.vec = v;
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 0,
		"an emptied collection answers with nothing");
	must(sk_put(s, c, (struct sk_put){"c", 1, DIM, 0}) == 0);
	sk_wait_linked(s);
	q.cancel = &cancel;
	ok(sk_search(s, c, &q, hits, &n) == -EINTR,
		"a cancelled search ends with EINTR");
	q.exact = true;
	ok(sk_search(s, c, &q, hits, &n) == -EINTR, "an exact one, too");
	atomic_store(&cancel, false);
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 1,
		"and one that could be but is not gives its answer");
	collection_unref(c);
}

static uint64_t cost_of(
	struct store *s, struct collection *c, const struct search *q)
{
	struct look look;
	uint64_t cost;

	look_init(&look, c, store_moments(s));
	cost = store_search_cost(&look, q);
	look_fini(&look);
	return cost;
}

static void test_cost(struct store *s)
{
	struct collection *c = make_l2(s, "cost");
	struct search q = {.k = 10, .ef = 50}, exact = {.k = 10, .exact = true};
	char id[16];

	ok(cost_of(s, c, &q) == 0, "an empty collection costs nothing");
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
	}
	sk_wait_linked(s);
	ok(cost_of(s, c, &exact) == 3000 * DIM * 4,
		"an exact search reads every row");
	ok(cost_of(s, c, &q) < cost_of(s, c, &exact),
		"the graph's less");
	q.ef = 100000;
	ok(cost_of(s, c, &q) <= cost_of(s, c, &exact),
		"and never more");
	collection_unref(c);
}

/* ---- groups ---- */

#define GROUPS 23

/* Record i's group: most are of group 0; GROUPS - 1 has no metadata at all. */
static unsigned group_of(unsigned i)
{
	return i % 40 < GROUPS && i % 3 == 0 ? i % 40 : 0;
}

/* How many of the groups' nearest, over the records that exist, a search gives
 * otherwise than the model. */
static unsigned n_groups_wrong(struct store *s, const struct look *look,
	const struct known *e, unsigned n, const struct search *q)
{
	static struct row want[MODEL_MAX];
	static struct search_hit hits[VG_K_MAX];
	bool seen[GROUPS] = {false};
	unsigned exist = expected(e, n, q->vec, "", want), wrong = 0, at = 0;
	uint32_t found;

	if (store_search(s, look, q, hits, &found) < 0)
		return GROUPS;
	for (unsigned i = 0; i < exist && at < q->k; i++) {
		unsigned g = group_of((unsigned)atoi(want[i].id));

		if (seen[g])
			continue;
		seen[g] = true;
		if (at < found) {
			struct vg_id id = version_id(hits[at].version);

			wrong += id.len != strlen(want[i].id) ||
				 memcmp(id.bytes, want[i].id, id.len) != 0;
		}
		at++;
	}
	return wrong + (at != found);
}

static void test_groups(struct store *s)
{
	struct collection *c = make_l2(s, "groups");
	static struct known e[MODEL_MAX];
	const struct vg_id field = {"y", 1};
	struct collapse_groups groups;
	unsigned wrong[2] = {0}, members = 0;
	_Atomic bool cancel = true;
	struct collapse *collapse;
	float v[SK_DIM_MAX];
	struct look look;
	uint64_t searches;
	char json[32];
	uint32_t n;

	for (unsigned i = 0; i < MODEL_MAX; i++) {
		e[i] = (struct known){.n = i, .exists = true};
		snprintf(e[i].id, sizeof(e[i].id), "%u", i);
		snprintf(json, sizeof(json), "{\"y\":%u}", group_of(i));
		must(sk_put(s, c, (struct sk_put){e[i].id, i, DIM, 0}) == 0);
		if (group_of(i) < GROUPS - 1)
			must(sk_meta(s, c, e[i].id, CHANGE_META_MERGE, json) ==
				0);
	}
	for (unsigned i = 0; i < MODEL_MAX; i += 7) {
		e[i].exists = false;
		must(sk_del(s, c, e[i].id) == 0);
	}
	look_init(&look, c, store_moments(s));
	must(collapse_new(&look, NULL, field, &collapse) == 0);
	struct search q = {.vec = sk_vec(1, DIM, v), .dim = DIM, .k = 5,
		.ef = 5000, .collapse = collapse, .cancel = &cancel};
	struct search_hit hit[5];

	ok(store_search(s, &look, &q, hit, &n) == -EINTR &&
			collapse_get(collapse, &cancel, &groups) == -EINTR,
		"a cancelled search for groups ends with EINTR");
	q.cancel = NULL;
	searches = atomic_load(&c->searches);
	for (unsigned i = 0; i < 60; i++) {
		q.k = 1 + i % 30;
		q.exact = i % 2;
		q.vec = sk_vec(90000 + i, DIM, v);
		wrong[i % 2] += n_groups_wrong(s, &look, e, MODEL_MAX, &q);
	}
	ok(wrong[1] == 0, "of each group the nearest is found by a scan");
	ok(wrong[0] == 0, "and by the graph");
	ok(atomic_load(&c->searches) == searches + 60, "each counts once");
	ok(collapse_get(collapse, NULL, &groups) == 0 && groups.n == GROUPS,
		"a group is a value, and none is one as well");
	for (uint32_t g = 0; g < groups.n; g++)
		members += groups.begin[g + 1] - groups.begin[g];
	ok(members == MODEL_MAX - MODEL_MAX / 7 && groups.begin[0] == 0,
		"each record is in one");
	collapse_free(collapse);
	look_fini(&look);
	collection_unref(c);
}

/* ---- few are seen ---- */

/* A walk that begins among deleted rows gives up before it comes to the others;
 * deletes behind the look do not hide that from it. */
static void test_few(void)
{
	struct store_config cfg = {
		.durability = STORE_FSYNC, .no_compaction = true};
	struct store *s = sk_open(scratch_path("few"), &cfg);
	struct collection *c = make_l2(s, "c");
	float v[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(1, DIM, v), .dim = DIM, .k = 10,
		.ef = 10};
	struct search_hit hits[10];
	struct look look;
	char id[16];
	uint32_t n;

	for (unsigned i = 0; i < 3000 + 5; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
	}
	sk_wait_linked(s);
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_del(s, c, id) == 0);
	}
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 5,
		"five among three thousand deleted are found");
	look_init(&look, c, store_moments(s));
	for (unsigned i = 3000; i < 3005; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_del(s, c, id) == 0);
	}
	ok(store_search(s, &look, &q, hits, &n) == 0 && n == 5,
		"also by who looked before they were deleted");
	look_fini(&look);
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 0, "then none is");
	collection_unref(c);
	store_close(s);
}

/* ---- beside writers ---- */

static _Atomic bool is_over;

struct looker {
	struct store *s;
	struct collection *c;
	uint64_t looks, missed, failed;
	bool exact;
};

/* One record is always there. */
static void *looker_main(void *arg)
{
	struct looker *l = arg;
	float v[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(1, DIM, v), .dim = DIM, .k = 400,
		.ef = 500, .exact = l->exact};
	struct search_hit *hits = malloc(400 * sizeof(*hits));
	uint32_t n;

	must(hits);
	while (!atomic_load(&is_over)) {
		bool is_there = false;

		if (sk_search(l->s, l->c, &q, hits, &n) < 0) {
			l->failed++;
			continue;
		}
		for (uint32_t i = 0; i < n; i++)
			is_there |= version_id(hits[i].version).bytes[0] == '!';
		l->missed += !is_there;
		l->looks++;
	}
	free(hits);
	return NULL;
}

/* "!" is written again and again while others come and go: whatever slot it
 * has, pending, linked, or about to be skipped, every search finds it once. */
static void test_overwritten(void)
{
	struct store_config cfg = {.durability = STORE_FSYNC, .indexers = 2};
	struct store *s = sk_open(scratch_path("overwritten"), &cfg);
	struct collection *c = make_l2(s, "c");
	struct looker l[3];
	pthread_t threads[3];
	struct timespec from, at;
	unsigned n = 0;
	double ms = (double)env_long("VG_SOAK_MS", 1500);
	uint64_t missed = 0, failed = 0, looks = 0;

	must(sk_put(s, c, (struct sk_put){"!", 0, DIM, 0}) == 0);
	for (unsigned i = 0; i < 3; i++) {
		l[i] = (struct looker){.s = s, .c = c, .exact = i == 2};
		must(pthread_create(&threads[i], NULL, looker_main, &l[i]) ==
			0);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		char id[16];

		snprintf(id, sizeof(id), "o%u", n % 50);
		must(sk_put(s, c, (struct sk_put){"!", n, DIM, 0}) == 0);
		if (n % 5 == 0)
			must(sk_put(s, c, (struct sk_put){id, n, DIM, 0}) == 0);
		if (n % 9 == 0)
			sk_del(s, c, id);
		n++;
		clock_gettime(CLOCK_MONOTONIC, &at);
	} while ((double)(at.tv_sec - from.tv_sec) * 1e3 +
			(double)(at.tv_nsec - from.tv_nsec) / 1e6 <
		ms);
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		missed += l[i].missed;
		failed += l[i].failed;
		looks += l[i].looks;
	}
	ok(looks > 0 && missed == 0,
		"a record overwritten %u times is in each of %llu answers "
		"(missed in %llu)",
		n, (unsigned long long)looks, (unsigned long long)missed);
	ok(failed == 0, "and no search fails");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	struct store *s;

	plan(36);
	s = sk_open(scratch_path("data"),
		&(struct store_config){.durability = STORE_FSYNC});
	test_mixture(s);
	test_ties(s);
	test_edges(s);
	test_cost(s);
	test_groups(s);
	store_close(s);
	test_few();
	test_overwritten();
	return done();
}
