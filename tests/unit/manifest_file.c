/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_file.c: manifests in a directory: names, written once, listed. */
#include "src/manifest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/manifestkit.h"
#include "tests/tap.h"

static struct io io;

/* scratch()/name, opened. */
static int make_dir(const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", scratch(), name);
	must(mkdir(path, 0700) == 0);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	must(fd >= 0);
	return fd;
}

static void put_file(int dir, const char *name, const void *bytes, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

static bool is_there(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

static bool holds(int dir, const char *name, const char *text)
{
	char got[32] = "";
	int fd = openat(dir, name, O_RDONLY);

	if (fd < 0)
		return false;
	must(read(fd, got, sizeof(got) - 1) >= 0);
	close(fd);
	return strcmp(got, text) == 0;
}

static void test_names(void)
{
	static const struct {
		const char *name;
		uint64_t number; /* 0: it is none */
	} names[] = {{"MANIFEST.1", 1}, {"MANIFEST.10", 10},
		{"MANIFEST.4611686018427387904", 1ull << 62},
		{"MANIFEST.4611686018427387905", 0},
		{"MANIFEST.18446744073709551617", 0},
		{"MANIFEST.99999999999999999999", 0}, {"MANIFEST.0", 0},
		{"MANIFEST.01", 0}, {"MANIFEST.", 0}, {"MANIFEST", 0},
		{"MANIFEST.new", 0}, {"MANIFEST.1~", 0}, {"MANIFEST.-1", 0},
		{"MANIFEST. 1", 0}, {"manifest.1", 0}, {"xMANIFEST.1", 0},
		{"", 0}};

	for (size_t i = 0; i < VG_ARRAY_LEN(names); i++) {
		uint64_t number = 0;
		bool is = manifest_is_name(names[i].name, &number);

		ok(is == (names[i].number > 0) && number == names[i].number,
			"\"%s\" is %s manifest's name", names[i].name,
			is ? "a" : "no");
	}
}

static unsigned n_links(int dir, const char *name)
{
	struct stat st;

	must(fstatat(dir, name, &st, 0) == 0);
	return (unsigned)st.st_nlink;
}

static void test_save(void)
{
	struct manifest m = kit_manifest(), got;
	int dir = make_dir("save");

	ok(manifest_load(&io, dir, 7, &got) == -ENOENT,
		"what was not saved cannot be loaded");
	ok(manifest_save(&io, dir, &m) == 0 && !is_there(dir, "MANIFEST.new"),
		"a manifest is saved, and leaves nothing else");
	ok(manifest_load(&io, dir, 7, &got) == 0 &&
			kit_manifest_equal(&m, &got),
		"and loaded as it was");
	manifest_fini(&got);
	m.lsn++;
	ok(manifest_save(&io, dir, &m) == -EEXIST &&
			manifest_load(&io, dir, 7, &got) == 0 &&
			got.lsn == m.lsn - 1,
		"its number is not used again");
	manifest_fini(&got);

	m.number = 8;
	put_file(dir, "MANIFEST.new", "half", 4);
	must(linkat(dir, "MANIFEST.new", dir, "copy", 0) == 0);
	ok(manifest_save(&io, dir, &m) == 0 && holds(dir, "copy", "half"),
		"an unfinished one is not written to: a copy may share it");
	must(linkat(dir, "MANIFEST.8", dir, "copy8", 0) == 0);
	ok(manifest_renew(&io, dir, 8) == 0 && n_links(dir, "copy8") == 1 &&
			!is_there(dir, "MANIFEST.new") &&
			manifest_load(&io, dir, 8, &got) == 0 &&
			kit_manifest_equal(&m, &got),
		"one that was found is written again, in a file of its own");
	manifest_fini(&got);
	ok(manifest_renew(&io, dir, 12) == -ENOENT, "if it is there");
	must(renameat(dir, "MANIFEST.8", dir, "MANIFEST.9") == 0);
	got.number = 3;
	ok(manifest_load(&io, dir, 9, &got) == -VG_ECORRUPT && got.number == 3,
		"one under another number is refused");
	put_file(dir, "MANIFEST.10", "", 0);
	put_file(dir, "MANIFEST.11", "vgman\r\n\x1a", 8);
	ok(manifest_load(&io, dir, 10, &got) == -VG_ECORRUPT &&
			manifest_load(&io, dir, 11, &got) == -VG_ECORRUPT,
		"so are an empty one and half a head");
	put_file(dir, "MANIFEST.12", "", 0);
	int fd = openat(dir, "MANIFEST.12", O_WRONLY);

	must(fd >= 0 && ftruncate(fd, MANIFEST_LEN_MAX + 1) == 0);
	close(fd);
	ok(manifest_load(&io, dir, 12, &got) == -VG_ECORRUPT,
		"so is a file over 1 GiB");
	must(mkdirat(dir, "MANIFEST.13", 0700) == 0);
	m.number = 13;
	ok(manifest_load(&io, dir, 13, &got) < 0 &&
			manifest_save(&io, dir, &m) == -EEXIST,
		"a directory is none, and keeps its name");
	close(dir);
}

static void test_list(void)
{
	static const uint64_t want[] = {20, 19, 18, 17, 16, 15, 14, 13, 12, 11,
		10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
	uint64_t *number;
	uint32_t n = 9;
	char name[32];
	int dir = make_dir("list");

	ok(manifest_list(&io, dir, &number, &n) == 0 && n == 0,
		"a directory may have no manifest");
	free(number);
	for (int i = 1; i <= 20; i++) {
		snprintf(name, sizeof(name), "MANIFEST.%d", i);
		put_file(dir, name, "x", 1);
	}
	put_file(dir, "MANIFEST.new", "x", 1);
	put_file(dir, "MANIFEST.021", "x", 1);
	put_file(dir, "FORMAT", "x", 1);
	must(manifest_list(&io, dir, &number, &n) == 0);
	ok(n == 20 && memcmp(number, want, sizeof(want)) == 0,
		"all are listed, the newest first, and nothing else");
	free(number);
	ok(manifest_unlink(&io, dir, 20) == 0 && !is_there(dir, "MANIFEST.20") &&
			!is_there(dir, "MANIFEST.new") &&
			is_there(dir, "MANIFEST.19") && is_there(dir, "FORMAT"),
		"one is removed, and with it what was not finished");
	ok(manifest_unlink(&io, dir, 20) == 0,
		"removing what is not there is no error");
	put_file(dir, "MANIFEST.new", "x", 1);
	ok(manifest_unlink(&io, dir, 0) == 0 && !is_there(dir, "MANIFEST.new") &&
			is_there(dir, "MANIFEST.19"),
		"number 0 removes what was not finished alone");
	close(dir);
}

int main(void)
{
	plan(17 + 11 + 5);
	io_init(&io);
	test_names();
	test_save();
	test_list();
	return done();
}
