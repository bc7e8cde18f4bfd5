/* SPDX-License-Identifier: Apache-2.0 */
/* heap.c: a shortlist has the best of what came, whatever came. */
#include "index/heap.h"

#include <math.h>
#include <stdlib.h>

#include "tests/tap.h"

#define N_MAX 3000u

static uint64_t dice;

static uint32_t draw(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 32) % below;
}

/* In which order distances come, and how many are equal. */
enum kind { ANY, EQUAL, FEW, RISING, FALLING, BELOW_ZERO, N_KINDS };

static float distance(enum kind kind, uint32_t i, uint32_t n)
{
	switch (kind) {
	case EQUAL:
		return 7;
	case FEW:
		return (float)draw(4);
	case RISING:
		return (float)i;
	case FALLING:
		return (float)(n - i);
	case BELOW_ZERO:
		return (float)draw(1000) - 500;
	default:
		return (float)draw(1u << 24);
	}
}

static int compare(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	if (x->dist != y->dist)
		return x->dist < y->dist ? -1 : 1;
	return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Whether hits are all[0..n) in some order. */
static bool has_first(struct hit *hits, uint32_t n, const struct hit *all)
{
	qsort(hits, n, sizeof(*hits), compare);
	for (uint32_t i = 0; i < n; i++)
		if (compare(&hits[i], &all[i]) != 0)
			return false;
	return true;
}

static bool is_right(enum kind kind, uint32_t n, uint32_t cap, uint32_t room)
{
	static struct hit all[N_MAX], hits[N_MAX];
	struct shortlist l;

	shortlist_init(&l, hits, cap, room);
	for (uint32_t i = 0; i < n; i++) {
		all[i] = (struct hit){distance(kind, i, n), i};
		/* What is as far as the bound is behind it: slots rise. */
		if (all[i].dist < l.bound)
			shortlist_put(&l, all[i]);
	}
	shortlist_cut(&l);
	qsort(all, n, sizeof(*all), compare);
	return l.n == VG_MIN(n, cap) && has_first(l.hits, l.n, all);
}

static void test_kind(enum kind kind, const char *what)
{
	bool is = true;

	for (int round = 0; is && round < 300; round++) {
		uint32_t n = draw(round % 3 ? 100 : N_MAX), cap = draw(60) + 1;
		uint32_t room = cap + 1 + draw(round % 2 ? 3 : 200);

		is = is_right(kind, n, cap, room);
		if (!is)
			diag("n=%u cap=%u room=%u", n, cap, room);
	}
	ok(is, "the best are kept of %s", what);
}

int main(void)
{
	static const char *const what[N_KINDS] = {"distances in any order",
		"equal ones", "few different ones", "rising ones",
		"falling ones", "such below zero"};

	plan(N_KINDS);
	dice = seed() * 2 + 1;
	for (int kind = 0; kind < N_KINDS; kind++)
		test_kind((enum kind)kind, what[kind]);
	return done();
}
