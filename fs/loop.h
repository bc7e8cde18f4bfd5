/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h: threads that take requests from the kernel and serve them. */
#ifndef FS_LOOP_H
#define FS_LOOP_H

#include "src/vg.h"

struct fuse_session;
struct inflight;

/*
 * Why not libfuse's loop: on a virtual machine what a request costs is decided
 * by where the thread that takes it sleeps. A wake-up across CPUs costs 30 us
 * and more, one on the caller's own CPU 5. A thread that has just served a
 * request therefore looks for the next one for a while, giving its CPU away at
 * each turn (sched_yield), before it sleeps; and the threads are fixed, none is
 * made or ended while requests come.
 */
struct loop_config {
	int n_threads; /* 1..; 0: the CPUs we may use, at least 2, at most 8 */
	int spin_us;   /* 0..; below 0: 50 under a hypervisor, else 0 */
	struct inflight *inflight; /* borrowed: where requests are read to, so
				      that they outlive us; NULL: nowhere */
};

/*
 * Serves se until it ends: the tree was unmounted, the connection was aborted,
 * or this process got SIGTERM, SIGINT or SIGHUP (kill(getpid(), SIGTERM) is
 * how another thread ends it). Returns when every thread has finished the
 * request it was at; requests not yet taken stay with the kernel.
 *
 * The caller's thread only waits. It must have those three signals blocked, as
 * must each thread made before (loop_block_signals, first thing in the
 * daemon), or they would kill us instead. The session's descriptor becomes
 * non-blocking. At least two threads are needed for an INTERRUPT to be seen
 * while a handler is at work.
 *
 * 0: the session ended in one of the ways above. -ENOMEM, -EMFILE, -EAGAIN: it
 * could not start. Another negative errno: reading requests failed.
 */
int loop_run(struct fuse_session *se, const struct loop_config *cfg);

/* Blocks the signals that loop_run waits for, in the calling thread. */
void loop_block_signals(void);

/*
 * Takes and serves one request, which the kernel makes the first: INIT. Waits
 * for it. 0: INIT was answered, and is kept in `inflight` (may be NULL).
 * -ENOTCONN: the tree was unmounted meanwhile. -EPROTO: the kernel and the
 * library could not agree; -EIO, -ENOMEM.
 */
int loop_init(struct fuse_session *se, struct inflight *inflight);

/*
 * Tells a new session what the first one and the kernel agreed on: serves the
 * INIT that was kept once more. The caller's writev keeps that answer from the
 * kernel, who has had it: its number goes to *unique first. -EPROTO: none was
 * kept, or it is refused now; -ENOMEM.
 */
int loop_init_again(struct fuse_session *se, struct inflight *inflight,
	_Atomic uint64_t *unique);

/*
 * Serves the requests that the former daemon left unanswered, one after the
 * other, in this thread: each is waited for a while, so that one that ends us
 * too is not begun among others. loop_request.resent is true in them. Returns
 * how many they were, or -ENOMEM.
 */
int loop_repeat(struct fuse_session *se, struct inflight *inflight);

/*
 * The request that the calling thread is serving: its number is unique per
 * mount and the same when the kernel sends the request again, so it names the
 * caller's wish for op_origin. unique is 0 outside a request.
 */
struct loop_request {
	uint64_t unique;
	uint32_t opcode; /* enum fuse_opcode */
	bool resent;	 /* a daemon before us may have done it */
};
struct loop_request loop_unique(void);

/*
 * A reply leaves us and a request comes in: what a client does after an answer
 * comes after what we did before it, which the kernel sees to and the thread
 * sanitizer cannot know. It is told here; elsewhere these are nothing.
 */
void loop_reply_leaves(void);
void loop_request_comes(void);

/*
 * Asks the kernel to drop what it remembers of n nodes that nobody holds; each
 * comes back as a FORGET. Nodes that are in use stay. Never from a handler,
 * and under no lock that a handler takes: the kernel may wait for one.
 *
 * 0, also for nodes that the kernel does not know. -EINVAL: this kernel cannot
 * (before 6.18): use notify_inval_entry. -ENOTCONN: the session is over. -EIO
 * and others of the descriptor.
 */
int loop_prune(struct fuse_session *se, const uint64_t *nodeid, size_t n);

#endif
