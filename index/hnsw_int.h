/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_int.h: what the hnsw_*.c files share; hnsw.h explains it. */
#ifndef INDEX_HNSW_INT_H
#define INDEX_HNSW_INT_H

#include <assert.h>
#include <pthread.h>

#include "index/dist.h"
#include "index/hnsw.h"
#include "index/signs.h"

#define LINK_END UINT32_MAX	  /* behind the last link of a list */
#define LINK_TREE (1u << 31)	  /* mark of the tree, in a link */
#define LINK_SLOT (LINK_TREE - 1) /* the slot in a link */

/*
 * Place of a slot's upper lists: PLACE_BASE + 1 + index of the first, of level
 * 1; the others follow it. Set before any link names the slot.
 */
#define PLACE_FREE 0u /* never linked */
#define PLACE_BUSY 1u /* a put has claimed it */
#define PLACE_BASE 2u /* linked, on level 0 only */

#define ENTRY_NONE UINT64_MAX
#define CACHE_LINE 64u
#define N_STRIPES 512u	 /* locks: 20 KiB; two writers meet 1 in 512 times */
#define LISTS_FIRST 256u /* lists of the first block; each next has twice */
#define N_BLOCKS 24u	 /* 256 * (2^24 - 1) > 2^31 lists */

typedef _Atomic uint32_t hnsw_link;
typedef _Atomic uint64_t hnsw_word; /* bits of 64 slots, the lowest first */

enum quant_state {
	QUANT_NONE, /* not chosen yet */
	QUANT_ON,
	QUANT_OFF, /* rows lie too close for them, for good */
};

/* Which save may come next: hnsw_save.c. */
enum hnsw_save {
	SAVE_BASE, /* there is none yet, or one failed */
	SAVE_REST, /* of a base that was begun */
	SAVE_DELTA,
};

struct hnsw {
	struct hnsw_config config;
	const struct rows *rows; /* borrowed */
	uint32_t node_len;	 /* bytes, a multiple of 64 */
	uint32_t record_len;	 /* of them without the pad */
	uint32_t code_len;	 /* of them, the code's; 0: there are none */
	uint32_t links_at;	 /* offset in a node */
	uint32_t chosen_at;	 /* the same of bits of links; 0: there are none */
	uint32_t near_at;	 /* of codes of neighbours: blocks of... */
	uint32_t near_len;	 /* ...bytes, for 32 links each */
	uint32_t shift;		 /* nodes of a chunk: 1 << shift */
	uint32_t n_chunks;	 /* length of the table */
	uint32_t tree_max;	 /* marked links of a node */
	uint32_t huge_at;	 /* this many nodes are worth a huge page */
	/* Of 2^53 draws so many reach at least level l: 2^53 / m^l. */
	uint64_t level_share[HNSW_LEVEL_MAX + 1];

	/*
	 * Chunk i, then for its nodes: places, bits of linked ones, bits of
	 * those to be saved, bits of those that have codes, bits of those that
	 * are deleted. Set once under grow, release.
	 */
	_Atomic(char *) *chunk;
	/* Blocks of upper lists; set once under grow, release. */
	_Atomic(hnsw_link *) block[N_BLOCKS];
	_Atomic uint32_t n_lists;   /* handed out; grow. Relaxed: a count */
	pthread_mutex_t grow;	    /* of chunk, block, n_lists */
	pthread_mutex_t entry_lock; /* writers of entry */
	/*
	 * level << 32 | slot. Release, acquire: who reads it sees the node.
	 */
	_Atomic uint64_t entry;
	/*
	 * Above every slot claimed: what scratches are sized by. Relaxed: a
	 * walk skips what its scratch has no room for.
	 */
	_Atomic uint32_t bound;
	_Atomic uint32_t claimed; /* relaxed: a count */
	_Atomic uint32_t linked;  /* relaxed: a count */
	_Atomic uint32_t n_dead;  /* of linked: deleted. Relaxed: a put that
				     misses one links to it, no more */
	/* Nodes that have no code. One more before a link names such a node,
	 * one less, release, behind its code; who reads 0, acquire, behind the
	 * links that it goes by, finds a code in each node that they name. */
	_Atomic uint32_t n_uncoded;
	/* Written before quant_state leaves QUANT_NONE, by who has train. */
	struct quant quant;
	_Atomic uint32_t quant_state; /* enum quant_state; seq_cst: hnsw_put */
	pthread_mutex_t train;	/* who chooses codes; before stripes */
	_Atomic uint32_t n_close; /* hnsw_judge's; relaxed: a hint */
	struct signs signs;	  /* if near_at is not 0, as what follows */
	float *centre;	 /* dim, owned: taken off rows. Fixed before entry */
	bool has_centre; /* entry_lock */
	/* Bits of the longest row's length, a float. Relaxed: only widens. */
	_Atomic uint32_t longest;
	/* Some row needs exact kernels. Relaxed: a walk that misses it drops
	 * what is not finite and else is only less sharp. */
	_Atomic bool is_wild;
	_Atomic uint32_t next_save; /* enum hnsw_save; relaxed: the saver's */
	uint32_t n_saved;	    /* linked at the last save; the saver's */
	pthread_mutex_t stripe[N_STRIPES]; /* writers of a node's lists */
};

/*
 * Whoever asks for distances: a query or a new row, prepared. Fast distances
 * are squared under l2; a wild probe uses exact ones, which sort alike. With
 * codes they are sums of codes: those of rows are turned into such by unit.
 */
struct probe {
	const struct hnsw *h;
	const void *vec;
	const struct dist_kernels *kernels;
	float scale; /* inverse norm, cosine */
	bool is_wild;
	bool has_quant; /* distances are of codes' scale */
	float unit;	/* from a row's distance to a code's; else 1 */
	float bound_unit; /* and back */
	const uint8_t *code; /* of vec, borrowed; NULL: it has none */
	uint32_t ahead; /* so many are prefetched */
	struct near_rows *near; /* of who changes lists, borrowed; else NULL */
	struct dist_query exact;
};

#define NEAR_CENTRE_MAX 0x1p50f /* no row that walks go by codes of is longer */

/* Some rows, rotated (signs.h): who changes lists needs each several times. */
#define NEAR_ROWS 64u
struct near_rows {
	uint32_t len;		  /* a row has room for */
	uint32_t slot[NEAR_ROWS]; /* LINK_END: none */
	float *rows; /* NEAR_ROWS, and len / 4 bytes for a code; owned */
};

struct hnsw_scratch {
	uint8_t *seen; /* == epoch: visited by this walk */
	uint32_t n_seen;
	uint8_t epoch;
	uint32_t n_hits;
	struct hit *hits;  /* n_hits: the pool */
	struct hit *found; /* n_hits: the answers, when rows may be hidden */
	uint32_t fresh[2 * VG_M_MAX + 1]; /* one is written behind the last */
	uint8_t *code; /* n_code: of a query */
	uint32_t n_code;
	float *rotated; /* n_rotated: a query, owned... */
	uint8_t *table; /* ...and its table, in the same memory, aligned */
	uint32_t n_rotated;
	struct near_rows near;
	/* A put's new lists, by level. */
	struct hit plan[HNSW_LEVEL_MAX + 1][2 * VG_M_MAX];
	uint32_t n_plan[HNSW_LEVEL_MAX + 1];
	uint32_t n_filled; /* the same of level 0, with what fills it up */
};

/* One walk of a level: algorithm 2. */
struct walk {
	const struct probe *probe;
	struct hnsw_scratch *scratch;
	uint32_t level;
	uint32_t twin_max; /* rows equal to one another that are taken */
	struct pool pool;
	bool is_picky; /* who may be answered is asked of each that comes near */
	bool is_near; /* by codes of neighbours; found has what was met */
	struct pool found; /* used if is_picky or is_near */
	const struct among *among; /* asked then; NULL: is_visible */
	bool (*is_visible)(void *ctx, uint32_t slot);
	void *ctx;
	const _Atomic bool *cancel;
};

/* Whether the slot's chunk is there: before anything else of a slot that may
 * never have been put. */
static inline bool hnsw_has_chunk(const struct hnsw *h, uint32_t slot)
{
	return atomic_load_explicit(&h->chunk[slot >> h->shift],
		       memory_order_acquire) != NULL;
}

static inline char *hnsw_node(const struct hnsw *h, uint32_t slot)
{
	char *chunk = atomic_load_explicit(&h->chunk[slot >> h->shift],
		memory_order_acquire);

	assert(chunk);
	return chunk + (size_t)(slot & ((1u << h->shift) - 1)) * h->node_len;
}

/* The slot's entry in the table behind its chunk. */
static inline hnsw_link *hnsw_place(const struct hnsw *h, uint32_t slot)
{
	char *chunk = atomic_load_explicit(&h->chunk[slot >> h->shift],
		memory_order_acquire);
	size_t nodes_len = (size_t)h->node_len << h->shift;

	assert(chunk);
	return (hnsw_link *)(void *)(chunk + nodes_len) +
	       (slot & ((1u << h->shift) - 1));
}

/*
 * The word of a slot's bit: whether it is linked. Release when its put is at
 * its end, acquire: who sees it sees the node complete.
 */
static inline hnsw_word *hnsw_linked(const struct hnsw *h, uint32_t slot)
{
	uint32_t in_chunk = slot & ((1u << h->shift) - 1);
	hnsw_link *end = hnsw_place(h, slot) - in_chunk + (1u << h->shift);

	return (hnsw_word *)(void *)end + in_chunk / 64;
}

/*
 * The word of its other bit: whether its lists were written since they were
 * saved. Set after each write, release; a saver takes it away, acquire, and
 * then copies, so that it sees every write whose mark it took.
 */
static inline hnsw_word *hnsw_dirty(const struct hnsw *h, uint32_t slot)
{
	return hnsw_linked(h, slot) + ((1u << h->shift) / 64);
}

/* The word of its third bit: whether the node has its code. Release behind the
 * code, acquire: who sees it sees the code, which does not change. */
static inline hnsw_word *hnsw_coded(const struct hnsw *h, uint32_t slot)
{
	return hnsw_linked(h, slot) + 2 * ((1u << h->shift) / 64);
}

static inline bool hnsw_has_code(const struct hnsw *h, uint32_t slot)
{
	return atomic_load_explicit(hnsw_coded(h, slot),
		       memory_order_acquire) >>
			       slot % 64 &
	       1;
}

/* The word of its fourth bit: whether it is deleted. Relaxed, as n_dead. */
static inline hnsw_word *hnsw_dead(const struct hnsw *h, uint32_t slot)
{
	return hnsw_linked(h, slot) + 3 * ((1u << h->shift) / 64);
}

static inline bool hnsw_is_dead(const struct hnsw *h, uint32_t slot)
{
	return atomic_load_explicit(&h->n_dead, memory_order_relaxed) > 0 &&
	       (atomic_load_explicit(
			hnsw_dead(h, slot), memory_order_relaxed) >>
			       slot % 64 &
		       1);
}

static inline uint8_t *hnsw_code(const struct hnsw *h, uint32_t slot)
{
	return (uint8_t *)hnsw_node(h, slot);
}

/* The code of any slot, from one look at its chunk; NULL: it has none. */
static inline const uint8_t *hnsw_find_code(const struct hnsw *h, uint32_t slot)
{
	const char *chunk = atomic_load_explicit(&h->chunk[slot >> h->shift],
		memory_order_acquire);
	uint32_t n = 1u << h->shift, in_chunk = slot & (n - 1);
	const hnsw_word *word;

	if (!chunk)
		return NULL;
	word = (const hnsw_word *)(const void *)(chunk +
			(size_t)n * (h->node_len + sizeof(hnsw_link))) +
	       2 * (n / 64) + in_chunk / 64;
	assert(word == hnsw_coded(h, slot));
	if ((atomic_load_explicit(word, memory_order_acquire) >> slot % 64 &
		    1) == 0)
		return NULL;
	return (const uint8_t *)chunk + (size_t)in_chunk * h->node_len;
}

/* Most links that a list of the level holds. */
static inline uint32_t hnsw_list_cap(const struct hnsw *h, uint32_t level)
{
	return level == 0 ? 2 * h->config.m : h->config.m;
}

/* Upper list number i: block b holds LISTS_FIRST << b of them. */
static inline hnsw_link *hnsw_list(const struct hnsw *h, uint32_t i)
{
	uint32_t b = 31 - (uint32_t)__builtin_clz(i / LISTS_FIRST + 1);
	hnsw_link *block =
		atomic_load_explicit(&h->block[b], memory_order_acquire);

	assert(block);
	return block +
	       (size_t)(i - LISTS_FIRST * ((1u << b) - 1)) * h->config.m;
}

/* The links of a node, hnsw_list_cap(level) of them. */
static inline hnsw_link *hnsw_links(const struct hnsw *h, uint32_t slot,
	uint32_t level)
{
	uint32_t place;

	if (level == 0)
		return (hnsw_link *)(void *)(hnsw_node(h, slot) + h->links_at);
	place = atomic_load_explicit(hnsw_place(h, slot), memory_order_acquire);
	assert(place > PLACE_BASE);
	return hnsw_list(h, place - PLACE_BASE - 1 + level - 1);
}

static inline uint32_t hnsw_link_get(hnsw_link *links, uint32_t i)
{
	return atomic_load_explicit(&links[i], memory_order_acquire);
}

/* Release: whoever reads the link sees the node that it names. */
static inline void hnsw_link_set(hnsw_link *links, uint32_t i, uint32_t link)
{
	atomic_store_explicit(&links[i], link, memory_order_release);
}

static inline const void *hnsw_row(const struct hnsw *h, uint32_t slot)
{
	return rows_get(h->rows, slot);
}

static inline float *hnsw_term(const struct hnsw *h, uint32_t slot)
{
	assert(h->config.metric == VG_COSINE);
	return (float *)(void *)(hnsw_node(h, slot) + h->links_at) - 1;
}

static inline pthread_mutex_t *hnsw_stripe(struct hnsw *h, uint32_t slot)
{
	return &h->stripe[slot % N_STRIPES];
}

/* Whether two rows have the same code, or the same bytes. */
static inline bool hnsw_is_equal(const struct hnsw *h, uint32_t a, uint32_t b)
{
	if (atomic_load_explicit(&h->quant_state, memory_order_acquire) ==
			QUANT_ON &&
		hnsw_has_code(h, a) && hnsw_has_code(h, b))
		return memcmp(hnsw_code(h, a), hnsw_code(h, b),
			       h->config.dim) == 0;
	return memcmp(hnsw_row(h, a), hnsw_row(h, b), h->rows->stride) == 0;
}

/* The level of a slot, 0..HNSW_LEVEL_MAX: drawn by hash, 1/m go one up. */
uint32_t hnsw_level(const struct hnsw *h, uint32_t slot);

/* Makes the slot's chunk be there, and bound above its first node. -ENOMEM. */
int hnsw_add_chunk(struct hnsw *h, uint32_t slot);

/* Hands out n upper lists that stand side by side. -ENOMEM. */
int hnsw_add_lists(struct hnsw *h, uint32_t n, uint32_t *first);

/*
 * From here on the graph has use for huge pages: turns those chunks into such
 * that began in small ones. Advice only, so what fails is left as it is.
 */
void hnsw_use_huge(struct hnsw *h);

/*
 * Whether a row that belongs at `at` equals the last of twin_max candidates
 * that are all as far as it. Rows are compared only when so many tie.
 */
static inline bool hnsw_is_one_too_many(const struct walk *w,
	const struct pool *p, uint32_t at, struct hit hit)
{
	if (at < w->twin_max || p->hits[at - w->twin_max].dist != hit.dist)
		return false;
	for (uint32_t back = 1; back <= w->twin_max;
		back += VG_MAX(1, w->twin_max - 1)) {
		uint32_t slot = p->hits[at - back].slot & LINK_SLOT;

		if (hnsw_is_equal(w->probe->h, hit.slot, slot))
			return true;
	}
	return false;
}

/* ---- lists: hnsw_link.c ---- */

/* A list that is to be written anew. */
struct hnsw_list {
	struct hit *hits; /* n candidates, by slot, with marks; borrowed */
	uint32_t n, n_keep;
	uint32_t max; /* of them are chosen */
	uint32_t slot, level; /* whose list */
};

/*
 * Algorithm 4, SELECT-NEIGHBORS-HEURISTIC: of candidates sorted by distance,
 * moves to the front those that are nearer to the base than to any chosen
 * before; at most max. Candidates with the tree's mark are chosen anyhow, so
 * there must be no more than max of them. Returns how many were chosen; behind
 * them are the others, in order.
 */
uint32_t hnsw_choose(const struct probe *p, struct hit *c, uint32_t n,
	uint32_t max);

/* Writes what it chooses of the candidates, whose order it changes. Whether the
 * list has changed: hnsw_mark then. The node's stripe is held. */
bool hnsw_relist(struct hnsw *h, const struct probe *p, struct hnsw_list *l);

/*
 * Gives node slot the link; a list that is full is pruned, maybe of the new
 * link. A marked link always stays, but is refused (false) where the node has
 * tree_max already. Takes the node's stripe.
 */
bool hnsw_link_back(struct hnsw *h, const struct probe *p, uint32_t slot,
	uint32_t level, uint32_t link);

/*
 * A marked neighbour of a node, other than `from`; `spread` says which.
 * LINK_END: there is none, which only a file can bring about.
 */
uint32_t hnsw_tree_child(const struct hnsw *h, uint32_t slot, uint32_t from,
	uint32_t spread);

/* Notes for the next save that a list of the node was written. */
void hnsw_mark(struct hnsw *h, uint32_t slot);

/* Raises an atomic to at least `to`. Relaxed: see the fields. */
void hnsw_raise(_Atomic uint32_t *value, uint32_t to);

/* code: where vec is coded, code_len bytes; NULL: it is not. */
void probe_init(struct probe *p, const struct hnsw *h, const void *vec,
	uint8_t *code);

/* Whether a squared norm leaves no room for float squares and sums. */
bool probe_is_wild_norm(double norm2);

/* Distance of the probe to a row; what is above bound may be any such value. */
float probe_dist(const struct probe *p, uint32_t slot, float bound);

/* Distance of two rows, on the same scale. */
float probe_pair(const struct probe *p, uint32_t a, uint32_t b, float bound);

/* What a distance to slot reads. */
void hnsw_prefetch(const struct hnsw *h, uint32_t slot);
void hnsw_prefetch_row(const struct hnsw *h, uint32_t slot);

static inline void hnsw_prefetch_code(const struct hnsw *h, const uint8_t *code)
{
	for (uint32_t i = 0; i < h->config.dim; i += CACHE_LINE)
		__builtin_prefetch(code + i);
}

/* Codes a linked slot, if it has no code and there is one: hnsw_code.c. Any
 * thread, beside puts and searches. */
void hnsw_add_code(struct hnsw *h, uint32_t slot);

/* Told of each put by codes that round off: its slot, and the one of those near
 * it that as many are nearer than as get links. Leaves codes where rows have
 * come too close for them. */
void hnsw_judge(struct hnsw *h, uint32_t slot, struct hit near);

/* Chooses codes, if it is time: n slots are linked. */
void hnsw_train(struct hnsw *h, uint32_t n);

/* Forgets which slots a walk has met. */
void hnsw_forget_seen(struct hnsw_scratch *s);

/*
 * Moves *at to where no neighbour is nearer, on each level from `from` down,
 * `to` left out.
 */
void hnsw_descend(const struct probe *p, struct hit *at, uint32_t from,
	uint32_t to);

/* Walks from `start`; the pool (or found) holds the answer. -EINTR. */
int hnsw_walk(struct walk *w, struct hit start);

/* The same on level 0 from wanted row to wanted row: only such are in the pool.
 * hnsw_among.c */
int hnsw_walk_among(struct walk *w, const struct among *a,
	struct hit start);

/* Offers scratch->fresh[0..n) to the pool. */
void hnsw_evaluate(struct walk *w, uint32_t n);

/* The list of level 0, that is. */
void hnsw_prefetch_links(const struct hnsw *h, uint32_t slot);

/* ---- codes of neighbours: hnsw_near.c, hnsw_near_walk.c ---- */

static inline bool hnsw_has_near(const struct hnsw *h)
{
	return h->near_at > 0;
}

/* Of plan_layout: where in the node they stand, behind len bytes; its length. */
uint32_t hnsw_near_plan(struct hnsw *h, uint32_t len);

/* -ENOMEM; hnsw_near_fini then, too. */
int hnsw_near_init(struct hnsw *h);
void hnsw_near_fini(struct hnsw *h);

/* The first row comes, and what is taken off all with it. entry_lock is held. */
void hnsw_near_begin(struct hnsw *h, uint32_t slot);

/* Makes s->near ready for who changes lists. -ENOMEM. */
int hnsw_near_reserve(struct hnsw_scratch *s, const struct hnsw *h);

/* Makes room for a query. -ENOMEM. */
int hnsw_near_reserve_query(struct hnsw_scratch *s, const struct hnsw *h);

/* A place in the list of level 0 of a node. */
struct near_link {
	uint32_t slot, i;
	bool is_chosen; /* by algorithm 4, or to be kept until it is asked; else
			   it fills the list up */
};

/* What follows needs the node's stripe, or a node that no link names. */

/* Writes a link there, with its code if it leads elsewhere than before. Whether
 * anything changed. */
bool hnsw_near_put(struct hnsw *h, const struct probe *p,
	const struct near_link *l, uint32_t link);

/* Takes a link out; the last takes its place. */
void hnsw_near_drop(struct hnsw *h, uint32_t slot, uint32_t i);

/* The farthest link of a full list that fills it up only; else the list's
 * length. */
uint32_t hnsw_near_spare(const struct probe *p, uint32_t slot);

/* Makes the list the first hits of l, as many as it holds; n_chosen of them
 * are chosen. Whether it changed. */
bool hnsw_near_relist(struct hnsw *h, const struct probe *p,
	const struct hnsw_list *l, uint32_t n_chosen);

bool hnsw_near_is_chosen(const struct hnsw *h, uint32_t slot, uint32_t i);

/* Whether the code of a link is what it would be made now: hnsw_check. */
bool hnsw_near_is_right(const struct probe *p, uint32_t slot, uint32_t i);

/* The walk of level 0 by codes of neighbours: the pool has what they estimate,
 * w->found what was met and compared. -EINTR. */
int hnsw_walk_near(struct walk *w, struct hit start);

/* The first q->k candidates and all in their margin, with exact distances, into
 * out: hnsw_search. Returns how many. What q->fetch does not keep leaves found,
 * whose marks are taken off those that are compared. n_hidden NULL: all of found
 * are visible; else they are asked about, and those that are not leave it and
 * are counted. */
uint32_t hnsw_finish(const struct probe *p, const struct hnsw_query *q,
	struct pool *found, uint32_t *n_hidden, struct hit *out);

#endif
