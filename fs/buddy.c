/* SPDX-License-Identifier: Apache-2.0 */
/* buddy.c: see buddy.h. */
#include "fs/buddy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t n_blocks(const struct buddy *b, unsigned order)
{
	return b->n_top << (BUDDY_TOP - order);
}

static uint32_t n_words(const struct buddy *b, unsigned order)
{
	return (n_blocks(b, order) + 63) / 64;
}

static bool is_free(const struct buddy *b, unsigned order, uint32_t block)
{
	assert(block < n_blocks(b, order));
	return b->free[order][block / 64] >> block % 64 & 1;
}

static void set_free(struct buddy *b, unsigned order, uint32_t block)
{
	assert(!is_free(b, order, block));
	b->free[order][block / 64] |= 1ull << block % 64;
	b->n_free[order]++;
	b->lowest[order] = VG_MIN(b->lowest[order], block / 64);
}

static void set_taken(struct buddy *b, unsigned order, uint32_t block)
{
	assert(is_free(b, order, block));
	b->free[order][block / 64] &= ~(1ull << block % 64);
	b->n_free[order]--;
}

int buddy_init(struct buddy *b, uint32_t n_top)
{
	assert(n_top > 0 && n_top <= UINT16_MAX);
	memset(b, 0, sizeof(*b));
	b->n_top = n_top;
	for (unsigned k = 0; k < BUDDY_ORDERS; k++) {
		b->free[k] = calloc(n_words(b, k), sizeof(uint64_t));
		if (!b->free[k]) {
			buddy_fini(b);
			return -ENOMEM;
		}
	}
	for (uint32_t i = 0; i < n_top; i++)
		set_free(b, BUDDY_TOP, i);
	return 0;
}

void buddy_fini(struct buddy *b)
{
	for (unsigned k = 0; k < BUDDY_ORDERS; k++)
		free(b->free[k]);
	memset(b, 0, sizeof(*b));
}

/* The lowest free block of an order that has one. */
static uint32_t lowest_free(struct buddy *b, unsigned order)
{
	uint32_t w = b->lowest[order];

	assert(b->n_free[order] > 0);
	while (!b->free[order][w])
		w++; /* ends: a bit is set */
	assert(w < n_words(b, order));
	b->lowest[order] = w;
	return w * 64 + (uint32_t)__builtin_ctzll(b->free[order][w]);
}

/* Cuts a taken block down to `order` around unit; the rest becomes free. */
static void cut(struct buddy *b, uint32_t unit, unsigned from, unsigned order)
{
	for (unsigned k = from; k-- > order;)
		set_free(b, k, unit >> k ^ 1);
}

int buddy_new(struct buddy *b, unsigned order, uint32_t *unit, unsigned *from)
{
	uint32_t at;

	assert(order < BUDDY_ORDERS);
	for (unsigned k = order; k < BUDDY_ORDERS; k++) {
		if (!b->n_free[k])
			continue;
		at = lowest_free(b, k);
		set_taken(b, k, at);
		cut(b, at << k, k, order);
		*unit = at << k;
		*from = k;
		return 0;
	}
	return -ENOSPC;
}

int buddy_put(struct buddy *b, uint32_t unit, unsigned order)
{
	if (order >= BUDDY_ORDERS || unit >= n_blocks(b, 0) ||
		(unit & ((1u << order) - 1)))
		return -EINVAL;
	for (unsigned k = order; k < BUDDY_ORDERS; k++) {
		if (!is_free(b, k, unit >> k))
			continue;
		set_taken(b, k, unit >> k);
		cut(b, unit, k, order);
		return 0;
	}
	return -EEXIST;
}

unsigned buddy_free(struct buddy *b, uint32_t unit, unsigned order)
{
	assert(order < BUDDY_ORDERS && unit < n_blocks(b, 0));
	assert(!(unit & ((1u << order) - 1)));
	while (order < BUDDY_TOP && is_free(b, order, unit >> order ^ 1)) {
		set_taken(b, order, unit >> order ^ 1);
		order++;
	}
	set_free(b, order, unit >> order);
	return order;
}

bool buddy_extend(struct buddy *b, uint32_t unit, unsigned order, unsigned to)
{
	assert(order < BUDDY_ORDERS && to < BUDDY_ORDERS);
	if (unit & ((1u << to) - 1))
		return false;
	for (unsigned k = order; k < to; k++) {
		if (!is_free(b, k, unit >> k ^ 1))
			return false;
	}
	for (unsigned k = order; k < to; k++)
		set_taken(b, k, unit >> k ^ 1);
	return true;
}

void buddy_each(const struct buddy *b, buddy_each_fn *each, void *ctx)
{
	for (unsigned k = 0; k < BUDDY_ORDERS; k++) {
		if (!b->n_free[k])
			continue;
		for (uint32_t i = 0; i < n_blocks(b, k); i++) {
			if (!b->free[k][i / 64])
				i |= 63; /* a word of taken blocks */
			else if (is_free(b, k, i))
				each(ctx, i << k, k);
		}
	}
}

uint64_t buddy_stat(const struct buddy *b)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < BUDDY_ORDERS; k++)
		n += (uint64_t)b->n_free[k] << k;
	return n;
}

/* Whether a block lies in a free block of a higher order. */
static bool is_covered(const struct buddy *b, unsigned order, uint32_t block)
{
	for (unsigned k = order + 1; k < BUDDY_ORDERS; k++) {
		if (is_free(b, k, block >> (k - order)))
			return true;
	}
	return false;
}

bool buddy_check(const struct buddy *b, const char **why)
{
	for (unsigned k = 0; k < BUDDY_ORDERS; k++) {
		uint32_t n = 0;

		for (uint32_t i = 0; i < n_blocks(b, k); i++) {
			if (!b->free[k][i / 64])
				i |= 63;
			if (i >= n_blocks(b, k) || !is_free(b, k, i))
				continue;
			n++;
			*why = "a free block lies in another";
			if (is_covered(b, k, i))
				return false;
			*why = "two free halves are not merged";
			if (k < BUDDY_TOP && is_free(b, k, i ^ 1))
				return false;
			*why = "a free block is below the lowest";
			if (i / 64 < b->lowest[k])
				return false;
		}
		*why = "free blocks are miscounted";
		if (n != b->n_free[k])
			return false;
	}
	return true;
}
