/* SPDX-License-Identifier: Apache-2.0 */
/* store_int.h: what store.c, commit.c, plan.c and search.c share. */
#ifndef VG_STORE_INT_H
#define VG_STORE_INT_H

#include <pthread.h>

#include "src/checkpoint.h"
#include "src/compact.h"
#include "src/identity.h"
#include "src/indexer.h"
#include "src/origins.h"
#include "src/store.h"
#include "src/tune.h"
#include "src/wal.h"

struct hnsw_scratch;
struct ivf_scratch;

/* Changes of one group: past it the group is written. */
#define BATCH_MAX 4096u
#define BATCH_BYTES (16u << 20)
#define TOUCHED (4 * BATCH_MAX) /* places of the set of touched ids */

/* The group that is being put together; the leader's alone. */
struct batch {
	struct change *change[BATCH_MAX];
	uint32_t n;
	size_t bytes;
	bool is_alone;	       /* it holds a change that must be alone */
	struct moment *next;   /* the moment it will make; NULL: none yet */
	struct commit *first;  /* commits that are not answered yet */
	struct commit *last;
	uint64_t touched[TOUCHED]; /* hashes of ids; valid if in this round */
	uint32_t round_of[TOUCHED];
	uint32_t round;
	uint8_t *buf; /* an op's bytes */
	size_t buf_cap;
};

struct scratch {
	struct scratch *next;
	struct hnsw_scratch *hnsw;
	struct ivf_scratch *ivf;
	struct hit *hits; /* room for cap */
	size_t cap;
};

#define ERRORS_KEPT 1000u

struct store {
	struct io plain;
	struct io *io; /* borrowed, or plain: every file but the lock */
	int dirfd, lockfd, waldirfd; /* -1: not open */
	bool is_lent; /* dirfd is the caller's */
	enum store_durability durability;
	uint8_t uuid[16];
	struct wal *wal; /* the leader's */
	struct catalogue catalogue;
	struct moments moments;
	struct indexer indexer;
	struct checkpointer checkpoint;
	struct compactor compactor;
	struct tuner tuner;
	bool uring;
	bool is_open; /* a checkpoint may be made */
	bool is_recovery;
	_Atomic bool is_settled; /* store_settle was called, or will not be */
	_Atomic uint32_t *next_gen; /* of store_config */
	uint32_t n_losses; /* is_recovery: noted so far */
	struct identity identity;
	enum identity_state identity_state; /* as it was found */

	pthread_mutex_t queue_lock;
	pthread_cond_t queue_cond; /* the committer's: take over, or stop */
	pthread_cond_t idle_cond;  /* nobody leads and nothing is queued */
	pthread_cond_t sync_cond;  /* the syncer's: stop */
	struct commit *queue, **queue_end; /* queue_lock */
	bool is_led;			   /* queue_lock */
	bool is_handed_over;		   /* queue_lock: to the committer */
	bool is_stopping;		   /* queue_lock */
	bool is_unsynced; /* queue_lock: async: written, not synced */
	pthread_t committer, syncer;
	bool has_committer, has_syncer;

	struct batch batch; /* the leader's */
	struct origins origins; /* the leader's */

	_Atomic(const char *) read_only; /* a constant; set once */

	pthread_mutex_t error_lock;
	struct store_error *errors; /* error_lock: a ring */
	uint64_t n_errors;	    /* error_lock: ever */

	pthread_mutex_t scratch_lock;
	struct scratch *scratch; /* scratch_lock: free ones */
};

/* commit.c: threads of the committer. */
int commit_init(struct store *s);
void commit_fini(struct store *s);

/* plan.c: where id's version began, 0: there is none. The leader. */
uint64_t plan_begin_of(const struct collection *c, struct vg_id id);

/* plan.c: checks change against the present and fills change->op but for its
 * places. 0; 1: there is nothing to do, it succeeded; or an error with
 * change->why. The leader. */
int plan_change(struct store *s, struct change *change);

/* Whether change must stand alone in its group. The leader. */
bool plan_is_alone(const struct change *change);

/* The ids a change touches, as hashes. Returns how many (0..2). */
unsigned plan_touched(const struct change *change, uint64_t out[2]);

/* group_add.c: whether change must not be in the group that is being made;
 * plans it and puts it in: an error is the change's alone, 1: there is nothing
 * to do; gives back what it took. The leader. */
bool group_conflicts(const struct batch *b, const struct change *ch);
int group_add(struct store *s, struct change *ch);
void group_unreserve(struct store *s, struct change *ch);

/* group_add.c: the steps of it. prepare plans, reserves and gives places, in the
 * next moment; unprepare takes the last one back; enter puts a change that is
 * in the log into the group. encode writes op into b->buf, *len bytes. The
 * leader. */
int group_prepare(struct store *s, struct change *ch);
void group_unprepare(struct store *s, struct change *ch);
void group_enter(struct store *s, struct change *ch);

/* group_atomic.c: group_add of all changes of an atomic commit, or of none; the
 * group is empty. The leader. */
int group_add_all(struct store *s, struct commit *commit);

/* Reserves what op, of coll, needs; before it renews a generation that has
 * snapshots and would get a new cell. -ENOMEM, -ENOSPC. The leader, and who
 * replays. */
int group_reserve(struct store *s, struct collection *coll,
	const struct op *op, struct reservation *r);

/* group.c: runs a queue's worth of commits, in groups, and answers them. The
 * leader. */
void group_run_queue(struct store *s, struct commit *queue);

/* group.c: ends the store's life as one that takes changes; for good. `what`
 * is a constant that says which write failed. */
void store_fail(struct store *s, int rc, const char *what);

/* store.c: notes what a recovery could not read: path is a collection's or a
 * file's. While the store is opened. */
void store_note_loss(struct store *s, const char *path, const char *why);

/* replay.c: opens the log at `from` and applies what is in it. rep->error has a sentence
 * if it is damaged or does not fit. Errors as store_open. */
int replay_log(struct store *s, const struct store_config *cfg,
	const struct wal_place *from, struct store_report *rep);

/* search.c: store_search without counting it or sampling its query. Any
 * thread. */
int search_run(struct store *s, const struct look *look,
	const struct search *q, struct search_hit *hits, uint32_t *n);
void search_fini(struct store *s);

/* store.c: applies op, whose needs were reserved; cannot fail. The only way
 * the state changes. */
void store_apply(struct store *s, struct collection *coll, const struct op *op,
	struct reservation *r);

/* Counts the change in coll (NULL: the catalogue's), once the moment that
 * shows it is published: who reads the count first never takes an old answer
 * for a new one. */
void store_published(struct collection *coll, const struct op *op);

#endif
