/* SPDX-License-Identifier: Apache-2.0 */
/* collection_int.h: what the files of collection.h share. */
#ifndef VG_COLLECTION_INT_H
#define VG_COLLECTION_INT_H

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/collection.h"

/* The head of id in table, or the free place where it would stand. Any
 * thread; the committer stores to it. */
_Atomic uint32_t *generation_head(
	const struct generation *g, struct id_table *table, struct vg_id id);

/* Gives the id table room for n ids at three quarters full. -ENOMEM. The
 * committer. */
int generation_grow_ids(struct generation *g, uint32_t n);

/* The settings of a cell's graph, and of its inverted file. */
struct hnsw_config cell_graph_config(const struct cell *cell);
struct ivf_config cell_ivf_config(const struct cell *cell);

/* A cell without rows; nobody knows it yet. -ENOMEM, -EINVAL. The committer,
 * or who makes g. */
int cell_new(struct generation *g, const struct cell_shape *shape,
	struct cell **out);

/*
 * For who makes a generation out of another: a version like v, which is
 * another's, behind those that there are, open. *slot is the one that its
 * vector has here already, or VG_SLOT_NONE: then it gets one. -ENOMEM. Counts
 * of the collection stay.
 */
int generation_carry(
	struct generation *g, const struct version *v, uint32_t *slot);

/* Writes version r->version like `made` and makes it reachable from its id and
 * slot. Counts of the collection stay. */
void generation_begin(struct generation *g, const struct version *made,
	const struct reservation *r);

/* Puts the end mark on an open version of it; the place for it was reserved. */
void generation_end(struct generation *g, uint32_t no, uint64_t seq);

/* Frees a cell that no reader can reach; NULL is allowed. */
void cell_free(struct cell *cell);

#endif
