/* SPDX-License-Identifier: Apache-2.0 */
/* collection_fields: what filters have indexed is there after a restart. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/check.h"
#include "src/fields.h"
#include "src/log.h"
#include "src/store_int.h"
#include "tests/simdisk.h"
#include "tests/storekit.h"
#include "tests/tap.h"

/* Nothing stays that the newest manifest has no use for. */
static const struct store_config bare = {.durability = STORE_FSYNC,
	.no_compaction = true,
	.has_grace = true,
	.indexers = 1};

static char dir_name[2][160];

static const char *dir_of(int i, const char *name)
{
	snprintf(dir_name[i], sizeof(dir_name[i]), "%s/%s", scratch(), name);
	return dir_name[i];
}

/* ---- files ---- */

/* Files of indexes in the only directory of c/; path: of the highest number. */
static unsigned n_files(const char *dir, char path[400])
{
	char c[200], coll[300] = "";
	struct dirent *de;
	unsigned n = 0;
	DIR *d;

	snprintf(c, sizeof(c), "%s/c", dir);
	path[0] = '\0';
	d = opendir(c);
	must(d);
	while ((de = readdir(d)))
		if (de->d_name[0] != '.')
			snprintf(coll, sizeof(coll), "%s/%.32s", c, de->d_name);
	closedir(d);
	d = opendir(coll);
	must(d);
	while ((de = readdir(d))) {
		char at[400];

		if (strncmp(de->d_name, "fields.", 7) != 0)
			continue;
		snprintf(at, sizeof(at), "%s/%.20s", coll, de->d_name);
		if (strcmp(at, path) > 0)
			memcpy(path, at, sizeof(at));
		n++;
	}
	closedir(d);
	return n;
}

static bool has_one(const char *dir, const char *name)
{
	char path[400];

	return n_files(dir, path) == 1 &&
	       strcmp(strrchr(path, '/') + 1, name) == 0;
}

/* The version of the newest manifest. */
static int manifest_version(const char *dir)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY), fd;
	char name[40];
	uint8_t head[9];
	uint64_t *number;
	uint32_t n;
	struct io io;

	io_init(&io);
	must(dirfd >= 0 && manifest_list(&io, dirfd, &number, &n) == 0 && n);
	snprintf(name, sizeof(name), "MANIFEST.%llu",
		(unsigned long long)number[0]);
	fd = openat(dirfd, name, O_RDONLY);
	must(fd >= 0 && read(fd, head, 9) == 9);
	close(fd);
	close(dirfd);
	free(number);
	return head[8];
}

static void say(void *ctx, bool is_finding, const char *text)
{
	unsigned *told = ctx;

	if (!is_finding)
		return;
	told[0]++;
	told[1] += strstr(text, "derived") && strstr(text, "fields");
}

/* What --check finds: all of it, and that is told to be derived. */
static bool finds(const char *dir, bool is_damaged)
{
	unsigned told[2] = {0};
	struct check_config cc = {.dir = dir, .say = say, .ctx = told};
	struct check_result res;

	must(check_each(&cc, &res) == 0);
	return told[0] == told[1] && (told[0] > 0) == is_damaged;
}

/* ---- what was read ---- */

/* Metadata looked at for indexes of c's newest generation; -1: nobody has asked
 * for any. */
static long long n_read(struct collection *c)
{
	struct fields *f = atomic_load(&c->gen->fields);

	return f ? (long long)fields_read(f) : -1;
}

static uint32_t n_versions(struct collection *c)
{
	return atomic_load(&c->gen->n_versions);
}

/* ---- restarts ---- */

static void test_restart(void)
{
	const char *dir = dir_of(0, "restart");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &bare);
	struct collection *c = sk_make(s, "c");
	uint32_t n;

	sk_steps(&m, s, c, 300);
	must(store_checkpoint(s, true) == 0);
	ok(manifest_version(dir) == 1,
		"without indexes a manifest is as programs without them read it");
	sk_index(s, c);
	must(store_checkpoint(s, true) == 0);
	ok(has_one(dir, "fields.0001") && manifest_version(dir) == 2,
		"what filters indexed is in a checkpoint, though nothing changed");
	collection_unref(c);
	store_close(s);

	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	ok(n_read(c) == -1, "an open does not load it");
	ok(sk_is_filtered(s, c) && n_read(c) == 0,
		"a filter does: no metadata is looked at");
	n = n_versions(c);
	sk_steps(&m, s, c, 5);
	ok(sk_is_filtered(s, c) && n_read(c) == 2 * (n_versions(c) - n),
		"but that of new versions, once for each field");
	collection_unref(c);
	store_close(s);
	ok(has_one(dir, "fields.0001"), "a few of them are not worth a file");

	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	ok(sk_is_filtered(s, c) && n_read(c) == 2 * (n_versions(c) - n),
		"after the next start they are looked at again");
	sk_steps(&m, s, c, 200);
	sk_index(s, c);
	must(store_checkpoint(s, false) == 0);
	ok(has_one(dir, "fields.0002"), "many are, and the older one goes");
	collection_unref(c);
	store_close(s);

	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	must(sk_del(s, c, "x") == -ENOENT && store_checkpoint(s, true) == 0);
	ok(has_one(dir, "fields.0002") && n_read(c) == -1,
		"who asks nothing keeps the file, unread");
	ok(sk_is_filtered(s, c) && sk_is_model(&m, s, c) && n_read(c) == 0,
		"and it serves the filter that comes at last");
	collection_unref(c);
	store_close(s);
	ok(finds(dir, false), "--check finds nothing");
}

/* As by kill -9: the log behind the checkpoint is replayed. */
static void test_kill(void)
{
	const char *dir = dir_of(0, "kill"), *copy = dir_of(1, "kill.copy");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &bare), *t;
	struct collection *c = sk_make(s, "c"), *d;
	uint32_t n;

	sk_steps(&m, s, c, 300);
	sk_index(s, c);
	must(store_checkpoint(s, true) == 0);
	n = n_versions(c);
	sk_steps(&m, s, c, 50);
	must(sk_is_filtered(s, c));
	must(sk_run(s, &(struct change){.type = OP_CLEAR, .coll = c,
				.meta = {"y.gte=300", 9}}) == 0);
	sk_copy(dir, copy);
	t = sk_open(copy, &bare);
	d = sk_get(t, "c");
	ok(n_versions(d) == n_versions(c) && sk_is_filtered(t, d) &&
			n_read(d) == 2 * (n_versions(d) - n) &&
			atomic_load(&d->n_live) == atomic_load(&c->n_live),
		"after a kill only what the log has is looked at");
	collection_unref(d);
	store_close(t);
	collection_unref(c);
	store_close(s);
}

/* ---- damage ---- */

enum damage { MISSING, EMPTY, CUT, LONGER, FIRST, HALF, LAST, OTHER, DAMAGES };

static const char *const damages[DAMAGES] = {"missing", "empty", "cut",
	"longer than it was", "damaged at its begin", "damaged in its middle",
	"damaged at its end", "an older one"};

static void do_damage(enum damage what, const char *path)
{
	struct stat st;
	char first[400];
	FILE *f;

	must(stat(path, &st) == 0 && st.st_size > 1000);
	if (what == MISSING)
		must(unlink(path) == 0);
	else if (what == EMPTY || what == CUT)
		must(truncate(path, what == CUT ? st.st_size / 2 : 0) == 0);
	else if (what == FIRST || what == HALF || what == LAST)
		sk_flip(path, what == FIRST ? 0
			      : what == HALF ? st.st_size / 2
					     : st.st_size - 1);
	else if (what == LONGER) {
		f = fopen(path, "a");
		must(f && fputs("more", f) >= 0 && fclose(f) == 0);
	} else {
		snprintf(first, sizeof(first), "%.*s1",
			(int)strlen(path) - 1, path);
		must(rename(first, path) == 0);
	}
}

static void test_damage(enum damage what, const char *dir)
{
	const char *copy = dir_of(1, "damaged");
	bool is_harmless = what == LONGER; /* what is behind does not count */
	struct collection *c;
	struct store *s;
	char path[400];
	bool is_right;

	sk_copy(dir, copy);
	must(n_files(copy, path) == 2);
	do_damage(what, path);
	ok(finds(copy, !is_harmless),
		is_harmless ? "a file may be %s"
			    : "a file that is %s is found, and told to be "
			      "derived",
		damages[what]);
	s = sk_open(copy, &bare);
	c = sk_get(s, "c");
	is_right = sk_is_filtered(s, c) &&
		(n_read(c) == 0) == is_harmless &&
		collection_fields_lost(c->gen) == !is_harmless;
	must(store_checkpoint(s, false) == 0);
	is_right = is_right && !collection_fields_lost(c->gen) &&
		sk_is_filtered(s, c);
	collection_unref(c);
	store_close(s);
	ok(is_right && finds(copy, false),
		is_harmless ? "%s, it is what it was"
			    : "%s, it is left aside, and the next checkpoint "
			      "does without",
		damages[what]);
}

static void test_damages(void)
{
	const char *dir = dir_of(0, "damages");
	struct store_config cfg = bare;
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s;
	struct collection *c;

	cfg.has_grace = false; /* an hour: the older file stays */
	s = sk_open(dir, &cfg);
	c = sk_make(s, "c");
	for (int i = 0; i < 2; i++) {
		sk_steps(&m, s, c, 300);
		sk_index(s, c);
		must(store_checkpoint(s, true) == 0);
	}
	collection_unref(c);
	store_close(s);
	for (int what = 0; what < DAMAGES; what++)
		test_damage((enum damage)what, dir);
}

/* ---- generations ---- */

static void test_generations(void)
{
	const char *dir = dir_of(0, "generations");
	struct sk_model m = {.random = seed() * 2 + 1}, then;
	struct store *s = sk_open(dir, &bare);
	struct collection *c = sk_make(s, "c"), *snap;
	char path[400];
	long long n;

	sk_steps(&m, s, c, 300);
	must(sk_snap(s, c, "old") == 0);
	then = m;
	sk_index(s, c);
	must(store_checkpoint(s, true) == 0);
	must(store_compact(s, c) == 0);
	n = n_read(c);
	ok(n > 10 * n_versions(c) && sk_is_filtered(s, c) && n_read(c) == n,
		"a compaction indexes what filters asked for before");
	sk_steps(&m, s, c, 200);
	sk_index(s, c);
	must(store_checkpoint(s, true) == 0);
	ok(n_files(dir, path) == 2, "each generation has its own file");
	collection_unref(c);
	store_close(s);

	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	snap = collection_find_snap(c, sk_id("old"));
	must(snap);
	ok(sk_is_filtered(s, c) && n_read(c) == 0, "the present has its");
	ok(sk_is_filtered(s, snap) && n_read(snap) == 0 &&
			sk_is_snap(&then, s, c, "old"),
		"and a snapshot of the past has that of its generation");
	collection_unref(snap);
	must(sk_unsnap(s, c, "old") == 0 && store_checkpoint(s, true) == 0);
	ok(has_one(dir, "fields.0002"), "which goes with it");
	ok(sk_is_filtered(s, c) && sk_is_model(&m, s, c), "and no other");
	collection_unref(c);
	store_close(s);
}

/* ---- threads ---- */

#define THREADS 4

struct asker {
	pthread_t thread;
	struct store *s;
	struct collection *c;
	bool is_right;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	a->is_right = sk_is_filtered(a->s, a->c);
	return NULL;
}

static void test_threads(void)
{
	const char *dir = dir_of(0, "threads");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &bare);
	struct collection *c = sk_make(s, "c");
	struct asker of[THREADS];
	bool are_right = true;

	sk_steps(&m, s, c, 300);
	sk_index(s, c);
	collection_unref(c);
	store_close(s);
	s = sk_open(dir, &bare);
	c = sk_get(s, "c");
	for (int i = 0; i < THREADS; i++) {
		of[i] = (struct asker){.s = s, .c = c};
		must(pthread_create(&of[i].thread, NULL, ask, &of[i]) == 0);
	}
	must(store_checkpoint(s, true) == 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(of[i].thread, NULL);
		are_right = are_right && of[i].is_right;
	}
	ok(are_right && n_read(c) == 0,
		"whoever asks first, it is loaded once, beside a checkpoint");
	collection_unref(c);
	store_close(s);
}

/* ---- disks that fail, power that does ---- */

static struct store *open_sim(struct sim *sim, struct store_report *rep, int *rc)
{
	struct store_config cfg = bare;
	struct store *s = NULL;

	cfg.io = sim_get_io(sim);
	cfg.has_dirfd = true;
	cfg.dirfd = sim_root(sim);
	cfg.no_uring = true;
	*rc = store_open(&cfg, rep, &s);
	return s;
}

/* A disk with collection "c" of m, and a file of indexes of some of it. */
static struct sim *make_sim(struct sk_model *m)
{
	struct sim *sim = sim_new(&(struct sim_config){.seed = seed()}), *out;
	struct store_report rep;
	struct collection *c;
	int rc;
	struct store *s = open_sim(sim, &rep, &rc);

	must(s);
	c = sk_make(s, "c");
	sk_steps(m, s, c, 150);
	sk_index(s, c);
	must(store_checkpoint(s, true) == 0);
	collection_unref(c);
	store_close(s);
	sim_sync_all(sim);
	out = sim_clone(sim);
	sim_free(sim);
	return out;
}

/* Whether what is on the disk is m, and filters say so. */
static bool is_right(struct sim *sim, const struct sk_model *m)
{
	struct store_report rep;
	struct collection *c;
	int rc;
	struct store *s = open_sim(sim, &rep, &rc);
	bool is;

	if (!s) {
		diag("%d %s", rc, rep.error);
		return false;
	}
	c = sk_get(s, "c");
	is = c && sk_is_model(m, s, c) && sk_is_filtered(s, c);
	collection_unref(c);
	store_close(s);
	return is;
}

/* Each call of the disk fails, from the first filter on to the checkpoint of
 * what it and others indexed. */
static void test_faults(void)
{
	struct sk_model m = {.random = seed() * 2 + 1};
	struct sim *base = make_sim(&m);
	unsigned wrong = 0, n;
	struct sim_stat st = {.failed = 1};

	for (n = 1; st.failed > 0 && n < 1000; n++) {
		struct sim *sim = sim_clone(base), *after;
		struct sk_model own = m;
		struct store_report rep;
		struct collection *c;
		int rc;
		struct store *s = open_sim(sim, &rep, &rc);

		must(s);
		c = sk_get(s, "c");
		sk_steps(&own, s, c, 80);
		sim_fail(sim, &(struct sim_fault){.calls = SIM_ANY,
				      .nth = n,
				      .partly = n % 2,
				      .rc = n % 3 ? -EIO : -ENOSPC});
		sk_index(s, c);
		wrong += !sk_is_filtered(s, c);
		store_checkpoint(s, true);
		wrong += !sk_is_filtered(s, c) || !sk_is_model(&own, s, c);
		sim_stat(sim, &st);
		sim_fail(sim, &(struct sim_fault){0});
		after = sim_clone(sim);
		collection_unref(c);
		store_close(s);
		wrong += !is_right(after, &own);
		sim_free(after);
		sim_free(sim);
	}
	ok(wrong == 0 && n > 30 && n < 1000,
		"whichever of %u calls fails, filters are right, then and after "
		"the next start",
		n - 2);
	sim_free(base);
}

struct cutter {
	struct sim *of[400];
	unsigned n;
};

static void cut_power(void *ctx, struct sim *sim, enum sim_call call,
	uint64_t number)
{
	struct cutter *cut = ctx;

	(void)call;
	for (int i = 0; i < 2 && cut->n < VG_ARRAY_LEN(cut->of); i++)
		cut->of[cut->n++] = sim_crash(sim, seed() + number,
			i ? SIM_SUBSET : SIM_NONE);
}

static void test_power(void)
{
	static struct cutter cut;
	struct sk_model m = {.random = seed() * 2 + 1};
	struct sim *sim = make_sim(&m);
	struct store_report rep;
	struct collection *c;
	unsigned wrong = 0;
	int rc;
	struct store *s = open_sim(sim, &rep, &rc);

	must(s);
	c = sk_get(s, "c");
	sk_steps(&m, s, c, 80);
	sk_index(s, c);
	must(sk_run(s, &(struct change){.type = OP_ATTR, .coll = c,
				.attr = {0700, 0, 0}}) == 0);
	must(store_commit_wait(s, &(struct commit){.sync = true}) == 0);
	sim_watch(sim, SIM_CHANGES, cut_power, &cut);
	must(store_checkpoint(s, true) == 0);
	sim_watch(sim, 0, NULL, NULL);
	for (unsigned i = 0; i < cut.n; i++) {
		wrong += !is_right(cut.of[i], &m);
		sim_free(cut.of[i]);
	}
	ok(wrong == 0 && cut.n > 20 && cut.n < VG_ARRAY_LEN(cut.of),
		"whenever power fails in a checkpoint, filters are right after "
		"it (%u cuts)",
		cut.n);
	collection_unref(c);
	store_close(s);
	sim_free(sim);
}

int main(void)
{
	plan(11 + 1 + 2 * DAMAGES + 6 + 1 + 2);
	log_level_set((enum log_level)-1);
	test_restart();
	test_kill();
	test_damages();
	test_generations();
	test_threads();
	test_faults();
	test_power();
	return done();
}
