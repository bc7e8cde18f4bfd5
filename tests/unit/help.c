/* SPDX-License-Identifier: Apache-2.0 */
/* help.c: the texts name what is there, and their examples parse. */
#include "fs/help.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/name.h"
#include "fs/query.h"
#include "tests/tap.h"

static char text[32768];

static const char *help_as(enum vg_dtype dtype, const char *name, uint32_t dim,
	enum vg_metric metric)
{
	const struct help_env env = {{name, (uint32_t)strlen(name)}, dim,
		metric, dtype};
	size_t n = help_format(&env, text, sizeof(text) - 1);

	must(n < sizeof(text));
	text[n] = '\0';
	return text;
}

static const char *help(const char *name, uint32_t dim, enum vg_metric metric)
{
	return help_as(VG_F32, name, dim, metric);
}

static bool has(const char *in, const char *part)
{
	if (strstr(in, part))
		return true;
	diag("'%s' is missing", part);
	return false;
}

/* Columns of the widest line; every byte must be printable ASCII. */
static size_t width(const char *in)
{
	size_t widest = 0;

	while (*in) {
		size_t len = strcspn(in, "\n");

		for (size_t i = 0; i < len; i++)
			if (in[i] < ' ' || in[i] > '~')
				return SIZE_MAX;
		if (len > 80)
			diag("%zu: %.*s", len, (int)len, in);
		widest = VG_MAX(widest, len);
		in += len + 1;
	}
	return widest;
}

/* Whether every path under query/ in the examples of `in` is a query. */
static bool examples_parse_as(
	enum vg_dtype dtype, const char *in, uint32_t dim, int *n)
{
	const struct query_env env = {dim, NULL, NULL, dtype};
	bool all = true;

	for (*n = 0; (in = strstr(in, "cat ")) != NULL; in += 4) {
		size_t line = strcspn(in, "\n");
		const char *at = memmem(in, line, "/query/", 7);
		struct query q;
		int rc = 0;

		if (!at)
			continue;
		at += 7;
		query_init(&q);
		for (;;) {
			size_t len = strcspn(at, "/ \n");

			rc = query_parse_param(&q, at, len);
			if (rc == -ENOENT)
				rc = query_parse_leaf(&q, at, len, &env);
			if (rc < 0 || at[len] != '/')
				break;
			at += len + 1;
		}
		if (rc < 0)
			diag("%d: %.*s", rc, (int)line, in);
		all &= rc == 0 && q.src != QUERY_NONE;
		query_fini(&q);
		++*n;
	}
	return all;
}

static bool examples_parse(const char *in, uint32_t dim, int *n)
{
	return examples_parse_as(VG_F32, in, dim, n);
}

/* The request that the text pipes to .run. */
static bool request_parses_as(
	enum vg_dtype dtype, const char *in, uint32_t dim)
{
	const char *begin = strstr(in, "echo '{"), *end;
	struct query q;
	int rc;

	must(begin);
	begin += 6;
	end = strchr(begin, '\'');
	must(end);
	query_init(&q);
	rc = query_parse_request(&q, begin, (size_t)(end - begin), dtype, dim);
	if (rc < 0)
		diag("%d: %s", rc, q.error);
	query_fini(&q);
	return rc == 0;
}

static bool request_parses(const char *in, uint32_t dim)
{
	return request_parses_as(VG_F32, in, dim);
}

static void test_readme(void)
{
	size_t len = help_format_readme(NULL, 0);
	char two[3] = "xx";
	int n;

	must(len < sizeof(text));
	ok(help_format_readme(text, sizeof(text)) == len &&
			text[len - 1] == '\n',
		"the README says its length");
	text[len] = '\0';
	ok(help_format_readme(two, 2) == len && !strcmp(two, "ve"),
		"what does not fit is cut");
	ok(width(text) <= 80, "it is ASCII and fits a terminal");
	ok(has(text, "mkdir") && has(text, "query/") && has(text, "float64"),
		"it says how to begin");
	ok(examples_parse(text, 384, &n) && n >= 3,
		"its examples are queries of ours");

	bool all = true;

	for (int kind = NAME_QUERY; kind < NAME_KINDS; kind++)
		all &= has(text, name_get((enum name_kind)kind));
	ok(all, "it has every name of ours");
}

static void test_help(void)
{
	static const char *const words[] = {"k=", "offset=", "ef=", "exact=",
		"max_dist=", "min_score=", "fields=", "order=", "group=", "snap=",
		"timeout=", "partial=",
		"strict=", "trailer=", "threads=", "fmt=", "id=", "like=", "v=", "b64=",
		".hits/", "facet=", "where=", "FIELD.OP=VALUE", "NAME", "all ", "count", ".run",
		ANSWER_FMT_WORDS};
	static const char *const absent[] = {"text=", ".queries",
		"consistency"};
	const char *in = help("docs", 3, VG_L2);
	bool all = true, none = true;
	int n;

	ok(has(in, "docs: 3 dimensions, metric l2") &&
			has(in, "3 x 4 = 12 bytes"),
		"help has the collection's numbers");
	for (size_t i = 0; i < VG_ARRAY_LEN(words); i++)
		all &= has(in, words[i]);
	ok(all, "and every word of the grammar");
	for (size_t i = 0; i < VG_ARRAY_LEN(absent); i++)
		none &= !strstr(in, absent[i]);
	ok(none, "and none that is not there");
	ok(width(in) <= 80, "it is ASCII and fits a terminal");
	ok(examples_parse(in, 3, &n) && n == 6,
		"its examples are queries of this dimension");
	ok(has(in, "docs/query/0.1,0.2,0.3 ") && request_parses(in, 3),
		"a short vector is written out");
	in = help("docs", 1, VG_IP);
	ok(has(in, "metric ip") && examples_parse(in, 1, &n) && n == 6 &&
			request_parses(in, 1),
		"also one of one number");
	in = help("docs", 8, VG_COSINE);
	ok(has(in, "metric cosine") && examples_parse(in, 8, &n) && n == 6 &&
			request_parses(in, 8),
		"and of eight");
	in = help("docs", 384, VG_COSINE);
	ok(has(in, "384 x 4 = 1536 bytes") && examples_parse(in, 384, &n) &&
			n == 5,
		"a long one goes by file");
	in = help("docs", 0, VG_COSINE);
	ok(has(in, "not known yet") && has(in, "docs/.config/dim") &&
			examples_parse(in, 0, &n) && n == 5,
		"without a dimension it says how to set one");
}

/* Examples of other dtypes are of numbers that they have. */
static void test_dtypes(void)
{
	const char *in = help_as(VG_I8, "docs", 3, VG_L1);
	int n;

	ok(has(in, "metric l1") && has(in, "3 x 1 = 3 bytes (int8)") &&
			examples_parse_as(VG_I8, in, 3, &n) && n == 6 &&
			request_parses_as(VG_I8, in, 3) && width(in) <= 80,
		"of bytes");
	in = help_as(VG_F16, "docs", 8, VG_L2);
	ok(has(in, "8 x 2 = 16 bytes (float16") &&
			examples_parse_as(VG_F16, in, 8, &n) && n == 6 &&
			request_parses_as(VG_F16, in, 8) && width(in) <= 80,
		"of halves");
	in = help_as(VG_B1, "docs", 8, VG_HAMMING);
	ok(has(in, "metric hamming") && has(in, "8 bits = 1 bytes") &&
			examples_parse_as(VG_B1, in, 8, &n) && n == 6 &&
			request_parses_as(VG_B1, in, 8) && width(in) <= 80,
		"of bits");
	in = help_as(VG_B1, "docs", 65528, VG_HAMMING);
	ok(has(in, "65528 bits = 8191 bytes") && width(in) <= 80,
		"also of many");
}

static void test_quotes(void)
{
	char name[VG_ID_MAX + 1];

	ok(has(help("a b", 3, VG_L2), " 'a b'/query/k=5/"),
		"a name with a blank is quoted");
	ok(has(help("it's", 3, VG_L2), " 'it'\\''s'/query/"),
		"so is one with a quote");
	ok(has(help("-rf", 3, VG_L2), "'-rf'") &&
			has(help("a-b_c.d", 3, VG_L2), " a-b_c.d/query/"),
		"others stay as they are");
	memset(name, '\'', VG_ID_MAX);
	name[VG_ID_MAX] = '\0';
	ok(strlen(help(name, 3, VG_L2)) > 4 * VG_ID_MAX * 8,
		"the longest name fits");
}

int main(void)
{
	plan(24);
	test_readme();
	test_help();
	test_dtypes();
	test_quotes();
	return done();
}
