/* SPDX-License-Identifier: Apache-2.0 */
/* store: every allocation and every call to the disk fails once, and for ever. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/logkit.h"
#include "tests/memkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

/*
 * A short life of a store: opened, changed in every way, searched, closed. A
 * change that was acknowledged is there after the next open; one that was
 * refused for memory or a full disk is not; only after a failed write or sync
 * may it be either.
 */

/* ---- memory: mmap too, through the linker's --wrap ---- */

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd,
	off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd,
	off_t offset);

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd,
	off_t offset)
{
	if (mem_fails()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, len, prot, flags, fd, offset);
}

/* ---- the life ---- */

#define DIM 4

enum step {
	MAKE_C, PUT_A, PUT_B, PUT_D, PUT_E, META_A, RENAME_B, DEL_D, PUT_E2,
	LINK, MAKE_X, MOVE_X, DROP_Y, CONFIG, SNAP_S, SNAP_T, UNSNAP_T, MAKE_R,
	PUT_R, SNAP_R, DEL_R, PUT_R2, BOTH, STEPS,
};

enum outcome { NOT_DONE, DONE, UNKNOWN };

static enum outcome outcomes[STEPS];
static bool is_lie; /* something was said that cannot be */

static void lie(const char *what, int step)
{
	diag("%s at step %d", what, step);
	is_lie = true;
}

static void note(enum step step, int rc, const struct change *ch)
{
	outcomes[step] = rc == 0	       ? DONE
			 : rc == -EIO ? UNKNOWN
				      : NOT_DONE;
	if (rc < 0 && rc != -EIO && rc != -ENOMEM && rc != -ENOSPC &&
		rc != -EROFS && rc != -ENOENT)
		lie("an error nobody expects", (int)step);
	if (rc < 0 && !ch->why[0])
		lie("an error without a sentence", (int)step);
	if (rc == -ENOMEM && !mem_failed())
		lie("no memory, without need", (int)step);
}

static void change(struct store *s, enum step step, struct change *ch)
{
	note(step, sk_run(s, ch), ch);
}

static void put_both(struct store *s, struct collection *c)
{
	float v[2][SK_DIM_MAX];
	struct change ch[2];
	struct commit commit = {.changes = ch, .n = 2, .is_atomic = true};

	for (unsigned i = 0; i < 2; i++)
		ch[i] = (struct change){.type = OP_PUT, .coll = c,
			.id = sk_id(i ? "t2" : "t1"),
			.vec = sk_vec(6 + i, DIM, v[i]), .dim = DIM,
			.source = OP_SOURCE_RAW, .body_len = DIM * 4};
	ch[0].rc = store_commit_wait(s, &commit);
	memcpy(ch[0].why, commit.why, sizeof(ch[0].why));
	note(BOTH, ch[0].rc, &ch[0]);
}

static void put_dim(struct store *s, struct collection *c, enum step step,
	struct sk_put p)
{
	float v[SK_DIM_MAX];
	struct change ch = {.type = OP_PUT, .coll = c, .id = sk_id(p.id),
		.vec = sk_vec(p.n, p.dim, v), .dim = p.dim,
		.source = OP_SOURCE_RAW, .body_len = p.dim * 4, .meta_mode = CHANGE_META_MERGE,
		.meta = {"{\"k\":1}", 7}};

	change(s, step, &ch);
}

static void put(struct store *s, struct collection *c, enum step step,
	const char *id, unsigned n)
{
	put_dim(s, c, step, (struct sk_put){id, n, DIM, 0});
}

static void snap(struct store *s, struct collection *c, enum step step,
	const char *name)
{
	struct change ch = {.type = step == UNSNAP_T ? OP_UNSNAP : OP_SNAP,
		.coll = c, .name = sk_id(name)};

	change(s, step, &ch);
}

static void look(struct store *s, struct collection *c, bool exact)
{
	float v[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(1, DIM, v), .dim = DIM, .k = 3,
		.exact = exact};
	struct search_hit hits[3];
	uint32_t n;
	int rc = sk_search(s, c, &q, hits, &n);

	if (rc < 0 && rc != -ENOMEM)
		lie("a search failed", rc);
	if (rc == 0 && n == 0 && atomic_load(&c->n_live))
		lie("a search found nothing", (int)n);
}

/* It may fail; then the log has everything. */
static void checkpoint(struct store *s)
{
	int rc = store_checkpoint(s, true);

	if (rc == -ENOMEM && !mem_failed())
		lie("no memory, without need", rc);
}

/* It may fail; then all is as it was. */
static void compact(struct store *s, struct collection *c)
{
	int rc = store_compact(s, c);

	if (rc == -ENOMEM && !mem_failed())
		lie("no memory, without need", rc);
}

static void change_records(struct store *s, struct collection *c)
{
	struct change ch;

	put(s, c, PUT_A, "a", 1);
	put(s, c, PUT_B, "b", 2);
	look(s, c, false);
	snap(s, c, SNAP_S, "s");
	checkpoint(s);
	put(s, c, PUT_D, "d", 3);
	put(s, c, PUT_E, "e", 4);
	ch = (struct change){.type = OP_SET, .coll = c, .id = sk_id("a"),
		.meta_mode = CHANGE_META_SET, .key = sk_id("k"),
		.meta = {"2", 1}};
	change(s, META_A, &ch);
	ch = (struct change){.type = OP_RENAME, .coll = c, .id = sk_id("b"),
		.id2 = sk_id("bb")};
	change(s, RENAME_B, &ch);
	ch = (struct change){.type = OP_DEL, .coll = c, .id = sk_id("d")};
	change(s, DEL_D, &ch);
	put(s, c, PUT_E2, "e", 5);
	look(s, c, true);
	ch = (struct change){.type = OP_CONFIG, .coll = c,
		.id = sk_id("ef_search"), .meta = {"77", 2}};
	change(s, CONFIG, &ch);
	compact(s, c);
	snap(s, c, SNAP_T, "t");
}

/* A vector of another dimension than a snapshot's; all goes to files. */
static void change_dim(struct store *s)
{
	struct change ch = {.type = OP_CREATE, .name = sk_id("r")};
	struct collection *r;

	change(s, MAKE_R, &ch);
	r = sk_get(s, "r");
	if (!r)
		return;
	put_dim(s, r, PUT_R, (struct sk_put){"r", 6, 3, 0});
	snap(s, r, SNAP_R, "s");
	ch = (struct change){.type = OP_DEL, .coll = r, .id = sk_id("r")};
	change(s, DEL_R, &ch);
	if (outcomes[DEL_R] == DONE)
		put_dim(s, r, PUT_R2, (struct sk_put){"r", 7, 5, 0});
	checkpoint(s);
	collection_unref(r);
}

static void change_names(struct store *s)
{
	struct change ch = {.type = OP_ALIAS, .name = sk_id("l"),
		.target = sk_id("c")};
	struct collection *x;

	change(s, LINK, &ch);
	ch = (struct change){.type = OP_CREATE, .name = sk_id("x")};
	change(s, MAKE_X, &ch);
	x = sk_get(s, "x");
	if (!x)
		return;
	ch = (struct change){.type = OP_MOVE, .coll = x, .name = sk_id("y")};
	change(s, MOVE_X, &ch);
	ch = (struct change){.type = OP_DROP, .coll = x};
	change(s, DROP_Y, &ch);
	collection_unref(x);
}

/* ---- is it what was said ---- */

/* While it lives, what is unknown is not there. */
static bool was(enum step step, bool lives)
{
	return outcomes[step] == DONE || (outcomes[step] == UNKNOWN && !lives);
}

static bool is_open_question(enum step step, bool lives)
{
	return outcomes[step] == UNKNOWN && !lives;
}

static void expect(bool holds, enum step a, enum step b, bool lives)
{
	if (!holds && !is_open_question(a, lives) && !is_open_question(b, lives))
		lie(lives ? "live, it differs" : "opened again, it differs",
			(int)b);
}

static void check_records(struct store *s, struct collection *c, bool lives)
{
	bool e2 = was(PUT_E2, lives), e = was(PUT_E, lives) || e2;
	bool has = sk_find(s, c, "a") != VERSION_NONE;
	float v[SK_DIM_MAX];
	uint32_t no;

	expect(has == was(PUT_A, lives), PUT_A, PUT_A, lives);
	if (has)
		expect(strcmp(sk_meta_of(s, c, "a"), was(META_A, lives)
							     ? "{\"k\":2}"
							     : "{\"k\":1}") ==
				0,
			META_A, META_A, lives);
	has = sk_find(s, c, "b") != VERSION_NONE;
	expect(has == (was(PUT_B, lives) && !was(RENAME_B, lives)), PUT_B,
		RENAME_B, lives);
	has = sk_find(s, c, "bb") != VERSION_NONE;
	expect(has == was(RENAME_B, lives), RENAME_B, RENAME_B, lives);
	has = sk_find(s, c, "d") != VERSION_NONE;
	expect(has == (was(PUT_D, lives) && !was(DEL_D, lives)), PUT_D, DEL_D,
		lives);
	no = sk_find(s, c, "e");
	expect((no != VERSION_NONE) == e, PUT_E, PUT_E2, lives);
	if (no != VERSION_NONE)
		expect(memcmp(version_vec(generation_version(c->gen, no)),
			       sk_vec(e2 ? 5 : 4, DIM, v),
			       DIM * sizeof(float)) == 0,
			PUT_E, PUT_E2, lives);
	expect(collection_config(c).ef_search ==
			(was(CONFIG, lives) ? 77u : 0u), /* auto */
		CONFIG, CONFIG, lives);
}

/* What a commit of two made is there, or neither. */
static void check_both(struct store *s, struct collection *c, bool lives)
{
	bool has = sk_find(s, c, "t1") != VERSION_NONE;

	expect(has == was(BOTH, lives), BOTH, BOTH, lives);
	if (has != (sk_find(s, c, "t2") != VERSION_NONE))
		lie("half of a commit is there", BOTH);
}

/* Whether snapshot s of c shows what it should. */
static void check_snaps(struct store *s, struct collection *c, bool lives)
{
	struct collection *had = collection_find_snap(c, sk_id("s"));
	struct collection *t = collection_find_snap(c, sk_id("t"));

	expect((had != NULL) == was(SNAP_S, lives), SNAP_S, SNAP_S, lives);
	expect((t != NULL) == (was(SNAP_T, lives) && !was(UNSNAP_T, lives)),
		SNAP_T, UNSNAP_T, lives);
	if (had) {
		expect((sk_find(s, had, "a") != VERSION_NONE) ==
				was(PUT_A, lives),
			PUT_A, SNAP_S, lives);
		expect((sk_find(s, had, "b") != VERSION_NONE) ==
				was(PUT_B, lives),
			PUT_B, SNAP_S, lives);
		expect(sk_find(s, had, "d") == VERSION_NONE &&
				sk_find(s, had, "e") == VERSION_NONE &&
				sk_find(s, had, "bb") == VERSION_NONE,
			SNAP_S, SNAP_S, lives);
	}
	collection_unref(had);
	collection_unref(t);
}

/* The vector of record "r" of c is number n, or it is not there. */
static void check_r(struct store *s, struct collection *c, unsigned n,
	unsigned dim, bool exists)
{
	uint32_t no = sk_find(s, c, "r");
	const struct version *v =
		no == VERSION_NONE ? NULL : generation_version(c->gen, no);
	float want[SK_DIM_MAX];

	if ((v != NULL) != exists)
		lie("record r differs", (int)n);
	else if (v && (v->cell->dim != dim ||
			      memcmp(version_vec(v), sk_vec(n, dim, want),
				      dim * sizeof(float)) != 0))
		lie("the vector of r differs", (int)n);
}

static void check_dim(struct store *s, struct collection *r, bool lives)
{
	struct collection *had = collection_find_snap(r, sk_id("s"));

	expect((had != NULL) == was(SNAP_R, lives), SNAP_R, SNAP_R, lives);
	if (had && outcomes[SNAP_R] == DONE)
		check_r(s, had, 6, 3, was(PUT_R, lives));
	if (outcomes[DEL_R] == DONE && outcomes[PUT_R2] != UNKNOWN)
		check_r(s, r, 7, 5, was(PUT_R2, lives));
	collection_unref(had);
}

static bool has_name(struct store *s, const char *name)
{
	struct entry_info info;
	bool has = catalogue_get(store_catalogue(s), sk_id(name), &info) == 0;

	if (has)
		collection_unref(info.coll);
	return has;
}

static void check(struct store *s, bool lives)
{
	struct collection *c = sk_get(s, "c"), *r = sk_get(s, "r");

	expect(has_name(s, "r") == was(MAKE_R, lives), MAKE_R, MAKE_R, lives);
	expect(has_name(s, "c") == was(MAKE_C, lives), MAKE_C, MAKE_C, lives);
	expect(has_name(s, "l") == was(LINK, lives), LINK, LINK, lives);
	expect(has_name(s, "x") == (was(MAKE_X, lives) &&
					   !was(MOVE_X, lives) &&
					   !was(DROP_Y, lives)),
		MAKE_X, MOVE_X, lives);
	expect(has_name(s, "y") == (was(MOVE_X, lives) && !was(DROP_Y, lives)),
		MOVE_X, DROP_Y, lives);
	if (c)
		check_records(s, c, lives);
	if (c) {
		check_snaps(s, c, lives);
		check_both(s, c, lives);
	}
	if (r)
		check_dim(s, r, lives);
	collection_unref(c);
	collection_unref(r);
}

/* The data directory as it was before the first life. */
static void renew(const char *dir)
{
	char base[200];

	snprintf(base, sizeof(base), "%s.base", dir);
	sk_copy(base, dir);
}

/* One life with the fault that is set up, and a look without it. */
static void live(const char *dir, struct kit_disk *disk)
{
	struct store_config cfg = {.dir = dir, .no_uring = true,
		.indexers = 1, .segment_size = 400, .spill_bytes = 1,
		.io = disk ? &disk->io : NULL};
	struct change make = {.type = OP_CREATE, .name = sk_id("c")};
	struct store_report rep = {0};
	struct store *s = NULL;
	struct collection *c;
	const char *why = NULL;
	int rc;

	memset(outcomes, 0, sizeof(outcomes));
	rc = store_open(&cfg, &rep, &s);
	if (rc < 0 && !rep.error[0] && rc != -ENOMEM)
		lie("not opened, without a sentence", rc);
	if (rc == 0) {
		change(s, MAKE_C, &make);
		c = sk_get(s, "c");
		if (c)
			change_records(s, c);
		change_dim(s);
		if (c) {
			snap(s, c, UNSNAP_T, "t");
			put_both(s, c);
		}
		collection_unref(c);
		change_names(s);
		check(s, true);
		store_close(s);
	}
	mem_disarm();
	if (disk)
		disk->fail_at = 0;
	cfg.io = NULL;
	cfg.checkpoint_bytes = UINT64_MAX;
	rc = store_open(&cfg, &rep, &s);
	if (rc < 0) {
		lie(rep.error, rc);
	} else {
		check(s, false);
		if (store_check(s, &why) < 0)
			lie(why, 0);
		store_close(s);
	}
}

/* From one call on is much like from the next: each third is enough where time
 * is short. */
static long step_of(bool ever)
{
	return ever && !getenv("VG_SOAK") ? 3 : 1;
}

static void test_memory(const char *dir, bool ever)
{
	static struct kit_disk disk;
	long n = 1 - step_of(ever), failed;

	is_lie = false;
	do {
		renew(dir);
		kit_disk_init(&disk);
		disk.no_sync = true;
		n += step_of(ever);
		mem_arm(n, ever);
		live(dir, &disk);
		failed = mem_failed();
		if (is_lie)
			diag("at allocation %ld", n);
	} while (failed && n < 2000 && !is_lie);
	ok(!is_lie && n > 30, "allocations fail %s of %ld in turn",
		ever ? "from one on, some" : "once, each", n - 1);
}

static void test_disk(const char *dir, int rc, bool ever)
{
	static struct kit_disk disk;
	long n = 1 - step_of(ever);

	is_lie = false;
	do {
		renew(dir);
		kit_disk_init(&disk);
		n += step_of(ever);
		disk.fail_at = n;
		disk.for_ever = ever;
		disk.rc = rc;
		disk.no_sync = true;
		live(dir, &disk);
		if (is_lie)
			diag("at call %ld", n);
	} while (disk.failed && n < 2000 && !is_lie);
	ok(!is_lie && n > 20, "calls give %s %s of %ld in turn",
		rc == -EIO ? "an error" : "a full disk",
		ever ? "from one on, some" : "once, each", n - 1);
}

/* A row waits for memory to be linked, and then a checkpoint needs that none is:
 * it is not to wait for memory. */
static void test_pause(const char *dir)
{
	struct store_config cfg = {.dir = dir, .no_uring = true, .indexers = 1};
	struct store_report rep = {0};
	struct store *s;
	struct collection *c;

	renew(dir);
	must(store_open(&cfg, &rep, &s) == 0);
	c = sk_make(s, "c");
	indexer_pause(&s->indexer);
	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	mem_arm(1, true);
	indexer_resume(&s->indexer);
	while (mem_failed() < 3) /* it tries again */
		sched_yield();
	alarm(60); /* what ends the test if it does */
	indexer_pause(&s->indexer);
	mem_disarm();
	ok(indexer_pending(c->gen->cell) == 1,
		"a row that finds no memory holds no checkpoint");
	indexer_resume(&s->indexer);
	sk_wait_linked(s);
	alarm(0);
	ok(indexer_pending(c->gen->cell) == 0 && store_checkpoint(s, true) == 0,
		"and is linked when there is some");
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	char dir[160];

	plan(8);
	snprintf(dir, sizeof(dir), "%s/data.base", scratch());
	store_close(sk_open(dir, NULL));
	dir[strlen(dir) - strlen(".base")] = '\0';
	test_disk(dir, -EIO, false);
	test_disk(dir, -EIO, true);
	test_disk(dir, -ENOSPC, false);
	test_disk(dir, -ENOSPC, true);
	test_memory(dir, false);
	test_memory(dir, true);
	test_pause(dir);
	return done();
}
