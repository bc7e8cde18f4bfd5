/* SPDX-License-Identifier: Apache-2.0 */
/* snap_log: snapshots in the log: replayed as they were, refused where they misfit. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/logkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

static char dir_name[2][160];

static const char *dir_of(int i, const char *name)
{
	snprintf(dir_name[i], sizeof(dir_name[i]), "%s/%s", scratch(), name);
	return dir_name[i];
}

/* ---- replayed ---- */

static const struct store_config no_files = {
	.checkpoint_bytes = UINT64_MAX, .no_compaction = true, .indexers = 1};

#define SNAPS 12

/* Snapshots are taken all along, and every third removed again. */
static void test_replay(void)
{
	static struct sk_model then[SNAPS];
	const char *dir = dir_of(0, "replay");
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &no_files);
	struct collection *c = sk_make(s, "c"), *snap;
	unsigned wrong = 0, differs = 0;
	char name[8];

	for (unsigned i = 0; i < SNAPS; i++) {
		for (unsigned k = 0; k < 40; k++)
			wrong += !sk_step(&m, s, c);
		snprintf(name, sizeof(name), "s%u", i);
		wrong += sk_snap(s, c, name) != 0;
		then[i] = m;
		/* What a log does not tell: it is replayed into one. */
		if (i % 4 == 1)
			must(store_compact(s, c) == 0);
		snprintf(name, sizeof(name), "s%u", i - 1);
		if (i % 3 == 1)
			wrong += sk_unsnap(s, c, name) != 0;
	}
	ok(wrong == 0, "snapshots come and go among changes");
	for (unsigned life = 0; life < 3; life++) {
		collection_unref(c);
		store_close(s);
		s = sk_open(dir, &no_files);
		c = sk_get(s, "c");
		must(c);
		differs += !sk_is_model(&m, s, c);
		for (unsigned i = 0; i < SNAPS; i++) {
			snprintf(name, sizeof(name), "s%u", i);
			snap = collection_find_snap(c, sk_id(name));
			differs += (snap != NULL) != (i % 3 != 0);
			differs += snap && !sk_is_model(&then[i], s, snap);
			collection_unref(snap);
		}
		for (unsigned k = 0; k < 20; k++)
			wrong += !sk_step(&m, s, c);
	}
	ok(differs == 0 && wrong == 0,
		"the log alone gives each as it was, and not those removed");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* ---- logs that nobody can have written ---- */

static const uint8_t coll_uuid[16] = {9, 9, 9};
static uint64_t seqs[VG_SEQS];

static struct op op_of(enum op_type type, const char *id)
{
	static const float vec[3] = {1, 2, 3};
	struct op op = {.type = type, .epoch = 1, .n_places = 1};

	memcpy(op.uuid, coll_uuid, sizeof(op.uuid));
	if (id)
		op.id = sk_id(id);
	if (type == OP_PUT) {
		op.vec = vec;
		op.vec_len = sizeof(vec);
		op.source = OP_SOURCE_RAW;
	}
	op.places[0].partition = id ? op_partition(op.id)
				    : VG_PARTITION_CATALOGUE;
	op.places[0].seq = ++seqs[op.places[0].partition];
	return op;
}

static struct op op_create(const char *name)
{
	struct op op = op_of(OP_CREATE, NULL);

	op.name = sk_id(name);
	op.config = (struct op_config){.m = 16, .ef_construction = 200,
		.ef_search = 100, .metric = VG_L2, .dtype = VG_F32,
		.index = VG_HNSW};
	op.attr.mode = 0755;
	return op;
}

/* It sees what there is. */
static struct op op_snap(const char *name, uint8_t uuid)
{
	static struct op_place seen[VG_PARTITIONS];
	struct op op = op_of(OP_SNAP, NULL);

	for (uint16_t p = 0; p < VG_PARTITIONS; p++)
		if (seqs[p])
			seen[op.n_seen++] = (struct op_place){p, seqs[p]};
	op.name = sk_id(name);
	op.snap[0] = uuid;
	op.more = seen;
	return op;
}

static struct op op_unsnap(const char *name)
{
	struct op op = op_of(OP_UNSNAP, NULL);

	op.name = sk_id(name);
	return op;
}

/* A log that is being written. */
static struct {
	char dir[160];
	struct wal_config cfg;
	struct wal *wal;
} forged;

static void append(struct op op)
{
	uint8_t bytes[4096];
	struct wal_part part = {.bytes = bytes};

	part.len = op_encode(&op, bytes, sizeof(bytes));
	must(part.len > 0);
	must(wal_append(forged.wal, WAL_OP, &part, 1, false) == 0);
}

/* Of a new store with collection "c", its record "a", and their snapshot "s". */
static void begin(void)
{
	struct wal_report wr;
	char path[200];
	int fd;

	snprintf(forged.dir, sizeof(forged.dir), "%s", dir_of(0, "forged"));
	store_close(sk_open(forged.dir, &no_files));
	snprintf(path, sizeof(path), "%s/wal", forged.dir);
	forged.cfg = (struct wal_config){.no_uring = true};
	forged.cfg.dirfd = open(path, O_RDONLY | O_DIRECTORY);
	must(forged.cfg.dirfd >= 0);
	snprintf(path, sizeof(path), "%s/FORMAT", forged.dir);
	fd = open(path, O_RDONLY);
	must(fd >= 0 && pread(fd, path, 49, 0) == 49);
	close(fd);
	for (int i = 0; i < 16; i++)
		must(sscanf(path + 17 + 2 * i, "%2hhx", &forged.cfg.uuid[i]) ==
			1);
	kit_dir_clear(forged.cfg.dirfd);
	must(wal_open(&forged.cfg, kit_see, NULL, &wr, &forged.wal) == 0);
	memset(seqs, 0, sizeof(seqs));
	append(op_create("c"));
	append(op_of(OP_PUT, "a"));
	append(op_snap("s", 1));
}

/* Opens the store of that log, and makes it new again; what that says. */
static int end(char error[512])
{
	struct store_config cfg = {.dir = forged.dir, .indexers = 1};
	struct store_report rep;
	struct store *s;
	int rc;

	must(wal_write(forged.wal, true) == 0);
	wal_close(forged.wal);
	close(forged.cfg.dirfd);
	rc = store_open(&cfg, &rep, &s);
	/* Closing makes a checkpoint, which asserts what it writes. */
	if (rc == 0)
		store_close(s);
	snprintf(error, 512, "%s", rep.error);
	sk_copy(dir_of(1, "nothing"), forged.dir);
	must(rmdir(forged.dir) == 0);
	return rc;
}

static void refuses(struct op op, const char *sentence, const char *what)
{
	char error[512];
	int rc;

	append(op);
	rc = end(error);
	ok(rc == -VG_ECORRUPT && strstr(error, sentence), "%s: %s", what,
		error);
}

static void takes(struct op op, const char *what)
{
	char error[512];
	int rc;

	append(op);
	rc = end(error);
	ok(rc == 0, "%s %s", what, error);
}

static void test_misfits(void)
{
	struct op op;

	begin();
	takes(op_snap("t", 2), "a second snapshot is taken");
	begin();
	append(op_unsnap("s"));
	takes(op_snap("s", 1), "and the first again when it was removed");
	begin();
	refuses(op_snap("s", 2), "its snapshot exists", "one of its name");
	begin();
	refuses(op_snap("t", 1), "its uuid is another's", "one of its uuid");
	begin();
	op = op_snap("t", 0);
	memcpy(op.snap, coll_uuid, sizeof(op.snap));
	refuses(op, "its uuid is another's", "one of its collection's uuid");
	begin();
	refuses(op_snap("t", 0), "its uuid is another's",
		"one of no uuid, the root's");
	begin();
	refuses(op_snap("a/b", 2), "its name is none", "one named a/b");
	begin();
	op = op_snap("ab", 2);
	op.name = (struct vg_id){"a\0b", 3};
	refuses(op, "its name is none", "one with a NUL");
	begin();
	op = op_snap("t", 2);
	((struct op_place *)(uintptr_t)op.more)->seq++;
	refuses(op, "shows what is not there", "one of what is to come");
	begin();
	op = op_snap("t", 2);
	op.uuid[0]++;
	refuses(op, "its collection does not exist", "one of no collection");
	begin();
	op = op_snap("t", 2);
	memset(op.uuid, 0, sizeof(op.uuid));
	refuses(op, "its collection does not exist", "one of the root");
	begin();
	op = op_snap("t", 2);
	op.uuid[0] = 1;
	op.uuid[1] = op.uuid[2] = 0;
	refuses(op, "its collection is a snapshot", "one of a snapshot");
	begin();
	op = op_of(OP_DEL, "a");
	op.uuid[0] = 1;
	op.uuid[1] = op.uuid[2] = 0;
	refuses(op, "its collection is a snapshot", "a change of a snapshot");
	begin();
	op = op_create("d");
	op.uuid[0] = 1;
	op.uuid[1] = op.uuid[2] = 0;
	refuses(op, "its collection", "a collection of a snapshot's uuid");
	begin();
	refuses(op_unsnap("t"), "its snapshot does not exist",
		"the end of none");
	begin();
	append(op_unsnap("s"));
	refuses(op_unsnap("s"), "its snapshot does not exist",
		"the end of one that ended");
	begin();
	op = op_snap("t", 2);
	op.places[0] = (struct op_place){5, ++seqs[5]};
	refuses(op, "another partition", "one in a record's partition");
	begin();
	append(op_of(OP_DEL, "a"));
	refuses(op_of(OP_DROP, NULL), "it has records or snapshots",
		"the end of a collection that has one");
}

/* The same of what else a manifest could not say. */
static void test_others(void)
{
	static const float two[2] = {1, 2};
	struct op op;

	begin();
	op = op_create("d/e");
	op.uuid[0]++;
	refuses(op, "its name is none", "a collection named d/e");
	begin();
	op = op_of(OP_MOVE, NULL);
	op.name = (struct vg_id){"\0", 1};
	refuses(op, "its name is none", "a new name that is a NUL");
	begin();
	op = op_of(OP_ALIAS, NULL);
	memset(op.uuid, 0, sizeof(op.uuid));
	op.name = sk_id("l");
	op.target = (struct vg_id){"c\0c", 3};
	refuses(op, "its name is none", "a link to a NUL");
	begin();
	op = op_create("d");
	memset(op.uuid, 0, sizeof(op.uuid));
	refuses(op, "its uuid is another's", "a collection of no uuid");
	begin();
	op = op_of(OP_PUT, "b");
	op.vec = two;
	op.vec_len = sizeof(two);
	refuses(op, "does not fit", "a vector of two numbers beside three");
	begin();
	op = op_of(OP_PUT, "a");
	op.vec = two;
	op.vec_len = sizeof(two);
	takes(op, "in the only record's place it is taken");
}

int main(void)
{
	plan(3 + 18 + 6);
	test_replay();
	must(mkdir(dir_of(1, "nothing"), 0700) == 0);
	test_misfits();
	test_others();
	return done();
}
