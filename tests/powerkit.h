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
enum pk_kind {
	PK_HONEST,     /* nothing but the power fails; flipped bits */
	PK_FULL,       /* the disk is full for a while */
	PK_FULL_GROWS, /* and cannot allocate ahead */
	PK_SYNC,       /* a sync fails, once or from then on */
	PK_WRITE,
	PK_CALL,
	PK_NO_SPACE, /* a call fails as if the disk were full */
	PK_KINDS,
};

struct pk_config {
	struct sim_config disk;
	enum store_durability durability;
	uint64_t segment_size;
	uint64_t checkpoint_bytes; /* that the store makes one by itself; then
				      a seed does not say all */
	bool keeps; /* what older manifests name stays an hour */
	bool copies; /* the disk is copied meanwhile, file by file, wal/ last:
			what is copied is judged, too */
	bool links; /* between steps files get a second name, as of a copy, which
		       keeps the bytes that they have then; checkpoints are made
		       in steps only */
	unsigned steps;
	unsigned one_in; /* of how many calls a power cut is drawn at one */
	unsigned flips; /* of how many states one has a flipped bit; 0: none */
	unsigned batch; /* changes of a commit, at most */
	bool is_same;	/* all of one size in the log, so that new ones fall
			   on the places of old ones */
	struct sim_fault fault; /* of the first life */
	uint64_t full_at; /* after some steps so many bytes of capacity... */
	unsigned full_for; /* ...for so many steps */
	/* Or NULL: what stands between the stores and their disks; ended by
	 * unwrap, when the store is closed. fails: calls may fail. */
	struct io *(*wrap)(struct sim *sim, bool fails);
	void (*unwrap)(struct io *io);
};

/* The bit that is flipped at the moment, for who wants to overlook it. */
struct pk_flip {
	char path[160]; /* "": none */
	uint64_t offset;
	uint8_t bits;
};
extern struct pk_flip pk_flip;

struct pk_tally {
	uint64_t states;  /* judged */
	uint64_t twice;	  /* second power cuts among them */
	uint64_t lost;	  /* bad ones, or answers */
	uint64_t restarts, checkpoints, full, flips, refused, from_manifest,
		copies, compactions;
	bool stops;	  /* at the first bad one */
	char why[600];	  /* the first bad one */
	uint64_t seed;	  /* of its run */
};

/* One run with these dice; what it finds is added to t. */
void pk_run(const struct pk_config *cfg, uint64_t seed, struct pk_tally *t);

/* A run's settings: kind and seed say them all. */
void pk_draw_config(enum pk_kind kind, uint64_t seed, struct pk_config *cfg);

/* Says what was found, as a diagnostic. */
void pk_tell(const struct pk_tally *t);

#endif
