/* SPDX-License-Identifier: Apache-2.0 */
/* fields.c: indexes say what the metadata says, whatever is asked of them. */
#include <errno.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fieldkit.h"
#include "tests/streamkit.h"
#include "tests/tap.h"

static uint64_t rng;
static char where[16384];

static struct fields *make_fields(size_t bytes_max, uint32_t n_max)
{
	struct fields *f;

	must(fields_new(bytes_max, n_max, &f) == 0);
	return f;
}

static int write_piece(void *ctx, const void *bytes, size_t len)
{
	must(len > 0 && len <= 1u << 20);
	return stream_write(ctx, bytes, len);
}

#define sink_of(s) (&(struct fields_sink){write_piece, (s)})
#define source_of(s) (&(struct fields_source){stream_read, (s)})

/* n random filters of up to 8 terms against all of r. */
static bool all_agree(struct fields *f, const struct fields_rows *rows, long n)
{
	bool holds = true;
	long n_some = 0;

	for (long i = 0; i < n && holds; i++) {
		fk_random_where(&rng, 1 + fk_below(&rng, 8), where,
			sizeof(where));
		struct filter *filter = fk_where(where);
		uint32_t count;
		holds = fk_agree(f, filter, rows, &count);
		n_some += count > 0 && count < rows->n;
		filter_free(filter);
	}
	if (holds && n >= 100 && n_some < n / 4) {
		diag("only %ld of %ld filters tell records apart", n_some, n);
		holds = false;
	}
	return holds;
}

static bool is_in_order(struct fields *f)
{
	const char *why = NULL;
	int rc = fields_check(f, &why);

	if (rc < 0)
		diag("%s", why);
	return rc == 0;
}

static void test_random(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	struct fk_records r = {0};
	long n = env_long("VG_SOAK", 0) ? 20000 : 2000;

	fk_add_random(&r, &rng, 700);
	ok(all_agree(f, &r.rows, n),
		"%ld nested filters over 700 records of mixed types are what "
		"the metadata says", n);
	ok(is_in_order(f), "and the indexes are in order");
	fields_free(f);
	fk_fini(&r);
}

static void test_steps(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	struct fk_records r = {0};
	bool holds = true;

	ok(all_agree(f, &(struct fields_rows){.n = 0}, 20),
		"of no versions none match");
	for (int i = 0; i < 300 && holds; i++) {
		fk_add_random(&r, &rng, fk_below(&rng, 20) ?
			1 + fk_below(&rng, 3) : 200);
		holds = all_agree(f, &r.rows, 3) && is_in_order(f);
	}
	ok(holds, "an index that is extended 300 times stays right and in order");
	struct fields_rows less = r.rows;
	for (int i = 0; i < 100 && holds; i++) {
		less.n = fk_below(&rng, r.n + 1);
		holds = all_agree(f, &less, 1);
	}
	ok(holds, "and right for who knows fewer versions than it");
	fields_free(f);
	fk_fini(&r);
}

static void test_dropping(void)
{
	struct fields *few = make_fields(SIZE_MAX, 2);
	struct fields *small = make_fields(1, 64);
	struct fk_records r = {0};

	fk_add_random(&r, &rng, 200);
	ok(all_agree(few, &r.rows, 300) && fields_count(few) <= 2,
		"with two fields at most answers are the same");
	ok(all_agree(small, &r.rows, 300) && fields_count(small) == 1,
		"with no memory to keep them, too, and the last one stays");

	struct filter *a = fk_where("a.exists=1"), *b = fk_where("b.exists=1");
	struct filter *c = fk_where("c.exists=1");
	struct stream s = {0};
	fields_free(few);
	few = make_fields(SIZE_MAX, 2);
	must(fk_agree(few, a, &r.rows, NULL) && fk_agree(few, b, &r.rows, NULL));
	must(fk_agree(few, a, &r.rows, NULL) && fk_agree(few, c, &r.rows, NULL));
	must(fields_save(few, sink_of(&s)) == 0);
	/* Head 16, sum; a field's head 8, sum; its name: a was used first. */
	ok(s.len > 41 && s.bytes[40] == 'a',
		"the one that was not used for longest goes");
	free(s.bytes);
	filter_free(a);
	filter_free(b);
	filter_free(c);
	fields_free(few);
	fields_free(small);
	fk_fini(&r);
}

static void test_names(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	struct fk_records r = {0};
	struct vg_id *names = NULL;
	uint32_t n = 7;

	ok(fields_names(f, &names, &n) == 0 && n == 0, "no field is indexed");
	free(names);
	fk_add(&r, "{\"b\":1}");
	struct filter *filter = fk_where("b.eq=1 and a.c.eq=1 or ab.exists=1 "
		"or a.eq=2");
	ok(fk_agree(f, filter, &r.rows, &n) &&
			fields_names(f, &names, &n) == 0 && n == 4 &&
			names[0].len == 1 && names[1].len == 3 &&
			memcmp(names[1].bytes, "a.c", 3) == 0 &&
			memcmp(names[2].bytes, "ab", 2) == 0 &&
			memcmp(names[3].bytes, "b", 1) == 0,
		"then those that were asked for, by their bytes");
	free(names);
	filter_free(filter);
	fk_fini(&r);
	fields_free(f);
}

static void test_bytes(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	struct fk_records r = {0};
	struct filter *a = fk_where("n.eq=5");
	size_t before = fields_bytes(f);
	char json[64];

	for (int i = 0; i < 20000; i++) {
		sprintf(json, "{\"n\":%d}", i);
		fk_add(&r, json);
	}
	must(fk_agree(f, a, &r.rows, NULL));
	size_t each = (fields_bytes(f) - before) / 20000;
	ok(each >= 8 && each <= 32, "a value of one version takes %zu bytes",
		each);
	filter_free(a);
	fields_free(f);
	fk_fini(&r);
}

static void test_corrupt(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	struct fk_records r = {0};
	struct filter *a = fk_where("a.eq=1");
	roaring_bitmap_t *set = NULL;

	fk_add(&r, "{\"a\":1}");
	fk_add(&r, "{\"a\":1}");
	struct meta was = r.at[1];
	r.at[1] = (struct meta){"{\"a\":", 5};
	ok(fields_match(f, a, &r.rows, &set) == -VG_ECORRUPT && !set &&
		fields_count(f) == 0 && is_in_order(f),
		"metadata that is none is told, and nothing is kept");
	r.at[1] = was;
	ok(fk_agree(f, a, &r.rows, NULL), "once it is whole again, it is right");
	filter_free(a);
	fields_free(f);
	fk_fini(&r);
}

/* ---- values ---- */

struct told {
	char text[4096];
	size_t len;
	uint32_t last;
};

static int tell(void *ctx, uint32_t no, struct meta json,
	const uint32_t *versions, uint32_t n)
{
	struct told *t = ctx;

	if (t->len == 0 || no != t->last)
		t->len += (size_t)sprintf(t->text + t->len, "%s%u %.*s:",
			t->len ? "; " : "", no, (int)VG_MIN(json.len, 20u),
			json.json);
	t->last = no;
	for (uint32_t i = 0; i < n; i++)
		t->len += (size_t)sprintf(t->text + t->len, " %u", versions[i]);
	return 0;
}

static int tell_facet(void *ctx, struct meta json, uint32_t n)
{
	struct told *t = ctx;

	t->len += (size_t)sprintf(t->text + t->len, "%s%.*s %u",
		t->len ? ", " : "", (int)VG_MIN(json.len, 20u), json.json, n);
	return 0;
}

static int tell_first(void *ctx, struct meta json, uint32_t n)
{
	return tell_facet(ctx, json, n) == 0 ? 7 : 0;
}

static bool is_told(const struct told *t, const char *want)
{
	if (strcmp(t->text, want) != 0)
		diag("%s\n# instead of\n# %s", t->text, want);
	return strcmp(t->text, want) == 0;
}

static bool is_odd(void *ctx, uint32_t version)
{
	(void)ctx;
	return version % 2 == 1;
}

static void add_values(struct fk_records *r)
{
	fk_add(r, "{\"a\":2}");
	fk_add(r, "{\"a\":[\"x\",2.0,\"x\",{\"y\":1},null]}");
	fk_add(r, "{\"a\":\"x\",\"a.b\":1}");
	fk_add(r, "{\"a\":null}");
	fk_add(r, "{\"a\":{\"b\":[1,2]},\"a.b\":2}");
	fk_add(r, "{\"a\":true}");
	fk_add(r, "{\"a\":-1.50}");
	fk_add(r, "{\"a\":\"\\u00e9\\\"\"}");
}

static void test_values(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	struct fk_records r = {0};
	struct told t = {.len = 0};
	struct vg_id a = {"a", 1}, ab = {"a.b", 3};

	add_values(&r);
	ok(fields_each_value(f, a, &r.rows, tell, &t) == 0 && is_told(&t,
		"0 true: 5; 1 -1.5: 6; 2 2: 0 1; 3 \"x\": 2 1; "
		"4 \"\xc3\xa9\\\"\": 7"),
		"values come in order, each version once");
	t = (struct told){.len = 0};
	ok(fields_each_value(f, ab, &r.rows, tell, &t) == 0 && is_told(&t,
		"0 1: 2 4; 1 2: 4"),
		"a version that has a value twice comes once");
	t = (struct told){.len = 0};
	ok(fields_facet(f, a, &r.rows, NULL, tell_facet, &t) == 0 && is_told(&t,
		"2 2, \"x\" 2, true 1, -1.5 1, \"\xc3\xa9\\\"\" 1"),
		"a facet has the most frequent first, then by value");
	struct fields_among odd = {.is_among = is_odd};
	t = (struct told){.len = 0};
	ok(fields_facet(f, a, &r.rows, &odd, tell_facet, &t) == 0 && is_told(&t,
		"true 1, 2 1, \"x\" 1, \"\xc3\xa9\\\"\" 1"),
		"a facet counts those that a predicate accepts");
	odd.set = roaring_bitmap_of(4, 0, 1, 2, 900);
	t = (struct told){.len = 0};
	ok(fields_facet(f, a, &r.rows, &odd, tell_facet, &t) == 0 &&
		is_told(&t, "2 1, \"x\" 1"), "and that are in a set");
	roaring_bitmap_free((roaring_bitmap_t *)odd.set);
	t = (struct told){.len = 0};
	ok(fields_facet(f, a, &r.rows, NULL, tell_first, &t) == 7 &&
		is_told(&t, "2 2"), "what the callback returns ends it");
	fields_free(f);
	fk_fini(&r);
}

/* Counts of long values and of many versions, against a plain count. */
static int sum_up(void *ctx, struct meta json, uint32_t n)
{
	uint32_t *sums = ctx;

	must(json.len > 0);
	sums[0]++;
	sums[1] += n;
	sums[2] = VG_MAX(sums[2], json.len);
	return 0;
}

static void test_many_values(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	struct fk_records r = {0};
	struct vg_id a = {"a", 1};
	static char json[1024];
	char text[600];
	uint32_t sums[3] = {0}, half[3] = {0};

	for (uint32_t i = 0; i < 9000; i++) {
		memset(text, 'v', 500);
		sprintf(text + 500, "%u", i % 3000);
		sprintf(json, "{\"a\":\"%s\"}", i < 6000 ? text : "short");
		fk_add(&r, json);
		if (i == 4000)
			must(fields_facet(f, a, &r.rows, NULL, sum_up, half) == 0);
	}
	must(fields_facet(f, a, &r.rows, NULL, sum_up, sums) == 0);
	ok(half[0] == 3000 && half[1] == 4001 && half[2] == 506,
		"long values are told whole, and are one if they are equal");
	ok(sums[0] == 3001 && sums[1] == 9000, "with shorter ones, too");
	struct fields_rows less = r.rows;
	less.n = 6100;
	memset(sums, 0, sizeof(sums));
	must(fields_facet(f, a, &less, NULL, sum_up, sums) == 0);
	ok(sums[0] == 3001 && sums[1] == 6100,
		"who knows fewer versions gets no more counted");
	fields_free(f);
	fk_fini(&r);
}

/* ---- streams ---- */

static struct fields *load(struct stream *s, uint32_t n, int *rc)
{
	struct fields *f = make_fields(SIZE_MAX, 64);
	const char *why = "";

	s->at = 0;
	*rc = fields_load(f, n, source_of(s), &why);
	if (*rc == 0)
		return f;
	must(strlen(why) > 0 && fields_count(f) == 0);
	fields_free(f);
	return NULL;
}

static void test_stream(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64), *again;
	struct fk_records r = {0};
	struct stream s = {0}, t = {0};
	int rc;

	fk_add_random(&r, &rng, 400);
	must(all_agree(f, &r.rows, 100));
	must(fields_save(f, sink_of(&s)) == 0);
	again = load(&s, r.n, &rc);
	ok(again && s.at == s.len && fields_count(again) == fields_count(f) &&
		is_in_order(again), "what was saved is loaded");
	must(again && fields_save(again, sink_of(&t)) == 0);
	ok(t.len == s.len && memcmp(t.bytes, s.bytes, s.len) == 0,
		"and saved again the same");
	ok(fields_bytes(again) == fields_bytes(f), "and as large in memory");
	ok(all_agree(again, &r.rows, 200), "and answers the same");
	fk_add_random(&r, &rng, 100);
	ok(all_agree(again, &r.rows, 200), "also when it is extended");
	ok(!load(&s, 399, &rc) && rc == -VG_ECORRUPT,
		"for fewer versions than it has it is refused");
	s.at = 0;
	const char *why;
	ok(fields_load(again, r.n, source_of(&s), &why) == 0 &&
			all_agree(again, &r.rows, 100),
		"fields that are there already stay as they are");
	t.len = 0;
	t.limit = s.len / 2;
	ok(fields_save(f, sink_of(&t)) == -ENOSPC,
		"an error of the sink is returned");
	fields_free(again);
	fields_free(f);
	fk_fini(&r);
	free(s.bytes);
	free(t.bytes);
}

/* What a restart would look at again. */
static void test_unsaved(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64), *again;
	struct fk_records r = {0};
	struct filter *one = fk_where("a.eq=1"), *two = fk_where("b.eq=1");
	struct stream s = {0}, t = {0};
	uint64_t all;
	int rc;

	fk_add_random(&r, &rng, 300);
	must(fk_agree(f, one, &r.rows, NULL));
	ok(fields_unsaved(f, &all) == 300 && all == 300 && fields_read(f) == 300,
		"what is indexed is not saved");
	t.limit = 1;
	must(fields_save(f, sink_of(&t)) == -ENOSPC);
	ok(fields_unsaved(f, &all) == 300, "nor by a stream that fails");
	must(fields_save(f, sink_of(&s)) == 0);
	ok(fields_unsaved(f, &all) == 0 && all == 300, "but by one that ends");
	fk_add_random(&r, &rng, 40);
	must(fk_agree(f, one, &r.rows, NULL) && fk_agree(f, two, &r.rows, NULL));
	ok(fields_unsaved(f, &all) == 40 + 340 && all == 680 &&
			fields_read(f) == 680,
		"what came since is not, for each of its fields");
	again = load(&s, r.n, &rc);
	ok(again && fields_unsaved(again, &all) == 0 && all == 300 &&
			fk_agree(again, one, &r.rows, NULL) &&
			fields_unsaved(again, &all) == 40 &&
			fields_read(again) == 40,
		"what was loaded is, and is not looked at again");
	fields_unsave(again);
	ok(fields_unsaved(again, &all) == 340, "unless the stream got lost");
	ok(fields_index_like(again, f, 0, &r.rows) == 1 &&
			fields_index_like(again, f, 1, &r.rows) == 1 &&
			fields_index_like(again, f, 2, &r.rows) == 0 &&
			fields_count(again) == 2 && is_in_order(again) &&
			fields_read(again) == 40 + 340,
		"and the fields of others are indexed like those");
	filter_free(one);
	filter_free(two);
	fields_free(again);
	fields_free(f);
	fk_fini(&r);
	free(s.bytes);
	free(t.bytes);
}

static void test_damage(void)
{
	struct fields *f = make_fields(SIZE_MAX, 64), *again;
	struct fk_records r = {0};
	struct filter *both = fk_where("a.eq=1 and o.x.exists=1");
	struct stream s = {0};
	long n_cut = 0, n_flipped = 0;
	int rc;

	fk_add_random(&r, &rng, 130);
	must(fk_agree(f, both, &r.rows, NULL));
	must(fields_save(f, sink_of(&s)) == 0);
	size_t len = s.len;
	for (s.len = 0; s.len < len; s.len++) {
		again = load(&s, r.n, &rc);
		n_cut += !again && rc == -VG_ECORRUPT;
		fields_free(again);
	}
	ok(n_cut == (long)len, "every beginning of a stream of %zu bytes is "
		"refused", len);
	for (size_t i = 0; i < len; i++) {
		uint8_t was = s.bytes[i];
		s.bytes[i] ^= (uint8_t)(1 + fk_below(&rng, 255));
		again = load(&s, r.n, &rc);
		n_flipped += !again && rc == -VG_ECORRUPT;
		fields_free(again);
		s.bytes[i] = was;
	}
	again = load(&s, r.n, &rc);
	ok(n_flipped == (long)len && again,
		"so is every one with one byte changed");
	fields_free(again);
	filter_free(both);
	fields_free(f);
	fk_fini(&r);
	free(s.bytes);
}

int main(void)
{
	plan(39);
	rng = (uint64_t)seed() * 0x9e3779b97f4a7c15ull | 1;
	test_random();
	test_steps();
	test_dropping();
	test_names();
	test_bytes();
	test_corrupt();
	test_values();
	test_many_values();
	test_stream();
	test_unsaved();
	test_damage();
	return done();
}
