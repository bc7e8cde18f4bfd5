/* SPDX-License-Identifier: Apache-2.0 */
/* wal.c: what a sync returned for stays; what is damaged is told, not dropped. */
#include "src/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/wal_int.h"
#include "tests/logkit.h"
#include "tests/tap.h"

static struct kit_seen seen;
static struct wal_report rep;
static struct wal *wal;
static struct wal_stat st;

static bool is_there(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, 0) == 0;
}

static size_t size_of(int dirfd, const char *name)
{
	struct stat s;

	return fstatat(dirfd, name, &s, 0) < 0 ? 0 : (size_t)s.st_size;
}

/* Opens and closes: the changes that are there, or the error. */
static long reopen(int dirfd)
{
	int rc = kit_open(dirfd, NULL, 0, &seen, &rep, &wal);

	if (rc < 0)
		return rc;
	wal_close(wal);
	return seen.is_wrong ? -1000 : (long)seen.n;
}

/* A log of `segments` files with some changes each; returns how many. */
static uint64_t fill(int dirfd, uint64_t segments)
{
	kit_dir_clear(dirfd);
	must(kit_open(dirfd, NULL, 2000, &seen, &rep, &wal) == 0);
	do {
		must(kit_write(wal, 1, 2, true) == 0);
		wal_stat(wal, &st);
	} while (!is_there(dirfd, segments == 1 ? "0001.wal" :
				  segments == 2 ? "0002.wal" :
						  "0003.wal"));
	must(kit_write(wal, 1, 3, true) == 0);
	wal_stat(wal, &st);
	wal_close(wal);
	must(reopen(dirfd) == (long)st.durable_lsn);
	return st.durable_lsn;
}

static void poke(int dirfd, const char *name, uint64_t offset,
	const void *bytes, size_t len)
{
	int fd = openat(dirfd, name, O_RDWR);

	must(fd >= 0);
	must(pwrite(fd, bytes, len, (off_t)offset) == (ssize_t)len);
	close(fd);
}

static void flip(int dirfd, const char *name, uint64_t offset)
{
	uint8_t byte;
	int fd = openat(dirfd, name, O_RDWR);

	must(fd >= 0 && pread(fd, &byte, 1, (off_t)offset) == 1);
	byte ^= 0x10;
	must(pwrite(fd, &byte, 1, (off_t)offset) == 1);
	close(fd);
}

static void cut(int dirfd, const char *name, uint64_t size)
{
	int fd = openat(dirfd, name, O_RDWR);

	must(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	close(fd);
}

static int ignore(void *ctx, const struct wal_frame *frame)
{
	(void)ctx;
	(void)frame;
	return 0;
}

static const char zeros[4096];

static void test_new(int dir)
{
	static const uint8_t golden[] = "vgwal\r\n\x1a" "\1\0\0\0\0\0\0\0"
		"uuid of the test" "\1\0\0\0\0\0\0\0" "\1\0\0\0\0\0\0\0"
		"\0\0\0\0\0\0\0\0" "\xce\x20\xe0\x1a\x81\xc2\x2d\xf1"
		/* change 1, "hello"; change 2, nothing, not knowing it safe */
		"\5\0\0\0\1\0\0\0" "\1\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0"
		"\xd2\xdd\x54\x11\xed\x8d\x28\x4b" "hello\0\0\0"
		"\0\0\0\0\1\0\0\0" "\2\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0"
		"\x2d\x22\xb2\x65\x5c\x75\xcf\x22"
		/* change 3, knowing that 2 is */
		"\1\0\0\0\4\0\0\0" "\3\0\0\0\0\0\0\0" "\2\0\0\0\0\0\0\0"
		"\xe6\x91\x62\x4a\xa2\xd4\xb7\x0a" "!\0\0\0\0\0\0\0";
	struct wal_part hello[] = {{"he", 2}, {NULL, 0}, {"llo", 3}};
	struct wal_part mark = {"!", 1};
	struct kit_file file;
	struct stat s;

	ok(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0,
		"an empty directory opens");
	ok(rep.frames == 0 && rep.last_lsn == 0 && rep.cut_len == 0 &&
			!rep.uring && !rep.error[0],
		"and holds nothing");
	ok(size_of(dir, "0001.wal") == 64, "it has a first segment now");
	must(wal_append(wal, WAL_OP, hello, 3, false) == 0);
	must(wal_append(wal, WAL_OP, NULL, 0, false) == 0);
	wal_stat(wal, &st);
	ok(st.appended_lsn == 2 && st.written_lsn == 0 && st.syncs == 0 &&
			size_of(dir, "0001.wal") == 64,
		"what is appended is in memory only");
	ok(wal_write(wal, true) == 0, "it is written and synced");
	wal_stat(wal, &st);
	ok(st.written_lsn == 2 && st.durable_lsn == 2 && st.syncs == 1 &&
			st.bytes == 64 + 40 + 32,
		"and the log says so");
	must(wal_append(wal, WAL_OPS, &mark, 1, true) == 0);
	must(wal_write(wal, true) == 0);
	file = kit_load(dir, "0001.wal");
	if (!ok(file.len == sizeof(golden) - 1 &&
				memcmp(file.bytes, golden, file.len) == 0,
		    "a segment's bytes are these"))
		for (size_t i = 0; i < file.len; i++)
			fprintf(stderr, "%02x%s", file.bytes[i],
				i % 8 == 7 ? "\n" : " ");
	kit_free(&file);
	must(fstatat(dir, "0001.wal", &s, 0) == 0);
	ok(s.st_size == 64 + 40 + 32 + 40 &&
			(s.st_blocks * 512 >= 1 << 20 || s.st_blocks == 0),
		"space is taken ahead and the size is the written end");
	wal_close(wal);
}

static void test_again(int dir)
{
	kit_dir_clear(dir);
	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 1, 5, true) == 0);
	must(kit_append(wal, 2, false) == 0);
	must(kit_append(wal, 2, false) == 0);
	wal_drop(wal);
	wal_stat(wal, &st);
	ok(st.appended_lsn == 5, "what is dropped was never appended");
	must(kit_write(wal, 3, 1, false) == 0);
	wal_stat(wal, &st);
	ok(st.written_lsn == 6 && st.durable_lsn == 5,
		"a write without sync makes nothing durable");
	must(wal_write(wal, true) == 0);
	wal_stat(wal, &st);
	ok(st.durable_lsn == 6 && st.syncs == 2, "the sync after it does");
	must(wal_write(wal, true) == 0);
	wal_stat(wal, &st);
	ok(st.syncs == 2, "with nothing new there is nothing to sync");
	must(kit_append(wal, 4, false) == 0);
	wal_close(wal);
	ok(reopen(dir) == 6 && seen.life[4] == 1 && seen.life[5] == 3,
		"opened again it has what was written, no more");
	ok(rep.frames == 6 && rep.last_lsn == 6 && rep.cut_len == 0,
		"and reports it");
	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	wal_stat(wal, &st);
	ok(st.durable_lsn == 6 && st.appended_lsn == 6,
		"what an open found is durable");
	must(kit_write(wal, 5, 1, true) == 0);
	wal_close(wal);
	ok(reopen(dir) == 7 && seen.life[6] == 5, "and it goes on from there");
}

static void test_rotate(int dir)
{
	uint64_t n = fill(dir, 3);
	struct stat s;

	ok(seen.n == n && seen.segment[0] == 1 && seen.segment[n - 1] == 3,
		"past its size a segment is followed by the next");
	ok(seen.offset[0] == 64 && size_of(dir, "0001.wal") >= 2000 &&
			size_of(dir, "0001.wal") < 4000,
		"which begins with its header; the old one has its size");
	must(fstatat(dir, "0001.wal", &s, 0) == 0);
	ok(s.st_blocks * 512 < 1 << 20,
		"the old one gives back what it did not use");
	must(kit_open(dir, NULL, 2000, &seen, &rep, &wal) == 0);
	wal_stat(wal, &st);
	ok(st.bytes == size_of(dir, "0001.wal") + size_of(dir, "0002.wal") +
				size_of(dir, "0003.wal"),
		"the bytes of all segments are counted");
	wal_close(wal);
	kit_save(dir, "00001.wal", "x", 1);
	kit_save(dir, "0004.wal~", "x", 1);
	kit_save(dir, "4.wal", "x", 1);
	kit_save(dir, "99999999999999999999999.wal", "x", 1);
	ok(reopen(dir) == (long)n, "files with other names are let be");
}

static void test_unsynced_rotation(int dir)
{
	struct kit_disk disk;

	kit_disk_init(&disk);
	kit_dir_clear(dir);
	must(kit_open(dir, &disk.io, 500, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 1, 12, false) == 0);
	memset(disk.count, 0, sizeof(disk.count));
	must(kit_append(wal, 1, false) == 0);
	wal_stat(wal, &st);
	ok(st.durable_lsn == 12 && disk.count[KIT_SYNC] == 3,
		"an old segment is synced before the next begins");
	wal_drop(wal);
	wal_close(wal);
}

static void test_tail(int dir)
{
	uint64_t n = fill(dir, 2);
	size_t size = size_of(dir, "0002.wal");
	struct kit_disk disk;

	poke(dir, "0002.wal", size, "rubbish", 7);
	kit_disk_init(&disk);
	must(kit_open(dir, &disk.io, 0, &seen, &rep, &wal) == 0);
	ok(seen.n == n && !seen.is_wrong, "rubbish behind the end harms none");
	ok(rep.cut_segment == 2 && rep.cut_offset == size && rep.cut_len == 7,
		"it is cut and reported");
	ok(size_of(dir, "0002.wal") == size && disk.count[KIT_SYNC] == 1,
		"durably");
	wal_close(wal);
	ok(reopen(dir) == (long)n && rep.cut_len == 0, "and only once");
	poke(dir, "0002.wal", size + 4096 - 8, zeros, 8);
	ok(reopen(dir) == (long)n && rep.cut_len == 4096, "zeros are cut, too");

	poke(dir, "0002.wal", size - 9, "?", 1);
	ok(reopen(dir) == (long)n - 1 && rep.cut_offset == seen.end[n - 2],
		"a last frame that is not whole is cut: a crash looks so");
	flip(dir, "0002.wal", seen.offset[n - 2] + 8);
	ok(reopen(dir) == (long)n - 2, "so are all frames of its write");
}

/* A group of four frames that was never synced, with its second damaged. */
static void test_group(int dir)
{
	uint64_t n = fill(dir, 2);
	struct kit_file copy;

	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 2, 4, false) == 0);
	wal_close(wal);
	must(reopen(dir) == (long)n + 4);
	copy = kit_load(dir, "0002.wal");

	uint64_t second = seen.offset[n + 1], third = seen.offset[n + 2];

	flip(dir, "0002.wal", second + 40);
	ok(reopen(dir) == (long)n + 1 && rep.cut_offset == second,
		"a hole in a group that was never synced is a torn tail");
	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 3, 4, true) == 0);
	wal_close(wal);
	ok(reopen(dir) == (long)n + 5 && seen.life[n + 1] == 3,
		"and the log goes on where it was cut");

	kit_save(dir, "0002.wal", copy.bytes, copy.len);
	poke(dir, "0002.wal", second, zeros, third - second);
	ok(reopen(dir) == (long)n + 1 && rep.cut_offset == second,
		"zeros before later valid frames of the group: a torn tail");

	kit_save(dir, "0002.wal", copy.bytes, copy.len);
	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 4, 1, false) == 0);
	wal_close(wal);
	poke(dir, "0002.wal", second, zeros, third - second);
	ok(reopen(dir) == -VG_ECORRUPT,
		"the same zeros before a frame that knew of the sync: refused");
	kit_free(&copy);
}

static void test_middle(int dir)
{
	uint64_t n = fill(dir, 2);
	uint64_t offset = seen.offset[2], last = seen.offset[n - 4];
	struct kit_file before, after;
	char want[64];

	flip(dir, "0001.wal", offset + 33);
	before = kit_load(dir, "0001.wal");
	ok(reopen(dir) == -VG_ECORRUPT, "damage in an older segment is refused");
	snprintf(want, sizeof(want), "wal/0001.wal is damaged at byte %llu:",
		(unsigned long long)offset);
	ok(strstr(rep.error, want), "with file and byte: %s", rep.error);
	after = kit_load(dir, "0001.wal");
	ok(before.len == after.len &&
			memcmp(before.bytes, after.bytes, before.len) == 0,
		"and nothing is changed");
	kit_free(&before);
	kit_free(&after);
	flip(dir, "0001.wal", offset + 33);
	must(reopen(dir) == (long)n);

	must(seen.segment[n - 4] == 2);
	flip(dir, "0002.wal", last + 5);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "0002.wal"),
		"so is damage before a frame that was synced later");
	flip(dir, "0002.wal", last + 5);
	must(reopen(dir) == (long)n);
	cut(dir, "0001.wal", seen.end[2]);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "ends too early"),
		"an older segment that ends too early is refused: %s",
		rep.error);
}

static void test_names(int dir)
{
	fill(dir, 3);
	must(renameat(dir, "0002.wal", dir, "x") == 0);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "0002.wal is missing"),
		"a missing segment is named: %s", rep.error);
	must(renameat(dir, "0003.wal", dir, "0002.wal") == 0);
	must(renameat(dir, "x", dir, "0003.wal") == 0);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "swapped"),
		"swapped segments are named: %s", rep.error);
	fill(dir, 2);
	must(unlinkat(dir, "0001.wal", 0) == 0);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "0001.wal is missing"),
		"so is a missing first one");
}

/* Writes a header as a later version, or another store, would have. */
static void put_header(int dir, const char *name, uint64_t segment,
	uint64_t first_lsn, uint32_t version)
{
	struct wal_header h = {
		.version = version, .segment = segment, .first_lsn = first_lsn};
	uint8_t bytes[WAL_HEADER];

	memcpy(h.uuid, kit_uuid, 16);
	wal_header_encode(&h, bytes);
	poke(dir, name, 0, bytes, sizeof(bytes));
}

static void test_headers(int dir)
{
	uint64_t n = fill(dir, 3);
	struct wal_config cfg = {.dirfd = dir, .uuid = "someone else"};

	flip(dir, "0002.wal", 20);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "header"),
		"a damaged header is named: %s", rep.error);
	flip(dir, "0002.wal", 20);
	flip(dir, "0003.wal", 63);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "0003.wal"),
		"also of a last segment with changes in it");
	flip(dir, "0003.wal", 63);
	must(reopen(dir) == (long)n);
	put_header(dir, "0003.wal", 3, n - 2, 2);
	ok(reopen(dir) == -VG_EFORMAT && strstr(rep.error, "version 2"),
		"a later version is named: %s", rep.error);
	fill(dir, 3);
	put_header(dir, "0002.wal", 2, n + 5, 1);
	ok(reopen(dir) == -VG_ECORRUPT, "a first lsn too high is refused");
	put_header(dir, "0003.wal", 3, 1, 1);
	put_header(dir, "0002.wal", 2, 2, 1);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "begins with"),
		"one below the segment's before is refused: %s", rep.error);
	fill(dir, 1);
	put_header(dir, "0001.wal", 1, 2, 1);
	ok(reopen(dir) == -VG_ECORRUPT && strstr(rep.error, "first"),
		"a log without its first change is refused: %s", rep.error);
	fill(dir, 1);
	ok(wal_open(&cfg, ignore, NULL, &rep, &wal) == -VG_ECORRUPT &&
			strstr(rep.error, "another store"),
		"another store's log is refused: %s", rep.error);
}

static void test_creation(int dir)
{
	uint64_t n = fill(dir, 2);

	for (size_t len = 0; len <= 200; len += 25) {
		kit_save(dir, "0003.wal", zeros, len);
		if (reopen(dir) != (long)n || is_there(dir, "0003.wal") ||
			rep.cut_len != len)
			break;
		if (len == 200)
			n = 0;
	}
	ok(n == 0, "a segment that was being created is removed");
	n = fill(dir, 2);
	kit_save(dir, "0003.wal", zeros, 64);
	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	ok(rep.cut_segment == 3 && rep.cut_offset == 0 && rep.cut_len == 64,
		"and reported");
	must(kit_write(wal, 2, 3, true) == 0);
	wal_close(wal);
	ok(reopen(dir) == (long)n + 3, "and the one before goes on");
	kit_dir_clear(dir);
	kit_save(dir, "0001.wal", zeros, 30);
	ok(reopen(dir) == 0 && size_of(dir, "0001.wal") == 64,
		"that holds for the first one, too");
}

static void test_links(int dir)
{
	uint64_t n = fill(dir, 2);
	struct kit_file before, after;

	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 2, 4, false) == 0);
	wal_close(wal);
	must(reopen(dir) == (long)n + 4);
	flip(dir, "0002.wal", seen.offset[n + 1] + 3);
	must(linkat(dir, "0002.wal", dir, "backup", 0) == 0);
	before = kit_load(dir, "backup");
	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	ok(seen.n == n + 1 && rep.cut_segment == 2 && rep.cut_len > 0,
		"a torn tail of a file with two names is reported");
	must(kit_write(wal, 3, 5, true) == 0);
	wal_close(wal);
	after = kit_load(dir, "backup");
	ok(before.len == after.len &&
			memcmp(before.bytes, after.bytes, before.len) == 0,
		"the file is not written");
	ok(is_there(dir, "0003.wal"), "a new segment begins instead");
	ok(reopen(dir) == (long)n + 6 && seen.life[n] == 2 &&
			seen.life[n + 1] == 3 && rep.cut_len == 0 &&
			!is_there(dir, "0004.wal"),
		"and makes void what is behind in the old one");
	must(linkat(dir, "0003.wal", dir, "backup3", 0) == 0);
	ok(reopen(dir) == (long)n + 6 && size_of(dir, "0004.wal") > 64 &&
			seen.segment[n + 5] == 3,
		"a whole file with two names is followed by a new one, too");
	ok(reopen(dir) == (long)n + 6 && !is_there(dir, "0005.wal") &&
			seen.segment[n + 5] == 4 && seen.segment[n] == 3,
		"once; the last sync's changes stand in it again");
	must(linkat(dir, "0004.wal", dir, "backup4", 0) == 0);
	ok(reopen(dir) == (long)n + 6 && is_there(dir, "0005.wal"),
		"and it by another, if it has two names");
	kit_free(&before);
	kit_free(&after);
	kit_dir_clear(dir);
	must(reopen(dir) == 0);
	must(linkat(dir, "0001.wal", dir, "backup", 0) == 0);
	must(kit_open(dir, NULL, 0, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 3, 5, true) == 0);
	wal_close(wal);
	ok(size_of(dir, "backup") == 64 && reopen(dir) == 5 &&
			!is_there(dir, "0002.wal") && !is_there(dir, "new"),
		"one without changes gives its name to a new one");
}

static int fail_third(void *ctx, const struct wal_frame *frame)
{
	(void)ctx;
	return frame->lsn == 3 ? -EUSERS : 0;
}

static void test_refusals(int dir)
{
	struct wal_config cfg = {.dirfd = dir};
	uint8_t frame[32];
	struct wire_frame head = {.type = 6};
	struct wire_salt salt = {.segment = 1};
	uint64_t n = fill(dir, 1);
	size_t size = size_of(dir, "0001.wal");

	memcpy(cfg.uuid, kit_uuid, 16);
	memcpy(salt.uuid, kit_uuid, 16);
	poke(dir, "0001.wal", size, "rubbish", 7);
	ok(wal_open(&cfg, fail_third, NULL, &rep, &wal) == -EUSERS &&
			size_of(dir, "0001.wal") == size + 7,
		"what the caller refuses ends the open; nothing is cut");
	must(reopen(dir) == (long)n);
	head.lsn = n + 1;
	wire_frame_encode(&head, &salt, frame);
	poke(dir, "0001.wal", size, frame, 32);
	ok(reopen(dir) == -VG_EFORMAT && strstr(rep.error, "type 6"),
		"a frame of a type that is not known is refused: %s",
		rep.error);
	head.lsn = n + 2;
	head.durable = n;
	wire_frame_encode(&head, &salt, frame);
	poke(dir, "0001.wal", size, frame, 32);
	ok(reopen(dir) == (long)n && rep.cut_len == 32,
		"a frame with a gap before its lsn is no part of the log");
	head.lsn = n + 2;
	head.durable = n + 1;
	wire_frame_encode(&head, &salt, frame);
	poke(dir, "0001.wal", size, frame, 32);
	ok(reopen(dir) == -VG_ECORRUPT,
		"unless it knows that the missing one was safe: refused");
}

static void test_large(int dir)
{
	static char bytes[(16u << 20) + 1];
	struct wal_part part = {bytes, sizeof(bytes)};
	struct wal_part parts[3] = {
		{bytes, SIZE_MAX}, {bytes, SIZE_MAX}, {bytes, 2}};
	struct wal_config cfg = {.dirfd = dir, .no_uring = true};
	int n = 0;

	kit_dir_clear(dir);
	must(wal_open(&cfg, ignore, NULL, &rep, &wal) == 0);
	ok(wal_append(wal, WAL_OP, &part, 1, false) == -E2BIG &&
			wal_append(wal, WAL_OP, parts, 3, false) == -E2BIG,
		"a change over 16 MiB is refused");
	part.len--;
	while (n < 9 && wal_append(wal, WAL_OP, &part, 1, false) == 0)
		n++;
	ok(n == 3 && wal_append(wal, WAL_OP, &part, 1, false) == -ENOBUFS,
		"64 MiB may wait to be written, no more");
	ok(wal_write(wal, true) == 0, "they are written at once");
	ok(wal_append(wal, WAL_OP, &part, 1, false) == 0, "and more may come");
	wal_close(wal);
	must(wal_open(&cfg, ignore, NULL, &rep, &wal) == 0);
	ok(rep.frames == 3, "they are read again");
	wal_close(wal);
}

static void test_full(int dir)
{
	struct kit_disk disk;
	uint64_t n;
	int rc;

	kit_disk_init(&disk);
	disk.is_limited = true;
	disk.room = 5u << 20;
	kit_dir_clear(dir);
	must(kit_open(dir, &disk.io, 0, NULL, &rep, &wal) == 0);
	ok(disk.room < 4u << 20, "on a small disk less is taken ahead");
	disk.room = 1 << 16;
	do
		rc = kit_append(wal, 1, false);
	while (rc == 0);
	ok(rc == -ENOSPC, "on a full disk a change is refused");
	ok(wal_write(wal, true) == 0, "those before it are written");
	n = 0;
	while (n < 3000 && kit_append(wal, 2, true) == 0)
		n++;
	ok(n == 3000, "changes that make room use the reserve");
	ok(kit_append(wal, 2, false) == -ENOSPC, "others still do not");
	ok(wal_write(wal, true) == 0, "and they are written");
	while (kit_append(wal, 2, true) == 0)
		n++;
	ok(kit_append(wal, 2, true) == -ENOSPC, "until it is used up");
	must(wal_write(wal, true) == 0);
	disk.room = 20u << 20;
	ok(kit_append(wal, 3, false) == 0 && wal_write(wal, true) == 0,
		"with space again everything works by itself");
	wal_stat(wal, &st);
	wal_close(wal);
	must(kit_open(dir, NULL, 0, NULL, &rep, &wal) == 0);
	ok(rep.last_lsn == st.durable_lsn && rep.cut_len == 0, "and is there");
	wal_close(wal);
}

static void test_full_rotation(int dir)
{
	struct kit_disk disk;

	kit_disk_init(&disk);
	kit_dir_clear(dir);
	must(kit_open(dir, &disk.io, 600, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 1, 20, true) == 0);
	disk.is_limited = true;
	disk.taken[disk.fd] = 8u << 20;
	disk.room = 1u << 19;
	ok(kit_write(wal, 1, 1, true) == 0 && !is_there(dir, "0002.wal"),
		"a segment that finds no space is not begun: the old one grows");
	disk.room = 30u << 20;
	for (int i = 0; i < 1 << 13 && !is_there(dir, "0002.wal"); i++)
		must(kit_write(wal, 1, 2, false) == 0);
	ok(is_there(dir, "0002.wal"), "and is when there is some");
	wal_stat(wal, &st);
	wal_close(wal);
	must(kit_open(dir, NULL, 0, NULL, &rep, &wal) == 0);
	ok(rep.last_lsn == st.appended_lsn, "nothing is lost between");
	wal_close(wal);

	kit_dir_clear(dir);
	kit_disk_init(&disk);
	must(kit_open(dir, &disk.io, 600, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 1, 20, true) == 0);
	disk.only_calls = 1 << KIT_OPEN;
	disk.rc = -EMFILE;
	disk.calls = 0;
	disk.fail_at = 1;
	ok(kit_write(wal, 1, 1, true) == 0, "so it is without a descriptor");
	wal_close(wal);
	ok(reopen(dir) == 21, "and nothing is lost");
}

static void test_no_fallocate(int dir)
{
	struct kit_disk disk;
	size_t size;
	long syncs;

	kit_disk_init(&disk);
	disk.no_fallocate = true;
	kit_dir_clear(dir);
	must(kit_open(dir, &disk.io, 0, &seen, &rep, &wal) == 0);
	ok(kit_write(wal, 1, 3, true) == 0,
		"a file system without fallocate works, too");
	size = size_of(dir, "0001.wal");
	disk.is_limited = true;
	disk.taken[disk.fd] = size;
	disk.room = 50;
	syncs = disk.count[KIT_SYNC];
	must(kit_append(wal, 2, false) == 0 && kit_append(wal, 2, false) == 0);
	ok(wal_write(wal, true) == -ENOSPC, "its full disk is met by the write");
	wal_stat(wal, &st);
	ok(st.appended_lsn == 3 && size_of(dir, "0001.wal") == size &&
			disk.count[KIT_SYNC] == syncs + 1,
		"what was appended is dropped, durably");
	disk.room = 1 << 20;
	ok(kit_write(wal, 3, 2, true) == 0, "and with space it works again");
	wal_close(wal);
	ok(reopen(dir) == 5 && seen.life[3] == 3, "nothing remains of the try");

	kit_disk_init(&disk);
	disk.no_fallocate = true;
	must(kit_open(dir, &disk.io, 0, &seen, &rep, &wal) == 0);
	disk.is_limited = true;
	disk.only_calls = 1 << KIT_TRUNCATE;
	disk.calls = 0;
	disk.fail_at = 1;
	ok(kit_write(wal, 4, 1, true) == -EIO &&
			kit_write(wal, 4, 1, true) == -EROFS,
		"a try that cannot be taken back ends the log");
	wal_close(wal);
}

static void test_failure(int dir)
{
	struct kit_disk disk;
	long syncs;

	kit_disk_init(&disk);
	kit_dir_clear(dir);
	must(kit_open(dir, &disk.io, 0, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 1, 3, true) == 0);
	must(kit_append(wal, 2, false) == 0);
	disk.only_calls = 1 << KIT_WRITE;
	disk.fail_at = 1;
	disk.calls = 0;
	ok(wal_write(wal, true) == -EIO, "a failed sync is told once");
	syncs = disk.count[KIT_SYNC] + disk.count[KIT_WRITE];
	ok(wal_write(wal, true) == -EROFS && kit_append(wal, 3, true) == -EROFS,
		"then the log takes nothing more");
	wal_drop(wal);
	ok(wal_write(wal, true) == -EROFS, "for ever");
	wal_stat(wal, &st);
	ok(st.durable_lsn == 3 && st.written_lsn == 3, "nothing counts as safe");
	wal_close(wal);
	ok(disk.count[KIT_SYNC] + disk.count[KIT_WRITE] == syncs,
		"and a sync is never repeated, not by close either");
	ok(reopen(dir) >= 3, "opened again it has what was acknowledged");

	disk.fail_at = 0;
	must(kit_open(dir, &disk.io, 300, &seen, &rep, &wal) == 0);
	must(kit_write(wal, 1, 9, false) == 0);
	disk.only_calls = 1 << KIT_SYNC;
	disk.fail_at = 1;
	disk.calls = 0;
	ok(kit_append(wal, 1, false) == -EIO && kit_append(wal, 1, false) == -EROFS,
		"that holds for the sync before a new segment");
	wal_close(wal);
	ok(reopen(dir) == 3 + 9, "which is not begun");
}

static _Atomic bool reader_stops;

/* Any thread may look: the order of the three holds at each moment. */
static void *read_stat(void *ctx)
{
	const struct wal *log = ctx;
	struct wal_stat now;
	bool held = true;

	while (!reader_stops) {
		wal_stat(log, &now);
		held = held && now.durable_lsn <= now.written_lsn &&
		       now.written_lsn <= now.appended_lsn;
	}
	return held ? ctx : NULL;
}

static void test_stat(int dir)
{
	struct kit_disk disk;
	pthread_t reader;
	void *held;

	kit_disk_init(&disk);
	disk.no_sync = true;
	kit_dir_clear(dir);
	must(kit_open(dir, &disk.io, 100000, &seen, &rep, &wal) == 0);
	must(pthread_create(&reader, NULL, read_stat, wal) == 0);
	for (unsigned i = 0; i < 3000; i++) {
		must(kit_write(wal, i, 1 + i % 3, i % 2 == 0) == 0);
		if (i % 50 == 0)
			wal_drop(wal);
	}
	reader_stops = true;
	must(pthread_join(reader, &held) == 0);
	ok(held, "another thread sees durable <= written <= appended");
	wal_close(wal);
}

int main(void)
{
	int dir = (plan(98), kit_dir("wal"));

	test_new(dir);
	test_again(dir);
	test_rotate(dir);
	test_unsynced_rotation(dir);
	test_tail(dir);
	test_group(dir);
	test_middle(dir);
	test_names(dir);
	test_headers(dir);
	test_creation(dir);
	test_links(dir);
	test_refusals(dir);
	test_large(dir);
	test_full(dir);
	test_full_rotation(dir);
	test_no_fallocate(dir);
	test_failure(dir);
	test_stat(dir);
	close(dir);
	return done();
}
