/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h: files that are written but not committed, kept outside the daemon. */
#ifndef FS_ARENA_H
#define FS_ARENA_H

#include "src/vg.h"

/*
 * The arena is a memory file (memfd) that the holder makes and the daemon
 * maps. A daemon that is killed loses nothing of it: the next one opens the
 * same descriptor and finds each file as it was after the last call that had
 * returned. arena.c's head has the format.
 *
 * A file has attributes, a body and metadata, both byte strings that grow as
 * they are written. Its number (idx) is its place in a table and is used again
 * after arena_file_del; `serial` is the caller's, never used again.
 *
 * Any thread may call. What belongs to one file is guarded by the caller's
 * lock of that file; the arena guards only what files share.
 */
struct arena;

#define ARENA_FILES_MAX 65536
#define ARENA_LIMIT_MIN (1ull << 20)
#define ARENA_LIMIT_MAX (16ull << 30)

/* What a file is, besides its bytes. The values are the caller's own. */
struct arena_attr {
	uint64_t serial; /* the file's nodeid */
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t flags;
	uint8_t uuid[16]; /* of its collection */
	uint8_t area;	  /* which directory of the collection */
	uint8_t name_len; /* 1..VG_ID_MAX */
	char name[VG_ID_MAX + 1]; /* not terminated */
	uint8_t pad[6];	  /* zero */
	uint64_t extra[7];
};

enum arena_part { ARENA_BODY, ARENA_META };

struct arena_stat {
	uint64_t limit;	  /* bytes that may be used */
	uint64_t used;	  /* bytes of all files, in whole pages */
	uint32_t n_files;
};

/*
 * Makes an arena for at most `limit` bytes of bodies and metadata, and returns
 * its descriptor, owned. Memory is taken as it is used. -EINVAL: limit is out
 * of range; -ENOMEM, -EMFILE and others of memfd_create(2).
 */
int arena_create(uint64_t limit);

/*
 * Maps the arena in fd, which stays the caller's and must stay open. Whatever
 * an earlier daemon was at when it was killed is undone or done. *out is
 * returned owned. At most one daemon at a time. -VG_EFORMAT: of another
 * version. -VG_ECORRUPT: not an arena, or files overlap. -ENOMEM.
 */
int arena_open(int fd, struct arena **out);

/* Unmaps; the files stay. NULL is allowed. */
void arena_close(struct arena *a);

/* A random number that the arena keeps: the session of op_origin. Not 0. */
uint64_t arena_session(const struct arena *a);

/* A number from 1 on that no daemon of this arena was given before. */
uint64_t arena_number(struct arena *a);

/*
 * Memory of fixed places, for what is no file: zeros at first, then whatever
 * was stored there. SMALL has 32 KiB; LARGE has ARENA_LARGE_LEN for each idx
 * below ARENA_LARGE_MAX, whose pages are all there when this returns, so that
 * a system call that is interrupted by a kill can still write to them. *out is
 * borrowed until arena_close. -ENOMEM.
 */
enum arena_region { ARENA_SMALL, ARENA_LARGE };
#define ARENA_SMALL_LEN (32u << 10)
#define ARENA_LARGE_LEN ((1u << 20) + (64u << 10))
#define ARENA_LARGE_MAX 64u
int arena_get_region(struct arena *a, enum arena_region region, unsigned idx,
	void **out);

/*
 * Makes a file with these attributes and no bytes; it is there wholly or not
 * at all. -ENOSPC: the table is full. -EINVAL: name_len is 0.
 */
int arena_file_new(struct arena *a, const struct arena_attr *attr,
	uint32_t *idx);

/* Removes a file and its bytes. */
void arena_file_del(struct arena *a, uint32_t idx);

/* Borrows a file's attributes until the next arena_file_put of it, or del. */
const struct arena_attr *arena_file_get(const struct arena *a, uint32_t idx);

/* Replaces a file's attributes, all at once. -EINVAL: name_len is 0. */
int arena_file_put(struct arena *a, uint32_t idx,
	const struct arena_attr *attr);

/*
 * Writes len bytes at off; the part grows to hold them, and a gap reads as
 * zeros. -EFBIG: beyond VG_BODY_MAX. -ENOSPC: over the limit, or the machine
 * has no memory. The part is as it was then.
 */
int arena_pwrite(struct arena *a, uint32_t idx, enum arena_part part,
	uint64_t off, const void *bytes, size_t len);

/* Makes a part len bytes long. What is added reads as zeros. Errors as above. */
int arena_truncate(struct arena *a, uint32_t idx, enum arena_part part,
	uint64_t len);

/*
 * Borrows a part's bytes until the next call that changes that part. Never
 * NULL, also when *len is 0.
 */
const void *arena_bytes(const struct arena *a, uint32_t idx,
	enum arena_part part, size_t *len);

/*
 * Calls each for every file in the order of idx, until it returns other than
 * 0, which is returned. No file may be made or removed meanwhile, but each may
 * remove the file that it was called for.
 */
typedef int arena_each_fn(void *ctx, uint32_t idx,
	const struct arena_attr *attr);
int arena_each(struct arena *a, arena_each_fn *each, void *ctx);

void arena_stat(struct arena *a, struct arena_stat *out);

/*
 * Whether every file and free block is where it should be, for tests; *why
 * says what is not. Nothing may be changed meanwhile.
 */
bool arena_check(struct arena *a, const char **why);

#endif
