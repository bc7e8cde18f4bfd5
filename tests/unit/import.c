/* SPDX-License-Identifier: Apache-2.0 */
/* import: rows go in, bad ones are named, memory stays where it was. */
#include "fs/import.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"
#include "tests/unit/bulk.h"

#define DIM 24
#define ROWS 3000 /* more than two commits */

static struct import *begin(struct store *s, struct collection *c,
	enum rowstream_kind kind, const char *prefix,
	struct import_board *board)
{
	struct import *im;

	must(import_new(s, c, kind, bulk_id(prefix), board, &im) == 0);
	return im;
}

static struct import_board *board_new(void)
{
	struct import_board *b;

	must(import_board_new(&b) == 0);
	return b;
}

/* Records prefixN to prefixN+rows-1 whose vectors are bulk_vec(N). */
static uint64_t count_rows(struct store *s, struct collection *c,
	const char *prefix, uint64_t rows, uint32_t dim)
{
	float *vec = malloc(dim * sizeof(*vec));
	uint64_t n = 0;
	char id[VG_ID_MAX + 32];

	must(vec);
	for (uint64_t i = 0; i < rows; i++) {
		snprintf(id, sizeof(id), "%s%llu", prefix,
			(unsigned long long)i);
		const struct version *v = bulk_find(s, c, bulk_id(id));

		bulk_vec(i, dim, vec);
		n += v && v->cell->dim == dim &&
		     memcmp(version_vec(v), vec, dim * sizeof(*vec)) == 0;
	}
	free(vec);
	return n;
}

static bool is_status(struct import_board *b, const char *key,
	const char *value)
{
	const char *is = bulk_status(b, key);

	if (strcmp(is, value) != 0)
		diag("%s is '%s'", key, is);
	return strcmp(is, value) == 0;
}

static bool is_errors(struct import_board *b, const char *text)
{
	const char *is = bulk_errors(b);

	if (strcmp(is, text) != 0)
		diag("errors are:\n%s", is);
	return strcmp(is, text) == 0;
}

static void test_kinds(struct store *s)
{
	static const char *const names[] = {"npy", "fvecs", "ndjson"};
	static const char *const prefixes[] = {"", "row_", "r"};
	static const char *const sources[] = {"npy", "fvecs", "json"};

	for (int kind = ROWSTREAM_NPY; kind <= ROWSTREAM_NDJSON; kind++) {
		struct collection *c = bulk_make(s, names[kind], NULL, "flat");
		struct import_board *b = board_new();
		struct import *im = begin(s, c, (enum rowstream_kind)kind,
			prefixes[kind], b);
		struct bulk in = {0};
		char bytes[32];

		ok(is_status(b, "state", "running"), "%s: it runs",
			names[kind]);
		bulk_stream(&in, (enum rowstream_kind)kind, 0, ROWS, DIM);
		ok(bulk_feed(im, &in, 3000) == 0 && import_flush(im) == 0 &&
				import_error(im)[0] == '\0',
			"%s: all is taken", names[kind]);
		ok(count_rows(s, c, prefixes[kind], ROWS, DIM) == ROWS &&
				atomic_load(&c->n_live) == ROWS,
			"%s: every row is in, named by prefix and number or "
			"by its id",
			names[kind]);
		ok(is_status(b, "state", "done") &&
				is_status(b, "rows", "3000") &&
				is_status(b, "kind", names[kind]),
			"%s: the board says so", names[kind]);
		snprintf(bytes, sizeof(bytes), "%zu", in.len);
		ok(is_status(b, "bytes", bytes) &&
				is_status(b, "errors", "0") && is_errors(b, ""),
			"%s: with the bytes and no error", names[kind]);
		struct op_config config = collection_config(c);
		ok(config.dim == DIM && config.dim_body_len == DIM * 4 &&
				config.dim_source ==
					(kind == ROWSTREAM_NDJSON ?
							OP_SOURCE_JSON :
							OP_SOURCE_NPY + kind),
			"%s: the dimension is known from %s", names[kind],
			sources[kind]);
		import_free(im);
		import_board_unref(b);
		collection_unref(c);
		free(in.bytes);
	}
}

/* ---- bad rows ---- */

static void test_bad_lines(struct store *s)
{
	struct collection *c = bulk_make(s, "bad", NULL, NULL);
	struct import_board *b = board_new();
	struct bulk in = {0};
	struct import *im;

	for (int i = 1; i <= 200; i++) {
		if (i == 100)
			bulk_print(&in, "{\"id\":\"r100\",\"vector\":[1,2]}\n");
		else if (i == 150)
			bulk_print(&in, "no json at all\n");
		else if (i == 160)
			bulk_print(&in, "{\"id\":\"z\",\"vector\":[0,0,0]}\n");
		else if (i == 161)
			bulk_print(&in,
				"{\"id\":\"%0256d\",\"vector\":[1,2,3]}\n", 7);
		else if (i == 170)
			bulk_print(&in,
				"{\"id\":\"none\",\"metadata\":{\"a\":1}}\n");
		else if (i == 180)
			bulk_print(&in, "\n");
		else
			bulk_print(&in,
				"{\"id\":\"r%d\",\"vector\":[%d,1,2]}\n", i, i);
	}
	im = begin(s, c, ROWSTREAM_NDJSON, "", b);
	ok(bulk_feed(im, &in, 100) == 0, "bad lines do not stop an import");
	ok(import_flush(im) == -EINVAL, "flush says that there were some");
	ok(!strcmp(import_error(im),
		   "5 bad rows; the first is line 100: this "
		   "collection has 3 dimensions, the body has 2 numbers"),
		"in a sentence: %s", import_error(im));
	ok(atomic_load(&c->n_live) == 194 && bulk_find(s, c, bulk_id("r99")) &&
			bulk_find(s, c, bulk_id("r200")),
		"everything else is in");
	ok(is_status(b, "state", "failed") && is_status(b, "rows", "194") &&
			is_status(b, "errors", "5"),
		"the board counts both");
	ok(is_errors(b,
		   "line 100: this collection has 3 dimensions, the body has 2 "
		   "numbers\n"
		   "line 150: JSON: this is no JSON value at byte 1\n"
		   "line 160: a zero vector has no direction: cosine cannot "
		   "compare it\n"
		   "line 161: the id is longer than 255 bytes (it has 256)\n"
		   "line 170: there is no such id\n"),
		"each with its line, in order");
	ok(import_flush(im) == -EINVAL && is_status(b, "errors", "5"),
		"a second flush says it again and counts nothing twice");
	import_free(im);
	free(in.bytes);

	in = (struct bulk){0};
	bulk_print(&in, "[1,2,3]\n");
	ok(bulk_import(s, c, ROWSTREAM_NDJSON, &in, b) == 0 &&
			is_errors(b, "") && is_status(b, "state", "done") &&
			is_status(b, "rows", "1"),
		"the next import begins with a clean board");
	free(in.bytes);
	import_board_unref(b);
	collection_unref(c);
}

static void test_bad_rows(struct store *s)
{
	enum rowstream_kind kinds[] = {ROWSTREAM_NPY, ROWSTREAM_FVECS};
	float nan = __builtin_nanf("");
	char name[32];

	for (int k = 0; k < 2; k++) {
		struct import_board *b = board_new();
		size_t row_len = DIM * 4 + 4 * (size_t)k;
		struct bulk in = {0};

		snprintf(name, sizeof(name), "badrow%d", k);
		struct collection *c = bulk_make(s, name, "l2", NULL);
		bulk_stream(&in, kinds[k], 0, 500, DIM);
		memcpy(in.bytes + in.len - 250 * row_len + row_len - 8, &nan,
			sizeof(nan));
		ok(bulk_import(s, c, kinds[k], &in, b) == -EINVAL &&
				is_errors(b, "row 250: the number at index 22 "
					     "is not finite as float32\n"),
			"%s: a row with a NaN is named", k ? "fvecs" : "npy");
		ok(count_rows(s, c, "", 500, DIM) == 499,
			"all others are in, under their own numbers");
		free(in.bytes);
		import_board_unref(b);
		collection_unref(c);
	}
}

static void test_many_bad(struct store *s)
{
	struct collection *c = bulk_make(s, "manybad", NULL, "flat");
	struct import_board *b = board_new();
	struct bulk in = {0};
	const char *errors;
	int lines = 0, last = 0;
	bool in_order = true;

	/* Some are found by the parser, some, later, by the store. */
	for (int i = 1; i <= 5000; i++)
		bulk_print(&in, i % 3 == 0 ? "[1,2,3]\n" :
				i % 3 == 1 ? "[0,0,0]\n" :
					     "[1,2,x]\n");
	ok(bulk_import(s, c, ROWSTREAM_NDJSON, &in, b) == -EINVAL &&
			is_status(b, "rows", "1666") &&
			is_status(b, "errors", "3334"),
		"thousands of bad rows are counted");
	errors = bulk_errors(b);
	for (const char *at = errors; at && *at; at = strchr(at, '\n') + 1) {
		int line;

		if (sscanf(at, "line %d: ", &line) == 1) {
			in_order &= line > last;
			last = line;
		}
		lines++;
	}
	ok(lines == 1001 && strstr(errors, "and 2334 more bad rows\n"),
		"a thousand are named, the others numbered");
	ok(in_order && last == 1499, "it is the first thousand, in order");
	free(in.bytes);
	import_board_unref(b);
	collection_unref(c);
}

/* ---- metadata ---- */

static void test_metadata(struct store *s)
{
	struct collection *c = bulk_make(s, "meta", NULL, NULL);
	struct bulk in = {0};

	bulk_print(&in,
		"{\"id\":\"a\",\"vector\":[1,2],\"metadata\":{\"x\":1,\"y\":2}}"
		"\n"
		"{\"id\":\"b\",\"vector\":[1,2],\"metadata\":{\"x\":1}}\n"
		"{\"id\":\"c\",\"vector\":[1,2]}\n"
		"{\"vector\":[3,4],\"metadata\":{\"n\":null}}\n"
		"{\"id\":7,\"vector\":[5,6]}\n"
		"{\"id\":\"a\",\"metadata\":{\"y\":null,\"z\":3}}\n"
		"{\"id\":\"a\",\"vector\":[7,8]}\n"
		"{\"id\":\"b\",\"vector\":[9,9],\"metadata\":{\"x\":null}}");
	ok(bulk_import(s, c, ROWSTREAM_NDJSON, &in, NULL) == 0,
		"rows of one id may follow each other");
	ok(bulk_has_meta(s, c, "a", "{\"x\":1,\"z\":3}"),
		"a key that is present replaces, null removes, absent keeps");
	ok(bulk_has_meta(s, c, "b", NULL), "the last key may go");
	ok(bulk_has_meta(s, c, "c", NULL) && bulk_has_meta(s, c, "3", NULL) &&
			bulk_has_meta(s, c, "7", NULL),
		"ids may be numbers, given or counted");
	ok(((const float *)version_vec(bulk_find(s, c, bulk_id("a"))))[0] == 7 &&
			((const float *)version_vec(
				bulk_find(s, c, bulk_id("b"))))[1] == 9,
		"the last line needs no newline");
	free(in.bytes);
	collection_unref(c);
}

/* Metadata of a megabyte a row: text, not vectors, fills the commits. */
static void test_large_rows(struct store *s)
{
	struct collection *c = bulk_make(s, "large", NULL, "flat");
	char *word = malloc(900001);
	struct bulk in = {0};
	uint64_t n = 0;
	char id[16];

	must(word);
	memset(word, 'x', 900000);
	word[900000] = '\0';
	for (int i = 0; i < 7; i++)
		bulk_print(&in,
			"{\"id\":\"%d\",\"vector\":[1],"
			"\"metadata\":{\"w\":\"%s\"}}\n",
			i, word);
	ok(bulk_import(s, c, ROWSTREAM_NDJSON, &in, NULL) == 0,
		"rows of a megabyte of metadata go in");
	for (int i = 0; i < 7; i++) {
		snprintf(id, sizeof(id), "%d", i);
		n += bulk_find(s, c, bulk_id(id))->meta_len == 900008;
	}
	ok(n == 7, "whole");
	free(in.bytes);
	free(word);
	collection_unref(c);

	c = bulk_make(s, "wide", NULL, "flat");
	in = (struct bulk){0};
	bulk_stream(&in, ROWSTREAM_FVECS, 0, 19, VG_DIM_MAX);
	ok(bulk_import(s, c, ROWSTREAM_FVECS, &in, NULL) == 0 &&
			count_rows(s, c, "", 19, VG_DIM_MAX) == 19,
		"so do rows of 65,535 numbers");
	free(in.bytes);
	collection_unref(c);
}

/* ---- the end, and no end ---- */

static void test_flushes(struct store *s)
{
	struct collection *c = bulk_make(s, "flushes", NULL, "flat");
	struct import_board *b = board_new();
	struct import *im = begin(s, c, ROWSTREAM_NPY, "", b);
	struct bulk in = {0};

	ok(import_flush(im) == 0 && is_status(b, "state", "done"),
		"a flush before the first byte is no error");
	bulk_stream(&in, ROWSTREAM_NPY, 0, 100, DIM);
	must(import_write(im, in.bytes, 1000) == 0);
	ok(is_status(b, "state", "running"), "a byte and it runs again");
	ok(import_flush(im) == -EINVAL &&
			!strcmp(import_error(im),
				"the stream ends inside row 10 of 100"),
		"a flush in the middle says so: %s", import_error(im));
	ok(count_rows(s, c, "", 9, DIM) == 9 && atomic_load(&c->n_live) == 9,
		"with all whole rows in");
	ok(is_status(b, "state", "failed") &&
			is_errors(b, "the stream ends inside row 10 of 100\n"),
		"and on the board");
	must(import_write(im, in.bytes + 1000, in.len - 1000) == 0);
	ok(import_flush(im) == 0 && count_rows(s, c, "", 100, DIM) == 100 &&
			is_status(b, "state", "done") && is_errors(b, "") &&
			is_status(b, "error", ""),
		"what is written afterwards completes it");
	import_free(im);

	im = begin(s, c, ROWSTREAM_NPY, "again_", b);
	must(import_write(im, in.bytes, in.len) == 0);
	import_free(im);
	ok(count_rows(s, c, "again_", 100, DIM) == 100 &&
			is_status(b, "state", "done"),
		"free without a flush brings everything in");
	free(in.bytes);
	import_board_unref(b);
	collection_unref(c);
}

static void test_unreadable(struct store *s)
{
	struct collection *c = bulk_make(s, "unreadable", NULL, "flat");
	struct import_board *b = board_new();
	struct import *im = begin(s, c, ROWSTREAM_NPY, "", b);
	struct bulk in = {0};

	ok(import_write(im, "no npy, this", 12) == -EINVAL &&
			strstr(import_error(im), "npy"),
		"a stream of another kind is refused: %s", import_error(im));
	ok(import_write(im, "more", 4) == -EINVAL &&
			import_flush(im) == -EINVAL,
		"for good");
	ok(is_status(b, "state", "failed") && is_status(b, "errors", "0") &&
			bulk_status(b, "error")[0] && bulk_errors(b)[0],
		"and told as what ended the import");
	import_free(im);

	bulk_stream(&in, ROWSTREAM_NPY, 0, 100, DIM);
	must(bulk_import(s, c, ROWSTREAM_NPY, &in, b) == 0);
	in.len = 0;
	bulk_stream(&in, ROWSTREAM_NPY, 0, 10, DIM + 1);
	ok(bulk_import(s, c, ROWSTREAM_NPY, &in, b) == -EINVAL &&
			atomic_load(&c->n_live) == 100,
		"rows of another dimension bring nothing in");
	bulk_run(s, &(struct change){.type = OP_CLEAR, .coll = c});
	ok(bulk_import(s, c, ROWSTREAM_NPY, &in, b) == 0 &&
			collection_config(c).dim == DIM + 1,
		"unless the collection was emptied");
	free(in.bytes);

	in = (struct bulk){0};
	bulk_stream(&in, ROWSTREAM_FVECS, 100, 2500, DIM + 1);
	bulk_add(&in, "\xff\xff\xff\xff", 4);
	im = begin(s, c, ROWSTREAM_FVECS, "f", b);
	ok(bulk_feed(im, &in, 0) == -EINVAL, "garbage ends fvecs");
	import_free(im);
	ok(atomic_load(&c->n_live) == 2510 && is_status(b, "rows", "2500"),
		"what stood before it is in");
	free(in.bytes);
	import_board_unref(b);
	collection_unref(c);
}

static void test_prefix(struct store *s)
{
	struct collection *c = bulk_make(s, "prefix", NULL, "flat");
	struct import_board *b = board_new();
	char prefix[VG_ID_MAX + 1];
	struct bulk in = {0};
	struct import *im;

	memset(prefix, 'p', VG_ID_MAX);
	prefix[VG_ID_MAX - 1] = '\0';
	bulk_stream(&in, ROWSTREAM_FVECS, 0, 12, DIM);
	im = begin(s, c, ROWSTREAM_FVECS, prefix, b);
	must(bulk_feed(im, &in, 0) == 0);
	ok(import_flush(im) == -EINVAL && is_status(b, "rows", "10") &&
			is_errors(b,
				"row 10: the prefix and the row's number are "
				"longer than 255 bytes\n"
				"row 11: the prefix and the row's number are "
				"longer than 255 bytes\n"),
		"a prefix that leaves no room for numbers refuses rows");
	ok(count_rows(s, c, prefix, 10, DIM) == 10, "ids of 255 bytes are ids");
	import_free(im);
	free(in.bytes);
	import_board_unref(b);
	collection_unref(c);
}

static void test_board(struct store *s)
{
	struct collection *c = bulk_make(s, "board", NULL, "flat");
	struct import_board *b = board_new();
	struct import *old, *new;

	ok(is_status(b, "state", "idle") && is_status(b, "rows", "0") &&
			is_errors(b, ""),
		"a board tells that there was no import yet");
	old = begin(s, c, ROWSTREAM_NDJSON, "old", b);
	must(import_write(old, "[1,2]\nx\n", 8) == 0);
	new = begin(s, c, ROWSTREAM_FVECS, "new", b);
	must(import_write(old, "[3,4]\nx\n", 8) == 0);
	ok(import_flush(old) == -EINVAL && is_status(b, "kind", "fvecs") &&
			is_status(b, "rows", "0") && is_errors(b, "") &&
			is_status(b, "state", "running"),
		"it shows the import that began last");
	ok(atomic_load(&c->n_live) == 2, "the older one works nevertheless");
	import_free(old);
	import_free(new);
	import_board_unref(b);
	collection_unref(c);
}

/* ---- the store fails ---- */

static void test_removed(struct store *s)
{
	struct collection *c = bulk_make(s, "removed", NULL, "flat");
	struct import_board *b = board_new();
	struct import *im = begin(s, c, ROWSTREAM_NDJSON, "", b);

	must(bulk_run(s, &(struct change){.type = OP_DROP, .coll = c}) == 0);
	must(import_write(im, "[1,2]\n[3,4]\n", 12) == 0);
	ok(import_flush(im) == -ENOENT,
		"a collection may be removed meanwhile");
	ok(!strcmp(import_error(im), "the import stopped at line 1: the "
				     "collection was removed"),
		"that is said: %s", import_error(im));
	ok(import_write(im, "[5,6]\n", 6) == -ENOENT && import_error(im)[0] &&
			import_flush(im) == -ENOENT,
		"and stays so");
	ok(is_status(b, "state", "failed") && is_status(b, "rows", "0") &&
			is_status(b, "errors", "2"),
		"the board has it, too");
	import_free(im);
	import_board_unref(b);
	collection_unref(c);
}

/* In a process of its own: the log fails. What the import says each time. */
static int import_until_it_fails(const char *name)
{
	struct store *s = bulk_open(name, STORE_CLOSE);
	struct collection *c = bulk_make(s, "c", NULL, "flat");
	struct import_board *b = board_new();
	struct import *im = begin(s, c, ROWSTREAM_FVECS, "", b);
	struct rlimit limit = {4 << 20, 4 << 20};
	struct bulk in = {0};
	int rc, again, end, del;

	if (!strcmp(name, "limited")) {
		signal(SIGXFSZ, SIG_IGN);
		must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	}
	bulk_stream(&in, ROWSTREAM_FVECS, 0, 24000, 256);
	rc = bulk_feed(im, &in, 100000);
	if (rc == 0)
		rc = import_flush(im);
	again = import_write(im, in.bytes, 100);
	end = import_flush(im);
	if (!strstr(import_error(im), "the import stopped at row "))
		end = 1;
	del = bulk_del(s, c, bulk_id("0"));
	import_free(im);
	free(in.bytes);
	import_board_unref(b);
	collection_unref(c);
	store_close(s);
	if (rc != again || rc != end)
		return 1;
	if (rc == -ENOSPC)
		return del == 0 ? 43 : 2;
	return rc == -EIO || rc == -EROFS ? 42 : 3;
}

static int exit_code(pid_t pid)
{
	int status;

	must(pid >= 0 && waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -status;
}

/* A disk of its own that is soon full; 77: nobody may have one. */
static int import_into_full_disk(void)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "%s/full", scratch());
	if (mkdir(dir, 0700) < 0 ||
		(unshare(CLONE_NEWNS) < 0 &&
			unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", dir, "tmpfs", 0, "size=20m") < 0)
		return 77;
	return import_until_it_fails("full");
}

static void test_full_disk(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(import_into_full_disk());
	int code = exit_code(pid);
	if (code == 77)
		skip(1, "tmpfs cannot be mounted here");
	else
		ok(code == 43,
			"a full disk stops the import, deleting goes "
			"on (%d)",
			code);
}

static void test_failing_log(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(import_until_it_fails("limited"));
	int code = exit_code(pid);
	ok(code == 42, "a log that fails stops the import (%d)", code);
	struct store *s = bulk_open("limited", STORE_CLOSE);
	struct entry_info info;

	must(catalogue_get(store_catalogue(s), bulk_id("c"), &info) == 0);
	uint64_t n = count_rows(s, info.coll, "", 24000, 256);
	ok(n > 0 && n < 24000 && n == atomic_load(&info.coll->n_live),
		"what was in before is there: %llu rows",
		(unsigned long long)n);
	collection_unref(info.coll);
	store_close(s);
}

/* ---- many at once, and much ---- */

struct feeder {
	struct store *s;
	struct collection *c;
	struct import_board *board;
	int no, rc;
};

static void *feeder_main(void *arg)
{
	struct feeder *f = arg;
	char prefix[16];
	struct bulk in = {0};
	struct import *im;

	snprintf(prefix, sizeof(prefix), "f%d_", f->no);
	bulk_stream(&in, ROWSTREAM_FVECS, 0, 1500, DIM);
	must(import_new(f->s, f->c, ROWSTREAM_FVECS, bulk_id(prefix), f->board,
		     &im) == 0);
	for (size_t at = 0; at < in.len && f->rc == 0; at += 4096) {
		struct meta_buf buf = {0};

		f->rc = import_write(im, in.bytes + at,
			VG_MIN(in.len - at, (size_t)4096));
		must(import_board_status(f->board, &buf) == 0);
		free(buf.bytes);
	}
	if (f->rc == 0)
		f->rc = import_flush(im);
	import_free(im);
	free(in.bytes);
	return NULL;
}

static void test_together(struct store *s)
{
	struct collection *c = bulk_make(s, "together", NULL, "hnsw");
	struct import_board *b = board_new();
	struct feeder f[3];
	pthread_t threads[3];
	uint64_t n = 0;
	char prefix[16];
	bool held = true;

	for (int i = 0; i < 3; i++) {
		f[i] = (struct feeder){s, c, b, i, 0};
		must(pthread_create(&threads[i], NULL, feeder_main, &f[i]) ==
			0);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		held &= f[i].rc == 0;
		snprintf(prefix, sizeof(prefix), "f%d_", i);
		n += count_rows(s, c, prefix, 1500, DIM);
	}
	ok(held && n == 4500,
		"three imports into one graph, at the indexers' pace");
	import_board_unref(b);
	collection_unref(c);
}

struct watch {
	_Atomic bool is_over;
	size_t peak;
};

static void *watch_main(void *arg)
{
	struct watch *w = arg;

	while (!w->is_over) {
		w->peak = VG_MAX(w->peak, bulk_rss());
		usleep(2000);
	}
	return NULL;
}

/* The bytes come as the kernel brings them, 128 KiB a write. */
static void test_memory(struct store *s)
{
	enum { WIDE = 768, BLOCK = 128 };
	uint64_t mb =
		(uint64_t)(BULK_SANITIZED ? 16 : env_long("VG_IMPORT_MB", 200));
	uint64_t rows = mb * 1000000 / (WIDE * 4) / BLOCK * BLOCK;
	struct collection *c = bulk_make(s, "much", NULL, "flat");
	struct import_board *b = board_new();
	struct import *im = begin(s, c, ROWSTREAM_FVECS, "", b);
	struct watch w = {0};
	struct bulk in = {0};
	pthread_t watcher;
	int rc = 0;

	bulk_stream(&in, ROWSTREAM_FVECS, 0, BLOCK, WIDE);
	must(pthread_create(&watcher, NULL, watch_main, &w) == 0);
	for (uint64_t i = 0; i < rows / BLOCK && rc == 0; i++)
		for (size_t at = 0; at < in.len && rc == 0; at += 131072)
			rc = import_write(im, in.bytes + at,
				VG_MIN(in.len - at, (size_t)131072));
	if (rc == 0)
		rc = import_flush(im);
	w.is_over = true;
	pthread_join(watcher, NULL);
	ok(rc == 0 && atomic_load(&c->n_live) == rows, "%llu MB go in: %s",
		(unsigned long long)mb, bulk_status(b, "rate"));
	size_t after = bulk_rss(), over = w.peak > after ? w.peak - after : 0;
	if (BULK_SANITIZED)
		skip(1, "a sanitizer has memory of its own");
	else
		/* 64 MiB came in since a checkpoint took what was before. */
		ok(over < 120 << 20, "with %zu KiB more than afterwards",
			over / 1024);
	import_free(im);
	free(in.bytes);
	import_board_unref(b);
	collection_unref(c);
}

int main(void)
{
	struct store *s;
	const char *why = "";

	plan(71);
	scratch(); /* the children's, too; they are made before any thread */
	test_full_disk();
	test_failing_log();
	s = bulk_open("data", STORE_CLOSE);
	test_kinds(s);
	test_bad_lines(s);
	test_bad_rows(s);
	test_many_bad(s);
	test_metadata(s);
	test_large_rows(s);
	test_flushes(s);
	test_unreadable(s);
	test_prefix(s);
	test_board(s);
	test_removed(s);
	test_together(s);
	test_memory(s);
	if (!ok(store_check(s, &why) == 0, "the store is sound"))
		diag("%s", why);
	store_close(s);
	return done();
}
