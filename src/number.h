/* SPDX-License-Identifier: Apache-2.0 */
/* number.h: float32 from decimal text and back; the hot path of text loading. */
#ifndef VG_NUMBER_H
#define VG_NUMBER_H

#include "src/vg.h"

/* Bytes of a formatted float32, without a terminator: "-1.23456789e-38". */
#define NUMBER_LEN 15
#define NUMBER_UINT_LEN 20

/*
 * Scans one decimal number from *p, before end, into *out: the float32 nearest
 * to the exact decimal value, ties to even, whatever the locale. Too small a
 * number is 0 or subnormal, as it rounds. *p moves behind the number; on an
 * error to the first byte that does not fit (end: the text was cut, or more
 * of it might still make it a number).
 *
 * -EINVAL: not a number (the words nan and inf are none). -ERANGE: it rounds
 * to infinity. Allocates nothing. Any thread.
 */
int number_scan(const char **p, const char *end, float *out);

/* The same for JSON's grammar: no '+' in front, no 01, no .5 and no 5. */
int number_scan_json(const char **p, const char *end, float *out);

/* The float64 nearest to the number, by either grammar. Of more than 128 digits
 * those behind say only that it is more. */
int number_scan_wide(const char **p, const char *end, bool is_json,
	double *out);

/*
 * The shortest decimal that number_scan reads as f again, of those the one
 * nearest to f: "0.07", "1e-10", "-3", "16777216". It is valid JSON: NaN and
 * infinity, which a stored vector never holds but a distance may be, are
 * "null". Returns the length; writes no terminator. Any thread.
 */
size_t number_format(float f, char out[NUMBER_LEN]);

/* A whole number in decimal; returns its length. Any thread. */
size_t number_format_uint(uint64_t n, char out[NUMBER_UINT_LEN]);

/* The index of the first NaN or infinity in f[n], or n. At memory speed. */
size_t number_find_nonfinite(const float *f, size_t n);

#endif
