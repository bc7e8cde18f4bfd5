/* SPDX-License-Identifier: Apache-2.0 */
/* change.h: a request that changes the store, answered when it is on disk. */
#ifndef FS_CHANGE_H
#define FS_CHANGE_H

#include "fs/fs.h"

/*
 * A change with all it borrows, for as long as the committer has it, and the
 * request that waits for it. Made by an operation, answered by the committer's
 * thread.
 */
struct fs_change {
	struct commit commit;
	struct change change;
	struct fs *fs;
	fuse_req_t req;
	struct collection *coll; /* referenced, or NULL */
	uint32_t pid, uid;
	char path[320]; /* for errors.ndjson */
	void *bytes;	/* owned: a vector, a value: freed with it */
	void *bytes2;	/* owned likewise */
	char id[VG_ID_MAX], id2[VG_ID_MAX], name[VG_ID_MAX];
	char key[VG_ID_MAX];
	char target[4096];

	/* Answers the request; NULL: with the error code alone. rc is the
	 * change's. Called once, by any thread; must not free fc. */
	void (*finish)(struct fs_change *fc, int rc);
	void *ctx;     /* finish's */
	uint64_t aux;  /* finish's */
};

/* A change of type by req, with its origin, mode bits of coll unset. coll may
 * be NULL; it is referenced. -ENOMEM: NULL is returned. */
struct fs_change *fs_change_new(
	fuse_req_t req, enum op_type type, struct collection *coll);
void fs_change_free(struct fs_change *fc);

/* Copies an id into the change. */
void fs_change_id(struct fs_change *fc, struct vg_id id);
void fs_change_id2(struct fs_change *fc, struct vg_id id);
void fs_change_name(struct fs_change *fc, struct vg_id name);

/* Commits; fc is gone afterwards and the request will be answered. */
void fs_change_run(struct fs_change *fc);

/* The errno that FUSE is told for rc. */
int fs_errno(int rc);

/* Answers req with rc and, if why is not NULL, writes it down: in
 * errors.ndjson and as the collection's last error. */
void fs_refuse(fuse_req_t req, struct collection *coll, struct vg_id name,
	int rc, const char *why);

/* Writes it down only. */
void fs_note_error(fuse_req_t req, struct collection *coll,
	struct vg_id name, int rc, const char *why);

/* The same for who waited for a commit. Any thread. */
struct fs_who {
	uint32_t pid, uid;
	const char *path;
};
void fs_note_commit(struct fs *fs, struct collection *coll,
	const struct fs_who *who, int rc, const char *why);

/* The path of name in coll, for messages. Any thread. */
void fs_path(struct fs *fs, const struct collection *coll, struct vg_id name,
	char *out, size_t cap);

/* Wall clock in nanoseconds. */
int64_t fs_now(void);

#endif
