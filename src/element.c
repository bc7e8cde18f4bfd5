/* SPDX-License-Identifier: Apache-2.0 */
/* element.c: see element.h. */
#include "src/element.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "index/dist_half.h"
#include "src/number.h"

#define HALF_EXPONENT 0x7c00u /* all bits of it: infinity or NaN */

static const struct {
	const char *word, *numpy, *misfit;
} words[] = {
	[VG_F32] = {"float32", "'<f4'", "not finite as float32"},
	[VG_F16] = {"float16", "'<f2'",
		"not finite as float16 (65,504 at most)"},
	[VG_I8] = {"int8", "'i1'",
		"no whole number from -128 to 127 (dtype i8)"},
	[VG_B1] = {"bit", "'u1'", "neither 0 nor 1 (dtype b1)"},
};

const char *element_misfit(enum vg_dtype dtype)
{
	assert(dtype >= VG_F32 && dtype <= VG_B1);
	return words[dtype].misfit;
}

const char *element_word(enum vg_dtype dtype)
{
	assert(dtype >= VG_F32 && dtype <= VG_B1);
	return words[dtype].word;
}

const char *element_numpy(enum vg_dtype dtype)
{
	assert(dtype >= VG_F32 && dtype <= VG_B1);
	return words[dtype].numpy;
}

/*
 * By way of a float that is odd in its last place where it is not exact: with
 * 13 bits more than a half, it lies on the side of each middle between two
 * halves that the number lies on, so rounding twice is as rounding once.
 */
static uint16_t half_of(double value)
{
	float f = (float)value;
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	if ((double)f != value && isfinite(f)) {
		bits -= fabs((double)f) > fabs(value);
		bits |= 1;
	}
	memcpy(&f, &bits, sizeof(f));
	return dist_half_encode(f);
}

bool element_put(enum vg_dtype dtype, void *row, size_t i, double value)
{
	uint8_t *bits = row, mask;
	uint16_t half;
	float f;

	switch (dtype) {
	case VG_F32:
		f = (float)value;
		memcpy(bits + i * sizeof(f), &f, sizeof(f));
		return isfinite(f);
	case VG_F16:
		half = half_of(value);
		memcpy(bits + i * sizeof(half), &half, sizeof(half));
		return (half & HALF_EXPONENT) != HALF_EXPONENT;
	case VG_I8:
		if (!(value >= INT8_MIN && value <= INT8_MAX) ||
			value != floor(value))
			return false;
		bits[i] = (uint8_t)(int8_t)value;
		return true;
	case VG_B1:
		break;
	}
	assert(dtype == VG_B1);
	mask = (uint8_t)(0x80 >> i % 8);
	bits[i / 8] = (uint8_t)((bits[i / 8] & ~mask) |
				(value == 1 ? mask : 0));
	return value == 0 || value == 1;
}

float element_get(enum vg_dtype dtype, const void *row, size_t i)
{
	const uint8_t *bits = row;
	uint16_t half;
	float f;

	switch (dtype) {
	case VG_F32:
		memcpy(&f, bits + i * sizeof(f), sizeof(f));
		return f;
	case VG_F16:
		memcpy(&half, bits + i * sizeof(half), sizeof(half));
		return dist_half_decode(half);
	case VG_I8:
		return (int8_t)bits[i];
	case VG_B1:
		break;
	}
	assert(dtype == VG_B1);
	return (float)(bits[i / 8] >> (7 - i % 8) & 1);
}

size_t element_find_nonfinite(enum vg_dtype dtype, const void *row, size_t n)
{
	const uint8_t *at = row;
	uint16_t half;

	if (dtype == VG_F32)
		return number_find_nonfinite(row, n);
	if (dtype != VG_F16)
		return n;
	for (size_t i = 0; i < n; i++) {
		memcpy(&half, at + i * sizeof(half), sizeof(half));
		if ((half & HALF_EXPONENT) == HALF_EXPONENT)
			return i;
	}
	return n;
}

bool element_is_zero(enum vg_dtype dtype, const void *row, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (element_get(dtype, row, i) != 0)
			return false;
	return true;
}
