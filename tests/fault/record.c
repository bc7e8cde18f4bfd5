/* SPDX-License-Identifier: Apache-2.0 */
/* record.c: bodies, metadata and imports where any allocation fails. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/meta.h"
#include "src/record.h"
#include "src/rowstream.h"
#include "tests/memkit.h"
#include "tests/tap.h"

static char object[40000], text[20000], lines[60000], npy[5000], many[40000];

static void make_bodies(void)
{
	size_t n = 0;

	for (int i = 0; i < 2000; i++)
		n += (size_t)sprintf(text + n, "%d.5,", i);
	n = (size_t)sprintf(object, "{\"vector\":[");
	for (int i = 0; i < 2000; i++)
		n += (size_t)sprintf(object + n, "%d,", i);
	n--;
	n += (size_t)sprintf(object + n, "],\"metadata\":{");
	for (int i = 0; i < 100; i++)
		n += (size_t)sprintf(object + n, "\"k\\u0041%d\":%d,\"k\\u0041%d\""
			":[\"a\\u0042\"],", i, i, i);
	sprintf(object + n - 1, "},\"id\":\"x\"}");
	n = 0;
	for (int i = 0; i < 20; i++)
		n += (size_t)sprintf(lines + n, "{\"vector\":[%d.%0500d],"
			"\"metadata\":{\"a\":%d}}\n", i, i, i);
	record_npy_header(npy, VG_F32, 1, 600);
	memset(npy + 128, 0, 2400);
	n = 0;
	for (int i = 0; i < 1000; i++)
		n += (size_t)sprintf(many + n, "[%d,2]\n", i);
}

struct scene {
	const char *name;
	int (*play)(void);
};

static struct record_parser parser;

static int play_object(void)
{
	struct record r;

	return record_parse(&parser, RECORD_ANY, object, strlen(object), 2000,
		&r);
}

static int play_text(void)
{
	struct record r;

	return record_parse(&parser, RECORD_ANY, text, strlen(text), 0, &r);
}

static int play_npy(void)
{
	struct record r;

	return record_parse(&parser, RECORD_ANY, npy, 128 + 2400, 0, &r);
}

static int play_raw(void)
{
	struct record r;

	return record_parse(&parser, RECORD_RAW, npy + 128, 2400, 600, &r);
}

static int play_probe(void)
{
	return record_probe(&parser, RECORD_ANY, object, 9000, 2000);
}

static int play_batch(void)
{
	struct record_batch b;

	return record_parse_batch(&parser, many, strlen(many), 2, &b);
}

static int keep(void *ctx, const struct record *r, uint64_t number)
{
	(void)ctx, (void)r, (void)number;
	return 0;
}

static void none_is_bad(void *ctx, uint64_t place, const char *why)
{
	(void)ctx;
	diag("row %llu is bad: %s", (unsigned long long)place, why);
	must(false);
}

static int stream_in_pieces(enum rowstream_kind kind, const char *bytes,
	size_t len)
{
	static const struct rowstream_calls calls = {keep, none_is_bad, NULL};
	struct rowstream s;
	int rc = 0;

	rowstream_init(&s, kind, VG_F32, 0, &calls);
	for (size_t at = 0; at < len && rc == 0; at += 97)
		rc = rowstream_feed(&s, bytes + at, VG_MIN(len - at, (size_t)97));
	if (rc == 0)
		rc = rowstream_end(&s);
	rowstream_fini(&s);
	return rc;
}

static int play_ndjson(void)
{
	/* The line cut off at the end is held and given at the end. */
	return stream_in_pieces(ROWSTREAM_NDJSON, lines, strlen(lines) - 1);
}

static int play_npy_stream(void)
{
	return stream_in_pieces(ROWSTREAM_NPY, npy, 128 + 2400);
}

static int play_csv(void)
{
	static const char rows[] = "id,v1,v0,\"a,\"\"b\",tags\n"
		"\"x,y\",1,2,\"say \"\"hi\"\"\",\"[1,2]\"\nz,3,4,plain,\n";

	return stream_in_pieces(ROWSTREAM_CSV, rows, sizeof(rows) - 1);
}

static int play_bvecs(void)
{
	return stream_in_pieces(ROWSTREAM_BVECS, "\2\0\0\0ab\2\0\0\0cd", 12);
}

static int play_meta(void)
{
	static const char old[] = "{\"a\":1,\"b\\\"\":2}";
	struct meta_buf a = {0}, b = {0}, c = {0};
	const char *why = NULL, *begin = strstr(object, "{\"k");
	int rc = meta_parse(begin, strlen(begin) - 10, &a, &why);

	if (rc == 0)
		rc = meta_merge((struct meta){old, sizeof(old) - 1},
			(struct meta){a.bytes, (uint32_t)a.len}, &b);
	if (rc == 0)
		rc = meta_set((struct meta){b.bytes, (uint32_t)b.len},
			(struct vg_id){"kA7", 3}, (struct meta){NULL, 0}, &c);
	free(a.bytes);
	free(b.bytes);
	free(c.bytes);
	return rc;
}

static int see(void *ctx, struct vg_id key, struct meta value)
{
	(void)ctx, (void)key, (void)value;
	return 0;
}

static int play_texts(void)
{
	static const char escaped[] = "{\"a\\\"\":1,\"b\":2}";
	struct meta_buf a = {0}, b = {0};
	int rc = meta_from_text("\"12\"", 4, &a);

	if (rc == 0)
		rc = meta_to_text((struct meta){a.bytes, (uint32_t)a.len}, &b);
	if (rc == 0)
		rc = meta_each((struct meta){escaped, sizeof(escaped) - 1},
			see, NULL);
	free(a.bytes);
	free(b.bytes);
	return rc;
}

static const struct scene scenes[] = {
	{"an object", play_object}, {"text", play_text}, {"npy", play_npy},
	{"raw", play_raw}, {"a probe", play_probe}, {"a batch", play_batch},
	{"a CSV stream", play_csv}, {"a bvecs stream", play_bvecs},
	{"an ndjson stream", play_ndjson}, {"an npy stream", play_npy_stream},
	{"metadata", play_meta}, {"attributes", play_texts}};

/* Fails the 1st, 2nd, ... allocation until the scene needs no more. */
static void test_scene(const struct scene *scene)
{
	bool holds = true, is_clean = true, is_last = false;
	long n;

	for (n = 0; n < 1000 && !is_last; n++)
		for (int k = 0; k < 2; k++) {
			record_parser_init(&parser);
			mem_arm(n + 1, (n + k) % 2);
			int rc = scene->play();
			mem_disarm();
			is_last = mem_failed() == 0;
			holds &= rc == (is_last ? 0 : -ENOMEM);
			holds &= scene->play() == 0;
			record_parser_fini(&parser);
			is_clean &= mem_alive() == 0;
		}
	ok(holds && n > 1 && is_last, "%s: each of %ld allocations may fail, "
		"and the next call works", scene->name, n - 1);
	ok(is_clean, "%s: nothing leaks", scene->name);
}

int main(void)
{
	plan(2 * (int)VG_ARRAY_LEN(scenes));
	make_bodies();
	for (size_t i = 0; i < VG_ARRAY_LEN(scenes); i++)
		test_scene(&scenes[i]);
	return done();
}
