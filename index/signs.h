/* SPDX-License-Identifier: Apache-2.0 */
/* signs.h: a bit for each element of what lies between two vectors. */
#ifndef INDEX_SIGNS_H
#define INDEX_SIGNS_H

#include <stdint.h>

/*
 * What a vector u knows of its neighbour v: the signs s of the elements of
 * r = P (v - u), P a random rotation, and two floats. The idea is RaBitQ's (Gao
 * and Long, arXiv 2405.12497), that to keep it beside u and to look at 32 at
 * once SymphonyQG's (Gou, Gao, Xu and Long, arXiv 2411.12229). After a random
 * rotation all elements are of one kind, so that c s, c = r.r / |r|_1, is near
 * to r, and x.s for any rotated x tells of x.r: with an error of some
 *
 *	.75 |x| |r| / sqrt(dim)
 *
 * With x = P (q - u) the squared distance of a query q to v is about
 *
 *	|q - u|^2 + r.r - 2 c x.s  =  |q - u|^2 + add + mul Pq.s
 *
 * where add = r.r + 2 c Pu.s and mul = -2 c are the two floats of v, and the
 * distance of u is known exactly by then. Pq.s is the only sum; it is taken
 * over a table of bytes that the query makes, 16 for each 4 elements, so that 4
 * bits of a code say which, for 32 codes by one instruction or two.
 *
 * P is flips of signs by a fixed sequence and a Hadamard transform, in turn:
 * of all elements, where they are a power of two, else of the first and of
 * the last so many as are one. It is the same for all, everywhere and for good,
 * as codes go to files; so is each rounding (see dist.h), so codes are equal to
 * the bit whatever the processor.
 *
 * BLOCK. The codes of SIGNS_BLOCK neighbours, 4 bytes an element:
 *
 *	bytes 16 g .. 16 g + 15	elements 4 g .. 4 g + 3
 *	byte 2 j		neighbour j in the low half, j + 16 in the high
 *	byte 2 j + 1		neighbour j + 8 and j + 24; j = 0..7
 *	bit i of a half		whether element 4 g + i is not negative
 */
#define SIGNS_BLOCK 32u /* codes that are looked at together */
#define SIGNS_ROUND 16u /* rotated vectors are a multiple of it long */
#define SIGNS_BYTES(len) ((len) / 4 * 16) /* of a block, and of a table */
#define SIGNS_SUMS 3			  /* see signs_kernels.code */

/* A block as it stands somewhere. Borrowed. It may be written meanwhile: then
 * what is estimated of a code that is being written is any number. */
struct signs_block {
	const uint8_t *codes;	/* SIGNS_BYTES(len) */
	const float *add, *mul; /* of each */
};

/* A query, and where it stands. Borrows table. */
struct signs_query {
	const uint8_t *table; /* SIGNS_BYTES(len), aligned to 64 */
	uint32_t len;
	float scale, zero; /* Pq.s = scale * sum - zero */
	float base, unit;  /* added to it: base + unit * add */
};

/* The kernels of one instruction set: dist_kernels->signs. All agree to the last
 * bit. len is a multiple of SIGNS_ROUND. */
struct signs_kernels {
	/* Multiplies x by flips, then by the matrix of Hadamard and Sylvester,
	 * whose elements are 1 and -1; n is a power of two, 16 at least. */
	void (*transform)(float *x, const float *flips, uint32_t n);
	/* The table of rotated q: of bits k of a group, scale * (|q0| + |q1| +
	 * |q2| + |q3| + what the bits say of q), rounded; below 256. */
	void (*table)(const float *q, uint32_t len, float scale,
		uint8_t *table);
	/* Of rotated u and v, r = v - u: the 4 bits of each group, a byte each,
	 * in halves[len / 4]; sums[0..3) are r.r, |r|_1 and u.s. */
	void (*code)(const float *u, const float *v, uint32_t len,
		uint8_t *halves, float *sums);
	/*
	 * est[j] = base + unit * add[j] + mul[j] * (scale * sum[j] - zero),
	 * sum[j] what code j takes from the table. Returns bits of those that
	 * are below bound.
	 */
	uint32_t (*estimate)(const struct signs_query *q,
		const struct signs_block *b, float bound, float *est);
};

/* The rotation of vectors of dim elements. */
struct signs {
	uint32_t dim;
	uint32_t len;	   /* of a rotated vector */
	uint32_t span;	   /* elements of a transform */
	uint32_t n_rounds; /* transforms */
	float *flips; /* n_rounds * span, owned: +-1, over the root of span */
};

/* -ENOMEM. */
int signs_init(struct signs *s, uint32_t dim);
void signs_fini(struct signs *s);

/* out[len] = P (vec * scale - centre); out may not be vec. Any thread. */
void signs_rotate(const struct signs *s, const float *vec, float scale,
	const float *centre, float *out);

/* Makes table of a rotated query, and q of it for products times unit; base and
 * q->unit are yet to be set. Any thread. */
void signs_query_init(struct signs_query *q, const float *rotated, uint32_t len,
	float unit, uint8_t *table);

#endif
