/* SPDX-License-Identifier: Apache-2.0 */
/* graphkit.h: what tests of saved graphs share. */
#ifndef TESTS_GRAPHKIT_H
#define TESTS_GRAPHKIT_H

#include "index/hnsw_int.h"
#include "tests/recall/data.h"
#include "tests/streamkit.h"

/* For the call they stand in: a stream as a graph takes it. */
#define gk_sink(s) (&(struct hnsw_sink){stream_write, (s)})
#define gk_source(s) (&(struct hnsw_source){stream_read, (s)})

/* A graph over random rows. */
struct gk_ground {
	struct data data;
	struct hnsw_config config;
	struct hnsw *h;
	struct hnsw_scratch *scratch;
	struct stream base;
	const char *why; /* of the last load */
};

/* 6 dimensions, l2, m 8. */
extern const struct hnsw_config gk_plain;

/* n random rows, and a graph over them without nodes. */
void gk_ground_init(struct gk_ground *g, const struct hnsw_config *config,
	uint32_t n);
void gk_ground_fini(struct gk_ground *g);

/* Puts slots from..to - 1 of g's rows into h. */
void gk_put_range(struct gk_ground *g, struct hnsw *h, uint32_t from,
	uint32_t to);

/* A base, at once. */
void gk_save(struct hnsw *h, struct stream *s);

/* The graph of a base's stream, NULL if it is refused: g->why. Owned. */
struct hnsw *gk_load(struct gk_ground *g, struct stream *s);
bool gk_load_delta(struct gk_ground *g, struct hnsw *h, struct stream *s);

/* hnsw_check, with a diagnostic; NULL is not valid. */
bool gk_is_valid(const struct hnsw *h);

/* Whether two graphs over n rows have the same nodes, links and measures. */
bool gk_is_same(const struct hnsw *a, const struct hnsw *b, uint32_t n);

/* Whether g's graph and another answer alike. */
bool gk_is_alike(struct gk_ground *g, const struct hnsw *other);

#endif
