/* SPDX-License-Identifier: Apache-2.0 */
/* stage.h: files that are being written: bytes that are no record yet. */
#ifndef FS_STAGE_H
#define FS_STAGE_H

#include <pthread.h>

#include "fs/arena.h"
#include "fs/name.h"
#include "src/catalogue.h"
#include "src/collection.h"
#include "src/record.h"

/*
 * A stage holds what was written to a file until its close() makes a change of
 * it. There are two ways to one:
 *
 *   open for writing of what exists   a stage of its own, without a name: who
 *                                     reads the name meanwhile sees the old
 *   create                            a named stage: the name resolves to it
 *                                     until the first commit, whose record
 *                                     takes the name over
 *
 * A transaction is a directory of stages, each for a record that was looked up
 * in it: what it was then, and what was made of it (fs/ops_tx.c).
 *
 * A name with a leading dot stays a stage whatever is in it; renaming it to an
 * undotted one makes the record. Bytes, name, metadata and all else that the
 * next daemon must know are in the arena: whoever changes a field of a stage
 * ends with stages_save, before he answers.
 */
enum stage_area {
	STAGE_RECORD = 1, /* c/ID: form RECORD_ANY */
	STAGE_AS = 2,	  /* c/.as/FORM/ID */
	STAGE_META = 3,	  /* c/.meta/ID */
	STAGE_QUERY = 4,  /* c/query/NAME */
	STAGE_IF = 5,	  /* c/.if=KEY/ID */
	STAGE_TX = 6,	  /* c/.tx/NAME/ID, KEY is that of the directory... */
	STAGE_TX_DIR = 7, /* ...which is a stage too: its serial */
};

/* Where a name stands. */
struct stage_place {
	struct collection *coll; /* borrowed */
	enum stage_area area;
	enum record_form form; /* STAGE_AS */
	struct vg_id name;     /* as in the directory */
	uint64_t key;	       /* STAGE_IF, STAGE_TX */
};

struct stage {
	struct stage *next;    /* stages->lock: of the list */
	uint64_t serial;       /* its nodeid's low part */
	struct collection *coll; /* referenced */
	enum stage_area area;
	enum record_form form;
	uint64_t key;
	uint32_t file;	  /* of the arena */
	uint32_t uid;	  /* of who made it */
	uint32_t n_refs;  /* stages->lock: handles and work on it */
	_Atomic uint32_t n_open; /* relaxed: handles that write to it */
	bool is_named;	  /* stages->lock: the name resolves to it */
	int offered_pid;  /* stages->lock: whose next open it awaits; 0: none,
			   * -1: of another pid namespace */
	int64_t offered_ns; /* stages->lock: since when, clock_now_ns */
	uint32_t name_len; /* stages->lock: rename moves it */
	char name[NAME_LEN_MAX + 1];

	pthread_mutex_t lock; /* bytes, and below; held for no I/O */
	bool is_new;	  /* CREATE made it: the record starts afresh */
	bool is_excl;	  /* with O_EXCL: checked again at commit */
	bool is_dirty;	  /* bytes were written since the last commit */
	bool is_failed;	  /* a write was refused: the bytes are not all */
	bool is_refused;  /* its last commit failed, and close() said so */
	bool is_unlinked; /* rm took the name: it becomes no record any more */
	bool is_committed; /* a record was made of it */
	bool is_of_record; /* made for one that existed: it makes none anew */
	bool is_meta_set;  /* STAGE_TX: its metadata was changed */
	uint32_t raw_len; /* STAGE_TX: bytes of the vector that the body is, as
			     far as close() took it; 0: it did not */
	uint64_t if_begin; /* STAGE_TX: where the record's version began when
			      it was looked up first; 0: there was none */
	uint32_t n_in_flight; /* commits that are not answered yet */
	bool has_mtime;	  /* mtime was set: it goes with the next commit */
	int64_t mtime_ns;
	uint32_t meta_off, meta_len; /* where in ARENA_META its metadata is */
	uint64_t original; /* bytes of what it was opened on without O_TRUNC;
			      0: none: it cannot grow beyond them */
	int64_t touched_ns; /* when, by the clock on the wall: stat tells it */
	int64_t used_ns; /* the same by clock_now_ns: for the 24 h after which
			    staging goes */
};

/* Where st stands; borrows of it. Its name may be moved by a rename. */
static inline struct stage_place stage_place_of(const struct stage *st)
{
	return (struct stage_place){st->coll, st->area, st->form,
		{st->name, st->name_len}, st->key};
}

#define STAGE_KEPT_NS (24 * 3600 * 1000000000LL)

/* Who opened a stage for writing that had just become a record: his next
 * lookup of a record is that open's second and last try. */
struct stage_miss {
	int pid;
	bool is_trunc;
	int64_t at_ns; /* clock_now_ns */
};

#define STAGE_MISSES 64u

/* In the arena's small region, from STAGE_MISSES_OFF on. */
struct stage_misses {
	struct stage_miss miss[STAGE_MISSES]; /* a ring */
	uint32_t n;			      /* ever */
};
#define STAGE_MISSES_OFF 4096u

struct stages {
	pthread_mutex_t lock;
	struct stage_misses *misses; /* lock; borrowed of the arena */
	_Atomic int64_t miss_ns; /* of the last; relaxed: 0 mostly */
	struct stage *list;
	struct arena *arena; /* borrowed */
};

/* -ENOSPC: the arena has no memory. */
int stages_init(struct stages *ss, struct arena *arena);

/* Frees what is known of the stages; they stay in the arena. */
void stages_fini(struct stages *ss);

/* Finds the stages that a former daemon left, but for those whose collection is
 * gone. References are not restored: who has one takes it by stages_get, and
 * then stages_expire lets the others go. -ENOMEM. Before threads are made. */
int stages_load(struct stages *ss, struct catalogue *cat);

/*
 * The staged metadata, borrowed until it is put; and put, copied, all at once
 * for who comes after a crash when stages_save returns. Under st->lock. -ENOSPC.
 */
struct meta stages_get_meta(struct stages *ss, const struct stage *st);
int stages_put_meta(struct stages *ss, struct stage *st, struct meta meta);

/* Tells the arena what st is like now. Takes ss->lock and st->lock. */
void stages_save(struct stages *ss, struct stage *st);

/*
 * Makes a stage; named: its name resolves. Referenced: stages_unref. -EEXIST:
 * the name has a stage. -ENOSPC: the arena is full; -ENOMEM.
 */
int stages_add(struct stages *ss, const struct stage_place *place,
	bool is_named, uint32_t uid, struct stage **out);

/* The stage of a name or nodeid, referenced, or NULL. */
struct stage *stages_get_name(
	struct stages *ss, const struct stage_place *place);
struct stage *stages_get(struct stages *ss, uint64_t serial);

/*
 * Makes a stage without a name for what pid is about to open for writing: he
 * finds it by stages_get_offer until he opens it (stages_accept), is offered
 * another, or minutes are over. pid is the thread's; 0: of another pid
 * namespace. Referenced. Errors as stages_add.
 */
int stages_offer(struct stages *ss, const struct stage_place *place,
	uint32_t uid, int pid, struct stage **out);
struct stage *stages_get_offer(
	struct stages *ss, const struct stage_place *place, int pid);
void stages_accept(struct stages *ss, struct stage *st);

/* st is not opened for writing after all. Returns whether it was offered. */
bool stages_withdraw(struct stages *ss, struct stage *st);

/* pid's open for writing is refused because its stage is gone; and whether one
 * of his was just now (taken: it is told once). */
void stages_put_miss(struct stages *ss, int pid, bool is_trunc);
bool stages_take_miss(struct stages *ss, int pid, bool *is_trunc);

/* Gives a reference back. A stage without a name goes with the last one. */
void stages_unref(struct stages *ss, struct stage *st);

/* Whether its name resolves to it. Any thread. */
bool stages_has_name(struct stages *ss, const struct stage *st);

/* Makes the name of a stage that was filled resolve to it. -EEXIST: it does to
 * another. */
int stages_put_name(struct stages *ss, struct stage *st);

/* Takes the name away; at the last unref the bytes go. */
void stages_del_name(struct stages *ss, struct stage *st);

/* Gives it another name of the same collection, area and form; what had that
 * goes. */
void stages_rename(struct stages *ss, struct stage *st, struct vg_id name);

/* A record has another name: who is writing to it goes on under that, but for
 * transactions, to which it is another record. */
void stages_follow(struct stages *ss, const struct collection *coll,
	struct vg_id from, struct vg_id to);

/* The next named stage of a collection's area behind serial `from`, for
 * emptying a directory; referenced, or NULL. */
struct stage *stages_next(struct stages *ss, const struct collection *coll,
	uint64_t from);

/* All named stages of an area with that key, oldest first: *out is owned, and
 * each in it referenced. -ENOMEM. */
int stages_list(struct stages *ss, const struct stage_place *of,
	struct stage ***out, uint32_t *n);

/* Its bytes were changed, now. st->lock. */
void stage_touch_locked(struct stage *st);

/* Lets stages that nobody touched for 24 h go, by clock_now_ns: a day is a day
 * though somebody sets the clock on the wall. Those of a transaction go when it
 * does. */
void stages_expire(struct stages *ss, int64_t now_ns);

#endif
