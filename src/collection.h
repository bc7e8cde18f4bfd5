/* SPDX-License-Identifier: Apache-2.0 */
/* collection.h: records of one dimension and metric: versions, slots, ids. */
#ifndef VG_COLLECTION_H
#define VG_COLLECTION_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/blob.h"
#include "src/column.h"
#include "src/meta.h"
#include "src/moment.h"
#include "src/op.h"

struct fields;
struct hnsw;
struct ivf;
struct match_kept;
struct recall;
struct roaring_bitmap_s;

/*
 * A version is one state of a record. Nothing is overwritten: an update is a
 * new version plus an end mark on the old one, a delete an end mark. A slot is
 * a vector's row in the column and its node in the graph; only a new vector
 * takes a new one, so changing metadata, touching and renaming relink nothing.
 *
 *   id table ──> newest version of an id ──older──> ... ──> VERSION_NONE
 *   slot     ──> newest version of a slot ─sibling─> ...
 *
 * Everything but `end` is written before the version is reachable, and never
 * again: readers take no lock. Only store_apply writes (one thread at a time).
 */
struct version {
	uint64_t begin;	      /* seq in the id's partition */
	_Atomic uint64_t end; /* seq, or VERSION_OPEN; release by apply, so that
				 who sees the mark sees what replaced it */
	int64_t mtime_ns;
	struct cell *cell;
	uint32_t id;	    /* {u8 len, bytes} in gen->blob: version_id() */
	uint32_t meta;	    /* stored form, in gen->blob: version_meta() */
	uint32_t meta_len;  /* 0: none */
	uint32_t slot;	    /* in cell */
	uint32_t older;	    /* the id's version before this */
	uint32_t sibling;   /* the slot's version before this */
	uint16_t partition; /* of the id */
};

#define VERSION_NONE UINT32_MAX
#define VERSION_OPEN UINT64_MAX

/* What the index does with a slot. */
enum slot_state {
	SLOT_PENDING = 0, /* the exact tail scans it */
	SLOT_LINKED = 1,  /* the graph finds it */
	SLOT_SKIPPED = 2, /* ended before it was linked: never will be */
};

struct slot {
	_Atomic uint32_t head;	/* its newest version; release by apply */
	_Atomic uint32_t state; /* enum slot_state; release by an indexer:
				   who reads LINKED finds it in the graph */
};

/*
 * The rows of a collection and their index: what depends on dim and metric.
 * A generation gets one with its first vector. While the only record comes
 * from a file that is still open, its next flush may set dim again: then a
 * new cell takes over and the old one is kept for who still reads it.
 */
struct cell {
	struct generation *gen; /* borrowed: it owns the cell */
	struct cell *retired;	 /* the cell before this */
	enum vg_dtype dtype;
	enum vg_metric metric;
	enum vg_index index;
	enum vg_quant quant;
	uint32_t dim, m, ef_construction;
	uint32_t number;    /* 0, 1, ... of the collection's cells */
	bool is_gone; /* loaded without rows: all its versions have ended */
	_Atomic uint64_t *damaged; /* bits of groups of rows, as vec.rows.sure;
				      NULL: no row is from a file */
	_Atomic uint32_t n_damaged; /* groups; relaxed: read behind `sure` */
	_Atomic uint32_t n_unread; /* times that a group was not looked at for
				      want of descriptors; relaxed */
	_Atomic bool is_damage_told;  /* relaxed: a line of the log */
	struct column vec;  /* dim elements of dtype a row */
	struct column slots; /* struct slot */
	/* What finds rows without looking at all; both NULL: flat. */
	struct hnsw *hnsw;
	struct ivf *ivf;
	_Atomic uint64_t n_repaired; /* rows that left the graph; relaxed */
	uint32_t n_trained;  /* rows that the graph's codes were chosen from,
				all there were; 0: the first ones */
	_Atomic uint32_t n_slots; /* release after the slots' versions */
	uint32_t n_reserved;	  /* the committer's: >= n_slots */

	/* The indexers', src/indexer.h. */
	_Atomic uint32_t next;	    /* the next slot to be taken */
	_Atomic uint32_t tail_from; /* every slot below is not pending */
	_Atomic uint32_t n_done;    /* slots not pending */
	uint32_t tail_max;	    /* pending slots past which writers wait */
	uint32_t backlog;	    /* the store's: slots found at start */
	struct cell *work;	    /* indexer->lock: the list of work */
	struct cell *learn;	    /* indexer->lock: of cells to learn from */
	bool is_learning;	    /* indexer->lock: it is in that list, or
				       its turn */
	bool is_queued;		    /* indexer->lock */
	bool is_retired; /* indexer->lock: of a generation that was replaced */
	struct commit *held;	    /* indexer->lock: done, but answered late */
};

/* What the rows of a cell are, and how they are linked. */
struct cell_shape {
	enum vg_dtype dtype;
	enum vg_metric metric;
	enum vg_index index; /* any but auto */
	enum vg_quant quant;
	uint32_t dim, m, ef_construction;
};

/* For vectors of dim, as config says; what it leaves open is chosen. */
struct cell_shape cell_shape_of(const struct op_config *config, uint32_t dim);

/* Whether anything has to know of the cell's new rows. */
static inline bool cell_has_index(const struct cell *cell)
{
	return cell->hnsw || cell->ivf;
}

/*
 * How config says that the cell's rows be linked. As they are, where it is of
 * another dtype: then there is none, and the next vector makes a new cell.
 * Where index is auto, lists stay lists: whether they should is for
 * src/auto_index.h.
 */
struct cell_shape cell_shape_anew(
	const struct op_config *config, const struct cell *cell);

/* Whether the cell's rows are linked so; but for their dim. */
bool cell_is_shaped(const struct cell *cell, const struct cell_shape *shape);

/*
 * Whether so many rows (CODES_MISSED of them all) have no code, since their
 * values are out of range, that the cell is to be made anew, with codes chosen
 * from all of its rows; once that was done not before there are twice as many.
 * Any thread.
 */
#define CODES_MISSED .125
bool cell_wants_codes(const struct cell *cell);

/* Open addressing over version numbers; replaced as a whole when it grows,
 * the old one kept until the generation is freed: readers take no lock. */
struct id_table {
	struct id_table *retired;
	uint32_t mask;
	_Atomic uint32_t head[]; /* version numbers; VERSION_NONE: free */
};

/*
 * All that a collection holds, as far as it was made by one run of changes. It
 * is replaced as a whole by one without what nobody can see any more
 * (src/compact.h); numbers of versions and slots mean something within their
 * generation only. Who reads a version has a reference on its generation, and
 * with it on the collection.
 */
struct generation {
	_Atomic uint32_t refs; /* acq_rel: the last one frees */
	uint32_t no; /* as nodeids of its versions name it; for good */
	struct collection *coll; /* borrowed; referenced by who has it */
	_Atomic uint32_t n_snaps; /* snapshots that show it; changed by apply
				     under coll->lock, relaxed */
	struct hold *holds; /* coll->lock */
	bool is_left; /* coll->lock: older, and a checkpoint left it out */

	struct column versions;	     /* struct version */
	_Atomic uint32_t n_versions; /* release by apply */
	uint32_t n_reserved;	     /* the committer's */
	struct blob blob;	     /* the committer's: ids, metadata */
	struct column ended;	     /* u32: versions in the order they ended */
	_Atomic uint32_t n_ended; /* release by apply, behind the end marks */
	uint32_t n_ending; /* the committer's: more of them are reserved */
	_Atomic(struct id_table *) ids;
	uint32_t n_ids;		   /* the committer's: used heads */
	_Atomic(struct cell *) cell; /* NULL: no vector was ever written */
	_Atomic(struct fields *) fields; /* owned; NULL: no filter has asked yet */
	_Atomic(struct match_kept *) kept; /* owned; NULL likewise */
	struct cell *opening; /* the committer's: made by a reservation, and not
				 published yet; or NULL */

	struct collection_file *file; /* the checkpointer's; owned */
	struct collection_file *fields_from; /* file, if the open found indexes
						of fields in it; or NULL */
	struct generation *next_old;  /* coll->lock: of coll->old */
};

/*
 * A SNAPSHOT of a collection is a collection too, under a number and a uuid of
 * its own: what `of` was at one moment. It refers to the generation that was
 * the newest then, which stays as it is, graph and all, when a compaction puts
 * another in its place; so a snapshot is searched as the present is, costs
 * nothing to take, and the present is not slowed by what only snapshots show.
 * While a generation has snapshots it gets no new cell (store_renew).
 */
struct collection {
	_Atomic uint32_t refs; /* acq_rel: the last one frees */
	uint32_t no;	       /* 0, 1, 2, ... in order of creation, for good */
	uint8_t uuid[16];
	_Atomic bool is_dropped;

	pthread_mutex_t lock; /* a leaf: config, attr, mtime, last_error, gen */
	struct op_config config;   /* lock */
	struct op_attr attr;	   /* lock */
	int64_t mtime_ns;	   /* lock: of the directory */
	int64_t commit_ns;	   /* lock: when it changed last */
	char last_error[528];	   /* lock */

	/* The newest; owned. The leader reads it as it likes, others take a
	 * reference under the lock. */
	struct generation *gen;
	struct generation *old; /* lock: those before, while somebody has them */

	struct collection **snaps; /* lock: owned, oldest first, referenced */
	uint32_t n_snaps;	   /* lock; changed by apply */
	uint32_t cap_snaps;	   /* lock; the committer's */

	/* A snapshot's, fixed; its name is that of its directory. */
	struct collection *of; /* referenced; NULL: this is none */
	struct moment *moment; /* owned; what it shows of gen, a reference */
	uint32_t name_len;
	char name[VG_ID_MAX + 1];

	_Atomic uint64_t n_live;     /* records of the present */
	_Atomic uint64_t meta_bytes; /* of live records; relaxed, a figure */
	_Atomic uint64_t changes; /* release, after the moment that shows them
				     is published: what changed since? */
	_Atomic uint64_t searches;   /* relaxed, a figure */
	struct recall *recall; /* owned: queries that were sampled; NULL: a
				  snapshot's are not */

	uint64_t seen_changes; /* the compactor's, as these are: the last... */
	double seen_s;	       /* ...and when they were seen first */
	double not_before_s;   /* no compaction before this: one failed */
	double no_repair_before_s; /* nor a repair: hardly a row could leave */
};


/* A collection without records. config and attr are copied. -ENOMEM. */
int collection_new(uint32_t no, const uint8_t uuid[16],
	const struct op_config *config, const struct op_attr *attr,
	struct collection **out);
struct collection *collection_ref(struct collection *c);
void collection_unref(struct collection *c); /* NULL is allowed */

/*
 * A snapshot of c, not known to it yet, as c is now; the caller says when it
 * was taken (mtime_ns) and what it shows of gen (moment->seq, all 0 so far).
 * -ENOMEM. The committer, or an open, for which gen may be an older one.
 */
int collection_new_snap(struct collection *c, struct generation *gen,
	uint32_t no, const uint8_t uuid[16], struct vg_id name,
	struct collection **out);

/* Room for one snapshot more. -ENOMEM. The committer. */
int collection_reserve_snap(struct collection *c);

/* Enters a snapshot, whose reference c takes, or takes it out: the reference
 * is the caller's then. Apply. */
void collection_add_snap(struct collection *c, struct collection *snap);
void collection_del_snap(struct collection *c, struct collection *snap);

/* The snapshot by name, or the nth, 0 the oldest; referenced, or NULL. Any
 * thread. */
struct collection *collection_find_snap(
	struct collection *c, struct vg_id name);
struct collection *collection_get_snap(struct collection *c, uint32_t nth);

/* Copies of what the lock guards. Any thread. */
struct op_config collection_config(struct collection *c);
struct op_attr collection_attr(struct collection *c);

/* The newest generation, referenced: generation_unref. Any thread. */
struct generation *collection_gen(struct collection *c);
struct generation *generation_ref(struct generation *g);
void generation_unref(struct generation *g); /* NULL is allowed */

/*
 * While it is held, a generation that was replaced stays in checkpoints, for
 * who would read it on after a crash. Who holds one version holds the newest
 * generation that has it: where a compaction carries it over, the hold goes
 * with it. A generation that a checkpoint has left out is in none again: its
 * files may go. Any thread.
 */
struct hold {
	struct collection *coll; /* borrowed of gen; NULL: nothing */
	struct generation *gen;	 /* referenced; coll->lock, as all below */
	uint32_t version;	/* VERSION_NONE: all of it */
	struct hold *next, **link;
};
void hold_init(struct hold *h, struct generation *g, uint32_t version);
void hold_fini(struct hold *h); /* of zeros: nothing */

/* Lets holds on versions of old go over to the newest: to[version] is what they
 * are there, or VERSION_NONE. The leader, between two groups. */
void hold_move(struct generation *old, const uint32_t *to);

/*
 * The newest (g NULL), then the next older one behind g, whose reference it
 * takes; referenced, or NULL: that was the last. Older ones are those that
 * snapshots show; GENS_KEPT: and that are held; GENS_CUT: the same, for a
 * checkpoint: what it does not get it leaves out. Any thread; GENS_CUT the
 * leader, between two groups.
 */
enum gens { GENS_SHOWN, GENS_KEPT, GENS_CUT };
struct generation *collection_next_gen(
	struct collection *c, struct generation *g, enum gens which);

/* The generation that is called no, referenced, or NULL: nobody has it any
 * more. Any thread. */
struct generation *collection_find_gen(struct collection *c, uint32_t no);

/* Makes g, owned, the newest. The leader, between two groups; g holds what the
 * newest holds. */
void collection_put_gen(struct collection *c, struct generation *g);

/* Enters g, an older one; who called keeps his reference. Before there are
 * readers. */
void collection_add_old(struct collection *c, struct generation *g);

/* A generation without records, owned by who made it: one reference. -ENOMEM. */
int generation_new(struct collection *c, uint32_t no,
	struct generation **out);

/*
 * The present as one: the generation that was the newest when the moment was
 * taken, both referenced; of a snapshot its own. tail_from was read before: a
 * slot of cell below it is in the graph, or nothing that the moment shows.
 * look_fini when done. Any thread, never fails.
 */
struct look {
	struct collection *coll; /* as it was given; referenced */
	struct generation *gen;
	struct cell *cell; /* the newest of gen; NULL: no vector was written */
	uint32_t tail_from;
	struct moment *moment;
	struct moments *moments;
	struct hold hold; /* look_hold */
};
void look_init(struct look *look, struct collection *c, struct moments *ms);
void look_hold(struct look *look); /* holds gen until look_fini; once; it must
				      not be moved then */
void look_fini(struct look *look); /* of zeros: nothing */

/*
 * 0, or -EIO: the row of slot is on the disk, and damaged there, or could not
 * be read from it when somebody did. -EMFILE: it cannot be looked at now. Any
 * thread. Behind the use of a vector's
 * bytes, before what was made of them is handed out.
 */
int cell_check_row(struct cell *cell, uint32_t slot);

/* Whether it is known already that the row is damaged or was lost: reads
 * nothing. Who goes by it has cell_check_row to ask before he answers. Any
 * thread. */
bool cell_is_bad(const struct cell *cell, uint32_t slot);

/*
 * Ranges of rows that were found damaged, and pages that were lost: what a
 * search left out, it may have missed. Asked after it. Any thread.
 */
uint32_t generation_damaged(const struct generation *g);

/* A number that grows when a row is left out because it cannot be looked at
 * now: who finds another one behind a search than before it missed some. */
uint32_t generation_unread(const struct generation *g);

/* Borrows version number v; while the generation is referenced. */
static inline struct version *generation_version(
	const struct generation *g, uint32_t v)
{
	return column_at(&g->versions, v);
}

static inline struct slot *cell_slot(const struct cell *cell, uint32_t slot)
{
	return column_at(&cell->slots, slot);
}

/* Its vector, dim elements of the cell's dtype, and their bytes. */
static inline const void *version_vec(const struct version *v)
{
	return rows_get(&v->cell->vec.rows, v->slot);
}

static inline uint32_t version_vec_len(const struct version *v)
{
	return v->cell->vec.rows.stride;
}

/* Borrowed from the generation. */
struct vg_id version_id(const struct version *v);
struct meta version_meta(const struct version *v);

/* Tells the processor that both will be read soon. */
void version_prefetch(const struct version *v);

/* Whether m sees v. Any thread. */
bool version_is_visible(const struct version *v, const struct moment *m);

/* Whether a snapshot shows v. Any thread. */
bool version_is_kept(const struct version *v);

/* The version of id that m sees, or VERSION_NONE. Any thread, no lock. */
uint32_t generation_find(const struct generation *g, struct vg_id id,
	const struct moment *m);

/* The newest version of id, ended or not, or VERSION_NONE. Any thread. */
uint32_t generation_find_newest(const struct generation *g, struct vg_id id);

/* The version of id that began then, in whatever generation; VERSION_NONE: g has
 * it not. Any thread. */
uint32_t generation_find_begun(
	const struct generation *g, struct vg_id id, uint64_t begin);

/* The first version from number `from` on that m sees, or VERSION_NONE: for
 * listings, whose cursors survive deletion. Any thread. */
uint32_t generation_next(const struct generation *g, uint32_t from,
	const struct moment *m);

/* The version of a slot that m sees, or VERSION_NONE. Any thread. */
uint32_t cell_find(const struct cell *cell, uint32_t slot,
	const struct moment *m);

/* Whether no moment from m on shows slot, nor a snapshot. Any thread. */
bool cell_is_over(
	const struct cell *cell, uint32_t slot, const struct moment *m);

/*
 * What an op needs, taken before it is logged, so that applying it allocates
 * nothing and cannot fail.
 */
struct reservation {
	struct cell *cell;	 /* PUT, SET, RENAME */
	bool is_new_cell;	 /* PUT: apply publishes it */
	uint32_t version;	 /* PUT, SET, RENAME */
	uint32_t slot;		 /* PUT: a new one */
	uint32_t id;		 /* of the new version */
	bool is_new_id;		 /* id was never seen: a head and bytes */
	uint32_t meta;		 /* PUT, SET, RENAME */
	uint32_t meta_len;
	uint32_t blob_n; /* of the blob before it */
	uint32_t n_ends; /* versions that end, at most; 0: nothing is taken */
	struct roaring_bitmap_s *ends; /* CLEAR: of versions that its filter
					  means, owned until applied; NULL:
					  all */
	struct entry *entry; /* CREATE, ALIAS: owned until applied */
	struct collection *snap; /* SNAP: owned until applied */
};

/* Reserves for op, a record's (PUT to CLEAR) on g, and copies its bytes. The
 * committer. A PUT that opens a new cell (the first vector, or another dim)
 * makes it: op->vec_len says the dim, which must be one of the dtype. -ENOMEM. */
int generation_reserve(struct generation *g, const struct op *op,
	struct reservation *r);

/* Takes back the last reservation; nothing was reserved after it. */
void generation_unreserve(struct generation *g, struct reservation *r);

/* Applies a record op (PUT to CLEAR). The committer; cannot fail. */
void generation_apply(struct generation *g, const struct op *op,
	struct reservation *r);

/* Whether op, a PUT, opens a cell. The committer. */
bool generation_needs_cell(const struct generation *g, const struct op *op);

/* Walks every invariant above, of what c holds and of its snapshots; or of one
 * generation. 0, or -VG_ECORRUPT and a sentence. Nothing may be committing. */
int collection_check(struct collection *c, const char **why);
int generation_check(const struct generation *g, const char **why);

#endif
