/* SPDX-License-Identifier: Apache-2.0 */
/* fs.h: one mounted tree: what the FUSE operations share. */
#ifndef FS_FS_H
#define FS_FS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fs/arena.h"
#include "fs/named.h"
#include "fs/node.h"
#include "fs/pool.h"
#include "fs/stage.h"
#include "fs/timer.h"
#include "src/store.h"

struct boards;
struct handle;
struct inflight;

/*
 * fs/ops*.c hold the operations as pairs: op_x is what libfuse calls, do_x the
 * work. Every request is answered exactly once: at once, by a pool thread
 * (fs/job.h), or by the committer when the change is on disk (fs/change.h).
 */
struct fs {
	struct store *store;	   /* owned by serve() */
	struct fuse_session *se;   /* borrowed */
	struct arena *arena;	   /* owned by serve() */
	struct nodes nodes;
	struct stages stages;
	struct named named;
	struct pool pool;
	struct timer timer;
	struct boards *boards; /* states of imports; owned by serve() */
	pthread_mutex_t handles_lock; /* a leaf */
	struct handle *handles;	      /* handles_lock: all that are open */
	struct handle *_Atomic *open; /* owned: by arena file, those with a
					 number; acquire and release */
	struct inflight *inflight;    /* owned by serve() */
	_Atomic uint64_t init_unique; /* INIT's, when it was answered before */
	uint32_t restarts;	      /* daemons that crashed before us */
	int64_t crash_ns;	      /* wall clock of the last crash, or 0 */
	uint64_t session;      /* of op_origin: random, kept in the arena */
	uint32_t max_read;     /* -o max_read=; 0: not given */
	uint32_t uid, gid;     /* of who mounted: owner of what has none */
	int64_t started_ns;
};

/* The fs of a request. */
static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The operations, for fuse_session_new. */
extern const struct fuse_lowlevel_ops fs_ops;

#endif
