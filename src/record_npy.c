/* SPDX-License-Identifier: Apache-2.0 */
/* record_npy.c: see record_npy.h. */
#include "src/record_npy.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "index/dist_half.h"
#include "src/element.h"

/* A walk over the header's text. */
struct scan {
	const char *at, *end;
};

static void skip_blanks(struct scan *s)
{
	assert(s->at <= s->end);
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' ||
					 *s->at == '\t' || *s->at == '\r'))
		s->at++;
}

/* Passes c, after blanks. */
static bool take(struct scan *s, char c)
{
	skip_blanks(s);
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static bool take_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	skip_blanks(s);
	if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
		return false;
	s->at += len;
	return true;
}

/* A string in quotes of either kind, without escapes, into out[cap]. */
static bool take_string(struct scan *s, char *out, size_t cap)
{
	char quote = 0;
	size_t len = 0;

	if (take(s, '\''))
		quote = '\'';
	else if (take(s, '"'))
		quote = '"';
	else
		return false;
	while (s->at < s->end && *s->at != quote) {
		if (*s->at == '\\' || len + 1 == cap)
			return false;
		out[len++] = *s->at++;
	}
	out[len] = 0;
	return take(s, quote);
}

/* A whole number; Python 2 wrote an L behind large ones. */
static bool take_uint(struct scan *s, uint64_t *out)
{
	uint64_t n = 0;
	int digits = 0;

	skip_blanks(s);
	for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; digits++) {
		if (digits == 19)
			return false;
		n = n * 10 + (uint64_t)(*s->at++ - '0');
	}
	if (s->at < s->end && *s->at == 'L')
		s->at++;
	*out = n;
	return digits > 0;
}

/* What the text says, before it is judged. */
struct dict {
	char descr[16];
	bool is_fortran;
	uint64_t shape[2];
	int n_shape; /* 3: three or more */
	int seen;    /* bits of DESCR.. */
};

enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };

static bool take_shape(struct scan *s, struct dict *d)
{
	uint64_t n;

	d->n_shape = 0;
	if (!take(s, '('))
		return false;
	while (!take(s, ')')) {
		if (!take_uint(s, &n))
			return false;
		if (d->n_shape < 2)
			d->shape[d->n_shape] = n;
		d->n_shape = VG_MIN(d->n_shape + 1, 3);
		if (!take(s, ',')) {
			if (!take(s, ')'))
				return false;
			break;
		}
	}
	return true;
}

static const char *take_member(struct scan *s, struct dict *d)
{
	static const char broken[] = "the npy header is no dict of numpy's";
	char key[32];

	if (!take_string(s, key, sizeof(key)) || !take(s, ':'))
		return broken;
	if (strcmp(key, "descr") == 0) {
		d->seen |= DESCR;
		if (!take_string(s, d->descr, sizeof(d->descr)))
			return "the npy array has a structured dtype; write "
			       "one of float or integer numbers";
	} else if (strcmp(key, "fortran_order") == 0) {
		d->seen |= ORDER;
		d->is_fortran = take_word(s, "True");
		if (!d->is_fortran && !take_word(s, "False"))
			return broken;
	} else if (strcmp(key, "shape") == 0) {
		d->seen |= SHAPE;
		if (!take_shape(s, d))
			return broken;
	} else {
		return broken;
	}
	return NULL;
}

static const char *take_dict(struct scan *s, struct dict *d)
{
	static const char broken[] = "the npy header is no dict of numpy's";

	if (!take(s, '{'))
		return broken;
	while (!take(s, '}')) {
		const char *why = take_member(s, d);
		if (why)
			return why;
		if (!take(s, ',')) {
			if (!take(s, '}'))
				return broken;
			break;
		}
	}
	skip_blanks(s);
	return s->at == s->end && d->seen == ALL ? NULL : broken;
}

static const char *judge_dtype(const char *descr, struct record_npy *out)
{
	static const char *const known[] = {"f2", "f4", "f8", "i1", "i2", "i4",
		"i8", "u1", "u2", "u4", "u8", "b1"};
	bool is_order = descr[0] && strchr("<>|=", descr[0]);
	const char *name = descr + is_order;

	for (size_t i = 0; i < VG_ARRAY_LEN(known); i++) {
		if (strcmp(name, known[i]) != 0)
			continue;
		out->kind = name[0];
		out->size = (uint8_t)(name[1] - '0');
		out->is_big = descr[0] == '>' && out->size > 1;
		return NULL;
	}
	return "the npy array's dtype is not one of float16, 32, 64, bool and "
	       "the integers; write e.g. numpy .astype('<f4')";
}

static const char *judge_shape(const struct dict *d, struct record_npy *out)
{
	uint64_t dim;

	if (d->n_shape != 1 && d->n_shape != 2)
		return "the npy array's shape is neither (dim,) nor (rows, dim)";
	out->rows = d->n_shape == 1 ? 1 : d->shape[0];
	dim = d->shape[d->n_shape - 1];
	if (dim < 1 || dim > VG_DIM_MAX)
		return "the npy array's rows do not have 1 to 65,535 numbers";
	out->dim = (uint32_t)dim;
	if (d->is_fortran && out->rows > 1 && dim > 1)
		return "the npy array is in Fortran order; write "
		       "numpy.ascontiguousarray(a)";
	return NULL;
}

int record_npy_parse(const void *in, size_t len, struct record_npy *out,
	const char **why)
{
	const unsigned char *b = in;
	struct record_npy npy = {0};
	struct dict dict = {.n_shape = 0};
	size_t text_at, text_len;
	const char *wrong;

	if (memcmp(b, RECORD_NPY_MAGIC,
		    VG_MIN(len, (size_t)RECORD_NPY_MAGIC_LEN)) != 0) {
		*why = "this is no npy: it does not begin with \\x93NUMPY";
		return -EINVAL;
	}
	if (len < 10)
		return -EAGAIN;
	if (b[6] < 1 || b[6] > 3) {
		*why = "this npy is of a version other than 1, 2 and 3";
		return -EINVAL;
	}
	text_len = (size_t)b[8] | (size_t)b[9] << 8;
	text_at = b[6] == 1 ? 10 : 12;
	if (len < text_at)
		return -EAGAIN;
	if (b[6] != 1)
		text_len |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
	if (text_len > RECORD_NPY_HEADER_MAX) {
		*why = "the npy header is longer than 64 KiB";
		return -EINVAL;
	}
	if (len - text_at < text_len)
		return -EAGAIN;

	const char *text = (const char *)b + text_at;
	wrong = take_dict(&(struct scan){text, text + text_len}, &dict);
	if (!wrong)
		wrong = judge_dtype(dict.descr, &npy);
	if (!wrong)
		wrong = judge_shape(&dict, &npy);
	if (wrong) {
		*why = wrong;
		return -EINVAL;
	}
	assert(npy.dim >= 1 && npy.size >= 1);
	npy.header_len = text_at + text_len;
	*out = npy;
	return 0;
}

void record_npy_settle(struct record_npy *npy, enum vg_dtype dtype,
	uint32_t dim)
{
	assert(npy->dim <= VG_DIM_MAX && !npy->is_packed);
	npy->is_packed = dtype == VG_B1 && npy->kind == 'u' &&
		npy->size == 1 && (!dim || npy->dim == dim / 8);
	if (npy->is_packed)
		npy->dim *= 8;
}

size_t record_npy_row_len(const struct record_npy *npy)
{
	assert(npy->dim >= 1 && npy->size <= 8);
	return npy->is_packed ? npy->dim / 8 : (size_t)npy->dim * npy->size;
}

bool record_npy_is_f32(const struct record_npy *npy)
{
	return npy->kind == 'f' && npy->size == 4 && !npy->is_big;
}

/* A number of any dtype from its bits, in our byte order. */
static double from_bits(const struct record_npy *npy, uint64_t bits)
{
	unsigned int unused = 64 - 8u * npy->size;
	double d;
	float f;

	if (npy->kind == 'u')
		return (double)bits;
	if (npy->kind == 'b')
		return bits != 0;
	if (npy->kind == 'i') /* the sign is shifted back in */
		return (double)((int64_t)(bits << unused) >> unused);
	if (npy->size == 2)
		return (double)dist_half_decode((uint16_t)bits);
	if (npy->size == 8) {
		memcpy(&d, &bits, sizeof(d));
		return d;
	}
	uint32_t low = (uint32_t)bits;
	memcpy(&f, &low, sizeof(f));
	return (double)f;
}

static uint64_t load(const struct record_npy *npy, const char *in)
{
	uint64_t bits = 0;

	switch (npy->size) {
	case 1:
		return (unsigned char)in[0];
	case 2:
		memcpy(&bits, in, 2);
		return npy->is_big ? __builtin_bswap16((uint16_t)bits) : bits;
	case 4:
		memcpy(&bits, in, 4);
		return npy->is_big ? __builtin_bswap32((uint32_t)bits) : bits;
	default:
		assert(npy->size == 8);
		memcpy(&bits, in, 8);
		return npy->is_big ? __builtin_bswap64(bits) : bits;
	}
}

/* Rounded once: not every whole number of 64 bits is a double. */
static double as_float(const struct record_npy *npy, uint64_t bits)
{
	if (npy->size == 8 && npy->kind == 'u')
		return (double)(float)bits;
	if (npy->size == 8 && npy->kind == 'i')
		return (double)(float)(int64_t)bits;
	return from_bits(npy, bits);
}

/* Whether rows of the dtype are what the array has. */
static bool is_same(const struct record_npy *npy, enum vg_dtype dtype)
{
	if (npy->is_packed)
		return true;
	if (dtype == VG_F32)
		return record_npy_is_f32(npy);
	if (dtype == VG_F16)
		return npy->kind == 'f' && npy->size == 2 && !npy->is_big;
	return dtype == VG_I8 && npy->kind == 'i' && npy->size == 1;
}

size_t record_npy_convert(const struct record_npy *npy, const void *in,
	size_t n, enum vg_dtype dtype, void *out)
{
	const char *at = in;

	assert(npy->size >= 1 && npy->size <= 8);
	assert(!npy->is_packed || dtype == VG_B1);
	if (is_same(npy, dtype)) {
		memcpy(out, in, vg_row_len(dtype, n));
		return element_find_nonfinite(dtype, out, n);
	}
	for (size_t i = 0; i < n; i++, at += npy->size) {
		uint64_t bits = load(npy, at);
		double value = dtype == VG_F32 ? as_float(npy, bits)
					       : from_bits(npy, bits);

		if (!element_put(dtype, out, i, value))
			return i;
	}
	return n;
}

size_t record_npy_header(char out[RECORD_NPY_HEADER_LEN], enum vg_dtype dtype,
	uint64_t n, uint32_t dim)
{
	static const char *const descr[] = {[VG_F32] = "<f4",
		[VG_F16] = "<f2", [VG_I8] = "|i1", [VG_B1] = "|u1"};
	char text[RECORD_NPY_HEADER_LEN - 10 + 1], rows[32] = "";
	int len;

	assert(dim >= 1 && dim <= VG_DIM_MAX);
	if (n != RECORD_NPY_VECTOR)
		snprintf(rows, sizeof(rows), "%llu, ", (unsigned long long)n);
	len = snprintf(text, sizeof(text),
		"{'descr': '%s', 'fortran_order': False, 'shape': (%s%u%s), }",
		descr[dtype], rows, dtype == VG_B1 ? (dim + 7) / 8 : dim,
		n == RECORD_NPY_VECTOR ? "," : "");
	assert(len > 0 && len < (int)sizeof(text) - 1);
	memset(out, ' ', RECORD_NPY_HEADER_LEN);
	memcpy(out, RECORD_NPY_MAGIC "\x01\x00\x76\x00", 10);
	memcpy(out + 10, text, (size_t)len);
	out[RECORD_NPY_HEADER_LEN - 1] = '\n';
	return RECORD_NPY_HEADER_LEN;
}
