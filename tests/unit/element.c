/* SPDX-License-Identifier: Apache-2.0 */
/* element.c: numbers become elements, exactly as their dtype says. */
#include "src/element.h"

#include <math.h>
#include <string.h>

#include "tests/tap.h"

/* The value of a half by the words of IEEE 754 alone. */
static double half_value(unsigned half)
{
	int exponent = half >> 10 & 31;
	double fraction = (half & 1023) / 1024.;
	double value = exponent ? ldexp(1 + fraction, exponent - 15) :
				  ldexp(fraction, -14);

	return half >> 15 ? -value : value;
}

/* The half that value becomes; -1: none. */
static long half_of(double value)
{
	uint16_t half;

	return element_put(VG_F16, &half, 0, value) ? half : -1;
}

static void test_halves(void)
{
	bool is_same = true, is_nearest = true, is_even = true;

	for (unsigned h = 0; h < 0x7c00; h++) {
		double value = half_value(h);
		uint16_t half = (uint16_t)(h | 0x8000);

		is_same &= half_of(value) == (long)h;
		is_same &= half_of(-value) == (long)(h | 0x8000);
		is_same &= (double)element_get(VG_F16, &half, 0) == -value;
	}
	ok(is_same, "each half is the number that it stands for");
	for (unsigned h = 0; h < 0x7bff; h++) {
		double a = half_value(h), b = half_value(h + 1);
		double middle = (a + b) / 2;

		is_even &= half_of(middle) == (long)(h + (h & 1));
		is_nearest &= half_of(nextafter(middle, a)) == (long)h;
		is_nearest &= half_of(nextafter(middle, b)) == (long)(h + 1);
		is_nearest &= half_of(-nextafter(middle, b)) ==
			      (long)((h + 1) | 0x8000);
	}
	ok(is_even, "the middle of two halves becomes the even one");
	ok(is_nearest, "a float64 beside it the nearest: it is rounded once");
	ok(half_of(65504) == 0x7bff && half_of(nextafter(65520, 0)) == 0x7bff &&
			half_of(65520) == -1 && half_of(-65520) == -1 &&
			half_of(1e300) == -1 && half_of(INFINITY) == -1 &&
			half_of(NAN) == -1,
		"what would be infinity does not fit");
	ok(half_of(1e-300) == 0 && half_of(-1e-300) == 0x8000 &&
			half_of(0x1p-25) == 0 && half_of(0x1.001p-25) == 1 &&
			half_of(-0.0) == 0x8000,
		"what is too small is a zero of its sign");
}

static bool is_i8(double value, int want)
{
	int8_t element = 99;

	return element_put(VG_I8, &element, 0, value) && element == want &&
	       (int)element_get(VG_I8, &element, 0) == want;
}

static bool fits(enum vg_dtype dtype, double value)
{
	char room[8];

	return element_put(dtype, room, 0, value);
}

static void test_bytes(void)
{
	bool holds = true;

	for (int i = -128; i <= 127; i++)
		holds &= is_i8(i, i);
	ok(holds && is_i8(-0.0, 0), "whole numbers from -128 to 127 are bytes");
	ok(!fits(VG_I8, -129) && !fits(VG_I8, 128) && !fits(VG_I8, 0.5) &&
			!fits(VG_I8, nextafter(1, 2)) && !fits(VG_I8, 1e-300) &&
			!fits(VG_I8, NAN) && !fits(VG_I8, -INFINITY),
		"no others are");
}

static void test_bits(void)
{
	static const double values[] = {1, 0, 0, 0, 0, 0, 1, 1, 0, 1};
	uint8_t row[2] = {0xff, 0x3f};
	bool holds = true;

	for (size_t i = 10; i-- > 0;)
		holds &= element_put(VG_B1, row, i, values[i]);
	ok(holds && row[0] == 0x83 && row[1] == 0x7f,
		"bits stand in bytes, the first one highest, written in any order");
	for (size_t i = 0; i < 10; i++)
		holds &= (double)element_get(VG_B1, row, i) == values[i];
	ok(holds, "and are read as 0 and 1");
	ok(!fits(VG_B1, 2) && !fits(VG_B1, -1) && !fits(VG_B1, 0.5) &&
			!fits(VG_B1, nextafter(1, 0)) && !fits(VG_B1, NAN),
		"what is neither does not fit");
}

static void test_rows(void)
{
	uint16_t halves[] = {0, 0x7bff, 0x8001, 0xfc00, 0x7e00};
	float floats[] = {0, 1e38f, -0.0f, NAN};
	int8_t bytes[] = {0, 0, -1};
	uint8_t bits[] = {0, 1};

	ok(element_find_nonfinite(VG_F16, halves, 5) == 3 &&
			element_find_nonfinite(VG_F16, halves, 3) == 3 &&
			element_find_nonfinite(VG_F16, halves + 4, 1) == 0 &&
			element_find_nonfinite(VG_F32, floats, 4) == 3 &&
			element_find_nonfinite(VG_I8, bytes, 3) == 3 &&
			element_find_nonfinite(VG_B1, bits, 16) == 16,
		"infinities and NaNs are found; bytes and bits have none");
	halves[1] = 0x8000;
	ok(element_is_zero(VG_F16, halves, 2) &&
			!element_is_zero(VG_F16, halves, 3) &&
			element_is_zero(VG_I8, bytes, 2) &&
			!element_is_zero(VG_I8, bytes, 3) &&
			element_is_zero(VG_B1, bits, 15) &&
			!element_is_zero(VG_B1, bits, 16) &&
			!element_is_zero(VG_F32, floats, 2),
		"a row of zeros, of either sign, is told from others");
	ok(fits(VG_F32, (double)3.4028234e38f) && !fits(VG_F32, 3.5e38) &&
			!fits(VG_F32, NAN),
		"float32 is refused where it is not finite");
}

static void test_lengths(void)
{
	ok(vg_row_len(VG_F32, 3) == 12 && vg_row_len(VG_F16, 3) == 6 &&
			vg_row_len(VG_I8, 3) == 3 && vg_row_len(VG_B1, 24) == 3,
		"a vector has the bytes of its elements");
	ok(vg_dim_of(VG_F32, 12) == 3 && vg_dim_of(VG_F16, 6) == 3 &&
			vg_dim_of(VG_I8, 3) == 3 && vg_dim_of(VG_B1, 3) == 24 &&
			vg_dim_of(VG_F32, 13) == 0 && vg_dim_of(VG_F16, 5) == 0,
		"and they say how many elements, if they are any");
	ok(vg_dim_of(VG_B1, 8191) == 65528 && vg_dim_of(VG_B1, 8192) == 0 &&
			vg_dim_of(VG_I8, 65535) == 65535 &&
			vg_dim_of(VG_I8, 65536) == 0 &&
			vg_dim_of(VG_F16, 1ull << 40) == 0 &&
			vg_dim_of(VG_B1, 1ull << 62) == 0,
		"up to the limit");
}

int main(void)
{
	plan(16);
	test_halves();
	test_bytes();
	test_bits();
	test_rows();
	test_lengths();
	return done();
}
