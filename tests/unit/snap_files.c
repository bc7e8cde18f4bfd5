/* SPDX-License-Identifier: Apache-2.0 */
/* snap_files: a past generation's files stay for its snapshots, and no longer. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/check.h"
#include "src/log.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static const struct store_config bare = {.durability = STORE_FSYNC,
	.no_compaction = true,
	.has_grace = true,
	.indexers = 1};
static const struct store_config graced = {.durability = STORE_FSYNC,
	.no_compaction = true,
	.indexers = 1};

static char dir_name[2][160];

static const char *dir_of(int i, const char *name)
{
	snprintf(dir_name[i], sizeof(dir_name[i]), "%s/%s", scratch(), name);
	return dir_name[i];
}

/* ---- what there is ---- */

/* Files in the only directory of c/ whose name begins so; path: that. */
static unsigned n_files(const char *dir, const char *begin, char path[400])
{
	char c[200];
	struct dirent *de;
	unsigned n = 0;
	DIR *d;

	snprintf(c, sizeof(c), "%s/c", dir);
	path[0] = '\0';
	d = opendir(c);
	must(d);
	while ((de = readdir(d)))
		if (de->d_name[0] != '.')
			snprintf(path, 400, "%s/%.32s", c, de->d_name);
	closedir(d);
	d = path[0] ? opendir(path) : NULL;
	while (d && (de = readdir(d)))
		n += de->d_name[0] != '.' &&
		     strncmp(de->d_name, begin, strlen(begin)) == 0;
	if (d)
		closedir(d);
	return n;
}

static unsigned n_parts(const char *dir, const char *column)
{
	char path[400];

	return n_files(dir, column, path);
}

static void put_file(const char *dir, const char *name)
{
	char path[400], file[440];
	FILE *f;

	n_files(dir, "", path);
	snprintf(file, sizeof(file), "%s/%s", path, name);
	f = fopen(file, "w");
	must(f && fputs("left", f) >= 0 && fclose(f) == 0);
}

static void steps(
	struct store *s, struct collection *c, struct sk_model *m, unsigned n)
{
	sk_steps(m, s, c, n);
	sk_wait_linked(s);
}

/* Collection "c" whose first generation only snapshot "old" shows, of model
 * then; open. */
static struct store *make(const char *dir, const struct store_config *cfg,
	struct sk_model *m, struct sk_model *then)
{
	struct store *s = sk_open(dir, cfg);
	struct collection *c = sk_make(s, "c");

	*m = (struct sk_model){.random = seed() * 2 + 1};
	steps(s, c, m, 200);
	must(sk_snap(s, c, "old") == 0);
	*then = *m;
	steps(s, c, m, 100);
	must(store_checkpoint(s, true) == 0);
	must(store_compact(s, c) == 0);
	steps(s, c, m, 100);
	must(store_checkpoint(s, true) == 0);
	collection_unref(c);
	return s;
}

/* ---- what goes, and when ---- */

static void test_sweep(void)
{
	static const char *const left[] = {"vec.0007", "vec.0007.sum",
		"version.0099", "graph.0099", "end.0044.sum"};
	const char *dir = dir_of(0, "sweep");
	struct sk_model m, then;
	struct store *s = make(dir, &bare, &m, &then);
	struct collection *c;
	unsigned before;

	ok(n_parts(dir, "vec.") == 4 && n_parts(dir, "graph.") == 2,
		"both generations have files");
	store_close(s);
	before = n_parts(dir, "");
	for (unsigned i = 0; i < VG_ARRAY_LEN(left); i++)
		put_file(dir, left[i]);
	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	must(sk_snap(s, c, "more") == 0 && store_checkpoint(s, true) == 0);
	ok(n_parts(dir, "") == before,
		"what nobody names goes, but no file of a past generation");
	ok(sk_is_snap(&then, s, c, "old") && sk_is_snap(&m, s, c, "more") &&
			sk_is_model(&m, s, c),
		"which shows what it did");
	collection_unref(c);
	store_close(s);
}

static void test_unsnap(void)
{
	const char *dir = dir_of(0, "unsnap");
	struct sk_model m, then;
	struct store *s = make(dir, &bare, &m, &then);
	struct collection *c = sk_get(s, "c"), *held;

	held = collection_find_snap(c, sk_id("old"));
	must(held && sk_unsnap(s, c, "old") == 0);
	ok(n_parts(dir, "vec.") == 4, "a snapshot is removed, not yet files");
	must(store_checkpoint(s, true) == 0);
	ok(n_parts(dir, "vec.") == 2 && n_parts(dir, "meta.") == 2 &&
			n_parts(dir, "version.") == 2 &&
			n_parts(dir, "end.") == 2 &&
			n_parts(dir, "graph.") == 1,
		"the next checkpoint removes those of its generation");
	ok(sk_is_model(&then, s, held),
		"who has it open has it still, from memory");
	collection_unref(held);
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	ok(sk_is_model(&m, s, c) && c->n_snaps == 0, "the present is all there");
	collection_unref(c);
	store_close(s);
}

/* Files stay for an hour, for copies that were begun before. */
static void test_grace(void)
{
	const char *dir = dir_of(0, "grace"), *copy = dir_of(1, "grace.copy");
	struct sk_model m, then;
	struct store *s = make(dir, &graced, &m, &then);
	struct collection *c = sk_get(s, "c");

	must(sk_unsnap(s, c, "old") == 0 && store_checkpoint(s, true) == 0);
	ok(n_parts(dir, "vec.") == 4, "files stay while a copy may need them");
	collection_unref(c);
	store_close(s);
	sk_copy(dir, copy);
	s = sk_open(copy, &bare);
	c = sk_get(s, "c");
	must(sk_snap(s, c, "new") == 0 && store_checkpoint(s, true) == 0);
	ok(n_parts(copy, "vec.") == 2, "and go when it is over");
	ok(sk_is_snap(&m, s, c, "new") && sk_is_model(&m, s, c),
		"with nothing that is needed");
	collection_unref(c);
	store_close(s);
}

/* The last generation may be without a row, beside one that has files. */
static void test_empty(void)
{
	const char *dir = dir_of(0, "empty");
	struct sk_model m, then;
	struct store *s = make(dir, &bare, &m, &then);
	struct collection *c = sk_get(s, "c");
	struct change ch = {.type = OP_CLEAR, .coll = c};
	char path[400];

	must(sk_run(s, &ch) == 0 && store_compact(s, c) == 0);
	must(store_checkpoint(s, true) == 0);
	ok(n_parts(dir, "vec.") == 2, "an empty present has no files");
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	ok(sk_is_snap(&then, s, c, "old") && atomic_load(&c->n_live) == 0,
		"the snapshot has its own");
	must(sk_put(s, c, (struct sk_put){"a", 1, SK_DIM, 0}) == 0);
	must(store_checkpoint(s, true) == 0);
	ok(n_parts(dir, "vec.") == 4 && sk_is_snap(&then, s, c, "old"),
		"the first record begins others beside them");
	must(sk_unsnap(s, c, "old") == 0 && sk_del(s, c, "a") == 0);
	ch = (struct change){.type = OP_DROP, .coll = c};
	must(sk_run(s, &ch) == 0);
	collection_unref(c);
	must(store_checkpoint(s, true) == 0);
	n_files(dir, "", path);
	ok(path[0] == '\0', "a collection that is removed leaves nothing");
	store_close(s);
}

/* ---- copies ---- */

#define COPIES 24

static void count(void *ctx, bool is_finding, const char *text)
{
	if (is_finding)
		diag("%s", text);
	*(unsigned *)ctx += is_finding;
}

/* Copies made while it is open, of whatever is on the disk then. */
static void test_copies(void)
{
	const char *dir = dir_of(0, "copied"), *copy = dir_of(1, "copy");
	static struct sk_model of[COPIES];
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &graced), *t;
	struct collection *c = sk_make(s, "c"), *d;
	unsigned differs = 0, found = 0;
	struct check_config cc = {.dir = copy, .say = count, .ctx = &found};
	struct check_result res;
	char name[8];

	for (unsigned i = 0; i < COPIES; i++) {
		steps(s, c, &m, 30);
		snprintf(name, sizeof(name), "%u", i);
		must(sk_snap(s, c, name) == 0);
		of[i] = m;
		steps(s, c, &m, sk_draw(&m, 30));
		if (sk_draw(&m, 3) == 0)
			must(store_compact(s, c) == 0);
		if (sk_draw(&m, 3) == 0)
			must(store_checkpoint(s, sk_draw(&m, 2)) == 0);
		sk_copy(dir, copy);
		t = sk_open(copy, &bare);
		d = sk_get(t, "c");
		must(d);
		differs += !sk_is_model(&m, t, d);
		for (unsigned k = 0; k <= i; k++) {
			snprintf(name, sizeof(name), "%u", k);
			differs += !sk_is_snap(&of[k], t, d, name);
		}
		collection_unref(d);
		store_close(t);
		must(check_each(&cc, &res) == 0);
	}
	ok(differs == 0, "a copy of an open store has each of its snapshots");
	ok(found == 0, "and --check finds nothing in it");
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	plan(3 + 4 + 3 + 4 + 2);
	log_level_set(LOG_ERR);
	test_sweep();
	test_unsnap();
	test_grace();
	test_empty();
	test_copies();
	return done();
}
