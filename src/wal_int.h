/* SPDX-License-Identifier: Apache-2.0 */
/* wal_int.h: what wal.c (writing) and wal_open.c (reading) share. */
#ifndef VG_WAL_INT_H
#define VG_WAL_INT_H

#include <stdatomic.h>

#include "src/io.h"
#include "src/wal.h"
#include "src/wire.h"

#define WAL_HEADER 64u /* bytes of a segment before its first frame */
#define WAL_SEGMENT_SIZE (64u << 20) /* where the caller does not care */

/*
 * Space is taken in steps that cost one journal commit each and are big enough
 * to be rare beside the syncs (one in some thousand puts). The reserve holds
 * about ten thousand deletes: whoever has that many to delete from a full disk
 * has made room long before.
 */
#define WAL_STEP (8u << 20)
#define WAL_RESERVE (1u << 20)
#define WAL_OWED (4u << 20) /* owed in any case: manifests */

/* What one wal_write may carry, and what of its buffer is kept afterwards. */
#define WAL_BATCH_MAX (64u << 20)
#define WAL_BUFFER_KEPT (2u << 20)

struct uring;

struct wal {
	struct io *io;	     /* the one in use: config's, uring's, or plain */
	struct io plain;
	struct uring *uring; /* NULL: not used */
	int dirfd;	     /* borrowed */
	struct wire_salt salt; /* .segment: the one that is written */
	uint64_t segment_size;
	uint64_t first; /* of the segments in bytes; set once, by wal_open */

	int fd;		    /* of that segment; -1: none yet */
	uint64_t end;	    /* bytes written to it: the next frame's offset */
	uint64_t allocated; /* space is taken up to here; >= end */
	const _Atomic uint64_t *owed; /* wal_config's */
	uint64_t rotate_at; /* a new segment begins once end reaches it */
	bool cannot_allocate; /* the file system has no fallocate */
	bool failed;	      /* for ever: a write or a sync failed */

	uint8_t *buf; /* owned: frames appended and not written */
	size_t len;
	size_t cap;

	/*
	 * Written by the one user, read by any thread in wal_stat: release
	 * and acquire, so that durable <= written <= appended is seen, too.
	 * wal_drop alone takes appended back.
	 */
	_Atomic uint64_t appended_lsn;
	_Atomic uint64_t written_lsn;
	_Atomic uint64_t durable_lsn;
	_Atomic uint64_t syncs;

	/*
	 * What wal_cut's thread shares with the one user. bytes: both add to
	 * it and take from it, as one step each. segment: salt's, published
	 * when the segment is there for good; it only grows, so an old value
	 * makes a cut leave one more than it must.
	 */
	_Atomic uint64_t bytes; /* of the segments from first on */
	_Atomic uint64_t segment;
};

/* The 64 bytes at a segment's start, wal.c's head. */
struct wal_header {
	uint32_t version;
	uint8_t uuid[16];
	uint64_t segment;
	uint64_t first_lsn;
};

#define WAL_VERSION 1

void wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER]);

/* False: these are not 64 bytes that wal_header_encode made, whatever its
 * version. */
bool wal_header_decode(const uint8_t in[WAL_HEADER], struct wal_header *h);

/* Writes the header of a segment, not durably. errno of the disk. */
int wal_header_write(
	struct wal *wal, int fd, uint64_t segment, uint64_t first_lsn);

/* "0001.wal" */
#define WAL_NAME_MAX 32
void wal_name_format(uint64_t segment, char out[WAL_NAME_MAX]);

/* False: this is no segment's name; any other file may stand in the folder. */
bool wal_name_parse(const char *name, uint64_t *segment);

/*
 * Begins a segment and makes it the one that is written: durable, with its
 * reserve. The one before must be on stable storage; its descriptor is closed.
 * On error everything is as it was; or wal->failed is set, where it is not
 * known what the disk holds.
 */
int wal_segment_new(struct wal *wal, uint64_t segment, uint64_t first_lsn);

/* Takes space up to `target` at least and a step at best, and what is owed
 * stays free, or -ENOSPC; unless it must, then a smaller step. The errno of the
 * failed call. */
int wal_space_take(struct wal *wal, uint64_t target, bool must);

#endif
