/* SPDX-License-Identifier: Apache-2.0 */
/* store: every allocation and every call to the disk fails once, and for ever. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/logkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

/*
 * A short life of a store: opened, changed in every way, searched, closed. A
 * change that was acknowledged is there after the next open; one that was
 * refused for memory or a full disk is not; only after a failed write or sync
 * may it be either.
 */

/* ---- memory: malloc and its kin through the linker's --wrap ---- */

static _Atomic bool is_armed;
static _Atomic long n_calls, n_failed;
static long fail_at;
static bool for_ever;

static bool must_fail(void)
{
	long n;

	if (!atomic_load(&is_armed))
		return false;
	n = atomic_fetch_add(&n_calls, 1) + 1;
	if (n != fail_at && !(for_ever && n > fail_at))
		return false;
	atomic_fetch_add(&n_failed, 1);
	return true;
}

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *old, size_t len);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd,
	off_t offset);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *old, size_t len);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd,
	off_t offset);

void *__wrap_malloc(size_t len)
{
	return must_fail() ? NULL : __real_malloc(len);
}

void *__wrap_calloc(size_t n, size_t len)
{
	return must_fail() ? NULL : __real_calloc(n, len);
}

void *__wrap_realloc(void *old, size_t len)
{
	return must_fail() ? NULL : __real_realloc(old, len);
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd,
	off_t offset)
{
	if (must_fail()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, len, prot, flags, fd, offset);
}

/* ---- the life ---- */

#define DIM 4

enum step {
	MAKE_C, PUT_A, PUT_B, PUT_D, PUT_E, META_A, RENAME_B, DEL_D, PUT_E2,
	LINK, MAKE_X, MOVE_X, DROP_Y, CONFIG, SNAP_ONE, PUT_A2, SNAP_TWO,
	UNSNAP_ONE, BOTH, STEPS,
};

/* What a life is full of: records and names, or snapshots and a commit of
 * two changes. Each call that can fail is one more life. */
enum kind { RECORDS, SNAPS };
static const char *const kind_name[] = {"records", "snapshots"};

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
	if (rc == -ENOMEM && !atomic_load(&n_failed))
		lie("no memory, without need", (int)step);
}

static void change(struct store *s, enum step step, struct change *ch)
{
	note(step, sk_run(s, ch), ch);
}

static void put(struct store *s, struct collection *c, enum step step,
	const char *id, unsigned n)
{
	float v[SK_DIM_MAX];
	struct change ch = {.type = OP_PUT, .coll = c, .id = sk_id(id),
		.vec = sk_vec(n, DIM, v), .dim = DIM, .source = OP_SOURCE_RAW,
		.body_len = DIM * 4, .meta_mode = CHANGE_META_MERGE,
		.meta = {"{\"k\":1}", 7}};

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

	if (rc == -ENOMEM && !atomic_load(&n_failed))
		lie("no memory, without need", rc);
}

static void change_records(struct store *s, struct collection *c)
{
	struct change ch;

	put(s, c, PUT_A, "a", 1);
	put(s, c, PUT_B, "b", 2);
	look(s, c, false);
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
}

/* Two puts that go in together. */
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

static void change_snaps(struct store *s, struct collection *c)
{
	struct change ch = {
		.type = OP_SNAP, .coll = c, .name = sk_id("one")};

	put(s, c, PUT_A, "a", 1);
	change(s, SNAP_ONE, &ch);
	put(s, c, PUT_A2, "a", 2);
	checkpoint(s);
	ch = (struct change){
		.type = OP_SNAP, .coll = c, .name = sk_id("two")};
	change(s, SNAP_TWO, &ch);
	ch = (struct change){
		.type = OP_UNSNAP, .coll = c, .name = sk_id("one")};
	change(s, UNSNAP_ONE, &ch);
	put_both(s, c);
	look(s, c, true);
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
			(was(CONFIG, lives) ? 77u : 100u),
		CONFIG, CONFIG, lives);
}

/* Whether c, a collection or a snapshot, has vector n as "a". */
static bool has_a(struct store *s, struct collection *c, unsigned n)
{
	uint32_t no = sk_find(s, c, "a");
	float v[SK_DIM_MAX];

	return no != VERSION_NONE &&
	       memcmp(version_vec(generation_version(c->gen, no)),
		       sk_vec(n, DIM, v), DIM * sizeof(float)) == 0;
}

static void check_snaps(struct store *s, struct collection *c, bool lives)
{
	struct collection *one = collection_find_snap(c, sk_id("one"));
	struct collection *two = collection_find_snap(c, sk_id("two"));
	bool a = was(PUT_A, lives), a2 = was(PUT_A2, lives);
	bool has = sk_find(s, c, "t1") != VERSION_NONE;

	expect((one != NULL) == (was(SNAP_ONE, lives) &&
					!was(UNSNAP_ONE, lives)),
		SNAP_ONE, UNSNAP_ONE, lives);
	if (one)
		expect(has_a(s, one, 1) == a && !has_a(s, one, 2), PUT_A,
			SNAP_ONE, lives);
	expect((two != NULL) == was(SNAP_TWO, lives), SNAP_TWO, SNAP_TWO,
		lives);
	if (two)
		expect(has_a(s, two, 2) == a2 &&
				has_a(s, two, 1) == (a && !a2),
			PUT_A2, SNAP_TWO, lives);
	expect(has_a(s, c, 2) == a2, PUT_A2, PUT_A2, lives);
	expect(has == was(BOTH, lives), BOTH, BOTH, lives);
	if (has != (sk_find(s, c, "t2") != VERSION_NONE))
		lie("half of a commit is there", BOTH);
	collection_unref(one);
	collection_unref(two);
}

static bool has_name(struct store *s, const char *name)
{
	struct entry_info info;
	bool has = catalogue_get(store_catalogue(s), sk_id(name), &info) == 0;

	if (has)
		collection_unref(info.coll);
	return has;
}

static void check_names(struct store *s, bool lives)
{
	expect(has_name(s, "l") == was(LINK, lives), LINK, LINK, lives);
	expect(has_name(s, "x") == (was(MAKE_X, lives) &&
					   !was(MOVE_X, lives) &&
					   !was(DROP_Y, lives)),
		MAKE_X, MOVE_X, lives);
	expect(has_name(s, "y") == (was(MOVE_X, lives) && !was(DROP_Y, lives)),
		MOVE_X, DROP_Y, lives);
}

static void check(struct store *s, enum kind kind, bool lives)
{
	struct collection *c = sk_get(s, "c");

	expect(has_name(s, "c") == was(MAKE_C, lives), MAKE_C, MAKE_C, lives);
	if (c && kind == RECORDS)
		check_records(s, c, lives);
	if (c && kind == SNAPS)
		check_snaps(s, c, lives);
	if (kind == RECORDS)
		check_names(s, lives);
	collection_unref(c);
}

/* The data directory as it was before the first life. */
static void renew(const char *dir)
{
	char base[200];

	snprintf(base, sizeof(base), "%s.base", dir);
	sk_copy(base, dir);
}

/* One life with the fault that is set up, and a look without it. */
static void live(const char *dir, enum kind kind, struct kit_disk *disk)
{
	struct store_config cfg = {.dir = dir, .no_uring = true,
		.indexers = 1, .segment_size = 400,
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
		if (c && kind == RECORDS)
			change_records(s, c);
		if (c && kind == SNAPS)
			change_snaps(s, c);
		collection_unref(c);
		if (kind == RECORDS)
			change_names(s);
		check(s, kind, true);
		store_close(s);
	}
	atomic_store(&is_armed, false);
	if (disk)
		disk->fail_at = 0;
	cfg.io = NULL;
	cfg.checkpoint_bytes = UINT64_MAX;
	rc = store_open(&cfg, &rep, &s);
	if (rc < 0) {
		lie(rep.error, rc);
	} else {
		check(s, kind, false);
		if (store_check(s, &why) < 0)
			lie(why, 0);
		store_close(s);
	}
}

static void test_memory(const char *dir, enum kind kind, bool ever)
{
	long n = 0, failed;

	is_lie = false;
	for_ever = ever;
	do {
		renew(dir);
		fail_at = ++n;
		atomic_store(&n_calls, 0);
		atomic_store(&n_failed, 0);
		atomic_store(&is_armed, true);
		live(dir, kind, NULL);
		failed = atomic_load(&n_failed);
		if (is_lie)
			diag("at allocation %ld", n);
	} while (failed && n < 2000 && !is_lie);
	ok(!is_lie && n > 30, "%s: allocations fail %s, each of %ld in turn",
		kind_name[kind], ever ? "from one on" : "once", n - 1);
}

static void test_disk(const char *dir, enum kind kind, int rc, bool ever)
{
	static struct kit_disk disk;
	long n = 0;

	is_lie = false;
	do {
		renew(dir);
		kit_disk_init(&disk);
		disk.fail_at = ++n;
		disk.for_ever = ever;
		disk.rc = rc;
		disk.no_sync = true;
		live(dir, kind, &disk);
		if (is_lie)
			diag("at call %ld", n);
	} while (disk.failed && n < 2000 && !is_lie);
	ok(!is_lie && n > 20, "%s: calls give %s %s, each of %ld in turn",
		kind_name[kind], rc == -EIO ? "an error" : "a full disk",
		ever ? "from one on" : "once", n - 1);
}

int main(void)
{
	char dir[160];

	plan(2 * 6);
	snprintf(dir, sizeof(dir), "%s/data.base", scratch());
	store_close(sk_open(dir, NULL));
	dir[strlen(dir) - strlen(".base")] = '\0';
	for (enum kind kind = RECORDS; kind <= SNAPS; kind++) {
		test_disk(dir, kind, -EIO, false);
		test_disk(dir, kind, -EIO, true);
		test_disk(dir, kind, -ENOSPC, false);
		test_disk(dir, kind, -ENOSPC, true);
		test_memory(dir, kind, false);
		test_memory(dir, kind, true);
	}
	return done();
}
