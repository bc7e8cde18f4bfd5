/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c: see stream.h. */
#include "tests/fuzz/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/element.h"

#define check(holds)                                                       \
	do {                                                               \
		if (!(holds))                                              \
			abort();                                           \
	} while (0)

/* What was told, as a sum that depends on all of it and its order. */
struct sum {
	uint64_t value, number;
	const struct rowstream *stream;
};

static void add(struct sum *sum, const void *bytes, size_t len)
{
	const unsigned char *b = bytes;

	for (size_t i = 0; i < len; i++)
		sum->value = (sum->value ^ b[i]) * 0x100000001b3;
	sum->value = (sum->value ^ len) * 0x100000001b3;
}

static int add_row(void *ctx, const struct record *r, uint64_t number)
{
	struct sum *sum = ctx;
	enum vg_dtype dtype = sum->stream->parser.dtype;

	check(number >= sum->number);
	sum->number = number + 1;
	check(!r->vec == !r->dim && (!r->vec || r->dim == sum->stream->dim));
	for (uint32_t i = 0; i < r->dim; i++)
		check(isfinite(element_get(dtype, r->vec, i)));
	check(r->id.len <= VG_ID_MAX && r->meta_len <= VG_META_MAX);
	add(sum, r->vec, vg_row_len(dtype, r->dim));
	add(sum, r->id.bytes, r->id.len);
	add(sum, r->meta, r->meta_len);
	add(sum, &number, sizeof(number));
	return 0;
}

static void add_bad(void *ctx, uint64_t place, const char *why)
{
	check(*why);
	add(ctx, &place, sizeof(place));
	add(ctx, why, strlen(why));
}

/* What data[] is read as. */
struct reading {
	enum rowstream_kind kind;
	enum vg_dtype dtype;
	uint32_t dim;
};

static uint64_t run(const struct reading *as, const uint8_t *data, size_t size,
	size_t most)
{
	struct rowstream s;
	struct sum sum = {0, 0, &s};
	struct rowstream_calls calls = {add_row, add_bad, &sum};
	uint64_t rng = size * 977 + most;
	int rc = 0;

	rowstream_init(&s, as->kind, as->dtype, as->dim, &calls);
	for (size_t at = 0; at < size && rc == 0;) {
		rng = rng * 6364136223846793005u + 1442695040888963407u;
		size_t n = 1 + (size_t)(rng >> 33) % most;
		n = most >= size ? size : VG_MIN(n, size - at);
		/* A copy of its size, so that a sanitizer sees an overrun. */
		uint8_t *copy = malloc(n);
		check(copy);
		memcpy(copy, data + at, n);
		rc = rowstream_feed(&s, copy, n);
		free(copy);
		at += n;
	}
	if (rc == 0)
		rc = rowstream_end(&s);
	if (rc < 0)
		add(&sum, s.error, strlen(s.error));
	add(&sum, &rc, sizeof(rc));
	rowstream_fini(&s);
	return sum.value;
}

void fuzz_stream(enum rowstream_kind kind, const uint8_t *data, size_t size)
{
	if (size < 2)
		return;
	struct reading as = {kind, (enum vg_dtype)(VG_F32 + data[1] / 64),
		data[0]};
	size_t most = 1 + (size_t)data[1];
	if (as.dtype == VG_B1)
		as.dim &= ~7u;
	data += 2;
	size -= 2;
	uint64_t whole = run(&as, data, size, size + 1);
	check(run(&as, data, size, most) == whole);
}
