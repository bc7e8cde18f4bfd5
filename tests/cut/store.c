/* SPDX-License-Identifier: Apache-2.0 */
/* store: restarted, cut at every frame and anywhere, it is what the model was. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/store_int.h"
#include "tests/logkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

/*
 * A collection "c" goes through random changes, each told to a model. Change
 * number i is in the log as frame i + base, so a log that ends behind some
 * frame has to give the model of that change; one that ends within a frame
 * that of the change before it.
 */
#define STEPS 600

static struct sk_model models[STEPS + 1]; /* after i logged changes */
static char dir_name[3][160];

static const char *dir_of(int i, const char *name)
{
	snprintf(dir_name[i], sizeof(dir_name[i]), "%s/%s", scratch(), name);
	return dir_name[i];
}

static int open_wal(const char *dir)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/wal", dir);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	must(fd >= 0);
	return fd;
}

/* ---- restarts ---- */

static void test_restarts(void)
{
	const char *dir = dir_of(0, "restarts");
	struct store_config cfg = {.durability = STORE_FSYNC,
		.segment_size = 20000};
	struct sk_model m = {.random = seed() * 2 + 1};
	struct store *s = sk_open(dir, &cfg);
	struct collection *c = sk_make(s, "c");
	unsigned wrong = 0, differs = 0;

	for (unsigned life = 0; life < 8; life++) {
		for (unsigned i = 0; i < 250; i++)
			wrong += !sk_step(&m, s, c);
		differs += !sk_is_model(&m, s, c);
		collection_unref(c);
		store_close(s);
		s = sk_open(dir, &cfg);
		c = sk_get(s, "c");
		must(c);
		differs += !sk_is_model(&m, s, c);
	}
	ok(wrong == 0, "every change is answered as the model says");
	ok(differs == 0, "after each of 8 restarts the state is the model's");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* ---- cuts ---- */

struct ends {
	uint64_t n;
	uint64_t at[STEPS + 16]; /* where frame i + 1 ends */
	uint64_t first;		 /* where frame 1 begins */
};

static int see_frame(void *ctx, const struct wal_frame *frame)
{
	struct ends *e = ctx;

	must(e->n < VG_ARRAY_LEN(e->at));
	if (e->n == 0)
		e->first = frame->offset;
	else
		e->at[e->n - 1] = frame->offset;
	e->n++;
	return 0;
}

static void read_uuid(const char *dir, uint8_t uuid[16])
{
	char text[64] = "";
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	struct kit_file f;

	must(fd >= 0);
	f = kit_load(fd, "FORMAT");
	memcpy(text, f.bytes, VG_MIN(f.len, sizeof(text) - 1));
	for (int i = 0; i < 16; i++) {
		unsigned byte;

		must(sscanf(text + 17 + 2 * i, "%2x", &byte) == 1);
		uuid[i] = (uint8_t)byte;
	}
	kit_free(&f);
	close(fd);
}

/* Where each frame of a copy's only segment ends. */
static void find_ends(const char *dir, size_t len, struct ends *e)
{
	struct wal_config cfg = {.no_uring = true};
	struct wal_report rep;
	struct wal *wal;

	*e = (struct ends){0};
	cfg.dirfd = open_wal(dir);
	read_uuid(dir, cfg.uuid);
	must(wal_open(&cfg, see_frame, e, &rep, &wal) == 0);
	wal_close(wal);
	close(cfg.dirfd);
	e->at[e->n - 1] = len;
}

/* Frames that are whole in the first len bytes. */
static uint64_t n_whole(const struct ends *e, uint64_t len)
{
	uint64_t n = 0;

	while (n < e->n && e->at[n] <= len)
		n++;
	return n;
}

/* Opens a copy cut at len and compares; base frames came before the model's
 * first change. */
static bool is_cut_right(const struct kit_file *log, const struct ends *e,
	uint64_t len, uint64_t base)
{
	const char *dir = dir_of(1, "cut");
	struct store_config cfg = {.dir = dir, .no_uring = true,
		.checkpoint_bytes = UINT64_MAX,
		.durability = STORE_FSYNC, .indexers = 1};
	uint64_t n = n_whole(e, len);
	struct store_report rep;
	struct collection *c;
	struct store *s;
	bool is_right;
	int fd = open_wal(dir);

	kit_dir_clear(fd);
	kit_save(fd, "0001.wal", log->bytes, len);
	close(fd);
	if (store_open(&cfg, &rep, &s) < 0) {
		diag("cut at %llu: %s", (unsigned long long)len, rep.error);
		return false;
	}
	c = sk_get(s, "c");
	is_right = rep.replayed == n && (c != NULL) == (n >= base);
	is_right = is_right && (n < base || sk_is_model(&models[n - base], s, c));
	/* What was cut is written anew. */
	is_right = is_right && (!c || sk_put(s, c, (struct sk_put){"new", 1,
							   SK_DIM, 0}) == 0);
	collection_unref(c);
	store_close(s);
	if (!is_right)
		diag("cut at %llu: %llu of %llu frames", (unsigned long long)len,
			(unsigned long long)rep.replayed,
			(unsigned long long)n);
	return is_right;
}

static void test_cuts(void)
{
	const char *dir = dir_of(0, "whole");
	struct store_config cfg = {.durability = STORE_FSYNC,
		.no_uring = true,
		.checkpoint_bytes = UINT64_MAX};
	struct sk_model m = {.random = seed() * 4 + 1};
	struct store *s = sk_open(dir, &cfg);
	struct collection *c = sk_make(s, "c");
	unsigned wrong = 0;
	static struct ends ends;
	struct kit_file log;
	int fd;

	models[0] = m;
	while (m.n_changes < STEPS) {
		must(sk_step(&m, s, c));
		models[m.n_changes] = m;
	}
	collection_unref(c);
	store_close(s);
	sk_copy(dir, dir_of(1, "cut"));
	fd = open_wal(dir);
	log = kit_load(fd, "0001.wal");
	close(fd);
	sk_copy(dir, dir_of(2, "ends"));
	find_ends(dir_of(2, "ends"), log.len, &ends);
	ok(ends.n == STEPS + 1, "the log has a frame for each change: %llu",
		(unsigned long long)ends.n);
	for (uint64_t i = 0; i < ends.n; i += i < 20 ? 1 : 7)
		wrong += !is_cut_right(&log, &ends, ends.at[i], 1);
	ok(wrong == 0, "cut behind a frame it is the model of that change");
	wrong = !is_cut_right(&log, &ends, ends.first, 1);
	for (unsigned i = 0; i < 120; i++) {
		uint64_t room = log.len - ends.first;
		uint64_t at = ends.first + sk_draw(&m, (unsigned)room);

		wrong += !is_cut_right(&log, &ends, at, 1);
	}
	ok(wrong == 0, "cut anywhere, that of the last whole one, and goes on");
	kit_free(&log);
}

/* ---- logs that nobody can have written ---- */

static const uint8_t coll_uuid[16] = {9, 9, 9};
static uint64_t seqs[VG_SEQS];

static void append_op(struct wal *wal, struct op *op)
{
	uint8_t bytes[4096];
	struct wal_part part = {.bytes = bytes};

	op->epoch = 1;
	part.len = op_encode(op, bytes, sizeof(bytes));
	must(part.len > 0);
	must(wal_append(wal, WAL_OP, &part, 1, false) == 0);
}

static struct op op_of(enum op_type type, const char *id)
{
	static const float vec[2] = {1, 2};
	struct op op = {.type = type, .n_places = type == OP_RENAME ? 2 : 1};

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

/* A store whose log is "c" with record "a" and then op; what opening says. */
static int open_with(struct op *op, bool has_first, char *error)
{
	const char *dir = dir_of(0, "forged");
	struct store_config cfg = {.dir = dir, .no_uring = true,
		.checkpoint_bytes = UINT64_MAX,
		.indexers = 1};
	struct wal_config wc = {.no_uring = true};
	struct op create, put;
	struct store_report rep;
	struct wal_report wr;
	struct store *s;
	struct wal *wal;
	int rc;

	store_close(sk_open(dir, &cfg));
	wc.dirfd = open_wal(dir);
	read_uuid(dir, wc.uuid);
	kit_dir_clear(wc.dirfd);
	must(wal_open(&wc, kit_see, NULL, &wr, &wal) == 0);
	if (has_first) {
		create = op_create("c");
		create.places[0].seq = 1;
		put = op_of(OP_PUT, "a");
		put.places[0].seq = 1;
		append_op(wal, &create);
		append_op(wal, &put);
	}
	append_op(wal, op);
	must(wal_write(wal, true) == 0);
	wal_close(wal);
	rc = store_open(&cfg, &rep, &s);
	if (rc == 0)
		store_close(s);
	snprintf(error, 512, "%s", rep.error);
	kit_dir_clear(wc.dirfd);
	must(unlinkat(wc.dirfd, "../IDENTITY", 0) == 0); /* it is new again */
	close(wc.dirfd);
	return rc;
}

static void refuses(struct op op, bool has_first, const char *what)
{
	char error[512];
	int rc = open_with(&op, has_first, error);

	ok(rc == -VG_ECORRUPT && strstr(error, "offset"),
		"%s is refused: %s", what, error);
}

/* Sets the seqs to what the log of open_with has after its two ops. */
static void begin(void)
{
	memset(seqs, 0, sizeof(seqs));
	seqs[VG_PARTITION_CATALOGUE] = 1;
	seqs[op_partition(sk_id("a"))] = 1;
}

static void test_forged(void)
{
	struct op_place places[1];
	char error[512];
	struct op op;

	begin();
	op = op_of(OP_PUT, "b");
	ok(open_with(&op, true, error) == 0, "a log that fits is taken %s",
		error);
	memset(seqs, 0, sizeof(seqs));
	refuses(op_of(OP_PUT, "a"), false, "a put into no collection");
	begin();
	op = op_of(OP_PUT, "a");
	op.places[0].seq++;
	refuses(op, true, "a gap in a partition's changes");
	begin();
	op = op_of(OP_PUT, "a");
	op.places[0].seq--;
	refuses(op, true, "a change that is there already");
	begin();
	op = op_of(OP_PUT, "a");
	op.places[0].partition =
		(uint16_t)((op.places[0].partition + 1) % VG_PARTITIONS);
	op.places[0].seq = 1;
	refuses(op, true, "a record in another's partition");
	begin();
	refuses(op_of(OP_SET, "b"), true, "metadata of no record");
	begin();
	refuses(op_of(OP_DEL, "b"), true, "the end of no record");
	begin();
	op = op_of(OP_RENAME, "b");
	op.id2 = sk_id("z");
	op.places[1] = (struct op_place){op_partition(op.id2), 1};
	refuses(op, true, "a new name for no record");
	begin();
	op = op_of(OP_RENAME, "a");
	op.id2 = sk_id("z");
	op.places[1] = op.places[0];
	op.places[1].seq++;
	refuses(op, true, "a new name in another's partition");
	begin();
	refuses(op_create("d"), true, "a collection that exists");
	begin();
	op = op_create("c");
	op.uuid[0]++;
	refuses(op, true, "a collection whose name exists");
	begin();
	op = op_of(OP_UNALIAS, NULL);
	memset(op.uuid, 0, sizeof(op.uuid));
	op.name = sk_id("nolink");
	refuses(op, true, "the end of no link");
	begin();
	op = op_of(OP_CLEAR, NULL);
	places[0] = (struct op_place){5, 1};
	op.n_places = 1;
	op.more = places;
	refuses(op, true, "a clear that leaves a record out");
	begin();
	op = op_of(OP_DROP, NULL);
	refuses(op, true, "the end of a collection with records");
}

int main(void)
{
	plan(20);
	test_restarts();
	test_cuts();
	test_forged();
	return done();
}
