/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk.h: a disk in memory that forgets, reorders, tears, fails and fills up. */
#ifndef TESTS_SIMDISK_H
#define TESTS_SIMDISK_H

#include "src/io.h"

/*
 * A struct sim is a file system as a program sees it through struct io, and at
 * the same time all that a power cut could leave of it. sim_crash draws one
 * such state as a new disk; sim_clone is the disk after a kill -9, when the
 * kernel goes on.
 *
 * WHAT IS SAFE. Nothing, until a sync of it returned 0:
 *
 *  1  sync of a file makes safe its bytes and its size, not its name. write
 *     with `durable` is a write and then such a sync: two calls, and a power
 *     cut or a fault may come between them.
 *  2  sync of a directory makes safe which names it has, not the directory's
 *     own name, nor any bytes of its files.
 *
 * WHAT MAY BE LEFT of what was not synced (SIM_SUBSET, the hardest mode):
 *
 *  3  Each sector of a file is what it was at the last sync, or what it was
 *     after any later write to it, whole, whatever became of the others.
 *  4  The size is the synced one or any one since, whatever became of the
 *     bytes: those that are missing are zeros, those beyond it are gone.
 *  5  A truncate is the size's; if it took effect, so did the cut of sectors.
 *  6  Each change of names (create, link, unlink, rename, mkdir, rmdir) is
 *     there or not, whatever became of the others, but in order where two
 *     concern the same name of the same directory; and a rename is there
 *     wholly or not at all. (With names_in_order, changes of one directory are
 *     there up to some point, as a journal has them.)
 *  7  What has no name any more is gone. A file that was unlinked, and the
 *     unlink not synced, may be back.
 *
 * This is weaker than what ext4 and XFS promise (one journal for all names, a
 * size that waits for its data), on purpose: what holds here needs no more
 * than POSIX. It is stronger than a broken disk: what was synced is there.
 *
 * Where the program itself is at fault (no memory for the simulation, a wrong
 * flag) the test ends with a diagnostic. Memory is not taken through malloc,
 * so that tests can make that fail below the program alone.
 *
 * THREADS. Each call of the table and each function here takes the disk's one
 * lock; several disks share what they have in common, safely. Nothing here
 * starts a thread or reads a clock: the same calls and seeds give the same
 * bytes.
 */
struct sim;

struct sim_config {
	uint64_t seed;	     /* of its own dice: what faults leave, lists */
	uint64_t capacity;   /* bytes for files' pages; 0: no limit */
	uint32_t sector;     /* written whole: 512 or 4096; 0: 4096 */
	bool names_in_order; /* see 6 */
	bool no_map;	     /* map is -EOPNOTSUPP; else it maps a copy */
	bool no_allocate;    /* allocate is -EOPNOTSUPP */
};

/* An empty disk, all of it safe. cfg NULL: zeros. Returned owned. */
struct sim *sim_new(const struct sim_config *cfg);

/* Frees it, open descriptors too; not while another thread uses it. NULL is
 * allowed. Other disks made from it live on. */
void sim_free(struct sim *sim);

/* Borrowed, for as long as the disk lives: any number of threads. */
struct io *sim_get_io(struct sim *sim);

/* The root's descriptor; it needs no close. No descriptor of a simulated disk
 * is one that the kernel knows; all disks' roots have the same number. */
int sim_root(struct sim *sim);

/* ---- after the power cut ---- */

enum sim_mode {
	SIM_NONE,   /* nothing but what is safe */
	SIM_ALL,    /* everything, as if it had been synced at last */
	SIM_PREFIX, /* all changes up to some moment, the last one torn */
	SIM_SUBSET, /* any, by rules 3 to 6, in sectors of the disk's size */
	SIM_TORN,   /* the same in sectors of 512 bytes */
	SIM_MODES,
};

/*
 * Draws a disk as it may be found after a power cut now; all of it is safe.
 * It has the settings and the damages (sim_flip, sim_bad) of this one, no
 * descriptor, no fault, no lie, no watcher, and counts from 0. This one goes on
 * unharmed. The same seed and mode draw the same. Returned owned.
 */
struct sim *sim_crash(struct sim *sim, uint64_t seed, enum sim_mode mode);

/* The same disk once more, with what is not safe and what it looks like to
 * readers; as sim_crash in all else. Costs little: pages are shared until one
 * of the two writes them. Returned owned. */
struct sim *sim_clone(struct sim *sim);

/* ---- what is called, and when ---- */

enum sim_call {
	SIM_OPEN,
	SIM_STAT,
	SIM_READ,
	SIM_WRITE,
	SIM_SYNC,
	SIM_ALLOCATE,
	SIM_TRUNCATE,
	SIM_UNLINK,
	SIM_RENAME,
	SIM_MKDIR,
	SIM_RMDIR,
	SIM_MAP,
	SIM_LIST,
	SIM_CALLS,
};
#define SIM_BIT(call) (1u << (call))
#define SIM_ANY (SIM_BIT(SIM_CALLS) - 1)
/* Calls that change the disk, or what of it is safe: a cut between two others
 * finds what a cut before or behind them does. */
#define SIM_CHANGES                                                            \
	(SIM_BIT(SIM_OPEN) | SIM_BIT(SIM_WRITE) | SIM_BIT(SIM_SYNC) |          \
		SIM_BIT(SIM_ALLOCATE) | SIM_BIT(SIM_TRUNCATE) |                \
		SIM_BIT(SIM_UNLINK) | SIM_BIT(SIM_RENAME) |                    \
		SIM_BIT(SIM_MKDIR) | SIM_BIT(SIM_RMDIR))

/*
 * Called before a call does anything, with the call's number (from 1 on, of
 * all kinds), under the disk's lock and by the thread that calls: sim_crash,
 * sim_clone and sim_stat may be called on it, the table may not. So one run of
 * a workload sees the disk at each moment at which power can fail.
 */
typedef void sim_watch_fn(void *ctx, struct sim *sim, enum sim_call call,
	uint64_t number);

/* Watches calls of these kinds (bits); NULL: no longer. */
void sim_watch(struct sim *sim, unsigned calls, sim_watch_fn *watch, void *ctx);

struct sim_stat {
	uint64_t calls;		   /* of all kinds, failed ones too */
	uint64_t count[SIM_CALLS]; /* by kind */
	uint64_t failed;	   /* by sim_fail */
	uint64_t lied;		   /* syncs, by sim_lie */
	uint64_t bytes_written, bytes_read;
	uint64_t pending; /* changes that are not safe */
	uint64_t used;	  /* bytes of capacity */
	uint64_t opened;  /* descriptors that are not closed */
};
void sim_stat(struct sim *sim, struct sim_stat *out);

/* ---- what goes wrong ---- */

/*
 * From now on the nth call among these kinds fails with rc, or it and every
 * one after it. nth 0: no more. A call that fails does nothing; with `partly`
 * a write leaves any part of its bytes and a sync makes any pages safe. A sync
 * of a file that fails loses what it did not make safe, as Linux does: readers
 * see it still, but no later sync, which succeeds, writes it, unless its page
 * is written to again. Its sizes are still to be synced: metadata. Names that
 * a failed sync had to make safe are lost in the same way. A durable write
 * whose sync fails says io_sync_error(rc).
 */
struct sim_fault {
	unsigned calls; /* bits */
	uint64_t nth;
	bool for_ever;
	bool partly;
	int rc; /* negative errno */
};
void sim_fail(struct sim *sim, const struct sim_fault *fault);

/*
 * Syncs from now on return 0 and do nothing, where the descriptor was opened
 * by a name (the last part of its path; the root's is empty) that begins with
 * prefix: so a test shows that it would notice a sync that is missing. They
 * are no steps: neither counted nor failed. prefix NULL: no more.
 */
#define SIM_LIE_FILES 1u
#define SIM_LIE_DIRS 2u
void sim_lie(struct sim *sim, unsigned what, const char *prefix);

/*
 * Files take whole pages of 4,096 bytes where they are written or allocated,
 * and give them back when cut, or unlinked and closed. A write that does not
 * fit leaves what did, and is -ENOSPC; an allocate takes nothing then. Less
 * than what is used is allowed: then nothing more fits. 0: no limit.
 */
void sim_set_capacity(struct sim *sim, uint64_t bytes);

/* Reads of the byte at offset of the file at path (from the root) find these
 * bits flipped: the next read, or every one. At most SIM_DAMAGES at a time.
 * -ENOENT: there is no such file. */
#define SIM_DAMAGES 16
int sim_flip(struct sim *sim, const char *path, uint64_t offset, uint8_t bits,
	bool for_ever);

/* Reads that touch these bytes return rc: the next one, or every one. */
struct sim_range {
	uint64_t offset, len;
};
int sim_bad(struct sim *sim, const char *path, struct sim_range range, int rc,
	bool for_ever);

/* Undoes every sim_flip and sim_bad. */
void sim_heal(struct sim *sim);

/* ---- what tests do to a disk; neither counted nor failed ---- */

/* Everything is safe, as after sync(1). */
void sim_sync_all(struct sim *sim);

/* Gives the file `from` another name, as cp -al and rsync --link-dest do; not
 * safe yet. Paths from the root. -ENOENT, -EEXIST, -EISDIR. */
int sim_link(struct sim *sim, const char *from, const char *to);

/* The file's bytes as readers see them, one more zero behind them; owned by
 * the caller: free. NULL: there is no such file. */
void *sim_load(struct sim *sim, const char *path, size_t *len);

/* Makes the file these bytes, and safe with all names of its directory, which
 * exists. -ENOENT, -EISDIR, -ENOSPC. */
int sim_save(struct sim *sim, const char *path, const void *bytes, size_t len);

/* Calls each for every name, directories before what is in them, else in no
 * order; what it returns but 0 ends it. It may call what this header has. */
typedef int sim_each_fn(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st);
int sim_each(struct sim *sim, sim_each_fn *each, void *ctx);

/* Copies all files to a real, empty directory, to look at what was found. */
int sim_export(struct sim *sim, const char *dir);

#endif
