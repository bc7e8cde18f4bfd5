/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_race_peer.h: hnswlib (C++), as the C of hnsw_race.c calls it. */
#ifndef CONTRIB_BENCH_HNSW_RACE_PEER_H
#define CONTRIB_BENCH_HNSW_RACE_PEER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct peer;

/* An empty graph for at most n vectors under l2. Owned. */
struct peer *peer_new(uint32_t dim, uint32_t n, uint32_t m,
	uint32_t ef_construction);
void peer_free(struct peer *p);

/* Adds a vector; any number of threads once the first is in. */
void peer_put(struct peer *p, const float *vec, uint32_t slot);

/* The k nearest, slots worst first; returns how many. One thread. */
uint32_t peer_search(struct peer *p, const float *vec, uint32_t k, uint32_t ef,
	uint32_t *slots);

#ifdef __cplusplus
}
#endif

#endif
