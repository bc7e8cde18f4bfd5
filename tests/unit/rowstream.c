/* SPDX-License-Identifier: Apache-2.0 */
/* rowstream.c: rows come out of a stream however it is cut. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/number.h"
#include "src/rowstream.h"
#include "tests/tap.h"

/* What a stream said, as text: "0:1,2,3 1:id=1,2,3 bad 2 WHY". */
struct told {
	char text[8192];
	size_t len;
	uint64_t n_rows, n_bad, stop_at;
};

static struct told told;
static struct rowstream stream;

static int tell_row(void *ctx, const struct record *r, uint64_t number)
{
	struct told *t = ctx;
	char *at = t->text + t->len, *end = t->text + sizeof(t->text) - 16;

	if (t->stop_at && number + 1 == t->stop_at)
		return -ENOSPC;
	t->n_rows++;
	at += snprintf(at, 300, "%llu:%.*s%s", (unsigned long long)number,
		(int)r->id.len, r->id.bytes, r->id.len ? "=" : "");
	for (uint32_t i = 0; i < r->dim && at < end; i++) {
		at += number_format(((const float *)r->vec)[i], at);
		*at++ = ',';
	}
	if (at + r->meta_len < end)
		at += sprintf(at, "%.*s", (int)r->meta_len, r->meta);
	*at++ = ' ';
	*at = 0;
	t->len = (size_t)(at - t->text);
	return 0;
}

static void tell_bad(void *ctx, uint64_t place, const char *why)
{
	struct told *t = ctx;

	t->n_bad++;
	if (t->len + 400 < sizeof(t->text))
		t->len += (size_t)sprintf(t->text + t->len, "bad %llu %.300s ",
			(unsigned long long)place, why);
}

static const struct rowstream_calls calls = {tell_row, tell_bad, &told};

static void begin(enum rowstream_kind kind, uint32_t dim)
{
	rowstream_fini(&stream);
	memset(&told, 0, sizeof(told));
	rowstream_init(&stream, kind, VG_F32, dim, &calls);
}

/* Feeds a copy of exactly len bytes, at an address that is aligned or not. */
static int feed(const char *bytes, size_t len, size_t offset)
{
	char *copy = malloc(len + offset + 1);
	int rc;

	must(copy);
	memcpy(copy + offset, bytes, len);
	rc = rowstream_feed(&stream, copy + offset, len);
	free(copy);
	return rc;
}

static int feed_all(enum rowstream_kind kind, uint32_t dim,
	const char *bytes, size_t len)
{
	int rc;

	begin(kind, dim);
	rc = feed(bytes, len, 0);
	return rc ? rc : rowstream_end(&stream);
}

static bool is_told(const char *want)
{
	if (strcmp(told.text, want) != 0)
		diag("told \"%s\"\n# instead of \"%s\"\n# %s", told.text, want,
			stream.error);
	return strcmp(told.text, want) == 0;
}

static uint64_t rng;

static size_t random_below(size_t n)
{
	rng = rng * 6364136223846793005ul + 1442695040888963407ul;
	return (size_t)(rng >> 33) % n;
}

/* Whether any way to cut the stream gives what it gives in one piece. */
static bool splits(enum rowstream_kind kind, const char *bytes, size_t len)
{
	char whole[sizeof(told.text)];
	int rc = feed_all(kind, 0, bytes, len);

	strcpy(whole, told.text);
	for (size_t cut = 0; cut <= len; cut++) {
		begin(kind, 0);
		int rc2 = feed(bytes, cut, 0);
		rc2 = rc2 ? rc2 : feed(bytes + cut, len - cut, cut % 5);
		rc2 = rc2 ? rc2 : rowstream_end(&stream);
		if (rc2 != rc || strcmp(told.text, whole) != 0) {
			diag("cut at %zu: %d %s", cut, rc2, told.text);
			return false;
		}
	}
	for (int i = 0; i < 300; i++) {
		size_t at = 0, most = 1 + random_below(len);
		int rc2 = 0;
		begin(kind, 0);
		while (at < len && rc2 == 0) {
			size_t n = 1 + random_below(most);
			n = VG_MIN(n, len - at);
			rc2 = feed(bytes + at, n, random_below(4));
			at += n;
		}
		rc2 = rc2 ? rc2 : rowstream_end(&stream);
		if (rc2 != rc || strcmp(told.text, whole) != 0) {
			diag("round %d: %d %s", i, rc2, told.text);
			return false;
		}
	}
	return true;
}

static size_t make_npy(char *out, uint64_t n, const float *rows)
{
	record_npy_header(out, VG_F32, n, 2);
	memcpy(out + 128, rows, (size_t)n * 8);
	return 128 + (size_t)n * 8;
}

static void test_npy(void)
{
	static const float rows[] = {1, 2, 3, 4, 5, NAN, 7, 8};
	static const char want[] = "0:1,2, 1:3,4, bad 2 the number at index 1 "
		"is not finite as float32 3:7,8, ";
	char body[700];
	size_t len = make_npy(body, 4, rows);

	ok(feed_all(ROWSTREAM_NPY, 0, body, len) == 0 && is_told(want) &&
		stream.dim == 2, "npy rows come, a bad one is named");
	ok(splits(ROWSTREAM_NPY, body, len), "however the stream is cut");
	size_t more = make_npy(body + len, 2, rows);
	ok(feed_all(ROWSTREAM_NPY, 2, body, len + more) == 0 &&
		told.n_rows == 5 && strstr(told.text, "5:3,4,"),
		"a second array goes on counting");
	ok(splits(ROWSTREAM_NPY, body, len + more), "however it is cut");
	ok(feed_all(ROWSTREAM_NPY, 3, body, len) == -EINVAL &&
		strstr(stream.error, "3 dimensions, the npy array's rows have 2") &&
		told.n_rows == 0, "another dimension is no use");
	ok(feed_all(ROWSTREAM_NPY, 0, "garbage", 7) == -EINVAL &&
		strstr(stream.error, "no npy"), "nor is what is no npy");
	memcpy(body + len, "x", 1);
	ok(feed_all(ROWSTREAM_NPY, 0, body, len + 1) == -EINVAL &&
		strstr(stream.error, "at byte 161") && told.n_rows == 3,
		"what follows the last row is told with its place");
	record_npy_header(body, VG_F32, 0, 2);
	ok(feed_all(ROWSTREAM_NPY, 0, body, 128) == 0 && told.n_rows == 0 &&
		feed_all(ROWSTREAM_NPY, 0, body, 0) == 0, "no rows are none");

	static const char f8[] = "{'descr': '>f8', 'fortran_order': False, "
		"'shape': (2, 1)}\n";
	memcpy(body, "\x93NUMPY\x01\x00", 8);
	body[8] = (char)strlen(f8);
	body[9] = 0;
	memcpy(body + 10, f8, strlen(f8));
	len = 10 + strlen(f8);
	memcpy(body + len, "\x3f\xf8\0\0\0\0\0\0\xbf\xf0\0\0\0\0\0\0", 16);
	ok(feed_all(ROWSTREAM_NPY, 1, body, len + 16) == 0 &&
		is_told("0:1.5, 1:-1, ") && splits(ROWSTREAM_NPY, body, len + 16),
		"other dtypes are converted");
}

static void test_npy_end(void)
{
	static const float rows[] = {1, 2, 3, 4, 5, 6};
	char body[300];
	size_t len = make_npy(body, 3, rows);
	bool holds = true;

	begin(ROWSTREAM_NPY, 0);
	for (size_t n = 0; n < len; n++) {
		if (n > 0)
			holds &= rowstream_end(&stream) == -EINVAL;
		holds &= feed(body + n, 1, 0) == 0;
		if (n == 100)
			holds &= rowstream_end(&stream) == -EINVAL &&
				strstr(stream.error, "inside an npy header");
		if (n == 140)
			holds &= rowstream_end(&stream) == -EINVAL &&
				strstr(stream.error, "inside row 2 of 3");
		if (n == 135)
			holds &= rowstream_end(&stream) == -EINVAL &&
				strstr(stream.error, "before row 2 of 3");
	}
	ok(holds && rowstream_end(&stream) == 0 &&
		is_told("0:1,2, 1:3,4, 2:5,6, "),
		"an early end is told, and feeding may go on");
}

static size_t make_fvecs(char *out, uint32_t dim, const float *row)
{
	memcpy(out, &dim, 4);
	memcpy(out + 4, row, dim * 4);
	return 4 + dim * 4;
}

static void test_fvecs(void)
{
	static const float rows[] = {1, 2, 3, INFINITY, 5, 6, 7};
	char body[200];
	size_t len = 0;

	for (int i = 0; i < 3; i++)
		len += make_fvecs(body + len, 2, rows + 2 * i);
	ok(feed_all(ROWSTREAM_FVECS, 0, body, len) == 0 && is_told("0:1,2, bad "
		"1 the number at index 1 is not finite as float32 2:5,6, "),
		"fvecs rows come, a bad one is named");
	ok(splits(ROWSTREAM_FVECS, body, len), "however the stream is cut");
	ok(feed_all(ROWSTREAM_FVECS, 0, body, len - 1) == -EINVAL &&
		strstr(stream.error, "ends inside row 2") &&
		feed(body + len - 1, 1, 0) == 0 && rowstream_end(&stream) == 0 &&
		told.n_rows == 2, "an early end is told, and feeding may go on");
	size_t more = make_fvecs(body + len, 1, rows);
	ok(feed_all(ROWSTREAM_FVECS, 0, body, len + more) == -EINVAL &&
		strstr(stream.error, "row 3, at byte 37, has 1 dimensions") &&
		told.n_rows == 2 && splits(ROWSTREAM_FVECS, body, len + more),
		"a row of another length ends the stream where it is");
	ok(feed_all(ROWSTREAM_FVECS, 3, body, len) == -EINVAL &&
		strstr(stream.error, "row 0, at byte 1, has 2") &&
		feed_all(ROWSTREAM_FVECS, 0, "\0\0\1\0xxxx", 8) == -EINVAL &&
		strstr(stream.error, "65536") &&
		feed_all(ROWSTREAM_FVECS, 0, "\0\0\0\0", 4) == -EINVAL,
		"so does one that cannot be right");
	ok(feed(body, 12, 0) == -EINVAL && told.n_rows == 0,
		"after which nothing is read any more");
}

static void test_bvecs(void)
{
	static const char body[] = "\3\0\0\0\0\1\xff\3\0\0\0abc\2\0\0\0xy";

	ok(feed_all(ROWSTREAM_BVECS, 0, body, 14) == 0 &&
		is_told("0:0,1,255, 1:97,98,99, "), "bvecs rows are bytes");
	ok(feed_all(ROWSTREAM_BVECS, 0, body, sizeof(body) - 1) == -EINVAL &&
		strstr(stream.error, "row 2, at byte 15, has 2 dimensions") &&
		splits(ROWSTREAM_BVECS, body, sizeof(body) - 1),
		"of one length, however the stream is cut");
	ok(feed_all(ROWSTREAM_BVECS, 0, "\0\0\0\0", 4) == -EINVAL &&
		strstr(stream.error, "no bvecs") &&
		feed_all(ROWSTREAM_BVECS, 3, body, 12) == -EINVAL &&
		strstr(stream.error, "inside row 1"),
		"what is none, or ends early, is told");
}

static void test_csv(void)
{
	static const char body[] = "\n\xef\xbb\xbfid,vector,x\r\na,\"1,2\",\"p\n"
		"q\"\r\n\nb,1,\n\"c\n\n\"\"\",\"3 4\",5\nd\"e,1 2,\n,,\ne,,7\n,5 6,";
	static const char want[] = "0:a=1,2,{\"x\":\"p\\nq\"} bad 6 this "
		"collection has 2 dimensions, the body has 1 number 2:c\n\n\"=3,4,"
		"{\"x\":5} bad 10 a quote is in a cell that does not begin with one "
		"bad 11 the row has neither a vector nor metadata 5:e={\"x\":7} "
		"6:5,6, ";

	ok(feed_all(ROWSTREAM_CSV, 0, body, sizeof(body) - 1) == 0 &&
		is_told(want), "rows of a CSV come, bad ones with their line");
	ok(splits(ROWSTREAM_CSV, body, sizeof(body) - 1),
		"however the stream is cut");
	ok(feed_all(ROWSTREAM_CSV, 0, "a\n1\n\"2", 6) == -EINVAL &&
		is_told("0:{\"a\":1} ") && strstr(stream.error,
			"inside line 3: a quote is not closed") &&
		feed("\n3\"\n", 4, 0) == 0 && rowstream_end(&stream) == 0 &&
		is_told("0:{\"a\":1} 1:{\"a\":\"2\\n3\"} "),
		"an early end is told, and feeding may go on");
	ok(feed_all(ROWSTREAM_CSV, 0, "a,a\n1,2\n", 8) == -EINVAL &&
		strstr(stream.error, "twice") && told.n_rows == 0 &&
		feed("b\n1\n", 4, 0) == -EINVAL,
		"without a header there are no rows");
}

/* Goes on from the mark behind each row with what is left of a CSV. */
static void test_csv_marks(void)
{
	static const char body[] = "v0,n\n1,\"a\nb\"\n2,c\n\n\"3\",d\n4,e\n";
	const size_t len = sizeof(body) - 1;
	struct rowstream_mark mark;
	char header[16], whole[256];
	bool all = true;

	must(feed_all(ROWSTREAM_CSV, 0, body, len) == 0);
	strcpy(whole, told.text);
	for (size_t cut = 1; cut < len; cut++) {
		char first[256];
		struct meta head;

		begin(ROWSTREAM_CSV, 0);
		must(feed(body, cut, 0) == 0);
		rowstream_get_mark(&stream, false, &mark);
		head = rowstream_get_head(&stream);
		must(head.len < sizeof(header) && mark.passed <= cut);
		if (head.len)
			memcpy(header, head.json, head.len);
		head.json = header;
		strcpy(first, told.text);
		begin(ROWSTREAM_CSV, 0);
		rowstream_put_mark(&stream, &mark);
		all &= (head.len > 0) == (mark.passed > 0);
		if (mark.passed)
			all &= rowstream_put_head(&stream, head) == 0;
		all &= feed(body + mark.passed, len - mark.passed, 0) == 0 &&
			rowstream_end(&stream) == 0 && stream.line == 8;
		strcat(first, told.text);
		all &= strcmp(first, whole) == 0;
	}
	ok(all, "a CSV goes on from any place, with its header");
}

/* As test_long_lines, with newlines in quotes in what is too long. */
static void test_long_csv_rows(void)
{
	size_t len = ROWSTREAM_LINE_MAX + 100;
	char *body = malloc(len + 8);
	static const size_t steps[] = {4095, 1000001, ROWSTREAM_LINE_MAX + 1,
		SIZE_MAX};
	bool holds = true;

	must(body);
	memset(body, '\n', len);
	memcpy(body, "n\n1\n\"", 5);
	memcpy(body + len, "\"\n2\n", 4);
	for (size_t i = 0; i < VG_ARRAY_LEN(steps); i++) {
		struct rowstream_mark mark;

		begin(ROWSTREAM_CSV, 0);
		for (size_t at = 0; at < len + 4; at += VG_MIN(steps[i], len + 4))
			holds &= feed(body + at, VG_MIN(len + 4 - at, steps[i]),
				0) == 0;
		rowstream_get_mark(&stream, false, &mark);
		holds &= is_told("0:{\"n\":1} bad 3 the line is longer than 4 "
				 "MiB 2:{\"n\":2} ") &&
			mark.line == len - 5 + 5 &&
			stream.held_cap <= 2 * ROWSTREAM_LINE_MAX;
	}
	ok(holds, "a row of too many lines is bad, and the next is found");
	begin(ROWSTREAM_CSV, 0);
	ok(feed(body + 4, len, 0) == -EINVAL &&
		strstr(stream.error, "the header is longer than 4 MiB"),
		"a header that is too long ends the stream");
	free(body);
}

static void test_ndjson(void)
{
	static const char body[] = "{\"id\":\"a\",\"vector\":[1,2],\"metadata\":"
		"{\"x\" : 1}}\r\n\n[3,4]\n{\"id\":7,\"metadata\":{\"y\":null}}\n"
		"{\"vector\":[1]}\nnonsense\n  \n{\"vektor\":[5,6]}\n"
		"{\"id\":\"b\",\"vector\":[5,6]}";
	ok(feed_all(ROWSTREAM_NDJSON, 0, body, strlen(body)) == 0 &&
		is_told("0:a=1,2,{\"x\":1} 1:3,4, 2:7={\"y\":null} "
		"bad 5 this collection has 2 dimensions, the body has 1 number "
		"bad 6 JSON: this is no JSON value at byte 1 "
		"bad 8 unknown member \"vektor\"; known are id, vector, metadata "
		"6:b=5,6, "), "lines are rows, bad ones are named");
	ok(splits(ROWSTREAM_NDJSON, body, strlen(body)),
		"however the stream is cut");

	begin(ROWSTREAM_NDJSON, 0);
	bool holds = feed("[1,2]\n[3,", 9, 0) == 0 &&
		rowstream_end(&stream) == -EINVAL &&
		strstr(stream.error, "inside line 2") &&
		feed("4]", 2, 0) == 0 && rowstream_end(&stream) == 0 &&
		feed("\n[5,6]\nx\n", 9, 0) == 0 && rowstream_end(&stream) == 0;
	ok(holds && is_told("0:1,2, 1:3,4, 2:5,6, bad 4 JSON: this is no JSON "
		"value at byte 1 "), "an end in the middle loses nothing");
}

static void test_long_lines(void)
{
	size_t len = ROWSTREAM_LINE_MAX + 100;
	char *body = malloc(len);

	must(body);
	memset(body, ' ', len);
	memcpy(body, "[1]\n[2]", 7);
	body[4 + ROWSTREAM_LINE_MAX] = '\n';
	memcpy(body + 4 + ROWSTREAM_LINE_MAX + 1, "[3]\n", 4);
	len = ROWSTREAM_LINE_MAX + 9;
	bool holds = feed_all(ROWSTREAM_NDJSON, 0, body, len) == 0 &&
		is_told("0:1, 1:2, 2:3, ");
	begin(ROWSTREAM_NDJSON, 0);
	for (size_t at = 0; at < len; at += 4096)
		holds &= feed(body + at, VG_MIN(len - at, (size_t)4096), 0) == 0;
	ok(holds && is_told("0:1, 1:2, 2:3, "), "a line of 4 MiB is taken");

	memmove(body + 5, body + 4, len - 4);
	static const char want[] = "0:1, bad 2 the line is longer than 4 MiB "
		"2:3, ";
	holds = feed_all(ROWSTREAM_NDJSON, 0, body, len + 1) == 0 &&
		is_told(want);
	static const size_t steps[] = {4096, 1000001, ROWSTREAM_LINE_MAX,
		ROWSTREAM_LINE_MAX + 1};
	for (size_t i = 0; i < VG_ARRAY_LEN(steps); i++) {
		begin(ROWSTREAM_NDJSON, 0);
		for (size_t at = 0; at < len + 1; at += steps[i])
			holds &= feed(body + at, VG_MIN(len + 1 - at, steps[i]),
				0) == 0;
		holds &= is_told(want) &&
			stream.held_cap <= 2 * ROWSTREAM_LINE_MAX;
	}
	ok(holds, "a longer one is bad, and the next is found");
	free(body);
}

static void test_stop(void)
{
	static const char body[] = "[1]\n[2]\n[3]\n";

	begin(ROWSTREAM_NDJSON, 0);
	told.stop_at = 2;
	ok(feed(body, strlen(body), 0) == -ENOSPC && told.n_rows == 1 &&
		feed(body, 4, 0) == -ENOSPC && rowstream_end(&stream) == -ENOSPC &&
		told.n_rows == 1, "a row that cannot be stored stops the stream");
}

int main(void)
{
	plan(32);
	rng = seed();
	rowstream_init(&stream, ROWSTREAM_NPY, VG_F32, 0, &calls);
	test_npy();
	test_npy_end();
	test_fvecs();
	test_bvecs();
	test_csv();
	test_csv_marks();
	test_long_csv_rows();
	test_ndjson();
	test_long_lines();
	test_stop();
	rowstream_fini(&stream);
	rowstream_fini(&stream);
	return done();
}
