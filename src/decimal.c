/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.c: see decimal.h. */
#include "src/decimal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define EXP_NEAR 100 /* of one byte */

static bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

/* The exponent behind the e, if any; far beyond DECIMAL_EXP_MAX it stops. */
static int64_t scan_exp(const char *at, const char *end)
{
	bool is_negative;
	int64_t exp = 0;

	if (at == end)
		return 0;
	assert((*at | 0x20) == 'e');
	at++;
	is_negative = at < end && *at == '-';
	at += at < end && (*at == '-' || *at == '+');
	for (; at < end; at++) {
		/* One digit more takes it beyond what counts. */
		if (exp > DECIMAL_EXP_MAX / 4) {
			exp = 2 * DECIMAL_EXP_MAX;
			break;
		}
		exp = exp * 10 + (*at - '0');
	}
	return is_negative ? -exp : exp;
}

struct decimal decimal_scan(const char *text, uint32_t len)
{
	const char *at = text, *end = text + len, *first = NULL, *last = NULL;
	const char *point = NULL;
	struct decimal d = {.sign = 1};

	assert(len > 0);
	if (*at == '-') {
		d.sign = -1;
		at++;
	}
	for (; at < end && (is_digit(*at) || *at == '.'); at++) {
		if (*at == '.')
			point = at;
		else if (*at != '0')
			last = at;
		if (!first && last)
			first = last;
	}
	if (!first)
		return (struct decimal){.digits = text};
	if (!point)
		point = at;
	/* Digits between the first and the point; after it zeros count down. */
	d.exp = point > first ? point - first : point + 1 - first;
	d.exp += scan_exp(at, end);
	d.exp = VG_MIN(VG_MAX(d.exp, -DECIMAL_EXP_MAX), DECIMAL_EXP_MAX);
	d.digits = first;
	d.len = (uint32_t)(last - first) + 1;
	return d;
}

/* The next digit as 1 to 10, or 0 at the end. */
static uint32_t next_digit(const struct decimal *d, uint32_t *at)
{
	if (*at < d->len && d->digits[*at] == '.')
		(*at)++;
	if (*at >= d->len)
		return 0;
	assert(is_digit(d->digits[*at]));
	return (uint32_t)(d->digits[(*at)++] - '0') + 1;
}

static int compare_digits(const struct decimal *a, const struct decimal *b)
{
	uint32_t i = 0, j = 0, x, y;

	/* Each turn takes a digit of both or ends. */
	do {
		x = next_digit(a, &i);
		y = next_digit(b, &j);
	} while (x == y && x != 0);
	return (x > y) - (x < y);
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
	int order;

	if (a->sign != b->sign)
		return a->sign < b->sign ? -1 : 1;
	if (a->sign == 0)
		return 0;
	if (a->exp != b->exp)
		order = a->exp < b->exp ? -1 : 1;
	else
		order = compare_digits(a, b);
	return a->sign * order;
}

static size_t put_exp(int64_t exp, uint8_t *out)
{
	uint64_t biased = (uint64_t)exp + (1ull << 63);

	if (exp >= -EXP_NEAR && exp <= EXP_NEAR) {
		out[0] = (uint8_t)(0x80 + exp);
		return 1;
	}
	out[0] = exp < 0 ? 0x10 : 0xf0;
	for (int i = 0; i < 8; i++)
		out[1 + i] = (uint8_t)(biased >> (56 - 8 * i));
	return 9;
}

size_t decimal_encode(const struct decimal *d, uint8_t *out)
{
	uint32_t at = 0, high;
	size_t n = 1;

	assert(d->sign >= -1 && d->sign <= 1);
	out[0] = (uint8_t)(2 + d->sign);
	if (d->sign == 0)
		return 1;
	n += put_exp(d->exp, out + n);
	while ((high = next_digit(d, &at)) != 0)
		out[n++] = (uint8_t)(high << 4 | next_digit(d, &at));
	if (d->sign < 0) {
		for (size_t i = 1; i < n; i++)
			out[i] = (uint8_t)~out[i];
		out[n++] = 0xff;
	}
	assert(n <= DECIMAL_KEY_MAX(d->len));
	return n;
}

/* The exponent at key[1...], *at moves behind it. */
static bool get_exp(const uint8_t *key, size_t len, uint8_t flip, size_t *at,
	int64_t *exp)
{
	uint64_t biased = 0;

	if (len < 2)
		return false;
	uint8_t first = key[1] ^ flip;
	*at = 2;
	if (first != 0x10 && first != 0xf0) {
		*exp = (int64_t)first - 0x80;
		return *exp >= -EXP_NEAR && *exp <= EXP_NEAR;
	}
	if (len < 10)
		return false;
	for (int i = 0; i < 8; i++)
		biased = biased << 8 | (uint8_t)(key[2 + i] ^ flip);
	*at = 10;
	*exp = (int64_t)(biased - (1ull << 63));
	return first == 0x10 ? *exp < -EXP_NEAR && *exp >= -DECIMAL_EXP_MAX :
		*exp > EXP_NEAR && *exp <= DECIMAL_EXP_MAX;
}

bool decimal_decode(const uint8_t *key, size_t len, char *digits,
	struct decimal *out)
{
	struct decimal d = {.digits = digits};
	size_t at;

	if (len == 0 || key[0] < 1 || key[0] > 3)
		return false;
	d.sign = key[0] - 2;
	uint8_t flip = d.sign < 0 ? 0xff : 0;
	if (d.sign == 0) {
		*out = d;
		return len == 1;
	}
	if (!get_exp(key, len, flip, &at, &d.exp))
		return false;
	if (flip && key[--len] != 0xff)
		return false;
	for (; at < len; at++) {
		uint8_t high = (uint8_t)((key[at] ^ flip) >> 4);
		uint8_t low = (key[at] ^ flip) & 15;
		if (high < 1 || high > 10 || low > 10 ||
			(low == 0 && at + 1 < len))
			return false;
		digits[d.len++] = (char)('0' + high - 1);
		if (low > 0)
			digits[d.len++] = (char)('0' + low - 1);
	}
	*out = d;
	return d.len > 0 && digits[0] != '0' && digits[d.len - 1] != '0';
}

/* n digits, zeros where there are no more. */
static void put_digits(const struct decimal *d, uint32_t *at, int64_t n,
	char **out)
{
	for (; n > 0; n--) {
		uint32_t digit = next_digit(d, at);
		*(*out)++ = (char)(digit ? '0' + digit - 1 : '0');
	}
}

static void put_rest(const struct decimal *d, uint32_t *at, char **out)
{
	uint32_t digit;

	while ((digit = next_digit(d, at)) != 0)
		*(*out)++ = (char)('0' + digit - 1);
}

size_t decimal_format(const struct decimal *d, char *out)
{
	uint32_t at = 0;
	char *p = out;

	if (d->sign == 0) {
		*out = '0';
		return 1;
	}
	if (d->sign < 0)
		*p++ = '-';
	if (d->exp > 0 && d->exp <= 21) {
		put_digits(d, &at, d->exp, &p);
	} else if (d->exp <= 0 && d->exp > -6) {
		*p++ = '0';
	} else {
		put_digits(d, &at, 1, &p);
	}
	if (at < d->len || (d->exp <= 0 && d->exp > -6))
		*p++ = '.';
	for (int64_t i = d->exp; i < 0 && d->exp > -6; i++)
		*p++ = '0';
	put_rest(d, &at, &p);
	if (d->exp > 21 || d->exp <= -6)
		p += sprintf(p, "e%+lld", (long long)(d->exp - 1));
	assert((size_t)(p - out) <= DECIMAL_TEXT_MAX(d->len));
	return (size_t)(p - out);
}
