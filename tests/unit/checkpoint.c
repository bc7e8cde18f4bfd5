/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint: what was checkpointed is there without the log that made it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static char dir_name[4][160];

static const char *dir_of(int i, const char *name)
{
	snprintf(dir_name[i], sizeof(dir_name[i]), "%s/%s", scratch(), name);
	return dir_name[i];
}

static struct store *open_dir(const char *dir, const struct store_config *base,
	struct store_report *rep)
{
	struct store_config cfg = *base;
	struct store *s = NULL;

	cfg.dir = dir;
	if (store_open(&cfg, rep, &s) < 0)
		diag("%s", rep->error);
	return s;
}

/* ---- a clean restart ---- */

static void test_clean(void)
{
	const struct store_config cfg = {.durability = STORE_FSYNC};
	const char *dir = dir_of(0, "clean");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &cfg);
	struct collection *c = sk_make(s, "c");
	struct entry_info info;
	struct store_report rep;
	unsigned wrong = 0;

	for (unsigned i = 0; i < 500; i++)
		wrong += !sk_step(&m, s, c);
	must(wrong == 0);
	collection_unref(sk_make(s, "empty"));
	must(sk_run(s, &(struct change){.type = OP_ALIAS,
				.name = sk_id("link"),
				.target = sk_id("c")}) == 0);
	collection_unref(c);
	store_close(s);
	s = open_dir(dir, &cfg, &rep);
	must(s);
	ok(rep.manifest > 0 && rep.replayed == 0,
		"a store that was closed opens from its checkpoint alone");
	c = sk_get(s, "c");
	ok(c && sk_is_model(&m, s, c), "and holds what it held");
	sk_is_sound(s);
	collection_unref(c);
	c = sk_get(s, "empty");
	ok(c && atomic_load(&c->n_live) == 0, "an empty collection is there");
	collection_unref(c);
	ok(catalogue_get(store_catalogue(s), sk_id("link"), &info) == 0 &&
			!info.coll && info.target_len == 1,
		"and a link");
	store_close(s);
	s = open_dir(dir, &cfg, &rep);
	ok(s && rep.manifest == 1, "closing what did not change writes nothing");
	store_close(s);
}

/* ---- a crash behind a checkpoint ---- */

static void test_crash(void)
{
	const struct store_config cfg = {.durability = STORE_FSYNC};
	const char *dir = dir_of(0, "crash"), *copy = dir_of(1, "crash.copy");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &cfg);
	struct collection *c = sk_make(s, "c");
	unsigned differs = 0, unsound = 0, replayed = 0;

	for (unsigned round = 0; round < 12; round++) {
		struct sk_model then;
		struct store_report rep;
		struct store *t;
		struct collection *d;
		const char *why;

		for (unsigned i = 0; i < 60; i++)
			must(sk_step(&m, s, c));
		must(store_checkpoint(s, round % 2) == 0);
		for (unsigned i = 0; i < 20; i++)
			must(sk_step(&m, s, c));
		then = m;
		sk_copy(dir, copy);
		t = open_dir(copy, &cfg, &rep);
		must(t);
		replayed += rep.replayed > 20;
		d = sk_get(t, "c");
		differs += !d || !sk_is_model(&m, t, d);
		for (unsigned i = 0; i < 3; i++)
			must(sk_step(&then, t, d));
		differs += !sk_is_model(&then, t, d);
		unsound += store_check(t, &why) != 0;
		collection_unref(d);
		store_close(t);
	}
	ok(differs == 0, "a crash behind each of 12 checkpoints loses nothing");
	ok(unsound == 0, "and what comes up is sound, and takes changes");
	ok(replayed == 0, "having read only what was logged since");
	collection_unref(c);
	store_close(s);
}

/* ---- many lives, checkpoints all the time ---- */

static void test_lives(void)
{
	const struct store_config cfg = {.durability = STORE_FSYNC,
		.segment_size = 4096,
		.checkpoint_bytes = 2000,
		.has_grace = true};
	const char *dir = dir_of(0, "lives");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &cfg);
	struct collection *c = sk_make(s, "c");
	unsigned wrong = 0, differs = 0;
	struct stat st;
	char path[240];

	for (unsigned life = 0; life < 10; life++) {
		for (unsigned i = 0; i < 300; i++)
			wrong += !sk_step(&m, s, c);
		differs += !sk_is_model(&m, s, c);
		collection_unref(c);
		store_close(s);
		s = sk_open(dir, &cfg);
		c = sk_get(s, "c");
		must(c);
		differs += !sk_is_model(&m, s, c);
	}
	ok(wrong == 0, "every change beside checkpoints is answered rightly");
	ok(differs == 0, "in each of 10 lives the state is the model's");
	sk_is_sound(s);
	must(store_checkpoint(s, true) == 0);
	snprintf(path, sizeof(path), "%s/wal/0001.wal", dir);
	ok(stat(path, &st) < 0 && errno == ENOENT,
		"and the log's begin is gone");
	snprintf(path, sizeof(path), "%s/MANIFEST.1", dir);
	ok(stat(path, &st) < 0 && errno == ENOENT,
		"with the manifests that needed it");
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	plan(14);
	test_clean();
	test_crash();
	test_lives();
	return done();
}
