/* SPDX-License-Identifier: Apache-2.0 */
/* auto_index: which index auto is, as rows come and go and memory is given. */
#include "src/auto_index.h"

#include "tests/tap.h"

#define GRAPH_ROW 348u /* bytes of a node of 128 dimensions */
#define LISTS_ROW 50u

static const uint64_t limit = (uint64_t)1 << 30;

static struct auto_sizes graph_of(uint32_t n_slots, uint32_t n_live)
{
	return (struct auto_sizes){.index_bytes = (uint64_t)n_slots * GRAPH_ROW,
		.dim = 128,
		.n_slots = n_slots,
		.n_live = n_live,
		.limit = limit};
}

static struct auto_sizes lists_of(uint32_t n_slots, uint32_t n_live)
{
	return (struct auto_sizes){.has_lists = true,
		.index_bytes = (uint64_t)n_slots * LISTS_ROW,
		.dim = 128,
		.n_slots = n_slots,
		.n_live = n_live,
		.limit = limit};
}

/* The first number of rows, in steps of 10,000, at which it is outgrown, or is
 * not any more. */
static uint32_t turn(struct auto_sizes (*of)(uint32_t, uint32_t), bool is)
{
	for (uint32_t n = 10000; n < 10000000; n += 10000) {
		struct auto_sizes sizes = of(n, n);

		if (auto_is_outgrown(&sizes) == is)
			return n;
	}
	return 0;
}

static void test_turns(void)
{
	uint32_t up = turn(graph_of, true), down = turn(lists_of, false);
	struct auto_sizes sizes;

	/* 348 + 220 + 52 a row in five eighths of a GiB. */
	ok(up > 1000000 && up < 1150000, "a graph of %u rows is outgrown", up);
	ok(down > 400000 && down < up / 3 * 2,
		"lists of %u stay, of fewer they are a graph again", down);
	sizes = lists_of(up, up);
	ok(!auto_is_outgrown(&sizes) && auto_choose(&sizes) == VG_IVF_PQ,
		"who has gone over stays there");
	sizes = graph_of(down - 10000, down - 10000);
	ok(!auto_is_outgrown(&sizes) && auto_choose(&sizes) == VG_HNSW,
		"and who has come back");
	sizes = graph_of(up, up);
	ok(auto_choose(&sizes) == VG_IVF_PQ, "a graph that is outgrown is lists");
	sizes = lists_of(down - 10000, down - 10000);
	ok(auto_choose(&sizes) == VG_HNSW, "and lists that are, a graph");
}

/* Linked anew for another reason: both graphs are there for a while. */
static void test_beside(void)
{
	struct auto_sizes sizes = graph_of(1060000, 1060000);

	ok(!auto_is_outgrown(&sizes) && auto_choose(&sizes) == VG_IVF_PQ,
		"two graphs that do not fit beside each other: lists");
	sizes = graph_of(1060000, 450000);
	ok(!auto_is_outgrown(&sizes) && auto_choose(&sizes) == VG_HNSW,
		"a graph beside one of as many dead as living is one again");
	sizes.limit = limit / 2;
	ok(auto_choose(&sizes) == VG_IVF_PQ, "in half the memory it is not");
	sizes.limit = limit * 64;
	ok(auto_choose(&sizes) == VG_HNSW, "where there is much it is a graph");
}

int main(void)
{
	plan(10);
	test_turns();
	test_beside();
	return done();
}
