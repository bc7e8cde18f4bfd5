/* SPDX-License-Identifier: Apache-2.0 */
/* rowfile: a collection as one file, of one moment, the same from any offset. */
#include "fs/rowfile.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"
#include "tests/unit/bulk.h"

static struct rowfile *open_spec(struct store *s, struct collection *c,
	const struct rowfile_spec *spec)
{
	struct rowfile *rf;

	must(rowfile_open(s, c, spec, NULL, &rf) == 0);
	return rf;
}

static struct rowfile *open_kind(struct store *s, struct collection *c,
	enum rowfile_kind kind)
{
	return open_spec(s, c, &(struct rowfile_spec){.kind = kind});
}

/* The file as a whole, NUL-terminated, in one read. */
static struct bulk whole(const struct rowfile *rf)
{
	struct bulk b = {0};
	size_t n;

	b.len = rowfile_size(rf);
	b.bytes = malloc(b.len + 1);
	must(b.bytes);
	must(rowfile_read(rf, 0, b.bytes, b.len + 1, &n) == 0);
	if (n != b.len)
		diag("size %zu, but %zu were read", b.len, n);
	must(n == b.len);
	b.bytes[n] = '\0';
	return b;
}

static bool is_same(const struct bulk *a, const struct bulk *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* What opening and reading gives now, as text to be freed. */
static struct bulk load(struct store *s, struct collection *c,
	const struct rowfile_spec *spec)
{
	struct rowfile *rf = open_spec(s, c, spec);
	struct bulk b = whole(rf);

	rowfile_close(rf);
	return b;
}

static bool is_text(struct store *s, struct collection *c,
	const struct rowfile_spec *spec, const char *text)
{
	struct bulk b = load(s, c, spec);
	bool is = b.len == strlen(text) && memcmp(b.bytes, text, b.len) == 0;

	if (!is)
		diag("is:\n%s\nnot:\n%s", b.bytes, text);
	free(b.bytes);
	return is;
}

/* ---- small: byte for byte ---- */

static void test_golden(struct store *s)
{
	struct collection *c = bulk_make(s, "golden", NULL, NULL);
	struct rowfile_spec all = {.kind = ROWFILE_ALL};
	struct vg_id fields[2] = {bulk_id("z"), bulk_id("y")};

	bulk_put(s, c, bulk_id("b"), (float[]){1, 0.5f}, 2);
	bulk_put(s, c, bulk_id("x\ty"), (float[]){-2, 1e-10f}, 2);
	bulk_put(s, c, bulk_id("a"), (float[]){3, 4}, 2);
	bulk_put(s, c, bulk_id("gone"), (float[]){5, 6}, 2);
	bulk_del(s, c, bulk_id("gone"));
	bulk_meta(s, c, bulk_id("b"), "{\"y\":1.10,\"z\":\"q\"}");

	ok(is_text(s, c, &(struct rowfile_spec){.kind = ROWFILE_IDS},
		   "b\nx\\ty\na\n"),
		"ids: a line each, as they were written; metadata moves "
		"nothing");
	ok(is_text(s, c, &(struct rowfile_spec){.kind = ROWFILE_NDJSON},
		   "{\"id\":\"b\",\"vector\":[1,0.5],\"metadata\":{\"y\":1.10,"
		   "\"z\":\"q\"}}\n"
		   "{\"id\":\"x\\ty\",\"vector\":[-2,1e-10]}\n"
		   "{\"id\":\"a\",\"vector\":[3,4]}\n"),
		"ndjson: id, vector, metadata where there is some");
	struct bulk b = load(s, c, &(struct rowfile_spec){.kind = ROWFILE_NPY});
	char header[RECORD_NPY_HEADER_LEN];
	record_npy_header(header, VG_F32, 3, 2);
	ok(b.len == 128 + 24 && memcmp(b.bytes, header, 128) == 0 &&
			memcmp(b.bytes + 128,
				(float[]){1, 0.5f, -2, 1e-10f, 3, 4}, 24) == 0,
		"npy: a header and the rows");
	free(b.bytes);
	b = load(s, c, &(struct rowfile_spec){.kind = ROWFILE_FVECS});
	ok(b.len == 36 && memcmp(b.bytes, "\2\0\0\0\0\0\x80?\0\0\0?\2\0\0\0",
				  16) == 0,
		"fvecs: each row with its dimension");
	free(b.bytes);

	ok(is_text(s, c, &all,
		   "{\"id\":\"a\"}\n{\"id\":\"b\",\"meta\":"
		   "{\"y\":1.10,\"z\":\"q\"}}\n{\"id\":\"x\\ty\"}\n"),
		"all: by id, with metadata");
	all.fields = fields;
	all.n_fields = 2;
	all.fmt = ANSWER_JSON;
	all.trailer = true;
	ok(is_text(s, c, &all,
		   "[{\"id\":\"a\"},\n{\"id\":\"b\",\"meta\":"
		   "{\"z\":\"q\",\"y\":1.10}},\n{\"id\":\"x\\ty\"},\n"
		   "{\"partial\":false,\"rows\":3}]\n"),
		"all as json: with fields and a trailer");
	all.fmt = ANSWER_TSV;
	ok(is_text(s, c, &all, "a\nb\nx\\ty\n{\"partial\":false,\"rows\":3}\n"),
		"all as tsv");
	all = (struct rowfile_spec){.kind = ROWFILE_ALL,
		.fmt = ANSWER_IDS,
		.offset = 1,
		.k = 1};
	ok(is_text(s, c, &all, "b\n"), "offset and k choose by id");
	all.k = 0;
	ok(is_text(s, c, &all, "b\nx\\ty\n"), "without k all that follow");
	all.offset = 4000000000u;
	all.k = 4000000000u;
	ok(is_text(s, c, &all, ""), "an offset beyond the end is empty");
	all.fmt = ANSWER_JSON;
	all.trailer = true;
	ok(is_text(s, c, &all, "[{\"partial\":false,\"rows\":0}]\n"),
		"but for what an answer always has");
	collection_unref(c);
}

static void test_empty(struct store *s)
{
	struct collection *c = bulk_make(s, "empty", NULL, NULL);
	struct bulk b;

	ok(is_text(s, c, &(struct rowfile_spec){.kind = ROWFILE_IDS}, "") &&
			is_text(s, c,
				&(struct rowfile_spec){.kind = ROWFILE_NDJSON},
				"") &&
			is_text(s, c,
				&(struct rowfile_spec){.kind = ROWFILE_FVECS},
				"") &&
			is_text(s, c,
				&(struct rowfile_spec){.kind = ROWFILE_ALL},
				""),
		"an empty collection is an empty file");
	ok(is_text(s, c,
		   &(struct rowfile_spec){.kind = ROWFILE_ALL,
			   .fmt = ANSWER_JSON},
		   "[]\n"),
		"an empty array as json");
	b = load(s, c, &(struct rowfile_spec){.kind = ROWFILE_NPY});
	ok(b.len == 128 && bulk_import(s, c, ROWSTREAM_NPY, &b, NULL) == 0 &&
			collection_config(c).dim == 0,
		"and an npy header that goes in again and changes nothing");
	free(b.bytes);
	collection_unref(c);
}

/* ---- a collection with everything in it ---- */

#define DIM 20
#define ROWS 1500

/* Ids that text has trouble with, then plain ones. */
static struct vg_id odd_id(unsigned n, char buf[VG_ID_MAX + 1])
{
	static const char *const odd[] = {"new\nline", "tab\t", "back\\slash",
		"\\n", "quote\"", "\xff\xfe raw", "cut \xc3", "\xed\xb2\x80",
		"\xf0\x9f\x98\x80", "\x01\x1f\x7f", "%2F", "a/b", " ", "\r",
		".hidden", "query", "\"", "\xc3\xa4"};

	if (n < VG_ARRAY_LEN(odd))
		return bulk_id(odd[n]);
	if (n == VG_ARRAY_LEN(odd)) {
		memset(buf, 0x80, VG_ID_MAX); /* escaped: six times as long */
		return (struct vg_id){buf, VG_ID_MAX};
	}
	snprintf(buf, VG_ID_MAX + 1, "id-%u", n * 7919 % ROWS);
	return bulk_id(buf);
}

static struct collection *make_odd(struct store *s, const char *name)
{
	struct collection *c = bulk_make(s, name, "l2", "flat");
	char buf[VG_ID_MAX + 1], meta[200];
	float vec[DIM];

	for (unsigned i = 0; i < ROWS; i++) {
		bulk_vec(i, DIM, vec);
		must(bulk_put(s, c, odd_id(i, buf), vec, DIM) == 0);
		if (i % 3)
			continue;
		snprintf(meta, sizeof(meta),
			"{\"n\":%u,\"w\":\"%0*d\",\"e\":{\"x\":[1,2]}}", i,
			(int)(i % 150) + 1, 0);
		must(bulk_meta(s, c, odd_id(i, buf), meta) == 0);
	}
	for (unsigned i = 0; i < ROWS; i += 5) {
		bulk_vec(i + ROWS, DIM, vec);
		must(bulk_put(s, c, odd_id(i, buf), vec, DIM) == 0);
	}
	for (unsigned i = 30; i < ROWS; i += 7)
		must(bulk_del(s, c, odd_id(i, buf)) == 0);
	return c;
}

/* Every shape that a file can have. */
static const struct rowfile_spec specs[] = {
	{.kind = ROWFILE_IDS},
	{.kind = ROWFILE_NPY},
	{.kind = ROWFILE_FVECS},
	{.kind = ROWFILE_NDJSON},
	{.kind = ROWFILE_ALL},
	{.kind = ROWFILE_ALL, .fmt = ANSWER_JSON, .trailer = true},
	{.kind = ROWFILE_ALL, .fmt = ANSWER_TSV, .trailer = true},
	{.kind = ROWFILE_ALL, .fmt = ANSWER_IDS, .offset = 100, .k = 900},
};
static const char *const spec_names[] = {"ids", "all.npy", "all.fvecs",
	"all.ndjson", "all", "all.json", "all.tsv", "some of all.ids"};
#define SPECS VG_ARRAY_LEN(specs)

static bool reads_agree(const struct rowfile *rf, const struct bulk *all,
	unsigned state, int rounds)
{
	char *buf = malloc(all->len + 64);
	bool agree = buf;

	for (int i = 0; i < rounds && agree; i++) {
		uint64_t off = (uint64_t)rand_r(&state) % (all->len + 32);
		size_t len =
			(size_t)rand_r(&state) % (i % 4 ? 300 : all->len + 64);
		size_t want = off < all->len ?
				      VG_MIN(len, all->len - (size_t)off) :
				      0;
		size_t n = SIZE_MAX;

		memset(buf, 0x55, len + 1);
		agree = rowfile_read(rf, off, buf, len, &n) == 0 && n == want &&
			(want == 0 ||
				memcmp(buf, all->bytes + off, want) == 0) &&
			buf[len] == 0x55 && (n == len || buf[n] == 0x55);
		if (!agree)
			diag("off %llu len %zu of %zu: %zu",
				(unsigned long long)off, len, all->len, n);
	}
	free(buf);
	return agree;
}

struct reader {
	const struct rowfile *rf;
	const struct bulk *all;
	unsigned state;
	bool agrees;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;

	r->agrees = reads_agree(r->rf, r->all, r->state, 60);
	return NULL;
}

static void test_offsets(struct store *s, struct collection *c)
{
	unsigned state = (unsigned)seed();

	for (size_t i = 0; i < SPECS; i++) {
		struct rowfile *rf = open_spec(s, c, &specs[i]);
		struct bulk all = whole(rf);
		struct reader r[3];
		pthread_t threads[3];
		bool agree = true;

		for (int t = 0; t < 3; t++) {
			r[t] = (struct reader){rf, &all,
				(unsigned)rand_r(&state), false};
			must(pthread_create(&threads[t], NULL, reader_main,
				     &r[t]) == 0);
		}
		for (int t = 0; t < 3; t++) {
			pthread_join(threads[t], NULL);
			agree &= r[t].agrees;
		}
		ok(agree,
			"%s: reads of any size at any offset, from three "
			"threads, equal the whole of %zu bytes",
			spec_names[i], all.len);
		free(all.bytes);
		rowfile_close(rf);
	}
}

/* ids, all.npy, all.fvecs and all.ndjson of one moment tell the same. */
static void test_rows_agree(struct store *s, struct collection *c)
{
	struct bulk ids = load(s, c, &specs[0]), npy = load(s, c, &specs[1]);
	struct bulk fvecs = load(s, c, &specs[2]);
	uint64_t rows = atomic_load(&c->n_live), n = 0;
	const char *at = ids.bytes;

	must(npy.len == 128 + rows * DIM * 4);
	must(fvecs.len == rows * (DIM + 1) * 4);
	for (uint64_t i = 0; i < rows; i++) {
		char id[VG_ID_MAX];
		uint32_t len = 0;

		for (; *at != '\n'; at++) {
			char ch = *at;

			if (ch == '\\') {
				at++;
				ch = *at == 'n' ? '\n' :
				     *at == 't' ? '\t' :
						  *at;
			}
			id[len++] = ch;
		}
		at++;
		const struct version *v =
			bulk_find(s, c, (struct vg_id){id, len});
		n += v &&
		     memcmp(version_vec(v), npy.bytes + 128 + i * DIM * 4,
			     DIM * 4) == 0 &&
		     memcmp(version_vec(v), fvecs.bytes + i * (DIM + 1) * 4 + 4,
			     DIM * 4) == 0;
	}
	ok(n == rows && at == ids.bytes + ids.len,
		"line i of ids names row i of all.npy and of all.fvecs");
	free(ids.bytes);
	free(npy.bytes);
	free(fvecs.bytes);
}

static void test_round_trip(struct store *s, struct collection *c)
{
	static const enum rowstream_kind kinds[] = {ROWSTREAM_NPY,
		ROWSTREAM_FVECS, ROWSTREAM_NDJSON};

	for (size_t i = 0; i < 3; i++) {
		const struct rowfile_spec *spec = &specs[ROWFILE_NPY + i];
		struct collection *copy =
			bulk_make(s, spec_names[ROWFILE_NPY + i], "l2", "flat");
		struct bulk before = load(s, c, spec), after;
		int rc = bulk_import(s, copy, kinds[i], &before, NULL);

		after = load(s, copy, spec);
		ok(rc == 0 && is_same(&before, &after),
			"%s goes in again and comes out the same",
			spec_names[ROWFILE_NPY + i]);
		free(before.bytes);
		free(after.bytes);
		collection_unref(copy);
	}
}

static void test_mtime(struct store *s, struct collection *c)
{
	struct rowfile *a = open_kind(s, c, ROWFILE_IDS), *b;
	int64_t first = rowfile_mtime_ns(a);

	b = open_kind(s, c, ROWFILE_NPY);
	ok(first > 0 && rowfile_mtime_ns(b) == first,
		"files of a collection that stands still have one mtime");
	ok(rowfile_rows(a) == atomic_load(&c->n_live),
		"and a row for each record");
	rowfile_close(b);
	must(bulk_del(s, c, bulk_id("new\nline")) == 0);
	b = open_kind(s, c, ROWFILE_IDS);
	ok(rowfile_mtime_ns(b) > first && rowfile_mtime_ns(a) == first &&
			rowfile_rows(b) + 1 == rowfile_rows(a),
		"a change is seen in it by who opens later");
	rowfile_close(a);
	rowfile_close(b);
}

/* ---- one moment ---- */

struct churn {
	struct store *s;
	struct collection *c;
	_Atomic bool is_over;
	_Atomic int rounds;
};

/* Pairs of records always have the same numbers: both change in one commit.
 * Others come and go. */
static void *churn_main(void *arg)
{
	struct churn *ch = arg;
	char name[5][32];
	float vec[DIM];

	for (unsigned g = 1; !ch->is_over || g < 100; g++) {
		struct change pair[2];
		unsigned i = g % 40;

		for (unsigned d = 0; d < DIM; d++)
			vec[d] = (float)g;
		for (unsigned k = 0; k < 2; k++) {
			snprintf(name[k], sizeof(name[k]), "pair%u.%u", i, k);
			pair[k] = (struct change){.type = OP_PUT,
				.coll = ch->c,
				.id = bulk_id(name[k]),
				.vec = vec,
				.dim = DIM,
				.source = OP_SOURCE_RAW};
		}
		must(store_commit_wait(ch->s,
			     &(struct commit){.changes = pair, .n = 2}) == 0);
		snprintf(name[2], sizeof(name[2]), "t%u", g);
		must(bulk_put(ch->s, ch->c, bulk_id(name[2]), vec, DIM) == 0);
		snprintf(name[3], sizeof(name[3]), "t%u", g - 5);
		bulk_del(ch->s, ch->c, bulk_id(name[3]));
		atomic_fetch_add(&ch->rounds, 1);
	}
	return NULL;
}

/* Whether every pair in an ndjson export is equal; ids come in any order. */
static int count_torn(const struct bulk *b)
{
	int of[40][2] = {{0}}, torn = 0;

	for (const char *at = b->bytes; *at; at = strchr(at, '\n') + 1) {
		unsigned i, k;
		int g;

		if (sscanf(at, "{\"id\":\"pair%u.%u\",\"vector\":[%d,", &i, &k,
			    &g) == 3)
			of[i][k] = g;
	}
	for (int i = 0; i < 40; i++)
		torn += of[i][0] != of[i][1];
	return torn;
}

static void test_moment(struct store *s)
{
	struct collection *c = make_odd(s, "moving");
	struct churn churn = {.s = s, .c = c};
	struct rowfile *rf[SPECS];
	struct bulk before[SPECS];
	bool stays = true;
	pthread_t thread;
	int torn = 0;

	for (size_t i = 0; i < SPECS; i++) {
		rf[i] = open_spec(s, c, &specs[i]);
		before[i] = whole(rf[i]);
	}
	must(pthread_create(&thread, NULL, churn_main, &churn) == 0);
	for (int round = 0; round < 30; round++) {
		struct bulk b = load(s, c, &specs[ROWFILE_NDJSON]);

		torn += count_torn(&b);
		free(b.bytes);
		for (size_t i = 0; i < SPECS; i++)
			stays &= reads_agree(rf[i], &before[i], (unsigned)round,
				2);
	}
	churn.is_over = true;
	pthread_join(thread, NULL);
	must(bulk_run(s, &(struct change){.type = OP_CLEAR, .coll = c}) == 0);
	for (size_t i = 0; i < SPECS; i++) {
		struct bulk after = whole(rf[i]);

		stays &= is_same(&before[i], &after);
		free(before[i].bytes);
		free(after.bytes);
		rowfile_close(rf[i]);
	}
	ok(stays,
		"what is open stays as it was through %d rounds of changes "
		"and a clear",
		churn.rounds);
	ok(torn == 0, "what is opened meanwhile shows no commit in part");
	collection_unref(c);
}

/* ---- many rows ---- */

#define MANY 100000u

struct many {
	struct store *s;
	struct collection *c;
	struct pool pool;
};

static void many_init(struct many *m, struct store *s)
{
	struct bulk in = {0};

	m->s = s;
	m->c = bulk_make(s, "many", "l2", "flat");
	for (unsigned i = 0; i < MANY; i++)
		bulk_print(&in,
			"{\"id\":\"document-%u\",\"vector\":[%u,1],"
			"\"metadata\":{\"i\":%u}}\n",
			(unsigned)(i * 7919ull % MANY), i, i);
	must(bulk_import(s, m->c, ROWSTREAM_NDJSON, &in, NULL) == 0);
	free(in.bytes);
	must(pool_init(&m->pool, 3) == 0);
}

static void test_sorted(struct many *m)
{
	struct rowfile_spec spec = {.kind = ROWFILE_ALL, .fmt = ANSWER_IDS};
	struct bulk alone = load(m->s, m->c, &spec), helped;
	const char *last = "";
	unsigned n = 0;
	bool in_order = true;

	spec.pool = &m->pool;
	helped = load(m->s, m->c, &spec);
	ok(is_same(&alone, &helped), "a pool changes nothing but the time");
	for (char *at = alone.bytes; *at; n++) {
		char *end = strchr(at, '\n');

		*end = '\0';
		in_order &= strcmp(last, at) < 0;
		last = at;
		at = end + 1;
	}
	ok(n == MANY && in_order, "all are sorted by the bytes of their ids");
	free(alone.bytes);
	free(helped.bytes);
}

static void test_cancel(struct many *m)
{
	_Atomic bool cancel = true;
	struct rowfile *rf = NULL;

	for (size_t i = 0; i < SPECS; i++)
		if (rowfile_open(m->s, m->c, &specs[i], &cancel, &rf) != -EINTR)
			break;
	ok(!rf, "opening any of them can be interrupted");
}

static size_t heap_len(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void test_memory(struct many *m)
{
	struct rowfile_spec spec = {.kind = ROWFILE_NDJSON, .pool = &m->pool};
	size_t before = heap_len(), after;
	struct rowfile *rf = open_spec(m->s, m->c, &spec);

	after = heap_len();
	if (BULK_SANITIZED)
		skip(1, "a sanitizer's heap tells nothing");
	else
		ok(after - before < MANY * 4 + MANY / 128 * 8 + 8192,
			"an open file takes 4 bytes a row and a little: %zu",
			after - before);
	rowfile_close(rf);
	ok(BULK_SANITIZED || heap_len() <= before + 4096,
		"and gives them back");
}

int main(void)
{
	struct store *s;
	struct collection *odd;
	struct many many;
	const char *why = "";

	plan(37);
	s = bulk_open("data", STORE_ASYNC);
	test_golden(s);
	test_empty(s);
	odd = make_odd(s, "odd");
	test_offsets(s, odd);
	test_rows_agree(s, odd);
	test_round_trip(s, odd);
	test_mtime(s, odd);
	collection_unref(odd);
	test_moment(s);
	many_init(&many, s);
	test_sorted(&many);
	test_cancel(&many);
	test_memory(&many);
	pool_fini(&many.pool);
	collection_unref(many.c);
	if (!ok(store_check(s, &why) == 0, "the store is sound"))
		diag("%s", why);
	store_close(s);
	return done();
}
