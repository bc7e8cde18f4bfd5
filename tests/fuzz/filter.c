/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.c: any bytes as a filter, over any records: an expression on the first
 * line, then a record on each. What was taken is written, read again, and
 * means the same; and indexes say what the metadata says.
 */
#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(holds)                                                       \
	do {                                                               \
		if (!(holds))                                              \
			abort();                                           \
	} while (0)

#define RECORDS_MAX 16

struct records {
	struct meta_buf at[RECORDS_MAX];
	uint32_t n;
};

static struct meta get(void *ctx, uint32_t version)
{
	struct records *r = ctx;

	check(version < r->n);
	return (struct meta){r->at[version].bytes,
		(uint32_t)r->at[version].len};
}

/* A stored form of its own length, of each line that is an object. */
static void read_records(const char *text, const char *end, struct records *r)
{
	while (text < end && r->n < RECORDS_MAX) {
		const char *line = memchr(text, '\n', (size_t)(end - text));
		const char *why;
		if (!line)
			line = end;
		struct meta_buf *buf = &r->at[r->n];
		if (meta_parse(text, (size_t)(line - text), buf, &why) == 0) {
			if (buf->len == 0) {
				free(buf->bytes);
				*buf = (struct meta_buf){0};
			} else {
				buf->bytes = realloc(buf->bytes, buf->len);
				check(buf->bytes);
			}
			r->n++;
		} else {
			free(buf->bytes);
			*buf = (struct meta_buf){0};
		}
		text = line + 1;
	}
}

static int count_field(void *ctx, struct vg_id field)
{
	uint32_t *n = ctx;

	check(field.len > 0 && field.len <= FILTER_FIELD_MAX);
	++*n;
	return 0;
}

/* The text is a filter that has the same text, and matches the same. */
static void write_and_read(const struct filter *f, struct records *r)
{
	struct meta_buf text = {0}, again = {0};
	struct filter *same;
	struct filter_why why;

	check(filter_format(f, &text) == 0 && text.len > 0);
	check(filter_parse_where(text.bytes, text.len, &why, &same) == 0);
	check(filter_format(same, &again) == 0);
	check(again.len == text.len &&
		memcmp(again.bytes, text.bytes, text.len) == 0);
	for (uint32_t i = 0; i < r->n; i++)
		check(filter_matches(f, get(r, i)) ==
			filter_matches(same, get(r, i)));
	filter_free(same);
	free(text.bytes);
	free(again.bytes);
}

static int see(void *ctx, struct meta json, uint32_t n)
{
	struct records *r = ctx;

	check(json.len > 0 && n > 0 && n <= r->n);
	return 0;
}

static int facet(void *ctx, struct vg_id field)
{
	struct records *r = ((void **)ctx)[1];
	struct fields_rows rows = {get, r, r->n};

	check(fields_facet(((void **)ctx)[0], field, &rows, NULL, see, r) == 0);
	return 0;
}

static void index_and_match(const struct filter *f, struct records *r)
{
	struct fields *fields;
	roaring_bitmap_t *set;
	const char *why;

	check(fields_new(SIZE_MAX, 4, &fields) == 0);
	for (uint32_t n = r->n / 2; n <= r->n; n++) {
		struct fields_rows rows = {get, r, n};
		check(fields_match(fields, f, &rows, &set) == 0);
		for (uint32_t i = 0; i < n; i++)
			check(roaring_bitmap_contains(set, i) ==
				(filter_matches(f, get(r, i)) == 1));
		roaring_bitmap_free(set);
	}
	check(fields_check(fields, &why) == 0);
	check(filter_each_field(f, facet, (void *[]){fields, r}) == 0);
	fields_free(fields);
}

static void use(struct filter *f, struct records *r)
{
	uint32_t n = 0;

	check(filter_each_field(f, count_field, &n) == 0 && n > 0);
	write_and_read(f, r);
	index_and_match(f, r);
	filter_free(f);
}

/* The sentence is whole, and the place is in the text or right behind it. */
static void see_refusal(const struct filter_why *why, size_t len)
{
	check(strncmp(why->sentence, "position ", 9) == 0);
	check(strlen(why->sentence) > 20);
	check(why->position >= 1 && why->position <= len + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *end = text + size;
	const char *line = size ? memchr(text, '\n', size) : NULL;
	struct records r = {.n = 0};
	struct filter_why why;
	struct filter *f;

	if (!line)
		line = end;
	if (line < end)
		read_records(line + 1, end, &r);
	for (uint32_t i = 0; i < 2; i++) {
		size_t len = (size_t)(line - text);
		int rc = i ? filter_parse_term(text, len, &why, &f) :
			filter_parse_where(text, len, &why, &f);
		check(rc == 0 || rc == -EINVAL);
		if (rc == 0)
			use(f, &r);
		else
			see_refusal(&why, len);
		/* A damaged record is told, or was not read that far. */
		if (rc == 0)
			continue;
		struct meta damaged = {text, (uint32_t)len};
		struct filter *any;
		check(filter_parse_term("a.b.ne=1", 8, &why, &any) == 0);
		rc = filter_matches(any, damaged);
		check(rc == 0 || rc == 1 || rc == -VG_ECORRUPT);
		filter_free(any);
	}
	for (uint32_t i = 0; i < r.n; i++)
		free(r.at[i].bytes);
	return 0;
}
