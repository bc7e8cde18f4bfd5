/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.h: JSON's numbers as what they say: exact decimals, ordered. */
#ifndef VG_DECIMAL_H
#define VG_DECIMAL_H

#include "src/vg.h"

/*
 * A number of any length and size, taken apart where it stands, nothing copied:
 * it is sign * 0.DIGITS * 10^exp, the first and the last digit not 0. So 1.10
 * and 1.1 are equal, 9007199254740993 and 9007199254740992 are not, and 1e400
 * is one as well. Beyond +-10^18 an exponent counts as that: numbers whose
 * exponents have 19 digits may be taken for equal. All is pure; any thread.
 */
struct decimal {
	const char *digits; /* borrowed; a point may stand among them */
	uint32_t len;	    /* bytes from the first digit to the last */
	int32_t sign;	    /* -1, 0 (the others are 0 then), 1 */
	int64_t exp;
};

#define DECIMAL_EXP_MAX 1000000000000000000

/* text[len] must be a number by JSON's grammar. */
struct decimal decimal_scan(const char *text, uint32_t len);

/* Below 0, 0 or above: as a is less than, equal to, greater than b. */
int decimal_compare(const struct decimal *a, const struct decimal *b);

/*
 * KEYS order as the numbers do under memcmp, where the shorter of two comes
 * first if it begins the other, and are equal exactly if the numbers are:
 *
 *	sign    u8   1 negative, 2 zero (nothing follows), 3 positive
 *	exp     u8   0x80 + exp for -100..100; else 0x10 or 0xf0, then
 *	        u64  exp + 2^63, the highest byte first
 *	digits  u8.. two in a byte, the first one high, each one more than it
 *		     is; 0 behind an odd last one
 *
 * Behind the sign a negative number has all bits the other way round, and a
 * byte 0xff at its end.
 */
#define DECIMAL_KEY_MAX(len) (12 + ((size_t)(len) + 1) / 2)

/* Writes the key to out[DECIMAL_KEY_MAX(d->len)]; returns its length. */
size_t decimal_encode(const struct decimal *d, uint8_t *out);

/* A key's number, its digits in digits[2 * len], which it borrows. False: this
 * is no key. */
bool decimal_decode(const uint8_t *key, size_t len, char *digits,
	struct decimal *out);

/*
 * The one spelling of a number as JSON: 1.1, 1000, 0.001, 1e+400. Digits and
 * zeros are written out from 1e-6 up to 1e21. Returns the length.
 */
#define DECIMAL_TEXT_MAX(len) ((size_t)(len) + 40)
size_t decimal_format(const struct decimal *d, char *out);

#endif
