/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c: each format to the byte, alone and in batches. */
#include "fs/answer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

/* The linker sends the product's realloc here: fail_at 1 fails the next. */
static long fail_at;
void *__real_realloc(void *p, size_t len);
void *__wrap_realloc(void *p, size_t len);

void *__wrap_realloc(void *p, size_t len)
{
	if (fail_at > 0 && --fail_at == 0)
		return NULL;
	return __real_realloc(p, len);
}

#define ROW(id, dist, ...)                                                     \
	((struct answer_row){{id, sizeof(id) - 1}, dist, {__VA_ARGS__}, 0})
#define META(json) json, sizeof(json) - 1
#define NO_META NULL, 0

/* A spec with what is not said filled in; the next call overwrites it. */
static const struct answer_spec *with(struct answer_spec spec, bool is_all)
{
	static struct answer_spec filled;

	filled = spec;
	filled.metric = spec.metric ? spec.metric : VG_L2;
	filled.n = spec.n ? spec.n : 1;
	filled.k = spec.k ? spec.k : 10;
	filled.has_distance = !is_all;
	return &filled;
}

#define SPEC(...) with((struct answer_spec){__VA_ARGS__}, false)
#define SPEC_ALL(...) with((struct answer_spec){__VA_ARGS__}, true)

static const struct answer_row two[] = {
	{{"doc7", 4}, 0.07f, {META("{\"a\":1,\"b\":[1.10,\"x\"]}")}, 0},
	{{"doc1", 4}, 0.5f, {NO_META}, 0},
};

/* One query's rows under spec; the text is terminated and freed by the next. */
static const char *render(const struct answer_spec *spec,
	const struct answer_row *rows, uint32_t n, bool is_partial)
{
	static struct answer a;

	answer_fini(&a);
	answer_init(&a);
	must(answer_open(&a, spec) == 0);
	must(answer_add(&a, 0, rows, n) == 0);
	must(answer_close(&a, is_partial) == 0);
	a.bytes = __real_realloc(a.bytes, a.len + 1);
	must(a.bytes);
	a.bytes[a.len] = '\0';
	return a.bytes;
}

static bool is(const char *text, const char *wanted)
{
	if (strcmp(text, wanted) == 0)
		return true;
	diag("got    %s", text);
	diag("wanted %s", wanted);
	return false;
}

static void test_words(void)
{
	bool back = true;
	char words[64] = "";

	for (int fmt = 0; fmt < ANSWER_FMTS; fmt++) {
		const char *word = answer_get_fmt((enum answer_fmt)fmt);

		back &= (int)answer_find_fmt(word, strlen(word)) == fmt;
		strcat(words, fmt ? " " : "");
		strcat(words, word);
	}
	ok(back, "each format is found by its word");
	ok(is(words, ANSWER_FMT_WORDS), "all of them are listed");
	ok(answer_find_fmt("jso", 3) == ANSWER_FMTS &&
			answer_find_fmt("", 0) == ANSWER_FMTS &&
			answer_find_fmt("jsonx", 5) == ANSWER_FMTS,
		"other words are none");
}

static void test_objects(void)
{
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON), two, 2, false),
		   "{\"rank\":1,\"id\":\"doc7\",\"dist\":0.07,\"score\":-0.07,"
		   "\"meta\":{\"a\":1,\"b\":[1.10,\"x\"]}}\n"
		   "{\"rank\":2,\"id\":\"doc1\",\"dist\":0.5,\"score\":-0.5}"
		   "\n"),
		"ndjson is an object a line, meta where there is some");
	ok(is(render(SPEC(.fmt = ANSWER_JSON), two, 2, false),
		   "[{\"rank\":1,\"id\":\"doc7\",\"dist\":0.07,\"score\":-0.07,"
		   "\"meta\":{\"a\":1,\"b\":[1.10,\"x\"]}},\n"
		   "{\"rank\":2,\"id\":\"doc1\",\"dist\":0.5,"
		   "\"score\":-0.5}]\n"),
		"json is an array of the same");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON), two, 0, false), "") &&
			is(render(SPEC(.fmt = ANSWER_JSON), two, 0, false),
				"[]\n"),
		"no rows are nothing, and an empty array");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON, .metric = VG_COSINE,
			     .offset = 20),
		      two + 1, 1, false),
		   "{\"rank\":21,\"id\":\"doc1\",\"dist\":0.5,\"score\":0.5}"
		   "\n"),
		"cosine's score is the cosine, ranks begin behind the offset");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON, .metric = VG_COSINE), two, 1,
		      false),
		   "{\"rank\":1,\"id\":\"doc7\",\"dist\":0.07,\"score\":0.93,"
		   "\"meta\":{\"a\":1,\"b\":[1.10,\"x\"]}}\n"),
		"0.07 and 0.93 are shown as such");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON, .metric = VG_IP),
		      &ROW("a", -3.25f, NO_META), 1, false),
		   "{\"rank\":1,\"id\":\"a\",\"dist\":-3.25,\"score\":3.25}\n"),
		"ip's score is the dot product");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON), &ROW("a", 0, NO_META), 1,
		      false),
		   "{\"rank\":1,\"id\":\"a\",\"dist\":0,\"score\":0}\n") &&
			is(render(SPEC(.fmt = ANSWER_DIST, .metric = VG_IP),
				   &ROW("a", -0.0f, NO_META), 1, false),
				"0\n"),
		"there is no minus zero");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON),
		      &ROW("a\"\\\n\x01\xc3\xa4\xff", INFINITY, NO_META), 1,
		      false),
		   "{\"rank\":1,\"id\":\"a\\\"\\\\\\n\\u0001\xc3\xa4\\udcff\","
		   "\"dist\":null,\"score\":null}\n"),
		"ids are escaped, an infinity is null");
	ok(is(render(SPEC_ALL(.fmt = ANSWER_NDJSON), two, 2, false),
		   "{\"id\":\"doc7\",\"meta\":{\"a\":1,\"b\":[1.10,\"x\"]}}\n"
		   "{\"id\":\"doc1\"}\n"),
		"rows of all have neither rank nor dist");
}

static void test_fields(void)
{
	const struct vg_id ba[] = {{"b", 1}, {"a", 1}}, none[] = {{"c", 1}},
			   odd[] = {{"x\"\xc3\xa4", 4}};
	const struct answer_row quoted =
		ROW("d", 1, META("{\"x\\\"\xc3\xa4\":null,\"y\":2}"));
	const struct answer_row damaged = ROW("d", 1, META("{\"a\":"));
	struct answer a;

	ok(is(render(SPEC(.fmt = ANSWER_NDJSON, .fields = ba, .n_fields = 2),
		      two, 2, false),
		   "{\"rank\":1,\"id\":\"doc7\",\"dist\":0.07,\"score\":-0.07,"
		   "\"meta\":{\"b\":[1.10,\"x\"],\"a\":1}}\n"
		   "{\"rank\":2,\"id\":\"doc1\",\"dist\":0.5,"
		   "\"score\":-0.5}\n"),
		"fields come in the order in which they were asked for");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON, .fields = none, .n_fields = 1),
		      two, 1, false),
		   "{\"rank\":1,\"id\":\"doc7\",\"dist\":0.07,"
		   "\"score\":-0.07}\n"),
		"without any of them there is no meta");
	ok(is(render(SPEC(.fmt = ANSWER_NDJSON, .fields = odd, .n_fields = 1),
		      &quoted, 1, false),
		   "{\"rank\":1,\"id\":\"d\",\"dist\":1,\"score\":-1,"
		   "\"meta\":{\"x\\\"\xc3\xa4\":null}}\n"),
		"a field's name is escaped, null is a value");
	answer_init(&a);
	must(answer_open(&a, SPEC(.fmt = ANSWER_NDJSON, .fields = ba,
				     .n_fields = 2)) == 0);
	ok(answer_add(&a, 0, &damaged, 1) == -VG_ECORRUPT,
		"damaged metadata is an error, not half a row");
	answer_fini(&a);
}

static void test_lines(void)
{
	const struct answer_row rows[] = {
		ROW("a\tb\nc\\d", 1.5f, NO_META),
		ROW("e \xff", 2, META("{\"x\":1}")),
	};

	ok(is(render(SPEC(.fmt = ANSWER_TSV), rows, 2, false),
		   "a\\tb\\nc\\\\d\t1.5\ne \xff\t2\n"),
		"tsv is id and distance, a column's ends escaped");
	ok(is(render(SPEC(.fmt = ANSWER_IDS), rows, 2, false),
		   "a\\tb\\nc\\\\d\ne \xff\n"),
		"ids is an id a line");
	ok(is(render(SPEC(.fmt = ANSWER_DIST), rows, 2, false), "1.5\n2\n"),
		"dist is a distance a line");
	ok(is(render(SPEC_ALL(.fmt = ANSWER_TSV), rows, 2, false),
		   "a\\tb\\nc\\\\d\ne \xff\n"),
		"the tsv of all is ids");
}

static void test_trailer(void)
{
	const enum answer_fmt lines[] = {ANSWER_TSV, ANSWER_IDS, ANSWER_DIST,
		ANSWER_NDJSON};
	bool hold = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(lines); i++) {
		const char *text =
			render(SPEC(.fmt = lines[i], .trailer = true), two, 2,
				true);
		const char *last = strstr(text, "{\"partial\":");

		hold &= last && last[-1] == '\n' &&
			is(last, "{\"partial\":true,\"rows\":2}\n");
	}
	ok(hold, "a trailer is the last line of a text");
	ok(is(render(SPEC(.fmt = ANSWER_JSON, .trailer = true), two + 1, 1,
		      false),
		   "[{\"rank\":1,\"id\":\"doc1\",\"dist\":0.5,\"score\":-0.5},"
		   "\n{\"partial\":false,\"rows\":1}]\n"),
		"of json it is the last element");
	ok(is(render(SPEC(.fmt = ANSWER_JSON, .trailer = true), two, 0, false),
		   "[{\"partial\":false,\"rows\":0}]\n"),
		"also where there is no row");
}

/* A batch of three: two rows, none, one. */
static void render_batch(struct answer *a, enum answer_fmt fmt, bool trailer)
{
	answer_init(a);
	must(answer_open(a, SPEC(.fmt = fmt, .n = 3, .k = 2,
				    .trailer = trailer)) == 0);
	must(answer_add(a, 0, two + 1, 1) == 0);
	must(answer_add(a, 0, &ROW("b", 1, NO_META), 1) == 0);
	must(answer_add(a, 2, &ROW("c", 2, NO_META), 1) == 0);
	must(answer_close(a, false) == 0);
}

static bool batch_is(enum answer_fmt fmt, bool trailer, const char *wanted)
{
	struct answer a;
	bool same;

	render_batch(&a, fmt, trailer);
	same = a.len == strlen(wanted) && memcmp(a.bytes, wanted, a.len) == 0;
	if (!same)
		diag("%.*s", (int)a.len, a.bytes);
	answer_fini(&a);
	return same;
}

static void test_batches(void)
{
	ok(batch_is(ANSWER_NDJSON, false,
		   "{\"q\":0,\"rank\":1,\"id\":\"doc1\",\"dist\":0.5,"
		   "\"score\":-0.5}\n"
		   "{\"q\":0,\"rank\":2,\"id\":\"b\",\"dist\":1,\"score\":-1}\n"
		   "{\"q\":2,\"rank\":1,\"id\":\"c\",\"dist\":2,"
		   "\"score\":-2}\n"),
		"rows of a batch say which query they answer");
	ok(batch_is(ANSWER_TSV, false, "0\tdoc1\t0.5\n0\tb\t1\n2\tc\t2\n"),
		"in tsv by their first column");
	ok(batch_is(ANSWER_IDS, false, "doc1\nb\n\n\nc\n") &&
			batch_is(ANSWER_DIST, false, "0.5\n1\n\n\n2\n"),
		"in ids and dist an empty line is between two queries");
	ok(batch_is(ANSWER_IDS, true,
		   "doc1\nb\n\n\nc\n{\"partial\":false,\"rows\":3}\n"),
		"the trailer counts the rows of all");
}

static void test_arrays(void)
{
	const float dists[] = {0.07f, 0.5f};
	struct answer a;
	float back[6];
	const char *bytes = render(SPEC(.fmt = ANSWER_F32), two, 2, false);

	ok(memcmp(bytes, dists, sizeof(dists)) == 0, "f32 is the distances");
	render_batch(&a, ANSWER_F32, false);
	memcpy(back, a.bytes, VG_MIN(a.len, sizeof(back)));
	ok(a.len == sizeof(back) && back[0] == 0.5f && back[1] == 1 &&
			isnan(back[2]) && isnan(back[3]) && back[4] == 2 &&
			isnan(back[5]),
		"of a batch it is n times k, filled up with NaN");
	answer_fini(&a);

	bytes = render(SPEC(.fmt = ANSWER_NPY), two, 2, false);
	char head[129];

	memcpy(head, "\x93NUMPY\x01\0\x76\0", 10);
	snprintf(head + 10, sizeof(head) - 10, "%-117s\n",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }");
	ok(memcmp(bytes, head, 128) == 0 &&
			memcmp(bytes + 128, dists, sizeof(dists)) == 0,
		"npy has a header of 128 bytes and the same");
	render_batch(&a, ANSWER_NPY, false);
	ok(a.len == 128 + sizeof(back) &&
			memmem(a.bytes, 128, "'shape': (3, 2), }", 18) &&
			a.bytes[127] == '\n' &&
			memcmp(a.bytes + 128, back, sizeof(back)) == 0,
		"of a batch it is a matrix");
	answer_fini(&a);
	bytes = render(SPEC(.fmt = ANSWER_NPY), two, 0, false);
	ok(memmem(bytes, 128, "'shape': (0,), }", 16) != NULL,
		"no rows are an empty array");
}

static void test_count(void)
{
	struct answer a;

	answer_init(&a);
	ok(answer_put_count(&a, 1234567890123) == 0 && a.len == 14 &&
			memcmp(a.bytes, "1234567890123\n", 14) == 0,
		"count is a number");
	ok(answer_put_count(&a, 0) == 0 && a.len == 2, "of its own");
	answer_fini(&a);
	answer_fini(&a);
	ok(!a.bytes && a.len == 0, "fini twice is harmless");
}

/* Streaming, as `all` does: the caller passes bytes on between rows. */
static void test_stream(void)
{
	const struct answer_spec *spec = SPEC_ALL(.fmt = ANSWER_JSON);
	char text[256];
	size_t len = 0;
	struct answer a;

	answer_init(&a);
	must(answer_open(&a, spec) == 0);
	for (int i = 0; i < 3; i++) {
		must(answer_add(&a, 0, &ROW("x", 0, NO_META), 1) == 0);
		memcpy(text + len, a.bytes, a.len);
		len += a.len;
		a.len = 0;
	}
	must(answer_close(&a, false) == 0);
	memcpy(text + len, a.bytes, a.len);
	text[len + a.len] = '\0';
	ok(is(text, "[{\"id\":\"x\"},\n{\"id\":\"x\"},\n{\"id\":\"x\"}]\n"),
		"bytes may be taken away between rows");
	answer_fini(&a);
}

/* Large rows make the buffer grow often; each growth fails once. */
static int large(struct answer *a, const char *id, const char *json)
{
	const struct vg_id fields[] = {{"a", 1}, {"b", 1}};
	struct answer_row row = {{id, 255}, 1, {json, 0}, 0};
	int rc = answer_open(a, SPEC(.fmt = ANSWER_NDJSON, .n = 2,
					.fields = fields, .n_fields = 2));

	row.meta.len = (uint32_t)strlen(json);
	for (int i = 0; i < 40 && rc == 0; i++)
		rc = answer_add(a, i >= 20, &row, 1);
	return rc < 0 ? rc : answer_close(a, false);
}

static void test_faults(void)
{
	static char id[255], json[8192];
	struct answer a;
	bool failed = true, whole = true;
	long n = 0;
	size_t len;
	int rc;

	memset(id, 1, sizeof(id));
	memset(json, 'x', sizeof(json) - 1);
	memcpy(json, "{\"a\":\"", 6);
	memcpy(json + 4000, "\",\"b\":\"", 7);
	memcpy(json + sizeof(json) - 3, "\"}", 2);
	answer_init(&a);
	must(large(&a, id, json) == 0);
	len = a.len;
	ok(len > 40 * 8192u, "forty rows of 8 KiB are rendered");
	do {
		answer_fini(&a);
		answer_init(&a);
		fail_at = ++n;
		rc = large(&a, id, json);
		failed &= rc == -ENOMEM || fail_at > 0;
		fail_at = 0;
		whole &= large(&a, id, json) == 0 && a.len == len;
	} while (rc < 0 && n < 100);
	answer_fini(&a);
	ok(failed && rc == 0 && n > 5, "each allocation that fails is told");
	ok(whole, "and the next answer in the same buffer is whole");
}

int main(void)
{
	plan(39);
	test_words();
	test_objects();
	test_fields();
	test_lines();
	test_trailer();
	test_batches();
	test_arrays();
	test_count();
	test_stream();
	test_faults();
	return done();
}
