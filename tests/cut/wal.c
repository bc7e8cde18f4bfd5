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

/* Where the log is opened: seen.from, and in words. What is before it is not
 * looked at; all else is judged as without it. */
static const char *where;
static uint64_t first_segment; /* that is looked at */

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

#define MARK 32u /* bytes of the frame that says that 0002.wal was begun */

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

/* What was seen is the changes from the place on up to the first n. */
static bool is_same(uint64_t n)
{
	uint64_t k = seen.from.lsn > 0 ? seen.from.lsn - 1 : 0;

	return !seen.is_wrong && n >= k &&
	       memcmp(seen.life + k, whole.life + k,
		       (n - k) * sizeof(seen.life[0])) == 0;
}

static bool is_prefix(uint64_t n)
{
	return seen.n == n && is_same(n);
}

/* Does the log end before the place, when `segment` is the last and has `cut`
 * bytes? */
static bool is_short(uint64_t segment, size_t cut)
{
	return seen.from.segment > segment ||
	       (seen.from.segment == segment && cut < seen.from.offset);
}

/* The file is as it was given. */
static bool is_unchanged(int dir, const char *name, const void *bytes,
	size_t len)
{
	struct kit_file f = kit_load(dir, name);
	bool is = f.len == len && memcmp(f.bytes, bytes, len) == 0;

	kit_free(&f);
	return is;
}

/* Refused, with the sentence that says why, and nothing was changed. */
static bool refuses_short(
	int dir, int rc, const char *name, const void *bytes, size_t len)
{
	return rc == -VG_ECORRUPT &&
	       strstr(rep.error, "the manifest names a later place") &&
	       is_unchanged(dir, name, bytes, len);
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
	       is_same(n);
}

static void test_cut_first(int dir)
{
	bool held = true, on = true;

	for (size_t cut = 0; cut < one.len; cut++) {
		uint64_t end, n = frames_before(1, cut, &end);
		int rc = open_copy(dir, one.bytes, cut, NULL, 0);

		if (is_short(1, cut)) {
			held = held && refuses_short(dir, rc, "0001.wal",
					       one.bytes, cut);
			continue;
		}
		held = held && rc == 0 && is_prefix(n) &&
		       rep.cut_len == (cut < 64 ? cut : cut - end);
		if (cut % 5 == 0)
			on = on && goes_on(dir, n);
	}
	held = held && open_copy(dir, one.bytes, one.len, NULL, 0) ==
			       -VG_ECORRUPT;
	ok(held, "%s: cut after any byte a log has the changes that are whole",
		where);
	ok(on, "and goes on behind them");
}

static void test_cut_second(int dir)
{
	bool held = true, on = true;

	for (size_t cut = 0; cut <= two.len; cut++) {
		uint64_t end, n = frames_before(2, cut, &end);
		/* Begun and not finished: then the first has no mark yet. */
		int rc = open_copy(dir, one.bytes,
			cut < 64 ? one.len - MARK : one.len, two.bytes, cut);

		if (is_short(2, cut)) {
			held = held && refuses_short(dir, rc, "0002.wal",
					       two.bytes, cut);
			continue;
		}
		held = held && rc == 0 && is_prefix(n) &&
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
	bool held = true;

	for (size_t cut = 0; cut < one.len; cut++) {
		int rc = open_copy(dir, one.bytes, cut, two.bytes, two.len);

		held = held && is_unchanged(dir, "0001.wal", one.bytes, cut) &&
		       (first_segment == 1 && cut < one.len - MARK ?
					     rc == -VG_ECORRUPT :
					     rc == 0 && is_prefix(whole.n));
	}
	ok(held, "a segment cut anywhere before another is %s",
		first_segment == 1 ? "refused" : "not looked at");
}

static void test_before(int dir)
{
	kit_save(dir, "0002.wal", two.bytes, two.len);
	must(unlinkat(dir, "0001.wal", 0) == 0);
	struct wal *wal;
	int rc = kit_open(dir, &disk.io, 0, &seen, &rep, &wal);

	if (rc == 0)
		wal_close(wal);
	ok((first_segment == 1 ? rc == -VG_ECORRUPT :
				 rc == 0 && is_prefix(whole.n)) &&
			faccessat(dir, "0001.wal", F_OK, 0) < 0,
		"one that is missing, too");
}

/* Is a byte looked at? A place's segment has its header looked at, too. */
static bool is_read(uint64_t segment, size_t byte)
{
	return segment > seen.from.segment ||
	       (segment == first_segment &&
		       (byte < 64 || byte >= seen.from.offset));
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

/* What is said of a log with damage in change i. */
static bool is_judged(int rc, uint64_t i)
{
	if (!is_read(whole.segment[i], whole.offset[i]))
		return rc == 0 && is_prefix(whole.n);
	return is_known(i) ? rc == -VG_ECORRUPT : rc == 0 && is_prefix(i);
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

		held = held && is_judged(rc, i);
		known = known || rc < 0;
		unknown = unknown || (rc == 0 && seen.n == i);
		memcpy(f->bytes + whole.offset[i], was, len);
		free(was);
	}
	ok(held && known && unknown,
		"%s: zeros before valid frames: refused where one knows of a "
		"sync, cut where none does",
		where);
}

/* Opens the log with one bit of a segment's file changed. */
static int open_flipped(int dir, struct kit_file *f, size_t bit)
{
	f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	int rc = open_copy(dir, one.bytes, one.len, two.bytes, two.len);

	f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	return rc;
}

static void test_flips(int dir)
{
	bool held = true;

	for (uint64_t i = 0; i < whole.n; i++) {
		struct kit_file *f = whole.segment[i] == 1 ? &one : &two;

		for (size_t bit = whole.offset[i] * 8; bit < whole.end[i] * 8;
			bit++)
			held = held && is_judged(open_flipped(dir, f, bit), i);
	}
	ok(held, "%s: a flip of any bit of a frame is refused, or cut as a "
		 "crash, or before the place",
		where);
	held = true;
	for (size_t bit = 0; bit < 64 * 8; bit++) {
		int rc = open_flipped(dir, &one, bit);

		held = held && (first_segment == 1 ?
					       rc < 0 :
					       rc == 0 && is_prefix(whole.n));
		held = held && open_flipped(dir, &two, bit) < 0;
	}
	ok(held, "a flip of any bit of a header is refused, or before it");
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
		"%s: %ld crashes: what was acknowledged is there, the rest is "
		"cut",
		where, rounds);
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
		"%s: %ld damages: refused, or every change known to be safe is "
		"there",
		where, rounds);
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
		.n_seen = type == OP_SNAP ? VG_ARRAY_LEN(cleared) : 0,
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
		.config = {.dim = 8,
			.m = 16,
			.ef_construction = 200,
			.ef_search = 100,
			.metric = VG_L2,
			.dtype = VG_F32,
			.index = VG_HNSW,
			.quant = VG_QUANT_AUTO},
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

/* All of it, opened at the place of change lsn (0: the begin); at_end: as it is
 * called when it is taken, in the segment before the one that has the change. */
static void test_from(int dir, const char *name, uint64_t lsn, bool at_end)
{
	long part = lsn > 0 ? 4 : 1;

	where = name;
	first_segment = lsn > 0 ? whole.segment[lsn - 1] : 1;
	seen.from = (struct wal_place){0};
	if (lsn > 0)
		seen.from = (struct wal_place){
			lsn, first_segment, whole.offset[lsn - 1]};
	if (at_end)
		seen.from = (struct wal_place){lsn, 1, one.len - MARK};
	test_cut_first(dir);
	test_cut_second(dir);
	test_cut_middle(dir);
	test_before(dir);
	test_zeros(dir);
	test_flips(dir);
	test_crash(dir, env_long("VG_CRASHES", 2000) / part);
	test_damage(dir, env_long("VG_DAMAGES", 2000) / part);
	seen.from = (struct wal_place){0};
}

int main(void)
{
	static const enum op_type types[] = {OP_PUT, OP_SET, OP_DEL, OP_RENAME,
		OP_CLEAR, OP_CREATE, OP_DROP, OP_MOVE, OP_ALIAS, OP_UNALIAS,
		OP_CONFIG, OP_ATTR, OP_SNAP, OP_UNSNAP};
	int dir = (plan(5 * 11 + VG_ARRAY_LEN(types)), kit_dir("cut"));
	uint64_t second = 1; /* the first change of segment 2 */

	rng = seed() * 0x9e3779b97f4a7c15ull | 1;
	kit_disk_init(&disk);
	disk.no_sync = true;
	make_log(dir);
	while (whole.segment[second - 1] == 1)
		second++;
	must(second > 8 && second + 2 < acked);
	test_from(dir, "from its begin", 0, false);
	test_from(dir, "from amid a segment", second / 2, false);
	test_from(dir, "from a segment's end", second, true);
	test_from(dir, "from a segment's begin", second, false);
	test_from(dir, "from amid the last segment", second + 2, false);
	for (size_t i = 0; i < VG_ARRAY_LEN(types); i++)
		test_op_flips(dir, types[i]);
	kit_free(&one);
	kit_free(&two);
	close(dir);
	return done();
}
