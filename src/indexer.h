/* SPDX-License-Identifier: Apache-2.0 */
/* indexer.h: threads that put rows into indexes, and slow writers to their pace. */
#ifndef VG_INDEXER_H
#define VG_INDEXER_H

#include <pthread.h>

#include "src/collection.h"

struct commit;

/*
 * A row is searchable when it is committed: searches scan the slots that are
 * not linked yet. So that this tail stays short, a commit that made it longer
 * than cell->tail_max is held: its done() is called when the indexers have
 * caught up. The tail that a restart finds (cell->backlog) is allowed for at
 * first, and less and less: writers then go at half the indexers' pace.
 *
 * Lists of an inverted file (index/ivf.h) are learnt anew by a thread of its
 * own, beside all that, when the indexers see that it is due.
 *
 * A search must read cell->tail_from before it takes its moment: a slot below
 * it is in the graph or had ended in a moment before that one.
 */
struct indexer {
	pthread_mutex_t lock;
	pthread_cond_t work_cond;
	pthread_cond_t stop_cond; /* who waits for memory waits for it, too */
	struct cell *work; /* lock: cells with pending slots; each holds a
			      reference on its collection */
	bool is_stopping;  /* lock */
	bool is_paused;	   /* lock: nobody takes slots */
	unsigned n_busy;   /* lock: threads that are linking */
	pthread_cond_t pause_cond; /* nobody is busy, or the pause is over */
	struct cell *learn; /* lock: cells whose lists are to be learnt anew; each
			       holds a reference on its collection */
	pthread_cond_t learn_cond;   /* there are such, or the end */
	_Atomic bool is_cancelled;   /* the end: learning stops; relaxed */
	pthread_t learner;
	bool has_learner;
	unsigned n_threads;
	pthread_t *threads;
	struct moments *moments; /* borrowed */
};

/* Starts n threads. -ENOMEM, -EAGAIN. */
int indexer_init(struct indexer *ix, unsigned n, struct moments *moments);

/* Stops: held commits are answered, what is pending stays pending. */
void indexer_fini(struct indexer *ix);

/* cell has new slots. The committer. */
void indexer_add(struct indexer *ix, struct cell *cell);

/* Waits until no thread links a row; none begins until indexer_resume. One
 * thread at a time pauses. */
void indexer_pause(struct indexer *ix);
void indexer_resume(struct indexer *ix);

/* cell was replaced: it is linked no more, who is held for it is answered. */
void indexer_retire(struct indexer *ix, struct cell *cell);

/* Whether commit was taken to be answered later. The committer. */
bool indexer_hold(
	struct indexer *ix, struct cell *cell, struct commit *commit);

/* Slots of cell that no thread has linked or skipped yet. Any thread. */
uint32_t indexer_pending(const struct cell *cell);

/* Whether lists of cell are being learnt, or about to be. Any thread. */
bool indexer_is_learning(struct indexer *ix, const struct cell *cell);

#endif
