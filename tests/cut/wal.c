/* SPDX-License-Identifier: Apache-2.0 */
/* wal.c: the log cut after every byte, flipped in every bit, torn as a crash tears. */
#include "src/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/op.h"
#include "tests/logkit.h"
#include "tests/tap.h"

static struct kit_seen seen, whole; /* whole: the log nothing was done to */
static struct wal_report rep;
static struct kit_disk disk; /* keeps files, but syncs nothing: speed */
static struct kit_file one, two; /* its segments */
static uint64_t durable[KIT_MAX]; /* what frame i + 1 of it knows is safe */
static uint64_t acked;		  /* the last synced */
static uint64_t rng;

static uint64_t random_below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng * 0x2545f4914f6cdd1dull >> 20) % n;
}

/* Groups of 1 to 4 changes, each synced; the last two were not. */
static void make_log(int dir)
{
	struct wal_stat st;
	struct wal *wal;

	must(kit_open(dir, &disk.io, 1500, &seen, &rep, &wal) == 0);
	for (unsigned i = 0; faccessat(dir, "0002.wal", F_OK, 0) < 0; i++)
		must(kit_write(wal, i, 1 + i % 4, true) == 0);
	for (unsigned i = 0; i < 3; i++)
		must(kit_write(wal, 100 + i, 2, true) == 0);
	wal_stat(wal, &st);
	acked = st.durable_lsn;
	must(kit_write(wal, 200, 3, false) == 0);
	must(kit_write(wal, 201, 2, false) == 0);
	one = kit_load(dir, "0001.wal");
	two = kit_load(dir, "0002.wal");
	wal_close(wal);
	must(kit_open(dir, &disk.io, 0, &whole, &rep, &wal) == 0);
	wal_close(wal);
	must(whole.n == acked + 5 && !whole.is_wrong);
	for (uint64_t i = 0; i < whole.n; i++)
		memcpy(&durable[i],
			(whole.segment[i] == 1 ? one : two).bytes +
				whole.offset[i] + 16, 8);
}

/* The files as given (two NULL: only the first), opened: rc, and seen. */
static int open_copy(int dir, const void *a, size_t a_len, const void *b,
	size_t b_len)
{
	struct wal *wal;

	kit_save(dir, "0001.wal", a, a_len);
	if (b)
		kit_save(dir, "0002.wal", b, b_len);
	else
		unlinkat(dir, "0002.wal", 0);
	int rc = kit_open(dir, &disk.io, 0, &seen, &rep, &wal);

	if (rc == 0)
		wal_close(wal);
	return rc;
}

/* What was seen is the first n changes as they were written. */
static bool is_prefix(uint64_t n)
{
	return !seen.is_wrong && seen.n == n &&
	       memcmp(seen.life, whole.life, n * sizeof(seen.life[0])) == 0;
}

/* Frames of segment `number` that end at or before byte `end`, and all of the
 * segments before. */
static uint64_t frames_before(uint64_t number, uint64_t end, uint64_t *last_end)
{
	uint64_t n = 0;

	*last_end = 64;
	while (n < whole.n && (whole.segment[n] < number ||
				      (whole.segment[n] == number &&
					      whole.end[n] <= end))) {
		*last_end = whole.segment[n] == number ? whole.end[n] : 64;
		n++;
	}
	return n;
}

/* The log goes on behind a cut: two more changes, and they are there. */
static bool goes_on(int dir, uint64_t n)
{
	struct wal *wal;

	if (kit_open(dir, &disk.io, 0, &seen, &rep, &wal) < 0)
		return false;

	bool cut_once = rep.cut_len == 0;
	int rc = kit_write(wal, 300, 2, true);

	wal_close(wal);
	if (rc < 0 || kit_open(dir, &disk.io, 0, &seen, &rep, &wal) < 0)
		return false;
	wal_close(wal);
	return cut_once && seen.n == n + 2 && seen.life[n] == 300 &&
	       memcmp(seen.life, whole.life, n * sizeof(seen.life[0])) == 0;
}

static void test_cut_first(int dir)
{
	bool held = true, on = true;

	for (size_t cut = 0; cut <= one.len; cut++) {
		uint64_t end, n = frames_before(1, cut, &end);

		held = held && open_copy(dir, one.bytes, cut, NULL, 0) == 0 &&
		       is_prefix(n) &&
		       rep.cut_len == (cut < 64 ? cut : cut - end);
		if (cut % 5 == 0)
			on = on && goes_on(dir, n);
	}
	ok(held, "cut after any byte a log has the changes that are whole");
	ok(on, "and goes on behind them");
}

static void test_cut_second(int dir)
{
	bool held = true, on = true;

	for (size_t cut = 0; cut <= two.len; cut++) {
		uint64_t end, n = frames_before(2, cut, &end);

		held = held &&
		       open_copy(dir, one.bytes, one.len, two.bytes, cut) ==
			       0 &&
		       is_prefix(n) &&
		       rep.cut_len == (cut < 64 ? cut : cut - end) &&
		       (rep.cut_len == 0 || rep.cut_segment == 2);
		if (cut % 5 == 0)
			on = on && goes_on(dir, n);
	}
	ok(held, "the same in its second segment");
	ok(on, "which goes on, too");
}

static void test_cut_middle(int dir)
{
	bool refused = true;

	for (size_t cut = 0; cut < one.len; cut++)
		refused = refused && open_copy(dir, one.bytes, cut, two.bytes,
					     two.len) == -VG_ECORRUPT;
	ok(refused, "a segment cut anywhere before another is refused");
}

/* By rule 8: is change i (from 0) known to be safe by a later one? */
static bool is_known(uint64_t i)
{
	for (uint64_t k = i + 1; k < whole.n; k++)
		if (whole.segment[k] == whole.segment[i] &&
			durable[k] >= i + 1)
			return true;
	return whole.segment[i] == 1; /* rule 7 */
}

static void test_zeros(int dir)
{
	bool held = true, known = false, unknown = false;

	for (uint64_t i = 0; i < whole.n; i++) {
		struct kit_file *f = whole.segment[i] == 1 ? &one : &two;
		size_t len = whole.end[i] - whole.offset[i];
		uint8_t *was = malloc(len);

		must(was);
		memcpy(was, f->bytes + whole.offset[i], len);
		memset(f->bytes + whole.offset[i], 0, len);
		int rc = open_copy(
			dir, one.bytes, one.len, two.bytes, two.len);

		held = held && (is_known(i) ? rc == -VG_ECORRUPT :
					      rc == 0 && is_prefix(i));
		known = known || is_known(i);
		unknown = unknown || !is_known(i);
		memcpy(f->bytes + whole.offset[i], was, len);
		free(was);
	}
	ok(held && known && unknown,
		"zeros before valid frames: refused where one knows of a sync, "
		"cut where none does");
}

static void test_flips(int dir)
{
	bool held = true;
	uint64_t i = 0;

	while (whole.segment[i] == 1)
		i++;
	for (size_t bit = 64 * 8; bit < two.len * 8; bit++) {
		while (bit / 8 >= whole.end[i])
			i++;
		two.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		int rc = open_copy(
			dir, one.bytes, one.len, two.bytes, two.len);

		held = held && (is_known(i) ? rc == -VG_ECORRUPT :
					      rc == 0 && is_prefix(i));
		two.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ok(held, "a flip of any bit of a frame is refused, or cut as a crash");
	held = true;
	for (size_t bit = 0; bit < 64 * 8; bit++) {
		one.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		held = held && open_copy(dir, one.bytes, one.len, two.bytes,
				       two.len) < 0;
		one.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		two.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		held = held && open_copy(dir, one.bytes, one.len, two.bytes,
				       two.len) < 0;
		two.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ok(held, "a flip of any bit of a header is refused");
}

/* What a power cut leaves of the frames that no sync waited for: any of their
 * sectors, zeros for the others, any size. */
static void test_crash(int dir, long rounds)
{
	uint64_t safe = whole.end[acked - 1];
	uint8_t *torn = malloc(two.len);
	long bad = 0, cut = 0;

	must(torn && whole.segment[acked - 1] == 2);
	for (long r = 0; r < rounds; r++) {
		size_t len = safe + random_below(two.len - safe + 1);
		size_t sector = 8u << random_below(7);

		memcpy(torn, two.bytes, len);
		for (size_t at = safe / sector * sector; at < len; at += sector)
			if (random_below(2))
				for (size_t i = VG_MAX(at, safe);
					i < VG_MIN(at + sector, len); i++)
					torn[i] = 0;
		int rc = open_copy(dir, one.bytes, one.len, torn, len);

		if (rc < 0 || seen.n < acked || !is_prefix(seen.n))
			bad++;
		else if (rep.cut_len > 0)
			cut++;
	}
	ok(bad == 0 && cut > 0,
		"%ld crashes: what was acknowledged is there, the rest is cut",
		rounds);
	free(torn);
}

/* Damage anywhere: refused, or no less than what a whole frame knows is safe. */
static void test_damage(int dir, long rounds)
{
	uint8_t *bytes = malloc(two.len);
	long bad = 0, refused = 0;

	must(bytes);
	for (long r = 0; r < rounds; r++) {
		size_t from = random_below(two.len);
		size_t to = from + 1 + random_below(two.len - from);
		uint64_t known = frames_before(1, one.len, &(uint64_t){0});

		memcpy(bytes, two.bytes, two.len);
		for (size_t i = from; i < to; i++)
			bytes[i] = (uint8_t)random_below(256);
		for (uint64_t i = 0; i < whole.n; i++)
			if (whole.segment[i] == 2 &&
				(whole.end[i] <= from || whole.offset[i] >= to))
				known = VG_MAX(known, durable[i]);
		int rc = open_copy(dir, one.bytes, one.len, bytes, two.len);

		if (rc == -VG_ECORRUPT)
			refused++;
		else if (rc < 0 || !is_prefix(seen.n) || seen.n < known)
			bad++;
	}
	ok(bad == 0 && refused > 0,
		"%ld damages: refused, or every change known to be safe is "
		"there",
		rounds);
	free(bytes);
}

/* One op of each type, and whether each was decoded. */
static const struct op_place cleared[] = {{5, 6}};

static struct op sample(enum op_type type)
{
	return (struct op){
		.type = type,
		.epoch = 1,
		.time_ns = 12,
		.n_places = type == OP_RENAME ? 2 : 1,
		.places = {{1, 2}, {3, 4}},
		.more = cleared,
		.id = {"id", 2},
		.id2 = {"other", 5},
		.name = {"name", 4},
		.target = {"target", 6},
		.vec = "\0\0\200?",
		.vec_len = 4,
		.source = OP_SOURCE_RAW,
		.body_len = 4,
		.meta = "{\"year\":2020}",
		.meta_len = 13,
		.config = {8, 16, 200, 100, VG_L2, VG_F32, VG_HNSW, 0, 0},
		.attr = {0755, 1, 2},
	};
}

static int count_op(void *ctx, const struct wal_frame *frame)
{
	struct op_place places[OP_PLACES_MAX];
	struct op op;

	if (op_decode(frame->payload, frame->len, places, &op) < 0)
		return -VG_ECORRUPT;
	++*(long *)ctx;
	return 0;
}

static long count_ops(int dir)
{
	struct wal_config cfg = {.dirfd = dir, .io = &disk.io};
	struct wal *wal;
	long n = 0;

	memcpy(cfg.uuid, kit_uuid, 16);
	int rc = wal_open(&cfg, count_op, &n, &rep, &wal);

	if (rc == 0)
		wal_close(wal);
	return rc < 0 ? rc : n;
}

/* A log of two ops of a type, the first of which is known to be safe. */
static void test_op_flips(int dir, enum op_type type)
{
	struct wal_config cfg = {.dirfd = dir, .io = &disk.io};
	struct op op = sample(type);
	uint8_t body[512];
	struct wal_part part = {body, op_encode(&op, body, sizeof(body))};
	struct wal *wal;
	long n = 0;
	bool held = true;

	kit_dir_clear(dir);
	memcpy(cfg.uuid, kit_uuid, 16);
	must(part.len > 0 && wal_open(&cfg, count_op, &n, &rep, &wal) == 0);
	for (int i = 0; i < 2; i++)
		must(wal_append(wal, WAL_OP, &part, 1, false) == 0 &&
			wal_write(wal, true) == 0);
	wal_close(wal);
	must(count_ops(dir) == 2);
	struct kit_file f = kit_load(dir, "0001.wal");
	size_t middle = 64 + (f.len - 64) / 2;

	for (size_t bit = 64 * 8; bit < f.len * 8; bit++) {
		f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		kit_save(dir, "0001.wal", f.bytes, f.len);
		f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		held = held &&
		       count_ops(dir) == (bit / 8 < middle ? -VG_ECORRUPT : 1);
	}
	ok(held, "%s: a flip of any bit is refused, or cut if it is the last",
		op_name(type));
	kit_free(&f);
}

int main(void)
{
	static const enum op_type types[] = {OP_PUT, OP_SET, OP_DEL, OP_RENAME,
		OP_CLEAR, OP_CREATE, OP_DROP, OP_MOVE, OP_ALIAS, OP_UNALIAS,
		OP_CONFIG, OP_ATTR};
	int dir = (plan(10 + VG_ARRAY_LEN(types)), kit_dir("cut"));

	rng = seed() * 0x9e3779b97f4a7c15ull | 1;
	kit_disk_init(&disk);
	disk.no_sync = true;
	make_log(dir);
	test_cut_first(dir);
	test_cut_second(dir);
	test_cut_middle(dir);
	test_zeros(dir);
	test_flips(dir);
	test_crash(dir, env_long("VG_CRASHES", 2000));
	test_damage(dir, env_long("VG_DAMAGES", 2000));
	for (size_t i = 0; i < VG_ARRAY_LEN(types); i++)
		test_op_flips(dir, types[i]);
	kit_free(&one);
	kit_free(&two);
	close(dir);
	return done();
}
