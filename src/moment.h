/* SPDX-License-Identifier: Apache-2.0 */
/* moment.h: what a reader sees: one seq for each partition, fixed for good. */
#ifndef VG_MOMENT_H
#define VG_MOMENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "src/vg.h"

/*
 * A reader holds a moment and sees the versions with
 * begin <= seq[partition] < end. The committer publishes a new one after each
 * group commit by swapping one pointer, so that all changes of the group
 * appear at once and a reader's answer is of one moment, however long it
 * takes. Moments are 2 KB; those that nobody holds are used again.
 */
struct moment {
	_Atomic uint32_t refs; /* acq_rel: the last to leave recycles it */
	struct moment *next;   /* moments->lock: free ones; or the one
				  published after it, of those that are held */
	struct moment *before; /* moments->lock: the one published before it */
	bool is_published;     /* moments->lock */
	uint64_t number;       /* counts group commits */
	uint64_t seq[VG_SEQS];
};

struct moments {
	pthread_mutex_t lock; /* a leaf: held for a few instructions */
	struct moment *now;   /* lock; holds one reference */
	struct moment *oldest; /* lock: of those that somebody holds; to now */
	struct moment *free;  /* lock */
};

/* Starts with all seqs 0. -ENOMEM. */
int moments_init(struct moments *ms);
void moments_fini(struct moments *ms); /* nobody holds one any more */

/* The present, referenced: moment_unref when done. Any thread, never fails. */
struct moment *moment_get(struct moments *ms);
struct moment *moment_ref(struct moment *m);

/* The oldest that was the present once and that somebody still holds, as
 * moment_get: what ended before it no reader sees. */
struct moment *moment_oldest(struct moments *ms);
void moment_unref(struct moments *ms, struct moment *m); /* NULL is allowed */

/* A copy of the present that nobody sees yet, for the committer to advance
 * and publish. -ENOMEM. */
int moment_new(struct moments *ms, struct moment **out);

/* Makes next the present; takes its reference. The committer. */
void moment_publish(struct moments *ms, struct moment *next);

#endif
