/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk.c: a simulated power cut leaves what it may, and no more than that. */
#include "tests/simdisk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simkit.h"
#include "tests/tap.h"

/* ---- power cuts ---- */

static void test_modes(void)
{
	bool kept = true, all = true, none = true;

	begin(NULL);
	io->close(io, safe_file("safe", 's', 5000));
	int fd = safe_file("f", 'a', 3000);

	put(fd, 2000, 'b', 2000);
	put(create("new"), 0, 'n', 10);
	for (uint64_t i = 0; i < DRAWS; i++) {
		enum sim_mode mode = i % SIM_MODES;
		struct sim *cut = sim_crash(disk, i, mode);

		kept = kept && is_all(cut, "safe", 0, 's', 5000) &&
		       size_of(cut, "f") >= 3000;
		if (mode == SIM_NONE)
			none = none && is_all(cut, "f", 0, 'a', 3000) &&
			       !is_there(cut, "new");
		if (mode == SIM_ALL)
			all = all && is_all(cut, "f", 2000, 'b', 2000) &&
			      is_all(cut, "new", 0, 'n', 10);
		sim_free(cut);
	}
	ok(kept, "what was synced is there after any power cut");
	ok(none, "SIM_NONE keeps nothing else");
	ok(all, "SIM_ALL keeps everything");
	ok(is_all(disk, "f", 2000, 'b', 2000) && stat_of(disk).pending > 0,
		"the disk that was cut goes on as if nothing were");
}

static void test_sectors(uint32_t sector, enum sim_mode mode, bool mixes)
{
	unsigned small[3] = {0}, large[3] = {0}, all_new = 0, all_old = 0;

	begin(&(struct sim_config){.sector = sector});
	int fd = safe_file("f", 'a', 8 * 4096);

	put(fd, 0, 'b', 8 * 4096);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, mode);

		count_units(cut, "f", 512, "ab", small);
		count_units(cut, "f", 4096, "ab", large);
		all_old += is_all(cut, "f", 0, 'a', 8 * 4096);
		all_new += is_all(cut, "f", 0, 'b', 8 * 4096);
		sim_free(cut);
	}
	ok(small[0] > 0 && small[1] > 0 && small[2] == 0 &&
			(large[2] > 0) == mixes && all_old + all_new < DRAWS,
		"sectors of %u are whole%s, each by itself (%u old, %u new)",
		mode == SIM_TORN ? 512 : sector,
		mode == SIM_TORN ? ", pages torn" : "", small[0], small[1]);
}

/* One sector is written three times, in places of its own. */
static void test_history(void)
{
	unsigned seen[4] = {0}, wrong = 0;

	begin(NULL);
	int fd = safe_file("f", '.', 512);

	for (uint64_t i = 0; i < 3; i++)
		put(fd, 100 * i, '1' + (int)i, 50);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_TORN);
		size_t len;
		char *bytes = sim_load(cut, "f", &len);
		unsigned n = 0;

		must(bytes && len == 512);
		while (n < 3 && bytes[100 * n] == '1' + (int)n)
			n++;
		seen[n]++;
		for (unsigned k = 0; k < 3; k++)
			wrong += (bytes[100 * k + 49] != '.') != (k < n);
		free(bytes);
		sim_free(cut);
	}
	ok(wrong == 0 && seen[0] > 0 && seen[1] > 0 && seen[2] > 0 &&
			seen[3] > 0,
		"a sector is what it was after some write, with all before");
}

static void test_growth(void)
{
	unsigned sizes = 0, zeros = 0, wrong = 0;

	begin(NULL);
	int fd = safe_file("f", 'x', 0);

	for (uint64_t i = 0; i < 3; i++)
		put(fd, 5000 * i, 'a', 5000);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);
		size_t len;
		char *bytes = sim_load(cut, "f", &len);

		must(bytes);
		wrong += len % 5000 != 0 || len > 15000;
		sizes |= 1u << len / 5000;
		for (size_t k = 0; k < len; k++) {
			zeros += bytes[k] == 0;
			wrong += bytes[k] != 0 && bytes[k] != 'a';
		}
		free(bytes);
		sim_free(cut);
	}
	ok(wrong == 0 && sizes == 15 && zeros > 0,
		"a file has any size it had; bytes that are missing are zeros");
}

/* 8,192 a's, cut to 100, then 200 b's behind these. */
static void test_cut(void)
{
	unsigned sizes[3] = {0}, wrong = 0, early = 0;

	begin(NULL);
	int fd = safe_file("f", 'a', 8192);

	must(io->truncate(io, fd, 100) == 0);
	put(fd, 100, 'b', 200);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_TORN);
		size_t len;
		char *bytes = sim_load(cut, "f", &len);

		must(bytes);
		sizes[0] += len == 8192;
		sizes[1] += len == 100;
		sizes[2] += len == 300;
		wrong += len != 8192 && len != 100 && len != 300;
		wrong += bytes[99] != 'a' || (len > 4096 && bytes[5000] != 'a');
		early += len == 8192 && bytes[100] == 'b';
		free(bytes);
		sim_free(cut);
	}
	ok(wrong == 0 && sizes[0] > 0 && sizes[1] > 0 && sizes[2] > 0 &&
			early > 0,
		"a cut is the size's, with or without what came behind it");

	begin(NULL);
	fd = safe_file("f", 'a', 8192);
	must(io->truncate(io, fd, 0) == 0 && io->truncate(io, fd, 9000) == 0);
	wrong = 0;
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);

		wrong += !is_all(cut, "f", 0, 'a', 8192) &&
			 !is_all(cut, "f", 0, 0, 9000) && size_of(cut, "f") > 0;
		sim_free(cut);
	}
	ok(wrong == 0, "what a cut took does not come back with the size");
}

static void test_beyond(void)
{
	unsigned wrong = 0, n = 0;

	begin(NULL);
	int fd = safe_file("f", 'a', 3000);

	put(fd, 3000, 'b', 6000);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);
		struct io *its = sim_get_io(cut);
		int its_fd = its->open(its, root, "f", O_RDWR);

		if (size_of(cut, "f") == 3000) {
			must(its->truncate(its, its_fd, 9000) == 0);
			wrong += !is_all(cut, "f", 3000, 0, 6000);
			n++;
		}
		sim_free(cut);
	}
	ok(wrong == 0 && n > 0, "bytes beyond the size are gone for good");
}

/* Two files in turn, 700 bytes each; f gets the first. */
static void test_prefix(void)
{
	unsigned wrong = 0, torn = 0, between = 0;

	begin(NULL);
	int f = safe_file("f", 0, 0), g = safe_file("g", 0, 0);

	for (uint64_t i = 0; i < 6; i++) {
		put(f, 700 * i, 'x', 700);
		put(g, 700 * i, 'x', 700);
	}
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_PREFIX);
		uint64_t a = size_of(cut, "f"), b = size_of(cut, "g");

		/* g has nothing of turn n before f has all of it. */
		wrong += (b + 699) / 700 > a / 700 ||
			 (a + 699) / 700 > b / 700 + 1;
		torn += a % 700 > 0 || b % 700 > 0;
		between += a > 700 && b < 2100;
		wrong += !is_all(cut, "f", 0, 'x', a) ||
			 !is_all(cut, "g", 0, 'x', b);
		sim_free(cut);
	}
	ok(wrong == 0 && between > 0, "SIM_PREFIX keeps all up to a moment");
	begin(&(struct sim_config){.sector = 512});
	f = safe_file("f", 0, 0);
	put(f, 0, 'x', 4096);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_PREFIX);
		uint64_t a = size_of(cut, "f");

		wrong += a % 512 > 0;
		torn += a > 0 && a < 4096;
		sim_free(cut);
	}
	ok(wrong == 0 && torn > 0, "and a part of what it was at");
}

/* ---- names ---- */

static void test_names(bool in_order)
{
	unsigned seen = 0, wrong = 0;

	begin(&(struct sim_config){.names_in_order = in_order});
	for (int i = 0; i < 3; i++) {
		int fd = create((const char *[]){"a", "b", "c"}[i]);

		put(fd, 0, 'x', 10);
		must(io->sync(io, fd) == 0);
	}
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);
		unsigned names = 0;

		for (unsigned k = 0; k < 3; k++) {
			const char *name = (const char *[]){"a", "b", "c"}[k];
			bool is = is_there(cut, name);

			names |= (unsigned)is << k;
			wrong += is && !is_all(cut, name, 0, 'x', 10);
		}
		seen |= 1u << names;
		sim_free(cut);
	}
	ok(wrong == 0 && seen == (in_order ? 0x8b : 0xff),
		in_order ? "a directory may keep its changes in order" :
			   "a synced file may lose its name, each by itself");
	must(io->sync(io, root) == 0);
	struct sim *cut = sim_crash(disk, 1, SIM_NONE);

	ok(is_there(cut, "a") && is_there(cut, "b") && is_there(cut, "c"),
		"until the directory is synced");
	sim_free(cut);
}

static void test_rename(void)
{
	unsigned old = 0, new = 0, wrong = 0, tmp_lost = 0;

	begin(NULL);
	safe_file("m", 'o', 10);
	int fd = create("tmp");

	put(fd, 0, 'n', 10);
	must(io->sync(io, fd) == 0);
	must(io->rename(io, root, "tmp", "m") == 0);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);
		bool is_new = is_all(cut, "m", 0, 'n', 10);

		new += is_new;
		old += is_all(cut, "m", 0, 'o', 10);
		wrong += is_new && is_there(cut, "tmp");
		tmp_lost += !is_new && !is_there(cut, "tmp");
		sim_free(cut);
	}
	ok(wrong == 0 && old > 0 && new > 0 &&
			old + new == DRAWS &&tmp_lost > 0,
		"a rename is there wholly or not at all");
}

static void test_one_name(void)
{
	unsigned seen = 0;

	begin(NULL);
	for (int i = 1; i <= 3; i++) {
		int fd = create("x");

		put(fd, 0, '0' + i, 1);
		must(io->sync(io, fd) == 0);
		io->close(io, fd);
		if (i < 3)
			must(io->unlink(io, root, "x") == 0);
	}
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);

		seen |= 1u << (is_all(cut, "x", 0, '1', 1)  ? 1 :
				is_all(cut, "x", 0, '2', 1) ? 2 :
				is_all(cut, "x", 0, '3', 1) ? 3 :
				is_there(cut, "x")	    ? 4 :
							      0);
		sim_free(cut);
	}
	ok(seen == 15, "the changes of one name are there in order");

	unsigned wrong = 0;

	begin(NULL);
	safe_file("a", '1', 1);
	must(io->rename(io, root, "a", "b") == 0);
	int fd = create("a");

	must(io->write(io, fd, "2", 1, 0, true) == 0);
	seen = 0;
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);
		bool moved = is_all(cut, "b", 0, '1', 1);
		bool new = is_all(cut, "a", 0, '2', 1);

		wrong += !moved && !is_all(cut, "a", 0, '1', 1);
		wrong += moved && is_all(cut, "a", 0, '1', 1);
		seen |= 1u << (moved + new);
		sim_free(cut);
	}
	ok(wrong == 0 && seen == 7, "also where one of them is a rename");
}

static void test_unlink(void)
{
	unsigned back = 0, gone = 0;

	begin(&(struct sim_config){.capacity = 8192});
	int fd = safe_file("f", 'a', 5000);
	char byte = 0;

	must(io->unlink(io, root, "f") == 0);
	ok(io->read(io, fd, &byte, 1, 4999) == 1 && byte == 'a' &&
			stat_of(disk).used == 8192,
		"an unlinked file lives until it is closed");
	io->close(io, fd);
	put(create("g"), 0, 'b', 8192);
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sim *cut = sim_crash(disk, i, SIM_SUBSET);

		back += is_all(cut, "f", 0, 'a', 5000);
		gone += !is_there(cut, "f");
		sim_free(cut);
	}
	ok(back > 0 && gone > 0 && back + gone == DRAWS,
		"gone files may be back as long as the unlink is not safe");
}

static void test_dirs(void)
{
	unsigned whole = 0, empty = 0, none = 0;

	begin(NULL);
	must(io->mkdir(io, root, "d") == 0);
	int dir = io->open(io, root, "d", O_RDONLY | O_DIRECTORY);
	int fd = io->open(io, dir, "f", O_RDWR | O_CREAT);

	must(io->write(io, fd, "x", 1, 0, true) == 0);
	struct sim *cut = sim_crash(disk, 1, SIM_NONE);

	must(io->sync(io, dir) == 0);
	struct sim *synced = sim_crash(disk, 1, SIM_NONE);

	must(io->sync(io, root) == 0);
	struct sim *both = sim_crash(disk, 1, SIM_NONE);

	ok(!is_there(cut, "d/f") && !is_there(synced, "d/f") &&
			is_all(both, "d/f", 0, 'x', 1),
		"a file needs its name safe, and its directory's");
	ok(stat_of(synced).used == 0 && stat_of(both).used == 4096,
		"what nothing leads to takes no space");
	sim_free(cut);
	sim_free(synced);
	sim_free(both);
	must(io->unlink(io, dir, "f") == 0 && io->rmdir(io, root, "d") == 0);
	for (uint64_t i = 0; i < DRAWS; i++) {
		cut = sim_crash(disk, i, SIM_SUBSET);
		fd = sim_get_io(cut)->open(sim_get_io(cut), root, "d",
			O_RDONLY | O_DIRECTORY);
		whole += is_there(cut, "d/f");
		empty += fd >= 0 && !is_there(cut, "d/f");
		none += fd < 0;
		sim_free(cut);
	}
	ok(whole > 0 && empty > 0 && none > 0,
		"directories go and come back like files");
}

static void test_links(void)
{
	struct io_stat st;

	begin(NULL);
	int fd = safe_file("f", 'a', 10);

	must(io->mkdir(io, root, "copy") == 0);
	must(sim_link(disk, "f", "copy/f") == 0 && io->stat(io, fd, &st) == 0);
	put(fd, 5, 'b', 5);
	ok(st.links == 2 && is_all(disk, "copy/f", 5, 'b', 5) &&
			sim_link(disk, "f", "copy/f") == -EEXIST &&
			sim_link(disk, "g", "h") == -ENOENT,
		"two names share one file");
	sim_sync_all(disk);
	must(io->unlink(io, root, "f") == 0);
	struct sim *cut = sim_crash(disk, 1, SIM_ALL);
	struct io *its = sim_get_io(cut);

	fd = its->open(its, root, "copy/f", O_RDONLY);
	ok(its->stat(its, fd, &st) == 0 && st.links == 1 && st.size == 10,
		"links are counted anew after a power cut");
	sim_free(cut);
}

/* ---- seeds and moments ---- */

static bool same_file(struct sim *a, struct sim *b, const char *path)
{
	size_t a_len = 0, b_len = 0;
	char *x = sim_load(a, path, &a_len), *y = sim_load(b, path, &b_len);
	bool is =
		a_len == b_len && !x == !y && (!x || memcmp(x, y, a_len) == 0);

	free(x);
	free(y);
	return is;
}

static void test_seeds(void)
{
	unsigned differ = 0;
	bool same = true;

	begin(NULL);
	int fd = safe_file("f", 'a', 100000);

	put(fd, 0, 'b', 100000);
	struct sim *first = sim_crash(disk, 0, SIM_TORN);

	for (uint64_t i = 0; i < 50; i++) {
		struct sim *x = sim_crash(disk, i, SIM_TORN);
		struct sim *y = sim_crash(disk, i, SIM_TORN);

		same = same && same_file(x, y, "f");
		differ += !same_file(x, first, "f");
		sim_free(x);
		sim_free(y);
	}
	ok(same && differ > 40, "a seed draws the same again, others do not");
	sim_free(first);
}

/* What a workload may leave, asked at each call it makes. */
struct witness {
	unsigned old, new, neither, calls;
	bool keeps_old; /* the new one was not acknowledged */
};

static void look(void *ctx, struct sim *sim, enum sim_call call,
	uint64_t number)
{
	struct witness *w = ctx;

	(void)call;
	w->calls++;
	for (uint64_t i = 0; i < 20; i++) {
		struct sim *cut =
			sim_crash(sim, number * 20 + i, i % SIM_MODES);

		if (is_all(cut, "m", 0, 'n', 6000))
			w->new ++;
		else if (is_all(cut, "m", 0, 'o', 6000))
			w->old++;
		else
			w->neither++;
		sim_free(cut);
	}
}

/* Writes a file anew as one should, or forgets a sync. */
static struct witness save(bool syncs_file, bool syncs_dir)
{
	struct witness w = {0};

	begin(NULL);
	io->close(io, safe_file("m", 'o', 6000));
	sim_watch(disk, SIM_CHANGES, look, &w);
	int fd = create("tmp");

	put(fd, 0, 'n', 6000);
	if (syncs_file)
		must(io->sync(io, fd) == 0);
	io->close(io, fd);
	must(io->rename(io, root, "tmp", "m") == 0);
	if (syncs_dir)
		must(io->sync(io, root) == 0);
	w.keeps_old = w.old > 0;
	w.old = 0;
	look(&w, disk, SIM_STAT, 99);
	return w;
}

static void test_watch(void)
{
	struct witness good = save(true, true);

	ok(good.calls == 6 && good.keeps_old && good.neither == 0 &&
			good.old == 0 && good.new > 20,
		"a watcher sees each moment: a save is the old, then the new");
	ok(save(false, true).neither > 0,
		"a save without a sync before its rename is found out");
	ok(save(true, false).old > 0,
		"and one without a sync of the directory");
}

int main(void)
{
	plan(32);
	test_modes();
	test_sectors(4096, SIM_SUBSET, false);
	test_sectors(512, SIM_SUBSET, true);
	test_sectors(4096, SIM_TORN, true);
	test_history();
	test_growth();
	test_cut();
	test_beyond();
	test_prefix();
	test_names(false);
	test_names(true);
	test_rename();
	test_one_name();
	test_unlink();
	test_dirs();
	test_links();
	test_seeds();
	test_watch();
	sim_free(disk);
	return done();
}
