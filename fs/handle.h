/* SPDX-License-Identifier: Apache-2.0 */
/* handle.h: what an open file or directory holds on to. */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

#include "fs/fs.h"
#include "fs/view.h"

struct import;

enum handle_kind {
	HANDLE_BYTES,  /* an answer, a rendered text, an export */
	HANDLE_STAGE,  /* bytes that become a record */
	HANDLE_VALUE,  /* a setting or .delete-where: each write is a change */
	HANDLE_VERSION, /* a committed record, read as raw bytes */
	HANDLE_RUN,    /* query/.run: requests in, answers out */
	HANDLE_IMPORT, /* a stream of rows */
	HANDLE_DIR,
};

/*
 * A handle's own state of `.run`. Bytes written since the last read are the
 * request; the first read behind it asks. The answer reads from offset 0 or
 * from the end of what was written on, whichever the first read chose.
 */
struct run_state {
	char *request; /* owned */
	size_t len, cap;
	uint64_t end;  /* the file offset behind the last write */
	uint64_t base; /* the offset that the answer's byte 0 has */
	bool is_asked; /* the request was answered; a write begins a new one */
	struct answer_bytes *answer; /* referenced */
};

/*
 * fi->fh points to one. What is fixed is set at open; the rest is guarded by
 * lock, or used by one request at a time because the kernel orders them.
 */
struct handle {
	struct handle *next, **link; /* fs->handles_lock: all that are open */
	enum handle_kind kind;
	pthread_mutex_t lock; /* RUN, IMPORT; taken before any other lock */
	struct collection *coll; /* referenced, or NULL */
	struct answer_bytes *answer; /* BYTES, VALUE: referenced */
	struct query_open *opened;   /* BYTES of a leaf: its place there */
	struct qnode *node;	     /* BYTES of a leaf, RUN: referenced */
	struct stage *stage;	     /* STAGE: referenced */
	struct generation *gen; /* fs->handles_lock: VERSION: referenced */
	const struct version *version; /* VERSION: borrowed of gen */
	bool is_sync;		     /* STAGE: opened with O_SYNC */
	bool is_writer;		     /* STAGE: opened for writing */
	enum view view; /* VALUE; DIR: which directory; BYTES of an export */
	int pid;	/* of who opened it: BYTES of an export */
	struct look look;	     /* DIR: of a collection's */
	struct run_state run;
	struct import *import;	     /* owned */
	uint64_t import_end;	     /* offset behind what was fed */
};

/* -ENOMEM: NULL. coll is referenced. */
struct handle *handle_new(
	struct fs *fs, enum handle_kind kind, struct collection *coll);

/* Gives back what the handle holds, but for a stage's last bytes. */
void handle_free(struct fs *fs, struct handle *h);

/* The handle, which nobody else has yet, keeps a version and references its
 * generation. */
void handle_keep_version(struct fs *fs, struct handle *h,
	struct generation *gen, const struct version *version);

/* A generation by its number that is open by its records, though its
 * collection was removed, referenced, or NULL. */
struct generation *handle_find_gen(struct fs *fs, uint32_t no);

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return fi ? (struct handle *)(uintptr_t)fi->fh : NULL;
}

#endif
