/* SPDX-License-Identifier: Apache-2.0 */
/* wal_place.c: a log begins at a place that was kept, and is cut before it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
static struct wal_stat st;
static struct kit_disk disk;

static struct wal_place at[KIT_MAX]; /* taken between groups by fill() */
static unsigned n_at;
static uint64_t last; /* change of fill()'s log */

#define SEGMENTS 12 /* that a test may make */

static bool is_there(int dir, uint64_t segment)
{
	char name[WAL_NAME_MAX];

	wal_name_format(segment, name);
	return faccessat(dir, name, F_OK, 0) == 0;
}

/* The segments of a folder: their bytes, and a sum that a change changes. */
struct files {
	uint64_t bytes, sum;
};

static struct files look(int dir)
{
	struct files all = {0};

	for (uint64_t i = 1; i <= SEGMENTS; i++) {
		char name[WAL_NAME_MAX];
		struct kit_file f;

		wal_name_format(i, name);
		if (!is_there(dir, i))
			continue;
		f = kit_load(dir, name);
		all.bytes += f.len;
		all.sum = all.sum * 31 + wire_hash(f.bytes, f.len) + i;
		kit_free(&f);
	}
	return all;
}

static int open_from(int dir, const struct wal_place *from, uint64_t size)
{
	seen.from = *from;
	int rc = kit_open(dir, NULL, size, &seen, &rep, &wal);

	seen.from = (struct wal_place){0};
	return rc;
}

/* Opens and closes: the last change that is there, or the error. */
static long reopen(int dir, struct wal_place from)
{
	int rc = open_from(dir, &from, 0);

	if (rc < 0)
		return rc;
	wal_close(wal);
	return seen.is_wrong || rep.last_lsn != seen.n ? -1000 : (long)seen.n;
}

static const struct wal_place begin;

/* A log of four segments, and a place before each group. */
static void fill(int dir)
{
	kit_dir_clear(dir);
	n_at = 0;
	must(open_from(dir, &begin, 700) == 0);
	for (unsigned i = 0; i < 4 || !is_there(dir, 4); i++) {
		wal_get_place(wal, &at[n_at++]);
		must(kit_write(wal, i, 1 + i % 3, true) == 0);
	}
	wal_get_place(wal, &at[n_at++]);
	wal_close(wal);
	last = at[n_at - 1].lsn - 1;
	must(reopen(dir, begin) == (long)last);
}

/* The first place in a segment that is not its begin. */
static struct wal_place inside(uint64_t segment)
{
	unsigned i = 0;

	while (at[i].segment < segment || at[i].offset == WAL_HEADER)
		must(++i < n_at);
	return at[i];
}

/* The place that was taken before a segment began, in the one before it. */
static struct wal_place before(uint64_t segment)
{
	unsigned i = 0;

	while (at[i].segment < segment)
		must(++i < n_at);
	return at[i - 1];
}

static void test_places(int dir)
{
	bool held = true, is_rest = true, is_begin = true;
	uint64_t ends = 0;

	fill(dir);
	ok(at[0].lsn == 1 && at[0].segment == 1 && at[0].offset == 64,
		"the first place is behind the header of segment 1");
	for (unsigned i = 0; i < n_at; i++) {
		uint64_t k = at[i].lsn - 1;

		must(reopen(dir, begin) == (long)last);
		if (k < last && seen.segment[k] != at[i].segment)
			ends++;
		else if (k < last)
			held = held && seen.offset[k] == at[i].offset;
		is_rest = is_rest && reopen(dir, at[i]) == (long)last &&
			  rep.frames == last - k && rep.cut_len == 0;
	}
	ok(held, "a place is where the next change began");
	ok(ends == 3, "or the end of a segment, if another began then");
	ok(is_rest, "opened at each place the log has the rest");
	must(reopen(dir, begin) == (long)last);
	for (uint64_t k = 0; k < last; k++)
		is_begin = is_begin &&
			   reopen(dir, (struct wal_place){k + 1,
					       seen.segment[k],
					       seen.offset[k]}) == (long)last;
	ok(is_begin, "and at the begin of each segment, and of each change");
	ok(reopen(dir, (struct wal_place){0, 9, 9}) == (long)last,
		"with lsn 0 it is the log's begin");
}

static void test_goes_on(int dir)
{
	struct wal_place end, now, again;

	fill(dir);
	end = at[n_at - 1];
	must(open_from(dir, &end, 700) == 0);
	wal_stat(wal, &st);
	ok(rep.frames == 0 && rep.last_lsn == last && st.durable_lsn == last &&
			st.appended_lsn == last,
		"a log that ends at the place is durable up to it");
	wal_get_place(wal, &now);
	ok(memcmp(&now, &end, sizeof(now)) == 0, "and stands there");
	must(kit_write(wal, 50, 2, true) == 0);
	wal_stat(wal, &st);
	ok(st.durable_lsn == last + 2, "its next change has the next lsn");
	wal_get_place(wal, &now);
	must(now.lsn == last + 3 && kit_append(wal, 51, false) == 0);
	wal_get_place(wal, &again);
	ok(memcmp(&again, &now, sizeof(now)) == 0, "a place is before what is not yet written");
	wal_close(wal);
	ok(reopen(dir, end) == (long)last + 2 && seen.life[last + 1] == 50,
		"what was added is found from the place");
	ok(reopen(dir, begin) == (long)last + 2, "and from the begin");
}

static void test_leftovers(int dir)
{
	struct wal_place in = inside(3), end;
	static const char rubbish[100] = "rubbish";
	struct files was;

	fill(dir);
	end = before(3);
	kit_save(dir, "0001.wal", rubbish, sizeof(rubbish));
	kit_save(dir, "0002.wal", rubbish, 0);
	was = look(dir);
	ok(reopen(dir, in) == (long)last && rep.frames == last - in.lsn + 1,
		"segments before the place may be rubbish");
	ok(look(dir).sum == was.sum, "which an open leaves as it is");
	ok(reopen(dir, end) == (long)last,
		"as may one that ends at the place, if the next begins there");
	must(open_from(dir, &in, 0) == 0);
	wal_stat(wal, &st);
	ok(st.bytes == was.bytes - sizeof(rubbish), "they are not counted");
	must(unlinkat(dir, "0002.wal", 0) == 0);
	must(mkdirat(dir, "0002.wal", 0700) == 0);
	wal_close(wal);
	ok(reopen(dir, in) == (long)last && reopen(dir, end) == (long)last,
		"or a folder");
	must(unlinkat(dir, "0002.wal", AT_REMOVEDIR) == 0);
	must(unlinkat(dir, "0001.wal", 0) == 0);
	ok(reopen(dir, in) == (long)last && reopen(dir, end) == (long)last,
		"or missing");
	ok(reopen(dir, begin) == -VG_ECORRUPT &&
			strstr(rep.error, "wal/0001.wal is missing"),
		"without a place a missing segment is refused as ever: %s",
		rep.error);
}

/* Refused with -VG_ECORRUPT, the words, and nothing changed. */
static bool refuses(int dir, struct wal_place from, const char *words)
{
	struct files was = look(dir);

	return reopen(dir, from) == -VG_ECORRUPT &&
	       strstr(rep.error, words) &&
	       strstr(rep.error, "restore") && look(dir).sum == was.sum;
}

/* A copy of the log that is older than the manifest, or no copy of it. */
static void test_short(int dir)
{
	static const uint8_t zeros[64];
	struct wal_place in;
	int fd;

	fill(dir);
	in = inside(4);
	fd = openat(dir, "0004.wal", O_RDWR);
	must(fd >= 0 && ftruncate(fd, (off_t)in.offset) == 0);
	ok(reopen(dir, in) == (long)in.lsn - 1,
		"a log may end exactly at the place");
	must(ftruncate(fd, (off_t)in.offset - 1) == 0);
	ok(refuses(dir, in, "wal/0004.wal ends too early: the manifest names "
			    "a later place") &&
			strstr(rep.error, "restore this file from a copy"),
		"one that ends before it is refused: %s", rep.error);
	must(ftruncate(fd, 40) == 0);
	ok(refuses(dir, in, "no whole header"), "so is one without a header");
	close(fd);
	must(unlinkat(dir, "0004.wal", 0) == 0);
	ok(refuses(dir, in, "wal/0004.wal is missing: the manifest names a "
			    "later place"),
		"and one without the segment: %s", rep.error);
	ok(refuses(dir, inside(2), "segment 3 says that it was begun"),
		"also from an earlier place: %s", rep.error);
	kit_dir_clear(dir);
	ok(refuses(dir, in, "wal/0004.wal is missing") && look(dir).bytes == 0,
		"an empty folder is refused, and stays empty");
	fill(dir);
	fd = openat(dir, "0003.wal", O_RDWR);
	must(fd >= 0 && pwrite(fd, zeros, 64, 0) == 64);
	close(fd);
	ok(refuses(dir, inside(3), "wal/0003.wal has no whole header"),
		"a damaged header of the place's segment is named: %s",
		rep.error);
}

/* Places that this log never had. */
static void test_other(int dir)
{
	struct wal_place in, p;

	fill(dir);
	p = in = inside(3);
	p.lsn++;
	ok(refuses(dir, p, "different copies"),
		"another change at the place is refused: %s", rep.error);
	p = in;
	p.offset = 64;
	ok(refuses(dir, p, "different copies"),
		"a first change that the header does not have, too");
	p = in;
	p.lsn = before(3).lsn - 1;
	ok(refuses(dir, p, "different copies"),
		"and a place before the segment's first change");
	p = at[n_at - 1];
	p.lsn += 1000000;
	ok(refuses(dir, p, "different copies"),
		"and a change that the bytes before cannot reach");
	p.lsn = before(4).lsn;
	ok(refuses(dir, p, "different copies"),
		"and the first change behind others");
	p = in;
	p.offset += 4;
	ok(refuses(dir, p, "where no change can be"),
		"an offset between the multiples of 8 is refused: %s",
		rep.error);
	p = in;
	p.offset = 56;
	ok(refuses(dir, p, "where no change can be"), "or in the header");
	p = in;
	p.segment = 0;
	ok(refuses(dir, p, "where no change can be"), "or in segment 0");
	p = in;
	p.segment = UINT64_MAX - 1;
	ok(refuses(dir, p, "where no change can be"), "or in the last number");
	p = in;
	p.lsn = UINT64_MAX;
	ok(refuses(dir, p, "where no change can be"), "or of no lsn");

	struct wal_header h = {.version = WAL_VERSION, .segment = 4,
		.first_lsn = in.lsn - 1};
	uint8_t bytes[WAL_HEADER];

	memcpy(h.uuid, kit_uuid, sizeof(h.uuid));
	wal_header_encode(&h, bytes);
	kit_save(dir, "0004.wal", bytes, sizeof(bytes));
	ok(refuses(dir, in, "segment 4 of wal/ begins with change"),
		"a next segment that begins before the place is refused: %s",
		rep.error);
}

static void test_rotate(int dir)
{
	struct wal_place now;
	long syncs;

	kit_disk_init(&disk);
	kit_dir_clear(dir);
	must(kit_open(dir, &disk.io, 0, NULL, &rep, &wal) == 0);
	ok(wal_rotate(wal) == 0 && !is_there(dir, 2),
		"a segment without a change is not followed by another");
	must(kit_write(wal, 1, 3, false) == 0);
	wal_get_place(wal, &at[0]);
	ok(wal_rotate(wal) == 0 && is_there(dir, 2),
		"one with changes is, at once");
	wal_stat(wal, &st);
	wal_get_place(wal, &now);
	ok(st.durable_lsn == 3 && st.bytes == look(dir).bytes,
		"and is durable then");
	ok(now.lsn == 4 && now.segment == 2 && now.offset == 64,
		"the place is in the new one");
	must(wal_rotate(wal) == 0 && kit_write(wal, 2, 2, true) == 0);
	ok(!is_there(dir, 3), "once");
	wal_close(wal);
	ok(reopen(dir, now) == 5 && rep.frames == 2 && reopen(dir, at[0]) == 5,
		"both places, before and behind, have what came later");

	must(kit_open(dir, &disk.io, 0, NULL, &rep, &wal) == 0);
	disk.is_limited = true;
	disk.taken[disk.fd] = 8u << 20;
	disk.room = 0;
	ok(wal_rotate(wal) == 0 && !is_there(dir, 3) &&
			kit_write(wal, 3, 1, true) == 0,
		"on a full disk the old segment goes on");
	disk.is_limited = false;
	must(kit_write(wal, 4, 1, false) == 0);
	disk.only_calls = 1 << KIT_SYNC;
	disk.fail_at = 1;
	disk.calls = 0;
	ok(wal_rotate(wal) == -EIO && wal_rotate(wal) == -EROFS,
		"a sync that fails ends the log");
	syncs = disk.count[KIT_SYNC];
	wal_close(wal);
	ok(disk.count[KIT_SYNC] == syncs && reopen(dir, begin) == 7,
		"and is not repeated");
}

static void test_cut(int dir)
{
	struct wal_place end;
	struct files was;

	fill(dir);
	end = at[n_at - 1];
	must(open_from(dir, &begin, 700) == 0);
	kit_disk_init(&disk);
	ok(wal_cut(wal, &disk.io, 1) == 0 && is_there(dir, 1) &&
			disk.count[KIT_SYNC] == 0,
		"before the first segment there is nothing to cut");
	disk.only_calls = 1 << KIT_UNLINK;
	disk.calls = 0;
	disk.fail_at = 2;
	ok(wal_cut(wal, &disk.io, 4) == -EIO && !is_there(dir, 1) &&
			is_there(dir, 2) && is_there(dir, 3),
		"the oldest segment is removed first, and an error ends it");
	wal_stat(wal, &st);
	ok(st.bytes == look(dir).bytes, "the bytes go down with the files");
	ok(wal_cut(wal, &disk.io, 3) == 0 && !is_there(dir, 2) &&
			is_there(dir, 3),
		"the next cut goes on, up to the segment that it names");
	ok(disk.count[KIT_SYNC] == 1, "and syncs the folder once");
	ok(wal_cut(wal, &disk.io, UINT64_MAX) == 0 && !is_there(dir, 3) &&
			is_there(dir, 4),
		"the segment that is written stays");
	must(kit_write(wal, 60, 40, true) == 0 && wal_rotate(wal) == 0);
	ok(wal_cut(wal, &disk.io, UINT64_MAX) == 0 && !is_there(dir, 4) &&
			is_there(dir, 5),
		"until another is");
	wal_stat(wal, &st);
	ok(st.bytes == 64 && look(dir).bytes == 64, "all is counted");
	wal_get_place(wal, &end);
	wal_close(wal);
	ok(reopen(dir, end) == (long)last + 40, "the log opens at its end");

	fill(dir);
	end = at[n_at - 1];
	kit_save(dir, "0001.wal", "rubbish", 7);
	must(unlinkat(dir, "0002.wal", 0) == 0);
	kit_save(dir, "00001.wal", "x", 1);
	must(open_from(dir, &end, 0) == 0);
	was = look(dir);
	ok(wal_cut(wal, &disk.io, end.segment) == 0 && !is_there(dir, 1) &&
			!is_there(dir, 3) && look(dir).bytes < was.bytes,
		"what an earlier cut left is removed, whatever it is");
	wal_stat(wal, &st);
	ok(st.bytes == look(dir).bytes, "it was not counted");
	ok(faccessat(dir, "00001.wal", F_OK, 0) == 0,
		"files with other names are let be");
	wal_close(wal);
}

static _Atomic uint64_t kept; /* the segment of the last place */
static _Atomic bool cutter_stops;

static void *cut_along(void *ctx)
{
	struct kit_disk own;
	int rc = 0;

	kit_disk_init(&own);
	own.no_sync = true;
	while (rc == 0 && !cutter_stops)
		rc = wal_cut(ctx, &own.io, kept);
	return rc == 0 && wal_cut(ctx, &own.io, kept) == 0 ? ctx : NULL;
}

static void test_beside(int dir)
{
	struct wal_place place = begin;
	pthread_t cutter;
	void *held;

	kit_dir_clear(dir);
	kit_disk_init(&disk);
	disk.no_sync = true;
	must(kit_open(dir, &disk.io, 3000, NULL, &rep, &wal) == 0);
	must(pthread_create(&cutter, NULL, cut_along, wal) == 0);
	for (unsigned i = 0; i < 3000; i++) {
		must(kit_write(wal, i, 1 + i % 3, i % 2 == 0) == 0);
		if (i % 100 == 0)
			must(wal_rotate(wal) == 0);
		if (i % 20 == 0) {
			must(wal_write(wal, true) == 0);
			wal_get_place(wal, &place);
			kept = place.segment;
		}
	}
	cutter_stops = true;
	must(pthread_join(cutter, &held) == 0);
	ok(held, "a log is cut beside appends");
	wal_stat(wal, &st);
	wal_close(wal);

	struct wal_config cfg = {.dirfd = dir, .no_uring = true, .from = place};

	memcpy(cfg.uuid, kit_uuid, 16);
	must(wal_open(&cfg, kit_see, NULL, &rep, &wal) == 0);
	ok(rep.last_lsn == st.appended_lsn && !is_there(dir, 1),
		"it has what is behind the last place");
	struct wal_stat again;

	wal_stat(wal, &again);
	ok(st.bytes == again.bytes, "and knows its bytes");
	wal_close(wal);
}

int main(void)
{
	int dir = (plan(61), kit_dir("wal"));

	test_places(dir);
	test_goes_on(dir);
	test_leftovers(dir);
	test_short(dir);
	test_other(dir);
	test_rotate(dir);
	test_cut(dir);
	test_beside(dir);
	kit_dir_clear(dir);
	close(dir);
	return done();
}
