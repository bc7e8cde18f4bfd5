/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.c: each allocation and each call to the disk fails: whole, or not there. */
#include "src/manifest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/manifestkit.h"
#include "tests/memkit.h"
#include "tests/tap.h"

/*
 * A disk over the plain one whose nth call fails, and which writes down what
 * was asked of it: o(pen), s(tat), r(ead), w(rite), d(urable write), u(nlink),
 * m(ove), n(ames), y: the sync of the directory.
 */
static struct {
	struct io io, below;
	long fail_at, calls; /* 0: none fails */
	bool for_ever;
	int rc;
	char did[64];
	char failed; /* the last that did */
	int dirfd;
} disk;

static bool disk_fails(char what)
{
	disk.did[VG_MIN((size_t)disk.calls, sizeof(disk.did) - 2)] = what;
	disk.calls++;
	if (disk.fail_at == 0 || (disk.for_ever ? disk.calls < disk.fail_at :
						  disk.calls != disk.fail_at))
		return false;
	disk.failed = what;
	return true;
}

static int disk_open(struct io *io, int dirfd, const char *name, int flags)
{
	(void)io;
	return disk_fails('o') ?
		       disk.rc :
		       disk.below.open(&disk.below, dirfd, name, flags);
}

static int disk_stat(struct io *io, int fd, struct io_stat *out)
{
	(void)io;
	return disk_fails('s') ? disk.rc :
				 disk.below.stat(&disk.below, fd, out);
}

static ssize_t disk_read(struct io *io, int fd, void *buf, size_t len,
	uint64_t offset)
{
	(void)io;
	return disk_fails('r') ?
		       disk.rc :
		       disk.below.read(&disk.below, fd, buf, len, offset);
}

/* A write that fails has written half. */
static int disk_write(struct io *io, int fd, const void *buf, size_t len,
	uint64_t offset, bool durable)
{
	bool fails = disk_fails(durable ? 'd' : 'w');
	int rc = disk.below.write(&disk.below, fd, buf, fails ? len / 2 : len,
		offset, false);

	(void)io;
	return fails ? disk.rc : rc;
}

static int disk_sync(struct io *io, int fd)
{
	(void)io;
	return disk_fails(fd == disk.dirfd ? 'y' : 'f') ? disk.rc : 0;
}

static int disk_unlink(struct io *io, int dirfd, const char *name)
{
	(void)io;
	return disk_fails('u') ? disk.rc :
				 disk.below.unlink(&disk.below, dirfd, name);
}

static int disk_rename(struct io *io, int dirfd, const char *from,
	const char *to)
{
	(void)io;
	return disk_fails('m') ?
		       disk.rc :
		       disk.below.rename(&disk.below, dirfd, from, to);
}

/* A listing that fails does so behind its first names. */
static int disk_list(struct io *io, int dirfd, io_name_fn *each, void *ctx)
{
	bool fails = disk_fails('n');
	int rc = disk.below.list(&disk.below, dirfd, each, ctx);

	(void)io;
	return fails ? disk.rc : rc;
}

static void disk_reset(long fail_at, bool for_ever, int rc)
{
	disk.fail_at = fail_at;
	disk.for_ever = for_ever;
	disk.rc = rc;
	disk.calls = 0;
	disk.failed = 0;
	memset(disk.did, 0, sizeof(disk.did));
}

static void disk_init(void)
{
	io_init(&disk.below);
	disk.io = disk.below;
	disk.io.open = disk_open;
	disk.io.stat = disk_stat;
	disk.io.read = disk_read;
	disk.io.write = disk_write;
	disk.io.sync = disk_sync;
	disk.io.unlink = disk_unlink;
	disk.io.rename = disk_rename;
	disk.io.list = disk_list;
	disk.dirfd = open(scratch(), O_RDONLY | O_DIRECTORY);
	must(disk.dirfd >= 0);
	disk_reset(0, false, 0);
}

static bool is_there(const char *name)
{
	return faccessat(disk.dirfd, name, F_OK, 0) == 0;
}

/* Is MANIFEST.<number> what kit_manifest with that number was saved as? */
static bool holds(uint64_t number)
{
	struct manifest want = kit_manifest(), got;
	bool same;

	want.number = number;
	if (manifest_load(&disk.below, disk.dirfd, number, &got) < 0)
		return false;
	same = kit_manifest_equal(&want, &got);
	manifest_fini(&got);
	return same;
}

/* Only MANIFEST.6 is there. */
static void start_again(void)
{
	struct manifest m = kit_manifest();

	for (uint64_t number = 6; number < 9; number++)
		must(manifest_unlink(&disk.below, disk.dirfd, number) == 0);
	m.number = 6;
	must(manifest_save(&disk.below, disk.dirfd, &m) == 0);
}

/* Saves 7 on a disk without faults; what an error left is no hindrance. */
static bool is_saved_later(void)
{
	struct manifest m = kit_manifest();

	return manifest_save(&disk.below, disk.dirfd, &m) == 0 && holds(7) &&
	       holds(6) && !is_there("MANIFEST.new");
}

static void test_order(void)
{
	struct manifest m = kit_manifest();

	start_again();
	disk_reset(0, false, 0);
	ok(manifest_save(&disk.io, disk.dirfd, &m) == 0 && holds(7),
		"without a fault it is saved");
	ok(strcmp(disk.did, "ouodmy") == 0,
		"its bytes are durable before its name, and that at the end "
		"(%s)",
		disk.did);
	disk_reset(0, false, 0);
	must(manifest_unlink(&disk.io, disk.dirfd, 7) == 0);
	ok(strcmp(disk.did, "uuy") == 0 && !is_there("MANIFEST.7"),
		"its removal is durable (%s)", disk.did);
}

/* A save whose nth call fails. */
static bool save_is_right(long n, bool for_ever, int rc)
{
	struct manifest m = kit_manifest();
	int got;

	start_again();
	disk_reset(n, for_ever, rc);
	got = manifest_save(&disk.io, disk.dirfd, &m);
	if (disk.failed == 0)
		return got == 0 && holds(7) && holds(6);
	/* Once it has its name, only the directory's sync is left. */
	if (disk.failed == 'y')
		return got == -EIO && holds(7) && holds(6);
	return got == rc && !is_there("MANIFEST.7") && holds(6) &&
	       (for_ever || !is_there("MANIFEST.new") || n == 2) &&
	       is_saved_later();
}

static void test_save(bool for_ever, int rc, const char *what)
{
	bool held = true;
	long n = 0, failed = 0;

	do {
		held = save_is_right(++n, for_ever, rc) && held;
		failed += disk.failed != 0;
	} while (disk.failed && n < 100);
	ok(held && failed == 6,
		"%s %s: a save is not there, or said to be not known", what,
		for_ever ? "from each call on" : "at each call");
}

/* Loads, lists and removes 7 with a fault; right is rc, or the answer. */
static bool rest_is_right(long n, bool for_ever, int rc, int what)
{
	struct manifest got = {.number = 3}, m = kit_manifest();
	uint64_t *number = NULL;
	uint32_t count = 9;
	int got_rc;

	start_again();
	must(manifest_save(&disk.below, disk.dirfd, &m) == 0);
	disk_reset(n, for_ever, rc);
	if (what == 0) {
		got_rc = manifest_load(&disk.io, disk.dirfd, 7, &got);
		if (got_rc == 0)
			manifest_fini(&got);
		else if (got.number != 3)
			return false;
	} else if (what == 1) {
		got_rc = manifest_list(&disk.io, disk.dirfd, &number, &count);
		if (got_rc == 0 ? count != 2 : count != 9 || number)
			return false;
		free(number);
	} else {
		got_rc = manifest_unlink(&disk.io, disk.dirfd, 7);
		if (got_rc == 0 && is_there("MANIFEST.7"))
			return false;
	}
	return got_rc == (disk.failed ? rc : 0) && holds(6);
}

static void test_rest(void)
{
	static const struct {
		const char *name;
		long calls;
	} whats[] = {{"load", 3}, {"list", 1}, {"unlink", 3}};

	for (int what = 0; what < 3; what++) {
		bool held = true;
		long failed = 0;

		for (int for_ever = 0; for_ever < 2; for_ever++) {
			long n = 0;

			do {
				held = rest_is_right(++n, for_ever, -EIO,
					       what) &&
				       held;
				failed += disk.failed != 0;
			} while (disk.failed && n < 100);
		}
		ok(held && failed == 2 * whats[what].calls,
			"a disk that fails: %s says so, and changes nothing "
			"of others",
			whats[what].name);
	}
}

/* All there is to do, where an allocation may fail: each part does its work
 * or says that there is no memory. */
static bool work_is_right(void)
{
	struct manifest m = kit_manifest(), got;
	uint64_t *number = NULL;
	uint32_t n = 0;
	int rc = manifest_save(&disk.below, disk.dirfd, &m);
	bool right = (rc == 0 && is_there("MANIFEST.7")) ||
		     (rc == -ENOMEM && !is_there("MANIFEST.7") &&
			     !is_there("MANIFEST.new"));
	bool was_armed;

	rc = manifest_load(&disk.below, disk.dirfd, 6, &got);
	right = right && (rc == 0 || rc == -ENOMEM);
	if (rc == 0)
		manifest_fini(&got);
	rc = manifest_list(&disk.below, disk.dirfd, &number, &n);
	right = right && (rc == -ENOMEM || (rc == 0 && n > 0));
	free(number);
	was_armed = mem_hold();
	right = right && holds(6);
	mem_go_on(was_armed);
	return right;
}

static void test_memory(bool for_ever)
{
	bool held = true;
	long n = 0, alive = mem_alive();

	do {
		start_again();
		mem_arm(++n, for_ever);
		held = work_is_right() && held;
		mem_disarm();
	} while (mem_failed() > 0 && n < 1000);
	ok(held && n > 15 && n < 1000,
		"no memory %s: it is said, and nothing is half done (%ld "
		"allocations)",
		for_ever ? "from each allocation on" : "once", n - 1);
	ok(mem_alive() == alive, "and all of it is given back");
}

/* Counts of what is not there: refused before memory is taken for them. */
static void test_counts(void)
{
	static const size_t counts[] = {AT_N_COLLS, AT_FULL + IN_VEC,
		AT_FULL + IN_VERSION, AT_FULL + IN_META, AT_FULL + IN_END,
		AT_FULL + IN_N_SNAPS, AT_PAST + PAST_N_SNAPS, AT_N_ALIASES};
	struct manifest m = kit_manifest(), got;
	uint8_t *bytes;
	size_t len, most;
	bool held = true;

	must(manifest_encode(&m, &bytes, &len) == 0);
	mem_arm(0, false);
	must(manifest_decode(bytes, len, &got) == 0);
	manifest_fini(&got);
	/* Twice the length: of parts, where it has so many. */
	most = VG_MAX(mem_largest(), 2 * len);
	for (size_t i = 0; i < VG_ARRAY_LEN(counts); i++)
		for (int bit = 6; bit < 32; bit++) {
			uint32_t was, count = UINT32_MAX >> (31 - bit);

			memcpy(&was, bytes + counts[i], 4);
			memcpy(bytes + counts[i], &count, 4);
			kit_manifest_fix(bytes, len);
			mem_arm(0, false);
			held = held && manifest_decode(bytes, len, &got) ==
					       -VG_ECORRUPT;
			held = held && mem_largest() <= most;
			memcpy(bytes + counts[i], &was, 4);
		}
	ok(held, "a count of what is not there takes no memory");
	kit_manifest_fix(bytes, len);
	mem_arm(0, false);
	must(manifest_decode(bytes, len, &got) == 0);
	manifest_fini(&got);
	mem_disarm();
	ok(mem_largest() <= 25 * len,
		"a manifest takes a constant times its length");
	free(bytes);
}

int main(void)
{
	plan(3 + 4 + 3 + 4 + 2);
	disk_init();
	test_order();
	test_save(false, -EIO, "an error");
	test_save(true, -EIO, "an error");
	test_save(false, -ENOSPC, "a full disk");
	test_save(true, -ENOSPC, "a full disk");
	test_rest();
	test_memory(false);
	test_memory(true);
	test_counts();
	close(disk.dirfd);
	return done();
}
