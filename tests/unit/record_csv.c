/* SPDX-License-Identifier: Apache-2.0 */
/* record_csv.c: cells become ids, vectors and metadata, or a sentence says why
 * not. */
#include "src/record_csv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/element.h"
#include "src/number.h"
#include "tests/tap.h"

static struct record_csv csv;
static struct record_parser parser;
static char said[2048];

/* Forgets all and reads a header. */
static int head(const char *text, uint32_t dim)
{
	record_csv_fini(&csv);
	parser.error[0] = '\0';
	return record_csv_put_head(&csv, &parser, text, strlen(text), dim);
}

/* A row as "id=1,2,{...}", or its sentence. */
static const char *row_of(const char *text, uint32_t dim)
{
	struct record r;
	int rc = record_csv_parse(&csv, &parser, text, strlen(text), dim, &r);
	char *at = said;

	if (rc < 0)
		return rc == -EINVAL ? parser.error : "another error";
	at += sprintf(at, "%.*s=", (int)r.id.len, r.id.bytes);
	for (uint32_t i = 0; i < r.dim; i++) {
		at += number_format(
			element_get(parser.dtype, r.vec, i), at);
		*at++ = ',';
	}
	sprintf(at, "%.*s", (int)r.meta_len, r.meta);
	return said;
}

static bool is(const char *got, const char *want)
{
	if (strcmp(got, want) != 0)
		diag("%s\n# instead of %s", got, want);
	return strcmp(got, want) == 0;
}

static bool has(const char *got, const char *part)
{
	if (!strstr(got, part))
		diag("%s\n# without %s", got, part);
	return strstr(got, part) != NULL;
}

static void test_cells(void)
{
	must(head("id,vector,x,y", 2) == 0);
	ok(is(row_of("a,1 2,p,q", 2), "a=1,2,{\"x\":\"p\",\"y\":\"q\"}"),
		"a cell is what is between commas");
	ok(is(row_of("\"a,b\",\"1,2\",\"say \"\"x\"\"\",\"l1\nl2\"\r", 2),
		   "a,b=1,2,{\"x\":\"say \\\"x\\\"\",\"y\":\"l1\\nl2\"}"),
		"quotes hold commas, quotes and newlines; a return may end it");
	ok(is(row_of("a,1;2,,\"\"", 2), "a=1,2,{\"y\":\"\"}"),
		"an empty cell is no value, an empty string is one");
	ok(is(row_of(",\"[1, 2]\",,", 2), "=1,2,") &&
			is(row_of(" a ,[1 2],,", 2), " a =1,2,"),
		"ids stand as they are, lists may be in brackets");
	ok(is(row_of("a,,5,", 2), "a={\"x\":5}") &&
			is(row_of("a,\" \",5,", 2), "a={\"x\":5}"),
		"without a vector there is metadata alone");
	ok(is(row_of("a,,-1.50,true", 2), "a={\"x\":-1.50,\"y\":true}") &&
			is(row_of("a,,\"\"\"7\"\"\",null", 2),
				"a={\"x\":\"7\",\"y\":null}") &&
			is(row_of("a,,\"[1,{\"\"k\"\":2}]\",007", 2),
				"a={\"x\":[1,{\"k\":2}],\"y\":\"007\"}"),
		"values are typed as setfattr's are, in quotes or not");
}

static void test_bad_rows(void)
{
	must(head("id,vector,x,y", 2) == 0);
	ok(has(row_of("a,1 2,3", 2), "the row has 3 cells, the header has 4") &&
			has(row_of("a,1 2,3,4,5,6", 2), "the row has 6 cells") &&
			has(row_of("a,1,2 3", 2), "the row has 3 cells"),
		"a row has a cell for each column");
	ok(has(row_of("a,1 2,b\"c,4", 2), "does not begin with one") &&
			has(row_of("a,1 2,\"b\"c,4", 2), "closing quote") &&
			has(row_of("a,1 2,3,\"b", 2), "not closed") &&
			has(row_of("a,1 2,3,\"", 2), "not closed") &&
			has(row_of("a,1 2,3,\"b\"\"", 2), "not closed"),
		"quotes stand around a cell, or twice in it");
	ok(has(row_of("a,1 2 3,,", 2), "2 dimensions, the body has 3 numbers") &&
			has(row_of("a,1 x,,", 2), "'x' at byte 3") &&
			has(row_of("a,[nan 1],,", 2), "no part of a number") &&
			has(row_of("a,[],,", 2), ""),
		"a vector has numbers, and as many as the others");
	ok(has(row_of("a,,,", 2), "neither a vector nor metadata"),
		"a row has something");
	ok(has(row_of("a,,\xff,", 2), "the column x is not UTF-8"),
		"metadata is text");
	char id[300];

	memset(id, 'x', 256);
	strcpy(id + 256, ",1 2,,");
	ok(has(row_of(id, 2), "longer than 255 bytes (it has 256)") &&
			has(row_of(id + 1, 2), "=1,2,"),
		"an id has at most 255 bytes");
}

static void test_numbers(void)
{
	must(head("v1,x,v0,id,v2", 3) == 0);
	ok(is(row_of("2,m,1,a,3", 3), "a=1,2,3,{\"x\":\"m\"}") &&
			is(row_of(" 2 ,,-1e2,a,\"3\"", 3), "a=-100,2,3,"),
		"columns v0, v1, ... are a vector in any order");
	ok(is(row_of(",m,,a,", 3), "a={\"x\":\"m\"}"),
		"none of them is no vector");
	ok(has(row_of("1,m,,a,2", 3), "1 of the columns v0 to v2 are empty") &&
			has(row_of("1,m,x,a,2", 3), "what is in v0 is no number: x") &&
			has(row_of("1,m,1e99,a,2", 3), "beyond float32") &&
			has(row_of("1,m,1 2,a,2", 3), "no number"),
		"some of them are refused");
	must(head("vector,v0,v1", 0) == 0);
	ok(is(row_of("1 2,3,4", 0), "=1,2,{\"v0\":3,\"v1\":4}"),
		"beside `vector` they are metadata");
	must(head("v1,v7,vx,v,v01,id", 0) == 0);
	ok(is(row_of("1,2,3,4,5,6", 0),
		   "6={\"v1\":1,\"v7\":2,\"vx\":3,\"v\":4,\"v01\":5}"),
		"and without v0");
	must(head("\xef\xbb\xbf\"v0\"\r", 1) == 0);
	ok(is(row_of("5", 0), "=5,"), "a byte order mark is passed over");
}

static void test_dtypes(void)
{
	parser.dtype = VG_I8;
	must(head("id,v1,v0", 2) == 0);
	ok(is(row_of("a,-128,127", 2), "a=127,-128,") &&
			has(row_of("a,0,128", 2), "v0 is no whole number") &&
			has(row_of("a,1.5,0", 2), "v1 is no whole number"),
		"of i8 the columns have bytes, and nothing else");
	parser.dtype = VG_F16;
	ok(is(row_of("a,65504,0.5", 2), "a=0.5,65504,") &&
			has(row_of("a,65520,0", 2), "not finite as float16"),
		"of f16 halves");
	parser.dtype = VG_B1;
	must(head("v7,v6,v5,v4,v3,v2,v1,v0", 8) == 0);
	ok(is(row_of("1,1,0,0,0,0,1,0", 8), "=0,1,0,0,0,0,1,1,") &&
			is(row_of("0,0,0,0,0,0,0,0", 8), "=0,0,0,0,0,0,0,0,") &&
			has(row_of("1,1,0,0,0,0,2,0", 8), "v1 is neither"),
		"of b1 bits, in any order");
	must(head("id,vector", 8) == 0);
	ok(is(row_of("a,\"1,0 0;0 0 0 0 1\"", 8), "a=1,0,0,0,0,0,0,1,"),
		"and so has a cell of all of them");
	ok(head("v0,v1,v2", 0) == -EINVAL &&
			has(parser.error, "a multiple of 8"),
		"whose number is of whole bytes");
	parser.dtype = VG_F32;
}

static void test_heads(void)
{
	static const char *const bad[][2] = {
		{"a,b,a", "the column a twice"},
		{"a,,b", "column 2 of the header has no name"},
		{",a", "column 1 of the header has no name"},
		{"a,\"\"", "column 2 of the header has no name"},
		{"v0,v2", "v0 and v2, but 1 of the columns"},
		{"v0,v99999", "99998 of the columns"},
		{"v0,v1", "3 dimensions, the header has the 2 columns v0 to v1"},
		{"a\"b", "does not begin with one"},
		{"\xff,a", "the name of column 1 is not UTF-8"},
	};
	bool all = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(bad); i++)
		all &= head(bad[i][0], 3) == -EINVAL &&
		       has(parser.error, bad[i][1]) && csv.n == 0 && !csv.head;
	ok(all, "a header that is none is refused, and why");
	ok(head("\"a\"\"b,c\",\xc3\xbc", 0) == 0 && csv.n == 2 &&
			csv.head_len == 11 &&
			is(row_of("1,2", 0),
				"={\"a\\\"b,c\":1,\"\xc3\xbc\":2}"),
		"any other text is a key");
	record_csv_fini(&csv);
	record_csv_fini(&csv);
	ok(csv.n == 0 && !csv.columns, "fini twice is harmless");
}

/* The scan in steps of n bytes; where the row ends, or -1. */
static long scan(const char *text, size_t n)
{
	struct record_csv c = {0};
	size_t len = strlen(text), end;

	for (size_t at = VG_MIN(n, len); at <= len; at += n) {
		if (record_csv_scan(&c, text, at, &end))
			return (long)end;
		if (at < len && at + n > len)
			n = len - at;
	}
	return -1;
}

static void test_scan(void)
{
	bool all = true;

	for (size_t n = 1; n < 12; n++)
		all &= scan("a,b\nc\n", n) == 3 &&
		       scan("\"a\nb\",c\nd", n) == 7 &&
		       scan("\"a\"\"\nb\"\nd", n) == 7 &&
		       scan("\"\"\nd", n) == 2 && scan("a\"b\n\"", n) == 3 &&
		       scan("a,\"b\n", n) == -1 && scan("a\"\"\n", n) == 3 &&
		       scan(",\"\n\",\n", n) == 5;
	ok(all, "a row ends at a newline that is not in quotes");
}

int main(void)
{
	plan(27);
	record_parser_init(&parser);
	test_cells();
	test_bad_rows();
	test_numbers();
	test_dtypes();
	test_heads();
	test_scan();
	record_parser_fini(&parser);
	return done();
}
