/* SPDX-License-Identifier: Apache-2.0 */
/* graph_file.h: an index from its files. */
#ifndef VG_GRAPH_FILE_H
#define VG_GRAPH_FILE_H

#include "index/hnsw.h"
#include "index/ivf.h"
#include "src/derived.h"

/* A graph, or an inverted file: one of them, the other is NULL. */
struct graph_loaded {
	struct hnsw *hnsw;
	struct ivf *ivf;
};
void graph_loaded_free(struct graph_loaded *g); /* of NULLs: nothing */

/*
 * Loads a base and its deltas into *out, owned. -VG_ECORRUPT, -ENOENT and
 * others: *out is not written, and why says what is wrong with which file.
 */
struct graph_files {
	struct io *io;
	int dirfd;
	const struct manifest_file *base;
	const struct manifest_file *delta; /* n_deltas of them */
	uint32_t n_deltas;
	bool is_ivf;
	struct hnsw_config config; /* of the one... */
	struct ivf_config lists;   /* ...and of the other */
	const struct rows *rows; /* borrowed by the graph */
	uint32_t n_rows;
};
int graph_load(const struct graph_files *files, char why[256],
	struct graph_loaded *out);

#endif
