/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.h: from time to time the state goes to files, and the log is cut. */
#ifndef VG_CHECKPOINT_H
#define VG_CHECKPOINT_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/collection_file.h"
#include "src/manifest.h"
#include "src/wal.h"

/*
 * A CHECKPOINT. Graphs and indexes of fields are saved first, beside puts. Then a cut is taken, by
 * the leader between two groups, when all that was logged is on stable
 * storage: the moment, the place in the log, how far each column goes. Columns
 * are written up to there while changes go on, then synced, then the manifest
 * is written, which makes it count. What is behind the cut is in the log.
 *
 * When: 64 MiB were logged since the last, or a graph has learnt so much that
 * linking it again would take long, or filters have indexed as much, or the
 * store is closed.
 *
 * WHAT STAYS. A copy of the directory that was begun when manifest n was the
 * newest needs n's files until it is finished. So a manifest, all that it names
 * and the log from its place on stay for grace_s after the next one was made;
 * then what the next does not name goes: files, then the log's segments, then
 * the manifest, so that what a crash leaves is swept by the next open. While
 * DATADIR/.backup-hold exists nothing goes. Who opens the directory counts
 * every manifest that he finds as new.
 *
 * WHAT IS HELD. An older generation that no snapshot shows is in a manifest
 * because somebody held it (struct hold): an open file that is read on
 * after a crash. The open holds it as well, until who knows of such files has
 * held what they need: checkpoint_settle.
 */
struct store;

/* A manifest that is not the newest, and still there; or the time before the
 * first one, when there was the log alone. */
struct checkpoint_kept {
	uint64_t number; /* 0: none */
	double since_s; /* monotonic: when the next one was made */
};

/* A generation that is held until it is settled. */
struct checkpoint_held {
	struct checkpoint_held *next;
	struct hold hold;
};

struct checkpointer {
	pthread_mutex_t lock; /* a leaf: all below, but for run's */
	pthread_cond_t cond;  /* is_wanted or is_stopping */
	bool is_wanted;	      /* lock */
	bool is_stopping;     /* lock */
	bool has_thread;
	pthread_t thread;

	pthread_mutex_t run_lock; /* one checkpoint at a time; held over I/O,
				     so taken before any other lock */
	struct io *io;		  /* the store's; run_lock, as all below */
	int coll_dirfd;		  /* DATADIR/c; -1: not made yet */
	bool has_coll_dir;	  /* this life made it */
	bool is_found;		  /* the newest is of a life before, and not
				     known to be durable */
	uint64_t number;	  /* of the newest manifest; 0: none */
	struct checkpoint_kept *kept; /* oldest first */
	uint32_t n_kept, cap_kept;
	double grace_s;
	bool is_swept;
	struct checkpoint_held *held; /* by the open; the opener's, owned */
	_Atomic uint32_t n_held_saved; /* relaxed: in the newest manifest */

	uint64_t reach; /* lsn that the log has to go on to: what the newest
			   manifest that can be read says. Set by the open */
	_Atomic int fds; /* that all columns may still keep open to read */
	uint64_t limit; /* bytes of the log between two; UINT64_MAX: never */
	uint64_t spill; /* bytes of vectors in memory: checkpoint_spill */
	_Atomic uint64_t owed; /* bytes of the log that no finished checkpoint
				  has; relaxed */
	_Atomic uint64_t logged; /* bytes since the last cut; relaxed */
	_Atomic bool has_new_gen; /* relaxed: a generation was replaced since,
				     or an ef was tuned: what no log says */
	_Atomic uint64_t lsn;	 /* relaxed: that the newest goes on from */
	_Atomic uint64_t n_made; /* relaxed: since the open */
};

struct store_config;
struct store_report;

/*
 * Opens the newest manifest whose files are all there and right: fills the
 * catalogue and the present, and *from with where to go on in the log. Without
 * any manifest: nothing, from->lsn is 0. rep->error has a sentence if there
 * are manifests and none can be opened. Errors as store_open.
 */
int checkpoint_load(struct store *s, const struct store_config *cfg,
	struct store_report *rep, struct wal_place *from);

/*
 * Removes files that no manifest names, and manifests above the one that was
 * opened: leftovers. Before the first checkpoint, with run_lock. -ENOMEM; errno
 * of the disk: some may be left.
 */
int checkpoint_sweep(struct store *s);

/* Holds g, which the newest manifest has for nothing else, until
 * checkpoint_settle. -ENOMEM. The opener. */
int checkpoint_hold(struct checkpointer *cp, struct generation *g);

/* Lets go what the open holds. The opener, or who has the store alone. */
void checkpoint_settle(struct checkpointer *cp);

/* Makes it ready for the others; before all else. */
void checkpoint_prepare(struct checkpointer *cp);

/* Starts the thread, once the log was replayed. -EAGAIN. */
int checkpoint_init(struct store *s);

/* Ends the thread; nothing was to be undone is allowed. */
void checkpoint_stop(struct store *s);
void checkpoint_fini(struct store *s);

/*
 * Makes a checkpoint now. `all`: graphs are saved whatever they learnt. With
 * nothing new since the last, a compaction neither, it does nothing. -ENOSPC
 * and such: passes by itself, the log has everything. Another error is for
 * good: the store is read-only then. Any thread but the leader.
 */
int store_checkpoint(struct store *s, bool all);

/*
 * Writes g, which is being made by the caller, to its files, if more of its
 * vectors than a checkpoint waits for are in memory alone. Errors as
 * collection_save. Any thread but the leader.
 */
int checkpoint_spill(struct store *s, struct generation *g);

/* Why it could not be made, for a line of the log. */
const char *checkpoint_strerror(int rc);

/* bytes were logged. The leader. */
void checkpoint_note(struct store *s, size_t bytes);

#endif
