/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw.h: a navigable graph over rows, searched while it grows. */
#ifndef INDEX_HNSW_H
#define INDEX_HNSW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/among.h"
#include "index/heap.h"
#include "index/quant.h"
#include "index/rows.h"
#include "src/vg.h"

/*
 * Hierarchical navigable small world graph: Malkov and Yashunin, "Efficient
 * and robust approximate nearest neighbor search using Hierarchical Navigable
 * Small World graphs", arXiv 1603.09320; algorithm numbers below are theirs.
 *
 * DEVIATIONS
 *
 * - A spanning tree. Pruning (algorithm 4) may take the last link that leads
 *   to a node; with many equal vectors it does. So each node but the first
 *   has a parent, chosen when it is linked: both links of that pair carry a
 *   mark on level 0 and are never pruned. Level 0 is therefore connected,
 *   always, provably (I5), at the price of 2 links in 2m, on average.
 * - Algorithm 2 keeps one sorted pool instead of two heaps (heap.h), and what
 *   may be answered is a list apart: rows that are not visible are walked
 *   over as ever and never count towards ef.
 * - Of rows that equal one another a put's pool takes at most m, a search's
 *   max(k, ef / 4), so a crowd of equal rows does not become all that a walk
 *   sees; and algorithm 4 rejects what equals a chosen one, so they link
 *   outwards.
 * - The lists of a new node are planned on all levels first, written, and only
 *   then published, level 0 first: a search that meets a new node on some
 *   level finds it complete on all levels below.
 * - A new node gets up to 3 m / 2 links on level 0, and a candidate is dropped
 *   (algorithm 4) only if it is nearer to a chosen one by a twentieth (a tenth
 *   of squared distances; but under ip): so fewer candidates make as good a
 *   graph.
 * - Walks go by codes (quant.h) that stand in the nodes, where rows have
 *   them; the rows themselves are read for what is answered alone.
 * - A level follows from (seed, slot), so it is not stored.
 * - Levels end at HNSW_LEVEL_MAX.
 *
 * NODE (level 0), in chunks that never move; id = slot:
 *
 *	0		  code_len	   +4 under cosine	     node_len
 *	+------------------+---------------+-------------------------+-----+
 *	| code	           | term f32      | links u32 x 2m          | pad |
 *	+------------------+---------------+-------------------------+-----+
 *
 *	with codes of neighbours, instead of the pad:
 *	+--------------------+-----+-----------------------------------------+
 *	| chosen u32 x m/16  | pad | add, mul f32 x 32, codes of 32 links, ... |
 *	+--------------------+-----+-----------------------------------------+
 *
 * node_len is a multiple of 64. code is the row's (of a row of length 1 under
 * cosine), dim bytes, and pads of zeros up to a multiple of 4; without codes
 * code_len is 0. term is the inverse norm of the row. A link is the slot of a
 * neighbour, its top bit the mark of the tree; the first ~0 ends the list. The
 * lists of levels 1
 * and up (m links each, 1/m of the nodes have any) stand elsewhere; a table
 * beside the chunk says where, 4 bytes a node, 0 for a slot never linked. Four
 * bits a node stand beside it, too: whether it is linked, whether it was
 * written since it was saved, whether it has its code, whether it is deleted.
 *
 * CODES. What elements are coded by is chosen once, from HNSW_TRAIN rows, or
 * later where those do not serve; the rows before are coded then. A row that no
 * code stands for (quant.h) has none: it is compared itself, for good. So a
 * walk is right whatever comes, and the faster the more rows have codes. Where
 * rows come to lie too close for what codes round off, codes are left for good.
 * Floats and halves have codes, under l2 and cosine; i8 and b1 do not: a row is
 * as small as its code would be.
 *
 * CODES OF NEIGHBOURS (HNSW_CODES_NEAR). Each link of level 0 has a code of what
 * lies between the two rows (signs.h), in blocks of 32, so that a search that
 * expands a node estimates the distances of all its neighbours from the node
 * alone. The pool of such a walk is sorted by estimates; exact, or by the row's
 * code, is the distance of what is expanded, and of these the nearest are
 * answered. A walk that has to know who may be answered, or that rows too long
 * turn to exact kernels, goes by rows' codes as ever; so do puts. A block costs
 * the same for one link as for 32, so lists are filled up: with the nearest that
 * algorithm 4 left over, which give way to links that are put later. Bits say
 * which links were chosen.
 *
 * INVARIANTS, while no put runs; hnsw_check says which one broke
 *
 *	I1  A list ends at its first ~0, and all behind it is ~0. Its links
 *	    are distinct and do not name the node itself.
 *	I2  A link on level l names a linked slot whose level is at least l.
 *	I3  The entry is a linked slot, and no level is above its own.
 *	I4  Only links of level 0 are marked, at most tree_max of a node, and
 *	    if a's link to b is marked, so is b's link to a.
 *	I5  Marked links lead from the entry to every linked slot, and there
 *	    are 2 (linked - 1) of them: they are a tree.
 *	I6  term is the inverse norm of the row, and code is the row's code.
 *	I7  As many slots are linked as puts returned 0, but for those purged.
 *	I8  A link's code of its neighbour is what both rows say; marked links
 *	    are chosen, and what is chosen is a link.
 *
 * CONCURRENCY. Any number of puts and searches at once. A put writes a list
 * under the node's lock (striped; one held at a time, so no order is needed)
 * with release stores, a search reads it without a lock with acquire loads:
 * whoever read a link sees the node and the row it names. A search that reads
 * a list while it is rewritten sees old and new links mixed, each of them
 * valid. A code of a neighbour that is read while it is written misleads the
 * walk once, to a row that it then compares. The entry is one atomic word,
 * changed under its own lock.
 *
 * NUMBERS. Walks use codes, or the fast kernels of dist.h; what a search returns
 * is computed anew, exactly. Rows (or queries) so long or short that their
 * squares leave a float's comfortable range turn the walk to exact kernels,
 * slower but right. Halves and whole numbers never do.
 *
 * Slots are below HNSW_SLOT_MAX. Nothing here logs, reads files or exits.
 */
struct hnsw;
struct hnsw_scratch;

#define HNSW_SLOT_MAX 0x7fffffffu /* the top bit of a link is a mark */
#define HNSW_LEVEL_MAX 15	  /* 2^15 nodes on level 0 a node up there */
#define HNSW_TRAIN 1024u	  /* rows that codes are chosen from */

enum hnsw_codes {
	HNSW_CODES_AUTO, /* rows that can have codes do, while they serve */
	HNSW_CODES_NONE,
	HNSW_CODES_BYTE, /* where one can be chosen at all */
	HNSW_CODES_NEAR, /* as AUTO, and codes of neighbours where they can be */
};

struct hnsw_config {
	uint32_t dim;		  /* 1..VG_DIM_MAX */
	enum vg_metric metric;	  /* of walks and answers */
	uint32_t m;		  /* links on the upper levels, 2..VG_M_MAX */
	uint32_t ef_construction; /* candidates of a put, 1..VG_EF_MAX */
	uint64_t seed;		  /* of the levels */
	enum hnsw_codes codes;
	enum vg_dtype dtype; /* of rows; 0: VG_F32 */
};

/* Whether rows of the dtype can have codes under the metric. */
bool hnsw_can_code(enum vg_dtype dtype, enum vg_metric metric);

/* Whether nodes can have codes of their neighbours: of f32, under l2, cosine and
 * ip, up to so many elements. */
#define HNSW_NEAR_DIM_MAX 16384u /* a node's record is below half a MiB */
bool hnsw_can_near(enum vg_dtype dtype, enum vg_metric metric, uint32_t dim);

/*
 * An empty graph over rows (stride vg_row_len), which is borrowed until
 * hnsw_free. Costs some 32 KiB; memory of nodes follows use. Returns owned.
 * -EINVAL: a setting out of range, or a metric that the dtype has not. -ENOMEM.
 */
int hnsw_new(const struct hnsw_config *config, const struct rows *rows,
	struct hnsw **out);

/* Ends a graph that no thread uses any more; NULL is legal. */
void hnsw_free(struct hnsw *h);

/*
 * What one search or put at a time works in: visited marks (a byte a slot),
 * pool, lists. Serves any graph. Grows when a search or put begins, never
 * during one; hnsw_scratch_reserve does it beforehand for an ef and the graph
 * as large as it is now. Returns owned. -ENOMEM: the scratch is as it was.
 */
int hnsw_scratch_new(struct hnsw_scratch **out);
int hnsw_scratch_reserve(struct hnsw_scratch *s, const struct hnsw *h,
	uint32_t ef);
void hnsw_scratch_free(struct hnsw_scratch *s);

/*
 * Links one slot, whose row was written before. Slots come in any order,
 * some never. Any number of threads, beside searches. -ENOMEM: nothing
 * changed. -EEXIST: the slot is linked, or is being linked. -ERANGE: slot is
 * not below HNSW_SLOT_MAX.
 */
int hnsw_put(struct hnsw *h, uint32_t slot, struct hnsw_scratch *s);

/*
 * Chooses what rows are coded by now, from some of slots 0..n-1, all written:
 * so that codes stand for the rows that come, and not for the first of them.
 * Before the first put; without it, or of fewer than HNSW_TRAIN, they are
 * chosen from what is linked.
 */
void hnsw_train_on(struct hnsw *h, uint32_t n);

/*
 * TAKING ROWS OUT. A row that is_visible hides is still walked over, which
 * costs; one that nobody will ask for again can leave the graph for good, in
 * three steps:
 *
 * hnsw_delete marks a linked slot: puts link to it no more, walks still lead
 * over it. -ENOENT: it is not linked. Any thread.
 *
 * hnsw_repair closes the gaps that the marked ones will leave in the lists of
 * slots [from, to): in place of each the list gets the best of its neighbours.
 * It runs beside puts, searches and saves, one at a time, and is the long part;
 * it may be left out. -ENOMEM.
 *
 * hnsw_purge takes all that are marked out: it mends what lists still name
 * them, joins the tree, chooses another entry. Searches may run beside it, and
 * one that began before may still find them; puts, deletes, repairs and saves
 * may not. The next save must be a base. -ENOMEM: all is as before.
 *
 * The memory of a slot's node stays with the graph; the slot is never put again
 * (-EEXIST).
 */
int hnsw_delete(struct hnsw *h, uint32_t slot);
int hnsw_repair(struct hnsw *h, uint32_t from, uint32_t to,
	struct hnsw_scratch *s);
int hnsw_purge(struct hnsw *h, struct hnsw_scratch *s);

/*
 * What is asked. ef (raised to k) is how many candidates a walk keeps: recall
 * and cost grow with it; the pool's moves grow with its square, so beyond some
 * 10,000, or a tenth of the rows, a scan (flat.h) is the better way.
 * is_visible(ctx, slot) says whether a row may be answered; NULL: all may.
 * hidden says about how many rows may not, as a share of all (0..1): where it
 * is a small one, rows are asked about once the walk is over, the nearest until
 * the answer is full, and the walk is done again where unexpectedly many of
 * these are hidden; else each is that would enter the answer. So it decides upon
 * speed alone. Given among, which
 * needs is_visible, only such rows are answered: a walk goes over all rows, or,
 * where fewer than one in six is wanted, from wanted row to wanted row by way
 * of one other, beginning with some from all over; hidden does not matter then.
 * Where walks end with few, hnsw_scan finds the rest. look_ahead (NULL is
 * legal) is told of rows before is_visible is asked about each of them.
 * *cancel (NULL: never) is looked at before each expansion.
 *
 * fetch (NULL is legal) is given the candidates that a walk leaves to be
 * compared, nearest first, all in one call: by_row says that their rows are read
 * next, else codes say their distances. It moves those that may be answered to
 * the front, in their order, and returns how many they are; in place of the
 * others the candidates behind are given in a further call. So rows that stand
 * on a disk are asked of it at once, and those it does not have cost nothing.
 */
struct hnsw_query {
	const void *vec; /* dim finite elements as in rows, borrowed */
	uint32_t k;	  /* 1..VG_K_MAX */
	uint32_t ef;	  /* ..VG_EF_MAX */
	bool (*is_visible)(void *ctx, uint32_t slot);
	void (*look_ahead)(void *ctx, const struct hit *hits, uint32_t n);
	uint32_t (*fetch)(void *ctx, struct hit *hits, uint32_t n, bool by_row);
	void *ctx;
	float hidden;
	const struct among *among; /* NULL: all rows are wanted */
	const _Atomic bool *cancel;
	uint32_t *n_kept; /* told: candidates, ef at most, among which the
			     answer's were chosen, but for those that turned
			     out to be hidden or that fetch did not keep; NULL:
			     not */
};

/*
 * Fills out[0..*n) (room for max(k, ef)) with visible rows near vec: the k
 * nearest found, and behind them every other candidate that could be equally
 * far as the k-th, so that the caller can order ties his own way and cut (of
 * rows that equal one another max(k, ef / 4) are candidates at most). Where
 * codes round off, the nearest max(2 k + 16, ef / 4) candidates by codes (ef at
 * most) are compared, and those that are as far as the k-th by codes. All
 * distances are exact (dist.h), the order is (dist, slot). *n is below k when
 * the graph has no more rows, or when hardly any is visible: the walk gives up
 * after it kept 16 ef + 1024 rows (32,768 at most, or ef) that are not, so a
 * graph of no more rows than that never comes short. Rows put while the search
 * runs may be found or not.
 *
 * -EINVAL: k is 0 or above VG_EF_MAX. -ENOMEM: the scratch had to grow. -EINTR: cancelled.
 */
int hnsw_search(const struct hnsw *h, const struct hnsw_query *q,
	struct hnsw_scratch *s, struct hit *out, uint32_t *n);

/*
 * The same by a look at each row of q->among that is linked (ef does not
 * matter), by codes where there are some: for few rows the faster way. out has
 * room for hnsw_scan_room(k).
 */
static inline uint32_t hnsw_scan_room(uint32_t k)
{
	return 2 * k + 16;
}
int hnsw_scan(const struct hnsw *h, const struct hnsw_query *q,
	struct hnsw_scratch *s, struct hit *out, uint32_t *n);

/*
 * Walks all invariants. 0, or -VG_ECORRUPT with the one that broke in *why (a
 * constant, borrowed). -ENOMEM. No put may run.
 */
int hnsw_check(const struct hnsw *h, const char **why);

/* Whether a put of slot has returned 0, or a loaded graph has it, and it was not
 * purged. Any thread. */
bool hnsw_is_linked(const struct hnsw *h, uint32_t slot);

/* How many slots are: hnsw_stat's `linked` without its walk. Any thread. */
uint32_t hnsw_count(const struct hnsw *h);

/*
 * SAVING. A graph is a stream of bytes (index/hnsw_stream.h has them) that
 * the caller carries to a file and back. A base is the whole graph, a delta
 * the nodes that changed since the last save, base or delta. A base is saved
 * in two steps so that puts hardly wait: hnsw_save_base writes all nodes while
 * puts and searches go on, hnsw_save_rest, while no put runs, those that
 * changed meanwhile, and the end. No put runs beside hnsw_save_delta either;
 * searches may run beside each of them, another save beside none.
 *
 * write is called for up to 512 KiB at a time; bytes are borrowed until it
 * returns. Its error is returned; -ENOMEM. After any error, and in a graph
 * that was neither saved nor loaded, the next save must be a base: -EINVAL
 * says that this step is not the one that comes next, and changes nothing.
 */
struct hnsw_sink {
	int (*write)(void *ctx, const void *bytes, size_t len); /* 0 or error */
	void *ctx;
};
int hnsw_save_base(struct hnsw *h, const struct hnsw_sink *sink);
int hnsw_save_rest(struct hnsw *h, const struct hnsw_sink *sink);
int hnsw_save_delta(struct hnsw *h, const struct hnsw_sink *sink);

/*
 * Bytes that a delta would have now, and at most that a base would. Where only
 * a base can be next, delta says the base's. Looks at two bits a slot and at
 * the nodes a delta would have. Any thread.
 */
void hnsw_save_cost(const struct hnsw *h, size_t *delta, size_t *base);

/*
 * LOADING. read fills buf with the next len bytes of the stream: 0, or an
 * error (its end is one, too). A base makes the graph, as hnsw_new; deltas are
 * then loaded in the order in which they were saved. n_rows: rows there are; a
 * graph that names others is refused, but no row is read. -VG_ECORRUPT: not
 * such a stream, of another config, or breaking an invariant that a search or
 * put relies on (every link of a list names a linked slot of its level below
 * n_rows; no walk may leave the graph), whatever the bytes are; *why (constant)
 * says what. -EINVAL: the config, as hnsw_new. -ENOMEM; what read returned.
 * After an error of a delta the graph is to be freed. Nothing else may use h.
 * What follows the stream is not read.
 *
 * Some that is wrong is let in as it harms nothing but recall (hnsw_check finds
 * it): a link that is there twice, marks that are no tree, a wrong term. So a
 * caller who must know sums the bytes.
 */
struct hnsw_source {
	int (*read)(void *ctx, void *buf, size_t len);
	void *ctx;
};
int hnsw_load_base(const struct hnsw_config *config, const struct rows *rows,
	uint32_t n_rows, const struct hnsw_source *source, const char **why,
	struct hnsw **out);
int hnsw_load_delta(struct hnsw *h, uint32_t n_rows,
	const struct hnsw_source *source, const char **why);

struct hnsw_stat {
	uint32_t linked;  /* slots in the graph */
	uint32_t levels;  /* 0: empty */
	uint64_t n_links; /* on level 0 */
	uint32_t coded;	  /* of linked: they have codes */
	bool has_quant;	  /* walks go by codes... */
	struct quant quant; /* ...as this says */
	size_t bytes;	  /* memory of nodes, lists and the graph itself */
};

/* Counts, by a walk over all nodes; beside puts every figure is of some moment
 * of the call. */
void hnsw_stat(const struct hnsw *h, struct hnsw_stat *out);

/* What walks go by and over, at once. */
struct hnsw_coding {
	bool has_room;	    /* nodes have room for codes */
	bool is_chosen;	    /* what they are by... */
	bool is_left;	    /* ...and that they are not used any more */
	bool is_wild;	    /* some row turns walks to exact kernels */
	bool has_near;	    /* nodes have codes of neighbours */
	struct quant quant; /* if is_chosen */
	uint32_t levels; /* 0: empty */
	uint32_t linked;
	uint32_t coded; /* of linked */
	size_t bytes;	/* of nodes and lists that are handed out */
};

void hnsw_coding(const struct hnsw *h, struct hnsw_coding *out);

#endif
