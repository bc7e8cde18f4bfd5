/* SPDX-License-Identifier: Apache-2.0 */
/* buddy.h: which ranges of a space are free, in blocks of powers of two. */
#ifndef FS_BUDDY_H
#define FS_BUDDY_H

#include "src/vg.h"

/*
 * The space has n_top blocks of the highest order; a block of order k has
 * 1 << k units and begins at a multiple of its length (Knowlton, "A fast
 * storage allocator", 1965). A bit per block says that it is free and whole:
 * no free block is half of a free block, so free neighbours are always merged.
 *
 * Only numbers: the space itself is the caller's. One thread at a time.
 */
#define BUDDY_ORDERS 17 /* orders 0..16 */
#define BUDDY_TOP (BUDDY_ORDERS - 1)

struct buddy {
	uint32_t n_top;
	uint64_t *free[BUDDY_ORDERS];	/* a bit per block of that order */
	uint32_t n_free[BUDDY_ORDERS];	/* bits set */
	uint32_t lowest[BUDDY_ORDERS];	/* no word below has a bit set */
};

/* A space that is wholly free. n_top: 1..65535. -ENOMEM. */
int buddy_init(struct buddy *b, uint32_t n_top);
void buddy_fini(struct buddy *b);

/*
 * Takes a free block of this order, at a low place. *unit is where it begins,
 * *from the order of the free block that it was cut from. -ENOSPC: none.
 */
int buddy_new(struct buddy *b, unsigned order, uint32_t *unit, unsigned *from);

/* Takes this very block. -EEXIST: a part of it is taken. -EINVAL: no block. */
int buddy_put(struct buddy *b, uint32_t unit, unsigned order);

/*
 * Gives back a block that was taken. Returns the order of the free block that
 * it is part of now.
 */
unsigned buddy_free(struct buddy *b, uint32_t unit, unsigned order);

/*
 * Makes a taken block one of order `to` where it stands, if the space behind
 * it is free. Returns whether that was so; nothing has changed otherwise.
 */
bool buddy_extend(struct buddy *b, uint32_t unit, unsigned order, unsigned to);

/* Calls each for every free block, by order and place. */
typedef void buddy_each_fn(void *ctx, uint32_t unit, unsigned order);
void buddy_each(const struct buddy *b, buddy_each_fn *each, void *ctx);

/* Units that are free. */
uint64_t buddy_stat(const struct buddy *b);

/* Whether the invariants above hold; *why says which does not. */
bool buddy_check(const struct buddy *b, const char **why);

#endif
