/* SPDX-License-Identifier: Apache-2.0 */
/* wal.h: the append-only log: what is in it before a sync returned stays. */
#ifndef VG_WAL_H
#define VG_WAL_H

#include "src/vg.h"

/*
 * One thread at a time uses a struct wal (the committer, or who leads in its
 * place); wal_stat may be read by any. wal.c's head has the format.
 */
struct wal;
struct io;

enum wal_frame_type {
	WAL_OP = 1,	/* one op, src/op.h */
	WAL_COMMIT = 2, /* reserved for clusters: (partition, seq) */
	WAL_VOID = 3,	/* reserved for clusters: (partition, from) */
	WAL_OPS = 4,	/* several ops, which count together or not at all */
	WAL_NEXT = 5,	/* the next segment was begun; no part of the log */
};

struct wal_frame {
	uint64_t lsn; /* 1, 2, 3, ... without gaps */
	uint16_t type;
	const void *payload; /* borrowed until the callback returns */
	uint32_t len;
	uint64_t segment;
	uint64_t offset; /* of the frame's head in its segment */
};

/*
 * A place in the log: where the frame of an lsn begins. It may be kept (in a
 * manifest) once everything before it is durable, durable_lsn >= lsn - 1: a
 * log that ends before a kept place has lost something and is refused.
 */
struct wal_place {
	uint64_t lsn; /* of the frame that begins here; 0: the log's begin */
	uint64_t segment, offset;
};

struct wal_config {
	int dirfd;	       /* borrowed: the wal/ directory */
	struct wal_place from; /* replay from here; what is before it may be
				  missing, and is not looked at */
	uint8_t uuid[16];      /* of the store: salts the checksums */
	uint64_t segment_size; /* a new segment starts past it; 0: 64 MiB */
	bool no_uring;	       /* use pwrite and fdatasync from the start */
	uint64_t reach;	       /* the log must have all before this lsn; else
				  files of it are missing. 0: unknown */
	bool is_copy;	       /* it may end where a segment was begun that is
				  not there: begun after the copy was */
	bool is_read_only;     /* nothing on the disk is changed, and nothing
				  can be appended (-EROFS) */
	bool takes_damaged;    /* read only: the log ends where it is damaged
				  (is_damaged), which is no error then */
	const _Atomic uint64_t *owed; /* borrowed: bytes of the log that are to be
				  written once more, elsewhere: only what frees
				  may take the room for that. NULL: none are */
	struct io *io; /* borrowed, a test's disk; NULL: the system's, through
			  io_uring where the kernel allows it */
};

/* What opening found. */
struct wal_report {
	uint64_t frames;      /* replayed */
	uint64_t last_segment; /* that was read; 0: none */
	uint64_t last_lsn;    /* of the log, also if it is before the place
				 that replay began at; 0: empty */
	bool is_begun;	      /* is_copy: it ends so; what was acknowledged
				 before the copy began is there, unless the
				 copy was interrupted */
	bool is_damaged;      /* it was replayed up to what error tells */
	uint64_t cut_segment; /* where a torn tail was cut, or would be... */
	uint64_t cut_offset;
	uint64_t cut_len; /* ...and its bytes; 0: none */
	bool uring;	  /* io_uring is used */
	char error[256];  /* for -VG_ECORRUPT and -VG_EFORMAT: one sentence
			     with segment and offset */
};

typedef int wal_each_fn(void *ctx, const struct wal_frame *frame);

/*
 * Opens the log in cfg->dirfd, calls each for every frame in order, cuts a
 * torn tail (durably) and stands ready to append. *out is returned owned.
 * Segments before the place in cfg->from are left as they are: wal_cut's.
 * Errors: what each returned; -VG_ECORRUPT (a torn middle, or a log that ends
 * before cfg->from: rep->error says where; nothing was changed); -VG_EFORMAT
 * (a later version); -ENOMEM; -EIO and other errno of the file system. rep is
 * always written.
 */
int wal_open(const struct wal_config *cfg, wal_each_fn *each, void *ctx,
	struct wal_report *rep, struct wal **out);

/*
 * Whether the log has the place cfg->from, changing nothing: a copy that was
 * made in another order than ours may have a manifest and not its log. Errors
 * as wal_open, with the sentence in why.
 */
int wal_check_place(const struct wal_config *cfg, char why[256]);

/* Closes after a sync of what was written. NULL is allowed. */
void wal_close(struct wal *wal);

/*
 * Adds a frame behind those already appended; it is in memory only until
 * wal_write. The payload is given in n parts. `frees` says that the frame
 * makes room (a delete): it may use the log's reserve, and room that is owed.
 * -ENOSPC, -EDQUOT: the disk is full: the frame is not there, others are
 * unharmed, and a later append works again once there is room. -ENOBUFS: 64 MiB
 * wait for wal_write already. -E2BIG: over 16 MiB. -ENOMEM. -EROFS: the log
 * failed before. Other errors: it failed now, while it began a new segment.
 */
struct wal_part {
	const void *bytes;
	size_t len;
};
int wal_append(struct wal *wal, enum wal_frame_type type,
	const struct wal_part *parts, unsigned n, bool frees);

/*
 * Hands what was appended to the kernel; with `sync` the call returns when it
 * is on stable storage, in one submission. -EIO (or the errno of the failed
 * call): whether the frames will be there is unknown; the log takes nothing
 * more from now on (-EROFS) and is never synced again. -ENOSPC and -EDQUOT
 * (only where the file system cannot allocate ahead): what was appended is
 * not there and dropped, and the log goes on.
 */
int wal_write(struct wal *wal, bool sync);

/* Drops what was appended and not yet written. */
void wal_drop(struct wal *wal);

/*
 * Where the next frame that is written will begin: everything before it was
 * written. If a segment begins meanwhile, it begins with this lsn, and the
 * place holds as well. The thread that appends.
 */
void wal_get_place(const struct wal *wal, struct wal_place *out);

/*
 * Begins a new segment now, with a sync of the old one, unless the current one
 * has no frame yet: so that a place taken next lets a cut remove the old one.
 * Nothing may be appended and not written. 0 also where the disk is full or no
 * descriptor is left: then the old segment goes on. -EROFS and other errors as
 * wal_append's. The thread that appends.
 */
int wal_rotate(struct wal *wal);

/*
 * Removes the segments before `segment`, which nothing will replay any more,
 * the oldest first, so that what is left has no gap whatever happens; not the
 * one that is written to. Then syncs the directory. Beside appends, by one
 * thread at a time, which wal_close waits for; through `io`, which that thread
 * may use. errno of the disk: some may be left, for the next call.
 */
int wal_cut(struct wal *wal, struct io *io, uint64_t segment);

/* Any thread. */
struct wal_stat {
	uint64_t appended_lsn; /* the last appended */
	uint64_t written_lsn;  /* the last handed to the kernel */
	uint64_t durable_lsn;  /* the last on stable storage */
	uint64_t syncs;	       /* how many */
	uint64_t bytes;	       /* of the segments from the one on that replay
				  began with, less those that were cut */
};
void wal_stat(const struct wal *wal, struct wal_stat *out);

#endif
