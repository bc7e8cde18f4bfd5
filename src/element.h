/* SPDX-License-Identifier: Apache-2.0 */
/* element.h: numbers as elements of a dtype: which of them fit, and how. */
#ifndef VG_ELEMENT_H
#define VG_ELEMENT_H

#include "src/vg.h"

/*
 *	f32	the nearest float, ties to even
 *	f16	the nearest half, ties to even; below 65,520
 *	i8	whole numbers from -128 to 127
 *	b1	0 and 1, eight in a byte, the first one its highest bit, as
 *		numpy.packbits has them
 *
 * What does not fit is refused, never clamped. All is little-endian. Pure, any
 * thread.
 */

/* Writes value as element i of row, and no other one. False: it does not fit. */
bool element_put(enum vg_dtype dtype, void *row, size_t i, double value);

/* Element i of row; exact. */
float element_get(enum vg_dtype dtype, const void *row, size_t i);

/* The index of the first NaN or infinity among n elements, or n. */
size_t element_find_nonfinite(enum vg_dtype dtype, const void *row, size_t n);

/* Whether all n are 0. */
bool element_is_zero(enum vg_dtype dtype, const void *row, size_t n);

/* Of a number that does not fit, behind "it is": "not finite as float32". */
const char *element_misfit(enum vg_dtype dtype);

/* What numbers of it are called, and numpy's word for their type: "float32",
 * "'<f4'". */
const char *element_word(enum vg_dtype dtype);
const char *element_numpy(enum vg_dtype dtype);

#endif
