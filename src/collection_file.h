/* SPDX-License-Identifier: Apache-2.0 */
/* collection_file.h: a collection on disk: what a checkpoint writes, an open reads. */
#ifndef VG_COLLECTION_FILE_H
#define VG_COLLECTION_FILE_H

#include "src/collection.h"
#include "src/manifest.h"

/*
 * The files of a collection are in c/<uuid>/:
 *
 *   vec      its vectors, a row for each slot
 *   meta     ids and metadata: the blob's units
 *   version  a row for each version (collection_file.c has its bytes)
 *   end      a row for each version that ended, in that order
 *   graph    the graph, derived from the others: a base and what was added
 *   fields   indexes of metadata's fields, derived from the others (fields.h)
 *
 * A checkpoint takes a cut: how far each column goes at one moment. What is
 * below a cut never changes, so it is written while changes go on. The end
 * mark of a version is no part of its row: it stands in memory, in the log and
 * in `end`.
 */
struct collection_files {
	struct io *io;	   /* borrowed; serves several threads */
	int dirfd;	   /* borrowed: DATADIR/c; for as long as one of the
			      collections lives */
	_Atomic int *fds; /* borrowed so, too: descriptors that all their columns
			     may keep open between reads; NULL: as many as
			     struct colfile_config says */
	uint8_t store[16]; /* uuid */
	uint64_t part_bytes; /* a part is about as large; 0: 256 MiB */
	bool beside; /* a thread of its own loads a graph, beside the rest: not
			on a disk whose calls are counted */
	bool takes_damaged; /* vectors that cannot be read are left out, as if
			       they had been found when they are touched */
};

struct collection_cut {
	struct op_config config;
	struct op_attr attr;
	int64_t mtime_ns, commit_ns;
	struct generation *gen; /* referenced */
	struct cell *cell; /* borrowed from it; NULL: none */
	uint32_t n_versions, n_slots, n_units, n_ended;
	struct collection **snap; /* owned: gen's snapshots, referenced */
	uint32_t n_snaps;
};

/* What the collection is at this moment, of gen, one of its generations. -ENOMEM.
 * The leader, between two groups. */
int collection_cut(struct generation *gen, struct collection_cut *cut);
void collection_cut_fini(struct collection_cut *cut); /* of zeros: nothing */

/*
 * Writes what the cut has and the files have not, without a sync, and puts
 * the result into *out but for what the catalogue knows (name, cursor); parts
 * are copied. One thread at a time. cut->gen is referenced. -ENOSPC and
 * others: the files are as they were for the next call. -ENOMEM.
 */
int collection_save(const struct collection_files *files,
	const struct collection_cut *cut, struct manifest_collection *out);

/*
 * Writes what g has and its files have not, durably, and gives the memory of its
 * vectors back: a generation that is being made, which nobody else changes and
 * no manifest names yet. With nothing else writing files. Errors as
 * collection_save and collection_sync; *is_synced (written always): whether it
 * came to the sync. What no manifest names by the time that g goes is removed
 * with it.
 */
int collection_spill(const struct collection_files *files,
	struct generation *g, bool *is_synced);

/* Rows of its vectors that collection_spill wrote. Who calls it. */
uint32_t collection_spilled(const struct generation *g);

/* Makes durable what collection_save wrote. An error is for good. */
int collection_sync(const struct collection_files *files, struct generation *g);

/*
 * Gives back the memory of vectors that are durable in their file, whole
 * chunks of them: from then on their bytes are the page cache's. Who reads
 * meanwhile sees the same bytes. The thread that saves.
 */
void collection_remap(struct generation *g);

/*
 * Saves the graph, durably: as what was added to the last one if that is
 * cheaper, and if `pause` gives the moments in which no row is linked. Before
 * the cut whose manifest names it, so that it has no row that the cut has not.
 * An error leaves the last one in place.
 */
struct collection_pause {
	void (*stop)(void *ctx); /* returns when no row is being linked */
	void (*go)(void *ctx);
	void *ctx;
};
int collection_save_graph(const struct collection_files *files,
	struct generation *g, const struct collection_pause *pause);

/* Rows that the graph has and its file has not: what a restart would link
 * again. Any thread. */
uint32_t collection_unsaved(const struct generation *g);

/*
 * The indexes of g's fields: as a checkpoint saved them, if the open found
 * some, else none yet. Who asks first loads them; others wait for him, since
 * they would make what he gets sooner. What cannot be loaded is left aside,
 * with a warning. -ENOMEM. Any thread.
 */
int collection_fields(struct generation *g, struct fields **out);

/* Whether they could not be loaded. Any thread. */
bool collection_fields_lost(const struct generation *g);

/*
 * Saves them, durably, if indexing again what the last file lacks would take
 * long; at the end of a life (`all`) less of it is enough. Before the cut whose
 * manifest names the file, so that it has no version that the cut has not. An
 * error leaves the last one in place. Due: whether there is something to do, any
 * thread.
 */
bool collection_fields_due(const struct generation *g, bool all);
int collection_save_fields(const struct collection_files *files,
	struct generation *g, bool all);

/*
 * The collection that m describes, its newest generation; its snapshots and
 * others come with generation_load. Rows are read, or mapped where a whole
 * chunk lies in one file. Damage in what everything hangs on (versions, ids,
 * metadata, ends) is -VG_ECORRUPT with a sentence in why; a vector's is found
 * when it is touched; a graph that is missing or damaged is left out, with a
 * warning, and its rows are linked again. -ENOENT: a file is missing, why names
 * it. -VG_EFORMAT, -ENOMEM, errno of the disk.
 */
int collection_load(const struct collection_files *files,
	const struct manifest_collection *m, char why[256],
	struct collection **out);

/* The same of an older generation of c, which does not know it yet; owned by
 * who called. */
int generation_load(const struct collection_files *files,
	const struct manifest_collection *m, struct collection *c,
	char why[256], struct generation **out);

/* So many rows have left the graph of g, which its files still have. While no
 * graph is saved. */
void collection_note_purged(const struct generation *g, uint32_t n);

/* Frees what g->file has; NULL is allowed. */
void collection_file_free(struct collection_file *f);

/* Removes the files that `old` names and `next` does not, and the directory
 * if next names none in it. Files that are not there are no error. */
int collection_files_drop(const struct collection_files *files,
	const struct manifest_collection *old, const struct manifest *next);

#endif
