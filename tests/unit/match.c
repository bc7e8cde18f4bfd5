/* SPDX-License-Identifier: Apache-2.0 */
/* match: what a filter means is found once while nothing changes, and is never old. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/log.h"
#include "src/match.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static const struct store_config config = {.durability = STORE_ASYNC,
	.no_compaction = true,
	.indexers = 1};

static struct filter *where(const char *text)
{
	struct filter_why why;
	struct filter *f;

	must(filter_parse_where(text, strlen(text), &why, &f) == 0);
	return f;
}

/* Whether m is what filter means of what look shows: by version, by count, and
 * by slot. */
static bool is_right(
	const struct look *look, const struct filter *f, struct match *m)
{
	const uint32_t *slots;
	uint32_t n, at = 0, count = 0;
	bool is = match_slots(m, &slots, &n) == 0;

	for (uint32_t no = generation_next(look->gen, 0, look->moment);
		no != VERSION_NONE;
		no = generation_next(look->gen, no + 1, look->moment)) {
		const struct version *v = generation_version(look->gen, no);
		bool is_meant = filter_matches(f, version_meta(v)) > 0;

		is = is && match_has(m, no) == is_meant;
		count += is_meant;
		if (!is_meant || v->cell != look->cell)
			continue;
		is = is && at < n && slots[at] == v->slot;
		at++;
	}
	return is && at == n && match_count(m) == count;
}

/* The match of text in look, which must be right; the caller's. */
static struct match *ask(const struct look *look, const char *text)
{
	struct filter *f = where(text);
	struct match *m;

	must(match_new(look, f, &m) == 0);
	if (!is_right(look, f, m)) {
		diag("what '%s' means is wrong", text);
		match_free(m);
		m = NULL;
	}
	filter_free(f);
	return m;
}

/* The same in a look of its own; only to be compared. */
static struct match *see(struct store *s, struct collection *c, const char *text)
{
	struct look look;
	struct match *m;

	look_init(&look, c, store_moments(s));
	m = ask(&look, text);
	match_free(m);
	look_fini(&look);
	return m;
}

/* ---- what is shared ---- */

static void test_shared(struct store *s, struct collection *c,
	struct collection *other)
{
	struct look look;
	struct match *m, *many[8];
	char text[40];
	unsigned same = 0;

	look_init(&look, c, store_moments(s));
	m = ask(&look, "y.gte=100 and y.lt=900");
	ok(m && see(s, c, "y.lt=900 and y.gte=100.0") == m,
		"who asks the same again gets the same");
	ok(see(s, c, "y.gte=100 and y.lt=901") != m, "and else not");
	must(sk_put(s, other, (struct sk_put){"1", 1, SK_DIM, 0}) == 0);
	ok(see(s, c, "y.lt=900 and y.gte=100") == m,
		"also when another collection changed");
	for (unsigned i = 0; i < VG_ARRAY_LEN(many); i++) {
		snprintf(text, sizeof(text), "y.lt=%u", i);
		many[i] = ask(&look, text);
	}
	for (unsigned i = 0; i < VG_ARRAY_LEN(many); i++) {
		snprintf(text, sizeof(text), "y.lt=%u", i);
		same += see(s, c, text) == many[i];
	}
	ok(same == VG_ARRAY_LEN(many), "of the last eight");
	ok(see(s, c, "y.lt=900 and y.gte=100") != m,
		"but of no more: who still has it keeps it alone");
	for (unsigned i = 0; i < VG_ARRAY_LEN(many); i++)
		match_free(many[i]);
	match_free(m);
	look_fini(&look);
}

/* One change of each kind, with what was shared before still held. */
static void test_changes(struct store *s, struct collection *c)
{
	static const char *const what[] = {"a new record", "new metadata",
		"a new vector", "a new name", "a deletion"};

	for (unsigned i = 0; i < VG_ARRAY_LEN(what); i++) {
		struct look old, new;
		struct match *m, *mine, *next;
		int rc;

		look_init(&old, c, store_moments(s));
		m = ask(&old, "y.exists=0 or y.gte=300");
		rc = i == 0   ? sk_put(s, c, (struct sk_put){"new", 77, SK_DIM, 0})
		     : i == 1 ? sk_meta(s, c, "new", CHANGE_META_MERGE,
					"{\"y\":12}")
		     : i == 2 ? sk_put(s, c, (struct sk_put){"new", 78, SK_DIM, 0})
		     : i == 3 ? sk_rename(s, c, "new", "renamed")
			      : sk_del(s, c, "renamed");
		must(rc == 0);
		look_init(&new, c, store_moments(s));
		mine = ask(&old, "y.exists=0 or y.gte=300");
		next = ask(&new, "y.exists=0 or y.gte=300");
		ok(m && mine && next && next != m && mine != next &&
				see(s, c, "y.exists=0 or y.gte=300") == next,
			"%s is seen by who looks then, and by no one before",
			what[i]);
		match_free(m);
		match_free(mine);
		match_free(next);
		look_fini(&old);
		look_fini(&new);
	}
}

static void test_snapshot(struct store *s, struct collection *c)
{
	struct collection *snap;
	struct match *m, *present;
	struct look look;

	must(sk_snap(s, c, "then") == 0);
	snap = collection_find_snap(c, sk_id("then"));
	look_init(&look, snap, store_moments(s));
	m = ask(&look, "y.gte=1");
	present = see(s, c, "y.gte=1");
	must(sk_put(s, c, (struct sk_put){"more", 80, SK_DIM, 0}) == 0 &&
		sk_meta(s, c, "more", CHANGE_META_MERGE, "{\"y\":5}") == 0);
	ok(m && present && present != m && see(s, snap, "y.gte=1") == m,
		"a snapshot shares its own, whatever becomes of the present");
	match_free(m);
	look_fini(&look);
	collection_unref(snap);
	must(sk_unsnap(s, c, "then") == 0);
}

/* ---- beside writers ---- */

struct reader {
	pthread_t thread;
	struct store *s;
	struct collection *c;
	unsigned asked, wrong;
};

static _Atomic bool is_over;

static void *read_on(void *arg)
{
	static const char *const texts[] = {"y.gte=100", "not y.gte=100",
		"y.exists=1", "y.lt=500 and y.gt=20"};
	struct reader *r = arg;

	while (!atomic_load(&is_over) || r->asked < 20) {
		const char *text = texts[r->asked++ % VG_ARRAY_LEN(texts)];
		struct match *m[2];
		struct look look;

		look_init(&look, r->c, store_moments(r->s));
		for (unsigned i = 0; i < 2; i++) {
			m[i] = ask(&look, text);
			r->wrong += !m[i];
		}
		match_free(m[0]);
		match_free(m[1]);
		look_fini(&look);
	}
	return NULL;
}

static void test_threads(struct store *s, struct collection *c,
	struct sk_model *m)
{
	struct reader of[3];
	unsigned wrong = 0, asked = 0;

	for (size_t i = 0; i < VG_ARRAY_LEN(of); i++) {
		of[i] = (struct reader){.s = s, .c = c};
		must(pthread_create(&of[i].thread, NULL, read_on, &of[i]) == 0);
	}
	for (unsigned i = 0; i < 600; i++) {
		must(sk_step(m, s, c));
		if (i % 200 == 100)
			must(store_compact(s, c) == 0);
	}
	atomic_store(&is_over, true);
	for (size_t i = 0; i < VG_ARRAY_LEN(of); i++) {
		pthread_join(of[i].thread, NULL);
		wrong += of[i].wrong;
		asked += of[i].asked;
	}
	ok(wrong == 0, "beside a writer and compactions all are right (%u)",
		asked);
}

int main(void)
{
	struct sk_model m = {.random = seed() * 2 + 1};
	struct collection *c, *other;
	char dir[200];
	struct store *s;

	plan(5 + 5 + 1 + 1);
	log_level_set(LOG_ERR);
	snprintf(dir, sizeof(dir), "%s/store", scratch());
	s = sk_open(dir, &config);
	c = sk_make(s, "c");
	other = sk_make(s, "other");
	for (unsigned i = 0; i < 200; i++)
		must(sk_step(&m, s, c));
	test_shared(s, c, other);
	test_changes(s, c);
	test_snapshot(s, c);
	must(sk_del(s, c, "more") == 0);
	test_threads(s, c, &m);
	collection_unref(other);
	collection_unref(c);
	store_close(s);
	return done();
}
