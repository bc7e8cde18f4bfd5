/* SPDX-License-Identifier: Apache-2.0 */
/* record.c: what a body means, what is refused and how it is said. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/number.h"
#include "src/record.h"
#include "src/record_npy.h"
#include "tests/tap.h"

static struct record_parser parser;
static struct record rec;
static const float one_two_three[] = {1, 2, 3};

/* The body is copied to exactly its size, for the sanitizer to watch. */
static int parse_len(enum record_form form, const void *body, size_t len,
	uint32_t dim)
{
	void *copy = malloc(len ? len : 1);
	int rc;

	must(copy);
	if (len)
		memcpy(copy, body, len);
	parser.error[0] = 0;
	memset(&rec, 0xee, sizeof(rec));
	rc = record_parse(&parser, form, copy, len, dim, &rec);
	free(copy);
	return rc;
}

static int parse(const char *text, uint32_t dim)
{
	return parse_len(RECORD_ANY, text, strlen(text), dim);
}

/* Whether text is 1, 2, 3 from such a source. */
static bool is_123(const char *text, uint32_t dim, enum op_source source)
{
	bool holds = parse(text, dim) == 0 && rec.dim == 3 && rec.vec &&
		memcmp(rec.vec, one_two_three, 12) == 0 &&
		rec.source == source;

	if (!holds)
		diag("%s: %s", text, parser.error);
	return holds;
}

static bool refuses_len(enum record_form form, const void *body, size_t len,
	uint32_t dim, const char *sentence)
{
	bool holds = parse_len(form, body, len, dim) == -EINVAL &&
		strstr(parser.error, sentence);

	if (!holds)
		diag("\"%s\" instead of \"%s\"", parser.error, sentence);
	return holds;
}

static bool refuses(const char *text, uint32_t dim, const char *sentence)
{
	return refuses_len(RECORD_ANY, text, strlen(text), dim, sentence);
}

static void test_text(void)
{
	ok(is_123("1,2,3\n", 3, OP_SOURCE_TEXT) &&
		is_123("1 2 3", 0, OP_SOURCE_TEXT) &&
		is_123("1;2;3", 3, OP_SOURCE_TEXT) &&
		is_123("\t1\r\n2 ,\n 3,\n", 3, OP_SOURCE_TEXT) &&
		is_123("1.0,2.0,3.0\n", 3, OP_SOURCE_TEXT) &&
		is_123("+1 .2e1 30E-1", 3, OP_SOURCE_TEXT),
		"numbers with any separator are a vector");
	ok(parse("1.0,2.0,3.", 3) == 0 && rec.source == OP_SOURCE_TEXT &&
		parse_len(RECORD_ANY, "1.5,2.5,3.5\n", 12, 3) == 0 &&
		rec.source == OP_SOURCE_TEXT,
		"twelve bytes of text are text, not raw");
	ok(parse_len(RECORD_ANY, "1111222233334444", 16, 4) == 0 &&
		rec.source == OP_SOURCE_RAW && rec.dim == 4 &&
		memcmp(rec.vec, "1111222233334444", 16) == 0,
		"digits that are no four numbers, but their size, are raw");
	ok(refuses("1,2,3,4", 3, "this collection has 3 dimensions, the body "
		"has 4 numbers") && refuses("1", 2, "has 1 number") &&
		refuses("1 2", 1, "has 1 dimension, the"),
		"a wrong count is told");
	ok(refuses("1,,2", 2, "missing before byte 3") &&
		refuses(",1,2", 2, "missing before byte 1") &&
		refuses("1-2", 2, "'-' at byte 2") &&
		refuses("1.2.3", 2, "'.' at byte 4") &&
		refuses("1,e5", 2, "'e' at byte 3") &&
		refuses("1,2e", 2, "cut off") &&
		refuses("1,1e39", 2, "beyond float32's range") &&
		refuses(" \n", 2, "no numbers"),
		"what is no number is told with its place");
	ok(refuses("1,2,x\n", 3, "'x' at byte 5 is no part of a number") &&
		refuses("hello world\n", 0, "'h' at byte 1") &&
		refuses("1,nan,3\n", 3, "'n' at byte 3"),
		"typed words are not taken for raw");
	ok(refuses("", 3, "empty") && refuses("", 0, "empty"),
		"nothing is no vector");
}

static void test_raw(void)
{
	float vec[384];

	for (int i = 0; i < 384; i++)
		vec[i] = (float)i * -0.25f;
	ok(parse_len(RECORD_ANY, vec, sizeof(vec), 384) == 0 &&
		rec.source == OP_SOURCE_RAW && rec.dim == 384 &&
		memcmp(rec.vec, vec, sizeof(vec)) == 0, "raw is kept bit for bit");
	ok(parse_len(RECORD_ANY, vec, 40, 0) == 0 && rec.dim == 10,
		"without a dimension its size tells it");
	ok(refuses_len(RECORD_ANY, vec, 41, 0, "no multiple of 4") &&
		refuses_len(RECORD_ANY, vec, 384, 384, "1,536 bytes"),
		"a wrong size is told");
	ok(refuses_len(RECORD_ANY, vec, 1536, 192, "1,536 bytes = 192 float64 "
		"numbers; write float32, e.g. numpy .astype('<f4')") &&
		refuses_len(RECORD_ANY, vec, 768, 384, "float16"),
		"float64 is recognised by its size");
	vec[17] = NAN;
	ok(refuses_len(RECORD_ANY, vec, sizeof(vec), 384, "index 17"),
		"NaN is refused with its index");
	vec[17] = -INFINITY;
	ok(refuses_len(RECORD_RAW, vec, sizeof(vec), 384, "index 17"),
		"so is infinity");
	ok(parse_len(RECORD_RAW, "1,2,3,4\n", 8, 2) == 0 &&
		memcmp(rec.vec, "1,2,3,4\n", 8) == 0 &&
		parse_len(RECORD_RAW, "abcdefg\n", 8, 0) == 0 && rec.dim == 2,
		"as raw nothing is guessed");
}

static void test_json(void)
{
	ok(is_123("[1,2,3]", 3, OP_SOURCE_JSON) &&
		is_123(" {\"vector\":[1,2,3.0]}\n", 0, OP_SOURCE_JSON) &&
		!rec.meta && rec.id.len == 0, "an array is a vector");
	ok(is_123("{\"id\":\"a\",\"vector\":[1,2,3],\"metadata\":{\"x\" : 1,"
		"\"y\":null}}", 3, OP_SOURCE_JSON) && rec.id.len == 1 &&
		rec.id.bytes[0] == 'a' && rec.meta_len == 16 &&
		memcmp(rec.meta, "{\"x\":1,\"y\":null}", 16) == 0,
		"an object has metadata and an id, too");
	ok(parse("{\"metadata\":{\"x\":1}}", 5) == 0 && !rec.vec &&
		rec.dim == 0 && rec.source == 0 && rec.meta_len == 7,
		"without a vector it is metadata, even in a raw one's size");
	ok(is_123("{\"vector\":[9],\"vector\":[1,2,3]}", 0, OP_SOURCE_JSON) &&
		parse("{\"vector\":null,\"metadata\":null,\"id\":null}", 3) == 0 &&
		!rec.vec && !rec.meta && rec.id.len == 0,
		"the last of two counts, null counts for nothing");
	ok(refuses("{\"vektor\":[1]}", 0, "unknown member \"vektor\"; known "
		"are id, vector, metadata") && refuses("{\"embedding\":[1]}",
		1, "\"embedding\""), "an unknown member is named");
	ok(refuses("{}", 0, "neither") && refuses("{\"id\":\"a\"}", 0,
		"neither") && refuses("{\"vector\":1}", 0, "no JSON array") &&
		refuses("{\"metadata\":[]}", 0, "no JSON object") &&
		refuses("[1,2] x", 2, "follows the JSON value at byte 7") &&
		refuses("[1,\"2\"]", 2, "no number at byte 4") &&
		refuses("[1,NaN]", 2, "no number at byte 4") &&
		refuses("[1, 1e39]", 2, "beyond") && refuses("[]", 0, "no numbers") &&
		refuses("[1,2", 2, "too early") && refuses("[[1,2]]", 2,
		"no number") && refuses("{\"metadata\":{\"a\":\"\\ud800\"}}", 0,
		"surrogate"), "what is wrong is told with its place");
	ok(refuses_len(RECORD_JSON, "12", 2, 1, "expected") &&
		refuses_len(RECORD_TEXT, "[1]", 3, 1, "'[' at byte 1"),
		"a form that is asked for is not guessed");
}

static bool has_id(const char *text, const char *id, size_t len)
{
	char line[2000];

	snprintf(line, sizeof(line), "{\"id\":%s,\"vector\":[1]}", text);
	return record_parse_row(&parser, line, strlen(line), 1, &rec) == 0 &&
		rec.id.len == len && memcmp(rec.id.bytes, id, len) == 0;
}

static bool has_no_id(const char *text, const char *sentence)
{
	char line[2000];

	snprintf(line, sizeof(line), "{\"id\":%s,\"vector\":[1]}", text);
	return refuses_len(RECORD_JSON, line, strlen(line), 1, sentence);
}

static void test_ids(void)
{
	char long_id[300];

	ok(has_id("\"doc 7/\\u00e9\"", "doc 7/\xc3\xa9", 8) &&
		has_id("42", "42", 2) && has_id("-7", "-7", 2) &&
		has_id("12345678901234567890123", "12345678901234567890123",
			23), "an id is a string or a whole number's digits");
	ok(has_id("\"\\udcff\\udc80x\"", "\xff\x80x", 3),
		"any bytes, as Python escapes them");
	ok(has_no_id("1.5", "fraction") && has_no_id("1e5", "fraction") &&
		has_no_id("\"\"", "empty") && has_no_id("true", "neither") &&
		has_no_id("[1]", "neither") && has_no_id("\"a\\u0000\"", "NUL") &&
		has_no_id("\"\\ud800\"", "surrogate"),
		"other things are refused");
	snprintf(long_id, sizeof(long_id), "\"%0255d\"", 7);
	bool fits = has_id(long_id, long_id + 1, 255);
	snprintf(long_id, sizeof(long_id), "\"%0256d\"", 7);
	ok(fits && has_no_id(long_id, "longer than 255"),
		"255 bytes fit, 256 do not");
	char escaped[255 * 6 + 3];
	for (int i = 0; i < 255; i++)
		memcpy(escaped + 1 + i * 6, "\\udcff", 6);
	escaped[0] = escaped[255 * 6 + 1] = '"';
	escaped[255 * 6 + 2] = 0;
	memset(long_id, 0xff, 255);
	ok(has_id(escaped, long_id, 255), "also if each byte is escaped");
}

/* A version `major` npy with the given dict and bytes of numbers. */
static size_t make_npy(char *out, int major, const char *dict,
	const void *numbers, size_t len)
{
	size_t text = strlen(dict) + 1, at = 0;

	memcpy(out, "\x93NUMPY", 6);
	at = 6;
	out[at++] = (char)major;
	out[at++] = 0;
	out[at++] = (char)(text & 255);
	out[at++] = (char)(text >> 8);
	if (major > 1) {
		out[at++] = 0;
		out[at++] = 0;
	}
	at += (size_t)sprintf(out + at, "%s\n", dict);
	memcpy(out + at, numbers, len);
	return at + len;
}

static int parse_npy(const char *descr, const void *numbers, size_t len,
	uint32_t dim)
{
	char body[512], dict[200];

	snprintf(dict, sizeof(dict),
		"{'descr': '%s', 'fortran_order': False, 'shape': (3,), }",
		descr);
	return parse_len(RECORD_ANY, body,
		make_npy(body, 1, dict, numbers, len), dim);
}

static void swap(void *bytes, size_t n, size_t size)
{
	char *b = bytes;

	for (size_t i = 0; i < n; i++, b += size) {
		for (size_t k = 0; k < size / 2; k++) {
			char c = b[k];
			b[k] = b[size - 1 - k];
			b[size - 1 - k] = c;
		}
	}
}

static float number(size_t i)
{
	return ((const float *)rec.vec)[i];
}

static bool is_npy_123(const char *descr, void *numbers, size_t size)
{
	char name[8];
	bool holds = true;

	for (const char *order = size > 1 ? "<>=" : "|"; *order; order++) {
		snprintf(name, sizeof(name), "%c%s", *order, descr);
		if (*order == '>')
			swap(numbers, 3, size);
		holds &= parse_npy(name, numbers, 3 * size, 3) == 0 &&
			rec.source == OP_SOURCE_NPY && rec.dim == 3 &&
			memcmp(rec.vec, one_two_three, 12) == 0;
		if (*order == '>')
			swap(numbers, 3, size);
		if (!holds)
			diag("%s: %s", name, parser.error);
	}
	return holds;
}

static void test_npy_dtypes(void)
{
	uint16_t f2[] = {0x3c00, 0x4000, 0x4200};
	float f4[] = {1, 2, 3};
	double f8[] = {1, 2, 3};
	int8_t i1[] = {1, 2, 3};
	int16_t i2[] = {1, 2, 3};
	int32_t i4[] = {1, 2, 3};
	int64_t i8[] = {1, 2, 3};

	ok(is_npy_123("f2", f2, 2) && is_npy_123("f4", f4, 4) &&
		is_npy_123("f8", f8, 8), "floats of 16, 32 and 64 bits");
	ok(is_npy_123("i1", i1, 1) && is_npy_123("i2", i2, 2) &&
		is_npy_123("i4", i4, 4) && is_npy_123("i8", i8, 8) &&
		is_npy_123("u1", i1, 1) && is_npy_123("u2", i2, 2) &&
		is_npy_123("u4", i4, 4) && is_npy_123("u8", i8, 8),
		"integers of any size");
	bool flags[] = {true, false, true};
	ok(parse_npy("|b1", flags, 3, 3) == 0 && number(0) == 1 &&
		number(1) == 0 && number(2) == 1, "booleans are 0 and 1");

	int64_t limits[] = {INT64_MIN, -1, INT64_MAX};
	bool holds = parse_npy("<i8", limits, 24, 3) == 0 &&
		number(0) == -0x1p63f && number(1) == -1 &&
		number(2) == 0x1p63f;
	holds &= parse_npy("<u8", limits, 24, 3) == 0 &&
		number(0) == 0x1p63f && number(1) == 0x1p64f;
	int8_t bytes[] = {-128, 127, -1};
	holds &= parse_npy("|i1", bytes, 3, 3) == 0 && number(0) == -128 &&
		number(2) == -1;
	holds &= parse_npy("|u1", bytes, 3, 3) == 0 && number(0) == 128 &&
		number(2) == 255;
	ok(holds, "their signs and borders are kept");

	uint16_t halves[] = {0x8001, 0x7bff, 0x83ff};
	ok(parse_npy("<f2", halves, 6, 3) == 0 && number(0) == -0x1p-24f &&
		number(1) == 65504 && number(2) == -1023 * 0x1p-24f,
		"subnormal and largest halves");
	uint16_t inf[] = {0, 0x7c00, 0};
	double large[] = {0, 0, 3.5e38}, exact[] = {1e-300, 0.1, 3.4e38};
	ok(parse_npy("<f2", inf, 6, 3) == -EINVAL &&
		strstr(parser.error, "index 1") &&
		parse_npy("<f8", large, 24, 3) == -EINVAL &&
		strstr(parser.error, "index 2") &&
		parse_npy("<f8", exact, 24, 3) == 0 && number(0) == 0 &&
		number(1) == 0.1f, "what is not finite as float32 is refused");
	ok(parse_npy("|V1", i1, 3, 3) == -EINVAL &&
		parse_npy("<c8", f8, 24, 3) == -EINVAL &&
		parse_npy("|S3", f8, 9, 3) == -EINVAL &&
		parse_npy("<f16", f8, 24, 3) == -EINVAL &&
		strstr(parser.error, ".astype('<f4')"),
		"bool, complex and strings are refused");
}

static int parse_dict(int major, const char *dict)
{
	char body[1024];

	return parse_len(RECORD_ANY, body,
		make_npy(body, major, dict, one_two_three, 12), 3);
}

static void test_npy_header(void)
{
	static const char *const right[] = {
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
		"{\"shape\":(1,3),\"fortran_order\":False,\"descr\":\"<f4\"}",
		"{'descr': '<f4', 'fortran_order': True, 'shape': (1L, 3L,)}",
		"{ 'descr' : '<f4' , 'fortran_order':True,'shape':(3,)}      "};
	static const char *const wrong[] = {"", "{}", "{'descr': '<f4'}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 3), }",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (1e3,), }",
		"{'descr':'<f4','fortran_order':0,'shape':(3,)}",
		"{'descr':'<f4','shape':(99999999999999999999,)}",
		"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,), }",
		"{'descr': [('x','<f4')], 'fortran_order': False, 'shape': (3,)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x':1}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x",
		"__import__('os').system('false')"};
	bool holds = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(right); i++) {
		for (int major = 1; major <= 3; major++)
			holds &= parse_dict(major, right[i]) == 0 &&
				memcmp(rec.vec, one_two_three, 12) == 0;
	}
	ok(holds, "headers of all versions and spellings are read");
	holds = true;
	for (size_t i = 0; i < VG_ARRAY_LEN(wrong); i++)
		holds &= parse_dict(1, wrong[i]) == -EINVAL &&
			parse_dict(2, wrong[i]) == -EINVAL;
	ok(holds && parse_dict(4, right[0]) == -EINVAL,
		"headers that are none, or of several rows, are refused");

	char body[300], header[RECORD_NPY_HEADER_LEN];
	struct record_npy npy;
	const char *why;
	ok(record_npy_header(header, VG_F32, 60000, 784) == 128 &&
		memcmp(header, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', "
			"'fortran_order': False, 'shape': (60000, 784), }  ",
			73) == 0 && header[127] == '\n' && header[126] == ' ',
		"our header, byte for byte");
	ok(record_npy_parse(header, 128, &npy, &why) == 0 && npy.rows == 60000 &&
		npy.dim == 784 && record_npy_is_f32(&npy) &&
		npy.header_len == 128 &&
		record_npy_header(header, VG_F32, UINT64_MAX - 1, 65535) == 128 &&
		header[127] == '\n', "is read as what it says, and always fits");
	holds = true;
	record_npy_header(header, VG_F32, 1, 3);
	for (size_t n = 0; n < 128; n++) {
		memcpy(body, header, n);
		holds &= record_npy_parse(body, n, &npy, &why) == -EAGAIN;
	}
	ok(holds, "each beginning of a header is told to go on");
	memcpy(body, header, 128);
	memcpy(body + 128, one_two_three, 12);
	holds = true;
	for (size_t n = 1; n < 140; n++)
		holds &= parse_len(RECORD_ANY, body, n, 30) == -EINVAL ||
			n == 120;
	ok(holds && parse_len(RECORD_ANY, body, 141, 3) == -EINVAL &&
		parse_len(RECORD_ANY, body, 140, 3) == 0,
		"a body that is cut or goes on is refused");
}

/* A flipped bit of a header is refused, or says something else in range. */
static void test_npy_flip(void)
{
	char body[140];
	bool holds = true;

	record_npy_header(body, VG_F32, RECORD_NPY_VECTOR, 3);
	memcpy(body + 128, one_two_three, 12);
	for (size_t bit = 0; bit < 128 * 8; bit++) {
		body[bit / 8] = (char)(body[bit / 8] ^ 1 << bit % 8);
		int rc = parse_len(RECORD_NPY, body, sizeof(body), 0);
		holds &= rc == -EINVAL || (rc == 0 && rec.dim <= 6);
		body[bit / 8] = (char)(body[bit / 8] ^ 1 << bit % 8);
	}
	ok(holds, "any flipped bit of a header does no harm");
}

static bool probes(const char *text, uint32_t dim, int rc)
{
	int got = record_probe(&parser, RECORD_ANY, text, strlen(text), dim);

	if (got != rc)
		diag("%s: %d %s", text, got, parser.error);
	return got == rc;
}

static void test_probe(void)
{
	static const char *const whole[] = {"1.5e-3,2,\n 3 ,4;5\r\n6\n",
		("{\"metadata\":{\"a\":[1,\"\xc3\xa9\\u00e9\"]},\"id\":\"\\udc80\","
		"\"vector\":[1,2,3e5,-4,5,6.5]}\n"), " [ 1,2,3,4,5,6 ]\n"};
	bool holds = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(whole); i++) {
		for (size_t n = 0; n <= strlen(whole[i]); n++) {
			char *copy = malloc(n + 1);
			must(copy);
			memcpy(copy, whole[i], n);
			for (uint32_t dim = 0; dim <= 6; dim += 6)
				holds &= record_probe(&parser, RECORD_ANY, copy,
					n, dim) == 0;
			free(copy);
		}
		holds &= parse(whole[i], 6) == 0;
	}
	char npy[152];
	record_npy_header(npy, VG_F32, 1, 6);
	memset(npy + 128, 0, 24);
	for (size_t n = 0; n <= sizeof(npy); n++)
		holds &= record_probe(&parser, RECORD_ANY, npy, n, 6) == 0;
	ok(holds, "each beginning of a right body may go on");
	ok(probes("1,2,x\n", 3, -EINVAL) && probes("hello\n", 3, -EINVAL) &&
		probes("1,2,x\n", 0, -EINVAL) && probes("[1,2,x]\n", 384, -EINVAL),
		"typed words are refused at once");
	ok(probes("1,2,3,4\n", 3, -EINVAL) && probes("[1,2,3,4,", 2, -EINVAL) &&
		probes("[1,2,3,4]\n", 3, -EINVAL) && probes("1 2 3 4 5", 2,
		-EINVAL) && probes("[1,2]\n", 3, -EINVAL),
		"so are too many numbers, and a closed array of too few");
	ok(probes("1\n2\n", 3, 0) && probes("1,2,3.", 3, 0) &&
		probes("x", 3, 0) && probes("x\n", 384, 0),
		"too few may go on, and what could become raw");
	ok(probes("\x01\x02", 384, 0) && probes("\x01\x02\x03\x04\x05", 1,
		-EINVAL) && record_probe(&parser, RECORD_RAW, "123456789", 9, 2) ==
		-EINVAL && record_probe(&parser, RECORD_RAW, "hello\n", 6, 2) == 0,
		"raw is refused when it is too long");
	ok(record_probe(&parser, RECORD_JSON, "{\"vek\":", 7, 2) == -EINVAL &&
		record_probe(&parser, RECORD_TEXT, "12", 2, 0) == 0 &&
		record_probe(&parser, RECORD_TEXT, "1x2,", 4, 0) == -EINVAL &&
		record_probe(&parser, RECORD_NPY, "PK", 2, 0) == -EINVAL,
		"a form that is asked for is held to");
}

static const char *formatted(enum record_form form, const char *meta)
{
	static char out[512];
	static const float vec[] = {1, -0.07f, 1e-10f};
	static const struct record_row row = {vec, 3, VG_F32};
	struct record_meta m = {meta, meta ? (uint32_t)strlen(meta) : 0};
	size_t n = record_format(form, &row, &m, NULL, 0);

	must(n < sizeof(out) - 1);
	/* Each smaller room gets the beginning and no byte more. */
	for (size_t cap = 0; cap <= n; cap++) {
		memset(out, 'Z', sizeof(out));
		must(record_format(form, &row, &m, out, cap) == n);
		must(out[cap] == 'Z');
	}
	out[n] = 0;
	must(parse_len(form, out, n, 3) == 0);
	must(memcmp(rec.vec, vec, sizeof(vec)) == 0);
	return out;
}

static void test_format(void)
{
	ok(strcmp(formatted(RECORD_TEXT, NULL), "1,-0.07,1e-10\n") == 0,
		"text is numbers and commas");
	ok(strcmp(formatted(RECORD_JSON, NULL),
		"{\"vector\":[1,-0.07,1e-10]}\n") == 0 &&
		strcmp(formatted(RECORD_JSON, "{\"a\":1}"),
		"{\"vector\":[1,-0.07,1e-10],\"metadata\":{\"a\":1}}\n") == 0,
		"JSON has metadata where there is some");
	ok(memcmp(formatted(RECORD_NPY, NULL), "\x93NUMPY\x01\x00\x76\x00"
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
		67) == 0, "npy is a vector of one dimension");
	ok(memcmp(formatted(RECORD_RAW, NULL), "\x00\x00\x80\x3f", 4) == 0,
		"raw is the bytes; all of them read back as they were");
}

static struct record_batch batch;

static void *batch_body; /* what batch may borrow of, until the next one */

static int parse_batch(const void *body, size_t len, uint32_t dim)
{
	free(batch_body);
	batch_body = malloc(len ? len : 1);
	must(batch_body);
	memcpy(batch_body, body, len);
	parser.error[0] = 0;
	return record_parse_batch(&parser, batch_body, len, dim, &batch);
}

/* Whether text is n rows of two numbers: 1 2, 3 4, ... */
static bool is_rows(const char *text, uint32_t dim, uint32_t n)
{
	bool holds = parse_batch(text, strlen(text), dim) == 0 &&
		batch.n == n && batch.dim == 2;

	for (uint32_t i = 0; holds && i < n * 2; i++)
		holds = ((const float *)batch.vecs)[i] == (float)(i + 1);
	if (!holds)
		diag("%s: %s", text, parser.error);
	return holds;
}

static bool no_rows(const char *text, uint32_t dim, const char *sentence)
{
	int rc = parse_batch(text, strlen(text), dim);

	if (rc != -EINVAL || !strstr(parser.error, sentence))
		diag("%s: %d %s", text, rc, parser.error);
	return rc == -EINVAL && strstr(parser.error, sentence);
}

static void test_batch_text(void)
{
	ok(is_rows("1,2\n3,4\n5,6\n", 2, 3) && is_rows("1 2\r\n\n3 4", 0, 2) &&
		is_rows("1 2", 2, 1) && is_rows("1\n2\n", 2, 1),
		"a line of text is a vector, or all lines one");
	ok(no_rows("1,2\n3\n", 2, "line 2") && no_rows("1,2\n3,4,5\n", 0,
		"line 2") && no_rows("1,2,3\n4,5,6\n", 2, "has 3 numbers") &&
		no_rows("1,2\n3,x\n", 2, "'x' at byte 7") &&
		no_rows("\n", 2, "no numbers"), "lines have one length");
	ok(is_rows("[1,2]\n[3,4]\n", 2, 2) && is_rows("[[1,2],[3,4]]", 0, 2) &&
		is_rows("{\"vector\":[1,2],\"id\":7}\n\n{\"vector\":[3,4]}", 2, 2) &&
		is_rows("[1,\n2]", 2, 1) && is_rows("[ [1,2] ]", 2, 1),
		"so do arrays and objects, a line each or nested");
	ok(no_rows("[1,2]\n[3]\n", 2, "vector 1:") &&
		no_rows("[[1,2],[3]]", 0, "vector 1:") &&
		no_rows("[[1,2],3]", 2, "vector 1") &&
		no_rows("[[1,2],[3,4]", 2, "too early") &&
		no_rows("[[1,2]] 7", 2, "follows") && no_rows("[]", 2, "no numbers") &&
		no_rows("[1,2]\n{\"metadata\":{}}", 2, "no vector") &&
		no_rows("", 2, "empty"), "what is none is told with its number");
}

static void test_batch_binary(void)
{
	const float rows[] = {1, 2, 3, 4, 5, 6};
	_Alignas(float) char body[300];

	ok(parse_batch(rows, 24, 2) == 0 && batch.n == 3 && batch.dim == 2 &&
		memcmp(batch.vecs, rows, 24) == 0 &&
		parse_batch(rows, 24, 0) == 0 && batch.n == 1 && batch.dim == 6,
		"raw is rows where the dimension is known");
	ok(parse_batch(rows, 24, 2) == 0 && batch.vecs == batch_body,
		"they are not copied");
	memcpy(body + 1, rows, 24);
	ok(record_parse_batch(&parser, body + 1, 24, 2, &batch) == 0 &&
			batch.vecs != body + 1 &&
			memcmp(batch.vecs, rows, 24) == 0,
		"but where they stand as no floats may");
	record_npy_header(body, VG_F32, 3, 2);
	memcpy(body + 128, rows, 24);
	ok(parse_batch(body, 152, 2) == 0 && batch.n == 3 &&
		memcmp(batch.vecs, rows, 24) == 0 &&
		parse_batch(body, 152, 0) == 0 && batch.dim == 2 &&
		parse_batch(body, 152, 3) == -EINVAL &&
		parse_batch(body, 151, 2) == -EINVAL, "npy has its own shape");
	record_npy_header(body, VG_F32, 1ull << 40, 2);
	ok(parse_batch(body, 152, 2) == -EINVAL &&
		strstr(parser.error, "100,000"), "and its size is bounded");
	for (int i = 0; i < 3; i++) {
		memcpy(body + i * 12, "\x02\0\0\0", 4);
		memcpy(body + i * 12 + 4, rows + i * 2, 8);
	}
	ok(parse_batch(body, 36, 2) == 0 && batch.n == 3 &&
		memcmp(batch.vecs, rows, 24) == 0, "fvecs is recognised");
	float bad[] = {1, 2, 3, NAN};
	ok(parse_batch(bad, 16, 2) == -EINVAL &&
		strstr(parser.error, "vector 1: the number at index 1") &&
		parse_batch(bad, 15, 2) == -EINVAL &&
		parse_batch("1,2\n3,x\n", 8, 2) == -EINVAL,
		"NaN is told with its place, typed text is not raw");
	char *many = malloc(4 * 100001);
	must(many);
	for (int i = 0; i < 100001; i++)
		memcpy(many + i * 4, "[7]\n", 4);
	ok(parse_batch(many, 4 * 100000, 1) == 0 && batch.n == 100000 &&
		parse_batch(many, 4 * 100001, 1) == -EINVAL,
		"a batch has at most 100,000 vectors");
	free(many);
}

static void test_limits(void)
{
	size_t n = VG_DIM_MAX + 1;
	char *text = malloc(2 * n);

	must(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + 2 * i, "1,", 2);
	ok(parse_len(RECORD_ANY, text, 2 * n - 2, 0) == 0 &&
		rec.dim == VG_DIM_MAX, "65,535 dimensions are taken");
	ok(refuses_len(RECORD_ANY, text, 2 * n, 0, "the body has 65,536") &&
		refuses_len(RECORD_ANY, text, 2 * n, 3, "has 65,536 numbers"),
		"65,536 are not, and are counted");
	free(text);
}

int main(void)
{
	plan(64);
	record_parser_init(&parser);
	test_text();
	test_raw();
	test_json();
	test_ids();
	test_npy_dtypes();
	test_npy_header();
	test_npy_flip();
	test_probe();
	test_format();
	test_batch_text();
	test_batch_binary();
	test_limits();
	record_parser_fini(&parser);
	record_parser_fini(&parser);
	return done();
}
