/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_stream.h: the bytes of a saved graph: hnsw_save.c and hnsw_load.c. */
#ifndef INDEX_HNSW_STREAM_H
#define INDEX_HNSW_STREAM_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/hnsw_int.h"

/*
 * STREAM. Little-endian, without gaps; format version 2:
 *
 *	base    header | nodes | nodes | moment
 *	delta   header | nodes | moment
 *
 *	header  0   8 bytes  magic, "vghns\r\n\x1a"
 *		8   u32      version: 2
 *		12  u32      kind: 1 base, 2 delta
 *		16  u32 x 4  dim, metric + 16 (dtype - 1), m, ef_construction
 *		32  u64      seed of the levels
 *		40  u32      bytes of a record: 8 m, 4 under cosine, its code,
 *			     and of its neighbours what follows in a node
 *		44  u32      nodes of the graph before this stream; base: 0
 *
 *	nodes   0   u32      W
 *		4   u32      N
 *		8   u32 x W  words: slot / 64, ascending
 *		    u64 x W  the slots of each: bit slot % 64, none is 0
 *		    u64 x W  those of them that have a code
 *		    N records in order of slots: the node without its pad,
 *			     that is code (zeros, where it has none), term
 *			     (under cosine), 2 m links, and of a graph with
 *			     codes of neighbours all that follows them
 *		    for each of these slots whose level is above 0, in order:
 *			     its lists of levels 1, 2, ..., m links each
 *
 *	moment  0   u64      entry: level << 32 | slot; ~0: no node
 *		8   u32      nodes of the graph now
 *		12  f32      length of the longest row
 *		16  u32      1: some row needs exact kernels; else 0
 *		20  u32      codes: 0 none were chosen, 1 they were, 2 of whole
 *			     numbers, 3 they were left again
 *		24  f32 x 2  their lo and step (quant.h); 0 if there are none
 *		32  8 bytes  end, "vgend\r\n\x1a"
 *		40  f32 x dim  of a graph with codes of neighbours: what is
 *			     taken off rows before they are rotated; 0 if
 *			     there is no node
 *
 * Nodes, lists and links are those of hnsw.h; the level of a slot follows from
 * seed and m (hnsw_level), so how many lists there are needs not be told. The
 * later of two records of a slot counts. What is in a stream has no sum: who
 * keeps it has one over the whole file.
 *
 * WHY A BASE MAY BE WRITTEN BESIDE PUTS. Its first nodes are those linked when
 * it began. A put that writes one of their lists marks the node afterwards
 * (hnsw_dirty), and the saver takes the mark away before it copies. So a node
 * whose copy misses a write is marked when the puts have stopped, and is in
 * the second nodes with all that were linked meanwhile. A record of the first
 * may have a link to a node that only the second have: a load judges such
 * links when it knows both.
 *
 * WHAT A LOAD BELIEVES. Nothing that a walk relies on: I2 and I3, that lists
 * end once (of I1), that marks are few and on level 0 (of I4), that terms are
 * not negative, I7, that who has a code has one by a scale. It does not look
 * for links that are there twice, nor
 * whether the marks are a tree, since no harm comes of it but to recall (a put
 * gives up its way down a tree that is none), nor at any row. Codes of
 * neighbours are believed: no walk relies on what they say.
 */
#define MAGIC "vghns\r\n\x1a"
#define END_MAGIC "vgend\r\n\x1a"
#define STREAM_VERSION 2u
#define KIND_BASE 1u
#define KIND_DELTA 2u
#define BUF_LEN (512u << 10)	 /* what a read or write of many nodes has */
#define LEN_INFINITE 0x7f800000u /* bits of a float; lengths are below */

struct header {
	char magic[8];
	uint32_t version;
	uint32_t kind;
	uint32_t dim, metric, m, ef_construction;
	uint64_t seed;
	uint32_t record_len;
	uint32_t n_before;
};

/* What the rows are and how they are compared: of f32 it is the metric. */
static inline uint32_t header_metric(const struct hnsw_config *c)
{
	return (uint32_t)c->metric + 16 * ((uint32_t)c->dtype - 1);
}

struct moment {
	uint64_t entry;
	uint32_t linked;
	uint32_t longest;
	uint32_t is_wild;
	uint32_t codes;
	float lo, step;
	char end[8];
};

enum { CODES_NONE, CODES_ROUGH, CODES_WHOLE, CODES_LEFT };

static_assert(sizeof(struct header) == 48, "as the table says");
static_assert(sizeof(struct moment) == 40, "as the table says");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"structs and links go to the stream as they lie in memory");
static_assert(BUF_LEN >= HNSW_LEVEL_MAX * VG_M_MAX * sizeof(hnsw_link),
	"all upper lists of a node fit");

/* A set of slots. */
struct set {
	uint64_t *bits;	 /* owned; none is 0 */
	uint64_t *coded; /* in bits' memory: of them, those that have codes */
	uint32_t *index; /* the same; ascending */
	uint32_t n_words;
	uint32_t n_nodes;
};

/* Where a walk over a set stands; zeroed: before the first slot. */
struct cursor {
	uint32_t word;
	uint64_t left;
};

/* Room for max words. */
static inline int set_init(struct set *set, uint32_t max)
{
	size_t len = 2 * sizeof(*set->bits) + sizeof(*set->index);

	*set = (struct set){.bits = malloc(((size_t)max + 1) * len)};
	if (!set->bits)
		return -ENOMEM;
	set->coded = set->bits + max;
	set->index = (uint32_t *)(void *)(set->coded + max);
	return 0;
}

static inline void set_fini(struct set *set)
{
	free(set->bits);
	*set = (struct set){.n_words = 0};
}

static inline void set_add(struct set *set, uint32_t index, uint64_t bits)
{
	if (bits == 0)
		return;
	set->coded[set->n_words] = 0;
	set->index[set->n_words] = index;
	set->bits[set->n_words++] = bits;
	set->n_nodes += (uint32_t)__builtin_popcountll(bits);
}

/* The slot of the lowest bit, which goes. */
static inline uint32_t set_take_bit(uint32_t index, uint64_t *bits)
{
	uint32_t slot = index * 64 + (uint32_t)__builtin_ctzll(*bits);

	assert(*bits != 0);
	*bits &= *bits - 1;
	return slot;
}

/* The next slot of the set: there must be one. */
static inline uint32_t set_next(const struct set *set, struct cursor *c)
{
	if (c->left == 0) {
		assert(c->word < set->n_words);
		c->left = set->bits[c->word++];
	}
	return set_take_bit(set->index[c->word - 1], &c->left);
}

/* Words of 64 slots that have them all. */
static inline uint32_t set_words_of(uint32_t n_slots)
{
	return n_slots / 64 + (n_slots % 64 != 0);
}

static inline uint32_t set_words(const struct hnsw *h)
{
	return set_words_of(
		atomic_load_explicit(&h->bound, memory_order_acquire));
}

#endif
