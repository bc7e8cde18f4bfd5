/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint: what was checkpointed is there without the log that made it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/logkit.h"
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
	const struct store_config cfg = {
		.durability = STORE_FSYNC, .no_compaction = true};
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
	sk_wait_linked(s); /* or the next one links, and saves that */
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
	const struct store_config cfg = {
		.durability = STORE_FSYNC, .no_compaction = true};
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
	unsigned wrong = 0, differs = 0, waited = 0;
	struct store_stat said = {0};
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
	for (unsigned i = 0; i < 300; i++)
		must(sk_step(&m, s, c));
	for (; said.checkpoints == 0 && waited < 3000; waited++) {
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		store_stat(s, &said);
	}
	ok(said.checkpoints > 0, "a log that has grown is checkpointed by itself");
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

/* ---- a full disk ---- */

#define GRACE_S 0.5

/* Whether a file of dir is there. */
static bool is_there(const char *dir, const char *name)
{
	char path[240];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

/* Where no checkpoint can be written, what may go is the room that it needs:
 * it must not wait for one. */
static void test_full(void)
{
	static struct kit_disk disk;
	const struct store_config cfg = {.durability = STORE_FSYNC,
		.segment_size = 4096,
		.checkpoint_bytes = 1 << 30,
		.has_grace = true,
		.grace_s = GRACE_S,
		.no_compaction = true,
		.no_uring = true,
		.io = &disk.io};
	const char *dir = dir_of(0, "full");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct collection *c;
	struct store *s;

	kit_disk_init(&disk);
	s = sk_open(dir, &cfg);
	c = sk_make(s, "c");
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 60; i++)
			must(sk_step(&m, s, c));
		must(store_checkpoint(s, true) == 0);
	}
	must(sk_put(s, c, (struct sk_put){"one more", 1, SK_DIM, 0}) == 0);
	must(sk_del(s, c, "one more") == 0);
	nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	disk.only_calls = 1 << KIT_WRITE | 1 << KIT_ALLOCATE;
	disk.rc = -ENOSPC;
	disk.for_ever = true;
	disk.calls = 0;
	disk.fail_at = 1;
	ok(store_checkpoint(s, true) == -ENOSPC && is_there(dir, "MANIFEST.2"),
		"a full disk takes no checkpoint");
	ok(!is_there(dir, "MANIFEST.1") && !is_there(dir, "wal/0001.wal"),
		"and gets back what an older one needed, its time being over");
	disk.fail_at = 0;
	ok(store_checkpoint(s, true) == 0 && sk_is_model(&m, s, c),
		"so that there is room again, and nothing is lost");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* ---- damage ---- */

#define ROWS 17000u /* more than a chunk of 4 MiB */
#define DIM 64u

/* A collection "c" of ROWS vectors and one more, checkpointed and closed; the
 * log has not all of them any more. */
static void make_rows(const char *dir, const char *index)
{
	const struct store_config cfg = {.durability = STORE_FSYNC,
		.segment_size = 1 << 20,
		.has_grace = true};
	struct store *s = sk_open(dir, &cfg);
	struct collection *c = sk_make(s, "c");
	char id[16];

	must(sk_config(s, c, "index", index) == 0);
	must(sk_config(s, c, "metric", "l2") == 0);
	for (unsigned i = 0; i < ROWS; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
	}
	sk_wait_linked(s);
	must(store_checkpoint(s, true) == 0);
	must(sk_put(s, c, (struct sk_put){"last", ROWS, DIM, 0}) == 0);
	sk_wait_linked(s);
	collection_unref(c);
	store_close(s);
}

/* The path of a file of the only collection of dir. */
static const char *file_of(const char *dir, const char *name)
{
	static char path[600];
	char c[200];
	struct dirent *de;
	DIR *d;

	snprintf(c, sizeof(c), "%s/c", dir);
	d = opendir(c);
	must(d);
	while ((de = readdir(d)) && de->d_name[0] == '.')
		;
	must(de);
	snprintf(path, sizeof(path), "%s/%s/%s", c, de->d_name, name);
	closedir(d);
	return path;
}

static void test_damaged_vectors(void)
{
	const struct store_config cfg = {.checkpoint_bytes = UINT64_MAX};
	const char *dir = dir_of(0, "damaged");
	float v[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(100, DIM, v), .dim = DIM, .k = 1,
		.exact = true};
	struct store_report rep;
	struct search_hit hit;
	struct collection *c;
	struct store *s;
	unsigned bad = 0;
	uint32_t n;

	make_rows(dir, "flat");
	/* Row 100 lies in the block of rows 96 to 111. */
	sk_flip(file_of(dir, "vec.0001"), COLFILE_HEADER + 100 * DIM * 4 + 3);
	s = open_dir(dir, &cfg, &rep);
	must(s);
	c = sk_get(s, "c");
	ok(generation_damaged(c->gen) == 0, "what nobody touched is not judged");
	ok(sk_search(s, c, &q, &hit, &n) == 0 && n == 1 &&
			(hit.slot < 96 || hit.slot > 111),
		"a search leaves out what is damaged");
	ok(generation_damaged(c->gen) == 1, "and it is known then");
	for (unsigned i = 0; i < ROWS; i++)
		bad += cell_check_row(atomic_load(&c->gen->cell), i) == -EIO;
	ok(bad == 16, "it is the records of one block, no others");
	collection_unref(c);
	store_close(s);
}

/* By codes alone the damaged rows are the nearest; what their block's sum says
 * is known once they are to be compared. */
static void test_damaged_candidates(void)
{
	const struct store_config cfg = {.checkpoint_bytes = UINT64_MAX};
	const char *dir = dir_of(0, "candidates");
	float v[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(100, DIM, v), .dim = DIM, .k = 10};
	struct search_hit hit[10], want[10];
	uint32_t n, n_want, n_bad = 0, n_same = 0;
	struct store_report rep;
	struct collection *c;
	struct store *s;

	make_rows(dir, "hnsw");
	sk_flip(file_of(dir, "vec.0001"), COLFILE_HEADER + 100 * DIM * 4 + 3);
	s = open_dir(dir, &cfg, &rep);
	must(s);
	c = sk_get(s, "c");
	must(sk_search(s, c, &q, hit, &n) == 0);
	ok(n == 10 && generation_damaged(c->gen) == 1,
		"a walk's answer is filled from the next candidates");
	q.exact = true;
	must(sk_search(s, c, &q, want, &n_want) == 0);
	for (uint32_t i = 0; i < n; i++) {
		n_bad += hit[i].slot >= 96 && hit[i].slot <= 111;
		for (uint32_t j = 0; j < n_want; j++)
			n_same += hit[i].slot == want[j].slot;
	}
	ok(n_bad == 0, "of what is damaged it has none");
	ok(n_same >= 8, "it is that of a scan, nearly (%u of 10)", n_same);
	collection_unref(c);
	store_close(s);
}

/* Opens dir after a byte of a file was flipped, and flips it back. */
static bool opens_flipped(const char *dir, const char *name, off_t at,
	struct store_report *rep)
{
	const struct store_config cfg = {.checkpoint_bytes = UINT64_MAX};
	struct store *s;
	bool opens;

	sk_flip(file_of(dir, name), at);
	s = open_dir(dir, &cfg, rep);
	opens = s != NULL;
	if (s)
		sk_is_sound(s);
	store_close(s);
	sk_flip(file_of(dir, name), at);
	return opens;
}

static void test_damaged_files(void)
{
	static const char *const names[] = {"version.0001", "meta.0001",
		"version.0001.sum", "meta.0001.sum", "vec.0001.sum"};
	const char *dir = dir_of(0, "files");
	struct store_report rep;
	unsigned opened = 0, silent = 0;

	make_rows(dir, "hnsw");
	for (size_t i = 0; i < VG_ARRAY_LEN(names); i++) {
		char column[8];

		snprintf(column, sizeof(column), "/%.4s", names[i]);
		opened += opens_flipped(dir, names[i],
			strstr(names[i], "sum") ? 100 : 5000, &rep);
		silent += !strstr(rep.error, "MANIFEST.") ||
			  !strstr(rep.error, column) ||
			  !strstr(rep.error, "restore");
	}
	ok(opened == 0, "damage in what all hangs on is not opened");
	ok(silent == 0, "but told, with the remedy");
	ok(opens_flipped(dir, "graph.0001", 70000, &rep),
		"a damaged graph is made again");
	must(unlink(file_of(dir, "graph.0001")) == 0);
	ok(opens_flipped(dir, "vec.0001", 70000, &rep), "a missing one, too");
}

/* ---- damage that the log makes good ---- */

/* Six records and two checkpoints; the model of them. */
static void make_small(const char *dir, struct sk_model *m)
{
	const struct store_config cfg = {
		.durability = STORE_FSYNC, .no_compaction = true};
	struct store *s = sk_open(dir, &cfg);
	struct collection *c = sk_make(s, "c");

	*m = (struct sk_model){.random = seed() * 2 + 1};
	for (unsigned i = 0; i < 200; i++)
		must(sk_step(m, s, c));
	must(store_checkpoint(s, true) == 0);
	for (unsigned i = 0; i < 200; i++)
		must(sk_step(m, s, c));
	/* Else the next life links what is left, and has something to save. */
	sk_wait_linked(s);
	collection_unref(c);
	store_close(s);
}

/* Whether dir opens, and is the model, from manifest `number`. */
static bool is_whole(
	const char *dir, const struct sk_model *m, uint64_t number)
{
	const struct store_config cfg = {.checkpoint_bytes = UINT64_MAX};
	struct store_report rep;
	struct store *s = open_dir(dir, &cfg, &rep);
	struct collection *c = s ? sk_get(s, "c") : NULL;
	bool is = c && sk_is_model(m, s, c) && rep.manifest == number;

	collection_unref(c);
	store_close(s);
	return is;
}

static void test_made_good(void)
{
	const char *dir = dir_of(0, "good"), *copy = dir_of(1, "good.copy");
	const struct store_config cfg = {
		.durability = STORE_FSYNC, .no_compaction = true};
	char path[240];
	struct sk_model m;
	struct stat st;

	make_small(dir, &m);
	ok(is_whole(dir, &m, 2), "of two manifests the newer one is taken");
	snprintf(path, sizeof(path), "%s/MANIFEST.2", dir);
	sk_flip(path, 100);
	ok(is_whole(dir, &m, 1),
		"if it is damaged, the older one, and the log has the rest");
	sk_flip(path, 100);
	sk_flip(file_of(dir, "version.0001"), COLFILE_HEADER + 5);
	ok(is_whole(dir, &m, 0),
		"if no file can be used, the log has it from its begin");
	ok(stat(path, &st) == 0, "what was not taken is still there");
	sk_copy(dir, copy);
	store_close(sk_open(copy, &cfg));
	ok(is_whole(copy, &m, 1), "and is made anew by the next checkpoint");
	snprintf(path, sizeof(path), "%s/MANIFEST.2", copy);
	ok(stat(path, &st) < 0, "when manifests above it are gone");
}

/* ---- what nobody names ---- */

static void put_file(const char *path)
{
	FILE *f = fopen(path, "w");

	must(f && fputs("left", f) >= 0 && fclose(f) == 0);
}

static void test_leftovers(void)
{
	static const char *const left[] = {"vec.0007", "vec.0007.sum",
		"version.0002", "graph.0099", "end.0003.sum"};
	const struct store_config cfg = {
		.durability = STORE_FSYNC, .no_compaction = true};
	const char *dir = dir_of(0, "left");
	char other[240], mine[240], path[300];
	struct sk_model m;
	struct stat st;
	unsigned there = 0;

	make_small(dir, &m);
	for (unsigned i = 0; i < VG_ARRAY_LEN(left); i++)
		put_file(file_of(dir, left[i]));
	put_file(file_of(dir, "notes.txt"));
	snprintf(mine, sizeof(mine), "%s/c/mine", dir);
	must(mkdir(mine, 0755) == 0);
	snprintf(other, sizeof(other), "%s/c/%032d", dir, 7);
	must(mkdir(other, 0755) == 0);
	snprintf(path, sizeof(path), "%s/meta.0001", other);
	put_file(path);
	ok(is_whole(dir, &m, 2), "files that nobody names are not looked at");
	ok(stat(other, &st) == 0, "nor touched while nothing is written");
	store_close(sk_open(dir, &cfg));
	ok(stat(other, &st) < 0, "a directory of a collection that is none "
				 "goes");
	must(rmdir(mine) == 0);
	for (unsigned i = 0; i < VG_ARRAY_LEN(left); i++)
		there += stat(file_of(dir, left[i]), &st) == 0;
	ok(there == 0, "and parts and graphs that no manifest names");
	ok(stat(file_of(dir, "notes.txt"), &st) == 0,
		"but no file of another kind");
	ok(is_whole(dir, &m, 2), "all else is there");
}

int main(void)
{
	plan(44);
	test_clean();
	test_crash();
	test_lives();
	test_full();
	test_damaged_vectors();
	test_damaged_candidates();
	test_damaged_files();
	test_made_good();
	test_leftovers();
	return done();
}
