/* SPDX-License-Identifier: Apache-2.0 */
/* quant.c: see quant.h. */
#include "index/quant.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#include "index/dist.h"
#include "index/dist_half.h"

#define CODE_MAX 255
#define MARGIN 16 /* of the range, left free at each end: a part of 16 */
#define JUDGED 64 /* rows of a sample whose nearest is looked for */

bool quant_is_valid(const struct quant *q)
{
	if (!isfinite(q->lo) || !isnormal(q->step) || q->step <= 0)
		return false;
	return !q->is_whole || (q->lo == 0 && q->step == 1);
}

bool quant_code(const struct quant *q, const float *vec, float scale,
	uint32_t dim, uint8_t *code)
{
	float inverse = 1 / q->step, zero = 0.5f - q->lo * inverse;
	bool is_whole = q->is_whole;
	uint32_t n_out = 0;

	assert(q->step > 0);
	for (uint32_t i = 0; i < dim; i++) {
		float x = vec[i] * scale * inverse + zero;

		/* A damaged row may have no numbers: they are out as well. */
		n_out += !(x >= 0 && x < CODE_MAX + 1);
		code[i] = (uint8_t)(x >= 0 && x < CODE_MAX + 1 ? x : 0);
		n_out += is_whole && (float)code[i] != vec[i];
	}
	return n_out == 0;
}

/* Elements of a row of halves that are made floats at once. */
#define PIECE 256u

/* Up to PIECE elements of a row from `from` on, as floats; into buf if they
 * are not. */
static const float *get_piece(enum vg_dtype dtype, const void *row,
	uint32_t from, uint32_t n, float *buf)
{
	const uint16_t *half = row;

	assert(dtype == VG_F32 || dtype == VG_F16);
	if (dtype == VG_F32)
		return (const float *)row + from;
	for (uint32_t i = 0; i < n; i++)
		buf[i] = dist_half_decode(half[from + i]);
	return buf;
}

bool quant_code_row(const struct quant *q, enum vg_dtype dtype,
	const void *row, float scale, uint32_t dim, uint8_t *code)
{
	float buf[PIECE];
	bool is_coded = true;

	if (dtype == VG_F32)
		return quant_code(q, row, scale, dim, code);
	for (uint32_t i = 0; i < dim; i += PIECE) {
		uint32_t n = VG_MIN(PIECE, dim - i);

		is_coded &= quant_code(q, get_piece(dtype, row, i, n, buf),
			scale, n, code + i);
	}
	return is_coded;
}

static bool is_byte(float x)
{
	return x >= 0 && x <= CODE_MAX && x == floorf(x);
}

/* The least and the greatest element; whether all are whole numbers. */
static bool find_range(const struct quant_sample *s, float *min, float *max)
{
	bool is_whole = true;
	float buf[PIECE];

	*min = FLT_MAX;
	*max = -FLT_MAX;
	for (uint32_t i = 0; i < s->n; i++)
		for (uint32_t at = 0; at < s->dim; at += PIECE) {
			uint32_t n = VG_MIN(PIECE, s->dim - at);
			const float *piece = get_piece(
				s->dtype, s->rows[i], at, n, buf);

			for (uint32_t j = 0; j < n; j++) {
				float x = piece[j] * s->scale[i];

				is_whole = is_whole && s->scale[i] == 1 &&
					   is_byte(x);
				*min = VG_MIN(*min, x);
				*max = VG_MAX(*max, x);
			}
		}
	return is_whole;
}

/* The squared way from row i to its nearest other than equal ones; 0: all are
 * equal to it. */
static double find_nearest(const struct quant_sample *s, uint32_t i)
{
	struct dist_query l2, dot;
	double best = INFINITY;

	assert(i < s->n);
	dist_query_init_form(&l2, (enum dist_form)s->dtype, VG_L2, s->dim,
		s->rows[i]);
	dist_query_init_form(&dot, (enum dist_form)s->dtype, VG_IP, s->dim,
		s->rows[i]);
	for (uint32_t j = 0; j < s->n; j++) {
		float a = s->scale[i], b = s->scale[j];
		double d, least = 0;

		if (a == 1 && b == 1) {
			d = dist_query_fast_pair(&l2, s->rows[i], s->rows[j],
				(float)VG_MIN(best, (double)FLT_MAX));
		} else { /* of two that have length 1 then */
			d = 2 - 2 * (double)a * (double)b *
					(double)dist_query_fast_pair(&dot,
						s->rows[i], s->rows[j], 0);
			least = 4 * dist_fast_error(s->dim);
		}
		if (d > least && d < best)
			best = d;
	}
	return isinf(best) ? 0 : best;
}

/*
 * Rounding moves each element of a difference by e, of variance 1/6. So a sum D
 * of codes is off by dim/6, which is the same for all, and by 2 sqrt(D/6): a
 * tenth of it at D = 64, and less beyond.
 */
double quant_noise(uint32_t dim)
{
	return VG_MAX((double)dim / 3, 64.);
}

static bool is_fine(const struct quant_sample *s, const struct quant *q)
{
	double least = quant_noise(s->dim) * (double)q->step * (double)q->step;
	uint32_t n = 0, n_close = 0;

	for (uint32_t i = 0; i < JUDGED; i++) {
		double d = find_nearest(
			s, (uint32_t)((uint64_t)i * s->n / JUDGED));

		n += d > 0;
		n_close += d > 0 && d < least;
	}
	return n > 0 && n_close <= n / 4;
}

bool quant_choose(const struct quant_sample *s, struct quant *out)
{
	struct quant q = {0, 1, true};
	float min, max;

	assert(s->n > 0 && s->dim > 0);
	q.is_whole = find_range(s, &min, &max);
	if (!q.is_whole) {
		float margin = (max - min) / MARGIN;

		q.lo = min - margin;
		q.step = (max - min + 2 * margin) / CODE_MAX;
		if (!quant_is_valid(&q) || (!s->is_asked && !is_fine(s, &q)))
			return false;
	}
	assert(min <= max);
	*out = q;
	return true;
}
