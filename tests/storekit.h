/* SPDX-License-Identifier: Apache-2.0 */
/* storekit.h: what tests of the store share: changes in one line, a model. */
#ifndef TESTS_STOREKIT_H
#define TESTS_STOREKIT_H

#include <pthread.h>
#include <sys/types.h>

#include "src/store.h"

/* The bytes of a C string as an id; borrowed. */
struct vg_id sk_id(const char *s);

/* Opens dir, or ends the test. cfg NULL: as a mount without options does. */
struct store *sk_open(const char *dir, const struct store_config *cfg);

/* store_search of the present. The hits' versions are borrowed from the
 * generation that is the newest: nothing may compact meanwhile. */
int sk_search(struct store *s, struct collection *c, const struct search *q,
	struct search_hit *hits, uint32_t *n);

/* One change, committed and waited for: its error. */
int sk_run(struct store *s, struct change *ch);

/* The collection of a name, referenced: made, or NULL if there is none. */
struct collection *sk_make(struct store *s, const char *name);
struct collection *sk_get(struct store *s, const char *name);

/* Sets a setting: config_parse's errors. */
int sk_config(struct store *s, struct collection *c, const char *key,
	const char *value);

/* A snapshot, taken and removed; collection_find_snap finds it, and what is
 * below works with it as with a collection. */
int sk_snap(struct store *s, struct collection *c, const char *name);
int sk_unsnap(struct store *s, struct collection *c, const char *name);

/* Vector number n, the same for ever and no two alike; dim <= SK_DIM_MAX. */
#define SK_DIM_MAX 64
const float *sk_vec(unsigned n, unsigned dim, float out[SK_DIM_MAX]);

/* Changes of one record. put writes sk_vec(n, dim). */
struct sk_put {
	const char *id;
	unsigned n, dim, flags;
};
int sk_put(struct store *s, struct collection *c, struct sk_put put);
int sk_del(struct store *s, struct collection *c, const char *id);
int sk_rename(struct store *s, struct collection *c, const char *from,
	const char *to);
int sk_meta(struct store *s, struct collection *c, const char *id,
	enum change_meta mode, const char *json);

/* What the present shows: a version's number or VERSION_NONE; its metadata as
 * text, "" for none, "?" without the record. Borrowed till the next call. */
uint32_t sk_find(struct store *s, struct collection *c, const char *id);
const char *sk_meta_of(struct store *s, struct collection *c, const char *id);

/* The id nearest to sk_vec(n, dim), "" for none; borrowed till the next. */
const char *sk_nearest(struct store *s, struct collection *c, unsigned n,
	unsigned dim, bool exact);

/* Filters by the model's field, and by as many that no record has as let a
 * checkpoint find what they index worth a file; of some 40 versions and more. */
void sk_index(struct store *s, struct collection *c);

/* Whether filters mean of c's records, a snapshot or not, what each one's
 * metadata says. */
bool sk_is_filtered(struct store *s, struct collection *c);

/* Waits until every row is linked. */
void sk_wait_linked(struct store *s);

/* store_check as one result: "the store is sound". */
void sk_is_sound(struct store *s);

/*
 * A model: what a collection of SK_IDS possible ids should hold. Ids are "0"
 * to "39"; n is the vector's number, y the value of metadata's only key, 0 for
 * none. sk_step draws a change, tells the model, and commits it to the store.
 */
#define SK_IDS 40
#define SK_DIM 6
struct sk_model {
	struct sk_record {
		bool exists;
		unsigned n;
		unsigned y;
	} of[SK_IDS];
	unsigned next_n;   /* the next vector's number */
	uint64_t random;   /* the state of its dice */
	unsigned n_changes; /* that were to succeed */
};

/* Draws from 0..below-1. */
unsigned sk_draw(struct sk_model *m, unsigned below);

/* One random change of c, to the model and to the store. Whether the store
 * answered as the model says it must. */
bool sk_step(struct sk_model *m, struct store *s, struct collection *c);

/* At least n steps, and until some record exists: some seeds delete all. */
void sk_steps(struct sk_model *m, struct store *s, struct collection *c,
	unsigned n);

/* Whether c's present is the model: records, vectors, metadata, count,
 * listing. What differs is told as a diagnostic. */
bool sk_is_model(const struct sk_model *m, struct store *s,
	struct collection *c);

/* Whether c has a snapshot of that name, and it is the model. */
bool sk_is_snap(const struct sk_model *m, struct store *s,
	struct collection *c, const char *name);

/* Changes one bit of the byte at `at` of a file; again: it is as it was. */
void sk_flip(const char *path, off_t at);

/*
 * While a gate is shut nobody commits: what comes meanwhile is queued, in
 * order, and becomes one queue's worth when the gate opens. Opening waits for
 * nothing that was queued. Gates are static: the committer may touch one for
 * a moment after it opened.
 */
struct sk_gate {
	struct store *store;
	struct commit commit;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_shut, is_open; /* lock */
};
void sk_gate_shut(struct sk_gate *g, struct store *s);
void sk_gate_open(struct sk_gate *g);

/* A commit one can ask whether it was answered, and wait for. */
struct sk_ask {
	struct commit commit;
	_Atomic bool is_done;
	uint64_t lsn_then; /* the durable one, when it was answered */
	uint32_t nth;	   /* of all that were answered, from 1 on */
	struct store *store;
};
void sk_ask(struct store *s, struct sk_ask *ask, struct change *ch, uint32_t n);
int sk_ask_wait(struct sk_ask *ask);

/* A copy of the data directory from in place of to, LOCK left out. */
void sk_copy(const char *from, const char *to);

#endif
