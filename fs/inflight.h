/* SPDX-License-Identifier: Apache-2.0 */
/* inflight.h: requests that were received and are not answered yet. */
#ifndef FS_INFLIGHT_H
#define FS_INFLIGHT_H

#include "fs/arena.h"

/*
 * The kernel hands a request out once. If the daemon that took it ends without
 * an answer, the caller waits for ever, unless somebody remembers the request.
 * So a worker reads requests from the kernel straight into its slot of the
 * arena: there is no moment at which the kernel has given one away and the
 * arena has not got it. When the worker goes on to the next request and the
 * last one is not answered yet (the committer or the pool will), its bytes are
 * parked in a file of the arena until it is.
 *
 * A FORGET that was in a slot is begun again, too: that is harmless, and to miss
 * one would keep a node for ever.
 *
 * Nothing is written when a request is answered in time: whether one was
 * answered is asked of the kernel, who alone knows. An answer to the INTERRUPT
 * of a request (its number with bit 0 set) finds the request if it waits still
 * (0, EINVAL) and does not if it was answered (ENOENT). With EAGAIN in it, an
 * INTERRUPT that the former daemon took is sent again. This works since Linux
 * 4.20; FUSE_NOTIFY_RESEND (6.9) is not needed, and not used.
 *
 * A request that was begun INFLIGHT_TRIES times without an answer is what ends
 * the daemons: it is answered with EIO.
 */
struct inflight;

#define INFLIGHT_TRIES 2u

/* Requests may be parked in `a` from here on. *out is returned owned. -ENOSPC:
 * no memory. Before threads are made; close it when they have ended. */
int inflight_open(struct arena *a, struct inflight **out);
void inflight_close(struct inflight *fl); /* NULL is allowed */

/* ---- a worker's ---- */

/* What a request is read into, at offset 0 of the slot's bytes; its pages are
 * there. NULL: no memory. One thread for each slot < ARENA_LARGE_MAX. */
#define INFLIGHT_LEN ARENA_LARGE_LEN
void *inflight_slot(struct inflight *fl, unsigned slot);

/* The slot's thread begins to serve the request in it; and has done its part.
 * If it is not answered then, it is parked; where there is no memory for
 * that, waits for the answer. */
void inflight_begin(struct inflight *fl, unsigned slot);
void inflight_end(struct inflight *fl, unsigned slot);

/* The request was answered: after the write to the kernel. Any thread. */
void inflight_answered(struct inflight *fl, uint64_t unique);

/* ---- INIT, which the kernel sends once ---- */

/* Keeps INIT's bytes for the daemons to come. -EINVAL: too long. */
int inflight_put_init(struct inflight *fl, const void *bytes, size_t len);

/* INIT's bytes, borrowed; NULL: none was kept. */
const void *inflight_get_init(const struct inflight *fl, size_t *len);

/* ---- after a crash ---- */

/*
 * Finds out what the former daemon left unanswered, by asking the kernel at
 * fd; forgets the rest. What was begun too often is answered with EIO. Returns
 * how many are left, or -ENOMEM. Before threads are made.
 */
int inflight_recover(struct inflight *fl, int fd);

/* Whether `unique` is among the unanswered ones that were found. */
bool inflight_is_pending(const struct inflight *fl, uint64_t unique);

/* Takes the next of them, in the order of their numbers, to be begun again:
 * its bytes, owned by the caller (free). -ENOENT: there are no more. */
int inflight_next(struct inflight *fl, void **bytes, size_t *len);

/* Waits until that one is answered, at most ms. */
void inflight_wait(struct inflight *fl, uint64_t unique, unsigned ms);

#endif
