/* SPDX-License-Identifier: Apache-2.0 */
/* graph_file.h: a graph's stream in a file, written once and hashed. */
#ifndef VG_GRAPH_FILE_H
#define VG_GRAPH_FILE_H

#include <xxhash.h>

#include "index/hnsw.h"
#include "src/manifest.h"

/* A file graph.NNNN that is being written. */
struct graph_out {
	struct hnsw_sink sink; /* hand it to hnsw_save_* */
	struct io *io;
	int dirfd, fd;
	struct manifest_file file; /* number is the caller's; len so far */
	XXH3_state_t *hash;
	uint8_t *buf;
	size_t len; /* of buf */
};

/* Makes the file, which must not be there (-EEXIST). -ENOMEM; errno. */
int graph_out_open(struct graph_out *out, struct io *io, int dirfd,
	uint32_t number);

/* Writes the rest and makes file and name durable; *file describes it. rc < 0
 * (what saving returned), or an error here: the file is removed. Returns the
 * error. */
int graph_out_close(struct graph_out *out, int rc, struct manifest_file *file);

/*
 * Loads a base and its deltas into *h. -VG_ECORRUPT, -ENOENT and others: *h is
 * not written, and why says what is wrong with which file.
 */
struct graph_files {
	struct io *io;
	int dirfd;
	const struct manifest_file *base;
	const struct manifest_file *delta; /* n_deltas of them */
	uint32_t n_deltas;
	struct hnsw_config config;
	const struct rows *rows; /* borrowed by the graph */
	uint32_t n_rows;
};
int graph_load(const struct graph_files *files, char why[256], struct hnsw **h);

/* graph.NNNN, at least four digits. */
#define GRAPH_NAME_MAX 24
void graph_name_format(uint32_t number, char out[GRAPH_NAME_MAX]);

#endif
