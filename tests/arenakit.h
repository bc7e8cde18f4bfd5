/* SPDX-License-Identifier: Apache-2.0 */
/* arenakit.h: an arena's files in plain memory, and random changes to both. */
#ifndef TESTS_ARENAKIT_H
#define TESTS_ARENAKIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/arena.h"

#define AK_SLOTS 48	       /* files of a model */
#define AK_PART_MAX (3u << 20) /* bytes of a part in the model */

struct ak_bytes {
	char *at;
	size_t len, cap;
};

struct ak_slot {
	bool is_there;
	uint32_t idx;
	struct arena_attr attr;
	struct ak_bytes part[2];
};

struct ak_model {
	struct ak_slot slot[AK_SLOTS];
};

enum ak_kind { AK_NEW, AK_DEL, AK_PUT, AK_WRITE, AK_TRUNCATE };

/* One change, wholly determined by the generator's state. */
struct ak_change {
	enum ak_kind kind;
	unsigned slot;
	enum arena_part part;
	uint64_t off;
	size_t len;
	struct arena_attr attr;
	char fill;
};

/* The attributes of a file that is about its bytes alone. */
extern const struct arena_attr ak_plain;

/* xorshift64: each model has a state of its own, to be run twice. */
uint64_t ak_next(uint64_t *state);
struct arena_attr ak_attr(uint64_t *state);

/* A change that the model allows. */
struct ak_change ak_change(const struct ak_model *m, uint64_t *state);

/* What the change does to the model. */
void ak_apply(struct ak_model *m, const struct ak_change *c);

/* And to the arena. idx tells where each slot's file is. */
int ak_enact(struct arena *a, uint32_t *idx, const struct ak_change *c);

/* Whether the arena has what the model has. */
bool ak_same_part(const struct arena *a, const struct ak_slot *s,
	enum arena_part part);
bool ak_same_file(const struct arena *a, const struct ak_slot *s);

/* Frees one that calloc made, and what is in it. */
void ak_fini(struct ak_model *m);

#endif
