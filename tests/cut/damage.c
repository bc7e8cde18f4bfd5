/* SPDX-License-Identifier: Apache-2.0 */
/* damage: a bit flipped anywhere, files lost, cut, swapped: found or harmless. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/check.h"
#include "src/log.h"
#include "src/store_int.h"
#include "src/wire.h"
#include "tests/simdisk.h"
#include "tests/storekit.h"
#include "tests/tap.h"

/*
 * A store on a simulated disk, left as by kill -9: two collections with their
 * models, parts that a backup shares by hard links and parts behind them, a
 * graph with what was added to it, indexes of fields, three manifests, and a log behind the last.
 * Each has a snapshot; the first one two, the older of which shows a generation
 * that was compacted since; an open file held one of the other's when the last
 * manifest was made.
 * The last change of all is in a collection that nobody looks at: damage to
 * the very last sync cannot be told from a crash before it.
 */
static struct sim *base;
static struct sk_model model[2];
static const char *const names[2] = {"c", "d"};

static struct {
	unsigned of;
	const char *name;
	struct sk_model model;
} snaps[] = {{.of = 0, .name = "old"},
	{.of = 1, .name = "old"},
	{.of = 0, .name = "new"}};

struct file {
	char path[120];
	size_t len;
};
static struct file files[200];
static unsigned n_files;

static struct store_config config_of(struct sim *sim)
{
	return (struct store_config){.io = sim_get_io(sim),
		.has_dirfd = true,
		.dirfd = sim_root(sim),
		.no_uring = true,
		.indexers = 1,
		.checkpoint_bytes = UINT64_MAX};
}

/* ---- what there is ---- */

static int note_file(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st)
{
	(void)ctx;
	if (is_dir || strncmp(path, "backup", 6) == 0)
		return 0;
	must(n_files < VG_ARRAY_LEN(files) && strlen(path) < 120);
	snprintf(files[n_files].path, sizeof(files[0].path), "%s", path);
	files[n_files++].len = (size_t)st->size;
	return 0;
}

/* Each file of a collection gets another name. */
static int link_file(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st)
{
	char to[200];

	(void)st;
	if (is_dir || strncmp(path, "c/", 2) != 0)
		return 0;
	snprintf(to, sizeof(to), "backup%s", path + 1);
	*strrchr(to, '/') = '-'; /* two collections have files of one name */
	*strrchr(to, '/') = '-';
	must(sim_link(ctx, path, to) == 0);
	return 0;
}

static void steps(struct store *s, unsigned n)
{
	for (unsigned i = 0; i < 2; i++) {
		struct collection *c = sk_get(s, names[i]);

		sk_steps(&model[i], s, c, n);
		collection_unref(c);
	}
	sk_wait_linked(s);
}

static void take_snap(struct store *s, unsigned i)
{
	struct collection *c = sk_get(s, names[snaps[i].of]);

	must(sk_snap(s, c, snaps[i].name) == 0);
	snaps[i].model = model[snaps[i].of];
	collection_unref(c);
}

static void index_fields(struct store *s)
{
	for (unsigned i = 0; i < 2; i++) {
		struct collection *c = sk_get(s, names[i]);

		sk_index(s, c);
		collection_unref(c);
	}
}

static void compact(struct store *s, const char *name)
{
	struct collection *c = sk_get(s, name);

	must(store_compact(s, c) == 0);
	collection_unref(c);
}

/* is_cut: what only copies need is gone: older manifests, the log's begin. */
static void make_base(bool is_cut)
{
	struct sim_config sc = {.seed = seed()};
	struct sim *sim = sim_new(&sc);
	struct store_config cfg = config_of(sim);
	struct collection *last, *other;
	struct generation *held;
	struct hold hold = {0};
	struct store *s;

	cfg.checkpoint_bytes = 1 << 30;
	cfg.segment_size = 60000;
	cfg.no_compaction = true;
	cfg.has_grace = is_cut;
	s = sk_open("", &cfg);
	for (unsigned i = 0; i < 2; i++) {
		model[i] = (struct sk_model){.random = seed() * 4 + i + 1};
		collection_unref(sk_make(s, names[i]));
	}
	steps(s, 1200);
	take_snap(s, 0);
	take_snap(s, 1);
	must(store_checkpoint(s, true) == 0);
	sim_each(sim, link_file, sim);
	steps(s, 400);
	index_fields(s);
	must(store_checkpoint(s, true) == 0);
	compact(s, names[0]);
	steps(s, 30);
	take_snap(s, 2);
	compact(s, names[1]);
	steps(s, 60); /* so many versions that their indexes are worth a file */
	other = sk_get(s, names[1]);
	held = collection_gen(other);
	hold_init(&hold, held, VERSION_NONE);
	compact(s, names[1]);
	index_fields(s);
	must(store_checkpoint(s, true) == 0);
	hold_fini(&hold);
	generation_unref(held);
	collection_unref(other);
	steps(s, 200);
	last = sk_make(s, "last");
	must(sk_put(s, last, (struct sk_put){"x", 1, 3, 0}) == 0);
	collection_unref(last);
	base = sim_clone(sim);
	store_close(s);
	sim_free(sim);
	sim_sync_all(base);
	n_files = 0;
	sim_each(base, note_file, NULL);
}

/* ---- what an open gives ---- */

struct verdict {
	int rc, recovery_rc;
	uint64_t findings;
	uint32_t n_damaged; /* groups of vectors: answers say so */
	bool is_silent;   /* refused without a sentence */
	bool is_complete; /* opened, and nothing is missing */
	bool is_wrong;	  /* opened, and something is not what was written */
	char error[512];
};

static void compare_record(struct verdict *v, struct store *s,
	struct collection *c, const struct sk_model *m, unsigned i)
{
	const struct sk_record *r = &m->of[i];
	const struct version *version;
	char id[8], json[32] = "";
	float vec[SK_DIM_MAX];
	uint32_t no;

	snprintf(id, sizeof(id), "%u", i);
	no = sk_find(s, c, id);
	if (no == VERSION_NONE)
		v->is_complete = v->is_complete && !r->exists;
	else if (!r->exists)
		v->is_wrong = true;
	if (no == VERSION_NONE || !r->exists)
		return;
	version = generation_version(c->gen, no);
	if (r->y)
		snprintf(json, sizeof(json), "{\"y\":%u}", r->y);
	v->is_wrong = v->is_wrong || strcmp(sk_meta_of(s, c, id), json) != 0;
	if (cell_check_row(version->cell, version->slot) < 0) {
		v->is_complete = false;
		return;
	}
	sk_vec(r->n, SK_DIM, vec);
	v->is_wrong = v->is_wrong || memcmp(version_vec(version), vec,
					     SK_DIM * sizeof(float)) != 0;
	/* A walk may miss what lies behind a vector that is damaged; who asks
	 * is told that there is one. */
	v->is_wrong = v->is_wrong ||
		      strcmp(sk_nearest(s, c, r->n, SK_DIM,
				     i % 2 || generation_damaged(c->gen) > 0),
			      id) != 0;
}

/* A collection, or a snapshot; NULL: it is not there. */
static void compare_all(struct verdict *v, struct store *s,
	struct collection *c, const struct sk_model *m)
{
	for (unsigned k = 0; c && k < SK_IDS; k++)
		compare_record(v, s, c, m, k);
	v->is_complete = v->is_complete && c;
	v->is_wrong = v->is_wrong || (c && !sk_is_filtered(s, c));
	v->n_damaged += c ? generation_damaged(c->gen) : 0;
}

static void compare(struct verdict *v, struct store *s)
{
	const char *why;

	v->n_damaged = 0;
	for (unsigned i = 0; i < 2; i++) {
		struct collection *c = sk_get(s, names[i]);

		compare_all(v, s, c, &model[i]);
		collection_unref(c);
	}
	for (unsigned i = 0; i < VG_ARRAY_LEN(snaps); i++) {
		struct collection *c = sk_get(s, names[snaps[i].of]);
		struct collection *snap =
			c ? collection_find_snap(c, sk_id(snaps[i].name))
			  : NULL;

		compare_all(v, s, snap, &snaps[i].model);
		collection_unref(snap);
		collection_unref(c);
	}
	/* A graph does not fit to vectors that are not what was written. */
	if (store_check(s, &why) < 0 && v->n_damaged == 0)
		v->is_wrong = true;
}

/* A recovery: what it has is right, unless the log ends early: then it is the
 * state of an earlier time. */
static void recover(struct sim *sim, struct verdict *v)
{
	struct store_config cfg = config_of(sim);
	struct verdict own = {.is_complete = true};
	struct store_error e;
	struct store_report rep;
	bool is_early = false;
	struct store *s;

	cfg.is_recovery = true;
	v->recovery_rc = store_open(&cfg, &rep, &s);
	if (v->recovery_rc < 0)
		return;
	for (uint32_t n = 0; store_error_get(s, n, &e) == 0; n++)
		is_early = is_early || strcmp(e.path, "wal") == 0;
	compare(&own, s);
	v->is_wrong = v->is_wrong || (own.is_wrong && !is_early) ||
		      (rep.n_losses == 0 && own.n_damaged == 0 &&
			      !own.is_complete);
	store_close(s);
}

static void say_nothing(void *ctx, bool is_finding, const char *text)
{
	must(text[0] && !strchr(text, '\n'));
	if (ctx && is_finding)
		snprintf(ctx, 512, "%s", text);
}

/* Checks, recovers and opens it; the disk is used up. */
static struct verdict judge(struct sim *sim)
{
	struct verdict v = {.is_complete = true};
	struct check_config cc = {.io = sim_get_io(sim),
		.has_dirfd = true,
		.dirfd = sim_root(sim),
		.say = say_nothing,
		.ctx = v.error};
	struct store_config cfg = config_of(sim);
	struct check_result res;
	struct store_report rep;
	struct sim_stat before, after;
	struct store *s;

	sim_stat(sim, &before);
	v.findings = check_each(&cc, &res) < 0 ? 1 : res.findings;
	recover(sim, &v);
	sim_stat(sim, &after);
	v.is_wrong = v.is_wrong ||
		     after.bytes_written != before.bytes_written ||
		     after.count[SIM_UNLINK] != before.count[SIM_UNLINK] ||
		     after.count[SIM_TRUNCATE] != before.count[SIM_TRUNCATE];
	v.rc = store_open(&cfg, &rep, &s);
	if (v.rc == 0) {
		compare(&v, s);
		store_close(s);
	} else {
		v.is_complete = false;
		v.is_silent = strlen(rep.error) < 20;
		snprintf(v.error, sizeof(v.error), "%s", rep.error);
	}
	sim_free(sim);
	return v;
}

/* ---- one bit in every block of every file ---- */

static bool is_good(const struct verdict *v, const char *what, const char *path)
{
	bool is = !v->is_wrong && !v->is_silent &&
		  (v->findings > 0 || v->is_complete);

	if (!is)
		diag("%s %s: rc=%d findings=%lu complete=%d wrong=%d: %s",
			what, path, v->rc, (unsigned long)v->findings,
			v->is_complete, v->is_wrong, v->error);
	return is;
}

static struct sim *flipped(const struct file *f, size_t byte, unsigned bit)
{
	struct sim *sim = sim_clone(base);
	size_t len;
	uint8_t *bytes = sim_load(sim, f->path, &len);

	must(bytes && byte < len);
	bytes[byte] ^= (uint8_t)(1u << bit);
	must(sim_save(sim, f->path, bytes, len) == 0);
	free(bytes);
	return sim;
}

static void test_flips(bool is_cut)
{
	struct sk_model dice = {.random = seed() * 2 + 1};
	unsigned n = 0, bad = 0, found = 0, harmless = 0, refused = 0;

	for (unsigned i = 0; i < n_files; i++)
		for (size_t at = 0; at < files[i].len; at += 4096) {
			size_t len = VG_MIN(files[i].len - at, (size_t)4096);
			size_t byte = at + sk_draw(&dice, (unsigned)len);
			struct verdict v = judge(flipped(
				&files[i], byte, sk_draw(&dice, 8)));
			char what[40];

			snprintf(what, sizeof(what), "byte %zu of", byte);
			bad += !is_good(&v, what, files[i].path);
			found += v.findings > 0;
			harmless += v.is_complete;
			refused += v.rc < 0;
			n++;
		}
	diag("%u flips in %u files: %u found, %u harmless, %u refused", n,
		n_files, found, harmless, refused);
	ok(bad == 0, "one bit flipped in any block of any file is found or "
		     "harmless");
	ok(found > n / 2, "most are found");
	ok(is_cut ? refused > n / 4 : harmless > n / 2,
		is_cut ? "and nothing is made good by a guess" :
			 "and most are made good by a graph linked anew, "
			 "indexes made again, an older manifest or the log");
}

/* ---- files as a whole ---- */

static void test_lost(void)
{
	unsigned bad = 0, found = 0;

	for (unsigned i = 0; i < n_files; i++) {
		struct sim *sim = sim_clone(base);
		char dir[120], *name;
		struct verdict v;
		struct io *io = sim_get_io(sim);
		int fd;

		snprintf(dir, sizeof(dir), "%s", files[i].path);
		name = strrchr(dir, '/');
		fd = sim_root(sim);
		if (name) {
			*name = '\0';
			fd = io->open(io, fd, dir, O_RDONLY | O_DIRECTORY);
			must(fd >= 0);
		}
		must(io->unlink(io, fd, name ? name + 1 : dir) == 0);
		sim_sync_all(sim);
		v = judge(sim);
		bad += !is_good(&v, "without", files[i].path);
		found += v.findings > 0;
	}
	ok(bad == 0, "any file that is missing is found, or not needed");
	diag("%u files: %u found", n_files, found);
}

static const char *last_segment(void)
{
	const char *last = "";

	for (unsigned i = 0; i < n_files; i++)
		if (strncmp(files[i].path, "wal/", 4) == 0 &&
			strcmp(files[i].path, last) > 0)
			last = files[i].path;
	return last;
}

static void test_cut(void)
{
	struct sk_model dice = {.random = seed() * 2 + 1};
	unsigned bad = 0;

	for (unsigned i = 0; i < n_files; i++) {
		struct sim *sim = sim_clone(base);
		size_t len, cut;
		uint8_t *bytes = sim_load(sim, files[i].path, &len);
		struct verdict v;

		if (len == 0) {
			free(bytes);
			sim_free(sim);
			continue;
		}
		cut = sk_draw(&dice, (unsigned)len);
		must(sim_save(sim, files[i].path, bytes, cut) == 0);
		free(bytes);
		v = judge(sim);
		/* The last segment may be cut by a crash. */
		if (strcmp(files[i].path, last_segment()) != 0)
			bad += !is_good(&v, "cut", files[i].path);
	}
	ok(bad == 0, "any file that is cut is found, or not needed");
}

/* Exchanges the bytes of two files. */
static struct sim *swapped(const char *a, const char *b)
{
	struct sim *sim = sim_clone(base);
	size_t a_len, b_len;
	void *a_bytes = sim_load(sim, a, &a_len);
	void *b_bytes = sim_load(sim, b, &b_len);

	must(a_bytes && b_bytes);
	must(sim_save(sim, a, b_bytes, b_len) == 0);
	must(sim_save(sim, b, a_bytes, a_len) == 0);
	free(a_bytes);
	free(b_bytes);
	return sim;
}

static void test_swapped(void)
{
	unsigned bad = 0, found = 0, n = 0;

	for (unsigned i = 0; i < n_files; i++)
		for (unsigned k = 0; k < i; k++) {
			const char *a = strrchr(files[i].path, '/');
			const char *b = strrchr(files[k].path, '/');
			struct verdict v;

			/* Another collection's, or another of its own kind. */
			if (!a || !b || strncmp(a, b, 4) != 0)
				continue;
			v = judge(swapped(files[i].path, files[k].path));
			bad += !is_good(&v, "swapped", files[i].path);
			found += v.findings > 0;
			n++;
		}
	diag("%u swaps: %u found", n, found);
	ok(bad == 0 && n > 10,
		"any two files of a kind that are swapped are found, or not "
		"needed");
}

/* ---- what a later version wrote ---- */

static void put_u64(uint8_t *at, uint64_t v)
{
	struct wire_out w = wire_out_init(at, 8);

	wire_put_u64(&w, v);
}

/* Makes the version of the header at the file's begin 9, with its sum. */
static void age_header(uint8_t *bytes, size_t len, size_t header)
{
	must(len >= header);
	bytes[8] = 9;
	put_u64(bytes + header - 8, wire_hash(bytes, header - 8));
}

static void age_manifest(uint8_t *bytes, size_t len)
{
	uint8_t *summed = malloc(len);

	must(summed && len > 32);
	bytes[8] = 9;
	memcpy(summed, bytes, 24);
	memcpy(summed + 24, bytes + 32, len - 32);
	put_u64(bytes + 24, wire_hash(summed, len - 8));
	free(summed);
}

static void test_later(void)
{
	unsigned bad = 0, n = 0;

	for (unsigned i = 0; i < n_files; i++) {
		const char *path = files[i].path;
		struct sim *sim;
		struct verdict v;
		size_t len;
		uint8_t *bytes;

		if (strstr(path, "graph") || strstr(path, "fields") ||
			strcmp(path, "LOCK") == 0)
			continue;
		sim = sim_clone(base);
		bytes = sim_load(sim, path, &len);
		if (strcmp(path, "FORMAT") == 0)
			bytes[10] = '9';
		else if (strcmp(path, "IDENTITY") == 0)
			bytes[19] = '9';
		else if (strncmp(path, "MANIFEST", 8) == 0)
			age_manifest(bytes, len);
		else if (strncmp(path, "wal/", 4) == 0 ||
			 strstr(path, ".sum"))
			age_header(bytes, len, 64);
		else
			age_header(bytes, len, 4096);
		must(sim_save(sim, path, bytes, len) == 0);
		free(bytes);
		v = judge(sim);
		bad += !is_good(&v, "a later", path);
		if (v.rc < 0 && !strstr(v.error, "version"))
			diag("%s: %s", path, v.error);
		bad += v.rc < 0 && !strstr(v.error, "version");
		n++;
	}
	ok(bad == 0 && n > 9, "a file of a later version is known as such");
}

static void test_whole(bool is_cut)
{
	struct verdict v = judge(sim_clone(base));
	unsigned n[6] = {0};

	for (unsigned i = 0; i < n_files; i++) {
		n[0] += strstr(files[i].path, "/vec.0002") != NULL;
		n[1] += strstr(files[i].path, "/graph.") != NULL;
		n[2] += strncmp(files[i].path, "MANIFEST.", 9) == 0;
		n[3] += strncmp(files[i].path, "wal/", 4) == 0;
		n[4] += strstr(files[i].path, "/vec.0003") != NULL;
		n[5] += strstr(files[i].path, "/fields.") != NULL;
	}
	ok(n[0] == 4 && n[1] > 2 && n[4] == 4 && n[5] > 2 && n[2] == (is_cut ? 1 : 3) &&
			(n[3] > 3) == !is_cut,
		"there are parts, graphs, indexes, manifests and segments") ||
		(diag("%u %u %u %u %u %u", n[0], n[1], n[2], n[3], n[4],
				 n[5]),
				0);
	ok(v.rc == 0 && v.recovery_rc == 0 && v.is_complete && !v.is_wrong,
		"undamaged, all of it is there: %s", v.error);
	ok(v.findings == 0, "and nothing is found: %s", v.error);
}

int main(void)
{
	plan(20);
	log_level_set((enum log_level)-1);
	for (unsigned is_cut = 0; is_cut < 2; is_cut++) {
		make_base(is_cut);
		test_whole(is_cut);
		test_flips(is_cut);
		test_lost();
		test_cut();
		test_swapped();
		test_later();
		sim_free(base);
	}
	return done();
}
