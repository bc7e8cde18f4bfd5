/* SPDX-License-Identifier: Apache-2.0 */
/*
 * powerkit_life.h: one life of a store on a simulated disk, and what may be
 * true of it after a power cut. For powerkit.c only.
 *
 * A life takes changes that are drawn, and notes what was begun, answered and
 * made durable. What is wrong is told once, in life.why; those that answer
 * with bool give false then. One thread, but for the history.
 */
#ifndef TESTS_POWERKIT_LIFE_H
#define TESTS_POWERKIT_LIFE_H

#include <pthread.h>

#include "tests/powerkit.h"
#include "tests/powermodel.h"
#include "tests/witness.h"

#define CHANGES_MAX 8 /* of a commit */
#define MORE 12	      /* steps of a life that follows a power cut */

/* What was, what may be, what is promised. */
struct history {
	pthread_mutex_t lock; /* all below; a leaf under the disk's */
	struct pm_state *of;  /* owned: after each change, from none on */
	uint32_t cap;
	uint32_t n;	/* after the last that was begun */
	uint32_t told;	/* after the last that was answered with 0 */
	uint32_t acked; /* after the last that is durable */
};

struct life {
	const struct pk_config *cfg;
	struct sim *sim;
	struct io *wrapped; /* NULL: the disk's own table is used */
	struct store *s;    /* NULL: closed, or being opened */
	struct generation *held; /* referenced, as by an open file; or NULL */
	struct hold hold;
	struct history h;
	uint64_t dice;
	uint32_t next_n;	/* of a vector */
	uint64_t judged;	/* power cuts of a run */
	struct copy *copy;	/* of a run: the one under way, or NULL */
	struct witness witness; /* of a run */
	bool is_faulty;		/* calls may fail */
	struct pk_tally *t;	/* of the run; NULL: nothing is counted */
	char why[400];		/* the first thing that is wrong; "": nothing */
};

/* One with room for cap states, the empty one in it; ended by history_fini. */
void history_init(struct history *h, uint32_t cap);
void history_fini(struct history *h);

/* A new one, with room for the steps of another life. */
void history_copy(struct history *h, struct history *out);

/* What is there after a start on the same kernel is promised. */
void history_all_durable(struct history *h);

/* Notes what is wrong, if nothing was before. Returns false. */
bool VG_PRINTF(2, 3) life_wrong(struct life *l, const char *fmt, ...);

/* Opens the store; 0, or what store_open says. */
int life_start(struct life *l, struct store_report *rep);

/* Opens it and looks whether it is one of the states from lo on. */
bool life_open(struct life *l, uint32_t lo, const char *when);
void life_close(struct life *l);

/* Holds g, whose reference it takes, in place of what it held; or NULL. */
void life_hold(struct life *l, struct generation *g);

/* Ends what stands between a store that was closed and its disk. */
void life_unwrap(struct life *l);

/* Whether the store holds a state of the history, from number lo on. */
bool life_is_known(struct life *l, uint32_t lo, const char *when);

/* Whether every invariant holds. */
bool life_is_sound(struct life *l, const char *when);

/* Whether a call may answer so: its disk is full or fails. */
bool life_is_excuse(const struct life *l, int rc);

/* A drawn step, or a checkpoint; 0, or what the store answered. */
int life_step(struct life *l);
int life_checkpoint(struct life *l);

#endif
