/* SPDX-License-Identifier: Apache-2.0 */
/* handle.h: what an open file or directory holds on to. */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

#include "fs/fs.h"
#include "fs/import.h"
#include "fs/view.h"

enum handle_kind {
	HANDLE_BYTES,  /* an answer, a rendered text, an export */
	HANDLE_STAGE,  /* bytes that become a record */
	HANDLE_VALUE,  /* a setting: each write is a change; .delete-where */
	HANDLE_VERSION, /* a committed record, read as raw bytes */
	HANDLE_RUN,    /* query/.run: requests in, answers out */
	HANDLE_IMPORT, /* a stream of rows */
	HANDLE_DIR,
};

/*
 * A handle's own state of `.run`. Bytes written since the last read are the
 * request; the first read behind it asks. The answer reads from offset 0 or
 * from the end of what was written on, whichever the first read chose. Of
 * .delete-where likewise (fs/ops_clear.c): the request is a line, and is_asked
 * says that it was committed.
 */
struct run_state {
	char *request; /* owned */
	size_t len, cap;
	uint64_t end;  /* the file offset behind the last write */
	uint64_t last; /* the number of the request that wrote last */
	uint64_t base; /* the offset that the answer's byte 0 has */
	bool is_asked; /* the request was answered; a write begins a new one */
	struct answer_bytes *answer; /* referenced */
};

/*
 * fi->fh is the number of one, the same for the next daemon if this one
 * crashes: what the handle is lies in a file of the arena, whose idx is the
 * number's low 16 bits. 0 is the handle that needs nothing: a record's.
 *
 * What is fixed is set at open; the rest is guarded by lock, or used by one
 * request at a time because the kernel orders them.
 *
 * What an open file reads as is kept with it: exports and `all` as the moment
 * that they had, from which they are rendered again; all else as its bytes, for
 * which handle_has_room. What is not kept is lost with the daemon: reads fail
 * with ESTALE then.
 */

struct handle {
	struct handle *next, **link; /* fs->handles_lock: all that are open */
	uint64_t number; /* 0 before handle_keep */
	uint64_t ino;	 /* whose it is */
	uint64_t made_by; /* the request that opened it */
	uint32_t file;	 /* of the arena */
	enum handle_kind kind;
	pthread_mutex_t lock; /* RUN, VALUE, IMPORT; taken before any other */
	struct collection *coll; /* referenced, or NULL */
	struct answer_bytes *answer; /* BYTES, VALUE: referenced */
	struct query_open *opened;   /* BYTES of a leaf: its place there */
	struct qnode *node;	     /* BYTES of a leaf, RUN: referenced */
	struct stage *stage;	     /* STAGE: referenced */
	struct qnode *leaf; /* fs->handles_lock: STAGE that writes a named request
			       anew: referenced */
	struct generation *gen; /* fs->handles_lock: VERSION: referenced */
	const struct version *version; /* VERSION: borrowed of gen */
	struct hold hold; /* VERSION; BYTES of rows */
	bool is_sync;		     /* STAGE: opened with O_SYNC */
	bool is_writer;		     /* STAGE: opened for writing */
	bool has_body;		     /* the arena has what it reads as;
					IMPORT: its stream's header */
	enum view view; /* VALUE; DIR: which directory; BYTES of an export */
	int pid; /* of who opened it: BYTES of an export, STAGE with a leaf */
	struct look look;	     /* DIR: of a collection's; BYTES whose
					rows are to be rendered again: theirs */
	struct run_state run;
	struct import *import;	     /* owned */
	uint64_t import_end;	     /* offset behind what was fed */
	struct chunk *chunks, **chunks_end; /* IMPORT: what is fed and may be
					       needed again, in order */
	bool is_cut; /* IMPORT: a crash cut it off, chunks are to be fed */
	bool is_unkept; /* IMPORT: some of its bytes are not in the arena */
	struct import_mark mark; /* IMPORT: how far it is for good */
};

/* Bytes of an import in a file of the arena, as a write brought them. */
struct chunk {
	struct chunk *next;
	uint64_t off, len;
	uint32_t file;
};

/* Keeps what an import is given, before it takes it; and drops what it has no
 * need of any more, as its mark says. h->lock is held. */
int handle_put_chunk(struct fs *fs, struct handle *h, const void *bytes,
	size_t len, uint64_t made_by);
void handle_drop_chunks(struct fs *fs, struct handle *h);

/* -ENOMEM: NULL. coll is referenced. */
struct handle *handle_new(
	struct fs *fs, enum handle_kind kind, struct collection *coll);

/* Gives back what the handle holds, but for a stage's last bytes; and takes it
 * out of the arena. */
void handle_free(struct fs *fs, struct handle *h);

/* The handle, which nobody else has yet, keeps a version and references its
 * generation. */
void handle_keep_version(struct fs *fs, struct handle *h,
	struct generation *gen, uint32_t version);

/* The handle, which nobody else has yet, writes the named request that leaf
 * asks, whose reference it takes, anew. */
void handle_write_leaf(struct fs *fs, struct handle *h, struct qnode *leaf);

/*
 * What a stat of leaf by pid is to tell of, as it is being written: referenced,
 * or NULL. After its close() somewhere, for the handle may be open elsewhere
 * still, that is so to who opened it alone.
 */
struct stage *handle_find_writer(struct fs *fs, struct qnode *leaf, int pid);

/* A generation by its number that is open by its records, though its
 * collection was removed, referenced, or NULL. */
struct generation *handle_find_gen(struct fs *fs, uint32_t no);

/* The version that an open file of node ino reads, if any: its generation,
 * referenced, or NULL. For nodes whose generation a crash undid. */
struct generation *handle_find_version(
	struct fs *fs, uint64_t ino, const struct version **out);

/* The same of a snapshot that was removed. */
struct collection *handle_find_snap(struct fs *fs, uint32_t no);

/* Frees what this daemon knows of it; it stays in the arena. */
void handle_forget(struct fs *fs, struct handle *h);

/*
 * Gives it a number and tells the arena of it, as the handle of ino that the
 * request made_by opened. -ENFILE: 65,536 files are open.
 */
int handle_keep(
	struct fs *fs, struct handle *h, uint64_t ino, uint64_t made_by);

/* handle_keep, and the answer to an open; frees it if nobody waits for that any
 * more, or it cannot be kept. */
void handle_reply(fuse_req_t req, struct handle *h, uint64_t ino,
	uint64_t made_by, struct fuse_file_info *fi);

/* Whether the arena should keep len bytes that are read: they are no more than
 * 1 MiB, or leave half of it to what is written. */
bool handle_has_room(const struct fs *fs, size_t len);

/*
 * RUN, .delete-where: appends what was written at off to the request, to a new
 * one if the last was asked; a write that the daemon before us took is not
 * taken twice. -EFBIG: it would have more than max bytes. -ENOMEM, -ENOSPC.
 * h->lock is held.
 */
int handle_add_request(struct fs *fs, struct handle *h, const char *buf,
	size_t size, uint64_t off, size_t max);

/* Tells the arena of what changed: RUN, .delete-where, IMPORT. */
void handle_save(struct fs *fs, const struct handle *h);

/* A listing is of the present from now on. */
void handle_look(struct fs *fs, struct handle *h);

/* Tells the arena which moment a listing is of. */
void handle_save_look(struct fs *fs, const struct handle *h);

/* The handle that a request comes with, or NULL: none, or it was lost in a
 * crash (handle_is_lost). */
struct handle *handle_get(struct fs *fs, const struct fuse_file_info *fi);

static inline bool handle_is_lost(struct fs *fs,
	const struct fuse_file_info *fi)
{
	return fi && fi->fh && !handle_get(fs, fi);
}

/* Finds the handles that a former daemon left, once the stages and the nodes
 * are there. -ENOMEM. Before threads are made. */
int handles_load(struct fs *fs);

#endif
