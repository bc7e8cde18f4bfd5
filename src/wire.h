/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h: one encoding for log, disk and network: a cursor and a frame. */
#ifndef VG_WIRE_H
#define VG_WIRE_H

#include "src/vg.h"

/*
 * The cursor. Integers are little-endian without alignment; a byte string is
 * a u32 length and the bytes. An error sticks: after the first put that does
 * not fit or get that finds too little, puts write nothing, gets return 0 or
 * NULL, and `failed` stays true; so a run of them is checked once at its end.
 * No memory is owned, nothing is allocated; one thread at a time.
 */
struct wire_out {
	uint8_t *base; /* borrowed; NULL: bytes are only counted, none fails */
	size_t cap;
	size_t len; /* written so far */
	bool failed;
};

struct wire_in {
	const uint8_t *at; /* borrowed: the next byte */
	size_t left;	   /* bytes from at on */
	bool failed;
};

static inline struct wire_out wire_out_init(void *base, size_t cap)
{
	return (struct wire_out){.base = base, .cap = cap};
}

static inline struct wire_in wire_in_init(const void *base, size_t len)
{
	return (struct wire_in){.at = base, .left = len};
}

void wire_put_u8(struct wire_out *out, uint8_t v);
void wire_put_u16(struct wire_out *out, uint16_t v);
void wire_put_u32(struct wire_out *out, uint32_t v);
void wire_put_u64(struct wire_out *out, uint64_t v);

/* Bytes as they are: both sides know how many. bytes may be NULL if len is 0. */
void wire_put_bytes(struct wire_out *out, const void *bytes, size_t len);

/* A byte string: u32 len, then the bytes. */
void wire_put_str(struct wire_out *out, const void *bytes, uint32_t len);

uint8_t wire_get_u8(struct wire_in *in);
uint16_t wire_get_u16(struct wire_in *in);
uint32_t wire_get_u32(struct wire_in *in);
uint64_t wire_get_u64(struct wire_in *in);

/* Borrows len bytes of the input; NULL after an error. */
const void *wire_get_bytes(struct wire_in *in, size_t len);

/*
 * Borrows the bytes of a byte string of min..max bytes and writes its length;
 * any other length is an error: NULL, and *len is 0.
 */
const void *wire_get_str(
	struct wire_in *in, uint32_t min, uint32_t max, uint32_t *len);

/*
 * The frame: what a log holds and what a connection carries.
 *
 *   0       4     6     8          16         24         32
 *   | length| type| zero| lsn      | durable  | checksum | payload, padding |
 *
 * length counts the payload without its padding of zero bytes to a multiple
 * of 8. durable is the last lsn known to be on stable storage when the frame
 * was made, and so less than lsn. checksum = XXH3_64bits (seed 0) of
 *
 *   uuid[16]  segment u64  the head's first 24 bytes  payload  padding
 *
 * uuid and segment, the salt, are not in the frame: what another store, or
 * another segment of this one, wrote never verifies here.
 */
#define WIRE_HEAD 32u
#define WIRE_PAYLOAD_MAX (16u << 20)

struct wire_salt {
	uint8_t uuid[16];
	uint64_t segment;
};

struct wire_frame {
	uint32_t len; /* of the payload, at most WIRE_PAYLOAD_MAX */
	uint16_t type; /* not 0 */
	uint64_t lsn;
	uint64_t durable;
};

/* Bytes of a frame with its head and padding. */
static inline size_t wire_frame_size(uint32_t len)
{
	return WIRE_HEAD + VG_ALIGN_UP((size_t)len, 8);
}

/*
 * Makes a frame of the payload that stands already at out + WIRE_HEAD:
 * writes head and padding, wire_frame_size(f->len) bytes in all. Any thread.
 */
void wire_frame_encode(
	const struct wire_frame *f, const struct wire_salt *salt, void *out);

/*
 * Reads a head of WIRE_HEAD bytes. False: no frame begins like this (type 0,
 * zero not 0, length over its limit, durable not below lsn). The checksum is
 * not looked at: wire_frame_check does that. Any thread.
 */
bool wire_head_decode(const void *head, struct wire_frame *f);

/*
 * Is this, wire_frame_size(f->len) bytes whose head f was read from, the
 * frame that was written under salt? Any thread.
 */
bool wire_frame_check(const struct wire_frame *f,
	const struct wire_salt *salt, const void *frame);

/* The checksum of anything else on disk: XXH3_64bits, seed 0. Any thread. */
uint64_t wire_hash(const void *bytes, size_t len);

/* The checksum of b's bytes behind a's. Any thread. */
uint64_t wire_hash_pair(
	const void *a, size_t a_len, const void *b, size_t b_len);

#endif
