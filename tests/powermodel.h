/* SPDX-License-Identifier: Apache-2.0 */
/* powermodel.h: what a store must hold after each change, for power cuts. */
#ifndef TESTS_POWERMODEL_H
#define TESTS_POWERMODEL_H

#include "src/store.h"

/*
 * A state is all that users see of a store with a few names and ids: which
 * name is a collection or a link, settings, modes, and each record's vector,
 * metadata and time. Two states are the same if their bytes are.
 *
 * Vectors are known by their number: pm_vec(n, dim) is the same for ever, and
 * says n in its first element.
 */
#define PM_NAMES 5
#define PM_IDS 12
#define PM_DIM_MAX 9
#define PM_SNAPS 2

struct pm_record {
	uint32_t n; /* the vector's number; 0: there is no such record */
	uint32_t dim;
	uint32_t y; /* the value of metadata's only key; 0: none */
	uint32_t zero;
	int64_t mtime_ns;
};

/* A snapshot: what its collection was. */
struct pm_snap {
	uint32_t exists, dim, zero, n_live;
	struct pm_record of[PM_IDS];
};

enum pm_kind { PM_NONE, PM_COLLECTION, PM_ALIAS };

struct pm_entry {
	uint32_t kind;	 /* enum pm_kind */
	uint32_t target; /* PM_ALIAS: number of a name */
	uint32_t mode, dim, m, ef_search;
	uint32_t metric, index;
	uint32_t is_inferred; /* dim came with a vector */
	uint32_t n_live;
	struct pm_record of[PM_IDS];
	struct pm_snap snap[PM_SNAPS];
};

struct pm_state {
	uint32_t root_mode, zero;
	struct pm_entry of[PM_NAMES];
};

/* What somebody wants; only what its type needs. */
struct pm_change {
	enum op_type type;
	uint32_t name;	 /* of the collection, or the one that is made */
	uint32_t to;	 /* MOVE: the new name; ALIAS: what it points to;
			    SNAP, UNSNAP: which snapshot */
	uint32_t id, id2;
	uint32_t n, dim; /* PUT */
	bool is_excl;	 /* PUT: only if there is none */
	uint32_t y;	 /* SET: 0 takes it away */
	uint32_t item;	 /* CONFIG: enum pm_item */
	uint32_t value;	 /* CONFIG, ATTR */
	bool is_root;	 /* ATTR */
	int64_t time_ns; /* PUT, SET */
};
enum pm_item { PM_EF_SEARCH, PM_METRIC, PM_INDEX, PM_M, PM_ITEMS };

/* Dice: from 0 to below - 1. */
uint32_t pm_roll(uint64_t *dice, uint32_t below);

const float *pm_vec(uint32_t n, uint32_t dim, float out[PM_DIM_MAX]);

/* The empty store. */
void pm_init(struct pm_state *st);

/* Draws a change that makes sense after st. */
enum pm_only {
	PM_ANY,
	PM_RECORDS, /* of a record, or its collection's settings: no name comes
		       or goes */
	PM_SAME,    /* all of one size in the log */
};
void pm_draw(const struct pm_state *st, enum pm_only only, uint32_t *next_n,
	uint64_t *dice, struct pm_change *out);

/* Draws n <= PM_IDS changes that succeed together: of different ids of one
 * collection. Returns how many; 0: there is no collection. */
uint32_t pm_draw_atomic(const struct pm_state *st, uint32_t n,
	uint32_t *next_n, uint64_t *dice, struct pm_change *out);

/* What the store must answer, and st as it is then. */
int pm_apply(struct pm_state *st, const struct pm_change *ch);

/* Room for a struct change and what it borrows. */
struct pm_asked {
	struct change change;
	float vec[PM_DIM_MAX];
	char name[4], to[4], id[4], id2[4], text[32];
};

/* The change as the store takes it. Its collection is referenced: NULL if
 * there is none. Ended by pm_unask. */
void pm_ask(struct store *s, const struct pm_change *ch, struct pm_asked *out);
void pm_unask(struct pm_asked *asked);

/* What a store holds. A sentence if it is nothing that a model can hold, else
 * NULL. *n_damaged counts vectors that cannot be read, and are left out. */
const char *pm_dump(struct store *s, struct pm_state *out, uint32_t *n_damaged);

/* Says where two states differ; borrowed until the next call. */
const char *pm_diff(const struct pm_state *want, const struct pm_state *got);

#endif
