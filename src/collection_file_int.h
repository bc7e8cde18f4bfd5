/* SPDX-License-Identifier: Apache-2.0 */
/* collection_file_int.h: what collection_file.c and collection_load.c share. */
#ifndef VG_COLLECTION_FILE_INT_H
#define VG_COLLECTION_FILE_INT_H

#include "src/collection_file.h"

#define VERSION_ROW 48u /* bytes of a row of `version`... */
#define END_ROW 16u	/* ...and of `end` */

enum column_kind {
	COLUMN_VEC,
	COLUMN_META,
	COLUMN_VERSION,
	COLUMN_END,
	COLUMNS,
};

/* The checkpointer's, but for what says otherwise. */
struct collection_file {
	struct io *io;
	int dirfd;	/* borrowed: c/... */
	char dir[33];	/* ...and the name there of its directory */
	_Atomic int *fds; /* borrowed, as its columns do */
	uint64_t part_bytes;
	uint8_t store[16], uuid[16];
	struct colfile *column[COLUMNS]; /* NULL: no rows yet */
	struct colfile *loaded; /* column[COLUMN_VEC] as it was opened: cells
				   check their rows by it; or NULL */
	bool is_spill; /* collection_spill wrote it, no manifest names it */
	bool is_new;	/* its directory's name is not durable yet */
	uint32_t cell;	/* number of the cell that vec and graph are of */
	uint32_t mapped; /* rows in front that were mapped, or cannot be */
	struct manifest_file graph; /* number 0: none */
	struct manifest_file delta[MANIFEST_DELTAS_MAX];
	uint32_t n_deltas;
	bool graph_failed; /* what was saved last did not get there */
	_Atomic uint32_t n_graph; /* rows in them; relaxed, a figure */

	/* Of indexes; number 0: none. Until the generation has its `fields`
	 * nobody writes it. */
	struct manifest_file fields;
	pthread_mutex_t loading; /* held to read it, so that it is read once */
	_Atomic bool fields_lost; /* release by who could not read it, and does
				     not look at it again */
};

/* A descriptor of its directory, to be closed soon. -ENOENT and others. */
int collection_dir_open(const struct collection_file *f);

/* Finds c/<uuid>, which is there. Owned: collection_file_free. */
int collection_file_open(const struct collection_files *files,
	const uint8_t uuid[16], struct collection_file **out);

/* g->file, made where there is none. errno. The checkpointer. */
int collection_file_need(
	const struct collection_files *files, struct generation *g);

/* How a column of f lies on the disk. */
struct colfile_config collection_column(const struct collection_file *f,
	enum column_kind kind, uint32_t stride);

#endif
