/* SPDX-License-Identifier: Apache-2.0 */
/* powerkit.h: lives of a store on a simulated disk, cut off at any call. */
#ifndef TESTS_POWERKIT_H
#define TESTS_POWERKIT_H

#include "tests/powermodel.h"
#include "tests/simdisk.h"

/*
 * A run is a store's life, or several: random changes of every kind, batches,
 * syncs, checkpoints, restarts. At calls to the disk a power cut is drawn. What
 * is left is judged: the store opens; what it holds is the model after some
 * change, none before the last one acknowledged; it is sound; it takes more
 * changes and a checkpoint, and while it does all this the power is cut once
 * more, and what is left then is judged, too.
 *
 * Where a call fails, the program that failed is started again on the same
 * kernel, which goes on with what it did not write.
 */
struct pk_config {
	struct sim_config disk;
	enum store_durability durability;
	uint64_t segment_size;
	uint64_t checkpoint_bytes; /* that the store makes one by itself; then
				      a seed does not say all */
	bool keeps; /* what older manifests name stays an hour */
	unsigned steps;
	unsigned one_in; /* of how many calls a power cut is drawn at one */
	unsigned flips; /* of how many states one has a flipped bit; 0: none */
	unsigned batch; /* changes of a commit, at most */
	struct sim_fault fault; /* of the first life */
	unsigned faults; /* set again after so many restarts */
	uint64_t full_at; /* after some steps so many bytes of capacity... */
	unsigned full_for; /* ...for so many steps */
	struct io *(*wrap)(struct sim *sim); /* or NULL: stands between the
						store and the run's disk */
};

struct pk_tally {
	uint64_t states;  /* judged */
	uint64_t twice;	  /* second power cuts among them */
	uint64_t lost;	  /* bad ones, or answers */
	uint64_t restarts, checkpoints, full, flips, refused, from_manifest,
		deltas;
	bool stops;	  /* at the first bad one */
	char why[600];	  /* the first bad one */
	uint64_t seed;	  /* of its run */
};

/* One run with these dice; what it finds is added to t. */
void pk_run(const struct pk_config *cfg, uint64_t seed, struct pk_tally *t);

/* One more run, its settings drawn too. The seed says them all. */
void pk_draw_config(uint64_t seed, struct pk_config *cfg);

/* Says what was found, as a diagnostic. */
void pk_tell(const struct pk_tally *t);

#endif
