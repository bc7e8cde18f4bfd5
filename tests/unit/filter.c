/* SPDX-License-Identifier: Apache-2.0 */
/* filter.c: what filters mean, word by word, and what they refuse. */
#include "src/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/decimal.h"
#include "tests/tap.h"

/* ---- a table: expression, record, outcome ---- */

struct row {
	const char *where, *record;
	int want;
};

static struct filter *parse(const char *text, bool is_where)
{
	struct filter_why why = {.sentence = "no memory"};
	struct filter *f = NULL;
	int rc = is_where ? filter_parse_where(text, strlen(text), &why, &f) :
		filter_parse_term(text, strlen(text), &why, &f);

	if (rc < 0)
		diag("%s: %s", text, why.sentence);
	return rc < 0 ? NULL : f;
}

static int matches(const struct filter *f, const char *record)
{
	struct meta_buf buf = {0};
	const char *why;

	must(meta_parse(record, strlen(record), &buf, &why) == 0);
	int rc = filter_matches(f, (struct meta){buf.bytes, (uint32_t)buf.len});
	free(buf.bytes);
	return rc;
}

static bool all_hold(const struct row *rows, size_t n, bool is_where)
{
	size_t n_held = 0;

	for (size_t i = 0; i < n; i++) {
		struct filter *f = parse(rows[i].where, is_where);
		int is = f ? matches(f, rows[i].record) : -1;
		filter_free(f);
		n_held += is == rows[i].want;
		if (is != rows[i].want)
			diag("%s of %s: %d", rows[i].where, rows[i].record, is);
	}
	return n_held == n;
}

#define rows_hold(rows) all_hold(rows, VG_ARRAY_LEN(rows), true)
#define terms_hold(rows) all_hold(rows, VG_ARRAY_LEN(rows), false)

static void test_types(void)
{
	static const struct row types[] = {
		{"a.eq=2020", "{\"a\":2020}", 1},
		{"a.eq=2020", "{\"a\":\"2020\"}", 0},
		{"a.eq=\"2020\"", "{\"a\":\"2020\"}", 1},
		{"a.eq=\"2020\"", "{\"a\":2020}", 0},
		{"a.eq=true", "{\"a\":true}", 1},
		{"a.eq=true", "{\"a\":\"true\"}", 0},
		{"a.eq=true", "{\"a\":1}", 0},
		{"a.eq=True", "{\"a\":\"True\"}", 1},
		{"a.eq=en", "{\"a\":\"en\"}", 1},
		{"a.eq=", "{\"a\":\"\"}", 1},
		{"a.eq=", "{\"a\":null}", 0},
		{"a.gte=2020", "{\"a\":\"2021\"}", 0},
		{"a.gte=b", "{\"a\":5}", 0},
		{"a.gte=\"2020\"", "{\"a\":\"2021\"}", 1},
		{"a.lt=5", "{\"a\":false}", 0},
		{"a.lt=x", "{\"a\":{}}", 0},
	};
	static const struct row orders[] = {
		{"a.gt=1.5", "{\"a\":1.50}", 0},
		{"a.gte=1.5", "{\"a\":1.50}", 1},
		{"a.lt=1.5", "{\"a\":-1.6}", 1},
		{"a.lte=1.5", "{\"a\":15e-1}", 1},
		{"a.lt=1.5", "{\"a\":15e-1}", 0},
		{"a.gt=ab", "{\"a\":\"abc\"}", 1},
		{"a.gt=ab", "{\"a\":\"ab\"}", 0},
		{"a.gte=ab", "{\"a\":\"ab\"}", 1},
		{"a.lt=b", "{\"a\":\"aZ\"}", 1},
		{"a.lt=a", "{\"a\":\"B\"}", 1},
		{"a.gt=z", "{\"a\":\"\\u00e9\"}", 1},
		{"a.lte=\"a\\u000a\"", "{\"a\":\"a\\n\"}", 1},
		{"a.gt=\"a\\t\"", "{\"a\":\"a\\n\"}", 1},
	};
	static const struct row numbers[] = {
		{"a.eq=9007199254740993", "{\"a\":9007199254740992}", 0},
		{"a.gt=9007199254740992", "{\"a\":9007199254740993}", 1},
		{"a.eq=1.10", "{\"a\":1.1}", 1},
		{"a.eq=1e2", "{\"a\":100}", 1},
		{"a.eq=0.00012e4", "{\"a\":1.2}", 1},
		{"a.eq=-0", "{\"a\":0.0e9}", 1},
		{"a.lt=1e400", "{\"a\":9e399}", 1},
		{"a.gt=1e400", "{\"a\":1e401}", 1},
		{"a.eq=1e400", "{\"a\":1000e397}", 1},
		{"a.gt=-1e-400", "{\"a\":0}", 1},
		{"a.lt=-1e-400", "{\"a\":-2e-400}", 1},
		{"a.gt=-12", "{\"a\":-11.9999999999999999999999999}", 1},
		{"a.eq=1e999999999999999999999", "{\"a\":1}", 0},
		{"a.gt=1e999999999999999999999", "{\"a\":1e5}", 0},
	};
	ok(rows_hold(types), "types never mix");
	ok(rows_hold(orders), "numbers and strings have their orders");
	ok(rows_hold(numbers), "numbers are exact decimals of any size");
}

static void test_absence(void)
{
	static const struct row absence[] = {
		{"a.eq=1", "{\"b\":1}", 0}, {"a.ne=1", "{\"b\":1}", 0},
		{"a.nin=1,2", "{\"b\":1}", 0}, {"a.lt=1", "{}", 0},
		{"a.ne=1", "{\"a\":null}", 0}, {"a.nin=1", "{\"a\":null}", 0},
		{"a.contains=n", "{\"a\":null}", 0},
		{"a.prefix=", "{\"a\":null}", 0},
		{"a.exists=1", "{\"a\":null}", 0},
		{"a.exists=true", "{\"a\":0}", 1},
		{"a.exists=0", "{\"a\":null}", 1},
		{"a.exists=false", "{}", 1},
		{"a.exists=0", "{\"a\":false}", 0},
		{"a.exists=1", "{\"a\":[]}", 1},
		{"a.exists=1", "{\"a\":{}}", 1},
		{"a.exists=1", "{\"a\":[null]}", 1},
		{"a.ne=1", "{\"a\":{}}", 1},
		{"a.ne=1", "{\"a\":\"1\"}", 1},
		{"not a.eq=1", "{}", 1},
		{"not a.ne=1", "{}", 1},
		{"not a.exists=0", "{}", 0},
	};
	ok(rows_hold(absence), "what is missing or null matches exists=0 only, "
		"and not negates that");
}

static void test_arrays(void)
{
	static const struct row arrays[] = {
		{"a.eq=2", "{\"a\":[1,2]}", 1},
		{"a.eq=2", "{\"a\":[[2],{\"a\":2}]}", 0},
		{"a.ne=2", "{\"a\":[1,2]}", 0},
		{"a.ne=2", "{\"a\":[1,3]}", 1},
		{"a.ne=2", "{\"a\":[]}", 1},
		{"a.eq=2", "{\"a\":[]}", 0},
		{"a.in=5,2", "{\"a\":[1,2]}", 1},
		{"a.nin=5,2", "{\"a\":[1,2]}", 0},
		{"a.nin=5,6", "{\"a\":[1,2]}", 1},
		{"a.gt=1", "{\"a\":[0,2]}", 1},
		{"a.gt=2", "{\"a\":[0,2]}", 0},
		{"a.prefix=x", "{\"a\":[\"y\",\"xy\"]}", 1},
		{"a.contains=x", "{\"a\":[\"xy\"]}", 0},
		{"a.contains=xy", "{\"a\":[\"xy\"]}", 1},
		{"a.contains=1", "{\"a\":[1.0]}", 1},
		{"a.contains=1", "{\"a\":[\"1\"]}", 0},
		{"a.contains=\"1\"", "{\"a\":[\"1\"]}", 1},
		{"a.contains=true", "{\"a\":[true]}", 1},
		{"a.b.eq=2", "{\"a\":[{\"b\":2}]}", 0},
	};
	static const struct row text[] = {
		{"a.contains=ell", "{\"a\":\"hello\"}", 1},
		{"a.contains=", "{\"a\":\"\"}", 1},
		{"a.contains=20", "{\"a\":\"x2020\"}", 1},
		{"a.contains=20", "{\"a\":2020}", 0},
		{"a.contains=1.10", "{\"a\":\"v1.10\"}", 1},
		{"a.contains=1.10", "{\"a\":\"v1.1\"}", 0},
		{"a.contains=null", "{\"a\":\"is null\"}", 1},
		{"a.contains=\"b c\"", "{\"a\":\"ab cd\"}", 1},
		{"a.contains=\"\\n\\n\\t\"", "{\"a\":\"\\n\\n\\n\\t\"}", 1},
		{"a.contains=\"\\n\\t\\t\"", "{\"a\":\"\\n\\n\\n\\t\"}", 0},
		{"a.contains=aab", "{\"a\":\"\\taaab\"}", 1},
		{"a.contains=\"\\\"\"", "{\"a\":\"5\\\" disk\"}", 1},
		{"a.prefix=20", "{\"a\":\"2020\"}", 1},
		{"a.prefix=20", "{\"a\":2020}", 0},
		{"a.prefix=\"20\"", "{\"a\":\"2020\"}", 1},
		{"a.prefix=true", "{\"a\":\"trueish\"}", 1},
		{"a.prefix=", "{\"a\":\"x\"}", 1},
		{"a.prefix=abc", "{\"a\":\"ab\"}", 0},
		{"a.prefix=\"a\\nb\"", "{\"a\":\"a\\nbc\"}", 1},
		{"a.prefix=[1]", "{\"a\":\"[1]x\"}", 1},
	};
	ok(rows_hold(arrays), "on an array any element counts");
	ok(rows_hold(text), "prefix and contains take text as it is written");
}

static void test_fields(void)
{
	static const struct row fields[] = {
		{"a.b.eq=1", "{\"a\":{\"b\":1}}", 1},
		{"a.b.eq=1", "{\"a.b\":1}", 1},
		{"a.b.eq=1", "{\"a.b\":2,\"a\":{\"b\":1}}", 1},
		{"a.b.eq=1", "{\"a\":{\"b\":2},\"a.b\":1}", 1},
		{"a.b.ne=1", "{\"a.b\":2,\"a\":{\"b\":1}}", 0},
		{"a.b.eq=1", "{\"a\":{\"c\":1},\"b\":1}", 0},
		{"a.b.eq=1", "{\"a\":{\"bc\":1},\"a.bc\":1}", 0},
		{"a.b.c.eq=1", "{\"a\":{\"b.c\":1}}", 1},
		{"a.b.c.eq=1", "{\"a.b\":{\"c\":1}}", 1},
		{"a.b.c.eq=1", "{\"a\":{\"b\":{\"x\":0,\"c\":1}}}", 1},
		{"a.b.c.exists=1", "{\"a\":{\"b\":{\"x\":0}}}", 0},
		{"a.b.exists=1", "{\"a\":{\"b\":{\"x\":0}}}", 1},
		{"a.b.eq=1", "{\"a\":null,\"a.b\":1}", 1},
		{"a..b.eq=1", "{\"a\":{\"\":{\"b\":1}}}", 1},
		{"meta.k.eq=1", "{\"k\":1}", 1},
		{"meta.meta.k.eq=1", "{\"meta\":{\"k\":1}}", 1},
		{"meta.eq=1", "{\"meta\":1}", 1},
		{"a%20b.eq=1", "{\"a b\":1}", 1},
		{"a%3Db.eq=1", "{\"a=b\":1}", 1},
		{"x%0Ay.z.eq=1", "{\"x\\ny\":{\"z\":1}}", 1},
		{"x%0Ay.z.eq=1", "{\"x\\ny.z\":1}", 1},
		{"and.eq=1", "{\"and\":1}", 1},
		{"a.eq.eq=1", "{\"a\":{\"eq\":1}}", 1},
		{"\xc3\xa9.eq=1", "{\"\\u00e9\":1}", 1},
	};
	ok(rows_hold(fields), "a field is every way in which its keys can be "
		"joined");
}

static void test_text(void)
{
	static const struct row terms[] = {
		{"a.eq=b c) or", "{\"a\":\"b c) or\"}", 1},
		{"a.eq=a%20b", "{\"a\":\"a b\"}", 1},
		{"a.eq=100%", "{\"a\":\"100%\"}", 1},
		{"a.eq=%2x", "{\"a\":\"%2x\"}", 1},
		{"a.eq=%2f%2F", "{\"a\":\"//\"}", 1},
		{"a.eq=%222020%22", "{\"a\":\"2020\"}", 1},
		{"a.eq=\"a%22b\"", "{\"a\":\"a\\\"b\"}", 1},
		{"a.eq=\"a%5Cnb\"", "{\"a\":\"a\\\\nb\"}", 1},
		{"a.eq=\"abc", "{\"a\":\"\\\"abc\"}", 1},
		{"a.eq=x=y", "{\"a\":\"x=y\"}", 1},
		{"a.eq= 5", "{\"a\":5}", 1},
		{"a.eq=%00", "{\"a\":\"\\u0000\"}", 1},
	};
	static const struct row lists[] = {
		{"a.in=1,b,true", "{\"a\":true}", 1},
		{"a.in=1,b,true", "{\"a\":\"b\"}", 1},
		{"a.in=1,b,true", "{\"a\":\"1\"}", 0},
		{"a.in=\"a,b\",c", "{\"a\":\"a,b\"}", 1},
		{"a.in=\"a,b\",c", "{\"a\":\"c\"}", 1},
		{"a.in=a%2Cb,c", "{\"a\":\"a,b\"}", 1},
		{"a.in=a%2Cb,c", "{\"a\":\"a\"}", 0},
		{"a.in=[1,\"b,c\"]", "{\"a\":\"b,c\"}", 1},
		{"a.in=[1,\"b%2Cc\"]", "{\"a\":\"b,c\"}", 1},
		{"a.in=%5B1,2%5D", "{\"a\":2}", 1},
		{"a.in=[1", "{\"a\":\"[1\"}", 1},
		{"a.in=[]", "{\"a\":1}", 0},
		{"a.nin=[]", "{\"a\":1}", 1},
		{"a.in=", "{\"a\":\"\"}", 1},
		{"a.in=1,", "{\"a\":\"\"}", 1},
		{"a.in=1.0,1", "{\"a\":1}", 1},
	};
	ok(terms_hold(terms), "a term's VALUE is all that is behind the =");
	ok(terms_hold(lists), "values of in are separated by commas, or JSON");
}

static void test_expressions(void)
{
	static const struct row joined[] = {
		{"a.eq=1 or b.eq=1 and c.eq=1", "{\"a\":1}", 1},
		{"(a.eq=1 or b.eq=1) and c.eq=1", "{\"a\":1}", 0},
		{"not a.eq=1 and b.eq=1", "{\"b\":1}", 1},
		{"not (a.eq=1 and b.eq=1)", "{\"b\":1}", 1},
		{"not a.eq=1 or b.eq=1", "{\"a\":1,\"b\":1}", 1},
		{"not not a.eq=1", "{\"a\":1}", 1},
		{"not(a.eq=1)and(b.eq=1)", "{\"b\":1}", 1},
		{"\t( (a.eq=1)\n) ", "{\"a\":1}", 1},
		{"a.eq=1 or b.eq=1 or c.eq=1", "{\"c\":1}", 1},
		{"a.eq=1 and not b.eq=1 or c.eq=1 and not d.eq=1",
			"{\"a\":1,\"b\":1,\"c\":1}", 1},
	};
	static const struct row ends[] = {
		{"(a.eq=f(x))", "{\"a\":\"f(x)\"}", 1},
		{"(a.eq=x)", "{\"a\":\"x\"}", 1},
		{"a.eq=\"x) and (\" and b.eq=1", "{\"a\":\"x) and (\",\"b\":1}", 1},
		{"a.eq=x%29", "{\"a\":\"x)\"}", 1},
		{"a.eq=x%20and%20y", "{\"a\":\"x and y\"}", 1},
		{"(a.in=\"x )\",y)", "{\"a\":\"x )\"}", 1},
		{"a.in=[\"x y\", 2] and b.eq=1", "{\"a\":2,\"b\":1}", 1},
		{"a.eq=5\" and b.eq=1", "{\"a\":\"5\\\"\",\"b\":1}", 1},
		{"a.eq= and b.eq=1", "{\"a\":\"\",\"b\":1}", 1},
	};
	ok(rows_hold(joined), "not binds tighter than and, and tighter than or");
	ok(rows_hold(ends), "a VALUE ends at white space or a ) of its own");
}

/* ---- refusals ---- */

struct refusal {
	const char *text;
	size_t position;
	const char *sentence; /* what is in it */
};

static bool all_refused(const struct refusal *rows, size_t n, bool is_where)
{
	size_t n_held = 0;

	for (size_t i = 0; i < n; i++) {
		const char *text = rows[i].text;
		struct filter_why why = {.sentence = ""};
		struct filter *f = NULL;
		char place[32];
		int rc = is_where ?
			filter_parse_where(text, strlen(text), &why, &f) :
			filter_parse_term(text, strlen(text), &why, &f);
		sprintf(place, "position %zu: ", rows[i].position);
		bool holds = rc == -EINVAL && !f &&
			why.position == rows[i].position &&
			!strncmp(why.sentence, place, strlen(place)) &&
			strstr(why.sentence, rows[i].sentence);
		if (!holds)
			diag("%s: %d %s", text, rc, why.sentence);
		filter_free(f);
		n_held += holds;
	}
	return n_held == n;
}

static void test_refusals(void)
{
	static const struct refusal terms[] = {
		{"year.liek=5", 6, "'liek' is no operator; eq ne gt gte lt lte "
			"in nin exists prefix contains are"},
		{"year.gte", 9, "= is missing behind 'year.gte'"},
		{"year=5", 1, "'year' has no operator"},
		{".eq=5", 1, "the field is missing"},
		{"%ff.eq=5", 1, "the field is not UTF-8"},
		{"a.eq=%ff", 6, "the value is not UTF-8"},
		{"a.contains=%ff", 12, "the value is not UTF-8"},
		{"a.prefix=%ff", 10, "the value is not UTF-8"},
		{"a.in=x,%ff", 8, "the value is not UTF-8"},
		{"a.exists=yes", 10, "'yes' is no value of exists; 1 and 0 are"},
		{"a.exists=", 10, "'' is no value of exists"},
		{"a.eq=null", 6, "null equals nothing; exists=0 is"},
		{"a.ne=[1]", 6, "an array is no value of ne"},
		{"a.eq={\"b\":1}", 6, "an object is no value of eq"},
		{"a.contains=[1]", 12, "an array is no value of contains"},
		{"a.gt=true", 6, "true has no order; gt takes a number or a "
			"string"},
		{"a.gte=false", 7, "false has no order"},
		{"a.lt=null", 6, "null has no order"},
		{"a.lte=[]", 7, "an array is no value of lte"},
		{"a.in=1,null", 8, "null cannot be among the values of in"},
		{"a.nin=[[1]]", 7, "an array cannot be among the values of nin"},
		{"a.in=[null]", 6, "null cannot be among"},
		{"a.in={},1", 6, "an object cannot be among"},
		{"a.\n\xc3\xa9=1", 3, "'\?\?\?' is no operator"},
	};
	static const struct refusal wheres[] = {
		{"", 1, "a filter is missing here"},
		{"  ", 3, "a filter is missing here"},
		{"a.eq=1 and", 11, "a filter is missing here"},
		{"and a.eq=1", 1, "a filter is missing here"},
		{"a.eq=1 or or b.eq=1", 11, "a filter is missing here"},
		{"()", 2, "a filter is missing here"},
		{"a.eq=1 b.eq=2", 8, "'and' or 'or' is missing before this"},
		{"a.eq=1 not b.eq=2", 8, "'and' or 'or' is missing before this"},
		{"a.eq=1 (b.eq=2)", 8, "'and' or 'or' is missing before this"},
		{"a.eq=1 AND b.eq=2", 8, "'AND' is no filter; FIELD.OP=VALUE is"},
		{"year", 1, "'year' is no filter"},
		{"(a.eq=1 or (b.eq=2)", 1, "this ( is not closed"},
		{"a.eq=1 or (b.eq=2", 11, "this ( is not closed"},
		{"a.eq=1)", 7, "this ) closes nothing"},
		{"a.eq=1 or b.liek=2", 13, "'liek' is no operator"},
		{"b.eq=2 and a.eq=\"x y", 17, "has no closing quote"},
		{"(a.gt=true)", 7, "true has no order"},
	};
	ok(all_refused(terms, VG_ARRAY_LEN(terms), false),
		"a term that is none is refused with the place and the remedy");
	ok(all_refused(wheres, VG_ARRAY_LEN(wheres), true),
		"so is an expression");
}

/* n times `before`, a term, n times `behind`. */
static int nest(const char *before, uint32_t n, const char *behind)
{
	static char text[1 << 20];
	struct filter_why why = {.sentence = ""};
	struct filter *f = NULL;
	size_t at = 0;

	for (uint32_t i = 0; i < n; i++)
		at += (size_t)sprintf(text + at, "%s", before);
	at += (size_t)sprintf(text + at, "a.eq=1");
	for (uint32_t i = 0; i < n; i++)
		at += (size_t)sprintf(text + at, "%s", behind);
	must(at < sizeof(text));
	int rc = filter_parse_where(text, at, &why, &f);
	if (rc == 0)
		rc = matches(f, "{\"a\":1}");
	filter_free(f);
	must(rc >= 0 || strlen(why.sentence) > 20);
	return rc;
}

static void test_limits(void)
{
	static char text[FILTER_LEN_MAX + 100];
	struct filter_why why;
	struct filter *f;

	ok(nest("(", 64, ")") == 1 && nest("(", 65, ")") == -EINVAL &&
		nest("(b.eq=1 or c.eq=1 and ", 64, ")") == 0,
		"64 parentheses are taken, 65 are not");
	ok(nest("not ", 64, "") == 1 && nest("not ", 63, "") == 0 &&
		nest("not ", 65, "") == -EINVAL &&
		nest("not (", 32, ")") == 1 && nest("not (", 33, ")") == -EINVAL,
		"so are 64 nots, and both count together");
	ok(nest("a.eq=1 and ", 999, "") == 1 &&
		nest("b.eq=1 or ", 1000, "") == -EINVAL,
		"1,000 terms are taken, 1,001 are not");
	memset(text, 'x', sizeof(text));
	memcpy(text, "a.eq=", 5);
	int rc = filter_parse_term(text, FILTER_LEN_MAX, &why, &f);
	must(rc == 0);
	filter_free(f);
	ok(filter_parse_term(text, FILTER_LEN_MAX + 1, &why, &f) == -EINVAL &&
		strstr(why.sentence, "at most 1048576 bytes"),
		"a text of 1 MiB is taken, a byte more is not");
	memset(text, 'x', FILTER_FIELD_MAX + 1);
	memcpy(text + FILTER_FIELD_MAX + 1, ".eq=1", 5);
	ok(filter_parse_term(text, FILTER_FIELD_MAX + 6, &why, &f) == -EINVAL &&
		strstr(why.sentence, "longer than 4096"),
		"a field over 4,096 bytes is not");
}

/* ---- one text ---- */

static bool formats(const char *where, const char *want)
{
	struct filter *f = parse(where, true);
	struct meta_buf text = {0}, again = {0};
	bool holds = f && filter_format(f, &text) == 0 &&
		text.len == strlen(want) && !memcmp(text.bytes, want, text.len);

	if (!holds)
		diag("%s: %.*s", where, (int)text.len, text.bytes);
	filter_free(f);
	f = parse(want, true);
	holds = holds && f && filter_format(f, &again) == 0 &&
		again.len == text.len &&
		!memcmp(again.bytes, text.bytes, text.len);
	filter_free(f);
	free(text.bytes);
	free(again.bytes);
	return holds;
}

static void test_format(void)
{
	ok(formats("b.eq=2 and a.eq=1.0", "a.eq=1 and b.eq=2") &&
		formats("(b.eq=2 and (c.eq=3 and a.eq=1))",
			"a.eq=1 and b.eq=2 and c.eq=3") &&
		formats("a.eq=1 or a.eq=1.00 or b.eq=1 or a.eq=10e-1",
			"a.eq=1 or b.eq=1"),
		"order, repetition and parentheses do not show");
	ok(formats("(b.eq=1 or a.eq=1) and c.eq=1",
			"(a.eq=1 or b.eq=1) and c.eq=1") &&
		formats("c.eq=1 or b.eq=1 and a.eq=1",
			"a.eq=1 and b.eq=1 or c.eq=1") &&
		formats("not not not (a.eq=1 or b.eq=1)",
			"not (a.eq=1 or b.eq=1)") &&
		formats("not ((a.eq=1))", "not a.eq=1"),
		"parentheses stand where they count, nots once");
	ok(formats("(c.eq=1 and b.eq=1 or b.eq=1 and c.eq=1) and a.eq=1",
			"a.eq=1 and b.eq=1 and c.eq=1") &&
		formats("not (x.eq=1 and y.eq=2 or y.eq=2 and x.eq=1)",
			"not (x.eq=1 and y.eq=2)") &&
		formats("(c.eq=1 or b.eq=1) and (b.eq=1 or c.eq=1) or a.eq=1",
			"a.eq=1 or b.eq=1 or c.eq=1"),
		"what repetition makes simpler is simple");
	ok(formats("a.in=b,\"a\",2,1.0,b", "a.in=1,2,\"a\",\"b\"") &&
		formats("a.in=x", "a.eq=\"x\"") &&
		formats("a.nin=[5]", "a.ne=5") &&
		formats("a.in=[]", "a.in=[]") &&
		formats("a.exists=true", "a.exists=1"),
		"lists are sorted, and one value is eq");
	ok(formats("a.eq=100%25 or a.prefix=5 or a.contains=1.10",
			"a.contains=1.10 or a.eq=\"100%25\" or a.prefix=\"5\"") &&
		formats("meta.meta.x%20y.eq=%28", "meta.meta.x%20y.eq=\"(\"") &&
		formats("meta.k.eq=1", "k.eq=1") &&
		formats("a.eq=1e400 or a.eq=-0.000 or a.eq=12e-9",
			"a.eq=0 or a.eq=1.2e-8 or a.eq=1e+400"),
		"text is written so that it is read again as the same");
}

/* ---- joined, listed, damaged ---- */

static int list_field(void *ctx, struct vg_id field)
{
	char *text = ctx;

	sprintf(text + strlen(text), "%.*s ", (int)field.len, field.bytes);
	return strlen(text) > 12 ? 3 : 0;
}

static void test_join(void)
{
	const struct filter *parts[3];
	struct filter *all = NULL, *more = NULL;
	struct meta_buf text = {0};
	char fields[100] = "";

	parts[0] = parse("lang.eq=en", false);
	parts[1] = parse("t.contains=aab or not y.gt=1.5", true);
	parts[2] = parse("lang.in=en,de", false);
	must(parts[0] && parts[1] && parts[2]);
	ok(filter_join(parts, 3, &all) == 0 &&
		matches(all, "{\"lang\":\"en\",\"t\":\"\\naaab\"}") == 1 &&
		matches(all, "{\"lang\":\"de\"}") == 0 &&
		matches(all, "{\"lang\":\"en\",\"y\":2}") == 0,
		"joined filters must all match");
	must(filter_format(all, &text) == 0);
	for (int i = 0; i < 3; i++)
		filter_free((struct filter *)parts[i]);
	ok(matches(all, "{\"lang\":\"en\",\"t\":\"\\naaab\"}") == 1,
		"and owe nothing to what they were joined of");
	const char *want = "(not y.gt=1.5 or t.contains=\"aab\") and "
		"lang.eq=\"en\" and lang.in=\"de\",\"en\"";
	ok(text.len == strlen(want) && !memcmp(text.bytes, want, text.len),
		"they have the text of the expression with and");
	ok(filter_each_field(all, list_field, fields) == 0 &&
		!strcmp(fields, "lang t y "), "fields are listed once each");
	fields[0] = 0;
	strcpy(fields, "123456789");
	ok(filter_each_field(all, list_field, fields) == 3,
		"until the callback has enough");

	/* Joined again and again, on the right side, it becomes too much. */
	struct filter *one = parse("a.eq=1", false), *sum = all;
	int rc = 0;
	for (int i = 0; i < 2000 && rc == 0; i++) {
		parts[0] = one;
		parts[1] = sum;
		rc = filter_join(parts, 2, &more);
		if (rc == 0) {
			filter_free(sum);
			sum = more;
		}
	}
	ok(rc == -E2BIG && matches(sum, "{\"lang\":\"en\",\"a\":1}") == 1,
		"more than can be held is refused");
	filter_free(sum);
	filter_free(one);
	filter_free(NULL);
	free(text.bytes);
}

static void test_corrupt(void)
{
	static const char *const none[] = {"[1]", "5", "{\"a\"", "{\"b\":1,}",
		"{\"b\":[1}", "\"a\"", "{\"b\":{\"a\":1]}", "{\"b\":1}x", "{a:1}",
		"null"};
	struct filter *f = parse("a.eq=1", false);
	size_t n = 0;

	must(f);
	for (size_t i = 0; i < VG_ARRAY_LEN(none); i++) {
		struct meta m = {none[i], (uint32_t)strlen(none[i])};
		n += filter_matches(f, m) == -VG_ECORRUPT;
	}
	ok(n == VG_ARRAY_LEN(none), "what is no stored form is told to be "
		"damaged");
	ok(filter_matches(f, (struct meta){NULL, 0}) == 0,
		"no metadata at all is no damage");
	filter_free(f);
}

/* ---- decimals ---- */

static const char *const ascending[] = {"-1e+999999999999999998", "-1e+400",
	"-123456", "-1.25", "-1.2", "-1", "-0.5", "-1e-7", "-1e-400", "0",
	"1e-999999999999999999", "1e-400", "1e-101", "1e-100", "1e-7",
	"0.000001", "0.1", "0.10000000000000000000000000001", "0.2", "1",
	"1.01", "1.1", "9", "10", "11", "99.9", "100", "123456789012345678901",
	"1e+21", "1e+99", "1e+100", "1e+101", "1.5e+400",
	"1e+999999999999999998"};

static void test_decimal(void)
{
	size_t n = VG_ARRAY_LEN(ascending), n_order = 0, n_key = 0, n_text = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++) {
			uint8_t x[100], y[100];
			struct decimal a = decimal_scan(ascending[i],
				(uint32_t)strlen(ascending[i]));
			struct decimal b = decimal_scan(ascending[k],
				(uint32_t)strlen(ascending[k]));
			size_t x_len = decimal_encode(&a, x);
			size_t y_len = decimal_encode(&b, y);
			int want = (i > k) - (i < k);
			int is = decimal_compare(&a, &b);
			int key = memcmp(x, y, VG_MIN(x_len, y_len));
			if (key == 0)
				key = (x_len > y_len) - (x_len < y_len);
			n_order += (is > 0) - (is < 0) == want;
			n_key += (key > 0) - (key < 0) == want;
		}
		uint8_t key[100];
		char digits[200], text[200];
		struct decimal a = decimal_scan(ascending[i],
			(uint32_t)strlen(ascending[i])), back;
		size_t len = decimal_encode(&a, key);
		bool is_key = decimal_decode(key, len, digits, &back);
		text[is_key ? decimal_format(&back, text) : 0] = 0;
		n_text += !strcmp(text, ascending[i]);
		if (strcmp(text, ascending[i]) != 0)
			diag("%s instead of %s", text, ascending[i]);
	}
	ok(n_order == n * n, "decimals are in the order of numbers");
	ok(n_key == n * n, "and so are their keys");
	ok(n_text == n, "a key gives the number back in its one spelling");
	struct decimal d;
	char digits[20];
	ok(!decimal_decode((const uint8_t *)"", 0, digits, &d) &&
		!decimal_decode((const uint8_t *)"\3", 1, digits, &d) &&
		!decimal_decode((const uint8_t *)"\3\x81", 2, digits, &d) &&
		!decimal_decode((const uint8_t *)"\3\x81\x12", 3, digits, &d) &&
		!decimal_decode((const uint8_t *)"\3\x81\x20\x20", 4, digits,
			&d) && !decimal_decode((const uint8_t *)"\2\x20", 2,
			digits, &d), "what is no key is told");
}

int main(void)
{
	plan(35);
	test_types();
	test_absence();
	test_arrays();
	test_fields();
	test_text();
	test_expressions();
	test_refusals();
	test_limits();
	test_format();
	test_join();
	test_corrupt();
	test_decimal();
	return done();
}
