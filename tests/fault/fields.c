/* SPDX-License-Identifier: Apache-2.0 */
/* fields.c: each allocation of filters and indexes fails once, and for ever. */
#include "src/fields.h"

#include <errno.h>
#include <malloc.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fieldkit.h"
#include "tests/streamkit.h"
#include "tests/tap.h"

/*
 * The linker sends our calls here (--wrap). CRoaring is a shared library, which
 * --wrap does not reach: its calls come here because this program has functions
 * of those names itself, but not where a sanitizer has them.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif

static long n_calls, fail_at, n_failed;
static bool is_armed, is_forever;

static bool is_to_fail(void)
{
	if (!is_armed)
		return false;
	n_calls++;
	if (n_calls != fail_at && !(is_forever && n_calls > fail_at))
		return false;
	n_failed++;
	return true;
}

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

#ifdef IS_SANITIZED
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
#else
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
#define __real_malloc __libc_malloc
#define __real_calloc __libc_calloc
#define __real_realloc __libc_realloc

/* The names that the linker would send away are what is meant here. */
void *shared_malloc(size_t n) __asm__("malloc");
void *shared_calloc(size_t n, size_t size) __asm__("calloc");
void *shared_realloc(void *p, size_t n) __asm__("realloc");

void *shared_malloc(size_t n)
{
	return __wrap_malloc(n);
}

void *shared_calloc(size_t n, size_t size)
{
	return __wrap_calloc(n, size);
}

void *shared_realloc(void *p, size_t n)
{
	return __wrap_realloc(p, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	*p = is_to_fail() ? NULL : __libc_memalign(align, n);
	return *p ? 0 : ENOMEM;
}
#endif

void *__wrap_malloc(size_t n)
{
	return is_to_fail() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_to_fail() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return is_to_fail() ? NULL : __real_realloc(p, n);
}

/* ---- what is done ---- */

static struct fk_records records;
static struct fields *fields; /* with a and b of the first 100 versions */
static struct filter *filters[2];
static uint8_t room[1 << 20];
static struct stream saved = {.bytes = room, .cap = sizeof(room)};

static const char where[] = "a.in=1,\"x\",100 and (not o.x.contains=ab or "
	"b.gte=1.5) or c.prefix=a and a.ne=1 and a.ne=1";

static int play_filter(void)
{
	struct filter_why why;
	struct filter *f, *joined;
	struct meta_buf text = {0};
	int rc = filter_parse_where(where, strlen(where), &why, &f);

	if (rc < 0)
		return rc;
	const struct filter *parts[] = {f, filters[0]};
	rc = filter_join(parts, 2, &joined);
	if (rc == 0) {
		rc = filter_format(joined, &text);
		filter_free(joined);
	}
	filter_free(f);
	free(text.bytes);
	return rc;
}

static int match(const struct filter *f, uint32_t n)
{
	struct fields_rows rows = records.rows;
	roaring_bitmap_t *set;

	rows.n = n;
	int rc = fields_match(fields, f, &rows, &set);
	if (rc == 0)
		roaring_bitmap_free(set);
	return rc;
}

static int play_known(void)
{
	return match(filters[0], 100);
}

static int play_extended(void)
{
	return match(filters[0], records.n);
}

static int play_new(void)
{
	return match(filters[1], 100);
}

static int see_value(void *ctx, uint32_t no, struct meta json,
	const uint32_t *versions, uint32_t n)
{
	(void)ctx, (void)no, (void)json, (void)versions, (void)n;
	return 0;
}

static int see_count(void *ctx, struct meta json, uint32_t n)
{
	(void)ctx, (void)json, (void)n;
	return 0;
}

static int play_values(void)
{
	struct vg_id a = {"a", 1};
	struct fields_rows rows = records.rows;

	rows.n = 100;
	int rc = fields_each_value(fields, a, &rows, see_value, NULL);
	return rc < 0 ? rc : fields_facet(fields, a, &rows, NULL, see_count,
		NULL);
}

static int play_stream(void)
{
	struct fields_sink sink = {stream_write, &saved};
	struct fields_source source = {stream_read, &saved};
	struct fields *again;
	const char *why;
	int rc = fields_new(SIZE_MAX, 8, &again);

	if (rc < 0)
		return rc;
	saved.len = saved.at = 0;
	rc = fields_save(fields, &sink);
	if (rc == 0)
		rc = fields_load(again, 100, &source, &why);
	if (rc < 0 && fields_count(again) != 0)
		rc = -EIO;
	fields_free(again);
	return rc;
}

/* ---- each of it fails ---- */

static void set_up(void)
{
	must(fields_new(SIZE_MAX, 8, &fields) == 0);
	must(play_known() == 0);
	must(fields_count(fields) == 2);
}

/* What may be different after a failure: an index that was extended before it
 * stays extended. */
static bool is_as_it_was(size_t bytes, bool extends)
{
	if (extends)
		return fields_bytes(fields) >= bytes &&
			fields_count(fields) >= 2;
	return fields_bytes(fields) == bytes && fields_count(fields) == 2;
}

/* Fails the 1st, 2nd, ... allocation until all is well; whether each failure
 * was told and changed nothing. */
static bool survives(int (*play)(void), bool forever, bool extends, long *n)
{
	bool holds = true;
	int rc;

	for (fail_at = 1; holds; fail_at++) {
		set_up();
		size_t bytes = fields_bytes(fields);
		const char *why;
		n_calls = n_failed = 0;
		is_forever = forever;
		is_armed = true;
		rc = play();
		is_armed = false;
		holds = (rc == 0 || rc == -ENOMEM) &&
			fields_check(fields, &why) == 0;
		if (rc < 0)
			holds = holds && is_as_it_was(bytes, extends);
		holds = holds && fk_agree(fields, filters[0], &records.rows,
			NULL) && fk_agree(fields, filters[1], &records.rows,
			NULL);
		fields_free(fields);
		if (n_failed == 0)
			break;
		*n += rc < 0;
	}
	if (!holds)
		diag("failure %ld: %d", fail_at, rc);
	return holds && rc == 0;
}

int main(void)
{
	static const struct {
		const char *name;
		int (*play)(void);
		bool extends;
	} scenes[] = {
		{"a filter that is parsed, joined and written", play_filter, false},
		{"a question to what is indexed", play_known, false},
		{"an index that is extended", play_extended, true},
		{"a field that is new", play_new, true},
		{"values and facets", play_values, false},
		{"a stream that is saved and loaded", play_stream, false},
	};
	uint64_t rng = (uint64_t)seed() * 2 + 1;

	plan(2 * (int)VG_ARRAY_LEN(scenes));
	fk_add_random(&records, &rng, 150);
	filters[0] = fk_where("a.gte=1 and not b.contains=a");
	filters[1] = fk_where("c.ne=1 or o.x.exists=1");
	for (size_t i = 0; i < VG_ARRAY_LEN(scenes); i++) {
		for (int forever = 0; forever < 2; forever++) {
			long n = 0;
			bool holds = survives(scenes[i].play, forever,
				scenes[i].extends, &n);
			ok(holds && n > 0, "%s: each of %ld failures%s is told "
				"and changes nothing", scenes[i].name, n,
				forever ? " that last" : "");
		}
	}
	filter_free(filters[0]);
	filter_free(filters[1]);
	fk_fini(&records);
	return done();
}
