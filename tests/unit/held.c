/* SPDX-License-Identifier: Apache-2.0 */
/* held: what open files show is in checkpoints for as long as they are open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static const struct store_config plain = {
	.durability = STORE_FSYNC, .no_compaction = true, .has_grace = true};

static char copy[220]; /* a directory, as kill -9 leaves it */

/* What a kill now leaves of the store in dir. */
static void kill_now(const char *dir)
{
	static unsigned n;
	char to[220];

	snprintf(to, sizeof(to), "%.200s.%u", dir, n++);
	sk_copy(dir, to);
	memcpy(copy, to, sizeof(to));
}

static float number(const struct version *v)
{
	return *(const float *)version_vec(v);
}

/* The value of a's vector in the generation, which m sees there; -1: none. */
static float value_in(const struct generation *g, const struct moment *m)
{
	uint32_t no = generation_find(g, sk_id("a"), m);

	return no == VERSION_NONE ? -1 : number(generation_version(g, no));
}

static float value_of(unsigned n)
{
	float v[SK_DIM_MAX];

	return sk_vec(n, 4, v)[0];
}

static void put(struct store *s, struct collection *c, unsigned n)
{
	must(sk_put(s, c, (struct sk_put){"a", n, 4, 0}) == 0);
}

/* The generations that the newest manifest of dir has. */
static uint32_t n_saved(struct store *s)
{
	struct manifest m;
	uint32_t n;

	must(manifest_load(s->io, s->dirfd, s->checkpoint.number, &m) == 0);
	n = m.n_colls;
	manifest_fini(&m);
	return n;
}

/* Whether the store still finds a generation by its number. */
static bool is_there(struct store *s, uint32_t no)
{
	struct generation *g = catalogue_find_gen(store_catalogue(s), no);

	generation_unref(g);
	return g;
}

/* A look at value 1, held, behind which 2 was put and a compaction went. */
static void look_behind(struct store *s, struct collection *c,
	struct look *look)
{
	put(s, c, 1);
	look_init(look, c, store_moments(s));
	look_hold(look);
	put(s, c, 2);
	must(store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
}

static void test_kept(void)
{
	const char *dir = scratch_path("kept");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	struct generation *g;
	struct hold hold = {0};
	struct moment then;
	struct look look;
	uint32_t no;

	look_behind(s, c, &look);
	no = look.gen->no;
	memcpy(&then.seq, &look.moment->seq, sizeof(then.seq));
	ok(n_saved(s) == 2, "a generation that was replaced is saved, too");
	kill_now(dir);
	look_fini(&look);
	collection_unref(c);
	store_close(s);

	s = sk_open(copy, &plain);
	c = sk_get(s, "c");
	g = catalogue_find_gen(store_catalogue(s), no);
	ok(g && g != c->gen && value_in(g, &then) == value_of(1),
		"after a kill it is there, and shows what it showed");
	put(s, c, 3);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 2, "until somebody has looked for it");
	hold_init(&hold, g, VERSION_NONE);
	store_settle(s);
	must(store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 2 && value_in(g, &then) == value_of(1),
		"who holds it then has it over another compaction");
	sk_is_sound(s);
	kill_now(copy);
	hold_fini(&hold);
	generation_unref(g);
	must(store_checkpoint(s, false) == 0);
	ok(n_saved(s) == 1 && !is_there(s, no),
		"what is let go leaves the next manifest, without a change");
	collection_unref(c);
	store_close(s);

	s = sk_open(copy, &plain);
	c = sk_get(s, "c");
	ok(is_there(s, no), "a second kill leaves it, too");
	store_settle(s);
	ok(!is_there(s, no), "which goes when nobody wanted it");
	must(store_checkpoint(s, false) == 0);
	ok(n_saved(s) == 1, "and its files with the next manifest");
	collection_unref(c);
	store_close(s);
}

/* The files of what a manifest left out may be gone: no later one names it. */
static void test_left(void)
{
	const char *dir = scratch_path("left");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	struct generation *g;
	struct hold hold = {0};

	put(s, c, 1);
	must(store_checkpoint(s, true) == 0);
	g = collection_gen(c);
	put(s, c, 2);
	must(store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
	hold_init(&hold, g, VERSION_NONE);
	put(s, c, 3);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 1, "what was not held in time is not saved again");
	hold_fini(&hold);
	generation_unref(g);
	collection_unref(c);
	store_close(s);
}

/* Who holds a version holds what a compaction carried it to, and only once it
 * has ended what a compaction left behind. */
static void test_version(void)
{
	const char *dir = scratch_path("version");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	struct hold hold = {0}, late = {0};
	struct generation *first, *last;
	uint32_t no;

	put(s, c, 1);
	first = collection_gen(c);
	no = sk_find(s, c, "a");
	hold_init(&hold, first, no);
	must(store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
	hold_init(&late, first, no);
	ok(n_saved(s) == 1 && hold.gen == c->gen && late.gen == c->gen &&
			late.version == hold.version,
		"a version that was carried over is held where it is now");
	generation_unref(first);
	put(s, c, 2);
	must(store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
	last = collection_gen(c);
	ok(n_saved(s) == 2 && hold.gen != last &&
			number(generation_version(
				hold.gen, hold.version)) == value_of(1),
		"one that ended is held where it was the last time");
	must(store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 2, "over further compactions");
	generation_unref(last);
	hold_fini(&hold);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 2, "until all who hold it");
	hold_fini(&late);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 1, "have let it go");
	collection_unref(c);
	store_close(s);
}

/* A snapshot's generation is held by an open file when the snapshot goes. */
static void test_snap(void)
{
	const char *dir = scratch_path("snap");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	struct generation *g;
	struct hold hold = {0};

	put(s, c, 1);
	must(sk_snap(s, c, "then") == 0);
	g = collection_gen(c);
	hold_init(&hold, g, VERSION_NONE);
	put(s, c, 2);
	must(store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
	must(sk_unsnap(s, c, "then") == 0);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 2, "what a removed snapshot showed stays while held");
	hold_fini(&hold);
	generation_unref(g);
	must(store_checkpoint(s, true) == 0);
	ok(n_saved(s) == 1, "and then goes");
	collection_unref(c);
	store_close(s);
}

/* Files that are there for open files alone refuse no mount. */
static void test_damaged(void)
{
	const char *dir = scratch_path("damaged");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	struct manifest m;
	struct look look, now;
	char path[600], sub[33];
	uint32_t no;

	look_behind(s, c, &look);
	no = look.gen->no;
	must(manifest_load(s->io, s->dirfd, s->checkpoint.number, &m) == 0);
	must(m.n_colls == 2 && m.coll[1].gen == no);
	manifest_dir_format(c->uuid, sub);
	kill_now(dir);
	snprintf(path, sizeof(path), "%s/c/%s/version.%04u", copy, sub,
		m.coll[1].version.part[0].number);
	manifest_fini(&m);
	look_fini(&look);
	collection_unref(c);
	store_close(s);

	must(unlink(path) == 0);
	s = sk_open(copy, &plain);
	c = sk_get(s, "c");
	ok(!is_there(s, no), "without its files it is lost");
	look_init(&now, c, store_moments(s));
	ok(value_in(now.gen, now.moment) == value_of(2),
		"and the present is there");
	look_fini(&now);
	collection_unref(c);
	store_close(s);
}

/* A kill undoes a compaction; no generation after it is called as that was. */
static void test_numbers(void)
{
	const char *dir = scratch_path("numbers");
	_Atomic uint32_t next_gen = 0;
	struct store_config cfg = plain;
	struct collection *c;
	struct store *s;
	uint32_t no;

	cfg.next_gen = &next_gen;
	s = sk_open(dir, &cfg);
	c = sk_make(s, "c");
	put(s, c, 1);
	must(store_compact(s, c) == 0);
	no = c->gen->no;
	kill_now(dir);
	collection_unref(c);
	store_close(s);

	s = sk_open(copy, &cfg);
	c = sk_get(s, "c");
	must(store_compact(s, c) == 0);
	ok(c->gen->no > no, "a number that was given is not given again");
	collection_unref(c);
	store_close(s);
}

static uint64_t n_compactions(struct store *s)
{
	struct store_stat st;

	store_stat(s, &st);
	return st.compactions;
}

/* What open files show may be in the newest generation that there is. */
static void test_settle(void)
{
	const struct timespec tenth = {.tv_nsec = 100000000};
	struct store_config cfg = {
		.durability = STORE_ASYNC, .will_settle = true};
	struct store *s = sk_open(scratch_path("settle"), &cfg);
	struct collection *c = sk_make(s, "c");

	for (unsigned i = 0; i < COMPACT_MIN + 10; i++)
		put(s, c, i);
	for (unsigned i = 0; i < 25; i++)
		nanosleep(&tenth, NULL);
	ok(n_compactions(s) == 0, "nothing is compacted before it is settled");
	store_settle(s);
	for (unsigned i = 0; i < 300 && n_compactions(s) == 0; i++)
		nanosleep(&tenth, NULL);
	ok(n_compactions(s) == 1, "and then what is due");
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	plan(22);
	test_version();
	test_numbers();
	test_settle();
	test_kept();
	test_left();
	test_snap();
	test_damaged();
	return done();
}
