/* SPDX-License-Identifier: Apache-2.0 */
/* wal_read: a log that is only read, damaged, or of a copy; its last marks. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/wal.h"
#include "src/wal_int.h"
#include "tests/logkit.h"
#include "tests/tap.h"

static struct kit_seen seen;
static struct wal_report rep;
static struct wal *wal;
static uint64_t last; /* change of the log that fill made */

#define SEGMENTS 9u

/* A log of four segments; returns where the last begins. */
static struct wal_place fill(int dir)
{
	struct wal_place place;
	char name[WAL_NAME_MAX];

	kit_dir_clear(dir);
	must(kit_open(dir, NULL, 700, &seen, &rep, &wal) == 0);
	wal_name_format(4, name);
	for (unsigned i = 0; faccessat(dir, name, F_OK, 0) < 0; i++)
		must(kit_write(wal, i, 1 + i % 3, true) == 0);
	wal_get_place(wal, &place);
	must(kit_write(wal, 7, 2, true) == 0);
	last = place.lsn + 1;
	wal_close(wal);
	return place;
}

static struct kit_file load(int dir, uint64_t segment)
{
	char name[WAL_NAME_MAX];

	wal_name_format(segment, name);
	return kit_load(dir, name);
}

static uint64_t sum_of(int dir)
{
	uint64_t sum = 0;
	char name[WAL_NAME_MAX];

	for (uint64_t i = 1; i <= SEGMENTS; i++) {
		struct kit_file f;

		wal_name_format(i, name);
		if (faccessat(dir, name, F_OK, 0) < 0)
			continue;
		f = kit_load(dir, name);
		sum = sum * 31 + wire_hash(f.bytes, f.len) + i;
		kit_free(&f);
	}
	return sum;
}

static int open_as(int dir, struct wal_config cfg)
{
	struct wal_place from = cfg.from;
	int rc;

	memset(&seen, 0, sizeof(seen));
	seen.from = from;
	seen.n = from.lsn > 0 ? from.lsn - 1 : 0;
	cfg.dirfd = dir;
	cfg.no_uring = true;
	memcpy(cfg.uuid, kit_uuid, sizeof(cfg.uuid));
	rc = wal_open(&cfg, kit_see, &seen, &rep, &wal);
	return rc;
}

static const struct wal_config reader = {.is_read_only = true};
static const struct wal_config healer = {
	.is_read_only = true, .takes_damaged = true};

static void flip(int dir, uint64_t segment, uint64_t byte)
{
	struct kit_file f = load(dir, segment);
	char name[WAL_NAME_MAX];

	must(byte < f.len);
	f.bytes[byte] ^= 4;
	wal_name_format(segment, name);
	kit_save(dir, name, f.bytes, f.len);
	kit_free(&f);
}

static void add(int dir, uint64_t segment, const void *bytes, size_t len)
{
	char name[WAL_NAME_MAX];
	struct stat st;
	int fd;

	wal_name_format(segment, name);
	fd = openat(dir, name, O_WRONLY);
	must(fd >= 0 && fstat(fd, &st) == 0 &&
		pwrite(fd, bytes, len, st.st_size) == (ssize_t)len);
	close(fd);
}

static void test_read_only(int dir)
{
	struct wal_part part = {"x", 1};
	struct wal_stat st;
	uint64_t sum;

	fill(dir);
	add(dir, 4, "torn, not whole", 15);
	sum = sum_of(dir);
	ok(open_as(dir, reader) == 0 && seen.n == last && !seen.is_wrong,
		"a log that is only read has all its changes");
	ok(rep.cut_len == 15 && rep.cut_segment == 4 && !rep.is_damaged,
		"its torn tail is told");
	wal_stat(wal, &st);
	ok(st.appended_lsn == last && st.durable_lsn == last,
		"it says how far it goes");
	ok(wal_append(wal, WAL_OP, &part, 1, false) == -EROFS &&
			wal_write(wal, true) == -EROFS,
		"and takes nothing");
	wal_close(wal);
	ok(sum_of(dir) == sum, "and nothing of it was changed");
	kit_dir_clear(dir);
	ok(open_as(dir, reader) == 0 && seen.n == 0, "an empty one is empty");
	wal_close(wal);
	ok(sum_of(dir) == 0, "and stays so");
}

static void test_damaged(int dir)
{
	uint64_t sum;

	fill(dir);
	flip(dir, 2, 100);
	sum = sum_of(dir);
	ok(open_as(dir, reader) == -VG_ECORRUPT, "a torn middle is refused");
	ok(open_as(dir, healer) == 0 && rep.is_damaged && seen.n > 0 &&
			seen.n < last && !seen.is_wrong &&
			strstr(rep.error, "wal/0002.wal is damaged"),
		"or read up to it: %s", rep.error);
	wal_close(wal);
	must(unlinkat(dir, "0001.wal", 0) == 0);
	ok(open_as(dir, healer) == 0 && rep.is_damaged && seen.n == 0,
		"without its begin it has nothing: %s", rep.error);
	wal_close(wal);
	kit_save(dir, "0001.wal", "", 0);
	ok(sum_of(dir) != sum && open_as(dir, healer) == 0 && rep.is_damaged,
		"nor with an empty one");
	wal_close(wal);
}

/* The next segment is not there. */
static void test_mark(int dir)
{
	struct wal_config copy = {.is_copy = true};
	struct kit_file f;
	uint64_t n;

	fill(dir);
	f = load(dir, 3);
	ok(f.len > 32 && f.bytes[f.len - 28] == WAL_NEXT &&
			f.bytes[f.len - 32] == 0,
		"a segment that is over ends with a mark");
	must(unlinkat(dir, "0004.wal", 0) == 0);
	ok(open_as(dir, (struct wal_config){0}) == -VG_ECORRUPT &&
			strstr(rep.error, "wal/0004.wal is missing"),
		"without the next it is refused: %s", rep.error);
	ok(open_as(dir, copy) == 0 && rep.is_begun && rep.last_segment == 3,
		"in a copy it ends there");
	n = seen.n;
	must(kit_append(wal, 9, false) == 0 && wal_write(wal, true) == 0);
	wal_close(wal);
	ok(open_as(dir, (struct wal_config){0}) == 0 && seen.n == n + 1 &&
			seen.life[n] == 9 && !rep.is_begun,
		"and goes on");
	wal_close(wal);
	kit_save(dir, "0003.wal", f.bytes, f.len);
	must(linkat(dir, "0003.wal", dir, "other", 0) == 0);
	ok(open_as(dir, copy) == 0 && seen.n == n, "also in a shared one");
	must(kit_append(wal, 9, false) == 0 && wal_write(wal, true) == 0);
	wal_close(wal);
	kit_free(&f);
	ok(open_as(dir, (struct wal_config){0}) == 0 && seen.n == n + 1,
		"which is not written to");
	wal_close(wal);
	unlinkat(dir, "other", 0);
}

static void test_reach(int dir)
{
	struct wal_config cfg = {0};

	fill(dir);
	cfg.reach = last + 1;
	ok(open_as(dir, cfg) == 0, "a log may end right before what is known");
	wal_close(wal);
	cfg.reach = last + 2;
	ok(open_as(dir, cfg) == -VG_ECORRUPT &&
			strstr(rep.error, "segments of wal/ are missing"),
		"not before that: %s", rep.error);
}

static void test_check_place(int dir)
{
	struct wal_place place = fill(dir);
	struct wal_config cfg = {.dirfd = dir, .from = place};
	char why[256] = "";
	uint64_t sum = sum_of(dir);

	memcpy(cfg.uuid, kit_uuid, sizeof(cfg.uuid));
	ok(wal_check_place(&cfg, why) == 0, "a place in the log is there");
	cfg.from.offset += 8;
	ok(wal_check_place(&cfg, why) == 0 || why[0],
		"what cannot be one is judged as an open does: %s", why);
	cfg.from = place;
	cfg.from.segment = 6;
	ok(wal_check_place(&cfg, why) == -VG_ECORRUPT &&
			strstr(why, "wal/0006.wal is missing"),
		"one in a later segment is not: %s", why);
	cfg.from = place;
	cfg.from.offset = 1 << 20;
	ok(wal_check_place(&cfg, why) == -VG_ECORRUPT &&
			strstr(why, "ends too early"),
		"nor one behind the end: %s", why);
	ok(sum_of(dir) == sum, "nothing is changed by asking");
}

int main(void)
{
	int dir = (plan(24), kit_dir("wal"));

	test_read_only(dir);
	test_damaged(dir);
	test_mark(dir);
	test_reach(dir);
	test_check_place(dir);
	kit_dir_clear(dir);
	close(dir);
	return done();
}
