/* SPDX-License-Identifier: Apache-2.0 */
/* logkit.h: what tests of the log share: changes one can tell, a disk that fails. */
#ifndef TESTS_LOGKIT_H
#define TESTS_LOGKIT_H

#include "src/io.h"
#include "src/wal.h"

/* Change number lsn has a payload that only lsn and life determine. `life`
 * tells apart changes that got the same lsn, one of them cut. */
#define KIT_LEN_MAX 600
uint32_t kit_payload(uint64_t lsn, uint32_t life, uint8_t out[KIT_LEN_MAX]);

/* What a replay saw. */
#define KIT_MAX 4096
struct kit_seen {
	uint64_t n;	       /* changes 1..n, in order */
	bool is_wrong;	       /* a gap, or bytes that nobody wrote */
	uint32_t life[KIT_MAX]; /* of change i + 1 */
	uint64_t segment[KIT_MAX], offset[KIT_MAX], end[KIT_MAX];
	struct wal_place from; /* kit_open begins here; n counts from 1 still */
};

extern const uint8_t kit_uuid[16];

/* Makes scratch()/name and returns a descriptor of it. */
int kit_dir(const char *name);
void kit_dir_clear(int dirfd);

/* The callback that checks each change; ctx: a struct kit_seen or NULL. */
int kit_see(void *ctx, const struct wal_frame *frame);

/* Opens with small segments; seen may be NULL. io NULL: plain calls. */
int kit_open(int dirfd, struct io *io, uint64_t segment_size,
	struct kit_seen *seen, struct wal_report *rep, struct wal **out);

/* Appends the next change. */
int kit_append(struct wal *wal, uint32_t life, bool frees);

/* n changes, appended and written by one call. */
int kit_write(struct wal *wal, uint32_t life, unsigned n, bool sync);

/* Files as a whole. */
struct kit_file {
	uint8_t *bytes; /* owned, freed by kit_free */
	size_t len;
};
struct kit_file kit_load(int dirfd, const char *name);
void kit_save(int dirfd, const char *name, const void *bytes, size_t len);
void kit_free(struct kit_file *file);

/* A disk over the plain one whose nth call fails. */
struct kit_disk {
	struct io io;
	struct io below;
	/* Atomic: a store's own threads call, too, while a test sets these. */
	_Atomic long fail_at; /* 0: none; counts calls that can fail from 1 on */
	_Atomic bool for_ever; /* and every one after it */
	_Atomic int rc;		/* with this */
	_Atomic int only_calls;	/* bits of enum kit_call; 0: all */
	_Atomic long calls;	/* so far, of these */
	_Atomic long failed;	/* how many of them failed */
	_Atomic long count[16];	/* by enum kit_call */
	uint64_t room;	 /* bytes that can still be allocated or written... */
	bool is_limited; /* ...if this holds */
	bool no_fallocate;
	bool no_sync;	 /* for speed, where nothing depends on it */
	uint64_t taken[256]; /* what is allocated, by descriptor */
	int fd;		 /* of the file opened last for writing */
	int closed_fd;	 /* closed last; an unlink gives back its space */
};
enum kit_call {
	KIT_OPEN, KIT_STAT, KIT_READ, KIT_WRITE, KIT_SYNC, KIT_ALLOCATE,
	KIT_TRUNCATE, KIT_UNLINK, KIT_LIST, KIT_RENAME, KIT_MKDIR, KIT_RMDIR,
	KIT_MAP, KIT_CALLS,
};
void kit_disk_init(struct kit_disk *disk);

#endif
