/* SPDX-License-Identifier: Apache-2.0 */
/* recall.h: queries that were sampled, and what they say of a recall. */
#ifndef VG_RECALL_H
#define VG_RECALL_H

#include "src/op.h"

/*
 * SAMPLES. A collection keeps queries that its users made, so that their
 * answers can be compared with exact ones later (src/tune.h). The first ones
 * are all taken, then fewer and fewer, down to one search in RECALL_PERIOD; a
 * new one takes the place of the oldest. A query that is there already is not
 * taken again: it would say nothing new. What a sample costs a search is a
 * hash and a copy of its vector; who finds the samples in use goes on without.
 *
 * THE INTERVAL. Queries are what was drawn; answers of one query are missed
 * together (it lies where the graph is poor), so ten answers of each of 100
 * queries are not 1,000 draws. The estimate is the mean over queries of the
 * share of the k nearest that was found. Its interval is Wilson's for a share p
 * of n_eff draws (E. B. Wilson, JASA 22, 1927), at 95 %, where n_eff is the
 * number of draws of which p would have the variance that is found between
 * queries: n p (1 - p) / V. This is the practice for surveys of clusters (Korn
 * and Graubard, Survey Methodology 24, 1998). With no miss, or few, V is not
 * known: so one query more is taken for granted which missed GROUP answers.
 * Normal or bootstrap intervals have no width where no query missed any, and
 * that is where an ef is chosen.
 */
#define RECALL_SAMPLES 1024u	/* queries at most... */
#define RECALL_BYTES (4u << 20) /* ...in about so many bytes... */
#define RECALL_SAMPLES_MIN 64u	/* ...but so many, however long vectors are */
#define RECALL_ROWS_SHARE 8u	/* ...and, of all rows, one in so many */
#define RECALL_PERIOD 64u
#define RECALL_MIN 50u /* queries before an ef is chosen by them */
#define RECALL_GROUP 2.0
#define RECALL_Z2 3.8414588 /* the square of the normal quantile of .975 */

/* A query as it was asked. */
struct recall_query {
	const void *vec; /* dim elements of dtype, borrowed */
	enum vg_dtype dtype;
	uint32_t dim, k;
	struct vg_id leave_out; /* borrowed; len 0: none */
};

struct recall;

int recall_new(struct recall **out); /* -ENOMEM */
void recall_free(struct recall *r);  /* NULL is allowed */

/* Whether the nth search is one that is to be offered. Any thread, no lock. */
bool recall_wants(const struct recall *r, uint64_t nth);

/*
 * Takes the nth search's query, or not: it is known, somebody uses the samples,
 * there is no memory. n_rows: of the collection. Whether so many were taken
 * since it was true last that it is worth a look at them. Any thread.
 */
bool recall_offer(struct recall *r, uint64_t nth, uint32_t n_rows,
	const struct recall_query *q);

/* A copy of a sample; of zeros at first, freed by recall_copy_free. */
struct recall_copy {
	struct recall_query query; /* borrowed from what follows */
	void *vec;
	size_t cap;
	char id[VG_ID_MAX];
};

/* Copies the sample at place i. -ENOENT: there is none. -ENOMEM. Any thread. */
int recall_get(struct recall *r, uint32_t i, struct recall_copy *out);
void recall_copy_free(struct recall_copy *copy);

/* The samples of one class of k (config_ef_class). */
struct recall_samples {
	uint32_t n;
	uint64_t taken;	       /* ever, those that went included */
	uint32_t k_min, k_max; /* 0: there are none */
	uint32_t needed; /* for a choice: so many that if they miss nothing the
			    interval is above target; but RECALL_MIN at least,
			    and no more than a fourth of what is kept */
};
void recall_count(struct recall *r, double target,
	struct recall_samples out[OP_EF_CLASSES]);

/* Sums over queries, of zeros at first. */
struct recall_sum {
	uint32_t n;
	uint64_t answers;
	double miss, miss2; /* shares that were missed, and their squares */
	double group;	    /* shares that GROUP answers would be */
};

/* The share of k answers that GROUP are: all at most. */
double recall_group(uint32_t k);

/* One query: `found` of the k that there are (1 or more) were found. */
void recall_add(struct recall_sum *sum, uint32_t found, uint32_t k);

struct recall_estimate {
	double recall, low, high; /* low..high: the interval; 0, 0, 1 of none */
	uint32_t n;		  /* queries */
};
struct recall_estimate recall_estimate(const struct recall_sum *sum);

/* Efs in ascending order, and what was found with each. */
#define RECALL_RUNGS 19u
struct recall_ladder {
	uint32_t ef[RECALL_RUNGS];
	struct recall_sum sum[RECALL_RUNGS];
	uint32_t n;
	bool has_scan; /* the last makes searches scan */
};

/* The first rung whose interval is not below target; else the first of those
 * with the highest estimate, and *is_met is false. */
uint32_t recall_choose(
	const struct recall_ladder *ladder, double target, bool *is_met);

/* What was measured of a class last. */
struct recall_result {
	bool is_set;
	bool is_met; /* target_recall is */
	struct recall_estimate estimate;
	uint32_t ef; /* that it is the estimate of */
	uint32_t k_min, k_max;
	uint64_t taken; /* of recall_samples, then */
	struct recall_ladder ladder; /* from which ef was chosen */
	struct recall_state {
		uint32_t target_recall, ef_search; /* as in op_config */
		uint32_t gen, cell;		   /* their numbers */
		uint32_t n_learnt; /* ivf_stat: trained; 0: no lists */
		uint32_t n_slots;
		uint64_t n_repaired; /* rows that left the graph so far */
		uint64_t n_live;
	} of; /* the state of the collection */
};
void recall_put_result(struct recall *r, unsigned class,
	const struct recall_result *result);
struct recall_result recall_result(struct recall *r, unsigned class);

#endif
