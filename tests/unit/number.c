/* SPDX-License-Identifier: Apache-2.0 */
/* number.c: what float32s look like in text, and that both ways are exact. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/number.h"
#include "tests/tap.h"

static uint64_t rng;

static uint64_t random_next(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull;
}

static float from_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint32_t to_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static int scan(const char *text, bool is_json, float *out, size_t *used)
{
	const char *p = text, *end = text + strlen(text);
	int rc = is_json ? number_scan_json(&p, end, out)
			 : number_scan(&p, end, out);

	if (used)
		*used = (size_t)(p - text);
	return rc;
}

/* Whether text scans as strtof reads it, bit for bit. */
static bool is_as_strtof(const char *text)
{
	float got = -1, want = strtof(text, NULL);
	size_t used;
	int rc = scan(text, false, &got, &used);

	if (isinf(want))
		return rc == -ERANGE;
	if (rc == 0 && used == strlen(text) && to_bits(got) == to_bits(want))
		return true;
	diag("%s: rc %d, %zu bytes, %a instead of %a", text, rc, used,
		(double)got, (double)want);
	return false;
}

static void test_table(void)
{
	static const char *const texts[] = {"0", "-0", "0.0", "1", "-3", ".5",
		"5.", "+7", "0.07", "1e-10", "1E+5", "00012", "16777216",
		"16777217", "16777218", "16777219", "3.4028235e38",
		"3.4028235677973366e38", "3.4028236e38", "1e39", "-1e39",
		"1.17549435e-38", "1e-45", "7e-46", "7.1e-46", "1e-400",
		"0.000000000000000000000000000000000000000000001",
		"123456789012345678901234567890", "1e9999999999999999999",
		"0e9999999999999999999", "1e-9999999999999999999",
		"0.100000001490116119384765625",
		"0.1000000052154064178466796875",
		"0.10000000521540641784667968750000000000000000000000001",
		"9007199254740993", "999999999999999999", "0.30000001192092896",
		"2.2250738585072011e-308"};
	bool holds = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(texts); i++)
		holds &= is_as_strtof(texts[i]);
	ok(holds, "numbers at the borders scan as strtof reads them");

	/* 2^-149 + 2^-150 is a middle of 105 digits; then one digit more. */
	char long_text[400];
	snprintf(long_text, sizeof(long_text), "%.160e",
		(double)0x1p-149 * 1.5);
	ok(is_as_strtof(long_text), "a middle of a hundred digits is a tie");
	memset(long_text, '0', sizeof(long_text));
	snprintf(long_text + 200, 20, "1.5");
	ok(is_as_strtof(long_text), "200 leading zeros mean nothing");
	snprintf(long_text, sizeof(long_text), "16777217.%0190d1", 0);
	float f = 0;
	ok(scan(long_text, false, &f, NULL) == 0 && f == 16777218.0f,
		"the 200th digit decides a tie");
}

static void test_refused(void)
{
	static const char *const never[] = {"", "-", "+", ".", "-.", "e5",
		"1e", "1e+", "nan", "inf", "-inf", "Infinity", "NaN", "x", "--1"};
	static const char *const lax[] = {"+1", "01", ".5", "5.", "-01", "5.e3"};
	bool holds = true;
	float f = 42;

	for (size_t i = 0; i < VG_ARRAY_LEN(never); i++)
		holds &= scan(never[i], false, &f, NULL) == -EINVAL &&
			scan(never[i], true, &f, NULL) == -EINVAL;
	ok(holds && f == 42, "words and halves of numbers are refused");
	holds = true;
	for (size_t i = 0; i < VG_ARRAY_LEN(lax); i++)
		holds &= scan(lax[i], false, &f, NULL) == 0 &&
			scan(lax[i], true, &f, NULL) == -EINVAL;
	ok(holds, "JSON refuses +1, 01, .5 and 5., text takes them");

	size_t used;
	ok(scan("1.5,2", false, &f, &used) == 0 && used == 3 && f == 1.5f,
		"a number ends where it ends");
	scan("12x", false, &f, &used);
	ok(used == 2, "what follows a number is left");
	const char *p = "1234567890";
	ok(number_scan(&p, p + 3, &f) == 0 && f == 123,
		"no byte behind the end is read");
	p = "1.";
	ok(number_scan_json(&p, p + 2, &f) == -EINVAL && *p == 0,
		"a number that is cut is refused at the end");
}

static void test_random_decimals(void)
{
	long n = env_long("VG_NUMBERS", 1000000), bad = 0;
	char text[64];

	for (long i = 0; i < n && bad < 10; i++) {
		uint64_t r = random_next();
		int digits = (int)(r % 22) + 1;
		int len = 0;
		if (r >> 8 & 1)
			text[len++] = '-';
		int point = (int)(r >> 16 & 31);
		for (int k = 0; k < digits; k++) {
			if (k == point)
				text[len++] = '.';
			text[len++] = (char)('0' + random_next() % 10);
		}
		text[len] = 0;
		if (r >> 9 & 1)
			snprintf(text + len, 8, "e%d",
				(int)(random_next() % 100) - 50);
		bad += !is_as_strtof(text);
	}
	ok(bad == 0, "random decimals scan as strtof reads them");

	bad = 0;
	for (long i = 0; i < n / 4 && bad < 10; i++) {
		uint32_t bits = (uint32_t)random_next() % 0x7f7fffff;
		double middle = ((double)from_bits(bits) +
					(double)from_bits(bits + 1)) / 2;
		snprintf(text, sizeof(text), "%.*e",
			8 + (int)(random_next() % 12), middle);
		bad += !is_as_strtof(text);
	}
	ok(bad == 0, "decimals around the middles of floats do, too");
}

/* Whether f's text reads back, here and by strtof. */
static bool is_round_trip(float f, char text[NUMBER_LEN + 1])
{
	size_t len = number_format(f, text);
	const char *p = text;
	float back = 0;

	must(len <= NUMBER_LEN);
	text[len] = 0;
	return number_scan_json(&p, text + len, &back) == 0 && !*p &&
		to_bits(back) == to_bits(f) &&
		to_bits(strtof(text, NULL)) == to_bits(f);
}

/* Whether fewer digits would not do; counts the digits in text. */
static bool is_shortest(float f, const char *text)
{
	char shorter[32];
	int digits = 0, zeros = 0;

	for (; *text && *text != 'e'; text++) {
		if (*text < '0' || *text > '9' || (!digits && *text == '0'))
			continue;
		zeros = *text == '0' ? zeros + 1 : 0;
		digits++;
	}
	digits -= zeros;
	if (digits <= 1)
		return true;
	snprintf(shorter, sizeof(shorter), "%.*e", digits - 2, (double)f);
	return strtof(shorter, NULL) != f;
}

static void test_format_all(void)
{
	uint64_t stride = (uint64_t)env_long("VG_NUMBER_STRIDE", 1499);
	uint64_t at = random_next() % stride, n = 0, bad = 0, too_long = 0;
	char text[NUMBER_LEN + 1];

	for (; at < 1ull << 32; at += stride, n++) {
		float f = from_bits((uint32_t)at);
		if (!isfinite(f))
			continue;
		if (!is_round_trip(f, text) && bad++ < 10)
			diag("%a is formatted as %s", (double)f, text);
		if (n % 4 == 0 && !is_shortest(f, text) && too_long++ < 10)
			diag("%a could be shorter than %s", (double)f, text);
	}
	ok(bad == 0, "each of %llu floats reads back as it was",
		(unsigned long long)n);
	ok(too_long == 0, "no float has a shorter decimal");

	bad = too_long = 0;
	for (uint32_t e = 0; e < 255; e++) {
		for (int d = -3; d <= 3; d++) {
			float f = from_bits((e << 23) + (uint32_t)d);
			if (!isfinite(f))
				continue;
			bad += !is_round_trip(f, text);
			too_long += !is_shortest(f, text);
		}
	}
	for (uint32_t i = 0; i < 200000; i++) {
		float f = from_bits(i);
		bad += !is_round_trip(f, text);
		f = (float)(16000000 + i * 37);
		bad += !is_round_trip(f, text);
		too_long += !is_shortest(f, text);
	}
	ok(bad == 0 && too_long == 0,
		"powers of two, subnormals and large whole numbers as well");
}

static bool formats(float f, const char *want)
{
	char text[NUMBER_LEN + 1];

	text[number_format(f, text)] = 0;
	if (strcmp(text, want) != 0)
		diag("%s instead of %s", text, want);
	return strcmp(text, want) == 0;
}

static void test_format_table(void)
{
	ok(formats(0.07f, "0.07") && formats(1e-10f, "1e-10") &&
		formats(-3, "-3") && formats(16777216, "16777216"),
		"numbers look as a person writes them");
	ok(formats(0.0001f, "0.0001") && formats(0.00001f, "1e-5") &&
		formats(1234567936, "1234568000") && formats(1e10f, "1e10") &&
		formats(0.5f, "0.5") && formats(100.25f, "100.25"),
		"plain from 0.0001 up to ten digits");
	ok(formats(0, "0") && formats(-0.0f, "-0"), "zero keeps its sign");
	ok(formats(3.4028235e38f, "3.4028235e38") &&
		formats(1e-45f, "1e-45") &&
		formats(-1.17549435e-38f, "-1.1754944e-38"),
		"the largest, the smallest and the first normal float");
	ok(formats(INFINITY, "null") && formats(NAN, "null"),
		"what JSON cannot say is null");
	char text[NUMBER_UINT_LEN + 1] = "";
	text[number_format_uint(UINT64_MAX, text)] = 0;
	ok(strcmp(text, "18446744073709551615") == 0 &&
		number_format_uint(0, text) == 1 && text[0] == '0',
		"whole numbers up to 2^64 - 1");
}

static void test_nonfinite(void)
{
	float f[300];
	bool holds = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(f); i++)
		f[i] = i % 2 ? 3.4028235e38f : -3.4028235e38f;
	holds &= number_find_nonfinite(f, 300) == 300;
	for (size_t i = 0; i < VG_ARRAY_LEN(f); i++) {
		float keep = f[i];
		f[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
		holds &= number_find_nonfinite(f, 300) == i;
		holds &= number_find_nonfinite(f, i) == i;
		f[i] = keep;
	}
	ok(holds, "NaN and infinity are found at each place");
}

/* Whether number_scan_wide reads text as strtod does, bit for bit. */
static bool is_as_strtod(const char *text)
{
	const char *p = text, *end = text + strlen(text);
	double got = -1, want = strtod(text, NULL);
	int rc = number_scan_wide(&p, end, false, &got);

	if (isinf(want))
		return rc == -ERANGE;
	if (rc == 0 && p == end && memcmp(&got, &want, sizeof(got)) == 0)
		return true;
	diag("%s: %a instead of %a", text, got, want);
	return false;
}

static void test_wide(void)
{
	static const char *const texts[] = {"0", "-0", "0.1", "1e22", "1e23",
		"-1e-22", "1e-23", "9007199254740992", "9007199254740993",
		"9007199254740992e22", "123456789012345678", "1.7976931348623157e308",
		"2.2250738585072011e-308", "4.9e-324", "2e-324", "1e999", "-1e400",
		"1.00048828125000000000000000001", "0.000000000000000000000001",
		"123456789012345678901234567890", "65519.999999999999", "5e-1"};
	char text[64];
	bool holds = true;
	double out = 7;

	for (size_t i = 0; i < VG_ARRAY_LEN(texts); i++)
		holds &= is_as_strtod(texts[i]);
	ok(holds, "float64 is the nearest, too, at the borders");
	for (int i = 0; i < 200000 && holds; i++) {
		uint64_t bits = random_next();
		double d;

		memcpy(&d, &bits, sizeof(d));
		if (i % 2)
			d = (double)(int64_t)bits / (double)(1ull << i % 64);
		if (!isfinite(d))
			continue;
		snprintf(text, sizeof(text), "%.*g", 1 + i % 20, d);
		holds = is_as_strtod(text);
	}
	ok(holds, "and of random numbers of 1 to 20 digits");
	for (size_t i = 0; i < 2; i++) {
		static const char *const wrong[] = {"+1", "01"};
		const char *p = wrong[i];

		holds &= number_scan_wide(&p, p + 2, true, &out) == -EINVAL;
	}
	ok(holds && out == 7, "JSON has its own grammar");
}

int main(void)
{
	plan(25);
	rng = seed() | 1;
	test_table();
	test_refused();
	test_random_decimals();
	test_format_all();
	test_format_table();
	test_nonfinite();
	test_wide();
	return done();
}
