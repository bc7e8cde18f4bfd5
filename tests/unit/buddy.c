/* SPDX-License-Identifier: Apache-2.0 */
/* buddy.c: blocks are cut, merged and extended, and never overlap. */
#include "fs/buddy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

#define N_TOP 2
#define N_UNITS (N_TOP << BUDDY_TOP)
#define N_MODEL 400

static const char *why;

static void test_cut_and_merge(void)
{
	struct buddy b;
	uint32_t a, c, d;
	unsigned from;

	must(buddy_init(&b, N_TOP) == 0);
	ok(buddy_stat(&b) == N_UNITS && buddy_check(&b, &why),
		"a new space is wholly free");
	ok(!buddy_new(&b, 0, &a, &from) && a == 0 && from == BUDDY_TOP,
		"the first unit is cut from a top block");
	ok(!buddy_new(&b, 0, &c, &from) && c == 1 && from == 0,
		"the second is the first's other half");
	ok(!buddy_new(&b, 4, &d, &from) && d == 16 && from == 4,
		"a longer block begins at a multiple of its length");
	ok(buddy_stat(&b) == N_UNITS - 18 && buddy_check(&b, &why),
		"what was cut off is free");
	ok(buddy_free(&b, a, 0) == 0 && buddy_check(&b, &why),
		"a freed half waits for the other");
	ok(buddy_free(&b, c, 0) == 4 && buddy_check(&b, &why),
		"two free halves merge, as far as their neighbours are free");
	ok(buddy_free(&b, d, 4) == BUDDY_TOP && buddy_stat(&b) == N_UNITS,
		"in the end the whole space is free again");
	for (int i = 0; i < N_TOP; i++)
		must(buddy_new(&b, BUDDY_TOP, &a, &from) == 0);
	ok(buddy_new(&b, 0, &a, &from) == -ENOSPC, "a full space says so");
	buddy_fini(&b);
	buddy_fini(&b);
	ok(!b.free[0], "fini is harmless twice");
}

static void test_put(void)
{
	struct buddy b;

	must(buddy_init(&b, N_TOP) == 0);
	ok(!buddy_put(&b, 48, 3) && buddy_check(&b, &why) &&
			buddy_stat(&b) == N_UNITS - 8,
		"a given block is taken where it stands");
	ok(buddy_put(&b, 48, 3) == -EEXIST && buddy_put(&b, 52, 0) == -EEXIST &&
			buddy_put(&b, 32, 5) == -EEXIST,
		"not the same, nor a part, nor what contains it");
	ok(buddy_put(&b, 49, 3) == -EINVAL &&
			buddy_put(&b, N_UNITS, 0) == -EINVAL &&
			buddy_put(&b, 0, BUDDY_ORDERS) == -EINVAL,
		"nor what is no block");
	ok(buddy_put(&b, 0, BUDDY_TOP) == -EEXIST &&
			!buddy_put(&b, 1 << BUDDY_TOP, BUDDY_TOP),
		"a top block is taken if nothing is in it");
	buddy_fini(&b);
}

static void test_extend(void)
{
	struct buddy b;

	must(buddy_init(&b, N_TOP) == 0 && buddy_put(&b, 0, 0) == 0);
	ok(buddy_extend(&b, 0, 0, 3) && buddy_stat(&b) == N_UNITS - 8 &&
			buddy_check(&b, &why),
		"a block grows over free space");
	must(buddy_put(&b, 12, 0) == 0);
	ok(!buddy_extend(&b, 0, 3, 4) && buddy_stat(&b) == N_UNITS - 9,
		"not over a taken unit");
	must(buddy_put(&b, 17, 0) == 0);
	ok(!buddy_extend(&b, 17, 0, 1), "nor to where no longer block begins");
	ok(buddy_free(&b, 0, 3) == 3, "it is freed at its new length");
	buddy_fini(&b);
}

struct block {
	uint32_t unit;
	unsigned order;
	bool is_taken;
};

/* Takes or frees every unit of a block in the map; false: it was so. */
static bool mark(char *map, const struct block *at, bool to)
{
	for (uint32_t i = 0; i < 1u << at->order; i++) {
		if (map[at->unit + i] == to)
			return false;
		map[at->unit + i] = to;
	}
	return true;
}

static bool step(struct buddy *b, char *map, struct block *at)
{
	unsigned from, to = (unsigned)(rand() % 12);

	if (at->is_taken && rand() % 3 == 0 && to > at->order) {
		if (!buddy_extend(b, at->unit, at->order, to))
			return true;
		mark(map, at, false);
		at->order = to;
		return mark(map, at, true);
	}
	at->is_taken = !at->is_taken;
	if (!at->is_taken) {
		buddy_free(b, at->unit, at->order);
		return mark(map, at, false);
	}
	at->order = to;
	if (buddy_new(b, at->order, &at->unit, &from))
		at->is_taken = false; /* full */
	return !at->is_taken || mark(map, at, true);
}

static void count(void *ctx, uint32_t unit, unsigned order)
{
	(void)unit;
	*(uint64_t *)ctx += 1ull << order;
}

static void test_model(void)
{
	static struct block block[N_MODEL];
	char *map = calloc(1, N_UNITS);
	bool is_apart = true, is_good = true;
	uint64_t n = 0, taken = 0;
	struct buddy b;

	srand((unsigned)seed());
	must(map && buddy_init(&b, N_TOP) == 0);
	for (int i = 0; i < 100000; i++) {
		is_apart &= step(&b, map, &block[rand() % N_MODEL]);
		if (i % 10000 == 0)
			is_good &= buddy_check(&b, &why);
	}
	ok(is_apart, "after 100,000 steps no two blocks have overlapped");
	ok(is_good, "and the free blocks were in order");
	for (uint32_t i = 0; i < N_UNITS; i++)
		taken += (uint64_t)map[i];
	buddy_each(&b, count, &n);
	ok(n == N_UNITS - taken && n == buddy_stat(&b),
		"free and taken units make the whole");
	for (int i = 0; i < N_MODEL; i++) {
		if (block[i].is_taken)
			buddy_free(&b, block[i].unit, block[i].order);
	}
	ok(b.n_free[BUDDY_TOP] == N_TOP && buddy_stat(&b) == N_UNITS,
		"when all is freed all is merged");
	buddy_fini(&b);
	free(map);
}

int main(void)
{
	plan(22);
	test_cut_and_merge();
	test_put();
	test_extend();
	test_model();
	return done();
}
