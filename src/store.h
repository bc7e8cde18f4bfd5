/* SPDX-License-Identifier: Apache-2.0 */
/* store.h: the state machine: changes go in, are made durable, then applied. */
#ifndef VG_STORE_H
#define VG_STORE_H

#include "src/catalogue.h"
#include "src/collection.h"
#include "src/op.h"

/*
 * The one rule of state: only store_apply changes it, in lsn order, after the
 * op is in the log; a restart replays the log through the same function.
 *
 * A change says what somebody wants ("this vector under this id, unless there
 * is one"); the committer checks it against the present, reserves what it
 * needs, turns it into an op, which says the outcome, and logs it. Changes
 * that wait share one sync. Then the ops are applied, one moment is published
 * for all of them, and each commit's done() is called.
 *
 * Lock order of the program. A thread that holds a lock takes only locks that
 * stand below it. None is held across a FUSE reply or a done(), nor across I/O
 * but where it says so.
 *
 *   fs: node table lock -> handle lock      (fs/node.h, fs/handle.h)
 *   compactor->run_lock   one compaction at a time
 *   tuner->run_lock       one measurement at a time
 *   checkpoint->run_lock  one checkpoint at a time; held across I/O
 *   store->queue_lock     the queue of commits, who leads
 *   catalogue->lock       names of collections
 *   collection_file->loading  indexes of fields are read once; held across I/O
 *   indexer->lock         work, held commits
 *   cell graph locks      per node, inside index/
 *   collection->lock      config, attributes
 *   store->error_lock     the ring of errors
 *   store->scratch_lock   free search scratch
 *   moments->lock
 *   checkpoint->lock      whether one is wanted
 *   compactor->lock       whether it is to stop
 *   recall->lock          samples of queries, what was measured
 *   tuner->lock           whether there is something to measure
 */
struct store;
struct io;

/* When close() may return. */
enum store_durability {
	STORE_CLOSE, /* when the change is on stable storage */
	STORE_FSYNC, /* at once: fsync() makes it so */
	STORE_ASYNC, /* at once: within a second it is */
};

struct store_config {
	const char *dir;
	enum store_durability durability;
	unsigned indexers;   /* threads; 0: one for each CPU */
	unsigned wait_ms;    /* for another owner of dir to end */
	uint64_t segment_size; /* of the log; 0: its default */
	uint64_t checkpoint_bytes; /* of the log between two; 0: 64 MiB,
				      or a 16th of the memory if that is less;
				      UINT64_MAX: never, not at the end either */
	uint64_t spill_bytes; /* of vectors that a compaction carries over
				 before it writes them to files; 0: as
				 checkpoint_bytes */
	bool no_compaction; /* but by store_compact */
	bool no_tuning;	    /* but by store_tune */
	bool has_grace;	 /* else an hour */
	double grace_s;	 /* that files of older manifests stay */
	bool is_recovery; /* take what is intact, write nothing... */
	bool is_check;	  /* ...and link nothing either */
	bool no_uring;
	bool try_uring; /* measure, and use it only where it is not slower */
	struct io *io; /* borrowed: the disk, for tests, which serves several
			  threads; NULL: the system's */
	_Atomic uint32_t *next_gen; /* borrowed: outlives a kill of the process;
			  0 at first. No number of a generation is given that
			  was given over it before. NULL: after a kill the
			  next life may give some of the last one's again */
	bool will_settle; /* store_settle is called: before it no compaction
			     begins by itself */
	bool has_dirfd; /* dir is not looked at, nor locked, but... */
	int dirfd;	/* ...this, borrowed from io */
};

/* What opening found, and why it failed. */
struct store_report {
	uint64_t manifest; /* number of the one that was opened; 0: none */
	uint64_t replayed; /* ops */
	uint64_t cut_len;  /* bytes of a torn tail that was cut */
	bool is_begun; /* of a copy: the log ends where a segment was begun that
			  is not there */
	uint32_t n_losses; /* is_recovery: what could not be read; each is an
			      error of the store and a line of the log */
	bool uring;
	char error[512]; /* one sentence, when store_open failed */
};

/*
 * Takes the data directory (made if it is missing), replays its log and starts
 * the threads. *out is returned owned. rep is always written.
 * -EBUSY: another process owns it (rep names its pid); -VG_ECORRUPT;
 * -VG_EFORMAT; any errno of the file system. Before threads are made.
 *
 * is_recovery: nothing on the disk is changed, every change is refused with
 * -EROFS. Of the manifests that with the most intact collections is taken,
 * those that are damaged are left out, and the log is replayed up to where it
 * is damaged.
 */
int store_open(const struct store_config *cfg, struct store_report *rep,
	struct store **out);

/* Waits for what is queued, syncs, ends the threads, frees. All references to
 * collections and moments were given back. NULL is allowed. */
void store_close(struct store *s);

/* To be called once who knows of files that were open before a crash has held
 * what they show (struct hold): the rest of that may go. */
void store_settle(struct store *s);

/* Waits until every commit was answered, also those that wait for the
 * indexers: these are answered now. Nothing commits any more. */
void store_quiesce(struct store *s);

struct catalogue *store_catalogue(struct store *s);
struct moments *store_moments(struct store *s);

/* What a change does to metadata. */
enum change_meta {
	CHANGE_META_KEEP,    /* as it was; none for a new record */
	CHANGE_META_REPLACE, /* `meta` instead */
	CHANGE_META_MERGE,   /* keys of `meta` replace, null removes */
	CHANGE_META_SET,     /* the one key `key` becomes `meta` */
	CHANGE_META_REMOVE,  /* the one key `key`; -ENODATA without it */
};

enum change_flags {
	CHANGE_EXCL = 1 << 0,	  /* PUT: -EEXIST if id exists */
	CHANGE_NOREPLACE = 1 << 1, /* RENAME, MOVE, ALIAS: -EEXIST */
	CHANGE_REINFER = 1 << 2,  /* PUT: the writer still has the file open:
				     if it is the only record, dim may change */
	CHANGE_TIME = 1 << 3,	  /* time_ns was given */
	CHANGE_KEY_NEW = 1 << 4,  /* META_SET: -EEXIST if key exists */
	CHANGE_KEY_OLD = 1 << 5,  /* META_SET: -ENODATA if it does not */
	CHANGE_MODE = 1 << 6,	  /* ATTR: mode is given */
	CHANGE_UID = 1 << 7,
	CHANGE_GID = 1 << 8,
	CHANGE_MUST_EXIST = 1 << 9, /* PUT: -ENOENT unless id exists */
	CHANGE_IF = 1 << 10, /* PUT, SET, DEL: -ESTALE unless id is what it
				was: its version began at if_begin, or there
				was none, 0 */
};

/*
 * One change. What is asked is the caller's, borrowed until done(); what is
 * answered is written before it.
 */
struct change {
	enum op_type type;
	unsigned flags; /* enum change_flags */
	struct collection *coll; /* borrowed: referenced by the caller; all but
				    CREATE, ALIAS, UNALIAS and ATTR of the
				    root, which must then give mode, uid, gid
				    if none were given before */
	struct vg_id id;  /* records; CONFIG: the key, empty: all as JSON */
	struct vg_id id2; /* RENAME */
	struct vg_id name; /* CREATE, MOVE, ALIAS, UNALIAS */
	struct vg_id target;
	const void *vec; /* PUT: dim elements of dtype */
	uint32_t dim;
	enum vg_dtype dtype; /* 0: VG_F32; the collection's, or -EINVAL */
	uint8_t source;	   /* enum op_source */
	uint32_t body_len; /* bytes vec was parsed from */
	enum change_meta meta_mode;
	struct meta meta; /* stored form; CONFIG: the value as written */
	struct vg_id key; /* META_SET, META_REMOVE */
	int64_t time_ns;
	uint64_t if_begin; /* CHANGE_IF */
	struct op_attr attr; /* CREATE, ATTR */
	struct op_origin origin;
	bool is_repeat; /* the request came before: answer it from its origin if
			   it was applied then */

	int rc;		  /* answered */
	uint32_t version; /* answered: PUT, SET, RENAME */
	char why[192];	  /* answered: a sentence if rc < 0 */

	struct op op; /* the committer's, from here on */
	struct reservation r;
	struct meta_buf meta_buf;
	struct op_place *more;
};

/* A record as somebody saw it: begin of its version; 0: there was none. */
struct commit_read {
	struct collection *coll; /* borrowed until done() */
	struct vg_id id;	 /* borrowed likewise */
	uint64_t begin;
};

/*
 * Changes that go in together: each succeeds or fails by itself. done() is
 * called exactly once, from any thread, under no lock; it may free the commit.
 * With n == 0 and `sync` it is an fsync: done() when all that was committed
 * before is on stable storage.
 *
 * is_atomic: all succeed or none, whatever happens: they are one frame of the
 * log and appear in one moment. They are PUT, SET and DEL of different ids of
 * one collection, COMMIT_ATOMIC_MAX at most, none a repeat but all. -ESTALE: an
 * id of `reads` is not what it was, or a change's is not; -EFBIG: they do not
 * fit into a frame. commit->why has a sentence.
 */
#define COMMIT_ATOMIC_MAX 4096u

struct commit {
	struct change *changes;
	uint32_t n;
	bool is_atomic;
	const struct commit_read *reads; /* is_atomic: n_reads of them */
	uint32_t n_reads;
	char why[192]; /* answered: is_atomic, if rc < 0 */
	bool sync; /* durable before done(), whatever the mode */
	bool hand_over; /* to the committer's thread: the caller has other work
			   to do meanwhile, and a wake-up costs it nothing */
	int rc;	   /* answered: the first change's error, or the sync's */
	void (*done)(struct commit *commit);
	void *ctx; /* the caller's */
	void (*at_rest)(struct commit *commit); /* or NULL; with n == 0 and
		sync: called when all before it is durable and published, and
		nothing behind it was begun. By the leader, who holds no lock */
	struct commit *next; /* the store's */
	struct cell *cell;   /* the store's: whose tail it made longer */
};

/*
 * Queues a commit. If nobody commits right now, the calling thread does it,
 * and may be in I/O for one group, unless the commit is to be handed over;
 * else it returns at once. Any thread.
 * Errors come in commit->rc and each change's: -ENOENT, -EEXIST, -EINVAL,
 * -ENODATA, -ENOTEMPTY, -EBUSY, -EFBIG, -ENOTDIR, -ESTALE; -ENOSPC and
 * -ENOMEM: nothing
 * was changed; -EIO: the sync failed, whether the change is there is unknown;
 * -EROFS: an earlier sync failed.
 */
void store_commit(struct store *s, struct commit *commit);

/* store_commit and wait for done; for tests and callers with a thread of
 * their own. Returns commit->rc. */
int store_commit_wait(struct store *s, struct commit *commit);

/* A search. */
struct search {
	const void *vec; /* dim elements of dtype */
	uint32_t dim;
	enum vg_dtype dtype; /* 0: VG_F32 */
	uint32_t k;  /* hits wanted, offset included: 1..VG_K_MAX + 1 */
	uint32_t ef; /* 0: the collection's ef_search (config_ef_search) */
	uint32_t nprobe; /* lists of an inverted file; 0: as ef has it */
	bool exact;  /* scan every row */
	const struct vg_id *leave_out; /* ids that are not wanted, each once */
	uint32_t n_leave_out;
	struct match *match; /* of this look: what is wanted; NULL: all */
	struct collapse *collapse; /* of both: the nearest of each group is
				      wanted; NULL: all */
	const _Atomic bool *cancel; /* polled; NULL: never */
};

struct search_hit {
	float dist;
	uint32_t slot;
	const struct version *version; /* borrowed from the look's generation */
};

/*
 * Finds the k best of what look shows, ordered by (dist, id). hits has
 * room for search->k; *n is how many there are. A search counts once in
 * coll->searches; its query may be kept as a sample (src/recall.h). -EINVAL:
 * another dim or dtype than the collection's, or a zero vector under cosine; -EINTR:
 * cancelled, hits has the best seen until then; -ENOMEM. Any thread.
 */
int store_search(struct store *s, const struct look *look,
	const struct search *search, struct search_hit *hits, uint32_t *n);

/* Whether a search for k with ef and no filter compares all rows, as the
 * index would cost as much, or there is none, or one that has learnt no lists
 * yet: it is exact then. Any thread. */
bool store_search_is_scan(const struct cell *cell, uint32_t ef, uint32_t k);

/* About how many bytes such a search would read: whether to hand it to a
 * thread of its own. Any thread. */
uint64_t store_search_cost(
	const struct look *look, const struct search *search);

/* Why the store refuses changes, or NULL: it does not. Any thread; for good. */
const char *store_read_only(struct store *s);

/* A line of errors.ndjson: what a user did that was refused. */
struct store_error {
	int64_t time_ns;
	uint32_t pid, uid;
	int rc;
	char path[320];
	char why[192];
};

/* Remembers the last 1,000, and in c (may be NULL) as last_error. */
void store_error_add(struct store *s, struct collection *c,
	const struct store_error *e);

/* Copies the nth newest (0, 1, ...). -ENOENT: there are no more. */
int store_error_get(struct store *s, uint32_t nth, struct store_error *out);

struct store_stat {
	uint64_t lsn, syncs, log_bytes;
	uint64_t pending; /* slots to be linked in all collections */
	uint64_t checkpoints, compactions; /* made since the open */
	bool uring;
};
void store_stat(struct store *s, struct store_stat *out);

/* What c (no snapshot) keeps beside its present. */
struct store_kept {
	uint32_t snapshots;
	uint64_t pinned_bytes; /* vectors, metadata and versions of generations
				  that only snapshots show, or open files */
	uint64_t grace_bytes; /* files that the newest manifest does not name:
				 for copies that were begun before it */
};

/* Reads names and sizes of files. -ENOMEM; errno of the disk. Any thread. */
int store_kept(struct store *s, struct collection *c, struct store_kept *out);

/* Borrowed: the data directory's descriptor, for statfs. */
int store_dirfd(const struct store *s);

/* Every collection's invariants and the store's own, for tests: as
 * collection_check. Waits until all rows are linked; nothing may commit. */
int store_check(struct store *s, const char **why);

#endif
