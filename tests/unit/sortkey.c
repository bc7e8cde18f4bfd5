/* SPDX-License-Identifier: Apache-2.0 */
/* sortkey.c: keys of values are ordered as values are, and equal as they are. */
#include "src/sortkey.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/tap.h"

/* The linker sends the product's allocations here: fail_at 1 fails the next. */
static long fail_at;
void *__real_realloc(void *p, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__real_calloc(size_t n, size_t len);
void *__wrap_calloc(size_t n, size_t len);

static bool fails_now(void)
{
	return fail_at > 0 && --fail_at == 0;
}

void *__wrap_realloc(void *p, size_t len)
{
	return fails_now() ? NULL : __real_realloc(p, len);
}

void *__wrap_calloc(size_t n, size_t len)
{
	return fails_now() ? NULL : __real_calloc(n, len);
}

static struct meta meta_of(const char *json)
{
	return (struct meta){json, (uint32_t)(json ? strlen(json) : 0)};
}

static struct vg_id field_of(const char *name)
{
	return (struct vg_id){name, (uint32_t)strlen(name)};
}

/* Metadata whose field x ascends; "=" in front: it equals the one before. */
static const char *const ascending[] = {
	"{\"x\":-1e400}",
	"{\"x\":-2}",
	"={\"x\":-2.00}",
	"{\"x\":-1.5}",
	"{\"x\":0}",
	"={\"x\":-0.0}",
	"{\"y\":7,\"x\":1e-30}",
	"{\"x\":9}",
	"{\"x\":10}",
	"={\"x\":1e1}",
	"{\"x\":9007199254740992}",
	"{\"x\":9007199254740993}",
	"{\"x\":\"\"}",
	"{\"x\":\"10\"}",
	"{\"x\":\"9\"}",
	"{\"x\":\"a\"}",
	"={\"x\":\"\\u0061\"}",
	"{\"x\":\"a\\n\"}",
	"{\"x\":\"aa\"}",
	"{\"x\":\"\xc3\xbc\"}",
	"{\"x\":false}",
	"{\"x\":true}",
	"{\"x\":[1,[2,3]]}",
	"{\"x\":[2]}",
	"{\"x\":{\"x\":null}}",
	"{\"y\":1}",
	"={\"x\":null}",
	"=",
};

static void test_order(void)
{
	struct sortkeys keys = {0};
	const int n = (int)VG_ARRAY_LEN(ascending);
	int rank[VG_ARRAY_LEN(ascending)], wrong[2] = {0};

	for (int i = 0; i < n; i++) {
		const char *json = ascending[i];
		bool is_equal = *json == '=';

		rank[i] = i ? rank[i - 1] + !is_equal : 0;
		json += is_equal;
		must(sortkeys_add(&keys, meta_of(*json ? json : NULL),
			     field_of("x")) == 0);
	}
	for (int desc = 0; desc < 2; desc++) {
		keys.is_desc = desc;
		for (int i = 0; i < n * n; i++) {
			int a = i / n, b = i % n;
			int want = (rank[a] > rank[b]) - (rank[a] < rank[b]);
			int got = sortkeys_compare(
				&keys, (uint32_t)a, (uint32_t)b);

			if (desc && rank[a] != rank[n - 1] &&
				rank[b] != rank[n - 1])
				want = -want;
			if ((got > 0) - (got < 0) == want)
				continue;
			wrong[desc]++;
			diag("%s, %s", ascending[a], ascending[b]);
		}
	}
	ok(!wrong[0], "%d values of every type stand in their order", n);
	ok(!wrong[1], "or the other way round, those without one last");
	sortkeys_fini(&keys);
	sortkeys_fini(&keys);
	ok(!keys.n && !keys.bytes.bytes, "fini twice is harmless");
}

static bool is_same(const char *a, const char *b, const char *field)
{
	struct sortkeys keys = {0};
	bool same;

	must(sortkeys_add(&keys, meta_of(a), field_of(field)) == 0);
	must(sortkeys_add(&keys, meta_of(b), field_of(field)) == 0);
	same = sortkeys_compare(&keys, 0, 1) == 0;
	sortkeys_fini(&keys);
	return same;
}

static void test_fields(void)
{
	ok(is_same("{\"a\":{\"b\":3}}", "{\"a.b\":3}", "a.b"),
		"dots lead into objects, or are part of a key");
	ok(is_same("{\"a\":{\"b\":null},\"a.b\":4}", "{\"a.b\":4}", "a.b"),
		"the first place that is not null counts");
	ok(is_same("{\"a\":{\"b\":3},\"a.b\":4}", "{\"a.b\":3}", "a.b"),
		"also where there are two");
	ok(!is_same("{\"a\":[3]}", "{\"a\":3}", "a"),
		"an array is none of its elements");
	ok(is_same("{\"a\":[]}", "{\"b\":1,\"a\":[],\"c\":2}", "a"),
		"its text is its value, without what is behind it");
	ok(is_same("{\"a\":[3]}", "{}", "a.b"), "no field leads into one");
}

/* Values 0..n-1, thrice each, in a scattered order. */
static void test_distinct(void)
{
	struct distinct d = {.field = field_of("n")};
	const uint32_t n = 1000;
	uint32_t first[1000], wrong = 0, no, n_new = 0;
	char json[64];

	for (uint32_t i = 0; i < 3 * n; i++) {
		uint32_t value = i * 7919 % n;
		int rc;

		snprintf(json, sizeof(json), "{\"n\":\"%u\"}", value);
		rc = distinct_put(&d, meta_of(json), &no);
		wrong += rc != (i < n);
		if (rc == 1)
			first[value] = no;
		wrong += no != first[value];
		n_new += rc == 1;
	}
	ok(!wrong && n_new == n && d.keys.n == n,
		"each of 1,000 values is new once and keeps its number");
	ok(distinct_put(&d, meta_of(NULL), &no) == 1 && no == n &&
			distinct_put(&d, meta_of("{\"n\":null}"), &no) == 0 &&
			no == n,
		"no value is one as well");
	distinct_fini(&d);
	distinct_fini(&d);
	ok(!d.table && !d.keys.end, "fini twice is harmless");
}

static void test_errors(void)
{
	struct distinct d = {.field = field_of("x")};
	struct sortkeys keys = {0};
	bool told = true;
	uint32_t no = 77;
	long n;

	ok(sortkeys_add(&keys, meta_of("{\"x\":[1"), field_of("x")) ==
				-VG_ECORRUPT &&
			sortkeys_add(&keys, meta_of("x"), field_of("x")) ==
				-VG_ECORRUPT &&
			keys.n == 0 && keys.bytes.len == 0,
		"what is no metadata is told, and adds nothing");
	sortkeys_fini(&keys);
	for (n = 1; n < 100; n++) {
		int rc;

		fail_at = n;
		rc = distinct_put(&d, meta_of("{\"x\":12345}"), &no);
		fail_at = 0;
		if (rc == 1)
			break;
		told &= rc == -ENOMEM && d.keys.n == 0 && no == 77;
	}
	ok(told && n >= 3 && no == 0 && d.keys.n == 1,
		"an allocation that fails is told, and changes nothing");
	distinct_fini(&d);
}

int main(void)
{
	plan(14);
	test_order();
	test_fields();
	test_distinct();
	test_errors();
	return done();
}
