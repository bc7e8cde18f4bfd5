/* SPDX-License-Identifier: Apache-2.0 */
/* wal.c: every call and every allocation of the log fails once, and for ever. */
#include "src/wal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/logkit.h"
#include "tests/memkit.h"
#include "tests/tap.h"

/*
 * The life of a log, as a store leads it: opened, grown over several segments
 * by groups, some without sync, a delete now and then, closed, opened again
 * after a crash left a torn tail. Whatever fails on the way, what a sync
 * acknowledged is there at the end. With checkpoints it also begins segments
 * on purpose, keeps places, as manifests would, and cuts what is before them.
 */

static struct kit_seen seen;
static struct wal_report rep;
static struct kit_disk disk;

struct life {
	uint64_t acked; /* the last change that a sync acknowledged */
	uint32_t life[KIT_MAX]; /* what each acknowledged one was */
	struct wal_place place; /* the last kept: what is before it is safe */
	uint64_t cuts, rotations;
	bool lied;	/* something was said that cannot be */
};
static struct life life;
static bool checkpoints;

/* Notes what is safe now. */
static void note_safe(struct wal *wal, const uint32_t *lives)
{
	struct wal_stat st;

	wal_stat(wal, &st);
	if (st.durable_lsn < life.acked || st.durable_lsn > st.written_lsn ||
		st.written_lsn > st.appended_lsn)
		life.lied = true;
	for (uint64_t i = life.acked; i < st.durable_lsn; i++)
		life.life[i] = lives[i];
	life.acked = VG_MAX(life.acked, st.durable_lsn);
}

/* One group of n changes; what fails is dropped, as a store does. */
static void one_group(struct wal *wal, uint32_t *lives, uint32_t nr)
{
	struct wal_stat st;
	unsigned n = 1 + nr % 4;

	for (unsigned i = 0; i < n; i++) {
		int rc = kit_append(wal, nr, nr % 3 == 0);

		wal_stat(wal, &st);
		if (rc == 0)
			lives[st.appended_lsn - 1] = nr;
	}
	if (nr % 11 == 7)
		wal_drop(wal);
	else
		wal_write(wal, nr % 5 != 4);
	note_safe(wal, lives);
}

struct range {
	uint64_t n, min, max;
};

static int note_number(void *ctx, const char *name)
{
	struct range *range = ctx;
	uint64_t number = strtoull(name, NULL, 10);

	range->min = VG_MIN(range->min, number);
	range->max = VG_MAX(range->max, number);
	range->n++;
	return 0;
}

static struct range segments(int dir)
{
	struct range range = {.min = UINT64_MAX};
	struct io io;

	io_init(&io);
	must(io.list(&io, dir, note_number, &range) == 0);
	return range;
}

/* A checkpoint whose manifest is durable at once. */
static void one_checkpoint(int dir, struct wal *wal, uint32_t nr)
{
	struct range was = segments(dir), is;
	struct wal_place place;
	struct wal_stat st;

	if (nr % 4 == 1 && wal_rotate(wal) == 0)
		life.rotations += segments(dir).max > was.max;
	wal_get_place(wal, &place);
	wal_stat(wal, &st);
	if (st.written_lsn + 1 != place.lsn)
		life.lied = true;
	if (st.durable_lsn + 1 == place.lsn)
		life.place = place;
	was = segments(dir);
	int rc = wal_cut(wal, &disk.io, life.place.segment);

	is = segments(dir);
	life.cuts += is.n < was.n;
	if (is.max - is.min + 1 != is.n || is.max != was.max ||
		is.min > VG_MAX(was.min, life.place.segment) ||
		(rc == 0 && is.min < life.place.segment))
		life.lied = true; /* a gap, too much, or less than it says */
}

/* All that a process does until it ends; `groups` of changes. */
static void one_life(int dir, uint32_t first, uint32_t groups)
{
	static uint32_t lives[KIT_MAX];
	struct wal *wal;
	seen.from = life.place;
	int rc = kit_open(dir, &disk.io, 700, &seen, &rep, &wal);

	if (rc < 0) {
		life.lied = life.lied || rc == -VG_ECORRUPT ||
			    rc == -VG_EFORMAT;
		return;
	}
	if (seen.n < life.acked || seen.is_wrong)
		life.lied = true;
	memcpy(lives, seen.life, sizeof(lives));
	for (uint32_t i = 0; i < groups; i++) {
		one_group(wal, lives, first + i);
		if (checkpoints && i % 2 == 0)
			one_checkpoint(dir, wal, first + i);
	}
	wal_close(wal);
}

/* What a crash leaves behind the written end of the last segment. */
static void tear(int dir)
{
	struct range range = segments(dir);
	struct kit_file f;
	char name[32];

	if (range.n == 0)
		return;
	snprintf(name, sizeof(name), "%04llu.wal",
		(unsigned long long)range.max);
	f = kit_load(dir, name);
	f.bytes = realloc(f.bytes, f.len + 100);
	must(f.bytes);
	memset(f.bytes + f.len, 0x5a, 100);
	kit_save(dir, name, f.bytes, f.len + 100);
	kit_free(&f);
}

/* Two lives with a crash between them, then a look without faults: true if
 * nothing that was acknowledged is lost. */
static bool lives(int dir)
{
	long at = disk.fail_at;
	bool was_armed;
	struct wal *wal;

	memset(&life, 0, sizeof(life));
	kit_dir_clear(dir);
	disk.calls = disk.failed = 0;
	one_life(dir, 1, 14);
	disk.fail_at = 0;
	was_armed = mem_hold();
	tear(dir);
	disk.fail_at = at;
	mem_go_on(was_armed);
	one_life(dir, 100, 6);
	disk.fail_at = 0;
	mem_disarm();

	seen.from = life.place;

	uint64_t k = life.place.lsn > 0 ? life.place.lsn - 1 : 0;
	bool held = !life.lied && k <= life.acked &&
		    kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0;

	if (held) {
		held = !seen.is_wrong && seen.n >= life.acked &&
		       memcmp(seen.life + k, life.life + k,
			       (life.acked - k) * sizeof(life.life[0])) == 0 &&
		       kit_write(wal, 7, 2, true) == 0;
		wal_close(wal);
	}
	disk.fail_at = at;
	return held;
}

/* Fails the 1st, 2nd, ... call until a run meets no fault. */
static void test_calls(int dir, int rc, bool for_ever, const char *what)
{
	bool held = true;
	long n = 0;

	kit_disk_init(&disk);
	disk.no_sync = true;
	disk.rc = rc;
	disk.for_ever = for_ever;
	do {
		disk.fail_at = ++n;
		if (!lives(dir) && held) {
			held = false;
			diag("the log lost or lied at call %ld", n);
		}
	} while (disk.failed > 0 && n < 5000);
	disk.fail_at = 0;
	ok(held && n > 60 && n < 5000 &&
			(life.cuts > 2 && life.rotations > 1) == checkpoints,
		"%s %s%s: what was acknowledged is there (%ld calls)", what,
		for_ever ? "from each call on" : "once",
		checkpoints ? ", with checkpoints" : "", n - 1);
}

static void test_memory(int dir, bool for_ever)
{
	bool held = true;
	long n = 0;

	kit_disk_init(&disk);
	disk.no_sync = true;
	do {
		mem_arm(++n, for_ever);
		if (!lives(dir) && held) {
			held = false;
			diag("the log lost or lied at allocation %ld", n);
		}
	} while (mem_failed() > 0 && n < 1000);
	ok(held && n > 5 && n < 1000,
		"no memory %s%s: what was acknowledged is there (%ld "
		"allocations)",
		for_ever ? "from each allocation on" : "once",
		checkpoints ? ", with checkpoints" : "", n - 1);
}

/* Each kind of call alone, so that the ways on after it are gone, too. */
static void test_kinds(int dir)
{
	static const struct {
		enum kit_call call;
		int rc;
		const char *what;
	} kinds[] = {
		{KIT_ALLOCATE, -ENOSPC, "no space to take ahead"},
		{KIT_WRITE, -ENOSPC, "no space to write"},
		{KIT_SYNC, -EIO, "a sync that fails"},
		{KIT_TRUNCATE, -EIO, "a cut that fails"},
		{KIT_UNLINK, -EACCES, "an unlink that fails"},
		{KIT_OPEN, -EMFILE, "no descriptor"},
		{KIT_READ, -EIO, "a read that fails"},
		{KIT_LIST, -EIO, "a folder that cannot be read"},
		{KIT_STAT, -EIO, "a stat that fails"},
	};

	for (size_t i = 0; i < VG_ARRAY_LEN(kinds); i++) {
		bool held = true;
		long n = 0, failed = 0;

		for (int for_ever = 0; for_ever < 2; for_ever++) {
			kit_disk_init(&disk);
			disk.no_sync = true;
			disk.only_calls = 1 << kinds[i].call;
			disk.rc = kinds[i].rc;
			disk.for_ever = for_ever;
			n = 0;
			do {
				disk.fail_at = ++n;
				held = lives(dir) && held;
				failed += disk.failed;
			} while (disk.failed > 0 && n < 500);
		}
		ok(held && n < 500 &&
				(failed > 0 ||
					(kinds[i].call == KIT_UNLINK &&
						!checkpoints)),
			"%s%s: what was acknowledged is there", kinds[i].what,
			checkpoints ? ", with checkpoints" : "");
	}
}

/* A log whose disk is full from some moment on: deletes still get in. */
static void test_full(int dir)
{
	bool held = true;

	for (uint64_t room = 1500u << 10; room < 12u << 20; room += 900 << 10) {
		struct wal *wal;
		long deleted = 0;

		kit_disk_init(&disk);
		disk.no_sync = true;
		disk.is_limited = true;
		disk.room = room;
		kit_dir_clear(dir);
		must(kit_open(dir, &disk.io, 1 << 20, NULL, &rep, &wal) == 0);
		for (long i = 0; i < 200000; i++)
			if (kit_append(wal, 1, false) < 0 ||
				wal_write(wal, true) < 0)
				break;
		while (deleted < 2500 && kit_append(wal, 2, true) == 0 &&
			wal_write(wal, true) == 0)
			deleted++;
		held = held && deleted == 2500 &&
		       kit_append(wal, 3, false) == -ENOSPC;
		wal_close(wal);
	}
	ok(held, "a full disk takes deletes, wherever it became full");
}

int main(void)
{
	int dir = (plan(31), kit_dir("fault"));

	for (int i = 0; i < 2; i++) {
		checkpoints = i;
		test_calls(dir, -EIO, false, "an error");
		test_calls(dir, -EIO, true, "an error");
		test_calls(dir, -ENOSPC, false, "a full disk");
		test_calls(dir, -ENOSPC, true, "a full disk");
		test_memory(dir, false);
		test_memory(dir, true);
		test_kinds(dir);
	}
	test_full(dir);
	close(dir);
	return done();
}
