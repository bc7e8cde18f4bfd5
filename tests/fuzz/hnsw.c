/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw.c: fuzz target: any bytes are no graph, or one that no walk leaves. */
#include "index/hnsw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The first byte chooses the settings: bits 0 and 1 the metric, bit 2 whether
 * m is 2 or 4, bit 3 whether the rows are beyond a float's range, bit 5 whether
 * nodes have codes of neighbours. Without bit 4
 * the rest is a base and deltas as they are. With it they are made here, from
 * a graph of 4 n nodes and a delta of n more (n: the second byte % 32), and the
 * rest is a script of 7 bytes a step: where (u16), what (u32), and how: bit 0
 * one byte or four, bit 1 from the end of the stream or its beginning, bit 2
 * in place of what is there or added to it. Then all of it is loaded.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS 200u
#define DIM 3u

#define check(holds)                                                           \
	do {                                                                   \
		if (!(holds))                                                  \
			abort();                                               \
	} while (0)

static float vecs[2][ROWS][DIM];
static _Atomic(char *) chunk[2];
static const struct rows rows[2] = {
	{.chunk = &chunk[0], .shift = 31, .stride = DIM * sizeof(float)},
	{.chunk = &chunk[1], .shift = 31, .stride = DIM * sizeof(float)},
};

static void make_rows(void)
{
	uint64_t x = 1;

	for (uint32_t i = 0; i < ROWS; i++)
		for (uint32_t j = 0; j < DIM; j++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			vecs[0][i][j] = (float)(x >> 40) * 0x1p-23f - 1;
			vecs[1][i][j] = vecs[0][i][j] *
					(i % 3 == 0 ? 0x1p126f : 0x1p-70f);
		}
	atomic_init(&chunk[0], (char *)vecs[0]);
	atomic_init(&chunk[1], (char *)vecs[1]);
}

/* Bytes in memory; as a sink it only grows. */
struct bytes {
	uint8_t *at;
	size_t len, cap;
};

static int get(void *ctx, void *buf, size_t len)
{
	struct bytes *b = ctx;

	if (len > b->len)
		return -ENODATA;
	memcpy(buf, b->at, len);
	b->at += len;
	b->len -= len;
	return 0;
}

static int add(void *ctx, const void *bytes, size_t len)
{
	struct bytes *b = ctx;

	if (b->len + len > b->cap) {
		b->cap = 2 * (b->len + len);
		b->at = realloc(b->at, b->cap);
		check(b->at);
	}
	memcpy(b->at + b->len, bytes, len);
	b->len += len;
	return 0;
}

static struct hnsw_config config_of(uint8_t byte)
{
	return (struct hnsw_config){.dim = DIM,
		.metric = (enum vg_metric)(VG_L2 + byte % 4 % 3),
		.m = byte & 4 ? 4 : 2,
		.ef_construction = 8,
		.codes = byte & 32 ? HNSW_CODES_NEAR : HNSW_CODES_AUTO,
		.seed = 5};
}

/* Searches, puts what is not there, and searches again. */
static void use(struct hnsw *h, struct hnsw_scratch *s, bool is_wild)
{
	struct hit hits[ROWS];
	const char *why;
	uint32_t n;
	int rc;

	for (uint32_t i = 0; i < ROWS; i++) {
		struct hnsw_query q = {.vec = vecs[is_wild][i],
			.k = 1 + i % 5,
			.ef = 10};

		check(hnsw_search(h, &q, s, hits, &n) == 0 && n <= 10);
		for (uint32_t j = 0; j < n; j++)
			check(hnsw_is_linked(h, hits[j].slot));
		if (i % 3 != 0)
			continue;
		rc = hnsw_put(h, i, s);
		check(rc == 0 || rc == -EEXIST);
	}
	rc = hnsw_check(h, &why);
	check(rc == 0 || rc == -VG_ECORRUPT);
}

/* What a load has taken, it takes again. */
static void save_and_load(struct hnsw *h, const struct hnsw_config *config)
{
	struct bytes all = {NULL, 0, 0}, left;
	struct hnsw_sink sink = {add, &all};
	struct hnsw_source source = {get, &left};
	struct hnsw *again;
	const char *why;

	check(hnsw_save_base(h, &sink) == 0);
	check(hnsw_save_rest(h, &sink) == 0);
	left = all;
	check(hnsw_load_base(config, &rows[0], ROWS, &source, &why, &again) ==
		0);
	check(left.len == 0 && hnsw_count(again) == hnsw_count(h));
	hnsw_free(again);
	free(all.at);
}

/* A base and a delta of a graph made here. */
static void make(const struct hnsw_config *config, const struct rows *r,
	uint32_t n, struct bytes *out)
{
	struct hnsw_sink sink = {add, out};
	struct hnsw_scratch *s;
	struct hnsw *h;

	check(hnsw_new(config, r, &h) == 0);
	check(hnsw_scratch_new(&s) == 0);
	for (uint32_t i = 0; i < 4 * n; i++)
		check(hnsw_put(h, i, s) == 0);
	check(hnsw_save_base(h, &sink) == 0);
	check(hnsw_save_rest(h, &sink) == 0);
	for (uint32_t i = 5 * n; i < 6 * n; i++)
		check(hnsw_put(h, i, s) == 0);
	check(hnsw_save_delta(h, &sink) == 0);
	hnsw_scratch_free(s);
	hnsw_free(h);
}

static void change(struct bytes *b, const uint8_t step[7])
{
	size_t at = step[0] | (size_t)step[1] << 8;
	size_t len = step[6] & 1 ? 1 : 4;
	uint32_t value, was = 0;

	memcpy(&value, step + 2, 4);
	if (at + len > b->len)
		return;
	if (step[6] & 2)
		at = b->len - len - at;
	memcpy(&was, b->at + at, len);
	value = step[6] & 4 ? value : was + value;
	memcpy(b->at + at, &value, len);
}

static void load(const struct hnsw_config *config, bool is_wild,
	struct bytes *left)
{
	struct hnsw_source source = {get, left};
	struct hnsw_scratch *s;
	struct hnsw *h;
	const char *why = NULL;
	int rc =
		hnsw_load_base(config, &rows[is_wild], ROWS, &source, &why, &h);

	check(rc == 0 || rc == -ENODATA || (rc == -VG_ECORRUPT && why));
	if (rc < 0)
		return;
	check(hnsw_scratch_new(&s) == 0);
	while (rc == 0 && left->len > 0) {
		save_and_load(h, config);
		why = NULL;
		rc = hnsw_load_delta(h, ROWS, &source, &why);
		check(rc == 0 || rc == -ENODATA || (rc == -VG_ECORRUPT && why));
	}
	if (rc == 0) {
		save_and_load(h, config);
		use(h, s, is_wild);
		save_and_load(h, config);
	}
	hnsw_scratch_free(s);
	hnsw_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hnsw_config config;
	struct bytes all = {NULL, 0, 0}, left;
	bool is_wild;

	if (size < 2)
		return 0;
	if (!atomic_load(&chunk[0]))
		make_rows();
	config = config_of(data[0]);
	is_wild = (data[0] & 8) != 0;
	if (data[0] & 16) {
		make(&config, &rows[is_wild], data[1] % 32, &all);
		for (size_t i = 2; i + 7 <= size; i += 7)
			change(&all, data + i);
	} else {
		add(&all, data + 1, size - 1);
	}
	left = all;
	load(&config, is_wild, &left);
	free(all.at);
	return 0;
}
