/* SPDX-License-Identifier: Apache-2.0 */
/* record_npy.h: numpy's file format: its header, and its numbers as elements. */
#ifndef VG_RECORD_NPY_H
#define VG_RECORD_NPY_H

#include "src/vg.h"

/*
 *   0  \x93NUMPY  major  minor        major 1, 2 or 3
 *   8  length of the text: u16 little-endian (major 1) or u32 (2 and 3)
 *      the text, a Python dict padded with blanks and a newline:
 *      {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }
 *      the rows
 *
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 * The dict is scanned by hand; nothing of it is evaluated.
 */
#define RECORD_NPY_MAGIC "\x93NUMPY"
#define RECORD_NPY_MAGIC_LEN 6
#define RECORD_NPY_HEADER_LEN 128	 /* as we write it */
#define RECORD_NPY_HEADER_MAX (64u << 10) /* as we read it */

/* What a header says. */
struct record_npy {
	uint64_t rows;	/* 1 for a shape of (dim,) */
	uint32_t dim;	/* 1..VG_DIM_MAX; of packed bits 8 times as many */
	char kind;	/* 'f', 'i', 'u' or, of booleans, 'b' */
	uint8_t size;	/* bytes of a number: 1, 2, 4 or 8 */
	bool is_big;	/* big-endian */
	bool is_packed; /* record_npy_settle: rows are of bits, in bytes */
	size_t header_len;
};

/*
 * Reads the header at in[len]. -EAGAIN: it goes on behind len. -EINVAL with
 * *why, a static sentence: not npy, a dtype other than f2 f4 f8 i1..i8 u1..u8 b1,
 * more than two dimensions, Fortran order of a real matrix. Any thread.
 */
int record_npy_parse(const void *in, size_t len, struct record_npy *out,
	const char **why);

/*
 * Whether uint8 are packed bits follows from what the rows are to become: of b1
 * they are if they have dim / 8 of them, or dim is not known (0); else they are
 * numbers.
 */
void record_npy_settle(struct record_npy *npy, enum vg_dtype dtype,
	uint32_t dim);

/* Bytes of one row. */
size_t record_npy_row_len(const struct record_npy *npy);

/*
 * Makes n numbers at in (any alignment) elements of the dtype. Returns the index
 * of the first that does not fit (src/element.h), or n. Any thread.
 */
size_t record_npy_convert(const struct record_npy *npy, const void *in,
	size_t n, enum vg_dtype dtype, void *out);

/* Whether rows need no conversion: little-endian float32. */
bool record_npy_is_f32(const struct record_npy *npy);

/* Writes the header of an (n, dim) array of the dtype, bits packed, (n, dim / 8);
 * for a single vector, which is (dim,), n is RECORD_NPY_VECTOR. Always
 * RECORD_NPY_HEADER_LEN bytes. */
#define RECORD_NPY_VECTOR UINT64_MAX
size_t record_npy_header(char out[RECORD_NPY_HEADER_LEN], enum vg_dtype dtype,
	uint64_t n, uint32_t dim);

#endif
