/* SPDX-License-Identifier: Apache-2.0 */
/* mutants.h: disks that leave out what the store relies on, one thing each. */
#ifndef TESTS_MUTANTS_H
#define TESTS_MUTANTS_H

#include "tests/simdisk.h"

/*
 * A mutant is the store with one protection less. Most are a table of calls
 * that leaves something out, between the store and its disk; the others are
 * functions of the store that the linker wrapped (tests/cut/store_mutants.c).
 */
enum mutant {
	M_NONE,
	M_SYNC_LOG,	 /* no sync of the log's segments */
	M_SYNC_LOG_DIR,	 /* of wal/, which names them */
	M_SYNC_ROWS,	 /* of columns' rows */
	M_SYNC_SUMS,	 /* of their sums */
	M_SYNC_MANIFEST, /* of a manifest, before its name */
	M_SYNC_ROOT,	 /* of the data directory, which names manifests */
	M_SYNC_C,	 /* of c/ */
	M_SYNC_UUID,	 /* of c/<uuid>/ */
	M_SYNC_FORMAT,
	M_SYNC_GRAPH, /* which are made again where they are not whole */
	M_TAIL,	    /* a torn tail is not cut */
	M_SURE,	    /* what an open read of the log is taken for safe */
	M_DIRS,	    /* so are directories without files */
	M_GRACE,    /* what a copy under way needs goes at once */
	M_LINKS,    /* a file that a copy shares is written to */
	M_MAP,	    /* columns are written through a shared mapping */
	M_BY_IO, /* those above are made by a table of calls */
	M_LOG_SUM,  /* the log's checksums are not looked at */
	M_MANIFEST_SUM,
	M_COLUMN_SUM,
	M_ACK,	    /* an answer does not wait for the sync */
	M_APPLY,    /* a change is applied whether or not it is in the log */
	M_EARLY_MANIFEST, /* and the log is cut, before the columns' sync */
	M_EARLY_CUT,	  /* the log is cut before the manifest */
	M_RENEW,    /* a manifest that was found is taken for durable */
	M_RETRY,    /* a failed sync of files is tried again */
	M_ATOMIC,   /* changes that go in together are a frame each */
	M_PAST,	    /* generations that only snapshots show are in no manifest */
	MUTANTS,
};

/* The mutant at work; set before threads are made. */
extern enum mutant mutant;

/* As pk_config's: a table over the disk's. */
struct io *mutant_wrap(struct sim *sim, bool fails);
void mutant_unwrap(struct io *io);

/* Where the byte that pk_flip flips was read to last; NULL: nowhere. */
extern _Atomic(uint8_t *) mutant_flipped;

#endif
