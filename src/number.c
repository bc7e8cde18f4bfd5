/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.c: float32 from decimal text and back.
 *
 * Both directions compute in double and prove that the result cannot be wrong;
 * the few numbers without a proof take a slow, exact way.
 *
 * Scanning. Digits w (at most 18 of them) and a power of ten give the double
 * d = w * 10^e. The conversion of w, the table's entry and the product round
 * once each, so d is within 3 * 2^-53 of the true value, relatively: less than
 * 4 units of its last place. d lies among float32's as 29 more bits of
 * precision. Rounding d to float32 is right unless the true value and d lie on
 * different sides of the middle between two float32s, and they cannot if d is
 * more than 4 units away from it. The distance is read off the low 29 bits:
 * the middle is 1 << 28. One number in 30 million is too near, and so is every
 * decimal that is the exact middle: strtof decides those. As float64, w below
 * 2^53 and a power up to 10^22 are exact, so one operation rounds right; the
 * others are strtod's.
 *
 * Formatting. All decimals strictly between lo and hi, the middles to the
 * neighbouring float32s, read back as f; so do lo and hi if f's mantissa is
 * even. Scaled by a power of ten so that f has 9 digits before the point, the
 * whole numbers a..b in that range are the candidates of 9 digits. Dividing
 * both by ten, inwards, as long as a candidate remains gives the shortest. For
 * scales 10^0..10^11 the scaled lo and hi are exact (26 bits * 5^11 fit in 53
 * bits). For others they are within 1e-6, and if a whole number is as near as
 * that, we cannot tell which side of it they are on: the slow way tries each
 * number of digits through printf and strtof.
 */
#include "src/number.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"vectors are read and written in memory order, which is little-endian");

#define POW10_N 64
static const double pow10_of[POW10_N] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
	1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24,
	1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36,
	1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43, 1e44, 1e45, 1e46, 1e47, 1e48,
	1e49, 1e50, 1e51, 1e52, 1e53, 1e54, 1e55, 1e56, 1e57, 1e58, 1e59, 1e60,
	1e61, 1e62, 1e63};

/* Digits whose value is below 2^63 for sure. */
#define DIGITS_MAX 18

/* A middle between two float32s has at most 112 digits; what follows this
 * many can only say "more than that". */
#define DIGITS_EXACT 128

/* Exponents beyond this mean 0 or infinity for any body that fits in memory. */
#define EXPONENT_MAX 1000000000000

static bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

/* Eight bytes at once: each is '0'..'9' if its high half is 3 and stays 3
 * when 6 is added. */
static bool is_eight_digits(uint64_t v)
{
	const uint64_t high = 0xf0f0f0f0f0f0f0f0;

	return (v & high) == 0x3030303030303030 &&
		((v + 0x0606060606060606) & high) == 0x3030303030303030;
}

/* Their value: neighbours are joined to pairs, quads and the whole; the first
 * digit is the lowest byte. */
static uint64_t eight_digits(uint64_t v)
{
	v = (v & 0x0f0f0f0f0f0f0f0f) * ((10 << 8) + 1) >> 8;
	v = (v & 0x00ff00ff00ff00ff) * ((100 << 16) + 1) >> 16;
	return (v & 0x0000ffff0000ffff) * ((10000ull << 32) + 1) >> 32;
}

/* Appends digits to *w, which overflows harmlessly after 19; returns how many. */
static size_t scan_digits(const char **p, const char *end, uint64_t *w)
{
	const char *at = *p;
	uint64_t eight, sum = *w;

	while (end - at >= 8) {
		memcpy(&eight, at, 8);
		if (!is_eight_digits(eight))
			break;
		sum = sum * 100000000 + eight_digits(eight);
		at += 8;
	}
	for (; at < end && is_digit(*at); at++)
		sum = sum * 10 + (uint64_t)(*at - '0');
	size_t n = (size_t)(at - *p);
	*p = at;
	*w = sum;
	return n;
}

#define SPELLED_LEN (DIGITS_EXACT + 32)

/*
 * The slow way: the number is spelled again as "DIGITSeEXPONENT", without a
 * decimal point, which is the only thing that a locale changes. first..last
 * are digits and at most one point; exponent is that of the last digit.
 */
static const char *spell(const char *first, const char *last, int64_t exponent,
	char text[SPELLED_LEN])
{
	size_t n = 0;
	bool is_more = false;

	for (const char *s = first; s < last; s++) {
		if (*s == '.' || (n == 0 && *s == '0'))
			continue;
		if (n < DIGITS_EXACT) {
			text[n++] = *s;
		} else {
			is_more |= *s != '0';
			exponent++;
		}
	}
	if (n == 0)
		return "0";
	if (is_more) {
		text[n++] = '1';
		exponent--;
	}
	exponent = VG_MAX(VG_MIN(exponent, 9999), -9999);
	snprintf(text + n, SPELLED_LEN - n, "e%d", (int)exponent);
	return text;
}

/* w * 10^exponent, if double arithmetic proves how it rounds. */
static inline bool quick_value(uint64_t w, int64_t exponent, float *out)
{
	uint64_t bits;

	if (w == 0) {
		*out = 0;
		return true;
	}
	if (exponent <= -POW10_N || exponent >= POW10_N)
		return false;
	double d = (double)(int64_t)w;
	d = exponent < 0 ? d / pow10_of[-exponent] : d * pow10_of[exponent];
	if (d < 0x1p-125 || d > 0x1.fffffep127)
		return false;
	memcpy(&bits, &d, sizeof(bits));
	if ((bits & 0x1fffffff) - (0x10000000 - 4) <= 8)
		return false;
	*out = (float)d;
	return true;
}

/* Powers of ten and whole numbers up to these are float64s. */
#define EXACT_POW10 22
#define EXACT_WHOLE (1ull << 53)

/* w * 10^exponent as a float64, if that rounds once. */
static bool quick_wide(uint64_t w, int64_t exponent, double *out)
{
	if (w > EXACT_WHOLE || exponent < -EXACT_POW10 ||
		exponent > EXACT_POW10)
		return false;
	*out = exponent < 0 ? (double)w / pow10_of[-exponent]
			    : (double)w * pow10_of[exponent];
	return true;
}

/* The digits after an 'e'; -EINVAL without one. Clamped. */
static int scan_exponent(const char **p, const char *end, int64_t *out)
{
	const char *at = *p;
	bool is_negative = false;
	int64_t e = 0;

	if (at < end && (*at == '+' || *at == '-'))
		is_negative = *at++ == '-';
	*p = at;
	if (at == end || !is_digit(*at))
		return -EINVAL;
	for (; at < end && is_digit(*at); at++)
		e = VG_MIN(e * 10 + (*at - '0'), EXPONENT_MAX);
	*p = at;
	*out += is_negative ? -e : e;
	return 0;
}

/* One of out and wide is NULL; which, and is_json, the compiler knows. */
static inline __attribute__((always_inline)) int scan(const char **p,
	const char *end, bool is_json, float *out, double *wide)
{
	const char *at = *p, *first;
	char text[SPELLED_LEN];
	bool is_negative = false;
	int64_t exponent = 0;
	uint64_t w = 0;
	size_t n, n_fraction = 0;
	int rc = -EINVAL;

	if (at < end && (*at == '-' || (*at == '+' && !is_json)))
		is_negative = *at++ == '-';
	first = at;
	n = scan_digits(&at, end, &w);
	if (is_json && (n == 0 || (n > 1 && *first == '0')))
		goto moved;
	if (at < end && *at == '.') {
		at++;
		n_fraction = scan_digits(&at, end, &w);
		if (is_json && n_fraction == 0)
			goto moved;
	}
	if (n + n_fraction == 0)
		goto moved;
	const char *last = at;
	exponent = -(int64_t)n_fraction;
	if (at < end && (*at | 0x20) == 'e') {
		at++;
		rc = scan_exponent(&at, end, &exponent);
		if (rc < 0)
			goto moved;
	}

	n += n_fraction;
	for (; n > DIGITS_MAX && (*first == '0' || *first == '.'); first++)
		n -= *first == '0';
	float value = 0;
	double d = 0;
	if (wide && (n > DIGITS_MAX || !quick_wide(w, exponent, &d)))
		d = strtod(spell(first, last, exponent, text), NULL);
	if (out && (n > DIGITS_MAX || !quick_value(w, exponent, &value)))
		value = strtof(spell(first, last, exponent, text), NULL);
	rc = -ERANGE;
	if (isinf(value) || isinf(d))
		goto moved;
	if (out)
		*out = is_negative ? -value : value;
	if (wide)
		*wide = is_negative ? -d : d;
	rc = 0;
moved:
	*p = at;
	return rc;
}

int number_scan(const char **p, const char *end, float *out)
{
	assert(*p <= end);
	return scan(p, end, false, out, NULL);
}

int number_scan_json(const char **p, const char *end, float *out)
{
	assert(*p <= end);
	return scan(p, end, true, out, NULL);
}

int number_scan_wide(const char **p, const char *end, bool is_json,
	double *out)
{
	assert(*p <= end);
	return is_json ? scan(p, end, true, NULL, out)
		       : scan(p, end, false, NULL, out);
}

/* digits * 10^exponent, no zero at the digits' end. */
struct decimal {
	uint32_t digits;
	int exponent;
};

static double scale(double d, int k)
{
	assert(k > -POW10_N && k < POW10_N);
	return k < 0 ? d / pow10_of[-k] : d * pow10_of[k];
}

static bool is_near_whole(double d)
{
	double rest = d - (double)(uint64_t)d;

	return rest < 1e-6 || rest > 1 - 1e-6;
}

/* The file's head explains this. f > 0, finite; false: no proof. */
static bool quick_shortest(float f, struct decimal *out)
{
	uint32_t bits;
	uint64_t bits64;
	double d = (double)f, half;

	memcpy(&bits, &f, sizeof(bits));
	uint32_t e = VG_MAX(bits >> 23, 1u), mantissa = bits & 0x7fffff;
	bits64 = (uint64_t)(e - 151 + 1023) << 52;
	memcpy(&half, &bits64, sizeof(half)); /* 2^(e-151) */
	double lo = d - (mantissa == 0 && e > 1 ? half / 2 : half);
	double hi = d + half;

	/* 1233 / 4096 is log10(2) nearly; the estimate is one off at most. */
	memcpy(&bits64, &d, sizeof(bits64));
	int k = 8 - (((int)(bits64 >> 52) - 1023) * 1233 >> 12);
	double s = scale(d, k);
	if (s >= 1e9)
		s = scale(d, --k);
	else if (s < 1e8)
		s = scale(d, ++k);
	assert(s >= 1e8 && s < 1e9);
	lo = scale(lo, k);
	hi = scale(hi, k);

	bool is_exact = k >= 0 && k <= 11, is_even = (mantissa & 1) == 0;
	if (!is_exact && (is_near_whole(lo) || is_near_whole(hi)))
		return false;
	uint32_t a = (uint32_t)lo, b = (uint32_t)hi;
	a += lo > (double)a || !is_even;
	b -= hi == (double)b && !is_even;
	uint32_t unit = 1;
	int dropped = 0;
	for (; a / 10 + (a % 10 != 0) <= b / 10; dropped++) {
		a = a / 10 + (a % 10 != 0);
		b = b / 10;
		unit *= 10;
	}
	assert(a <= b && dropped <= 9);
	uint32_t best = (uint32_t)(s / unit + 0.5);
	out->digits = VG_MAX(VG_MIN(best, b), a);
	out->exponent = dropped - k;
	return true;
}

/* Tries 1, 2, ... digits; nine always do. */
static void slow_shortest(float f, struct decimal *out)
{
	char text[32];

	for (int n = 1; n <= 9; n++) {
		uint32_t digits = 0;
		snprintf(text, sizeof(text), "%.*e", n - 1, (double)f);
		const char *e = strchr(text, 'e');
		assert(e);
		for (const char *s = text; s < e; s++) {
			if (is_digit(*s)) /* the locale's point is not */
				digits = digits * 10 + (uint32_t)(*s - '0');
		}
		out->exponent = atoi(e + 1) - (n - 1);
		/* Below a power of two the range is half as wide: the nearest
		 * decimal may lie outside and the next one above inside. */
		for (out->digits = digits; out->digits <= digits + 1;
			out->digits++) {
			snprintf(text, sizeof(text), "%ue%d", out->digits,
				out->exponent);
			if (strtof(text, NULL) == f)
				return;
		}
	}
	assert(false); /* nine digits tell all float32s apart */
}

/* Two digits a division: each waits for the one before. */
static size_t put_uint(uint64_t n, char *out)
{
	static const char pairs[] =
		"00010203040506070809101112131415161718192021222324"
		"25262728293031323334353637383940414243444546474849"
		"50515253545556575859606162636465666768697071727374"
		"75767778798081828384858687888990919293949596979899";
	char text[NUMBER_UINT_LEN];
	size_t at = sizeof(text);

	while (n >= 100) {
		at -= 2;
		memcpy(text + at, pairs + n % 100 * 2, 2);
		n /= 100;
	}
	if (n >= 10) {
		at -= 2;
		memcpy(text + at, pairs + n * 2, 2);
	} else {
		text[--at] = (char)('0' + n);
	}
	memcpy(out, text + at, sizeof(text) - at);
	return sizeof(text) - at;
}

/* Plain from 0.0001 up to ten digits, with an exponent beyond. */
static size_t put_decimal(struct decimal x, char *out)
{
	char digits[NUMBER_UINT_LEN];
	size_t n = put_uint(x.digits, digits), len;
	int point = (int)n + x.exponent; /* digits before the point */

	if (x.exponent >= 0 && point <= 10) {
		memcpy(out, digits, n);
		memset(out + n, '0', (size_t)x.exponent);
		return (size_t)point;
	}
	if (point > 0 && point <= 10) {
		memcpy(out, digits, (size_t)point);
		out[point] = '.';
		memcpy(out + point + 1, digits + point, n - (size_t)point);
		return n + 1;
	}
	if (point <= 0 && point > -4) {
		memcpy(out, "0.000", 5);
		memcpy(out + 2 - point, digits, n);
		return (size_t)(2 - point) + n;
	}
	len = 0;
	out[len++] = digits[0];
	if (n > 1) {
		out[len++] = '.';
		memcpy(out + len, digits + 1, n - 1);
		len += n - 1;
	}
	out[len++] = 'e';
	if (point - 1 < 0)
		out[len++] = '-';
	return len + put_uint((uint64_t)abs(point - 1), out + len);
}

size_t number_format(float f, char out[NUMBER_LEN])
{
	struct decimal x;
	size_t len = 0;
	uint32_t whole;

	if (!isfinite(f)) {
		memcpy(out, "null", 4);
		return 4;
	}
	if (signbit(f))
		out[len++] = '-';
	f = fabsf(f);
	whole = f < 0x1p24f ? (uint32_t)f : 0;
	if (f == (float)whole) /* exact, so nothing shorter is as near */
		return len + put_uint(whole, out + len);
	if (!quick_shortest(f, &x))
		slow_shortest(f, &x);
	len += put_decimal(x, out + len);
	assert(len <= NUMBER_LEN);
	return len;
}

size_t number_format_uint(uint64_t n, char out[NUMBER_UINT_LEN])
{
	return put_uint(n, out);
}

size_t number_find_nonfinite(const float *f, size_t n)
{
	/* All exponent bits set, plus one in their last place, carries into
	 * the sign's place and no further: two floats at once, no branch. */
	const uint64_t mask = 0x7f8000007f800000, one = 0x0080000000800000;
	const uint64_t carry = 0x8000000080000000;
	const size_t block = 64;
	size_t i = 0;

	for (; i + block <= n; i += block) {
		uint64_t two[32], seen = 0;
		memcpy(two, f + i, sizeof(two));
		for (size_t k = 0; k < VG_ARRAY_LEN(two); k++)
			seen |= (two[k] & mask) + one;
		if (seen & carry)
			break;
	}
	for (; i < n; i++) {
		if (!isfinite(f[i]))
			return i;
	}
	return n;
}
