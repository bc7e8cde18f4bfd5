/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c: the cursor and the frame hold what they are given, and nothing else. */
#include "src/wire.h"

#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static const struct wire_salt salt = {
	.uuid = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	.segment = 7,
};

static void test_integers(void)
{
	static const uint8_t golden[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05,
		0x04, 0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 'a', 'b',
		2, 0, 0, 0, 'c', 'd'};
	uint8_t buf[sizeof(golden)];
	struct wire_out out = wire_out_init(buf, sizeof(buf));
	struct wire_in in = wire_in_init(golden, sizeof(golden));
	uint32_t len = 9;

	wire_put_u8(&out, 1);
	wire_put_u16(&out, 0x0203);
	wire_put_u32(&out, 0x04050607);
	wire_put_u64(&out, 0x08090a0b0c0d0e0f);
	wire_put_bytes(&out, "ab", 2);
	wire_put_str(&out, "cd", 2);
	ok(!out.failed && out.len == sizeof(golden), "what fits is written");
	ok(memcmp(buf, golden, sizeof(golden)) == 0,
		"integers are little-endian, strings have their length");
	ok(wire_get_u8(&in) == 1 && wire_get_u16(&in) == 0x0203 &&
			wire_get_u32(&in) == 0x04050607 &&
			wire_get_u64(&in) == 0x08090a0b0c0d0e0f,
		"integers are read as they were written");
	ok(memcmp(wire_get_bytes(&in, 2), "ab", 2) == 0, "so are bytes");
	ok(memcmp(wire_get_str(&in, 0, 2, &len), "cd", 2) == 0 && len == 2,
		"so are strings");
	ok(!in.failed && in.left == 0, "and nothing is left");
}

static void test_sticky(void)
{
	uint8_t buf[6] = {0};
	struct wire_out out = wire_out_init(buf, 5);
	struct wire_in in = wire_in_init("\1\0\0\0\2\3\4", 7);
	uint32_t len = 9;

	wire_put_u32(&out, 1);
	wire_put_u16(&out, 0xffff);
	ok(out.failed && out.len == 4, "what does not fit is not written");
	wire_put_u8(&out, 0xff);
	ok(out.failed && out.len == 4 && buf[4] == 0,
		"nothing is written after an error, even if it would fit");
	wire_put_bytes(&out, NULL, 0);
	ok(out.failed, "an error sticks");

	ok(wire_get_u64(&in) == 0 && in.failed, "too few bytes read as 0");
	ok(wire_get_u8(&in) == 0 && in.failed && in.left == 7,
		"nothing is read after an error");
	ok(!wire_get_bytes(&in, 0) &&
			!wire_get_str(&in, 0, 100, &len) && len == 0,
		"bytes and strings are NULL after an error");
}

static void test_strings(void)
{
	struct wire_in in = wire_in_init("\2\0\0\0ab", 6);
	uint32_t len;

	ok(!wire_get_str(&in, 3, 9, &len) && in.failed,
		"a string below its least length is refused");
	in = wire_in_init("\2\0\0\0ab", 6);
	ok(!wire_get_str(&in, 0, 1, &len) && in.failed,
		"a string over its greatest length is refused");
	in = wire_in_init("\3\0\0\0ab", 6);
	ok(!wire_get_str(&in, 0, 9, &len) && in.failed,
		"a string longer than the input is refused");
	in = wire_in_init("\xff\xff\xff\xff" "ab", 6);
	ok(!wire_get_str(&in, 0, UINT32_MAX, &len) && in.failed,
		"so is one of 4 GiB");
	in = wire_in_init("\0\0\0\0", 4);
	ok(wire_get_str(&in, 0, 9, &len) && len == 0 && !in.failed,
		"an empty string is not an error");
}

static void test_count(void)
{
	struct wire_out out = wire_out_init(NULL, 0);

	wire_put_u64(&out, 1);
	wire_put_str(&out, "abc", 3);
	wire_put_u8(&out, 1);
	ok(!out.failed && out.len == 16, "without a buffer bytes are counted");
}

static size_t make_frame(uint8_t *buf, const char *payload, uint32_t len)
{
	struct wire_frame f = {
		.len = len, .type = 1, .lsn = 0x1122, .durable = 0x1100};

	memset(buf, 0xee, wire_frame_size(len));
	if (len > 0)
		memcpy(buf + WIRE_HEAD, payload, len);
	wire_frame_encode(&f, &salt, buf);
	return wire_frame_size(len);
}

static bool frame_holds(const uint8_t *buf, size_t size, const struct wire_salt *s)
{
	struct wire_frame f;

	return wire_head_decode(buf, &f) && wire_frame_size(f.len) <= size &&
	       wire_frame_check(&f, s, buf);
}

static void test_frame(void)
{
	static const uint8_t golden[] = {
		5, 0, 0, 0, 1, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0,
		0, 0x11, 0, 0, 0, 0, 0, 0,
		0x64, 0x36, 0x02, 0xe9, 0x28, 0x4a, 0xd5, 0x40,
		'h', 'e', 'l', 'l', 'o', 0, 0, 0};
	uint8_t buf[64], other[64];
	size_t size = make_frame(buf, "hello", 5);
	struct wire_salt s = salt;
	struct wire_frame f = {0};
	bool refused = true;

	ok(size == 40 && wire_frame_size(0) == 32 && wire_frame_size(8) == 40 &&
			wire_frame_size(9) == 48,
		"a frame is its head and its payload, padded to 8 bytes");
	if (!ok(memcmp(buf, golden, 40) == 0, "a frame's bytes are these"))
		for (size_t i = 0; i < size; i++)
			diag("%02x", buf[i]);
	ok(wire_head_decode(buf, &f) && f.len == 5 && f.type == 1 &&
			f.lsn == 0x1122 && f.durable == 0x1100,
		"its head is read as it was written");
	ok(wire_frame_check(&f, &s, buf), "its checksum holds");
	for (size_t bit = 0; bit < size * 8; bit++) {
		memcpy(other, buf, size);
		other[bit / 8] ^= (uint8_t)(1u << bit % 8);
		refused = refused && !frame_holds(other, size, &s);
	}
	ok(refused, "a flip of any bit is seen, padding included");
	s.segment++;
	ok(!wire_frame_check(&f, &s, buf), "another segment's frame fails");
	s = salt;
	s.uuid[15]++;
	ok(!wire_frame_check(&f, &s, buf), "another store's frame fails");
	make_frame(buf, NULL, 0);
	ok(frame_holds(buf, 32, &salt), "a frame without a payload holds");
}

static void test_heads(void)
{
	uint8_t head[WIRE_HEAD] = {0};
	struct wire_frame f = {.lsn = 99};

	ok(!wire_head_decode(head, &f) && f.lsn == 99,
		"zeros are no head, and nothing is written");
	make_frame(head, NULL, 0);
	memset(head, 0xff, 4);
	ok(!wire_head_decode(head, &f), "a length over its limit is no head");
	make_frame(head, NULL, 0);
	head[6] = 1;
	ok(!wire_head_decode(head, &f), "a zero that is not zero is no head");
	make_frame(head, NULL, 0);
	memcpy(head + 16, head + 8, 8);
	ok(!wire_head_decode(head, &f),
		"a frame that knows itself to be durable is no head");
	make_frame(head, NULL, 0);
	ok(wire_head_decode(head, &f), "and this one is");
	ok(wire_hash("", 0) == 0x2d06800538d394c2 &&
			wire_hash("hello", 5) == 0x9555e8555c62dcfd,
		"the hash is XXH3_64bits, seed 0");
	ok(wire_hash_pair("he", 2, "llo", 3) == wire_hash("hello", 5) &&
			wire_hash_pair("", 0, "hello", 5) ==
				wire_hash("hello", 5) &&
			wire_hash_pair("hello", 5, "", 0) ==
				wire_hash("hello", 5),
		"the hash of two runs of bytes is that of them as one");
}

int main(void)
{
	plan(33);
	test_integers();
	test_sticky();
	test_strings();
	test_count();
	test_frame();
	test_heads();
	return done();
}
