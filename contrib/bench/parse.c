/* SPDX-License-Identifier: Apache-2.0 */
/* parse.c: how fast bodies and imports are read, and numbers written. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/bench/rig.h"
#include "src/number.h"
#include "src/record.h"
#include "src/rowstream.h"

/*
 * One thread, data in memory, the best of several rounds. Rows are 768 normal
 * random numbers of an embedding's size; "long" ndjson spells them with 17
 * digits, as json.dumps of float64 does.
 */
#define DIM 768
#define ROWS 4000
#define PIECE (128u << 10) /* a write of cp */
#define ROUNDS 5

static float rows[ROWS * DIM];
static char text[(size_t)ROWS * DIM * 24];

static double now_s(void)
{
	return rig_now_us() * 1e-6;
}

static int take_row(void *ctx, const struct record *r, uint64_t number)
{
	double *sum = ctx;

	*sum += (double)((const float *)r->vec)[number % r->dim];
	return 0;
}

static void bad_row(void *ctx, uint64_t place, const char *why)
{
	(void)ctx;
	fprintf(stderr, "row %llu: %s\n", (unsigned long long)place, why);
	exit(1);
}

static double stream_once(enum rowstream_kind kind, size_t len)
{
	double sum = 0, begin = now_s();
	struct rowstream_calls calls = {take_row, bad_row, &sum};
	struct rowstream s;

	rowstream_init(&s, kind, VG_F32, 0, &calls);
	for (size_t at = 0; at < len; at += PIECE)
		rowstream_feed(&s, text + at, VG_MIN(len - at, (size_t)PIECE));
	if (rowstream_end(&s) < 0 || s.number != ROWS)
		exit(1);
	rowstream_fini(&s);
	return now_s() - begin;
}

static void stream(const char *name, enum rowstream_kind kind, size_t len)
{
	double best = INFINITY;

	for (int i = 0; i < ROUNDS; i++)
		best = fmin(best, stream_once(kind, len));
	printf("%-24s %8.0f MB/s %8.2f M numbers/s\n", name,
		(double)len / best / 1e6, ROWS * DIM / best / 1e6);
}

static size_t spell(bool is_long)
{
	char *at = text;

	for (size_t i = 0; i < ROWS; i++) {
		at += sprintf(at, "{\"id\":\"%zu\",\"vector\":", i);
		for (size_t k = 0; k < DIM; k++) {
			*at++ = k ? ',' : '[';
			if (is_long)
				at += sprintf(at, "%.17g",
					(double)rows[i * DIM + k] * 1.0000001);
			else
				at += number_format(rows[i * DIM + k], at);
		}
		at += sprintf(at, "]}\n");
	}
	return (size_t)(at - text);
}

static void streams(void)
{
	size_t len = record_npy_header(text, VG_F32, ROWS, DIM);

	memcpy(text + len, rows, sizeof(rows));
	stream("npy <f4", ROWSTREAM_NPY, len + sizeof(rows));
	len = 0;
	for (size_t i = 0; i < ROWS; i++) {
		uint32_t dim = DIM;
		memcpy(text + len, &dim, 4);
		memcpy(text + len + 4, rows + i * DIM, DIM * 4);
		len += 4 + DIM * 4;
	}
	stream("fvecs", ROWSTREAM_FVECS, len);
	stream("ndjson", ROWSTREAM_NDJSON, spell(false));
	stream("ndjson, long", ROWSTREAM_NDJSON, spell(true));
}

static void bodies(void)
{
	static const struct {
		const char *name;
		enum record_form form;
	} forms[] = {{"body raw", RECORD_RAW}, {"body npy", RECORD_NPY},
		{"body json", RECORD_JSON}, {"body text", RECORD_TEXT}};
	struct record_parser p;
	struct record r;

	record_parser_init(&p);
	for (size_t i = 0; i < VG_ARRAY_LEN(forms); i++) {
		size_t len = record_format(forms[i].form,
			&(struct record_row){rows, DIM, VG_F32}, NULL,
			text, sizeof(text));
		double best = INFINITY;
		for (int k = 0; k < ROUNDS * 200; k++) {
			double begin = now_s();
			if (record_parse(&p, RECORD_ANY, text, len, DIM, &r) < 0)
				exit(1);
			best = fmin(best, now_s() - begin);
		}
		printf("%-24s %8.0f MB/s %8.2f us each\n", forms[i].name,
			(double)len / best / 1e6, best * 1e6);
	}
	record_parser_fini(&p);
}

static void numbers(void)
{
	double best = INFINITY;
	char number[NUMBER_LEN];
	size_t sum = 0;

	for (int k = 0; k < ROUNDS; k++) {
		double begin = now_s();
		for (size_t i = 0; i < ROWS * DIM; i++)
			sum += number_format(rows[i], number);
		best = fmin(best, now_s() - begin);
	}
	printf("%-24s %8.1f ns each, %.1f bytes\n", "number_format",
		best / (ROWS * DIM) * 1e9,
		(double)sum / ROUNDS / (ROWS * DIM));
}

int main(void)
{
	uint64_t rng = 1;

	for (size_t i = 0; i < VG_ARRAY_LEN(rows); i++) {
		double sum = 0; /* of twelve evens: nearly normal */
		for (int k = 0; k < 12; k++) {
			rng = rng * 6364136223846793005u + 1442695040888963407u;
			sum += (double)(rng >> 40) / (1 << 24);
		}
		rows[i] = (float)((sum - 6) * 0.036);
	}
	streams();
	bodies();
	numbers();
	return 0;
}
