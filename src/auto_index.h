/* SPDX-License-Identifier: Apache-2.0 */
/* auto_index.h: which index `auto` is, by the memory that there is. */
#ifndef VG_AUTO_INDEX_H
#define VG_AUTO_INDEX_H

#include "src/collection.h"

/*
 * A graph is some five times as fast as lists of short codes (index/ivf.h), and
 * takes some five times their memory. So auto is a graph as long as it fits:
 * with what going over to lists takes, which is done beside it, in three
 * fourths of the memory (memory_limit). Beyond that the rows are linked anew
 * with lists; and with a graph again when that would take three eighths, so
 * that a collection about as large as the memory is not made anew each time
 * that some rows come or go. Where rows are linked anew for another reason, the
 * old graph and the new one have to fit into seven eighths, else it is lists.
 *
 * Rows themselves are in files and do not count. Only dtypes and metrics that
 * lists are for (vg_has_lists) go over.
 */
struct auto_sizes {
	bool has_lists;	      /* what there is; else a graph */
	uint64_t index_bytes; /* of it */
	uint32_t dim;
	uint32_t n_slots, n_live;
	uint64_t limit; /* of the memory */
};

/* Whether it is to be the other one. */
bool auto_is_outgrown(const struct auto_sizes *sizes);

/* What a new one for the living is to be: VG_HNSW or VG_IVF_PQ. */
enum vg_index auto_choose(const struct auto_sizes *sizes);

/* The same of a cell under config: false, if config says which index it is, and
 * that; for what it has now. Any thread. */
bool cell_is_outgrown(const struct cell *cell, const struct op_config *config);
enum vg_index cell_index_anew(
	const struct cell *cell, const struct op_config *config);

#endif
