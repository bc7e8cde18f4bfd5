/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields.c: any bytes as saved indexes. As a changed byte never passes the
 * sums, they are put right here before, so that what stands behind is tried.
 */
#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields.h"
#include "src/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(holds)                                                       \
	do {                                                               \
		if (!(holds))                                              \
			abort();                                           \
	} while (0)

#define N 300

struct stream {
	const uint8_t *bytes;
	size_t len, at;
	uint64_t sum;
	bool was_sum; /* the piece before was the sum's, by its length */
	bool is_mended;
};

/*
 * A read of 8 bytes is a sum, or a field's head, or an array of 8: a head comes
 * behind a sum, and arrays are told apart only by what they are. So all reads
 * of 8 bytes are taken for sums, but for those that follow one at once.
 */
static int mended_read(void *ctx, void *buf, size_t len)
{
	struct stream *s = ctx;

	if (s->len - s->at < len)
		return -VG_ECORRUPT;
	memcpy(buf, s->bytes + s->at, len);
	s->at += len;
	if (s->is_mended && len == 8 && !s->was_sum) {
		memcpy(buf, &s->sum, 8);
		s->was_sum = true;
		return 0;
	}
	s->was_sum = false;
	s->sum = wire_hash_pair(&s->sum, 8, buf, len);
	return 0;
}

static struct meta get(void *ctx, uint32_t version)
{
	(void)ctx;
	return version % 2 ? (struct meta){"{\"a\":1}", 7} :
		(struct meta){"{\"a\":[\"x\",2]}", 13};
}

static int see_value(void *ctx, uint32_t no, struct meta json,
	const uint32_t *versions, uint32_t n)
{
	(void)ctx, (void)no;
	check(json.len > 0 && n > 0);
	for (uint32_t i = 0; i < n; i++)
		check(versions[i] < N && (i == 0 || versions[i] > versions[i - 1]));
	return 0;
}

static void use(struct fields *f)
{
	static const char *const wheres[] = {"a.eq=1", "a.gte=0", "a.lt=x",
		"a.prefix=x", "a.contains=x", "not a.ne=true"};
	struct fields_rows rows = {get, NULL, N};
	struct vg_id a = {"a", 1};
	const char *why;

	check(fields_check(f, &why) == 0);
	for (size_t i = 0; i < VG_ARRAY_LEN(wheres); i++) {
		struct filter_why refused;
		struct filter *filter;
		roaring_bitmap_t *set;
		check(filter_parse_where(wheres[i], strlen(wheres[i]), &refused,
			&filter) == 0);
		check(fields_match(f, filter, &rows, &set) == 0);
		if (roaring_bitmap_get_cardinality(set) > 0)
			check(roaring_bitmap_maximum(set) < N);
		roaring_bitmap_free(set);
		filter_free(filter);
	}
	int rc = fields_each_value(f, a, &rows, see_value, NULL);
	check(rc == 0 || rc == -VG_ECORRUPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int mended = 0; mended < 2; mended++) {
		struct stream s = {.bytes = data, .len = size,
			.is_mended = mended};
		struct fields_source source = {mended_read, &s};
		struct fields *f;
		const char *why = NULL;
		check(fields_new(SIZE_MAX, 8, &f) == 0);
		int rc = fields_load(f, N, &source, &why);
		check(rc == 0 || (rc == -VG_ECORRUPT && why));
		check(rc == 0 || fields_count(f) == 0);
		if (rc == 0)
			use(f);
		fields_free(f);
	}
	return 0;
}
