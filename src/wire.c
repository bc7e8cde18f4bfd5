/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c: see wire.h. */
#include "src/wire.h"

#include <assert.h>
#include <string.h>
#define XXH_INLINE_ALL /* its state stands on our stack: no ABI to match */
#include <xxhash.h>

/*
 * Reserves len bytes of the output: NULL if there are too few, which sticks,
 * or if they are only counted.
 */
static uint8_t *out_take(struct wire_out *out, size_t len)
{
	if (!out->base) {
		assert(len <= SIZE_MAX - out->len);
		out->len += len;
		return NULL;
	}
	assert(out->len <= out->cap);
	if (out->failed || len > out->cap - out->len) {
		out->failed = true;
		return NULL;
	}
	uint8_t *at = out->base + out->len;

	out->len += len;
	return at;
}

/* `width` bytes of v, the lowest first. */
static void put_le(struct wire_out *out, uint64_t v, size_t width)
{
	uint8_t *at = out_take(out, width);

	assert(width <= 8);
	for (size_t i = 0; at && i < width; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

void wire_put_u8(struct wire_out *out, uint8_t v)
{
	put_le(out, v, 1);
}

void wire_put_u16(struct wire_out *out, uint16_t v)
{
	put_le(out, v, 2);
}

void wire_put_u32(struct wire_out *out, uint32_t v)
{
	put_le(out, v, 4);
}

void wire_put_u64(struct wire_out *out, uint64_t v)
{
	put_le(out, v, 8);
}

void wire_put_bytes(struct wire_out *out, const void *bytes, size_t len)
{
	assert(bytes || len == 0);
	uint8_t *at = out_take(out, len);

	if (at && len > 0)
		memcpy(at, bytes, len);
}

void wire_put_str(struct wire_out *out, const void *bytes, uint32_t len)
{
	wire_put_u32(out, len);
	wire_put_bytes(out, bytes, len);
}

const void *wire_get_bytes(struct wire_in *in, size_t len)
{
	if (in->failed || len > in->left) {
		in->failed = true;
		return NULL;
	}
	const uint8_t *at = in->at;

	in->at += len;
	in->left -= len;
	return at;
}

static uint64_t get_le(struct wire_in *in, size_t width)
{
	const uint8_t *at = wire_get_bytes(in, width);
	uint64_t v = 0;

	assert(width <= 8);
	for (size_t i = 0; at && i < width; i++)
		v |= (uint64_t)at[i] << 8 * i;
	return v;
}

uint8_t wire_get_u8(struct wire_in *in)
{
	return (uint8_t)get_le(in, 1);
}

uint16_t wire_get_u16(struct wire_in *in)
{
	return (uint16_t)get_le(in, 2);
}

uint32_t wire_get_u32(struct wire_in *in)
{
	return (uint32_t)get_le(in, 4);
}

uint64_t wire_get_u64(struct wire_in *in)
{
	return get_le(in, 8);
}

const void *wire_get_str(
	struct wire_in *in, uint32_t min, uint32_t max, uint32_t *len)
{
	uint32_t n = wire_get_u32(in);

	assert(min <= max);
	if (n < min || n > max)
		in->failed = true;
	const void *at = wire_get_bytes(in, n);

	*len = at ? n : 0;
	return at;
}

/* Offset of the checksum in a frame's head; it covers what is before it. */
#define HEAD_SUMMED 24u

static uint64_t frame_hash(const struct wire_salt *salt, const uint8_t *frame,
	size_t size)
{
	XXH3_state_t state;
	uint8_t salted[24 + HEAD_SUMMED];
	struct wire_out out = wire_out_init(salted, sizeof(salted));

	wire_put_bytes(&out, salt->uuid, sizeof(salt->uuid));
	wire_put_u64(&out, salt->segment);
	wire_put_bytes(&out, frame, HEAD_SUMMED);
	assert(!out.failed && out.len == sizeof(salted));
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, salted, sizeof(salted));
	XXH3_64bits_update(&state, frame + WIRE_HEAD, size - WIRE_HEAD);
	return XXH3_64bits_digest(&state);
}

void wire_frame_encode(
	const struct wire_frame *f, const struct wire_salt *salt, void *out)
{
	uint8_t *frame = out;
	size_t size = wire_frame_size(f->len);
	struct wire_out head = wire_out_init(frame, WIRE_HEAD);

	assert(f->type != 0 && f->durable < f->lsn);
	assert(f->len <= WIRE_PAYLOAD_MAX);
	memset(frame + WIRE_HEAD + f->len, 0, size - WIRE_HEAD - f->len);
	wire_put_u32(&head, f->len);
	wire_put_u16(&head, f->type);
	wire_put_u16(&head, 0);
	wire_put_u64(&head, f->lsn);
	wire_put_u64(&head, f->durable);
	wire_put_u64(&head, frame_hash(salt, frame, size));
	assert(!head.failed && head.len == WIRE_HEAD);
}

bool wire_head_decode(const void *head, struct wire_frame *f)
{
	struct wire_in in = wire_in_init(head, WIRE_HEAD);
	struct wire_frame got = {.len = wire_get_u32(&in)};

	got.type = wire_get_u16(&in);
	uint16_t zero = wire_get_u16(&in);

	got.lsn = wire_get_u64(&in);
	got.durable = wire_get_u64(&in);
	assert(!in.failed);
	if (got.type == 0 || zero != 0 || got.len > WIRE_PAYLOAD_MAX ||
		got.durable >= got.lsn)
		return false;
	*f = got;
	return true;
}

bool wire_frame_check(const struct wire_frame *f,
	const struct wire_salt *salt, const void *frame)
{
	const uint8_t *at = frame;
	struct wire_in in = wire_in_init(at + HEAD_SUMMED, 8);
	uint64_t sum = wire_get_u64(&in);

	assert(f->len <= WIRE_PAYLOAD_MAX);
	return sum == frame_hash(salt, at, wire_frame_size(f->len));
}

uint64_t wire_hash(const void *bytes, size_t len)
{
	return XXH3_64bits(bytes, len);
}

uint64_t wire_hash_pair(
	const void *a, size_t a_len, const void *b, size_t b_len)
{
	XXH3_state_t state;

	assert((a || a_len == 0) && (b || b_len == 0));
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, a, a_len);
	XXH3_64bits_update(&state, b, b_len);
	return XXH3_64bits_digest(&state);
}
