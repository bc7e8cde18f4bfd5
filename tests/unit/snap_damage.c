/* SPDX-License-Identifier: Apache-2.0 */
/* snap_damage: damage in a past generation is told, and costs its snapshots alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/check.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static char dir_name[2][160];

static const char *dir_of(int i, const char *name)
{
	snprintf(dir_name[i], sizeof(dir_name[i]), "%s/%s", scratch(), name);
	return dir_name[i];
}

/* Nothing stays that the newest manifest has no use for. */
static const struct store_config bare = {.durability = STORE_FSYNC,
	.no_compaction = true,
	.segment_size = 16384,
	.has_grace = true,
	.indexers = 1};
static const struct store_config look_only = {
	.no_compaction = true, .checkpoint_bytes = UINT64_MAX, .indexers = 1};

/* ---- a store ---- */

struct kept {
	struct sk_model now, old, new, other;
};

static void steps(
	struct store *s, struct collection *c, struct sk_model *m, unsigned n)
{
	sk_steps(m, s, c, n);
	sk_wait_linked(s);
}

/* "docs" with snapshot "old" of a past generation and "new" of the present;
 * "else" beside it. */
static void make(const char *dir, const struct store_config *cfg,
	struct kept *k)
{
	struct store *s = sk_open(dir, cfg);
	struct collection *c = sk_make(s, "docs"), *d = sk_make(s, "else");

	*k = (struct kept){.now.random = seed() * 4 + 1,
		.other.random = seed() * 4 + 3};
	steps(s, d, &k->other, 300);
	/* What it shows is in the first block of rows. */
	steps(s, c, &k->now, 120);
	must(sk_snap(s, c, "old") == 0);
	k->old = k->now;
	steps(s, c, &k->now, 600);
	must(store_checkpoint(s, true) == 0);
	must(store_compact(s, c) == 0);
	steps(s, c, &k->now, 300);
	must(sk_snap(s, c, "new") == 0);
	k->new = k->now;
	steps(s, c, &k->now, 100);
	collection_unref(c);
	collection_unref(d);
	store_close(s);
}

/* The path of the column's first part, of the past generation of docs or of the
 * present; "graph": its base; "": the directory. */
static const char *file_of(const char *dir, const char *column, bool is_past)
{
	static char path[400];
	char uuid[33];
	struct manifest m;
	const struct manifest_collection *mc;
	const struct manifest_column *mcol;
	uint64_t *number;
	uint32_t n;
	struct io io;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	io_init(&io);
	must(fd >= 0 && manifest_list(&io, fd, &number, &n) == 0 && n > 0);
	must(manifest_load(&io, fd, number[0], &m) == 0);
	mc = m.coll;
	while (manifest_is_past(mc) != is_past ||
		(!is_past && strcmp(mc->name, "docs") != 0)) {
		mc++;
		must(mc < m.coll + m.n_colls);
	}
	mcol = strcmp(column, "vec") == 0	? &mc->vec
	       : strcmp(column, "meta") == 0	? &mc->meta
	       : strcmp(column, "version") == 0 ? &mc->version
						: &mc->end;
	manifest_dir_format(mc->uuid, uuid);
	snprintf(path, sizeof(path), "%s/c/%s/%s.%04u", dir, uuid, column,
		strcmp(column, "graph") == 0 ? mc->graph.number
					     : mcol->part[0].number);
	if (!column[0])
		*strrchr(path, '/') = '\0';
	manifest_fini(&m);
	free(number);
	close(fd);
	return path;
}

/* A bit in each whole block of rows; what is behind them is read by an open. */
static void flip_all(const char *path)
{
	struct stat st;

	must(stat(path, &st) == 0 && st.st_size > COLFILE_HEADER);
	for (off_t at = COLFILE_HEADER; at + COLFILE_BLOCK <= st.st_size;
		at += COLFILE_BLOCK)
		sk_flip(path, at);
}

/* ---- what is said ---- */

static struct {
	char text[8192];
	unsigned n, without; /* findings; those that do not have `has` */
	const char *has;
} said;

static void take(void *ctx, bool is_finding, const char *text)
{
	size_t len = strlen(said.text);

	(void)ctx;
	if (!is_finding)
		return;
	said.n++;
	said.without += !strstr(text, said.has);
	snprintf(said.text + len, sizeof(said.text) - len, "%s\n", text);
}

/* Findings of --check, and whether each has the words. */
static bool says(const char *dir, unsigned n, const char *has)
{
	struct check_config cc = {.dir = dir, .say = take};
	struct check_result res;

	memset(&said, 0, sizeof(said));
	said.has = has;
	must(check_each(&cc, &res) == 0);
	if (said.n != n || said.without)
		diag("%u findings, not %u with '%s':\n%s", said.n, n, has,
			said.text);
	return said.n == n && said.without == 0;
}

/* Whether all is as it was; has_old: the old snapshot, too. */
static bool is_right(struct store *s, const struct kept *k, bool has_old)
{
	struct collection *c = sk_get(s, "docs"), *d = sk_get(s, "else");
	struct collection *old = c ? collection_find_snap(c, sk_id("old"))
				   : NULL;
	bool is = c && d && sk_is_model(&k->now, s, c) &&
		  sk_is_model(&k->other, s, d) &&
		  sk_is_snap(&k->new, s, c, "new") && has_old == (old != NULL) &&
		  (!has_old || sk_is_snap(&k->old, s, c, "old"));

	collection_unref(old);
	collection_unref(c);
	collection_unref(d);
	return is;
}

static bool opens(const char *dir, const struct kept *k)
{
	struct store *s = sk_open(dir, &look_only);
	bool is = is_right(s, k, true);

	store_close(s);
	return is;
}

/* Refused with a sentence that has both; then recovered without "old". */
static void loses_old(const char *dir, const struct kept *k, const char *file,
	const char *what)
{
	struct store_config cfg = look_only;
	struct store_error e;
	struct store_report rep;
	struct store *s;

	cfg.dir = dir;
	ok(store_open(&cfg, &rep, &s) < 0, "%s: it is not opened", what);
	ok(strstr(rep.error, "snapshots of collection 'docs'") &&
			strstr(rep.error, file) && strstr(rep.error, "restore"),
		"and told: %s", rep.error);
	cfg.is_recovery = true;
	must(store_open(&cfg, &rep, &s) == 0);
	ok(rep.n_losses == 1 && is_right(s, k, false),
		"a recovery has all but that snapshot");
	ok(store_error_get(s, 0, &e) == 0 &&
			strcmp(e.path, "docs/.snap") == 0 &&
			strstr(e.why, file),
		"and says which it has not: %s: %s", e.path, e.why);
	store_close(s);
}

/* ---- damage ---- */

static void test_whole(const char *dir, const struct kept *k)
{
	struct collection *c;
	struct store *s;

	ok(says(dir, 0, "") && opens(dir, k), "undamaged, all is there");
	s = sk_open(dir, &look_only);
	c = sk_get(s, "docs");
	ok(c->n_snaps == 2 && c->snaps[0]->gen != c->gen &&
			c->snaps[1]->gen == c->gen,
		"one snapshot is of a past generation, one of the present");
	collection_unref(c);
	store_close(s);
}

/* What all of a generation hangs on. */
static void test_columns(const char *base, const struct kept *k)
{
	static const char *const columns[] = {"version", "meta", "end"};
	const char *dir = dir_of(1, "columns");
	char file[16];

	for (unsigned i = 0; i < VG_ARRAY_LEN(columns); i++) {
		sk_copy(base, dir);
		sk_flip(file_of(dir, columns[i], true), 4096 + 5);
		snprintf(file, sizeof(file), "/%s", columns[i]);
		loses_old(dir, k, file, columns[i]);
		ok(says(dir, 2, file) &&
				strstr(said.text, "docs/.snap: ") &&
				strstr(said.text, "these snapshots are lost") &&
				strstr(said.text,
					"snapshots of collection 'docs' "
					"cannot be opened"),
			"--check says so of that file, and of them");
	}
	sk_copy(base, dir);
	must(unlink(file_of(dir, "version", true)) == 0);
	loses_old(dir, k, "/version", "a file that is missing");
	sk_copy(base, dir);
	sk_flip(file_of(dir, "version", false), 4096 + 5);
	ok(says(dir, 2, "/version") && strstr(said.text, "docs: c/"),
		"the present's damage is the collection's");
	ok(!strstr(said.text, "snapshot"), "and no snapshot's");
}

static void test_graph(const char *base, const struct kept *k)
{
	const char *dir = dir_of(1, "graph");

	sk_copy(base, dir);
	sk_flip(file_of(dir, "graph", true), 300);
	ok(says(dir, 2, "derived: it is rebuilt") &&
			strstr(said.text, "'docs': a graph of its snapshots"),
		"a past generation's graph is derived");
	ok(opens(dir, k), "and made again");
	must(unlink(file_of(dir, "graph", true)) == 0);
	ok(says(dir, 2, "derived: it is rebuilt") && opens(dir, k),
		"a missing one, too");
}

/* Vectors: known are those that could not be read. */
static void test_vectors(const char *base)
{
	const char *dir = dir_of(1, "vectors");
	struct collection *c, *old, *new;
	struct store *s;

	sk_copy(base, dir);
	flip_all(file_of(dir, "vec", true));
	ok(says(dir, 1, "snapshots of collection 'docs' lose the vectors of"),
		"records that only a snapshot shows are named");
	s = sk_open(dir, &look_only);
	c = sk_get(s, "docs");
	old = collection_find_snap(c, sk_id("old"));
	new = collection_find_snap(c, sk_id("new"));
	must(old && new);
	sk_nearest(s, old, 1, SK_DIM, true);
	ok(generation_damaged(old->gen) > 0 && generation_damaged(c->gen) == 0,
		"the snapshot's answers are partial, the present's are not");
	ok(generation_damaged(new->gen) == 0, "nor a later snapshot's");
	collection_unref(old);
	collection_unref(new);
	collection_unref(c);
	store_close(s);
}

/* Where older manifests have the same files. */
static void test_older(void)
{
	const char *dir = dir_of(1, "older");
	struct store_config cfg = bare;
	struct collection *c;
	struct kept k;
	struct store *s;

	make(dir, &cfg, &k);
	cfg.has_grace = false;
	s = sk_open(dir, &cfg);
	c = sk_get(s, "docs");
	must(sk_snap(s, c, "last") == 0);
	collection_unref(c);
	store_close(s);
	flip_all(file_of(dir, "vec", true));
	ok(says(dir, 1, "lose the vectors of"),
		"what several manifests have is told once, and as it is");
}

/* ---- found when touched ---- */

#define ROWS 17000u /* more than a chunk of 4 MiB */
#define DIM 64u

static void test_first_touch(void)
{
	const char *dir = dir_of(0, "touch");
	struct store *s = sk_open(dir, &bare);
	struct collection *c = sk_make(s, "docs"), *snap;
	float v[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(100, DIM, v), .dim = DIM, .k = 1,
		.exact = true};
	struct search_hit hit;
	char id[16];
	uint32_t n;

	must(sk_config(s, c, "index", "flat") == 0);
	must(sk_config(s, c, "metric", "l2") == 0);
	for (unsigned i = 0; i < ROWS; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
	}
	must(sk_snap(s, c, "old") == 0);
	must(store_compact(s, c) == 0);
	collection_unref(c);
	store_close(s);
	/* Row 100 lies in the block of rows 96 to 111. */
	sk_flip(file_of(dir, "vec", true), COLFILE_HEADER + 100 * DIM * 4 + 3);
	s = sk_open(dir, &look_only);
	c = sk_get(s, "docs");
	snap = collection_find_snap(c, sk_id("old"));
	must(snap && snap->gen != c->gen);
	ok(generation_damaged(snap->gen) == 0,
		"what nobody touched is not judged");
	ok(strcmp(sk_nearest(s, c, 100, DIM, true), "100") == 0 &&
			generation_damaged(c->gen) == 0,
		"the present has its own bytes");
	ok(sk_search(s, snap, &q, &hit, &n) == 0 && n == 1 &&
			(hit.slot < 96 || hit.slot > 111),
		"a search of the snapshot leaves out what is damaged");
	ok(generation_damaged(snap->gen) == 1 &&
			generation_damaged(c->gen) == 0,
		"and it is known then, of the snapshot");
	collection_unref(snap);
	collection_unref(c);
	store_close(s);
	ok(says(dir, 1, "snapshots of collection 'docs' lose the vectors of "
			"16 records"),
		"--check names the records");
}

int main(void)
{
	const char *base = dir_of(0, "base");
	struct kept k;

	plan(2 + 3 * 5 + 4 + 2 + 3 + 3 + 1 + 5);
	make(base, &bare, &k);
	test_whole(base, &k);
	test_columns(base, &k);
	test_graph(base, &k);
	test_vectors(base);
	test_older();
	test_first_touch();
	return done();
}
