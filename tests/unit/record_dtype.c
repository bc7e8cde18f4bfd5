/* SPDX-License-Identifier: Apache-2.0 */
/* record_dtype.c: bodies of f16, i8 and b1 collections, in every form. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/element.h"
#include "src/record.h"
#include "src/record_npy.h"
#include "src/rowstream.h"
#include "tests/tap.h"

static struct record_parser parser;
static struct record rec;

/* Parses a copy of its exact length, so that a sanitizer sees each byte. */
static int parse_form(enum vg_dtype dtype, enum record_form form,
	const void *body, size_t len, uint32_t dim)
{
	char *copy = malloc(len ? len : 1);
	int rc;

	must(copy);
	memcpy(copy, body, len);
	parser.dtype = dtype;
	parser.error[0] = 0;
	rc = record_parse(&parser, form, copy, len, dim, &rec);
	free(copy);
	return rc;
}

static int parse_len(enum vg_dtype dtype, const void *body, size_t len,
	uint32_t dim)
{
	return parse_form(dtype, RECORD_ANY, body, len, dim);
}

static int parse(enum vg_dtype dtype, const char *text, uint32_t dim)
{
	return parse_len(dtype, text, strlen(text), dim);
}

/* Whether the record parsed last is this row of dim elements. */
static bool is_row(const void *row, uint32_t dim)
{
	return rec.vec && rec.dim == dim &&
	       memcmp(rec.vec, row, vg_row_len(parser.dtype, dim)) == 0;
}

static bool refuses(enum vg_dtype dtype, const char *text, uint32_t dim,
	const char *why)
{
	bool holds =
		parse(dtype, text, dim) == -EINVAL && strstr(parser.error, why);

	if (!holds)
		diag("%s: %s", text, parser.error);
	return holds;
}

static void test_text(void)
{
	static const int8_t bytes[] = {-128, 127, 0, 5};
	static const uint16_t halves[] = {0x3c00, 0x2e66, 0x8001, 0x7bff};
	static const uint8_t bits[] = {0x81, 0x7f};

	ok(parse(VG_I8, "-128 127,0;5e0\n", 4) == 0 && is_row(bytes, 4) &&
			rec.source == OP_SOURCE_TEXT &&
			parse(VG_I8, "[-128,127.0,0,0.5e1]", 0) == 0 &&
			is_row(bytes, 4) && rec.source == OP_SOURCE_JSON,
		"text and JSON of whole numbers are bytes");
	ok(parse(VG_F16, "1,0.1,-5.9604644775390625e-8,65519.99\n", 4) == 0 &&
			is_row(halves, 4) &&
			parse(VG_F16, "{\"vector\":[1,0.1,-6e-8,65504]}", 4) ==
				0 &&
			is_row(halves, 4),
		"of halves they are the nearest ones");
	ok(parse(VG_F16, "1.00048828125\n", 1) == 0 &&
			element_get(VG_F16, rec.vec, 0) == 1 &&
			parse(VG_F16, "1.00048828126\n", 1) == 0 &&
			element_get(VG_F16, rec.vec, 0) == 1.0009765625f &&
			parse(VG_F16, "[1.00146484375]", 1) == 0 &&
			element_get(VG_F16, rec.vec, 0) == 1.001953125f &&
			parse(VG_F16, "[1.00146484374]", 1) == 0 &&
			element_get(VG_F16, rec.vec, 0) == 1.0009765625f,
		"of two as near the even one, and rounded once");
	ok(parse(VG_B1, "1 0 0 0 0 0 0 1 0,1,1,1,1,1,1,1.0\n", 16) == 0 &&
			is_row(bits, 16) &&
			parse(VG_B1, "[1,0,0,0,0,0,0,1,0,1,1,1,1,1,1,1]", 0) ==
				0 &&
			is_row(bits, 16),
		"zeros and ones are bits");
}

static void test_refusals(void)
{
	ok(refuses(VG_I8, "1,128,0\n", 3,
		   "the number at index 1 is no whole number from -128 to "
		   "127") &&
			refuses(VG_I8, "[1,-129]", 0, "index 1") &&
			refuses(VG_I8, "1,2,0.5\n", 3, "index 2") &&
			refuses(VG_I8, "[1e-300,2]", 2, "index 0") &&
			refuses(VG_I8, "1.0000000001,2\n", 2, "index 0") &&
			refuses(VG_I8, "1e30,2\n", 2, "index 0") &&
			refuses(VG_I8, "1,1e999\n", 2, "float64's range"),
		"i8 takes whole numbers of a byte");
	ok(refuses(VG_F16, "1,65520\n", 2,
		   "the number at index 1 is not finite as float16") &&
			refuses(VG_F16, "[-1e300]", 1, "index 0") &&
			parse(VG_F16, "65519,-65519\n", 2) == 0,
		"f16 what is not infinity then");
	ok(refuses(VG_B1, "1,0,1,0,2,0,0,0\n", 8,
		   "the number at index 4 is neither 0 nor 1") &&
			refuses(VG_B1, "[0.5]", 8, "index 0"),
		"b1 zeros and ones");
	ok(refuses(VG_B1, "1,0,1\n", 0, "a multiple of 8") &&
			refuses(VG_B1, "[1,0,1,1,1,1,1,1,0]", 0,
				"a multiple of 8") &&
			refuses(VG_B1, "1,0,1\n", 16, "has 16 dimensions"),
		"bits fill whole bytes");
	ok(refuses(VG_I8, "hello world\n", 384, "'h' at byte 1") &&
			refuses(VG_I8, "1,2,3", 2, "2 dimensions") &&
			refuses(VG_F16, "1,2,3\n", 2, "2 dimensions"),
		"what is no vector is refused as ever");
}

static void test_raw(void)
{
	static const uint16_t inf[] = {0x3c00, 0xfc00, 0};
	uint8_t all[256];
	float wide[8] = {0};

	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)(255 - i);
	ok(parse_len(VG_I8, all, 256, 256) == 0 && is_row(all, 256) &&
			rec.source == OP_SOURCE_RAW &&
			parse_len(VG_I8, all, 256, 0) == 0 && is_row(all, 256),
		"each byte is an i8, with dim or without");
	ok(parse_len(VG_B1, all, 256, 2048) == 0 && is_row(all, 2048) &&
			parse_len(VG_B1, all, 256, 0) == 0 && rec.dim == 2048,
		"or 8 bits");
	all[0] = all[1] = 0;
	ok(parse_len(VG_F16, all + 200, 56, 28) == 0 && is_row(all + 200, 28) &&
			parse_len(VG_F16, all + 200, 56, 0) == 0 &&
			rec.dim == 28,
		"two bytes are a half, denormal or not");
	ok(parse_len(VG_F16, inf, 6, 3) == -EINVAL &&
			strstr(parser.error, "raw float16: the number at "
					     "index 1"),
		"but for infinities");
	ok(parse_len(VG_I8, "12345", 5, 5) == 0 && is_row("12345", 5) &&
			rec.source == OP_SOURCE_RAW &&
			parse_len(VG_I8, "[1,2]", 5, 5) == 0 &&
			is_row("[1,2]", 5) &&
			parse_len(VG_B1, "{}", 2, 16) == 0 && is_row("{}", 16),
		"bytes that look like text of another dim are raw");
	ok(parse_form(VG_I8, RECORD_RAW, "7", 1, 1) == 0 && is_row("7", 1) &&
			parse(VG_I8, "7", 1) == 0 && is_row("\7", 1),
		"one digit is a number, unless raw is asked for");
	ok(parse_len(VG_I8, wide, 32, 8) == -EINVAL &&
			strstr(parser.error, "8 float32 numbers; write int8") &&
			strstr(parser.error, "'i1'") &&
			parse_len(VG_F16, wide, 32, 8) == -EINVAL &&
			strstr(parser.error, "write float16") &&
			parse_len(VG_B1, wide, 32, 8) == -EINVAL &&
			strstr(parser.error, "packbits"),
		"float32 of right dim is told by its size");
	ok(parse_len(VG_I8, all, 7, 8) == -EINVAL &&
			strstr(parser.error, "8 bytes (8 int8 numbers)") &&
			parse_len(VG_F16, all + 2, 5, 0) == -EINVAL &&
			strstr(parser.error, "no multiple of 2 (raw float16)"),
		"so is what a raw vector has");
}

/* An npy of one row with this descr and these numbers. */
static int parse_npy(enum vg_dtype dtype, const char *descr, uint32_t n,
	const void *numbers, size_t len, uint32_t dim)
{
	char body[1024] = "\x93NUMPY\x01\x00\x76\x00";
	int at = snprintf(body + 10, 118,
		"{'descr': '%s', 'fortran_order': False, 'shape': (%u,), }",
		descr, n);

	must(at > 0 && at < 118 && len <= sizeof(body) - 128);
	memset(body + 10 + at, ' ', 118 - (size_t)at);
	body[127] = '\n';
	memcpy(body + 128, numbers, len);
	return parse_len(dtype, body, 128 + len, dim);
}

static void test_npy(void)
{
	static const int8_t i1[] = {-128, 127, -1};
	static const uint8_t u1[] = {128, 127, 255};
	static const uint16_t f2[] = {0x8001, 0x7bff, 0x8000};
	static const double f8[] = {-128, 127, -1}, odd[] = {1, 0.25, 2};
	static const double far[] = {1.00048828125 + 0x1p-40, 1e-30, -3};
	static const uint16_t far_halves[] = {0x3c01, 0, 0xc200};
	static const int64_t large[] = {1ll << 60, 0, 0};

	ok(parse_npy(VG_I8, "|i1", 3, i1, 3, 3) == 0 && is_row(i1, 3) &&
			parse_npy(VG_I8, "<f8", 3, f8, 24, 0) == 0 &&
			is_row(i1, 3),
		"int8 is i8, and so are other numbers that fit");
	ok(parse_npy(VG_I8, "|u1", 3, u1, 3, 3) == -EINVAL &&
			strstr(parser.error, "npy: the number at index 0 is no "
					     "whole number") &&
			parse_npy(VG_I8, "<f8", 3, odd, 24, 3) == -EINVAL &&
			strstr(parser.error, "index 1") &&
			parse_npy(VG_I8, "<i8", 3, large, 24, 3) == -EINVAL,
		"those that do not are refused");
	ok(parse_npy(VG_F16, "<f2", 3, f2, 6, 3) == 0 && is_row(f2, 3) &&
			parse_npy(VG_F16, "<f8", 3, far, 24, 3) == 0 &&
			is_row(far_halves, 3) &&
			parse_npy(VG_F16, "<i8", 3, large, 24, 3) == -EINVAL,
		"float16 is f16 bit for bit, float64 is rounded once");
	static const uint8_t packed[] = {0x80, 0x01};
	static const uint8_t flags[16] = {[0] = 1, [15] = 1};
	ok(parse_npy(VG_B1, "|u1", 2, packed, 2, 16) == 0 &&
			is_row(packed, 16) &&
			parse_npy(VG_B1, "|u1", 2, packed, 2, 0) == 0 &&
			is_row(packed, 16),
		"uint8 are packed bits where they are an eighth of dim");
	ok(parse_npy(VG_B1, "|u1", 16, flags, 16, 16) == 0 &&
			is_row(packed, 16) &&
			parse_npy(VG_B1, "|b1", 16, flags, 16, 0) == 0 &&
			is_row(packed, 16) &&
			parse_npy(VG_B1, "|i1", 16, flags, 16, 0) == 0 &&
			is_row(packed, 16),
		"numbers where they are dim; booleans and others always");
	ok(parse_npy(VG_B1, "|u1", 3, packed, 2, 16) == -EINVAL &&
			parse_npy(VG_B1, "|u1", 8, u1, 3, 16) == -EINVAL &&
			parse_npy(VG_B1, "|i1", 3, i1, 3, 0) == -EINVAL &&
			strstr(parser.error, "a multiple of 8"),
		"other counts are refused");
}

/* Whether a row is read back from each form that it is written in. */
static bool is_there_and_back(enum vg_dtype dtype, const void *vec,
	uint32_t dim)
{
	const struct record_row row = {vec, dim, dtype};
	bool holds = true;

	for (int form = RECORD_RAW; form <= RECORD_TEXT; form++) {
		size_t n = record_format((enum record_form)form, &row, NULL,
			NULL, 0);
		char *text = malloc(n);

		must(text);
		must(record_format((enum record_form)form, &row, NULL, text,
			     n) == n);
		holds &= parse_form(dtype, (enum record_form)form, text, n,
				 dim) == 0 &&
			 is_row(vec, dim);
		/* Of one number raw bytes may be its text. */
		holds &= dim == 1 || (parse_len(dtype, text, n, dim) == 0 &&
					     is_row(vec, dim));
		free(text);
	}
	return holds;
}

static const char *formatted(enum vg_dtype dtype, enum record_form form,
	const void *vec, uint32_t dim)
{
	static char out[512];
	const struct record_row row = {vec, dim, dtype};
	size_t n = record_format(form, &row, NULL, out, sizeof(out) - 1);

	must(n < sizeof(out));
	out[n] = 0;
	return out;
}

static void test_format(void)
{
	static const int8_t bytes[] = {-128, 0, 7};
	static const uint16_t halves[] = {0x2e66, 0xc000, 1};
	static const uint8_t bits[] = {0xa1};
	uint16_t finite[0x8000];
	uint8_t all[256];
	uint32_t n = 0;

	for (uint32_t h = 0; h < 0x10000; h++)
		if ((h & 0x7c00) != 0x7c00 && n < 0x8000)
			finite[n++] = (uint16_t)(h ^ 0x8000);
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	ok(is_there_and_back(VG_F16, finite, n),
		"halves are read back bit for bit from each form");
	ok(is_there_and_back(VG_I8, all, 256), "so are bytes");
	ok(is_there_and_back(VG_B1, all, 2048), "so are bits");
	ok(strcmp(formatted(VG_I8, RECORD_TEXT, bytes, 3), "-128,0,7\n") == 0 &&
			strcmp(formatted(VG_F16, RECORD_TEXT, halves, 3),
				"0.099975586,-2,5.9604645e-8\n") == 0 &&
			strcmp(formatted(VG_B1, RECORD_JSON, bits, 8),
				"{\"vector\":[1,0,1,0,0,0,0,1]}\n") == 0,
		"text has the numbers");
	ok(strstr(formatted(VG_I8, RECORD_NPY, bytes, 3) + 10,
		   "'|i1', 'fortran_order': False, 'shape': (3,)") &&
			strstr(formatted(VG_F16, RECORD_NPY, halves, 3) + 10,
				"'<f2', 'fortran_order': False, 'shape': "
				"(3,)") &&
			strstr(formatted(VG_B1, RECORD_NPY, bits, 8) + 10,
				"'|u1', 'fortran_order': False, 'shape': (1,)"),
		"npy has numpy's type, bits are packed");
}

static void test_probe(void)
{
	parser.dtype = VG_I8;
	ok(record_probe(&parser, RECORD_ANY, "1,2,999", 7, 4) == 0 &&
			record_probe(&parser, RECORD_ANY, "1,2,999\n", 8, 4) ==
				-EINVAL &&
			strstr(parser.error, "index 2"),
		"what does not fit is refused as soon as it is a line");
	ok(record_probe(&parser, RECORD_RAW, "12345", 5, 4) == -EINVAL &&
			record_probe(&parser, RECORD_ANY, "\1\2\3", 3, 4) == 0,
		"raw by its length");
}

static void test_batch(void)
{
	static const int8_t rows[] = {1, -2, 3, 4, 5, -6};
	static const int8_t ascii[] = {'h', 'e', 'l', 'l', 'o', '!'};
	static const float fvecs[] = {0, 1, -2, 0, 3, 4};
	struct record_batch b;
	char body[64];
	int32_t two = 2;

	parser.dtype = VG_I8;
	ok(record_parse_batch(&parser, rows, 6, 2, &b) == 0 && b.n == 3 &&
			b.dim == 2 && b.dtype == VG_I8 &&
			memcmp(b.vecs, rows, 6) == 0,
		"a batch is raw rows");
	ok(record_parse_batch(&parser, ascii, 6, 3, &b) == 0 && b.n == 2 &&
			memcmp(b.vecs, ascii, 6) == 0 &&
			record_parse_batch(&parser, "hello\n", 6, 3, &b) ==
				-EINVAL,
		"printable ones, too, unless they are a line");
	memcpy(body, fvecs, sizeof(fvecs));
	memcpy(body, &two, 4);
	memcpy(body + 12, &two, 4);
	ok(record_parse_batch(&parser, body, 24, 2, &b) == 0 && b.n == 2 &&
			memcmp(b.vecs, rows, 4) == 0,
		"or fvecs, whose floats must fit");
	ok(record_parse_batch(&parser, "[[1,-2],[3,4.5]]", 16, 2, &b) ==
				-EINVAL &&
			strstr(parser.error, "index 1 is no whole number"),
		"or JSON, whose numbers must, too");
	parser.dtype = VG_B1;
	ok(record_parse_batch(&parser, "[[1,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,1]]",
		   37, 0, &b) == 0 &&
			b.n == 2 && b.dim == 8 &&
			memcmp(b.vecs, "\x80\x01", 2) == 0,
		"rows of bits stand one behind the other");
}

static int8_t taken[8];
static uint32_t n_taken, n_bad;

static int take(void *ctx, const struct record *r, uint64_t number)
{
	(void)ctx;
	(void)number;
	must(r->dim == 2 && n_taken < 4);
	memcpy(taken + n_taken++ * 2, r->vec, 2);
	return 0;
}

static void refuse(void *ctx, uint64_t place, const char *why)
{
	(void)ctx;
	(void)place;
	n_bad += strstr(why, "no whole number from -128 to 127") != NULL;
}

static void test_stream(void)
{
	static const struct rowstream_calls calls = {take, refuse, NULL};
	static const float rows[] = {1, 2, 3, 1000, -5, 6};
	struct rowstream s;
	char body[200];
	size_t len = record_npy_header(body, VG_F32, 3, 2);

	memcpy(body + len, rows, sizeof(rows));
	len += sizeof(rows);
	rowstream_init(&s, ROWSTREAM_NPY, VG_I8, 0, &calls);
	for (size_t i = 0; i < len; i++)
		must(rowstream_feed(&s, body + i, 1) == 0);
	ok(rowstream_end(&s) == 0 && n_taken == 2 && n_bad == 1 &&
			memcmp(taken, "\1\2\xfb\6", 4) == 0,
		"a stream's rows become bytes; one that does not fit is told");
	rowstream_fini(&s);
	len = record_npy_header(body, VG_F32, 1, 3);
	rowstream_init(&s, ROWSTREAM_NPY, VG_B1, 0, &calls);
	ok(rowstream_feed(&s, body, len) == -EINVAL &&
			strstr(s.error, "a multiple of 8"),
		"rows of bits that fill no bytes end it");
	rowstream_fini(&s);
}

int main(void)
{
	plan(37);
	record_parser_init(&parser);
	test_text();
	test_refusals();
	test_raw();
	test_npy();
	test_format();
	test_probe();
	test_batch();
	test_stream();
	record_parser_fini(&parser);
	return done();
}
