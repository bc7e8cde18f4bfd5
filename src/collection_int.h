/* SPDX-License-Identifier: Apache-2.0 */
/* collection_int.h: what collection.c and collection_apply.c share. */
#ifndef VG_COLLECTION_INT_H
#define VG_COLLECTION_INT_H

#include "index/hnsw.h"
#include "src/collection.h"

/* The head of id in table, or the free place where it would stand. Any
 * thread; the committer stores to it. */
_Atomic uint32_t *generation_head(
	const struct generation *g, struct id_table *table, struct vg_id id);

/* Gives the id table room for n ids at three quarters full. -ENOMEM. The
 * committer. */
int generation_grow_ids(struct generation *g, uint32_t n);

/* The settings of a cell's graph. */
struct hnsw_config cell_graph_config(const struct cell *cell);

/* A cell without rows for vectors of dim, set up as the collection is; nobody
 * knows it yet. -ENOMEM, -EINVAL. The committer. */
int cell_new(struct generation *g, uint32_t dim, struct cell **out);

/* Frees a cell that no reader can reach; NULL is allowed. */
void cell_free(struct cell *cell);

#endif
