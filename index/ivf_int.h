/* SPDX-License-Identifier: Apache-2.0 */
/* ivf_int.h: what the ivf*.c files share; ivf.h explains it. */
#ifndef INDEX_IVF_INT_H
#define INDEX_IVF_INT_H

#include <assert.h>
#include <pthread.h>

#include "index/ivf.h"
#include "index/pq.h"

#define N_STRIPES 64u
#define BITS_SHIFT 17u /* slots of a chunk of bits */
#define BITS_CHUNKS ((IVF_SLOT_MAX >> BITS_SHIFT) + 1)

/* Records of a list; all but next is what a list's length has passed. */
struct ivf_block {
	struct ivf_block *next;
	uint32_t slot[IVF_BLOCK];
	float term[IVF_BLOCK];
	uint8_t code[]; /* m * IVF_BLOCK; the last list has none */
};

struct ivf_list {
	struct ivf_block *first;  /* set before n leaves 0 */
	struct ivf_block *last;	  /* stripe: where the next record goes */
	_Atomic uint32_t n;	  /* records; release behind each */
	_Atomic uint32_t n_saved; /* of them; relaxed: the saver's */
};

typedef _Atomic uint64_t ivf_word; /* bits of 64 slots, the lowest first */

/* What was learnt at once, and the rows by it. */
struct ivf_core {
	uint32_t refs; /* ivf->lock */
	uint32_t dim;
	uint32_t n_lists;	 /* with centroids; 0: nothing was learnt */
	uint32_t trained;	 /* rows there were */
	float *centroids;	 /* n_lists * dim, in the tree's order */
	struct kmeans_tree tree; /* of n_lists > 0 */
	struct pq pq;		 /* of n_lists > 0 */
	struct ivf_list *list;	 /* n_lists + 1: the last is without codes */
	_Atomic(ivf_word *)
		*bits;	    /* BITS_CHUNKS; set once under grow, release */
	_Atomic uint32_t n; /* slots that are in; relaxed: a count */
	_Atomic uint32_t n_exact; /* of them in the last list; the same */
	_Atomic size_t bytes;	  /* of blocks and bits; the same */
	pthread_mutex_t grow;
	pthread_mutex_t stripe[N_STRIPES]; /* writers of a list */
	bool is_saved;	  /* ivf->lock: a base of it was saved... */
	uint32_t n_saved; /* the same: ...with so many slots, deltas and all */
};

struct ivf {
	struct ivf_config config;
	const struct rows *rows; /* borrowed */
	pthread_mutex_t lock;	 /* a leaf: of what follows */
	pthread_cond_t cond;	 /* nobody is putting, or the change is over */
	struct ivf_core *core;	 /* a reference */
	uint32_t n_putting;	 /* puts under way */
	bool is_changing;	 /* no put begins */
	bool is_training;
	uint32_t train_at; /* rows from which on ivf_train is due */
};

struct ivf_scratch {
	float *vec;  /* n_vec each: a row or query as it is compared... */
	float *rest; /* ...and what its centroid leaves of it */
	uint32_t n_vec;
	uint8_t *code; /* n_m */
	float *table;  /* 256 * n_m */
	uint32_t n_m;
	float *far;	    /* n_lists: of the centroids */
	struct hit *probes; /* n_lists: the nearest */
	uint32_t n_lists;
	struct hit *found; /* n_found: candidates */
	uint32_t n_found;
};

/* The rows from which on lists are made anew that were made of n. */
uint32_t ivf_next_train(uint32_t n);

/* The lists for n rows. */
uint32_t ivf_lists_for(uint32_t n);

/* Bytes of a code of dim elements. */
uint32_t ivf_code_len(uint32_t dim);

/* Makes one without rows; centroids and points are to be filled. -ENOMEM. */
int ivf_core_new(uint32_t dim, uint32_t n_lists, struct ivf_core **out);

/* References, under v->lock. */
struct ivf_core *ivf_core_get(struct ivf *v);
void ivf_core_put(struct ivf *v, struct ivf_core *core);
void ivf_core_free(struct ivf_core *core); /* one that nobody else has */

/* Room for what core needs, and for ef candidates. -ENOMEM. */
int ivf_scratch_reserve(struct ivf_scratch *s, const struct ivf_core *core,
	uint32_t ef);

/* The row as it is compared, 1 long under cosine; false: it has no code. */
bool ivf_prepare(const struct ivf *v, const float *row, float *out);

/* One record, before it is in a list. */
struct ivf_record {
	uint32_t slot;
	uint32_t list;
	float term;
	const uint8_t *code; /* NULL in the last list */
};

/* Puts a record into its list. -EEXIST, -ENOMEM: nothing changed. */
int ivf_core_add(struct ivf_core *core, const struct ivf_record *record);

/* The record of a row that was prepared, whose list is known; its code goes to
 * s->code. */
struct ivf_record ivf_code(const struct ivf *v, const struct ivf_core *core,
	const float *vec, uint32_t list, struct ivf_scratch *s);

/* The word of a slot's bit; NULL: no slot near it was put. */
ivf_word *ivf_core_bits(const struct ivf_core *core, uint32_t slot);
bool ivf_core_has(const struct ivf_core *core, uint32_t slot);

/* Bytes of a record in a stream. */
static inline size_t ivf_record_len(const struct ivf_core *core, uint32_t list)
{
	return list < core->n_lists ? 8 + (size_t)core->pq.m : 4;
}

/* Bytes of a block of a list. */
static inline size_t ivf_block_len(const struct ivf_core *core, uint32_t list)
{
	return sizeof(struct ivf_block) +
	       (list < core->n_lists ? (size_t)core->pq.m * IVF_BLOCK : 0);
}

#endif
