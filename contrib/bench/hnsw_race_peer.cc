/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_race_peer.cc: see hnsw_race_peer.h. */
#include "contrib/bench/hnsw_race_peer.h"

#include <hnswlib/hnswlib.h>

struct peer {
	hnswlib::L2Space space;
	hnswlib::HierarchicalNSW<float> graph;

	peer(uint32_t dim, uint32_t n, uint32_t m, uint32_t ef_construction)
	    : space(dim), graph(&space, n, m, ef_construction)
	{
	}
};

struct peer *peer_new(uint32_t dim, uint32_t n, uint32_t m,
	uint32_t ef_construction)
{
	return new peer(dim, n, m, ef_construction);
}

void peer_free(struct peer *p)
{
	delete p;
}

void peer_put(struct peer *p, const float *vec, uint32_t slot)
{
	p->graph.addPoint(vec, slot);
}

uint32_t peer_search(struct peer *p, const float *vec, uint32_t k, uint32_t ef,
	uint32_t *slots)
{
	uint32_t n = 0;

	p->graph.setEf(ef);
	auto found = p->graph.searchKnn(vec, k);
	for (; !found.empty(); found.pop())
		slots[n++] = (uint32_t)found.top().second;
	return n;
}
