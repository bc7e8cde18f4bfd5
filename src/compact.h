/* SPDX-License-Identifier: Apache-2.0 */
/* compact.h: a collection is made anew without what nobody can see any more. */
#ifndef VG_COMPACT_H
#define VG_COMPACT_H

#include <pthread.h>

#include "src/collection.h"

/*
 * Ended versions and the rows of their vectors take room until a compaction
 * makes a new generation of those that are open, while readers and writers go
 * on with the old one. What changes meanwhile is carried over in rounds, the
 * last and shortest by the leader between two groups, who then puts the new
 * generation in the old one's place. Fields that filters have asked for are
 * indexed before that. Readers of older moments keep the old
 * generation until they end; nodeids name a generation, so a name that the
 * kernel looks up again leads to the new one.
 *
 * So the rows come under other settings, too: a collection whose metric, index,
 * m, ef_construction or quant was written anew is made anew with them, and
 * searches go by the old ones until then. The same becomes of one whose values
 * have left the range of its codes (cell_wants_codes), or whose index the
 * memory is too small for, or large enough again (auto_index.h).
 *
 * When: settings or codes differ; the dead outnumber the living and COMPACT_MIN,
 * so that the work of it is a part of the work that made it necessary; a
 * collection that nobody changed for COMPACT_IDLE_S seconds sooner: when the
 * dead are half as many.
 *
 * Between the lookup of a name and the call that it was for, the kernel holds
 * a number of the generation that was the newest. So where compactions come by
 * themselves the old one stays for COMPACT_KEEP_S seconds.
 *
 * Snapshots keep the generation that they were taken of, as it is: what they
 * show stays searchable in its own graph, and out of the present's way.
 *
 * What is carried over goes to files as it comes, when it is much
 * (checkpoint_spill), so that a collection larger than memory can be made anew;
 * no manifest names them until the new generation is in its place.
 *
 * A crash at any time finds the old generation, in files and log. What open
 * files show is looked for by the next life before it compacts: store_settle.
 */

/* A generation that was replaced, kept for who has just looked a name up. */
struct compact_old {
	struct compact_old *next;
	struct generation *gen; /* referenced */
	double until_s;		/* monotonic */
};

#define COMPACT_MIN 20000u
#define COMPACT_IDLE_S 5.0
#define COMPACT_KEEP_S 5.0

struct store;

struct compactor {
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t cond;  /* is_stopping */
	bool is_stopping;     /* lock; also read without it */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t run_lock; /* one compaction at a time; before any
				     other lock */
	struct compact_old *old;  /* run_lock: newest first */
	_Atomic uint64_t n_made;  /* relaxed: since the open */
	uint32_t now_no;	  /* lock: of the collection that is made anew */
	struct generation *now;	  /* lock: what becomes of it, referenced; or NULL */
};

void compact_prepare(struct compactor *cp);
int compact_init(struct store *s); /* starts the thread; -EAGAIN */
void compact_stop(struct store *s);
void compact_fini(struct store *s);

/* Whether the thread is to end: what takes long looks now and then. Any thread. */
bool compact_is_stopped(struct store *s);

/* Whether c is to be made anew, and now. The compactor's thread. */
bool compact_is_due(struct collection *c);

/* Makes a new generation of c now. -EAGAIN: its vectors got another dimension
 * meanwhile; -ENOMEM, -ENOSPC (of numbers); -EROFS; -EINTR: it was stopped.
 * Nothing is changed then. Any thread but the leader. */
int store_compact(struct store *s, struct collection *c);

/* Whether c is being made anew: how many rows there are so far, and how many of
 * them are linked. Any thread. */
bool store_compacting(struct store *s, const struct collection *c,
	uint32_t *rows, uint32_t *linked);

/*
 * The same at once, for a collection with no record, or with one that is about
 * to be replaced: its next vector needs a new cell, and what the generation is
 * now belongs to snapshots. -ENOMEM, -ENOSPC. The leader with an empty group,
 * or who replays.
 */
int store_renew(struct store *s, struct collection *c);

#endif
