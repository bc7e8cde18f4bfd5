/* SPDX-License-Identifier: Apache-2.0 */
/* backup: a copy of the directory is a store, is refused, and harms no other. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/check.h"
#include "src/log.h"
#include "src/store_int.h"
#include "src/wire.h"
#include "tests/logkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

/* Small segments, so that the log is cut and has several. */
static const struct store_config config = {.durability = STORE_FSYNC,
	.segment_size = 8000,
	.no_uring = true,
	.indexers = 1,
	.no_compaction = true};

static const char *dir_of(unsigned i, const char *name)
{
	static char dir[4][200];

	snprintf(dir[i], sizeof(dir[i]), "%s/%s", scratch(), name);
	return dir[i];
}

/* ---- trees ---- */

#define FILES 200u
static char paths[FILES][160]; /* below the tree's root, sorted */
static unsigned n_paths;
static size_t root_len;

static int note_path(const char *path, const struct stat *st, int what,
	struct FTW *at)
{
	(void)st;
	(void)at;
	if (what != FTW_F)
		return 0;
	must(n_paths < FILES && strlen(path + root_len) < 160);
	strcpy(paths[n_paths++], path + root_len);
	return 0;
}

/* Files of the root before those of directories, as rsync sends them. */
static int by_name(const void *a, const void *b)
{
	int depth = !!strchr((const char *)a + 1, '/') -
		    !!strchr((const char *)b + 1, '/');

	return depth ? depth : strcmp(a, b);
}

static void list(const char *dir)
{
	n_paths = 0;
	root_len = strlen(dir);
	must(nftw(dir, note_path, 16, FTW_PHYS) == 0);
	qsort(paths, n_paths, sizeof(paths[0]), by_name);
}

/* Copies a listed file, or gives it another name, with its directories. */
static void copy_path(
	const char *from, const char *to, const char *path, bool is_linked)
{
	char a[400], b[400];
	struct kit_file f;

	snprintf(a, sizeof(a), "%s%s", from, path);
	snprintf(b, sizeof(b), "%s%s", to, path);
	for (char *slash = strchr(b + strlen(to) + 1, '/'); slash;
		slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		must(mkdir(b, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	if (is_linked) {
		must(link(a, b) == 0);
		return;
	}
	f = kit_load(AT_FDCWD, a);
	kit_save(AT_FDCWD, b, f.bytes, f.len);
	kit_free(&f);
}

static int remove_path(const char *path, const struct stat *st, int what,
	struct FTW *at)
{
	(void)st;
	(void)what;
	(void)at;
	return remove(path);
}

static void make_empty(const char *dir)
{
	nftw(dir, remove_path, 16, FTW_DEPTH | FTW_PHYS);
	must(mkdir(dir, 0700) == 0);
}

/* One number for every name and byte of a tree. */
static uint64_t sum_of(const char *dir)
{
	char path[400];
	uint64_t sum = 0;

	list(dir);
	for (unsigned i = 0; i < n_paths; i++) {
		struct kit_file f;

		snprintf(path, sizeof(path), "%s%s", dir, paths[i]);
		f = kit_load(AT_FDCWD, path);
		sum = sum * 31 + wire_hash(paths[i], strlen(paths[i]));
		sum = sum * 31 + wire_hash(f.bytes, f.len);
		kit_free(&f);
	}
	return sum;
}

static void link_tree(const char *from, const char *to)
{
	make_empty(to);
	list(from);
	for (unsigned i = 0; i < n_paths; i++)
		copy_path(from, to, paths[i], true);
}

/* ---- stores ---- */

static void steps(struct sk_model *m, struct store *s, unsigned n)
{
	struct collection *c = sk_get(s, "c");

	must(c);
	for (unsigned i = 0; i < n; i++)
		must(sk_step(m, s, c));
	collection_unref(c);
}

static struct store *start(const char *dir, struct sk_model *m)
{
	struct store *s = sk_open(dir, &config);

	*m = (struct sk_model){.random = seed() * 2 + 1};
	collection_unref(sk_make(s, "c"));
	steps(m, s, 150);
	must(store_checkpoint(s, true) == 0);
	steps(m, s, 150);
	must(store_checkpoint(s, true) == 0);
	steps(m, s, 150);
	return s;
}

static bool is_model(struct store *s, const struct sk_model *m)
{
	struct collection *c = sk_get(s, "c");
	bool is = c && sk_is_model(m, s, c);

	collection_unref(c);
	return is;
}

/* ---- copies made of hard links ---- */

static void test_linked(void)
{
	const char *dir = dir_of(0, "linked"), *one = dir_of(1, "linked.1"),
		   *two = dir_of(2, "linked.2");
	struct sk_model m, then, other;
	struct store *s = start(dir, &m), *t;
	uint64_t was;

	store_close(s);
	link_tree(dir, one);
	link_tree(dir, two);
	then = m;
	was = sum_of(two);
	t = sk_open(one, &config);
	ok(is_model(t, &m), "a copy made of links has what the first has");
	ok(sum_of(two) == was, "opening it writes into no file that it shares");
	s = sk_open(dir, &config);
	ok(is_model(s, &m), "the first opens beside it");
	other = m;
	other.random ^= 12345;
	for (unsigned i = 0; i < 4; i++) {
		steps(&other, t, 120);
		must(store_checkpoint(t, true) == 0);
		steps(&m, s, 120);
		must(store_checkpoint(s, true) == 0);
	}
	ok(is_model(t, &other) && is_model(s, &m),
		"each goes on by itself");
	store_close(t);
	store_close(s);
	ok(sum_of(two) == was,
		"and a third, which shares files with both, is what it was");
	t = sk_open(one, &config);
	s = sk_open(dir, &config);
	ok(is_model(t, &other) && is_model(s, &m), "so after another start");
	store_close(t);
	store_close(s);
	t = sk_open(two, &config);
	ok(is_model(t, &then), "the third is as when it was made");
	store_close(t);
}

/* ---- copies that were not finished ---- */

/* Opens it: 1 the model, 0 refused with a remedy, else -1. A log that ends
 * where a segment was begun is a copy's right: 2 if the copy says so. */
static int outcome(const char *dir, const struct sk_model *m, char why[512])
{
	struct store_config cfg = config;
	struct store_report rep;
	struct store *s;
	int rc;

	cfg.dir = dir;
	cfg.checkpoint_bytes = UINT64_MAX;
	rc = store_open(&cfg, &rep, &s);
	snprintf(why, 512, "%s", rep.error);
	if (rc < 0)
		return strstr(why, "copy") || strstr(why, "restore") ? 0 : -1;
	rc = is_model(s, m) ? 1 : rep.is_begun ? 2 : -1;
	store_close(s);
	return rc;
}

static void test_interrupted(bool is_reversed)
{
	const char *dir = dir_of(0, "cut"), *copy = dir_of(1, "cut.copy");
	unsigned of[3] = {0}, wrong = 0, n;
	struct sk_model m;
	struct store *s = start(dir, &m);
	char why[512];

	list(dir);
	n = n_paths;
	for (unsigned k = 1; k <= n; k++) {
		int is;

		make_empty(copy);
		for (unsigned i = 0; i < k; i++)
			copy_path(dir, copy,
				paths[is_reversed ? n - 1 - i : i], false);
		is = outcome(copy, &m, why);
		if (is < 0)
			diag("%u of %u files: %s", k, n, why);
		of[VG_MAX(is, 0)] += is >= 0;
		wrong += is < 0;
	}
	ok(wrong == 0 && of[1] > 0 && of[0] > 3 && of[2] < 4,
		"a copy interrupted after any file, %s, is refused, whole, or "
		"within the last segments: %u, %u, %u",
		is_reversed ? "the log first" : "manifests first", of[0],
		of[1], of[2]);
	ok(outcome(copy, &m, why) == 1, "that of all files is whole");
	store_close(s);
	make_empty(dir);
	rmdir(dir);
}

/* A file of the original that the copy has no more, or has not yet. */
static void test_missing(void)
{
	const char *dir = dir_of(0, "miss"), *copy = dir_of(1, "miss.copy");
	unsigned wrong = 0, refused = 0, n;
	struct sk_model m;
	struct store *s = start(dir, &m);
	char why[512];

	list(dir);
	n = n_paths;
	for (unsigned k = 0; k < n; k++) {
		int is;

		make_empty(copy);
		for (unsigned i = 0; i < n; i++)
			if (i != k)
				copy_path(dir, copy, paths[i], false);
		is = outcome(copy, &m, why);
		if (is < 0)
			diag("without %s: %s", paths[k], why);
		wrong += is < 0 || (is == 2 && !strstr(paths[k], "/wal/"));
		refused += is == 0;
	}
	ok(wrong == 0 && refused > 0,
		"without any one file it is refused, or whole, or ends where "
		"that segment was begun");
	store_close(s);
}

/* ---- copies that took too long ---- */

static void test_overtaken(void)
{
	const char *dir = dir_of(0, "slow"), *copy = dir_of(1, "slow.copy");
	struct store_config cfg = config;
	struct sk_model m, then;
	struct store *s = start(dir, &m);
	char why[512];

	/* Names at the root first; then files go before their turn comes. */
	store_close(s);
	make_empty(copy);
	list(dir);
	for (unsigned i = 0; i < n_paths; i++)
		if (!strchr(paths[i] + 1, '/'))
			copy_path(dir, copy, paths[i], false);
	then = m;
	cfg.has_grace = true;
	s = sk_open(dir, &cfg);
	steps(&m, s, 200);
	must(store_checkpoint(s, true) == 0);
	list(dir);
	for (unsigned i = 0; i < n_paths; i++)
		if (strchr(paths[i] + 1, '/'))
			copy_path(dir, copy, paths[i], false);
	ok(outcome(copy, &then, why) == 0 && strstr(why, ".backup-hold") &&
			strstr(why, "backup_grace="),
		"a copy that was overtaken is refused with the remedy: %s",
		why);

	/* The same with the remedy. */
	kit_save(AT_FDCWD, dir_of(2, "slow/.backup-hold"), "", 0);
	make_empty(copy);
	list(dir);
	for (unsigned i = 0; i < n_paths; i++)
		if (!strchr(paths[i] + 1, '/'))
			copy_path(dir, copy, paths[i], false);
	then = m;
	steps(&m, s, 200);
	must(store_checkpoint(s, true) == 0);
	steps(&m, s, 200);
	must(store_checkpoint(s, true) == 0);
	list(dir);
	for (unsigned i = 0; i < n_paths; i++)
		if (strchr(paths[i] + 1, '/'))
			copy_path(dir, copy, paths[i], false);
	ok(outcome(copy, &m, why) == 1,
		"with .backup-hold there it is whole, and up to date: %s", why);
	ok(access(dir_of(2, "slow.copy/.backup-hold"), F_OK) < 0,
		"which the copy does not keep");
	must(unlink(dir_of(2, "slow/.backup-hold")) == 0);
	steps(&m, s, 10);
	must(store_checkpoint(s, true) == 0);
	list(dir);
	ok(n_paths < 20, "without it, what is needed no more goes: %u files",
		n_paths);
	store_close(s);
}

/* Manifests that were copied when the log had been: nobody can tell that from
 * a copy of which the log's end is missing. */
static void test_log_first(void)
{
	const char *dir = dir_of(0, "first"), *copy = dir_of(1, "first.copy");
	struct sk_model m;
	struct store *s = start(dir, &m);
	char why[512];

	make_empty(copy);
	list(dir);
	for (unsigned i = 0; i < n_paths; i++)
		if (strncmp(paths[i], "/wal/", 5) == 0)
			copy_path(dir, copy, paths[i], false);
	steps(&m, s, 200);
	must(store_checkpoint(s, true) == 0);
	list(dir);
	for (unsigned i = 0; i < n_paths; i++)
		if (strncmp(paths[i], "/wal/", 5) != 0)
			copy_path(dir, copy, paths[i], false);
	ok(outcome(copy, &m, why) == 0 && strstr(why, "segments of wal/"),
		"a manifest that is newer than the log is refused: %s", why);
	store_close(s);
}

static void count(void *ctx, bool is_finding, const char *text)
{
	unsigned *n = ctx;

	n[is_finding]++;
	if (is_finding)
		diag("%s", text);
}

/* What a crash within a checkpoint leaves, and a copy made then. */
static void test_unfinished(void)
{
	const char *dir = dir_of(0, "half"), *copy = dir_of(1, "half.copy");
	struct sk_model m;
	struct store *s = start(dir, &m);
	unsigned n[2] = {0};
	struct check_config cc = {.dir = copy, .say = count, .ctx = n};
	struct check_result res;
	char why[512];

	must(store_checkpoint(s, true) == 0);
	make_empty(copy);
	list(dir);
	for (unsigned i = 0; i < n_paths; i++)
		if (strcmp(paths[i], "/MANIFEST.3") != 0)
			copy_path(dir, copy, paths[i], false);
	ok(check_each(&cc, &res) == 0 && res.findings == 0 && n[0] > 0,
		"files of a checkpoint that was not finished are no finding");
	ok(outcome(copy, &m, why) == 1, "and what they hold is in the log");
	store_close(sk_open(copy, &config));
	n[0] = 0;
	ok(check_each(&cc, &res) == 0 && res.findings == 0 && n[0] == 0,
		"the next start clears them");
	store_close(s);
}

int main(void)
{
	plan(20);
	log_level_set(LOG_ERR);
	test_linked();
	test_interrupted(false);
	test_interrupted(true);
	test_missing();
	test_overtaken();
	test_log_first();
	test_unfinished();
	return done();
}
